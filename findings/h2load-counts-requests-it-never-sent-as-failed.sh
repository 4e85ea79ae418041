#!/bin/bash
# h2load 1.52.0 (nghttp2-client of Debian 12): after a graceful GOAWAY it opens no other connection, and counts all
# requests that it has not sent yet as failed.
#
# A server may end any HTTP/2 connection with GOAWAY and NO_ERROR (RFC 9113, section 6.8): after so many requests
# (nginx: keepalive_requests), when it reloads, when a load balancer drains. Every request up to the last stream
# is answered; the client opens another connection for the rest. Expected: h2load does that, as it does for
# HTTP/1.1 when an answer closes the connection. Seen: with --h1 all of 1,000 requests succeed over ten connections;
# over HTTP/2 the same server, with the same limit of 100 requests a connection, gives "1000 total, 100 succeeded, 900
# failed, 900 errored", though the server's log has 100 requests and 100 answers of 200, and no other request was ever on
# the wire. With -D the connection counts as busy until the time is over, and the rate falls to a small part. So
# a measurement of a drain or a reload by h2load shows losses where nothing was lost, and a comparison of two servers shows
# one limit. "failed" minus what the server's own log lacks is the loss; or give h2load one connection per drain.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Downloads nghttp2-client 1.52.0 and nginx 1.22.1
# of Debian 12 with apt-get where they are not installed; touches nothing but a temporary folder.
set -euo pipefail
folder=$(mktemp -d)
pid=
finish() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$folder"
}
trap finish EXIT
chmod 755 "$folder"
cd "$folder"

PATH=$PATH:/usr/sbin:$folder/usr/sbin:$folder/usr/bin
need() {	# PROGRAM PACKAGE[=VERSION]…
	local program=$1 package
	shift
	if command -v "$program" >/dev/null; then return; fi
	apt-get download -qq "$@" >/dev/null 2>&1 || apt-get download -qq "${@%=*}" >/dev/null || exit 2
	for package in ./*.deb; do dpkg -x "$package" .; rm "$package"; done
}
need h2load nghttp2-client=1.52.0-1+deb12u3 libnghttp2-14 libev4 libc-ares2 libjansson4 libxml2 libicu72
need nginx nginx=1.22.1-9+deb12u11
export LD_LIBRARY_PATH=$folder/usr/lib/$(uname -m)-linux-gnu
h2load --version
nginx -v

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
plain=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >conf <<C
daemon off;
worker_processes 1;
pid $folder/pid;
error_log $folder/errors;
events {}
http {
	access_log $folder/access;
	client_body_temp_path $folder/a; proxy_temp_path $folder/b; fastcgi_temp_path $folder/c;
	uwsgi_temp_path $folder/d; scgi_temp_path $folder/e;
	keepalive_requests 100;
	server {
		listen 127.0.0.1:$port http2;
		listen 127.0.0.1:$plain;
		location / { return 200 x; }
	}
}
C
nginx -c "$folder/conf" -e "$folder/errors" &
pid=$!
for _ in $(seq 100); do
	[ -s pid ] && break
	sleep 0.1
done

ask() { h2load -n 1000 -c 1 "$@" | grep '^requests:'; }
: >access
one=$(ask --h1 "http://127.0.0.1:$plain/")
echo "HTTP/1.1: $one"
for _ in $(seq 100); do [ "$(wc -l <access)" -ge 1000 ] && break; sleep 0.1; done
[ "$(wc -l <access)" = 1000 ]
: >access
two=$(ask -m 1 "http://127.0.0.1:$port/")
echo "HTTP/2:   $two"
kill "$pid"; wait "$pid" || true; pid=
answered=$(grep -c '" 200 ' access)
echo "the server's log has $(wc -l <access) requests of HTTP/2, $answered of them answered by 200"

case "$one" in *" 1000 succeeded, 0 failed"*) ;; *) exit 1 ;; esac
case "$two" in *" 100 started, 100 done, 100 succeeded, 900 failed, 900 errored"*) ;; *) exit 1 ;; esac
[ "$answered" = 100 ] && [ "$(wc -l <access)" = 100 ]
