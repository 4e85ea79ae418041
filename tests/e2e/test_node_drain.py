"""`node drain --wait`: the reply proves that the whole fleet has nothing on the node any more."""
import os
import queue
import signal
import subprocess
import threading

import pytest

from helpers import scale
from helpers.backends import Backend, Farm
from helpers.certificates import Authority
from helpers.clients import Client
from helpers.fleet import Fleet
from helpers.http1 import Http
from helpers.kube_api import KubeApi
from helpers.kubectl import Kubectl, program as kubectl_program
from helpers.reload import change, rewrite
from helpers.scale import scaled, until
from helpers.terminal import Terminal
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


def held_on(t, host, n, service="web"):
    """n clients of that node."""
    found = []
    while len(found) < n:
        c = t.connect(service).echo()
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
    # A machine that stood still far beyond the deadline: what was due is done all the same, and the drain has ended well.
    t.clock.move(1060)
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


# ---- a fleet ----

@pytest.fixture
def drain_fleet(teal, pool, redis, ports):  # noqa: F811
    """A fleet before two nodes, whose drains last as long as the test says; quiet: and a second service
    there, whose idle connections are soon closed."""
    def make(n=2, quiet=False, supervised=False, store=None, **keys):
        f = Fleet()
        f.redis, p = redis(), pool()
        keys = {"health": {"type": "none"}, "drain": {"timeout": 36000.0, "idle": 0.0}} | keys
        for _ in range(n):
            settings = p.settings(**keys)
            if quiet:
                settings["services"].append(settings["services"][0] | {
                    "name": "quiet", "listen": f"127.0.0.1:{ports.hold()}", "drain": {"timeout": 36000.0, "idle": 0.2}})
            f.append(teal(start=False, store={"type": "redis", "prefix": f.prefix, "url": f.redis.url} | (store or {}), **settings))
        for t in f:
            t.start(ready=False, supervised=supervised)
        for t in f:
            t.wait_ready()
        f.wait_members(n)
        return f
    return make


def test_the_answer_is_of_the_whole_fleet(drain_fleet, closing):
    """And it says who is not done: connections of another teald, by service."""
    f = drain_fleet(3)
    here, there = held_on(f[0], SECOND, 2), held_on(f[1], SECOND, 3)
    a = asked(f[0], SECOND, "--wait=3600")
    while (o := a.object())["unsure"] > 0 or o["remaining"] != 5:
        assert o["event"] == "draining", o
    left = {m["pid"]: m["services"] for m in o["members"]}
    assert left == {f[0].serving(): [{"service": "web", "connections": 2}],
                    f[1].serving(): [{"service": "web", "connections": 3}]}, o
    for t in f:
        assert peers(t) == {FIRST}
    for c in here:
        c.close()
    while a.object()["remaining"] != 3:
        pass
    for c in there:
        c.close()
    r = a.reply()
    assert (r["ok"], r["connections"], r["cut"], r["teals"], r["fleet"]) == (True, 0, 0, 3, True), r
    for t in f:
        assert on(t, SECOND) == set()
        t.wait_log("node.drained", node=SECOND, cut=0)
    out = f[2].tealctl("node", "drain", "main", SECOND, "--wait=10", check=0).stdout.splitlines()[-1].split("\t")
    assert out[:5] == ["drained", "main", SECOND, "0", "3"]
    screen = closing.add(Terminal(scale.BUILD / "tealctl", "-s", f[2].admin_path, "node", "drain", "main", SECOND, "--wait=10"))
    screen.until(f"0 connections on {SECOND}, in the fleet (3 Teals)")


def test_a_member_that_does_not_answer_is_named_and_one_that_is_late_is_waited_for(drain_fleet):
    f = drain_fleet(2)
    held = held_on(f[1], SECOND, 1)
    pid = f[1].serving()
    os.kill(pid, signal.SIGSTOP)
    try:
        r = f[0].ctl("node", "drain", "main", SECOND, "--wait=0")
        assert (r["ok"], r["error"], r["changed"], r["unsure"]) == (False, "partial_fleet", True, 1), r
        assert f"pid {pid} is missing" in r["message"], r
        p = f[0].tealctl("node", "drain", "main", SECOND, "--wait=0", check=8)
        assert f"pid {pid} is missing" in p.stderr
        a = asked(f[0], SECOND, "--wait=3600")
        assert a.object()["unsure"] == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    held[0].close()
    r = a.reply()
    assert (r["ok"], r["connections"], r["teals"]) == (True, 0, 2), r
    assert on(f[1], SECOND) == set()


def test_redis_away_in_the_middle_loses_nothing(drain_fleet):
    f = drain_fleet(2)
    held = held_on(f[0], SECOND, 1) + held_on(f[1], SECOND, 1)
    a = asked(f[0], SECOND, "--wait=3600")
    while a.object()["remaining"] != 2:
        pass
    f.redis.kill()
    f.wait_up(False)
    b = asked(f[0], FIRST, "--wait=0")
    r = b.reply()
    assert (r["ok"], r["changed"]) == (False, False), r
    for c in held:
        c.echo().close()
    until(lambda: all(nodes(t)[SECOND]["connections"] == 0 for t in f), "they have gone")
    f.redis.start()
    f.wait_up()
    r = a.reply()
    assert (r["ok"], r["connections"], r["teals"]) == (True, 0, 2), r
    for t in f:
        assert nodes(t)[SECOND]["state"] == "draining" and on(t, SECOND) == set()


def test_without_redis_at_the_deadline_the_others_are_unknown(drain_fleet):
    f = drain_fleet(2)
    held = held_on(f[1], SECOND, 1)
    a = asked(f[0], SECOND, "--wait=2")
    assert "event" in a.object()
    f.redis.kill()
    r = a.reply()
    assert (r["ok"], r["error"], r["changed"]) == (False, "unknown", True) or r["ok"], r
    assert held[0].read_end()[0] == b""


def test_a_reload_takes_the_pool_while_the_drain_is_written(drain_fleet):
    f = drain_fleet(1, store={"command_timeout": 60.0})
    t, web = f[0], f[0].settings["services"][0]
    f.redis.pause()
    a = asked(t, SECOND, "--wait=3600")
    del t.settings["node_pools"], web["nodes"]
    change(t, **{color: {"backends": [f"{FIRST}:{web[color]['port']}"]} for color in ("green", "blue")})
    t.ok("reload")
    f.redis.resume()
    r = a.reply()
    assert (r["error"], r["changed"]) == ("conflict", True) and "has that pool no more" in r["message"], r
    assert peers(t) == {FIRST}


@pytest.mark.parametrize("who", ["another", "the one that was asked"])
def test_an_upgrade_in_the_middle_goes_on_with_the_drain(drain_fleet, who):
    f = drain_fleet(2, supervised=True)
    held = held_on(f[0], SECOND, 2) + held_on(f[1], SECOND, 2)
    a = asked(f[0], SECOND, "--wait=3600")
    while a.object()["remaining"] != 4:
        pass
    t = f[who == "another"]
    t.ok("upgrade")
    assert nodes(t)[SECOND]["drain_until"]
    for c in held:
        c.echo()
    t.ok("reload")
    assert peers(t) == {FIRST}
    for c in held:
        c.echo().close()
    r = a.reply()
    assert (r["ok"], r["connections"]) == (True, 0), r


@pytest.mark.scales
def test_each_drain_that_said_0_was_true(drain_fleet, closing):
    """By the sockets of every process, under load, of which no request fails."""
    f = drain_fleet(2, quiet=True)
    with f.load(6, 0.005):
        for i in range(scaled(100, 4)):
            asker, host = f[i % 2], (SECOND, FIRST)[i // 2 % 2]
            held = [c for t in f for c in held_on(t, host, 2, "quiet")]
            r = asker.ctl("node", "drain", "main", host, "--wait=3600", "--spread=0.5")
            assert (r["ok"], r["connections"], r["cut"], r["teals"]) == (True, 0, 0, 2), r
            if host != FIRST:  # where everything else of this machine is, too
                assert [on(t, host) for t in f] == [set(), set()]
            for c in held:
                assert c.read_end()[0] == b""
            assert asker.ok("node", "ready", "main", host)["changed"]
            until(lambda: all(nodes(t)[host]["state"] == "ready" for t in f), "ready everywhere")


# ---- before kubectl drain ----

SCRIPT = scale.REPO / "conf/kubernetes/teal-drain-node"


@pytest.mark.nosan
def test_kubectl_drains_a_node_only_once_teal_has_let_go_of_it(still, ports, tmp_path, closing):
    api = closing.add(KubeApi(ports.hold(), Authority(tmp_path)))
    api.tokens = {"t0ken"}
    for name in ("one", "two"):
        api.objects.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {},
                            "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    kubectl = Kubectl(tmp_path, api.kubeconfig(tmp_path / "kubeconfig", "t0ken"))
    t = still(clock=False)

    def script(*words, **env):
        env = kubectl.env | {"TEALCTL": str(scale.BUILD / "tealctl"), "TEAL": t.admin_path, "KUBECTL": kubectl_program(),
                             "WAIT": "3600", "TEAL_SOAK": ""} | env
        return subprocess.run([SCRIPT, *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=2 * scale.patience())

    def cordoned():
        return api.objects.get("Node", "two")["spec"].get("unschedulable", False)
    held = held_on(t, SECOND, 1)
    p = script("drain", "main", SECOND, "two", WAIT="0")
    assert p.returncode == 0, p.stderr
    assert held[0].read_end()[0] == b"" and cordoned() and nodes(t)[SECOND]["state"] == "draining"
    # Repeated, as by a job that was killed.
    assert script("drain", "main", SECOND, "two").returncode == 0
    p = script("back", "main", SECOND, "two")
    assert p.returncode == 0, p.stderr
    assert not cordoned() and nodes(t)[SECOND]["state"] == "ready" and peers(t) == {FIRST, SECOND}

    # The last one: nothing is asked of Kubernetes.
    t.ok("node", "drain", "main", FIRST)
    p = script("drain", "main", SECOND, "two")
    assert p.returncode == 4 and "nothing was asked of Kubernetes" in p.stderr and not cordoned(), p.stderr
    t.ok("node", "ready", "main", FIRST)
    # kubectl's own failure is told by its status, and repeating goes on from there.
    refused = api.fault(500, None, path="/nodes/two")
    p = script("drain", "main", SECOND, "two")
    assert p.returncode == 1 and refused.hits and nodes(t)[SECOND]["state"] == "draining", p
    refused.lift()
    assert script("drain", "main", SECOND, "two").returncode == 0 and cordoned()
    for words in ((), ("drain", "main", SECOND), ("wipe", "main", SECOND, "two"), ("back", "main", SECOND, "two", "--force")):
        assert script(*words).returncode == 2


def test_a_node_that_is_ready_again_begins_slowly(still):
    t = still(slow_start=10000.0)
    assert t.ok("node", "drain", "main", SECOND, "--wait=0")["ok"]
    t.clock.move(20000)
    t.ok("node", "ready", "main", SECOND)
    met = [t.connect().peer for _ in range(60)]
    assert met.count(SECOND) < 12, met
    t.clock.move(20000)
    until(lambda: [t.connect().peer for _ in range(20)].count(SECOND) >= 9, "as many as the other one")


# ---- flows that the kernel forwards ----

def test_flows_of_the_kernel_end_too(topology, closing, teal):
    """And the kernel's own table is the proof."""
    one, two = topology.node(1), topology.node(2)
    for host in (one, two):
        closing.add(Farm(host, 80, host=host, place=topology.nodes))
    t = teal(place=topology.hop, node_pools={"main": [one, two]}, services=[
        {"name": "web", "mode": "tcp", "engine": "kernel", "listen": f"{topology.VIP}:80", "nodes": "main",
         "green": {"port": 80}, "blue": {"port": 81}, "health": {"type": "none"},
         "drain": {"timeout": 36000.0, "idle": 0.0}}])
    t.wait_ready()

    def connect():
        return closing.add(topology.clients.do(lambda: Client((topology.VIP, 80)))).echo()
    held = []
    while len([c for c in held if c.peer == two]) < 3:
        held.append(connect())
    mine = [c for c in held if c.peer == two]
    until(lambda: nodes(t)[two]["connections"] == len(mine), "counted")
    a = asked(t, two, "--wait=3600")
    while (o := a.object())["unsure"] > 0:
        pass
    assert o["remaining"] == len(mine)
    assert {connect().peer for _ in range(6)} == {one}
    mine.pop().close()
    b = asked(t, two, "--wait=0")
    r = b.reply()
    assert (r["ok"], r["connections"], r["cut"]) == (True, 0, len(mine)), r
    assert a.reply()["error"] == "conflict"
    for c in mine:
        c.sock.sendall(b"x")
        assert c.read_end()[1] == "reset"
    for c in held:
        if c.peer == one:
            c.echo()
    alive = [line for line in topology.hop.run("conntrack", "-L", "-p", "tcp", "--orig-dst", topology.VIP).splitlines()
             if " ESTABLISHED " in line and f"src={two} " in line]
    assert alive == []
    assert t.wait_log("tcp.session", len(mine), end="drained")["backend"] == f"{two}:80"


def test_what_a_reload_has_replaced_is_on_the_node_all_the_same(still, ports, closing):
    """Backends of a former port, and of a service that was removed: those have their own drain, and are counted."""
    t = still(clock=False)
    old = held_on(t, SECOND, 2)
    port = ports.hold()
    for host in HOSTS:
        closing.add(Farm(host, port, host))
    change(t, green={"port": port})
    t.ok("reload")
    new = held_on(t, SECOND, 1)
    for c in old:
        c.echo()
    assert nodes(t)[SECOND]["connections"] == 3
    r = t.ok("node", "drain", "main", SECOND, "--wait=0")
    assert (r["connections"], r["cut"]) == (0, 3), r
    for c in old + new:
        assert c.read_end()[0] == b""
    assert on(t, SECOND) == set()


def test_of_a_service_that_was_removed_what_is_left_is_told(teal, pool, ports):  # noqa: F811
    settings = pool().settings(health={"type": "none"}, drain={"timeout": 36000.0, "idle": 0.0})
    settings["services"].append(settings["services"][0] | {"name": "gone", "listen": f"127.0.0.1:{ports.hold()}"})
    t = teal(**settings)
    t.wait_ready()
    held = held_on(t, SECOND, 1, "gone")
    rewrite(t, services=t.settings["services"][:1])
    t.ok("reload")
    held[0].echo()
    p = t.tealctl("node", "drain", "main", SECOND, "--wait=0", check=6)
    assert "1 connections" in p.stderr and "the drain goes on" in p.stderr, p.stderr
    held[0].echo().close()
    assert t.ok("node", "drain", "main", SECOND, "--wait=0")["connections"] == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_end_in_the_middle_leaves_the_drain_to_the_next_start(still, end):
    """With its deadline; and the one who waits is told, if there is time to."""
    t = still(clock=False)
    held = held_on(t, SECOND, 1)
    a = asked(t, SECOND, "--wait=3600", "--spread=60")
    assert a.object()["remaining"] == 1
    before = nodes(t)[SECOND]
    if end == "stop":
        t.signal()
        assert a.reply()["error"] == "unknown"
        held[0].close()
        assert t.wait() == 0
    else:
        t.kill()
    t.start()
    t.wait_ready()
    now = nodes(t)[SECOND]
    assert (now["state"], now["state_since"], now["drain_until"]) == \
        ("draining", before["state_since"], before["drain_until"]) and peers(t) == {FIRST}
    assert t.ok("node", "drain", "main", SECOND, "--wait=0")["connections"] == 0


def test_an_upgrade_without_a_fleet_says_where_the_drain_goes_on(teal, pool):  # noqa: F811
    t = teal(start=False, **pool().settings(health={"type": "none"}, drain={"timeout": 36000.0, "idle": 0.0}))
    t.start(supervised=True)
    held = held_on(t, SECOND, 2)
    a = asked(t, SECOND, "--wait=3600")
    assert a.object()["remaining"] == 2
    t.ok("upgrade")
    r = a.reply()
    assert (r["ok"], r["error"], r["changed"]) == (False, "unknown", True) and "repeat the command" in r["message"], r
    assert peers(t) == {FIRST} and nodes(t)[SECOND]["connections"] == 2
    for c in held:
        c.echo()
    r = t.ok("node", "drain", "main", SECOND, "--wait=0")
    assert (r["connections"], r["cut"]) == (0, 2), r
    for c in held:
        assert c.read_end()[0] == b""
    assert on(t, SECOND) == set()
