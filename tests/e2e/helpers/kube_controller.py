"""The controllers of a cluster, as far as a deployment needs them: a thread that gives Deployments their Pods (without a
ReplicaSet between them), says that these are ready, and puts Pods that were evicted on another node."""
import hashlib
import json
import threading

from .kube_objects import Refused, merge_patch, now


def condition(kind, status, reason):
    return {"type": kind, "status": status, "reason": reason, "message": reason, "lastTransitionTime": now()}


class Controller:
    """.stuck(deployment): whether the pods of its newest template never get ready ("exceeded": and its deadline is over).
    .rolled(deployment): called once what it runs has changed and is ready; both on the controller's thread."""

    def __init__(self, objects):
        self.objects = objects
        self.stuck, self.rolled = lambda deployment: False, lambda deployment: None
        self._over, self._told = False, {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._over = True
        with self.objects.changed:
            self.objects.changed.notify_all()
        self._thread.join()

    def again(self):
        """Looks at all once more, as what .stuck says is another now."""
        with self.objects.changed:
            for d in self.objects.list("Deployment")[0]:
                m = d["metadata"]
                self.objects.edit("Deployment", m["name"], {"status": {"observedGeneration": 0}}, m["namespace"])

    def _run(self):
        seen = 0
        while not self._over:
            with self.objects.changed:
                if self.objects.version == seen:
                    self.objects.changed.wait(0.25)
                    continue
                seen = self.objects.version
                deployments = self.objects.list("Deployment")[0]
            for d in deployments:
                try:
                    self._settle(d)
                except Refused:
                    pass    # deleted or changed meanwhile: looked at again

    def _settle(self, d):
        name, namespace = d["metadata"]["name"], d["metadata"]["namespace"]
        stuck = self.stuck(d)
        template = d["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        with self.objects.changed:
            if self.objects.get("Deployment", name, namespace)["metadata"]["generation"] != d["metadata"]["generation"]:
                return
            pods = self.objects.list("Pod", namespace, lambda o: any(
                r["uid"] == d["metadata"]["uid"] for r in o["metadata"].get("ownerReferences", [])))[0]
            new = [p for p in pods if p["metadata"]["labels"].get("pod-template-hash") == digest]
            old = [p for p in pods if p not in new]
            wanted = d["spec"]["replicas"]
            if not stuck or wanted == 0:
                gone, old = old, []
            else:
                gone = []    # what serves stays until what follows is ready
            for p in new[wanted:] + gone:
                self.objects.delete("Pod", p["metadata"]["name"], namespace)
            new = new[:wanted]
            new += [self._make(d, template, digest, namespace) for _ in range(wanted - len(new))]
            if not stuck:
                for p in new:
                    if p["status"].get("phase") != "Running":
                        self.objects.edit("Pod", p["metadata"]["name"], {"status": {
                            "phase": "Running", "conditions": [condition("Ready", "True", "Ready")]}}, namespace)
            ready = len(old) if stuck else wanted
            reason = "ProgressDeadlineExceeded" if stuck == "exceeded" else \
                "ReplicaSetUpdated" if stuck else "NewReplicaSetAvailable"
            status = {"observedGeneration": d["metadata"]["generation"], "replicas": len(old) + len(new),
                      "updatedReplicas": len(new), "readyReplicas": ready, "availableReplicas": ready,
                      "unavailableReplicas": (len(old) + len(new) - ready) or None}
            known = d.get("status", {})
            reasons = [c["reason"] for c in known.get("conditions", [])]
            if reasons != [reason] or any(known.get(k) != v for k, v in status.items()):
                self.objects.edit("Deployment", name, {"status": status | {"conditions": [condition(
                    "Progressing", "False" if stuck == "exceeded" else "True", reason)]}}, namespace)
        if not stuck and self._told.get((namespace, name)) != (digest, wanted):
            self._told[namespace, name] = (digest, wanted)
            self.rolled(d)

    def _make(self, d, template, digest, namespace):
        nodes = [n["metadata"]["name"] for n in self.objects.list("Node")[0] if not n.get("spec", {}).get("unschedulable")]
        at = self.objects.version
        return self.objects.create(merge_patch(template, {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"generateName": f"{d['metadata']['name']}-{digest}-", "labels": {"pod-template-hash": digest},
                         "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "controller": True,
                                              "name": d["metadata"]["name"], "uid": d["metadata"]["uid"]}]},
            "spec": {"nodeName": nodes[at % len(nodes)]} if nodes else {}}), namespace)
