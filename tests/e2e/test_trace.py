"""traceparent (W3C Trace Context): logged, passed on, begun where there is none, and believed from those who are trusted."""
import re

import pytest

from helpers.http1 import Http, chunked, requests_of, site
from helpers.reload import change, reload

ID, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{ID}-{PARENT}-01"
BAD = ["", "00", f"00-{ID}-{PARENT}", f"00-{ID.upper()}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"ff-{ID}-{PARENT}-01",
       f"00-{ID}-{PARENT}-01-more", f"00-{ID}-{PARENT}-01, {GOOD}", '00-"4bf92f', "x" * 300]
BEGUN = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


@pytest.fixture
def stage(web, backend):
    def make(**keys):
        return web(green=[backend("green", site)], mode="http", **keys)
    return make


def sent(teal, *values, path="/", state=None, source=None):
    """What the backend got of a request with these: (all its traceparents, all its tracestates, trace_id of the line)."""
    n = len(teal.log_lines("http.request"))
    with Http(teal.address(), source=source) as c:
        assert c.ask(path, headers=[("traceparent", v) for v in values] +
                     ([("tracestate", state)] if state else [])).status == 200
    line = teal.wait_log("http.request", n + 1) and teal.log_lines("http.request")[n]
    m = requests_of(teal.green)[-1]
    return m.all("traceparent"), m.all("tracestate"), line.get("trace_id")


def test_a_trace_is_logged_and_passed_on(stage):
    teal = stage()
    assert sent(teal, GOOD, state="vendor=1") == ([GOOD], ["vendor=1"], ID)
    assert sent(teal) == ([], [], None)
    # What is none is the backend's to judge; no byte of it is in the log.
    for bad in BAD:
        assert sent(teal, bad) == ([bad], [], None)
    assert sent(teal, GOOD, GOOD) == ([GOOD, GOOD], [], None)
    assert sent(teal, f"cc-{ID}-{PARENT}-01-later") == ([f"cc-{ID}-{PARENT}-01-later"], [], ID)


def test_a_service_may_leave_traces_alone(stage):
    teal = stage(trace="off")
    assert sent(teal, GOOD, state="vendor=1") == ([GOOD], ["vendor=1"], None)
    assert sent(teal) == ([], [], None)


def test_a_trace_begins_where_there_is_none(stage):
    teal = stage(trace="begin")
    assert sent(teal, GOOD, state="vendor=1") == ([GOOD], ["vendor=1"], ID)
    ids = set()
    for values in [()] + [(b,) for b in BAD] + [(GOOD, GOOD)]:
        parents, states, logged = sent(teal, *values, state="vendor=1")
        m = BEGUN.fullmatch(*parents)
        assert m and m[1] == logged and m[3] == "01" and states == []
        assert m[2] != "0" * 16
        ids.add(logged)
    assert ID not in ids and len(ids) == len(BAD) + 2


def test_strangers_are_in_no_trace_of_ours(stage):
    here, there = ("127.0.0.1", 0), ("127.0.0.2", 0)
    teal = stage(trace_trust=["127.0.0.2"])
    assert sent(teal, GOOD, state="vendor=1", source=there) == ([GOOD], ["vendor=1"], ID)
    assert sent(teal, GOOD, state="vendor=1", source=here) == ([], [], None)
    teal = stage(trace="begin", trace_trust=[])
    parents, states, logged = sent(teal, GOOD, state="vendor=1", source=there)
    assert BEGUN.fullmatch(*parents)[1] == logged != ID and states == []


def test_a_trailer_begins_no_trace(stage):
    teal = stage(trace="begin")
    with Http(teal.address()) as c:
        c.send(b"POST /t HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTrailer: traceparent\r\n\r\n" +
               chunked(b"body")[:-2] + f"traceparent: {GOOD}\r\nTraceState: a=b\r\nX-Sum: 1\r\n\r\n".encode())
        assert c.response().status == 200
    m = requests_of(teal.green)[-1]
    assert [k.lower() for k, _ in m.trailers] == ["x-sum"]
    assert BEGUN.fullmatch(m.get("traceparent"))


@pytest.mark.parametrize("name", ["traceparent", "TraceState"])
@pytest.mark.parametrize("keys", [lambda n: {"set": {n: "x"}}, lambda n: {"remove": n}])
def test_a_trace_that_begins_here_is_said_once(web, name, keys):
    status, stderr = web(mode="http", start=False, trace="begin", request_headers=keys(name)).start_refused()
    assert status == 2 and "request_headers" in stderr and 'trace = "begin"' in stderr
    web(mode="http", request_headers=keys(name))


def test_so_many_of_those_that_begin_are_sampled_as_the_key_says(stage):
    teal = stage(trace="begin", trace_sample=0.25)
    n = 400
    with Http(teal.address()) as c:
        for _ in range(n):
            c.ask()
    flags = [BEGUN.fullmatch(m.get("traceparent"))[3] for m in requests_of(teal.green)]
    assert len(flags) == n and 50 <= flags.count("01") <= 150  # of 100; the digits are evenly spread
    teal = stage(trace="begin", trace_sample=0.0)
    assert BEGUN.fullmatch(*sent(teal)[0])[3] == "00"


def test_what_teal_answers_itself_has_its_trace_in_the_log(stage):
    teal = stage(health={"type": "none"}, retries=0)
    teal.green.stop()
    with Http(teal.address()) as c:
        assert c.ask(headers=[("traceparent", GOOD)]).status == 502
    assert teal.wait_log("http.request", status=502)["trace_id"] == ID
    with Http(teal.address()) as c:
        assert c.ask("/417", headers=[("traceparent", GOOD), ("Expect", "miracles")]).status == 417
    assert teal.wait_log("http.request", status=417)["trace_id"] == ID


def test_a_reload_changes_it_in_place(stage):
    teal = stage()
    assert sent(teal) == ([], [], None)
    change(teal, trace="begin")
    reload(teal)
    parents, _, logged = sent(teal)
    assert BEGUN.fullmatch(*parents)[1] == logged
