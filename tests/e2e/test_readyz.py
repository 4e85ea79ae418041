"""/readyz: what balancers, VRRP daemons and orchestrators ask by, and what they
are told when backends are down."""
import socket
import subprocess

import pytest

from helpers.clients import Client
from helpers.scale import patience, until
from helpers.teald import service


def ask(teal, target="/readyz", method="GET", version="1.1", host=b"Host: teal\r\n"):
    with socket.create_connection(teal.observe, patience()) as s:
        s.sendall(f"{method} {target} HTTP/{version}\r\n".encode() + host + b"Connection: close\r\n\r\n")
        data = b""
        while more := s.recv(1 << 16):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body.decode()


@pytest.fixture
def two(teal, backend, ports):
    """Services a and b of a backend each; the backends, by name."""
    def make(**settings):
        backends = {n: backend(n) for n in ("a", "b")}
        t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[f"127.0.0.1:{ports.hold()}"])
                           for n, b in backends.items()], **settings)
        return t, backends
    return make


def settle(teal, name, state):
    until(lambda: teal.status(name)["colors"]["green"]["backends"][0]["state"] == state, f"{name} is {state}")


def test_head_and_options_are_answered_like_get(two):
    teal, _ = two()
    for path in ("/readyz", "/healthz", "/metrics", "/"):
        for method in ("HEAD", "OPTIONS"):
            code, head, body = ask(teal, path, method)
            assert code == 200, (path, method, head)
            assert method == "OPTIONS" or body == ""
    assert ask(teal, method="OPTIONS", version="1.0", host=b"")[0] == 200  # HAProxy's own check
    assert ask(teal, "*", "OPTIONS")[0] == 200
    assert "Allow: GET, HEAD, OPTIONS\r\n" in ask(teal, method="OPTIONS")[1]
    assert ask(teal, "/events", "OPTIONS")[0] == 200  # and no stream: the reply has ended
    teal.ok("maintenance", "on")
    for method in ("GET", "HEAD", "OPTIONS"):
        assert ask(teal, method=method)[0] == 503
    code, head, _ = ask(teal, method="POST")
    assert code == 405 and "Allow: GET, HEAD, OPTIONS\r\n" in head + "\r\n"


def test_with_no_backend_up_it_is_not_ready_unless_told_so(two):
    teal, backends = two(ready={"min_services": 1})
    assert ask(teal)[0] == 200
    backends["a"].stop()
    settle(teal, "a", "down")
    assert ask(teal)[0] == 200  # the other one is still worth something
    backends["b"].stop()
    settle(teal, "b", "down")
    code, _, why = ask(teal)
    assert code == 503 and "min_services" in why
    assert teal.metrics().get("teal_ready") == 0
    backends["b"].start()
    settle(teal, "b", "up")
    assert ask(teal)[0] == 200


def test_the_default_is_one_service_with_a_backend(two):
    teal, backends = two()
    del teal.settings["ready"]
    teal.restart()
    for name, b in backends.items():
        b.stop()
        settle(teal, name, "down")
    assert ask(teal)[0] == 503


def test_a_share_of_the_services_may_be_wanted(two):
    teal, backends = two(ready={"min_services": "100%"})
    backends["a"].stop()
    settle(teal, "a", "down")
    code, _, why = ask(teal)
    assert code == 503 and "1 of 2" in why


def test_a_service_can_be_asked_for(two):
    teal, backends = two()
    backends["a"].stop()
    settle(teal, "a", "down")
    assert ask(teal)[0] == 200
    code, _, why = ask(teal, "/readyz?service=a")
    assert code == 503 and "a: no backend of green is up" in why
    assert ask(teal, "/readyz?service=b")[0] == 200
    assert ask(teal, "/readyz?x=1&service=%62")[0] == 200
    assert ask(teal, "/readyz?service=b&service=a")[0] == 503
    assert ask(teal, "/readyz?service=none")[0] == 404
    assert ask(teal, "/readyz?service=%zz")[0] == 404
    assert ask(teal, "http://teal/readyz?service=b")[0] == 200
    teal.ok("maintenance", "on")
    code, _, why = ask(teal, "/readyz?service=b")
    assert code == 503 and "maintenance" in why


@pytest.mark.parametrize("check", ["http-check send uri /readyz", "http-check send meth GET uri /readyz",
                                   "http-check send meth HEAD uri /readyz?service=web"])
def test_haproxy_in_front_finds_it_up(web, ports, tmp_path, check):
    """OPTIONS is what `option httpchk` says by itself."""
    teal = web()
    port = ports.hold()
    conf = tmp_path / "haproxy.cfg"
    conf.write_text(f"""
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen front
  bind 127.0.0.1:{port}
  option httpchk
  {check}
  server teal 127.0.0.1:{teal.address()[1]} check inter 100 fall 1 rise 1 port {teal.observe[1]}
""")
    haproxy = subprocess.Popen(["haproxy", "-db", "-f", str(conf)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def greeted():
            try:
                with Client(("127.0.0.1", port)) as c:
                    return c.echo().peer == "green"
            except (OSError, EOFError, AssertionError):
                return False
        until(greeted, "served through HAProxy")
    finally:
        haproxy.terminate()
        haproxy.wait(patience())
