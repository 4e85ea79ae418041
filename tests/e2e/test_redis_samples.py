"""The samples for Redis and Sentinel, obeyed by real ones: a user with no more
rights than the sample gives carries a fleet, and a failover."""
import re

import pytest

from helpers import samples, scale
from helpers.redis import Connection, Redis, RedisError, Sentinel
from helpers.teald import service

PREFIX = "teal:prod"


@pytest.fixture
def redis(ports, closing, tmp_path):
    """redis(options): a server with the users of the sample."""
    acl = tmp_path / "redis-acl.conf"
    acl.write_text(samples.redis_acl({"teal": "secret", "sentinel": "change-me", "replica": "copy"}))

    def make(**options):
        return closing.add(Redis(ports.hold(), {"include": acl} | options, password="default")).start()
    return make


@pytest.fixture
def balancer(teal, backend, ports, tmp_path):
    """balancer(store keys): a running teald of the fleet."""
    password = tmp_path / "redis.pass"
    password.write_text("secret")
    password.chmod(0o600)
    green, blue = [backend("green")], [backend("blue")]

    def make(**store):
        return teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=green, blue=blue)],
                    store={"type": "redis", "prefix": PREFIX, "password_file": str(password)} | store)
    return make


def allowed(user):
    """The commands that the sample gives a user."""
    line = re.search(rf"^user {user} .*$", (samples.CONF / "redis-acl.conf").read_text(), re.M)[0]
    assert " -@all " in line
    return {w[1:] for w in line.split() if w.startswith("+")}


def used(redis):
    """The commands given since the last CONFIG RESETSTAT, also within scripts."""
    return set(re.findall(r"^cmdstat_([^:]+):", redis("INFO", "commandstats"), re.M))


def login(redis, user, password):
    c = Connection(("127.0.0.1", redis.port))
    c.command("AUTH", user, password)
    return c


def test_the_sample_lets_nobody_in_as_it_is(ports, closing, tmp_path):
    """Its hashes belong to no password, and who gives none is refused."""
    r = Redis(ports.hold(), {"include": samples.CONF / "redis-acl.conf"})
    closing.add(r).start(wait=False)

    def answer(*words):
        try:
            with_it = Connection(("127.0.0.1", r.port))
            closing.add(with_it)
            return with_it.command(*words)
        except RedisError as e:
            return str(e)
        except OSError:
            return None
    assert scale.until(lambda: answer("PING"), "redis answers").startswith("NOAUTH")
    for user in ("teal", "sentinel", "replica"):
        for password in ("", "0" * 64, "teal", "secret", "change-me"):
            assert answer("AUTH", user, password).startswith("WRONGPASS")


def test_its_user_can_do_all_that_teald_does_and_no_more_than_that(redis, balancer):
    r = redis()
    r("CONFIG", "RESETSTAT")
    url = f"redis://teal@127.0.0.1:{r.port}/1"      # of databases other than 0 each connection must select its own
    one, two = balancer(url=url), balancer(url=url)
    scale.until(lambda: len(one.ok("fleet")["fleet"]) == 2, "both know of each other")
    assert one.ok("flip", "web", "blue", "--reason=by the sample's user")["epoch"] == 2
    assert two.status()["active"] == "blue" and two.connect().peer == "blue"
    assert two.ctl("flip", "web", "green", "--expect=green")["error"] == "conflict"
    two.ok("lock", "web", "--reason=freeze")
    assert scale.until(lambda: one.status()["locked"], "the lock is seen")["reason"] == "freeze"
    one.ok("unlock", "web")
    scale.until(lambda: not two.status()["locked"], "the lock is gone")
    assert two.ok("rollback", "web")["active"] == "green"
    assert any(h["reason"] == "by the sample's user" for h in two.ok("history", "web")["history"])
    one.restart()
    assert one.status()["active"] == "green" and one.status()["epoch"] == 3
    # Empty all of a sudden: it is told again.
    r("FLUSHALL")
    r("SCRIPT", "FLUSH")
    two.ok("flip", "web", "blue")
    assert one.stop() == 0
    scale.until(lambda: [m["pid"] for m in two.ok("fleet")["fleet"]] == [two.pid], "one has said goodbye")
    assert r("ACL", "LOG") == []        # nothing was refused, not even within a script
    # What else this connection gave is not teald's.
    assert used(r) - {"auth", "config|resetstat", "acl|log", "flushall", "script|flush", "info"} == \
        allowed("teal") - {"info"}


def test_its_user_cannot_do_anything_else(redis):
    r = redis()
    r("SET", "teal:other:x", "secret")
    c = login(r, "teal", "secret")
    c.command("SET", f"{PREFIX}:x", "1")
    assert c.command("GET", f"{PREFIX}:x") == "1"
    for words in (["GET", "teal:other:x"], ["SET", "teal:prodx", "1"], ["SET", "x", "1"], ["FLUSHALL"], ["FLUSHDB"],
                  ["CONFIG", "GET", "*"], ["CONFIG", "SET", "dir", "/"], ["KEYS", "*"], ["SCAN", "0"], ["SHUTDOWN"],
                  ["DEBUG", "SLEEP", "1"], ["ACL", "WHOAMI"], ["MONITOR"], ["SCRIPT", "FLUSH"], ["REPLICAOF", "x", "1"],
                  ["PUBLISH", "teal:other:changed", "web"], ["SUBSCRIBE", "teal:other:changed"], ["PSUBSCRIBE", "*"],
                  ["EVAL", "return redis.call('GET', 'teal:other:x')", "0"], ["EVAL", "return 1", "1", "teal:other:x"],
                  ["EVAL", "return redis.call('FLUSHALL')", "0"], ["XREVRANGE", "teal:other:events", "+", "-"]):
        with pytest.raises(RedisError, match="NOPERM|can't run this command|can't access at least one of the keys"):
            c.command(*words)
    c.close()
    with pytest.raises(RedisError, match="NOAUTH"):
        Connection(("127.0.0.1", r.port)).command("GET", f"{PREFIX}:x")


@pytest.mark.long
@pytest.mark.nosan  # Redis' and Sentinel's; test_fleet_sentinel.py has teald's part
def test_the_fleet_outlives_a_failover_by_the_samples(redis, balancer, ports, closing, tmp_path):
    """Master, replica and a sentinel, each with the user the sample has for it."""
    own = {"masteruser": "replica", "masterauth": "copy", "repl-ping-replica-period": 1}
    master = redis(**own)
    replica = redis(**own, replicaof=f"127.0.0.1 {master.port}")
    scale.until(lambda: "master_link_status:up" in replica("INFO", "replication"), "the replica follows")
    sentinel = Sentinel(ports.hold(), master)
    text = samples.replace((samples.CONF / "sentinel.conf").read_text(), [
        ("port 26379", f"port {sentinel.port}"), ("bind 0.0.0.0", "bind 127.0.0.1"),
        ("dir /var/lib/redis", f"dir {sentinel.folder}"),
        ("sentinel monitor teal 10.0.0.5 6379 2", f"sentinel monitor teal 127.0.0.1 {master.port} 1"),
        ("down-after-milliseconds teal 2000", "down-after-milliseconds teal 600"),
        ("failover-timeout teal 10000", "failover-timeout teal 3000")])
    with open(sentinel.folder + "/redis.conf", "w") as f:
        f.write(text)
    closing.add(sentinel).start()
    scale.until(lambda: "slaves=1" in sentinel("INFO", "sentinel") and "status=ok" in sentinel("INFO", "sentinel"),
                "the sentinel knows both")
    teal = balancer(sentinels=[f"127.0.0.1:{sentinel.port}"], master="teal", user="teal")
    teal.ok("flip", "web", "blue")
    scale.until(lambda: replica("EXISTS", f"{PREFIX}:service:web"), "the flip is copied")
    master.kill()

    def took_over():
        try:
            return replica("ROLE")[0] == "master"
        except OSError:
            return False    # its clients are sent away when it does
    scale.until(took_over, "the replica takes over")
    scale.until(lambda: teal.ok("status")["store"]["up"], "teald has found it")
    assert teal.ok("flip", "web", "green")["epoch"] == 3
    assert replica.hash(f"{PREFIX}:service:web")["color"] == "green"
    assert teal.connect().peer == "green"
    assert replica("ACL", "LOG") == []
