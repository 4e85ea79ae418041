"""Claims: two jobs of one team never deploy to one color. The idle color is one job's, by its token, until its
flip is stored, it lets go, or its time is over; whatever teald is asked, and whatever dies meanwhile."""
import json
import os
import re
import select
import signal
import subprocess
import threading

import pytest

from helpers import scale
from helpers.reload import rewrite
from helpers.scale import ME, SEED, dice, scaled, until
from helpers.upgrade import upgrade



def claim(teal, *more, ttl="600", reason="deploy 1"):
    return teal.ctl("claim", "web", f"--ttl={ttl}", f"--reason={reason}", *more)


def token_of(reply):
    assert reply["ok"] and re.fullmatch("[0-9a-f]{32}", reply["token"]), reply
    return "--token=" + reply["token"]


def refused(reply, error="claimed"):
    assert (reply["ok"], reply["error"], reply["changed"]) == (False, error, False), reply
    return reply["message"]


# ---- what it promises ----

def test_a_claim_says_where_to_deploy_and_bars_all_others(web):
    teal = web()
    r = claim(teal, ttl="30m", reason="deploy 8812")
    assert (r["service"], r["idle"], r["active"], r["epoch"], r["changed"]) == ("web", "blue", "green", 1, True)
    mine = token_of(r)
    seen = teal.status()["claimed"]
    assert (seen["by"], seen["reason"]) == (ME, "deploy 8812") and seen == r["claimed"]
    assert seen["at"] < seen["until"]
    # The same user, and with whatever force: it is not the job with the token.
    for words in (["flip", "web", "blue"], ["flip", "web", "blue", "--force"], ["flip", "web", "blue@1"],
                  ["flip", "web", "blue", "--wait-healthy=99999"], ["check", "web", "blue"],
                  ["check", "web", "blue", "--wait-healthy=99999"],
                  ["claim", "web", "--ttl=1m", "--reason=me, too"]):
        said = refused(teal.ctl(*words))
        assert f"claimed by {ME}" in said and "deploy 8812" in said and seen["until"] in said, said
        assert "release web --force" in said, said
    # Nothing is to be done: the active color is no question of claims.
    assert teal.ok("flip", "web", "green")["changed"] is False
    assert teal.ok("check", "web", "green")
    other = "--token=" + "0" * 32
    for words in (["flip", "web", "blue", other], ["check", "web", "blue", other], ["flip", "web", "green", other],
                  ["claim", "web", "--ttl=1m", "--reason=x", other]):
        assert "this token is another one's" in refused(teal.ctl(*words))
    assert teal.metrics().get("teal_service_claimed", service="web") == 1
    # By its token all of it goes.
    assert teal.ok("check", "web", "blue", mine)
    r = teal.ok("flip", "web", "blue", mine)
    assert (r["changed"], r["active"], r["epoch"]) == (True, "blue", 2)
    # Its flip has ended it.
    assert teal.status()["claimed"] is None
    assert teal.metrics().get("teal_service_claimed", service="web") == 0
    assert "does not hold any more" in refused(teal.ctl("flip", "web", "blue", mine), "conflict")
    assert "by " + ME in refused(teal.ctl("flip", "web", "green", mine), "conflict")
    assert teal.ok("flip", "web", "green")["epoch"] == 3
    m = teal.metrics()
    assert m.get("teal_flips_total", service="web", to="blue", result="claimed") == 5


def test_one_that_was_refused_keeps_its_claim(web):
    teal = web()
    mine = token_of(claim(teal))
    teal.blue.stop()
    refused(teal.ctl("flip", "web", "blue", mine), "unhealthy")
    refused(teal.ctl("flip", "web", "blue", mine, "--expect=blue"), "conflict")
    assert teal.status()["claimed"]
    teal.blue.start()
    assert teal.ok("flip", "web", "blue", mine, "--wait-healthy=60")["changed"]


def test_a_claim_that_is_kept_is_for_the_rollback(web):
    teal = web()
    mine = token_of(claim(teal))
    assert teal.ok("flip", "web", "blue", mine, "--keep-claim")["epoch"] == 2
    assert teal.status()["claimed"]["reason"] == "deploy 1"
    # What is idle now is what it may go back to: no other deploys there.
    refused(claim(teal))
    refused(teal.ctl("rollback", "web"))
    assert teal.ok("rollback", "web", mine)["epoch"] == 3
    assert teal.status()["claimed"] is None
    mine = token_of(claim(teal))
    teal.ok("flip", "web", "blue", mine, "--keep-claim")
    assert teal.ok("release", "web", mine)["changed"]
    assert teal.ok("rollback", "web")["changed"]


def test_it_is_released_by_its_token_or_by_force(web):
    teal = web()
    mine = token_of(claim(teal))
    r = teal.ok("release", "web", "--token=" + "1" * 32)
    assert r["changed"] is False and r["claimed"]["reason"] == "deploy 1"
    assert teal.ok("release", "web", mine)["changed"] is True
    # Cleaning up twice is fine.
    r = teal.ok("release", "web", mine)
    assert (r["changed"], r["claimed"]) == (False, None)
    token_of(claim(teal))
    assert teal.ok("release", "web", "--force", "--reason=its job hangs")["changed"] is True
    assert teal.ok("release", "web", "--force")["changed"] is False
    assert teal.wait_log("service.released", force=True)["reason"] == "its job hangs"
    audit = teal.wait_log("audit", command="release", force=True)
    assert (audit["result"], audit["reason"]) == ("ok", "its job hangs")
    kinds = [(h["kind"], h["result"], h["reason"]) for h in teal.ok("history", "web")["history"]]
    assert kinds == [("claim", "ok", "deploy 1"), ("release", "ok", None), ("claim", "ok", "deploy 1"),
                     ("release", "ok", "its job hangs")], kinds
    assert not any("token" in l for l in teal.logs), "tokens are for those who got them"


@pytest.mark.scales
def test_a_renewal_at_the_same_time_refuses_no_flip(web):
    """A job renews its claim beside all that it does, also while it flips."""
    teal, color = web(), "green"
    mine = token_of(claim(teal))
    for n in range(scaled(400, 20)):
        color = {"green": "blue", "blue": "green"}[color]
        with teal.admin() as renews, teal.admin() as flips:
            for _ in range(3):
                renews.send("claim", "web", "--ttl=600", "--reason=deploy 1", mine)
            flips.send("flip", "web", color, mine, "--keep-claim")
            r = flips.reply()
            assert (r["ok"], r.get("active"), r.get("epoch")) == (True, color, n + 2), r
            for _ in range(3):
                assert renews.reply()["ok"]
    assert teal.status()["claimed"]["reason"] == "deploy 1"


def test_it_ends_with_its_time(web):
    teal = web(clock=True)
    r = claim(teal, ttl="10m")
    mine = token_of(r)
    teal.clock.move(599)
    refused(teal.ctl("flip", "web", "blue"))
    # Renewed: the same token, and the time begins anew.
    again = claim(teal, mine, ttl="10m", reason="it takes long")
    assert again["token"] == r["token"] and again["claimed"]["until"] > r["claimed"]["until"]
    assert again["claimed"]["at"] == r["claimed"]["at"] and again["claimed"]["reason"] == "it takes long"
    assert teal.wait_log("service.claimed", renewed=True)
    # Not in the history: there renewals would push out the flips of others.
    assert [h["reason"] for h in teal.ok("history", "web")["history"] if h["kind"] == "claim"] == ["deploy 1"]
    teal.clock.move(599)
    refused(teal.ctl("flip", "web", "blue"))
    teal.clock.move(2)
    assert teal.wait_log("service.claim_expired")["reason"] == "it takes long"
    assert teal.status()["claimed"] is None
    # Another job may be at work by now: the token is refused, also for a renewal.
    assert "its time is over" in refused(teal.ctl("flip", "web", "blue", mine), "conflict")
    refused(claim(teal, mine), "conflict")
    assert teal.ok("release", "web", mine)["changed"] is False
    assert teal.ok("flip", "web", "blue")["changed"]


def test_a_lock_is_stronger(web):
    teal = web()
    mine = token_of(claim(teal))
    teal.ok("lock", "web", "--reason=freeze")
    assert teal.status()["claimed"] and teal.status()["locked"]
    refused(teal.ctl("flip", "web", "blue", mine), "locked")
    # Who would deploy for nothing is told before.
    refused(claim(teal, mine), "locked")
    teal.ok("release", "web", mine)
    refused(claim(teal), "locked")
    refused(claim(teal, "--wait=99999"), "locked")
    teal.ok("unlock", "web")
    token_of(claim(teal))


# ---- who waits ----

def begin(teal, *more, reason):
    a = teal.admin()
    a.send("claim", "web", "--ttl=600", f"--reason={reason}", *more)
    return a


def test_who_waits_gets_it_in_turn(web):
    teal = web()
    mine = token_of(claim(teal))
    with begin(teal, "--wait=99999", reason="second") as second:
        teal.ok("status")
        with begin(teal, "--wait=99999", reason="third") as third:
            teal.ok("status")
            teal.ok("flip", "web", "blue", mine)
            r = second.reply()
            assert (r["idle"], r["epoch"], r["claimed"]["reason"]) == ("green", 2, "second")
            teal.ok("release", "web", token_of(r))
            assert third.reply()["claimed"]["reason"] == "third"


def test_waiting_ends_with_the_time_the_lock_and_the_client(web):
    teal = web(clock=True)
    mine = token_of(claim(teal, ttl="1h"))
    with begin(teal, "--wait=60", reason="short of time") as a:
        teal.ok("status")
        teal.clock.move(61)
        refused(a.reply())
    with begin(teal, "--wait=60", reason="locked out") as a:
        teal.ok("status")
        teal.ok("lock", "web", "--reason=freeze")
        refused(a.reply(), "locked")
    teal.ok("unlock", "web")
    with begin(teal, "--wait=600", reason="killed"):
        teal.ok("status")
    assert teal.wait_log("audit", command="claim", reason="killed")["message"] == "its client left while it waited"
    teal.ok("release", "web", mine)
    assert teal.status()["claimed"] is None
    # And the time of the other's claim brings it on.
    token_of(claim(teal, ttl="300"))
    with begin(teal, "--wait=600", reason="patient") as a:
        teal.ok("status")
        teal.clock.move(301)
        token_of(a.reply())


@pytest.mark.parametrize("how", ["restart", "kill", "reload"])
def test_it_outlives_teald(web, how):
    teal = web()
    r = claim(teal)
    mine = token_of(r)
    if how == "restart":
        teal.restart()
    elif how == "kill":
        teal.kill()
        teal.start()
    else:
        rewrite(teal, services=[teal.settings["services"][0] | {"drain": {"timeout": 7.0}}])
        teal.ok("reload")
    assert teal.status()["claimed"] == r["claimed"]
    refused(teal.ctl("flip", "web", "blue"))
    # The history is what it was, too.
    assert [h["kind"] for h in teal.ok("history", "web")["history"]][0] == "claim"
    assert teal.ok("flip", "web", "blue", mine)["changed"]
    teal.restart()
    assert teal.status()["claimed"] is None


def test_a_teald_that_knows_no_claims_reads_what_it_knows(web):
    """The state file has nothing that an older one would refuse; the claims are beside it."""
    teal = web()
    mine = token_of(claim(teal))
    token = mine.split("=")[1]
    assert teal.stop() == 0
    state = (teal.state_dir / "teal.state").read_text()
    lines = json.loads(state.splitlines()[1])
    assert set(lines["services"][0]) == {"name", "color", "epoch", "change", "at_us", "by", "reason", "lock"}
    assert {l["change"] for l in lines["history"]} <= {"initial", "flip", "rollback", "lock", "unlock"}
    claims = (teal.state_dir / "teal.claims").read_text()
    assert json.loads(claims)["claims"][0]["reason"] == "deploy 1"
    assert token not in state and token not in claims
    teal.start()
    assert teal.status()["claimed"]
    teal.ok("release", "web", mine)
    # A damaged file costs the claims, and is told of; not the service.
    token_of(claim(teal))
    assert teal.stop() == 0
    (teal.state_dir / "teal.claims").write_text("{")
    teal.start()
    assert teal.wait_log("state.claims_lost")["reason"] == "is damaged, or no file of claims"
    assert teal.status()["claimed"] is None
    token_of(claim(teal))


# ---- tealctl ----

def test_tealctl_prints_what_a_shell_reads(web):
    teal = web()
    script = """set -eu
set -- $(tealctl claim web --ttl=30m --reason="deploy 1")
[ "$1 $2 $3 $4 $5" = "claimed web blue green 1" ]
if tealctl flip web blue; then exit 99; else [ $? = 4 ]; fi
if tealctl claim web --ttl=1m --reason=two; then exit 99; else [ $? = 4 ]; fi
tealctl flip web "$3" --token="$6"
if tealctl flip web green --token="$6"; then exit 99; else [ $? = 5 ]; fi
tealctl release web --token="$6"
"""
    env = os.environ | {"PATH": f"{scale.BUILD}:{os.environ['PATH']}", "TEAL_SOCKET": teal.admin_path}
    p = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=scale.patience())
    assert p.returncode == 0, (p.returncode, p.stdout, p.stderr)
    assert p.stdout.splitlines()[-1] == "released\tweb\tunchanged"
    claim(teal)
    p = teal.tealctl("status", check=0)
    assert [l for l in p.stdout.splitlines() if l.startswith("service\t")][0].endswith("\tclaimed"), p.stdout
    p = teal.tealctl("flip", "web", "green", "--token=", check=2)
    assert "did the claim fail?" in p.stderr


# ---- odd moments ----

def test_a_claim_goes_with_its_service_s_name(web):
    teal = web()
    r = claim(teal)
    rewrite(teal, services=[teal.settings["services"][0] | {"name": "shop", "rename": "web"}])
    teal.ok("reload")
    assert teal.status("shop")["claimed"] == r["claimed"]
    assert refused(teal.ctl("flip", "shop", "blue")).startswith("shop is claimed by")
    teal.restart()
    assert teal.ok("flip", "shop", "blue", token_of(r))["changed"]


def test_who_waits_for_a_service_that_goes_is_told(web, ports):
    teal = web()
    other = teal.settings["services"][0] | {"name": "other", "listen": f"127.0.0.1:{ports.hold()}"}
    rewrite(teal, services=[*teal.settings["services"], other])
    teal.ok("reload")
    token_of(claim(teal))
    with begin(teal, "--wait=99999", reason="in vain") as a:
        teal.ok("status")
        rewrite(teal, services=[other])
        teal.ok("reload")
        refused(a.reply(), "unknown_service")
    assert teal.ctl("claim", "web", "--ttl=60", "--reason=x")["error"] == "unknown_service"


@pytest.mark.scales
def test_a_crowd_that_waits_and_leaves(web):
    """Each of them gets it once, and none of those who left."""
    teal = web()
    mine = token_of(claim(teal))
    crowd = [begin(teal, "--wait=99999", reason=f"job {n}") for n in range(scaled(120, 40))]
    try:
        teal.ok("status")
        for a in crowd[::2]:
            a.close()
        teal.wait_log("audit", count=len(crowd[::2]), command="claim", message="its client left while it waited")
        teal.ok("release", "web", mine)
        left = {a.sock: a for a in crowd[1::2]}
        while left:
            # One at a time.
            ready = select.select(list(left), [], [], scale.patience())[0]
            assert len(ready) == 1, ready
            teal.ok("release", "web", token_of(left.pop(ready[0]).reply()))
    finally:
        for a in crowd:
            a.close()
    assert teal.status()["claimed"] is None


def test_who_waits_while_redis_is_away_waits_on(fleet):
    f = fleet(2)
    f.wait_members()
    mine = token_of(claim(f[0]))
    with begin(f[1], "--wait=99999", reason="patient") as a:
        f.redis.pause()
        f.wait_up(False)
        f.redis.resume()
        f.wait_up()
        f[0].ok("release", "web", mine)
        r = a.reply()
        assert r["ok"] and r["claimed"]["reason"] == "patient", r


# ---- an upgrade ----

def test_an_upgrade_takes_claims_along_and_those_who_wait(web):
    teal = web(start=False)
    teal.start(supervised=True)
    r = claim(teal)
    mine = token_of(r)
    with begin(teal, "--wait=99999", reason='patient "job" 2') as a:
        teal.ok("status")
        upgrade(teal)
        assert teal.status()["claimed"] == r["claimed"]
        refused(teal.ctl("flip", "web", "blue"))
        assert teal.ok("flip", "web", "blue", mine)["epoch"] == 2
        # It waits on in the process that serves now, on the same connection.
        waited = a.reply()
        assert (waited["idle"], waited["claimed"]["reason"]) == ("green", 'patient "job" 2'), waited
        upgrade(teal)
        assert teal.ok("flip", "web", "green", token_of(waited))["epoch"] == 3
    done = [h["kind"] for h in teal.ok("history", "web")["history"] if h["result"] == "ok"]
    assert done == ["claim", "flip", "claim", "flip"], done


# ---- a fleet ----

def test_a_claim_is_the_whole_fleet_s(fleet):
    f = fleet(2)
    f.wait_members()
    r = claim(f[0])
    mine = token_of(r)
    # At both, at once: the store is read first.
    for t in f:
        assert "deploy 1" in refused(t.ctl("flip", "web", "blue"))
        assert "deploy 1" in refused(claim(t))
    until(lambda: f[1].status()["claimed"] == r["claimed"], "seen by both")
    stored = f.redis.hash(f.key())["claimed"]
    assert r["token"] not in stored and json.loads(stored)["by"] == ME
    with begin(f[1], "--wait=99999", reason="second") as a:
        f[1].ok("status")
        assert f[0].ok("flip", "web", "blue", mine)["epoch"] == 2
        second = a.reply()
    assert (second["idle"], second["epoch"]) == ("green", 2)
    assert token_of(claim(f[1], token_of(second))) == token_of(second)  # a renewal is no line of the history
    refused(f[0].ctl("rollback", "web"))
    assert f[0].ok("release", "web", token_of(second))["changed"]
    assert f[1].ok("rollback", "web")["epoch"] == 3
    f.agree("green", 3)
    kinds = [h["kind"] for h in f[1].ok("history", "web")["history"]]
    assert [k for k in kinds if k in ("claim", "release")] == ["claim", "claim", "release"], kinds


def test_without_its_store_nothing_is_claimed_and_nothing_lost(fleet):
    f = fleet(2)
    f.wait_members()
    mine = token_of(claim(f[0]))
    # This Redis keeps nothing: what it loses is written again by those who have read it, the first that comes.
    until(lambda: f[1].status()["claimed"], "seen by both")
    f.redis.kill()
    f.wait_up(False)
    for words in (["claim", "web", "--ttl=60", "--reason=x"], ["release", "web", mine], ["claim", "web", "--ttl=60", "--reason=x", mine]):
        refused(f[1].ctl(*words), "store_unavailable")
    f.redis.start()
    f.wait_up()
    assert f[1].ok("flip", "web", "blue", mine)["epoch"] == 2


def test_one_that_redis_executes_late_is_none(fleet):
    """Redis stands still; what it finds in its socket afterwards is too old by its own clock."""
    f = fleet(2)
    f.wait_members()
    f.redis.pause()
    r = claim(f[0])
    f.redis.resume()
    assert not r["ok"] and r["error"] in ("store_unavailable", "unknown"), r
    f.wait_up()
    f.wait_readings()
    if r["changed"] is False:
        assert f[1].status()["claimed"] is None
    else:
        # It may have come in time: then its token is known.
        f[1].ok("release", "web", token_of(r | {"ok": True}))
    token_of(claim(f[1]))


# ---- pipelines ----

PIPELINE = """set -eu
fault() { echo "$JOB: $*" >> "$D/faults"; exit 97; }
claim=$(tealctl claim web --ttl=1h --wait=1h --reason="$JOB")
set -- $claim
color=$3 token=$6
: > "$D/$color.busy.$JOB"
for i in 1 2 3 4 5 6 7 8 9 10; do
	[ "$(ls "$D" | grep -c "^$color.busy")" = 1 ] || fault "two deploy to $color"
	if [ $i = 1 ]; then echo "$JOB" > "$D/$color.version"; else echo "$JOB" >> "$D/$color.version"; fi
done
[ "$(sort -u "$D/$color.version")" = "$JOB" ] || fault "another's version on $color"
[ "$(tealctl idle web)" = "$color" ] || fault "$color has the traffic"
rm "$D/$color.busy.$JOB"
tealctl flip web "$color" --token="$token" --timeout=300 --reason="$JOB"
"""


class Job:
    def __init__(self, teal, name, folder):
        env = os.environ | {"PATH": f"{scale.BUILD}:{os.environ['PATH']}", "TEAL_SOCKET": teal.admin_path,
                            "JOB": name, "D": str(folder)}
        self.name = name
        self.process = subprocess.Popen(["sh", "-c", PIPELINE], env=env, stdin=subprocess.DEVNULL, start_new_session=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.mark.long
@pytest.mark.scales
def test_racing_pipelines_never_deploy_to_one_color(fleet, tmp_path):
    """Pairs of jobs of one team, each through another Teal; of some pairs one is killed at a random moment, and an
    operator ends what it has left behind."""
    chance = dice()
    f = fleet(2)
    f.wait_members()
    done, killed = 0, set()

    def clean_up():
        for name in killed:
            for color in ("green", "blue"):
                (tmp_path / f"{color}.busy.{name}").unlink(missing_ok=True)
        held = f[0].status()["claimed"]
        if held and held["reason"] in killed:
            f[0].ok("release", "web", "--force", "--reason=its job was killed")

    for n in range(scaled(200, 10)):
        pair = [Job(f[i], f"job-{n}-{i}", tmp_path) for i in range(2)]
        if n % 2:
            victim = pair.pop(chance.randrange(2))
            threading.Event().wait(chance.random() * 0.15)
            victim.kill()
            # It may have flipped before.
            killed.add(victim.name)
        def ended():
            clean_up()
            return all(j.process.poll() is not None for j in pair)
        until(ended, f"pair {n} is over, seed {SEED}")
        for j in pair:
            out = j.process.communicate()[0]
            assert j.process.returncode == 0, (SEED, j.name, j.process.returncode, out)
            done += 1
        assert not (tmp_path / "faults").exists(), (SEED, (tmp_path / "faults").read_text())
    clean_up()
    until(lambda: not f[1].status()["claimed"], "nothing is left")
    color, epoch = f.agree()
    flipped = [h for h in f[0].ok("history", "web", "--last=1000")["history"] if h["kind"] == "flip" and h["result"] == "ok"]
    assert len(flipped) == epoch - 1 and done <= epoch - 1 <= done + len(killed)
    assert {h["reason"] for h in flipped} - killed == {f"job-{n}-{i}" for n in range(scaled(200, 10)) for i in range(2)} - killed
    # What has the traffic is what the last of them deployed, all of it.
    assert set((tmp_path / f"{color}.version").read_text().split()) == {flipped[-1]["reason"]}


def test_a_token_need_not_stand_in_a_list_of_processes(web):
    teal = web()

    def tealctl(*words, env=None, said=""):
        return subprocess.run([scale.BUILD / "tealctl", "-s", teal.admin_path, *words], input=said, capture_output=True,
                              text=True, timeout=2 * scale.patience(), env=os.environ | (env or {}))
    token = claim(teal)["token"]
    by_name = {"TEAL_CLAIM_TOKEN": token}
    assert tealctl("flip", "web", "blue").returncode == 4
    assert tealctl("check", "web", "blue", env=by_name).returncode == 0
    assert tealctl("check", "web", "blue", "--token=-", said=f"{token}\n").returncode == 0
    # What is said wins over the environment; what is asked without a token needs none.
    assert tealctl("check", "web", "blue", "--token=" + "0" * 32, env=by_name).returncode == 4
    assert tealctl("active", "web", env=by_name).stdout == "green\n"
    for env, said, words in (({}, "", "--token=-: standard input ends before a token"), ({}, "\n", "--token=-: the first line"),
                             ({}, "x" * 900, "--token=-: the first line"), ({}, "zzz\n", "--token is none that claim gave"),
                             ({"TEAL_CLAIM_TOKEN": "x" * 900}, None, "TEAL_CLAIM_TOKEN is no token"),
                             ({"TEAL_CLAIM_TOKEN": "a b"}, None, "--token is none that claim gave")):
        r = tealctl("flip", "web", "blue", *(["--token=-"] if said is not None else []), env=env, said=said or "")
        assert r.returncode == 2 and words in r.stderr, r
    assert tealctl("claim", "web", "--ttl=10m", "--reason=again", "--token", "-", said=token).returncode == 0
    assert tealctl("flip", "web", "blue", "--reason=mine", env=by_name).returncode == 0
    assert teal.status()["active"] == "blue" and teal.status()["claimed"] is None
    # A claim of another job's is ended by force, whatever token is at hand.
    claim(teal)
    assert tealctl("release", "web", "--force", env=by_name).returncode == 0
    assert teal.status()["claimed"] is None
