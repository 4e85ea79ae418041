"""Services of UDP without the kernel engine: datagrams that teald forwards, each sender with a backend of its own."""
import contextlib
import json
import socket
import time

import pytest

from helpers import scale
from helpers.backends import Farm
from helpers.clients import Load
from helpers.reload import change, reload, rewrite
from helpers.scale import scaled, until
from helpers.teald import service

# Of each flow of a load another: a port that comes again would be the same flow.
SOURCES = "127.64.0.0/16"


class Asker:
    """A client of UDP: what is lost is asked for again, and counted."""

    def __init__(self, where, source="127.0.0.1"):
        self.sock = socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((source if ":" not in where[0] else "::1", 0))
        self.where, self.number, self.again = where, 0, 0

    def ask(self, more=b""):
        """The name of who answers, for this question and no other one."""
        self.number += 1
        question = b"%d" % self.number + more
        end = time.monotonic() + scale.patience()
        self.sock.settimeout(5.0)
        while time.monotonic() < end:
            self.sock.sendto(question, self.where)
            try:
                while True:
                    answer, who = self.sock.recvfrom(65536)
                    assert who[:2] == self.where[:2], f"asked {self.where}, answered by {who}"
                    name, _, rest = answer.partition(b" ")
                    if rest == question:
                        return name.decode()
            except TimeoutError:
                self.again += 1
        raise AssertionError(f"no answer from {self.where}")

    def close(self):
        self.sock.close()


@pytest.fixture
def server(ports, closing):
    """server("green"): answers datagrams with its name and what it was told."""
    return lambda name, host="127.0.0.1": closing.add(Farm(name, ports.hold(host), host=host, udp=True))


@pytest.fixture
def dns(teal, ports, server, closing):
    """dns(...): a teald with the service "dns"; its .ask() is a new client's."""
    def make(start=True, supervised=False, host="127.0.0.1", top=None, more=(), clock=False, **keys):
        port = ports.hold(host)
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        keys = {"health": {"type": "none"}} | keys
        s = service("dns", mode="udp", listen=listen, green=keys.pop("green", None) or [server("green")],
                    blue=keys.pop("blue", None) or [server("blue")], **keys)
        t = teal(services=[s, *more], start=False, clock=clock, **(top or {}))
        t.at = (host, port)
        t.asker = lambda **how: closing.add(Asker(t.at, **how))
        t.ask = lambda: t.asker().ask()
        t.counts = lambda: {c: v["connections"] for c, v in t.status("dns")["colors"].items()}
        return t.start(supervised=supervised) if start else t
    return make


def flood(teal, n):
    """n datagrams, each from a port of its own, that nothing reads the answers of; each has been served when it ends."""
    with contextlib.ExitStack() as all_open:
        for _ in range(n):
            s = all_open.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            s.sendto(b"x", teal.at)
        teal.wait_metric(n, "teal_datagrams_total", service="dns", direction="in")


def lasting(teal, askers):
    """Flows with traffic for two seconds do not end after half a minute, however slow the machine is; who answers."""
    first = [a.ask() for a in askers]
    teal.clock.move(3, wait=False)
    assert [a.ask() for a in askers] == first
    return set(first)


def test_each_sender_has_a_backend_and_a_flip_moves_the_next(dns):
    teal = dns(drain={"timeout": 600.0, "idle": 0.0})
    old = teal.asker()
    assert [old.ask() for _ in range(3)] == ["green"] * 3
    teal.ok("flip", "dns", "blue")
    assert teal.ask() == "blue"
    # Who had a flow goes on with its color, until the drain ends it.
    assert old.ask() == "green"
    held = teal.ok("drain", "dns")
    assert "%s:%d" % old.sock.getsockname() in json.dumps(held)
    assert teal.counts() == {"green": 1, "blue": 1}
    assert old.again == 0
    line, = teal.log_lines("flip.applied", service="dns")
    assert line["epoch"] == 2


def test_a_share_of_the_senders_gets_the_other_color_and_flows_stay(dns):
    teal = dns(top={"workers": 2})
    sources = [f"127.7.{i}.1" for i in range(100)]
    teal.ok("shift", "dns", "blue", "--to=30%")
    flows = {s: teal.asker(source=s) for s in sources}
    sides = {s: flow.ask() for s, flow in flows.items()}
    # Five sigma.
    assert 30 - 23 <= list(sides.values()).count("blue") <= 30 + 23
    assert {s: teal.asker(source=s).ask() for s in sources} == sides, "by another port, at another worker"
    teal.ok("shift", "dns", "blue", "--to=70%")
    assert {s: flow.ask() for s, flow in flows.items()} == sides
    grown = {s: teal.asker(source=s).ask() for s in sources}
    assert all(grown[s] == "blue" for s in sources if sides[s] == "blue")
    assert 70 - 23 <= list(grown.values()).count("blue") <= 70 + 23


def test_a_drain_ends_what_is_idle_and_its_deadline_the_rest(dns):
    teal = dns(drain={"timeout": 600.0, "idle": 5.0}, top={"workers": 1}, start=False)
    teal.start()
    first = teal.asker()
    assert first.ask() == "green"
    teal.ok("flip", "dns", "blue", "--drain=0", "--wait=drained")
    line = until(lambda: teal.log_lines("udp.session", end="drained"), "the line of the flow")[0]
    assert (line["color"], line["datagrams_in"], line["datagrams_out"], line["bytes_in"]) == ("green", 1, 1, 1)
    assert line["first_byte_seconds"] >= 0 and line["backend"] and line["epoch"] == 1
    # The same sender is a new flow.
    assert first.ask() == "blue"


def test_no_question_is_lost_or_answered_by_the_wrong_color_while_flips_go_on(dns, closing):
    teal = dns(drain={"timeout": 600.0, "idle": 0.0})
    flow = closing.add(Load(*teal.at, 10, 0.0, sources=SOURCES, udp=True))
    windows, color = [], "green"
    for _ in range(scaled(200)):
        color = "blue" if color == "green" else "green"
        begun = time.monotonic()
        teal.ok("flip", "dns", color)
        windows.append((begun, time.monotonic(), color))
        teal.ask()
    results = flow.finish()
    assert len(results) > 10
    bad = [r for r in results if r.error]
    assert bad == []
    for r in results:
        # A flow that began after a flip was applied, and before the next one was asked for.
        for i, (_, applied, now) in enumerate(windows):
            next_begun = windows[i + 1][0] if i + 1 < len(windows) else r.begun + 1
            if applied < r.begun < next_begun and r.retries == 0:
                # Its first question may have been on its way as the next flip came.
                assert r.name == now or r.ended > next_begun, (r, windows[i])


@pytest.mark.parametrize("size", [0, 1, 1472, 9000, 65000])
def test_datagrams_of_any_size_come_back_whole(ports, teal, closing, size):
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closing.add(echo)
    at = ports.hold()
    echo.bind(("127.0.0.1", at))
    t = teal(services=[{"name": "dns", "mode": "udp", "listen": f"127.0.0.1:{(port := ports.hold())}",
                        "backends": [f"127.0.0.1:{at}"], "health": {"type": "none"}}])
    client = closing.add(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    said = bytes(i % 251 for i in range(size))
    client.sendto(said, ("127.0.0.1", port))
    for s in (echo, client):
        s.settimeout(scale.patience())
    got, who = echo.recvfrom(70000)
    assert got == said
    echo.sendto(got, who)
    assert client.recvfrom(70000) == (said, ("127.0.0.1", port))
    t.wait_metric(1, "teal_datagrams_total", service="dns", direction="in")
    t.wait_metric(1, "teal_datagrams_total", service="dns", direction="out")


def test_the_answer_comes_from_the_address_that_was_asked(ports, teal, server, closing):
    """Bound to all addresses a socket would answer from the one that the route has."""
    port = ports.hold()
    teal(services=[{"name": "dns", "mode": "udp", "listen": [f"0.0.0.0:{port}", f"[::]:{port}"],
                    "backends": [server("x").address], "health": {"type": "none"}}])
    for host in ("127.0.0.1", "127.0.0.9", "::1"):
        # The client says no if another one answers.
        assert closing.add(Asker((host, port))).ask() == "x"


def test_a_backend_that_refuses_is_known_at_once_and_the_sender_moves(dns, server):
    """Nothing listens there: its host says so (ICMP), and the next datagram goes elsewhere."""
    good, gone = server("good"), server("gone")
    teal = dns(green=[gone, good], blue=[good])
    askers = [teal.asker() for _ in range(4)]
    assert {a.ask() for a in askers} == {"good", "gone"}
    gone.close()
    # Its first question may be lost with the server, the ones after that are not.
    assert [(a.ask(), a.ask()) for a in askers] == [("good", "good")] * 4
    lines = until(lambda: teal.log_lines("udp.session", end="backend_reset"), "a refused flow")
    assert {l["backend"] for l in lines} == {gone.address}
    assert teal.metrics().get("teal_backend_connect_failures_total", backend=gone.address) >= 1


def test_flows_of_a_backend_that_fails_its_checks_move(dns, server, backend):
    """on_down = "reset" is what datagrams have: nothing else would tell their senders."""
    good, bad, check = server("good"), server("bad"), backend("check")
    more = [{"address": good.address, "health_port": check.port}, {"address": bad.address, "health_port": (own := backend("own")).port}]
    teal = dns(green=[good], blue=[good], start=False)
    teal.settings["services"][0]["green"] = {"backends": more}
    teal.settings["services"][0]["health"] = {"type": "tcp", "interval": 0.1, "timeout": 20.0, "rise": 1, "fall": 1}
    teal.start()
    until(lambda: teal.status("dns")["colors"]["green"]["healthy"] == 2, "both are up")
    askers = [teal.asker() for _ in range(4)]
    first = [a.ask() for a in askers]
    assert set(first) == {"good", "bad"}
    own.close()
    until(lambda: len(teal.log_lines("udp.session", end="backend_down")) == first.count("bad"), "its flows end")
    assert [a.ask() for a in askers] == ["good"] * 4 and sum(a.again for a in askers) == 0


def test_time_ends_what_is_silent(dns):
    """One question and its answer: after half a minute. What goes on for longer than two seconds: after idle_timeout."""
    teal = dns(idle_timeout=100.0, clock=True, top={"workers": 1})
    short, long = teal.asker(), teal.asker()
    short.ask()
    lasting(teal, [long])
    teal.clock.move(26)
    assert sum(teal.counts().values()) == 2
    teal.clock.move(4)
    line, = until(lambda: teal.log_lines("udp.session", end="idle_timeout"), "the short one has ended")
    assert line["client"] == "%s:%d" % short.sock.getsockname() and line["datagrams_in"] == line["datagrams_out"] == 1
    teal.clock.move(90)
    until(lambda: len(teal.log_lines("udp.session", end="idle_timeout")) == 2, "the other one has ended, too")
    assert teal.metrics().get("teal_udp_flows") == 0


def test_previews_reach_the_idle_color_and_end_with_a_flip(dns, ports, closing):
    teal = dns(preview=f"127.0.0.1:{(preview := ports.hold())}")
    tester = closing.add(Asker(("127.0.0.1", preview)))
    assert (teal.ask(), tester.ask()) == ("green", "blue")
    teal.ok("flip", "dns", "blue")
    until(lambda: teal.log_lines("udp.session", end="preview_flipped", entrance="preview"), "it has ended")
    assert (teal.ask(), tester.ask()) == ("blue", "green")


def test_a_flood_of_senders_is_bounded_and_takes_nothing_from_others(dns, web_service):
    """One service is flooded from ever new ports: it keeps to max_connections, where the oldest gives way, and so does
    the process; another service goes on, and who had lasting traffic keeps its flow."""
    calm, more = web_service
    teal = dns(max_connections=40, top={"workers": 1, "log": {"access": True}}, more=more)
    flood(teal, 200)
    assert teal.metrics().get("teal_connections_total", service="dns", end="evicted") == 160
    assert sum(teal.counts().values()) == 40
    # A client that comes now has its answer: the newest stays.
    assert teal.ask() == "green"
    assert calm() == "calm"
    assert teal.metrics().get("teal_udp_flows") == 41
    assert teal.log_lines("udp.session", service="calm") == []


def test_the_process_keeps_a_share_for_others_whatever_comes(dns, web_service):
    """Half of its max_connections is for datagrams; the service that has most gives way to another one's first flow."""
    calm, more = web_service
    teal = dns(top={"workers": 1, "max_connections": 60}, more=more)
    assert teal.metrics().get("teal_udp_flows_max") == 30
    flood(teal, 100)
    assert teal.metrics().get("teal_connections_total", service="dns", end="evicted") == 70
    assert calm() == "calm"
    m = teal.metrics()
    assert m.get("teal_udp_flows") == 30 and m.get("teal_connections_total", service="dns", end="evicted") == 71
    assert m.get("teal_accept_pauses_total") == 0
    line, = teal.log_lines("flows.full")
    assert (line["service"], line["connections"]) == ("dns", 30)


@pytest.fixture
def web_service(ports, server, closing):
    """Another service of UDP: the function asks it as a new client, and its settings."""
    port = ports.hold()
    return (lambda: closing.add(Asker(("127.0.0.1", port))).ask(),
            [{"name": "calm", "mode": "udp", "listen": f"127.0.0.1:{port}", "backends": [server("calm").address],
              "health": {"type": "none"}}])


def test_who_may_come_in_and_how_often(dns):
    teal = dns(deny=["127.0.0.7/32"], max_connections_per_source=2, top={"workers": 1})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.7", 0))
        s.sendto(b"let me in", teal.at)
        teal.wait_metric(1, "teal_rejected_total", service="dns", reason="denied")
    assert [teal.ask(), teal.ask()] == ["green", "green"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", teal.at)
        teal.wait_metric(1, "teal_rejected_total", service="dns", reason="source_limit")
    teal.wait_metric(2, "teal_datagrams_dropped_total", service="dns")
    line, = teal.log_lines("udp.session", end="denied")
    assert line["client"].startswith("127.0.0.7:") and line["backend"] == ""


def test_a_source_has_its_backend_by_its_address(dns, server):
    servers = [server(str(n)) for n in range(4)]
    teal = dns(green=servers, blue=servers, balance="source_hash")
    peers = {f"127.0.1.{n}": {teal.asker(source=f"127.0.1.{n}").ask() for _ in range(3)} for n in range(1, 17)}
    assert all(len(names) == 1 for names in peers.values())
    assert len({n for names in peers.values() for n in names}) > 1


def test_a_reload_touches_no_flow(dns, ports, server, closing):
    teal = dns(drain={"timeout": 6000.0, "idle": 0.0}, idle_timeout=3600.0, clock=True)
    old = [teal.asker() for _ in range(8)]
    assert lasting(teal, old) == {"green"}
    teal.ok("flip", "dns", "blue")
    # Another key; then a second address, and the first one with another neighbour.
    change(teal, "dns", idle_timeout=3000.0)
    reload(teal)
    second = ports.hold()
    change(teal, "dns", listen=["%s:%d" % teal.at, f"127.0.0.1:{second}"])
    reload(teal)
    assert closing.add(Asker(("127.0.0.1", second))).ask() == "blue"
    assert {a.ask() for a in old} == {"green"} and teal.ask() == "blue"
    # The address goes: who came by it is served to the end, nothing new is.
    late = closing.add(Asker(("127.0.0.1", second)))
    assert lasting(teal, [late]) == {"blue"}
    change(teal, "dns", listen="%s:%d" % teal.at)
    reload(teal)
    assert late.ask() == "blue"
    # Until its last flow has ended the address cannot come again, which says why.
    change(teal, "dns", listen=["%s:%d" % teal.at, f"127.0.0.1:{second}"])
    r = teal.ctl("reload")
    assert (r["ok"], r["changed"]) == (False, False) and "a reload took away there go on, until its drain.timeout" in r["message"], r
    change(teal, "dns", listen="%s:%d" % teal.at)
    assert late.ask() == "blue"
    assert sum(a.again for a in [*old, late]) == 0
    # A service of the name of TCP stands on the same address and port.
    echo = server("other")
    rewrite(teal, services=[*teal.settings["services"], {"name": "tcp", "listen": "%s:%d" % teal.at, "backends": [echo.address],
                                                         "health": {"type": "none"}}])
    reload(teal)
    assert {a.ask() for a in old} == {"green"}


@pytest.mark.parametrize("workers", [(2, 2), (1, 2), (2, 1)], ids=["2", "1-2", "2-1"])
def test_an_upgrade_takes_every_flow_along(dns, closing, workers):
    """Flows keep their backend, though the other color has the traffic; no question is lost, and what is counted goes on."""
    teal = dns(supervised=True, drain={"timeout": 6000.0, "idle": 0.0}, idle_timeout=3600.0, clock=True, top={"workers": workers[0]})
    old = [teal.asker() for _ in range(scaled(1000, 50))]
    assert lasting(teal, old) == {"green"}
    teal.ok("flip", "dns", "blue")
    flow = closing.add(Load(*teal.at, 10, 0.0, sources=SOURCES, udp=True))
    for _ in range(2):
        before = teal.serving()
        rewrite(teal, workers=workers[1])
        teal.ok("upgrade")
        assert teal.serving() != before
        assert {a.ask() for a in old} == {"green"}
        until(lambda: len(teal.ok("status")["generations"]) == 1, "the former process has given all and gone")
    assert {a.ask() for a in old} == {"green"} and teal.ask() == "blue"
    results = flow.finish()
    assert [r for r in results if r.error] == [] and len(results) > 10
    assert sum(r.retries for r in results) == 0 and sum(a.again for a in old) == 0
    assert {r.name for r in results} == {"blue"}
    assert teal.counts()["green"] == len(old)
    m = teal.metrics()
    assert m.get("teal_datagrams_total", service="dns", color="green", direction="in") == 5 * len(old)
    # The drain goes on in the new process.
    teal.ok("flip", "dns", "green")
    teal.ok("flip", "dns", "blue", "--drain=0", "--wait=drained")
    until(lambda: teal.counts()["green"] == 0, "all were cut")


def test_an_address_that_goes_is_free_though_a_supervisor_kept_it(dns, ports, closing):
    """The same address of TCP stays: what is kept is known by its kind, too."""
    teal = dns(supervised=True, start=False)
    second = ports.hold()
    where, kept = ("127.0.0.1", second), f"127.0.0.1:{second}"
    first = teal.settings["services"][0]
    teal.settings["services"] = [first | {"listen": [first["listen"], kept]},
                                 service("web", listen=kept, green=[first["listen"]], blue=[first["listen"]], health={"type": "none"})]
    teal.start(supervised=True)
    assert closing.add(Asker(where)).ask() == "green"
    change(teal, "dns", listen=first["listen"], drain={"timeout": 0.0})
    reload(teal)

    def is_free():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                return s.bind(where) is None
            except OSError:
                return False
    until(is_free, "the address is free: its last flow has ended, and the supervisor has let it go")
    with socket.create_connection(where):
        pass
    # It may come again, and the next process has it, too.
    change(teal, "dns", listen=[first["listen"], kept])
    reload(teal)
    teal.ok("upgrade")
    assert closing.add(Asker(where)).ask() == "green" and teal.ask() == "green"
