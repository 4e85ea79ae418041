"""Redis behind Sentinel: found through it, and followed to another master."""
import pytest

from helpers.fleet import now, refused
from helpers.redis import Sentinel
from helpers.scale import until


def patient(sentinel, ms=600_000):
    """How long the master may say nothing before it counts as down: on a busy machine a well one is silent, too."""
    sentinel("SENTINEL", "SET", "mymaster", "down-after-milliseconds", ms)


@pytest.fixture
def guarded(redis, ports, closing):
    """A master, a replica of it, and a sentinel that watches both."""
    master = redis()
    replica = redis(replicaof=f"127.0.0.1 {master.port}", repl_diskless_load="disabled")
    until(lambda: "master_link_status:up" in replica("INFO", "replication"), "replicating")
    sentinel = closing.add(Sentinel(ports.hold(), master)).start()
    patient(sentinel)
    until(lambda: len(sentinel("SENTINEL", "REPLICAS", "mymaster")) == 1, "the sentinel knows the replica")
    return master, replica, sentinel


def store_of(sentinel):
    return {"sentinels": [f"127.0.0.1:{sentinel.port}"], "master": "mymaster"}


@pytest.mark.long
def test_the_master_is_found_through_sentinel(fleet, guarded):
    master, replica, sentinel = guarded
    f = fleet(2, server=master, store=store_of(sentinel))
    assert f[0].ok("flip", "web", "blue")["changed"]
    assert master.hash(f.key())["color"] == "blue"
    assert str(master.port) in f.store()["where"]


@pytest.mark.long
def test_a_failover_that_loses_the_last_write(fleet, guarded):
    """The replica is promoted without the last flip: the fleet brings it forward."""
    master, replica, sentinel = guarded
    f = fleet(2, server=master, store=store_of(sentinel))
    f.wait_members()
    f[0].ok("flip", "web", "blue")
    until(lambda: replica.hash(f.key()).get("epoch") == "2", "replicated")
    with f.load() as run:
        replica.pause()
        # Nor may it find the write in its socket when it wakes.
        assert master("CLIENT", "KILL", "TYPE", "replica") == 1
        r = f[1].ok("flip", "web", "green")
        since = r.at
        assert master.hash(f.key())["epoch"] == "3"
        master.kill()
        replica.resume()
        patient(sentinel, 600)
        refused(f[0].ctl("flip", "web", "blue"))
        until(lambda: "role:master" in replica("INFO", "replication"), "promoted")
        patient(sentinel)
        promoted = now()
        until(lambda: replica.hash(f.key()).get("epoch") == "3", "brought forward")
        f.wait_up()
        assert f.agree() == ("green", 3)
        print(f"together {now() - promoted:.2f} s after the promotion")
        run.more(6)
        until_then = now()
    assert any(t.log_lines("store.epoch_lower", store_epoch=2) for t in f)
    assert run.judge([(since, until_then, "green")]) > 10
    assert replica.hash(f.key())["color"] == "green"
    assert str(replica.port) in f.store()["where"]
    assert f[1].ok("flip", "web", "blue")["epoch"] == 4


def test_no_sentinel_answers(fleet, redis, ports):
    f = fleet(1, server=redis(start=False), start=0,
              store={"sentinels": [f"127.0.0.1:{ports.hold()}"], "master": "mymaster"})
    teal = f[0].start(ready=False)
    teal.wait_log("store.down")
    assert "entinel" in f.store(teal)["problem"]
    refused(teal.ctl("flip", "web", "blue"))
