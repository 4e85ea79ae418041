"""Stopping: not ready first, then whoever has come is served, the rest may
finish, and the exit status is 0."""
import signal
import socket
import threading
import time

import pytest

from helpers.clients import Client
from helpers.scale import patience, slow, until


def test_sigterm_with_nothing_to_do_ends_at_once(web):
    teal = web(top={"stop": {"timeout": 60.0}})
    teal.connect().echo().close()
    begun = time.monotonic()
    assert teal.stop() == 0
    assert time.monotonic() - begun < 3 * slow()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_end_it(web, number):
    teal = web()
    teal.signal(number)
    assert teal.wait() == 0


def test_notice_means_not_ready_but_serving(web):
    teal = web(top={"stop": {"notice": 1.5, "timeout": 20.0}})
    begun = time.monotonic()
    teal.signal()
    until(lambda: teal.http("/readyz")[0] == 503, "not ready", every=0.005)
    assert time.monotonic() - begun < 1.0 * slow()
    assert teal.http("/healthz")[0] == 200
    served = 0
    while True:
        try:
            c = teal.connect()
        except ConnectionRefusedError:
            break
        if time.monotonic() - begun < 1.3:
            assert c.echo().peer == "green"
            served += 1
        c.close()
        time.sleep(0.02)
    assert served > 3
    assert time.monotonic() - begun > 1.4
    assert teal.wait() == 0


@pytest.mark.tsan
def test_running_connections_may_finish(web):
    teal = web(top={"stop": {"timeout": 30.0}}, drain={"timeout": 30.0, "idle": 0.0})
    old = [teal.connect().echo() for _ in range(3)]
    teal.signal()

    def refuses():
        try:
            teal.connect(timeout=2.0).close()
            return False
        except OSError:
            return True
    until(refuses, "the listeners are closed")
    for c in old:
        assert c.echo(b"still served").peer == "green"
    assert teal.running
    for c in old:
        c.close()
    assert teal.wait() == 0
    assert len(teal.sessions(end="done")) >= 3


def test_the_busy_are_cut_at_the_timeout(web):
    teal = web(top={"stop": {"timeout": 0.8}}, drain={"timeout": 30.0, "idle": 0.0})
    c = teal.connect().echo()
    begun = time.monotonic()
    teal.signal()
    cut = None
    try:
        while True:
            c.echo(b"x")
            time.sleep(0.02)
    except (OSError, AssertionError):
        cut = time.monotonic()
    assert 0.6 < cut - begun < 10 * slow()
    assert teal.wait() == 0
    line = [l for l in teal.sessions() if l["bytes_in"] > 0][-1]
    assert line["end"] == "stopped"


def test_a_second_signal_ends_it_at_once(web):
    teal = web(top={"stop": {"notice": 30.0, "timeout": 30.0}})
    c = teal.connect().echo()
    teal.signal()
    until(lambda: teal.http("/readyz")[0] == 503, "stopping")
    begun = time.monotonic()
    teal.signal()
    status = teal.wait()
    assert time.monotonic() - begun < 2 * slow()
    assert status in (0, 1, 128 + signal.SIGTERM, -signal.SIGTERM)
    teal.expect_status = status
    assert c.read_end()[0] == b""


def test_what_is_queued_when_it_stops_is_served(web):
    """Clients whose connect() has succeeded are not sent away: they wait in
    the accept queue while teald is held, which then wakes up to SIGTERM."""
    teal = web(top={"workers": 2, "stop": {"timeout": 30.0}}, drain={"timeout": 30.0, "idle": 0.0})
    teal.connect().echo().close()
    teal.signal(signal.SIGSTOP)
    clients = [teal.connect() for _ in range(100)]
    teal.signal(signal.SIGTERM)
    teal.signal(signal.SIGCONT)
    for c in clients:
        assert c.echo().peer == "green"
        c.close()
    assert teal.wait() == 0
    assert len(teal.sessions(end="done")) == 101


def test_the_stop_command_does_the_same(web):
    teal = web(top={"stop": {"timeout": 20.0}}, drain={"timeout": 30.0, "idle": 0.0})
    c = teal.connect().echo()
    teal.ok("stop")
    until(lambda: teal.http("/readyz")[0] == 503, "stopping")
    assert c.echo().peer == "green"
    c.close()
    assert teal.wait() == 0
    assert teal.log_lines("audit")[-1]["command"].startswith("stop")


def test_status_is_answered_while_stopping(web):
    teal = web(top={"stop": {"timeout": 20.0}}, drain={"timeout": 30.0, "idle": 0.0})
    c = teal.connect().echo()
    teal.signal()
    until(lambda: teal.http("/readyz")[0] == 503, "stopping")
    assert teal.status()["colors"]["green"]["connections"] == 1
    c.close()
    assert teal.wait() == 0


def test_stopping_in_the_middle_of_a_drain(web):
    teal = web(top={"stop": {"timeout": 0.5}}, drain={"timeout": 60.0, "idle": 0.0})
    old = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    new = teal.connect().echo()
    assert teal.stop() == 0
    assert old.read_end()[0] == b"" and new.read_end()[0] == b""
    assert {l["color"]: l["end"] for l in teal.sessions()} == {"green": "stopped", "blue": "stopped"}


def test_stopping_in_the_middle_of_a_flip(web, black_hole):
    """Somebody waits for a flip that hangs in its gate."""
    teal = web(blue=[black_hole()], health={"type": "none", "timeout": 5.0})
    with teal.admin() as a:
        a.send("flip", "web", "blue")
        time.sleep(0.1)
        assert teal.stop() == 0
    teal.start()
    assert (teal.status()["active"], teal.status()["epoch"]) == ("green", 1)


def test_no_connection_is_lost_at_a_stop_under_load(web, farm, load):
    """Until the first refused connect, all are served to the end."""
    teal = web(green=[farm("green")], blue=[farm("blue")], top={"stop": {"timeout": 30.0}})
    clients = load(teal, 32)
    time.sleep(0.5)
    teal.signal()
    assert teal.wait() == 0
    sessions = clients.finish()
    failed = {s.error for s in sessions if s.error}
    assert len([s for s in sessions if not s.error]) > 50
    assert failed <= {"Connection refused", "Connection refused while waiting for the greeting"}, failed
