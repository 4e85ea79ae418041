"""The kernel engine as its users see it: status, metrics, log lines, drains,
previews, refusals, the same words as for what is proxied."""
import contextlib
import socket

import pytest

from helpers.backends import Farm
from helpers.clients import Client
from helpers.kernel import Flow
from helpers.scale import until
from helpers.teald import service
from helpers.topology import possible

pytestmark = pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables")


@pytest.fixture
def farms(topology, closing):
    def make(color, n, port=80, udp=False):
        first = 1 if color == "green" else 101
        return [closing.add(Farm(color, port, host=topology.node(first + i), place=topology.nodes, udp=udp))
                for i in range(n)]
    return make


@pytest.fixture
def web(topology, farms, teal):
    """make(**keys of the service): one service in the hop, two backends of each color."""
    def make(settings=(), **keys):
        t = teal(services=[service(listen=f"{topology.VIP}:80", preview=f"{topology.VIP}:81", green=farms("green", 2),
                                   blue=farms("blue", 2), engine="kernel", **keys)], place=topology.hop, **dict(settings))
        return t
    return make


def connect(topology, port=80, source=None):
    return topology.clients.do(lambda: Client((topology.VIP, port), source=(source, 0) if source else None))


def test_the_surface_is_that_of_a_proxied_service(topology, web):
    t = web(labels={"project": "shop"})
    assert t.status()["engine"] == "kernel"
    kernel = t.ok("status")["kernel"]
    assert kernel["table"] == "teal_main" and kernel["problem"] is None and kernel["max"] > 0
    a, b = connect(topology).echo(), connect(topology).echo()
    until(lambda: t.status()["colors"]["green"]["connections"] == 2, "both are counted")
    s = t.status()["colors"]["green"]
    assert sorted(x["connections"] for x in s["backends"]) == [1, 1]
    m = t.metrics()
    assert m.get("teal_connections", service="web", color="green") == 2
    assert m.get("teal_kernel_trouble") == 0
    until(lambda: t.metrics().get("teal_conntrack_entries") >= 2, "the table's entries")
    assert t.metrics().get("teal_conntrack_tracked") >= 2
    t.ok("flip", "web", "blue", "--drain=600")
    with connect(topology) as c:
        assert c.echo().peer == "blue"
    r = t.ok("drain", "web")
    assert r["draining"] and r["color"] == "green" and r["remaining"] == 2
    assert {c["client"] for c in r["connections"]} == {f"{topology.CLIENT}:{x.sock.getsockname()[1]}" for x in (a, b)}
    for c in r["connections"]:
        assert c["bytes_in"] > 0 and c["bytes_out"] > 0 and c["age"] >= 0 and topology.node(0)[:6] in c["backend"]
    here = a.sock.getsockname()[1]
    a.close()
    b.close()
    t.wait_log("flip.drained", cut=0)
    line = t.wait_log("tcp.session", client=f"{topology.CLIENT}:{here}")
    assert (line["color"], line["epoch"], line["entrance"], line["end"]) == ("green", 1, "main", "done")
    assert line["bytes_in"] > 0 and line["bytes_out"] > 0 and line["seconds"] > 0 and line["project"] == "shop"
    assert line["backend"] in {f"{topology.node(i)}:80" for i in (1, 2)}
    t.wait_metric(2, "teal_connections_total", service="web", color="green", end="done")
    assert t.metrics().get("teal_flips_total", service="web", to="blue", result="ok") == 1
    lines = [l.split("\t") for l in t.tealctl("status", check=0).stdout.splitlines()]
    assert [l[1] for l in lines if l[0] == "kernel"] == ["teal_main"]


def test_the_deadline_cuts_with_a_reset(topology, web):
    t = web()
    old = connect(topology).echo()
    r = t.ok("flip", "web", "blue", "--drain=0.2", "--wait=drained")
    assert r["active"] == "blue"
    assert t.wait_log("flip.drained")["cut"] == 1
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        for _ in range(100):
            old.echo(b"x")
    assert t.wait_log("tcp.session", end="drained")["color"] == "green"
    until(lambda: t.metrics().get("teal_stray_packets_total", service="web") > 0, "what came after the cut")
    t.wait_metric(1, "teal_connections_total", service="web", color="green", end="drained")


def test_a_color_that_comes_back_keeps_its_connections(topology, web):
    t = web()
    old = connect(topology).echo()
    t.ok("flip", "web", "blue", "--drain=600")
    t.ok("rollback", "web")
    t.wait_log("flip.drain_cancelled", color="green")
    old.echo(b"still here").close()


def test_the_preview_reaches_the_idle_color_until_a_flip(topology, web):
    t = web()
    with connect(topology, 81) as p:
        assert p.echo().peer == "blue"
        until(lambda: t.status()["colors"]["blue"]["preview_connections"] == 1, "counted apart")
        assert t.status()["colors"]["blue"]["connections"] == 0
        t.ok("flip", "web", "blue")
        assert t.wait_log("tcp.session", end="preview_flipped")["entrance"] == "preview"
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(100):
                p.echo(b"x")
    with connect(topology, 81) as p:
        assert p.echo().peer == "green"


def test_udp_has_sessions_too(topology, farms, teal):
    t = teal(services=[service("dns", mode="udp", engine="kernel", listen=f"{topology.VIP}:53",
                               green=farms("green", 1, 53, udp=True), blue=farms("blue", 1, 53, udp=True),
                               health={"type": "none"})], place=topology.hop)
    s = topology.clients.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    s.settimeout(20)
    s.connect((topology.VIP, 53))

    def ask():
        s.send(b"1")
        return s.recv(100).split()[0].decode()
    assert ask() == "green"
    assert t.status("dns")["mode"] == "udp"
    until(lambda: t.status("dns")["colors"]["green"]["connections"] == 1, "counted")
    t.ok("flip", "dns", "blue", "--drain=600")
    assert ask() == "green"
    t.ok("flip", "dns", "green")
    t.ok("flip", "dns", "blue", "--drain=0", "--wait=drained")
    # Of the same address and port it is a new flow from then on.
    until(lambda: ask() == "blue", "the new color")
    line = t.wait_log("udp.session", end="drained")
    assert (line["color"], line["epoch"]) == ("green", 1)
    s.close()


def test_who_may_come_in(topology, web):
    t = web(deny=["10.79.0.1"], max_connections_per_source=1)
    with contextlib.ExitStack() as held:
        for i in (2, 3):
            held.enter_context(connect(topology, source=topology.source(i))).echo()
        with pytest.raises(ConnectionRefusedError):
            connect(topology, source=topology.source(1))
        with pytest.raises(ConnectionRefusedError):
            connect(topology, source=topology.source(2))
    t.wait_metric(1, "teal_rejected_total", service="web", reason="denied")
    t.wait_metric(1, "teal_rejected_total", service="web", reason="source_limit")


@pytest.mark.parametrize("on_down", ["keep", "reset"])
def test_a_backend_that_fails_its_checks(topology, farms, teal, closing, on_down):
    """It gets nothing new; what it has stays, or is cut.  Its checks go to another
    port, so that the traffic's does not fail by itself."""
    nodes = [topology.node(i) for i in (1, 2)]
    for node in nodes:
        for name, port in (("green", 10080), ("blue", 11080)):
            closing.add(Farm(name, port, host=node, place=topology.nodes))
    health = [closing.add(Farm("health", 8080, host=node, place=topology.nodes)) for node in nodes]
    t = teal(services=[{"name": "web", "listen": f"{topology.VIP}:80", "engine": "kernel", "on_down": on_down, "nodes": nodes,
                        "green": {"port": 10080, "health_port": 8080}, "blue": {"port": 11080, "health_port": 8080},
                        "health": {"interval": 0.2, "timeout": 20.0, "rise": 1, "fall": 1}}], place=topology.hop)
    held = [connect(topology) for _ in range(2)]
    for c in held:
        c.echo()
    until(lambda: sorted(b["connections"] for b in t.status()["colors"]["green"]["backends"]) == [1, 1], "one each")
    health[0].close()
    t.wait_log("backend.down", backend=f"{topology.node(1)}:10080", color="green")
    for _ in range(4):
        with connect(topology) as c:
            c.echo()
    if on_down == "reset":
        assert t.wait_log("tcp.session", end="backend_down")["backend"] == f"{topology.node(1)}:10080"

    def lives(c):
        try:
            return bool(c.echo(b"x"))
        except OSError:
            return False
    if on_down == "reset":
        until(lambda: sum(map(lives, held)) == 1, "one was cut")
    else:
        assert sum(map(lives, held)) == 2
    assert t.metrics().get("teal_backend_up", backend=f"{topology.node(1)}:10080") == 0


def test_a_sender_leaves_a_backend_that_fails_its_checks(topology, closing, teal):
    """No datagram tells him, and while he sends the kernel forgets nothing: "reset" is what on_down is for UDP."""
    nodes = [topology.node(i) for i in (1, 2)]
    for node, name in zip(nodes, ("first", "second")):
        closing.add(Farm(name, 53, host=node, place=topology.nodes, udp=True))
    health = {n: closing.add(Farm("health", 8080, host=node, place=topology.nodes))
              for n, node in zip(("first", "second"), nodes)}
    t = teal(services=[{"name": "dns", "mode": "udp", "listen": f"{topology.VIP}:53", "engine": "kernel", "nodes": nodes,
                        "green": {"port": 53, "health_port": 8080}, "blue": {"port": 54, "health_port": 8080},
                        "health": {"interval": 0.2, "timeout": 20.0, "rise": 1, "fall": 1}}], place=topology.hop)
    sender = closing.add(Flow(topology, topology.source(1), (topology.VIP, 53)))
    had, other = sender.peer, "second" if sender.peer == "first" else "first"
    health[had].close()
    t.wait_log("udp.session", end="backend_down")
    until(lambda: sender.ask() == other, "he is heard by the other one")


def test_no_backend_is_a_refusal(topology, farms, teal):
    down = [f"{topology.node(250)}:80"]
    t = teal(services=[service(listen=f"{topology.VIP}:80", green=down, blue=farms("blue", 1), engine="kernel",
                               when_all_down="reject")], place=topology.hop)
    t.wait_log("backend.down")
    t.rest()
    with pytest.raises(ConnectionRefusedError):
        connect(topology)
    t.wait_metric(1, "teal_rejected_total", service="web", reason="no_backend")
    assert t.ctl("flip", "web", "green", "--wait=applied")["changed"] is False
    t.ok("flip", "web", "blue")
    with connect(topology) as c:
        assert c.echo().peer == "blue"


def test_proxied_and_forwarded_services_side_by_side(topology, farms, teal):
    g, b = farms("green", 1), farms("blue", 1)
    t = teal(services=[service("web", listen=f"{topology.VIP}:80", green=g, blue=b, engine="kernel"),
                       service("slow", listen=f"{topology.VIP}:90", green=g, blue=b)], place=topology.hop)
    assert {s["name"]: s["engine"] for s in t.ok("status")["services"]} == {"web": "kernel", "slow": "proxy"}
    with connect(topology) as one, connect(topology, 90) as two:
        assert one.echo().peer == two.echo().peer == "green"
        t.ok("flip", "slow", "blue")
        with connect(topology) as c, connect(topology, 90) as d:
            assert (c.echo().peer, d.echo().peer) == ("green", "blue")
    m = t.metrics()
    assert m.get("teal_connect_seconds_count", service="slow", color="green") >= 1
    assert {dict(labels)["service"] for _, labels in m.families["teal_connect_seconds"].samples} == {"slow"}


def test_clients_on_the_host_itself(topology, web):
    t = web(local_clients=True)
    with topology.hop.do(lambda: Client((topology.VIP, 80))) as c:
        assert c.echo().peer == "green"
        until(lambda: t.status()["colors"]["green"]["connections"] == 1, "counted")


def test_transparent_backends_see_the_client(topology, web):
    t = web(source="transparent")
    with connect(topology, source=topology.source(7)) as c:
        c.echo()
        seen = topology.nodes.run("ss", "-Htn", "state", "established", "sport", "=", ":80")
        assert topology.source(7) in seen
        until(lambda: t.status()["colors"]["green"]["connections"] == 1, "counted")


def test_nodes_drain_and_go_without_touching_their_connections(topology, farms, teal):
    for c in ("green", "blue"):
        for f in farms(c, 2, 10080 if c == "green" else 11080):
            pass
    farms("blue", 2, 10080)
    nodes = [topology.node(1), topology.node(2)]
    t = teal(services=[{"name": "web", "listen": f"{topology.VIP}:80", "engine": "kernel", "nodes": "main",
                        "green": {"port": 10080}, "blue": {"port": 10080},
                        "health": {"type": "none"}}],
             node_pools={"main": nodes}, place=topology.hop)
    held = [connect(topology).echo() for _ in range(2)]
    t.ok("node", "drain", "main", nodes[0])
    for _ in range(3):
        with connect(topology) as c:
            c.echo()
    by = {b["address"]: b["connections"] for b in t.status()["colors"]["green"]["backends"]}
    until(lambda: {b["address"]: b["connections"] for b in t.status()["colors"]["green"]["backends"]}
          == {f"{nodes[0]}:10080": 1, f"{nodes[1]}:10080": 1}, f"the held ones alone: {by}")
    t.ok("node", "remove", "main", nodes[0])
    for c in held:
        c.echo(b"still here").close()
    assert {l["backend"] for l in (t.wait_log("tcp.session", count=5) and t.sessions())} == {f"{n}:10080" for n in nodes}
