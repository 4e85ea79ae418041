"""A client of HTTP/2 that may say anything: frames byte by byte, and what is answered to them.

Names of types and error codes are those of RFC 9113; `verdict` tells by frames alone, never by time, whether
something was a fault of the connection, of a stream, or none.
"""
import itertools
import socket

import hpack
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame
from hyperframe.frame import ContinuationFrame, DataFrame

from .scale import patience

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
CODES = ("NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
         "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY "
         "HTTP_1_1_REQUIRED").split()


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """length: what its head says, if not the truth."""
    n = len(payload) if length is None else length
    return n.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def setting(name, value):
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


def number(value, bits, pattern=0):
    """An integer of RFC 7541 section 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([pattern | value])
    out, value = [pattern | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def literal(name, value, pattern=0):
    """A field byte for byte, not indexed; text or bytes."""
    name, value = (v if isinstance(v, bytes) else v.encode("latin-1") for v in (name, value))
    return bytes([pattern]) + number(len(name), 7) + name + number(len(value), 7) + value


def block(fields):
    return b"".join(literal(n, v) for n, v in fields)


def request(path="/good", method="GET", authority="web", scheme="http"):
    return [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]


def headers(stream, fields, end=True, flags=END_HEADERS):
    return frame(HEADERS, flags | (END_STREAM if end else 0), stream, fields if isinstance(fields, bytes) else block(fields))


class Raw:
    """.statuses, .bodies, .trailers: by stream; .resets: codes by stream; .goaway: the code's name, with its last stream; .ended."""

    def __init__(self, address, settings=b"", preface=PREFACE, tls=None, server_name=None):
        self.sock = socket.create_connection(address, patience())
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name)
        self.statuses, self.bodies, self.trailers, self.resets, self.finished = {}, {}, {}, {}, set()
        self.goaway, self.last_stream, self.ended, self.theirs, self.frames = None, None, False, {}, []
        self._probes, self._rest, self._block = itertools.count(1), b"", None
        self.decoder = hpack.Decoder()
        self.acked = self.pongs = 0
        if preface is not None:
            self.send(preface, frame(SETTINGS, payload=settings))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.sock.close()

    def send(self, *pieces):
        try:
            self.sock.sendall(b"".join(pieces))
        except OSError:
            pass    # what was said before is read all the same
        return self

    def _read(self):
        """The next frame, which is noted; None at the end."""
        while len(self._rest) < 9 or len(self._rest) < 9 + int.from_bytes(self._rest[:3], "big"):
            try:
                more = self.sock.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                self.ended = True
                return None
            self._rest += more
        f, length = Frame.parse_frame_header(memoryview(self._rest[:9]))
        f.parse_body(memoryview(self._rest[9:9 + length]))
        self._rest = self._rest[9 + length:]
        self._note(f)
        return f

    def _note(self, f):
        self.frames.append(f)
        if isinstance(f, SettingsFrame):
            if "ACK" in f.flags:
                self.acked += 1
            else:
                self.theirs.update(f.settings)
                self.send(frame(SETTINGS, ACK))
        elif isinstance(f, PingFrame):
            if "ACK" in f.flags:
                self.pongs += 1
            else:
                self.send(frame(PING, ACK, payload=f.opaque_data))
        elif isinstance(f, GoAwayFrame):
            self.goaway, self.last_stream = CODES[f.error_code], f.last_stream_id
        elif isinstance(f, RstStreamFrame):
            self.resets[f.stream_id] = CODES[f.error_code]
        elif isinstance(f, DataFrame):
            self.bodies[f.stream_id] = self.bodies.get(f.stream_id, b"") + f.data
        elif isinstance(f, HeadersFrame | ContinuationFrame):
            self._block = (self._block or b"") + f.data
            if "END_HEADERS" in f.flags:
                fields, self._block = self.decoder.decode(self._block), None
                if fields and fields[0][0] == ":status":
                    self.statuses[f.stream_id] = int(fields[0][1])
                else:
                    self.trailers[f.stream_id] = fields
        if isinstance(f, HeadersFrame | DataFrame) and "END_STREAM" in f.flags:
            self.finished.add(f.stream_id)

    def read_until(self, done):
        """Frames, until done() or the end."""
        while not done() and self._read() is not None:
            pass
        return done()

    def settle(self):
        """All that was sent has been looked at: a PING is answered, or the connection has ended."""
        probe = next(self._probes).to_bytes(8, "big")
        self.send(frame(PING, payload=probe))
        while (f := self._read()) is not None:
            if isinstance(f, PingFrame) and "ACK" in f.flags and f.opaque_data == probe:
                return self
        return self

    def verdict(self):
        """("goaway", code) for a fault of the connection, which ends; else ("rst", code) of the last stream that was reset,
        or ("fine", None)."""
        self.settle()
        if self.ended:
            return ("goaway", self.goaway)
        if self.goaway not in (None, "NO_ERROR"):
            self.read_until(lambda: False)
            return ("goaway", self.goaway)
        if self.resets:
            return ("rst", self.resets[max(self.resets)])
        return ("fine", None)

    def answer(self, stream=1):
        """The status of that stream, once its answer is whole; ("rst", code) when it was reset."""
        self.read_until(lambda: stream in self.finished or stream in self.resets)
        return ("rst", self.resets[stream]) if stream in self.resets else self.statuses.get(stream)
