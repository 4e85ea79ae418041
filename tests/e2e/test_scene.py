"""A night: forty services on four nodes, of which one dies and one is drained, and a deployment
whose new version fails for one request in fifty.  What the alerts, the log, the lists and the
metrics say of that, and what they do not."""
import contextlib
import json
import pathlib
import subprocess
import sys

import pytest

from helpers import scale
from helpers.scale import until
from helpers.stack import Stack
from helpers.tealbench import Running
from helpers.terminal import Terminal

pytestmark = pytest.mark.nosan  # other people's programs, and what is said; each part is tested elsewhere, too

SERVICES = [f"s{i:02d}" for i in range(40)]
NODES = [f"127.0.0.{i}" for i in range(1, 5)]
DEAD, DRAINED = NODES[2:]
FLIPPED = "s07"


class Node:
    def __init__(self, host, good, bad):
        self.host = host
        program = pathlib.Path(__file__).parent / "helpers/node.py"
        self._proc = subprocess.Popen([sys.executable, "-S", "-E", str(program), host, *map(str, good), "-", *map(str, bad)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._proc.stdout.readline() == "ready\n"

    def close_port(self, port):
        print("close", port, file=self._proc.stdin, flush=True)
        assert self._proc.stdout.readline() == "closed\n"

    def close(self):
        if self._proc.poll() is None:
            self._proc.kill()
        self._proc.wait(scale.patience())
        for f in (self._proc.stdin, self._proc.stdout):
            with contextlib.suppress(OSError):
                f.close()


class Scene:
    def __init__(self, teal, ports, closing):
        self.green, self.blue = ({s: ports.hold() for s in SERVICES} for _ in range(2))
        bad = [self.blue[FLIPPED]]
        good = [p for p in [*self.green.values(), *self.blue.values()] if p not in bad]
        self.nodes = {h: closing.add(Node(h, good, bad)) for h in NODES}
        self.teal = teal(start=False, node_pools={"main": NODES}, log={"level": "info", "access": False}, services=[
            {"name": s, "mode": "http", "listen": f"127.0.0.1:{ports.hold()}", "nodes": "main",
             "green": {"port": self.green[s]}, "blue": {"port": self.blue[s]}, "drain": {"timeout": 1.0},
             "health": {"interval": 1.0, "timeout": 1.0, "rise": 1, "fall": 2}} for s in SERVICES]).start(supervised=True)
        until(lambda: {h: n["up"] for h, n in self.list().items()} == {h: 80 for h in NODES}, "all are up", every=0.2)

    def list(self):
        p, = self.teal.ok("node", "list", "--brief")["pools"]
        return {n["host"]: n for n in p["nodes"]}

    def trouble(self):
        """What `status --trouble` shows: nodes, and services with the words of their trouble."""
        r = self.teal.ok("status", "--trouble", "--summary")
        assert r["well"] + len(r["services"]) == len(SERVICES)
        return [n["host"] for n in r["nodes"]], {s["name"]: [t["what"] for t in s["trouble"]] for s in r["services"]}

    def screen(self, *words):
        """The lines that a person sees."""
        t = Terminal(scale.BUILD / "tealctl", "-s", self.teal.admin_path, "--no-color", *words, rows=60, columns=320)
        assert t.end() == 0
        lines = t.lines
        t.close()
        return [line for line in lines if line]

    def load(self, closing):
        closing.add(Running("%s:%d" % self.teal.address(FLIPPED), "--mode=http", "--rate=400", "--connections=4"))
        until(lambda: self.teal.metrics().get("teal_requests_total", service=FLIPPED, code="200") > 50, "traffic", every=0.2)

    def drain_and_stop(self):
        self.teal.ok("node", "drain", "main", DRAINED)
        self.nodes[DRAINED].close()
        until(lambda: self.list()[DRAINED]["health"] == "down", "the drained one is off", every=0.2)

    def kill(self):
        self.nodes[DEAD].close()
        until(lambda: self.list()[DEAD]["health"] == "down", "the dead one is seen", every=0.2)

    def tear_down_green(self, service):
        for h in NODES[:2]:
            self.nodes[h].close_port(self.green[service])


@pytest.fixture
def scene(teal, ports, closing):
    return Scene(teal, ports, closing)


# What a busy machine has of its own: a page that does not come within Prometheus' second, a loop that stands.
BUSY = {"TealDown", "TealHeld"}


def said(stack):
    return stack.said() - BUSY


def test_forty_services_on_a_dead_node_are_one_alert(scene, ports, closing, tmp_path):
    t = scene.teal
    stack = Stack(tmp_path / "stack", ports, closing, window="5m", every="2s")
    stack.watch("prod", t.observe)
    until(lambda: len(stack.query("teal_node_up == 1")) == 4, "scraped", every=0.1)
    assert said(stack) == set()

    # On purpose: a note after hours, and nothing else.  And forty services have lost a backend: all forty
    # alerts are the dead node's one.
    scene.drain_and_stop()
    scene.kill()
    stack.wait_for("TealNodeDown", node=DEAD)
    stack.wait_for("TealNodeDrained", fleet="prod", pool="main", node=DRAINED)

    def hidden():
        return [a for a in stack.active() if a["labels"]["alertname"] == "TealBackendDown" and a["status"]["inhibitedBy"]]
    until(lambda: len(hidden()) == len(SERVICES), "forty backends whose node says it", every=0.2)
    assert {a["labels"]["node"] for a in hidden()} == {DEAD}
    assert said(stack) == {"TealNodeDrained", "TealNodeDown"}
    assert [a["labels"]["node"] for a in stack.active() if a["labels"]["alertname"] == "TealNodeDown"] == [DEAD]

    # One in fifty: not the night's call, but more than before.
    scene.load(closing)
    t.ok("flip", FLIPPED, "blue", "--reason=deploy 8812")
    stack.wait_for("TealErrorsRoseAfterFlip", service=FLIPPED)

    # The old version is torn down: the way back is gone, of that one service.
    scene.tear_down_green(FLIPPED)
    stack.wait_for("TealRollbackImpossible", service=FLIPPED)
    assert [a["labels"]["service"] for a in stack.active() if a["labels"]["alertname"] == "TealRollbackImpossible"] == [FLIPPED]
    assert said(stack) == {"TealNodeDrained", "TealNodeDown", "TealErrorsRoseAfterFlip", "TealRollbackImpossible"}
    # Nothing of it wakes anybody.
    assert {a["receiver"] for a in stack.hook.got if a["labels"]["alertname"] not in BUSY} <= {"tickets", "channel"}


def test_lists_and_the_log_name_what_is_wrong_and_not_what_follows(scene, closing):
    t = scene.teal
    assert scene.trouble() == ([], {})
    assert "nothing needs attention: 40 services are well" in scene.screen("status", "--trouble")
    scene.drain_and_stop()
    scene.kill()
    assert scene.trouble() == ([DEAD], {})
    rows = t.tealctl("node", "list", check=0).stdout.splitlines()
    assert [r.split("\t")[2:10] for r in rows] == [
        [h, "configured", "draining" if h == DRAINED else "ready", "0", "-", "-", "80" if h in NODES[:2] else "0", "80"]
        for h in NODES]
    lines = scene.screen("node", "list")
    assert ["80/80 up" in line for line in lines[1:]] == [True, True, False, False]
    assert "ready, down" in lines[3] and "connection refused" in lines[3] and "draining, down" in lines[4]
    assert max(map(len, lines + rows)) < 150

    scene.load(closing)
    t.ok("flip", FLIPPED, "blue")
    until(lambda: scene.trouble() == ([DEAD], {FLIPPED: ["errors"]}), "its errors", every=0.2)
    one, = t.ok("status", "--trouble")["services"]
    told, = one["trouble"]
    assert told["severity"] == "warning" and "0.0 % before the flip to blue" in told["message"], told
    # With its way back, it is two things.
    assert one["rollback"] == {"to": "green", "possible": True, "why": None}
    scene.tear_down_green(FLIPPED)
    until(lambda: scene.trouble()[1][FLIPPED] == ["errors", "rollback_impossible"], "no way back", every=0.2)
    r = t.ctl("rollback", FLIPPED)
    assert r["error"] == "unhealthy" and r["changed"] is False
    lines = scene.screen("status", "--trouble")
    services = [line for line in lines if line.startswith("s0")]
    assert len(services) == 1 and services[0].startswith(FLIPPED) and "no way back: green has " in services[0]
    assert "39 other services are well" in lines

    # One line for each node, whatever its backends say.
    assert [(x["level"], x["node"], x["total"], x["drained"]) for x in t.log_lines("node.down")] == \
        [("info", DRAINED, 80, True), ("warn", DEAD, 80, False)]

    # The states are not of one process: an upgrade and a reload go on with them.
    up = dict(zip(NODES, (79, 79, 0, 0)))
    until(lambda: {h: n["up"] for h, n in scene.list().items()} == up, "the old version is gone", every=0.2)
    before = scene.list()
    t.ok("upgrade")
    until(lambda: {h: n["up"] for h, n in scene.list().items()} == up, "known again", every=0.2)
    after = scene.list()
    assert {h: (n["state"], n["health"], n["since"], n["total"]) for h, n in after.items()} == \
        {h: (n["state"], n["health"], n["since"], n["total"]) for h, n in before.items()}
    assert scene.trouble()[0] == [DEAD] and "rollback_impossible" in scene.trouble()[1][FLIPPED]


def test_a_list_reads_no_more_than_it_shows(scene):
    """Of forty services; a thousand would be 25 times as much."""
    t = scene.teal

    def size(*words):
        return len(json.dumps(t.ok(*words), separators=(",", ":")))
    full, brief, summary, trouble = (size("status", *w) for w in ((), ("--brief",), ("--summary",), ("--summary", "--trouble")))
    assert summary < brief / 2 < full / 4 and trouble < 2000, (full, brief, summary, trouble)
    # And what is shown is all there.
    row, = [line for line in t.tealctl("status", check=0).stdout.splitlines() if line.startswith("service\ts07\t")]
    assert row.split("\t")[2:18] == ["http", "green", "1", "4", "4", "0", "4", "4", "0", "-", "unlocked",
                                     row.split("\t")[13], "-", "-", "yes", "-"]
    assert len([line for line in scene.screen("status") if "not flipped" in line]) == 40
