"""A changed file is taken over by the running teald: what the change concerns obeys
it, everything else goes on, and a file that is wrong changes nothing."""
import json
import os
import signal
import subprocess

from helpers import libconfig, scale
from helpers.people import Person, needs_root
from helpers.reload import change, reload, rewrite
from helpers.scale import until


def test_the_next_drain_takes_its_time_from_the_new_file(web):
    teal = web(clock=True, drain={"timeout": 36000.0, "idle": 0.0})
    kept = teal.connect().echo()
    change(teal, drain={"timeout": 100.0, "idle": 0.0})
    r = reload(teal)
    plan = r.event("planned")
    assert plan["changed"] == [{"service": "web", "keys": ["drain.timeout"],
                                "values": [{"key": "drain.timeout", "from": "36000", "to": "100"}]}]
    assert plan["lines"] == ["~ service web: drain.timeout 36000 -> 100", "= 0 unchanged"]
    assert (r["changed"], r["generation"]) == (True, 2)
    kept.echo()
    teal.ok("flip", "web", "blue")
    teal.clock.move(99)
    kept.echo()
    teal.clock.move(1)
    assert kept.read_end()[0] == b""
    teal.wait_log("tcp.session", 1, end="drained")


def test_what_is_said_of_it(web):
    teal = web()
    first = teal.ok("status")["config"]
    assert first["generation"] == 1 and first["last_reload_successful"]
    assert reload(teal)["changed"] is False
    assert teal.ok("status")["config"]["generation"] == 1
    rewrite(teal, log={"level": "info"})
    with teal.admin() as listener:
        listener.send("events")
        assert reload(teal)["changed"]
        heard = until(lambda: (o := listener.object()) and o["event"] == "reload.applied" and o, "heard of it")
    assert heard["generation"] == 2 and "log.level debug -> info" in heard["message"]
    now = teal.ok("status")["config"]
    assert now["generation"] == 2 and now["checksum"] != first["checksum"] and now["loaded_at"] > first["loaded_at"]
    m = teal.metrics()
    assert m.get("teal_config_generation") == 2
    assert m.get("teal_config_last_reload_successful") == 1
    assert m.get("teal_config_loaded_timestamp_seconds") > 1e9
    audit = teal.wait_log("audit", 2, command="reload", result="ok")
    assert audit["changed"] is True and audit["uid"] == os.getuid()


def test_a_wrong_file_changes_nothing_and_says_all_that_is_wrong(web):
    teal = web()
    good = teal.conf.read_text()
    teal.conf.write_text(good.replace('mode = "tcp"', 'mode = "tpc"').replace("workers = 2", "workers = -2"))
    r = teal.ctl("reload")
    assert (r["ok"], r["error"], r["changed"], r["generation"]) == (False, "config", False, 1)
    assert not r.events
    assert len(r["errors"]) == 2
    for e in r["errors"]:
        line = teal.conf.read_text().splitlines()[e["line"] - 1]
        assert ("workers" in line and "out of range" in e["message"]) or ("tpc" in line and "did you mean" in e["message"])
    p = teal.tealctl("reload", check=2)
    said = p.stderr.splitlines()
    assert len([l for l in said if l.startswith(str(teal.conf))]) == 2, p.stderr
    # The last line sums up, and says nothing a second time.
    assert said[-1] == f"tealctl: config: 2 errors in {teal.conf}; nothing was changed", p.stderr
    assert teal.wait_log("reload.failed")["message"] == f"2 errors in {teal.conf}; nothing was changed"
    assert teal.metrics().get("teal_config_last_reload_successful") == 0
    assert teal.ok("status")["config"]["last_reload_successful"] is False
    teal.wait_log("reload.failed", 2, error="config")
    teal.connect().echo()
    teal.conf.unlink()
    assert teal.ctl("reload")["error"] == "config"
    teal.conf.write_text(good)
    assert reload(teal)["changed"] is False
    assert teal.metrics().get("teal_config_last_reload_successful") == 1


def test_a_file_cut_short_is_judged_as_it_was_read(web):
    teal = web()
    good = teal.conf.read_text()
    for n in range(1, len(good) - 1, max(1, len(good) // scale.scaled(400, 40))):
        teal.conf.write_text(good[:n])
        r = teal.ctl("reload")
        assert not r["ok"] and r["error"] in ("config", "unsupported") or not r["changed"], (good[:n], r)
    assert teal.ok("status")["config"]["generation"] == 1
    teal.connect().echo()


def test_what_needs_a_restart_is_named_and_nothing_is_done_by_halves(web):
    teal = web()
    rewrite(teal, workers=3, log={"level": "warn"})
    r = teal.ctl("reload")
    assert (r["ok"], r["error"], r["changed"]) == (False, "unsupported", False)
    assert "workers" in r["message"]
    assert r.event("planned")["needs_upgrade"] == [{"key": "workers", "from": "2", "to": "3"}]
    assert teal.ok("log", "debug")["was"] == "debug"
    p = teal.tealctl("reload", check=2)
    assert "! workers 2 -> 3: needs an upgrade" in p.stdout.splitlines()


def test_a_dry_run_tells_and_does_nothing(web):
    teal = web()
    before = teal.ok("status")["config"]
    rewrite(teal, stop={"timeout": 0.25})
    r = reload(teal, "--dry-run")
    assert r.event("planned")["settings"]["keys"] == ["stop.timeout"]
    assert (r["changed"], r["dry_run"], r["generation"]) == (False, True, 1)
    assert teal.ok("status")["config"] == before
    p = teal.tealctl("reload", "--dry-run", check=0)
    assert [l for l in p.stdout.splitlines() if "(warning)" not in l] == ["~ stop.timeout 0.5 -> 0.25", "= 1 unchanged", "planned\t1"]
    p = teal.tealctl("--json", "reload", "--dry-run", check=0)
    assert [json.loads(l).get("event", "last") for l in p.stdout.splitlines()] == ["planned", "last"]


def test_a_dry_run_of_what_needs_an_upgrade_ends_as_the_reload_would(web):
    teal = web()
    rewrite(teal, workers=3)
    before = teal.ok("status")["config"]
    for words in (["reload", "--dry-run"], ["reload"]):
        r = teal.ctl(*words)
        assert (r["ok"], r["error"], r["changed"]) == (False, "unsupported", False) and "workers" in r["message"]
        assert teal.tealctl(*words, check=2).stdout.splitlines()[0] == "! workers 2 -> 3: needs an upgrade"
    after = teal.ok("status")["config"]
    assert after == before | {"last_reload_successful": False}


def test_hangups_are_reloads_and_a_flood_of_them_is_few(web):
    teal = web()
    rewrite(teal, log={"level": "info"})
    teal.signal(signal.SIGHUP)
    assert teal.wait_log("reload.applied", 1, by="SIGHUP")["generation"] == 2
    n = scale.scaled(4000, 200)
    for _ in range(n):
        teal.signal(signal.SIGHUP)
    rewrite(teal, log={"level": "warn"})
    teal.signal(signal.SIGHUP)
    until(lambda: teal.ok("status")["config"]["generation"] == 3, "the last is obeyed")
    teal.connect().echo()
    assert len(teal.log_lines("reload.applied")) <= n + 2, "no more than there were signals"


def test_the_file_is_a_pipe_that_says_nothing(web):
    """Reading it hangs; teald does not, and gives up after half a minute."""
    teal = web(clock=True)
    good = teal.conf.read_text()
    teal.conf.unlink()
    os.mkfifo(teal.conf)
    with teal.admin() as first, teal.admin() as second:
        first.send("reload")
        until(lambda: os.path.exists(f"/proc/{teal.pid}/task") and _waits_for(teal), "a helper waits for the pipe")
        second.send("reload", "--dry-run")
        teal.connect().echo()
        teal.ok("flip", "web", "blue")
        teal.conf.unlink()
        teal.conf.write_text(good)
        teal.clock.move(31)
        r = first.reply()
        assert (r["ok"], r["error"], r["changed"]) == (False, "internal", False)
        assert "30 seconds" in r["message"]
        assert second.reply()["ok"]
    assert reload(teal)["changed"] is False


def test_each_of_one_who_asks_twice_is_of_a_file_read_after_it_was_asked(web):
    teal = web()
    good = teal.conf.read_text()
    teal.conf.unlink()
    os.mkfifo(teal.conf)
    with teal.admin() as a:
        # In one piece: the second is begun by the answer to the first.
        a.sock.sendall(b"reload --dry-run\nreload\n")
        until(lambda: _waits_for(teal), "a helper waits for the pipe")
        with teal.admin() as b:
            b.send("reload")
            teal.conf.write_text(good)
            assert a.reply()["dry_run"]
            until(lambda: _waits_for(teal), "a helper waits for the pipe again")
            teal.conf.write_text(good.replace('level = "debug"', 'level = "info"'))
            assert a.reply()["changed"]
            assert b.reply()["generation"] == 2


def _waits_for(teal):
    """Has a thread of it come to open a pipe that nobody writes?"""
    for task in os.listdir(f"/proc/{teal.pid}/task"):
        try:
            if "fifo" in open(f"/proc/{teal.pid}/task/{task}/wchan").read() or \
                    "wait_for_partner" in open(f"/proc/{teal.pid}/task/{task}/wchan").read():
                return True
        except OSError:
            pass
    return False


def test_one_that_hangs_does_not_hold_up_the_end(web):
    teal = web()
    teal.conf.unlink()
    os.mkfifo(teal.conf)
    with teal.admin() as a:
        a.send("reload")
        until(lambda: _waits_for(teal), "a helper waits for the pipe")
        teal.signal()
        r = a.reply()
        assert not r["ok"], r
        assert teal.wait() == 0


@needs_root
def test_roles_change_for_those_who_are_there(web):
    """Rights are those of the configuration that is obeyed, on connections that were there before too."""
    nobody = Person("nobody")
    teal = web(top={"admin": {"mode": "0666"}})
    os.seteuid(nobody.uid)
    try:
        a = teal.admin()
    finally:
        os.seteuid(0)
    with a:
        assert a.command("flip", "web", "blue")["error"] == "denied"
        rewrite(teal, admin=teal.settings["admin"] | {"roles": [
            {"user": "nobody", "services": ["web"], "allow": ["read", "flip"]}]})
        assert reload(teal)["changed"]
        assert a.command("flip", "web", "blue")["ok"]
        rewrite(teal, admin={k: v for k, v in teal.settings["admin"].items() if k != "roles"})
        assert reload(teal)["changed"]
        assert a.command("flip", "web", "green")["error"] == "denied"


def test_config_lists_every_key(web):
    teal = web(drain={"timeout": 77.0})
    lines = teal.tealctl("config", check=0).stdout.splitlines()
    assert "service web: drain.timeout 77" in lines and "workers 2" in lines
    one = teal.ok("config", "web")
    assert [s["service"] for s in one["services"]] == ["web"] and "keys" not in one
    assert one["checksum"] == teal.ok("status")["config"]["checksum"]


def test_a_file_is_compared_with_a_running_teald(web, tmp_path):
    """teald -t --against: before the file is where teald reads it."""
    teal = web()
    other = tmp_path / "next.conf"
    settings = teal.settings | {"log": {"level": "warn"}, "workers": 3}
    other.write_text(libconfig.dumps(settings))

    def against(file, socket=teal.admin_path):
        return subprocess.run([scale.BUILD / "teald", "-t", "-c", file, f"--against={socket}"], capture_output=True, text=True,
                              timeout=scale.patience())
    p = against(other)
    assert (p.returncode, p.stdout.splitlines()) == (0, ["! workers 2 -> 3: needs an upgrade", "~ log.level debug -> warn", "= 1 unchanged"])
    p = against(teal.conf)
    assert (p.returncode, p.stdout.splitlines()) == (0, ["= 1 unchanged"])
    p = against(other, str(tmp_path / "none.sock"))
    assert p.returncode == 1 and "no teald answers" in p.stderr
    other.write_text("workers = ;")
    assert against(other).returncode == 2
    assert subprocess.run([scale.BUILD / "teald", "-c", other, "--against=x"], capture_output=True).returncode == 2
