"""Backends: small servers that say who they are, and misbehave on request.

A Backend runs a thread per connection, so that a behaviour is a plain
function of a blocking socket.  Farm is the same greeting server as a process
of its own, for load.
"""
import hashlib
import random
import select
import socket
import struct
import subprocess
import sys
import threading

from . import scale
from .ports import listener

BLOCK = 1 << 16


def reset(sock):
    """Closes with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def pattern(seed):
    """A block of bytes that no other seed gives; repeated it makes a stream."""
    return random.Random(seed).randbytes(1 << 20)


def send_stream(sock, seed, size, at_half=None):
    """Sends `size` bytes of a stream; returns its SHA-256.  at_half() is called
    in the middle."""
    block, digest, left = memoryview(pattern(seed)), hashlib.sha256(), size
    n = 0
    while left > 0:
        # The block's place shifts each time: a lost or repeated block shows.
        part = block[n % 4093:][:left]
        digest.update(part)
        sock.sendall(part)
        left -= len(part)
        n += 1
        if at_half and left <= size // 2:
            at_half()
            at_half = None
    return digest.hexdigest()


def receive_stream(sock, size=None, pause_at=None, pause=None):
    """Receives until `size` bytes or the end; returns (bytes, SHA-256).
    pause() is called once when pause_at bytes are there."""
    digest, got = hashlib.sha256(), 0
    room = bytearray(1 << 18)
    view = memoryview(room)
    while size is None or got < size:
        n = sock.recv_into(view[: min(len(room), size - got)] if size is not None else view)
        if n == 0:
            break
        digest.update(view[:n])
        got += n
        if pause and got >= pause_at:
            pause()
            pause = None
    return got, digest.hexdigest()


# ---- behaviours ----

def greet_and_echo(conn, backend):
    """Says its name, a line, before anything is asked; then echoes."""
    conn.sendall(backend.name.encode() + b"\n")
    while data := conn.recv(BLOCK):
        backend.note(conn, data)
        conn.sendall(data)


def echo(conn, backend):
    while data := conn.recv(BLOCK):
        backend.note(conn, data)
        conn.sendall(data)


def answer_at_end(conn, backend):
    """Reads to the end of the client's half, then answers: name, bytes, hash."""
    got, digest = receive_stream(conn)
    backend.note(conn, b"x" * (got > 0), got)
    conn.sendall(f"{backend.name} {got} {digest}\n".encode())


def speak_then_listen(conn, backend):
    """Greets, ends its own half at once, then reads to the end."""
    conn.sendall(backend.name.encode() + b"\n")
    conn.shutdown(socket.SHUT_WR)
    while data := conn.recv(BLOCK):
        backend.note(conn, data)


def stream_on_request(conn, backend):
    """Reads "SEED SIZE\\n", sends that stream, and ends its half; reads the
    client's half at the same time and keeps (bytes, hash) of it."""
    line = b""
    while not line.endswith(b"\n"):
        data = conn.recv(1)
        if not data:
            return
        line += data
    backend.note(conn, line)
    seed, size = map(int, line.split())

    def send():
        try:
            backend.sent.append(send_stream(conn, seed, size))
            conn.shutdown(socket.SHUT_WR)
        except OSError as e:
            backend.sent.append(repr(e))

    t = threading.Thread(target=send, daemon=True)
    t.start()
    backend.got.append(receive_stream(conn))
    t.join()


def mute(conn, backend):
    """Accepts, and neither reads nor writes until told to end."""
    backend.released.wait()


def reset_at_once(conn, backend):
    reset(conn)


def reset_after_data(conn, backend):
    conn.sendall(backend.name.encode() + b"\n")
    backend.note(conn, conn.recv(BLOCK))
    reset(conn)


def firehose(conn, backend):
    """Writes for ever, and never reads."""
    block = pattern(7)
    try:
        while not backend.released.is_set():
            backend.flowed += conn.send(block)
    except OSError:
        pass


class Backend:
    """A server on an address of its own.

    sessions: connections that sent at least a byte or were noted;
    accepted: all, health checks too; received: bytes read; asked: counted by
    a behaviour that answers checks.
    """

    def __init__(self, name, port, behaviour=greet_and_echo, host="127.0.0.1", rcvbuf=0):
        self.name, self.host, self.port, self.behaviour = name, host, port, behaviour
        self.rcvbuf = rcvbuf
        self.lock = threading.Lock()
        self.accepted = self.received = self.sessions = self.flowed = self.asked = 0
        self.sent, self.got = [], []
        self.released = threading.Event()
        self._noted = set()
        self._open = {}
        self._listener = None

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def start(self):
        assert self._listener is None
        self._listener = listener(self.host, self.port)
        if self.rcvbuf:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def stop(self):
        """Refuses new connections; those that are open stay."""
        if self._listener is not None:
            s, self._listener = self._listener, None
            s.shutdown(socket.SHUT_RDWR)  # wakes accept()
            s.close()

    def note(self, conn, data, n=None):
        with self.lock:
            self.received += len(data) if n is None else n
            if data and id(conn) not in self._noted:
                self._noted.add(id(conn))
                self.sessions += 1

    @property
    def open(self):
        """Connections now open (health checks are seen for a moment too)."""
        with self.lock:
            return len(self._open)

    def reset_all(self):
        with self.lock:
            conns = list(self._open.values())
        for c in conns:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.shutdown(socket.SHUT_RD)  # wakes its thread, whose close() resets

    def close(self):
        self.released.set()
        self.stop()
        with self.lock:
            conns = list(self._open.values())
        for c in conns:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self, s):
        while True:
            try:
                conn, _ = s.accept()
            except OSError:
                return
            with self.lock:
                self.accepted += 1
                self._open[id(conn)] = conn
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        try:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.behaviour(conn, self)
        except OSError:
            pass  # the peer's business; the stories look at the client's side
        finally:
            with self.lock:
                self._open.pop(id(conn), None)
                self._noted.discard(id(conn))
                conn.close()


class BlackHole:
    """A listening socket whose queue is full: SYNs are dropped, unanswered."""

    def __init__(self, port, host="127.0.0.1"):
        self.host, self.port = host, port
        self.address = f"{host}:{port}"
        self._listener = listener(host, port, backlog=0)
        self._plugs = []
        for _ in range(16):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((host, port))
            self._plugs.append(s)
            if not select.select([], [s], [], 0.2)[1]:
                return
        raise RuntimeError("the queue never filled")

    def close(self):
        for s in self._plugs:
            s.close()
        self._listener.close()


class Farm:
    """The greeting and echoing server as a process: helpers/serve.py, or udp.py;
    place: the namespace it is in."""

    def __init__(self, name, port, host="127.0.0.1", place=None, udp=False):
        self.name, self.host, self.port = name, host, port
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        program = ["udp.py", "serve"] if udp else ["serve.py"]
        self._proc = subprocess.Popen(
            [*(place.prefix if place else ()), sys.executable, "-S", "-E",
             str(scale.REPO / "tests/e2e/helpers" / program[0]), *program[1:], name, host, str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._proc.stdout.readline() == b"ready\n"

    def close(self):
        self._proc.stdin.close()
        try:
            self._proc.wait(5)
        except subprocess.TimeoutExpired:
            self._proc.kill()
            self._proc.wait()
        self._proc.stdout.close()
