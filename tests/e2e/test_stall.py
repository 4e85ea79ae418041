"""A teald that stands still for longer than any of its timeouts: what came meanwhile came in time."""
import pytest

from helpers.backends import Backend, echo
from helpers.clients import connect_from
from helpers.hold import stopped
from helpers.http1 import Http, Reader
from helpers.ports import listener
from helpers.scale import patience

LONG = 100.0    # seconds, longer than the timeouts below
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def stage(web, ports, closing):
    """stage(**keys of the service): a running teald, .listener its backend's."""
    def make(backlog=100, **keys):
        port = ports.hold()
        backend = Backend("green", port)
        sock = closing.add(listener("127.0.0.1", port, backlog))
        sock.settimeout(patience())
        t = web(green=[backend], clock=True, top={"workers": 1}, **keys)
        t.listener = sock
        return t
    return make


def stall(t, meanwhile):
    with stopped(t):
        meanwhile()
        t.clock.move(LONG, wait=False)


def accepted(t):
    sock = t.listener.accept()[0]
    sock.settimeout(patience())
    return sock


@pytest.mark.tsan
def test_an_answer_that_came_meanwhile(stage):
    t = stage(mode="http", response_timeout=10.0)
    with Http(t.address()) as c:
        c.send("GET /x HTTP/1.1\r\nHost: web\r\n\r\n")
        b = accepted(t)
        assert Reader(b).head().target == "/x"
        stall(t, lambda: b.sendall(OK))
        assert c.response().body == b"hello"
        # What does not come is late all the same.
        c.send("GET /y HTTP/1.1\r\nHost: web\r\n\r\n")
        assert Reader(b).head().target == "/y"
        stall(t, lambda: None)
        assert c.response().status == 504


@pytest.mark.tsan
def test_a_connect_that_succeeded_meanwhile(stage):
    """The backend's queue of connections is full: the kernel drops teald's, and tries again each second or two."""
    t = stage(backlog=0, connect_timeout=10.0)
    backend = t.listener.getsockname()
    full = [connect_from(backend, patience(), None)]
    with t.connect() as c:
        c.sock.sendall(b"x")
        t.wait_metric(1, "teal_connections", service="web")

        def let_in():
            mine = {s.getsockname() for s in full}
            while (s := t.listener.accept())[1] in mine:
                s[0].close()
            t.let_in = s[0]
        stall(t, let_in)
        t.let_in.settimeout(patience())
        assert t.let_in.recv(10) == b"x"
        t.let_in.close()
    assert t.wait_log("tcp.session")["end"] == "done"


@pytest.mark.tsan
@pytest.mark.parametrize("keys", [{"idle_timeout": 10.0}, {"drain": {"timeout": 1000.0, "idle": 10.0}}],
                         ids=["idle_timeout", "drain.idle"])
def test_bytes_that_came_meanwhile(stage, keys):
    t = stage(**keys)
    with t.connect() as c:
        b = accepted(t)
        if "drain" in keys:
            assert t.ok("flip", "web", "blue", "--wait=applied", "--force")["changed"]
            t.wait_log("flip.draining")
        stall(t, lambda: c.sock.sendall(b"here"))
        assert b.recv(10) == b"here"
        b.sendall(b"too")
        assert c.sock.recv(10) == b"too"
        # Who says nothing is idle all the same.
        stall(t, lambda: None)
        assert b.recv(10) == b"" and c.sock.recv(10) == b""


@pytest.mark.tsan
def test_bytes_of_more_clients_than_one_poll_reports(web, backend):
    t = web(green=[backend("green", echo)], clock=True, idle_timeout=10.0, top={"workers": 1})
    clients = [t.connect() for _ in range(300)]

    def all_say(words):
        for c in clients:
            c.sock.sendall(words)

    def all_hear(words):
        for c in clients:
            assert c.sock.recv(10) == words
    all_say(b"before")
    all_hear(b"before")
    stall(t, lambda: all_say(b"here"))
    all_hear(b"here")
    for c in clients:
        c.close()
