"""The kernel engine in a fleet: one flip for all, and nobody forwards for ever on
old knowledge, not even a Teal that is dead."""
import signal
import threading
import time

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


@pytest.mark.long
def test_a_dead_teald_forwards_new_ones_no_longer_than_max_age(topology, closing, teal, store):
    stage = Stage(topology, closing, teal, top=store())
    stage.hold()
    stage.teal.ok("flip", "web", "blue")
    stage.teal.ok("flip", "dns", "blue")
    stage.hold()
    time.sleep(MAX_AGE * 1.5)  # renewed meanwhile
    assert not refused(stage)
    stage.teal.kill()
    killed = time.monotonic()
    until(lambda: refused(stage), "turned away")
    # Of its time a third at most was over: it is renewed that often.
    assert time.monotonic() - killed > MAX_AGE / 2
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
    paused = time.monotonic()
    # Two renewals are due by then, five seconds apart; the second at the latest finds nothing fresh.
    time.sleep(known + max_age / 3 + 1)
    assert not refused(stage)
    stage.teal.kill()
    until(lambda: refused(stage), "turned away")
    assert time.monotonic() - paused < max_age + known + 1
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
    time.sleep(MAX_AGE)
    assert refused(stage) == (stale == "refuse")
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
    """What it knew is not to be renewed for the new ones: the others have flipped."""
    here = Stage(topology, closing, teal, top=store())
    there = Stage(closing.add(Topology()), closing, teal, top=store())
    here.hold()
    here.teal.signal(signal.SIGSTOP)
    try:
        until(lambda: refused(here), "turned away")
        for name in ("web", "dns"):
            there.teal.ok("flip", name, "blue", "--wait=none")
        store.server.pause()
    finally:
        here.teal.signal(signal.SIGCONT)
    soon = threading.Timer(0.3, store.server.resume)
    soon.start()
    peers = []

    def comes_through():
        for begin in (here.connect, here.ask):
            try:
                peers.append(begin().peer)
            except (ConnectionError, AssertionError):
                pass
        return len(peers) >= 20
    until(comes_through, "served again")
    soon.join()
    assert set(peers) == {"blue"}
    here.check_held()
