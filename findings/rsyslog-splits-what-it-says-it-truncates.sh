#!/bin/bash
# rsyslog 8.2302.0 (Debian 12): its usual largest message is 8,096 bytes and not 8 KiB, and of a longer one that comes by
# TCP with octet counting the rest becomes a message of its own, though rsyslog says "truncating".
#
# A load balancer sends its access lines as RFC 5424 messages in frames of RFC 6587 (octet counting), none longer than
# the 8,192 bytes that RFC 5425 says receivers should be able to take. The manual gives maxMessageSize as "8k" by default and
# oversizemsg.input.mode as "truncate". Expected: 8,192 bytes pass whole; of a longer message the end is missing. Seen:
# a frame of 8,192 bytes is one too long: rsyslog logs that it is truncating it, writes its first 8,096 bytes, and
# then 95 of the other 96 (one is lost) as a second message, without a head and with another priority. With
# maxMessageSize="8k" written out the limit is 8,192 and the message passes. So: send no more than 8,096 bytes
# unless the receiver's maxMessageSize is known, and cut the line oneself.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Downloads rsyslog 8.2302.0 of Debian 12 with
# apt-get if there is none; touches nothing but a temporary folder.
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

PATH=$PATH:/usr/sbin:$folder/usr/sbin
modules=
if ! command -v rsyslogd >/dev/null; then
	apt-get download -qq rsyslog libestr0 libfastjson4 >/dev/null || exit 2
	for package in *.deb; do dpkg -x "$package" .; done
	export LD_LIBRARY_PATH=$folder/usr/lib/$(uname -m)-linux-gnu
	modules=$folder/usr/lib/$(uname -m)-linux-gnu/rsyslog
fi
rsyslogd -v | sed -n 1p || exit 2

# SETTINGS: prints the length, priority and beginning of each message that one frame of 8,192 bytes becomes.
received() {
	local port
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	rm -f out errors
	cat >conf <<C
$1
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="$port")
template(name="told" type="string" string="priority %pri% %rawmsg%\n")
action(type="omfile" file="$folder/out" template="told")
C
	rsyslogd -n -f conf -i "$folder/pid" ${modules:+-M "$modules"} 2>errors &
	pid=$!
	python3 - "$port" <<'P'
import socket, sys, time
head = b"<134>1 2026-01-01T00:00:00Z lb teald 1 http.request - "
for _ in range(200):
    try:
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        time.sleep(0.1)
for size in (8192, 100):
    s.sendall(b"%d " % size + (head + b"x" * size)[:size])
P
	for _ in $(seq 200); do
		[ "$(tail -n 1 out 2>/dev/null | wc -c)" = 113 ] && break	# the last one, of 100 bytes
		sleep 0.1
	done
	kill $pid
	wait $pid || true
	pid=
	awk '{ length_of = length($0) - length($1) - length($2) - 2; print length_of, "bytes,", $1, $2 ":", substr($3, 1, 12) }' out
	grep -o "size is .*truncating" errors || true
}

echo "as it comes:"
plain=$(received "# no limits are set")
echo "$plain" | sed 's/^/	/'
echo 'with maxMessageSize="8k":'
set_to=$(received 'global(maxMessageSize="8k")')
echo "$set_to" | sed 's/^/	/'

if grep -q "^8096 bytes, priority 134" <<<"$plain" && grep -q "^95 bytes, priority 13:" <<<"$plain" &&
	grep -q "truncating" <<<"$plain" && [ "$(grep -c bytes, <<<"$set_to")" = 2 ] && grep -q "^8192 bytes" <<<"$set_to"; then
	echo "as found: split at 8,096 bytes, and called truncating"
	exit 0
fi
echo "changed"
exit 1
