"""CPU per unit of work: the scenarios, their rounds, their summaries."""

import dataclasses
import os

import measure
import report
from stage import WORK

SMALL = 64
MANY = 500
BULK = 256 << 20
SLICE = 1 << 20


@dataclasses.dataclass
class Scenario:
    key: str
    title: str
    door: str
    unit: str
    per: float  # one unit's worth: CPU seconds x per / (requests or bytes)
    load: tuple
    work: int  # requests a round
    quick: int
    kind: str = "tcp"
    congestion: str = ""
    share: float = 0  # open loop, at so much of what the slowest did in http-keepalive
    rate: int = 0  # which is this; work is seconds then
    without: tuple = ()  # proxies for which it has no meaning
    path: str = ""  # of HTTP/2, whose load is h2load's: what is asked for, and by its options how


TLS = ("--tls", "--insecure")
NO_SPLICE = ("haproxy-splice",)
# What a browser sends for a small thing of a page it is on.
BROWSER = (
    "Accept: application/json, text/plain, */*",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: https://shop.example/cart",
    "X-Requested-With: XMLHttpRequest",
    "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; consent=1",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: same-origin",
    "Cache-Control: no-cache",
)
SCENARIOS = [
    Scenario("tcp-small", f"TCP, small messages: {SMALL} bytes and their echo, 32 connections",
             "echo", "us/message", 1e6, ("--mode=tcp-small", "--connections=32", f"--size={SMALL}"),
             200_000, 50_000),
    Scenario("tcp-connect", f"TCP, a connection for each {SMALL} bytes and their echo, 16 at once",
             "echo", "us/connection", 1e6,
             ("--mode=tcp-connect", "--connections=16", f"--size={SMALL}", "--sources=4"),
             40_000, 15_000),
    Scenario("tcp-connect-end", f"TCP, the same, the client ending its side with its {SMALL} bytes",
             "echo", "us/connection", 1e6,
             ("--mode=tcp-connect", "--half-close", "--connections=16", f"--size={SMALL}", "--sources=4"),
             40_000, 15_000),
    Scenario("tcp-bulk-down", "TCP, bulk to the client: 256 MiB transfers, 4 at once",
             "source", "s/GB", 1e9,
             ("--mode=tcp-bulk-down", "--connections=4", f"--size={BULK}", "--no-check"), 24, 4),
    Scenario("tcp-bulk-up", "TCP, bulk from the client: 256 MiB transfers, 4 at once",
             "sink", "s/GB", 1e9,
             ("--mode=tcp-bulk-up", "--connections=4", f"--size={BULK}", "--no-check"), 24, 4),
    Scenario("http-keepalive", f"HTTP, keep-alive: GET of {SMALL} bytes over and over, 32 connections",
             "http", "us/request", 1e6, ("--mode=http", "--connections=32", f"--path=/bytes/{SMALL}"),
             150_000, 40_000, kind="http", without=NO_SPLICE),
    Scenario("http-browser", "HTTP, the same with the heads of a browser and of an application",
             "rich", "us/request", 1e6,
             ("--mode=http", "--connections=32", f"--path=/bytes/{SMALL}", *(f"--header={h}" for h in BROWSER)),
             150_000, 40_000, kind="http", without=NO_SPLICE),
    Scenario("http-many", f"HTTP, keep-alive: GET of {SMALL} bytes over and over, {MANY} connections",
             "http", "us/request", 1e6, ("--mode=http", f"--connections={MANY}", f"--path=/bytes/{SMALL}"),
             150_000, 40_000, kind="http", without=NO_SPLICE),
    Scenario("http-connect", f"HTTP, a client connection for each GET of {SMALL} bytes, 16 at once",
             "http", "us/request", 1e6,
             ("--mode=http-close", "--connections=16", f"--path=/bytes/{SMALL}", "--sources=4"),
             40_000, 15_000, kind="http", without=NO_SPLICE),
    Scenario("http-1mib", "HTTP, GET of 1 MiB over and over, 4 connections",
             "http", "s/GB", 1e9, ("--mode=http", "--connections=4", f"--path=/bytes/{SLICE}", "--no-check"),
             4000, 1000, kind="http"),
    Scenario("http-half", "HTTP, keep-alive at half of what the slowest proxy can do: open loop, 32 connections",
             "http", "us/request", 1e6, ("--mode=http", "--connections=32", f"--path=/bytes/{SMALL}"),
             4, 1, kind="http", without=NO_SPLICE, share=0.5),
    Scenario("http-calm", "HTTP, keep-alive at a fifth of that: open loop, 32 connections",
             "http", "us/request", 1e6, ("--mode=http", "--connections=32", f"--path=/bytes/{SMALL}"),
             4, 1, kind="http", without=NO_SPLICE, share=0.2),
    Scenario("tls-keepalive", f"HTTPS, keep-alive: GET of {SMALL} bytes over and over, 32 connections",
             "https", "us/request", 1e6,
             ("--mode=http", "--connections=32", f"--path=/bytes/{SMALL}", *TLS), 80_000, 20_000, kind="tls"),
    Scenario("tls-connect", "HTTPS, a connection and a full handshake for each GET, 16 at once",
             "https", "us/request", 1e6,
             ("--mode=http-close", "--connections=16", f"--path=/bytes/{SMALL}", "--sources=4", *TLS),
             4000, 1000, kind="tls"),
    Scenario("tls-resume", "HTTPS, a connection and a resumed handshake for each GET, 16 at once",
             "https", "us/request", 1e6,
             ("--mode=http-close", "--connections=16", f"--path=/bytes/{SMALL}", "--sources=4", "--resume", *TLS),
             4000, 1000, kind="tls"),
    Scenario("tls-1mib", "HTTPS, GET of 1 MiB over and over, 4 connections",
             "https", "s/GB", 1e9,
             ("--mode=http", "--connections=4", f"--path=/bytes/{SLICE}", "--no-check", *TLS),
             2000, 500, kind="tls"),
]


def http2(kind, by):
    """HTTP/2 of clients, by h2load; backends speak HTTP/1.1."""
    for connections, streams in ((1, 32), (16, 8), (64, 1)):
        yield Scenario(f"{kind}-{connections}x{streams}", f"HTTP/2{by}: GET of {SMALL} bytes over and over, {connections} x "
                       f"{streams} streams", kind, "us/request", 1e6, (f"-c{connections}", f"-m{streams}"), 100_000, 20_000,
                       kind=kind, without=NO_SPLICE, path=f"/bytes/{SMALL}")
    yield Scenario(f"{kind}-1mib", f"HTTP/2{by}: GET of 1 MiB over and over, 4 x 1 streams", kind, "s/GB", 1e9, ("-c4", "-m1"),
                   2000, 500, kind=kind, without=NO_SPLICE, path=f"/bytes/{SLICE}")


# What h2load sends: a unary call, its message behind its head.
CALL = ("-d", os.path.join(WORK, "work", "grpc-call"), "-H", "content-type: application/grpc", "-H", "te: trailers")
SCENARIOS += [*http2("h2c", " with prior knowledge"), *http2("h2", " by TLS")]
SCENARIOS += [Scenario(f"grpc-{connections}x{streams}", f"gRPC, HTTP/2 on both sides: unary calls of {SMALL} bytes, {connections} x {streams} streams",
                       "grpc", "us/call", 1e6, (f"-c{connections}", f"-m{streams}", *CALL), 100_000, 20_000, kind="grpc",
                       without=NO_SPLICE, path="/Call") for connections, streams in ((1, 32), (16, 8))]


class Comparison:
    def __init__(self, stage):
        self.stage = stage
        self.options = stage.options

    def load(self, proxy, s, work):
        if s.path:
            scheme = "https" if s.kind == "h2" else "http"
            return self.stage.h2load(f"{scheme}://{proxy.address(s.door)}{s.path}", work, *s.load)
        options = [*s.load]
        if s.congestion:
            options.append(f"--congestion={s.congestion}")
        if s.rate:
            options += [f"--rate={s.rate}", f"--duration={max(work, 1)}"]
        else:
            options += [f"--requests={work}", "--duration=120"]
        return self.stage.run("load", proxy.address(s.door), *options)

    def round(self, proxy, s):
        result, used = self.stage.metered(proxy, lambda: self.load(proxy, s, s.work))
        moved = max(result["bytes_in"], result["bytes_out"])
        units = moved if s.unit == "s/GB" else result["ok"]
        return {
            "cpu": used["cpu_seconds"] * s.per / max(units, 1),
            "units": units,
            **used,
            **report.of_load(result, moved),
        }

    def compare(self, s, running):
        rounds = {p.name: [] for p in running}
        for p in running:
            self.stage.say(f"{s.key}: warming {p.name}")
            self.load(p, s, s.work // 20 if s.rate else max(4, s.work // 20))
        for i in range(self.options.rounds):
            # Each round begins with another one: nobody is always first.
            for p in running[i % len(running):] + running[:i % len(running)]:
                self.stage.say(f"{s.key}: round {i + 1} of {self.options.rounds}, {p.name}")
                rounds[p.name].append(self.round(p, s))
        return report.summarize(s, rounds)

    def group(self, kind, scenarios, classes, congestion):
        """All the scenarios of one kind with one congestion control."""
        results = []
        if not scenarios:
            return results
        addresses = self.stage.start_backends(kind, congestion)
        running = self.stage.start(kind, classes, addresses, 1000)
        try:
            for s in scenarios:
                among = [p for p in running if p.name not in s.without]
                s = dataclasses.replace(s, congestion=congestion or measure.congestion(),
                                        work=self.work(s))
                if s.share:
                    s = self.at_share(s, results)
                if among:
                    results.append(self.compare(s, among))
                    results[-1]["goal"] = congestion == self.options.congestion
        finally:
            for p in running:
                p.stop()
            self.stage.stop_backends()
        return results

    def work(self, s):
        work = (s.quick if self.options.quick else s.work) * self.options.scale
        return max(1, round(work))

    def at_share(self, s, results):
        """The same rate for all: so much of the slowest's throughput."""
        full = [r for r in results if r["key"] == "http-keepalive"]
        slowest = min(p["per_second"]["median"] for name, p in full[0]["proxies"].items()
                      if name not in s.without)
        return dataclasses.replace(s, rate=int(slowest * s.share))
