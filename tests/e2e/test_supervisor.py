"""teald is a parent that keeps the listening sockets, and the process that serves:
when that dies, its successor has the clients that came meanwhile."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from helpers import scale
from helpers.reload import change, reload
from helpers.scale import scaled, until


def successor(teal, before):
    """Waits until another process serves than the one before; its id."""
    def other():
        try:
            pid = teal.serving()
        except (OSError, AssertionError):
            return None
        return pid if pid != before else None
    return until(other, "another process serves")


def kill(teal, number=signal.SIGKILL):
    """Ends the process that serves; the id of the next one."""
    pid = teal.serving()
    os.kill(pid, number)
    return successor(teal, pid)


@pytest.fixture
def supervised(web):
    def make(*args, env=None, prefix=(), ready=True, **keys):
        return web(start=False, **keys).start(*args, supervised=True, env=env, prefix=prefix, ready=ready)
    return make


def test_a_start_and_a_stop_are_as_without_it(supervised):
    teal = supervised()
    assert teal.serving() != teal.pid
    status = teal.ok("status")
    assert status["supervisor"] == teal.pid and status["restarts"] == 0
    assert teal.connect().peer == "green"
    assert teal.stop() == 0
    assert teal.log_lines_now("teald.stopped")


def test_without_a_supervisor_it_is_one_process(web):
    teal = web(start=False).start("--no-supervisor", supervised=True)
    assert teal.serving() == teal.pid and teal.ok("status")["supervisor"] is None


def test_a_command_stops_both(supervised):
    teal = supervised()
    teal.ok("stop")
    assert teal.wait() == 0


def test_a_second_signal_hurries_both(supervised):
    teal = supervised(top={"stop": {"notice": 60.0, "timeout": 60.0}})
    teal.signal()
    teal.wait_log("teald.stopping")
    # One that comes at once is an echo of the first.
    until(lambda: teal.running and teal.signal(signal.SIGINT) or not teal.running, "one of them counts")
    assert teal.wait() == 1
    teal.expect_status = 1


def test_a_failed_start_says_what_it_said(web, ports):
    first = web()
    port = first.address()[1]
    second = web(start=False, listen=f"127.0.0.1:{port}")
    status, text = second.start_refused(supervised=True)
    assert status == 1 and "another process already does" in text, (status, text)
    assert not second.log_lines_now("teald.crashed")
    broken = web(start=False, no_such_key=1)
    status, text = broken.start_refused(supervised=True)
    assert status == 2 and "no_such_key" in text, (status, text)


@pytest.mark.scales
@pytest.mark.long
def test_killed_under_load_nobody_is_refused_and_flips_are_kept(supervised, farm, load):
    kills = scaled(100, 5)
    teal = supervised(f"--max-restarts={kills}", green=[farm("green")], blue=[farm("blue")])
    clients, color = load(teal, 16), "green"
    for n in range(kills):
        clients.more(50)
        # One that dies within its first second is followed ever later.
        until(lambda: teal.ok("status")["uptime"] > 1.5, "it has served for a while")
        kill(teal)
        color = "blue" if color == "green" else "green"
        reply = teal.ok("flip", "web", color, "--wait=applied")
        assert reply["epoch"] == n + 2
        # The next one has the same record, and the same sockets.
        assert teal.status()["active"] == color
        assert teal.connect().peer == color
    sessions = clients.more(50).finish()
    errors = {s.error.split(" while")[0] for s in sessions if s.error}
    assert not [e for e in errors if "refused" in e], errors
    assert len([s for s in sessions if not s.error]) > 50 * kills
    m = teal.metrics()
    assert m.get("teal_restarts_total") == kills and m.get("teal_last_restart_timestamp_seconds") > 1e9
    lines = teal.log_lines("teald.crashed")
    assert [l["count"] for l in lines] == list(range(1, kills + 1))
    teal.wait_log("teald.recovered", count=kills)
    assert {l["signal"] for l in lines} == {"SIGKILL"} and all(l["seconds"] > 0 and l["pid"] > 0 for l in lines)


def test_who_comes_while_nothing_serves_waits_and_is_served(supervised):
    """Whoever is in the accept queue of a process that dies is its successor's."""
    teal = supervised()
    pid = teal.serving()
    os.kill(pid, signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{pid}/task")
    until(lambda: all(stat.read_text().rsplit(")", 1)[1].split()[0] == "T" for stat in tasks.glob("*/stat")),
          "all its threads stand still")
    waiting = [socket.create_connection(teal.address()) for _ in range(20)]
    os.kill(pid, signal.SIGKILL)
    for s in waiting:
        s.settimeout(scale.patience())
        assert s.recv(100).startswith(b"green")
        s.close()
    assert teal.ok("status")["restarts"] == 1


def test_unix_sockets_survive_too_and_their_files_go_at_the_end(supervised):
    path = f"/tmp/teal-supervised-{os.getpid()}-{os.urandom(4).hex()}"
    teal = supervised(listen=f"unix:{path}")
    before = os.stat(path).st_ino
    kill(teal)
    assert os.stat(path).st_ino == before and teal.connect().peer == "green"
    assert os.stat(teal.admin_path).st_mode & 0o777 == 0o660
    assert teal.stop() == 0
    assert not os.path.exists(path) and not os.path.exists(teal.admin_path)


def test_fewer_workers_still_serve_every_queue(supervised):
    """The configuration of the next one has one worker; the queues of four are still its own."""
    teal = supervised(top={"workers": 4})
    teal.settings["workers"] = 1
    teal.conf.write_text(teal.conf.read_text().replace("workers = 4", "workers = 1"))
    kill(teal)
    assert teal.ok("status")["workers"] == 1
    # The kernel spreads them over all four.
    assert {teal.connect().peer for _ in range(64)} == {"green"}


@pytest.mark.nosan
def test_a_crash_tells_where_it_was(supervised):
    teal = supervised()
    kill(teal, signal.SIGSEGV)
    line = teal.wait_log("teald.crashed")
    assert line["signal"] == "SIGSEGV" and line["doing"].startswith("serving")
    assert line["backtrace"].startswith("thread teald") and "teald-serve" in line["backtrace"], line


def test_one_that_dies_again_and_again_is_given_up(supervised):
    teal = supervised("--max-restarts=2")
    for _ in range(2):
        kill(teal)
    os.kill(teal.serving(), signal.SIGKILL)
    assert teal.wait() == 1
    teal.expect_status = 1
    assert teal.log_lines_now("teald.gave_up")[0]["count"] == 3
    assert "giving up" in teal.stderr()
    # The port is free for whoever the service manager starts next.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(teal.address())


def test_a_restart_that_cannot_start_is_tried_again(supervised):
    """Its configuration is broken for a while, and so is the copy of it: clients wait, and are served."""
    teal = supervised("--max-restarts=1000")
    good = teal.conf.read_text()
    copy = teal.state_dir / "teal.config"
    until(copy.exists, "the copy is written")
    copy.unlink()
    teal.conf.write_text("broken")
    os.kill(teal.serving(), signal.SIGKILL)
    teal.wait_log("teald.crashed", count=2)
    waiting = socket.create_connection(teal.address())
    teal.conf.write_text(good)
    waiting.settimeout(scale.patience())
    assert waiting.recv(100).startswith(b"green")


def test_the_end_of_the_supervisor_is_a_stop(supervised):
    teal = supervised()
    pid = teal.serving()
    teal.signal(signal.SIGKILL)
    teal.wait()
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the other one has ended, too")
    assert not os.path.exists(teal.admin_path)
    teal.expect_status = None


@pytest.mark.long
def test_main_that_hangs_is_ended_and_another_serves(supervised):
    """Stopped, it beats no more."""
    teal = supervised("--watchdog=3")
    pid = teal.serving()
    until(lambda: teal.ok("status")["uptime"] > 0, "it runs")
    os.kill(pid, signal.SIGSTOP)
    successor(teal, pid)
    assert teal.log_lines("teald.hangs")[0]["pid"] == pid
    assert teal.connect().peer == "green"


class Manager:
    """What systemd is to teald: a datagram socket that hears, and keeps descriptors."""

    def __init__(self, path):
        self.path, self.heard, self.kept = path, [], {}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(scale.patience())

    def hear(self, word):
        until(lambda: any(word in h for h in self.heard) or self.take(), word)
        return self.heard

    def take(self):
        text, fds, _, _ = socket.recv_fds(self.socket, 4096, 253)
        lines = text.decode().split("\n")
        self.heard += lines
        name = next((l.removeprefix("FDNAME=") for l in lines if l.startswith("FDNAME=")), "stored")
        self.kept.setdefault(name, []).extend(fds)
        if "FDSTOREREMOVE=1" in lines:
            for fd in self.kept.pop(name):
                os.close(fd)

    def close(self):
        self.socket.close()
        for fd in sum(self.kept.values(), []):
            os.close(fd)


def test_a_service_manager_is_told_and_keeps_the_sockets(supervised, closing, tmp_path):
    path = f"/tmp/teal-notify-{os.getpid()}-{os.urandom(4).hex()}"
    manager = closing.add(Manager(path))
    try:
        teal = supervised(env={"NOTIFY_SOCKET": path})
        manager.hear("READY=1")
        manager.hear("WATCHDOG=1")
        manager.hear("STATUS=serving 1 services")
        assert "FDSTORE=1" in manager.heard
        ports = set()
        for fd in sum(manager.kept.values(), []):
            s = socket.socket(fileno=os.dup(fd))
            if s.family == socket.AF_INET:
                ports.add(s.getsockname()[1])
            s.close()
        assert {teal.address()[1], teal.observe[1]} <= ports
        teal.signal()
        manager.hear("STOPPING=1")
        manager.hear("FDSTOREREMOVE=1")
        assert teal.wait() == 0
    finally:
        os.unlink(path)


def test_a_service_manager_lets_go_of_an_address_that_a_reload_takes_away(supervised, closing, ports):
    """What it keeps would go on taking connects that nobody serves, and hold the address against a later reload."""
    path = f"/tmp/teal-notify-{os.getpid()}-{os.urandom(4).hex()}"
    manager = closing.add(Manager(path))
    try:
        teal = supervised(env={"NOTIFY_SOCKET": path})
        manager.hear("READY=1")
        old, before = teal.address(), teal.settings["services"][0]["listen"]
        change(teal, listen=f"127.0.0.1:{ports.hold()}")
        reload(teal)
        manager.hear("FDSTOREREMOVE=1")
        with pytest.raises(ConnectionRefusedError):
            until(lambda: socket.create_connection(old).close(), "it is refused")
        assert teal.connect().peer == "green"
        change(teal, listen=before)
        reload(teal)
        assert teal.connect().peer == "green"
    finally:
        os.unlink(path)


def test_a_service_manager_is_told_when_a_reload_begins_and_ends(supervised, closing):
    """Also when it is refused; not of a dry run."""
    path = f"/tmp/teal-notify-{os.getpid()}-{os.urandom(4).hex()}"
    manager = closing.add(Manager(path))

    def heard(from_here):
        until(lambda: any("READY=1" == h for h in manager.heard[from_here:]) or manager.take(), "it is ready again")
        return [h.split("=")[0] for h in manager.heard[from_here:] if not h.startswith(("WATCHDOG", "FDSTORE", "FDNAME"))]
    try:
        teal = supervised(env={"NOTIFY_SOCKET": path})
        manager.hear("READY=1")
        manager.hear("STATUS=serving")
        reload(teal, "--dry-run")
        for spoilt in (False, True):
            at = len(manager.heard)
            if spoilt:
                teal.conf.write_text("broken")
                assert not teal.ctl("reload")["ok"]
            else:
                change(teal, drain={"timeout": 5.0})
                reload(teal)
            assert heard(at) == ["RELOADING", "MONOTONIC_USEC", "STATUS", "READY", "STATUS"]
            usec = int(next(h for h in manager.heard[at:] if h.startswith("MONOTONIC_USEC")).split("=")[1])
            assert 0 < usec <= time.monotonic_ns() // 1000
            assert "STATUS=serving 1 services" in manager.heard[at:]
    finally:
        os.unlink(path)


def test_as_process_1_it_reaps_and_forwards(supervised):
    """In a pid namespace of its own, as in a container."""
    if os.geteuid() != 0:
        pytest.skip("wants a pid namespace: needs root")
    teal = supervised(prefix=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
    serving = teal.serving()
    assert serving != 1 and teal.ok("status")["supervisor"] == 1
    # An orphan in there becomes process 1's, and is no zombie for long.
    inside = int(pathlib.Path(f"/proc/{teal.pid}/task/{teal.pid}/children").read_text().split()[0])
    enter = ["nsenter", "-t", str(inside), "-p", "-m"]
    subprocess.run([*enter, "sh", "-c", "(sleep 0.01 &)"], check=True)
    until(lambda: not any("<defunct>" in line for line in subprocess.run(
        [*enter, "ps", "ax"], capture_output=True, text=True).stdout.splitlines()), "no zombie is left")
    subprocess.run([*enter, "kill", "-KILL", str(serving)], check=True)
    successor(teal, serving)
    assert teal.connect().peer == "green"
    os.kill(inside, signal.SIGTERM)
    assert teal.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")
def test_root_serves_as_another_user_and_still_ends_it(supervised):
    """What it has given up is not what its child needs: binding, becoming another, and the end."""
    folder = tempfile.mkdtemp(prefix="teal-", dir="/tmp")
    os.chown(folder, 65534, 65534)
    try:
        teal = supervised(top={"user": "nobody", "state_dir": f"{folder}/state"})
        for _ in range(2):
            uid = pathlib.Path(f"/proc/{kill(teal)}/status").read_text().split("Uid:")[1].split()
            assert uid[:4] == ["65534"] * 4
        assert teal.connect().peer == "green"
        assert teal.stop() == 0
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives capabilities: needs root")
def test_what_a_service_manager_gave_is_the_childs(web):
    """A port below 1024 by CAP_NET_BIND_SERVICE alone, in a network of its own."""
    folder = tempfile.mkdtemp(prefix="teal-", dir="/tmp")
    os.chown(folder, 65534, 65534)
    try:
        teal = web(start=False, listen="127.0.0.1:81", health={"type": "none"}, top={
            "state_dir": f"{folder}/state", "admin": {"socket": f"{folder}/admin.sock"}})
        teal.conf = pathlib.Path(folder) / "teal.conf"
        teal.start(supervised=True, ready=False, prefix=("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", "setpriv", "--reuid=65534",
                  "--regid=65534", "--clear-groups", "--inh-caps=+net_bind_service",
                   "--ambient-caps=+net_bind_service", "--bounding-set=-all,+net_bind_service"))
        teal.wait_log("teald.serving")
        said = pathlib.Path(f"/proc/{teal.pid}/status").read_text()
        assert int(said.split("CapEff:")[1].split()[0], 16) == 0 and said.split("NoNewPrivs:")[1].split()[0] == "1"
        kill(teal)
        until(lambda: len(teal.log_lines("teald.serving")) == 2, "the next one serves")
        teal.ok("upgrade")
        until(lambda: len(teal.ok("status")["generations"]) == 1, "the former process has left")
        kill(teal)
        assert teal.stop() == 0
    finally:
        shutil.rmtree(folder)


@pytest.mark.nosan
def test_it_is_small_and_has_given_up_what_it_does_not_need(supervised):
    teal = supervised()
    text = pathlib.Path(f"/proc/{teal.pid}/status").read_text()
    said = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert int(said["VmRSS"].split()[0]) <= 2048, said["VmRSS"]
    kill_only = 1 << 5
    assert int(said["CapEff"], 16) & ~kill_only == 0, said["CapEff"]
    libraries = {line.rsplit("/", 1)[-1] for line in pathlib.Path(f"/proc/{teal.pid}/maps").read_text().splitlines()
                 if ".so" in line}
    assert all(name.startswith(("libc.so", "libc-", "ld-linux", "ld-")) for name in libraries), libraries
