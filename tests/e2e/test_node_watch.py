"""Pools whose nodes a Kubernetes API tells (helpers/kube_api.py stands in for it)."""
import json

import pytest

from helpers.backends import Farm
from helpers.certificates import Authority
from helpers.kube_api import KubeApi
from helpers.scale import until

HOSTS = {n: f"127.0.0.{i}" for i, n in enumerate("abcd", 1)}
HEALTH = {"interval": 0.2, "timeout": 20.0, "rise": 1, "fall": 2}
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
AUTOSCALER = {"key": "ToBeDeletedByClusterAutoscaler", "value": "1", "effect": "NoSchedule"}


def node(name, host=None, **labels):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"role": "worker"} | labels}, "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                       "addresses": [{"type": "Hostname", "address": name},
                                     {"type": "InternalIP", "address": host or HOSTS[name]}]}}


class Cluster:
    """Nodes a to d, of which those of `names` are there at first; each serves green of "web", named by its name."""

    def __init__(self, tmp_path, ports, closing, names="abc"):
        self.port, self.blue, self.listen = ports.hold(), ports.hold(), f"127.0.0.1:{ports.hold()}"
        self.closing, self.tmp_path, self.ports = closing, tmp_path, ports
        self.farms = {n: closing.add(Farm(n, self.port, h)) for n, h in HOSTS.items()}
        closing.add(Farm("blue", self.blue))
        self.authority = Authority(tmp_path)
        self.api = closing.add(KubeApi(ports.hold(), self.authority))
        self.api.tokens = {"t0ken"}
        self.token = tmp_path / "kube.token"
        self.token.write_text("t0ken\n")
        self.token.chmod(0o600)
        for n in names:
            self.api.objects.create(node(n))

    def settings(self, servers=None, kube=None, **keys):
        watch = {"server": servers or self.api.url, "token_file": str(self.token), "ca": self.api.ca, "selector": "role=worker"}
        return {"services": [{"name": "web", "mode": "tcp", "listen": self.listen, "nodes": "main", "health": HEALTH,
                              "retry_pause": 0.0, "green": {"port": self.port}, "blue": {"port": self.blue}} | keys],
                "node_pools": {"main": {"kubernetes": watch | (kube or {})}}}

    def change(self, name, **spec):
        """spec of a node: unschedulable, taints; None takes away."""
        self.api.objects.change("Node", name, "", lambda old: old | {"spec": {k: v for k, v in (old["spec"] | spec).items()
                                                                             if v is not None}})

    def label(self, name, **labels):
        def make(old):
            labels_now = {k: v for k, v in (old["metadata"]["labels"] | labels).items() if v is not None}
            return old | {"metadata": old["metadata"] | {"labels": labels_now}}
        self.api.objects.change("Node", name, "", make)


@pytest.fixture
def cluster(tmp_path, ports, closing):
    return lambda names="abc": Cluster(tmp_path, ports, closing, names)


def pool(teal):
    p, = teal.ok("node", "list", "main")["pools"]
    return p


def nodes(teal):
    """{"a": ("ready", "ready")}: what becomes of it, and why."""
    return {n["cluster_name"]: (n["state"], n["cluster"]) for n in pool(teal)["nodes"] if "cluster" in n}


def wait_nodes(teal, **expected):
    until(lambda: nodes(teal) == expected, f"{expected}")


def peers(teal, n=16):
    found = set()
    for _ in range(n):
        c = teal.connect()
        found.add(c.peer)
        c.close()
    return found


def wait_peers(teal, names):
    """New connections reach these alone, once the checks have passed."""
    until(lambda: peers(teal) == set(names), f"only {names}")


READY = ("ready", "ready")


def test_nodes_come_and_go_as_the_api_tells(teal, cluster):
    k = cluster()
    t = teal(**k.settings())
    wait_peers(t, "abc")
    assert nodes(t) == {"a": READY, "b": READY, "c": READY}
    n, = (n for n in pool(t)["nodes"] if n["host"] == HOSTS["a"])
    assert (n["origin"], n["changed"], n["cluster_taint"]) == ("cluster", False, None) and n["cluster_since"]
    assert pool(t)["watch"] == {"up": True, "age": pool(t)["watch"]["age"], "server": k.api.url, "problem": None}

    k.api.objects.create(node("d"))
    wait_peers(t, "abcd")

    k.label("a", **{EXCLUDE: ""})
    wait_nodes(t, a=("draining", "excluded"), b=READY, c=READY, d=READY)
    wait_peers(t, "bcd")
    k.change("b", taints=[AUTOSCALER])
    wait_nodes(t, a=("draining", "excluded"), b=("draining", "tainted"), c=READY, d=READY)
    wait_peers(t, "cd")
    k.label("a", **{EXCLUDE: None})
    k.change("b", taints=None)
    wait_peers(t, "abcd")

    # A node that goes drains what it has, and is a node no more once that is over.
    held = next(c for c in iter(t.connect, None) if c.peer == "d" or c.close())
    k.api.objects.delete("Node", "d")
    wait_nodes(t, a=READY, b=READY, c=READY, d=("draining", "deleted"))
    wait_peers(t, "abc")
    held.echo()
    assert not t.log_lines("node.gone")
    held.close()
    t.wait_log("node.gone", node=HOSTS["d"])
    wait_nodes(t, a=READY, b=READY, c=READY)
    # A label that the selector does not want is as good as gone.
    k.label("c", role="other")
    wait_peers(t, "ab")
    wait_nodes(t, a=READY, b=READY)
    t.wait_log("node.watched", node=HOSTS["b"], to="tainted", reason=f"{AUTOSCALER['key']}:NoSchedule")
