"""Memory that is out now and then, for one teald's workers.

	memory = FailingMemory(folder)
	t.start(env=memory.env())
	memory.fail(20)		from now on 20 of 1,000 requests for memory are refused
	memory.failed		so many were

failing_memory.c says how, and what is never refused.
"""
import fcntl
import functools
import hashlib
import os
import pathlib
import struct
import subprocess

from . import scale

SOURCE = pathlib.Path(__file__).with_suffix(".c")


@functools.lru_cache(None)
def library():
    """The compiled library, made once for this build."""
    source = SOURCE.read_bytes()
    folder = scale.BUILD / "e2e"
    made = folder / f"failing_memory-{hashlib.sha256(source).hexdigest()[:12]}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "failing_memory.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            new = made.with_suffix(f".{os.getpid()}")
            subprocess.run([os.environ.get("CC") or "cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra",
                            "-Werror", "-fPIC", "-shared", "-o", new, SOURCE, "-ldl"], check=True)
            new.rename(made)
    return made


class FailingMemory:
    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "memory"
        self.path.write_bytes(bytes(32))
        self.path.chmod(0o666)

    def env(self):
        return {"LD_PRELOAD": str(library()), "TEAL_FAILING_MEMORY": str(self.path)}

    def fail(self, permille, only_tls=False):
        with open(self.path, "r+b", buffering=0) as f:
            os.pwrite(f.fileno(), struct.pack("q", only_tls), 24)
            os.pwrite(f.fileno(), struct.pack("q", permille), 0)

    @property
    def failed(self):
        return struct.unpack_from("q", self.path.read_bytes(), 16)[0]
