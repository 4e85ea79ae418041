"""The admin socket takes anything: clear errors for the odd, and a proper
client is answered at once whatever the others do."""
import json
import os
import socket
import stat
import subprocess
import sys
import threading

import pytest

from helpers.admin import Admin
from helpers.scale import ME, patience, sanitizer, until
from helpers.teald import service

def answers(teal, times=3):
    """A proper client is answered, whatever the others do."""
    for _ in range(times):
        assert teal.ok("active", "web")


def raw(teal, data, shut=True):
    """Sends bytes, ends the sending half; all that comes back, as objects."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(patience())
        s.connect(teal.admin_path)
        try:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it had enough; what it said is still there to read
        got = b""
        try:
            while more := s.recv(1 << 16):
                got += more
        except ConnectionResetError:
            pass
    assert got == b"" or got.endswith(b"\n"), got
    return [json.loads(line) for line in got.splitlines()]


def is_refusal(o, error="usage"):
    return o["ok"] is False and o["error"] == error and o["message"]


@pytest.mark.parametrize("data", [
    b"wat\n", b"flip\n", b'flip "web\n', b'flip web blue --reason="never closed\n', b"\x00\n", b"status\x00 web\n",
    b"\xff\xfe\xfd\n", b"\xc3\x28\n", b"GET / HTTP/1.1\n", b"sta\x07tus\n", b"status\tweb extra words\n",
    b"--flip\n", b"status --wat=1\n", b"flip web blue --reason\n", b"{}\n", b"\"\"\n", b"'status'\n", b"STATUS\n",
    b"status web web\n", b"a " * 40 + b"\n", b"x" * 4096 + b"\n", b"x" * 4097 + b"\n",
    b"lock web --reason=" + b"x" * 3000 + b"\n",
], ids=lambda d: repr(d[:20]))
def test_garbage_gets_a_clear_error(web, data):
    teal = web()
    replies = raw(teal, data)
    assert len(replies) == 1 and is_refusal(replies[0]), replies
    answers(teal, 5)
    assert teal.status()["locked"] is None


def test_after_an_error_the_next_command_on_the_same_connection_works(web):
    replies = raw(web(), b'wat\n\nflip "\nactive web\n')
    assert [o["ok"] for o in replies] == [False, False, True] or \
        [o["ok"] for o in replies] == [False, False, False, True], replies
    assert "green" in str(replies[-1])


def test_lines_may_end_with_cr_lf(web):
    replies = raw(web(), b"active web\r\nidle web\r\n")
    assert len(replies) == 2
    assert all(o["ok"] for o in replies) or all(is_refusal(o) for o in replies)


def test_random_bytes_never_hurt(web):
    teal = web()
    for n in range(40):
        replies = raw(teal, os.urandom(1 << (n % 16)))
        assert all(o["ok"] is False and o["error"] == "usage" for o in replies), replies
    answers(teal)
    assert teal.status()["epoch"] == 1


def test_a_line_of_a_mebibyte_is_refused_in_bounded_memory(web):
    teal = web()
    answers(teal, 3)
    before = teal.rss()
    replies = raw(teal, b"x" * (1 << 20) + b"\n")
    assert len(replies) == 1 and is_refusal(replies[0]), replies
    # Without end of line, and many at once.
    socks = []
    for _ in range(30):
        s = socket.socket(socket.AF_UNIX)
        s.connect(teal.admin_path)
        s.setblocking(False)
        socks.append(s)
    line = b"flip web blue --reason=" + b"y" * (1 << 20)
    sent = [0] * len(socks)
    stuck = 0
    while stuck < 20 and min(sent) < len(line):
        before_it = sum(sent)
        for i, s in enumerate(socks):
            try:
                sent[i] += s.send(line[sent[i]:sent[i] + 65536])
            except BlockingIOError:
                pass
            except OSError:
                sent[i] = len(line)  # closed on us: as good
        answers(teal, 1)
        stuck = stuck + 1 if sum(sent) == before_it else 0
    if not sanitizer():
        assert teal.rss() - before < 4 << 20, f"{(teal.rss() - before) >> 10} KiB grown"
    for s in socks:
        s.close()
    assert teal.status()["active"] == "green"


def test_half_a_line_waits_without_hurting_anyone(web):
    teal = web()
    with teal.admin() as half, teal.admin() as slow_one:
        half.sock.sendall(b"flip web bl")
        answers(teal)
        for byte in b"active web\n":
            slow_one.sock.sendall(bytes([byte]))
            answers(teal, 1)
        assert slow_one.reply()["ok"]
        half.sock.sendall(b"ue\n")
        assert half.reply()["active"] == "blue"


def test_half_a_line_at_the_end_does_nothing(web):
    """A command cut off in transit must not be obeyed."""
    teal = web()
    replies = raw(teal, b"flip web blue --expect=green")
    assert teal.status()["epoch"] == 1 or (replies and replies[-1]["ok"]), replies
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(teal.admin_path)
        s.sendall(b"flip web blue")
    answers(teal)  # those that came before were looked at
    assert len(teal.log_lines("audit", command="flip")) <= 1


def test_a_thousand_idle_clients(web):
    teal = web()
    idle = [Admin(teal.admin_path) for _ in range(1000)]
    answers(teal)
    teal.ok("flip", "web", "blue")
    for s in idle:
        s.close()
    answers(teal)
    until(lambda: teal.fds() < 200, "their descriptors are closed")


def test_a_thousand_idle_clients_each_with_half_a_line(web):
    teal = web()
    idle = [Admin(teal.admin_path) for _ in range(1000)]
    for s in idle:
        try:
            s.sock.sendall(b"status web")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it made way for another
    answers(teal)
    for s in idle:
        s.close()


def test_a_client_that_never_reads_is_bounded(web):
    """Thousands of commands, not one reply read."""
    teal = web()
    answers(teal, 3)
    before = teal.rss()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(teal.admin_path)
        s.setblocking(False)
        full = 0
        while full < 20:
            try:
                s.send(b"status\n" * 1000)
                full = 0
            except BlockingIOError:
                full += 1
                answers(teal, 1)
            except OSError:
                break
        answers(teal)
        if not sanitizer():
            assert teal.rss() - before < 8 << 20


def test_pipelined_commands_are_answered_in_order(web):
    teal = web()
    replies = raw(teal, b"active web\nidle web\nactive nope\nversion\nflip web blue\nactive web\n" + b"whoami\n" * 200)
    last = [o for o in replies if "ok" in o]
    assert len(last) == 206
    assert last[2]["error"] == "unknown_service"
    assert last[4]["changed"] is True
    assert "blue" in str(last[5])
    assert all(o["user"] == ME for o in last[6:])


def test_a_half_closing_client_gets_its_whole_reply(web):
    """echo ... | socat - UNIX:..., also when the reply takes its time."""
    teal = web(drain={"timeout": 1.0, "idle": 0.0})
    old = teal.connect().echo()
    replies = raw(teal, b"flip web blue --wait=drained\nstatus web\n")
    assert [o.get("event") for o in replies][:3] == ["checked", "committed", "applied"]
    assert replies[-2]["ok"] is True and replies[-2]["active"] == "blue"
    assert replies[-1]["services"][0]["colors"]["green"]["connections"] == 0
    assert old.read_end()[0] == b""


def test_each_object_is_one_line(web):
    teal = web()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(patience())
        s.connect(teal.admin_path)
        s.sendall(b"status\nhistory web\nhelp\nversion\nwhoami\n")
        s.shutdown(socket.SHUT_WR)
        got = b""
        while more := s.recv(65536):
            got += more
    lines = got.split(b"\n")
    assert lines[-1] == b"" and len(lines) == 6
    assert all(json.loads(l)["ok"] for l in lines[:-1])


def test_status_has_what_was_promised(web):
    teal = web()
    old = teal.connect().echo()
    until(lambda: teal.status()["colors"]["blue"]["healthy"] == 1, "both up")
    r = teal.ok("status")
    assert r["store"]["type"] == "file" and r["store"]["up"] is True and r["store"]["age"] >= 0
    s = r["services"][0]
    assert (s["name"], s["mode"], s["active"], s["idle"], s["epoch"], s["locked"]) == \
        ("web", "tcp", "green", "blue", 1, None)
    g = s["colors"]["green"]
    assert (g["connections"], g["draining"], g["healthy"], g["total"]) == (1, False, 1, 1)
    b = g["backends"][0]
    assert (b["address"], b["state"], b["connections"]) == (teal.green.address, "up", 1)
    assert b["since"].endswith("Z")
    old.close()


# ---- the socket file ----

def test_a_stale_socket_file_is_reclaimed(web):
    teal = web()
    teal.kill()
    assert os.path.exists(teal.admin_path)
    teal.start()
    answers(teal, 3)


def test_a_socket_file_goes_with_a_proper_end(web):
    teal = web()
    assert teal.stop() == 0
    assert not os.path.exists(teal.admin_path)


def test_a_live_socket_is_not_stolen(web, teal, backend, ports):
    first = web()
    second = teal(start=False, admin={"socket": first.admin_path}, services=[
        service("web", listen=f"127.0.0.1:{ports.hold()}", green=[backend("g")], blue=[backend("b")])])
    status, text = second.start_refused()
    assert status > 0 and first.admin_path in text, (status, text)
    answers(first, 3)
    assert first.connect().peer == "green"


def test_a_file_that_is_no_socket_is_not_removed(web, tmp_path):
    path = tmp_path / "precious"
    path.write_text("mine")
    teal = web(start=False, top={"admin": {"socket": str(path)}})
    status, text = teal.start_refused()
    assert status > 0 and str(path) in text
    assert path.read_text() == "mine"


def test_a_second_teald_that_is_refused_leaves_the_socket_alone(web, teal, backend):
    """Refused for the port, after or before the admin socket: the first still answers."""
    first = web()
    second = teal(start=False, admin={"socket": first.admin_path}, services=[
        service("web", listen="%s:%d" % first.address(), green=[backend("g")], blue=[backend("b")])])
    assert second.start_refused()[0] > 0
    answers(first, 3)


# ---- rights ----

AS_NOBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
try:
    s.connect(sys.argv[1])
except PermissionError:
    sys.exit("permission denied")
s.sendall(sys.stdin.buffer.read())
s.shutdown(socket.SHUT_WR)
while data := s.recv(65536):
    sys.stdout.buffer.write(data)
"""


def as_nobody(teal, commands):
    p = subprocess.run([sys.executable, "-c", AS_NOBODY, teal.admin_path], input=commands, capture_output=True,
                       timeout=2 * patience())
    assert p.returncode == 0, p.stderr
    return [json.loads(l) for l in p.stdout.splitlines()]


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="changes to another user: needs root")


@needs_root
def test_another_user_is_denied_and_that_is_audited(web):
    teal = web(top={"admin": {"mode": "0666"}})
    commands = [b"flip web blue", b"flip web blue --force", b"rollback web", b"lock web --reason=x", b"unlock web",
                b"maintenance on", b"stop", b"status", b"drain web", b"history web", b"check web blue", b"events"]
    replies = as_nobody(teal, b"\n".join(commands) + b"\n")
    assert len(replies) == len(commands)
    assert all(o["ok"] is False and o["error"] == "denied" for o in replies), replies
    who = as_nobody(teal, b"whoami\nversion\nhelp\n")
    assert all(o["ok"] for o in who) and "nobody" in str(who[0]) and who[0].get("uid", 65534) == 65534
    assert (teal.status()["active"], teal.status()["epoch"], teal.status()["locked"]) == ("green", 1, None)
    line = teal.wait_log("audit", uid=65534)
    assert line["result"] == "denied" and line["user"] == "nobody" and line["pid"] > 0 and line["command"]
    assert teal.connect().peer == "green" and teal.running


@needs_root
def test_usage_comes_before_rights_and_rights_before_the_rest(web):
    teal = web(top={"admin": {"mode": "0666"}})
    teal.ok("lock", "web", "--reason=x")
    replies = as_nobody(teal, b"flip web\nflip web purple\nflip web blue --expect=blue@9\nflip web green\n")
    assert [o["error"] for o in replies] == ["usage", "unknown_color", "denied", "denied"], replies


@needs_root
def test_the_mode_of_the_socket_keeps_others_out(web):
    teal = web(top={"admin": {"mode": "0600"}})
    assert stat.S_IMODE(os.stat(teal.admin_path).st_mode) == 0o600
    p = subprocess.run([sys.executable, "-c", AS_NOBODY, teal.admin_path], input=b"whoami\n", capture_output=True)
    assert p.returncode != 0 and b"permission denied" in p.stderr


def test_every_change_is_audited(web):
    teal = web()
    teal.ok("flip", "web", "blue", "--reason=audited")
    line = teal.wait_log("audit")
    assert line["uid"] == os.getuid() and line["pid"] == os.getpid() and line["user"]
    assert "flip" in line["command"] and line["result"] == "ok"
    teal.ctl("flip", "web", "green", "--expect=green")
    assert teal.wait_log("audit", 2)["result"] == "conflict"
    teal.ok("status")
    teal.ok("maintenance", "on")
    teal.ok("maintenance", "off")
    teal.wait_log("audit", 4)
    assert len(teal.log_lines("audit")) == 4  # reading is not audited


def test_many_flippers_and_readers_at_once(web):
    """Forty clients at the same time, each gets whole replies to its own."""
    teal = web(drain={"timeout": 0.1})
    failures = []

    def ask(n):
        try:
            with teal.admin() as a:
                for i in range(10):
                    if n % 4 == 0:
                        r = a.command("flip", "web", ("green", "blue")[i % 2])
                    elif n % 4 == 1:
                        r = a.command("status")
                    elif n % 4 == 2:
                        r = a.command("history", "web", "--last=5")
                    else:
                        r = a.command("drain", "web")
                    assert r["ok"], r
        except Exception as e:
            failures.append((n, repr(e)))
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:3]
