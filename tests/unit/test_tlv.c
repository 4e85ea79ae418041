/* test_tlv.c - what is written is read, what is cut is seen, what is unknown is skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "base/tlv.h"

static void
fill(struct buf *b)
{
	size_t outer, inner;

	tlv_u64(b, 1, UINT64_MAX);
	outer = tlv_open(b, 2);
	tlv_str(b, 7, STR("shop"));
	inner = tlv_open(b, 8);
	tlv_double(b, 9, 0.25);
	tlv_close(b, inner);
	tlv_close(b, outer);
	tlv_bytes(b, 3, "", 0);
}

static void
test_fields_come_back_as_they_were(void **state)
{
	struct buf b;
	struct str row, nested;
	struct tlv t;
	uint64_t n = 0;
	double d = 0, value;

	(void)state;
	buf_init(&b, 4096);
	fill(&b);
	assert_false(b.failed);
	row = buf_str(&b);
	assert_true(tlv_next(&row, &t) && t.tag == 1);
	assert_true(tlv_as_u64(&t, &n) && n == UINT64_MAX);
	assert_true(tlv_next(&row, &t) && t.tag == 2);
	assert_false(tlv_as_u64(&t, &n) || tlv_as_double(&t, &d));
	/* What is compared with times is a number. */
	value = NAN;
	assert_false(tlv_as_double(&(struct tlv){ 1, { (const char *)&value, sizeof(value) } }, &d));
	assert_true(d == 0);
	nested = t.value;
	assert_true(tlv_next(&nested, &t) && t.tag == 7 && str_eq(t.value, "shop"));
	assert_true(tlv_next(&nested, &t) && t.tag == 8);
	assert_int_equal(nested.n, 0);
	nested = t.value;
	assert_true(tlv_next(&nested, &t) && t.tag == 9 && tlv_as_double(&t, &d) && d == 0.25);
	assert_true(tlv_next(&row, &t) && t.tag == 3 && t.value.n == 0);
	assert_false(tlv_next(&row, &t));
	assert_int_equal(row.n, 0);
	buf_free(&b);
}

static void
test_a_row_that_was_cut_is_seen(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	fill(&b);
	for (size_t n = 1; n < buf_len(&b); n++) {
		char *copy = malloc(n);	/* its end is watched by the sanitizer */
		struct str row = { copy, n };
		struct tlv t;
		size_t fields = 0;

		memcpy(copy, buf_str(&b).p, n);
		while (tlv_next(&row, &t))
			fields++;
		assert_true(row.n > 0 || fields < 3);
		free(copy);
	}
	buf_free(&b);
}

static void
test_a_full_buffer_says_so(void **state)
{
	struct buf b;

	(void)state;
	for (size_t max = 0; max < 16; max++) {
		buf_init(&b, max);
		fill(&b);
		assert_true(b.failed);
		buf_free(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_come_back_as_they_were),
		cmocka_unit_test(test_a_row_that_was_cut_is_seen),
		cmocka_unit_test(test_a_full_buffer_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
