"""The old color runs empty in peace: the idle leave early, the busy at the
deadline, and who becomes active again stops draining."""
import socket

import pytest

from helpers.backends import firehose
from helpers.scale import scaled, until


def drains(web, **drain):
    """A teald whose drains take as long as the test says."""
    return web(clock=True, drain=drain)


@pytest.mark.tsan
def test_idle_ones_leave_early_busy_ones_at_the_deadline(web):
    teal = drains(web, timeout=2000.0, idle=400.0)
    idle = [teal.connect().echo() for _ in range(5)]
    busy = [teal.connect().echo() for _ in range(3)]
    teal.ok("flip", "web", "blue")
    teal.clock.move(300)
    for c in busy:
        c.echo()
    assert all(c.alive for c in idle)
    teal.clock.move(100)
    for c in idle:
        assert c.read_end()[0] == b""
    teal.wait_log("tcp.session", 5, end="drain_idle", color="green")
    for _ in range(5):
        for c in busy:
            c.echo()
        teal.clock.move(300)
    for c in busy:
        c.echo()
    assert not teal.sessions(end="drained")
    teal.clock.move(100)
    for c in busy:
        assert c.read_end()[0] == b""
    assert teal.wait_log("tcp.session", 3, end="drained", color="green")["seconds"] >= 2000
    m = teal.wait_metric(3, "teal_connections_total", service="web", color="green", end="drained")
    assert m.get("teal_connections_total", service="web", color="green", end="drain_idle") == 5
    teal.wait_metric(0, "teal_draining_connections", service="web", color="green")
    until(lambda: teal.status()["colors"]["green"]["draining"] is False, "drained")


def test_one_that_was_idle_already_does_not_wait_again(web):
    """Idle for longer than drain.idle at the flip: closed at once."""
    teal = drains(web, timeout=36000.0, idle=1000.0)
    c, quieter = teal.connect().echo(), teal.connect().echo()
    teal.clock.move(600)
    c.echo()
    teal.clock.move(500)
    teal.ok("flip", "web", "blue")
    assert quieter.read_end()[0] == b""
    assert c.alive
    teal.clock.move(500)
    assert c.read_end()[0] == b""
    teal.wait_log("tcp.session", 2, end="drain_idle")


def test_traffic_puts_the_idle_close_off(web):
    teal = drains(web, timeout=36000.0, idle=1000.0)
    c = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    for _ in range(4):
        teal.clock.move(600)
        c.echo()
    teal.clock.move(1000)
    assert c.read_end()[0] == b""
    assert teal.wait_log("tcp.session")["end"] == "drain_idle"


def test_without_drain_idle_only_the_deadline_closes(web):
    teal = drains(web, timeout=1200.0, idle=0.0)
    c = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    teal.clock.move(1000)
    assert c.alive
    teal.clock.move(200)
    assert c.read_end()[0] == b""
    assert teal.wait_log("tcp.session")["end"] == "drained"


def test_a_drain_timeout_of_zero_closes_at_once(web):
    teal = web(drain={"timeout": 0.0})
    clients = [teal.connect().echo() for _ in range(10)]
    teal.ok("flip", "web", "blue", "--wait=drained")
    for c in clients:
        assert c.read_end()[0] == b""
    teal.wait_log("tcp.session", 10, end="drained")


def test_the_closes_are_spread(web):
    teal = drains(web, timeout=36000.0, idle=100.0, spread=2000.0)
    clients = [teal.connect().echo() for _ in range(40)]
    teal.clock.move(300)  # idle long enough at the flip
    teal.ok("flip", "web", "blue")
    # No herd: no fifth of the time takes more than half of them.
    gone = []
    for _ in range(5):
        before = sum(c.alive for c in clients)
        teal.clock.move(420)
        gone.append(before - sum(c.alive for c in clients))
    assert sum(gone) == len(clients) and max(gone) <= len(clients) // 2, gone
    teal.wait_log("tcp.session", len(clients), end="drain_idle")


def test_drain_lists_who_holds_the_old_color(web):
    teal = drains(web, timeout=36000.0, idle=0.0)
    quiet = teal.connect().echo(b"x" * 5000)
    busy = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    teal.connect().echo()  # on blue: not in the list
    teal.clock.move(500)
    busy.echo()
    r = teal.ok("drain", "web")
    holders = next(v for v in r.values() if isinstance(v, list))
    assert len(holders) == 2, r
    port = quiet.sock.getsockname()[1]
    q = next(h for h in holders if h["client"] == f"127.0.0.1:{port}")
    t = next(h for h in holders if h is not q)
    assert t["client"] == "127.0.0.1:%d" % busy.sock.getsockname()[1]
    assert q["bytes_in"] == 5000 and q["bytes_out"] == 5006
    assert q["backend"] == t["backend"] == teal.green.address
    assert 500 <= q["idle"] <= q["age"]
    assert t["idle"] < 500 <= t["age"]
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
def test_becoming_active_again_stops_the_drain(web):
    teal = drains(web, timeout=1500.0, idle=800.0)
    idle, busy = teal.connect().echo(), teal.connect().echo()
    teal.ok("flip", "web", "blue")
    teal.ok("rollback", "web")
    for _ in range(4):  # past both deadlines
        teal.clock.move(600)
        busy.echo()
    assert idle.echo().peer == "green"
    assert not teal.sessions(color="green")


def test_a_second_flip_drains_anew_with_its_own_deadline(web):
    teal = drains(web, timeout=3600.0, idle=0.0)
    green = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    blue = teal.connect().echo()
    teal.ok("flip", "web", "green", "--drain=300")
    teal.clock.move(200)
    assert blue.alive
    teal.clock.move(100)
    assert blue.read_end()[0] == b""
    teal.clock.move(7200)
    assert green.echo().peer == "green"
    assert teal.wait_log("tcp.session", color="blue")["end"] == "drained"


def test_half_closed_and_stalled_ones_are_cut_at_the_deadline_too(web, backend):
    teal = web(clock=True, green=[backend("green", firehose)], drain={"timeout": 600.0, "idle": 0.0})
    stalled, half = teal.connect(), teal.connect()
    half.sock.shutdown(socket.SHUT_WR)
    until(lambda: teal.green.flowed > 100_000, "it flows")
    with teal.admin() as a:
        a.send("flip", "web", "blue", "--wait=drained", "--timeout=3600")
        while a.object()["event"] != "applied":
            pass
        teal.clock.move(500)
        assert teal.status()["colors"]["green"]["connections"] == 2
        teal.clock.move(100)
        assert a.reply()["ok"]
    teal.wait_log("tcp.session", 2, end="drained")
    assert teal.status()["colors"]["green"]["connections"] == 0
    stalled.close()


def test_many_connections_are_cut_at_one_deadline(web, farm):
    teal = web(clock=True, green=[farm("green")], blue=[farm("blue")], drain={"timeout": 600.0, "idle": 0.0})
    clients = [teal.connect() for _ in range(scaled(1000, 300))]
    for c in clients:
        assert c.peer == "green"
    teal.ok("flip", "web", "blue")
    teal.clock.move(500)
    assert teal.status()["colors"]["green"]["connections"] == len(clients)
    teal.clock.move(100)
    teal.wait_metric(len(clients), "teal_connections_total", service="web", color="green", end="drained")
    for c in clients:
        assert c.read_end()[0] == b""
        c.close()
