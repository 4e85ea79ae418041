"""Ports nobody else takes.

A held port stays bound, without listening, for as long as the test runs.
With SO_REUSEADDR and SO_REUSEPORT on both sides the program under test can
bind and listen beside it, but no bind(0) and no connect() of another process
is given that number; and while nobody listens, a connect is refused.  Numbers
come from below the ephemeral range, so that outgoing connections avoid them.
"""
import os
import random
import socket

_random = random.Random(os.getpid() ^ int.from_bytes(os.urandom(8), "big"))


def _family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listener(host, port=0, backlog=1024):
    """A listening socket that may stand beside a held one."""
    s = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if s.family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((host, port))
        s.listen(backlog)
    except OSError:
        s.close()
        raise
    return s


class Ports:
    """Holds ports until close()."""

    def __init__(self):
        self._held = []

    def hold(self, host="127.0.0.1"):
        """A number that is free on host (and on 127.0.0.1 and ::1)."""
        for _ in range(1000):
            number = _random.randrange(10240, 32000)
            taken = []
            try:
                for h in {host, "127.0.0.1", "::1"}:
                    taken.append(self._take(h, number))
            except OSError:
                for s in taken:
                    s.close()
                continue
            self._held += taken
            return number
        raise RuntimeError("no free port")

    @staticmethod
    def _take(host, number):
        s = socket.socket(_family(host), socket.SOCK_STREAM)
        try:
            if s.family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Alone first: whoever else holds it makes this fail ...
            s.bind((host, number))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError:
            s.close()
            raise
        # ... then shared with those that ask for it.
        return s

    def close(self):
        for s in self._held:
            s.close()
        self._held = []
