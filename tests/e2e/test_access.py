"""Who may come in: networks, places and rates of single addresses."""
import contextlib
import datetime
import json
import select
import socket
import subprocess
import sys
import threading

import pytest

from helpers.scale import REPO, scaled, until
from helpers.teald import service

HERE, THERE = ("127.0.0.1", 0), ("127.0.0.2", 0)


def answer(teal, source=HERE, **how):
    """The backend's name, or None when refused; and the client."""
    c = teal.connect(source=source, **how)
    try:
        return c.line(), c
    except ConnectionResetError:
        return None, c


def served(teal, source=HERE, **how):
    name, client = answer(teal, source, **how)
    client.close()
    return name


def was_rejected(teal, reason, n):
    """So often; a client may see its end before it is counted."""
    teal.wait_metric(n, "teal_rejected_total", service="web", reason=reason)


# ---- allow and deny ----

@pytest.mark.parametrize("keys, here, there", [
    ({}, True, True),
    ({"allow": ["127.0.0.1"]}, True, False),
    ({"allow": ["127.0.0.2/32", "10.0.0.0/8"]}, False, True),
    ({"deny": ["127.0.0.2"]}, True, False),
    ({"allow": ["127.0.0.0/8"], "deny": ["127.0.0.1"]}, False, True),
    ({"allow": ["127.0.0.1"], "deny": ["0.0.0.0/0"]}, False, False),
    ({"allow": ["::/0"]}, False, False),
], ids=str)
def test_allow_and_deny(web, keys, here, there):
    teal = web(**keys)
    assert (served(teal, HERE) == "green") == here
    assert (served(teal, THERE) == "green") == there
    was_rejected(teal, "denied", (not here) + (not there))
    for ok, source in ((here, HERE), (there, THERE)):
        if not ok:
            line = until(lambda: [l for l in teal.sessions(end="denied") if l["client"].startswith(source[0] + ":")],
                         "a line about the refusal")[0]
            assert line["backend"] == "" and line["bytes_in"] == line["bytes_out"] == 0


def test_the_preview_is_as_closed_as_the_service(web, ports):
    teal = web(deny=["127.0.0.2"], preview=f"127.0.0.1:{ports.hold()}")
    assert served(teal, HERE, key="preview") == "blue"
    assert served(teal, THERE, key="preview") is None


def test_local_clients_are_allowed_by_name(web, tmp_path):
    teal = web(listen=[f"unix:{tmp_path}/web.sock"], allow=["10.0.0.0/8", "unix:"])
    assert teal.connect().echo().peer == "green"


def test_local_clients_are_no_network(web, tmp_path):
    teal = web(listen=[f"unix:{tmp_path}/web.sock"], allow=["0.0.0.0/0", "::/0"])
    with teal.connect() as c:
        assert c.line() is None


# ---- connections of one source ----

def test_each_source_has_its_places_over_all_workers(web, closing):
    teal = web(max_connections_per_source=5, top={"workers": 4})
    mine = [answer(teal, HERE) for _ in range(20)]
    for _, c in mine:
        closing.add(c)
    held = [c for name, c in mine if name == "green"]
    assert len(held) == 5
    was_rejected(teal, "source_limit", 15)
    others = [answer(teal, THERE) for _ in range(6)]
    for _, c in others:
        closing.add(c)
    assert [name for name, _ in others] == ["green"] * 5 + [None]
    # A place that is freed can be taken again, and only that one.
    held[0].close()
    teal.wait_metric(9, "teal_connections", service="web")
    name, c = answer(teal, HERE)
    closing.add(c)
    assert name == "green"
    assert served(teal, HERE) is None


def test_previews_are_not_counted(web, ports, closing):
    teal = web(max_connections_per_source=1, preview=f"127.0.0.1:{ports.hold()}")
    for _ in range(3):
        assert closing.add(teal.connect(key="preview")).peer == "blue"
    assert closing.add(teal.connect()).peer == "green"
    assert served(teal) is None


@pytest.mark.tsan
@pytest.mark.scales
def test_one_sources_limit_holds_at_every_moment_of_a_rush(web):
    """As for max_connections: clients count themselves in and out."""
    limit, rounds = 3, scaled(2000, 60)
    teal = web(max_connections_per_source=limit, top={"workers": 4})
    lock, most = threading.Lock(), {HERE: 0, THERE: 0}
    now, good, refused = dict(most), dict(most), dict(most)

    def rush(source):
        for _ in range(rounds):
            name, c = answer(teal, source)
            with lock:
                if name is None:
                    refused[source] += 1
                else:
                    now[source] += 1
                    good[source] += 1
                    most[source] = max(most[source], now[source])
            if name is not None:
                c.sock.sendall(b"x")
                c.receive(1)
                with lock:
                    now[source] -= 1
            c.close()
    threads = [threading.Thread(target=rush, args=(s,)) for s in (HERE, THERE) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert max(most.values()) <= limit
    assert min(good.values()) >= limit
    teal.wait_metric(sum(good.values()), "teal_connections_total", service="web", color="green", end="done")
    was_rejected(teal, "source_limit", sum(refused.values()))
    # Nothing leaks: afterwards there is room for exactly as many as before.
    clients = [answer(teal, HERE) for _ in range(limit + 3)]
    assert sum(name is not None for name, _ in clients) == limit
    for _, c in clients:
        c.close()


class Attack:
    """helpers/attack.py as a process."""

    def __init__(self, address, source, n, *more):
        self._proc = subprocess.Popen(
            [sys.executable, "-S", "-E", str(REPO / "tests/e2e/helpers/attack.py"), *map(str, address), source[0], str(n),
             *map(str, more)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @property
    def goes_on(self):
        return not select.select([self._proc.stdout], [], [], 0)[0]

    def result(self):
        return json.loads(self._proc.stdout.readline())

    def close(self):
        self._proc.communicate()


@pytest.mark.tsan
@pytest.mark.scales
@pytest.mark.serial
def test_an_attacker_does_not_hurt_the_others(web, closing):
    """Thousands of connections from one source: it gets its places and no
    more, everybody else gets theirs, and the log stays small."""
    n, limit = scaled(20000, 1000), 20
    teal = web(max_connections_per_source=limit, max_connections=1000)
    visits = 0
    with contextlib.closing(Attack(teal.address(), HERE, n)) as attack:
        while attack.goes_on:
            with teal.connect(source=THERE) as c:
                assert c.echo().peer == "green"
            visits += 1
        assert attack.result() == {"held": limit, "refused": n - limit, "errors": 0}
    assert visits
    was_rejected(teal, "source_limit", n - limit)
    teal.wait_metric(0, "teal_connections", service="web")
    # Every refusal was told of, one by one or in a sum, and not too many one by one.
    until(lambda: len(teal.sessions(end="source_limit")) +
          sum(l["lines"] for l in teal.log_lines("refusals.untold")) == n - limit, "all refusals are told")
    told = [datetime.datetime.fromisoformat(l["time"]) for l in teal.sessions(end="source_limit")]
    assert len(told) <= 100 * ((told[-1] - told[0]).total_seconds() + 2)


# ---- the rate of one source ----

def test_a_source_that_comes_too_fast_is_refused(web):
    teal = web(clock=True, source_rate="2/m", top={"workers": 4})
    assert [served(teal, HERE) for _ in range(20)] == ["green"] * 2 + [None] * 18
    was_rejected(teal, "source_rate", 18)
    assert served(teal, THERE) == "green"
    teal.clock.move(30)  # a token
    assert [served(teal, HERE) for _ in range(3)] == ["green", None, None]


def test_the_rate_comes_back_bit_by_bit_and_no_more_than_it_is(web):
    teal = web(clock=True, source_rate="3/m")
    assert [served(teal) for _ in range(6)].count("green") == 3
    for n in (1, 3, 2):
        teal.clock.move(20 * n)
        assert [served(teal) for _ in range(n + 2)].count("green") == n
    teal.clock.move(3600)
    assert [served(teal) for _ in range(6)].count("green") == 3


def test_services_count_for_themselves(teal, backend, ports, closing):
    g, b = backend("green"), backend("blue")
    t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[b],
                               max_connections_per_source=1) for n in ("one", "two")])
    assert closing.add(t.connect("one")).peer == "green"
    assert closing.add(t.connect("two")).peer == "green"
    with t.connect("one") as c:
        assert c.line() is None


def test_ipv6_clients_are_counted_by_their_network(web, ports, closing):
    """::1 is alone in its /64 here, but with ::ffff-mapped ones out of the way
    it must still be a source of its own."""
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    teal = web(listen=[f"127.0.0.1:{ports.hold()}", f"[::1]:{ports.hold('::1')}"], max_connections_per_source=1)
    assert closing.add(teal.connect(n=0)).peer == "green"
    assert closing.add(teal.connect(n=1)).peer == "green"
    with teal.connect(n=1) as c:
        assert c.line() is None
