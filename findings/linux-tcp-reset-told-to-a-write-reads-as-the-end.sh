#!/bin/bash
# Linux (seen with 6.18): a TCP connection that the other side has reset reads as one that ended well, once a
# write has been told of the reset.
#
# A proxy sends a request's body to a backend and reads the answer, which ends with the connection.  The
# backend dies in the middle: a reset.  Expected: whoever reads learns of it, for recv(2) has ECONNRESET for
# that.  Seen: the pending error is handed out once, to the call that comes first.  Where that is a write
# (ECONNRESET), the next read gives 0, as after a FIN; so does every further one, and getsockopt(SO_ERROR) says 0.
# Where the read comes first it gives ECONNRESET, and 0 after that.  A proxy that reads on after a failed write, as it
# must (the backend may have answered "413" before it closed), takes the cut answer for a whole one
# and passes a clean end on.
#
# Exit status 0: it is so; 1: it has changed.  Needs gcc (Debian 12), the loopback interface; touches nothing
# outside its temporary folder.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT

cat >reset.c <<'C'
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void
say(const char *what, ssize_t n)
{
	if (n < 0)
		printf(" %s %s;", what, strerrorname_np(errno));
	else
		printf(" %s %zd;", what, n);
}

/* The other side sends half an answer, which is read, and resets. */
static int
reset_connection(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	const struct linger abort = { 1, 0 };
	int listener = socket(AF_INET, SOCK_STREAM, 0), here = socket(AF_INET, SOCK_STREAM, 0), there;
	struct pollfd p = { here, POLLIN | POLLRDHUP, 0 };
	char text[16];

	if (bind(listener, (void *)&at, len) != 0 || listen(listener, 1) != 0 ||
	    getsockname(listener, (void *)&at, &len) != 0 || connect(here, (void *)&at, len) != 0 ||
	    (there = accept(listener, NULL, NULL)) < 0)
		return -1;
	if (write(there, "half", 4) != 4 || recv(here, text, sizeof(text), 0) != 4)
		return -1;
	setsockopt(there, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
	close(there);
	close(listener);
	while ((p.revents & POLLERR) == 0)
		poll(&p, 1, -1);
	return here;
}

int
main(void)
{
	char text[16];
	int fd, error = -1;
	socklen_t len = sizeof(error);

	fd = reset_connection();
	printf("write first:");
	say("send", send(fd, "x", 1, MSG_NOSIGNAL));
	say("recv", recv(fd, text, sizeof(text), 0));
	say("recv", recv(fd, text, sizeof(text), 0));
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	printf(" SO_ERROR %d\n", error);
	fd = reset_connection();
	printf("read first:");
	say("recv", recv(fd, text, sizeof(text), 0));
	say("recv", recv(fd, text, sizeof(text), 0));
	say("send", send(fd, "x", 1, MSG_NOSIGNAL));
	printf("\n");
	return 0;
}
C
gcc -D_GNU_SOURCE -w -o reset reset.c
./reset >seen
cat >expected <<'TXT'
write first: send ECONNRESET; recv 0; recv 0; SO_ERROR 0
read first: recv ECONNRESET; recv 0; send EPIPE;
TXT
echo "Linux $(uname -r); after a reset by the other side:"
cat seen
diff expected seen >/dev/null || { echo "changed: this is not what was seen before"; exit 1; }
echo "as before: the reset is told once, and after that looks like an end"
