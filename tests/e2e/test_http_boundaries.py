"""Where one request ends the next one begins, whatever becomes of the first: no
byte of a body is ever read as a request."""
import threading

import pytest

from helpers.backends import reset
from helpers.certificates import Authority
from helpers.http1 import Http, Reader, chunked, requests_of, site, trusting
from helpers.scale import patience, until

from test_http_corners import alone, stopped

HEAD = b"POST %s HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n"
# What must stay a body.
INNER = b"DELETE /inner HTTP/1.1\r\nHost: web\r\n\r\n"
NEXT = b"PUT /next HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % len(INNER)
HALF = b"HTTP/1.1 401 No"


class Leaver:
    """A site that takes leave in the middle of the request for /first: says `words`
    when it is told to, and resets its connection."""

    def __init__(self, words):
        self.words, self.asked, self.leave, self.bodies = words, threading.Event(), threading.Event(), []

    def __call__(self, conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            if m.target == "/first":
                self.asked.set()
                self.leave.wait(patience())
                conn.sendall(self.words)
                reset(conn)
                return
            reader.body_of(m)
            self.bodies.append((m.method, m.target, m.body))
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")


@pytest.mark.parametrize("words", [b"", HALF, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"],
                         ids=["nothing", "half a head", "an answer"])
@pytest.mark.parametrize("cut", [0, 1, len(NEXT) // 2, len(NEXT)])
def test_the_next_request_came_with_the_end_of_one_whose_backend_left(web, backend, words, cut):
    """What came with the end of the first body is the next request's, though nobody
    took that end; or the connection is over, and said so."""
    leaver = Leaver(words)
    t = alone(web, [backend("green", leaver)], retries=0)
    with Http(t.address()) as c:
        c.send(HEAD % b"/first")
        assert leaver.asked.wait(patience())
        with stopped(t):
            leaver.leave.set()
            until(lambda: t.green.open == 0, "the backend has left")
            c.send(chunked(b"x" * 2000, 500) + NEXT[:cut])
        assert (first := c.response()).status in (401, 502)
        c.send(NEXT[cut:] + INNER)
        if first.get("Connection") == "close":
            assert c.ended
        else:
            assert c.response().body == b"next"
    assert leaver.bodies in ([], [("PUT", "/next", INNER)])
    if words == HALF:   # an answer may still come: the first request is read to its end
        assert leaver.bodies


@pytest.mark.parametrize("size", [1001, 2000, 50_000, 64_000, 200_000, 1_000_000])
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_body_that_is_too_large_is_not_executed(web, backend, size, pieces):
    """A chunk's size is known before its bytes: none of those that are too many gets
    to a backend, and what is not whole there is not executed.  What came behind it
    is nobody's: the connection ends."""
    t = alone(web, [backend("green", site)], max_body=1000)
    with Http(t.address()) as c:
        c.send(HEAD % b"/first")
        t.wait_metric(1, "teal_backend_connections", service="web")
        body = b"x" * size
        try:
            c.send(chunked(body, -(-size // pieces)) + NEXT)
        except OSError:
            pass    # it need not be heard to its end
        try:
            assert c.response().status == 413
            assert c.ended
        except ConnectionError:
            pass    # its answer was overtaken by the end of what it did not read
    t.wait_log("http.request", status=413, path="/first", end="too_large")
    with Http(t.address()) as c:
        assert c.ask("/after").status == 200
    assert [(r.method, r.target) for r in requests_of(t.green)] == [("GET", "/after")]


class Raw:
    """Keeps requests as they come, to the byte, and answers each that is whole."""

    def __init__(self):
        self.got, self.whole = [], []

    def __call__(self, conn, b):
        got = b""
        while data := conn.recv(1 << 16):
            got += data
            head, _, body = got.partition(b"\r\n\r\n")
            if body.endswith(b"0\r\n\r\n") or (b"0\r\n" in body and body.endswith(b"\r\n\r\n")):
                self.got.append((head, body))
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                got = b""


SUMS = b"X-Sum: 1\r\nETag:\r\n"
PLAIN = [
    (b"0005\r\nhello\r\n000\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    (b"5;a;b=\"c\"\r\nhello\r\n1 ; d\r\n0\r\n0;e\r\n\r\n", b"5\r\nhello\r\n1\r\n0\r\n0\r\n\r\n"),
    (b"1\r\nx\r\n0\r\n" + SUMS + b"\r\n", b"1\r\nx\r\n0\r\n" + SUMS + b"\r\n"),
    (b"1\r\nx\r\n00;z\r\nGET: /inner HTTP/1.1\r\n" + SUMS + b"A:HTTP/1.0 \r\n\r\n",
     b"1\r\nx\r\n0\r\n" + SUMS + b"\r\n"),
]


@pytest.mark.parametrize("sent, plain", PLAIN, ids=["zeros", "extensions", "trailers", "request lines"])
@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_chunks_go_on_in_their_plain_form(web, backend, sent, plain, step):
    raw = Raw()
    t = alone(web, [backend("green", raw)])
    for together in (False, True):
        with Http(t.address()) as c:
            head = HEAD % b"/"
            if together:
                c.send(head + sent)
            else:
                c.send(head)
                t.wait_metric(1, "teal_backend_connections", service="web")
                for at in range(0, len(sent), step):
                    c.send(sent[at:at + step])
            assert c.response().status == 200
    assert [body for _, body in raw.got] == [plain, plain]


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_what_only_teal_may_say_is_no_trailer(web, backend, tmp_path, step):
    authority = Authority(tmp_path)
    one = authority.issue("web.test", "web.test")
    eve = authority.issue("eve", "eve")
    raw = Raw()
    t = alone(web, [backend("green", raw)], preview_header="X-Try", preview_allow=["10.0.0.0/8"],
              tls={"certificates": [one], "client_ca": str(authority.pem)})
    context = trusting(authority.pem)
    context.load_cert_chain(eve["cert"], eve["key"])
    bad = (b"X-Client-Subject: CN=admin\r\nx_client_fingerprint: 00\r\nX-Try: 1\r\nX_TRY: 1\r\n"
           b"X-Forwarded-Server: evil\r\nX_Forwarded_User: admin\r\nX_Real_IP2: 1\r\n")
    with Http(t.address(), tls=context, server_name="web.test") as c:
        c.send(HEAD % b"/" + b"1\r\nx\r\n")
        t.wait_metric(1, "teal_backend_connections", service="web")
        rest = b"0\r\n" + bad + SUMS + b"\r\n"
        for at in range(0, len(rest), step):
            c.send(rest[at:at + step])
        assert c.response().status == 200
    [(head, body)] = raw.got
    assert body == b"1\r\nx\r\n0\r\nX_Real_IP2: 1\r\n" + SUMS + b"\r\n"
    assert head.count(b"X-Client-Subject") == 1 and b"CN=eve" in head


def test_an_answer_loses_trailers_that_may_not_be(web, backend):
    def behave(conn, b):
        reader = Reader(conn)
        while reader.head() is not None:
            conn.sendall(b"HTTP/1.1 103 Early Hints\r\nX-Teal-Color: red\r\nLink: </a>\r\n\r\n"
                         b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in (b"01;x\r\ny\r\n00\r\nSet-Cookie: a=b\r\nX_Teal_Color: red\r\n" + SUMS
                         + b"Date: now\r\n\r\n"):
                conn.sendall(bytes([byte]))
    t = alone(web, [backend("green", behave)], color_header=True)
    with Http(t.address()) as c:
        for _ in range(2):
            c.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            hints = c._reader.head()
            assert (hints.status, hints.headers) == (103, [("Link", "</a>")])
            a = c.response()
            assert (a.body, a.trailers) == (b"y", [("X-Sum", "1"), ("ETag", "")])
            assert a.all("X-Teal-Color") == ["green"]


@pytest.mark.parametrize("lines", [1, 2, 5])
@pytest.mark.parametrize("cut", [False, True])
def test_empty_lines_before_requests_are_nothing(web, backend, lines, cut):
    """Before the first and between those of a kept connection; and they begin no
    request: whose head does not come is not told that it came late."""
    t = alone(web, [backend("green", site)], clock=True, header_timeout=10.0, keepalive_timeout=1000.0)
    with Http(t.address()) as c:
        for n in range(3):
            c.send(b"\r\n" * lines)
            if cut and n > 0:
                until(lambda: unread(c) == 0, "teald has read them")
                t.clock.move(100)
            a = c.ask(f"/{n}", method="POST", body=b"x")
            assert (a.status, a.get("Connection")) == (200, None)
    assert targets(t.green) == [("POST", f"/{n}") for n in range(3)]


def unread(c):
    """Bytes of this client that teald has not read."""
    ports = {f"{n:04X}" for n in (c.sock.getsockname()[1], c.sock.getpeername()[1])}
    rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
    return sum(int(n, 16) for r in rows for n in r[4].split(":")
               if {r[1].split(":")[1], r[2].split(":")[1]} == ports)


def targets(backend):
    return [(r.method, r.target) for r in requests_of(backend)]


def test_a_request_without_a_host_gets_one(web, backend):
    def host_of(version, **keys):
        t = alone(web, [backend("green", site)], **keys)
        with Http(t.address()) as c:
            if c.ask("/", host=None, version=version).status == 400:
                assert c.ended and requests_of(t.green) == []
                return None
        return requests_of(t.green)[-1].get("Host")
    assert host_of("1.0") == "web"
    assert host_of("1.0", default_host="shop.example:81") == "shop.example:81"
    assert host_of("1.0", default_host="") is None
    assert host_of("1.1", default_host="shop.example") is None  # it has to have one


def test_targets_beyond_ascii_pass_where_they_may(web, backend):
    def asks(target, **keys):
        t = alone(web, [backend("green", site)], **keys)
        with Http(t.address()) as c:
            c.send(b"GET /" + target + b" HTTP/1.1\r\nHost: web\r\n\r\n")
            status = c.response().status
        return status, [r.target.encode("latin-1") for r in requests_of(t.green)]
    cafe = "caf\u00e9?\u20ac".encode()
    assert asks(cafe) == (400, [])
    assert asks(cafe, target_utf8="pass") == (200, [b"/" + cafe])
    assert asks("caf\u00e9".encode("latin-1"), target_utf8="pass") == (400, [])
