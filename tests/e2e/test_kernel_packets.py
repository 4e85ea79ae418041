"""Packets that are not like most: in fragments, larger than the way is wide, joined by the network card, after half of
the connection has ended; and neighbours whose MAC changes meanwhile.  The kernel engine passes them on."""
import contextlib
import re
import socket
import threading

import pytest

from helpers.backends import receive_stream, send_stream
from helpers.scale import until
from helpers.teald import service
from helpers.topology import possible

pytestmark = [pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables"), pytest.mark.nosan]
BULK = 4 << 20
DATAGRAM = 4000


class Node:
    """A backend of TCP that hears all until its client has no more to say, and only then speaks, the second half once
    .go is set; one of UDP that sends back what it got."""

    def __init__(self, topology, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._tcp, self._udp = (topology.nodes.socket(family, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
        for s in (self._tcp, self._udp):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, 80))
        self._tcp.listen()
        self.heard, self.go = [], threading.Event()
        for run in (self._serve, self._echo):
            threading.Thread(target=run, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self._tcp.accept()
                threading.Thread(target=self._talk, args=(c,), daemon=True).start()

    def _talk(self, c):
        with contextlib.suppress(OSError), c:
            self.heard.append(receive_stream(c))
            send_stream(c, 2, BULK, at_half=self.go.wait)

    def _echo(self):
        with contextlib.suppress(OSError):
            while True:
                data, who = self._udp.recvfrom(65535)
                if who is None:     # closed
                    return
                self._udp.sendto(data, who)

    def close(self):
        for s in (self._tcp, self._udp):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


@pytest.mark.parametrize("shortcut", ["off", "on"])
@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_what_is_not_like_most_packets(topology, teal, closing, six, shortcut):
    vip = topology.VIP6 if six else topology.VIP
    address = topology.node6(1) if six else topology.node(1)
    listen, green = (f"[{a}]:80" if six else f"{a}:80" for a in (vip, address))
    node = closing.add(Node(topology, address))
    family = socket.AF_INET6 if six else socket.AF_INET
    common = {"listen": listen, "green": [green], "blue": [green], "engine": "kernel", "health": {"type": "none"}}
    t = teal(place=topology.hop, services=[service("web", **common), service("log", mode="udp", **common)],
             kernel={"shortcut": shortcut})
    asker = closing.add(topology.clients.socket(family, socket.SOCK_DGRAM))
    asker.settimeout(1.0)
    asker.connect((vip, 80))

    def answered(number):
        """A datagram that takes three packets, there and back; it may be lost, as any."""
        asked = number.to_bytes(2, "big") * (DATAGRAM // 2)
        with contextlib.suppress(TimeoutError):
            asker.send(asked)
            while True:
                if asker.recv(65535) == asked:
                    return True

    def both_ways():
        """Megabytes there, then, with that half closed, back; the entry of conntrack while that is so."""
        c = closing.add(topology.clients.do(lambda: socket.create_connection((vip, 80), None)))
        port = c.getsockname()[1]
        sent = send_stream(c, 1, BULK)
        c.shutdown(socket.SHUT_WR)
        got = receive_stream(c, BULK // 4)
        entry = topology.hop.run("conntrack", "-f", family_word, "-L", "-p", "tcp", "--orig-port-src", port)
        # It goes on, so it is no connection that has ended.
        assert t.log_lines_now("tcp.session", client=f"[{topology.CLIENT6}]:{port}" if six else f"{topology.CLIENT}:{port}") == []
        assert node.heard.pop() == (BULK, sent)
        node.go.set()
        assert got[0] + receive_stream(c)[0] == BULK
        node.go.clear()
        c.close()
        return entry
    family_word = "ipv6" if six else "ipv4"
    assert until(lambda: answered(1), "fragments of a datagram, there and back")
    entry = both_ways()
    # A packet of the kernel's is as long as the card makes several of; conntrack counts what comes through the hooks.
    packets, size = map(int, re.search(r"packets=(\d+) bytes=(\d+)", entry).groups())
    assert size / packets > 1500 and (size > BULK or shortcut == "on"), entry
    # Neighbours on both sides have other cards; of which they tell when they ask for ours.
    for place, mac, hop in ((topology.nodes, "02:00:00:00:00:11", topology.INSIDE6 if six else topology.INSIDE),
                            (topology.clients, "02:00:00:00:00:22", vip)):
        place.ip(f"link set eth0 address {mac}", "neigh flush dev eth0")
        with place.socket(family, socket.SOCK_DGRAM) as s:
            s.sendto(b"", (hop, 9))
    assert until(lambda: answered(2), "fragments, to another card")
    both_ways()
    # A way inside that is narrower than both ends know: who sends too much is told, by the address that he knows.
    topology.hop.ip("link set inside mtu 1300")
    both_ways()
    assert "mtu 1300" in topology.clients.run("ip", "route", "get", vip)
    # A veth takes no longer packets than it sends, so for answers both ends of that cable are as narrow.
    topology.nodes.ip("link set eth0 mtu 1300")
    assert until(lambda: answered(3), "fragments, smaller ones")
    until(lambda: t.status("web")["colors"]["green"]["connections"] == 0, "all have ended")
    # A backend that has gone says so by ICMP, about a packet that the client never sent: he is told of his own.
    node.close()

    def refused():
        try:
            asker.send(b"anybody there?")
            asker.recv(65535)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    until(refused, "he is told")
