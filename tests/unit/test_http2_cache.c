/* test_http2_cache.c - heads that are known come to what they came to before: beside encoders and decoders that know none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hash.h"
#include "hpack_text.h"
#include "proto/http2_cache.h"
#include "proto/http2_response.h"
#include "scaled.h"

#define CONNECTIONS 3
#define LIMITS ((struct http1_limits){ .head = 8192, .target = 4096, .headers = 100 })

static uint64_t dice;

static unsigned
roll(unsigned n)
{
	return (unsigned)(random_next(&dice) % n);
}

/* -- answers ----------------------------------------------------------------------- */

/* Most repeat themselves but for what differs each time; some are those of an upgrade, or long. */
static struct str
make_answer(char *out, size_t size)
{
	static const char *const lines[] = { "Server: app/2\r\n", "Set-Cookie: a=1\r\n", "X-Thing: yes\r\n", "Connection: close\r\n", "Vary: *\r\n" };
	static const char *const statuses[] = { "404 Not", "101 Switching", "502 Bad", "103 Early" };
	int n = snprintf(out, size, "HTTP/1.1 %s\r\nContent-Length: %u\r\n", roll(8) > 0 ? "200 OK" : statuses[roll(4)],
			 roll(4) > 0 ? 64 : roll(100));

	for (unsigned i = 0, k = roll(4) > 0 ? 2 : roll(5); i < k; i++)
		n += snprintf(out + n, size - (size_t)n, "%s", lines[roll(8) > 0 ? i : roll(5)]);
	for (unsigned i = roll(20) > 0 ? 1 : 6; i > 0; i--)
		n += snprintf(out + n, size - (size_t)n, "X-Request-Id%u: %u\r\n", i, roll(1000000));
	if (roll(50) == 0)
		n += snprintf(out + n, size - (size_t)n, "X-Long: %01100u\r\n", 7);
	n += snprintf(out + n, size - (size_t)n, "%sVia: 1.1 teal\r\n\r\n", roll(20) > 0 ? "" : "Age: 7\r\n");
	return (struct str){ out, (size_t)n };
}

static void
test_answers_are_encoded_as_without_it(void **state)
{
	struct http2_cache *cache = http2_cache_new();
	struct hpack_encoder known[CONNECTIONS], plain[CONNECTIONS];
	static char head[4096], a[8192], b[8192];

	(void)state;
	assert_non_null(cache);
	for (unsigned c = 0; c < CONNECTIONS; c++) {
		hpack_encoder_init(&known[c], 512);
		hpack_encoder_init(&plain[c], 512);
	}
	for (unsigned i = 0; i < scaled(20000, 400000); i++) {
		unsigned c = roll(CONNECTIONS);
		struct str text = make_answer(head, sizeof(head));
		size_t n;

		if (roll(200) == 0) {
			uint32_t limit = roll(2) ? 512 : roll(512);

			hpack_encoder_limit(&known[c], limit);
			hpack_encoder_limit(&plain[c], limit);
		}
		/* Two of them have the same place. */
		n = http2_cache_write_response(cache, c < 2 ? c + 1 : 65, text, &known[c], a);
		assert_int_equal(n, http2_response_write(text, &plain[c], b));
		assert_memory_equal(a, b, n);
	}
	for (unsigned c = 0; c < CONNECTIONS; c++) {
		hpack_encoder_free(&known[c]);
		hpack_encoder_free(&plain[c]);
	}
	assert_int_equal(http2_cache_write_response(cache, 1, STR("HTTP/1.1 2x0\r\n\r\n"), &known[0], a), 0);
	http2_cache_free(cache);
}

/* -- requests ------------------------------------------------------------------------ */

struct reader {
	struct hpack_decoder decoder;
	char text[8192];
	struct http2_request request;
	struct http1_head head;
};

static char *
put(struct hpack_encoder *e, char *p, const char *name, const char *value, enum hpack_how how)
{
	return hpack_encode(e, p, str_from(name), str_from(value), how);
}

static struct str
make_request(struct hpack_encoder *e, char *out)
{
	static const char *const paths[] = { "/", "/one", "/two?x=1" };
	char *p = hpack_encode_begin(e, out);

	p = put(e, p, ":method", roll(8) > 0 ? "GET" : "POST", HPACK_USUAL);
	p = put(e, p, ":scheme", "https", HPACK_USUAL);
	p = put(e, p, ":authority", roll(10) > 0 ? "example.com" : "other.example", HPACK_USUAL);
	p = put(e, p, ":path", paths[roll(6) > 0 ? 0 : roll(3)], HPACK_USUAL);
	p = put(e, p, "user-agent", roll(30) > 0 ? "one" : "two", HPACK_USUAL);
	p = put(e, p, "cookie", roll(10) > 0 ? "a=1" : "b=2", HPACK_NEVER);
	if (roll(20) == 0)
		p = put(e, p, "content-length", "5", HPACK_USUAL);
	return (struct str){ out, (size_t)(p - out) };
}

static void
read_plainly(struct reader *r, struct str block, bool end_stream)
{
	struct hpack_fields *f = test_fields();

	assert_int_equal(hpack_decode(&r->decoder, block, f), HTTP2_FINE);
	r->request = (struct http2_request){ .end_stream = end_stream };
	if (http2_request_write(f, &r->request, r->text, sizeof(r->text)) != HTTP2_FINE) {
		r->request.n = 0;
		return;
	}
	http1_head_init(&r->head, LIMITS.head);
	http1_head_limit(&r->head, &(struct http1_limits){ .head = 8192, .target = 4096, .headers = 100 });
	assert_int_equal(http1_head_parse(&r->head, r->text, r->request.n), HTTP1_DONE);
}

static void
check_same(const struct http1_head *known, const struct http2_request *request, const struct reader *r)
{
	assert_int_equal(request->n, r->request.n);
	assert_int_equal(request->length, r->request.length);
	assert_true(request->has_length == r->request.has_length && request->chunked == r->request.chunked);
	assert_int_equal(known->length, r->head.length);
	assert_memory_equal(known->base, r->text, r->request.n);
	assert_int_equal(known->header_count, r->head.header_count);
	assert_memory_equal(known->headers, r->head.headers, r->head.header_count * sizeof(known->headers[0]));
	assert_memory_equal(known->first, r->head.first, sizeof(known->first));
	assert_int_equal(known->verb, r->head.verb);
	assert_true(known->seen == r->head.seen && known->verdict == HTTP1_DONE);
}

static void
test_requests_are_read_as_without_it(void **state)
{
	struct http2_cache *cache = http2_cache_new();
	struct hpack_encoder theirs[CONNECTIONS];
	static struct reader ours[CONNECTIONS], plain[CONNECTIONS];
	unsigned hits = 0;

	(void)state;
	assert_non_null(cache);
	for (unsigned c = 0; c < CONNECTIONS; c++) {
		hpack_encoder_init(&theirs[c], 256);
		hpack_decoder_init(&ours[c].decoder, 4096);
		hpack_decoder_init(&plain[c].decoder, 4096);
	}
	for (unsigned i = 0; i < scaled(20000, 400000); i++) {
		unsigned c = roll(CONNECTIONS);
		char out[1024];
		struct str block;
		struct http2_cache_terms terms = {
			.connection = c < 2 ? c + 1 : 65,
			.changes = ours[c].decoder.table.changes,
			.end_stream = roll(20) > 0,
			.max_fields = 100,
			.max_size = 8192,
			.limits = LIMITS,
		};
		struct http2_request request;
		const struct http1_head *known;

		if (roll(200) == 0)
			hpack_encoder_limit(&theirs[c], roll(2) ? 256 : roll(256));
		block = make_request(&theirs[c], out);
		read_plainly(&plain[c], block, terms.end_stream);
		known = http2_cache_find_request(cache, &terms, block, &request);
		if (known != NULL) {
			hits++;
			check_same(known, &request, &plain[c]);
			continue;
		}
		read_plainly(&ours[c], block, terms.end_stream);
		if (ours[c].request.n == 0 || ours[c].decoder.table.changes != terms.changes)
			continue;
		http2_cache_keep_request(cache, &terms, block, &ours[c].request, &ours[c].head);
		known = http2_cache_find_request(cache, &terms, block, &request);
		assert_non_null(known);
		check_same(known, &request, &plain[c]);
		/* Other limits may come to something else. */
		terms.limits.target--;
		assert_null(http2_cache_find_request(cache, &terms, block, &request));
		terms.limits.target++;
		terms.max_fields--;
		assert_null(http2_cache_find_request(cache, &terms, block, &request));
	}
	assert_true(hits > 0);
	for (unsigned c = 0; c < CONNECTIONS; c++) {
		hpack_encoder_free(&theirs[c]);
		hpack_decoder_free(&ours[c].decoder);
		hpack_decoder_free(&plain[c].decoder);
	}
	http2_cache_free(cache);
}

/* What no place has room for is not kept, and harms nothing. */
static void
test_long_ones_are_not_kept(void **state)
{
	struct http2_cache *cache = http2_cache_new();
	static struct reader r;
	static char block[2048];
	struct http2_cache_terms terms = { .connection = 1, .end_stream = true, .max_fields = 100, .max_size = 8192, .limits = LIMITS };
	struct hpack_encoder e;
	char path[1200];
	struct http2_request request;

	(void)state;
	hpack_encoder_init(&e, 0);
	hpack_decoder_init(&r.decoder, 4096);
	for (size_t n = 100; n < 1200; n += 100) {
		char *p;
		struct str all;

		memset(path, 'a', n);
		path[0] = '/';
		path[n] = '\0';
		p = put(&e, hpack_encode_begin(&e, block), ":method", "GET", HPACK_USUAL);
		p = put(&e, p, ":scheme", "https", HPACK_USUAL);
		p = put(&e, p, ":authority", "example.com", HPACK_USUAL);
		p = put(&e, p, ":path", path, HPACK_USUAL);
		all = (struct str){ block, (size_t)(p - block) };
		read_plainly(&r, all, true);
		terms.changes = r.decoder.table.changes;
		http2_cache_keep_request(cache, &terms, all, &r.request, &r.head);
		assert_true((http2_cache_find_request(cache, &terms, all, &request) != NULL) == (all.n <= 256));
	}
	hpack_encoder_free(&e);
	hpack_decoder_free(&r.decoder);
	http2_cache_free(cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_are_encoded_as_without_it),
		cmocka_unit_test(test_requests_are_read_as_without_it),
		cmocka_unit_test(test_long_ones_are_not_kept),
	};

	dice = 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
