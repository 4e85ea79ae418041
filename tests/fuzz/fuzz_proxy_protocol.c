/* fuzz_proxy_protocol.c - the verdict on a PROXY header must not depend on
 * how much of the stream is there, and what was read can be written and read
 * again. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "proto/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A block of its own: the sanitizer sees one byte too far. */
static enum proxy_verdict
parse(const uint8_t *data, size_t n, struct proxy_header *out, enum proxy_reason *reason)
{
	char *copy = malloc(n > 0 ? n : 1);
	enum proxy_verdict v;

	CHECK(copy != NULL);
	memcpy(copy, data, n);
	v = proxy_header_parse(copy, n, out, reason);
	free(copy);
	return v;
}

static void
check_round_trip(const struct proxy_header *h)
{
	struct proxy_header again;
	char out[PROXY_WRITE_MAX];
	size_t n = proxy_header_write(h, out);

	CHECK(n <= sizeof(out));
	CHECK(parse((const uint8_t *)out, n, &again, NULL) == PROXY_DONE && again.length == n);
	CHECK(again.version == h->version && again.local == h->local);
	CHECK(again.family == (h->family == PROXY_UNIX ? PROXY_UNKNOWN : h->family));
	CHECK(memcmp(&again.source, &h->source, sizeof(h->source)) == 0);
	CHECK(memcmp(&again.destination, &h->destination, sizeof(h->destination)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole, part;
	enum proxy_reason reason, why;
	enum proxy_verdict verdict;

	if (size > 2 * PROXY_V2_MAX)
		size = 2 * PROXY_V2_MAX;
	verdict = parse(data, size, &whole, &reason);
	CHECK((verdict == PROXY_BAD) == (reason != PROXY_FINE));
	CHECK(proxy_reason_words(reason)[0] != '\0');
	if (verdict == PROXY_DONE) {
		CHECK(whole.length >= 15 && whole.length <= size);
		CHECK(whole.length <= (whole.version == 1 ? PROXY_V1_MAX : PROXY_V2_MAX));
		check_round_trip(&whole);
	}
	for (size_t n = 0; n < size; n += n < 256 ? 1 : 61) {
		enum proxy_verdict v = parse(data, n, &part, &why);

		if (v == PROXY_NEED_MORE) {
			CHECK(verdict != PROXY_DONE || n < whole.length);
			continue;
		}
		CHECK(v == verdict && why == reason);
		if (v == PROXY_DONE)
			CHECK(memcmp(&part, &whole, sizeof(whole)) == 0);
	}
	return 0;
}
