"""What goes wrong with an upgrade is told by name, and costs no connection that did not belong to the dead."""
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import threading
import time

import pytest

from helpers import libconfig, scale
from helpers.ports import listener
from helpers.reload import change, reload, rewrite
from helpers.scale import scaled, until
from helpers.tealbench import Running, Serve, errors
from helpers.teald import service
from helpers.upgrade import alive, children, gone, upgrade, upgraded



@pytest.fixture
def stage(teal, ports, closing, tmp_path):
    """A supervised teald with one stream of each kind and a request load; .nothing_happened() says so."""
    def make(*args, env=None, prefix=(), loads=True, **settings):
        echo, http = ([closing.add(Serve(f"--mode={mode}", f"--name={c}")) for c in ("green", "blue")] for mode in ("echo", "http"))
        services = [service(name, mode=mode, listen=f"127.0.0.1:{ports.hold()}", green=pair[:1], blue=pair[1:], idle_timeout=0)
                    for name, mode, pair in (("web", "tcp", echo), ("site", "http", http))]
        t = teal(start=False, services=services, **({"log": {"level": "info", "access": False}} | settings)).start(
            "--max-restarts=1000", *args, supervised=True, env=env, prefix=prefix)
        t.loads = [closing.add(Running("%s:%d" % t.address(name), *options)) for name, options in (
            ("web", ("--mode=tcp-small", "--lasting", "--connections=5", "--rate=100", "--size=5000")),
            ("site", ("--mode=ws", "--connections=5", "--rate=100", "--size=5000")),
            ("site", ("--mode=http", "--connections=4", "--rate=100", "--lasting")),
            ("site", ("--mode=http-close", "--connections=4", "--rate=50")))] if loads else []
        return t
    return make


def nothing_failed(t):
    results = [l.close() for l in t.loads]
    assert [errors(r) for r in results] == [{}] * len(results)
    assert all(r["ok"] > 0 for r in results)


def script(path, text, mode=0o755):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(mode)
    return path


def other_machine(path):
    data = bytearray((scale.BUILD / "teald-serve").read_bytes())
    data[18:20] = (22).to_bytes(2, "little")  # e_machine: S/390
    path.write_bytes(data)
    path.chmod(0o755)
    return path


OLDER = 'for w; do [ "$w" != --successor ] || { echo "teald: unrecognized option --successor" >&2; exit 2; }; done\n'
BAD = {
    "missing": (lambda p: p, "No such file"),
    "not executable": (lambda p: script(p, "exit 0\n", 0o644), "ermission denied"),
    "other machine": (other_machine, "architecture"),
    "at once": (lambda p: script(p, "echo cannot begin >&2; exit 7\n"), "cannot begin"),
    "crash": (lambda p: script(p, "kill -SEGV $$\n"), "SIGSEGV"),
    "older": (lambda p: script(p, OLDER), "older"),
}


@pytest.fixture
def programs():
    """A folder that root alone can write to, as for a program that root is to start."""
    import pathlib
    import tempfile
    folder = pathlib.Path(tempfile.mkdtemp(prefix="teal-programs-", dir=scale.BUILD))
    yield folder
    shutil.rmtree(folder)


def test_a_program_that_does_not_serve_changes_nothing(stage, programs):
    t = stage(upgrade={"ready_timeout": 5.0})
    before, statuses = t.serving(), set()
    for name, (make, words) in BAD.items():
        p = t.tealctl("upgrade", f"--binary={make(programs / name.replace(' ', '-'))}")
        # 2: what was asked for cannot be; 1: it did not live. All say who serves on.
        assert p.returncode in (1, 2) and words in p.stderr and f"process {before} serves on" in p.stderr, (name, p)
        # And what is to be done; "internal" would say nothing to people.
        assert p.stderr.rstrip().endswith("ask again") and "internal" not in p.stderr, (name, p)
        statuses.add(p.returncode)
        assert t.serving() == before and children(t) == [before], name
        assert t.connect("web").sock.send(b"x") == 1
    assert statuses == {1, 2}
    assert t.metrics().get("teal_upgrades_total", result="failed") == len(BAD)
    upgraded(t)
    nothing_failed(t)


def test_files_that_are_wrong_change_nothing(stage, closing, tmp_path):
    t = stage()
    path = service("path", listen=f"unix:{os.path.dirname(t.admin_path)}/l", **{c: [] for c in ("green", "blue")}) | {
        c: t.settings["services"][0][c] for c in ("green", "blue")}
    rewrite(t, services=t.settings["services"] + [path])
    reload(t)
    before = t.serving()
    good = t.conf.read_text()
    for text, words in (("nonsense = ;", "teal.conf"), (good[:len(good) // 2], "teal.conf"),
                        (good.replace('mode = "http"', 'mode = "gopher"'), "gopher")):
        t.conf.write_text(text)
        p = t.tealctl("upgrade")
        assert p.returncode == 2 and words in p.stderr, p
        assert children(t) == [before]
    t.conf.write_text(good)
    # One that cannot listen says so, and takes no socket's file with it.
    taken = closing.add(listener("127.0.0.1"))
    services = t.settings["services"]
    t.conf.write_text(libconfig.dumps(t.settings | {"services": services + [
        services[0] | {"name": "other", "listen": "127.0.0.1:%d" % taken.getsockname()[1]}]}))
    p = t.tealctl("upgrade")
    assert p.returncode == 1 and "another process already does" in p.stderr, p
    assert t.serving() == before and t.connect("path").sock.send(b"x") == 1
    t.conf.write_text(good)
    other = tmp_path / "other.conf"
    p = t.tealctl("upgrade", f"--config={other}")
    assert p.returncode != 0 and "other.conf" in p.stderr
    # What no reload can change an upgrade can.
    rewrite(t, workers=3)
    assert t.tealctl("reload").returncode == 2
    upgraded(t)
    assert t.ok("status")["workers"] == 3
    nothing_failed(t)


def test_without_a_supervisor_it_is_refused(teal, web):
    t = web()
    r = t.ctl("upgrade")
    assert not r["ok"] and "supervisor" in r["message"], r
    p = t.tealctl("upgrade")
    assert p.returncode != 0 and "supervisor" in p.stderr


def test_one_that_dies_right_after_the_switch_is_replaced_by_the_former_program(stage, programs):
    """It served for a moment: what it had is lost with it, what the predecessor still had is not."""
    die = programs / "die"
    bad = script(programs / "teald-serve",
                 f'(while [ ! -e {die} ]; do sleep 0.05; done; kill -KILL $$) &\nexec {scale.BUILD}/teald-serve "$@"\n')
    t = stage(loads=False)
    upgrade(t, f"--binary={bad}")
    before, served = t.serving(), len(t.log_lines("teald.serving"))
    die.touch()
    until(lambda: not alive(before), "it has died")
    t.wait_log("teald.fallback")
    until(lambda: serving(t) not in (None, before) and len(t.log_lines("teald.serving")) > served, "the former program serves")
    assert os.path.samefile(os.readlink(f"/proc/{t.serving()}/exe").replace(" (deleted)", ""), scale.BUILD / "teald-serve")
    assert t.ok("status")["restarts"] == 1
    t.connect("web").sock.close()
    upgraded(t)


def serving(t):
    try:
        return t.serving()
    except (OSError, AssertionError):
        return None


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: needs root")
def test_a_full_disk_stops_no_upgrade_and_no_stream(stage, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        t = stage(state_dir=str(disk / "state"))
        t.ok("flip", "web", "blue")
        fill = os.open(disk / "fill", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(fill, b"x" * 4096)
        os.close(fill)
        assert not t.ctl("flip", "web", "green")["ok"]
        r = t.ctl("upgrade")
        after = t.status()
        assert after["active"] == "blue" and after["epoch"] == 2, (r, after)
        (disk / "fill").unlink()
        upgraded(t)
        assert t.ok("flip", "web", "green")["epoch"] == 3
        nothing_failed(t)
        t.stop()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.scales
def test_descriptors_that_are_used_up_cost_no_connection(stage, closing):
    """Of as many as the process may have, most are in use when they are handed over."""
    few = 500
    t = stage(prefix=("prlimit", f"--nofile={few}:{few}"), loads=False)
    idle = closing.add(Running("%s:%d" % t.address("web"), "--mode=tcp-small", "--lasting", f"--connections={few}", f"--rate={few // 2}"))
    until(lambda: t.status()["colors"]["green"]["connections"] > few // 4, "most descriptors are in use")
    n = t.status()["colors"]["green"]["connections"]
    before, _ = upgrade(t)
    # What finds no room stays where it is; new ones come out of the kernel's queue meanwhile.
    assert t.status()["colors"]["green"]["connections"] >= n
    # Some have waited in that queue all the time, and may have been late; none was cut.
    assert set(errors(idle.close())) <= {"timeout"}
    gone(before)


def test_what_comes_meanwhile_waits_or_is_told_why(stage):
    """Upgrades during an upgrade, reloads, signals: each is done or refused by name, and none twice."""
    t = stage()
    first = t.serving()
    with t.admin() as a, t.admin() as b:
        a.send("upgrade")
        b.send("upgrade")
        replies = [a.reply(), b.reply()]
    assert [r["ok"] for r in replies].count(True) == 1, replies
    refused, = [r for r in replies if not r["ok"]]
    assert "upgrade" in refused["message"], refused
    gone(first)
    change(t, drain={"timeout": 7.0})
    with t.admin() as a, t.admin() as b:
        a.send("reload")
        b.send("upgrade")
        assert a.reply()["ok"] and b.reply()["ok"]
    second = t.serving()
    for _ in range(scaled(200, 10)):
        t.signal(signal.SIGHUP)
        t.signal(signal.SIGUSR2)
    until(lambda: t.serving() != second and children(t) == [t.serving()], "all of that is over")
    assert t.ok("status")["restarts"] == 0
    nothing_failed(t)


@pytest.mark.scales
@pytest.mark.long
def test_either_may_be_killed_at_any_moment_of_it(stage):
    """The color is right, what was acknowledged is kept, no connect is refused, and one process is left."""
    dice = scale.dice()
    t = stage(loads=False)
    color, epoch = "green", 1
    refused, stop = [], threading.Event()

    def connects():
        while not stop.wait(0.002):
            try:
                t.connect("web").sock.close()
            except ConnectionRefusedError as e:
                refused.append(e)
            except OSError:
                pass
    some = [threading.Thread(target=connects, daemon=True) for _ in range(2)]
    for x in some:
        x.start()
    for n in range(scaled(100, 5)):
        before = t.serving()
        with t.admin() as a:
            a.send("upgrade")
            until(lambda: len(children(t)) > 1 or serving(t) != before, "its successor has begun", every=0.001)
            time.sleep(dice.uniform(0, 0.3))  # at any moment of it
            for pid in dice.sample(children(t), dice.choice([1, 1, 1, 2]) if len(children(t)) > 1 else 1):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        until(lambda: serving(t) is not None and children(t) == [serving(t)], "one is left, and it serves")
        s = t.status()
        assert (s["active"], s["epoch"]) == (color, epoch), n
        color = "blue" if color == "green" else "green"
        epoch = t.ok("flip", "web", color, "--wait=applied", "--force")["epoch"]
    stop.set()
    for x in some:
        x.join()
    assert not refused
    upgraded(t)


def test_a_state_dir_that_cannot_be_used_changes_nothing(web, tmp_path):
    """It is found out before there is no way back."""
    other_teal = web(start=False).start()
    t = web(start=False).start(supervised=True)
    before = t.serving()
    damaged, held, file = tmp_path / "damaged", other_teal.settings["state_dir"], tmp_path / "a.conf"
    damaged.mkdir()
    (damaged / "teal.state").write_text("not a state")
    for folder, words in ((damaged, "teal.state"), (held, "in use by another teald"), ("/proc", "/proc/teal.lock")):
        file.write_text(libconfig.dumps(t.settings | {"state_dir": str(folder)}))
        p = t.tealctl("upgrade", f"--config={file}", check=1)
        assert words in p.stderr, p.stderr
        assert t.serving() == before and t.ok("status")["restarts"] == 0
    t.ok("flip", "web", "blue")
    # Its own, spelled in another way, and one that is not there yet, can.
    for folder in (f"{t.settings['state_dir']}/.", tmp_path / "new"):
        file.write_text(libconfig.dumps(t.settings | {"state_dir": str(folder)}))
        t.ok("upgrade", f"--config={file}")
        until(lambda: len(t.ok("status")["generations"]) == 1, "one generation")
        assert (t.status()["active"], t.status()["epoch"]) == ("blue", 2)


def test_a_process_that_has_no_descriptor_for_the_line_goes_on(web):
    """Its successor, which never hears of it, does not wait for it."""
    t = web(start=False, top={"upgrade": {"ready_timeout": 600.0}}).start(supervised=True)
    before = t.serving()
    soft, hard = resource.prlimit(before, resource.RLIMIT_NOFILE)
    resource.prlimit(before, resource.RLIMIT_NOFILE, (3, hard))
    t.signal(signal.SIGUSR2)
    assert "out of descriptors" in t.wait_log("upgrade.failed")["message"]
    resource.prlimit(before, resource.RLIMIT_NOFILE, (soft, hard))
    assert t.serving() == before and t.ok("status")["restarts"] == 0
    upgraded(t)
