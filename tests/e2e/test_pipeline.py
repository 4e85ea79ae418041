"""What a deployment's script asks, and what it is told by exit status: which color at which epoch, whether it
would be let through, and whether its clients were cut."""
import json
import re
import subprocess

import pytest

from helpers import scale
from helpers.scale import until


def tealctl(teal, *args, **how):
    return subprocess.Popen([str(scale.BUILD / "tealctl"), "-s", teal.admin_path, *args], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **how)


def run(teal, *args):
    p = tealctl(teal, *args)
    out, err = p.communicate(timeout=scale.patience())
    return p.returncode, out, err


# ---- COLOR@EPOCH ----

def test_what_idle_said_is_flipped_only_if_nothing_came_between(web):
    teal = web()
    assert run(teal, "active", "web", "--epoch")[:2] == (0, "green@1\n")
    status, idle, _ = run(teal, "idle", "web", "--epoch")
    assert (status, idle) == (0, "blue@1\n")
    idle = idle.strip()
    assert run(teal, "check", "web", idle)[0] == 0
    # Another job is faster, and back again: the color is idle, but it is not what it was.
    teal.ok("flip", "web", "blue")
    teal.ok("flip", "web", "green")
    for verb in ("check", "flip"):
        status, _, err = run(teal, verb, "web", idle)
        assert status == 5 and "expected epoch 1, found green at epoch 3" in err, err
    assert teal.status()["epoch"] == 3
    assert [(h["result"], h["expect"]) for h in teal.ok("history", "web")["history"]][-1] == ("conflict", "@1")
    assert teal.wait_log("audit", command="flip", result="conflict")["expect"] == "@1"
    assert run(teal, "flip", "web", run(teal, "idle", "web", "--epoch")[1].strip())[0] == 0
    assert teal.status()["active"] == "blue"
    # The active color at its epoch: fine, and nothing to do; also when both forms are given.
    assert run(teal, "flip", "web", "blue@4", "--expect=blue@4")[0] == 0
    assert run(teal, "flip", "web", "green@4", "--expect=green")[0] == 5
    assert teal.status()["epoch"] == 4


# ---- waiting for health, and the lock ----

# So that a check is one that a gate asked for.
RARELY = {"interval": 600.0, "rise": 1, "fall": 1}


def looks(teal):
    """How often the gate of blue was asked: each time that it stays closed, its backend is checked again."""
    return teal.metrics().get("teal_backend_checks_total", service="web", color="blue")


def waiting(teal, *command):
    """tealctl, once it is known to wait for blue to become healthy."""
    teal.blue.stop()
    was = looks(teal)
    p = tealctl(teal, *command)
    until(lambda: looks(teal) > was + 3, "the gate was asked again and again")
    return p

def test_check_waits_for_health(web):
    teal = web(health=RARELY)
    p = waiting(teal, "--json", "check", "web", "blue", "--wait-healthy=3000")
    assert p.poll() is None
    teal.blue.start()
    out, err = p.communicate(timeout=scale.patience())
    assert p.returncode == 0, err
    said = [json.loads(line) for line in out.splitlines()]
    assert [o.get("event") for o in said] == ["checked", None] and said[-1]["healthy"] == 1, said
    teal.blue.stop()
    status, _, err = run(teal, "check", "web", "blue", "--wait-healthy=0.3")
    assert status == 4 and "0/1 backends healthy" in err, err


@pytest.mark.parametrize("verb", ["check", "flip"])
def test_a_lock_ends_what_waits_for_health_at_once(web, verb):
    teal = web(health=RARELY)
    p = waiting(teal, verb, "web", "blue", "--wait-healthy=100000")
    teal.ok("lock", "web", "--reason=freeze")
    out, err = p.communicate(timeout=scale.patience())
    assert p.returncode == 13, err
    assert "locked" in err and "freeze" in err and "tealctl unlock web" in err, err
    for again in (("flip", "web", "blue"), ("flip", "web", "blue", "--force"), ("check", "web", "blue", "--wait-healthy=9999")):
        assert run(teal, *again)[0] == 13, again
    # What is active is no question of locks.
    assert run(teal, "check", "web", "green")[0] == 0
    assert run(teal, "flip", "web", "green")[0] == 0
    help_text = subprocess.run([str(scale.BUILD / "tealctl"), "--help"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^  13  the service is locked$", help_text, re.M), help_text


def test_a_check_ends_with_its_client_and_with_teald(web):
    """Its client leaves, and teald stops without it."""
    teal = web(health=RARELY)
    p = waiting(teal, "check", "web", "blue", "--wait-healthy=100000")
    p.kill()
    p.communicate()
    p = waiting(teal, "--json", "check", "web", "blue", "--wait-healthy=100000")
    assert teal.stop() == 0
    out, err = p.communicate(timeout=scale.patience())
    assert p.returncode == 1 and json.loads(out.splitlines()[-1])["error"] == "internal", (out, err)


# ---- what the drain cut ----

def test_the_last_object_says_what_was_cut(web):
    teal = web(clock=True, drain={"timeout": 600.0, "idle": 0.0})
    with teal.connect() as old, teal.connect() as other:
        assert (old.peer, other.peer) == ("green", "green")
        with teal.admin() as a:
            a.send("flip", "web", "blue", "--wait=drained")
            teal.wait_log("flip.draining")
            teal.clock.move(601)
            r = a.reply()
        assert (r["ok"], r["cut"]) == (True, 2), r
        assert teal.ok("flip", "web", "green", "--wait=drained")["cut"] == 0
        # Nothing was flipped, and nothing drained.
        assert "cut" not in teal.ok("flip", "web", "green", "--wait=drained")
        assert "cut" not in teal.ok("flip", "web", "blue")


def test_no_cut_is_exit_status_6(web):
    teal = web(clock=True, drain={"timeout": 600.0, "idle": 0.0})
    with teal.connect() as old:
        assert old.peer == "green"
        p = tealctl(teal, "--json", "flip", "web", "blue", "--wait=drained", "--no-cut")
        teal.wait_log("flip.draining")
        teal.clock.move(601)
        out, err = p.communicate(timeout=scale.patience())
    last = json.loads(out.splitlines()[-1])
    assert p.returncode == 6 and last["cut"] == 1 and last["changed"] is True and last["error"] == "timeout", last
    assert (last["active"], last["epoch"]) == ("blue", 2)
    # One that leaves by itself is not cut.
    with teal.connect() as old:
        p = tealctl(teal, "--json", "flip", "web", "green", "--wait=drained", "--no-cut")
        teal.wait_log("flip.draining", count=2)
    out, err = p.communicate(timeout=scale.patience())
    assert p.returncode == 0 and json.loads(out.splitlines()[-1])["cut"] == 0, out
