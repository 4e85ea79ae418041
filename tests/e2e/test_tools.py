"""tools/e2e and tools/suite: what is asked for wrongly is said, and who is ended takes all along."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from helpers import libconfig, scale
from helpers.scale import until

pytestmark = pytest.mark.nosan

# A fixture that ends nothing: as hard as a test can be.
STORY = """
import os, pathlib, subprocess
def test_that_goes_on():
    here = pathlib.Path(__file__).parent
    with open(here / "log", "wb") as log:
        t = subprocess.Popen([os.environ["TEAL_BUILD"] + "/teald", "-c", here / "teal.conf"], stdout=log, start_new_session=True)
    assert t.wait() == "an end"
"""


@pytest.fixture
def tree(ports):
    """A tree with one test, which starts a teald and waits for its end; none of it is left."""
    tree = pathlib.Path(tempfile.mkdtemp(prefix="teal-", dir="/tmp"))  # addresses of Unix sockets are short
    for name in ("tools/e2e", "tools/suite"):
        (tree / name).parent.mkdir(exist_ok=True)
        shutil.copy(scale.REPO / name, tree / name)
    (tree / "build/release").mkdir(parents=True)
    for name in ("teald", "teald-serve"):
        (tree / "build" / name).symlink_to(scale.BUILD / name)
    tests = tree / "tests/e2e"
    tests.mkdir(parents=True)
    (tests / "test_story.py").write_text(STORY)
    (tests / "teal.conf").write_text(libconfig.dumps({
        "state_dir": str(tree / "state"), "admin": {"socket": str(tree / "a.sock")},
        "services": [{"name": "web", "listen": f"127.0.0.1:{ports.hold()}",
                      "green": {"backends": ["127.0.0.1:1"]}, "blue": {"backends": ["127.0.0.1:2"]}}]}))
    yield tree
    for pid in processes(tree):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(tree)


def processes(tree):
    """Those that have to do with it: its programs, its shells, its tests."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read()
            if os.fsencode(f"{tree}/") in words or os.readlink(f"/proc/{pid}/cwd") == str(tree):
                found.append(int(pid))
        except OSError:
            pass
    return found


def environment(tree):
    names = ("TEAL_BUILD", "BUILD", "TEAL_SOAK", "PYTHONPYCACHEPREFIX")
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTEST") and k not in names} | {
        "TEAL_BUILD": str(tree / "build"), "E2E_JOBS": "1"}


@pytest.mark.parametrize("command", (["tools/e2e"], ["tools/suite", "e2e"]), ids=("e2e", "suite"))
@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGINT), ids=("term", "ctrl-c"))
def test_who_is_ended_leaves_no_process(tree, command, how):
    log = tree / "tests/e2e/log"
    with open(tree / "said", "w+") as said:
        p = subprocess.Popen(command, cwd=tree, env=environment(tree), stdin=subprocess.DEVNULL,
                             stdout=said, stderr=said, start_new_session=True)
        until(lambda: log.exists() and "teald.serving" in log.read_text(), "teald serves")
        assert len(processes(tree)) > 3
        # The terminal tells all of its group, which teald is not of.
        os.kill(p.pid, how) if how == signal.SIGTERM else os.killpg(p.pid, how)
        assert p.wait() == 128 + how, (tree / "said").read_text()
    until(lambda: processes(tree) == [], "what it had killed is gone")


@pytest.mark.parametrize("words, said, status", (
    (["tests/e2e/test_stories.py"], "there is no tests/e2e/test_stories.py", 2),
    (["tests/e2e/test_stories.py::test_that_goes_on"], "there is no tests/e2e/test_stories.py", 2),
    (["tests/e2e/test_story.py::test_that_ends"], "there is no test of that name: tests/e2e/test_story.py::test_that_ends", 5),
    (["-k", "ends"], "there is no test of that name: -k ends", 5)), ids=("file", "file-of-test", "test", "word"))
def test_what_is_not_there_is_named(tree, words, said, status):
    r = subprocess.run(["tools/e2e", *words], cwd=tree, env=environment(tree), capture_output=True, text=True)
    assert (r.returncode, r.stderr.splitlines()[-1:]) == (status, [f"e2e: {said}"]), r.stdout + r.stderr


def test_the_package_knows_the_terms_of_all_that_is_linked():
    """tools/deb writes them into the copyright file, and refuses a library that it has no terms for."""
    function = (scale.REPO / "tools/deb").read_text().split("terms_of() {", 1)[1].split("\n}\n", 1)[0]

    def terms(soname):
        return subprocess.run(["bash", "-c", f"terms_of() {{{function}\n}}\nterms_of {soname}"], capture_output=True, text=True)
    linked = set()
    for program in ("teald", "teald-serve", "tealctl", "tealbench"):
        text = subprocess.run(["objdump", "-p", scale.BUILD / program], capture_output=True, text=True, check=True).stdout
        linked |= {line.split()[1] for line in text.splitlines() if line.split()[:1] == ["NEEDED"]}
    assert {"libssl.so.3", "libnftables.so.1"} <= linked
    for soname in linked:
        assert terms(soname).stdout.strip(), soname
    assert "GPL-2 " in terms("libnftables.so.1").stdout and "Apache-2.0" in terms("libssl.so.3").stdout
    unknown = terms("libnobody.so.1")
    assert unknown.returncode != 0 and "libnobody.so.1" in unknown.stderr
