"""Upgrades of a running teald, and which of its two processes is still there."""
import os

from . import scale


def alive(pid):
    """It runs, or has ended but is not reaped."""
    return os.path.exists(f"/proc/{pid}")


def gone(*pids):
    """Returns when the supervisor has reaped them."""
    scale.until(lambda: not any(map(alive, pids)), f"of {pids} nothing is left")


def children(teal):
    """The processes that serve or leave, under its supervisor."""
    return [int(p) for p in open(f"/proc/{teal.pid}/task/{teal.pid}/children").read().split()]


def upgrade(teal, *words):
    """One that must succeed: (the process before, the one that serves now)."""
    before = teal.serving()
    r = teal.ctl("upgrade", *words)
    assert r["ok"], r
    after = teal.serving()
    assert after != before
    return before, after


def upgraded(teal, *words):
    """The same, once the former process is gone: nothing has held it."""
    before, after = upgrade(teal, *words)
    gone(before)
    return after
