"""Clients of the admin listener: by a certificate or a token, by hand and by the real tealctl."""
import os
import socket
import subprocess

from . import scale
from .admin import Admin
from .certificates import Authority, trusting


class NetAdmin(Admin):
    """One connection to the admin listener.  token: is shown, and its answer is .greeting."""

    def __init__(self, address, context, token=None, source=None, timeout=None):
        sock = socket.create_connection(address, timeout or scale.patience(), source_address=source)
        try:
            self.sock = context.wrap_socket(sock, server_hostname="lb.example")
        except BaseException:
            sock.close()
            raise
        self._rest = b""
        self.greeting = None
        if token is not None:
            self.sock.sendall(f"auth {token}\n".encode())
            self.greeting = self.object()


class Listener:
    """What a teald needs to have an admin listener; .settings go into its section admin."""

    def __init__(self, folder, port, *, tokens=True, host="127.0.0.1", **tls):
        self.folder = folder / "admin"
        self.folder.mkdir(exist_ok=True)
        self.ca = Authority(self.folder, "Admin CA")
        self.address = (host, port)
        self.token_file = self.folder / "tokens"
        self.settings = {"listen": f"{host}:{port}",
                         "tls": {**self.ca.issue("lb", "lb.example", "127.0.0.1"), "client_ca": str(self.ca.pem), **tls}}
        if tokens:
            self.token_file.touch(0o640)
            self.settings["token_file"] = str(self.token_file)

    def token(self, name, *more):
        """A new one, by teald; more: what stands behind it in the file."""
        p = subprocess.run([str(scale.BUILD / "teald"), f"--new-token={name}"], capture_output=True, text=True)
        assert p.returncode == 0, p.stderr
        with open(self.token_file, "a") as f:
            f.write(" ".join([p.stdout.rstrip("\n"), *more]) + "\n")
        return p.stderr.strip()

    def connect(self, own=None, token=None, source=None, **context):
        return NetAdmin(self.address, trusting(self.ca, own=own, **context), token, source)

    def tealctl(self, *words, own=None, token=None, ca=None, address=None, env=None):
        """The real one; a CompletedProcess with text."""
        options = ["--ca", str(ca or self.ca.pem)]
        if own is not None:
            options += ["--cert", own["cert"], "--key", own["key"]]
        if token is not None:
            path = self.folder / f"token-{abs(hash(token))}"
            path.touch(0o600)
            path.write_text(token + "\n")
            options.append(f"--token-file={path}")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TEAL_") or k == "TEAL_BUILD"}
        return subprocess.run(
            [str(scale.BUILD / "tealctl"), "-s", "tls://%s:%d" % (address or self.address), *options, *map(str, words)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * scale.patience(), env=clean | (env or {}))


class Caller:
    """Someone who comes by the admin listener, as Person does by the socket."""

    def __init__(self, listener, own=None, token=None):
        self.listener, self.own, self.token = listener, own, token

    def ask(self, teal, *commands):
        """The last object of the reply to each command; of `events` the first."""
        replies = []
        for command in commands:
            words = command.split() if isinstance(command, str) else command
            with self.listener.connect(self.own, self.token) as a:
                assert self.token is None or a.greeting["ok"], a.greeting
                a.send(*words)
                while True:
                    o = a.object()
                    assert o is not None, command
                    if "ok" in o or o.get("event") == "events.listening":
                        replies.append(o)
                        break
        return replies
