"""Answers around the sizes at which Teal changes how it moves them: read at once,
read on, or sent through a pipe without being looked at."""
import random
import socket

import pytest

from helpers.backends import reset
from helpers.certificates import Authority
from helpers.http1 import Http, Reader, chunked, trusting
from helpers.teald import service
from test_http_corners import alone, stopped

K = 1024
# What is read first, and what is worth a pipe, with heads of some 40 to 60 bytes.
EDGES = (16 * K, 64 * K, 80 * K)
SIZES = [0, 1, 4 * K, *(edge + d for edge in EDGES for d in (-64, -50, -1, 0, 1, 100)), 300 * K, 2048 * K]
DATA = random.Random(7).randbytes(max(SIZES))


def answer_of(target):
    """/FRAMING/SIZE -> (head, body) as a backend would send them."""
    framing, size = target.strip("/").split("/")[:2]
    body = DATA[:int(size)]
    if framing == "length":
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body
    if framing == "chunked":
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(body, 100_000)
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", body


def sender(apart):
    def behave(conn, b):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            head, body = answer_of(m.target)
            if apart:
                conn.sendall(head)
                conn.sendall(body)
            else:
                conn.sendall(head + body)
            if m.target.startswith("/close"):
                return
    return behave


@pytest.mark.parametrize("apart", [False, True], ids=["at-once", "head-first"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_every_size_comes_through(web, backend, framing, apart):
    t = alone(web, [backend("green", sender(apart))])
    # Each after a small one and after a large one, for what came last counts.
    order = [s for size in SIZES for s in (size, 2048 * K, size)]
    c = Http(t.address())
    for size in order:
        m = c.ask(f"/{framing}/{size}")
        assert m.status == 200 and m.body == DATA[:size], size
        if framing == "close":
            c.close()
            c = Http(t.address())
    c.close()
    t.wait_metric(0, "teal_places_taken", service="web")


class Cut:
    """A site whose answers to POST are cut by a reset after so many bytes, all of
    which wait with the reset when Teal looks."""

    def __init__(self, sent):
        self.sent = sent
        self.go, self.done = socket.socketpair(), socket.socketpair()

    def __call__(self, conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            reader.body_of(m)
            head, body = answer_of(m.target)
            if m.method == "POST":
                self.go[1].recv(1)
                conn.sendall((head + body)[:self.sent])
                reset(conn)
                self.done[1].send(b"x")
                return
            conn.sendall(head + body)

    def post(self, t, c, target):
        """Posts by that client; what is read of the answer, and how it ended."""
        c.send(f"POST {target} HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        t.wait_metric(1, "teal_places_taken", service="web")
        t.wait_metric(1, "teal_backend_connections", service="web")
        with stopped(t):
            self.go[0].send(b"x")
            self.done[0].recv(1)
        return c.read_end()

    def close(self):
        for s in (*self.go, *self.done):
            s.close()


@pytest.mark.parametrize("bulky", [False, True], ids=["after-small", "after-large"])
@pytest.mark.parametrize("framing, size, sent", [
    (framing, size, sent)
    for framing, size in (("length", 100 * K), ("length", 60 * K), ("chunked", 100 * K), ("close", 100 * K))
    for sent in (16 * K, 16 * K + 1, 40 * K, 64 * K, 90 * K) if sent < size])
def test_one_that_is_cut_short_never_looks_whole(web, backend, closing, framing, size, bulky, sent):
    cut = closing.add(Cut(sent))
    t = alone(web, [backend("green", cut)])
    c = closing.add(Http(t.address()))
    if bulky:
        assert c.ask(f"/length/{2048 * K}").body == DATA[:2048 * K]
    got, how = cut.post(t, c, f"/{framing}/{size}")
    assert got.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 502 "))
    if got.startswith(b"HTTP/1.1 200 "):
        assert how == "reset" and len(got) < size


def test_cut_short_for_a_tls_client_after_a_large_one_without(teal, backend, ports, closing, tmp_path):
    """They share a worker's guess at what comes, but not the pipe."""
    certificate = Authority(tmp_path).issue("web.example")
    cut = closing.add(Cut(16 * K))
    keys = {"tls": {"certificates": (certificate,)}, "plain": "serve",
            "plain_listen": f"127.0.0.1:{ports.hold()}", "health": {"type": "none"}}
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[backend("green", cut)],
                               blue=[backend("blue", cut)], mode="http", **keys)], workers=1)
    with Http(t.address(key="plain_listen")) as plain:
        assert plain.ask(f"/length/{2048 * K}", host="web.example").body == DATA[:2048 * K]
    t.wait_metric(0, "teal_places_taken", service="web")
    c = closing.add(Http(t.address(), tls=trusting(), server_name="web.example"))
    got, how = cut.post(t, c, f"/close/{100 * K}")
    assert got.startswith(b"HTTP/1.1 502 "), how
