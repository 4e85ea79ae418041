#!/bin/bash
# libev 4.33 (Debian 12): watchers that are ready in the same turn of the loop are called last
# first: the reverse of the order in which the kernel reports them.
#
# Expected: the order of epoll_wait(), which on Linux is the order in which descriptors became
# ready.  Seen: eight pipes are written to one after the other, and their callbacks run from the
# eighth to the first, with EVBACKEND_EPOLL and EVBACKEND_POLL; with EVBACKEND_SELECT from the first
# to the eighth.  libev's manual promises no order within a priority; what hurts is that under load, with many descriptors
# ready in each turn, a server serves the newest first: a proxy delivers two connections' data in
# the opposite order of their arrival, and the one that has waited longest waits longest again.
# ev_set_invoke_pending_cb() and priorities are the ways to restore it.
#
# Exit status 0: it is so; 1: it has changed.  Needs Debian 12, apt-get, gcc; touches nothing outside
# its temporary folder.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
chmod 777 .	# apt downloads as a user of its own

VERSION=1:4.33-1
apt-get -q download "libev4=$VERSION" "libev-dev=$VERSION" >/dev/null
for package in ./*.deb; do dpkg -x "$package" root; done

cat >order.c <<'C'
#include <ev.h>
#include <stdio.h>
#include <unistd.h>

#define N 8

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	char byte;

	(void)loop;
	(void)revents;
	if (read(w->fd, &byte, 1) == 1)
		printf(" %d", byte);
}

static void
try(const char *name, unsigned backend)
{
	struct ev_loop *loop = ev_loop_new(backend);
	ev_io watchers[N];
	int pipes[N][2];

	for (int i = 0; i < N; i++) {
		if (pipe(pipes[i]) < 0)
			return;
		ev_io_init(&watchers[i], on_readable, pipes[i][0], EV_READ);
		ev_io_start(loop, &watchers[i]);
	}
	for (char i = 0; i < N; i++)
		if (write(pipes[(int)i][1], (char[]){ i + 1 }, 1) != 1)
			return;
	printf("%s:", name);
	ev_run(loop, EVRUN_ONCE);
	printf("\n");
	ev_loop_destroy(loop);
}

int
main(void)
{
	try("epoll", EVBACKEND_EPOLL);
	try("poll", EVBACKEND_POLL);
	try("select", EVBACKEND_SELECT);
	return 0;
}
C
lib=$(dirname "$(find "$PWD/root" -name 'libev.so.4' | sed -n 1p)")
gcc -w -I root/usr/include -o order order.c -L "$lib" -l:libev.so.4 -lm
LD_LIBRARY_PATH=$lib ./order >seen

cat >expected <<'TXT'
epoll: 8 7 6 5 4 3 2 1
poll: 8 7 6 5 4 3 2 1
select: 1 2 3 4 5 6 7 8
TXT
echo "libev $VERSION; pipes became ready in the order 1 to 8; callbacks ran in the order:"
cat seen
diff expected seen >/dev/null || { echo "changed: this is not what was seen before"; exit 1; }
echo "as before: last first but with select"
