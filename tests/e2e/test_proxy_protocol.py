"""PROXY headers: who may send them, what becomes of bad ones, and that bytes
are the same with and without.  Real proxies: test_proxy_peers.py."""
import re
import socket
import struct
import time

import pytest

from helpers.backends import BLOCK, pattern, receive_stream, send_stream
from helpers.scale import until
from helpers.teald import service

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\0\0\0"
DATA_SEGMENTS_IN = 152  # offset of tcpi_data_segs_in in struct tcp_info

FROM_HERE = {"accept_from": ["127.0.0.0/8", "::1", "unix:"]}


def v1(source, destination):
    return f"PROXY TCP{6 if ':' in source[0] else 4} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


def v2(source, destination, tlvs=b"", command=0x21):
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    block = (socket.inet_pton(family, source[0]) + socket.inet_pton(family, destination[0])
             + struct.pack("!HH", source[1], destination[1]) + tlvs)
    return SIGNATURE + bytes([command, 0x21 if ":" in source[0] else 0x11]) + struct.pack("!H", len(block)) + block


def text(address):
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


class Told:
    """A backend's behaviour: takes a PROXY header first, keeps it, then greets
    and echoes.  Connections that bring no more than a header are checks."""

    def __init__(self, greet=True):
        self.greet, self.headers, self.checks, self.segments = greet, [], [], []

    def __call__(self, conn, backend):
        data = b""
        while not (size := self._size(data)) or len(data) < size:
            more = conn.recv(BLOCK)
            if not more:
                self.checks.append(data)
                return
            data += more
        header, data = data[:size], data[size:]
        own = LOCAL, v1(conn.getpeername(), conn.getsockname())
        if not data and header in own and conn.recv(1, socket.MSG_PEEK) == b"":
            self.checks.append(header)
            return
        info = conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
        self.segments.append(struct.unpack_from("I", info, DATA_SEGMENTS_IN)[0])
        self.headers.append(header)
        if self.greet:
            conn.sendall(backend.name.encode() + b"\n")
        while data := data or conn.recv(BLOCK):
            backend.note(conn, data)
            conn.sendall(data)
            data = b""

    @staticmethod
    def _size(data):
        if data.startswith(b"PROXY"):
            return data.find(b"\n") + 1
        return 16 + struct.unpack_from("!H", data, 14)[0] if len(data) >= 16 else 0


def local(client):
    return client.sock.getsockname()[:2]


# ---- taken ----

HEADERS = {
    "v1": v1(("192.0.2.7", 4711), ("203.0.113.1", 443)),
    "v1-ipv6": v1(("2001:db8::7", 4711), ("2001:db8::1", 443)),
    "v2": v2(("192.0.2.7", 4711), ("203.0.113.1", 443)),
    "v2-unique-id": v2(("192.0.2.7", 4711), ("203.0.113.1", 443), b"\x05\0\x80" + b"u" * 128),
    "v2-ipv6-tlvs": v2(("2001:db8::7", 4711), ("2001:db8::1", 443), b"\x02\0\x0bexample.org\x04\0\x00\xea\0\x02xx"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_the_header_says_who_the_client_is(web, kind):
    teal = web(proxy_protocol=FROM_HERE)
    with teal.connect() as c:
        # What follows the header belongs to the stream, even a second header.
        c.sock.sendall(HEADERS[kind] + HEADERS["v1"] + b"hello")
        assert c.peer == "green"
        assert c.receive(len(HEADERS["v1"]) + 5) == HEADERS["v1"] + b"hello"
        me = text(local(c))
    client = "[2001:db8::7]:4711" if "ipv6" in kind else "192.0.2.7:4711"
    line = teal.wait_log("tcp.session", client=client)
    assert (line["peer"], line["end"]) == (me, "done")
    # The header is not the client's.
    assert line["bytes_in"] == len(HEADERS["v1"]) + 5


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_may_come_in_pieces(web, kind):
    teal = web(proxy_protocol=FROM_HERE)
    header = HEADERS[kind]
    for step in (1, 7, 16, len(header) - 1):
        with teal.connect() as c:
            for at in range(0, len(header), step):
                c.sock.sendall(header[at:at + step])
                time.sleep(0.0005)  # a segment of its own, most times
            c.echo(b"hello")


def test_a_long_header_and_a_long_stream_behind_it(web, backend):
    def answer(conn, b):
        got, digest = receive_stream(conn)
        conn.sendall(f"{got} {digest}\n".encode())
    teal = web(green=[backend("green", answer)], proxy_protocol=FROM_HERE)
    filler = b"\x04" + struct.pack("!H", 16000) + bytes(16000)
    with teal.connect() as c:
        c.sock.sendall(v2(("192.0.2.7", 1), ("192.0.2.8", 2), filler))
        digest = send_stream(c.sock, 3, 5_000_001)
        c.sock.shutdown(socket.SHUT_WR)
        assert c.line() == f"5000001 {digest}"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN what ever\r\n", LOCAL,
                                    SIGNATURE + b"\x21\0\0\0", v2(("192.0.2.7", 1), ("192.0.2.8", 2), command=0x20)],
                         ids=["unknown", "unknown+", "local", "unspec", "local+"])
def test_a_header_that_names_nobody_leaves_the_peer(web, header):
    teal = web(proxy_protocol=FROM_HERE)
    with teal.connect() as c:
        c.sock.sendall(header)
        c.echo()
        me = text(local(c))
    assert teal.wait_log("tcp.session", end="done")["client"] == me


def test_over_a_unix_socket(web, tmp_path):
    teal = web(listen=f"unix:{tmp_path}/s.sock", proxy_protocol=FROM_HERE)
    header = HEADERS["v1"]
    with teal.connect() as c:
        c.sock.sendall(header[:20])
        teal.wait_metric(1, "teal_connections", service="web", color="green")
        teal.rest()  # half a header on a socket is no work
        c.sock.sendall(header[20:])
        c.echo()
    line = teal.wait_log("tcp.session", end="done")
    assert (line["client"], line["peer"]) == ("192.0.2.7:4711", "unix:")


# ---- refused ----

def quiet(backend, **how):
    """Backends that nobody checks: every connect is a client's."""
    return dict(health={"type": "none"}, **how)


def test_others_are_closed_at_once(web, backend):
    teal = web(**quiet(backend), proxy_protocol={"accept_from": ["10.9.0.0/16", "::1"]})
    with teal.connect() as c:
        assert c.read_end()[0] == b""
    line = teal.wait_log("tcp.session", end="proxy_denied")
    assert line["client"].startswith("127.0.0.1:")
    teal.wait_metric(1, "teal_rejected_total", service="web", reason="proxy_denied")
    assert teal.green.accepted == 0


@pytest.mark.parametrize("said", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"hello\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\nx",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", b"PROXY UNKNOWN\nx", b"PROXY " + b"x" * 200,
    SIGNATURE + b"\x31\x11\0\x0c", SIGNATURE + b"\x21\x12\0\x0c" + bytes(12), SIGNATURE + b"\x21\x11\xff\xff",
    v2(("192.0.2.7", 1), ("192.0.2.8", 2), b"\x03\0\x04\1\2\3\4"), v2(("192.0.2.7", 1), ("192.0.2.8", 2), b"\x05\0\x09x"),
    v2(("192.0.2.7", 1), ("192.0.2.8", 2), b"\x05\0\x81" + b"u" * 129),
], ids=range(12))
def test_what_is_no_header_is_not_guessed_about(web, backend, said):
    teal = web(**quiet(backend), proxy_protocol=FROM_HERE)
    with teal.connect() as c:
        c.sock.sendall(said)
        assert c.read_end()[0] == b""
    line = teal.wait_log("tcp.session", end="proxy_header")
    assert (line["backend"], line["bytes_in"]) == ("", 0)
    assert teal.wait_log("proxy.header", level="debug")["reason"]
    assert teal.green.accepted == 0


@pytest.mark.parametrize("said", [b"", b"PROXY TCP4 192.0.2.7 "], ids=["nothing", "half"])
def test_a_header_has_a_deadline(web, backend, said):
    teal = web(**quiet(backend), proxy_protocol=FROM_HERE | {"header_timeout": 0.3})
    with teal.connect() as c:
        c.sock.sendall(said)
        assert c.read_end()[0] == b""
    line = teal.wait_log("tcp.session", end="proxy_timeout")
    assert line["backend"] == "" and line["seconds"] >= 0.3
    assert teal.green.accepted == 0


@pytest.mark.parametrize("said, end", [(b"", "client_gone"), (b"PROXY TCP4 192.0", "proxy_header")])
def test_a_client_that_leaves_before_its_header_is_whole(web, backend, said, end):
    teal = web(**quiet(backend), proxy_protocol=FROM_HERE)
    with teal.connect() as c:
        c.sock.sendall(said)
    teal.wait_log("tcp.session", end=end)
    with teal.connect() as c:
        c.sock.sendall(said)
        teal.wait_metric(1, "teal_connections", service="web", color="green")
        c.reset()
    teal.wait_log("tcp.session", end="client_gone", count=1 + (end == "client_gone"))
    assert teal.green.accepted == 0


def test_who_still_owes_a_header_counts_as_a_connection(web, backend):
    teal = web(**quiet(backend), proxy_protocol=FROM_HERE, max_connections=1)
    with teal.connect() as first:
        teal.wait_metric(1, "teal_connections", service="web", color="green")
        with teal.connect() as second:
            assert second.read_end()[0] == b""
        teal.wait_log("tcp.session", end="max_connections")
        first.sock.sendall(HEADERS["v2"])
        first.echo()


def test_a_flip_while_a_header_is_awaited(web, backend):
    teal = web(proxy_protocol=FROM_HERE)
    with teal.connect() as c:
        c.sock.sendall(HEADERS["v1"][:9])
        teal.wait_metric(1, "teal_connections", service="web", color="green")
        # It has no backend yet: nothing of it is on green.
        assert teal.ok("flip", "web", "blue", "--wait=drained")["active"] == "blue"
        teal.wait_metric(1, "teal_connections", service="web", color="blue")
        c.sock.sendall(HEADERS["v1"][9:])
        assert c.echo().peer == "blue"


def test_a_stop_while_a_header_is_awaited(web):
    teal = web(proxy_protocol=FROM_HERE)
    with teal.connect() as c:
        c.sock.sendall(HEADERS["v2"][:13])
        teal.wait_metric(1, "teal_connections", service="web", color="green")
        assert teal.stop() == 0
        assert c.read_end()[0] == b""
    assert teal.sessions(end="stopped")


# ---- limits are for the client, not for the proxy ----

def test_allow_and_deny_look_at_the_client(web, backend):
    teal = web(**quiet(backend), proxy_protocol=FROM_HERE, allow=["192.0.2.0/24", "2001:db8::/32"], deny="192.0.2.66")
    for source, welcome in (("192.0.2.7", True), ("192.0.2.66", False), ("192.0.3.7", False), ("2001:db8::7", True)):
        with teal.connect() as c:
            c.sock.sendall(v2((source, 4711), (source, 80)))
            if welcome:
                c.echo()
            else:
                assert c.read_end()[0] == b""
                assert teal.wait_log("tcp.session", client=f"{source}:4711")["end"] == "denied"
    # A proxy that speaks for itself is no client of that network.
    with teal.connect() as c:
        c.sock.sendall(LOCAL)
        assert c.read_end()[0] == b""
    assert teal.green.accepted == 2


def test_places_of_a_source_are_the_clients(web):
    teal = web(proxy_protocol=FROM_HERE, max_connections_per_source=1)

    def come(source):
        c = teal.connect()
        c.sock.sendall(v1((source, 1), ("192.0.2.1", 80)))
        return c
    first = come("192.0.2.7").echo()
    assert come("192.0.2.7").read_end()[0] == b""
    teal.wait_log("tcp.session", end="source_limit", client="192.0.2.7:1")
    others = [come(f"192.0.2.{n}").echo() for n in range(10, 20)]
    first.close()
    teal.wait_log("tcp.session", end="done", client="192.0.2.7:1")
    come("192.0.2.7").echo()
    for c in others:
        c.echo()


def test_the_queue_is_joined_once_the_header_is_there(web):
    teal = web(proxy_protocol=FROM_HERE, max_connections=1, queue_timeout=600.0)
    first = teal.connect()
    first.sock.sendall(HEADERS["v1"])
    first.echo()
    second = teal.connect()
    second.sock.sendall(v1(("192.0.2.8", 1), ("192.0.2.1", 80)) + b"hello")
    teal.wait_metric(1, "teal_waiting_connections", service="web")
    first.close()
    assert second.peer == "green" and second.receive(5) == b"hello"
    second.close()
    assert teal.wait_log("tcp.session", client="192.0.2.8:1")["end"] == "done"
    teal.wait_metric(0, "teal_connections", service="web")


# ---- told ----

@pytest.mark.parametrize("send", ["v1", "v2"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_backend_is_told_who_the_client_is(web, backend, ports, send, host):
    told = Told()
    teal = web(green=[backend("green", told)], proxy_protocol={"send": send},
               listen=f"[::1]:{ports.hold('::1')}" if ":" in host else f"127.0.0.1:{ports.hold()}")
    with teal.connect() as c:
        assert c.peer == "green"    # the backend speaks first: the header did not wait for us
        c.echo(pattern(5)[:300_000])
        expected = {"v1": v1, "v2": v2}[send](local(c), c.sock.getpeername()[:2])
    assert told.headers == [expected]
    line = teal.wait_log("tcp.session")
    assert line["bytes_in"] == 300_000 and "peer" not in line


@pytest.mark.parametrize("send", ["v1", "v2"])
def test_the_header_leaves_together_with_the_first_bytes(web, backend, send):
    told = Told(greet=False)
    teal = web(green=[backend("green", told)], proxy_protocol=FROM_HERE | {"send": send})
    for n in range(20):
        with teal.connect() as c:
            c.sock.sendall(HEADERS["v2"] + b"hello")
            assert c.receive(5) == b"hello"
    # The bytes were here when the backend was reached: one segment each.
    assert told.segments == [1] * 20


def test_a_client_of_a_unix_socket_has_no_address(web, backend, tmp_path):
    for send, header in (("v1", b"PROXY UNKNOWN\r\n"), ("v2", SIGNATURE + b"\x21\0\0\0")):
        told = Told()
        teal = web(green=[backend("green", told)], proxy_protocol={"send": send}, listen=f"unix:{tmp_path}/{send}.sock")
        with teal.connect() as c:
            c.sock.sendall(b"hello")
            assert c.peer == "green" and c.receive(5) == b"hello"
        assert told.headers == [header]


@pytest.mark.parametrize("send", ["v1", "v2"])
def test_what_one_header_said_the_next_one_says(web, backend, send):
    told = Told()
    teal = web(green=[backend("green", told)], proxy_protocol=FROM_HERE | {"send": send})
    with teal.connect() as c:
        c.sock.sendall(HEADERS["v2-ipv6-tlvs"])
        c.echo()
    assert told.headers == [{"v1": v1, "v2": v2}[send](("2001:db8::7", 4711), ("2001:db8::1", 443))]


def test_a_retry_tells_the_next_backend_once(teal, backend, ports):
    told = Told()
    dead, living = backend("dead", start=False), backend("green", told)
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[dead, living], blue=[backend("blue")],
                               health={"type": "none"}, proxy_protocol={"send": "v1"})])
    for _ in range(6):
        with t.connect() as c:
            c.echo(b"x" * 1000)
    assert len(told.headers) == 6 and all(h.startswith(b"PROXY TCP4 127.0.0.1 ") for h in told.headers)
    t.wait_log("tcp.session", retries=1)


@pytest.mark.parametrize("send", ["v1", "v2"])
def test_checks_and_the_gate_speak_for_teald_itself(web, backend, send):
    green, blue = Told(), Told()
    teal = web(green=[backend("green", green)], blue=[backend("blue", blue)], proxy_protocol={"send": send},
               health={"interval": 30.0, "rise": 1})
    until(lambda: blue.checks, "a check of blue")
    n = len(blue.checks)
    teal.ok("flip", "web", "blue")
    until(lambda: len(blue.checks) > n, "the gate's connect")
    if send == "v2":
        assert set(green.checks + blue.checks) == {LOCAL}
    # Version 1 has only UNKNOWN for that, which half of all receivers refuse: the probe's own addresses instead.
    assert not green.headers + blue.headers
    for told, b in (green, teal.green), (blue, teal.blue):
        if send == "v1":
            assert all(re.fullmatch(rb"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 [0-9]+ %d\r\n" % b.port, header)
                       for header in told.checks)


def test_a_health_port_of_its_own_is_told_nothing(web, backend, ports):
    other = backend("health")
    t = web(start=False, proxy_protocol={"send": "v2"}, health={"interval": 0.2, "rise": 1})
    t.settings["services"][0]["green"]["health_port"] = other.port
    t.start()
    until(lambda: t.metrics().get("teal_backend_checks_total", color="green", result="passed"), "a check")
    assert other.accepted == 0


def test_a_preview_wants_the_header_too(web, ports):
    teal = web(preview=f"127.0.0.1:{ports.hold()}", proxy_protocol=FROM_HERE)
    with teal.connect(key="preview") as c:
        c.sock.sendall(HEADERS["v1"])
        assert c.echo().peer == "blue"
    assert teal.wait_log("tcp.session", entrance="preview")["client"] == "192.0.2.7:4711"


def test_many_at_once(web):
    teal = web(proxy_protocol=FROM_HERE)
    clients = [teal.connect() for _ in range(200)]
    for n, c in enumerate(clients):
        c.sock.sendall(v2((f"192.0.2.{n}", 1000 + n), ("192.0.2.255", 80))[:20])
    teal.wait_metric(200, "teal_connections", service="web", color="green")
    for n, c in enumerate(clients):
        c.sock.sendall(v2((f"192.0.2.{n}", 1000 + n), ("192.0.2.255", 80))[20:] + b"%03d" % n)
    for n, c in enumerate(clients):
        assert c.peer == "green" and c.receive(3) == b"%03d" % n
        c.close()
    assert {l["client"] for l in (teal.wait_log("tcp.session", count=200), *teal.sessions())} == {
        f"192.0.2.{n}:{1000 + n}" for n in range(200)}
