"""A stream that only its connection's end ends, and that is cut, ends with a reset for its reader.

The kernel tells a reset once. Where a write is told, because the request goes on while its answer comes, what is read
next looks like the end of a stream that is whole."""
import socket
import ssl
import types

import pytest

from helpers.backends import reset
from helpers.certificates import Authority, connect, trusting
from helpers.failing_memory import FailingMemory
from helpers.hold import stopped
from helpers.ports import listener
from helpers.scale import patience

ANSWER = b"HTTP/1.1 200 OK\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


def post(sent, length):
    return b"POST /x HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % length + b"x" * sent


@pytest.fixture
def stage(web, ports, tmp_path, request):
    """stage(tls): a running teald, .client() to it, .backend(): its next connection to the backend."""
    def make(tls=False, start=True, **keys):
        port, authority = ports.hold(), Authority(tmp_path)
        backend = listener("127.0.0.1", port)
        backend.settimeout(patience())
        request.addfinalizer(backend.close)
        if tls:
            keys["tls"] = {"certificates": (authority.issue("web"),)}
        t = web(green=[types.SimpleNamespace(address=f"127.0.0.1:{port}")], mode="http", health={"type": "none"},
                top={"workers": 1}, start=start, **keys)

        def open_client():
            if not tls:
                return socket.create_connection(t.address(), patience())
            return connect(t.address(), trusting(authority), "web", suppress_ragged_eofs=False)

        def accept():
            sock = backend.accept()[0]
            sock.settimeout(patience())
            return sock
        t.client, t.backend = open_client, accept
        return t
    return make


def read(sock, words, n=0):
    """All up to these words, and n bytes behind them."""
    got = b""
    while words not in got or len(got) < got.index(words) + len(words) + n:
        piece = sock.recv(1 << 16)
        assert piece, got[:1000]
        got += piece
    return got


def ending(c):
    """What is left to read of c, and how it ends."""
    rest = b""
    try:
        while piece := c.recv(1 << 16):
            rest += piece
    except (ConnectionResetError, ssl.SSLError):
        return rest, "reset"
    return rest, "end"


@pytest.mark.tsan
@pytest.mark.parametrize("size", [10, 1_000_000], ids=["by copies", "by pipes"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_reset_of_which_the_request_s_body_is_told_cuts_the_answer(stage, tls, size):
    t = stage(tls)
    with t.client() as c:
        c.sendall(post(size, 2 * size))
        b = t.backend()
        read(b, b"\r\n\r\n", size)
        b.sendall(ANSWER + b"y" * size)
        read(c, b"\r\n\r\n", size)
        with stopped(t):
            c.sendall(b"x")     # the first that it finds: it is sent on before anything is read
            b.sendall(b"last")
            reset(b)
        rest, end = ending(c)
    assert end == "reset" and b"last".startswith(rest)
    assert t.wait_log("http.request", path="/x")["end"] == "backend_reset"


def test_an_end_that_came_before_the_reset_is_one(stage):
    """The backend ends its half, and does not read on: what a write is told then changes nothing."""
    t = stage()
    with t.client() as c:
        c.sendall(post(10, 1000))
        b = t.backend()
        read(b, b"\r\n\r\n", 10)
        b.sendall(ANSWER + b"not ")
        read(c, b"\r\n\r\n", 4)
        with stopped(t):
            c.sendall(b"x")
            b.sendall(b"this")
            b.shutdown(socket.SHUT_WR)
            reset(b)
        assert ending(c) == (b"this", "end")
    assert t.wait_log("http.request", path="/x")["end"] == "done"


def test_a_reset_of_which_the_first_bytes_behind_an_upgrade_are_told_cuts_the_stream(stage):
    t = stage()
    with t.client() as c:
        c.sendall(b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        b = t.backend()
        read(b, b"\r\n\r\n")
        with stopped(t):
            c.sendall(b"early")
            b.sendall(SWITCH + b"half")
            reset(b)
        rest, end = ending(c)
    assert end == "reset" and rest.startswith(b"HTTP/1.1 101 ")
    assert t.wait_log("tcp.session")["end"] == "backend_reset"


def given_up(t, act):
    """An answer is half there when act(client) makes teald give it up; how the client sees that."""
    with t.client() as c:
        c.sendall(post(10, 1000))
        with t.backend() as b:
            read(b, b"\r\n\r\n", 10)
            b.sendall(ANSWER + b"half")
            read(c, b"\r\n\r\n", 4)
            try:
                act(c)
            except OSError:
                return "reset"
            return ending(c)[1]


@pytest.mark.tsan
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_answer_to_a_client_that_leaves_in_its_request_does_not_look_whole(stage, tls):
    t = stage(tls)
    assert given_up(t, lambda c: c.unwrap() if tls else c.shutdown(socket.SHUT_WR)) == "reset"
    assert t.wait_log("http.request", path="/x")["end"] == "client_gone"


@pytest.mark.nosan  # a sanitizer has its own memory
def test_an_answer_for_which_memory_is_out_does_not_look_whole(stage, tmp_path):
    memory = FailingMemory(tmp_path)
    t = stage(start=False)
    t.start(env=memory.env())

    def ask_ahead(c):
        memory.fail(1000)
        c.sendall(b"x" * 990 + b"GET /next HTTP/1.1\r\nHost: web\r\n\r\n")
    assert given_up(t, ask_ahead) == "reset"
    memory.fail(0)
    assert t.wait_log("http.request", path="/x")["end"] == "memory"
