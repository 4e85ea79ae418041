"""One JSON line for each session, and a stdout that never holds traffic up."""
import fcntl
import json
import os
import threading
import time

import pytest

from helpers.http1 import Http, site
from helpers.scale import patience, until
from helpers.teald import Teal


def test_an_access_line_has_all_fields(web):
    teal = web(labels={"project": "shop", "namespace": "foo"})
    with teal.connect() as c:
        c.echo(b"x" * 1234)
        client = "127.0.0.1:%d" % c.sock.getsockname()[1]
        time.sleep(0.2)  # that long it has been open at least
    line = teal.wait_log("tcp.session")
    assert line["client"] == client
    assert line["service"] == "web"
    assert line["backend"] == teal.green.address
    assert line["color"] == "green"
    assert line["epoch"] == 1
    assert (line["bytes_in"], line["bytes_out"]) == (1234, 1234 + 6)
    assert line["seconds"] >= 0.2
    assert line["end"] == "done" and line["level"] == "info"
    assert (line["project"], line["namespace"]) == ("shop", "foo")


def test_labels_are_in_every_line_of_the_service(web):
    teal = web(labels={"project": "shop"})
    teal.ok("flip", "web", "blue")
    teal.wait_log("flip.applied")
    about = [l for l in teal.logs if l.get("service") == "web"]
    assert about and all(l["project"] == "shop" for l in about)


def test_a_flip_tells_its_story(web):
    teal = web()
    teal.ok("flip", "web", "blue", "--reason=why not", "--wait=drained")
    line = teal.wait_log("flip.applied")
    assert (line["service"], line["epoch"], line["level"]) == ("web", 2, "info")
    assert any("why not" in str(l.values()) for l in teal.logs)


@pytest.mark.parametrize("access,done,errors", [(True, 1, 1), (False, 0, 0), ("errors", 0, 1)])
def test_access_says_which_sessions_are_logged(web, backend, access, done, errors):
    teal = web(health={"type": "none"}, top={"log": {"access": access}})
    with teal.connect() as c:
        c.echo()
    teal.wait_metric(1, "teal_connections_total", service="web", end="done")
    teal.green.stop()
    with teal.connect() as c:
        assert c.read_end()[0] == b""
    teal.wait_metric(1, "teal_connections_total", service="web", end="connect")
    assert teal.stop() == 0
    assert len(teal.sessions(end="done")) == done
    assert len(teal.sessions(end="connect")) == errors


def test_the_level_is_obeyed(web):
    teal = web(top={"log": {"level": "error"}})
    teal.connect().echo().close()
    teal.ok("flip", "web", "blue")
    assert teal.stop() == 0
    # Who changed what is told at any level.
    assert {l["event"] for l in teal.logs if l["level"] != "error"} <= {"audit"}


def test_access_lines_are_below_the_level(web, backend, closing):
    """What a level leaves out is not made, in any mode."""
    teal = web(green=[backend("green", site)], mode="http", top={"log": {"level": "warn"}})
    c = closing.add(Http(teal.address()))
    for _ in range(3):
        assert c.ask().status == 200
    teal.wait_metric(3, "teal_requests_total", service="web")
    assert not teal.log_lines("http.request")


def test_what_a_client_can_influence_stays_one_json_line(web):
    """The pump of the fixture parses every line; here: with odd reasons."""
    teal = web()
    reasons = ['quote " backslash \\', "not a tab: \\t", "</script>", "é\U0001f6a6" * 80, '{"ok":true}']
    for reason in reasons:
        teal.ok("flip", "web", "blue", f"--reason={reason}")
        teal.ok("rollback", "web", f"--reason={reason}")
    teal.wait_log("audit", 10)
    assert [l["reason"] for l in teal.log_lines("audit")] == [r for r in reasons for _ in range(2)]


def test_a_blocked_stdout_never_holds_traffic_up(web, farm, load):
    """A pipe that nobody reads: sessions, flips and scrapes go on; what does
    not fit is dropped and counted; read again, lines come again."""
    r, w = os.pipe()
    fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
    teal = web(green=[farm("green")], blue=[farm("blue")], start=False)
    teal.start(stdout=w)
    os.close(w)
    clients = load(teal, 32)

    def dropped():
        return teal.metrics().get("teal_log_dropped_total")

    def flips_go_on():
        assert teal.ok("flip", "web", teal.status()["idle"], "--reason=" + "x" * 400)["changed"]
        return dropped() > 0
    until(flips_go_on, "lines are dropped")
    # And then, too: were a thread to wait for the reader, it would wait for ever.
    more = teal.metrics().get("teal_connections_total") + 200
    until(lambda: flips_go_on() and teal.metrics().get("teal_connections_total") > more, "clients are served")
    sessions = clients.finish()
    assert not [s for s in sessions if s.error][:3]
    # Somebody reads again: whole lines, then fresh ones, and the drops are told.
    lines, told = [], threading.Event()

    def read():
        with os.fdopen(r, "rb") as f:
            for raw in f:
                lines.append(json.loads(raw))
                if "drop" in lines[-1]["event"]:
                    told.set()
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert told.wait(patience()), "the log never said that lines are missing"
    count = dropped()
    teal.ok("flip", "web", teal.status()["idle"], "--reason=after")
    until(lambda: any("after" in str(l.values()) for l in list(lines)), "logging again")
    assert dropped() == count
    assert teal.stop() == 0
    reader.join(patience())


def test_a_closed_stdout_kills_nothing(web):
    r, w = os.pipe()
    teal = web(start=False)
    teal.start(stdout=w)
    os.close(w)
    os.close(r)
    for _ in range(20):
        teal.connect().echo().close()
    assert teal.ok("flip", "web", "blue")["changed"]
    assert teal.connect().echo().peer == "blue"


def test_a_blocked_stdout_does_not_keep_it_from_ending(web):
    r, w = os.pipe()
    fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 4096)
    teal = web(start=False)
    teal.start(stdout=w)
    os.close(w)
    for _ in range(50):
        teal.connect().echo().close()
    teal.signal()
    assert teal.wait() == 0
    os.close(r)
