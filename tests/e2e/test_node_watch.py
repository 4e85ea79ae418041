"""Pools whose nodes a Kubernetes API tells (helpers/kube_api.py stands in for it)."""
import json

import pytest

from helpers import reload as reloads
from helpers import upgrade as upgrades
from helpers.backends import Farm
from helpers.certificates import Authority
from helpers.kube_api import KubeApi
from helpers.scale import BUILD, scaled, until
from helpers.terminal import Terminal

HOSTS = {n: f"127.0.0.{i}" for i, n in enumerate("abcd", 1)}
HEALTH = {"interval": 0.2, "timeout": 20.0, "rise": 1, "fall": 2}
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
AUTOSCALER = {"key": "ToBeDeletedByClusterAutoscaler", "value": "1", "effect": "NoSchedule"}


def node(name, host=None, **labels):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"role": "worker"} | labels}, "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                       "addresses": [{"type": "Hostname", "address": name},
                                     {"type": "InternalIP", "address": host or HOSTS[name]}]}}


class Cluster:
    """Nodes a to d, of which those of `names` are there at first; each serves green of "web", named by its name."""

    def __init__(self, tmp_path, ports, closing, names="abc"):
        self.port, self.blue, self.listen = ports.hold(), ports.hold(), f"127.0.0.1:{ports.hold()}"
        self.closing, self.tmp_path, self.ports = closing, tmp_path, ports
        self.farms = {n: closing.add(Farm(n, self.port, h)) for n, h in HOSTS.items()}
        closing.add(Farm("blue", self.blue))
        self.authority = Authority(tmp_path)
        self.api = closing.add(KubeApi(ports.hold(), self.authority))
        self.api.tokens = {"t0ken"}
        self.token = tmp_path / "kube.token"
        self.token.write_text("t0ken\n")
        self.token.chmod(0o600)
        for n in names:
            self.api.objects.create(node(n))

    def settings(self, servers=None, kube=None, **keys):
        watch = {"server": servers or self.api.url, "token_file": str(self.token), "ca": self.api.ca, "selector": "role=worker"}
        return {"services": [{"name": "web", "mode": "tcp", "listen": self.listen, "nodes": "main", "health": HEALTH,
                              "retry_pause": 0.0, "green": {"port": self.port}, "blue": {"port": self.blue}} | keys],
                "node_pools": {"main": {"kubernetes": watch | (kube or {})}}}

    def wait_watch(self, n=1):
        """The n-th watch is under way: what cuts or ends them means that one, too."""
        until(lambda: len(self.api.asked("watch", "/nodes")) >= n, f"watch {n}")

    def change(self, name, **spec):
        """spec of a node: unschedulable, taints; None takes away."""
        self.api.objects.change("Node", name, "", lambda old: old | {"spec": {k: v for k, v in (old["spec"] | spec).items()
                                                                             if v is not None}})

    def label(self, name, **labels):
        def make(old):
            labels_now = {k: v for k, v in (old["metadata"]["labels"] | labels).items() if v is not None}
            return old | {"metadata": old["metadata"] | {"labels": labels_now}}
        self.api.objects.change("Node", name, "", make)


@pytest.fixture
def cluster(tmp_path, ports, closing):
    return lambda names="abc": Cluster(tmp_path, ports, closing, names)


def pool(teal):
    p, = teal.ok("node", "list", "main")["pools"]
    return p


def nodes(teal):
    """{"a": ("ready", "ready")}: what becomes of it, and why."""
    return {n["cluster_name"]: (n["state"], n["cluster"]) for n in pool(teal)["nodes"] if "cluster" in n}


def wait_nodes(teal, **expected):
    until(lambda: nodes(teal) == expected, f"{expected}")


def peers(teal, n=16):
    found = set()
    for _ in range(n):
        c = teal.connect()
        found.add(c.peer)
        c.close()
    return found


def wait_peers(teal, names):
    """New connections reach these alone, once the checks have passed."""
    until(lambda: peers(teal) == set(names), f"only {names}")


READY = ("ready", "ready")


def test_nodes_come_and_go_as_the_api_tells(teal, cluster):
    k = cluster()
    t = teal(**k.settings())
    wait_peers(t, "abc")
    assert nodes(t) == {"a": READY, "b": READY, "c": READY}
    n, = (n for n in pool(t)["nodes"] if n["host"] == HOSTS["a"])
    assert (n["origin"], n["changed"], n["cluster_taint"]) == ("cluster", False, None) and n["cluster_since"]
    assert pool(t)["watch"] == {"up": True, "age": pool(t)["watch"]["age"], "server": k.api.url, "problem": None}

    k.api.objects.create(node("d"))
    wait_peers(t, "abcd")

    k.label("a", **{EXCLUDE: ""})
    wait_nodes(t, a=("draining", "excluded"), b=READY, c=READY, d=READY)
    wait_peers(t, "bcd")
    k.change("b", taints=[AUTOSCALER])
    wait_nodes(t, a=("draining", "excluded"), b=("draining", "tainted"), c=READY, d=READY)
    wait_peers(t, "cd")
    k.label("a", **{EXCLUDE: None})
    k.change("b", taints=None)
    wait_peers(t, "abcd")

    # A node that goes drains what it has, and is a node no more once that is over.
    held = next(c for c in iter(t.connect, None) if c.peer == "d" or c.close())
    k.api.objects.delete("Node", "d")
    wait_nodes(t, a=READY, b=READY, c=READY, d=("draining", "deleted"))
    wait_peers(t, "abc")
    held.echo()
    assert not t.log_lines("node.gone")
    held.close()
    t.wait_log("node.gone", node=HOSTS["d"])
    wait_nodes(t, a=READY, b=READY, c=READY)
    # A label that the selector does not want is as good as gone.
    k.label("c", role="other")
    wait_peers(t, "ab")
    wait_nodes(t, a=READY, b=READY)
    t.wait_log("node.watched", node=HOSTS["b"], to="tainted", reason=f"{AUTOSCALER['key']}:NoSchedule")


def test_a_cordon_counts_while_enough_stay(teal, cluster):
    k = cluster("abcd")
    t = teal(**k.settings())
    wait_peers(t, "abcd")
    for n in "ab":
        k.change(n, unschedulable=True)
        t.wait_log("node.watched", node=HOSTS[n], to="cordoned")
    wait_peers(t, "cd")
    for n in "cd":
        k.change(n, unschedulable=True)
        t.wait_log("node.watched", node=HOSTS[n], to="cordon ignored", level="warn")
    wait_nodes(t, a=("draining", "cordoned"), b=("draining", "cordoned"), c=("ready", "cordon ignored"), d=("ready", "cordon ignored"))
    assert peers(t) == set("cd")
    # All of them are about to be taken down: there is nowhere to go, so all serve.
    for n in "abcd":
        k.change(n, taints=[AUTOSCALER])
    wait_nodes(t, **{n: ("ready", "last") for n in "abcd"})
    wait_peers(t, "abcd")


def test_a_node_that_goes_ends_its_connections_and_one_that_is_excluded_keeps_them(teal, cluster):
    k = cluster()
    t = teal(**k.settings(kube={"drain_timeout": 0.5}))
    wait_peers(t, "abc")
    held = {}
    while set(held) != set("abc"):
        c = t.connect()
        if held.setdefault(c.peer, c) is not c:
            c.close()
    k.label("a", **{EXCLUDE: ""})
    k.change("b", taints=[AUTOSCALER])
    t.wait_log("tcp.session", backend=f"{HOSTS['b']}:{k.port}", end="drained")
    for n in "ac":
        held[n].echo()


def test_what_the_operator_says_wins(teal, cluster):
    k = cluster()
    t = teal(**k.settings())
    wait_peers(t, "abc")
    assert t.ok("node", "drain", "main", HOSTS["a"])["changed"] is True
    k.change("a", unschedulable=True)
    t.wait_log("node.watched", node=HOSTS["a"], to="cordoned")
    assert peers(t) == set("bc")
    r = t.ctl("node", "ready", "main", HOSTS["a"])
    assert (r["ok"], r["error"]) == (False, "usage") and "the cluster drains" in r["message"] and "cordoned" in r["message"]
    k.change("a", unschedulable=None)
    t.wait_log("node.watched", node=HOSTS["a"], to="ready", **{"from": "cordoned"})
    assert nodes(t)["a"] == ("draining", "ready") and peers(t) == set("bc")
    assert t.ok("node", "ready", "main", HOSTS["a"])["changed"] is True
    wait_peers(t, "abc")

    # By force it stays, until that is taken back.
    k.change("b", taints=[AUTOSCALER])
    wait_nodes(t, a=READY, b=("draining", "tainted"), c=READY)
    assert t.ok("node", "ready", "main", HOSTS["b"], "--force")["changed"] is True
    assert nodes(t)["b"] == ("ready", "tainted")
    wait_peers(t, "abc")
    assert t.ok("node", "reset", "main", HOSTS["b"])["changed"] is True
    assert peers(t) == set("ac")
    text = t.tealctl("node", "list", "main").stdout
    row, = (line.split("\t") for line in text.splitlines() if f"\t{HOSTS['b']}\t" in line)
    assert (row[3], row[4], row[-2]) == ("cluster", "draining", "tainted")


def test_the_last_known_nodes_outlive_the_api_and_a_restart(teal, cluster, closing):
    k = cluster()
    t = teal(**k.settings())
    wait_peers(t, "abc")
    k.change("c", taints=[AUTOSCALER])
    wait_nodes(t, a=READY, b=READY, c=("draining", "tainted"))
    since = {n["host"]: n["cluster_since"] for n in pool(t)["nodes"]}
    k.api.down()
    t.wait_log("nodes.watch_failed", pool="main")
    assert peers(t) == set("ab")
    t.wait_metric(0, "teal_node_watch_up", pool="main")
    w = pool(t)["watch"]
    assert (w["up"], w["server"]) == (False, k.api.url) and w["problem"]
    told, = t.ok("status", "--trouble")["watches"]
    assert (told["pool"], told["up"], bool(told["problem"])) == ("main", False, True)
    assert "\nwatch\tmain\tdown\t" in t.tealctl("status").stdout
    screen = closing.add(Terminal(str(BUILD / "tealctl"), "-s", t.admin_path, "node", "list", columns=200))
    screen.until("draining (tainted) since", "the API of main does not tell of its nodes:", "they are those of")

    t.restart()
    wait_peers(t, "ab")
    assert nodes(t) == {"a": READY, "b": READY, "c": ("draining", "tainted")}
    assert {n["host"]: n["cluster_since"] for n in pool(t)["nodes"]} == since
    # While it was away one went and one came.
    k.api.objects.delete("Node", "a")
    k.api.objects.create(node("d"))
    k.api.up()
    t.wait_log("nodes.listed", pool="main")
    wait_peers(t, "bd")
    t.wait_metric(1, "teal_node_watch_up", pool="main")
    assert t.metrics().get("teal_node_watch_age_seconds", pool="main") >= 0


def test_an_api_that_lists_nothing_empties_no_pool(teal, cluster):
    k = cluster()
    t = teal(**k.settings())
    wait_peers(t, "abc")
    for n in "abc":
        k.api.objects.delete("Node", n)
    wait_nodes(t, **{n: ("ready", "last") for n in "abc"})
    assert peers(t) == set("abc")
    # Another one comes, which is not up yet: they serve until it is.
    k.farms["d"].close()
    k.api.objects.create(node("d"))
    t.wait_log("nodes.drain_waits", pool="main")
    wait_nodes(t, d=READY, **{n: ("draining", "deleted") for n in "abc"})
    assert peers(t) == set("abc") and len(t.log_lines("nodes.drain_waits")) == 1 and not t.log_lines("node.gone")
    k.closing.add(Farm("d", k.port, HOSTS["d"]))
    wait_peers(t, "d")


FAULTS = {"down": None, "status": 500, "gone": 410, "token": 401, "rights": 403, "reset": "reset", "truncated": "truncated",
          "rubbish": "rubbish", "slow": "slow", "gone-event": "gone-event", "end": "end",
          "endless": "endless"}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_of_the_api_lose_no_node_and_no_news(teal, cluster, load, kind):
    """Whatever it does: new connections go on, and once it is well again what has changed is obeyed."""
    k = cluster()
    t = teal(clock=True, **k.settings())
    wait_peers(t, "abc")
    k.wait_watch()
    clients = load(t, 2)
    if kind == "down":
        k.api.down()
    else:
        fault = k.api.fault(FAULTS[kind], path="/nodes", verb="watch" if kind in ("gone-event", "end") else None)
    k.api.end_watches()
    if kind == "down":
        t.wait_log("nodes.watch_failed", pool="main")
    else:
        # A watch says nothing until there is something to say.
        until(lambda: k.label("b", beat=str(fault.hits)) or t.clock.move(20 if kind == "slow" else 2) or fault.hits >= 3, "it was met three times", every=0.2)
    k.api.objects.delete("Node", "c")
    k.api.objects.create(node("d"))
    if kind not in ("gone-event", "end"):
        assert set("abc") == {n for n in nodes(t)} and not t.log_lines("node.watched", to="deleted")
    clients.more(20)
    if kind == "down":
        k.api.up()
    else:
        fault.lift()
    until(lambda: t.clock.move(2) or peers(t) == set("abd"), "what has changed is obeyed", every=0.2)
    t.wait_log("node.gone", node=HOSTS["c"])
    sessions = clients.more(20).finish()
    assert [s for s in sessions if s.error] == []
    assert pool(t)["watch"]["problem"] is None


def test_a_server_that_hangs_is_left_for_the_next(teal, cluster, closing):
    k = cluster()
    other = closing.add(KubeApi(k.ports.hold(), k.authority, objects=k.api.objects))
    other.tokens = {"t0ken"}
    t = teal(clock=True, **k.settings(servers=[k.api.url, other.url]))
    wait_peers(t, "abc")
    k.wait_watch()
    hang = k.api.fault("hang", path="/nodes")
    k.api.end_watches()
    until(lambda: hang.hits, "it hangs")
    t.clock.move(60)
    until(lambda: other.asked("list", "/nodes"), "the other one is asked")
    k.api.objects.create(node("d"))
    wait_peers(t, "abcd")
    assert pool(t)["watch"]["server"] == other.url
    hang.lift()


def test_tokens_and_certificates_rotate(teal, cluster, tmp_path):
    k = cluster()
    t = teal(**k.settings())
    wait_peers(t, "abc")
    k.wait_watch()
    k.api.tokens = {"an0ther"}
    k.api.cut()
    t.wait_log("nodes.watch_failed", pool="main")
    assert "401" in pool(t)["watch"]["problem"]
    k.token.write_text("an0ther\n")
    t.wait_log("nodes.watch_recovered", pool="main")
    # Another authority's certificate is none, until its own is believed.
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    k.wait_watch(2)
    k.api.show(other.issue("kube-api", "127.0.0.1"))
    k.api.cut()
    t.wait_log("nodes.watch_failed", 2, pool="main")
    assert peers(t) == set("abc")
    with open(k.api.ca, "w") as f:
        f.write(open(other.pem).read())
    t.wait_log("nodes.watch_recovered", 2, pool="main")


def test_a_list_that_is_older_waits_until_it_is_repeated(teal, cluster, closing):
    k = cluster()
    t = teal(clock=True, **k.settings())
    wait_peers(t, "abc")
    for _ in range(50):
        k.change("a", unschedulable=None)
    k.label("a", seen="yes")
    # The cluster is put back to what it was long ago: fewer versions, other nodes.
    old = KubeApi(k.ports.hold(), k.authority)
    for n in "ad":
        old.objects.create(node(n))
    k.wait_watch()
    until(lambda: k.api.objects.version > old.objects.version, "it is older")
    k.api.down()
    k.api.objects = old.objects
    k.api.up()
    t.wait_log("nodes.watch_failed", pool="main")
    # It asks again after pauses that grow.
    until(lambda: t.clock.move(5) or peers(t) == set("ad"), "only those are left", every=0.2)
    assert [l for l in t.log_lines("nodes.watch_failed") if "older" in l["error"]]


def test_the_clock_is_set_to_and_fro(teal, cluster, load):
    """Hours forward and back: what is watched goes on, and while no certificate is valid the last known nodes stay."""
    k = cluster()
    t = teal(clock=True, **k.settings())
    wait_peers(t, "abc")
    k.wait_watch()
    clients = load(t, 2)
    for n, seconds in enumerate((7200, -7200, 86400 * 400, 0)):
        t.clock.set_wall(seconds)
        k.change("a", unschedulable=n % 2 == 0)
        wait_nodes(t, a=("draining", "cordoned") if n % 2 == 0 else READY, b=READY, c=READY)
        assert t.metrics().get("teal_node_watch_age_seconds", pool="main") >= 0
        clients.more(10)
    t.clock.set_wall(-86400 * 400)
    k.api.cut()
    t.wait_log("nodes.watch_failed", pool="main")
    k.api.objects.delete("Node", "c")
    clients.more(10)
    assert nodes(t) == {"a": READY, "b": READY, "c": READY}
    t.clock.set_wall(0)
    until(lambda: t.clock.move(2) or "c" not in nodes(t), "what has changed is obeyed", every=0.2)
    wait_peers(t, "ab")
    assert [s for s in clients.more(10).finish() if s.error] == []


@pytest.mark.scales
def test_many_nodes_come_in_pages_and_hold_nothing_up(teal, cluster):
    """Thousands of nodes; three match the selector of the pool, all of them that of another."""
    k, many = cluster(), scaled(5000, 2000)
    for i in range(many - 3):
        k.api.objects.create(node(f"n{i}", f"10.{i // 250}.{i % 250}.1", role="other"))
    s = k.settings()
    s["node_pools"]["all"] = {"kubernetes": {key: v for key, v in s["node_pools"]["main"]["kubernetes"].items() if key != "selector"}}
    s["services"].append({"name": "all", "mode": "tcp", "listen": f"127.0.0.1:{k.ports.hold()}", "nodes": "all", "port": k.port,
                          "health": {"type": "none"}})
    t = teal(**s)
    wait_peers(t, "abc")
    until(lambda: sum(p["pool"] == "all" and len(p["nodes"]) == many for p in t.ok("node", "list")["pools"]), "all are there")
    t.wait_log("nodes.watched", pool="all")
    assert len(k.api.asked("list", "limit=500&continue=")) >= many // 500 - 1
    k.api.objects.delete("Node", "n7")
    t.wait_log("node.gone", name="n7")


def test_a_reload_watches_anew_and_keeps_what_it_has(teal, cluster):
    k = cluster()
    s = k.settings()
    watched = s["node_pools"]
    s["node_pools"] = {"main": [HOSTS["a"], HOSTS["b"]]}
    t = teal(**s)
    wait_peers(t, "ab")
    k.api.down()

    def reload(pools):
        reloads.rewrite(t, node_pools=pools)
        reloads.reload(t)
    reload(watched)
    t.wait_log("nodes.watch_failed", pool="main")
    assert peers(t) == set("ab")
    k.api.up()
    wait_peers(t, "abc")
    assert nodes(t)["a"] == READY
    narrow = json.loads(json.dumps(watched))
    narrow["main"]["kubernetes"]["selector"] = "role=worker,edge"
    k.label("b", edge="")
    reload(narrow)
    wait_peers(t, "b")
    reload({"main": [HOSTS["c"]]})
    wait_peers(t, "c")
    assert nodes(t) == {} and "watch" not in pool(t)


def test_an_upgrade_knows_the_nodes_before_it_serves(teal, cluster):
    k = cluster()
    t = teal(start=False, **k.settings())
    t.start(supervised=True)
    wait_peers(t, "abc")
    k.change("a", taints=[AUTOSCALER])
    wait_nodes(t, a=("draining", "tainted"), b=READY, c=READY)
    since = {n["host"]: n["cluster_since"] for n in pool(t)["nodes"]}
    k.api.down()
    upgrades.upgrade(t)
    assert peers(t) == set("bc")
    assert {n["host"]: n["cluster_since"] for n in pool(t)["nodes"]} == since
    k.api.up()
    k.api.objects.create(node("d"))
    wait_peers(t, "bcd")
