"""Redis as the stories need it: real servers and sentinels that can be stopped,
replaced and robbed of their memory, and a stand-in between teald and them that
delays, cuts, hangs or talks rubbish."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from . import scale
from .ports import listener


class RedisError(Exception):
    """An error reply."""


class Connection:
    """A client of Redis' protocol, for the test's own questions."""

    def __init__(self, address, timeout=None):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout or scale.patience())
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection(address, timeout or scale.patience())
        self.file = self.sock.makefile("rb")

    def command(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed by Redis")
        kind, text = line[:1], line[1:-2]
        if kind == b"+":
            return text.decode()
        if kind == b"-":
            raise RedisError(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            if int(text) < 0:
                return None
            data = self.file.read(int(text) + 2)
            return data[:-2].decode(errors="replace")
        assert kind == b"*", line
        return None if int(text) < 0 else [self.reply() for _ in range(int(text))]

    def close(self):
        self.file.close()
        self.sock.close()


class Redis:
    """A redis-server of this test, at .port of 127.0.0.1 and the socket .path.

    options: lines of its configuration, as {"requirepass": "secret"}.
    """

    def __init__(self, port, options=None, password=None):
        self.port, self.password = port, password
        self.folder = tempfile.mkdtemp(prefix="teal-redis-", dir="/tmp")
        self.path = self.folder + "/redis.sock"
        self.options = {"port": port, "bind": "127.0.0.1", "unixsocket": self.path, "dir": self.folder,
                        "save": '""', "appendonly": "no", "daemonize": "no", "protected-mode": "no",
                        "enable-debug-command": "yes", "tcp-backlog": 128} | (options or {})
        self.process, self._own = None, None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"redis://{self.address}/0"

    def start(self, wait=True):
        assert self.process is None
        conf = self.folder + "/redis.conf"
        if not os.path.exists(conf):
            with open(conf, "w") as f:
                f.write("".join(f"{k} {v}\n" for k, v in self.options.items()))
        self.log = open(self.folder + "/log", "ab")
        self.process = subprocess.Popen([self.program, conf, *self.arguments], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        if wait:
            self.wait_up()
        return self

    program, arguments = "redis-server", ()

    def wait_up(self):
        def up():
            assert self.process.poll() is None, open(self.folder + "/log").read()[-2000:]
            try:
                return self("PING") == "PONG"
            except (OSError, RedisError):
                return False
        scale.until(up, "redis answers")

    def __call__(self, *words, again=True):
        """One command; its reply."""
        if self._own is None:
            own = Connection(("127.0.0.1", self.port))
            try:
                if self.password:
                    own.command("AUTH", self.password)
            except Exception:
                own.close()
                raise
            self._own = own
        try:
            return self._own.command(*words)
        except ConnectionError:
            # A failover ends connections; a server that died refuses the next.
            self._forget()
            if again:
                return self(*words, again=False)
            raise
        except (OSError, ValueError):
            self._forget()
            raise

    def _forget(self):
        if self._own is not None:
            self._own.close()
            self._own = None

    def hash(self, key):
        flat = self("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2]))

    def pause(self):
        """SIGSTOP: connections are still accepted, by the kernel."""
        self.process.send_signal(signal.SIGSTOP)
        # It takes effect when the process is next scheduled.
        scale.until(lambda: open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T",
                    "stopped", every=0.001)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        """SIGKILL; its port then refuses."""
        self._forget()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.log.close()

    def restart(self):
        self.kill()
        return self.start()

    def save(self):
        """A dump of now, as a file for load()."""
        self("SAVE")
        path = self.folder + "/dump.kept"
        shutil.copy(self.folder + "/dump.rdb", path)
        return path

    def load(self, dump):
        """Killed, and started again with that dump."""
        self.kill()
        shutil.copy(dump, self.folder + "/dump.rdb")
        return self.start()

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sentinel(Redis):
    """A redis-sentinel that watches a master."""

    program, arguments = "redis-server", ("--sentinel",)

    def __init__(self, port, master, name="mymaster", quorum=1):
        super().__init__(port)
        self.options = {"port": port, "bind": "127.0.0.1", "dir": self.folder, "protected-mode": "no",
                        "sentinel monitor": f"{name} 127.0.0.1 {master.port} {quorum}",
                        "sentinel down-after-milliseconds": f"{name} 600",
                        "sentinel failover-timeout": f"{name} 3000"}


class Proxy:
    """Between teald and Redis: .address is what teald is told.

    mode:	"pass"
        "delay"	whole pieces in each direction .seconds late
        "hang"	takes everything, answers nothing
        "cut"	closes what comes, at once
        or a function of the request's bytes that returns the answer
    Changing the mode ends the connections that are open, except to "delay" and
    "hang", which fall upon them.
    """

    def __init__(self, port, target):
        self.port, self.target = port, target
        self.address = f"127.0.0.1:{port}"
        self.url = f"redis://{self.address}/0"
        self.mode, self.seconds = "pass", 0.0
        self._lock, self._open = threading.Lock(), set()
        self._listener = listener("127.0.0.1", port)
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode, seconds=0.0):
        self.seconds, self.mode = seconds, mode
        if mode not in ("delay", "hang"):
            self.cut()

    def cut(self):
        """Ends every connection there is."""
        with self._lock:
            for s in self._open:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        server = None
        try:
            with self._lock:
                if self._ended or self.mode == "cut":
                    return
                self._open.add(client)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if callable(self.mode):
                answer = self.mode
                while data := client.recv(1 << 16):
                    client.sendall(answer(data))
                return
            server = socket.create_connection(("127.0.0.1", self.target.port), 5)
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(server)
            back = threading.Thread(target=self._move, args=(server, client), daemon=True)
            back.start()
            self._move(client, server)
            back.join()
        except OSError:
            pass
        finally:
            with self._lock:
                for s in (client, server):
                    if s is not None:
                        self._open.discard(s)
                        s.close()

    def _move(self, one, other):
        try:
            while data := one.recv(1 << 16):
                while self.mode == "hang":
                    if one.fileno() < 0 or self._ended:
                        return
                    time.sleep(0.01)
                if self.mode == "delay":
                    time.sleep(self.seconds)
                other.sendall(data)
        except OSError:
            pass
        finally:
            for s in (one, other):
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._ended = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
