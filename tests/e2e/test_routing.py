"""conf/keepalived.conf and conf/routing with the real programs, in network namespaces: an address, or a route to
it, follows the Teal that is ready."""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from helpers import scale
from helpers.backends import Backend
from helpers.daemon import Daemon
from helpers.scale import until
from helpers.teald import service
from helpers.topology import Namespace, cable, possible

CONF = scale.REPO / "conf"
VIP = "192.0.2.80"

pytestmark = pytest.mark.nosan      # only programs beside teald are looked at


@pytest.fixture
def namespace(closing):
    if not possible():
        pytest.skip("needs root and network namespaces")
    return lambda: closing.add(Namespace())


@pytest.fixture
def machine(teal, ports, closing):
    """machine(namespace, name): a teald in there on port 80 of every address, whose backend says its name; the
    test moves its clock, for stop.notice."""
    def make(place, name, **keys):
        b = place.do(lambda: Backend(name, ports.hold()).start())
        closing.add(b)
        return teal(place=place, clock=True, stop={"notice": 120.0, "timeout": 0.5}, services=[service(
            listen="0.0.0.0:80", green=[b], blue=[b], health={"type": "none"}, idle_timeout=0, **keys)])
    return make


class OpenFolder:
    """A folder that every user may read."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp())
        self.path.chmod(0o755)

    def close(self):
        shutil.rmtree(self.path)


def sample(path, *changes):
    text = (CONF / path).read_text()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return text


def readyz(t):
    return "http://%s:%d/readyz" % t.observe


def test_keepalived_moves_the_address_before_teal_closes_and_leaves_it_there(namespace, machine, closing, tmp_path):
    switch, client, places = namespace(), namespace(), {"lb1": namespace(), "lb2": namespace()}
    switch.ip("link add br0 type bridge", "link set br0 up")
    for i, (name, place) in enumerate([("lb1", places["lb1"]), ("lb2", places["lb2"]), ("client", client)]):
        cable(switch, name, place, "eth0")
        switch.ip(f"link set {name} master br0")
        place.ip(f"address add 192.0.2.{i + 1}/24 dev eth0")
    tealds = {name: machine(place, name) for name, place in places.items()}
    keepers, checkers = {}, {}
    for name, priority in (("lb1", 100), ("lb2", 90)):
        folder = tmp_path / f"keepalived-{name}"
        folder.mkdir()
        # What checks runs as nobody, who does not get into the folders of tests.
        checkers[name] = closing.add(OpenFolder()).path / "curl"
        checkers[name].symlink_to("/usr/bin/curl")
        (folder / "conf").write_text(sample(
            "keepalived.conf", ("router_id lb1", f"router_id {name}"), ("priority 100", f"priority {priority}"),
            ("http://127.0.0.1:9180/readyz", readyz(tealds[name])), ("/usr/bin/curl", str(checkers[name]))))
        keepers[name] = closing.add(Daemon(folder, "keepalived", "-n", "-l", "-D", "-f", folder / "conf", "-p", folder / "pid",
                                           "-r", folder / "vrrp.pid", place=places[name], run=True))

    def holders():
        return [n for n, p in places.items() if f" {VIP}/" in p.run("ip", "-4", "address", "show", "dev", "eth0")]

    def settled():
        """One has it, and the other has heard of that."""
        return holders() if len(holders()) == 1 else None
    first = until(settled, "one has the address")[0]
    second = "lb2" if first == "lb1" else "lb1"
    assert first in talk(client)
    # A stop: not ready, and all is served, until the other one has the address.
    tealds[first].signal()
    until(lambda: holders() == [second], "the other one has the address")
    assert not tealds[first].log_lines_now("teald.closing")
    assert second in talk(client)
    tealds[first].clock.move(121, wait=False)
    tealds[first].wait()
    # It comes back, and takes nothing from the one that serves.
    said = keepers[first].log.read_text().count("Entering BACKUP STATE")
    tealds[first].start()
    keepers[first].said("Entering BACKUP STATE", said + 1)
    # Maintenance of the second shows that its word counts again; that it was heard before it would have taken over.
    assert holders() == [second]
    tealds[second].ok("maintenance", "on")
    until(lambda: holders() == [first], "the address is back")
    assert first in talk(client)
    # A machine that cannot check any more is as one that is not ready.
    tealds[second].ok("maintenance", "off")
    checkers[first].unlink()
    until(lambda: holders() == [second], "the address leaves the machine without curl")
    for t in tealds.values():
        t.signal()
        t.wait_log("teald.stopping")
        t.clock.move(121, wait=False)
        t.wait()


def talk(place):
    """What the backend behind the address says first."""
    def once():
        s = place.do(lambda: socket.create_connection((VIP, 80), scale.patience()))
        with s:
            s.settimeout(scale.patience())
            return s.recv(200).decode(errors="replace")

    def answered():
        try:
            return once()
        except OSError:
            return None
    return until(answered, f"{VIP} answers")


BIRD_ROUTER = """
router id 10.0.0.1;
protocol device {}
protocol bgp lb {
	local 10.0.0.1 as 65000;
	neighbor 10.0.0.2 as 65001;
	connect delay time 1;
	connect retry time 1;
	error wait time 1, 2;
	ipv4 { import all; export none; };
}
protocol kernel { ipv4 { export all; }; }
"""


class Router:
    """BIRD at the other end of a cable, which puts what it learns into its kernel."""

    def __init__(self, folder, place, closing):
        folder.mkdir()
        self.place = place
        (folder / "conf").write_text(BIRD_ROUTER)
        self.daemon = closing.add(Daemon(folder, "bird", "-f", "-c", folder / "conf", "-s", folder / "ctl", place=place))

    def knows(self):
        return VIP in self.place.run("ip", "-4", "route")


class Bird:
    """BIRD beside teald, by the sample.  words: what teal-announce is given; env: its environment."""

    def __init__(self, folder, place, closing):
        self.folder, self.place, self.closing = folder, place, closing
        (folder / "conf").write_text(sample("routing/bird.conf"))
        self.words, self.env = ["bird", "teal"], {"BIRDC": f"birdc -s {folder}/ctl"}

    def start(self):
        self.daemon = self.closing.add(Daemon(self.folder, "bird", "-f", "-c", self.folder / "conf", "-s", self.folder / "ctl",
                                              place=self.place))
        until(lambda: "ready" in self.ask("show", "status"), "bird is ready")

    def ask(self, *words):
        return self.place.run("birdc", "-s", self.folder / "ctl", *words, check=False)

    def announces(self):
        """Since when."""
        m = re.search(r"^teal .* up +(\S+)", self.ask("show", "protocols", "teal"), re.M)
        return m and m[1]

    def read_its_file_again(self):
        """Until the protocol has been down and is up again."""
        before = until(self.announces, "the protocol is up")
        self.ask("configure")
        until(lambda: self.announces() not in (None, before), "the protocol is up again")


class Frr:
    """bgpd of FRR likewise, with what vtysh wants of folders."""

    def __init__(self, folder, place, closing):
        self.folder, self.place, self.closing = folder, place, closing
        (folder / "conf").write_text(sample("routing/frr.conf"))
        (folder / "vty").mkdir()
        (folder / "etc").mkdir()
        (folder / "etc/vtysh.conf").write_text("")
        self.words = ["frr", "65001", f"{VIP}/32"]
        self.env = {"VTYSH": f"vtysh --vty_socket {folder}/vty --config_dir {folder}/etc"}

    def start(self):
        f = self.folder
        self.daemon = self.closing.add(Daemon(
            f, "/usr/lib/frr/bgpd", "-Z", "-S", "-u", "root", "-g", "root", "-f", f / "conf", "-i", f / "pid", "--vty_socket", f / "vty",
            "-A", "127.0.0.1", "-P", "0", place=self.place))
        until((f / "vty/bgpd.vty").exists, "bgpd's socket")

    def announces(self):
        said = self.place.run("vtysh", "--vty_socket", self.folder / "vty", "--config_dir", self.folder / "etc",
                              "-c", "show running-config", check=False)
        return f"network {VIP}/32" in said

    def read_its_file_again(self):
        """What vtysh was told stays there."""


@pytest.mark.parametrize("daemon", [Bird, Frr])
def test_a_route_follows_readiness(namespace, machine, closing, tmp_path, daemon):
    lb, router = namespace(), namespace()
    cable(router, "lb", lb, "eth0")
    router.ip("address add 10.0.0.1/24 dev lb")
    lb.ip("address add 10.0.0.2/24 dev eth0", f"address add {VIP}/32 dev lo")
    t = machine(lb, "lb1")
    beside = tmp_path / "beside"
    beside.mkdir()
    d = daemon(beside, lb, closing)
    d.start()
    r = Router(tmp_path / "router", router, closing)
    announcer = closing.add(Daemon(tmp_path, CONF / "routing/teal-announce", *d.words, place=lb,
                                   env=os.environ | d.env | {"TEAL_READYZ": readyz(t)}))
    until(r.knows, "the router knows the route")
    assert "lb1" in talk(router)
    t.ok("maintenance", "on")
    until(lambda: not r.knows(), "it is withdrawn")
    # Everything is served meanwhile: who has the address by another way.
    assert t.place.do(lambda: t.connect()).peer == "lb1"
    t.ok("maintenance", "off")
    until(r.knows, "it is announced again")
    # The daemon forgets what it was told.
    d.read_its_file_again()
    until(r.knows, "and again")
    d.daemon.close()
    until(lambda: not r.knows(), "a daemon that ends withdraws")
    d.start()
    until(d.announces, "the daemon is told anew")
    until(r.knows, "and tells the router")
    # A stop: withdrawn while teald serves yet.
    t.signal()
    until(lambda: not r.knows(), "it is withdrawn before the end")
    assert not t.log_lines_now("teald.closing")
    t.clock.move(121, wait=False)
    t.wait()
    announcer.said("withdrawn", 2)


def test_the_announcer_withdraws_when_it_ends(tmp_path):
    """Said to the routing daemon by its own words; a stand-in notes them."""
    noted, stub = tmp_path / "noted", tmp_path / "birdc"
    stub.write_text(f'#!/bin/sh\necho "$@" >>{noted}\n')
    stub.chmod(0o755)
    d = Daemon(tmp_path, CONF / "routing/teal-announce", "bird", "teal",
               env=os.environ | {"BIRDC": str(stub), "TEAL_READYZ": (tmp_path / "ok").as_uri()})
    (tmp_path / "ok").write_text("ready")
    d.said("announced")
    d.close()
    assert noted.read_text().split("\n")[:-1] == ["enable teal", "disable teal"]
    assert re.match(r"\s*teal-announce bird", subprocess.run([CONF / "routing/teal-announce"], capture_output=True, text=True).stderr)
