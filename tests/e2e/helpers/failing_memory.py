"""Memory that is out now and then, for one teald's workers.

	memory = FailingMemory(folder)
	t.start(env=memory.env())
	memory.fail(20)		from now on 20 of 1,000 requests for memory are refused
	memory.failed		so many were

failing_memory.c says how, and what is never refused.
"""
import os
import pathlib
import struct

from .compiled import compiled

SOURCE = pathlib.Path(__file__).with_suffix(".c")


def library():
    """The compiled library, made once for this build."""
    return compiled("failing_memory.so", (SOURCE,), ("-fPIC", "-shared", "-ldl"))


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
