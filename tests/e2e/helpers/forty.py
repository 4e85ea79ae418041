"""Forty services on four nodes as on a bad day: one node is dead, one is drained, one
service was flipped to a release that answers 2 % of its requests with 503, one
drains, one is locked.  Real backends, a real load, and a teald of its own."""
from . import scale
from .ports import Ports
from .tealbench import Running, Serve
from .teald import Teal

NODES = [f"127.0.1.{n}" for n in (1, 2, 3, 4)]
DEAD, DRAINED = NODES[2], NODES[3]
BAD, DRAINS, LOCKED = "checkout", "chat", "ledger"
# By name the requests per second; of TCP (.tcp) the messages.
SERVICES = {
    "shop": 60, "checkout": 40, "search": 35, "chat.tcp": 0, "api-gateway": 30, "auth": 24, "catalog": 20, "images": 16,
    "cart": 12, "mqtt.tcp": 10, "ledger": 8, "prices": 6, "stock": 5, "mail.tcp": 4, "tracking": 3, "reviews": 2,
} | dict.fromkeys((
    "accounts", "admin", "audit", "backoffice", "billing", "calendar", "coupons", "docs", "exports", "feeds", "forms",
    "gitlab.tcp", "grafana", "invoices", "jobs", "loyalty", "metrics", "newsletter", "postgres.tcp", "registry", "returns",
    "sftp.tcp", "vouchers", "wiki"), 0)


class Forty:
    """folder: of teald's files.  times: so many copies of the quiet services, for long lists."""

    def __init__(self, folder, times=1):
        self.ports, self.closing = Ports(), []
        self.interval = 0.5 if times == 1 else 5.0
        self.names = {name.removesuffix(".tcp"): name.endswith(".tcp") for name in SERVICES}
        quiet = [n for n in self.names if not SERVICES.get(n)]
        for i in range(1, times):
            self.names |= {f"{n}-{i}": self.names[n] for n in quiet}
        # By service and color a port, the same on each node; copies share those of the first.
        self.port = {(n, c): self.ports.hold() for n in self.names if n.removesuffix(".tcp") in SERVICES or n + ".tcp" in SERVICES
                     for c in ("green", "blue")}
        self.nodes = {host: self._node(host) for host in NODES}
        self.teal = Teal(folder, self.ports, {
            "log": {"level": "info", "access": False}, "node_pools": {"main": NODES},
            "services": [self._service(n, tcp) for n, tcp in self.names.items()]}).start()

    def _service(self, name, tcp):
        first = name if (name, "green") in self.port else name.rsplit("-", 1)[0]
        return {"name": name, "mode": "tcp" if tcp else "http", "listen": f"127.0.0.1:{self.ports.hold()}", "nodes": "main",
                **{c: {"port": self.port[first, c]} for c in ("green", "blue")},
                "health": {"interval": self.interval, "timeout": 20.0, "rise": 1, "fall": 2}, "drain": {"timeout": 300.0, "idle": 0.0}}

    def _node(self, host):
        """What runs there: a server for each color and kind, and one for the bad release."""
        def serve(names, color, *options):
            return Serve(f"--name={color}", *options, listen=[f"{host}:{self.port[n, color]}" for n in names])
        http, tcp = ([n for n, t in self.names.items() if t is kind and (n, "green") in self.port] for kind in (False, True))
        servers = [serve([n for n in tcp if n != DRAINS], c, "--mode=echo") for c in ("green", "blue")]
        self.own = getattr(self, "own", {}) | {(host, DRAINS, c): serve([DRAINS], c, "--mode=echo") for c in ("green", "blue")}
        servers += [server for (h, _, _), server in self.own.items() if h == host]
        servers += [serve(http, "green"), serve([n for n in http if n != BAD], "blue"), serve([BAD], "blue", "--break=5xx:50")]
        self.closing += servers
        return servers

    def kill(self, host, name, color):
        """One that has a server of its own there."""
        self.own[host, name, color].process.kill()

    def load(self):
        """The usual traffic begins."""
        for name, rate in SERVICES.items():
            short = name.removesuffix(".tcp")
            if rate:
                mode = "tcp-connect" if self.names[short] else "http"
                self.closing.append(Running("%s:%d" % self.teal.address(short), f"--mode={mode}", f"--rate={rate}", "--connections=2"))
        self.sessions = [self.teal.connect(DRAINS) for _ in range(5)]
        for session in self.sessions:
            session.sock.sendall(b"hello")
            assert session.receive(5) == b"hello"
        return self

    def spoil(self):
        """Then the day goes bad; returns once teald has noticed."""
        t = self.teal
        t.ok("node", "drain", "main", DRAINED)
        for server in self.nodes[DEAD]:
            server.process.kill()
        t.ok("lock", LOCKED, "--reason=audit until Friday")
        t.ok("flip", DRAINS, "blue", "--reason=release 12")
        t.ok("flip", BAD, "blue", "--reason=release 8812")
        scale.until(lambda: all(b["state"] == "down" for s in t.ok("status")["services"] for c in s["colors"].values()
                                for b in c["backends"] if b["address"].startswith(DEAD + ":")), "the dead node is seen")
        return self

    def close(self):
        for session in getattr(self, "sessions", []):
            session.close()
        for thing in reversed(self.closing):
            thing.close()
        self.teal.stop()
        self.ports.close()
