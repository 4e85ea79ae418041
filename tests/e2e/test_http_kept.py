"""Connections to backends that are kept for the next request: whose they are, and
what makes one useless."""
import ssl
import threading

import pytest

from helpers.certificates import Authority
from helpers.hold import stopped
from helpers.http1 import Http, Reader

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
