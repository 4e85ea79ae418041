"""What the kernel engine forwards does not need teald: it is killed and started
again, over and over, and no client can tell."""
import os
import signal
import time

import pytest

from helpers.kernel import COLORS, Stage, other, report
from helpers.scale import dice, scaled, until

pytestmark = pytest.mark.scales


def counts_are_right(stage, name, udp):
    """teald's counts and the kernel's own table, at one moment."""
    def same():
        stage.check_held()  # the kernel forgets a flow that says nothing for half a minute
        told, true = stage.counted(name), stage.tracked(udp)
        return told == true and (told,)
    return until(same, f"{name}: the counts of teald and of the kernel agree")[0]


@pytest.mark.tsan
def test_killed_and_restarted_under_load(topology, closing, teal, capfd):
    kills = scaled(50, 3)
    chance = dice()
    stage = Stage(topology, closing, teal)
    loads = {"web": stage.load(), "dns": stage.load(udp=True)}
    active = {"web": "green", "dns": "green"}
    epochs = {"web": 1, "dns": 1}

    def begun():
        return {name: stage.teal.status(name)["colors"][color]["connections_total"] for name, color in active.items()}
    for n in range(kills):
        stage.hold()
        # Some die in the middle of a change, some while nothing happens.
        if chance.random() < 0.5:
            for name in active:
                active[name] = other(active[name])
                epochs[name] += 1
                stage.teal.ok("flip", name, active[name])
        time.sleep(chance.random() * 0.1)
        stage.teal.kill()
        stage.connect().echo().close()  # nobody is there, and it goes on
        assert stage.ask().peer == active["dns"]
        stage.teal.start()
        for name, color in active.items():
            s = stage.teal.status(name)
            assert (s["active"], s["epoch"]) == (color, epochs[name])
        since = begun()
        until(lambda: all(begun()[name] > since[name] + 10 for name in active), "the loads go on")
        if n % 10 == 0 or n == kills - 1:
            stage.check_held()
    results = {name: load.finish() for name, load in loads.items()}
    for name, sessions in results.items():
        failed = [s for s in sessions if s.error or s.retries]
        assert not failed, f"{name}: {len(failed)} of {len(sessions)} failed: {failed[:5]}"
    stage.check_held()
    counts = {name: counts_are_right(stage, name, name == "dns") for name in active}
    assert counts["web"] == {c: sum(h.peer == c for h in stage.held["web"]) for c in COLORS}
    for c in COLORS:
        assert counts["dns"][c] >= sum(f.peer == c for f in stage.held["dns"])
    # And it is in charge: what it knows from before is drained like what it saw come.
    stage.teal.ok("flip", "web", other(active["web"]))
    r = stage.teal.ok("flip", "web", active["web"], "--drain=0.2", "--wait=drained")
    assert r["active"] == active["web"]
    assert stage.counted("web")[other(active["web"])] == 0
    report(capfd, f"kernel engine: killed and restarted {kills} times under {sum(map(len, results.values())):,} connections "
                  f"and flows, 0 failed")


def test_a_supervisor_starts_the_next_one_and_no_client_can_tell(topology, closing, teal):
    stage = Stage(topology, closing, teal)
    stage.teal.stop()
    stage.teal.start(supervised=True)
    load = stage.load()
    for n in range(scaled(5, 2)):
        stage.hold()
        color = stage.teal.status("web")["active"]
        stage.teal.ok("flip", "web", other(color))
        before = stage.teal.serving()
        os.kill(before, signal.SIGKILL)
        stage.connect().echo().close()

        def successor():
            try:
                return stage.teal.serving() != before
            except (OSError, AssertionError):
                return False
        until(successor, "the next one serves")
        s = stage.teal.status("web")
        assert (s["active"], s["epoch"]) == (other(color), n + 2)
    sessions = load.more(50).finish()
    failed = [s for s in sessions if s.error or s.retries]
    assert not failed, failed[:5]
    stage.check_held()


def test_another_configuration_takes_over_under_load(topology, closing, teal):
    """Services come and go, limits and ways to choose change, from one start to
    the next: those that stay lose nothing."""
    rounds = scaled(40, 4)
    stage = Stage(topology, closing, teal)
    loads = {"web": stage.load(), "dns": stage.load(udp=True)}
    web, dns = stage.teal.settings["services"]
    another = web | {"name": "another", "listen": f"{topology.VIP}:81"}
    variants = [
        [another, web, dns],
        [web | {"max_connections_per_source": 1000, "balance": "source_hash"}, dns | {"deny": ["192.0.2.0/24"]}],
        [dns, web | {"preview": f"{topology.VIP}:82"}, another],
        [web, dns],
    ]
    for n in range(rounds):
        stage.hold()
        # Its end is announced, or not.
        assert stage.teal.stop() == 0 if n % 2 else stage.teal.kill() is None
        stage.teal.settings["services"] = variants[n % len(variants)]
        stage.teal.start()
        color = COLORS[n // 2 % 2]
        for name in loads:
            stage.teal.ok("flip", name, color)
        assert (stage.connect().peer, stage.ask().peer) == (color, color)
    for name, load in loads.items():
        sessions = load.finish()
        failed = [s for s in sessions if s.error or s.retries]
        assert sessions and not failed, f"{name}: {len(failed)} of {len(sessions)} failed: {failed[:5]}"
    stage.check_held()
    for name in loads:
        counts_are_right(stage, name, name == "dns")


@pytest.mark.tsan
def test_on_stop_keep_and_remove(topology, closing, teal):
    """An orderly stop leaves the table, or takes it away, as it is told."""
    stage = Stage(topology, closing, teal, top={"kernel": {"on_stop": "keep"}})
    c, f = stage.hold()
    stage.teal.ok("flip", "web", "blue")
    assert stage.teal.stop() == 0
    c.echo(b"still here")
    assert stage.connect().peer == "blue" and stage.ask().peer == "green"
    stage.teal.settings["kernel"] = {"on_stop": "remove"}
    stage.teal.start()
    assert stage.connect().peer == "blue"
    stage.check_held()
    assert stage.teal.stop() == 0
    assert topology.tables() == []
    with pytest.raises(OSError):
        stage.connect()
