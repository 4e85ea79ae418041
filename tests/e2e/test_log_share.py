"""Fewer lines when fewer are wanted: log.sample, the level at run time; and
an exact account of those that nobody read."""
import fcntl
import json
import os
import pathlib
import statistics
import subprocess
import threading
import time

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


def load(teal, seconds, mode="tcp-connect", **how):
    return subprocess.Popen([BUILD / "tealbench", "load", "--target=%s:%d" % teal.address(), f"--mode={mode}",
                             "--connections=16", f"--duration={seconds}", "--requests=1000000000", "--json",
                             "--path=/bytes/64" if mode == "http" else "--size=64"],
                            stdout=subprocess.PIPE, text=True, **how)


@pytest.mark.scales
def test_an_unread_stdout_costs_lines_and_nothing_else(web, bench):
    """Nobody reads for a minute, under load: no request fails, and what is
    missing later is what the counter says."""
    r, w = os.pipe()
    fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
    address = bench()
    teal = web(green=[address], blue=[address], health={"type": "none"}, top={"log": {"level": "info"}}, start=False)
    teal.start(stdout=w)
    os.close(w)
    failed, begun = 0, time.monotonic()
    while time.monotonic() - begun < scaled(60, 3) or teal.metrics().get("teal_log_dropped_total") == 0:
        p = load(teal, 2)
        result = json.loads(p.communicate(timeout=2 * patience())[0].splitlines()[-1])
        failed += result["failed"]
        assert time.monotonic() - begun < scaled(60, 3) + 4 * patience(), "nothing was ever dropped"
    assert failed == 0
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


@pytest.mark.soak
@pytest.mark.serial
@pytest.mark.nosan
@pytest.mark.parametrize("mode, door, metric", [("tcp", "tcp-connect", "teal_connections_total"),
                                                ("http", "http", "teal_requests_total")])
def test_access_lines_cost_little(web, bench, mode, door, metric):
    """CPU per connection or request with and without them, by turns within one load."""
    address = bench("echo" if mode == "tcp" else "http")
    r, w = os.pipe()
    teal = web(mode=mode, green=[address], blue=[address], health={"type": "none"},
               top={"workers": 1, "log": {"level": "info"}}, start=False)
    teal.start(stdout=w)
    os.close(w)
    reader = subprocess.Popen(["cat"], stdin=r, stdout=subprocess.DEVNULL)
    os.close(r)
    tasks = {p.name: p / "schedstat" for p in pathlib.Path(f"/proc/{teal.pid}/task").iterdir()
             if (p / "comm").read_text().strip() in ("worker-0", "log")}
    assert len(tasks) == 2

    def measure(level, seconds=0.4):
        teal.ok("log", level)
        time.sleep(0.05)
        before, sessions = sum(int(p.read_text().split()[0]) for p in tasks.values()), teal.metrics().get(metric)
        time.sleep(seconds)
        after = sum(int(p.read_text().split()[0]) for p in tasks.values())
        return (after - before) / (teal.metrics().get(metric) - sessions)
    p = load(teal, 60, door)
    pairs = []
    for n in range(30):
        order = ("info", "warn") if n % 2 else ("warn", "info")
        cost = {level: measure(level) for level in order}
        pairs.append(cost["info"] / cost["warn"])
    p.terminate()
    p.communicate(timeout=patience())
    assert teal.stop() == 0
    reader.wait(patience())
    print(f"{mode}: with access lines {statistics.median(pairs):.3f} x the CPU of without")
    assert statistics.median(pairs) <= 1.15, sorted(pairs)
