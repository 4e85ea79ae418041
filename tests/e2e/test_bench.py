"""bench/run, far too short to mean anything: that it measures, compares, drills
and reports."""
import importlib
import json
import os
import subprocess
import sys

import pytest

from helpers import scale

BENCH = scale.REPO / "bench"


@pytest.mark.nosan
@pytest.mark.skipif(os.geteuid() != 0, reason="wants a network namespace of its own")
def test_what_was_asked_for_is_measured_and_nothing_failed(tmp_path):
    # What it builds and writes goes beside the programs it measures.
    build = tmp_path
    for program in ("teald", "teald-serve", "tealbench"):
        (build / program).symlink_to(scale.BUILD / program)
    done = subprocess.run([BENCH / "run", "--quick", "--rounds=2", "--scale=0.02", "--proxies=teal,floor",
                           "--only=tcp-small,tcp-connect,tcp-bulk-down,http-keepalive,http-1mib,h2c-16x8,h2-1mib,drill-tcp"],
                          env=os.environ | {"BUILD": str(build)}, capture_output=True, text=True,
                          timeout=10 * scale.patience())
    assert done.returncode == 0, done.stderr
    r = json.loads((build / "bench/report.json").read_text())
    measured = {s["key"]: s["proxies"] for s in r["scenarios"]}
    assert "no teal for tcp" not in done.stdout, done.stdout
    assert {"tcp-small", "tcp-connect", "tcp-bulk-down", "http-keepalive", "http-1mib"} <= measured.keys()
    for key, proxies in measured.items():
        assert ("floor" in proxies or key.startswith("h2")) and key in str(r["scenarios"]), key
        for name, p in proxies.items():
            assert p["failed"] == 0 and p["cpu"]["median"] > 0 and len(p["rounds"]) == 2, (key, name)
    assert measured["tcp-small"]["teal"]["ratio"]["floor"]["median"] > 0
    drill, = r["drills"]
    # Late some may be on a busy machine, and the drill then calls itself not passed.
    teal = drill["proxies"]["teal"]
    assert (teal["lost"], teal["wrong_color"]) == (0, 0), teal
    assert r["machine"]["kernel"] in done.stdout and "CPU us/message" in done.stdout
    # The page needs no other file.
    page = (build / "bench/report.html").read_text()
    assert page.count("<svg") >= 6 and page.rstrip().endswith("</html>")
    for outside in ("src=", "href=", "http://", "https://", "url("):
        assert outside not in page.replace("https://haproxy.org", ""), outside


@pytest.mark.nosan
@pytest.mark.skipif(os.geteuid() != 0, reason="wants a network namespace of its own")
def test_reloads_are_compared_by_what_they_lose(tmp_path):
    for program in ("teald", "teald-serve", "tealbench", "tealctl"):
        (tmp_path / program).symlink_to(scale.BUILD / program)
    done = subprocess.run([BENCH / "run", "--quick", "--proxies=teal,haproxy", "--only=change-reload"],
                          env=os.environ | {"BUILD": str(tmp_path)}, capture_output=True, text=True,
                          timeout=10 * scale.patience())
    assert done.returncode == 0, done.stderr
    change, = json.loads((tmp_path / "bench/report.json").read_text())["changes"]
    teal = change["proxies"]["teal"]
    assert (teal["lost"], teal["streams_broken"], teal["held"], teal["turns_made"], teal["processes"]) == \
        (0, 0, 400, 3, [2, 2]), teal
    # Each of its generations stays for as long as it holds a stream: one more with each.
    before, after = change["proxies"]["haproxy"]["processes"]
    assert after > before, change
    assert "tealctl reload" in done.stdout and change["title"] in (tmp_path / "bench/report.html").read_text()


@pytest.mark.nosan
@pytest.mark.skipif(os.geteuid() != 0, reason="wants a network namespace of its own")
def test_reloads_of_many_services_are_timed(tmp_path):
    for program in ("teald", "teald-serve", "tealbench", "tealctl"):
        (tmp_path / program).symlink_to(scale.BUILD / program)
    done = subprocess.run([BENCH / "run", "--quick", "--proxies=teal", "--only=change-many"],
                          env=os.environ | {"BUILD": str(tmp_path)}, capture_output=True, text=True,
                          timeout=10 * scale.patience())
    assert done.returncode == 0, done.stderr
    r = json.loads((tmp_path / "bench/report.json").read_text())
    teal = r["many"]["proxies"]["teal"]
    assert (teal["turns"], teal["failed"], teal["processes"]) == (3, [0, 0], [1, 1]), (teal, r["notes"])
    # Each of its threads was looked at.
    assert set(teal["held"]) == {"main", "worker-0"} and "One of 100 services" in done.stdout


@pytest.mark.nosan
@pytest.mark.skipif(os.geteuid() != 0, reason="wants network namespaces")
def test_a_hop_is_measured_over_plain_routing(tmp_path):
    for program in ("teald", "teald-serve", "tealbench"):
        (tmp_path / program).symlink_to(scale.BUILD / program)
    done = subprocess.run([BENCH / "run", "--quick", "--rounds=2", "--scale=0.02", "--proxies=dnat,teal-kernel,haproxy",
                           "--only=hop-connect,hop-udp,drill-hop"], env=os.environ | {"BUILD": str(tmp_path)},
                          capture_output=True, text=True, timeout=10 * scale.patience())
    assert done.returncode == 0, done.stderr
    r = json.loads((tmp_path / "bench/report.json").read_text())
    assert r["notes"] == [], r["notes"]
    assert [s["key"] for s in r["hop"]] == ["hop-connect", "hop-udp"]
    for s in r["hop"]:
        assert s["ways"].keys() == {"route", "dnat", "teal-kernel"} | ({"haproxy"} if s["key"] == "hop-connect" else set())
        for name, w in s["ways"].items():
            assert w["failed"] == 0 and len(w["rounds"]) == 2 and w["cpu"]["median"] > 0, (name, w)
            # A busy machine may turn one over the other; what was spent at all it cannot.
            assert ("over" in w) == (name != "route")
    # Each pair of a round: ours over routing's by HAProxy's over routing's.
    ways = r["hop"][0]["ways"]
    ours, base, theirs = ([x["own"] for x in ways[n]["rounds"]] for n in ("teal-kernel", "route", "haproxy"))
    pairs = [(o - b) / (t - b) for o, b, t in zip(ours, base, theirs) if t > b]
    assert min(pairs) == ways["teal-kernel"]["ratio_own"]["haproxy"]["min"]
    drill, = r["drills"]
    for name in ("dnat", "teal-kernel", "haproxy"):
        assert drill["proxies"][name]["lost"] == 0, name
    assert "The whole hop" in (tmp_path / "bench/report.html").read_text()


@pytest.fixture
def numbers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return importlib.import_module("report")


def test_ratios_are_of_the_same_round(numbers):
    # A machine that slows down to a half changes no ratio.
    r = numbers.ratios([1.0, 2.0, 4.0], [2.0, 4.0, 8.0])
    assert (r["min"], r["median"], r["max"]) == (0.5, 0.5, 0.5)


def test_goals_are_judged_by_what_was_measured(numbers):
    def scenario(ratio):
        proxy = {"ratio": {"haproxy": {"median": ratio}}, "p99_us": {"median": 1}}
        return {"key": "http-keepalive", "goal": True, "rate": 0, "proxies": {"teal": proxy}}
    r = {"scenarios": [scenario(0.59)], "idle": None, "drills": [], "growth": []}
    assert [reached for _, reached in numbers.goals(r)] == [True]
    r["scenarios"] = [scenario(0.61)]
    assert [reached for _, reached in numbers.goals(r)] == [False]
    sizes = [{"ratio": {"median": m}} for m in (1, 1.2)]
    # Peers grow beside it, and are held to nothing.
    r["growth"] = [{"what": "services", "kind": "tcp", "proxy": p, "sizes": sizes} for p in ("teal", "haproxy")]
    assert [reached for _, reached in numbers.goals(r)] == [False, False]


def test_changes_are_judged_by_what_they_lost(numbers):
    def goals(kind, **other):
        teal = {"turns_made": 20, "turns_wanted": 20, "lost": 0, "streams_broken": 0, "held": 2100, "processes": [2, 2],
                "turn_us": {"p50": 149e3}} | other
        return [reached for _, reached in numbers.change_goals({"kind": kind, "proxies": {"teal": teal, "nginx": {}}})]
    assert goals("reload") == goals("upgrade") == goals("crash") == [True]
    for worse in ({"lost": 1}, {"turns_made": 19}):
        assert goals("reload", **worse) == goals("crash", **worse) == [False]
    for worse in ({"streams_broken": 1}, {"processes": [2, 3]}):
        assert goals("reload", **worse) == [False] and goals("crash", **worse) == [True]
    assert goals("crash", turn_us={"p50": 151e3}) == [False]


def test_a_hop_is_judged_by_its_cost_over_routing_in_each_round(numbers):
    def goals(ours, by_hand):
        # The second round is twice as slow for all: no ratio moves.
        def rounds(cpu):
            return [{"cpu": cpu * slow, "own": cpu * slow, "foreign": 0.0, "failed": 0, "per_second": 1,
                     "bytes_per_second": 1, "p50_us": 1, "p99_us": 1} for slow in (1, 2, 1)]
        scenario = type("Scenario", (), {"key": "hop-small", "title": "", "unit": "us/message", "congestion": "reno",
                                         "work": 1, "rate": 0})
        ways = {"route": 5.0, "dnat": 5.0 + by_hand, "teal-kernel": 5.0 + ours, "haproxy": 15.0}
        return [reached for _, reached in numbers.hop_goals(
            numbers.summarize_hop(scenario, {name: rounds(cpu) for name, cpu in ways.items()}))]
    assert goals(ours=1.9, by_hand=1.5) == [True, True]
    assert goals(ours=2.1, by_hand=1.7) == [False, True]
    assert goals(ours=1.9, by_hand=1.3) == [True, False]
