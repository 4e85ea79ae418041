"""Shares: both colors of a service have clients; each client stays on its side, and goes
over once as the share grows."""
import contextlib
import json

from helpers.http1 import Http, Reader
from helpers.http2 import Http2
from helpers.scale import scaled, until
from helpers.upgrade import upgraded

CLIENTS = [f"127.{7 + (i >> 14)}.{(i >> 7) & 127}.{1 + (i & 127)}" for i in range(scaled(4000, 200))]


def bound(n, percent):
    """Five sigma of a binomial count."""
    p = percent / 100
    return n * p - 5 * (n * p * (1 - p)) ** 0.5 - 1, n * p + 5 * (n * p * (1 - p)) ** 0.5 + 1


def sides(teal, clients=None, **where):
    """Of each client, its color."""
    found = {}
    for address in clients or CLIENTS:
        with teal.connect(source=(address, 0), **where) as c:
            found[address] = c.peer
    return found


def greeting(teal, address):
    """None: it was closed."""
    with teal.connect(source=(address, 0)) as c:
        return c.line()


def blues(found):
    return {address for address, color in found.items() if color == "blue"}


def check_share(found, percent):
    low, high = bound(len(found), percent)
    assert low <= len(blues(found)) <= high, f"{len(blues(found))} of {len(found)} at {percent} %"


def refused(reply):
    assert not reply["ok"] and not reply.get("changed"), reply
    return reply["error"]


def share_of(teal, name="web"):
    s = teal.status(name)["share"]
    return (s["color"], s["percent"]) if s else None


def test_a_share_grows_and_moves_nobody_back(web):
    teal = web(top={"workers": 2}, start=False).start(supervised=True)
    assert set(sides(teal, CLIENTS[:20]).values()) == {"green"}
    before = set()
    for n, percent in enumerate((10, 35.5, 80)):
        r = teal.ok("shift", "web", "blue", f"--to={percent}%")
        assert (r["active"], r["changed"], r["epoch"]) == ("green", True, n + 2)
        assert (r["share"]["color"], r["share"]["percent"], r["share"]["since_epoch"]) == ("blue", percent, 2)
        found = sides(teal)
        check_share(found, percent)
        assert before <= blues(found), "went back"
        before = blues(found)
        assert sides(teal) == found, "by another port, on another worker"
    again = teal.ok("shift", "web", "blue", "--to=80%")
    assert (again["changed"], again["epoch"]) == (False, 4)
    # Who waits for what is so changes nothing.
    assert teal.ok("wait", "web", "--for=applied")["changed"] is False and share_of(teal) == ("blue", 80)
    assert not teal.status()["colors"]["blue"]["draining"] and not teal.status()["colors"]["green"]["draining"]
    # What a restart, a reload and an upgrade leave alone.
    teal.ok("reload")
    assert sides(teal, CLIENTS[:60]) == {c: found[c] for c in CLIENTS[:60]}
    upgraded(teal)
    assert share_of(teal) == ("blue", 80)
    assert sides(teal, CLIENTS[:60]) == {c: found[c] for c in CLIENTS[:60]}
    r = teal.ok("shift", "web", "blue", "--to=100%")
    assert (r["active"], r["epoch"], r.get("share")) == ("blue", 5, None)
    assert share_of(teal) is None
    assert set(sides(teal, CLIENTS[:60]).values()) == {"blue"}
    # That was a flip: it can be undone.
    assert teal.ok("rollback", "web")["active"] == "green"


def test_a_rollback_ends_a_share_and_what_was_on_it_drains(web):
    teal = web(drain={"timeout": 600.0, "idle": 0.0})
    teal.ok("shift", "web", "blue", "--to=50%")
    there = blues(sides(teal, CLIENTS[:100])).pop()
    held = teal.connect(source=(there, 0))
    assert held.peer == "blue"
    r = teal.ok("rollback", "web", "--reason=errors")
    assert (r["active"], r["changed"], r["epoch"], r.get("share")) == ("green", True, 3, None)
    assert set(sides(teal, CLIENTS[:100]).values()) == {"green"}
    until(lambda: teal.status()["colors"]["blue"]["draining"], "blue drains")
    assert held.echo(b"still")
    # Once more before it is empty: it drains no more.
    teal.ok("shift", "web", "blue", "--to=20%")
    assert not teal.status()["colors"]["blue"]["draining"]
    assert held.echo(b"and on")
    assert teal.ok("rollback", "web")["changed"]
    held.close()
    until(lambda: not teal.status()["colors"]["blue"]["draining"], "blue is empty")
    again = teal.ok("rollback", "web")
    assert (again["changed"], again["epoch"]) == (False, 5)
    kinds = [(h["kind"], h["to"], h.get("percent")) for h in teal.ok("history", "web")["history"]]
    assert kinds == [("shift", "blue", 50), ("shift", "blue", 0), ("shift", "blue", 20), ("shift", "blue", 0)]


def test_a_fleet_agrees_on_every_client_and_keeps_its_share_without_a_store(fleet):
    f = fleet(2)
    f.wait_members()
    few = CLIENTS[:150]
    # Asked at one and obeyed by both.
    r = f[0].ok("shift", "web", "blue", "--to=30%")
    found = sides(f[0], few)
    assert sides(f[1], few) == found
    assert share_of(f[1]) == ("blue", 30)
    r = f[1].ok("shift", "web", "blue", "--to=60%", f"--expect=green@{r['epoch']}")
    grown = sides(f[0], few)
    assert blues(found) <= blues(grown) and sides(f[1], few) == grown
    f.redis.kill()
    f.wait_up(False)
    assert sides(f[0], few) == grown and sides(f[1], few) == grown
    assert refused(f[0].ctl("shift", "web", "blue", "--to=70%")) == "store_unavailable"
    # Nor does it go with a restart: the last known state has it.
    f[1].restart()
    assert share_of(f[1]) == ("blue", 60) and sides(f[1], few) == grown
    f.redis.restart()
    f.wait_up()
    assert f[1].ok("rollback", "web")["active"] == "green"
    assert set(sides(f[0], few).values()) == {"green"}


def test_a_member_that_cannot_hold_shares_is_named(fleet):
    f = fleet(1)
    # One of an earlier version, as its heartbeat tells.
    own, = f.redis("ZRANGE", f"{f.prefix}:lbs", 0, -1)
    old = json.loads(f.redis("GET", f"{f.prefix}:lb:{own}")) | {"id": "0ld", "host": "lb-old", "version": "0.0.9", "pid": 1}
    del old["shares"]
    f.redis("SET", f"{f.prefix}:lb:0ld", json.dumps(old))
    f.redis("ZADD", f"{f.prefix}:lbs", old["at_us"], "0ld")
    until(lambda: len(f.members()) == 2, "the old one is a member")
    r = f[0].ctl("shift", "web", "blue", "--to=30%")
    assert refused(r) == "unsupported" and "lb-old" in r["message"] and "0.0.9" in r["message"], r
    assert r["changed"] is False and share_of(f[0]) is None


def test_what_cannot_be_is_refused(web):
    teal = web()
    for option in ("--to=101%", "--to=-1%", "--to=1e1", "--to=10.001%", "--to=", "--to=ten", "--token=x"):
        assert refused(teal.ctl("shift", "web", "blue", option)) == "usage", option
    assert refused(teal.ctl("shift", "web", "blue", "--to=10%", "--wait=drained")) == "usage"
    r = teal.ctl("shift", "web", "green", "--to=10%")
    assert refused(r) == "conflict" and "tealctl shift web blue --to=N%" in r["message"], r
    assert refused(teal.ctl("shift", "web", "blue", "--to=10%", "--expect=blue")) == "conflict"
    teal.ok("lock", "web", "--reason=migration")
    assert refused(teal.ctl("shift", "web", "blue", "--to=10%")) == "locked"
    teal.ok("unlock", "web")
    teal.blue.stop()
    assert refused(teal.ctl("shift", "web", "blue", "--to=10%")) == "unhealthy"
    assert teal.status()["epoch"] == 1 and share_of(teal) is None
    assert teal.ok("shift", "web", "blue", "--to=0%")["changed"] is False


def test_clients_of_a_color_that_is_down_are_served_by_the_other(web):
    teal = web(top={"workers": 1})
    teal.ok("shift", "web", "blue", "--to=50%")
    few = CLIENTS[:60]
    found = sides(teal, few)
    one = blues(found).pop()
    teal.blue.stop()
    teal.wait_log("share.diverted", color="blue", to="green")
    until(lambda: greeting(teal, one) == "green", "the worker knows")
    before = teal.metrics().get("teal_share_diverted_total", service="web", color="blue")
    assert set(sides(teal, few).values()) == {"green"}
    assert teal.status()["share"]["diverted"] == "blue"
    teal.wait_metric(before + len(blues(found)), "teal_share_diverted_total", service="web", color="blue")
    assert teal.metrics().get("teal_service_share", service="web", color="blue") == 0.5
    teal.blue.start()
    teal.wait_log("share.restored", color="blue")
    until(lambda: greeting(teal, one) == "blue", "the worker knows")
    assert sides(teal, few) == found


def named_site(conn, backend):
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        reader.body_of(m)
        conn.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(backend.name)}\r\n\r\n{backend.name}".encode())


def test_requests_follow_the_share_and_no_clients_connection_is_closed(web, backend):
    """HTTP/1 by the request, HTTP/2 by the stream, and a client is on one side whichever it speaks."""
    teal = web(green=[backend("green", named_site)], blue=[backend("blue", named_site)], mode="http", h2c=True,
               top={"workers": 2}, idle_timeout=0)
    few = CLIENTS[:100]
    with contextlib.ExitStack() as all_open:
        kept = {a: all_open.enter_context(Http(teal.address(), source=(a, 0))) for a in few}
        kept["127.0.0.1"] = all_open.enter_context(Http(teal.address()))
        streams = all_open.enter_context(Http2(teal.address()))

        def ask_all():
            found = {a: c.ask("/").body.decode() for a, c in kept.items()}
            assert streams.get("/").body.decode() == found["127.0.0.1"]
            return found
        assert set(ask_all().values()) == {"green"}
        before = set()
        for percent in (20, 60, 90):
            teal.ok("shift", "web", "blue", f"--to={percent}%")
            found = ask_all()
            check_share({a: found[a] for a in few}, percent)
            assert before <= blues(found), "went back"
            before = blues(found)
            # By a new connection, on whichever worker.
            for address in few[:10]:
                with Http(teal.address(), source=(address, 0)) as c:
                    assert c.ask("/").body.decode() == found[address]
        teal.ok("shift", "web", "blue", "--to=100%")
        assert set(ask_all().values()) == {"blue"}
        assert not streams.goaways
