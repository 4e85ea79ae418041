"""A fleet of three that anything happens to: random verbs at random members, of which some are stopped, slow or
cut off from Redis; nodes and colors that go down; other programs that write every number that a hash can hold.
When it is quiet again there is one color, one epoch, one lock, one word of force, one list of nodes; what was
acknowledged is kept, what was refused never happened, and nobody was told "unknown" without a reason to doubt.

TEAL_SEED=N does other things, the same with the same N.
"""
import contextlib
import json
import signal
import threading

import pytest

from helpers.fleet import COLORS, Fleet, other
from helpers.ports import listener
from helpers.scale import dice, scaled, until

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
TEXT = ("", "x", "-1", "0", "1e3", str((1 << 53) - 1), str(1 << 53), str((1 << 62) - 1), str((1 << 63) - 1),
        str((1 << 64) - 1), "9" * 30)


class Backend:
    """Takes connections and ends them, while it is up."""

    def __init__(self, host, port):
        self.where, self.socket = (host, port), None
        self.up()

    def up(self):
        if self.socket is None:
            self.socket = listener(*self.where)
            threading.Thread(target=self._serve, args=(self.socket,), daemon=True).start()

    @staticmethod
    def _serve(s):
        with contextlib.suppress(OSError):
            while True:
                s.accept()[0].close()

    def down(self):
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(2)
            self.socket.close()
            self.socket = None

    close = down


class Machine:
    def __init__(self, chance, f, proxies, backends):
        self.chance, self.f, self.proxies, self.backends = chance, f, proxies, backends
        self.stopped, self.done, self.n = set(), [], 0
        self.acknowledged = {}  # by epoch: color and force of the flip
        self.refused = set()  # reasons of flips that changed nothing
        self.wanted = {}  # by reason
        self.disturbed = set()  # members whose writes may have been in doubt since the last quiet

    # ---- what is done ----

    def member(self):
        return self.chance.choice([i for i in range(len(self.f)) if i not in self.stopped])

    def tell(self, *what):
        self.done.append(" ".join(map(str, what)))

    def run(self, i, *words):
        self.tell(f"[{i}]", *words)
        r = self.f[i].ctl(*words)
        self.done[-1] += f" -> {'ok' if r['ok'] else r['error']} {r.get('changed')} {r.get('active', '')}@{r.get('epoch', '')}"
        if not r["ok"] and r["error"] == "unknown":
            # Its time may be over on a machine that stands still for that long, too.
            in_time = "has not answered within" not in r["message"]
            assert r["changed"] is None and (i in self.disturbed or not in_time), ("unknown, without a doubt", i, r)
        return r

    def flip(self):
        self.n += 1
        i, reason, force = self.member(), f"change {self.n}", self.chance.random() < 0.4
        options = [f"--reason={reason}", "--timeout=" + self.chance.choice(("0.3", "1.5"))]
        options += ["--force"] if force else []
        options += [f"--wait={self.chance.choice(('none', 'applied'))}"]
        if self.chance.random() < 0.25:
            verb, color = ("rollback",), None
        else:
            color = self.chance.choice(COLORS)
            verb = ("flip",) + ((f"--expect={other(color)}",) if self.chance.random() < 0.2 else ())
        r = self.run(i, verb[0], "web", *([color] if color else []), *verb[1:], *options)
        if r["changed"] is True:
            known = self.acknowledged.get(r["epoch"])
            # Another may have flipped again before this one was told its end.
            if r["ok"]:
                assert known is None, ("one epoch for two flips", r, known)
                assert color in (None, r["active"]), r
                self.acknowledged[r["epoch"]] = (r["active"], force)
        elif r["changed"] is False:
            self.refused.add(reason)

    def lock(self):
        self.run(self.member(), "lock", "web", "--reason=freeze")

    def unlock(self):
        self.run(self.member(), "unlock", "web")

    def node(self):
        verb = self.chance.choice(("drain", "ready", "remove", "add", "reset"))
        force = ["--force"] if self.chance.random() < 0.1 else []
        self.run(self.member(), "node", verb, "main", self.chance.choice(HOSTS), *force)

    def stop(self):
        if len(self.stopped) < 2:
            i = self.member()
            self.tell("stop", i)
            self.f[i].signal(signal.SIGSTOP)
            self.stopped.add(i)
            self.disturbed.add(i)

    def go_on(self):
        for i in sorted(self.stopped):
            self.tell("continue", i)
            self.f[i].signal(signal.SIGCONT)
        self.stopped.clear()

    def network(self):
        i, mode = self.chance.randrange(len(self.f)), self.chance.choice(("pass", "delay", "cut", "hang", "pass"))
        self.tell("network of", i, mode)
        self.disturbed.add(i)
        self.proxies[i].set(mode, 0.3)

    def backend(self):
        color = self.chance.choice(COLORS)
        up = self.chance.random() < 0.5
        self.tell(color, "up" if up else "down")
        for b in self.backends[color]:
            b.up() if up else b.down()

    def write(self):
        """Another program's, of a number that may be or may not."""
        if self.chance.random() < 0.5:
            key, field, more = self.f.key(), "epoch", []
            channel = "web"
        else:
            key, field, channel = self.f.prefix + ":nodes:main", "version", "main"
            more = ["nodes", json.dumps({h: self.chance.choice(("ready", "drain", "removed"))
                                         for h in self.chance.sample(HOSTS, self.chance.randrange(3))})]
        now = self.f.redis("HGET", key, field) or "0"
        number = self.chance.choice(TEXT)
        if now.isdigit() and 0 < int(now) < 1 << 51 and self.chance.random() < 0.6:
            number = int(now) + self.chance.choice((1, 2, 1 << 10, 1 << 20, 1 << 33))
        self.tell("HSET", key, field, number, *more)
        self.f.redis("HSET", key, field, number, *more)
        self.f.redis("PUBLISH", self.f.prefix + ":changed", channel)

    def step(self):
        act = self.chance.choices((self.flip, self.lock, self.unlock, self.node, self.stop, self.go_on, self.network,
                                   self.backend, self.write), (10, 4, 4, 5, 3, 2, 3, 3, 2))[0]
        act()

    # ---- what must be so ----

    def mend(self):
        """As the message says: the key that holds what cannot be goes."""
        for i, t in enumerate(self.f):
            problem = self.f.store(t).get("problem") or ""
            for key in (self.f.key(), self.f.prefix + ":nodes:main"):
                if problem.startswith(key) and ("DEL" in problem or "not a number" in problem or "cannot be" in problem):
                    self.tell("DEL", key, "for", i)
                    self.f.redis("DEL", key)

    def views(self):
        """What each says: of the service, its lock, its nodes, its store."""
        out = []
        for t in self.f:
            s = t.status("web")
            pool, = t.ok("node", "list", "main")["pools"]
            out.append(json.dumps([s["active"], s["epoch"], s["applied_epoch"], s["locked"],
                                   {n["host"]: n["state"] for n in pool["nodes"]}]))
        return out

    def agree(self):
        self.mend()
        views = self.views()
        if len(set(views)) > 1 or any(self.f.store(t).get("problem") for t in self.f):
            self.last = views, [self.f.store(t).get("problem") for t in self.f]
            return False
        color, epoch, applied, lock, _ = json.loads(views[0])
        r = self.f.redis.hash(self.f.key())
        self.last = views, r
        return epoch == applied and (r.get("color"), r.get("epoch")) == (color, str(epoch)) and \
            bool(r.get("locked")) is bool(lock)

    def quiet(self):
        self.go_on()
        for p in self.proxies:
            p.set("pass")
        self.f.wait_up()
        self.forced_is_obeyed()
        for color in COLORS:
            for b in self.backends[color]:
                b.up()
        until(self.agree, "one color, one epoch, one lock, one list of nodes")
        record = self.f.redis.hash(self.f.key())
        epoch = int(record["epoch"])
        assert epoch >= max(self.acknowledged, default=0), ("an acknowledged flip is lost", record)
        color, forced = self.acknowledged.get(epoch, (record["color"], record["forced"] == "1"))
        assert (record["color"], record["forced"]) == (color, "1" if forced else ""), ("another than was acknowledged", record)
        assert record["reason"] not in self.refused, ("what was refused has happened", record)
        # What all know is what all write.
        self.f.redis("DEL", self.f.key())
        until(lambda: self.f.redis.hash(self.f.key()).get("epoch") == str(epoch), "written again")
        again = self.f.redis.hash(self.f.key())
        assert again == record, ("not what it was", record, again)
        until(self.agree, "still one")
        self.disturbed.clear()

    def forced_is_obeyed(self):
        """Whatever health each sees: nobody stays behind a flip that was forced."""
        self.mend()
        r = self.f.redis.hash(self.f.key())
        color, forced = self.acknowledged.get(int(r["epoch"]) if r.get("epoch", "").isdigit() else 0, (None, False))
        if forced and r["color"] == color:
            assert r["forced"] == "1", ("the word of force is gone", r)
            until(lambda: all(s["epoch"] > int(r["epoch"]) or (s["epoch"], s["active"]) == (int(r["epoch"]), color)
                              for s in (t.status("web") for t in self.f)), "a forced flip is obeyed by all")


@pytest.fixture
def machine(teal, redis, proxy, ports, closing):
    def make():
        f = Fleet()
        f.redis = redis()
        port = {c: ports.hold() for c in COLORS}
        backends = {c: [closing.add(Backend(h, port[c])) for h in HOSTS] for c in COLORS}
        proxies = [proxy(f.redis) for _ in range(3)]
        for p in proxies:
            f.append(teal(start=False, store={"type": "redis", "prefix": f.prefix, "url": p.url},
                          node_pools={"main": list(HOSTS)},
                          services=[{"name": "web", "mode": "tcp", "listen": f"127.0.0.1:{ports.hold()}", "nodes": "main",
                                     "green": {"port": port["green"]}, "blue": {"port": port["blue"]},
                                     "health": {"interval": 0.1, "timeout": 1.0, "rise": 1, "fall": 1}}]))
        for t in f:
            t.start(ready=False)
        for t in f:
            t.wait_ready()
        f.wait_members()
        return Machine(dice(), f, proxies, backends)
    return make


@pytest.mark.long
@pytest.mark.scales
def test_whatever_happens_to_a_fleet_it_becomes_one_again(machine):
    m = machine()
    try:
        for _ in range(scaled(200, 4)):
            for _ in range(m.chance.randrange(4, 14)):
                m.step()
            m.quiet()
            m.done.append("---- quiet")
    except BaseException:
        m.go_on()
        print("\n".join(m.done[-60:]), "\n", getattr(m, "last", ""))
        raise
