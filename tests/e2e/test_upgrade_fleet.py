"""A fleet of three that is upgraded, reloaded, flipped, drained, cut off from Redis and given other nodes, all at
random moments of each other: exactly one color, `applied` is never untrue, no twin is seen, exit statuses are right.

TEAL_SEED=N does other things, the same with the same N.
"""
import json
import threading
import time

import pytest

from helpers import scale
from helpers.fleet import Fleet
from helpers.reload import rewrite
from helpers.scale import scaled, until
from helpers.teald import service
from helpers.upgrade import children

HOSTS = ["127.0.0.1", "127.0.0.2"]
# What tealctl may say, by the errors that may come of a Redis that is away, and of two who flip at once.
STATUSES = {0: None, 1: "internal", 5: "conflict", 6: "timeout", 8: "partial_fleet", 10: "store_unavailable", 11: "unknown"}


class Asking(threading.Thread):
    """Connects through one Teal again and again; .seen: (begun, ended, color)."""

    def __init__(self, teal):
        super().__init__(daemon=True)
        self.teal, self.seen, self.failed, self.stopped = teal, [], [], threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(0.01):
            begun = time.monotonic()
            try:
                with self.teal.connect() as c:
                    color = c.peer
            except (OSError, AssertionError) as e:
                self.failed.append((begun, repr(e)))
                continue
            self.seen.append((begun, time.monotonic(), color))


class Crew:
    def __init__(self, f, proxies, dice):
        self.f, self.proxies, self.dice = f, proxies, dice
        self.done, self.n = [], 0
        self.acknowledged = {}  # color by epoch
        self.applied = []  # (when, color) of the round's flips; None: one that was not acknowledged
        self.lock = threading.Lock()

    def ctl(self, i, *words):
        """The real tealctl, whose exit status and words must fit."""
        p = self.f[i].tealctl("--json", *words)
        last = json.loads(p.stdout.splitlines()[-1]) if p.stdout.strip() else {}
        with self.lock:
            self.done.append(f"[{i}] {' '.join(words)} -> {p.returncode} {last.get('error', '')} {last.get('message', '')} {p.stderr.strip()[:200]}")
        assert p.returncode in STATUSES, self.done[-1]
        if last:
            assert (p.returncode == 0) == bool(last.get("ok")), (p, last)
        return p.returncode, last

    def flip(self, i):
        self.n += 1
        color = self.dice.choice(["green", "blue"])
        status, r = self.ctl(i, "flip", "web", color, "--force", f"--reason=flip {self.n}", "--wait=applied", "--timeout=20")
        now = time.monotonic()
        if status == 0 and r.get("changed"):
            # Another may have flipped again before this one was told its end: then it is told of that.
            known = self.acknowledged.setdefault(r["epoch"], r["active"])
            assert known == r["active"], ("one epoch, two colors", r)
        self.applied.append((now, color) if status == 0 and r["active"] == color else None)

    def drain(self, i):
        self.ctl(i, "node", self.dice.choice(["drain", "ready"]), "main", HOSTS[1], "--force")

    def reload(self, i):
        t = self.f[i]
        rewrite(t, stop={"timeout": 0.5 + self.dice.random()})
        self.ctl(i, "reload")

    def upgrade(self, i):
        self.ctl(i, "upgrade")

    def cut(self, i):
        self.proxies[i].set(self.dice.choice(["cut", "hang", "delay"]), 0.2)
        self.done.append(f"[{i}] Redis is away")

    def mend(self, i):
        self.proxies[i].set("pass")
        self.done.append(f"[{i}] Redis is back")


@pytest.fixture
def crew(teal, redis, proxy, farm, ports):
    def make(dice):
        f = Fleet()
        f.redis = redis()
        green, blue = farm("green"), farm("blue")
        proxies = [proxy(f.redis) for _ in range(3)]
        for p in proxies:
            t = teal(start=False, store={"type": "redis", "prefix": f.prefix, "url": p.url}, node_pools={"main": HOSTS},
                     services=[service("web", listen=f"127.0.0.1:{ports.hold()}", green=[green], blue=[blue], drain={"timeout": 1.0}),
                               {"name": "pool", "listen": f"127.0.0.1:{ports.hold()}", "nodes": "main", "mode": "tcp",
                                "green": {"port": ports.hold()}, "blue": {"port": ports.hold()}, "health": {"type": "none"}}])
            f.append(t)
        for t in f:
            t.start("--max-restarts=1000", supervised=True, ready=False)
        for t in f:
            t.wait_ready()
        f.wait_members()
        return Crew(f, proxies, dice)
    return make


@pytest.mark.scales
@pytest.mark.long
def test_a_fleet_stays_one_whatever_is_done_to_it_meanwhile(crew):
    dice = scale.dice()
    c = crew(dice)
    f = c.f
    asking = [Asking(t) for t in f]
    rounds = scaled(300, 6)
    try:
        for n in range(rounds):
            c.done.append(f"---- round {n}")
            c.applied = []
            acts = [(c.upgrade, i) for i in range(3) if dice.random() < 0.6] + [(c.reload, dice.randrange(3))] * (dice.random() < 0.5)
            acts += [(c.flip, dice.randrange(3)) for _ in range(dice.randint(1, 2))] + [(c.drain, dice.randrange(3))] * (dice.random() < 0.4)
            away = dice.randrange(3) if dice.random() < 0.3 else None
            if away is not None:
                acts.append((c.cut, away))
            dice.shuffle(acts)
            together = [threading.Thread(target=run, args=(act, i, c)) for act, i in acts]
            for x in together:
                x.start()
            for x in together:
                x.join()
            assert not [d for d in c.done if d.startswith("WRONG")], c.done[-40:]
            if away is not None:
                c.mend(away)
            f.wait_up()
            color, epoch = f.agree()
            # What was acknowledged is kept; a later one may have followed it.
            assert epoch >= max(c.acknowledged, default=0), (c.acknowledged, epoch, c.done[-40:])
            if epoch in c.acknowledged:
                assert color == c.acknowledged[epoch], c.done[-40:]
            record = f.redis.hash(f.key())
            assert (record["color"], record["epoch"]) == (color, str(epoch))
            for t in f:
                until(lambda: children(t) == [t.serving()], "one process is left")
                assert t.ok("status")["restarts"] == 0
                with t.connect() as x:
                    assert x.peer == color
            f.wait_members()
            # From the word `applied` on, where there was but one; else since all agree.
            since = c.applied[0][0] if len(c.applied) == 1 and c.applied[0] else time.monotonic()
            for a in asking:
                until(lambda: len([s for s in a.seen[-50:] if s[0] > since]) > 2, "it is asked")
                wrong = [s for s in a.seen if s[0] > since and s[2] != color]
                assert not wrong, (since, color, wrong[:5], c.done[-20:])
        # Nothing that is said of a twin, nothing that crashed.
        for t in f:
            assert not [l for l in t.logs if "twin" in json.dumps(l)], [l for l in t.logs if "twin" in json.dumps(l)][:3]
            assert not t.log_lines("teald.crashed")
        # The dice may have asked for what was there already: in the calm a flip is what it always is.
        status, r = c.ctl(0, "flip", "web", "green" if color == "blue" else "blue", "--wait=applied")
        assert status == 0 and r["changed"] and r["epoch"] == epoch + 1, c.done[-5:]
    except BaseException:
        print("\n".join(c.done[-60:]))
        raise
    finally:
        for a in asking:
            a.stopped.set()
        for a in asking:
            a.join(scale.patience())
    assert not [e for a in asking for e in a.failed], [e for a in asking for e in a.failed][:5]


def run(act, i, c):
    try:
        act(i)
    except BaseException as e:
        with c.lock:
            c.done.append(f"WRONG {act.__name__} [{i}]: {e!r}")

