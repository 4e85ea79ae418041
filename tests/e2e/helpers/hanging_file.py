"""A file on a disk that does not answer: open(2) of it hangs, until it is let go.

The kernel asks a listener of fanotify(7) before it opens the file, and ours says
nothing. What closes the listener, the end of the test at the latest, lets all go on.
Needs root, and a kernel with permission events: needs_hanging_files.
"""
import ctypes
import os
import tempfile

import pytest

FAN_CLOEXEC, FAN_NONBLOCK, FAN_CLASS_CONTENT = 1, 2, 4
FAN_MARK_ADD, FAN_OPEN_PERM = 1, 0x10000
AT_FDCWD = -100

libc = ctypes.CDLL(None, use_errno=True)


class HangingFile:
    def __init__(self, path):
        self.fd = libc.fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK, os.O_RDONLY)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "fanotify_init")
        if libc.fanotify_mark(self.fd, FAN_MARK_ADD, ctypes.c_uint64(FAN_OPEN_PERM), AT_FDCWD, os.fsencode(path)) != 0:
            self.close()
            raise OSError(ctypes.get_errno(), "fanotify_mark")

    def has_a_reader(self):
        """Has somebody come to open it?"""
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:
            return False
        return True

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def _works():
    if os.getuid() != 0:
        return False
    with tempfile.NamedTemporaryFile() as f:
        try:
            HangingFile(f.name).close()
        except OSError:
            return False
    return True


needs_hanging_files = pytest.mark.skipif(not _works(), reason="needs root and fanotify's permission events")
