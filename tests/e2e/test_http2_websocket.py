"""WebSockets over HTTP/2 (RFC 8441): an extended CONNECT of a client is an upgrade of HTTP/1.1 to the backend."""
import base64
import hashlib
import socket
import struct
import threading

import pytest

from helpers import http2
from helpers.http1 import Http, Reader, requests_of
from helpers.http2 import Http2
from helpers.reload import change
from helpers.scale import patience, until
from helpers.upgrade import gone, upgrade

GOING_AWAY = b"\x88\x02\x03\xe9"
BIG = 1 << 20


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def ws_site(conn, backend):
    """Switches and gives back what comes, and at its end b"bye"; other things by the path."""
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        if m.target != "/early":
            reader.body_of(m)
        with backend.lock:
            vars(backend).setdefault("requests", []).append(m)
        if m.target == "/slow":
            backend.go.wait(patience())
        if not m.get("Upgrade") or m.target in ("/flat", "/none"):
            conn.sendall(b"HTTP/1.1 %s\r\nContent-Length: 5\r\n\r\nhello" % (b"404 None" if m.target == "/none" else b"200 OK"))
            continue
        accept = accept_of(m.get("Sec-WebSocket-Key") if m.target != "/wrong" else "x")
        # Before its client knows: in the order in which they were opened.
        with backend.lock:
            backend.ends.append(conn)
        conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     b"Sec-WebSocket-Accept: %s\r\nX-Color: %s\r\n\r\n" % (accept, backend.name.encode()) +
                     (b"\x82\x05first" if m.target == "/first" else b""))
        if m.target == "/stuck":
            backend.go.wait(patience())
        try:
            while piece := conn.recv(1 << 16):
                backend.got += len(piece)
                conn.sendall(piece)
            conn.sendall(b"bye")
            backend.said = "end"
        except OSError:
            backend.said = "reset"
        return


@pytest.fixture
def stage(web, backend):
    def make(**keys):
        sides = []
        for color in ("green", "blue"):
            b = backend(color, ws_site)
            b.go, b.ends, b.got, b.said = threading.Event(), [], 0, None
            sides.append(b)
        return web(green=[sides[0]], blue=[sides[1]],
                   **{"mode": "http", "h2c": True, "idle_timeout": 0, "drain": {"timeout": 0.0}} | keys)
    return make


@pytest.fixture
def client(closing):
    return lambda teal, **how: closing.add(Http2(teal.address(), **how))


def connect(path="/ws", protocol="websocket", *more, **other):
    told = {":method": "CONNECT", ":protocol": protocol, ":scheme": "http", ":path": path, ":authority": "web"} | other
    return [(n, v) for n, v in told.items() if v is not None] + [("sec-websocket-version", "13"), ("origin", "http://web"), *more]


def opened(c, path="/ws", **how):
    """The stream of a WebSocket that was accepted."""
    n = c.ask(raw=connect(path, **how), end=False)
    s = c.streams[n]
    assert c.until(lambda: s.heads or s.over) and s.status == 200 and not s.over, (s.heads, s.reset, c.goaways)
    return n


def echo(c, n, said):
    before = len(c.streams[n].body)
    c.data(n, said)
    assert c.until(lambda: len(c.streams[n].body) >= before + len(said))
    assert c.streams[n].body[before:] == said


def test_a_websocket_is_an_upgrade_to_the_backend(stage, client):
    teal = stage()
    c = client(teal)
    n = opened(c)
    assert c.settings[8] == 1      # SETTINGS_ENABLE_CONNECT_PROTOCOL
    head = dict(c.streams[n].heads[0])
    assert head["x-color"] == "green"
    assert not {"connection", "upgrade", "sec-websocket-accept"} & set(head)
    m = requests_of(teal.green)[0]
    assert m.start == "GET /ws HTTP/1.1" and m.get("Upgrade") == "websocket" and m.get("Connection").lower() == "upgrade"
    assert len(base64.b64decode(m.get("Sec-WebSocket-Key"))) == 16 and m.get("Host") == "web" and m.get("Origin") == "http://web"
    assert not m.get("Transfer-Encoding") and not m.get("Content-Length")
    echo(c, n, b"\x81\x05hello")
    other = opened(c)
    assert requests_of(teal.green)[1].get("Sec-WebSocket-Key") != m.get("Sec-WebSocket-Key")
    assert c.get("/").body == b"hello"
    # More than any window, both ways, and beside it the other one.
    echo(c, n, b"\x00" * BIG)
    echo(c, other, b"\x01\x02")
    assert teal.metrics().get("teal_backend_connections", service="web", color="green") == 2
    # Each half ends by itself.
    c.data(n, end=True)
    s = c.answer(n)
    assert s.ended and s.reset is None and s.body.endswith(b"bye")
    line = teal.wait_log("tcp.session")
    assert (line["end"], line["color"], line["bytes_in"], line["bytes_out"]) == ("done", "green", BIG + 7, BIG + 10)
    line = teal.log_lines("http.request", path="/ws")[0]
    assert (line["status"], line["protocol"], line["method"]) == (101, "HTTP/2", "GET")
    # What comes with the head is the stream's; and what the client says before is not lost.
    n = opened(c, "/first")
    assert c.until(lambda: c.streams[n].body == b"\x82\x05first")
    n = c.ask(raw=connect("/slow"), end=False)
    c.data(n, b"early", end=True)
    teal.green.go.set()
    assert c.answer(n).body == b"earlybye" and not c.goaways


def test_windows_hold_back_both_sides(stage, client):
    teal = stage()
    c = client(teal, settings=[(http2.INITIAL_WINDOW, 10)], opens=False)
    n = opened(c)
    s = c.streams[n]
    c.data(n, b"0123456789abcdef")
    assert c.until(lambda: s.body == b"0123456789") and c.pong()
    assert s.body == b"0123456789"
    c.window(1, n)
    assert c.until(lambda: s.body == b"0123456789a")
    c.window(100, n)
    assert c.until(lambda: s.body == b"0123456789abcdef")
    # A backend that does not read holds the client up, and what is held is little.
    stuck = opened(c, "/stuck")
    sent, c.out[stuck] = 0, c.out.get(stuck, 65535)

    def room():
        return min(16384, c.out[stuck], c.out[0])
    while room() > 0 or (c.pong() and room() > 0):
        sent += (k := room())
        c.data(stuck, b"x" * k)
    assert c.get("/").body == b"hello" and sent >= 65535
    c.window(1 << 24)
    c.window(1 << 24, stuck)
    teal.green.go.set()
    assert c.until(lambda: len(c.streams[stuck].body) == sent)
    assert not c.goaways


def test_what_is_no_websocket_is_refused(stage, client):
    teal = stage()
    c = client(teal)
    assert c.answer(c.ask(raw=connect(protocol="connect-udp"))).status == 501
    assert c.answer(c.ask(raw=connect(protocol="websocket", **{":method": "GET"}))).reset == http2.PROTOCOL_ERROR
    for missing in (":scheme", ":path", ":authority"):
        assert c.answer(c.ask(raw=connect(**{missing: None}))).reset == http2.PROTOCOL_ERROR, missing
    assert c.answer(c.ask(raw=connect("/ws", "websocket", ("content-length", "0")))).reset == http2.PROTOCOL_ERROR
    assert c.answer(c.ask(raw=connect("/ws", "websocket", ("upgrade", "websocket")))).reset == http2.PROTOCOL_ERROR
    assert c.answer(c.ask(raw=[(":method", "CONNECT"), (":authority", "web:1")])).status == 501
    assert not requests_of(teal.green)
    # What the backend says to it.
    for path, status in (("/none", 404), ("/flat", 502), ("/wrong", 502)):
        assert c.answer(c.ask(raw=connect(path))).status == status, path
    # Of a stream of CONNECT there is DATA alone.
    n = opened(c)
    c.frame(http2.HEADERS, n, c.encoder.encode([("x-a", "b")]), http2.END_HEADERS | http2.END_STREAM)
    assert c.answer(n).reset == http2.PROTOCOL_ERROR
    until(lambda: teal.green.said == "reset", "the backend is told")
    m = teal.metrics()
    for reason, times in (("protocol_unknown", 1), ("protocol_bad", 1), ("connect_fields", 1), ("connect_bad", 1)):
        assert m.get("teal_http2_refused_total", service="web", reason=reason) == times, reason
    # An end that comes with the head is one of the stream.
    s = c.answer(c.ask(raw=connect()))
    assert s.status == 200 and s.body == b"bye" and not c.goaways


def test_what_clients_ask_for_is_no_fault_of_a_backend(stage, client, closing):
    teal = stage(passive={"answers": 3, "eject": 60.0, "max_ejected": "100%"})
    c = client(teal)
    for _ in range(4):
        assert c.answer(c.ask(raw=connect("/flat"))).status == 502
        h = closing.add(Http(teal.address()))
        h.send("GET /early HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 9\r\n\r\nhalf")
        assert h.response().status == 502
    teal.wait_log("http.request", count=8, end="bad_request", status=502)
    assert teal.metrics().get("teal_backend_bad_answers_total") == 0 and not teal.log_lines("backend.ejected")
    # What it does wrong itself is.
    assert c.answer(c.ask(raw=connect("/wrong"))).status == 502
    teal.wait_metric(1, "teal_backend_bad_answers_total")


def test_resets_go_through(stage, client):
    teal = stage()
    c = client(teal)
    n, other = opened(c), opened(c)
    echo(c, n, b"a")
    c.frame(http2.RST_STREAM, n, struct.pack(">I", http2.CANCEL))
    until(lambda: teal.green.said == "reset", "the backend is told")
    assert teal.wait_log("tcp.session")["end"] == "client_reset"
    conn = teal.green.ends[1]
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.shutdown(socket.SHUT_RD)
    teal.green.said = None
    third = opened(c)
    conn.close()
    c.data(other, b"x")
    assert c.answer(other).reset == http2.CANCEL
    # A connection that is gone takes its WebSockets along.
    teal.green.said = None
    echo(c, third, b"b")
    c.sock.close()
    until(lambda: teal.green.said == "reset", "the backend is told")
    teal.wait_metric(0, "teal_backend_connections", service="web", color="green")


def test_a_drain_tells_it_and_leaves_the_connection(stage, client):
    teal = stage(drain={"timeout": 0.3}, preview_header="X-Look", preview_allow=["127.0.0.0/8"])
    c = client(teal)
    n = opened(c)
    echo(c, n, b"\x81\x01a")
    blue = c.ask(raw=connect("/ws", "websocket", ("x-look", "1")), end=False)
    assert c.until(lambda: c.streams[blue].heads) and c.streams[blue].get("x-color") == "blue"
    teal.ok("flip", "web", "blue", "--wait=drained")
    s = c.answer(n)
    assert s.body == b"\x81\x01a" + GOING_AWAY and s.ended and s.reset is None
    line = teal.wait_log("tcp.session", end="drained")
    assert line["close_code"] == 1001 and line["color"] == "green"
    assert c.streams[opened(c)].get("x-color") == "blue" and not c.goaways


def test_it_stays_over_a_reload_and_an_upgrade_and_is_told_of_a_stop(stage, client):
    teal = stage(start=False, top={"stop": {"timeout": 0.3}}).start(supervised=True)
    c = client(teal)
    n = opened(c)
    change(teal, idle_timeout=600.0)
    teal.ok("reload")
    echo(c, n, b"reloaded")
    before, _ = upgrade(teal)
    echo(c, n, b"upgraded")
    assert c.get("/").body == b"hello"
    new = client(teal, opens=False)
    m = opened(new)
    c.data(n, end=True)
    assert c.answer(n).body == b"reloadedupgradedbye"
    assert c.rest_of() == http2.NO_ERROR
    gone(before)
    echo(new, m, b"\x81\x01z")
    teal.signal()
    new.rest_of()
    s = new.streams[m]
    assert s.body == b"\x81\x01z" + GOING_AWAY and s.ended, (s.reset, s.frames, new.goaways)
    assert teal.wait() == 0
