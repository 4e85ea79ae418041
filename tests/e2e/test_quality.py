"""How well each color does: classes, errors and latency of the last minute in `status`, before and after a flip."""
import pytest

from helpers.http1 import Http, Reader
from helpers.scale import until
from helpers.upgrade import upgraded


def statuses(conn, backend):
    """Answers /404 with 404, and so on."""
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        reader.body_of(m)
        backend.note(conn, b"x")
        conn.sendall(f"HTTP/1.1 {m.target[1:]} As asked\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.fixture
def stage(web, backend):
    def make(start=True, **keys):
        return web(green=[backend("green", statuses)], blue=[backend("blue", statuses)], mode="http", start=start, **keys)
    return make


def ask(teal, **counts):
    """counts: s200=5, s500=1."""
    with Http(teal.address()) as c:
        for status, n in counts.items():
            for _ in range(n):
                assert c.ask("/" + status[1:]).status == int(status[1:])


def counted(teal, of, n):
    """The figures, once so many requests are in them: an answer is counted after it was sent."""
    def look():
        q = teal.status()["quality"]
        f = q[of] if of in ("green", "blue") else q["flip"][of]
        return f if f["requests"] == n else None
    return until(look, f"{n} requests of {of}")


def test_errors_and_latency_stand_beside_each_other(stage):
    teal = stage()
    assert teal.status()["quality"]["flip"] is None
    f = teal.status()["quality"]["blue"]
    assert (f["requests"], f["error_rate"], f["p50"], f["p99"]) == (0, None, None, None)
    ask(teal, s200=40, s404=9, s503=1)
    f = counted(teal, "green", 50)
    assert f["classes"] == {"1xx": 0, "2xx": 40, "3xx": 0, "4xx": 9, "5xx": 1}
    assert (f["errors"], f["error_rate"]) == (1, 0.02)
    assert 0 < f["p50"] <= f["p99"]
    teal.ok("flip", "web", "blue", "--reason=deploy")
    ask(teal, s200=49, s500=1)
    after = counted(teal, "after", 50)
    assert (after["errors"], after["classes"]["5xx"]) == (1, 1)
    flip = teal.status()["quality"]["flip"]
    assert (flip["from"], flip["to"], flip["epoch"]) == ("green", "blue", 2)
    assert flip["at"] == teal.status()["changed_at"]
    assert flip["before"]["requests"] == 50 and flip["before"]["errors"] == 1
    assert counted(teal, "blue", 50)["errors"] == 1


def test_a_minute_is_all_that_counts_and_the_minute_before_the_flip_stays(stage):
    teal = stage(clock=True)
    ask(teal, s200=10)
    counted(teal, "green", 10)
    teal.ok("flip", "web", "blue")
    ask(teal, s200=4, s500=1)
    counted(teal, "after", 5)
    # A look every five seconds is kept, and of a jump over many only the last.
    for _ in range(14):
        teal.clock.move(5)
    f = counted(teal, "after", 0)
    assert f["error_rate"] is None
    assert counted(teal, "before", 10)["errors"] == 0
    ask(teal, s200=2)
    assert counted(teal, "blue", 2)["errors"] == 0


def test_it_goes_on_in_the_next_process(stage):
    teal = stage(start=False).start(supervised=True)
    ask(teal, s200=9, s502=1)
    counted(teal, "green", 10)
    teal.ok("flip", "web", "blue")
    ask(teal, s200=5, s404=1)
    counted(teal, "after", 6)
    was = teal.status()["quality"]
    for _ in range(2):
        upgraded(teal)
        now = teal.status()["quality"]
        for of in ("green", "blue"):
            assert {**now[of], "seconds": 0} == {**was[of], "seconds": 0}
            assert now[of]["seconds"] >= was[of]["seconds"]
        assert {**now["flip"], "after": 0} == {**was["flip"], "after": 0}
        assert now["flip"]["after"]["classes"] == was["flip"]["after"]["classes"]
    ask(teal, s200=1)
    assert counted(teal, "after", 7)["classes"]["4xx"] == 1


def test_sessions_are_counted_where_there_are_no_requests(web):
    teal = web()
    for _ in range(3):
        teal.connect().echo().close()
    f = counted(teal, "green", 3)
    assert f["errors"] == 0 and f["p50"] > 0 and "classes" not in f
    teal.green.stop()
    with teal.connect() as c:
        assert c.line() is None
    assert counted(teal, "green", 4)["errors"] == 1
