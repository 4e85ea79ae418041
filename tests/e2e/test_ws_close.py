"""WebSockets that teald ends get a Close frame, 1001 (RFC 6455 section 7.4.1), between two of the backend's frames
and never within one."""
import json
import os
import subprocess
import threading

import pytest

from helpers.browser import Browser
from helpers.certificates import Authority, trusting
from helpers.http1 import Http
from helpers.peers import Peer
from helpers.reload import change, reload, rewrite
from helpers.scale import patience, until
from helpers.upgrade import gone, upgrade, upgraded

E2E = os.path.dirname(os.path.abspath(__file__))
GOING_AWAY = b"\x88\x02\x03\xe9"
ASK = ("GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Version: 13\r\n"
       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def frame(payload, opcode=2, fin=True):
    n = len(payload)
    length = bytes([n]) if n < 126 else b"\x7e" + n.to_bytes(2) if n < 65536 else b"\x7f" + n.to_bytes(8)
    return bytes([(0x80 if fin else 0) | opcode]) + length + payload


class Sockets:
    """A backend that upgrades whatever asks for it: .conns are its ends."""

    def __init__(self):
        self.conns = []

    def __call__(self, conn, _):
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := conn.recv(1 << 16)):
                return
            head += piece
        word = head.lower().split(b"upgrade: ")[1].split(b"\r\n")[0]
        conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + word +
                     b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        self.conns.append(conn)
        while conn.recv(1 << 16):
            pass


@pytest.fixture
def sockets(web, backend, closing):
    """A running teald; .open(): a client behind its 101 and the backend's end."""
    def make(start=True, **keys):
        far = Sockets()
        keys = {"drain": {"timeout": 0.0}} | keys
        t = web(mode="http", green=[backend("green", far)], health={"type": "none"}, start=start, **keys)

        def opened(word="websocket", **how):
            c, n = closing.add(Http(t.address(), **how)), len(far.conns)
            c.send(ASK % word)
            assert c.response().status == 101
            until(lambda: len(far.conns) > n, "the backend has it")
            return c, far.conns[-1]
        t.open = opened
        return t
    return make


def heard(c, n):
    return c._reader.exactly(n)


def rest_of(c):
    """What comes until the end, whatever that is."""
    try:
        while c._reader._more():
            pass
    except ConnectionResetError:
        pass
    return c._reader.rest


def flip(t):
    t.ok("flip", "web", "blue", "--wait=drained")


@pytest.mark.parametrize("before", [b"", frame(b"hello"), frame(b"x" * 300, 1, False), frame(b"y" * 70000), frame(b"", 9)])
def test_between_frames_it_is_told(sockets, before):
    t = sockets()
    c, far = t.open()
    far.sendall(before)
    assert heard(c, len(before)) == before
    flip(t)
    assert rest_of(c) == GOING_AWAY
    line = t.wait_log("tcp.session", end="drained")
    assert line["close_code"] == 1001 and line["bytes_out"] == len(before) + len(GOING_AWAY)


@pytest.mark.parametrize("cut", [1, 2, 5, 9, 10, 500, 69999])
def test_within_a_frame_nothing_is_added(sockets, cut):
    t = sockets()
    c, far = t.open()
    piece = (frame(b"first") + frame(b"z" * 70000))[:7 + cut]
    far.sendall(piece)
    assert heard(c, len(piece)) == piece
    flip(t)
    assert rest_of(c) == b""
    assert "close_code" not in t.wait_log("tcp.session", end="drained")


def test_behind_a_close_of_the_backend_s_nothing_is_added(sockets):
    t = sockets()
    c, far = t.open()
    far.sendall(frame(b"\x03\xe8bye", 8))
    assert heard(c, 7) == frame(b"\x03\xe8bye", 8)
    flip(t)
    assert rest_of(c) == b""


def test_other_protocols_get_no_frame(sockets):
    t = sockets()
    c, far = t.open("echo")
    far.sendall(frame(b"hello"))
    assert heard(c, 7) == frame(b"hello")
    flip(t)
    assert rest_of(c) == b""


@pytest.mark.parametrize("tls", [False, True])
def test_large_frames_in_a_row(sockets, tmp_path, tls):
    """Their payloads may be spliced; where they end is known all the same."""
    ca = Authority(tmp_path)
    keys = {"tls": {"certificates": [ca.issue("web.example")]}} if tls else {}
    t = sockets(**keys)
    c, far = t.open(**({"tls": trusting(ca), "server_name": "web.example"} if tls else {}))
    all_of_it = b"".join(frame(bytes([n]) * (n * 100_000)) + frame(b"small") for n in range(20))
    sender = threading.Thread(target=far.sendall, args=(all_of_it,))
    sender.start()
    assert heard(c, len(all_of_it)) == all_of_it
    sender.join()
    flip(t)
    assert rest_of(c) == GOING_AWAY


def test_a_client_in_the_middle_of_a_message_of_its_own_is_told(sockets):
    t = sockets()
    c, _ = t.open()
    c.send(b"\x82\xfe\xff\xff")
    flip(t)
    assert rest_of(c) == GOING_AWAY


def test_who_does_not_read_is_not_told(sockets):
    """The frame would stand within another one."""
    t = sockets()
    c, far = t.open()
    far.settimeout(0.2)
    sent = b""
    try:
        while True:
            far.sendall(frame(b"w" * 60000))
            sent += b"."
    except TimeoutError:
        pass
    flip(t)
    assert not rest_of(c).endswith(GOING_AWAY)
    assert "close_code" not in t.wait_log("tcp.session", end="drained")


def test_a_stop_says_it(sockets):
    t = sockets(top={"stop": {"timeout": 0.1}})
    c, far = t.open()
    far.sendall(frame(b"busy"))
    assert heard(c, 6) == frame(b"busy")
    t.stop()
    assert rest_of(c) == GOING_AWAY
    assert t.sessions(end="stopped")[0]["close_code"] == 1001


def test_idle_ones_are_told_before_the_deadline(sockets):
    t = sockets(drain={"timeout": 600.0, "idle": 0.1})
    c, _ = t.open()
    flip(t)
    assert rest_of(c) == GOING_AWAY
    assert t.wait_log("tcp.session", end="drain_idle")["close_code"] == 1001


def test_a_service_that_a_reload_removes_says_it(sockets, ports):
    t = sockets()
    c, _ = t.open()
    other = t.settings["services"][0] | {"name": "other", "listen": f"127.0.0.1:{ports.hold()}"}
    rewrite(t, services=[other])
    reload(t)
    assert rest_of(c) == GOING_AWAY


# ---- upgrades ----

@pytest.mark.parametrize("cut", [None, 1, 9, 5000])
def test_another_process_knows_where_the_stream_stands(sockets, cut):
    t = sockets(start=False).start(supervised=True)
    c, far = t.open()
    whole = frame(b"before") + frame(b"q" * 70000)
    piece = whole[:8 + cut] if cut is not None else b""
    far.sendall(piece)
    assert heard(c, len(piece)) == piece
    upgraded(t)
    far.sendall(whole[len(piece):])
    assert heard(c, len(whole) - len(piece)) == whole[len(piece):]
    flip(t)
    assert rest_of(c) == GOING_AWAY


def test_one_that_cannot_go_over_is_told_at_upgrade_timeout(sockets, tmp_path):
    ca = Authority(tmp_path)
    t = sockets(start=False, tls={"certificates": [ca.issue("web.example")]},
                top={"upgrade": {"timeout": 1.0}}).start(supervised=True)
    c, _ = t.open(tls=trusting(ca), server_name="web.example")
    before, _ = upgrade(t)
    assert rest_of(c) == GOING_AWAY
    gone(before)


# ---- clients that people have ----

NODE = """
let WebSocket;
try { WebSocket = require("ws"); } catch { WebSocket = require("/usr/share/nodejs/ws"); }
const s = new WebSocket(process.argv[1]);
s.on("open", () => s.send("hello"));
s.on("message", () => console.log("ready"));
s.on("close", (code) => console.log(JSON.stringify({ code })));
"""


@pytest.fixture
def site(web, ports, closing, tmp_path):
    port = ports.hold()
    closing.add(Peer(tmp_path, "site", ["node", os.path.join(E2E, "helpers/http_site.js"), str(port)], [port]))
    return web(mode="http", green=[f"127.0.0.1:{port}"], drain={"timeout": 0.0})


@pytest.mark.nosan
def test_the_client_of_node_hears_1001(site):
    p = subprocess.Popen(["node", "-e", NODE, "ws://%s:%d/ws" % site.address()], stdout=subprocess.PIPE, text=True)
    try:
        assert p.stdout.readline() == "ready\n"
        flip(site)
        assert json.loads(p.communicate(timeout=patience())[0]) == {"code": 1001}
    finally:
        p.kill()
        p.wait()


@pytest.mark.nosan
def test_a_browser_hears_1001(site, closing):
    browser = closing.add(Browser())
    browser.driver.get("http://%s:%d/hello" % site.address())
    browser.run("window.s = new WebSocket(`ws://${location.host}/ws`); s.onopen = () => s.send('x');"
                "s.onmessage = () => { window.ready = true; }; s.onclose = (e) => { window.end = [e.code, e.wasClean]; };")
    until(lambda: browser.run("return window.ready"), "it talks")
    flip(site)
    assert until(lambda: browser.run("return window.end"), "it is told") == [1001, True]
