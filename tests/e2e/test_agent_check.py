"""Agents: a server says beside its checks how much it wants, in the words of HAProxy's agent-check."""
import collections

import pytest

from helpers.reload import change, reload
from helpers.scale import until
from helpers.teald import service
from helpers.upgrade import upgraded

CHECKS = {"interval": 0.1, "timeout": 60.0, "rise": 1, "fall": 1}


def says(conn, b):
    """A line for each that asks, and then the end; b.line None: the end at once."""
    b.heard = getattr(b, "heard", []) + ([conn.recv(100)] if getattr(b, "expects", False) else [])
    b.asked += 1
    if b.line is not None:
        conn.sendall(b.line.encode())


class Node:
    """A server and its agent."""

    def __init__(self, server, agent):
        self.server, self.agent, self.address = server, agent, server.address


@pytest.fixture
def pair(teal, backend, ports):
    """pair(agent={…}): a teald whose green is two servers with an agent each, and both."""
    def make(start=True, agent=(), health=CHECKS, **keys):
        port, agents = ports.hold("127.0.0.2"), ports.hold("127.0.0.2")
        nodes = []
        for name, host in (("a", "127.0.0.2"), ("b", "127.0.0.3")):
            server, asked = (backend(name, *how, start=False, host=host) for how in ((), (says,)))
            server.port, asked.port, asked.line = port, agents, "up ready 100%\n"
            nodes.append(Node(server.start(), asked.start()))
        t = teal(start=False, services=[service(
            listen=f"127.0.0.1:{ports.hold()}", green=[n.address for n in nodes], blue=[f"127.0.0.1:{ports.hold()}"],
            health=dict(health) | {"agent": {"port": agents, "interval": 0.1} | dict(agent)}, **keys)])
        return (t.start() if start else t, *nodes)
    return make


def seen(t, n):
    return next(b for b in t.status("web")["colors"]["green"]["backends"] if b["address"] == n.address)


def becomes(t, n, **fields):
    def now():
        s = seen(t, n)
        return all(s.get(k) == v for k, v in fields.items()) and s
    return until(now, f"{n.address} is {fields}")


def shares(t, n):
    got = collections.Counter()
    for _ in range(n):
        with t.connect() as c:
            got[c.echo().peer] += 1
    return got


def used(t, names):
    until(lambda: set(shares(t, 6)) == set(names), f"new connections reach {names}")


def say(t, n, line, **fields):
    n.agent.line = line
    return becomes(t, n, agent={"said": line.strip("\r\n").replace("\t", " "), "answers": True}, **fields)


def test_what_an_agent_says_is_done(pair, closing):
    t, a, b = pair(on_down="reset")
    becomes(t, a, state="up", admin="ready", agent={"said": "up ready 100%", "answers": True})
    becomes(t, b, state="up")
    used(t, "ab")
    held = {}
    while len(held) < 2:
        c = closing.add(t.connect()).echo()
        held.setdefault(c.peer, c)
    # A share of the weight.
    say(t, a, "25%\n", weight_now=0.25)
    until(lambda: shares(t, 10) == {"a": 2, "b": 8}, "one to four")
    # Nothing new, by three words; what is there stays.
    for word in ("drain\r\n", "0% ready\n", "100%, maint\n"):
        say(t, a, word, state="up", admin="drain")
        used(t, "b")
        held["a"].echo()
        say(t, a, "ready\t100%\n", admin="ready")
        used(t, "ab")
    assert t.wait_log("backend.agent", backend=a.address, message="drain")["drained"] is True
    assert t.metrics().get("teal_backend_admin_state", backend=a.address) == 1
    # Down, whatever the checks say: they pass all the time.
    say(t, a, "down#disk full\n", state="down", error="its agent says: down#disk full")
    assert held["a"].read_end()[1] == "reset"
    used(t, "b")
    before = t.metrics().get("teal_backend_checks_total", backend=a.address, result="passed")
    until(lambda: t.metrics().get("teal_backend_checks_total", backend=a.address, result="passed") > before + 2, "checks pass")
    assert seen(t, a)["state"] == "down" and seen(t, a)["error"] == "its agent says: down#disk full"
    say(t, a, "up\n", state="up", error=None)
    used(t, "ab")
    # What is not said again stays, and what makes no sense is said to be so.
    say(t, a, "50%\n", weight_now=0.5)
    say(t, a, "ready", weight_now=0.5)
    say(t, a, "maxconn:30 up\n", weight_now=0.5, state="up")
    assert t.wait_log("agent.unknown", backend=a.address)["message"] == "maxconn:30 up"
    held["b"].echo()


def test_an_agent_that_does_not_answer_has_said_nothing(pair):
    """The checks are there to find out how the server does."""
    t, a, b = pair()
    say(t, a, "drain\n", admin="drain")
    a.agent.stop()
    becomes(t, a, agent={"said": "drain", "answers": False}, admin="drain", state="up")
    assert t.wait_log("agent.silent", backend=a.address)["reason"] == "connection refused"
    a.agent.line = None
    a.agent.start()
    seen_then = t.metrics().get("teal_probes_total", result="failed")
    until(lambda: t.metrics().get("teal_probes_total", result="failed") > seen_then + 2, "it is asked, and ends at once")
    assert seen(t, a)["admin"] == "drain"
    a.agent.line = "ready\n"
    becomes(t, a, admin="ready", agent={"said": "ready", "answers": True})
    t.wait_log("agent.answers", backend=a.address)
    used(t, "ab")


def test_agents_are_asked_with_words_and_without_checks(pair):
    t, a, b = pair(start=False, agent={"send": "status web\n"}, health={"type": "none"})
    a.agent.expects = b.agent.expects = True
    t.start()
    becomes(t, a, state="up", agent={"said": "up ready 100%", "answers": True})
    assert set(a.agent.heard) == {b"status web\n"}
    say(t, a, "stopped\n", state="down", error="its agent says: stopped")
    used(t, "b")
    say(t, a, "up\n", state="up")
    used(t, "ab")


def test_down_for_its_agent_and_then_for_its_checks(pair):
    t, a, b = pair()
    say(t, a, "fail\n", state="down")
    a.server.stop()
    failed = t.metrics().get("teal_backend_checks_total", backend=a.address, result="failed")
    until(lambda: t.metrics().get("teal_backend_checks_total", backend=a.address, result="failed") > failed, "a check fails")
    say(t, a, "up\n", state="down")
    becomes(t, a, state="down", error="connection refused")
    a.server.start()
    becomes(t, a, state="up", error=None)


def test_a_reload_brings_agents_and_takes_them(pair):
    t, a, b = pair()
    say(t, a, "drain 10%\n", admin="drain")
    say(t, b, "down\n", state="down")
    health = t.settings["services"][0]["health"]
    change(t, health=CHECKS)
    reload(t)
    becomes(t, a, admin="ready", state="up", weight=1)
    assert "agent" not in seen(t, a) and "weight_now" not in seen(t, a)
    becomes(t, b, state="up")
    used(t, "ab")
    change(t, health=health)
    reload(t)
    becomes(t, a, admin="drain")
    becomes(t, b, state="down")


def test_what_agents_said_goes_to_the_next_process(pair):
    t, a, b = pair(start=False)
    t.start(supervised=True)
    say(t, a, "drain 40%\n", admin="drain")
    say(t, b, "down#tired\n", state="down")
    a.agent.stop()      # the next process cannot ask
    b.agent.stop()
    becomes(t, b, agent={"said": "down#tired", "answers": False})
    upgraded(t)
    assert (seen(t, a)["admin"], seen(t, a)["weight_now"], seen(t, a)["agent"]["said"]) == ("drain", 0.4, "drain 40%")
    assert (seen(t, b)["state"], seen(t, b)["error"]) == ("down", "its agent says: down#tired")
    b.agent.line = "up\n"
    b.agent.start()
    becomes(t, b, state="up")


def test_an_agent_is_asked_once_for_all_services_of_its_node(teal, backend, ports):
    agent = backend("agent", says, start=False)
    agent.line = "75%\n"
    agent.start()
    servers = [backend(f"s{i}") for i in range(5)]
    health = CHECKS | {"agent": {"port": agent.port, "interval": 0.1}}
    t = teal(services=[service(f"s{i}", listen=f"127.0.0.1:{ports.hold()}", green=[s.address],
                               blue=[f"127.0.0.1:{ports.hold()}"], health=health) for i, s in enumerate(servers)])
    until(lambda: agent.asked > 5, "asked again and again")
    for i in range(5):
        until(lambda i=i: [b.get("weight_now") for c in t.status(f"s{i}")["colors"].values() for b in c["backends"]]
              == [0.75, 0.75], "each hears it")
    # One for each server and each idle port, and one for the agent.
    assert t.metrics().get("teal_check_targets") == 11
