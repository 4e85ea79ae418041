"""Redis fails in every way it can, under load: no request fails, no color moves,
flips fail clearly and never happen later, and the fleet comes together again."""
import os
import threading
import time

import pytest

from helpers.fleet import now, other, refused
from helpers.redis import RedisError
from helpers.scale import dice, sanitizer, scaled, until

def ctl_refused(teal, color):
    p = teal.tealctl("flip", "web", color, check=10)
    assert "store" in (p.stdout + p.stderr).lower() or "redis" in (p.stdout + p.stderr).lower(), p


def told(f, teal):
    """Status and metrics say that the store is away, and for how long."""
    store = f.store(teal)
    assert store["up"] is False and store["problem"] and store["where"], store
    m = teal.metrics()
    assert m.get("teal_store_up") == 0
    assert m.get("teal_store_age_seconds") >= 0


def live_through(f, break_it, mend, color="green", epoch=1, up=False):
    """Load, the fault, flips that are refused, the recovery; then a flip."""
    f.wait_members()
    with f.load() as run:
        run.more(3)
        break_it()
        # At once, and while it lasts.
        refused(f[0].ctl("flip", "web", other(color), "--reason=refused"))
        if not up:
            f.wait_up(False)
        for t in f:
            refused(t.ctl("flip", "web", other(color), "--reason=refused"))
            if not up:
                told(f, t)
        ctl_refused(f[1], other(color))
        before = [f.store(t)["age"] for t in f]
        if not up:
            until(lambda: all(f.store(t)["age"] > b for t, b in zip(f, before)), "it grows older")
        for t in f:
            s = t.status()
            assert (s["active"], s["epoch"]) == (color, epoch)
        mend()
        f.wait_up()
        f.agree(color, epoch)
        # A refused flip would come now.
        f.wait_readings()
        f.agree(color, epoch)
    run.only(color)
    record = f.redis.hash(f.key())
    assert (record["color"], record["epoch"]) == (color, str(epoch)), record
    assert not [h for h in f[0].ok("history", "web")["history"] if h["reason"] == "refused" and h["result"] == "ok"]
    f.wait_members()
    # The store has a second for its answer; where that is too short, nothing was changed.
    r = until(lambda: (r := f[-1].ctl("flip", "web", other(color)))["changed"] is not False and r, "a flip")
    assert (r["ok"], r["changed"], r["epoch"]) == (True, True, epoch + 1), r
    assert {t.connect().peer for t in f} == {other(color)}


def test_redis_dies_and_comes_back_empty(fleet):
    """Nothing was saved: the fleet writes its last known state again."""
    f = fleet(3)
    f[0].ok("flip", "web", "blue")
    live_through(f, f.redis.kill, f.redis.start, "blue", 2)


def test_redis_dies_and_comes_back_as_it_was(fleet, redis):
    f = fleet(3, server=redis(appendonly="yes", appendfsync="always"))
    f[0].ok("flip", "web", "blue")
    live_through(f, f.redis.kill, f.redis.start, "blue", 2)
    assert not f[0].log_lines("store.empty")


@pytest.mark.tsan
def test_redis_is_stopped(fleet):
    """SIGSTOP: the kernel still takes what is sent to it, and gives it to the
    server when it wakes."""
    f = fleet(3)
    live_through(f, f.redis.pause, f.redis.resume)


@pytest.mark.parametrize("mode", ["hang", "cut"])
def test_the_network_to_redis_fails(fleet, redis, proxy, mode):
    server = redis()
    p = proxy(server)
    f = fleet(3, server=server, urls=[p.url] * 3)
    live_through(f, lambda: p.set(mode), lambda: p.set("pass"))


@pytest.mark.long
def test_redis_is_too_slow(fleet, redis, proxy):
    server = redis()
    p = proxy(server)
    f = fleet(3, server=server, urls=[p.url] * 3)
    live_through(f, lambda: p.set("delay", 1.5), lambda: p.set("pass"))


def test_redis_is_slow_but_answers(fleet, redis, proxy):
    """A fifth of a second each way: flips take their time, and are true; a connection that is lost is made again,
    though all that is asked of a server before it is used takes longer than connect_timeout."""
    server = redis()
    p = proxy(server)
    f = fleet(2, server=server, urls=[p.url, server.url])
    f.wait_members()
    with f.load() as run:
        p.set("delay", 0.2)
        p.cut()
        # Where the machine takes the rest of its second, it is not known whether it was written, and asked again.
        since = until(lambda: (r := f[0].ctl("flip", "web", "blue"))["ok"] and r, "a flip").at
        run.more(3)
        until_then = now()
        assert f.agree() == ("blue", 2)
        assert f[1].ok("flip", "web", "green")["changed"]
        f.agree("green", 3)
    assert run.judge([(since, until_then, "blue")]) >= 3


def rubbish(data):
    return os.urandom(200)


def huge_bulk(data):
    return b"$999999999\r\n" + b"x" * 65536


def huge_array(data):
    return b"*100000000\r\n" + b":1\r\n" * 10000


def nested(data):
    return b"*1\r\n" * 100000


def endless_line(data):
    return b"+" + b"o" * 100000


def numbers(data):
    return b":1\r\n" * 20


def empty_bulk(data):
    return b"$-1\r\n"


def hello_then(answer):
    """A server that greets properly, and answers scripts with that."""
    def server(data):
        out = b""
        for command in data.split(b"*")[1:]:
            word = command.split(b"\r\n")[2].upper() if command.count(b"\r\n") > 2 else b""
            if word == b"PING":
                out += b"+PONG\r\n"
            elif word == b"ROLE":
                out += b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
            elif word == b"INFO":
                out += b"$17\r\ncluster_enabled:0\r\n"
            elif word == b"SUBSCRIBE":
                out += b"*3\r\n$9\r\nsubscribe\r\n$17\r\nteal:test:changed\r\n:1\r\n"
            elif word in (b"EVALSHA", b"EVAL"):
                out += answer
        return out
    return server


@pytest.mark.parametrize("talk", [
    rubbish, huge_bulk, huge_array, nested, endless_line, numbers, empty_bulk,
    pytest.param(hello_then(b"+OK\r\n"), id="a-word-for-a-reading"),
    pytest.param(hello_then(b"*5\r\n$1\r\n1\r\n$1\r\n1\r\n*0\r\n*0\r\n*0\r\n"), id="no-services"),
    pytest.param(hello_then(b"*5\r\n$1\r\nx\r\n$1\r\n1\r\n*1\r\n*0\r\n*0\r\n*0\r\n"), id="no-time"),
    pytest.param(hello_then(b"-NOPERM this user has no permissions\r\n"), id="noperm"),
    pytest.param(hello_then(b"$20000000\r\n" + b"y" * 100000), id="a-huge-reading")])
def test_redis_talks_rubbish(fleet, redis, proxy, talk):
    server = redis()
    p = proxy(server)
    f = fleet(2, server=server, urls=[p.url] * 2)
    live_through(f, lambda: p.set(talk), lambda: p.set("pass"))
    assert all(t.rss() < 200e6 for t in f) or sanitizer()


def test_redis_wants_a_password_all_of_a_sudden(fleet, redis):
    server = redis()
    f = fleet(3, server=server)

    def lock_out():
        server("CONFIG", "SET", "requirepass", "secret")
        server.password = "secret"
        server("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        server("CLIENT", "KILL", "TYPE", "pubsub")

    def let_in():
        until(lambda: any("password" in l["reason"] for l in f[0].log_lines("store.down")), "the reason is told")
        server("CONFIG", "SET", "requirepass", "")
    live_through(f, lock_out, let_in)


def test_redis_takes_no_writes(fleet, redis):
    """Its memory is full: what is known stays, flips are refused."""
    server = redis()
    f = fleet(3, server=server)

    def fill():
        server("CONFIG", "SET", "maxmemory", "1")
    live_through(f, fill, lambda: server("CONFIG", "SET", "maxmemory", "0"), up=True)


def test_redis_becomes_a_replica(fleet, redis):
    server, elsewhere = redis(), redis()
    f = fleet(3, server=server)
    live_through(f, lambda: server("REPLICAOF", "127.0.0.1", elsewhere.port),
                 lambda: server("REPLICAOF", "NO", "ONE"))


def test_a_key_of_another_type(fleet):
    f = fleet(3)

    def spoil():
        f.redis("DEL", f.key())
        f.redis("SET", f.key(), "green")
        for t in f:
            until(lambda t=t: f.key() in (f.store(t)["problem"] or ""), "noticed")
    live_through(f, spoil, lambda: f.redis("DEL", f.key()), up=True)


@pytest.mark.parametrize("field,value", [
    ("epoch", "abc"), ("epoch", "-1"), ("epoch", "0"), ("epoch", ""), ("epoch", "9" * 30), ("epoch", "1e3"),
    ("color", "purple"), ("color", ""), ("color", "green\x00blue"), ("locked", "yes"), ("locked", "{}")])
def test_a_field_that_makes_no_sense(fleet, field, value):
    f = fleet(2)
    f[0].ok("flip", "web", "blue")
    good = f.redis.hash(f.key())[field]
    f.redis("HSET", f.key(), field, value)
    for t in f:
        until(lambda t=t: f.key() in (f.store(t)["problem"] or ""), "noticed")
        assert (t.status()["active"], t.status()["epoch"]) == ("blue", 2)
        refused(t.ctl("flip", "web", "green"))
        t.wait_log("store.bad_record", key=f.key())
    f.redis("HSET", f.key(), field, good)
    for t in f:
        f.wait_well(t)
    assert f[1].ok("flip", "web", "green")["epoch"] == 3


def test_other_keys_of_another_type(fleet):
    """Heartbeats and history cannot be kept; nothing else suffers."""
    f = fleet(2)
    for key in (":lbs", ":events", ":left"):
        f.redis("DEL", f.prefix + key)
        f.redis("SET", f.prefix + key, "x")
    with f.load(clients=3) as run:
        until(lambda: "heartbeat" in (f.store()["problem"] or ""), "told")
        assert f.agree() == ("green", 1)
    run.only("green")
    for key in (":lbs", ":events", ":left"):
        f.redis("DEL", f.prefix + key)
    f.wait_members()
    assert f[0].ok("flip", "web", "blue")["changed"]


@pytest.mark.tsan
def test_flushall(fleet):
    """The fleet knows, and writes it again; nobody is forgotten."""
    f = fleet(3)
    f.wait_members()
    f[0].ok("flip", "web", "blue")
    f[1].ok("lock", "web", "--reason=keep me")
    with f.load() as run:
        for _ in range(scaled(20, 3)):
            f.redis("FLUSHALL")
            # Nobody is alone all of a sudden.
            assert len(f.members(f[2])) == 3
            until(lambda: f.redis.hash(f.key()).get("epoch") == "2", "written again")
            assert f.redis.hash(f.key())["color"] == "blue" and "keep me" in f.redis.hash(f.key())["locked"]
            f.agree("blue", 2)
            until(lambda: len([k for k in f.redis("KEYS", f.prefix + ":lb:*")]) == 3, "heartbeats")
    run.only("blue")
    f[0].ok("unlock", "web")
    assert f[0].ok("flip", "web", "green")["epoch"] == 3


def test_flips_in_the_middle_of_flushalls_stay_true(fleet):
    """Whatever is forgotten between two commands, applied means everybody."""
    f = fleet(3)
    f.wait_members()
    windows, color, stop, chance = [], "green", threading.Event(), dice()

    def flush():
        while not stop.wait(chance.uniform(0.02, 0.2)):
            f.redis("FLUSHALL")
    with f.load() as run:
        t = threading.Thread(target=flush)
        t.start()
        try:
            epoch = 1
            for n in range(scaled(200, 15)):
                r = f[n % 3].ctl("flip", "web", other(color))
                if r.get("changed"):
                    color, epoch = other(color), epoch + 1
                    assert r["epoch"] == epoch, r
                else:
                    assert r["error"] in ("conflict", "store_unavailable"), r
                windows.append((r.at, None, color))
                run.more(2)
                windows[-1] = (r.at, now(), color)
        finally:
            stop.set()
            t.join()
        f.agree(color, epoch)
    assert run.judge(windows) >= 2 * len(windows)


def test_an_older_dump(fleet):
    """Redis goes back in time: a lower epoch is refused, reported, and brought
    forward."""
    f = fleet(3)
    f[0].ok("flip", "web", "blue")
    dump = f.redis.save()
    f[1].ok("flip", "web", "green")
    f[2].ok("flip", "web", "blue")
    f[0].ok("flip", "web", "green")
    f.agree("green", 5)
    with f.load() as run:
        f.redis.load(dump)
        assert f.redis.hash(f.key())["color"] in ("blue", "green")
        f.wait_up()
        until(lambda: f.redis.hash(f.key())["epoch"] == "5", "brought forward")
        f.agree("green", 5)
    run.only("green")
    assert any(t.log_lines("store.epoch_lower") for t in f)
    assert f[0].ok("flip", "web", "blue")["epoch"] == 6


# ---- another writer ----

def write(f, color, epoch, hint=True):
    f.redis("HSET", f.key(), "color", color, "epoch", epoch, "previous", other(color), "change", "flip",
            "by", "somebody", "at", "2026-01-02T03:04:05Z", "reason", "by hand", "locked", "", "forced", "")
    if hint:
        f.redis("PUBLISH", f.prefix + ":changed", "web")


@pytest.mark.parametrize("hint", [True, False])
def test_a_foreign_writers_higher_epoch_is_obeyed(fleet, hint):
    f = fleet(2)
    write(f, "blue", 40, hint)
    f.agree("blue", 40)
    assert {t.connect().peer for t in f} == {"blue"}
    s = f[0].status()
    assert (s["changed_by"], s["reason"], s["changed_at"]) == ("somebody", "by hand", "2026-01-02T03:04:05.000Z")
    assert f[0].ok("rollback", "web")["epoch"] == 41


def test_a_foreign_writer_cannot_move_traffic_to_a_dead_color(fleet, backend):
    blue = backend("blue", start=False)
    f = fleet(2, blue=blue)
    with f.load() as run:
        write(f, "blue", 7)
        for t in f:
            until(lambda t=t: "refused" in (f.store(t)["problem"] or ""), "reported")
            assert "blue" in f.store(t)["problem"] and "7" in f.store(t)["problem"]
            line = t.wait_log("store.refused", service="web")
            assert (line["level"], line["store_color"], line["store_epoch"]) == ("error", "blue", 7)
            assert (t.status()["active"], t.status()["epoch"]) == ("green", 1)
        f.wait_readings()
        assert f.agree() == ("green", 1)
        assert f[0].ctl("flip", "web", "blue")["error"] == "unhealthy"
    run.only("green")
    # Said once, not with every reading.
    assert len(f[0].log_lines("store.refused")) == 1
    # Once it is well, it is obeyed.
    blue.start()
    f.agree("blue", 7)
    f.wait_well()


def test_what_is_refused_can_be_flipped_over(fleet, backend):
    blue = backend("blue", start=False)
    f = fleet(2, blue=blue)
    write(f, "blue", 7)
    for t in f:
        until(lambda t=t: "refused" in (f.store(t)["problem"] or ""), "reported")
    # Who only waits settles nothing.
    r = f[0].ctl("wait", "web", "--for=applied")
    assert (r["ok"], r["error"]) == (False, "conflict") and "not what the store says" in r["message"], r
    assert f.redis.hash(f.key())["epoch"] == "7"
    # Green is what is served; saying so settles it.
    r = f[0].ok("flip", "web", "green", "--reason=stay")
    assert (r["changed"], r["active"], r["epoch"]) == (True, "green", 8)
    assert f.agree() == ("green", 8)
    f.wait_well()
    blue.start()
    until(lambda: f[0].ctl("check", "web", "blue")["ok"], "well")
    assert f.agree() == ("green", 8)


def test_the_same_epoch_with_another_color(fleet):
    """The store's word counts, with an alarm."""
    f = fleet(2)
    f[0].ok("flip", "web", "blue")
    write(f, "green", 2)
    f.agree("green", 2)
    for t in f:
        line = t.wait_log("store.disagrees", service="web")
        assert (line["level"], line["store_color"], line["color"]) == ("error", "green", "blue")
        until(lambda t=t: t.connect().peer == "green", "green")
    assert f[1].ok("flip", "web", "blue")["epoch"] == 3


# ---- writes whose answers are lost ----

@pytest.mark.scales
@pytest.mark.long
def test_a_refused_flip_never_happens_later(fleet):
    """Redis is stopped at any moment of a flip.  Of each flip the reply and the
    history agree: refused ones are in no epoch, true ones in exactly one."""
    f = fleet(2)
    f.wait_members()
    replies, chance = [], dice()
    for n in range(scaled(100, 6)):
        color, epoch = f.agree()

        def ask():
            replies.append((n, f[n % 2].ctl("flip", "web", other(color), f"--reason=n{n}")))
        t = threading.Thread(target=ask)
        t.start()
        time.sleep(chance.uniform(0.0, 0.008))
        f.redis.pause()
        t.join()
        f.redis.resume()
        f.wait_up()
        f.wait_readings()
        after = f.agree()
        r = replies[-1][1]
        if r["changed"] is True:
            assert after == (other(color), epoch + 1), (r, after)
        elif r["changed"] is False:
            assert r["error"] == "store_unavailable", r
            assert after == (color, epoch), (r, after)
        else:
            assert (r["error"], r["changed"]) == ("unknown", None), r
            assert after in ((color, epoch), (other(color), epoch + 1))
            # As the message says: repeating with --expect is safe.
            again = f[0].ctl("flip", "web", other(color), f"--expect={color}@{epoch}")
            assert again["ok"] or again["error"] == "conflict", again
        f.wait_members()
    words = {("ok" if r["ok"] else r["error"]) for _, r in replies}
    print(f"{len(replies)} flips: {words}")
    done = [h for h in f[0].ok("history", "web", "--last=1000")["history"] if h["result"] == "ok"]
    epochs = [h["epoch"] for h in done]
    assert epochs == sorted(set(epochs)), epochs


@pytest.mark.scales
def test_a_cut_connection_in_the_middle_of_a_write(fleet, redis, proxy):
    """The answer is lost, the store is there: what happened is read, not guessed."""
    server = redis()
    p = proxy(server)
    f = fleet(2, server=server, urls=[p.url, server.url])
    f.wait_members()
    chance = dice()
    for n in range(scaled(100, 10)):
        color, epoch = f.agree()
        cutter = threading.Timer(chance.uniform(0.0, 0.006), p.cut)
        cutter.start()
        r = f[0].ctl("flip", "web", other(color))
        cutter.join()
        after = f.agree()
        if r.get("changed"):
            assert after == (other(color), epoch + 1), (r, after)
        elif r.get("changed") is False:
            assert after == (color, epoch), (r, after)
            assert r["error"] == "store_unavailable", r
        f.wait_up()


# ---- cut off ----

@pytest.mark.long
def test_two_teals_cut_off_from_each_other(fleet, redis, proxy):
    """One of them loses Redis: it serves on, it is named, it catches up."""
    server = redis()
    p = proxy(server)
    f = fleet(2, server=server, urls=[server.url, p.url])
    f.wait_members()
    with f.load() as run:
        p.set("hang")
        r = f[0].ctl("flip", "web", "blue")
        assert (r["ok"], r["error"], r["changed"]) == (False, "partial_fleet", True), r
        assert str(f[1].pid) in r["message"]
        refused(f[1].ctl("flip", "web", "blue"))
        assert f[1].status()["active"] == "green"
        assert [m["pid"] for m in f.members(f[0]).values() if m["missing"]] == [f[1].pid]
        p.set("pass")
        f.agree("blue", 2)
        since = now()
        run.more(3)
        until_then = now()
    assert run.judge([(since, until_then, "blue")]) >= 6
    f.wait_members()
    assert f[1].ok("flip", "web", "green")["changed"]


def test_the_hints_are_only_hints(fleet, redis):
    """Without pub/sub the hash is read all the same."""
    server = redis()
    f = fleet(2, server=server)
    f.wait_members()
    server("ACL", "SETUSER", "default", "resetchannels")
    server("CLIENT", "KILL", "TYPE", "pubsub")
    f[0].ok("flip", "web", "blue")
    assert f.agree() == ("blue", 2)
    with pytest.raises(RedisError):
        server("PUBLISH", f.prefix + ":changed", "web")
