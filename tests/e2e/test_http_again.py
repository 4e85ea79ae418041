"""What clients make of answers of teald's own: who comes again, when, and who never does."""
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from helpers import scale
from helpers.browser import Browser
from helpers.http1 import Http
from helpers.peers import Peer
from helpers.reload import change, reload
from helpers.scale import patience, until
from helpers.teald import service

E2E = os.path.dirname(os.path.abspath(__file__))
EVENTS = [("Accept", "text/event-stream")]
SITE = "helpers/http_site.js"


def again(answer):
    return answer.get("Retry-After")


@pytest.fixture
def shared(teal, backend, ports):
    """Two services of one listener, so that each request is judged, not the connection."""
    def make(**keys):
        listen = f"127.0.0.1:{ports.hold()}"
        b = backend(behaviour=answering)
        t = teal(services=[service(name, listen=listen, mode="http", hosts=[f"{name}.example"], green=[b], blue=[b],
                                   **(keys if name == "web" else {})) for name in ("web", "rest")])
        t.backend = b
        return t
    return make


def answering(c, _):
    while c.recv(1 << 16):
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


# ---- which answers say it ----

def test_retry_after_is_said_where_time_alone_helps(shared):
    t = shared(retry_after=7, max_connections=1, max_body=10)
    with Http(t.address()) as first, Http(t.address()) as second:
        assert first.ask(host="web.example").status == 200
        full = second.ask(host="web.example")
        assert (full.status, again(full)) == (503, "7")
        large = first.ask(host="web.example", method="POST", body=b"x" * 11)
        assert (large.status, again(large)) == (413, None)


def test_nothing_is_said_to_who_holds_what_it_lacks(shared):
    t = shared(max_connections_per_source=1)
    with Http(t.address()) as first, Http(t.address()) as second:
        assert first.ask(host="web.example").status == 200
        mine = second.ask(host="web.example")
        assert (mine.status, again(mine)) == (429, None)


@pytest.mark.parametrize("rate, key, said", [("1/m", 7, "60"), ("1/m", 90, "90"), ("1/m", 0, None)])
def test_a_rate_says_when_it_lets_in_again(shared, rate, key, said):
    t = shared(source_rate=rate, retry_after=key)
    with Http(t.address()) as c:
        assert c.ask(host="web.example").status == 200
        assert c.ask(host="rest.example").status == 200
        fast = c.ask(host="web.example")
        assert (fast.status, again(fast)) == (429, said)


@pytest.mark.parametrize("method, said", [("GET", "1"), ("PUT", "1"), ("POST", None)])
def test_what_may_have_been_done_is_not_asked_for_again(web, backend, method, said):
    """A drain cuts a request that its backend has, and has not answered."""
    asked = threading.Event()

    def silent(c, _):
        c.recv(1 << 16)
        asked.set()
        c.recv(1)

    t = web(mode="http", green=[backend("green", silent)], drain={"timeout": 0.0}, health={"type": "none"})
    with Http(t.address()) as c:
        c.send(f"{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert asked.wait(patience())
        t.ok("flip", "web", "blue")
        cut = c.response()
    assert (cut.status, again(cut)) == (503, said)


# ---- urllib3, as Debian has it ----

URLLIB3 = """
import json, sys
sys.path.insert(0, "/usr/lib/python3/dist-packages")
import urllib3
url, total, method, size = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
retry = urllib3.Retry(total=total, raise_on_status=False)
r = urllib3.PoolManager(retries=retry).request(method, url, body=b"x" * size or None)
print(json.dumps({"version": urllib3.__version__, "status": r.status, "tries": 1 + len(r.retries.history)}))
"""


def urllib3_asks(t, total, method="GET", size=0):
    return subprocess.Popen([sys.executable, "-c", URLLIB3, "http://%s:%d/" % t.address(), str(total), method, str(size)],
                            stdout=subprocess.PIPE, text=True)


def told(process):
    return json.loads(process.communicate(timeout=2 * patience())[0])


def down(web, backend, **keys):
    """A service without a usable backend; .green is to be started."""
    return web(mode="http", green=[backend("green", answering, start=False)], when_all_down="refuse",
               health={"interval": 0.1, "rise": 1, "fall": 1}, retry_pause=0.0, **keys)


@pytest.mark.nosan
def test_urllib3_comes_again_until_there_is_a_backend(web, backend):
    t = down(web, backend)
    asking = urllib3_asks(t, 100)
    assert t.wait_log("http.request", status=503)["end"] in ("no_backend", "connect")
    t.green.start()
    heard = told(asking)
    assert heard["version"].startswith("1.26.") and heard["status"] == 200 and heard["tries"] >= 2


@pytest.mark.nosan
@pytest.mark.parametrize("keys, size, status", [({"retry_after": 0}, 0, 503), ({"max_body": 10}, 11, 413)])
def test_urllib3_takes_that_for_the_last_word(web, backend, keys, size, status):
    t = down(web, backend, **keys)
    t.wait_metric(0, "teal_backend_up", service="web", color="green")
    heard = told(urllib3_asks(t, 3, "PUT" if size else "GET", size))
    assert (heard["status"], heard["tries"]) == (status, 1)


# ---- server-sent events ----

def test_an_event_source_is_closed_on_and_others_are_answered(web, backend):
    t = down(web, backend)
    t.wait_metric(0, "teal_backend_up", service="web", color="green")
    with Http(t.address()) as c:
        assert c.ask(headers=EVENTS) is None
    line = t.wait_log("http.request", bytes_out=0)
    assert (line["status"], line["end"]) == (503, "no_backend")
    for accept in ("text/event-stream, application/json", "*/*", "text/event-stream;q=0"):
        with Http(t.address()) as c:
            assert c.ask(headers=[("Accept", accept)]).status == 503
    with Http(t.address()) as c:    # no EventSource posts
        assert c.ask(method="POST", headers=EVENTS, body=b"x").status == 503


def test_a_reload_answers_event_sources(web, backend):
    t = down(web, backend)
    t.wait_metric(0, "teal_backend_up", service="web", color="green")
    change(t, sse_unavailable="503", retry_after=5)
    reload(t)
    with Http(t.address()) as c:
        answer = c.ask(headers=EVENTS)
        assert (answer.status, again(answer)) == (503, "5")


@pytest.mark.parametrize("headers, answered", [(EVENTS, False), ([], True)])
def test_an_event_source_waits_for_a_place_and_is_closed_on_in_the_end(web, backend, closing, headers, answered):
    """What it has asked for is looked at when its time in the queue is over."""
    t = web(mode="http", green=[backend("green", answering)], max_connections=1, queue_timeout=60.0, keepalive_timeout=0, clock=True)
    with Http(t.address()) as first:
        assert first.ask().status == 200
        second = closing.add(Http(t.address()))
        fields = "".join(f"{k}: {v}\r\n" for k, v in headers)
        second.send(f"GET /late HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
        t.wait_metric(1, "teal_waiting_connections", service="web")
        t.clock.move(60)
        answer = second.response()
        assert answer.status == 503 and again(answer) == "1" if answered else answer is None
    assert t.wait_log("http.request", end="queue_timeout")["path"] == "/late"


def test_an_event_source_that_waits_gets_the_place_that_comes_free(web, backend, closing):
    t = web(mode="http", green=[backend("green", answering)], max_connections=1, queue_timeout=60.0)
    with Http(t.address()) as first:
        assert first.ask().status == 200
        second = closing.add(Http(t.address()))
        second.send("GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        t.wait_metric(1, "teal_waiting_connections", service="web")
        first.close()
        assert second.response().status == 200


class Listener:
    """An EventSource of Node's: .heard are the lines it has said."""

    def __init__(self, library, url):
        script = os.path.join(E2E, "node", "events_client.js")
        self.process = subprocess.Popen(["node", script, library, url], stdout=subprocess.PIPE, text=True)
        self.heard = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.heard.append(json.loads(line))

    def events(self):
        return [h["event"] for h in self.heard]

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(patience())
        self.process.stdout.close()


@pytest.fixture
def events(web, ports, closing, tmp_path):
    """A service of a Node site that is not there yet: .arrive() starts it."""
    def make(**keys):
        port = ports.hold()
        t = web(mode="http", green=[f"127.0.0.1:{port}"], health={"interval": 0.1, "rise": 1, "fall": 1},
                when_all_down="refuse", retry_pause=0.0, **keys)
        t.wait_metric(0, "teal_backend_up", service="web", color="green")
        t.url = "http://%s:%d/" % t.address()

        def arrive():
            site = closing.add(Peer(tmp_path, "site", ["node", os.path.join(E2E, SITE), str(port)], [port]))
            t.wait_metric(1, "teal_backend_up", service="web", color="green")
            t.rest()
            return site
        t.arrive = arrive
        return t
    return make


def tick(t):
    with Http(t.address()) as c:
        assert c.ask("/tick").status == 200


@pytest.mark.long
@pytest.mark.nosan
@pytest.mark.parametrize("library", ["eventsource", "undici"])
def test_event_sources_of_node_come_again(events, closing, library):
    t = events()
    source = closing.add(Listener(library, t.url + "events"))
    until(lambda: "error" in source.events(), "it is told that it is not served")
    t.arrive()
    until(lambda: "open" in source.events(), "it came again")
    tick(t)
    until(lambda: "message" in source.events(), "an event")


@pytest.mark.nosan
@pytest.mark.parametrize("library", ["eventsource", "undici"])
def test_event_sources_of_node_end_at_an_answer(events, closing, library):
    """Why the answer is not the default."""
    t = events(sse_unavailable="503")
    source = closing.add(Listener(library, t.url + "events"))
    assert source.process.wait(patience()) == 0
    until(lambda: source.heard, "its last word")
    assert source.heard[-1]["closed"]


@pytest.mark.long
@pytest.mark.nosan
@pytest.mark.parametrize("keys, ends", [({}, False), ({"sse_unavailable": "503"}, True)])
def test_the_event_source_of_a_browser(events, closing, keys, ends):
    t = events(**keys)
    site, browser = t.arrive(), closing.add(Browser())
    browser.driver.get(t.url + "hello")
    site.close()
    t.wait_metric(0, "teal_backend_up", service="web", color="green")
    t.rest()
    browser.run("window.seen = []; window.source = new EventSource('/events');"
                "for (const w of ['open', 'error', 'message']) source.addEventListener(w, () => seen.push(w));")
    until(lambda: "error" in browser.run("return seen"), "it is told that it is not served")
    if ends:
        assert browser.run("return source.readyState") == 2
        return
    assert browser.run("return source.readyState") == 0
    t.arrive()
    until(lambda: "open" in browser.run("return seen"), "it came again")
    tick(t)
    until(lambda: "message" in browser.run("return seen"), "an event")


# ---- a backend that closes what is kept ----

@pytest.mark.long
@pytest.mark.nosan
def test_what_a_backend_of_node_closes_is_not_used_again(web, ports, closing, tmp_path):
    """It closes after five seconds, pool_idle is four: a POST, which is not sent twice, never meets the close."""
    port = ports.hold()
    closing.add(Peer(tmp_path, "site", ["node", os.path.join(E2E, "node", "closing_site.js"), str(port)], [port]))
    t = web(mode="http", green=[f"127.0.0.1:{port}"], pool_reuse="always")
    failed = []

    def talk(pause):
        with Http(t.address()) as c:
            for _ in range(2):
                answer = c.ask(method="POST", body=b"x")
                if answer is None or answer.body != b"POST":
                    failed.append((pause, answer))
                time.sleep(pause)
    threads = [threading.Thread(target=talk, args=(3.9 + n * scale.slow() / 20,)) for n in range(30)]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    assert failed == []
