"""Stops a process, or one thread of it and only that one."""
import contextlib
import ctypes
import os
import signal

import pytest

from .scale import asleep, until

SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, tid):
    if _libc.ptrace(request, tid, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def held(pid, name):
    """With the thread of that name stopped, as a debugger would; skips the
    test where that is not allowed."""
    for task in os.listdir(f"/proc/{pid}/task"):
        if open(f"/proc/{pid}/task/{task}/comm").read().strip() == name:
            tid = int(task)
            break
    else:
        raise AssertionError(f"no thread {name}")
    try:
        _ptrace(SEIZE, tid)
    except PermissionError:
        pytest.skip("not allowed to stop a thread (ptrace)")
    try:
        _ptrace(INTERRUPT, tid)
        os.waitpid(tid, WALL)
        yield
    finally:
        _ptrace(DETACH, tid)


@contextlib.contextmanager
def stopped(t):
    """What happens meanwhile, teald finds in one turn of its loop, in the order in which it happened: it waited
    before, for what it has just served stays in the kernel's list of what is ready until it asks again."""
    def stands_still():
        states = [open(f"/proc/{t.pid}/task/{thread}/stat").read().rsplit(")", 1)[1].split()[0]
                  for thread in os.listdir(f"/proc/{t.pid}/task")]
        return set(states) == {"T"}
    until(lambda: asleep(t.pid, looks=3), "it waits for events")
    os.kill(t.pid, signal.SIGSTOP)
    try:
        until(stands_still, "all threads are stopped")
        yield
    finally:
        os.kill(t.pid, signal.SIGCONT)
