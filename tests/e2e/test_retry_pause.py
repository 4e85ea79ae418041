"""retry_pause: who comes while the only backend restarts is served when it is
back, and what was sent meanwhile arrives."""
import pytest

from helpers.backends import BLOCK
from helpers.http1 import Http, site
from helpers.scale import scaled, until


def keeps(conn, b):
    """As a syslog server: takes what comes, to the end."""
    text = b""
    while data := conn.recv(BLOCK):
        text += data
    if text:    # a check says nothing
        with b.lock:
            b.got.append(text)


def retried(t, n, **labels):
    until(lambda: t.metrics().get("teal_retries_total", service="web", color="green", **labels) >= n, "tried again")


def test_nothing_is_lost_while_the_only_one_restarts(web, backend, closing):
    green = backend("green", keeps)
    t = web(green=[green], retry_pause=0.2, retries=10)
    sent = [b"line %d\n" % n for n in range(scaled(400))]
    for n, line in enumerate(sent):
        if n == len(sent) // 2:
            # What its kernel took and it did not accept would go with the listener.
            until(lambda: len(green.got) == n, "the first half")
            green.stop()
        with t.connect() as c:
            c.sock.sendall(line)
    retried(t, len(sent) // 2)      # all of them
    green.start()
    until(lambda: len(green.got) == len(sent), "all lines")
    assert sorted(green.got) == sorted(sent)
    assert not t.sessions(end="connect")


def test_it_ends_when_it_has_lasted_as_long_as_a_timeout_would(web, backend):
    green = backend("green", start=False)
    t = web(green=[green], health={"type": "none"}, retry_pause=0.2, connect_timeout=0.5, retries=2)
    with t.connect() as c:
        assert c.read_end()[0] == b""
    line = t.wait_log("tcp.session", end="connect")
    assert line["retries"] == 5 and line["tried"] == [green.address]    # 0.5 s x 2 / 0.2 s


@pytest.mark.parametrize("keys", [{"retry_pause": 0.0}, {"retries": 0}])
def test_without_a_pause_it_ends_at_once(web, backend, keys):
    green = backend("green", start=False)
    t = web(green=[green], health={"type": "none"}, **keys)
    with t.connect() as c:
        assert c.read_end()[0] == b""
    assert t.wait_log("tcp.session", end="connect")["retries"] == 0


def test_a_flip_ends_the_pause(web, backend):
    green = backend("green", start=False)
    t = web(green=[green], health={"type": "none"}, retry_pause=60.0, connect_timeout=60.0)
    with t.connect() as c:
        until(lambda: t.status()["colors"]["green"]["connections"] == 1, "it waits")
        t.ok("flip", "web", "blue")
        assert c.peer == "blue"


def test_a_request_waits_as_well(web, backend, closing):
    green = backend("green", site, start=False)
    t = web(green=[green], mode="http", retry_pause=0.2, retries=100)
    c = closing.add(Http(t.address()))
    c.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhe").send("llo")
    retried(t, 1)
    green.start()
    assert c.response().status == 200
    assert green.requests[0].body == b"hello"
    assert t.wait_log("http.request", status=200)["retries"] >= 1
