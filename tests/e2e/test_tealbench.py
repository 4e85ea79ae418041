"""tealbench: the backend says who it is and counts right; the load generator
finds every kind of failure it is shown, and hides no waiting."""
import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
from typing import NamedTuple

import pytest

from helpers.scale import patience, until

BUILD = os.environ.get("TEAL_BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
TEALBENCH = os.path.join(BUILD, "tealbench")


class Serve:
    """A running `tealbench serve`; addresses as it printed them."""

    def __init__(self, *options, listen=("127.0.0.1:0",)):
        command = [TEALBENCH, "serve", *options, *(f"--listen={a}" for a in listen)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = [json.loads(self.process.stdout.readline()) for _ in listen]
        self.address = self.lines[0]["address"]
        self.port = self.lines[0]["port"]

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), patience())

    def http(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience())

    def close(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait(patience())
        self.process.stdout.close()
        return status


@pytest.fixture
def serve(closing):
    return lambda *options, **more: closing.add(Serve(*options, **more))


def load(address, *options):
    """Runs a load to its end; (exit status, its JSON result)."""
    done = subprocess.run([TEALBENCH, "load", f"--target={address}", "--json", *options],
                          capture_output=True, text=True, timeout=2 * patience())
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def errors(result):
    return {kind: n for kind, n in result["errors"].items() if n}


def read_all(s):
    pieces = []
    while piece := s.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


class Peer:
    """A server of our own for what tealbench serve never does wrong: each
    connection is handed to handle(socket) on a thread."""

    def __init__(self, handle):
        self.handle = handle
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(s,), daemon=True).start()

    def one(self, s):
        try:
            with s:
                self.handle(s)
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def peer(closing):
    return lambda handle: closing.add(Peer(handle))


# --- serve: HTTP ---


def test_backend_says_who_it_is_and_counts(serve):
    green = serve("--name=green")
    first, second = green.http(), green.http()
    answers = []
    for c in (first, first, second):
        c.request("GET", "/")
        r = c.getresponse()
        assert r.status == 200 and r.getheader("X-Backend") == "green"
        answers.append(json.loads(r.read()))
    assert [a["name"] for a in answers] == ["green"] * 3
    assert all(a["port"] == green.port and a["address"] == green.address for a in answers)
    assert [(a["connection"], a["request"]) for a in answers] == [(1, 1), (1, 2), (2, 1)]
    assert [a["requests"] for a in answers] == [1, 2, 3]
    assert answers[-1]["connections"] == 2


def test_bytes_are_the_same_each_time_and_never_repeat_soon(serve):
    c = serve().http()
    bodies = []
    for n in (3_000_000, 3_000_000, 1000, 0):
        c.request("GET", f"/bytes/{n}")
        r = c.getresponse()
        bodies.append(r.read())
        assert r.status == 200 and len(bodies[-1]) == n
    assert bodies[0] == bodies[1]
    assert bodies[0][:1000] == bodies[2]
    # A buffer of any usual size, lost or doubled, must show.
    for size in (4096, 16384, 65536, 262144, 1 << 20):
        assert bodies[0][:1000] != bodies[0][size:size + 1000]


def test_status_delay_and_unknown_paths(serve):
    c = serve("--name=blue").http()
    for path, status in (("/status/503", 503), ("/status/204", 204), ("/status/404", 404), ("/nowhere", 404),
                         ("/bytes/x", 404), ("/status/99", 404), ("/bytes/-1", 404), ("/?a=b", 200)):
        c.request("GET", path)
        r = c.getresponse()
        r.read()
        assert (r.status, r.getheader("X-Backend")) == (status, "blue"), path
    began = time.monotonic()
    c.request("GET", "/delay/200")
    assert json.loads(c.getresponse().read())["name"] == "blue"
    assert time.monotonic() - began >= 0.2
    c.request("HEAD", "/bytes/77")
    r = c.getresponse()
    assert r.getheader("Content-Length") == "77" and r.read() == b""
    c.request("GET", "/echo")
    r = c.getresponse()
    assert r.status == 405 and r.read()


def test_stream_arrives_piece_by_piece(serve):
    target = serve()
    # The first piece arrives though the second is a minute away.
    s = target.connect()
    s.sendall(b"GET /stream/2/60000 HTTP/1.1\r\nHost: x\r\n\r\n")
    got = b""
    while b"chunk 1\n\r\n" not in got:
        assert (piece := s.recv(65536)), got
        got += piece
    assert b"Transfer-Encoding: chunked\r\n" in got and got.endswith(b"chunk 1\n\r\n")
    s.close()
    # And all of them keep their distance: counted from the asking, for a
    # reader that is late sees the pieces close together.
    s = target.connect()
    asked, got = time.monotonic(), b""
    s.sendall(b"GET /stream/3/150 HTTP/1.1\r\nHost: x\r\n\r\n")
    while not got.endswith(b"0\r\n\r\n"):
        assert (piece := s.recv(65536)), got
        got += piece
    assert got.count(b"chunk ") == 3 and time.monotonic() - asked >= 0.29


def test_stream_to_http_1_0_ends_with_the_connection(serve):
    s = serve().connect()
    s.sendall(b"GET /stream/2/1 HTTP/1.0\r\n\r\n")
    head, _, body = read_all(s).partition(b"\r\n\r\n")
    assert b"chunked" not in head and body == b"chunk 1\nchunk 2\n"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_echo_of_a_large_body_is_exact(serve, chunked):
    body = os.urandom(5_000_000)
    pieces = [body[i:i + 77_777] for i in range(0, len(body), 77_777)]
    if chunked:
        framing, sent = b"Transfer-Encoding: chunked", b"".join(
            b"%x;note=x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\nTrailer: t\r\n\r\n"
    else:
        framing, sent = b"Content-Length: %d" % len(body), body
    s = serve().connect()
    for _ in range(2):  # the second shows that the first was read to its end
        # Both directions at once, or both sides would wait for each other.
        sender = threading.Thread(target=s.sendall, args=(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n" + framing + b"\r\n\r\n" + sent,))
        sender.start()
        r = http.client.HTTPResponse(s, method="POST")
        r.begin()
        assert r.status == 200 and r.getheader("Content-Type") == "a/b" and r.read() == body
        sender.join()


def test_pipelined_requests_are_answered_in_order(serve):
    s = serve().connect()
    s.sendall(b"".join(b"GET /bytes/%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(500)))
    s.shutdown(socket.SHUT_WR)
    got = read_all(s)
    lengths = [int(l.split(b": ")[1]) for l in got.split(b"\r\n") if l.startswith(b"Content-Length: ")]
    assert lengths == list(range(500))


@pytest.mark.parametrize("request_bytes, status", [
    (b"\x00\x01\x02garbage\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", 431),
])
def test_bad_requests_are_answered_and_closed(serve, request_bytes, status):
    server = serve()
    s = server.connect()
    s.sendall(request_bytes)
    assert read_all(s).startswith(b"HTTP/1.1 %d " % status)
    c = server.http()
    c.request("GET", "/")
    assert c.getresponse().status == 200


# --- serve: the other modes, and its life ---


def test_hello_names_itself_before_anybody_speaks(serve):
    s = serve("--mode=hello", "--name=blue").connect()
    assert s.recv(100) == b"blue\n"
    s.sendall(b"again")
    assert s.recv(100) == b"again"


def test_echo_pushes_back_on_a_client_that_does_not_read(serve):
    server = serve("--mode=echo")
    s = server.connect()
    s.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 1 << 30:
            sent += s.send(bytes(65536))
    # What is held in between is the kernel's and at most one buffer of its own.
    assert sent < 64 << 20
    with open(f"/proc/{server.process.pid}/status") as f:
        resident = next(int(l.split()[1]) for l in f if l.startswith("VmRSS"))
    assert resident < 200_000
    s.shutdown(socket.SHUT_WR)
    s.settimeout(patience())
    assert len(read_all(s)) == sent


def test_sink_counts_and_source_sends_what_is_asked(serve):
    s = serve("--mode=sink").connect()
    s.sendall(bytes(1_234_567))
    s.shutdown(socket.SHUT_WR)
    assert read_all(s) == b"1234567\n"
    s = serve("--mode=source").connect()
    s.sendall(b"100000\n0\n5\n")
    s.shutdown(socket.SHUT_WR)
    got = read_all(s)
    assert len(got) == 100_005 and got[100_000:] == got[:5]
    s = serve("--mode=source", "--bytes=1MiB").connect()
    assert len(read_all(s)) == 1 << 20


def test_mute_accepts_and_says_nothing(serve):
    s = serve("--mode=mute").connect()
    s.sendall(b"anybody there?")
    s.settimeout(0.3)
    with pytest.raises(TimeoutError):
        s.recv(1)


def test_several_addresses_and_families(serve, tmp_path):
    path = f"unix:{tmp_path}/s"
    server = serve("--mode=hello", "--name=g", "--threads=2", listen=("127.0.0.1:0", "[::1]:0", path))
    assert [l["event"] for l in server.lines] == ["listening"] * 3
    assert server.lines[2]["address"] == path
    for family, address in ((socket.AF_INET, ("127.0.0.1", server.lines[0]["port"])),
                            (socket.AF_INET6, ("::1", server.lines[1]["port"])),
                            (socket.AF_UNIX, f"{tmp_path}/s")):
        with socket.socket(family) as s:
            s.connect(address)
            assert s.recv(10) == b"g\n"
    assert server.close() == 0
    assert not os.path.exists(f"{tmp_path}/s")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly_with_connections_open(serve, number):
    server = serve("--mode=echo", "--threads=2")
    s = server.connect()
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    assert server.close(number) == 0
    assert s.recv(1) == b""


@pytest.mark.parametrize("threads", [1, 3])
def test_a_busy_port_is_refused_by_name(serve, threads):
    server = serve(f"--threads={threads}")
    again = subprocess.run([TEALBENCH, "serve", f"--threads={threads}", f"--listen={server.address}"],
                           capture_output=True, text=True, timeout=patience())
    assert again.returncode == 2 and again.stdout == ""
    assert server.address in again.stderr and "busy" in again.stderr


@pytest.mark.parametrize("command, words", [
    (["serve"], "--listen"),
    (["serve", "--listen=127.0.0.1"], "no port"),
    (["serve", "--listen=127.0.0.1:0", "--mode=polka"], "polka"),
    (["serve", "--listen=127.0.0.1:0", "--name=a b"], "a b"),
    (["serve", "--listen=127.0.0.1:0", "--congestion=none-such"], "none-such"),
    (["serve", "--listen=127.0.0.1:0", "--threads"], "needs a value"),
    (["load"], "--target"),
    (["load", "--target=127.0.0.1:1", "--mode=polka"], "polka"),
    (["load", "--target=127.0.0.1:1", "--size=12parsecs"], "12parsecs"),
    (["load", "--target=127.0.0.1:1", "--connections=0"], "--connections"),
    (["load", "--target=127.0.0.1:1", "--path=no-slash"], "no-slash"),
    (["load", "--target=127.0.0.1:1", "--mode=tcp-idle", "--rate=5"], "--rate"),
    (["load", "--target=127.0.0.1:1", "--such"], "--such"),
    (["dance"], "dance"),
])
def test_usage_errors_say_what_is_wrong(command, words):
    done = subprocess.run([TEALBENCH, *command], capture_output=True, text=True, timeout=patience())
    assert done.returncode == 2 and words in done.stderr and done.stdout == ""


# --- load ---


@pytest.mark.parametrize("server_mode, mode, work, size", [
    ("echo", "tcp-small", 2003, 64),
    ("echo", "tcp-small", 50, 1 << 20),
    ("echo", "tcp-connect", 503, 64),
    ("source", "tcp-bulk-down", 11, 3_000_000),
    ("sink", "tcp-bulk-up", 11, 3_000_000),
    ("http", "http", 2003, None),
    ("http", "http-close", 503, None),
    ("http", "ws", 503, 64),
    ("http", "ws", 53, 126),
    ("http", "ws", 29, 100_000),
])
def test_every_request_is_made_and_answered(serve, server_mode, mode, work, size):
    server = serve(f"--mode={server_mode}", "--name=green")
    more = [f"--size={size}"] if size else []
    status, r = load(server.address, f"--mode={mode}", f"--requests={work}", "--connections=7", "--threads=3",
                     *more)
    assert status == 0 and r["ok"] == work and errors(r) == {}
    assert r["latency_us"]["count"] == work
    assert 0 < r["latency_us"]["min"] <= r["latency_us"]["p50"] <= r["latency_us"]["p99"] <= r["latency_us"]["max"]
    if mode in ("tcp-connect", "http-close", "tcp-bulk-up"):
        assert r["connect_us"]["count"] == work
    else:
        assert r["connect_us"]["count"] == 7
    if server_mode in ("echo", "source"):
        assert r["bytes_in"] == work * size
    if server_mode in ("echo", "sink"):
        assert r["bytes_out"] == work * size
    if server_mode == "http":
        assert r["served_by"] == {"green": work}
    if mode in ("http", "http-close"):
        c = server.http()
        c.request("GET", "/")
        assert json.loads(c.getresponse().read())["requests"] == work + 1


def test_half_close_waits_for_the_other_end_too(serve, peer):
    options = ("--mode=tcp-connect", "--half-close", "--requests=40", "--connections=4")
    status, r = load(serve("--mode=echo").address, *options)
    assert (status, r["ok"], errors(r)) == (0, 40, {})
    # Answers at once, but is in no hurry to end.
    answered_at_once = peer(lambda s: (s.sendall(s.recv(4096)), s.recv(1), time.sleep(0.3)))
    status, r = load(answered_at_once.address, *options)
    assert status == 0 and r["latency_us"]["min"] > 290_000


def test_who_answered_over_tcp(serve):
    server = serve("--mode=hello", "--name=blue")
    status, r = load(server.address, "--mode=tcp-small", "--hello", "--requests=300", "--connections=5")
    assert status == 0 and r["served_by"] == {"blue": 300}


def test_bodies_of_every_framing_are_followed(serve):
    server = serve()
    for path in ("/bytes/300000", "/stream/3/1", "/status/204", "/delay/5"):
        status, r = load(server.address, f"--path={path}", "--requests=30", "--connections=3")
        assert (status, r["ok"], errors(r)) == (0, 30, {}), path


def test_the_time_bounds_it(serve):
    """Nothing else would: there is no limit to what it may ask."""
    status, r = load(serve("--mode=echo").address, "--mode=tcp-small", "--duration=0.5", "--connections=4")
    assert status == 0 and r["ok"] > 0 and r["seconds"] >= 0.45


def test_open_loop_sends_what_the_rate_says(serve):
    status, r = load(serve("--mode=echo").address, "--mode=tcp-small", "--rate=500", "--duration=1",
                     "--connections=8", "--threads=2", f"--timeout={patience()}")
    assert status == 0 and r["ok"] == 500
    assert r["seconds"] >= 0.9


def test_open_loop_shows_a_stall_that_closed_loop_hides(peer):
    """One second of silence in the middle: the clients of the real world
    would have gone on coming; the one connection of a closed loop waits."""

    def stall_once(s):
        seen = 0
        while data := s.recv(4096):
            seen += 1
            if seen == 10:
                time.sleep(1)
            s.sendall(data)

    common = ("--mode=tcp-small", "--connections=1", f"--timeout={patience()}")
    _, closed = load(peer(stall_once).address, *common, "--requests=200", f"--duration={patience()}")
    _, opened = load(peer(stall_once).address, *common, "--duration=2", "--rate=100")
    assert closed["latency_us"]["max"] > 900_000 and opened["latency_us"]["max"] > 900_000
    # A hundred requests fell due within that second, half of all: they waited
    # between a second and nothing.
    assert opened["ok"] == 200
    assert opened["latency_us"]["p90"] > 500_000
    assert closed["latency_us"]["p90"] < opened["latency_us"]["p90"]


def test_open_loop_counts_what_it_could_not_send(serve):
    status, r = load(serve().address, "--path=/delay/200", "--connections=1", "--rate=100", "--duration=0.5",
                     "--timeout=0.5")
    assert status == 1
    assert "unsent" in errors(r) and errors(r).keys() <= {"unsent", "timeout"}
    assert r["ok"] + sum(errors(r).values()) == 50


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def after_one_read(answer=None, then=None):
    def handle(s):
        s.recv(4096)
        if answer:
            s.sendall(answer)
        if then:
            then(s)

    return handle


@pytest.mark.parametrize("kind, mode, handle", [
    ("reset", "tcp-small", after_one_read(then=reset)),
    ("short", "tcp-small", lambda s: s.sendall(s.recv(4096)[:10])),
    ("wrong_body", "tcp-small", after_one_read(b"?" * 64)),
    ("short", "http", after_one_read(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")),
    ("short", "http", after_one_read(b"HTTP/1.1 200 OK\r\nConte")),
    ("5xx", "http", after_one_read(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")),
    ("status", "http", after_one_read(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")),
    ("protocol", "http", after_one_read(b"220 smtp.example ready\r\n\r\n")),
    ("protocol", "http", after_one_read(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ntoo much")),
    ("protocol", "http", after_one_read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")),
    ("wrong_body", "bytes", after_one_read(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + b"?" * 64)),
    ("short", "bytes", after_one_read(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
    ("short", "tcp-bulk-up", after_one_read(b"1\n", lambda s: read_all(s))),
    ("short", "tcp-bulk-down", after_one_read(b"")),
])
def test_each_failure_is_counted_as_what_it_is(peer, kind, mode, handle):
    options = ["--mode=http", "--path=/bytes/64"] if mode == "bytes" else [f"--mode={mode}"]
    size = ["--size=64"] if mode.startswith("tcp") else []
    status, r = load(peer(handle).address, *options, *size, "--requests=3", f"--duration={patience()}")
    assert status == 1
    assert (r["ok"], errors(r)) == (0, {kind: 3})


def upgraded(*frames):
    """A WebSocket's server that answers its handshake, and the first frame with these bytes."""
    def handle(s):
        s.recv(65536)
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        s.recv(65536)
        for f in frames:
            s.sendall(f)
    return handle


@pytest.mark.parametrize("kind, handle", [
    ("status", lambda s: s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") if s.recv(65536) else None),
    ("wrong_body", upgraded(b"\x82\x04none")),
    ("wrong_body", upgraded(b"\x88\x40" + b"x" * 64)),
])
def test_each_failure_of_a_websocket_is_counted(peer, kind, handle):
    status, r = load(peer(handle).address, "--mode=ws", "--requests=2", f"--duration={patience()}")
    assert status == 1 and errors(r)[kind] >= 1 and set(errors(r)) == {kind}


@pytest.mark.parametrize("options", [[], ["--lasting"]])
def test_a_connection_that_must_last_may_not_end(peer, options):
    """A server that closes after each answer, as any may; where it must not, that is counted."""
    def once(s):
        s.sendall(s.recv(64))
    status, r = load(peer(once).address, "--mode=tcp-small", "--rate=50", "--duration=0.5", *options)
    # A request that was due at once may meet the end in its middle.
    assert ("closed" in errors(r)) == bool(options) and set(errors(r)) <= {"closed", "reset", "short"}, r


def test_refused_and_timed_out(serve):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        status, r = load("127.0.0.1:%d" % s.getsockname()[1], "--requests=5")
    assert status == 1 and set(errors(r)) == {"refused"} and errors(r)["refused"] >= 5
    status, r = load(serve("--mode=mute").address, "--mode=tcp-small", "--requests=2", "--connections=2",
                     "--timeout=0.3")
    assert status == 1 and errors(r) == {"timeout": 2} and r["seconds"] >= 0.3


def test_a_transfer_that_moves_does_not_time_out(serve, peer):
    def drip(s):
        s.recv(100)
        with real.connect() as source:
            source.sendall(b"12\n")
            for _ in range(12):
                time.sleep(0.1)
                s.sendall(source.recv(1))

    real = serve("--mode=source")
    status, r = load(peer(drip).address, "--mode=tcp-bulk-down", "--size=12", "--requests=1", "--timeout=0.6")
    assert status == 0 and r["latency_us"]["max"] > 1_000_000


def test_idle_connections_are_opened_held_and_announced(serve):
    server = serve("--mode=echo")
    n = min(1500, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 4)
    p = subprocess.Popen([TEALBENCH, "load", f"--target={server.address}", "--mode=tcp-idle", "--json",
                          f"--connections={n}", "--threads=2", "--sources=3", "--duration=60"],
                         stdout=subprocess.PIPE, text=True)
    holding = json.loads(p.stdout.readline())
    assert holding["event"] == "holding" and holding["connections"] == n and holding["errors"] == 0
    clients = set()

    def all_seen():
        clients.update(r.local for r in connected_to(server.port))
        return len(clients) == n
    until(all_seen, "all are open")
    assert {c.split(":")[0] for c in clients} == {"0100007F", "0200007F", "0300007F"}
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=patience())
    assert p.returncode == 0
    assert json.loads(out)["held"] == n


def test_held_connections_that_go_away_are_noticed(serve):
    server = serve("--mode=echo")
    p = subprocess.Popen([TEALBENCH, "load", f"--target={server.address}", "--mode=tcp-idle", "--json",
                          "--connections=20", f"--duration={patience()}"], stdout=subprocess.PIPE, text=True)
    assert json.loads(p.stdout.readline())["connections"] == 20
    server.close()
    until(lambda: not sockets(p.pid), "it has noticed")
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=patience())
    r = json.loads(out)
    assert p.returncode == 1 and r["held"] == 0 and errors(r) == {"closed": 20}


@pytest.mark.parametrize("target", ["192.0.2.1:80", "[2001:db8::1]:80", "8.8.8.8:53"])
def test_foreign_targets_are_refused(target):
    done = subprocess.run([TEALBENCH, "load", f"--target={target}"], capture_output=True, text=True, timeout=patience())
    assert done.returncode == 3 and "--yes-i-own-this-target" in done.stderr and done.stdout == ""


def test_an_interrupted_load_still_reports(serve):
    server = serve("--mode=echo")
    p = subprocess.Popen([TEALBENCH, "load", f"--target={server.address}", "--mode=tcp-small", "--json",
                          "--duration=60"], stdout=subprocess.PIPE, text=True)
    s = server.connect()
    s.sendall(b"y")
    assert s.recv(1) == b"y"
    # Under way once the backend sees its connection; nothing else tells.
    until(lambda: established(server.port, p.pid), "it is connected")
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=patience())
    assert p.returncode == 0 and json.loads(out)["ok"] > 0


def sockets(pid):
    """Those a process has open, as the kernel names them."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return {name for name in found if name.startswith("socket:")}


def established(port, pid):
    """Has that process a socket connected to the port, and used it?"""
    names = sockets(pid)
    return bool(names) and any(f"socket:[{s.inode}]" in names for s in connected_to(port))


class Socket(NamedTuple):
    local: str
    remote: str
    inode: str


def connected_to(port):
    """The established sockets with that port at their other end.

    The kernel shows the table in pieces. When it changes between two of them, a socket may
    come twice (a set takes care of that) or not at all (so read again to find the rest).
    """
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f]
    return {Socket(r[1], r[2], r[9]) for r in rows if r[2].endswith(f":{port:04X}") and r[3] == "01"}
