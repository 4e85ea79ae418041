"""Ports of clients that come again while the kernel still knows their last connection, to the color before."""
import socket

import pytest

from helpers.backends import Farm
from helpers.clients import Client
from helpers.scale import until
from helpers.teald import service
from helpers.topology import possible

pytestmark = [pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables"), pytest.mark.nosan]
PORT = 40000


def begin(topology, source):
    """A connection that is asked for, from PORT of that address."""
    def make():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setblocking(False)
        s.bind((source, PORT))
        assert s.connect_ex((topology.VIP, 80)) != 0
        return s
    return topology.clients.do(make)


def said(sock):
    """What has come; nothing while it is connecting."""
    try:
        return sock.recv(100)
    except BlockingIOError:
        return None


def vanish(sock):
    """Gone without a word, as with its machine (TCP_REPAIR)."""
    sock.setsockopt(socket.IPPROTO_TCP, 19, 1)
    sock.close()


def test_a_port_that_comes_again_leads_to_the_active_color(topology, teal, closing):
    """Neither to the old one, nor nowhere for as long as that drains: it had a connection whose client is gone, or
    one that no backend has answered."""
    closing.add(Farm("green", 80, host=topology.node(1), place=topology.nodes))
    closing.add(Farm("blue", 80, host=topology.node(2), place=topology.nodes))
    t = teal(place=topology.hop, services=[service(
        listen=f"{topology.VIP}:80", green=[f"{topology.node(1)}:80"], blue=[f"{topology.node(2)}:80"], engine="kernel",
        health={"type": "none"}, drain={"timeout": 600.0, "idle": 0.0})])
    gone, unheard, lives = (topology.source(i) for i in (1, 2, 3))

    def entry(source):
        return topology.hop.run("conntrack", "-L", "-p", "tcp", "--orig-src", source)

    def green_answers(answers):
        rule = f"ip daddr {topology.node(1)} tcp flags & (syn|ack) == syn drop"
        topology.nodes.nft("delete table inet mute\n" if answers else
                           f"table inet mute {{ chain c {{ type filter hook input priority 0; {rule}; }}; }}\n")
    first = begin(topology, gone)
    assert until(lambda: said(first), "it is greeted").startswith(b"green")
    until(lambda: "ASSURED" in entry(gone), "it is established")
    vanish(first)
    held = closing.add(topology.clients.do(lambda: Client((topology.VIP, 80), source=(lives, PORT)))).echo()
    green_answers(False)
    second = begin(topology, unheard)
    until(lambda: "SYN_SENT" in entry(unheard), "it is asked for")
    second.close()
    t.ok("flip", "web", "blue")
    green_answers(True)
    # The client has been silent for a while.
    topology.hop.run("conntrack", "-U", "-p", "tcp", "--orig-src", gone, "-t", "1000")
    for source in (gone, unheard):
        again = closing.add(begin(topology, source))
        assert until(lambda: said(again), "somebody answers").startswith(b"blue")
    assert {line["end"] for line in (t.wait_log("tcp.session", client=f"{s}:{PORT}", color="green") for s in (gone, unheard))} \
        == {"reset", "client_gone"}
    # Whose port has not come again stays.
    assert held.echo(b"still here").peer == "green"


def test_flows_that_find_no_free_port_are_counted(topology, teal, closing):
    """Of a client's port below 512 the kernel makes another one below 512: those towards one backend are used up by few."""
    backend = topology.node(1)
    closing.add(Farm("green", 514, host=backend, place=topology.nodes, udp=True))
    t = teal(place=topology.hop, services=[service(
        "log", mode="udp", listen=f"{topology.VIP}:514", green=[f"{backend}:514"], blue=[f"{topology.node(2)}:514"],
        engine="kernel", health={"type": "none"})])
    assert t.metrics().get("teal_conntrack_insert_failed_total") == 0
    senders = iter(range(1, 65000))

    def fails():
        def send():
            for _ in range(100):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.bind((topology.source(next(senders)), 300))
                    s.sendto(b"1", (topology.VIP, 514))
        topology.clients.do(send)
        return t.metrics().get("teal_conntrack_insert_failed_total") > 0
    until(fails, "no port is free, and it is told")
    assert t.ok("status")["kernel"]["insert_failed"] > 0
