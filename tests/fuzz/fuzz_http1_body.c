/* fuzz_http1_body.c - a chunked body's end, data, plain form and verdict must not
 * depend on how its bytes were cut; what was taken off can be put on again; and
 * the plain form is a body of the same data that has no plainer one.
 * The first byte of the input chooses the cuts. */
#include <stdlib.h>

#include "base/check.h"
#include "proto/http1_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE_MAX_BODY 16384

struct taken {
	struct http1_body body;
	enum http1_verdict verdict;
	size_t bytes, n;
	char data[SIZE_MAX_BODY];
};

/* p[0..n) lies in a block of its own. */
static void
take(struct taken *t, const char *p, size_t n)
{
	struct str data;
	char *copy = malloc(n > 0 ? n : 1);
	size_t at = 0, used;

	CHECK(copy != NULL);
	memcpy(copy, p, n);
	while (t->verdict == HTTP1_NEED_MORE && at < n) {
		uint64_t skippable = http1_body_skippable(&t->body);

		used = http1_body_take(&t->body, copy + at, n - at, &data, &t->verdict);
		CHECK(used <= n - at && data.n <= used && (used > 0 || t->verdict == HTTP1_BAD));
		CHECK(data.n == 0 || (data.p >= copy + at && data.p + data.n <= copy + at + used));
		CHECK(skippable == 0 || data.n == (skippable < n - at ? skippable : n - at));
		memcpy(t->data + t->n, data.p, data.n);
		t->n += data.n;
		at += used;
	}
	t->bytes += at;
	free(copy);
}

static void
check_same(const struct taken *a, const struct taken *b)
{
	CHECK(a->verdict == b->verdict && a->bytes == b->bytes && a->n == b->n);
	CHECK(memcmp(a->data, b->data, a->n) == 0);
	CHECK(a->body.reason == b->body.reason && a->body.done == b->body.done);
	CHECK(a->body.total == a->n && b->body.total == b->n);
}

/* A body that was good, its data chunked anew. */
static void
check_again(const struct taken *t)
{
	static struct taken again;
	char line[HTTP1_CHUNK_LINE];

	again.body = (struct http1_body){ .framing = HTTP1_BODY_CHUNKED };
	again.verdict = HTTP1_NEED_MORE;
	again.bytes = again.n = 0;
	if (t->n > 0) {
		take(&again, line, http1_chunk_line(t->n, line));
		take(&again, t->data, t->n);
		take(&again, "\r\n", 2);
	}
	CHECK(again.verdict == HTTP1_NEED_MORE);
	take(&again, HTTP1_CHUNKS_END, strlen(HTTP1_CHUNKS_END));
	CHECK(again.verdict == HTTP1_DONE && again.n == t->n && memcmp(again.data, t->data, t->n) == 0);
}

struct plain {
	struct http1_body body;
	enum http1_verdict verdict;
	size_t bytes, n, n_trailers;
	char chunks[SIZE_MAX_BODY + 8];	/* without the last */
	char trailers[SIZE_MAX_BODY];
};

static void
take_plain(struct plain *t, const char *p, size_t n)
{
	char *copy = malloc(n > 0 ? n : 1);
	size_t at = 0;

	CHECK(copy != NULL);
	memcpy(copy, p, n);
	while (t->verdict == HTTP1_NEED_MORE && at < n) {
		enum http1_piece kind;
		size_t used = http1_body_piece(&t->body, copy + at, n - at, &kind, &t->verdict);

		CHECK(used <= n - at && (used > 0 || t->verdict == HTTP1_BAD));
		if (t->verdict != HTTP1_BAD && (kind == HTTP1_PIECE_FRAME || kind == HTTP1_PIECE_DATA)) {
			CHECK(t->n_trailers == 0);
			memcpy(t->chunks + t->n, copy + at, used);
			t->n += used;
		} else if (t->verdict != HTTP1_BAD && kind == HTTP1_PIECE_TRAILER) {
			memcpy(t->trailers + t->n_trailers, copy + at, used);
			t->n_trailers += used;
		}
		at += used;
	}
	t->bytes += at;
	free(copy);
}

static bool lenient;

static void
begin_plain(struct plain *t)
{
	t->body = (struct http1_body){ .framing = HTTP1_BODY_CHUNKED, .lenient = lenient };
	t->verdict = HTTP1_NEED_MORE;
	t->bytes = t->n = t->n_trailers = 0;
}

/* w: the same bytes, taken whole. */
static void
check_plain(const struct taken *w, const char *p, size_t size, size_t step)
{
	static struct plain whole, cut, again;

	begin_plain(&whole);
	begin_plain(&cut);
	take_plain(&whole, p, size);
	for (size_t at = 0; at < size; at += step)
		take_plain(&cut, p + at, size - at < step ? size - at : step);
	CHECK(whole.verdict == w->verdict && whole.bytes == w->bytes && whole.body.total == w->n);
	CHECK(whole.body.reason == w->body.reason && whole.n + whole.n_trailers <= whole.bytes);
	CHECK(cut.verdict == w->verdict && cut.bytes == w->bytes);
	if (w->verdict != HTTP1_DONE)
		return;
	CHECK(cut.n == whole.n && memcmp(cut.chunks, whole.chunks, whole.n) == 0);
	CHECK(cut.n_trailers == whole.n_trailers &&
	      memcmp(cut.trailers, whole.trailers, whole.n_trailers) == 0);
	begin_plain(&again);
	again.body.lenient = false;	/* the plain form is good for anybody */
	take_plain(&again, whole.chunks, whole.n);
	CHECK(again.verdict == HTTP1_NEED_MORE && again.body.total == w->n);
	take_plain(&again, "0\r\n", 3);
	take_plain(&again, whole.trailers, whole.n_trailers);
	take_plain(&again, "\r\n", 2);
	CHECK(again.verdict == HTTP1_DONE && again.n == whole.n && again.n_trailers == whole.n_trailers);
	CHECK(memcmp(again.chunks, whole.chunks, whole.n) == 0);
	CHECK(whole.n == 0 || whole.chunks[0] != '0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct taken whole, cut;
	const char *p = (const char *)data + 1;
	size_t step;

	if (size < 1 || size > SIZE_MAX_BODY)
		return 0;
	step = data[0] % 32 + 1;
	lenient = data[0] & 0x80;
	size--;
	whole.body = cut.body = (struct http1_body){ .framing = HTTP1_BODY_CHUNKED, .lenient = lenient };
	whole.verdict = cut.verdict = HTTP1_NEED_MORE;
	whole.bytes = whole.n = cut.bytes = cut.n = 0;
	take(&whole, p, size);
	for (size_t at = 0; at < size; at += step)
		take(&cut, p + at, size - at < step ? size - at : step);
	check_same(&whole, &cut);
	check_plain(&whole, p, size, step);
	switch (whole.verdict) {
	case HTTP1_DONE:
		CHECK(whole.body.done && whole.bytes >= 5 && memcmp(p + whole.bytes - 2, "\r\n", 2) == 0);
		CHECK(http1_body_finish(&whole.body) == HTTP1_DONE);
		check_again(&whole);
		break;
	case HTTP1_NEED_MORE:
		CHECK(whole.bytes == size && http1_body_finish(&whole.body) == HTTP1_BAD);
		break;
	case HTTP1_BAD:
		CHECK(whole.body.reason != HTTP1_FINE && whole.bytes < size);
		CHECK(http1_body_skippable(&whole.body) == 0);
		break;
	}
	return 0;
}
