"""Whose turn it is, and how long: client_timeout, server_timeout, and what the
kernel is told about peers that take nothing."""
import threading

import pytest

from helpers.backends import BLOCK, firehose, mute, pattern
from helpers.scale import patience, until

# By teald's clock, which the tests move: longer than any machine is slow.
TIMEOUT = 1000.0
LONG = {"client_timeout": 0, "server_timeout": 0, "idle_timeout": 10 * TIMEOUT}


def listens(conn, backend):
    while data := conn.recv(BLOCK):
        backend.note(conn, data)


def ends(teal, how, client):
    """It is closed once so much time has passed, and not before."""
    teal.clock.move(TIMEOUT * 0.9)
    assert client.alive
    teal.clock.move(TIMEOUT * 0.2)
    client.read_end()
    line = teal.wait_log("tcp.session", end=how)
    teal.wait_metric(1, "teal_connections_total", service="web", color="green", end=how)
    assert line["seconds"] >= TIMEOUT
    return line


def test_a_backend_that_does_not_answer_is_given_up(web, backend, closing):
    teal = web(clock=True, green=[backend("green", listens)], **LONG | {"server_timeout": TIMEOUT})
    quiet = closing.add(teal.connect())  # it is the client's turn
    asking = closing.add(teal.connect())
    asking.sock.sendall(b"well?")
    until(lambda: teal.green.received == 5, "the backend has the question")
    line = ends(teal, "server_timeout", asking)
    assert line["bytes_in"] == 5
    teal.clock.move(TIMEOUT)
    assert quiet.alive


def test_a_client_that_says_no_more_is_closed(web, closing):
    teal = web(clock=True, **LONG | {"client_timeout": TIMEOUT})
    c = closing.add(teal.connect()).echo()
    line = ends(teal, "client_timeout", c)
    assert line["bytes_out"] == len("green\n") + 5


def test_a_slow_answer_is_not_the_clients_fault(web, backend, closing):
    may_answer = threading.Semaphore(0)

    def slowly(conn, b):
        while data := conn.recv(BLOCK):
            b.note(conn, data)
            may_answer.acquire()
            conn.sendall(data)
    teal = web(clock=True, green=[backend("green", slowly)], **LONG | {"client_timeout": TIMEOUT})
    c = closing.add(teal.connect())
    for n in (1, 2):
        c.sock.sendall(b"question")
        until(lambda: teal.green.received == 8 * n, "the backend has the question")
        teal.clock.move(3 * TIMEOUT)
        may_answer.release()
        assert c.receive(8) == b"question"
        teal.clock.move(TIMEOUT * 0.5)
    teal.clock.move(TIMEOUT)
    c.read_end()
    teal.wait_log("tcp.session", end="client_timeout")


def test_a_thinking_client_is_not_the_backends_fault(web, closing):
    teal = web(clock=True, **LONG | {"server_timeout": TIMEOUT})
    c = closing.add(teal.connect()).echo()
    teal.clock.move(3 * TIMEOUT)
    c.echo()


def test_a_client_that_takes_nothing_has_its_turn(web, backend, closing):
    """The backend could go on: a client that does not read is waited for."""
    teal = web(clock=True, green=[backend("green", firehose)], **LONG | {"client_timeout": TIMEOUT, "server_timeout": 60 * TIMEOUT})
    c = closing.add(teal.connect())
    c.sock.sendall(b"more")  # that it speaks changes nothing
    wait_full(teal)
    teal.clock.move(TIMEOUT * 1.1)
    line = teal.wait_log("tcp.session", end="client_timeout")
    assert line["bytes_out"] > 0 and line["bytes_in"] == 4
    c.close()


def wait_full(teal):
    """Until nothing of what the backend sends goes any further."""
    def stands():
        before = teal.green.flowed
        teal.rest()
        return teal.green.flowed == before > 0
    until(stands, "all between them is full")


def test_zero_waits_for_ever(web, closing):
    teal = web(clock=True, idle_timeout=TIMEOUT, client_timeout=0)
    c = closing.add(teal.connect()).echo()
    teal.clock.move(3 * TIMEOUT)
    c.echo()


@pytest.mark.parametrize("key", ["client_timeout", "server_timeout"])
def test_the_other_side_keeps_the_idle_timeout(web, backend, closing, key):
    teal = web(clock=True, **{key: 60 * TIMEOUT}, green=[backend("green", mute if key == "client_timeout" else listens)],
               idle_timeout=TIMEOUT)
    c = closing.add(teal.connect())
    if key == "client_timeout":
        c.sock.sendall(b"well?")  # the backend's turn, for which nothing is said
        teal.rest()
    else:
        teal.wait_metric(1, "teal_connections", service="web", color="green")
    ends(teal, "idle_timeout", c)


# By the kernel's clock, which nobody moves; by itself it would ask for many minutes.

def test_user_timeout_ends_a_client_that_takes_nothing(web, backend, closing):
    """Its window stays shut."""
    teal = web(green=[backend("green", firehose)], tcp={"user_timeout": 1.0})
    c = closing.add(teal.connect())
    teal.wait_log("tcp.session", end="client_reset")
    c.close()


def test_user_timeout_ends_a_backend_that_takes_nothing(web, backend, closing):
    teal = web(green=[backend("green", mute)], tcp={"user_timeout": 1.0})
    c = closing.add(teal.connect())
    c.sock.settimeout(patience())
    with pytest.raises(OSError):
        for _ in range(500):
            c.sock.sendall(pattern(1))
    teal.wait_log("tcp.session", end="backend_reset")
