"""load.py HOST PORT CLIENTS [THINK [SOURCES]]: connections as fast as CLIENTS can make them.

Each client connects, reads the greeting (a backend's name), has one message
echoed and closes, again and again, THINK seconds apart, each time from the
next address of SOURCES (10.79.0.0/16).  A line "N" on standard input is
answered with "enough" on standard error once N that begin from now on have
ended.  Runs until standard input ends, lets what has begun finish, then prints one JSON list:
[[begun, ended, name, error], ...], times of CLOCK_MONOTONIC, which is
the same for all processes; begun is taken before connect().
"""
import errno
import heapq
import ipaddress
import json
import os
import select
import socket
import sys
import time

MESSAGE = b"x" * 200
PATIENCE = 120.0  # only a hang takes so long


class Client:
    def __init__(self):
        self.sock = None


def main():
    host, port, clients = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    think = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    sources = int(ipaddress.ip_network(sys.argv[5]).network_address) if len(sys.argv) > 5 else None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    local = family == socket.AF_INET and host.startswith("127.")
    ep, by_fd, results, due = select.epoll(), {}, [], []
    ep.register(0, select.EPOLLIN)
    n = 0

    wanted, since = 0, 0.0

    def begin(c):
        nonlocal n
        n += 1
        c.sock = s = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sources:
            s.setsockopt(socket.IPPROTO_IP, 24, 1)
            s.bind((str(ipaddress.ip_address(sources + n % 65000 + 1)), 0))
        elif local:
            # Many source addresses: the ports never run out.
            s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            s.bind((f"127.1.{n >> 4 & 255}.{(n & 15) + 1}", 0))
        c.read, c.name, c.state = b"", None, "greeting"
        c.begun = time.monotonic()
        r = s.connect_ex((host, port))
        if r not in (0, errno.EINPROGRESS):
            end(c, os.strerror(r))
            return
        by_fd[s.fileno()] = c
        ep.register(s, select.EPOLLIN)

    def end(c, error):
        nonlocal wanted
        now = time.monotonic()
        results.append([c.begun, now, c.name, error])
        if wanted and c.begun > since:
            wanted -= 1
            if wanted == 0:
                print("enough", file=sys.stderr, flush=True)
        by_fd.pop(c.sock.fileno(), None)
        c.sock.close()
        c.sock = None
        heapq.heappush(due, (now + (think or (0.05 if error else 0)), id(c), c))

    def step(c):
        try:
            data = c.sock.recv(4096)
            if not data:
                end(c, f"closed while waiting for the {c.state}")
                return
            c.read += data
            if c.name is None and b"\n" in c.read:
                name, c.read = c.read.split(b"\n", 1)
                c.name, c.state = name.decode(), "echo"
                c.sock.send(MESSAGE)
            elif c.name is not None and len(c.read) >= len(MESSAGE):
                end(c, None if c.read == MESSAGE else "a wrong echo")
        except BlockingIOError:
            pass
        except OSError as e:
            end(c, f"{e.strerror} while waiting for the {c.state}")

    stopping = False
    for _ in range(clients):
        begin(Client())
    print("ready", file=sys.stderr, flush=True)
    while by_fd or not stopping:
        now = time.monotonic()
        while due and due[0][0] <= now:
            c = heapq.heappop(due)[2]
            if not stopping:
                begin(c)
        wait = max(0.0, due[0][0] - now) if due and not stopping else 1.0
        for fd, events in ep.poll(min(wait, 1.0)):
            if fd == 0:
                if line := os.read(0, 100):
                    wanted, since = int(line), time.monotonic()
                else:
                    ep.unregister(0)
                    stopping = True
            elif fd in by_fd:
                step(by_fd[fd])
        for c in [c for c in by_fd.values() if now - c.begun > PATIENCE]:
            end(c, f"no {c.state} for {PATIENCE:g} s")
    json.dump(results, sys.stdout)


main()
