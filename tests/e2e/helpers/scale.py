"""How much and how long: full counts with TEAL_SOAK=1, about a twentieth else."""
import functools
import os
import pathlib
import pwd
import random
import time

REPO = pathlib.Path(__file__).resolve().parents[3]
ME = pwd.getpwuid(os.getuid()).pw_name  # who speaks to the admin socket
BUILD = pathlib.Path(os.environ.get("TEAL_BUILD") or "build")
if not BUILD.is_absolute():
    BUILD = REPO / BUILD
SOAK = os.environ.get("TEAL_SOAK") == "1"
# What dice are thrown by: TEAL_SEED=N, else the same in each run, so that none fails by bad luck; each soak has its own.
SEED = int(os.environ.get("TEAL_SEED") or (random.SystemRandom().randrange(1 << 30) if SOAK else 1))


def dice(part=None):
    """A random.Random made of SEED, which the report of a failing test shows; of SEED and `part` for one of many."""
    return random.Random(SEED if part is None else f"{SEED} {part}")


def scaled(full, normal=None):
    """The full count under TEAL_SOAK=1, else `normal`, or a twentieth."""
    if SOAK:
        return full
    return normal if normal is not None else max(1, full // 20)


@functools.lru_cache(None)
def sanitizer():
    """"asan", "tsan" or None: what teald was built with."""
    try:
        binary = (BUILD / "teald-serve").read_bytes()
    except OSError:
        return None
    if b"__tsan_init" in binary:
        return "tsan"
    return "asan" if b"__asan_init" in binary else None


def slow():
    """By how much everything may be slower than a plain build."""
    return {"asan": 3, "tsan": 8}.get(sanitizer(), 1)


PATIENCE = 60.0  # and twice that under a sanitizer


def patience():
    """The one limit of every wait: seconds that only a hang reaches, however
    slow the machine is. No test says how soon something must happen."""
    return PATIENCE * (2 if sanitizer() else 1)


def asleep(pid, looks=1, apart=()):
    """Are all threads of that process but those asleep, at so many looks in a row?
    One that has something to do is not, even if it has to wait for a CPU."""
    for _ in range(looks):
        for tid in os.listdir(f"/proc/{pid}/task"):
            if int(tid) in apart:
                continue
            try:
                with open(f"/proc/{pid}/task/{tid}/stat") as f:
                    if f.read().rsplit(")", 1)[1].split()[0] != "S":
                        return False
            except (FileNotFoundError, ProcessLookupError):
                return False  # it has just ended
    return True


def until(condition, what, timeout=None, every=0.01):
    """Polls until condition() is true and returns its value; the longer that takes, the less often."""
    begun = time.monotonic()
    end = begun + (timeout or patience())
    while True:
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"never happened: {what} (last seen: {value!r})")
        time.sleep(every and max(every, min(0.05, (now - begun) / 20)))
