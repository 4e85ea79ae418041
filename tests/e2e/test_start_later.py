"""What cannot be looked up or read at this moment is no fault of the
configuration: the exit status lets the unit try again."""
import os
import shutil
import subprocess
import tempfile

import pytest

from helpers.names import unshare
from helpers.people import Person, needs_root
from helpers.scale import BUILD, REPO, patience

pytestmark = [needs_root, pytest.mark.skipif(os.getuid() == 0 and not unshare(), reason="needs a mount namespace")]

CONF = """
state_dir = "%s/state";
%s
services = ( { name = "web"; listen = "127.0.0.1:1"; green: { backends = ["127.0.0.1:2"]; }; blue: { backends = ["127.0.0.1:3"]; }; } );
"""


@pytest.fixture
def check():
    """check(keys, shut): teald -t as the user games, to whom the file `shut` is closed."""
    with tempfile.TemporaryDirectory(prefix="teal-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        program, closed, conf = shutil.copy(BUILD / "teald-serve", folder), f"{folder}/closed", f"{folder}/teal.conf"
        nss = f"{folder}/nsswitch.conf"
        with open(nss, "w") as f:
            f.write("passwd: files\ngroup: files\n")
        open(closed, "w").close()
        os.chmod(closed, 0o600)
        games = Person("games")

        def run(keys, shut):
            with open(conf, "w") as f:
                f.write(CONF % (folder, keys))
            words = [*unshare(), "sh", "-c", f"mount --bind {nss} /etc/nsswitch.conf && mount --bind {closed} {shut} && exec \"$@\"", "sh",
                     "setpriv", f"--reuid={games.uid}", f"--regid={games.gid}", "--clear-groups", program, "-t", "-c", conf]
            p = subprocess.run(words, capture_output=True, text=True, timeout=patience())
            return p.returncode, p.stderr
        yield run


@pytest.mark.parametrize("keys,shut,words", [
    ('user = "games";', "/etc/passwd", 'user: the user "games" cannot be looked up now'),
    ('admin: { group = "nogroup"; };', "/etc/group", 'admin.group: the group "nogroup" cannot be looked up now'),
    ('admin: { roles = ( { user = "news"; services = "*"; allow = "read"; } ); };', "/etc/passwd",
     'the user "news" cannot be looked up now'),
    ('admin: { roles = ( { group = "news"; services = "*"; allow = "read"; } ); };', "/etc/group",
     'the group "news" cannot be looked up now')], ids=["user", "group", "role's user", "role's group"])
def test_a_directory_that_does_not_answer_is_no_mistake_of_the_file(check, keys, shut, words):
    status, stderr = check(keys, shut)
    assert status == 1 and words in stderr, (status, stderr)
    # With a mistake of its own besides it stays refused.
    status, stderr = check(keys + " worker = 1;", shut)
    assert status == 2 and words in stderr and "worker" in stderr, (status, stderr)


def test_what_does_not_exist_is_one(check):
    status, stderr = check('user = "no-such-user-here";', "/etc/motd")
    assert status == 2 and 'there is no user "no-such-user-here"' in stderr


def test_the_unit_starts_what_may_go_well_later():
    text = (REPO / "conf/teald.service").read_text()
    assert "nss-user-lookup.target" in text
    lines = dict(l.split("=", 1) for l in text.splitlines() if "=" in l and not l.startswith("#"))
    assert lines["Restart"] == "on-failure" and lines["RestartPreventExitStatus"] == "2"
    assert lines["StartLimitIntervalSec"] == "0"    # and does not give up
