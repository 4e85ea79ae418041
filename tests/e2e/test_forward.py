"""Bytes go through, both ways, whole, and in bounded memory."""
import queue
import socket
import threading

import pytest

from helpers.backends import (answer_at_end, firehose, mute, pattern, receive_stream, reset_after_data,
                              send_stream, speak_then_listen, stream_on_request)
from helpers.clients import Client
from helpers.scale import patience, scaled, until

MIB = 1 << 20


# ---- plain traffic ----

@pytest.mark.tsan
def test_a_connection_reaches_the_active_color_and_bytes_come_back(web):
    teal = web()
    with teal.connect() as c:
        assert c.peer == "green"
        c.echo(b"hello")
        c.echo(pattern(1)[:100_000])
    line = teal.wait_log("tcp.session")
    assert line["bytes_in"] == 100_005
    assert line["bytes_out"] == 100_005 + len("green\n")


def test_ipv6_listener_and_ipv6_backends(web, backend, ports):
    teal = web(green=[backend("green", host="::1")], listen=f"[::1]:{ports.hold('::1')}")
    with teal.connect() as c:
        assert c.peer == "green"
        c.echo()
    assert teal.wait_log("tcp.session")["client"].startswith("[::1]:")


def test_unix_listener(web, tmp_path):
    teal = web(listen=f"unix:{tmp_path}/entrance.sock")
    assert (tmp_path / "entrance.sock").stat().st_mode & 0o777 == 0o666
    with teal.connect() as c:
        assert c.peer == "green"
        c.echo(pattern(2)[:300_000])
    assert teal.stop() == 0
    # A socket file left behind (a crash) does not stand in the way either.
    teal.start()
    teal.kill()
    teal.start()
    assert teal.connect().echo().peer == "green"


def test_several_listeners_of_one_service(web, ports, tmp_path):
    p = ports.hold("::1")
    teal = web(listen=[f"127.0.0.1:{p}", f"[::1]:{p}", f"unix:{tmp_path}/s.sock"])
    for n in range(3):
        with teal.connect(n=n) as c:
            assert c.echo().peer == "green"


def test_an_ipv6_listener_takes_no_ipv4(web, ports):
    p = ports.hold("::1")
    teal = web(listen=f"[::]:{p}")
    assert Client(("::1", p)).echo().peer == "green"
    with pytest.raises(ConnectionRefusedError):
        Client(("127.0.0.1", p))


def test_all_workers_take_connections(web):
    teal = web(top={"workers": 4})
    for _ in range(64):
        with teal.connect() as c:
            assert c.echo().peer == "green"
    teal.wait_metric(64, "teal_connections_total", service="web", color="green", end="done")


@pytest.mark.parametrize("size", [1, 2, 1447, 1448, 4095, 4096, 4097, 16383, 16385, 65535, 65536, 65537,
                                  262143, 262145, MIB + 3, 8 * MIB + 1])
def test_a_message_of_any_size_comes_back_whole(web, backend, size):
    teal = web(green=[backend("green", stream_on_request)])
    with teal.connect() as c:
        c.sock.sendall(b"%d %d\n" % (size, size))
        sent = send_stream_aside(c.sock, size, size)
        got = receive_stream(c.sock)
        sent.join()
        until(lambda: teal.green.got, "the backend has read all")
        assert got == (size, teal.green.sent[0])
        assert teal.green.got == [(size, sent.digest)]


def send_stream_aside(sock, seed, size, at_half=None):
    """Sends a stream from a thread; .digest when it is done."""
    class Sender(threading.Thread):
        digest = None

        def run(self):
            self.digest = send_stream(sock, seed, size, at_half)
            sock.shutdown(socket.SHUT_WR)
    t = Sender(daemon=True)
    t.start()
    return t


@pytest.mark.tsan
@pytest.mark.scales
def test_many_streams_at_once_never_mix(web, backend):
    """Workers share their buffers among connections: each stream has bytes of
    its own, and paces of its own."""
    rounds = scaled(20, 1)
    teal = web(green=[backend("green", stream_on_request)], drain={"timeout": 300.0, "idle": 0.0})
    failures = []

    def talk(n):
        try:
            for i in range(rounds):
                seed, size = 1000 * n + i, (n * 77_777 + i * 13_131) % MIB + 1
                with teal.connect() as c:
                    c.sock.sendall(b"%d %d\n" % (seed, size))
                    sender = send_stream_aside(c.sock, seed + 1, size // 2)
                    if n % 3 == 0:
                        sender.join()  # only then it reads
                    got = receive_stream(c.sock)
                    sender.join()
                    expected = digest_of(seed, size)
                    if got != (size, expected):
                        failures.append((n, i, got, (size, expected)))
                    up = (size // 2, sender.digest)
                    until(lambda: up in teal.green.got, "the backend has read all")
        except Exception as e:
            failures.append((n, repr(e)))
    threads = [threading.Thread(target=talk, args=(n,)) for n in range(48)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:3]


def digest_of(seed, size):
    """What send_stream() would send, hashed."""
    class Nowhere:
        def sendall(self, data):
            pass
    return send_stream(Nowhere(), seed, size)


def test_a_backend_that_speaks_first_is_heard_at_once(web):
    """Its greeting does not wait for the client to say something."""
    teal = web()
    for _ in range(5):
        with teal.connect() as c:
            assert c.peer == "green"


def test_nothing_is_left_of_connections_that_are_over(web, farm, load):
    teal = web(green=[farm("green")], blue=[farm("blue")])
    teal.connect().echo().close()
    teal.wait_metric(0, "teal_connections")
    before = teal.fds()
    clients = load(teal, 50)
    sessions = clients.more(200).finish()
    assert not [s for s in sessions if s.error]
    teal.wait_metric(0, "teal_connections")
    until(lambda: teal.fds() <= before + 4, "descriptors are closed")


@pytest.mark.nosan
def test_an_idle_connection_costs_hardly_any_memory(web, farm, closing):
    n = 1500
    teal = web(green=[farm("green")], max_connections=5000)
    for c in [teal.connect() for _ in range(50)]:
        c.echo().close()
    before = teal.rss()
    clients = [closing.add(teal.connect()).echo() for _ in range(n)]
    each = (teal.rss() - before) / n
    assert each < 1000, f"{each:.0f} bytes each"
    assert all(c.alive for c in clients)


# ---- half-close ----

@pytest.mark.parametrize("size", [0, 1, 3 * MIB])
def test_the_clients_end_reaches_the_backend_and_its_answer_comes_back(web, backend, size):
    teal = web(green=[backend("green", answer_at_end)], health={"type": "none"})
    with teal.connect() as c:
        digest = send_stream(c.sock, 3, size)
        c.sock.shutdown(socket.SHUT_WR)
        assert c.read_end() == (f"green {size} {digest}\n".encode(), "eof")
    assert teal.wait_log("tcp.session")["end"] == "done"


def test_the_backends_end_reaches_the_client_who_may_go_on_sending(web, backend):
    teal = web(green=[backend("green", speak_then_listen)])
    with teal.connect() as c:
        assert c.peer == "green"
        assert c.line() is None  # the backend's half has ended
        for n in range(1, 6):
            c.sock.sendall(b"x" * 1000)
            until(lambda: teal.green.received == n * 1000, "the other half still flows")
        c.sock.shutdown(socket.SHUT_WR)
        until(lambda: teal.green.open == 0 or teal.sessions(), "both halves over")
    line = teal.wait_log("tcp.session")
    assert (line["end"], line["bytes_in"], line["bytes_out"]) == ("done", 5000, 6)


def test_a_half_closed_connection_lives_on_without_traffic(web, backend):
    teal = web(clock=True, green=[backend("green", mute)])
    with teal.connect() as c:
        c.sock.sendall(b"request")
        c.sock.shutdown(socket.SHUT_WR)
        teal.wait_metric(1, "teal_connections", service="web", color="green")
        teal.clock.move(36000)
        assert c.alive
        assert teal.clock.is_quiet(), "it spins on a half-closed connection"
        teal.green.released.set()
        assert c.read_end()[0] == b""


# ---- bulk ----

@pytest.mark.scales
@pytest.mark.tsan
@pytest.mark.parametrize("way", ["up", "down", "both"])
def test_bulk_is_byte_exact_across_flips(web, backend, way):
    size = scaled(1024 * MIB, 16 * MIB)
    wanted = scaled(40, 4)  # flips while the bytes flow
    teal = web(green=[backend("green", stream_on_request)], blue=[backend("blue", stream_on_request)],
               drain={"timeout": 300.0, "idle": 0.0})
    up, down = size if way != "down" else 0, size if way != "up" else 0
    flips = 0
    over = threading.Event()

    def flip_on():
        nonlocal flips
        while not over.is_set():
            teal.ok("flip", "web", ("blue", "green")[flips % 2])
            flips += 1
            over.wait(0.02)

    def some_flips():
        until(lambda: flips >= wanted or not flipper.is_alive(), "flips in the middle of the transfer")

    with teal.connect() as c:
        c.sock.settimeout(10 * patience())
        name = "%s:%d" % c.sock.getsockname()
        c.sock.sendall(b"9 %d\n" % down)
        until(lambda: teal.green.sessions == 1, "the request has arrived")
        flipper = threading.Thread(target=flip_on)
        flipper.start()
        try:
            sender = send_stream_aside(c.sock, 5, up, some_flips)
            got = receive_stream(c.sock, None, down // 2, some_flips)
            sender.join()
        finally:
            over.set()
            flipper.join()
        until(lambda: teal.green.got, "the backend has read all")
    assert got == (down, teal.green.sent[0])
    assert teal.green.got[0] == (up, sender.digest)
    assert flips >= wanted
    line = teal.wait_log("tcp.session", color="green", end="done", client=name)
    assert line["bytes_out"] == down and line["bytes_in"] == up + len(b"9 %d\n" % down)


@pytest.mark.nosan
@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_slow_reader_holds_back_a_fast_writer_in_bounded_memory(web, backend, who):
    """16 writers that never stop against readers that never begin."""
    teal = web(clock=True, green=[backend("green", firehose if who == "client" else mute)])
    teal.connect().close()
    before = teal.rss()
    clients = [teal.connect() for _ in range(16)]
    sent = 0
    if who == "client":
        def moved():
            return teal.green.flowed
    else:
        for c in clients:
            c.sock.setblocking(False)

        def moved():
            nonlocal sent
            for c in clients:
                try:
                    while True:
                        sent += c.sock.send(pattern(7))
                except BlockingIOError:
                    pass
            return sent
    # Until nothing moves any more though all loops had their turns: everything between them is full.
    last, still = -1, 0
    while still < 10:
        now = moved()
        still = still + 1 if now == last else 0
        last = now
        teal.clock.move(0.01)
    assert last > 16 * 100_000, "hardly anything flowed: nothing was shown"
    grown = teal.rss() - before
    assert grown < 16 * 512 * 1024, f"{grown / MIB:.1f} MiB grown for 16 stalled connections"
    assert teal.clock.is_quiet(), "it spins while all is stalled"
    for c in clients:
        c.close()


def test_a_reader_that_wakes_up_gets_every_byte(web, backend):
    size = 24 * MIB
    teal = web(clock=True, green=[backend("green", stream_on_request)])
    with teal.connect() as c:
        c.sock.sendall(b"11 %d\n" % size)
        until(lambda: teal.green.sessions, "asked")
        # Let it fill up, sip a little, again and again, then drink it up.
        for n in range(8):
            teal.clock.move(1)  # all loops had a turn
            assert len(c.receive(1000 * n + 1)) == 1000 * n + 1
        sipped = sum(1000 * n + 1 for n in range(8))
        got, _ = receive_stream(c.sock)
        assert got == size - sipped - len(c._rest)


# ---- choosing a backend ----

def test_the_next_backend_is_tried_when_one_refuses(web, backend):
    dead, live = backend("dead", start=False), backend("live")
    teal = web(green=[dead, live], health={"type": "none"})
    for _ in range(20):
        with teal.connect() as c:
            assert c.echo().peer == "live"
    m = teal.wait_metric(20, "teal_connections_total", service="web", color="green", end="done")
    assert 5 <= m.get("teal_retries_total") <= 20
    assert all(l["backend"] == live.address for l in teal.sessions())


def test_all_backends_refusing_ends_the_connection(web, backend):
    teal = web(green=[backend(f"dead{n}", start=False) for n in range(2)], health={"type": "none"})
    with teal.connect() as c:
        assert c.read_end()[0] == b""
    line = teal.wait_log("tcp.session")
    assert line["end"] == "connect" and line["color"] == "green"
    teal.wait_metric(1, "teal_connections_total", service="web", color="green", end="connect")


def test_no_more_backends_are_tried_than_retries_allow(web, backend):
    dead, live = [backend(f"dead{n}", start=False) for n in range(4)], backend("live")
    teal = web(green=[*dead, live], health={"type": "none"}, retries=1)
    # Two tries of five backends each: many tries miss the live one.
    peers = {teal.connect().line() for _ in range(15)}
    assert peers == {None, "live"}
    m = teal.wait_metric(0, "teal_connections", service="web", color="blue")
    assert m.get("teal_retries_total") <= 15


def test_connect_timeout_then_the_next_backend(web, backend, black_hole):
    hole = black_hole()
    teal = web(clock=True, green=[hole, backend("live")], connect_timeout=300.0)
    for n in range(4):
        with teal.connect() as c:
            teal.clock.pass_until(lambda: c.ready, "a backend that answers", step=100)
            assert c.peer == "live"
        line = teal.wait_log("tcp.session", n + 1)
        assert line["retries"] == 0 or (line["tried"] == [hole.address] and line["seconds"] >= 300)
    retries = [l["retries"] for l in teal.sessions()]
    assert set(retries) == {0, 1}
    assert teal.metrics().get("teal_retries_total") == sum(retries)


def test_connect_timeout_with_nothing_else_to_try(web, black_hole):
    teal = web(clock=True, green=[black_hole()], connect_timeout=400.0, retries=0)
    with teal.connect() as c:
        teal.wait_metric(1, "teal_connections", service="web", color="green")
        teal.clock.move(300)
        assert c.alive
        teal.clock.move(100)
        assert c.read_end()[0] == b""
    assert teal.wait_log("tcp.session", end="connect_timeout")["seconds"] >= 400


def test_a_client_that_leaves_while_its_backend_is_dialled(web, black_hole):
    teal = web(green=[black_hole()], health={"type": "none"}, connect_timeout=3600.0)
    c = teal.connect()
    teal.wait_metric(1, "teal_connections", service="web", color="green")
    c.reset()
    assert teal.wait_log("tcp.session")["end"] in ("client_gone", "client_reset")
    teal.wait_metric(0, "teal_connections", service="web", color="green")


def test_round_robin_shares_evenly(web, backend, closing):
    greens = [backend(f"green{n}") for n in range(3)]
    teal = web(green=greens, balance="round_robin")
    until(lambda: teal.status()["colors"]["green"]["healthy"] == 3, "all are up")
    teal.rest()
    peers = [closing.add(teal.connect()).peer for _ in range(60)]
    # Every worker has a turn of its own.
    assert min(peers.count(b.name) for b in greens) >= 18, peers


def test_source_address_is_what_the_backend_sees(web, backend):
    def tell(conn, b):
        conn.sendall(conn.getpeername()[0].encode() + b"\n")
    teal = web(green=[backend("green", tell)], source_address="127.0.7.7")
    assert teal.connect().line() == "127.0.7.7"


# ---- how connections end ----

def ends(teal, word):
    line = teal.wait_log("tcp.session", color="green", end=word)
    teal.wait_metric(1, "teal_connections_total", service="web", color="green", end=word)
    teal.wait_metric(0, "teal_connections", service="web")
    return line


def test_idle_timeout_ends_the_quiet_and_spares_the_busy(web):
    teal = web(clock=True, idle_timeout=600.0)
    with teal.connect() as quiet, teal.connect() as busy:
        quiet.echo()
        for _ in range(3):
            busy.echo()
            assert quiet.alive
            teal.clock.move(200)
        assert quiet.read_end()[0] == b""
        busy.echo()
    assert teal.wait_log("tcp.session", end="idle_timeout")["seconds"] >= 600
    assert teal.wait_log("tcp.session", end="done")["seconds"] >= 600
    assert len(teal.sessions()) == 2


def test_idle_timeout_counts_traffic_of_either_direction(web, backend):
    ticks = queue.SimpleQueue()

    def tick(conn, b):
        for tick in iter(ticks.get, None):
            conn.sendall(tick)
    teal = web(clock=True, green=[backend("green", tick)], idle_timeout=600.0)
    with teal.connect() as c:
        for _ in range(4):
            ticks.put(b"tick\n")
            assert c.line() == "tick"
            teal.clock.move(300)
        ticks.put(None)
        assert c.read_end() == (b"", "eof")
    assert teal.wait_log("tcp.session", end="done")["seconds"] >= 1200


def test_a_client_reset_ends_the_backend_too(web):
    teal = web()
    c = teal.connect().echo()
    c.reset()
    ends(teal, "client_reset")
    until(lambda: teal.green.open == 0, "the backend's side is closed")


def test_a_backend_reset_reaches_the_client(web, backend):
    teal = web(green=[backend("green", reset_after_data)])
    with teal.connect() as c:
        assert c.peer == "green"
        c.sock.sendall(b"now")
        assert c.read_end() == (b"", "reset")
    assert ends(teal, "backend_reset")["bytes_in"] == 3


@pytest.mark.tsan
def test_known_traffic_is_counted_exactly(web):
    teal = web()
    for n in range(10):
        with teal.connect() as c:
            c.echo(b"x" * 1000)
    m = teal.wait_metric(10, "teal_connections_total", service="web", color="green", end="done")
    assert m.get("teal_bytes_total", service="web", color="green", direction="in") == 10_000
    assert m.get("teal_bytes_total", service="web", color="green", direction="out") == 10_000 + 10 * 6
    teal.wait_metric(0, "teal_connections", service="web", color="green")
    assert m.get("teal_connect_seconds_count", service="web", color="green") == 10
    assert m.get("teal_connections_total", service="web", color="blue") == 0
