"""conf/rolling-restart: three Teals of a fleet are restarted in a row, and there are always two that are ready."""
import os
import subprocess

import pytest

from helpers import scale
from helpers.scale import until

SCRIPT = scale.REPO / "conf/rolling-restart"
pytestmark = pytest.mark.nosan


def run(*teals, **env):
    return subprocess.Popen([SCRIPT, *(t.admin_path for t in teals)], text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=os.environ | {"MOVE": "0", "TEALCTL": str(scale.BUILD / "tealctl")} | env)


def test_one_after_the_other(fleet, tmp_path):
    f = fleet(3)
    f.wait_members()
    pids = [t.pid for t in f]
    asked, done = tmp_path / "asked", tmp_path / "done"
    os.mkfifo(asked)
    os.mkfifo(done)
    script = run(*f, RESTART=f"echo {{}} >{asked} && read word <{done} && [ \"$word\" = good ]")
    try:
        for i, t in enumerate(f):
            # As a service manager: ends it and starts it anew.
            assert asked.read_text() == t.admin_path + "\n"
            assert t.ok("status")["maintenance"]
            others = [o for o in f if o is not t]
            assert all(o.http("/readyz")[0] == 200 for o in others)
            with f.load(clients=2, among=others) as run_:
                assert t.stop() == 0
                color = others[0].status()["idle"]
                if i == 1:
                    others[0].ctl("flip", "web", color, "--timeout=1")
                t.start(ready=False)
                t.wait_ready()
            assert run_.sessions
            done.write_text("good\n")
        out = script.communicate(timeout=4 * scale.patience())[0]
    finally:
        script.kill()
        script.wait()
    assert script.returncode == 0, out
    assert out.count(": ready\n") == 3, out
    assert not set(pids) & {t.pid for t in f}
    f.agree()
    assert not any(t.ok("status")["maintenance"] for t in f)


def test_one_that_does_not_come_back_is_the_last(fleet):
    f = fleet(2)
    f.wait_members()
    script = run(*f, RESTART="false")
    out = script.communicate(timeout=4 * scale.patience())[0]
    assert script.returncode == 1 and "the others were left alone" in out and out.count("restarts") == 1, out
    assert f[1].http("/readyz")[0] == 200
    until(lambda: not f[1].ok("status")["maintenance"], "the second was left alone")
    # One that is not ready at the beginning stops it before anything is done.
    f[1].ok("maintenance", "on")
    script = run(*f, RESTART="true")
    out = script.communicate(timeout=4 * scale.patience())[0]
    assert script.returncode == 1 and "not ready" in out and "restarts" not in out, out
