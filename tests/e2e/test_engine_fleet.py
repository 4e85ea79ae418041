"""The kernel engine in a fleet: rules expire when nobody renews them, and what is
known may be too old to be trusted."""
import time

import pytest

from helpers.backends import Farm
from helpers.clients import Client
from helpers.scale import until
from helpers.teald import service
from helpers.topology import possible

pytestmark = pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables")
MAX_AGE = 2.0


@pytest.fixture
def web(topology, closing, redis, teal):
    """make(**settings of the store): (redis, teald in the hop with one service)."""
    def make(**store):
        server = redis()
        g, b = (closing.add(Farm(c, 80, host=topology.node(i), place=topology.nodes)) for i, c in ((1, "green"), (2, "blue")))
        t = teal(services=[service(listen=f"{topology.VIP}:80", green=[g], blue=[b], engine="kernel")], place=topology.hop,
                 store={"type": "redis", "url": f"unix://{server.path}", "prefix": "teal:test", "max_age": MAX_AGE} | store)
        return server, t
    return make


def connect(topology):
    return topology.clients.do(lambda: Client((topology.VIP, 80)))


def answers(topology):
    try:
        with connect(topology) as c:
            return c.peer
    except ConnectionRefusedError:
        return None


def test_what_a_teald_that_died_said_is_believed_for_a_while_only(topology, web):
    _, t = web()
    held = connect(topology).echo()
    begun = time.monotonic()
    while time.monotonic() < begun + 1.5 * MAX_AGE:    # longer than it lives unless it is renewed
        assert answers(topology) == "green"
        time.sleep(0.05)
    t.kill()
    assert answers(topology) == "green"
    until(lambda: answers(topology) is None, "nobody is led there any more")
    held.echo(b"still here")
    t.start()
    assert answers(topology) == "green"
    held.echo(b"and yet").close()


def test_without_redis_it_goes_on_or_refuses(topology, web):
    """As stale says; a teald that lives renews."""
    for stale in ("serve", "refuse"):
        server, t = web(stale=stale, prefix=f"teal:{stale}")
        held = connect(topology).echo()
        server.kill()
        t.wait_log("store.stale")
        if stale == "serve":
            begun = time.monotonic()
            while time.monotonic() < begun + 1.5 * MAX_AGE:
                assert answers(topology) == "green"
                time.sleep(0.05)
        else:
            until(lambda: answers(topology) is None, "refused")
            t.wait_log("store.stale", refusing=True)
            until(lambda: t.metrics().get("teal_rejected_total", service="web", reason="stale") > 0, "counted")
        held.echo(b"still here").close()
        server.start()
        until(lambda: answers(topology) == "green", "served again")
        assert t.stop() == 0
        topology.hop.nft("delete table inet teal_main")


def test_a_flip_by_another_teald_is_obeyed(topology, web, teal, closing):
    server, t = web()
    # One of the fleet is a proxy: colors are the same for all.
    near = t.settings["services"][0]
    far = teal(services=[{k: v for k, v in near.items() if k != "engine"} | {"listen": "127.0.0.1:80"}],
               place=topology.clients, store=t.settings["store"])
    until(lambda: len(t.ok("fleet")["fleet"]) == 2, "a fleet of two")
    r = far.ok("flip", "web", "blue")
    assert r["epoch"] == 2
    assert answers(topology) == "blue"
    t.wait_log("flip.applied", to="blue")
