"""Nodes that come and go while everything runs."""
import json

import pytest

from helpers.backends import Farm
from helpers.clients import Load
from helpers.fleet import Fleet
from helpers.people import Person
from helpers.scale import scaled, until

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
HEALTH = {"interval": 0.2, "timeout": 1.0, "rise": 1, "fall": 2}


@pytest.fixture
def pool(ports, closing):
    """pool(hosts): .settings for a service "web" whose nodes come from the pool
    main; each host serves green, named by its address."""
    class Pool:
        def __init__(self, configured, running):
            self.port, self.blue = ports.hold(), ports.hold()
            for h in running:
                closing.add(Farm(h, self.port, h))
            closing.add(Farm("blue", self.blue))
            self.configured = configured

        def settings(self, **keys):
            return {"services": [{"name": "web", "mode": "tcp", "listen": f"127.0.0.1:{ports.hold()}", "nodes": "main",
                                  "green": {"port": self.port}, "blue": {"port": self.blue}, "health": HEALTH} | keys],
                    "node_pools": {"main": list(self.configured)}}
    return lambda configured=HOSTS[:2], running=HOSTS: Pool(configured, running)


def nodes(teal, pool="main"):
    """`node list POOL`, by host."""
    p, = teal.ok("node", "list", pool)["pools"]
    assert p["pool"] == pool
    return {n["host"]: n for n in p["nodes"]}


def green(teal):
    """The backends of green, by host."""
    return {b["address"].rsplit(":", 1)[0]: b for b in teal.status()["colors"]["green"]["backends"]}


def wait_up(teal, *hosts, busy=False):
    until(lambda: all(green(teal).get(h, {}).get("state") == "up" for h in hosts), f"{hosts} up")
    if not busy:
        teal.rest()


def peers(teal, n=12):
    """Who answers n new connections."""
    found = set()
    for _ in range(n):
        c = teal.connect()
        found.add(c.peer)
        c.close()
    return found


def test_a_node_is_drained_made_ready_removed_and_added(teal, pool):
    t = teal(**pool().settings())
    wait_up(t, *HOSTS[:2])
    first, second = HOSTS[:2]
    held = {c.peer: c for c in (t.connect() for _ in range(6))}
    assert set(held) == {first, second}
    until(lambda: sum(b["connections"] for b in green(t).values()) == 2, "only two are held")
    n = nodes(t)
    assert [(h, x["origin"], x["state"], x["changed"]) for h, x in n.items()] == \
        [(first, "configured", "ready", False), (second, "configured", "ready", False)]
    assert n[first]["services"] == [{"service": "web", "up": n[first]["services"][0]["up"], "total": 2,
                                     "connections": 1}]

    # What the reply says holds at once: no waiting below.
    assert t.ok("node", "drain", "main", second)["changed"] is True
    assert peers(t) == {first}
    assert (nodes(t)[second]["state"], green(t)[second]["admin"]) == ("draining", "drain")
    held[second].echo()
    assert t.ok("node", "drain", "main", second)["changed"] is False

    assert t.ok("node", "ready", "main", second)["changed"] is True
    assert peers(t) == {first, second} and nodes(t)[second]["changed"] is False

    assert t.ok("node", "remove", "main", second)["changed"] is True
    assert peers(t) == {first} and second not in green(t)
    assert nodes(t)[second]["state"] == "removed"
    held[second].echo()
    assert f'backend="{second}:' not in t.http("/metrics")[1]
    r = t.ctl("node", "ready", "main", second)
    assert (r["ok"], r["error"], r["changed"]) == (False, "usage", False) and "node add" in r["message"]

    assert t.ok("node", "add", "main", second)["changed"] is True
    wait_up(t, second)
    assert peers(t) == {first, second}
    held[second].echo()
    for c in held.values():
        c.echo().close()


def test_an_added_node_is_checked_before_it_is_used(teal, pool, closing):
    p = pool(running=HOSTS[:2])
    t = teal(**p.settings())
    wait_up(t, *HOSTS[:2])
    t.ok("node", "add", "main", HOSTS[2])
    until(lambda: green(t)[HOSTS[2]]["state"] == "down", "found to be down")
    assert peers(t) == set(HOSTS[:2])
    n = nodes(t)[HOSTS[2]]
    assert (n["origin"], n["state"], n["services"][0]["total"]) == ("added", "ready", 2)
    closing.add(Farm(HOSTS[2], p.port, HOSTS[2]))
    wait_up(t, HOSTS[2])
    assert peers(t) == set(HOSTS)
    assert t.ok("node", "reset", "main", HOSTS[2])["changed"] is True
    assert set(nodes(t)) == set(HOSTS[:2]) and peers(t) == set(HOSTS[:2])


def test_what_was_said_survives_a_restart_and_a_crash(teal, pool):
    t = teal(**pool().settings())
    wait_up(t, *HOSTS[:2])
    t.ok("node", "remove", "main", HOSTS[0])
    t.ok("node", "add", "main", HOSTS[2])
    wait_up(t, HOSTS[2])
    t.ok("node", "drain", "main", HOSTS[1])
    t.kill()
    t.start()
    for _ in range(2):
        wait_up(t, HOSTS[2])
        assert {h: n["state"] for h, n in nodes(t).items()} == \
            {HOSTS[0]: "removed", HOSTS[1]: "draining", HOSTS[2]: "ready"}
        assert peers(t) == {HOSTS[2]}
        t.restart()
    wait_up(t, HOSTS[2])
    for h in HOSTS:
        assert t.ok("node", "reset", "main", h)["changed"] is True
    wait_up(t, *HOSTS[:2])
    assert peers(t) == set(HOSTS[:2])


def test_a_name_is_looked_up_and_one_that_is_none_refused(teal, pool):
    t = teal(**pool(configured=HOSTS[1:2]).settings())
    wait_up(t, HOSTS[1])
    r = t.ctl("node", "add", "main", "no-such-host.invalid")
    assert (r["ok"], r["error"], r["changed"]) == (False, "usage", False), r
    assert set(nodes(t)) == {HOSTS[1]}
    t.ok("node", "add", "main", "localhost")
    n = nodes(t)["localhost"]
    assert (n["origin"], n["services"][0]["total"]) == ("added", 2)


@pytest.mark.parametrize("words, part", [
    (("drain", "spare", "127.0.0.1"), "no node pool"), (("list", "spare"), "no node pool"),
    (("drain", "main", "127.0.0.9"), "no node of main"), (("ready", "main", "127.0.0.9"), "no node of main"),
    (("remove", "main", "127.0.0.9"), "no node of main"), (("reset", "main", "127.0.0.9"), "no node of main"),
    (("add", "main", "127.0.0.9:80"), "neither an address"), (("add", "main", "a b"), "neither an address")])
def test_what_makes_no_sense_is_refused(teal, pool, words, part):
    t = teal(**pool().settings())
    before = nodes(t)
    r = t.ctl("node", *words)
    assert (r["ok"], r["error"]) == (False, "usage") and part in r["message"], r
    assert nodes(t).keys() == before.keys()


def test_a_node_by_which_a_service_would_lead_back_to_itself_is_refused(teal, pool):
    p = pool()
    s = p.settings()
    s["services"].append({"name": "back", "mode": "tcp", "listen": f"127.0.0.77:{p.port}", "backends": [s["services"][0]["listen"]],
                          "health": {"type": "none"}})
    t = teal(**s)
    before = nodes(t)
    for words in (("127.0.0.77",), ("::ffff:127.0.0.77",), ("127.0.0.77", "--force")):
        r = t.ctl("node", "add", "main", *words)
        assert (r["ok"], r["error"]) == (False, "usage") and \
            f'port {p.port} of {words[0]} is where service "back" listens, which leads back to "web"' in r["message"], r
    assert nodes(t).keys() == before.keys()
    t.ok("node", "add", "main", "127.0.0.78")


def test_tealctl_shows_nodes(teal, pool):
    t = teal(**pool().settings())
    wait_up(t, *HOSTS[:2])
    assert t.tealctl("node", "drain", "main", HOSTS[1], check=0).stdout == f"drain\tmain\t{HOSTS[1]}\tchanged\n"
    until(lambda: nodes(t)[HOSTS[0]]["up"] == 2 and nodes(t)[HOSTS[1]]["checking"] == 0, "verdicts of blue")
    rows = [line.split("\t") for line in t.tealctl("node", "list", check=0).stdout.splitlines()]
    assert [r[:5] for r in rows] == [["node", "main", HOSTS[0], "configured", "ready"],
                                     ["node", "main", HOSTS[1], "configured", "draining"]]
    # Of the services those with a backend that is not up, as blue's there.
    assert [r[6:10] for r in rows] == [["-", "-", "2", "2"], ["web=1/2", "-", "1", "2"]]
    assert [r[10] for r in rows] == ["up", "up"]
    assert t.tealctl("node", "drain", "main", "127.0.0.9").returncode == 2
    audit = t.wait_log("audit", verb="drain", result="ok")
    assert (audit["command"], audit["pool"], audit["node"]) == ("node", "main", HOSTS[1])


def test_metrics_and_the_log_tell_of_nodes_and_not_only_of_their_backends(teal, pool, closing):
    """One that dies, one that is drained: each is one line, and one series."""
    p = pool(running=[])
    farms = {h: closing.add(Farm(h, p.port, h)) for h in HOSTS[:2]}
    t = teal(**p.settings())
    wait_up(t, *HOSTS[:2])

    def value(name, host, **labels):
        return t.metrics().get(name, node=host, **labels)
    first, second = HOSTS[:2]
    assert (value("teal_node_up", second, pool="main"), value("teal_node_admin_state", second)) == (1, 1)
    assert value("teal_backend_up", second, color="green") == 1 == value("teal_backend_admin_state", second, color="green")
    farms[second].close()
    line = t.wait_log("node.down", pool="main", node=second)
    assert (line["level"], line["total"], line["drained"], line["reason"]) == ("warn", 2, False, "connection refused")
    m = t.metrics()
    assert m.get("teal_node_up", node=second) == 0 and m.get("teal_node_up", node=first) == 1
    assert m.get("teal_node_backends", node=second, state="down") == 2
    assert m.get("teal_backends", color="green", state="node_down") == 1 == m.get("teal_backends", color="green", state="up")
    assert m.get("teal_backends", color="green", state="down") == 0
    n = nodes(t)[second]
    assert (n["health"], n["up"], n["total"], n["reason"]) == ("down", 0, 2, "connection refused") and n["since"]
    row = t.tealctl("node", "list", check=0).stdout.splitlines()[1].split("\t")
    assert row[6:11] == ["-", "-", "0", "2", "down"]

    # On purpose: said with less noise, and counted apart.
    t.ok("node", "drain", "main", second)
    m = t.metrics()
    assert (m.get("teal_node_admin_state", node=second), m.get("teal_backends", color="green", state="drained")) == (0, 1)
    assert m.get("teal_backend_admin_state", node=second, color="green") == 0
    assert m.get("teal_backends", color="green", state="node_down") == 0
    again = closing.add(Farm(second, p.port, second))
    assert t.wait_log("node.up", node=second)["drained"] is True
    again.close()
    until(lambda: any(x["level"] == "info" and x["drained"] for x in t.log_lines("node.down")), "said quietly")
    t.ok("node", "remove", "main", second)
    assert not t.metrics().has("teal_node_up", node=second)


def test_a_user_sees_of_a_node_what_is_of_services_that_may_be_read(teal, pool, ports):
    """No sum tells of the others."""
    settings = pool().settings()
    settings["services"].append(settings["services"][0] | {"name": "shop", "listen": f"127.0.0.1:{ports.hold()}"})
    t = teal(admin={"mode": "0666", "roles": [{"user": "games", "services": ["shop"], "allow": ["read"]},
                                              {"user": "news", "services": ["other"], "allow": ["read"]}]}, **settings)
    wait_up(t, *HOSTS[:2])
    held = t.connect("web").echo()
    until(lambda: sum(n["connections"] for n in nodes(t).values()) == 1, "held")
    for line in ("node list", "node list main --brief"):
        r, = Person("games").ask(t, line)
        for n in r["pools"][0]["nodes"]:
            assert (n["total"], n["connections"]) == (2, 0) and {s["service"] for s in n["services"]} <= {"shop"}, n
    for line in ("node list", "node list main", "status --trouble"):
        r, = Person("news").ask(t, line)
        assert HOSTS[1] not in json.dumps(r), r
    held.close()
    for words in (("node", "drain", "main", HOSTS[1], "--brief"), ("node", "list", "--force"), ("status", "--troubl")):
        r = t.ctl(*words)
        assert r["error"] == "usage", r
    assert nodes(t)[HOSTS[1]]["state"] == "ready"


@pytest.mark.scales
@pytest.mark.tsan
@pytest.mark.parametrize("balance", ["round_robin", "least_conn", "source_hash"])
def test_nodes_come_and_go_under_load_and_nobody_notices(teal, pool, closing, balance):
    rounds = scaled(100, 5)
    t = teal(**pool().settings(balance=balance))
    wait_up(t, *HOSTS[:2])
    held = [t.connect() for _ in range(8)]
    for c in held:
        c.echo()
    load = closing.add(Load(*t.address("web"), 16, 0.002))
    for _ in range(rounds):
        t.ok("node", "add", "main", HOSTS[2])
        wait_up(t, HOSTS[2], busy=True)
        late = [t.connect().echo() for _ in range(6)]
        t.ok("node", "drain", "main", HOSTS[2])
        t.ok("node", "remove", "main", HOSTS[2])
        assert HOSTS[2] not in green(t)
        t.ok("node", "drain", "main", HOSTS[1])
        t.ok("node", "ready", "main", HOSTS[1])
        for c in late:
            c.echo().close()
    sessions = load.finish()
    failed = [s for s in sessions if s.error]
    assert not failed, f"{len(failed)} of {len(sessions)}: {failed[:5]}"
    assert len(sessions) > 5 * rounds
    if balance != "source_hash":  # there one client has one node
        assert {s.name for s in sessions} == set(HOSTS)
    for c in held:
        c.echo().close()
    # Gone with its last session.
    until(lambda: f'backend="{HOSTS[2]}:' not in t.http("/metrics")[1], "no series is left")


# ---- a fleet ----

@pytest.fixture
def nodes_fleet(teal, pool, redis):
    def make(n=3):
        f = Fleet()
        f.redis, p = redis(), pool()
        for _ in range(n):
            f.append(teal(start=False, store={"type": "redis", "prefix": f.prefix, "url": f.redis.url},
                          **p.settings()))
        for t in f:
            t.start(ready=False)
        for t in f:
            t.wait_ready()
            wait_up(t, *HOSTS[:2])
        return f
    return make


def everywhere(fleet, **states):
    want = {HOSTS[int(k[1])]: v for k, v in states.items()}
    for t in fleet:
        until(lambda t=t: {h: n["state"] for h, n in nodes(t).items()} == want, f"{want} at each")


def test_what_one_is_told_of_nodes_all_obey(nodes_fleet):
    f = nodes_fleet()
    f[0].ok("node", "drain", "main", HOSTS[1])
    everywhere(f, n0="ready", n1="draining")
    f[1].ok("node", "add", "main", HOSTS[2])
    for t in f:
        wait_up(t, HOSTS[2])
    f[2].ok("node", "remove", "main", HOSTS[0])
    everywhere(f, n0="removed", n1="draining", n2="ready")
    for t in f:
        wait_up(t, HOSTS[2])
        assert peers(t) == {HOSTS[2]}
    key = f"{f.prefix}:nodes:main"
    assert f.redis.hash(key)["version"] == "3"

    # One that was away, and one that begins with Redis gone.
    f[2].kill()
    f[0].ok("node", "ready", "main", HOSTS[1])
    f[2].start()
    everywhere(f, n0="removed", n1="ready", n2="ready")

    # A store that has forgotten is told again, and nothing moves.
    f.redis("FLUSHALL")
    until(lambda: f.redis.hash(key).get("version") == "4", "written again")
    everywhere(f, n0="removed", n1="ready", n2="ready")
    assert peers(f[0]) == {HOSTS[1], HOSTS[2]}

    # Rubbish is reported, and changes nothing.
    f.redis("HSET", key, "version", "9", "nodes", "[]")
    until(lambda: "cannot be the nodes" in (f.store()["problem"] or ""), "reported")
    everywhere(f, n0="removed", n1="ready", n2="ready")


def test_without_redis_no_node_changes_and_the_last_known_ones_serve(nodes_fleet):
    f = nodes_fleet(1)
    t = f[0]
    t.ok("node", "remove", "main", HOSTS[0])
    f.redis.kill()
    f.wait_up(False)
    r = t.ctl("node", "add", "main", HOSTS[2])
    assert (r["ok"], r["error"], r["changed"]) == (False, "store_unavailable", False)
    t.restart()
    wait_up(t, HOSTS[1])
    assert peers(t) == {HOSTS[1]} and nodes(t)[HOSTS[0]]["state"] == "removed"


def test_commands_at_the_same_time_are_all_obeyed(nodes_fleet):
    f = nodes_fleet(2)
    f[0].ok("node", "add", "main", HOSTS[2])
    for t in f:
        wait_up(t, HOSTS[2])
    with f[0].admin() as a, f[1].admin() as b:
        for _ in range(scaled(50, 5)):
            a.send("node", "drain", "main", HOSTS[0])
            b.send("node", "drain", "main", HOSTS[1])
            assert a.reply()["ok"] and b.reply()["ok"]
            a.send("node", "ready", "main", HOSTS[0])
            b.send("node", "ready", "main", HOSTS[1])
            assert a.reply()["ok"] and b.reply()["ok"]
    everywhere(f, n0="ready", n1="ready", n2="ready")


@pytest.mark.parametrize("version", [(1 << 52) + 1, (1 << 53) - 1, (1 << 62) - 1, (1 << 64) - 1])
def test_a_version_that_nothing_could_follow_is_refused_and_DEL_mends_it(nodes_fleet, version):
    f = nodes_fleet(2)
    key = f.prefix + ":nodes:main"
    assert f[0].ok("node", "drain", "main", HOSTS[0])["changed"]
    everywhere(f, n0="draining", n1="ready")
    f.redis("HSET", key, "version", version, "nodes", "{}")
    f.redis("PUBLISH", f.prefix + ":changed", "main")
    for t in f:
        until(lambda t=t: key in (f.store(t)["problem"] or ""), "said")
        assert "DEL" in f.store(t)["problem"]
        r = t.ctl("node", "ready", "main", HOSTS[0])
        assert r["error"] == "store_unavailable" and "DEL" in r["message"], r
    f.redis("DEL", key)
    until(lambda: f.redis.hash(key).get("version") == "1", "written again")
    f.wait_well(f[1])   # it has read it, too
    assert f[1].ok("node", "ready", "main", HOSTS[0])["changed"]
    assert f.redis.hash(key)["version"] == "2"


# ---- the last one ----

def say(f, version, nodes, forced=""):
    f.redis("HSET", f.prefix + ":nodes:main", "version", version, "nodes", json.dumps(nodes), "forced", forced)
    f.redis("PUBLISH", f.prefix + ":changed", "main")


@pytest.mark.parametrize("verb", ["drain", "remove"])
def test_no_command_takes_the_last_usable_backend_unless_forced(teal, pool, verb):
    t = teal(**pool(running=HOSTS[:1]).settings())
    wait_up(t, HOSTS[0])
    # The other is not up, so this is the last one.
    r = t.ctl("node", verb, "main", HOSTS[0])
    assert (r["ok"], r["error"], r["changed"]) == (False, "unhealthy", False), r
    assert "green of web" in r["message"] and "--force" in r["message"], r
    p = t.tealctl("node", verb, "main", HOSTS[0], check=4)
    assert "--force" in p.stderr
    assert peers(t, 3) == {HOSTS[0]}
    assert t.ok("node", verb, "main", HOSTS[1])["changed"]
    assert t.ok("node", verb, "main", HOSTS[0], "--force")["changed"]
    assert nodes(t)[HOSTS[0]]["state"] == {"drain": "draining", "remove": "removed"}[verb]


@pytest.mark.parametrize("wish", ["removed", "drain"])
def test_a_store_that_takes_all_nodes_is_refused_and_told(nodes_fleet, wish):
    f = nodes_fleet(2)
    say(f, 7, dict.fromkeys(HOSTS[:2], wish))
    for t in f:
        line = t.wait_log("store.nodes_refused", key=f.prefix + ":nodes:main")
        assert line["level"] == "error" and "green of web" in line["message"], line
        until(lambda t=t: "refused" in (f.store(t)["problem"] or ""), "said")
        assert peers(t) == set(HOSTS[:2])
        assert t.http("/readyz")[0] == 200
    # Once, not with each reading.
    assert len(f[0].log_lines("store.nodes_refused")) == 1
    # A change is made of what the store says, and judged like it.
    assert f[0].ctl("node", "drain", "main", HOSTS[0])["ok"] is (wish == "drain")
    assert f[0].ok("node", "add" if wish == "removed" else "ready", "main", HOSTS[0])["changed"]
    for t in f:
        until(lambda t=t: not f.store(t)["problem"], "settled")
        until(lambda t=t: peers(t, 4) == {HOSTS[0]}, "one of them is taken away")
    assert f.redis.hash(f.prefix + ":nodes:main")["version"] == "8"


def test_what_is_refused_is_obeyed_by_force(nodes_fleet):
    f = nodes_fleet(2)
    say(f, 7, dict.fromkeys(HOSTS[:2], "removed"))
    for t in f:
        t.wait_log("store.nodes_refused")
    # The same again, forced: all obey.
    assert f[1].ok("node", "remove", "main", HOSTS[0], "--force")["changed"]
    everywhere(f, n0="removed", n1="removed")
    for t in f:
        f.wait_well(t)
    assert f.redis.hash(f.prefix + ":nodes:main")["forced"] == "1"


def test_nodes_that_are_exchanged_are_taken_once_the_new_ones_are_up(nodes_fleet, closing):
    """One that was away meets both at once: the old ones stay until the new one is well."""
    f = nodes_fleet(2)
    new = "127.0.0.4"
    say(f, 3, dict.fromkeys(HOSTS[:2], "removed") | {new: "ready"})
    for t in f:
        t.wait_log("store.nodes_refused")
        assert peers(t) == set(HOSTS[:2])
    closing.add(Farm(new, int(f[0].settings["services"][0]["green"]["port"]), new))
    for t in f:
        until(lambda t=t: peers(t, 4) == {new}, "exchanged")
        f.wait_well(t)
