"""Tables that are not Teal's: Docker's, kube-proxy's, the firewall's.  Whatever
happens to Teal and its own table, they stay byte for byte what they were."""
import collections
import json
import pathlib
import re
import subprocess
import threading
import time

import pytest

from helpers import scale
from helpers.kernel import Stage, other
from helpers.scale import dice, scaled, until

pytestmark = pytest.mark.scales
# The sorts of things that others keep: chains at the same hooks, maps with
# verdicts, sets with timeouts, comments, counters, a name that begins like ours.
FOREIGN = """
table ip nat {
	chain DOCKER { meta l4proto tcp tcp dport 8080 counter dnat to 10.99.0.2:80 comment "docker"; }
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 10.77.9.9 fib daddr type local counter jump DOCKER
	}
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.99.0.0/16 counter masquerade
	}
}
table ip6 nat {
	chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; }
}
table ip kube-proxy {
	set cluster-ips { type ipv4_addr; elements = { 10.96.0.1, 10.96.0.10 }; }
	chain endpoint { meta l4proto tcp dnat to 10.98.0.3:6443; }
	map service-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 10.96.0.1 . tcp . 443 : goto endpoint }
	}
	chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
	chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
}
table inet filter {
	set banned { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7 }; }
	set seen { type ipv4_addr; flags timeout; timeout 1d; }
	counter dropped { }
	chain forward { type filter hook forward priority filter; policy accept; ip saddr @banned counter name dropped drop; }
	chain input { type filter hook input priority filter; policy accept; ip saddr @banned drop; }
}
table inet teal_theirs {
	comment "not ours, in spite of its name"
	chain prerouting { type filter hook prerouting priority -300; policy accept; }
}
"""
FOREIGN_NAMES = {"nat", "kube-proxy", "filter", "teal_theirs"}


@pytest.fixture
def foreign(topology):
    """Before Teal; a function that compares with what is there now."""
    topology.hop.nft(FOREIGN)
    before = topology.tables()
    assert {o["table"]["name"] for o in before if "table" in o} == FOREIGN_NAMES

    def unchanged():
        now = topology.tables()
        ours = {o["table"]["name"] for o in now if "table" in o} - FOREIGN_NAMES
        assert len(ours) <= 1, ours
        now = [o for o in topology.tables(but=ours)]
        assert now == before
        return ours
    return unchanged


def test_a_whole_life_leaves_no_trace(topology, closing, teal, foreign):
    stage = Stage(topology, closing, teal, top={"kernel": {"on_stop": "remove"}})
    t = stage.teal
    assert len(foreign()) == 1
    stage.hold()
    for color in ("blue", "green", "blue"):
        t.ok("flip", "web", color)
        t.ok("flip", "dns", color, "--drain=0")
        assert len(foreign()) == 1
    stage.connect().echo().close()
    t.ok("rollback", "web")
    t.ok("maintenance", "on")
    t.ok("maintenance", "off")
    stage.web["green"][0].close()  # a node goes down, and is no longer in its color's chain
    until(lambda: t.status("web")["colors"]["green"]["healthy"] == 1, "seen")
    foreign()
    t.kill()
    assert len(foreign()) == 1
    # Another configuration replaces the table.
    t.settings["services"] = t.settings["services"][:1]
    t.start()
    assert len(foreign()) == 1
    assert t.stop() == 0
    assert foreign() == set()


def test_the_other_tables_can_be_saved_and_loaded_again(topology, closing, teal, foreign, tmp_path):
    """By the README's command: `nft list ruleset` has Teal's table in it, and its colors."""
    stage = Stage(topology, closing, teal)
    with open(pathlib.Path(__file__).parents[2] / "README.md") as f:
        command = re.search(r"^    (nft list tables .*\n.*done) > /etc/nftables.conf$", f.read(), re.M)[1]

    def save():
        return topology.hop.run("sh", "-c", command)
    saved = save()
    assert "teal_main" not in saved and all(f" {name} {{" in saved for name in FOREIGN_NAMES)
    held = stage.connect()
    topology.hop.nft(saved)
    assert save() == saved
    held.echo()
    stage.connect().echo()
    # On a machine without any rules, too; Teal makes its own table again.
    topology.hop.nft("flush ruleset")
    topology.hop.nft(saved)
    assert save() == saved
    stage.teal.wait_log("engine.recovered")
    held.echo()
    stage.connect().echo()
    # Who has saved everything all the same can load it.
    whole = topology.hop.run("nft", "list", "ruleset")
    assert "table inet teal_main" in whole
    stage.teal.kill()
    topology.hop.nft("flush ruleset")
    topology.hop.nft(whole)
    held.echo()
    stage.connect().echo().close()
    stage.teal.start()
    stage.connect().echo()


def test_killed_in_the_middle_of_changes(topology, closing, teal, foreign):
    kills = scaled(100, 5)
    chance = dice()
    pooled = {"name": "pooled", "mode": "tcp", "engine": "kernel", "listen": f"{topology.VIP}:81", "nodes": "main",
              "green": {"port": 8001}, "blue": {"port": 8002}, "health": {"type": "none"}}
    nodes = [topology.node(i) for i in (1, 2, 3)]
    stage = Stage(topology, closing, teal, more=[pooled], top={"node_pools": {"main": nodes}})
    t, active = stage.teal, {"web": "green", "dns": "green"}
    for _ in range(kills):
        stop = threading.Event()

        def ctl(*words):
            # tealctl: its end is not ours when teald dies under it.
            subprocess.run([scale.BUILD / "tealctl", "-s", t.admin_path, *words], stdin=subprocess.DEVNULL,
                           capture_output=True)

        def change(name):
            color = active[name]
            while not stop.is_set():
                color = other(color)
                ctl("flip", name, color)

        def change_nodes():
            while not stop.is_set():
                ctl("node", "drain", "main", nodes[0])
                ctl("node", "ready", "main", nodes[0])
        changers = [threading.Thread(target=change, args=(name,)) for name in active]
        changers.append(threading.Thread(target=change_nodes))
        for c in changers:
            c.start()
        time.sleep(chance.random() * 0.1)
        t.kill()
        stop.set()
        for c in changers:
            c.join()
        foreign()
        # Whatever was written last: whole, and one color.
        assert len({stage.connect().peer for _ in range(4)}) == len({stage.ask().peer for _ in range(4)}) == 1
        t.start()
        for name in active:
            active[name] = t.status(name)["active"]
        assert stage.connect().peer == active["web"] and stage.ask().peer == active["dns"]
        foreign()


def test_a_table_of_a_foreign_owner_is_refused_by_name(topology, closing, teal):
    topology.hop.nft("table inet teal_main { chain c { type filter hook forward priority 0; policy accept; }; }")
    before = topology.tables()
    status, said = Stage(topology, closing, teal, start=False).teal.start_refused()
    assert status != 0 and "inet teal_main" in said
    assert topology.tables() == before


TABLE = "inet teal_main"


def rules(topology):
    """How many there are in each chain of Teal's table."""
    whole = json.loads(topology.hop.run("nft", "-j", "list", "table", *TABLE.split()))["nftables"]
    return collections.Counter(o["rule"]["chain"] for o in whole if "rule" in o)


def test_each_single_rule_that_somebody_deletes_comes_back(topology, closing, teal):
    """Whichever it is: the chain is not empty, and nothing would seem wrong."""
    stage = Stage(topology, closing, teal, deny=["192.0.2.0/24"], max_connections_per_source=1000)
    stage.hold()
    until(lambda: sum(c[0] == "c" for c in rules(topology)) == 4, "the table has come to rest")
    whole = rules(topology)
    assert not stage.teal.log_lines("engine.trouble")
    told = 0
    for chain in whole:
        for at in range(whole[chain]):
            listed = json.loads(topology.hop.run("nft", "-j", "list", "chain", *TABLE.split(), chain))["nftables"]
            handle = [o["rule"]["handle"] for o in listed if "rule" in o][at]
            topology.hop.nft(f"delete rule {TABLE} {chain} handle {handle}")
            until(lambda: rules(topology) == whole, f"rule {at} of {chain} is there again")
            told += 1
            until(lambda: sum(line["event"] == "engine.trouble" for line in stage.teal.logs) == told, "told")
    assert stage.teal.logs and "rules of the table" in stage.teal.wait_log("engine.trouble")["message"]
    # Also what was taken while nobody was there to see it.
    stage.teal.kill()
    for chain in whole:
        listed = json.loads(topology.hop.run("nft", "-j", "list", "chain", *TABLE.split(), chain))["nftables"]
        topology.hop.nft(f"delete rule {TABLE} {chain} handle " +
                         str([o["rule"]["handle"] for o in listed if "rule" in o][-1]))
    stage.teal.start()
    until(lambda: rules(topology) == whole, "it is whole")
    stage.check_held()
    assert stage.connect().peer == "green"


def test_what_somebody_takes_out_of_the_table_comes_back(topology, closing, teal):
    """The table stays, so nothing would seem wrong."""
    stage = Stage(topology, closing, teal, deny=["192.0.2.0/24"], max_connections_per_source=1000)
    stage.hold()
    # Of each color one, when those from before all checks were in have gone.
    until(lambda: sum(c[0] == "c" for c in rules(topology)) == 4, "the table has come to rest")
    whole = rules(topology)
    assert sum(c[0] == "d" for c in whole) == 3  # those of the services, and that which leads to them

    def serves():
        try:
            stage.connect().echo()
            return stage.ask().peer == "green"
        except (ConnectionError, AssertionError):
            return False
    for what in (f"flush table {TABLE}", f"flush map {TABLE} main4", f"flush map {TABLE} colors",
                 "; ".join(f"flush chain {TABLE} {c}" for c in whole if c[0] in "cd")):
        topology.hop.nft(what)
        until(serves, f"{what}: it serves again")
        until(lambda: rules(topology) == whole, f"{what}: it is whole again")
    assert stage.teal.wait_log("engine.trouble")["message"].startswith("rules of the table")
    stage.teal.wait_log("engine.recovered")
    # So it does when nobody was there to see it.
    stage.teal.kill()
    topology.hop.nft(f"flush table {TABLE}")
    stage.teal.start()
    assert serves()
    until(lambda: rules(topology) == whole, "it is whole")
    stage.check_held()
