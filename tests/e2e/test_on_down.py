"""on_down and when_all_down: a server that fails its checks goes on answering
those whom it has, as one that was demoted does; they leave it where that is wanted."""
import ctypes
import os
import socket

import pytest

from helpers.clients import Client
from helpers.http1 import Http, site
from helpers.scale import until


def one_on_each(t, greens, closing):
    """A connection of every green, by its name."""
    held = {}
    while len(held) < len(greens):
        c = closing.add(t.connect()).echo()
        held.setdefault(c.peer, c)
    return held


def down(t, b):
    """It refuses what is new, its checks as well, and serves on."""
    b.stop()
    t.wait_log("backend.down", backend=b.address)


@pytest.mark.parametrize("on_down", ["keep", "reset"])
def test_the_connections_of_one_that_is_down(web, backend, closing, on_down):
    greens = [backend("a"), backend("b")]
    t = web(green=greens, on_down=on_down)
    held = one_on_each(t, greens, closing)
    down(t, greens[0])
    if on_down == "reset":
        assert held["a"].read_end()[1] == "reset"
        assert t.wait_log("tcp.session", end="backend_down")["backend"] == greens[0].address
    else:
        held["a"].echo()
    held["b"].echo()
    with t.connect() as c:
        assert c.echo().peer == "b"


@pytest.mark.parametrize("word", ["reject", "refuse"])
def test_nobody_reaches_one_when_all_are_down(web, backend, closing, word):
    greens = [backend("a"), backend("b")]
    t = web(green=greens, on_down="reset", when_all_down=word)
    held = one_on_each(t, greens, closing)
    for b in greens:
        down(t, b)
    assert [held[n].read_end()[1] for n in "ab"] == ["reset"] * 2
    for b in greens:
        assert t.wait_log("tcp.session", end="backend_down", backend=b.address)["bytes_in"] > 0
    until(lambda: t.connect().read_end() == (b"", "eof"), "refused")
    t.wait_log("tcp.session", end="no_backend")


def test_the_last_ones_are_kept_while_they_are_used(web, backend, closing):
    greens = [backend("a")]
    t = web(green=greens, on_down="reset")
    held = one_on_each(t, greens, closing)
    down(t, greens[0])
    held["a"].echo()
    t.ok("flip", "web", "blue")     # another snapshot
    held["a"].echo()


def test_requests_and_upgrades(web, backend, closing):
    """A request that waits is asked anew of another one if that does no harm, else it is answered; a WebSocket's stream is cut."""
    def behave(conn, b):
        text = b""
        while b"\r\n\r\n" not in text:
            text += conn.recv(1000)
        if b"Upgrade" in text:
            conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        b.note(conn, text)
        b.released.wait()

    slow, other = backend("slow", behave), backend("other", site, start=False)
    t = web(green=[slow, other], mode="http", on_down="reset")
    t.wait_log("backend.down", backend=other.address)
    waits, asks, stream = (closing.add(Http(t.address())) for _ in range(3))
    waits.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n")
    asks.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
    stream.send("GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    assert stream.response().status == 101
    until(lambda: slow.sessions == 3, "all are there")
    other.start()
    t.wait_log("backend.up", backend=other.address)
    down(t, slow)
    assert waits.response().status == 502 and asks.response().status == 200
    assert t.wait_log("http.request", backend=other.address, status=200)["retries"] == 1
    t.wait_log("http.request", end="backend_down", backend=slow.address, status=502)
    t.wait_log("tcp.session", end="backend_down", backend=slow.address)
    with pytest.raises(ConnectionResetError):
        stream.sock.recv(1)


PIDFD_GETFD = 438


def user_timeouts(t, peer):
    """TCP_USER_TIMEOUT of teald's connections to that port, in seconds."""
    found, pid = [], os.pidfd_open(t.pid)
    try:
        for name in os.listdir(f"/proc/{t.pid}/fd"):
            fd = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pid, int(name), 0)
            if fd < 0:
                continue
            try:
                s = socket.socket(fileno=fd)
            except OSError:     # no socket
                os.close(fd)
                continue
            with s:
                try:
                    if s.family == socket.AF_INET and s.getpeername()[1] == peer:
                        found.append(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000)
                except OSError:     # a listener
                    pass
    finally:
        os.close(pid)
    return found


@pytest.mark.parametrize("keys, seconds", [
    ({}, 600), ({"idle_timeout": 20.0}, 20), ({"server_timeout": 30.0}, 30), ({"idle_timeout": 0.0}, 0),
    ({"server_timeout": 0.0}, 0), ({"idle_timeout": 7200.0}, 0), ({"tcp": {"user_timeout": 5.0}}, 5),
    ({"tcp": {"user_timeout": 0.0}}, 0), ({"mode": "http", "server_timeout": 5.0}, 60),
    ({"mode": "http", "response_timeout": 0.0}, 0)])
def test_a_backend_that_is_gone_is_noticed_by_the_kernel(web, backend, closing, keys, seconds):
    http = keys.get("mode") == "http"
    green = backend("green", *([site] if http else []))
    t = web(green=[green], health={"type": "none"}, **keys)
    c = closing.add((Http if http else Client)(t.address()))
    if http:
        assert c.ask().status == 200
    else:
        c.echo()
    assert user_timeouts(t, green.port) == [seconds]
