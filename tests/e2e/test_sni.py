"""Services of mode tcp share a listener: the ClientHello's SNI says whose a
connection is, and not a byte of it is touched."""
import socket
import ssl
import subprocess

import pytest

from helpers.clients import Client
from helpers.reload import reload
from helpers.teald import service


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "all.pem", folder / "all.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=test"], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def secret(backend, certificate):
    """secret("shop-green"): a backend that speaks TLS itself, says its name and
    what it was asked for, then echoes."""
    def make(name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.set_alpn_protocols(["echo"])
        asked = []
        context.sni_callback = lambda s, sni, c: asked.append(sni)

        def speak(conn, b):
            try:
                with context.wrap_socket(conn, server_side=True) as s:
                    b.note(conn, b"x")
                    s.sendall(f"{b.name} {asked[-1]} {s.selected_alpn_protocol()}\n".encode())
                    while data := s.recv(65536):
                        s.sendall(data)
            except (ssl.SSLError, OSError):
                pass    # a health check, or a client that left
        return backend(name, speak)
    return make


HOUSES = {"shop": ["shop.example", "*.shop.example"], "pay": ["pay.example", "www.shop.example"]}


@pytest.fixture
def street(teal, secret, ports):
    def make(start=True, **more):
        listen, preview = (f"127.0.0.1:{ports.hold()}" for _ in range(2))
        houses = {n: {"sni": names} for n, names in HOUSES.items()} | more
        sites = {n: [secret(f"{n}-{c}") for c in ("green", "blue")] for n in houses}
        return teal(services=[service(n, green=s[:1], blue=s[1:], listen=listen, preview=preview, **houses[n])
                              for n, s in sites.items()], start=start)
    return make


def context(alpn=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if alpn:
        c.set_alpn_protocols([alpn])
    return c


def ask(t, name, alpn=None, key="listen"):
    """(backend, the name it was asked for, the protocol) by one connection."""
    with Client(t.address("shop", key=key)) as c, context(alpn).wrap_socket(c.sock, server_hostname=name) as s:
        data = b""
        while not data.endswith(b"\n"):
            data += s.recv(4096) or pytest.fail("it ended")
        s.sendall(b"ping")
        assert s.recv(4) == b"ping"
        return tuple(data.decode().split())


REST = {"rest": {"default": True}}


@pytest.mark.tsan
def test_the_name_says_whose_connection_it_is(street):
    t = street(**REST)
    for name, whose in (("shop.example", "shop"), ("a.shop.example", "shop"), ("a.b.shop.example", "shop"),
                        ("www.shop.example", "pay"), ("pay.example", "pay"), ("PAY.Example", "pay"),
                        ("elsewhere.example", "rest"), ("example", "rest")):
        backend, asked, _ = ask(t, name)
        assert backend == f"{whose}-green"
        assert asked.lower() == name.lower()    # the backend has the whole ClientHello
    assert ask(t, None)[:2] == ("rest-green", "None")


def test_what_the_client_offers_reaches_the_backend(street):
    t = street()
    assert ask(t, "pay.example", alpn="echo") == ("pay-green", "pay.example", "echo")
    assert ask(t, "pay.example") == ("pay-green", "pay.example", "None")


def test_nobody_s_name_gets_an_alert(street):
    t = street()
    for name in ("elsewhere.example", None):
        with Client(t.address("shop")) as c, pytest.raises(ssl.SSLError) as e:
            context().wrap_socket(c.sock, server_hostname=name)
        assert "UNRECOGNIZED_NAME" in str(e.value).upper().replace(" ", "_")
    t.wait_log("tcp.session", 2, end="tls_name")


def hello(name):
    """The bytes of a ClientHello."""
    out = ssl.MemoryBIO()
    o = context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        o.do_handshake()
    return out.read()


def test_a_hello_in_pieces(street):
    t = street()
    raw = hello("pay.example")
    for cut in (1, 2, 5, 6, 40, len(raw) - 1):
        with Client(t.address("shop")) as c:
            c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(0, len(raw), cut):
                c.sock.sendall(raw[i:i + cut])
            assert c.receive(1) == b"\x16"  # the backend's ServerHello
    t.wait_log("tcp.session", 6, service="pay")


def test_a_flip_of_one_leaves_the_others_alone(street):
    t = street(**REST)
    with Client(t.address("shop")) as c, context().wrap_socket(c.sock, server_hostname="pay.example") as old:
        old.recv(100)
        t.ok("flip", "shop", "blue")
        assert [ask(t, n)[0] for n in ("shop.example", "pay.example", "x")] == ["shop-blue", "pay-green", "rest-green"]
        old.sendall(b"still")
        assert old.recv(5) == b"still"


def test_previews_are_shared_as_well(street):
    t = street()
    t.ok("flip", "pay", "blue")
    assert ask(t, "shop.example", key="preview")[0] == "shop-blue"
    assert ask(t, "pay.example", key="preview")[0] == "pay-green"


def test_what_is_no_tls_reaches_nobody(street):
    t = street(**REST)
    for raw in (b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\x00\x05hello"):
        with Client(t.address("shop")) as c:
            c.sock.sendall(raw)
            c.read_end()
    assert [s["connections"] for s in t.ok("status")["services"]] == [0, 0, 0]
    assert not t.log_lines("tcp.session", end="done")


# ---- names from a file ----

@pytest.fixture
def names(tmp_path):
    def make(text, name="names.map"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)
    return make


def test_names_of_tenants_come_from_a_file(street, names):
    """One file for all of them, or one for each; a reload reads it again, even if nothing else has changed."""
    path = names("# tenants\none.tenant.example shop\n*.two.tenant.example  pay   # all of it\n\nthree.tenant.example shop\r\n"
                 "one.tenant.example shop\n")
    t = street(shop={"sni": ["shop.example"], "sni_map": path}, pay={"sni_map": path})
    assert [ask(t, n)[0] for n in ("shop.example", "one.tenant.example", "a.two.tenant.example", "Three.Tenant.example")] == \
        ["shop-green", "shop-green", "pay-green", "shop-green"]
    assert t.status("shop")["sni"] == ["shop.example"] and t.status("shop")["sni_map_names"] == 2
    names("one.tenant.example pay\nfour.tenant.example shop\n")
    assert "sni_map" in t.tealctl("reload", "--dry-run").stdout
    reload(t)
    assert [ask(t, n)[0] for n in ("one.tenant.example", "four.tenant.example")] == ["pay-green", "shop-green"]


def test_a_hundred_thousand_names(street, names):
    t = street(shop={"sni_map": names("".join(f"t{n}.tenant.example\n" for n in range(100_000)))})
    assert [ask(t, n)[0] for n in ("t0.tenant.example", "t99999.tenant.example", "pay.example")] == ["shop-green", "shop-green", "pay-green"]


@pytest.mark.parametrize("text, part", [
    ("a b c\n", "a line is NAME or NAME SERVICE"), ("10.0.0.1\n", "names.map:1"), ("ok.example\n\n-x.example\n", "names.map:3"),
    ("# none\n", "has no name for this service"), ("other.example pay\n", "has no name for this service"), ("", "has no name"),
    ("pay.example\n", "is also that of")])
def test_a_map_that_is_none_is_refused(street, names, text, part):
    t = street(start=False, shop={"sni_map": names(text)}, pay={"sni": "pay.example"})
    status, stderr = t.start_refused()
    assert status == 2 and "sni" in stderr and part in stderr, stderr


def test_a_map_that_is_not_there(street, tmp_path):
    t = street(start=False, shop={"sni_map": str(tmp_path / "none.map")})
    status, stderr = t.start_refused()
    assert status == 2 and "sni_map" in stderr and "No such file" in stderr
