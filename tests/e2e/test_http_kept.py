"""Connections to backends that are kept for the next request: whose they are, and
what makes one useless."""
import ssl
import threading

import pytest

from helpers.certificates import Authority
from helpers.hold import stopped
from helpers.http1 import Http, Reader
from helpers.scale import until

GET = "GET {} HTTP/1.1\r\nHost: web\r\n\r\n"
FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nFORGED"
BIG = b"b" * (1 << 20)
OK = b"HTTP/1.1 200 OK\r\n"


def alone(web, green, **keys):
    """One worker, before backends that are only what they do."""
    return web(mode="http", green=green, **({"health": {"type": "none"}, "top": {"workers": 1}} | keys))


def own(m):
    """The answer that belongs to a request, and to no other."""
    return OK + b"Content-Length: %d\r\n\r\n%s" % (len(m.target), m.target.encode())


# Answers that are followed by one that nobody asked for: what is said at once, and
# what of it comes later, together with the forged one.
SURPLUS = {
    "length": ("GET", OK + b"Content-Length: 5\r\n\r\n", b"hello"),
    "length, all but a byte": ("GET", OK + b"Content-Length: 5\r\n\r\nhell", b"o"),
    "empty": ("GET", b"", OK + b"Content-Length: 0\r\n\r\n"),
    "whole": ("GET", b"", OK + b"Content-Length: 5\r\n\r\nhello"),
    "half a head": ("GET", OK, b"Content-Length: 5\r\n\r\nhello"),
    "HEAD": ("HEAD", OK, b"Content-Length: 5\r\n\r\n"),
    "204": ("GET", b"", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304": ("GET", b"HTTP/1.1 304", b" Not Modified\r\nContent-Length: 5\r\n\r\n"),
    "after a hint": ("GET", b"HTTP/1.1 103 Early Hints\r\n\r\n", OK + b"Content-Length: 5\r\n\r\nhello"),
    "chunked": ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    "last chunk": ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"0\r\n\r\n"),
    "spliced": ("GET", OK + b"Content-Length: %d\r\n\r\n" % len(BIG) + BIG[:-1000], BIG[-1000:]),
    "HTTP/1.0": ("GET", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", b"hello"),
}


class Talkative:
    """Answers everything with its target, but /long as it is told, and more."""

    def __init__(self, at_once, later, context=None):
        self.at_once, self.later, self.context = at_once, later, context
        self.begun, self.go_on, self.said = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, conn, b):
        if self.context is not None:
            conn = self.context.wrap_socket(conn, server_side=True)
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            reader.body_of(m)
            if m.target != "/long":
                conn.sendall(own(m))
                continue
            conn.sendall(self.at_once)
            self.begun.set()
            self.go_on.wait()
            conn.sendall(self.later)
            conn.sendall(FORGED)
            self.said.set()


@pytest.fixture(params=["plain", "tls"])
def talkative(web, backend, request, tmp_path):
    """talkative(at_once, later): teald before such a backend; t.green is it."""
    def make(at_once, later):
        context, keys = None, {}
        if request.param == "tls":
            authority = Authority(tmp_path)
            paths = authority.issue("in", "in.example")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(paths["cert"], paths["key"])
            keys["backend_tls"] = {"ca": str(authority.pem), "server_name": "in.example"}
        behaviour = Talkative(at_once, later, context)
        t = alone(web, [backend("green", behaviour)], pool_idle=60.0, **keys)
        t.green = behaviour
        return t
    return make


def read_early(t, c):
    """What goes through before the rest is said."""
    if len(t.green.at_once) > len(BIG) // 2:
        c._reader.head()
        c._reader.exactly(len(BIG) - 1000)
    t.green.begun.wait()


def read_rest(t, c, method):
    if len(t.green.at_once) > len(BIG) // 2:
        c._reader.exactly(1000)
    else:
        c.response(method)


@pytest.mark.parametrize("after", ["POST", "GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("kind", SURPLUS, ids=lambda k: k.replace(" ", "-").replace(",", ""))
def test_what_lies_behind_an_answer_is_not_the_next_one(talkative, kind, after):
    """All of it is there before teald looks: the next request, of the same client,
    follows in the same turn of its loop."""
    method, at_once, later = SURPLUS[kind]
    t = talkative(at_once, later)
    with Http(t.address()) as c:
        c.send(f"{method} /long HTTP/1.1\r\nHost: web\r\n\r\n{after} /mine HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n")
        read_early(t, c)
        with stopped(t):
            t.green.go_on.set()
            t.green.said.wait()
        read_rest(t, c, method)
        mine = c.response(after)
        assert (mine.status, mine.get("Content-Length")) == (200, "5")
        assert mine.body == (b"" if after == "HEAD" else b"/mine")


@pytest.mark.parametrize("kind", ["length", "whole", "chunked", "spliced"])
def test_nor_is_it_the_answer_of_another_client(talkative, kind, closing):
    method, at_once, later = SURPLUS[kind]
    t = talkative(at_once, later)
    others = [closing.add(Http(t.address())) for _ in range(8)]
    with Http(t.address()) as c:
        c.send(GET.format("/long"))
        read_early(t, c)
        with stopped(t):
            t.green.go_on.set()
            t.green.said.wait()
            for i, other in enumerate(others):
                other.send(GET.format(f"/{i}"))
        assert [other.response().body for other in others] == [b"/%d" % i for i in range(8)]
        read_rest(t, c, method)


def test_an_answer_that_comes_before_its_request_ends_its_connection(web, backend):
    """The backend may take the rest of the body for a request."""
    answered = threading.Event()
    connections = []

    def behave(conn, b):
        reader = Reader(conn)
        connections.append(conn)
        while (m := reader.head()) is not None:
            if m.method == "POST":
                conn.sendall(OK + b"Content-Length: 5\r\n\r\nhell")
                answered.wait()
                reader.body_of(m)
                conn.sendall(b"o")
            else:
                conn.sendall(own(m))
    t = alone(web, [backend("green", behave)], pool_idle=60.0)
    with Http(t.address()) as c:
        c.send("POST /early HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n12345")
        head = c._reader.head()
        c.send("67890")
        answered.set()
        assert head.status == 200 and c._reader.exactly(5) == b"hello"
    with Http(t.address()) as c:
        assert c.ask("/next").body == b"/next"
    assert len(connections) == 2


# -- whose a connection is --------------------------------------------------------------

class Domain:
    """Logs in as IIS does: who ends the handshake on a connection is the user of
    every later request on it."""

    def __init__(self, offer):
        self.offer, self.connections = offer, []

    def __call__(self, conn, b):
        user, stage, reader = None, 0, Reader(conn)
        self.connections.append(conn)
        while (m := reader.head()) is not None:
            reader.body_of(m)
            scheme, _, said = (m.get("Authorization") or "").partition(" ")
            if said == "TYPE1":
                stage = 1
            elif said.startswith("TYPE3 ") and stage == 1:
                user, stage = said[6:], 2
            elif said.startswith("TICKET "):
                user, stage = said[7:], 2
            if user is not None and stage == 2:
                conn.sendall(OK + b"Content-Length: %d\r\n\r\n%s" % (len(user), user.encode()))
            else:
                offer = f"{scheme} TYPE2" if stage == 1 else self.offer
                conn.sendall(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %s\r\nContent-Length: 0\r\n\r\n"
                             % offer.encode())


def log_in(c, scheme, user):
    assert c.ask("/").status == 401
    assert c.ask("/", headers=[("Authorization", f"{scheme} TYPE1")]).status == 401
    assert c.ask("/", headers=[("Authorization", f"{scheme} TYPE3 {user}")]).body == user.encode()


@pytest.mark.parametrize("pool_size", [0, 1024])
@pytest.mark.parametrize("offer, scheme", [("NTLM", "NTLM"), ("Negotiate", "Negotiate"), ('Basic realm="a", negotiate', "Negotiate")])
def test_a_login_of_a_connection_is_nobody_elses(web, backend, offer, scheme, pool_size):
    """Of two nodes, too, the one that was logged in to goes on."""
    nodes = [Domain(offer), Domain(offer)]
    t = alone(web, [backend(f"green{i}", n) for i, n in enumerate(nodes)], pool_size=pool_size, pool_reuse="always")
    for turn in range(3):
        with Http(t.address()) as anna, Http(t.address()) as bert:
            log_in(anna, scheme, "anna")
            for _ in range(3):
                assert bert.ask("/").status == 401
                assert anna.ask("/").body == b"anna"
                assert anna.ask("/", method="POST", body="x").body == b"anna"
            log_in(bert, scheme, "bert")
            assert anna.ask("/").body == b"anna" and bert.ask("/").body == b"bert"
        with Http(t.address()) as late:
            assert late.ask("/").status == 401


def test_who_logs_in_unasked_has_a_connection_of_his_own(web, backend):
    """Browsers in a Kerberos realm send their ticket before they are asked for it."""
    domain = Domain("Negotiate")
    t = alone(web, [backend("green", domain)], pool_reuse="always")
    with Http(t.address()) as anna:
        assert anna.ask("/", headers=[("Authorization", "Negotiate TICKET anna")]).body == b"anna"
        with Http(t.address()) as bert:
            assert bert.ask("/").status == 401
        assert anna.ask("/").body == b"anna"


def test_a_login_ends_with_its_client(web, backend):
    domain = Domain("NTLM")
    b = backend("green", domain)
    t = alone(web, [b], pool_idle=0.5)
    with Http(t.address()) as anna:
        log_in(anna, "NTLM", "anna")
        # Longer than others are kept.
        with Http(t.address()) as bert:
            bert.ask("/")
        until(lambda: b.open == 1, "what bert left has grown old")
        assert anna.ask("/").body == b"anna"
    until(lambda: b.open == 0, "it has gone with anna")


# -- one that is still busy -----------------------------------------------------------------

class Busy:
    """Has something left to do after /busy, and reads nothing on its connection
    until then."""

    def __init__(self):
        self.over, self.connections = threading.Event(), 0

    def __call__(self, conn, b):
        reader = Reader(conn)
        self.connections += 1
        while (m := reader.head()) is not None:
            conn.sendall(own(m))
            if m.target == "/busy":
                self.over.wait()


def test_what_another_client_left_to_do_is_not_waited_for(web, backend, closing):
    busy = Busy()
    t = alone(web, [backend("green", busy)], pool_idle=60.0)
    asker = closing.add(Http(t.address()))
    assert asker.ask("/busy").body == b"/busy"
    for i in range(3):
        with Http(t.address()) as other:
            assert other.ask(f"/{i}").body == b"/%d" % i
            assert other.ask("/again").body == b"/again"
    busy.over.set()
    assert asker.ask("/after").body == b"/after"


def test_a_client_keeps_to_its_own_connection(web, backend, closing):
    """As long as nobody else needs it: two who take turns are not in each other's way."""
    seen = {}

    def behave(conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            seen.setdefault(m.target, set()).add(id(conn))
            conn.sendall(own(m))
    t = alone(web, [backend("green", behave)], pool_idle=60.0)
    clients = {name: closing.add(Http(t.address())) for name in ("/anna", "/bert", "/carla")}
    for _ in range(5):
        for name, c in clients.items():
            assert c.ask(name).body == name.encode()
    assert all(len(connections) == 1 for connections in seen.values())
    assert len(set.union(*seen.values())) == 3


def test_kept_connections_may_be_had_at_once(web, backend):
    connections = []

    def behave(conn, b):
        connections.append(conn)
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            conn.sendall(own(m))
    t = alone(web, [backend("green", behave)], pool_idle=60.0, pool_reuse="always")
    for i in range(20):
        with Http(t.address()) as c:
            assert c.ask(f"/{i}").status == 200
    assert len(connections) == 1


# -- ejection -----------------------------------------------------------------------------------

def failing(status):
    def behave(conn, b):
        reader = Reader(conn)
        while reader.head() is not None:
            conn.sendall(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)
    return behave


def good(conn, b):
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        conn.sendall(own(m))


@pytest.mark.parametrize("status", [b"500 x", b"503 x", b"501 x", b"200 x\r\nBad : y"])
def test_bad_answers_are_no_failed_connects(web, backend, status):
    """They are counted, apart; 501 tells of the request, not of the server."""
    sick = backend("sick", failing(status))
    t = alone(web, [sick, backend("well", good)], passive={"failures": 2, "eject": 60.0, "max_ejected": 1})
    with Http(t.address()) as c:
        for _ in range(20):
            c.ask("/")
    m = t.metrics()
    assert m.get("teal_backend_connect_failures_total", backend=sick.address) == 0
    assert m.get("teal_backend_bad_answers_total", backend=sick.address) == (0 if status == b"501 x" else 10)
    t.wait_metric(0, "teal_backend_ejected", backend=sick.address)
    assert not t.log_lines("backend.ejected")


@pytest.mark.parametrize("status", [b"500 x", b"200 x\r\nBad : y"])
def test_a_backend_is_ejected_for_its_answers_where_that_is_wanted(web, backend, status):
    sick = backend("sick", failing(status))
    t = alone(web, [sick, backend("well", good)], passive={"answers": 5, "eject": 60.0, "max_ejected": 1})
    with Http(t.address()) as c:
        until(lambda: c.ask("/") and t.log_lines("backend.ejected"), "it is ejected")
    line = t.wait_log("backend.ejected", backend=sick.address)
    assert line["reason"] == "answers failed" and line["failures"] >= 5
    with Http(t.address()) as c:
        t.wait_metric(1, "teal_backend_ejected", backend=sick.address)
        until(lambda: all(c.ask("/").status == 200 for _ in range(4)), "the others get it all")
