"""A tester on the main entrance asks for the idle color, one request at a time."""
import pytest

from helpers.http1 import Http, chunked, requests_of, site


@pytest.fixture
def stage(web, backend, ports):
    def make(**keys):
        return web(mode="http", green=[backend("green", site)], blue=[backend("blue", site)],
                   preview=f"127.0.0.1:{ports.hold()}",
                   **{"preview_header": "X-Teal-Preview", "preview_allow": "127.0.0.1", "color_header": True} | keys)
    return make


def client(t, **how):
    return Http(t.address(), **how)


TRY = [("X-Teal-Preview", "1")]


def test_a_single_request_goes_to_the_idle_color(stage):
    t = stage()
    with client(t) as c:
        assert [c.ask(headers=h).body for h in ([], TRY, [], TRY, TRY)] == \
            [b"green", b"blue", b"green", b"blue", b"blue"]
        t.ok("flip", "web", "blue")
        assert [c.ask(headers=h).body for h in ([], TRY)] == [b"blue", b"green"]


def test_the_name_of_the_header_is_compared_without_case(stage):
    t = stage()
    with client(t) as c:
        assert c.ask(headers=[("x-teal-PREVIEW", "anything")]).body == b"blue"
        assert c.ask(headers=[("X-Teal-Preview2", "1"), ("X-Teal", "1")]).body == b"green"


def test_bodies_go_there_too(stage):
    t = stage()
    with client(t) as c:
        assert c.ask(method="POST", headers=TRY, body=b"a=b" * 1000).body == b"blue"
        c.send(b"POST / HTTP/1.1\r\nHost: web\r\nX-Teal-Preview: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
               + chunked(b"x" * 5000))
        assert c.response().body == b"blue"
    assert [len(r.body) for r in requests_of(t.blue)] == [3000, 5000]


@pytest.mark.parametrize("allow", ["10.0.0.0/8", ["192.0.2.1", "127.0.0.2"], "::/0"])
def test_others_may_not(stage, allow):
    t = stage(preview_allow=allow)
    with client(t) as c:
        assert c.ask(headers=TRY).body == b"green"
    assert requests_of(t.blue) == []


def test_who_may_is_asked_of_each_client(stage):
    t = stage(preview_allow=["127.0.0.2"])
    with client(t, source=("127.0.0.2", 0)) as may, client(t) as may_not:
        assert may.ask(headers=TRY).body == b"blue"
        assert may_not.ask(headers=TRY).body == b"green"


def test_the_header_without_being_configured_is_only_a_header(stage):
    t = stage(preview_header="X-Try", preview_allow="127.0.0.1")
    with client(t) as c:
        assert c.ask(headers=TRY).body == b"green"
        assert c.ask(headers=[("X-Try", "")]).body == b"blue"
    assert requests_of(t.green)[0].get("X-Teal-Preview") == "1"


def test_backends_do_not_see_the_header(stage):
    t = stage(preview_allow=["127.0.0.2"])
    with client(t, source=("127.0.0.2", 0)) as may, client(t) as may_not:
        may.ask(headers=[("A", "1"), *TRY, ("B", "2")])
        may_not.ask(headers=[("A", "1"), *TRY, ("B", "2")])
    for r in (requests_of(t.blue)[0], requests_of(t.green)[0]):
        assert r.get("X-Teal-Preview") is None and (r.get("A"), r.get("B")) == ("1", "2")


def test_a_preview_of_a_dead_color_never_falls_back(stage):
    t = stage()
    t.blue.stop()
    with client(t) as c:
        assert c.ask(headers=TRY).status in (502, 503)
    with client(t) as c:
        assert c.ask().body == b"green"
    assert len(requests_of(t.green)) == 1


def test_previews_count_as_previews(stage):
    t = stage()
    with client(t) as c:
        c.ask(headers=TRY)
        c.ask()
    line = t.wait_log("http.request", color="blue")
    assert line["entrance"] == "preview" and t.wait_log("http.request", color="green")["entrance"] == "main"
    m = t.metrics()
    assert m.get("teal_requests_total", service="web", color="blue", entrance="preview") == 1


def test_answers_say_their_color(stage):
    t = stage()
    with client(t) as c:
        assert [c.ask(headers=h).all("X-Teal-Color") for h in ([], TRY)] == [["green"], ["blue"]]
    with Http(t.address(key="preview")) as c:
        assert c.ask().all("X-Teal-Color") == ["blue"]


def test_unless_they_are_not_asked_to(stage):
    t = stage(color_header=False)
    with client(t) as c:
        assert c.ask().all("X-Teal-Color") == []
