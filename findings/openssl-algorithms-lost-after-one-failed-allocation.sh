#!/bin/bash
# OpenSSL 3.0.22 (Debian 12): one allocation that fails while an algorithm is fetched for the first time
# takes that algorithm away until the process ends.
#
# Expected: a fetch that fails for want of memory works when there is memory again; the error says
# what is missing.  Seen: a program has fetched a digest and is ready; the first fetch of a cipher is
# made with its k-th allocation failing, for each k.  Where that fetch fails, nearly always no later one
# of that cipher ever works: the errors speak of an unsupported algorithm, not of memory.  A
# server that was short of memory for a moment, during its first TLS handshake, say, refuses
# handshakes until it is started again.  EVP_*_fetch() of the algorithms it needs at the start, while
# memory is plenty, avoids it.
#
# Exit status 0: it is so; 1: it has changed.  Needs Debian 12, apt-get, gcc; touches nothing outside
# its temporary folder.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
chmod 777 .	# apt downloads as a user of its own

VERSION=3.0.22-1~deb12u2
apt-get -q download "libssl3=$VERSION" "libssl-dev=$VERSION" >/dev/null
for package in ./*.deb; do dpkg -x "$package" root; done

cat >fetch.c <<'C'
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static long until_failure;	/* allocations; 0: none fails */

static int
fails(void)
{
	return until_failure > 0 && --until_failure == 0;
}

static void *
get(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : malloc(n);
}

static void *
regrow(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : realloc(p, n);
}

static void
drop(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

static int
has(const char *name)
{
	EVP_CIPHER *c = EVP_CIPHER_fetch(NULL, name, NULL);

	EVP_CIPHER_free(c);
	return c != NULL;
}

enum { WELL, FAILED_ONCE, LOST, OVER };

/* The k-th allocation of the first fetch fails, and none later. */
static int
try(long k)
{
	int now, later = 0;

	until_failure = k;
	now = has("AES-256-GCM");
	if (until_failure > 0)
		return OVER;
	for (int i = 0; i < 100; i++)
		later += has("AES-256-GCM");
	return now ? WELL : later == 0 ? LOST : FAILED_ONCE;
}

int
main(void)
{
	unsigned ended[OVER] = { 0 };

	if (CRYPTO_set_mem_functions(get, regrow, drop) != 1)
		return 2;
	EVP_MD_free(EVP_MD_fetch(NULL, "SHA2-256", NULL));
	for (long k = 1; k < 5000; k++) {
		int status;
		pid_t pid = fork();

		if (pid == 0)
			_exit(try(k));
		if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
			return 2;
		if (WEXITSTATUS(status) == OVER)
			break;
		ended[WEXITSTATUS(status)]++;
	}
	printf("%u times the first fetch failed; after %u of them it was never found again\n",
	       ended[FAILED_ONCE] + ended[LOST], ended[LOST]);
	return ended[LOST] > ended[FAILED_ONCE] ? 0 : 1;
}
C
lib=$(dirname "$(find "$PWD/root" -name 'libcrypto.so.3' | sed -n 1p)")
gcc -w -I root/usr/include -I "root/usr/include/$(uname -m)-linux-gnu" -o fetch fetch.c "$lib/libcrypto.so.3"
echo "libssl3 $VERSION:"
LD_LIBRARY_PATH=$lib ./fetch || { echo "changed: this is not what was seen before"; exit 1; }
echo "as before: most failures are for good"
