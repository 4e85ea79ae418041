"""What every measurement stands on: two cores, backends, loads, proxies."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time

import measure
import proxies

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("BUILD") or "build")
TEALBENCH = os.path.join(BUILD, "tealbench")
WORK = os.path.join(BUILD, "bench")
FIRST_PORT = 7000
# Of 64 bytes, not compressed.
GRPC_MESSAGE = b"\0\0\0\0\x40" + b"m" * 64
# Backends that are more than a mode: what an application's answer carries.
OPTIONS = {
    "http-rich": ["--mode=http", *(f"--header={h}" for h in (
        "Server: app/2.4", "Date: Mon, 23 Nov 2026 12:00:00 GMT", "Cache-Control: no-store, private",
        "Vary: Accept-Encoding, Cookie", "X-Content-Type-Options: nosniff", "X-Frame-Options: DENY",
        "Strict-Transport-Security: max-age=31536000; includeSubDomains",
        "Set-Cookie: session=8f14e45fceea167a5a36dedd4bea2543; Path=/; HttpOnly; Secure; SameSite=Lax"))],
}


class Stage:
    def __init__(self, options):
        self.options = options
        self.notes = []
        self.proxy_core, self.load_core = measure.cores()
        self.tty = sys.stderr.isatty()
        self.backends = []

    def say(self, words):
        if self.tty:
            print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)

    def backend(self, *options, listen="127.0.0.1:0"):
        """A light backend on the core of the load; its address."""
        p = subprocess.Popen([TEALBENCH, "serve", f"--listen={listen}", *options], stdout=subprocess.PIPE,
                             text=True, preexec_fn=measure.on_core(self.load_core))
        self.backends.append(p)
        line = p.stdout.readline()
        if not line:
            raise proxies.Failed("tealbench serve did not start")
        return json.loads(line)["address"]

    def grpc_backend(self):
        """nghttpd: each call is answered by the same message, and trailers behind it."""
        folder, port = os.path.join(WORK, "work", "grpc"), proxies.free_port()
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "Call"), "wb") as f:
            f.write(GRPC_MESSAGE)
        with open(os.path.join(WORK, "work", "grpc-call"), "wb") as f:
            f.write(GRPC_MESSAGE)
        self.backends.append(subprocess.Popen(
            ["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", folder, "--trailer=grpc-status: 0", str(port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=measure.on_core(self.load_core)))
        address, deadline = f"127.0.0.1:{port}", time.monotonic() + 10
        while not proxies.exchange(address, proxies.HELLO, proxies.SETTINGS):
            if self.backends[-1].poll() is not None or time.monotonic() > deadline:
                raise proxies.Failed("nghttpd (Debian: nghttp2-server) did not start")
            time.sleep(0.05)
        return address

    def start_backends(self, kind, congestion=""):
        """One for each mode of that kind; their addresses."""
        if kind == "grpc":
            return {"grpc": self.grpc_backend()}
        extra = [f"--congestion={congestion}"] if congestion else []
        return {mode: self.backend(*OPTIONS.get(mode, [f"--mode={mode}"]), *extra)
                for mode in sorted(set(proxies.KINDS[kind].values()))}

    def stop_backends(self):
        for p in self.backends:
            p.terminate()
            p.communicate()
        self.backends = []

    def command(self, what, address, *options):
        return [TEALBENCH, what, f"--target={address}", "--json", *options]

    def run(self, what, address, *options):
        """A load or a drill to its end; its result, whatever its exit status."""
        done = subprocess.run(self.command(what, address, *options), text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, preexec_fn=measure.on_core(self.load_core))
        if not done.stdout:
            raise proxies.Failed(f"tealbench {what}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def h2load(self, url, requests, *options):
        """A load over HTTP/2, in the words of tealbench's."""
        log = os.path.join(WORK, "work", "h2load.log")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log)
        # No more streams at once than requests, and at least one of each connection.
        done = subprocess.run(["h2load", "-t1", f"-n{max(requests, 100)}", f"--log-file={log}", *options, url], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=measure.on_core(self.load_core))
        took = re.search(r"finished in ([\d.]+)(us|ms|s|m)", done.stdout)
        counts = re.search(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
        data = re.search(r"\((\d+)\) data", done.stdout)
        if not (took and counts and data):
            raise proxies.Failed(f"h2load {url}: {done.stdout[-300:]} {done.stderr[-300:]}")
        total, succeeded, *bad = map(int, counts.groups())
        seconds = float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[took[2]]
        with open(log) as f:
            times = sorted(int(line.split("\t")[2]) for line in f) or [0]
        return {"ok": succeeded, "failed": total - succeeded, "errors": dict(zip(("failed", "errored", "timeout"), bad)),
                "seconds": seconds, "per_second": succeeded / seconds if seconds > 0 else 0, "bytes_in": int(data[1]), "bytes_out": 0,
                "latency_us": {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}, "curve": []}

    def start(self, kind, classes, addresses, connections, **more):
        """Those of the classes that come up; what keeps the others is noted."""
        running = []
        for i, c in enumerate(classes):
            if kind not in c.kinds:
                continue
            p = c(os.path.join(WORK, "work"), kind, addresses, FIRST_PORT + 10 * i, connections, **more)
            self.say(f"starting {p.name} ({kind})")
            try:
                p.start(self.proxy_core)
                running.append(p)
            except proxies.Failed as e:
                p.stop()
                note = f"no {p.name} for {kind}: {e}"
                if note not in self.notes:
                    self.notes.append(note)
        return running

    def metered(self, proxy, act):
        """act()'s result, with what the proxy and its core did meanwhile."""
        return measure.metered(proxy.pids(), self.proxy_core, self.load_core, act)
