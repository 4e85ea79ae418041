"""The pipelines in conf/ci, step by step as their runners do it, in a shell, against a real teald: teal-deploy, tealctl,
kubectl and curl are the real ones; the cluster is the API stand-in of helpers/kube_api.py."""
import os
import re
import subprocess
import threading

import pytest
import yaml

from helpers import kubectl, scale
from helpers.color_site import ColorSite
from helpers.scale import until
from helpers.teald import service

CI = scale.REPO / "conf/ci"
pytestmark = pytest.mark.nosan


class Runner:
    """What all runners do: a folder, an environment, a shell."""

    def __init__(self, teal, folder, name, version, **more):
        self.folder, self.teal, self.version = folder / name, teal, version
        self.folder.mkdir()
        self.out = ""
        preview = "http://%s:%d" % teal.address("shop", key="preview")
        self.env = teal.cluster.kubectl.env | {
            "PATH": f"{CI}:{scale.BUILD}:{os.path.dirname(kubectl.program())}:{os.environ['PATH']}",
            # The sample's variables, as a site sets them.
            "SERVICE": "shop", "TEAL_SOCKET": teal.admin_path, "PREVIEW": preview,
            "PUBLIC": "http://%s:%d" % teal.address("shop"), "IMAGE": "registry.example/shop", **more}
        self.env |= self.given(name, version)

    def shell(self, text, *flags, shell="bash"):
        p = subprocess.run([shell, *flags, "-c", text], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3 * scale.patience())
        self.out += p.stdout
        return p.returncode == 0


class GitLab(Runner):
    file = "gitlab-ci.yml"

    def given(self, name, version):
        return {"CI_PROJECT_PATH": "team/shop", "CI_PIPELINE_ID": name, "CI_COMMIT_SHA": version}

    def run(self):
        job = yaml.safe_load((CI / self.file).read_text())["deploy"]
        return self.shell("\n".join(job["script"]), "-eo", "pipefail")


class GitHub(Runner):
    file = "github-actions.yml"
    # The conditions of the sample: of whether it failed so far, and of what is known.
    conditions = {None: lambda failed, done, env: not failed,
                  "failure() && steps.flip.outcome == 'success'": lambda failed, done, env: failed and done.get("flip")}

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


class Jenkins(Runner):
    file = "Jenkinsfile"

    def given(self, name, version):
        return {"JOB_NAME": "shop", "BUILD_NUMBER": name, "GIT_COMMIT": version}

    def run(self):
        # Groovy's quotes of three take \ at the end of a line away, as a shell does.
        stages = re.findall(r"sh '''(.*?)'''", (CI / self.file).read_text(), re.S)
        assert len(stages) == 2
        return all(self.shell(s.replace("\\\n", ""), "-xe", shell="sh") for s in stages)


class ArgoCD(Runner):
    """Argo CD syncs the color's manifests between its two hooks."""
    file = "argo-cd.yml"

    def given(self, name, version):
        return {"COLOR": self.teal.status("shop")["idle"]}

    def hook(self, n):
        job = list(yaml.safe_load_all((CI / self.file).read_text()))[n]
        container, = job["spec"]["template"]["spec"]["containers"]
        shell, flags = container["command"]
        assert {e["name"] for e in container["env"]} <= set(self.env)
        return self.shell(container["args"][0], "-e", shell=shell) and flags == "-ec"

    def run(self):
        if not self.hook(0):
            return False
        self.teal.cluster.kubectl("-n", f"shop-{self.env['COLOR']}", "set", "image", "deployment/shop",
                                  f"app=registry.example/shop:{self.version}")
        return self.hook(1)


RUNNERS = pytest.mark.parametrize("runner", [GitLab, GitHub, Jenkins, ArgoCD])
PIPELINES = pytest.mark.parametrize("runner", [GitLab, GitHub, Jenkins])    # which roll back


@pytest.fixture
def site(teal, ports, tmp_path, closing):
    cluster = ColorSite(tmp_path, ports, closing)
    t = teal(services=[service("shop", listen=f"127.0.0.1:{ports.hold()}", green=[cluster.apps["green"]],
                               blue=[cluster.apps["blue"]], mode="http", preview=f"127.0.0.1:{ports.hold()}",
                               health={"type": "http", "path": "/health", "interval": 0.2, "rise": 1, "fall": 1})])
    t.cluster, t.folder = cluster, tmp_path
    return t


def kinds(site):
    return [h["kind"] for h in site.ok("history", "shop")["history"]]


@RUNNERS
def test_a_good_version_goes_to_clients(site, runner):
    job = runner(site, site.folder, "1", "v1")
    assert job.run(), job.out
    s = site.status("shop")
    assert (s["active"], s["epoch"], s["claimed"]) == ("blue", 2, None)
    assert site.cluster.versions() == {"green": "v0", "blue": "v1"}
    assert kinds(site) == ["claim", "flip"] and s["reason"].startswith(("team/shop", "shop build 1", "Argo CD"))
    # The next one goes to the other color.
    job = runner(site, site.folder, "2", "v2")
    assert job.run(), job.out
    assert site.cluster.versions() == {"green": "v2", "blue": "v1"} and site.status("shop")["active"] == "green"


@RUNNERS
def test_one_that_fails_its_preview_meets_no_client(site, runner):
    job = runner(site, site.folder, "1", "broken" if runner is ArgoCD else "dumb")
    assert not job.run(), job.out
    s = site.status("shop")
    assert (s["active"], s["epoch"], s["claimed"]) == ("green", 1, None)
    assert kinds(site) == ["claim", "release"]
    if runner is not ArgoCD:
        assert site.cluster.deployed("blue") == ("v0", 2) and site.cluster.left() == []


@PIPELINES
def test_one_that_fails_with_clients_is_rolled_back(site, runner):
    job = runner(site, site.folder, "1", "broken")
    assert not job.run(), job.out
    s = site.status("shop")
    assert (s["active"], s["epoch"], s["claimed"]) == ("green", 3, None)
    assert kinds(site) == ["claim", "flip", "rollback"]
    assert s["reason"].endswith("1: the checkout fails")


@RUNNERS
def test_where_nothing_can_be_claimed_nothing_is_deployed(site, runner):
    site.ok("lock", "shop", "--reason=freeze")
    job = runner(site, site.folder, "1", "v1")
    assert not job.run(), job.out
    assert "locked" in job.out and "freeze" in job.out
    assert runner is ArgoCD or site.cluster.versions() == {"green": "v0", "blue": "v0"}


def test_argo_cd_does_not_change_what_clients_have(site):
    job = ArgoCD(site, site.folder, "1", "v1")
    job.env["COLOR"] = "green"
    assert not job.run() and "sync blue instead" in job.out
    assert site.cluster.versions() == {"green": "v0", "blue": "v0"}


@PIPELINES
def test_a_second_pipeline_waits_for_the_first(site, runner):
    """And then deploys to the other color."""
    holds = site.cluster.api.fault("hang", path="shop-blue/deployments/shop", verb="patch")
    first, second = (runner(site, site.folder, n, f"v{n}") for n in "12")
    results = {}
    threads = [threading.Thread(target=lambda j=j: results.update({j: j.run()})) for j in (first, second)]
    threads[0].start()
    until(lambda: holds.hits, "the first deploys")
    threads[1].start()
    holds.lift()
    for t in threads:
        t.join(3 * scale.patience())
    assert results == {first: True, second: True}, (first.out, second.out)
    assert site.cluster.versions() == {"green": "v2", "blue": "v1"}
    assert site.status("shop")["epoch"] == 3 and site.status("shop")["claimed"] is None
