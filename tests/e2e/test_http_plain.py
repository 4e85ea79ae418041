"""Where no TLS is spoken beside a listener that does: sent there, or served."""
import subprocess

import pytest

from helpers.http1 import Http, authority, requests_of, site, trusting
from helpers.teald import service


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(cert, key) files for web.example and *.web.example."""
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "web.pem", folder / "web.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=web.example",
                    "-addext", "subjectAltName=DNS:web.example,DNS:*.web.example"], check=True, capture_output=True)
    return str(cert), str(key)


@pytest.fixture
def stage(teal, backend, ports, certificate):
    def make(plain=None, **more):
        cert, key = certificate
        listen, bare = (f"127.0.0.1:{ports.hold()}" for _ in range(2))
        sites = [backend(n, site) for n in ("green", "blue")]
        keys = {"tls": {"certificates": ({"cert": cert, "key": key},)}, "plain_listen": bare} | \
            ({"plain": plain} if plain else {}) | more
        t = teal(services=[service(**{"listen": listen, "green": sites[:1], "blue": sites[1:], "mode": "http"} | keys)])
        t.green, t.blue = sites
        t.bare = lambda: Http(t.address(key="plain_listen"))
        t.tls = lambda name="web.example": Http(t.address(), tls=trusting(), server_name=name)
        return t
    return make


def test_tls_is_served(stage):
    with stage().tls() as c:
        assert c.ask("/x", host="web.example").body == b"green"


@pytest.mark.parametrize("method, status", [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("OPTIONS", 308)])
def test_who_comes_without_tls_is_sent_there(stage, method, status):
    t = stage()
    port = t.address()[1]
    with t.bare() as c:
        a = c.ask("/a%20b/?q=1&r=%0d%0a", host="Web.example:8080", method=method,
                  body=b"x" if method in ("POST", "PUT") else None)
    assert a.status == status
    assert a.get("Location").lower() == f"https://web.example:{port}/a%20b/?q=1&r=%0d%0a"
    assert requests_of(t.green) == []


def test_an_absolute_target_names_the_place(stage):
    t = stage()
    with t.bare() as c:
        a = c.ask("http://other.example:81/x", host="web.example")
    assert (a.status, a.get("Location")) == (301, f"https://other.example:{t.address()[1]}/x")


def test_each_address_leads_to_where_it_speaks_tls_itself(stage, ports):
    """Three addresses with a port each, two of them with a plain one, and one that
    has a plain one only."""
    def at(host):
        return f"{host}:{ports.hold(host)}"
    tls = [at("127.0.0.1"), at("127.0.0.2"), at("127.0.0.3")]
    bare = [at("127.0.0.2"), at("127.0.0.3"), at("127.0.0.4"), f"0.0.0.0:{ports.hold()}"]
    t = stage(listen=tls, plain_listen=bare)

    def leads_to(address):
        with Http(address) as c:
            return c.ask("/x", host="web.example").get("Location").split(":")[2].split("/")[0]

    def port(text):
        return text.split(":")[1]
    assert [leads_to(t.address(n=i, key="plain_listen")) for i in range(3)] == [port(tls[1]), port(tls[2]), port(tls[0])]
    # The address counts that the client came to, not that of the listener.
    assert [leads_to((f"127.0.0.{i}", int(port(bare[3])))) for i in (1, 2, 3, 4)] == [port(tls[i]) for i in (0, 1, 2, 0)]


def test_serve_past_a_required_certificate_is_warned_of(stage, certificate):
    tls = {"certificates": ({"cert": certificate[0], "key": certificate[1]},), "client_ca": certificate[0]}
    said = 'plain: "serve" lets clients of plain_listen in without the certificate that tls.client_ca requires'
    assert said in stage(plain="serve", tls=tls).stderr()
    assert said not in stage(plain="serve", tls=tls | {"client_verify": "optional"}).stderr()
    assert said not in stage(tls=tls).stderr()


def test_without_a_host_there_is_nowhere_to_send_it(stage):
    t = stage()
    with t.bare() as c:
        assert c.ask(host=None, version="1.0").status in (400, 404, 421)


def test_plain_serve_serves(stage):
    t = stage(plain="serve")
    with t.bare() as c, t.tls() as s:
        assert c.ask(host="web.example").body == s.ask(host="web.example").body == b"green"
        t.ok("flip", "web", "blue")
        assert c.ask(host="web.example").body == s.ask(host="web.example").body == b"blue"
    assert [r.get("X-Forwarded-Proto") for r in requests_of(t.green)] == ["http", "https"]


def test_a_plain_listener_shared_with_a_service_that_has_no_tls(teal, backend, ports, certificate):
    cert, key = certificate
    shared = f"127.0.0.1:{ports.hold()}"
    sites = {n: (backend(f"{n}-green", site), backend(f"{n}-blue", site)) for n in ("web", "old")}
    t = teal(services=[
        service("web", listen=f"127.0.0.1:{ports.hold()}", green=sites["web"][:1], blue=sites["web"][1:], mode="http",
                hosts="web.example", plain_listen=shared, tls={"certificates": ({"cert": cert, "key": key},)}),
        service("old", listen=shared, green=sites["old"][:1], blue=sites["old"][1:], mode="http",
                hosts="old.example")])
    with Http(t.address("old")) as c:
        assert c.ask(host="old.example").body == b"old-green"
        assert c.ask(host="web.example").get("Location") == f"https://{authority(('web.example', t.address('web')[1]))}/"
        assert c.ask(host="old.example").body == b"old-green"


def test_a_host_outside_the_certificate_gets_421(stage):
    t = stage(hosts=["web.example"])
    with t.tls() as c:
        assert c.ask(host="elsewhere.example").status == 421
        assert c.ask(host="web.example").body == b"green"
