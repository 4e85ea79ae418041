"""The shortcut of the kernel engine: packets of established connections pass the hooks by, and all that is promised of
connections is true of these as well.  Every other story of the engine holds with it, too: TEAL_SHORTCUT=on."""
import re
import signal
import socket
import struct

import pytest

from helpers.clients import Client
from helpers.kernel import WEB, Stage
from helpers.scale import until
from helpers.topology import cable, possible

pytestmark = [pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables"), pytest.mark.nosan]
SIZE = 1000


def shortcut(t):
    return t.ok("status")["kernel"]["shortcut"]


@pytest.fixture
def built(teal, topology):
    """Skips where this build or kernel has none; what it lacks is said."""
    def check(t):
        problem = shortcut(t)["problem"]
        if problem:
            pytest.skip(problem)
    return check


class Watched:
    """A connection, and what the kernel's own counters say of it."""

    def __init__(self, stage, six, where=None):
        self.topology, self.six = stage.topology, six
        self.client = stage.connect() if where is None else \
            stage.closing.add(self.topology.clients.do(lambda: Client((where, WEB))))
        self.port = self.client.sock.getsockname()[1]
        self.said = 0

    def echo(self, n=1):
        for _ in range(n):
            self.client.echo(b"x" * SIZE)
            self.said += SIZE

    def packets(self):
        """Those that came through the hooks."""
        text = self.topology.hop.run("conntrack", "-f", "ipv6" if self.six else "ipv4", "-L", "-p", "tcp",
                                     "--orig-port-src", self.port, "--orig-port-dst", WEB)
        return sum(map(int, re.findall(r"packets=(\d+)", text)))

    def left(self, to=None):
        """Seconds that its entry has; to: after it was made to have so many."""
        which = ("-p", "tcp", "--orig-port-src", self.port, "--orig-port-dst", WEB)
        family = ("-f", "ipv6" if self.six else "ipv4")
        if to:
            self.topology.hop.run("conntrack", *family, "-U", *which, "-t", to)
        return int(re.search(r"tcp +6 (\d+) ", self.topology.hop.run("conntrack", *family, "-L", *which))[1])

    def passes_by(self):
        """Ten messages, twenty packets at least, of which the hooks see none."""
        self.echo(20)
        before = self.packets()
        self.echo(10)
        return self.packets() == before


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_what_is_established_passes_the_hooks_by_and_all_else_is_as_ever(topology, closing, teal, built, six):
    stage = Stage(topology, closing, teal, top={"kernel": {"shortcut": "on"}}, six=six)
    t = stage.teal
    built(t)
    assert t.log_lines("kernel.shortcut")[0]["interfaces"] == shortcut(t)["interfaces"] == "outside,inside"
    first, reset = Watched(stage, six), Watched(stage, six)
    # Each asks for it once, also where that is not heard for a while.
    t.signal(signal.SIGSTOP)
    for c in (first, reset):
        c.echo(200)
    t.signal(signal.SIGCONT)
    for c in (first, reset):
        until(c.passes_by, "it lasts, and is taken")
    assert shortcut(t)["connections_total"] == 2
    # A flip leaves it where it is, and where it goes; new ones go elsewhere.
    t.ok("flip", "web", "blue", "--wait=applied")
    until(first.passes_by, "it goes on as before")
    assert stage.counted("web") == {"green": 2, "blue": 0}
    held = {c["client"].rpartition(":")[2]: c for c in t.ok("drain", "web")["connections"]}
    assert first.said < held[str(first.port)]["bytes_in"] < 2 * first.said
    # A packet that passes by lets it live as long as any other does, though the entry was about to expire.
    first.left(to=60)
    until(lambda: first.echo() or first.left() > 60, "it has its time again")
    # Its end is told as any other's, with the bytes that nobody else has counted.
    first.client.close()
    line = t.wait_log("tcp.session", end="done")
    assert first.said < line["bytes_in"] < 2 * first.said and first.said < line["bytes_out"] < 2 * first.said, line
    # So is a reset, of which conntrack does not know by itself that it is valid.
    reset.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reset.client.close()
    t.wait_log("tcp.session", end="reset")
    until(lambda: stage.counted("web") == {"green": 0, "blue": 0}, "the reset is counted")
    # The deadline of a drain cuts it all the same: its next packet is answered by a reset.
    cut = Watched(stage, six)
    until(cut.passes_by, "one of blue's")
    assert t.ctl("flip", "web", "green", "--drain=0", "--wait=drained")["cut"] == 1
    cut.client.sock.sendall(b"x")
    assert cut.client.read_end()[1] == "reset"
    # Without the process all goes on through the hooks.
    last = Watched(stage, six)
    until(last.passes_by, "one of green's")
    t.kill()
    before = last.packets()
    last.echo()
    until(lambda: last.packets() > before, "the hooks see it again")
    assert not last.passes_by()
    t.start()
    until(last.passes_by, "the next process takes it again")


def test_filters_of_others_are_left_alone_and_interfaces_come_and_go(topology, closing, teal, built):
    later = "10.77.9.1"
    topology.hop.run("tc", "qdisc", "add", "dev", "outside", "clsact")
    topology.hop.run("tc", "filter", "add", "dev", "outside", "ingress", "bpf", "bytecode", "1,6 0 0 0")
    stage = Stage(topology, closing, teal, top={"kernel": {"shortcut": "auto"}}, start=False)
    t = stage.teal
    t.settings["services"][0]["listen"] = [f"{topology.VIP}:{WEB}", f"{later}:{WEB}"]

    def foreign():
        return topology.hop.run("tc", "filter", "show", "dev", "outside", "ingress"), topology.hop.run("tc", "qdisc", "show")
    before = foreign()
    t.start()
    built(t)
    # A filter at the entrance sees all that it saw before.
    assert shortcut(t)["interfaces"] == "inside"
    c = Watched(stage, False)
    until(lambda: shortcut(t)["connections_total"] > 0 or c.echo(10), "it would be taken")
    assert not c.passes_by()
    assert foreign() == before
    t.kill()
    assert foreign() == before
    t.start()
    assert foreign() == before
    # Without it there is no reason against the interface.
    topology.hop.run("tc", "qdisc", "del", "dev", "outside", "clsact")
    until(lambda: shortcut(t)["interfaces"].split(",").count("outside"), "its interface is taken")
    until(c.passes_by, "and the connection")
    # One that comes later is as good.
    cable(topology.hop, "second", topology.clients, "eth1")
    topology.hop.ip(f"address add {later}/24 dev second")
    topology.clients.ip("address add 10.77.9.2/24 dev eth1")
    until(lambda: "second" in shortcut(t)["interfaces"].split(","), "a new interface is taken")
    other = Watched(stage, False, where=later)
    until(other.passes_by, "one by the second cable")
    topology.hop.ip("link set second down", "link set second name other", "link set other up")
    until(lambda: "other" in shortcut(t)["interfaces"].split(","), "it has another name")
    assert "second" not in shortcut(t)["interfaces"]
    topology.hop.ip("link delete other")
    until(lambda: shortcut(t)["interfaces"] in ("inside,outside", "outside,inside"), "and forgotten")
    c.echo()


def test_what_it_has_counted_survives_an_upgrade(topology, closing, teal, built):
    stage = Stage(topology, closing, teal, top={"kernel": {"shortcut": "on"}}, start=False)
    t = stage.teal.start(supervised=True)
    built(t)
    c = Watched(stage, False)
    until(c.passes_by, "it is taken")
    before = t.serving()
    assert t.ok("upgrade")["to"]["pid"] != before
    until(c.passes_by, "it takes what was taken before")
    c.client.close()
    line = t.wait_log("tcp.session", end="done")
    assert c.said < line["bytes_in"] < 2 * c.said and c.said < line["bytes_out"] < 2 * c.said, line
