"""Backends that fail at each step of an exchange: the client is told, or cut
off, but never given half an answer for a whole one; and what changes something
is executed once at most."""
import socket
import threading

import pytest

from helpers.backends import reset
from helpers.http1 import Http, Reader
from helpers.scale import until

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def plays(fault):
    """A behaviour: fault(conn, reader, m) is called with each request's head,
    and what it returns is whether the connection goes on.
    .seen: the targets of all heads; .executed: of those read to their end."""
    def behave(conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            with b.lock:
                b.seen.append(m.target)
            if not fault(conn, reader, m, b):
                return
    return behave


def execute(reader, m, b):
    reader.body_of(m)
    with b.lock:
        b.executed.append(m.target)


def good(conn, reader, m, b):
    execute(reader, m, b)
    conn.sendall(WHOLE)
    return True


def says(text, how=socket.socket.close):
    """Executes the request, says that much of an answer, and ends."""
    def fault(conn, reader, m, b):
        execute(reader, m, b)
        conn.sendall(text)
        how(conn)
    return fault


def gone(conn, b):
    """Never asks what is wanted."""
    with b.lock:
        b.seen.append("?")


def after_head(conn, reader, m, b):
    conn.shutdown(socket.SHUT_WR)


def after_half_the_body(conn, reader, m, b):
    reader.exactly(int(m.get("Content-Length", 0)) // 2)
    reset(conn)


def mute(conn, reader, m, b):
    execute(reader, m, b)
    b.released.wait(60)


@pytest.fixture
def stage(web, backend):
    """stage(behaviour, behaviour…): a running teald with one worker before
    these, t.faulty the first."""
    def make(*behaviours, **keys):
        made = []
        for i, behaviour in enumerate(behaviours):
            b = backend(f"green{i}", behaviour, start=False)
            b.seen, b.executed = [], []
            if behaviour is not None:
                b.start()
            made.append(b)
        t = web(green=made, mode="http", health={"type": "none"}, top={"workers": 1}, **keys)
        t.faulty, t.others = made[0], made[1:]
        return t
    return make


def ask(c, target, method="GET"):
    """A request in one piece: a POST is whole when its backend is chosen."""
    body = "x" * 10 if method == "POST" else ""
    return c.send(f"{method} {target} HTTP/1.1\r\nHost: web\r\nContent-Length: {len(body)}\r\n\r\n{body}").response()


def told(t, target="/x", **fields):
    line = t.wait_log("http.request", path=target, **fields)
    return line["status"], line["end"]


# What a client is told where nothing of an answer has come.
SILENT = {
    "gone": gone,
    "after the head": plays(after_head),
    "after the request": plays(says(b"")),
    "reset": plays(says(b"", reset)),
    "half a status line": plays(says(b"HTTP/1.1 2")),
    "half a head": plays(says(b"HTTP/1.1 200 OK\r\nContent-Le")),
    "half a head, reset": plays(says(b"HTTP/1.1 200 OK\r\nContent-Le", reset)),
}
# What begins an answer, and does not end it.
HALF = {
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
    "all but a byte": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123456789",
    "no chunk": CHUNKED,
    "half a size": CHUNKED + b"5\r\nhello\r\n1",
    "half a chunk": CHUNKED + b"a\r\n12345",
    "whole chunks": CHUNKED + b"5\r\nhello\r\n",
    "half an end": CHUNKED + b"5\r\nhello\r\n0\r\n",
}


@pytest.mark.tsan
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("fault", SILENT, ids=lambda f: f.replace(" ", "-"))
def test_without_an_answer_the_client_is_told(stage, fault, method):
    t = stage(SILENT[fault])
    with Http(t.address()) as c:
        assert ask(c, "/x", method).status == 502
    line = t.wait_log("http.request", path="/x")
    assert (line["status"], line["end"]) == (502, "backend_reset") and "without an answer" in line["reason"]
    assert len(t.faulty.executed) <= 1 and len(t.faulty.seen) == 1


def test_a_backend_that_refuses(stage):
    t = stage(None)
    with Http(t.address()) as c:
        assert c.ask("/x").status == 502
        assert ask(c, "/y", "POST").status == 502
        assert told(t) == told(t, "/y") == (502, "connect")
        # It is back: so are its answers, on the same connection.
        t.faulty.behaviour = plays(good)
        t.faulty.start()
        assert until(lambda: c.ask("/z").status == 200, "it is tried again")


@pytest.mark.tsan
@pytest.mark.parametrize("fault", [*SILENT, "refuses"], ids=lambda f: f.replace(" ", "-"))
def test_another_backend_answers_what_may_be_repeated(stage, fault):
    t = stage(SILENT.get(fault), plays(good))
    with Http(t.address()) as c:
        answers = [c.ask(f"/{i}") for i in range(4)]
    assert [(a.status, a.body) for a in answers] == [(200, b"whole")] * 4
    t.wait_log("http.request", 4, end="done")
    assert fault == "refuses" or t.faulty.seen
    assert sum(l["retries"] for l in t.log_lines("http.request")) >= 1
    assert sorted(t.others[0].executed) == ["/0", "/1", "/2", "/3"]


@pytest.mark.tsan
@pytest.mark.parametrize("fault", SILENT, ids=lambda f: f.replace(" ", "-"))
def test_what_changes_something_is_not_repeated(stage, fault):
    t = stage(SILENT[fault], plays(good))
    answers = {}
    for i in range(4):
        with Http(t.address()) as c:
            answers[f"/{i}"] = ask(c, f"/{i}", "POST").status
    executed = t.faulty.executed + t.others[0].executed
    assert sorted(executed) == sorted(set(executed))
    # Whoever was told that it was done can rely on it.
    assert {target for target, status in answers.items() if status == 200} == set(t.others[0].executed)
    assert set(answers.values()) <= {200, 502} and t.faulty.seen


def test_a_refused_connection_may_always_be_repeated(stage):
    t = stage(None, plays(good))
    with Http(t.address()) as c:
        assert [ask(c, f"/{i}", "POST").status for i in range(4)] == [200] * 4
    assert sorted(t.others[0].executed) == ["/0", "/1", "/2", "/3"]


@pytest.mark.tsan
@pytest.mark.parametrize("how", [socket.socket.close, reset], ids=["closes", "resets"])
@pytest.mark.parametrize("half", HALF, ids=lambda f: f.replace(" ", "-"))
def test_half_an_answer_never_looks_whole(stage, half, how):
    t = stage(plays(says(HALF[half], how)))
    with Http(t.address()) as c:
        c.send("GET /x HTTP/1.1\r\nHost: web\r\n\r\n")
        # With a reset all of it may be lost, which can be told.
        try:
            assert c.response().status == 502
        except OSError:
            pass
    line = t.wait_log("http.request", path="/x")
    assert line["end"] == "backend_reset" and line["reason"]
    assert line["status"] in ((200,) if how is not reset else (200, 502))


def test_an_answer_without_length_that_is_reset(stage):
    """Where the end of the connection is the answer's, a reset is none."""
    t = stage(plays(says(b"HTTP/1.1 200 OK\r\n\r\nhalf", reset)))
    with Http(t.address()) as c:
        c.send("GET /x HTTP/1.1\r\nHost: web\r\n\r\n")
        try:
            assert c.response().status == 502
        except OSError:
            pass
    assert told(t)[1] == "backend_reset"


def test_a_begun_answer_is_not_asked_for_again(stage):
    t = stage(plays(says(HALF["half a body"])), plays(good))
    whole = 0
    for i in range(4):
        with Http(t.address()) as c:
            try:
                assert c.ask(f"/{i}").body == b"whole"
                whole += 1
            except OSError:
                pass
    executed = t.faulty.executed + t.others[0].executed
    assert sorted(executed) == ["/0", "/1", "/2", "/3"] and len(t.others[0].executed) == whole < 4


@pytest.mark.parametrize("text", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                                  b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", b"\0" * 100])
def test_nonsense_is_no_answer(stage, text):
    t = stage(plays(says(text + b"\r\n\r\n")), plays(good))
    with Http(t.address()) as c:
        status = [c.ask(f"/{i}").status for i in range(2)]
    assert sorted(status) == [200, 502]
    assert t.wait_log("http.request", status=502)["end"] == "bad_response"


def test_after_an_interim_answer_nothing_is_repeated(stage):
    t = stage(plays(says(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")), plays(good))
    with Http(t.address()) as c:
        assert sorted(c.ask(f"/{i}").status for i in range(2)) == [200, 502]
    assert t.wait_log("http.request", status=502)["end"] == "backend_reset"


def test_a_backend_that_leaves_in_the_middle_of_the_request_s_body(stage):
    t = stage(plays(after_half_the_body), plays(good))
    (other,) = t.others
    for target in ("/0", "/1", "/2", "/3"):
        with Http(t.address()) as c:
            c.send(f"POST {target} HTTP/1.1\r\nHost: web\r\nContent-Length: 2000\r\n\r\n" + "x" * 1000)
            until(lambda: target in t.faulty.seen + other.seen, "a backend has seen it")
            if target in t.faulty.seen:
                a = c.response()    # before the rest was sent
                assert (a.status, a.get("Connection")) == (502, "close") and c.ended
                assert told(t, target) == (502, "backend_reset")
            else:
                assert c.send("x" * 1000).response().status == 200
    assert t.faulty.seen and sorted(t.faulty.seen + other.executed) == ["/0", "/1", "/2", "/3"]


def test_a_backend_that_closes_after_its_answer(stage):
    t = stage(plays(says(WHOLE)))
    with Http(t.address()) as c:
        assert [c.ask(f"/{i}").body for i in range(20)] == [b"whole"] * 20
    assert sorted(t.faulty.executed) == sorted(f"/{i}" for i in range(20))


def leaves_at_the_second(conn, b):
    """As a server does whose keep-alive time is over just then."""
    reader = Reader(conn)
    good(conn, reader, reader.head(), b)
    m = reader.head()
    with b.lock:
        b.seen.append(m.target)


@pytest.mark.tsan
def test_a_kept_connection_that_closes_as_a_request_is_sent(stage):
    t = stage(leaves_at_the_second)
    with Http(t.address()) as c:
        assert [c.ask(f"/{i}").status for i in range(6)] == [200] * 6
        line = t.wait_log("http.request", path="/1")
        assert (line["end"], line["retries"]) == ("done", 1)
        # The fresh one is kept too; what changes something is not sent twice.
        assert ask(c, "/post", "POST").status in (200, 502)
    assert t.faulty.executed.count("/post") + t.faulty.seen.count("/post") <= 1
    assert [x for x in t.faulty.executed if x != "/post"] == [f"/{i}" for i in range(6)]


@pytest.mark.tsan
def test_who_never_answers(stage):
    t = stage(plays(mute), plays(mute), response_timeout=0.3)
    for method in ("GET", "POST"):
        with Http(t.address()) as c:
            assert c.ask(f"/{method}", method=method).status == 504
        assert told(t, f"/{method}") == (504, "response_timeout")
    # Its time was over: nobody else was asked, whatever the method.
    until(lambda: sorted(t.faulty.executed + t.others[0].executed) == ["/GET", "/POST"], "each was asked once")


def test_who_answers_before_the_body_has_come(stage):
    def too_large(conn, reader, m, b):
        conn.sendall(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nmuch")
        conn.shutdown(socket.SHUT_WR)
        while conn.recv(1 << 16):
            pass
    t = stage(plays(too_large))
    with Http(t.address()) as c:
        c.send("POST /x HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\n" + "x" * 1000)
        a = c.response()
        assert (a.status, a.body, a.get("Connection")) == (413, b"much", "close") and c.ended
    assert told(t) == (413, "done")
    # Also when the client does not stop to listen.
    with Http(t.address()) as c:
        c.send("POST /y HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\n")

        def push():
            try:
                for _ in range(100):
                    c.send("x" * 10000)
            except OSError:
                pass
        pushing = threading.Thread(target=push, daemon=True)
        pushing.start()
        a = c.response()
        assert (a.status, a.body) == (413, b"much")
        pushing.join(60)
