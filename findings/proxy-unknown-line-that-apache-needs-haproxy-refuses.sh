#!/bin/bash
# Apache 2.4 (mod_remoteip) and HAProxy 2.6.12 (accept-proxy), both of Debian 12: no form of the line PROXY UNKNOWN is
# taken by both.
#
# The text header of the PROXY protocol has UNKNOWN for a connection whose addresses the sender cannot or does not want to
# tell: one that came by a Unix socket, a health check of the balancer's own. The specification (section 2.1) lets the sender end
# the line right after the word, and has the receiver ignore whatever stands between the word and CRLF. Expected: both forms are taken
# by every receiver. Seen: Apache takes the line with (ignored) addresses and closes the connection for the short one without
# an answer; HAProxy takes the short one and resets the connection for the line with addresses; nginx takes both. So a
# balancer that says UNKNOWN has no form for all its backends: half of them are "down" or lose those clients.
# What all three take is a binary header with the command LOCAL, or a text header with real addresses (the balancer's own
# for its checks).
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Downloads apache2-bin, haproxy and nginx of
# Debian 12 with apt-get where they are not installed; touches nothing but a temporary folder, listens on 127.0.0.1.
set -euo pipefail
folder=$(mktemp -d)
pids=()
finish() {
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$folder"
}
trap finish EXIT
chmod 755 "$folder"
cd "$folder"

PATH=$PATH:/usr/sbin:$folder/usr/sbin
need() {	# PROGRAM PACKAGE[=VERSION]…
	local program=$1 package
	shift
	if command -v "$program" >/dev/null; then return; fi
	apt-get download -qq "$@" >/dev/null 2>&1 || apt-get download -qq "${@%=*}" >/dev/null || exit 2
	for package in ./*.deb; do dpkg -x "$package" .; rm "$package"; done
}
need apache2 apache2-bin=2.4.71-1~deb12u1 libapr1 libaprutil1 libpcre2-8-0 libexpat1 libuuid1 libcrypt1
need haproxy haproxy=2.6.12-1+deb12u4 liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 libpcre2-8-0 libssl3 \
	libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblzma5 libzstd1 liblz4-1 libcrypt1
need nginx nginx=1.22.1-9+deb12u11
lib=$folder/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$lib:$folder/lib/$(uname -m)-linux-gnu
modules=/usr/lib/apache2/modules
[ -d "$folder$modules" ] && modules=$folder$modules
apache2 -v | sed -n 1p
haproxy -v | sed -n 1p
nginx -v 2>&1

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
apache=$(port) haproxy=$(port) nginx=$(port)

mkdir pages
echo hello >pages/index.html
cat >apache.conf <<C
ServerRoot $folder
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule dir_module $modules/mod_dir.so
LoadModule remoteip_module $modules/mod_remoteip.so
ServerName example.net
PidFile $folder/apache.pid
ErrorLog $folder/apache.log
Listen 127.0.0.1:$apache
DocumentRoot $folder/pages
DirectoryIndex index.html
RemoteIPProxyProtocol On
C
cat >haproxy.conf <<C
defaults
	mode http
	timeout client 9s
	timeout connect 9s
	timeout server 9s
frontend f
	bind 127.0.0.1:$haproxy accept-proxy
	http-request return status 200 content-type text/plain string hello
C
cat >nginx.conf <<C
daemon off;
pid $folder/nginx.pid;
error_log $folder/nginx.log;
events {}
http {
	access_log off;
	client_body_temp_path $folder/a; proxy_temp_path $folder/b; fastcgi_temp_path $folder/c;
	uwsgi_temp_path $folder/d; scgi_temp_path $folder/e;
	server { listen 127.0.0.1:$nginx proxy_protocol; location / { return 200 hello; } }
}
C
apache2 -DFOREGROUND -f "$folder/apache.conf" >/dev/null 2>&1 & pids+=($!)
haproxy -f haproxy.conf & pids+=($!)
nginx -c "$folder/nginx.conf" -e "$folder/nginx.log" & pids+=($!)

timeout 60 python3 - "$apache" "$haproxy" "$nginx" <<'P'
import socket
import struct
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: example.net\r\nConnection: close\r\n\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEADERS = {
    "text, TCP4 with addresses": b"PROXY TCP4 203.0.113.5 192.0.2.1 1234 80\r\n",
    "text, UNKNOWN alone": b"PROXY UNKNOWN\r\n",
    "text, UNKNOWN with addresses": b"PROXY UNKNOWN 2001:db8::5 2001:db8::1 1234 80\r\n",
    "binary, LOCAL": SIGNATURE + b"\x20\x00" + struct.pack("!H", 0),
}
EXPECTED = {"apache": [True, False, True, True], "haproxy": [True, True, False, True], "nginx": [True] * 4}


def taken(port, header):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.settimeout(10)
            s.sendall(header + REQUEST)
            return s.recv(4096).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


same = True
for name, port in zip(EXPECTED, map(int, sys.argv[1:])):
    first = next(iter(HEADERS.values()))
    for _ in range(100):
        if taken(port, first):
            break
        time.sleep(0.1)
    else:
        print(f"{name} does not answer")
        sys.exit(2)
    seen = [taken(port, header) for header in HEADERS.values()]
    for what, is_taken in zip(HEADERS, seen):
        print(f"{name:8} {what:30} {'taken' if is_taken else 'refused'}")
    same &= seen == EXPECTED[name]
sys.exit(not same)
P
