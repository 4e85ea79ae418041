"""The file is broken when the serving process dies: its successor serves by the
copy of what was obeyed last, and says so until the file has been mended."""
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import tempfile

import pytest

from helpers import libconfig
from helpers.http1 import Http
from helpers.reload import change, reload
from helpers.scale import until
from helpers.teald import service
from test_supervisor import kill, supervised  # noqa: F401: a fixture


def kept(teal, text):
    """Waits until the copy has that in it; its path."""
    path = pathlib.Path(teal.settings["state_dir"]) / "teal.config"
    wanted = text if isinstance(text, bytes) else text.encode()
    until(lambda: path.exists() and wanted in path.read_bytes(), f"the copy has {text!r}")
    return path


def test_a_refused_file_does_not_stand_in_the_way_of_a_restart(supervised):
    teal = supervised(drain={"timeout": 36000.0})
    kept(teal, "timeout = 36000.0")
    change(teal, drain={"timeout": 4321.0})
    reload(teal)
    path = kept(teal, "timeout = 4321.0")
    assert path.stat().st_mode & 0o777 == 0o600
    checksum = teal.ok("status")["config"]["checksum"]
    good = teal.conf.read_text()
    teal.conf.write_text(good.replace('mode = "tcp"', 'mode = "tpc"'))
    assert teal.ctl("reload")["error"] == "config"
    teal.wait_log("reload.failed")
    for n in (1, 2):
        kill(teal)
        line = teal.wait_log("config.fallback", n)
        assert line["level"] == "error" and "1 error in the file" in line["message"] and "tpc" in line["message"]
        assert "tpc" in teal.wait_log("config.error", n + 1)["message"]
        assert teal.connect().peer == "green"
    status = teal.ok("status")["config"]
    assert (status["fallback"], status["last_reload_successful"], status["checksum"]) == (True, False, checksum)
    keys = {k["key"]: k["value"] for k in teal.ok("config", "web")["services"][0]["keys"]}
    assert keys["drain.timeout"] == "4321"
    m = teal.metrics()
    assert m.get("teal_config_fallback") == 1 and m.get("teal_config_last_reload_successful") == 0
    assert "copy" in teal.tealctl("status", check=0).stdout
    p = teal.tealctl("reload", check=2)
    assert "tpc" in p.stderr
    assert teal.ok("status")["config"]["fallback"]
    # What is right again ends it, though nothing has changed for who is served.
    teal.conf.write_text(good)
    assert reload(teal)["changed"] is False
    assert teal.ok("status")["config"]["fallback"] is False
    assert teal.metrics().get("teal_config_fallback") == 0
    assert "copy" not in teal.tealctl("status", check=0).stdout


def test_the_copy_has_what_is_included(supervised, tmp_path):
    """As it was read, and by the paths it had: a file that is gone, and names beside it, change nothing."""
    teal = supervised()
    part = teal.conf.parent / "parts.d" / "stop.conf"
    part.parent.mkdir()
    part.write_text("stop: { timeout = 0.25; };\n")
    text = libconfig.dumps({k: v for k, v in teal.settings.items() if k != "stop"})
    teal.conf.write_text(text + '\n@include "parts.d/stop.conf"\n')
    reload(teal)
    kept(teal, "timeout = 0.25")
    checksum = teal.ok("status")["config"]["checksum"]
    part.unlink()
    kill(teal)
    assert "stop.conf cannot be read" in teal.wait_log("config.fallback")["message"]
    assert teal.ok("status")["config"]["checksum"] == checksum
    assert {k["key"]: k["value"] for k in teal.ok("config")["keys"]}["stop.timeout"] == "0.25"


@pytest.mark.parametrize("broken", [None, b""])
def test_the_copy_has_pages_and_maps(web, ports, tmp_path, broken):
    """They are the site's, and may be gone or wrong as the process dies."""
    files = {tmp_path / "503.html": b"<p>back at noon \xff</p>\n", tmp_path / "names.map": b"a.example\n"}
    for path, content in files.items():
        path.write_bytes(content)
    page, names = files
    teal = web(start=False, mode="http", maintenance=True, error_page=[{"status": 503, "file": str(page)}])
    teal.settings["services"].append(service("tenants", listen=f"127.0.0.1:{ports.hold()}", green=[teal.green], blue=[teal.blue],
                                             sni_map=str(names)))
    teal.start(supervised=True)
    kept(teal, b"back at noon")
    page.write_bytes(files[page].replace(b"noon", b"one"))
    reload(teal)
    kept(teal, b"back at one")
    for path in files:
        if broken is None:
            path.unlink()
        else:
            path.write_bytes(broken)
    kill(teal)
    assert "503.html" in teal.wait_log("config.fallback")["message"]
    with Http(teal.address("web")) as c:
        assert c.ask().body == b"<p>back at one \xff</p>\n"
    assert teal.status("tenants")["sni_map_names"] == 1
    assert teal.ctl("reload")["error"] == "config"
    for path, content in files.items():
        path.write_bytes(content)
    reload(teal)
    with Http(teal.address("web")) as c:
        assert c.ask().body == files[page]
    assert teal.ok("status")["config"]["fallback"] is False


def test_a_file_that_can_be_read_but_not_served(supervised):
    """Its port is taken, or its certificate is not there: the reload was refused, and so is the restart with it."""
    teal = supervised()
    kept(teal, "name = ")
    foreign = socket.socket()
    foreign.bind(("127.0.0.1", 0))
    foreign.listen()
    before = dict(teal.settings)
    change(teal, listen="127.0.0.1:%d" % foreign.getsockname()[1])
    assert teal.ctl("reload")["error"] == "config"
    os.kill(teal.serving(), signal.SIGKILL)
    line = teal.wait_log("config.fallback")
    assert "failed" in line["message"]
    assert teal.wait_log("teald.failed")
    teal.settings = before
    assert teal.connect().peer == "green"
    until(lambda: teal.ok("status")["config"]["fallback"], "it tells so")
    change(teal, tls={"certificates": [{"cert": "/nowhere/cert.pem"}]})
    assert teal.ctl("reload")["error"] == "config"
    kill(teal)
    assert "certificates" in teal.wait_log("config.fallback", 2)["message"]
    foreign.close()


def test_a_first_start_with_a_broken_file_is_refused_all_the_same(supervised):
    teal = supervised()
    kept(teal, "name = ")
    assert teal.stop() == 0
    teal.settings["no_such_key"] = 1
    status, text = teal.start_refused(supervised=True)
    assert status == 2 and "no_such_key" in text


@pytest.mark.parametrize("damage", ["cut", "other", "writable", "gone"])
def test_a_copy_that_cannot_be_believed_is_not(supervised, damage):
    """It is said why, and the file is tried again and again, as without a copy."""
    teal = supervised("--max-restarts=1000")
    path = kept(teal, "name = ")
    good, bytes = teal.conf.read_text(), path.read_bytes()
    if damage == "cut":
        path.write_bytes(bytes[:-20])
    elif damage == "other":
        path.write_bytes(bytes.replace(b"name = ", b"nam3 = "))
    elif damage == "writable":
        path.chmod(0o620)
    else:
        path.unlink()
    teal.conf.write_text("broken")
    os.kill(teal.serving(), signal.SIGKILL)
    teal.wait_log("teald.crashed", count=2)
    assert "cannot be used" in teal.stderr()
    teal.conf.write_text(good)
    assert teal.connect().peer == "green"
    assert not teal.log_lines("config.fallback")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")
def test_root_believes_a_copy_no_more_than_its_owner(supervised):
    """The user who serves wrote it: it makes nobody root, and reads nothing that this user may not read."""
    folder = tempfile.mkdtemp(prefix="teal-", dir="/tmp")
    os.chown(folder, 65534, 65534)
    try:
        teal = supervised("--max-restarts=1000", top={"user": "nobody", "state_dir": f"{folder}/state"})
        path = kept(teal, "nobody")
        assert path.stat().st_uid == 65534 and path.stat().st_mode & 0o777 == 0o600
        good = teal.conf.read_text()
        teal.conf.write_text("broken")
        kill(teal)
        teal.wait_log("config.fallback")
        uid = pathlib.Path(f"/proc/{teal.serving()}/status").read_text().split("Uid:")[1].split()
        assert uid[:4] == ["65534"] * 4
        # A copy with a checksum that is right for what it says.
        text = path.read_text()
        head, body = text.split("\n", 2)[1:]
        body = body.replace('user = "nobody";', "# as root      ;")
        length, path_length = len(body) - 1, head.split()[0]
        checksum = hashlib.sha256(body[:-1].encode()).hexdigest()
        path.write_text(f"teal-config 1 sha256:{checksum}\n{path_length} {length} {teal.conf}\n{body}")
        teal.conf.write_text("broken")
        os.kill(teal.serving(), signal.SIGKILL)
        teal.wait_log("teald.crashed", count=3)
        assert "cannot be used" in teal.stderr()
        teal.conf.write_text(good)
        assert teal.connect().peer == "green"
        assert teal.stop() == 0  # it may be writing the copy there
    finally:
        shutil.rmtree(folder)
