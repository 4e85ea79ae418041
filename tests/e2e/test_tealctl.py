"""tealctl as such, against a teald that only plays a script."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time

import pytest

from helpers import scale
from helpers.moved_clock import MovedClock
from helpers.scripted import CLOSE, VERSION, Scripted

TEALCTL = str(scale.BUILD / "tealctl")
TIME = "2026-11-22T14:02:11.123Z"

CHECKED = {"event": "checked", "service": "shop", "to": "blue", "healthy": 2, "total": 3, "needed": 2,
           "backends": [{"address": "10.0.0.1:11080", "ok": True, "state": "up", "error": None},
                        {"address": "10.0.0.2:11080", "ok": False, "state": "down", "error": "connection refused"}]}
COMMITTED = {"event": "committed", "epoch": 43}
APPLIED = {"event": "applied", "epoch": 43, "ms": 1.9}
FLIPPED = {"ok": True, "service": "shop", "active": "blue", "epoch": 43, "changed": True}
STATUS = {
    "ok": True,
    "services": [{
        "name": "shop", "mode": "http", "active": "green", "idle": "blue", "epoch": 42,
        "locked": {"by": "anna", "reason": "freeze", "at": TIME},
        "changed_at": TIME, "changed_by": "ci-shop", "reason": "deploy 8812",
        "drain": {"color": "blue", "remaining": 3, "deadline_in": 12.3},
        "rollback": {"to": "blue", "possible": False, "why": "blue has 0/1 backends healthy, 1 needed"},
        "trouble": [{"what": "rollback_impossible", "severity": "warning",
                     "message": "blue has 0/1 backends healthy, 1 needed"}],
        "listen": ["0.0.0.0:443", "[::]:443"], "plain_listen": ["0.0.0.0:80"], "preview": ["127.0.0.1:8443"],
        "tls": True, "hosts": ["shop.example", "*.shop.example"], "default": False,
        "colors": {
            "green": {"connections": 118, "draining": False, "healthy": 1, "total": 1,
                      "backends": [{"address": "10.0.0.1:10080", "state": "up", "connections": 118, "since": TIME,
                                    "admin": "ready", "weight": 2}]},
            "blue": {"connections": 3, "draining": True, "healthy": 0, "total": 1,
                     "backends": [{"address": "10.0.0.1:11080", "state": "down", "connections": 3, "since": TIME,
                                   "admin": "drain", "weight": 0,
                                   "error": "connection refused"}]}}}],
    "store": {"type": "file", "up": True, "age": 0.4},
    "version": "9.8.7", "pid": 4711, "ready": False, "not_ready": "maintenance is on", "maintenance": True}


def refusal(error, changed=False, **more):
    return {"ok": False, "error": error, "message": f"because of {error}", "active": "green", "epoch": 42,
            "changed": changed} | more


def run(*args, env=None, timeout=None, stdout=subprocess.PIPE):
    clean = {k: v for k, v in os.environ.items() if k not in ("TEAL_SOCKET", "NO_COLOR")}
    return subprocess.run([TEALCTL, *args], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                          env=clean | (env or {}), timeout=timeout or 3 * scale.patience(), text=True)


class Terminal:
    """tealctl with a terminal of its own for its output."""

    def __init__(self, *args, term="xterm", env=None):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        clean = {k: v for k, v in os.environ.items() if k not in ("TEAL_SOCKET", "NO_COLOR")}
        self.process = subprocess.Popen([TEALCTL, *args], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                                        env=clean | {"TERM": term} | (env or {}), start_new_session=True)
        os.close(slave)
        self.master, self.raw = master, b""

    def read_until(self, pattern):
        """Reads until the regular expression is on the screen."""
        end = time.monotonic() + scale.patience()
        while not re.search(pattern, self.raw):
            assert time.monotonic() < end, f"no {pattern!r} in {self.raw!r}"
            if not self._more():
                raise AssertionError(f"ended without {pattern!r}: {self.raw!r}")
        return self

    def _more(self):
        if not select.select([self.master], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        self.raw += data
        return bool(data)

    def finish(self):
        """Reads to the end; returns (exit status, text)."""
        while self._more():
            pass
        os.close(self.master)
        return self.process.wait(scale.patience()), self.raw.decode().replace("\r\n", "\n")


@pytest.fixture
def folder():
    # Unix socket addresses are short, pytest's folders are not.
    path = tempfile.mkdtemp(prefix="tealctl-", dir="/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def scripted(folder, closing):
    def make(script, **how):
        return closing.add(Scripted(folder + "/admin.sock", script, **how))
    return make


# ---- what a script reads ----

def test_active_and_idle_are_just_the_word(scripted):
    s = scripted({"active shop": [{"ok": True, "service": "shop", "color": "green"}],
                  "idle shop": [{"ok": True, "service": "shop", "color": "blue"}]})
    assert run("-s", s.path, "active", "shop").stdout == "green\n"
    assert run("-s", s.path, "idle", "shop").stdout == "blue\n"
    # The lines went out as they are, without a greeting: nothing is changed.
    assert s.lines == ["active shop", "idle shop"]


def test_a_flip_in_a_pipe_is_a_record_a_step(scripted):
    s = scripted({"flip shop blue": [CHECKED, COMMITTED, APPLIED, {"event": "draining", "remaining": 118},
                                     {"event": "drained", "epoch": 43, "seconds": 1.2, "cut": 0}, FLIPPED]})
    p = run("-s", s.path, "flip", "shop", "blue")
    assert (p.returncode, p.stderr) == (0, "")
    assert p.stdout == ("checked\tshop\tblue\t2\t3\t2\ncommitted\t43\napplied\t43\t1.9\ndraining\t118\n"
                        "drained\t43\t1.2\t0\nflipped\tshop\tblue\t43\n")


@pytest.mark.parametrize("seconds, shown", [(2.13919993e-05, "0.000021"), (0.25, "0.25"), (30.0, "30"), (0.0, "0"),
                                            (-1e-9, "0"), (123456.789, "123456.789")])
def test_a_pipe_gets_numbers_without_exponents(scripted, seconds, shown):
    s = scripted({"flip shop blue": [{"event": "drained", "epoch": 43, "seconds": seconds, "cut": 0}, FLIPPED]})
    assert run("-s", s.path, "flip", "shop", "blue").stdout.startswith(f"drained\t43\t{shown}\t0\n")


def test_a_flip_that_changes_nothing_says_so(scripted):
    s = scripted({"flip shop green": [FLIPPED | {"active": "green", "epoch": 42, "changed": False}]})
    p = run("-s", s.path, "flip", "shop", "green")
    assert (p.returncode, p.stdout) == (0, "unchanged\tshop\tgreen\t42\n")


def test_status_records(scripted):
    s = scripted({"status --summary": [STATUS], "status shop": [STATUS]})
    service = f"service\tshop\thttp\tgreen\t42\t1\t1\t118\t0\t1\t3\tblue\tlocked\t{TIME}\tci-shop\tdeploy 8812\tno\trollback_impossible\tunclaimed\n"
    rest = "teald\t9.8.7\t4711\tnot-ready\tmaintenance is on\nstore\tfile\tup\t0.4\t-\t-\n"
    assert run("-s", s.path, "status").stdout == service + rest
    assert run("-s", s.path, "status", "shop").stdout == (
        service + f"backend\tshop\tgreen\t10.0.0.1:10080\tup\t118\t{TIME}\tready\t2\n"
        f"backend\tshop\tblue\t10.0.0.1:11080\tdown\t3\t{TIME}\tdrain\t0\n" + rest)


def test_the_other_records(scripted):
    entry = {"at": TIME, "epoch": 43, "from": "green", "to": "blue", "kind": "flip", "by": "ci-shop", "uid": 1000,
             "pid": 4711, "host": "lb1", "reason": "deploy 8812", "result": "ok", "expect": None}
    lock = {"by": "anna", "reason": "freeze", "at": TIME}
    connection = {"client": "1.2.3.4:555", "backend": "10.0.0.1:10080", "age": 12.1, "idle": 0.5, "bytes_in": 1,
                  "bytes_out": 2}
    drain = {"ok": True, "service": "shop", "draining": True, "color": "green", "remaining": 3, "deadline_in": 12.3,
             "connections": [connection], "truncated": True}
    none = drain | {"draining": False, "color": None, "remaining": 0, "deadline_in": None, "connections": [],
                    "truncated": False}
    s = scripted({
        "history shop --last=1": [{"ok": True, "service": "shop", "history": [entry]}],
        "drain shop": [drain], "drain web": [none | {"service": "web"}],
        "check shop blue": [CHECKED, {"ok": True, "service": "shop", "to": "blue", "healthy": 2, "total": 3, "needed": 2}],
        "lock shop --reason=freeze": [{"ok": True, "service": "shop", "locked": lock, "changed": True}],
        "unlock *": [{"ok": True, "services": ["shop", "web"], "changed": True}],
        "log warn": [{"ok": True, "level": "warn", "was": "info", "changed": True}],
        "maintenance on": [{"ok": True, "maintenance": True, "changed": True}],
        "stop": [{"ok": True, "stopping": True}],
        "whoami": [{"ok": True, "uid": 1001, "user": "ci-shop", "pid": 1, "gid": 7, "groups": [7, 8], "because": None,
                    "roles": [], "rights": ["read", "flip"], "everywhere": ["read"],
                    "services": {"shop": ["read", "flip"], "web": ["read"]}}],
    })

    def out(*words):
        p = run("-s", s.path, *words)
        assert (p.returncode, p.stderr) == (0, "")
        return p.stdout

    assert out("history", "shop", "--last", "1") == (
        f"{TIME}\t43\tflip\tgreen\tblue\tci-shop\t1000\t4711\tlb1\tok\t-\tdeploy 8812\n")
    assert out("drain", "shop") == (
        "draining\tshop\tgreen\t3\t12.3\nconnection\t1.2.3.4:555\t10.0.0.1:10080\t12.1\t0.5\t1\t2\ntruncated\n")
    assert out("drain", "web") == "idle\tweb\t-\t0\t-\n"
    assert out("check", "shop", "blue") == (
        "backend\t10.0.0.1:11080\tok\tup\t-\nbackend\t10.0.0.2:11080\tfailed\tdown\tconnection refused\n"
        "checked\tshop\tblue\t2\t3\t2\n")
    assert out("lock", "shop", "--reason=freeze") == "locked\tshop\n"
    assert out("unlock", "*") == "unlocked\tshop\nunlocked\tweb\n"
    assert out("log", "warn") == "log\twarn\n"
    assert out("maintenance", "on") == "maintenance\ton\n"
    assert out("stop") == "stopping\n"
    assert out("whoami") == ("ci-shop\t1001\t1\tread,flip\neverywhere\tread\n"
                             "service\tshop\tread,flip\nservice\tweb\tread\n")
    assert re.fullmatch(r"tealctl\t\S+\nteald\t9\.8\.7\t4711\t12\.3\n", out("version"))


def test_json_is_what_teald_said(scripted):
    line = b'{"event": "applied", "epoch":43,"ms":1.90, "later":[1,{"a":null}]}\n'
    s = scripted({"flip shop blue": [line, FLIPPED], "flip shop green": [refusal("locked")]})
    p = run("-s", s.path, "--json", "flip", "shop", "blue")
    assert p.returncode == 0
    assert p.stdout == line.decode() + json.dumps(FLIPPED) + "\n"
    p = run("flip", "shop", "green", "--json", "--socket=" + s.path)
    assert (p.returncode, p.stderr) == (13, "")
    assert json.loads(p.stdout) == refusal("locked")


# ---- what a person sees ----

def test_a_terminal_gets_tables_in_color(scripted):
    s = scripted({"status --summary": [STATUS], "status shop": [STATUS]})
    status, text = Terminal("-s", s.path, "status").finish()
    assert status == 0
    assert "\033[1;32mgreen\033[0m" in text and "\033[31m0/1 up, 3 conn\033[0m" in text
    bare = re.sub(r"\033\[[\d;]*m", "", text).splitlines()
    # The columns stand below their heads, escapes or not.
    for head, cell in (("ACTIVE", "green"), ("EPOCH", "42"), ("BLUE", "0/1 up"), ("BY", "ci-shop"),
                       ("NOTE", "locked by anna: freeze; blue drains, 12 s at most; no way back: blue has 0/1")):
        assert bare[0].index(head) == bare[1].index(cell)
    assert "not ready: maintenance is on" in bare[2]
    status, text = Terminal("-s", s.path, "status", "shop").finish()
    assert ("a flip to blue would be refused: blue has 0/1 backends healthy, 1 needed"
            in re.sub(r"\033\[[\d;]*m", "", " ".join(text.split())))
    assert "10.0.0.1:11080" in text and "connection refused" in text and "deploy 8812" in text
    assert ("listens on 0.0.0.0:443,[::]:443 (TLS), without TLS on 0.0.0.0:80, for shop.example,*.shop.example; "
            "preview on 127.0.0.1:8443") in " ".join(text.split())


@pytest.mark.parametrize("args, how", [(["--no-color"], {}), ([], {"env": {"NO_COLOR": "1"}}),
                                       ([], {"term": "dumb"}), ([], {"term": ""})])
def test_colors_can_be_had_without(scripted, args, how):
    s = scripted({"status --summary": [STATUS]})
    status, text = Terminal("-s", s.path, *args, "status", **how).finish()
    assert status == 0 and "SERVICE" in text and "\033" not in text


def test_an_empty_NO_COLOR_means_nothing(scripted):
    s = scripted({"status --summary": [STATUS]})
    assert "\033[1;32m" in Terminal("-s", s.path, "status", env={"NO_COLOR": ""}).finish()[1]


def test_steps_show_as_they_happen_and_the_drain_counts_on_one_line(scripted):
    stored, drained = threading.Event(), threading.Event()
    s = scripted({"flip shop blue --wait=drained": [
        CHECKED, stored, COMMITTED, APPLIED, {"event": "draining", "remaining": 118},
        {"event": "draining", "remaining": 7, "deadline_in": 30}, drained,
        {"event": "drained", "epoch": 43, "seconds": 1.2, "cut": 2}, FLIPPED]})
    t = Terminal("-s", s.path, "flip", "shop", "blue", "--wait", "drained")
    t.read_until(rb"2/3 backends healthy, 2 needed")
    t.read_until(rb"10\.0\.0\.2:11080 is down: connection refused")
    assert b"committed" not in t.raw
    stored.set()
    t.read_until(rb"epoch 43 is stored").read_until(rb"after 1\.9 ms")
    t.read_until(rb"118 connections left +\+[^\n]*\r\033\[K[^\n]*7 connections left, 30 s at most")
    t.read_until(rb"7 connections left, 29 s")  # it counts by itself
    drained.set()
    status, text = t.finish()
    assert status == 0
    assert re.search(r"\r\033\[K  drained +in 1\.2 s, 2 connections cut", text)
    assert text.endswith("shop: \033[1;34mblue\033[0m is active, epoch 43\n")


def test_a_dumb_terminal_gets_a_line_a_step(scripted):
    s = scripted({"flip shop blue": [{"event": "draining", "remaining": 2}, {"event": "draining", "remaining": 1},
                                     FLIPPED]})
    status, text = Terminal("-s", s.path, "flip", "shop", "blue", term="dumb").finish()
    assert status == 0 and "\033" not in text and "\r" not in text
    assert [l.split()[:2] for l in text.splitlines()[1:3]] == [["draining", "2"], ["draining", "1"]]
    assert "2 connections left" in text and "1 connection left" in text


HOSTILE = "a\033]0;owned\007b\u009b31mc\u202ed\x00e\nf\tg\x7f"
SHOWN = "a\\x1b]0;owned\\x07b\\u009b31mc\\u202ed\\x00e\\nf\\tg\\x7f"


def hostile():
    """STATUS with what nobody's terminal should get."""
    s = json.loads(json.dumps(STATUS))
    s["services"][0] |= {"name": HOSTILE, "changed_by": HOSTILE, "changed_at": HOSTILE, "reason": HOSTILE}
    s["store"]["type"] = HOSTILE
    return s


def raw(value):
    """As JSON with every character it allows unescaped."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize("words, reply", [
    (["status"], hostile()), (["status", "x"], hostile()),
    (["active", "x"], {"ok": True, "color": HOSTILE}),
    (["flip", "x", "blue"], {"ok": True, "service": HOSTILE, "active": HOSTILE, "epoch": HOSTILE, "changed": True}),
    (["flip", "x", "blue"], {"ok": False, "error": HOSTILE, "message": HOSTILE, "active": HOSTILE, "changed": True}),
    (["whoami"], {"ok": True, "user": HOSTILE, "uid": [HOSTILE], "rights": [HOSTILE]}),
    (["drain", "x"], {"ok": True, "service": HOSTILE, "draining": True, "connections": [{"client": HOSTILE}]}),
    (["history", "x"], {"ok": True, "history": [{"at": HOSTILE, "reason": HOSTILE, "result": HOSTILE}]}),
])
def test_hostile_strings_are_shown_never_obeyed(scripted, words, reply):
    line = " ".join(words)
    s = scripted({line: [raw(reply)], line + " --summary": [raw(reply)]})
    status, text = Terminal("-s", s.path, "--no-color", *words).finish()
    assert SHOWN in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), text
    p = run("-s", s.path, "--json", *words)
    assert json.loads(p.stdout) == reply
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", p.stdout)


def test_hostile_events_are_shown_never_obeyed(scripted):
    s = scripted({"events": [raw({"event": HOSTILE, "time": TIME, "service": "x", HOSTILE.replace("\0", ""): HOSTILE}),
                             {"ok": True}]})
    status, text = Terminal("-s", s.path, "events").finish()
    assert status == 0 and text.count(SHOWN) == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


# ---- exit statuses ----

@pytest.mark.parametrize("error, status", [
    ("internal", 1), ("usage", 2), ("unsupported", 2), ("unknown_service", 2), ("unknown_color", 2), ("denied", 3),
    ("unhealthy", 4), ("locked", 13), ("conflict", 5), ("partial_fleet", 8), ("store_unavailable", 10),
    ("not_durable", 10), ("unknown", 11), ("something_new", 1)])
def test_error_words_become_exit_statuses(scripted, error, status):
    s = scripted({"flip shop blue": [refusal(error)]})
    p = run("-s", s.path, "flip", "shop", "blue")
    assert p.returncode == status
    # "internal" says nothing that the message does not say better.
    word = "" if error == "internal" else f"{error}: "
    assert p.stderr == f"tealctl: {word}because of {error}\n"
    assert p.stdout == ""


def test_a_timeout_says_what_was_waited_for(scripted):
    late = refusal("timeout", changed=True, active="blue", epoch=43)
    s = scripted({"flip shop blue": [CHECKED, COMMITTED, late],
                  "flip shop blue --wait=drained": [CHECKED, COMMITTED, APPLIED, late],
                  "flip shop blue --wait=drained --force": [COMMITTED, late],
                  "flip shop blue --wait-healthy=1": [refusal("timeout")]})
    p = run("-s", s.path, "flip", "shop", "blue")
    assert p.returncode == 8
    assert "it did change: blue is active, epoch 43" in p.stderr
    assert run("-s", s.path, "flip", "shop", "blue", "--wait=drained").returncode == 6
    assert run("-s", s.path, "flip", "shop", "blue", "--wait=drained", "--force").returncode == 8
    assert run("-s", s.path, "flip", "shop", "blue", "--wait-healthy=1").returncode == 4  # not flipped at all


def test_unknown_whether_it_changed_is_said(scripted):
    s = scripted({"flip shop blue": [refusal("unknown", changed=None)]})
    p = run("-s", s.path, "flip", "shop", "blue")
    assert p.returncode == 11 and "whether it changed is unknown" in p.stderr


# ---- bad use never reaches teald ----

@pytest.mark.parametrize("args, says", [
    ([], "no command"), (["flp"], "did you mean flip?"), (["flip", "shop"], "usage: flip SERVICE COLOR"),
    (["flip", "shop", "purple"], "green or blue"), (["flip", "shop", "blue", "--timeout=x"], "not a number"),
    (["flip", "shop", "blue", "--force", "--force"], "twice"), (["flip", "shop", "--force x", "blue"], "--force x"),
    (["flip", "shop", "blue", "--reason"], "needs a value"), (["lock", "shop"], "--reason=TEXT is needed"),
    (["-x", "status"], "unknown option -x"), (["status", "a\nstop"], "U+000A"), (["status", "\033[2J"], "U+001B"),
    (["status", b"\xff"], "UTF-8"), (["status", "x" * 5000], "4096"), (["status"] + ["x"] * 90, "too many"),
    (["flip", "shop", "blue", "--reason=" + "x" * 1025], "longer than 1024"), (["-s"], "needs a socket")])
def test_bad_use_exits_2_and_sends_nothing(scripted, args, says):
    s = scripted({})
    p = subprocess.run([TEALCTL, *args], env=os.environ | {"TEAL_SOCKET": s.path}, stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=scale.patience())
    assert p.returncode == 2
    assert says in p.stderr.decode()
    assert p.stdout == b"" and s.lines == []


def test_shell_words_reach_teald_as_one(scripted):
    line = 'flip shop blue --expect=green@42 --reason="say \\"hi\\" \\\\ to 8812" --force'
    s = scripted({line: [FLIPPED], 'status "--json"': [STATUS]})
    assert run("-s", s.path, "flip", "shop", "blue", "--expect", "green@42", '--reason=say "hi" \\ to 8812',
               "--force").returncode == 0
    assert run("-s", s.path, "status", "--", "--json").returncode == 0
    assert s.commands == [line, 'status "--json"']


# ---- a teald that is not there, or half ----

def test_no_socket_says_what_to_check(folder):
    p = run("-s", folder + "/none.sock", "flip", "shop", "blue")
    assert p.returncode == 9
    assert folder + "/none.sock" in p.stderr and "is teald running" in p.stderr


def test_a_stale_socket_says_so(folder):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(folder + "/stale.sock")
    p = run("status", env={"TEAL_SOCKET": folder + "/stale.sock"})
    assert p.returncode == 9 and "teald is not running" in p.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be somebody else")
def test_a_forbidden_socket_says_so(scripted, folder):
    s = scripted({"status --summary": [STATUS]})
    os.chmod(folder, 0o755)
    os.chmod(s.path, 0o600)
    program = folder + "/tealctl"  # the build folder may be closed to others
    shutil.copy(TEALCTL, program)
    p = subprocess.run([program, "-s", s.path, "status"], user=65534, group=65534, extra_groups=[], capture_output=True,
                       text=True, timeout=scale.patience(), cwd="/")
    assert p.returncode == 9 and "no permission" in p.stderr


def test_something_else_than_a_socket_says_so(folder):
    path = folder + "/file"
    open(path, "w").close()
    assert run("-s", path, "status").returncode == 9
    p = run("-s", "/" + "x" * 200, "status")
    assert p.returncode == 9 and "107 bytes" in p.stderr


def test_the_own_version_needs_no_teald(folder):
    p = run("-s", folder + "/none.sock", "version")
    assert p.returncode == 9 and p.stdout.startswith("tealctl\t")
    assert run("--version").returncode == 0


class Hurried:
    """tealctl by a clock that the test moves: .pass_until(), .end()."""

    def __init__(self, folder, *args):
        self._clock = MovedClock(folder)
        self._process = subprocess.Popen([TEALCTL, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True, env=self._clock.env(os.environ) | {"TEAL_SOCKET": ""})

    def pass_until(self, condition, what):
        """Lets time pass until that is so; returns how many seconds."""
        before = self._clock.moved
        scale.until(lambda: condition() or self._clock.move(0.5, wait=False), what, every=0.02)
        return self._clock.moved - before

    def end(self):
        """Lets time pass until it ends: (exit status, what it complained of, after how many seconds)."""
        seconds = self.pass_until(lambda: self._process.poll() is not None, "it gives up")
        return self._process.returncode, self._process.communicate()[1], seconds

    def wait(self):
        """Waits for its end, in real time."""
        self._process.communicate(timeout=scale.patience())
        return self._process.returncode


@pytest.mark.parametrize("words", [["status"], ["flip", "shop", "blue"]])
def test_a_teald_that_hangs_is_given_up(scripted, folder, words):
    s = scripted({}, accept=False)
    status, said, seconds = Hurried(folder, "-s", s.path, *words).end()
    assert status == 9 and "does not answer" in said and seconds > 4


def test_a_teald_that_hangs_after_the_greeting_leaves_it_unknown(scripted, folder):
    never = threading.Event()
    s = scripted({"lock shop --reason=x": [never]})
    script = s.script
    # The greeting is answered; when tealctl asks again whether teald lives, it no longer is.
    answered = [VERSION]

    class Script(dict):
        def get(self, line, default):
            if line == "version":
                return [answered.pop()] if answered else [never]
            return script.get(line, default)
    s.script = Script()
    p = Hurried(folder, "-s", s.path, "lock", "shop", "--reason=x")
    scale.until(lambda: "lock shop --reason=x" in s.lines, "it is asked")
    status, said, _ = p.end()
    never.set()
    assert status == 11 and "unknown" in said


def test_a_slow_teald_that_lives_is_waited_for(scripted, folder):
    done = threading.Event()
    s = scripted({"check shop blue": [CHECKED, done, {"ok": True, "service": "shop", "to": "blue"}]})
    p = Hurried(folder, "-s", s.path, "check", "shop", "blue")
    scale.until(lambda: "check shop blue" in s.lines, "it is asked")
    p.pass_until(lambda: "version" in s.lines, "asked whether it lives")
    done.set()
    assert p.wait() == 0


@pytest.mark.parametrize("replies, status", [
    ([CLOSE], 11), ([CHECKED, CLOSE], 11), ([CHECKED, b'{"event":"commi', CLOSE], 11),
    ([CHECKED, COMMITTED, CLOSE], 8), ([CHECKED, COMMITTED, APPLIED, CLOSE], 8),
    ([CHECKED, b"\x00\xff garbage\n"], 11), ([CHECKED, b"[]\n"], 11), ([CHECKED, b"{}\n"], 11),
    ([b'{"ok":tr\n'], 11), ([COMMITTED, b'{"event":7}\n'], 8)])
def test_a_teald_that_dies_or_babbles_mid_flip(scripted, replies, status):
    s = scripted({"flip shop blue": replies})
    p = run("-s", s.path, "flip", "shop", "blue")
    assert p.returncode == status
    assert "tealctl status" in p.stderr and s.path in p.stderr


def test_applied_then_lost_while_waiting_for_drained_is_6(scripted):
    s = scripted({"flip shop blue --wait=drained": [COMMITTED, APPLIED, {"event": "draining", "remaining": 3}, CLOSE]})
    p = run("-s", s.path, "flip", "shop", "blue", "--wait=drained")
    assert p.returncode == 6 and "the flip is applied" in p.stderr


def test_a_reader_of_a_dying_teald_is_unreached(scripted):
    s = scripted({"status --summary": [b'{"ok":true,"services":[', CLOSE], "active shop": [b"HTTP/1.1 400 Bad Request\r\n", CLOSE]})
    p = run("-s", s.path, "status")
    assert p.returncode == 9 and p.stdout == "" and "closed the connection" in p.stderr
    p = run("-s", s.path, "active", "shop")
    assert p.returncode == 9 and "does not talk like teald" in p.stderr


@pytest.mark.parametrize("greeting, status, says", [
    ([CLOSE], 9, "closed the connection"), ([b"hello\n"], 9, "does not talk like teald"),
    ([refusal("denied")], 3, "because of denied"), ([b'{"event":"x"}\n'], 9, "does not talk like teald")])
def test_what_changes_is_not_sent_to_a_stranger(scripted, greeting, status, says):
    s = scripted({"version": greeting, "flip shop blue": [FLIPPED]})
    p = run("-s", s.path, "flip", "shop", "blue")
    assert p.returncode == status and says in p.stderr
    assert s.lines == ["version"]


def test_a_reply_in_crumbs_and_a_large_one(scripted):
    many = STATUS | {"services": STATUS["services"] * 3000}
    text = json.dumps(many).encode() + b"\n"
    s = scripted({"status --summary": [text[i:i + 4099] for i in range(0, len(text), 4099)],
                  "active shop": [bytes([c]) for c in b'{"ok":true,"color":"green"}\n']})
    p = run("-s", s.path, "status")
    assert p.returncode == 0 and p.stdout.count("service\tshop") == 3000
    assert run("-s", s.path, "active", "shop").stdout == "green\n"


def test_lost_output_is_not_success(scripted):
    s = scripted({"active shop": [{"ok": True, "color": "green"}]})
    with open("/dev/full", "w") as full:
        p = run("-s", s.path, "active", "shop", stdout=full)
    assert p.returncode == 1 and "cannot write" in p.stderr


def test_a_flip_that_is_interrupted_says_it_goes_on(scripted):
    never = threading.Event()
    s = scripted({"flip shop blue": [CHECKED, never]})
    t = Terminal("-s", s.path, "flip", "shop", "blue")
    t.read_until(rb"checked")
    t.process.send_signal(signal.SIGINT)
    status, text = t.finish()
    never.set()
    assert status == -signal.SIGINT and "the command goes on" in text


def test_events_stream_until_teald_leaves(scripted):
    more = threading.Event()
    s = scripted({"events shop": [{"event": "flip.applied", "time": TIME, "service": "shop", "to": "blue"}, more,
                                  {"event": "backend.up", "time": TIME, "service": "shop", "backend": "10.0.0.1:1"},
                                  CLOSE]})
    with subprocess.Popen([TEALCTL, "-s", s.path, "events", "shop"], stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline() == f"{TIME}\tflip.applied\tshop\tto=blue\n"  # at once, not at the end
        more.set()
        assert p.stdout.readline() == f"{TIME}\tbackend.up\tshop\tbackend=10.0.0.1:1\n"
        assert p.wait(scale.patience()) == 9


# ---- help ----

def test_help_needs_no_teald(folder):
    p = run("--help")
    assert p.returncode == 0 and "rollback" in p.stdout and "TEAL_SOCKET" in p.stdout
    for words in (["flip", "--help"], ["help", "flip"], ["-h", "flip"]):
        p = run("-s", folder + "/none.sock", *words)
        assert p.returncode == 0 and "Usage: tealctl flip SERVICE COLOR" in p.stdout
        assert "--wait-healthy=SEC" in p.stdout
    assert max(map(len, run("lock", "--help").stdout.splitlines())) < 80
    assert run("help", "flpi").returncode == 2


def table(heading):
    """The words of tealctl --help below a heading."""
    text = run("--help").stdout.split(f"\n{heading}:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in text.splitlines() if re.match(r"  \S", line)]


def test_the_man_page_and_the_completion_know_every_command_and_option():
    page = (scale.REPO / "conf/man/tealctl.1").read_text()
    completion = (scale.REPO / "conf/completion/tealctl").read_text()
    commands = table("Commands")
    assert len(commands) > 15
    for command in commands:
        assert re.search(rf"^\.It Cm .*\b{command}\b", page, re.M), command
        assert re.search(rf"\b{command}\b", completion), command
        for option in re.findall(r"^  --([\w-]+)", run(command, "--help").stdout, re.M):
            assert re.search(rf"Fl -{option}(?![\w-])", page), option
            assert f"--{option}" in completion, option


# ---- completion ----

def complete(socket_path, *words):
    """What bash offers for the last of the words."""
    script = """
        . "$1"; shift
        compopt() { :; }
        COMP_WORDS=(tealctl "$@") COMP_CWORD=$#
        _tealctl
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    env = os.environ | {"PATH": f"{scale.BUILD}:{os.environ['PATH']}", "TEAL_SOCKET": socket_path}
    p = subprocess.run(["bash", "-c", script, "bash", str(scale.REPO / "conf/completion/tealctl"), *words], env=env,
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=scale.patience())
    assert (p.returncode, p.stderr) == (0, "")
    return p.stdout.split()


def test_completion_offers_what_fits(scripted, folder):
    services = [STATUS["services"][0] | {"name": n} for n in ("shop", "shop-2", "web", "$(touch pwned)")]
    s = scripted({"status --summary": [STATUS | {"services": services}]})
    assert complete(s.path, "ro") == ["rollback"]
    assert complete(s.path, "flip", "") == ["shop", "shop-2", "web"]
    assert complete(s.path, "flip", "sh") == ["shop", "shop-2"]
    assert complete(s.path, "--json", "flip", "shop", "") == ["green", "blue"]
    assert complete(s.path, "flip", "--reason", "x", "shop", "b") == ["blue"]
    assert complete(s.path, "flip", "shop", "blue", "") == []
    assert complete(s.path, "lock", "") == ["shop", "shop-2", "web", "'*'"]
    assert complete(s.path, "flip", "shop", "blue", "--wait=d") == ["--wait=drained"]
    assert complete(s.path, "flip", "shop", "blue", "--wait-") == ["--wait-healthy="]
    assert complete(s.path, "flip", "shop", "blue", "--expect", "g") == ["green"]
    assert complete(s.path, "maintenance", "o") == ["on", "off"]
    assert complete(s.path, "top", "--sort", "n") == ["name", "new"]
    assert complete(s.path, "top", "--sort", "name", "we") == complete(s.path, "top", "--interval", "2", "we") == ["web"]
    open(f"{folder}/other.conf", "w").close()
    assert complete(s.path, "upgrade", "--config", f"{folder}/ot") == [f"{folder}/other.conf"]
    assert complete(s.path, "upgrade", f"--binary={folder}/ot") == [f"{folder}/other.conf"]
    assert complete(s.path, "log", "") == ["debug", "info", "warn", "error"]
    assert "--force" not in complete(s.path, "status", "--")
    # Another socket than the usual one is asked there; nobody home: nothing.
    assert complete(folder + "/none.sock", "-s", s.path, "active", "w") == ["web"]
    assert complete(folder + "/none.sock", "active", "") == []
    assert not os.path.exists("pwned")
