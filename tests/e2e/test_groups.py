"""Several services flipped, rolled back and checked as one: all of them, or none."""
import collections
import json
import signal
import threading
import time

import pytest

from helpers.fleet import COLORS, Fleet, other
from helpers.people import Person, needs_root
from helpers.reload import reload, rewrite
from helpers.scale import dice, scaled, until
from helpers.teald import service
from helpers.upgrade import upgrade, upgraded

NAMES = ("web", "api", "worker")


@pytest.fixture
def shop(teal, backend, ports):
    """shop(**settings): web, api and worker with backends of their own, and the group shop of the first two."""
    def make(supervised=False, **settings):
        services, farms = [], {}
        for name in NAMES:
            farms[name] = {color: backend(color) for color in ("green", "blue")}
            services.append(service(name, listen=f"127.0.0.1:{ports.hold()}", green=[farms[name]["green"]],
                                    blue=[farms[name]["blue"]], drain={"timeout": 30.0}))
        t = teal(services=services, start=not supervised, **({"groups": {"shop": ["web", "api"]}} | settings))
        t.farms = farms
        if supervised:
            t.start(supervised=True)
        return t
    return make


def colors(teal):
    return {s["name"]: s["active"] for s in teal.ok("status")["services"]}


def epochs(teal):
    return {s["name"]: s["epoch"] for s in teal.ok("status")["services"]}


def healthy(teal, color="blue"):
    for s in teal.ok("status")["services"]:
        until(lambda n=s["name"]: teal.status(n)["colors"][color]["healthy"] >= 1, "healthy")


def test_several_services_are_flipped_as_one_and_go_back_as_one(shop):
    t = shop()
    healthy(t)
    held = t.connect("api")
    assert held.peer == "green"
    r = t.ok("flip", "web=blue", "api=blue", "worker=blue", "--reason=deploy 7")
    assert [e["event"] for e in r.events] == ["checked"] * 3 + ["committed", "applied"]
    assert {e["service"] for e in r.events[:3]} == set(NAMES)
    assert [(s["service"], s["active"], s["epoch"], s["changed"]) for s in r["services"]] == \
        [(n, "blue", 2, True) for n in NAMES]
    assert r["changed"] is True and len(r["revision"]) == 8
    for name in NAMES:
        assert t.connect(name).peer == "blue"
        s = t.status(name)
        assert (s["revision"], s["reason"]) == (r["revision"], "deploy 7")
        line = t.ok("history", name)["history"][-1]
        assert (line["revision"], line["kind"], line["result"]) == (r["revision"], "flip", "ok")
        assert t.wait_log("flip.committed", service=name)["revision"] == r["revision"]
    audit = t.wait_log("audit", command="flip")
    assert (audit["targets"], audit["revision"], audit["result"]) == \
        ("web=blue api=blue worker=blue", r["revision"], "ok")
    # Where it is so already, nothing is written.
    again = t.ok("flip", "web=blue", "api=blue", "worker=blue")
    assert (again["changed"], again["revision"]) == (False, None)

    # What one flip did, one rollback undoes, also by a teald that was started since.
    t.restart()
    healthy(t, "green")
    back = t.ok("rollback", *NAMES)
    assert set(colors(t).values()) == {"green"} and back["revision"] != r["revision"]
    assert t.ok("rollback", *NAMES)["changed"] is False

    # One that has been changed by itself since is not dragged along.
    r = t.ok("flip", "web=blue", "api=blue", "worker=blue")
    t.ok("flip", "worker", "green")
    r = t.ctl("rollback", *NAMES)
    assert (r["error"], r["changed"]) == ("conflict", False)
    assert "worker: changed by itself" in r["message"], r
    assert colors(t) == {"web": "blue", "api": "blue", "worker": "green"}
    assert t.ok("rollback", "web", "api")["changed"] is True
    # A flip of those that are not there yet compares the others, too.
    t.ok("flip", "web", "blue")
    r = t.ok("flip", "web=blue", "api=blue")
    assert [s["changed"] for s in r["services"]] == [False, True]


def test_a_refusal_of_one_refuses_all_and_names_it(shop):
    t = shop()
    healthy(t)
    before = epochs(t)

    def refused(error, *words, says):
        r = t.ctl(*words)
        assert (r["ok"], r["error"]) == (False, error), r
        for text in says:
            assert text in r["message"], r
        assert epochs(t) == before and r.get("changed", False) is False
        return r

    t.ok("lock", "api", "--reason=freeze")
    r = refused("locked", "flip", "web=blue", "api=blue", says=["api is locked", "freeze"])
    assert [("error" in s, s["changed"]) for s in r["services"]] == [(True, False)] * 2
    assert t.ok("history", "web")["history"][-1]["result"] == "locked"
    t.ok("unlock", "api")
    # All that is wrong is said at once.
    for name in ("api", "worker"):
        t.farms[name]["blue"].stop()
    until(lambda: all(t.status(n)["colors"]["blue"]["healthy"] == 0 for n in ("api", "worker")), "seen to be down")
    refused("unhealthy", "flip", "web=blue", "api=blue", "worker=blue",
            says=["api -> blue: 0/1 backends healthy", "worker -> blue: 0/1 backends healthy"])
    r = refused("unhealthy", "check", "web=blue", "worker=blue", says=["worker -> blue: 0/1"])
    assert [s["healthy"] for s in r["services"]] == [1, 0]
    refused("conflict", "flip", "web=blue@1", "api=blue@7", says=["api: expected epoch 7, found green at epoch 1"])
    refused("conflict", "flip", "web=blue", "api=blue", "--expect=blue", says=["web: expected blue", "api: expected blue"])
    token = t.ok("claim", "web", "--ttl=600", "--reason=job 1")["token"]
    refused("claimed", "flip", "web=blue", "api=blue", "--force", says=["web is claimed"])
    refused("usage", "flip", "web=blue", "api=blue", f"--token={token}", says=["--token is of one service's claim"])
    t.ok("release", "web", f"--token={token}")
    before = epochs(t)
    # A wait that ends well: all begin anew together.
    with t.admin() as a:
        a.send("flip", "web=blue", "api=blue", "--wait-healthy=3600", "--timeout=3600")
        # The next line of the same client waits; another one sees that nothing has happened.
        until(lambda: t.status("api")["colors"]["blue"]["healthy"] == 0, "still down")
        assert epochs(t) == before
        t.farms["api"]["blue"].start()
        r = a.reply()
    assert r["ok"] and [s["epoch"] for s in r["services"]] == [2, 2]
    # What waited for others was told once, not at each look.
    assert sorted(e["service"] for e in r.events if e["event"] == "checked") == ["api", "web"], r.events
    # The one that is skipped is the gate.
    r = t.ok("flip", "worker=blue", "web=green", "--force")
    assert colors(t) == {"web": "green", "api": "blue", "worker": "blue"}


def test_what_waits_is_answered_when_a_service_or_the_process_goes(shop):
    t = shop()
    healthy(t)
    t.farms["api"]["blue"].stop()
    until(lambda: t.status("api")["colors"]["blue"]["healthy"] == 0, "down")
    with t.admin() as a:
        a.send("flip", "web=blue", "api=blue", "worker=blue", "--wait-healthy=3600", "--timeout=3600")
        assert {a.object()["service"] for _ in range(2)} == {"web", "worker"}
        rewrite(t, groups={}, services=[s for s in t.settings["services"] if s["name"] != "worker"])
        reload(t)
        r = a.reply()
    assert (r["error"], r["changed"], r["revision"]) == ("unknown_service", False, None), r
    assert r["message"] == "worker: the service was removed from the configuration"
    assert set(colors(t).values()) == {"green"}
    # One that is not waited for is not said to be applied.
    r = t.ok("flip", "web=blue", "--wait=none")
    assert [e["event"] for e in r.events] == ["checked", "committed"]
    assert [e["event"] for e in t.ok("flip", "web=blue").events] == []
    with t.admin() as a:
        a.send("flip", "web=green", "api=blue", "--wait-healthy=3600", "--timeout=3600")
        assert a.object()["service"] == "web"
        t.signal()
        assert not a.reply()["ok"]
    assert t.wait() == 0


def test_a_group_is_a_name_for_its_services(shop):
    t = shop()
    healthy(t)
    r = t.ok("flip", "shop", "blue")
    assert [s["service"] for s in r["services"]] == ["web", "api"]
    assert colors(t) == {"web": "blue", "api": "blue", "worker": "green"}
    assert t.ok("check", "shop", "green")["services"][1]["service"] == "api"
    r = t.ok("rollback", "shop", "--wait=drained")
    assert [e["event"] for e in r.events if e["event"] != "draining"][-2:] == ["applied", "drained"], r.events
    assert r["cut"] == 0
    assert t.ok("flip", "shop=blue", "worker=blue")["changed"] is True
    for words, says in ((("flip", "shop", "green@2"), "an epoch is of one service"),
                        (("flip", "shop=green", "web=green"), "web is named twice"),
                        (("flip", "web=green", "api=green", "--expect=blue@4"), "is of one service"),
                        (("flip", "web=green", "api"), "is not SERVICE=COLOR"),
                        (("flip", "=green"), "no name of a service"),
                        (("flip", "web=green", "nope=green"), 'there is no service "nope"'),
                        (("flip", "web=red"), "unknown color"),
                        (("flip", "web"), "missing argument")):
        r = t.ctl(*words)
        assert not r["ok"] and says in r["message"], (words, r)
    # A reload changes what it means.
    rewrite(t, groups={"shop": ["worker"], "all": list(NAMES)})
    r = reload(t)
    assert "groups.all" in json.dumps(r.events) and "groups.shop" in json.dumps(r.events), r.events
    assert [s["service"] for s in t.ok("flip", "shop", "green")["services"]] == ["worker"]
    assert [s["service"] for s in t.ok("flip", "all", "green")["services"]] == list(NAMES)
    # Lines for scripts, and for people.
    out = t.tealctl("flip", "all", "blue").stdout.splitlines()
    assert [l for l in out if l.startswith("flipped")] == [f"flipped\t{n}\tblue\t{e}" for n, e in epochs(t).items()]
    assert t.tealctl("flip", "web=green", "nope=green").returncode == 2


def test_it_outlives_the_process(shop):
    """Another process rolls back what one has flipped; and one that waits for the drain of all is answered."""
    t = shop(supervised=True)
    healthy(t)
    r = t.ok("flip", "web=blue", "api=blue", "worker=blue")
    upgraded(t)
    assert t.status("api")["revision"] == r["revision"]
    healthy(t, "green")
    held = t.connect("api")
    assert held.echo().peer == "blue"
    with t.admin() as a:
        a.send("rollback", *NAMES, "--wait=drained", "--drain=3600", "--timeout=3600")
        t.wait_log("flip.draining", service="api", color="blue")
        upgrade(t)
        assert held.echo().peer == "blue" and set(colors(t).values()) == {"green"}
        held.close()
        r = a.reply()
    assert r["ok"] and r["changed"] is True and r["cut"] == 0, r
    assert [e["event"] for e in r.events if e["event"] != "draining"][-3:] == ["committed", "applied", "drained"]


@needs_root
def test_rights_are_needed_on_each(shop):
    t = shop(admin={"mode": "0666", "roles": [{"user": "nobody", "services": ["web", "api"], "allow": ["read", "flip"]}]})
    healthy(t)
    nobody = Person("nobody")
    r = nobody.ask(t, "flip web=blue worker=blue")[-1]
    assert r["error"] == "denied" and '"worker"' in r["message"], r
    assert set(colors(t).values()) == {"green"}
    r = nobody.ask(t, "flip shop blue")[-1]
    assert r["ok"] and colors(t)["worker"] == "green"


# ---- over a fleet ----

FIVE = ("web", "api", "worker", "mail", "pay")


class Crew(Fleet):
    """Teals with five services each, which only ever change together."""

    def seen(self, teal):
        """What that one has now: a color and an epoch, the same of all five."""
        services = teal.ok("status")["services"]
        one = {(s["active"], s["epoch"], s.get("revision")) for s in services}
        assert len(one) == 1 and len(services) == len(FIVE), f"mixed: {one}"
        return one.pop()

    def look(self):
        for t in self.running:
            self.seen(t)


@pytest.fixture
def crew(teal, backend, redis, ports):
    def make(n=3, **store):
        f = Crew()
        f.redis = redis()
        f.farms = {name: {c: backend(c) for c in COLORS} for name in FIVE[:2]}
        for _ in range(n):
            f.append(teal(start=False, store={"type": "redis", "url": f.redis.url, "prefix": f.prefix} | store,
                          groups={"all": list(FIVE)},
                          services=[service(name, listen=f"127.0.0.1:{ports.hold()}",
                                            **{c: [f.farms[name if name in f.farms else "web"][c]] for c in COLORS})
                                    for name in FIVE]))
        for t in f:
            t.start(ready=False)
        for t in f:
            t.wait_ready()
        f.wait_members()
        for t in f:
            for name in FIVE:
                until(lambda t=t, n=name: t.status(n)["colors"]["blue"]["healthy"] == 1, "healthy")
        return f
    return make


def test_a_fleet_has_all_of_a_flip_or_nothing(crew):
    f = crew()
    r = f[0].ok("flip", "all", "blue")
    for t in f:
        assert f.seen(t) == ("blue", 2, r["revision"])
        assert all(t.connect(n).peer == "blue" for n in FIVE)
    assert {f.redis.hash(f.key(n))["revision"] for n in FIVE} == {r["revision"] + "@2"}
    r = f[1].ok("rollback", "all")
    for t in f:
        assert f.seen(t) == ("green", 3, r["revision"])
    assert f[2].ok("rollback", "all")["changed"] is False
    # Two that want the same at the same time: one of them is it.
    both = [threading.Thread(target=lambda t=t: answers.append(t.ctl("flip", "all", "blue", "--expect=green")))
            for t in f[:2]]
    answers = []
    for b in both:
        b.start()
    for b in both:
        b.join()
    assert sorted(a["ok"] for a in answers) == [False, True], answers
    lost = next(a for a in answers if not a["ok"])
    assert (lost["error"], lost["changed"]) == ("conflict", False), lost
    # Without its store nothing is changed, and the answer says so for all.
    f.redis.kill()
    f.wait_up(False)
    r = f[0].ctl("flip", "all", "green")
    assert (r["error"], r["changed"]) == ("store_unavailable", False)
    f.look()


def settle(f, fault, victim, to):
    if fault in ("paused", "killed"):
        f.redis.resume() if fault == "paused" else f.redis.start()
    elif fault == "stopped":
        victim.process.send_signal(signal.SIGCONT)
    elif fault == "sick":
        f.farms["api"][to].start()


@pytest.mark.scales
def test_never_a_mixed_revision_whatever_fails(crew):
    """Flips of five services at a random Teal, while the store is stopped or killed with all it knew, a Teal is stopped,
    a gate fails, or another Teal flips, too: whatever the answer, every Teal always has one color and epoch in all."""
    f, chance = crew(command_timeout=1.0), dice()
    ended = collections.Counter()
    for n in range(scaled(300, 12)):
        fault = ("none", "paused", "killed", "stopped", "sick", "race")[n % 6 if n < 6 else chance.randrange(6)]
        chooser = chance.choice(f)
        victim = chance.choice([t for t in f if t is not chooser])
        color, epoch, _ = f.seen(chooser)
        to, answers = other(color), []
        if fault == "sick":
            f.farms["api"][to].stop()
        # One that is stopped is waited for.
        patience = "--timeout=2" if fault == "stopped" else "--timeout=600"
        racers = [chooser] + ([victim] if fault == "race" else [])
        threads = [threading.Thread(target=lambda t=t: answers.append((t, t.ctl("flip", "all", to, patience))))
                   for t in racers]
        for t in threads:
            t.start()
        # Before the flip has begun, in the middle of it, or when it is over.
        time.sleep(chance.uniform(0.0, 0.008))
        if fault == "paused":
            f.redis.pause()
        elif fault == "killed":
            f.redis.kill()
        elif fault == "stopped":
            victim.process.send_signal(signal.SIGSTOP)
        while any(t.is_alive() for t in threads):
            for t in f:
                if not (fault == "stopped" and t is victim):
                    f.seen(t)
        for t in threads:
            t.join()
        for t, r in answers:
            ended[fault, r["error"] if not r["ok"] else "ok"] += 1
            if r["ok"] and fault != "race":
                # Applied: by everyone that can be asked.
                asked = [t for t in f if not (fault == "stopped" and t is victim)]
                assert {f.seen(t)[:2] for t in asked} == {(to, epoch + 1)}, (fault, r)
            if fault == "sick":
                assert not r["ok"] and r["changed"] is False and "api -> " in r["message"], r
        settle(f, fault, victim, to)
        f.wait_up()
        f.wait_members()
        until(lambda: len({f.seen(t) for t in f}) == 1, f"all agree after {fault}", every=0.01)
        after = f.seen(f[0])
        for t, r in answers:
            if r.get("changed") is False and fault != "race":
                assert after[:2] == (color, epoch), (fault, r, after)
            if r.get("changed") is True:
                assert after[0] == to and after[2] == r["revision"], (fault, r, after)
        for name in FIVE:
            until(lambda: all(t.status(name)["colors"][c]["healthy"] == 1 for t in f for c in COLORS), "healthy again")
    print(ended)
    assert not any(error in ("internal", "usage") for _, error in ended), ended
    until(lambda: f[0].ctl("flip", "all", other(f.seen(f[0])[0]))["ok"], "a flip that nothing disturbs")
