"""What a service says in the site's words: error pages, maintenance, redirects, header lines."""
import json

import pytest

from helpers.http1 import Http
from helpers.reload import change, reload
from helpers.peers import Peer
from helpers.samples import CONF, replace
from helpers.scale import BUILD, until
from helpers.teald import service
from helpers.upgrade import upgraded

PAGE = b"<!DOCTYPE html><title>Back soon</title>\n"


@pytest.fixture
def pages(tmp_path):
    """pages(name, bytes): the path of such a file."""
    def make(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)
    return make


@pytest.fixture
def asked():
    """The heads that backends got."""
    return []


@pytest.fixture
def stage(web, backend, asked):
    def make(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", **keys):
        def serve(conn, _):
            seen = b""
            while piece := conn.recv(1 << 16):
                seen += piece
                while b"\r\n\r\n" in seen:
                    head, seen = seen.split(b"\r\n\r\n", 1)
                    if not head.startswith(b"x"):
                        asked.append(head.decode("latin-1").split("\r\n"))
                        conn.sendall(answer)
        b = backend(behaviour=serve)
        return web(mode="http", green=[b], blue=[b], **keys)
    return make


def refused(t, *part):
    status, stderr = t.start_refused()
    assert status == 2, stderr
    for p in part:
        assert p in stderr, stderr


# ---- error pages ----

def down(web, backend, **keys):
    t = web(mode="http", green=[backend("green", start=False)], when_all_down="refuse", retry_pause=0.0,
            health={"interval": 0.1, "rise": 1, "fall": 1}, **keys)
    t.wait_metric(0, "teal_backend_up", service="web", color="green")
    return t


def test_a_page_is_the_body_of_an_answer_of_teald_s_own(web, backend, pages):
    t = down(web, backend, error_page=({"status": 503, "file": pages("503.html", PAGE)},
                                       {"status": "500-599", "file": pages("5xx.json", b'{"down":true}')}))
    with Http(t.address()) as c:
        a = c.ask()
        assert (a.status, a.body, a.get("Content-Type")) == (503, PAGE, "text/html; charset=utf-8")
        assert a.get("Retry-After") == "1" and a.get("Cache-Control") == "no-store" and a.get("X-Request-Id")
        head = c.ask(method="HEAD")
        assert (head.status, head.body, head.get("Content-Length")) == (503, b"", str(len(PAGE)))
        j = c.ask(headers=[("Accept", "application/json")])
        assert (j.status, j.body, j.get("Content-Type")) == (503, b'{"down":true}', "application/json")


def test_other_answers_are_as_before(stage, pages):
    t = stage(max_body=3, error_page=({"status": 503, "file": pages("503.html", PAGE)},))
    with Http(t.address()) as c:
        a = c.ask(method="POST", body=b"long")
        assert a.status == 413 and b"max_body" in a.body


def test_a_backend_s_errors_are_its_own(stage, pages):
    t = stage(answer=b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
              error_page=({"status": 503, "file": pages("503.html", PAGE)},))
    with Http(t.address()) as c:
        a = c.ask()
        assert (a.status, a.body) == (503, b"busy")


def test_json_is_teald_s_own_where_there_is_no_page_for_it(web, backend, pages):
    t = down(web, backend, error_page=({"status": 503, "file": pages("503.html", PAGE)},))
    with Http(t.address()) as c:
        a = c.ask(headers=[("Accept", "application/json")])
        assert json.loads(a.body)["status"] == 503


def test_the_largest_page_arrives_whole(web, backend, pages):
    page = bytes(range(32, 127)) * 180
    t = down(web, backend, error_page=({"status": 503, "file": pages("503.txt", page[:16384])},))
    with Http(t.address()) as c:
        for _ in range(20):
            a = c.ask()
            assert a.body == page[:16384] and a.get("Content-Type").startswith("text/plain")


def test_a_reload_reads_a_page_again(web, backend, pages):
    path = pages("503.html", PAGE)
    t = down(web, backend, error_page=({"status": 503, "file": path},))
    with Http(t.address()) as c:
        assert c.ask().body == PAGE
        pages("503.html", b"another")
        plan = t.tealctl("reload", "--dry-run").stdout
        assert "error_page" in plan and path in plan
        assert c.ask().body == PAGE     # until it is told
        reload(t)
        assert c.ask().body == b"another"


@pytest.mark.parametrize("name, content, part", [
    ("missing", None, "No such file"), ("503.html", b"", "is empty"), ("503.html", b"x" * 16385, "longer than 16384"),
    ("503.exe", b"x", "its suffix says what it is")])
def test_a_page_that_is_none_is_refused(web, pages, tmp_path, name, content, part):
    path = pages(name, content) if content is not None else str(tmp_path / (name + ".html"))
    refused(web(mode="http", start=False, error_page=({"status": 503, "file": path},)), "error_page", path, part)


@pytest.mark.parametrize("page, part", [
    ({"status": 200, "file": "x.html"}, "error_page.status: expected codes from 400 to 599"), ({"status": "abc", "file": "x.html"}, "codes from 400"),
    ({"file": "x.html"}, "needs a status"), ({"status": 503}, "needs a file"),
    ({"status": 503, "file": "x.html", "code": 1}, "unknown key")])
def test_a_page_needs_both(web, page, part):
    refused(web(mode="http", start=False, error_page=(page,)), "error_page", part)


def test_a_reload_with_a_bad_page_changes_nothing(web, backend, pages):
    t = down(web, backend, error_page=({"status": 503, "file": pages("503.html", PAGE)},))
    change(t, error_page=({"status": 503, "file": pages("large.html", b"x" * 20000)},))
    r = t.ctl("reload")
    assert r["error"] == "config" and "longer than 16384" in json.dumps(r["errors"])
    with Http(t.address()) as c:
        assert c.ask().body == PAGE


# ---- maintenance ----

def test_maintenance_answers_all_but_the_preview(stage, pages, ports, asked):
    t = stage(maintenance=True, preview=f"127.0.0.1:{ports.hold()}", preview_header="X-Preview", preview_allow="127.0.0.0/8",
              error_page=({"status": 503, "file": pages("503.html", PAGE)},))
    with Http(t.address()) as c:
        a = c.ask()
        assert (a.status, a.body, a.get("Retry-After")) == (503, PAGE, "1")
        assert c.ask(headers=[("X-Preview", "1")]).status == 200
    with Http(t.address(key="preview")) as c:
        assert c.ask().status == 200
    assert t.wait_log("http.request", end="maintenance")["status"] == 503
    t.wait_metric(1, "teal_rejected_total", service="web", reason="maintenance")
    n = len(asked)
    with Http(t.address()) as c:
        assert c.ask().status == 503 and len(asked) == n
        change(t, maintenance=False)
        reload(t)
        assert c.ask().status == 200


def test_an_upgrade_goes_on_in_the_same_words(stage, pages):
    """Its successor reads the pages for itself, and goes on counting."""
    t = stage(start=False, maintenance=True, error_page=({"status": 503, "file": pages("503.html", PAGE)},)).start(supervised=True)
    with Http(t.address()) as c:
        assert c.ask().body == PAGE
    pages("503.html", b"another")
    upgraded(t)
    with Http(t.address()) as c:
        a = c.ask()
        assert (a.status, a.body) == (503, b"another")
    t.wait_metric(2, "teal_rejected_total", service="web", reason="maintenance")


# ---- redirects ----

@pytest.mark.parametrize("to, target, said", [
    ("https://new.example", "/a/b?c=d", "https://new.example/a/b?c=d"),
    ("https://new.example/", "/", "https://new.example/"),
    ("https://new.example:8443/base/", "/x", "https://new.example:8443/base/x"),
    ("http://[2001:db8::1]", "//evil.example/", "http://[2001:db8::1]//evil.example/"),
    ("https://new.example", "http://web/?q", "https://new.example/?q"),
    ("https://new.example", "http://web@evil.example/", None)])
def test_a_redirect_keeps_the_path(stage, asked, to, target, said):
    t = stage(redirect=to)
    with Http(t.address()) as c:
        a = c.ask(target, host="web")
        if said is None:
            assert a.status == 400
            return
        assert (a.status, a.get("Location")) == (302, said)
        assert c.ask(target, method="HEAD", host="web").get("Location") == said
    assert t.wait_log("http.request")["end"] == "redirected" and asked == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_with_the_status_that_is_said(stage, status):
    t = stage(redirect="https://new.example", redirect_status=status)
    with Http(t.address()) as c:
        a = c.ask(method="POST", body=b"x")
        assert a.status == status and a.get("Location") == "https://new.example/"
        change(t, redirect=None, redirect_status=None)
        reload(t)
    with Http(t.address()) as c:
        assert c.ask().status == 200


@pytest.mark.parametrize("to, part", [
    ("new.example", "neither https:// nor http://"), ("https://", "no name"), ("https:///x", "no name"), ("javascript:x", "neither"),
    ("https://new.example/?a=b", "only a path"), ("https://a b", "no name"), ("https://new.example/\r\nX: y", "only a path"),
    ("https://user@new.example", "no name"), ("https://new.example/" + "x" * 1024, "longer than 1024")])
def test_no_redirect_is_made_of_anything_else(web, to, part):
    refused(web(mode="http", start=False, redirect=to), "redirect", part)


def test_no_other_status(web):
    refused(web(mode="http", start=False, redirect="https://new.example", redirect_status=303), "redirect_status", "301, 302, 307 or 308")


# ---- header lines ----

def values(lines, name):
    return [v.strip() for k, _, v in (l.partition(":") for l in lines[1:]) if k.lower() == name.lower()]


def test_request_headers_are_set_and_removed(stage, asked):
    t = stage(request_headers={"set": {"X-Env": "prod"}, "remove": ["X-Debug", "Cookie2"]})
    with Http(t.address()) as c:
        assert c.ask(headers=[("x-env", "mine"), ("X_Env", "mine"), ("X-Debug", "1"), ("x_debug", "1"), ("X-Kept", "1")]).status == 200
    assert values(asked[0], "X-Env") == ["prod"] and values(asked[0], "X_Env") == []
    assert values(asked[0], "X-Debug") == values(asked[0], "x_debug") == [] and values(asked[0], "X-Kept") == ["1"]


def test_a_header_that_teald_counts_down_is_removed_too(stage, asked):
    t = stage(request_headers={"remove": "Max-Forwards"})
    with Http(t.address()) as c:
        assert c.ask("/", method="OPTIONS", headers=[("Max-Forwards", "3")]).status == 200
    change(t, request_headers={"set": {"Max-Forwards": "5"}})
    reload(t)
    with Http(t.address()) as c:
        assert c.ask("/", method="OPTIONS", headers=[("Max-Forwards", "3")]).status == 200
    assert [values(head, "Max-Forwards") for head in asked] == [[], ["5"]]


def test_what_backends_are_told_is_in_no_plan_and_no_log(stage):
    t = stage()
    change(t, request_headers={"set": {"Authorization": "Bearer s3cret-1"}, "remove": "X-Debug"}, response_headers={"set": {"X-Env": "shown"}},
           health={"type": "http", "headers": ["X-Token: s3cret-2"]})
    first = t.tealctl("reload", "--dry-run").stdout
    reload(t)
    change(t, health={"type": "tcp", "steps": [{"send": "AUTH s3cret-3\r\n"}, {"expect": "+OK"}]},
           request_headers={"set": {"Authorization": "Bearer s3cret-4"}})
    second = t.tealctl("reload", "--dry-run").stdout
    reload(t)
    for name in ("Authorization", "X-Debug", "X-Env: shown", "X-Token"):
        assert name in first
    assert "Authorization" in second and "2b4f4b" in second     # a change of the value is one
    told = first + second + json.dumps(t.log_lines("reload.applied"))
    assert "s3cret" not in told and b"s3cret".hex() not in told


def test_none_comes_in_a_trailer(stage, asked):
    t = stage(request_headers={"set": {"X-Env": "prod"}})
    with Http(t.address()) as c:
        c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx-env: mine\r\nx-other: 1\r\n\r\n")
        assert c.response().status == 200
    assert not any("mine" in l for head in asked for l in head)


def test_response_headers_are_set_and_removed(stage):
    t = stage(answer=b"HTTP/1.1 103 Early Hints\r\nServer: secret\r\nLink: </a>\r\n\r\n"
                     b"HTTP/1.1 200 OK\r\nServer: secret\r\nX-Frame-Options: ALLOW\r\nContent-Length: 2\r\n\r\nok",
              response_headers={"set": {"X-Frame-Options": "DENY", "Strict-Transport-Security": "max-age=60"}, "remove": "Server"},
              color_header=True)
    with Http(t.address()) as c:
        c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        early = c._reader.head()
        assert early.status == 103 and early.get("Server") is None and early.get("Strict-Transport-Security") is None
        assert early.get("Link") == "</a>"
        a = c.response()
        assert a.all("X-Frame-Options") == ["DENY"] and a.get("Strict-Transport-Security") == "max-age=60"
        assert a.get("Server") is None and a.get("X-Teal-Color") == "green"
        change(t, response_headers={"set": {"X-New": "1"}})
        reload(t)
        c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        a = c.response()
        assert a.get("X-New") == "1" and a.get("Server") == "secret" and a.get("Strict-Transport-Security") is None


@pytest.mark.parametrize("direction", ["request_headers", "response_headers"])
@pytest.mark.parametrize("name", ["Connection", "content-length", "Transfer_Encoding", "Host", "Upgrade", "TE", "Trailer", "Keep-Alive",
                                  "X-Forwarded-For", "x_forwarded_anything", "X-Real-IP", "Forwarded", "Via", "X-Request-Id",
                                  "X-Teal-Color", "X-Client-Subject", "Expect", "Proxy-Connection"])
def test_what_frames_a_message_or_is_teald_s_is_refused(web, direction, name):
    for keys in ({"set": {name: "x"}}, {"remove": [name]}):
        where = f"{direction}.set.{name}:" if "set" in keys else f"{direction}.remove:"
        refused(web(mode="http", start=False, **{direction: keys}), where, name)


@pytest.mark.parametrize("keys, part", [
    ({"set": {"X-A": ""}}, "visible characters"), ({"set": {"X-A": "a\r\nX-B: c"}}, "visible characters"),
    ({"set": {"X-A": "ä"}}, "visible characters"), ({"set": {"X-A": 1}}, "visible characters"), ({"remove": ["X A"]}, "no name of a header"),
    ({"set": {"X-A": "1"}, "remove": ["x_a"]}, "twice"), ({"set": {f"X-{n}": "1" for n in range(33)}}, "more than 32"),
    ({"set": {"X-A": "y" * 4096}}, "4096 bytes"), ({"add": {"X-A": "1"}}, "unknown key"), ({"set": ["X-A"]}, "a group of texts")])
def test_lines_that_are_none_are_refused(web, keys, part):
    refused(web(mode="http", start=False, request_headers=keys), "request_headers", part)


def test_the_preview_header_goes_nowhere(web):
    refused(web(mode="http", start=False, preview_header="X-Preview", preview_allow="127.0.0.1", request_headers={"set": {"x_preview": "1"}}),
            "request_headers", "preview_header")


def test_defaults_count_where_a_service_says_nothing(teal, backend, ports, asked):
    b = backend(behaviour=lambda conn, _: (asked.append(conn.recv(1 << 16).decode("latin-1").split("\r\n")),
                                           conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")))
    services = [service(name, listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[b], mode="http", health={"type": "none"}, **keys)
                for name, keys in (("one", {}), ("two", {"request_headers": {"set": {"X-Own": "2"}}}))]
    t = teal(services=services, defaults={"request_headers": {"set": {"X-All": "1"}}})
    for name in ("one", "two"):
        with Http(t.address(name)) as c:
            assert c.ask().status == 200
    assert values(asked[0], "X-All") == ["1"]
    assert values(asked[1], "X-All") == [] and values(asked[1], "X-Own") == ["2"]


# ---- the sample ----

@pytest.mark.nosan
def test_the_sample_of_a_site(backend, ports, pages, closing, tmp_path):
    """conf/examples/site.conf with this machine's addresses and files."""
    def serve(conn, _):
        while conn.recv(1 << 16):
            conn.sendall(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nok")
    b, dead = backend(behaviour=serve), f"127.0.0.1:{ports.hold()}"
    listen, observe = ports.hold(), ports.hold()
    conf = tmp_path / "site.conf"
    conf.write_text(replace((CONF / "examples/site.conf").read_text(), [
        ("/var/lib/teal", str(tmp_path)), ("0.0.0.0:9180", f"127.0.0.1:{observe}"), ("10.0.0.0/8", "127.0.0.0/8"),
        ("/etc/teal/page.pass", pages("page.pass", b"ops:secret\n")), ("/etc/teal/down.html", pages("down.html", PAGE)),
        ("0.0.0.0:80", f"127.0.0.1:{listen}"), ("10.0.0.12:10080", dead), ("10.0.0.12:11080", dead),
        ("10.0.0.11:10080", b.address), ("10.0.0.11:11080", b.address)])
        + f'admin: {{ socket = "{tmp_path}/a.sock"; }};\n')
    closing.add(Peer(tmp_path, "teald", [BUILD / "teald-serve", "-c", conf], [listen, observe]))
    with Http(("127.0.0.1", listen)) as c:
        until(lambda: c.ask(host="shop.example").status == 200, "its backend is up")
        a = c.ask(host="shop.example")
        assert a.get("Server") is None and a.get("Strict-Transport-Security") == "max-age=31536000"
        down = c.ask("/api/x", host="shop.example")
        assert down.status in (502, 503) and down.body == PAGE
        old = c.ask("/a?b", host="www.old.example")
        assert (old.status, old.get("Location")) == (301, "https://shop.example/a?b")
    with Http(("127.0.0.1", observe)) as c:
        assert c.ask("/", host="127.0.0.1").status == 401 and c.ask("/metrics", host="127.0.0.1").status == 200


# ---- without backends ----

@pytest.mark.parametrize("keys, status, end", [({"redirect": "https://new.example"}, 302, "redirected"),
                                               ({"maintenance": True}, 503, "maintenance")], ids=["redirect", "maintenance"])
def test_a_service_that_reaches_no_backend_needs_none(teal, ports, keys, status, end):
    """It is ready, in no trouble, and no metric says that a backend is missing."""
    alone = {"name": "old", "mode": "http", "listen": f"127.0.0.1:{ports.hold()}", **keys}
    t = teal(services=[alone])
    with Http(t.address("old")) as c:
        a = c.ask("/x?y=1")
        assert a.status == status
        assert a.get("Location") == ("https://new.example/x?y=1" if status == 302 else None)
    assert t.wait_log("http.request")["end"] == end
    s = t.ok("status", "old")["services"][0]
    assert s["trouble"] == []
    assert t.http("/readyz?service=old")[0] == 200 and t.http("/readyz")[0] == 200
    m = t.metrics()
    assert not m.has("teal_backends_healthy", service="old")
    assert m.get("teal_backends_needed", service="old") == 0
    r = t.ctl("flip", "old", "blue")
    assert r["error"] == "unsupported" and "has no backends" in r["message"], r


def test_backends_come_and_go_with_a_reload(web, backend):
    b = backend(behaviour=lambda conn, _: conn.recv(1 << 16) and conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    t = web(mode="http", green=[b], blue=[b])
    with Http(t.address()) as c:
        assert c.ask().status == 200
        colors = {k: t.settings["services"][0][k] for k in ("green", "blue")}
        change(t, green=None, blue=None, redirect="https://new.example")
        reload(t)
        assert c.ask().status == 302
        assert t.status()["trouble"] == []
        # Without backends there has to be something to say.
        change(t, redirect=None)
        r = t.ctl("reload")
        assert (r["ok"], r["error"]) == (False, "config") and "no backends" in str(r) and "redirect or maintenance" in str(r)
        assert c.ask().status == 302
        change(t, **colors)
        reload(t)
        assert c.ask().status == 200


def test_what_needs_backends_is_refused_without_them(web):
    t = web(mode="tcp", start=False)
    del t.settings["services"][0]["green"], t.settings["services"][0]["blue"]
    t.settings["services"][0]["maintenance"] = True
    refused(t, "maintenance", "no backends")
    t.settings["services"][0] |= {"mode": "http", "maintenance": False}
    refused(t, "no backends; add backends", "only with redirect or maintenance = true")
