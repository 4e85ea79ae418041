"""TLS from clients: which certificate, on what terms, for whom; what becomes of
those who speak something else; and certificates that change meanwhile."""
import datetime
import errno
import hashlib
import json
import os
import resource
import select
import socket
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509

from helpers import scale
from helpers.certificates import Authority, connect, hello, in_records, replace, subject, trusting
from helpers.http1 import site
from helpers.scale import patience, scaled, until
from helpers.teald import service

ALERT = {"unexpected_message": 10, "illegal_parameter": 47, "decode_error": 50, "unrecognized_name": 112}


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def tls(teal, backend, ports, ca):
    """tls(certificates=[…], **tls keys): a service of mode tcp with two greeting backends."""
    def make(certificates=None, keys=None, clock=False, **terms):
        terms["certificates"] = certificates or [ca.issue("web.example")]
        if clock:
            keys = {"health": {"type": "none"}, "idle_timeout": 0} | (keys or {})
        own = {"listen": f"127.0.0.1:{ports.hold()}", "tls": terms} | (keys or {})
        for color in ("green", "blue"):
            own[color] = [backend(color, *own.get(color, ()))]
        return teal(services=[service(**own)], clock=clock)
    return make


def more(connection, most=1 << 16):
    """What comes next; something has to."""
    data = connection.recv(most)
    if not data:
        raise ConnectionError("it ended")
    return data


def echoed(connection, data):
    """What comes back while data is sent.  By one thread: OpenSSL's connections take no two calls at once, and
    Python's ssl keeps none of them waiting."""
    timeout, got, rest = connection.gettimeout(), bytearray(), memoryview(data)
    connection.setblocking(False)
    while len(got) < len(data):
        waits = []
        try:
            got += more(connection)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            waits.append("reads")
        try:
            if rest:
                rest = rest[connection.send(rest[:1 << 16]):]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            waits.append("writes")
        if waits == ["reads", "writes"] or (waits and not rest):
            readable, writable, _ = select.select([connection], [connection] if rest else [], [], patience())
            assert readable or writable, f"{len(got)} of {len(data)} bytes came back"
    connection.settimeout(timeout)
    return got


def greeted(connection):
    """The color that answers."""
    line = b""
    while not line.endswith(b"\n"):
        line += more(connection, 1)
    return line.decode().strip()


def raw(teal, data, name="web"):
    """What comes back, until the end, which is a polite one."""
    with teal.connect(name) as c:
        c.sock.sendall(data)
        answer, end = c.read_end()
        assert end == "eof"
        return answer


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_client_is_served(tls, ca, version):
    teal = tls()
    context = trusting(ca, minimum_version=getattr(ssl.TLSVersion, version.replace(".", "_")),
                       maximum_version=getattr(ssl.TLSVersion, version.replace(".", "_")))
    with connect(teal.address(), context, "web.example") as c:
        assert (c.version(), c.compression()) == (version, None)
        assert greeted(c) == "green"
        c.sendall(b"hello")
        assert c.recv(5) == b"hello"
        c.unwrap()
    line = teal.wait_log("tcp.session", sni="web.example")
    assert (line["tls"], line["cipher"][:4], line["resumed"]) == (version, "TLS_" if version == "TLSv1.3" else "ECDH", False)
    assert line["bytes_in"] == 5
    teal.wait_metric(1, "teal_tls_handshakes_total", version=version[4:], resumed="false")


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_versions_are_refused(tls, ca, version):
    teal = tls()
    context = trusting(ca)
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        connect(teal.address(), context, "web.example")


def test_modern_is_1_3_alone(tls, ca):
    teal = tls(profile="modern")
    connect(teal.address(), trusting(ca), "web.example").close()
    with pytest.raises(ssl.SSLError, match="alert protocol version|ALERT_PROTOCOL_VERSION"):
        connect(teal.address(), trusting(ca, maximum_version=ssl.TLSVersion.TLSv1_2), "web.example")


def test_the_name_chooses_the_certificate(tls, ca):
    teal = tls([ca.issue("first.example"), ca.issue("other", "*.wild.example", subject="wild"), ca.issue("exact.wild.example")])
    for name, who in {"first.example": "first.example", "a.wild.example": "wild", "EXACT.wild.example": "exact.wild.example",
                      "exact.wild.example": "exact.wild.example"}.items():
        with connect(teal.address(), trusting(ca), name) as c:
            assert subject(c) == who
    # A wildcard is for one label; whoever has no certificate of its own is shown the first.
    for name in ("a.b.wild.example", "wild.example", "unknown.example", None):
        with connect(teal.address(), trusting(ca, check_hostname=False), name) as c:
            assert subject(c) == "first.example"


def test_rsa_and_ecdsa_side_by_side(tls, ca):
    teal = tls([ca.issue("rsa", "web.example", kind="RSA", subject="by rsa"), ca.issue("ec", "web.example", subject="by ec")])
    for cipher, who in {"ECDHE-RSA-AES128-GCM-SHA256": "by rsa", "ECDHE-ECDSA-AES128-GCM-SHA256": "by ec"}.items():
        context = trusting(ca, maximum_version=ssl.TLSVersion.TLSv1_2)
        context.set_ciphers(cipher)
        with connect(teal.address(), context, "web.example") as c:
            assert (subject(c), c.cipher()[0]) == (who, cipher)


@pytest.mark.tsan
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_clients_come_back_on_any_worker(tls, ca, version):
    teal = tls()
    context = trusting(ca, maximum_version=getattr(ssl.TLSVersion, version))
    with connect(teal.address(), context, "web.example") as c:
        greeted(c)  # and with it, in TLS 1.3, the ticket
        assert not c.session_reused
        session = c.session
    for _ in range(8):  # on one worker or the other
        with connect(teal.address(), context, "web.example", session=session) as c:
            greeted(c)
            assert c.session_reused
            # By 1.3 each return gets a ticket of its own, or watchers could tell one client by it.
            assert version == "TLSv1_2" or c.session.id != session.id
            session = c.session
    teal.wait_metric(8, "teal_tls_handshakes_total", version=version[-3:].replace("_", "."), resumed="true")


def test_a_ticket_does_not_wait_for_an_answer_for_ever(tls, ca):
    teal = tls(keys={"green": [lambda conn, b: conn.recv(1)]})
    with connect(teal.address(), trusting(ca), "web.example") as c:
        c.settimeout(0.1)

        def has_ticket():
            try:
                c.recv(1)
            except TimeoutError:
                pass
            return c.session.has_ticket
        until(has_ticket, "the ticket comes by itself")


def test_a_ticket_of_one_service_is_no_way_into_another(teal, backend, ports, ca):
    """Two services, one client certificate wanted: not to be walked round by
    coming back with what the other one gave."""
    green, blue = backend("green"), backend("blue")
    both = {"green": [green], "blue": [blue]}
    cert = ca.issue("all", "a.example", "b.example")
    teal = teal(services=[
        service("open", listen=f"127.0.0.1:{ports.hold()}", tls={"certificates": [cert]}, **both),
        service("shut", listen=f"127.0.0.1:{ports.hold()}",
                tls={"certificates": [cert], "client_ca": str(ca.pem)}, **both)])
    for version in ("TLSv1_2", "TLSv1_3"):
        context = trusting(ca, maximum_version=getattr(ssl.TLSVersion, version))
        with connect(teal.address("open"), context, "a.example") as c:
            greeted(c)
            session = c.session
        # Another name is another whole handshake, ...
        with connect(teal.address("open"), context, "b.example", session=session) as c:
            greeted(c)
            assert not c.session_reused
        # ... and another service still asks.
        with pytest.raises((ssl.SSLError, ConnectionResetError)), \
                connect(teal.address("shut"), context, "a.example", session=session) as c:
            greeted(c)


def test_client_certificates(tls, ca, tmp_path):
    stranger = Authority(tmp_path, "Stranger")
    teal = tls(client_ca=str(ca.pem))
    with connect(teal.address(), trusting(ca, own=ca.issue("jane", subject="Jane")), "web.example") as c:
        assert greeted(c) == "green"
        c.unwrap()
    assert teal.wait_log("tcp.session", subject="CN=Jane")["end"] == "done"
    for own, why in ((None, "no certificate"), (stranger.issue("joe"), "not accepted"),
                     (ca.issue("old", days=-1), "expired")):
        with pytest.raises((ssl.SSLError, ConnectionResetError)), \
                connect(teal.address(), trusting(ca, own=own), "web.example") as c:
            greeted(c)
        line = teal.wait_log("tcp.session", end="tls_certificate")
        assert why in line["error"]
        teal.logs.clear()
    teal.wait_metric(3, "teal_rejected_total", reason="tls_certificate")


def test_client_certificates_may_be_optional(tls, ca, tmp_path):
    stranger = Authority(tmp_path, "Stranger")
    teal = tls(client_ca=str(ca.pem), client_verify="optional")
    for own in (None, ca.issue("jane")):
        with connect(teal.address(), trusting(ca, own=own), "web.example") as c:
            assert greeted(c) == "green"
    # But one that is shown is no lie.
    with pytest.raises((ssl.SSLError, ConnectionResetError)), \
            connect(teal.address(), trusting(ca, own=stranger.issue("joe")), "web.example") as c:
        greeted(c)


def test_revoked_client_certificates(tls, ca):
    """A list that names one, then another one; also for those who come back by a ticket."""
    jane, joe = ca.issue("jane"), ca.issue("joe")
    teal = tls(client_ca=str(ca.pem), crl=str(ca.revoke(jane)))

    def visit(own, session=None, version=ssl.TLSVersion.TLSv1_2):
        context = trusting(ca, own=own, maximum_version=version)
        with connect(teal.address(), context, "web.example", session=session) as c:
            greeted(c)
            return context, c.session

    def refused(own, why, version=ssl.TLSVersion.TLSv1_2):
        teal.logs.clear()
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            visit(own, version=version)
        assert why in teal.wait_log("tcp.session", end="tls_certificate")["error"]

    refused(jane, "certificate revoked")
    refused(jane, "certificate revoked", ssl.TLSVersion.TLSv1_3)
    context, session = visit(joe)
    with connect(teal.address(), context, "web.example", session=session) as c:
        greeted(c)
        assert c.session_reused
    # The list is read again when its file changes: the ticket of before is no way round it.
    ca.revoke(joe)
    assert teal.ok("certs", "reload")["services_changed"] in (0, 1)     # 0: the change was seen already
    teal.logs.clear()
    with pytest.raises((ssl.SSLError, ConnectionResetError)), \
            connect(teal.address(), context, "web.example", session=session) as c:
        greeted(c)
    assert "certificate revoked" in teal.wait_log("tcp.session", end="tls_certificate")["error"]
    visit(jane)
    # A list that is out of date says nothing about anyone, so no client is let in.
    ca.revoke(days=-1)
    teal.ok("certs", "reload")
    refused(jane, "CRL has expired")
    # What is no list changes nothing.
    replace(ca.folder / f"{ca.pem.stem}-CRL.pem", b"no list")
    refusal = teal.ctl("certs", "reload")
    assert not refusal["ok"] and "there is no revocation list in PEM form in it" in refusal["message"]
    refused(jane, "CRL has expired")


def test_alpn(tls, ca):
    teal = tls(alpn=["h2", "http/1.1"])
    for offered, chosen in ((["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (None, None)):
        with connect(teal.address(), trusting(ca, alpn=offered), "web.example") as c:
            assert c.selected_alpn_protocol() == chosen
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        connect(teal.address(), trusting(ca, alpn=["spdy/1"]), "web.example")


# ---- half and whole streams ----

def test_large_streams_both_ways(tls, ca):
    teal = tls()
    data = os.urandom(1 << 20) * scaled(64, 6)
    with connect(teal.address(), trusting(ca), "web.example") as c:
        greeted(c)
        assert echoed(c, data) == data
        c.unwrap()
    assert teal.wait_log("tcp.session", end="done")["bytes_out"] == len(data) + len("green\n")


def test_a_stream_cut_short_does_not_look_whole(tls, ca):
    def cut(conn, b):
        conn.sendall(b"half of it")
        conn.recv(1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        conn.close()
    teal = tls(keys={"green": [cut]})
    with connect(teal.address(), trusting(ca), "web.example", suppress_ragged_eofs=False) as c:
        assert c.recv(10) == b"half of it"
        c.sendall(b"x")
        # No goodbye of TLS.
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            c.recv(10)
    assert teal.wait_log("tcp.session")["end"] == "backend_reset"


def test_one_half_closes_first(tls, ca):
    def answer(conn, b):
        got = 0
        while data := conn.recv(65536):
            got += len(data)
        conn.sendall(b"%d\n" % got)
    teal = tls(keys={"green": [answer]})
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    c = trusting(ca).wrap_bio(incoming, outgoing, server_hostname="web.example")
    with socket.create_connection(teal.address(), patience()) as s:
        def turn(call):
            while True:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    s.sendall(outgoing.read())
                    incoming.write(s.recv(65536))
        turn(c.do_handshake)
        for _ in range(100):
            c.write(b"x" * 10_000)
        with pytest.raises(ssl.SSLWantReadError):
            c.unwrap()  # says goodbye, and waits for theirs
        s.sendall(outgoing.read())
        s.shutdown(socket.SHUT_WR)
        end = b""
        while data := s.recv(65536):
            end += data
    # The answer, and a goodbye behind it: encrypted, so only its being there shows.
    assert len(end) > 0
    assert teal.wait_log("tcp.session")["end"] == "done"
    assert teal.log_lines("tcp.session")[0]["bytes_in"] == 1_000_000


# ---- what is no TLS, or takes its time ----

STRANGERS = {
    "http": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "unexpected_message", "tls_plain_http"),
    "ssh": (b"SSH-2.0-OpenSSH\r\n", "unexpected_message", "tls_hello"),
    "zeros": (bytes(200), "unexpected_message", "tls_hello"),
    "other_record": (b"\x17\x03\x03\x00\x05hello", "unexpected_message", "tls_hello"),
    "server_hello": (b"\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00", "unexpected_message", "tls_hello"),
    "too_long": (b"\x16\x03\x01\xff\xff" + bytes(100), "decode_error", "tls_hello"),
    "cut_short": (b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00", "decode_error", "tls_hello"),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_strangers_are_told_so(tls, ca, kind):
    data, alert, end = STRANGERS[kind]
    teal = tls()
    assert raw(teal, data) == bytes([21, 3, 3, 0, 2, 2, ALERT[alert]])
    assert teal.wait_log("tcp.session", end=end)["error"]
    teal.wait_metric(1, "teal_rejected_total", reason=end)


@pytest.mark.parametrize("how", ["byte_by_byte", "records_of_one_byte", "long", "long_in_records"])
def test_a_hello_may_come_in_pieces(tls, ca, how):
    teal = tls()
    data = hello("web.example", pad=15_000 if how.startswith("long") else 0)
    if how == "records_of_one_byte":
        data = in_records(data, 1)
    elif how == "long_in_records":
        data = in_records(data, 4000)
    pieces = [data[i:i + 1] for i in range(len(data))] if how == "byte_by_byte" else [data[:700], data[700:]]
    with socket.create_connection(teal.address(), patience()) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            s.sendall(piece)
            time.sleep(0.001)
        # ServerHello.
        assert s.recv(6)[:3] == b"\x16\x03\x03"


def long_hello(length):
    """A hello of TLS 1.2 of so many bytes, without records."""
    sni = b"\0\0\0\x10\0\x0e\0\0\x0bweb.example"
    rest = sni + bytes.fromhex("000a000600040017001d" "000b00020100" "000d000400020403")
    # Ciphers that nobody knows, for the extensions alone have no room for more than 64 KiB.
    head = b"\x03\x03" + bytes(32) + b"\0" + b"\x10\x02\xc0\x2b" + b"\xee\xee" * 2048 + b"\x01\0"
    pad = length - 4 - len(head) - 2 - len(rest) - 4
    extensions = rest + b"\0\x15" + pad.to_bytes(2, "big") + bytes(pad)
    body = head + len(extensions).to_bytes(2, "big") + extensions
    return b"\x01" + len(body).to_bytes(3, "big") + body


@pytest.mark.parametrize("size", [200, 16384])
def test_a_hello_may_have_64_KiB(tls, ca, size):
    teal = tls()
    message = long_hello(64 * 1024)
    assert len(message) == 64 * 1024
    with socket.create_connection(teal.address(), patience()) as s:
        s.sendall(in_records(bytes(5) + message, size))
        answer = s.recv(6)
        assert answer[:3] == b"\x16\x03\x03" and answer[5] == 2, answer  # ServerHello


def test_a_longer_hello_is_told_so(tls, ca):
    teal = tls()
    message = long_hello(64 * 1024 + 1)
    with socket.create_connection(teal.address(), patience()) as s:
        s.sendall(in_records(bytes(5) + message, 16384))
        assert s.recv(7) == b"\x15\x03\x03\0\x02\x02" + bytes([ALERT["illegal_parameter"]])
    assert teal.wait_log("tcp.session", end="tls_hello")["error"] == "a ClientHello longer than 64 KiB"


def test_a_half_hello_waits_in_the_kernel(tls, ca):
    teal = tls()
    data = hello("web.example", pad=8000)
    with socket.create_connection(teal.address(), patience()) as s:
        s.sendall(data[:5000])
        teal.wait_metric(1, "teal_connections", service="web", color="green")
        teal.rest()
        s.sendall(data[5000:])
        assert s.recv(6)[:3] == b"\x16\x03\x03"


def test_over_a_unix_socket_in_pieces(tls, ca, tmp_path):
    teal = tls(keys={"listen": f"unix:{tmp_path}/s"})
    data = hello("web.example")
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(patience())
        s.connect(f"{tmp_path}/s")
        for at in range(0, len(data), 100):
            s.sendall(data[at:at + 100])
            time.sleep(0.02)
        assert s.recv(6)[:3] == b"\x16\x03\x03"


@pytest.mark.parametrize("said", ["nothing", "half", "hello"])
def test_a_handshake_has_its_time(tls, ca, said):
    teal = tls(handshake_timeout=0.3)
    with teal.connect() as c:
        c.sock.sendall({"nothing": b"", "half": hello("web.example")[:50], "hello": hello("web.example")}[said])
        c.read_end()
    assert teal.wait_log("tcp.session", end="tls_timeout")["seconds"] >= 0.25


@pytest.fixture
def many_files():
    """many_files(n): how many descriptors whoever is started from here on may
    have, n if that is allowed."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def raise_to(n):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (n, max(n, before[1])))
        except (ValueError, OSError):  # that takes CAP_SYS_RESOURCE
            n = min(n, before[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, (n, before[1]))
        return n
    yield raise_to
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


# Of ours, for one that has said hello and goes no further: OpenSSL keeps room
# for the longest message until the handshake is over.
HALF_HANDSHAKE = 50_000


@pytest.mark.nosan
@pytest.mark.scales
def test_ten_thousand_half_handshakes_cost_little(tls, ca, many_files):
    # Some descriptors are for all else.
    n = min(scaled(10_000, 500), many_files(23_000) - 6000)
    teal = tls(keys={"max_connections": 0}, handshake_timeout=60.0)
    context = trusting(ca)
    connect(teal.address(), context, "web.example").close()
    before = teal.rss()
    data, idle = hello("web.example"), []
    try:
        for i in range(n):
            s = socket.create_connection(teal.address(), patience())
            s.sendall(data[:60] if i % 2 else data)
            idle.append(s)
        until(lambda: sum(teal.metrics().get("teal_connections", service="web", color=c) for c in ("green", "blue")) >= n,
              "all of them are in")
        # Those in earnest are served at once, each by a connection of its own.
        for _ in range(20):
            with connect(teal.address(), context, "web.example") as c:
                assert greeted(c) == "green"
        grown = teal.rss() - before
    finally:
        for s in idle:
            s.close()
    # Every other one has not even been read: it waits in the kernel.
    assert grown / n < (HALF_HANDSHAKE + 1000) / 2
    # And all of it is for the next ones, however often they come.
    until(lambda: sum(teal.metrics().get("teal_connections", service="web", color=c) for c in ("green", "blue")) == 0,
          "all of them are gone")
    again = []
    try:
        for _ in range(n // 2):
            again.append(socket.create_connection(teal.address(), patience()))
            again[-1].sendall(data)
        until(lambda: sum(teal.metrics().get("teal_connections", service="web", color=c) for c in ("green", "blue")) >= n // 2,
              "they are in again")
        assert teal.rss() - before < 1.3 * grown
    finally:
        for s in again:
            s.close()


@pytest.mark.parametrize("mode", ["tcp", pytest.param("http", marks=pytest.mark.tsan)])
def test_half_handshakes_take_one_descriptor_and_who_is_done_waits_for_the_second(teal, backend, ports, ca, mode):
    sites = [backend(n, *([site] if mode == "http" else [])) for n in ("green", "blue")]
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=sites[:1], blue=sites[1:], mode=mode,
                               max_connections=0, health={"type": "none"},
                               tls={"certificates": [ca.issue("web.example")], "handshake_timeout": 60.0})],
             workers=1, start=False)
    t.start(prefix=("prlimit", "--nofile=240:240"))
    # More than there are descriptors for: the others wait in the kernel.
    held = [socket.create_connection(t.address(), patience()) for _ in range(200)]
    t.wait_log("accept.paused")
    inside = sum(t.metrics().get("teal_connections", service="web", color=c) for c in ("green", "blue"))
    assert inside > 100  # there are descriptors for some 70 clients that are served

    def begin(s):
        c = trusting(ca).wrap_socket(s, server_hostname="web.example")
        if mode == "http":
            c.sendall(b"GET / HTTP/1.1\r\nHost: web.example\r\n\r\n")
        return c

    def is_served(c):
        return (greeted(c) == "green") if mode == "tcp" else c.recv(12) == b"HTTP/1.1 200"
    # A client that comes wants two: the one that is left is for the first that is done.
    with begin(held[0]) as first, begin(held[1]) as second:
        assert is_served(first)
        t.wait_metric(2, "teal_tls_handshakes_total", service="web", version="1.3")
        t.rest()
        # By HTTP the connection that the first one's answer left behind makes room.
        assert mode == "http" or sites[0].open == 1
        for s in held[2:7]:
            s.close()
        assert is_served(second)
        for s in held[7:]:
            s.close()
    t.wait_metric(0, "teal_connections", service="web", color="green")
    # Nothing of it stays in use: as many fit in again.
    again = [socket.create_connection(t.address(), patience()) for _ in range(int(inside))]
    t.wait_metric(inside, "teal_connections", service="web", color="green")
    for s in again:
        s.close()


@pytest.mark.scales
def test_garbage_fills_no_log(tls, ca):
    teal = tls()
    n = scaled(5000, 400)
    for _ in range(n):
        with socket.create_connection(teal.address(), patience()) as s:
            s.sendall(b"rubbish rubbish")
            s.recv(100)
    teal.wait_metric(n, "teal_rejected_total", reason="tls_hello")
    with connect(teal.address(), trusting(ca), "web.example") as c:
        assert greeted(c) == "green"


# ---- flips and certificates under load ----

class Crowd:
    """Clients that come one after the other, each with a handshake of its own."""

    def __init__(self, teal, context, n, name="web.example"):
        self.failed, self.served, self.seen = [], 0, set()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(teal.address(), context, name)) for _ in range(n)]
        for t in self._threads:
            t.start()

    def _run(self, address, context, name):
        while not self._over.is_set():
            try:
                with connect(address, context, name) as c:
                    greeted(c)
                    self.seen.add(c.getpeercert()["serialNumber"])
                    c.sendall(b"x" * 20_000)
                    got = 0
                    while got < 20_000:
                        got += len(more(c))
                    assert got == 20_000
                    c.unwrap()
                self.served += 1
            except (OSError, AssertionError) as e:
                self.failed.append(repr(e))

    def end(self):
        self._over.set()
        for t in self._threads:
            t.join()


@pytest.mark.scales
def test_flips_under_tls_load_lose_nobody(tls, ca):
    teal = tls()
    crowd = Crowd(teal, trusting(ca), 4)
    try:
        for i in range(scaled(200, 20)):
            color = ("blue", "green")[i % 2]
            teal.ok("flip", "web", color)
            with connect(teal.address(), trusting(ca), "web.example") as c:
                assert greeted(c) == color
        until(lambda: crowd.served > 20, "clients of the crowd are served")
    finally:
        crowd.end()
    assert crowd.failed == []


@pytest.mark.scales
def test_certificates_replaced_under_load(tls, ca):
    teal = tls()
    crowd = Crowd(teal, trusting(ca), 4)
    serials = set()
    try:
        for i in range(scaled(1000, 50)):
            ca.issue("web.example")
            teal.ok("certs", "reload")  # unless it has been seen already
            with connect(teal.address(), trusting(ca), "web.example") as c:
                serial = c.getpeercert()["serialNumber"]
            assert serial not in serials  # the new one, at once
            serials.add(serial)
            until(lambda: serial in crowd.seen, "the crowd sees it")
    finally:
        crowd.end()
    assert crowd.failed == []


def shown(teal, ca, name="web.example"):
    with connect(teal.address(), trusting(ca), name) as c:
        return c.getpeercert()["serialNumber"]


def test_changed_files_are_picked_up(tls, ca):
    teal = tls()
    before = shown(teal, ca)
    ca.issue("web.example")
    until(lambda: shown(teal, ca) != before, "the new one is shown")
    assert not teal.log_lines("certs.refused")


def test_secrets_of_kubernetes_are_followed(tls, ca, tmp_path):
    """..data is a link to a folder, and replaced as a whole."""
    def put(version):
        folder = tmp_path / "secret" / f"..{version}"
        folder.mkdir(parents=True)
        certificate, key = ca.make("web.example")
        (folder / "tls.crt").write_bytes(certificate)
        (folder / "tls.key").write_bytes(key)
        (folder / "tls.key").chmod(0o600)
        os.symlink(f"..{version}", tmp_path / "secret" / "..new")
        os.rename(tmp_path / "secret" / "..new", tmp_path / "secret" / "..data")
    put("one")
    for name in ("tls.crt", "tls.key"):
        os.symlink(f"..data/{name}", tmp_path / "secret" / name)
    teal = tls([{"cert": str(tmp_path / "secret/tls.crt"), "key": str(tmp_path / "secret/tls.key")}])
    before = shown(teal, ca)
    put("two")
    until(lambda: shown(teal, ca) != before, "the new one is shown")


BAD = {
    "key_of_another": (lambda ca, f: replace(f.with_suffix(".key"), ca.make("x.example")[1]), "does not belong"),
    "rubbish": (lambda ca, f: replace(f, b"rubbish"), "no certificate in PEM form"),
    "expired": (lambda ca, f: ca.issue("web.example", days=-1), "expired at"),
    "gone": (lambda ca, f: f.unlink(), "No such file"),
    "for_everyone": (lambda ca, f: f.with_suffix(".key").chmod(0o644), "chmod o="),
    "wrong_chain": (lambda ca, f: replace(f, f.read_bytes() + ca.make("x.example")[0]), "did not sign"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_one_is_refused_and_the_old_stays(tls, ca, tmp_path, kind):
    spoil, why = BAD[kind]
    teal = tls()
    before = shown(teal, ca)
    spoil(ca, tmp_path / "web.example.pem")
    reply = teal.ctl("certs", "reload")
    assert (reply["ok"], reply["error"], reply["changed"]) == (False, "usage", False)
    assert why in reply["message"]
    assert why in teal.wait_log("certs.refused")["reason"]
    assert shown(teal, ca) == before
    listed, = teal.ok("certs")["certificates"]
    assert why in listed["problem"] and listed["valid"]


def test_certificates_are_listed(tls, ca):
    teal = tls([ca.issue("web.example", "web.example", "*.web.example", "192.0.2.1"), ca.issue("rsa", "old.example", kind="RSA", days=5)])
    web, old = teal.ok("certs")["certificates"]
    assert (web["names"], web["type"], web["issuer"]) == (["web.example", "*.web.example", "192.0.2.1"], "EC", "CN=Test CA")
    assert (old["type"], old["bits"], 4 * 86400 < old["expires_in"] <= 5 * 86400) == ("RSA", 2048, True)
    with connect(teal.address(), trusting(ca), "web.example") as c:
        assert hashlib.sha256(c.getpeercert(True)).hexdigest() == web["fingerprint"]
    with open(teal.settings["services"][0]["tls"]["certificates"][1]["cert"], "rb") as f:
        ends = x509.load_pem_x509_certificate(f.read()).not_valid_after.replace(tzinfo=datetime.timezone.utc)
    assert teal.metrics().get("teal_certificate_expiry_seconds", service="web", certificate="old.example") == ends.timestamp()
    text = teal.tealctl("certs", check=0).stdout
    assert [line.split("\t")[:3] for line in text.splitlines()] == [
        ["certificate", "web", "web.example,*.web.example,192.0.2.1"], ["certificate", "web", "old.example"]]


def checked(teal):
    """What teald -t says of its configuration."""
    return subprocess.run([scale.BUILD / "teald", "-t", "-c", teal.conf], capture_output=True, text=True, timeout=patience())


def test_revocation_lists_that_let_nobody_in_are_told_of(tls, ca, tmp_path):
    """Without a list that is good now an authority's clients are refused: -t says so, and the log, also when it ends later."""
    teal = tls(client_ca=str(ca.pem), crl=str(ca.revoke(days=-1)), clock=True)
    ended = 'crl: the list is past its next update, or not valid yet, of "CN=Test CA"'
    assert ended in teal.wait_log("certs.crl", service="web")["reason"]
    r = checked(teal)
    assert r.returncode == 0 and ended in r.stderr
    until_then = teal.metrics().get("teal_crl_expiry_seconds", service="web")
    ca.revoke(days=30)
    assert teal.ok("certs", "reload")["services_refused"] == 0
    # Its next update, which alerts look at: 31 days later than that of the one before.
    assert abs(teal.metrics().get("teal_crl_expiry_seconds", service="web") - until_then - 31 * 86400) <= 3600
    assert "crl: " not in checked(teal).stderr
    with connect(teal.address(), trusting(ca, own=ca.issue("joe")), "web.example") as c:
        greeted(c)
    teal.logs.clear()
    teal.clock.move(31 * 86400)
    assert ended in teal.wait_log("certs.crl", service="web")["reason"]
    teal.clock.move(3600)
    assert len(teal.log_lines("certs.crl")) == 1
    # One of another authority is none.
    replace(ca.revoke(), Authority(tmp_path, "Stranger").revoke().read_bytes())
    assert 'crl: there is no list of "CN=Test CA"' in checked(teal).stderr


def test_ciphers_that_fit_no_key_are_warned_of(tls, ca, tmp_path):
    """TLS 1.3 goes on without them, so nothing is refused."""
    teal = tls([ca.issue("web.example", kind="RSA")], ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    assert "none that fits" not in checked(teal).stderr
    replace(tmp_path / "web.example.pem", b"".join(ca.make("web.example")))
    (tmp_path / "web.example.key").write_bytes((tmp_path / "web.example.pem").read_bytes())
    assert teal.ok("certs", "reload")["changed"]
    said = "none that fits the key (EC) of the certificate of web.example: clients of TLS 1.2 cannot connect"
    assert said in teal.wait_log("certs.no_cipher", service="web")["reason"]
    r = checked(teal)
    assert r.returncode == 0 and said + ", only those of TLS 1.3" in r.stderr and "(warning)" in r.stderr
    with connect(teal.address(), trusting(ca), "web.example") as c:
        assert (c.version(), greeted(c)) == ("TLSv1.3", "green")
    with pytest.raises(ssl.SSLError):
        connect(teal.address(), trusting(ca, maximum_version=ssl.TLSVersion.TLSv1_2), "web.example")


@pytest.mark.parametrize("kind", ["key_of_another", "for_everyone", "gone"])
def test_a_bad_one_keeps_teald_from_starting(teal, ca, ports, tmp_path, kind):
    spoil, why = BAD[kind]
    files = ca.issue("web.example")
    spoil(ca, tmp_path / "web.example.pem")
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=["127.0.0.1:1"], blue=["127.0.0.1:2"],
                               tls={"certificates": [files]})], start=False)
    status, text = t.start_refused()
    assert status == 2 and why in text and 'service "web"' in text


def test_an_expired_one_does_not_keep_teald_from_starting(tls, ca):
    teal = tls([ca.issue("web.example", days=-1)])
    assert "expired" in teal.wait_log("certs.invalid")["reason"]
    assert teal.ok("certs")["certificates"][0]["valid"] is False


def test_no_key_reaches_log_or_core(tls, ca, tmp_path):
    teal = tls()
    key = (tmp_path / "web.example.key").read_text().splitlines()[1]
    replace(tmp_path / "web.example.key", ca.make("x.example")[1])
    teal.ctl("certs", "reload")
    teal.wait_log("certs.refused")
    assert not any(key in json.dumps(line) for line in teal.logs)
    # Not dumpable: what it has under /proc is root's, and the kernel writes no core.
    fields = dict(line.split(":", 1) for line in open(f"/proc/{teal.pid}/status") if ":" in line)
    if "CoreDumping" in fields and os.getuid() == 0:
        assert os.stat(f"/proc/{teal.pid}/environ").st_uid == 0


def test_the_kernel_does_it_where_it_can(tls, ca):
    """And where it cannot, that is said once, and all is as before."""
    with socket.socket() as s:
        try:
            s.setsockopt(socket.IPPROTO_TCP, 31, b"tls")  # TCP_ULP
            offers = True
        except OSError as e:
            offers = e.errno == errno.ENOTCONN
    teal = tls()
    data = os.urandom(1 << 20)
    for _ in range(3):
        with connect(teal.address(), trusting(ca), "web.example") as c:
            greeted(c)
            assert echoed(c, data) == data
    teal.wait_log("certs.opened")
    assert [line["ktls"] for line in teal.log_lines("certs.opened")] == [offers]


# ---- real clients ----

def test_openssl_s_client(tls, ca):
    teal = tls()
    out = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % teal.address(), "-servername", "web.example", "-CAfile",
                          str(ca.pem), "-verify_return_error", "-reconnect", "-tls1_2"], input="", capture_output=True,
                         text=True, timeout=patience()).stdout
    assert out.count("Reused, TLSv1.2") == 5
    assert "Secure Renegotiation IS supported" in out and "Compression: NONE" in out


def test_dhe_has_parameters(tls, ca):
    teal = tls([ca.issue("web.example", kind="RSA")], ciphers="DHE-RSA-AES128-GCM-SHA256")
    r = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % teal.address(), "-servername", "web.example", "-CAfile",
                        str(ca.pem), "-verify_return_error", "-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
                       input="", capture_output=True, text=True, timeout=patience())
    assert r.returncode == 0 and "Cipher is DHE-RSA-AES128-GCM-SHA256" in r.stdout, r.stdout + r.stderr
    assert "Server Temp Key: DH, 2048 bits" in r.stdout or "Server Temp Key: DH, 3072 bits" in r.stdout, r.stdout


NODE = """
const tls = require('tls'), fs = require('fs');
const [host, port, ca] = process.argv.slice(1);
const s = tls.connect({host, port, servername: 'web.example', ca: fs.readFileSync(ca), ALPNProtocols: ['h2', 'http/1.1']}, () => {
  console.log(s.authorized, s.getProtocol(), s.alpnProtocol);
  s.once('data', d => { console.log(d.toString().trim()); s.end(); });
});
"""


def test_node(tls, ca):
    teal = tls(alpn=["http/1.1"])
    out = subprocess.run(["node", "-e", NODE, "--", *map(str, teal.address()), str(ca.pem)], capture_output=True, text=True, timeout=patience())
    assert out.stdout.split() == ["true", "TLSv1.3", "http/1.1", "green"], out
