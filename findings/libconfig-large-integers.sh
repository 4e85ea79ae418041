#!/bin/bash
# libconfig 1.5 (Debian 12): an integer that does not fit 32 bits is read without an error, as its
# lowest 32 bits.  max_connections = 4294967296 is 0, which for many a setting means "no limit".
#
# Expected: what libconfig's manual says of other bad values: config_read() fails and
# config_error_text() says where.  Seen: success, and a wrong number; with the suffix L the right
# one up to 2^63-1, and beyond that 2^63-1, again without an error.  A program that takes sizes or
# counts from users has to look at the text of the file, or ask for strings ("5GiB") where
# large numbers make sense.
#
# Exit status 0: it is so; 1: it has changed.  Needs Debian 12, apt-get, gcc; touches nothing outside
# its temporary folder.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
chmod 777 .	# apt downloads as a user of its own

VERSION=1.5-0.4
apt-get -q download "libconfig9=$VERSION" "libconfig-dev=$VERSION" >/dev/null
for package in ./*.deb; do dpkg -x "$package" root; done

cat >read.c <<'C'
#include <libconfig.h>
#include <stdio.h>

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		config_t config;
		config_setting_t *limit;

		config_init(&config);
		if (!config_read_string(&config, argv[i])) {
			printf("%s -> error: %s\n", argv[i], config_error_text(&config));
			continue;
		}
		limit = config_lookup(&config, "limit");
		printf("%s -> %lld\n", argv[i], config_setting_type(limit) == CONFIG_TYPE_INT64 ?
			config_setting_get_int64(limit) : (long long)config_setting_get_int(limit));
		config_destroy(&config);
	}
	return argc == 1;
}
C
lib=$(dirname "$(find "$PWD/root" -name 'libconfig.so.9' | sed -n 1p)")
gcc -I root/usr/include -o read read.c -L "$lib" -l:libconfig.so.9
LD_LIBRARY_PATH=$lib ./read 'limit = 2147483647;' 'limit = 2147483648;' 'limit = 4294967296;' 'limit = 5000000000;' \
	'limit = 0x1FFFFFFFF;' 'limit = 5000000000L;' 'limit = 99999999999999999999L;' >seen

cat >expected <<'TXT'
limit = 2147483647; -> 2147483647
limit = 2147483648; -> -2147483648
limit = 4294967296; -> 0
limit = 5000000000; -> 705032704
limit = 0x1FFFFFFFF; -> -1
limit = 5000000000L; -> 5000000000
limit = 99999999999999999999L; -> 9223372036854775807
TXT
echo "libconfig $VERSION reads:"
cat seen
diff expected seen >/dev/null || { echo "changed: this is not what was seen before"; diff expected seen; exit 1; }
echo "as before: integers beyond 32 bits are cut to their lowest bits, silently"
