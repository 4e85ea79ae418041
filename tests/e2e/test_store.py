"""The embedded store: what was acknowledged is there after a restart, and what
cannot be trusted is refused rather than replaced."""
import os
import re
import shutil
import subprocess

import pytest

from helpers import libconfig, scale
from helpers.scale import patience, slow, until
from helpers.teald import service

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system: needs root")


def state_file(teal):
    """The one file with the colors."""
    found = [p for p in teal.state_dir.iterdir() if p.is_file() and b"teal-state" in p.read_bytes()[:200]]
    assert len(found) == 1, list(teal.state_dir.iterdir())
    return found[0]


def stored(web):
    """A stopped teald whose state has some life in it, and its file."""
    teal = web()
    teal.ok("flip", "web", "blue", "--reason=first")
    teal.ok("flip", "web", "green")
    teal.ok("flip", "web", "blue", "--reason=last")
    assert teal.stop() == 0
    return teal, state_file(teal)


def refused(teal, path, *words):
    """It does not start, says so with the file's name, and leaves it alone."""
    before = path.read_bytes()
    status, text = teal.start_refused()
    assert status not in (0, None) and status > 0, (status, text)
    assert str(path) in text or path.name in text, text
    for w in words:
        assert w in text, text
    assert path.read_bytes() == before, "the file was changed"
    assert not [p for p in teal.state_dir.iterdir() if p.stat().st_mtime_ns > path.stat().st_mtime_ns + 10**9
                and p.name == path.name]
    return text


# ---- what survives ----

def test_the_color_and_the_epoch_survive_restarts(web):
    teal = web()
    assert (teal.status()["active"], teal.status()["epoch"]) == ("green", 1)
    teal.ok("flip", "web", "blue", "--reason=deploy 7")
    for _ in range(2):
        before = teal.status()
        teal.restart()
        after = teal.status()
        for key in ("active", "epoch", "changed_at", "changed_by", "reason", "locked"):
            assert after[key] == before[key], key
        assert (after["active"], after["epoch"]) == ("blue", 2)
        assert teal.connect().peer == "blue"
    assert teal.ok("flip", "web", "green")["epoch"] == 3


def test_initial_counts_only_the_first_time(web):
    teal = web(initial="blue")
    assert teal.connect().peer == "blue"
    teal.settings["services"][0]["initial"] = "green"
    teal.restart()
    assert (teal.status()["active"], teal.status()["epoch"]) == ("blue", 1)


def test_a_service_that_is_new_begins_with_its_initial_color(web, backend, ports):
    teal = web()
    teal.ok("flip", "web", "blue")
    teal.settings["services"].append(service("more", listen=f"127.0.0.1:{ports.hold()}", green=[backend("g2")],
                                             blue=[backend("b2")], initial="blue"))
    teal.restart()
    assert (teal.status("more")["active"], teal.status("more")["epoch"]) == ("blue", 1)
    assert teal.status("web")["active"] == "blue"
    # One that is gone for a while is not forgotten.
    gone = teal.settings["services"].pop(0)
    teal.restart()
    assert teal.ctl("status", "web")["error"] == "unknown_service"
    teal.ok("flip", "more", "green")
    teal.settings["services"].insert(0, gone)
    teal.restart()
    assert (teal.status("web")["active"], teal.status("web")["epoch"]) == ("blue", 2)


# ---- what is refused ----

@pytest.mark.parametrize("keep", [0, 1, 40, 0.3, 0.6, -2, -1])
def test_a_torn_file_is_refused(web, keep):
    teal, path = stored(web)
    whole = path.read_bytes()
    path.write_bytes(whole[:int(keep * len(whole))] if isinstance(keep, float) else whole[:keep])
    refused(teal, path)
    # Put right by hand, it serves again.
    path.write_bytes(whole)
    teal.start()
    assert teal.status()["epoch"] == 4
    teal.expect_status = 0


@pytest.mark.parametrize("what", ["text", "binary", "json", "elf", "longer", "twice"])
def test_a_foreign_file_is_refused(web, what):
    teal, path = stored(web)
    whole = path.read_bytes()
    path.write_bytes({"text": b"green\n", "binary": os.urandom(3000), "json": b'{"services":{}}\n',
                      "elf": b"\x7fELF" + bytes(500), "longer": whole + b"x", "twice": whole + whole}[what])
    refused(teal, path)


def test_one_changed_byte_anywhere_is_noticed(web):
    teal, path = stored(web)
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 12)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        refused(teal, path)
    path.write_bytes(whole)
    teal.start()


def test_a_newer_format_is_refused_by_name(web):
    teal, path = stored(web)
    whole = path.read_bytes()
    newer = re.sub(rb'"version":\d+', b'"version":99', whole, count=1)
    assert newer != whole
    path.write_bytes(newer)
    refused(teal, path, "99")


@pytest.mark.parametrize("what", ["directory", "dangling"])
def test_something_that_is_no_file_is_refused(web, what):
    teal, path = stored(web)
    path.unlink()
    if what == "directory":
        path.mkdir()
    else:
        path.symlink_to("/nonexistent/teal")
    status, text = teal.start_refused()
    assert status > 0 and path.name in text, (status, text)
    assert path.is_dir() if what == "directory" else path.is_symlink()


def test_leftovers_of_a_write_that_died_do_not_matter(web):
    teal, path = stored(web)
    for name in (path.name + ".tmp", path.name + "~", "tmp", path.name + ".new"):
        if not (teal.state_dir / name).exists():
            (teal.state_dir / name).write_bytes(b'{"format":"teal-st')
    teal.start()
    assert (teal.status()["active"], teal.status()["epoch"]) == ("blue", 4)
    assert teal.ok("flip", "web", "green")["epoch"] == 5


def test_a_state_dir_that_cannot_be_made_is_refused(web, tmp_path):
    (tmp_path / "file").write_text("")
    teal = web(start=False, top={"state_dir": str(tmp_path / "file" / "state")})
    status, text = teal.start_refused()
    assert status > 0 and "state_dir" in text or "file/state" in text


# ---- one teald at a time ----

def test_a_second_teald_on_the_same_state_is_refused(web, teal, backend, ports):
    first = web()
    second = teal(start=False, state_dir=str(first.state_dir), services=[
        service("web", listen=f"127.0.0.1:{ports.hold()}", green=[backend("g")], blue=[backend("b")])])
    status, text = second.start_refused()
    assert status > 0 and str(first.state_dir) in text, (status, text)
    assert first.connect().echo().peer == "green"
    assert first.ok("flip", "web", "blue")["changed"]
    # Once the first has gone the second may.
    assert first.stop() == 0
    second.start()
    assert second.status()["epoch"] == 2


def test_a_second_teald_on_the_same_port_is_refused(web, teal, backend):
    first = web()
    second = teal(start=False, services=[
        service("web", listen="%s:%d" % first.address(), green=[backend("g")], blue=[backend("b")])])
    status, text = second.start_refused()
    assert status > 0 and str(first.address()[1]) in text, (status, text)
    # Not one connection went elsewhere.
    assert {first.connect().peer for _ in range(40)} == {"green"}


@pytest.mark.parametrize("which", ["preview", "observe"])
def test_a_second_teald_on_another_listener_is_refused_too(web, teal, backend, ports, which):
    first = web(preview=f"127.0.0.1:{ports.hold()}")
    taken = first.address(key="preview")[1] if which == "preview" else first.observe[1]
    keys = {"preview": f"127.0.0.1:{taken}"} if which == "preview" else {}
    second = teal(start=False, services=[
        service("web", listen=f"127.0.0.1:{ports.hold()}", green=[backend("g")], blue=[backend("b")], **keys)])
    if which == "observe":
        second.settings["observe"] = {"listen": f"127.0.0.1:{taken}"}
    status, text = second.start_refused()
    assert status > 0 and str(taken) in text, (status, text)
    assert first.http("/readyz")[0] == 200
    assert first.connect(key="preview").peer == "blue"


def test_a_port_of_another_program_is_refused(web, backend):
    other = backend("other")
    teal = web(start=False, listen=other.address)
    status, text = teal.start_refused()
    assert status > 0 and str(other.port) in text


# ---- a full disk ----

@pytest.fixture
def small_disk(web):
    """A teald whose state_dir is a tiny file system in a mount namespace of its
    own: it goes away with the process."""
    def make(**keys):
        teal = web(start=False, **keys)
        teal.start(prefix=("unshare", "-m", "--propagation", "private", "sh", "-ec",
                           'mount -t tmpfs -o size=256k,mode=0755 tmpfs "$0"; exec "$@"', str(teal.state_dir)))
        teal.disk = f"/proc/{teal.pid}/root{teal.state_dir}"
        return teal
    return make


def fill(teal):
    """Writes until nothing fits any more; returns the filler."""
    path = os.path.join(teal.disk, "filler")
    with open(path, "wb", buffering=0) as f:
        for size in (4096, 1):
            try:
                while True:
                    f.write(b"x" * size)
            except OSError:
                pass
    return path


@needs_root
def test_a_full_disk_refuses_the_flip_and_leaves_traffic_alone(small_disk):
    teal = small_disk()
    old = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    filler = fill(teal)
    for _ in range(3):
        r = teal.ctl("flip", "web", "green")
        assert (r["ok"], r["error"], r["changed"], r["active"], r["epoch"]) == (False, "not_durable", False, "blue", 2)
        assert "space" in r["message"].lower(), r["message"]
    assert teal.connect().echo().peer == "blue"
    assert (teal.status()["active"], teal.status()["epoch"]) == ("blue", 2)
    assert teal.tealctl("flip", "web", "green").returncode == 10
    # The gate comes first, the store last.
    teal.green.stop()
    assert teal.ctl("flip", "web", "green")["error"] == "unhealthy"
    teal.green.start()
    os.unlink(filler)
    until(lambda: teal.ctl("check", "web", "green")["ok"], "healthy")
    r = teal.ok("flip", "web", "green")
    assert (r["active"], r["epoch"]) == ("green", 3)
    assert teal.connect().echo().peer == "green"
    assert old.alive


@needs_root
def test_after_a_full_disk_the_file_is_whole(small_disk, tmp_path):
    """What the last good flip stored is what a restart finds."""
    teal = small_disk()
    teal.ok("flip", "web", "blue")
    fill(teal)
    assert teal.ctl("flip", "web", "green")["error"] == "not_durable"
    assert teal.ctl("lock", "web", "--reason=x")["error"] == "not_durable"
    for name in os.listdir(teal.disk):
        if name != "filler" and os.path.isfile(os.path.join(teal.disk, name)):
            shutil.copy(os.path.join(teal.disk, name), teal.state_dir / name)
    teal.kill()
    teal.start()
    s = teal.status()
    assert (s["active"], s["epoch"], s["locked"]) == ("blue", 2, None)


def test_a_state_dir_that_has_gone_is_not_durable_either(web):
    teal = web()
    away = teal.state_dir.with_name("away")
    teal.state_dir.rename(away)
    r = teal.ctl("flip", "web", "blue")
    assert (r["error"], r["changed"]) == ("not_durable", False), r
    assert teal.connect().echo().peer == "green"
    away.rename(teal.state_dir)
    assert teal.ok("flip", "web", "blue")["epoch"] == 2


def checked(teal):
    teal.conf.write_text(libconfig.dumps(teal.settings))
    return subprocess.run([scale.BUILD / "teald", "-t", "-c", teal.conf], capture_output=True, text=True,
                          timeout=scale.patience())


def test_many_services_that_lost_their_names_are_told_of_once_each(teal, backend, ports):
    """However many there are of both."""
    g, b = backend("green"), backend("blue")
    t = teal(services=[service(f"old{n}", listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[b]) for n in range(4)])
    for n in range(4):
        t.ok("flip", f"old{n}", "blue")
    t.stop()
    for n, s in enumerate(t.settings["services"]):
        s["name"] = f"new{n}"
    t.settings["services"][3]["rename"] = "old3"
    assert checked(t).stderr.count(" and 2 more, which the file has not") == 3
    t.start()
    lines = t.log_lines("store.orphan")
    assert [(o["service"], o["was"], o["orphans"]) for o in lines] == [(f"new{n}", "old0", 3) for n in range(3)]
    assert t.status("new3")["active"] == "blue"


def test_a_service_that_lost_its_name_is_told_of(web):
    """Renamed without `rename` it would begin anew in silence."""
    teal = web()
    teal.ok("flip", "web", "blue")
    teal.stop()
    teal.settings["services"][0]["name"] = "shop"
    said = checked(teal)
    assert (said.returncode, "orphan" in said.stderr) == (0, False)
    assert re.search(r'teal.conf:\d+: service "shop": the state in .* begins with green; but it knows "web" \(blue, epoch 2\)'
                     r'.* rename = "web" \(warning\)', said.stderr), said.stderr
    teal.settings["services"][0]["rename"] = "web"
    assert "rename" not in checked(teal).stderr
    del teal.settings["services"][0]["rename"]
    before = (teal.state_dir / "teal.state").read_bytes()
    checked(teal)
    assert (teal.state_dir / "teal.state").read_bytes() == before
    teal.start()
    line = teal.wait_log("store.orphan", level="warn")
    assert (line["service"], line["was"], line["color"], line["epoch"]) == ("shop", "web", "blue", 2)
    assert teal.status("shop")["active"] == "green"
    teal.restart()
    assert not teal.log_lines("store.orphan")  # it is known now
