"""Two Teals of one host: the upper byte of a mark says whose a connection is, and is one's alone."""
import json
import re
import socket

import pytest

from helpers.kernel import Stage, other
from helpers.scale import until

# Their names come to the same default.
SAME = ("lan", "mail")


def tag(topology, table):
    """What the table claims."""
    whole = json.loads(topology.hop.run("nft", "-j", "list", "table", "inet", "teal_" + table))["nftables"]
    one, = [c for o in whole if "chain" in o for c in re.findall(r"^tag_(\d+)$", o["chain"]["name"])]
    return int(one)


def marks(topology, table):
    """The upper bytes of the marks that it gives."""
    whole = topology.hop.run("nft", "list", "table", "inet", "teal_" + table)
    return {int(m, 16) >> 24 for m in re.findall(r"(?:tcp|udp) \. \d+[^,}]*: (0x[0-9a-f]{8})", whole)}


@pytest.fixture
def neighbours(topology, closing, teal):
    """make(**kernel): a Stage, and a second Teal of the same host at port 81."""
    def make(first=None, second=None, start=True):
        stage = Stage(topology, closing, teal, start=False, top={"kernel": {"table": SAME[0]} | (first or {})})
        web = [{"backends": [f.address for f in stage.web[c]]} for c in ("green", "blue")]
        t = teal(start=False, place=topology.hop, kernel={"table": SAME[1]} | (second or {}), services=[
            {"name": "next", "mode": "tcp", "engine": "kernel", "listen": f"{topology.VIP}:81", "green": web[0],
             "blue": web[1], "health": {"type": "none"}, "drain": {"timeout": 600.0, "idle": 0.0}}])
        if start:
            stage.teal.start()
            t.start()
        return stage, t
    return make


def test_a_drain_of_one_leaves_the_connections_of_the_other(topology, neighbours):
    stage, t = neighbours()
    stage.hold()
    color = t.status("next")["active"]
    for _ in range(4):
        color = other(color)
        t.ok("flip", "next", color, "--drain=0", "--wait=drained")
        stage.check_held()
    assert t.wait_log("kernel.tag_taken")["name"] == "teal_" + SAME[0]
    assert tag(topology, SAME[0]) != tag(topology, SAME[1])
    # Also after either was killed and has adopted what it left.
    for x in (stage.teal, t):
        was = [tag(topology, n) for n in SAME]
        x.kill()
        x.start()
        assert [tag(topology, n) for n in SAME] == was
    color = other(color)
    t.ok("flip", "next", color, "--drain=0", "--wait=drained")
    stage.check_held()
    for name in SAME:
        assert marks(topology, name) == {tag(topology, name)}
    # A claim that somebody deletes comes back.
    topology.hop.nft(f"delete chain inet teal_{SAME[0]} tag_{was[0]}")
    until(lambda: f"tag_{was[0]} " in topology.hop.run("nft", "list", "table", "inet", "teal_" + SAME[0]), "claimed again")


def test_of_two_that_begin_at_once_each_has_its_own(topology, neighbours):
    stage, t = neighbours(start=False)
    for _ in range(5):
        for x in (stage.teal, t):
            x.start(ready=False)
        for x in (stage.teal, t):
            x.wait_ready()
        assert tag(topology, SAME[0]) != tag(topology, SAME[1])
        for x in (stage.teal, t):
            x.kill()
        topology.hop.nft("; ".join(f"delete table inet teal_{n}" for n in SAME))


def test_a_tag_that_was_given_is_refused_where_another_has_it(topology, neighbours):
    stage, t = neighbours(first={"tag": 7}, second={"tag": 7}, start=False)
    stage.teal.start()
    status, said = t.start_refused()
    assert status != 0 and "kernel.tag 7" in said and "teal_" + SAME[0] in said, said
    # One that is dead keeps it: so do its connections.
    stage.teal.kill()
    assert t.start_refused()[0] != 0
    t.settings["kernel"].pop("tag")
    t.expect_status = 0
    t.start()
    assert tag(topology, SAME[1]) != 7


def test_marks_of_other_software_are_noticed(topology, closing, neighbours):
    stage, t = neighbours(start=False)
    stage.teal.start()
    first = tag(topology, SAME[0])
    stage.teal.kill()
    topology.hop.nft(f"""delete table inet teal_{SAME[0]}
        table inet vpn {{ chain in {{ type filter hook input priority 0; policy accept; ct mark set {first << 24:#x}; }}; }}""")
    host, port = stage.web["green"][0].address.rsplit(":", 1)
    closing.add(topology.hop.do(lambda: socket.create_connection((host, int(port)))))
    stage.teal.start()
    line = stage.teal.wait_log("kernel.tag_taken")
    assert line["name"] == "other software", line
    assert tag(topology, SAME[0]) != first
