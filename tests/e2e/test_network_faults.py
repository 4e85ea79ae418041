"""What networks and hosts do: packets that vanish, peers that vanish, resets in
mid-stream.  Each has its word, its time and its metric."""
import fcntl
import socket
import struct
import termios

import pytest

from helpers import network
from helpers.backends import Backend, pattern, reset
from helpers.scale import until

far = pytest.mark.skipif(not network.possible(), reason="needs root and network namespaces")
ALWAYS_UP = {"type": "none"}
PROBED = {"keepalive_idle": 1, "keepalive_interval": 1, "keepalive_count": 2}


@pytest.fixture
def net(closing):
    return closing.add(network.Network())


@pytest.fixture
def far_backend(net, ports, closing):
    def make(name="green", *behaviour):
        b = closing.add(Backend(name, ports.hold(), *behaviour, host=net.there))
        net.do(b.start)
        return b
    return make


def ended(teal, how):
    """The line, once the metric says the same."""
    line = teal.wait_log("tcp.session", end=how)
    teal.wait_metric(1, "teal_connections_total", service="web", end=how)
    return line


def connections(teal, n):
    teal.wait_metric(n, "teal_connections", service="web")


@far
def test_dropped_syns_cost_connect_timeout_and_no_client(web, backend, net, far_backend):
    hole, live = far_backend("hole"), backend("live")
    net.lose(f"tcp dport {hole.port} tcp flags syn", both=False)
    t = web(green=[hole, live], health=ALWAYS_UP, connect_timeout=0.4, retries=1, balance="least_conn",
            top={"workers": 1})
    held = []
    for _ in range(2):
        held.append(t.connect())
        assert held[-1].echo().peer == "live"
    for c in held:
        c.close()
    line = t.wait_log("tcp.session", retries=1)
    assert line["tried"] == [hole.address] and line["end"] == "done" and line["connect_seconds"] >= 0.35
    assert t.metrics().get("teal_backend_connect_failures_total", backend=hole.address, color="green") >= 1
    # Alone it is what ends the connection.
    lonely = web(green=[hole], health=ALWAYS_UP, connect_timeout=0.4)
    with lonely.connect() as c:
        assert c.read_end()[0] == b""
    assert ended(lonely, "connect_timeout")["seconds"] >= 0.35
    net.mend()
    assert lonely.connect().echo().peer == "hole"


@far
def test_checks_notice_dropped_syns_and_their_return(web, net, far_backend, backend):
    hole = far_backend("hole")
    t = web(green=[hole, backend("live")], health={"interval": 0.2, "timeout": 0.3, "rise": 1, "fall": 2})
    t.wait_log("backend.up", backend=hole.address)
    net.lose()
    assert "timed out" in t.wait_log("backend.down", backend=hole.address)["reason"]
    assert t.metrics().get("teal_backend_up", backend=hole.address, color="green") == 0
    net.mend()
    t.wait_log("backend.up", 2, backend=hole.address)


@far
def test_a_backend_that_vanished_is_found_by_keepalive(web, net, far_backend):
    """Nobody sends anything, so nobody would ever know."""
    b = far_backend()
    t = web(green=[b], clock=True, tcp=PROBED)
    with t.connect() as c:
        c.echo()
        t.clock.move(2)  # from here on it is worth a timer
        c.echo()
        net.lose()
        # The stream is cut short, and must not look complete.
        assert c.read_end() == (b"", "reset")
    ended(t, "backend_reset")


@far
def test_a_client_that_vanished_is_found_by_keepalive(web, net, backend):
    t = web(listen=f"{net.here}:{backend('port').port}", clock=True, tcp=PROBED)
    c = net.do(lambda: t.connect())
    c.echo()
    t.clock.move(2)
    c.echo()
    # What is on its way would be sent again and again, and no probe with it.
    until(lambda: not unacknowledged_by(c), "the client's kernel has told that it has all")
    net.lose()
    ended(t, "client_reset")
    until(lambda: t.green.open == 0, "the backend is told")
    connections(t, 0)
    c.close()


@far
def test_what_is_sent_to_a_backend_that_vanished_ends_with_user_timeout(web, net, far_backend):
    t = web(green=[far_backend()], health=ALWAYS_UP, tcp={"user_timeout": 1.0})
    with t.connect() as c:
        c.echo()
        net.lose()
        c.sock.sendall(b"anybody?")
        assert c.read_end() == (b"", "reset")
    line = ended(t, "backend_reset")
    assert line["bytes_in"] == 5 + 8


@far
def test_without_probes_the_idle_timeout_finds_it(web, net, far_backend):
    t = web(green=[far_backend()], clock=True, idle_timeout=1000.0, tcp={"keepalive": False})
    with t.connect() as c:
        c.echo()
        net.lose()
        t.clock.move(900)
        assert c.alive
        t.clock.move(200)
        c.read_end()
    assert ended(t, "idle_timeout")["seconds"] >= 1000


@far
def test_a_backend_that_forgot_the_connection_resets_it(web, net, far_backend):
    """Half-open: its host was restarted, and knows nothing of us."""
    b = far_backend()
    t = web(green=[b], health=ALWAYS_UP)
    with t.connect() as c:
        c.echo()
        # The kernel puts off its last acknowledgement a little.
        until(lambda: not unacknowledged(b), "all has arrived")
        net.lose()
        b.reset_all()  # nobody hears of it
        until(lambda: b.open == 0, "its end forgot")
        net.mend()
        c.sock.sendall(b"still there?")
        assert c.read_end() == (b"", "reset")
    assert ended(t, "backend_reset")["bytes_out"] == len("green\n") + 5


def unacknowledged(b):
    """Bytes that a backend has sent, and that its kernel may have to send again."""
    with b.lock:
        return sum(struct.unpack("i", fcntl.ioctl(c, termios.TIOCOUTQ, bytes(4)))[0] for c in b._open.values())


def unacknowledged_by(c):
    """Bytes that teald's kernel may have to send a client again."""
    host, port = c.sock.getsockname()
    mine = "%08X:%04X" % (struct.unpack("=I", socket.inet_aton(host))[0], port)
    return sum(int(row.split()[4].split(":")[0], 16) for row in open("/proc/net/tcp") if row.split()[2] == mine)


def until_released(conn, b):
    """Writes, and resets when it may."""
    block = pattern(7)
    while not b.released.is_set():
        conn.send(block)
    reset(conn)


def test_a_reset_in_mid_stream_is_a_reset_on_the_other_side(web, backend):
    t = web(green=[backend("green", until_released)], health=ALWAYS_UP)
    with t.connect() as c:
        c.receive(1 << 20)
        t.green.released.set()
        assert c.read_end()[1] == "reset"
    t.green.released.clear()
    line = ended(t, "backend_reset")
    assert line["bytes_out"] >= 1 << 20
    # And the other way round: the backend's write fails, it is not told of an end.
    c = t.connect()
    c.receive(1 << 16)
    reset(c.sock)
    ended(t, "client_reset")
    until(lambda: t.green.open == 0, "the backend's side is gone")
    connections(t, 0)


def test_a_backend_that_accepts_and_says_nothing(web, backend):
    def mute(conn, b):
        while conn.recv(1 << 16):
            pass
    t = web(green=[backend("green", mute)], server_timeout=0.5, health={"type": "http", "interval": 0.2,
                                                                        "timeout": 0.3, "rise": 1, "fall": 2})
    # It accepts, which is not what an HTTP check asks; but it is all there is.
    assert "no answer after 0.3 s" in t.wait_log("backend.down", backend=t.green.address)["reason"]
    with t.connect() as c:
        c.sock.sendall(b"well?")
        c.read_end()
    line = ended(t, "server_timeout")
    assert (line["bytes_in"], line["bytes_out"], line["backend"]) == (5, 0, t.green.address)
