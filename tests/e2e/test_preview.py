"""The preview entrance always reaches the idle color, and counts nowhere."""
import pytest

from helpers.scale import until


@pytest.fixture
def stage(web, ports):
    return lambda **keys: web(preview=f"127.0.0.1:{ports.hold()}", **keys)


@pytest.mark.tsan
def test_preview_is_always_the_idle_color(stage):
    teal = stage()
    for main, idle in (("green", "blue"), ("blue", "green"), ("green", "blue")):
        assert teal.connect().echo().peer == main
        assert teal.connect(key="preview").echo().peer == idle
        teal.ok("flip", "web", idle)


def test_preview_connections_are_closed_at_the_flip(stage):
    teal = stage(drain={"timeout": 60.0, "idle": 0.0})
    main = teal.connect().echo()
    previews = [teal.connect(key="preview").echo() for _ in range(5)]
    assert {p.peer for p in previews} == {"blue"}
    teal.ok("flip", "web", "blue")
    for p in previews:
        assert p.read_end()[0] == b""
    assert main.echo().peer == "green"
    teal.wait_log("tcp.session", 5, end="preview_flipped", color="blue")
    assert teal.connect(key="preview").echo().peer == "green"


def test_preview_is_in_no_drain_and_no_count(stage):
    teal = stage(drain={"timeout": 60.0, "idle": 0.0})
    previews = [teal.connect(key="preview").echo() for _ in range(4)]
    s = teal.status()
    assert s["colors"]["blue"]["connections"] == 0 and s["colors"]["green"]["connections"] == 0
    assert next(v for v in teal.ok("drain", "web").values() if isinstance(v, list)) == []
    m = teal.metrics()
    assert m.get("teal_draining_connections") == 0
    assert m.get("teal_connections", service="web", color="blue", entrance="preview") == 4
    main = {k: v for k, v in m.series("teal_connections", service="web").items()
            if dict(k).get("entrance") != "preview"}
    assert sum(main.values()) == 0
    # Nothing is left to drain, and nothing is cut at the end of a minute.
    assert teal.ok("flip", "web", "blue", "--wait=drained")["changed"]
    assert teal.wait_log("flip.drained")["cut"] == 0
    assert teal.wait_log("flip.draining")["remaining"] == 0
    for p in previews:
        p.close()


def test_preview_is_not_limited_by_max_connections(stage):
    teal = stage(max_connections=2)
    clients = [teal.connect().echo() for _ in range(2)] + [teal.connect(key="preview").echo() for _ in range(3)]
    with teal.connect() as c:
        assert c.read_end()[0] == b""
    assert [c.echo().peer for c in clients] == ["green"] * 2 + ["blue"] * 3


def test_preview_of_a_dead_color_never_falls_back_to_the_active_one(stage):
    teal = stage()
    teal.blue.stop()
    for _ in range(5):
        with teal.connect(key="preview") as c:
            assert c.read_end()[0] == b""
    # Not even while it is known to be down.
    until(lambda: teal.status()["colors"]["blue"]["healthy"] == 0, "down")
    with teal.connect(key="preview") as c:
        assert c.read_end()[0] == b""
    assert teal.green.sessions == 0


def test_preview_works_before_the_color_was_ever_active(stage, backend):
    teal = stage(initial="blue")
    assert teal.status()["active"] == "blue"
    assert teal.connect(key="preview").echo().peer == "green"
    assert teal.connect().echo().peer == "blue"
