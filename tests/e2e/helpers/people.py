"""Other users of this machine, who talk to the admin socket as themselves.

They are system users that every Debian has; what they are told to be, user,
group and further groups, is what the kernel then says of them.  Needs root.
"""
import grp
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile

import pytest

from . import scale
from .admin import quote

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="becomes other users: needs root")

# One connection a command: `events` never gives its own back.
TALK = """
import json, socket, sys
path, lines = json.load(sys.stdin)
replies = []
for line in lines:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(%f)
    s.connect(path)
    s.sendall(line.encode() + b"\\n")
    for raw in s.makefile("rb"):
        o = json.loads(raw)
        if "ok" in o or o.get("event") == "events.listening":
            replies.append(o)
            break
    s.close()
json.dump(replies, sys.stdout)
"""


class Person:
    """A user, by name; group and groups by name or number, none of them looked
    up from the user's own."""

    def __init__(self, user, group="nogroup", groups=()):
        self.user, self.uid = user, pwd.getpwnam(user).pw_uid
        self.gid = self._gid(group)
        self.groups = [self._gid(g) for g in groups]

    @staticmethod
    def _gid(group):
        return group if isinstance(group, int) else grp.getgrnam(group).gr_gid

    def run(self, args, **how):
        return subprocess.run(args, user=self.uid, group=self.gid, extra_groups=self.groups, umask=0o022, cwd="/",
                              capture_output=True, text=True, timeout=4 * scale.patience(), **how)

    def ask(self, teal, *commands):
        """The last object of the reply to each command, a sequence of words; of
        `events` the first."""
        lines = [" ".join(map(quote, c.split() if isinstance(c, str) else c)) for c in commands]
        p = self.run([sys.executable, "-c", TALK % scale.patience()], input=json.dumps([teal.admin_path, lines]))
        assert p.returncode == 0, p.stderr
        replies = json.loads(p.stdout)
        assert len(replies) == len(commands), replies
        return replies

    def tealctl(self, teal, *words):
        """The real tealctl; a CompletedProcess with text."""
        with tempfile.TemporaryDirectory(prefix="teal-", dir="/tmp") as folder:
            os.chmod(folder, 0o755)     # the build may be where others cannot go
            program = shutil.copy(scale.BUILD / "tealctl", folder)
            return self.run([program, "-s", teal.admin_path, *map(str, words)], stdin=subprocess.DEVNULL)
