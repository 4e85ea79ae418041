"""What is said of services is of both processes together: colors, drains, holders, totals, limits, health."""
import os
import signal
import socket

import pytest

from helpers import libconfig
from helpers.certificates import Authority, connect, trusting
from helpers.kernel import Stage
from helpers.scale import until
from helpers.upgrade import gone, upgrade


class Scrapes:
    """Counters, looked at again and again: none of them may ever fall, or be gone."""

    def __init__(self, teal):
        self.teal = teal
        self.last = teal.metrics().counters()

    def __call__(self):
        m = self.teal.metrics()
        now = m.counters()
        assert {k: (v, now.get(k)) for k, v in self.last.items() if now.get(k, -1) < v} == {}
        self.last = now
        return m


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def stage(web, ca):
    """A teald whose clients speak TLS: what they hold cannot move, and stays in the former process."""
    def make(**keys):
        t = web(start=False, tls={"certificates": [ca.issue("web.example")]}, **keys)
        return t.start(supervised=True)
    return make


def held_by(teal, ca, color, **how):
    s = connect(teal.address("web"), trusting(ca), "web.example", **how)
    assert s.recv(100) == color.encode() + b"\n"
    return s


def echo(s, data):
    s.sendall(data)
    got = b""
    while len(got) < len(data):
        more = s.recv(len(data) - len(got))
        assert more
        got += more
    assert got == data


def holders(teal):
    return next(v for v in teal.ok("drain", "web").values() if isinstance(v, list))


def test_a_flip_right_behind_an_upgrade_is_of_both_processes(stage, ca):
    """One client is slow and stays in the former process, while its color is left."""
    teal = stage(drain={"timeout": 600.0, "idle": 0.0})
    with held_by(teal, ca, "green") as one, held_by(teal, ca, "green") as two:
        echo(one, b"x" * 50_000)
        scrapes = Scrapes(teal)
        former, _ = upgrade(teal)
        scrapes()
        assert teal.status()["colors"]["green"]["connections"] == 2
        r = teal.ok("flip", "web", "blue")
        assert r["active"] == "blue"
        s = teal.status()
        assert (s["active"], s["epoch"], s["applied_epoch"]) == ("blue", 2, 2)
        with held_by(teal, ca, "blue") as new, teal.admin() as waits:
            echo(new, b"new")
            assert sorted(h["client"] for h in holders(teal)) == sorted(
                "%s:%d" % s.getsockname()[:2] for s in (one, two))
            s = teal.status()
            assert s["drain"]["color"] == "green" and s["drain"]["remaining"] == 2 and s["connections"] == 3
            # A command that waits for the drain is told when the former process is empty, too.
            waits.send("flip", "web", "blue", "--wait=drained", "--timeout=600")
            scrapes()
            two.close()
            until(lambda: teal.status()["drain"]["remaining"] == 1, "one is left")
            echo(one, b"y" * 10)
            scrapes()
            assert teal.log_lines_now("flip.drained") == []
            one.close()
            line = teal.wait_log("flip.drained", color="green")
            assert (line["cut"], line["epoch"]) == (0, 2)
            assert waits.reply()["ok"]
    gone(former)
    teal.wait_log("upgrade.predecessor_gone", pid=former)
    m = scrapes()
    assert m.get("teal_connections_total", service="web", color="green") == 2
    assert m.get("teal_bytes_total", service="web", color="green", direction="in") == 50_010
    teal.wait_metric(0, "teal_connections", service="web")
    teal.wait_metric(0, "teal_places_taken", service="web")
    # Each step is told once.
    for event in ("flip.applied", "flip.draining", "flip.drained"):
        assert len(teal.log_lines(event)) == 1, event
    assert teal.stop() == 0


def test_a_drain_under_way_goes_on_and_ends_at_its_time(stage, ca):
    teal = stage(drain={"timeout": 600.0, "idle": 0.0}, clock=True)
    with held_by(teal, ca, "green") as one:
        teal.ok("flip", "web", "blue")
        teal.wait_log("flip.draining")
        teal.clock.move(100)
        echo(one, b"x")
        former, _ = upgrade(teal)
        s = until(lambda: teal.status()["drain"], "it drains")
        assert s["color"] == "green" and s["remaining"] == s["at_start"] == 1
        assert 0 < s["deadline_in"] <= 500
        scrapes = Scrapes(teal)
        teal.clock.move(500)
        line = teal.wait_log("flip.drained", color="green")
        assert line["cut"] == 1 and line["seconds"] >= 600
        try:
            assert one.recv(100) == b""
        except OSError:
            pass  # reset
    gone(former)
    teal.wait_log("upgrade.predecessor_gone", pid=former)
    m = scrapes()
    assert m.get("teal_connections_total", service="web", color="green", end="drained") == 1


def test_the_last_words_of_a_process_count_however_late_they_are_read(stage, ca):
    """The supervisor has told of its end by then."""
    teal = stage()
    with held_by(teal, ca, "green") as one:
        former, successor = upgrade(teal)
        os.kill(successor, signal.SIGSTOP)
        try:
            echo(one, b"x" * 5000)
            one.close()
            gone(former)
        finally:
            os.kill(successor, signal.SIGCONT)
    teal.wait_log("upgrade.predecessor_gone")
    m = teal.metrics()
    assert m.get("teal_connections_total", service="web", color="green") == 1
    assert m.get("teal_bytes_total", service="web", color="green", direction="in") == 5000


def test_limits_are_of_both_processes(stage, ca):
    teal = stage(max_connections=3)
    with held_by(teal, ca, "green") as one, held_by(teal, ca, "green"):
        former, _ = upgrade(teal)
        teal.wait_metric(2, "teal_places_taken", service="web")
        teal.wait_metric(2, "teal_backend_connections", service="web")
        with held_by(teal, ca, "green"):
            with pytest.raises(OSError):
                held_by(teal, ca, "green")
            # A place of the former process is one for the next client.
            one.close()
            until(lambda: teal.metrics().get("teal_places_taken", service="web") == 2, "it is free")
            with held_by(teal, ca, "green") as again:
                echo(again, b"in")
    gone(former)
    teal.wait_metric(0, "teal_places_taken", service="web")


def test_the_limit_of_the_process_is_of_both_together(stage, ca):
    teal = stage(top={"max_connections": 3})
    with held_by(teal, ca, "green") as one, held_by(teal, ca, "green"):
        former, _ = upgrade(teal)
        until(lambda: teal.metrics().get("teal_client_connections") == 2, "both are counted")
        with held_by(teal, ca, "green"):
            before = teal.metrics().get("teal_accept_pauses_total")
            with socket.create_connection(teal.address("web")) as late:
                until(lambda: teal.metrics().get("teal_accept_pauses_total") > before, "it is not accepted")
                # The former process' client leaves: its place is the next one's.
                one.close()
                with trusting(ca).wrap_socket(late, server_hostname="web.example") as again:
                    assert again.recv(100) == b"green\n"
                    echo(again, b"in")
    gone(former)
    until(lambda: teal.metrics().get("teal_client_connections") == 0, "all are given back")


def test_no_counter_falls_over_many_upgrades_under_load(web, load):
    teal = web(start=False, health={"type": "tcp", "interval": 0.2}).start(supervised=True)
    flow = load(teal, clients=4)
    scrapes = Scrapes(teal)
    generation = teal.ok("status")["config"]
    for _ in range(3):
        flow.more(30)
        teal.ok("flip", "web", "blue", "--force")
        scrapes()
        former, _ = upgrade(teal)
        scrapes()
        teal.ok("rollback", "web", "--force")
        scrapes()
        gone(former)
        scrapes()
    results = flow.finish()
    teal.wait_metric(len(results), "teal_connections_total", service="web", end="done")
    m = scrapes()
    assert [r for r in results if r.error] == []
    assert m.get("teal_flips_total", service="web", result="ok") == 6
    assert m.get("teal_flip_seconds_count", service="web") == 6
    assert teal.ok("status")["config"] == generation
    assert teal.ok("status")["uptime"] > 0


def test_health_and_maintenance_are_taken_over(web, backend):
    green, other = backend("green"), backend("green2")
    teal = web(start=False, green=[green, other], health={"type": "tcp", "interval": 0.2, "rise": 2, "fall": 2})
    teal.start(supervised=True)
    other.stop()
    until(lambda: teal.status()["colors"]["green"]["healthy"] == 1, "one is down")
    before = teal.status()["colors"]["green"]["backends"]
    teal.ok("maintenance", "on")
    upgrade(teal)
    after = teal.status()["colors"]["green"]["backends"]
    assert [(b["address"], b["state"], b["since"]) for b in before] == [(b["address"], b["state"], b["since"]) for b in after]
    assert teal.ok("status")["maintenance"]
    teal.ok("maintenance", "off")


def test_a_renamed_service_goes_on_with_what_it_has_counted(web, tmp_path):
    """A changed file with an upgrade."""
    teal = web(start=False).start(supervised=True)
    assert teal.connect().echo().peer == "green"
    teal.ok("flip", "web", "blue")
    until(lambda: teal.metrics().get("teal_connections_total", service="web", end="done") == 1, "it is counted")
    other = tmp_path / "other.conf"
    one, = teal.settings["services"]
    other.write_text(libconfig.dumps(teal.settings | {"services": [one | {"name": "shop", "rename": "web"}]}))
    held = teal.connect().echo()
    former, _ = upgrade(teal, f"--config={other}")
    gone(former)  # it held no connection: that goes over, too
    assert held.echo().peer == "blue"
    s = teal.status("shop")
    assert (s["active"], s["epoch"], s["colors"]["blue"]["connections"]) == ("blue", 2, 1)
    assert teal.ok("status")["config"]["generation"] == 2
    m = teal.metrics()
    assert m.get("teal_connections_total", service="shop", end="done") == 1
    assert not m.has("teal_connections_total", service="web")


def test_no_counter_of_the_kernel_engine_falls(topology, closing, teal):
    """Its connections are found again in the kernel, and counted once."""
    stage = Stage(topology, closing, teal, start=False, drain={"timeout": 0.2, "idle": 0.0})
    t = stage.teal.start(supervised=True)
    scrapes = Scrapes(t)
    stage.connect().echo()
    for n, color in ((1, "blue"), (2, "green")):
        t.ok("flip", "web", color)
        t.wait_metric(n, "teal_connections_total", service="web", end="drained")
        scrapes()
        stage.connect().echo()
        former, _ = upgrade(t)
        scrapes()
        gone(former)
        m = scrapes()
        assert m.get("teal_connections", service="web", color=color) == 1
        assert m.get("teal_flips_total", service="web", result="ok") == n
    scrapes()
