#!/bin/bash
# httpx 0.23.3 with httpcore 0.16.3 and h2 4.1.0 (Debian 12): after one GOAWAY of HTTP/2 a client fails all its requests, for ever.
#
# A load balancer that stops, is upgraded, or has answered enough requests tells clients of HTTP/2 by GOAWAY (RFC 9113,
# section 6.8): streams up to the last id are answered, what comes next goes to a new connection. Expected of a client with a
# pool: it opens one. Seen: the request at which the GOAWAY is read fails, although its answer has come whole, and so do all that
# follow: the pool keeps handing out the connection that has ended, and never opens another one. It does not matter
# how gentle the server is: one GOAWAY with the last id, or first one with 2^31-1 and a PING, or one with 2^31-1 alone. A connection
# closed without a word costs this client one request now and then, and it goes on by a new one.
# So: while such clients are about, offer them HTTP/1.1 only, or expect that they are restarted after each rollout.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Downloads httpx and what it needs of Debian 12 with
# apt-get if they are not there; touches nothing but a temporary folder, listens on 127.0.0.1.
set -euo pipefail
folder=$(mktemp -d)
server=
finish() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$folder"
}
trap finish EXIT
cd "$folder"

python=/usr/bin/python3
if ! $python -c 'import httpx, h2' 2>/dev/null; then
	apt-get download -qq python3-httpx python3-httpcore python3-h2 python3-hpack python3-hyperframe python3-h11 \
		python3-anyio python3-sniffio python3-certifi python3-idna python3-rfc3986 >/dev/null || exit 2
	for package in *.deb; do dpkg -x "$package" .; done
	export PYTHONPATH=$PWD/usr/lib/python3/dist-packages
fi
$python -c 'import httpx, httpcore, h2
print("httpx", httpx.__version__, "httpcore", httpcore.__version__, "h2", h2.__version__)' || exit 2

# Answers each request of a connection, and says goodbye at the third, as its argument says.
cat >server.py <<'P'
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events


def goaway(last):
    return bytes([0, 0, 8, 7, 0, 0, 0, 0, 0]) + last.to_bytes(4, "big") + bytes(4)


def end(conn):
    conn.shutdown(socket.SHUT_WR)
    while conn.recv(65536):
        pass


def serve(conn, way):
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    c.initiate_connection()
    conn.sendall(c.data_to_send())
    requests = last = 0
    while data := conn.recv(65536):
        for e in c.receive_data(data):
            if isinstance(e, h2.events.RequestReceived):
                requests, last = requests + 1, e.stream_id
                c.send_headers(last, [(":status", "200"), ("content-length", "2")])
                c.send_data(last, b"ok", end_stream=True)
            elif isinstance(e, h2.events.PingAckReceived):
                conn.sendall(c.data_to_send() + goaway(last))
                return end(conn)
        conn.sendall(c.data_to_send())
        if requests == 3 and way != "gentle":
            conn.sendall(goaway(last) if way == "goaway" else b"")
            return end(conn)
        if requests == 3:
            conn.sendall(goaway(2**31 - 1))
            c.ping(b"goodbye!")
            conn.sendall(c.data_to_send())
            requests += 1


def guarded(conn, way):
    try:
        serve(conn, way)
    except OSError:
        pass


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=guarded, args=(listener.accept()[0], sys.argv[1]), daemon=True).start()
P

# Twenty requests by one client, one after the other: how many of the last ten were answered.
cat >client.py <<'P'
import sys
import time

import httpx

client, fine, said = httpx.Client(http1=False, http2=True), [], ""
for i in range(20):
    try:
        fine.append(client.get(f"http://127.0.0.1:{sys.argv[1]}/").status_code == 200)
    except httpx.HTTPError as e:
        fine.append(False)
        said = type(e).__name__
    time.sleep(0.05)
print(sum(fine[10:]), said or "-")
P

try() {	# WAY
	$python server.py "$1" >port 2>/dev/null &
	server=$!
	for _ in $(seq 100); do [ ! -s port ] || break; sleep 0.1; done
	$python client.py "$(cat port)"
	kill "$server"
	wait "$server" 2>/dev/null || true
	server=
	rm -f port
}

closed=$(try close) goaway=$(try goaway) gentle=$(try gentle)
echo "the connection is closed without a word:      of the last ten requests ${closed% *} were answered (${closed#* })"
echo "GOAWAY with the last id:                      ${goaway% *} (${goaway#* })"
echo "GOAWAY with 2^31-1, PING, then the last id:   ${gentle% *} (${gentle#* })"
[ "${closed% *}" -ge 5 ] && [ "${goaway% *}" = 0 ] && [ "${gentle% *}" = 0 ]
