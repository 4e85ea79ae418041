"""Where two things of HTTP mode meet in one turn of a worker's loop: places that
come free while somebody is being served, heads that follow each other closely,
connections that fail just as they are used again."""
import contextlib
import socket
import select
import ssl
import threading
import time

import pytest

from helpers.backends import firehose, reset
from helpers.certificates import Authority
from helpers.hold import stopped
from helpers.http1 import Http, Reader, requests_of, site, trusting
from helpers.scale import patience, until

GET = "GET {} HTTP/1.1\r\nHost: web\r\n\r\n"
POST = "POST {} HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n"


def alone(web, green, **keys):
    """One worker, before backends that are only what they do."""
    return web(mode="http", green=green, **({"health": {"type": "none"}, "top": {"workers": 1}} | keys))


def waiting(t, n):
    return t.wait_metric(n, "teal_waiting_connections", service="web")


class Turnstile:
    """A site that answers when it is told to, one request a turn."""

    def __init__(self):
        self.turn, self.asked, self.bodies = threading.Semaphore(0), [], []

    def __call__(self, conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            self.asked.append(m.target)
            reader.body_of(m)
            self.bodies.append(m.body)
            self.turn.acquire()
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(m.target), m.target.encode()))


def crowded(web, backend, closing, **keys):
    """A backend with one place, which is taken; who has it, and the turnstile."""
    gate = Turnstile()
    t = alone(web, [backend("green", gate)], **({"backend_max_connections": 1, "queue_timeout": 60.0} | keys))
    holder = closing.add(Http(t.address())).send(GET.format("/held"))
    until(lambda: gate.asked == ["/held"], "the place is taken")
    return t, gate, holder


@pytest.mark.parametrize("n", [2, 5])
def test_several_who_wait_leave_at_once(web, backend, closing, n):
    t, gate, holder = crowded(web, backend, closing)
    queue = []
    for i in range(n):
        # With their bodies on the way nobody watches them but the queue.
        queue.append(closing.add(Http(t.address())).send(POST.format(f"/{i}") + "abc"))
        waiting(t, i + 1)
    with stopped(t):
        for c in queue:
            c.reset()
    waiting(t, 0)
    gate.turn.release()
    assert holder.response().body == b"/held"
    t.wait_metric(0, "teal_backend_connections", service="web")
    t.wait_metric(0, "teal_connections", service="web")


def test_stopping_while_some_who_wait_have_left(web, backend, closing):
    t, gate, holder = crowded(web, backend, closing)
    queue = []
    for i in range(4):
        queue.append(closing.add(Http(t.address())).send(POST.format(f"/{i}") + "abc"))
        waiting(t, i + 1)
    with stopped(t):
        for c in queue[1:3]:
            c.reset()
        t.signal()
    assert t.wait() == 0


def test_who_waited_for_a_place_has_header_timeout_for_its_request(web, backend, closing):
    t = alone(web, [backend("green", site)], clock=True, max_connections=1, queue_timeout=3600.0, header_timeout=400.0)
    holder = closing.add(Http(t.address()))
    assert holder.ask().body == b"green"
    silent, begun = closing.add(Http(t.address())), closing.add(Http(t.address()))
    begun.send("GET / HT")
    waiting(t, 2)
    holder.close()
    waiting(t, 1)
    t.clock.move(400)
    assert silent.ended     # its time is over, and the place goes to the next …
    waiting(t, 0)
    t.clock.move(400)
    assert begun.response().status == 408   # … who does not end what it has begun
    t.wait_metric(0, "teal_connections", service="web")
    with Http(t.address()) as c:
        assert c.ask().body == b"green"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_one_that_closes_while_it_waits_leaves_the_line(web, backend, closing, tmp_path, tls):
    """Without a request there is nothing to answer; whoever has asked before the end
    still gets an answer."""
    authority = Authority(tmp_path)
    t = alone(web, [backend("green", site)], max_connections=1, queue_timeout=3600.0,
              **({"tls": {"certificates": (authority.issue("web"),)}} if tls else {}))
    def come():
        return closing.add(Http(t.address(), **({"tls": trusting(authority.pem), "server_name": "web"} if tls else {})))
    holder = come()
    assert holder.ask().body == b"green"
    leaver = come()
    waiting(t, 1)   # until its handshake is over it is one of max_connections at the listener
    asker = come()
    waiting(t, 2)
    asker.send(GET.format("/"))
    for c in (leaver, asker):
        if tls:
            with contextlib.suppress(OSError):  # says goodbye, and does not wait for ours
                c.sock.settimeout(0.01)
                c.sock.unwrap()
            c.sock.settimeout(patience())
        c.sock.shutdown(socket.SHUT_WR)
    waiting(t, 1)
    holder.close()
    waiting(t, 0)
    if not tls:
        assert asker.response().body == b"green"
    t.wait_metric(0, "teal_connections", service="web")


def test_an_upload_that_ends_in_the_line_for_a_backend_leaves_it(web, backend, closing):
    t, gate, holder = crowded(web, backend, closing)
    c = closing.add(Http(t.address())).send(POST.format("/cut") + "12345")
    waiting(t, 1)
    c.sock.shutdown(socket.SHUT_WR)
    waiting(t, 0)
    assert t.wait_log("http.request", path="/cut")["end"] == "client_gone"
    gate.turn.release()
    assert holder.response().body == b"/held"
    assert gate.asked == ["/held"]


def test_a_head_in_pieces_excuses_no_later_one(web, backend, closing):
    """header_timeout holds for the second head as well, if it had begun before the
    first was answered."""
    gate = Turnstile()
    t = alone(web, [backend("green", gate)], clock=True, header_timeout=400.0)
    c = closing.add(Http(t.address())).send("GET /1 HTTP/1.1\r\n")
    t.clock.move(1)     # it was read
    c.send("Host: web\r\n\r\nGET /2 HTTP/1.1\r\n")
    until(lambda: gate.asked == ["/1"], "the first is there")
    gate.turn.release()
    assert c.response().body == b"/1"
    t.clock.move(400)
    assert c.response().status == 408
    assert c.ended


def test_who_waited_too_long_may_wait_again(web, backend, closing):
    """The connection goes on, and so do its claims: the service admits
    it, and it waits its turn the next time."""
    t, gate, holder = crowded(web, backend, closing, clock=True, queue_timeout=500.0, max_connections=2,
                              response_timeout=3600.0, keepalive_timeout=3600.0, header_timeout=3600.0)
    c = closing.add(Http(t.address())).send(GET.format("/late"))
    waiting(t, 1)
    t.clock.move(500)
    late = c.response()
    assert late.status == 503
    assert "queue_timeout" in t.wait_log("http.request", path="/late")["end"]
    assert late.get("Connection") is None
    # It holds a place again: two are in, and a third waits.
    third = closing.add(Http(t.address()))
    waiting(t, 1)
    third.reset()
    waiting(t, 0)
    c.send(GET.format("/again"))
    waiting(t, 1)
    gate.turn.release()
    assert holder.response().body == b"/held"
    gate.turn.release()
    assert c.response().body == b"/again"


SURPRISE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"


@pytest.mark.parametrize("how", [reset, socket.socket.close])
@pytest.mark.parametrize("backend_first", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_kept_connection_that_speaks_as_it_is_taken(web, backend, method, backend_first, how):
    """What it says is nobody's answer, and nobody's request either."""
    conns, seen, over = [], [], threading.Event()

    def behave(conn, b):
        conns.append(conn)
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            reader.body_of(m)
            seen.append(m.target)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(m.target), m.target.encode()))
            if conn is conns[0]:
                over.wait()     # nobody reads it any more: the test ends it
                return
    t = alone(web, [backend("green", behave)])
    with Http(t.address()) as c:
        assert c.ask("/0").body == b"/0"
        two = "".join(f"{method} {p} HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n" for p in ("/1", "/2"))
        with stopped(t):
            if not backend_first:
                c.send(two)
            conns[0].sendall(SURPRISE)
            how(conns[0])
            if backend_first:
                c.send(two)
        assert [c.response().body for _ in range(2)] == [b"/1", b"/2"]
    over.set()
    assert seen == ["/0", "/1", "/2"]


UPGRADE = "GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: echo\r\n{}\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


def test_hints_that_a_slow_client_has_yet_to_take_come_before_the_101(web, backend, closing, tmp_path):
    """Some of these amounts fill the client's socket just before the 101 comes."""
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </%06d>\r\n\r\n"
    said = threading.Semaphore(0)

    def hints(n):
        return b"".join(hint % i for i in range(n))

    def behave(conn, b):
        n = int(Reader(conn).head().target[1:])
        conn.sendall(hints(n) + SWITCH + b"hello")
        said.release()
        while data := conn.recv(100):
            conn.sendall(data)
    t = alone(web, [backend("green", behave)], clock=True, listen=f"unix:{tmp_path}/web", max_header_size="256KiB")
    amounts = range(1000, 5801, 300)
    clients = [closing.add(Http(t.address())).send(UPGRADE.replace("/ws", f"/{n}").format("")) for n in amounts]
    said.acquire()
    for _ in range(20):
        t.clock.move(0.01)  # what has room goes through
    for n, c in zip(amounts, clients):
        got = b""
        while not got.endswith(b"hello"):
            more = c.sock.recv(1 << 16)
            assert more, (n, got[-200:])
            got += more
        before, switch, after = got.partition(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert before == hints(n) and switch and after.endswith(b"\r\n\r\nhello")
        c.send("more")
        assert c.receive(4) == b"more"


def test_a_101_before_the_request_was_read(web, backend):
    """What of the request is still with teald would be lost, or would come in
    the middle of something else."""
    over = threading.Event()

    def behave(conn, b):
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        Reader(conn).head()
        b.head.wait()
        conn.sendall(SWITCH)
        over.wait()
    green = backend("green", behave, start=False)
    green.head = threading.Event()
    green.start()
    t = alone(web, [green])
    with Http(t.address()) as c:
        c.send(UPGRADE.replace("GET", "POST").format("Content-Length: 100000000\r\n"))
        c.sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                c.sock.send(b"x" * 65536)
        green.head.set()
        c.sock.settimeout(patience())
        assert c.response().status == 502
    line = t.wait_log("http.request", path="/ws")
    # Its client has not sent it all: no fault of the backend, which clients could have ejected for it.
    assert line["end"] == "bad_request" and "101" in line["reason"]
    over.set()


def test_who_waits_holds_no_color(web, backend, closing):
    """The old one drains without them, and is not counted for them."""
    t, gate, holder = crowded(web, backend, closing, drain={"timeout": 60.0, "idle": 0.0})
    queue = []
    for i in range(3):
        queue.append(closing.add(Http(t.address())).send(GET.format(f"/{i}")))
        waiting(t, i + 1)
    assert t.metrics().get("teal_connections", service="web") == 1
    blue = Turnstile()
    t.blue.behaviour = blue
    assert t.ok("flip", "web", "blue")["changed"]
    until(lambda: blue.asked == ["/0"], "one of them is served by the new color")
    waiting(t, 2)
    gate.turn.release()
    assert holder.response().body == b"/held"
    t.wait_log("flip.drained")
    for i, c in enumerate(queue):
        blue.turn.release()
        assert c.response().body == f"/{i}".encode()
    t.wait_metric(0, "teal_connections", service="web")


def test_a_client_without_an_address(web, backend, tmp_path):
    """By a Unix socket: what others have said of it stays, and nothing is made up."""
    t = alone(web, [backend("green", site)], listen=f"unix:{tmp_path}/web", forwarded_header=True)
    with Http(t.address()) as c:
        assert c.ask().status == 200
    request = requests_of(t.green)[0]
    assert request.get("X-Forwarded-For") is None
    assert request.get("Forwarded") == "for=unknown;host=web;proto=http"


def test_a_slow_reader_is_told_the_end_by_tls(web, backend, tmp_path):
    """An answer that ends with its connection is whole only if TLS says so."""
    authority = Authority(tmp_path)

    def behave(conn, b):
        n = int(Reader(conn).head().target[1:])
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * n)
    t = alone(web, [backend("green", behave)], tls={"certificates": (authority.issue("web"),)},
              clock=True, listen=f"unix:{tmp_path}/web")
    clients, strict = [], trusting(authority.pem)
    strict.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    for i, n in enumerate(range(150_000, 300_000, 3_000)):
        c = Http(t.address())
        c.sock = strict.wrap_socket(c.sock, server_hostname="web", suppress_ragged_eofs=False)
        c.send(f"GET /{n} HTTP/1.1\r\nHost: web\r\n{'Connection: close' if i % 2 else 'A: b'}\r\n\r\n")
        clients.append((n, c))
    for _, c in clients:
        select.select([c.sock], [], [])
    for _ in range(3):
        t.clock.move(1)     # longer than it takes until a client that says nothing is left
    for n, c in clients:
        got = 0
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while data := c.sock.read(1 << 16):     # raises where the end is not told
                got += len(data)
        assert got > n
        c.close()


def test_a_preview_that_is_cut_does_not_look_whole(web, backend, ports):
    blue = backend("blue", firehose)
    t = web(blue=[blue], preview=f"127.0.0.1:{ports.hold()}")
    with t.connect(key="preview") as c:
        assert len(c.receive(100_000)) == 100_000
        t.ok("flip", "web", "blue")
        assert c.read_end()[1] == "reset"


def test_certificates_of_one_name_are_one_series(web, backend, tmp_path):
    authority = Authority(tmp_path)
    soon, late = (authority.issue(n, "one.example", days=d) for n, d in (("soon", 5), ("late", 50)))
    t = alone(web, [backend("green", site)], tls={"certificates": (late, soon, soon)})
    [(_, value)] = t.metrics().series("teal_certificate_expiry_seconds", service="web").items()
    assert 0 < value - time.time() < 6 * 86400


def test_kept_connections_end_with_the_certificate_they_showed(web, backend, tmp_path):
    authority = Authority(tmp_path)
    inner, ours = authority.issue("inner", "in.example"), authority.issue("ours", subject="old")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(inner["cert"], inner["key"])
    context.load_verify_locations(str(authority.pem))
    context.verify_mode = ssl.CERT_REQUIRED

    def behave(conn, b):
        with context.wrap_socket(conn, server_side=True) as tls:
            who = dict(pair for part in tls.getpeercert()["subject"] for pair in part)["commonName"].encode()
            reader = Reader(tls)
            while (m := reader.head()) is not None:
                if m.target == "/slow":
                    slow.set()
                    go_on.wait()
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(who), who))
    slow, go_on = threading.Event(), threading.Event()
    t = alone(web, [backend("green", behave)], pool_idle=60.0,
              backend_tls={"ca": str(authority.pem), "server_name": "in.example"} | ours)
    with Http(t.address()) as c, Http(t.address()) as other:
        assert c.ask().body == b"old"
        other.send(GET.format("/slow"))
        slow.wait()
        assert c.ask().body == b"old"
        authority.issue("ours", subject="new")
        assert t.ok("certs", "reload")["changed"]
        assert c.ask().body == b"new"
        go_on.set()
        assert other.response().body == b"old"
        assert [x.ask().body for x in (c, other, c)] == [b"new"] * 3


def test_places_taken_are_those_of_clients(web, backend, closing):
    t = alone(web, [backend("green", site)], max_connections=3)
    clients = [closing.add(Http(t.address())) for _ in range(3)]
    for c in clients:
        assert c.ask().status == 200
    # Nobody asks for anything, and the service is full.
    m = t.wait_metric(0, "teal_connections", service="web")
    assert m.get("teal_places_taken", service="web") == 3
    with Http(t.address()) as late:
        assert late.ended
    clients[0].close()
    t.wait_metric(2, "teal_places_taken", service="web")


def test_the_log_counts_what_the_client_got(web, backend):
    def behave(conn, b):
        target = Reader(conn).head().target
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
                     + {"/good": b"0\r\n\r\n", "/bad": b"x\r\n"}[target])
    t = alone(web, [backend("green", behave)])
    for path, version, status in (("/good", "1.1", 200), ("/good", "1.0", 200), ("/bad", "1.1", 502), ("/bad", "1.0", 502)):
        with Http(t.address()) as c:
            c.send(f"GET {path} HTTP/{version}\r\nHost: web\r\nConnection: close\r\nUser-Agent: {version}\r\n\r\n")
            got, _ = c.read_end()
        assert int(got.split()[1]) == status
        assert t.wait_log("http.request", path=path, user_agent=version)["bytes_out"] == len(got), (path, version)


def test_many_who_ask_at_once_need_no_new_connections_the_next_time(web, backend, closing):
    """Connections that are not kept are paid for with every request."""
    barrier = threading.Barrier(150)

    def behave(conn, b):
        reader = Reader(conn)
        while reader.head() is not None:
            barrier.wait(60)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    site_of_many = backend("green", behave)
    t = alone(web, [site_of_many], pool_idle=3600.0)
    clients = [closing.add(Http(t.address())) for _ in range(barrier.parties)]
    for turn in range(3):
        for c in clients:
            c.send(GET.format("/"))
        for c in clients:
            assert c.response().body == b"ok"
        if turn == 0:
            dialed = site_of_many.accepted
    assert dialed == site_of_many.accepted == barrier.parties


def test_a_client_is_worth_more_than_kept_connections(web, backend, closing):
    """Where descriptors are few, those make way at once."""
    gate = threading.Event()

    def behave(conn, b):
        reader = Reader(conn)
        while reader.head() is not None:
            gate.wait()
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    t = alone(web, [backend("green", behave)], start=False, pool_idle=3600.0, keepalive_timeout=3600.0)
    t.start(prefix=("prlimit", "--nofile=240:240"))
    first = [Http(t.address()).send(GET.format("/")) for _ in range(30)]
    t.wait_metric(30, "teal_backend_connections", service="web")
    gate.set()
    for c in first:
        assert c.response().body == b"ok"
        c.close()
    t.wait_metric(0, "teal_places_taken", service="web")
    # There are descriptors for some 70 clients, and for 55 with those that are kept.
    for c in [closing.add(Http(t.address())) for _ in range(60)]:
        assert c.ask().body == b"ok"
    t.wait_metric(60, "teal_places_taken", service="web")
