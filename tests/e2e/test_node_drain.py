"""`node drain --wait`: the reply proves that the whole fleet has nothing on the node any more."""
import os
import queue
import subprocess
import threading

import pytest

from helpers import scale
from helpers.backends import Backend
from helpers.http1 import Http
from helpers.scale import scaled, until
from test_nodes import HOSTS, green, nodes, nodes_fleet, peers, pool, wait_up  # noqa: F401 (fixtures)
from test_ws_close import GOING_AWAY, Sockets, rest_of, ASK

FIRST, SECOND = HOSTS[:2]


def on(t, host):
    """The proof: sockets of that teald's processes to the host's backends, checks apart (they go on)."""
    pids, found = [t.pid], set()
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/stat") as f:
                    if int(f.read().rsplit(")", 1)[1].split()[1]) in pids:
                        pids.append(int(pid))
            except (FileNotFoundError, ProcessLookupError):
                pass
    inodes = set()
    for pid in pids:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except FileNotFoundError:
                pass
    want = "".join(f"{int(b):02X}" for b in reversed(host.split(".")))
    for line in open("/proc/net/tcp"):
        words = line.split()
        if words[2].startswith(want + ":") and f"socket:[{words[9]}]" in inodes:
            found.add(words[1] + ">" + words[2])
    return found


@pytest.fixture
def still(teal, pool):  # noqa: F811
    """A teald with two nodes that is checked by nothing, and a clock that the test moves."""
    def make(clock=True, **keys):
        keys = {"health": {"type": "none"}, "drain": {"timeout": 2000.0, "idle": 400.0},
                "idle_timeout": 36000.0} | keys
        t = teal(clock=clock, **pool().settings(**keys))
        t.wait_ready()
        return t
    return make


def held_on(t, host, n):
    """n clients of that node."""
    found = []
    while len(found) < n:
        c = t.connect().echo()
        if c.peer == host:
            found.append(c)
        else:
            c.close()
    return found


def asked(t, *words):
    """A drain under way; .reply() of it."""
    a = t.admin()
    a.send("node", "drain", "main", *words)
    return a


def test_idle_ones_leave_first_busy_ones_at_the_deadline(still):
    t = still()
    idle, busy = held_on(t, SECOND, 4), held_on(t, SECOND, 3)
    others = held_on(t, FIRST, 2)
    a = asked(t, SECOND, "--wait=1000")
    first = a.object()
    assert (first["event"], first["remaining"], first["unsure"]) == ("draining", 7, 0), first
    assert first["members"][0]["services"] == [{"service": "web", "connections": 7}]
    n = nodes(t)[SECOND]
    assert (n["state"], n["connections"]) == ("draining", 7) and n["state_since"] and n["drain_until"]
    assert peers(t) == {FIRST}
    t.clock.move(300)
    for c in busy:
        c.echo()
    assert all(c.alive for c in idle)
    t.clock.move(100)
    for c in idle:
        assert c.read_end()[0] == b""
    for _ in range(2):
        for c in busy:
            c.echo()
        t.clock.move(300)
    for c in busy:
        assert c.read_end()[0] == b""
    r = a.reply()
    assert (r["ok"], r["changed"], r["connections"], r["cut"], r["teals"], r["fleet"]) == (True, True, 0, 3, 1, False), r
    assert on(t, SECOND) == set()
    for c in others:
        c.echo()
    assert len(t.log_lines("tcp.session", end="drain_idle")) == 4 and len(t.log_lines("tcp.session", end="drained")) == 3
    line = t.wait_log("node.drained", pool="main", node=SECOND)
    assert (line["level"], line["cut"]) == ("warn", 3)
    assert t.wait_log("node.draining", node=SECOND)["timeout"] == 1000
    assert t.wait_log("audit", verb="drain", result="ok")["node"] == SECOND


class Site:
    """HTTP that says on which node it is; /ws becomes a WebSocket, /slow is answered in halves."""

    def __init__(self):
        self.go_on, self.slow = threading.Event(), queue.Queue()

    def __call__(self, conn, b):
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := conn.recv(1 << 16)):
                    return
                head += piece
            name = b.name.encode()
            if b"/ws" in head:
                conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                             b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Node: " + name + b"\r\n\r\n")
                while conn.recv(1 << 16):
                    pass
                return
            conn.sendall(b"HTTP/1.1 200 OK\r\nX-Node: %s\r\nContent-Length: 8\r\n\r\nhalf" % name)
            if b"/slow" in head:
                self.slow.put(b.name)
                self.go_on.wait()
            conn.sendall(b"full")


@pytest.fixture
def http(teal, closing, ports):
    """A teald of HTTP before .site on two nodes; .ask(): a client there and its answer's node."""
    def make(**how):
        port, site = ports.hold(), Site()
        for host in (FIRST, SECOND):
            closing.add(Backend(host, port, site, host=host).start())
        service = {"name": "web", "mode": "http", "listen": f"127.0.0.1:{ports.hold()}", "nodes": "main",
                   "green": {"port": port}, "blue": {"port": ports.hold()}, "health": {"type": "none"},
                   "drain": {"timeout": 2000.0, "idle": 0.0}, "idle_timeout": 36000.0}
        t = teal(services=[service], node_pools={"main": [FIRST, SECOND]}, **how)
        t.wait_ready()
        t.site = site
        return t
    return make


def client_on(closing, t, host, raw="GET / HTTP/1.1\r\nHost: web\r\n\r\n"):
    """A client whose request that node has answered."""
    while True:
        c = closing.add(Http(t.address()))
        c.send(raw)
        if c.response().get("X-Node") == host:
            return c
        c.close()


def test_http_moves_at_its_next_request_and_websockets_are_told(http, closing):
    """A request under way is answered in full; kept connections to the node close."""
    t = http(clock=True)
    kept, ws = client_on(closing, t, SECOND), client_on(closing, t, SECOND, ASK % "websocket")
    slow = []
    while True:
        slow.append(closing.add(Http(t.address())).send("GET /slow HTTP/1.1\r\nHost: web\r\n\r\n"))
        if t.site.slow.get(timeout=scale.patience()) == SECOND:
            break
    until(lambda: nodes(t)[SECOND]["connections"] == 2, "the WebSocket and the request")
    assert len(on(t, SECOND)) >= 2
    a = asked(t, SECOND, "--wait=1000")
    event = a.object()
    assert (event["remaining"], event["unsure"]) == (2, 0), event
    # The WebSocket and the request: kept ones are closed by now.
    assert len(on(t, SECOND)) == 2
    assert kept.ask().get("X-Node") == FIRST
    t.site.go_on.set()
    for c in slow:
        assert c.response().body == b"halffull"
    t.clock.move(1000)
    assert rest_of(ws) == GOING_AWAY
    r = a.reply()
    assert (r["ok"], r["connections"], r["cut"]) == (True, 0, 1), r
    assert on(t, SECOND) == set()
    assert {closing.add(Http(t.address())).ask().get("X-Node") for _ in range(4)} == {FIRST}
    # By its word of before, and without one it is an error that a connection was cut.
    assert t.ok("node", "ready", "main", SECOND)["changed"]
    ws = client_on(closing, t, SECOND, ASK % "websocket")
    until(lambda: nodes(t)[SECOND]["connections"] == 1, "the WebSocket")
    a = asked(t, SECOND, "--wait=1000", "--no-cut")
    assert a.object()["remaining"] == 1
    t.clock.move(1000)
    r = a.reply()
    assert (r["ok"], r["error"], r["changed"], r["connections"], r["cut"]) == (False, "timeout", True, 0, 1), r


def test_node_ready_ends_the_wait_and_what_is_left_stays(still):
    t = still()
    held = held_on(t, SECOND, 3)
    a = asked(t, SECOND, "--wait=1000")
    assert a.object()["remaining"] == 3
    assert t.ok("node", "ready", "main", SECOND)["changed"]
    r = a.reply()
    assert (r["error"], r["changed"]) == ("conflict", True) and "ready" in r["message"], r
    t.clock.move(2000)
    for c in held:
        c.echo()
    assert peers(t) == {FIRST, SECOND} and nodes(t)[SECOND]["state"] == "ready"
    # Another drain replaces the first one's terms.
    a = asked(t, SECOND, "--wait=36000")
    assert a.object()["remaining"] == 3
    b = asked(t, SECOND, "--wait=0")
    r = b.reply()
    assert (r["ok"], r["connections"]) == (True, 0), r
    r = a.reply()
    assert r["ok"] or r["error"] == "conflict", r
    for c in held:
        assert c.read_end()[0] == b""


def test_the_ends_are_spread_up_to_the_deadline(still):
    t = still(drain={"timeout": 2000.0, "idle": 0.0})
    held = held_on(t, SECOND, scaled(400, 40))
    a = asked(t, SECOND, "--wait=1000", "--spread=500")
    assert a.object()["remaining"] == len(held)
    t.clock.move(490)
    for c in held:
        c.echo()
    lived = [len(held)]
    for _ in range(4):
        t.clock.move(120)
        # The ends of those before are through when a drain's tick has come: a new line tells.
        until(lambda: nodes(t)[SECOND]["connections"] < lived[-1], "some have ended")
        lived.append(sum(c.alive for c in held))
    assert lived == sorted(lived, reverse=True) and 0 < lived[1] < len(held), lived
    t.clock.move(30)
    r = a.reply()
    assert (r["ok"], r["connections"], r["cut"]) == (True, 0, len(held)), r


def test_without_wait_connections_stay_and_the_list_says_since_when(still):
    t = still()
    held = held_on(t, SECOND, 2)
    t.ok("node", "drain", "main", SECOND)
    n = nodes(t)[SECOND]
    assert (n["state"], n["connections"], n["drain_until"]) == ("draining", 2, None) and n["state_since"]
    row = t.tealctl("node", "list", check=0).stdout.splitlines()[1].split("\t")
    assert row[4:6] == ["draining", "2"] and row[12] == n["state_since"]
    t.clock.move(3000)
    for c in held:
        c.echo()
    # And later with it.
    r = t.ok("node", "drain", "main", SECOND, "--wait=0")
    assert (r["changed"], r["connections"]) == (True, 0)


def test_tealctl_says_it_in_one_line_and_may_be_killed(still):
    t = still()
    held = held_on(t, SECOND, 2)
    p = subprocess.Popen([scale.BUILD / "tealctl", "-s", t.admin_path, "node", "drain", "main", SECOND, "--wait=1000"],
                         stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == f"draining\t{SECOND}\t2\t0\n"
    p.kill()
    p.communicate()
    line = t.wait_log("audit", verb="drain")
    assert line["result"] == "ok" and "goes on" in line["message"]
    t.clock.move(1000)
    for c in held:
        assert c.read_end()[0] == b""
    t.wait_log("node.drained", node=SECOND)
    out = t.tealctl("node", "drain", "main", SECOND, "--wait=10", check=0).stdout.split("\t")
    assert out[:5] == ["drained", "main", SECOND, "0", "1"]
    for words, part in ((("--wait=x",), "not a number"), (("--spread=3",), "--spread needs --wait"),
                        (("--wait=1", "--spread=3"), "longer than --wait"), (("--wait=200h",), "seven days"),
                        (("--no-cut",), "--no-cut needs --wait")):
        p = t.tealctl("node", "drain", "main", SECOND, *words, check=2)
        assert part in p.stderr, p.stderr
    assert "--wait is for node drain" in t.tealctl("node", "ready", "main", SECOND, "--wait", check=2).stderr
    p = t.tealctl("node", "drain", "main", FIRST, "--wait=1", check=4)
    assert "--force" in p.stderr
