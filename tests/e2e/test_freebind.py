"""An address that is not there yet: that of a keepalived's standby, or of IPv6 while
it is tentative."""
import pytest

from helpers.backends import Farm
from helpers.clients import Client
from helpers.teald import service

COMES = "10.77.99.1"


@pytest.fixture
def stage(topology, teal, closing):
    green, blue = (closing.add(Farm(n, 80, host=topology.node(i), place=topology.nodes))
                   for n, i in (("green", 1), ("blue", 101)))

    def make(start=True, **tcp):
        return teal(services=[service(listen=f"{COMES}:80", green=[green], blue=[blue], tcp=tcp)], place=topology.hop,
                    start=start)
    return make


def test_the_refusal_says_what_allows_it(stage):
    _, text = stage(start=False).start_refused()
    assert "freebind" in text and "net.ipv4.ip_nonlocal_bind=1" in text


def test_it_is_served_once_it_comes(topology, stage):
    stage(freebind=True)
    topology.hop.ip(f"address add {COMES}/32 dev lo")
    with topology.hop.do(lambda: Client((COMES, 80))) as c:
        assert c.line() == "green"
