"""Every number that Redis may hold: one that is obeyed can be followed by the next change, and the others
are refused by name, with a way out that works."""
import json

import pytest

from helpers.scale import until

FREE = 1 << 52


def say_epoch(f, epoch, color="blue"):
    f.redis("HSET", f.key(), "color", color, "epoch", epoch)
    f.redis("PUBLISH", f.prefix + ":changed", "web")


@pytest.mark.parametrize("epoch", [FREE + 1, (1 << 53) - (1 << 20), (1 << 53) - 1, 1 << 53, (1 << 62) - 1,
                                   (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_an_epoch_that_nothing_could_follow_is_refused_and_DEL_mends_it(fleet, epoch):
    f = fleet(2)
    f.wait_members()
    assert f[0].ok("flip", "web", "blue")["epoch"] == 2
    f.agree("blue", 2)
    say_epoch(f, epoch, "green")
    for t in f:
        until(lambda t=t: "DEL the key" in (f.store(t)["problem"] or ""), "said, with the way out")
        line = t.wait_log("store.bad_record", key=f.key())
        assert line["level"] == "error" and str(epoch) in line["message"], line
    r = f[0].ctl("flip", "web", "green", "--force")
    assert (r["error"], r["changed"]) == ("store_unavailable", False) and "DEL the key" in r["message"], r
    assert f.agree() == ("blue", 2)
    # As the message says.
    f.redis("DEL", f.key())
    until(lambda: f.redis.hash(f.key()).get("epoch") == "2", "written again")
    assert f[1].ok("flip", "web", "green")["epoch"] == 3
    f.agree("green", 3)
    f.wait_well()


@pytest.mark.parametrize("epoch", [7, 1 << 31, 1 << 32, FREE - 1, FREE])
def test_an_epoch_that_is_obeyed_is_followed_by_others(fleet, epoch):
    f = fleet(3, start=2)
    f.wait_members()
    say_epoch(f, epoch)
    f.agree("blue", epoch)
    assert f[0].ok("flip", "web", "green")["epoch"] == epoch + 1
    assert f[1].ok("flip", "web", "blue")["epoch"] == epoch + 2
    f.agree("blue", epoch + 2)
    # A newcomer that knows nothing believes what its fleet has come to.
    f[2].start()
    f.agree("blue", epoch + 2)
    assert f[2].ok("flip", "web", "green")["epoch"] == epoch + 3
    f.redis("DEL", f.key())
    until(lambda: f.redis.hash(f.key()).get("epoch") == str(epoch + 3), "written again")
    f.agree("green", epoch + 3)


def test_a_heartbeat_makes_no_epoch_believed_that_nothing_could_follow(fleet):
    """It is the store that says it, too."""
    f = fleet(2)
    f.wait_members()
    last = (1 << 53) - (1 << 20)
    beat = json.loads(f.redis("GET", f"{f.prefix}:lb:" + f.members()[f[0].pid]["id"]))
    beat["services"]["web"]["applied"] = last
    f.redis("SET", f"{f.prefix}:lb:ghost", json.dumps(beat | {"id": "ghost", "pid": 1}))
    f.redis("ZADD", f.prefix + ":lbs", "9e15", "ghost")
    until(lambda: 1 in f.members(), "the heartbeat is read")
    say_epoch(f, last)
    for t in f:
        until(lambda t=t: "DEL the key" in (f.store(t)["problem"] or ""), "said, with the way out")
    f.redis("DEL", f.key(), f"{f.prefix}:lb:ghost")
    f.redis("ZREM", f.prefix + ":lbs", "ghost")
    until(lambda: f.redis.hash(f.key()).get("epoch") == "1", "written again")
    assert f.agree() == ("green", 1)


@pytest.mark.parametrize("at", [-(1 << 63), -1, (1 << 63) - 1, 253402300800000000])
def test_a_heartbeat_of_no_time_is_none(fleet, at):
    f = fleet(2)
    f.wait_members()
    beat = json.loads(f.redis("GET", f"{f.prefix}:lb:" + f.members()[f[0].pid]["id"]))
    f.redis("SET", f"{f.prefix}:lb:ghost", json.dumps(beat | {"id": "ghost", "at_us": at, "pid": 1}))
    f.redis("ZADD", f.prefix + ":lbs", "9e15", "ghost")
    assert f[0].ok("flip", "web", "blue")["changed"]
    f.agree("blue", 2)
    assert set(f.members()) == {t.pid for t in f}
