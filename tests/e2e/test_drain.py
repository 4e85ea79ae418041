"""The old color runs empty in peace: the idle leave early, the busy at the
deadline, and who becomes active again stops draining."""
import socket
import threading
import time

import pytest

from helpers.backends import firehose
from helpers.scale import patience, slow, until


class Busy:
    """A connection with traffic every few milliseconds until it is cut."""

    def __init__(self, teal, **how):
        self.client = teal.connect(**how).echo()
        self.peer = self.client.peer
        self.cut = None  # when
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._over.wait(0.02):
                self.client.echo(b"tick")
        except (OSError, AssertionError):
            self.cut = time.monotonic()

    def close(self):
        self._over.set()
        self._thread.join()
        self.client.close()


@pytest.fixture
def busy(closing):
    return lambda teal, **how: closing.add(Busy(teal, **how))


@pytest.mark.tsan
def test_idle_ones_leave_early_busy_ones_at_the_deadline(web, busy):
    teal = web(drain={"timeout": 2.5, "idle": 0.4})
    idle = [teal.connect().echo() for _ in range(5)]
    active = [busy(teal) for _ in range(3)]
    r = teal.ok("flip", "web", "blue")
    for c in idle:
        assert c.read_end()[0] == b""
    gone = time.monotonic() - r.at
    assert all(b.cut is None for b in active), "a busy one was cut with the idle ones"
    assert 0.2 < gone < 2.4 or slow() > 1
    until(lambda: all(b.cut for b in active), "cut at the deadline")
    assert min(b.cut for b in active) - r.at > 2.2
    for _ in range(5):
        teal.wait_log("tcp.session", 5, end="drain_idle", color="green")
    teal.wait_log("tcp.session", 3, end="drained", color="green")
    m = teal.wait_metric(3, "teal_connections_total", service="web", color="green", end="drained")
    assert m.get("teal_connections_total", service="web", color="green", end="drain_idle") == 5
    assert m.get("teal_draining_connections", service="web", color="green") == 0
    until(lambda: teal.status()["colors"]["green"]["draining"] is False, "drained")


def test_one_that_was_idle_already_does_not_wait_again(web):
    """Idle for longer than drain.idle at the flip: closed soon after it."""
    teal = web(drain={"timeout": 60.0, "idle": 1.0})
    c = teal.connect().echo()
    time.sleep(1.3)
    r = teal.ok("flip", "web", "blue")
    assert c.read_end()[0] == b""
    assert time.monotonic() - r.at < 1.0 * slow() + 0.3


def test_traffic_puts_the_idle_close_off(web):
    teal = web(drain={"timeout": 60.0, "idle": 1.0})
    c = teal.connect().echo()
    r = teal.ok("flip", "web", "blue")
    while time.monotonic() - r.at < 2.5:
        c.echo()
        time.sleep(0.1)
    assert c.read_end()[0] == b""


def test_without_drain_idle_only_the_deadline_closes(web):
    teal = web(drain={"timeout": 1.2, "idle": 0.0})
    c = teal.connect().echo()
    r = teal.ok("flip", "web", "blue")
    assert c.read_end()[0] == b""
    assert time.monotonic() - r.at > 1.0
    assert teal.wait_log("tcp.session")["end"] == "drained"


def test_a_drain_timeout_of_zero_closes_at_once(web):
    teal = web(drain={"timeout": 0.0})
    clients = [teal.connect().echo() for _ in range(10)]
    r = teal.ok("flip", "web", "blue", "--wait=drained")
    assert r.seconds < 3 * slow()
    for c in clients:
        assert c.read_end()[0] == b""
    teal.wait_log("tcp.session", 10, end="drained")


def test_the_closes_are_spread(web):
    teal = web(drain={"timeout": 60.0, "idle": 0.1, "spread": 2.0})
    clients = [teal.connect().echo() for _ in range(40)]
    time.sleep(0.3)  # idle long enough at the flip
    r = teal.ok("flip", "web", "blue")
    gone = {}
    end = time.monotonic() + patience()
    while len(gone) < len(clients):
        assert time.monotonic() < end
        for c in clients:
            if c not in gone and not c.alive:
                gone[c] = time.monotonic() - r.at
        time.sleep(0.01)
    times = sorted(gone.values())
    assert times[-1] - times[0] > 0.8, times
    assert times[-1] < 5 * slow(), times
    # No herd: no fifth of the time takes more than half of them.
    for t in times:
        assert sum(t <= x < t + 0.4 for x in times) <= len(times) // 2, times


def test_drain_lists_who_holds_the_old_color(web, busy):
    teal = web(drain={"timeout": 60.0, "idle": 0.0})
    quiet = teal.connect().echo(b"x" * 5000)
    b = busy(teal)
    begun = time.monotonic()
    teal.ok("flip", "web", "blue")
    teal.connect().echo()  # on blue: not in the list
    time.sleep(0.5)
    r = teal.ok("drain", "web")
    holders = next(v for v in r.values() if isinstance(v, list))
    age = time.monotonic() - begun
    assert len(holders) == 2, r
    port = quiet.sock.getsockname()[1]
    q = next(h for h in holders if h["client"] == f"127.0.0.1:{port}")
    t = next(h for h in holders if h is not q)
    assert t["client"] == "127.0.0.1:%d" % b.client.sock.getsockname()[1]
    assert q["bytes_in"] == 5000 and q["bytes_out"] == 5006
    assert q["backend"] == t["backend"] == teal.green.address
    assert 0.45 <= q["idle"] <= q["age"] + 0.01 <= age + 1.0
    assert t["idle"] < 0.4 * slow() and t["age"] > 0.45
    quiet.close()
    until(lambda: len(next(v for v in teal.ok("drain", "web").values() if isinstance(v, list))) == 1, "one has left")


def test_drain_with_nobody_left(web):
    teal = web()
    for _ in range(2):
        holders = next(v for v in teal.ok("drain", "web").values() if isinstance(v, list))
        assert holders == []
        teal.ok("flip", "web", "blue")


def test_draining_is_counted(web):
    teal = web(drain={"timeout": 60.0, "idle": 0.0})
    clients = [teal.connect().echo() for _ in range(7)]
    assert teal.metrics().get("teal_draining_connections", service="web") == 0
    teal.ok("flip", "web", "blue")
    assert teal.metrics().get("teal_draining_connections", service="web", color="green") == 7
    for c in clients[:3]:
        c.close()
    teal.wait_metric(4, "teal_draining_connections", service="web", color="green")
    teal.ok("rollback", "web")
    assert teal.metrics().get("teal_draining_connections", service="web", color="green") == 0


@pytest.mark.tsan
def test_becoming_active_again_stops_the_drain(web, busy):
    teal = web(drain={"timeout": 1.5, "idle": 0.8})
    idle, active = teal.connect().echo(), busy(teal)
    teal.ok("flip", "web", "blue")
    r = teal.ok("rollback", "web")
    while time.monotonic() - r.at < 2.2:  # past both deadlines
        assert active.cut is None
        time.sleep(0.05)
    assert idle.alive and idle.echo().peer == "green"
    assert not teal.sessions(color="green")


def test_a_second_flip_drains_anew_with_its_own_deadline(web):
    teal = web(drain={"timeout": 60.0, "idle": 0.0})
    green = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    blue = teal.connect().echo()
    teal.ok("flip", "web", "green", "--drain=0.3")
    assert blue.read_end()[0] == b""
    assert green.echo().peer == "green"
    assert teal.wait_log("tcp.session", color="blue")["end"] == "drained"


def test_half_closed_and_stalled_ones_are_cut_at_the_deadline_too(web, backend):
    teal = web(green=[backend("green", firehose)], drain={"timeout": 0.6, "idle": 0.0})
    stalled, half = teal.connect(), teal.connect()
    half.sock.shutdown(socket.SHUT_WR)
    until(lambda: teal.green.flowed > 100_000, "it flows")
    r = teal.ok("flip", "web", "blue", "--wait=drained")
    assert r.seconds > 0.5
    teal.wait_log("tcp.session", 2, end="drained")
    assert teal.status()["colors"]["green"]["connections"] == 0


def test_many_connections_are_cut_at_one_deadline(web, farm):
    teal = web(green=[farm("green")], blue=[farm("blue")], drain={"timeout": 0.5, "idle": 0.0})
    clients = [teal.connect() for _ in range(1000)]
    for c in clients:
        assert c.peer == "green"
    r = teal.ok("flip", "web", "blue", "--wait=drained")
    assert 0.4 < r.seconds < 10 * slow()
    teal.wait_metric(1000, "teal_connections_total", service="web", color="green", end="drained")
    for c in clients:
        c.close()
