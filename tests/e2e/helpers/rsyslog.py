"""A real rsyslogd that writes what it is sent, field by field, into a file; its limits are those it comes with."""
import json
import socket
import subprocess

from . import scale

CONF = """
global(workDirectory="{folder}")
module(load="im{kind}"{module})
input(type="im{kind}" {input})
template(name="fields" type="list" option.jsonf="on") {{
	property(outname="host" name="hostname" format="jsonf")
	property(outname="app" name="app-name" format="jsonf")
	property(outname="pid" name="procid" format="jsonf")
	property(outname="id" name="msgid" format="jsonf")
	property(outname="facility" name="syslogfacility-text" format="jsonf")
	property(outname="severity" name="syslogseverity-text" format="jsonf")
	property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
	property(outname="version" name="protocol-version" format="jsonf")
	property(outname="msg" name="msg" format="jsonf")
}}
action(type="omfile" file="{folder}/messages" template="fields")
"""


class Rsyslog:
    """kind: "udp", "tcp" (a port), or "uxsock" (the socket in its folder)."""

    def __init__(self, folder, kind, port=None):
        folder.mkdir()
        self.folder, self.kind, self.port = folder, kind, port
        self.socket = folder / "log"
        self.process = None
        # Unix socket addresses are short: the caller's folder has to be.
        where = f'Socket="{self.socket}" CreatePath="off" UseSpecialParser="off" ParseHostname="on"' if kind == "uxsock" \
            else f'address="127.0.0.1" port="{port}"'
        module = ' SysSock.Use="off"' if kind == "uxsock" else ""
        (folder / "conf").write_text(CONF.format(folder=folder, kind=kind, input=where, module=module))

    @property
    def address(self):
        return f"unix:{self.socket}" if self.kind == "uxsock" else f"{self.kind}://127.0.0.1:{self.port}"

    def start(self):
        self.process = subprocess.Popen(["rsyslogd", "-n", "-f", str(self.folder / "conf"), "-i", str(self.folder / "pid")],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(self.folder / "stderr", "ab"))
        # A socket that is bound and does not listen, as a held port, is in another state.
        table, row = {"udp": ("udp", f":{self.port:04X} "), "uxsock": ("unix", str(self.socket)),
                      "tcp": ("tcp", f":{self.port:04X} 00000000:0000 0A ")}[self.kind]
        scale.until(lambda: self._lives() and row in open(f"/proc/net/{table}").read(), "rsyslogd listens")
        return self

    def _lives(self):
        assert self.process.poll() is None, (self.folder / "stderr").read_text()
        return True

    def note(self, event):
        """A line of such an event, by the test itself: what came to its socket before is written before."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b'<134>1 - host test 1 note - {"event": "%s"}' % event.encode(), str(self.socket))

    def messages(self, event=None, **fields):
        """What it has written so far, parsed; .line is the log line in it, None: that was no whole one."""
        try:
            text = (self.folder / "messages").read_text(errors="replace")
        except FileNotFoundError:
            return []
        found = []
        for raw in text[:text.rfind("\n") + 1].splitlines():  # the last may be half written
            m = json.loads(raw)
            try:
                m["line"] = json.loads(m["msg"])
            except ValueError:
                m["line"] = None
            if event is None or (m["line"] or {}).get("event") == event and \
                    all(m["line"].get(k) == v for k, v in fields.items()):
                found.append(m)
        return found

    def wait(self, event, n=1, **fields):
        """Until n such lines are there; the n-th."""
        def there():
            found = self.messages(event, **fields)
            return found[n - 1] if len(found) >= n else None
        return scale.until(there, f"{n} x {event} {fields} in rsyslog")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(scale.patience())
