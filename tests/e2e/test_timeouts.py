"""Whose turn it is, and how long: client_timeout, server_timeout, and what the
kernel is told about peers that take nothing."""
import time

import pytest

from helpers.backends import BLOCK, firehose, mute, pattern
from helpers.scale import slow


def slow_answer(seconds):
    def behave(conn, backend):
        while data := conn.recv(BLOCK):
            time.sleep(seconds)
            conn.sendall(data)
    return behave


def listens(conn, backend):
    while conn.recv(BLOCK):
        pass


def ends(teal, how, client):
    begun = time.monotonic()
    client.read_end()
    assert time.monotonic() - begun < 8 * slow()
    line = teal.wait_log("tcp.session", end=how)
    teal.wait_metric(1, "teal_connections_total", service="web", color="green", end=how)
    return line


def test_a_backend_that_does_not_answer_is_given_up(web, backend, closing):
    teal = web(green=[backend("green", listens)], server_timeout=0.5)
    quiet = closing.add(teal.connect())  # it is the client's turn: idle_timeout is long
    asking = closing.add(teal.connect())
    asking.sock.sendall(b"well?")
    line = ends(teal, "server_timeout", asking)
    assert line["bytes_in"] == 5 and line["seconds"] >= 0.4
    time.sleep(0.5)
    assert quiet.alive


def test_a_client_that_says_no_more_is_closed(web, closing):
    teal = web(client_timeout=0.5)
    c = closing.add(teal.connect()).echo()
    line = ends(teal, "client_timeout", c)
    assert line["bytes_out"] == len("green\n") + 5


def test_a_slow_answer_is_not_the_clients_fault(web, backend, closing):
    teal = web(green=[backend("green", slow_answer(1.5))], client_timeout=0.5)
    c = closing.add(teal.connect())
    for _ in range(2):
        c.sock.sendall(b"question")
        assert c.receive(8) == b"question"
        time.sleep(0.1)
    ends(teal, "client_timeout", c)


def test_a_thinking_client_is_not_the_backends_fault(web, closing):
    teal = web(server_timeout=0.5)
    c = closing.add(teal.connect()).echo()
    time.sleep(1.5)
    c.echo()


def test_a_client_that_takes_nothing_has_its_turn(web, backend, closing):
    """The backend could go on: who does not read is waited for."""
    teal = web(green=[backend("green", firehose)], client_timeout=1.0, server_timeout=60.0)
    c = closing.add(teal.connect())
    time.sleep(0.5)
    c.sock.sendall(b"more")  # that it speaks changes nothing
    line = teal.wait_log("tcp.session", end="client_timeout")
    assert line["bytes_out"] > 0 and line["bytes_in"] == 4
    c.close()


def test_zero_waits_for_ever(web, closing):
    teal = web(idle_timeout=0.5, client_timeout=0)
    c = closing.add(teal.connect()).echo()
    time.sleep(1.5)
    c.echo()


@pytest.mark.parametrize("key", ["client_timeout", "server_timeout"])
def test_the_other_side_keeps_the_idle_timeout(web, backend, closing, key):
    teal = web(**{key: 60.0}, green=[backend("green", mute if key == "client_timeout" else listens)],
               idle_timeout=0.5)
    c = closing.add(teal.connect())
    if key == "client_timeout":
        c.sock.sendall(b"well?")  # the backend's turn, for which nothing is said
    ends(teal, "idle_timeout", c)


def test_user_timeout_ends_a_client_that_takes_nothing(web, backend, closing):
    """Its window stays shut: by itself the kernel would ask for many minutes."""
    teal = web(green=[backend("green", firehose)], tcp={"user_timeout": 1.0})
    c = closing.add(teal.connect())
    line = teal.wait_log("tcp.session", end="client_reset")
    assert line["seconds"] < 10 * slow()
    c.close()


def test_user_timeout_ends_a_backend_that_takes_nothing(web, backend, closing):
    teal = web(green=[backend("green", mute)], tcp={"user_timeout": 1.0})
    c = closing.add(teal.connect())
    c.sock.settimeout(1.0)
    with pytest.raises(OSError):
        for _ in range(500):
            c.sock.sendall(pattern(1))
    line = teal.wait_log("tcp.session", end="backend_reset")
    assert line["seconds"] < 15 * slow()
