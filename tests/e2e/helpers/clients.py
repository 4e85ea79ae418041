"""Clients of the balanced entrance."""
import json
import select
import socket
import subprocess
import sys

from . import scale
from .backends import reset


IP_BIND_ADDRESS_NO_PORT = 24  # which Python's socket module does not name before 3.12


def connect_from(address, timeout, source):
    """source is (address, port) or None.  The port is chosen by connect(), which
    knows the peer: bind() would look for one that nobody uses at all, among
    thousands in TIME_WAIT for milliseconds."""
    if source is None:
        return socket.create_connection(address, timeout)
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind(source)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


class Client:
    """One connection; reads the greeting of the backend when asked for peer."""

    def __init__(self, address, timeout=None, source=None):
        timeout = timeout or scale.patience()
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(address)
        else:
            self.sock = connect_from(address, timeout, source)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self._peer = None

    @property
    def peer(self):
        """The name in the backend's greeting."""
        if self._peer is None:
            line = self.line()
            assert line is not None, "closed before a greeting"
            self._peer = line
        return self._peer

    def line(self):
        """The next line, without its newline; None at the end."""
        while b"\n" not in self._rest:
            data = self.sock.recv(4096)
            if not data:
                return None
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def receive(self, n):
        """n bytes, less at the end."""
        while len(self._rest) < n:
            data = self.sock.recv(min(1 << 16, n - len(self._rest)))
            if not data:
                break
            self._rest += data
        data, self._rest = self._rest[:n], self._rest[n:]
        return data

    def echo(self, data=b"hello"):
        """Sends data and expects it back; returns self for chains."""
        self.peer
        self.sock.sendall(data)
        got = self.receive(len(data))
        assert got == data, f"echo of {len(data)} bytes gave {len(got)}: {got[:60]!r}"
        return self

    def read_end(self):
        """Reads to the end; returns what came and how it ended: "eof" or "reset"."""
        data = self._rest
        self._rest = b""
        try:
            while more := self.sock.recv(1 << 16):
                data += more
        except ConnectionResetError:
            return data, "reset"
        return data, "eof"

    @property
    def alive(self):
        """False once the other side has closed (and nothing is left to read)."""
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.sock.settimeout(scale.patience())

    @property
    def ready(self):
        """Something is there to read, or the end."""
        return bool(self._rest or select.select([self.sock], [], [], 0)[0])

    def reset(self):
        reset(self.sock)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Session:
    """What one client of a Load saw; times of time.monotonic()."""
    __slots__ = ("begun", "ended", "name", "error", "retries")

    def __init__(self, row):
        self.begun, self.ended, self.name, self.error = row[:4]
        self.retries = row[4] if len(row) > 4 else 0

    def __repr__(self):
        return f"<{self.begun:.6f}..{self.ended:.6f} {self.name} {self.error or 'ok'}>"


class Load:
    """helpers/load.py as a process, or udp.py; place: the namespace it is in."""

    def __init__(self, host, port, clients, think=0.0, place=None, sources=None, udp=False):
        program = ["udp.py", "load"] if udp else ["load.py"]
        self._proc = subprocess.Popen(
            [*(place.prefix if place else ()), sys.executable, "-S", "-E",
             str(scale.REPO / "tests/e2e/helpers" / program[0]), *program[1:], host, str(port),
             str(clients), str(think), *([sources] if sources else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._proc.stderr.readline() == b"ready\n"

    def more(self, n):
        """Waits until n that begin from now on have ended; not with udp."""
        self._proc.stdin.write(b"%d\n" % n)
        self._proc.stdin.flush()
        assert self._proc.stderr.readline() == b"enough\n"
        return self

    def finish(self):
        """Ends the load and returns all its Sessions, in order of beginning."""
        out, err = self._proc.communicate(timeout=3 * scale.patience() + 30)
        assert self._proc.returncode == 0, err.decode()
        return sorted((Session(row) for row in json.loads(out)), key=lambda s: s.begun)

    def close(self):
        if self._proc.poll() is None:
            self._proc.kill()
            self._proc.wait()
        for f in (self._proc.stdin, self._proc.stdout, self._proc.stderr):
            f.close()
