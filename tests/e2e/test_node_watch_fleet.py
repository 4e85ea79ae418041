"""A fleet of which one Teal watches the nodes of a pool, and the others take what it writes: real Redis, and
helpers/kube_api.py for the cluster's API."""
import json
import signal

import pytest

from helpers import network
from helpers import reload as reloads
from helpers import upgrade as upgrades
from helpers.scale import until
from test_node_watch import AUTOSCALER, HEALTH, READY, Cluster, node, nodes, peers, pool, wait_nodes, wait_peers


class WatchFleet:
    """Teals before one Redis and one API, each with a door of its own."""

    def __init__(self, tmp_path, ports, closing, redis, teal):
        self.k, self.redis, self.make, self.ports, self.teals = Cluster(tmp_path, ports, closing), redis, teal, ports, []

    def settings(self, kube=None):
        s = self.k.settings(kube=kube)
        s["services"][0]["listen"] = f"127.0.0.1:{self.ports.hold()}"
        s["store"] = {"type": "redis", "prefix": "teal:test", "url": self.redis.url}
        return s

    def start(self, n=1, kube=None, clock=False, **how):
        for _ in range(n):
            t = self.make(start=False, clock=clock, **self.settings(kube))
            t.start(**how)
            self.teals.append(t)
        return self.teals

    def watch(self, t):
        return pool(t)["watch"]

    def leader(self, among=None):
        """The one that watches, once there is one, and every other one has its set."""
        def agreed():
            roles = {t: self.watch(t) for t in among or self.teals}
            leads = [t for t, w in roles.items() if w["role"] == "leads"]
            return leads[0] if len(leads) == 1 and all(w["role"] in ("leads", "follows") and w["watcher"] for w in roles.values()) \
                else None
        return until(agreed, "one leads and the others follow")

    @property
    def key(self):
        keys = self.redis("KEYS", "teal:test:watch:main:*")
        assert len(keys) == 1, keys
        return keys[0].decode() if isinstance(keys[0], bytes) else keys[0]

    def lease(self):
        return self.redis.hash(self.key)

    def see(self, names, among=None):
        for t in among or self.teals:
            wait_peers(t, names)


@pytest.fixture
def watchers(tmp_path, ports, closing, redis, teal):
    return WatchFleet(tmp_path, ports, closing, redis(), teal)


def test_one_watches_and_the_others_obey(watchers):
    f = watchers
    a, b, c = f.start(3)
    f.see("abc")
    leader = f.leader()
    rest = [t for t in f.teals if t is not leader]
    assert len(f.k.api.asked("watch", "/nodes")) == 1 and len(f.k.api.asked("list", "/nodes")) == 1
    for t in f.teals:
        w = f.watch(t)
        assert (w["up"], w["problem"]) == (True, None) and w["watcher"] and w["watcher_since"], w
        assert t.metrics().get("teal_node_watch_leader", pool="main") == (t is leader)
        assert t.metrics().get("teal_node_watch_age_seconds", pool="main") >= 0
    assert "the nodes of main" not in a.tealctl("node", "list").stdout    # only on a terminal

    # What comes, goes and drains is obeyed everywhere, and decided once.
    f.k.api.objects.create(node("d"))
    f.see("abcd")
    f.k.change("a", taints=[AUTOSCALER])
    f.see("bcd")
    for t in f.teals:
        wait_nodes(t, a=("draining", "tainted"), b=READY, c=READY, d=READY)
    since = {n["host"]: n["cluster_since"] for n in pool(leader)["nodes"]}
    assert all({n["host"]: n["cluster_since"] for n in pool(t)["nodes"]} == since for t in rest)
    # A word by hand is the fleet's, as before.
    assert leader.ok("node", "drain", "main", "127.0.0.2")["changed"] is True
    f.see("cd")
    assert len(f.k.api.asked("list", "/nodes")) == 1

    # The one that watches stops: its lease is given back, and another one goes on with the set.
    leader.stop()
    second = f.leader(rest)
    f.k.api.objects.delete("Node", "d")
    f.see("c", rest)
    assert second.log_lines("nodes.watch_role", to="leads") and int(f.lease()["token"]) == 2


def test_a_holder_that_slept_writes_nothing(watchers):
    f = watchers
    f.start(2)
    f.see("abc")
    old = f.leader()
    other, = (t for t in f.teals if t is not old)
    first = f.lease()
    old.signal(signal.SIGSTOP)
    until(lambda: f.watch(other)["role"] == "leads", "the other one takes the lease when it ends")
    f.k.api.objects.create(node("d"))
    wait_peers(other, "abcd")
    stamp = f.lease()["stamp"]
    old.signal(signal.SIGCONT)
    f.see("abcd")
    assert f.leader() is other
    now = f.lease()
    assert (now["stamp"], now["token"], now["id"] == first["id"]) == (stamp, "2", False)


def test_a_holder_that_is_killed_is_followed(watchers):
    """Nothing gives its lease back: another one takes it when it ends, and the killed one comes back as one of the others."""
    f = watchers
    f.start(2)
    f.see("abc")
    killed = f.leader()
    rest = [t for t in f.teals if t is not killed]
    first = f.lease()
    killed.kill()
    second = f.leader(rest)
    f.k.api.objects.create(node("d"))
    f.see("abcd", rest)
    now = f.lease()
    assert now["id"] != first["id"] and (now["token"], now["stamp"].split(".")[0]) == ("2", "2")
    killed.start()
    f.see("abcd")
    assert f.leader() is second and f.lease()["token"] == "2"


@pytest.mark.skipif(not network.possible(), reason="needs root and network namespaces")
def test_a_holder_whose_packets_are_lost_writes_nothing(tmp_path, ports, closing, redis, teal):
    """Between it and Redis everything vanishes, and nothing is reset: another one takes the lease, and what the former holder
    says when it is heard again changes nothing."""
    net = closing.add(network.Network())
    f = WatchFleet(tmp_path, ports, closing, redis(bind=f"127.0.0.1 {net.here}"), teal)
    # The way of the first one leads through the network, which passes on what comes for Redis.
    net.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    net.run("nft", f"add table ip way; add chain ip way pre {{ type nat hook prerouting priority -100; }}; "
                   f"add rule ip way pre tcp dport {f.redis.port} dnat to {net.here}; "
                   "add chain ip way post { type nat hook postrouting priority 100; }; add rule ip way post masquerade; "
                   "add chain inet lost forward { type filter hook forward priority 0; }")
    direct = f.redis.url
    settings = f.settings()
    settings["store"]["url"] = direct.replace("127.0.0.1", net.there)
    far = f.make(start=False, **settings)
    far.start()
    f.teals.append(far)
    f.see("abc")
    assert f.leader() is far
    near = f.start()[1]
    f.see("abc")
    assert f.leader() is far and f.lease()["token"] == "1"

    net.run("nft", "add rule inet lost forward drop")
    until(lambda: f.watch(near)["role"] == "leads", "the other one takes the lease when it ends")
    f.k.api.objects.create(node("d"))
    f.k.api.objects.delete("Node", "a")
    wait_peers(near, "bcd")
    now = f.lease()
    assert (now["token"], now["stamp"].split(".")[0]) == ("2", "2")
    net.mend()
    until(lambda: f.watch(far)["role"] == "follows", "the former holder follows")
    f.see("bcd")
    assert f.leader() is near
    after = f.lease()
    assert (after["id"], after["token"], after["stamp"]) == (now["id"], "2", now["stamp"])


def test_a_holder_that_was_robbed_writes_nothing(watchers):
    """Another one's token and name are in the lease: it finds that at its next word, and takes what the thief wrote."""
    f = watchers
    f.start(2)
    f.k.api.objects.create(node("d"))
    f.see("abcd")
    f.leader()
    t0, us = (int(x) for x in f.redis("TIME"))
    robbed = json.loads(f.lease()["set"])
    robbed["nodes"] = [n for n in robbed["nodes"] if n["name"] != "a"]
    f.redis("HSET", f.key, "id", "thief", "host", "elsewhere", "token", "9", "stamp", "9.1", "set", json.dumps(robbed),
            "until", str((t0 + 5) * 10**6 + us), "seen", str(t0 * 10**6 + us))
    until(lambda: all(f.watch(t)["watcher"] == "elsewhere" for t in f.teals), "both see another one")
    f.see("bcd")
    # Its lease ends, and the set is the API's again.
    f.leader()
    f.see("abcd")
    assert int(f.lease()["token"]) == 10


@pytest.mark.parametrize("what", ("rubbish", "empty", "type"))
def test_what_makes_no_sense_in_the_store_moves_nothing(watchers, what):
    f = watchers
    t, = f.start(1, clock=True)
    f.see("abc")
    f.leader()
    t0, us = (int(x) for x in f.redis("TIME"))
    key = f.key
    if what == "type":
        f.redis("DEL", key)
        f.redis("SET", key, "x")
    else:
        f.redis("HSET", key, "id", "thief", "host", "elsewhere", "token", "9", "stamp", "9.1",
                "set", {"rubbish": '{"nodes":[{"name":3}]}', "empty": '{"nodes":[]}'}[what],
                "until", str((t0 + 5) * 10**6 + us), "seen", str(t0 * 10**6 + us))
        until(lambda: f.watch(t)["problem"], "it is said")
        assert "makes no sense" in f.watch(t)["problem"] and peers(t) == set("abc")
    if what == "type":
        until(lambda: t.clock.move(5) or f.watch(t)["role"] == "alone", "it watches for itself", every=0.2)
        f.redis("DEL", key)
    until(lambda: f.watch(t)["role"] == "leads" and not f.watch(t)["problem"], "it leads again")
    f.k.api.objects.create(node("d"))
    f.see("abcd")


def test_redis_away_and_back(watchers, load):
    """Each goes on with what it knows, and after a while watches for itself; then one does again."""
    f = watchers
    f.start(2, clock=True)
    f.see("abc")
    leader = f.leader()
    clients = load(f.teals[0], 2)
    f.redis.kill()
    for t in f.teals:
        until(lambda t=t: t.clock.move(2) or f.watch(t)["role"] == "alone", "it watches for itself", every=0.2)
        t.wait_log("nodes.watch_role", to="alone", level="warn")
        assert t.metrics().get("teal_node_watch_leader", pool="main") == 0
    f.k.api.objects.create(node("d"))
    f.k.api.objects.delete("Node", "a")
    f.see("bcd")
    f.redis.restart()
    again = f.leader()
    f.k.api.objects.create(node("a"))
    f.see("abcd")
    assert not [s for s in clients.more(20).finish() if s.error] and again and leader

    # Both away: the last known nodes serve, over a restart as well.
    f.redis.kill()
    f.k.api.down()
    t = f.teals[0]
    t.stop()
    t.start()
    wait_peers(t, "abcd")
    f.redis.restart()
    f.k.api.up()
    f.leader()
    f.see("abcd")


def test_a_holder_that_cannot_reach_the_api_leaves_the_lease(watchers):
    f = watchers
    f.start(2, clock=True)
    f.see("abc")
    old = f.leader()
    other, = (t for t in f.teals if t is not old)
    # Only the other one has a token that is taken: as a network that is cut between one of them and the API.
    f.k.wait_watch()
    token = f.k.tmp_path / "other.token"
    token.write_text("an0ther\n")
    token.chmod(0o600)
    reloads.rewrite(other, node_pools=f.settings({"token_file": str(token)})["node_pools"])
    reloads.reload(other)
    assert f.leader() is old    # how the API is convinced is no matter of the lease
    f.k.api.tokens = {"an0ther"}
    f.k.api.cut()
    until(lambda: f.watch(old)["problem"], "it fails")
    until(lambda: old.clock.move(3) or f.watch(other)["role"] == "leads", "the other one takes over", every=0.3)
    f.k.api.objects.create(node("d"))
    f.see("abcd")
    assert f.leader() is other
    until(lambda: f.watch(old)["problem"] is None, "what is wrong with the other's API is told, which is nothing")


def test_other_terms_have_a_lease_of_their_own(watchers):
    """A Teal with an older configuration watches for itself, and neither writes the other's set."""
    f = watchers
    f.start(1)
    f.k.label("c", edge="")
    f.start(1, kube={"selector": "role=worker,edge"})
    a, b = f.teals
    wait_peers(a, "abc")
    wait_peers(b, "c")
    for t in f.teals:
        until(lambda t=t: f.watch(t)["role"] == "leads", "each leads its own")
    assert len(f.redis("KEYS", "teal:test:watch:main:*")) == 2
    # It is brought up to date: now they share one.
    reloads.rewrite(b, node_pools=f.settings()["node_pools"])
    reloads.reload(b)
    assert f.leader() is a
    f.see("abc")


def test_an_upgrade_keeps_the_set_and_the_lease(watchers):
    f = watchers
    f.start(2, supervised=True)
    f.see("abc")
    leader = f.leader()
    f.k.change("a", taints=[AUTOSCALER])
    f.see("bc")
    held = f.lease()["id"]
    upgrades.upgrade(leader)
    assert peers(leader) == set("bc")
    assert f.leader() is leader and f.lease()["id"] == held
    other, = (t for t in f.teals if t is not leader)
    upgrades.upgrade(other)
    assert peers(other) == set("bc") and f.leader() is leader
    f.k.api.objects.create(node("d"))
    f.see("bcd")
