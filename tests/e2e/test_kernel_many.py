"""A thousand services of twenty backends in one table: loaded at once, and a
flip of one costs what it costs alone."""
import pytest

from helpers.backends import Farm
from helpers.kernel import after_commit, kernel_service, other, quantiles, report
from helpers.scale import scaled
from helpers.clients import Client

pytestmark = [pytest.mark.scales, pytest.mark.nosan]
BACKENDS = 20
PORT = 8000


def test_a_thousand_services(topology, closing, teal, capfd):
    count, flips = scaled(1000, 50), scaled(100, 10)
    # All the nodes of a color are one process on all addresses of a port.
    for color, port in (("green", 8001), ("blue", 8002)):
        closing.add(Farm(color, port, host="0.0.0.0", place=topology.nodes))

    def backends(n, port):
        return [f"{topology.node(1 + (n * BACKENDS + i) % 60000)}:{port}" for i in range(BACKENDS)]

    services = [kernel_service(f"s{n}", topology, backends(n, 8001), backends(n, 8002),
                               listen=f"{topology.VIP}:{PORT + n}", health={"type": "none"}) for n in range(count)]
    t = teal(place=topology.hop, services=services)

    def visit(n, color):
        with topology.clients.do(lambda: Client((topology.VIP, PORT + n))) as c:
            assert c.echo().peer == color

    for n in (0, count // 2, count - 1):
        visit(n, "green")
    took, colors = [], {}
    for i in range(flips):
        n = (i * 37) % count
        colors[n] = other(colors.get(n, "green"))
        took.append(t.ok("flip", f"s{n}", colors[n]).event("applied")["ms"])
        visit(n, colors[n])
        visit((n + 1) % count, colors.get((n + 1) % count, "green"))
    applied = after_commit(t)
    # Another start finds it all, and changes nothing.
    t.kill()
    visit(0, colors[0])
    t.start()
    for n, color in list(colors.items())[:10]:
        visit(n, color)
    report(capfd, f"kernel engine: {count} services x {BACKENDS} backends a color; "
                  f"flip to applied {quantiles(took)}, "
                  f"without the store's part {quantiles(applied)}")
