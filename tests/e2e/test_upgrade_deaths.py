"""An upgrade in which one of the two processes dies, in each of its phases, with the real programs."""
import contextlib
import os
import pathlib
import shutil
import signal
import tempfile

import pytest

from helpers import libconfig, scale
from helpers.certificates import Authority, connect, trusting
from helpers.scale import dice, scaled, until
from helpers.upgrade import Unprepared


@pytest.fixture
def supervised(web):
    def make(*args, env=None, prefix=(), ready=True, clock=False, **keys):
        return web(start=False, clock=clock, **keys).start(*args, supervised=True, env=env, prefix=prefix, ready=ready)
    return make


def generation(teal, role):
    """The process of that role, once there is one."""
    def found():
        try:
            return [g["pid"] for g in teal.ok("status")["generations"] if g["role"] == role]
        except (OSError, AssertionError):
            return None
    return until(found, f"a process is {role}")[0]


def serves(teal, *not_those):
    """The process that serves, once it is none of those."""
    def found():
        try:
            pid = teal.serving()
        except (OSError, AssertionError):
            return None
        return pid if pid not in not_those else None
    return until(found, "another process serves")


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alone(teal):
    until(lambda: len(teal.ok("status")["generations"]) == 1, "one generation")


def test_the_successor_dies_while_it_prepares(supervised, backend, tmp_path):
    teal = supervised()
    before = teal.serving()
    with teal.connect() as held, teal.admin() as a:
        a.send("upgrade", Unprepared(teal, backend, tmp_path).option)
        os.kill(generation(teal, "preparing"), signal.SIGKILL)
        r = a.reply()
        assert r["ok"] is False and r["changed"] is False and "SIGKILL" in r["message"], r
        assert teal.serving() == before and held.echo().peer == "green"
    assert teal.log_lines("teald.crashed")[0]["kind"] == "successor"
    assert teal.ok("upgrade")["from"]["pid"] == before


def test_the_predecessor_dies_while_the_successor_prepares(supervised, backend, tmp_path):
    """Then that is a restart after a crash: who came meanwhile is served by it."""
    teal = supervised()
    other = Unprepared(teal, backend, tmp_path)
    before = teal.serving()
    teal.ok("flip", "web", "blue")
    with teal.admin() as a:
        a.send("upgrade", other.option)
        successor = generation(teal, "preparing")
        os.kill(before, signal.SIGKILL)
        other.go()
    assert serves(teal, before) == successor
    status = teal.ok("status")
    assert status["restarts"] == 1 and [g["pid"] for g in status["generations"]] == [successor]
    assert teal.status()["active"] == "blue"
    assert teal.wait_log("teald.recovered")["pid"] == successor
    crash, = teal.log_lines("teald.crashed")
    assert (crash["pid"], crash["kind"]) == (before, "serving")


@pytest.fixture
def leaving(supervised, tmp_path):
    """leaving(…): a teald after an upgrade whose former process still has a session, for its TLS ends there; and
    that session, and the first process."""
    ca = Authority(tmp_path)

    def make(*args, **keys):
        teal = supervised(*args, tls={"certificates": [ca.issue("web.example")]}, **keys)
        held = connect(teal.address(), trusting(ca), "web.example")
        assert said(held) == "green"
        before = teal.serving()
        assert teal.ok("upgrade")["from"]["pid"] == before
        assert generation(teal, "leaving") == before
        teal.tls = lambda: connect(teal.address(), trusting(ca), "web.example")
        return teal, held, before
    return make


def said(connection):
    """The line that comes next."""
    line = b""
    while not line.endswith(b"\n"):
        line += connection.recv(1) or pytest.fail("it ended")
    return line.decode().strip()


def lives(held):
    held.sendall(b"hello\n")
    return said(held) == "hello"


def test_the_successor_dies_after_it_took_over(leaving):
    """Another one takes over from both: the first one's session lives on, and flips hold for it, too."""
    teal, held, before = leaving("--max-restarts=100")
    for color in ("blue", "green", "blue"):
        pid = teal.serving()
        os.kill(pid, signal.SIGKILL)
        serves(teal, pid)
        assert generation(teal, "leaving") == before and lives(held)
        teal.ok("flip", "web", color, "--wait=applied")
        with teal.tls() as c:
            assert said(c) == color
    assert teal.ok("status")["restarts"] == 3
    held.close()
    alone(teal)
    assert teal.stop() == 0


def test_the_predecessor_dies_after_it_handed_over(leaving):
    teal, held, before = leaving()
    pid = teal.serving()
    os.kill(before, signal.SIGKILL)
    alone(teal)
    assert teal.serving() == pid and teal.ok("status")["restarts"] == 0
    assert teal.log_lines("teald.crashed")[0]["kind"] == "leaving"
    teal.ok("flip", "web", "blue", "--wait=drained", "--timeout=60")
    with teal.tls() as c:
        assert said(c) == "blue"
    held.close()


def test_both_die_at_once(leaving):
    teal, held, before = leaving()
    teal.ok("flip", "web", "blue", "--wait=applied")
    pid = teal.serving()
    for p in (pid, before):
        os.kill(p, signal.SIGKILL)
    serves(teal, pid, before)
    with teal.tls() as c:
        assert said(c) == "blue"
    alone(teal)
    held.close()


def test_both_stop_when_the_supervisor_dies(leaving):
    teal, held, before = leaving()
    both = {teal.serving(), before}
    teal.signal(signal.SIGKILL)
    teal.wait()
    until(lambda: not any(os.path.exists(f"/proc/{p}") for p in both), "both have ended")
    assert not os.path.exists(teal.admin_path)
    teal.expect_status = None
    held.close()


def test_a_stop_drains_both(leaving):
    teal, held, before = leaving(top={"stop": {"timeout": 60.0}}, drain={"idle": 60.0})
    teal.signal()
    teal.wait_log("teald.stopping")
    assert lives(held)
    held.close()
    assert teal.wait() == 0


def test_the_former_program_serves_when_the_new_one_dies_soon(supervised, tmp_path):
    """Where the new one has taken its name, too."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="teal-", dir="/tmp"))
    try:
        for program in ("teald", "teald-serve"):
            shutil.copy(scale.BUILD / program, folder / program)
        teal = supervised(prefix=("sh", "-c", f'shift; exec {folder}/teald "$@"', "sh"))
        first = os.stat(f"/proc/{teal.serving()}/exe").st_ino
        shutil.copy(scale.BUILD / "teald-serve", folder / "new")
        (folder / "new").rename(folder / "teald-serve")
        teal.ok("upgrade")
        alone(teal)
        pid = teal.serving()
        second = os.stat(f"/proc/{pid}/exe").st_ino
        os.kill(pid, signal.SIGKILL)
        third = os.stat(f"/proc/{serves(teal, pid)}/exe").st_ino
        assert third == first != second
        assert teal.connect().peer == "green"
        assert teal.wait_log("teald.fallback")["from"] == str(folder / "teald-serve")
        m = teal.metrics()
        assert m.get("teal_program_fallbacks_total") == 1 and m.get("teal_restarts_total") == 1
        # It can be tried again.
        teal.ok("upgrade")
        alone(teal)
        assert os.stat(f"/proc/{teal.serving()}/exe").st_ino == second
        assert teal.stop() == 0
    finally:
        shutil.rmtree(folder)


def test_no_way_leads_back_to_a_store_that_is_not_the_truth_any_more(supervised, tmp_path):
    """The successor has another state_dir; what it acknowledged there must not be undone by its death."""
    teal = supervised()
    teal.ok("flip", "web", "blue")
    other, state = tmp_path / "other.conf", tmp_path / "other"
    state.mkdir()
    other.write_text(libconfig.dumps(teal.settings | {"state_dir": str(state)}))
    teal.ok("upgrade", f"--config={other}")
    alone(teal)
    teal.ok("flip", "web", "green")
    pid = teal.serving()
    os.kill(pid, signal.SIGKILL)
    serves(teal, pid)
    service = teal.status()
    assert (service["active"], service["epoch"]) == ("green", 3)
    assert not teal.log_lines("teald.fallback")


def test_a_restart_takes_the_program_that_served(supervised):
    """Another one may have its name by then, but was not asked for."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="teal-", dir="/tmp"))
    try:
        for program in ("teald", "teald-serve"):
            shutil.copy(scale.BUILD / program, folder / program)
        teal = supervised(prefix=("sh", "-c", f'shift; exec {folder}/teald "$@"', "sh"))
        pid = teal.serving()
        first = os.stat(f"/proc/{pid}/exe").st_ino
        (folder / "new").write_text("not yet a program")
        (folder / "new").rename(folder / "teald-serve")
        os.kill(pid, signal.SIGKILL)
        assert os.stat(f"/proc/{serves(teal, pid)}/exe").st_ino == first
        assert teal.connect().peer == "green" and teal.stop() == 0
    finally:
        shutil.rmtree(folder)


def test_as_process_1_both_are_its_children(supervised):
    if os.geteuid() != 0:
        pytest.skip("wants a pid namespace: needs root")
    teal = supervised(prefix=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
    inside, = children(teal.pid)
    for _ in range(3):
        before = teal.serving()
        r = teal.ok("upgrade")
        assert r["from"]["pid"] == before and teal.ok("status")["supervisor"] == 1
        alone(teal)
        until(lambda: len(children(inside)) == 1, "the former one is reaped")
    assert teal.connect().peer == "green"
    os.kill(inside, signal.SIGTERM)
    assert teal.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")
def test_a_successor_of_root_becomes_the_user_too(supervised):
    folder = tempfile.mkdtemp(prefix="teal-", dir="/tmp")
    os.chown(folder, 65534, 65534)
    try:
        teal = supervised(top={"user": "nobody", "state_dir": f"{folder}/state"})
        for color in ("blue", "green"):
            teal.ok("upgrade")
            uid = pathlib.Path(f"/proc/{teal.serving()}/status").read_text().split("Uid:")[1].split()
            assert uid[:4] == ["65534"] * 4
            teal.ok("flip", "web", color, "--wait=applied")
            assert teal.connect().peer == color
            alone(teal)
        assert teal.stop() == 0
    finally:
        shutil.rmtree(folder)


@pytest.mark.scales
@pytest.mark.long
def test_either_may_die_at_any_moment(supervised, farm, load):
    """Whatever is killed when: one process serves in the end, with the color that was acknowledged last, and no
    connect is refused."""
    rounds, chance = scaled(100, 6), dice()
    teal = supervised(f"--max-restarts={4 * rounds}", green=[farm("green")], blue=[farm("blue")])
    flow, color = load(teal, clients=8), "green"
    for _ in range(rounds):
        step = chance.choice((None, "upgrade.prepared", "upgrade.yielded", "upgrade.serving"))
        before, gone = len(teal.log_lines(step)), len(teal.log_lines("upgrade.finished"))
        with teal.admin() as a:
            a.send("upgrade")
            # Who looks late finds one again, and that is killed.
            pids = until(lambda: (c := children(teal.pid)) and (len(c) == 2 or len(teal.log_lines_now("upgrade.finished")) > gone) and c,
                         "a successor is there")
            if step:
                teal.wait_log(step, count=before + 1)
            chosen = chance.choice((pids[:1], pids[1:], pids)) or pids
            for p in chosen:
                with contextlib.suppress(ProcessLookupError):   # it has left already
                    os.kill(p, signal.SIGKILL)
        serves(teal, *chosen)
        alone(teal)
        assert teal.status()["active"] == color, step
        color = chance.choice(("green", "blue"))
        teal.ok("flip", "web", color, "--wait=applied")
        assert teal.connect().peer == color
        flow.more(20)
    results = flow.finish()
    assert not [r for r in results if r.error and "refused" in r.error]
    assert teal.stop() == 0
