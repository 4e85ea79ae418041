"""Flips under HTTP: each request has one color, and none is lost, whoever asks."""
import json
import re
import subprocess
import threading

import pytest

from helpers import scale
from helpers.http1 import Http, Reader, requests_of, site
from helpers.scale import patience, until
from helpers.tealbench import Serve

FLIPS = scale.scaled(1000, 10)
REQUESTS = scale.scaled(1_000_000, 4_000 // scale.slow())
COLORS = ("green", "blue")


@pytest.fixture
def stage(web, closing):
    """A running teald before two of tealbench's servers."""
    def make(**keys):
        g, b = (closing.add(Serve("--mode=http", f"--name={c}")) for c in COLORS)
        return web(green=[g], blue=[b], mode="http", **keys)
    return make


class Flips:
    """Flips for as long as it is open, `pause` seconds apart; .begun and
    .applied count them.  The color of flip n is COLORS[n % 2]."""

    def __init__(self, teal, pause=0.02):
        self.teal, self.pause = teal, pause
        self.begun = self.applied = 0
        self.refused, self._end = [], threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with self.teal.admin() as admin:
            while not self._end.wait(self.pause):
                self.begun += 1
                reply = admin.command("flip", "web", COLORS[self.begun % 2])
                if not reply["ok"]:
                    self.refused.append(reply)
                    return
                self.applied = self.begun

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._end.set()
        self._thread.join(patience())
        assert self.refused == []


def served_by(t):
    """What each backend says it was asked, of both colors."""
    for b in (t.green, t.blue):
        b.close()
    return [b.served["requests"] for b in (t.green, t.blue)]


def url(t):
    return "http://%s:%d/bytes/100" % t.address()


def tool(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=20 * patience())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.nosan      # the drill does the same under sanitizers
@pytest.mark.scales
def test_wrk_notices_no_flip(stage):
    t, asked = stage(), 0
    with Flips(t) as flips:
        while asked < REQUESTS or flips.applied < FLIPS:
            said = tool("wrk", "-t1", "-c16", "-d1", f"--timeout={int(patience())}", url(t))
            assert "Socket errors" not in said and "Non-2xx" not in said, said
            asked += int(re.search(r"(\d+) requests in", said)[1])
    print(f"wrk: {asked} requests over {flips.applied} flips")
    assert min(served_by(t)) > 0


@pytest.mark.nosan      # the drill does the same under sanitizers
@pytest.mark.scales
def test_ab_notices_no_flip(stage):
    """A connection for each request, HTTP/1.0."""
    t, asked, each = stage(), 0, max(500, REQUESTS // 10)
    with Flips(t) as flips:
        while asked < REQUESTS // 2 or flips.applied < FLIPS:
            said = tool("ab", "-q", "-n", str(each), "-c", "8", "-s", str(int(patience())), url(t))
            assert re.search(r"Failed requests:\s+0$", said, re.M) and "Non-2xx" not in said, said
            assert re.search(rf"Complete requests:\s+{each}$", said, re.M), said
            asked += each
    print(f"ab: {asked} requests over {flips.applied} flips")
    assert min(served_by(t)) > 0


@pytest.mark.scales
@pytest.mark.tsan
def test_what_begins_after_applied_never_reaches_the_old_color(stage):
    t = stage()
    clients, wrong, proofs, served = 4, [], [0] * 4, [set() for _ in range(4)]
    done = threading.Event()

    def ask(i, flips):
        with Http(t.address()) as c:        # one connection for all of it
            while not done.is_set():
                first = flips.applied
                answer = c.ask()
                last = flips.begun
                if answer is None or answer.status != 200:
                    wrong.append((i, first, last, answer))
                    return
                name = json.loads(answer.body)["name"]
                served[i].add(name)
                # No flip was under way: there is one right answer.
                if first == last:
                    proofs[i] += 1
                    if name != COLORS[first % 2]:
                        wrong.append((i, first, last, name))

    with Flips(t) as flips:
        threads = [threading.Thread(target=ask, args=(i, flips), daemon=True) for i in range(clients)]
        for thread in threads:
            thread.start()
        until(lambda: wrong or (flips.refused or flips.applied >= 2 * FLIPS) and min(proofs) > 50
              and min(map(len, served)) == 2, "all have seen both")
        done.set()
        for thread in threads:
            thread.join(patience())
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.tsan
def test_a_client_s_connection_survives_flips(stage):
    t = stage()
    with Http(t.address()) as c:
        for n in range(6):
            assert json.loads(c.ask().body)["name"] == COLORS[n % 2]
            t.ok("flip", "web", COLORS[(n + 1) % 2])
    t.wait_log("http.request", 6)
    assert len({l["client"] for l in t.log_lines("http.request")}) == 1


@pytest.fixture
def holding(web, backend):
    """Backends that answer /hold when they are released, and begin to at once
    what is asked of /half."""
    def answer(conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            with b.lock:
                vars(b).setdefault("requests", []).append(m)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345" if m.target == "/half" else b"")
            if m.target in ("/hold", "/half"):
                b.released.wait(4 * patience())
            conn.sendall(b"67890" if m.target == "/half" else
                         b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(b.name), b.name.encode()))

    def make(**keys):
        return web(green=[backend("green", answer)], blue=[backend("blue", answer)], mode="http", **keys)
    return make


def holds(t, *targets):
    """Clients whose requests have reached green."""
    clients = [Http(t.address()).send(f"GET {target} HTTP/1.1\r\nHost: web\r\n\r\n") for target in targets]
    until(lambda: len(requests_of(t.green)) == len(targets), "green has all of them")
    return clients


@pytest.mark.tsan
def test_what_is_under_way_is_finished_by_the_old_color(holding):
    t = holding(drain={"timeout": 60.0, "idle": 0.1})
    waiting, half = holds(t, "/hold", "/half")
    with waiting, half:
        t.ok("flip", "web", "blue")
        with Http(t.address()) as c:
            assert c.ask().body == b"blue"
        t.green.released.set()
        assert waiting.response().body == b"green" and half.response().body == b"1234567890"
        # And the same connections go on, with the other color.
        assert waiting.ask().body == half.ask().body == b"blue"
    t.wait_log("http.request", 5, end="done")


def test_what_is_not_finished_ends_with_the_drain(holding):
    t = holding(drain={"timeout": 0.3, "idle": 0.0})
    waiting, half = holds(t, "/hold", "/half")
    with waiting, half:
        t.ok("flip", "web", "blue")
        # Nothing was said yet: that can be told.  A half answer cannot.
        assert waiting.response().status == 503
        with pytest.raises(OSError):
            half.response()
        assert waiting.ask().body == b"blue"
    t.wait_log("http.request", 2, end="drained", color="green")
    assert [r.target for r in requests_of(t.blue)] == ["/"]


def websocket(t):
    """An open one, as RFC 6455 section 1.2 has it."""
    c = Http(t.address())
    answer = c.ask("/ws", headers=[("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                                   ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
    assert answer.status == 101 and answer.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    return c


def says(c, text):
    """Sends a frame (mask 0) and returns what the echo holds."""
    c.send(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    kind, n = c._reader.exactly(2)
    assert kind == 0x81
    return c._reader.exactly(n)


@pytest.mark.tsan
def test_a_websocket_stays_on_its_color_until_it_ends(stage):
    t = stage(drain={"timeout": 60.0, "idle": 0.0})
    with websocket(t) as old, Http(t.address()) as c:
        assert says(old, b"before") == b"before"
        t.ok("flip", "web", "blue")
        assert says(old, b"after") == b"after"
        assert json.loads(c.ask().body)["name"] == "blue"
        with websocket(t) as new:
            assert says(new, b"hello") == b"hello"
    assert {l["color"] for l in (t.wait_log("tcp.session", color="green"), t.wait_log("tcp.session", color="blue"))} \
        == set(COLORS)


def test_the_drain_s_time_ends_a_websocket(stage):
    t = stage(drain={"timeout": 0.3, "idle": 0.0})
    with websocket(t) as old:
        assert says(old, b"before") == b"before"
        t.ok("flip", "web", "blue", "--wait=drained")
        assert old._reader.exactly(4) == b"\x88\x02\x03\xe9" and old.ended    # Close, 1001
    assert t.wait_log("tcp.session")["end"] == "drained"


@pytest.mark.tsan
def test_sigterm_says_goodbye_with_an_answer(holding):
    t = holding(drain={"timeout": 60.0, "idle": 0.0}, top={"stop": {"timeout": 60.0}})
    (waiting,) = holds(t, "/hold")
    with waiting, Http(t.address()) as c:
        assert c.ask().body == b"green"
        t.signal()

        # It is told to each worker in turn; until then all is as before.
        def told():
            answer = c.ask()
            assert (answer.status, answer.body) == (200, b"green")
            return answer.get("Connection") == "close"
        until(told, "the last answer")
        assert c.ended
        t.green.released.set()
        answer = waiting.response()
        assert (answer.body, answer.get("Connection")) == (b"green", "close") and waiting.ended
    assert t.wait() == 0
