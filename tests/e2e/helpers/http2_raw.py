"""What a client of HTTP/2 may say that a library would not: frames and field blocks byte by byte, and a verdict on what
is answered, by frames alone and never by time."""
from .http2 import ACK, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, Http2
from .http2 import frame as whole

CODES = ("NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
         "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM").split()


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """length: what its head says, if not the truth."""
    f = whole(kind, stream, payload, flags)
    return f if length is None else length.to_bytes(3, "big") + f[3:]


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


class Raw(Http2):
    """Windows stay as they are, unless something is sent.  .acked: SETTINGS of ours."""

    def __init__(self, address, settings=(), preface=True):
        self.acked, self._probe = 0, 0
        super().__init__(address, settings=settings, opens=False, hello=preface)

    def send(self, *pieces):
        try:
            self.sock.sendall(b"".join(pieces))
        except OSError:
            pass    # what was said before is read all the same
        return self

    def _take(self, kind, flags, n, payload):
        self.acked += kind == SETTINGS and flags & ACK
        super()._take(kind, flags, n, payload)

    def body(self, stream):
        return self.streams[stream].body if stream in self.streams else b""

    def settle(self):
        """All that was sent has been looked at: a PING is answered, or the connection has ended."""
        self._probe += 1
        probe = self._probe.to_bytes(8, "big")
        self.send(frame(PING, payload=probe))
        self.until(lambda: (probe, ACK) in self.pings)

    def verdict(self):
        """("goaway", code) for a fault of the connection, which ends; else ("rst", code) of the highest stream that was
        reset, or ("fine", None)."""
        self.settle()
        if self.ended or any(code for _, code, _ in self.goaways):
            code = self.rest_of()
            return ("goaway", None if code is None else CODES[code])
        resets = {n: s.reset for n, s in self.streams.items() if s.reset is not None}
        return ("rst", CODES[resets[max(resets)]]) if resets else ("fine", None)

    def status(self, stream=1):
        """Of that stream, once its answer is whole; ("rst", code) when it was reset."""
        self.until(lambda: stream in self.streams and self.streams[stream].over)
        s = self.streams.get(stream)
        return None if s is None else s.status if s.reset is None else ("rst", CODES[s.reset])
