"""Health checks share their places: a thousand backends that let probes hang do
not keep one that dies elsewhere from being seen."""
import pytest

from helpers.backends import BlackHole
from helpers.scale import scaled, until
from helpers.teald import service

PLACES = 128 + 128 + 96    # as teald(8) says
HANGS = 300.0             # longer than any test waits


@pytest.mark.scales
def test_a_backend_that_dies_is_seen_while_others_hang(teal, backend, ports, closing):
    hole = closing.add(BlackHole(ports.hold(), "0.0.0.0"))
    many = scaled(40 * PLACES, 2 * PLACES)
    green, dying, blue = backend("green"), backend("green"), backend("blue")
    health = {"interval": 0.1, "timeout": HANGS, "rise": 1, "fall": 2}
    services = [service("shop", listen=f"127.0.0.1:{ports.hold()}", green=[green, dying], blue=[blue],
                        health=health | {"timeout": 1.0})]
    for k in range(many // 88):
        services.append(service(f"dead{k}", listen=f"127.0.0.1:{ports.hold()}", health=health,
                                green=[f"127.{1 + k}.0.{n + 1}:{hole.port}" for n in range(44)],
                                blue=[f"127.{1 + k}.1.{n + 1}:{hole.port}" for n in range(44)]))
    t = teal(services=services, start=False)
    t.start(ready=False)
    t.wait_log("backend.up", count=3, service="shop")
    dying.stop()
    t.wait_log("backend.down", service="shop", backend=dying.address)
    dying.start()
    t.wait_log("backend.up", count=2, service="shop", backend=dying.address)
    # None of the others has had an answer: they all hang.
    assert t.log_lines_now("backend.down") == t.log_lines_now("backend.down", service="shop")
    until(lambda: t.status("shop")["colors"]["green"]["healthy"] == 2, "both are up")
