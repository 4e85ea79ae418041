"""Peers that stop in the middle of something, in every way there is: whatever
they wait for, teald waits too, and does nothing meanwhile."""
import concurrent.futures
import contextlib
import itertools
import socket
import threading
import time

from helpers.backends import reset
from helpers.certificates import Authority, hello
from helpers.http1 import trusting
from helpers.scale import patience, until
from helpers.teald import service

GET = b"GET /%s HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: web\r\nContent-Length: 50000000\r\n\r\n"
UPGRADE = b"GET /%s HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"


def fill(s):
    """Sends until nobody takes more, or that comes to no end."""
    s.settimeout(0.1)
    end = time.monotonic() + 2.0
    try:
        while time.monotonic() < end:
            s.send(b"x" * 65536)
    except OSError:     # or is there to take it
        pass


def half(s):
    """No more from us, without TLS's goodbye where there is TLS."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(s, socket.SHUT_WR)


# Connections whose backend still does something.
acting = set()


def exit_thread():
    raise ConnectionError("it ended before it said what it wants")


def backend_of(what):
    """What the backend does, by the request's path, or its first word."""
    def behave(conn, b):
        text = b""
        while b"\n" not in text:
            text += conn.recv(1) or exit_thread()
        word = text.split()[1 if b"HTTP" in text else 0].strip(b"/").decode("latin-1")
        if b"HTTP" in text and not word.startswith("deaf"):
            while b"\r\n\r\n" not in text:
                text += conn.recv(1) or exit_thread()
        acting.add(threading.current_thread())
        try:
            play(conn, word, b"HTTP" in text)
        finally:
            acting.discard(threading.current_thread())
        if "reset" not in word:
            b.released.wait()

    def play(conn, word, http):
        if word.startswith("switch"):
            conn.sendall(SWITCH)
        for act in word.split("-"):
            if act == "half":
                conn.shutdown(socket.SHUT_WR)
            elif act == "reset":
                reset(conn)
                return
            elif act == "some":
                conn.sendall(HUGE + b"x" * 1000)
            elif act == "fill":
                conn.sendall(HUGE if http else b"")
                fill(conn)
            elif act == "hints":
                conn.settimeout(0.1)
                try:
                    while True:
                        conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000)
                except TimeoutError:
                    pass
    return behave


def test_nobody_keeps_it_busy(teal, backend, ports, closing, tmp_path):
    authority = Authority(tmp_path)
    nodes = {n: [backend(n, backend_of(n), rcvbuf=16384)] for n in ("green", "blue")}
    calm = {"health": {"type": "none"}, "max_connections": 1000}
    tls = {"certificates": (authority.issue("web"),)}

    def at():
        return f"127.0.0.1:{ports.hold()}"
    t = teal(services=[
        service("http", listen=at(), mode="http", header_timeout=60.0, body_min_rate=0, **nodes, **calm),
        service("https", listen=at(), mode="http", header_timeout=60.0, body_min_rate=0, tls=tls, **nodes, **calm),
        service("tcp", listen=at(), **nodes, **calm),
        service("tls", listen=at(), tls=tls | {"handshake_timeout": 60.0}, **nodes, **calm),
        service("proxied", listen=at(), **nodes, **calm,
                proxy_protocol={"accept_from": ["127.0.0.0/8"], "header_timeout": 60.0}),
        service("full", listen=at(), mode="http", **nodes, **calm | {"max_connections": 1, "queue_timeout": 60.0}),
        service("crowded", listen=at(), mode="http", backend_max_connections=1, queue_timeout=60.0, **nodes, **calm)], workers=1)

    def raw(name):
        s = closing.add(socket.create_connection(t.address(name), patience()))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        return s

    def open_to(name):
        s = raw(name)
        if name in ("https", "tls"):
            s = closing.add(trusting(authority.pem).wrap_socket(s, server_hostname="web"))
        return s

    words = ["mute", "half", "some", "some-half", "fill", "fill-half", "fill-reset", "deaf", "deaf-half", "hints",
             "hints-reset", "switch", "switch-half", "switch-fill", "switch-fill-half", "switch-fill-reset"]

    def stop_in_the_middle(case):
        name, word, end = case
        s = open_to(name)
        if name in ("tcp", "tls"):
            s.sendall(word.encode() + b"\n")
        else:
            s.sendall((UPGRADE if "switch" in word else POST if end.startswith("fill") else GET) % word.encode())
        if end.startswith("fill"):
            fill(s)
        if end.endswith("half"):
            half(s)
        if end == "reset":
            reset(s)
    cases = [(name, word, end)
             for name, word, end in itertools.product(("http", "https", "tcp", "tls"), words,
                                                      ("", "half", "fill half", "reset"))
             if (name.startswith("http") or word.split("-")[0] not in ("hints", "switch", "some"))
             and (name in ("http", "tcp") or word in ("mute", "some", "fill", "fill-half", "switch-fill"))]
    with concurrent.futures.ThreadPoolExecutor(24) as many:
        list(many.map(stop_in_the_middle, cases))
    # Those that have not got so far.
    for name in ("http", "https", "tcp", "tls", "proxied"):
        for text in (b"", b"G", b"\x16", hello("web")[:50], hello("web"), b"GET / HTTP/1.1\r\nHost", b"PROXY TCP4 1."):
            for end in (None, half):
                s = raw(name)
                s.sendall(text)
                if end:
                    end(s)
    for name in ("full", "crowded"):
        for i in range(3):
            for end in (None, half):
                s = raw(name)
                s.sendall(GET % b"mute")
                if i == 1:
                    s.sendall(GET % b"mute")
                elif i == 2:
                    fill(s)
                if end:
                    end(s)
    for path in ("/events", "/metrics", "/", "/nowhere"):
        for end in (None, half):
            s = closing.add(socket.create_connection(t.observe, patience()))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            if end:
                end(s)
    for line in (b"", b"sta", b"status\n", b"events\n", b"events\nstatus\n" * 100):
        for end in (None, half):
            s = closing.add(socket.socket(socket.AF_UNIX))
            s.connect(t.admin_path)
            s.sendall(line)
            if end:
                end(s)
    # What backends do takes a while of its own: they have to be done with it.
    until(lambda: not acting, "the backends are done")
    t.rest()
    assert t.http("/healthz")[0] == 200
    t.rest()
