"""Whose packets the kernel engine leaves alone, and whose addresses its backends see."""
import re
import socket
import threading

import pytest

from helpers import libconfig
from helpers.backends import Farm
from helpers.clients import Client
from helpers.scale import until
from helpers.teald import service
from helpers.topology import possible

pytestmark = [pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables"), pytest.mark.nosan]


def test_backends_see_several_source_addresses_in_turn(topology, closing, teal):
    second, second6 = "10.77.2.9", "fd00:77:2::9"
    topology.hop.ip(f"address add {second}/24 dev inside", f"address add {second6}/64 dev inside")
    services = []
    for name, vip, node in (("four", topology.VIP, topology.node(1)), ("six", topology.VIP6, topology.node6(1))):
        closing.add(Farm(name, 80, host=node, place=topology.nodes))
        address = f"[{node}]:80" if name == "six" else f"{node}:80"
        services.append(service(name, listen=f"[{vip}]:80" if name == "six" else f"{vip}:80", green=[address], blue=[address],
                                engine="kernel", health={"type": "none"}))
    t = teal(place=topology.hop, services=services, kernel={
        "source_addresses": [topology.INSIDE, second, topology.INSIDE6, second6, "10.77.2.200"]})
    # One that is not here is told, with what helps; connections that get it are lost, so it is taken out again.
    assert "10.77.2.200" in t.log_lines("kernel.lacks")[0]["hint"]
    t.settings["kernel"]["source_addresses"].pop()
    t.conf.write_text(libconfig.dumps(t.settings))
    # It belongs to what an upgrade or a restart changes, and a reload says so.
    assert "kernel.source_addresses" in t.ctl("reload")["message"]
    t.restart()
    for vip, word, both in ((topology.VIP, "ipv4", {topology.INSIDE, second}), (topology.VIP6, "ipv6", {topology.INSIDE6, second6})):
        for _ in range(4):
            closing.add(topology.clients.do(lambda vip=vip: Client((vip, 80)))).echo()
        entries = topology.hop.run("conntrack", "-f", word, "-L", "-p", "tcp", "--orig-dst", vip)
        assert set(re.findall(r"src=\S+ dst=\S+ .*?src=\S+ dst=(\S+)", entries)) == both, entries


def test_what_another_program_has_open_at_the_address_goes_on(topology, closing, teal):
    """A program of this host serves clients at the address, and conntrack sleeps; then the rules come."""
    listener = closing.add(topology.hop.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener.bind((topology.VIP, 80))
    listener.listen()

    def serve():
        c, _ = listener.accept()
        closing.add(c).sendall(b"old\n")
        while data := c.recv(4096):
            c.sendall(data)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    old = closing.add(topology.clients.do(lambda: Client((topology.VIP, 80)))).echo()
    closing.add(Farm("green", 80, host=topology.node(1), place=topology.nodes))
    node = f"{topology.node(1)}:80"
    t = teal(place=topology.hop, services=[service("web", listen=f"{topology.VIP}:80", green=[node], blue=[node], engine="kernel",
                                                   health={"type": "none"})])
    new = closing.add(topology.clients.do(lambda: Client((topology.VIP, 80))))
    assert new.echo().peer == "green"
    assert old.echo(b"still here").peer == "old"
    # It is no connection of the service, also not for who counts them.
    until(lambda: t.status("web")["colors"]["green"]["connections"] == 1, "the new one is counted")
    dumps = t.metrics().get("teal_conntrack_corrected_total")
    assert old.echo(b"and on").peer == "old" and dumps is not None
    t.stop()
    assert old.echo(b"and without teald").peer == "old"
