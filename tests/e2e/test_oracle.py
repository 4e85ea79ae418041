"""No byte of one message becomes another's: clients and backends that pipeline, cut, stall, reset, answer early, too
much and too little at any byte, with flips between them. tests/oracle judges both sides of teald, byte by byte."""
import json
import os
import subprocess

import pytest

from helpers.compiled import compiled
from helpers.failing_memory import FailingMemory
from helpers.scale import REPO, patience, scaled

MESSAGES = int(os.environ.get("TEAL_ORACLE_MESSAGES", 0)) or scaled(10_000_000, 20_000)
MAX_BODY = 65536


def seeds(first, second):
    """What differs between two seeds is what is said, and not which thread says it: one is enough for ThreadSanitizer."""
    if "TEAL_ORACLE_SEED" in os.environ:
        return [pytest.param(int(os.environ["TEAL_ORACLE_SEED"]), marks=pytest.mark.tsan)]
    return [pytest.param(first, marks=pytest.mark.tsan), second]


def oracle():
    return compiled("http_oracle", tuple(sorted((REPO / "tests" / "oracle").glob("*.c"))))


def judge(t, backends, seed, messages=MESSAGES, upgrades=False):
    """Runs the oracle before teald; its report. Fails with what it found. upgrades: now and then another process takes
    over from the one that serves."""
    verbs = [f"flip web {color} --force --wait=none" for color in ("green", "blue")] + ["rollback web --force --wait=none"]
    if upgrades:
        verbs.append("upgrade")
    p = subprocess.run([oracle(), "--front=%s:%d" % t.address(), f"--seed={seed}", f"--messages={messages}",
                        f"--max-body={MAX_BODY}", f"--stuck={patience()}", f"--admin={t.admin_path}",
                        *([] if upgrades else [f"--pid={t.pid}"]),
                        *(f"--backend={b}" for b in backends), *(f"--verb={v}" for v in verbs)],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert p.returncode in (0, 1), (p.returncode, p.stderr)
    report = json.loads(p.stdout)
    print(report)
    assert report["findings"] == 0, p.stderr
    return report


def service(ports, backends):
    return {"name": "web", "mode": "http", "listen": f"127.0.0.1:{ports.hold()}",
            "green": {"backends": backends[:2]}, "blue": {"backends": backends[2:]},
            "health": {"type": "none"}, "max_body": MAX_BODY, "response_timeout": 0.5,
            "header_timeout": 2.0, "drain": {"timeout": 0.2, "idle": 0.05}}


def are_free(t):
    """All places."""
    for gauge in ("teal_connections", "teal_waiting_connections", "teal_backend_connections"):
        t.wait_metric(0, gauge, service="web")


@pytest.mark.scales
@pytest.mark.parametrize("seed", seeds(1, 2))
def test_every_message_is_whole_and_goes_where_it_should(teal, ports, seed):
    """TEAL_ORACLE_SEED=N plays another script, TEAL_ORACLE_MESSAGES=N so many requests of it."""
    backends = [f"127.0.0.1:{ports.hold()}" for _ in range(4)]
    t = teal(services=[service(ports, backends)], log={"level": "info", "access": False})
    report = judge(t, backends, seed)
    # It was not a quiet run: each kind of trouble came, and most messages got through all the same.
    assert report["requests_begun"] >= MESSAGES and report["flips"] > 0 and report["stops"] > 0
    for trouble in ("answers_cut", "own_413", "client_cuts", "backend_surplus", "backend_cuts", "backend_early",
                    "backend_odd", "backend_floods", "old_requests"):
        assert report[trouble] > 0, trouble
    are_free(t)


@pytest.mark.nosan  # a sanitizer has its own memory
@pytest.mark.parametrize("permille", [2, 30])
def test_every_message_is_whole_where_memory_is_out_now_and_then(teal, ports, tmp_path, permille):
    """Each way out for want of memory gives back what it holds, and loses no place among the bytes."""
    memory, backends = FailingMemory(tmp_path), [f"127.0.0.1:{ports.hold()}" for _ in range(4)]
    t = teal(services=[service(ports, backends)], log={"level": "info", "access": False}, start=False)
    t.start(env=memory.env())
    memory.fail(permille)
    report = judge(t, backends, permille)
    memory.fail(0)
    assert memory.failed > 0
    assert report["requests_begun"] >= MESSAGES and report["answers_read"] > MESSAGES // 20
    are_free(t)


@pytest.mark.scales
@pytest.mark.parametrize("seed", seeds(3, 4))
def test_every_message_is_whole_while_processes_take_over(teal, ports, seed):
    """What was begun is answered where it was begun, once; what was not goes along, byte by byte."""
    backends = [f"127.0.0.1:{ports.hold()}" for _ in range(4)]
    t = teal(services=[service(ports, backends)], log={"level": "info", "access": False}, start=False)
    t.start(supervised=True)
    report = judge(t, backends, seed, upgrades=True)
    assert report["requests_begun"] >= MESSAGES and report["flips"] > 0
    for trouble in ("answers_cut", "client_cuts", "backend_surplus", "backend_cuts", "backend_early", "backend_odd"):
        assert report[trouble] > 0, trouble
    assert t.log_lines("upgrade.finished")
    are_free(t)
