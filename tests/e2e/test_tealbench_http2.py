"""tealbench as a client of HTTP/2: held against a server that is none of ours, and a drill of Teal with it."""
import socket

import pytest

from helpers import scale
from helpers.certificates import Authority
from helpers.daemon import Daemon
from helpers.tealbench import Running, Serve, drill, errors, load
from helpers.upgrade import gone, upgrade

WORK = ("--mode=http2", "--requests=503", "--connections=7", "--threads=2")


@pytest.fixture
def nghttpd(ports, closing, tmp_path):
    """nghttpd(certificate): the address of libnghttp2's server, with a file of 300000 bytes."""
    def make(certificate=None):
        port = ports.hold()
        (tmp_path / "file").write_bytes(b"x" * 300000)
        how = (port, certificate["key"], certificate["cert"]) if certificate else ("--no-tls", port)
        server = closing.add(Daemon(tmp_path, "nghttpd", "-a", "127.0.0.1", "-d", tmp_path, *how))

        def answers():
            assert server.process.poll() is None, server.log.read_text()
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        scale.until(answers, "nghttpd answers")
        return f"127.0.0.1:{port}"
    return make


@pytest.mark.parametrize("tls", [False, True])
def test_every_request_is_made_and_answered(nghttpd, tmp_path, tls):
    authority = Authority(tmp_path)
    address = nghttpd(authority.issue("localhost", "localhost") if tls else None)
    more = ["--tls", f"--ca={authority.pem}", "--sni=localhost"] if tls else []
    status, r = load(address, *WORK, "--path=/file", "--header=X-Check: 1", *more)
    assert (status, r["ok"], errors(r), r["connect_us"]["count"]) == (0, 503, {}, 7)
    assert r["bytes_in"] > 503 * 300000
    assert errors(load(address, *WORK[:1], "--requests=3", "--path=/none", *more)[1]) == {"status": 3}


def test_what_speaks_no_http2_is_an_error(closing, tmp_path):
    plain = closing.add(Serve("--mode=http"))
    _, r = load(plain.address, "--mode=http2", "--requests=2")
    assert r["ok"] == 0 and set(errors(r)) <= {"protocol", "short", "reset"}
    secure = closing.add(Serve("--mode=http", "--tls"))
    _, r = load(secure.address, "--mode=http2", "--requests=2", "--tls", "--insecure")
    assert r["ok"] == 0 and set(errors(r)) == {"tls"}


def test_a_drill_keeps_its_connections_over_flips_and_loses_nothing_in_an_upgrade(web, closing):
    g, b = (closing.add(Serve("--mode=http", f"--name={name}")) for name in ("green", "blue"))
    t = web(green=[g], blue=[b], mode="http", h2c=True, connect_timeout=60.0, start=False).start(supervised=True)
    at = "%s:%d" % t.address()
    flips = scale.scaled(1000, 8)
    status, r = drill(at, f"--admin={t.admin_path}", "--service=web", "--mode=http2", f"--requests={scale.scaled(1_000_000, 1000)}",
                      f"--flips={flips}", "--connections=8", "--threads=2", "--late=0")
    assert (status, r["passed"], r["flips_made"]) == (0, True, flips), r["samples"]
    assert (r["lost"], r["wrong_color"]) == (0, 0) and all(r["served_by"].values())
    # One connection each, from the first request to the last.
    assert scale.SOAK or len({x["client"] for x in t.log_lines("http.request")}) == 8
    running = closing.add(Running(at, "--mode=http2", "--connections=4", "--path=/bytes/100000"))
    scale.until(lambda: t.metrics().get("teal_http_connections", protocol="HTTP/2") >= 4, "the load has begun")
    before, _ = upgrade(t)
    gone(before)
    scale.until(lambda: t.metrics().get("teal_http_connections", protocol="HTTP/2") >= 4, "and goes on")
    result = running.close()
    assert result["ok"] > 0 and errors(result) == {}
