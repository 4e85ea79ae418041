"""Upgrades of a running teald, and which of its two processes is still there."""
import os
import threading

from . import libconfig, scale


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


class Unprepared:
    """.option: the file of a teald that is not prepared before .go(): until then its first checks have no answer."""

    def __init__(self, teal, backend, folder):
        self._may = threading.Event()
        late, path = backend("late", self._answer), folder / "unprepared.conf"
        color = {"backends": [late.address]}
        one, = teal.settings["services"]
        path.write_text(libconfig.dumps(teal.settings | {"services": [
            one | {"green": color, "blue": color, "health": {"type": "http", "timeout": 300.0}}]}))
        self.option, self.go = f"--config={path}", self._may.set

    def _answer(self, conn, b):
        while not b.released.is_set() and not self._may.wait(0.1):
            pass
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
