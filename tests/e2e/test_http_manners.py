"""What clients and backends do that is allowed, or usual, and seldom thought of: bodies that wait
to be asked for, ends that come early, requests that are meant for the proxy itself."""
import contextlib
import json
import select
import socket
import threading

import pytest

from helpers.backends import reset
from helpers.http1 import Http, Reader, chunked, requests_of, site
from helpers.scale import patience, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture
def stage(web, backend):
    """stage(behaviour…): teald with one worker before these."""
    def make(*behaviours, **keys):
        nodes = [backend(f"green{i}", b) for i, b in enumerate(behaviours or [site])]
        return web(**({"mode": "http", "green": nodes, "health": {"type": "none"}, "top": {"workers": 1}} | keys))
    return make


def scripted(*steps):
    """A backend that does with its n-th connection what the n-th function does."""
    lock, count = threading.Lock(), [0]

    def behave(conn, b):
        with lock:
            step = steps[min(count[0], len(steps) - 1)]
            count[0] += 1
        step(conn, b, Reader(conn))
    return behave


def request(method="GET", target="/", *lines, body=b""):
    head = "".join(f"{l}\r\n" for l in (f"{method} {target} HTTP/1.1", "Host: web", *lines))
    return (head + "\r\n").encode() + body


# ---- for the proxy itself (RFC 9110 section 7.6.2) ----

def test_max_forwards_ends_here(stage):
    t = stage()
    with Http(t.address()) as c:
        a = c.send(request("OPTIONS", "*", "Max-Forwards: 0")).response()
        assert a.status == 200 and b"Max-Forwards" in a.body
        a = c.send(request("OPTIONS", "/", "Max-Forwards: 000")).response()
        assert a.status == 200
        # Nobody gets his cookies back.
        a = c.send(request("TRACE", "/", "Max-Forwards: 0", "Cookie: secret=1")).response()
        assert (a.status, a.get("Allow")) == (405, "OPTIONS") and b"secret" not in a.body
        assert requests_of(t.green) == []
        # The same connection goes on; and what is not 0 goes on as well, one less.
        for method, lines, left in (("OPTIONS", ["Max-Forwards: 1"], ["0"]), ("TRACE", ["Max-Forwards: 10"], ["9"]),
                                    ("OPTIONS", ["Max-Forwards: x"], ["x"]), ("OPTIONS", [], []),
                                    ("GET", ["Max-Forwards: 0"], ["0"])):
            assert c.send(request(method, "/", *lines)).response().status == 200
            assert requests_of(t.green)[-1].all("Max-Forwards") == left
    log = t.wait_log("http.request", status=200, method="OPTIONS")
    assert (log["end"], log["backend"]) == ("done", "")


def test_max_forwards_with_a_body_that_is_not_there_yet(stage):
    t = stage()
    with Http(t.address()) as c:
        a = c.send(request("OPTIONS", "/", "Max-Forwards: 0", "Content-Length: 10")).response()
        assert (a.status, a.get("Connection")) == (200, "close") and c.ended
    assert requests_of(t.green) == []


def test_what_came_of_a_bad_request_is_counted(stage):
    t = stage()
    bad = b"GET /x HTTP/1.1\r\nHost: web\r\nBad Header: 1\r\n\r\n"
    with Http(t.address()) as c:
        assert c.send(bad).response().status == 400
    with Http(t.address()) as c:
        for i in range(0, len(bad), 10):
            c.send(bad[i:i + 10])
        assert c.response().status == 400
    t.wait_log("http.request", 2, status=400)
    for line in t.log_lines("http.request", status=400):
        assert (line["method"], line["path"]) == ("GET", "/x") and 30 <= line["bytes_in"] <= len(bad)


# ---- Expect: 100-continue ----

def asks_for_the_body(conn, b, reader):
    while (m := reader.head()) is not None:
        conn.sendall(CONTINUE)
        reader.body_of(m)
        b.note(conn, m.body)
        conn.sendall(OK)


EXPECT = ("Expect: 100-continue", "Content-Length: 5")


def test_bodies_that_wait_and_bodies_that_do_not(stage):
    t = stage(scripted(asks_for_the_body))
    with Http(t.address()) as c:
        for split in (0, 3, 5):
            c.send(request("POST", "/", *EXPECT, body=b"hello"[:split]))
            if split == 0:
                assert Reader(c.sock).head().status == 100
            if split < 5:
                c.send(b"hello"[split:])
            assert c.response().body == b"ok"
        # Behind one another, with nothing waited for.
        c.send(request("POST", "/", *EXPECT, body=b"hello") * 5)
        assert [c.response().status for _ in range(5)] == [200] * 5
    assert t.green.received == 8 * 5


def test_an_answer_instead_of_being_asked(stage):
    """The body was not sent: nothing can follow on either side."""
    t = stage(scripted(lambda conn, b, reader: (reader.head(), conn.sendall(OK), conn.recv(1))))
    with Http(t.address()) as c:
        a = c.send(request("POST", "/", *EXPECT)).response()
        assert (a.status, a.get("Connection")) == (200, "close") and c.ended
    t.wait_log("http.request", status=200, end="done")


def test_http_1_0_is_asked_for_nothing(stage):
    t = stage(scripted(asks_for_the_body))
    with Http(t.address()) as c:
        c.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        assert Reader(c.sock).head().status == 200


def test_a_backend_that_asks_for_nothing_is_not_waited_for_for_ever(stage):
    """It is its turn: response_timeout, as for an answer."""
    t = stage(scripted(lambda conn, b, reader: (b.note(conn, reader.head().target.encode()), conn.recv(1))),
              clock=True, response_timeout=3.0)
    with Http(t.address()) as c:
        c.send(request("POST", "/", *EXPECT))
        until(lambda: t.green.sessions == 1, "it is asked")
        t.clock.move(3)
        assert c.response().status == 504
    assert t.wait_log("http.request")["end"] == "response_timeout"
    # A client that has begun to send has its own time.
    with Http(t.address()) as c:
        c.send(request("POST", "/", *EXPECT, body=b"he"))
        until(lambda: t.green.sessions == 2, "it is asked")
        t.clock.move(4)
        assert not select.select([c.sock], [], [], 0)[0]


def test_a_body_that_was_not_sent_yet_is_not_lost_with_a_kept_connection(stage):
    """The backend closes it just then: the head goes to another connection."""
    def once(conn, b, reader):
        reader.body_of(reader.head())
        conn.sendall(OK)
        b.note(conn, b"1")
        reader.head()
        b.note(conn, b"2")
    t = stage(scripted(once, asks_for_the_body))
    with Http(t.address()) as c:
        assert c.ask().body == b"ok"
        c.send(request("PUT", "/", *EXPECT))
        until(lambda: t.green.received == 2, "it was sent to the first")
        assert Reader(c.sock).head().status == 100
        assert c.send(b"hello").response().body == b"ok"
    assert t.wait_log("http.request", method="PUT")["retries"] == 1


# ---- bodies that nobody takes ----

def test_a_backend_that_takes_no_body_is_not_waited_for_for_ever(stage):
    over = threading.Event()
    t = stage(scripted(lambda conn, b, reader: (reader.head(), over.wait(4 * patience()))), response_timeout=0.5)
    with Http(t.address()) as c:
        c.send(request("POST", "/", "Content-Length: 1000000000"))
        # What is sent behind the answer is thrown away, so do not send for ever.
        while not select.select([c.sock], [], [], 0)[0]:
            select.select([c.sock], [c.sock], [])
            with contextlib.suppress(BlockingIOError):
                c.sock.send(b"x" * 65536, socket.MSG_DONTWAIT)
        assert c.response().status == 504
    assert t.wait_log("http.request")["end"] == "response_timeout"
    over.set()


def test_one_that_takes_it_slowly_is(stage):
    """Its time begins anew with every piece."""
    def slowly(conn, b, reader):
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        m, got = reader.head(), len(reader.rest)
        while got < int(m.get("Content-Length")):
            before, got = got, got + len(conn.recv(1 << 18))
            if got >> 20 > before >> 20:
                t.clock.move(20)
        conn.sendall(OK)
    t = stage(scripted(slowly), clock=True, response_timeout=300.0, body_min_rate=0)
    size = 24 << 20
    with Http(t.address()) as c:
        c.send(request("POST", "/", f"Content-Length: {size}"))
        c.send(b"x" * size)
        assert c.response().body == b"ok"
    assert t.wait_log("http.request")["seconds"] > 300


# ---- clients that end ----


def test_what_was_asked_ahead_is_answered_to_who_then_closes_its_half(stage):
    t = stage()
    with Http(t.address()) as c:
        c.send(b"".join(request("GET", f"/{i}") for i in range(20)))
        c.sock.shutdown(socket.SHUT_WR)
        answers = [c.response() for _ in range(20)]
        assert [a.body for a in answers] == [b"green0"] * 20 and c.ended
    assert [r.target for r in requests_of(t.green)] == [f"/{i}" for i in range(20)]


@pytest.mark.parametrize("what", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"],
                         ids=["before-the-answer", "in-the-middle"])
def test_the_backend_learns_that_a_client_has_gone(stage, what):
    """As it would without teald: a stream of events without events would go on for
    idle_timeout.  It is nobody's fault, and nobody else is asked."""
    seen = []

    def listens(conn, b, reader):
        seen.append(reader.head().target)
        conn.sendall(what)
        seen.append(conn.recv(1))
        conn.close()
    t = stage(scripted(listens), scripted(listens), passive={"failures": 1, "max_ejected": "100%"})
    with Http(t.address()) as c:
        c.send(request("GET", "/events"))
        until(lambda: len(seen) == 1, "it was asked")
        if what:
            assert Reader(c.sock).head().status == 200
    until(lambda: seen == ["/events", b""], "it was told")
    line = t.wait_log("http.request", end="client_gone")
    assert line["retries"] == 0
    t.wait_metric(0, "teal_backend_connections", service="web", color="green")
    assert not t.log_lines("backend.ejected")


def test_an_answer_still_reaches_who_only_closed_its_half(stage):
    def answers(conn, b, reader):
        m = reader.body_of(reader.head())
        assert conn.recv(1) == b""
        conn.sendall(OK if m.body == b"hello" else b"")
    t = stage(scripted(answers))
    with Http(t.address()) as c:
        c.send(request("POST", "/", "Content-Length: 5", body=b"hello"))
        c.sock.shutdown(socket.SHUT_WR)
        assert c.response().body == b"ok" and c.ended


def test_who_leaves_does_not_wait_in_line(stage):
    t = stage(scripted(lambda conn, b, reader: (b.note(conn, reader.head().target.encode()),
                                                b.released.wait(4 * patience()), conn.sendall(OK))),
              backend_max_connections=1, queue_timeout=60.0)
    with Http(t.address()) as first, Http(t.address()) as third:
        first.send(request("GET", "/1"))
        until(lambda: t.green.received == 2, "the first has the place")
        with Http(t.address()) as second:
            second.send(request("GET", "/2"))
            t.wait_metric(1, "teal_waiting_connections", service="web")
        t.wait_log("http.request", path="/2", end="client_gone")
        t.wait_metric(0, "teal_waiting_connections", service="web")
        third.send(request("GET", "/3"))
        t.green.released.set()
        assert first.response().body == third.response().body == b"ok"
    assert t.green.received == 4


# ---- old clients ----

@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_http_1_0_is_told_of_no_transfer_coding(stage, method):
    def answers(conn, b, reader):
        while (m := reader.head()) is not None:
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
                         + (chunked(b"hello") if m.method == "GET" else b""))
    t = stage(scripted(answers))
    with Http(t.address()) as c:
        a = c.ask(method=method, version="1.0", headers=[("Connection", "keep-alive")])
        assert (a.get("Transfer-Encoding"), a.get("Trailer")) == (None, None)
        assert a.body == (b"hello" if method == "GET" else b"")


def test_http_1_0_keeps_its_connection_if_it_asks_to(stage):
    t = stage()
    with Http(t.address()) as c:
        for _ in range(3):
            a = c.ask(version="1.0", headers=[("Connection", "keep-alive")])
            assert (a.body, a.get("Connection")) == (b"green0", "keep-alive")
        a = c.ask(version="1.0")
        assert a.body == b"green0" and c.ended


# ---- a flip in the middle of what was asked ahead ----

def test_requests_asked_ahead_move_with_a_flip(web, backend):
    def answers(conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            if m.target == "/holds":
                b.note(conn, b"x")
                b.released.wait(4 * patience())
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(b.name), b.name.encode()))
    t = web(mode="http", green=[backend("green", answers)], blue=[backend("blue", answers)], drain={"timeout": 60.0})
    with Http(t.address()) as c:
        c.send(request("GET", "/1") + request("GET", "/holds") + b"".join(request("GET", "/2") for _ in range(50)))
        until(lambda: t.green.received, "the second is with green")
        t.ok("flip", "web", "blue")
        t.green.released.set()
        assert [c.response().body for _ in range(52)] == [b"green"] * 2 + [b"blue"] * 50


# ---- what backends say besides ----

@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("answer, method", [(b"HTTP/1.1 204 No Content\r\n\r\n", "GET"),
                                            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", "GET"),
                                            (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "HEAD")])
def test_a_body_where_none_may_be_reaches_nobody(stage, answer, method, late):
    told = threading.Event()

    def answers(conn, b, reader):
        reader.head()
        conn.sendall(answer + (b"" if late else b"evil"))
        if late:
            told.wait(patience())
            conn.sendall(b"evil")
        with contextlib.suppress(ConnectionResetError):
            conn.recv(1)
        b.note(conn, b"x")
    t = stage(scripted(answers, lambda conn, b, reader: (reader.head(), conn.sendall(OK))))
    with Http(t.address()) as c:
        assert c.ask(method=method).body == b""
        told.set()
        until(lambda: t.green.received, "the connection is not kept")
        assert c.ask().body == b"ok"


def test_a_reset_behind_a_whole_answer_is_no_harm(stage):
    t = stage(scripted(lambda conn, b, reader: (reader.head(), conn.sendall(OK), reset(conn))))
    with Http(t.address()) as c:
        assert [c.ask().body for _ in range(10)] == [b"ok"] * 10
    assert {json.dumps(l["end"]) for l in (t.wait_log("http.request", 10), *t.log_lines("http.request"))} == {'"done"'}
