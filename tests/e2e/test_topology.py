"""The stage of the kernel engine's stories, before anything stands on it: what
forwards, who is asked, what a loss looks like."""

import pytest

from helpers.backends import Backend, Farm
from helpers.clients import Client, Load
from helpers.scale import until
from helpers.teald import service
from helpers.topology import Topology, possible

pytestmark = [pytest.mark.nosan,
              pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables")]


@pytest.mark.parametrize("node, source", [(Topology.node, Topology.source), (Topology.node6, Topology.source6)])
def test_clients_reach_nodes_through_the_hop_with_their_own_addresses(topology, closing, node, source):
    b = closing.add(Backend("green", 80, host=node(3)))
    topology.nodes.do(b.start)
    with topology.clients.do(lambda: Client((b.host, 80), source=(source(700), 0))) as c:
        assert c.echo().peer == "green"
        assert c.sock.getsockname()[0] == source(700)
    until(lambda: b.open == 0, "closed")


def test_a_load_sees_each_datagram_that_is_lost(topology, closing):
    """A hop that drops some second questions: they are asked again, and counted."""
    closing.add(Farm("green", 53, host=topology.node(1), place=topology.nodes, udp=True))
    load = closing.add(Load(topology.node(1), 53, 4, 0.01, place=topology.clients, sources=topology.SOURCES, udp=True))
    until(lambda: count(topology.nodes) > 50, "answers")
    topology.hop.nft("table inet lost { chain c { type filter hook forward priority 0; "
                     "udp dport 53 meta length 29 @th,64,8 0x31 numgen inc mod 5 0 drop; }; }")
    until(lambda: "lost" in topology.hop.run("nft", "list", "tables"), "there")
    before = count(topology.nodes)
    until(lambda: count(topology.nodes) > before + 50, "more of them")
    flows = load.finish()
    assert {f.name for f in flows} == {"green"} and not [f for f in flows if f.error]
    assert sum(f.retries for f in flows) > 0


def test_a_load_of_connections_uses_each_address_in_turn(topology, closing):
    closing.add(Farm("blue", 80, host=topology.node(2), place=topology.nodes))
    load = closing.add(Load(topology.node(2), 80, 3, place=topology.clients, sources=topology.SOURCES))
    sessions = load.finish()
    assert sessions and {s.name for s in sessions} == {"blue"} and not [s for s in sessions if s.error]


def count(place):
    """Datagrams that came in there."""
    lines = [l.split() for l in place.do(lambda: open("/proc/thread-self/net/snmp").read()).splitlines()
             if l.startswith("Udp:")]
    return int(dict(zip(*lines))["InDatagrams"])


def test_teald_lives_there_and_is_talked_to_from_here(topology, teal, closing):
    green, blue = (closing.add(Farm(c, 80, host=topology.node(i), place=topology.nodes))
                   for i, c in ((1, "green"), (2, "blue")))
    t = teal(services=[service(listen=f"{topology.VIP}:80", green=[green], blue=[blue])], place=topology.hop)
    assert t.metrics().get("teal_service_active", service="web", color="green") == 1
    with topology.clients.do(lambda: Client((topology.VIP, 80))) as c:
        assert c.echo().peer == "green"
    t.ok("flip", "web", "blue")
    with topology.clients.do(lambda: Client((topology.VIP, 80))) as c:
        assert c.echo().peer == "blue"


def test_two_stand_side_by_side_and_leave_nothing(topology):
    other = Topology()
    topology.hop.nft("add table inet mine")
    assert [t["table"]["name"] for t in topology.tables()] == ["mine"] and other.tables() == []
    assert topology.tables(but=("mine",)) == []
    other.close()
