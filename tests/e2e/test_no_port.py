"""Ports of the balancer's own that are used up are no fault of the backend's: it
is neither down nor ejected, and the operator is told what helps."""
from helpers.backends import Farm
from helpers.clients import Client
from helpers.scale import until
from helpers.teald import service

PORTS = 4


def test_ports_that_are_used_up(topology, teal, closing):
    """The hop has a few ports to come from, and clients hold them all."""
    topology.hop.sysctl(**{"net/ipv4/ip_local_port_range": f"40000 {40000 + PORTS - 1}"})
    green, blue = (closing.add(Farm(n, 80, host=topology.node(i), place=topology.nodes))
                   for n, i in (("green", 1), ("blue", 101)))
    t = teal(services=[service(listen=f"{topology.VIP}:80", green=[green], blue=[blue],
                               health={"interval": 0.1, "fall": 1}, passive={"failures": 1}, retry_pause=0.0)],
             place=topology.hop)
    address = (topology.VIP, 80)
    held = []

    def used_up():
        c = closing.add(topology.clients.do(lambda: Client(address)))
        held.append(c)
        return t.log_lines_now("tcp.session", end="no_port")
    until(used_up, "no port is free")
    line = t.wait_log("backend.no_port")
    assert "ip_local_port_range" in line["hint"]
    assert "ip_local_port_range" in t.wait_log("health.cannot_check")["reason"]
    m = t.metrics()
    assert m.get("teal_no_port_total", service="web", color="green") >= 1
    assert m.get("teal_rejected_total", service="web", reason="no_port") >= 1
    for color in ("green", "blue"):
        assert [b["state"] for b in t.status()["colors"][color]["backends"]] == ["up"]
    assert not t.log_lines("backend.down") and not t.log_lines("backend.ejected")
    assert "ip_local_port_range" in t.ctl("check", "web", "green")["message"]
    for c in held:
        c.reset()   # and so does teal: no port waits for the rest of a FIN

    def served():
        with topology.clients.do(lambda: Client(address)) as c:
            return c.line() == "green"
    until(served, "ports are free again")
