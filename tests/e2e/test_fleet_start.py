"""How a Teal of a fleet begins: what it believes, before and after Redis has
spoken, and how it finds Redis at all."""
import os
import shutil
import threading
import time

import pytest

from helpers.fleet import refused
from helpers.scale import REPO, until



def is_refused(teal):
    try:
        teal.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_cold_start_waits_for_redis(fleet, redis):
    """Neither a state file nor an answer: nothing is bound, nothing is ready."""
    f = fleet(1, server=redis(start=False), start=0)
    teal = f[0].start(ready=False)
    until(lambda: teal.log_lines("store.down"), "it has tried")
    for n in range(3):
        teal.wait_log("redis.failed", n + 1)
        assert is_refused(teal)
        assert teal.http("/readyz")[0] == 503 and "store" in teal.http("/readyz")[1]
        assert teal.http("/healthz")[0] == 200
        s = teal.status()
        assert (s["active"], s["idle"]) == (None, None)
        assert f.store(teal)["up"] is False
    refused(teal.ctl("flip", "web", "blue"))
    assert teal.ctl("active", "web")["error"] == "store_unavailable"
    f.redis.start()
    teal.wait_ready()
    assert teal.connect().peer == "green"
    assert f.agree() == ("green", 1)


def test_a_start_without_redis_serves_what_was_known(fleet):
    f = fleet(2)
    f[0].ok("flip", "web", "blue")
    f.agree("blue", 2)
    for t in f:
        assert t.stop() == 0
    f.redis.kill()
    f[0].start()
    assert f[0].connect().peer == "blue"
    assert (f[0].status()["active"], f[0].status()["epoch"]) == ("blue", 2)
    refused(f[0].ctl("flip", "web", "green"))
    f[0].wait_log("store.last_known", service="web", color="blue")
    # Redis comes back empty: the first that knows tells it.
    f.redis.start()
    f.agree("blue", 2, among=f[:1])
    until(lambda: f.redis.hash(f.key()).get("epoch") == "2", "written")
    f[1].start()
    assert f.agree() == ("blue", 2)


def test_a_restart_never_serves_an_old_color(fleet):
    """The others have flipped meanwhile; what state_dir says is not believed
    while Redis can be asked."""
    f = fleet(2)
    f.wait_members()
    color = "green"
    for n in range(3):
        assert f[1].stop() == 0
        color = f[0].ok("flip", "web", "blue" if color == "green" else "green")["active"]
        met, stop = [], threading.Event()

        def knock():
            while not stop.is_set():
                try:
                    with f[1].connect() as c:
                        met.append(c.line())
                except OSError:
                    time.sleep(0.0005)
        t = threading.Thread(target=knock)
        t.start()
        f[1].start()
        until(lambda: len(met) > 20, "clients came")
        stop.set()
        t.join()
        assert set(met) == {color}, set(met)
        f.agree(color, n + 2)


def test_a_state_that_is_newer_than_the_store_counts(fleet):
    """Redis lost its last writes while nobody was there."""
    f = fleet(1)
    f[0].ok("flip", "web", "blue")
    dump = f.redis.save()
    f[0].ok("flip", "web", "green")
    f[0].ok("flip", "web", "blue")
    f[0].ok("flip", "web", "green")
    assert f[0].stop() == 0
    f.redis.load(dump)
    f[0].start()
    assert f.agree() == ("green", 5)
    until(lambda: f.redis.hash(f.key())["epoch"] == "5", "brought forward")
    assert f[0].connect().peer == "green"


def test_assume_initial_overrides_loudly(fleet, redis):
    f = fleet(1, server=redis(start=False), start=0, initial="blue")
    teal = f[0].start("--assume-initial")
    assert teal.connect().peer == "blue"
    line = teal.wait_log("store.assumed_initial", service="web")
    assert line["level"] == "warn" and line["color"] == "blue"
    refused(teal.ctl("flip", "web", "green"))
    # What Redis has to say counts all the same.
    f.redis.start()
    f.redis("HSET", f.key(), "color", "green", "epoch", "9", "previous", "blue", "change", "flip", "by", "x",
            "at", "2026-01-01T00:00:00Z", "reason", "", "locked", "", "forced", "")
    f.agree("green", 9)
    assert teal.connect().peer == "green"


def test_assume_initial_does_not_override_what_redis_says(fleet):
    f = fleet(2, start=1)
    f[0].ok("flip", "web", "blue")
    f[1].start("--assume-initial")
    assert f.agree() == ("blue", 2)
    assert not f[1].log_lines("store.assumed_initial")


def test_initial_is_for_the_first_time(fleet):
    f = fleet(2, start=1, initial="blue")
    assert f.agree() == ("blue", 1)
    f[1].settings["services"][0]["initial"] = "green"
    f[1].start()
    assert f.agree() == ("blue", 1)


def test_a_newcomer_in_an_emptied_store_does_not_begin_anew(fleet):
    """Redis forgets everything at the moment when a Teal without a state comes;
    the others know."""
    f = fleet(3, start=2)
    f[0].ok("flip", "web", "blue")
    f.agree("blue", 2)
    with f.load(among=f[:2]) as run:
        f[2].start(ready=False)
        for _ in range(20):
            f.redis("FLUSHALL")
            time.sleep(0.02)
        f[2].wait_ready()
        assert f.agree() == ("blue", 2)
        assert f[2].connect().peer == "blue"
    run.only("blue")


@pytest.mark.long
def test_a_service_that_only_one_of_them_has(fleet, backend, ports):
    """A flip waits for those whose heartbeats list the service."""
    f = fleet(2, start=0)
    from helpers.teald import service
    f[1].settings["services"].append(service("extra", listen=f"127.0.0.1:{ports.hold()}", green=[f.green],
                                             blue=[f.blue]))
    for t in f:
        t.start()
    f.wait_members()
    assert f[1].ok("flip", "extra", "blue")["changed"]
    f[0].kill()
    assert f[1].ok("flip", "extra", "green")["changed"]
    assert f[1].ctl("flip", "web", "blue")["error"] == "partial_fleet"


def test_two_prefixes_are_two_fleets(fleet, redis):
    server = redis()
    one, two = fleet(1, server=server), fleet(1, server=server, store={"prefix": "other:fleet"})
    one[0].ok("flip", "web", "blue")
    assert two.agree() == ("green", 1)
    assert len(two.members()) == 1


@pytest.mark.long
def test_a_copied_state_dir_makes_no_two_into_one(fleet):
    """The machine was cloned, with teald's identity on it: flips wait for both."""
    f = fleet(2, start=1)
    f[0].ok("flip", "web", "blue")
    shutil.copy(f[0].state_dir / "teal.id", f[1].state_dir / "teal.id")
    f[1].start()
    until(lambda: any(t.log_lines("store.twin") for t in f), "noticed")
    f.wait_members()
    assert len({m["id"] for m in f.members().values()}) == 2
    f[1].kill()
    r = f[0].ctl("flip", "web", "green")
    assert r["error"] == "partial_fleet" and str(f[1].pid) in r["message"], r


# ---- where Redis is, and who we are there ----

def test_by_unix_socket(fleet, redis):
    server = redis()
    f = fleet(2, server=server, urls=["unix://" + server.path] * 2)
    assert f[0].ok("flip", "web", "blue")["changed"]
    assert f.agree() == ("blue", 2)
    assert server.path in f.store()["where"]


def test_with_a_password_and_a_database(fleet, redis, tmp_path):
    server = redis(requirepass="correct-horse", password="correct-horse")
    (tmp_path / "pass").write_text("correct-horse\n")
    os.chmod(tmp_path / "pass", 0o600)
    f = fleet(2, server=server, urls=[f"redis://{server.address}/3"] * 2,
              store={"password_file": str(tmp_path / "pass")})
    assert f[0].ok("flip", "web", "blue")["changed"]
    server("SELECT", "3")
    assert server.hash(f.key())["color"] == "blue"


def test_a_wrong_password_is_said_and_never_shown(fleet, redis, tmp_path):
    server = redis(requirepass="correct-horse", password="correct-horse")
    (tmp_path / "pass").write_text("battery-staple")
    os.chmod(tmp_path / "pass", 0o600)
    f = fleet(1, server=server, start=0, store={"password_file": str(tmp_path / "pass")})
    teal = f[0].start(ready=False)
    line = teal.wait_log("store.down")
    assert "password" in line["reason"]
    assert "password" in f.store(teal)["problem"]
    refused(teal.ctl("flip", "web", "blue"))
    # Put right in the file, it is taken without a restart.
    (tmp_path / "pass").write_text("correct-horse")
    teal.wait_ready()
    assert teal.ok("flip", "web", "blue")["changed"]
    assert "battery" not in str(teal.logs) and "correct-horse" not in str(teal.logs)


def test_a_user_with_the_sample_acl_may_do_all_that_is_needed(fleet, redis, tmp_path):
    sample = REPO / "conf/redis-acl.conf"
    if not sample.exists():
        pytest.skip("no conf/redis-acl.conf")
    lines = [l for l in sample.read_text().splitlines() if l.startswith("user teal")]
    assert len(lines) == 1
    server = redis()
    words = lines[0].split()[2:]
    words = [w for w in words if not w.startswith((">", "#"))] + [">secret"]
    words = [w.replace("teal:prod", "teal:test") for w in words]
    server("ACL", "SETUSER", "teal", *words)
    (tmp_path / "pass").write_text("secret")
    os.chmod(tmp_path / "pass", 0o600)
    f = fleet(2, server=server, urls=[f"redis://teal@{server.address}/0"] * 2,
              store={"password_file": str(tmp_path / "pass")})
    f.wait_members()
    assert f[0].ok("flip", "web", "blue", "--reason=acl")["changed"]
    assert f[1].ok("history", "web")["history"][-1]["reason"] == "acl"
    f[0].ok("lock", "*", "--reason=x")
    f[1].ok("unlock", "*")
    assert f[1].stop() == 0
    assert len(f.members(f[0])) == 1
    f.wait_well()
    # It is limited to our keys and commands.
    from helpers.redis import Connection, RedisError
    c = Connection(("127.0.0.1", server.port))
    c.command("AUTH", "teal", "secret")
    for words in (("SET", "elsewhere", "1"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("SHUTDOWN",)):
        with pytest.raises(RedisError):
            c.command(*words)
    c.close()


def test_redis_cluster_is_refused_by_name(fleet, redis, ports):
    f = fleet(1, server=redis(cluster_enabled="yes", cluster_port=ports.hold()), start=0)
    teal = f[0].start(ready=False)
    line = teal.wait_log("store.down")
    assert "Redis Cluster" in line["reason"]
    assert "Redis Cluster" in f.store(teal)["problem"]
    r = refused(teal.ctl("flip", "web", "blue"))
    assert r["changed"] is False
    assert teal.http("/readyz")[0] == 503 and is_refused(teal)


def test_a_name_that_nobody_knows(fleet):
    f = fleet(1, urls=["redis://no-such-host.invalid:6379/0"], start=0)
    teal = f[0].start(ready=False)
    teal.wait_log("store.down")
    assert "no-such-host.invalid" in f.store(teal)["problem"]
    refused(teal.ctl("flip", "web", "blue"))
    assert teal.stop() == 0


def test_a_stop_while_redis_hangs_is_not_held_up(fleet, redis):
    f = fleet(2)
    f.wait_members()
    f.redis.pause()
    for t in f:
        assert t.stop() == 0
    f.redis.resume()


def test_a_stop_in_the_middle_of_a_flip(fleet):
    f = fleet(2)
    f.wait_members()
    f.redis.pause()
    with f[0].admin() as a:
        a.send("flip", "web", "blue")
        f[0].ok("whoami")   # by now it is begun
        f[0].signal()
        r = a.reply()
    assert not r["ok"] and r["changed"] in (False, None), r
    assert f[0].wait() == 0
    f.redis.resume()
    f.wait_up(among=f[1:])
    f.wait_readings(among=f[1:])
    assert f.agree(among=f[1:]) == ("green", 1)


@pytest.mark.parametrize("left", [b"\0" * 16, b"", b"0" * 16, b"0123", b"zzzzzzzzzzzzzzzz", b"\xff" * 4096])
def test_an_identity_that_never_reached_the_disk_is_made_anew(fleet, left):
    f = fleet(2, start=0)
    for t in f:
        (t.state_dir / "teal.id").write_bytes(left)
        t.start(ready=False)
    for t in f:
        t.wait_ready()
    f.wait_members(2, among=list(f))
    ids = {(t.state_dir / "teal.id").read_text() for t in f}
    assert len(ids) == 2 and all(len(i) == 16 and i.strip("0") for i in ids), ids
    assert not f[0].log_lines("store.twin")
