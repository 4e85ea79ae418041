"""A record in Redis has fields, and each verb means some of them: the others stay, byte for byte,
whoever writes; so does what other programs keep in the same hash."""
import json
import signal

import pytest

from helpers.fleet import other
from helpers.scale import until

COLOR = {"color", "epoch", "previous", "change", "by", "at", "reason", "forced"}
FIELDS = COLOR | {"locked", "claimed"}


def lock(f, t):
    assert t.ok("lock", "web", "--reason=freeze \"now\" \u00fc")["changed"]


def unlock(f, t):
    assert t.ok("unlock", "web")["changed"]


def claim(f, t):
    """Until long after the story."""
    if not t.status()["claimed"]:
        f.token = "--token=" + t.ok("claim", "web", "--ttl=24h", "--reason=deploy \"1\" \u00fc")["token"]


def claim_again(f, t):
    assert t.ok("claim", "web", "--ttl=48h", "--reason=renewed", f.token)["changed"]


def release(f, t):
    assert t.ok("release", "web", f.token)["changed"]


def flip_claimed(f, t, *more):
    return flip(f, t, f.token, *more)


def flip(f, t, *more):
    assert t.ok("flip", "web", other(t.status()["active"]), "--reason=why", *more)["changed"]


def rollback(f, t):
    assert t.ok("rollback", "web")["changed"]


def again(f, t):
    """Another epoch of the same color, written by another program."""
    record = f.redis.hash(f.key())
    f.redis("HSET", f.key(), "epoch", int(record["epoch"]) + 1)
    f.agree(record["color"], int(record["epoch"]) + 1)


def forget(f, t):
    f.redis("DEL", f.key())


def go_back(f, t):
    f.redis("HSET", f.key(), "color", "green", "epoch", 1, "forced", "", "locked", "", "reason", "old", "by", "old",
            "change", "initial", "previous", "", "at", "2001-01-01T00:00:00Z")


def restart_forgetful(f, t):
    """What is written again comes from the disk."""
    for x in f:
        assert x.stop() == 0
    f.redis("FLUSHALL")
    for x in f:
        x.start()


# The verb, and the fields it means; what a store that has lost its memory is told again means none.
VERBS = {"flip": (flip, COLOR), "flip --force": (lambda f, t: flip(f, t, "--force"), COLOR),
         "rollback": (rollback, COLOR), "lock": (lock, {"locked"}), "unlock": (unlock, {"locked"}),
         "a foreign epoch": (again, {"epoch"}), "DEL": (forget, set()), "an old record": (go_back, set()),
         "FLUSHALL and a restart": (restart_forgetful, set()),
         "claim": (claim, {"claimed"}), "release": (release, {"claimed"}), "claim --token": (claim_again, {"claimed"}),
         "flip --token": (flip_claimed, COLOR | {"claimed"}),
         "flip --keep-claim": (lambda f, t: flip_claimed(f, t, "--keep-claim"), COLOR | {"claimed"})}
OF_CLAIMS = ("release", "claim --token", "flip --token", "flip --keep-claim")
# What is there before: a flip that is forced or not, a lock or none.
STORIES = {"flipped": [flip], "forced": [lambda f, t: flip(f, t, "--force")], "rolled back": [flip, rollback]}


def fields(f):
    """No claim is an empty field or none."""
    return {k: v for k, v in f.redis.hash(f.key()).items() if k != "claimed" or v}


@pytest.mark.long
@pytest.mark.parametrize("before", STORIES)
def test_each_verb_changes_the_fields_it_means_and_no_other(fleet, before):
    f = fleet(2)
    f.wait_members()
    for name, (verb, means) in VERBS.items():
        for locked, claimed in ((False, False), (True, False), (False, True), (True, True)):
            if locked and means >= COLOR or name == "lock" and locked or name == "unlock" and not locked:
                continue  # refused, or without effect
            if claimed and (means == COLOR or name == "claim") or not claimed and name in OF_CLAIMS:
                continue
            if locked and name.startswith("claim"):
                continue
            for act in STORIES[before]:
                act(f, f[0])
            if name == "rollback" and before == "rolled back":
                flip(f, f[0])  # it has nothing to go back from
            if claimed:
                claim(f, f[0])
            if locked:
                lock(f, f[1])
            f.agree()
            # Both have the whole record: what each says of the lock comes from the same reading.
            until(lambda: {(bool(s["locked"]), bool(s["claimed"])) for s in (t.status() for t in f)} == {(locked, claimed)},
                  "the lock and the claim are known")
            f.redis("HSET", f.key(), "ticket", "OPS-1")
            was = fields(f)
            verb(f, f[1])
            gone = {"ticket"} if name in ("DEL", "FLUSHALL and a restart") else set()
            until(lambda: f.redis.hash(f.key()).get("epoch") == was["epoch"] or "epoch" in means, "written")
            f.agree()
            now = fields(f)
            changed = {k for k in was | now if was.get(k) != now.get(k)}
            assert changed <= means | gone, (before, name, locked, was, now)
            assert not (FIELDS - means) & changed, (before, name, locked, was, now)
            if means:
                assert changed & means, (before, name)
            if now["locked"]:
                unlock(f, f[0])
            if f[0].status()["claimed"]:
                f[0].ok("release", "web", "--force")


def test_a_lock_after_a_forced_flip_leaves_it_forced(fleet, backend):
    """One that was cut off meanwhile obeys the others' color, though it sees no healthy backend of it."""
    blue = backend("blue", start=False)
    f = fleet(2, blue=blue)
    f.wait_members()
    f[1].signal(signal.SIGSTOP)
    r = f[0].ctl("flip", "web", "blue", "--force", "--wait=none")
    assert r["changed"], r
    assert f[0].ok("lock", "web", "--reason=freeze")["changed"]
    assert f.redis.hash(f.key())["forced"] == "1"
    f[1].signal(signal.SIGCONT)
    assert f.agree() == ("blue", 2)
    f.wait_well(f[1])


def test_a_lock_that_was_replaced_is_not_taken_away(fleet):
    """unlock is for the lock that was seen."""
    f = fleet(1)
    assert f[0].ok("lock", "web", "--reason=one")["changed"]
    lock = json.loads(f.redis.hash(f.key())["locked"])
    # Replaced so often that one of the unlocks comes between the write and the next reading.
    for n in range(50):
        mine = json.dumps(lock | {"reason": f"of another, {n}"})
        f.redis("HSET", f.key(), "locked", mine)
        r = f[0].ctl("unlock", "web")
        if r["ok"]:
            # It had been read.
            assert f.redis.hash(f.key())["locked"] == ""
            f[0].ok("lock", "web", "--reason=one")
            continue
        assert r["error"] == "conflict", r
        assert f.redis.hash(f.key())["locked"] == mine
        break
    else:
        raise AssertionError("each was read before")
