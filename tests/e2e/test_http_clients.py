"""Clients that people have: socket.io, Python's requests, undici and Chromium, while colors flip."""
import json
import os
import subprocess
import threading

import pytest
import requests

from helpers import scale
from helpers.browser import Browser
from helpers.certificates import Authority
from helpers.http1 import Http
from helpers.peers import Peer
from helpers.scale import until

pytestmark = pytest.mark.nosan      # what these clients send, others send under sanitizers: it is the clients that are tried

E2E = os.path.dirname(os.path.abspath(__file__))
COLORS = ("green", "blue")


def node_site(script, tmp_path, ports, closing, name):
    assert os.path.isdir(os.path.join(E2E, "node", "node_modules")), "tools/install-deps test installs what it needs"
    port = ports.hold()
    closing.add(Peer(tmp_path, name, ["node", os.path.join(E2E, script), str(port), name], [port]))
    return f"127.0.0.1:{port}"


@pytest.fixture
def stage(web, ports, closing, tmp_path):
    """stage(script, **keys): teald before that script, once for each color.  secure: by TLS, and so by HTTP/2."""
    def make(script, secure=False, **keys):
        if secure:
            ca = Authority(tmp_path)
            keys["tls"] = {"certificates": [ca.issue("localhost", "localhost")]}
        green, blue = (node_site(script, tmp_path, ports, closing, name) for name in COLORS)
        t = web(mode="http", green=[green], blue=[blue], **keys)
        t.url = lambda path="/": "%s:%d%s" % ("https://localhost" if secure else "http://127.0.0.1", t.address()[1], path)
        t.ca = ca.pem if secure else None
        return t
    return make


# ---- socket.io ----

class Talk:
    """A client of socket.io: .heard are the answers so far."""

    def __init__(self, url, ways):
        self._process = subprocess.Popen(["node", os.path.join(E2E, "node", "socket_io_client.js"), url, ways],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                         text=True)
        self.heard = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.heard.append(json.loads(line))

    def next(self):
        """An answer to something that was said after this."""
        n = len(self.heard)
        until(lambda: len(self.heard) > n + 1 or self._process.poll() is not None, "another answer",
              timeout=2 * scale.patience())
        assert self._process.poll() is None, self._process.stderr.read()
        return self.heard[n + 1]

    def finish(self):
        # Not communicate(): that would read some of the answers itself.
        self._process.stdin.close()
        self._reader.join(2 * scale.patience())
        assert self._process.wait(2 * scale.patience()) == 0, self._process.stderr.read()
        return self.heard

    def close(self):
        self._process.kill()
        self._process.wait()
        for f in (self._process.stdin, self._process.stdout, self._process.stderr):
            if not f.closed:
                f.close()


@pytest.mark.nosan
@pytest.mark.parametrize("ways", ["polling,websocket", "polling", "websocket"])
def test_socket_io_talks_on_over_flips(stage, closing, ways):
    """Each thing it says is answered, in order and as it was; after the drain by the
    new color: a session of its polling is not known there, so it makes another."""
    t = stage("node/socket_io_server.js", drain={"timeout": 0.2, "idle": 0.0})
    talk = closing.add(Talk(t.url(), ways))
    last = ways.rpartition(",")[2]
    until(lambda: talk.next()["way"] == last, "the way it prefers")
    for n in range(1, 5):
        color = COLORS[n % 2]
        t.ok("flip", "web", color, "--wait=drained")
        until(lambda: talk.next()["name"] == color, "the new color answers")
        until(lambda: talk.next()["way"] == last, "the way it prefers")
    heard = talk.finish()
    assert [h["n"] for h in heard] == list(range(len(heard)))
    assert all(h["same"] for h in heard) and {h["way"] for h in heard} <= set(ways.split(","))
    # An upgrade of the one connection, or one that was never asked for.
    upgraded = t.metrics().get("teal_requests_total", service="web", code="101") or 0
    assert upgraded >= 5 if last == "websocket" else upgraded == 0


# ---- Python's requests ----

@pytest.fixture
def session():
    with requests.Session() as s:
        s.trust_env = False     # no proxies
        yield s


def test_requests_asks_in_all_its_ways(stage, session):
    t, patience = stage("helpers/http_site.js"), 4 * scale.patience()
    told = session.post(t.url("/echo"), params={"q": "ä b"}, json={"a": [1, 2]}, timeout=patience).json()
    assert (told["method"], told["url"], told["size"]) == ("POST", "/echo?q=%C3%A4+b", len('{"a": [1, 2]}'))
    told = session.put(t.url("/echo"), data=(b"x" * 1000 for _ in range(300)), timeout=patience).json()
    assert (told["method"], told["size"]) == ("PUT", 300_000) and "chunked" in told["headers"]
    told = session.post(t.url("/echo"), files={"f": ("name", b"y" * 500_000)}, timeout=patience).json()
    assert told["size"] > 500_000
    assert session.head(t.url("/hello"), timeout=patience).status_code == 200
    assert session.options(t.url("/echo"), timeout=patience).json()["method"] == "OPTIONS"
    with session.get(t.url("/chunks?n=1000"), stream=True, timeout=patience) as r:
        assert b"".join(r.iter_content(777)) == b"".join(b"chunk %d\n" % i for i in range(1000))
    assert session.get(t.url("/nothing"), timeout=patience).content == b""
    assert session.get(t.url("/trailers"), timeout=patience).text == "first second"
    # All of that on one connection.
    assert len({line["client"] for line in (t.wait_log("http.request", 8), *t.log_lines("http.request"))}) == 1


def test_requests_moves_with_a_flip(stage, session):
    t = stage("node/socket_io_server.js")
    for n in range(6):
        assert session.get(t.url(), timeout=4 * scale.patience()).text == COLORS[n % 2]
        t.ok("flip", "web", COLORS[(n + 1) % 2])
    assert len({line["client"] for line in (t.wait_log("http.request", 6), *t.log_lines("http.request"))}) == 1


@pytest.mark.parametrize("chunks", [False, True])
def test_a_refused_upload_is_told_to_who_first_sends_all_of_it(stage, session, chunks):
    """requests reads no answer before it has sent everything."""
    t = stage("helpers/http_site.js")
    body = b"x" * (20 << 20)
    data = (body[i:i + 65536] for i in range(0, len(body), 65536)) if chunks else body
    assert session.post(t.url("/refuse"), data=data, timeout=4 * scale.patience()).status_code == 403
    # And where teald itself refuses it.
    with Http(t.address()) as c:
        assert c.ask("/hello").body == b"hello"


def test_an_upload_that_teald_refuses(web, backend, session):
    t = web(mode="http", max_body="1MiB")
    url = "http://%s:%d/" % t.address()
    assert session.post(url, data=b"x" * (20 << 20), timeout=4 * scale.patience()).status_code == 413


# ---- undici ----

def test_undici_moves_with_flips_over_http2(stage):
    """It takes any GOAWAY for the end of all that is under way: a flip sends none."""
    t = stage("node/socket_io_server.js", secure=True)
    with subprocess.Popen(["node", os.path.join(E2E, "node", "undici_client.js"), t.url(), str(t.ca)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as client:
        try:
            for n in range(1, 21):
                t.ok("flip", "web", COLORS[n % 2], "--wait=applied")
                while (line := client.stdout.readline()) != f"200 {COLORS[n % 2]}\n":
                    assert line == f"200 {COLORS[(n + 1) % 2]}\n", line
            client.stdin.close()
            assert not [line for line in client.stdout if not line.startswith("200 ")]
            assert client.wait(scale.patience()) == 0
        finally:
            client.kill()
    lines = t.log_lines("http.request")
    assert {line["protocol"] for line in lines} == {"HTTP/2"} and len({line["client"] for line in lines}) == 1


# ---- Chromium ----

@pytest.fixture(scope="module")
def chromium():
    b = Browser("--ignore-certificate-errors")
    yield b
    b.close()


# Everything that a page does over HTTP; what it saw is in window.seen.
PAGE = """
const seen = window.seen = {};
const text = (r) => r.text();
async function all() {
    seen.many = (await Promise.all([...Array(60).keys()].map((i) => fetch("/echo?" + i).then((r) => r.json()))))
        .every((r, i) => r.url === "/echo?" + i);
    seen.post = (await (await fetch("/echo", { method: "POST", body: new Blob(["z".repeat(3000000)]) })).json()).size;
    seen.refused = await fetch("/refuse", { method: "POST", body: "z".repeat(1000) }).then((r) => r.status);
    seen.chunks = (await fetch("/chunks?n=2000").then(text)).split("\\n").length;
    seen.down = (await fetch("/down?size=20000000").then((r) => r.arrayBuffer())).byteLength;
    seen.nothing = await fetch("/nothing").then((r) => r.status);
    seen.ticks = await new Promise((done) => {
        const events = new EventSource("/events"), got = [];
        events.onopen = () => fetch("/tick");
        events.onmessage = (e) => {
            got.push(e.data);
            got.length < 5 ? fetch("/tick") : (events.close(), done(got));
        };
    });
    seen.socket = await new Promise((done, fail) => {
        const s = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/ws`, ["second"]), got = [];
        s.onopen = () => s.send("first");
        s.onmessage = (e) => { got.push(e.data); got.length < 50 ? s.send("word " + got.length) : s.send("bye"); };
        s.onclose = (e) => done([got.length, e.code, e.reason, s.protocol]);
        s.onerror = () => fail(new Error("the socket"));
    });
    seen.aborted = await new Promise((done) => {
        const a = new AbortController();
        fetch("/down?size=500000000", { signal: a.signal }).then((r) => r.body.getReader().read()).then(() => a.abort())
            .then(() => fetch("/hello").then(text).then(done));
    });
}
all().then(() => { seen.done = true; }, (e) => { seen.done = String(e); });
"""


@pytest.mark.nosan
@pytest.mark.parametrize("secure", [False, True])
def test_chromium_loads_sends_listens_and_talks(stage, chromium, secure):
    """With TLS all of it goes over HTTP/2, the WebSocket too: that is a stream of the connection that is there."""
    t = stage("helpers/http_site.js", secure=secure)
    chromium.driver.get(t.url("/hello"))
    chromium.complaints()
    chromium.run(PAGE)
    seen = until(lambda: (s := chromium.run("return window.seen")) and s.get("done") and s, "the page is done",
                 timeout=4 * scale.patience())
    assert seen["done"] is True, seen
    assert (seen["many"], seen["post"], seen["refused"], seen["chunks"], seen["down"], seen["nothing"]) == \
        (True, 3_000_000, 403, 2001, 20_000_000, 204)
    first = int(seen["ticks"][0].split()[1])
    assert seen["ticks"] == [f"tick {first + i}" for i in range(5)]
    assert seen["socket"] == [50, 4001, "as you say", "second"] and seen["aborted"] == "hello"
    assert not [c for c in chromium.complaints() if "favicon" not in c and "403" not in c]
    t.wait_metric(0, "teal_backend_connections", service="web", color="green")
    ws = t.wait_log("http.request", path="/ws")
    lines = t.log_lines("http.request")
    assert {line["protocol"] for line in lines} == {"HTTP/2" if secure else "HTTP/1.1"} and ws["status"] == 101
    if secure:
        assert len({line["client"] for line in lines}) == 1


@pytest.mark.nosan
@pytest.mark.parametrize("secure", [False, True])
def test_chromium_moves_with_a_flip_and_misses_nothing(stage, chromium, secure):
    """A page that asks all the time, over the connections that it keeps."""
    t = stage("node/socket_io_server.js", secure=secure)
    chromium.driver.get(t.url())
    chromium.run("""
        const seen = window.seen = { names: [[]], failed: 0, over: false, left: 4 };
        async function ask() {
            while (!seen.over) {
                const since = seen.names[seen.names.length - 1];    // the flip before this began
                await fetch("/?" + Math.random()).then((r) => r.text()).then((n) => since.push(n), () => seen.failed++);
            }
            seen.left--;
        }
        for (let i = 0; i < 4; i++)
            ask();""")

    def since(n):
        return chromium.run("return window.seen.names[arguments[0]]", n)
    until(lambda: len(since(0)) > 20, "it asks")
    for n in range(1, 9):
        t.ok("flip", "web", COLORS[n % 2])
        chromium.run("window.seen.names.push([])")
        until(lambda: len(since(n)) > 20, "it asks on")
        assert set(since(n)) == {COLORS[n % 2]}
    chromium.run("window.seen.over = true")
    until(lambda: chromium.run("return window.seen.left") == 0, "the last answers")
    assert chromium.run("return window.seen.failed") == 0
    assert len({line["client"] for line in t.log_lines("http.request")}) <= 12
