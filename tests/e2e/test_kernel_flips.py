"""The kernel engine's flips, seen by the clients: nothing is lost, nothing new
comes to the old color, and what was there stays until its drain ends."""
import time

import pytest

from helpers.kernel import COLORS, Stage, after_commit, other, quantiles, report
from helpers.scale import scaled, until

pytestmark = pytest.mark.scales


def judge(sessions, windows, what):
    """No session failed, and whoever began and ended between two flips met the
    color that was applied; how many that were."""
    failed = [s for s in sessions if s.error]
    assert not failed, f"{what}: {len(failed)} of {len(sessions)} failed: {failed[:5]}"
    again = sum(s.retries for s in sessions)
    assert again == 0, f"{what}: {again} datagrams of {3 * len(sessions)} were lost"
    judged = 0
    for w in windows:
        inside = [s for s in sessions if w["from"] < s.begun and s.ended < w["until"]]
        wrong = [s for s in inside if s.name != w["color"]]
        assert not wrong, f"{what}: after applied ({w}): {len(wrong)} of {len(inside)}: {wrong[:5]}"
        judged += len(inside)
    return judged


CLIENTS = 10  # of each load
# Of so many that begin after "applied" all but as many as there are clients have
# ended, too: one begins when its last has ended.
BETWEEN = 2 * CLIENTS


# Threads meet in all three alike, and most of them where a store has its own.
@pytest.mark.parametrize("six, shared", [(False, False), (True, False), pytest.param(False, True, marks=pytest.mark.tsan)],
                         ids=["ipv4", "ipv6", "redis"])
def test_flips_under_load_lose_nothing_and_what_is_open_stays(topology, closing, teal, redis, capfd, six, shared):
    flips, top = scaled(200, 10), {}
    if shared:
        top = {"store": {"type": "redis", "url": f"unix://{redis().path}", "prefix": "teal:kernel"}}
    stage = Stage(topology, closing, teal, six=six, top=top)
    loads = {"web": stage.load(clients=CLIENTS), "dns": stage.load(udp=True, clients=CLIENTS)}
    windows, took, color = {"web": [], "dns": []}, [], "green"

    def begun(name):
        return stage.teal.status(name)["colors"][color]["connections_total"]
    for n in range(flips):
        if n < 40:
            stage.hold()
        color = other(color)
        for name in loads:
            if windows[name]:
                windows[name][-1]["until"] = time.monotonic()
            r = stage.teal.ok("flip", name, color, "--wait=applied")
            assert (r["active"], r["changed"], r["epoch"]) == (color, True, n + 2), r
            windows[name].append({"color": color, "from": r.at, "until": float("inf")})
            took.append(r.event("applied")["ms"])
        since = {name: begun(name) for name in loads}
        until(lambda: all(begun(name) >= since[name] + BETWEEN for name in loads), "clients come and go")
    results = {name: load.finish() for name, load in loads.items()}
    for name, sessions in results.items():
        judged = judge(sessions, windows[name], name)
        assert judged >= flips * (BETWEEN - CLIENTS), f"{name}: between the flips nobody came: nothing was shown"
        assert {s.name for s in sessions} == set(COLORS)
    stage.check_held()
    assert {c.peer for c in stage.held["web"]} == {f.peer for f in stage.held["dns"]} == set(COLORS)
    report(capfd, f"kernel engine, store {'Redis' if shared else 'file'}: {len(took)} flips under load, {sum(map(len, results.values())):,} connections and "
                  f"flows, 0 failed; flip to applied {quantiles(took)}; without the store's part "
                  f"{quantiles(after_commit(stage.teal))}")


@pytest.mark.parametrize("kind", [pytest.param("tcp", marks=pytest.mark.tsan), "udp"])
def test_the_end_of_the_drain_cuts_the_old_and_only_them(topology, closing, teal, kind):
    stage = Stage(topology, closing, teal)
    name = {"tcp": "web", "udp": "dns"}[kind]
    old = [stage.hold() for _ in range(3)]
    stage.teal.ok("flip", "web", "blue")
    stage.teal.ok("flip", "dns", "blue")
    new = [stage.hold() for _ in range(3)]
    stage.check_held()
    stage.teal.ok("flip", name, "green")
    # Green is active again: its own stay, and blue's have half a second.
    stage.teal.ok("flip", name, "blue", "--drain=0.5", "--wait=drained")
    for c, f in old:
        if kind == "tcp":
            # Told, not left hanging: with the next thing it says at the latest.
            with pytest.raises(ConnectionResetError):
                c.sock.sendall(b"anyone?")
                c.sock.recv(100)
            assert f.ask() == "green"  # the other service has nothing to do with it
        else:
            assert f.ask() == "blue"  # it begins anew
            c.echo(b"untouched")
    for c, f in new:
        c.echo(b"untouched")
        assert f.ask() == "blue"
