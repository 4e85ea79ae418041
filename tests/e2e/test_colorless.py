"""Services without colors: backends of their own, nothing to flip, and everything else as in others."""
import pytest

from helpers.backends import Farm
from helpers.clients import Client
from helpers.http1 import Http, site
from helpers.kernel import DNS, WEB, Flow, farms, kernel_service
from helpers.reload import change, reload
from helpers.scale import BUILD, until
from helpers.teald import service
from helpers.terminal import Terminal
from helpers.upgrade import upgrade, upgraded


def plain(name="web", *, listen, backends=None, **keys):
    """A service without colors: of these backends, or with nodes and port among the keys."""
    s = service(name, listen=listen, green=[], blue=[], **keys)
    del s["green"], s["blue"]
    return s | ({"backends": [getattr(b, "address", b) for b in backends]} if backends else {})


@pytest.fixture
def alone(teal, backend, ports):
    """alone(**keys): a running teald with the service "web" of two backends, .one and .two."""
    def make(behaviour=None, start=True, top=None, **keys):
        one, two = (backend(n, behaviour) for n in ("one", "two"))
        t = teal(services=[plain(listen=f"127.0.0.1:{ports.hold()}", backends=[one, two], **keys)], start=False, **(top or {}))
        t.one, t.two = one, two
        return t.start(supervised=start == "supervised") if start else t
    return make


REFUSED = ("flip web blue", "rollback web", "active web", "idle web", "check web green", "lock web --reason=x", "unlock web")


def test_connections_are_spread_and_nothing_speaks_of_a_color(alone):
    teal = alone()
    clients = [teal.connect().echo() for _ in range(4)]
    assert sorted(c.peer for c in clients) == ["one", "one", "two", "two"]
    s = teal.status()
    assert (s["active"], s["idle"], s["epoch"], s["drain"]) == (None, None, None, None)
    assert list(s["colors"]) == [""] and s["connections"] == 4
    own = s["colors"][""]
    assert (own["healthy"], own["total"], own["connections"]) == (2, 2, 4) and "needed" not in own
    assert [b["state"] for b in own["backends"]] == ["up", "up"]
    assert list(s["quality"]) == ["", "flip"]
    for c in clients:
        c.close()
    line = teal.wait_log("tcp.session", 4)
    assert "color" not in line and "epoch" not in line and line["service"] == "web"
    m = until(lambda: (m := teal.metrics()).get("teal_connections_total", service="web", end="done") == 4 and m, "four ended")
    samples = [dict(labels) | {"": name} for f in m.families.values() for name, labels in f.samples]
    ours = [s for s in samples if s.get("service") == "web"]
    assert {s["color"] for s in ours if "color" in s} == {""}
    for name in ("epoch", "locked"):
        assert not m.has(f"teal_service_{name}", service="web")
    for name in ("teal_flips_total", "teal_backends_needed", "teal_draining_connections"):
        assert not m.has(name, service="web")
    assert m.get("teal_service_active", service="web", color="") == 1
    assert m.get("teal_backends_healthy", service="web", color="") == 2
    assert not [l for l in teal.log_lines("backend.up") if "color" in l]
    assert b'"web"' not in b"".join(p.read_bytes() for p in teal.state_dir.iterdir() if b"teal-state" in p.read_bytes()[:200])


def test_what_is_about_colors_is_refused_in_plain_words(alone, backend, ports):
    teal = alone()
    for line in REFUSED:
        r = teal.ctl(*line.split())
        assert (r["ok"], r["error"]) == (False, "unsupported"), line
        assert r["message"].startswith("web has no colors, so there is nothing to flip"), r
        assert teal.tealctl(*line.split()).returncode == 2
    assert teal.ok("history", "web")["history"] == []
    d = teal.ok("drain", "web")
    assert (d["draining"], d["color"], d["connections"]) == (False, None, [])
    assert teal.ok("lock", "*", "--reason=night")["services"] == []
    assert teal.http("/readyz?service=web") == (200, "ready\n")
    teal.one.stop()
    teal.two.stop()
    until(lambda: teal.http("/readyz?service=web") == (503, "web: no backend is up\n"), "not ready")


def test_people_see_it_as_it_is(alone, closing):
    teal = alone()
    held = teal.connect().echo()
    assert teal.tealctl("status", check=0).stdout.splitlines()[0].split("\t")[:16] == [
        "service", "web", "tcp", "-", "-", "2", "2", "1", "-", "-", "-", "-", "unlocked", "-", "-", "-"]
    s = teal.status()
    assert (s["rollback"], s["trouble"]) == (None, [])
    p = teal.tealctl("status", "web", check=0).stdout.splitlines()
    assert [l.split("\t")[:5] for l in p[1:3]] == [["backend", "web", "-", b.address, "up"] for b in (teal.one, teal.two)]
    p = teal.tealctl("top", "--interval=0.1", check=0).stdout.splitlines()[0].split("\t")
    assert p[:8] == ["top", "web", "tcp", "-", "-", "2", "2", "1"] and p[11:17] == ["-"] * 6
    t = closing.add(Terminal(str(BUILD / "tealctl"), "-s", teal.admin_path, "status", "web"))
    t.until("web (tcp), without colors", "2/2 backends up, 1 connection", "BACKEND")
    assert not any("green" in l or "epoch" in l or "ROLE" in l for l in t.lines)
    t = closing.add(Terminal(str(BUILD / "tealctl"), "-s", teal.admin_path, "top"))
    t.until("web", "2/2")
    t.press("\r")
    t.until("web (tcp), without colors", teal.one.address)
    assert not any("green" in l for l in t.lines)
    t.press("q")
    held.close()
    teal.two.stop()
    message = until(lambda: teal.status()["trouble"], "trouble")[0]["message"]
    assert message.startswith(f"1 of 2 backends not up: {teal.two.address} ")


def test_of_nodes_and_a_port_that_are_drained_and_come_back(teal, closing, ports):
    port, hosts = ports.hold(), ("127.0.0.1", "127.0.0.2")
    for h in hosts:
        closing.add(Farm(h, port, h))
    teal = teal(node_pools={"main": list(hosts)},
                services=[plain(listen=f"127.0.0.1:{ports.hold()}", nodes="main", port=port)])
    kept = {c.peer: c for c in (teal.connect(), teal.connect())}
    assert set(kept) == set(hosts)
    teal.ok("node", "drain", "main", hosts[0])
    assert {teal.connect().peer for _ in range(4)} == {hosts[1]}
    r = teal.ctl("node", "drain", "main", hosts[1])
    assert (r["error"], r["message"].split(";")[0]) == ("unhealthy", "web would be left without a usable backend")
    for c in kept.values():
        c.echo().close()
    teal.restart()
    assert {teal.connect().peer for _ in range(4)} == {hosts[1]}
    teal.ok("node", "ready", "main", hosts[0])
    assert {teal.connect().peer for _ in range(4)} == set(hosts)


def test_requests_go_to_it_beside_services_with_colors(teal, backend, ports):
    """One listener of three, TLS is a matter of the listener; a header that asks for a preview is a header."""
    green, blue, one, rest = (backend(n, site) for n in ("green", "blue", "one", "rest"))
    listen = f"127.0.0.1:{ports.hold()}"
    teal = teal(defaults={"color_header": True, "preview_header": "X-Preview", "preview_allow": ["127.0.0.0/8"]}, services=[
        service("shop", listen=listen, green=[green], blue=[blue], mode="http", hosts=["shop.example"]),
        plain("docs", listen=listen, backends=[one], mode="http", hosts=["docs.example"]),
        plain("rest", listen=listen, backends=[rest], mode="http", default=True)])
    client = Http(teal.address("shop"))

    def ask(host, *headers):
        return client.ask(host=host, headers=headers)
    a = ask("shop.example")
    assert (a.body, a.get("X-Teal-Color")) == (b"green", "green")
    a = ask("docs.example", ("X-Preview", "1"))
    assert (a.body, a.get("X-Teal-Color")) == (b"one", None)
    teal.ok("flip", "shop", "blue")
    assert ask("shop.example").body == b"blue" and ask("docs.example").body == b"one" and ask("else.example").body == b"rest"
    line = teal.wait_log("http.request", service="docs")
    assert "color" not in line and line["backend"] == one.address
    assert teal.wait_log("http.request", 2, service="shop")["color"] == "blue"


def test_a_reload_takes_the_colors_away_and_brings_them_back(web, backend):
    """Nothing is cut when they go; when they come back, the store knows which one was active, and what is on the other
    one drains."""
    teal = web(clock=True, drain={"timeout": 600.0, "idle": 0.0})
    teal.ok("flip", "web", "blue", "--drain=0")
    held = teal.connect().echo()
    assert held.peer == "blue"
    three = backend("three")
    change(teal, green=None, blue=None, backends=[teal.blue.address, three.address])
    r = reload(teal)
    keys = r.event("planned")["changed"][0]["keys"]
    assert {"green.backends", "blue.backends", "backends", "initial"} <= set(keys) and not r.event("planned")["needs_upgrade"]
    assert {teal.connect().peer for _ in range(4)} == {"blue", "three"}
    held.echo()
    s = teal.status()
    assert (s["active"], s["drain"], list(s["colors"])) == (None, None, [""])
    assert s["colors"][""]["connections"] >= 1 and s["connections"] == s["colors"][""]["connections"]
    teal.clock.move(3600)
    held.echo()
    later = teal.connect().echo()
    change(teal, backends=None, green={"backends": [teal.green.address]}, blue={"backends": [teal.blue.address]})
    reload(teal)
    s = until(lambda: (s := teal.status())["active"] and s, "the store has said")
    assert (s["active"], s["epoch"]) == ("blue", 2)
    assert {teal.connect().peer for _ in range(3)} == {"blue"}
    until(lambda: teal.status()["drain"], "what is on green drains")
    later.echo()
    held.echo()
    teal.clock.move(600)
    assert later.read_end()[0] == b""
    held.echo()
    teal.ok("flip", "web", "green")
    assert teal.connect().peer == "green"


def test_a_flip_that_is_under_way_ends_with_the_colors(web):
    teal = web()
    teal.blue.stop()
    with teal.admin() as a:
        a.send("flip", "web", "blue", "--wait-healthy=600", "--timeout=600")
        until(lambda: teal.status()["colors"]["blue"]["healthy"] == 0, "blue is down")
        change(teal, green=None, blue=None, backends=[teal.green.address])
        reload(teal)
        r = until(lambda: (o := a.object()) and "ok" in o and o, "it is answered")
    assert (r["ok"], r["error"], r["changed"]) == (False, "conflict", False) and "taken the colors" in r["message"]
    assert teal.connect().peer == "green"


def test_it_needs_no_store(alone, redis, web):
    """Redis away from the first start on: it serves, and nothing of it is written."""
    server = redis(start=False)
    teal = alone(start=False, top={"store": {
        "type": "redis", "url": server.url, "prefix": "teal:test", "stale": "refuse", "max_age": 1.0}})
    teal.start(ready=False)
    teal.wait_log("admin.listening")
    until(lambda: teal.status()["colors"][""]["healthy"] == 2, "both are up")
    assert {teal.connect().peer for _ in range(4)} == {"one", "two"}
    teal.wait_log("store.stale")
    assert {teal.connect().peer for _ in range(4)} == {"one", "two"}
    server.start()
    teal.wait_log("store.fresh")
    teal.wait_ready()
    assert not server("KEYS", "teal:test:service:*")
    assert not teal.ok("fleet")["fleet"][0]["services"]


def test_a_fleet_does_not_wait_for_the_one_without_colors(fleet):
    """In the middle of a change of all files, one after the other."""
    f = fleet(2)
    change(f[1], green=None, blue=None, backends=[f.green.address])
    reload(f[1])
    r = f[0].ok("flip", "web", "blue")
    assert (r["active"], r["epoch"]) == ("blue", 2)
    assert f[0].connect().peer == "blue" and f[1].connect().peer == "green"
    change(f[1], backends=None, green={"backends": [f.green.address]}, blue={"backends": [f.blue.address]})
    reload(f[1])
    f.agree("blue", 2)
    assert f[1].connect().peer == "blue"


def test_an_upgrade_takes_its_connections_along(alone):
    teal = alone(start="supervised", drain={"timeout": 600.0, "idle": 0.0})
    held = [teal.connect().echo() for _ in range(2)]
    upgraded(teal)
    for c in held:
        c.echo()
    s = teal.status()["colors"][""]
    assert s["connections"] == 2 and [b["connections"] for b in s["backends"]] == [1, 1]
    assert {teal.connect().peer for _ in range(4)} == {"one", "two"}


def test_an_upgrade_may_change_what_has_colors(web, backend):
    teal = web(start=False, drain={"timeout": 600.0, "idle": 0.0}).start(supervised=True)
    teal.ok("flip", "web", "blue")
    held = teal.connect().echo()
    change(teal, green=None, blue=None, backends=[teal.green.address])
    upgrade(teal)
    assert teal.connect().peer == "green"
    held.echo()
    assert list(teal.status()["colors"]) == [""]
    change(teal, backends=None, green={"backends": [teal.green.address]}, blue={"backends": [teal.blue.address]})
    until(lambda: len(teal.ok("status")["generations"]) == 1, "the former one has gone")
    upgrade(teal)
    s = teal.status()
    assert (s["active"], s["epoch"]) == ("blue", 2)
    assert teal.connect().peer == "blue"
    held.echo()


@pytest.mark.parametrize("udp", [False, True])
def test_the_kernel_forwards_to_it(topology, closing, teal, udp):
    green, blue = (farms(topology, closing, c, udp=udp) for c in ("green", "blue"))
    s = kernel_service("web", topology, green, blue, udp=udp)
    backends = s.pop("green")["backends"] + s.pop("blue")["backends"]
    t = teal(place=topology.hop, services=[s | {"backends": backends}])
    made = 0

    def ask():
        nonlocal made
        made += 1
        source = topology.source(64000 - made)
        where = (topology.VIP, DNS if udp else WEB)
        return closing.add(Flow(topology, source, where) if udp else
                           topology.clients.do(lambda: Client(where, source=(source, 0))))
    first = [ask() for _ in range(8)]
    assert {f.peer for f in first} == {"green", "blue"}
    assert until(lambda: (s := t.status()["colors"][""]["connections"]) >= 8 and s, "counted")
    t.kill()
    t.start()
    assert {ask().peer for _ in range(8)} == {"green", "blue"}
    assert t.status()["drain"] is None
    for f in first[:2]:
        f.ask() if udp else f.echo()
    if not udp:
        first[0].close()
        line = t.wait_log("tcp.session", end="done")
        assert "color" not in line and "epoch" not in line


def test_backups_are_told_of_without_a_color(teal, backend, ports):
    one, spare = backend("one"), backend("spare")
    s = plain(listen=f"127.0.0.1:{ports.hold()}", health={"interval": 0.1, "timeout": 60.0, "rise": 1, "fall": 1})
    t = teal(services=[s | {"backends": [{"address": one.address}, {"address": spare.address, "backup": True}]}])
    until(lambda: t.metrics().get("teal_backend_up", backend=spare.address) == 1, "the backup is checked, too")
    one.stop()
    assert "color" not in t.wait_log("backup.used", service="web")
    one.start()
    assert "color" not in t.wait_log("backup.idle", service="web")
