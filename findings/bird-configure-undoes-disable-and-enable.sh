#!/bin/bash
# BIRD 2.0.12 (Debian 12): `birdc configure` with an unchanged file undoes every `birdc disable` and `birdc enable`.
#
# A health script withdraws the route of a load balancer that is not well by `birdc disable NAME` and gives it back by
# `birdc enable NAME`, each said once, when the health changes. Expected: a reload of the configuration (of another
# protocol's part, by another tool, or of nothing at all) leaves alone what did not change in the file. Seen: each
# protocol goes back to what its file says. One that was disabled by hand is up again, and its route is announced
# while nothing serves there; one that the file has as `disabled` and the script has enabled is down, and the route
# of a load balancer that is well is withdrawn, for as long as its health stays the same. So: say the state again
# and again and not only when it changes, and let the file say `disabled`.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Downloads bird2 2.0.12 of Debian 12 with
# apt-get if there is none; touches nothing but a temporary folder. The routes stay in BIRD's own table.
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
if ! command -v bird >/dev/null || ! command -v birdc >/dev/null; then
	apt-get download -qq bird2=2.0.12-7 >/dev/null 2>&1 || apt-get download -qq bird2 >/dev/null || exit 2
	dpkg -x bird2_*.deb .
fi
bird --version 2>&1

cat >conf <<C
router id 192.0.2.1;
protocol device {
}
protocol static serving {
	ipv4;
	route 198.51.100.1/32 blackhole;
}
protocol static waiting {
	disabled;
	ipv4;
	route 198.51.100.2/32 blackhole;
}
C
bird -f -c conf -s control &
pid=$!
for _ in $(seq 100); do
	birdc -s control show status 2>/dev/null | grep "up and running" >/dev/null && break
	sleep 0.1
done

state() { birdc -s control show protocols "$1" | awk -v name="$1" '$1 == name { print $4 }'; }

# A reload goes on after the command: until the protocol is in one state for a while.
settled() {
	local was= is= same=0
	while [ $same -lt 10 ]; do
		is=$(state "$1")
		[ "$is" = "$was" ] && same=$((same + 1)) || same=0
		was=$is
		sleep 0.1
	done
	echo "$is"
}

birdc -s control disable serving >/dev/null
birdc -s control enable waiting >/dev/null
before="$(settled serving) $(settled waiting)"
echo "after disable and enable:      serving is ${before% *}, waiting is ${before#* }"
birdc -s control configure >/dev/null
after="$(settled serving) $(settled waiting)"
echo "after a reload of the same file: serving is ${after% *}, waiting is ${after#* }"

[ "$before" = "down up" ] || { echo "disable and enable did not do what they say"; exit 2; }
if [ "$after" = "up down" ]; then
	echo "as found: the reload undid both"
	exit 0
fi
echo "changed: the reload left them alone, or did something else"
exit 1
