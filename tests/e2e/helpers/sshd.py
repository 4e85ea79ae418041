"""A real sshd on a loopback port, for a user who exists only in its sight.

It runs in a mount namespace of its own, where /etc/passwd and the like have
one user more and /run is empty; nothing of the machine's own sshd is touched
or read.  Needs root, and a kernel that lets root make mount namespaces.
"""
import functools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from . import scale

USER, UID = "ci-shop", 4711

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile none
UsePAM no
StrictModes no
AuthorizedKeysFile {folder}/keys/%u
AuthenticationMethods publickey
PermitRootLogin no
MaxStartups 100
Subsystem sftp internal-sftp
SetEnv PATH={folder}/bin:/usr/bin:/bin
"""

CLIENT = """
Host lb
  HostName 127.0.0.1
  Port {port}
Host *
  User {user}
  HostKeyAlias lb
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  ControlPath none
  LogLevel ERROR
"""

# What the namespace looks like, then the command.
ENTER = """
set -e
cd "$1"
shift
for f in passwd group shadow; do mount --bind "$f" "/etc/$f"; done
if [ "$1" = sshd ]; then
	shift
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -m 755 /run/sshd
fi
exec "$@"
"""


@functools.lru_cache(None)
def why_not():
    """Why this machine cannot do it; None: it can."""
    if os.getuid() != 0:
        return "a user of its own for sshd: needs root"
    if not os.path.exists("/usr/sbin/sshd"):
        return "no /usr/sbin/sshd: tools/install-deps test"
    p = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    return f"no mount namespaces: {p.stderr}" if p.returncode else None


class Sshd:
    """.env makes tealctl use it: env={**os.environ, **sshd.env}."""

    def __init__(self, port):
        if why_not():
            pytest.skip(why_not())
        self.port = port
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="teal-ssh-", dir="/tmp"))
        self.folder.chmod(0o755)
        (self.folder / "keys").mkdir()
        (self.folder / "bin").mkdir()
        (self.folder / "home").mkdir()
        os.chown(self.folder / "home", UID, UID)
        shutil.copy(scale.BUILD / "tealctl", self.folder / "bin")
        for name, line in (("passwd", f"{USER}:x:{UID}:{UID}::{self.folder}/home:/bin/sh"),
                           ("group", f"{USER}:x:{UID}:"), ("shadow", f"{USER}:*:19000:0:99999:7:::")):
            mode = os.stat(f"/etc/{name}").st_mode
            (self.folder / name).write_text(pathlib.Path(f"/etc/{name}").read_text() + line + "\n")
            (self.folder / name).chmod(mode)
        for key in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / key], check=True)
        (self.folder / "known_hosts").write_text("lb " + (self.folder / "host_key.pub").read_text())
        (self.folder / "sshd_config").write_text(CONFIG.format(port=port, folder=self.folder))
        (self.folder / "ssh_config").write_text(CLIENT.format(port=port, folder=self.folder, user=USER))
        self.allow()
        self.env = {"TEAL_SSH": f"ssh -F {self.folder}/ssh_config"}
        self._log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            [*self.inside("sshd"), "/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config")],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True)
        scale.until(self._answers, "sshd answers")

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), scale.patience()) as s:
                return s.recv(4) == b"SSH-"
        except OSError:
            return False

    def inside(self, *more):
        """A prefix for commands that shall know the user, too."""
        return ["unshare", "--mount", "/bin/sh", "-c", ENTER, "sh", str(self.folder), *more]

    def allow(self, forced=None):
        """What the key may do: anything, or only the forced command."""
        options = "restrict" + (f',command="{forced}"' if forced else "")
        (self.folder / "keys" / USER).write_text(f"{options} {(self.folder / 'key.pub').read_text()}")

    def install_forced_command(self, *args):
        """The sample as `make install` would put it, and the key bound to it."""
        text = (scale.REPO / "conf/ssh/teal-forced-command").read_text()
        assert text.count("@BINDIR@") == 1
        script = self.folder / "teal-forced-command"
        script.write_text(text.replace("@BINDIR@", str(self.folder / "bin")))
        script.chmod(0o755)
        self.allow(" ".join([str(script), *args]))

    def ssh(self, *words):
        """ssh by hand, as somebody with the key might."""
        return subprocess.run([*self.env["TEAL_SSH"].split(), "-o", "BatchMode=yes", "lb", *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * scale.patience())

    def _descendants(self):
        """(pid, name) of everything below sshd."""
        children = {}
        for p in pathlib.Path("/proc").iterdir():
            if p.name.isdigit():
                try:
                    name, rest = (p / "stat").read_text().rsplit(")", 1)
                    children.setdefault(int(rest.split()[1]), []).append((int(p.name), name.split("(", 1)[1]))
                except (OSError, ValueError):
                    pass
        found, left = [], [self.process.pid]
        while left:
            for child in children.get(left.pop(), []):
                found.append(child)
                left.append(child[0])
        return found

    def running(self, name):
        """Pids of what runs here by that name for those who logged in."""
        return [pid for pid, n in self._descendants() if n == name]

    def cut(self):
        """Breaks every connection, and leaves what runs at its end alone."""
        for pid in self.running("sshd"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def close(self):
        orphans = [pid for pid, _ in self._descendants()]
        self.process.terminate()
        self.process.wait(scale.patience())
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
