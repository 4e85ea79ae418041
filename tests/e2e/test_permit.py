"""What a connection holds, and what it gives back. One of which it is not known yet for which service it is counts for
its listener, by the largest limits of those that share it."""
import contextlib
import subprocess

import pytest

from helpers.clients import Client
from helpers.http1 import Http, site, trusting
from helpers.scale import until
from helpers.teald import service

PLACES = 3
NAMES = ("shop.example", "pay.example")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "all.pem", folder / "all.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=all",
                    "-addext", "subjectAltName=DNS:shop.example,DNS:pay.example"], check=True, capture_output=True)
    return {"certificates": ({"cert": str(cert), "key": str(key)},)}


@pytest.fixture
def street(teal, backend, ports):
    """street(pay={…}, **keys of both): shop and pay, on one listener.  One worker
    takes connections in the order in which they came."""
    def make(pay=(), mode="http", **keys):
        listen = f"127.0.0.1:{ports.hold()}"
        names = "hosts" if mode == "http" else "sni"
        return teal(services=[
            service(n.split(".")[0], green=[backend(n + "-green", site)], blue=[backend(n + "-blue", site)], mode=mode,
                    listen=listen, **({names: [n]} | keys | (dict(pay) if n == "pay.example" else {})))
            for n in NAMES], workers=1)
    return make


def refused(t, reason, n=1):
    return t.wait_metric(n, "teal_rejected_total", service="shop", reason=reason)


def is_full(t):
    """One more is closed without a word, and not because it said nothing."""
    before = refusals(t.metrics())
    with Client(t.address("shop")) as c:
        assert c.read_end()[0] == b""
    return until(lambda: refusals(t.metrics()) == before + 1, "it is counted as refused")


def refusals(metrics):
    return sum(metrics.get("teal_rejected_total", service="shop", reason=r) or 0
               for r in ("source_limit", "max_connections", "denied"))


def test_one_source_cannot_hold_a_shared_listener(street):
    t = street(max_connections_per_source=PLACES)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Http(t.address("shop"))) for _ in range(PLACES)]
        assert is_full(t)
        t.wait_log("tcp.session", end="source_limit")
        # Others are not kept out, ...
        with Http(t.address("shop"), source=("127.0.0.2", 0)) as other:
            assert other.ask(host="pay.example").status == 200
        # ... and who asks is the service's from then on: its places are others.
        assert silent[0].ask(host="shop.example").status == 200
        silent.append(stack.enter_context(Http(t.address("shop"))))
        assert silent[-1].ask(host="pay.example").status == 200
        silent.append(stack.enter_context(Http(t.address("shop"))))
        assert is_full(t)
    # All places are given back.
    with contextlib.ExitStack() as stack:
        for _ in range(PLACES):
            until(lambda: stack.enter_context(Http(t.address("shop"))).alive, "a place")


def test_who_is_refused_everywhere_is_counted_as_well(street):
    t = street(max_connections_per_source=PLACES, pay={"deny": "127.0.0.1"})
    with contextlib.ExitStack() as stack:
        for _ in range(PLACES):
            c = stack.enter_context(Http(t.address("shop")))
            assert c.ask(host="pay.example").status == 403
            assert c.alive
        assert is_full(t)
        assert c.ask(host="elsewhere.example").status == 421
        assert c.ask(host="shop.example").status == 200
        with Http(t.address("shop")) as next_one:
            assert next_one.ask(host="shop.example").status == 200


@pytest.mark.parametrize("shop, pay, holds", [
    ({"max_connections_per_source": 1}, {"max_connections_per_source": PLACES}, PLACES),
    ({"max_connections": 1}, {"max_connections": PLACES}, PLACES),
    ({"max_connections": 1, "max_connections_per_source": 1}, {"max_connections": 0, "max_connections_per_source": 0}, 8),
])
def test_the_most_generous_counts(street, shop, pay, holds):
    t = street(pay=pay, **shop)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(Http(t.address("shop"))) for _ in range(holds)]
        if holds == PLACES:
            assert is_full(t)
        assert all(c.alive for c in held)
        assert held[-1].ask(host="shop.example").status == 200


def test_whom_nobody_wants_is_not_let_in(street):
    t = street(allow="10.0.0.0/8", pay={"allow": [], "deny": "127.0.0.0/8"})
    assert is_full(t)
    refused(t, "denied")


@pytest.mark.parametrize("shared", [True, False])
def test_handshakes_are_counted(teal, backend, ports, street, certificate, shared):
    """Also where a service is alone: it is asked when they are over."""
    keys = {"max_connections_per_source": PLACES, "tls": certificate}
    t = street(**keys) if shared else \
        teal(services=[service("shop", green=[backend("green", site)], blue=[backend("blue", site)], mode="http",
                               listen=f"127.0.0.1:{ports.hold()}", **keys)], workers=1)
    with contextlib.ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(Client(t.address("shop"))).sock.sendall(b"\x16\x03\x01")
        assert is_full(t)
        refused(t, "source_limit")
        with Http(t.address("shop"), source=("127.0.0.2", 0), tls=trusting(), server_name="shop.example") as c:
            assert c.ask(host="shop.example").status == 200
            assert c.ask(host="shop.example").status == 200
    def asks():
        with Http(t.address("shop"), tls=trusting(), server_name="shop.example") as c:
            return c.ask(host="shop.example").status == 200
    for _ in range(2 * PLACES):
        until(lambda: succeeds(asks), "places are given back")


def test_greetings_of_streams_are_counted(street):
    t = street(mode="tcp", max_connections_per_source=PLACES)
    with contextlib.ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(Client(t.address("shop"))).sock.sendall(b"\x16\x03\x01")
        assert is_full(t)
        refused(t, "source_limit")


@pytest.mark.parametrize("mode, keys, handshakes", [
    ("http", {"queue_timeout": 600.0, "queue_limit": 4}, PLACES + 4),
    ("http", {"queue_timeout": 600.0, "queue_limit": 0}, 40),    # no limit
    ("http", {}, PLACES),
    ("tcp", {"queue_timeout": 600.0, "queue_limit": 4}, PLACES + 4),
])
def test_who_may_wait_for_a_place_may_have_a_handshake(teal, street, ports, backend, certificate, mode, keys, handshakes):
    """With queue_timeout a burst of clients waits, and is refused only beyond queue_limit: while they greet, too."""
    keys = {"max_connections": PLACES} | keys
    t = street(mode="tcp", **keys) if mode == "tcp" else \
        teal(services=[service("shop", green=[backend("green", site)], blue=[backend("blue", site)], mode="http",
                               listen=f"127.0.0.1:{ports.hold()}", tls=certificate, **keys)], workers=1)
    with contextlib.ExitStack() as stack:
        for n in range(handshakes):
            stack.enter_context(Client(t.address("shop"))).sock.sendall(b"\x16\x03\x01")
        t.wait_metric(handshakes, "teal_connections", service="shop", color="green")
        assert refusals(t.metrics()) == 0
        if keys.get("queue_limit") != 0:
            assert is_full(t)
            refused(t, "max_connections")


def test_a_burst_of_handshakes_waits_for_its_places(teal, ports, backend, certificate):
    t = teal(services=[service("shop", green=[backend("green", site)], blue=[backend("blue", site)], mode="http",
                               listen=f"127.0.0.1:{ports.hold()}", tls=certificate, max_connections=1,
                               queue_timeout=600.0, queue_limit=5)], workers=1)
    clients = [Http(t.address("shop")) for _ in range(6)]
    t.wait_metric(6, "teal_connections", service="shop", color="green")    # none has begun its handshake
    for c in clients:
        c.greet(trusting(), "shop.example")
    t.wait_metric(5, "teal_waiting_connections", service="shop")
    for c in clients:
        with c:
            assert c.ask(host="shop.example").status == 200
    assert refusals(t.metrics()) == 0


def succeeds(what):
    try:
        return what()
    except OSError:
        return False
