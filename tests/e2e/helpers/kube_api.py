"""A Kubernetes API server to test clients with, written from the API's documentation and held to what the real kubectl
accepts (tests/e2e/test_kube_api.py): objects of the types of kube_objects.TYPES with versions, lists in pages, watches
with bookmarks, patches, the subresources status, scale and eviction, dry runs and tables, over HTTPS with bearer tokens.

    api = KubeApi(ports.hold(), authority)        # closing.add(api): it ends with the test
    api.objects.create({...})                     # as the rest of the cluster changes things: kube_objects.Objects
    api.tokens = {"t0ken"}                        # those that are taken; others get 401
    fault = api.fault("reset", verb="watch", times=1)
    until(lambda: fault.hits, "a watch was cut"); fault.lift()

Not there: admission, defaults and checks of fields (but for names), quotas, garbage collection by anything but owners,
priority and fairness, CBOR and protobuf. Server-side apply merges, and knows no owners of fields."""
import http.server
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse

import yaml

from . import backends, ports, scale
from .kube_objects import PATCHES, Objects, Refused, gone, merge_patch, selector
from .kube_words import discovery, list_of, scale_of, table

FAULTS = ("reset", "hang", "slow", "truncated", "rubbish", "gone-event", "end", "endless")


class Fault:
    """What happens to requests instead of an answer, up to `times` of them, after the first `after`; .hits: to how many it
    has."""

    def __init__(self, how, times, after, **match):
        assert isinstance(how, int) or how in FAULTS, how
        self.how, self.times, self.after, self.match, self.hits = how, times, after, match, 0
        self.lifted = threading.Event()

    def takes(self, request):
        if self.lifted.is_set() or self.times is not None and self.hits >= self.times:
            return False
        if not all(re.search(want, getattr(request, word)) for word, want in self.match.items() if want):
            return False
        self.after -= 1
        return self.after < 0

    def lift(self):
        self.lifted.set()


class Ended(Exception):
    """The connection ends here, without (the rest of) an answer."""


class KubeApi:
    """.url, .ca (None without an authority); .objects: may be another server's, for two of one cluster.
    .requests: what was asked, as (verb, path with query).  .bookmarks: seconds between two.
    .watch_list False: sendInitialEvents is answered 422, as by servers without it."""

    def __init__(self, port, authority=None, *, objects=None, names=("127.0.0.1",), host="127.0.0.1"):
        self.objects = objects or Objects()
        if objects is None:
            for name in ("default", "kube-system"):
                self.objects.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.host, self.port, self.ca = host, port, authority and str(authority.pem)
        self.tokens, self.requests, self.faults = set(), [], []
        self.bookmarks, self.watch_list = 60.0, True
        self._context, self._server, self._connections, self._epoch = None, None, set(), 0
        if authority:
            self.show(authority.issue("kube-api", *names))
        self.url = f"{'https' if authority else 'http'}://{host}:{port}"
        self.up()

    # ---- its life ----

    def show(self, files, client_ca=None):
        """Another certificate for those that connect from now on; with client_ca, its certificates are as good as a token."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["cert"], files["key"])
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        self._context = context

    def up(self):
        api = self

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def server_bind(self):
                self.socket.close()
                self.socket = ports.listener(*self.server_address)

            def server_activate(self):
                pass    # it listens

            def finish_request(self, request, client_address):
                if api._context:    # in the connection's own thread: a slow handshake is its own
                    request.settimeout(scale.patience())
                    request = api._context.wrap_socket(request, server_side=True)
                    request.settimeout(None)
                with api.objects.changed:
                    api._connections.add(request)
                try:
                    Handler(request, client_address, self, api)
                finally:
                    with api.objects.changed:
                        api._connections.discard(request)
                    request.close()

            def handle_error(self, request, client_address):
                pass    # a client that gives up
        self._server = Server((self.host, self.port), None)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self):
        """Refuses connections, and cuts those there are."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.cut()

    def cut(self):
        with self.objects.changed:
            for c in self._connections:
                try:
                    c.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self.end_watches()

    def close(self):
        for f in self.faults:
            f.lift()
        self.down()

    # ---- what a test does to it ----

    def fault(self, how, times=None, *, after=0, verb=None, path=None):
        """how: a status, "reset" (no answer), "hang" (until it is lifted, then an answer), "slow" (byte by byte, until it is
        lifted), "truncated" (half an answer),
        "rubbish" (no JSON), "gone-event" (a watch that says 410), "end" (a watch that ends at once), "endless" (a list of
        which each page says that another one follows).
        verb: get, list, watch, create, update, patch, delete; path: with its query; both regular expressions."""
        f = Fault(how, times, after, verb=verb, path=path)
        self.faults.append(f)
        return f

    def end_watches(self):
        """All watches end, as at their timeout."""
        with self.objects.changed:
            self._epoch += 1
            self.objects.changed.notify_all()

    def asked(self, verb=".", path="."):
        """The requests so far whose verb and path match."""
        return [r for r in list(self.requests) if re.search(verb, r[0]) and re.search(path, r[1])]

    def kubeconfig(self, path, token=None, namespace="default"):
        """Writes a file for KUBECONFIG; returns its path."""
        cluster = {"server": self.url} | ({"certificate-authority": self.ca} if self.ca else {})
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token} if token else {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}]}))
        path.chmod(0o600)
        return str(path)


class Drip:
    """A connection to write to, byte by byte while there is that fault."""

    def __init__(self, wfile, fault):
        self._wfile, self._fault = wfile, fault

    def write(self, data):
        while data and not self._fault.lifted.wait(0.01):
            self._wfile.write(data[:1])
            data = data[1:]
        self._wfile.write(data)

    def __getattr__(self, name):
        return getattr(self._wfile, name)


class Handler(http.server.BaseHTTPRequestHandler):
    """A connection."""
    protocol_version = "HTTP/1.1"

    def __init__(self, request, client_address, server, api):
        self.api, self.objects = api, api.objects
        super().__init__(request, client_address, server)

    def log_message(self, *args):
        pass

    # ---- from a request to an answer ----

    def handle_any(self):
        try:
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer()
        except (Ended, OSError):
            self.close_connection = True
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        self.parse_path(url.path)
        self.api.requests.append((self.verb, self.path))
        self.how = self.meet_fault()
        try:
            if self.api.tokens and self.headers.get("Authorization", "")[7:] not in self.api.tokens and not self.certificate:
                raise Refused(401, "Unauthorized", "Unauthorized")
            if isinstance(self.how, int):
                raise Refused(self.how, {410: "Expired", 429: "TooManyRequests", 401: "Unauthorized"}.get(
                    self.how, "InternalError"), "a fault of the test", retryAfterSeconds=1)
            document = discovery(url.path) if self.kind is None else self.obey()
            if document is None and self.kind is None:
                raise Refused(404, "NotFound", "the server could not find the requested resource")
            if document is not None:    # a watch has been told already
                self.say(201 if self.verb == "create" else 200, document)
        except Refused as e:
            self.say(e.code, e.status)

    @property
    def certificate(self):
        return isinstance(self.connection, ssl.SSLSocket) and self.connection.getpeercert()

    def meet_fault(self):
        with self.objects.changed:
            fault = next((f for f in self.api.faults if f.takes(self)), None)
            if fault is None:
                return None
            fault.hits += 1
        if fault.how == "hang":
            fault.lifted.wait(2 * scale.patience())
            return None
        if fault.how == "reset":
            backends.reset(self.connection)
            raise Ended
        if fault.how == "slow":
            self.wfile = Drip(self.wfile, fault)
        return fault.how

    def say(self, code, document):
        data = json.dumps(document).encode()
        if self.how == "rubbish":
            data = b"<html>bad gateway</html>\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(data[:len(data) // 2] if self.how == "truncated" else data)
        if self.how == "truncated":
            raise Ended

    # ---- what is asked ----

    def parse_path(self, path):
        """Of /apis/GROUP/VERSION[/namespaces/NS]/PLURAL[/NAME[/SUB]]: .kind, .namespace, .name, .sub, .verb."""
        self.kind = self.name = self.sub = None
        self.namespace, self.verb = "", "get"
        parts = path.strip("/").split("/")
        head = {"api": 2, "apis": 3}.get(parts[0], 99)
        if len(parts) > head:
            group, version = ("", parts[1]) if parts[0] == "api" else parts[1:3]
            rest = parts[head:]
            if rest[0] == "namespaces" and len(rest) > 2:
                self.namespace, rest = rest[1], rest[2:]
            try:
                self.kind = self.objects.find_type(group, version, rest[0])
            except Refused:
                return
            self.name, self.sub = (rest[1:] + [None, None])[:2]
        if self.kind is not None:
            self.verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(
                self.command, "get" if self.name else "watch" if self.query.get("watch") in ("1", "true") else "list")

    @property
    def dry(self):
        return self.query.get("dryRun") == "All"

    def obey(self):
        if self.verb == "watch":
            return self.watch()
        if self.verb == "list":
            found, version, more, left = self.objects.page(self.kind, self.namespace or None, self.selected(), int(
                self.query.get("limit") or 0), None if self.how == "endless" else self.query.get("continue"))
            if self.as_table:
                answer = table(found, version, self.full)
                answer["metadata"].update({"continue": more} if more else {})
                return answer
            return list_of(self.kind, found, version, "more" if self.how == "endless" else more, left)
        if self.verb == "get":
            obj = self.objects.get(self.kind, self.name, self.namespace)
            return scale_of(obj) if self.sub == "scale" else table([obj], obj["metadata"]["resourceVersion"], self.full) \
                if self.as_table else obj
        if self.verb == "create" and self.sub == "eviction":
            self.objects.delete(self.kind, self.name, self.namespace, self.dry)
            return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        if self.verb == "create":
            return self.objects.create(self.read(), self.namespace, self.dry)
        if self.verb == "delete":
            return self.objects.delete(self.kind, self.name, self.namespace, self.dry)
        return self.patch() if self.verb == "patch" else self.change(lambda old: self.read())

    def read(self):
        try:
            return yaml.safe_load(self.body) if "yaml" in self.headers.get("Content-Type", "") else json.loads(self.body)
        except (ValueError, yaml.YAMLError):
            raise Refused(400, "BadRequest", "the body is no object") from None

    def patch(self):
        kind = self.headers.get("Content-Type", "").split(";")[0]
        if kind not in PATCHES:
            raise Refused(415, "UnsupportedMediaType", f"patches are of {', '.join(PATCHES)}")
        body = self.read()
        if kind.startswith("application/apply"):
            with self.objects.changed:
                if not any(o["metadata"]["name"] == self.name for o in self.objects.list(self.kind, self.namespace)[0]):
                    return self.objects.create(body, self.namespace, self.dry)
        return self.change(lambda old: PATCHES[kind](old, body))

    def change(self, make):
        if self.sub != "scale":
            return self.objects.change(self.kind, self.name, self.namespace, make, self.sub, self.dry)

        def scale_to(old):
            wanted = make(scale_of(old))["spec"]["replicas"]
            return merge_patch(old, {"spec": {"replicas": wanted}})
        return scale_of(self.objects.change(self.kind, self.name, self.namespace, scale_to, None, self.dry))

    @property
    def as_table(self):
        return "as=Table" in self.headers.get("Accept", "")

    @property
    def full(self):
        return self.query.get("includeObject") == "Object"

    def selected(self):
        fields = self.query.get("fieldSelector")
        if self.name:
            fields = ",".join(filter(None, [fields, f"metadata.name={self.name}"]))
        return selector(self.query.get("labelSelector"), fields)

    # ---- watches ----

    def watch(self):
        """Tells what changes, a line each, until the client, the timeout or a test ends it."""
        matches, initial = self.selected(), self.query.get("sendInitialEvents") == "true"
        bookmarks = self.query.get("allowWatchBookmarks") == "true"
        if "sendInitialEvents" in self.query and (not self.api.watch_list
                                                  or self.query.get("resourceVersionMatch") != "NotOlderThan"):
            raise Refused(422, "Invalid", "ListOptions.meta.k8s.io is invalid: sendInitialEvents: Forbidden")
        version = self.query.get("resourceVersion") or "0"
        if not version.isdigit():
            raise Refused(400, "BadRequest", f"Invalid value: {version!r}")
        timeout = float(self.query.get("timeoutSeconds") or 3600)
        epoch, end = self.api._epoch, time.monotonic() + timeout
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.first = True
        if self.how == "gone-event":
            self.tell("ERROR", gone("too old resource version: 1 (2)").status)
        elif self.how != "end":
            self.follow(int(version), matches, initial, bookmarks, lambda: self.api._epoch == epoch, end)
        self.wfile.write(b"0\r\n\r\n")

    def follow(self, version, matches, initial, bookmarks, goes_on, end):
        if version == 0 or initial:
            found, version = self.objects.list(self.kind, self.namespace or None, matches)
            for obj in found:
                self.tell("ADDED", obj)
            if initial:
                self.bookmark(version, {"k8s.io/initial-events-end": "true"})
        marked = time.monotonic()
        while goes_on() and end - time.monotonic() > 0:
            with self.objects.changed:
                try:
                    news = self.objects.since(version)
                except Refused as e:
                    return self.tell("ERROR", e.status)
                if not news and goes_on():
                    self.objects.changed.wait(min(0.25, max(0.0, end - time.monotonic())))
                    news = self.objects.since(version) if version >= self.objects.compacted else []
            for change in news:
                version = change.version
                self.tell_change(change, matches)
            if bookmarks and time.monotonic() - marked >= self.api.bookmarks:
                marked = time.monotonic()
                self.bookmark(version)

    def tell_change(self, change, matches):
        if change.kind is not self.kind or self.namespace and self.namespace != (
                change.new or change.old)["metadata"].get("namespace"):
            return
        was, is_now = (o is not None and matches(o) for o in (change.old, change.new))
        if is_now:
            self.tell("MODIFIED" if was else "ADDED", change.new)
        elif was:
            self.tell("DELETED", merge_patch(change.old, {"metadata": {"resourceVersion": str(change.version)}}))

    def bookmark(self, version, annotations=None):
        obj = {"kind": self.kind.kind, "apiVersion": f"{self.kind.group}/{self.kind.version}".lstrip("/"),
               "metadata": {"resourceVersion": str(version)}}
        if annotations:
            obj["metadata"]["annotations"] = annotations
        self.tell("BOOKMARK", obj)

    def tell(self, word, obj):
        if self.as_table and word != "ERROR":
            obj = table([obj], obj["metadata"]["resourceVersion"], self.full, self.first)
            self.first = False
        line = json.dumps({"type": word, "object": obj}).encode() + b"\n"
        if self.how == "rubbish":
            line = b"}{\n"
        if self.how == "truncated":
            line = line[:len(line) // 2]
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if self.how == "truncated":
            raise Ended
