"""Limits that hold exactly, and running out of descriptors."""
import os
import resource
import threading

import pytest

from helpers.scale import patience, scaled, until
from helpers.teald import service


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
    assert teal.metrics().get("teal_connections", service="web") == served
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
