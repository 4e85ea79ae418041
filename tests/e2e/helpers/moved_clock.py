"""A clock that the test moves, for one teald: minutes of a story in no time.

	t = teal(services=[...], clock=True)
	t.clock.move(30)	for teald thirty seconds have passed

What teald says when (log, metrics, cuts) is then told by its own clock, however slow the machine is.
moved_clock.c says how, and what does not move.
"""
import fcntl
import functools
import hashlib
import os
import pathlib
import struct
import subprocess
import time

from . import scale

SOURCE = pathlib.Path(__file__).with_suffix(".c")
SLOTS = 255
SLOT = 24
SIZE = 16 + SLOT * SLOTS


@functools.lru_cache(None)
def library():
    """The compiled library, made once for this build."""
    source = SOURCE.read_bytes()
    folder = scale.BUILD / "e2e"
    made = folder / f"moved_clock-{hashlib.sha256(source).hexdigest()[:12]}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "moved_clock.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            new = made.with_suffix(f".{os.getpid()}")
            subprocess.run([os.environ.get("CC") or "cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra",
                            "-Werror", "-fPIC", "-shared", "-o", new, SOURCE, "-ldl"], check=True)
            new.rename(made)
    return made


class MovedClock:
    """moved: by how many seconds it is ahead of the machine's."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "clock"
        self.path.write_bytes(bytes(SIZE))
        self.path.chmod(0o666)
        self.moved, self._pid = 0.0, None

    def env(self, others):
        """What a process that goes by it needs in its environment."""
        return {"LD_PRELOAD": " ".join(filter(None, (str(library()), others.get("LD_PRELOAD")))),
                "TEAL_MOVED_CLOCK": str(self.path)}

    def started(self, pid):
        """A process on this clock begins; the clock stays where it is."""
        self._pid = pid

    def starting(self):
        self._write(8, bytes(SIZE - 8))

    def move(self, seconds, wait=True):
        """Lets so much time pass at once. When it returns all timers of its loops that are due by then have
        run, in their order; not wait: it may be stopped, or not there. What teald still does because of what it
        was asked before belongs to the time before: the jump waits for that, unless it is never done."""
        if wait:
            for _ in range(200):
                if scale.asleep(self._pid, looks=3):
                    break
                time.sleep(0.01)
        self.moved += seconds
        self._write(0, struct.pack("q", round(self.moved * 1e9)))
        if wait:
            scale.until(self._all_know, f"every loop of teald has seen that {seconds:g} s passed", every=0.002)

    def pass_until(self, condition, what, step=0.1):
        """Moves it by `step` seconds, again and again, until condition() is true; returns its value."""
        def once():
            value = condition()
            if not value:
                self.move(step)
            return value
        return scale.until(once, what, every=0)

    def turns(self):
        """How often its loops went to wait: one that spins does it tens of thousands of times a second."""
        data = self.path.read_bytes()
        return sum(struct.unpack_from("q", data, 16 + SLOT * n + 16)[0] for n in range(SLOTS))

    def is_quiet(self, moves=20):
        """Its loops wait while time passes, in `moves` moves: none of them spins."""
        before = self.turns()
        for _ in range(moves):
            self.move(0.01)
        return self.turns() - before < 100 * moves

    def _write(self, at, data):
        with open(self.path, "r+b", buffering=0) as f:
            os.pwrite(f.fileno(), data, at)

    def _all_know(self):
        data = self.path.read_bytes()
        offset, taken = struct.unpack_from("qq", data)
        threads = [struct.unpack_from("qq", data, 16 + SLOT * n) for n in range(min(taken, SLOTS))]
        return taken > 0 and all(seen == offset or not os.path.exists(f"/proc/{self._pid}/task/{thread}")
                                 for thread, seen in threads if thread)
