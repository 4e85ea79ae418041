"""Clients that go on and on: how many of their requests went well, and what was said of the others."""
import subprocess
import threading

from . import scale


class Steady:
    """A client; .ok so far, .failed what went wrong."""

    def __init__(self, name):
        self.name, self.ok, self.failed, self.rests = name, 0, [], False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def more(self, n=1):
        """Returns when n more have gone well, or something has not."""
        least = self.ok + n
        scale.until(lambda: self.failed or self.ok >= least, f"{self.name} goes on")

    def close(self):
        self._stop()
        self._thread.join(scale.patience())
        assert not self._thread.is_alive(), self.name


class Program(Steady):
    """One that asks until its stdin ends, and says what became of each: "ok ..." or "200 ..."; anything else is a failure.
    rests: it may be told to have nothing under way for a while."""

    def __init__(self, name, *command, rests=False):
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._resting = threading.Event()
        super().__init__(name)
        self.rests = rests

    def rest(self):
        self._resting.clear()
        print("rest", file=self._process.stdin, flush=True)
        assert self._resting.wait(scale.patience()), f"{self.name} does not rest"

    def go_on(self):
        print("go on", file=self._process.stdin, flush=True)

    def _run(self):
        for line in self._process.stdout:
            if line.startswith(("ok ", "200 ")):
                self.ok += 1
            elif line == "resting\n":
                self._resting.set()
            elif line.strip():
                self.failed.append(line.rstrip())

    def _stop(self):
        if not self._process.stdin.closed:
            self._process.stdin.close()
            if self._process.wait(scale.patience()) != 0:
                self.failed.append(f"exit status {self._process.returncode}")


class Repeated(Steady):
    """once() asks some and returns how many; what it raises is a failure."""

    def __init__(self, name, once):
        self._once, self._over = once, threading.Event()
        super().__init__(name)

    def _run(self):
        while not self._over.wait(0 if scale.SOAK else 0.05):
            try:
                self.ok += self._once()
            except Exception as e:
                self.failed.append(repr(e))
                return

    def _stop(self):
        self._over.set()
