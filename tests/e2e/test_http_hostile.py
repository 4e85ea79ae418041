"""Hostile HTTP: each verdict right, and nothing of what is refused reaches a backend.

The rows are in helpers/http1_hostile.py. The backend reads with h11, a parser that is none of
ours: what reaches it must be one whole good request for each that was let pass, and not one byte
of the others; between any two rows a good request shows that.
"""
import re
import select
import socket
import threading

import h11
import pytest

from helpers import http1_hostile as hostile
from helpers import scale
from helpers.ports import listener

LIMITS = {"max_header_size": "16KiB", "max_uri": "8KiB", "max_headers": 100}
# Every word the log may give for a refusal: the parser's table, and two of the data path.
REASONS = set(re.findall(r'"(.*)"\)', (scale.REPO / "include/proto/http1_reason.h").read_text()))
REASONS |= {"CONNECT is not supported", "Expect asks for something unknown"}
# What is only wrong, or only complete, when the connection has ended.
ENDS = ("nothing", "cut short", "without a last", "until the")


class Connection:
    """One of the backend's: what it got, and the whole requests in it."""

    def __init__(self, sock):
        self.sock, self.raw, self.requests, self.error, self.ended = sock, b"", [], None, False


class Recorder:
    """A backend that keeps every byte."""

    def __init__(self, port, answer):
        self.answer, self.connections, self.lock = answer, [], threading.Lock()
        self._listener = listener("127.0.0.1", port)
        self.address = f"127.0.0.1:{port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self._listener.accept()
            except OSError:
                return
            c = Connection(s)
            with self.lock:
                self.connections.append(c)
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        begin, request = 0, None
        try:
            while True:
                event = parser.next_event()
                if event is h11.NEED_DATA:
                    data = c.sock.recv(1 << 16)
                    if not data:
                        break
                    c.raw += data
                    parser.receive_data(data)
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.EndOfMessage):
                    end = len(c.raw) - len(parser.trailing_data[0])
                    c.requests.append(c.raw[begin:end])
                    begin = end
                    if not self.answer(c, request, parser):
                        break
                    parser.start_next_cycle()
                elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    break
            while data := c.sock.recv(1 << 16):     # all that may still come
                c.raw += data
        except h11.RemoteProtocolError as e:
            c.error = str(e)
        except OSError:
            pass
        c.ended = True
        c.sock.close()

    def fresh(self):
        """Forgets what there was; connections that are open stay in sight."""
        with self.lock:
            self.connections = [c for c in self.connections if not c.ended]
            for c in self.connections:
                c.raw_before, c.requests_before = len(c.raw), len(c.requests)

    def requests(self):
        with self.lock:
            return [r for c in self.connections for r in c.requests[getattr(c, "requests_before", 0):]]

    def bytes(self):
        with self.lock:
            return b"".join(c.raw[getattr(c, "raw_before", 0):] for c in self.connections)

    def unfinished(self):
        """Connections that hold a piece of a request, and stay."""
        with self.lock:
            return [c for c in self.connections if not c.ended and len(c.raw) != sum(map(len, c.requests))]

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self.lock:
            for c in self.connections:
                try:
                    c.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def say_ok(c, request, parser):
    """"ok", by h11."""
    out = parser.send(h11.Response(status_code=200, headers=[("Content-Length", "2")]))
    if request.method != b"HEAD":
        out += parser.send(h11.Data(b"ok"))
    c.sock.sendall(out + parser.send(h11.EndOfMessage()))
    return parser.our_state is not h11.MUST_CLOSE


def answers(data):
    """How many whole answers with Content-Length (of ours and of the backend's all have one)."""
    n = 0
    while True:
        head, found, data = data.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        if not found or len(data) < int(lengths[0] if lengths else 0):
            return n
        data = data[int(lengths[0] if lengths else 0):]
        n += 1


def ask(address, request, until, head=False):
    """Sends it all, as far as it is taken, and reads that many answers, or until the end (0), or a
    head: (bytes, ended)."""
    out, got = memoryview(request), b""
    with socket.create_connection(address, timeout=scale.patience()) as s:
        s.setblocking(False)
        while True:
            readable, writable, _ = select.select([s], [s] if out else [], [], scale.patience())
            if not readable and not writable:
                return got, False
            try:
                if writable:
                    out = out[s.send(out):]
                if readable:
                    data = s.recv(1 << 16)
                    if not data:
                        return got, True
                    got += data
            except BlockingIOError:
                continue
            except OSError:     # it was closed while we wrote
                return got, True
            if (until and answers(got) >= until) or (head and b"\r\n\r\n" in got):
                return got, False


def refusal(answer, ended, status):
    """What is wrong with an answer that ought to refuse; None: nothing."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if not answer.startswith(b"HTTP/1.1 %d " % status):
        return f"not {status}: {answer[:200]!r}"
    if not ended or b"connection: close" not in lines:
        return f"not closed: {answer[:300]!r}"
    if b"cache-control: no-store" not in lines or b"content-length: %d" % len(body) not in lines:
        return f"not a good answer: {answer[:300]!r}"
    return None


@pytest.fixture
def stage(teal, ports, closing):
    """stage(answer): a recorder behind teald in mode http."""
    def make(answer, clock=False, **keys):
        recorder = closing.add(Recorder(ports.hold(), answer))
        t = teal(services=[{"name": "web", "mode": "http", "listen": f"127.0.0.1:{ports.hold()}",
                            "green": {"backends": [recorder.address]}, "blue": {"backends": [recorder.address]},
                            "health": {"type": "none"}} | LIMITS | keys], workers=1, clock=clock)
        return t, recorder
    return make


def judge_request(recorder, address, data, verdict):
    """What is wrong with the row; None: nothing."""
    if isinstance(verdict, hostile.Pass):
        answer, _ = ask(address, data, verdict.answers)
        if not answer.startswith(b"HTTP/1.1 200 ") or not answer.partition(b"\r\n\r\n")[2].startswith(b"ok"):
            return f"not let pass: {answer[:300]!r}"
        arrived = recorder.requests()[0]
        first, rest = arrived.split(b"\r\n", 1)
        if verdict.first and first != verdict.first or not all(b in b"\r\n" + rest for b in verdict.has) or \
                any(b in rest for b in verdict.lacks):
            return f"changed: {arrived!r}"
        return None
    status = verdict.status if isinstance(verdict, hostile.Broken) else verdict
    wrong = refusal(*ask(address, data, 0), status)
    if wrong is None and isinstance(verdict, hostile.Broken):
        scale.until(lambda: not recorder.unfinished(), "an end of what was begun")
    return wrong


def test_hostile_requests(stage):
    t, recorder = stage(say_ok)
    address, wrong = t.address("web"), []
    for n, (why, data, verdict) in enumerate(hostile.REQUESTS):
        recorder.fresh()
        if fault := judge_request(recorder, address, data, verdict):
            wrong.append((why, fault))
        if not isinstance(verdict, int):
            if isinstance(verdict, hostile.Broken) and recorder.requests():
                wrong.append((why, f"a whole request arrived: {recorder.requests()}"))
            recorder.fresh()
        # Whatever went on before this one is there before this one.
        answer, _ = ask(address, b"GET /good-%d HTTP/1.1\r\nHost: a\r\n\r\n" % n, 1)
        if not answer.endswith(b"ok"):
            wrong.append((why, f"spoils the next: {answer!r}"))
        if isinstance(verdict, int) and not recorder.bytes().startswith(b"GET /good-%d HTTP/1.1\r\n" % n):
            wrong.append((why, f"something arrived: {recorder.bytes()[:300]!r}"))
        if recorder.bytes().count(b"HTTP/1.1\r\n") > 1 and isinstance(verdict, int):
            wrong.append((why, f"more arrived: {recorder.bytes()[:300]!r}"))
    errors = [c.error for c in recorder.connections if c.error]
    assert not wrong, f"{len(wrong)} of {len(hostile.REQUESTS)}:\n" + "\n".join(map(": ".join, wrong))
    assert not errors, errors


def test_the_log_says_why(stage):
    """Every third row: a flood of refusals would not be logged line by line."""
    t, _ = stage(say_ok)
    refused = [r for r in hostile.REQUESTS if not isinstance(r[2], hostile.Pass)][::3]
    for _, data, _ in refused:
        ask(t.address("web"), data, 0)
    t.wait_log("http.request", len(refused))
    for (why, _, verdict), line in zip(refused, t.log_lines("http.request")):
        status = verdict.status if isinstance(verdict, hostile.Broken) else verdict
        assert (line["status"], line["end"]) == (status, "bad_request"), (why, line)
        assert line["reason"] in REASONS - {"nothing wrong"}, (why, line)
    # As far as a head was good, it is logged.
    for line in t.log_lines("http.request", reason="white space before the colon"):
        assert (line["method"], line["path"]) in (("GET", "/"), ("POST", "/")), line


def test_requests_cut_at_every_byte_are_judged_alike(stage):
    """Two rows of each kind, dripped: the verdict is that of the whole."""
    t, recorder = stage(say_ok)
    for rows in (hostile.REQUEST_LINES, hostile.HEADERS, hostile.HOSTS, hostile.LENGTHS, hostile.CODINGS,
                 hostile.CHUNKS):
        refused = [r for r in rows if not isinstance(r[2], hostile.Pass) and len(r[1]) < 200][::max(1, len(rows) // 4)]
        for why, data, verdict in refused:
            status = verdict.status if isinstance(verdict, hostile.Broken) else verdict
            with socket.create_connection(t.address("web"), timeout=scale.patience()) as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                got = b""
                try:
                    for i in range(len(data)):
                        s.sendall(data[i:i + 1])
                        if select.select([s], [], [], 0.0005)[0]:
                            break
                    while part := s.recv(1 << 16):
                        got += part
                except OSError:
                    pass
            assert got.startswith(b"HTTP/1.1 %d " % status), (why, got)
            if not isinstance(verdict, hostile.Broken):
                assert recorder.bytes() == b"", why
    assert recorder.requests() == []


class Responder:
    """Answers /N with the N-th row, and /fine with a good answer."""

    def __init__(self):
        self.again = []     # rows whose connection was used once more

    def __call__(self, c, request, parser):
        path = request.target.decode()
        if path == "/fine":
            return say_ok(c, request, parser)
        why, data, verdict = hostile.RESPONSES[int(path[1:])]
        try:
            c.sock.sendall(data)
            if any(word in why for word in ENDS):
                c.sock.shutdown(socket.SHUT_WR)
            elif isinstance(verdict, hostile.Pass) and hostile.FORGED not in data:
                # A good one: the connection may serve again.  h11 has to think it answered.
                parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                parser.send(h11.EndOfMessage())
                return True
            if c.sock.recv(1 << 16):    # a request, behind an answer that was odd
                self.again.append(why)
        except OSError:
            pass
        c.sock.close()
        return False


def read_response(data, ended):
    """(status, body) of the last response in it, or (status, None) when it has no good end."""
    c = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    c.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    c.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        c.receive_data(data)
        if ended:
            c.receive_data(b"")
        while True:
            event = c.next_event()
            if isinstance(event, (h11.Response, h11.InformationalResponse)):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return status, None
    except h11.RemoteProtocolError:
        return status, None


def fetch(address, path):
    """(all bytes, status, body or None): read until the response or the connection ends."""
    got, ended = b"", False
    with socket.create_connection(address, timeout=scale.patience()) as s:
        s.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        while not ended:
            try:
                part = s.recv(1 << 16)
            except ConnectionResetError:
                # As if it had ended: a body until the end of its connection it is not.
                return got, read_response(got, False)[0], None
            got, ended = got + part, not part
            status, body = read_response(got, ended)
            if body is not None:
                break
    return got, status, body


def judge_response(got, status, body, data, verdict):
    if verdict == 502:
        return None if status == 502 and b"evil" not in got else f"not 502: {got[:300]!r}"
    if verdict is hostile.CUT:
        if status == 502 and body is not None and b"evil" not in got:
            return None     # seen before the head went on
        return None if status == 200 and body is None else f"looks whole: {got[:300]!r}"
    if body is None:
        return f"not let pass: {got[:300]!r}"
    if status == 502 or body != (b"" if status in (204, 304) else b"hi"):
        return f"not as it was: {got[:300]!r}"
    if b"evil" in got or not all(b in got for b in verdict.has) or any(b in got for b in verdict.lacks):
        return f"changed: {got[:300]!r}"
    return None


@pytest.mark.parametrize("answers", ["strict", "lenient"])
def test_hostile_responses(stage, answers):
    """What is odd but has one meaning is a matter of taste; its connection serves
    nobody again."""
    lenient = hostile.LENIENT if answers == "lenient" else {}
    responder = Responder()
    t, recorder = stage(responder, answers=answers)
    address, wrong = t.address("web"), []
    for n, (why, data, verdict) in enumerate(hostile.RESPONSES):
        verdict, _ = lenient.get(why, (verdict, None))
        if fault := judge_response(*fetch(address, b"/%d" % n), data, verdict):
            wrong.append((why, fault))
        got, status, body = fetch(address, b"/fine")
        if (status, body) != (200, b"ok"):
            wrong.append((why, f"spoils the next: {got[:300]!r}"))
    assert not wrong, f"{len(wrong)} of {len(hostile.RESPONSES)}:\n" + "\n".join(map(": ".join, wrong))
    assert not responder.again, f"used again: {responder.again}"
    odd = t.metrics().series("teal_http_odd_answers_total", service="web", color="green")
    counted = {dict(labels)["reason"]: n for labels, n in odd.items() if n}
    reasons = [reason for _, reason in lenient.values()] + ["no_body_framing"] * len(hostile.BODYLESS)
    assert counted == {reason: reasons.count(reason) for reason in reasons}
    assert not [c.error for c in recorder.connections if c.error]


# (why, the request but for its target, the backend's answer, what the client gets of a body or whole)
ODD_PAIRS = (
    ("9110 9.3.2 what follows an answer to HEAD is nobody's", b"HEAD @ HTTP/1.1\r\nHost: a\r\n\r\n",
     hostile.ok(b"Content-Length: 4", body=b"evil"), 200, b""),
    ("9110 15.2 HTTP/1.0 knows no 1xx", b"GET @ HTTP/1.0\r\n\r\n",
     hostile.ok(b"X: evil", status=b"103 Early Hints") + hostile.ok(b"Content-Length: 2", body=b"hi"), 200, b"hi"),
    ("6.1 HTTP/1.0 knows no chunks", b"GET @ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     hostile.ok(b"Transfer-Encoding: chunked", b"Trailer: X", body=b"2;evil\r\nhi\r\n0\r\nX: evil\r\n\r\n"), 200, b"hi"),
    ("9110 15.2.2 101 to a client of HTTP/1.0", b"GET @ HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
     hostile.ok(b"Upgrade: websocket", b"Connection: upgrade", status=b"101 x", body=b"evil"), 502, None),
    ("9110 15.2.2 101 that does not say to what",
     b"GET @ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
     hostile.ok(b"Connection: upgrade", status=b"101 x", body=b"evil"), 502, None),
    ("9110 15.2.2 101 in HTTP/1.0", b"GET @ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
     hostile.ok(b"Upgrade: websocket", b"Connection: upgrade", status=b"101 x", version=b"1.0", body=b"evil"), 502, None),
    ("9110 7.8 101 to what the client did not name",
     b"GET @ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, foo/1\r\nUpgrade: bar\r\n\r\n",
     hostile.ok(b"Upgrade: foo/2", b"Connection: upgrade", status=b"101 x", body=b"evil"), 502, None),
    ("9110 7.8 101 to one that the client named, and another",
     b"GET @ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
     hostile.ok(b"Upgrade: websocket, evil", b"Connection: upgrade", status=b"101 x", body=b"evil"), 502, None),
    ("9110 7.8 101 with an empty list",
     b"GET @ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
     hostile.ok(b"Upgrade: ,", b"Connection: upgrade", status=b"101 x", body=b"evil"), 502, None),
    ("9110 7.8 101 to h2c, which no proxy passes on",
     b"GET @ HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
     hostile.ok(b"Upgrade: h2c", b"Connection: upgrade", status=b"101 x", body=b"evil"), 502, None),
)


def test_answers_that_do_not_fit_their_request(stage):
    used_again = []

    def answer(c, request, parser):
        n = int(request.target[1:])
        c.sock.sendall(ODD_PAIRS[n][2])
        if b"evil" in ODD_PAIRS[n][2].rpartition(b"\r\n\r\n")[2] and c.sock.recv(1 << 16):
            used_again.append(ODD_PAIRS[n][0])
        c.sock.close()
        return False

    t, _ = stage(answer)
    for n, (why, request, _, status, body) in enumerate(ODD_PAIRS):
        got, _ = ask(t.address("web"), request.replace(b"@", b"/%d" % n), 0 if b"HTTP/1.0" in request else 1,
                     head=request.startswith(b"HEAD"))
        assert got.startswith(b"HTTP/1.1 %d " % status) and b"evil" not in got, (why, got)
        if body is not None:
            assert got.partition(b"\r\n\r\n")[2] == body and b"chunked" not in got, (why, got)
    assert not used_again


@pytest.mark.parametrize("old", [False, True], ids=["1.1", "1.0"])
def test_interim_answers_are_together_no_longer_than_a_head(stage, old):
    """What is within the limit passes, and one byte more is no answer; also where the client is not told of any."""
    hint = hostile.ok(b"X: " + b"y" * 100, status=b"103 Early Hints")
    most = 16384 // len(hint)
    rest = 16384 - most * len(hint) - len(hostile.ok(status=b"103 x"))
    assert rest >= 5

    def answer(c, request, parser):
        more = rest + (request.target == b"/more") - len(b"X: \r\n")
        c.sock.sendall(hint * most + hostile.ok(b"X: " + b"z" * more, status=b"103 x") +
                       hostile.ok(b"Content-Length: 2", b"Connection: close", body=b"hi"))
        return False

    t, _ = stage(answer)
    for target, status in ((b"/", 200), (b"/more", 502), (b"/", 200)):
        got, _ = ask(t.address("web"), b"GET %s HTTP/1.%d\r\nHost: a\r\nConnection: close\r\n\r\n" % (target, not old), 0)
        last = got[got.rindex(b"HTTP/1.1 "):]
        assert last.startswith(b"HTTP/1.1 %d " % status), (target, got[-500:])
        assert got.count(b"103 Early") == (0 if old else most)
    assert "interim" in t.wait_log("http.request", path="/more")["reason"]


def test_what_comes_unasked_is_nobodys_answer(stage):
    """A backend that speaks again on a connection that waits in the pool."""
    def answer(c, request, parser):
        say_ok(c, request, parser)
        if request.target == b"/poison":
            c.sock.sendall(hostile.FORGED)
            spoken.set()
            c.sock.recv(1 << 16)    # the end: nobody asks here again
            return False
        return True

    t, recorder = stage(answer)
    for _ in range(20):
        spoken = threading.Event()
        assert ask(t.address("web"), b"GET /poison HTTP/1.1\r\nHost: a\r\n\r\n", 1)[0].endswith(b"ok")
        spoken.wait(scale.patience())
        scale.until(lambda: all(c.ended for c in recorder.connections if any(b"/poison" in r for r in c.requests)),
                    "the end of the connection")
        assert ask(t.address("web"), b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n", 1)[0].endswith(b"ok")
