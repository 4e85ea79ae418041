#!/usr/bin/python3
"""pairs.py - what something costs that can be switched on and off: CPU of a connection and of a request with and without
it, by turns within one load, as the median of pairs.

    bench/pairs.py lines [PAIRS]	access lines; 30 pairs of 0.4 s each
    bench/pairs.py share [PAIRS]	a service at a share of 50 %, beside one color for all clients
"""
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

BUILD = pathlib.Path(os.environ.get("BUILD") or pathlib.Path(__file__).parent.parent / "build").resolve()
KINDS = {"tcp": ("echo", "tcp-connect", "teal_connections_total", ["--size=64"]),
         "http": ("http", "http", "teal_requests_total", ["--path=/bytes/64"]),
         "http, a connection for each": ("http", "http-close", "teal_requests_total", ["--path=/bytes/64"])}
# What it is called, and the commands that switch it on and off.
SWITCHES = {"lines": ("with access lines", ("log", "info"), ("log", "warn")),
            "share": ("at a share", ("shift", "web", "blue", "--to=50%"), ("shift", "web", "blue", "--to=0%"))}
CONF = """workers = 1;
state_dir = "{folder}/state";
admin: {{ socket = "{folder}/admin.sock"; }};
observe: {{ listen = "127.0.0.1:{observe}"; }};
log: {{ level = "info"; }};
stop: {{ timeout = 0.5; }};
services = ( {{ name = "web"; mode = "{mode}"; listen = "127.0.0.1:{listen}"; health: {{ type = "none"; }};
	green: {{ backends = ["{backend}"]; }}; blue: {{ backends = ["{backend}"]; }}; }} );
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Teald:
    def __init__(self, folder, mode, backend):
        self.folder, self.observe, self.listen = folder, free_port(), free_port()
        (folder / "state").mkdir()
        (folder / "teal.conf").write_text(CONF.format(folder=folder, observe=self.observe, listen=self.listen, mode=mode,
                                                      backend=backend))
        # The lines are read, as journald would.
        self.process = subprocess.Popen([BUILD / "teald-serve", "-c", folder / "teal.conf"], stdout=subprocess.PIPE)
        self.reader = subprocess.Popen(["cat"], stdin=self.process.stdout, stdout=subprocess.DEVNULL)
        while not self.ready():
            time.sleep(0.05)
        self.tasks = [p / "schedstat" for p in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
                      if (p / "comm").read_text().strip() in ("worker-0", "log")]

    def ready(self):
        try:
            self.get("/readyz")
            return True
        except OSError:
            if self.process.poll() is not None:
                sys.exit("pairs: teald did not start")
            return False

    def get(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.observe}{path}", timeout=60).read().decode()

    def count(self, metric):
        return sum(float(line.rpartition(" ")[2]) for line in self.get("/metrics").splitlines() if line.startswith(metric + "{"))

    def ctl(self, *words):
        subprocess.run([BUILD / "tealctl", "-s", self.folder / "admin.sock", *words], check=True, stdout=subprocess.DEVNULL)

    def cpu(self):
        """Nanoseconds of the worker and of the thread that writes the log."""
        return sum(int(p.read_text().split()[0]) for p in self.tasks)

    def cost(self, words, metric):
        self.ctl(*words)
        time.sleep(0.05)
        cpu, n = self.cpu(), self.count(metric)
        time.sleep(0.4)
        return (self.cpu() - cpu) / (self.count(metric) - n)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.reader.wait()


def measure(kind, switch, pairs):
    serve_mode, load_mode, metric, options = KINDS[kind]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="teal-lines-", dir="/tmp"))
    backend = subprocess.Popen([BUILD / "tealbench", "serve", "--listen=127.0.0.1:0", f"--mode={serve_mode}"],
                               stdout=subprocess.PIPE, text=True)
    teald = load = None
    try:
        teald = Teald(folder, serve_mode.replace("echo", "tcp"), json.loads(backend.stdout.readline())["address"])
        load = subprocess.Popen([BUILD / "tealbench", "load", f"--target=127.0.0.1:{teald.listen}", f"--mode={load_mode}",
                                 "--connections=16", f"--duration={10 + 2 * pairs}", "--requests=1000000000", *options],
                                stdout=subprocess.DEVNULL)
        time.sleep(0.5)  # for the load to begin
        if switch == "share":  # lines would cost more than what is asked here
            teald.ctl("log", "warn")
        _, on, off = SWITCHES[switch]
        ratios = []
        for n in range(pairs):
            cost = {words: teald.cost(words, metric) for words in ((on, off) if n % 2 else (off, on))}
            ratios.append(cost[on] / cost[off])
        return ratios
    finally:
        for p in (load, backend):
            if p is not None:
                p.terminate()
                p.wait()
        if teald is not None:
            teald.close()
        shutil.rmtree(folder)


if len(sys.argv) < 2 or sys.argv[1] not in SWITCHES:
    sys.exit(__doc__)
for each in KINDS:
    r = sorted(measure(each, sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 30))
    print(f"{each}: {SWITCHES[sys.argv[1]][0]} {statistics.median(r):.3f} x the CPU of without ({r[0]:.2f} to {r[-1]:.2f})")
