"""Reloads at random, good ones and wrong ones, while everything else happens too: what the
file does not touch never notices, and what teald says of itself is what its file says."""
import copy
import os
import random
import signal
import socket
import threading

import pytest

from helpers import scale
from helpers.backends import echo, pattern
from helpers.certificates import Authority, connect, subject
from helpers.certificates import trusting as https
from helpers.clients import Client
from helpers.http1 import Http, site, trusting
from helpers.ports import listener
from helpers.reload import change, reload, rewrite
from helpers.scale import scaled, until
from helpers.teald import service

pytestmark = [pytest.mark.scales]

# Of new services: enough for shared listeners, exchanges of ports and names.
CROWD = 8


# ---- those who must not notice ----

class Untouched:
    """A client of its own thread that goes on until it is stopped; .error is what it noticed."""

    def __init__(self, work):
        self.done, self.error, self.stopped = 0, None, threading.Event()
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            for _ in self._work():
                self.done += 1
                if self.stopped.wait(0.002):
                    return
        except Exception as e:
            self.error = repr(e)

    def stop(self):
        self.stopped.set()
        self._thread.join(scale.patience())
        assert not self._thread.is_alive(), "it hangs"


def stream(address, seed):
    """One connection that lives through all of it; the bytes come back as they were sent."""
    block = pattern(seed)

    def work():
        with socket.create_connection(address, scale.patience()) as s:
            for n in range(1 << 30):
                sent, got = block[n % 4093:][:4000 + n % 60000], b""
                s.sendall(sent)
                while len(got) < len(sent):
                    data = s.recv(1 << 16)
                    assert data, "closed in the middle"
                    got += data
                assert got == sent, "other bytes"
                yield
    return work


def kept_alive(address, name, tls=None):
    """Requests over one connection, and none without its answer."""
    def work():
        with Http(address, tls=tls, server_name=tls and name) as c:
            while True:
                m = c.ask(host=name)
                assert m is not None and (m.status, m.body) == (200, b"web"), m
                assert m.get("connection") != "close", m
                yield
    return work


def one_by_one(address):
    """A connection for each request."""
    def work():
        while True:
            with Http(address) as c:
                m = c.ask(headers=[("Connection", "close")])
                assert m is not None and (m.status, m.body) == (200, b"web"), m
            yield
    return work


# ---- the world ----

class Chaos:
    """A teald, what its file said when it was last taken over, and what may be done to it."""

    def __init__(self, teal, ports, backend, tmp_path, dice, **how):
        self.dice, self.ports, self.folder = dice, ports, tmp_path
        self.ca = Authority(tmp_path)
        self.certificates = [self.ca.issue(n) for n in ("one.example", "two.example")]
        self.tcp = [backend(f"tcp{i}") for i in range(3)]
        self.http = [backend(f"http{i}", site) for i in range(3)]
        still, web = backend("still", echo), backend("web", site)
        self.numbers = [ports.hold() for _ in range(10)]
        self.taken = listener("127.0.0.1")
        self.names = 0
        self.stays = [
            service("still", listen=f"127.0.0.1:{ports.hold()}", green=[still], blue=[still], idle_timeout=0),
            service("kept", mode="http", listen=f"127.0.0.1:{ports.hold()}", green=[web], blue=[web]),
            service("secure", mode="http", listen=f"127.0.0.1:{ports.hold()}", green=[web], blue=[web],
                    tls={"certificates": [self.certificates[0]]}),
        ]
        self.crowd = [self.new_service() for _ in range(3)]
        self.top = {"node_pools": {"pool": ["127.0.0.1"], "other": ["127.0.0.1"]}}
        self.teal = teal(services=self.stays + self.crowd, **self.top, **how)
        self.good = (copy.deepcopy(self.crowd), copy.deepcopy(self.top))
        self.generation = 1
        self.wrong = self.done = 0

    # -- services --

    def number(self):
        used = {self.port_of(s, key) for s in self.crowd for key in ("listen", "preview", "plain_listen")}
        free = [n for n in self.numbers if n not in used]
        return self.dice.choice(free) if free else self.ports.hold()

    @staticmethod
    def port_of(s, key="listen"):
        at = s.get(key)
        return int(at.rsplit(":", 1)[1]) if at and not at.startswith("unix:") else None

    def backends(self, mode, at_least=1):
        some = self.http if mode == "http" else self.tcp
        return [b.address for b in self.dice.sample(some, self.dice.randint(at_least, 3))]

    def new_service(self):
        self.names += 1
        mode = self.dice.choice(["tcp", "http"])
        s = service(f"s{self.names}", mode=mode, listen="x", green=[], blue=[], drain={"timeout": 0.0})
        for color in ("green", "blue"):
            s[color] = {"backends": self.backends(mode)}
        s["listen"] = f"127.0.0.1:{self.number_for()}"
        s["health"] = {"type": "none"}
        if self.dice.random() < 0.3:
            self.tls_on(s)
        return s

    def number_for(self):
        return self.number() if hasattr(self, "crowd") else self.numbers[self.names - 1]

    def tls_on(self, s):
        s["tls"] = {"certificates": [self.dice.choice(self.certificates)]}

    def tls_off(self, s):
        s.pop("tls", None)
        s.pop("plain_listen", None)

    def is_shared(self, s):
        return sum(o["listen"] == s["listen"] for o in self.crowd) > 1

    def alone(self, mode=None):
        """One of the crowd whose listener is its own; None: there is none."""
        some = [s for s in self.crowd if not self.is_shared(s) and (mode is None or s["mode"] == mode)]
        return self.dice.choice(some) if some else None

    # -- what a file may change; each returns False where it does not fit --

    def adds(self):
        if len(self.crowd) >= CROWD:
            return False
        self.crowd.append(self.new_service())

    def removes(self):
        if len(self.crowd) < 2:
            return False
        self.crowd.remove(self.dice.choice(self.crowd))

    def replaces(self):
        """Another service at the same port."""
        s = self.alone()
        if s is None:
            return False
        new = self.new_service()
        self.crowd[self.crowd.index(s)] = new
        new["listen"] = s["listen"]

    def renames(self):
        s = self.dice.choice(self.crowd)
        self.names += 1
        running = {o["name"] for o in self.good[0]}
        if s["name"] in running:
            s["rename"] = s["name"]
        s["name"] = f"s{self.names}"

    def moves_port(self):
        s = self.alone()
        if s is None:
            return False
        s["listen"] = f"127.0.0.1:{self.number()}"

    def swaps_ports(self):
        some = [s for s in self.crowd if not self.is_shared(s)]
        if len(some) < 2:
            return False
        a, b = self.dice.sample(some, 2)
        a["listen"], b["listen"] = b["listen"], a["listen"]

    def toggles_tls(self):
        s = self.alone()
        if s is None:
            return False
        (self.tls_off if "tls" in s else self.tls_on)(s)

    def changes_certificate(self):
        s = next((s for s in self.crowd if "tls" in s and not self.is_shared(s)), None)
        if s is None:
            return False
        s["tls"] = {"certificates": [self.dice.choice(self.certificates)], "handshake_timeout": self.dice.uniform(5, 50)}

    def shares(self):
        """A second HTTP service joins the listener of another, each with a host of its own."""
        s = self.alone("http")
        # What counts before the name is known must be the same for both.
        if s is None or len(self.crowd) >= CROWD or not s.keys().isdisjoint(
                {"plain_listen", "preview", "tcp", "header_timeout", "max_header_size", "source_rate", "deny", "source_prefix6"}):
            return False
        new = self.new_service()
        if new["mode"] != "http":
            return False
        new["listen"] = s["listen"]
        if "tls" in s:
            new["tls"] = s["tls"] | {"certificates": [self.dice.choice(self.certificates)]}
        else:
            new.pop("tls", None)
        s["hosts"], new["hosts"] = [f"{s['name']}.example"], [f"{new['name']}.example"]
        self.crowd.append(new)

    def changes_tls_to_backends(self):
        """Which fails where they speak plainly; nothing worse may come of it."""
        s = self.dice.choice(self.crowd)
        if s.pop("backend_tls", None) is None:
            s["backend_tls"] = {"verify": False}

    def changes_hosts(self):
        some = [s for s in self.crowd if s["mode"] == "http"]
        if not some:
            return False
        s = self.dice.choice(some)
        s["hosts"] = [f"{s['name']}.example", f"*.{s['name']}{self.dice.randint(1, 3)}.example"]

    def changes_timeouts(self):
        s = self.alone()
        if s is None:
            return False
        s |= {"connect_timeout": self.dice.uniform(10, 60), "idle_timeout": self.dice.uniform(100, 900),
              "client_timeout": self.dice.uniform(100, 900), "retry_pause": self.dice.choice([0.0, 0.1])}
        if s["mode"] == "http":
            s |= {"header_timeout": self.dice.uniform(50, 90), "keepalive_timeout": self.dice.uniform(50, 90),
                  "pool_idle": self.dice.uniform(0, 50), "pool_size": self.dice.randint(0, 20),
                  "response_timeout": self.dice.uniform(50, 90), "body_min_rate": self.dice.choice([0, 1, 100])}

    def changes_backends(self):
        s = self.dice.choice(self.crowd)
        s.pop("nodes", None)
        for color in ("green", "blue"):
            s[color] = {"backends": self.backends(s["mode"])}

    def changes_weights(self):
        s = self.dice.choice(self.crowd)
        s.pop("nodes", None)
        for color in ("green", "blue"):
            s[color] = {"backends": [{"address": a, "weight": self.dice.randint(1, 256)} for a in self.backends(s["mode"])]}

    def takes_nodes(self):
        s = self.dice.choice(self.crowd)
        s["nodes"] = self.dice.choice(["pool", "other", ["127.0.0.1"]])
        for color in ("green", "blue"):
            s[color] = {"port": self.dice.choice(self.http if s["mode"] == "http" else self.tcp).port}

    def changes_pools(self):
        self.top["node_pools"]["other"] = self.dice.choice([["127.0.0.1"], ["localhost"], ["127.0.0.1", "localhost"]])

    def changes_balance(self):
        s = self.dice.choice(self.crowd)
        s |= {"balance": self.dice.choice(["round_robin", "least_conn", "p2c", "source_hash"]),
              "slow_start": self.dice.choice([0.0, 0.5]), "retries": self.dice.randint(0, 5),
              "on_down": self.dice.choice(["keep", "reset"]), "when_all_down": self.dice.choice(["try", "refuse"]),
              "passive": {"failures": self.dice.randint(1, 9), "eject": 0.1}}

    def changes_health(self):
        s = self.dice.choice(self.crowd)
        kind = self.dice.choice(["none", "tcp"] + ["http"] * (s["mode"] == "http"))
        s["health"] = {"type": kind, "interval": self.dice.uniform(0.05, 1), "timeout": 20.0, "rise": 1, "fall": self.dice.randint(1, 3)}
        if kind == "http":
            s["health"]["path"] = f"/{self.dice.randint(0, 9)}"

    def changes_limits(self):
        s = self.alone()
        if s is None:
            return False
        s |= {"max_connections": self.dice.choice([0, 50, 500]), "max_connections_per_source": self.dice.choice([0, 100, 200]),
              "source_rate": self.dice.choice(["1000/s", "2000/s"]), "source_prefix6": self.dice.choice([48, 64]),
              "queue_timeout": self.dice.choice([0.0, 5.0]), "queue_limit": self.dice.choice([0, 10, 100]),
              "backend_max_connections": self.dice.choice([0, 100]), "deny": self.dice.choice([["10.0.0.0/8"], ["10.1.0.0/16", "::/0"]])}
        if self.dice.random() < 0.5:
            for key in ("source_rate", "deny", "max_connections_per_source"):
                s.pop(key, None)

    def changes_preview(self):
        s = self.alone()
        if s is None:
            return False
        if "preview" in s:
            del s["preview"]
        else:
            s["preview"] = f"127.0.0.1:{self.number()}"

    def changes_plain(self):
        s = self.alone("http")
        if s is None or "tls" not in s:
            return False
        if "plain_listen" in s:
            del s["plain_listen"]
        else:
            s["plain_listen"] = f"127.0.0.1:{self.number()}"

    def moves_to_a_path(self):
        s = self.alone()
        if s is None:
            return False
        at = f"unix:{os.path.dirname(self.teal.admin_path)}/l{self.dice.randint(1, 3)}"
        if any(o["listen"] == at for o in self.crowd):
            return False
        s.pop("plain_listen", None)
        s["listen"] = at

    def changes_socket_options(self):
        s = self.alone()
        if s is None:
            return False
        s["tcp"] = {"backlog": self.dice.choice([64, 1024]), "keepalive": self.dice.random() < 0.5,
                    "user_timeout": self.dice.uniform(10, 100)}

    def changes_drain(self):
        s = self.dice.choice(self.crowd)
        s |= {"drain": {"timeout": self.dice.choice([0.0, 0.2]), "idle": self.dice.choice([0.0, 0.1])},
              "flip": {"min_healthy": self.dice.choice([1, "50%"])}, "labels": {"project": str(self.dice.random())}}

    def changes_the_top(self):
        self.top |= {"log": {"level": self.dice.choice(["debug", "info"]), "access": self.dice.choice([True, "errors"])},
                     "ready": {"min_services": self.dice.choice([0, "1%"])},
                     "admin": {"socket": self.teal.admin_path, "roles": [
                         {"user": "nobody", "services": ["s*"], "allow": self.dice.choice([["read"], ["read", "flip"]])}]},
                     "stop": {"timeout": self.dice.uniform(0.1, 0.5)}}

    def changes_http(self):
        s = self.alone("http")
        if s is None:
            return False
        s |= {"forwarded": self.dice.random() < 0.5, "via": self.dice.random() < 0.5, "request_id": self.dice.random() < 0.5,
              "color_header": self.dice.random() < 0.5, "max_header_size": self.dice.choice([4096, 65536]),
              "max_requests": self.dice.choice([0, 3, 1000]), "pool_reuse": self.dice.choice(["safe", "always"])}

    def changes_order(self):
        self.dice.shuffle(self.crowd)

    GOOD = (adds, adds, changes_tls_to_backends, removes, replaces, renames, renames, moves_port, swaps_ports, toggles_tls, changes_certificate, shares, shares,
            changes_hosts, changes_timeouts, changes_backends, changes_weights, takes_nodes, changes_pools, changes_balance,
            changes_health, changes_limits, changes_preview, changes_plain, moves_to_a_path, changes_socket_options, changes_drain,
            changes_the_top, changes_http, changes_order)

    # -- what it may not --

    def has_a_taken_port(self):
        s = self.new_service()
        s["listen"] = "127.0.0.1:%d" % self.taken.getsockname()[1]
        self.tls_off(s)
        self.crowd.append(s)
        return "config", str(self.taken.getsockname()[1])

    def has_no_key(self):
        s = self.new_service()
        self.tls_on(s)
        wrong = self.folder / "wrong.pem"
        wrong.write_text("-----BEGIN NONSENSE-----\n")
        s["tls"]["certificates"] = [self.certificates[0] | {"key": self.dice.choice([str(self.folder / "none.key"), str(self.folder), str(wrong)])}]
        self.crowd.append(s)
        return "config", ""

    def has_another_keys_certificate(self):
        s = self.new_service()
        self.tls_on(s)
        s["tls"]["certificates"] = [self.certificates[0] | {"key": self.certificates[1]["key"]}]
        self.crowd.append(s)
        return "config", "one.example"

    def changes_mode(self):
        s = next((s for s in self.crowd if s["mode"] == "tcp" and s["name"] in {o["name"] for o in self.good[0]}), None)
        if s is None:
            return False
        s["mode"] = "http"
        return "unsupported", "mode"

    def changes_workers(self):
        self.top["workers"] = 3
        return "unsupported", "workers"

    def names_nobody(self):
        s = self.new_service()
        s["green"] = {"backends": ["no-such-name.invalid:80"]}
        self.crowd.append(s)
        return "config", "no-such-name.invalid"

    def says_twice(self):
        s = self.dice.choice(self.crowd)
        self.crowd.append(copy.deepcopy(s))
        return "config", s["name"]

    def is_nonsense(self):
        self.crowd[0]["idle_timeout"] = "for ever"
        return "config", "idle_timeout"

    WRONG = (has_a_taken_port, has_no_key, names_nobody, has_another_keys_certificate, changes_mode, changes_workers, says_twice, is_nonsense)

    # -- a reload --

    def write(self):
        rewrite(self.teal, **({"workers": 2, "log": {"level": "debug"}, "admin": {"socket": self.teal.admin_path},
                               "ready": {"min_services": 0}, "stop": {"timeout": 0.5}} | self.top),
                services=self.stays + self.crowd)

    def restore(self):
        self.crowd, self.top = copy.deepcopy(self.good[0]), copy.deepcopy(self.good[1])
        self.write()

    def taken_over(self, r, changes):
        assert r["ok"], (changes, [e["message"] for e in r["errors"]] or r["message"])
        assert r["generation"] == self.generation + r["changed"], (changes, r)
        self.generation = r["generation"]
        self.good = copy.deepcopy(self.crowd), copy.deepcopy(self.top)
        self.done += 1

    def a_good_one(self):
        changes = []
        while len(changes) < self.dice.randint(1, 5):
            change = self.dice.choice(self.GOOD)
            if change(self) is not False:
                changes.append(change.__name__)
        self.write()
        way = self.dice.randrange(5)
        with self.teal.admin() as first, self.teal.admin() as second:
            if way == 0:
                before = self.teal.ok("status")["config"]
                first.send("reload", "--dry-run")
                r = first.reply()
                assert r["ok"] and not r["changed"], (changes, [e["message"] for e in r.get("errors", [])])
                assert self.teal.ok("status")["config"]["generation"] == before["generation"]
            if way == 1:
                for _ in range(self.dice.randint(1, 20)):
                    os.kill(self.pid(), signal.SIGHUP)
                until(lambda: self.is_taken_over(first), f"taken over: {changes}")
                now = self.teal.ok("status")["config"]["generation"]
                r = {"ok": True, "changed": now > self.generation, "generation": now}
            else:
                first.send("reload")
                if way == 2:
                    second.send("reload")
                r = first.reply()
                if way == 2:
                    again = second.reply()
                    assert again["ok"] and not (again["changed"] and r["changed"]), (changes, again)
                    r["changed"] |= again["changed"]
                    r["generation"] = max(r["generation"], again["generation"])
        self.taken_over(r, changes)
        self.fits(changes)

    def is_taken_over(self, admin):
        r = admin.command("reload", "--dry-run")
        assert r["ok"], [e["message"] for e in r["errors"]]
        failed = self.teal.log_lines_now("reload.failed", by="SIGHUP")
        assert not failed, failed
        lines = r.event("planned")["lines"]
        return len(lines) == 1 and lines[0].startswith("= ")

    def a_wrong_one(self):
        wrong = self.dice.choice(self.WRONG)
        if self.dice.random() < 0.5:
            self.dice.choice(self.GOOD)(self)
        what = wrong(self)
        if what is False:
            return self.restore()
        self.write()
        r = self.teal.ctl("reload")
        assert not r["ok"] and r["error"] == what[0], (wrong.__name__, r)
        assert what[1] in r["message"] + str(r["errors"]), (wrong.__name__, r)
        assert not r["changed"] and r["generation"] == self.generation
        self.wrong += 1
        self.restore()
        self.fits([wrong.__name__])

    def pid(self):
        return self.teal.pid

    # -- what happens beside it --

    def beside(self):
        """Flips, drains, nodes, locks and certificates, of services that may be gone meanwhile."""
        dice = random.Random(self.dice.random())
        while True:
            name = dice.choice(self.crowd)["name"]
            words = dice.choice([["flip", name, dice.choice(["green", "blue"]), "--force"], ["drain", name], ["status", name],
                                 ["flip", name, dice.choice(["green", "blue"]), "--wait=none"], ["certs", "reload"], ["idle", name],
                                 ["check", name], ["lock", name, "--for=1"], ["unlock", name], ["history", name], ["status"],
                                 ["node", "drain", "other", "127.0.0.1", "--force"], ["node", "ready", "other", "127.0.0.1", "--force"],
                                 ["node", "add", "pool", "127.0.0.1", "--force"], ["node", "reset", "other", "--force"],
                                 ["config"], ["node", "list"], ["flip", "kept", "green"]])
            with self.teal.admin() as a:
                r = a.command(*words)
            assert r["ok"] or r["error"] not in ("internal",), (words, r)
            yield

    # -- looking --

    def where(self, s):
        at = s["listen"]
        return at[5:] if at.startswith("unix:") else ("127.0.0.1", self.port_of(s))

    def shown(self, s):
        """Is this service at its address, and speaks?"""
        host = s["hosts"][0] if "hosts" in s else "one.example"
        tls = "tls" in s
        context = trusting() if tls else None
        try:
            if s["mode"] == "http":
                with Http(self.where(s), tls=context, server_name=host if host.count(".") == 1 else "one.example") as c:
                    m = c.ask(host=host)
                    self.seen = repr(m)
                    return m is not None and m.status == 200 and m.body.startswith(b"http")
            with Client(self.where(s)) as c:
                if tls:
                    c.sock = context.wrap_socket(c.sock, server_hostname="one.example")
                return c.echo() is c
        except (OSError, AssertionError) as e:
            self.seen = repr(e)
            return False

    def fits(self, changes):
        names = [s["name"] for s in self.stays + self.crowd]
        told = self.teal.ok("status")
        assert sorted(s["name"] for s in told["services"]) == sorted(names), changes
        assert told["config"]["generation"] == self.generation, changes
        for s in self.crowd:
            if "backend_tls" in s:
                continue
            try:
                until(lambda: self.shown(s), "it is shown")
            except AssertionError as e:
                raise AssertionError(f"{s} after {changes}: {self.seen}") from e
        for u in self.untouched:
            assert u.error is None, (changes, u.error)


def noise(c):
    """Clients of services that change: they may fail, and must not make teald fail."""
    dice, kept = random.Random(c.dice.random()), []
    while True:
        s = copy.deepcopy(dice.choice(c.good[0]))
        try:
            if len(kept) > 20:
                kept.pop(dice.randrange(len(kept)))[1].close()
            if s["mode"] == "http":
                with_tls = trusting() if "tls" in s else None
                h = Http(c.where(s), 5, tls=with_tls, server_name=with_tls and "one.example")
                kept.append((s, h))
                if dice.random() < 0.3:
                    h.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegun")
                else:
                    h.ask(host=s.get("hosts", ["x"])[0])
            else:
                kept.append((s, Client(c.where(s), 5)))
            s, old = dice.choice(kept)
            if s["mode"] == "http":
                old.ask(host=s.get("hosts", ["x"])[0])
            else:
                old.sock.sendall(b"x" * dice.randint(1, 100000))
        except (OSError, AssertionError, ValueError):
            pass
        yield


def crowd_of_untouched(c):
    kept, secure = c.teal.address("kept"), ("127.0.0.1", c.port_of(c.stays[2]))
    return [Untouched(stream(c.teal.address("still"), seed)) for seed in range(3)] + [
        Untouched(kept_alive(kept, "kept")), Untouched(kept_alive(kept, "kept")),
        Untouched(kept_alive(secure, "one.example", trusting(c.ca.pem))), Untouched(one_by_one(kept))]


@pytest.fixture
def chaos(teal, ports, backend, tmp_path):
    made = []

    def make(**how):
        c = Chaos(teal, ports, backend, tmp_path, scale.dice(), **how)
        c.untouched = crowd_of_untouched(c) if c.teal.running else []
        made.append(c)
        return c
    yield make
    for c in made:
        for u in c.untouched:
            u.stopped.set()
        c.taken.close()


def named_threads(teal):
    """All but helpers, of which there are as many as were needed at one time."""
    names = [open(f"/proc/{teal.pid}/task/{t}/comm").read().strip() for t in os.listdir(f"/proc/{teal.pid}/task")]
    return sorted(n for n in names if n != "teal-helper")


def test_reloads_at_random(chaos):
    c = chaos()
    until(lambda: all(u.done > 3 for u in c.untouched), "all of them run")
    first = copy.deepcopy(c.crowd), copy.deepcopy(c.top)

    def rest():
        """Back to the first file."""
        c.crowd, c.top = copy.deepcopy(first[0]), copy.deepcopy(first[1])
        c.write()
        c.taken_over(c.teal.ok("reload"), ["back"])
        c.fits(["back"])
    c.a_good_one()
    rest()
    until(lambda: all(u.error is None for u in c.untouched), "none has noticed")
    fds, threads = c.teal.fds(), named_threads(c.teal)
    beside = Untouched(c.beside)
    noisy = [Untouched(lambda: noise(c)) for _ in range(2)]
    for _ in range(scaled(1000, 30)):
        (c.a_wrong_one if c.dice.random() < 0.25 else c.a_good_one)()
        assert beside.error is None, beside.error
    for u in [beside, *noisy]:
        u.stop()
        assert u.error is None, u.error
    rest()
    for u in c.untouched:
        u.stop()
    assert [u.error for u in c.untouched] == [None] * len(c.untouched)
    assert c.done > 5 and c.wrong > 0
    until(lambda: c.teal.fds() <= fds, f"descriptors are back to {fds}")
    assert named_threads(c.teal) == threads
    assert c.teal.stop() == 0


def test_those_who_are_told_ask_again_at_once(web):
    """Many connections, each with many commands in one piece, and signals between them."""
    teal = web()
    each = ["reload --dry-run", "reload", "reload"] * 4
    for n in range(scaled(200)):
        some = [teal.admin() for _ in range(5)]
        rewrite(teal, stop={"timeout": 0.1 + n % 7 / 10})
        teal.signal(signal.SIGHUP)
        for a in some:
            a.sock.sendall("".join(w + "\n" for w in each).encode())
            teal.signal(signal.SIGHUP)
        rewrite(teal, log={"level": "debug" if n % 2 else "info"})
        teal.signal(signal.SIGHUP)
        for a in some:
            for words in each:
                r = a.reply()
                assert r["ok"] and r["dry_run"] == ("dry" in words), (words, r)
                assert not (r["dry_run"] and r["changed"]), r
                r.event("planned")
            a.close()
        until(lambda: len(teal.ok("reload", "--dry-run").event("planned")["lines"]) == 1, "the last signal is obeyed")
    assert teal.stop() == 0


def test_a_check_outlives_the_file_that_it_was_begun_by(web, ports, backend):
    asked, go = threading.Event(), threading.Event()

    def slow(conn, b):
        if b"slow" in conn.recv(1 << 16):
            asked.set()
            go.wait()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    teal = web(health={"type": "none"})
    checked = backend("checked", slow)
    pay = service("pay", listen=f"127.0.0.1:{ports.hold()}", mode="http", green=[checked], blue=[checked],
                  health={"type": "http", "path": "/slow", "interval": 0.05, "timeout": 100.0, "rise": 1, "fall": 1})
    rewrite(teal, services=teal.settings["services"] + [pay])
    reload(teal)
    until(asked.is_set, "it is asked")
    for level in ("info", "debug", "info"):
        rewrite(teal, log={"level": level})
        reload(teal)
    go.set()
    until(lambda: teal.status("pay")["colors"]["green"]["healthy"] == 1, "the answer counts")


def test_another_name_and_no_tls_any_more_at_once(web, tmp_path):
    """To its clients, to its backends, and in what is told of certificates."""
    ca = Authority(tmp_path)
    teal = web(tls={"certificates": [ca.issue("one.example")]}, health={"type": "none"}, backend_tls={"verify": False})
    plain = {k: v for k, v in teal.settings["services"][0].items() if k not in ("tls", "backend_tls")}
    rewrite(teal, services=[plain | {"name": "shop", "rename": "web"}])
    reload(teal)
    assert teal.connect("shop").peer == "green"
    rewrite(teal, services=[plain | {"name": "web", "rename": "shop", "tls": {"certificates": [ca.issue("two.example")]}}])
    reload(teal)
    assert "two.example" in subject(connect(teal.address(), https(ca), "two.example"))


def test_tls_to_backends_comes_and_goes_under_load(web, farm, load):
    """Connects and checks that are under way meet terms that their backends were not made for."""
    a = farm("a")
    teal = web(green=[a], blue=[a], health={"interval": 0.01, "timeout": 20.0, "rise": 1, "fall": 1}, retry_pause=0.0)
    crowd = load(teal, 8).more(50)
    for i in range(scaled(400)):
        change(teal, backend_tls={"verify": False} if i % 2 == 0 else None)
        reload(teal)
        crowd.more(20)
    sessions = crowd.finish()
    assert any(s.error for s in sessions) and any(not s.error for s in sessions)
    change(teal, backend_tls=None)
    reload(teal)
    until(lambda: teal.status()["colors"]["green"]["healthy"] == 1, "it is checked plainly")
    teal.rest()
    assert teal.connect().peer == "a"


def test_hangups_from_the_first_moment_on(web):
    """What has not begun to serve takes none for its end."""
    teal = web(start=False)
    for supervised in (True, False):
        teal.start(supervised=supervised, ready=False)
        if supervised:
            until(lambda: open(f"/proc/{teal.pid}/task/{teal.pid}/children").read(), "there is a process that will serve", every=0)
            while not teal.log_lines_now("teald.starting") and teal.running:
                teal.signal(signal.SIGHUP)
        teal.wait_log("teald.starting")
        for _ in range(scaled(2000)):
            teal.signal(signal.SIGHUP)
        teal.wait_ready()
        assert not teal.log_lines("teald.crashed")
        teal.connect().echo()
        assert teal.stop() == 0


def test_killed_and_ended_in_the_middle_of_reloads(chaos):
    """Who serves next obeys the file that is there, with the colors that were said to be active; no
    connect is refused meanwhile where the file says that there is a listener."""
    c = chaos(start=False)
    c.teal.start("--max-restarts=1000", supervised=True)
    refused = []

    def connects():
        while True:
            try:
                socket.create_connection(c.teal.address("still"), scale.patience()).close()
            except ConnectionRefusedError as e:
                refused.append(e)
            yield
    some = [Untouched(connects) for _ in range(2)]
    colors = {}
    for n in range(scaled(100, 4)):
        name = c.dice.choice(c.crowd)["name"]
        color = c.dice.choice(["green", "blue"])
        if c.teal.ok("flip", name, color, "--force")["ok"]:
            colors[name] = c.teal.status(name)["epoch"], color
        before = c.teal.serving()
        c.adds(), c.swaps_ports(), c.removes(), c.changes_timeouts()
        c.write()
        with c.teal.admin() as a:
            a.send("reload")
            for _ in range(c.dice.randrange(20)):
                c.teal.ctl("status")
            os.kill(before, signal.SIGKILL)
        until(lambda: serving(c.teal) not in (None, before), "another one serves")
        c.good = copy.deepcopy(c.crowd), copy.deepcopy(c.top)
        c.generation = 1
        c.fits(["a crash"])
        for s in c.teal.ok("status")["services"]:
            if s["name"] in colors:
                assert (s["epoch"], s["active"]) == colors[s["name"]], s["name"]
    for u in some:
        u.stop()
        assert u.error is None, u.error
    assert not refused
    # And an end that is asked for in the middle of one.
    c.adds(), c.swaps_ports(), c.removes()
    c.write()
    with c.teal.admin() as a:
        a.send("reload")
        a.send("reload")
        c.teal.signal()
        assert c.teal.wait() == 0


def serving(teal):
    try:
        return teal.serving()
    except (OSError, AssertionError):
        return None
