"""A real Prometheus and a real Alertmanager on the samples of conf/, made
quick: what waits minutes there waits a fraction of a second here, and looks
back over seconds.  Everything else, each expression and route, is theirs.
"""
import http.server
import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import yaml

from . import scale
from .samples import CONF, replace

# Short-lived, and of little memory: Go need not look for what is garbage so often.
ENV = os.environ | {"GOGC": "400"}
# Not so short that a busy machine scrapes less than twice within it.
WINDOW = "8s" if scale.slow() == 1 else "30s"


def quick_rules(text, window=WINDOW):
    """alerts.yml with short waits and windows; what waits for minutes still comes after
    what waits for less, so that what inhibits is there before what it inhibits.  The quarter
    of an hour before a flip was before Prometheus began."""
    text = re.sub(r"(?m)^( +for:) (\d+)([smh])$",
                  lambda m: f"{m[1]} {'3s' if m[3] == 'h' or m[3] == 'm' and int(m[2]) >= 5 else '200ms'}", text)
    return re.sub(r"offset (?!15m)\S+?([\s)])", rf"offset {window}\1", re.sub(r"\[\d+[smhd]\]", f"[{window}]", text))


def alerts():
    """{name: rule} of alerts.yml."""
    groups = yaml.safe_load((CONF / "alerts.yml").read_text())["groups"]
    return {r["alert"]: r for g in groups for r in g["rules"]}


class Hook:
    """The receivers: .got is every alert that arrived, with "receiver"."""

    def __init__(self, port):
        self.got = got = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                got.extend(a | {"receiver": self.path[1:]} for a in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class StandIn:
    """Serves a page of metrics on port: for what no real teald can be made to
    say in a test.  .page is the text."""

    def __init__(self, port, page):
        self.page = page
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = stand_in.page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.address = f"127.0.0.1:{port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Server:
    """One of the two programs."""

    def __init__(self, folder, ports, name, *options):
        self.port = ports.hold()
        self.address = f"127.0.0.1:{self.port}"
        self._log = open(folder / f"{name}.log", "wb")
        self.process = subprocess.Popen([name, f"--web.listen-address={self.address}", *options],
                                        stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=ENV)
        self._path = folder / f"{name}.log"
        scale.until(self._ready, f"{name} is ready", every=0.05)

    def _ready(self):
        assert self.process.poll() is None, self._path.read_text()[-3000:]
        try:
            return self.get("/-/ready", raw=True) is not None
        except OSError:
            return False

    def get(self, path, raw=False, **query):
        url = f"http://{self.address}{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
        with urllib.request.urlopen(url, timeout=scale.patience()) as r:
            body = r.read()
        return body if raw else json.loads(body)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(scale.patience())
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


class Stack:
    """.prometheus, .alertmanager, .hook; targets: observe addresses, added by
    watch() while it runs, through the sample's own file_sd."""

    def __init__(self, folder, ports, closing, window=WINDOW, every="250ms"):
        self.folder = folder
        folder.mkdir()
        (folder / "teal.d").mkdir()
        (folder / "alerts.yml").write_text(quick_rules((CONF / "alerts.yml").read_text(), window))
        self.targets = []
        hook = ports.hold()
        self.hook = closing.add(Hook(hook))
        (folder / "alertmanager.yml").write_text(replace((CONF / "alertmanager.yml").read_text(), [
            ("127.0.0.1:9095", f"127.0.0.1:{hook}"), ("group_wait: 10s", "group_wait: 100ms"),
            ("group_interval: 5m", "group_interval: 500ms")]))
        self.alertmanager = closing.add(Server(
            folder, ports, "prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/am", "--cluster.listen-address="))
        (folder / "prometheus.yml").write_text(replace((CONF / "prometheus.yml").read_text(), [
            ("127.0.0.1:9093", self.alertmanager.address), ("scrape_interval: 15s", f"scrape_interval: {every}"),
            ("evaluation_interval: 15s", f"evaluation_interval: {every}"),
            ('["10.0.0.2:9180", "10.0.0.3:9180"]', "[]"),
            ('files: ["teal.d/*.yml"]', f'files: ["{folder}/teal.d/*.yml"]\n        refresh_interval: 500ms')]))
        self.prometheus = closing.add(Server(
            folder, ports, "prometheus", f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb"))

    def watch(self, fleet, *addresses):
        self.targets.append({"targets": ["%s:%d" % a if isinstance(a, tuple) else a for a in addresses],
                             "labels": {"fleet": fleet}})
        new = self.folder / "teal.d" / "targets.new"
        new.write_text(json.dumps(self.targets))
        new.rename(self.folder / "teal.d" / "targets.yml")

    def query(self, expr):
        """{frozenset of labels: value} now."""
        try:
            r = self.prometheus.get("/api/v1/query", query=expr)
        except urllib.error.HTTPError as e:
            raise AssertionError(f"{expr}: {e.read().decode()}") from None
        return {frozenset(s["metric"].items()): float(s["value"][1]) for s in r["data"]["result"]}

    def active(self):
        """Alerts the Alertmanager holds now."""
        return [a for a in self.alertmanager.get("/api/v2/alerts") if a["status"]["state"] != "unprocessed"]

    def said(self):
        """Names of the alerts that are told now: what others inhibit is not."""
        return {a["labels"]["alertname"] for a in self.active() if not a["status"]["inhibitedBy"]}

    def wait_for(self, *names, **labels):
        """Until the Alertmanager has had all of these, with these labels."""
        missing = set(names)

        def had():
            missing.difference_update(a["labels"]["alertname"] for a in self.active()
                                      if labels.items() <= a["labels"].items())
            return not missing
        try:
            # Through three programs, each of which looks again and again.
            scale.until(had, "alerts", timeout=3 * scale.patience(), every=0.3)
        except AssertionError:
            raise AssertionError(f"never came: {missing}; firing: {[a['labels'] for a in self.active()]}") from None
