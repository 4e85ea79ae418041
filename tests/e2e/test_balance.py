"""Who gets the next connection, and who gets none for a while."""
import collections
import re

import pytest

from helpers.backends import Farm
from helpers.scale import scaled, until
from helpers.teald import service

ALWAYS_UP = {"type": "none"}


def weighted(backends, weights):
    return [{"address": b.address, "weight": w} for b, w in zip(backends, weights)]


def spread(teal, n, **how):
    """Names of those who took n connections, one after the other."""
    names = collections.Counter()
    for _ in range(n):
        with teal.connect(**how) as c:
            names[c.peer] += 1
    return names


def backends_of(teal, color="green"):
    return {b["address"]: b for b in teal.status()["colors"][color]["backends"]}


def held(teal, color="green"):
    return {a: b["connections"] for a, b in backends_of(teal, color).items()}


def all_up(teal, color="green"):
    until(lambda: {b["state"] for b in backends_of(teal, color).values()} == {"up"}, "all up")
    teal.rest()


# ---- shares ----

@pytest.mark.scales
def test_round_robin_follows_the_weights(teal, backend, ports):
    """Within 2 % (of all), over two workers that know nothing of each other."""
    a, b, c = (backend(n) for n in "abc")
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=weighted((a, b, c), (5, 3, 2)), blue=[c])])
    all_up(t)
    n = scaled(5000, 500)
    names = spread(t, n)
    for name, weight in (("a", 5), ("b", 3), ("c", 2)):
        assert abs(names[name] / n - weight / 10) <= 0.02, names


def test_weight_0_gets_nothing_new(teal, backend, ports):
    a, b = backend("a"), backend("b")
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=weighted((a, b), (1, 0)), blue=[b],
                               health={"interval": 0.1, "timeout": 1.0, "rise": 1, "fall": 1})])
    until(lambda: backends_of(t)[b.address]["state"] == "up", "b is up")
    assert set(spread(t, 10)) == {"a"}
    assert backends_of(t)[b.address]["admin"] == "drain" and backends_of(t)[a.address]["admin"] == "ready"
    # Not even when it is the only one that is well: its owner said so.
    a.stop()
    until(lambda: backends_of(t)[a.address]["state"] == "down", "a is down")
    with t.connect() as c:
        assert c.read_end()[0] == b""
    assert t.wait_log("tcp.session", end="connect")["backend"] == a.address
    # And it cannot open the gate for a flip.
    assert t.ok("flip", "web", "blue")
    assert t.ctl("flip", "web", "green")["error"] == "unhealthy"


@pytest.mark.parametrize("weights", [(1, 1, 1), (4, 2, 1)])
@pytest.mark.parametrize("balance, within", [("least_conn", 1), ("p2c", 3)])
def test_in_flight_follows_the_weights(teal, backend, ports, closing, balance, within, weights):
    """Long connections through four workers; then one backend loses all of its
    own and is filled up again."""
    nodes = [backend(n) for n in "abc"]
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=weighted(nodes, weights), blue=[nodes[0]],
                               balance=balance, health=ALWAYS_UP)], workers=4)
    all_up(t)

    def even(n):
        for node, weight in zip(nodes, weights):
            fair = n / sum(weights)
            assert abs(held(t)[node.address] / weight - fair) <= within, (held(t), fair)

    clients = [closing.add(t.connect()) for _ in range(105)]
    assert {c.peer for c in clients} == {"a", "b", "c"}
    even(105)
    for c in clients:
        if c.peer == "a":
            c.close()
    until(lambda: held(t)[nodes[0].address] == 0, "a is empty")
    fresh = [closing.add(t.connect()) for _ in range(105)]
    names = collections.Counter(c.peer for c in fresh)
    assert names["a"] > max(names["b"], names["c"])
    even(sum(held(t).values()))


# ---- source_hash ----

def owners(teal, sources):
    found = {}
    for s in sources:
        with teal.connect(source=(s, 0)) as c:
            found[s] = c.peer
    return found


@pytest.mark.scales
def test_two_teals_agree_on_every_source(teal, backend, ports):
    """Also when their files list the backends in another order."""
    nodes = [backend(n) for n in "abcde"]
    sources = [f"127.3.{i >> 8}.{i & 255}" for i in range(1, scaled(2000, 120))]

    def one(order, **keys):
        t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=order, blue=nodes[:1],
                                   balance="source_hash", **keys)])
        all_up(t)
        return t
    first, second = one(nodes), one(nodes[::-1])
    of = owners(first, sources)
    assert set(of.values()) == set("abcde")
    assert owners(second, sources) == of
    assert owners(first, sources) == of  # another port, the same client
    # A node that goes down moves its own clients only, both Teals' alike.
    nodes[2].stop()
    for t in (first, second):
        until(lambda: backends_of(t)[nodes[2].address]["state"] == "down", "down")
    now = until(lambda: (o := owners(first, sources)) and "c" not in o.values() and o, "nobody is on c")
    assert {s for s in sources if now[s] != of[s]} == {s for s in sources if of[s] == "c"}
    assert len({now[s] for s in sources if of[s] == "c"}) > 1
    assert owners(second, sources) == now
    # Back again, so are they.
    nodes[2].start()
    all_up(first)
    until(lambda: owners(first, sources[:20]) == {s: of[s] for s in sources[:20]}, "c has its clients again")
    assert owners(first, sources) == of


# ---- limits ----

@pytest.mark.parametrize("balance", ["round_robin", "least_conn", "p2c", "source_hash"])
def test_backend_max_connections_is_exact(teal, backend, ports, closing, balance):
    a, b = backend("a"), backend("b")
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[a, b], blue=[a], balance=balance,
                               backend_max_connections=5, health=ALWAYS_UP)], workers=4)
    all_up(t)
    clients = [closing.add(t.connect()) for _ in range(24)]
    names, lucky = collections.Counter(), []
    for c in clients:
        try:
            name = c.line()
        except ConnectionResetError:
            name = None
        names[name] += 1
        lucky += [c] if name else []
    assert names == {"a": 5, "b": 5, None: 14}
    assert set(held(t).values()) == {5}
    t.wait_metric(14, "teal_rejected_total", service="web", reason="backend_limit")
    assert t.wait_log("tcp.session", 14, end="backend_limit")["backend"] == ""
    # A place that comes free is taken again.
    lucky[0].close()
    until(lambda: sorted(held(t).values()) == [4, 5], "one left")
    assert closing.add(t.connect()).echo()
    assert set(held(t).values()) == {5}


# ---- failures ----

def test_retries_go_to_others_and_the_log_names_them(web, backend):
    dead = [backend(f"dead{i}", start=False) for i in range(2)]
    live = backend("live")
    for balance in ("round_robin", "least_conn", "p2c", "source_hash"):
        teal = web(green=[*dead, live], health=ALWAYS_UP, retries=2, balance=balance)
        assert set(owners(teal, [f"127.4.0.{i}" for i in range(1, 25)]).values()) == {"live"}
        teal.wait_log("tcp.session", 24)
        lines = [l for l in teal.sessions() if l["retries"] > 0]
        assert lines, balance
        for line in lines:
            # Each once, and the one that answered is not among them.
            assert len(set(line["tried"])) == len(line["tried"]) == line["retries"]
            assert set(line["tried"]) <= {d.address for d in dead}
            assert line["end"] == "done" and line["backend"] == live.address
        assert all("tried" not in l for l in teal.sessions(retries=0))


def test_a_black_hole_is_left_for_another(web, backend, black_hole):
    hole, live = black_hole(), backend("live")
    teal = web(clock=True, green=[hole, live], retries=1, connect_timeout=300.0, balance="least_conn")
    for _ in range(4):
        with teal.connect() as c:
            teal.clock.pass_until(lambda: c.ready, "a backend that answers", step=100)
            assert c.peer == "live"
    lonely = web(clock=True, green=[hole], retries=3, connect_timeout=300.0)
    with lonely.connect() as c:
        lonely.clock.pass_until(lambda: c.ready, "its end", step=100)
        assert c.read_end()[0] == b""
    line = lonely.wait_log("tcp.session", end="connect_timeout")
    # There was nobody else: tried once, not four times.
    assert line["retries"] == 0 and line["tried"] == [hole.address]


def test_ejected_after_failures_and_back_after_a_while(web, backend):
    """Its checks say nothing (none), its connects fail."""
    a, b, c = (backend(n) for n in "abc")
    teal = web(clock=True, green=[a, b, c], passive={"failures": 3, "eject": 2000.0, "max_ejected": 1})
    b.stop()

    def ejected():
        assert spread(teal, 1).keys() <= {"a", "c"}
        return backends_of(teal)[b.address]["state"] == "ejected"
    until(ejected, "b is ejected")
    line = teal.wait_log("backend.ejected", backend=b.address)
    assert line["failures"] >= 3 and line["service"] == "web" and line["color"] == "green"
    m = teal.metrics()
    assert m.get("teal_backend_ejected", service="web", backend=b.address, color="green") == 1
    assert m.get("teal_backend_ejections_total", service="web", backend=b.address, color="green") == 1
    assert teal.status()["colors"]["green"]["healthy"] == 2
    # Out means out: not one connect is tried there.
    failures = m.get("teal_backend_connect_failures_total", service="web", backend=b.address)
    assert set(spread(teal, 12)) == {"a", "c"}
    assert teal.metrics().get("teal_backend_connect_failures_total", service="web", backend=b.address) == failures
    # The next one fails as well: max_ejected forbids it, so it is tried on.
    c.stop()
    until(lambda: spread(teal, 4) == {"a": 4} and teal.metrics().get(
        "teal_backend_connect_failures_total", service="web", backend=c.address) > 3, "c fails on")
    assert backends_of(teal)[b.address]["state"] == "ejected"
    assert backends_of(teal)[c.address]["state"] == "up"
    b.start()
    c.start()
    teal.clock.move(2000)
    teal.wait_log("backend.readmitted", backend=b.address)
    # c had failed often enough to be next.
    teal.clock.pass_until(lambda: set(spread(teal, 6)) == {"a", "b", "c"}, "all are used", step=500)


def test_the_last_one_is_never_ejected(web):
    teal = web(health=ALWAYS_UP, passive={"failures": 1, "eject": 60.0, "max_ejected": "100%"})
    teal.green.stop()
    for _ in range(5):
        with teal.connect() as c:
            assert c.read_end()[0] == b""
    teal.wait_log("tcp.session", 5, end="connect")
    teal.green.start()
    assert teal.connect().peer == "green"
    assert not teal.log_lines("backend.ejected")


def test_a_success_in_between_forgives(web, backend):
    """Failures count in a row."""
    a, b = backend("a"), backend("b")
    teal = web(green=[a, b], health=ALWAYS_UP, top={"workers": 1},
               passive={"failures": 4, "eject": 60.0, "max_ejected": 1})
    failures = 0
    while failures < 12:
        b.stop()
        spread(teal, 4)  # two of them came to b first
        b.start()
        until(lambda: "b" in spread(teal, 2), "b serves")
        failures = teal.metrics().get("teal_backend_connect_failures_total", service="web", backend=b.address)
    assert not teal.log_lines("backend.ejected")


def test_slow_start_ramps_up(web, backend):
    """Back from being down it begins with a tenth, and has its share in the end."""
    a, b = backend("a"), backend("b")
    teal = web(clock=True, green=[a, b], slow_start=3000.0,
               health={"interval": 0.1, "timeout": 300.0, "rise": 1, "fall": 1})
    all_up(teal)
    assert spread(teal, 20) == {"a": 10, "b": 10}  # the start is no return
    b.stop()
    until(lambda: backends_of(teal)[b.address]["state"] == "down", "down")
    b.start()
    teal.wait_log("backend.up", 2, backend=b.address)
    # Of 60: 10 of 110 at first, 55 of 155 in the middle, 100 of 200 in the end.
    for share in (5, 21, 30):
        until(lambda: abs(spread(teal, 60)["b"] - share) <= 3, f"about {share} of 60")
        for _ in range(6):  # less than a check may take
            teal.clock.move(250)


@pytest.mark.scales
def test_one_that_is_killed_again_and_again_costs_nobody_a_connection(teal, ports, load, closing):
    """64 clients, 3 backends, one of them SIGKILLed and restarted: whoever had
    not reached a backend reaches another; it comes back to its share."""
    names = [Farm(n, ports.hold()) for n in "ab"]
    for f in names:
        closing.add(f)
    port = ports.hold()
    flaky = Farm("c", port)
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[*names, flaky], blue=names[:1],
                               health={"interval": 0.1, "timeout": 1.0, "rise": 1, "fall": 1},
                               passive={"failures": 2, "eject": 0.1})],
             log={"access": "errors"})
    all_up(t)
    rush = load(t, 64)
    for _ in range(scaled(100, 5)):
        flaky._proc.kill()
        flaky.close()
        until(lambda: backends_of(t)[flaky.address]["state"] != "up", "it is missed")
        flaky = Farm("c", port)
        until(lambda: backends_of(t)[flaky.address]["state"] == "up", "c is back")
    closing.add(flaky)
    rush.more(64).finish()
    m = t.metrics()
    for end in ("connect", "connect_timeout", "no_backend", "backend_limit", "memory", "internal"):
        assert m.get("teal_connections_total", service="web", end=end) == 0, end
    until(lambda: abs(spread(t, 60)["c"] - 20) <= 2, "its share")


def test_slow_start_has_no_say_in_source_hash(web):
    teal = web(balance="source_hash", slow_start=5.0, start=False).start()
    assert re.search(r"slow_start changes nothing", teal.stderr())
