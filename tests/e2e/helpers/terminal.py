"""A terminal as a program and a person have it: a pty, and what is on its screen."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

import pyte

from . import scale


class Terminal:
    def __init__(self, *command, rows=24, columns=120, env=None):
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._master, self._slave = pty.openpty()
        self.raw = b""
        self._size(rows, columns)
        self.before = termios.tcgetattr(self._slave)
        clean = {k: v for k, v in os.environ.items() if k not in ("TEAL_SOCKET", "NO_COLOR")}
        self.process = subprocess.Popen(
            list(command), stdin=self._slave, stdout=self._slave, stderr=self._slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=clean | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | (env or {}))

    def _size(self, rows, columns):
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        """The kernel tells the program."""
        self.screen.resize(rows, columns)
        self._size(rows, columns)

    def press(self, keys):
        os.write(self._master, keys.encode())

    def _more(self, seconds=0.05):
        """Reads a piece of what there is; false: there is none."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        data = os.read(self._master, 65536)
        self.raw += data
        self._stream.feed(data)
        return True

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self):
        return "\n".join(self.lines)

    def wait(self, condition, what):
        """Until that is true of what is on the screen."""
        end = time.monotonic() + scale.patience()
        while not condition():
            assert time.monotonic() < end, f"never {what} on:\n{self.text}"
            self._more()

    def until(self, *parts):
        """Waits until all of that is to be read at a time."""
        self.wait(lambda: all(p in self.text for p in parts), parts)

    def row(self, start):
        """The words of the line that starts so, a cursor left out; None: none does."""
        for line in self.lines:
            if line.lstrip("> ").startswith(start):
                return line.lstrip("> ").split()
        return None

    def end(self):
        """Waits for the program's end; returns how it was."""
        end = time.monotonic() + scale.patience()
        while self.process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            self._more()
        while self._more(0):    # a terminal gives 4 KiB at a time
            pass
        return self.process.returncode

    @property
    def restored(self):
        """As it was before: echo and lines, the cursor, the first screen."""
        return (termios.tcgetattr(self._slave) == self.before and self.raw.rstrip().endswith(b"\x1b[?1049l") and
                self.raw.rfind(b"\x1b[?25h") > self.raw.rfind(b"\x1b[?25l"))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)
