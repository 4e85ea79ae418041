"""Teal's parser beside three that are well kept: Debian's http-parser, h11 and Node's llhttp.

All get the same messages, made and known to be odd. Teal may refuse what others take; what it
takes they must take too, and see the same message in it: method, target or status, headers,
body and where it ends. Where one of them refuses what Teal takes, it is named here, with the
clause of the RFC that Teal goes by.
"""
import os
import re
import shutil
import struct
import subprocess

import h11
import pytest

from helpers import http1_inputs, scale

pytestmark = pytest.mark.nosan      # its own programs; nothing of teald runs

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
HELPERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "helpers")
COUNT = scale.scaled(60000, 5000)


class Message:
    """A verdict: 'ok', 'bad' or 'more', and for ok what was read."""

    def __init__(self, word, why="", end=0, first=b"", target=b"", headers=b"", body=b""):
        self.word, self.why, self.end = word, why, end
        self.first, self.target, self.headers, self.body = first, target, headers, body

    @classmethod
    def parse(cls, line):
        words = line.split()
        if words[0] != "ok":
            return cls(words[0], " ".join(words[1:]))
        return cls("ok", "", int(words[1]), *(bytes.fromhex(w) if w != "-" else b"" for w in words[2:]))

    def what(self):
        return self.first, self.target, self.headers, self.body, self.end


def records(inputs):
    return b"".join(kind.encode() + struct.pack("<I", len(text)) + text for kind, text in inputs)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """The program that asks Teal's parser and http-parser."""
    program = str(tmp_path_factory.mktemp("http1") / "verdicts")
    proto = os.path.join(ROOT, "src", "proto")
    sources = [os.path.join(proto, n) for n in sorted(os.listdir(proto)) if n.startswith("http1_") and n.endswith(".c")]
    sources += [os.path.join(ROOT, "src", "base", n + ".c") for n in
                ("str", "check", "buf", "json", "clock", "decimal", "utf8")]
    subprocess.run([os.environ.get("CC") or "cc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g",
                    "-I" + os.path.join(ROOT, "include"), "-o", program, os.path.join(HELPERS, "http1_verdicts.c"),
                    *sources, "-lhttp_parser", "-lm"], check=True)
    return program


def ask(command, inputs):
    done = subprocess.run(command, input=records(inputs), stdout=subprocess.PIPE, check=True, timeout=120)
    return [Message.parse(line) for line in done.stdout.decode().splitlines()]


def ask_h11(kind, text):
    server = kind == "q"
    c = h11.Connection(h11.SERVER if server else h11.CLIENT, max_incomplete_event_size=1 << 20)
    if not server:
        c.send(h11.Request(method="HEAD" if kind == "h" else "GET", target="/", headers=[("Host", "a")]))
        c.send(h11.EndOfMessage())
    m = Message("more")
    try:
        c.receive_data(text)
        ended = False
        while True:
            event = c.next_event()
            if event is h11.NEED_DATA:
                if ended:
                    return Message("more")
                c.receive_data(b"")
                ended = True
            elif isinstance(event, (h11.Request, h11.Response, h11.InformationalResponse)):
                m.first = event.method if server else str(event.status_code).encode()
                m.target = event.target if server else b""
                m.headers = b"".join(n + b"\0" + v + b"\0" for n, v in event.headers)
                if isinstance(event, h11.InformationalResponse):
                    break
            elif isinstance(event, h11.Data):
                m.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return Message("more") if not m.first else m
    except h11.RemoteProtocolError as e:
        # The end came too early: nothing was wrong so far.
        return Message("more" if "peer unexpectedly closed" in str(e) or "peer closed" in str(e) else "bad", str(e))
    m.word = "ok"
    m.end = len(text) - len(c.trailing_data[0])
    return m


# (who, is it that?, why Teal takes it nevertheless)
EXPLAINED = (
    # RFC 9110 section 9.1: a method is any token. These two know a list.
    (("http-parser", "node"), lambda text, m, other: other.why == "HPE_INVALID_METHOD" and TOKEN.fullmatch(m.first)),
    # RFC 9112 section 7.1.1 has bad white space around the pieces of a chunk extension, and RFC 9110
    # section 5.6.3 wants it understood.
    (("http-parser", "node", "h11"), lambda text, m, other: other.word == "bad" and BAD_SPACE.search(text)),
    # RFC 9110 section 5.1: "Transfer-Encodings" is another name; http-parser looks at its beginning.
    (("http-parser",), lambda text, m, other: "TRANSFER_ENCODING" in other.why and LONGER_NAME.search(text)),
    # RFC 9112 section 2.2: an empty line before the request is skipped.
    (("h11",), lambda text, m, other: text.startswith(b"\r\n") and other.why == "no request line received"),
    # h11 hands the name of the coding out in lower case; it is the same (RFC 9112 section 7).
    (("h11",), lambda text, m, other: b"Chunked" in m.headers and other.headers.lower() == m.headers.lower() and
     (m.first, m.target, m.body, m.end) == (other.first, other.target, other.body, other.end)),
    # RFC 9110 section 5.5: a tab behind a value is no part of it.
    (("http-parser", "node"), lambda text, m, other: other.why == "HPE_INVALID_CONTENT_LENGTH" and TAB.search(text)),
)
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
TAB = re.compile(rb"content-length:[ \t]*[0-9]+[ \t]*\t[ \t]*\r\n", re.I)
LONGER_NAME = re.compile(rb"\r\ntransfer-encoding[^:\r\n]+:", re.I)
BAD_SPACE = re.compile(rb"\r\n[0-9A-Fa-f]{1,16}(?:[ \t]+;|;[^\r\n]*[ \t][^\r\n]*\r\n)")


def explained(parser, kind, text, ours, other):
    # RFC 9112 section 6.3, rule 1: such a response ends with its head, whatever that says of a body; the others
    # judge what it says.
    if (kind == "h" or kind == "s" and ours.first in (b"204", b"304")) and ours.end == text.index(b"\r\n\r\n") + 4:
        return other.word != "ok" or other.first == ours.first
    return any(parser in names and test(text, ours, other) for names, test in EXPLAINED)


def compare(name, inputs, ours, others):
    taken, wrong = 0, []
    for (kind, text), mine, other in zip(inputs, ours, others):
        if mine.word != "ok":
            continue
        taken += 1
        if other.word == "ok" and other.what() == mine.what():
            continue
        if not explained(name, kind, text, mine, other):
            wrong.append((kind, text, mine.what(), other.word, other.why, other.what()))
    assert not wrong, f"{len(wrong)} of {taken}: " + "\n".join(map(str, wrong[:20]))
    return taken


@pytest.fixture(scope="module")
def inputs():
    return http1_inputs.known() + http1_inputs.made(COUNT)


@pytest.fixture(scope="module")
def both(verdicts, inputs):
    """[Teal's], [http-parser's]"""
    lines = ask([verdicts], inputs)
    assert len(lines) == 2 * len(inputs)
    return lines[::2], lines[1::2]


def test_good_messages_are_taken(verdicts):
    good = [("q", t) for t in http1_inputs.GOOD_REQUESTS] + [("s", t) for t in http1_inputs.GOOD_RESPONSES]
    for (kind, text), m in zip(good, ask([verdicts], good)[::2]):
        assert m.word == "ok" and m.end == len(text), (text, m.why)


def test_beside_http_parser(inputs, both):
    ours, theirs = both
    assert compare("http-parser", inputs, ours, theirs) > len(inputs) / 20


def test_beside_h11(inputs, both):
    assert compare("h11", inputs, both[0], [ask_h11(k, t) for k, t in inputs]) > len(inputs) / 20


def test_beside_node(inputs, both):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    theirs = ask([node, os.path.join(HELPERS, "http1_verdicts.js")], inputs)
    assert compare("node", inputs, both[0], theirs) > len(inputs) / 20
