"""HTTP/2 frame by frame: a client that sends what it is told, also what it must not, and keeps what comes."""
import struct

import hpack

from . import scale
from .clients import Client

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED = 0x4, 0x8
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(5, 12)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW = range(1, 5)


def frame(kind, stream=0, payload=b"", flags=0):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


class Stream:
    def __init__(self):
        self.heads, self.body, self.ended, self.reset, self.frames = [], b"", False, None, []

    @property
    def status(self):
        return next((int(h[0][1]) for h in self.heads if h[0][0] == ":status" and h[0][1][0] != "1"), None)

    def get(self, name):
        return next((v for h in self.heads for n, v in h if n == name), None)

    @property
    def over(self):
        return self.ended or self.reset is not None


class Http2(Client):
    """A connection; tls: an ssl context, with ALPN.  opens: windows are opened as bytes come."""

    def __init__(self, address, tls=None, server_name=None, settings=(), opens=True, hello=True):
        super().__init__(address)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.streams, self.rest, self.opens = {}, b"", opens
        self.goaways, self.pings, self.ended, self.settings, self.next = [], [], False, {}, 1
        self.out = {0: 65535}
        self._block = b""
        if hello:
            self.send(PREFACE + frame(SETTINGS, payload=b"".join(struct.pack(">HI", k, v) for k, v in settings)))

    def send(self, raw):
        self.sock.sendall(raw)
        return self

    def frame(self, kind, stream=0, payload=b"", flags=0):
        return self.send(frame(kind, stream, payload, flags))

    def block(self, path="/", method="GET", headers=(), host="web", scheme="http"):
        return self.encoder.encode([(":method", method), (":scheme", scheme), (":path", path), (":authority", host), *headers])

    def ask(self, path="/", end=True, raw=None, **head):
        """HEADERS of a new stream; its number."""
        n, self.next = self.next, self.next + 2
        self.streams[n] = Stream()
        block = self.block(path, **head) if raw is None else self.encoder.encode(raw)
        parts = [block[at:at + 16384] for at in range(0, len(block), 16384)]
        for i, part in enumerate(parts):
            flags = (END_STREAM if end and i == 0 else 0) | (END_HEADERS if part is parts[-1] else 0)
            self.frame(CONTINUATION if i else HEADERS, n, part, flags)
        return n

    def data(self, n, body=b"", end=False):
        """As far as the windows let it, and then further."""
        while True:
            free = min(16384, self.out.setdefault(n, 65535), self.out[0])
            part, body = body[:free], body[free:]
            if free > 0 or not body:
                self.frame(DATA, n, part, 0 if body else END_STREAM if end else 0)
                self.out[n] -= len(part)
                self.out[0] -= len(part)
            if not body:
                return
            if free == 0 and (not self.read() or self.streams[n].reset is not None):
                return

    def window(self, n, stream=0):
        return self.frame(WINDOW_UPDATE, stream, struct.pack(">I", n))

    def read(self):
        """One frame; False at the end."""
        while len(self.rest) < 9 or len(self.rest) < 9 + int.from_bytes(self.rest[:3], "big"):
            try:
                more = self.sock.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                self.ended = True
                return False
            self.rest += more
        length, kind, flags = int.from_bytes(self.rest[:3], "big"), self.rest[3], self.rest[4]
        n, payload = int.from_bytes(self.rest[5:9], "big"), self.rest[9:9 + length]
        self.rest = self.rest[9 + length:]
        self._take(kind, flags, n, payload)
        return True

    def _take(self, kind, flags, n, payload):
        s = self.streams.setdefault(n, Stream())
        s.frames.append(kind)
        if kind == DATA:
            s.body += payload
            s.ended |= bool(flags & END_STREAM)
            if self.opens and payload:
                self.window(len(payload))
                if not s.ended:
                    self.window(len(payload), n)
        elif kind in (HEADERS, CONTINUATION):
            self._block += payload
            if flags & END_HEADERS:
                s.heads.append([(k, v) for k, v in self.decoder.decode(self._block)])
                self._block = b""
            if kind == HEADERS:
                s.ended |= bool(flags & END_STREAM)
        elif kind == RST_STREAM:
            s.reset = int.from_bytes(payload, "big")
        elif kind == WINDOW_UPDATE:
            self.out[n] = self.out.get(n, 65535) + int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            self.settings |= {k: v for k, v in struct.iter_unpack(">HI", payload)}
            self.frame(SETTINGS, flags=ACK)
        elif kind == GOAWAY:
            self.goaways.append(struct.unpack(">II", payload[:8]) + (payload[8:].decode(),))
        elif kind == PING:
            self.pings.append((payload, flags))
            if not flags & ACK:
                self.frame(PING, payload=payload, flags=ACK)

    def until(self, done):
        """Reads until done(); None if the connection ends before."""
        while not (r := done()):
            if not self.read():
                return None
        return r

    def answer(self, n):
        """The stream, when it is over."""
        s = self.streams[n]
        assert self.until(lambda: s.over), (self.goaways, "the connection ended")
        return s

    def get(self, path="/", **head):
        return self.answer(self.ask(path, **head))

    def rest_of(self):
        """All until the end; the last GOAWAY's code, or None."""
        try:
            while self.read():
                pass
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True
        return self.goaways[-1][1] if self.goaways else None

    def pong(self):
        """What was sent before it has been taken."""
        n = len(self.pings)
        self.frame(PING, payload=b"01234567")
        return self.until(lambda: any(f & ACK for _, f in self.pings[n:]))
