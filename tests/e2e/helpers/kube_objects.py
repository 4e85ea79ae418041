"""Kubernetes objects in memory, as an API server keeps them: versions, selectors, patches and the log of changes that
watches read. Written from the API's documentation (API concepts, API conventions, strategic merge patch)."""
import base64
import collections
import copy
import datetime
import json
import re
import threading
import uuid

Type = collections.namedtuple("Type", "group version plural kind short namespaced subresources")
TYPES = [Type(*t) for t in (
    ("", "v1", "namespaces", "Namespace", "ns", False, ""),
    ("", "v1", "nodes", "Node", "no", False, "status"),
    ("", "v1", "pods", "Pod", "po", True, "status eviction"),
    ("", "v1", "services", "Service", "svc", True, "status"),
    ("", "v1", "events", "Event", "ev", True, ""),
    ("", "v1", "configmaps", "ConfigMap", "cm", True, ""),
    ("", "v1", "secrets", "Secret", "", True, ""),
    ("apps", "v1", "deployments", "Deployment", "deploy", True, "status scale"),
    ("apps", "v1", "replicasets", "ReplicaSet", "rs", True, "status scale"),
    ("apps", "v1", "daemonsets", "DaemonSet", "ds", True, "status"),
    ("apps", "v1", "statefulsets", "StatefulSet", "sts", True, "status scale"),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "", True, ""),
    ("gateway.networking.k8s.io", "v1", "gateways", "Gateway", "gtw", True, "status"),
    ("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", "", True, "status"),
    ("gateway.networking.k8s.io", "v1alpha2", "tcproutes", "TCPRoute", "", True, "status"),
    ("gateway.networking.k8s.io", "v1alpha2", "udproutes", "UDPRoute", "", True, "status"),
    ("gateway.networking.k8s.io", "v1alpha2", "tlsroutes", "TLSRoute", "", True, "status"),
)]


class Refused(Exception):
    """What a request is answered with instead of an object: a Status."""

    def __init__(self, code, reason, message, **details):
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                       "message": message, "reason": reason, "details": details, "code": code}


def gone(what="The provided continue parameter is too old"):
    return Refused(410, "Expired", what)


def now():
    return datetime.datetime.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")


def api_version(kind):
    return f"{kind.group}/{kind.version}" if kind.group else kind.version


# ---- selectors ----

REQUIREMENT = re.compile(r"\s*(?:(!)\s*([^\s=!,()]+)|([^\s=!,()]+)\s*(?:(==|=|!=)\s*([^\s,()]*)|\s(in|notin)\s*\(([^)]*)\))?)\s*(?:,|$)")


def label_selector(text):
    """A function of labels."""
    tests, at = [], 0
    while at < len(text):
        m = REQUIREMENT.match(text, at)
        if not m:
            raise Refused(400, "BadRequest", f"unable to parse requirement: {text!r}")
        absent, gone_key, key, sign, value, among, values = m.groups()
        values = {v.strip() for v in (values or "").split(",")}
        if absent:
            tests.append(lambda l, k=gone_key: k not in l)
        elif sign:
            tests.append((lambda l, k=key, v=value: l.get(k) != v) if sign == "!=" else
                         (lambda l, k=key, v=value: l.get(k) == v))
        elif among:
            tests.append((lambda l, k=key, v=values: l.get(k) in v) if among == "in" else
                         (lambda l, k=key, v=values: l.get(k) not in v))
        else:
            tests.append(lambda l, k=key: k in l)
        at = m.end()
    return lambda labels: all(t(labels) for t in tests)


FIELDS = {"metadata.name", "metadata.namespace", "spec.nodeName", "spec.unschedulable", "spec.restartPolicy", "status.phase",
          "type", "reason", "involvedObject.kind", "involvedObject.name", "involvedObject.namespace", "involvedObject.uid"}


def field_selector(text):
    """A function of objects."""
    tests = []
    for part in filter(None, text.split(",")):
        m = re.fullmatch(r"([\w.]+)(==|=|!=)(.*)", part)
        if not m or m[1] not in FIELDS:
            raise Refused(400, "BadRequest", f'field label not supported: {part}')

        def value(obj, path=m[1].split(".")):
            for word in path:
                obj = (obj or {}).get(word)
            return {True: "true", False: "false", None: ""}.get(obj, obj)
        tests.append((lambda o, f=value, v=m[3]: f(o) != v) if m[2] == "!=" else (lambda o, f=value, v=m[3]: f(o) == v))
    return lambda obj: all(t(obj) for t in tests)


def selector(labels="", fields=""):
    by_label, by_field = label_selector(labels or ""), field_selector(fields or "")
    return lambda obj: by_label(obj["metadata"].get("labels") or {}) and by_field(obj)


# ---- patches ----

def merge_patch(old, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merge_patch(new.get(key), value)
    return new


# The key by which two lists of objects are merged; other lists are replaced.
MERGE_KEYS = {"containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "conditions": "type",
              "volumeMounts": "mountPath", "imagePullSecrets": "name", "ownerReferences": "uid", "addresses": "type"}


def merge_key(name, items):
    if name == "ports":
        return "containerPort" if any("containerPort" in i for i in items if isinstance(i, dict)) else "port"
    return MERGE_KEYS.get(name)


def strategic_patch(old, patch, name=None):
    """A strategic merge patch, with its directives."""
    if isinstance(patch, list):
        key = merge_key(name, patch)
        if key is None:
            return patch
        items = {} if any(i.get("$patch") == "replace" for i in patch) else {i[key]: i for i in old or []}
        for item in patch:
            if item.get("$patch") == "delete":
                items.pop(item[key], None)
            elif key in item:
                items[item[key]] = strategic_patch(items.get(item[key]), item)
        return list(items.values())
    if not isinstance(patch, dict):
        return patch
    new = {} if patch.get("$patch") == "replace" or not isinstance(old, dict) else dict(old)
    if "$retainKeys" in patch:
        new = {k: v for k, v in new.items() if k in patch["$retainKeys"]}
    for word, value in patch.items():
        if word.startswith("$deleteFromPrimitiveList/"):
            word = word.split("/", 1)[1]
            new[word] = [i for i in new.get(word) or [] if i not in value]
        elif word.startswith("$"):
            continue    # $setElementOrder is of the order alone
        elif value is None:
            new.pop(word, None)
        elif word == "finalizers":
            new[word] = [*(new.get(word) or []), *(v for v in value if v not in (new.get(word) or []))]
        else:
            new[word] = strategic_patch(new.get(word), value, word)
    return new


def json_patch(old, steps):
    """RFC 6902: add, remove, replace, test."""
    doc = copy.deepcopy(old)
    for step in steps:
        *way, last = [w.replace("~1", "/").replace("~0", "~") for w in step["path"].split("/")[1:]]
        at = doc
        try:
            for word in way:
                at = at[int(word) if isinstance(at, list) else word]
            if isinstance(at, list):
                last = len(at) if last == "-" else int(last)
            if step["op"] == "add" and isinstance(at, list):
                at.insert(last, step["value"])
            elif step["op"] == "add":
                at[last] = step["value"]
            elif step["op"] == "test":
                if at[last] != step["value"]:
                    raise Refused(422, "Invalid", f"the server rejected our request: test {step['path']} failed")
            elif step["op"] == "replace":
                at[last]
                at[last] = step["value"]
            elif step["op"] == "remove":
                del at[last]
            else:
                raise Refused(400, "BadRequest", f"unsupported operation {step['op']!r}")
        except (KeyError, IndexError, TypeError, ValueError):
            raise Refused(422, "Invalid", f"the server rejected our request: {step['path']} is not there") from None
    return doc


PATCHES = {"application/merge-patch+json": merge_patch, "application/strategic-merge-patch+json": strategic_patch,
           "application/json-patch+json": json_patch, "application/apply-patch+yaml": strategic_patch}


# ---- the objects ----

Change = collections.namedtuple("Change", "version kind old new")    # old or new is None where there is none


class Objects:
    """All objects of a cluster. Methods raise Refused; what they return is the caller's own copy.
    .changed: a Condition, notified at each change."""

    def __init__(self):
        self.changed = threading.Condition(threading.RLock())
        self.version = 1000
        self.all = {t: {} for t in TYPES}     # (namespace, name): object
        self.log, self.compacted = [], self.version
        self.snapshots = {}                   # of lists that are read in pages

    def find_type(self, group, version, plural):
        for t in TYPES:
            if (t.group, t.version, t.plural) == (group, version, plural):
                return t
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def type(self, kind):
        return next(t for t in TYPES if kind in (t.kind, t.plural))

    def missing(self, kind, name):
        return Refused(404, "NotFound", f'{kind.plural}{"." + kind.group if kind.group else ""} "{name}" not found',
                       name=name, group=kind.group, kind=kind.plural)

    def _keep(self, kind, key, old, new):
        self.version += 1
        if new is not None:
            new["metadata"]["resourceVersion"] = str(self.version)
            self.all[kind][key] = new
        else:
            del self.all[kind][key]
            old = copy.deepcopy(old)
            old["metadata"]["resourceVersion"] = str(self.version)
        self.log.append(Change(self.version, kind, old, new))
        self.changed.notify_all()

    def get(self, kind, name, namespace=""):
        kind = self.type(kind) if isinstance(kind, str) else kind
        with self.changed:
            obj = self.all[kind].get((namespace, name))
            if obj is None:
                raise self.missing(kind, name)
            return copy.deepcopy(obj)

    def list(self, kind, namespace=None, matches=lambda o: True):
        """Objects by namespace and name, and the version they are of."""
        kind = self.type(kind) if isinstance(kind, str) else kind
        with self.changed:
            found = [copy.deepcopy(o) for k, o in sorted(self.all[kind].items())
                     if (namespace is None or k[0] == namespace) and matches(o)]
            return found, self.version

    def page(self, kind, namespace, matches, limit, token):
        """(objects, version, the next token or None, how many follow)."""
        if token:
            try:
                version, start = json.loads(base64.urlsafe_b64decode(token))
            except ValueError:
                raise Refused(400, "BadRequest", "continue key is not valid") from None
            with self.changed:
                found = self.snapshots.get(version)
                if found is None or version < self.compacted:
                    raise gone()
        else:
            (found, version), start = self.list(kind, namespace, matches), 0
            if limit and len(found) > limit:
                self.snapshots[version] = found
        end = start + limit if limit else len(found)
        more = base64.urlsafe_b64encode(json.dumps([version, end]).encode()).decode() if end < len(found) else None
        return found[start:end], version, more, max(0, len(found) - end)

    def create(self, obj, namespace="", dry=False):
        """Puts a new object there; kind and apiVersion are in it."""
        obj = copy.deepcopy(obj)
        kind = next((t for t in TYPES if t.kind == obj.get("kind") and api_version(t) == obj.get("apiVersion")), None)
        if kind is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        meta = obj.setdefault("metadata", {})
        if kind.namespaced:
            meta["namespace"] = namespace or meta.get("namespace") or "default"
        if "generateName" in meta and "name" not in meta:
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", meta.get("name", "")):
            raise Refused(422, "Invalid", f'{kind.kind} "{meta.get("name", "")}" is invalid: metadata.name: Invalid value')
        with self.changed:
            if kind.namespaced and ("", meta["namespace"]) not in self.all[self.type("Namespace")]:
                raise self.missing(self.type("Namespace"), meta["namespace"])
            key = (meta.get("namespace", ""), meta["name"])
            if key in self.all[kind]:
                raise Refused(409, "AlreadyExists", f'{kind.plural} "{meta["name"]}" already exists', name=meta["name"],
                              kind=kind.plural)
            meta.update(uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
            defaults(kind, obj)
            if not dry:
                self._keep(kind, key, None, obj)
            return copy.deepcopy(obj)

    def change(self, kind, name, namespace, make, subresource=None, dry=False):
        """Makes the object new by make(a copy of it)."""
        kind = self.type(kind) if isinstance(kind, str) else kind
        with self.changed:
            old = self.get(kind, name, namespace)
            new = make(copy.deepcopy(old))
            meta = new["metadata"]
            version = meta.get("resourceVersion")
            if version and version != old["metadata"]["resourceVersion"]:
                raise Refused(409, "Conflict", f'Operation cannot be fulfilled on {kind.plural} "{name}": the object has '
                              'been modified; please apply your changes to the latest version and try again', name=name)
            for word in ("name", "namespace", "uid", "creationTimestamp", "generation"):
                if word in old["metadata"]:
                    meta[word] = old["metadata"][word]
            new["kind"], new["apiVersion"] = old["kind"], old["apiVersion"]
            # Each way in is for its part alone.
            if "status" in kind.subresources.split() and subresource != "all":
                for part in {"status", "spec"} - {subresource or "spec"}:
                    new.pop(part, None)
                    if part in old:
                        new[part] = old[part]
            if new.get("spec") != old.get("spec"):
                meta["generation"] = old["metadata"].get("generation", 1) + 1
            meta["resourceVersion"] = old["metadata"]["resourceVersion"]
            if new != old and not dry:
                self._keep(kind, (namespace, name), old, new)
            return copy.deepcopy(new)

    def edit(self, kind, name, patch, namespace=""):
        """A merge patch of any part: for those who play a kubelet or a controller."""
        return self.change(kind, name, namespace, lambda o: merge_patch(o, patch), "all")

    def delete(self, kind, name, namespace="", dry=False):
        kind = self.type(kind) if isinstance(kind, str) else kind
        with self.changed:
            old = self.get(kind, name, namespace)
            if dry:
                return old
            if old["metadata"].get("finalizers"):
                self.change(kind, name, namespace, lambda o: merge_patch(o, {"metadata": {"deletionTimestamp": now()}}))
                return old
            self._keep(kind, (namespace, name), old, None)
            for t in TYPES:     # what it owns, or what was in it, goes, too
                for key, obj in list(self.all[t].items()):
                    owned = any(r["uid"] == old["metadata"]["uid"] for r in obj["metadata"].get("ownerReferences", []))
                    if key in self.all[t] and (owned or kind.kind == "Namespace" and key[0] == name):
                        self._keep(t, key, obj, None)
            return old

    def compact(self):
        """Forgets what was: older versions and pages are gone from now on."""
        with self.changed:
            self.log, self.compacted = [], self.version
            self.snapshots = {}

    def since(self, version):
        """Changes after that version; raises 410 where they are forgotten."""
        with self.changed:
            if version < self.compacted:
                raise gone(f"too old resource version: {version} ({self.compacted})")
            at = len(self.log)
            while at and self.log[at - 1].version > version:
                at -= 1
            return self.log[at:]


def defaults(kind, obj):
    """What an API server adds by itself, as far as a client here looks at it."""
    if kind.kind == "Namespace":
        obj["status"] = {"phase": "Active"}
        obj["metadata"].setdefault("labels", {}).setdefault("kubernetes.io/metadata.name", obj["metadata"]["name"])
    elif kind.kind in ("Deployment", "ReplicaSet", "StatefulSet"):
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        if kind.kind == "Deployment":
            spec.setdefault("progressDeadlineSeconds", 600)
            spec.setdefault("strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
        obj["status"] = {}
    elif kind.kind == "Service":
        obj.setdefault("spec", {}).setdefault("type", "ClusterIP")
        obj["spec"].setdefault("clusterIP", "10.96.0.1")
    elif kind.kind == "Pod":
        obj.setdefault("spec", {})
        obj.setdefault("status", {"phase": "Pending"})
