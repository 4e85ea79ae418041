"""HTTP/2 to backends: one connection carries many requests, and what a backend of HTTP/2 says reaches clients of both versions."""
import base64
import hashlib
import socket
import ssl
import struct
import threading

import pytest

from helpers import http2, scale
from helpers.certificates import Authority
from helpers.http1 import Http, Reader
from helpers.http2 import Http2, frame
from helpers.http2_backend import Asked, http2_site, prepare
from helpers.reload import change, reload
from helpers.scale import patience, until
from helpers.upgrade import gone, upgrade
from test_limits import LITTLE

BIG = 300_000


@pytest.fixture
def stage(web, backend):
    """A service whose backends speak HTTP/2: .green, .blue, or several of green, .greens."""
    def make(green=1, site=None, **keys):
        sides = []
        for name in ["green"] * green + ["blue"]:
            b = prepare(backend(name, site or http2_site(), start=False))
            sides.append(b.start())
        t = web(green=sides[:-1], blue=sides[-1:], **{"mode": "http", "h2c": True, "idle_timeout": 0,
                                                      "backend_protocol": "h2", "health": {"type": "none"}} | keys, top={"workers": 1})
        t.greens = sides[:-1]
        return t
    return make


@pytest.fixture
def ask(closing):
    return lambda teal, **how: closing.add(Http2(teal.address(), **how))


@pytest.fixture
def http(closing):
    return lambda teal: closing.add(Http(teal.address()))


def test_requests_of_both_versions_share_a_connection(stage, ask, http):
    teal = stage(via=True)
    green = teal.green
    green.answers["/trailers"] = lambda r: r.say((":status", "200"), ("x-own", "y")).data(b"body").say(("x-sum", "42"), end=True)
    green.answers["/early"] = lambda r: (r.say((":status", "103"), ("link", "</a>")), r.answer())
    green.answers["/big"] = lambda r: (r.say((":status", "200")), r.data(b"b" * 60_000, end=True))
    green.answers["/204"] = lambda r: r.say((":status", "204"), end=True)
    c, h = ask(teal), http(teal)
    s = c.get("/a?b=1", headers=[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x-own", "y")])
    assert (s.status, s.body) == (200, b"green")
    r = green.requests[-1]
    assert r.fields[:4] == [(":method", "GET"), (":scheme", "http"), (":authority", "web"), (":path", "/a?b=1")]
    assert r.get("cookie") == "a=1; b=2" and r.get("te") == "trailers" and r.get("via") == "2 teal"
    assert r.get("x-forwarded-for") == "127.0.0.1" and not {"connection", "host", "transfer-encoding"} & {n for n, _ in r.fields}
    m = h.ask("/b")
    assert m.status == 200 and m.body == b"green" and green.requests[-1].get("via") == "1.1 teal"
    # Answers: trailers, interim ones, none at all.
    s = c.get("/trailers")
    assert s.body == b"body" and s.heads[-1] == [("x-sum", "42")] and s.get("x-own") == "y"
    m = h.ask("/trailers", headers=[("TE", "trailers")])
    assert m.body == b"body" and m.get("Transfer-Encoding") == "chunked" and m.trailers == [("x-sum", "42")]
    assert [dict(x)[":status"] for x in c.get("/early").heads] == ["103", "200"]
    assert c.get("/big").body == h.ask("/big").body == b"b" * 60_000
    assert c.get("/204").status == 204 and h.ask("/204").status == 204
    s = c.get(method="HEAD")
    assert s.status == 200 and s.body == b"" and s.get("content-length") == "5"
    # Bodies with a length, without one, and with trailers.
    assert h.ask("/up", method="POST", body=b"u" * BIG).status == 200 and green.requests[-1].body == b"u" * BIG
    assert green.requests[-1].get("content-length") == str(BIG)
    n = c.ask("/up", end=False, method="POST", headers=[("te", "trailers")])
    c.data(n, b"some")
    c.data(n, b" more")
    c.frame(http2.HEADERS, n, c.encoder.encode([("x-check", "7")]), http2.END_HEADERS | http2.END_STREAM)
    assert c.answer(n).status == 200
    r = green.requests[-1]
    assert r.body == b"some more" and r.trailers == [("x-check", "7")] and r.get("content-length") is None
    assert len(green.served) == 1 and not green.served[0].goaway
    line = teal.wait_log("http.request", path="/a?b=1")
    assert line["protocol"] == "HTTP/2" and line["status"] == 200 and line["color"] == "green"


def test_a_flip_moves_requests_and_the_connection_of_the_old_color_ends_with_its_last(stage, ask):
    teal = stage()
    teal.green.answers["/slow"] = lambda r: None
    c = ask(teal)
    assert c.get().body == b"green"
    old = c.ask("/slow")
    until(lambda: any(r.path == "/slow" for r in teal.green.requests), "green has it")
    teal.ok("flip", "web", "blue", "--wait=applied")
    for _ in range(3):
        assert c.get().body == b"blue"
    assert not teal.green.served[0].goaway and not teal.green.served[0].ended
    teal.green.requests[-1].answer()
    assert c.answer(old).body == b"green" and not c.goaways
    until(lambda: teal.green.served[0].ended, "its connection has ended")
    teal.wait_log("flip.drained")


def test_a_drain_cuts_streams(stage, ask):
    teal = stage(drain={"timeout": 0.2})
    teal.green.answers |= {"/slow": lambda r: None, "/half": lambda r: r.say((":status", "200")).data(b"some")}
    c = ask(teal)
    half, none = c.ask("/half"), c.ask("/slow")
    c.until(lambda: c.streams[half].body)
    until(lambda: len(teal.green.requests) == 2, "green has both")
    teal.ok("flip", "web", "blue", "--wait=drained")
    assert c.answer(half).reset == http2.CANCEL and c.answer(none).status == 503
    assert c.get().body == b"blue" and not c.goaways
    until(lambda: teal.green.served[0].ended, "its connection has ended")
    assert [r.reset for r in teal.green.requests] == [http2.CANCEL] * 2


def test_a_client_that_leaves_is_told_to_the_backend(stage, ask, http):
    teal = stage()
    teal.green.answers["/slow"] = lambda r: None
    c, h = ask(teal), ask(teal)
    n = c.ask("/slow")
    h.ask("/slow")
    until(lambda: len(teal.green.requests) == 2, "green has both")
    c.frame(http2.RST_STREAM, n, bytes(3) + b"\x08")
    h.close()
    until(lambda: [r.reset for r in teal.green.requests] == [http2.CANCEL] * 2, "both are cancelled")
    assert c.get().status == 200 and len(teal.green.served) == 1


def test_a_backend_that_takes_few_streams_gets_more_connections(stage, ask):
    teal = stage(site=http2_site([(http2.MAX_STREAMS, 2)]))
    held = []
    teal.green.answers["/slow"] = held.append
    c = ask(teal)
    streams = [c.ask("/slow") for _ in range(5)]
    until(lambda: len(held) == 5, "all are asked")
    assert sorted(len(s.requests) for s in teal.green.served) == [1, 2, 2]
    for r in held:
        r.answer()
    assert [c.answer(n).body for n in streams] == [b"green"] * 5


def test_what_a_backend_has_not_looked_at_is_asked_elsewhere(stage, ask, http):
    teal = stage(green=2, retries=2)

    def go(r):
        if sum(len(g.requests) for g in teal.greens) > 1:
            return r.answer()
        return r.serving.goodbye(max(r.n - 2, 0))

    def refuse(r):
        return r.answer() if sum(len(g.requests) for g in teal.greens) > 1 else r.refuse(http2.REFUSED_STREAM)
    for answer in go, refuse:
        for g in teal.greens:
            g.requests.clear()
            g.answers["/"] = answer
        # Not idempotent: it is sent again all the same, for nothing was done.
        m = http(teal).ask("/", method="POST", body=b"some")
        assert m.status == 200 and m.body == b"green"
        got = [r for g in teal.greens for r in g.requests]
        assert len(got) == 2 and [r.body for r in got] == [b"some"] * 2
    # One that has begun is not.
    for g in teal.greens:
        g.answers["/cut"] = lambda r: r.say((":status", "200")).data(b"half").refuse(http2.INTERNAL_ERROR)
        g.answers["/no"] = lambda r: r.refuse(http2.INTERNAL_ERROR)
    c = ask(teal)
    s = c.answer(c.ask("/cut"))
    assert s.body == b"half" and s.reset is not None
    assert http(teal).ask("/no", method="POST", body=b"x").status == 502


def test_who_refuses_each_stream_is_not_asked_for_ever(stage, ask, http):
    teal = stage(green=2, retries=2, retry_pause=0)
    c = ask(teal)
    for _ in range(4):
        assert c.get("/ok").status == 200
    for g in teal.greens:
        g.requests.clear()
        g.answers["/"] = lambda r: r.refuse(http2.REFUSED_STREAM)
    assert http(teal).ask("/", method="POST", body=b"some").status == 502
    line = teal.wait_log("http.request", status=502)
    assert line["end"] == "backend_reset" and line["retries"] <= 3
    assert 2 <= sum(len(g.requests) for g in teal.greens) <= 4
    # The connections have nothing to do with it.
    assert c.get("/ok").status == 200 and [len(g.served) for g in teal.greens] == [1, 1]


def test_trailers_of_an_answer_whose_length_is_known(stage, ask, http):
    """They reach clients of HTTP/2, which know the length as well; HTTP/1.1 has no place for them. A length that is wrong is still a fault."""
    teal = stage()
    teal.green.answers |= {"/sum": lambda r: r.say((":status", "200"), ("content-length", "4")).data(b"body").say(("x-sum", "42"), end=True),
                           "/none": lambda r: r.say((":status", "200"), ("content-length", "0")).say(("x-sum", "0"), end=True),
                           "/short": lambda r: r.say((":status", "200"), ("content-length", "5")).data(b"body").say(("x-sum", "42"), end=True)}
    c = ask(teal)
    for path, body, total in (("/sum", b"body", "42"), ("/none", b"", "0")):
        s = c.get(path)
        assert (s.status, s.body, s.heads[-1]) == (200, body, [("x-sum", total)]), path
        assert [v for k, v in s.heads[0] if k == "content-length"] == [str(len(body))]
    assert c.get("/").body == b"green"
    m = http(teal).ask("/sum")
    assert m.body == b"body" and m.get("content-length") == "4" and m.get("transfer-encoding") is None
    assert c.get("/short").reset == http2.INTERNAL_ERROR
    assert "Content-Length" in teal.wait_log("http.request", path="/short")["reason"]
    # Those that come when their client has left leave no memory behind.
    teal.green.answers["/late"] = lambda r: r.say((":status", "200"), ("content-length", "4")).data(b"body")
    n = c.ask("/late")
    assert c.until(lambda: c.streams[n].body == b"body")
    c.frame(http2.RST_STREAM, n, struct.pack(">I", http2.CANCEL))
    assert c.pong()
    r = teal.green.requests[-1]
    assert r.path == "/late" and r.reset is None
    r.say(("x-sum", "42"), end=True)
    assert c.get("/").body == b"green" and r.reset is None


def test_a_connection_that_cannot_leave_gives_its_descriptor_to_a_client(web, backend, ask, closing):
    """It was told to leave by a flip, its last request is given up, and its backend does not take what is still to be said."""
    green, stuck = prepare(backend("green", http2_site([(http2.INITIAL_WINDOW, 1 << 26)], opens=False), start=False)), threading.Event()
    green.early["/up"] = lambda r: r.serving.frame(http2.WINDOW_UPDATE, 0, struct.pack(">I", 1 << 26))
    green.each["/up"] = lambda r, data: stuck.wait(patience())
    teal = web(green=[green.start()], blue=[prepare(backend("blue", http2_site(), start=False)).start()], mode="http", h2c=True, idle_timeout=0,
               backend_protocol="h2", health={"type": "none"}, max_connections=0, top={"workers": 1}, start=False)
    teal.start(prefix=LITTLE)
    c = ask(teal)
    n, sent = c.ask("/up", method="POST", end=False), 0
    c.out[n] = 65535

    def free():
        return min(c.out[n], c.out[0])
    # The backend's windows are open, and its socket is full: taking all that was sent opens none of ours.
    while (sent < BIG and c.until(lambda: free() > 0)) or (c.pong() and free() > 0):
        sent += free()
        c.data(n, b"u" * free())
    teal.ok("flip", "web", "blue")
    c.frame(http2.RST_STREAM, n, struct.pack(">I", http2.CANCEL))
    assert c.pong() and not green.served[0].ended
    clients = [closing.add(teal.connect()) for _ in range(200)]
    teal.wait_log("accept.paused")
    stuck.set()
    until(lambda: green.served[0].ended, "it has gone")
    for client in clients:
        client.close()
    assert c.get("/").body == b"blue"


def test_a_websocket_is_refused_before_a_backend_is_asked(stage, ask, http):
    teal = stage()
    c = ask(teal)
    s = c.answer(c.ask(raw=[(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"),
                            (":authority", "web"), ("sec-websocket-version", "13")], end=False))
    assert s.status == 501 and b"spoken to by HTTP/2" in s.body and not teal.green.requests
    assert teal.wait_log("http.request", status=501)["end"] == "bad_request"
    # Of HTTP/1 it is a request like any other, as RFC 9110 has it for who does not switch.
    m = http(teal).ask("/ws", headers=[("Connection", "Upgrade"), ("Upgrade", "websocket")])
    assert m.status == 200 and m.body == b"green" and teal.green.requests[0].get("upgrade") is None


def test_the_code_by_which_a_backend_ends_a_call_reaches_its_client(stage, ask):
    teal = stage(retries=0)
    green, c = teal.green, ask(teal)
    grpc = {"method": "POST", "headers": [("content-type", "application/grpc"), ("te", "trailers")]}
    hop, ours = (http2.NO_ERROR, http2.PROTOCOL_ERROR, http2.ENHANCE_YOUR_CALM), http2.INTERNAL_ERROR
    for said, told in [(http2.CANCEL, http2.CANCEL), (ours, ours), (http2.REFUSED_STREAM, http2.REFUSED_STREAM), *((code, ours) for code in hop)]:
        green.answers["/half"] = lambda r: r.say((":status", "200")).data(b"half").refuse(said)
        green.answers["/hint"] = lambda r: r.say((":status", "103")).refuse(said)
        green.answers["/none"] = lambda r: r.refuse(said)
        # A refusal that follows an answer would have its client ask again for what was done.
        after = ours if said == http2.REFUSED_STREAM else told
        s = c.get("/half")
        assert (s.status, s.body, s.reset) == (200, b"half", after)
        assert c.get("/half", **grpc).reset == after and c.get("/hint", **grpc).reset == after
        # Of gRPC the code is the answer; who asks for a page gets one.
        s = c.get("/none", **grpc)
        assert s.reset == told and not s.heads
        s = c.get("/none")
        assert s.status == 502 and s.reset is None
    assert len([r for r in green.requests if r.path == "/none"]) == 2 * 6
    line = teal.wait_log("http.request", path="/none")
    assert (line["status"], line["end"]) == (502, "backend_reset")
    # What is left of a request it does not want, once it has answered.
    green.early["/early"] = lambda r: r.answer(b"enough").refuse(http2.NO_ERROR)
    n = c.ask("/early", end=False, method="POST")
    c.until(lambda: c.streams[n].ended)
    assert c.streams[n].body == b"enough" and c.get("/other").body == b"green" and len(green.served) == 1
    # The second connection that goes is no kept one that had grown old.
    green.answers["/gone"] = lambda r: r.serving.goodbye(max(r.n - 2, 0))
    assert c.get("/gone").status == 502 and len([r for r in green.requests if r.path == "/gone"]) == 2


def test_goaway_lets_what_is_under_way_finish(stage, ask):
    teal = stage()
    teal.green.answers["/slow"] = lambda r: None
    c = ask(teal)
    old = c.ask("/slow")
    until(lambda: teal.green.requests, "green has it")
    first = teal.green.served[0]
    first.goodbye(2**31 - 1)
    for _ in range(2):
        assert c.get().body == b"green"
    until(lambda: len(teal.green.served) == 2, "the next came by another connection")
    first.goodbye(1)
    first.requests[1].answer()
    assert c.answer(old).body == b"green"
    until(lambda: first.ended, "the first has ended")


@pytest.mark.parametrize("reason, say", [
    ("no :status", lambda r: r.say(("x", "y"))),
    ("no :status", lambda r: r.say((":status", "101"))),
    ("capital in a field name", lambda r: r.say((":status", "200"), raw=r.serving.encoder.encode([(":status", "200")]) + b"\x00\x02XY\x011")),
    ("field of an HTTP/1 connection", lambda r: r.say((":status", "200"), ("connection", "close"))),
    ("unknown pseudo-field", lambda r: r.say((":status", "200"), (":path", "/"))),
    ("control character", lambda r: r.say((":status", "200"), ("x", "a\nb"))),
    ("more than one Content-Length", lambda r: r.say((":status", "200"), ("content-length", "1"), ("content-length", "2"))),
    ("Content-Length is not the length", lambda r: r.say((":status", "200"), ("content-length", "9"), end=True)),
    ("fields too large", lambda r: r.say((":status", "200"), ("x", "y" * 15_000))),
    ("no :status", lambda r: r.data(b"x")),
])
def test_an_answer_that_is_malformed_is_a_502_that_says_why(stage, ask, http, reason, say):
    teal = stage(max_header_size=4096)
    teal.green.answers["/"] = say
    c = ask(teal)
    s = c.get()
    assert s.status == 502 and b"XY" not in s.body
    line = teal.wait_log("http.request", status=502)
    assert line["end"] == "bad_response" and reason in line["reason"]
    # The other streams of the connection have nothing to do with it.
    assert c.get("/other").body == b"green" and http(teal).ask("/").status == 502
    assert len(teal.green.served) == 1 and teal.green.requests[0].reset is not None


@pytest.mark.parametrize("words, raw", [
    ("other frame than CONTINUATION|another frame within", lambda r: r.serving.send(frame(1, r.n, b"\x88") + frame(0, r.n, b"x"))),
    ("too many CONTINUATION", lambda r: r.serving.send(frame(1, r.n, b"\x88") + frame(9, r.n, b"\x88") * 20)),
    ("index that no table has", lambda r: r.serving.send(frame(1, r.n, b"\xff\xff\x01", 4))),
    ("PUSH_PROMISE", lambda r: r.serving.send(frame(5, r.n, b"\0\0\0\2\x88", 4))),
    ("too many SETTINGS", lambda r: r.serving.send(frame(4) * 300)),
    ("too many PING", lambda r: r.serving.send(frame(6, 0, b"12345678") * 300)),
    ("too many empty", lambda r: r.serving.send(frame(0, r.n) * 300)),
    ("never opened", lambda r: r.serving.send(frame(1, r.n + 2, b"\x88", 4))),
    ("more DATA than the connection|longer than SETTINGS", lambda r: r.serving.send(frame(0, r.n, b"x" * 20_000))),
])
def test_a_connection_that_is_at_fault_ends(stage, ask, words, raw):
    teal = stage(retries=0)
    teal.green.answers["/bad"] = raw
    c = ask(teal)
    assert c.get("/bad").over
    line = teal.wait_log("backend.http2")
    assert any(w in line["error"] for w in words.split("|")), line
    assert c.get("/good").body == b"green"
    until(lambda: teal.green.served[0].ended and len(teal.green.served) == 2, "the first has ended")
    assert teal.green.served[0].goaway[1] != 0


def test_a_backend_of_http_1_is_found_out_before_it_is_asked(web, backend, ask, http):
    seen = []

    def old(conn, b):
        seen.append(conn.recv(1000))
        conn.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\nforeign"[:-1])
    teal = web(green=[backend("green", old)], mode="http", h2c=True, backend_protocol="h2", health={"type": "none"}, retries=0,
               retry_pause=0)
    m = http(teal).ask("/secret", method="POST", body=b"x")
    assert m.status == 502 and b"foreig" not in m.body
    assert "does not speak HTTP/2" in teal.wait_log("backend.http2")["error"]
    assert teal.wait_log("http.request")["end"] == "backend_http2" and b"secret" not in b"".join(seen)


def test_a_slow_reader_delays_no_other_and_is_bounded(stage, ask):
    teal = stage()
    done = []
    teal.green.answers["/big"] = lambda r: done.append(r.say((":status", "200")))
    slow, quick = ask(teal, opens=False), ask(teal)
    n = slow.ask("/big")
    until(lambda: done, "green has begun")
    r, sent = done[0], 0
    # As much as the stream's window lets through, which nothing but its reader opens.
    while sent < r.serving.windows.get(r.n, 65535):
        r.data(b"s" * 16_000)
        sent += 16_000
        if sent + 16_000 > r.serving.windows.get(r.n, 65535):
            break
        quick.get()
    for _ in range(20):
        assert quick.get("/other").body == b"green"
    assert sent < 400_000 and len(teal.green.served) == 1
    slow.frame(http2.RST_STREAM, n, bytes(3) + b"\x08")
    until(lambda: r.reset == http2.CANCEL, "the slow one is cancelled")


def test_a_large_body_waits_for_the_backends_windows(stage, ask, http):
    teal = stage(site=http2_site(opens=False))
    asked = []
    teal.green.each["/up"] = lambda r, part: asked.append(len(part))
    thread = threading.Thread(target=lambda: asked.append(http(teal).ask("/up", method="POST", body=b"u" * BIG).status))
    thread.start()
    until(lambda: sum(asked) == 65535, "the window is used up")
    r = teal.green.requests[0]
    while not r.ended:
        before = len(r.body)
        r.serving.frame(http2.WINDOW_UPDATE, 0, (50_000).to_bytes(4, "big"))
        r.serving.frame(http2.WINDOW_UPDATE, r.n, (50_000).to_bytes(4, "big"))
        until(lambda: r.ended or len(r.body) > before, "more has come")
    thread.join(patience())
    assert asked[-1] == 200 and r.body == b"u" * BIG


@pytest.mark.parametrize("path, how, end", [("/late", "GET", False), ("/late", "GET", True), ("/late", "GET", "trailers"), ("/head", "HEAD", True), ("/304", "GET", True)])
def test_the_end_of_a_stream_may_come_after_its_answer(stage, http, path, how, end):
    teal = stage(clock=True)
    teal.green.answers |= {"/late": lambda r: r.say((":status", "200"), ("content-length", "5")).data(b"green"),
                           "/head": lambda r: r.say((":status", "200"), ("content-length", "5")),
                           "/304": lambda r: r.say((":status", "304"), ("content-length", "5"))}
    h = http(teal)
    assert h.ask(path, method=how).status in (200, 304)
    # A reset would have come before this.
    assert h.ask("/next").body == b"green" and len(teal.green.served) == 1
    r = teal.green.requests[0]
    assert r.reset is None
    if end:
        r.say(("grpc-status", "13"), ("x-own", "y"), end=True) if end == "trailers" else r.data(end=True)
        assert h.ask("/next").body == b"green"
    # Who never ends it is told that nothing waits for that.
    until(lambda: (teal.clock.move(5), h.ask("/next"))[1].body == b"green" and (end or r.reset == http2.CANCEL), "it is told")
    if end:
        for _ in range(4):
            teal.clock.move(5)
            assert h.ask("/next").body == b"green"
        assert r.reset is None


def test_a_stream_whose_end_is_awaited_keeps_its_place(stage, http):
    teal = stage(site=http2_site([(http2.MAX_STREAMS, 1)]))
    teal.green.answers["/late"] = lambda r: r.say((":status", "200"), ("content-length", "5")).data(b"green")
    h = http(teal)
    assert h.ask("/late").body == h.ask("/late").body == b"green"
    assert [len(s.requests) for s in teal.green.served] == [1, 1]
    teal.green.requests[0].data(end=True)
    until(lambda: h.ask("/next").body == b"green" and len(teal.green.served[0].requests) > 1, "its place is free again")
    assert [r.reset for r in teal.green.requests[:2]] == [None, None]
    # A connection that ends, ends such calls as well.
    teal.green.served[1].goodbye(3)
    teal.green.requests[1].data(end=True)
    until(lambda: teal.green.served[1].ended, "it has ended")


def test_a_backend_that_accepts_and_says_nothing_holds_up_no_later_request(web, backend, http):
    first = []
    site = http2_site()

    def serve(conn, b):
        first.append(conn)
        if len(first) > 1:
            return site(conn, b)
        while conn.recv(1000):
            pass
    green = prepare(backend("green", serve, start=False)).start()
    teal = web(green=[green], mode="http", backend_protocol="h2", clock=True, connect_timeout=10, retries=0, retry_pause=0,
               top={"workers": 1})
    early, late = http(teal), http(teal)
    early.send("GET /early HTTP/1.1\r\nHost: web\r\n\r\n")
    until(lambda: first, "it has accepted")
    teal.clock.move(5)
    late.send("GET /late HTTP/1.1\r\nHost: web\r\n\r\n")
    teal.wait_metric(2, "teal_backend_connections", color="green")
    teal.clock.move(6)
    assert early.response().status == 504
    assert http(teal).ask("/").body == b"green" and len(first) == 2


def test_a_connection_whose_backend_reads_nothing_ends_with_its_last_stream(web, backend, http):
    def deaf(conn, b):
        conn.recv(len(http2.PREFACE))
        conn.sendall(frame(http2.SETTINGS, payload=b"\0\4\x7f\xff\xff\xff") + frame(http2.WINDOW_UPDATE, 0, b"\x40\0\0\0"))
        served.append(conn)
        gone.wait()
    gone, served = threading.Event(), []
    teal = web(green=[backend("green", deaf)], mode="http", backend_protocol="h2", clock=True, body_min_rate=0, drain={"timeout": 2},
               top={"workers": 1})
    c = http(teal).send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000000\r\n\r\n")
    sent, seen = [0], []

    def upload():
        try:
            while True:
                sent[0] += c.sock.send(b"u" * 65536)
        except OSError:
            pass

    def is_stuck():
        seen.append(sent[0])
        teal.metrics()
        return sent[0] > 1 << 19 and seen[-3:].count(sent[0]) == 3
    thread = threading.Thread(target=upload)
    thread.start()
    try:
        until(is_stuck, "nothing more is taken")
        teal.ok("flip", "web", "blue", "--wait=applied")
        # It is heard of, so that nothing is asked of it.
        served[0].sendall(frame(http2.PING, payload=b"question"))
        teal.clock.move(3)
        teal.wait_log("http.request", end="drained")
        until(lambda: (teal.clock.move(5), teal.metrics().get("teal_http2_backend_connections"))[1] == 0, "it has ended")
    finally:
        gone.set()
        c.close()
        thread.join(patience())


@pytest.mark.parametrize("wanted, offered, spoken", [
    ("h2", ["h2", "http/1.1"], "h2"), ("auto", ["h2", "http/1.1"], "h2"), ("auto", ["http/1.1"], "http/1.1"), ("h2", ["http/1.1"], None)])
def test_alpn_says_what_a_backend_speaks(web, backend, http, tmp_path, wanted, offered, spoken):
    authority = Authority(tmp_path)
    pair = authority.issue("green")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair["cert"], pair["key"])
    context.set_alpn_protocols(offered)

    def serve(conn, b):
        with context.wrap_socket(conn, server_side=True) as tls:
            b.agreed.append(tls.selected_alpn_protocol())
            (http2_site() if b.agreed[-1] == "h2" else greeting)(tls, b)

    def greeting(conn, b):
        reader = Reader(conn)
        while reader.head() is not None:
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ngreen")
    green = prepare(backend("green", serve, start=False))
    green.agreed = []
    green.start()
    teal = web(green=[green], mode="http", backend_protocol=wanted, backend_tls={"verify": False}, health={"type": "none"}, retries=0,
               retry_pause=0, top={"workers": 1})
    h = http(teal)
    for _ in range(3):
        m = h.ask("/a")
        assert m.status == (200 if spoken else 502)
    if spoken is None:
        assert "ALPN" in teal.wait_log("backend.http2")["error"]
        return
    assert m.body == b"green" and green.agreed == [spoken]
    assert [r.get(":scheme") for r in green.requests] == ["https"] * (3 if spoken == "h2" else 0)


def test_what_may_become_a_websocket_gets_http_1_where_a_backend_speaks_both(web, backend, http, ask, tmp_path):
    pair = Authority(tmp_path).issue("green")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair["cert"], pair["key"])
    context.set_alpn_protocols(["h2", "http/1.1"])

    def serve(conn, b):
        with context.wrap_socket(conn, server_side=True) as tls:
            if tls.selected_alpn_protocol() == "h2":
                http2_site()(tls, b)
                return
            m = Reader(tls).head()
            key = base64.b64encode(hashlib.sha1((m.get("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
            tls.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\nhello".encode())
            tls.recv(1)
    green = prepare(backend("green", serve, start=False)).start()
    teal = web(green=[green], mode="http", h2c=True, backend_protocol="auto", backend_tls={"verify": False}, health={"type": "none"},
               retries=0, retry_pause=0, top={"workers": 1})
    c = ask(teal)
    assert c.get().body == b"green" and len(green.served) == 1
    n = c.ask(raw=[(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"), (":authority", "web"),
                   ("sec-websocket-version", "13")], end=False)
    assert c.until(lambda: c.streams[n].body == b"hello") and c.streams[n].status == 200
    h = http(teal).send("GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    assert h.response().status == 101
    # The others go on as they were.
    assert c.get().body == b"green" and len(green.served) == 1


def test_a_reload_changes_what_backends_are_spoken_to(web, backend, http):
    def both(conn, b):
        if conn.recv(3, socket.MSG_PEEK) == b"PRI":
            http2_site()(conn, b)
            return
        reader = Reader(conn)
        while reader.head() is not None:
            b.plain.append(conn)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ngreen")
    green = prepare(backend("green", both, start=False))
    green.plain = []
    green.start()
    teal = web(green=[green], mode="http", health={"type": "none"}, top={"workers": 1})
    h = http(teal)
    assert h.ask("/").body == b"green" and len(green.plain) == 1 and not green.requests
    green.answers["/slow"] = lambda r: None
    change(teal, backend_protocol="h2")
    reload(teal)
    assert h.ask("/").body == b"green" and len(green.plain) == 1 and len(green.requests) == 1
    assert teal.metrics().get("teal_http2_backend_connections") == 1
    # What is under way finishes as it was asked.
    slow = http(teal).send("GET /slow HTTP/1.1\r\nHost: web\r\n\r\n")
    until(lambda: len(green.requests) == 2, "the slow one is asked")
    change(teal, backend_protocol="http/1.1")
    reload(teal)
    assert h.ask("/").body == b"green" and len(green.plain) == 2
    green.requests[-1].answer()
    assert slow.response().body == b"green"
    until(lambda: green.served[0].ended, "the connection of HTTP/2 has ended")
    change(teal, backend_protocol="h2", proxy_protocol={"send": "v2"})
    r = teal.ctl("reload")
    assert not r["ok"] and "proxy_protocol.send tells of one client" in str(r["errors"])
