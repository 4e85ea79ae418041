"""A hold-back: in a bake the old color keeps a share of the clients, and the judge compares with what they meet meanwhile."""
import pytest
from test_bake import Stage
from test_shares import refused, share_of

from helpers.upgrade import upgraded


@pytest.fixture
def stage(web, backend):
    def make(percent=0, old_percent=0, **keys):
        return Stage(web, backend, "http", percent, old_percent, **keys)
    return make


def bakes(s, clients=40):
    """Until it is over: clients come, each second."""
    while not s.teal.log_lines_now("bake.ended"):
        s.crowd.come(clients)
        s.teal.clock.move(1)


def test_what_both_colors_meet_alike_is_no_regression_and_the_rest_follows(stage):
    """All of both colors goes wrong, as when what is behind them is away: before the flip all was well."""
    s = stage(50, 50)
    s.green.percent = 0
    s.crowd.come(100)
    s.green.percent = 50
    with s.teal.admin() as a:
        a.send("flip", "web", "blue", "--bake=20", "--hold-back=40%")
        s.teal.wait_log("service.claimed")
        assert share_of(s.teal) == ("green", 40)
        bake = s.teal.status()["bake"]
        assert (bake["control"], bake["hold_back"]) == ("concurrent", 40)
        bakes(s, 10)
        reply = a.reply()
    assert reply["verdict"] in ("baked", "inconclusive") and not reply["evidence"]["worse"], reply
    assert (reply["active"], reply["epoch"], reply.get("share")) == ("blue", 3, None)
    assert reply["evidence"]["old"]["clients"] > 0 and "green beside it" in reply["evidence"]["text"]
    assert "green keeps no clients any more" in reply["evidence"]["text"]
    assert share_of(s.teal) is None and s.teal.status()["claimed"] is None
    last = s.teal.ok("history", "web")["history"][-1]
    assert (last["kind"], last["by"], last["to"]) == ("flip", "teal", "blue") and "end of the bake" in last["reason"]
    # As any flip it can be undone.
    assert s.teal.ok("rollback", "web")["active"] == "green"


def test_a_bad_release_is_found_beside_the_old_one_and_an_upgrade_loses_nothing(stage):
    s = stage(20, start=False)
    s.teal.start(supervised=True)
    s.teal.ok("flip", "web", "blue", "--bake=300", "--hold-back=50%", "--wait=none")
    s.teal.wait_log("service.claimed")
    s.crowd.come(20)
    before = s.teal.status()["bake"]
    upgraded(s.teal)
    after = s.teal.status()["bake"]
    assert (after["control"], after["hold_back"], after["until"]) == ("concurrent", 50, before["until"])
    bakes(s)
    assert s.teal.wait_log("bake.ended")["result"] == "rolled_back"
    assert s.teal.status()["active"] == "green" and share_of(s.teal) is None
    met = s.crowd.met
    s.crowd.come(20)
    assert s.crowd.met == met


def lost(s):
    """The teald that judges blue dies; green keeps its share."""
    s.teal.ok("flip", "web", "blue", "--bake=300", "--hold-back=10%", "--wait=none")
    s.teal.wait_log("service.claimed", epoch=2)
    s.teal.kill()
    s.teal.start()
    s.teal.wait_log("service.released")
    assert share_of(s.teal) == ("green", 10)


def test_who_goes_back_to_a_color_that_has_kept_a_share_can_undo_that(stage):
    s = stage()
    lost(s)
    s.teal.ok("flip", "web", "green", "--bake=300", "--hold-back=20%", "--wait=none")
    assert share_of(s.teal) == ("blue", 20)
    # At once, also while the bake claims the service.
    back = s.teal.ok("rollback", "web")
    assert (back["active"], back["changed"], share_of(s.teal)) == ("blue", True, None)


def test_a_kept_share_that_grows_is_a_share_as_any(stage):
    s = stage()
    lost(s)
    # Less of it leaves the flip to be undone.
    s.teal.ok("shift", "web", "green", "--to=5%")
    s.teal.ok("shift", "web", "green", "--to=50%")
    assert (s.teal.ok("history", "web")["history"][-1]["kind"], share_of(s.teal)) == ("shift", ("green", 50))
    assert s.teal.ok("rollback", "web")["active"] == "blue" and share_of(s.teal) is None


def test_a_promotion_goes_on_after_an_upgrade_and_ends_no_claim_that_was_kept(stage):
    s = stage(start=False)
    s.teal.start(supervised=True)
    token = s.teal.ok("claim", "web", "--ttl=3000", "--reason=deploy")["token"]
    s.teal.ok("flip", "web", "blue", "--bake=300", "--hold-back=50%", "--wait=none", f"--token={token}", "--keep-claim")
    s.teal.ok("lock", "web", "--reason=lunch")
    s.teal.ok("bake", "web", "promote")
    s.teal.wait_log("bake.promotion_failed")
    upgraded(s.teal)
    assert "promoted by" in s.teal.status()["bake"]["evidence"]["text"]
    s.teal.ok("unlock", "web")
    s.teal.clock.move(10)
    assert s.teal.wait_log("bake.ended")["result"] == "promoted"
    assert share_of(s.teal) is None and s.teal.status()["claimed"]["reason"] == "deploy"
    assert s.teal.ok("rollback", "web", f"--token={token}")["active"] == "green"


def test_the_rest_is_given_as_soon_as_that_is_possible(stage):
    s = stage()
    s.teal.ok("flip", "web", "blue", "--bake=300", "--hold-back=5%", "--wait=none")
    s.teal.wait_log("service.claimed")
    # Nobody is sent back by the same flip with more.
    assert s.teal.ok("flip", "web", "blue", "--bake=300", "--hold-back=50%", "--wait=none")["changed"] is False
    assert share_of(s.teal) == ("green", 5)
    s.teal.ok("lock", "web", "--reason=lunch")
    s.teal.ok("bake", "web", "promote")
    assert s.teal.wait_log("bake.promotion_failed")["error"] == "locked"
    assert share_of(s.teal) == ("green", 5)
    s.teal.ok("unlock", "web")
    s.teal.clock.move(5)
    assert s.teal.wait_log("bake.ended")["result"] == "promoted"
    assert share_of(s.teal) is None and s.teal.status()["epoch"] == 3
    # With all clients there it takes none back.
    again = s.teal.ok("flip", "web", "blue", "--bake=300", "--hold-back=5%", "--wait=none")
    assert again["changed"] is False and share_of(s.teal) is None


def test_hold_backs_that_cannot_be_are_refused(web):
    teal = web()
    for words in (("--hold-back=5%",), ("--hold-back=100%", "--bake=30"), ("--hold-back=101%", "--bake=30"),
                  ("--hold-back=x", "--bake=30"), ("--hold-back=5%", "--bake=30", "--wait=drained"), ("--hold-back=5%", "--bake=0"),
                  ("--hold-back=5%", "--bake=30", "--ramp=5%,100%", "--every=60")):
        assert refused(teal.ctl("flip", "web", "blue", *words)) == "usage", words
    assert teal.status()["epoch"] == 1
