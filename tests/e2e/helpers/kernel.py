"""The stage of the kernel engine's stories: a TCP and a UDP service whose
flows the hop forwards, colors that say who they are, flows that are held."""
import datetime
import re
import socket
import time

from . import scale
from .backends import Farm
from .clients import Client, Load
from .teald import service

COLORS = ("green", "blue")
WEB, DNS = 80, 53
NODES = 2  # of each color


def other(color):
    return COLORS[color == "green"]


def addresses(topology, color, n=NODES, six=False):
    """The nodes of a color: 1, 2, … green's, 101, 102, … blue's."""
    make = topology.node6 if six else topology.node
    return [make(i + (1 if color == "green" else 101)) for i in range(n)]


def farms(topology, closing, color, udp=False, six=False):
    return [closing.add(Farm(color, DNS if udp else WEB, host=a, place=topology.nodes, udp=udp))
            for a in addresses(topology, color, six=six)]


def kernel_service(name, topology, green, blue, udp=False, six=False, **keys):
    vip, port = f"[{topology.VIP6}]" if six else topology.VIP, DNS if udp else WEB
    more = {"mode": "udp", "health": {"type": "none"}} if udp else {}
    return service(name, listen=f"{vip}:{port}", green=green, blue=blue, engine="kernel") | more | keys


class Flow:
    """A UDP flow: of that source, to that address."""

    def __init__(self, topology, source, where):
        def make():
            s = socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((source, 0))
            s.connect(where)
            return s
        self.sock = topology.clients.do(make)
        self.sock.settimeout(1.0)
        self._asked = 0
        self.peer = self.ask()

    def ask(self):
        """The name of who answers; what is lost is asked again."""
        end = time.monotonic() + scale.patience()
        self._asked += 1
        while time.monotonic() < end:
            try:
                self.sock.send(b"%d" % self._asked)
                while True:
                    name, _, number = self.sock.recv(2048).partition(b" ")
                    if int(number) == self._asked:
                        return name.decode()
            except TimeoutError:
                pass
        raise AssertionError("no answer")

    def close(self):
        self.sock.close()


class Stage:
    """teald in the hop with services "web" and "dns", both by the kernel engine;
    six: all of it by IPv6; more: further services."""

    def __init__(self, topology, closing, make_teal, top=None, six=False, start=True, more=(), **keys):
        self.topology, self.closing = topology, closing
        self.vip = topology.VIP6 if six else topology.VIP
        self.source = topology.source6 if six else topology.source
        self.sources = topology.SOURCES6 if six else topology.SOURCES
        self.web = {c: farms(topology, closing, c, six=six) for c in COLORS}
        self.dns = {c: farms(topology, closing, c, udp=True, six=six) for c in COLORS}
        keys = {"drain": {"timeout": 600.0, "idle": 0.0}} | keys
        self.teal = make_teal(place=topology.hop, start=start, services=[
            kernel_service("web", topology, self.web["green"], self.web["blue"], six=six, **keys),
            kernel_service("dns", topology, self.dns["green"], self.dns["blue"], udp=True, six=six, **keys), *more],
            **(top or {}))
        self.held = {"web": [], "dns": []}
        self.made = 0

    def load(self, udp=False, clients=10, think=0.02):
        return self.closing.add(Load(self.vip, DNS if udp else WEB, clients, think, place=self.topology.clients,
                                     sources=self.sources, udp=udp))

    def another(self):
        """A source address that nobody had before; loads begin at the other end."""
        self.made += 1
        return self.source(65000 - self.made)

    def connect(self):
        """A connection of a client with an address of its own."""
        source = self.another()
        return self.closing.add(self.topology.clients.do(lambda: Client((self.vip, WEB), source=(source, 0))))

    def ask(self):
        """A new UDP flow, of such a client."""
        return self.closing.add(Flow(self.topology, self.another(), (self.vip, DNS)))

    def hold(self):
        """One more connection and one more flow, held for good.  The connection is silent from here on: its last
        acknowledgement, which may wait for 200 ms, would be answered by a reset where the rules have just been taken away."""
        c, f = self.connect(), self.ask()
        c.echo()
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self.held["web"].append(c)
        self.held["dns"].append(f)
        return c, f

    def check_held(self):
        """Each still speaks with the color that it began with."""
        for c in self.held["web"]:
            c.echo(b"still here")
        for f in self.held["dns"]:
            assert f.ask() == f.peer

    def tracked(self, udp=False):
        """What the hop's kernel itself says: {color: flows that are alive}."""
        text = self.topology.hop.run("conntrack", "-L", "-p", "udp" if udp else "tcp",
                                     "--orig-port-dst", DNS if udp else WEB, "--orig-dst", self.topology.VIP)
        alive = [line for line in text.splitlines() if udp or " ESTABLISHED " in line]
        counts = {}
        for color in COLORS:
            nodes = set(addresses(self.topology, color))
            # Each line has two tuples; the answer comes from the node.
            counts[color] = sum(re.findall(r"src=(\S+)", line)[1] in nodes for line in alive)
        return counts

    def counted(self, name):
        """What teald says of the same."""
        return {c: self.teal.status(name)["colors"][c]["connections"] for c in COLORS}


def report(capfd, words):
    """A measured line, for people: in soak runs past the capture."""
    if scale.SOAK:
        with capfd.disabled():
            print("\n" + words, flush=True)
    else:
        print(words)


def quantiles(ms):
    """"p50 … ms, p99 … ms, most … ms"."""
    ms = sorted(ms)
    p50, p99 = (ms[min(len(ms) - 1, int(q * len(ms)))] for q in (0.5, 0.99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, most {ms[-1]:.2f} ms"


def after_commit(teal):
    """Milliseconds of each flip from its commit, which is the store's, to its
    being applied, which is the engine's, by teald's own clock."""
    begun, took = {}, []
    for line in teal.logs:
        if line["event"] in ("flip.committed", "flip.applied"):
            at = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()
            if line["event"] == "flip.committed":
                begun[line["service"], line["epoch"]] = at
            else:
                took.append(1e3 * (at - begun[line["service"], line["epoch"]]))
    return took
