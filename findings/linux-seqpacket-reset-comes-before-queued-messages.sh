#!/bin/bash
# Linux (seen with 6.18): on a Unix socket pair of SOCK_SEQPACKET ECONNRESET overtakes what the other side had
# sent before it closed; on one of SOCK_STREAM it does not.
#
# A parent and its worker talk over a socket pair.  The worker says its last words and closes (or is killed)
# without having read all that the parent had sent.  Expected: the words, then an error or the end, as with
# SOCK_STREAM.  Seen with SOCK_SEQPACKET: the first recv() fails with ECONNRESET, the next ones give each
# message that was queued (with the descriptors in it), and then 0.  unix(7) says nothing of it.  A supervisor that
# takes the error for the end loses the last words of a worker that dies with unread orders: why it died, "I
# have it", sockets that it handed back.  With a partner that had read everything it never shows.
#
# Exit status 0: it is so; 1: it has changed.  Needs gcc (Debian 12); touches nothing outside its temporary
# folder.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT

cat >words.c <<'C'
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void
try(const char *name, int type, int unread)
{
	char text[16];
	int pair[2];

	if (socketpair(AF_UNIX, type, 0, pair) != 0)
		return;
	if (unread && send(pair[0], "order", 5, 0) != 5)
		return;
	if (send(pair[1], "last", 4, 0) != 4 || send(pair[1], "words", 5, 0) != 5)
		return;
	close(pair[1]);
	printf("%s, %s:", name, unread ? "something unread" : "all read");
	for (int i = 0; i < 4; i++) {
		ssize_t n = recv(pair[0], text, sizeof(text), 0);

		if (n < 0)
			printf(" %s", strerrorname_np(errno));
		else
			printf(" \"%.*s\"", (int)n, text);
	}
	printf("\n");
	close(pair[0]);
}

int
main(void)
{
	try("seqpacket", SOCK_SEQPACKET, 0);
	try("seqpacket", SOCK_SEQPACKET, 1);
	try("stream", SOCK_STREAM, 0);
	try("stream", SOCK_STREAM, 1);
	return 0;
}
C
gcc -D_GNU_SOURCE -w -o words words.c
./words >seen
cat >expected <<'TXT'
seqpacket, all read: "last" "words" "" ""
seqpacket, something unread: ECONNRESET "last" "words" ""
stream, all read: "lastwords" "" "" ""
stream, something unread: "lastwords" ECONNRESET "" ""
TXT
echo "Linux $(uname -r); four calls of recv() after the other side has closed:"
cat seen
diff expected seen >/dev/null || { echo "changed: this is not what was seen before"; exit 1; }
echo "as before: with seqpacket the reset comes first, what was queued after it"
