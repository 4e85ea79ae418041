"""Fewer lines when fewer are wanted: log.sample, the level at run time; and
an exact account of those that nobody read."""
import fcntl
import json
import os
import subprocess
import threading

import pytest

from helpers.scale import BUILD, ME, patience, scaled, until


def ended(teal):
    return teal.metrics().get("teal_connections_total")


def test_a_sample_is_exact_and_says_for_how_many_it_stands(web, backend):
    teal = web(health={"type": "none"}, top={"workers": 1, "log": {"sample": 0.1}})
    for _ in range(40):
        teal.connect().echo().close()
    teal.wait_metric(40, "teal_connections_total", service="web", end="done")
    teal.green.stop()
    for _ in range(3):
        with teal.connect() as c:
            assert c.read_end()[0] == b""
    teal.wait_metric(3, "teal_connections_total", service="web", end="connect")
    assert teal.stop() == 0
    assert [s["sample"] for s in teal.sessions(end="done")] == [0.1] * 4
    assert [s["sample"] for s in teal.sessions(end="connect")] == [1] * 3  # what went wrong is always told
    assert sum(1 / s["sample"] for s in teal.sessions()) == pytest.approx(43)


def test_without_sampling_lines_do_not_speak_of_it(web):
    teal = web()
    teal.connect().echo().close()
    assert "sample" not in teal.wait_log("tcp.session")


def test_the_level_changes_while_it_runs(web):
    teal = web(top={"log": {"level": "info"}})
    teal.connect().echo().close()
    teal.wait_log("tcp.session")
    r = teal.ok("log", "warn")
    assert (r["level"], r["was"], r["changed"]) == ("warn", "info", True)
    assert teal.ok("log", "warn")["changed"] is False
    teal.connect().echo().close()
    teal.wait_metric(2, "teal_connections_total", service="web", end="done")
    assert teal.tealctl("log", "info", check=0).stdout == "log\tinfo\n"
    teal.connect().echo().close()
    teal.wait_log("tcp.session", 2)
    assert teal.ctl("log", "loud")["error"] == "usage"
    assert teal.stop() == 0
    assert len(teal.sessions()) == 2
    told = [(l["command"], l["to"], l["user"], l["result"]) for l in teal.log_lines("audit")]
    assert told == [("log", to, ME, "ok") for to in ("warn", "warn", "info")]


class Reader:
    """Reads a pipe to its end: .lines."""

    def __init__(self, fd):
        self.lines = []
        self._fd, self._thread = fd, threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with os.fdopen(self._fd, "rb") as f:
            for raw in f:
                self.lines.append(json.loads(raw))

    def join(self):
        self._thread.join(patience())
        assert not self._thread.is_alive()
        return self.lines


def load(teal, n):
    """n connections; what tealbench says of them."""
    p = subprocess.run([BUILD / "tealbench", "load", "--target=%s:%d" % teal.address(), "--mode=tcp-connect",
                        "--connections=16", f"--duration={patience()}", f"--requests={n}", "--json", "--size=64"],
                       stdout=subprocess.PIPE, text=True, timeout=2 * patience())
    return json.loads(p.stdout.splitlines()[-1])


@pytest.mark.scales
def test_an_unread_stdout_costs_lines_and_nothing_else(web, bench):
    """Nobody reads, and the load goes on: no request fails, and what is missing
    later is what the counter says."""
    r, w = os.pipe()
    fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
    address = bench()
    teal = web(green=[address], blue=[address], health={"type": "none"}, top={"log": {"level": "info"}}, start=False)
    teal.start(stdout=w)
    os.close(w)

    def many_are_dropped():
        assert load(teal, 2000)["failed"] == 0
        return teal.metrics().get("teal_log_dropped_total") >= scaled(500_000, 500)
    until(many_are_dropped, "lines are dropped")
    teal.wait_metric(0, "teal_connections", service="web")
    dropped, sessions = teal.metrics().get("teal_log_dropped_total"), ended(teal)
    reader = Reader(r)
    until(lambda: any(l["event"] == "log.dropped" and l["total"] == dropped for l in list(reader.lines)),
          "a line that tells how many are missing")
    assert teal.metrics().get("teal_log_dropped_total") == dropped
    # At its end it waits for nobody either.
    until(lambda: sum(l["event"] == "tcp.session" for l in list(reader.lines)) == sessions - dropped, "the rest is read",
          every=0.1)
    assert teal.stop() == 0
    lines = reader.join()
    assert sum(l["event"] == "tcp.session" for l in lines) == sessions - dropped
    assert sum(l["count"] for l in lines if l["event"] == "log.dropped") == dropped
