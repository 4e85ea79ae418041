"""Fixtures of the end-to-end tests: real programs, real peers, own ports.

	teal	a factory: teal(services=[service(...)], stop={...}) writes a
		configuration into the test's folder and starts teald on it
	web	the usual stage: a service "web" with one greeting backend a color
	backend	a factory of servers that say who they are (helpers/backends.py)
	farm	the same as a process, for load
	load	many clients, as a process
	bench	tealbench serve, the light backend, as a process
	redis	a factory of real Redis servers; proxy: one that stands before it
	topology	clients, a hop and nodes in network namespaces (helpers/topology.py)
	stack	a real Prometheus and Alertmanager on the samples of conf/
	fleet	a factory of Teals that share one Redis and two backends

Markers: `scales` for stories whose counts grow with TEAL_SOAK=1 (they are
then what `-m soak` selects), `tsan` for those the thread sanitizer sees,
`nosan` for those in which a sanitizer finds nothing (memory is measured, or only
programs and files beside teald are looked at), `serial` for those that want the machine alone,
`long` for those that take several seconds whatever the machine: they begin first.

When a test fails, the report has what each of its teald's logged, and the end of
all output says once more which failed, what was waited for, and the last lines of those logs.
"""
import fcntl
import itertools
import json
import os
import resource
import signal
import subprocess
import tempfile

import pytest

from helpers import scale
from helpers.backends import Backend, BlackHole, Farm
from helpers.clients import Load
from helpers.fleet import Fleet
from helpers.ports import Ports
from helpers.redis import Proxy, Redis
from helpers.stack import Stack
from helpers.teald import Teal, service
from helpers.topology import Topology, possible


def pytest_configure(config):
    # Begun in the background by a script, this process ignores them; what tests start and interrupt must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # A thousand clients and their backends live in this process.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    for line in ("soak: long, only in make soak", "scales: counts grow with TEAL_SOAK=1",
                 "tsan: exercises the threads; also run under ThreadSanitizer",
                 "nosan: measures memory, or has nothing of Teal's memory and threads to find; not run under sanitizers",
                 "serial: wants the machine for itself",
                 "long: takes five seconds or more, on any machine"):
        config.addinivalue_line("markers", line)


# Files whose tests share what is dear to start.
TOGETHER = "test_page.py"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class Sparing(LoadScopeScheduling):
        """Gives a worker one test ahead, so that none of the last waits behind others;
        but all tests of a file that share a browser."""
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return file if file.endswith(TOGETHER) else nodeid

    if config.getoption("dist") == "load":
        return Sparing(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items:
        if scale.SOAK and item.get_closest_marker("scales"):
            item.add_marker("soak")
        if scale.sanitizer() and item.get_closest_marker("nosan"):
            item.add_marker(pytest.mark.skip(reason="nothing for a sanitizer to find"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if not report.failed:
        return
    report.sections.append(("dice", f"TEAL_SEED={scale.SEED}"))
    for n, t in enumerate(item.stash.get(TEALS, [])):
        stderr = t.folder / "stderr"
        if t.process is None:
            continue
        text = "".join(json.dumps(line) + "\n" for line in t.logs[-LOG_LINES:])
        report.user_properties.append((LAST, f"teald {n} (pid {t.pid}), {len(t.logs)} lines:\n" + "".join(
            json.dumps(line)[:LAST_WIDTH] + "\n" for line in t.logs[-LAST_LINES:])))
        report.sections.append((f"log of teald {n} (pid {t.pid}), {len(t.logs)} lines, load {os.getloadavg()[0]:.1f}",
                                text))
        if stderr.exists() and stderr.stat().st_size:
            report.sections.append((f"stderr of teald {n}", stderr.read_text(errors="replace")[-LOG_BYTES:]))


# What a test has started, for its report.
TEALS = pytest.StashKey()
LOG_LINES, LOG_BYTES = 400, 20000
LAST, LAST_LINES, LAST_WIDTH, LAST_TESTS = "last lines", 20, 240, 5


def pytest_terminal_summary(terminalreporter):
    """What one needs to know first, last: where a person looks."""
    failed = [r for kind in ("failed", "error") for r in terminalreporter.stats.get(kind, [])]
    for report in failed[:LAST_TESTS]:
        crash = getattr(report.longrepr, "reprcrash", None)
        terminalreporter.write_sep("-", report.nodeid)
        terminalreporter.write_line("\n".join((crash.message if crash else str(report.longrepr)).splitlines()[:5]))
        for word, text in report.user_properties:
            if word == LAST:
                terminalreporter.write(text)
    if failed[LAST_TESTS:]:
        terminalreporter.write_line(f"and {len(failed) - LAST_TESTS} more, whose reports are above")


@pytest.fixture(autouse=True)
def _alone(request):
    """Serial tests exclude each other over all workers of this run."""
    if not request.node.get_closest_marker("serial"):
        yield
        return
    with open(os.path.join(tempfile.gettempdir(), f"teal-e2e-{os.getuid()}.lock"), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


@pytest.fixture
def ports():
    p = Ports()
    yield p
    p.close()


class Closing(list):
    """Things to close at the end, the last first."""

    def add(self, thing):
        self.append(thing)
        return thing

    def close(self):
        while self:
            self.pop().close()


@pytest.fixture
def closing():
    """closing.add(x): x.close() at the end of the test."""
    c = Closing()
    yield c
    c.close()


@pytest.fixture
def backend(ports, closing):
    """backend("green", behaviour): a server with that name, already running;
    start=False: its port refuses."""
    def make(name="green", behaviour=None, start=True, host="127.0.0.1", **how):
        b = Backend(name, ports.hold(host), *([behaviour] if behaviour else []), host=host, **how)
        closing.add(b)
        return b.start() if start else b
    return make


@pytest.fixture
def farm(ports, closing):
    return lambda name: closing.add(Farm(name, ports.hold()))


@pytest.fixture
def load(closing):
    """load(teal, clients): starts a load on its service "web"."""
    def make(teal, clients, think=0.0 if scale.SOAK else 0.005, name="web"):
        return closing.add(Load(*teal.address(name), clients, think))
    return make


@pytest.fixture
def topology(closing):
    """Clients, hop and nodes in namespaces of their own: helpers/topology.py."""
    if not possible():
        pytest.skip("needs root, network namespaces and nftables")
    return closing.add(Topology())


@pytest.fixture
def black_hole(ports, closing):
    """An address that never answers a SYN."""
    return lambda: closing.add(BlackHole(ports.hold()))


@pytest.fixture
def teal(request, tmp_path, ports, closing):
    """teal(services=[...], **settings): a running teald; start=False: only its
    configuration is made; place: the network namespace it runs in; clock: its
    time is moved by .clock (helpers/moved_clock.py)."""
    count, made = itertools.count(), request.node.stash.setdefault(TEALS, [])

    def make(*, services, start=True, place=None, clock=False, **settings):
        n = next(count)
        folder = tmp_path / f"teal{n}" if n else tmp_path
        folder.mkdir(exist_ok=True)
        t = Teal(folder, ports, settings | {"services": services}, place, clock)
        made.append(t)
        return t.start() if start else t

    yield make
    closing.close()  # clients and backends first: nothing is left to drain
    failures = []
    for t in reversed(made):
        try:
            t.finish()
        except AssertionError as e:
            failures.append(str(e))
    assert not failures, "\n".join(failures)


@pytest.fixture
def web(teal, backend, ports):
    """web(**keys of the service, top={settings}): a running teald with one
    service "web", .green and .blue its only backends.  With clock=True nothing
    is checked and nothing idle is closed unless the keys say so: the test's jumps are long."""
    def make(green=None, blue=None, top=None, start=True, clock=False, **keys):
        g = green or [backend("green")]
        b = blue or [backend("blue")]
        if clock:
            keys = {"health": {"type": "none"}, "idle_timeout": 0} | keys
        keys.setdefault("listen", f"127.0.0.1:{ports.hold()}")
        t = teal(services=[service(green=g, blue=b, **keys)], start=start, clock=clock, **(top or {}))
        t.green, t.blue = g[0], b[0]
        return t
    return make


class Ending:
    def __init__(self, process):
        self.process = process

    def close(self):
        self.process.terminate()
        self.process.wait(scale.patience())
        self.process.stdout.close()


@pytest.fixture
def bench(ports, closing):
    """bench(): the address of an echoing tealbench serve, or of another mode."""
    def make(mode="echo"):
        address = f"127.0.0.1:{ports.hold()}"
        p = subprocess.Popen([scale.BUILD / "tealbench", "serve", f"--listen={address}", f"--mode={mode}"],
                             stdout=subprocess.PIPE, text=True)
        closing.append(Ending(p))
        assert "listening" in p.stdout.readline()
        return address
    return make


@pytest.fixture
def redis(ports, closing):
    """redis(**options): a running redis-server; start=False: its port refuses."""
    def make(start=True, password=None, **options):
        r = closing.add(Redis(ports.hold(), {k.replace("_", "-"): v for k, v in options.items()}, password))
        return r.start() if start else r
    return make


@pytest.fixture
def proxy(ports, closing):
    return lambda target: closing.add(Proxy(ports.hold(), target))


@pytest.fixture
def stack(tmp_path, ports):
    """A running Prometheus and Alertmanager; stack.watch(fleet, address...)."""
    closing = Closing()
    yield Stack(tmp_path / "stack", ports, closing)
    closing.close()


@pytest.fixture
def fleet(teal, farm, redis, ports):
    """fleet(n): n running Teals before one Redis.  urls: a store url for each;
    store, service, top: further keys; start: how many of them to start."""
    def make(n=3, *, server=None, urls=None, store=None, green=None, blue=None, start=None, **keys):
        f = Fleet()
        f.redis = server or redis()
        f.green, f.blue = green or farm("green"), blue or farm("blue")
        top = keys.pop("top", {})
        for i in range(n):
            where = {"url": urls[i] if urls else f.redis.url} if "sentinels" not in (store or {}) else {}
            t = teal(start=False, services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[f.green],
                                                    blue=[f.blue], **keys)],
                     store={"type": "redis", "prefix": f.prefix} | where | (store or {}), **top)
            f.append(t)
        for t in f[:n if start is None else start]:
            t.start(ready=False)
        for t in f[:n if start is None else start]:
            t.wait_ready()
        return f
    return make
