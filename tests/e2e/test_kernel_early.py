"""Senders that were there before the kernel engine's rules, which translate only what begins."""
import contextlib
import socket
import threading

import pytest

from helpers.backends import Farm
from helpers.scale import until
from helpers.teald import service
from helpers.topology import possible

pytestmark = pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables")


def udp(place):
    s = place.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    s.settimeout(0.1)
    return s


def test_a_sender_that_keeps_its_port_is_heard_once_there_are_rules(topology, closing, teal):
    """A device that logs by UDP never stops: its entry in the kernel's table never expires."""
    closing.add(Farm("green", 514, host=topology.node(1), place=topology.nodes))    # for the checks
    backend = closing.add(udp(topology.nodes))
    backend.settimeout(None)
    backend.bind((topology.node(1), 514))

    def answers():
        with contextlib.suppress(OSError):
            while True:
                data, who = backend.recvfrom(100)
                backend.sendto(b"green " + data, who)
    threading.Thread(target=answers, daemon=True).start()
    sender = closing.add(udp(topology.clients))
    sender.connect((topology.VIP, 514))

    def heard():
        with contextlib.suppress(OSError):  # nothing in time; or, before there are rules, that nobody listens
            sender.send(b"line")
            return sender.recv(100)
    # A firewall, which makes the kernel track what comes.
    topology.hop.nft("table inet fw { chain i { type filter hook input priority 0; ct state invalid drop; }; }")
    assert heard() is None
    mine = ("conntrack", "-L", "-p", "udp", "--orig-port-src", str(sender.getsockname()[1]))
    assert "UNREPLIED" in topology.hop.run(*mine)
    t = teal(place=topology.hop, services=[service(
        "log", listen=f"{topology.VIP}:514", green=[f"{topology.node(1)}:514"], blue=[f"{topology.node(2)}:514"],
        mode="udp", engine="kernel")])
    assert until(heard, "it is heard") == b"green line"
    until(lambda: t.status("log")["colors"]["green"]["connections"] == 1, "it is counted, once")
    assert topology.node(1) in topology.hop.run(*mine)
    # What was taken out was no connection of the service.
    assert t.log_lines_now("udp.session") == []
