"""Requests go on through upgrades: none fails, none is cut, keep-alive clients are not told to leave."""
import socket
import threading

import pytest

from helpers import scale
from helpers.certificates import Authority
from helpers.http1 import Http, Reader, site
from helpers.scale import scaled, slow, until
from helpers.tealbench import Serve, drill, errors
from helpers.teald import service
from helpers.upgrade import children, gone, upgrade, upgraded


@pytest.fixture
def stage(teal, ports, closing, tmp_path):
    """A supervised teald before two tealbench backends."""
    def make(kind="http", **keys):
        pair = [closing.add(Serve(f"--mode={kind}", f"--name={name}", "--threads=2")) for name in ("green", "blue")]
        keys = {"mode": "http" if kind == "http" else "tcp", "connect_timeout": 60.0} | keys
        t = teal(start=False, services=[service(listen=f"127.0.0.1:{ports.hold()}", green=pair[:1], blue=pair[1:], **keys)],
                 log={"level": "info", "access": False}).start(supervised=True)
        t.at = "%s:%d" % t.address()
        return t
    return make


@pytest.mark.scales
@pytest.mark.long
@pytest.mark.parametrize("mode, kind", [("http", "http"), ("http-close", "http"), ("tcp-connect", "hello")])
def test_not_one_request_is_lost_over_many_upgrades(stage, mode, kind):
    requests, upgrades = scaled(200_000, 4000 // slow()), scaled(67, 4 if slow() == 1 else 2)
    t = stage(kind)
    ws = ("--streams=20", "--stream-rate=100") if kind == "http" else ()
    status, r = drill(t.at, "--during=upgrade", f"--admin={t.admin_path}", f"--mode={mode}", f"--requests={requests}",
                      f"--count={upgrades}", "--connections=32", "--threads=2", "--sources=8", "--late=0", "--timeout=600",
                      "--flip-timeout=120", *ws, timeout=600)
    assert (status, r["verdict"]) == (0, "nothing was lost"), (errors(r), r["samples"], r["upgrades"])
    assert r["turns_made"] == upgrades and r["ok"] >= requests


@pytest.mark.scales
def test_not_one_request_of_tls_clients_is_lost(stage, tmp_path):
    ca = Authority(tmp_path)
    t = stage(tls={"certificates": [ca.issue("web.example")]})
    for mode in ("http", "http-close"):
        status, r = drill(t.at, "--during=upgrade", f"--admin={t.admin_path}", f"--mode={mode}", "--tls", f"--ca={ca.pem}",
                          "--sni=web.example", f"--requests={scaled(50_000, 1500 // slow())}", f"--count={scaled(20, 2)}",
                          "--connections=16", "--late=0", "--timeout=600", "--flip-timeout=120", timeout=600)
        assert (status, r["verdict"]) == (0, "nothing was lost"), (errors(r), r["samples"], r["upgrades"])
        # Their connections could not move; they have left with an answer, and with them the former process.
        until(lambda: children(t) == [t.serving()], "one process is left")


def test_clients_between_two_requests_notice_nothing(stage):
    """Neither those that are idle nor those that have begun to ask; and kept connections to backends go along."""
    t = stage()
    idle, asking = [Http(t.address()) for _ in range(5)], [Http(t.address()) for _ in range(5)]
    for c in idle + asking:
        m = c.ask()
        assert m.status == 200
    for c in asking:
        c.send(b"GET / HTTP/1.1\r\nHo")
    for _ in range(2):
        upgraded(t)
    for c in asking:
        c.send(b"st: x\r\n\r\n")
        m = c.response()
        assert m.status == 200 and m.get("connection") != "close", m
    for c in idle:
        m = c.ask()
        assert m.status == 200 and m.get("connection") != "close", m
    for c in idle + asking:
        c.close()


def test_an_answer_under_way_is_finished_and_then_its_client_is_handed_over(teal, ports, backend):
    """The former process is gone only when the last byte of it was sent."""
    go = threading.Event()

    def half(conn, b):
        while b"\r\n\r\n" in (conn.recv(65536) or b""):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            go.wait(scale.patience())
            conn.sendall(b"world")
    b = backend("half", half)
    t = teal(start=False, services=[service(mode="http", listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[b],
                                            health={"type": "none"})]).start(supervised=True)
    c = Http(t.address())
    c.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert c.sock.recv(1 << 16, socket.MSG_PEEK)
    before, after = upgrade(t)
    go.set()
    m = c.response()
    assert (m.status, m.body) == (200, b"helloworld") and m.get("connection") != "close"
    gone(before)
    assert c.ask().body == b"helloworld"
    c.close()


def test_a_body_on_its_way_to_the_backend_arrives_whole(teal, ports, backend):
    b = backend("site", site)
    t = teal(start=False, services=[service(mode="http", listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[b],
                                            health={"type": "none"})]).start(supervised=True)
    c = Http(t.address())
    c.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50000)
    until(lambda: t.status()["colors"]["green"]["connections"] == 1, "it has a backend")
    before, _ = upgrade(t)
    c.send(b"x" * 50000)
    m = c.response()
    assert m.status == 200
    gone(before)
    c.close()


def test_whoever_waits_for_a_place_keeps_its_turn(teal, ports, backend):
    """Queued clients are handed over and served once there is a place."""
    b = backend("green")
    t = teal(start=False, services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[b], health={"type": "none"},
                                            max_connections=2, queue_timeout=600.0, queue_limit=10)]).start(supervised=True)
    first = [t.connect().echo() for _ in range(2)]
    waiting = []
    for n in range(1, 5):  # one after the other: each worker accepts in its own time
        waiting.append(t.connect())
        until(lambda: t.metrics().get("teal_waiting_connections", service="web") == n, f"{n} wait")
    upgraded(t)
    until(lambda: t.metrics().get("teal_waiting_connections", service="web") == 4, "four wait still")
    for c in first:
        c.echo().close()
    for c in waiting[:2]:
        assert c.echo().peer == "green"
        c.close()
    for c in waiting[2:]:
        assert c.echo().peer == "green"
        c.close()


def test_a_request_that_waits_for_its_answer_costs_its_client_no_connection(teal, ports, backend):
    """It is not told to leave: it is handed over behind the answer, with the requests that it has sent ahead."""
    go = threading.Event()

    def slow_site(conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            reader.body_of(m)
            if m.target == "/slow":
                go.wait(scale.patience())
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(m.target), m.target.encode()))
    b = backend("slow", slow_site)
    t = teal(start=False, services=[service(mode="http", listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[b],
                                            health={"type": "none"})]).start(supervised=True)
    asks, uploads = Http(t.address()), Http(t.address())
    asks.send("".join(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n" for path in ("/slow", "/1", "/2", "/3")))
    uploads.send("POST /up HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    until(lambda: t.status()["colors"]["green"]["connections"] == 2, "both are under way")
    before, after = upgrade(t)
    t.wait_log("upgrade.given")
    go.set()
    uploads.send("lo\r\n0\r\n\r\n")
    answers = [asks.response() for _ in range(4)] + [uploads.response()]
    assert [m.body for m in answers] == [b"/slow", b"/1", b"/2", b"/3", b"/up"]
    assert all(m.get("connection") is None for m in answers), answers
    gone(before)
    for c in (asks, uploads):
        assert c.ask("/next").body == b"/next"
