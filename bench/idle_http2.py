"""Memory of idle connections of HTTP/2, and of idle streams: each proxy fresh, the connections held."""

import contextlib
import http.server
import socket
import socketserver
import struct
import threading
import time

import measure
import proxies
import report

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, END_HEADERS, END_STREAM, ACK = 1, 4, 4, 1, 1
# Fields that fill a table of 4,096 bytes, each counted with 32 bytes more, and are met twice, so that encoders index them.
FIELDS = [(f"x-field-{i:02}", f"{i:02}" + "v" * 62) for i in range(40)]
STREAMS = 50


class Answers(http.server.BaseHTTPRequestHandler):
    """/fields: an answer with many of them; /wait: one that begins and never ends."""
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self):
        waits = self.path == "/wait"
        self.send_response(200)
        for name, value in FIELDS if self.path == "/fields" else ():
            self.send_header(name, value)
        self.send_header("Content-Length", "1000" if waits else "2")
        self.end_headers()
        self.wfile.write(b"ok")
        if waits:
            self.connection.recv(1)

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 1024


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def string(s):
    return bytes((len(s),)) + s.encode()


def request(path, fields=()):
    """Its block: :path a literal, the fields literals that enter the table."""
    block = b"\x82\x86\x01" + string("bench") + b"\x04" + string(path)
    return block + b"".join(b"\x40" + string(name) + string(value) for name, value in fields)


class Client:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream, self.got = -1, b""
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.until(SETTINGS)
        self.socket.sendall(frame(SETTINGS, ACK, 0))

    def until(self, wanted, count=1):
        """Reads frames until so many of that kind have come."""
        while count:
            while len(self.got) < 9 or len(self.got) < 9 + int.from_bytes(self.got[:3], "big"):
                piece = self.socket.recv(65536)
                if not piece:
                    raise proxies.Failed("a connection of HTTP/2 has ended")
                self.got += piece
            kind, n = self.got[3], int.from_bytes(self.got[:3], "big")
            self.got = self.got[9 + n:]
            count -= kind == wanted

    def ask(self, block):
        self.stream += 2
        self.socket.sendall(frame(HEADERS, END_HEADERS | END_STREAM, self.stream, block))


def settle(clients):
    """Before the first request."""


def fill_tables(clients):
    for c in clients:
        for fields in (FIELDS, (), ()):
            c.ask(request("/fields", fields))
            c.until(HEADERS)


def open_streams(clients):
    for c in clients:
        for _ in range(STREAMS):
            c.ask(request("/wait"))
        c.until(HEADERS, STREAMS)


# What is done on each connection, how many of those, and what one of them has.
STATES = {
    "before its first request": (settle, 2000, 1),
    "with full tables": (fill_tables, 400, 1),
    f"one of {STREAMS} streams": (open_streams, 8, STREAMS),
}


def hold(proxy, act, n, each):
    """Growth of a fresh proxy while n connections are held."""
    address = proxy.address("h2c")
    with contextlib.ExitStack() as stack:
        warm = [Client(address) for _ in range(4)]
        for c in warm:
            stack.callback(c.socket.close)
        act(warm)
        time.sleep(0.3)  # let the proxy come to rest; nothing announces that
        before = measure.memory(proxy.pids())
        clients = []
        for _ in range(n):
            clients.append(Client(address))
            stack.callback(clients[-1].socket.close)
        act(clients)
        time.sleep(2.5)  # Teal gives back tables a second later
        after = measure.memory(proxy.pids())
    return {k: (after[k] - before[k]) / n / each for k in after}


def idle_http2(stage, classes):
    backend = Server(("127.0.0.1", 0), Answers)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    addresses = {"http": f"127.0.0.1:{backend.server_address[1]}"}
    tables = []
    try:
        for what, (act, n, each) in STATES.items():
            measured = {}
            for _ in range(1 if stage.options.quick else 3):
                for c in classes:
                    stage.say(f"idle HTTP/2, {what}: {c.name}")
                    for p in stage.start("h2c", [c], addresses, 4000):
                        try:
                            measured.setdefault(c.name, []).append(hold(p, act, n, each))
                        except (proxies.Failed, OSError) as e:
                            stage.notes.append(f"idle HTTP/2, {what}: {p.name}: {e}")
                        finally:
                            p.stop()
            tables.append({"title": f"Memory for each idle connection of HTTP/2, {what}" if each == 1 else
                                    f"Memory for {what} of HTTP/2 that wait for more of their answers, with its connection to the backend",
                           "proxies": {name: {k: report.spread([r[k] for r in rs]) for k in rs[0]} for name, rs in measured.items()}})
    finally:
        backend.shutdown()
        backend.server_close()
    return tables
