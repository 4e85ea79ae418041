"""The kernel engine in a fleet: one flip for all, and nobody forwards for ever on
old knowledge, not even a Teal that is dead."""
import re
import signal

import pytest

from helpers.kernel import Stage
from helpers.scale import until
from helpers.topology import Topology

MAX_AGE = 2.0


@pytest.fixture
def store(redis):
    """Of one Redis for all, wherever they live: its socket is a file."""
    server = redis()

    def keys(**more):
        return {"store": {"type": "redis", "url": f"unix://{server.path}", "prefix": "teal:kernel", "max_age": MAX_AGE} | more}
    keys.server = server
    return keys


def refused(stage):
    """A new connection and a new flow are turned away at once: a reset, port unreachable."""
    answers = []
    for begin in (stage.connect, stage.ask):
        try:
            begin().close()
            answers.append(False)
        except ConnectionRefusedError:
            answers.append(True)
    return answers[0] if answers[0] == answers[1] else None


UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def leases(stage, word="expires"):
    """How long, in seconds, the kernel still keeps each element that leads a
    service's address to a color; word="timeout": how long it keeps one at most."""
    found = re.findall(rf"\b{word} ((?:\d+[a-z]+)+)", stage.topology.hop.run("nft", "list", "map", "inet", "teal_main", "main4"))
    return [sum(int(n) * UNITS[unit] for n, unit in re.findall(r"(\d+)([a-z]+)", text)) for text in found]


def wait_renewals(stage, n):
    """Until the kernel has been told n times to keep them for longer."""
    last, seen = leases(stage), 0

    def renewed():
        nonlocal last, seen
        now = leases(stage)
        seen += len(now) == len(last) and min(now, default=0) > min(last, default=0)
        last = now
        return seen >= n
    until(renewed, f"{n} renewals")


@pytest.mark.long
def test_a_dead_teald_forwards_new_ones_no_longer_than_max_age(topology, closing, teal, store):
    stage = Stage(topology, closing, teal, top=store())
    stage.hold()
    stage.teal.ok("flip", "web", "blue")
    stage.teal.ok("flip", "dns", "blue")
    stage.hold()
    # It is renewed each third of that time: more than all of it passes.
    wait_renewals(stage, 4)
    until(lambda: refused(stage) is False, "still served")
    assert set(leases(stage, "timeout")) == {MAX_AGE}
    stage.teal.kill()
    until(lambda: refused(stage), "turned away")
    assert leases(stage) == []
    stage.check_held()
    stage.teal.start()
    assert stage.connect().peer == stage.ask().peer == "blue"
    stage.check_held()


@pytest.mark.soak
@pytest.mark.long
def test_what_is_not_known_for_seconds_is_not_renewed(topology, closing, teal, store):
    """Cut off from the store, then dead: the others count it as gone max_age and
    five seconds after its last word, and flip.  Its kernel has stopped by then."""
    max_age, known = 15.0, 5.0
    stage = Stage(topology, closing, teal, top=store(stale="refuse", max_age=max_age))
    store.server.pause()
    # Renewals are due five seconds apart; the second at the latest finds nothing fresh.
    until(lambda: max(leases(stage)) < max_age / 3, "one is left out")
    assert stage.teal.ok("status")["store"]["age"] > known
    assert not refused(stage)
    stage.teal.kill()
    until(lambda: refused(stage), "turned away")
    store.server.resume()


@pytest.mark.long
@pytest.mark.parametrize("stale", ["serve", "refuse"])
def test_without_the_store_a_living_teald_does_as_it_is_told(topology, closing, teal, store, stale):
    stage = Stage(topology, closing, teal, top=store(stale=stale))
    stage.hold()
    store.server.pause()
    until(lambda: stage.teal.http("/readyz")[0] == 503, "not ready")
    if stale == "refuse":
        until(lambda: refused(stage), "turned away")
    until(lambda: stage.teal.ok("status")["store"]["age"] > 2 * MAX_AGE, "it knows nothing newer")
    until(lambda: refused(stage) == (stale == "refuse"), "as it is told")
    stage.check_held()
    store.server.resume()
    until(lambda: stage.teal.http("/readyz")[0] == 200, "ready again")
    until(lambda: refused(stage) is False, "served again")
    stage.check_held()
    assert stage.teal.ok("flip", "web", "blue")["changed"]
    assert stage.connect().peer == "blue"


def test_a_flip_is_applied_on_all_hops(topology, closing, teal, store):
    here = Stage(topology, closing, teal, top=store(max_age=10.0))
    there = Stage(closing.add(Topology()), closing, teal, top=store(max_age=10.0))
    stages = (here, there)
    for s in stages:
        s.hold()
    for n, color in enumerate(("blue", "green", "blue")):
        # Whoever is asked, the reply is about all of them.
        stages[n % 2].teal.ok("flip", "web", color, "--wait=applied")
        assert [s.connect().peer for s in stages] == [color, color]
        for s in stages:
            s.check_held()
    assert here.ask().peer == there.ask().peer == "green"
    assert len(here.teal.ok("fleet")["fleet"]) == 2


@pytest.mark.long
def test_who_slept_past_max_age_asks_before_it_forwards_again(topology, closing, teal, store):
    """What it knew is not to be renewed for the new ones: the others have flipped.
    Refusing, so that it waits however long the store takes to answer."""
    here = Stage(topology, closing, teal, top=store(stale="refuse"))
    there = Stage(closing.add(Topology()), closing, teal, top=store(stale="refuse"))
    here.hold()
    here.teal.signal(signal.SIGSTOP)
    try:
        until(lambda: refused(here), "turned away")
        for name in ("web", "dns"):
            there.teal.ok("flip", name, "blue", "--wait=none")
        store.server.pause()
    finally:
        here.teal.signal(signal.SIGCONT)
    until(lambda: here.teal.http("/readyz")[0] == 503, "it is awake, and waits for the store")
    assert refused(here)
    store.server.resume()
    peers = []

    def comes_through():
        for begin in (here.connect, here.ask):
            try:
                peers.append(begin().peer)
            except (ConnectionError, AssertionError):
                pass
        return len(peers) >= 20
    until(comes_through, "served again")
    assert set(peers) == {"blue"}
    here.check_held()
