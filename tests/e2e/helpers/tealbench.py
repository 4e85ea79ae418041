"""tealbench as a test uses it: backends, loads and drills as processes."""
import json
import signal
import subprocess

from . import scale

TEALBENCH = str(scale.BUILD / "tealbench")


class Serve:
    """A running `tealbench serve`; addresses as it printed them."""

    def __init__(self, *options, listen=("127.0.0.1:0",)):
        command = [TEALBENCH, "serve", *options, *(f"--listen={a}" for a in listen)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = [json.loads(self.process.stdout.readline()) for _ in listen]
        self.address = self.lines[0]["address"]
        self.port = self.lines[0]["port"]
        self.served = None  # the last line, once it has ended

    def close(self, number=signal.SIGTERM):
        if self.process.stdout.closed:
            return self.process.returncode
        self.process.send_signal(number)
        last = self.process.stdout.read().splitlines()[-1:]
        status = self.process.wait(scale.patience())
        self.process.stdout.close()
        self.served = json.loads(last[0]) if last else None
        return status


def run(command, address, *options, timeout=None):
    """Runs a load or drill to its end: (exit status, its JSON result)."""
    done = subprocess.run([TEALBENCH, command, f"--target={address}", "--json", *options],
                          capture_output=True, text=True, timeout=timeout or 10 * scale.patience())
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def load(address, *options, **how):
    return run("load", address, *options, **how)


def drill(address, *options, **how):
    return run("drill", address, *options, **how)


def errors(result):
    return {kind: n for kind, n in result["errors"].items() if n}


class Running:
    """A load that goes on until it is told to end; .result is its JSON then."""

    def __init__(self, address, *options):
        self.process = subprocess.Popen(
            [TEALBENCH, "load", f"--target={address}", "--json", "--duration=36000", f"--timeout={scale.patience()}", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.result = None

    def close(self):
        """Ends it; what it came to."""
        if self.result is None:
            self.process.terminate()
            out, err = self.process.communicate(timeout=scale.patience())
            assert out, err
            self.result = json.loads(out.splitlines()[-1])
        return self.result
