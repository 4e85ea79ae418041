"""Reloads of everything beside them, one after the other, under the load of services that they do
not concern: not one request fails, not one stream breaks, nothing is left behind."""

import pytest

from helpers.certificates import Authority
from helpers.reload import reload, rewrite
from helpers.scale import SOAK, dice, scaled, slow, until
from helpers.tealbench import Running, Serve, errors
from helpers.teald import service



class Neighbors:
    """Services that come, go and change with each reload; what stays is never among them."""

    def __init__(self, dice, ports, backends, ca):
        self.dice, self.ca, self.backends = dice, ca, backends
        self.numbers = [ports.hold() for _ in range(12)]
        self.services = []
        for _ in range(3):
            self.adds()

    def name(self):
        """One that is free; of a few, for the record of each is kept."""
        return self.dice.choice([n for n in (f"n{i}" for i in range(16)) if n not in {s["name"] for s in self.services}])

    def adds(self):
        if len(self.services) < 6:
            used = {s["listen"] for s in self.services}
            at = self.dice.choice([a for n in self.numbers if (a := f"127.0.0.1:{n}") not in used])
            s = service(self.name(), mode=self.dice.choice(["tcp", "http"]), listen=at, green=[], blue=[],
                        drain={"timeout": 0.0}, health={"type": "none"})
            self.changes_backends(s)
            if self.dice.random() < 0.5:
                s["tls"] = {"certificates": [self.ca.issue("neighbor.example")]}
            self.services.append(s)

    def removes(self):
        if len(self.services) > 1:
            self.services.remove(self.dice.choice(self.services))

    def renames(self):
        s = self.dice.choice(self.services)
        s["name"], s["rename"] = self.name(), s["name"]

    def moves_ports(self):
        a, b = self.dice.choice(self.services), self.dice.choice(self.services)
        a["listen"], b["listen"] = b["listen"], a["listen"]

    def changes_timeouts(self):
        s = self.dice.choice(self.services)
        s |= {"connect_timeout": self.dice.uniform(10, 60), "idle_timeout": self.dice.uniform(100, 900)}

    def changes_backends(self, s=None):
        s = s or self.dice.choice(self.services)
        some = [b.address for b in self.dice.sample(self.backends, len(self.backends))]
        n = self.dice.randint(1, len(some) - 1)
        s["green"], s["blue"] = {"backends": some[:n]}, {"backends": some[n:]}

    def changes_certificates(self):
        self.ca.issue("neighbor.example")

    ALL = (adds, removes, renames, moves_ports, changes_timeouts, changes_backends, changes_certificates)

    def change(self, which=None):
        (which or self.dice.choice(self.ALL))(self)


@pytest.mark.scales
@pytest.mark.tsan
def test_what_no_reload_concerns_never_notices(teal, ports, closing, tmp_path):
    requests, reloads = scaled(1_000_000, 8_000 // slow()), scaled(1000, 50 // slow())
    streams = scaled(250, 13)
    ca = Authority(tmp_path)
    pairs = {mode: [closing.add(Serve(f"--mode={mode}", f"--name={color}", "--threads=2")) for color in ("green", "blue")]
             for mode in ("hello", "echo", "http")}
    neighbors = Neighbors(dice(), ports, [closing.add(Serve("--mode=http", f"--name=n{i}")) for i in range(3)], ca)
    # As many connections to backends as there are requests at once: memory is measured.
    pool = {"pool_reuse": "always"}
    still = [service(name, mode=mode, listen=f"127.0.0.1:{ports.hold()}", green=pairs[kind][:1], blue=pairs[kind][1:], **more)
             for name, mode, kind, more in (("tcp", "tcp", "hello", {}), ("echo", "tcp", "echo", {}), ("web", "http", "http", pool),
                                            ("secure", "http", "http", pool | {"tls": {"certificates": [ca.issue("secure.example")]}}))]
    t = teal(services=still + neighbors.services, log={"level": "error", "access": False})
    at = {s["name"]: s["listen"] for s in still}
    lasting = [closing.add(Running(at["echo"], "--mode=tcp-small", "--lasting", f"--connections={streams}", f"--rate={4 * streams}",
                                   "--size=2000")),
               closing.add(Running(at["web"], "--mode=ws", f"--connections={streams}", f"--rate={4 * streams}", "--size=2000"))]
    secure = ("--tls", f"--ca={ca.pem}", "--sni=secure.example")
    loads = []

    def under_load(work, turns):
        """At least so many requests, and so many reloads spread over them; the results."""
        # As fast as it goes in a soak; else so many as are wanted, and not all that a machine can do while it reloads.
        pace = [] if SOAK else ["--rate=150"]
        some = [closing.add(Running(*how, "--connections=16", "--timeout=600", *pace)) for how in (
            (at["tcp"], "--mode=tcp-connect", "--hello", "--sources=8"), (at["web"], "--mode=http"),
            (at["web"], "--mode=http-close", "--sources=8"), (at["secure"], "--mode=http", *secure),
            (at["secure"], "--mode=http-close", "--sources=8", *secure))]
        before = answered()
        for n in range(turns):
            until(lambda: answered() - before >= n * work / turns, "the load goes on", timeout=3600, every=0.05)
            neighbors.change(neighbors.ALL[n] if n < len(neighbors.ALL) else None)
            taken_over()
        until(lambda: answered() - before >= work, "all is answered", timeout=3600, every=0.05)
        return [x.close() for x in some]

    def answered():
        m = t.metrics()
        return m.get("teal_requests_total", service="web") + m.get("teal_requests_total", service="secure") + \
            m.get("teal_connections_total", service="tcp")

    def taken_over():
        rewrite(t, services=still + neighbors.services)
        reload(t)
        for s in neighbors.services:
            s.pop("rename", None)

    def rest():
        """Only what stays; descriptors, once all else has gone, and memory."""
        rewrite(t, services=still)
        reload(t)
        until(lambda: not t.ok("status").get("leaving"), "all that was removed has gone")
        idle = t.ok("config")["services"]
        assert sorted(s["service"] for s in idle) == sorted(at)
        return t.rss()

    # What is used once stays resident: the ring of log lines, and what many reloads have had at the same time.
    with t.admin() as a:
        for _ in range(80):
            a.sock.sendall(b"flip none green --reason=%s\n" % (b"x" * 200) * 100)
            assert {a.reply()["error"] for _ in range(100)} == {"unknown_service"}
    # The heap grows by half a megabyte in the first hundreds of reloads, and by nothing that depends on their number.
    loads += under_load(requests // 10, reloads if SOAK else 20 + reloads // 5)
    rss, fds = rest(), t.fds()
    taken_over()
    loads += under_load(requests, reloads)
    after = rest()
    done = sum(r["ok"] for r in loads)
    assert [errors(r) for r in loads] == [{}] * len(loads) and done >= requests
    held = [x.close() for x in lasting]
    assert [errors(r) for r in held] == [{}, {}] and all(r["ok"] > streams for r in held)
    print(f"{done} requests, {t.ok('status')['config']['generation']} generations, {sum(r['ok'] for r in held)} messages of "
          f"{2 * streams} streams, rss {rss} -> {after}, descriptors {fds}")
    until(lambda: t.fds() <= fds * 1.02, f"descriptors are back to {fds}")
    # What is allocated stays the same; how much of each thread's heap is in use a moment later differs a little.
    assert after <= rss * (1.02 if SOAK else 1.1) or slow() > 1, (rss, after)
    assert t.stop() == 0
