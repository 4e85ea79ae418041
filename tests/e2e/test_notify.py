"""Events to receivers outside: webhooks and Grafana's annotations."""
import json
import re
import subprocess
import threading

import pytest

from helpers import certificates, libconfig, scale
from helpers.reload import rewrite
from helpers.scale import patience, until
from helpers.upgrade import gone, upgrade
from helpers.webhook import Webhook, verify

FLIP = ["flip.committed", "flip.applied", "flip.drained"]


@pytest.fixture
def webhook(ports, closing):
    """webhook(): a running receiver."""
    def make(port=None, answer=204, **how):
        return closing.add(Webhook(port or ports.hold(), answer, **how))
    return make


def secret_file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


def waiting(t, n, name="hook"):
    """Until so many events wait for it."""
    t.wait_metric(n, "teal_notify_waiting", receiver=name)


def counted(t, result, n, name="hook"):
    t.wait_metric(n, "teal_notify_events_total", receiver=name, result=result)


def test_a_flip_is_told_signed_and_in_order(web, webhook, tmp_path):
    hook = webhook()
    secret = secret_file(tmp_path, "secret", "a shared secret")
    t = web(labels={"project": "shop"}, top={"notify": [
        {"name": "hook", "url": hook.url("/in?room=1"), "secret_file": secret, "events": FLIP}]})
    t.ok("flip", "web", "blue", "--reason=deploy 8812")
    hook.wait(event="flip.drained")
    posts = hook.taken()
    # A flip is committed, then applied, then drained; the store may tell main before or after the flip's own word.
    assert sorted(p.event for p in posts) == sorted(FLIP)
    assert posts[-1].event == "flip.drained"
    p = hook.wait(event="flip.committed")
    assert p.path == "/in?room=1"
    assert {k: p.json[k] for k in ("service", "from", "to", "epoch", "kind", "reason")} == {
        "service": "web", "from": "green", "to": "blue", "epoch": t.status()["epoch"], "kind": "flip",
        "reason": "deploy 8812"}
    assert p.json["labels"] == {"project": "shop"}
    assert p.json["text"].startswith("web: green -> blue (epoch ")
    assert len({p.json["id"] for p in posts}) == 3
    for p in posts:
        assert p.headers["X-Teal-Delivery"] == p.json["id"] and p.headers["X-Teal-Event"] == p.event
        assert p.headers["Content-Type"] == "application/json"
        signed = verify("a shared secret", p.headers["X-Teal-Signature"], p.body)
        # As the manual says it is done in a shell.
        shell = subprocess.run(
            ["sh", "-c", "{ printf '%s.' \"$1\"; cat; } | openssl dgst -sha256 -hmac \"$(cat \"$2\")\"", "sh",
             str(signed), secret], input=p.body, capture_output=True, check=True)
        assert shell.stdout.decode().split()[-1] == p.headers["X-Teal-Signature"].split("v1=")[1]
    counted(t, "delivered", 3)
    r = t.ok("status")["notify"]
    assert [(x["name"], x["where"], x["delivered"], x["lost"], x["error"]) for x in r] == [
        ("hook", f"http://127.0.0.1:{hook.port}", 3, 0, None)]


def test_what_a_receiver_does_not_want_it_is_not_sent(teal, backend, ports, webhook):
    from helpers.teald import service
    hook, other = webhook(), webhook()
    g, b = backend("green"), backend("blue")
    t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[g], blue=[b]) for n in ("shop", "pay")],
             notify=[{"name": "hook", "url": hook.url(), "services": ["sh*"], "events": ["flip.committed"]},
                     {"name": "other", "url": other.url(), "events": ["service.*", "maintenance.on"]}])
    t.ok("flip", "pay", "blue")
    t.ok("lock", "pay", "--reason=freeze")
    t.ok("maintenance", "on")
    t.ok("flip", "shop", "blue")
    assert hook.wait(1).json["service"] == "shop"
    other.wait(event="maintenance.on")
    assert [p.event for p in other.taken()] == ["service.locked", "maintenance.on"]
    assert [p.json["service"] for p in hook.taken()] == ["shop"]


def test_a_receiver_that_fails_gets_each_event_later_in_order(web, webhook, ports):
    port = ports.hold()
    t = web(clock=True, top={"notify": [{"name": "hook", "url": f"http://127.0.0.1:{port}/in", "retry_for": 86400.0,
                                        "events": ["service.*"]}]})
    # Nothing listens there: no command waits for it.
    for i in range(3):
        t.ok("lock", "web", f"--reason={i}")
        t.ok("unlock", "web")
    line = t.wait_log("notify.failing", name="hook")
    assert line["error"] == "connection refused" and line["where"] == f"http://127.0.0.1:{port}"
    waiting(t, 6)
    line = [x for x in t.tealctl("status").stdout.splitlines() if x.startswith("notify")]
    assert line == [f"notify\thook\thttp://127.0.0.1:{port}\t6\t0\tconnection refused"], line
    # Of one kind after the other: all are worth another attempt.
    odd = [503, 500, 502, 429, 408, 425, b"nonsense\r\n\r\n", b"", b"HTTP/1.1 100 Continue\r\n\r\n"]
    answers = iter(odd)
    hook = webhook(port, lambda post: next(answers, 200))

    def recovered():
        return t.log_lines_now("notify.recovered", name="hook")

    def failures():
        return t.metrics().get("teal_notify_failures_total", receiver="hook")

    def after_the_pause():
        before = failures()
        t.clock.move(80)
        until(lambda: failures() > before or recovered(), "another attempt")
        return recovered()
    until(after_the_pause, "all is delivered in the end")
    assert failures() > len(odd)
    hook.wait(6)
    assert [(p.event, p.json.get("reason")) for p in hook.taken()] == [
        (e, r) for i in range(3) for e, r in (("service.locked", str(i)), ("service.unlocked", ""))]
    # What was tried again is the same event.
    assert len({p.json["id"] for p in hook.posts}) == 6
    counted(t, "delivered", 6)
    assert len(t.log_lines("notify.failing")) == 1 and not t.log_lines("notify.lost")


def test_a_receiver_that_comes_back_gets_what_is_not_too_old(web, webhook, ports):
    """However long it was away: the pauses between attempts are no longer than events last."""
    port = ports.hold()
    t = web(clock=True, top={"notify": [{"name": "hook", "url": f"http://127.0.0.1:{port}/in", "retry_for": 20.0,
                                        "events": ["service.locked"]}]})

    def failures():
        return t.metrics().get("teal_notify_failures_total", receiver="hook")

    for i in range(8):
        t.ok("lock", "web", f"--reason={i}")
        t.ok("unlock", "web")
        before = failures()
        until(lambda: t.clock.move(5) or failures() > before, "another attempt")
    hook = webhook(port)
    t.ok("lock", "web", "--reason=last")
    # A quarter of retry_for, and what chance adds.
    t.clock.move(7)
    hook.wait(reason="last")


def test_patterns_that_fit_nothing_are_warned_of(web):
    t = web(start=False, top={"notify": [{"url": "http://127.0.0.1:9/x", "events": ["flip.*", "flip.comitted", "*"],
                                          "services": ["w*", "shop-*"]}]})
    t.conf.write_text(libconfig.dumps(t.settings))
    p = subprocess.run([scale.BUILD / "teald", "-t", "-c", t.conf], capture_output=True, text=True, timeout=patience())
    assert p.returncode == 0
    said = [line for line in p.stderr.splitlines() if "notify." in line]
    assert len(said) == 2 and '"flip.comitted" is no event' in said[0] and '"shop-*" is no service' in said[1], p.stderr


def test_every_event_of_the_bus_is_known_to_the_check():
    known = set(re.findall(r'"([a-z_]+\.[a-z_]+)"', re.search(r"known_events\[\] = \{(.*?)\};",
                (scale.REPO / "src/model/config_notify.c").read_text(), re.S)[1]))
    told, named = set(), set()
    for path in (scale.REPO / "src").rglob("*.c"):
        text = path.read_text() if path.name != "config_notify.c" else ""
        named |= set(re.findall(r'"([a-z_]+\.[a-z_]+)"', text))
        for call in re.findall(r"\b(?:BUS_EMIT|tell_of|log_node)\(.*?\);", text, re.S):
            told |= set(re.findall(r'"([a-z_]+\.[a-z_]+)"', call))
    assert len(told) > 40
    assert sorted(told - known) == []       # to be listed in known_events, for warnings about mistyped names
    assert known <= named


def test_a_receiver_that_says_no_is_not_asked_again(web, webhook):
    hook, elsewhere = webhook(), webhook()
    hook.headers["Location"] = elsewhere.url()
    answers = iter([301, 307, 400, 401, 404, 410])
    hook.answer = lambda post: next(answers, 200)
    t = web(top={"notify": [{"name": "hook", "url": hook.url(), "events": ["service.*", "reload.*"]}]})
    for i in range(3):
        t.ok("lock", "web", f"--reason={i}")
        t.ok("unlock", "web")
    counted(t, "refused", 6)
    assert "redirects are not followed" in t.wait_log("notify.failing")["hint"]
    assert t.wait_log("notify.lost")["reason"] == "the receiver refused them"
    t.ok("lock", "web", "--reason=last")
    hook.wait(reason="last")
    assert len(hook.posts) == 7 and elsewhere.posts == []


def test_a_slow_receiver_holds_up_nothing_and_loses_only_its_own(web, webhook):
    hook, quick, hold = webhook(), webhook(), threading.Event()
    hook.answer = lambda post: hold.wait(patience()) and 200
    t = web(clock=True, top={"notify": [
        {"name": "hook", "url": hook.url(), "queue": 2, "retry_for": 100.0, "events": ["flip.committed"]},
        {"name": "quick", "url": quick.url(), "events": ["flip.committed"]}]})
    for i in range(3):
        t.ok("flip", "web", "blue", f"--reason={i}")
        t.ok("flip", "web", "green")
    quick.wait(6)
    counted(t, "dropped", 4)
    lost = t.wait_log("notify.lost", name="hook")
    assert lost["reason"] == "the queue is full" and lost["count"] == 1
    # It is given up after its timeout, and in the end what waits is too old.
    t.clock.move(6)
    until(lambda: t.metrics().get("teal_notify_failures_total", receiver="hook") >= 1, "it is given up")
    assert "5 s" in t.ok("status")["notify"][0]["error"]
    t.clock.move(101)
    until(lambda: t.clock.move(10) or t.metrics().get("teal_notify_events_total", receiver="hook", result="expired") == 2,
          "both are too old")
    waiting(t, 0)
    hold.set()
    t.ok("flip", "web", "blue", "--reason=anew")
    hook.wait(reason="anew")


def test_tls_is_verified(web, webhook, tmp_path):
    ours, theirs = certificates.Authority(tmp_path, "Ours"), certificates.Authority(tmp_path, "Theirs")
    good, named = ours.issue("localhost"), ours.issue("elsewhere", "hooks.example")
    hook, misnamed = (webhook(certificate=c["cert"], key=c["key"]) for c in (good, named))
    receivers = {
        "good": {"url": hook.url(host="localhost"), "ca": str(ours.pem)},
        "stranger": {"url": hook.url(host="localhost"), "ca": str(theirs.pem)},
        "system": {"url": hook.url(host="localhost")},
        "misnamed": {"url": misnamed.url(host="localhost"), "ca": str(ours.pem)},
        "blind": {"url": misnamed.url(host="localhost"), "verify": False},
    }
    t = web(top={"notify": [{"name": n, "events": ["service.locked"]} | r for n, r in receivers.items()]})
    t.ok("lock", "web", "--reason=tls")
    for name in ("good", "blind"):
        counted(t, "delivered", 1, name)
    for name, says in ("stranger", "certificate"), ("system", "certificate"), ("misnamed", "certificate"):
        assert says in t.wait_log("notify.failing", name=name)["error"]
        counted(t, "delivered", 0, name)
    assert len(hook.posts) == 1 and len(misnamed.posts) == 1
    # Another authority at the same place is read by the next attempt.
    (tmp_path / "Theirs.pem").write_bytes((tmp_path / "Ours.pem").read_bytes())
    counted(t, "delivered", 1, "stranger")


def test_a_name_that_is_not_found_is_said_and_tried_again(web):
    t = web(clock=True, top={"notify": [{"name": "hook", "url": "http://no-such-host.invalid/in",
                                        "events": ["service.locked"]}]})
    t.ok("lock", "web", "--reason=x")
    assert "no-such-host.invalid" in t.wait_log("notify.failing")["error"]
    t.clock.move(2)
    until(lambda: t.metrics().get("teal_notify_failures_total", receiver="hook") >= 2, "it is looked up again")
    assert t.metrics().get("teal_names_failing") == 0  # of backends


def test_grafana_gets_annotations(web, webhook, tmp_path):
    """The stand-in for Grafana checks what its documentation of POST /api/annotations asks for; Debian has no Grafana."""
    hook = webhook()

    def annotations(post):
        if post.path != "/api/annotations" or post.headers["Authorization"] != "Bearer glsa_token":
            return 401
        a = post.json
        good = set(a) <= {"dashboardUID", "panelId", "time", "timeEnd", "tags", "text"} and \
            isinstance(a["time"], int) and all(isinstance(x, str) for x in a["tags"]) and a["text"]
        return 200 if good else 400
    hook.answer = annotations
    t = web(top={"notify": [{"url": hook.url("/api/annotations"), "format": "grafana", "tags": ["env:prod"],
                            "token_file": secret_file(tmp_path, "token", "glsa_token")}]})
    t.ok("flip", "web", "blue", "--reason=deploy 8812")
    t.ok("rollback", "web", "--reason=errors")
    first, second = hook.wait(1), hook.wait(2)
    assert first.json["tags"] == ["teal", "flip.committed", "web", "blue", "env:prod"]
    assert first.json["text"].endswith(": deploy 8812")
    assert second.json["text"].startswith("web: rolled back, blue -> green")
    assert first.json["time"] <= second.json["time"]


def test_a_reload_keeps_what_waits(web, webhook, ports, tmp_path):
    old, new = ports.hold(), webhook()
    secret = secret_file(tmp_path, "secret", "first")
    t = web(top={"notify": [{"name": "hook", "url": f"http://127.0.0.1:{old}/s3cret", "events": ["service.*"]}]})
    t.ok("lock", "web", "--reason=before")
    t.wait_log("notify.failing")
    # The receiver has moved, and another one comes.
    other = webhook()
    t.settings["notify"] = [
        {"name": "hook", "url": new.url("/s3cret"), "events": ["service.*"], "secret_file": secret},
        {"name": "other", "url": other.url(), "events": ["reload.applied"]}]
    rewrite(t)
    assert any("notify" in k for k in t.ctl("reload", "--dry-run").event("planned")["settings"]["keys"])
    t.ok("reload")
    verify("first", new.wait(reason="before").headers["X-Teal-Signature"], new.posts[0].body)
    other.wait(event="reload.applied")
    # Another secret in the same file.
    secret_file(tmp_path, "secret", "second")
    t.ok("reload")
    t.ok("unlock", "web")
    p = new.wait(event="service.unlocked")
    verify("second", p.headers["X-Teal-Signature"], p.body)
    # What waits for a receiver that goes is said to be lost.
    new.answer = 503
    t.ok("lock", "web", "--reason=after")
    t.wait_metric(1, "teal_notify_waiting", receiver="hook")
    del t.settings["notify"]
    rewrite(t)
    t.ok("reload")
    assert t.wait_log("notify.lost")["count"] == 1
    # Where a message of a chat goes is as good as its password.
    told = t.tealctl("config").stdout + json.dumps(t.ok("status")) + json.dumps(t.logs) + t.http("/metrics")[1]
    assert "s3cret" not in told and "first" not in t.tealctl("config").stdout


def test_an_upgrade_loses_no_event(web, webhook, ports):
    port = ports.hold()
    t = web(start=False, top={"notify": [{"name": "hook", "url": f"http://127.0.0.1:{port}/in", "events": ["flip.*", "service.*"]}]})
    t.start(supervised=True)
    hook = webhook(port)
    t.ok("lock", "web", "--reason=first")
    counted(t, "delivered", 1)
    hook.answer = 503
    t.ok("unlock", "web")
    # A connection to the old color keeps the drain, and the former process.
    with t.connect() as held:
        assert held.peer == "green"
        t.ok("flip", "web", "blue")
        before, _ = upgrade(t)
        hook.answer = 200
        assert hook.wait(event="service.unlocked").json["id"]
        hook.wait(event="flip.draining")
    hook.wait(event="flip.drained")
    gone(before)
    t.ok("lock", "web", "--reason=last")
    hook.wait(reason="last")
    events = [p.event for p in hook.taken()]
    for event in ("service.unlocked", "flip.committed", "flip.applying", "flip.applied", "flip.drained"):
        assert events.count(event) == 1, events
    taken = hook.taken()
    assert len({p.json["id"] for p in taken}) == len(taken)
    counted(t, "delivered", len(taken))


def test_a_fleet_tells_of_a_flip_once_or_from_each(fleet, webhook):
    once, every = webhook(), webhook()
    f = fleet(3, top={"notify": [{"name": "once", "url": once.url(), "events": FLIP},
                                 {"name": "every", "url": every.url(), "events": FLIP, "fleet": "every"}]})
    f.wait_members()
    color = f[0].status()["idle"]
    f[1].ok("flip", "web", color)
    f.agree(color)
    every.wait(3, event="flip.drained")
    every.wait(3, event="flip.applied")
    once.wait(event="flip.drained")
    f[2].ok("rollback", "web")
    every.wait(6, event="flip.drained")
    once.wait(2, event="flip.drained")
    for event in FLIP:
        assert len(once.taken(event=event)) == 2, event
    assert len(every.taken(event="flip.committed")) == 2


def test_the_last_events_of_a_stop_are_sent(web, webhook):
    hook = webhook()
    t = web(top={"notify": [{"name": "hook", "url": hook.url(), "events": ["teald.*"]}]})
    hook.wait(event="teald.serving")
    assert t.stop() == 0
    assert [p.event for p in hook.taken()][-1] == "teald.drained"
    assert not t.log_lines_now("notify.lost")


def test_a_receiver_that_hangs_does_not_hold_up_a_stop(web, webhook):
    hook, hold = webhook(), threading.Event()
    hook.answer = lambda post: hold.wait(patience()) and 200
    t = web(top={"notify": [{"name": "hook", "url": hook.url(), "timeout": 60.0, "events": ["service.*", "teald.stopping"]}]})
    t.ok("lock", "web", "--reason=x")
    waiting(t, 1)
    assert t.stop() == 0
    assert t.wait_log("notify.lost")["reason"] == "teald has ended"
    hold.set()


@pytest.mark.nosan
@pytest.mark.parametrize("receiver, says", [
    ({}, "notify: url is missing"),
    ({"url": "hooks.example"}, "notify.url: expected http://"),
    ({"url": "https://ci:pw@hooks.example"}, "token_file"),
    ({"url": "http://h", "event": ["x"]}, 'unknown key "notify.event"; did you mean "events"?'),
    ({"url": "http://h", "events": []}, "notify.events: the list is empty"),
    ({"url": "http://h", "events": ["a b"]}, '"a b" is not the name of an event'),
    ({"url": "http://h", "format": "graphana"}, 'did you mean "grafana"?'),
    ({"url": "http://h", "timeout": 0.0}, "notify.timeout"),
    ({"url": "http://h", "secret_file": "/nowhere/s"}, "notify.secret_file: cannot read /nowhere/s"),
    ({"url": "https://h", "ca": "/nowhere/ca"}, "notify.ca: cannot read"),
])
def test_what_is_wrong_is_said(web, receiver, says):
    t = web(start=False, top={"notify": [receiver]})
    status, text = t.start_refused()
    assert status == 2 and says in text, text


def test_two_of_one_name_are_refused(web):
    t = web(start=False, top={"notify": [{"url": "http://h/a"}, {"url": "http://h/b"}]})
    status, text = t.start_refused()
    assert status == 2 and 'two receivers are called "h"' in text
