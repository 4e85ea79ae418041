"""conf/ci/teal-deploy, with the real kubectl, tealctl and curl against a real teald and the Kubernetes API stand-in: it
ends on a healthy color, leaves nothing half done, and says by its exit status how it ended."""
import datetime
import os
import signal
import subprocess

import pytest
import yaml

from helpers import kubectl, scale
from helpers.color_site import COLORS, ColorSite, deployment
from helpers.scale import dice, scaled, until
from helpers.teald import service

SCRIPT = scale.REPO / "conf/ci/teal-deploy"
IMAGE = "--image=registry.example/shop:"
pytestmark = pytest.mark.nosan


class Job:
    def __init__(self, site, *words, **env):
        self.process = subprocess.Popen(
            [SCRIPT, *words], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, cwd=site.folder, env=site.cluster.kubectl.env | {
                "TEAL_SOCKET": site.admin_path, "PATH": f"{scale.BUILD}:{os.path.dirname(kubectl.program())}:{os.environ['PATH']}"}
            | env)
        self.out = ""

    def end(self):
        """Its exit status, once it has ended and all that it has started."""
        self.out += self.process.communicate(timeout=4 * scale.patience())[0]
        print(self.out)
        return self.process.returncode

    def kill(self, sig=signal.SIGKILL, whole=True):
        (os.killpg if whole else os.kill)(self.process.pid, sig)


@pytest.fixture
def site(teal, ports, tmp_path, closing):
    """A teald with the service shop before a cluster; site.deploy(words...): a Job."""
    cluster = ColorSite(tmp_path, ports, closing)
    t = teal(services=[service("shop", listen=f"127.0.0.1:{ports.hold()}", green=[cluster.apps["green"]],
                               blue=[cluster.apps["blue"]], mode="http", preview=f"127.0.0.1:{ports.hold()}",
                               health={"type": "http", "path": "/health", "interval": 0.2, "rise": 1, "fall": 1})])
    t.cluster, t.folder = cluster, tmp_path
    t.preview = "--preview=http://%s:%d" % t.address("shop", key="preview")
    t.deploy = lambda *words, **env: Job(t, "shop", *words, **env)
    jobs = []
    t.begin = lambda *words, **env: jobs.append(t.deploy(*words, **env)) or jobs[-1]
    yield t
    for job in jobs:
        if job.process.poll() is None:
            job.kill()
            job.end()


def run(site, *words, status=0, **env):
    job = site.begin(*words, **env)
    assert job.end() == status, job.out
    return job


def is_as_before(site, color="blue", version="v0", epoch=1):
    """Nothing is half done: that color, idle, is as it was, and nobody has it."""
    s = site.status("shop")
    assert (s["idle"], s["epoch"], s["claimed"]) == (color, epoch, None)
    assert site.cluster.deployed(color) == (version, 2) and site.cluster.left() == []
    until(lambda: site.cluster.versions()[color] == version, "its pods are those of before")


def test_a_version_is_deployed_tested_and_gets_the_clients(site):
    (site.folder / "urls").write_text("# what must be answered\n200 30 /version\n200,204 30.5 /checkout\n")
    said = site.folder / "said"
    shown = site.folder / "shown"
    shown.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{said}\nexec {scale.BUILD}/tealctl "$@"\n')
    shown.chmod(0o755)
    job = run(site, IMAGE + "v1", "--urls=urls", site.preview, "--header=X-Test: yes", "--reason=build 7",
              '--test=[ "$(curl -s "$TEAL_PREVIEW/")" = v1 ] && [ "$TEAL_NAMESPACE $TEAL_COLOR" = "shop-blue blue" ]',
              TEALCTL=str(shown))
    s = site.status("shop")
    assert (s["active"], s["epoch"], s["claimed"], s["reason"]) == ("blue", 2, None, "build 7"), job.out
    assert site.cluster.versions() == {"green": "v0", "blue": "v1"} and site.cluster.left() == []
    assert site.cluster.annotations() == [("blue", "2")] * 2
    # The claim's token is no argument, which others on the host would see.
    held = [line for line in said.read_text().splitlines() if "--token" in line]
    assert {line.split()[0] for line in held} >= {"check", "flip"} and all(line.endswith(" --token=-") for line in held), held
    assert [h["kind"] for h in site.ok("history", "shop")["history"]] == ["claim", "flip"]
    assert ("/checkout", "yes") in [(p, h.get("X-Test")) for p, h in site.cluster.apps["blue"].asked]
    # The next one goes to the other color, and does not mind that nothing has to change there.
    run(site, IMAGE + "v0")
    assert site.status("shop")["active"] == "green" and site.cluster.annotations() == [("green", "3")] * 2


def test_the_old_color_is_scaled_down_and_comes_back_as_large_as_the_other(site):
    site.cluster.kubectl("-n", "shop-green", "scale", "deployment/shop", "--replicas=5")
    run(site, IMAGE + "v1", "--keep=0")
    assert site.cluster.deployed("blue") == ("v1", 5) and site.cluster.deployed("green") == ("v0", 0)
    assert site.status("shop")["claimed"] is None
    until(lambda: site.cluster.versions()["green"] is None, "its pods have ended")
    until(lambda: site.status("shop")["colors"]["green"]["healthy"] == 0, "green is down")
    run(site, IMAGE + "v2", "--keep=0")
    assert site.cluster.deployed("green") == ("v2", 5) and site.status("shop")["active"] == "green"


def test_another_change_meanwhile_leaves_the_old_color(site):
    job = site.begin(IMAGE + "v1", "--keep=1", TEALCTL=str(slow_claim(site)))
    until(lambda: (site.folder / "asks").exists(), "it is about to scale down")
    site.ok("rollback", "shop")
    (site.folder / "goes").touch()
    assert job.end() == 0 and "there was another flip" in job.out, job.out
    assert site.cluster.deployed("green") == ("v0", 2) and site.status("shop")["claimed"] is None


def slow_claim(site):
    """A tealctl that waits before it claims for a scaling down."""
    path = site.folder / "slow-tealctl"
    path.write_text(f"""#!/bin/sh
case $* in *"scales green down"*) touch {site.folder}/asks; while [ ! -e {site.folder}/goes ]; do sleep 0.05; done ;; esac
exec tealctl "$@"
""")
    path.chmod(0o755)
    return path


def manifests(site, version, more=()):
    folder = site.folder / f"k8s-{version}"
    folder.mkdir()
    d = deployment("x", version)
    del d["metadata"]["namespace"], d["spec"]["replicas"]
    for i, obj in enumerate([d, *more]):
        (folder / f"{i}.yaml").write_text(yaml.safe_dump(obj))
    return f"--apply={folder}"


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_a_folder_is_applied_or_taken_back_whole(site):
    objects = site.cluster.api.objects
    run(site, manifests(site, "v1", [config("settings", color="1", note="metadata:\n  uid: kept\n")]))
    assert site.cluster.versions() == {"green": "v0", "blue": "v1"}
    assert objects.get("ConfigMap", "settings", "shop-blue")["data"] == {"color": "1", "note": "metadata:\n  uid: kept\n"}
    run(site, manifests(site, "v2", [config("settings", color="2")]))
    assert site.cluster.versions() == {"green": "v2", "blue": "v1"}
    # One that fails: what was there is there again, what was not is gone.
    before = objects.get("Deployment", "shop", "shop-blue")
    run(site, manifests(site, "v3", [config("settings", color="3"), config("another")]), "--test=exit 42", status=42)
    is_as_before(site, version="v1", epoch=3)
    assert objects.get("ConfigMap", "settings", "shop-blue")["data"]["note"] == "metadata:\n  uid: kept\n"
    assert [o["metadata"]["name"] for o in objects.list("ConfigMap")[0]] == ["settings", "settings"]
    after = objects.get("Deployment", "shop", "shop-blue")
    assert after["spec"] == before["spec"] and after["metadata"]["annotations"] == before["metadata"]["annotations"]


def test_colors_in_one_namespace(site):
    """Each has an overlay of its own, and names of its own."""
    objects = site.cluster.api.objects
    objects.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})

    def rolled(d):
        if d["metadata"]["namespace"] == "shop":
            image = d["spec"]["template"]["spec"]["containers"][0]["image"].rsplit(":", 1)[1]
            site.cluster.apps[d["metadata"]["name"].removeprefix("shop-")].version = image if d["spec"]["replicas"] else None
    site.cluster.controller.rolled = rolled
    base = site.folder / "k8s/base"
    base.mkdir(parents=True)
    d = deployment("shop")
    del d["spec"]["replicas"]
    (base / "shop.yaml").write_text(yaml.safe_dump(d))
    (base / "kustomization.yaml").write_text("resources: [shop.yaml]\n")
    for c in COLORS:
        (site.folder / f"k8s/{c}").mkdir()
        (site.folder / f"k8s/{c}/kustomization.yaml").write_text(
            f"resources: [../base]\nnameSuffix: -{c}\nimages: [{{name: registry.example/shop, newTag: v1}}]\n")
    site.cluster.kubectl("-n", "shop", "apply", "-k", str(site.folder / "k8s/green"))
    site.cluster.kubectl("-n", "shop", "scale", "deployment/shop-green", "--replicas=4")

    def now():
        return {o["metadata"]["name"]: o["spec"]["replicas"] for o in objects.list("Deployment", "shop")[0]}
    words = ["--apply=k8s/{}", "--namespace=shop", "--keep=0"]
    run(site, *words)
    assert now() == {"shop-blue": 4, "shop-green": 0} and site.status("shop")["active"] == "blue"
    until(lambda: site.status("shop")["colors"]["green"]["healthy"] == 0, "green is down")
    run(site, *words)
    assert now() == {"shop-blue": 0, "shop-green": 4} and site.status("shop")["active"] == "green"
    assert objects.get("Namespace", "shop")["metadata"]["annotations"] == {"teal/active": "green", "teal/epoch": "3"}
    # The same by images.
    until(lambda: site.status("shop")["colors"]["blue"]["healthy"] == 0, "blue is down")
    run(site, IMAGE + "v9", "--namespace=shop", "--deployment=shop-{}", "--test=exit 9", status=9)
    assert now() == {"shop-blue": 0, "shop-green": 4} and "v9" not in str(objects.list("Deployment", "shop"))
    run(site, IMAGE + "v9", "--namespace=shop", "--deployment=shop-{}")
    assert now() == {"shop-blue": 4, "shop-green": 4} and site.cluster.versions()["blue"] == "v9"


def test_large_objects_are_kept_and_put_back(site):
    """Larger than an argument of a program may be."""
    run(site, manifests(site, "v1", [config("settings", text="x" * 200_000)]))
    run(site, IMAGE + "v2")
    before = site.cluster.api.objects.get("ConfigMap", "settings", "shop-blue")
    run(site, manifests(site, "v3", [config("settings", text="y")]), "--test=exit 5", status=5)
    after = site.cluster.api.objects.get("ConfigMap", "settings", "shop-blue")
    assert after["data"] == before["data"] and after["metadata"]["annotations"] == before["metadata"]["annotations"]


def test_what_the_cluster_refuses_changes_nothing(site):
    bad = config("UPPER")
    job = run(site, manifests(site, "v1", [bad]), status=1)
    assert "is refused; nothing was changed" in job.out
    is_as_before(site)
    assert not site.cluster.api.asked("create", "/secrets")


@pytest.mark.parametrize("words, status, why", [
    (["--test=exit 42"], 42, "the test failed"),
    (["--urls=wrong"], 22, "status 200 instead of 201,404"),
    (["--urls=slow"], 28, "seconds instead of 0"),
    (["--urls=away"], 7, "curl failed"),
])
def test_one_that_fails_its_test_meets_no_client(site, ports, words, status, why):
    for name, line in (("wrong", "201,404 30 /"), ("slow", "200 0 /"), ("away", f"200 1 http://127.0.0.1:{ports.hold()}/")):
        (site.folder / name).write_text(line + "\n")
    job = run(site, IMAGE + "v1", site.preview, *words, status=status)
    assert why in job.out
    is_as_before(site)


def test_pods_that_never_get_ready(site):
    site.cluster.controller.stuck = lambda d: d["metadata"]["namespace"] == "shop-blue" and "v0" not in str(d) and "exceeded"
    job = run(site, IMAGE + "v1", status=1)
    assert "blue is not ready" in job.out
    is_as_before(site)
    # Without a deadline of their own, ours ends the wait.
    site.cluster.controller.stuck = lambda d: d["metadata"]["namespace"] == "shop-blue" and "v0" not in str(d)
    job = run(site, IMAGE + "v1", "--timeout=2", status=1)
    assert "blue is not ready" in job.out
    is_as_before(site)


def test_a_color_that_teal_finds_unhealthy(site):
    site.cluster.controller.rolled = lambda d: setattr(site.cluster.apps["blue"], "version", None)
    run(site, IMAGE + "v1", "--timeout=2", status=4)
    assert site.status("shop")["active"] == "green" and site.cluster.deployed("blue") == ("v0", 2)


def test_what_teal_refuses_is_the_exit_status(site):
    site.ok("lock", "shop", "--reason=freeze")
    assert "freeze" in run(site, IMAGE + "v1", status=13).out
    site.ok("unlock", "shop")
    token = site.ok("claim", "shop", "--ttl=60", "--reason=mine")["token"]
    assert "mine" in run(site, IMAGE + "v1", status=4).out
    site.ok("release", "shop", f"--token={token}")
    assert "green is active" in run(site, IMAGE + "v1", "--color=green", status=5).out
    run(site, IMAGE + "v1", TEAL_SOCKET=str(site.folder / "nothing"), status=9)
    assert "several containers" not in run(site, IMAGE + "v1", "--container=none", status=1).out
    is_as_before(site)


@pytest.mark.parametrize("words, why", [
    ([], "one of --image"), (["--image=x", "--applied"], "one of --image"), (["--image="], "without its value"),
    (["--image=x", "--keep=soon"], "--keep needs a number"), (["--image=x", "--ttl=3"], "at least 4"),
    (["--image=x", "--ttl=08"], "not '08'"), (["--image=x", "--timeout=090"], "not '090'"),
    (["--image=x", "--color=red"], "green or blue, not 'red'"), (["--image=x", "--colour=red"], "unknown option"),
    (["--image=x", "--namespace=shop"], "needs {}"),
    (["--apply=nowhere"], "no folder or file nowhere"), (["--image=x", "--header=A: b"], "add --urls=FILE"),
    (["--image=x", "--preview=http://x"], "add one of them"),
    (["--apply=.", "--container=app"], "are for --image"),
    (["--image=x", "other"], "one service"), (["--image=x", "--urls=nowhere"], "cannot be read"),
    (["--image=x", "--namespace=$(id)-{}"], "a character that no name has"),
    (["--image=x", "--urls=/proc/self/status"], "is no list of statuses"), (["--image=x", "--bake"], "unknown option")])
def test_bad_usage_is_said_before_anything_is_asked(site, words, why):
    job = run(site, *words, status=2)
    assert why in job.out, job.out
    assert site.ok("history", "shop")["history"] == [] and not site.cluster.api.requests


def test_seconds_of_a_url_are_decimal(site):
    (site.folder / "urls").write_text("200 08.5 http://shop.example/\n")
    job = run(site, IMAGE + "v1", "--urls=urls", status=2)
    assert "urls:1: '08.5' is no number of seconds" in job.out and not site.cluster.api.requests
    is_as_before(site)


def test_a_watch_that_ends_and_an_api_that_hangs_are_waited_out(site):
    api = site.cluster.api
    stuck = site.cluster.controller.stuck = lambda d: "v1" in str(d["spec"])
    ends = api.fault("end", 2, verb="watch", path="shop-blue/deployments")
    cut = api.fault("reset", 2, verb="watch", path="shop-blue/deployments")
    job = site.begin(IMAGE + "v1")
    until(lambda: ends.hits == 2 and cut.hits == 2, "its watches have ended")
    hangs = api.fault("hang", verb="watch", path="shop-blue/deployments")
    api.end_watches()
    until(lambda: hangs.hits, "one hangs")
    hangs.lift()
    site.cluster.controller.stuck = lambda d: False
    site.cluster.controller.again()
    assert job.end() == 0 and stuck, job.out


def held(site):
    """A test for --test that says that it runs, and then waits to be ended."""
    return f"--test=touch {site.folder}/tests; exec sleep 600"


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@pytest.mark.parametrize("sig, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_job_that_is_canceled_puts_all_back(site, sig, status):
    job = site.begin(IMAGE + "v1", held(site))
    until(lambda: (site.folder / "tests").exists(), "it tests")
    job.kill(sig, whole=False)
    assert job.end() == status, job.out
    is_as_before(site)


@pytest.mark.parametrize("program, asked, last, flips", [
    ("tealctl", "claim shop", "blue is as it was before; green is active", 0),
    ("kubectl", "delete secret", "clients have blue", 1)])
def test_a_signal_while_a_program_without_output_runs_is_answered_in_words(site, program, asked, last, flips):
    """The shell is in a function then whose output is thrown away."""
    def wrapper(name):
        path = site.folder / f"told-{name}"
        path.write_text(f"""#!/bin/sh
case {name}:$* in
kubectl:*"create -f -"*) touch {site.folder}/changed ;;
{program}:*"{asked}"*)
	# Once: to the job itself, whose child this is, after its first change.
	if [ "$PPID" = "$(cut -d ' ' -f 6 /proc/$$/stat)" ] && [ -e {site.folder}/changed ] && mkdir {site.folder}/sent 2>/dev/null; then
		kill -HUP "$PPID"
	fi ;;
esac
exec {name} "$@"
""")
        path.chmod(0o755)
        return str(path)
    job = run(site, IMAGE + "v1", status=129, TEALCTL=wrapper("tealctl"), KUBECTL=wrapper("kubectl"))
    assert (site.folder / "sent").exists() and job.out.splitlines()[-1].endswith(last), job.out
    s = site.status("shop")
    assert (s["epoch"], s["claimed"]) == (1 + flips, None) and site.cluster.left() == []


def test_a_job_that_is_killed_is_mended_by_the_next(site):
    job = site.begin(IMAGE + "v1", held(site), "--ttl=4")
    until(lambda: (site.folder / "tests").exists(), "it tests")
    job.kill()
    job.end()
    assert site.cluster.left() == ["shop-blue"] and site.cluster.deployed("blue") == ("v1", 2)
    # One that fails, too, puts back what was there before both.
    job = run(site, IMAGE + "v2", "--test=exit 7", "--wait=60", status=7)
    assert "is put back first" in job.out
    is_as_before(site)


def test_a_job_that_nothing_has_waited_for_keeps_no_claim(site):
    """It was killed alone; its children live on, and its number is still taken."""
    job = site.begin(IMAGE + "v1", held(site), "--ttl=4")
    until(lambda: (site.folder / "tests").exists(), "it tests")
    job.kill(whole=False)
    until(lambda: site.status("shop")["claimed"] is None, "its claim has ended")
    job.kill()
    job.end()
    # Meanwhile clients have had what it has put there, and are back: that is not put back any more.
    site.ok("flip", "shop", "blue")
    site.ok("rollback", "shop")
    run(site, IMAGE + "v2", "--test=exit 3", status=3)
    is_as_before(site, version="v1", epoch=3)


def test_a_job_whose_output_is_not_read_any_more_puts_all_back(site):
    job = site.begin(IMAGE + "v1", f"--test=touch {site.folder}/tests; until [ -e {site.folder}/goes ]; do sleep 0.05; done; false")
    until(lambda: (site.folder / "tests").exists(), "it tests")
    job.process.stdout.close()
    (site.folder / "goes").touch()
    until(lambda: job.process.poll() is not None, "it ends")
    is_as_before(site)


def test_a_claim_outlives_its_time_while_its_job_lives(site):
    job = site.begin(IMAGE + "v1", held(site), "--ttl=4")
    until(lambda: (site.folder / "tests").exists(), "it tests")
    # Without a renewal the last one is over when another job's turn comes.
    first = moment(site.status("shop")["claimed"]["until"])
    until(lambda: (c := site.status("shop")["claimed"]) and moment(c["until"]) > first + 4, "it is renewed after its end")
    job.kill(signal.SIGTERM, whole=False)
    assert job.end() == 143


def test_two_jobs_deploy_one_after_the_other(site):
    jobs = [site.begin(IMAGE + v, "--wait=120") for v in ("v1", "v2")]
    assert [j.end() for j in jobs] == [0, 0], [j.out for j in jobs]
    assert sorted(site.cluster.versions().values()) == ["v1", "v2"]
    s = site.status("shop")
    assert (s["epoch"], s["claimed"]) == (3, None) and site.cluster.annotations() == [(s["active"], "3")] * 2


def test_a_job_that_has_lost_its_claim_changes_nothing_more(site):
    """An operator has taken it, and flipped to what the job has put there: that is what clients have now."""
    job = site.begin(IMAGE + "v1", f"--test=touch {site.folder}/tests; until [ -e {site.folder}/goes ]; do sleep 0.05; done; false")
    until(lambda: (site.folder / "tests").exists(), "it tests")
    site.ok("release", "shop", "--force")
    site.ok("flip", "shop", "blue")
    (site.folder / "goes").touch()
    assert job.end() == 1 and "could not be put back" in job.out
    assert site.cluster.deployed("blue") == ("v1", 2) and site.status("shop")["active"] == "blue"
    run(site, IMAGE + "v2")
    assert site.cluster.versions() == {"green": "v2", "blue": "v1"} and site.cluster.left() == []


# ---- a fault at a random step ----

def fault_nothing(site, roll):
    return {}


def fault_kubectl(site, roll):
    """The API answers so to one of the next requests, whatever that is; and then twice more."""
    how = roll.choice(["reset", 500, "truncated", "rubbish", 401, 409])
    site.cluster.api.fault(how, 3, after=roll.randrange(40), path="^/api")
    return {}


def fault_pods(site, roll):
    stuck = roll.choice(["exceeded", True])
    site.cluster.controller.stuck = lambda d: stuck if "bad" in str(d["spec"]) else False
    return {"version": "bad", "status": 1}


def fault_test(site, roll):
    status = roll.randrange(2, 100)
    return {"words": [f"--test=exit {status}"], "status": status}


def fault_cancel(site, roll):
    return {"signal": roll.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])}


def fault_kill(site, roll):
    return {"signal": signal.SIGKILL}


def fault_two_jobs(site, roll):
    return {"second": True}


FAULTS = [fault_nothing, fault_kubectl, fault_pods, fault_test, fault_cancel, fault_kill, fault_two_jobs]


@pytest.mark.scales
@pytest.mark.long
def test_a_fault_at_a_random_step_leaves_nothing_half_done(site):
    """Each time clients have a version that was tested, and one run without a fault mends what is left."""
    roll, good = dice(), "v0"
    for n in range(scaled(200, 7)):
        fault = FAULTS[n % len(FAULTS)] if not scale.SOAK else roll.choice(FAULTS)
        before = site.status("shop")
        how = fault(site, roll)
        version = how.get("version", f"v{n}.1")
        # Short where nothing else ends the wait, or the claim of one that could not let go; a busy machine takes longer.
        ends = "signal" in how or fault is fault_kubectl
        words = [IMAGE + version, "--wait=120", f"--ttl={4 if ends else 600}", f"--timeout={3 if fault is fault_pods else 60}",
                 *how.get("words", [])]
        asked = len(site.cluster.api.requests)
        jobs = [site.begin(*words)]
        if how.get("second"):
            jobs.append(site.begin(IMAGE + f"v{n}.2", *words[1:]))
        if "signal" in how:
            step = roll.randrange(60)
            until(lambda: len(site.cluster.api.requests) - asked >= step or jobs[0].process.poll() is not None, "a step")
            if jobs[0].process.poll() is None:
                jobs[0].kill(how["signal"], whole=how["signal"] == signal.SIGKILL or roll.random() < 0.5)
        statuses = [j.end() for j in jobs]
        for f in site.cluster.api.faults:
            f.lift()
        site.cluster.controller.stuck = lambda d: False
        site.cluster.controller.again()
        said = (n, fault.__name__, statuses, [j.out for j in jobs])
        s = site.status("shop")
        flips = s["epoch"] - before["epoch"]
        # The exit status says whether clients have it; of a job that was ended, its words do, if it had any left ...
        assert flips == sum(st == 0 for st in statuses) or flips == 1 and jobs[0].out.count(" clients have ") or \
            flips == 1 and (how.get("signal") == signal.SIGKILL or fault is fault_kubectl), said
        if "status" in how:
            assert statuses == [how["status"]] and flips == 0, said
        if fault in (fault_nothing, fault_two_jobs):
            assert not any(statuses), said
        # ... and what they have is what was tested.
        if flips:
            good = version if len(jobs) == 1 else next(
                v for v in (f"v{n}.1", f"v{n}.2") if site.cluster.deployed(s["active"])[0] == v)
        assert site.cluster.deployed(s["active"]) == (good, 2), said
        assert site.cluster.versions()[s["active"]] == good and s["colors"][s["active"]]["healthy"] == 1, said
        if "status" in how or flips and not any(statuses):
            assert site.cluster.left() == [] and s["claimed"] is None, said
        # The run after it mends.
        good = f"v{n}.3"
        job = site.begin(IMAGE + good, "--wait=120")
        assert job.end() == 0, (said, job.out)
        s = site.status("shop")
        assert s["claimed"] is None and site.cluster.left() == [], (said, job.out)
        assert site.cluster.versions()[s["active"]] == good and site.cluster.deployed(s["active"]) == (good, 2), (said, job.out)
        assert site.cluster.annotations() == [(s["active"], str(s["epoch"]))] * 2, (said, job.out)
