"""The pipelines in conf/ci, step by step as their runners do it, in a shell, against a real teald: what deploys
(kubectl) is a stand-in that gives the color's backend another version; tealctl, curl and the shell are the real ones."""
import http.server
import os
import subprocess
import threading

import pytest
import yaml

from helpers import scale
from helpers.scale import until
from helpers.teald import service

CI = scale.REPO / "conf/ci"


class App:
    """A color's backend: says its version, and fails where the version is a bad one."""

    def __init__(self, port, folder, color):
        self.version = folder / f"{color}.version"
        self.version.write_text("v0")
        self.address = f"127.0.0.1:{port}"
        app = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                version = app.version.read_text().strip()
                bad = self.path == "/checkout" and version.startswith("broken")
                body = ("" if version.startswith("dumb") else version).encode() + b"\n"
                self.send_response(404 if bad else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *unused):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


KUBECTL = """#!/bin/sh
# set image deployment/shop-COLOR app=IMAGE:VERSION, and rollout status; what it was asked is kept.
set -eu
echo "$*" >> "$APPS/kubectl.asked"
case "$1 $2" in
"set image")
	color=${3#deployment/shop-}
	case $color in green | blue) ;; *) echo "no such deployment: $3" >&2; exit 1 ;; esac
	[ -z "${KUBECTL_WAITS-}" ] || cat "$KUBECTL_WAITS"
	echo "${4##*:}" > "$APPS/$color.version" ;;
"rollout status") ;;
*) exit 64 ;;
esac
"""


class Runner:
    """What both runners do: a folder, an environment, a shell."""

    def __init__(self, teal, folder, name, version, **more):
        self.folder = folder / name
        self.folder.mkdir()
        self.out = ""
        preview = "http://%s:%d" % teal.address("shop", key="preview")
        self.env = {"PATH": f"{scale.BUILD}:{os.environ['PATH']}", "HOME": str(self.folder), "APPS": str(folder),
                    **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")},
                    # The sample's variables, as a site sets them.
                    "SERVICE": "shop", "TEAL_SOCKET": teal.admin_path, "PREVIEW": preview,
                    "PUBLIC": "http://%s:%d" % teal.address("shop"), "IMAGE": "registry.example/shop",
                    "KUBECTL": str(folder / "kubectl"), **more}
        self.env |= self.given(name, version)

    def shell(self, text, *flags):
        p = subprocess.run(["bash", *flags, "-c", text], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3 * scale.patience())
        self.out += p.stdout
        return p.returncode == 0


class GitLab(Runner):
    file = "gitlab-ci.yml"

    def given(self, name, version):
        return {"CI_PROJECT_PATH": "team/shop", "CI_PIPELINE_ID": name, "CI_COMMIT_SHA": version}

    def run(self):
        job = yaml.safe_load((CI / self.file).read_text())["deploy"]
        good = self.shell("\n".join(job["script"]), "-eo", "pipefail")
        assert self.shell("\n".join(job["after_script"]), "-eo", "pipefail"), self.out
        return good


class GitHub(Runner):
    file = "github-actions.yml"
    # The conditions of the sample: of whether it failed so far, and of what is known.
    conditions = {None: lambda failed, done, env: not failed,
                  "failure() && steps.flip.outcome == 'success'": lambda failed, done, env: failed and done.get("flip"),
                  "always() && env.TOKEN != ''": lambda failed, done, env: env.get("TOKEN", "") != ""}

    def given(self, name, version):
        return {"GITHUB_REPOSITORY": "team/shop", "GITHUB_RUN_ID": name, "GITHUB_SHA": version,
                "GITHUB_ENV": str(self.folder / "env")}

    def run(self):
        failed, done = False, {}
        for step in yaml.safe_load((CI / self.file).read_text())["jobs"]["deploy"]["steps"]:
            if not self.conditions[step.get("if")](failed, done, self.env):
                continue
            good = self.shell(step["run"], "-e")
            done[step.get("id")] = good
            failed |= not good
            known = self.folder / "env"
            if known.exists():
                self.env |= dict(l.split("=", 1) for l in known.read_text().split())
        return not failed


RUNNERS = pytest.mark.parametrize("runner", [GitLab, GitHub])


@pytest.fixture
def site(teal, ports, tmp_path, closing):
    apps = {color: closing.add(App(ports.hold(), tmp_path, color)) for color in ("green", "blue")}
    t = teal(services=[service("shop", listen=f"127.0.0.1:{ports.hold()}", green=[apps["green"]], blue=[apps["blue"]],
                               mode="http", preview=f"127.0.0.1:{ports.hold()}")])
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    t.apps, t.folder = apps, tmp_path
    return t


def versions(site):
    return {color: app.version.read_text().strip() for color, app in site.apps.items()}


def history(site):
    return [(h["kind"], h["result"]) for h in site.ok("history", "shop")["history"]]


@RUNNERS
def test_a_good_version_goes_to_clients(site, runner):
    job = runner(site, site.folder, "1", "v1")
    assert job.run(), job.out
    s = site.status("shop")
    assert (s["active"], s["epoch"], s["claimed"]) == ("blue", 2, None)
    assert versions(site) == {"green": "v0", "blue": "v1"}
    assert history(site) == [("claim", "ok"), ("flip", "ok"), ("release", "ok")]
    assert s["reason"] == "team/shop v1"
    # The next one goes to the other color.
    job = runner(site, site.folder, "2", "v2")
    assert job.run(), job.out
    assert versions(site) == {"green": "v2", "blue": "v1"} and site.status("shop")["active"] == "green"
    asked = (site.folder / "kubectl.asked").read_text().splitlines()
    assert [l for l in asked if l.startswith("set")] == [
        "set image deployment/shop-blue app=registry.example/shop:v1",
        "set image deployment/shop-green app=registry.example/shop:v2"]


@RUNNERS
def test_one_that_fails_its_preview_meets_no_client(site, runner):
    job = runner(site, site.folder, "1", "dumb")
    assert not job.run(), job.out
    s = site.status("shop")
    assert (s["active"], s["epoch"], s["claimed"]) == ("green", 1, None)
    assert history(site) == [("claim", "ok"), ("release", "ok")]


@RUNNERS
def test_one_that_fails_with_clients_is_rolled_back(site, runner):
    job = runner(site, site.folder, "1", "broken")
    assert not job.run(), job.out
    s = site.status("shop")
    assert (s["active"], s["epoch"], s["claimed"]) == ("green", 3, None)
    assert history(site) == [("claim", "ok"), ("flip", "ok"), ("rollback", "ok")]  # which has ended the claim
    assert s["reason"].endswith("1: the checkout fails")


@RUNNERS
def test_where_nothing_can_be_claimed_nothing_is_deployed(site, runner):
    site.ok("lock", "shop", "--reason=freeze")
    job = runner(site, site.folder, "1", "v1")
    assert not job.run(), job.out
    assert "locked" in job.out and "freeze" in job.out
    assert not (site.folder / "kubectl.asked").exists() and versions(site) == {"green": "v0", "blue": "v0"}


@RUNNERS
def test_a_second_pipeline_waits_for_the_first(site, runner):
    """And then deploys to the other color."""
    gate = site.folder / "gate"
    os.mkfifo(gate)
    first = runner(site, site.folder, "1", "v1", KUBECTL_WAITS=str(gate))
    second = runner(site, site.folder, "2", "v2")
    results = {}
    threads = [threading.Thread(target=lambda j=j: results.update({j: j.run()})) for j in (first, second)]
    threads[0].start()
    until(lambda: (site.folder / "kubectl.asked").exists(), "the first deploys")
    threads[1].start()
    until(lambda: len(site.log_lines("audit", command="claim")) == 1 and site.status("shop")["claimed"], "claimed")
    # Its kubectl goes on once this is read.
    gate.write_text("")
    for t in threads:
        t.join(3 * scale.patience())
    assert results == {first: True, second: True}, (first.out, second.out)
    assert versions(site) == {"green": "v2", "blue": "v1"}
    assert site.status("shop")["epoch"] == 3 and site.status("shop")["claimed"] is None
