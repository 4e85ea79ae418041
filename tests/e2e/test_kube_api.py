"""The Kubernetes API stand-in of the tests (helpers/kube_api.py), held to what the real kubectl accepts."""
import json
import ssl
import urllib.request

import pytest

from helpers.certificates import Authority
from helpers.kube_api import KubeApi
from helpers.kube_controller import Controller
from helpers.kubectl import Kubectl
from helpers.scale import until

pytestmark = pytest.mark.nosan
READY = {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: default, labels: {app: shop}}
spec:
  replicas: 3
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: app, image: "registry.example/shop:v1"}, {name: log, image: "log:v1"}]}
"""


def node(name, **labels):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}, "status": READY}


@pytest.fixture
def api(ports, tmp_path, closing):
    api = closing.add(KubeApi(ports.hold(), Authority(tmp_path)))
    api.tokens = {"t0ken"}
    for n in "ab":
        api.objects.create(node(n, pool="main"))
    return api


@pytest.fixture
def kubectl(api, tmp_path):
    return Kubectl(tmp_path, api.kubeconfig(tmp_path / "kubeconfig", "t0ken"))


@pytest.fixture
def controller(api, closing):
    return closing.add(Controller(api.objects))


def get(api, path, token="t0ken"):
    """What a client without kubectl's care gets: (status, object)."""
    request = urllib.request.Request(api.url + path, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=api.ca)) as r:
            return r.status, json.load(r)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def lines(process):
    """Its next line, at each call."""
    return lambda: process.stdout.readline().split()


def test_nodes_are_read_labelled_cordoned_and_tainted(api, kubectl):
    assert kubectl("get", "nodes", "--no-headers").stdout.split()[:3] == ["a", "Ready", "<none>"]
    assert "InternalIP" in kubectl("describe", "node", "a").stdout
    kubectl("label", "node", "a", "node-role.kubernetes.io/worker=", "pool-")
    kubectl("annotate", "node", "a", "teal/why=a test")
    kubectl("cordon", "a")
    kubectl("taint", "node", "a", "gone=soon:NoSchedule", "other:NoExecute")
    n = api.objects.get("Node", "a")
    assert n["metadata"]["labels"] == {"node-role.kubernetes.io/worker": ""}
    assert n["metadata"]["annotations"] == {"teal/why": "a test"} and n["spec"]["unschedulable"] is True
    assert sorted((t["key"], t["effect"]) for t in n["spec"]["taints"]) == [("gone", "NoSchedule"), ("other", "NoExecute")]
    assert kubectl("get", "node", "-l", "node-role.kubernetes.io/worker", "-o", "name").stdout.split() == ["node/a"]
    assert kubectl("get", "no", "-l", "pool in (main,other),!gone", "-o", "name").stdout.split() == ["node/b"]
    assert kubectl("get", "nodes", "--field-selector", "spec.unschedulable=true", "-o", "name").stdout.split() == ["node/a"]
    kubectl("taint", "node", "a", "gone-", "other-")
    kubectl("uncordon", "a")
    assert "unschedulable" not in api.objects.get("Node", "a")["spec"]
    kubectl("delete", "node", "a", "--wait=false")
    assert "not found" in kubectl("get", "node", "a", status=1).stderr


def test_a_watch_is_told_what_changes(api, kubectl):
    watch = kubectl.start("get", "nodes", "-w", "--no-headers", "-l", "pool=main")
    line = lines(watch)
    try:
        assert [line()[0] for _ in range(2)] == ["a", "b"]
        until(lambda: api.asked("watch", "nodes"), "it watches")
        api.objects.edit("Node", "b", {"spec": {"unschedulable": True}})
        assert line()[:2] == ["b", "Ready,SchedulingDisabled"]
        api.objects.create(node("c", pool="other"))     # not its business
        api.objects.create(node("d", pool="main"))
        assert line()[0] == "d"
    finally:
        watch.terminate()
        watch.communicate()


def test_a_deployment_is_applied_awaited_changed_and_scaled(api, kubectl, controller):
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/shop", "--timeout=60s").stdout
    kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=shop", "--timeout=60s")
    assert kubectl("get", "deploy", "shop", "--no-headers").stdout.split()[1] == "3/3"
    rolled = []
    controller.rolled = lambda d: rolled.append(d["spec"]["template"]["spec"]["containers"][0]["image"])
    kubectl("set", "image", "deployment/shop", "app=registry.example/shop:v2")
    kubectl("rollout", "status", "deployment/shop")
    assert rolled == ["registry.example/shop:v2"]
    # The other container is as it was: lists are merged by name.
    assert [c["image"] for c in api.objects.get("Deployment", "shop", "default")["spec"]["template"]["spec"]["containers"]] \
        == ["registry.example/shop:v2", "log:v1"]
    kubectl("scale", "deployment/shop", "--replicas=1")
    until(lambda: len(api.objects.list("Pod")[0]) == 1, "one pod is left")
    assert "unchanged" not in kubectl("apply", "-f", "-", stdin=DEPLOYMENT).stdout
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=DEPLOYMENT).stdout
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=DEPLOYMENT).stdout
    assert "(server dry run)" in kubectl("apply", "--dry-run=server", "-f", "-", stdin=DEPLOYMENT.replace("v1", "v3")
                                         .replace("apps/v3", "apps/v1")).stdout
    kubectl("delete", "deployment", "shop")
    assert api.objects.list("Pod")[0] == []


def test_a_rollout_that_never_gets_ready_is_waited_for_in_vain(api, kubectl, controller):
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    kubectl("rollout", "status", "deployment/shop")
    controller.stuck = lambda d: "exceeded"
    kubectl("set", "image", "deployment/shop", "app=bad")
    assert "exceeded its progress deadline" in kubectl("rollout", "status", "deployment/shop", status=1).stderr
    d = api.objects.get("Deployment", "shop", "default")
    assert d["status"]["availableReplicas"] == 3 and d["status"]["unavailableReplicas"] == 3
    # A watch that ends early, and one that is cut, are begun anew.
    controller.stuck = lambda d: True
    controller.again()
    ends, cut = api.fault("end", 2, verb="watch", path="deployments"), api.fault("reset", 1, verb="watch", path="deployments")
    waits = kubectl.start("rollout", "status", "deployment/shop")
    until(lambda: ends.hits == 2 and cut.hits == 1, "its watches have ended")
    controller.stuck = lambda d: False
    controller.again()
    out, err = waits.communicate()
    assert waits.returncode == 0 and "successfully rolled out" in out, err


def test_a_node_is_drained(api, kubectl, controller):
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    kubectl("rollout", "status", "deployment/shop")
    refused = api.fault(429, 1, path="/eviction")
    kubectl("drain", "a", "--ignore-daemonsets")
    assert api.objects.get("Node", "a")["spec"]["unschedulable"] and refused.hits == 1
    until(lambda: [p["spec"]["nodeName"] for p in api.objects.list("Pod")[0]] == ["b"] * 3, "they are elsewhere")


def test_pages_end_when_their_version_is_forgotten(api, kubectl):
    for n in range(1200):
        api.objects.create(node(f"n{n}"))
    assert len(json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"]) == 1202
    assert len(api.asked("list", "limit=500")) == 3
    _, first = get(api, "/api/v1/nodes?limit=500")
    assert len(first["items"]) == 500 and first["metadata"]["remainingItemCount"] == 702
    more = f"/api/v1/nodes?limit=500&continue={first['metadata']['continue']}"
    api.objects.delete("Node", "a")
    assert len(get(api, more)[1]["items"]) == 500   # of the version of the first
    api.objects.compact()
    assert get(api, more)[0] == 410
    old = first["metadata"]["resourceVersion"]
    assert get(api, f"/api/v1/nodes?watch=1&timeoutSeconds=1&resourceVersion={old}")[1]["object"]["code"] == 410


def test_a_watch_has_bookmarks(api):
    api.bookmarks = 0.1
    with urllib.request.urlopen(urllib.request.Request(
            f"{api.url}/api/v1/nodes?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            headers={"Authorization": "Bearer t0ken"}), context=ssl.create_default_context(cafile=api.ca)) as r:
        events = [json.loads(r.readline()) for _ in range(4)]
    assert [e["type"] for e in events] == ["ADDED", "ADDED", "BOOKMARK", "BOOKMARK"]
    assert events[2]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert "annotations" not in events[3]["object"]["metadata"]
    api.watch_list = False
    assert get(api, "/api/v1/nodes?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan")[0] == 422


@pytest.mark.parametrize("how, what", [
    ("reset", "EOF|reset"), ("truncated", "unexpected EOF"), ("rubbish", "invalid character"), (500, "a fault of the test"),
    (410, "a fault of the test"), (401, "Unauthorized|logged in")])
def test_a_fault_is_felt_and_lifted(api, kubectl, how, what):
    kubectl("get", "nodes")     # knows the types
    fault = api.fault(how, path="/nodes")
    said = kubectl("get", "nodes", status=1).stderr
    assert fault.hits and any(w in said for w in what.split("|")), said
    fault.lift()
    kubectl("get", "nodes")


def test_a_watch_that_says_gone(api, kubectl):
    """kubectl's own takes the Status for an object, and ends: why no script reads nodes from it."""
    fault = api.fault("gone-event", 1, verb="watch", path="/nodes")
    watch = kubectl.start("get", "nodes", "-w", "--no-headers")
    out, _ = watch.communicate()
    assert fault.hits == 1 and watch.returncode == 0 and "Expired" in out.splitlines()[2]


def test_tokens_and_certificates(api, kubectl, tmp_path):
    assert get(api, "/api/v1/nodes", "wrong")[0] == 401
    api.tokens = {"another"}
    assert get(api, "/api/v1/nodes")[0] == 401 and get(api, "/api/v1/nodes", "another")[0] == 200
    assert kubectl("get", "nodes", status=1).stderr
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    api.show(Authority(foreign, "Foreign CA").issue("kube-api", "127.0.0.1"))
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(api, "/api/v1/nodes", "another")


def test_a_server_that_is_away_and_another_of_the_same_cluster(api, ports, closing):
    other = closing.add(KubeApi(ports.hold(), objects=api.objects))
    api.down()
    with pytest.raises(urllib.error.URLError):
        get(api, "/api/v1/nodes")
    with urllib.request.urlopen(f"{other.url}/api/v1/nodes") as r:
        assert len(json.load(r)["items"]) == 2
    api.objects.create(node("c"))
    api.up()
    assert len(get(api, "/api/v1/nodes")[1]["items"]) == 3


def test_a_write_of_an_old_version_is_refused(api, kubectl):
    old = json.loads(kubectl("get", "node", "a", "-o", "json").stdout)
    kubectl("label", "node", "a", "x=y")
    said = kubectl("replace", "-f", "-", stdin=json.dumps(old), status=1).stderr
    assert "has been modified" in said
