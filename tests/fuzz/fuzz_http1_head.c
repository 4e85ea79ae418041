/* fuzz_http1_head.c - the verdict on a request head must not depend on how
 * its bytes were cut into calls, nor on where they lie.
 * The first byte of the input chooses the cuts and the limit. */
#include <stdlib.h>

#include "base/check.h"
#include "proto/http1_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_same(const struct http1_head *a, const struct http1_head *b)
{
	CHECK(a->verdict == b->verdict && a->reason == b->reason && a->length == b->length);
	if (a->verdict != HTTP1_DONE)
		return;
	CHECK(memcmp(&a->method, &b->method, sizeof(a->method)) == 0);
	CHECK(memcmp(&a->target, &b->target, sizeof(a->target)) == 0);
	CHECK(a->form == b->form && a->minor == b->minor && a->header_count == b->header_count);
	CHECK(a->seen == b->seen && a->repeated == b->repeated && a->aliases == b->aliases);
	CHECK(a->connection == b->connection && a->verb == b->verb);
	for (unsigned i = 0; i < a->header_count; i++) {
		const struct http1_header *x = &a->headers[i], *y = &b->headers[i];

		CHECK(memcmp(&x->name, &y->name, sizeof(x->name)) == 0);
		CHECK(memcmp(&x->value, &y->value, sizeof(x->value)) == 0);
		CHECK(x->id == y->id && x->alias == y->alias && x->flags == y->flags);
	}
}

static void
check_slice(const struct http1_head *h, struct http1_slice s)
{
	CHECK(s.at <= h->length && s.n <= h->length - s.at);
	for (uint32_t i = 0; i < s.n; i++)
		CHECK(h->base[s.at + i] != '\r' && h->base[s.at + i] != '\n' && h->base[s.at + i] != '\0');
}

/* What DONE promises to whoever forwards the head. */
static void
check_done(const struct http1_head *h, const char *p, size_t n)
{
	CHECK(h->length >= 4 && h->length <= n && memcmp(p + h->length - 4, "\r\n\r\n", 4) == 0);
	CHECK(h->header_count <= HTTP1_HEADERS_MAX && h->minor <= 1);
	CHECK(h->method.n > 0 && h->method.n <= HTTP1_METHOD_MAX && h->target.n > 0);
	check_slice(h, h->method);
	check_slice(h, h->target);
	for (unsigned i = 0; i < h->header_count; i++) {
		CHECK(h->headers[i].name.n > 0);
		check_slice(h, h->headers[i].name);
		check_slice(h, h->headers[i].value);
	}
	http1_head_keep_alive(h);
	http1_head_find(h, "host", NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http1_head whole, cut;
	unsigned step, limit;
	char *copy;

	if (size < 1)
		return 0;
	if (size > 4200)
		size = 4200;	/* beyond the limit there is nothing to find, only time to lose */
	step = data[0] % 16 + 1;
	limit = data[0] & 0x80 ? 64 : 4096;
	data++;
	size--;
	http1_head_init(&whole, limit);
	http1_head_parse(&whole, (const char *)data, size);
	if (whole.verdict == HTTP1_DONE)
		check_done(&whole, (const char *)data, size);

	http1_head_init(&cut, limit);
	for (size_t n = 0;; n = size - n < step ? size : n + step) {
		/* A block of its own each time: the sanitizer sees one byte too far. */
		CHECK((copy = malloc(n > 0 ? n : 1)) != NULL);
		memcpy(copy, data, n);
		http1_head_parse(&cut, copy, n);
		CHECK(n < size || cut.verdict == whole.verdict);
		free(copy);
		if (n == size)
			break;
	}
	check_same(&whole, &cut);
	return 0;
}
