"""log.to = "syslog": a real rsyslogd over UDP, TCP and a local socket, and receivers that are away."""
import re
import shutil
import socket
import tempfile
import pathlib

import pytest

from helpers.http1 import Http, site
from helpers.ports import listener
from helpers.reload import rewrite
from helpers.rsyslog import Rsyslog
from helpers.scale import until
from helpers.upgrade import upgrade


@pytest.fixture
def rsyslog(ports, closing):
    """rsyslog(kind): a running one; start=False: its port refuses."""
    folders = []

    def make(kind="tcp", start=True):
        folders.append(pathlib.Path(tempfile.mkdtemp(prefix="rsyslog-", dir="/tmp")))
        r = closing.add(Rsyslog(folders[-1] / "r", kind, ports.hold()))
        return r.start() if start else r
    yield make
    closing.close()
    for f in folders:
        shutil.rmtree(f, ignore_errors=True)


def to(address, **keys):
    return {"level": "info", "to": "syslog", "syslog": {"address": address} | keys}


@pytest.mark.parametrize("kind", ["udp", "tcp", "uxsock"])
def test_lines_reach_rsyslog(web, rsyslog, kind):
    r = rsyslog(kind)
    t = web(top={"log": to(r.address, facility="local3")})
    t.ok("flip", "web", "blue", "--reason=f\u00fcr alle \"ok\"")
    t.connect().echo().close()
    m = r.wait("flip.committed")
    assert m["line"]["reason"] == "f\u00fcr alle \"ok\"" and m["line"]["service"] == "web"
    assert {k: m[k] for k in ("host", "app", "pid", "id", "facility", "severity", "version")} == {
        "host": socket.gethostname(), "app": "teald", "pid": str(t.pid), "id": "flip.committed",
        "facility": "local3", "severity": "info", "version": "1"}
    assert m["time"][:19] == m["line"]["time"][:19]
    assert r.wait("tcp.session")["severity"] == "info"
    # Nothing of it is on standard output but that it goes elsewhere.
    assert t.stop() == 0
    r.wait("teald.stopped")
    assert {line["event"] for line in t.logs} <= {"log.connected"}
    assert all(m["line"] for m in r.messages())


def test_levels_are_severities_and_the_old_form_is_read_as_well(web, rsyslog):
    r = rsyslog("tcp")
    t = web(top={"log": to(r.address, format="rfc3164")})
    t.green.stop()
    m = r.wait("backend.down")
    assert (m["severity"], m["app"], m["pid"], m["version"], m["facility"]) == ("warning", "teald", str(t.pid), "0", "daemon")
    t.conf.write_text(t.conf.read_text() + "no_such_key = 1;\n")
    assert not t.ctl("reload")["ok"]
    assert r.wait("reload.failed")["severity"] == "err"


def test_a_receiver_that_is_away_loses_nothing_that_fits(web, rsyslog):
    r = rsyslog("tcp", start=False)
    t = web(top={"log": to(r.address)})
    t.wait_log("log.failed")
    for i in range(20):
        t.ok("lock", "web", f"--reason=before {i}")
        t.ok("unlock", "web")
    assert t.metrics().get("teal_log_up") == 0
    s = t.ok("status")["log"]
    assert s["to"] == "syslog" and not s["up"] and s["error"] and s["dropped"] == 0
    assert f"log\tsyslog\tdown\t0\t{s['error']}" in t.tealctl("status").stdout.splitlines()
    r.start()
    t.wait_log("log.connected")
    r.wait("service.unlocked", 20)
    t.wait_metric(1, "teal_log_up")
    # It dies and comes back. What its kernel had taken is gone with it; what comes after is not.
    r.kill()
    t.ok("lock", "web", "--reason=one that may be lost")
    t.wait_log("log.failed", 2)
    t.ok("unlock", "web")
    r.start()
    t.wait_log("log.connected", 2)
    r.wait("service.unlocked", 21)
    reasons = [m["line"]["reason"] for m in r.messages("service.locked")]
    assert reasons[:20] == [f"before {i}" for i in range(20)]
    assert t.metrics().get("teal_log_dropped_total") == 0


def test_a_receiver_that_reads_nothing_costs_lines_and_nothing_else(web, load, ports, closing):
    """It accepts, and never reads: rings fill, lines are dropped and counted, traffic and commands go on."""
    port = ports.hold()
    stuck = closing.add(listener("127.0.0.1", port))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    t = web(top={"log": to(f"tcp://127.0.0.1:{port}")}, labels={f"pad{i}": "x" * 60 for i in range(30)})
    l = load(t, 16)
    until(lambda: t.metrics().get("teal_log_dropped_total") > 0, "lines are dropped", every=0.2)
    l.finish()
    t.ok("flip", "web", "blue")
    assert t.connect().peer == "blue"
    assert t.stop() == 0


def test_udp_says_what_is_cut_and_what_is_lost(web, rsyslog):
    r = rsyslog("udp", start=False)
    t = web(top={"log": to(r.address, max_message=600)}, labels={f"pad{i}": "\u00e4" * 30 for i in range(15)})
    # Of datagrams to a closed port the other side tells; the lines are gone, and counted.
    until(lambda: t.connect().echo().close() or t.metrics().get("teal_log_dropped_total") > 0, "lost lines are counted")
    t.wait_log("log.failed")
    r.start()

    def cut():
        t.connect().echo().close()
        return [m for m in r.messages() if m["id"] == "tcp.session"]
    m = until(cut, "a line that is too long")[0]
    assert m["line"] is None
    said = re.fullmatch(r'(\{"time".*)\.\.\.\[(\d+) bytes cut\]', m["msg"])
    assert said and "\ufffd" not in m["msg"] and int(said[2]) > 100
    assert t.metrics().get("teal_log_cut_total") > 0
    t.wait_log("log.connected")


@pytest.mark.parametrize("kind", ["tcp", "uxsock"])
def test_a_line_that_is_too_long_for_the_receiver_is_cut_here_and_not_split_there(web, backend, rsyslog, kind):
    r = rsyslog(kind)
    t = web(green=[backend("green", site)], mode="http", top={"log": to(r.address)}, labels={f"pad{i}": "x" * 250 for i in range(15)})
    # Around the 8,096 bytes that rsyslog takes, as it comes.
    for n in range(500, 1700, 50):
        with Http(t.address()) as c:
            c.ask("/" + "x" * 2000, host="web", headers=[("User-Agent", "\\" * n)])
    until(lambda: sum(m["id"] == "http.request" for m in r.messages()) == 24, "all lines are there")
    assert {m["app"] for m in r.messages()} == {"teald"}
    cut = [m["msg"] for m in r.messages() if m["line"] is None]
    assert 0 < len(cut) < 24 and all(re.search(r"\.\.\.\[\d+ bytes cut\]$", m) for m in cut), cut[:2]


def test_a_reload_moves_the_log_and_an_upgrade_goes_on(web, rsyslog):
    first, second = rsyslog("tcp"), rsyslog("uxsock")
    t = web(start=False, top={"log": {"level": "info"}})
    t.start(supervised=True)
    t.wait_log("teald.serving")
    rewrite(t, log=to(first.address))
    t.ok("reload")
    first.wait("reload.applied")
    before, after = upgrade(t)
    assert first.wait("teald.serving")["pid"] == str(after)
    rewrite(t, log=to(second.address, facility="auth"))
    keys = t.ctl("reload", "--dry-run").event("planned")["settings"]["keys"]
    assert {"log.syslog.address", "log.syslog.facility"} <= set(keys)
    t.ok("reload")
    assert second.wait("reload.applied")["facility"] == "auth"
    rewrite(t, log={"level": "info"})
    t.ok("reload")
    t.wait_log("reload.applied")
    t.ok("lock", "web", "--reason=x")
    t.wait_log("service.locked")
    second.note("fence")
    second.wait("fence")
    assert not second.messages("service.locked")


@pytest.mark.nosan
@pytest.mark.parametrize("log, says", [
    ({"to": "journal"}, 'log.to: expected "stdout" or "syslog"'),
    ({"to": "syslog", "syslog": {"address": "10.0.0.1:514"}}, 'log.syslog.address: expected "udp://'),
    ({"to": "syslog", "syslog": {"address": "udp://h:99999"}}, "log.syslog.address: the port"),
    ({"to": "syslog", "syslog": {"address": "unix:log"}}, "absolute path"),
    ({"to": "syslog", "syslog": {"facility": "local8"}}, 'log.syslog.facility: expected "kern"'),
    ({"to": "syslog", "syslog": {"max_message": 100}}, "480"),
    ({"to": "syslog", "syslog": {"format": "rfc5425"}}, 'did you mean "rfc5424"?'),
])
def test_what_is_wrong_is_said(web, log, says):
    t = web(start=False, top={"log": log})
    status, text = t.start_refused()
    assert status == 2 and says in text, text


@pytest.mark.nosan
def test_what_has_no_meaning_is_warned_of(web):
    t = web(top={"log": {"syslog": {"address": "udp://127.0.0.1"}}})
    assert "log.syslog changes nothing" in t.stderr()
