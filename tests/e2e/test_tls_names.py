"""TLS that is passed through, to whom its name says; TLS to backends; and both
with HTTP."""
import socket
import ssl
import subprocess

import pytest

from helpers.certificates import Authority, connect, hello, in_records, subject, trusting
from helpers.http1 import site
from helpers.scale import patience, until
from helpers.teald import service


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


def speaking_tls(files, behaviour, **how):
    """A backend's behaviour: the same by TLS.  how: settings of its context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert"], files["key"])
    if "client_ca" in how:
        context.load_verify_locations(str(how["client_ca"]))
        context.verify_mode = ssl.CERT_REQUIRED

    def behave(conn, backend):
        try:
            with context.wrap_socket(conn, server_side=True) as tls:
                backend.tls = getattr(backend, "tls", []) + [(tls.version(), tls.session_reused, tls.getpeercert())]
                behaviour(tls, backend)
        except (ssl.SSLError, OSError) as e:
            backend.failures = getattr(backend, "failures", []) + [str(e)]
    return behave


def greet(conn, backend):
    conn.sendall(backend.name.encode() + b"\n")
    while data := conn.recv(65536):
        conn.sendall(data)


def line_of(c):
    line = b""
    while not line.endswith(b"\n"):
        line += c.recv(1) or pytest.fail("it ended")
    return line.decode().strip()


@pytest.fixture
def shared(teal, backend, ports, ca):
    """Three services behind one address, whose backends speak TLS themselves."""
    def make(default=None):
        listen = f"127.0.0.1:{ports.hold()}"
        services = []
        for name, sni in (("shop", ["shop.example"]), ("foo", ["*.foo.example"]), ("rest", [])):
            if not sni and default is None:
                continue
            files = ca.issue(name, f"{name}.example", "*.foo.example", "any.example", subject=name)
            b = [backend(name, speaking_tls(files, greet))]
            services.append(service(name, listen=listen, green=b, blue=b, **({"sni": sni} if sni else {"default": True})))
        return teal(services=services)
    return make


@pytest.mark.tsan
def test_the_name_chooses_the_service(shared, ca):
    teal = shared()
    for name, who in (("shop.example", "shop"), ("SHOP.example", "shop"), ("a.foo.example", "foo"), ("a.b.foo.example", "foo")):
        context = trusting(ca, check_hostname=False, alpn=["h2", "http/1.1"])
        with connect(teal.address("shop"), context, name) as c:
            assert (subject(c), line_of(c)) == (who, who)
        line = teal.wait_log("tcp.session", sni=name.lower(), service=who)
        assert "tls" not in line  # nothing was terminated


def test_nobodys_name_gets_an_alert(shared, ca):
    teal = shared()
    for name in ("other.example", "foo.example", None):
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
            connect(teal.address("shop"), trusting(ca, check_hostname=False), name)
    teal.wait_metric(3, "teal_rejected_total", reason="tls_name")


def test_the_default_takes_the_rest(shared, ca):
    teal = shared(default=True)
    for name in ("other.example", None):
        with connect(teal.address("shop"), trusting(ca, check_hostname=False), name) as c:
            assert line_of(c) == "rest"


@pytest.mark.parametrize("size", [1, 7, 100])
def test_names_in_pieces(shared, ca, size):
    teal = shared()
    with socket.create_connection(teal.address("shop"), patience()) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = in_records(hello("a.foo.example"), 200)
        for at in range(0, len(data), size):
            s.sendall(data[at:at + size])
        assert s.recv(6)[:3] == b"\x16\x03\x03"
    assert teal.wait_log("tcp.session")["service"] == "foo"


def test_a_client_moves_with_the_flip_of_its_own_service(shared, ca):
    teal = shared()
    teal.ok("flip", "foo", "blue")
    with connect(teal.address("shop"), trusting(ca, check_hostname=False), "a.foo.example") as c:
        line_of(c)
    assert teal.wait_log("tcp.session", service="foo")["color"] == "blue"
    with connect(teal.address("shop"), trusting(ca), "shop.example") as c:
        line_of(c)
    assert teal.wait_log("tcp.session", service="shop")["color"] == "green"


# ---- to backends ----

@pytest.fixture
def onward(teal, backend, ports, ca):
    """onward(files, **backend_tls): a service of mode tcp with a backend by TLS."""
    def make(files, keys=None, how=None, **terms):
        b = backend("green", speaking_tls(files, greet, **(how or {})))
        t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[b],
                                   backend_tls={"ca": str(ca.pem)} | terms, **(keys or {}))])
        return t, b
    return make


@pytest.mark.tsan
def test_backends_are_spoken_to_by_tls(onward, ca):
    teal, b = onward(ca.issue("inner", "shop.internal"), server_name="shop.internal")
    for _ in range(6):
        with teal.connect() as c:
            assert c.peer == "green"
            c.echo(b"x" * 100_000)
    # Each worker comes back without a whole handshake; checks do not.
    assert any(reused for _, reused, _ in b.tls)
    assert {v for v, _, _ in b.tls} == {"TLSv1.3"}


@pytest.mark.parametrize("kind", ["name", "authority", "expired"])
def test_backends_that_are_not_who_they_should_be(onward, ca, tmp_path, kind):
    files = {"name": lambda: ca.issue("inner", "other.internal"),
             "authority": lambda: Authority(tmp_path, "Stranger").issue("inner", "shop.internal"),
             "expired": lambda: ca.issue("inner", "shop.internal", days=-1)}[kind]()
    teal, b = onward(files, keys={"health": {"type": "none"}}, server_name="shop.internal")
    with teal.connect() as c:
        c.read_end()
    assert teal.wait_log("tcp.session")["end"] == "backend_tls"
    assert {"name": "hostname mismatch", "authority": "issuer", "expired": "expired"}[kind] in teal.wait_log("backend.tls")["error"].lower()


def test_checks_and_the_gate_look_at_the_certificate(onward, ca):
    teal, b = onward(ca.issue("inner", "other.internal"), server_name="shop.internal")
    until(lambda: teal.status()["colors"]["green"]["backends"][0]["state"] == "down", "it is down")
    reply = teal.ctl("flip", "web", "blue")
    assert reply["error"] == "unhealthy" and "certificate is not accepted" in reply["message"]


def test_an_address_is_a_name_as_well(onward, ca):
    teal, b = onward(ca.issue("inner", "127.0.0.1"))
    with teal.connect() as c:
        assert c.line() == "green"


def test_whoever_answers_is_believed_if_you_want(onward, ca, tmp_path):
    teal, b = onward(Authority(tmp_path, "Stranger").issue("inner", "x"), verify=False)
    with teal.connect() as c:
        assert c.line() == "green"


def test_backends_may_ask_who_we_are(onward, ca):
    own = ca.issue("teal", subject="Teal itself")
    teal, b = onward(ca.issue("inner", "shop.internal"), how={"client_ca": ca.pem}, server_name="shop.internal",
                     cert=own["cert"], key=own["key"])
    with teal.connect() as c:
        assert c.line() == "green"
    assert any(peer and peer["subject"][0][0][1] == "Teal itself" for _, _, peer in b.tls)


# ---- HTTP ----

CURL = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "--max-time", str(int(patience()))]


@pytest.fixture
def http(teal, backend, ports, ca):
    """Two services of mode http on one address, each with a certificate."""
    listen = f"127.0.0.1:{ports.hold()}"
    both = {"green": [backend("green", site)], "blue": [backend("blue", site)], "mode": "http", "listen": listen}
    return teal(services=[
        service("shop", hosts=["shop.example"], tls={"certificates": [ca.issue("shop.example")],
                "client_ca": str(ca.pem), "client_verify": "optional"}, **both),
        service("blog", hosts=["blog.example"], tls={"certificates": [ca.issue("blog.example")]}, **both)])


def curl(teal, ca, host, *more):
    address, port = teal.address("shop")
    return subprocess.run([*CURL, "--cacert", str(ca.pem), "--resolve", f"{host}:{port}:{address}", *more,
                           f"https://{host}:{port}/"], capture_output=True, text=True, timeout=patience())


def test_https(http, ca):
    for host, who in (("shop.example", "shop"), ("blog.example", "blog")):
        assert curl(http, ca, host).stdout == "200 2"
        assert http.wait_log("http.request", service=who)["tls"] == "TLSv1.3"


def test_a_host_outside_the_certificate_is_misdirected(http, ca):
    assert curl(http, ca, "shop.example", "-H", "Host: blog.example").stdout == "421 2"


def test_plain_http_is_answered_in_http(http):
    with http.connect("shop") as c:
        c.sock.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert c.read_end()[0].startswith(b"HTTP/1.1 400 ")


def test_backends_learn_whose_certificate_it_was(http, ca, backend):
    own = ca.issue("jane", subject="Jane")
    assert curl(http, ca, "shop.example", "--cert", own["cert"], "--key", own["key"], "-H", "X-Client-Subject: evil").stdout == "200 2"
    assert http.wait_log("http.request")["subject"] == "CN=Jane"


def test_http_to_backends_by_tls(teal, backend, ports, ca):
    b = backend("green", speaking_tls(ca.issue("inner", "shop.internal"), site))
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", mode="http", green=[b], blue=[b],
                               backend_tls={"ca": str(ca.pem), "server_name": "shop.internal"},
                               health={"type": "http", "path": "/", "interval": 0.2, "timeout": 2.0, "rise": 1, "fall": 2})])
    out = subprocess.run([*CURL, "http://%s:%d/" % t.address()], capture_output=True, text=True, timeout=patience()).stdout
    assert out == "200 1.1"
