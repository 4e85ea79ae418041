"""A service in a cluster, as a team has it: a namespace for each color with a Deployment in it, whose pods stand for a
real backend; the real kubectl, the API stand-in."""
import http.server
import threading

from . import ports as ports_
from .certificates import Authority
from .kube_api import KubeApi
from .kube_controller import Controller
from .kubectl import Kubectl

COLORS = ("green", "blue")


class App:
    """A color's backend: says its version; 503 without one; /checkout fails where the version is a bad one."""

    def __init__(self, port):
        self.version, self.address, self.asked = "v0", f"127.0.0.1:{port}", []
        app = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                version = app.version
                app.asked.append((self.path, dict(self.headers)))
                bad = self.path == "/checkout" and (version or "").startswith("broken")
                body = ("" if (version or "").startswith("dumb") else version or "").encode() + b"\n"
                self.send_response(503 if version is None else 404 if bad else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *unused):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def server_bind(self):
                self.socket.close()
                self.socket = ports_.listener(*self.server_address)

            def server_activate(self):
                pass    # it listens
        self.server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def deployment(namespace, version="v0", replicas=2, name="shop"):
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": f"registry.example/shop:{version}"}]}}}}


class ColorSite:
    """.apps by color; .api, .controller, .kubectl, .kubeconfig."""

    def __init__(self, folder, ports, closing):
        self.apps = {c: closing.add(App(ports.hold())) for c in COLORS}
        self.api = closing.add(KubeApi(ports.hold(), Authority(folder)))
        self.api.tokens = {"t0ken"}
        self.controller = closing.add(Controller(self.api.objects))
        self.controller.rolled = self._rolled
        for c in COLORS:
            self.api.objects.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"shop-{c}"}})
            self.api.objects.create(deployment(f"shop-{c}"))
        self.kubeconfig = self.api.kubeconfig(folder / "kubeconfig", "t0ken")
        self.kubectl = Kubectl(folder, self.kubeconfig)

    def _rolled(self, d):
        app = self.apps[d["metadata"]["namespace"].removeprefix("shop-")]
        image = d["spec"]["template"]["spec"]["containers"][0]["image"]
        app.version = image.rsplit(":", 1)[1] if d["spec"]["replicas"] else None

    def versions(self):
        """What clients of each color get."""
        return {c: a.version for c, a in self.apps.items()}

    def deployed(self, color):
        """(version, replicas) that the cluster is told to run."""
        spec = self.api.objects.get("Deployment", "shop", f"shop-{color}")["spec"]
        return spec["template"]["spec"]["containers"][0]["image"].rsplit(":", 1)[1], spec["replicas"]

    def annotations(self):
        return [tuple(self.api.objects.get("Namespace", f"shop-{c}")["metadata"].get("annotations", {}).get(k)
                      for k in ("teal/active", "teal/epoch")) for c in COLORS]

    def left(self):
        """What is kept in the cluster for another job, by namespace."""
        return [s["metadata"]["namespace"] for s in self.api.objects.list("Secret")[0]]
