"""Messages for parsers: a table of known-odd ones, and as many made ones as are wanted.

A made one is a good message in which one to three things were changed: a byte, a line, a
piece that means something to framing. The same seed makes the same messages.
"""
import random

HOST = b"Host: a.example\r\n"

# Each must be taken by every parser, or stand in test_http1_parsers.py with the reason.
GOOD_REQUESTS = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST /a?b=c HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"transfer-encoding: Chunked\r\n\r\n"
    b"5;a=b;c=\"d e\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HEAD /x HTTP/1.1\r\n" + HOST + b"Accept: */*\r\nCookie: a=b; c=\"d\"\r\nX:\r\nY: \t z \t\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http://a.example:80/x?y HTTP/1.1\r\n" + HOST + b"\r\n",
    b"DELETE /%41/..;x=y HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\n\r\n",
]
GOOD_RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nuntil the end",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    b"HTTP/1.1 500 \r\nContent-Length: 1\r\n\r\nx",
]

# Pieces that decide where a message ends, and what they are when somebody cheats.
FRAMINGS = [
    b"Content-Length: 5", b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: -5",
    b"Content-Length: 5 ", b"Content-Length: 5, 5", b"Content-Length: 5,6", b"Content-Length: 0x5",
    b"Content-Length:", b"Content-Length: 5 5", b"Content-Length : 5", b" Content-Length: 5",
    b"Content-Length\t: 5", b"Content-Length: 5\x0b", b"Content-Length: \x005",
    b"Content-Length: 99999999999999999999", b"Content-Length: 18446744073709551621", b"Content_Length: 5",
    b"Content-Length: 5;", b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding:chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding: \"chunked\"",
    b"Transfer-Encoding:", b"Transfer-Encoding: chunked;a=b", b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunk\xc3\xa9d",
    b"Transfer_Encoding: chunked", b"Transfer-Encoding\x00: chunked", b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked", b"Transfer-Encoding:\r\n chunked",
    b"Foo\r\n Transfer-Encoding: chunked", b"Host: b.example", b"Host: ", b"Host: a b", b"Host: a,b",
    b"Host: u@a", b"Host: a:b", b"Connection: close", b"Connection: content-length",
]
CHUNKS = [
    b"5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\t;a\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\n", b"5\r\nhello\r\n0\n\r\n", b"5;\r\nhello\r\n0\r\n\r\n",
    b"5;a\r\nhello\r\n0\r\n\r\n", b"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n", b"00000000000000005\r\nhello\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFF\r\nhello",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    b"5\r\nhello\r\n0\r\n X: y\r\n\r\n", b"5\r\nhello\r\n0\r\nX\r\n\r\n", b"-0\r\n\r\n",
    b"\r\n5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n00\r\n\r\n", b"g\r\n\r\n", b"5\r\nhello\r\n\r\n0\r\n\r\n",
    b"5\r\nhello\r\n",
]
BYTES = [bytes([b]) for b in (0, 1, 9, 10, 11, 12, 13, 27, 32, 34, 35, 44, 47, 58, 59, 61, 64, 92, 95, 127, 128,
                              160, 255)]
BYTES += [b"\r\n", b"\r\n\r\n", b"  ", b"\r\r\n", b"\n\n", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2",
          b"0", b"chunked"]


def mutate(message, rng):
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(message) + 1)
        kind = rng.randrange(9)
        if kind == 0:
            message = message[:at] + rng.choice(BYTES) + message[at:]
        elif kind == 1:
            message = message[:at] + rng.choice(BYTES) + message[at + 1:]
        elif kind == 2:
            message = message[:at] + message[at + 1:]
        elif kind in (3, 4):        # one more line that means something
            lines = message.split(b"\r\n")
            lines.insert(rng.randrange(1, len(lines) + 1), rng.choice(FRAMINGS))
            message = b"\r\n".join(lines)
        elif kind == 5:             # another body
            message = message.split(b"\r\n\r\n")[0] + b"\r\n\r\n" + rng.choice(CHUNKS)
        elif kind == 6:             # another ending of a line
            ends = [i for i in range(len(message) - 1) if message[i:i + 2] == b"\r\n"]
            if ends:
                i = rng.choice(ends)
                message = message[:i] + rng.choice((b"\n", b"\r", b"\r\n\r\n", b"\r\n ", b" \r\n")) + message[i + 2:]
        elif kind == 7:             # a line twice, or gone
            lines = message.split(b"\r\n")
            i = rng.randrange(len(lines))
            lines[i:i + 1] = rng.choice(([], [lines[i], lines[i]]))
            message = b"\r\n".join(lines)
        else:
            message += b"GET /next HTTP/1.1\r\n\r\n"
    return message


def with_framing(first, rng):
    """A head of framing lines alone, and some body."""
    lines = [rng.choice(FRAMINGS) for _ in range(rng.randrange(1, 4))]
    return b"\r\n".join([first, b"Host: a.example"] + lines + [b"", b""]) + rng.choice(CHUNKS + [b"hello", b""])


def made(count, seed=1):
    """[(kind, bytes)]: q requests, s responses, h responses to a HEAD."""
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        kind = rng.choice("qqqqssh")
        pick = rng.randrange(4)
        if kind == "q" and pick == 0:
            text = with_framing(rng.choice((b"POST / HTTP/1.1", b"POST / HTTP/1.1", b"POST / HTTP/1.0")), rng)
        elif pick == 0:
            text = with_framing(rng.choice((b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 304 x")), rng)
        else:
            text = mutate(rng.choice(GOOD_REQUESTS if kind == "q" else GOOD_RESPONSES), rng)
        out.append((kind, text))
    return out


CHUNKED = b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"


def known():
    """The good ones, and every framing line and every chunked body by itself."""
    out = [("q", t) for t in GOOD_REQUESTS] + [(k, t) for t in GOOD_RESPONSES for k in "sh"]
    for line in FRAMINGS:
        for first in (b"POST / HTTP/1.1\r\nHost: a.example", b"POST / HTTP/1.0", b"HTTP/1.1 200 OK",
                      b"HTTP/1.0 200 OK"):
            for body in (b"hello", CHUNKS[0]):
                out.append(("s" if first[:1] == b"H" else "q", first + b"\r\n" + line + b"\r\n\r\n" + body))
    for body in CHUNKS:
        out.append(("q", CHUNKED + body))
        out.append(("s", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body))
    for b in range(256):
        c = bytes([b])
        for before, after in ((b"G", b"T / HTTP/1.1\r\nHost: a\r\n\r\n"), (b"GET /", b"x HTTP/1.1\r\nHost: a\r\n\r\n"),
                              (b"GET / HTTP/1.1\r\nHost: a\r\nX", b"Y: z\r\n\r\n"),
                              (b"GET / HTTP/1.1\r\nHost: a\r\nX: y", b"z\r\n\r\n"),
                              (b"GET / HTTP/1.1", b"\r\nHost: a\r\n\r\n"), (b"GET / HTTP/1.1\r\nHost: a", b"\r\n\r\n"),
                              (b"GET /", b"HTTP/1.1\r\nHost: a\r\n\r\n")):
            out.append(("q", before + c + after))
        out.append(("s", b"HTTP/1.1 200 O" + c + b"K\r\nContent-Length: 0\r\n\r\n"))
        out.append(("s", b"HTTP/1.1 200" + c + b"OK\r\nContent-Length: 0\r\n\r\n"))
        out.append(("q", CHUNKED + b"1" + c + b"\r\nx\r\n0\r\n\r\n"))
        out.append(("q", CHUNKED + b"1;a" + c + b"b\r\nx\r\n0\r\n\r\n"))
        out.append(("q", CHUNKED + b"1\r\nx\r\n0\r\nX: " + c + b"\r\n\r\n"))
    return out
