"""The flip drill for each balancer, flipped the way its users do it: Teal by
its admin socket, HAProxy by its runtime socket, nginx by a new configuration
and a reload."""

import os
import shutil

import proxies
import report

RATE = 1500
OPTIONS = {
    "tcp": ("--mode=tcp-connect", "--sources=4"),
    "http": ("--mode=http", "--per-connection=200"),
    "h2c": ("--mode=http2",),
}
BACKEND = {"tcp": "hello", "http": "http", "h2c": "http"}
TITLES = {
    "hop": "Flip drill, the whole hop: a connection for each message",
    "tcp": "Flip drill, TCP: a connection for each message",
    "http": "Flip drill, HTTP keep-alive",
    "h2c": "Flip drill, HTTP/2 with prior knowledge, connections that last over flips",
}


class TealDrill(proxies.Teal):
    how = "tealctl flip"

    def commands(self):
        return self.run_services(self.service("drill", self.address("drill"), self.backends["green"],
                                              self.backends["blue"]))

    def flip(self):
        return [f"--admin={self.admin}", "--service=drill", "--wait=applied"]


class HAProxyDrill(proxies.HAProxy):
    how = "runtime API: set server"

    def commands(self):
        self.socket = os.path.join(self.sockets, "s")
        self.tuning = f"\tstats socket {self.socket} level admin\n"
        return self.run_doors(f'''listen drill
	bind {self.address("drill")} backlog 4096{" proto h2" if self.kind == "h2c" else ""}
	server green {self.backends["green"]}{self.server[self.kind]}
	server blue {self.backends["blue"]}{self.server[self.kind]} disabled
''')

    def flip(self):
        # The new one first, or there would be none for a moment.
        script = self.write("flip", f'''other=green; [ "$COLOR" = green ] && other=blue
printf 'set server drill/%s state ready; set server drill/%s state maint\\n' "$COLOR" "$other" |
	socat -t 5 - UNIX:{self.socket} >/dev/null
''')
        return [f"--flip-cmd=. {script}"]


class NginxDrill(proxies.Nginx):
    how = "new configuration, nginx -s reload"

    def commands(self):
        for color in ("green", "blue"):
            self.address_of = {"drill": self.backends[color]}
            self.write(color, self.doors_text(self.address_of))
        self.include("green")
        return self.run_include(os.path.join(self.work, "doors"))

    def include(self, color):
        shutil.copy(os.path.join(self.work, color), os.path.join(self.work, "doors"))

    def flip(self):
        conf = os.path.join(self.work, "nginx.conf")
        script = self.write("flip", f'''cp {self.work}/$COLOR {self.work}/next && mv {self.work}/next {self.work}/doors &&
	{self.program} -p {self.work} -c {conf} -e {self.work}/error -s reload
''')
        return [f"--flip-cmd=. {script}"]


CLASSES = {"teal": TealDrill, "haproxy": HAProxyDrill, "nginx": NginxDrill}


def drill(stage, kind, classes, quick):
    """One balancer after the other, on loopback."""
    addresses = {color: stage.backend(f"--mode={BACKEND[kind]}", f"--name={color}") for color in ("green", "blue")}
    chosen = [CLASSES[c.name] for c in classes if c.name in CLASSES]

    def start(c):
        return stage.start(kind, [c], addresses, 2000, doors={"drill": BACKEND[kind]}, backends_as_given=True)
    try:
        return over(stage, kind, chosen, start, OPTIONS[kind], quick)
    finally:
        stage.stop_backends()


def over(stage, kind, chosen, start, options, quick):
    """The same load and flips for all; start(c) gives those that came up."""
    results = {}
    seconds, flips = (2, 4) if quick else (10, 20)
    try:
        for c in chosen:
            stage.say(f"drill {kind}: {c.name}")
            for p in start(c):
                try:
                    r = stage.run("drill", p.address("drill"), *options, *p.flip(), f"--rate={RATE}",
                                  "--connections=64", f"--duration={seconds}", f"--flips={flips}")
                    results[c.name] = r | {"how": c.how}
                finally:
                    p.stop()
    except proxies.Failed as e:
        stage.notes.append(f"drill: {e}")
    if not results:
        return []
    return [{"kind": kind, "title": f"{TITLES[kind]}, {RATE:,} a second, {flips} flips in {seconds} s",
             "proxies": {name: report.drill_row(r) for name, r in results.items()}}]
