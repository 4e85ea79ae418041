"""Clients of HTTP/2 and gRPC that people have, over flips and upgrades: none of them notices any of those."""
import os
import subprocess

import pytest

from helpers.certificates import Authority
from helpers.grpc_site import Calls, GrpcSite
from helpers.scale import patience, scaled
from helpers.steady_client import Program, Repeated
from helpers.tealbench import Serve
from helpers.upgrade import gone, upgrade

pytestmark = pytest.mark.nosan      # what these clients send, others send under sanitizers: it is the clients that are tried

NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")
COLORS = ("green", "blue")


def tool(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=20 * patience())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# What is under way when the clock jumps is not late.
PATIENT = {"connect_timeout": 100_000.0, "header_timeout": 3600.0, "keepalive_timeout": 3600.0, "response_timeout": 0, "idle_timeout": 0, "body_min_rate": 0, "drain": {"timeout": 100_000.0}, "health": {"type": "none"},
           "http2": {"stall_timeout": 0}}
# An upgraded process ends soon, but for streams.
TOP = {"upgrade": {"timeout": 1.0}, "stop": {"timeout": 400.0}}


def go_through(teal, clients):
    """Flips, and upgrades between them, while each of the clients goes on; the process that is upgraded leaves those that are busy what
    they have until a quarter of its time is left."""
    flips, upgrades = scaled(200, 2), scaled(20, 1)
    every = max(flips // upgrades, 1)
    for i in range(1, flips + 1):
        teal.ok("flip", "web", COLORS[i % 2], "--wait=applied")
        for c in clients:
            c.more()
        if i % every == 0 and upgrades > 0:
            upgrades -= 1
            before, _ = upgrade(teal)
            teal.wait_log("upgrade.timeout", count=scaled(20, 1) - upgrades)
            for c in clients:
                c.more()
            resting = [c for c in clients if c.rests]
            for c in resting:
                c.rest()
            teal.clock.move(310)
            gone(before)
            for c in resting:
                c.go_on()
    for c in clients:
        c.close()
    said = "; ".join(f"{c.name}: {c.ok} went well, {len(c.failed)} failed {c.failed[:5]}" for c in clients)
    print(said)
    assert not any(c.failed for c in clients), said


def test_http_clients_notice_no_flip_and_no_upgrade(web, closing, tmp_path):
    ca = Authority(tmp_path)
    g, b = (closing.add(Serve("--mode=http", f"--name={name}")) for name in COLORS)
    teal = web(green=[g], blue=[b], mode="http", tls={"certificates": [ca.issue("localhost", "localhost")], "handshake_timeout": 3600.0},
               clock=True, top=TOP, start=False, **PATIENT).start(supervised=True)
    at = f"https://localhost:{teal.address()[1]}"

    def curl():
        out = tool("curl", "-sSZ", "--parallel-max", "10", "--http2", "--cacert", ca.pem, "-o", "/dev/null", at + "/bytes/[50001-50040]",
                   "-w", "%{http_version} %{response_code} %{size_download}\n")
        assert sorted(out.split("\n")[:-1]) == [f"2 200 {n}" for n in range(50001, 50041)], out
        return 40

    def nghttp():
        out = tool("nghttp", "-nsy", "-m20", at + "/bytes/50000")
        assert out.count(" 200 ") == 20, out
        return 20

    def h2load():
        out = tool("h2load", "-n200", "-c4", "-m10", at + "/bytes/1000")
        assert "200 succeeded, 0 failed, 0 errored" in out, out
        return 200
    clients = [closing.add(Repeated(x.__name__, x)) for x in (curl, nghttp, h2load)]
    clients.append(closing.add(Program("http2", "node", f"{NODE}/http2_client.js", at, str(ca.pem))))
    # It takes any GOAWAY for the end of all that is under way: the one that rests gets it, and at its leisure.
    clients.append(closing.add(Program("undici", "node", f"{NODE}/undici_client.js", at, str(ca.pem), rests=True)))
    go_through(teal, clients)


def test_grpc_clients_notice_no_flip_and_no_upgrade(web, ports, closing):
    sides = [closing.add(GrpcSite(name, ports.hold())) for name in COLORS]
    teal = web(green=sides[:1], blue=sides[1:], mode="http", h2c=True, backend_protocol="h2",
               clock=True, top=TOP, start=False, **PATIENT).start(supervised=True)
    calls = closing.add(Calls(teal.address()))

    def grpcio():
        assert calls.unary(b"x", timeout=patience()).endswith(b":x")
        assert len(list(calls.server(b"3", timeout=patience()))) == 3
        assert calls.client(iter([b"a"] * 3), timeout=patience()).endswith(b":3")
        assert len({x[:4] for x in calls.both(iter([b"a"] * 3), timeout=patience())}) == 1
        return 4
    go_through(teal, [closing.add(Program("grpc-js", "node", f"{NODE}/grpc_client.js", "%s:%d" % teal.address())),
                      *(closing.add(Repeated("grpcio", grpcio)) for _ in range(2))])
