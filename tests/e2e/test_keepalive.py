"""The kernel looks after every connection from its first moment: its keepalive
timer runs on both legs, of TCP and HTTP, also where nobody ever says a word."""
import pytest

from helpers.backends import mute
from helpers.http1 import Http, site
from helpers.scale import until

# proc_pid_net(5): a timer of that kind runs, and a connection is established.
KEEPALIVE, NONE, ESTABLISHED = "02", "00", "01"


def timers(port, remote=False):
    """The kinds of the timers of connections whose own port, or the other side's, that is."""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f][1:]
    return [row[5].split(":")[0] for row in rows
            if int(row[1 + remote].split(":")[1], 16) == port and row[3] == ESTABLISHED]


def both_legs(t, n, kind):
    """n clients and n connections to the backend have it."""
    until(lambda: timers(t.address()[1]) == [kind] * n, "the clients' legs")
    until(lambda: timers(t.green.port, remote=True) == [kind] * n, "the backends' legs")


@pytest.mark.parametrize("keys", [{}, {"idle_timeout": 0.0}, {"idle_timeout": 7200.0}, {"tcp": {"keepalive_idle": 5}}])
def test_connections_that_are_quiet_from_their_start(web, backend, closing, keys):
    t = web(green=[backend("green", mute)], health={"type": "none"}, **keys)
    for _ in range(3):
        closing.add(t.connect())
    both_legs(t, 3, KEEPALIVE)


def test_http(web, backend, closing):
    t = web(green=[backend("green", site)], mode="http", health={"type": "none"}, pool_idle=0.0, header_timeout=600.0)
    c = closing.add(Http(t.address()))
    until(lambda: timers(t.address()[1]) == [KEEPALIVE], "a client that has asked nothing yet")
    assert c.ask().status == 200
    both_legs(t, 1, KEEPALIVE)


def test_not_where_it_is_switched_off(web, backend, closing):
    t = web(green=[backend("green", mute)], health={"type": "none"}, tcp={"keepalive": False})
    closing.add(t.connect())
    both_legs(t, 1, NONE)
