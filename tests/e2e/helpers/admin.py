"""The admin socket, spoken by hand: one command a line, JSON objects back."""
import json
import socket
import struct
import time

from . import scale


def quote(word):
    """A word or --key=value as the line wants it."""
    if word.startswith("--") and "=" in word:
        key, value = word.split("=", 1)
        return f"{key}={quote(value)}" if value and not value.startswith("--") else f'{key}="{value}"'
    if word and not any(c in word for c in ' "\\'):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Reply(dict):
    """The last object of a reply; .events are those before it, .at is when it
    was read (time.monotonic()), .began when the command was sent."""

    events = ()
    at = began = 0.0

    @property
    def seconds(self):
        return self.at - self.began

    def event(self, name):
        """The one progress object of that name."""
        found = [e for e in self.events if e["event"] == name]
        assert len(found) == 1, f"{name}: {found} in {self.events}"
        return found[0]


class Admin:
    """One connection to the admin socket."""

    def __init__(self, path, timeout=None):
        self.sock = socket.socket(socket.AF_UNIX)
        # Blocking, or a full queue would be an error: others connect too.
        seconds = int(timeout or scale.patience())
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", seconds, 0))
        self.sock.connect(path)
        self.sock.settimeout(timeout or scale.patience())
        self._rest = b""

    def send(self, *words):
        self.sock.sendall((" ".join(map(quote, words)) + "\n").encode())

    def object(self):
        """The next object; None when teald has closed."""
        while b"\n" not in self._rest:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                assert self._rest == b"", f"half a line at the end: {self._rest!r}"
                return None
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        o = json.loads(line)
        assert isinstance(o, dict), line
        return o

    def reply(self, began=0.0):
        """Reads up to the object with "ok"."""
        events = []
        while True:
            o = self.object()
            assert o is not None, f"closed before the last object; events: {events}"
            if "ok" in o:
                break
            assert "event" in o, o
            events.append(o)
        r = Reply(o)
        r.at, r.began, r.events = time.monotonic(), began, events
        assert isinstance(r["ok"], bool), r
        if not r["ok"]:
            assert isinstance(r["error"], str) and isinstance(r["message"], str) and r["message"], r
        return r

    def command(self, *words):
        began = time.monotonic()
        self.send(*words)
        return self.reply(began)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
