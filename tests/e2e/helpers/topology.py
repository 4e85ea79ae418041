"""Clients, a balancer and its nodes as three network namespaces, joined by two
cables (veth pairs): where forwarding, NAT and firewalls are real.  Root only.

	clients --- hop --- nodes

A namespace has no name: it is held by a descriptor of this process and goes
with it, whatever becomes of the test; so any number of them stand side by
side, all with the same addresses.
"""
import ctypes
import functools
import json
import os
import socket
import subprocess
import threading

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """A network namespace with nothing but lo, which is up; own=False: the one
    we are in."""

    def __init__(self, own=True):
        self._fd = self._in_thread(self._make) if own else self._current()
        self.path = f"/proc/{os.getpid()}/fd/{self._fd}"
        # Before a command: it then runs in there (nsenter execs it).
        self.prefix = ("nsenter", f"--net={self.path}")
        if not own:
            return
        # Nobody else is on these cables: an IPv6 address is of use at once.
        self.sysctl(**{"net/ipv6/conf/default/accept_dad": 0, "net/ipv6/conf/default/router_solicitations": 0})
        self.ip("link set lo up")

    @staticmethod
    def _make():
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        return Namespace._current()

    @staticmethod
    def _current():
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @staticmethod
    def _in_thread(f):
        """f()'s result or exception, from a thread that ends with it."""
        out = {}

        def run():
            try:
                out["value"] = f()
            except BaseException as e:
                out["error"] = e
        t = threading.Thread(target=run)
        t.start()
        t.join()
        if "error" in out:
            raise out["error"]
        return out["value"]

    def do(self, f):
        """f() in a thread that lives there: its sockets are there for good,
        whoever uses them, and so are the threads it starts."""
        def there():
            _enter(self._fd)
            return f()
        return self._in_thread(there)

    def socket(self, *how):
        return self.do(lambda: socket.socket(*how))

    def run(self, *words, input=None, check=True):
        """A command to its end; what it printed."""
        done = subprocess.run([*self.prefix, *map(str, words)], input=input, capture_output=True, text=True,
                              timeout=60, stdin=None if input is not None else subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{words}: {done.stderr.strip()}"
        return done.stdout

    def ip(self, *lines):
        """Lines of ip(8), in one go."""
        self.run("ip", "-force", "-batch", "-", input="\n".join(lines) + "\n")

    def nft(self, text):
        """A transaction of nft(8)."""
        self.run("nft", "-f", "-", input=text)

    def sysctl(self, **values):
        """By path: sysctl(**{"net/ipv4/ip_forward": 1})."""
        def write():
            for name, value in values.items():
                with open(f"/proc/sys/{name}", "w") as f:
                    f.write(str(value))
        self.do(write)

    def close(self):
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def cable(a, name_a, b, name_b):
    """A veth pair between two namespaces, both ends up."""
    a.ip(f"link add {name_a} type veth peer name {name_b} netns {b.path}", f"link set {name_a} up")
    b.ip(f"link set {name_b} up")


@functools.lru_cache(None)
def possible():
    """Whether this machine lets us."""
    if os.geteuid() != 0:
        return False
    try:
        n = Namespace()
        n.nft("add table inet probe; add chain inet probe c { type nat hook prerouting priority dstnat; }")
    except (OSError, AssertionError, subprocess.SubprocessError):
        return False
    n.close()
    return True


class Topology:
    """.clients, .hop and .nodes, namespaces.

    The hop is VIP and VIP6 to the clients, INSIDE and INSIDE6 to the nodes.
    Every address of SOURCES is a client's, every address of 10.78/16 and
    fd00:78::/64 (node(i), node6(i)) a node's.  The hop is the gateway of both,
    forwards, and counts what it tracks; gateway=False: the nodes do not know
    the way to the clients.
    """

    VIP, VIP6 = "10.77.1.1", "fd00:77:1::1"
    INSIDE, INSIDE6 = "10.77.2.1", "fd00:77:2::1"
    CLIENT, CLIENT6 = "10.77.1.2", "fd00:77:1::2"
    SOURCES, SOURCES6 = "10.79.0.0/16", "fd00:79::/64"

    def __init__(self, gateway=True):
        self._made = []
        try:
            self.clients, self.hop, self.nodes = (self._made.append(n) or n for n in (Namespace() for _ in range(3)))
            cable(self.hop, "outside", self.clients, "eth0")
            cable(self.hop, "inside", self.nodes, "eth0")
            self.hop.sysctl(**{"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1,
                               "net/netfilter/nf_conntrack_acct": 1, "net/netfilter/nf_conntrack_timestamp": 1})
            for n in (self.clients, self.nodes):
                # A local route makes IPv4 addresses one's own, IPv6 ones only nearly.
                n.sysctl(**{"net/ipv6/ip_nonlocal_bind": 1})
            #: an IPv6 address is of use at once.
            self.hop.ip(f"address add {self.VIP}/24 dev outside", f"address add {self.VIP6}/64 dev outside",
                        f"address add {self.INSIDE}/24 dev inside", f"address add {self.INSIDE6}/64 dev inside",
                        f"route add {self.SOURCES} via {self.CLIENT}", f"route add {self.SOURCES6} via {self.CLIENT6}",
                        "route add 10.78.0.0/16 via 10.77.2.2", "route add fd00:78::/64 via fd00:77:2::2")
            self.clients.ip(f"address add {self.CLIENT}/24 dev eth0", f"address add {self.CLIENT6}/64 dev eth0",
                            f"route add local {self.SOURCES} dev lo", f"route add local {self.SOURCES6} dev lo",
                            f"route add default via {self.VIP}", f"route add default via {self.VIP6}")
            ways = (f"route add default via {self.INSIDE}", f"route add default via {self.INSIDE6}") if gateway else ()
            self.nodes.ip("address add 10.77.2.2/24 dev eth0", "address add fd00:77:2::2/64 dev eth0",
                          "route add local 10.78.0.0/16 dev lo", "route add local fd00:78::/64 dev lo", *ways)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def node(i):
        """The i-th node's address, 1 to 65,000."""
        return f"10.78.{i >> 8}.{i & 255}"

    @staticmethod
    def node6(i):
        return f"fd00:78::{i:x}"

    @staticmethod
    def source(i):
        """The i-th address of a client, 1 to 65,000."""
        return f"10.79.{i >> 8}.{i & 255}"

    @staticmethod
    def source6(i):
        return f"fd00:79::{i:x}"

    def tables(self, but=()):
        """`nft -j list ruleset` of the hop without those tables (of any family)."""
        others = []
        for o in json.loads(self.hop.run("nft", "-j", "list", "ruleset"))["nftables"]:
            (kind, what), = o.items()
            name = what.get("name") if kind == "table" else what.get("table")
            if kind != "metainfo" and name not in but:
                others.append(o)
        return others

    def close(self):
        while self._made:
            self._made.pop().close()
