"""A network of its own behind a cable (a network namespace and a veth pair),
where packets can be lost.  Root only."""
import ctypes
import functools
import os
import random
import subprocess
import threading

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _run(*words, **how):
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30, **how)


@functools.lru_cache(None)
def possible():
    """Whether this machine lets us."""
    if os.geteuid() != 0:
        return False
    try:
        n = Network()
    except (OSError, subprocess.SubprocessError):
        return False
    n.close()
    return True


class Network:
    """.here and .there: the addresses of the cable's two ends."""

    def __init__(self):
        self._process = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 3600"],
                                         stdout=subprocess.PIPE)
        try:
            assert self._process.stdout.readline() == b"ready\n"
            a, b = random.randrange(256), random.randrange(0, 256, 4)
            self.here, self.there = f"198.18.{a}.{b + 1}", f"198.18.{a}.{b + 2}"
            self._pid = str(self._process.pid)
            self._cable = f"teal{self._pid}"
            _run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._pid)
            _run("ip", "address", "add", f"{self.here}/30", "dev", self._cable)
            _run("ip", "link", "set", self._cable, "up")
            self.run("ip", "address", "add", f"{self.there}/30", "dev", "eth0")
            self.run("ip", "link", "set", "eth0", "up")
            self.run("ip", "link", "set", "lo", "up")
            self.run("nft", "add table inet lost; add chain inet lost in { type filter hook input priority 0; }; "
                            "add chain inet lost out { type filter hook output priority 0; }")
        except BaseException:
            self.close()
            raise

    def run(self, *words):
        return _run("nsenter", "-t", self._pid, "-n", *words)

    def lose(self, rule="", both=True):
        """From now on what the rule says ("tcp dport 80 …") is lost there; all
        of it without one."""
        for chain in ("in", "out") if both else ("in",):
            self.run("nft", f"add rule inet lost {chain} {rule} drop")

    def mend(self):
        self.run("nft", "flush table inet lost")

    def do(self, f):
        """f() in a thread that lives there: its sockets, and those of the
        threads it starts, are there."""
        out = []

        def there():
            fd = os.open(f"/proc/{self._pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(fd, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                out.append(f())
            finally:
                os.close(fd)
        t = threading.Thread(target=there)
        t.start()
        t.join()
        return out[0]

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        if hasattr(self, "_cable"):
            # It goes with the namespace, in its own time; here it shall be at once.
            subprocess.run(["ip", "link", "del", self._cable], capture_output=True, timeout=30)
