"""Who may do what: users and groups of this machine, real ones, at the socket
of a real teald; and who comes by its admin listener, with a certificate or a token."""
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile

import pytest

from helpers import scale
from helpers.callers import Caller, Listener
from helpers.people import Person, needs_root
from helpers.reload import change, reload
from helpers.teald import service

pytestmark = needs_root

READ, FLIP, NODE, ADMIN = RIGHTS = ("read", "flip", "node", "admin")


def role(*allow, services, **who):
    return {**who, "services": services, "allow": list(allow)}


@pytest.fixture
def stage(teal, backend, ports):
    """stage(role, ...): a running teald with the services shop and pay, and `more`."""
    def make(*roles, more=(), admin=(), **settings):
        green, blue = [backend("green")], [backend("blue")]
        t = teal(services=[service(name, listen=f"127.0.0.1:{ports.hold()}", green=green, blue=blue)
                           for name in ("shop", "pay")] + list(more),
                 admin={"mode": "0666", "roles": list(roles), **dict(admin)}, **settings)
        for name in ("shop", "pay"):    # flips are let through at once
            scale.until(lambda: t.status(name)["colors"]["blue"]["healthy"] == 1, "blue is healthy")
        return t
    return make


# Verbs by what they need, and where.  SERVICE stands for one; ALL needs the
# right on every service, TEALD on teald itself, SOME on any service.
VERBS = [
    (READ, "status {}"), (READ, "active {}"), (READ, "idle {}"), (READ, "check {} blue"), (READ, "drain {}"),
    (READ, "history {}"), (READ, "events {}"),
    (FLIP, "flip {} green"), (FLIP, "rollback {}"), (FLIP, "lock {} --reason=x"), (FLIP, "unlock {}"),
]
SOME = [(READ, "status"), (READ, "events"), (READ, "fleet"), (READ, "node list"), (READ, "node list main")]
ALL = [(FLIP, "lock * --reason=x"), (FLIP, "unlock *")]
TEALD = [(ADMIN, "maintenance on"), (ADMIN, "maintenance off"), (ADMIN, "reload"), (ADMIN, "config"),
         (ADMIN, "log info"),
         (NODE, "node add main 10.0.0.1"), (NODE, "node reset main 10.0.0.1")]
FREE = ["whoami", "help", "help flip", "version"]


def expected(allow, services):
    """(command, is it denied?) of the whole matrix for one role; services: those
    it covers, "*" being teald itself."""
    for (right, verb), target in itertools.product(VERBS, ("shop", "pay")):
        yield verb.format(target), not (right in allow and target in services)
    for right, command in SOME:
        yield command, right not in allow
    for right, command in ALL:
        yield command, not (right in allow and {"shop", "pay"} <= set(services))
    for right, command in TEALD:
        yield command, not (right in allow and "*" in services)
    for command in FREE:
        yield command, False


CASES = ([((r,), s) for r in RIGHTS for s in (("shop",), ("shop", "pay"), ("*",))]
         + [((READ, FLIP), ("sh*",)), (RIGHTS, ("*",)), ((FLIP, ADMIN), ("pay", "*y"))])


def covered(globs):
    names = {"sh*": {"shop"}, "*y": {"pay"}, "*": {"shop", "pay", "*"}}
    return set().union(*(names.get(g, {g}) for g in globs))


@pytest.fixture(params=["user", "cn", "san", "token"])
def holder(request, tmp_path, ports):
    """Who has a role, by each of the ways: (what the role says, the section admin, what the audit says, a function that makes
    who asks)."""
    if request.param == "user":
        return {"user": "games"}, {}, {"uid": 5, "user": "games"}, lambda: Person("games")
    listener = Listener(tmp_path, ports.hold())
    if request.param == "token":
        token = listener.token("ci-shop")
        return {"token": "ci-shop"}, listener.settings, {"user": "token:ci-shop"}, lambda: Caller(listener, token=token)
    own = listener.ca.issue("job", "runner-7.ci.example", subject="ci-shop")
    who = {"cn": "ci-shop"} if request.param == "cn" else {"san": "*.ci.example"}
    return who, listener.settings, {"user": "cn:ci-shop", "subject": "CN=ci-shop"}, lambda: Caller(listener, own=own)


@pytest.mark.parametrize("allow, globs", CASES, ids=lambda x: "+".join(x))
def test_every_right_on_every_verb_and_service(stage, holder, allow, globs):
    who, admin, audit, asker = holder
    teal = stage(role(*allow, services=globs, **who), admin=admin)
    matrix = list(expected(allow, covered(globs)))
    replies = asker().ask(teal, *(command for command, _ in matrix))
    wrong = [(command, reply) for (command, denied), reply in zip(matrix, replies)
             if (reply.get("error") == "denied") != denied]
    assert not wrong
    for (command, denied), reply in zip(matrix, replies):
        if denied:
            right = next(r for r, v in VERBS + SOME + ALL + TEALD
                         if command == v or command in (v.format("shop"), v.format("pay")))
            assert (reply["right"], reply.get("uid"), reply["user"]) == (right, audit.get("uid"), audit["user"]), reply
            assert f'no role grants "{right}"' in reply["message"]
    # Each of those is in the log, and nothing else is denied there.
    denied = [command for command, no in matrix if no]
    if denied:
        teal.wait_log("audit", len(denied), result="denied", **audit)
    assert all(("pid" in l) == ("uid" in audit) and ("peer" in l) != ("uid" in audit) for l in teal.log_lines("audit"))
    assert [l["command"] for l in teal.log_lines("audit", result="denied")] == [c.split()[0] for c in denied]


def test_without_a_role_nothing_is_allowed_but_to_ask(stage):
    teal = stage()
    matrix = list(expected((), ()))
    replies = Person("games", "games").ask(teal, *(command for command, _ in matrix))
    assert [r.get("error") == "denied" for r in replies] == [denied for _, denied in matrix]
    assert "(admin.roles is empty)" in replies[0]["message"]
    assert Person("root", "root").ask(teal, "unlock *", "status")[1]["ok"]


def test_stop_needs_admin_everywhere(stage):
    teal = stage(role(*RIGHTS, services=["shop", "pay"], user="games"), role("admin", services=["*"], user="man"))
    assert Person("games").ask(teal, "stop")[0]["error"] == "denied"
    assert teal.running
    assert Person("man").ask(teal, "stop")[0] == {"ok": True, "stopping": True}
    assert teal.wait() == 0


def test_a_group_is_anybodys_who_is_in_it(stage):
    """First or further groups, as the kernel has them; not as /etc/group has."""
    teal = stage(role("flip", services=["shop"], group="games"))
    flip = "flip shop green"
    # The user games is a member of it by /etc/passwd, but is not now.
    assert Person("games").ask(teal, flip)[0]["error"] == "denied"
    for person in (Person("games", "games"), Person("man", "games"), Person("man", groups=["games"]),
                   Person("man", groups=["mail", "games", "news"]),
                   Person("man", groups=[*range(70000, 70300), "games"])):
        assert person.ask(teal, flip)[0]["ok"], vars(person)
    assert Person("man", groups=[*range(70000, 70300)]).ask(teal, flip)[0]["error"] == "denied"
    # The user with the group's number is not the group.
    assert Person("backup").ask(teal, flip)[0]["error"] == "denied"


def test_the_first_role_that_allows_wins(stage):
    teal = stage(role("read", services=["*"], group="games"), role("flip", services=["pay"], user="man"),
                 role("read", "flip", services=["p*"], group="games"))
    both, group, user = Person("man", "games"), Person("mail", "games"), Person("man")
    assert both.ask(teal, "status shop", "flip pay green", "flip shop green")[2]["error"] == "denied"
    assert group.ask(teal, "flip pay green")[0]["ok"] and group.ask(teal, "active shop")[0]["ok"]
    assert [r["ok"] for r in user.ask(teal, "flip pay green", "active pay", "flip shop green")] == [True, False, False]


def test_the_user_teald_runs_as_may_do_everything(stage):
    owner = Person("list")
    with tempfile.TemporaryDirectory(prefix="teal-", dir="/tmp") as state_dir:
        os.chown(state_dir, owner.uid, owner.gid)
        teal = stage(user="list", state_dir=state_dir)
        assert owner.ask(teal, "whoami")[0]["because"] == "is the user teald runs as"
        assert all(r["ok"] for r in owner.ask(teal, "lock * --reason=x", "unlock *", "maintenance on"))
        assert Person("games").ask(teal, "status")[0]["error"] == "denied"
        assert teal.stop() == 0


def test_one_sees_only_what_one_may_read(stage):
    teal = stage(role("read", services=["shop"], user="games"), role("flip", services=["pay"], user="games"))
    games = Person("games")
    everything, one = games.ask(teal, "status", "status shop")
    assert [s["name"] for s in everything["services"]] == ["shop"]
    assert everything["store"]["up"] and one["services"][0]["name"] == "shop"
    # Not even by a slip of the hand does one learn a name.
    assert games.ask(teal, "status shopp")[0]["error"] == "denied"
    teal2 = stage(role("read", services=["p*"], user="games"))
    assert "did you mean" not in games.ask(teal2, "active psshop")[0]["message"]
    assert games.ask(teal2, "active payy")[0]["message"].endswith("did you mean pay?")
    assert teal2.ctl("active", "shopp")["message"].endswith("did you mean shop?")


@contextlib.contextmanager
def events_of(person, teal):
    """What `events` tells that person: next() is the next event."""
    # A connection of theirs that stays: the kernel remembers who made it.
    listen = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
              "s.sendall(b'events\\n'); f = s.makefile()\n"
              "for line in f: print(line, end='', flush=True)")
    with subprocess.Popen([sys.executable, "-c", listen, teal.admin_path], user=person.uid, group=person.gid,
                          extra_groups=[], cwd="/", stdout=subprocess.PIPE, text=True) as p:
        try:
            assert json.loads(p.stdout.readline())["event"] == "events.listening"
            yield map(json.loads, p.stdout)
        finally:
            p.terminate()


def until_event(events, name):
    seen = []
    for e in events:
        seen.append(e)
        if e["event"] == name:
            return seen
    raise AssertionError(f"the stream ended before {name}: {seen}")


def test_events_of_others_are_not_streamed(stage):
    teal = stage(role("read", services=["shop"], user="games"))
    with events_of(Person("games"), teal) as events:
        for command in (("lock", "pay", "--reason=x"), ("maintenance", "on"), ("lock", "shop", "--reason=y"),
                        ("flip", "shop", "green"), ("unlock", "pay"), ("unlock", "shop")):
            teal.ctl(*command)
        seen = until_event(events, "service.unlocked")
    assert {e.get("service") for e in seen} == {"shop", None}
    assert [e["event"] for e in seen if e.get("service") is None] == ["maintenance.on"]
    teal.ok("maintenance", "off")


def test_events_of_teald_name_no_service_and_no_pool_of_others(stage, backend, ports):
    """A reload says what it changed, and a node goes down: whose that is others are not told."""
    node = backend("green")
    port = int(node.address.rsplit(":", 1)[1])
    hidden = service("hidden", listen=f"127.0.0.1:{ports.hold()}", green=[node], blue=[backend("blue")],
                     nodes="secret", health={"type": "tcp", "interval": 0.2, "rise": 1, "fall": 1})
    hidden |= {"green": {"port": port}, "blue": {"port": port}}
    teal = stage(role("read", services=["shop"], user="games"), role("read", services=["*"], user="man"),
                 more=[hidden], node_pools={"secret": ["127.0.0.1"]})
    scale.until(lambda: teal.status("hidden")["colors"]["green"]["healthy"] == 1, "hidden is healthy")
    with events_of(Person("games"), teal) as some, events_of(Person("man"), teal) as everything:
        change(teal, "hidden", max_connections=77)
        reload(teal)
        node.close()
        teal.wait_log("node.down")
        teal.ok("maintenance", "on")
        heard, all_of_it = until_event(some, "maintenance.on"), until_event(everything, "maintenance.on")
    assert not re.search("hidden|secret", json.dumps(heard))
    assert "reload.applied" in [e["event"] for e in heard]
    assert [e["event"] for e in heard if "node" in e["event"]] == []
    assert {e.get("pool") for e in all_of_it if e["event"] == "node.down"} == {"secret"}
    assert [("hidden" in e["message"]) for e in all_of_it if e["event"] == "reload.applied"] == [True]
    teal.ok("maintenance", "off")


def test_tealctl_shows_it_and_exits_with_3(stage):
    teal = stage(role("read", "flip", services=["shop"], user="games"), role("read", services=["*"], group="news"))
    games = Person("games", "news")
    p = games.tealctl(teal, "flip", "pay", "blue", "--reason=just a try", "--expect=green@1")
    assert (p.returncode, p.stdout) == (3, "")
    assert p.stderr == 'tealctl: denied: games (uid 5) may not flip "pay": no role grants "flip" on it\n'
    p = games.tealctl(teal, "flip", "pay", "blue", "--json")
    assert p.returncode == 3
    o = json.loads(p.stdout)
    assert (o["error"], o["right"], o["on"], o["changed"]) == ("denied", "flip", "pay", False)
    p = games.tealctl(teal, "whoami")
    assert p.returncode == 0
    lines = p.stdout.splitlines()
    assert lines[0].split("\t")[:2] == ["games", "5"] and lines[0].endswith("\tread,flip")
    assert lines[1:] == ["everywhere\tread", "service\tshop\tread,flip", "service\tpay\tread"]
    p = games.tealctl(teal, "flip", "shop", "blue")
    assert (p.returncode, teal.status("shop")["active"], teal.status("pay")["epoch"]) == (0, "blue", 1)
    assert Person("man").tealctl(teal, "status").returncode == 3
    # What was denied is in the service's own history, too.
    last = teal.ok("history", "pay")["history"][-2:]
    assert [(h["by"], h["result"], h["kind"], h["from"], h["to"]) for h in last] == [
        ("games", "denied", "flip", "green", "blue")] * 2
    assert (last[0]["reason"], last[0]["expect"], last[0]["epoch"]) == ("just a try", "green@1", 1)


def test_the_audit_has_who_what_where_and_both_epochs(stage):
    teal = stage(role("flip", services=["*"], user="games"))
    games = Person("games")
    games.ask(teal, ["flip", "shop", "blue", "--expect=green@1", "--reason=deploy 1"],
              ["flip", "shop", "green", "--expect=green@1"], ["rollback", "shop"], ["lock", "shop", "--reason=freeze"],
              ["flip", "shop", "blue"], ["unlock", "*"], ["maintenance", "on"], ["flip", "nope", "blue"])
    teal.wait_log("audit", 8, uid=5)
    lines = teal.log_lines("audit", uid=5)
    assert all(l["user"] == "games" and l["pid"] > 0 and l["host"] == os.uname().nodename for l in lines)
    told = [tuple(l.get(k) for k in ("command", "service", "color", "expect", "result", "changed", "epoch", "reason"))
            for l in lines]
    assert told == [
        ("flip", "shop", "blue", "green@1", "ok", True, 2, "deploy 1"),
        ("flip", "shop", "green", "green@1", "conflict", False, 2, None),
        ("rollback", "shop", None, None, "ok", True, 3, None),
        ("lock", "shop", None, None, "ok", True, 3, "freeze"),
        ("flip", "shop", "blue", None, "locked", False, 3, None),
        ("unlock", "*", None, None, "ok", True, None, None),
        ("maintenance", None, None, None, "denied", False, None, None),
        ("flip", "nope", "blue", None, "unknown_service", False, None, None),
    ]


def test_a_stranger_cannot_push_out_the_history(stage):
    teal = stage()
    teal.ok("flip", "shop", "blue")
    Person("games").ask(teal, *["flip shop green"] * 40)
    teal.wait_log("audit", 40, result="denied")
    history = teal.ok("history", "shop", "--last=1000")["history"]
    assert history[0]["result"] == "ok" and 1 <= sum(h["result"] == "denied" for h in history) <= 11


def test_a_fleet_tells_of_what_one_of_it_denied(fleet):
    """The stream of events has it, so every Teal's history has."""
    roles = [role("read", services=["*"], user="man"), role("flip", services=["web"], user="games")]
    one, two = teals = fleet(2, top={"admin": {"mode": "0666", "roles": roles}})
    man, games = Person("man"), Person("games")
    assert man.ask(one, ["flip", "web", "blue", "--expect=green@1", "--reason=may I"])[0]["error"] == "denied"
    assert games.ask(one, ["flip", "web", "blue", "--expect=green@1"])[0]["ok"]
    tale = scale.until(lambda: len(h := two.ok("history", "web")["history"]) == 2 and h, "the other's history")
    assert [tuple(h[k] for k in ("by", "uid", "kind", "from", "to", "expect", "reason", "epoch", "result")) for h in tale] == [
        ("man", 6, "flip", "green", "blue", "green@1", "may I", 1, "denied"),
        ("games", 5, "flip", "green", "blue", "green@1", None, 2, "ok")]
    assert len(teals.redis("XRANGE", f"{teals.prefix}:events", "-", "+")) == 2
    # The fleet is shown to those who may read something, and no further.
    assert {m["pid"] for m in man.ask(two, "fleet")[0]["fleet"]} == {one.pid, two.pid}
    assert games.ask(two, "fleet")[0]["error"] == "denied"


def test_members_are_shown_with_the_services_one_may_read(stage, redis):
    teal = stage(role("read", services=["shop"], user="games"),
                 store={"type": "redis", "url": redis().url, "prefix": "teal:rights"})
    for person, names in ((Person("root", "root"), {"shop", "pay"}), (Person("games"), {"shop"})):
        member, = person.ask(teal, "fleet")[0]["fleet"]
        assert set(re.findall("shop|pay", json.dumps(member["services"]))) == names


def test_the_stores_problem_names_a_service_to_those_who_may_read_it(stage, redis):
    store = redis()
    teal = stage(role("read", services=["shop"], user="games"), role("read", services=["pay"], user="man"),
                 store={"type": "redis", "url": store.url, "prefix": "teal:rights"})
    assert Person("games").ask(teal, "status")[0]["store"]["problem"] is None
    store("HSET", "teal:rights:service:pay", "color", "purple")
    problem = lambda who: who.ask(teal, "status")[0]["store"]["problem"]
    scale.until(lambda: problem(Person("root", "root")), "a record that cannot be")
    assert "pay" in problem(Person("man"))
    assert problem(Person("games")) and "pay" not in problem(Person("games"))
    assert "pay" not in json.dumps(Person("games").ask(teal, "fleet")[0])
