"""tealbench drill: it finds a single lost or wrong answer and a single broken stream, and Teal passes it."""
import json
import re
import socket
import subprocess
import threading

import pytest

from helpers import scale
from helpers.tealbench import TEALBENCH, Serve, drill, errors

KINDS = {"http": "http", "http-close": "http", "tcp-connect": "hello"}


@pytest.fixture
def stage(web, closing):
    """stage(serve=mode, green=(options), blue=(options), **keys of the service):
    a teald on two tealbench backends, and the drill's first options."""
    def make(serve="hello", green=(), blue=(), **keys):
        g, b = (closing.add(Serve(f"--mode={serve}", f"--name={name}", *more))
                for name, more in (("green", green), ("blue", blue)))
        # A machine that is slow to accept is no fault of Teal's.
        t = web(green=[g], blue=[b], mode="http" if serve == "http" else "tcp", connect_timeout=60.0, **keys)
        host, port = t.address("web")
        t.drill = lambda *options: drill(f"{host}:{port}", f"--admin={t.admin_path}", "--service=web", *options)
        return t
    return make


@pytest.mark.scales
@pytest.mark.tsan
def test_not_one_connection_is_lost_over_many_flips(stage):
    requests, flips = scale.scaled(1_000_000, 4_000 // scale.slow()), scale.scaled(1000, 16 // scale.slow())
    teal = stage("hello")
    status, r = teal.drill("--mode=tcp-connect", f"--requests={requests}", f"--flips={flips}", "--connections=64",
                           "--threads=2", "--late=60", "--sources=8")
    assert (status, r["passed"], r["verdict"]) == (0, True, "nothing was lost"), json.dumps(r["samples"])
    assert r["ok"] >= requests and (r["lost"], r["wrong_color"], r["unnamed"]) == (0, 0, 0)
    assert r["flips_made"] == flips == len(r["flips"]) == r["flip_us"]["count"] == r["drain_us"]["count"]
    assert all(r["served_by"].values()) and sum(r["served_by"].values()) == r["ok"]
    # Every answer is on the timeline, and each flip is where it was made.
    assert sum(sum(r["timeline"][lane]) for lane in ("green", "blue", "failed")) == r["ok"]
    assert [f["to"] for f in r["flips"]] == [("blue", "green")[i % 2] for i in range(flips)]
    assert teal.ok("active", "web")["color"] == ("blue" if flips % 2 else "green")
    assert 0 < r["longest_gap_us"] <= r["seconds"] * 1e6


@pytest.mark.parametrize("fault, counts", [
    ("reset:300", {"lost", "reset"}),
    ("close:300", {"lost"}),
    ("lie:300", {"wrong_color"}),
])
def test_a_bad_backend_fails_the_drill(stage, fault, counts):
    teal = stage("hello", green=[f"--break={fault}"])
    status, r = teal.drill("--mode=tcp-connect", "--requests=3000", "--flips=4", "--connections=8", "--late=60")
    assert (status, r["passed"]) == (1, False)
    assert {k for k in ("lost", "reset", "wrong_color", "unnamed", "late") if r[k]} == counts
    assert r["flips_made"] == 4 and r["samples"] and r["verdict"]


class Swap:
    """A balancer of our own for --flip-cmd: each request goes to the backend
    that a symbolic link names; flipping is moving the link."""

    def __init__(self, folder, green, blue):
        for name, b in (("green", green), ("blue", blue)):
            (folder / name).write_text(b.address)
        (folder / "active").symlink_to("green")
        self.active = folder / "active"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.command = f'ln -sfn "$COLOR" {folder}/next && mv -T {folder}/next {folder}/active'
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(client,), daemon=True).start()

    def one(self, client):
        with client:
            request = client.recv(65536)  # which color, only now
            if not request:
                return
            host, port = self.active.read_text().split(":")
            with socket.create_connection((host, int(port))) as backend:
                backend.sendall(request)
                while answer := backend.recv(65536):
                    client.sendall(answer)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.mark.nosan      # nothing of teald runs
def test_anything_can_be_drilled_by_a_command(tmp_path, closing):
    green, blue = (closing.add(Serve("--mode=http", f"--name={name}-1")) for name in ("green", "blue"))
    swap = closing.add(Swap(tmp_path, green, blue))
    common = ("--mode=http-close", "--connections=4", "--rate=100", "--duration=1.5", "--flips=5", "--late=60",
              "--timeout=60")
    status, r = drill(swap.address, f"--flip-cmd={swap.command}", *common)
    assert (status, r["verdict"]) == (0, "nothing was lost"), r
    assert r["flips_made"] == 5 and all(r["served_by"].values())
    # One that only says so: the traffic stays where it was.
    status, r = drill(swap.address, "--flip-cmd=true", "--active=blue", *common)
    assert status == 1 and r["wrong_color"] > 0 and r["served_by"]["green"] == 0
    # One that fails is not repeated.
    status, r = drill(swap.address, "--flip-cmd=exit 3", "--active=blue", *common)
    assert status == 1 and (r["flips_made"], len(r["flips"])) == (0, 1) and "flips not made" in r["verdict"]


@pytest.mark.parametrize("fault, counts", [
    ("reset:50", {"lost", "reset"}),
    ("close:50", {"lost"}),
    ("short:50", {"lost"}),
    ("5xx:50", {"lost"}),
    ("late:150", {"late"}),
    ("lie:50", {"wrong_color"}),
])
def test_every_way_to_be_bad_is_found(closing, fault, counts):
    server = closing.add(Serve("--mode=http", "--name=green", f"--break={fault}"))
    status, r = drill(server.address, "--flip-cmd=true", "--flips=0", "--requests=300", "--connections=4",
                      "--late=1.5")
    assert (status, r["passed"]) == (1, False)
    # On a busy machine good ones may be late as well.
    assert counts <= {k for k in ("lost", "reset", "wrong_color", "late") if r[k]} <= counts | {"late"}
    server.close()
    assert server.served["broken"] >= 300 // int(fault.split(":")[1])


def test_a_wrong_byte_is_found(closing):
    server = closing.add(Serve("--mode=http", "--name=green", "--break=body:10"))
    status, r = drill(server.address, "--flip-cmd=true", "--flips=0", "--requests=100", "--path=/bytes/100",
                      "--late=60")
    assert status == 1 and errors(r).keys() == {"wrong_body"}


def test_answers_without_a_known_name_prove_nothing(closing):
    server = closing.add(Serve("--mode=http", "--name=greenhouse"))
    status, r = drill(server.address, "--flip-cmd=true", "--flips=0", "--requests=10")
    assert status == 1 and r["unnamed"] >= 10 and r["served_by"] == {"green": 0, "blue": 0}


def test_a_refused_flip_fails_the_drill_and_moves_nothing(stage):
    teal = stage("hello")
    teal.ctl("lock", "web", "--reason=not now")
    status, r = teal.drill("--mode=tcp-connect", "--requests=200", "--flips=2", "--late=60")
    assert status == 1 and (r["flips_made"], r["lost"], r["wrong_color"]) == (0, 0, 0)
    assert [f["error"] for f in r["flips"]] == ["locked", "locked"]
    assert r["served_by"]["blue"] == 0


@pytest.mark.parametrize("options, words", [
    ([], "--admin"),
    (["--admin=/x", "--flip-cmd=true"], "--admin"),
    (["--admin=/x"], "--service"),
    (["--admin=/nowhere/x", "--service=web"], "/nowhere/x"),
    (["--flip-cmd=true", "--colors=green"], "--colors"),
    (["--flip-cmd=true", "--active=pink"], "pink"),
    (["--flip-cmd=true", "--mode=tcp-small"], "tcp-small"),
    (["--flip-cmd=true", "--wait=long"], "long"),
    (["--during=reload"], "--cmd"),
    (["--during=crash", "--cmd=true"], "--pid-cmd"),
    (["--during=upgrade", "--pid-cmd=true"], "--pid-cmd"),
    (["--during=lunch", "--cmd=true"], "lunch"),
])
@pytest.mark.nosan      # nothing of teald runs
def test_usage_errors_of_a_drill(options, words):
    done = subprocess.run([TEALBENCH, "drill", "--target=127.0.0.1:1", *options], capture_output=True, text=True,
                          timeout=scale.patience())
    assert done.returncode == 2 and words in done.stderr and done.stdout == ""


@pytest.mark.nosan      # nothing of teald runs
def test_people_read_it_too(closing):
    server = closing.add(Serve("--mode=http", "--name=green", "--break=lie:20"))
    done = subprocess.run([TEALBENCH, "drill", f"--target={server.address}", "--flip-cmd=true", "--flips=0",
                           "--requests=100", "--late=0"], capture_output=True, text=True, timeout=scale.patience())
    assert done.returncode == 1
    assert re.search(r"^FAILED: [1-9]\d* on the wrong color$", done.stdout, re.M), done.stdout
    assert "answered by blue" in done.stdout


@pytest.mark.scales
@pytest.mark.tsan
@pytest.mark.parametrize("options", [
    ["--mode=http"], ["--mode=http-close", "--sources=8"], ["--mode=http", "--per-connection=20"],
    ["--mode=http", "--path=/echo", "--body=3000"],
], ids=["keep-alive", "close", "mixed", "post"])
def test_not_one_request_is_lost_over_many_flips(stage, options):
    requests, flips = scale.scaled(1_000_000, 3_000 // scale.slow()), scale.scaled(1000, 12 // scale.slow() + 1)
    teal = stage("http")
    status, r = teal.drill(*options, f"--requests={requests}", f"--flips={flips}", "--connections=64", "--threads=2",
                           "--late=60", "--timeout=60")
    assert (status, r["verdict"]) == (0, "nothing was lost"), (errors(r), r["samples"])
    assert r["ok"] >= requests and r["flips_made"] == flips and all(r["served_by"].values())


def test_a_bad_backend_behind_http_fails_the_drill(stage):
    """Nothing hides behind a retry: what was answered wrongly is found."""
    teal = stage("http", blue=["--break=lie:10"])
    status, r = teal.drill("--requests=3000", "--flips=4", "--connections=8", "--late=60")
    assert status == 1 and r["wrong_color"] > 0 and (r["lost"], r["flips_made"]) == (0, 4)


# ---- reloads, crashes ----

@pytest.mark.tsan
@pytest.mark.parametrize("kind", ["http", "hello"])
def test_reloads_under_load_break_no_stream(stage, closing, kind):
    """Each turn is a reload of a file with another timeout; the streams are of the same service, or of
    one beside it."""
    teal = stage(kind)
    beside = closing.add(Serve("--mode=echo"))
    other = [] if kind == "http" else [f"--stream-target={beside.address}"]
    status, r = teal.drill("--during=reload", f"--mode={'http' if kind == 'http' else 'tcp-connect'}", *other,
                           "--requests=600", "--count=5", "--connections=8", "--streams=6", "--stream-rate=200",
                           "--late=60", "--timeout=60")
    assert (status, r["verdict"], r["during"]) == (0, "nothing was lost", "reload"), r
    assert (r["turns_wanted"], r["turns_made"], len(r["reloads"]), r["turn_us"]["count"]) == (5, 5, 5, 5)
    assert r["streams"]["connections"] == 6 and r["streams"]["messages"] >= 6 and r["streams"]["broken"] == 0
    assert "flips_made" not in r and r["died_with_process"] == 0


def test_a_file_that_is_wrong_fails_the_drill_and_nothing_else(stage):
    teal = stage("http")
    teal.conf.write_text("nonsense = ;\n")
    status, r = teal.drill("--during=reload", "--requests=100", "--count=2", "--late=60")
    assert status == 1 and (r["lost"], r["turns_made"], r["verdict"]) == (0, 0, "2 reloads not made")
    assert all(t["error"] for t in r["reloads"])


@pytest.mark.nosan      # nothing of teald runs
def test_a_broken_stream_fails_the_drill(closing):
    """The command ends the server of the streams: all of them break."""
    requests, streams = (closing.add(Serve("--mode=http", "--name=green")) for _ in range(2))
    status, r = drill(requests.address, "--during=reload", f"--cmd=kill {streams.process.pid}", "--count=1",
                      f"--stream-target={streams.address}", "--streams=3", "--requests=200", "--late=60")
    assert status == 1 and r["lost"] == 0 and r["streams"]["broken"] >= 3, r
    assert r["verdict"] == f"{r['streams']['broken']} streams broken"


@pytest.mark.parametrize("mode", ["http", "http-close"])
def test_a_crash_refuses_none_and_what_died_with_it_is_told_apart(web, closing, mode):
    green = closing.add(Serve("--mode=http", "--name=green"))
    teal = web(start=False, green=[green], blue=[green], mode="http").start("--max-restarts=10", supervised=True)
    host, port = teal.address("web")
    status, r = drill(f"{host}:{port}", "--during=crash", f"--admin={teal.admin_path}", f"--mode={mode}",
                      "--rate=200", "--requests=400", "--count=2", "--connections=8", "--streams=4", "--late=0",
                      "--timeout=60")
    assert (status, r["lost"], errors(r).get("refused", 0)) == (0, 0, 0), r
    assert r["turns_made"] == 2 and all(t["serving_us"] > t["dead_us"] > 0 for t in r["crashes"])
    assert r["streams"]["died_with_process"] >= 4 and r["streams"]["broken"] == 0
    assert sum(errors(r).values()) == r["died_with_process"]
    assert teal.ok("status")["restarts"] == 2


@pytest.mark.nosan      # nothing of teald runs
def test_a_crash_without_a_successor_fails_the_drill(closing):
    server = closing.add(Serve("--mode=http", "--name=green"))
    status, r = drill(server.address, "--during=crash", f"--pid-cmd=echo {server.process.pid}", "--count=1",
                      "--rate=100", "--duration=0.5", "--flip-timeout=1", "--late=0")
    assert status == 1 and r["turns_made"] == 0 and errors(r)["refused"] > 0 and r["lost"] > 0
    assert "crashes not made" in r["verdict"]
