"""A bake: after a flip the new color is judged by what its clients meet, and rolled back when it is worse."""
import socket
import struct

import pytest

from helpers.clients import connect_from
from helpers.http1 import Http, Reader
from helpers.reload import rewrite
from helpers.scale import dice, patience, scaled, until
from helpers.upgrade import upgraded

RESET = struct.pack("ii", 1, 0)


class Release:
    """What a color's backend does: so many of a hundred requests go wrong, evenly."""

    def __init__(self, percent=0):
        self.percent, self._dice = percent, dice()

    def _bad(self):
        return self._dice.random() * 100 < self.percent

    def http(self, conn, backend):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            reader.body_of(m)
            backend.note(conn, b"x")
            status = "500 Oops" if self._bad() else "200 OK"
            conn.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    def tcp(self, conn, backend):
        data = conn.recv(100)
        backend.note(conn, b"x")
        if self._bad():
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif data:
            conn.sendall(data)
        conn.close()


class Crowd:
    """Clients, each with an address of its own."""

    def __init__(self, teal, mode):
        self.teal, self.mode, self.n, self.met = teal, mode, 0, 0

    def _source(self):
        self.n += 1
        return f"127.{1 + self.n // 62500}.{self.n // 250 % 250}.{1 + self.n % 250}", 0

    def _meets_trouble(self, source):
        if self.mode == "http":
            with Http(self.teal.address(), source=source) as c:
                return c.ask("/").status != 200
        with connect_from(self.teal.address(), patience(), source) as c:
            c.sendall(b"hello")
            try:
                return c.recv(100) != b"hello"
            except ConnectionResetError:
                return True

    def come(self, n):
        """So many new ones, and for each whether it met trouble."""
        came = [self._meets_trouble(self._source()) for _ in range(n)]
        self.met += sum(came)
        return came

    def retry(self, n):
        """One more that comes again and again."""
        source = self._source()
        return sum(self._meets_trouble(source) for _ in range(n))


def threshold_cost(came, percent, rate, seconds=300):
    """How many clients meet trouble until a judge reverts who looks at the end of each minute, and wants more than 5 %
    of errors: of what came, and would have come on."""
    on = dice()
    minutes = 0
    trace = list(came)
    while minutes * 60 < seconds:
        minutes += 1
        while len(trace) < minutes * 60 * rate:
            trace.append(on.random() * 100 < percent)
        minute = trace[-60 * rate:]
        if sum(minute) > 0.05 * len(minute):
            break
    return sum(trace)


class Stage:
    def __init__(self, web, backend, mode, percent=0, old_percent=0, **keys):
        self.green, self.blue = Release(old_percent), Release(percent)
        self.old = backend("green", getattr(self.green, mode))
        self.teal = web(green=[self.old], blue=[backend("blue", getattr(self.blue, mode))],
                        mode=mode, clock=True, flip={"bake": 300.0}, **keys)
        self.crowd = Crowd(self.teal, mode)

    def clients(self, color):
        return self.teal.metrics("web").get("teal_bake_clients_total", service="web", color=color)

    def counted(self, n, color):
        """As many clients, but for those that share a group with another one."""
        until(lambda: self.clients(color) >= 0.8 * n, f"{n} clients of {color} are counted")


@pytest.fixture
def stage(web, backend):
    def make(mode="http", percent=0, old_percent=0, **keys):
        return Stage(web, backend, mode, percent, old_percent, **keys)
    return make


@pytest.mark.parametrize("mode", ["http", "tcp"])
@pytest.mark.parametrize("percent, rate", [(20, 20)] + scaled([(20, 2000), (5, 20), (5, 2000), (1, 20), (1, 2000)], []))
def test_a_release_that_goes_bad_is_rolled_back_by_itself(stage, mode, percent, rate):
    """So many clients come each second, and of them so many percent meet trouble after the flip."""
    s = stage(mode, percent)
    s.crowd.come(400 if percent == 20 else 6000)
    s.counted(400, "green")
    came = []
    with s.teal.admin() as a:
        a.send("flip", "web", "blue", "--bake=300", "--reason=deploy")
        s.teal.wait_log("service.claimed")
        while not s.teal.log_lines_now("bake.ended"):
            came += s.crowd.come(rate)
            s.teal.clock.move(1)
        reply = a.reply()
    assert (reply["ok"], reply["error"], reply["verdict"]) == (False, "rolled_back", "rolled_back")
    assert (reply["active"], reply["changed"]) == ("green", True)
    evidence = reply["evidence"]
    assert evidence["worse"] and evidence["signal"] == ("answer" if mode == "http" else "connect")
    assert evidence["log10_e"] >= evidence["needed"]
    print(f"bad release: {mode}, {percent} %, {rate} clients/s: {reply['seconds']:.0f} s, {sum(came)} of {len(came)} clients met "
          f"trouble; by a threshold of 5 % a minute {threshold_cost(came, percent, rate)}")
    # It is in the history as any other rollback, with the numbers.
    last = [h for h in s.teal.ok("history", "web")["history"] if h["kind"] == "rollback"][-1]
    assert last["by"] == "teal" and "E = 10^" in last["reason"]
    assert s.teal.status()["claimed"] is None
    met = s.crowd.met
    s.crowd.come(20)
    assert s.crowd.met == met


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_a_good_release_is_never_rolled_back(stage, mode):
    """Both colors fail a client in fifty, and in every third release one client comes again and again."""
    s = stage(mode, 2, 2)
    verdicts = []
    for round_, color in zip(range(scaled(100, 5)), ["blue", "green"] * 50):
        s.crowd.come(240)
        with s.teal.admin() as a:
            a.send("flip", "web", color)
            s.teal.wait_log("bake.begun", epoch=round_ + 2)
            for step in range(10):
                s.crowd.come(24)
                if step == round_ % 30:
                    s.crowd.retry(50)
                s.teal.clock.move(5)
            while not s.teal.log_lines_now("bake.ended", epoch=round_ + 2):
                s.teal.clock.move(50)
            reply = a.reply()
        assert reply["active"] == color and not reply["evidence"]["worse"], reply
        verdicts.append(reply["verdict"])
        assert {e["event"] for e in reply.events} >= {"committed", "applied", "baking"}
    print(f"good releases: {mode}: {verdicts.count('baked')} baked, {verdicts.count('inconclusive')} inconclusive")
    assert set(verdicts) <= {"baked", "inconclusive"} and "baked" in verdicts
    counted = s.teal.metrics("web")
    assert sum(counted.get("teal_bake_verdicts_total", service="web", to=to, verdict="baked")
               for to in ("green", "blue")) == verdicts.count("baked")


def test_without_traffic_it_is_inconclusive(stage):
    s = stage()
    with s.teal.admin() as a:
        a.send("flip", "web", "blue", "--bake=30")
        s.teal.wait_log("bake.begun")
        while not s.teal.log_lines_now("bake.ended"):
            s.teal.clock.move(10)
        reply = a.reply()
    assert (reply["ok"], reply["error"], reply["active"], reply["changed"]) == (False, "inconclusive", "blue", True)
    assert "nothing to compare" in reply["message"]
    assert s.teal.tealctl("wait", "web", "--for=baked").returncode == 12


def test_a_bake_bars_other_flips_and_may_be_ended(stage):
    s = stage()
    assert s.teal.ctl("bake", "web", "abort")["error"] == "conflict"
    assert s.teal.ctl("signal", "web", "blue", "bad", "3")["error"] == "conflict"
    assert s.teal.ok("bake", "web")["bake"] is None
    for words, error in [(("flip", "web", "blue", "--bake=90000"), "usage"), (("signal", "web", "blue", "odd", "3"), "usage"),
                         (("flip", "web", "blue", "--on-regression=panic"), "usage"), (("bake", "web", "stop"), "usage"),
                         (("wait", "web", "--for=ever"), "usage"), (("signal", "web", "blue", "bad", "0"), "usage")]:
        assert s.teal.ctl(*words)["error"] == error
    s.teal.ok("flip", "web", "blue", "--wait=none")
    s.teal.wait_log("service.claimed")
    assert s.teal.ok("wait", "web", "--for=applied")["active"] == "blue"
    refused = s.teal.ctl("flip", "web", "green", "--bake=60")
    assert (refused["error"], refused["changed"]) == ("claimed", False)
    assert "a bake is under way" in refused["message"] and "abort" in refused["message"]
    # The team's own counter is a signal like the others.
    s.teal.ok("signal", "web", "green", "good", "1000")
    s.teal.ok("signal", "web", "blue", "good", "10")
    bake = s.teal.status()["bake"]
    assert (bake["to"], bake["verdict"], bake["by"]) == ("blue", None, s.teal.ok("whoami")["user"])
    # The same flip once more waits for its verdict.
    with s.teal.admin() as again:
        again.send("flip", "web", "blue")
        assert again.object()["event"] == "baking"
        assert s.teal.ok("bake", "web", "abort", "--reason=second thoughts")["active"] == "green"
        assert s.teal.wait_log("bake.ended")["result"] == "superseded"
        assert again.reply()["verdict"] == "superseded"
    # A plain rollback ends one as well, and promote keeps the color.
    s.teal.ok("flip", "web", "blue", "--wait=none")
    s.teal.wait_log("service.claimed", count=2)
    assert s.teal.ok("rollback", "web")["active"] == "green"
    s.teal.ok("flip", "web", "blue", "--wait=none")
    s.teal.wait_log("service.claimed", count=3)
    assert s.teal.ok("bake", "web", "promote")["bake"]["verdict"] == "promoted"
    s.teal.wait_log("service.released")
    # --bake=0: not this time.
    assert "verdict" not in s.teal.ok("flip", "web", "green", "--bake=0")


def test_what_a_team_counts_rolls_back(stage):
    """Also where the flip still waits for its drain."""
    s = stage()
    with s.teal.admin() as a, Http(s.teal.address()) as held:
        held.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\n")
        until(lambda: s.teal.status()["colors"]["green"]["connections"] == 1, "a request holds green")
        a.send("flip", "web", "blue", "--wait=drained")
        s.teal.wait_log("service.claimed")
        s.teal.ok("signal", "web", "green", "good", "1000")
        s.teal.ok("signal", "web", "blue", "bad", "30")
        while not s.teal.log_lines_now("bake.ended"):
            s.teal.clock.move(1)
        reply = a.reply()
    assert (reply["error"], reply["active"], reply["evidence"]["signal"]) == ("rolled_back", "green", "signal")


@pytest.mark.parametrize("act", ["stop", "tell"])
def test_a_worse_color_may_be_left_as_it_is(stage, act):
    s = stage()
    with s.teal.admin() as a:
        a.send("flip", "web", "blue", "--bake=60", f"--on-regression={act}")
        s.teal.wait_log("service.claimed")
        s.teal.ok("signal", "web", "green", "good", "1000")
        s.teal.ok("signal", "web", "blue", "bad", "30")
        while not s.teal.log_lines_now("bake.ended"):
            s.teal.clock.move(5)
        reply = a.reply()
    assert (reply["error"], reply["active"], reply["verdict"]) == ("worse", "blue", "worse")
    assert len(s.teal.log_lines_now("bake.worse")) == 1


def test_the_next_process_judges_on(stage):
    """An upgrade in the middle: what was counted before it counts on, who has met trouble is known, and the rollback comes;
    how it ended, and what a next bake compares with, is known after another one."""
    s = stage("http", 100, start=False)
    s.teal.start(supervised=True)
    s.crowd.come(400)
    s.counted(400, "green")
    s.teal.ok("flip", "web", "blue", "--wait=none")
    s.teal.wait_log("service.claimed")

    def troubles():
        return s.teal.metrics("web").get("teal_bake_troubles_total", service="web", color="blue", signal="answer")
    s.crowd.retry(3)
    until(lambda: troubles() == 1, "a client has met trouble")
    before = s.teal.status()["bake"]
    upgraded(s.teal)
    after = s.teal.status()["bake"]
    assert (after["to"], after["epoch"], after["until"], after["verdict"]) == ("blue", 2, before["until"], None)
    assert after["evidence"]["old"] == before["evidence"]["old"]
    # The same client once more, and others, which are counted behind it; one may share a group with another.
    s.crowd.n -= 1
    s.crowd.retry(3)
    s.crowd.come(6)
    until(lambda: troubles() >= 6, "others have met trouble")
    assert troubles() <= 7
    while not s.teal.log_lines_now("bake.ended"):
        s.crowd.come(10)
        s.teal.clock.move(1)
    assert s.teal.wait_log("bake.ended")["result"] == "rolled_back"
    assert s.teal.status()["active"] == "green"
    said = s.teal.ctl("wait", "web", "--for=baked")
    assert said["error"] == "rolled_back"
    so_far = s.clients("green")
    s.crowd.come(20)
    until(lambda: s.clients("green") > so_far, "green's clients are counted anew")
    upgraded(s.teal)
    assert s.teal.ctl("wait", "web", "--for=baked")["message"] == said["message"]
    assert s.teal.metrics("web").get("teal_bake_verdicts_total", service="web", to="blue", verdict="rolled_back") == 1
    s.teal.ok("flip", "web", "blue", "--wait=none")
    s.teal.wait_log("service.claimed", count=2)
    assert s.teal.status()["bake"]["evidence"]["old"]["clients"] > 0


def test_what_was_found_worse_stays_so_over_an_upgrade(stage):
    """It is told once, and good news afterwards do not take it back."""
    s = stage(start=False)
    s.teal.start(supervised=True)
    s.teal.ok("flip", "web", "blue", "--wait=none", "--bake=300", "--on-regression=tell")
    s.teal.wait_log("service.claimed")
    s.teal.ok("signal", "web", "green", "good", "1000")
    s.teal.ok("signal", "web", "blue", "bad", "30")
    while not s.teal.log_lines_now("bake.worse"):
        s.teal.clock.move(1)
    upgraded(s.teal)
    s.teal.ok("signal", "web", "blue", "good", "100000")
    while not s.teal.log_lines_now("bake.ended"):
        s.teal.clock.move(20)
    assert s.teal.wait_log("bake.ended")["result"] == "worse"
    assert len(s.teal.log_lines_now("bake.worse")) == 1


def test_one_whose_teald_died_is_told_as_lost(stage):
    s = stage()
    s.teal.ok("flip", "web", "blue", "--wait=none")
    s.teal.wait_log("service.claimed")
    s.teal.kill()
    s.teal.start()
    s.teal.wait_log("bake.lost", to="blue")
    assert s.teal.wait_log("service.released")["reason"].startswith("lost bake of blue")
    # Who waits for it is told so, and the history says it.
    said = s.teal.ctl("wait", "web", "--for=baked")
    assert (said["error"], said["verdict"]) == ("inconclusive", "lost") and "has died" in said["message"]
    assert s.teal.tealctl("wait", "web", "--for=baked").returncode == 12
    assert s.teal.metrics("web").get("teal_bake_verdicts_total", service="web", to="blue", verdict="lost") == 1
    last = s.teal.ok("history", "web")["history"][-1]
    assert (last["kind"], last["reason"].split(" (")[0]) == ("release", "lost bake of blue")
    assert s.teal.status()["active"] == "blue"
    assert s.teal.ok("flip", "web", "green", "--bake=0")["active"] == "green"


def test_another_teald_of_the_fleet_goes_on(fleet, backend):
    """The one that judged is killed: another one rolls back by its own traffic; one without says that the bake is lost."""
    good, bad = Release(), Release(100)
    f = fleet(2, green=backend("green", good.http), blue=backend("blue", bad.http), mode="http", flip={"bake": 300.0},
              health={"type": "none"}, top={"clock": True})
    a, b = f
    crowd = Crowd(b, "http")
    crowd.come(200)
    a.ok("flip", "web", "blue", "--wait=none", "--on-regression=rollback")
    until(lambda: b.status()["claimed"], "the bake is known there")
    assert a.status()["bake"]["verdict"] is None and b.status()["bake"] is None

    def kill_a():
        a.kill()
        until(lambda: any(m["missing"] for m in b.ok("fleet")["fleet"]), "it is missed")
    kill_a()
    while not b.log_lines_now("bake.resumed"):
        b.clock.move(1)
    assert b.wait_log("bake.resumed")["clients"] > 0
    while not b.log_lines_now("bake.ended"):
        crowd.come(1)
        b.clock.move(1)
    assert b.wait_log("bake.ended")["result"] == "rolled_back"
    assert b.ctl("wait", "web", "--for=baked")["error"] == "rolled_back"
    # The next one judges at a; b has just been started when a is killed.
    bad.percent = 0
    a.start()
    a.ok("flip", "web", "blue", "--wait=none")
    a.wait_log("service.claimed")
    b.kill()
    b.start()
    kill_a()
    while not b.log_lines_now("bake.lost"):
        b.clock.move(1)
    b.wait_log("service.released")
    assert b.ctl("wait", "web", "--for=baked")["verdict"] == "lost"
    # The one that died is missing, and has not applied it.
    assert b.ctl("flip", "web", "green", "--bake=0")["error"] == "partial_fleet"
    assert b.status()["active"] == "green"


def test_a_bake_goes_on_under_another_name_and_after_a_shift_of_all(stage):
    s = stage()
    s.teal.ok("shift", "web", "blue", "--to=50%")
    assert s.teal.status()["bake"] is None
    s.teal.ok("shift", "web", "blue", "--to=100%", "--wait=none")
    s.teal.wait_log("service.claimed")
    rewrite(s.teal, services=[s.teal.settings["services"][0] | {"name": "shop", "rename": "web"}])
    s.teal.ok("reload")
    assert "a bake is under way" in s.teal.ctl("flip", "shop", "green")["message"]
    s.teal.ok("bake", "shop", "promote")
    s.teal.wait_log("service.released", service="shop")
    assert s.teal.status("shop")["claimed"] is None
    assert s.teal.ok("rollback", "shop")["active"] == "green"


def test_what_cannot_be_judged_is_refused_by_name(web, backend):
    t = web(green=[backend("green")], blue=[backend("blue")], mode="udp")
    refused = t.ctl("flip", "web", "blue", "--bake=10")
    assert refused["error"] == "unsupported" and "--bake" in refused["message"]
    # Nor is an order taken that nothing would obey.
    refused = t.ctl("flip", "web", "blue", "--on-regression=stop")
    assert refused["error"] == "usage" and "needs --bake" in refused["message"] and t.status()["epoch"] == 1


def test_a_rollback_that_cannot_be_made_is_told_and_tried_again(stage):
    """Here the old color's backends are away when the new one turns out to be worse."""
    s = stage()
    s.teal.ok("flip", "web", "blue", "--wait=none")
    s.teal.wait_log("service.claimed")
    s.old.stop()
    s.teal.ok("signal", "web", "green", "good", "1000")
    s.teal.ok("signal", "web", "blue", "bad", "30")
    while not s.teal.log_lines_now("bake.rollback_failed"):
        s.teal.clock.move(1)
    assert s.teal.wait_log("bake.rollback_failed")["error"] == "unhealthy"

    def failed_rollbacks():
        return s.teal.metrics("web").get("teal_bake_rollbacks_failed_total", service="web")
    # Each try is counted; the history has the first.
    while failed_rollbacks() < 4:
        s.teal.clock.move(5)
    assert [h["result"] for h in s.teal.ok("history", "web")["history"]].count("unhealthy") == 1
    assert len(s.teal.log_lines_now("bake.rollback_failed")) == 1
    # Who prefers the new color all the same says so, and it is left alone.
    until(lambda: s.teal.ctl("bake", "web", "promote")["ok"], "no rollback is just being made, and the bake ends")
    assert s.teal.wait_log("bake.ended")["result"] == "promoted"
    s.teal.wait_log("service.released")
    s.old.start()
    assert s.teal.ok("flip", "web", "green", "--wait-healthy=600", "--bake=0")["active"] == "green"
    # The same once more, and the old one comes back.
    s.teal.ok("flip", "web", "blue", "--wait=none")
    s.teal.wait_log("service.claimed", count=2)
    s.old.stop()
    s.teal.ok("signal", "web", "green", "good", "1000")
    s.teal.ok("signal", "web", "blue", "bad", "30")
    failed = len(s.teal.log_lines_now("bake.rollback_failed"))
    while len(s.teal.log_lines_now("bake.rollback_failed")) <= failed:
        s.teal.clock.move(1)
    s.old.start()
    while len(s.teal.log_lines_now("bake.ended")) < 2:
        s.teal.clock.move(2)
    assert s.teal.log_lines_now("bake.ended")[1]["result"] == "rolled_back"
    assert s.teal.status()["active"] == "green"
