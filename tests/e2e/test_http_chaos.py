"""Everything at once: clients and backends that do what they like, limits that are reached all the
time, and flips.  Nobody can say what each of them gets; but nothing may be lost on the way."""
import contextlib
import socket
import threading
import time

import pytest

from helpers.backends import reset
from helpers.http1 import Http, Reader, chunked
from helpers.scale import dice, scaled, until

PLAYS = scaled(1000, 15)     # of each client
CLIENTS, PLACES, BACKEND_PLACES = 24, 16, 3
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


def moody(seed):
    """A backend that answers well half of the time."""
    lock, rng = threading.Lock(), dice(seed)

    def behave(conn, b):
        reader = Reader(conn)
        while (m := reader.head()) is not None:
            with lock:
                mood, pause, size = rng.random(), rng.random() * 0.02, rng.choice((0, 1, 100, 70000, 1 << 20))
            if m.get("Expect") and mood < 0.8:
                conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            if m.get("Upgrade") and mood < 0.6:
                conn.sendall(SWITCH)
                while data := conn.recv(1 << 16):
                    conn.sendall(data)
                return
            if 0.5 < mood < 0.55:
                return reset(conn)
            if 0.55 < mood < 0.6:
                conn.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 50)
            if mood < 0.9:
                reader.body_of(m)
            if m.method == "HEAD":
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + (b"evil" if mood < 0.1 else b""))
                continue
            if 0.6 < mood < 0.7:
                time.sleep(pause)
            body = b"z" * size
            if mood < 0.3:
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)
            elif mood < 0.5:
                conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 5000))
            elif mood < 0.8:
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            elif mood < 0.85:
                conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)
                return
            elif mood < 0.9:
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot all")
                return
            elif mood < 0.95:
                conn.sendall(b"SSH-2.0-nonsense\r\n\r\n")
            else:
                conn.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
    return behave


def requests(rng):
    """Some, behind one another; the last perhaps not whole."""
    text = b""
    for _ in range(rng.choice((1, 1, 1, 2, 5, 30))):
        lines, body = [b"Host: web"], b""
        method = rng.choice((b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS"))
        if method in (b"POST", b"PUT"):
            body = b"x" * rng.choice((0, 1, 1000, 100000, 1 << 20))
            if rng.random() < 0.5:
                lines.append(b"Content-Length: %d" % len(body))
            else:
                lines.append(b"Transfer-Encoding: chunked")
                body = chunked(body, 7000)
            if rng.random() < 0.3:
                lines.append(b"Expect: 100-continue")
        if rng.random() < 0.1:
            lines += [b"Connection: upgrade", b"Upgrade: echo"]
        if rng.random() < 0.1:
            lines.append(b"Connection: close")
        if rng.random() < 0.05:
            lines.append(rng.choice((b"Bad Header: 1", b"Max-Forwards: 0", b"Content-Length: 1", b"Expect: more")))
        text += method + b" / HTTP/1." + rng.choice((b"1", b"1", b"1", b"0")) + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body
    return text[:rng.randrange(len(text))] if rng.random() < 0.2 else text


def play(address, rng):
    with Http(address, timeout=0.5) as c:
        text = requests(rng)
        if rng.random() < 0.3:
            for i in range(0, min(len(text), 3000), 100):
                c.send(text[i:i + 100])
        else:
            c.send(text)
        if rng.random() < 0.2:
            c.sock.shutdown(socket.SHUT_WR)
        end = rng.random()
        if end < 0.15:
            return c.reset()
        if end < 0.3:
            return None
        for _ in range(rng.randrange(1, 40)):
            if not c.sock.recv(rng.choice((1, 1000, 1 << 18))):
                return None


@pytest.mark.tsan
@pytest.mark.scales
def test_nothing_is_lost_when_everybody_does_what_he_likes(web, backend):
    green, blue = ([backend(f"{c}{i}", moody(f"{c}{i}")) for i in range(2)] for c in ("green", "blue"))
    t = web(mode="http", green=green, blue=blue, health={"type": "none"}, max_connections=PLACES, queue_timeout=1.0,
            backend_max_connections=BACKEND_PLACES, header_timeout=1.0, response_timeout=1.0, keepalive_timeout=1.0,
            idle_timeout=2.0, drain={"timeout": 0.3, "idle": 0.1}, max_connections_per_source=CLIENTS,
            top={"workers": 3})
    def client(i):
        rng = dice(i)
        for _ in range(PLAYS):
            with contextlib.suppress(OSError):
                play(t.address(), rng)

    threads = [threading.Thread(target=client, args=(i,), daemon=True) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    n = 0
    while n < 10 or any(thread.is_alive() for thread in threads):
        n += 1
        assert t.ok("flip", "web", ("green", "blue")[n % 2])
        threads[n % CLIENTS].join(0.05)
    # All places are free again, in the service, on the backends and of the source.
    for gauge in ("teal_connections", "teal_waiting_connections", "teal_backend_connections"):
        t.wait_metric(0, gauge, service="web")
    held = []
    for _ in range(PLACES):
        held.append(Http(t.address()))
        until(lambda: held[-1].ask(method="OPTIONS", headers=[("Max-Forwards", "0")]).status == 200, "a place")
    for c in held:
        c.close()
