"""A connection and a request find their backends the same way: what happens on it happens to both."""
import contextlib

import pytest

from helpers.backends import Backend, BlackHole, greet_and_echo
from helpers.certificates import Authority
from helpers.failing_memory import FailingMemory
from helpers.http1 import Http, Reader
from helpers.scale import until
from test_tls_names import speaking_tls

MODES = pytest.mark.parametrize("mode", ["tcp", "http"])


def site(conn, b):
    """Says its name to each request; /held has to wait for that."""
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        b.note(conn, b"x")
        if m.target == "/held":
            b.released.wait()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(b.name), b.name.encode()))


def behaviour(mode):
    return greet_and_echo if mode == "tcp" else site


class Visitor:
    """A client that has come; .server tells who served it."""

    def __init__(self, t, mode, path="/"):
        self.mode, self.c = mode, t.connect() if mode == "tcp" else Http(t.address())
        if mode == "http":
            self.c.send(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n")

    @property
    def server(self):
        if self.mode == "tcp":
            return self.c.peer
        m = self.c.response()
        assert m is not None and m.status == 200
        return m.body.decode()

    def close(self):
        self.c.close()


@MODES
def test_one_that_is_full_is_waited_for_after_another_has_refused(web, backend, closing, mode):
    dead, full = backend("dead", behaviour(mode), start=False), backend("full", behaviour(mode))
    t = web(mode=mode, green=[dead, full], backend_max_connections=1, queue_timeout=600.0, retries=3, retry_pause=0.0,
            health={"type": "none"}, top={"workers": 1})
    first = closing.add(Visitor(t, mode, "/held"))
    until(lambda: full.accepted, "the place is taken")
    second = closing.add(Visitor(t, mode))
    t.wait_metric(1, "teal_waiting_connections", service="web")
    full.released.set()
    first.close()
    assert second.server == "full"
    assert t.metrics().get("teal_rejected_total", service="web") == 0
    second.close()
    t.wait_log({"tcp": "tcp.session", "http": "http.request"}[mode], tried=[dead.address], backend=full.address)


@pytest.mark.nosan  # a sanitizer has its own memory
@MODES
def test_memory_that_is_out_for_tls_is_no_backends_fault(web, backend, tmp_path, mode):
    authority, memory = Authority(tmp_path), FailingMemory(tmp_path)
    b = backend("green", speaking_tls(authority.issue("inner"), behaviour(mode)))
    t = web(mode=mode, green=[b], blue=[b], health={"type": "none"}, retry_pause=0.0, start=False,
            backend_tls={"ca": str(authority.pem), "server_name": "inner"})
    t.start(env=memory.env())
    memory.fail(1000, only_tls=True, least=8192)    # a record's buffer, which each handshake needs
    visitors = [Visitor(t, mode) for _ in range(4)]
    m = t.wait_metric(4, "teal_connections_total", service="web", end="memory")
    assert m.get("teal_backend_connect_failures_total", service="web") == 0
    assert memory.failed == 4   # nor was another one tried
    for v in visitors:
        v.close()
    memory.fail(0)
    with contextlib.closing(Visitor(t, mode)) as v:
        assert v.server == "green"


@MODES
def test_a_connect_that_is_given_up_for_the_checks_is_no_failed_one(web, ports, closing, mode):
    """on_down = "reset": one that goes down while it is connected to is left for another; that is no failed connect."""
    traffic, checks = ports.hold(), ports.hold()
    hole = closing.add(BlackHole(traffic, host="127.0.0.1"))
    well = closing.add(Backend("well", traffic, behaviour(mode), host="127.0.0.2").start())
    checked = [closing.add(Backend("checks", checks, host=b.host).start()) for b in (hole, well)]
    t = web(mode=mode, start=False, nodes=[hole.host, well.host], on_down="reset", connect_timeout=3600.0,
            health={"interval": 0.1, "rise": 1, "fall": 1}, top={"workers": 1})
    t.settings["services"][0]["green"] = {"port": traffic, "health_port": checks}
    t.settings["services"][0]["blue"] = {"port": t.blue.port}
    t.start()
    for b in (hole, well):
        t.wait_log("backend.up", backend=b.address)
    t.rest()
    visitors = [closing.add(Visitor(t, mode)) for _ in range(2)]
    t.wait_metric(1, "teal_backend_connections", service="web", backend=hole.address)
    checked[0].stop()
    assert [v.server for v in visitors] == ["well", "well"]
    assert t.metrics().get("teal_backend_connect_failures_total", service="web", backend=hole.address) == 0


@pytest.mark.parametrize("how", ["tcp", "http", "body"])
def test_nobody_is_dialed_for_who_has_gone(web, black_hole, how):
    """A reset, or, in the middle of a request, an end."""
    t = web(mode="tcp" if how == "tcp" else "http", green=[black_hole()], health={"type": "none"}, connect_timeout=3600.0)
    c = t.connect()
    if how == "http":
        c.sock.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
    elif how == "body":
        c.sock.sendall(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100\r\n\r\nabc")
    t.wait_metric(1, "teal_connections", service="web", color="green")
    if how == "body":
        c.close()
    else:
        c.reset()
    line = t.wait_log("tcp.session" if how == "tcp" else "http.request")
    assert line["end"] == ("client_reset" if how == "http" else "client_gone")
