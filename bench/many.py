"""Reloads of a large configuration: of 1,000 services with 20 backends each one
has another timeout. How long it takes until that is obeyed, how long a thread of
Teal stood still for it, and what the clients of all the services notice."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request

import growth
import measure
import proxies
import report
import stage as stages

RATE = 1000
LAG = re.compile(r'teal_loop_lag_seconds_bucket\{thread="([^"]+)",le="([^"]+)"\} (\d+)')


class Many:
    """What they add: a file in which one service has another timeout, and a reload."""

    def keep(self, text, old):
        self.texts = [text.replace(*old, 1).replace("TIME", t) for t in ("60", "61")]
        return self.texts[0]

    def turn(self, n):
        """Seconds from the order until it is known to be obeyed."""
        path = os.path.join(self.work, self.file)
        with open(path + ".new", "w") as f:
            f.write(self.texts[(n + 1) % 2])
        os.replace(path + ".new", path)
        began = time.monotonic()
        self.reload()
        return time.monotonic() - began


class ManyTeal(Many, growth.Grown):
    file, how = "teal.conf", "tealctl reload has answered"

    def commands(self):
        command, = super().commands()
        self.write(self.file, self.keep(measure.read(command[-1]), (self.limits(), self.limits() + " connect_timeout = TIME.0;")))
        return [command]

    def reload(self):
        tealctl = os.path.join(os.path.dirname(self.program), "tealctl")
        subprocess.run([tealctl, f"--socket={self.admin}", "reload"], check=True, capture_output=True)

    def held(self):
        """{thread: {upper bound in seconds: ticks that came at most so late}}."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.ports['main'] + self.observe}/metrics").read().decode()
        lags = {}
        for thread, bound, count in LAG.findall(text):
            lags.setdefault(thread, {})[float(bound.replace("+Inf", "inf"))] = int(count)
        return lags


class ManyHAProxy(Many, growth.GrownHAProxy):
    file, how = "haproxy.cfg", "the master has another worker"

    def commands(self):
        (program, db, *rest), = super().commands()
        self.write(self.file, self.keep(measure.read(rest[-1]), ("listen s0\n", "listen s0\n\ttimeout queue TIMEs\n")))
        return [[program, "-W", db, *rest]]

    signal = signal.SIGUSR2

    def reload(self):
        reload_master(self)

    def held(self):
        return {}


class ManyNginx(Many, proxies.Nginx):
    file, how = "doors", "the master has another worker"

    def __init__(self, *args, services=1, fanout=1, **more):
        super().__init__(*args, **more)
        self.services, self.fanout = services, fanout

    def doors_text(self, backends):
        servers = "".join(f" server {b};" for b in growth.many_backends(backends["main"], self.fanout))
        text = "\n".join(f'''	upstream s{i} {{{servers} keepalive {proxies.POOL}; }}
	server {{
		listen 127.0.0.1:{self.ports["main"] + i} backlog=4096;
		location / {{ proxy_pass http://s{i}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
	}}''' for i in range(self.services))
        return self.keep(text, ("location / {", "location / { proxy_read_timeout TIMEs;"))

    signal = signal.SIGHUP

    def reload(self):
        reload_master(self)

    def held(self):
        return {}


def reload_master(p):
    """Until it has another worker: it does not say when its file is obeyed."""
    master = p.processes[0].pid
    before = set(measure.tree(master))
    os.kill(master, p.signal)
    deadline = time.monotonic() + 30
    while not set(measure.tree(master)) - before:
        if time.monotonic() > deadline:
            raise proxies.Failed(f"{p.name} has no new worker after 30 s")
        time.sleep(0.001)


CLASSES = {"teal": (ManyTeal, growth.FIRST_PORT), "haproxy": (ManyHAProxy, growth.PEER_PORT),
           "nginx": (ManyNginx, growth.PEER_PORT)}


def longest(before, after):
    """Of each thread: the bound that no tick was later than, in seconds."""
    worst = {}
    for thread, now in after.items():
        ticks = {bound: n - before.get(thread, {}).get(bound, 0) for bound, n in now.items()}
        total = max(ticks.values())
        worst[thread] = min(bound for bound, n in ticks.items() if n == total)
    return worst


def load(stage, p, services, seconds, act=lambda: None):
    """An open load over all services while act() runs; its result."""
    command = stage.command("load", p.address("main"), "--mode=http-close", "--path=/bytes/64", f"--rate={RATE}",
                            "--connections=128", "--sources=4", f"--ports={services}", f"--duration={seconds}")
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          preexec_fn=measure.on_core(stage.load_core)) as process:
        acting = threading.Thread(target=act)
        acting.start()
        out = process.communicate()[0]
        acting.join()
    if not out:
        raise proxies.Failed("the load ended without a word")
    return json.loads(out)


def of_one(stage, p, services, quick):
    turns, every = (3, 0.7) if quick else (20, 1.0)
    took = []

    def act():
        for n in range(turns):
            time.sleep(every)
            try:
                took.append(p.turn(n))
            except (proxies.Failed, subprocess.SubprocessError, OSError) as e:
                stage.notes.append(f"many, {p.name}, reload {n + 1}: {e}")
                return
    seconds = every * (turns + 1)
    before, processes = p.held(), len(p.pids())
    calm = load(stage, p, services, seconds)
    quiet = p.held()
    changing = load(stage, p, services, seconds, act)
    after = p.held()
    return {"how": p.how, "turns": len(took), "turns_wanted": turns, "applied_seconds": report.spread(took or [float("nan")]),
            "failed": [calm["failed"], changing["failed"]],
            "p99_us": [calm["latency_us"]["p99"], changing["latency_us"]["p99"]],
            "processes": [processes, len(p.pids())],
            "held_calm": longest(before, quiet), "held": longest(quiet, after)}


def many(stage, names, quick):
    """One after the other; None: neither was asked for, or came up."""
    services, backends = (100, 5) if quick else (1000, 20)
    address = stage.backend("--mode=http", listen="0.0.0.0:0")
    rows = {}
    try:
        for name in (n for n in names if n in CLASSES):
            kind, port = CLASSES[name]
            stage.say(f"many: {name}")
            p = kind(os.path.join(stages.WORK, "work"), "http", {"main": address}, port, 2000, doors={"main": "http"},
                     backends_as_given=True, services=services, fanout=backends)
            p.work += "-many"
            os.makedirs(p.work, exist_ok=True)
            try:
                p.start(stage.proxy_core)
                rows[name] = of_one(stage, p, services, quick)
            except (proxies.Failed, subprocess.SubprocessError, ValueError, OSError) as e:
                stage.notes.append(f"many, {name}: {e}")
            finally:
                p.stop()
    finally:
        stage.stop_backends()
    return {"title": f"One of {services:,} services with {backends} backends each has another timeout; {RATE:,} requests a "
                     "second over all of them", "proxies": rows} if rows else None
