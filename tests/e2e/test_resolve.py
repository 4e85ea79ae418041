"""Backends by name: looked up while everything runs, and again."""
import os
import subprocess

import pytest

from helpers import scale
from helpers.backends import Farm
from helpers.names import Names, SilentServer, unshare
from helpers.reload import change, reload
from helpers.scale import patience, until

pytestmark = pytest.mark.skipif(unshare() is None, reason="no mount namespaces here")
HEALTH = {"interval": 0.2, "timeout": 1.0, "rise": 1, "fall": 2}
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


@pytest.fixture
def names(tmp_path, closing):
    made = []

    def make(**how):
        folder = tmp_path / f"names{len(made)}"
        folder.mkdir()
        made.append(Names(folder, **how))
        return made[-1]
    yield make
    for n in made:
        n.close()


@pytest.fixture
def named(teal, ports, closing, names):
    """named(...): a running teald whose service "web" has what is told as
    green, at .port, where each of HOSTS says its own address; .names."""
    def make(green, known=None, running=HOSTS, start=True, ready=True, top=None, names=names, **keys):
        n = names()
        for name, addresses in (known or {}).items():
            n[name] = addresses
        port, blue = ports.hold(), ports.hold()
        farms = {h: closing.add(Farm(h, port, h)) for h in running}
        closing.add(Farm("blue", blue))
        listen = f"127.0.0.1:{ports.hold()}"
        t = teal(services=[{"name": "web", "mode": "tcp", "listen": listen, "health": HEALTH, "resolve_interval": 0.2,
                            "green": {"backends": [b if isinstance(b, dict) else f"{b}:{port}" for b in green]},
                            "blue": {"backends": [f"127.0.0.1:{blue}"]}} | keys], start=False, **(top or {}))
        t.names, t.port, t.farms = n, port, farms
        if start:
            t.start(prefix=n.prefix, ready=ready)
        return t
    return make


def green(teal):
    """{address or name: backend}, as status shows them."""
    return {b["address"].rsplit(":", 1)[0]: b for b in teal.status()["colors"]["green"]["backends"]}


def wait_green(teal, **states):
    """Waits until these, and no others, are there in these states."""
    want = {k.replace("_", "."): v for k, v in states.items()}
    until(lambda: {h: b["state"] for h, b in green(teal).items()} == want, f"green is {want}")
    teal.rest()


def up(teal, *hosts, busy=False):
    until(lambda: {h: b["state"] for h, b in green(teal).items()} == {h: "up" for h in hosts}, f"{hosts} are up")
    if not busy:
        teal.rest()


def peers(teal, n=8):
    found = set()
    for _ in range(n):
        with teal.connect() as c:
            found.add(c.peer)
    return found


def test_a_name_that_changes_moves_its_backend_and_nobody_else(named, closing):
    t = named(["app.test", "127.0.0.4"], {"app.test": ["127.0.0.2"]})
    up(t, "127.0.0.2", "127.0.0.4")
    held = {c.peer: c for c in (closing.add(t.connect()) for _ in range(4))}
    assert set(held) == {"127.0.0.2", "127.0.0.4"}
    since = green(t)["127.0.0.4"]["since"]
    t.names["app.test"] = ["127.0.0.3"]
    up(t, "127.0.0.3", "127.0.0.4")
    assert peers(t) == {"127.0.0.3", "127.0.0.4"}
    for c in held.values():
        c.echo()
    assert green(t)["127.0.0.4"]["since"] == since
    assert [b["address"] for b in t.status()["colors"]["green"]["backends"]] == \
        [f"127.0.0.3:{t.port}", f"127.0.0.4:{t.port}"]
    assert f'backend="127.0.0.2:{t.port}"' not in t.http("/metrics")[1]
    assert t.wait_log("backend.added", backend=f"127.0.0.3:{t.port}")["where"] == "app.test"
    assert t.wait_log("backend.removed", backend=f"127.0.0.2:{t.port}")["where"] == "app.test"
    for c in held.values():
        c.echo().close()
    t.wait_log("tcp.session", 10, end="done")
    assert len(t.sessions()) == 10


def test_of_many_addresses_one_is_kept_while_it_is_among_them(named):
    t = named(["app.test"], {"app.test": ["127.0.0.3", "127.0.0.2"]})
    up(t, "127.0.0.2")
    t.names["app.test"] = ["127.0.0.4", "127.0.0.2", "127.0.0.1"]
    t.names["other.test"] = ["127.0.0.9"]
    t.names.wait_asked()
    assert set(green(t)) == {"127.0.0.2"}
    t.names["app.test"] = ["127.0.0.4", "127.0.0.3"]
    up(t, "127.0.0.3")
    assert peers(t) == {"127.0.0.3"}


def test_the_last_good_answer_is_kept(named, closing):
    t = named(["app.test"], {"app.test": ["127.0.0.2"]})
    up(t, "127.0.0.2")
    held = closing.add(t.connect())
    assert held.peer == "127.0.0.2"
    del t.names["app.test"]
    assert t.wait_log("name.failed")["where"] == "app.test"
    t.wait_metric(1, "teal_names_failing")
    t.names.wait_asked()
    assert peers(t) == {"127.0.0.2"}
    held.echo()
    t.names["app.test"] = ["127.0.0.2"]
    t.wait_log("name.found", where="app.test")
    t.wait_metric(0, "teal_names_failing")
    assert len(t.log_lines("name.failed")) == 1
    assert not t.log_lines("backend.removed")
    held.echo()


def test_a_name_that_means_nothing_at_the_start_is_a_backend_that_is_down(named):
    t = named(["app.test", "127.0.0.4"], flip={"min_healthy": "100%"})
    wait_green(t, app_test="down", **{"127_0_0_4": "up"})
    assert "app.test" in green(t)["app.test"]["error"]
    assert t.metrics().get("teal_backend_up", service="web", backend=f"app.test:{t.port}") == 0
    assert peers(t) == {"127.0.0.4"}
    assert t.ok("flip", "web", "blue")["changed"]
    r = t.ctl("flip", "web", "green")
    assert r["error"] == "unhealthy" and f"app.test:{t.port} host \"app.test\"" in r["message"], r
    t.names["app.test"] = ["127.0.0.2"]
    # What was never found is asked for again soon, and checked before it counts.
    up(t, "127.0.0.2", "127.0.0.4")
    assert t.ok("flip", "web", "green")["changed"]
    assert peers(t) == {"127.0.0.2", "127.0.0.4"}


def test_nobody_found_at_the_start_holds_nobody_up(named):
    t = named(["app.test", "www.test"], when_all_down="try")
    wait_green(t, app_test="down", www_test="down")
    with t.connect() as c:
        assert c.read_end()[0] == b""
    t.wait_log("tcp.session", end="no_backend")
    t.names["www.test"] = ["127.0.0.3"]
    wait_green(t, app_test="down", **{"127_0_0_3": "up"})
    assert peers(t) == {"127.0.0.3"}


def test_the_old_address_serves_until_the_new_one_was_judged(named, closing, load):
    """The only backend: nobody is refused, whether the new address is well or
    comes late."""
    t = named(["app.test"], {"app.test": ["127.0.0.2"]}, when_all_down="reject")
    up(t, "127.0.0.2")
    crowd = load(t, 8)
    for address in ("127.0.0.3", "127.0.0.4", "127.0.0.2"):
        t.names["app.test"] = [address]
        up(t, address, busy=True)
        until(lambda: peers(t, 1) == {address}, f"clients reach {address}")
    sessions = crowd.finish()
    assert not [s for s in sessions if s.error]
    assert {s.name for s in sessions} <= set(HOSTS)
    # One where nobody listens: believed after its checks have failed.
    t.names["app.test"] = ["127.0.0.9"]
    wait_green(t, **{"127_0_0_9": "down"})
    t.wait_log("backend.removed", 4)


def test_two_names_of_one_address_are_one_backend(named):
    t = named(["app.test", "www.test"], {"app.test": ["127.0.0.2"], "www.test": ["127.0.0.2"]})
    until(lambda: sorted(b["state"] for b in green(t).values()) == ["down", "up"], "one of them is there")
    t.rest()
    assert next(b["error"] for b in green(t).values() if b["error"]).endswith("another backend has that address")
    assert peers(t) == {"127.0.0.2"}
    t.names["www.test"] = ["127.0.0.3"]
    t.names["app.test"] = ["127.0.0.4"]
    up(t, "127.0.0.4", "127.0.0.3")
    assert peers(t) == {"127.0.0.3", "127.0.0.4"}
    # They change places.
    t.names["www.test"] = ["127.0.0.4"]
    t.names["app.test"] = ["127.0.0.3"]
    up(t, "127.0.0.3", "127.0.0.4")
    until(lambda: [b["address"] for b in t.status()["colors"]["green"]["backends"]] ==
          [f"127.0.0.3:{t.port}", f"127.0.0.4:{t.port}"], "in the other order")


def test_a_name_never_means_the_service_itself(named):
    t = named(["app.test"], running=())
    host, port = t.address()
    t.names["loop.test"] = [host]
    t.settings["services"][0]["green"] = {"backends": [f"loop.test:{port}"]}
    assert t.stop() == 0
    t.start(prefix=t.names.prefix)
    until(lambda: green(t)["loop.test"]["state"] == "down", "it is down")
    assert green(t)["loop.test"]["error"].endswith("that is the service itself")


def test_a_name_never_leads_back_by_way_of_another_service(named, ports):
    t = named(["app.test"], running=())
    other = ports.hold()
    t.names["ring.test"] = ["127.0.0.1"]
    t.settings["services"][0]["green"] = {"backends": [f"ring.test:{other}"]}
    t.settings["services"].append({"name": "back", "mode": "tcp", "listen": f"127.0.0.1:{other}",
                                   "backends": [t.settings["services"][0]["listen"]], "health": {"type": "none"}})
    assert t.stop() == 0
    t.start(prefix=t.names.prefix)
    until(lambda: green(t)["ring.test"]["state"] == "down", "it is down")
    assert green(t)["ring.test"]["error"].endswith('service "back" listens there, which leads back here')


def test_nodes_by_name_move_too_and_stay_as_they_are_told(named, ports):
    t = named([], {"n1.test": ["127.0.0.2"], "n2.test": ["127.0.0.3"]}, start=False,
              top={"node_pools": {"main": ["n1.test", "n2.test"]}}, nodes="main")
    t.settings["services"][0]["green"] = {"port": t.port}
    t.start(prefix=t.names.prefix)
    up(t, "127.0.0.2", "127.0.0.3")
    t.ok("node", "drain", "main", "n1.test")
    assert peers(t) == {"127.0.0.3"}
    t.names["n1.test"] = ["127.0.0.4"]
    up(t, "127.0.0.4", "127.0.0.3")
    assert green(t)["127.0.0.4"]["admin"] == "drain" and peers(t) == {"127.0.0.3"}
    t.ok("node", "ready", "main", "n1.test")
    assert peers(t) == {"127.0.0.3", "127.0.0.4"}
    # One that is added is looked up before the answer, and then again and again.
    r = t.ctl("node", "add", "main", "n3.test")
    assert (r["ok"], r["error"]) == (False, "usage"), r
    t.names["n3.test"] = ["127.0.0.2"]
    assert t.ok("node", "add", "main", "n3.test")["changed"]
    up(t, "127.0.0.4", "127.0.0.3", "127.0.0.2")
    t.ok("node", "remove", "main", "n2.test")
    t.names["n3.test"] = ["127.0.0.3"]
    up(t, "127.0.0.4", "127.0.0.3")
    assert peers(t) == {"127.0.0.3", "127.0.0.4"}


@pytest.mark.skipif(os.geteuid() != 0, reason="port 53 is root's")
def test_a_name_server_that_says_nothing_delays_nothing(named, names, closing):
    dns = closing.add(SilentServer())
    t = named(["slow.test", "127.0.0.4"], {}, names=lambda: names(server=dns.address))
    assert dns.asked.wait(patience())
    wait_green(t, slow_test="checking", **{"127_0_0_4": "up"})
    assert peers(t) == {"127.0.0.4"}
    r = t.ctl("flip", "web", "blue")
    assert r["ok"], r
    # The look-up hangs for minutes, but neither the start nor the end does.
    assert t.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="port 53 is root's")
def test_many_silent_names_hold_up_no_other(named, names, closing):
    """Each of the 40 hangs for longer than any test waits."""
    dns = closing.add(SilentServer())
    t = named(["app.test", *(f"silent{n}.test" for n in range(40))], {"app.test": ["127.0.0.2"]},
              names=lambda: names(server=dns.address))
    assert dns.asked.wait(patience())
    until(lambda: green(t).get("127.0.0.2", {}).get("state") == "up", "app.test is found")
    t.names["app.test"] = ["127.0.0.3"]
    until(lambda: green(t).get("127.0.0.3", {}).get("state") == "up", "app.test has moved")
    assert t.stop() == 0


def test_a_test_of_the_configuration_tells_of_names(named):
    # By terms that nothing is warned about.
    t = named(["app.test"], {"app.test": ["127.0.0.2"]}, health=HEALTH | {"interval": HEALTH["timeout"]})

    def check():
        return subprocess.run([*t.names.prefix, str(scale.BUILD / "teald"), "-t", "-c", str(t.conf)],
                              capture_output=True, text=True, timeout=patience())
    p = check()
    assert (p.returncode, p.stderr) == (0, "")
    del t.names["app.test"]
    p = check()
    assert p.returncode == 0 and 'green: host "app.test"' in p.stderr and "(warning)" in p.stderr, p


def test_each_color_is_checked_at_its_own_port(named, ports, backend):
    """health_port holds for names too, and each color has its own."""
    health = {c: backend(f"{c} health", host="127.0.0.2") for c in ("green", "blue")}
    t = named([], {"n1.test": ["127.0.0.2"]}, start=False, nodes=["n1.test"])
    service = t.settings["services"][0]
    service["green"] = {"port": t.port, "health_port": health["green"].port}
    service["blue"] = {"port": t.port, "health_port": health["blue"].port}
    t.start(prefix=t.names.prefix)

    def states():
        return {c: b["state"] for c in ("green", "blue") for b in t.status()["colors"][c]["backends"]}
    until(lambda: states() == {"green": "up", "blue": "up"}, "both are up")
    assert peers(t) == {"127.0.0.2"}
    health["blue"].stop()
    until(lambda: states() == {"green": "up", "blue": "down"}, "blue's own port refuses")
    health["green"].stop()
    until(lambda: states() == {"green": "down", "blue": "down"}, "green's as well")
    health["blue"].start()
    until(lambda: states() == {"green": "down", "blue": "up"}, "blue is back")


def backends(teal, *all):
    return {"backends": [f"{b}:{teal.port}" for b in all]}


def test_a_reload_with_a_name_that_is_not_found_is_refused(named):
    """Before anything changes, and of a dry run too; a name that was there before may fail."""
    t = named(["gone.test", "127.0.0.2"])
    t.wait_metric(1, "teal_names_failing")
    change(t, green=backends(t, "gone.test", "127.0.0.2", "new.test"), drain={"timeout": 7.0})
    for words in ("reload --dry-run", "reload"):
        r = t.ctl(*words.split())
        assert (r["ok"], r["error"], r["generation"]) == (False, "config", 1), r
        line = t.conf.read_text().splitlines()[r["errors"][0]["line"] - 1]
        assert len(r["errors"]) == 1 and "new.test" in r["errors"][0]["message"], r["errors"]
        assert 'service "web": green' in r["errors"][0]["message"] and line.strip() == "{"
    assert t.ok("status")["config"]["generation"] == 1
    assert [l["where"] for l in t.log_lines("name.failed")] == ["gone.test"]
    assert t.metrics().get("teal_names_failing") == 1
    t.names["new.test"] = ["127.0.0.3"]
    reload(t)
    # It had its address before it was told.
    assert "127.0.0.3" in green(t)
    until(lambda: "127.0.0.3" in peers(t), "it serves")


def test_a_reload_that_takes_a_name_away_forgets_it(named):
    t = named(["gone.test", "127.0.0.2"], resolve_interval=100.0)
    t.wait_metric(1, "teal_names_failing")
    change(t, resolve_interval=0.0)
    assert reload(t)["changed"]
    change(t, green=backends(t, "127.0.0.2"))
    reload(t)
    t.wait_metric(0, "teal_names_failing")


@pytest.mark.skipif(os.geteuid() != 0, reason="port 53 is root's")
def test_a_reload_does_not_wait_for_ever_for_a_name_server(named, names, closing):
    dns = closing.add(SilentServer())
    t = named(["127.0.0.2"], names=lambda: names(server=dns.address), top={"clock": True})
    change(t, green=backends(t, "127.0.0.2", "slow.test"))
    with t.admin() as a:
        a.send("reload")
        assert dns.asked.wait(patience())
        # It is on its way, and others are answered.
        assert t.ok("status")["config"]["generation"] == 1
        t.clock.move(10)
        r = a.reply()
    assert r["error"] == "config" and "has not answered in time" in r["errors"][0]["message"], r
    change(t, green=backends(t, "127.0.0.2", "127.0.0.3"))
    reload(t)
    assert t.stop() == 0
