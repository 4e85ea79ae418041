"""tealbench with TLS, with bodies and headers, as a backend that is bad on
purpose, and beside other load generators."""
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

from helpers import scale
from helpers.tealbench import TEALBENCH, Serve, errors, load


@pytest.fixture
def serve(closing):
    return lambda *options, **more: closing.add(Serve(*options, **more))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate, key): PEM files, for localhost and shop.example."""
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=shop.example", "-addext",
                    "subjectAltName=DNS:localhost,DNS:shop.example,IP:127.0.0.1", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    return str(cert), str(key)


# --- TLS ---


@pytest.mark.parametrize("server_mode, mode, size", [
    ("echo", "tcp-small", 300_000), ("echo", "tcp-connect", 64), ("source", "tcp-bulk-down", 3_000_000),
    ("sink", "tcp-bulk-up", 3_000_000), ("http", "http", None), ("http", "http-close", None),
])
def test_every_mode_works_over_tls(serve, certificate, server_mode, mode, size):
    cert, key = certificate
    server = serve(f"--mode={server_mode}", "--tls", f"--cert={cert}", f"--key={key}")
    more = [f"--size={size}"] if size else []
    status, r = load(server.address, f"--mode={mode}", "--tls", f"--ca={cert}", "--requests=20", "--connections=3",
                     *more)
    assert (status, r["ok"], errors(r)) == (0, 20, {})
    fresh = mode in ("tcp-connect", "http-close", "tcp-bulk-up")
    assert r["handshake_us"]["count"] == (20 if fresh else 3) and r["resumed"] == 0


def test_half_a_tls_connection_may_end_first(serve):
    status, r = load(serve("--mode=echo", "--tls").address, "--mode=tcp-connect", "--half-close", "--tls",
                     "--insecure", "--requests=20", "--connections=3")
    assert (status, r["ok"], errors(r)) == (0, 20, {})


def test_sessions_are_resumed_only_when_asked(serve):
    server = serve("--tls")
    common = ("--mode=http-close", "--tls", "--insecure", "--requests=30", "--connections=2")
    assert load(server.address, *common)[1]["resumed"] == 0
    status, r = load(server.address, *common, "--resume")
    assert status == 0 and r["resumed"] == 28  # all but each connection's first


def test_a_certificate_must_be_trusted_and_name_the_host(serve, certificate):
    cert, key = certificate
    server = serve("--tls", f"--cert={cert}", f"--key={key}")
    for trusted, options in (
        (False, []),
        (True, [f"--ca={cert}"]),
        (True, [f"--ca={cert}", "--sni=shop.example"]),
        (False, [f"--ca={cert}", "--sni=else.example"]),
        (True, ["--insecure", "--sni=else.example"]),
    ):
        status, r = load(server.address, "--tls", "--requests=2", f"--duration={scale.patience()}", *options)
        assert status == (0 if trusted else 1), options
        assert trusted or (errors(r).keys() == {"tls"} and r["ok"] == 0)


def test_the_server_name_is_sent(closing):
    seen = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda s, name, c: seen.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        p = subprocess.Popen([TEALBENCH, "load", "--target=127.0.0.1:%d" % listener.getsockname()[1], "--tls",
                              "--insecure", "--sni=shop.example", "--requests=1", f"--duration={scale.patience()}"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        s, _ = listener.accept()
        with s, pytest.raises(ssl.SSLError):
            context.wrap_socket(s, server_side=True)  # it has no certificate
        p.terminate()
        p.wait()
    assert seen == ["shop.example"]


def test_plain_and_tls_do_not_understand_each_other(serve):
    status, r = load(serve().address, "--tls", "--insecure", "--requests=1", f"--duration={scale.patience()}", "--timeout=1")
    assert status == 1 and r["ok"] == 0


# --- requests ---


def test_headers_host_and_body_are_sent_as_asked(serve):
    server = serve()
    options = ("--path=/headers", "--requests=1", "--host=shop.example", "--header=X-One: 1", "--header=X-Two: 2")
    assert load(server.address, *options)[0] == 0
    status, r = load(server.address, "--path=/echo", "--body=300000", "--requests=20", "--connections=2")
    assert (status, r["ok"], errors(r)) == (0, 20, {})
    assert r["bytes_out"] > 20 * 300_000 < r["bytes_in"]


class Recorder:
    """Reads one request and answers it."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        return self

    def __exit__(self, *unused):
        self.listener.close()

    def head(self):
        s, _ = self.listener.accept()
        with s:
            head = b""
            while b"\r\n\r\n" not in head:
                head += s.recv(65536) or pytest.fail("it ended")
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Served-By: blue-7\r\n\r\n")
            return head.partition(b"\r\n\r\n")[0].decode().split("\r\n")


def test_the_request_is_the_one_asked_for():
    with Recorder() as r:
        p = subprocess.Popen([TEALBENCH, "load", f"--target={r.address}", "--requests=1", "--json", "--path=/a?b",
                              "--host=shop.example", "--header=X-One: 1", "--body=5", "--name-header=X-Served-By"],
                             stdout=subprocess.PIPE, text=True)
        head = r.head()
        result = json.loads(p.communicate(timeout=scale.patience())[0])
    assert head[0] == "POST /a?b HTTP/1.1"
    assert {"Host: shop.example", "X-One: 1", "Content-Length: 5"} <= set(head)
    assert result["served_by"] == {"blue-7": 1}


def test_connections_are_changed_after_so_many_requests(serve):
    status, r = load(serve().address, "--requests=100", "--per-connection=10")
    assert (status, r["ok"]) == (0, 100) and r["connect_us"]["count"] == 10


def test_several_ports_get_their_share(serve, ports):
    for _ in range(50):
        first = ports.hold()
        try:
            server = serve("--mode=hello", listen=(f"127.0.0.1:{first}", f"127.0.0.1:{first + 1}"))
            break
        except ValueError:  # somebody has the one after it
            continue
    p = subprocess.Popen([TEALBENCH, "load", f"--target={server.address}", "--mode=tcp-idle", "--connections=10",
                          "--hello", "--ports=2", "--duration=60"], stdout=subprocess.PIPE, text=True)
    assert json.loads(p.stdout.readline())["connections"] == 10
    with open("/proc/net/tcp") as f:
        rows = [l.split() for l in f]
    p.terminate()
    p.communicate()
    for port in (first, first + 1):
        # A row may be read twice while the table changes.
        assert len({r[2] for r in rows if r[1] == f"0100007F:{port:04X}" and r[3] == "01"}) == 5


def test_the_curve_rises_to_the_maximum(serve):
    _, r = load(serve().address, "--requests=500", "--connections=3")
    percents, times = zip(*r["curve"])
    assert list(percents) == sorted(percents) and (percents[0], percents[-1]) == (0, 100)
    assert list(times) == sorted(times) and times[-1] == r["latency_us"]["max"]


@pytest.mark.parametrize("options, words", [
    (["--sni=x"], "--tls"),
    (["--tls", "--ca=/nowhere"], "/nowhere"),
    (["--tls", "--ca=/x", "--insecure"], "--insecure"),
    (["--header=nonsense"], "nonsense"),
    (["--header=A: b\r\nC: d"], "--header"),
    (["--host=a\nb"], "--host"),
    (["--mode=tcp-small", "--body=5"], "--body"),
    (["--ports=65536"], "--ports"),
    (["--ports=60000", "--target=127.0.0.1:60000"], "--ports"),
    (["--mode=udp", "--target=unix:/x"], "--mode=udp"), (["--mode=udp", "--size=65508"], "--size"),
    (["--mode=udp-flow", "--tls"], "--tls"),
])
def test_usage_errors_of_a_load(options, words):
    done = subprocess.run([TEALBENCH, "load", "--target=127.0.0.1:1", *options], capture_output=True, text=True,
                          timeout=scale.patience())
    assert done.returncode == 2 and words in done.stderr and done.stdout == ""


# --- a backend that counts, is slow, is bad ---


def get(server, path, body=None, **headers):
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=scale.patience())
    c.request("POST" if body else "GET", path, body=body, headers=headers)
    r = c.getresponse()
    return r.status, r.read()


def test_it_counts_what_it_served_by_color_and_epoch(serve):
    server = serve("--name=green", "--threads=2")
    for epoch in ("41", "41", "42"):
        get(server, "/", **{"X-Teal-Color": "green", "X-Teal-Epoch": epoch})
    stats = json.loads(get(server, "/stats")[1])
    assert stats["colors"] == [{"value": "green", "requests": 3}]
    assert stats["epochs"] == [{"value": "41", "requests": 2}, {"value": "42", "requests": 1}]
    assert (stats["name"], stats["requests"], stats["connections"]) == ("green", 4, 4)
    assert server.close() == 0
    assert server.served == stats | {"event": "served", "open": 0}


def test_what_clients_make_up_is_bounded(serve):
    server = serve()
    for n in range(70):
        get(server, "/", **{"X-Teal-Epoch": str(n)})
    epochs = json.loads(get(server, "/stats")[1])["epochs"]
    assert len(epochs) == 65 and epochs[-1] == {"value": None, "requests": 6}


def test_a_slow_reader_takes_its_time(serve):
    server = serve()
    began = time.monotonic()
    status, _ = get(server, "/slow/100000", b"x" * 50_000)
    assert status == 200 and time.monotonic() - began >= 0.4


def frame(opcode, payload, fin=True):
    mask = os.urandom(4)
    n = len(payload)
    length = bytes([0x80 | n]) if n < 126 else b"\xfe" + n.to_bytes(2, "big") if n < 1 << 16 else (
        b"\xff" + n.to_bytes(8, "big"))
    return bytes([0x80 * fin | opcode]) + length + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload))


def unframe(f):
    first, n = f.read(2)
    assert n < 128, "servers do not mask"
    if n > 125:
        n = int.from_bytes(f.read(2 if n == 126 else 8), "big")
    return first, f.read(n)


def test_a_websocket_echoes_whatever_its_frames_are(serve):
    with socket.create_connection(("127.0.0.1", serve("--name=green").port), scale.patience()) as s:
        s.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                  b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        f = s.makefile("rb")
        head = [line.strip() for line in iter(f.readline, b"\r\n")]
        # The example of RFC 6455, section 1.3.
        assert head[0].startswith(b"HTTP/1.1 101 ") and b"X-Backend: green" in head
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        for opcode, payload, fin in ((1, b"hello", True), (2, os.urandom(70_000), True), (1, b"", True),
                                     (2, os.urandom(300), False), (0, os.urandom(126), True)):
            data = frame(opcode, payload, fin)
            for cut in (data[:1], data[1:5], data[5:]):
                s.sendall(cut)
            assert unframe(f) == (0x80 * fin | opcode, payload)
        s.sendall(frame(9, b"ping?") + frame(0xa, b"unasked") + frame(1, b"after"))
        assert unframe(f) == (0x8a, b"ping?") and unframe(f) == (0x81, b"after")
        s.sendall(frame(8, b"\x03\xe8bye"))
        assert unframe(f) == (0x88, b"\x03\xe8bye") and f.read() == b""


def test_a_websocket_must_be_asked_for_properly(serve):
    server = serve()
    assert get(server, "/ws")[0] == 400
    with socket.create_connection(("127.0.0.1", server.port), scale.patience()) as s:
        s.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x05hello")  # not masked
        assert s.makefile("rb").read().endswith(b"\r\n\r\n\x88\x02\x03\xea")


def test_answers_carry_what_is_asked_for(serve):
    c = http.client.HTTPConnection("127.0.0.1", serve("--header=ETag: 1", "--header=Server: any").port)
    c.request("GET", "/bytes/3")
    r = c.getresponse()
    assert (r.getheader("ETag"), r.getheader("Server"), len(r.read())) == ("1", "any", 3)


def test_it_dies_in_the_middle_when_asked(serve):
    server = serve()
    with pytest.raises(http.client.IncompleteRead) as e:
        get(server, "/die/100")
    assert len(e.value.partial) == 100
    assert get(server, "/")[0] == 200


def test_it_crashes_after_n_requests(serve):
    server = serve("--die-after=3")
    for _ in range(3):
        assert get(server, "/")[0] == 200
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        get(server, "/")
    assert server.process.wait(scale.patience()) == 1


@pytest.mark.parametrize("options, words", [
    (["--break=sideways"], "sideways"), (["--break=lie:0"], "lie:0"), (["--mode=sink", "--break=5xx"], "5xx"),
    (["--header=none"], "none"), (["--mode=echo", "--header=A: b"], "--header"), (["--cert=/x"], "--key"),
    (["--cert=/x", "--key=/y"], "--tls"), (["--tls", "--cert=/x", "--key=/y"], "/x"),
    (["--mode=udp", "--tls"], "--tls"), (["--mode=udp", "--break=reset"], "--break"),
    (["--mode=udp", "--listen=unix:/tmp/x"], "datagrams"),
])
def test_usage_errors_of_a_backend(options, words):
    done = subprocess.run([TEALBENCH, "serve", "--listen=127.0.0.1:0", *options], capture_output=True, text=True,
                          timeout=scale.patience())
    assert done.returncode == 2 and words in done.stderr and done.stdout == ""


# --- datagrams ---


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"])
def test_datagrams_come_back_from_where_they_were_sent(serve, listen):
    server = serve("--mode=udp", "--threads=2", listen=(listen,))
    # The wildcard has more addresses than the one that the kernel would choose.
    target = server.address.replace("0.0.0.0", "127.0.0.2")
    for mode, size in (("udp", 64), ("udp-flow", 64), ("udp", 9000)):
        status, r = load(target, f"--mode={mode}", "--requests=200", "--connections=3", f"--size={size}")
        assert (status, r["ok"], errors(r)) == (0, 200, {})
        assert r["bytes_in"] == r["bytes_out"] == 200 * size
        assert r["connect_us"]["count"] == (200 if mode == "udp-flow" else 3)
    assert server.close() == 0
    assert server.served["requests"] == 600 and server.served["bytes_in"] == 400 * 64 + 200 * 9000


def test_a_lost_datagram_is_a_timeout_and_a_wrong_one_is_told(closing):
    s = closing.add(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    s.bind(("127.0.0.1", 0))

    def answer():
        for n in range(9):
            data, who = s.recvfrom(100)
            if n % 3 == 0:
                continue
            s.sendto(data if n % 3 == 1 else data[::-1], who)
    t = threading.Thread(target=answer, daemon=True)
    t.start()
    status, r = load("127.0.0.1:%d" % s.getsockname()[1], "--mode=udp", "--requests=9", "--timeout=0.3")
    t.join(scale.patience())
    assert (status, r["ok"], errors(r)) == (1, 3, {"timeout": 3, "wrong_body": 3})


# --- beside others ---


@pytest.mark.nosan
def test_wrk_and_h2load_see_the_same_backend(serve):
    """All three at the same time: what they say they did is what was done."""
    server = serve()
    url = f"http://{server.address}/delay/20"
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in (
        ["wrk", "-t1", "-c8", "-d2", url], ["h2load", "--h1", "-t1", "-c8", "-D2", url])]
    status, r = load(server.address, "--path=/delay/20", "--connections=8", "--duration=2")
    wrk, h2load = (p.communicate(timeout=2 * scale.patience())[0] for p in others)
    # All but those under way at the end.
    counted = [int(re.search(r"(\d+) requests in", wrk)[1]), int(re.search(r"(\d+) succeeded", h2load)[1]), r["ok"]]
    assert status == 0 and min(counted) > 0
    served = json.loads(get(server, "/stats")[1])["requests"] - 1
    assert sum(counted) <= served <= sum(counted) + 3 * 8
