"""What a Kubernetes API server says of itself and of its objects to a client that asks: discovery, as much of OpenAPI as
kubectl looks for, and tables."""
import datetime

from .kube_objects import TYPES, api_version

VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
SUB = {"status": None, "scale": ("autoscaling", "v1", "Scale"), "eviction": ("policy", "v1", "Eviction")}


def resources(group, version):
    """The APIResourceList of a group and version, or None."""
    found = []
    for t in TYPES:
        if (t.group, t.version) != (group, version):
            continue
        found.append({"name": t.plural, "singularName": t.kind.lower(), "namespaced": t.namespaced, "kind": t.kind,
                      "verbs": VERBS, "shortNames": t.short.split()})
        for sub in t.subresources.split():
            entry = {"name": f"{t.plural}/{sub}", "singularName": "", "namespaced": t.namespaced, "kind": t.kind,
                     "verbs": ["create"] if sub == "eviction" else ["get", "patch", "update"]}
            if SUB[sub]:
                entry.update(zip(("group", "version", "kind"), SUB[sub]))
            found.append(entry)
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}".lstrip("/"),
            "resources": found} if found else None


def discovery(path):
    """The document at a path that names no object, or None."""
    if path == "/version":
        return {"major": "1", "minor": "35", "gitVersion": "v1.35.2", "platform": "linux/amd64"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    groups = sorted({(t.group, t.version) for t in TYPES if t.group})
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {"name": g, "versions": (v := [{"groupVersion": f"{g}/{n}", "version": n} for h, n in groups if h == g]),
             "preferredVersion": v[0]} for g in sorted({g for g, _ in groups})]}
    if path == "/openapi/v3":
        return {"paths": {f"{w}": {"serverRelativeURL": f"/openapi/v3/{w}?hash=1"} for w in
                          ["api/v1", *(f"apis/{g}/{v}" for g, v in groups)]}}
    if path.startswith("/openapi/v3/"):
        group, version = (["", *path.split("/")[3:]] if path.startswith("/openapi/v3/api/") else path.split("/")[3:])[-2:]
        return openapi("" if group == "api" else group, version)
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) == 2:
        return resources("", parts[1])
    if parts[0] == "apis" and len(parts) == 3:
        return resources(parts[1], parts[2])
    return None


def openapi(group, version):
    """That objects may be patched with the checks of the server: what kubectl asks before it applies."""
    paths = {}
    for t in TYPES:
        if (t.group, t.version) == (group, version):
            scope = "/namespaces/{namespace}" if t.namespaced else ""
            base = f"/apis/{group}/{version}" if group else f"/api/{version}"
            paths[f"{base}{scope}/{t.plural}/{{name}}"] = {"patch": {
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": t.kind},
                "parameters": [{"name": n, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
                               for n in ("dryRun", "fieldManager", "fieldValidation")],
                "responses": {"200": {"description": "OK"}}}}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.35.2"}, "paths": paths} if paths else None


# ---- tables ----

def age(obj):
    begun = datetime.datetime.strptime(obj["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ")
    return f"{int((datetime.datetime.utcnow() - begun).total_seconds())}s"


def node_status(obj):
    ready = [c["status"] for c in obj.get("status", {}).get("conditions", []) if c["type"] == "Ready"]
    word = {"True": "Ready", "False": "NotReady"}.get(ready[0] if ready else "", "Unknown")
    return word + (",SchedulingDisabled" if obj.get("spec", {}).get("unschedulable") else "")


def roles(obj):
    return ",".join(l.split("/", 1)[1] for l in obj["metadata"].get("labels", {})
                    if l.startswith("node-role.kubernetes.io/")) or "<none>"


def ready_pod(obj):
    return "1/1" if any(c["type"] == "Ready" and c["status"] == "True"
                        for c in obj["status"].get("conditions", [])) else "0/1"


def count(word):
    return lambda o: o.get("status", {}).get(word, 0)


COLUMNS = {
    "Node": [("Status", node_status), ("Roles", roles)],
    "Pod": [("Ready", ready_pod), ("Status", lambda o: o["status"].get("phase", ""))],
    "Namespace": [("Status", lambda o: o["status"]["phase"])],
    "Deployment": [("Ready", lambda o: f"{count('readyReplicas')(o)}/{o['spec']['replicas']}"),
                   ("Up-to-date", count("updatedReplicas")), ("Available", count("availableReplicas"))],
    "Service": [("Type", lambda o: o["spec"]["type"]), ("Cluster-IP", lambda o: o["spec"]["clusterIP"])],
}


def table(objects, version, full, columns=True):
    """A meta.k8s.io Table of objects; full: with the objects whole, not their metadata alone."""
    kind = objects[0]["kind"] if objects else ""
    more = COLUMNS.get(kind, [])
    rows = [{"cells": [o["metadata"].get("name", ""), *(f(o) for _, f in more if "status" in o or "spec" in o), age(o)]
             if "creationTimestamp" in o["metadata"] else ["", *("" for _ in more), ""],
             "object": o if full else {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                                       "metadata": o["metadata"]}} for o in objects]
    names = ["Name", *(n for n, _ in more), "Age"]
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": str(version)},
            "columnDefinitions": [{"name": n, "type": "string", "format": "name" if n == "Name" else "", "description": n,
                                   "priority": 0} for n in names] if columns else None, "rows": rows}


def scale_of(obj):
    """The subresource scale of a deployment and its like."""
    labels = obj["spec"].get("selector", {}).get("matchLabels", {})
    return {"kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {k: v for k, v in obj["metadata"].items()
                         if k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")},
            "spec": {"replicas": obj["spec"].get("replicas", 0)},
            "status": {"replicas": obj.get("status", {}).get("replicas", 0),
                       "selector": ",".join(f"{k}={v}" for k, v in labels.items())}}


def list_of(kind, objects, version, more=None, left=0):
    meta = {"resourceVersion": str(version)}
    if more:
        meta.update({"continue": more, "remainingItemCount": left})
    return {"kind": f"{kind.kind}List", "apiVersion": api_version(kind), "metadata": meta, "items": objects}
