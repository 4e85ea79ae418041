"""Services that share a name by the prefixes of their paths, and paths that could be read as another one's."""
import itertools
import random

import pytest

from helpers.certificates import Authority, trusting
from helpers.http1 import Http
from helpers.peers import nginx
from helpers.reload import change, reload
from helpers.scale import scaled
from helpers.teald import service


def named(name):
    def serve(conn, _):
        while head := conn.recv(1 << 16):
            body = f"{name} {head.split()[1].decode('latin-1')}".encode("latin-1")
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    return serve


@pytest.fixture
def street(teal, backend, ports):
    """street(shop={keys}, …): services of one listener whose backends say their names."""
    def make(start=True, tls=None, **services):
        listen = f"127.0.0.1:{ports.hold()}"
        made = []
        for name, keys in services.items():
            b = backend(name, named(name))
            made.append(service(name, listen=listen, mode="http", green=[b], blue=[b], health={"type": "none"}, **keys))
        t = teal(services=made, start=start)
        t.listen = listen
        return t
    return make


def whose(t, target, host="shop.example", **how):
    with Http(t.address(t.settings["services"][0]["name"]), **how) as c:
        a = c.ask(target, host=host)
        return a.body.split()[0].decode() if a.status == 200 else a.status


SITE = {"api": {"hosts": "shop.example", "paths": ["/api/", "/v2/"]}, "admin": {"hosts": "shop.example", "paths": "/api/admin"},
        "shop": {"hosts": "shop.example"}, "rest": {"hosts": "*.example"}, "alone": {"hosts": "alone.example", "paths": "/x"}}


def test_the_longest_prefix_has_the_request(street):
    t = street(**SITE)
    assert [whose(t, target) for target in ("/", "/api", "/api/", "/api/x?y", "/apis", "/v2/", "/api/admin", "/api/admins", "/API/")] == \
        ["shop", "api", "api", "api", "shop", "api", "admin", "api", "shop"]
    assert [whose(t, "/x", "alone.example"), whose(t, "/y", "alone.example"), whose(t, "/api", "b.example")] == ["alone", "rest", "rest"]
    assert whose(t, "http://shop.example/api/x") == "api"
    with Http(t.address("shop")) as c:  # as it was written
        assert c.ask("/api//a/./b;c/%41", host="shop.example").body == b"api /api//a/./b;c/%41"
        assert c.ask("*", method="OPTIONS", host="shop.example").body == b"shop *"
    assert t.status("api")["paths"] == ["/api", "/v2"]


def test_what_no_prefix_fits_is_404_and_what_may_be_another_s_400(street):
    t = street(api={"hosts": "shop.example", "paths": "/api"}, other={"hosts": "other.example"})
    assert whose(t, "/x") == 404
    assert t.wait_log("http.request", status=404)["end"] == "no_path"
    assert whose(t, "/x", "none.example") == 421
    for target in ("/api/../x", "/api%2f..%2fx", "/%61pi", "//api", "/x/..%2fapi", "/api\\..\\x"):
        assert whose(t, target) == 400, target
    assert "another service" in t.wait_log("http.request", status=400)["reason"]
    assert whose(t, "/api/../x", "other.example") == "other"    # alone on its name


def test_a_name_of_one_service_minds_no_path(street):
    """Others of its listener are told apart by their paths; it is not."""
    t = street(api={"hosts": "shop.example", "paths": "/api"}, shop={"hosts": "shop.example"}, whole={"hosts": "*.whole.example"})
    long = "/" + "%41" * 1500
    for target in ("/a%00b", "/api/../x", long):
        assert whose(t, target, "a.whole.example") == "whole", target
        assert whose(t, target) == 400, target


def test_the_default_by_path(street):
    t = street(api={"default": True, "paths": "/api"}, rest={"default": True}, shop={"hosts": "shop.example"})
    assert [whose(t, target, host) for target in ("/api/x", "/x") for host in ("a.example", "shop.example")] == \
        ["api", "shop", "rest", "shop"]


def test_a_reload_changes_whose_a_path_is(street):
    t = street(**SITE)
    with Http(t.address("shop")) as c:
        assert c.ask("/v2", host="shop.example").body.startswith(b"api")
        change(t, "api", paths=["/api/", "/v3"])
        assert "paths" in t.tealctl("reload", "--dry-run").stdout
        reload(t)
        assert c.ask("/v2", host="shop.example").body.startswith(b"shop")
        assert c.ask("/v3", host="shop.example").body.startswith(b"api")


@pytest.mark.parametrize("services, parts", [
    ({"a": {"hosts": "x", "paths": "/a"}, "b": {"hosts": "x", "paths": "/a/"}}, ("hosts", '"x" with the path /a', "is also that of")),
    ({"a": {"default": True, "paths": "/a"}, "b": {"default": True, "paths": "/a/"}}, ("default: so is", "/a")),
    ({"a": {"hosts": "x"}, "b": {"hosts": "x"}}, ("hosts", "is also that of")),
    ({"a": {"hosts": "x", "paths": "a"}}, ("paths", "does not begin with a slash")),
    ({"a": {"hosts": "x", "paths": ["/a/../b"]}}, ("paths", "a part of it is . or ..")),
    ({"a": {"hosts": "x", "paths": ["/a%2f"]}}, ("paths", "several ways")),
    ({"a": {"hosts": "x", "paths": ["/a", "/a/"]}}, ("paths", "listed twice")),
    ({"a": {"paths": "/a"}}, ("paths: of which names", "hosts"))])
def test_rules_that_are_none_are_refused(street, services, parts):
    status, stderr = street(start=False, **services).start_refused()
    assert status == 2 and all(p in stderr for p in parts), stderr


# ---- by TLS ----

def test_one_certificate_for_all_paths_of_a_name(street, tmp_path):
    ca = Authority(tmp_path)
    tls = {"certificates": [ca.issue("shop.example")]}
    t = street(api={"hosts": "shop.example", "paths": "/api", "tls": tls}, shop={"hosts": "shop.example", "tls": tls},
               other={"hosts": "other.example", "tls": {"certificates": [ca.issue("other.example")]}})
    how = {"tls": trusting(ca), "server_name": "shop.example"}
    assert [whose(t, target, **how) for target in ("/api", "/x")] == ["api", "shop"]
    assert whose(t, "/x", "other.example", **how) == 421


def test_a_path_is_no_way_past_a_client_s_certificate(street, tmp_path):
    """The certificate is asked for before there is a path: one name, one rule."""
    ca = Authority(tmp_path)
    tls = {"certificates": [ca.issue("shop.example")]}
    asks = tls | {"client_ca": str(ca.pem)}
    status, stderr = street(start=False, shop={"hosts": "shop.example", "tls": tls},
                            admin={"hosts": "shop.example", "paths": "/admin", "tls": asks}).start_refused()
    assert status == 2 and "tls.client_ca" in stderr and "one name" in stderr
    # Nor by a less exact name, which has the paths that the other one has not.
    t = street(api={"hosts": "shop.example", "paths": "/api", "tls": tls}, rest={"hosts": "*.example", "tls": asks})
    how = {"tls": trusting(ca), "server_name": "shop.example"}
    assert whose(t, "/api", **how) == "api" and whose(t, "/x", **how) == 421


# ---- a server that reads paths in a way of its own ----

PIECES = ["/", "//", "/.", "/..", "%2e", "%2E%2e", "%2f", "%5c", "\\", ";", ";a=b", "admin", "%61dmin", "static", "?", "%3f", "%252e", "%252f",
          "..", "x", "%00", "#"]


@pytest.mark.scales
def test_what_nginx_makes_of_a_path_is_behind_the_same_prefix(teal, ports, closing, tmp_path):
    """It decodes, merges slashes and resolves dots, and says what came of that; whose the request was says a header."""
    port = ports.hold()
    closing.add(nginx(tmp_path, [port], http=f"""server {{ listen 127.0.0.1:{port};
        location / {{ default_type text/plain; return 200 "$http_x_service $uri"; }} }}"""))
    listen = f"127.0.0.1:{ports.hold()}"
    keys = {"listen": listen, "mode": "http", "hosts": "shop.example", "green": [f"127.0.0.1:{port}"],
            "blue": [f"127.0.0.1:{port}"], "health": {"type": "none"}}
    t = teal(services=[service("admin", **keys, paths="/admin/", request_headers={"set": {"X-Service": "admin"}}),
                       service("rest", **keys, request_headers={"set": {"X-Service": "rest"}})])
    some = random.Random(5)
    paths = {begin + "".join(p) for begin in ("/", "/admin/") for p in itertools.product(PIECES, repeat=2)}
    paths |= {some.choice(("/", "/admin/")) + "".join(some.choices(PIECES, k=some.randint(3, 7))) for _ in range(scaled(20000, 1000))}
    answered = {"admin": 0, "rest": 0}
    c = closing.add(Http(t.address("rest")))
    for path in sorted(paths):
        a = c.ask(path, host="shop.example")
        if a.status != 200:     # its connection may be the last
            c.close()
            c = closing.add(Http(t.address("rest")))
            continue
        who, uri = a.body.decode("latin-1").split(" ", 1)
        answered[who] += 1
        assert (uri + "/").startswith("/admin/") == (who == "admin"), (path, who, uri)
    assert min(answered.values()) > 20
