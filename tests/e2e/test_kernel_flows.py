"""A hundred thousand connections by the kernel engine: counted right, over a
restart too, cut at a drain's deadline; and teald answers all the while.

All but a few are entries of the kernel's table only, as conntrack(8) writes
them: nobody has so many sockets."""
import re
import threading

import pytest

from helpers.backends import Farm
from helpers.clients import Client
from helpers.scale import scaled, until
from helpers.teald import service
from helpers.topology import possible

pytestmark = [pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables"),
              pytest.mark.scales, pytest.mark.nosan]
TIMEOUT = 1.0


def connect(topology):
    return topology.clients.do(lambda: Client((topology.VIP, 80)))


def make_entries(topology, path, n, mark):
    """n established connections from addresses of their own to the first node."""
    node = topology.node(1)
    path.write_text("".join(
        f"-A -p tcp --state ESTABLISHED -t 430000 -u SEEN_REPLY,ASSURED -s 10.{100 + i // 60000}.1.1 -d {topology.VIP} "
        f"-r {node} -q 10.{100 + i // 60000}.1.1 --sport {1024 + i % 60000} --dport 80 "
        f"--reply-port-src 80 --reply-port-dst {1024 + i % 60000} -m {mark}\n" for i in range(n)))
    topology.hop.run("conntrack", "-R", path)


class Asking:
    """A client that asks for the status over and over."""

    def __init__(self, t):
        self.asked, self._end = 0, threading.Event()
        self._thread = threading.Thread(target=self._run, args=(t,))
        self._thread.start()

    def _run(self, t):
        with t.admin() as a:
            while not self._end.wait(0.002):
                assert a.command("status", "web")["ok"]
                self.asked += 1

    def close(self):
        self._end.set()
        self._thread.join()


def test_very_many_connections(topology, teal, closing, tmp_path):
    n = scaled(100000, 5000)
    closing.add(Farm("green", 80, host=topology.node(1), place=topology.nodes))
    closing.add(Farm("blue", 80, host=topology.node(2), place=topology.nodes))
    t = teal(place=topology.hop, log={"access": False}, services=[service(
        listen=f"{topology.VIP}:80", green=[f"{topology.node(1)}:80"], blue=[f"{topology.node(2)}:80"], engine="kernel",
        drain={"timeout": TIMEOUT, "idle": 0.0})])
    real = [closing.add(connect(topology)).echo() for _ in range(5)]
    mark = re.search(r" mark=(\d+)", topology.hop.run("conntrack", "-L", "-p", "tcp", "--orig-dst", topology.VIP))[1]

    def count(color):
        return t.status()["colors"][color]["connections"]

    make_entries(topology, tmp_path / "entries", n, mark)
    until(lambda: count("green") == n + 5, "all are counted")
    # Who comes next counts them before it is ready.
    t.kill()
    t.start()
    assert count("green") == n + 5
    assert t.wait_log("kernel.adopted")["connections"] == n + 5
    real.append(closing.add(connect(topology)).echo())
    until(lambda: count("green") == n + 6, "so are new ones")
    asking = closing.add(Asking(t))
    t.ok("flip", "web", "blue")
    young = closing.add(connect(topology)).echo()
    line = t.wait_log("flip.drained")
    asking.close()
    assert line["cut"] == n + 6 and count("green") == 0
    assert young.echo().peer == "blue" and count("blue") == 1
    for c in real:
        with pytest.raises(ConnectionError):
            c.echo()
    assert asking.asked > 0
    until(lambda: t.metrics().get("teal_conntrack_tracked") < 20, "the kernel's table is empty again")
    t.wait_metric(n + 6, "teal_connections_total", service="web", color="green", end="drained")
    assert line["seconds"] >= TIMEOUT


def test_a_line_for_each_that_ends(topology, teal, closing):
    """As it ends, with what it came to: long before the kernel forgets it."""
    closing.add(Farm("green", 80, host=topology.node(1), place=topology.nodes))
    t = teal(place=topology.hop, services=[service(
        listen=f"{topology.VIP}:80", green=[f"{topology.node(1)}:80", f"{topology.node(3)}:80"],
        blue=[f"{topology.node(2)}:80"], engine="kernel", health={"type": "none"})])
    ends = {}
    while len(ends) < 2:
        # One of the two has nobody who listens.
        try:
            c = connect(topology)
        except ConnectionRefusedError:
            ends["connect"] = t.wait_log("tcp.session", end="connect")
            continue
        c.echo(b"x" * 1000)
        where = "%s:%d" % c.sock.getsockname()[:2]
        c.close()
        ends["done"] = t.wait_log("tcp.session", client=where, end="done")
    assert ends["connect"]["backend"] == f"{topology.node(3)}:80"
    assert ends["done"]["backend"] == f"{topology.node(1)}:80"
    assert ends["done"]["bytes_in"] > 1000 and ends["done"]["bytes_out"] > 1000
    assert ends["done"]["seconds"] > 0
    assert "connect_seconds" not in ends["done"]
    # The kernel still has them, but they are no connections any more.
    closed = [line for line in topology.hop.run("conntrack", "-L", "-p", "tcp", "--orig-dst", topology.VIP).splitlines()
              if "TIME_WAIT" in line]
    # The client ended first, then the backend: both bits of the end (kernel/mark.h).
    assert closed and all(int(re.search(r"mark=(\d+)", line)[1]) & 0x300 == 0x300 for line in closed), closed
    until(lambda: t.status()["colors"]["green"]["connections"] == 0, "nothing holds the color")
    # Its removal, by whomever, is not told again; that of one that lives is.
    topology.hop.run("conntrack", "-D", "-p", "tcp", "--orig-dst", topology.VIP)
    closing.add(Farm("green", 80, host=topology.node(3), place=topology.nodes))
    c = closing.add(connect(topology)).echo()
    until(lambda: t.status()["colors"]["green"]["connections"] == 1, "it is counted")
    topology.hop.run("conntrack", "-D", "-p", "tcp", "--orig-dst", topology.VIP)
    assert t.wait_log("tcp.session", client="%s:%d" % c.sock.getsockname()[:2])["end"] == "deleted"
    assert len(t.log_lines("tcp.session", client=ends["done"]["client"])) == 1


def test_who_is_idle_goes_before_the_deadline(topology, teal, closing):
    """By the kernel's clocks, which tick in seconds: rather too late than too early."""
    closing.add(Farm("green", 80, host=topology.node(1), place=topology.nodes))
    closing.add(Farm("blue", 80, host=topology.node(2), place=topology.nodes))
    t = teal(place=topology.hop, services=[service(
        listen=f"{topology.VIP}:80", green=[f"{topology.node(1)}:80"], blue=[f"{topology.node(2)}:80"], engine="kernel",
        drain={"timeout": 600.0, "idle": 3.0})])
    silent, busy = (closing.add(connect(topology)).echo() for _ in range(2))
    until(lambda: t.status()["colors"]["green"]["connections"] == 2, "both are counted")
    t.ok("flip", "web", "blue")

    def one_is_left():
        busy.echo()
        return t.status()["colors"]["green"]["connections"] == 1
    until(one_is_left, "the silent one is cut", every=0.1)
    line = t.wait_log("tcp.session", end="drain_idle")
    assert line["seconds"] >= 3.0
    assert line["client"] == "%s:%d" % silent.sock.getsockname()[:2]
    with pytest.raises(ConnectionError):
        silent.echo()
    assert busy.echo().peer == "green"
    busy.close()
    assert t.wait_log("flip.drained")["cut"] == 0
