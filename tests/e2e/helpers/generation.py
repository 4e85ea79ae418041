"""A serving process under the real supervisor that does what the test says: for what the real one never does,
such as to end in the middle of an upgrade.

    stage = closing.add(Generations(folder))    teald beside a `teald-serve` that runs this file (generation.c)
    o = stage.next()                            the process that was started, once it has begun
    o.say("ready")
    o.ask_upgrade(30)
    n = stage.next()
    n.predecessor, o.hear()                     its process; ("successor PID", [socket])
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

if __name__ != "__main__":
    from . import scale
    from .compiled import compiled
    from .moved_clock import MovedClock

MESSAGE = 1 << 16


class Process:
    """One that was started: what it was given, and its orders."""

    def __init__(self, orders):
        self._orders = orders
        about, _, _, _ = socket.recv_fds(orders, MESSAGE, 0)
        self.__dict__.update(json.loads(about))

    def __getattr__(self, order):
        def do(*args):
            self._orders.send(json.dumps([order, *args]).encode())
            answer, fds, _, _ = socket.recv_fds(self._orders, MESSAGE, 1)
            # It has ended.
            return (json.loads(answer) if answer else None) if not fds else (json.loads(answer), socket.socket(fileno=fds[0]))
        return do

    def ask_upgrade(self, seconds, binary="", config=""):
        self.say(f"upgrade {seconds}\0{binary}\0{config}\0")

    def refused(self, seconds=60, **what):
        """Asks for an upgrade that does not come to anything; the reason."""
        self.ask_upgrade(seconds, **what)
        words = self.hear()
        while not isinstance(words, str):
            words = self.hear()
        assert words.startswith("upgrade failed: "), words
        return words.removeprefix("upgrade failed: ")

    def heard(self):
        """Returns when the supervisor has read all that was said, and looked at its clock."""
        self.say("forget /")
        assert self.hear() == "forgot"

    def gone(self):
        scale.until(lambda: not os.path.exists(f"/proc/{self.pid}"), f"process {self.pid} has been reaped")
        self._orders.close()


class Generations:
    """The supervisor and its children."""

    def __init__(self, *options, env=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="teal-", dir="/tmp"))
        shutil.copy(scale.BUILD / "teald", self.folder / "teald")
        self.program = self.install(self.folder / "teald-serve")
        self.config = self.folder / "teal.conf"
        self.config.write_text("")
        self._processes = []
        self.clock = MovedClock(self.folder)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(self.folder / "orders"))
        self.listener.listen()
        self.listener.settimeout(scale.patience())
        self.out, self.err = self.folder / "stdout", self.folder / "stderr"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.supervisor = subprocess.Popen(
                [self.folder / "teald", "-c", self.config, *options], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env=os.environ | self.clock.env(os.environ) | {"TEAL_ORDERS": str(self.folder / "orders")} | (env or {}),
                start_new_session=True)

    @staticmethod
    def install(path):
        """Another such program, in place of the one there; the path."""
        source = pathlib.Path(__file__).with_suffix(".c")
        new = path.with_name(path.name + ".new")
        shutil.copy(compiled("generation", (source,), (f'-DSCRIPT="{__file__}"',)), new)
        new.rename(path)
        return path

    def next(self):
        """The process that has been started since."""
        orders, _ = self.listener.accept()
        orders.settimeout(scale.patience())
        self._processes.append(Process(orders))
        return self._processes[-1]

    def pair(self):
        """One that serves, and its successor, which is prepared; and the predecessor's end of the line."""
        o = self.next()
        o.say("ready")
        o.ask_upgrade(60)
        n = self.next()
        words, line = o.hear()
        assert words == f"successor {n.pid}"
        n.say("prepared")
        return o, n, line

    def log(self, event):
        return [l for l in map(json.loads, self.out.read_text().splitlines()) if l["event"] == event]

    def wait_log(self, event, count=1):
        return scale.until(lambda: len(found := self.log(event)) >= count and found, f"{count} x {event}")[count - 1]

    def wait(self):
        return self.supervisor.wait(scale.patience())

    def close(self):
        self.supervisor.kill()
        self.supervisor.wait()
        # Without its orders each of them ends.
        self.listener.close()
        for p in self._processes:
            p._orders.close()
        shutil.rmtree(self.folder)


def serve():
    """The process."""
    orders = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    orders.connect(os.environ["TEAL_ORDERS"])
    link, _, restarts, _, fallbacks = map(int, os.environ["TEAL_SUPERVISOR"].split())
    link = socket.socket(fileno=link)
    listening = [socket.socket(fileno=fd) for fd in range(3, 3 + int(os.environ.get("LISTEN_FDS", 0)))]
    line, predecessor = map(int, os.environ.get("TEAL_PREDECESSOR", "-1 0").split())
    line = socket.socket(fileno=line) if line >= 0 else None
    orders.send(json.dumps({
        "pid": os.getpid(), "argv": sys.argv[1:], "restarts": restarts, "fallbacks": fallbacks,
        "predecessor": predecessor, "ports": [s.getsockname()[1] for s in listening],
        "inode": int(os.environ["TEAL_INODE"]), "listening_for_us": os.environ.get("LISTEN_PID") == str(os.getpid())}).encode())
    while order := orders.recv(MESSAGE):
        word, *args = json.loads(order)
        answer, fds = None, []
        if word == "say":
            link.send(args[0].encode())
        elif word == "hear":
            answer, fds, _, _ = socket.recv_fds(link, MESSAGE, 1)
            answer = answer.decode()
        elif word == "keep":
            s = socket.create_server(("127.0.0.1", 0))
            socket.send_fds(link, [b"keep"], [s.fileno()])
            listening.append(s)
            answer = s.getsockname()[1]
        elif word == "line_hear":
            answer = line.recv(MESSAGE).decode()
        elif word == "complain":
            os.write(2, args[0].encode() * args[1])
        elif word == "wait_signal":
            answer = signal.sigwait(args)
        elif word == "ignore":
            signal.signal(args[0], signal.SIG_IGN)
        elif word == "exit":
            os._exit(args[0])
        elif word == "die":
            os.kill(os.getpid(), args[0])
        socket.send_fds(orders, [json.dumps(answer).encode()], fds)
        for fd in fds:
            os.close(fd)


if __name__ == "__main__":
    serve()
