"""Flips of one service take their turns, and none keeps the others from theirs:
not one that waits for health, not one whose client has left, not many of them."""
import pytest

from helpers.people import Person, needs_root
from helpers.scale import until

FLIPS_EACH = 64    # as teald(8) says


@pytest.fixture
def sick(web, backend):
    """The service web, whose blue refuses connections."""
    def make(**how):
        return web(blue=[backend("blue", start=False)], **how)
    return make


def waits(teal, *words):
    """A flip that has begun to wait for health, and its connection."""
    a = teal.admin()
    a.send("flip", "web", "blue", "--wait-healthy=3000", "--timeout=3000", *words)
    teal.ok("whoami")   # who asks is looked up first; by now it is in line
    return a


def test_a_flip_that_waits_for_health_lets_others_take_their_turn(sick, closing):
    teal = sick()
    closing.add(waits(teal))
    refused = teal.ctl("flip", "web", "blue")
    assert refused["error"] == "unhealthy"
    assert teal.ok("flip", "web", "blue", "--force")["changed"]
    assert teal.ok("rollback", "web", "--force")["active"] == "green"


def test_one_whose_client_has_left_goes_on_and_is_in_nobodys_way(sick):
    teal = sick()
    waits(teal, "--reason=left alone").close()
    assert teal.ok("lock", "web", "--reason=x")["ok"]
    teal.wait_log("flip.refused", error="locked", reason="left alone")
    assert teal.ok("unlock", "web")["ok"]
    waits(teal, "--reason=left again").close()
    assert teal.ctl("flip", "web", "blue", "--expect=blue")["error"] == "conflict"
    teal.blue.start()
    teal.wait_log("flip.applied", to="blue", reason="left again")
    assert teal.ok("flip", "web", "green")["changed"]


def test_it_takes_what_others_did_meanwhile_into_account(sick, closing):
    teal = sick()
    a = closing.add(waits(teal))
    b = closing.add(teal.admin())
    assert teal.ok("flip", "web", "blue", "--force")["changed"]
    r = a.reply()
    assert r["ok"] and not r["changed"] and r["active"] == "blue"
    # A rollback is of the change that it was asked about, and of no later one.
    teal.green.stop()
    b.send("rollback", "web", "--wait-healthy=3000", "--timeout=3000")
    teal.status()
    assert teal.ok("flip", "web", "green", "--force")["changed"]
    r = b.reply()
    assert r["error"] == "conflict" and "another command" in r["message"] and r["active"] == "green"


@needs_root
def test_one_users_flips_have_a_limit(sick):
    """All of them wait for health and none has a client any more."""
    teal = sick(top={"admin": {"mode": "0666", "roles": [
        {"user": "news", "services": ["web"], "allow": ["read", "flip"]},
        {"user": "games", "services": ["web"], "allow": ["read", "flip"]}]}})
    news, games = Person("news"), Person("games")
    script = ("import socket, sys\n"
              "for n in range(%d):\n"
              "    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
              "    s.sendall(b'flip web blue --wait-healthy=3000 --timeout=3000\\n'); s.close()\n" % (FLIPS_EACH + 20))
    p = news.run(["/usr/bin/python3", "-c", script, teal.admin_path])
    assert p.returncode == 0, p.stderr
    refused = until(lambda: teal.ctl("whoami") and news.ask(teal, "flip web blue")[0], "one more")
    assert not refused["ok"] and refused["error"] in ("internal", "conflict"), refused
    assert games.ask(teal, "flip web blue --expect=green")[0]["error"] == "unhealthy"
    assert games.ask(teal, "lock web --reason=x", "unlock web")[1]["ok"]
    assert teal.ok("flip", "web", "blue", "--force")["changed"]
    # With blue active there is nothing to wait for: they are over, and it may again.
    until(lambda: news.ask(teal, "flip web blue")[0]["ok"], "over")
