"""Where one request ends the next one begins, whatever becomes of the first: no
byte of a body is ever read as a request."""
import threading

import pytest

from helpers.backends import reset
from helpers.http1 import Http, Reader, chunked
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
