"""Programs of the tests that are written in C: compiled once for a build, kept beside it."""
import fcntl
import functools
import hashlib
import os
import subprocess

from . import scale


@functools.lru_cache(None)
def compiled(name, sources, options=()):
    """The program (or with -shared the library) made of these sources (paths), newer headers beside them
    included. sources and options: tuples. One compilation, however many ask at once."""
    headers = sorted(h for s in {s.parent for s in sources} for h in s.glob("*.h"))
    text = b"".join(f.read_bytes() for f in (*sources, *headers)) + " ".join(options).encode()
    made = scale.BUILD / "e2e" / f"{name}-{hashlib.sha256(text).hexdigest()[:12]}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with open(made.parent / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            new = made.with_suffix(f".{os.getpid()}")
            subprocess.run([os.environ.get("CC") or "cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra",
                            "-Werror", "-o", new, *sources, *options], check=True)
            new.rename(made)
    return made
