"""Checks that ask kube-proxy: 503 means nothing new and keeps what is there, endpoints are
weights, for both traffic policies. The stand-in is helpers/kube_proxy.py."""
import collections

import pytest

from helpers.http1 import Reader
from helpers.kube_proxy import KubeProxy, ServiceHealth
from helpers.reload import change, reload
from helpers.scale import until
from helpers.upgrade import upgraded

EVERY = {"type": "kube-proxy", "interval": 0.1, "timeout": 60.0, "rise": 1, "fall": 1}


class Node:
    """A node port, and kube-proxy beside it."""

    def __init__(self, traffic, asked):
        self.traffic, self.asked, self.address = traffic, asked, traffic.address
        self.as_backend = {"address": traffic.address, "health_port": asked.port}


@pytest.fixture
def node(backend, ports, closing):
    def make(name, kind=KubeProxy):
        return Node(backend(name), closing.add(kind(name, ports.hold(), "127.0.0.1").start()))
    return make


@pytest.fixture
def nodes(web, node):
    """nodes(ServiceHealth, "a", "b", **keys): a teald whose green is these."""
    def make(kind, *names, health=(), start=True, **keys):
        made = [node(n, kind) for n in names]
        t = web(start=False, **keys)
        t.settings["services"][0] |= {"green": {"backends": [n.as_backend for n in made]},
                                      "health": EVERY | dict(health)}
        other = node("blue", kind)
        t.settings["services"][0]["blue"] = {"backends": [other.as_backend]}
        t.blues = [other]
        return (t.start() if start else t, *made)
    return make


def seen(t, n, color="green"):
    return next(b for b in t.status("web")["colors"][color]["backends"] if b["address"] == n.address)


def becomes(t, n, state, color="green"):
    until(lambda: seen(t, n, color)["state"] == state, f"{n.address} is {state}")
    return seen(t, n, color)


def shares(t, n):
    """Who gets so many new connections."""
    got = collections.Counter()
    for _ in range(n):
        with t.connect() as c:
            got[c.echo().peer] += 1
    return got


def used(t, names):
    """Workers obey what status says a moment later."""
    until(lambda: set(shares(t, 6)) == set(names), f"new connections reach {names}")


@pytest.mark.parametrize("on_down", ["keep", "reset"])
def test_a_node_that_leaves_gets_nothing_new_and_keeps_what_it_has(nodes, closing, on_down):
    """externalTrafficPolicy Cluster: the node is a hop to pods anywhere."""
    t, a, b = nodes(KubeProxy, "a", "b", on_down=on_down)
    becomes(t, a, "up")
    becomes(t, b, "up")
    used(t, "ab")
    held = {}
    while len(held) < 2:
        c = closing.add(t.connect()).echo()
        held.setdefault(c.peer, c)
    a.asked.eligible = False
    assert becomes(t, a, "draining")["error"] == "HTTP status 503: the node is leaving the cluster"
    line = t.wait_log("backend.draining", backend=a.address)
    assert (line["level"], line["was"], line["reason"]) == ("info", "up", "HTTP status 503: the node is leaving the cluster")
    used(t, "b")
    held["a"].echo()
    m = t.metrics()
    assert m.get("teal_backends", service="web", color="green", state="draining") == 1
    assert m.get("teal_backend_up", backend=a.address) == m.get("teal_backend_admin_state", backend=a.address) == 0
    assert t.status("web")["trouble"] == []     # it does so on purpose
    # kube-proxy is gone without a word: that is down, and on_down has its say.
    a.asked.stop()
    becomes(t, a, "down")
    if on_down == "reset":
        assert held["a"].read_end()[1] == "reset"
    else:
        held["a"].echo()
    held["b"].echo()
    # It answers again, first that it leaves.
    a.asked.start()
    becomes(t, a, "draining")
    a.asked.eligible = True
    becomes(t, a, "up")
    used(t, "ab")


def test_endpoints_of_a_service_are_weights(nodes):
    """externalTrafficPolicy Local: as many parts of the traffic as there are pods on the node."""
    t, a, b = nodes(ServiceHealth, "a", "b", health={"weight": "endpoints"}, start=False)
    a.asked.endpoints = 3
    b.asked.header = False
    t.start()
    until(lambda: [seen(t, n).get("endpoints") for n in (a, b)] == [3, 1], "both are counted")
    until(lambda: shares(t, 8) == {"a": 6, "b": 2}, "three to one")
    assert seen(t, a)["weight_now"] == 3 and "weight_now" not in seen(t, b)
    assert t.wait_log("backend.weight", backend=a.address, endpoints=3)["weight"] == 3
    a.asked.endpoints, b.asked.endpoints = 1, 4
    until(lambda: shares(t, 10) == {"a": 2, "b": 8}, "they follow")
    # The last pod has gone from there.
    b.asked.endpoints = 0
    assert becomes(t, b, "draining")["error"] == "HTTP status 503: no endpoints on the node"
    used(t, "a")
    # Weights are the counts no more.
    b.asked.endpoints = 4
    change(t, health=EVERY)
    reload(t)
    becomes(t, b, "up")
    until(lambda: shares(t, 8) == {"a": 4, "b": 4}, "all the same")
    assert "endpoints" not in seen(t, a)


@pytest.mark.parametrize("balance", ["least_conn", "p2c", "source_hash"])
def test_weights_of_endpoints_count_however_it_is_balanced(nodes, closing, balance):
    t, a, b = nodes(ServiceHealth, "a", "b", health={"weight": "endpoints"}, balance=balance, start=False)
    a.asked.endpoints = 200
    t.start()
    until(lambda: seen(t, a).get("endpoints") == 200, "counted")
    if balance == "source_hash":
        used(t, [t.connect().echo().peer])      # all from one address
    else:
        def many():
            got = collections.Counter(closing.add(t.connect()).echo().peer for _ in range(20))
            return got["a"] >= 15
        until(many, "nearly all reach the node of 200")


def test_nodes_without_endpoints_do_not_count_at_the_gate(nodes, node):
    """Of twenty nodes three have a pod: that is all a service needs there."""
    t, *greens = nodes(ServiceHealth, "a", "b", "c", start=False)
    blues = [node(f"blue{i}", ServiceHealth) for i in range(4)]
    t.settings["services"][0]["blue"] = {"backends": [n.as_backend for n in blues]}
    for n in blues:
        n.asked.endpoints = 0
    t.start()
    for n in blues:
        becomes(t, n, "draining", "blue")
    r = t.ctl("flip", "web", "blue")
    assert r["error"] == "unhealthy" and "0/4 backends healthy, 1 needed" in r["message"], r
    assert "no endpoints on the node" in r["message"]
    blues[2].asked.endpoints = 1
    becomes(t, blues[2], "up", "blue")
    assert t.ok("flip", "web", "blue")["changed"]
    used(t, ["blue2"])
    for n in greens:
        becomes(t, n, "up")
    assert t.status("web")["trouble"] == []


@pytest.mark.parametrize("all_down", ["try", "reject"])
def test_where_all_want_nothing_new(nodes, all_down):
    """Pods that are terminating still serve (KEP-1669), so they are tried unless the service says otherwise."""
    t, a, b = nodes(ServiceHealth, "a", "b", when_all_down=all_down)
    used(t, "ab")
    a.asked.endpoints = b.asked.endpoints = 0
    becomes(t, a, "draining")
    becomes(t, b, "draining")
    if all_down == "try":
        used(t, "ab")
    else:
        until(lambda: t.connect().read_end() == (b"", "eof"), "refused")
    assert [p["what"] for p in t.status("web")["trouble"] if p["severity"] == "critical"] == ["no_backend"]
    assert "no endpoints on the node" in t.status("web")["trouble"][0]["message"]


def test_what_is_no_answer_of_kube_proxy_is_down(nodes):
    t, a, b, c = nodes(KubeProxy, "a", "b", "c", start=False)
    a.asked.answer = lambda target: ("404 Not Found", {}, {})

    def babble(conn, _):
        Reader(conn).head()
        conn.sendall(b"not HTTP\r\n")
    b.asked.behaviour = babble
    c.asked.well = False
    t.start()
    assert becomes(t, a, "down")["error"] == "HTTP status 404"
    assert becomes(t, b, "down")["error"] == "did not answer in HTTP"
    assert becomes(t, c, "draining")["error"] == "HTTP status 503"


@pytest.mark.parametrize("answers, states", [
    # w: well, d: it declines (503), b: broken; rise = fall = 2
    ("wdd", "up draining"), ("wdw", "up"), ("wbd", "up draining"), ("wdb", "up down"), ("dd", "draining"), ("dbd", "down"),
    ("wddbb", "up draining down"), ("wddbw", "up draining"), ("wddbd", "up draining"), ("wbbdd", "up down draining"),
    ("wbbdw", "up down"), ("wddww", "up draining up"), ("wbbddww", "up down draining up")])
def test_answers_in_a_row_make_a_verdict(nodes, answers, states):
    """Rise and fall count answers as with other types; the last kind that failed says which verdict it is."""
    t, n = nodes(KubeProxy, "a", health={"rise": 2, "fall": 2}, start=False)
    script = iter(answers)

    def answer(target):
        kind = next(script, None)
        if kind is None:
            t.over = True
            n.asked.released.wait()     # no more answers: the probe under way stays so
        return {"w": "200 OK", "d": "503 Service Unavailable", "b": "404 Not Found"}.get(kind, "200 OK"), {}, {}
    n.asked.answer, t.over = answer, False
    t.start()
    until(lambda: t.over, "all answers were heard")
    t.log_lines("backend.up")       # all that was logged is here
    lines = [l["event"].removeprefix("backend.") for l in t.logs
             if l.get("backend") == n.address and l["event"] in ("backend.up", "backend.draining", "backend.down")]
    assert lines == states.split()


def test_a_node_is_asked_once_whatever_policies_its_services_have(teal, node, ports):
    n = node("a")
    services = [{"name": f"s{i}", "mode": "tcp", "listen": f"127.0.0.1:{ports.hold()}", "health": EVERY,
                 "green": {"backends": [n.as_backend]}, "blue": {"backends": [n.as_backend | {"address": f"127.0.0.1:{ports.hold()}"}]}}
                for i in range(8)]
    t = teal(services=services)
    until(lambda: t.metrics().get("teal_probes_total", result="passed") > 3, "asked again and again")
    assert t.metrics().get("teal_check_targets") == 1
    # The same words by plain HTTP are another check: it knows nothing of what 503 means.
    asked_plainly = {"type": "http", "path": "/healthz", "expect": "200"} | {k: v for k, v in EVERY.items() if k != "type"}
    services[0]["health"] = asked_plainly
    change(t, name="s0", health=asked_plainly)
    reload(t)
    assert t.metrics().get("teal_check_targets") == 2
    n.asked.eligible = False
    until(lambda: [t.status(f"s{i}")["colors"]["green"]["backends"][0]["state"] for i in range(8)]
          == ["down"] + ["draining"] * 7, "each by its own check")


def test_states_and_weights_go_to_the_next_process(nodes):
    t, a, b, c = nodes(ServiceHealth, "a", "b", "c", health={"weight": "endpoints"}, start=False)
    a.asked.endpoints, b.asked.endpoints, c.asked.endpoints = 0, 3, 1
    t.start(supervised=True)
    becomes(t, a, "draining")
    until(lambda: shares(t, 8) == {"b": 6, "c": 2}, "three to one")
    since = [seen(t, n)["since"] for n in (a, b, c)]
    upgraded(t)
    assert [(seen(t, n)["state"], seen(t, n)["since"]) for n in (a, b, c)] == list(
        zip(["draining", "up", "up"], since, strict=True))
    assert seen(t, b)["endpoints"] == 3 and seen(t, b)["weight_now"] == 3
    until(lambda: shares(t, 8) == {"b": 6, "c": 2}, "three to one")     # each worker takes turns of its own
    assert not t.log_lines("backend.down")
    b.asked.endpoints = 1
    until(lambda: shares(t, 8) == {"b": 4, "c": 4}, "and it goes on")
