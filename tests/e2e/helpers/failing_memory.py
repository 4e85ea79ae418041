"""Memory that is out now and then, for one teald's workers.

	memory = FailingMemory(folder)
	t.start(env=memory.env())
	memory.fail(20)		from now on 20 of 1,000 requests for memory are refused
	memory.fail(1000, only_tls=True, least=8192)	all of OpenSSL's for so many bytes and more
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
        self.path.write_bytes(bytes(40))
        self.path.chmod(0o666)

    def env(self):
        return {"LD_PRELOAD": str(library()), "TEAL_FAILING_MEMORY": str(self.path)}

    def fail(self, permille, only_tls=False, least=0):
        with open(self.path, "r+b", buffering=0) as f:
            os.pwrite(f.fileno(), struct.pack("qq", only_tls, least), 24)
            os.pwrite(f.fileno(), struct.pack("q", permille), 0)

    @property
    def failed(self):
        return struct.unpack_from("q", self.path.read_bytes(), 16)[0]
