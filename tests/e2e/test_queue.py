"""Waiting for a place: in order, bounded, on all workers, over flips."""
import socket
import threading

import pytest

from helpers.http1 import Http, Reader
from helpers.scale import patience, scaled, until


def waiting(teal, n):
    return teal.wait_metric(n, "teal_waiting_connections", service="web")


def full(web, closing, places=2, **keys):
    """A service whose places are all taken; and who has them."""
    teal = web(**({"max_connections": places, "queue_timeout": 600.0, "top": {"workers": 1}} | keys))
    holders = [closing.add(teal.connect()) for _ in range(places)]
    for h in holders:
        assert h.peer == "green"
    return teal, holders


def queue_up(teal, closing, n):
    """n clients that wait, one after the other."""
    clients = []
    for i in range(n):
        clients.append(closing.add(teal.connect()))
        waiting(teal, i + 1)
    return clients


def silent(client):
    client.sock.setblocking(False)
    try:
        client.sock.recv(1, socket.MSG_PEEK)
        return False
    except BlockingIOError:
        return True
    finally:
        client.sock.settimeout(patience())


@pytest.mark.parametrize("workers", [1, 4])
def test_first_come_first_served(web, closing, workers):
    teal, holders = full(web, closing, top={"workers": workers})
    queue = queue_up(teal, closing, 8)
    assert all(silent(c) for c in queue)
    m = teal.metrics()
    assert m.get("teal_connections", service="web", color="green") == 2
    assert m.get("teal_rejected_total", service="web") == 0
    places = holders
    for i, c in enumerate(queue):
        places.pop(0).close()
        assert c.echo().peer == "green"
        places.append(c)
        assert all(silent(late) for late in queue[i + 1:])
    waiting(teal, 0)


def test_a_place_is_handed_over_without_a_tick(web, closing):
    """By the connection that gave it up, also to another worker: there is no next
    tick, for the clock was put back by an hour."""
    teal, holders = full(web, closing, places=1, clock=True, top={"workers": 4})
    teal.clock.move(-3600, wait=False)
    for _ in range(24):
        c = closing.add(teal.connect())
        waiting(teal, 1)
        holders.pop().close()
        assert c.peer == "green"
        holders.append(c)


@pytest.mark.parametrize("workers", [1, 4])
def test_who_waits_too_long_is_sent_away(web, closing, workers):
    teal, holders = full(web, closing, queue_timeout=0.5, top={"workers": workers})
    c = closing.add(teal.connect())
    assert c.read_end()[0] == b""
    line = teal.wait_log("tcp.session", end="queue_timeout")
    assert line["backend"] == "" and line["seconds"] >= 0.45
    teal.wait_metric(1, "teal_rejected_total", service="web", reason="queue_timeout")
    teal.wait_metric(0, "teal_waiting_connections", service="web")
    # Those inside were not touched, and a place that comes free is free.
    holders.pop().close()
    teal.wait_metric(1, "teal_connections", service="web")
    assert closing.add(teal.connect()).peer == "green"
    assert holders[0].echo()


def test_the_queue_is_bounded(web, closing):
    teal, holders = full(web, closing, queue_limit=3)
    queue = queue_up(teal, closing, 3)
    with teal.connect() as late:
        assert late.line() is None
    m = teal.wait_metric(1, "teal_rejected_total", service="web", reason="max_connections")
    assert m.get("teal_waiting_connections", service="web") == 3
    holders[0].close()
    assert queue[0].peer == "green"


def test_who_leaves_the_queue_is_forgotten(web, closing):
    teal, holders = full(web, closing)
    queue = queue_up(teal, closing, 3)
    queue[1].reset()
    waiting(teal, 2)
    teal.wait_log("tcp.session", end="client_gone")
    holders[0].close()
    assert queue[0].peer == "green"
    holders[1].close()
    assert queue[2].peer == "green"


def test_who_waits_over_a_flip_reaches_the_new_color(web, closing):
    teal, holders = full(web, closing, drain={"timeout": 600.0, "idle": 0})
    queue = queue_up(teal, closing, 2)
    assert teal.ok("flip", "web", "blue")["changed"]
    # Waiting holds no color: the old one drains without them.
    assert teal.metrics().get("teal_draining_connections", service="web", color="green") == 2
    for h, c in zip(holders, queue):
        h.close()
        assert c.echo().peer == "blue"
    until(lambda: teal.log_lines("flip.drained"), "the old color is drained")
    assert teal.green.open == 0 or until(lambda: teal.green.open == 0, "green is left")


def test_who_waits_is_counted_for_its_source(web, closing):
    """One address cannot fill the queue."""
    teal, holders = full(web, closing, max_connections_per_source=3, max_connections=2)
    queue = queue_up(teal, closing, 1)
    with teal.connect() as c:
        assert c.line() is None
    teal.wait_metric(1, "teal_rejected_total", service="web", reason="source_limit")
    other = closing.add(teal.connect(source=("127.0.0.2", 0)))
    waiting(teal, 2)
    holders[0].close()
    assert queue[0].peer == "green"
    holders[1].close()
    assert other.peer == "green"


def test_a_backend_that_refuses_does_not_stop_the_queue(web, backend, closing):
    """Everybody who gets a place loses it again at once; nobody is forgotten."""
    teal, holders = full(web, closing, queue_limit=200, health={"type": "none"}, retries=0)
    queue = [closing.add(teal.connect()) for _ in range(100)]
    waiting(teal, 100)
    teal.green.stop()
    holders[0].close()
    for c in queue:
        assert c.read_end()[0] == b""
    waiting(teal, 0)
    m = teal.wait_metric(1, "teal_connections", service="web")
    assert m.get("teal_connections_total", service="web", color="green", end="connect") == 100
    assert holders[1].echo()


def test_stopping_serves_who_waits_if_it_can(web, closing):
    teal, holders = full(web, closing, top={"workers": 1, "stop": {"timeout": 600.0}})
    queue = queue_up(teal, closing, 2)
    teal.signal()
    holders[0].close()
    assert queue[0].echo().peer == "green"
    queue[0].close()
    assert queue[1].echo().peer == "green"
    queue[1].close()
    holders[1].close()
    assert teal.wait() == 0


def test_stopping_cuts_who_still_waits(web, closing):
    teal, holders = full(web, closing, top={"workers": 2, "stop": {"timeout": 0.3}})
    queue = queue_up(teal, closing, 3)
    teal.signal()
    for c in queue:
        assert c.read_end()[0] == b""
    assert teal.wait() == 0
    assert len(teal.sessions(end="stopped")) == 5


@pytest.mark.tsan
@pytest.mark.scales
def test_everybody_gets_a_turn_on_every_worker(web, farm, load):
    """Many more clients than places, on four workers: all are served, none is
    refused, and places do not get lost on the way."""
    green = farm("green")
    teal = web(green=[green], max_connections=8, queue_timeout=600.0, queue_limit=0, top={"workers": 4})
    crowd = load(teal, 64)
    # Places go round: many more than once.
    until(lambda: (m := teal.metrics()).get("teal_connections", service="web", color="green") <= 8
          and m.get("teal_connections_total", service="web", end="done") > scaled(20_000, 500), "all have had turns")
    sessions = crowd.finish()
    assert not [s for s in sessions if s.error]
    waiting(teal, 0)
    m = teal.wait_metric(0, "teal_connections", service="web")
    assert m.get("teal_rejected_total", service="web") == 0
    # All eight places are there, and not one more.
    clients = [teal.connect() for _ in range(12)]
    waiting(teal, 4)
    for c in clients:
        c.close()


# ---- for a place on a backend ----

def crowded(web, backend, closing, n=2, each=1, **keys):
    """A service whose n backends are all full; and who has their places."""
    nodes = [backend(f"g{i}") for i in range(n)]
    teal = web(**({"green": nodes, "backend_max_connections": each, "queue_timeout": 600.0, "health": {"type": "none"},
                   "top": {"workers": 1}} | keys))
    holders = [closing.add(teal.connect()) for _ in range(n * each)]
    assert sorted({h.peer for h in holders}) == [b.name for b in nodes]
    return teal, holders


@pytest.mark.parametrize("workers", [1, 2])
def test_full_backends_let_wait_as_well(web, backend, closing, workers):
    teal, holders = crowded(web, backend, closing, max_connections=0, top={"workers": workers})
    queue = queue_up(teal, closing, 4)
    m = teal.metrics()
    assert m.get("teal_connections", service="web", color="green") == 2
    assert m.get("teal_rejected_total", service="web") == 0
    left = queue[:]
    while left:
        gone = holders.pop(0)
        gone.close()
        # The first, whichever worker it waits on, and the one place there is.
        c = until(lambda: next((q for q in left if not silent(q)), None), "somebody's turn")
        assert c is left[0]
        assert c.echo().peer == gone.peer
        left.remove(c)
        holders.append(c)
        assert all(silent(q) for q in left)
        waiting(teal, len(left))
    for h in holders:
        h.echo().close()
    m = teal.wait_metric(0, "teal_connections", service="web")
    assert m.get("teal_rejected_total", service="web") == 0


def test_who_waits_for_a_backend_takes_no_place_of_the_service(web, backend, closing):
    teal, _ = crowded(web, backend, closing, max_connections=3)
    queue_up(teal, closing, 3)
    assert teal.metrics().get("teal_connections", service="web", color="green") == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_flip_brings_those_who_wait_to_the_other_color_at_once(web, backend, closing, workers):
    teal, holders = crowded(web, backend, closing, each=2, drain={"timeout": 600.0, "idle": 0},
                            top={"workers": workers})
    queue = queue_up(teal, closing, 5)
    assert teal.ok("flip", "web", "blue")["changed"]
    # Two places are there, for those who came first; the others wait on.
    served = until(lambda: len(s := [c for c in queue if not silent(c)]) == 2 and s, "two are served")
    assert [c.echo().peer for c in served] == ["blue", "blue"]
    assert served == queue[:2]
    waiting(teal, 3)
    # Green's places are of no use to them any more.
    for h in holders:
        h.close()
    teal.wait_metric(0, "teal_connections", service="web", color="green")
    waiting(teal, 3)
    served[0].close()
    until(lambda: len([c for c in queue if c not in served and not silent(c)]) == 1, "one more is served")


def test_who_leaves_does_not_take_the_backend_with_it(web, backend, closing):
    teal, holders = crowded(web, backend, closing, n=1)
    queue = queue_up(teal, closing, 3)
    queue[0].reset()
    waiting(teal, 2)
    teal.wait_log("tcp.session", end="client_gone")
    holders[0].close()
    assert queue[1].echo().peer == "g0"
    assert silent(queue[2])


def test_waiting_for_a_backend_is_bounded_in_time_and_number(web, backend, closing):
    teal, _ = crowded(web, backend, closing, n=1, queue_limit=1, clock=True)
    queue = queue_up(teal, closing, 1)
    with teal.connect() as late:
        assert late.line() is None
    teal.wait_metric(1, "teal_rejected_total", service="web", reason="backend_limit")
    teal.clock.move(600)
    assert queue[0].read_end()[0] == b""
    teal.wait_metric(1, "teal_rejected_total", service="web", reason="queue_timeout")
    waiting(teal, 0)


def test_without_a_queue_full_backends_refuse(web, backend, closing):
    teal, _ = crowded(web, backend, closing, queue_timeout=0.0)
    with teal.connect() as late:
        assert late.line() is None
    teal.wait_metric(1, "teal_rejected_total", service="web", reason="backend_limit")


def test_previews_do_not_wait(web, backend, ports, closing):
    teal = web(preview=f"127.0.0.1:{ports.hold()}", backend_max_connections=1, queue_timeout=600.0)
    with teal.connect(key="preview") as first:
        assert first.peer == "blue"
        with teal.connect(key="preview") as second:
            assert second.line() is None
    teal.wait_log("tcp.session", end="backend_limit")


def test_a_dead_backend_does_not_cost_those_their_turn_who_could_wait_for_another(web, backend, closing):
    """One is full, the other refuses: they wait for the first, and when the
    second is back it is theirs as well."""
    teal, holders = crowded(web, backend, closing, retries=100)
    dead = next(h for h in holders if h.peer == "g1")
    # g1 stops, and who was on it leaves: its place is free, but of no use.
    node = [b for b in closing if getattr(b, "name", "") == "g1"][0]
    node.stop()
    dead.close()
    queue = queue_up(teal, closing, 3)
    until(lambda: teal.metrics().get("teal_backend_connect_failures_total", backend=node.address) > 0, "one tries")
    teal.rest()
    assert all(silent(c) for c in queue)
    next(h for h in holders if h.peer == "g0").close()
    assert queue[0].echo().peer == "g0"
    assert teal.metrics().get("teal_rejected_total", service="web") == 0
    node.start()
    assert queue[1].echo().peer == "g1"
    assert silent(queue[2])
    queue[0].close()
    assert queue[2].echo().peer == "g0"
    queue[1].close()
    # How often it was tried in vain until it was back is the machine's business.
    until(lambda: any(l.get("tried") == [node.address] for l in teal.log_lines("tcp.session")), "one was tried in vain")


@pytest.mark.tsan
@pytest.mark.scales
def test_everybody_gets_a_backend_on_every_worker(web, farm, load):
    a, b = farm("a"), farm("b")
    teal = web(green=[a, b], backend_max_connections=3, max_connections=0, queue_timeout=600.0, queue_limit=0,
               balance="least_conn", top={"workers": 4})
    crowd = load(teal, 64)

    def exact():
        green = teal.status()["colors"]["green"]
        assert all(s["connections"] <= 3 for s in green["backends"])
        return green["connections_total"] > scaled(20_000, 1000)
    until(exact, "all have had turns")
    sessions = crowd.finish()
    assert len(sessions) > 64 and not [s for s in sessions if s.error]
    waiting(teal, 0)
    m = teal.wait_metric(0, "teal_connections", service="web")
    assert m.get("teal_rejected_total", service="web") == 0


# ---- requests ----

@pytest.mark.parametrize("workers", [1, 2])
def test_requests_wait_for_a_backend_and_nobody_overtakes(web, backend, closing, workers):
    """Each has a connection already; what they wait for is their turn there."""
    turn, asked = threading.Semaphore(0), []

    def one_by_one(conn, b):
        head = b""
        while more := conn.recv(4096):
            head += more
            while b"\r\n\r\n" in head:
                path, head = head.split(b" ", 2)[1].decode(), head.split(b"\r\n\r\n", 1)[1]
                asked.append(path)
                turn.acquire()
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    teal = web(mode="http", green=[backend("green", one_by_one)], health={"type": "none"}, backend_max_connections=1,
               queue_timeout=600.0, top={"workers": workers})
    clients = [closing.add(teal.connect()) for _ in range(6)]

    def ask(c, path):
        c.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    for i, c in enumerate(clients):
        ask(c, f"/{i}")
        if i == 0:
            until(lambda: asked, "the first is there")
        waiting(teal, i)
    for i in range(6):
        until(lambda: len(asked) == i + 1, "the next one's turn")
        teal.rest()
        assert len(asked) == i + 1  # one at a time
        turn.release()
        if i == 2:
            waiting(teal, 2)
            ask(clients[0], "/again")  # answered long ago; it gets in line behind them
            waiting(teal, 3)
    turn.release()
    until(lambda: len(asked) == 7, "all were asked")
    if workers == 1:
        assert asked == [f"/{i}" for i in range(6)] + ["/again"]
    for n, c in enumerate(clients):
        for _ in range(2 if n == 0 else 1):
            assert c.line().startswith("HTTP/1.1 200")
            while c.line() != "\r":
                pass
            assert c.receive(2) == b"ok"
    waiting(teal, 0)


# ---- requests ----

@pytest.mark.parametrize("workers", [1, pytest.param(4, marks=pytest.mark.tsan)])
def test_requests_wait_for_a_backend_in_the_order_they_came(web, backend, closing, workers):
    """Also those of other workers; and clients that are in already, and ask when
    a place is on its way to somebody else, do not get before them."""
    served = []

    def slowly(conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            with b.lock:
                served.append(m.target)
            b.released.wait(4 * patience())
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    node = backend("green", slowly)
    teal = web(green=[node], mode="http", backend_max_connections=1, queue_timeout=600.0, health={"type": "none"},
               top={"workers": workers})

    def asks(target):
        return closing.add(Http(teal.address())).send(f"GET {target} HTTP/1.1\r\nHost: web\r\n\r\n")

    clients = [asks("/holds")]
    until(lambda: served == ["/holds"], "the place is taken")
    for i in range(12):
        clients.append(asks(f"/{i}"))
        waiting(teal, i + 1)
    over, late = threading.Event(), []

    def newcomer():
        with Http(teal.address()) as c:
            while not over.is_set():
                late.append(c.ask("/late").status)

    newcomers = [threading.Thread(target=newcomer, daemon=True) for _ in range(4)]
    for thread in newcomers:
        thread.start()
    until(lambda: teal.metrics().get("teal_waiting_connections", service="web") == 16, "newcomers are in line")
    node.released.set()
    assert [c.response().status for c in clients] == [200] * 13
    over.set()
    for thread in newcomers:
        thread.join(patience())
    assert set(late) == {200}
    assert [t for t in served if t != "/late"] == ["/holds"] + [f"/{i}" for i in range(12)]
    assert "/late" not in served[:13]
