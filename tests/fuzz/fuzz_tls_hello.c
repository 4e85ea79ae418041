/* fuzz_tls_hello.c - the verdict on a ClientHello must not depend on how much of
 * the stream is there, what is waited for must be worth it, and the name must be
 * fit for anything. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "proto/tls_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A block of its own: the sanitizer sees one byte too far. */
static enum tls_hello_verdict
parse(const uint8_t *data, size_t n, struct tls_hello *out, enum tls_hello_reason *reason)
{
	char *copy = malloc(n > 0 ? n : 1);
	enum tls_hello_verdict v;

	CHECK(copy != NULL);
	if (n > 0)
		memcpy(copy, data, n);
	v = tls_hello_parse(copy, n, out, reason);
	free(copy);
	return v;
}

static void
check_name(const struct tls_hello *h)
{
	CHECK(h->n_name < sizeof(h->name) && strlen(h->name) == h->n_name);
	for (size_t i = 0; i < h->n_name; i++) {
		CHECK(h->name[i] > ' ' && h->name[i] < 0x7f);
		CHECK(h->name[i] < 'A' || h->name[i] > 'Z');
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum tls_hello_reason reason = TLS_HELLO_OTHER, why;
	struct tls_hello whole, part;
	enum tls_hello_verdict verdict;

	if (size > TLS_HELLO_MAX + 100)
		size = TLS_HELLO_MAX + 100;
	verdict = parse(data, size, &whole, &reason);
	switch (verdict) {
	case TLS_HELLO_DONE:
		CHECK(whole.length > 0 && whole.length <= size && whole.length <= TLS_HELLO_MAX);
		check_name(&whole);
		break;
	case TLS_HELLO_NEED_MORE:
		CHECK(whole.wanted > size && whole.wanted <= TLS_HELLO_MAX + 5);
		break;
	case TLS_HELLO_BAD:
		CHECK(tls_hello_reason_words(reason)[0] != '\0' && tls_hello_alert(reason) != 0);
		break;
	}
	for (size_t n = 0; n < size; n += n < 300 ? 1 : 61) {
		enum tls_hello_verdict v = parse(data, n, &part, &why);

		/* Less never says more, nor anything else. */
		if (v == TLS_HELLO_DONE) {
			CHECK(verdict == TLS_HELLO_DONE && part.length == whole.length && n >= whole.length);
			CHECK(strcmp(part.name, whole.name) == 0);
		} else if (v == TLS_HELLO_BAD) {
			CHECK(verdict == TLS_HELLO_BAD);
		} else {
			CHECK(part.wanted > n);
			/* With less than that it would be no wiser. */
			CHECK(verdict != TLS_HELLO_DONE || part.wanted <= whole.length);
		}
	}
	return 0;
}
