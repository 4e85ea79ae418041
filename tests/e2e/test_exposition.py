"""/metrics for every kind of scraper: both formats by the strictest readers
there are, long ones piece by piece, and slow ones at nobody's cost."""
import contextlib
import os
import re
import signal
import socket
import subprocess

import pytest
from prometheus_client.openmetrics import parser as openmetrics

from helpers.prometheus import Metrics
from helpers.scale import REPO, patience, until
from helpers.teald import service, unchunked

PROMETHEUS_2 = ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")


@pytest.fixture
def many(teal, backend, ports):
    """many(n): a teald of n services of 20 backends a color, which are the
    same two: a long exposition."""
    def make(n, each=20, **how):
        green, blue = backend("green"), backend("blue")
        listeners = [f"127.0.0.1:{ports.hold()}" for _ in range(n)]
        g, b = ([f"127.0.0.{i}:{c.port}" for i in range(1, each + 1)] for c in (green, blue))
        return teal(services=[service(f"s{i}", listen=at, green=g, blue=b, health={"type": "none"})
                              for i, at in enumerate(listeners)], log={"level": "info"}, **how)
    return make


def series(samples):
    return {(s.name, frozenset(s.labels.items())) for s in samples}


@pytest.mark.nosan      # what is read is judged, elsewhere it is read under sanitizers
def test_openmetrics_by_its_own_strict_reader(web, ports):
    """The reader checks names, endings, units, order, and the end; what it
    reads are the series of the text format."""
    teal = web(preview=f"127.0.0.1:{ports.hold()}")
    teal.connect().echo().close()
    teal.ok("flip", "web", "blue")
    head, body = teal.http_raw("/metrics", headers=[("Accept", PROMETHEUS_2)])
    assert b"content-type: application/openmetrics-text; version=1.0.0; charset=utf-8" in head.lower()
    assert body.endswith(b"\n# EOF\n")
    families = list(openmetrics.text_string_to_metric_families(body.decode()))
    names = [f.name for f in families]
    assert len(set(names)) == len(names)
    kinds = {f.name: (f.type, f.unit) for f in families}
    assert kinds["teal_bytes"] == ("counter", "bytes")
    assert kinds["teal_connect_seconds"] == ("histogram", "seconds")
    assert kinds["teal_connections"] == ("gauge", "")
    assert kinds["teal_connections_total"] == ("unknown", "")
    assert kinds["teal_build"] == ("info", "")
    text = Metrics(teal.http("/metrics")[1])
    assert series(s for f in families for s in f.samples) == {k for f in text.families.values() for k in f.samples}


@pytest.mark.parametrize("accept,kind", [
    (None, "text/plain"), ("*/*", "text/plain"), ("text/html", "text/plain"), (PROMETHEUS_2, "openmetrics"),
    ("application/openmetrics-text;q=0.1,text/plain", "text/plain")])
def test_the_format_is_the_scrapers_choice(web, accept, kind):
    head, body = web().http_raw("/metrics", headers=[("Accept", accept)] if accept else [])
    assert kind.encode() in re.search(rb"(?i)content-type: (.*)", head)[1]
    assert body.endswith(b"# EOF\n") == (kind == "openmetrics")


@pytest.mark.nosan      # what is read is judged, elsewhere it is read under sanitizers
def test_promtool_finds_no_fault(web):
    teal = web()
    teal.connect().echo().close()
    p = subprocess.run(["promtool", "check", "metrics"], input=teal.http("/metrics")[1], text=True,
                       capture_output=True, timeout=patience())
    assert (p.returncode, p.stdout + p.stderr) == (0, "")


def read_all(teal, request):
    with socket.create_connection(teal.observe, patience()) as s:
        s.settimeout(patience())
        s.sendall(request)
        data = b""
        while more := s.recv(1 << 16):
            data += more
    return data.partition(b"\r\n\r\n")


def test_a_long_exposition_comes_in_pieces(many):
    teal = many(24)
    head, _, body = read_all(teal, b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head and b"Content-Length" not in head
    m = Metrics(unchunked(body).decode())
    assert len(m.series("teal_backend_up")) == 24 * 40
    assert len(m.series("teal_service_epoch")) == 24
    # Who is older than chunks reads to the end of the connection.
    head, _, body = read_all(teal, b"GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"chunked" not in head
    assert len(Metrics(body.decode()).series("teal_backend_up")) == 24 * 40
    head, _, body = read_all(teal, b"HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and body == b""
    # On one connection, one after the other.
    with socket.create_connection(teal.observe, patience()) as s:
        s.settimeout(patience())
        pages = []
        for _ in range(3):      # and read when all are there: who takes long between them is sent away
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while not data.endswith(b"\r\n0\r\n\r\n"):
                data += s.recv(1 << 16) or pytest.fail("it ended")
            pages.append(data)
        for data in pages:
            assert Metrics(unchunked(data.partition(b"\r\n\r\n")[2]).decode())


@pytest.mark.nosan
def test_slow_scrapers_cost_a_piece_of_memory_each(many):
    teal = many(100)
    assert len(teal.http("/metrics")[1]) > 2_000_000
    before = teal.rss()
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.connect(teal.observe)
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert teal.metrics().get("teal_service_epoch", service="s99") == 1
        assert teal.rss() - before < 40 << 20


def test_a_scraper_that_stops_reading_is_cut_off(many):
    teal = many(50, clock=True)
    for version in (b"1.1", b"1.0"):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.connect(teal.observe)
            s.settimeout(patience())
            s.sendall(b"GET /metrics HTTP/" + version + b"\r\nHost: a\r\n\r\n")
            teal.clock.move(1)  # it has written what there is room for
            teal.clock.move(15)  # more than it is given
            with pytest.raises(ConnectionResetError):  # nothing that looks like an end
                while s.recv(1 << 16):
                    pass


def test_a_loop_that_was_held_says_so(web):
    """All threads stand still for a while: each tells how long."""
    teal = web(clock=True)
    threads = ("main", "worker-0", "worker-1")
    until(lambda: all(teal.metrics().get("teal_loop_lag_seconds_count", thread=t) > 2 or teal.clock.move(1) for t in threads), "ticks")
    assert not teal.metrics().has("teal_loop_lag_seconds_count", thread="worker-2")
    os.kill(teal.pid, signal.SIGSTOP)
    teal.clock.move(2, wait=False)
    os.kill(teal.pid, signal.SIGCONT)

    def told():
        m = teal.metrics()
        return all(m.get("teal_loop_lag_seconds_count", thread=t) -
                   m.get("teal_loop_lag_seconds_bucket", thread=t, le="0.5") >= 1 for t in threads)
    until(told, "the lag of every thread")


def manual():
    """{name: labels} of the metrics in teald(8)."""
    page = (REPO / "conf/man/teald.8").read_text()
    section = re.search(r"(?ms)^\.Ss Metrics$(.*?)^\.S[sh] ", page)[1]
    out = {}
    for names, labels in re.findall(r"(?m)^\.It Li ((?:\w+|process_\*)(?: , \w+)*)(?: Ns Brq (\S+))?$", section):
        for name in names.split(" , "):
            assert name not in out, f"{name} is told twice"
            out[name] = set(labels.split(",")) if labels else set()
    return out


@pytest.mark.nosan      # what is read is judged, elsewhere it is read under sanitizers
def test_the_manual_knows_every_metric_and_no_other(fleet, ports):
    """With the labels it has; entrance, le and process_* are told apart, and of backends
    node, which those that are on none lack (test_nodes.py has some)."""
    t = fleet(1, preview=f"127.0.0.1:{ports.hold()}")[0]
    t.ok("flip", "web", "blue")
    t.connect().echo().close()
    told, seen = manual(), {}
    for f in t.metrics().families.values():
        labels = {frozenset(dict(l)) - {"entrance", "le"} for _, l in f.samples}
        assert len(labels) <= 1, f.name
        seen[f.name] = set(labels.pop()) if labels else None  # None: HTTP's, which this teald has not
    told.pop("process_*")
    mine = {n: l for n, l in seen.items() if not n.startswith("process_")}
    assert set(told) == set(mine)
    told = {n: l - {"node"} if n.startswith("teal_backend_") else l for n, l in told.items()}
    assert {n: l for n, l in told.items() if mine[n] is not None and l != mine[n]} == {}
