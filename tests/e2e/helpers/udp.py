"""udp.py serve NAME HOST PORT: answers each datagram with its name and what it said.
udp.py load HOST PORT CLIENTS THINK [SOURCES]: flows as fast as CLIENTS can make them.

A flow is a socket of its own, from the next address of SOURCES, that asks
thrice and wants the same name thrice.  An answer that does not come in RETRY
seconds is asked for again and counted.  Runs until standard input ends, lets
what has begun finish, then prints one JSON list, as load.py does:
[[begun, ended, name, error, retries], ...].
"""
import heapq
import ipaddress
import json
import select
import socket
import sys
import time

ASKS = 3
RETRY = 5.0	# a slow machine is no loss
PATIENCE = 60.0


def serve(name, host, port):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind((host, port))
    s.setblocking(False)
    print("ready", flush=True)
    name = name.encode() + b" "
    while True:
        ready = select.select([s, sys.stdin], [], [])[0]
        if sys.stdin in ready:
            return
        for _ in range(256):
            try:
                data, who = s.recvfrom(2048)
                s.sendto(name + data, who)
            except BlockingIOError:
                break
            except OSError:
                continue  # a client that has gone: its port says so


class Flow:
    def __init__(self, where, source):
        family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(where)
        self.asked = self.retries = 0
        self.name = self.error = None
        self.done = False
        self.begun = time.monotonic()

    def ask(self):
        """Asks, or asks again; when to look whether it was answered."""
        try:
            self.sock.send(b"%d" % self.asked)
        except OSError as e:
            self.end(e.strerror)
        self.due = time.monotonic() + RETRY
        return self.due

    def answered(self):
        """Reads; True when the next question is due."""
        try:
            name, _, number = self.sock.recv(2048).partition(b" ")
        except BlockingIOError:
            return False
        except OSError as e:
            self.end(e.strerror)
            return False
        if int(number) != self.asked:
            return False  # of one that was asked twice
        if self.name not in (None, name.decode()):
            self.end(f"moved to {name.decode()}")
            return False
        self.name = name.decode()
        self.asked += 1
        if self.asked == ASKS:
            self.end(None)
        return not self.done

    def end(self, error):
        self.error, self.done = error, True
        self.ended = time.monotonic()


def load(host, port, clients, think, sources):
    ep, flows, results, due = select.epoll(), {}, [], []
    ep.register(0, select.EPOLLIN)
    first = int(ipaddress.ip_network(sources).network_address) if sources else 0
    n, stopping = 0, False

    def begin():
        nonlocal n
        n += 1
        f = Flow((host, port), str(ipaddress.ip_address(first + n % 65000 + 1)) if sources else None)
        flows[f.sock.fileno()] = f
        ep.register(f.sock, select.EPOLLIN)
        ask(f)

    def ask(f):
        heapq.heappush(due, (f.ask(), id(f), f))
        if f.done:
            finish(f)

    def finish(f):
        results.append([f.begun, f.ended, f.name, f.error, f.retries])
        del flows[f.sock.fileno()]
        f.sock.close()
        heapq.heappush(due, (f.ended + (think or (0.05 if f.error else 0)), id(f), None))

    for _ in range(clients):
        begin()
    print("ready", file=sys.stderr, flush=True)
    while flows or not stopping:
        now = time.monotonic()
        while due and due[0][0] <= now:
            when, _, f = heapq.heappop(due)
            if f is None:
                if not stopping:
                    begin()
            elif not f.done and f.due == when:
                f.retries += 1
                if now - f.begun > PATIENCE:
                    f.end(f"no answer for {PATIENCE:g} s")
                    finish(f)
                else:
                    ask(f)
        wait = min(1.0, max(0.0, due[0][0] - now)) if due else 1.0
        for fd, _ in ep.poll(wait):
            if fd == 0:
                ep.unregister(0)
                stopping = True
            elif fd in flows:
                f = flows[fd]
                if f.answered():
                    ask(f)
                elif f.done:
                    finish(f)
    json.dump(results, sys.stdout)


def main(role, *words):
    if role == "serve":
        serve(words[0], words[1], int(words[2]))
    else:
        load(words[0], int(words[1]), int(words[2]), float(words[3]), words[4] if len(words) > 4 else "")


if __name__ == "__main__":
    main(*sys.argv[1:])
