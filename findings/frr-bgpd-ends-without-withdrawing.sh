#!/bin/bash
# FRR 8.4.4 (Debian 12): a bgpd that is stopped says nothing to its neighbors, and BIRD 2.0.12 keeps its routes for two
# minutes, though neither file mentions graceful restart.
#
# bgpd announces the address of a load balancer, and the service is stopped (SIGTERM, as systemctl stop sends it, or a
# reboot). Expected: a NOTIFICATION ("Cease"), or at least the end of the TCP connection, makes the router forget the
# route at once. Seen: bgpd offers the capability "Graceful restart" (restart time 120 s) to every neighbor without being
# told to, and ends without a NOTIFICATION because of it; BIRD, which heeds that capability unless told not to, keeps the
# route, and with it sends clients to a machine where nothing serves, until the 120 s are over. With
# `bgp graceful-restart-disable` bgpd sends "Peer de-configured", and the route is gone in less than a second. So: a
# bgpd on a load balancer needs that line, or `graceful restart off` on the router.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Needs root (network namespaces), and
# downloads frr 8.4.4 and bird2 2.0.12 of Debian 12 with apt-get if there are none; touches nothing but a temporary folder
# and its own namespaces.  Runs for two minutes.
set -euo pipefail
folder=$(mktemp -d)
router=r-$$ balancer=b-$$ bgpd_pid=
finish() {
	[ -z "$bgpd_pid" ] || kill -KILL "$bgpd_pid" 2>/dev/null || true
	[ ! -e "$folder/control" ] || birdc -s "$folder/control" down >/dev/null 2>&1 || true
	wait 2>/dev/null || true
	ip netns delete "$router" 2>/dev/null || true
	ip netns delete "$balancer" 2>/dev/null || true
	rm -rf "$folder"
}
trap finish EXIT
cd "$folder"

PATH=$PATH:/usr/sbin:/usr/lib/frr:$folder/usr/sbin:$folder/usr/lib/frr
if ! command -v bgpd >/dev/null || ! command -v bird >/dev/null; then
	apt-get download -qq frr bird2 >/dev/null || exit 2
	for package in *.deb; do dpkg -x "$package" .; done
fi
bgpd --version | sed -n 1p || exit 2
bird --version 2>&1 || exit 2

ip netns add "$router"
ip netns add "$balancer"
ip -n "$router" link add eth0 type veth peer name eth0 netns "$balancer"
ip -n "$router" address add 192.0.2.1/24 dev eth0
ip -n "$balancer" address add 192.0.2.2/24 dev eth0
for n in "$router" "$balancer"; do
	ip -n "$n" link set lo up
	ip -n "$n" link set eth0 up
done

cat >bird.conf <<C
router id 192.0.2.1;
log "$folder/bird.log" all;
protocol device {
}
protocol bgp lb {
	debug { events };
	local 192.0.2.1 as 65000;
	neighbor 192.0.2.2 as 65001;
	connect delay time 1;
	connect retry time 1;
	error wait time 1, 2;
	ipv4 { import all; export none; };
}
C
ip netns exec "$router" bird -c bird.conf -s control -P pid
mkdir vty

knows() { birdc -s control show route | grep 198.51.100.80 >/dev/null; }

# WORDS for the section `router bgp`: prints the seconds for which the router keeps the route.
kept() {
	cat >bgpd.conf <<C
router bgp 65001
 bgp router-id 192.0.2.2
 $1
 no bgp network import-check
 no bgp ebgp-requires-policy
 neighbor 192.0.2.1 remote-as 65000
 address-family ipv4 unicast
  network 198.51.100.80/32
 exit-address-family
C
	ip netns exec "$balancer" bgpd -Z -S -u root -g root -f "$folder/bgpd.conf" -i "$folder/bgpd.pid" \
		--vty_socket "$folder/vty" -A 127.0.0.1 -P 0 >bgpd.log 2>&1 &
	bgpd_pid=$!
	for _ in $(seq 600); do
		knows && break
		sleep 0.1
	done
	knows || { echo "the route never came" >&2; exit 2; }
	kill -TERM $bgpd_pid
	wait $bgpd_pid || true
	bgpd_pid=
	since=$SECONDS
	while knows && [ $((SECONDS - since)) -lt 200 ]; do
		sleep 0.2
	done
	echo $((SECONDS - since))
}

plain=$(kept "! nothing is said of graceful restart")
echo "bgpd as it comes:                kept for $plain s; the router's log: $(grep -o 'Neighbor graceful restart.*' bird.log | sort -u | paste -sd ' ')"
disabled=$(kept "bgp graceful-restart-disable")
echo "bgp graceful-restart-disable:    kept for $disabled s; the router's log: $(grep -o 'Received: .*' bird.log | tail -1)"

if [ "$plain" -ge 60 ] && [ "$disabled" -lt 30 ]; then
	echo "as found: it is kept unless graceful restart is disabled"
	exit 0
fi
echo "changed"
exit 1
