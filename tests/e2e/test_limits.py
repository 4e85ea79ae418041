"""Limits that hold exactly, and running out of descriptors."""
import resource
import socket
import threading
import time

import pytest

from helpers.clients import Client
from helpers.scale import patience, scaled, slow, until


def held_or_refused(client):
    """The backend's name, or None when refused: closed without a byte."""
    try:
        return client.line()
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
        assert c.echo is not None and c.alive


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
        for _ in range(rounds):
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
    from helpers.teald import service
    g, b = backend("green"), backend("blue")
    t = teal(services=[service("small", listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[b], max_connections=1),
                       service("big", listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[g], max_connections=0)])
    assert held_or_refused(closing.add(t.connect("small"))) == "green"
    assert held_or_refused(closing.add(t.connect("small"))) is None
    for _ in range(20):
        assert held_or_refused(closing.add(t.connect("big"))) == "blue"


def test_out_of_descriptors_pauses_and_resumes(web, closing):
    teal = web(top={"workers": 2})
    teal.ok("status")
    before = teal.fds()
    limit = before + 24
    _, hard = resource.prlimit(teal.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(teal.pid, resource.RLIMIT_NOFILE, (limit, hard))
    # Far more clients than there are descriptors; they wait in the queue.
    clients = [closing.add(teal.connect(timeout=patience())) for _ in range(60)]
    served = []

    def serve():
        for c in clients:
            if c in served:
                continue
            c.sock.setblocking(False)
            try:
                if c.sock.recv(100, socket.MSG_PEEK):
                    served.append(c)
            except OSError:
                pass
            finally:
                c.sock.settimeout(patience())
        return len(served)
    until(lambda: serve() >= 4, "some are served")
    until(lambda: teal.fds() >= limit - 4, "descriptors are used up")
    # No spinning while the queue cannot be taken.
    cpu = teal.cpu()
    time.sleep(1.0)
    assert teal.cpu() - cpu < 0.3 * slow(), "it spins on EMFILE"
    assert serve() < 60
    # The admin socket and the flip work all the same.
    assert teal.ok("status", "web")["services"][0]["active"] == "green"
    assert teal.ok("flip", "web", "blue", "--force")["changed"]
    # As clients leave, those in the queue are served; none was lost.
    peers = set()
    waiting = list(clients)
    end = time.monotonic() + patience()
    while waiting:
        assert time.monotonic() < end, f"{len(waiting)} clients are still waiting"
        for c in list(waiting):
            c.sock.setblocking(False)
            try:
                data = c.sock.recv(100)
            except BlockingIOError:
                continue
            peers.add(data)
            c.close()
            waiting.remove(c)
        time.sleep(0.01)
    assert peers == {b"green\n", b"blue\n"}
    # And it stays well afterwards.
    resource.prlimit(teal.pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert teal.connect().echo().peer == "blue"


def test_the_descriptor_limit_is_raised_or_warned_about(web):
    teal = web(max_connections=1000)
    soft, hard = resource.prlimit(teal.pid, resource.RLIMIT_NOFILE)
    assert soft >= 2 * 1000


def test_a_limit_that_cannot_be_met_is_warned_about(web):
    teal = web(max_connections=200_000, start=False)
    teal.start(prefix=("prlimit", "--nofile=600:600", "setpriv", "--bounding-set=-sys_resource",
                       "--inh-caps=-sys_resource"))
    warning = [l for l in teal.logs if l["level"] == "warn" and "file" in str(l).lower()]
    assert warning or "descriptors" in teal.stderr() or "RLIMIT_NOFILE" in teal.stderr(), teal.logs
    assert teal.connect().echo().peer == "green"
