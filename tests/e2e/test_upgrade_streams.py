"""Streams live through one upgrade after the other: those that move at full speed, those behind full
buffers, those of which one side has ended, WebSockets, TLS that is passed through. Every byte arrives once."""
import hashlib
import resource
import socket
import threading

import pytest

from helpers import scale
from helpers.backends import pattern
from helpers.failing_memory import FailingMemory
from helpers.scale import scaled, slow, until
from helpers.tealbench import Running, Serve, errors
from helpers.teald import service
from helpers.upgrade import children, gone, upgrade, upgraded

STALLED = 24 << 20  # more than all buffers between a source and one who does not read


@pytest.fixture
def supervised(teal):
    def make(*args, services, **settings):
        return teal(start=False, services=services, log={"level": "info", "access": False}, **settings).start(*args, supervised=True)
    return make


class Stalled:
    """A client of a source that reads nothing until it is told to."""

    def __init__(self, address):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(scale.patience())
        self.sock.connect(address)

    def digest(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        digest, n = hashlib.sha256(), 0
        while piece := self.sock.recv(1 << 16):
            digest.update(piece)
            n += len(piece)
        return n, digest.hexdigest()

    def close(self):
        self.sock.close()


class Half:
    """A connection of which one side has ended; the other goes on, a block at a time."""

    def __init__(self, address, up, seed):
        self.block, self.up, self.digest = pattern(seed), up, hashlib.sha256()
        self.n = 0
        self.sock = socket.create_connection(address, scale.patience())
        if up:
            assert self.sock.recv(10) == b"" and self.sock.send(b"") == 0
        else:
            self.sock.shutdown(socket.SHUT_WR)

    def sends(self, sock):
        piece = self.block[self.n % 4093:][:5000 + self.n]
        self.n += 1
        self.digest.update(piece)
        sock.sendall(piece)
        return piece

    def close(self):
        self.sock.close()


@pytest.fixture
def halves(backend):
    """(backend, a list of what it gets or the sockets it may send on)."""
    got, ready = {}, []

    def takes(conn, b):
        conn.shutdown(socket.SHUT_WR)
        digest = hashlib.sha256()
        while piece := conn.recv(1 << 16):
            digest.update(piece)
        got[digest.hexdigest()] = True

    def gives(conn, b):
        assert conn.recv(1) == b""
        done = threading.Event()
        ready.append((conn, done))
        done.wait(10 * scale.patience())
    return backend("takes", takes), backend("gives", gives), got, ready


@pytest.mark.scales
@pytest.mark.long
def test_streams_live_through_many_upgrades(supervised, ports, closing, halves):
    upgrades, n = scaled(50, 4 if slow() == 1 else 2), scaled(100, 5)
    takes, gives, got, ready = halves
    pairs = {mode: [closing.add(Serve(f"--mode={mode}", f"--name={color}", *more)) for color in ("green", "blue")]
             for mode, more in (("source", ()), ("sink", ()), ("echo", ()), ("http", ()))}
    pairs["unasked"] = [closing.add(Serve("--mode=source", f"--bytes={STALLED}")) for _ in range(2)]
    pairs["tls"] = [closing.add(Serve("--mode=echo", "--tls")) for _ in range(2)]
    pairs["takes"], pairs["gives"] = [takes, takes], [gives, gives]
    services = [service(name, mode="http" if name == "http" else "tcp", listen=f"127.0.0.1:{ports.hold()}", green=pair[:1],
                        blue=pair[1:], idle_timeout=0, health={"type": "none"}) for name, pair in pairs.items()]
    t = supervised(services=services)
    at = {s["name"]: s["listen"] for s in services}
    few = ("--rate=%d" % (4 * n), f"--connections={n}")
    streams = {name: closing.add(Running(address, *options)) for name, address, options in (
        ("down", at["source"], ("--mode=tcp-bulk-down", "--size=1024GiB", f"--connections={n}")),
        ("up", at["sink"], ("--mode=tcp-bulk-up", "--size=1024GiB", f"--connections={max(1, n // 4)}")),
        ("echo", at["echo"], ("--mode=tcp-small", "--lasting", "--size=20000", *few)),
        ("ws", at["http"], ("--mode=ws", "--size=20000", *few)),
        ("tls", at["tls"], ("--mode=tcp-small", "--lasting", "--tls", "--insecure", "--size=20000", *few)))}
    reference = Stalled(("127.0.0.1", pairs["unasked"][0].port)).digest()
    assert reference[0] == STALLED
    stalled = [closing.add(Stalled(t.address("unasked"))) for _ in range(n)]
    ups = [closing.add(Half(t.address("takes"), True, seed)) for seed in range(n)]
    downs = []
    for seed in range(n):
        downs.append(closing.add(Half(t.address("gives"), False, 1000 + seed)))
        until(lambda: len(ready) == len(downs), "the end of its client has arrived")

    def moves():
        """A block over each that is half closed."""
        for h in ups:
            h.sends(h.sock)
        for h, (conn, _) in zip(downs, ready):
            piece, back = h.sends(conn), b""
            while len(back) < len(piece):
                more = h.sock.recv(1 << 16)
                assert more, "it has ended"
                back += more
            assert back == piece
    moves()

    def active():
        return {s["name"]: sum(c["connections"] for c in s["colors"].values()) for s in t.ok("status")["services"]}
    expected = {"source": n, "sink": max(1, n // 4), "echo": n, "http": n, "tls": n, "unasked": n, "takes": n, "gives": n}
    until(lambda: active() == expected, "all stand")
    for _ in range(upgrades):
        upgraded(t)
        moves()
        assert active() == expected, "they are counted where they are"
    for s in stalled:
        assert s.digest() == reference
    for h in ups:
        h.sock.shutdown(socket.SHUT_WR)
        assert h.sock.recv(1) == b""
    until(lambda: all(h.digest.hexdigest() in got for h in ups), "every byte has arrived")
    for h, (conn, done) in zip(downs, ready):
        done.set()
        assert h.sock.recv(1) == b""
    results = {name: r.close() for name, r in streams.items()}
    assert {name: errors(r) for name, r in results.items()} == {name: {} for name in streams}
    assert all(r["bytes_in"] + r["bytes_out"] > 0 for r in results.values())
    m = t.metrics()
    assert m.get("teal_upgrades_total", result="ok") == upgrades
    assert t.stop() == 0


@pytest.mark.scales
def test_thousands_that_say_nothing_are_handed_over(supervised, ports, closing):
    # Two descriptors each, of as many as this machine gives, less what Teal sets aside for itself.
    n = min(scaled(10_000, 500), resource.getrlimit(resource.RLIMIT_NOFILE)[1] * 2 // 5)
    pair = [closing.add(Serve("--mode=echo")) for _ in range(2)]
    t = supervised(services=[service("web", listen=f"127.0.0.1:{ports.hold()}", green=pair[:1], blue=pair[1:], idle_timeout=0)])
    idle = closing.add(Running("%s:%d" % t.address(), "--mode=tcp-idle", f"--connections={n}"))
    assert '"holding"' in idle.process.stdout.readline()
    for _ in range(2):
        upgraded(t)
        assert t.status()["colors"]["green"]["connections"] == n
    print([(l["remaining"], l["count"], l["seconds"]) for l in t.log_lines("upgrade.given")])
    assert errors(idle.close()) == {}
    until(lambda: t.status()["colors"]["green"]["connections"] == 0, "their ends are seen")


@pytest.mark.nosan  # a sanitizer has its own memory
def test_memory_that_is_out_holds_streams_up_and_breaks_none(teal, ports, closing, tmp_path):
    """Of either process: what cannot be offered or taken goes on in the former one, and is offered again."""
    n = 50
    pair = [closing.add(Serve("--mode=echo")) for _ in range(2)]
    memory = FailingMemory(tmp_path)
    t = teal(start=False, log={"level": "info", "access": False}, services=[service(
        "web", listen=f"127.0.0.1:{ports.hold()}", green=pair[:1], blue=pair[1:], idle_timeout=0)])
    t.start(supervised=True, env=memory.env())
    flows = closing.add(Running("%s:%d" % t.address(), "--mode=tcp-small", "--lasting", f"--connections={n}", f"--rate={4 * n}"))

    def active():
        return sum(c["connections"] for c in t.status()["colors"].values())
    until(lambda: active() == n, "all stand")
    for _ in range(2):
        refused = memory.failed
        memory.fail(300)
        before, _ = upgrade(t)
        until(lambda: memory.failed > refused, "memory was out")
        memory.fail(0)
        gone(before)
        assert active() == n
    assert errors(flows.close()) == {}
    assert t.stop() == 0


def test_those_whose_tls_ends_here_stay_with_the_former_process(supervised, ports, closing, tmp_path):
    """They go on there, counted together with the others, and hold nothing but themselves."""
    from helpers.certificates import Authority
    ca = Authority(tmp_path)
    pair = [closing.add(Serve("--mode=echo")) for _ in range(2)]
    keys = {"green": pair[:1], "blue": pair[1:], "idle_timeout": 0}
    t = supervised(services=[service("plain", listen=f"127.0.0.1:{ports.hold()}", **keys),
                             service("secure", listen=f"127.0.0.1:{ports.hold()}",
                                     tls={"certificates": [ca.issue("secure.example")]}, **keys)])
    plain, secure = (closing.add(Running("%s:%d" % t.address(name), "--mode=tcp-small", "--lasting", "--connections=3",
                                         "--rate=30", *more)) for name, more in (
        ("plain", ()), ("secure", ("--tls", f"--ca={ca.pem}", "--sni=secure.example"))))

    def active():
        return {s["name"]: sum(c["connections"] for c in s["colors"].values()) for s in t.ok("status")["services"]}
    until(lambda: active() == {"plain": 3, "secure": 3}, "all stand")
    before, after = upgrade(t)
    until(lambda: active() == {"plain": 3, "secure": 3}, "both processes are counted")
    # A third generation would be one too many.
    r = t.ctl("upgrade")
    assert not r["ok"] and r["error"] == "conflict" and "3 connections" in r["message"], r
    assert sorted(children(t)) == sorted([before, after])
    assert errors(secure.close()) == {}
    gone(before)
    upgraded(t)
    assert errors(plain.close()) == {}
