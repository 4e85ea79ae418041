"""SIGKILL at any moment: after a restart the color is the old or the new one,
the epoch never lower, and what was acknowledged is there."""
import threading
import time

import pytest

from helpers.scale import dice, sanitizer, scaled, until


class Flipper(threading.Thread):
    """Flips to and fro until teald is gone.  begun: the epoch under way;
    acknowledged: the last (color, epoch) a reply said."""

    def __init__(self, teal, color, epoch, wait):
        super().__init__(daemon=True)
        self.teal, self.wait = teal, wait
        self.acknowledged = (color, epoch)
        self.asked = None

    def run(self):
        try:
            with self.teal.admin() as a:
                while True:
                    color, epoch = self.acknowledged
                    to = "blue" if color == "green" else "green"
                    self.asked = (to, epoch + 1)
                    r = a.command("flip", "web", to, f"--wait={self.wait}")
                    assert r["ok"] and r["changed"] and r["epoch"] == epoch + 1, r
                    self.acknowledged = (to, r["epoch"])
        except (OSError, AssertionError) as e:
            self.ended = e


@pytest.mark.scales
def test_killed_at_random_moments_of_flips(web):
    kills = scaled(200, 6 if sanitizer() else 12)
    teal = web(drain={"timeout": 0.0})
    rng = dice()
    color, epoch, lost_race = "green", 1, 0
    for n in range(kills):
        flipper = Flipper(teal, color, epoch, ("applied", "none")[n % 2])
        flipper.start()
        until(lambda: flipper.acknowledged[1] > epoch, "it flips")
        time.sleep(rng.uniform(0.0, 0.01))  # at any moment of one
        teal.kill()
        flipper.join()
        assert isinstance(flipper.ended, OSError) or "closed" in str(flipper.ended), flipper.ended
        teal.start()
        s = teal.status()
        now = (s["active"], s["epoch"])
        # Either what was acknowledged last, or the one flip that was under way.
        assert now in (flipper.acknowledged, flipper.asked), (now, flipper.acknowledged, flipper.asked)
        assert s["epoch"] >= epoch
        assert teal.connect().echo().peer == s["active"]
        lost_race += now == flipper.asked
        color, epoch = now
    assert epoch > kills
    # The history tells the same story: every epoch once, in order.
    h = next(v for v in teal.ok("history", "web", "--last=1000").values() if isinstance(v, list))
    epochs = [e["epoch"] for e in h if e["result"] == "ok" and e["from"] != e["to"]]
    assert epochs == sorted(set(epochs)) and epochs[-1] == epoch


@pytest.mark.scales
def test_killed_right_after_the_acknowledgement(web):
    """The moment the reply is read, the power goes."""
    teal = web(drain={"timeout": 0.0})
    color, epoch = "green", 1
    for n in range(scaled(60, 6)):
        to = "blue" if color == "green" else "green"
        with teal.admin() as a:
            a.send("flip", "web", to, "--wait=none" if n % 2 else "--wait=applied")
            r = a.reply()
            teal.kill()
        assert r["ok"] and r["changed"]
        teal.start()
        color, epoch = to, epoch + 1
        s = teal.status()
        assert (s["active"], s["epoch"]) == (color, epoch)


def test_killed_under_load_it_starts_again_at_once(web, farm, load):
    """Sockets of the dead one in any state do not keep the next from binding."""
    teal = web(green=[farm("green")], blue=[farm("blue")])
    clients = load(teal, 16)
    for _ in range(3):
        clients.more(50)
        teal.kill()
        teal.start()
    sessions = clients.more(50).finish()
    good = [s for s in sessions if not s.error]
    assert len(good) > 50 and {s.name for s in good} == {"green"}
    bad = {s.error.split(" while")[0] for s in sessions if s.error}
    assert bad <= {"Connection refused", "Connection reset by peer", "Broken pipe"} | {
        e for e in bad if e.startswith("closed")}, bad
