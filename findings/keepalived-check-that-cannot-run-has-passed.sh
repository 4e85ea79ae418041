#!/bin/bash
# keepalived 2.2.7 (Debian 12): a check whose program can no longer be started counts as passed, without a line in the log.
#
# One machine holds an address as long as its check (vrrp_script, fall 1) passes. The configuration is valid, and the
# program is there when keepalived starts. Then the program goes: its package is removed or half upgraded, the disk it is
# on is unmounted, an interpreter named on its first line is away. Expected: a check that cannot be made has
# failed, as one has that ends with status 1, 126 or 127; the address moves. Seen: it stays, with the state "succeeded"
# of the last check that was made. A program that is missing at the start is the same: "Disabling track script", and the
# machine takes the address with no check at all. So: the first program of a check should be one that is never away
# (/bin/sh -c '...', whose status is 127 when what it calls is missing), or built in (vrrp_track_process, track_file).
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Needs root (a network namespace), and
# downloads keepalived 2.2.7 of Debian 12 with apt-get if there is none; touches nothing but a temporary folder
# and its own namespace.
set -euo pipefail
folder=$(mktemp -d)
pid= place="kc-$$"
finish() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	wait 2>/dev/null || true
	ip netns delete "$place" 2>/dev/null || true
	rm -rf "$folder"
}
trap finish EXIT
cd "$folder"

program=$(command -v keepalived || true)
if [ -z "$program" ]; then
	apt-get download -qq keepalived=1:2.2.7-1+b2 >/dev/null 2>&1 || apt-get download -qq keepalived >/dev/null || exit 2
	dpkg -x keepalived_*.deb . && program=$PWD/usr/sbin/keepalived
fi
"$program" --version 2>&1 | sed -n 1p

ip netns add "$place"
ip -n "$place" link add eth0 type veth peer name eth1
ip -n "$place" address add 192.0.2.1/24 dev eth0
for i in lo eth0 eth1; do ip -n "$place" link set "$i" up; done

cat >conf <<C
global_defs {
	router_id lb
	script_user root
}
vrrp_script well {
	script "$folder/check"
	interval 1
	fall 1
	rise 1
}
vrrp_instance one {
	state BACKUP
	interface eth0
	virtual_router_id 51
	priority 100
	advert_int 1
	virtual_ipaddress {
		192.0.2.80/24
	}
	track_script {
		well
	}
}
C

holds() { ip -n "$place" -4 address show dev eth0 | grep 192.0.2.80/ >/dev/null; }

# Whether the address is still held ten checks after CHANGE.
story() {	# CHANGE
	printf '#!/bin/sh\necho >>%s/made\nexit 0\n' "$folder" >check
	chmod 755 check
	ip netns exec "$place" "$program" -n -l -D -f conf -p kp -r kv >log 2>&1 &
	pid=$!
	for _ in $(seq 300); do ! holds || break; sleep 0.1; done
	holds || exit 2
	eval "$1"
	for _ in $(seq 100); do holds || break; sleep 0.1; done
	at=$(holds && echo stays || echo goes)
	kill "$pid"
	wait "$pid" || true
	pid=
}

fails() { printf '#!/bin/sh\nexit 1\n' >new && chmod 755 new && mv new check; }
goes() { rm check; }

story fails
one=$at
story goes
two=$at
lines=$(grep -ci "error exec\|cannot be accessed\|no such file" log || true)

# And with none from the start.
rm -f check
ip netns exec "$place" "$program" -n -l -D -f conf -p kp -r kv >log 2>&1 &
pid=$!
for _ in $(seq 300); do ! holds || break; sleep 0.1; done
three=$(holds && echo takes || echo "does not take")
echo "the check ends with status 1:    the address $one"
echo "the check's program is removed:  the address $two (lines of the log about it: $lines)"
echo "there is none from the start:    the machine $three the address ($(sed -n 's/.*: \(Disabling .*\)/\1/p' log))"
[ "$one" = goes ] && [ "$two" = stays ] && [ "$three" = takes ]
