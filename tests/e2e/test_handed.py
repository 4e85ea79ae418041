"""Listening sockets that a service manager opened (LISTEN_FDS) are served, each
with what was queued in it before teald came."""
import os
import signal
import socket
import sys

import pytest

from helpers.scale import until

# Execs the rest with these sockets, which listen already, from descriptor 3 on.
HAND = """
import os, socket, sys
n = int(sys.argv[1])
made = []
for at in sys.argv[2:2 + n]:
    s = socket.socket(socket.AF_UNIX if at[0] == "/" else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(at if at[0] == "/" else ("127.0.0.1", int(at)))
    s.listen(16)
    made.append(os.dup2(s.detach(), 50 + len(made)))
for i, fd in enumerate(made):
    os.dup2(fd, 3 + i)
    os.close(fd)
print("handed", file=sys.stderr, flush=True)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), str(n)
os.execvp(sys.argv[2 + n], sys.argv[2 + n:])
"""


def inode(pid, port):
    """Of the listening socket of that port which a process holds."""
    rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    own = {os.stat(f"/proc/{pid}/fd/{fd}").st_ino for fd in os.listdir(f"/proc/{pid}/fd")}
    return {int(r[9]) for r in rows if r[3] == "0A" and int(r[1].split(":")[1], 16) == port} & own


def handed(*at):
    return sys.executable, "-c", HAND, str(len(at)), *map(str, at)


def test_a_port_and_a_path_are_adopted(web, ports):
    """Nobody else could have bound them: they listen without SO_REUSEPORT."""
    path = f"/tmp/teal-handed-{ports.hold()}"
    port, unasked = ports.hold(), ports.hold()
    teal = web(start=False, listen=[f"127.0.0.1:{port}", f"unix:{path}"], top={"workers": 3})
    try:
        teal.start(prefix=handed(port, path, unasked))
        assert {teal.connect(n=n).peer for n in (0, 1) for _ in range(12)} == {"green"}
        line = teal.wait_log("listen.handed_unused")
        assert line["count"] == 1
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", unasked))
        assert teal.stop() == 0
        # The file is the service manager's.
        assert os.path.exists(path)
    finally:
        os.unlink(path)


def test_a_supervisor_hands_them_on_and_keeps_them(web, ports):
    port = ports.hold()
    teal = web(start=False, listen=f"127.0.0.1:{port}", top={"workers": 1})
    teal.start(prefix=handed(port), supervised=True)
    serving = teal.serving()
    given = inode(serving, port)
    assert len(given) == 1 and given == inode(teal.pid, port)
    os.kill(serving, signal.SIGKILL)
    until(lambda: teal.connect().peer == "green" and teal.serving() != serving, "the next one serves")
    assert inode(teal.serving(), port) == given
