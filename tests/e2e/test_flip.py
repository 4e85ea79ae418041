"""The flip: checked, atomic, true when it says applied, reversible, and no
connection is lost."""
import select
import socket
import subprocess
import threading
import time

import pytest

from helpers import scale
from helpers.hold import held
from helpers.scale import ME, patience, scaled, until
from helpers.teald import service

COLORS = ("green", "blue")


def other(color):
    return COLORS[color == "green"]


# ---- what it promises ----

@pytest.mark.scales
@pytest.mark.tsan
def test_flips_under_load_lose_nothing_and_applied_is_true(web, farm, load):
    """64 clients, flip after flip; no connection fails, and whoever began its
    connect() after a reply, and was done before the next flip, met the new color."""
    flips = scaled(200, 24)
    teal = web(green=[farm("green")], blue=[farm("blue")], drain={"timeout": 30.0}, top={"workers": 2})
    clients = load(teal, 64)
    windows, color = [], "green"
    for n in range(flips):
        color = other(color)
        r = teal.ok("flip", "web", color, "--wait=applied")
        assert (r["active"], r["changed"], r["epoch"]) == (color, True, teal_epoch(windows) + 1)
        windows.append({"color": color, "epoch": r["epoch"], "from": r.at, "until": float("inf")})
        clients.more(12)    # begin and end in this window
        windows[-1]["until"] = time.monotonic()
    sessions = clients.finish()
    failed = [s for s in sessions if s.error]
    assert not failed, f"{len(failed)} of {len(sessions)} failed: {failed[:5]}"
    judged = 0
    for w in windows:
        # Who is still under way at the next flip may meet its color instead.
        inside = [s for s in sessions if w["from"] < s.begun and s.ended < w["until"]]
        wrong = [s for s in inside if s.name != w["color"]]
        assert not wrong, f"after applied ({w}): {len(wrong)} of {len(inside)}: {wrong[:5]}"
        judged += len(inside)
    assert judged >= 12 * flips
    assert {s.name for s in sessions} == set(COLORS)


def said(admin):
    """The objects that are there; not the end of a reply."""
    objects = []
    while admin._rest or select.select([admin.sock], [], [], 0)[0]:
        objects.append(admin.object())
        assert "ok" not in objects[-1], objects
    return objects


def teal_epoch(windows):
    return windows[-1]["epoch"] if windows else 1


@pytest.mark.tsan
def test_applied_waits_for_the_slowest_worker(web):
    """One worker is held: it may still start something on the old color, so
    nobody may say applied."""
    teal = web(clock=True, drain={"timeout": 36000.0, "idle": 0.0}, top={"workers": 2})
    queued = []
    with teal.admin() as a:
        with held(teal.pid, "worker-1"):
            a.send("flip", "web", "blue", "--timeout=3600")
            events = []
            until(lambda: len(events) >= 2 or events.extend(said(a)), "checked and committed")
            teal.clock.move(600, wait=False)
            teal.status()   # main goes on, and has seen it
            events += said(a)
            assert [o.get("event") for o in events] == ["checked", "committed"], events
            # These wait in its queue, or are the other worker's.
            queued = [teal.connect() for _ in range(12)]
        r = a.reply()
        assert r["ok"] and r["active"] == "blue", r
        assert r.event("applied")["ms"] >= 600_000
    assert {teal.connect().peer for _ in range(20)} == {"blue"}
    for c in queued:
        assert c.peer in COLORS  # they came before the reply
        c.close()


def tealctl(teal, *words):
    """The real one, running."""
    return subprocess.Popen([scale.BUILD / "tealctl", "-s", teal.admin_path, *words], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_not_applied_in_time(web):
    teal = web(clock=True, top={"workers": 2})
    with held(teal.pid, "worker-0"):
        with teal.admin() as a:
            a.send("flip", "web", "blue", "--timeout=400")
            until(lambda: teal.status()["active"] == "blue", "committed")
            teal.clock.move(400, wait=False)
            r = a.reply()
        assert (r["ok"], r["error"], r["changed"], r["active"], r["epoch"]) == (False, "timeout", True, "blue", 2), r
        # It is decided all the same, and the rest of the house goes on.
        assert teal.status()["active"] == "blue"
        # Flips take their turns: this one changed nothing, and says so.
        with teal.admin() as a:
            a.send("flip", "web", "green", "--timeout=200")
            teal.ok("whoami")   # who asks was looked up again, for both: by now the flip waits
            teal.clock.move(200, wait=False)
            r = a.reply()
        assert (r["ok"], r["changed"], r["active"], r["epoch"]) == (False, False, "blue", 2), r
    until(lambda: {teal.connect().peer for _ in range(8)} == {"blue"}, "applied later")
    with held(teal.pid, "worker-0"):
        with tealctl(teal, "flip", "web", "green", "--timeout=300") as p:
            until(lambda: teal.status()["active"] == "green", "committed")
            teal.clock.move(300, wait=False)
            assert p.wait(patience()) == 8
    until(lambda: {teal.connect().peer for _ in range(8)} == {"green"}, "applied later")
    assert teal.ok("flip", "web", "blue")["epoch"] == 4


@pytest.mark.tsan
def test_running_connections_stay_new_ones_move(web):
    teal = web(drain={"timeout": 60.0, "idle": 0.0})
    old = teal.connect().echo()
    r = teal.ok("flip", "web", "blue")
    with teal.connect() as new:
        assert new.echo().peer == "blue"
    assert old.echo(b"still here").peer == "green"
    s = teal.status()
    assert (s["active"], s["idle"], s["epoch"]) == ("blue", "green", r["epoch"])
    assert s["colors"]["green"]["connections"] == 1 and s["colors"]["green"]["draining"] is True
    old.close()
    until(lambda: teal.status()["colors"]["green"]["draining"] is False, "drained")


def test_the_reply_of_a_flip(web):
    teal = web()
    r = teal.ok("flip", "web", "blue", "--reason=deploy 8812")
    assert [e["event"] for e in r.events] == ["checked", "committed", "applied"]
    assert r.event("committed")["epoch"] == r.event("applied")["epoch"] == r["epoch"]
    assert r.event("applied")["ms"] >= 0
    assert (r["service"], r["active"], r["changed"]) == ("web", "blue", True)


def test_connects_under_way_are_dialled_anew_on_the_new_color(web, backend, black_hole):
    """Green drops SYNs: clients hang in their connects, until the flip."""
    teal = web(green=[black_hole()], health={"type": "none"}, connect_timeout=3600.0)
    waiting = [teal.connect() for _ in range(20)]
    teal.wait_metric(20, "teal_connections", service="web", color="green")
    r = teal.ok("flip", "web", "blue")
    for c in waiting:
        assert c.echo().peer == "blue"
    teal.wait_metric(20, "teal_connections", service="web", color="blue")
    assert teal.status()["colors"]["green"]["connections"] == 0
    for c in waiting:
        c.close()
    for n in range(20):
        assert teal.wait_log("tcp.session", n + 1, color="blue")["epoch"] == r["epoch"]


def test_retries_after_a_flip_pick_the_new_color(web, backend, black_hole):
    """Between the first try and the retry the color changes."""
    teal = web(green=[black_hole()], health={"type": "none"}, connect_timeout=3600.0, retries=2)
    c = teal.connect()
    teal.wait_metric(1, "teal_connections", service="web", color="green")
    teal.ok("flip", "web", "blue")
    assert c.echo().peer == "blue"


def test_a_flip_goes_on_when_its_client_leaves(web, backend, black_hole):
    """The gate takes its time; the one who asked does not wait."""
    teal = web(clock=True, blue=[backend("blue"), black_hole()], health={"type": "none", "timeout": 1.0},
               flip={"min_healthy": 1})
    with teal.admin() as a:
        a.send("flip", "web", "blue", "--reason=gone")
    teal.clock.pass_until(lambda: teal.status()["active"] == "blue", "flipped without its client", step=1)
    until(lambda: teal.connect().peer == "blue", "applied soon after")


def test_a_killed_tealctl_does_not_stop_its_flip(web):
    teal = web(drain={"timeout": 1.0, "idle": 0.0})
    old = teal.connect().echo()
    p = subprocess.Popen([str(scale.BUILD / "tealctl"), "-s", teal.admin_path, "flip", "web", "blue", "--wait=drained"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: teal.status()["active"] == "blue", "flipped")
    p.kill()
    p.wait()
    old.sock.settimeout(patience())
    while old.line() is not None:
        pass  # cut at the deadline of the drain that nobody watches
    assert teal.wait_log("tcp.session", color="green")["end"] == "drained"


# ---- options ----

def test_flipping_to_the_active_color_changes_nothing(web):
    teal = web()
    first = teal.ok("flip", "web", "green")
    assert (first["changed"], first["active"], first["epoch"]) == (False, "green", 1)
    teal.ok("flip", "web", "blue")
    for _ in range(3):
        r = teal.ok("flip", "web", "blue")
        assert (r["changed"], r["epoch"]) == (False, 2)
    assert teal.status()["epoch"] == 2


def test_expect(web):
    teal = web()

    def refused(*words):
        r = teal.ctl(*words)
        assert (r["ok"], r["error"], r["changed"]) == (False, "conflict", False), r
        assert (r["active"], r["epoch"]) == (teal.status()["active"], teal.status()["epoch"])

    refused("flip", "web", "blue", "--expect=blue")
    refused("flip", "web", "blue", "--expect=green@7")
    refused("flip", "web", "blue", "--expect=blue@1")
    assert teal.ok("flip", "web", "blue", "--expect=green")["epoch"] == 2
    # Repeating it is safe: it conflicts rather than doing anything.
    refused("flip", "web", "blue", "--expect=green")
    refused("flip", "web", "blue", "--expect=green@1")
    # Also when already active: the expectation is checked first.
    refused("flip", "web", "blue", "--expect=blue@1")
    assert teal.ok("flip", "web", "blue", "--expect=blue@2")["changed"] is False
    assert teal.ok("flip", "web", "green", "--expect=blue@2")["epoch"] == 3
    refused("rollback", "web", "--expect=blue")
    assert teal.ok("rollback", "web", "--expect=green@3")["active"] == "blue"


@pytest.mark.parametrize("bad", ["purple", "green@", "green@x", "green@-1", "@3", "", "green@99999999999999999999"])
def test_a_bad_expectation_is_usage(web, bad):
    r = web().ctl("flip", "web", "blue", f"--expect={bad}")
    assert r["error"] in ("usage", "unknown_color"), r


def test_wait_none_answers_once_it_is_stored(web):
    teal = web()
    r = teal.ok("flip", "web", "blue", "--wait=none")
    assert (r["changed"], r["active"], r["epoch"]) == (True, "blue", 2)
    assert "draining" not in [e["event"] for e in r.events]
    until(lambda: teal.connect().peer == "blue", "applied soon after")


def test_wait_drained_answers_when_the_last_one_has_left(web):
    teal = web(clock=True, drain={"timeout": 36000.0, "idle": 0.0})
    old = [teal.connect().echo() for _ in range(3)]
    with teal.admin() as a:
        a.send("flip", "web", "blue", "--wait=drained", "--timeout=36000")
        events = []
        until(lambda: any(e["event"] == "draining" for e in events) or events.extend(said(a)), "it drains")
        teal.clock.move(1000)
        said(a)
        for c in old[:2]:
            c.close()
        teal.wait_metric(1, "teal_draining_connections", service="web", color="green")
        said(a)
        old[2].close()
        assert a.reply()["ok"]
    assert next(e for e in events if e["event"] == "draining")["remaining"] == 3, events


def test_wait_drained_in_time_or_not(web):
    teal = web(clock=True, drain={"timeout": 3600.0, "idle": 0.0})
    old = teal.connect().echo()
    with teal.admin() as a:
        a.send("flip", "web", "blue", "--wait=drained", "--timeout=300")
        until(lambda: teal.status()["colors"]["green"]["draining"], "applied")
        teal.clock.move(300)
        r = a.reply()
    assert (r["ok"], r["error"], r["changed"], r["active"], r["epoch"]) == (False, "timeout", True, "blue", 2), r
    assert old.echo().peer == "green"  # the drain itself goes on undisturbed
    assert teal.status()["colors"]["green"]["draining"] is True


def test_wait_drained_with_nothing_to_drain(web):
    r = web().ok("flip", "web", "blue", "--wait=drained")
    assert r["changed"]


def test_drain_option_sets_this_flips_deadline(web):
    teal = web(clock=True, drain={"timeout": 36000.0, "idle": 0.0})
    old = teal.connect().echo()
    teal.ok("flip", "web", "blue", "--drain=400")
    teal.clock.move(300)
    assert old.alive
    teal.clock.move(100)
    assert old.read_end()[0] == b""
    assert teal.wait_log("tcp.session", color="green")["end"] == "drained"


def test_reason_is_kept_everywhere(web):
    teal = web()
    reason = 'deploy "8812" of höhe \\ 東京'
    teal.ok("flip", "web", "blue", f"--reason={reason}")
    s = teal.status()
    assert s["reason"] == reason and s["changed_by"] == ME
    assert s["changed_at"].endswith("Z")
    assert history(teal)[-1]["reason"] == reason
    assert teal.wait_log("audit")["reason"] == reason
    teal.restart()
    assert teal.status()["reason"] == reason


def test_force_skips_the_gate_and_only_the_gate(web, backend):
    teal = web(blue=[backend("blue", start=False)])
    assert teal.ctl("flip", "web", "blue")["error"] == "unhealthy"
    assert teal.ctl("flip", "web", "blue", "--force", "--expect=blue")["error"] == "conflict"
    teal.ok("lock", "web", "--reason=frozen")
    assert teal.ctl("flip", "web", "blue", "--force")["error"] == "locked"
    teal.ok("unlock", "web")
    assert teal.ok("flip", "web", "blue", "--force")["active"] == "blue"


def test_wait_healthy_waits_for_the_gate(web):
    teal = web()
    teal.blue.stop()
    with teal.admin() as a:
        a.send("flip", "web", "blue", "--wait-healthy=3000")
        until(lambda: teal.status()["colors"]["blue"]["backends"][0]["state"] == "down", "down")
        said(a)
        teal.blue.start()
        r = a.reply()
    assert r["ok"] and r["active"] == "blue", r
    teal.green.stop()
    r = teal.ctl("flip", "web", "green", "--wait-healthy=0.5")
    assert r["error"] == "unhealthy" and r.seconds >= 0.4


# ---- the gate ----

def test_an_unhealthy_color_is_refused_by_name(web, backend):
    blues = [backend("blue1"), backend("blue2", start=False), backend("blue3", start=False)]
    teal = web(blue=blues)
    r = teal.ctl("flip", "web", "blue")
    assert (r["ok"], r["error"], r["changed"], r["active"], r["epoch"]) == (False, "unhealthy", False, "green", 1)
    assert "1/3" in r["message"] and "2 needed" in r["message"]
    assert blues[1].address in r["message"] and blues[2].address in r["message"]
    assert blues[0].address not in r["message"]
    assert "refused" in r["message"]
    assert teal.connect().peer == "green"
    blues[1].start()
    until(lambda: teal.ctl("check", "web", "blue")["ok"], "healthy again")
    assert teal.ok("flip", "web", "blue")["changed"]


@pytest.mark.parametrize("min_healthy,alive,passes", [
    ("50%", 1, False), ("50%", 2, True), ("100%", 2, False), ("100%", 3, True), ("1%", 1, True),
    (1, 1, True), (2, 1, False), (3, 3, True), ("0%", 0, False), (0, 0, False),
    pytest.param(9, 3, True, id="more-than-there-are")])
def test_min_healthy(web, backend, min_healthy, alive, passes):
    if min_healthy == 9:
        passes = None  # refused as a configuration, or can never be met
    blues = [backend(f"blue{n}", start=n < alive) for n in range(3)]
    greens = [backend(f"green{n}") for n in range(3)]
    teal = web(green=greens, blue=blues, flip={"min_healthy": min_healthy}, start=False)
    if passes is None:
        status, text = teal.start_refused()
        assert status == 2 and "min_healthy" in text
        return
    if min_healthy in (0, "0%"):
        # At least 1: either said at once, or meant.
        try:
            teal.start()
        except AssertionError:
            teal.expect_status = None
            assert "min_healthy" in teal.stderr()
            return
    else:
        teal.start()
    r = teal.ctl("flip", "web", "blue")
    assert r["ok"] is passes, r


def test_the_gate_connects_now_and_does_not_trust_the_cache(web):
    """Blue was up a moment ago, says the cache; it is not."""
    teal = web(health={"interval": 600.0, "rise": 1, "fall": 1, "timeout": 1.0})
    until(lambda: teal.status()["colors"]["blue"]["healthy"] == 1, "up")
    teal.blue.stop()
    r = teal.ctl("flip", "web", "blue")
    assert r["error"] == "unhealthy" and teal.blue.address in r["message"]


def test_the_gate_connects_also_with_health_none(web, backend):
    teal = web(blue=[backend("blue", start=False)], health={"type": "none"})
    assert teal.ctl("flip", "web", "blue")["error"] == "unhealthy"
    assert teal.status()["active"] == "green"


def test_the_gates_connects_are_bounded_by_health_timeout(web, black_hole):
    teal = web(blue=[black_hole()], health={"type": "none", "timeout": 0.4})
    r = teal.ctl("flip", "web", "blue")
    assert r["error"] == "unhealthy" and "timed out" in r["message"]


def test_check_asks_the_gate_and_changes_nothing(web):
    teal = web()
    r = teal.ok("check", "web", "blue")
    assert r.get("changed", False) is False
    teal.blue.stop()
    r = teal.ctl("check", "web", "blue")
    assert (r["ok"], r["error"]) == (False, "unhealthy")
    assert teal.status()["epoch"] == 1 and teal.status()["active"] == "green"
    assert teal.ctl("check", "web", "purple")["error"] == "unknown_color"
    assert teal.ctl("check", "nope", "blue")["error"] == "unknown_service"


# ---- rollback ----

def test_rollback_undoes_the_last_flip_once_and_only_once(web):
    teal = web()
    teal.ok("flip", "web", "blue")
    r = teal.ok("rollback", "web", "--reason=oh no")
    assert (r["changed"], r["active"], r["epoch"]) == (True, "green", 3)
    for _ in range(3):
        r = teal.ok("rollback", "web")
        assert (r["changed"], r["active"], r["epoch"]) == (False, "green", 3)
    # After another flip there is something to undo again.
    teal.ok("flip", "web", "blue")
    assert teal.ok("rollback", "web")["changed"]
    assert teal.connect().peer == "green"


def test_rollback_once_also_after_a_restart(web):
    teal = web()
    teal.ok("flip", "web", "blue")
    teal.restart()
    assert teal.ok("rollback", "web")["active"] == "green"
    teal.restart()
    assert teal.ok("rollback", "web")["changed"] is False
    assert teal.status()["active"] == "green"


def test_rollback_with_nothing_to_undo(web):
    teal = web()
    r = teal.ctl("rollback", "web")
    # There never was a flip: nothing changes, whether that is called ok or not.
    assert r.get("changed") is False
    assert teal.status()["epoch"] == 1


def test_rollback_passes_the_gate_and_the_lock(web):
    teal = web()
    teal.ok("flip", "web", "blue")
    teal.green.stop()
    assert teal.ctl("rollback", "web")["error"] == "unhealthy"
    teal.green.start()
    teal.ok("lock", "web", "--reason=hands off")
    assert teal.ctl("rollback", "web")["error"] == "locked"
    teal.ok("unlock", "web")
    until(lambda: teal.ctl("check", "web", "green")["ok"], "healthy")
    assert teal.ok("rollback", "web")["active"] == "green"


@pytest.mark.tsan
def test_rollback_in_the_middle_of_a_drain(web):
    teal = web(drain={"timeout": 60.0, "idle": 0.0})
    old = [teal.connect().echo() for _ in range(5)]
    teal.ok("flip", "web", "blue")
    middle = [teal.connect().echo() for _ in range(4)]
    r = teal.ok("rollback", "web")
    assert r["active"] == "green"
    s = teal.status()
    assert s["colors"]["green"]["draining"] is False and s["colors"]["green"]["connections"] == 5
    assert s["colors"]["blue"]["draining"] is True and s["colors"]["blue"]["connections"] == 4
    assert [c.echo().peer for c in old + middle] == ["green"] * 5 + ["blue"] * 4


# ---- locks ----

def test_a_locked_service_says_who_and_why(web):
    teal = web()
    assert teal.status()["locked"] is None
    teal.ok("lock", "web", "--reason=migration until noon")
    r = teal.ctl("flip", "web", "blue")
    assert (r["ok"], r["error"], r["changed"]) == (False, "locked", False)
    assert "migration until noon" in r["message"] and ME in r["message"]
    assert "migration until noon" in str(teal.status()["locked"])
    teal.restart()
    assert teal.ctl("flip", "web", "blue")["error"] == "locked"
    teal.ok("unlock", "web")
    assert teal.status()["locked"] is None
    assert teal.ok("flip", "web", "blue")["changed"]


def test_a_lock_wants_a_reason(web):
    teal = web()
    assert teal.ctl("lock", "web")["error"] == "usage"
    assert teal.status()["locked"] is None


def test_lock_star_is_all_services(teal, backend, ports):
    g, b = backend("green"), backend("blue")
    t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[b]) for n in ("a", "b", "c")])
    t.ok("lock", "*", "--reason=freeze")
    for n in "abc":
        assert t.ctl("flip", n, "blue")["error"] == "locked"
    t.ok("unlock", "b")
    assert t.ok("flip", "b", "blue")["changed"]
    assert t.ctl("flip", "a", "blue")["error"] == "locked"
    t.ok("unlock", "*")
    for n in "ac":
        assert t.ok("flip", n, "blue")["changed"]


# ---- the order of the checks ----

def test_expect_comes_before_already_active_and_that_before_the_lock(web):
    teal = web()
    teal.ok("lock", "web", "--reason=l")
    assert teal.ctl("flip", "web", "green", "--expect=blue")["error"] == "conflict"
    assert teal.ok("flip", "web", "green")["changed"] is False
    assert teal.ctl("flip", "web", "blue", "--expect=blue")["error"] == "conflict"


def test_the_lock_comes_before_the_gate(web):
    teal = web()
    teal.blue.stop()
    teal.ok("lock", "web", "--reason=l")
    assert teal.ctl("flip", "web", "blue")["error"] == "locked"


def test_already_active_comes_before_the_gate(web):
    teal = web()
    teal.green.stop()
    assert teal.ok("flip", "web", "green")["changed"] is False


def test_usage_comes_first(web):
    teal = web()
    teal.ok("lock", "web", "--reason=l")
    for words in (["flip", "web"], ["flip"], ["flip", "web", "blue", "green"], ["flip", "web", "blue", "--wat"],
                  ["flip", "web", "blue", "--wait=soon"], ["flip", "web", "blue", "--timeout=x"],
                  ["flip", "web", "blue", "--timeout=-1"], ["flip", "web", "blue", "--drain="],
                  ["flip", "web", "blue", "--force=yes"], ["flip", "web", "blue", "--force", "--force"]):
        r = teal.ctl(*words)
        assert r["error"] == "usage", (words, r)
    assert teal.ctl("flip", "web", "purple")["error"] == "unknown_color"
    assert teal.ctl("flip", "nope", "blue")["error"] == "unknown_service"


# ---- several at once ----

@pytest.mark.tsan
@pytest.mark.scales
def test_of_opposite_flips_at_the_same_moment_exactly_one_wins(web):
    teal = web(drain={"timeout": 0.2})
    color, epoch = "green", 1
    for _ in range(scaled(200, 15)):
        replies, ready = [], threading.Barrier(4)

        def ask(to):
            with teal.admin() as a:
                ready.wait()
                replies.append((to, a.command("flip", "web", to, f"--expect={color}@{epoch}")))
        # Two want the other color; two want this one as it is not the other.
        threads = [threading.Thread(target=ask, args=(c,)) for c in (other(color), other(color), color, color)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        changed = [r for _, r in replies if r.get("changed")]
        assert len(replies) == 4 and len(changed) == 1, replies
        for to, r in replies:
            if not r.get("changed"):
                assert (r["ok"] and to == color) or r["error"] == "conflict", (to, r)
        color, epoch = other(color), epoch + 1
        s = teal.status()
        assert (s["active"], s["epoch"]) == (color, epoch)


def test_services_flip_independently_and_at_the_same_time(teal, backend, ports):
    g, b = backend("green"), backend("blue")
    names = [f"s{n}" for n in range(8)]
    t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[b]) for n in names])
    threads = [threading.Thread(target=t.ok, args=("flip", n, "blue")) for n in names[:6]]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    assert [t.status(n)["active"] for n in names] == ["blue"] * 6 + ["green"] * 2
    assert [t.connect(n).peer for n in names] == ["blue"] * 6 + ["green"] * 2


# ---- history and events ----

def history(teal, *options, name="web"):
    r = teal.ok("history", name, *options)
    lists = [v for v in r.values() if isinstance(v, list)]
    assert len(lists) == 1, r
    return lists[0]


def test_history_says_who_what_when_why_and_how_it_went(web):
    teal = web()
    teal.ok("flip", "web", "blue", "--reason=one")
    teal.ok("rollback", "web", "--reason=two")
    teal.ok("lock", "web", "--reason=three")
    assert teal.ctl("flip", "web", "blue", "--reason=four")["error"] == "locked"
    teal.ok("unlock", "web")
    h = history(teal)
    one = next(e for e in h if e.get("reason") == "one")
    assert (one["from"], one["to"], one["epoch"], one["by"], one["result"]) == ("green", "blue", 2, ME, "ok")
    assert one["at"].endswith("Z") and one["host"] == socket.gethostname()
    two = next(e for e in h if e.get("reason") == "two")
    assert (two["from"], two["to"], two["epoch"], two["result"]) == ("blue", "green", 3, "ok")
    assert any(e.get("reason") == "three" for e in h)
    assert next(e for e in h if e.get("reason") == "four")["result"] == "locked"
    reasons = [e.get("reason") for e in h if e.get("reason")]
    assert reasons == ["one", "two", "three", "four"]
    last = history(teal, "--last=2")
    assert last == h[-2:]
    teal.restart()
    assert history(teal)[: len(h)] == h


def test_events_are_streamed_while_they_happen(web):
    teal = web()
    with teal.admin() as a:
        a.send("events", "web")
        # The stream is on once it delivers: flip until it does.
        teal.ok("flip", "web", "blue", "--reason=watched")
        seen = []
        while not any("applied" in str(o.get("event")) for o in seen):
            o = a.object()
            assert o is not None and o.get("ok", True), o
            seen.append(o)
        about = [o for o in seen if "flip" in str(o.get("event")) or "applied" in str(o.get("event"))]
        assert all(o.get("service") == "web" for o in about), about
        assert any(o.get("epoch") == 2 for o in about)


def test_events_of_one_service_do_not_tell_of_another(teal, backend, ports):
    g, b = backend("green"), backend("blue")
    t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[b]) for n in ("a", "b")])
    with t.admin() as one, t.admin() as all_of_them:
        one.send("events", "b")
        all_of_them.send("events")
        t.ok("flip", "a", "blue")
        t.ok("flip", "b", "blue")

        def services(stream):
            seen = []
            while not ("applied" in str(seen[-1:]) and seen[-1].get("service") == "b"):
                seen.append(stream.object())
            return {o["service"] for o in seen if o.get("service")}
        assert services(one) == {"b"}
        assert services(all_of_them) == {"a", "b"}


def test_a_watcher_who_does_not_read_delays_nothing(web):
    teal = web(drain={"timeout": 0.2})
    with teal.admin() as a:
        a.send("events")
        for n in range(60):
            teal.ok("flip", "web", COLORS[(n + 1) % 2], "--reason=" + "x" * 1000)
    assert teal.status()["epoch"] == 61


def test_active_and_idle_are_for_scripts(web):
    teal = web()
    assert teal.tealctl("active", "web", check=0).stdout == "green\n"
    assert teal.tealctl("idle", "web", check=0).stdout == "blue\n"
    teal.tealctl("flip", "web", "blue", check=0)
    assert teal.tealctl("active", "web", check=0).stdout == "blue\n"
    assert teal.ctl("idle", "web")["ok"]


def test_exit_statuses_of_tealctl(web):
    teal = web(clock=True, drain={"timeout": 3600.0, "idle": 0.0})
    teal.tealctl("flip", "web", check=2)
    teal.tealctl("flip", "nope", "blue", check=2)
    teal.tealctl("flip", "web", "purple", check=2)
    teal.tealctl("flip", "web", "blue", "--expect=blue", check=5)
    teal.tealctl("lock", "web", "--reason=x", check=0)
    teal.tealctl("flip", "web", "blue", check=13)
    teal.tealctl("unlock", "web", check=0)
    teal.blue.stop()
    teal.tealctl("flip", "web", "blue", check=4)
    teal.blue.start()
    until(lambda: teal.ctl("check", "web", "blue")["ok"], "healthy")
    old = teal.connect().echo()
    with tealctl(teal, "flip", "web", "blue", "--wait=drained", "--timeout=200") as p:
        until(lambda: teal.status()["colors"]["green"]["draining"], "applied")
        teal.clock.move(200)
        assert p.wait(patience()) == 6
    assert old.alive
    assert teal.stop() == 0
    teal.tealctl("status", check=9)
