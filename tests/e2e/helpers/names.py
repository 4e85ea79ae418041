"""A name service of its own for one teald: the system's resolver, in a mount
namespace where /etc/hosts and /etc/resolv.conf are ours."""
import ctypes
import functools
import os
import random
import socket
import subprocess
import threading

from . import scale

# Truncating a file that is being read would show it empty for a moment.
SIZE = 4096
IN_OPEN = 0x20
EVENT = 16  # bytes of an inotify_event without a name
libc = ctypes.CDLL(None, use_errno=True)


@functools.lru_cache(None)
def unshare():
    """The words that begin a mount namespace; None: not on this machine."""
    for words in (["unshare", "-m"], ["unshare", "-rm"]):
        try:
            if subprocess.run([*words, "mount", "--bind", "/etc/hosts", "/etc/hosts"], capture_output=True,
                              timeout=scale.patience()).returncode == 0:
                return words
        except OSError:
            pass
    return None


class Names:
    """names["a.test"] = ["127.0.0.1", …]; teal.start(prefix=names.prefix).
    Other names are asked of `server`, by default one that is not there."""

    def __init__(self, folder, server="127.0.0.254", **known):
        self._hosts, self._resolv = folder / "hosts", folder / "resolv.conf"
        nss = folder / "nsswitch.conf"
        nss.write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        self._resolv.write_text(f"nameserver {server}\noptions timeout:30 attempts:5\n")
        self._fd = os.open(self._hosts, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._known = {}
        self._write()
        script = (f"mount --bind {self._hosts} /etc/hosts && mount --bind {self._resolv} /etc/resolv.conf && "
                  f"mount --bind {nss} /etc/nsswitch.conf && exec \"$@\"")
        self.prefix = [*unshare(), "sh", "-c", script, "sh"]
        self._watch = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        assert libc.inotify_add_watch(self._watch, bytes(self._hosts), IN_OPEN) >= 0

    def wait_asked(self, times=6):
        """Until the list of hosts was opened so many times more: once or twice by
        each look-up."""
        self._opened()  # those from before
        seen = 0

        def enough():
            nonlocal seen
            seen += self._opened()
            return seen >= times
        scale.until(enough, "names are looked up again")

    def _opened(self):
        try:
            return len(os.read(self._watch, 1 << 16)) // EVENT
        except BlockingIOError:
            return 0

    def _write(self):
        text = "127.0.0.1 localhost\n" + "".join(f"{a} {name}\n" for name, all in self._known.items() for a in all)
        os.pwrite(self._fd, text.ljust(SIZE - 1, "\n").encode() + b"\n", 0)

    def __setitem__(self, name, addresses):
        self._known[name] = addresses
        self._write()

    def __delitem__(self, name):
        del self._known[name]
        self._write()

    def close(self):
        os.close(self._fd)
        os.close(self._watch)


class SilentServer:
    """A DNS server that hears every question and answers none.  Root only: its
    port is 53."""

    def __init__(self):
        self.asked = threading.Event()
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # An address that another test on this machine hardly has.
        self.address = "127.%d.%d.%d" % tuple(random.randrange(1, 255) for _ in range(3))
        self._sock.bind((self.address, 53))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        try:
            while self._sock.recv(512):
                self.asked.set()
        except OSError:
            pass

    def close(self):
        self._sock.close()
