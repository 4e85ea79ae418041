"""One flip for the whole fleet: several Teals, one Redis."""
import json
import signal
import threading

import pytest

from helpers.fleet import COLORS, now, other
from helpers.scale import ME, dice, scaled, until


def test_a_fleet_begins_with_one_word(fleet):
    f = fleet(3)
    assert f.agree() == ("green", 1)
    record = f.redis.hash(f.key())
    assert (record["color"], record["epoch"], record["previous"]) == ("green", "1", "")
    assert f.store()["type"] == "redis" and f.store()["up"] is True
    until(lambda: f.store()["age"] < 2, "it is read twice a second")
    assert f[0].metrics().get("teal_store_up") == 1


def test_a_flip_at_one_is_a_flip_at_all(fleet):
    f = fleet(3)
    r = f[1].ok("flip", "web", "blue", "--reason=deploy 7")
    assert [e["event"] for e in r.events] == ["checked", "committed", "applied"]
    assert (r["active"], r["epoch"], r["changed"]) == ("blue", 2, True)
    for t in f:
        assert t.connect().peer == "blue"
        s = t.status()
        assert (s["active"], s["epoch"], s["changed_by"], s["reason"]) == ("blue", 2, ME, "deploy 7")
    record = f.redis.hash(f.key())
    assert (record["color"], record["epoch"], record["previous"], record["by"], record["reason"]) == \
        ("blue", "2", "green", ME, "deploy 7")
    r = f[2].ok("flip", "web", "blue")
    assert (r["changed"], r["epoch"]) == (False, 2)


@pytest.mark.scales
@pytest.mark.tsan
def test_flips_anywhere_under_load_lose_nothing_and_applied_is_true(fleet):
    """Flips at random Teals; whoever connects to any of them after a reply
    meets the new color."""
    flips, chance = scaled(300, 15), dice()
    f = fleet(3)
    f.wait_members()
    windows, color, epoch = [], "green", 1
    with f.load() as run:
        for _ in range(flips):
            color, epoch = other(color), epoch + 1
            r = chance.choice(f).ok("flip", "web", color)
            assert (r["active"], r["epoch"], r["changed"]) == (color, epoch, True)
            run.more(2)
            windows.append((r.at, now(), color))
    assert run.judge(windows) >= 6 * flips
    assert {s.name for s in run.sessions} == set(COLORS)


@pytest.mark.scales
def test_of_opposite_flips_at_two_teals_exactly_one_wins(fleet):
    f = fleet(2)
    f.wait_members()
    color, epoch = "green", 1
    for _ in range(scaled(100, 8)):
        replies, ready = [], threading.Barrier(2)

        def ask(teal, to):
            with teal.admin() as a:
                ready.wait()
                replies.append(a.command("flip", "web", to, f"--expect={color}@{epoch}"))
        # Both want the same color, knowing the same epoch.
        threads = [threading.Thread(target=ask, args=(t, other(color))) for t in f]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        won = [r for r in replies if r["ok"] and r["changed"]]
        lost = [r for r in replies if not r["ok"]]
        assert len(won) == 1 and len(lost) == 1, replies
        assert (lost[0]["error"], lost[0]["changed"]) == ("conflict", False), lost
        color, epoch = other(color), epoch + 1
        assert f.agree() == (color, epoch)


@pytest.mark.scales
def test_opposite_wishes_with_an_epoch_never_both_come_true(fleet):
    """A rollback at one, a flip on at the other: one of them, in whatever order."""
    f = fleet(2)
    f.wait_members()
    for _ in range(scaled(100, 5)):
        before = f[0].ok("flip", "web", other(f.agree()[0]))
        at, epoch = before["active"], before["epoch"]
        replies, ready = {}, threading.Barrier(2)

        def ask(name, teal, *words):
            with teal.admin() as a:
                ready.wait()
                replies[name] = a.command(*words, f"--expect={at}@{epoch}")
        threads = [threading.Thread(target=ask, args=("flip", f[0], "flip", "web", other(at))),
                   threading.Thread(target=ask, args=("rollback", f[1], "rollback", "web"))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted((r["ok"], r["changed"]) for r in replies.values()) == [(False, False), (True, True)], replies
        assert [r["error"] for r in replies.values() if not r["ok"]] == ["conflict"]
        assert f.agree() == (other(at), epoch + 1)


def test_the_loser_of_a_race_exits_with_5(fleet):
    f = fleet(2)
    f[0].ok("flip", "web", "blue")
    p = f[1].tealctl("flip", "web", "blue", "--expect=green@1", check=5)
    assert "blue" in p.stderr + p.stdout


def test_what_one_stored_the_next_one_knows_at_once(fleet):
    """--wait=none at one, then a question at another: no old epoch is taken for
    the truth."""
    f = fleet(3)
    color = "green"
    for n in range(6):
        color = other(color)
        assert f[n % 3].ok("flip", "web", color, "--wait=none")["epoch"] == n + 2
        r = f[(n + 1) % 3].ok("flip", "web", color, f"--expect={color}@{n + 2}")
        assert (r["changed"], r["epoch"]) == (False, n + 2)
        # And that was waited for: it is applied everywhere.
        assert {t.connect().peer for t in f} == {color}


# ---- who is there ----

def test_the_fleet_lists_every_teal(fleet):
    f = fleet(3)
    f.wait_members()
    f[0].ok("flip", "web", "blue")
    for t in f:
        members = f.members(t)
        assert set(members) == {x.pid for x in f}
        assert [m["pid"] for m in members.values() if m["self"]] == [t.pid]
        for m in members.values():
            assert m["host"] and m["version"] and m["id"] and not m["missing"] and m["ready"]
            assert m["services"]["web"]["applied"] == 2, m
    assert len({m["id"] for m in f.members().values()}) == 3
    p = f[0].tealctl("fleet", check=0)
    rows = [l.split("\t") for l in p.stdout.splitlines()]
    assert {str(t.pid) for t in f} <= {cell for r in rows for cell in r}, p.stdout
    assert f[0].metrics().get("teal_fleet_members", state="live") == 3
    assert f[0].metrics().get("teal_fleet_members", state="missing") == 0


def test_the_embedded_store_is_a_fleet_of_one(web):
    teal = web()
    members = teal.ok("fleet")["fleet"]
    assert len(members) == 1
    assert (members[0]["pid"], members[0]["self"], members[0]["missing"]) == (teal.pid, True, False)
    assert members[0]["services"]["web"]["applied"] == 1
    teal.tealctl("fleet", check=0)


def test_an_identity_is_kept_over_restarts(fleet):
    f = fleet(2)
    f.wait_members()
    before = {m["id"] for m in f.members().values()}
    f[0].restart()
    f.wait_members()
    assert {m["id"] for m in f.members(f[1]).values()} == before


def test_sigterm_says_goodbye(fleet):
    f = fleet(3)
    f.wait_members()
    gone = f[2]
    assert gone.stop() == 0
    assert gone.pid not in f.members(f[0]) and gone.pid not in f.members(f[1])
    r = f[0].ok("flip", "web", "blue")
    assert r["changed"]


@pytest.mark.long
def test_who_vanished_is_missing_and_named_until_max_age_and_five(fleet):
    f = fleet(3, store={"max_age": 2.0})
    f.wait_members()
    gone = f.members(f[0])[f[2].pid]["id"]
    f[2].kill()
    beat = json.loads(f.redis("GET", f"{f.prefix}:lb:{gone}"))
    r = f[0].ctl("flip", "web", "blue")
    assert (r["ok"], r["error"], r["changed"], r["active"], r["epoch"]) == (False, "partial_fleet", True, "blue", 2), r
    assert str(f[2].pid) in r["message"] and str(f[1].pid) not in r["message"]
    assert [m["pid"] for m in f.members().values() if m["missing"]] == [f[2].pid]
    assert {t.connect().peer for t in f[:2]} == {"blue"}
    until(lambda: f[0].metrics().get("teal_fleet_members", state="missing") == 1, "counted")
    f[1].tealctl("flip", "web", "green", check=8)
    until(lambda: f[2].pid not in f.members(f[0]) and f[2].pid not in f.members(f[1]), "forgotten")
    seconds, us = map(int, f.redis("TIME"))
    assert seconds * 1e6 + us - beat["at_us"] > (2.0 + 5.0) * 1e6
    assert f[1].ok("flip", "web", "blue")["changed"]


@pytest.mark.long
def test_a_stopped_teal_is_named_and_never_serves_the_old_color_again(fleet):
    f = fleet(3)
    f.wait_members()
    sleeper, awake = f[2], f[:2]
    with f.load(clients=4, think=0.02, among=awake) as run:
        sleeper.signal(signal.SIGSTOP)
        try:
            p = f[0].tealctl("flip", "web", "blue", check=8)
            assert f"{sleeper.pid}" in p.stderr + p.stdout, (p.stdout, p.stderr)
        finally:
            sleeper.signal(signal.SIGCONT)
        # While it was stopped the kernel took connects for it; those that come
        # once it has read the store meet blue.
        f.wait_readings(among=[sleeper])
        for _ in range(20):
            with sleeper.connect() as c:
                assert c.peer == "blue"
        f.agree("blue", 2)
    assert set(s.name for s in run.sessions) <= {"green", "blue"}
    f.wait_members()
    assert f[1].ok("flip", "web", "green")["changed"]


def test_a_member_that_cannot_see_the_target_blocks_the_flip(fleet, proxy, farm, backend):
    """Blue is well for two of them, and unreachable for the third."""
    f = fleet(3, start=0)
    dead = backend("dead", start=False)
    f[2].settings["services"][0]["blue"]["backends"] = [dead.address]
    for t in f:
        t.start()
    f.wait_members()
    r = f[0].ctl("flip", "web", "blue")
    assert (r["ok"], r["error"], r["changed"]) == (False, "unhealthy", False), r
    assert str(f[2].pid) in r["message"] and "0/1" in r["message"], r
    assert f.agree() == ("green", 1)
    # It is said before anybody tries; with nothing to go back to it is no trouble.
    web = f[0].status()
    assert web["rollback"]["possible"] is False and f"pid {f[2].pid} sees 0/1" in web["rollback"]["why"], web
    assert web["trouble"] == [] and f[0].metrics().get("teal_rollback_possible", service="web") == 0
    f[0].tealctl("flip", "web", "blue", check=4)
    # --wait-healthy waits for it, too.
    with f[0].admin() as a:
        a.send("flip", "web", "blue", "--wait-healthy=10")
        f.wait_readings()
        dead.start()
        r = a.reply()
    assert r["ok"] and r["changed"], r
    # --force skips the gate, here and there.
    dead.stop()
    f[0].ok("flip", "web", "green")
    until(lambda: f.members(f[0])[f[2].pid]["services"]["web"]["blue"]["healthy"] == 0, "seen")
    assert f[0].ctl("flip", "web", "blue")["error"] == "unhealthy"
    assert [x["what"] for x in f[0].status()["trouble"]] == ["rollback_impossible"]
    assert f[0].ok("flip", "web", "blue", "--force")["changed"]
    assert f.agree("blue")[0] == "blue"


# ---- locks, history, rollback ----

def test_a_lock_of_all_freezes_the_fleet(fleet):
    f = fleet(3)
    f[0].ok("lock", "*", "--reason=audit week")
    for t in f:
        r = t.ctl("flip", "web", "blue")
        assert (r["error"], r["changed"]) == ("locked", False) and "audit week" in r["message"] and ME in r["message"]
        assert t.status()["locked"]["reason"] == "audit week"
    assert "audit week" in f.redis.hash(f.key())["locked"]
    f[2].ok("unlock", "*")
    assert f.redis.hash(f.key())["locked"] == ""
    assert f[1].ok("flip", "web", "blue")["changed"]


@pytest.mark.scales
def test_a_lock_is_never_wiped_out_by_a_flip_at_the_same_moment(fleet):
    f = fleet(2)
    f.wait_members()
    for _ in range(scaled(100, 10)):
        color, epoch = f.agree()
        ready, replies = threading.Barrier(2), {}

        def ask(name, teal, *words):
            with teal.admin() as a:
                ready.wait()
                replies[name] = a.command(*words)
        threads = [threading.Thread(target=ask, args=("lock", f[0], "lock", "web", "--reason=x")),
                   threading.Thread(target=ask, args=("flip", f[1], "flip", "web", other(color)))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert replies["flip"]["ok"] or replies["flip"]["error"] in ("locked", "conflict"), replies
        assert replies["lock"]["ok"] or replies["lock"]["error"] == "conflict", replies
        locked = f.redis.hash(f.key())["locked"] != ""
        assert locked == replies["lock"]["ok"], replies
        f[0].ok("unlock", "web")


def history(teal, *options):
    return teal.ok("history", "web", *options)["history"]


def test_history_is_the_fleets(fleet):
    f = fleet(3)
    f[0].ok("flip", "web", "blue", "--reason=one")
    f[1].ok("rollback", "web", "--reason=two")
    f[2].ok("lock", "web", "--reason=three")
    assert f[0].ctl("flip", "web", "blue", "--reason=four")["error"] == "locked"
    f[1].ok("unlock", "web")

    def all_of_it(t):
        return [(h["reason"], h["kind"], h["result"]) for h in history(t) if h["reason"]]
    want = [("one", "flip", "ok"), ("two", "rollback", "ok"), ("three", "lock", "ok"), ("four", "flip", "locked")]
    for t in f:
        # A refusal is noted without anybody waiting for it.
        until(lambda t=t: all_of_it(t) == want, "the same history")
    first = history(f[2])[0]
    assert (first["from"], first["to"], first["epoch"], first["by"]) == ("green", "blue", 2, ME)
    assert len(history(f[0], "--last=2")) == 2
    assert f.redis("TYPE", f.prefix + ":events") == "stream"


def test_rollback_at_another_teal_and_only_once(fleet):
    f = fleet(2)
    f[0].ok("flip", "web", "blue")
    r = f[1].ok("rollback", "web")
    assert (r["active"], r["epoch"], r["changed"]) == ("green", 3, True)
    r = f[0].ok("rollback", "web")
    assert (r["active"], r["epoch"], r["changed"]) == ("green", 3, False)


def test_drained_is_waited_for_at_all_of_them(fleet):
    f = fleet(2, drain={"timeout": 60.0, "idle": 0.0})
    f.wait_members()
    old = f[1].connect().echo()
    with f[0].admin() as a:
        a.send("flip", "web", "blue", "--wait=drained", "--timeout=600")
        seen = []
        while not any(o.get("event") == "draining" and o["remaining"] == 1 for o in seen):
            seen.append(a.object())
            assert "ok" not in seen[-1], seen
        old.close()
        r = a.reply()
    assert r["ok"], r


# ---- crashes ----

@pytest.mark.scales
def test_a_killed_flip_leaves_a_fleet_that_agrees(fleet):
    """SIGKILL of the Teal that flips, at any moment of it; what was acknowledged
    is there, and everybody says the same."""
    f = fleet(3)
    f.wait_members()
    acknowledged, color, chance = 1, "green", dice()
    with f.load(clients=3, think=0.02, among=f[1:]) as run:
        for n in range(scaled(200, 6)):
            color, epoch = f.agree(among=f[1:])
            assert epoch >= acknowledged
            victim = f[0]
            said = []
            with victim.admin() as a:
                a.send("flip", "web", other(color))
                killer = threading.Timer(chance.uniform(0.0, 0.012), victim.kill)
                killer.start()
                try:
                    while True:
                        o = a.object()
                        if o is None:
                            break
                        said.append(o)
                        if "ok" in o:
                            break
                except (OSError, AssertionError):
                    pass
                killer.join()
            committed = [o["epoch"] for o in said if o.get("event") == "committed" or o.get("ok")]
            acknowledged = max([acknowledged, *committed])
            victim.start()
            got = f.agree()
            assert got[1] >= acknowledged, (said, got)
            assert got in ((color, epoch), (other(color), epoch + 1)), (got, color, epoch)
            assert {t.connect().peer for t in f} == {got[0]}
    assert run.sessions
