"""Health checks by gRPC: a real server, and ones that do what none should."""
import contextlib
import ssl

import pytest

from helpers.certificates import Authority
from helpers.grpc_health import GrpcHealth
from helpers.http2 import CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame
from helpers.http2_raw import block
from helpers.reload import change, reload
from helpers.scale import until

ASKS = {"type": "grpc", "interval": 0.1, "timeout": 60.0, "rise": 1, "fall": 1}
HELLO = frame(SETTINGS)
HEAD = frame(HEADERS, 1, block([(":status", "200"), ("content-type", "application/grpc")]), END_HEADERS)
SERVING = frame(DATA, 1, b"\0\0\0\0\2\x08\1")


def trailers(*fields):
    return frame(HEADERS, 1, block(fields), END_HEADERS | END_STREAM)


WELL = HELLO + HEAD + SERVING + trailers(("grpc-status", "0"))


@pytest.fixture
def health(ports, closing):
    def make(states, **how):
        return closing.add(GrpcHealth(ports.hold(), states, **how))
    return make


def state(t, color="green"):
    return t.status("web")["colors"][color]["backends"][0]


def up(t, color="green"):
    until(lambda: state(t, color)["state"] == "up", f"{color} is up")


def error(t, wanted, color="green"):
    until(lambda: state(t, color)["error"] == wanted and state(t, color)["state"] == "down",
          lambda: f"{color} is down: {wanted!r}, and not {state(t, color)}")


def test_a_server_says_how_its_services_do(web, health):
    server, other = health({"": "SERVING", "shop": "SERVING"}), health({"": "NOT_SERVING"})
    t = web(green=[server.address], blue=[other.address], health=ASKS | {"service": "shop", "host": "shop.example"})
    up(t)
    # That one knows of no shop.
    error(t, "grpc-status 5 NOT_FOUND: it does not know health.service", "blue")
    call = server.calls[0]
    assert call["service"] == "shop" and call["user-agent"].startswith("teald/") and 0 < call["left"] <= 60

    for said in "NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN":
        server.set("shop", said)
        error(t, f"answers {said}")
    line = t.wait_log("backend.down", backend=server.address, reason="answers NOT_SERVING")
    assert line["service"] == "web"
    refused = t.ctl("check", "web", "green")
    assert not refused["ok"] and "answers " in refused["message"], refused
    server.set("shop", "UNAVAILABLE")
    error(t, "grpc-status 14 UNAVAILABLE: told so")
    server.set("shop", "SERVING")
    up(t)

    # Another question by a reload: the server as a whole.
    change(t, health=ASKS)
    reload(t)
    error(t, "answers NOT_SERVING", "blue")
    other.set("", "SERVING")
    up(t, "blue")
    t.ok("flip", "web", "blue")


def test_a_server_without_that_service(web, health):
    server = health({})
    t = web(green=[server.address], health=ASKS)
    until(lambda: state(t)["state"] == "down", "it is down")
    assert state(t)["error"].startswith("grpc-status 12 UNIMPLEMENTED"), state(t)


def test_by_tls_http2_is_agreed_first(web, health, backend, tmp_path):
    """Terms of the check's own, and those of the traffic, which speaks HTTP/1.1 there."""
    authority = Authority(tmp_path)
    paths = authority.issue("grpc.internal", "grpc.internal")
    server = health({"": "SERVING"}, certificate=paths)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths["cert"], paths["key"])
    context.set_alpn_protocols(["http/1.1"])

    def old(conn, b):
        with contextlib.suppress(OSError):
            s = context.wrap_socket(conn, server_side=True)
            while s.recv(4096):
                pass
    terms = {"ca": str(authority.pem), "server_name": "grpc.internal"}
    t = web(green=[server.address], blue=[backend("old", old)], mode="http", health=ASKS | {"tls": terms})
    up(t)
    error(t, 'does not agree to HTTP/2 ("h2" by ALPN)', "blue")
    change(t, backend_tls=terms, health=ASKS)
    reload(t)
    calls = len(server.calls)
    until(lambda: len(server.calls) > calls + 2, "it is asked on the terms of the traffic")
    assert state(t)["state"] == "up"


FAULTS = {
    "http/1.1": (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 'answers in HTTP/1, not HTTP/2: "HTTP/1.1 400 Bad Request"'),
    "no protocol at all": (b"220 mail.example ESMTP\r\n", 'did not answer in HTTP/2: "220 mail.example ESMTP"'),
    "a reset stream": (HELLO + frame(RST_STREAM, 1, b"\0\0\0\7"), "RST_STREAM REFUSED_STREAM"),
    "a goaway": (HELLO + frame(GOAWAY, 0, b"\0\0\0\0\0\0\0\x0btoo_many_pings"), 'GOAWAY ENHANCE_YOUR_CALM: "too_many_pings"'),
    "a flood of pings": (HELLO + 10000 * frame(PING, 0, b"12345678"), "more than 256 frames and no answer"),
    "a flood of settings": (10000 * HELLO, "more than 256 frames and no answer"),
    "a huge head": (HELLO + frame(HEADERS, 1, b"\x88") + 8 * frame(CONTINUATION, 1, bytes(16000)), "HTTP/2: fields too large"),
    "a head of many fields": (HELLO + frame(HEADERS, 1, b"\x88" + 200 * b"\0\1a\1b", END_HEADERS), "HTTP/2: too many fields"),
    "a long answer": (HELLO + HEAD + 8 * frame(DATA, 1, bytes(1000)), "an answer of more than 4096 bytes"),
    "no status": (HELLO + HEAD + SERVING + trailers(("x", "y")), "ended its answer without a grpc-status"),
    "a page": (HELLO + frame(HEADERS, 1, block([(":status", "200"), ("content-type", "text/html")]), END_HEADERS),
               'no answer of gRPC: its Content-Type is "text/html"'),
    "a proxy": (HELLO + frame(HEADERS, 1, block([(":status", "503")]), END_HEADERS | END_STREAM), "HTTP status 503"),
    "an early end": (None, "closed the connection without an answer"),
}


def test_what_is_no_answer_has_a_reason(web, backend):
    """One backend after the other is all of them, each with its fault; and one that answers in pieces is well."""
    def faulty(raw):
        def meet(conn, b):
            with contextlib.suppress(OSError):
                conn.recv(4096)
                if raw is None:
                    return
                conn.sendall(raw)
                while conn.recv(4096):
                    pass
        return meet

    def slow(conn, b):
        with contextlib.suppress(OSError):
            conn.recv(4096)
            for i in range(len(WELL)):
                conn.sendall(WELL[i:i + 1])
            while conn.recv(4096):
                pass
    servers = {name: backend(name, faulty(raw)) for name, (raw, _) in FAULTS.items()}
    good, silent = backend("slow", slow), backend("silent", faulty(b""))
    t = web(green=[*servers.values(), good], blue=[silent], health=ASKS)

    def of(b, color="green"):
        return next(x for x in t.status("web")["colors"][color]["backends"] if x["address"] == b.address)
    for name, (_, wanted) in FAULTS.items():
        until(lambda: of(servers[name])["state"] == "down", f"{name}: down")
        assert of(servers[name])["error"] == wanted, name
    until(lambda: of(good)["state"] == "up", "an answer byte by byte is one")
    # One that says nothing has its time.
    change(t, health=ASKS | {"timeout": 0.2})
    reload(t)
    error(t, "no answer after 0.2 s", "blue")


def test_a_name_that_no_server_has(web):
    t = web(start=False, health=ASKS | {"service": "x" * 1025})
    status, stderr = t.start_refused()
    assert status == 2 and "health.service: has more than 1024 bytes" in stderr
