"""Everything that can go wrong at once: backends and clients that break off
wherever they like, full queues, flips, nodes that come and go.  Afterwards
nothing is left of it: every gauge is back, every place is free."""
import contextlib
import itertools
import os
import select
import socket
import ssl
import threading
import time

import pytest

from helpers import scale
from helpers.backends import reset
from helpers.certificates import Authority
from helpers.http1 import Reader
from helpers.scale import patience, scaled, until
from helpers.teald import service

PLACES = 12
COUNT = itertools.count()

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


def fickle(conn, backend):
    """Answers, more or less."""
    dice = scale.dice(f"{backend.name} {next(COUNT)}")
    reader = Reader(conn)
    conn.settimeout(patience())

    def well():
        conn.sendall(OK % (2, b"ok"))
        return True

    def large():
        n = dice.choice([70000, 300000, 3000000])
        conn.sendall(OK % (n, b"x" * n))
        return True

    def chunks():
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(dice.randrange(20)):
            n = dice.choice([1, 10, 20000])
            conn.sendall(b"%x\r\n%s\r\n" % (n, b"y" * n))
        conn.sendall(b"0\r\nX-T: 1\r\n\r\n")
        return True

    def to_the_end():
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * dice.randrange(100000))
        return False

    def hints():
        conn.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * dice.choice([1, 100]))
        return well()

    def nothing():
        return False

    def cut():
        text = OK % (1000, b"w" * 1000)
        conn.sendall(text[:dice.randrange(len(text))])
        return False

    def cut_hard():
        cut()
        reset(conn)
        return False

    def rubbish():
        conn.sendall(dice.randbytes(100))
        return False

    def unasked():
        conn.sendall(OK % (2, b"ok") + dice.choice([b"more", OK % (6, b"forged")]))
        return True

    def late():
        time.sleep(dice.random() / 2)
        return well()

    def stream():
        conn.sendall(SWITCH + b"hi")
        while data := conn.recv(1 << 16):
            conn.sendall(data)
            if dice.random() < 0.2:
                return False
        return False
    plays = [well] * 8 + [large, chunks, to_the_end, hints, nothing, cut, cut_hard, rubbish, unasked, late, stream]
    while (m := reader.head()) is not None:
        early = dice.random() < 0.1
        if not early:
            if m.get("Expect"):
                conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            try:
                reader.body_of(m)
            except (ValueError, AssertionError):
                # Through TCP mode anything goes.
                backend.misled |= m.get("X-Forwarded-For") is not None
                return
        play = stream if m.get("Upgrade") and dice.random() < 0.7 else dice.choice(plays)
        if m.method == "HEAD":
            play = well
        if not play() or early:
            return


def sockets(t):
    """Those teald has open."""
    def what(fd):
        with contextlib.suppress(FileNotFoundError):
            return os.readlink(f"/proc/{t.pid}/fd/{fd}")
        return ""
    return sum(what(fd).startswith("socket:") for fd in os.listdir(f"/proc/{t.pid}/fd"))


class Storm:
    def __init__(self, t, requests):
        self.t, self.wanted, self.asked, self.faults = t, requests, 0, []
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.threads = [threading.Thread(target=self._play, args=(n,)) for n in range(24)]

    def over(self):
        return self.asked >= self.wanted

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join(patience())
            assert not thread.is_alive()

    def _request(self, dice):
        """The bytes of one, and whether they may be cut."""
        body = b"b" * dice.choice([0, 0, 0, 10, 5000, 300000])
        head = b"%s /%d HTTP/1.1\r\nHost: %s\r\n" % (
            dice.choice([b"GET", b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS"]), dice.randrange(1000),
            dice.choice([b"web.example"] * 8 + [b"other.example"] * 3 + [b"nobody.example"]))
        if dice.random() < 0.1:
            head += b"Connection: Upgrade\r\nUpgrade: echo\r\n"
        if dice.random() < 0.05:
            head += b"Expect: 100-continue\r\n"
        if dice.random() < 0.1:
            head += b"Connection: close\r\n"
        if dice.random() < 0.1:
            head += b"X-Teal-Preview: 1\r\n"
        if dice.random() < 0.05:
            head += dice.choice([b"Transfer-Encoding: gzip\r\n", b"Bad header\r\n", b"A: \0\r\n", b"X: " + b"x" * 70000])
        if dice.random() < 0.3:
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
                b"%x\r\n%s\r\n" % (len(body[i:i + 9999]), body[i:i + 9999]) for i in range(0, len(body), 9999)) + b"0\r\n\r\n"
        return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)

    def _connect(self, dice):
        name, key = dice.choice([("web", "listen"), ("web", "plain_listen"), ("alone", "listen"), ("alone", "preview"),
                                 ("tcp", "listen"), ("tls", "listen")])
        s = socket.create_connection(self.t.address(name, key=key), 10)
        if name in ("web", "tls") and key == "listen":
            how = dice.random()
            if how < 0.1:
                s.sendall(dice.randbytes(50))
            elif how < 0.2:
                s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(dice.randrange(30)))
            else:
                s.settimeout(patience())
                s = self.context.wrap_socket(s, server_hostname="web.example")
        return s

    def _play(self, n):
        dice = scale.dice(n)
        while not self.over():
            with contextlib.suppress(OSError, ssl.SSLError):
                self._one(dice)

    def _one(self, dice):
        s = self._connect(dice)
        s.settimeout(1.0)
        if dice.random() < 0.1:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            for _ in range(dice.choice([1, 1, 2, 5, 30])):
                text = self._request(dice) * dice.choice([1, 1, 1, 3])
                self.asked += 1
                if dice.random() < 0.15:
                    text = text[:dice.randrange(len(text))]
                if dice.random() < 0.1:
                    cut = dice.randrange(len(text) + 1)
                    s.sendall(text[:cut])
                    time.sleep(dice.random() / 20)
                    text = text[cut:]
                s.sendall(text)
                how = dice.random()
                if how < 0.1:
                    s.shutdown(socket.SHUT_WR)
                if how < 0.2:
                    time.sleep(dice.random() / 5)
                for _ in range(dice.choice([0, 1, 1, 3, 50])):
                    if select.select([s], [], [], 0.3)[0] and not s.recv(1 << 16):
                        return
        finally:
            if dice.random() < 0.3:
                reset(s)
            else:
                s.close()


@pytest.mark.scales
@pytest.mark.tsan
def test_nothing_is_left_of_a_storm(teal, backend, ports, tmp_path):
    tls = {"certificates": (Authority(tmp_path).issue("web.example"),)}
    nodes = {n: [backend(f"{n}{i}", fickle) for i in range(2)] for n in ("green", "blue")}
    for n in nodes["green"] + nodes["blue"]:
        n.misled = False
    limits = {"max_connections": PLACES, "queue_timeout": 0.3, "queue_limit": 8, "backend_max_connections": 4,
              "health": {"type": "none"}, "drain": {"timeout": 0.4, "idle": 0.2}, "idle_timeout": 3.0}
    http = {"mode": "http", "header_timeout": 0.5, "keepalive_timeout": 0.5, "response_timeout": 0.5, "pool_idle": 1.0,
            "body_min_rate": 1000, "body_grace": 1.0, "preview_header": "X-Teal-Preview", "preview_allow": ["127.0.0.0/8"]}

    def at():
        return f"127.0.0.1:{ports.hold()}"
    shared = at()
    t = teal(services=[
        service("web", listen=at(), plain_listen=shared, plain="serve", tls=tls, hosts="web.example", **nodes, **limits, **http),
        service("other", listen=shared, hosts="other.example", **nodes, **limits, **http),
        service("alone", listen=at(), preview=at(), **nodes, **limits, **http),
        service("tcp", listen=at(), **nodes, **limits | {"max_connections": 6}),
        service("tls", listen=at(), tls=tls | {"handshake_timeout": 1.0}, **nodes, **limits)],
        log={"level": "info", "access": True})
    names = [s["name"] for s in t.settings["services"]]
    before = sockets(t)
    colors = ["green", "blue"]
    flips = 0
    with Storm(t, scaled(40_000, 600)) as storm:
        while flips < 2 or not storm.over():
            for name in names:
                r = t.ctl("flip", name, colors[0], "--force")
                assert r["ok"], r
            colors.reverse()
            flips += 1
            # Some requests between two flips of all, a few of them begun before.
            asked = storm.asked
            until(lambda: storm.asked > asked + 50 or storm.over(), "the storm goes on")
    for name in names:
        for gauge in ("teal_connections", "teal_places_taken", "teal_waiting_connections", "teal_backend_connections",
                      "teal_draining_connections"):
            t.wait_metric(0, gauge, service=name)
    until(lambda: sockets(t) <= before, "kept connections grow old")
    assert t.metrics().get("teal_connections_total", end="internal") == 0
    assert not any(n.misled for n in nodes["green"] + nodes["blue"])
