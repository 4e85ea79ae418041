#!/bin/bash
# Apache 2.4 (mod_remoteip), lighttpd 1.4.69 (mod_extforward) and nginx 1.22.1, all of Debian 12: each closes connections
# whose binary PROXY header is longer than a small limit of its own: 232, 256 and 1,024 bytes.
#
# The binary PROXY header has a length of 16 bits, and behind the addresses come TLVs: a unique id (up to 128 bytes), the
# server name that the client asked for, the version, cipher, common name and signature of its TLS, a cloud's own ids.
# HAProxy writes them by `proxy-v2-options ssl,cert-cn,ssl-cipher,authority,unique-id,crc32c`. Expected: a receiver that does
# not want TLVs reads past them (the specification says so, section 2.2), whatever their length. Seen: one byte over
# the limit and the connection is closed, without an answer: with IPv4 addresses Apache has room for 204 bytes of TLVs,
# lighttpd for 228, nginx for 996. It works in the tests, and with most clients; who comes with a long server name or a long
# certificate name gets nothing, the backend is healthy, and only its error log (Apache: at level debug) knows.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Downloads apache2-bin, lighttpd and nginx of
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
need lighttpd lighttpd=1.4.69-1 libnettle8 libpcre2-8-0 libxxhash0
need nginx nginx=1.22.1-9+deb12u11
lib=usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH=$folder/$lib:$folder/lib/$(uname -m)-linux-gnu
modules=/usr/lib/apache2/modules
[ -d "$folder$modules" ] && modules=$folder$modules
light=/usr/lib/lighttpd
[ -d "$folder$light" ] && light=$folder$light
apache2 -v | sed -n 1p
lighttpd -v | sed -n 1p
nginx -v 2>&1

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
apache=$(port) lighttpd=$(port) nginx=$(port)

mkdir pages
echo hello >pages/index.html
chmod -R a+rX pages
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
cat >lighttpd.conf <<C
server.document-root = "$folder/pages"
server.bind = "127.0.0.1"
server.port = $lighttpd
server.errorlog = "$folder/lighttpd.log"
server.modules = ("mod_indexfile", "mod_extforward")
index-file.names = ("index.html")
extforward.forwarder = ("127.0.0.1" => "trust")
extforward.hap-PROXY = "enable"
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
lighttpd -D -m "$light" -f lighttpd.conf & pids+=($!)
nginx -c "$folder/nginx.conf" -e "$folder/nginx.log" & pids+=($!)

timeout 60 python3 - "$apache" "$lighttpd" "$nginx" <<'P'
import socket
import struct
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: example.net\r\nConnection: close\r\n\r\n"
FIXED = 28  # signature, command, family, length and two IPv4 addresses with their ports
LIMITS = {"apache": 232, "lighttpd": 256, "nginx": 1024}


def header(tlvs):
    """TCP over IPv4 with TLVs of so many bytes: unique ids of at most 128 bytes, as a chain of balancers adds them."""
    address = socket.inet_aton("203.0.113.5") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 1234, 80)
    rest = b""
    while len(rest) < tlvs:
        size = min(tlvs - len(rest) - 3, 128)
        if 0 < tlvs - len(rest) - 3 - size < 3:  # what remains must hold a TLV's own head
            size -= 3
        rest += struct.pack("!BH", 0xE0, size) + bytes(size)
    assert len(rest) == tlvs
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x11, len(address) + len(rest)) + address + rest


def taken(port, tlvs):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.settimeout(10)
            s.sendall(header(tlvs) + REQUEST)
            return s.recv(4096).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


same = True
for (name, limit), port in zip(LIMITS.items(), map(int, sys.argv[1:])):
    for _ in range(100):
        if taken(port, 0):
            break
        time.sleep(0.1)
    else:
        print(f"{name} does not answer")
        sys.exit(2)
    last, over = (taken(port, size - FIXED) for size in (limit, limit + 1))
    for size, result in (limit, last), (limit + 1, over):
        print(f"{name:8} header of {size:5} bytes, {size - FIXED:4} of TLVs: {'taken' if result else 'refused'}")
    same &= last and not over
sys.exit(not same)
P
