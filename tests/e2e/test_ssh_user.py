"""conf/ssh as an operator uses it, from nothing: a user made by make-ci-user, a real sshd that judges files as it
does by default, a real teald with a role for that user, and the deploying machine's ssh_config."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from helpers import scale
from helpers.sshd import why_not

CONF = scale.REPO / "conf/ssh"

# /etc, /run and the homes of a machine that has neither user nor group; what is done there goes with it.
ENTER = """
set -e
mkdir -p "$1/etc"
[ -e "$1/etc/passwd" ] || cp -a /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/login.defs /etc/nsswitch.conf "$1/etc/"
mount --bind "$1/etc" /etc
mount --bind "$1/lib" /var/lib
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 755 /run/sshd
shift
exec "$@"
"""

SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile none
UsePAM no
Subsystem sftp internal-sftp
"""


class Machine:
    """Where teald is: commands run in one mount namespace that is kept by the first."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="teal-ci-", dir="/tmp"))
        self.folder.chmod(0o755)
        (self.folder / "lib").mkdir()
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "/bin/sh", "-c", ENTER, "sh", str(self.folder), "sh", "-c", "echo ready; exec sleep 3600"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.holder.stdout.readline() == "ready\n"
        self.prefix = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt"]

    def run(self, *words, **how):
        return subprocess.run([*self.prefix, *map(str, words)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=4 * scale.patience(), **how)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def machine(closing):
    if why_not():
        pytest.skip(why_not())
    return closing.add(Machine())


class Running:
    def __init__(self, *words):
        self.process = subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)

    def close(self):
        self.process.terminate()
        self.process.wait(scale.patience())


def installed(folder, name):
    """A script of conf/ssh as `make install` leaves it."""
    path = folder / name
    path.write_text((CONF / name).read_text().replace("@BINDIR@", str(folder / "bin")).replace("@DATADIR@", str(folder)))
    path.chmod(0o755)
    return path


def test_from_nothing_to_a_flip(machine, teal, backend, ports, closing):
    folder = machine.folder
    (folder / "bin").mkdir()
    shutil.copy(scale.BUILD / "tealctl", folder / "bin")
    for key in ("host_key", "ci-shop"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    port = ports.hold()
    (folder / "sshd_config").write_text(SSHD.format(port=port, folder=folder))
    # The user, by the lines of the sample.
    script = installed(folder, "make-ci-user")
    forced = installed(folder, "teal-forced-command")
    made = machine.run(script, "ci-shop", "deploy", folder / "ci-shop.pub")
    assert made.returncode == 0, made.stderr
    again = machine.run(script, "ci-shop", "deploy", folder / "ci-shop.pub")
    assert again.returncode != 0 and "already exists" in again.stderr
    # teald, as that machine's root starts it: it knows the group and the role's user.
    from helpers.teald import service
    socket = folder / "admin.sock"
    g, b = backend("green"), backend("blue")
    t = teal(start=False, admin={
        "socket": str(socket), "group": "deploy", "mode": "0660",
        "roles": [{"user": "ci-shop", "services": ["shop"], "allow": ["read", "flip"]}]},
        services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[b]) for n in ("shop", "pay")])
    t.start(prefix=machine.prefix)
    # The forced command has the socket of the sample; here it is another one.
    keys = folder / "lib/teal-ci/ci-shop/.ssh/authorized_keys"
    keys.write_text(keys.read_text().replace(f'command="{forced}"', f'command="{forced} {socket}"'))
    assert keys.stat().st_uid == 0
    closing.add(Running(*machine.prefix, "/usr/sbin/sshd", "-D", "-f", folder / "sshd_config"))
    # The machine that deploys: the sample with that address and key.
    home = folder / "ci"
    home.mkdir()
    config = (CONF / "ssh_config").read_text().replace("lb.example", "127.0.0.1").replace("~/.ssh/ci-shop", str(folder / "ci-shop"))
    assert "~/.ssh/teal-%C" in config
    config = config.replace("~/.ssh/teal-%C", f"{home}/teal-%C") + \
        f"\tPort {port}\n\tUserKnownHostsFile {home}/known\n\tStrictHostKeyChecking accept-new\n"
    (home / "config").write_text(config)
    ssh = ["ssh", "-F", str(home / "config")]
    env = os.environ | {"TEAL_SSH": " ".join(ssh)}

    def tealctl(*words):
        return subprocess.run([str(scale.BUILD / "tealctl"), "-s", "ssh://lb", *words], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=4 * scale.patience(), env=env)
    scale.until(lambda: tealctl("active", "shop").returncode == 0, "ssh gets through", every=0.2)
    try:
        # One connection for all of them.
        assert subprocess.run([*ssh, "-O", "check", "lb"], capture_output=True).returncode == 0
        flipped = tealctl("flip", "shop", "blue", "--reason=deploy 8812")
        assert flipped.returncode == 0, flipped.stderr
        assert t.status("shop")["changed_by"] == "ci-shop"
        denied = tealctl("flip", "pay", "blue")
        assert denied.returncode == 3, (denied.stdout, denied.stderr)
        assert tealctl("stop").returncode == 3
        # No shell, no files, no tunnel.
        for words in (["id"], ["sh"], []):
            p = subprocess.run([*ssh, "lb", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
            assert p.returncode == 3 and "tealctl" in p.stderr, p
        assert subprocess.run(["sftp", "-F", str(home / "config"), "-b", "/dev/null", "lb"], capture_output=True,
                              stdin=subprocess.DEVNULL).returncode != 0
    finally:
        subprocess.run([*ssh, "-O", "exit", "lb"], capture_output=True)
    # Why the password is "*": a locked account has no keys.
    assert machine.run("passwd", "--lock", "ci-shop").returncode == 0
    assert tealctl("active", "shop").returncode != 0
