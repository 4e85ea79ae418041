"""Several services flipped, rolled back and checked as one: all of them, or none."""
import json

import pytest

from helpers.people import Person, needs_root
from helpers.reload import reload, rewrite
from helpers.scale import dice, scaled, until
from helpers.teald import service

NAMES = ("web", "api", "worker")


def other(color):
    return {"green": "blue", "blue": "green"}[color]


@pytest.fixture
def shop(teal, backend, ports):
    """shop(**settings): web, api and worker with backends of their own, and the group shop of the first two."""
    def make(names=NAMES, **settings):
        services, farms = [], {}
        for name in names:
            farms[name] = {color: backend(color) for color in ("green", "blue")}
            services.append(service(name, listen=f"127.0.0.1:{ports.hold()}", green=[farms[name]["green"]],
                                    blue=[farms[name]["blue"]], drain={"timeout": 30.0}))
        t = teal(services=services, **({"groups": {"shop": ["web", "api"]}} | settings))
        t.farms = farms
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
    # The one that is skipped is the gate.
    r = t.ok("flip", "worker=blue", "web=green", "--force")
    assert colors(t) == {"web": "green", "api": "blue", "worker": "blue"}


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
