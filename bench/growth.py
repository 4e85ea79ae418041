"""How cost grows: more connections, more services, more backends; the proxy's
CPU for a unit of work, each size in turn, round by round."""

import os
import resource

import proxies
import report
import stage as stages

RATE = 8000
HEALTH = 'health: { type = "none"; };'
SIZES = {
    "connections": (1, 100, 1000, 10000),
    "services": (1, 10, 100, 500),
    "backends": (1, 10, 100, 1000),
}
TITLES = {
    "connections": f"open connections, all of them in use: {RATE:,} requests a second in all",
    "services": "services with an entrance each, all of them in use",
    "backends": "backends of one service, in turn",
}
LOADS = {
    ("connections", "tcp"): ("--mode=tcp-small", f"--rate={RATE}"),
    ("connections", "http"): ("--mode=http", "--path=/bytes/64", f"--rate={RATE}"),
    ("services", "tcp"): ("--mode=tcp-connect", "--connections=16", "--sources=4"),
    ("services", "http"): ("--mode=http-close", "--path=/bytes/64", "--connections=16", "--sources=4"),
    ("backends", "tcp"): ("--mode=tcp-connect", "--connections=16", "--sources=4"),
    ("backends", "http"): ("--mode=http", "--path=/bytes/64", "--connections=32"),
}


# Below the ports that connections get: those of a size begin so far from there.
FIRST_PORT = 7000
AT = {1: 0, 10: 20, 100: 100, 1000: 60, 10000: 80, 500: 300}


class Grown(proxies.Teal):
    """teald with so many services or backends."""

    def __init__(self, *args, services=1, fanout=1, **more):
        super().__init__(*args, **more)
        self.services, self.fanout, self.observe = services, fanout, services

    def commands(self):
        # Every address of 127/8 reaches a listener on 0.0.0.0.
        port = self.backends["main"].rpartition(":")[2]
        backends = [f"127.1.{i // 250}.{i % 250 + 1}:{port}" for i in range(self.fanout)]
        return self.run_services(*(
            self.service(f"s{i}", f"127.0.0.1:{self.ports['main'] + i}", ", ".join(backends).replace(", ", '", "'),
                         self.backends["main"], extra=HEALTH) for i in range(self.services)))


def held(connections):
    """As many of them as there may be descriptors for: two each in the proxy."""
    return min(connections, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 2)


def options_of(what, kind, n, quick):
    load = [*LOADS[what, kind]]
    if what == "connections":
        load += [f"--connections={held(n)}", f"--duration={1.5 if quick else 3}"]
    else:
        load += [f"--requests={10_000 if quick else 40_000}", "--duration=60"]
    if what == "services":
        load += [f"--ports={n}"]
    return load


def grow(stage, what, kind):
    """The ratio of each size to the smallest, paired by rounds."""
    quick = stage.options.quick
    mode = {"tcp": "echo", "http": "http"}[kind]
    backend = stage.backend(f"--mode={mode}", listen="0.0.0.0:0")
    sizes = {n: [] for n in SIZES[what]}
    running = {}
    try:
        for n in SIZES[what]:
            p = Grown(os.path.join(stages.WORK, "work"), kind, {"main": backend}, FIRST_PORT + AT[n], held(10000) + 500,
                      doors={"main": mode}, backends_as_given=True,
                      services=n if what == "services" else 1, fanout=n if what == "backends" else 1)
            p.work += f"-{what}-{n}"
            os.makedirs(p.work, exist_ok=True)
            stage.say(f"growth: {n:,} {what} ({kind})")
            p.start(stage.proxy_core)
            running[n] = p
        for i in range(-1, stage.options.rounds):  # the first warms
            order = list(sizes)
            for n in order[i % len(order):] + order[:i % len(order)]:
                stage.say(f"growth: {n:,} {what} ({kind}), round {i + 1}")
                p = running[n]
                r, used = stage.metered(p, lambda: stage.run("load", p.address("main"),
                                                              *options_of(what, kind, n, quick)))
                if i >= 0:
                    sizes[n].append({"cpu": used["cpu_seconds"] * 1e6 / max(r["ok"], 1), "failed": r["failed"],
                                     **used})
    except proxies.Failed as e:
        stage.notes.append(f"growth, {what} ({kind}): {e}")
        return []
    finally:
        for p in running.values():
            p.stop()
        stage.stop_backends()
    first = [r["cpu"] for r in sizes[SIZES[what][0]]]
    return [{
        "what": what, "kind": kind, "title": TITLES[what],
        "sizes": [{"n": held(n) if what == "connections" else n, "cpu": report.spread([r["cpu"] for r in rs]),
                   "ratio": report.ratios([r["cpu"] for r in rs], first),
                   "foreign": report.spread([r["foreign"] for r in rs]),
                   "failed": sum(r["failed"] for r in rs)} for n, rs in sizes.items()],
    }]
