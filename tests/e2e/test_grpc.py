"""gRPC through Teal, by python3-grpcio on both sides: calls of all four kinds over flips, a reload and an upgrade; what a server says of
a call reaches its client as it was."""
import threading

import grpc
import pytest

from helpers.grpc_site import Calls, GrpcSite
from helpers.reload import change, reload
from helpers.scale import patience, until
from helpers.upgrade import upgrade

FLIPS = 6


@pytest.fixture
def stage(web, ports, closing):
    """Two servers in processes of their own, and a client."""
    def make(supervised=False, **keys):
        green, blue = (closing.add(GrpcSite(name, ports.hold())) for name in ("green", "blue"))
        teal = web(green=[green], blue=[blue], **{"mode": "http", "h2c": True, "backend_protocol": "h2", "idle_timeout": 0} | keys, start=False).start(supervised=supervised)
        return teal, closing.add(Calls(teal.address()))
    return make


def answers(teal, status, color="green"):
    return teal.metrics().get("teal_grpc_responses_total", service="web", color=color, grpc_status=status)


def test_what_a_server_says_reaches_its_client(stage):
    teal, calls = stage(flip={"bake": 300.0})

    def troubles():
        return teal.metrics().get("teal_bake_troubles_total", service="web", color="green", signal="answer")
    assert not teal.metrics().series("teal_grpc_responses_total")
    answer, call = calls.unary.with_call(b"x", timeout=patience())
    assert answer == b"green:x" and ("x-color", "green") in [tuple(m) for m in call.trailing_metadata()]
    assert list(calls.server(b"3")) == [b"green:0", b"green:1", b"green:2"]
    assert calls.client(iter([b"a", b"b"])) == b"green:2" and list(calls.both(iter([b"a", b"b"]))) == [b"green:a", b"green:b"]
    assert calls.unary(b"y" * 1_000_000) == b"green:" + b"y" * 1_000_000
    # Statuses, after an answer and instead of one.
    for code in ("NOT_FOUND", "UNAVAILABLE", "DATA_LOSS", "INTERNAL"):
        for words in code, "+" + code:
            with pytest.raises(grpc.RpcError) as e:
                list(calls.fail(words.encode()))
            assert e.value.code().name == code and e.value.details() == "as it was asked: 100 % \u00fc"
            assert ("x-why", "as asked") in [tuple(m) for m in e.value.trailing_metadata()]
            # For a bake what a client asks wrongly is no fault of the color.
            assert code != "NOT_FOUND" or (teal.wait_log("http.request", path="/t.T/Fail") and troubles() == 0)
    assert teal.wait_log("http.request", path="/t.T/Unary")["grpc_status"] == 0
    assert teal.wait_log("http.request", path="/t.T/Fail")["grpc_status"] == 5
    assert [answers(teal, s) for s in ("OK", "NOT_FOUND", "UNAVAILABLE", "DATA_LOSS", "INTERNAL")] == [5, 2, 2, 2, 2]
    assert len(teal.metrics().series("teal_grpc_responses_total")) == 5
    assert troubles() == 1
    # A deadline of the client's is the server's.
    assert [int(s) for s in calls.slow(b"when", timeout=100_000)][0] in range(50_000, 150_000)
    with pytest.raises(grpc.RpcError) as e:
        list(calls.slow(b"", timeout=0.2))
    assert e.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


class Talker:
    """A stream in both directions that says something, hears it, and says the next, until it is told to end."""

    def __init__(self, calls):
        self._more, self._end, self.heard = threading.Semaphore(0), threading.Event(), []
        self._answers = calls.both(self._says())
        self.say()

    def _says(self):
        while self._more.acquire() and not self._end.is_set():
            yield b"%d" % len(self.heard)

    def say(self):
        n = len(self.heard)
        self._more.release()
        self.heard.append(next(self._answers))
        assert self.heard[-1].split(b":")[1] == b"%d" % n

    def end(self):
        self._end.set()
        self._more.release()
        assert list(self._answers) == [] and self._answers.code() == grpc.StatusCode.OK
        return {h.split(b":")[0] for h in self.heard}


def test_no_call_fails_over_flips_a_reload_and_an_upgrade(stage):
    teal, calls = stage(supervised=True, drain={"timeout": 600.0})
    over, done, failed = threading.Event(), [0], []

    def load():
        try:
            while not over.is_set():
                calls.unary(b"x", timeout=patience())
                assert len(list(calls.server(b"3", timeout=patience()))) == 3
                assert calls.client(iter([b"a"] * 3), timeout=patience()).endswith(b":3")
                assert len(list(calls.both(iter([b"a"] * 3), timeout=patience()))) == 3
                done[0] += 4
        except Exception as e:
            failed.append(e)
    threads = [threading.Thread(target=load) for _ in range(2)]
    for t in threads:
        t.start()
    old = Talker(calls)
    kept = []
    try:
        for i in range(FLIPS):
            color = ("blue", "green")[i % 2]
            kept.append(Talker(calls))
            teal.ok("flip", "web", color, "--wait=applied")
            assert calls.unary(b"z").startswith(color.encode())
            for t in [old, *kept]:
                t.say()
            before = done[0]
            until(lambda: failed or done[0] > before, "calls go on")
            if i == 2:
                change(teal, response_timeout=50.0)
                reload(teal)
        counted = answers(teal, "OK")
        upgrade(teal)
        for t in [old, *kept]:
            t.say()
        before = done[0]
        until(lambda: failed or done[0] > before + 20, "calls go on in the process that follows")
    finally:
        over.set()
        for t in threads:
            t.join(patience())
    assert not failed
    assert answers(teal, "OK") >= counted > 0
    # Each stream was of one color from its first message to its last.
    assert old.end() == {b"green"}
    assert [t.end() for t in kept] == [{b"green"}, {b"blue"}] * (FLIPS // 2)


def test_a_drain_cuts_calls_and_their_clients_see_a_status(stage):
    teal, calls = stage(drain={"timeout": 0.2})
    t = Talker(calls)
    teal.ok("flip", "web", "blue", "--wait=drained")
    with pytest.raises(grpc.RpcError) as e:
        t.say()
    assert e.value.code() == grpc.StatusCode.CANCELLED
    assert calls.unary(b"x") == b"blue:x"
