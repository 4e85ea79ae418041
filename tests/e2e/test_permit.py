"""What a connection holds, and what it gives back. One of which it is not known yet for which service it is counts for
its listener, by the largest limits of those that share it."""
import contextlib
import subprocess

import pytest

from helpers.clients import Client
from helpers.failing_memory import FailingMemory
from helpers.http1 import Http, Reader, site, trusting
from helpers.scale import scaled, until
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
                               listen=f"127.0.0.1:{ports.hold()}", max_connections=1,
                               tls=certificate | {"handshake_timeout": 600.0},
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


def switching(conn, backend):
    """A site that echoes once it is asked for another protocol."""
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        if m.get("Upgrade"):
            conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := conn.recv(1 << 16):
                conn.sendall(data)
            return
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + backend.name.encode()[:5].ljust(5))


class Town:
    """http by TLS, and tcp behind a proxy, with the same limits of everything; and who is there."""

    LIMITS = {"max_connections": PLACES + 1, "max_connections_per_source": PLACES, "queue_timeout": 30.0, "queue_limit": 2,
              "deny": ["10.0.9.9", "127.0.0.9"], "drain": {"timeout": 20.0, "idle": 0}, "health": {"type": "none"}}

    def __init__(self, teal, backend, ports, certificate, tmp_path):
        self.memory, self.there = FailingMemory(tmp_path), contextlib.ExitStack()
        at = f"127.0.0.1:{ports.hold()}"
        self.t = t = teal(services=[
            service("http", green=[backend("h-green", switching)], blue=[backend("h-blue", switching)], mode="http",
                    listen=at, tls=certificate, header_timeout=45.0, **self.LIMITS),    # longer than one waits for a place
            service("tcp", green=[backend("t-green")], blue=[backend("t-blue")], listen=f"127.0.0.1:{ports.hold()}",
                    proxy_protocol={"accept_from": ["127.0.0.0/16"], "header_timeout": 10.0}, **self.LIMITS)],
            start=False, clock=True, stop={"timeout": 600.0})
        t.start(env=self.memory.env())

    def ended(self, word):
        return self.t.metrics().get("teal_connections_total", end=word) or 0

    def plain(self, name="tcp", source="127.0.0.1", first=b""):
        c = self.there.enter_context(Client(self.t.address(name), source=(source, 0)))
        c.sock.sendall(first)
        return c

    def tcp(self, ip="10.0.0.1"):
        return self.plain(first=b"PROXY TCP4 %s 10.0.0.2 1 2\r\n" % ip.encode())

    def http(self, source="127.0.0.1"):
        return self.there.enter_context(Http(self.t.address("http"), source=(source, 0), tls=trusting(), server_name="http"))

    def upgraded(self):
        c = self.http()
        assert c.ask(headers=[("Connection", "Upgrade"), ("Upgrade", "echo")]).status == 101
        c.send(b"x")
        assert c.sock.recv(1) == b"x"
        return c

    def leave(self):
        """Everybody."""
        self.there.close()
        for gauge in ("teal_connections", "teal_places_taken", "teal_waiting_connections", "teal_backend_connections"):
            for name in ("http", "tcp"):
                self.t.wait_metric(0, gauge, service=name)

    def is_whole(self):
        """Each limit takes what it says, and not one more."""
        t = self.t
        for name, one in (("tcp", self.tcp), ("http", lambda ip="127.0.0.1": self.http("127.0.0." + ip.split(".")[3]))):
            before = {w: self.ended(w) for w in ("source_limit", "max_connections")}
            held = [one() for _ in range(PLACES)]
            assert all(c.ask().status == 200 if name == "http" else c.peer == "t-" + t.status("tcp")["active"] for c in held)
            with contextlib.suppress(OSError):
                one()
            until(lambda: self.ended("source_limit") == before["source_limit"] + 1, "one more of that source")
            one("10.0.0.2")
            t.wait_metric(PLACES + 1, "teal_places_taken", service=name)
            for i in range(2):
                one("10.0.0.3")
                t.wait_metric(i + 1, "teal_waiting_connections", service=name)
            with contextlib.suppress(OSError):
                one("10.0.0.4")
            until(lambda: self.ended("max_connections") == before["max_connections"] + 1, "one more in the queue")
            self.leave()


@pytest.mark.nosan  # a sanitizer has its own memory
def test_every_way_out_gives_all_back(teal, backend, ports, certificate, tmp_path):
    """Refused, failed, timed out, left, drained, cut, upgraded, without memory: no limit has lost a place by it."""
    town = Town(teal, backend, ports, certificate, tmp_path)
    t = town.t
    # Refused, and what is no greeting.
    for first, word in ((b"hello there\r\n", "proxy_header"), (b"PROXY TCP4 10.0.9.9 10.0.0.2 1 2\r\n", "denied")):
        town.plain(first=first)
        until(lambda: town.ended(word) == 1, word)
    town.plain(source="127.1.0.1")
    until(lambda: town.ended("proxy_denied") == 1, "one that may not tell")
    for first, word in ((b"\x80\0\0\0", "tls_hello"), (b"GET / HTTP/1.1\r\n\r\n", "tls_plain_http")):
        town.plain("http", first=first)
        until(lambda: town.ended(word) == 1, word)
    town.plain("http", source="127.0.0.9")
    until(lambda: town.ended("denied") == 2, "denied")
    # They say nothing, or half of it.
    town.plain()
    town.plain("http", first=b"\x16\x03\x01")
    half = town.http("127.0.0.2")
    half.send(b"GET / HT")
    t.wait_metric(2, "teal_connections", color="green")    # half's handshake is over
    t.clock.move(60)
    for word in ("proxy_timeout", "tls_timeout"):
        until(lambda: town.ended(word) == 1, word)
    assert half.response().status == 408
    town.leave()
    # They wait in vain, or leave the queue.
    for one, name in ((town.tcp, "tcp"), (lambda ip="": town.http("127.0.0.2" if ip else "127.0.0.1"), "http")):
        for i in range(PLACES + 1):
            one() if i < PLACES else one("10.0.0.2")
        t.wait_metric(PLACES + 1, "teal_places_taken", service=name)
        one("10.0.0.2")
        gone = one("10.0.0.2")
        t.wait_metric(2, "teal_waiting_connections", service=name)
        gone.reset()
        t.wait_metric(1, "teal_waiting_connections", service=name)
        before = town.ended("queue_timeout")
        t.clock.move(31)
        until(lambda: town.ended("queue_timeout") == before + 1, "queue_timeout")
        town.leave()
    # They move on to another protocol, and end in peace, or are cut by a drain, as a session of TCP is.
    town.upgraded().close()
    held = [town.upgraded(), town.tcp()]
    assert held[1].peer == "t-green"
    for name in ("http", "tcp"):
        t.ok("flip", name, "blue")
    t.clock.move(21)
    until(lambda: town.ended("drained") == 2, "cut at the drain's deadline")
    town.leave()
    town.is_whole()
    # Without memory anything may fail.
    town.memory.fail(150)
    def suffers():
        for one in (town.tcp, town.http, town.upgraded):
            with contextlib.suppress(OSError, AssertionError, ValueError, AttributeError):
                one().reset()
        return town.memory.failed > scaled(300, 30)
    until(suffers, "memory was refused often")
    town.memory.fail(0)
    town.leave()
    town.is_whole()
    # Nor a descriptor: it ends long before its deadline, which does not come.
    assert t.stop() == 0


def succeeds(what):
    try:
        return what()
    except OSError:
        return False
