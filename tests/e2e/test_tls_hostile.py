"""Whoever means ill, or is broken, by TLS: towards the handshake, with names, with
certificates, with streams that are cut, and with what the files become."""
import os
import socket
import ssl
import struct
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from helpers.certificates import Authority, connect, hello, trusting
from helpers.http1 import site
from helpers.scale import patience, until
from helpers.teald import service


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def tls(teal, backend, ports, ca):
    """tls(**tls keys): a service of mode tcp with two greeting backends."""
    def make(keys=None, **terms):
        own = {"listen": f"127.0.0.1:{ports.hold()}", "tls": {"certificates": [ca.issue("web.example")]} | terms} | (keys or {})
        for color in ("green", "blue"):
            own[color] = [backend(color, *own.get(color, ()))]
        return teal(services=[service(**own)])
    return make


def greeted(c):
    line = b""
    while not line.endswith(b"\n"):
        line += c.recv(1) or pytest.fail("it ended")
    return line.decode().strip()


def fine(teal, ca, **how):
    """Somebody else is served as ever."""
    with connect(teal.address(), trusting(ca, **how), "web.example") as c:
        assert greeted(c) == "green"


def s_client(teal, text, *options):
    p = subprocess.Popen(["openssl", "s_client", "-connect", "%s:%d" % teal.address(), "-servername", "web.example", *options],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        return p.communicate(text, timeout=patience())[0]
    finally:
        p.kill()
        p.wait()


# ---- what may follow a handshake ----

def test_renegotiation_is_refused(tls, ca):
    teal = tls()
    # A line "R" renegotiates; what becomes of that ends s_client.
    with subprocess.Popen(["openssl", "s_client", "-connect", "%s:%d" % teal.address(), "-tls1_2"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
        watchdog = threading.Timer(patience(), p.kill)
        watchdog.start()
        out = ""
        while not out.endswith("green\n"):  # what comes in between would end s_client as well
            out += p.stdout.readline() or pytest.fail(out)
        p.stdin.write("R\n")
        p.stdin.flush()
        out += p.stdout.read()
        watchdog.cancel()
    assert "RENEGOTIATING" in out and ("no renegotiation" in out or "handshake failure" in out), out
    assert out.count("-----BEGIN CERTIFICATE-----") <= 1
    fine(teal, ca)


def test_early_data_is_not_taken(tls, ca, tmp_path):
    teal = tls()
    early = tmp_path / "early"
    early.write_bytes(b"POST / HTTP/1.1\r\n\r\n")
    session = tmp_path / "session"
    with subprocess.Popen(["openssl", "s_client", "-connect", "%s:%d" % teal.address(), "-servername", "web.example", "-sess_out",
                           str(session)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
        until(lambda: session.exists() and session.stat().st_size > 0, "a ticket has come")
        p.communicate("Q\n", timeout=patience())
    out = s_client(teal, "", "-sess_in", str(session), "-early_data", str(early))
    assert "Early data was accepted" not in out
    assert "Reused, TLSv1.3" in out
    assert all(line["bytes_in"] == 0 for line in teal.log_lines("tcp.session"))


# ---- hellos ----

def extension(kind, body):
    return struct.pack("!HH", kind, len(body)) + body


def names(*hosts):
    listed = b"".join(b"\0" + struct.pack("!H", len(h)) + h for h in hosts)
    return extension(0, struct.pack("!H", len(listed)) + listed)


def with_extensions(*more, first=b""):
    """A real ClientHello without a name, with these extensions besides."""
    record = hello(None)
    body = record[9:]
    at = 2 + 32
    at += 1 + body[at]
    at += 2 + struct.unpack("!H", body[at:at + 2])[0]
    at += 1 + body[at]
    # first: before all others; the pre_shared_key of others would have to be last.
    extensions = first + body[at + 2:] + b"".join(more)
    body = body[:at] + struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def answer_to(address, data):
    """The first record that comes back: ("alert", number), or ("hello", None)."""
    with socket.create_connection(address, patience()) as s:
        s.sendall(data)
        head = b""
        while len(head) < 7:
            piece = s.recv(7 - len(head))
            assert piece, f"it ended after {head!r}"
            head += piece
    return ("alert", head[6]) if head[0] == 21 else ("hello", None)


GREASE = extension(0x0a0a, b"") + extension(0x1a1a, b"\0") + extension(0xfafa, os.urandom(300))
# An outer ClientHello of ECH (or what is sent in its place to keep us used to it).
ECH = extension(0xfe0d, b"\0\0\x01\0\x01\x42" + struct.pack("!H", 32) + os.urandom(32) + struct.pack("!H", 144) + os.urandom(144))
HELLOS = {
    "plain": (with_extensions(names(b"web.example")), None),
    "upper_case_and_a_dot": (with_extensions(names(b"WEB.Example.")), None),
    "address": (with_extensions(names(b"192.0.2.1")), None),
    "grease_and_ech": (with_extensions(ECH, first=GREASE + names(b"web.example")), None),
    "longest": (with_extensions(names(b"a" * 63 + b"." + b"b" * 63 + b"." + b"c" * 63 + b"." + b"d" * 61)), None),
    "too_long_a_name": (with_extensions(names(b"x" * 256)), 50),
    "a_name_with_a_nul": (with_extensions(names(b"web.example\0.evil")), 50),
    "a_name_with_a_space": (with_extensions(names(b"web example")), 50),
    "a_name_of_high_bytes": (with_extensions(names("wéb".encode())), 50),
    "no_name_at_all": (with_extensions(names(b"")), 50),
    "only_a_dot": (with_extensions(names(b".")), 50),
    "two_names": (with_extensions(names(b"web.example", b"other.example")), 50),
    "names_twice": (with_extensions(names(b"web.example"), names(b"other.example")), 50),
    "extensions_twice": (with_extensions(extension(0x0017, b""), extension(0x0017, b"")), 47),
    "extension_longer_than_all": (with_extensions(struct.pack("!HH", 0x1234, 500)), 50),
}


@pytest.mark.parametrize("kind", HELLOS)
def test_odd_hellos(tls, ca, kind):
    data, alert = HELLOS[kind]
    teal = tls()
    assert answer_to(teal.address(), data) == (("hello", None) if alert is None else ("alert", alert))
    fine(teal, ca)


def test_what_is_passed_through_may_be_odd_as_well(teal, backend, ports, ca):
    """Grease, ECH and a dot: the name decides, and the backend gets every byte."""
    got = {}

    def keep(conn, b):
        got[b.name] = conn.recv(65536)
        conn.sendall(b"\x15\x03\x03\0\x02\x02\x28")
    listen = f"127.0.0.1:{ports.hold()}"
    t = teal(services=[service(n, listen=listen, green=[backend(n, keep)], blue=[backend(n + "-blue", keep)], sni=[f"{n}.example"],
                               health={"type": "none"}) for n in ("shop", "foo")])
    data = with_extensions(ECH, first=GREASE + names(b"FOO.example."))
    with socket.create_connection(t.address("shop"), patience()) as s:
        s.sendall(data)
        assert s.recv(1) == b"\x15"
    assert got == {"foo": data}
    # A name twice is nobody's: the backend might read the other one.
    assert answer_to(t.address("shop"), with_extensions(names(b"foo.example"), names(b"shop.example"))) == ("alert", 50)
    assert set(got) == {"foo"}


def test_records_of_nothing(tls, ca):
    teal = tls()
    for data in (b"\x16\x03\x01\0\0" * 100, b"\x14\x03\x03\0\x01\x01" * 100, b"\x15\x03\x03\0\x02\x01\x00" * 100):
        kind, number = answer_to(teal.address(), data)
        assert kind == "alert" and number in (10, 50)
    # After a ClientHello, before the handshake is over: change_cipher_spec without end.
    with socket.create_connection(teal.address(), patience()) as s:
        try:
            s.sendall(hello("web.example") + b"\x14\x03\x03\0\x01\x01" * 5000)
            while s.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert teal.wait_log("tcp.session", end="tls_handshake")
    fine(teal, ca)


def test_a_client_that_reads_nothing(teal, backend, ports, ca):
    """The chain is longer than what the sockets hold; teald rests, and ends it in time."""
    files = ca.issue("web.example", kind="RSA")
    with open(files["cert"], "ab") as f:
        f.write(ca.pem.read_bytes() * 16)   # self-signed: each signs the one before it
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[backend("green")], blue=[backend("blue")],
                               tls={"certificates": [files], "handshake_timeout": 2.0})])
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        s.settimeout(patience())
        s.connect(t.address())
        s.sendall(hello("web.example"))
        t.rest()
        assert t.wait_log("tcp.session", end="tls_timeout")["seconds"] >= 1.9


# ---- who the client is ----

class Chain(Authority):
    """An authority below another one, with everybody in between."""

    def __init__(self, folder, above, depth):
        super().__init__(folder, "Below")
        self.between = b""
        signer, signer_name = above.key, above.name
        for i in range(depth):
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Below {i}")])
            c = (x509.CertificateBuilder().subject_name(name).issuer_name(signer_name).public_key(key.public_key())
                 .serial_number(x509.random_serial_number()).not_valid_before(above.certificate.not_valid_before)
                 .not_valid_after(above.certificate.not_valid_after)
                 .add_extension(x509.BasicConstraints(True, None), critical=True).sign(signer, hashes.SHA256()))
            self.between = c.public_bytes(serialization.Encoding.PEM) + self.between
            signer, signer_name = key, name
        self.key, self.name = signer, signer_name

    def own(self, name):
        files = self.issue(name)
        with open(files["cert"], "ab") as f:
            f.write(self.between)
        return files


@pytest.mark.parametrize("depth, welcome", [(3, True), (16, True), (40, False)])
def test_long_chains_of_clients(tls, ca, tmp_path, depth, welcome):
    teal = tls(client_ca=str(ca.pem))
    own = Chain(tmp_path, ca, depth).own("jane")
    if welcome:
        fine(teal, ca, own=own)
        return
    with pytest.raises((ssl.SSLError, ConnectionResetError)), connect(teal.address(), trusting(ca, own=own), "web.example") as c:
        greeted(c)
    assert teal.wait_log("tcp.session", end="tls_certificate")


def test_a_certificate_for_servers_only_is_no_client_s(tls, ca, tmp_path):
    """Whose authority also signs servers must not have them come in as clients."""
    teal = tls(client_ca=str(ca.pem))
    files = ca.issue("joe")
    with open(files["key"], "rb") as f:
        key = serialization.load_pem_private_key(f.read(), None)
    for usage, welcome in ((ExtendedKeyUsageOID.SERVER_AUTH, False), (ExtendedKeyUsageOID.CLIENT_AUTH, True)):
        c = (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(ca.name).public_key(key.public_key())
             .serial_number(x509.random_serial_number()).not_valid_before(ca.certificate.not_valid_before)
             .not_valid_after(ca.certificate.not_valid_after)
             .add_extension(x509.ExtendedKeyUsage([usage]), critical=False).sign(ca.key, hashes.SHA256()))
        (tmp_path / "joe.pem").write_bytes(c.public_bytes(serialization.Encoding.PEM))
        if welcome:
            fine(teal, ca, own=files)
        else:
            with pytest.raises((ssl.SSLError, ConnectionResetError)), \
                    connect(teal.address(), trusting(ca, own=files), "web.example") as s:
                greeted(s)
            assert "purpose" in teal.wait_log("tcp.session", end="tls_certificate")["error"]


@pytest.fixture
def shared(teal, backend, ports, ca):
    """Two services of mode http on one address; the one behind the wildcard lets
    everybody in, the other asks who it is."""
    listen = f"127.0.0.1:{ports.hold()}"
    both = {"green": [backend("green", site)], "blue": [backend("blue", site)], "mode": "http", "listen": listen}
    return teal(services=[
        service("all", hosts=["*.example"], tls={"certificates": [ca.issue("all", "*.example")]}, **both),
        service("shut", hosts=["shut.example"], tls={"certificates": [ca.issue("shut.example")], "client_ca": str(ca.pem)}, **both)])


def ask(c, host):
    c.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += c.recv(65536) or pytest.fail("it ended")
    head, _, rest = data.partition(b"\r\n\r\n")
    length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")))
    while len(rest) < length:
        rest += c.recv(65536) or pytest.fail("it ended")
    return int(head.split()[1])


def test_who_was_not_asked_does_not_get_in_by_another_name(shared, ca):
    # A wildcard covers the name, but it is the other service that asks.
    for name in ("open.example", None):
        with connect(shared.address("all"), trusting(ca, check_hostname=False), name) as c:
            assert ask(c, "open.example") == 200
            assert ask(c, "shut.example") == 421
            assert ask(c, "SHUT.example.") == 421
            assert ask(c, "open.example") == 200
    with pytest.raises((ssl.SSLError, ConnectionResetError)), connect(shared.address("all"), trusting(ca), "shut.example") as c:
        ask(c, "shut.example")
    with connect(shared.address("all"), trusting(ca, own=ca.issue("jane")), "shut.example") as c:
        assert ask(c, "shut.example") == 200
        assert ask(c, "open.example") == 421


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_nor_by_coming_back(shared, ca, version):
    context = trusting(ca, check_hostname=False, maximum_version=getattr(ssl.TLSVersion, version))
    with connect(shared.address("all"), context, "open.example") as c:
        ask(c, "open.example")
        session = c.session
    with pytest.raises((ssl.SSLError, ConnectionResetError)), \
            connect(shared.address("all"), context, "shut.example", session=session) as c:
        ask(c, "shut.example")
    assert not shared.log_lines("http.request", service="shut", status=200)


# ---- streams that are cut ----

def test_a_client_s_stream_without_a_goodbye_looks_cut(tls, ca):
    ends = []

    def read_all(conn, b):
        try:
            while conn.recv(65536):
                pass
            ends.append("whole")
        except ConnectionResetError:
            ends.append("cut")
    teal = tls(keys={"green": [read_all], "health": {"type": "none"}})

    def stream(goodbye):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        c = trusting(ca).wrap_bio(incoming, outgoing, server_hostname="web.example")
        with socket.create_connection(teal.address(), patience()) as s:
            while True:
                try:
                    c.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    s.sendall(outgoing.read())
                    incoming.write(s.recv(65536))
            c.write(b"half of it")
            if goodbye:
                with pytest.raises(ssl.SSLWantReadError):
                    c.unwrap()
            s.sendall(outgoing.read())
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
    stream(goodbye=True)
    until(lambda: ends == ["whole"], "the backend has seen a whole one")
    try:
        stream(goodbye=False)
    except ConnectionResetError:
        pass
    until(lambda: ends == ["whole", "cut"], "and one that was cut")


def cutting(files, say):
    """A backend by TLS that says something and closes without a goodbye."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert"], files["key"])

    def behave(conn, backend):
        try:
            tls = context.wrap_socket(conn, server_side=True)
            say(tls)
            socket.socket(fileno=os.dup(tls.fileno())).shutdown(socket.SHUT_WR)
            tls.recv(65536)
            tls.close()
        except OSError:
            pass
    return behave


def test_a_backend_s_stream_without_a_goodbye_looks_cut(teal, backend, ports, ca):
    b = backend("green", cutting(ca.issue("inner", "in.example"), lambda tls: tls.sendall(b"half of it")))
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[b], health={"type": "none"},
                               backend_tls={"ca": str(ca.pem), "server_name": "in.example"})])
    with socket.create_connection(t.address(), patience()) as c:
        assert c.recv(10) == b"half of it"
        with pytest.raises(ConnectionResetError):
            c.recv(10)
    assert t.wait_log("tcp.session")["end"] == "backend_reset"


def test_an_answer_without_length_or_goodbye_looks_cut(teal, backend, ports, ca):
    def say(tls):
        tls.recv(65536)
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhalf of it")
    b = backend("green", cutting(ca.issue("inner", "in.example"), say))
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", mode="http", green=[b], blue=[b], health={"type": "none"},
                               backend_tls={"ca": str(ca.pem), "server_name": "in.example"})])
    with socket.create_connection(t.address(), patience()) as c:
        c.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while c.recv(65536):
                pass


# ---- files ----

def test_files_that_are_half_written(tls, ca, tmp_path):
    teal = tls()

    def shown():
        with connect(teal.address(), trusting(ca), "web.example") as c:
            return c.getpeercert()["serialNumber"]
    before = shown()
    certificate, key = ca.make("web.example")
    pem = tmp_path / "web.example.pem"
    # In place and bit by bit, as cp does it: whatever is read meanwhile is refused.
    for part in (certificate[:len(certificate) // 2], certificate):
        pem.write_bytes(part)
        assert teal.ctl("certs", "reload")["ok"] is False
        assert shown() == before
    (tmp_path / "web.example.key").write_bytes(key[:50])
    assert teal.ctl("certs", "reload")["ok"] is False
    assert shown() == before
    (tmp_path / "web.example.key").write_bytes(key)
    until(lambda: shown() != before, "the new one is shown")


@pytest.mark.skipif(os.getuid() != 0, reason="another user has to be switched to")
def test_a_key_that_only_root_may_read(teal, ca, ports, tmp_path, backend):
    """It is read as root at the start, and again as teald's own user."""
    files = ca.issue("web.example")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    os.chown(files["key"], 0, 0)
    os.chmod(files["key"], 0o600)
    os.chmod(files["cert"], 0o644)
    t = teal(user="nobody", services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[backend("green")],
                                              blue=[backend("blue")], tls={"certificates": [files]})], start=False)
    os.chown(t.state_dir, 65534, 65534)
    status, text = t.start_refused()
    assert status != 0
    assert "cannot read" in text and "chgrp" in text and "chmod 0640" in text
    assert "PRIVATE" not in text
