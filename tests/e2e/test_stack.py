"""The stack of conf/ around a real teald: Prometheus scrapes it, alerts fire
and reach who is to hear them."""
import contextlib
import datetime
import fcntl
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest
import yaml

from helpers import stack as stacks
from helpers.reload import reload, rewrite
from helpers.samples import CONF, replace
from helpers.scale import patience
from helpers.scale import until as until_often
from helpers.teald import service

pytestmark = pytest.mark.nosan  # other people's programs; teald's part is tested elsewhere

# Each look is a question to a server: not a hundred times a second.
until = functools.partial(until_often, every=0.1)

UNIT_TESTS = sorted((pathlib.Path(__file__).parents[1] / "stack").glob("*.test.yml"))


def tool(*words, cwd=None):
    p = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=10 * patience(), cwd=cwd, env=stacks.ENV)
    return p.returncode, p.stdout + p.stderr


# ---- by the tools ----

def test_the_samples_are_valid():
    for words in (["promtool", "check", "rules", CONF / "alerts.yml"],
                  ["promtool", "check", "config", CONF / "prometheus.yml"],
                  ["promtool", "check", "config", CONF / "prometheus-federation.yml"],
                  ["amtool", "check-config", CONF / "alertmanager.yml"]):
        status, text = tool(*words)
        assert status == 0, text


def in_parts(path, folder, rules, few):
    """Its unit tests in files of a few, each with the rules alone that these ask about: promtool evaluates all that
    it is given, for each test."""
    whole = yaml.safe_load(path.read_text())
    for n in range(0, len(whole["tests"]), few):
        part, given = folder / f"{n}-{path.name}", folder / f"{n}-{path.name}.rules"
        text = yaml.safe_dump(whole | {"rule_files": [given.name], "tests": whole["tests"][n:n + few]}, width=10000)
        part.write_text(text)
        wants_all = "ALERTS{alertstate=" in text
        given.write_text(yaml.safe_dump({"groups": [g | {"rules": [
            r for r in g["rules"] if wants_all or re.search(rf"\b{r['alert']}\b", text)]} for g in rules["groups"]]}))
        yield part


def test_each_alert_has_a_test():
    wanted = re.findall(r"labels: 'ALERTS\{alertname=\"(\w+)\"", "".join(p.read_text() for p in UNIT_TESTS))
    assert set(wanted) == set(stacks.alerts())


def test_no_test_of_silence_is_of_an_alert_that_is_not_there():
    """promtool passes such a test."""
    text = "".join(p.read_text() for p in UNIT_TESTS)
    for name in set(re.findall(r'alertname(?:=~?"|: *)([^",}\s]+)', text)):
        assert any(re.fullmatch(name, alert) for alert in stacks.alerts()), name


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda p: p.name.split(".")[0])
def test_each_alert_comes_when_it_should_and_not_before(tmp_path, path):
    for part in in_parts(path, tmp_path, yaml.safe_load((CONF / "alerts.yml").read_text()), 1):
        status, said = tool("promtool", "test", "rules", part)
        assert status == 0, said


def test_those_tests_notice_alerts_that_never_come(tmp_path):
    rules, said = yaml.safe_load((CONF / "alerts.yml").read_text()), ""
    for g in rules["groups"]:
        for r in g["rules"]:
            r["expr"] = "vector(0) > 1"
    for path in UNIT_TESTS:
        for part in in_parts(path, tmp_path, rules, 10):
            status, text = tool("promtool", "test", "rules", part)
            assert status != 0
            said += text
    assert [n for n in stacks.alerts() if f'"{n}' not in said and f'\\"{n}' not in said] == []


def test_what_an_alert_says_helps_at_three_in_the_morning():
    for name, rule in stacks.alerts().items():
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, name
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert len(rule["annotations"]["runbook"]) > 60, name


# ---- for real ----

def labels_of(alert):
    return {k: v for k, v in alert["labels"].items() if k not in ("alertname", "severity", "job")}


def check_what_was_said(stack):
    """Templates came out whole, and each severity where it belongs."""
    to = {"critical": "pager", "warning": "tickets", "info": "channel"}
    assert stack.hook.got
    for a in stack.hook.got:
        assert a["receiver"] == to[a["labels"]["severity"]], a
        for text in a["annotations"].values():
            assert not re.search(r"<error|<no value>|\{\{|%!|<nil>", text), text


def test_a_color_without_backends_wakes_somebody(web, stack):
    """Scraped, evaluated, routed, delivered; and taken back when it is over."""
    teal = web()
    stack.watch("prod", teal.observe)
    up = frozenset({("instance", "%s:%d" % teal.observe), ("job", "teal"), ("fleet", "prod"), ("__name__", "up")})
    until(lambda: stack.query("up") == {up: 1.0}, "scraped")
    until(lambda: len(stack.query("teal_service_active")) == 2, "teald's series")
    assert not stack.active()
    teal.green.stop()
    stack.wait_for("TealNoHealthyBackend", service="web", color="green")
    until(lambda: any(a["labels"]["alertname"] == "TealNoHealthyBackend" and a["receiver"] == "pager"
                      for a in list(stack.hook.got)), "the pager")
    teal.green.start()
    until(lambda: any(a["labels"]["alertname"] == "TealNoHealthyBackend" and a["status"] == "resolved"
                      for a in list(stack.hook.got)), "the all-clear")
    check_what_was_said(stack)


def test_an_outer_prometheus_takes_teals_series(web, stack, closing, ports, tmp_path):
    teal = web()
    stack.watch("prod", teal.observe)
    until(lambda: stack.query("teal_service_active"), "teald's series")
    (tmp_path / "outer.yml").write_text(replace((CONF / "prometheus-federation.yml").read_text(), [
        ("10.0.0.5:9090", stack.prometheus.address), ("scrape_interval: 30s", "scrape_interval: 250ms")]))
    (tmp_path / "outer").mkdir()
    outer = closing.add(stacks.Server(tmp_path / "outer", ports, "prometheus",
                                      f"--config.file={tmp_path}/outer.yml",
                                      f"--storage.tsdb.path={tmp_path}/outer/tsdb"))

    def names():
        return set(outer.get("/api/v1/label/__name__/values", **{"match[]": '{fleet="prod"}'})["data"])
    want = {s for f in teal.metrics().families.values() for s, _ in f.samples}
    until(lambda: {n for n in want if n.startswith(("teal_", "process_"))} <= names(), "all of Teal's series")
    assert "up" in names() and "prometheus_build_info" not in names()
    # A name that is known had a sample once; that there is one now takes until the next scrape.
    found = until(lambda: outer.get("/api/v1/query", query="teal_service_epoch")["data"]["result"], "an epoch")
    assert found[0]["metric"]["instance"] == "%s:%d" % teal.observe


SERIES = re.compile(r"\b(?:teal|process)_[a-z0-9_]+")


def exposed(teal):
    """Names of series, and of families that have none yet."""
    m = teal.metrics()
    return {s for f in m.families.values() for s, _ in f.samples} | set(m.families) | {
        f.name + suffix for f in m.families.values() if f.type == "histogram" for suffix in ("_bucket", "_sum", "_count")}


def test_alerts_ask_for_nothing_that_is_not_there(fleet):
    """Over a fleet: it has the series of the store, too."""
    there = exposed(fleet(1)[0])
    for name, rule in stacks.alerts().items():
        asked = set(SERIES.findall(rule["expr"]))
        assert asked <= there, f"{name}: {asked - there}"


# ---- the dashboard ----

def dashboard():
    return json.loads((CONF / "grafana-dashboard.json").read_text())


def questions(d):
    """(where, expression) of all panels, annotations and variables."""
    for p in d["panels"]:
        for t in p.get("targets", []):
            yield p["title"], t["expr"]
    for a in d["annotations"]["list"]:
        yield a["name"], a["expr"]
    for v in d["templating"]["list"]:
        if v["type"] == "query":
            yield v["name"], re.fullmatch(r"label_values\((.*), \w+\)", v["query"]["query"])[1]


def test_the_dashboard_is_whole():
    d = dashboard()
    assert {"uid", "title", "panels", "templating", "annotations", "schemaVersion", "time", "refresh"} <= set(d)
    variables = {v["name"] for v in d["templating"]["list"]}
    assert variables == {"datasource", "fleet", "service"}
    assert "id" not in d    # Grafana gives it one
    ids = [p["id"] for p in d["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for p in d["panels"]:
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert g["x"] + g["w"] <= 24 and not cells & taken, p["title"]
        taken |= cells
        assert p["type"] in ("row", "timeseries", "stat") and p["title"]
        if p["type"] == "row":
            continue
        refs = [t["refId"] for t in p["targets"]]
        assert refs and len(set(refs)) == len(refs)
        for source in [p["datasource"]] + [t["datasource"] for t in p["targets"]]:
            assert source == {"type": "prometheus", "uid": "${datasource}"}
    for where, expr in questions(d):
        assert set(re.findall(r"\$(\w+)", expr)) <= variables | {"__rate_interval", "__range"}, where
    flips = d["annotations"]["list"][0]
    assert flips["name"] == "Flips" and flips["enable"] and flips["useValueForTime"]


def test_each_question_of_the_dashboard_has_an_answer(fleet, stack):
    """Prometheus understands each, and each series it asks for is there; those about
    traffic and flips are answered with what has just happened."""
    f = fleet(2)
    stack.watch("prod", *(t.observe for t in f))
    f[0].ok("flip", "web", "blue")
    for _ in range(5):
        f[0].connect().echo().close()
    there = exposed(f[0])
    until(lambda: stack.query(f"rate(teal_connections_total[{stacks.WINDOW}])"), "two scrapes")
    until(lambda: sum(stack.query("teal_service_epoch").values()) == 4, "the flip in Prometheus")
    answers = {}
    for where, expr in questions(dashboard()):
        assert set(SERIES.findall(expr)) <= there, where
        for name, value in (("$__rate_interval", stacks.WINDOW), ("$__range", "1m"), ("$fleet", ".*"), ("$service", ".*")):
            expr = expr.replace(name, value)
        answers.setdefault(where, []).append(stack.query(expr))
    assert {dict(k)["color"]: v for k, v in answers["Active color"][0].items()} == {"blue": 1}
    assert list(answers["Epochs that differ"][0].values()) == [0]
    (labels, at), = answers["Flips"][1 if len(answers["Flips"]) > 1 else 0].items()
    assert dict(labels) == {"service": "web", "color": "blue"}
    flipped = datetime.datetime.fromisoformat(f[0].status()["changed_at"].replace("Z", "+00:00"))
    assert at / 1000 == pytest.approx(flipped.timestamp(), abs=0.01)
    for where in ("New connections", "Open connections", "Bytes", "Healthy and needed", "CPU", "Memory", "Store age",
                  "Fleet", "Held loops", "Draining connections", "Epoch, by teald"):
        assert any(answers[where]), where


# ---- every alert, for real ----

def page(teal, **values):
    """What that teald says, with the value of some series replaced."""
    lines = []
    for line in teal.http("/metrics")[1].splitlines():
        name = re.match(r"\w*", line)[0]
        lines.append(f"{line.rpartition(' ')[0]} {values[name]}" if name in values else line)
    return "\n".join(lines) + "\n"


@pytest.mark.soak
def test_one_teald_fires_what_it_can(teal, backend, ports, stack, closing, tmp_path):
    """All that a single teald can come to, one thing after the other."""
    g, b = [backend("green"), backend("green")], [backend("blue")]
    lost = {"url": f"http://127.0.0.1:{ports.hold()}/", "retry_for": 0, "events": ["maintenance.*"]}
    t = teal(start=False, log={"level": "info"}, stop={"notice": 6.0, "timeout": 0.5}, notify=[lost], services=[
        service("shop", listen=f"127.0.0.1:{ports.hold()}", green=g, blue=b, flip={"min_healthy": "100%"},
                drain={"timeout": 600.0, "idle": 0.0}, retries=0),
        service("tiny", listen=f"127.0.0.1:{ports.hold()}", green=g, blue=b, max_connections=1)])
    t.start(stdout=(sink := os.pipe())[1])
    fcntl.fcntl(sink[1], fcntl.F_SETPIPE_SZ, 4096)
    os.close(sink[1])
    stack.watch("prod", t.observe)
    until(lambda: stack.query("up"), "scraped")
    t.ok("maintenance", "on")
    t.ok("lock", "tiny", "--reason=x")
    stack.wait_for("TealInMaintenance", "TealLockedLong")
    t.ok("maintenance", "off")
    stack.wait_for("TealEventsLost")
    held = t.connect("shop").echo()
    t.ok("flip", "shop", "blue")    # shop is on blue, and green drains for long
    stack.wait_for("TealDrainLong", service="shop", color="green")
    one = t.connect("tiny").echo()
    b[0].stop()
    stack.wait_for("TealNoHealthyBackend", "TealTooFewBackends", "TealBackendDown", service="shop", color="blue")

    def busy():
        """Clients that are refused, and clients that reach nobody; and a full log."""
        while not over.is_set():
            for name in ("tiny", "shop"):
                with contextlib.suppress(OSError):
                    t.connect(name).close()
    over = threading.Event()
    clients = threading.Thread(target=busy, daemon=True)
    clients.start()
    stack.wait_for("TealErrorsAfterFlip", "TealErrors", service="shop")
    stack.wait_for("TealRefusing", service="tiny")
    stack.wait_for("TealLogLinesDropped")
    over.set()
    clients.join()
    g[1].stop()
    stack.wait_for("TealRollbackImpossible", service="shop")
    rewrite(t, max_connections=2)
    reload(t)
    with t.connect("tiny"):
        stack.wait_for("TealConnectionsNearLimit", "TealAcceptPaused")
    rewrite(t, max_connections=0)
    reload(t)
    held.close()
    one.close()

    def held_again():
        os.kill(t.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(t.pid, signal.SIGCONT)
        return [a for a in stack.active() if a["labels"]["alertname"] == "TealHeld"]
    until(held_again, "TealHeld", every=0.3)
    threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(sink[0], 65536), b"")], daemon=True).start()
    t.signal()
    stack.wait_for("TealNotReady")
    t.wait()
    stack.wait_for("TealDown")
    for _ in range(4):
        t.start()
        until(lambda: stack.query("up") and set(stack.query("up").values()) == {1.0}, "scraped again")
        time.sleep(0.5)
        t.process.kill()
        t.wait()
    stack.wait_for("TealRestarting")
    t.start(supervised=True)
    until(lambda: stack.query("teal_restarts_total") and set(stack.query("teal_restarts_total").values()) == {0.0},
          "scraped before the crash")
    os.kill(t.serving(), signal.SIGKILL)
    stack.wait_for("TealCrashed")
    good = t.conf.read_text()
    t.conf.write_text(good + "no_such_key = 1;\n")
    assert t.ctl("reload")["error"] == "config"
    stack.wait_for("TealReloadRefused")
    t.conf.write_text(good)
    t.ok("reload")
    t.expect_status = None
    check_what_was_said(stack)


@pytest.mark.soak
def test_a_fleet_fires_the_rest(fleet, redis, proxy, stack, ports, closing):
    """Cut off, disagreeing, vanished; and what no real teald can be brought to, said by
    a stand-in that else says what a real one says."""
    server = redis()
    p = proxy(server)
    f = fleet(3, server=server, urls=[server.url, p.url, server.url], store={"max_age": 1.5})
    f.wait_members()
    stack.watch("prod", *(t.observe for t in f))
    until(lambda: len(stack.query("up")) == 3, "scraped")
    p.set("hang")
    stack.wait_for("TealStoreDown", "TealStoreStale", instance="%s:%d" % f[1].observe)
    f[0].ctl("flip", "web", "blue")
    stack.wait_for("TealFleetDisagrees", service="web")
    p.set("pass")
    f.agree("blue")
    f[2].process.kill()
    f[2].wait()
    f[2].expect_status = None
    stack.wait_for("TealFleetMemberMissing")
    server.kill()
    f[0].ctl("flip", "web", "green")
    stack.wait_for("TealFlipFailed", service="web")
    stand_in = closing.add(stacks.StandIn(ports.hold(), page(f[0]) + "teal_conntrack_insert_failed_total 0\n"
                                          + 'teal_bake_rollbacks_failed_total{service="web"} 0\n'
                                          + 'teal_bake_verdicts_total{service="web",to="blue",verdict="rolled_back"} 0\n'))
    stack.watch("other", stand_in.address)
    until(lambda: len(stack.query("up")) == 4, "scraped")
    stand_in.page = page(f[0], teal_service_epoch=1, teal_service_applied_epoch=0, teal_drain_overdue_seconds=3600,
                         process_open_fds=900, process_max_fds=1000, teal_program_fallbacks_total=1)
    stand_in.page += f'teal_certificate_expiry_seconds{{service="web"}} {time.time() + 3600}\n'
    stand_in.page += f'teal_admin_certificate_expiry_seconds {time.time() + 3600}\n'
    stand_in.page += f'teal_crl_expiry_seconds{{service="web"}} {time.time() + 3600}\n'
    stand_in.page += "teal_conntrack_entries 90\nteal_conntrack_max_entries 100\nteal_kernel_trouble 1\n"
    stand_in.page += "teal_conntrack_insert_failed_total 1000\n"
    stand_in.page += 'teal_bake_rollbacks_failed_total{service="web"} 3\n'
    stand_in.page += 'teal_bake_verdicts_total{service="web",to="blue",verdict="rolled_back"} 1\n'
    stand_in.page += 'teal_udp_flows{service="dns"} 95\nteal_udp_flows_max{service="dns"} 100\n'
    stand_in.page += 'teal_node_watch_up{pool="main"} 0\nteal_node_watch_age_seconds{pool="main"} 400\n'
    stand_in.page += 'teal_node_watch_leader{pool="main"} 0\n'
    stack.wait_for("TealConnectionTableFull", "TealKernelPortsUsedUp", "TealKernelTrouble", fleet="other")
    stack.wait_for("TealBakeRollbackFailed", "TealBakeRolledBack", service="web", fleet="other")
    stack.wait_for("TealUdpFlowsNearLimit", fleet="other")
    stack.wait_for("TealFellBack", "TealEpochWentBack", "TealFlipNotApplied", "TealDrainOverdue", "TealDescriptorsLow",
                   "TealCertificateExpires", "TealCertificateExpiresSoon", "TealNodeWatchStale", "TealNodeWatchLeaderless",
                   "TealAdminCertificateExpiresSoon", "TealRevocationListEndsSoon", fleet="other")
    check_what_was_said(stack)


def test_all_of_them_are_made_to_fire():
    """Here or in test_scene.py."""
    here = pathlib.Path(__file__)
    fired = set(re.findall(r'"(Teal\w+)"', here.read_text() + here.with_name("test_scene.py").read_text()))
    assert set(stacks.alerts()) <= fired
