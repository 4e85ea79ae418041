"""HTTP/2 from clients: each stream is a request with a color of its own, answered by a backend of HTTP/1.1."""
import struct
import subprocess
import threading

import hpack
import pytest

from helpers import http2, scale, tealbench
from helpers.certificates import Authority, trusting
from helpers.http1 import Http, Reader, requests_of
from helpers.http2 import Http2, frame
from helpers.http2_raw import number
from helpers.reload import change
from helpers.scale import patience, scaled, until
from helpers.upgrade import gone, upgrade

BIG = 300_000
HUGE = 12_000_000  # more than the kernel takes for a client that does not read


def held_site(conn, backend):
    """Answers as the path says: /big, /huge, /chunked, /close, /204, /early, /half and /slow wait for backend.go."""
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        backend.note(conn, b"x")
        if m.target == "/unread":
            backend.go.wait(patience())
            return
        reader.body_of(m)
        with backend.lock:
            vars(backend).setdefault("requests", []).append(m)
        name, path = backend.name.encode(), m.target
        if path in ("/slow", "/half"):
            if path == "/half":
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + name)
            backend.go.wait(patience())
        if path == "/half":
            conn.close()
            return
        if path == "/big":
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + b"b" * BIG)
        elif path == "/huge":
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE + b"h" * HUGE)
        elif path == "/chunked":
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n")
            for piece in (b"one", b"two"):
                conn.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            conn.sendall(b"0\r\nX-Sum: 42\r\n\r\n")
        elif path == "/close":
            conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")
            return
        elif path == "/204":
            conn.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
        else:
            body = b"" if m.method == "HEAD" else name
            conn.sendall(b"HTTP/1.1 200 OK\r\nX-Backend: %s\r\nContent-Length: %d\r\n\r\n" % (name, len(name)) + body)


@pytest.fixture
def stage(web, backend):
    def make(**keys):
        sides = []
        for color in ("green", "blue"):
            b = backend(color, held_site)
            b.go = threading.Event()
            sides.append(b)
        return web(green=[sides[0]], blue=[sides[1]], **{"mode": "http", "h2c": True, "idle_timeout": 0} | keys)
    return make


@pytest.fixture
def ask(closing):
    return lambda teal, **how: closing.add(Http2(teal.address(), **how))


def ignore_pings(c):
    take = c._take
    c._take = lambda kind, flags, n, payload: None if kind == http2.PING else take(kind, flags, n, payload)


def refused(teal, reason):
    return teal.metrics().get("teal_http2_refused_total", service="web", reason=reason)


def test_requests_of_all_kinds(stage, ask):
    teal = stage(via=True)
    c = ask(teal)
    s = c.get("/a?b=1", headers=[("cookie", "a=1"), ("cookie", "b=2"), ("x-own", "y")])
    assert (s.status, s.body, s.get("x-backend")) == (200, b"green", "green")
    m = requests_of(teal.green)[-1]
    assert m.start == "GET /a?b=1 HTTP/1.1" and m.get("Host") == "web" and m.get("Cookie") == "a=1; b=2"
    assert m.get("Via") == "2 teal" and m.get("X-Own") == "y" and m.get("X-Forwarded-For") == "127.0.0.1"
    assert not {"connection", "transfer-encoding", "keep-alive"} & {n for n, _ in s.heads[0]}
    s = c.get(method="HEAD")
    assert s.status == 200 and s.body == b"" and s.get("content-length") == "5"
    s = c.get("/204")
    assert [dict(h)[":status"] for h in s.heads] == ["103", "204"] and s.body == b""
    s = c.get("/chunked")
    assert s.body == b"onetwo" and s.heads[-1] == [("x-sum", "42")]
    assert c.get("/close").body == b"to the end" and c.get("/big").body == b"b" * BIG
    # Bodies with a length, without one, and with trailers.
    n = c.ask("/up", end=False, method="POST", headers=[("content-length", str(BIG))])
    c.data(n, b"u" * BIG, end=True)
    assert c.answer(n).status == 200 and requests_of(teal.green)[-1].body == b"u" * BIG
    n = c.ask("/up", end=False, method="POST", headers=[("te", "trailers")])
    c.data(n, b"some")
    c.data(n, b" more")
    c.frame(http2.HEADERS, n, c.encoder.encode([("x-check", "7")]), http2.END_HEADERS | http2.END_STREAM)
    assert c.answer(n).status == 200
    m = requests_of(teal.green)[-1]
    assert m.body == b"some more" and m.trailers == [("x-check", "7")] and m.get("Transfer-Encoding") == "chunked"
    # Teal's own answer before the end of the request.
    n = c.ask("/" + "x" * 9000, end=False, method="POST")
    s = c.answer(n)
    assert s.status == 414 and s.ended
    line = teal.wait_log("http.request", path="/chunked")
    assert line["protocol"] == "HTTP/2" and line["status"] == 200 and line["color"] == "green"
    assert not c.goaways
    with Http(teal.address()) as h1:
        assert h1.ask("/").status == 200
        m = teal.metrics()
        told = teal.ok("status")["proxy"]
        plain = teal.tealctl("status").stdout
    assert m.get("teal_requests_total", service="web", protocol="HTTP/2") == 9
    # Connections by what they speak, and streams apart from them.
    assert [m.get("teal_http_connections", protocol=p) for p in ("HTTP/1", "HTTP/2")] == [1, 1]
    assert (told["http1"]["connections"], told["http2"]["connections"]) == (1, 1)
    assert "http\t1\t1\t" in plain
    until(lambda: teal.metrics().get("teal_http_connections", protocol="HTTP/1") == 0, "that one has left")
    teal.wait_metric(1, "teal_requests_total", service="web", protocol="HTTP/1")


def test_each_stream_has_a_color_and_a_flip_closes_nobody(stage, ask):
    teal = stage()
    c = ask(teal)
    assert c.get().body == b"green"
    old = c.ask("/slow")
    until(lambda: any(m.target == "/slow" for m in requests_of(teal.green)), "green has it")
    teal.ok("flip", "web", "blue", "--wait=applied")
    for _ in range(3):
        assert c.get().body == b"blue"
    assert teal.metrics().get("teal_draining_connections", service="web", color="green") == 1
    teal.green.go.set()
    assert c.answer(old).body == b"green" and not c.goaways
    teal.wait_log("flip.drained")


def test_a_drain_cuts_streams_and_not_connections(stage, ask):
    teal = stage(drain={"timeout": 0.2})
    c = ask(teal)
    half, none = c.ask("/half"), c.ask("/slow")
    c.until(lambda: c.streams[half].body)
    until(lambda: len(requests_of(teal.green)) == 2, "green has both")
    teal.ok("flip", "web", "blue", "--wait=drained")
    assert c.answer(half).reset == http2.CANCEL and c.answer(none).status == 503
    assert c.get().body == b"blue" and not c.goaways
    teal.green.go.set()


def test_a_slow_stream_delays_no_other_and_holds_little(stage, ask):
    teal = stage()
    c = ask(teal, opens=False, settings=[(http2.INITIAL_WINDOW, 1000)])
    c.window(1 << 30)
    slow = [c.ask("/big") for _ in range(20)]
    for n in slow:
        c.until(lambda n=n: len(c.streams[n].body) == 1000)
    assert c.get().body == b"green"
    for n in slow:
        c.window(BIG, n)
    for n in slow:
        assert c.answer(n).body == b"b" * BIG
    # The connection's window, too.
    d = ask(teal, opens=False, settings=[(http2.INITIAL_WINDOW, 1 << 30)])
    n = [d.ask("/big") for _ in range(3)]
    d.until(lambda: sum(len(d.streams[i].body) for i in n) == 65535)
    d.pong()
    d.window(1 << 30)
    assert all(d.answer(i).body == b"b" * BIG for i in n)


def test_streams_that_are_paused_before_their_first_byte_delay_no_other(stage, ask):
    """Of each answer its head has to be read, whatever comes with that."""
    teal = stage()
    c = ask(teal, opens=False, settings=[(http2.INITIAL_WINDOW, 1)])
    c.window(1 << 30)
    slow = [c.ask("/big") for _ in range(40)]
    for n in slow:
        assert c.until(lambda n=n: len(c.streams[n].body) == 1)
    n = c.ask()
    c.window(100, n)
    assert c.answer(n).body == b"green" and not c.goaways


def test_heads_of_requests_that_wait_are_bounded(stage, ask):
    teal = stage(http2={"max_memory": "128KiB"}, max_header_size="64KiB")
    c = ask(teal)

    def large():
        return c.ask("/slow", headers=[("x-large", "x" * 50_000)])
    waiting = [large() for _ in range(3)]
    assert c.answer(large()).reset == http2.REFUSED_STREAM and refused(teal, "memory") == 1
    # Trailers count likewise.
    d = ask(teal)
    n = [d.ask("/unread", end=False, method="POST") for _ in range(22)]
    for i in n:
        block = d.encoder.encode([("x-large", "y" * 6000)], huffman=False)
        d.frame(http2.HEADERS, i, block, http2.END_STREAM | http2.END_HEADERS)
    assert d.answer(n[-1]).reset == http2.ENHANCE_YOUR_CALM and refused(teal, "fields_memory") == 1
    teal.green.go.set()
    assert all(c.answer(n).status == 200 for n in waiting)
    assert c.answer(large()).status == 200 and not c.goaways and not d.goaways


def test_more_than_a_window_lets_through_ends_the_stream(stage, ask):
    """What the kernel takes for a backend that does not read, the client may send again; then no more."""
    teal = stage()
    c = ask(teal)
    n = c.ask("/unread", end=False, method="POST")
    for _ in range(2000):
        c.frame(http2.DATA, n, b"x" * 16384)
    assert c.answer(n).reset == http2.FLOW_CONTROL_ERROR and refused(teal, "flow_control") == 1
    teal.green.go.set()
    assert c.get().body == b"green" and not c.goaways


def test_more_than_the_connection_s_window_ends_that(stage, ask):
    """Of several streams, each of which keeps to its own."""
    teal = stage(http2={"max_control": 0})
    c = ask(teal)
    streams = [c.ask("/unread", end=False, method="POST") for _ in range(4)]
    try:
        while not c.goaways and not c.ended:
            n = max(streams, key=lambda n: c.out.setdefault(n, 65535))
            if (k := min(16384, c.out[n])) > 0:
                c.frame(http2.DATA, n, b"x" * k)
                c.out[n] -= k
            else:
                c.read()
    except OSError:
        pass        # it is closed
    until(lambda: refused(teal, "flow_control_connection") == 1, "it has ended")
    teal.green.go.set()
    assert ask(teal).get().body == b"green"


def test_a_client_takes_back_what_it_asked(stage, ask):
    teal = stage()
    c = ask(teal)
    n = c.ask("/slow")
    until(lambda: requests_of(teal.green), "green has it")
    c.frame(http2.RST_STREAM, n, struct.pack(">I", http2.CANCEL))
    assert teal.wait_log("http.request", path="/slow")["end"] == "client_reset"
    assert c.get().status == 200
    n = c.ask("/slow")
    until(lambda: len(requests_of(teal.green)) >= 2, "and again")
    c.close()
    assert teal.wait_log("http.request", path="/slow", count=2)
    until(lambda: teal.metrics().get("teal_http2_streams") == 0, "none is left")
    teal.green.go.set()


def pseudo(*more, **other):
    head = {":method": "GET", ":scheme": "http", ":path": "/bad", ":authority": "web"} | {":" + k: v for k, v in other.items()}
    return [(k, v) for k, v in head.items() if v is not None] + list(more)


MALFORMED = {
    "connection_field": pseudo(("connection", "close")),
    "te_bad": pseudo(("te", "gzip")),
    "pseudo_late": pseudo()[:3] + [("a", "b"), (":authority", "web")],
    "pseudo_unknown": pseudo((":own", "x")),
    "pseudo_repeated": pseudo() + [(":path", "/b")],
    "method_missing": pseudo(method=None),
    "path_missing": pseudo(path=""),
    "scheme_missing": pseudo(scheme=None),
    "name_upper": pseudo(("X-Upper", "1")),
    "value_bad": pseudo(("x", "a\r\nb: c")),
    "host_differs": pseudo(("host", "other")),
    "length_bad": pseudo(("content-length", "+5")),
}


def test_what_is_malformed_reaches_no_backend(stage, ask):
    teal = stage(http2={"max_resets": 1000})
    c = ask(teal)
    for reason, head in MALFORMED.items():
        s = c.answer(c.ask(raw=head))
        assert s.reset == http2.PROTOCOL_ERROR and refused(teal, reason) == 1, reason
    n = c.ask(end=False, method="POST", path="/bad", headers=[("content-length", "5")])
    c.data(n, b"123456", end=True)
    assert c.answer(n).reset == http2.PROTOCOL_ERROR and refused(teal, "length_differs") == 1
    # What HTTP/1 refuses is answered.
    assert c.get("/ok", host="a b").over and c.get("/" + "x" * 9000).status == 414
    assert c.get(headers=[("x", "y" * 20000), ("z", "y" * 20000)]).status == 431
    assert c.answer(c.ask(raw=pseudo(*[("a", "b")] * 200))).status == 431
    assert c.get().status == 200 and not c.goaways
    assert not [m for m in requests_of(teal.green) if m.target == "/bad"]


BROKEN = {
    "settings_first": (lambda c: c.send(http2.PREFACE + frame(http2.PING, payload=b"12345678")), http2.PROTOCOL_ERROR),
    "preface": (lambda c: c.send(http2.PREFACE[:-2] + b"xx"), None),
    "frame_long": (lambda c: c.frame(http2.DATA, 1, b"x" * 16385), http2.FRAME_SIZE_ERROR),
    "stream_zero": (lambda c: c.frame(http2.DATA, 0, b"x"), http2.PROTOCOL_ERROR),
    "stream_even": (lambda c: c.frame(http2.HEADERS, 2, c.block(), 5), http2.PROTOCOL_ERROR),
    "stream_idle": (lambda c: c.frame(http2.DATA, 9, b"x"), http2.PROTOCOL_ERROR),
    "hpack_index": (lambda c: c.frame(http2.HEADERS, 1, b"\xff\xff\x03", 5), http2.COMPRESSION_ERROR),
    "continuation_alone": (lambda c: c.frame(http2.CONTINUATION, 1, b"", 4), http2.PROTOCOL_ERROR),
    "continuation_missing": (lambda c: c.frame(http2.HEADERS, 1, c.block()[:3]).frame(http2.PING, payload=b"12345678"), http2.PROTOCOL_ERROR),
    "window_zero_connection": (lambda c: c.window(0), http2.PROTOCOL_ERROR),
    "window_overflow_connection": (lambda c: c.window((1 << 31) - 1), http2.FLOW_CONTROL_ERROR),
    "settings_value": (lambda c: c.frame(http2.SETTINGS, payload=struct.pack(">HI", http2.ENABLE_PUSH, 2)), http2.PROTOCOL_ERROR),
    "push_promise": (lambda c: c.frame(http2.PUSH_PROMISE, 1, b"\0\0\0\2", 4), http2.PROTOCOL_ERROR),
}


def test_faults_of_a_connection_end_it_with_their_code(stage, ask):
    teal = stage()
    good = ask(teal)
    for reason, (do, code) in BROKEN.items():
        c = ask(teal, hello=reason not in ("settings_first", "preface"))
        do(c)
        assert c.rest_of() == code, reason
        assert reason == "preface" or refused(teal, reason) == 1, reason
    assert good.get().status == 200 and not good.goaways


def streams(c, then, count=2000):
    """So many new ones, each with that frame behind it, in one piece: no more comes back meanwhile than takes no time."""
    block, raw = c.block("/slow"), b""
    for n in range(1, 2 * count, 2):
        raw += frame(http2.HEADERS, n, block if n == 1 else c.block("/slow"), 5) + then(n)
    c.send(raw)


def resets(c):
    streams(c, lambda n: frame(http2.RST_STREAM, n, struct.pack(">I", http2.CANCEL)))


def continuations(c):
    c.send(frame(http2.HEADERS, 1, c.block()) + frame(http2.CONTINUATION, 1) * 20)


def made_resets(c):
    streams(c, lambda n: frame(http2.DATA, n, b"x"))


ATTACKS = {
    "resets_many": resets,
    "faults_many": made_resets,
    "continuations_many": continuations,
    "pings_many": lambda c: c.send(frame(http2.PING, payload=b"12345678") * 3000),
    "settings_many": lambda c: c.send(frame(http2.SETTINGS) * 3000),
    "windows_many": lambda c: c.send(frame(http2.WINDOW_UPDATE, payload=b"\0\0\0\1") * 3000),
    "priorities_many": lambda c: c.send(frame(http2.PRIORITY, 9, b"\0\0\0\0\1") * 3000),
    "empty_many": lambda c: c.send(frame(http2.DATA, c.ask("/up", end=False, method="POST")) * 3000),
}


def test_attacks_are_told_to_calm_down_and_the_others_notice_nothing(stage, ask):
    teal = stage()
    good = ask(teal)
    for reason, attack in ATTACKS.items():
        c = ask(teal)
        try:
            attack(c)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert c.rest_of() in (http2.ENHANCE_YOUR_CALM, None), reason
        until(lambda: refused(teal, reason) >= 1, reason)
        assert good.get().status == 200
    assert not good.goaways
    # More streams at once than there may be.
    c = ask(teal)
    slow = [c.ask("/slow") for _ in range(101)]
    assert c.answer(slow[-1]).reset == http2.REFUSED_STREAM and refused(teal, "streams_many") == 1
    teal.green.go.set()
    assert all(c.answer(n).body == b"green" for n in slow[:-1])


def test_what_is_taken_back_with_its_request_costs_no_connect(stage, ask):
    """A reset, or a fault, that comes in one piece with the head of its stream: a backend hears nothing of it."""
    teal = stage(top={"workers": 1})
    for then in (lambda n: frame(http2.RST_STREAM, n, struct.pack(">I", http2.CANCEL)), lambda n: frame(http2.DATA, n, b"x")):
        c = ask(teal)
        streams(c, then, count=100)
        c.next = 201
        assert c.get().status == 200
        assert not c.goaways
    assert [m.target for m in requests_of(teal.green)] == ["/", "/"]
    assert teal.metrics().get("teal_connect_seconds_count", service="web", color="green") == 1
    assert len(teal.log_lines("http.request", path="/slow", end="client_reset")) == 100


def bomb(c):
    """A field of 4000 bytes that is named again and again by one byte; its windows stay shut, so that answers pile up."""
    c.send(frame(http2.SETTINGS, payload=struct.pack(">HI", http2.INITIAL_WINDOW, 0)))
    for n in range(20):
        block = (b"\x40\1a" + number(4000, 7) + 4000 * b"b" if n == 0 else b"") + 10000 * b"\xbe"
        c.send(frame(http2.HEADERS, 2 * n + 1, block, http2.END_HEADERS | http2.END_STREAM))


class Prepared(Http2):
    """What an attack sends, made once: a hundred threads that make it again each time leave no turn for the good client's."""

    def __init__(self, attack):
        self.encoder, self.streams, self.next, self.sent = hpack.Encoder(), {}, 1, b""
        attack(self)

    def send(self, raw):
        self.sent += raw
        return self


@pytest.mark.nosan
@pytest.mark.scales
@pytest.mark.parametrize("reason", [*ATTACKS, "fields_large"])
def test_many_attackers_at_once_cost_the_others_nothing(web, ask, closing, reason):
    """They come again as soon as they are told to leave. Meanwhile a client on a connection of its own gets each answer, and
    what the attackers hold is what connections may have."""
    attackers, rounds, bound = scaled(100, 4), scaled(20, 2), 256 << 10
    attack = ATTACKS.get(reason, bomb)
    sent = Prepared(attack).sent
    side = closing.add(tealbench.Serve("--name=green"))
    teal = web(green=[side], blue=[side], mode="http", h2c=True, idle_timeout=0, connect_timeout=patience(), health={"type": "none"})
    good = ask(teal)
    assert good.get().status == 200
    before, enough, said = teal.rss(), threading.Event(), []

    def one():
        """Until all have had enough rounds; each ends by what it is told, or by a reset."""
        while not enough.is_set():
            try:
                with Http2(teal.address()) as c:
                    c.send(sent)
                    c.rest_of() if attack is not bomb else c.until(lambda: sum(x.heads != [] for x in c.streams.values()) == 20)
            except (BrokenPipeError, ConnectionResetError):
                pass
            except Exception as e:
                said.append(e)
                return
    threads = [threading.Thread(target=one) for _ in range(attackers)]
    for t in threads:
        t.start()
    most, answers = before, 0
    try:
        while refused(teal, reason) < attackers * rounds or answers < scaled(100, 8):
            assert good.get().status == 200 and not said
            most, answers = max(most, teal.rss()), answers + 1
    finally:
        enough.set()
        for t in threads:
            t.join()
    assert not good.goaways and not said
    assert most - before < attackers * bound + (16 << 20), (before, most)
    until(lambda: teal.metrics().get("teal_http_connections", protocol="HTTP/2") == 1, "only the good one is left")


def test_a_window_that_stays_shut_ends_its_stream(stage, ask):
    teal = stage(http2={"stall_timeout": 0.5})
    c = ask(teal, opens=False, settings=[(http2.INITIAL_WINDOW, 0)])
    n = c.ask("/big")
    assert c.answer(n).reset == http2.CANCEL and refused(teal, "stalled") == 1
    c.window(100000, c.ask("/"))
    c.frame(http2.SETTINGS, payload=struct.pack(">HI", http2.INITIAL_WINDOW, 1000))
    assert c.get().body == b"green"


def test_an_upload_that_is_answered_early_is_taken_for_a_while(stage, ask, tmp_path):
    """A reset would take the answer from clients that read none before they have sent everything, and from curl."""
    teal = stage(max_body="1MiB")
    c = ask(teal)
    body = b"u" * (2 << 20)
    (tmp_path / "body").write_bytes(body)

    def refused_upload():
        n = c.ask("/up", end=False, method="POST", headers=[("content-length", str(len(body)))])
        assert c.answer(n).status == 413
        return n

    def sends(some):
        n = refused_upload()
        c.data(n, some, end=True)
        c.pong()
        return c.streams[n].reset is None
    until(lambda: sends(body), "all of it is taken")
    until(lambda: sends(body[:1000]), "it may stop short")
    command = ["curl", "-sS", "--http2-prior-knowledge", "-T", str(tmp_path / "body"), "-w", "%{http_version} %{response_code}",
               "-o", "/dev/null", "http://%s:%d/" % teal.address()]
    until(lambda: subprocess.run(command, capture_output=True, text=True, timeout=patience()).stdout == "2 413", "curl has it")
    n = refused_upload()
    assert c.until(lambda: c.streams[n].reset is not None) and c.streams[n].reset == http2.NO_ERROR
    assert not refused(teal, "length_differs") and c.get().status == 200 and not c.goaways
    until(lambda: teal.metrics().get("teal_http2_streams") == 0, "none is left")
def test_a_window_opened_by_a_byte_is_no_less_shut(stage, ask):
    teal = stage(http2={"stall_timeout": 0.5})
    c = ask(teal, opens=False, settings=[(http2.INITIAL_WINDOW, 0)])
    n = c.ask("/")
    teal.wait_log("http.request")    # all of its answer is held
    c.window(1, n)
    s = c.answer(n)
    assert s.reset == http2.CANCEL and s.body == b"g" and refused(teal, "stalled") == 1


def test_a_body_that_fills_the_connection_lets_others_through(stage, ask, backend, web):
    """Its backend is always faster than the client reads: what the client says is heard, and answered, all the same."""
    sent, over, much = [], threading.Event(), b"e" * (1 << 18)

    def endless(conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            b.note(conn, b"x")
            if m.target == "/small":
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall")
                continue
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
            while not over.is_set():
                conn.sendall(much)
                sent.append(1)

    teal = web(green=[backend("green", endless)], mode="http", h2c=True, idle_timeout=0)
    c = ask(teal, opens=False, settings=[(http2.INITIAL_WINDOW, (1 << 31) - 1)])
    c.window((1 << 31) - 1 - 65535)
    n, gone = c.ask("/endless"), c.ask("/gone")
    c.until(lambda: c.streams[n].body and c.streams[gone].body)

    def stands_still():
        before = len(sent)
        teal.metrics()
        return len(sent) == before > 0
    until(lambda: all(stands_still() for _ in range(20)), "all buffers are full")
    c.frame(http2.RST_STREAM, gone, struct.pack(">I", http2.CANCEL))
    teal.wait_log("http.request", path="/gone", end="client_reset")
    small, passed = c.ask("/small"), 0
    while not c.streams[small].over and passed < 1 << 28:
        assert c.read()
        passed += len(c.streams[n].body)
        c.streams[n].body = b""
    over.set()
    assert c.streams[small].body == b"small"


def fill(c, n):
    """Sends all that the windows of stream n and of the connection let through, and waits until more may be sent."""
    while (k := min(16384, c.out.setdefault(n, 65535), c.out[0])) > 0:
        c.data(n, b"u" * k)
    assert c.until(lambda: min(c.out[n], c.out[0]) > 0)


def test_a_window_grows_where_bytes_move_and_gives_way_to_answers(stage, ask):
    teal = stage(http2={"max_control": 0})
    c = ask(teal, opens=False, settings=[(http2.INITIAL_WINDOW, 1000)])
    n = c.ask("/up", end=False, method="POST")

    def size(of):
        """Of that window, once all is taken but what is not worth a frame: told by the PING behind it."""
        fill(c, n)
        c.pong()
        return c.out[of]
    until(lambda: size(n) > 70_000, "the stream's window has grown")
    until(lambda: size(0) > 135_000, "the connection's, too")
    # An answer that its client does not take needs the memory.
    held = c.ask("/big")
    assert c.until(lambda: c.streams[held].body)
    until(lambda: size(0) <= 131_072 and size(n) <= 65_536, "they are as they were")
    c.data(n, b"", end=True)
    assert c.answer(n).status == 200
    c.window(BIG, held)
    c.window(1 << 20)
    assert c.answer(held).body == b"b" * BIG and not c.goaways


def test_what_was_on_its_way_when_streams_were_reset_is_no_fault(stage, ask):
    """A client that has not read yet how many may be under way sends bodies and trailers of those that are refused: of as many as
    may be refused at all."""
    teal = stage(http2={"max_streams": 5})
    c = ask(teal)
    slow = [c.ask("/slow") for _ in range(5)]
    many = [c.ask("/up", end=False, method="POST") for _ in range(150)]
    for n in many:
        c.frame(http2.DATA, n, b"x")
    for n in many:
        c.frame(http2.HEADERS, n, c.encoder.encode([("x-check", "7")]), http2.END_HEADERS | http2.END_STREAM)
    assert all(c.answer(n).reset == http2.REFUSED_STREAM for n in many)
    teal.green.go.set()
    assert all(c.answer(n).status == 200 for n in slow)
    assert c.get().body == b"green" and not c.goaways
    assert refused(teal, "streams_many") == 150 and refused(teal, "stream_ended") == 0


def test_streams_go_on_however_long_after_the_goodbye(stage, ask):
    """Whether the client answers the PING behind it, or does not: the time that it had for that ends while they are under way."""
    teal = stage(max_requests=1, top={"workers": 1})
    slow, after = ask(teal), ask(teal)
    ignore_pings(after)
    n = slow.ask("/slow")
    assert slow.until(lambda: len(slow.goaways) == 2)
    # Its time began later than the other's.
    k = after.ask("/slow")
    assert after.until(lambda: len(after.goaways) == 2)
    assert ask(teal).get().status == 200
    teal.green.go.set()
    for c, stream in ((slow, n), (after, k)):
        assert c.answer(stream).body == b"green" and c.rest_of() == http2.NO_ERROR
        assert [g[0] for g in c.goaways] == [(1 << 31) - 1, 1]
    assert teal.stop() == 0


def test_what_a_client_takes_slowly_comes_whole_after_the_goodbye(stage, ask):
    """The time for an answer to its PING ends while the last answer is in the queue."""
    teal = stage(max_requests=1, http2={"max_memory": "64MiB"}, top={"workers": 1})
    slow, after = ask(teal, opens=False, settings=[(http2.INITIAL_WINDOW, 1 << 30)]), ask(teal)
    slow.window(1 << 30)
    n = slow.ask("/huge")
    until(lambda: teal.ok("status")["proxy"]["http2"] == {"connections": 2, "streams": 0}, "all of it is in the queue")
    ignore_pings(after)
    k = after.ask("/slow")
    assert after.until(lambda: len(after.goaways) == 2)
    teal.green.go.set()
    assert after.answer(k).status == 200
    assert len(slow.answer(n).body) == HUGE and slow.rest_of() == http2.NO_ERROR


@pytest.mark.parametrize("first", ["request", "answer to PING"])
def test_a_goodbye_whose_frames_come_in_pieces(stage, ask, first):
    """One request more is served if it came before the answer to the goodbye's PING, and refused behind it."""
    teal = stage(max_requests=1)
    pong, at, total = frame(http2.PING, payload=b"teal-bye", flags=http2.ACK), 0, 1
    while at < total:
        c = ask(teal)
        ignore_pings(c)
        assert c.get().status == 200 and c.until(lambda c=c: c.goaways)
        n, c.next = c.next, c.next + 2
        c.streams[n], block = http2.Stream(), c.block()
        request = frame(http2.HEADERS, n, block[:2], http2.END_STREAM) + frame(http2.CONTINUATION, n, block[2:], http2.END_HEADERS)
        both = request + pong if first == "request" else pong + request
        c.send(both[:at]).send(both[at:])
        at, total = at + 1, len(both)
        assert c.rest_of() == http2.NO_ERROR
        last = n if first == "request" else n - 2
        assert [g[0] for g in c.goaways] == [(1 << 31) - 1, last]
        assert c.streams[n].status == (200 if first == "request" else None)
        c.close()


def test_what_a_client_had_in_its_queue_as_the_goodbye_came_is_served(stage, ask):
    """There are libraries that answer PING before they send what they had in their queue."""
    teal = stage(max_requests=1)
    c = ask(teal)
    said, take = [], c._take
    c._take = lambda kind, flags, n, payload: said.append(payload) if kind == http2.PING else take(kind, flags, n, payload)
    assert c.get().status == 200 and c.until(lambda: len(said) == 1)
    c.frame(http2.PING, payload=said[0], flags=http2.ACK)
    n = c.ask()
    assert c.until(lambda: len(said) == 2) and len(c.goaways) == 1
    c.frame(http2.PING, payload=said[1], flags=http2.ACK)
    assert c.answer(n).status == 200 and c.rest_of() == http2.NO_ERROR
    assert [g[0] for g in c.goaways] == [(1 << 31) - 1, n]


def test_a_goodbye_is_not_put_off_by_requests(stage, ask):
    """A client that answers no PING is told the last stream after a while, also when it asks for more meanwhile."""
    teal = stage(max_requests=1)
    c = ask(teal)
    ignore_pings(c)
    assert c.get().status == 200 and c.until(lambda: c.goaways)

    def one_more():
        """Its head comes in two frames."""
        n, c.next = c.next, c.next + 2
        c.streams[n], block = http2.Stream(), c.block()
        c.send(frame(http2.HEADERS, n, block[:2], http2.END_STREAM) + frame(http2.CONTINUATION, n, block[2:], http2.END_HEADERS))
        return c.until(lambda: c.streams[n].over or len(c.goaways) > 1)
    try:
        until(lambda: one_more() is None or len(c.goaways) > 1, "the last stream is told")
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert c.rest_of() == http2.NO_ERROR and [g[0] for g in c.goaways][0] == (1 << 31) - 1 and len(c.goaways) == 2


def test_a_stop_says_goodbye_twice_and_ends_what_is_under_way(stage, ask):
    teal = stage(top={"stop": {"timeout": 60.0}})
    idle, busy = ask(teal), ask(teal)
    assert idle.get().status == 200
    n = busy.ask("/slow")
    until(lambda: len(requests_of(teal.green)) == 2, "green has it")
    teal.signal()
    assert idle.rest_of() == http2.NO_ERROR
    assert [g[0] for g in idle.goaways] == [(1 << 31) - 1, 1]
    teal.green.go.set()
    assert busy.answer(n).body == b"green"
    busy.rest_of()
    assert [g[0] for g in busy.goaways] == [(1 << 31) - 1, 1]
    assert teal.wait() == 0


def test_an_upgrade_lets_streams_end_where_they_were_begun(stage, ask):
    teal = stage(start=False).start(supervised=True)
    idle, busy = ask(teal), ask(teal)
    assert idle.answer(idle.ask(raw=pseudo(("te", "gzip")))).reset == http2.PROTOCOL_ERROR
    n = busy.ask("/slow")
    until(lambda: requests_of(teal.green), "green has it")
    assert teal.ok("status")["proxy"]["http2"] == {"connections": 2, "streams": 1}
    before, _ = upgrade(teal)
    until(lambda: teal.metrics().get("teal_http_connections", protocol="HTTP/2") == 0, "the new process has none of these")
    assert idle.rest_of() == http2.NO_ERROR and len(idle.goaways) == 2
    # It is served on, by the color that is active.
    assert busy.get().body == b"green"
    teal.ok("flip", "web", "blue", "--wait=applied")
    assert busy.get().body == b"blue" and ask(teal).get().body == b"blue" and not busy.goaways
    teal.green.go.set()
    assert busy.answer(n).body == b"green"
    assert busy.rest_of() == http2.NO_ERROR and len(busy.goaways) == 2
    gone(before)
    assert refused(teal, "te_bad") == 1
    until(lambda: teal.metrics().get("teal_requests_total", service="web", protocol="HTTP/2") == 5, "all are counted")


def test_a_reload_changes_what_is_spoken(stage, ask):
    teal = stage(h2c=False)
    assert ask(teal).rest_of() is None
    change(teal, h2c=True, http2={"max_streams": 7})
    teal.ok("reload")
    c = ask(teal)
    assert c.get().status == 200 and c.settings[http2.MAX_STREAMS] == 7


def test_by_alpn_and_only_for_names_of_the_certificate(stage, ask, tmp_path):
    ca = Authority(tmp_path)
    teal = stage(tls={"certificates": [ca.issue("web.example")]}, hosts=["web.example"])
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (None, None)):
        with Http2(teal.address(), tls=trusting(ca, alpn=offered), server_name="web.example", hello=False) as c:
            assert c.sock.selected_alpn_protocol() == chosen
    c = ask(teal, tls=trusting(ca, alpn=["h2"]), server_name="web.example")
    assert c.get(host="web.example", scheme="https").body == b"green"
    assert c.get(host="other.example", scheme="https").status == 421
    assert c.get("/big", host="web.example", scheme="https").body == b"b" * BIG and not c.goaways
