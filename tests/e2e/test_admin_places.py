"""What the users of the admin socket share: its places, the log's room for the
audit, and commands that go on without their clients. One takes all it can get;
the others, root before all, still do what they came for."""
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from helpers.people import Person, needs_root
from helpers.scale import patience, until
from helpers.teald import service

pytestmark = needs_root

PLACES, RESERVE, BURST = 256, 32, 50     # as teald(8) says

# Opens connections, says a line on each and reads nothing more; replaces those
# that are closed. Says "full" once it has as many as it will get.
HOG = """
import socket, sys, time
path, line, n, reads = sys.argv[1], sys.argv[2].encode().decode("unicode_escape").encode(), int(sys.argv[3]), sys.argv[4] == "read"
many, told = [], False
def come():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(%f)
    s.connect(path)
    s.sendall(line)
    return s
while True:
    rounds = 0
    while len(many) < n and rounds < n:
        rounds += 1
        try:
            many.append(come())
        except OSError:
            pass
    if not told:
        told = True
        print("full", flush=True)
    time.sleep(0.05)
    for s in many[:]:
        try:
            if s.recv(65536 if reads else 1, socket.MSG_DONTWAIT | (0 if reads else socket.MSG_PEEK)) == b"":
                many.remove(s)
                s.close()
        except BlockingIOError:
            pass
        except OSError:
            many.remove(s)
"""


class Hog:
    def __init__(self, who, teal, line, n, reads=False):
        self.process = subprocess.Popen([sys.executable, "-c", HOG % patience(), teal.admin_path, line, str(n), "read" if reads else "-"],
                                        user=who.uid, group=who.gid, extra_groups=who.groups, cwd="/",
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"full\n"

    def close(self):
        self.process.kill()
        self.process.wait(patience())
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def stage(teal, backend, ports):
    """Two services; games may read `other` alone, news may flip it, bin nothing."""
    def make(**settings):
        b = backend("green"), backend("blue")
        dead = f"127.0.0.1:{ports.hold()}"
        return teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[b[0]], blue=[blue])
                              for n, blue in (("shop", b[1]), ("other", dead))],
                    admin={"mode": "0666", "roles": [
                        {"user": "games", "services": ["other"], "allow": ["read"]},
                        {"user": "news", "services": ["other"], "allow": ["read", "flip"]}]}, **settings)
    return make


@pytest.mark.parametrize("who,line,reads", [
    ("games", "events\\n", False), ("games", "events\\n", True), ("games", "status", True),
    ("bin", "help\\n" * 300, False), ("news", "flip other blue --wait-healthy=600 --timeout=600\\n", True)],
    ids=["events unread", "events", "half a line", "help unread", "flips that wait"])
def test_one_user_takes_all_places(stage, closing, who, line, reads):
    teal = stage()
    closing.add(Hog(Person(who), teal, line, 2 * PLACES, reads))
    for color in ("blue", "green", "blue"):
        assert teal.ok("flip", "shop", color)["changed"]
    assert teal.ok("status")["services"]
    others = Person("news" if who != "news" else "games").ask(teal, "status other", "active other")
    assert all(r["ok"] for r in others), others
    assert Person("daemon").ask(teal, "whoami")[0]["ok"]


def test_what_one_user_does_not_read_has_a_limit(teal, backend, ports, closing):
    """As much as one client may have: its other readers make way, the slowest first."""
    b = backend("green"), backend("blue")
    names = [f"s{n}" for n in range(600)]
    t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[b[0]], blue=[b[1]], health={"type": "none"})
                       for n in names],
             admin={"mode": "0666", "roles": [{"user": "games", "services": ["*"], "allow": ["read"]},
                                              {"user": "news", "services": ["*"], "allow": ["read"]}]})
    mine = closing.add(t.admin())
    # Some of each reply the kernel takes.
    size = len(json.dumps(mine.command("status"))) * 3 // 4 - (256 << 10)
    enough = (16 << 20) // max(size, 1) + 20
    assert enough < PLACES - RESERVE, size
    closing.add(Hog(Person("games"), t, "status\\n", enough))
    line = t.wait_log("admin.closed", uid=Person("games").uid)
    assert "memory" in line["why"], line
    assert Person("news").ask(t, "status")[0]["ok"]
    assert mine.command("status")["ok"]


def test_refused_commands_are_told_together(stage):
    teal = stage()
    sent = 20 * BURST
    assert all(r["error"] == "denied" for r in Person("bin").ask(teal, *["flip shop blue"] * sent))
    uid = Person("bin").uid

    def told():
        lines = teal.log_lines_now("audit", uid=uid, result="denied")
        return sum(l.get("count", 1) for l in lines) == sent and lines
    lines = until(told, "each of them is told of or counted")
    assert len(lines) < sent / 2
    last = [l for l in lines if "count" in l][-1]
    assert (last["user"], last["command"]) == ("bin", "flip")
    # Root's are told one by one, as what changes something is.
    for n in range(2 * BURST):
        teal.ctl("flip", "shop", "green", "--expect=blue", f"--reason=mark {n}")
    teal.wait_log("audit", count=2 * BURST, uid=0, result="conflict")


def test_what_failed_is_told_together_in_its_own_words(stage):
    """A flip's last word comes from the flip, and is gone when the line is written."""
    teal = stage()
    sent = 4 * BURST
    replies = Person("news").ask(teal, *["flip other blue --expect=blue"] * sent, "status other", "whoami", "history other")
    assert {r.get("error") for r in replies[:sent]} == {"conflict"}
    uid = Person("news").uid
    lines = until(lambda: sum(l.get("count", 1) for l in teal.log_lines_now("audit", uid=uid)) == sent and
                  teal.log_lines_now("audit", uid=uid), "each of them is told of or counted")
    assert any("count" in l for l in lines)
    assert {(l["command"], l["result"]) for l in lines} == {("flip", "conflict")}


def test_a_flood_of_others_leaves_the_audit_its_room(stage, tmp_path):
    """Nobody reads the log while the ring is filled to the brim by lines that
    are no audit; what root did is in it all the same."""
    r, w = os.pipe()
    os.set_blocking(r, True)
    teal = stage()
    teal.stop()
    teal.start(stdout=w)
    os.close(w)
    with teal.admin() as a:
        # Each refused flip is a line of its own, besides the audit's.
        until(lambda: [a.command("flip", "shop", "blue", "--expect=blue", "--reason=" + "x" * 900)
                       for _ in range(200)] and teal.metrics().get("teal_log_dropped_total") > 0,
              "lines are dropped")
    for n, color in enumerate(("blue", "green", "blue")):
        assert teal.ok("flip", "shop", color, f"--reason=mark-{n}")["changed"]
    text = bytearray()

    def read():
        while more := os.read(r, 1 << 16):
            text.extend(more)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    teal.stop()
    reader.join(patience())
    os.close(r)
    audit = [l for l in map(json.loads, text.splitlines()) if l["event"] == "audit"]
    assert [n for n in range(3) if any(l.get("reason") == f"mark-{n}" for l in audit)] == [0, 1, 2]
