"""Limits that hold exactly, and running out of descriptors."""
import os
import resource
import subprocess
import threading

import pytest

from helpers import libconfig
from helpers.reload import change, reload, rewrite
from helpers.scale import BUILD, patience, scaled, until
from helpers.teald import service
from test_tealctl import Terminal


# A limit that even root cannot raise any more.
LITTLE = ("prlimit", "--nofile=240:240")
if os.getuid() == 0:
    LITTLE += ("setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")


def held_or_refused(client):
    """The backend's name, or None when refused: closed without a byte."""
    try:
        client._peer = client.line()
        return client._peer
    except ConnectionResetError:
        return None


def test_max_connections_is_exact_over_all_workers(web, closing):
    teal = web(max_connections=10, top={"workers": 4})
    clients = [closing.add(teal.connect()) for _ in range(40)]
    held = [c for c in clients if held_or_refused(c) == "green"]
    assert len(held) == 10
    m = teal.wait_metric(30, "teal_rejected_total", service="web", reason="max_connections")
    assert m.get("teal_connections", service="web", color="green") == 10
    # A place that is freed can be taken, and only that one.
    held[0].close()
    teal.wait_metric(9, "teal_connections", service="web", color="green")
    assert held_or_refused(closing.add(teal.connect())) == "green"
    assert held_or_refused(closing.add(teal.connect())) is None
    for c in held[1:]:
        assert c.echo().peer == "green"


@pytest.mark.tsan
@pytest.mark.scales
def test_max_connections_holds_at_every_moment_of_a_rush(web):
    """Clients count themselves in after the greeting and out before closing:
    the limit passed for a moment would show."""
    limit, rounds = 6, scaled(2000, 60)
    teal = web(max_connections=limit, top={"workers": 4})
    lock, now, most, served, refused = threading.Lock(), 0, 0, 0, 0

    def rush():
        nonlocal now, most, served, refused
        n = 0
        while n < rounds or served < rounds or refused == 0:
            n += 1
            with teal.connect() as c:
                if held_or_refused(c) is None:
                    with lock:
                        refused += 1
                    continue
                with lock:
                    now += 1
                    served += 1
                    most = max(most, now)
                c.sock.sendall(b"x")
                c.receive(1)
                with lock:
                    now -= 1
    threads = [threading.Thread(target=rush) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert most <= limit
    assert served >= rounds and refused > 0, (served, refused)
    m = teal.wait_metric(served, "teal_connections_total", service="web", color="green", end="done")
    assert m.get("teal_rejected_total", service="web", reason="max_connections") == refused
    # Nothing leaks: afterwards there is room for exactly as many as before.
    teal.wait_metric(0, "teal_connections", service="web")
    clients = [teal.connect() for _ in range(limit + 5)]
    assert sum(held_or_refused(c) is not None for c in clients) == limit
    for c in clients:
        c.close()


def test_one_services_limit_is_not_anothers(teal, backend, ports, closing):
    g, b = backend("green"), backend("blue")
    t = teal(services=[service("small", listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[b], max_connections=1),
                       service("big", listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[g], max_connections=0)])
    assert held_or_refused(closing.add(t.connect("small"))) == "green"
    assert held_or_refused(closing.add(t.connect("small"))) is None
    for _ in range(20):
        assert held_or_refused(closing.add(t.connect("big"))) == "blue"


class Queue:
    """More clients than there are descriptors: some are served, the others
    wait in the accept queue."""

    def __init__(self, teal, closing, n):
        self.clients = [closing.add(teal.connect()) for _ in range(n)]
        self.peers = {}  # of those that are served

    def served(self):
        for c in self.clients:
            if c in self.peers:
                continue
            c.sock.setblocking(False)
            try:
                self.peers[c] = c.sock.recv(100)
            except BlockingIOError:
                pass
            except OSError as e:
                self.peers[c] = repr(e)
            finally:
                c.sock.settimeout(patience())
        return len(self.peers)

    def leave(self):
        """One after the other, as soon as they are served; the names they met."""
        gone = set()

        def step():
            self.served()
            for c in self.peers:
                if c not in gone:
                    c.close()
                    gone.add(c)
            return len(gone) == len(self.clients)
        until(step, "all are served")
        return set(self.peers.values())


def settled(teal, clients):
    """How many are served once teald has nothing more to do, though others wait:
    it must not spin, neither on a limit of its own nor on EMFILE."""
    teal.wait_log("accept.paused")

    def same():
        served = clients.served()
        teal.rest()
        return clients.served() == served and served
    return until(same, "no more are served")


def test_out_of_descriptors_it_pauses_resumes_and_can_be_reached(web, closing):
    """A limit that cannot be raised: what is set aside for connections is used
    up, the rest of teald has its own."""
    teal = web(top={"workers": 2}, start=False)
    teal.start(prefix=LITTLE)
    clients = Queue(teal, closing, 200)
    served = settled(teal, clients)
    assert 20 <= served < 150
    # The admin socket, the metrics, the gate and the flip work all the same.
    for _ in range(20):
        teal.ok("status", "web")
    until(lambda: teal.metrics().get("teal_connections", service="web") == clients.served(), "whom it holds is served")
    assert teal.ok("flip", "web", "blue")["changed"]
    # As clients leave, those in the queue are served; none was lost.
    assert clients.leave() == {b"green\n", b"blue\n"}
    assert teal.connect().echo().peer == "blue"


def test_descriptors_taken_away_at_runtime(web, closing):
    """Nothing could be set aside for this: accept() itself fails."""
    teal = web(top={"workers": 2}, connect_timeout=60.0)
    _, hard = resource.prlimit(teal.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(teal.pid, resource.RLIMIT_NOFILE, (teal.fds() + 24, hard))
    clients = Queue(teal, closing, 60)
    assert 4 <= settled(teal, clients) < 40
    # Whoever is on call can still ask.
    assert teal.ok("status", "web")["services"][0]["active"] == "green"
    # Clients leave, others are served in their place: none was lost.
    assert clients.leave() == {b"green\n"}
    resource.prlimit(teal.pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert teal.ok("flip", "web", "blue")["changed"]
    assert teal.connect().echo().peer == "blue"


def test_the_descriptor_limit_is_raised_or_warned_about(web):
    teal = web(max_connections=1000)
    soft, hard = resource.prlimit(teal.pid, resource.RLIMIT_NOFILE)
    assert soft >= 2 * 1000


def test_a_limit_that_cannot_be_met_is_warned_about(web):
    teal = web(max_connections=200_000, start=False)
    teal.start(prefix=LITTLE)
    line = teal.wait_log("limits.descriptors", level="warn")
    assert line["have"] == 240 and line["wanted"] >= 400_000
    assert teal.connect().echo().peer == "green"


def test_many_services_that_are_never_full_at_once_are_not_warned_about(web, ports):
    """What all may take together is shared as it is needed; one that could never be full is told."""
    teal = web(max_connections=5000, start=False)
    first, = teal.settings["services"]
    teal.settings["services"] += [first | {"name": f"s{n}", "listen": f"127.0.0.1:{ports.hold()}"} for n in range(9)]
    enough = ("prlimit", "--nofile=20000:20000", *LITTLE[2:])
    teal.start(prefix=enough)
    assert not teal.log_lines("limits.descriptors")
    first["max_connections"] = 15000
    teal.stop()
    teal.start(prefix=enough)
    assert teal.wait_log("limits.descriptors")["wanted"] > 30000


# -- max_connections of the process ---------------------------------------------------

def paused(teal):
    """What is told of the process' connections, but for what they speak."""
    return {k: v for k, v in teal.ok("status")["proxy"].items() if not k.startswith("http")}


def test_all_services_together_have_as_many_connections_as_the_process_may(teal, backend, ports, closing):
    """Further clients wait to be accepted, and none is lost; each end lets the next one in."""
    g = backend("green")
    t = teal(services=[service("one", listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[g]),
                       service("two", listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[g])],
             workers=2, max_connections=5)
    held = [closing.add(t.connect(n)).echo() for n in ("one", "two", "one", "two", "one")]
    late = [closing.add(t.connect(n)) for n in ("one", "two")]
    line = t.wait_log("accept.paused", level="warn")
    assert line["connections"] == 5 and "max_connections" in line["reason"] and "max_connections" in line["hint"]
    # The limit is full, and turn after turn of the workers lets no other client in.
    m = until(lambda: (m := t.metrics()).get("teal_accept_pauses_total") >= 6 and m, "tried again and again")
    assert (m.get("teal_client_connections"), m.get("teal_client_connections_max")) == (5, 5)
    assert m.get("teal_connections", service="one") + m.get("teal_connections", service="two") == 5
    assert paused(t) == {"connections": 5, "max_connections": 5, "limited_by": "max_connections", "paused": True}
    _, said = Terminal("-s", t.admin_path, "status").finish()
    assert "connections: 5 of clients, 5 at most by max_connections: further ones wait to be accepted\n" in said
    assert "connections\t5\t5\tmax_connections\tpaused\n" in t.tealctl("status").stdout
    # Whichever of those who wait is accepted first has the place.
    held[0].close()
    until(lambda: t.metrics().get("teal_connections_total") == 1 and paused(t)["connections"] == 5, "the next one is in")
    held[1].close()
    assert [c.echo().peer for c in late] == ["green", "green"]
    assert paused(t)["connections"] == 5
    for c in held + late:
        c.close()
    until(lambda: paused(t)["connections"] == 0, "all places are given back")
    assert not paused(t)["paused"]


def test_a_reload_gives_the_process_another_limit(web, closing):
    t = web(top={"workers": 2, "max_connections": 2})
    held = [closing.add(t.connect()).echo() for _ in range(2)]
    late = [closing.add(t.connect()) for _ in range(3)]
    t.wait_log("accept.paused")
    rewrite(t, max_connections=4)
    plan = reload(t).event("planned")
    assert "max_connections 2 -> 4" in "\n".join(plan["lines"])
    until(lambda: paused(t)["connections"] == 4, "two more are let in")
    rewrite(t, max_connections=1)
    reload(t)
    # Those who are in stay; the one who waits has to until all but none of them have left.
    for c in held:
        c.echo()
    first = t.metrics().get("teal_accept_pauses_total")
    for c in held:
        c.close()
    until(lambda: paused(t) | {"paused": True} == {"connections": 2, "max_connections": 1,
                                                   "limited_by": "max_connections", "paused": True}, "still too many")
    until(lambda: t.metrics().get("teal_accept_pauses_total") > first, "and nobody is let in")
    rewrite(t, max_connections=0)
    reload(t)
    assert [c.echo().peer for c in late] == ["green"] * 3
    m = t.metrics()
    assert m.get("teal_client_connections") == 3
    assert not m.has("teal_client_connections_max")
    now = paused(t)
    assert now["limited_by"] == "descriptors" and now["max_connections"] > 3 and not now["paused"]


def test_a_reload_to_more_connections_brings_the_descriptors_for_them(web):
    t = web(max_connections=1000)
    soft, hard = resource.prlimit(t.pid, resource.RLIMIT_NOFILE)
    more = min(hard // 4, soft)
    change(t, max_connections=more)
    reload(t)
    assert resource.prlimit(t.pid, resource.RLIMIT_NOFILE)[0] >= 2 * more


def test_only_a_limit_that_the_file_asks_for_is_warned_of(web):
    """That of a service which says nothing is larger than many a machine's limit of descriptors."""
    t = web(start=False)
    t.start(prefix=("prlimit", "--nofile=4000:4000", *LITTLE[2:]))
    assert not t.log_lines("limits.descriptors")
    assert 0 < paused(t)["max_connections"] < 2000
    rewrite(t, max_connections=2000)
    reload(t)
    line = t.wait_log("limits.descriptors", level="warn")
    assert line["have"] == 4000 and line["wanted"] > 4000
    assert paused(t)["limited_by"] == "descriptors"


def checked(teal):
    teal.conf.write_text(libconfig.dumps(teal.settings))
    return subprocess.run([BUILD / "teald", "-t", "-c", teal.conf], capture_output=True, text=True, timeout=patience())


def test_what_is_wrong_with_a_limit_is_said(web):
    t = web(start=False, max_connections=50, top={"max_connections": 20})
    p = checked(t)
    assert p.returncode == 0
    assert "max_connections changes nothing: all services together have at most 20" in p.stderr
    for wrong, said in ((-1, "-1 is out of range"), (1.5, "expected a whole number"), ("many", "expected a whole number")):
        t.settings["max_connections"] = wrong
        p = checked(t)
        assert p.returncode == 2 and "max_connections" in p.stderr and said in p.stderr
