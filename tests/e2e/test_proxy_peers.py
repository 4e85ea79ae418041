"""PROXY headers between Teal and the proxies of others, HAProxy and nginx, on
either side: who the client is arrives, and every byte with it."""
import hashlib

import pytest

from helpers.backends import receive_stream, send_stream
from helpers.clients import Client
from helpers.peers import haproxy, nginx

from test_proxy_protocol import FROM_HERE, local, text

SIZE = 3_000_001


def hash_both_ways(conn, backend):
    """Answers a stream with its length and hash, and then with one of its own."""
    got, digest = receive_stream(conn, SIZE)
    conn.sendall(f"{got} {digest}\n".encode())
    conn.sendall(f"{send_stream(conn, 12, SIZE)}\n".encode())


def check_both_ways(c):
    """The client's half of hash_both_ways()."""
    sent = send_stream(c.sock, 11, SIZE)
    assert c.line() == f"{SIZE} {sent}"
    data = c.receive(SIZE)
    assert len(data) == SIZE
    assert c.line() == hashlib.sha256(data).hexdigest()


# ---- in front of Teal ----

V2_OPTIONS = "proxy-v2-options crc32c,unique-id"


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2", f"send-proxy-v2 {V2_OPTIONS}"],
                         ids=["v1", "v2", "v2-tlvs"])
@pytest.mark.parametrize("first", ["client", "backend"])
def test_haproxy_in_front_of_teal(web, backend, ports, closing, tmp_path, send, first):
    behaviour = hash_both_ways if first == "client" else None
    teal = web(green=[backend("green", *([behaviour] if behaviour else []))], proxy_protocol=FROM_HERE)
    front = ports.hold()
    closing.add(haproxy(tmp_path, f"""
listen front
  bind 127.0.0.1:{front}
  unique-id-format %[uuid]
  server teal {text(teal.address())} {send}""", [front]))
    with Client(("127.0.0.1", front)) as c:
        me = text(local(c))
        if first == "client":
            check_both_ways(c)
        else:
            c.echo(b"hello")
    line = teal.wait_log("tcp.session", client=me)
    assert line["end"] == "done" and line["peer"].startswith("127.0.0.1:") and line["peer"] != me
    assert line["bytes_in"] == (SIZE if first == "client" else 5)


def test_haproxys_checks_name_nobody(web, ports, closing, tmp_path):
    teal = web(proxy_protocol=FROM_HERE)
    front = ports.hold()
    closing.add(haproxy(tmp_path, f"""
listen front
  bind 127.0.0.1:{front}
  server teal {text(teal.address())} send-proxy-v2 check inter 100ms""", [front]))
    teal.wait_log("tcp.session", count=3)
    # Its LOCAL headers are understood: none of them was an error.
    assert not teal.sessions(end="proxy_header")


@pytest.mark.parametrize("mode", ["tcp", "unix"])
def test_nginx_in_front_of_teal(web, backend, ports, closing, tmp_path, mode):
    keys = {"listen": f"unix:{tmp_path}/teal.sock"} if mode == "unix" else {}
    teal = web(green=[backend("green", hash_both_ways)], proxy_protocol=FROM_HERE, **keys)
    at = teal.address() if mode == "unix" else text(teal.address())
    front = ports.hold()
    closing.add(nginx(tmp_path, [front], stream=f"""
server {{ listen 127.0.0.1:{front}; proxy_pass {"unix:" + at if mode == "unix" else at}; proxy_protocol on; }}"""))
    with Client(("127.0.0.1", front)) as c:
        me = text(local(c))
        check_both_ways(c)
    line = teal.wait_log("tcp.session", client=me)
    assert line["end"] == "done" and line["bytes_in"] == SIZE
    assert line["peer"] == "unix:" if mode == "unix" else line["peer"] != me


# ---- behind Teal ----

@pytest.mark.parametrize("send", ["v1", "v2"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_haproxy_behind_teal(web, backend, ports, closing, tmp_path, send, host):
    server, stream, http = backend("server", hash_both_ways), ports.hold(), ports.hold()
    closing.add(haproxy(tmp_path, f"""
listen stream
  bind 127.0.0.1:{stream} accept-proxy
  server s {server.address}
frontend http
  mode http
  bind 127.0.0.1:{http} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"
""", [stream, http]))
    listen = f"[::1]:{ports.hold('::1')}" if ":" in host else f"127.0.0.1:{ports.hold()}"
    teal = web(green=[f"127.0.0.1:{stream}"], blue=[f"127.0.0.1:{http}"], listen=listen, proxy_protocol={"send": send})
    with teal.connect() as c:
        check_both_ways(c)
    teal.ok("flip", "web", "blue")
    with teal.connect() as c:
        c.sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        (me, my_port), (it, its_port) = local(c), c.sock.getpeername()[:2]
        assert c.read_end()[0].endswith(f"\r\n\r\n{me} {my_port} {it} {its_port}".encode())


@pytest.mark.parametrize("send", ["v1", "v2"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_nginx_behind_teal(web, backend, ports, closing, tmp_path, send, host):
    server, stream, http, early = backend("server", hash_both_ways), ports.hold(), ports.hold(), ports.hold()
    told = "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port"
    peer = closing.add(nginx(tmp_path, [stream, http, early], stream=f"""
server {{ listen 127.0.0.1:{stream} proxy_protocol; proxy_pass {server.address}; }}
server {{ listen 127.0.0.1:{early} proxy_protocol; return "{told}"; }}""", http=f"""
server {{ listen 127.0.0.1:{http} proxy_protocol; default_type text/plain; location / {{ return 200 "{told}"; }} }}"""))
    listen = f"[::1]:{ports.hold('::1')}" if ":" in host else f"127.0.0.1:{ports.hold()}"
    teal = web(green=[f"127.0.0.1:{stream}"], blue=[f"127.0.0.1:{http}"], listen=listen, proxy_protocol={"send": send},
               health={"interval": 0.1, "rise": 1})
    with teal.connect() as c:
        check_both_ways(c)
    teal.ok("flip", "web", "blue")
    with teal.connect() as c:
        c.sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        (me, my_port), (it, its_port) = local(c), c.sock.getpeername()[:2]
        assert c.read_end()[0].endswith(f"\r\n\r\n{me} {my_port} {it} {its_port}".encode())
    # One that speaks at once, before the client has said a word.
    other = web(green=[f"127.0.0.1:{early}"], proxy_protocol={"send": send})
    with other.connect() as c:
        me, my_port = local(c)
        assert c.read_end()[0].decode().startswith(f"{me} {my_port} ")
    # Checks and the gate's connects bring a header too: nginx missed it only where
    # this test asked whether its three ports answer.
    assert peer.words().count("broken header") <= 3, peer.words()


@pytest.mark.parametrize("send", ["v1", "v2"])
def test_an_http_check_of_what_expects_a_header(web, ports, closing, tmp_path, send):
    at = ports.hold()
    closing.add(nginx(tmp_path, [at], http=f"""
server {{ listen 127.0.0.1:{at} proxy_protocol; location /well {{ return 204; }} location / {{ return 503; }} }}"""))
    health = {"type": "http", "interval": 0.1, "timeout": 1.0, "rise": 1, "fall": 1, "expect": "204"}
    teal = web(green=[f"127.0.0.1:{at}"], proxy_protocol={"send": send}, health=health | {"path": "/well"})
    state = teal.status()["colors"]["green"]["backends"][0]
    assert state["state"] == "up", state
    # It is the header that makes the difference.
    deaf = web(green=[f"127.0.0.1:{at}"], health=health | {"path": "/well"})
    assert deaf.status()["colors"]["green"]["backends"][0]["state"] == "down"
