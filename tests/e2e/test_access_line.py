"""Access lines: what a request asked for, and where its time went."""
import queue
import socket

import pytest

from helpers.certificates import Authority
from helpers.http1 import Http, Reader, site, trusting
from helpers.scale import until
from helpers.teald import service
from helpers.upgrade import upgraded


class Told:
    """A site that says nothing before it is told to: pieces of its answers, one after the other."""

    def __init__(self):
        self.asked, self.said = queue.Queue(), queue.Queue()

    def __call__(self, conn, backend):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            reader.body_of(m)
            backend.note(conn, b"x")
            self.asked.put(m.target)
            last = False
            while not last:
                piece, last = self.said.get()
                conn.sendall(piece)

    def say(self, piece, last=True):
        self.said.put((piece, last))


@pytest.fixture
def told(closing):
    t = Told()
    yield t
    t.say(b"")


def line_of(teal, path, event="http.request"):
    return teal.wait_log(event, path=path)


def http(web, backend, behaviour=site, **keys):
    return web(green=[backend("green", behaviour)], mode="http", **({"health": {"type": "none"}} | keys))


def test_a_line_tells_host_protocol_and_where_the_time_went(web, backend):
    teal = http(web, backend)
    with Http(teal.address()) as c:
        c.ask("/first", host="Shop.Example:8080")
        c.ask("/kept", host="web")
        c.ask("/old", host=None, version="1.0")
    first, kept, old = (line_of(teal, p) for p in ("/first", "/kept", "/old"))
    assert (first["host"], first["protocol"]) == ("Shop.Example:8080", "HTTP/1.1")
    assert (kept["host"], old["host"], old["protocol"]) == ("web", "", "HTTP/1.0")
    for line in (first, kept):
        assert 0 <= line["connect_seconds"] <= line["first_byte_seconds"] <= line["seconds"]
    assert first["connect_seconds"] > 0 and kept["connect_seconds"] == 0
    assert not {"queue_seconds", "tls_seconds", "trace_id"} & (set(first) | set(kept))
    m = teal.metrics()
    assert m.get("teal_first_byte_seconds_count", service="web", color="green") == 3
    assert "teal_queue_seconds" not in {n for n, f in m.families.items() if f.samples}


def test_what_teal_answers_itself_names_the_host_it_was_asked_for(teal, backend, ports):
    at = f"127.0.0.1:{ports.hold()}"
    t = teal(services=[service(n, listen=at, green=[backend(f"g{n}", site)], blue=[backend(f"b{n}", site)], mode="http",
                               hosts=[f"{n}.example"]) for n in ("shop", "pay")])
    with Http(t.address("shop")) as c:
        assert c.ask("/lost", host="elsewhere.example").status == 421
    line = line_of(t, "/lost")
    assert (line["host"], line["status"], line["end"]) == ("elsewhere.example", 421, "misdirected")
    assert line["protocol"] == "HTTP/1.1" and "first_byte_seconds" not in line
    with Http(t.address("shop")) as c:
        assert c.ask("/bad", host="sh op").status == 400
    assert line_of(t, "/bad")["host"] == "sh op"
    with Http(t.address("shop")) as c:
        assert c.send("GET /worse HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").response().status == 400
    assert line_of(t, "/worse")["host"] == "a"
    with Http(t.address("shop")) as c:
        c.send("GET http://pay.example/absolute HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert c.response().body == b"gpay"
    assert line_of(t, "/absolute")["host"] == "pay.example"


def test_the_time_until_the_answer_begins_is_told_apart_from_all_of_it(web, backend, told):
    teal = http(web, backend, told, clock=True)
    with Http(teal.address()) as c:
        c.send("GET /slow HTTP/1.1\r\nHost: web\r\n\r\n")
        told.asked.get()
        teal.clock.move(5)
        told.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", last=False)
        until(lambda: c._reader.rest.endswith(b"ab") or c._reader._more() and c._reader.rest.endswith(b"ab"), "it began")
        teal.clock.move(7)
        told.say(b"cd")
        assert c.response().body == b"abcd"
    line = line_of(teal, "/slow")
    assert 5 <= line["first_byte_seconds"] and line["first_byte_seconds"] + 7 <= line["seconds"]
    m = teal.metrics()
    assert m.get("teal_first_byte_seconds_count", service="web", color="green") == 1
    assert m.get("teal_first_byte_seconds_sum", service="web", color="green") >= 5
    assert m.get("teal_first_byte_seconds_bucket", service="web", color="green", le="2.5") == 0


def waits(teal):
    return teal.wait_metric(1, "teal_waiting_connections", service="web")


def test_the_wait_for_a_place_is_told_with_the_first_request(web, backend):
    teal = http(web, backend, clock=True, max_connections=1, queue_timeout=600.0, top={"workers": 1})
    with Http(teal.address()) as one, Http(teal.address()) as two:
        assert one.ask("/one").status == 200
        two.send("GET /two HTTP/1.1\r\nHost: web\r\n\r\n")
        waits(teal)
        teal.clock.move(9)
        one.close()
        assert two.response().status == 200
        assert two.ask("/three").status == 200
    assert 9 <= line_of(teal, "/two")["queue_seconds"]
    assert "queue_seconds" not in line_of(teal, "/three") and "queue_seconds" not in line_of(teal, "/one")
    m = teal.metrics()
    assert m.get("teal_queue_seconds_count", service="web") == 1 and m.get("teal_queue_seconds_sum", service="web") >= 9


def test_the_wait_for_a_backend_is_not_taken_for_connecting(web, backend, told):
    teal = http(web, backend, told, clock=True, backend_max_connections=1, queue_timeout=600.0, top={"workers": 1})
    with Http(teal.address()) as one, Http(teal.address()) as two:
        one.send("GET /one HTTP/1.1\r\nHost: web\r\n\r\n")
        assert told.asked.get() == "/one"
        two.send("GET /two HTTP/1.1\r\nHost: web\r\n\r\n")
        waits(teal)
        teal.clock.move(8)
        told.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert one.response().status == 200
        assert told.asked.get() == "/two"
        told.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert two.response().status == 200
    line = line_of(teal, "/two")
    assert 8 <= line["queue_seconds"] <= line["first_byte_seconds"] <= line["seconds"]
    assert line["connect_seconds"] < 8
    assert "queue_seconds" not in line_of(teal, "/one")


def test_sessions_tell_of_the_wait_and_of_the_first_byte(web):
    teal = web(clock=True, max_connections=1, queue_timeout=600.0, top={"workers": 1})
    one, two = teal.connect(), None
    assert one.peer == "green"
    two = teal.connect()
    waits(teal)
    teal.clock.move(6)
    one.close()
    assert two.peer == "green"
    two.close()
    lines = teal.wait_log("tcp.session", 2), teal.log_lines("tcp.session")
    first, second = lines[1]
    assert "queue_seconds" not in first and 6 <= second["queue_seconds"] <= second["first_byte_seconds"] <= second["seconds"]
    assert second["connect_seconds"] < 6
    assert 0 < first["first_byte_seconds"]


def test_who_gives_up_waiting_has_waited_too(web):
    teal = web(clock=True, max_connections=1, queue_timeout=5.0, top={"workers": 1})
    with teal.connect() as one, teal.connect() as two:
        assert one.peer == "green"
        waits(teal)
        teal.clock.move(6)
        assert two.read_end()[0] == b""
    line = teal.wait_log("tcp.session", end="queue_timeout")
    assert line["queue_seconds"] >= 5 and "first_byte_seconds" not in line
    assert teal.metrics().get("teal_queue_seconds_sum", service="web") >= 5


def test_a_backend_that_says_nothing_has_no_first_byte(web, backend):
    def listens(conn, b):
        while data := conn.recv(100):
            b.note(conn, data)
    teal = web(green=[backend("green", listens)])
    with teal.connect() as c:
        c.sock.sendall(b"hello")
        c.sock.shutdown(socket.SHUT_WR)
        c.read_end()
    assert "first_byte_seconds" not in teal.wait_log("tcp.session", end="done")


def test_a_handshake_is_told_once(web, backend, tmp_path):
    ca = Authority(tmp_path)
    teal = http(web, backend, tls={"certificates": [ca.issue("web.example")]})
    with Http(teal.address(), tls=trusting(), server_name="web.example") as c:
        c.ask("/first", host="web.example")
        c.ask("/second", host="web.example")
    first, second = line_of(teal, "/first"), line_of(teal, "/second")
    assert first["tls_seconds"] > 0 and first["tls"] == second["tls"]
    assert "tls_seconds" not in second
    m = teal.metrics()
    assert m.get("teal_tls_handshake_seconds_count", service="web") == 1
    assert m.get("teal_tls_handshake_seconds_sum", service="web") > 0


def test_sessions_by_tls_tell_of_their_handshake(web, tmp_path):
    ca = Authority(tmp_path)
    teal = web(tls={"certificates": [ca.issue("web.example")]})
    with Http(teal.address(), tls=trusting(), server_name="web.example") as c:
        assert c._reader.exactly(6) == b"green\n"
    line = teal.wait_log("tcp.session")
    assert line["tls_seconds"] > 0 and line["sni"] == "web.example"


def test_what_a_session_has_waited_for_goes_over_with_it(web):
    """Its line is written by the process that ends it; and what was observed stays counted."""
    teal = web(start=False, clock=True, max_connections=1, queue_timeout=600.0, top={"workers": 1}).start(supervised=True)
    one = teal.connect()
    assert one.peer == "green"
    two = teal.connect()
    waits(teal)
    teal.clock.move(6, wait=False)
    one.close()
    assert two.peer == "green"
    upgraded(teal)
    assert two.echo().peer == "green"
    assert teal.metrics().get("teal_queue_seconds_count", service="web") == 1
    two.close()
    line = until(lambda: [l for l in teal.log_lines("tcp.session") if "queue_seconds" in l], "the line")[0]
    assert 6 <= line["queue_seconds"] <= line["first_byte_seconds"] <= line["seconds"]


def test_histograms_go_on_in_the_next_process(web, backend):
    teal = http(web, backend, start=False).start(supervised=True)
    with Http(teal.address()) as c:
        c.ask("/1")
    line_of(teal, "/1")
    upgraded(teal)
    with Http(teal.address()) as c:
        c.ask("/2")
    line_of(teal, "/2")
    assert teal.metrics().get("teal_first_byte_seconds_count", service="web", color="green") == 2
