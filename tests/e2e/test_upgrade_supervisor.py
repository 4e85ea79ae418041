"""The supervisor's part of an upgrade: two processes that serve, whatever either of them does.

What they say is said here by a program of the tests (helpers/generation.py), for no real one crashes, hangs or
lies when it is told to."""
import os
import pathlib
import shutil
import signal
import socket
import tempfile

import pytest

from helpers import scale
from helpers.generation import Generations
from helpers.scale import until
from test_supervisor import Manager

pytestmark = pytest.mark.nosan


@pytest.fixture
def stage(closing):
    def make(*options, **how):
        return closing.add(Generations(*options, **how))
    return make


def test_one_takes_over_from_the_other(stage):
    s = stage()
    o = s.next()
    assert o.argv == [str(s.program), "-c", str(s.config)] and o.predecessor == 0
    o.say("ready")
    port = o.keep()
    o.ask_upgrade(60)
    n = s.next()
    assert n.argv == [str(s.program), "--successor", "-c", str(s.config)]
    assert n.predecessor == o.pid and n.ports == [port] and n.listening_for_us
    words, line = o.hear()
    assert words == f"successor {n.pid}"
    line.send(b"hello")
    assert n.line_hear() == "hello"
    n.say("prepared")
    o.say("yielded")
    n.say("ready")
    # What the predecessor still says is not the service's.
    o.say("notify STOPPING=1\nSTATUS=leaving")
    o.say("forget ")
    assert o.hear() == "forgot"
    o.exit(0)
    o.gone()
    assert n.hear().startswith("alone 0 0")
    # Both the way in and the next upgrade are the successor's.
    n.die(signal.SIGKILL)
    third = s.next()
    assert third.ports == [port] and third.predecessor == 0 and third.restarts == 1
    third.say("ready")
    third.ask_upgrade(60)
    assert s.next().predecessor == third.pid


def elf_for_another_machine(path):
    data = bytearray(pathlib.Path("/proc/self/exe").resolve().read_bytes())
    data[18:20] = (22).to_bytes(2, "little")    # e_machine: S/390
    path.write_bytes(data)
    path.chmod(0o755)


def script(path, text, mode=0o755):
    path.write_text(text)
    path.chmod(mode)


OLDER = "#!/bin/sh\necho \"$0: unrecognized option '$1'\" >&2\necho 'try: teald --help' >&2\nexit 2\n"


@pytest.mark.parametrize("make, why", [
    (lambda p: None, "No such file or directory"),
    (lambda p: p.mkdir(), "is not a file"),
    (lambda p: script(p, "#!/bin/sh\n", 0o644), "Permission denied"),
    (lambda p: script(p, "no program\n"), "not a program, or one for another architecture"),
    (elf_for_another_machine, "not a program, or one for another architecture"),
    (lambda p: script(p, "#!/no/such/loader\n"), "built for another system"),
    (lambda p: script(p, "#!/bin/sh\nexit 0\n"), "ended with status 0"),
    (lambda p: script(p, "#!/bin/sh\necho one >&2; echo two >&2; exit 3\n"), "ended with status 3 (starting): one;two"),
    (lambda p: script(p, OLDER), "too old to take over"),
    (lambda p: script(p, "#!/bin/sh\necho it begins >&2; kill -SEGV $$\n"), "ended with SIGSEGV (starting): it begins"),
], ids=["missing", "folder", "not executable", "text", "other machine", "other system", "at once", "with words", "older",
        "crash"])
def test_a_program_that_is_none_changes_nothing(stage, make, why):
    s = stage()
    o = s.next()
    o.say("ready")
    made = s.folder / "new"
    make(made)
    said = o.refused(binary=str(made))
    assert why in said and str(made) in said, said
    # It serves on, and a right one is taken the next time.
    o.ask_upgrade(60)
    assert s.next().predecessor == o.pid
    assert o.hear()[0].startswith("successor")


def test_a_teald_is_named_and_the_program_beside_it_is_started(stage):
    s = stage()
    o = s.next()
    o.say("ready")
    other = s.folder / "other"
    (other / "libexec/teal").mkdir(parents=True)
    (other / "sbin").mkdir()
    shutil.copy(s.folder / "teald", other / "sbin/teald")
    program = s.install(other / "libexec/teal/teald-serve")
    config = other / "teal.conf"
    config.write_text("")
    o.ask_upgrade(60, binary=str(other / "sbin/teald"), config=str(config))
    n = s.next()
    assert os.path.samefile(n.argv[0], program) and n.argv[1:] == ["--successor", "-c", str(config)]
    o.hear()
    n.say("prepared")
    n.say("ready")
    o.exit(0)
    assert n.hear().startswith("alone")
    # That is the program from now on.
    n.ask_upgrade(60)
    third = s.next()
    assert os.path.samefile(third.argv[0], program) and third.argv[-1] == str(config)


@pytest.mark.skipif(os.geteuid() != 0, reason="is about what root starts")
def test_root_starts_nothing_that_others_can_write(stage):
    """Who may ask for an upgrade need not be root."""
    s = stage()
    o = s.next()
    o.say("ready")
    theirs = s.install(s.folder / "theirs")
    os.chown(theirs, 65534, 65534)
    assert "writable by root alone" in o.refused(binary=str(theirs))
    os.chown(theirs, 0, 0)
    theirs.chmod(0o775)
    assert "writable by root alone" in o.refused(binary=str(theirs))
    theirs.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix="teal-", dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        inside = pathlib.Path(folder) / "teald-serve"
        shutil.copy(theirs, inside)
        assert "writable by root alone" in o.refused(binary=str(inside))
        config = pathlib.Path(folder) / "teal.conf"
        config.write_text("")
        assert "writable by root alone" in o.refused(config=str(config))
        link = s.folder / "link"
        link.symlink_to(inside)
        assert "writable by root alone" in o.refused(binary=str(link))
    o.ask_upgrade(60, binary=str(theirs))
    assert s.next().argv[0] == str(theirs)


def test_one_that_is_never_prepared_is_ended(stage):
    s = stage()
    o = s.next()
    o.say("ready")
    o.ask_upgrade(60)
    n = s.next()
    n.ignore(signal.SIGABRT)
    n.say("notify STATUS=checking the backends")
    assert o.hear()[0].startswith("successor")
    s.clock.move(61, wait=False)
    # At its next turn it is asked to end, and then made to.
    n.heard()
    s.clock.move(10, wait=False)
    assert o.hear() == f"upgrade failed: timeout: {s.program} was not ready in time (checking the backends)"
    n.gone()
    assert s.wait_log("teald.crashed")["kind"] == "successor"


def test_one_that_is_prepared_has_its_time(stage):
    """From then on it is the predecessor's turn."""
    s = stage()
    o, n, _ = s.pair()
    n.heard()
    s.clock.move(1000, wait=False)
    n.heard()
    n.heard()
    o.say("yielded")
    n.say("ready")
    o.exit(0)
    o.gone()
    assert n.hear() == "alone 0 0" and not s.log("teald.crashed")


def test_what_a_failed_one_listened_on_is_closed(stage):
    s = stage()
    o = s.next()
    o.say("ready")
    mine = o.keep()
    o.ask_upgrade(60)
    n = s.next()
    theirs = n.keep()
    # It forgets nothing that is not its own.
    n.say("forget ")
    assert n.hear() == "forgot"
    socket.create_connection(("127.0.0.1", theirs)).close()
    n.exit(1)
    assert o.hear()[0].startswith("successor") and "status 1" in o.hear()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", theirs))
    o.die(signal.SIGKILL)
    assert s.next().ports == [mine]


def test_what_one_listens_on_outlives_it_once_it_has_taken_over(stage):
    s = stage()
    o, n, _ = s.pair()
    port = n.keep()
    o.say("yielded")
    n.say("ready")
    n.die(signal.SIGKILL)
    assert s.next().ports == [port]


def test_when_the_predecessor_dies_before_it_has_yielded_the_successor_is_a_restart(stage):
    s = stage()
    o, n, line = s.pair()
    o.die(signal.SIGKILL)
    words, count, at = n.hear().split()
    assert (words, count) == ("alone", "1") and int(at) > 1e9
    line.close()
    assert n.line_hear() == ""
    crash = s.wait_log("teald.crashed")
    assert crash["pid"] == o.pid and crash["kind"] == "serving" and crash["signal"] == "SIGKILL"
    n.say("ready")
    assert s.wait_log("teald.recovered")["pid"] == n.pid


def test_what_a_predecessor_said_last_is_heard_though_it_had_not_read_all(stage):
    """That it has yielded, for one: the kernel tells of what it left unread first."""
    s = stage()
    o = s.next()
    o.say("ready")
    o.ask_upgrade(60)
    n = s.next()
    n.say("prepared")
    n.heard()
    # "successor" is what it never reads.
    s.supervisor.send_signal(signal.SIGSTOP)
    o.say("yielded")
    o.die(signal.SIGKILL)
    s.supervisor.send_signal(signal.SIGCONT)
    assert n.hear() == "alone 0 0"
    assert s.wait_log("teald.crashed")["kind"] == "leaving"


def test_the_line_has_an_end_when_the_predecessor_has_one(stage):
    """The supervisor holds no copy of it, or the successor would wait for ever."""
    s = stage()
    o, n, line = s.pair()
    o.die(signal.SIGKILL)
    line.close()
    assert n.line_hear() == ""


def test_when_the_successor_dies_afterwards_another_one_asks_the_predecessor(stage):
    s = stage("--max-restarts=100")
    o, n, _ = s.pair()
    o.say("yielded")
    for died in range(1, 4):
        n.die(signal.SIGKILL)
        n = s.next()
        assert n.predecessor == o.pid and n.restarts == died and "--successor" in n.argv
        words, line = o.hear()
        assert words == f"successor {n.pid}"
        line.send(b"yours")
        assert n.line_hear() == "yours"
    n.say("ready")
    o.exit(0)
    o.gone()
    n.die(signal.SIGKILL)
    assert s.next().predecessor == 0


def test_when_the_successor_dies_just_before_another_one_asks_the_predecessor(stage):
    """That may have yielded before it heard of it."""
    s = stage()
    o, n, _ = s.pair()
    n.die(signal.SIGKILL)
    assert o.hear().startswith("upgrade failed: ")
    o.say("yielded")
    third = s.next()
    assert third.predecessor == o.pid and third.argv[0] == str(s.program)
    assert o.hear()[0] == f"successor {third.pid}"
    third.say("ready")
    o.exit(0)
    o.gone()
    assert s.wait_log("teald.recovered")["pid"] == third.pid
    assert third.hear() == "alone 0 0"


def test_when_the_predecessor_dies_afterwards_the_successor_serves_on(stage):
    s = stage()
    o, n, _ = s.pair()
    o.say("yielded")
    n.say("ready")
    o.die(signal.SIGSEGV)
    assert n.hear() == "alone 0 0"
    assert s.wait_log("teald.crashed")["kind"] == "leaving"
    assert os.path.exists(f"/proc/{n.pid}")


def test_a_new_program_that_dies_soon_is_replaced_by_the_former_one(stage):
    """Also where it has taken the name of that, as a package does."""
    s = stage()
    o = s.next()
    o.say("ready")
    was = os.stat(s.program).st_ino
    s.install(s.program)
    o.ask_upgrade(60)
    n = s.next()
    o.hear()
    n.say("prepared")
    o.say("yielded")
    n.say("ready")
    o.exit(0)
    o.gone()
    new = os.stat(s.program).st_ino
    n.die(signal.SIGSEGV)
    third = s.next()
    assert third.fallbacks == 1 and third.argv == [str(s.program), "-c", str(s.config)]
    assert s.log("teald.fallback")[0]["from"] == str(s.program)
    # That of the first process, though it has no name any more.
    assert third.inode == o.inode == was and n.inode == new


def test_a_new_program_that_has_run_well_is_started_again(stage):
    s = stage()
    other = s.install(s.folder / "new")
    o = s.next()
    o.say("ready")
    o.ask_upgrade(60, binary=str(other))
    n = s.next()
    n.say("prepared")
    o.say("yielded")
    n.say("ready")
    o.exit(0)
    o.gone()
    s.clock.move(61, wait=False)
    n.die(signal.SIGKILL)
    again = s.next()
    assert again.argv[0] == str(other) and again.fallbacks == 0 and again.restarts == 1


def test_a_former_program_that_cannot_start_either_is_not_insisted_on(stage):
    """What the new one reads the former may not."""
    s = stage()
    other = s.install(s.folder / "new")
    o = s.next()
    o.say("ready")
    o.ask_upgrade(60, binary=str(other))
    n = s.next()
    n.say("prepared")
    o.say("yielded")
    n.say("ready")
    o.exit(0)
    o.gone()
    n.die(signal.SIGKILL)
    former = s.next()
    assert former.argv[0] == str(s.program)
    former.exit(2)
    again = s.next()
    assert again.argv[0] == str(other) and again.fallbacks == 2
    again.say("ready")


def test_never_more_than_two(stage):
    s = stage()
    o, n, _ = s.pair()
    assert o.refused() == "conflict: another upgrade is under way"
    o.say("yielded")
    n.say("ready")
    assert n.refused() == "conflict: the former generation has not left yet"
    # What was refused has changed nothing about the first two.
    s.clock.move(61, wait=False)
    n.die(signal.SIGKILL)
    assert s.next().argv[0] == str(s.program)


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_stop_stops_both(stage, phase):
    s = stage()
    o, n, _ = s.pair()
    if phase == "after":
        o.say("yielded")
        n.say("ready")
        until(lambda: n.refused() == "conflict: the former generation has not left yet", "it has taken over")
    s.supervisor.send_signal(signal.SIGTERM)
    assert s.wait() == 0
    assert not s.log("teald.crashed")


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_stop_of_the_one_that_serves_stops_the_other(stage, phase):
    s = stage()
    o, n, _ = s.pair()
    serving, other = o, n
    if phase == "after":
        o.say("yielded")
        n.say("ready")
        until(lambda: n.refused() == "conflict: the former generation has not left yet", "it has taken over")
        serving, other = n, o
    serving.say("notify STOPPING=1\nSTATUS=stopping")
    other.gone()
    serving.exit(0)
    assert s.wait() == 0


def test_the_end_of_the_one_that_serves_waits_for_the_one_that_leaves(stage):
    s = stage()
    o, n, _ = s.pair()
    o.ignore(signal.SIGTERM)
    o.say("yielded")
    n.say("ready")
    until(lambda: n.refused() == "conflict: the former generation has not left yet", "it has taken over")
    s.supervisor.send_signal(signal.SIGTERM)
    n.gone()
    # It holds connections still.
    assert s.supervisor.poll() is None
    o.say("beat")
    o.exit(0)
    assert s.wait() == 0


def test_the_signal_for_an_upgrade_is_passed_on(stage):
    s = stage()
    o = s.next()
    o.say("ready")
    s.supervisor.send_signal(signal.SIGUSR2)
    assert o.wait_signal(signal.SIGUSR2, signal.SIGHUP) == signal.SIGUSR2
    s.supervisor.send_signal(signal.SIGHUP)
    assert o.wait_signal(signal.SIGUSR2, signal.SIGHUP) == signal.SIGHUP


def test_both_are_watched(stage):
    """A main loop that has begun to beat and then does not: whichever it is."""
    s = stage("--watchdog=1")
    o, n, _ = s.pair()
    n.say("beat")
    assert "ended with SIGABRT" in o.hear()
    assert s.log("teald.hangs")[0]["pid"] == n.pid
    o.ask_upgrade(60)
    n = s.next()
    n.say("prepared")
    o.say("yielded")
    n.say("ready")
    o.say("beat")
    o.gone()
    assert {l["pid"] for l in s.log("teald.hangs")} >= {o.pid} and os.path.exists(f"/proc/{n.pid}")


def test_a_service_manager_hears_of_an_upgrade(stage, closing):
    path = f"/tmp/teal-notify-{os.getpid()}-{os.urandom(4).hex()}"
    manager = closing.add(Manager(path))
    try:
        s = stage(env={"NOTIFY_SOCKET": path})
        o = s.next()
        o.say("ready")
        manager.hear("READY=1")
        manager.heard.clear()
        o.ask_upgrade(60)
        n = s.next()
        manager.hear("RELOADING=1")
        manager.hear(f"STATUS=upgrading: process {n.pid} is to take over")
        n.exit(1)
        manager.hear("READY=1")
        o.ask_upgrade(60)
        n = s.next()
        manager.hear("RELOADING=1")
        manager.heard.clear()
        # Of the successor it hears once that serves.
        n.say("notify STATUS=waiting for the predecessor")
        n.keep()
        n.say("prepared")
        n.heard()
        manager.hear("WATCHDOG=1")  # all before it has been read
        assert "FDSTORE=1" not in manager.heard
        o.say("yielded")
        n.say("ready")
        n.say("notify STATUS=serving 1 services")
        manager.hear("STATUS=serving 1 services")
        assert "FDSTORE=1" in manager.heard
        assert "READY=1" in manager.heard and "STATUS=waiting for the predecessor" not in manager.heard
        o.say("notify STOPPING=1")
        o.exit(0)
        o.gone()
        assert "STOPPING=1" not in manager.heard
        assert not any(l.startswith("MAINPID") for l in manager.heard)
        s.supervisor.send_signal(signal.SIGTERM)
        manager.hear("STOPPING=1")
    finally:
        os.unlink(path)


def test_what_a_successor_writes_comes_through(stage):
    s = stage()
    o, n, _ = s.pair()
    n.complain("a warning\n", 1)
    until(lambda: "a warning\n" in s.err.read_text(), "it is passed on")
    o.say("yielded")
    n.say("ready")
    o.exit(0)
    o.gone()
    n.complain("another\n", 10000)
    until(lambda: s.err.read_text().count("another\n") == 10000, "all of it")
