"""The kernel engine's life: what a start needs and takes over, what a changed
configuration leaves, whose table it touches, what it may."""
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest

from helpers import scale
from helpers.backends import Farm
from helpers.clients import Client
from helpers.scale import until
from helpers.teald import Teal, service
from helpers.topology import possible

pytestmark = pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables")


@pytest.fixture
def stage(topology, closing, teal):
    """make(**settings): teald in the hop with the service web, by the kernel engine."""
    farms = [closing.add(Farm(c, 80, host=topology.node(i), place=topology.nodes))
             for i, c in ((1, "green"), (2, "blue"))]

    def make(keys=(), start=True, **settings):
        web = service(listen=f"{topology.VIP}:80", preview=f"{topology.VIP}:81", green=farms[:1], blue=farms[1:],
                      engine="kernel") | dict(keys)
        return teal(services=[web], place=topology.hop, start=start, **settings)
    return make


def connect(topology, port=80, host=None):
    return topology.clients.do(lambda: Client((host or topology.VIP, port)))


def tables(topology):
    """Names of the hop's tables."""
    return {o["table"]["name"] for o in json.loads(topology.hop.run("nft", "-j", "list", "tables"))["nftables"]
            if "table" in o}


class Folder:
    def __init__(self, uid):
        self.path = tempfile.mkdtemp(prefix="teal-state-", dir="/tmp")
        os.chown(self.path, uid, -1)

    def close(self):
        shutil.rmtree(self.path)


# ---- what a start needs ----

def test_a_host_that_does_not_forward_is_told_the_command(topology, stage):
    topology.hop.sysctl(**{"net/ipv4/ip_forward": 0})
    t = stage(start=False)
    status, said = t.start_refused()
    assert status == 1
    assert "net.ipv4.ip_forward is 0" in said and 'service "web"' in said
    command = re.search(r"sysctl -w (\S+)", said)[1]
    name, value = command.split("=")
    topology.hop.sysctl(**{name.replace(".", "/"): value})
    t.expect_status = 0
    t.start()
    with connect(topology) as c:
        assert c.echo().peer == "green"


def test_who_may_have_backends_elsewhere_is_told_it_too(topology, stage):
    """What a name means is not known yet, and checks go through without forwarding."""
    topology.hop.sysctl(**{"net/ipv4/ip_forward": 0})
    t = stage(keys={"green": {"backends": ["localhost:80"]}, "blue": {"backends": ["localhost:81"]}, "health": {"type": "none"}})
    hints = [l["hint"] for l in t.log_lines("kernel.lacks")]
    said = [h for h in hints if h.startswith("net.ipv4.ip_forward is 0")]
    assert len(said) == 1 and 'service "web"' in said[0] and said[0].endswith("sysctl -w net.ipv4.ip_forward=1")
    assert not any("ipv6" in h for h in hints)


def test_without_the_capability_it_says_so(topology, stage):
    t = stage(start=False)
    status, said = t.start_refused(prefix=("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"))
    assert status == 1
    assert "CAP_NET_ADMIN" in said and "setcap cap_net_admin+ep /" in said
    assert tables(topology) == set()


def test_what_is_only_missed_is_a_line_in_the_log(topology, stage):
    topology.hop.sysctl(**{"net/netfilter/nf_conntrack_acct": 0, "net/netfilter/nf_conntrack_timestamp": 0})
    t = stage()
    hints = [l["hint"] for l in t.log_lines("kernel.lacks")]
    for name in ("acct", "timestamp"):
        assert any(f"sysctl -w net.netfilter.nf_conntrack_{name}=1" in h for h in hints), hints


NOBODY = pwd.getpwnam("nobody")
NET_ADMIN = 1 << 12
NET_BIND = 1 << 10  # all threads of one that was root keep it, for reloads
# As a service manager does it: somebody else from the start, with what it needs.
AMBIENT = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups", "--inh-caps=+net_admin",
           "--ambient-caps=+net_admin", "--bounding-set=-all,+net_admin")


@pytest.mark.nosan  # which may have threads of their own
@pytest.mark.parametrize("how", ["user", "ambient"])
def test_only_two_threads_keep_only_one_capability(topology, stage, closing, how):
    """It is another user, flips, and takes its table away in the end."""
    folder = closing.add(Folder(NOBODY.pw_uid))  # pytest's are root's alone
    t = stage(start=False, state_dir=folder.path, kernel={"on_stop": "remove"},
              **({"user": "nobody"} if how == "user" else {"admin": {"socket": folder.path + "/a.sock"}}))
    t.admin_path = t.settings["admin"]["socket"]
    if how == "ambient":
        t.conf = pathlib.Path(folder.path) / "teal.conf"
    t.start(prefix=AMBIENT if how == "ambient" else ())
    having = []
    for task in os.listdir(f"/proc/{t.pid}/task"):
        text = open(f"/proc/{t.pid}/task/{task}/status").read()
        assert re.search(r"Uid:\s+(\d+)", text)[1] == str(NOBODY.pw_uid)
        sets = {f: int(re.search(rf"{f}:\s+(\w+)", text)[1], 16) & ~(NET_BIND if how == "user" else 0) for f in ("CapPrm", "CapEff", "CapInh", "CapAmb")}
        assert set(sets.values()) <= {0, NET_ADMIN}, sets
        if any(sets.values()):
            having.append(int(task))
    assert len(having) == 2 and t.pid not in having
    t.ok("flip", "web", "blue")
    with connect(topology) as c:
        assert c.echo().peer == "blue"
    assert t.stop() == 0
    assert not t.log_lines("kernel.table_left")
    assert tables(topology) == set()
    assert not os.path.exists(folder.path + "/teal.tables")


# ---- a table that is there ----

def test_a_start_takes_the_table_over(topology, stage):
    t = stage({"drain": {"timeout": 600.0, "idle": 0.0}})
    old = connect(topology).echo()
    t.ok("flip", "web", "blue")
    new = connect(topology).echo()
    t.kill()
    for c, peer in ((old, "green"), (new, "blue")):
        assert c.echo(b"nobody is there").peer == peer
    with connect(topology) as c:
        assert c.echo().peer == "blue"
    t.start()
    assert t.wait_log("kernel.adopted")["connections"] >= 2
    s = t.status()
    assert (s["active"], s["epoch"]) == ("blue", 2)
    assert s["colors"]["green"]["connections"] == 1
    # What was found on the idle color drains, for the rest of its time.
    assert s["drain"]["color"] == "green" and 0 < s["drain"]["deadline_in"] <= 600
    old.echo(b"still here").close()
    t.wait_log("flip.drained")
    until(lambda: t.status()["colors"]["blue"]["connections"] == 1, "one is left")
    new.echo(b"and so am I").close()


def test_a_drain_that_was_over_while_nobody_was_there_is_over_at_once(topology, stage):
    t = stage({"drain": {"timeout": 0.3, "idle": 0.0}})
    old = connect(topology).echo()
    t.ok("flip", "web", "blue", "--wait=applied", "--drain=600")
    t.kill()
    old.echo(b"still here")
    t.start()
    t.wait_log("flip.drained")
    # Cut: whatever is sent on it is answered with a reset.
    with pytest.raises(ConnectionResetError):
        for _ in range(100):
            old.echo(b"x")


def test_a_foreign_table_is_refused_by_name(topology, stage):
    topology.hop.nft("table inet teal_main { chain c { type filter hook input priority 0; }; }")
    before = topology.tables()
    t = stage(start=False)
    status, said = t.start_refused()
    assert status == 1
    assert "teal_main" in said
    assert topology.tables() == before
    # Nor does another teald's pass for one's own.
    topology.hop.nft("delete table inet teal_main")
    t.expect_status = 0
    t.start()
    t.kill()
    os.remove(t.state_dir / "teal.id")
    status, said = t.start_refused()
    assert status == 1 and "teal_main" in said
    with connect(topology) as c:
        assert c.echo().peer == "green"    # and it goes on


def test_a_second_one_of_the_same_folder_touches_nothing(topology, stage, tmp_path):
    """Neither one with the same table, nor one that would take it for an earlier one."""
    t = stage()
    before = topology.tables()
    (tmp_path / "late").mkdir()
    for table in ("main", "next"):
        late = Teal(tmp_path / "late", t.ports, t.settings | {
            "kernel": {"table": table}, "admin": {"socket": f"{t.admin_path}.{table}"},
            "observe": {"listen": "127.0.0.1:%d" % t.ports.hold()}}, topology.hop)
        status, said = late.start_refused()
        assert status == 1 and "in use by another teald" in said
        late.finish()
        assert topology.tables() == before
    with connect(topology) as c:
        assert c.echo().peer == "green"


def test_two_of_them_live_on_one_host(topology, stage, teal, closing):
    one = stage()
    g, b = (closing.add(Farm(c, 80, host=topology.node(i), place=topology.nodes)) for i, c in ((3, "green"), (4, "blue")))
    two = teal(services=[service("other", listen=f"{topology.VIP}:90", green=[g], blue=[b], engine="kernel")],
               place=topology.hop, kernel={"table": "two"})
    assert tables(topology) == {"teal_main", "teal_two"}
    two.ok("flip", "other", "blue")
    with connect(topology) as c, connect(topology, 90) as d:
        assert (c.echo().peer, d.echo().peer) == ("green", "blue")
        until(lambda: one.status()["colors"]["green"]["connections"] == 1, "one's")
        until(lambda: two.status("other")["colors"]["blue"]["connections"] == 1, "two's")
        assert two.status("other")["colors"]["green"]["connections"] == 0


def test_a_firewall_that_is_loaded_anew_takes_the_table_for_a_moment_only(topology, stage):
    """nft flush ruleset, with which most files for nft begin, spares nobody. (What is sent
    within that moment, by new and old connections, belongs to nobody.)"""
    t = stage()
    for n in (1, 2):
        topology.hop.nft("flush ruleset; table inet filter { chain input { type filter hook input priority 0; }; }")
        t.wait_log("engine.recovered", count=n)
        assert "teal_main" in t.wait_log("engine.trouble", count=n)["message"]
        with connect(topology) as c:
            assert c.echo().peer == "green"
    assert tables(topology) == {"filter", "teal_main"}
    t.ok("flip", "web", "blue")
    with connect(topology) as c:
        assert c.echo().peer == "blue"


# ---- another configuration ----

def test_a_changed_configuration_replaces_the_table(topology, stage):
    t = stage()
    held = connect(topology).echo()
    t.settings["services"][0]["listen"] = f"{topology.VIP}:8080"
    t.restart()
    with connect(topology, 8080) as c:
        assert c.echo().peer == "green"
    with pytest.raises(ConnectionRefusedError):
        connect(topology)
    held.echo(b"still here").close()


def test_a_table_of_another_name_goes_once_the_new_one_serves(topology, stage):
    """A client finds the old one or the new one, never nothing."""
    t = stage()
    t.settings["kernel"] = {"table": "next"}
    assert t.stop() == 0
    t.start(ready=False)
    while not t.log_lines("kernel.table_removed", name="main"):
        with connect(topology) as c:
            assert c.echo().peer == "green"
    until(lambda: tables(topology) == {"teal_next"}, "the new one alone")
    with connect(topology) as c:
        assert c.echo().peer == "green"


def test_the_table_goes_with_the_last_service_that_needs_it(topology, stage):
    """Or it would forward to an old color for ever."""
    t = stage()
    del t.settings["services"][0]["engine"]
    t.restart()
    t.wait_log("kernel.table_removed", name="main")
    until(lambda: tables(topology) == set(), "gone")
    with connect(topology) as c:
        assert c.echo().peer == "green"
    t.restart()
    assert not t.log_lines("kernel.table_removed")


def test_a_table_that_cannot_be_reached_is_not_forgotten(topology, stage):
    t = stage()
    del t.settings["services"][0]["engine"]
    t.stop()
    t.start(prefix=("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"))
    assert "CAP_NET_ADMIN" in t.wait_log("kernel.table_left", name="main")["error"]
    t.restart()
    t.wait_log("kernel.table_removed", name="main")
    assert tables(topology) == set()


def test_a_stop_that_removes_drains_first(topology, stage):
    t = stage(kernel={"on_stop": "remove"}, stop={"timeout": 20.0})
    held = connect(topology).echo()
    t.signal()
    t.wait_log("teald.draining", remaining=1)
    held.echo(b"still here")
    with pytest.raises(ConnectionRefusedError):
        connect(topology)
    held.close()
    assert t.wait() == 0
    assert tables(topology) == set()


def test_a_stop_that_keeps_waits_for_nobody(topology, stage):
    t = stage(stop={"timeout": 600.0})
    held = connect(topology).echo()
    assert t.stop() == 0
    assert t.log_lines("kernel.kept", name="teal_main")
    held.echo(b"still here")
    with connect(topology) as c:
        assert c.echo().peer == "green"
    assert tables(topology) == {"teal_main"}


# ---- a look before ----

def test_the_printed_ruleset_is_one_that_nft_takes(topology, stage):
    t = stage({"listen": [f"{topology.VIP}:80", f"[{topology.VIP6}]:80"], "initial": "blue", "local_clients": True,
               "allow": ["10.0.0.0/8"], "deny": ["10.79.0.9"], "max_connections_per_source": 5, "source_rate": "10/s",
               "green": {"backends": [f"{topology.node(1)}:80", f"[{topology.node6(1)}]:80"]},
               "blue": {"backends": [{"address": f"{topology.node(2)}:80", "weight": 3},
                                     f"{topology.node(3)}:80", f"[{topology.node6(2)}]:80"]}}, start=False)
    text = print_ruleset(t)
    assert "table inet teal_main" in text and topology.node(2) in text
    topology.hop.run("nft", "-c", "-f", "-", input=text)
    assert tables(topology) == set()
    t.expect_status = None


def test_printing_goes_with_a_test_only(stage, tmp_path):
    t = stage(start=False)
    p = subprocess.run([str(scale.BUILD / "teald"), "--print-ruleset", "-c", str(t.conf)], capture_output=True, text=True,
                       timeout=scale.patience())
    assert p.returncode == 2 and "-t" in p.stderr
    del t.settings["services"][0]["engine"]
    assert print_ruleset(t).startswith("# no service has engine")


def print_ruleset(t):
    from helpers import libconfig
    t.conf.write_text(libconfig.dumps(t.settings))
    p = subprocess.run([str(scale.BUILD / "teald"), "-t", "--print-ruleset", "-c", str(t.conf)], capture_output=True,
                       text=True, timeout=scale.patience())
    assert p.returncode == 0, p.stderr
    return p.stdout
