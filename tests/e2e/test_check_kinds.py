"""What a check can say and hear: TLS where traffic passes through, conversations, UDP,
and the parts of an HTTP request."""
import contextlib
import re
import socket
import ssl
import subprocess
import threading

import pytest

from helpers import libconfig, scale
from helpers.certificates import Authority
from helpers.http1 import Reader
from helpers.reload import change, reload
from helpers.scale import until
from helpers.teald import service
from helpers.topology import possible

EVERY = {"interval": 0.1, "timeout": 60.0, "rise": 1, "fall": 1}
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def state(t, color="green"):
    return t.status("web")["colors"][color]["backends"][0]


def up(t, color="green"):
    until(lambda: state(t, color)["state"] == "up", f"{color} is up")


def down(t, color="green"):
    until(lambda: state(t, color)["state"] == "down", f"{color} is down")
    return state(t, color)["error"]


# ---- by TLS, where traffic passes through ----

def secure(context, behave):
    def meet(conn, b):
        with contextlib.suppress(OSError):
            behave(context.wrap_socket(conn, server_side=True), b)
    return meet


def api_server(conn, b):
    reader = Reader(conn)
    while (head := reader.head()) is not None:
        assert head.target == "/readyz"
        conn.sendall(FINE)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def certified(authority, *names):
    paths = authority.issue(names[0], *names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths["cert"], paths["key"])
    return context


@pytest.mark.parametrize("kind", ["tls", "http"])
def test_tls_checks_where_traffic_passes_through(web, backend, authority, kind):
    """An API server of Kubernetes: the balancer has no certificate of its own."""
    good = backend("green", secure(certified(authority, "api.internal"), api_server))
    other = backend("blue", secure(certified(authority, "other.internal"), api_server))
    terms = {"ca": str(authority.pem), "server_name": "api.internal"}
    asks = {"type": kind, "tls": terms} | EVERY | ({"path": "/readyz"} if kind == "http" else {})
    t = web(green=[good], blue=[other], health=asks)
    up(t)
    assert "certificate" in down(t, "blue") or "name" in state(t, "blue")["error"]

    # Whoever it is, as kubeadm's own example has it.
    change(t, health=asks | {"tls": {"verify": False}})
    reload(t)
    up(t, "blue")
    # And what speaks no TLS is no server of that kind.
    plain = backend("plain", lambda conn, b: conn.recv(100) and conn.sendall(b"no TLS here\n"))
    change(t, blue={"backends": [plain.address]})
    reload(t)
    assert down(t, "blue")


def test_an_authority_that_is_not_there_is_named(web, backend, tmp_path):
    t = web(start=False, health={"type": "tls", "tls": {"ca": str(tmp_path / "none.pem")}})
    status, stderr = t.start_refused()
    assert status == 2 and "none.pem" in stderr


def test_the_file_of_kubeadm_is_taken(tmp_path):
    """As its documents have it for HAProxy: TCP, and a check by HTTPS that verifies nothing."""
    conf = tmp_path / "teal.conf"
    conf.write_text(libconfig.dumps({
        "state_dir": str(tmp_path), "services": [service(
            "apiserver", listen="127.0.0.1:8443", green=["10.0.0.11:6443", "10.0.0.12:6443"], blue=["10.0.0.21:6443"],
            health={"type": "http", "path": "/healthz", "expect": "200", "timeout": 1.0, "tls": {"verify": False}})]}))
    r = subprocess.run([scale.BUILD / "teald", "-t", "-c", conf], capture_output=True, text=True, check=False)
    assert r.returncode == 0 and "health" not in r.stderr, r.stderr


# ---- conversations ----

def test_a_conversation_with_redis(web, redis):
    """A real server, which says what it is asked."""
    server = redis()
    steps = [{"send": "PING\r\n"}, {"expect": "+PONG"}, {"send": "INFO replication\r\n"}, {"expect": "role:master"},
             {"send": "QUIT\r\n"}, {"expect": "+OK"}]
    t = web(green=[f"127.0.0.1:{server.port}"], blue=[f"127.0.0.1:{server.port}"], health={"steps": steps} | EVERY)
    up(t)
    # A replica is wanted, and this is none: connected is not enough.
    steps[3] = {"expect": "role:slave"}
    change(t, health={"steps": steps} | EVERY | {"timeout": 0.3})
    reload(t)
    assert down(t) == "no answer after 0.3 s"


def test_one_that_ends_before_it_has_said_it(web, backend):
    def brief(conn, b):
        conn.sendall(b"220 ")
    t = web(green=[backend("brief", brief)], blue=[backend("other", brief)], health={"steps": [{"expect": "220 ready"}]} | EVERY)
    assert down(t) == "closed the connection before it said what is expected"


# ---- UDP ----

class Sayer:
    """A UDP server that answers each datagram with one, or with none."""

    def __init__(self, host, port, answer, place=None):
        def bound():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((host, port))
            return s
        self.sock, self.answer, self.heard = place.do(bound) if place else bound(), answer, []
        self.address = "%s:%d" % self.sock.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                data, who = self.sock.recvfrom(4096)
                self.heard.append(data)
                if self.answer is not None and who is not None:    # None: it was shut down
                    self.sock.sendto(self.answer, who)

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)    # wakes the thread
        self.sock.close()


def by_udp(traffic, sayer):
    return {"backends": [{"address": traffic.address, "health_port": int(sayer.address.split(":")[1])}]}


def test_a_udp_check_hears_its_answer(web, backend, closing):
    sayer = closing.add(Sayer("127.0.0.1", 0, b"\x00pong"))
    t = web(start=False)
    t.settings["services"][0] |= {
        "green": by_udp(t.green, sayer), "blue": by_udp(t.blue, sayer),
        "health": {"type": "udp", "steps": [{"send_hex": "00 01"}, {"expect_hex": "00706f6e67"}]} | EVERY}
    t.start()
    up(t)
    assert set(sayer.heard) == {b"\x00\x01"} and t.metrics().get("teal_check_targets") == 1
    sayer.answer = b"sorry"
    change(t, health=t.settings["services"][0]["health"] | {"timeout": 0.2})
    reload(t)
    assert down(t) == "no answer after 0.2 s"


def test_silence_is_well_and_a_refusal_is_not(web, backend, closing):
    """A syslog server never answers; where there is none, its host says so."""
    sayer = closing.add(Sayer("127.0.0.1", 0, None))
    t = web(start=False)
    t.settings["services"][0] |= {
        "green": by_udp(t.green, sayer),
        "health": {"type": "udp", "steps": [{"send": "<46>1 - - teald - - - check"}]} | EVERY | {"timeout": 0.5}}
    t.start()
    up(t)
    before = len(sayer.heard)
    until(lambda: len(sayer.heard) > before + 2, "it is asked again")
    assert state(t)["state"] == "up"
    sayer.close()
    assert down(t) == "connection refused"


@pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables")
def test_a_udp_service_is_checked_and_let_through_by_udp(topology, closing, teal):
    """Nothing listens by TCP there: the checks and the gate both ask by UDP."""
    green, blue = (closing.add(Sayer(topology.node(n), 53, b"yes", topology.nodes)) for n in (1, 2))
    t = teal(place=topology.hop, services=[service(
        listen=f"{topology.VIP}:53", green=[green.address], blue=[blue.address], mode="udp", engine="kernel",
        health={"type": "udp", "steps": [{"send": "are you there?"}, {"expect": "yes"}]} | EVERY | {"timeout": 5.0})])
    up(t)
    up(t, "blue")
    assert t.ok("flip", "web", "blue")["changed"]
    green.close()
    # What had reached its socket before has neither an answer nor an error.
    until(lambda: down(t) == "connection refused", "it is told that nothing listens")
    assert t.ctl("flip", "web", "green")["error"] == "unhealthy"


# ---- the parts of an HTTP request ----

def test_the_request_of_an_http_check_is_as_it_is_told(web, backend):
    asked = []

    def answers(conn, b):
        reader = Reader(conn)
        head = reader.head()
        asked.append((head.method, head.target, head.get("Host"), head.get("X-Check"), head.get("User-Agent"),
                      reader.body_of(head).body))
        body = b.says
        conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    green = backend("green", answers, start=False)
    green.says = b'{"status": "ok", "replicas": 3}'
    green.start()
    t = web(green=[green], health={
        "type": "http", "path": "/health", "host": "shop.example", "method": "POST", "body": "how?",
        "headers": ["X-Check: a; b", "User-Agent: probe"], "expect_body": '"status": "ok"'} | EVERY)
    up(t)
    assert set(asked) == {("POST", "/health", "shop.example", "a; b", "probe", b"how?")}
    green.says = b'{"status": "degraded"}'
    assert down(t) == "its body does not have health.expect_body"


def test_a_check_of_another_port_says_whom_it_comes_from(web, backend):
    heard = []

    def expects_proxy(conn, b):
        line = b""
        while not line.endswith(b"\r\n"):
            line += conn.recv(1)
        heard.append(line)
        reader = Reader(conn)
        if line.startswith(b"PROXY ") and reader.head() is not None:
            conn.sendall(FINE)
    api = backend("api", expects_proxy)
    t = web(start=False)
    t.settings["services"][0] |= {
        "green": {"backends": [{"address": t.green.address, "health_port": api.port}]},
        "health": {"type": "http", "send_proxy": "v1"} | EVERY}
    t.start()
    up(t)
    assert all(re.fullmatch(rb"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 [0-9]+ %d\r\n" % api.port, line) for line in heard)

