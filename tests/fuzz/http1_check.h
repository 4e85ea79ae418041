/* http1_check.h - what every head must be, whichever way it was read. */
#ifndef TESTS_HTTP1_CHECK_H
#define TESTS_HTTP1_CHECK_H

#include <sanitizer/asan_interface.h>
#include <stdlib.h>

#include "base/check.h"
#include "proto/http1_head.h"

#define HEAD_MAX 4096

static inline void
check_same(const struct http1_head *a, const struct http1_head *b)
{
	CHECK(a->verdict == b->verdict && a->reason == b->reason && a->length == b->length);
	if (a->verdict != HTTP1_DONE)
		return;
	CHECK(memcmp(&a->method, &b->method, sizeof(a->method)) == 0);
	CHECK(memcmp(&a->target, &b->target, sizeof(a->target)) == 0);
	CHECK(a->phrase.n == b->phrase.n && (a->phrase.n == 0 || a->phrase.at == b->phrase.at));
	CHECK(a->form == b->form && a->minor == b->minor && a->verb == b->verb && a->status == b->status);
	CHECK(a->seen == b->seen && a->repeated == b->repeated && a->aliases == b->aliases);
	CHECK(a->odd == b->odd);
	CHECK(a->connection == b->connection && a->header_count == b->header_count);
	for (unsigned i = 0; i < a->header_count; i++) {
		const struct http1_header *x = &a->headers[i], *y = &b->headers[i];

		CHECK(memcmp(&x->name, &y->name, sizeof(x->name)) == 0);
		CHECK(memcmp(&x->value, &y->value, sizeof(x->value)) == 0);
		CHECK(x->id == y->id && x->alias == y->alias && x->flags == y->flags);
	}
}

static inline void
check_slice(const struct http1_head *h, struct http1_slice s)
{
	CHECK(s.at <= h->length && s.n <= h->length - s.at);
	for (uint32_t i = 0; i < s.n; i++)
		CHECK(h->base[s.at + i] != '\r' && h->base[s.at + i] != '\n' && h->base[s.at + i] != '\0');
}

/* What DONE promises to whoever forwards the head. */
static inline void
check_done(const struct http1_head *h, const char *p, size_t n)
{
	unsigned lines = 0;

	CHECK(h->length >= 4 && h->length <= n && p[h->length - 1] == '\n');
	CHECK((h->odd & HTTP1_ODD_BIT(HTTP1_ODD_BARE_LF)) || memcmp(p + h->length - 4, "\r\n\r\n", 4) == 0);
	CHECK(h->lenient || h->odd == 0);
	CHECK(h->header_count <= HTTP1_HEADERS_MAX && h->minor <= 1);
	if (h->response)
		CHECK(h->status >= 100 && h->status <= ((h->odd & HTTP1_ODD_BIT(HTTP1_ODD_STATUS)) ? 999u : 599u));
	else
		CHECK(h->method.n > 0 && h->method.n <= HTTP1_METHOD_MAX && h->target.n > 0);
	check_slice(h, h->method);
	check_slice(h, h->target);
	check_slice(h, h->phrase);
	for (unsigned i = 0; i < h->header_count; i++) {
		const struct http1_header *header = &h->headers[i];

		CHECK(header->name.n > 0 && header->id < HTTP1_NAMES && header->alias < HTTP1_NAMES);
		check_slice(h, header->name);
		check_slice(h, header->value);
		CHECK(h->seen & HTTP1_BIT(header->id));
		CHECK(h->first[header->id] <= i && h->headers[h->first[header->id]].id == header->id);
		CHECK(!(header->flags & HTTP1_HOP) || header->id != HTTP1_HOST);
	}
	/* As many lines as there are: nothing hides in one. */
	for (size_t i = 0; i < h->length; i++)
		lines += p[i] == '\n';
	CHECK(lines == h->header_count + 2 || (lines == h->header_count + 3 && p[0] == '\r'));
}

static bool lenient;	/* how responses are read */

static inline void
begin(struct http1_head *h, bool response, size_t limit)
{
	if (response)
		http1_head_init_response(h, limit);
	else
		http1_head_init(h, limit);
	h->lenient = response && lenient;
}

/* Reads p[0..n) step by step; what has not arrived is out of bounds to the
 * sanitizer. */
static inline void
read_in_steps(struct http1_head *h, const char *p, size_t n, size_t step)
{
	size_t at = 0;
	char *copy = malloc(n > 0 ? n : 1);

	CHECK(copy != NULL);
	memcpy(copy, p, n);
	do {
		at = n - at < step ? n : at + step;
		ASAN_UNPOISON_MEMORY_REGION(copy, at);
		ASAN_POISON_MEMORY_REGION(copy + at, n - at);
		http1_head_parse(h, copy, at);
	} while (at < n);
	free(copy);
	h->base = p;
}

/* Reads p[0..n) whole and byte by byte of the CPU, and then in steps on every
 * path: all must agree.  The whole one stays. */
static inline void
read_all_ways(struct http1_head *whole, const char *p, size_t n, bool response, size_t limit, size_t step)
{
	static struct http1_head cut;

	http1_head_use(HTTP1_PATH_PLAIN);
	begin(whole, response, limit);
	http1_head_parse(whole, p, n);
	for (int path = HTTP1_PATH_PLAIN; path <= HTTP1_PATH_AVX2; path++) {
		if (!http1_head_use((enum http1_path)path))
			continue;
		begin(&cut, response, limit);
		read_in_steps(&cut, p, n, step);
		check_same(whole, &cut);
		begin(&cut, response, limit);
		read_in_steps(&cut, p, n, n);
		check_same(whole, &cut);
	}
}

#endif
