#!/bin/bash
# nftables 1.0.6 (Debian 12): a rule that sets conntrack's event mask with a bit for the mark can be
# loaded as a number, is listed by `nft list ruleset` with a word, and that word nft does not read.
# So the host's saved ruleset, all tables of it, cannot be loaded again.
#
# Expected: what `nft list ruleset` prints, `nft -f` takes; /etc/nftables.conf is often made so, and
# read at boot.  Seen: `ct event set 0x85` (new, destroy and mark: bits 0, 2 and 7 of the kernel's
# enum ip_conntrack_events) comes back as `new,destroy,mark`, where `mark` is a syntax error, and the
# whole file is refused: a host that saves its rules so comes up without a firewall.
#
# Exit status 0: it is so; 1: it has changed.  Needs Debian 12, apt-get, root for a network namespace
# of its own; touches nothing outside that and its temporary folder.
set -euo pipefail
cd "$(mktemp -d)"
space=finding-$$
trap 'ip netns del $space 2>/dev/null || true; rm -rf "$PWD"' EXIT
chmod 777 .	# apt downloads as a user of its own

VERSION=1.0.6-2+deb12u2
apt-get -q download "nftables=$VERSION" "libnftables1=$VERSION" libnftnl11 libmnl0 libjansson4 libxtables12 libedit2 >/dev/null
for package in ./*.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(dirname "$(find "$PWD/root" -name 'libnftables.so.1' | sed -n 1p)")
nft() { ip netns exec "$space" "$PWD/root/usr/sbin/nft" "$@"; }

ip netns add "$space"
cat >rules <<'TXT'
table ip example {
	chain arriving {
		type filter hook prerouting priority 0;
		ct event set 0x85
	}
}
TXT
nft -f rules
nft list ruleset >listed
nft flush ruleset
status=0
nft -f listed 2>error || status=$?

echo "$(nft -v); it lists what it was given as 0x85 as:"
grep 'ct event' listed
echo "and, given that list again, ends with status $status:"
cat error
grep -q 'ct event set new,destroy,mark' listed && [ $status = 1 ] && grep -q 'unexpected mark' error ||
	{ echo "changed: this is not what was seen before"; exit 1; }
echo "as before: what it lists it does not load"
