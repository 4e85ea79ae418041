"""Backends that are asked the same at the same address share one check, of whatever
service they are; each makes its own verdict of the answers."""
import pytest

from helpers.http1 import Reader
from helpers.kube_proxy import KubeProxy
from helpers.reload import reload, rewrite
from helpers.scale import scaled, until
from helpers.teald import service

HEALTH = {"type": "http", "path": "/healthz", "interval": 0.1, "timeout": 60.0, "rise": 1, "fall": 1}


def answers(conn, b):
    """A health endpoint of a node: 200, or 503 while b.well is false; counts what it was asked."""
    reader = Reader(conn)
    while (head := reader.head()) is not None:
        b.asked += 1
        status = b"200 OK" if getattr(b, "well", True) else b"503 Service Unavailable"
        conn.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert head.target in ("/healthz", "/other")


def by_node(name, ports, node, **keys):
    """A service of one node, whose two ports nothing but traffic would need; both are checked at the node's own."""
    s = service(name, listen=f"127.0.0.1:{ports.hold()}", green=[], blue=[], nodes=["127.0.0.1"], **keys)
    for color in ("green", "blue"):
        s[color] = {"port": ports.hold(), "health_port": node.port}
    return s


def backends(t, name):
    colors = t.status(name)["colors"]
    return [b for color in ("green", "blue") for b in colors[color]["backends"]]


def words(t, name):
    return [b["state"] for b in backends(t, name)]


def probes(t, result="passed"):
    return t.metrics().get("teal_probes_total", result=result)


def test_a_node_is_asked_once_for_all_its_services(teal, backend, ports):
    node = backend("node", answers)
    t = teal(services=[by_node(f"s{i}", ports, node, health=HEALTH) for i in range(8)])
    until(lambda: probes(t) >= 10, "the node is asked again and again")
    m = t.metrics()
    assert m.get("teal_check_targets") == 1
    # Every backend has had all answers but those that came while the page was written, and the node was asked for one of them.
    checked = [v for v in (m.get("teal_backend_checks_total", service=f"s{i}", color=c, result="passed")
                           for i in range(8) for c in ("green", "blue"))]
    assert len(checked) == 16 and min(checked) >= 9
    assert max(checked) <= node.asked and probes(t) <= node.asked
    assert [(b["check"], b["check_shared"]) for b in backends(t, "s3")] == [(node.address, 16)] * 2

    node.well = False
    for i in range(8):
        until(lambda i=i: words(t, f"s{i}") == ["down", "down"], "down, for all")
    assert len(t.log_lines("backend.down")) == 16
    node.well = True
    for i in range(8):
        until(lambda i=i: words(t, f"s{i}") == ["up", "up"], "and up again")


def test_sharers_judge_for_themselves(teal, backend, ports):
    node = backend("node", answers)
    patient = by_node("patient", ports, node, health=HEALTH | {"fall": 1000, "interval": 3600.0})
    t = teal(services=[by_node("hasty", ports, node, health=HEALTH), patient])
    until(lambda: words(t, "hasty") + words(t, "patient") == ["up"] * 4, "all are up")
    node.well = False
    until(lambda: words(t, "hasty") == ["down"] * 2, "down after one")
    before = probes(t, "failed")
    until(lambda: probes(t, "failed") > before + 3, "more that fail")
    # The shortest interval counts for both; a thousand in a row is far.
    assert words(t, "patient") == ["up"] * 2
    failed = t.metrics().get("teal_backend_checks_total", service="patient", color="green", result="failed")
    assert failed > 3


def test_other_words_are_another_check(teal, backend, ports):
    node = backend("node", answers)
    same, path, host = (by_node(n, ports, node, health=HEALTH | more) for n, more in
                        (("same", {}), ("path", {"path": "/other"}), ("host", {"host": "shop.example"})))
    t = teal(services=[by_node("first", ports, node, health=HEALTH), same, path, host])
    until(lambda: [words(t, n) for n in ("first", "same", "path", "host")] == [["up"] * 2] * 4, "all are up")
    assert t.metrics().get("teal_check_targets") == 3
    assert [backends(t, n)[0]["check_shared"] for n in ("first", "same", "path", "host")] == [4, 4, 2, 2]


def test_a_reload_moves_a_service_to_another_check_and_back(teal, backend, ports):
    node = backend("node", answers)
    t = teal(services=[by_node(n, ports, node, health=HEALTH) for n in ("stays", "moves", "goes")])
    until(lambda: t.metrics().get("teal_check_targets") == 1 and probes(t) > 3, "one check for all")

    def obey(*services):
        rewrite(t, services=list(services))
        reload(t)

    stays, moves, _ = before = t.settings["services"]
    obey(stays, moves | {"health": moves["health"] | {"path": "/other"}})
    until(lambda: words(t, "stays") + words(t, "moves") == ["up"] * 4, "up by both questions")
    assert t.metrics().get("teal_check_targets") == 2
    assert [backends(t, n)[0]["check_shared"] for n in ("stays", "moves")] == [2, 2]
    seen = probes(t)
    until(lambda: probes(t) > seen + 3, "both are asked")
    obey(*before)
    until(lambda: words(t, "stays") + words(t, "moves") + words(t, "goes") == ["up"] * 6, "one check again, of three")
    assert t.metrics().get("teal_check_targets") == 1 and backends(t, "goes")[0]["check_shared"] == 6
    assert not t.log_lines("backend.down")


def test_a_pool_says_how_its_nodes_are_checked(teal, backend, ports):
    """Once for all of its services, and asked once; what a service says itself is its own."""
    node = backend("node", answers)
    services = [{"name": n, "listen": f"127.0.0.1:{ports.hold()}", "mode": "tcp", "nodes": "main",
                 "green": {"port": ports.hold()}, "blue": {"port": ports.hold()}} for n in ("one", "two", "own")]
    services[2]["health"] = {"path": "/other"}
    health = HEALTH | {"port": node.port}
    t = teal(node_pools={"main": {"nodes": ["127.0.0.1"], "health": health}}, services=services,
             defaults={"health": {"type": "none", "rise": 3}})
    until(lambda: [words(t, s["name"]) for s in services] == [["up"] * 2] * 3, "all are up")
    assert t.metrics().get("teal_check_targets") == 2
    assert [backends(t, s["name"])[0]["check_shared"] for s in services] == [4, 4, 2]
    assert t.status("one")["health"] == {"type": "http", "interval": 0.1, "pool": "main"}
    node.well = False
    until(lambda: words(t, "one") + words(t, "two") + words(t, "own") == ["down"] * 6, "down by what the pool says")
    node.well = True
    until(lambda: words(t, "one") == ["up"] * 2, "up")

    # A reload changes it in place, for all that do not say so themselves.
    rewrite(t, node_pools={"main": {"nodes": ["127.0.0.1"], "health": health | {"path": "/other"}}})
    r = reload(t)
    planned = r.event("planned")
    assert [c["service"] for c in planned["changed"]] == ["one", "two"], planned
    assert planned["changed"][0]["keys"] == ["health.path"]
    until(lambda: t.metrics().get("teal_check_targets") == 1, "one check for all")
    # And a pool that says nothing leaves it to the defaults.
    rewrite(t, node_pools={"main": ["127.0.0.1"]}, services=services[:2])
    reload(t)
    assert t.status("one")["health"] == {"type": "none", "interval": 2, "pool": None}
    assert t.metrics().get("teal_check_targets") == 0


@pytest.mark.scales
def test_a_thousand_services_ask_each_node_once_a_round(teal, ports, closing):
    """Counted where it is asked: each node has had as many questions as each of its backends has had answers."""
    hosts = [f"127.0.0.{20 + i}" for i in range(scaled(20, 4))]
    health = ports.hold(hosts[0])
    nodes = [closing.add(KubeProxy(h, health, h).start()) for h in hosts]
    services = [{"name": f"s{i}", "mode": "tcp", "listen": f"127.0.0.1:{ports.hold()}",
                 "green": {"port": 10000 + i}, "blue": {"port": 20000 + i}} for i in range(scaled(1000, 50))]
    t = teal(node_pools={"main": {"nodes": hosts, "health": {
        "type": "kube-proxy", "port": health, "interval": 0.2, "timeout": 60.0}}},
        defaults={"nodes": "main"}, services=services)
    until(lambda: min(n.asked for n in nodes) > 5, "each is asked again and again")
    assert t.metrics().get("teal_check_targets") == len(nodes)
    b = backends(t, services[-1]["name"])[0]
    assert b["check_shared"] == 2 * len(services)

    before = [n.asked for n in nodes]
    m = t.metrics(services[0]["name"], services[-1]["name"])
    for n, asked in zip(nodes, before, strict=True):
        had = {m.get("teal_backend_checks_total", service=s["name"], color=c, backend=f"{n.host}:{s[c]['port']}", result="passed")
               for s in (services[0], services[-1]) for c in ("green", "blue")}
        # One may be under way that has been heard there and not yet answered, or was answered meanwhile; a page
        # of several services is written in several turns, and answers come between them.
        assert asked - 1 <= min(had) and max(had) <= n.asked, had
    nodes[0].eligible = False
    for s in services:
        until(lambda s=s: [b["address"].split(":")[0] for b in backends(t, s["name"]) if b["state"] == "draining"] == hosts[:1] * 2,
              "all services hear of it")
