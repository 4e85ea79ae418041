"""Stopping: not ready first, then whoever has come is served, the rest may
finish, and the exit status is 0."""
import signal
import socket
import threading

import pytest

from helpers.certificates import Authority
from helpers.http1 import Http, Reader, site, trusting
from helpers.scale import patience, until

# Nothing waits that long in real seconds: only a clock that is moved gets there.
HOUR = 3600.0


def stopping(teal):
    until(lambda: teal.http("/readyz")[0] == 503, "not ready", every=0.005)


def test_sigterm_with_nothing_to_do_ends_at_once(web):
    teal = web(top={"stop": {"timeout": HOUR}})
    teal.connect().echo().close()
    assert teal.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_end_it(web, number):
    teal = web()
    teal.signal(number)
    assert teal.wait() == 0


def test_notice_means_not_ready_but_serving(web):
    teal = web(clock=True, top={"stop": {"notice": HOUR, "timeout": HOUR}}, drain={"timeout": HOUR, "idle": 0.0},
               idle_timeout=10 * HOUR)
    teal.signal()
    stopping(teal)
    for _ in range(3):
        teal.connect().echo().close()
        assert (teal.http("/readyz")[0], teal.http("/healthz")[0]) == (503, 200)
        teal.clock.move(HOUR / 4)
    last = teal.connect().echo()
    teal.clock.move(HOUR / 4)
    # All of it has passed: nobody comes in any more, and who is in may finish.
    until(lambda: refuses(teal), "the listeners are closed")
    last.echo(b"still served").close()
    assert teal.wait() == 0


def refuses(teal):
    try:
        teal.connect().close()
        return False
    except OSError:
        return True


@pytest.mark.tsan
def test_running_connections_may_finish(web):
    teal = web(top={"stop": {"timeout": HOUR}}, drain={"timeout": HOUR, "idle": 0.0})
    old = [teal.connect().echo() for _ in range(3)]
    teal.signal()
    until(lambda: refuses(teal), "the listeners are closed")
    for c in old:
        assert c.echo(b"still served").peer == "green"
    assert teal.running
    for c in old:
        c.close()
    assert teal.wait() == 0
    assert len(teal.sessions(end="done")) >= 3


def test_the_busy_are_cut_at_the_timeout(web):
    teal = web(clock=True, top={"stop": {"timeout": HOUR}}, drain={"timeout": 2 * HOUR, "idle": 0.0}, idle_timeout=10 * HOUR)
    c = teal.connect().echo()
    teal.signal()
    until(lambda: refuses(teal), "the listeners are closed")
    for _ in range(3):
        c.echo(b"x")
        teal.clock.move(HOUR / 4)
    c.echo(b"x")
    assert teal.running
    teal.clock.move(HOUR / 4, wait=False)
    assert c.read_end()[0] == b""
    assert teal.wait() == 0
    assert teal.log_lines("teald.drained")[0]["remaining"] == 0  # the workers did it, not the end of the process
    line = [l for l in teal.sessions() if l["bytes_in"] > 0][-1]
    assert line["end"] == "stopped"


def test_a_second_signal_ends_it_at_once(web):
    teal = web(clock=True, top={"stop": {"notice": HOUR, "timeout": HOUR}})
    c = teal.connect().echo()
    teal.signal()
    stopping(teal)
    # Two that come at once, as timeout(1) sends them, are one.
    teal.signal()
    teal.wait_log("teald.signal", 2)
    c.echo()
    teal.clock.move(1)
    teal.signal()
    status = teal.wait()
    assert status in (0, 1, 128 + signal.SIGTERM, -signal.SIGTERM)
    teal.expect_status = status
    assert c.read_end()[0] == b""


def test_what_is_queued_when_it_stops_is_served(web):
    """Clients whose connect() has succeeded are not sent away: they wait in
    the accept queue while teald is held, which then wakes up to SIGTERM."""
    teal = web(top={"workers": 2, "stop": {"timeout": HOUR}}, drain={"timeout": HOUR, "idle": 0.0})
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
    teal = web(top={"stop": {"timeout": HOUR}}, drain={"timeout": HOUR, "idle": 0.0})
    c = teal.connect().echo()
    teal.ok("stop")
    stopping(teal)
    assert c.echo().peer == "green"
    c.close()
    assert teal.wait() == 0
    assert teal.log_lines("audit")[-1]["command"].startswith("stop")


def test_status_is_answered_while_stopping(web):
    teal = web(top={"stop": {"timeout": HOUR}}, drain={"timeout": HOUR, "idle": 0.0})
    c = teal.connect().echo()
    teal.signal()
    stopping(teal)
    assert teal.status()["colors"]["green"]["connections"] == 1
    c.close()
    assert teal.wait() == 0


def test_stopping_in_the_middle_of_a_drain(web):
    teal = web(top={"stop": {"timeout": 0.5}}, drain={"timeout": HOUR, "idle": 0.0})
    old = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    new = teal.connect().echo()
    assert teal.stop() == 0
    assert old.read_end()[0] == b"" and new.read_end()[0] == b""
    assert {l["color"]: l["end"] for l in teal.sessions()} == {"green": "stopped", "blue": "stopped"}


def dialing(port):
    """Somebody waits for an answer to a SYN, besides the plugs of the black hole."""
    rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
    return sum(r[2].endswith(f":{port:04X}") and r[3] == "02" for r in rows) > 1


def test_stopping_in_the_middle_of_a_flip(web, black_hole):
    """Somebody waits for a flip that hangs in its gate."""
    hole = black_hole()
    teal = web(blue=[hole], health={"type": "none", "timeout": 300.0})
    with teal.admin() as a:
        a.send("flip", "web", "blue")
        until(lambda: dialing(hole.port), "its gate asks", every=0.1)
        assert teal.stop() == 0
    teal.start()
    assert (teal.status()["active"], teal.status()["epoch"]) == ("green", 1)


def test_no_connection_is_lost_at_a_stop_under_load(web, farm, load):
    """All that it has accepted are served to the end. Of those that come while it closes its listeners the
    kernel resets one whose handshake ends between the last accept() and the close()."""
    teal = web(green=[farm("green")], blue=[farm("blue")], top={"stop": {"timeout": HOUR}})
    clients = load(teal, 32)
    until(lambda: teal.metrics().get("teal_connections_total", service="web", end="done") > 100, "clients are served")
    teal.signal()
    assert teal.wait() == 0
    sessions = clients.finish()
    failed = [s for s in sessions if s.error]
    assert len(sessions) - len(failed) > 100
    accepted = teal.log_lines("tcp.session")
    assert len(accepted) == len(sessions) - len(failed) and {line["end"] for line in accepted} == {"done"}
    assert {s.error.removesuffix(" while waiting for the greeting") for s in failed} <= {
        "Connection refused", "Connection reset by peer"}, failed


def kept(teal, n):
    """HTTP clients between two requests."""
    clients = [Http(teal.address()) for _ in range(n)]
    for c in clients:
        assert c.ask().get("Connection") is None
    return clients


@pytest.mark.tsan
def test_kept_clients_bring_one_more_request(web, backend):
    """Nothing is in flight anywhere; still none of them is cut: each is told with its
    next answer that nothing follows, and then all is over at once."""
    teal = web(mode="http", green=[backend("green", site)], clock=True, top={"stop": {"timeout": HOUR}},
               drain={"timeout": HOUR, "idle": HOUR / 2}, keepalive_timeout=HOUR)
    clients = kept(teal, 6)
    teal.signal()
    until(lambda: refuses(teal), "the listeners are closed")
    teal.clock.move(HOUR / 4)
    for c in clients:
        a = c.ask(method="POST", body=b"x")
        assert (a.status, a.get("Connection")) == (200, "close")
        assert c.ended
        c.close()
    assert teal.wait() == 0
    assert teal.wait_log("teald.drained")["remaining"] == 0


def test_kept_clients_that_bring_nothing_go_after_drain_idle(web, backend):
    teal = web(mode="http", green=[backend("green", site)], clock=True, top={"stop": {"timeout": HOUR}},
               drain={"timeout": HOUR, "idle": HOUR / 2}, keepalive_timeout=HOUR)
    clients = kept(teal, 2)
    teal.signal()
    until(lambda: refuses(teal), "the listeners are closed")
    teal.clock.move(HOUR / 4)
    assert teal.running
    teal.clock.move(HOUR / 3, wait=False)
    assert all(c.ended for c in clients)
    assert teal.wait() == 0


def test_answers_of_the_notice_say_that_nothing_follows(web, backend):
    teal = web(mode="http", green=[backend("green", site)], clock=True,
               top={"stop": {"notice": HOUR, "timeout": HOUR}}, drain={"timeout": HOUR, "idle": HOUR})
    [old] = kept(teal, 1)
    teal.signal()
    stopping(teal)
    for c in (old, Http(teal.address())):
        a = c.ask()
        assert (a.status, a.get("Connection")) == (200, "close")
        assert c.ended
        c.close()
    teal.clock.move(HOUR, wait=False)
    assert teal.wait() == 0


def test_who_was_told_to_stay_before_the_end_brings_one_more(web, backend):
    """The head of its answer was sent before there was an end to tell of."""
    go = threading.Event()

    def slow(conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            go.wait(patience())
            conn.sendall(b"cd")
    teal = web(mode="http", green=[backend("green", slow)], top={"stop": {"timeout": HOUR}},
               drain={"timeout": HOUR, "idle": HOUR}, health={"type": "none"})
    with Http(teal.address()) as c:
        c.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        assert "keep" not in str(c.sock.recv(4, socket.MSG_PEEK | socket.MSG_WAITALL))
        teal.signal()
        until(lambda: refuses(teal), "the listeners are closed")
        go.set()
        first = c.response()
        assert (first.body, first.get("Connection")) == (b"abcd", None)
        a = c.ask("/next")
        assert (a.body, a.get("Connection")) == (b"abcd", "close")
    assert teal.wait() == 0


def test_who_is_in_the_middle_of_a_handshake_is_served(web, backend, tmp_path):
    authority = Authority(tmp_path)
    teal = web(mode="http", green=[backend("green", site)], tls={"certificates": [authority.issue("web.test", "web.test")]},
               top={"stop": {"timeout": HOUR}}, drain={"timeout": HOUR, "idle": HOUR})
    with teal.connect() as raw:
        teal.signal()
        until(lambda: refuses(teal), "the listeners are closed")
        tls = trusting(authority.pem).wrap_socket(raw.sock, server_hostname="web.test")
        tls.sendall(b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n")
        assert b"Connection: close" in tls.recv(4096)
        tls.close()
    assert teal.wait() == 0
