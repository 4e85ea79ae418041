"""teald as a test sees it: started on a configuration, talked to, watched.

Whatever a story does, the end is checked: every line on stdout was JSON with
time, level and event; no sanitizer and no CHECK spoke on stderr; the process
ended as it should; and nothing of it is left.
"""
import contextlib
import itertools
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from . import libconfig, scale, schema
from .admin import Admin
from .clients import Client
from .moved_clock import MovedClock
from .prometheus import Metrics

REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|CHECK failed|check failed")
# The reason of a command that does nothing, but is logged after all that was logged before it.
FENCE = "up to here: "
# What a program that fails a check, or worse, dies of; no test wants that.
CRASHES = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP}

TICKS = os.sysconf("SC_CLK_TCK")


def service(name="web", *, listen, green, blue, **keys):
    """A tcp service's settings; checks come often, and one that is late is not
    failed; a refused connect is not tried again after a pause.  green and blue:
    backends (anything with .address), or addresses."""
    def color(backends):
        return {"backends": [getattr(b, "address", b) for b in backends]}
    if "health" in keys and keys["health"].get("type") != "none":
        keys["health"] = {"timeout": 20.0} | keys["health"]
    return {"name": name, "mode": "tcp", "listen": listen, "green": color(green), "blue": color(blue),
            "health": {"interval": 0.2, "timeout": 20.0, "rise": 1, "fall": 2}} | \
        ({} if keys.get("engine") == "kernel" or keys.get("mode") == "udp" else {"retry_pause": 0.0}) | keys


class StartFailed(AssertionError):
    """teald ended instead of becoming ready."""

    def __init__(self, status, stderr):
        super().__init__(f"exit status {status}: {stderr}")
        self.status, self.stderr = status, stderr


def unchunked(body):
    """What chunks hold; ValueError when they are cut short."""
    whole, at = [], 0
    while True:
        begin = body.find(b"\r\n", at) + 2
        n = int(body[at:begin], 16) if begin > at else 0
        end = begin + n
        if begin < at + 2 or body[end:end + 2] != b"\r\n":
            raise ValueError("a chunk that is cut short")
        if n == 0:
            return b"".join(whole)
        whole.append(body[begin:end])
        at = end + 2


class Teal:
    """One configuration and, from start() on, the process that obeys it."""

    def __init__(self, folder, ports, settings, place=None, clock=False):
        self.folder, self.ports = folder, ports
        self.place = place  # the network namespace it runs in; None: ours
        # Unix socket addresses are short, pytest's folders are not.
        self._sockets = tempfile.mkdtemp(prefix="teal-", dir="/tmp")
        os.chmod(self._sockets, 0o711)
        self.state_dir = folder / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.conf = folder / "teal.conf"
        self.observe = ("127.0.0.1", ports.hold())
        self.settings = {
            "workers": 2,
            "state_dir": str(self.state_dir),
            "admin": {"socket": self._sockets + "/admin.sock"},
            "observe": {"listen": "%s:%d" % self.observe},
            "log": {"level": "debug"},
            # Ready says here that teald serves, whatever its backends do.
            "ready": {"min_services": 0},
            "stop": {"timeout": 0.5},
        }
        for k, v in settings.items():
            self.settings[k] = self.settings[k] | v if isinstance(self.settings.get(k), dict) else v
        # All stories of the kernel engine hold with its shortcut as well: TEAL_SHORTCUT=on tools/e2e …
        shortcut = os.environ.get("TEAL_SHORTCUT")
        if shortcut and any(s.get("engine") == "kernel" for s in self.settings["services"]):
            self.settings["kernel"] = {"shortcut": shortcut} | self.settings.get("kernel", {})
        self.admin_path = self.settings["admin"]["socket"]
        self.clock = MovedClock(self._sockets) if clock else None  # its time, if the test moves it
        self.process, self._fences = None, itertools.count(1)
        self.expect_status = 0  # what the end of the test wants; None: anything
        self._all = []

    # ---- start and stop ----

    def start(self, *args, ready=True, prefix=(), env=None, stdout=None, supervised=False):
        """Starts teald; ready: returns when /readyz says 200, StartFailed when
        it ends before.  prefix: a command that execs teald.  stdout: where the
        log goes instead of .logs.  supervised: under its supervisor, which is .process; .serving() is then another."""
        program = "teald" if supervised else "teald-serve"
        assert self.process is None or self.process.poll() is not None, "it runs already"
        assert (scale.BUILD / "teald").exists(), f"no {scale.BUILD}/teald: run make first"
        self.conf.write_text(libconfig.dumps(self.settings))
        self.logs, self._news, self._eof = [], threading.Condition(), False
        self._bad_lines, self._passed = [], set()
        self._stderr = open(self.folder / "stderr", "ab+")
        self._stderr_from = self._stderr.seek(0, 2)
        env = os.environ | (env or {})
        if self.clock:
            self.clock.starting()
            env |= self.clock.env(env)
        self.process = subprocess.Popen(
            [*(self.place.prefix if self.place else ()), *prefix, str(scale.BUILD / program), "-c", str(self.conf), *args],
            stdin=subprocess.DEVNULL, stdout=stdout or subprocess.PIPE, stderr=self._stderr,
            env=env, start_new_session=True)
        if self.clock:
            self.clock.started(self.process.pid)
        self._all.append(self.process)
        if stdout is None:
            self._pump = threading.Thread(target=self._read_log, args=(self.process.stdout,), daemon=True)
            self._pump.start()
        else:
            self._pump = None
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        scale.until(self._is_ready, "ready", every=0.005)

    def _is_ready(self):
        if self.process.poll() is not None:
            raise StartFailed(self.process.returncode, self.stderr())
        try:
            return self.http("/readyz")[0] == 200
        except OSError:
            return False

    def start_refused(self, *args, **how):
        """Starts it where it must refuse; returns (exit status, stderr)."""
        self.start(*args, ready=False, **how)
        status = self.wait()
        text = self.stderr()
        self.expect_status = None
        assert not REPORT.search(text), text
        return status, text

    @property
    def pid(self):
        return self.process.pid

    def serving(self):
        """The process that serves."""
        return self.ok("status")["pid"]

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, timeout=None):
        """Waits for the end; returns the exit status."""
        try:
            status = self.process.wait(timeout or scale.patience())
        except subprocess.TimeoutExpired:
            raise AssertionError("teald does not end") from None
        if self._pump is not None:
            self._pump.join(scale.patience())
        return status

    def stop(self):
        """SIGTERM, and the exit status once it has ended."""
        self.signal()
        return self.wait()

    def kill(self):
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        self.wait()

    def restart(self):
        if self.running:
            assert self.stop() == 0
        return self.start()

    # ---- what it says ----

    def _read_log(self, pipe):
        # Whatever a test does: each line is one JSON object, and a row of the schema.
        given = [self.settings.get("defaults", {}), *self.settings["services"]]
        labels = {k for s in given for k in s.get("labels", {})}
        for raw in pipe:
            try:
                line = schema.parse(raw)
                fault = schema.fault(line, labels)
                if fault:
                    raise ValueError(fault)
            except ValueError as e:
                if raw.endswith(b"\n"):  # a killed teald may leave half a line
                    self._bad_lines.append(f"{e}: {raw[:300]!r}")
                continue
            with self._news:
                if line["event"] == "audit" and line.get("reason", "").startswith(FENCE):
                    self._passed.add(line["reason"])
                else:
                    self.logs.append(line)
                self._news.notify_all()
        pipe.close()
        with self._news:
            self._eof = True
            self._news.notify_all()

    def log_lines(self, event, **fields):
        """Those of what teald did so far: it logs before others see what it did,
        but the line is written and read by threads of their own."""
        self._settle()
        return self.log_lines_now(event, **fields)

    def _settle(self):
        """Waits until all that was logged before is in .logs. A line of our own, an audit line, tells: whichever
        thread's lines its writer takes first, after the second of them all others before the first are written."""
        for _ in range(2):
            if not self.running:
                self.wait()  # to the end of its log
                return
            word = f"{FENCE}{next(self._fences)}"
            try:
                self.ctl("flip", "no-such-service", "green", f"--reason={word}")
            except (OSError, AssertionError):
                return  # it begins or is about to end: the caller waits for what it wants to see
            with self._news:
                assert self._news.wait_for(lambda: self._eof or word in self._passed, scale.patience()), \
                    f"the log does not come, load {os.getloadavg()[0]:.0f}"

    def log_lines_now(self, event, **fields):
        with self._news:
            return [l for l in self.logs if l["event"] == event and all(l.get(k) == v for k, v in fields.items())]

    def wait_log(self, event, count=1, **fields):
        """Waits for `count` log lines of that event with these fields; returns
        the last of them."""
        end = time.monotonic() + scale.patience()
        while True:
            found = self.log_lines_now(event, **fields)
            if len(found) >= count:
                return found[count - 1]
            with self._news:
                left = end - time.monotonic()
                if left <= 0 or self._eof:
                    others = [l for l in self.logs if l["event"] == event][-10:]
                    raise AssertionError(f"no {count} x {event} {fields} in the log; of that event: {others}; "
                                         f"events: {sorted({l['event'] for l in self.logs})}")
                self._news.wait(min(left, 0.2))

    def sessions(self, **fields):
        """Access lines so far."""
        return self.log_lines("tcp.session", **fields)

    def stderr(self):
        self._stderr.flush()
        return (self.folder / "stderr").read_bytes()[self._stderr_from:].decode(errors="replace")

    # ---- talking to it ----

    def admin(self, timeout=None):
        return Admin(self.admin_path, timeout)

    def ctl(self, *words):
        """One command on a connection of its own; the Reply."""
        with self.admin() as a:
            return a.command(*map(str, words))

    def ok(self, *words):
        """ctl() that must succeed. A Redis that a busy machine keeps from answering within its second is asked
        again: such a refusal says that nothing has changed. A flip waits as long as a test does, unless it says for how long."""
        if words[0] in ("flip", "rollback") and not any(str(w).startswith("--timeout") for w in words):
            words = (*words, f"--timeout={scale.patience():.0f}")

        def answer():
            r = self.ctl(*words)
            late = not r["ok"] and r["error"] == "store_unavailable" and "no answer within" in r["message"]
            return None if late else r
        r = scale.until(answer, f"{' '.join(map(str, words))}: the store answers")
        assert r["ok"], r
        return r

    def tealctl(self, *words, check=None, env=None):
        """The real tealctl; a CompletedProcess with text."""
        p = subprocess.run([str(scale.BUILD / "tealctl"), "-s", self.admin_path, *map(str, words)],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * scale.patience(),
                           env=os.environ | (env or {}))
        assert not REPORT.search(p.stderr), p.stderr
        if check is not None:
            assert p.returncode == check, (p.returncode, p.stdout, p.stderr)
        return p

    def status(self, name="web"):
        """The service's object of `status`."""
        return self.ok("status", name)["services"][0]

    def http(self, path, method="GET", headers=()):
        """One request to the observe listener; (code, body)."""
        head, body = self.http_raw(path, method, headers)
        return int(head.split()[1]), body.decode()

    def http_raw(self, path, method="GET", headers=()):
        """The same; (head, body), both bytes."""
        def connect():
            return socket.create_connection(self.observe, scale.patience())
        with self.place.do(connect) if self.place else connect() as s:
            s.sendall(f"{method} {path} HTTP/1.1\r\nHost: teal\r\nConnection: close\r\n"
                      .encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers) + b"\r\n")
            pieces = []
            while more := s.recv(1 << 20):
                pieces.append(more)
        data = b"".join(pieces)
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1."):
            raise ConnectionError(f"not HTTP: {data[:80]!r}")
        if b"transfer-encoding: chunked" in head.lower() and method != "HEAD":
            body = unchunked(body)
        return head, body

    def metrics(self, *services):
        """Those of the process and of all services; or of these services alone."""
        code, body = self.http("/metrics" + ("?" + "&".join(f"service={n}" for n in services) if services else ""))
        assert code == 200
        return Metrics(body)

    def wait_metric(self, value, name, **labels):
        """Waits until that sum of series is `value`; returns the Metrics, read after it was: a page is no moment, and
        what stands before it there may be older."""
        last = None

        def seen():
            nonlocal last
            last = self.metrics().get(name, **labels)
            return last == value
        try:
            scale.until(seen, f"{name}{labels} = {value}")
            return self.metrics()
        except AssertionError:
            raise AssertionError(f"{name}{labels} is {last}, never {value}") from None

    def address(self, name="web", n=0, key="listen"):
        """The n-th listener of a service: (host, port), or a path."""
        for s in self.settings["services"]:
            if s["name"] == name:
                at = s[key] if isinstance(s[key], str) else s[key][n]
                if at.startswith("unix:"):
                    return at[5:]
                host, port = at.rsplit(":", 1)
                return host.strip("[]"), int(port)
        raise KeyError(name)

    def connect(self, name="web", n=0, key="listen", **how):
        return Client(self.address(name, n, key), **how)

    # ---- looking at the process ----

    def rss(self):
        """Resident bytes."""
        text = open(f"/proc/{self.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024

    def cpu(self):
        """User and system seconds so far."""
        fields = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rest(self, looks=5):
        """Waits until all its threads are asleep at `looks` looks in a row: one
        that spins is never found asleep, however fast or slow the machine. What `status` and
        the log said before, as that a backend is up, its workers obey then."""
        calm = 0

        def calm_enough():
            nonlocal calm
            calm = calm + 1 if scale.asleep(self.pid) else 0
            return calm >= looks
        scale.until(calm_enough, "all its threads are asleep")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # ---- the end ----

    def finish(self):
        """Ends it as an operator would and checks what it leaves behind."""
        problems = []
        try:
            if self.running:
                self.signal()
                try:
                    status = self.process.wait(scale.patience() + self.settings["stop"].get("timeout", 30.0)
                                               + self.settings["stop"].get("notice", 0.0))
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    status = self.process.wait()
                    problems.append("it did not end after SIGTERM")
                if status != 0:
                    problems.append(f"exit status {status} after SIGTERM")
            elif self.process is not None and self.expect_status is not None:
                if self.process.returncode not in (self.expect_status, -signal.SIGKILL):
                    problems.append(f"it had ended already, exit status {self.process.returncode}")
            if self.process is not None:
                if self._pump is not None:
                    self._pump.join(scale.patience())
                problems += [f"a line on stdout that is not a log line: {l}" for l in self._bad_lines[:5]]
                problems += [l for l in (self.folder / "stderr").read_text(errors="replace").splitlines()
                             if REPORT.search(l)][:5]
            problems += [f"it crashed: {signal.Signals(-p.returncode).name}" for p in self._all
                         if p.returncode is not None and -p.returncode in CRASHES]
        finally:
            for p in self._all:
                if p.poll() is None:
                    p.kill()
                    p.wait()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(p.pid, 0)
                    # A killed sibling takes a moment to vanish; a living one does not.
                    if not self._group_gone(p.pid):
                        problems.append("a process of its group is left")
                        os.killpg(p.pid, signal.SIGKILL)
            if self.process is not None:
                self._stderr.close()
            shutil.rmtree(self._sockets, ignore_errors=True)
        assert not problems, "\n".join(problems) + "\nstderr: " + (
            (self.folder / "stderr").read_text(errors="replace")[-4000:] if self.process else "")

    @staticmethod
    def _group_gone(pgid):
        for _ in range(200):
            try:
                os.killpg(pgid, 0)
            except ProcessLookupError:
                return True
            select.select([], [], [], 0.01)
        return False
