#!/bin/bash
# Linux (seen with 6.18): a veth whose end has a small MTU drops single packets that are longer, without a word;
# longer ones that are joined (GSO) get through.
#
# The MTU of one end of a veth is lowered, for a tunnel or by a container's runtime, and that of its peer is
# not.  Expected: an MTU bounds what an interface sends, and what comes is taken; or else
# nothing longer gets through, so that a large transfer finds out.  Seen: datagrams of 1,272 bytes arrive at an end whose MTU
# is 1,300, those of 1,428 do not; their write succeeds, no ICMP says why, and nothing but tx_dropped of
# the *sending* end counts.  By TCP, where the peer announced segments of 1,460 bytes, ten segments of one write arrive, as
# they go as one joined packet, and a single segment after them does not.  So uploads and downloads work, and
# short answers hang, the reverse of what a narrow way does elsewhere.
#
# Exit status 0: it is so; 1: it has changed.  Needs root, iproute2 and python3 (Debian 12); works in two network
# namespaces of its own.
set -euo pipefail
uname -sr
a=veth-a-$$ b=veth-b-$$
trap 'ip netns del $a; ip netns del $b' EXIT
ip netns add $a
ip netns add $b
ip link add wide netns $a type veth peer name narrow netns $b
ip -n $a addr add 10.9.9.1/24 dev wide
ip -n $b addr add 10.9.9.2/24 dev narrow
ip -n $a link set wide up
ip -n $b link set narrow mtu 1300 up
ip -n $b route change 10.9.9.0/24 dev narrow src 10.9.9.2 advmss 1460
timeout 60 python3 - $a $b <<'P'
import ctypes
import select
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)


def enter(name):
    with open(f"/run/netns/{name}") as f:
        if libc.setns(f.fileno(), 0x40000000):    # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")


def dropped():
    """What the sending end counts as dropped (this thread is in its namespace)."""
    with open("/proc/thread-self/net/dev") as f:
        return int(next(line for line in f if "wide:" in line).split(":")[1].split()[11])


def taken(sock, n, patience=2.0):
    """Bytes that arrive before the line is silent for that long."""
    got = 0
    while got < n and select.select([sock], [], [], patience)[0]:
        got += len(sock.recv(1 << 20))
    return got


enter(sys.argv[2])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("10.9.9.2", 9))
server = socket.create_server(("10.9.9.2", 9))
enter(sys.argv[1])
seen, before = {}, dropped()
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for size in (1272, 1428):
    seen[f"a datagram of {size} bytes: written"] = out.sendto(b"x" * size, ("10.9.9.2", 9))
    seen[f"a datagram of {size} bytes: arrived"] = taken(udp, size)
seen["dropped, as the sending end counts"] = dropped() - before
client = socket.create_connection(("10.9.9.2", 9))
peer, _ = server.accept()
print("segments of at most", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
client.send(b"x" * 14480)    # ten segments: what the first window takes, as one joined packet
seen["10 segments by one write to TCP: arrived"] = taken(peer, 14480)
client.send(b"x" * 1440)
seen["1 segment by one write to TCP: arrived"] = taken(peer, 1440)
for what, result in seen.items():
    print(f"{what}: {result}")
sys.exit(list(seen.values()) != [1272, 1272, 1428, 0, 1, 14480, 0])
P
