"""How cost grows: more connections, more services, more backends; the proxy's
CPU for a unit of work, each size in turn, round by round.  HAProxy grows beside
Teal, for what both pay is the kernel's and the caches'."""

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
PEER_PORT = 8500
AT = {1: 0, 10: 20, 100: 100, 1000: 60, 10000: 80, 500: 300}


def many_backends(address, n):
    """Every address of 127/8 reaches a listener on 0.0.0.0."""
    port = address.rpartition(":")[2]
    return [f"127.1.{i // 250}.{i % 250 + 1}:{port}" for i in range(n)]


class Grown(proxies.Teal):
    """teald with so many services or backends."""

    def __init__(self, *args, services=1, fanout=1, **more):
        super().__init__(*args, **more)
        self.services, self.fanout, self.observe = services, fanout, services

    def commands(self):
        backends = many_backends(self.backends["main"], self.fanout)
        return self.run_services(*(
            self.service(f"s{i}", f"127.0.0.1:{self.ports['main'] + i}", '", "'.join(backends),
                         self.backends["main"], extra=HEALTH) for i in range(self.services)))


class GrownHAProxy(proxies.HAProxy):
    """HAProxy with as many."""

    def __init__(self, *args, services=1, fanout=1, **more):
        super().__init__(*args, **more)
        self.services, self.fanout = services, fanout

    def commands(self):
        servers = "\n".join(f"\tserver b{j} {address}{self.server[self.kind]}" for j, address in
                            enumerate(many_backends(self.backends["main"], self.fanout)))
        return self.run_doors("\n".join(
            f"listen s{i}\n\tbind 127.0.0.1:{self.ports['main'] + i} backlog 4096\n{servers}\n"
            for i in range(self.services)))


GROWN = {"teal": (Grown, FIRST_PORT), "haproxy": (GrownHAProxy, PEER_PORT)}


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


def start_all(stage, what, kind, address):
    """{(proxy's name, size): it, running}; what keeps one from it is noted."""
    mode = {"tcp": "echo", "http": "http"}[kind]
    running = {}
    for name, (grown, port) in GROWN.items():
        if stage.options.proxies and name not in stage.options.proxies:
            continue
        try:
            for n in SIZES[what]:
                p = grown(os.path.join(stages.WORK, "work"), kind, {"main": address}, port + AT[n],
                          held(10000) + 100 if what == "connections" else 2000,
                          doors={"main": mode}, backends_as_given=True,
                          services=n if what == "services" else 1, fanout=n if what == "backends" else 1)
                p.work += f"-{what}-{n}"
                os.makedirs(p.work, exist_ok=True)
                stage.say(f"growth: {n:,} {what} ({name}, {kind})")
                running[name, n] = p
                p.start(stage.proxy_core)
        except proxies.Failed as e:
            stage.notes.append(f"growth, {what} ({name}, {kind}): {e}")
            for n in SIZES[what]:
                if (name, n) in running:
                    running.pop((name, n)).stop()
    return running


def grow(stage, what, kind):
    """The ratio of each size to the smallest, paired by rounds, of each proxy."""
    quick = stage.options.quick
    mode = {"tcp": "echo", "http": "http"}[kind]
    address = stage.backend(f"--mode={mode}", listen="0.0.0.0:0")
    running = {}
    try:
        running = start_all(stage, what, kind, address)
        results = {key: [] for key in running}
        for i in range(-1, stage.options.rounds):  # the first warms
            order = list(running)
            for name, n in order[i % len(order):] + order[:i % len(order)]:
                stage.say(f"growth: {n:,} {what} ({name}, {kind}), round {i + 1}")
                p = running[name, n]
                r, used = stage.metered(p, lambda: stage.run("load", p.address("main"),
                                                              *options_of(what, kind, n, quick)))
                if i >= 0:
                    results[name, n].append({"cpu": used["cpu_seconds"] * 1e6 / max(r["ok"], 1),
                                             "failed": r["failed"], **used})
    finally:
        for p in running.values():
            p.stop()
        stage.stop_backends()
    return [table(what, kind, name, {n: rs for (who, n), rs in results.items() if who == name})
            for name in GROWN if (name, SIZES[what][0]) in results]


def table(what, kind, name, results):
    first = [r["cpu"] for r in results[SIZES[what][0]]]
    return {
        "what": what, "kind": kind, "proxy": name, "title": TITLES[what],
        "sizes": [{"n": held(n) if what == "connections" else n, "cpu": report.spread([r["cpu"] for r in rs]),
                   "ratio": report.ratios([r["cpu"] for r in rs], first),
                   "foreign": report.spread([r["foreign"] for r in rs]),
                   "failed": sum(r["failed"] for r in rs)} for n, rs in results.items()],
    }
