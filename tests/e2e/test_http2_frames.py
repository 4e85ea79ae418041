"""What RFC 9113 and RFC 7541 ask of a server and an intermediary, frame by frame: each row says something that is
forbidden, odd or allowed, and what has to be answered; between them a good request is answered on each connection
that goes on. Nothing of what is refused reaches a backend: it reads with a parser that is none of ours.
"""
import os
import re

import pytest

from helpers.http1 import Reader, requests_of, site
from helpers.http2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW, MAX_STREAMS,
                           PADDED, PING, PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE)
from helpers.http2_raw import Raw, block, frame, headers, literal, number, request, setting

PRIORITIZED = 0x20  # HEADERS with a priority
FINE = ("fine", None)


def goaway(code):
    return ("goaway", code)


def rst(code):
    return ("rst", code)


GET, POST = request(), request(method="POST")
HELD = request("/held")     # is not answered
OPEN = headers(1, request("/held", "POST"), end=False)

# (section of RFC 9113, what, the frames, what comes of them)
FRAMES = [
    ("3.4", "the first frame is SETTINGS", (frame(PING, payload=b"12345678"),), goaway("PROTOCOL_ERROR")),
    ("3.4", "and no acknowledgement", (frame(SETTINGS, ACK),), goaway("PROTOCOL_ERROR")),
    ("4.1", "the reserved bit means nothing", (headers(1 | 1 << 31, GET),), FINE),
    ("4.1", "unknown flags mean nothing", (headers(1, GET, flags=END_HEADERS | 0xd2),), FINE),
    ("4.1", "unknown types are passed over", (frame(0x16, 0xff, 77, b"abc"),), FINE),
    ("4.2", "a frame may have 16384 bytes", (OPEN, frame(DATA, 0, 1, b"x" * 16384)), FINE),
    ("4.2", "and no more: DATA", (OPEN, frame(DATA, 0, 1, b"x" * 16385)), goaway("FRAME_SIZE_ERROR")),
    ("4.2", "HEADERS", (frame(HEADERS, END_HEADERS, 1, b"x" * 16385),), goaway("FRAME_SIZE_ERROR")),
    ("4.2", "what is unknown", (frame(0x16, 0, 0, b"", 1 << 20),), goaway("FRAME_SIZE_ERROR")),
    ("4.3", "a field block that cannot be decoded", (headers(1, b"\xff"),), goaway("COMPRESSION_ERROR")),
    ("4.3", "nothing within a block: another type", (headers(1, GET, flags=0), frame(PING, payload=b"12345678")),
     goaway("PROTOCOL_ERROR")),
    ("4.3", "another stream's HEADERS", (headers(1, GET, flags=0), headers(3, GET)), goaway("PROTOCOL_ERROR")),
    ("5.1", "idle: DATA", (frame(DATA, 0, 1, b"x"),), goaway("PROTOCOL_ERROR")),
    ("5.1", "idle: RST_STREAM", (frame(RST_STREAM, 0, 1, b"\0\0\0\x08"),), goaway("PROTOCOL_ERROR")),
    ("5.1", "idle: WINDOW_UPDATE", (frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),), goaway("PROTOCOL_ERROR")),
    ("5.1", "idle: CONTINUATION", (frame(CONTINUATION, END_HEADERS, 1, block(GET)),), goaway("PROTOCOL_ERROR")),
    ("5.1", "idle: PRIORITY is allowed", (frame(PRIORITY, 0, 1, b"\0\0\0\3\x10"),), FINE),
    ("5.1", "half-closed: DATA", (headers(1, HELD), frame(DATA, 0, 1, b"x")), rst("STREAM_CLOSED")),
    ("5.1", "half-closed: HEADERS", (headers(1, HELD), headers(1, [("a", "b")])), rst("STREAM_CLOSED")),
    ("5.1", "half-closed: WINDOW_UPDATE and PRIORITY are allowed",
     (headers(1, HELD), frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), frame(PRIORITY, 0, 1, b"\0\0\0\3\x10")), FINE),
    ("5.1", "half-closed: CONTINUATION", (headers(1, HELD), frame(CONTINUATION, END_HEADERS, 1, block(GET))), goaway("PROTOCOL_ERROR")),
    ("5.1", "half-closed: RST_STREAM is allowed", (headers(1, HELD), frame(RST_STREAM, 0, 1, b"\0\0\0\0")), FINE),
    ("5.1", "closed by RST_STREAM: CONTINUATION", (OPEN, frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(CONTINUATION, END_HEADERS, 1)),
     goaway("PROTOCOL_ERROR")),
    ("5.1", "closed by RST_STREAM: DATA", (OPEN, frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(DATA, 0, 1, b"x")),
     rst("STREAM_CLOSED")),
    ("5.1", "closed by RST_STREAM: HEADERS", (OPEN, frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), headers(1, GET)),
     goaway("STREAM_CLOSED")),
    ("5.1", "and of another stream, while one goes on",
     (headers(1, HELD), headers(3, HELD), frame(RST_STREAM, 0, 3, b"\0\0\0\x08"), frame(DATA, 0, 3, b"x")), rst("STREAM_CLOSED")),
    ("5.1", "closed by RST_STREAM: WINDOW_UPDATE, PRIORITY and RST_STREAM are allowed",
     (OPEN, frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
      frame(PRIORITY, 0, 1, b"\0\0\0\3\x10"), frame(RST_STREAM, 0, 1, b"\0\0\0\x08")), FINE),
    ("5.1.1", "a stream of an even number", (headers(2, GET),), goaway("PROTOCOL_ERROR")),
    ("5.1.1", "one below a number that was used", (headers(5, HELD), headers(3, GET)), goaway("PROTOCOL_ERROR")),
    ("5.1.1", "numbers may be left out", (headers(7, GET),), FINE),
    ("5.3", "HEADERS that depend on themselves",
     (frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, b"\0\0\0\1\x10" + block(HELD)),), rst("PROTOCOL_ERROR")),
    ("5.3", "PRIORITY that depends on itself", (headers(1, HELD), frame(PRIORITY, 0, 1, b"\0\0\0\1\x10")), rst("PROTOCOL_ERROR")),
    ("5.5", "an unknown type within a block", (headers(1, GET, flags=0), frame(0x16)), goaway("PROTOCOL_ERROR")),
    ("6.1", "DATA of the connection", (frame(DATA, 0, 0, b"x"),), goaway("PROTOCOL_ERROR")),
    ("6.1", "DATA without the length of its padding", (OPEN, frame(DATA, PADDED, 1)), goaway("FRAME_SIZE_ERROR")),
    ("6.1", "padding that fills the frame", (OPEN, frame(DATA, PADDED, 1, b"\4\0\0\0")), goaway("PROTOCOL_ERROR")),
    ("6.1", "nothing but padding", (OPEN, frame(DATA, PADDED, 1, b"\3\0\0\0")), FINE),
    ("6.2", "HEADERS of the connection", (headers(0, GET),), goaway("PROTOCOL_ERROR")),
    ("6.2", "padded, with a priority",
     (frame(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITIZED, 1, b"\2\0\0\0\3\x10" + block(GET) + b"\0\0"),), FINE),
    ("6.2", "padding longer than the block", (frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + block(GET)),),
     goaway("PROTOCOL_ERROR")),
    ("6.2", "too short for its priority", (frame(HEADERS, END_HEADERS | PRIORITIZED, 1, b"\0\0\0\3"),), goaway("FRAME_SIZE_ERROR")),
    ("6.3", "PRIORITY of 6 bytes, of an idle stream", (frame(PRIORITY, 0, 1, b"\0\0\0\3\x10\0"),), rst("FRAME_SIZE_ERROR")),
    ("6.3", "PRIORITY of the connection", (frame(PRIORITY, 0, 0, b"\0\0\0\3\x10"),), goaway("PROTOCOL_ERROR")),
    ("6.3", "PRIORITY of 4 bytes", (headers(1, HELD), frame(PRIORITY, 0, 1, b"\0\0\0\3")), rst("FRAME_SIZE_ERROR")),
    ("6.4", "RST_STREAM of the connection", (frame(RST_STREAM, 0, 0, b"\0\0\0\0"),), goaway("PROTOCOL_ERROR")),
    ("6.4", "RST_STREAM of 3 bytes", (headers(1, HELD), frame(RST_STREAM, 0, 1, b"\0\0\0")), goaway("FRAME_SIZE_ERROR")),
    ("6.4", "RST_STREAM of 5 bytes", (headers(1, HELD), frame(RST_STREAM, 0, 1, b"\0\0\0\x08\0")), goaway("FRAME_SIZE_ERROR")),
    ("6.4", "RST_STREAM ends a stream", (headers(1, HELD), frame(RST_STREAM, 0, 1, b"\0\0\0\x08")), FINE),
    ("6.5", "SETTINGS of a stream", (frame(SETTINGS, 0, 1),), goaway("PROTOCOL_ERROR")),
    ("6.5", "SETTINGS of 5 bytes", (frame(SETTINGS, 0, 0, b"\0\3\0\0\0"),), goaway("FRAME_SIZE_ERROR")),
    ("6.5", "an acknowledgement that says something", (frame(SETTINGS, ACK, 0, setting(3, 1)),), goaway("FRAME_SIZE_ERROR")),
    ("6.5.2", "ENABLE_PUSH 2", (frame(SETTINGS, payload=setting(2, 2)),), goaway("PROTOCOL_ERROR")),
    ("6.5.2", "INITIAL_WINDOW_SIZE 2^31", (frame(SETTINGS, payload=setting(4, 1 << 31)),), goaway("FLOW_CONTROL_ERROR")),
    ("6.5.2", "MAX_FRAME_SIZE 16383", (frame(SETTINGS, payload=setting(5, 16383)),), goaway("PROTOCOL_ERROR")),
    ("6.5.2", "MAX_FRAME_SIZE 2^24", (frame(SETTINGS, payload=setting(5, 1 << 24)),), goaway("PROTOCOL_ERROR")),
    ("6.5.2", "values at their bounds", (frame(SETTINGS, payload=setting(1, 0) + setting(2, 1) + setting(2, 0) + setting(3, 0) +
                                                  setting(4, (1 << 31) - 1) + setting(5, 16384) + setting(5, (1 << 24) - 1) + setting(6, 0)),), FINE),
    ("6.5.2", "SETTINGS may be empty", (frame(SETTINGS),), FINE),
    ("6.5.2", "unknown settings mean nothing", (frame(SETTINGS, payload=setting(0x99, 1)),), FINE),
    ("6.6", "PUSH_PROMISE of a client", (headers(1, HELD), frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + block(GET))),
     goaway("PROTOCOL_ERROR")),
    ("6.7", "PING of a stream", (frame(PING, 0, 1, b"12345678"),), goaway("PROTOCOL_ERROR")),
    ("6.7", "PING of 6 bytes", (frame(PING, 0, 0, b"123456"),), goaway("FRAME_SIZE_ERROR")),
    ("6.7", "PING of 9 bytes", (frame(PING, 0, 0, b"123456789"),), goaway("FRAME_SIZE_ERROR")),
    ("6.8", "GOAWAY of 7 bytes", (frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0"),), goaway("FRAME_SIZE_ERROR")),
    ("6.8", "GOAWAY of a stream", (frame(GOAWAY, 0, 1, b"\0\0\0\0\0\0\0\0"),), goaway("PROTOCOL_ERROR")),
    ("6.8", "GOAWAY ends nothing that is under way", (headers(1, GET), frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0bye")), FINE),
    ("6.9", "WINDOW_UPDATE of 0, of the connection", (frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),), goaway("PROTOCOL_ERROR")),
    ("6.9", "and of a stream", (headers(1, HELD), frame(WINDOW_UPDATE, 0, 1, b"\x80\0\0\0")), rst("PROTOCOL_ERROR")),
    ("6.9", "the reserved bit of WINDOW_UPDATE means nothing", (frame(WINDOW_UPDATE, 0, 0, b"\x80\0\0\1"),), FINE),
    ("6.9", "WINDOW_UPDATE of 3 bytes", (frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"),), goaway("FRAME_SIZE_ERROR")),
    ("6.9.1", "a window above 2^31-1, of the connection", (frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),),
     goaway("FLOW_CONTROL_ERROR")),
    ("6.9.1", "and of a stream", (headers(1, HELD), frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff")), rst("FLOW_CONTROL_ERROR")),
    ("6.9.2", "above it by SETTINGS",
     (headers(1, HELD), frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\0\0"), frame(SETTINGS, payload=setting(4, 1 << 20))),
     goaway("FLOW_CONTROL_ERROR")),
    ("6.10", "CONTINUATION of the connection", (headers(1, GET, flags=0), frame(CONTINUATION, END_HEADERS, 0)),
     goaway("PROTOCOL_ERROR")),
    ("6.10", "CONTINUATION of another stream", (headers(1, GET, flags=0), frame(CONTINUATION, END_HEADERS, 3)),
     goaway("PROTOCOL_ERROR")),
    ("6.10", "CONTINUATION without a block", (headers(1, HELD), frame(CONTINUATION, END_HEADERS, 1)), goaway("PROTOCOL_ERROR")),
    ("6.10", "CONTINUATION behind one that ended the block",
     (frame(HEADERS, END_STREAM, 1, block(HELD)), frame(CONTINUATION, END_HEADERS, 1), frame(CONTINUATION, END_HEADERS, 1)),
     goaway("PROTOCOL_ERROR")),
    ("6.10", "CONTINUATION behind DATA", (OPEN, frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, block(GET))), goaway("PROTOCOL_ERROR")),
    ("6.10", "DATA within a block", (headers(1, GET, flags=0), frame(DATA, END_STREAM, 1, b"x")), goaway("PROTOCOL_ERROR")),
    ("6.10", "PRIORITY within a block", (headers(1, GET, flags=0), frame(PRIORITY, 0, 1, b"\0\0\0\3\x10")), goaway("PROTOCOL_ERROR")),
    ("6.10", "PRIORITY within a block, of a wrong size", (headers(1, GET, flags=0), frame(PRIORITY, 0, 1, b"\0")),
     goaway("PROTOCOL_ERROR")),
    ("6.10", "a block in pieces of a byte",
     (frame(HEADERS, END_STREAM, 1, block(GET)[:-2]), frame(CONTINUATION, 0, 1, block(GET)[-2:-1]), frame(CONTINUATION, 0, 1),
      frame(CONTINUATION, END_HEADERS, 1, block(GET)[-1:])), FINE),
    ("7", "unknown codes: of a stream", (headers(1, HELD), frame(RST_STREAM, 0, 1, b"\0\0\0\xff")), FINE),
    ("7", "unknown codes: of the connection", (frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xff"),), FINE),
    ("8.1", "HEADERS after the head that do not end the stream", (OPEN, headers(1, [("a", "b")], end=False)), rst("PROTOCOL_ERROR")),
    ("8.1", "trailers are allowed", (headers(1, POST, end=False), frame(DATA, 0, 1, b"x"), headers(1, [("x-sum", "b")])), FINE),
    ("8.1", "pseudo-fields among them", (OPEN, headers(1, [(":path", "/")])), rst("PROTOCOL_ERROR")),
    ("8.1.1", "less DATA than Content-Length",
     (headers(1, request("/held", "POST") + [("content-length", "2")], end=False), frame(DATA, END_STREAM, 1, b"x")),
     rst("PROTOCOL_ERROR")),
    ("8.1.1", "more", (headers(1, request("/held", "POST") + [("content-length", "2")], end=False), frame(DATA, 0, 1, b"xyz")),
     rst("PROTOCOL_ERROR")),
    ("8.1.1", "none at all", (headers(1, POST + [("content-length", "2")]),), rst("PROTOCOL_ERROR")),
    ("8.1.1", "less, over several frames",
     (headers(1, request("/held", "POST") + [("content-length", "4")], end=False), frame(DATA, 0, 1, b"xy"), frame(DATA, END_STREAM, 1, b"z")),
     rst("PROTOCOL_ERROR")),
    ("8.1.1", "less, and trailers", (headers(1, request("/held", "POST") + [("content-length", "4")], end=False), frame(DATA, 0, 1, b"xyz"),
                                     headers(1, [("x-sum", "b")])), rst("PROTOCOL_ERROR")),
    ("8.1.1", "over several frames, as much as it says",
     (headers(1, POST + [("content-length", "3")], end=False), frame(DATA, 0, 1, b"xy"), frame(DATA, END_STREAM, 1, b"z")), FINE),
]

BAD = request("/bad")
# Requests that are malformed (section 8.2 and 8.3): each a fault of its stream.
MALFORMED = [
    ("8.2", "a capital in a name", BAD + [("X-Y", "a")]),
    ("8.2.1", "an empty name", BAD + [("", "a")]),
    ("8.2.1", "a blank in a name", BAD + [("a b", "a")]),
    ("8.2.1", "a byte beyond ASCII in a name", BAD + [("a\xe4", "a")]),
    ("8.2.1", "a colon in a name", BAD + [("a:b", "a")]),
    ("8.2.1", "DEL in a name", BAD + [("a\x7f", "a")]),
    ("8.2.1", "NUL in a name", BAD + [("a\0", "a")]),
    ("8.2.1", "LF in a value", BAD + [("x", "a\nb: c")]),
    ("8.2.1", "CR in a value", BAD + [("x", "a\rb")]),
    ("8.2.1", "CR and LF, and what would be another request", BAD + [("x", "a\r\n\r\nGET /bad HTTP/1.1\r\nHost: web\r\n\r\n")]),
    ("8.2.1", "NUL in a value", BAD + [("x", "a\0b")]),
    ("8.2.1", "a blank before a value", BAD + [("x", " a")]),
    ("8.2.1", "a tab behind a value", BAD + [("x", "a\t")]),
    ("8.2.2", "Connection", BAD + [("connection", "close")]),
    ("8.2.2", "Keep-Alive", BAD + [("keep-alive", "timeout=5")]),
    ("8.2.2", "Proxy-Connection", BAD + [("proxy-connection", "close")]),
    ("8.2.2", "Transfer-Encoding", BAD + [("transfer-encoding", "chunked")]),
    ("8.2.2", "Upgrade", BAD + [("upgrade", "h2c")]),
    ("8.2.2", "TE but for trailers", BAD + [("te", "trailers, gzip")]),
    ("8.3", "an unknown pseudo-field", BAD + [(":x", "a")]),
    ("8.3", "one of a response", BAD + [(":status", "200")]),
    ("8.3", "one behind a field", BAD[:3] + [("x", "a")] + BAD[3:]),
    *[("8.3.1", f"{BAD[i][0]} twice", BAD + [BAD[i]]) for i in range(4)],
    *[("8.3.1", f"no {BAD[i][0]}", BAD[:i] + BAD[i + 1:]) for i in range(4)],
    ("8.3.1", "an empty path", request("")),
    ("8.3.1", "a path that is none", request("bad")),
    ("8.3.1", "a blank in the path", request("/bad HTTP/1.1")),
    ("8.3.1", "LF in the path", request("/bad\nx: y")),
    ("8.3.1", "a fragment", request("/bad#x")),
    ("8.3.1", "user information", request("/bad", authority="user@web")),
    ("8.3.1", "a method that is no token", request("/bad", method="GET /bad")),
    ("8.3.1", "an empty method", request("/bad", method="")),
    ("8.3.1", "Host is not :authority", BAD + [("host", "other")]),
    ("8.3.1", "Host twice", BAD + [("host", "web"), ("host", "web")]),
    ("8.5", "CONNECT with a scheme", [(":method", "CONNECT"), (":scheme", "http"), (":authority", "web:80")]),
    ("8.5", "CONNECT without an authority", [(":method", "CONNECT")]),
    ("8.5", "CONNECT with a path", [(":method", "CONNECT"), (":path", "/bad"), (":authority", "web:80")]),
    ("8.1.1", "Content-Length that is no number", BAD + [("content-length", "+0")]),
    ("8.1.1", "Content-Length twice", BAD + [("content-length", "0"), ("content-length", "0")]),
]

# (section of RFC 7541, what, the block)
BLOCKS = [
    ("2.3.3", "index 0", b"\x80"),
    ("2.3.3", "an index behind the tables", b"\xbe"),
    ("2.3.3", "a name behind the tables", b"\x7e\1a"),
    ("4.2", "a table size behind a field", b"\x82\x20"),
    ("6.3", "a table size above what was offered", number(4097, 5, 0x20)),
    ("5.1", "an integer without end", b"\xff" + b"\x80" * 20),
    ("5.1", "an integer of 64 bits", b"\xff" + b"\xff" * 9 + b"\x01"),
    ("5.2", "a string longer than the block", b"\x00\x05abc"),
    ("5.2", "padding of a byte", b"\x00\x82\x1f\xff\x01a"),
    ("5.2", "padding of zeros", b"\x00\x81\x18\x01a"),
    ("5.2", "EOS", b"\x00\x84\xff\xff\xff\xff\x01a"),
]


def name_of(row):
    return f"{row[0]} {row[1]}"


def behave(conn, backend):
    """Answers all but /held, whose connection it keeps."""
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        with backend.lock:
            vars(backend).setdefault("requests", []).append(m)
        if m.target == "/held":
            conn.recv(1)
            return
        reader.body_of(m)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ngreen")


@pytest.fixture
def stage(web, backend):
    def make(behaviour=behave, **keys):
        return web(mode="http", h2c=True, green=[backend("green", behaviour)], health={"type": "none"}, **keys)
    return make


def asks_again(c, what):
    """A connection that goes on serves the next request."""
    c.send(headers(901, GET))
    assert c.status(901) == 200, what


def judge(t, row, frames, expected, settings=True):
    with Raw(t.address()) as c:
        if settings:
            c.settle()
        c.send(*frames)
        assert c.verdict() == expected, name_of(row)
        if expected[0] != "goaway":
            asks_again(c, name_of(row))


def test_frames(stage):
    t = stage()
    for row in FRAMES:
        if row[0] != "3.4":
            judge(t, row, row[2], row[3])
            continue
        with Raw(t.address(), preface=False) as c:
            c.send(PREFACE, *row[2])
            assert c.verdict() == row[3], name_of(row)
    assert {m.target for m in requests_of(t.green)} == {"/good", "/held"}


def test_more_streams_than_are_taken(stage):
    """Section 5.1.2; and what closed them: each gives its place to another. A stream that has ended both ways is closed."""
    t = stage()
    with Raw(t.address()) as c:
        c.send(*[headers(n, HELD) for n in range(1, 203, 2)])
        assert c.verdict() == rst("REFUSED_STREAM") and [n for n, s in c.streams.items() if s.over] == [201]
        c.send(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
        asks_again(c, "one less")
        c.send(headers(901, GET))
        assert c.verdict() == goaway("STREAM_CLOSED") and c.goaways[-1][0] == 901


def test_malformed_requests_reach_no_backend(stage):
    t = stage()
    for row in MALFORMED:
        # A stream each, on one connection and on one of its own.
        judge(t, row, (headers(1, row[2]),), rst("PROTOCOL_ERROR"))
    assert {m.target for m in requests_of(t.green)} == {"/good"}
    assert len(requests_of(t.green)) == len(MALFORMED)


def test_field_blocks(stage):
    t = stage()
    for row in BLOCKS:
        judge(t, row, (headers(1, row[2]),), goaway("COMPRESSION_ERROR"))
    with Raw(t.address()) as c:
        # The largest that is taken; and what enters the table is there for the next block (sections 4.2, 6.2.1).
        c.send(headers(1, number(4096, 5, 0x20) + literal("x-y", "z", 0x40) + block(GET)[:0]))
        assert c.verdict() == rst("PROTOCOL_ERROR")     # no request, but a good block
        c.send(headers(3, block(GET) + b"\xbe"))
        assert c.status(3) == 200
        # Of one that is refused for its size, too.
        c.send(headers(5, block(GET) + literal("x-z", "z", 0x40) + b"".join(literal("x", "y") for _ in range(200))))
        assert c.status(5) == 431
        c.send(headers(7, block(GET) + b"\xbe\xbf"))
        assert c.status(7) == 200
    assert [m.get("x-y") for m in requests_of(t.green)][-2:] == ["z", "z"]
    assert [m.get("x-z") for m in requests_of(t.green)][-2:] == [None, "z"]


def test_what_is_answered_to_settings_and_ping(stage):
    """Sections 3.4, 6.5.3 and 6.7."""
    t = stage()
    with Raw(t.address(), settings=[(MAX_STREAMS, 7)]) as c:
        c.settle()
        assert c.acked == 1 and len(c.pings) == 1
        assert c.streams[0].frames[0] == SETTINGS and c.settings[MAX_STREAMS] == 100
        assert c.settings.get(2, 0) == 0    # ENABLE_PUSH
        c.send(frame(PING, ACK, payload=b"12345678"))   # nothing is answered to an answer
        c.settle()
        assert len(c.pings) == 2
        c.send(frame(SETTINGS), frame(SETTINGS, payload=setting(1, 0)))
        c.settle()
        assert c.acked == 3
        asks_again(c, "after all of that")


def sized(conn, backend):
    """As many bytes as the target says."""
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        reader.body_of(m)
        n = int(m.target[1:])
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + b"x" * n)


def test_windows_hold_back_what_is_sent(stage):
    """Section 6.9: not a byte more than either window lets pass, and a window may be negative."""
    t = stage(sized)
    with Raw(t.address(), settings=[(INITIAL_WINDOW, 10)]) as c:
        c.send(headers(1, request("/100")))
        c.until(lambda: len(c.body(1)) >= 10)
        c.settle()
        assert len(c.body(1)) == 10
        c.send(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\5"))
        c.until(lambda: len(c.body(1)) >= 15)
        c.settle()
        assert len(c.body(1)) == 15
        # 10 less for each: 10 below nothing, which 12 lift to 2.
        c.send(frame(SETTINGS, payload=setting(INITIAL_WINDOW, 0)))
        c.send(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x0c"))
        c.until(lambda: len(c.body(1)) >= 17)
        c.settle()
        assert len(c.body(1)) == 17
        # Another stream has no window of its own yet; HEADERS need none.
        c.send(headers(3, request("/0")))
        assert c.status(3) == 200
        # The last of several in one frame counts (section 6.5.3).
        c.send(frame(SETTINGS, payload=setting(INITIAL_WINDOW, 0) + setting(INITIAL_WINDOW, 1000)))
        assert c.status(1) == 200 and len(c.body(1)) == 100
        # That of the connection, which SETTINGS do not change.
        c.send(frame(SETTINGS, payload=setting(4, 1 << 20)))
        c.send(headers(5, request("/100000")))
        left = 65535 - 100
        c.until(lambda: len(c.body(5)) >= left)
        c.settle()
        assert len(c.body(5)) == left
        c.send(frame(WINDOW_UPDATE, 0, 0, b"\0\1\0\0"))
        assert c.status(5) == 200 and len(c.body(5)) == 100000


def test_translation(stage):
    """Sections 8.2.3 and 8.3: what of a request the backend gets, in HTTP/1.1."""
    t = stage(site)
    with Raw(t.address()) as c:
        c.send(headers(1, request("/a?b") + [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("te", "trailers")]))
        assert c.status(1) == 200 and c.body(1) == b"green"
        c.send(headers(3, request("/c", "POST") + [("content-length", "3")], end=False), frame(DATA, 0, 3, b"ab"),
               frame(DATA, END_STREAM | PADDED, 3, b"\2c\0\0"))
        assert c.status(3) == 200
        c.send(headers(5, request("/d", "POST"), end=False), frame(DATA, 0, 5, b"abc"), headers(5, [("x-sum", "6")]))
        assert c.status(5) == 200
        c.send(headers(7, request("/e", "HEAD")))
        assert c.status(7) == 200 and c.body(7) == b""
        c.send(headers(9, [(":method", "GET"), (":path", "/f"), (":scheme", "http"), ("host", "web")]))
        assert c.status(9) == 200
    first, second, third, fourth, fifth = requests_of(t.green)
    assert (first.method, first.target, first.get("Host")) == ("GET", "/a?b", "web")
    assert first.all("cookie") == ["a=1; b=2"] and first.get("x") == "y"
    assert (second.get("Content-Length"), second.body) == ("3", b"abc")
    assert (third.get("Transfer-Encoding"), third.body) == ("chunked", b"abc")
    assert [tuple(f) for f in third.trailers] == [("x-sum", "6")]
    assert fourth.method == "HEAD" and fifth.get("Host") == "web"


@pytest.mark.nosan
def test_the_table_of_obligations_names_what_is_there():
    """tests/http2_conformance.md says which test shows what."""
    here = os.path.dirname(os.path.abspath(__file__))
    tables = {"FRAMES": FRAMES, "MALFORMED": MALFORMED, "BLOCKS": BLOCKS}
    with open(os.path.join(here, "..", "http2_conformance.md")) as f:
        rows = [line for line in f if re.match(r"\| (\d|all)", line)]
    for line in rows:
        shown = line.split(" | ")[-1]
        for file, name in re.findall(r"`(\w+\.(?:py|c))::(\w+)`", shown):
            folder = os.path.join(here, "..", "unit") if file.endswith(".c") else here
            with open(os.path.join(folder, file)) as f:
                assert re.search(rf"^(def )?{name}\(", f.read(), re.MULTILINE), (file, name)
        for table, quoted in re.findall(r'`(FRAMES|MALFORMED|BLOCKS)`((?: "[^"]+",?)*)', shown):
            names = {row[1] for row in tables[table]}
            assert set(re.findall(r'"([^"]+)"', quoted)) <= names, line
        assert re.search(r"::|`(FRAMES|MALFORMED|BLOCKS)`", shown), line
    assert len(rows) > 60
