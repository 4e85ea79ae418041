"""Cut off from the store: it serves on, but says how old its knowledge is, and
goes out of the path when that is too old."""
import pytest

from helpers.scale import until


def test_past_max_age_it_is_not_ready_but_serves(fleet):
    f = fleet(2, store={"max_age": 600.0}, top={"clock": True})
    f.redis.pause()
    with f.load() as run:
        f[0].clock.move(300)
        assert f[0].http("/readyz")[0] == 200
        f[0].clock.move(301)
        until(lambda: f[0].http("/readyz")[0] == 503, "not ready")
        assert "max_age" in f[0].http("/readyz")[1]
        assert f.store()["age"] >= 600
        assert f[0].metrics().get("teal_store_age_seconds") >= 600
        assert f[0].metrics().get("teal_ready") == 0
        assert f[0].status()["active"] == "green"
        f[0].wait_log("store.stale")
        f.redis.resume()
        for t in f:
            until(lambda t=t: t.http("/readyz")[0] == 200, "ready again")
        f[0].wait_log("store.fresh")
    run.only("green")
    assert not f[0].sessions(end="stale")


@pytest.mark.tsan
def test_stale_refuse_closes_who_comes_and_keeps_who_is_there(fleet):
    f = fleet(1, store={"max_age": 60.0, "stale": "refuse"}, top={"clock": True})
    teal = f[0]
    with teal.connect() as old:
        old.echo()
        f.redis.pause()
        teal.clock.move(61)
        until(lambda: teal.http("/readyz")[0] == 503, "not ready")

        def turned_away():
            try:
                with teal.connect() as c:
                    return c.line() is None
            except OSError:
                return True
        until(turned_away, "refused")
        for _ in range(5):
            assert turned_away()
        old.echo(b"still here")
        teal.wait_log("tcp.session", end="stale")
        assert teal.metrics().get("teal_connections_total", end="stale") >= 1
        f.redis.resume()
        until(lambda: not turned_away(), "serves again")
        assert teal.http("/readyz")[0] == 200
        old.echo(b"and still")
    assert teal.ok("flip", "web", "blue")["changed"]


@pytest.mark.parametrize("stale", ["serve", "refuse"])
def test_within_max_age_nobody_notices(fleet, stale):
    f = fleet(1, store={"max_age": 30.0, "stale": stale})
    with f.load() as run:
        f.redis.pause()
        until(lambda: f.store()["up"] is False, "it has missed a reading or two")
        assert f[0].http("/readyz")[0] == 200
        f.redis.resume()
    run.only("green")


@pytest.mark.long
def test_who_is_older_than_max_age_is_not_waited_for_for_ever(fleet, redis, proxy):
    """Cut off, it refuses; so the others' flips are whole again once it is forgotten."""
    server = redis()
    p = proxy(server)
    f = fleet(2, server=server, urls=[server.url, p.url], store={"max_age": 1.0, "stale": "refuse"})
    f.wait_members()
    p.set("hang")
    assert f[0].ctl("flip", "web", "blue")["error"] == "partial_fleet"
    until(lambda: f[1].pid not in f.members(f[0]), "forgotten")
    r = f[0].ok("flip", "web", "green")
    assert r["changed"]
    r = f[0].ok("flip", "web", "blue")
    with f[1].connect() as c:
        assert c.line() is None, "it takes no connections with what it knows"
    p.set("pass")
    f.agree("blue", 4)
    until(lambda: f[1].http("/readyz")[0] == 200, "ready")
    # Where a reading takes longer than its second it refuses again for a moment.
    until(lambda: f[1].connect().line() == "blue", "it serves what the fleet came to")
