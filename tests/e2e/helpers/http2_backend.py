"""A backend of HTTP/2 frame by frame: it says what it is told, also what it must not, and keeps what comes.

http2_site is a behaviour of helpers/backends.Backend.  Of each of its connections there is a Serving in backend.served; of each
request an Asked in backend.requests, in the order in which their HEADERS came.  A request is answered, when it has come whole, by
backend.answers[path], a function of it, or else with the backend's name."""
import struct
import threading

import hpack

from .http2 import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, CONTINUATION, PING, PREFACE, RST_STREAM, SETTINGS,
                    WINDOW_UPDATE, frame)


class Asked:
    """A request: .fields in their order, .body, .trailers (None: none came), .reset: the code of RST_STREAM."""

    def __init__(self, serving, n, fields):
        self.serving, self.n, self.fields = serving, n, fields
        self.body, self.trailers, self.ended, self.reset = b"", None, False, None

    def get(self, name):
        return next((v for k, v in self.fields if k == name), None)

    @property
    def path(self):
        return self.get(":path")

    def say(self, *fields, end=False, raw=None):
        """HEADERS: an answer's head, or trailers."""
        self.serving.headers(self.n, list(fields), end, raw)
        return self

    def data(self, body=b"", end=False):
        """In frames; the client's window is taken for large enough."""
        parts = [body[at:at + 16384] for at in range(0, len(body), 16384)] or [b""]
        for i, part in enumerate(parts):
            self.serving.frame(DATA, self.n, part, END_STREAM if end and i == len(parts) - 1 else 0)
        return self

    def answer(self, body=None, status=200, headers=()):
        body = self.serving.backend.name.encode() if body is None else body
        self.say((":status", str(status)), ("content-length", str(len(body))), *headers, end=not body)
        return self.data(body, end=True) if body else self

    def refuse(self, code):
        self.serving.frame(RST_STREAM, self.n, struct.pack(">I", code))
        return self


class Serving:
    """One connection; .frames: the types that came, .windows[n]: bytes that it may send on n."""

    def __init__(self, conn, backend):
        self.conn, self.backend, self.lock = conn, backend, threading.Lock()
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.requests, self.frames, self.goaway, self.pings, self.ended = {}, [], None, 0, False
        self.windows = {0: 65535}
        self._rest, self._block = b"", b""
        self._more = threading.Condition(self.lock)

    def send(self, raw):
        self.conn.sendall(raw)
        return self

    def frame(self, kind, stream=0, payload=b"", flags=0):
        return self.send(frame(kind, stream, payload, flags))

    def headers(self, n, fields, end, raw=None):
        with self.lock:
            block = self.encoder.encode(fields) if raw is None else raw
            self.frame(HEADERS, n, block, END_HEADERS | (END_STREAM if end else 0))

    def goodbye(self, last, code=0):
        return self.frame(GOAWAY, 0, struct.pack(">II", last, code))

    def run(self, settings=(), opens=True):
        self.opens = opens
        if self._take(len(PREFACE)) != PREFACE:
            return
        self.backend.note(self.conn, b"x")
        with self.backend.lock:
            self.backend.served.append(self)
        self.frame(SETTINGS, payload=b"".join(struct.pack(">HI", k, v) for k, v in settings))
        while (head := self._take(9)) is not None:
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            payload = self._take(length)
            if payload is None:
                break
            self.frames.append(kind)
            self._one(kind, flags, int.from_bytes(head[5:9], "big"), payload)
        self.ended = True

    def _take(self, n):
        while len(self._rest) < n:
            try:
                more = self.conn.recv(1 << 16)
            except OSError:
                more = b""
            if not more:
                return None
            self._rest += more
        taken, self._rest = self._rest[:n], self._rest[n:]
        return taken

    def _one(self, kind, flags, n, payload):
        r = self.requests.get(n)
        if kind in (HEADERS, CONTINUATION):
            self._block += payload
            if not flags & END_HEADERS:
                return
            fields, self._block = self.decoder.decode(self._block), b""
            if r is None:
                r = self.requests[n] = Asked(self, n, fields)
                with self.backend.lock:
                    self.backend.requests.append(r)
                early = self.backend.early.get(r.path)
                if early is not None:
                    early(r)
            else:
                r.trailers = fields
        elif kind == DATA:
            r.body += payload
            if self.opens and payload:
                self.frame(WINDOW_UPDATE, 0, struct.pack(">I", len(payload)))
                if not flags & END_STREAM:
                    self.frame(WINDOW_UPDATE, n, struct.pack(">I", len(payload)))
            each = self.backend.each.get(r.path)
            if each is not None:
                each(r, payload)
        elif kind == RST_STREAM:
            r.reset = struct.unpack(">I", payload)[0]
        elif kind == SETTINGS and not flags & ACK:
            self.frame(SETTINGS, flags=ACK)
        elif kind == PING:
            self.pings += not flags & ACK
            if not flags & ACK and self.backend.pongs:
                self.frame(PING, 0, payload, ACK)
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">II", payload[:8])
        elif kind == WINDOW_UPDATE:
            with self.lock:
                self.windows[n] = self.windows.get(n, 65535) + struct.unpack(">I", payload)[0]
                self._more.notify_all()
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            r.ended = True
            self.backend.answers.get(r.path.split("?")[0], Asked.answer)(r)


def http2_site(settings=(), opens=True):
    """A behaviour; settings: of its SETTINGS frame."""
    def serve(conn, backend):
        Serving(conn, backend).run(settings, opens)
    return serve


def prepare(backend):
    """Before it is started."""
    backend.served, backend.requests, backend.answers, backend.early, backend.each = [], [], {}, {}, {}
    backend.pongs = True
    return backend
