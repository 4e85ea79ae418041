"""A teald that only plays a script: for tests of tealctl as such.

	Scripted(path, {"active shop": [{"ok": True, "service": "shop", "color": "blue"}]})

A script is a list of what is said to that line: an object, raw bytes, an
Event to wait for, or CLOSE.  `version` is answered as teald does unless the
script has it.  .lines are the lines that came, connection by connection.
"""
import json
import os
import socket
import threading

CLOSE = object()
VERSION = {"ok": True, "version": "9.8.7", "pid": 4711, "uptime": 12.3}


class Scripted:
    def __init__(self, path, script, accept=True):
        self.path, self.script = path, {"version": [VERSION]} | script
        self.lines = []
        self._threads, self._connections = [], []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(16)
        if accept:  # else it hangs: connects succeed, nobody reads
            self._spawn(self._accept)

    def _spawn(self, target, *args):
        t = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(t)
        t.start()

    def _accept(self):
        while True:
            try:
                s, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(s)
            self._spawn(self._serve, s)

    def _serve(self, s):
        try:
            with s, s.makefile("rb") as f:
                for raw in f:
                    line = raw.decode().rstrip("\n")
                    self.lines.append(line)
                    for part in self.script.get(line, [{"ok": False, "error": "usage", "message": "not in the script: " + line}]):
                        if part is CLOSE:
                            s.shutdown(socket.SHUT_RDWR)
                            return
                        if isinstance(part, threading.Event):
                            part.wait(60)
                        else:
                            s.sendall(part if isinstance(part, bytes) else json.dumps(part).encode() + b"\n")
        except OSError:
            pass  # the client left

    @property
    def commands(self):
        """The lines that are no greeting."""
        return [l for l in self.lines if l != "version"]

    def close(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for s in self._connections:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for t in self._threads:
            t.join(5)
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
