#!/bin/bash
# ExaBGP 4.2.21 (Debian 12): a helper that says what it has to say and ends takes all routes of all helpers down.
#
# ExaBGP runs helpers (`process NAME { run …; }`) and announces what they print. A helper that announces the address of
# one service and ends with status 0, because there is no more to say, looks valid: its route is announced and stays after
# its end. Expected: it is run once, or again and again, and others are left alone. Seen: it is run anew each time it ends;
# each time its route is announced again; and when it has ended five times within a minute ExaBGP itself ends ("Too many
# death for NAME", with status 0, which systemd's Restart=on-failure takes for a success), the session goes down, and the routes of every other helper, which are all well, are gone
# from the router. So one health script with a fault (or none: one that is done) takes every service of this machine out.
# A helper must not end: it sleeps for ever behind its last line, or has `respawn false;`.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Downloads exabgp 4.2.21 and, where there is none,
# bird2 2.0.12 of Debian 12 with apt-get; touches nothing but a temporary folder. The route stays in BIRD's own table.
set -euo pipefail
folder=$(mktemp -d)
pids=()
finish() {
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$folder"
}
trap finish EXIT
chmod 777 "$folder"	# apt downloads as a user of its own
cd "$folder"

PATH=$PATH:/usr/sbin:$folder/usr/sbin
apt-get download -qq exabgp=4.2.21-1.1 python3-exabgp=4.2.21-1.1 >/dev/null 2>&1 ||
	apt-get download -qq exabgp python3-exabgp >/dev/null || exit 2
if ! command -v bird >/dev/null || ! command -v birdc >/dev/null; then
	apt-get download -qq bird2=2.0.12-7 libssh-gcrypt-4 >/dev/null 2>&1 ||
		apt-get download -qq bird2 libssh-gcrypt-4 >/dev/null || exit 2
fi
for package in ./*.deb; do dpkg -x "$package" .; done
export LD_LIBRARY_PATH=$folder/usr/lib/$(uname -m)-linux-gnu PYTHONPATH=$folder/usr/lib/python3/dist-packages
dpkg-deb -f exabgp_*.deb Package Version
bird --version 2>&1

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
here=$(port)
cat >bird.conf <<C
router id 192.0.2.1;
protocol device {
}
protocol bgp peer {
	local 127.0.0.1 port $here as 65001;
	neighbor 127.0.0.1 port $(port) as 65002;
	passive;
	multihop;
	ipv4 { import all; export none; };
}
C
cat >well.py <<'P'
import time
print("announce route 198.51.100.1/32 next-hop 127.0.0.1", flush=True)
while True:
    time.sleep(1)
P
cat >once.py <<'P'
import time
print("announce route 198.51.100.2/32 next-hop 127.0.0.1", flush=True)
time.sleep(2)
P
cat >exabgp.conf <<C
process well { run /usr/bin/python3 $folder/well.py; encoder text; }
process once { run /usr/bin/python3 $folder/once.py; encoder text; }
neighbor 127.0.0.1 {
	router-id 192.0.2.2;
	local-address 127.0.0.1;
	local-as 65002;
	peer-as 65001;
	family { ipv4 unicast; }
	api { processes [ well, once ]; }
}
C
bird -f -c bird.conf -s control & pids+=($!)
for _ in $(seq 100); do
	birdc -s control show status 2>/dev/null | grep "up and running" >/dev/null && break
	sleep 0.1
done
env exabgp.daemon.drop=false exabgp.tcp.port="$here" exabgp.log.level=INFO \
	timeout 90 /usr/bin/python3 usr/sbin/python3-exabgp exabgp.conf >exabgp.log 2>&1 & exabgp=$!
pids+=("$exabgp")

routes() { birdc -s control show route | grep -o '198\.51\.100\.[12]/32' | sort | tr '\n' ' ' || true; }
both=
for _ in $(seq 300); do
	if [ "$(routes)" = "198.51.100.1/32 198.51.100.2/32 " ]; then
		both=1
		break
	fi
	sleep 0.1
done
[ -n "$both" ] || { cat exabgp.log; exit 2; }
echo "announced: $(routes)"
status=0
wait "$exabgp" || status=$?
echo "exabgp ends by itself with status $status: $(grep -o 'Too many death for [a-z]* ([0-9]*)' exabgp.log || true)"
[ "$status" = 0 ] || exit 1
for _ in $(seq 100); do
	[ -z "$(routes)" ] && break
	sleep 0.1
done
echo "announced then: $(routes)"
grep 'Too many death for once (5)' exabgp.log >/dev/null && [ -z "$(routes)" ]
