"""tealctl upgrade: another process takes over from the one that serves, with everything it has."""
import contextlib
import os
import signal
import ssl
import socket
import threading

import pytest

from helpers.certificates import Authority, connect, trusting
from helpers.kernel import Stage
from helpers.reload import rewrite
from helpers.scale import asleep, scaled, until
from helpers.teald import service
from helpers.upgrade import Unprepared


def upgrade(teal, *words):
    """One that must succeed; the Reply, once the new process serves."""
    before = teal.serving()
    r = teal.ctl("upgrade", *words)
    assert r["ok"] and r["changed"], (r, teal.stderr())
    assert r["from"]["pid"] == before and r["to"]["pid"] == teal.serving() != before
    return r


def alone(teal):
    """Waits until the former process has gone."""
    until(lambda: len(teal.ok("status")["generations"]) == 1, "one generation")


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def supervised(web):
    def make(*args, env=None, prefix=(), **keys):
        return web(start=False, **keys).start(*args, supervised=True, env=env, prefix=prefix)
    return make


def test_another_process_serves_and_flips_go_on(supervised):
    teal = supervised()
    teal.ok("flip", "web", "blue")
    r = upgrade(teal)
    assert teal.connect().echo().peer == "blue"
    s = teal.status()
    assert (s["active"], s["epoch"]) == ("blue", 2)
    alone(teal)
    teal.ok("flip", "web", "green")
    assert teal.connect().echo().peer == "green"
    status = teal.ok("status")
    assert status["generations"] == [{"pid": r["to"]["pid"], "version": status["version"], "role": "serving"}]
    assert status["upgrade"] is None and status["restarts"] == 0
    # The audit says who, and from what to what.
    line, = teal.log_lines("audit", command="upgrade")
    assert line["result"] == "ok" and str(r["from"]["pid"]) in line["message"] and str(r["to"]["pid"]) in line["message"]
    for event in ("upgrade.started", "upgrade.prepared", "upgrade.yielded", "upgrade.serving", "upgrade.finished"):
        assert len(teal.log_lines(event)) == 1, event
    assert teal.stop() == 0


def test_no_connect_is_refused_while_processes_change(supervised, load):
    teal = supervised()
    flow = load(teal, clients=8)
    for _ in range(4):
        flow.more(50)
        upgrade(teal)
        flow.more(50)
        alone(teal)
    results = flow.finish()
    assert len(results) >= 400
    assert [r for r in results if r.error or r.name != "green"] == []


@pytest.mark.parametrize("how, words, status, error", [
    ("missing", ["/no/such/teald", "No such file"], 2, "usage"),
    ("not executable", ["Permission denied"], 1, "internal"),
    ("broken file", ["no_such_key"], 2, "config"),
])
def test_one_that_fails_changes_nothing(supervised, tmp_path, how, words, status, error):
    teal = supervised()
    before = teal.serving()
    other = tmp_path / "teald-serve"
    if how == "missing":
        option = "--binary=/no/such/teald"
    elif how == "not executable":
        other.write_bytes(b"")
        option = f"--binary={other}"
    else:
        other = tmp_path / "other.conf"
        other.write_text("no_such_key = 1;")
        option = f"--config={other}"
    with teal.admin() as held:
        assert held.command("version")["ok"]
        p = teal.tealctl("upgrade", option, check=status)
        for word in words:
            assert word in p.stderr, p.stderr
        assert teal.connect().echo().peer == "green"
        now = teal.ok("status")
        assert now["pid"] == before and len(now["generations"]) == 1 and now["upgrade"] is None
        assert held.command("version")["pid"] == before
    assert teal.log_lines("upgrade.failed")[0]["by"] == "root"
    assert teal.log_lines("audit", command="upgrade")[0]["result"] == error
    assert teal.metrics().get("teal_upgrades_total", result="failed") == 1
    # And the next one is none the worse for it.
    upgrade(teal)
    m = teal.metrics()
    assert m.get("teal_upgrades_total", result="failed") == 1 and m.get("teal_upgrades_total", result="ok") == 1
    assert m.get("teal_generations") in (1, 2)


def test_without_a_supervisor_it_is_refused_by_name(web):
    teal = web()
    r = teal.ctl("upgrade")
    assert (r["error"], r["changed"]) == ("unsupported", False) and "--no-supervisor" in r["message"]
    assert teal.tealctl("upgrade", check=2)
    assert teal.tealctl("upgrade", "--binary=teald", check=2)  # a path that would mean another in teald


def test_admin_connections_and_streams_of_events_go_over(supervised):
    teal = supervised()
    with teal.admin() as idle, teal.admin() as half, teal.admin() as events:
        old = idle.command("version")["pid"]
        half.sock.sendall(b"vers")
        events.send("events", "web")
        assert events.object()["event"] == "events.listening"
        upgrade(teal)
        assert idle.command("version")["pid"] != old
        half.sock.sendall(b"ion\n")
        assert half.reply()["pid"] != old
        teal.ok("flip", "web", "blue")
        until(lambda: events.object()["event"] == "flip.applied", "the stream tells of the flip")


def test_a_client_with_fewer_rights_keeps_them(supervised):
    """Who is at the other end of a connection is asked of the kernel again."""
    teal = supervised()
    with teal.admin() as a:
        before = a.command("whoami")
        upgrade(teal)
        after = a.command("whoami")
        assert (before["uid"], before["pid"]) == (after["uid"], after["pid"])
        alone(teal)


def test_signals_ask_for_it_too(supervised):
    teal = supervised()
    before = teal.serving()
    teal.signal(signal.SIGUSR2)
    until(lambda: teal.log_lines_now("upgrade.serving", by="SIGUSR2"), "the signal's upgrade")
    until(lambda: teal.serving() != before, "another process serves")
    alone(teal)
    assert teal.connect().echo().peer == "green"


def test_a_flip_that_waits_for_its_drain_is_answered(supervised):
    teal = supervised()
    with teal.connect() as held, teal.admin() as a:
        assert held.echo().peer == "green"
        a.send("flip", "web", "blue", "--wait=drained", "--timeout=600")
        teal.wait_log("flip.draining")
        upgrade(teal)
        assert teal.connect().echo().peer == "blue"
        assert held.echo().peer == "green"
        held.close()
        r = a.reply()
        assert r["ok"] and r["epoch"] == 2, r
    alone(teal)


@pytest.fixture
def slow(supervised, backend, tmp_path):
    """A running teald, and the file of another one that is prepared when it is told to be."""
    def make(**keys):
        teal = supervised(**keys)
        return teal, Unprepared(teal, backend, tmp_path)
    return make


def test_a_second_one_is_refused_while_the_first_prepares(slow):
    teal, other = slow()
    with teal.admin() as a:
        a.send("upgrade", other.option)
        until(lambda: teal.ok("status")["upgrade"], "it is under way")
        r = teal.ctl("upgrade")
        assert r["error"] == "conflict" and "under way" in r["message"] and r["changed"] is False
        states = [g["role"] for g in teal.ok("status")["generations"]]
        assert states in (["serving"], ["serving", "preparing"])
        other.go()
        assert a.reply()["ok"]


def test_one_that_is_not_ready_in_time_is_ended(slow):
    teal, other = slow(top={"upgrade": {"ready_timeout": 1.0}})
    before = teal.serving()
    r = teal.ctl("upgrade", other.option)
    assert r["error"] == "timeout" and not r["changed"], r
    assert teal.serving() == before and len(teal.ok("status")["generations"]) == 1


def test_a_reload_asked_for_meanwhile_is_done_by_the_next_process(slow):
    teal, other = slow()
    with teal.admin() as a, teal.admin() as b:
        a.send("upgrade", other.option)
        until(lambda: teal.ok("status")["upgrade"], "it is under way")
        b.send("reload")
        other.go()
        assert a.reply()["ok"]
        r = b.reply()
        assert r["ok"] and r["changed"] is False
    assert len(teal.log_lines("reload.applied")) == 1
    assert teal.log_lines("audit", command="reload")


def test_a_hangup_meanwhile_is_heard_by_the_next_process(slow):
    teal, other = slow()
    with teal.admin() as a:
        a.send("upgrade", other.option)
        until(lambda: teal.ok("status")["upgrade"], "it is under way")
        teal.signal(signal.SIGHUP)
        teal.wait_log("teald.signal", signal="SIGHUP")
        other.go()
        assert a.reply()["ok"]
    assert teal.wait_log("reload.applied", by="SIGHUP")


def test_a_stop_while_one_prepares_ends_all(slow):
    teal, other = slow()
    with teal.admin() as a:
        a.send("upgrade", other.option)
        until(lambda: teal.ok("status")["upgrade"], "it is under way")
        teal.signal()
        r = a.reply()
        assert r["ok"] is False and r["changed"] is not True
    assert teal.wait() == 0


def test_a_fleet_sees_one_and_the_same_member(supervised, redis):
    server = redis()
    teal = supervised(top={"store": {"type": "redis", "url": server.url}})
    members = [m["id"] for m in teal.ok("fleet")["fleet"]]
    for color in ("blue", "green"):
        upgrade(teal)
        teal.ok("flip", "web", color)
        assert teal.connect().echo().peer == color
        alone(teal)
    assert [m["id"] for m in teal.ok("fleet")["fleet"]] == members
    assert not teal.log_lines("store.twin")


def test_a_connection_lives_through_upgrades(supervised):
    teal = supervised()
    with teal.connect() as held:
        assert held.echo().peer == "green"
        for n in range(3):
            upgrade(teal)
            held.echo(b"%d" % n)
            alone(teal)  # the process before has nothing of it any more
            held.echo(b"x" * 100_000)
        s = teal.status()
        assert s["colors"]["green"]["connections"] == 1
        teal.ok("flip", "web", "blue")
        held.echo()
        assert teal.status()["colors"]["green"]["connections"] == 1
    until(lambda: teal.status()["colors"]["green"]["connections"] == 0, "it is over")
    line, = teal.log_lines("tcp.session", color="green")
    assert line["bytes_in"] == line["bytes_out"] - len("green\n") == 3 + 3 * 100_000 + 2 * 5


def test_what_cannot_move_is_named_until_it_ends(supervised, ca):
    certificate = ca.issue("web.example")
    teal = supervised(tls={"certificates": [certificate]})
    with connect(teal.address("web"), trusting(ca), "web.example") as held:
        assert held.recv(100) == b"green\n"
        r = teal.ctl("upgrade")
        # From the first moment on it is known what holds the former process.
        assert r["ok"] and teal.ok("status")["generations"][1]["connections"] >= 1
        other = connect(teal.address("web"), trusting(ca), "web.example")
        assert other.recv(100) == b"green\n"
        other.close()
        held.sendall(b"still here")
        assert held.recv(100) == b"still here"
        leaving = until(lambda: [g for g in teal.ok("status")["generations"] if g.get("connections") == 1 and g["commands"] == 0],
                        "the former process is named with what it holds")[0]
        assert leaving["role"] == "leaving" and leaving["pid"] == r["from"]["pid"]
        m = teal.metrics()
        assert m.get("teal_generations") == 2 and m.get("teal_upgrade_predecessor_connections") == 1
        out = teal.tealctl("status", check=0).stdout
        assert f"\t{leaving['pid']}\tleaving\t1\t0\n" in out, out
        # Never a third: it is refused by name.
        r = teal.ctl("upgrade")
        assert r["error"] == "conflict" and str(leaving["pid"]) in r["message"] and "1 connections" in r["message"]
        p = teal.tealctl("status", check=0)
        # A flip holds for both.
        teal.ok("flip", "web", "blue")
        held.sendall(b"and now")
        assert held.recv(100) == b"and now"
    alone(teal)
    upgrade(teal)


@pytest.mark.tsan
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_clients_come_back_by_their_tickets_after_upgrades(supervised, ca, version):
    teal = supervised(tls={"certificates": [ca.issue("web.example")]})
    context = trusting(ca, maximum_version=getattr(ssl.TLSVersion, version))
    session = None
    for n in range(3):
        with connect(teal.address("web"), context, "web.example", session=session) as c:
            assert c.recv(100) == b"green\n"  # and with it, in TLS 1.3, a ticket
            assert c.session_reused == (n > 0)
            session = c.session
        upgrade(teal)
        alone(teal)


def test_what_is_left_at_the_timeout_is_ended(supervised, ca):
    teal = supervised(tls={"certificates": [ca.issue("web.example")]}, top={"upgrade": {"timeout": 1.0}})
    with connect(teal.address("web"), trusting(ca), "web.example") as held:
        assert held.recv(100) == b"green\n"
        upgrade(teal)
        assert teal.wait_log("upgrade.timeout")["remaining"] == 1
        try:
            assert held.recv(100) == b""
        except OSError:
            pass  # reset
    alone(teal)


def test_a_successor_that_dies_as_it_takes_over_is_replaced(supervised):
    """Killed at any moment behind the yielding: another one is started, and no client is refused."""
    teal = supervised()
    with teal.connect() as held:
        held.echo()
        for _ in range(3):
            seen = len(teal.log_lines("upgrade.yielded"))
            with teal.admin() as a:
                a.send("upgrade")
                pid = teal.wait_log("upgrade.yielded", seen + 1)["pid"]
                os.kill(pid, signal.SIGKILL)
                assert teal.connect().echo().peer == "green"
                until(lambda: teal.serving() != pid, "another one serves")
            alone(teal)


def test_a_predecessor_that_dies_before_it_yields_leaves_all_to_the_other(slow):
    """The one that prepares goes on as a start after a crash."""
    teal, other = slow()
    before = teal.serving()
    with teal.admin() as a:
        a.send("upgrade", other.option)
        until(lambda: len(teal.ok("status")["generations"]) == 2, "the other one prepares")
        os.kill(before, signal.SIGKILL)
        other.go()
    status = until(lambda: teal.running and _status(teal, before), "another one serves")
    assert status["restarts"] == 1 and len(status["generations"]) == 1


def _status(teal, before):
    try:
        status = teal.ok("status")
    except (OSError, AssertionError):
        return None
    return status if status["pid"] != before else None


@pytest.mark.tsan
def test_flows_in_the_kernel_do_not_notice(topology, closing, teal):
    stage = Stage(topology, closing, teal, start=False)
    stage.teal.start(supervised=True)
    loads = {"web": stage.load(), "dns": stage.load(udp=True)}
    active = "green"
    for _ in range(2):
        stage.hold()
        upgrade(stage.teal)
        alone(stage.teal)
        active = "blue" if active == "green" else "green"
        stage.teal.ok("flip", "web", active)
        assert stage.connect().echo().peer == active
        stage.check_held()
    for name, load in loads.items():
        failed = [s for s in load.finish() if s.error or s.retries]
        assert not failed, f"{name}: {failed[:5]}"


@pytest.mark.parametrize("keys", [{"workers": 3}, {"state_dir": "other"}, {"admin": "other.sock"}],
                         ids=["workers", "state_dir", "admin.socket"])
def test_what_a_reload_cannot_change_an_upgrade_does(supervised, tmp_path, keys):
    teal = supervised()
    teal.ok("flip", "web", "blue")
    teal.ok("lock", "web", "--reason=holidays")
    name, value = next(iter(keys.items()))
    if name == "state_dir":
        (tmp_path / value).mkdir()
        rewrite(teal, state_dir=str(tmp_path / value))
    elif name == "admin":
        old, teal.admin_path = teal.admin_path, teal.admin_path + ".other"
        rewrite(teal, admin={"socket": teal.admin_path})
        teal.admin_path = old
    else:
        rewrite(teal, workers=value)
    r = teal.ctl("reload")
    assert r["error"] == "unsupported" and "tealctl upgrade" in r["message"], r
    with teal.connect() as held:
        held.echo()
        assert teal.ctl("upgrade")["ok"]
        teal.admin_path = teal.settings["admin"]["socket"]
        until(lambda: os.path.exists(teal.admin_path), "the socket is there")
        held.echo()
        alone(teal)
        held.echo()
    status = teal.ok("status")
    assert status["workers"] == teal.settings["workers"]
    s = teal.status()
    assert (s["active"], s["epoch"], s["locked"]["reason"]) == ("blue", 2, "holidays")
    teal.ok("unlock", "web")
    r = teal.ok("flip", "web", "green")
    assert r["epoch"] == 3
    # It is durable there, too.
    os.kill(teal.serving(), signal.SIGKILL)
    s = until(lambda: _status(teal, status["pid"]) and teal.status(), "another one serves")
    assert (s["active"], s["epoch"]) == ("green", 3)


class Flipper(threading.Thread):
    """Flips to and fro over one connection, or a new one each time, until told to stop."""

    def __init__(self, teal, name, fresh):
        super().__init__(daemon=True)
        self.teal, self.name, self.fresh = teal, name, fresh
        self.done, self.replies, self.error = threading.Event(), [], None

    def run(self):
        try:
            a, to = self.teal.admin(), "blue"
            while not self.done.is_set():
                if self.fresh:
                    a.close()
                    a = self.teal.admin()
                r = a.command("flip", self.name, to, "--wait=applied", "--timeout=60")
                self.replies.append(r)
                assert r["ok"] and r["changed"], r
                to = "green" if to == "blue" else "blue"
            a.close()
        except Exception as e:  # told by the test
            self.error = e


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_flips_at_any_moment_are_carried_out_once(teal, backend, ports, redis, kind):
    """Commands that come while processes change wait; none is lost, none is done twice."""
    top = {"store": {"type": "redis", "url": redis().url}} if kind == "redis" else {}
    names = ["kept", "fresh"]
    t = teal(services=[service(name, listen=f"127.0.0.1:{ports.hold()}", green=[backend("green")], blue=[backend("blue")])
                       for name in names], start=False, **top)
    t.start(supervised=True)
    flippers = [Flipper(t, name, name == "fresh") for name in names]
    for f in flippers:
        f.start()
    for _ in range(scaled(50, 5)):
        seen = [len(f.replies) for f in flippers]
        upgrade(t)
        until(lambda: all(len(f.replies) > n + 1 or f.error for f, n in zip(flippers, seen)), "flips go on")
        alone(t)
    for f in flippers:
        f.done.set()
        f.join()
        assert f.error is None, f.error
        epochs = [r["epoch"] for r in f.replies]
        assert epochs == list(range(2, len(epochs) + 2))
        s = t.status(f.name)
        assert s["epoch"] == epochs[-1] and s["active"] == f.replies[-1]["active"]
        assert t.connect(f.name).echo().peer == s["active"]


@pytest.mark.parametrize("event", ["upgrade.started", "teald.starting", "upgrade.prepared", "upgrade.yielded", "upgrade.serving"])
def test_a_stop_in_any_phase_ends_both(supervised, event):
    teal = supervised()
    teal.wait_log("teald.starting")
    with teal.connect() as held, teal.admin() as a:
        held.echo()
        a.send("upgrade")
        teal.wait_log(event, 2 if event == "teald.starting" else 1)
        teal.signal()
        assert teal.wait() == 0
    assert not teal.log_lines_now("teald.crashed")


def test_an_address_that_the_next_one_does_not_have_is_let_go(teal, backend, ports):
    """Clients are refused there, and not queued for nobody; a new one is there with the first service."""
    old, new = (f"127.0.0.1:{ports.hold()}" for _ in range(2))
    green, blue = [backend("green")], [backend("blue")]
    t = teal(services=[service("web", listen=f"127.0.0.1:{ports.hold()}", green=green, blue=blue),
                       service("gone", listen=old, green=green, blue=blue)], start=False).start(supervised=True)
    assert t.connect("gone").echo().peer == "green"
    rewrite(t, services=[t.settings["services"][0], service("come", listen=new, green=green, blue=blue)])
    r = t.ctl("upgrade")
    assert r["ok"], r
    assert t.connect("come").echo().peer == "green" and t.connect("web").echo().peer == "green"

    def refused():
        host, port = old.split(":")
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            return True
        return False
    until(refused, "nothing listens there any more")
    alone(t)
    assert [s["name"] for s in t.ok("status")["services"]] == ["web", "come"]


def test_a_flip_that_does_not_end_stops_the_upgrade_and_not_itself(supervised, black_hole):
    """Nothing may be between the store and the workers when another process takes over."""
    teal = supervised(blue=[black_hole()], health={"interval": 0.2, "timeout": 0.2, "rise": 1, "fall": 2},
                      top={"upgrade": {"ready_timeout": 4.0}})     # in which the other one is prepared
    before = teal.serving()
    with teal.admin() as a:
        a.send("flip", "web", "blue", "--wait-healthy=600")
        r = teal.ctl("upgrade")
        assert r["error"] == "timeout" and "flip" in r["message"] and r["changed"] is False, r
        assert teal.serving() == before and teal.connect().echo().peer == "green"
        assert len(until(lambda: [g for g in [teal.ok("status")["generations"]] if len(g) == 1], "one is left")) == 1


def test_who_has_connected_to_observe_is_answered_whoever_serves(supervised):
    """A probe that asks a moment after it connected, and between them another process took over."""
    teal = supervised()

    def answered():
        said = b""
        with socket.create_connection(teal.observe) as s:
            until(lambda: asleep(teal.serving(), looks=3), "it was accepted")
            upgrade(teal)
            with contextlib.suppress(ConnectionError):     # one that takes seconds to ask is sent away
                s.sendall(b"GET /readyz HTTP/1.1\r\nHost: teal\r\n\r\n")
                said = s.recv(100)
        alone(teal)
        return said.startswith(b"HTTP/1.1 200 ")
    until(answered, "it is answered")


def test_streams_of_the_status_page_come_again(supervised):
    teal = supervised()

    def watch():
        s = socket.create_connection(teal.observe)
        s.sendall(b"GET /events HTTP/1.1\r\nHost: teal\r\n\r\n")
        text = b""
        while b"event: snapshot" not in text:
            more = s.recv(1 << 16)
            assert more, text
            text += more
        return s
    with watch() as s:
        upgrade(teal)
        while s.recv(1 << 16):
            pass  # to its end
    watch().close()
    alone(teal)


def test_who_asks_how_it_goes_is_answered_while_a_flip_holds_up_an_upgrade(supervised, black_hole):
    """Probes of /readyz that hung for ready_timeout would have Teal taken out of service."""
    teal = supervised(blue=[black_hole()], health={"interval": 0.2, "timeout": 0.2, "rise": 1, "fall": 2},
                      top={"upgrade": {"ready_timeout": 600.0}})
    before = teal.serving()
    with teal.admin() as flip, teal.admin() as asks, teal.admin() as locks, teal.admin() as half:
        flip.send("flip", "web", "blue", "--wait-healthy=1200", "--timeout=1200")
        half.sock.sendall(b"act")
        asks.send("upgrade")
        teal.wait_log("upgrade.prepared")
        assert teal.http("/readyz")[0] == 200
        status = teal.ok("status")
        assert (status["pid"], status["upgrade"]["state"], len(status["generations"])) == (before, "freezing", 2)
        assert teal.tealctl("active", "web", check=0).stdout == "green\n"
        # A connection that is there is read, too; and a second upgrade is refused at once, as ever.
        half.sock.sendall(b"ive web\n")
        assert half.reply()["color"] == "green"
        assert "under way" in teal.tealctl("upgrade", check=5).stderr
        # What changes something waits, and is done by the process that serves then.
        locks.send("lock", "web", "--reason=held")
        assert not teal.status()["locked"]
        # So does a stop, which is carried out.
        teal.ok("stop")
        assert asks.reply()["error"] == "internal" and not flip.reply()["ok"]
    assert teal.wait() == 0


def test_a_command_that_waited_for_an_upgrade_is_the_next_process_s(supervised, black_hole):
    teal = supervised(blue=[black_hole()], health={"interval": 0.2, "timeout": 0.2, "rise": 1, "fall": 2},
                      top={"upgrade": {"ready_timeout": 600.0}})
    before = teal.serving()
    with teal.admin() as flip, teal.admin() as asks, teal.admin() as locks:
        flip.send("flip", "web", "blue", "--wait-healthy=3")
        asks.send("upgrade")
        teal.wait_log("upgrade.prepared")
        locks.send("lock", "web", "--reason=held")
        assert flip.reply()["error"] == "unhealthy"
        assert asks.reply()["ok"]
        assert locks.reply()["ok"]
        assert teal.serving() != before and teal.status()["locked"]
        # The connection goes on there.
        assert locks.command("version")["pid"] == teal.serving()
    alone(teal)
