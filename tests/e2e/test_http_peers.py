"""Real programs on both sides of HTTP mode: nginx and Node behind it; curl, Python's own
clients, Node's and ws in front; and slowhttptest, while somebody honest is served."""
import hashlib
import http.client
import json
import os
import re
import subprocess
import threading
import urllib.request

import pytest

from helpers import scale
from helpers.backends import send_stream
from helpers.http1 import Http, Reader, chunked
from helpers.peers import Peer, nginx

HELPERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "helpers")
MIB = 1 << 20


def run(*command, data=None, check=True, timeout=None):
    """A program's CompletedProcess, in bytes."""
    p = subprocess.run([str(w) for w in command], input=data, capture_output=True,
                       timeout=timeout or 4 * scale.patience())
    assert not check or p.returncode == 0, (command, p.returncode, p.stdout[-2000:], p.stderr[-2000:])
    return p


def curl(*words, data=None, check=True):
    return run("curl", "-sS", "--noproxy", "*", *words, data=data, check=check)


@pytest.fixture
def node(web, ports, closing, tmp_path):
    """node(**keys): teald before helpers/http_site.js; .url("/x")."""
    def make(**keys):
        port = ports.hold()
        closing.add(Peer(tmp_path, "node", ["node", os.path.join(HELPERS, "http_site.js"), str(port)], [port]))
        at = f"127.0.0.1:{port}"
        t = web(mode="http", green=[at], blue=[at], **keys)
        t.url = lambda path="/", scheme="http": "%s://%s:%d%s" % (scheme, *t.address(), path)
        return t
    return make


# ---- nginx behind ----

TEXT = "".join(f"line {i} of a text that is worth compressing\n" for i in range(3000)).encode()


@pytest.fixture
def shelf(web, ports, closing, tmp_path):
    """teald before an nginx that has files; .bare is nginx's own address."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "text.txt").write_bytes(TEXT)
    (root / "small.bin").write_bytes(bytes(range(256)))
    (root / "empty").write_bytes(b"")
    for name in ("text.txt", "small.bin", "empty"):
        os.utime(root / name, (1_600_000_000, 1_600_000_000))
    (root / "folder").mkdir()
    port = ports.hold()
    closing.add(nginx(tmp_path, [port], http=f"""
        gzip on; gzip_min_length 100; gzip_types text/plain; types {{ text/plain txt; }}
        server {{
            listen 127.0.0.1:{port}; root {root}; absolute_redirect off;
            location = /nothing {{ return 204; }}
            location = /gone {{ return 410 "gone for good"; }}
        }}"""))
    at = f"127.0.0.1:{port}"
    t = web(mode="http", green=[at], blue=[at])
    t.bare = ("127.0.0.1", port)
    return t


MODIFIED = "Sun, 13 Sep 2020 12:26:40 GMT"


def test_nginx_says_the_same_as_without_teal(shelf):
    """All kinds of answers, on one connection to Teal; header lines in order."""
    asked = [("GET", "/text.txt", []), ("GET", "/text.txt", [("Accept-Encoding", "gzip")]), ("HEAD", "/text.txt", []),
             ("HEAD", "/text.txt", [("Accept-Encoding", "gzip")]),
             ("GET", "/small.bin", [("Range", "bytes=10-19")]), ("GET", "/small.bin", [("Range", "bytes=-6")]),
             ("GET", "/text.txt", [("Range", "bytes=100000-")]), ("GET", "/small.bin", [("Range", "bytes=500-600")]),
             ("GET", "/small.bin", [("Range", "bytes=0-0"), ("If-Range", "\"another\"")]),
             ("GET", "/text.txt", [("If-Modified-Since", MODIFIED)]),
             ("GET", "/text.txt", [("If-None-Match", "*")]), ("GET", "/text.txt", [("If-Match", "\"another\"")]),
             ("GET", "/empty", []), ("GET", "/nothing", []), ("HEAD", "/nothing", []), ("GET", "/gone", []),
             ("GET", "/folder", []), ("GET", "/none", []), ("GET", "/small.bin", [])]
    with Http(shelf.address()) as ours:     # nginx ends its own after some of these
        for method, target, headers in asked:
            with Http(shelf.bare) as theirs:
                a, b = (c.ask(target, method=method, headers=headers) for c in (ours, theirs))
            what = method, target, headers
            assert (a.start, a.body) == (b.start, b.body), what
            assert end_to_end(a.headers) == end_to_end(b.headers), what
    assert shelf.metrics().get("teal_rejected_total") in (None, 0)


def end_to_end(headers):
    """Without what is of one connection, and Teal's name for the request."""
    return [(k, v) for k, v in headers
            if k.lower() not in ("connection", "date", "keep-alive", "transfer-encoding", "x-request-id")]


def test_ranges_of_several_parts(shelf):
    with Http(shelf.address()) as c:
        a = c.ask("/small.bin", headers=[("Range", "bytes=0-1,250-251")])
    assert a.status == 206 and a.get("Content-Type").startswith("multipart/byteranges")
    assert a.body.count(b"Content-Range: bytes ") == 2 and b"\r\n\r\n\x00\x01\r\n" in a.body
    assert b"\r\n\r\n\xfa\xfb\r\n" in a.body


def test_downloads_go_on_where_they_broke_off(shelf, tmp_path):
    part = tmp_path / "part"
    part.write_bytes(TEXT[:12345])
    curl("-C", "-", "-o", part, "http://%s:%d/text.txt" % shelf.address())
    assert part.read_bytes() == TEXT


def test_what_is_compressed_stays_so(shelf):
    url = "http://%s:%d/text.txt" % shelf.address()
    wire = curl("-H", "Accept-Encoding: gzip", url).stdout
    assert wire[:2] == b"\x1f\x8b" and len(wire) < len(TEXT) // 2
    assert curl("--compressed", url).stdout == TEXT == curl(url).stdout


# ---- Node behind ----

def pairs(flat):
    return list(zip(flat[::2], flat[1::2]))


def test_curl_and_python_and_node_ask(node):
    t, body = node(), b"x=1&y=2" * 1000
    digest = hashlib.sha256(body).hexdigest()
    answers = [curl("--data-binary", "@-", t.url("/echo?a=%20b"), data=body).stdout,
               curl("-H", "Transfer-Encoding: chunked", "--data-binary", "@-", t.url("/echo?a=%20b"), data=body).stdout,
               curl("-0", "--data-binary", "@-", t.url("/echo?a=%20b"), data=body).stdout]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(t.url("/echo?a=%20b"), body), timeout=scale.patience()) as f:
        answers.append(f.read())
    c = http.client.HTTPConnection(*t.address(), timeout=scale.patience())
    c.request("POST", "/echo?a=%20b", iter([body[:10], body[10:]]), encode_chunked=True,
              headers={"Transfer-Encoding": "chunked"})
    answers.append(c.getresponse().read())
    for _ in range(3):  # the connection is kept
        sock = c.sock
        c.request("POST", "/echo?a=%20b", body)
        answers.append(c.getresponse().read())
        assert c.sock is sock
    c.close()
    answers.append(run("node", "-e", """
        fetch(process.argv[1], { method: "POST", body: require("fs").readFileSync(0) })
            .then((r) => r.text()).then((text) => console.log(text))""", t.url("/echo?a=%20b"), data=body).stdout)
    for a in map(json.loads, answers):
        assert (a["method"], a["url"], a["size"], a["hash"]) == ("POST", "/echo?a=%20b", len(body), digest)


def test_header_lines_arrive_in_order_and_as_they_were_written(node):
    t = node()
    lines = [("x-LOWER-Upper", "1"), ("Cookie", "a=1; b=2"), ("B", "2"), ("A", "3"), ("b", "4"), ("ACCEPT", "x/y"),
             ("Accept", "z/w, a/b;q=0.1"), ("X-Empty", ""), ("X-Latin", "caf\xe9"), ("B", "5")]
    with Http(t.address()) as c:
        got = pairs(json.loads(c.ask("/echo", headers=lines).body)["headers"])
        names = {k.lower() for k, _ in lines}
        assert [(k, v) for k, v in got if k.lower() in names] == lines
        assert [v for k, v in got if k.lower() == "host"] == ["web"]
        a = c.ask("/twisted")
    expected = [("x-LOWER-Upper", "1"), ("Set-Cookie", "a=1; Path=/"), ("B", "2"), ("set-cookie", "b=2"), ("A", "3"),
                ("b", "4"), ("Content-Length", "2"), ("ETag", "W/\"x\""), ("SET-COOKIE", "c=3")]
    names = {k.lower() for k, _ in expected}
    assert [(k, v) for k, v in a.headers if k.lower() in names] == expected and a.body == b"ok"


def test_chunks_and_trailers_both_ways(node):
    t = node()
    with Http(t.address()) as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
               + chunked(b"y" * 5000, 777)[:-2] + b"X-Sum: 42\r\n\r\n")
        a = json.loads(c.response().body)
        assert (a["size"], a["hash"]) == (5000, hashlib.sha256(b"y" * 5000).hexdigest())
        assert pairs(a["trailers"]) == [("X-Sum", "42")]
        a = c.ask("/trailers")
        assert (a.body, a.trailers) == (b"first second", [("X-Sum", "12"), ("X-Other", "b c")])
        assert c.ask("/hello").body == b"hello"


def test_http_1_0_gets_no_chunks(node):
    t = node()
    whole = b"".join(b"chunk %d\n" % i for i in range(500))
    with Http(t.address()) as c:
        a = c.ask("/chunks?n=500", version="1.0")
        assert (a.status, a.body, a.get("Transfer-Encoding")) == (200, whole, None)
        assert c.ended
    assert curl("-0", t.url("/chunks?n=500")).stdout == whole == curl(t.url("/chunks?n=500")).stdout


def test_answers_without_a_body_end_where_they_end(node):
    t = node()
    with Http(t.address()) as c:
        for _ in range(3):
            assert c.ask("/hello", method="HEAD").status == 200
            a = c.ask("/nothing")
            assert (a.status, a.get("Transfer-Encoding"), a.get("Content-Length")) == (204, None, None)
            assert c.ask("/chunks?n=5", method="HEAD").status == 200
            assert c.ask("/hello").body == b"hello"


def test_asking_ahead(node):
    t = node()
    with Http(t.address()) as c:
        c.send("".join(f"POST /echo?{i} HTTP/1.1\r\nHost: web\r\nContent-Length: {i}\r\n\r\n{'x' * i}"
                       for i in range(50)))
        for i in range(50):
            a = json.loads(c.response().body)
            assert (a["url"], a["size"]) == (f"/echo?{i}", i)


def test_curl_waits_to_be_asked_for_the_body(node, tmp_path):
    t, body = node(), os.urandom(300_000)
    (tmp_path / "body").write_bytes(body)
    # Were it never asked, curl would wait longer than run() does.
    words = ("-v", "--expect100-timeout", "3600", "-H", "Expect: 100-continue", "-T", tmp_path / "body")
    p = curl(*words, t.url("/echo"))
    a = json.loads(p.stdout)
    assert (a["size"], a["hash"], a["continued"]) == (len(body), hashlib.sha256(body).hexdigest(), True)
    assert p.stderr.count(b"< HTTP/1.1 100 ") == 1 and b"< HTTP/1.1 200 " in p.stderr
    p = curl(*words, "-w", "%{http_code} %{size_upload}", t.url("/refuse"), check=False)
    assert p.stdout == b"403 0" and b"100 Continue" not in p.stderr


def test_events_come_one_by_one(node):
    t = node()
    with Http(t.address()) as c:
        c.send("GET /events HTTP/1.1\r\nHost: web\r\nAccept: text/event-stream\r\n\r\n")
        events = Reader(c.sock)
        head = events.head()
        assert head.status == 200 and head.get("Content-Type") == "text/event-stream"
        chunk(events, b": open\n\n")
        with Http(t.address()) as other:
            for i in range(1, 21):  # the next is not made before this one is read
                assert other.ask("/tick").body == b"%d" % i
                chunk(events, b"id: %d\ndata: tick %d\n\n" % (i, i))


def chunk(reader, expected):
    """The next chunks hold just that."""
    got = b""
    while len(got) < len(expected):
        got += reader.exactly(int(reader.line(), 16))
        assert reader.line() == ""
    assert got == expected


def test_websockets(node):
    t = node()
    command = ("node", os.path.join(HELPERS, "ws_client.js"), t.url("/ws", "ws"))
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for p in clients:
        out, err = p.communicate(timeout=4 * scale.patience())
        assert p.returncode == 0, err
        assert json.loads(out) == {"same": 7, "pongs": 1, "protocol": "second", "extensions": "permessage-deflate",
                                   "code": 4001, "reason": "as you say"}
    p = run(*command[:2], t.url("/elsewhere", "ws"), check=False)
    assert p.returncode != 0 and b"Unexpected server response" in p.stderr
    assert curl(t.url("/hello")).stdout == b"hello"


# ---- large bodies ----

def peak(t):
    """The most resident bytes since forget_peak()."""
    return int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{t.pid}/status").read())[1]) * 1024


def forget_peak(t):
    with open(f"/proc/{t.pid}/clear_refs", "w") as f:
        f.write("5")


def upload(t, size, chunks=False):
    with Http(t.address()) as c:
        c.sock.settimeout(20 * scale.patience())
        if not chunks:
            c.send(f"POST /echo HTTP/1.1\r\nHost: web\r\nContent-Length: {size}\r\n\r\n")
            sent = send_stream(c.sock, 5, size)
        else:
            c.send("POST /echo HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n")
            c.send(f"{size:x}\r\n")
            sent = send_stream(c.sock, 5, size)
            c.send("\r\n0\r\n\r\n")
        a = json.loads(c.response().body)
    assert (a["size"], a["hash"]) == (size, sent)


def download(t, size, chunks=False):
    if chunks:
        c = http.client.HTTPConnection(*t.address(), timeout=20 * scale.patience())
        c.request("GET", f"/down?size={size}&chunked=1")
        answer, digest, got = c.getresponse(), hashlib.sha256(), 0
        assert answer.getheader("Transfer-Encoding") == "chunked"
        while data := answer.read(MIB):
            digest.update(data)
            got += len(data)
        c.close()
        got = got, digest.hexdigest()
    else:
        with Http(t.address()) as c:
            c.sock.settimeout(20 * scale.patience())
            c.send(f"GET /down?size={size} HTTP/1.1\r\nHost: web\r\n\r\n")
            answer = Reader(c.sock)
            assert int(answer.head().get("Content-Length")) == size
            digest = hashlib.sha256(answer.rest)
            n, room = len(answer.rest), bytearray(1 << 18)
            while n < size and (more := c.sock.recv_into(room)):
                digest.update(memoryview(room)[:more])
                n += more
            got = n, digest.hexdigest()
    assert got == (size, curl(t.url("/hash")).stdout.decode())


@pytest.mark.nosan
@pytest.mark.scales
@pytest.mark.parametrize("way", [upload, download])
def test_large_bodies_arrive_whole_and_take_no_memory(node, way):
    t = node(max_body=0)
    for chunks in (False, True):
        way(t, 8 * MIB, chunks)
    forget_peak(t)
    before = t.rss()
    way(t, scale.scaled(5 << 30, 256 * MIB))
    way(t, scale.scaled(1 << 30, 32 * MIB), chunks=True)
    print(f"{way.__name__}: {peak(t) - before} bytes more")
    assert peak(t) - before <= 2 * MIB


# ---- who is slow on purpose ----

SLOW = scale.scaled(2000, 100)
LONGEST = scale.scaled(240, 60)
ATTACKS = {
    "header_timeout": ["-H", "-i", "1", "-u", "/hello"],
    "body_timeout": ["-B", "-i", "1", "-s", "100000", "-u", "/echo"],
    "client_slow": ["-X", "-n", "1", "-w", "512", "-y", "1024", "-z", "4096", "-u", "/down?size=50000000"],
}


class Honest(threading.Thread):
    """Asks until told to end; .wrong are answers it should not have got."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.over, self.asked, self.wrong = address, threading.Event(), 0, []

    def run(self):
        try:
            while not self.over.is_set():
                with Http(self.address, timeout=4 * scale.patience()) as c:
                    for _ in range(5):
                        self.asked += 1
                        a = c.ask("/hello")
                        if a is None or (a.status, a.body) != (200, b"hello"):
                            self.wrong.append(a)
                        self.over.wait(0.01)
        except (OSError, AssertionError, ValueError) as e:
            self.wrong.append(e)


@pytest.mark.nosan
@pytest.mark.scales
@pytest.mark.parametrize("end", ATTACKS)
def test_slow_clients_are_sent_away_and_others_served(node, end):
    t = node(header_timeout=2.0, body_min_rate=10000, body_grace=1.0)
    honest = Honest(t.address())
    honest.start()
    words = list(ATTACKS[end])
    words[-1] = t.url(words[-1])
    # It ends when its time is over, or as soon as none of its connections is left.
    p = run("slowhttptest", "-c", SLOW, "-r", SLOW, "-l", LONGEST, "-p", 30, *words,
            check=False, timeout=2 * LONGEST)
    honest.over.set()
    honest.join(5 * scale.patience())
    said = re.sub(r"\x1b\[[0-9;]*m", "", p.stdout.decode(errors="replace"))
    assert "No open connections left" in said, said[-3000:]
    assert not honest.is_alive() and honest.wrong == [] and honest.asked > 0
    t.wait_metric(0, "teal_connections", service="web")
    # Teal sent them away, for what they did; none went of itself.
    t.wait_metric(SLOW, "teal_connections_total", service="web", end=end)
    with Http(t.address()) as c:
        assert c.ask("/hello").body == b"hello"
