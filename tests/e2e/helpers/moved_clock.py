"""A clock that the test moves, for one teald: minutes of a story in no time.

	t = teal(services=[...], clock=True)
	t.clock.move(30)	for teald thirty seconds have passed

What teald says when (log, metrics, cuts) is then told by its own clock, however slow the machine is.
moved_clock.c says how, and what does not move.
"""
import os
import pathlib
import struct

from . import scale
from .compiled import compiled

SOURCE = pathlib.Path(__file__).with_suffix(".c")
HEAD = struct.Struct("qqqq")    # offset, asked, taken, wall
SLOT = struct.Struct("qqqqq")   # thread, seen, turns, got, quiet
SLOTS = 255
SIZE = HEAD.size + SLOT.size * SLOTS
# Who is asked so often and is never done, never will be: a load is on.
ROUNDS = 100


def library():
    """The compiled library, made once for this build."""
    return compiled("moved_clock.so", (SOURCE,), ("-fPIC", "-shared", "-ldl"))


class MovedClock:
    """moved: by how many seconds it is ahead of the machine's."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "clock"
        self.path.write_bytes(bytes(SIZE))
        self.path.chmod(0o666)
        self.moved, self._asked, self._pid = 0.0, 0, None

    def env(self, others):
        """What a process that goes by it needs in its environment."""
        return {"LD_PRELOAD": " ".join(filter(None, (str(library()), others.get("LD_PRELOAD")))),
                "TEAL_MOVED_CLOCK": str(self.path)}

    def started(self, pid):
        """A process on this clock begins; the clock stays where it is."""
        self._pid = pid

    def starting(self):
        self._write(8, struct.pack("q", self._asked) + bytes(SIZE - 16))

    def move(self, seconds, wait=True):
        """Lets so much time pass at once. When it returns all timers of its loops that are due by then have
        run, in their order; not wait: it may be stopped, or not there. What teald still does because of what it
        was asked before belongs to the time before: the jump waits for that, unless it is never done."""
        if wait:
            self._settle()
        self.moved += seconds
        self._write(0, struct.pack("q", round(self.moved * 1e9)))
        if wait:
            scale.until(self._all_know, f"every loop of teald has seen that {seconds:g} s passed", every=0.002)

    def set_wall(self, seconds):
        """The machine's clock is set to so much from what it was; no time has passed."""
        self._write(24, struct.pack("q", round(seconds * 1e9)))

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
        return sum(turns for _, _, turns, _, _ in self._slots())

    def is_quiet(self, moves=20):
        """Its loops wait while time passes, in `moves` moves: none of them spins."""
        before = self.turns()
        for _ in range(moves):
            self.move(0.01)
        return self.turns() - before < 100 * moves

    def _write(self, at, data):
        with open(self.path, "r+b", buffering=0) as f:
            os.pwrite(f.fileno(), data, at)

    def _slots(self):
        """(thread, seen, turns, got, quiet) of all that have waited, also of those that have ended."""
        data = self.path.read_bytes()
        taken = min(HEAD.unpack_from(data)[2], SLOTS)
        return [s for s in (SLOT.unpack_from(data, HEAD.size + SLOT.size * n) for n in range(taken)) if s[0]]

    def _living(self):
        return [s for s in self._slots() if os.path.exists(f"/proc/{self._pid}/task/{s[0]}")]

    def _all_know(self):
        slots = self._slots()
        offset = round(self.moved * 1e9)
        return slots and all(s[1] == offset for s in self._living())

    def _settle(self):
        """Waits until teald has done what it was asked to. Asleep is enough, but on a busy machine its threads
        wait for a CPU at most looks, if only to look whether time has passed. So they are asked: in two rounds
        each finds nothing to do, and in neither anyone has got something, so nothing is on its way to another;
        and whoever waits otherwise (a helper that writes a file) sleeps."""
        calm, before = 0, None
        for _ in range(ROUNDS):
            if scale.asleep(self._pid, looks=3):
                return
            slots = self._living()
            now = [(s[0], s[3]) for s in slots]
            calm = calm + 1 if now == before and scale.asleep(self._pid, apart={s[0] for s in slots}) else 0
            if calm == 2:
                return
            before = now
            self._asked += 1
            self._write(8, struct.pack("q", self._asked))
            scale.until(lambda: all(s[4] >= self._asked for s in self._living()), "every loop has looked", every=0.002)
