"""Who may look: observe.allow for the listener, observe.password_file for the status page."""
import base64

import pytest

from helpers.http1 import Http
from helpers.reload import reload, rewrite
from helpers.scale import until

PATHS = ("/", "/events", "/metrics", "/healthz", "/readyz", "/nothing")


def statuses(t, source="127.0.0.1", headers=()):
    found = []
    for path in PATHS:
        with Http(t.observe, source=(source, 0)) as c:
            c.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n")
            found.append(c._reader.head().status)
    return found


def basic(text):
    return [("Authorization", "Basic " + base64.b64encode(text.encode()).decode())]


def listening(t, **keys):
    return {"observe": {"listen": "%s:%d" % t.observe} | keys}


@pytest.fixture
def secret(tmp_path):
    def make(text, mode=0o600):
        path = tmp_path / "page.pass"
        path.write_text(text)
        path.chmod(mode)
        return str(path)
    return make


def test_networks(web):
    t = web(top={"observe": {"allow": ["127.0.0.2", "10.0.0.0/8"]}}, start=False)
    t.start(ready=False)
    t.wait_log("teald.serving")
    assert statuses(t, "127.0.0.2") == [200, 200, 200, 200, 200, 404]
    # The host itself asks whether teald is ready, and no more.
    assert statuses(t) == [403, 403, 403, 200, 200, 403]


def test_a_password_for_the_page_alone(web, secret):
    t = web(top={"observe": {"password_file": secret("ops:s3cret w:ö\n")}})
    assert statuses(t) == [401, 401, 200, 200, 200, 404]
    assert statuses(t, headers=basic("ops:s3cret w:ö")) == [200, 200, 200, 200, 200, 404]
    assert statuses(t, headers=basic("ops:s3cret")) == [401, 401, 200, 200, 200, 404]
    head, body = t.http_raw("/")
    assert b'WWW-Authenticate: Basic realm="teal"' in head and b"s3cret" not in head + body
    config = t.tealctl("config").stdout
    assert "observe.password_file" in config and "s3cret" not in config


def test_a_reload_changes_who_may_and_ends_who_may_no_longer(web, secret):
    t = web()
    with Http(t.observe) as viewer:
        viewer.send("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert viewer._reader.head().status == 200
        rewrite(t, stop={"timeout": 0.7})
        reload(t)       # which changes nothing here
        assert viewer._reader.exactly(1)
        rewrite(t, **{"observe": t.settings["observe"] | {"password_file": secret("a:b")}})
        plan = t.tealctl("reload", "--dry-run").stdout
        assert "observe.password_file" in plan and "needs an upgrade" not in plan
        reload(t)
        until(lambda: viewer.ended, "it is asked for the password") if viewer._reader.rest == b"" else viewer.read_end()
        assert statuses(t)[:3] == [401, 401, 200]
        rewrite(t, **{"observe": t.settings["observe"] | {"password_file": secret("a:c")}})
        reload(t)
        assert statuses(t, headers=basic("a:b"))[0] == 401 and statuses(t, headers=basic("a:c"))[0] == 200


@pytest.mark.parametrize("text, part", [("", "is empty"), ("alone", "no line USER:PASSWORD"), (":x", "no line USER:PASSWORD"),
                                        ("x:", "no line USER:PASSWORD"), ("a:b\nc:d\n", "not one line")])
def test_what_is_no_password_is_refused(web, secret, text, part):
    status, stderr = web(top={"observe": {"password_file": secret(text)}}, start=False).start_refused()
    assert status == 2 and "observe.password_file" in stderr and part in stderr


def test_a_file_that_everyone_reads_is_warned_of(web, secret):
    t = web(top={"observe": {"password_file": secret("a:b", 0o644)}})
    assert "every user can read" in t.stderr()


def test_networks_that_are_none_are_refused(web):
    status, stderr = web(top={"observe": {"allow": ["10.0.0"]}}, start=False).start_refused()
    assert status == 2 and "observe.allow" in stderr
