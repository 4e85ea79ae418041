#!/bin/bash
# Linux (seen with 6.18): a pipe of 65,536 bytes is full with 16 bytes when each came by splice(2) from a TCP segment
# of its own, and splice then says EAGAIN as it does for a socket that has nothing.
#
# A proxy moves bytes socket -> pipe -> socket by splice(2) and keeps account of them: it knows that the pipe holds
# 65,536 bytes and how many are in it. A sender of small segments (a terminal, a game, an event stream) is valid
# TCP. Expected: with 16 bytes in the pipe there is room for 65,520 more, so EAGAIN from a splice into it means that
# the socket is empty, and the next thing to wait for is the socket. Seen: a pipe has 16 places (its size divided by
# the page size), a spliced segment takes one of them, however short it is, and is never joined with its neighbour.
# The 17th byte stays in the socket, EAGAIN comes back, FIONREAD says 1 for the socket and 16 for the pipe. A proxy that
# waits for the socket spins on level-triggered readiness (the socket *is* readable), or sleeps for ever with
# edge-triggered readiness, although the other side could take everything. A larger pipe (F_SETPIPE_SZ) moves the
# limit and no more. What helps: after EAGAIN, empty the pipe first whenever it holds a single byte, and only with an
# empty pipe take EAGAIN for an empty socket.
#
# Exit status 0: it is so; 1: it has changed.  Needs python3 (3.10 or newer, Debian 12 has it), the loopback interface.
set -euo pipefail
uname -sr
timeout 60 python3 - <<'P'
import fcntl
import os
import select
import socket
import struct
import sys
import termios

NONBLOCK = 2  # SPLICE_F_NONBLOCK


def held(fd):
    return struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0]


def bytes_until_eagain(size):
    """Sends single bytes, each a segment, and splices each into a pipe nobody reads: (taken, left in the socket)."""
    listener = socket.create_server(("127.0.0.1", 0))
    sender = socket.create_connection(listener.getsockname())
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    receiver, _ = listener.accept()
    receiver.setblocking(False)
    out, into = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, size)
    size = fcntl.fcntl(into, fcntl.F_GETPIPE_SZ)
    taken = 0
    while taken < size:
        sender.send(b"x")
        select.select([receiver], [], [])
        try:
            taken += os.splice(receiver.fileno(), into, size, flags=NONBLOCK)
        except BlockingIOError:
            break
    left, inside = held(receiver.fileno()), held(out)
    print(f"pipe of {size} bytes: EAGAIN with {inside} bytes in it and {left} in the socket")
    rest = len(os.read(out, size))
    again = os.splice(receiver.fileno(), into, size, flags=NONBLOCK)
    print(f"  after {rest} bytes were read from it the same call takes {again}")
    return taken, left, again


page = os.sysconf("SC_PAGE_SIZE")
seen = [bytes_until_eagain(places * page) for places in (16, 64)]
sys.exit(seen != [(16, 1, 1), (64, 1, 1)])
P
