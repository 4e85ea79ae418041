"""The whole hop: clients, a balancer and nodes in network namespaces of their
own, joined by cables (veth pairs); what forwarding costs the whole machine,
over routing the same packets with nobody in between.

Each way has a namespace of its own, so that one's rules are not on another's
path:

	clients (this namespace) --- route   --- nodes
	                         --- dnat    ---
	                         --- haproxy --- ...
"""

import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import drills
import measure
import proxies
import report
import stage as stages
from scenarios import BULK, SMALL, Scenario

sys.path.append(os.path.join(stages.ROOT, "tests", "e2e", "helpers"))
import topology  # noqa: E402

ROUNDS = 9
NODES = 3  # of a service
ADDRESSES = 20  # that the nodes have on each side
SERVICES = (1, 1000)
SCENARIOS = [
    Scenario("hop-small", f"Hop, small messages: {SMALL} bytes and their echo, 32 connections",
             "echo", "us/message", 1e6, ("--mode=tcp-small", "--connections=32", f"--size={SMALL}"),
             200_000, 50_000, kind="hop"),
    Scenario("hop-connect", f"Hop, a connection for each {SMALL} bytes and their echo, 16 at once",
             "echo", "us/connection", 1e6, ("--mode=tcp-connect", "--connections=16", f"--size={SMALL}"),
             30_000, 10_000, kind="hop"),
    Scenario("hop-bulk", "Hop, bulk to the client: 256 MiB transfers, 4 at once",
             "source", "s/GB", 1e9,
             ("--mode=tcp-bulk-down", "--connections=4", f"--size={BULK}", "--no-check"), 16, 4, kind="hop"),
    Scenario("hop-udp", f"Hop, datagrams of {SMALL} bytes and their echo, 32 flows", "datagrams", "us/message", 1e6,
             ("--mode=udp", "--connections=32", f"--size={SMALL}"), 200_000, 50_000, kind="hop"),
    Scenario("hop-half", "Hop, small messages at half of what the slowest can do: open loop, 32 connections",
             "echo", "us/message", 1e6, ("--mode=tcp-small", "--connections=32", f"--size={SMALL}"),
             3, 1, kind="hop"),
]
DOORS = proxies.KINDS["tcp"] | {"datagrams": "udp"}
KEYS = [s.key for s in SCENARIOS] + ["drill-hop"]


# ---- the ways ----

class Way:
    """A balancer's namespace; mixed into a proxy, which then lives there."""
    udp = False  # does it forward that?

    def place(self, hop):
        self.hop = hop

    def address(self, door):
        return f"{self.hop.vip}:{self.ports[door]}"

    def before(self, core):
        return measure.on_core(core, self.hop.space.path)


class Route(Way, proxies.Proxy):
    """Nobody in between: the clients know the nodes."""
    name = "route"
    udp = True

    def address(self, door):
        return self.backends[door][0]

    def commands(self):
        return []


class Dnat(Way, proxies.Proxy):
    """A map of nftables, as one writes it by hand; the way back by masquerade."""
    name = "dnat"
    udp = True

    def protocol(self, door):
        return "udp" if self.doors[door] == "udp" else "tcp"

    def key(self, door):
        return f"{self.protocol(door)} . {self.hop.vip} . {self.ports[door]}"

    def ruleset(self, chains, elements):
        def chain(name, addresses, protocol):
            nodes = ", ".join(f"{i} : {a.replace(':', ' . ')}" for i, a in enumerate(addresses))
            return f"chain {name} {{ meta l4proto {protocol} dnat ip addr . port to numgen inc mod {len(addresses)} map " \
                   f"{{ {nodes} }}; }}"
        lines = "\n\t".join(chain(name, addresses, self.protocol(name) if name in self.doors else "tcp")
                            for name, addresses in chains.items())
        return f'''table ip byhand {{
	{lines}
	map doors {{ type inet_proto . ipv4_addr . inet_service : verdict; elements = {{ {elements} }}; }}
	chain to {{ type nat hook prerouting priority dstnat; meta l4proto . ip daddr . th dport vmap @doors; }}
	chain from {{ type nat hook postrouting priority srcnat; ct status dnat masquerade; }}
}}
'''

    def commands(self):
        elements = ", ".join(f"{self.key(door)} : goto {door}" for door in self.doors)
        self.hop.space.nft(self.ruleset(self.backends, elements))
        return []


class Teal(Way, proxies.Teal):
    name = "teal"
    engine = "proxy"

    def door(self, door, green, blue):
        udp = self.doors[door] == "udp"
        return self.service(door, self.address(door), '", "'.join(green), '", "'.join(blue), mode="udp" if udp else None,
                            extra=f'engine = "{self.engine}"; health: {{ type = "{"none" if udp else "tcp"}"; }};')

    def commands(self):
        return self.run_services(*(self.door(d, self.backends[d], self.backends[d]) for d in self.doors))


class ByKernel:
    """teald, its other engine."""
    name = "teal-kernel"
    engine = "kernel"
    udp = True

    def place(self, hop):
        super().place(hop)
        # What it asks for where it starts: bytes and ages of connections.  By
        # hand one does without.
        hop.space.sysctl(**{"net/netfilter/nf_conntrack_acct": 1, "net/netfilter/nf_conntrack_timestamp": 1})

    def limits(self):
        return ""  # it holds no connection itself


class TealKernel(ByKernel, Teal):
    pass


class Many(TealKernel):
    """So many services of all the nodes; the load uses each of them."""
    services = 1

    def commands(self):
        nodes, first = self.backends["main"], self.ports["main"]
        more = 'engine = "kernel"; health: { type = "none"; };'
        self.observe = self.services
        return self.run_services(*(self.service(f"s{i}", f"{self.hop.vip}:{first + i}", '", "'.join(nodes),
                                                '", "'.join(nodes), extra=more) for i in range(self.services)))


class HAProxy(Way, proxies.HAProxy):
    def servers(self, name, addresses, more=""):
        return "".join(f"\tserver {name}{i} {a}{more}\n" for i, a in enumerate(addresses))

    def commands(self):
        return self.run_doors("\n".join(f'''listen {door}
	bind {self.address(door)} backlog 4096
{self.servers("b", self.backends[door])}''' for door in self.doors))


class HAProxySplice(HAProxy):
    name = "haproxy-splice"
    tuning = proxies.HAProxySplice.tuning
    options = proxies.HAProxySplice.options


class Nginx(Way, proxies.Nginx):
    udp = True

    def stream(self, backends):
        upstreams = "\n".join(f"\tupstream {door} {{ {' '.join(f'server {a};' for a in addresses)} }}"
                              for door, addresses in backends.items())
        text = upstreams + "\n" + super().stream({door: door for door in backends})
        for door in (d for d, mode in self.doors.items() if mode == "udp"):
            text = text.replace(f"listen {self.address(door)} backlog=4096", f"listen {self.address(door)} udp")
        return text


WAYS = (Route, Dnat, TealKernel, Teal, HAProxy, HAProxySplice, Nginx)


# ---- their drills ----

class DnatDrill(Dnat):
    how = "nft: one element, by hand"

    def commands(self):
        self.hop.space.nft(self.ruleset(self.backends, f"{self.key('drill')} : goto green"))
        return []

    def flip(self):
        key = self.key("drill")
        space = " ".join(self.hop.space.prefix)
        script = self.write("flip", f'''{space} nft "delete element ip byhand doors {{ {key} }};
	add element ip byhand doors {{ {key} : goto $COLOR }}"
''')
        return [f"--flip-cmd=. {script}"]


class TealDrill(drills.TealDrill, Teal):
    def commands(self):
        return self.run_services(self.door("drill", self.backends["green"], self.backends["blue"]))


class TealKernelDrill(ByKernel, TealDrill):
    pass


class HAProxyDrill(HAProxy, drills.HAProxyDrill):
    def commands(self):
        self.socket = os.path.join(self.sockets, "s")
        self.tuning = f"\tstats socket {self.socket} level admin\n"
        return self.run_doors(f'''listen drill
	bind {self.address("drill")} backlog 4096
{self.servers("green", self.backends["green"])}{self.servers("blue", self.backends["blue"], " disabled")}''')

    def flip(self):
        def say(color, state):
            return "; ".join(f"set server drill/{color}{i} state {state}" for i in range(NODES))
        # The new ones first, or there would be none for a moment.
        script = self.write("flip", f'''other=green; [ "$COLOR" = green ] && other=blue
printf '{say("%s", "ready")}; {say("%s", "maint")}\\n' {" ".join(['"$COLOR"'] * NODES + ['"$other"'] * NODES)} |
	socat -t 5 - UNIX:{self.socket} >/dev/null
''')
        return [f"--flip-cmd=. {script}"]


class NginxDrill(Nginx, drills.NginxDrill):
    pass


DRILLS = {"dnat": DnatDrill, "teal-kernel": TealKernelDrill, "teal": TealDrill, "haproxy": HAProxyDrill,
          "nginx": NginxDrill}


# ---- the stage ----

@dataclasses.dataclass
class Hop:
    space: topology.Namespace
    vip: str
    prefix: str  # of the nodes' addresses on its side


class Ground:
    """The namespaces; they go with the descriptors that hold them."""

    def __init__(self, stage, congestion):
        self.stage = stage
        self.congestion = congestion
        self.processes = []
        self.running = []
        self.idle = {}
        self.hops = {}
        self.clients = topology.Namespace(own=False)
        self.nodes = topology.Namespace()
        for space in (self.clients, self.nodes):
            self.settle(space)

    def settle(self, space):
        for name, value in ((measure.CC_SYSCTL.removeprefix("/proc/sys/"), self.congestion),
                            *measure.PORTS.items(), ("net/ipv4/tcp_tw_reuse", 1)):
            try:
                space.sysctl(**{name: value})
            except OSError:
                continue  # of newer kernels

    def hop(self, name):
        """The namespace of that way, cabled to both sides."""
        if name in self.hops:
            return self.hops[name]
        i = len(self.hops) + 1
        space = topology.Namespace()
        self.settle(space)
        space.sysctl(**{"net/ipv4/ip_forward": 1})
        topology.cable(space, "outside", self.clients, f"out{i}")
        topology.cable(space, "inside", self.nodes, f"in{i}")
        space.ip(f"address add 10.60.{i}.1/24 dev outside", f"address add 10.61.{i}.1/24 dev inside")
        self.clients.ip(f"address add 10.60.{i}.2/24 dev out{i}", f"route add 10.61.{i}.0/24 via 10.60.{i}.1")
        self.nodes.ip(*(f"address add 10.61.{i}.{n + 2}/24 dev in{i}" for n in range(ADDRESSES)),
                      f"route add 10.60.{i}.0/24 via 10.61.{i}.1")
        self.hops[name] = Hop(space, f"10.60.{i}.1", f"10.61.{i}.")
        return self.hops[name]

    def serve(self, *options):
        """A light backend on all the nodes; its port."""
        p = subprocess.Popen([stages.TEALBENCH, "serve", "--listen=0.0.0.0:0", *options], stdout=subprocess.PIPE,
                             text=True, preexec_fn=measure.on_core(self.stage.load_core, self.nodes.path))
        self.processes.append(p)
        line = p.stdout.readline()
        if not line:
            raise proxies.Failed("tealbench serve did not start")
        return json.loads(line)["address"].rpartition(":")[2]

    def start(self, c, doors, ports, nodes=NODES):
        """A way with its doors, each to the port of a backend on so many nodes;
        None, and a note, when it does not come up."""
        hop = self.hop(c.name)
        if not c.udp:
            doors = {d: mode for d, mode in doors.items() if mode != "udp"}
        backends = {k: [f"{hop.prefix}{n + 2}:{port}" for n in range(nodes)] for k, port in ports.items()}
        p = c(os.path.join(stages.WORK, "work"), "tcp", backends, stages.FIRST_PORT, 2000, doors=doors,
              backends_as_given=True)
        p.work = os.path.join(stages.WORK, "work", f"{c.name}-hop-" + "-".join(doors))
        os.makedirs(p.work, exist_ok=True)
        p.place(hop)
        self.stage.say(f"starting {p.name} (hop)")
        try:
            p.start(self.stage.proxy_core)
            self.running.append(p)
            return p
        except (proxies.Failed, AssertionError) as e:
            p.stop()
            self.stage.notes.append(f"no {p.name} as a hop: {e}")
            return None

    def own_seconds(self):
        """CPU of all that takes part but the ways: the nodes, the loads that
        ended, the kernel's threads of packets, ourselves."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (measure.cpu_seconds([p.pid for p in self.processes] + measure.softirq_threads()) + ended.ru_utime
                + ended.ru_stime + time.process_time())

    def way_seconds(self):
        return {w.name: measure.cpu_seconds(w.pids()) for w in self.running}

    def watch_idle(self):
        """What each way does when nobody asks it for anything, seconds a second."""
        began, before = time.monotonic(), self.way_seconds()
        time.sleep(0.5 if self.stage.options.quick else 3.0)
        span = time.monotonic() - began
        self.idle = {name: (after - before[name]) / span for name, after in self.way_seconds().items()}

    def close(self):
        for p in self.running:
            p.stop()
        for p in self.processes:
            p.terminate()
            p.communicate()
        # They would go with their other ends, but in the kernel's own time; the
        # next ground has the same names.
        for i in range(1, len(self.hops) + 1):
            self.clients.run("ip", "link", "delete", f"out{i}", check=False)
        for space in [self.nodes, self.clients] + [h.space for h in self.hops.values()]:
            space.close()


def round_of(ground, way, s):
    """One round: what the whole machine did meanwhile, for a unit of work; and
    what the other ways still did of theirs, in seconds."""
    options = [*s.load] + ([f"--congestion={s.congestion}"] if s.door != "datagrams" else [])
    options += [f"--rate={s.rate}", f"--duration={max(s.work, 1)}"] if s.rate else \
        [f"--requests={s.work}", "--duration=120"]
    began, ways = time.monotonic(), ground.way_seconds()
    own, busy = ground.own_seconds(), measure.machine_busy_seconds()
    result = ground.stage.run("load", way.address(s.door), *options)
    busy, own = measure.machine_busy_seconds() - busy, ground.own_seconds() - own
    span = time.monotonic() - began
    ways = {name: after - ways[name] for name, after in ground.way_seconds().items()}
    own += ways.pop(way.name)
    busy -= sum(ways.values())
    moved = max(result["bytes_in"], result["bytes_out"])
    units = max(moved if s.unit == "s/GB" else result["ok"], 1)
    return {
        "cpu": busy * s.per / units,
        "own": own * s.per / units,
        "foreign": max(0.0, busy - own) / max(busy, 1e-9),
        "late": {name: max(0.0, used - ground.idle[name] * span) for name, used in ways.items()},
        "units": units,
        **report.of_load(result, moved),
    }


def compare(ground, s, running, rounds, loads=None):
    """loads: of ways that get another one than s says."""
    done = {w.name: [] for w in running}
    ground.watch_idle()
    for w in running:
        ground.stage.say(f"{s.key}: warming {w.name}")
        round_of(ground, w, dataclasses.replace(s, work=max(4 if not s.rate else 1, s.work // 20)))
    for i in range(rounds):
        # Each round begins with another one, and all the rounds are pairs with routing.
        for w in running[i % len(running):] + running[:i % len(running)]:
            ground.stage.say(f"{s.key}: round {i + 1} of {rounds}, {w.name}")
            mine = dataclasses.replace(s, load=(loads or {}).get(w.name, s.load))
            this = round_of(ground, w, mine)
            # Who counts what has closed when others have their round pays for it all the same.
            for name, seconds in this["late"].items():
                if done.get(name):
                    mine = done[name][-1]
                    mine["cpu"] += seconds * s.per / mine["units"]
                    mine["own"] += seconds * s.per / mine["units"]
            done[w.name].append(this)
    return report.summarize_hop(s, done)


def compare_all(stage, scenarios, names, congestion):
    """The scenarios over all ways, or those of these names; routing always."""
    o = stage.options
    ground = Ground(stage, congestion)
    running, results = [], []
    try:
        ports = {door: ground.serve(f"--mode={mode}", *([f"--congestion={congestion}"] if mode != "udp" else []))
                 for door, mode in DOORS.items()}
        for c in WAYS:
            if not names or c.name in names or c is Route:
                running += filter(None, [ground.start(c, DOORS, ports)])
        for s in scenarios:
            s = dataclasses.replace(s, congestion=congestion,
                                    work=max(1, round((s.quick if o.quick else s.work) * o.scale)))
            among = [w for w in running if s.door in w.doors and (w.name != "haproxy-splice" or s.key == "hop-bulk")]
            if s.key == "hop-half":
                small, = (r for r in results if r["key"] == "hop-small")
                s = dataclasses.replace(s, rate=int(min(statistics.median(r["per_second"] for r in p["rounds"])
                                                        for p in small["ways"].values()) / 2))
            results.append(compare(ground, s, among, o.rounds_hop))
    finally:
        ground.close()
    return results


def grow(stage, congestion):
    """A thousand services beside one: what a packet and a connection cost then."""
    ground = Ground(stage, congestion)
    running, results = [], []
    try:
        ports = {"main": ground.serve("--mode=echo", f"--congestion={congestion}")}
        ways = [Route] + [type(f"Many{n}", (Many,), {"name": f"teal-kernel-{n}", "services": n}) for n in SERVICES]
        for c in ways:
            running += filter(None, [ground.start(c, {"main": "echo"}, ports, ADDRESSES)])
        if len(running) < len(ways):
            return []
        for s in SCENARIOS[:2]:
            s = dataclasses.replace(s, door="main", congestion=congestion,
                                    work=max(1, round((s.quick if stage.options.quick else s.work) * stage.options.scale)))
            # To each service in turn; the others have one.
            loads = {f"teal-kernel-{n}": (*s.load, f"--ports={n}") for n in SERVICES}
            r = compare(ground, s, running, stage.options.rounds_hop, loads)
            results.append(report.summarize_hop_growth(s, SERVICES, r))
    finally:
        ground.close()
    return results


def drill(stage, names, congestion):
    """The flip drill through each way that can be flipped."""
    ground = Ground(stage, congestion)
    try:
        ports = {color: ground.serve("--mode=hello", f"--name={color}") for color in ("green", "blue")}

        def start(c):
            return filter(None, [ground.start(c, {"drill": "hello"}, ports)])
        return drills.over(stage, "hop", [c for n, c in DRILLS.items() if not names or n in names], start,
                           ("--mode=tcp-connect",), stage.options.quick)
    finally:
        ground.close()
