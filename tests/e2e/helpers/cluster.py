"""A cluster whose nodes are network namespaces: each with its pods (helpers/pods.py, at addresses of their own), a
kube-proxy that does to packets what the real one does, for both externalTrafficPolicies, by nft, its health endpoints
(helpers/kube_proxy.py), and a Node object at the API stand-in. Balancers and clients are beside them in .lan. Root only.

What schedules pods is here, too: one that is evicted is replaced elsewhere, then taken out of all nodes' rules, and only
then told to end, as a rollout does with a preStop hook that waits for that."""
import subprocess
import sys
import threading

from . import scale
from .kube_api import KubeApi
from .kube_objects import Refused
from .kube_proxy import KubeProxy, ServiceHealth
from .topology import Namespace, cable

BALANCERS, API, HEALTH_PORT, REPLICAS = ("10.80.0.1", "10.80.0.2"), "10.80.0.3", 10256, 2
TCP, HTTP = 7000, 8080    # of pods


class Service:
    """A NodePort Service; .pods: {name: (Node, address)}, those that get new connections."""

    def __init__(self, i):
        self.name, self.mode, self.local = f"s{i}", ("tcp", "http")[i % 2], i // 2 % 2 == 0
        self.listen, self.port, self.health_port = 20000 + i, 30000 + i, 31000 + i if i // 2 % 2 == 0 else None
        self.pods = {}

    @property
    def pod_port(self):
        return TCP if self.mode == "tcp" else HTTP


class Node:
    def __init__(self, cluster, number):
        self.cluster, self.number, self.name = cluster, number, f"n{number}"
        self.host, self.space, self.alive, self._pods = f"10.80.1.{number}", Namespace(), True, 0
        cable(cluster.lan, self.name, self.space, "eth0")
        cluster.lan.ip(f"link set {self.name} master br0")
        self.space.sysctl(**{"net/ipv4/ip_forward": 1})
        self.space.ip(f"address add {self.host}/16 dev eth0", "route add 10.81.0.0/16 dev eth0")
        self._program = subprocess.Popen(
            [*self.space.prefix, sys.executable, "-S", "-E", str(scale.REPO / "tests/e2e/helpers/pods.py"), self.host, str(TCP), str(HTTP),
             *BALANCERS],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.proxy = self.space.do(lambda: KubeProxy(self.name, HEALTH_PORT, "0.0.0.0").start())
        self.healths = {s: self.space.do(lambda s=s: ServiceHealth(s.name, s.health_port, "0.0.0.0").start())
                        for s in cluster.services if s.local}
        for h in self.healths.values():
            h.endpoints = 0
        assert self._program.stdout.readline() == "ready\n"

    def pod_address(self):
        self._pods += 1
        address = f"10.81.{self.number}.{self._pods}"
        self.space.ip(f"address add {address}/32 dev lo")
        return address

    def tell_pod(self, verb, address):
        """Returns how many connections it has."""
        self._program.stdin.write(f"{verb} {address}\n")
        self._program.stdin.flush()
        return int(self._program.stdout.readline())

    def obey(self):
        """What kube-proxy writes: NodePorts to pods, by the service's policy; masquerades what it sends on to another node."""
        sent, dropped = [], []
        for s in self.cluster.services:
            to = [address for node, address in s.pods.values() if node is self or not s.local]
            if to:
                pods = ", ".join(f"{i} : {address}" for i, address in enumerate(to))
                sent.append(f"tcp dport {s.port} dnat to numgen random mod {len(to)} map {{ {pods} }}:{s.pod_port}")
            else:
                dropped.append(f"tcp dport {s.port} drop")
        lines = "\n".join
        self.space.nft(f"""table ip kube
delete table ip kube
table ip kube {{
	chain send {{ type nat hook prerouting priority dstnat;
{lines(sent)}
	}}
	chain away {{ type filter hook input priority filter;
{lines(dropped)}
	}}
	chain back {{ type nat hook postrouting priority srcnat;
		ct status dnat ip saddr 10.80.0.0/24 oifname eth0 masquerade
	}}
}}
""")
        for s, health in self.healths.items():
            health.endpoints = sum(node is self for node, _ in s.pods.values())

    def flows(self):
        """Of the balancers to the services: those that conntrack has as open, and the sockets of pods here."""
        ports = {f"dport={s.port}" for s in self.cluster.services}
        tracked = [line for line in self.space.run("conntrack", "-L", "-p", "tcp").splitlines()
                   if (words := line.split())[3] in ("ESTABLISHED", "SYN_SENT", "SYN_RECV", "CLOSE_WAIT")
                   and words[4].removeprefix("src=") in BALANCERS and ports & {w for w in words[5:8]}]
        sockets = [line for line in self.space.run("ss", "-Htn", "state", "established", f"( sport = :{TCP} or sport = :{HTTP} )")
                   .splitlines() if line.split()[3].rsplit(":", 1)[0] in BALANCERS]
        return tracked + sockets

    def die(self):
        """Without a word: nothing goes in or out any more."""
        self.alive = False
        self.cluster.lan.ip(f"link set {self.name} down")
        for node in self.cluster.nodes.values():
            if node.alive:
                node.tell_pod("lost", self.host)

    def close(self):
        self.alive = False
        for server in (self.proxy, *self.healths.values()):
            server.close()
        self._program.stdin.close()
        self._program.kill()
        self._program.wait()
        self._program.stdout.close()
        subprocess.run([*self.cluster.lan.prefix, "ip", "link", "delete", self.name], check=False, capture_output=True)
        self.space.close()


class Cluster:
    """.nodes by name, .services, .api, .lan."""

    def __init__(self, n_nodes, n_services, ports, authority):
        self.lan, self.nodes, self.api, self._numbers = Namespace(), {}, None, 0
        self._lock, self._leaving = threading.RLock(), set()
        try:
            self.lan.ip("link add br0 type bridge", "link set br0 up", *(f"address add {a}/16 dev br0" for a in (*BALANCERS, API)))
            self.services = [Service(i) for i in range(n_services)]
            self.api = self.lan.do(lambda: KubeApi(ports.hold(), authority, names=(API,), host=API))
            for _ in range(n_nodes):
                self.add()
            self.settle()
        except BaseException:
            self.close()
            raise

    def add(self):
        """A node that is Ready."""
        self._numbers += 1
        node = self.nodes[f"n{self._numbers}"] = Node(self, self._numbers)
        self.api.objects.create({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name}, "spec": {}, "status": {
                "conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": node.host}]}})
        return node

    def remove(self, node):
        """The machine ends."""
        with self._lock:
            del self.nodes[node.name]
            node.close()

    def _takes_pods(self, node):
        try:
            spec = self.api.objects.get("Node", node.name)["spec"]
        except Refused:
            return False
        return node.alive and node not in self._leaving and not spec.get("unschedulable") and not spec.get("taints")

    def settle(self):
        """Replaces pods that were evicted, and those of nodes that are gone."""
        with self._lock:
            there = {p["metadata"]["name"] for p in self.api.objects.list("Pod")[0]}
            gone = []
            for s in self.services:
                ended = [name for name in s.pods if name not in there]
                while len(s.pods) - len(ended) < REPLICAS:
                    self._make(s)
                gone += [s.pods.pop(name) for name in ended]
            for node in self.nodes.values():
                if node.alive:
                    node.obey()
            for node, address in gone:
                if node.alive:
                    node.tell_pod("retire", address)
            return gone

    def _make(self, s):
        """On the node that has the fewest of this service, then of all."""
        def crowd(node):
            return (sum(n is node for n, _ in s.pods.values()), sum(n is node for t in self.services for n, _ in t.pods.values()))
        node = min((n for n in self.nodes.values() if self._takes_pods(n)), key=crowd)
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": True, "name": s.name, "uid": s.name}
        pod = self.api.objects.create({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": f"{s.name}-", "ownerReferences": [owner]},
            "spec": {"nodeName": node.name}, "status": {"phase": "Running"}}, "default")
        s.pods[pod["metadata"]["name"]] = (node, node.pod_address())

    def evict(self, node, only=lambda service: True):
        """Its pods are elsewhere afterwards, and those that were here have let go of their last connection."""
        with self._lock:
            self._leaving.add(node)
            for s in filter(only, self.services):
                for name, (at, _) in list(s.pods.items()):
                    if at is node:
                        self.api.objects.delete("Pod", name, "default")
            gone = self.settle()
            self._leaving.discard(node)
        self.wait_ended(gone)

    def wait_ended(self, gone):
        for node, address in gone:
            if node.alive:
                scale.until(lambda n=node, a=address: n.tell_pod("count", a) == 0, f"{address} on {node.name} is left")

    def close(self):
        for node in list(self.nodes.values()):
            self.remove(node)
        if self.api:
            self.api.close()
        self.lan.close()
