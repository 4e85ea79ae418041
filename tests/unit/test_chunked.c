/* test_chunked.c - chunked bodies, cut at every place; what is malformed is
 * refused wherever the cut falls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "app/tealbench/chunked.h"
#include "base/check.h"

/* Feeds in[0..n) to c; appends data to out.  Each call sees a copy that ends
 * where its bytes end, so that the address sanitizer sees a read beyond. */
static enum chunked_verdict
feed(struct chunked *c, const char *in, size_t n, char *out, size_t *out_n, size_t *taken)
{
	enum chunked_verdict verdict = CHUNKED_MORE;
	char *copy = malloc(n > 0 ? n : 1);
	size_t used, at = 0;
	struct str data;

	assert_non_null(copy);
	memcpy(copy, in, n);
	while (at < n) {
		verdict = chunked_read(c, copy + at, n - at, &used, &data);
		at += used;
		if (verdict == CHUNKED_DATA) {
			memcpy(out + *out_n, data.p, data.n);
			*out_n += data.n;
			verdict = CHUNKED_MORE;
			continue;
		}
		if (verdict != CHUNKED_MORE)
			break;
		assert_int_equal(at, n);
	}
	*taken += at;
	free(copy);
	return verdict;
}

static void
assert_body(const char *in, const char *body, size_t left)
{
	size_t n = strlen(in), out_n, taken;
	struct chunked c;
	char out[256];

	for (size_t cut = 0; cut <= n; cut++) {
		enum chunked_verdict verdict;

		chunked_init(&c);
		out_n = taken = 0;
		verdict = feed(&c, in, cut, out, &out_n, &taken);
		if (verdict == CHUNKED_MORE)
			verdict = feed(&c, in + cut, n - cut, out, &out_n, &taken);
		assert_int_equal(verdict, CHUNKED_DONE);
		assert_int_equal(taken, n - left);
		assert_int_equal(out_n, strlen(body));
		assert_memory_equal(out, body, out_n);
	}
}

static void
test_good_bodies_come_out_whole_however_cut(void **state)
{
	(void)state;
	assert_body("0\r\n\r\n", "", 0);
	assert_body("5\r\nhello\r\n0\r\n\r\n", "hello", 0);
	assert_body("1\r\na\r\n2\r\nbc\r\n00A\r\n0123456789\r\n000\r\n\r\n", "abc0123456789", 0);
	assert_body("5;name=value;x\r\nhello\r\n0;last\r\n\r\n", "hello", 0);
	assert_body("5\r\nhello\r\n0\r\nTrailer: one\r\nAnother: two\r\n\r\n", "hello", 0);
	assert_body("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", 0);
}

static void
test_what_follows_the_body_is_left(void **state)
{
	(void)state;
	assert_body("1\r\na\r\n0\r\n\r\nGET", "a", 3);
}

static void
test_malformed_bodies_are_refused_however_cut(void **state)
{
	static const char *const bad[] = {
		"\r\n",		"g\r\n",	"5\n",		"-1\r\n",	 " 5\r\n",
		"5 \r\n",	"0x5\r\n",	"5\r\rhello",	"5\r\nhello5",	 "5\r\nhello\r5",
		"5;a\nb\r\n",	"0\r\n\n",	"0\r\nT: x\n",	"0\r\nT: x\rX",	 "0\r\n\rX",
		"1234567890abcdef\r\n",
	};
	size_t out_n, taken;
	struct chunked c;
	char out[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		size_t n = strlen(bad[i]);

		for (size_t cut = 0; cut <= n; cut++) {
			enum chunked_verdict verdict;

			chunked_init(&c);
			out_n = taken = 0;
			verdict = feed(&c, bad[i], cut, out, &out_n, &taken);
			if (verdict == CHUNKED_MORE)
				verdict = feed(&c, bad[i] + cut, n - cut, out, &out_n, &taken);
			if (verdict != CHUNKED_BAD)
				fail_msg("case %zu cut at %zu was taken", i, cut);
		}
	}
}

static void
test_half_a_body_wants_more(void **state)
{
	static const char good[] = "5\r\nhello\r\n0\r\nA: b\r\n\r\n";
	size_t out_n, taken;
	struct chunked c;
	char out[64];

	(void)state;
	for (size_t n = 0; n < sizeof(good) - 1; n++) {
		chunked_init(&c);
		out_n = taken = 0;
		assert_int_equal(feed(&c, good, n, out, &out_n, &taken), CHUNKED_MORE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_bodies_come_out_whole_however_cut),
		cmocka_unit_test(test_what_follows_the_body_is_left),
		cmocka_unit_test(test_malformed_bodies_are_refused_however_cut),
		cmocka_unit_test(test_half_a_body_wants_more),
	};

	return cmocka_run_group_tests_name("chunked", tests, NULL, NULL);
}
