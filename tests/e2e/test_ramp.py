"""A ramp: a share that grows by itself, step by step, until the color is active."""
from test_shares import CLIENTS, blues, refused, share_of, sides

from helpers.scale import BUILD, until
from helpers.terminal import Terminal
from helpers.upgrade import upgraded

FEW = CLIENTS[:100]
STEPS = ("--ramp=20%,60%,100%", "--every=1h")


def step(teal, epoch, seconds=3600):
    """So much time passes, and the change of that epoch is applied."""
    teal.clock.move(seconds)
    until(lambda: teal.status()["applied_epoch"] == epoch, f"epoch {epoch} is applied")


def test_a_ramp_ends_as_a_flip_and_moves_nobody_back(web):
    teal = web(clock=True)
    with teal.admin() as a:
        a.send("flip", "web", "blue", *STEPS, "--wait=drained", "--reason=deploy")
        assert teal.wait_log("ramp.begun", color="blue")["count"] == 2
        assert share_of(teal) == ("blue", 20)
        before = blues(sides(teal, FEW))
        ramp = teal.status()["share"]["ramp"]
        assert (ramp["steps"], ramp["step"], ramp["of"], ramp["every"], ramp["held"]) == ([20, 60, 100], 1, 3, 3600, None)
        teal.clock.move(3000)
        assert share_of(teal) == ("blue", 20)
        step(teal, 3, 600)
        grown = blues(sides(teal, FEW))
        assert share_of(teal) == ("blue", 60) and before <= grown
        # A reload leaves it alone.
        teal.ok("reload")
        step(teal, 4)
        reply = a.reply()
    assert (reply["active"], reply["epoch"], reply["changed"], reply["cut"]) == ("blue", 4, True, 0)
    assert [(e["epoch"], e["share"]["percent"]) for e in reply.events if e["event"] == "ramping"] == [(2, 20), (3, 60)]
    assert set(sides(teal, FEW).values()) == {"blue"} and teal.wait_log("ramp.ended")["result"] == "done"
    kinds = [(h["kind"], h["to"], h["reason"]) for h in teal.ok("history", "web")["history"]]
    assert kinds == [("shift", "blue", "deploy"), ("shift", "blue", "deploy"), ("flip", "blue", "deploy")]
    assert teal.ok("rollback", "web")["active"] == "green"


def test_a_step_that_is_refused_is_tried_again(web, closing):
    teal = web(clock=True)
    with teal.admin() as a:
        a.send("flip", "web", "blue", *STEPS)
        teal.wait_log("ramp.begun")
        teal.ok("lock", "web", "--reason=lunch")
        teal.clock.move(3600)
        assert teal.wait_log("ramp.held")["error"] == "locked"
        assert "lunch" in teal.status()["share"]["ramp"]["held"] and share_of(teal) == ("blue", 20)
        seen = closing.add(Terminal(str(BUILD / "tealctl"), "-s", teal.admin_path, "status", columns=400))
        seen.until("blue has 20% of the clients, step 1 of 3, the next is refused: web is locked by")
        assert teal.metrics().get("teal_ramp_held", service="web") == 1
        # Told once, however often it is tried; nor does it fill the history.
        teal.clock.move(10)
        assert len(teal.log_lines_now("ramp.held")) == 1
        assert [h["result"] for h in teal.ok("history", "web")["history"] if h["kind"] == "shift"] == ["ok"]
        teal.ok("unlock", "web")
        step(teal, 3, 5)
        assert share_of(teal) == ("blue", 60) and teal.metrics().get("teal_ramp_held", service="web") == 0
        # One that falls is none, and a rollback is its end.
        assert refused(teal.ctl("flip", "web", "blue", "--ramp=30%,100%", "--every=60")) == "conflict"
        assert teal.ok("rollback", "web")["active"] == "green"
        reply = a.reply()
    assert reply["error"] == "conflict" and "ended by a shift" in reply["message"]
    assert share_of(teal) is None and teal.wait_log("ramp.ended")["result"] == "superseded"
    teal.clock.move(20000)
    assert teal.status()["epoch"] == 4
    assert teal.ctl("wait", "web", "--for=ramped")["error"] == "conflict"


def test_it_goes_on_after_an_upgrade_and_after_a_crash(web):
    teal = web(clock=True, start=False).start(supervised=True)
    claim = teal.ok("claim", "web", "--ttl=24h", "--reason=ci")["token"]
    teal.ok("flip", "web", "blue", "--ramp=20%,40%,60%,100%", "--every=1h", "--wait=none", f"--token={claim}", "--bake=30")
    found = sides(teal, FEW)
    upgraded(teal)
    assert sides(teal, FEW) == found and teal.status()["share"]["ramp"]["step"] == 1
    step(teal, 3)
    found = sides(teal, FEW)
    teal.kill()
    teal.start()
    teal.wait_log("ramp.resumed")
    assert sides(teal, FEW) == found
    step(teal, 4)
    with teal.admin() as a:
        a.send("wait", "web", "--for=ramped")
        assert a.object()["share"]["percent"] == 60
        # With the token of the claim, which the flip ends; then it is judged.
        step(teal, 5)
        teal.wait_log("bake.begun")
        while not teal.log_lines_now("bake.ended"):
            teal.clock.move(10)
        reply = a.reply()
    assert (reply["active"], reply["error"], reply["verdict"]) == ("blue", "inconclusive", "inconclusive")
    assert share_of(teal) is None


def test_another_teald_of_the_fleet_goes_on(fleet):
    f = fleet(2)
    f.wait_members()
    f[0].ok("flip", "web", "blue", "--ramp=20%,60%,100%", "--every=3", "--wait=none")
    until(lambda: share_of(f[1]) == ("blue", 20), "the other one knows")
    f[0].kill()
    until(lambda: f[1].status()["active"] == "blue", "the other one took the steps")
    assert share_of(f[1]) is None
    assert [h["kind"] for h in f[1].ok("history", "web")["history"]] == ["shift", "shift", "flip"]


def test_ramps_that_cannot_be_are_refused(web):
    teal = web()
    for words in (("--ramp=50%,20%,100%", "--every=60"), ("--ramp=50%,50%,100%", "--every=60"), ("--ramp=50%,101%", "--every=60"),
                  ("--ramp=50%,80%", "--every=60"), ("--ramp=100%", "--every=60"), ("--ramp=0%,100%", "--every=60"),
                  ("--ramp=50%,,100%", "--every=60"), ("--ramp=50%,100%,", "--every=60"), ("--ramp=", "--every=60"), ("--ramp=50%,100%",), ("--every=60",),
                  ("--ramp=50%,100%", "--every=0.5"), ("--ramp=50%,100%", "--every=169h"), ("--ramp=x,100%", "--every=60"),
                  ("--ramp=50%,100%", "--every=60", "--force"), ("--ramp=50%,100%", "--every=60", "--drain=3"),
                  ("--ramp=" + ",".join(f"{i}%" for i in range(1, 17)) + ",100%", "--every=60")):
        assert refused(teal.ctl("flip", "web", "blue", *words)) == "usage", words
    assert refused(teal.ctl("flip", "web=blue", *STEPS)) == "unsupported"
    assert refused(teal.ctl("flip", "web", "blue", *STEPS, "--expect=blue")) == "conflict"
    assert teal.ok("flip", "web", "green", *STEPS)["changed"] is False
    teal.blue.stop()
    assert refused(teal.ctl("flip", "web", "blue", *STEPS)) == "unhealthy"
    assert teal.status()["epoch"] == 1 and share_of(teal) is None
