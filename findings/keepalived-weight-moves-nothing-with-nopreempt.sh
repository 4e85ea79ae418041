#!/bin/bash
# keepalived 2.2.7 (Debian 12): with nopreempt a track_script that has a weight never moves the address, however
# far the master's priority falls.
#
# Two load balancers share an address. nopreempt, so that it does not move back (a second interruption) when the first
# one is well again; a check of the load balancer with "weight -50", so that a failing one loses to the other. Each is
# recommended by itself, and the file is valid. Expected: the check fails, the master's priority falls from 100 to 50,
# the backup with 90 takes over. Seen: the master says that its priority is 50 and stays master; the backup hears
# advertisements of a lower priority than its own and, since it may not preempt, discards them: the address stays with the
# one whose check fails, for ever. The same file without nopreempt moves it within seconds. So: nopreempt needs a
# check without a weight (which puts the instance into FAULT), or weight needs preemption.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Needs root (network namespaces), and
# downloads keepalived 2.2.7 of Debian 12 with apt-get if there is none; touches nothing but a temporary folder
# and its own namespaces.
set -euo pipefail
folder=$(mktemp -d)
pids=() places=("k1-$$" "k2-$$")
finish() {
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	for p in "${places[@]}"; do ip netns delete "$p" 2>/dev/null || true; done
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

for p in "${places[@]}"; do ip netns add "$p"; done
ip -n "${places[0]}" link add eth0 type veth peer name eth0 netns "${places[1]}"
for i in 0 1; do
	ip -n "${places[i]}" address add "192.0.2.$((i + 1))/24" dev eth0
	ip -n "${places[i]}" link set eth0 up
	ip -n "${places[i]}" link set lo up
done

begin() {	# NUMBER PRIORITY WORDS
	mkdir -p "$folder/$1"
	cat >"$folder/$1/conf" <<C
global_defs {
	router_id lb$1
	script_user root
}
vrrp_script well {
	script "/usr/bin/test ! -e $folder/$1/ill"
	interval 1
	fall 1
	rise 1
	weight -50
}
vrrp_instance one {
	state BACKUP
	$3
	interface eth0
	virtual_router_id 51
	priority $2
	advert_int 1
	virtual_ipaddress {
		192.0.2.80/24
	}
	track_script {
		well
	}
}
C
	ip netns exec "${places[$1]}" "$program" -n -l -D -f "$folder/$1/conf" -p "$folder/$1/pid" -r "$folder/$1/vrrp" \
		>"$folder/$1/log" 2>&1 &
	pids+=($!)
}

holds() { ip -n "${places[$1]}" -4 address show dev eth0 | grep 192.0.2.80/ >/dev/null; }

# Where the address is a while after the check of its holder has failed.
story() {	# WORDS
	begin 0 100 "$1"
	for _ in $(seq 300); do ! holds 0 || break; sleep 0.1; done
	begin 1 90 "$1"
	for _ in $(seq 300); do ! grep -q "Entering BACKUP STATE" 1/log || break; sleep 0.1; done
	touch 0/ill
	for _ in $(seq 300); do ! grep -q "effective priority from 100 to 50" 0/log || break; sleep 0.1; done
	# Ten advertisements are many more than any election needs.
	for _ in $(seq 100); do ! holds 1 || break; sleep 0.1; done
	grep -q "effective priority from 100 to 50" 0/log || exit 2
	at=$(holds 0 && echo "stays with the one that is ill (priority 50)" || { holds 1 && echo "moves to the other"; } || echo nowhere)
	kill "${pids[@]}"
	wait "${pids[@]}" || true
	pids=()
	rm -rf 0 1
}

story nopreempt
with=$at
story ""
echo "with nopreempt:    the address $with"
echo "without nopreempt: the address $at"
[ "$with" = "stays with the one that is ill (priority 50)" ] && [ "$at" = "moves to the other" ]
