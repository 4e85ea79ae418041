"""/metrics, /healthz and /readyz: readable by strict eyes, right, and no
lever against the traffic."""
import json
import re
import socket

import pytest

from helpers.scale import patience
from helpers.teald import TICKS

DOCUMENTED = """teal_build_info teal_service_active teal_service_epoch teal_connections teal_connections_total
    teal_bytes_total teal_connect_seconds teal_backend_up teal_backend_connections teal_draining_connections
    teal_flips_total teal_flip_seconds teal_retries_total teal_rejected_total teal_store_up teal_store_age_seconds
    teal_log_dropped_total process_cpu_seconds_total process_open_fds process_max_fds process_resident_memory_bytes
    process_virtual_memory_bytes process_start_time_seconds""".split()
TYPES = {"teal_connections": "gauge", "teal_connections_total": "counter", "teal_connect_seconds": "histogram",
         "teal_flip_seconds": "histogram", "teal_service_active": "gauge", "teal_bytes_total": "counter"}


def request(teal, data, shut=False):
    """Sends bytes to the observe listener; all that comes back."""
    with socket.create_connection(teal.observe, patience()) as s:
        s.settimeout(patience())
        got = b""
        try:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
            while more := s.recv(65536):
                got += more
        except ConnectionResetError:
            pass
    return got


def started(pid):
    """When the kernel says that a process began, to its ticks; when the machine
    began it says in whole seconds."""
    booted = int(re.search(r"(?m)^btime (\d+)", open("/proc/stat").read())[1])
    return booted + int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[19]) / TICKS


def test_metrics_are_well_formed_and_complete(web):
    teal = web()
    teal.connect().echo().close()
    m = teal.metrics()  # the parser is strict
    missing = [n for n in DOCUMENTED if n not in m.families]
    assert not missing
    for name, kind in TYPES.items():
        assert m.families[name].type == kind
    assert m.get("teal_service_active", service="web", color="green") == 1
    assert m.get("teal_service_active", service="web", color="blue") == 0
    assert m.get("teal_service_epoch", service="web") == 1
    assert m.get("teal_build_info") == 1
    assert dict(next(iter(m.series("teal_build_info"))))["version"] == teal.ok("version")["version"]
    assert m.get("teal_store_up") == 1
    assert m.get("process_start_time_seconds") == pytest.approx(started(teal.pid), abs=1.5)
    assert m.get("process_open_fds") == pytest.approx(teal.fds(), abs=4)


def test_the_content_type_is_what_prometheus_wants(web):
    teal = web()
    head = request(teal, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").split(b"\r\n\r\n")[0]
    assert re.search(rb"(?i)\r\ncontent-type: text/plain; version=0\.0\.4", head), head
    assert re.search(rb"(?i)\r\ncontent-length: \d+", head) or b"chunked" in head.lower()


def test_counters_only_grow_and_are_right_after_known_traffic(web):
    teal = web(drain={"timeout": 0.0})
    seen = {}
    expected = 0
    for n in range(6):
        for _ in range(5):
            with teal.connect() as c:
                c.echo(b"x" * 100)
        expected += 5
        # Else the flip drains those whose end has not been seen yet.
        teal.wait_metric(expected, "teal_connections_total", service="web", end="done")
        teal.ok("flip", "web", ("blue", "green")[n % 2])
        m = teal.metrics()
        now = m.counters()
        for key, value in seen.items():
            assert now.get(key, -1) >= value, f"{key} fell from {value} to {now.get(key)}"
        seen = now
    assert m.get("teal_bytes_total", service="web", direction="in") == 30 * 100
    assert m.get("teal_flips_total", service="web", to="blue", result="ok") == 3
    assert m.get("teal_flips_total", service="web", to="green", result="ok") == 3
    assert m.get("teal_flip_seconds_count", service="web") == 6
    assert m.get("teal_service_epoch", service="web") == 7
    assert m.get("teal_service_active", service="web", color="green") == 1


def test_refused_flips_are_counted_by_their_result(web):
    teal = web()
    teal.ctl("flip", "web", "blue", "--expect=blue")
    teal.blue.stop()
    teal.ctl("flip", "web", "blue")
    m = teal.metrics()
    assert m.get("teal_flips_total", service="web", to="blue", result="conflict") == 1
    assert m.get("teal_flips_total", service="web", to="blue", result="unhealthy") == 1
    assert m.get("teal_flips_total", service="web", result="ok") == 0


def test_backends_have_series(web):
    teal = web()
    c = teal.connect().echo()
    m = teal.wait_metric(1, "teal_backend_up", service="web", color="blue", backend=teal.blue.address)
    assert m.get("teal_backend_up", service="web", color="green", backend=teal.green.address) == 1
    assert m.get("teal_backend_connections", service="web", color="green", backend=teal.green.address) == 1
    teal.blue.stop()
    teal.wait_metric(0, "teal_backend_up", service="web", color="blue", backend=teal.blue.address)
    c.close()
    teal.wait_metric(0, "teal_backend_connections", service="web")


def test_healthz_and_readyz(web):
    teal = web()
    assert teal.http("/healthz")[0] == 200
    assert teal.http("/readyz")[0] == 200
    teal.ok("maintenance", "on")
    code, why = teal.http("/readyz")
    assert code == 503 and "maintenance" in why
    assert teal.http("/healthz")[0] == 200
    assert teal.connect().echo().peer == "green"  # not ready, but serving
    assert teal.ok("flip", "web", "blue")["changed"]
    teal.ok("maintenance", "off")
    assert teal.http("/readyz")[0] == 200


def test_maintenance_says_whether_it_changed_anything(web):
    teal = web()
    assert teal.ok("maintenance", "on")["ok"]
    assert teal.ok("maintenance", "on")["ok"]
    assert teal.http("/readyz")[0] == 503
    assert teal.ctl("maintenance", "maybe")["error"] == "usage"


@pytest.mark.parametrize("data,code", [
    (b"wat\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"GET /metrics\r\n\r\n", 400), (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\n\r\n", 400),  # no Host
    (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\nHost: a\n\n", 400),
    (b"GET /nope HTTP/1.1\r\nHost: a\r\n\r\n", 404), (b"GET /metrics/x HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    (b"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
    (b"DELETE /readyz HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    (b"GET /metrics HTTP/9.9\r\nHost: a\r\n\r\n", 505),
    (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n", 431),
], ids=lambda d: repr(d[:24]) if isinstance(d, bytes) else str(d))
def test_bad_http_gets_the_right_answer(web, data, code):
    teal = web()
    got = request(teal, data, shut=True)
    accepted = {code} | ({400} if code in (414, 431, 505) else set())
    assert got.startswith(b"HTTP/1."), got[:100]
    assert int(got.split()[1]) in accepted, got[:200]
    assert teal.http("/healthz")[0] == 200


def test_head_has_no_body_and_http_1_0_works(web):
    teal = web()
    got = request(teal, b"HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200") and got.endswith(b"\r\n\r\n")
    got = request(teal, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert got.split()[1] == b"200"


def test_query_strings_are_no_obstacle(web):
    assert web().http("/metrics?name[]=x")[0] == 200


def alive(s):
    """Open, and nothing has come."""
    s.setblocking(False)
    try:
        return s.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True


def test_a_slow_scraper_hurts_nobody(web):
    teal = web()
    slow_ones = []
    for _ in range(50):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.connect(teal.observe)
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n")
        slow_ones.append(s)
    for s in slow_ones[:25]:
        s.sendall(b"\r\n")  # asked, and never reads
    for _ in range(10):
        teal.metrics()
        teal.connect().echo().close()
    assert teal.ok("flip", "web", "blue")["changed"]
    assert all(alive(s) for s in slow_ones[25:])  # none of that was because they had been sent away
    for s in slow_ones:
        s.close()


def test_many_idle_scrapers_do_not_lock_a_proper_one_out(web):
    teal = web()
    idle = [socket.create_connection(teal.observe, patience()) for _ in range(600)]
    assert teal.metrics().get("teal_service_epoch") == 1
    assert teal.connect().echo().peer == "green"
    for s in idle:
        s.close()


@pytest.mark.tsan
def test_scraping_under_load_is_consistent(web, farm, load):
    teal = web(green=[farm("green")], blue=[farm("blue")])
    clients = load(teal, 8)
    before = {}
    for _ in range(15):
        m = teal.metrics()
        now = m.counters()
        assert all(now[k] >= v for k, v in before.items())
        assert 0 <= m.get("teal_connections", service="web") <= 16
        before = now
    sessions = clients.finish()
    assert not [s for s in sessions if s.error][:3]
    teal.wait_metric(len(sessions), "teal_connections_total", service="web", end="done")
    m = teal.wait_metric(0, "teal_connections", service="web")
    assert m.get("teal_bytes_total", service="web", direction="in") == 200 * len(sessions)
    assert m.get("teal_connect_seconds_count", service="web", color="green") == len(sessions)


# ---- the status page's events ----

class Events:
    """Who listens to /events, without a browser."""

    def __init__(self, teal):
        self.sock = socket.create_connection(teal.observe, patience())
        self.sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        self._file = self.sock.makefile("rb")
        self.head = b"".join(iter(self._file.readline, b"\r\n"))

    def next(self):
        """(name, data) of the next event; None at the end."""
        lines = []
        while (line := self._file.readline()) != b"\n":
            if not line:
                return None
            lines.append(line.rstrip(b"\n"))
        assert len(lines) == 2 and lines[0].startswith(b"event: ") and lines[1].startswith(b"data: "), lines
        return lines[0][7:].decode(), json.loads(lines[1][6:])

    def until(self, condition):
        """The first data of which that is true."""
        while True:
            _, data = self.next()
            if condition(data):
                return data

    def close(self):
        self._file.close()
        self.sock.close()


@pytest.mark.tsan
def test_events_are_all_there_is_and_then_what_changes(web, closing):
    teal = web(drain={"timeout": 60.0, "idle": 0.0})
    held = teal.connect().echo()
    first, second = closing.add(Events(teal)), closing.add(Events(teal))
    assert b"\r\nContent-Type: text/event-stream" in first.head and b"Content-Length" not in first.head
    name, all_of_it = first.next()
    assert name == "snapshot" and all_of_it["services"][0]["service"]["active"] == "green"
    assert second.next()[0] == "snapshot"
    for _ in range(5):
        teal.connect().echo().close()
    first.until(lambda d: "0" in d["numbers"] and d["numbers"]["0"][4] > 0)     # new ones per second
    first.until(lambda d: "0" in d["numbers"] and d["numbers"]["0"][:2] == [1, 0])

    teal.ok("flip", "web", "blue", "--reason=release 43")
    for e in (first, second):
        told = e.until(lambda d: d["services"].get("0", {}).get("active") == "blue")
        assert told["services"]["0"]["epoch"] == 2
        flips = told.get("flips") or e.until(lambda d: d.get("flips"))["flips"]
        assert (flips[0]["reason"], flips[0]["to"], flips[0]["epoch"]) == ("release 43", "blue", 2)
    held.close()
    first.until(lambda d: "0" in d["services"] and d["services"]["0"]["drain"] is None)
    teal.stop()
    while first.next():
        pass
