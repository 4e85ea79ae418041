"""tealctl top and status --watch: live on a terminal, plain in a pipe, and the
terminal is as it was whatever happens."""
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from helpers import scale
from helpers.scale import until
from helpers.scripted import Scripted
from helpers.teald import service
from helpers.terminal import Terminal

TEALCTL = str(scale.BUILD / "tealctl")


@pytest.fixture
def terminal(closing):
    """terminal(teal, words…, **how): tealctl on a terminal of its own."""
    def make(socket, *words, **how):
        return closing.add(Terminal(TEALCTL, "-s", getattr(socket, "admin_path", socket), *words, **how))
    return make


def run(*words, **how):
    return subprocess.run([TEALCTL, *words], stdin=how.pop("stdin", subprocess.DEVNULL), capture_output=True, text=True,
                          timeout=3 * scale.patience(), **how)


# ---- numbers: a teald that plays a script, so that they are exact ----

def color(connections, total, moved, healthy=2):
    return {"connections": connections, "connections_total": total, "bytes_in": moved, "bytes_out": 10 * moved,
            "healthy": healthy, "total": 2, "needed": 1, "draining": False, "preview_connections": 0}


def reading(uptime, *services, **more):
    return {"ok": True, "services": list(services), "store": {"type": "file", "up": True, "age": 0}, "version": "9.8.7",
            "host": "lb1", "ready": True, "not_ready": None, "maintenance": False, "pid": 4711, "uptime": uptime,
            "workers": 2} | more


def shop(green, blue, name="shop", **more):
    return {"name": name, "mode": "tcp", "active": "green", "idle": "blue", "epoch": 42, "locked": None, "change": "flip",
            "changed_at": "2026-11-22T14:02:11.123Z", "changed_by": "ci", "reason": "r", "drain": None, "waiting": 0,
            "failed_total": 0, "colors": {"green": green, "blue": blue}} | more


def figures(errors, requests, p50=0.0041, p99=0.18):
    return {"seconds": 60.0, "requests": requests, "classes": {"1xx": 0, "2xx": requests - errors, "3xx": 0, "4xx": 0, "5xx": errors},
            "errors": errors, "error_rate": errors / requests if requests else None,
            "p50": p50 if requests else None, "p99": p99 if requests else None}


class Readings(dict):
    """A script that says the next of these to each `status`, the last one for ever."""

    def __init__(self, *readings):
        self.left = itertools.chain(readings, itertools.repeat(readings[-1]))

    def __or__(self, other):
        return self

    __ror__ = __or__

    def get(self, line, default=None):
        return [next(self.left)] if line.startswith("status") else [{"ok": True}]


@pytest.fixture
def scripted(closing):
    folder = tempfile.mkdtemp(prefix="tealctl-", dir="/tmp")
    count = itertools.count()
    yield lambda *readings: closing.add(Scripted(f"{folder}/{next(count)}.sock", Readings(*readings)))
    shutil.rmtree(folder)


FIRST = reading(10.0, shop(color(5, 100, 1000), color(0, 7, 70)),
                shop(color(1, 1, 1), color(0, 0, 0), name="pay", active="blue"))
SECOND = reading(12.0, shop(color(4, 150, 5000), color(1, 8, 70),
                            quality={"green": figures(25, 1250), "blue": figures(0, 0), "flip": {
                                "at": "2026-11-22T14:02:11.123Z", "epoch": 42, "from": "blue", "to": "green",
                                "before": figures(0, 1000, p99=0.0124), "after": figures(25, 1250)}}),
                 shop(color(1, 1, 1), color(0, 0, 0, healthy=0), name="pay", active="blue", failed_total=5,
                      locked={"by": "anna", "reason": "freeze", "at": "2026-11-22T14:02:11.123Z"},
                      drain={"color": "green", "remaining": 1, "at_start": 3, "deadline_in": 12.3}))


def test_in_a_pipe_it_is_what_moved_between_two_readings(scripted):
    s = scripted(FIRST, SECOND)
    p = run("-s", s.path, "top", "--interval=0.1")
    assert (p.returncode, p.stderr) == (0, "")
    # By teald's own clock two seconds lie between them, not a tenth.
    assert p.stdout == ("top\tshop\ttcp\tgreen\t42\t2\t2\t4\t25.0\t2000\t20000\t2\t2\t1\t0.5\t0\t0\t0.0\t-\t0\tunlocked\t0.0"
                        "\t0.02\t0.0041\t0.18\t-\t-\t-\n"
                        "top\tpay\ttcp\tblue\t42\t2\t2\t1\t0.0\t0\t0\t0\t2\t0\t0.0\t0\t0\t2.5\tgreen\t1\tlocked\t0.0\t-\t-\t-\t-\t-\t-\n")
    assert s.commands == ["status --brief"] * 2


def test_one_that_began_anew_has_not_moved_backwards(scripted):
    s = scripted(SECOND, FIRST | {"pid": 4712})
    out = run("-s", s.path, "top", "--interval=0.1", "shop").stdout
    assert out == "top\tshop\ttcp\tgreen\t42\t2\t2\t5\t0.0\t0\t0\t2\t2\t0\t0.0\t0\t0\t0.0\t-\t0\tunlocked\t0.0" + "\t-" * 6 + "\n"


def test_sorted_and_filtered_on_the_command_line(scripted):
    def names(*words):
        p = run("-s", scripted(FIRST, SECOND).path, "top", "--interval=0.1", *words)
        return re.findall(r"^top\t(\S+)", p.stdout, re.M)
    assert names("--sort=name") == ["pay", "shop"]
    assert names("--sort", "connections") == ["shop", "pay"]
    assert names("--sort", "trouble", "P") == ["pay", "shop"]
    assert names("--", "pa") == ["pay"]
    assert names("--sort=errors", "--", "") == names("--sort=latency") == ["shop", "pay"]


def test_it_is_not_well_without_a_way_back_or_with_a_node_down(scripted, terminal):
    healthy = shop(color(1, 1, 1), color(0, 0, 0, healthy=1) | {"node_down": 1}, trouble=[])
    stuck = shop(color(1, 1, 1), color(0, 0, 0, healthy=0), name="pay", trouble=[
        {"what": "rollback_impossible", "severity": "warning", "message": "blue has 0/2 backends healthy, 2 needed"}])
    t = terminal(scripted(reading(1.0, healthy), reading(2.0, healthy), reading(3.0, healthy, nodes=[{"host": "n3"}]),
                          reading(4.0, healthy, stuck, nodes=[{"host": "n3"}])).path, "top", "--interval=0.1", columns=200)
    t.until("2 services, 1 in need, 1 node down", "no way back: blue has 0/2 backends healthy")
    assert " 1/2 " in next(line for line in t.lines if "shop" in line) and "! 1/2" not in "".join(t.lines)
    t.press("q")
    assert t.end() == 0
    assert b"all well" in t.raw and b"none in need" in t.raw


def test_how_each_color_answers_before_and_after_the_flip(scripted, terminal):
    t = terminal(scripted(FIRST, SECOND).path, "top", "--interval=0.1", columns=170)
    t.until("ERR", "P99", "2.0% fail since the flip, 0% before it")
    assert " 2.0%  180ms " in next(line for line in t.lines if "> shop" in line)
    t.press("\r")
    t.until("● green   last minute       2.0% failed, p50 4.1ms, p99 180ms, of 1250: 1225 2xx, 0 3xx, 0 4xx, 25 5xx",
            "■ blue    before the flip   0% failed, p50 4.1ms, p99 12ms, of 1000: 1000 2xx",
            "● green   since the flip    2.0% failed")
    t.press("q")
    assert t.end() == 0


def test_the_raw_objects(scripted):
    p = run("-s", scripted(FIRST, SECOND).path, "--json", "top", "--interval=0.1")
    assert [json.loads(line) for line in p.stdout.splitlines()] == [FIRST, SECOND]


@pytest.mark.parametrize("words, sentence", [
    (["top", "--sort=size"], "--sort=size: it is order, name"), (["top", "a", "b"], "one filter is enough"),
    (["top", "--interval=0"], "not a number of seconds from 0.1"), (["top", "--force"], "unknown option --force"),
    (["status", "--watch=often"], "--watch=often: not a number of seconds"),
    (["flip", "--watch", "shop", "blue"], "unknown option --watch"),
])
def test_usage(words, sentence):
    p = run("-s", "/nonexistent", *words)
    assert (p.returncode, p.stdout) == (2, "") and sentence in p.stderr


def test_a_refusal_ends_it_as_it_ends_others(scripted):
    s = scripted({"ok": False, "error": "denied", "message": "no right to read shop"})
    p = run("-s", s.path, "top")
    assert (p.returncode, p.stdout, p.stderr) == (3, "", "tealctl: denied: no right to read shop\n")
    assert run("-s", "/nonexistent/socket", "top").returncode == 9


def test_nothing_from_outside_is_an_order_for_the_terminal(scripted, terminal):
    evil = shop(color(1, 1, 1), color(0, 0, 0), name="a\x1b[2J\x1b]0;x\x07b\u202e",
                locked={"by": "\x1b[31m", "reason": "x\ny", "at": "t"})
    t = terminal(scripted(reading(1.0, evil)).path, "top", columns=240)
    t.until("> a\\x1b[2J", "locked by \\x1b[31m: x\\ny")
    t.press("\r")
    t.until("a\\x1b[2J\\x1b]0;x\\x07b\\u202e (tcp): green is active")
    t.press("q")
    assert t.end() == 0
    t.wait(lambda: t.restored, "the terminal is as it was")


# ---- a real one ----

@pytest.mark.nosan
def test_a_flip_as_seen_on_a_terminal(teal, backend, ports, terminal):
    green, blue, dead = backend("green"), backend("blue"), backend("dead", start=False)
    names = ["shop", "pay", "search"]
    teald = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[green],
                                   blue=[dead if n == "pay" else blue], drain={"timeout": 60.0, "idle": 0.0})
                           for n in names])
    old = [teald.connect("shop").echo() for _ in range(2)]
    t = terminal(teald, "top", "--interval=0.1", columns=150)
    t.until("teald ", "3 services, all well", "SERVICE", "> shop", "q end")
    t.wait(lambda: (t.row("shop") or [])[5:7] == ["1/1", "2"], "its two connections")

    teald.ok("flip", "shop", "blue", "--reason=release 43")
    t.until("■ blue", "green drains, 2 left, 60 s")
    old.pop().close()
    t.until("green drains, 1 left")

    t.press("ss")               # by trouble: what drains comes first
    t.until("by trouble")
    t.press("/pa")
    t.until("filter: pa_", "(1 of 3")
    t.wait(lambda: t.row("pay") and not t.row("shop"), "only that one")
    t.press("\r\r")             # enough typed; open it
    t.until("pay (tcp): green is active", "● green (active)", "■ blue (idle)", "connection refused")
    t.press("\x7f\x1b")         # back, and all again
    t.until("search", "by trouble")
    t.wait(lambda: [line.lstrip("> ").split()[:1] for line in t.lines[4:7]] == [["shop"], ["pay"], ["search"]],
           "in that order")
    t.press("\x1b[B\x1b[B")
    t.until("> search")

    t.resize(24, 70)
    t.wait(lambda: "SERVICE" in t.lines[3] and "EPOCH" not in t.lines[3], "without what does not fit")
    t.resize(10, 150)
    t.until("EPOCH")

    teald.kill()
    t.until("trying again", "what is shown is")
    teald.start()
    t.until("by trouble", "■ blue")
    t.press("q")
    assert t.end() == 0
    t.wait(lambda: t.restored, "the terminal is as it was")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV, signal.SIGABRT])
def test_whatever_ends_it_the_terminal_is_as_it_was(scripted, terminal, how):
    if how in (signal.SIGSEGV, signal.SIGABRT) and scale.sanitizer():
        pytest.skip("the sanitizer's own handler")
    t = terminal(scripted(FIRST, SECOND).path, "top")
    t.until("shop", "q end")
    if how == signal.SIGINT:
        t.press("\x03")
    else:
        os.kill(t.process.pid, how)
    assert t.end() == -how
    t.wait(lambda: t.restored, "the terminal is as it was")


def test_stopped_and_continued(scripted, terminal):
    t = terminal(scripted(FIRST, SECOND).path, "top", "--interval=0.1")
    t.until("shop", "q end")
    os.kill(t.process.pid, signal.SIGTSTP)
    until(lambda: os.waitpid(t.process.pid, os.WNOHANG | os.WUNTRACED)[0] == t.process.pid, "it stops")
    t.wait(lambda: t.restored, "the shell has its terminal back")
    os.kill(t.process.pid, signal.SIGCONT)
    t.screen.reset()
    t.until("shop", "q end")
    t.press("q")
    assert t.end() == 0
    t.wait(lambda: t.restored, "the terminal is as it was")


def test_without_colors_on_request_and_without_keys(scripted, terminal):
    t = terminal(scripted(FIRST, SECOND).path, "top", env={"NO_COLOR": "1"}, columns=240)
    t.until("shop", "x 0/2", "locked by anna: freeze")
    assert not re.search(rb"\x1b\[[1-9][0-9;]*m", t.raw)
    t.press("q")
    assert t.end() == 0
    t = terminal(scripted(FIRST, SECOND).path, "top", env={"LC_ALL": "C"})
    t.until("# blue", "o green")
    assert b"\xe2" not in t.raw
    t.press("q")
    assert t.end() == 0


def test_status_watched(web, terminal):
    teald = web()
    t = terminal(teald, "status", "--watch=0.1", "web")
    t.until("web (tcp): green is active, epoch 1")
    teald.ok("flip", "web", "blue", "--reason=release 43")
    t.until("web (tcp): blue is active, epoch 2", "release 43")
    t.press("q")
    assert t.end() == 0
    t.wait(lambda: t.restored, "the terminal is as it was")
    # In a pipe: records, a blank line behind each reading.
    p = subprocess.Popen([TEALCTL, "-s", teald.admin_path, "status", "--watch=0.1"], stdout=subprocess.PIPE, text=True)
    blocks, block = [], []
    while len(blocks) < 3:
        line = p.stdout.readline()
        block.append(line)
        if line == "\n":
            blocks.append(block)
            block = []
    p.terminate()
    p.wait()
    assert all(b[0].startswith("service\tweb\ttcp\tblue\t2\t") and b[-2].startswith("store\tfile\tup") for b in blocks)


# ---- from another machine ----

def test_who_is_asked_by_ssh_passes_on_nothing_but_status(web):
    teald = web()
    with subprocess.Popen([TEALCTL, "-s", teald.admin_path, "--remote", "top"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        for line, backends in (("status --brief", False), ("status web", True)):
            print(line, file=p.stdin, flush=True)
            reply = json.loads(p.stdout.readline())
            assert reply["ok"] and ("backends" in reply["services"][0]["colors"]["green"]) == backends
        print("flip web blue", file=p.stdin, flush=True)
        assert (p.stdout.read(), p.wait(scale.patience())) == ("", 2)
    assert teald.status()["active"] == "green"
