"""2,000 clients that are slow on purpose, and one that is not: what it notices of them."""
import os
import subprocess
import time

import pytest

from helpers import scale
from helpers.tealbench import Serve, load

SLOW, ROUNDS, SECONDS = 2000, 5, 2
LONGEST = 300
ATTACKS = {
    "head": ["-H", "-i", "10", "-u", "/bytes/10"],
    "body": ["-B", "-i", "10", "-s", "100000", "-u", "/bytes/10"],
    # As much as a page has; much more, and loopback's large segments fill the kernel's memory for TCP.
    "read": ["-X", "-n", "10", "-w", "512", "-y", "1024", "-z", "32", "-u", "/bytes/500000"],
}


MODES = ("http", "http-close")


def p99s(*teals):
    """For each teald and way to ask the best of some rounds, in us; they are asked in turn, for what
    a neighbour on this machine does is not meant."""
    seen = {(t, m): [] for t in teals for m in MODES}
    for _ in range(ROUNDS):
        for t, m in seen:
            status, result = load("%s:%d" % t.address(), f"--mode={m}", "--path=/bytes/1000", "--rate=500",
                                  "--connections=8", f"--duration={SECONDS}")
            assert status == 0 and sum(result["errors"].values()) == 0, result
            seen[t, m].append(result["latency_us"]["p99"])
    return [{m: min(seen[t, m]) for m in MODES} for t in teals]


def descriptors(t):
    return len(os.listdir(f"/proc/{t.pid}/fd"))


@pytest.mark.soak
@pytest.mark.nosan
@pytest.mark.serial
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_good_client_waits_at_most_twice_as_long(web, closing, attack):
    """As at another teald at the same time, which is spared."""
    # So patient that the slow ones stay for all of it.
    spared, t = (web(green=[closing.add(Serve("--mode=http", "--name=green"))], mode="http", header_timeout=600.0,
                     body_grace=600.0, top={"log": {"access": "errors"}, "workers": 1}) for _ in range(2))
    words = list(ATTACKS[attack])
    words[-1] = "http://%s:%d%s" % (*t.address(), words[-1])
    attackers = subprocess.Popen(["slowhttptest", "-c", str(SLOW), "-r", str(SLOW), "-l", str(LONGEST), "-p", "30",
                                  *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        scale.until(lambda: descriptors(t) >= SLOW, "all of them are there", timeout=LONGEST / 4)
        time.sleep(3)   # they have begun
        alone, among = p99s(spared, t)
        held = descriptors(t)
    finally:
        attackers.terminate()
        attackers.wait()
    print(f"{attack}: p99 spared {alone} us, among {held} descriptors {among} us")
    assert held >= SLOW
    assert all(among[m] <= 2 * alone[m] for m in MODES), (alone, among)
