"""A cluster whose nodes come and go while TCP, HTTP and WebSockets are used through two Teals: no request fails, but what
was under way on a node that was killed; and after a drain that said 0 connections the node's own kernel has none."""
import datetime
import json
import subprocess
import sys
import time

import pytest

from helpers import scale
from helpers.certificates import Authority
from helpers.cluster import BALANCERS, HEALTH_PORT, Cluster
from helpers.kubectl import Kubectl, patiently
from helpers.scale import scaled, until
from helpers.topology import possible

pytestmark = [pytest.mark.nosan, pytest.mark.skipif(not possible(), reason="needs root, and network namespaces")]
HOOK = scale.REPO / "conf/kubernetes/teal-drain-node"
LONG = 36000.0


class MixedLoad:
    """helpers/mixed_load.py: clients of every service through every Teal."""

    def __init__(self, cluster, pause):
        self._process = subprocess.Popen(
            [*cluster.lan.prefix, sys.executable, "-S", "-E", str(scale.REPO / "tests/e2e/helpers/mixed_load.py"), str(pause)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for s in cluster.services:
            for kind in ("tcp",) if s.mode == "tcp" else ("http", "websocket"):
                for host in BALANCERS:
                    self._process.stdin.write(f"{kind} {s.name} {host} {s.listen}\n".encode())
        self._say(b"\n")

    def _say(self, line):
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def more(self):
        """Every client has begun and ended something."""
        self._say(b"more\n")
        assert self._process.stderr.readline() == b"enough\n"

    def finish(self):
        out, err = self._process.communicate(timeout=4 * scale.patience())
        assert self._process.returncode == 0, err.decode()
        return json.loads(out)

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for f in (self._process.stdin, self._process.stdout, self._process.stderr):
            f.close()


class Lives:
    """One of the methods of LIVES is what happens to a node; .killed: [(node, since, until)]."""

    def __init__(self, cluster, teals, kubectl, load):
        self.cluster, self.teals, self.kubectl, self.load = cluster, teals, kubectl, load
        self.killed, self.asked, self.counted = [], 0, 0

    def states(self, t):
        pool, = t.ok("node", "list", "main")["pools"]
        return {n["host"]: n for n in pool["nodes"]}

    def wait_state(self, node, state):
        for t in self.teals:
            until(lambda t=t: self.states(t).get(node.host, {}).get("state") == state, f"{node.host} is {state}")

    def wait_left(self, node):
        """Each Teal says that it has no connection there, and the node's kernel says so, too."""
        for t in self.teals:
            until(lambda t=t: self.states(t).get(node.host, {"connections": 0})["connections"] == 0, f"{node.host} is left")
        self.none_on(node)

    def none_on(self, node):
        # The last packets may be on their way.
        until(lambda: not node.flows(), f"no flow of Teal on {node.host}: {node.flows()}")
        self.counted += 1

    def settled(self):
        """Both Teals use the nodes that there are, as far as these have endpoints."""
        hosts = {n.host for n in self.cluster.nodes.values()}

        def as_it_should_be(t):
            nodes = self.states(t)
            if {h: n["state"] for h, n in nodes.items()} != dict.fromkeys(hosts, "ready"):
                return False
            for s in t.ok("status")["services"]:
                service = next(x for x in self.cluster.services if x.name == s["name"])
                here = {n.host for n, _ in service.pods.values()} if service.local else hosts
                up = {b["address"].split(":")[0] for c in s["colors"].values() for b in c["backends"] if b["state"] == "up"}
                if up != here:
                    return False
            return True
        for t in self.teals:
            until(lambda t=t: as_it_should_be(t), f"all use {hosts}", every=scaled(1.0, 0.1))

    def replace(self, node):
        """The machine goes, and another one comes."""
        self.cluster.remove(node)
        self.cluster.add()

    # ---- lives ----

    def cordoned(self, node):
        self.kubectl("cordon", node.name)
        self.wait_state(node, "draining")
        self.load.more()
        self.wait_left(node)
        self.kubectl("uncordon", node.name)

    def drained(self, node):
        self.asked += 1
        env = self.kubectl.env | {"TEALCTL": str(scale.BUILD / "tealctl"), "TEAL": self.teals[self.asked % 2].admin_path,
                                  "WAIT": str(int(LONG)), "READY": str(int(scale.patience()))}

        def hook(verb):
            return patiently(lambda: subprocess.run(
                [*self.cluster.lan.prefix, HOOK, verb, "main", node.host, node.name], env=env, capture_output=True, text=True,
                stdin=subprocess.DEVNULL, timeout=4 * scale.patience()))

        def drain():
            """Refused (4) while the checks find the other nodes of a service down, as on a machine that stands still."""
            self.settled()
            done = hook("drain")
            return done if done.returncode != 4 else None
        p = until(drain, f"{node.host} is drained")
        assert p.returncode == 0 and f"drained\tmain\t{node.host}\t0\t2" in p.stdout, (p.stdout, p.stderr)
        self.none_on(node)
        self.cluster.wait_ended(self.cluster.settle())
        self.load.more()
        self.none_on(node)
        p = hook("back")
        assert p.returncode == 0, (p.stdout, p.stderr)

    def scaled_down(self, node):
        """By an autoscaler."""
        self.kubectl("taint", "nodes", node.name, "ToBeDeletedByClusterAutoscaler=1:NoSchedule")
        node.proxy.eligible = False
        self.wait_state(node, "draining")
        self.wait_left(node)
        self.cluster.evict(node)
        self.kubectl("delete", "node", node.name)
        self.load.more()
        self.none_on(node)
        self.replace(node)

    def deleted(self, node):
        self.kubectl("delete", "node", node.name)
        node.proxy.eligible = False
        for t in self.teals:
            until(lambda t=t: node.host not in self.states(t), f"{node.host} is no node any more")
        self.none_on(node)
        self.cluster.evict(node)
        self.replace(node)

    def killed_silently(self, node):
        """Pods of services that every node forwards to are elsewhere by then: with those, connections through other nodes die."""
        self.cluster.evict(node, lambda service: not service.local)
        since = time.monotonic()
        node.die()
        self.killed.append((node.host, since, time.monotonic()))
        for t in self.teals:
            until(lambda t=t: all(b["state"] == "down" for s in t.ok("status")["services"] for c in s["colors"].values()
                                  for b in c["backends"] if b["address"].startswith(node.host + ":")), f"{node.host} is down")
        self.load.more()
        self.cluster.evict(node)
        self.kubectl("delete", "node", node.name)
        self.replace(node)


LIVES = (Lives.cordoned, Lives.drained, Lives.scaled_down, Lives.deleted, Lives.killed_silently)


def settings(cluster, host, redis, token):
    health = {"type": "kube-proxy", "interval": scaled(2.0, 0.3), "timeout": scaled(10.0, 3.0), "fall": 2, "rise": 1}
    services = [{"name": s.name, "mode": s.mode, "listen": f"{host}:{s.listen}", "nodes": "main", "port": s.port,
                 "on_down": "reset", "connect_timeout": 2.0, "drain": {"timeout": LONG, "idle": LONG}}
                | ({"health": health | {"port": s.health_port}} if s.local else {}) for s in cluster.services]
    return {"services": services, "store": {"type": "redis", "url": f"unix://{redis.path}", "prefix": "teal:lives"},
            "node_pools": {"main": {"health": health | {"port": HEALTH_PORT}, "kubernetes": {
                "server": cluster.api.url, "token_file": str(token), "ca": cluster.api.ca, "min_ready": 1,
                "drain_timeout": LONG}}}}


@pytest.mark.scales
@pytest.mark.long
def test_nodes_come_and_go_and_no_request_fails(teal, ports, closing, redis, tmp_path):
    dice, store, token = scale.dice(), redis(), tmp_path / "token"
    token.write_text("t0ken\n")
    token.chmod(0o600)
    cluster = closing.add(Cluster(scaled(6, 3), scaled(40, 4), ports, Authority(tmp_path)))
    cluster.api.tokens = {"t0ken"}
    kubectl = Kubectl(tmp_path, cluster.api.kubeconfig(tmp_path / "kubeconfig", "t0ken"), cluster.lan)
    teals = [teal(start=False, place=cluster.lan, **settings(cluster, host, store, token)) for host in BALANCERS]
    for t in teals:
        t.start(ready=False)
    for t in teals:
        t.wait_ready()
    load = closing.add(MixedLoad(cluster, scaled(1.0, 0.1)))
    lives = Lives(cluster, teals, kubectl, load)
    lives.settled()
    order = list(LIVES) if not scale.SOAK else []
    dice.shuffle(order)
    for n in range(scaled(100, len(LIVES))):
        life = order[n] if order else dice.choice(LIVES)
        node = dice.choice(list(cluster.nodes.values()))
        print(n, life.__name__, node.host, round(time.monotonic(), 3))
        life(lives, node)
        cluster.settle()
        lives.settled()
        load.more()
    done = load.finish()
    failed = [r for r in done if r[-1]]
    print(len(done), "requests,", len(failed), "failed, of nodes killed:", len(lives.killed), "; counted 0:", lives.counted)

    # For Teal a node whose answers a busy machine delays is as good as killed.
    since_1970 = time.time() - time.monotonic()
    for line in (line for t in teals for line in t.log_lines("backend.down")):
        at = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp() - since_1970
        lives.killed.append((line["backend"].split(":")[0], at - 1, at + 1))

    def was_under_way(kind, name, begun, ended, way, error):
        hop = way.split()[1] if way else None
        return kind != "http" and any(begun <= until_ and ended >= since and hop in (host, None) for host, since, until_ in lives.killed)
    assert [r for r in failed if not was_under_way(*r)] == []
    assert {r[0] for r in done} == {"tcp", "http", "websocket"}
