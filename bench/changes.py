"""Reloads, upgrades and crashes under load, for each balancer the way its
users do it: what a change of the configuration, of the program, or a process
that dies costs requests and streams."""

import contextlib
import json
import os
import signal
import subprocess
import time

import measure
import proxies
import report

RATE = 1500
# Connections that must last, and how many more are held by each generation.
STREAMS, HELD = 100, 100
KINDS = ("reload", "upgrade", "crash")
TITLES = {
    "reload": f"{{}} reloads, one timeout changed; {HELD} WebSockets opened before each are held",
    "upgrade": f"{{}} upgrades to the program on disk; {HELD} WebSockets opened before each are held",
    "crash": "{} times SIGKILL to the process that serves",
}
# Down to the last descendant: who serves.
DEEPEST = '''p={root}
while c=$(cut -d' ' -f1 /proc/$p/task/$p/children) && [ -n "$c" ]; do p=$c; done
echo $p
'''
# Changes the file to and fro.
SWAP = '''if cmp -s {a} {conf}; then cp {b} {conf}.new; else cp {a} {conf}.new; fi && mv {conf}.new {conf} || exit
'''


class Changing:
    """What the three add: a file with another timeout, and the scripts that act."""

    seconds = ("60", "61")

    def swap(self, name, text, old):
        """Two files that differ in one timeout; the shell line that exchanges them."""
        conf = os.path.join(self.work, name)
        a, b = (self.write(f"{name}.{i}", text.replace(old, old.replace(*self.seconds) if i else old))
                for i in range(2))
        self.write(name, text)
        return SWAP.format(a=a, b=b, conf=conf)

    def root(self):
        return self.processes[0].pid

    def pids(self):
        return measure.tree(self.root())

    def stop(self):
        pids = self.pids()
        super().stop()
        # Those that leave for as long as they hold a stream.
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pid_command(self):
        return f". {self.write('serving', DEEPEST.format(root=self.root()))}"


class TealChanging(Changing, proxies.Teal):
    how = {"reload": "tealctl reload", "upgrade": "tealctl upgrade", "crash": "its supervisor"}

    def limits(self):
        return super().limits() + " connect_timeout = 60.0;"

    def commands(self):
        (_, flag, conf), = super().commands()
        self.exchange = self.swap("teal.conf", measure.read(conf), "connect_timeout = 60")
        # As many restarts as are asked for here: by itself it gives up after five within a minute.
        return [[os.path.join(os.path.dirname(self.program), "teald"), "--max-restarts=1000", flag, conf]]

    def ctl(self, verb):
        return f"{os.path.join(os.path.dirname(self.program), 'tealctl')} --socket={self.admin} {verb}"

    def script(self, kind):
        return self.exchange + self.ctl(kind) if kind == "reload" else self.ctl(kind)


class HAProxyChanging(Changing, proxies.HAProxy):
    # In 2.6 a reload starts the program anew: an upgrade is the same.
    how = {"reload": "SIGUSR2 to the master (-W)", "upgrade": "SIGUSR2 to the master (-W)",
           "crash": "started again at once by a shell (its master ends with its worker)"}

    def commands(self):
        self.tuning = f"\tstats socket {self.sockets}/s level admin expose-fd listeners\n"
        self.defaults = self.defaults | {"http": self.defaults["http"] + "\ttimeout queue 60s\n"}
        (program, _, *rest), = super().commands()
        self.exchange = self.swap("haproxy.cfg", measure.read(rest[1]), "timeout queue 60s")
        # What its service manager does.
        return [["sh", "-c", 'trap "kill \\$!; wait; exit" TERM; while :; do "$@" & wait; done', "sh",
                 program, "-W", "-db", *rest]]

    def script(self, kind):
        master = f"$(cat /proc/{self.root()}/task/{self.root()}/children)"
        return self.exchange + f"kill -USR2 {master}"


class NginxChanging(Changing, proxies.Nginx):
    how = {"reload": "SIGHUP to the master", "upgrade": "SIGUSR2, then SIGQUIT to the old master",
           "crash": "its master"}

    def commands(self):
        command, = super().commands()
        doors = os.path.join(self.work, "doors")
        text = measure.read(doors).replace("location / {", """location / {
			proxy_read_timeout 60m;
			proxy_set_header Upgrade $http_upgrade;""").replace(
            'Connection ""', "Connection $connection_to_backend")
        # https://nginx.org/en/docs/http/websocket.html
        self.exchange = self.swap("doors", """map $http_upgrade $connection_to_backend {
		default upgrade;
		"" "";
	}
""" + text, "proxy_read_timeout 60m")
        # Who still has the parent that started it takes no SIGUSR2.
        return [["sh", "-c", '("$@" & sleep 1); exec sleep infinity', "sh", *command]]

    def root(self):
        return int(measure.read(os.path.join(self.work, "pid")) or self.processes[0].pid)

    def pids(self):
        # Of generations that are leaving, the masters too: they are not among the children of the last.
        masters = [int(p) for p in os.listdir("/proc") if p.isdigit() and
                   measure.read(f"/proc/{p}/cmdline").startswith("nginx: master") and
                   self.work in measure.read(f"/proc/{p}/cmdline")]
        return sorted({pid for m in masters for pid in measure.tree(m)})

    def script(self, kind):
        pid = os.path.join(self.work, "pid")
        if kind == "reload":
            return self.exchange + f"kill -HUP $(cat {pid})"
        return f'''old=$(cat {pid}); kill -USR2 $old
n=0
while [ ! -s {pid} ] || [ "$(cat {pid})" = $old ]; do [ $((n += 1)) -lt 500 ] || exit; sleep 0.01; done
kill -QUIT $old
'''

    def stop(self):
        # Its master is no child of ours.
        if self.root() != self.processes[0].pid:
            os.kill(self.root(), signal.SIGTERM)
        super().stop()


CLASSES = {"teal": TealChanging, "haproxy": HAProxyChanging, "nginx": NginxChanging}


def with_held(stage, proxy, script):
    """The script, with HELD WebSockets opened before it; where their processes are noted."""
    load = " ".join(stage.command("load", proxy.address("http"), "--mode=ws", f"--connections={HELD}",
                                  f"--rate={HELD}", "--duration=3600"))
    return f'''cd {proxy.sockets} || exit
n=$(ls | grep -c held)
{load} >held.$n 2>/dev/null &
echo $! >>pids
sleep 0.3
cd {proxy.work}
{script}
'''


def let_go(proxy):
    """(held, broken) of all that the turns left open."""
    pids = [int(p) for p in measure.read(os.path.join(proxy.sockets, "pids")).split()]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    broken = 0
    for n in range(len(pids)):
        path = os.path.join(proxy.sockets, f"held.{n}")
        deadline = time.monotonic() + 20
        while not measure.read(path).endswith("}\n") and time.monotonic() < deadline:
            time.sleep(0.02)
        broken += json.loads(measure.read(path).splitlines()[-1])["failed"]
    return HELD * len(pids), broken


def of_one(stage, proxy, kind, quick):
    """Load, streams and turns for one balancer; its row."""
    turns, every = (3, 1.5 if kind == "crash" else 1) if quick else (20, 2.5 if kind == "crash" else 1.5)
    how = [f"--pid-cmd={proxy.pid_command()}"] if kind == "crash" else \
        [f"--cmd=. {proxy.write('turn', with_held(stage, proxy, proxy.script(kind)))}"]
    before = proxy.pids()
    r = stage.run("drill", proxy.address("http"), f"--during={kind}", *how, "--mode=http-close", f"--rate={RATE}",
                  "--connections=128", f"--count={turns}", f"--every={every}", f"--duration={every * (turns + 1)}",
                  f"--streams={STREAMS}", f"--stream-rate={4 * STREAMS}", "--sources=4", "--timeout=5", "--late=0")
    time.sleep(0.5)  # a moment to end for those that can
    after = proxy.pids()
    held, broken = let_go(proxy) if kind != "crash" else (0, 0)
    return report.drill_row(r) | {"how": proxy.how[kind], "processes": [len(before), len(after)],
                                  "held": STREAMS + held, "streams_broken": r["streams"]["broken"] + broken}


def change(stage, kind, classes, quick):
    """One balancer after the other, on loopback."""
    backend = stage.backend("--mode=http", "--name=green")
    rows = {}
    try:
        for c in classes:
            if c.name not in CLASSES:
                continue
            stage.say(f"{kind}: {c.name}")
            for p in stage.start("http", [CLASSES[c.name]], {"http": backend}, 8000, doors={"http": "http"},
                                 backends_as_given=True):
                try:
                    rows[c.name] = of_one(stage, p, kind, quick)
                except (proxies.Failed, subprocess.SubprocessError, ValueError) as e:
                    stage.notes.append(f"{kind}, {c.name}: {e}")
                finally:
                    p.stop()
    finally:
        stage.stop_backends()
    if not rows:
        return []
    turns = max(r["turns_wanted"] for r in rows.values())
    return [{"kind": kind, "title": f"{TITLES[kind].format(turns)}; {RATE:,} requests a second, a connection each",
             "proxies": rows}]
