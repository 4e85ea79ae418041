"""Several Teals before the same two backends, with one store."""
import contextlib
import time

from . import scale
from .clients import Load

COLORS = ("green", "blue")


def other(color):
    return COLORS[color == "green"]


class Fleet(list):
    """The Teals, .green and .blue their backends, .redis their server."""

    prefix = "teal:test"

    def key(self, name="web"):
        return f"{self.prefix}:service:{name}"

    @property
    def running(self):
        return [t for t in self if t.running]

    def agree(self, color=None, epoch=None, among=None, name="web", timeout=None):
        """Waits until all have the same color and epoch (these, if given) and
        have applied it; returns the color and the epoch."""
        def together():
            seen = {(s["active"], s["epoch"]) if s["applied_epoch"] == s["epoch"] else None
                    for s in (t.status(name) for t in among or self.running)}
            if len(seen) != 1 or None in seen:
                return None
            one = seen.pop()
            return one if color in (None, one[0]) and epoch in (None, one[1]) else None
        return scale.until(together, f"all agree ({color} {epoch})", timeout)

    def store(self, teal=None):
        return (teal or self[0]).ok("status")["store"]

    def wait_up(self, up=True, among=None):
        """Until each says that of its store."""
        for t in among or self.running:
            scale.until(lambda t=t: self.store(t)["up"] is up, f"store up: {up}")

    def wait_readings(self, among=None):
        """Until each has read the store anew: what was to come with a reading is there."""
        since = time.monotonic()

        def read_again(t):
            asked = time.monotonic()
            return self.store(t)["age"] < asked - since
        for t in among or self.running:
            scale.until(lambda t=t: read_again(t), "the store is read again")

    def wait_well(self, teal=None):
        """Until that one has read the store and found nothing wrong with it."""
        scale.until(lambda: not self.store(teal)["problem"], "no problem with the store")

    def members(self, teal=None):
        """`fleet`, by pid."""
        return {m["pid"]: m for m in (teal or self.running[0]).ok("fleet")["fleet"]}

    def wait_members(self, n=None, among=None):
        """Until each knows of n members, none of them missing."""
        n = n or len(self.running)
        for t in among or self.running:
            scale.until(lambda t=t: len(m := self.members(t)) == n and not any(x["missing"] for x in m.values()),
                        f"a fleet of {n}")

    @contextlib.contextmanager
    def load(self, clients=6, think=0.05, among=None):
        """With load through each; .sessions afterwards, of which none failed."""
        run = Run()
        run.loads = loads = [Load(*t.address("web"), clients, think) for t in among or self]
        try:
            yield run
            run.more(5)
            run.by_teal = [l.finish() for l in loads]
        finally:
            for l in loads:
                l.close()
        run.sessions = [s for per in run.by_teal for s in per]
        failed = [s for s in run.sessions if s.error]
        assert not failed, f"{len(failed)} of {len(run.sessions)} failed: {failed[:5]}"


class Run:
    """What load saw."""

    sessions, by_teal, loads = (), (), ()

    def more(self, n):
        """Waits until n that begin from now on have ended, through each Teal."""
        for l in self.loads:
            l.more(n)

    def only(self, color):
        """Nobody met another color."""
        wrong = [s for s in self.sessions if s.name != color]
        assert not wrong, f"{len(wrong)} of {len(self.sessions)} met {wrong[0].name}: {wrong[:5]}"

    def judge(self, windows):
        """Whoever began after a window's start and ended before its end met its
        color; returns how many did."""
        judged = 0
        for since, until, color in windows:
            inside = [s for s in self.sessions if since < s.begun and s.ended < until]
            wrong = [s for s in inside if s.name != color]
            assert not wrong, f"{color} since {since:.6f}: {len(wrong)} of {len(inside)}: {wrong[:5]}"
            judged += len(inside)
        return judged


def refused(reply):
    """A flip that failed clearly because of the store."""
    assert (reply["ok"], reply["error"], reply["changed"]) == (False, "store_unavailable", False), reply
    return reply


def now():
    return time.monotonic()
