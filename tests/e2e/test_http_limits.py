"""Limits of HTTP mode: the right answer, and not one byte to a backend."""
import json

import pytest

from helpers.http1 import Http, chunked, requests_of, site


@pytest.fixture
def stage(web, backend):
    def make(**keys):
        return web(mode="http", green=[backend("green", site)], blue=[backend("blue", site)], **keys)
    return make


def untouched(t):
    return requests_of(t.green) == [] and t.green.received == 0


def test_a_body_that_says_it_is_too_long(stage):
    t = stage(max_body=1000)
    with Http(t.address()) as c:
        assert c.ask(method="POST", body=b"x" * 1000).body == b"green"
    with Http(t.address()) as c:
        c.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1001\r\n\r\n")
        assert c.response().status == 413
        assert c.ended
    assert [len(r.body) for r in requests_of(t.green)] == [1000]


def test_a_body_that_turns_out_too_long(stage):
    t = stage(max_body=1000)
    with Http(t.address()) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"x" * 1000, 300))
        assert c.response().body == b"green"
        # Whole, so that it is known where the next one begins …
        c.send(b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"x" * 1001, 300))
        assert c.response().status == 413
    with Http(t.address()) as c:    # … and without end.
        c.send(b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n"
               + chunked(b"x" * 1001, 300)[:-5])
        assert c.response().status == 413
        assert c.ended
    # No backend took the part for the whole.
    assert [len(r.body) for r in requests_of(t.green)] == [1000]


def test_a_body_that_waits_to_be_asked_for(stage):
    t = stage(max_body="1KiB")
    with Http(t.address()) as c:
        c.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n")
        assert c.response().status == 413
    assert untouched(t)


def test_header_lines(stage):
    t = stage(max_headers=10)
    with Http(t.address()) as c:
        assert c.ask(headers=[(f"X-{i}", "y") for i in range(9)]).status == 200
    with Http(t.address()) as c:
        assert c.ask(headers=[(f"X-{i}", "y") for i in range(10)]).status == 431
        assert c.ended
    assert len(requests_of(t.green)) == 1


def test_a_long_head(stage):
    t = stage(max_header_size=2048)
    with Http(t.address()) as c:
        # "GET / HTTP/1.1", "Host: web", "X: …" and the last line.
        fits = 2048 - len("GET / HTTP/1.1\r\nHost: web\r\nX: \r\n\r\n")
        assert c.ask(headers=[("X", "y" * fits)]).status == 200
        assert c.ask(headers=[("X", "y" * (fits + 1))]).status == 431
        assert c.ended
    with Http(t.address()) as c:        # one that never ends
        c.send("GET / HTTP/1.1\r\nHost: web\r\nX: " + "y" * 4000)
        assert c.response().status == 431
    assert len(requests_of(t.green)) == 1


def test_a_long_target(stage):
    t = stage(max_uri=100)
    with Http(t.address()) as c:
        assert c.ask("/" + "a" * 99).status == 200
        assert c.ask("/" + "a" * 100).status == 414
        assert c.ended
    with Http(t.address()) as c:
        c.send("GET /" + "a" * 9000)
        assert c.response().status == 414
    assert len(requests_of(t.green)) == 1


def test_requests_of_one_connection(stage):
    t = stage(max_requests=3)
    with Http(t.address()) as c:
        answers = [c.ask() for _ in range(3)]
        assert [a.get("Connection") for a in answers] == [None, None, "close"]
        assert c.ended
    with Http(t.address()) as c:        # asked ahead: the fourth stays unanswered
        c.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n" * 4)
        assert [c.response().status for _ in range(3)] == [200] * 3
        assert c.ended
    assert len(requests_of(t.green)) == 6


def test_a_slow_body_is_not_waited_for(stage):
    t = stage(body_min_rate=10000, body_grace=1.0)
    with Http(t.address()) as c:
        c.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100000\r\n\r\nx")
        assert c.response().status == 408
        assert c.ended
    with Http(t.address()) as c:
        assert c.ask(method="POST", body=b"x" * 100000).body == b"green"
    assert [len(r.body) for r in requests_of(t.green)] == [100000]


def test_a_head_that_trickles(stage):
    t = stage(header_timeout=0.4)
    with Http(t.address()) as c:
        c.send("GET / HTTP/1.1\r\nHost: web\r\n")
        assert c.response().status == 408
        assert c.ended
    assert untouched(t)


def test_a_silent_connection_just_ends(stage):
    t = stage(header_timeout=60.0, keepalive_timeout=0.3)
    with Http(t.address()) as c:
        assert c.ask().status == 200
        assert c.response() is None
    assert len(requests_of(t.green)) == 1


@pytest.mark.parametrize("accept, kind", [
    (None, "text/html"), ("*/*", "text/html"), ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
    ("application/json", "application/json"), ("application/json, text/html;q=0.5", "application/json"),
    ("application/json;q=0, */*", "text/html")])
def test_errors_speak_the_client_s_language(stage, accept, kind):
    t = stage()
    t.green.stop()
    with Http(t.address()) as c:
        a = c.ask(headers=[("Accept", accept)] * (accept is not None) + [("X-Request-Id", "abc-123")])
    assert a.status in (502, 503) and a.get("Content-Type").split(";")[0] == kind
    assert "no-store" in a.get("Cache-Control") and a.get("X-Request-Id") == "abc-123"
    assert b"abc-123" in a.body and len(a.body) < 2000
    if kind == "application/json":
        assert json.loads(a.body)["status"] == a.status
    if a.status == 503:
        assert int(a.get("Retry-After")) > 0


def test_the_log_says_why(stage):
    t = stage(max_body=10, max_headers=8)
    with Http(t.address()) as c:
        c.ask(method="POST", body=b"x" * 11)
    assert t.wait_log("http.request", status=413)["reason"]
    with Http(t.address()) as c:
        c.ask(headers=[("A", "b")] * 20)
    assert t.wait_log("http.request", status=431)["reason"] == "too many header lines"
