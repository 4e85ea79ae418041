/* test_buf.c - bytes come out in order, and never more than max are held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/hash.h"

static void
assert_holds(const struct buf *b, const char *expected)
{
	struct str s = buf_str(b);

	assert_int_equal(s.n, strlen(expected));
	assert_memory_equal(s.p, expected, s.n);
}

static void
test_starts_empty_without_memory(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_null(b.data);
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(buf_room(&b), 100);
	assert_holds(&b, "");
	assert_true(buf_append(&b, NULL, 0));
	buf_free(&b);
}

static void
test_append_and_consume_in_order(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_true(buf_append(&b, "hello ", 6));
	assert_true(buf_append(&b, "world", 5));
	assert_holds(&b, "hello world");
	buf_consume(&b, 6);
	assert_holds(&b, "world");
	assert_int_equal(buf_room(&b), 95);
	buf_consume(&b, 5);
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(b.start, 0);	/* all of the memory is free again */
	buf_free(&b);
}

static void
test_full_refuses_and_says_so(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_true(buf_append(&b, "0123456789", 10));
	assert_false(b.failed);
	assert_false(buf_append(&b, "x", 1));
	assert_true(b.failed);
	assert_holds(&b, "0123456789");	/* all or nothing */
	buf_consume(&b, 4);
	assert_false(buf_append(&b, "abcde", 5));
	assert_true(buf_append(&b, "abcd", 4));
	assert_holds(&b, "456789abcd");
	assert_null(buf_reserve(&b, (size_t)-1));	/* no overflow in the sum */
	buf_clear(&b);
	assert_false(b.failed);
	assert_int_equal(buf_room(&b), 10);
	buf_free(&b);
}

static void
test_never_grows_beyond_max(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (int i = 0; i < 1000; i++)
		assert_true(buf_append(&b, "x", 1));
	assert_int_equal(b.cap, 1000);
	assert_false(buf_append(&b, "x", 1));
	buf_free(&b);
	assert_null(b.data);
	assert_int_equal(b.max, 1000);
	assert_true(buf_append(&b, "again", 5));
	buf_free(&b);
}

static void
test_reserve_and_commit(void **state)
{
	struct buf b;
	char *p;

	(void)state;
	buf_init(&b, 600);
	p = buf_reserve(&b, 600);
	assert_non_null(p);
	memset(p, 'a', 600);
	buf_commit(&b, 0);
	assert_int_equal(buf_len(&b), 0);
	p = buf_reserve(&b, 300);
	memset(p, 'b', 300);
	buf_commit(&b, 200);
	assert_int_equal(buf_len(&b), 200);
	assert_int_equal(buf_str(&b).p[199], 'b');
	buf_free(&b);
}

static void
test_printf_short_and_long(void **state)
{
	char wide[1024];
	struct buf b;

	(void)state;
	buf_init(&b, 2048);
	assert_true(buf_printf(&b, "%s-%d", "a", 7));
	assert_holds(&b, "a-7");
	buf_clear(&b);
	assert_true(buf_printf(&b, "%01023d", 5));
	snprintf(wide, sizeof(wide), "%01023d", 5);
	assert_holds(&b, wide);
	assert_true(buf_printf(&b, "%01024d", 5));
	assert_false(buf_printf(&b, "xx"));	/* 2047 of 2048 are taken */
	assert_true(b.failed);
	assert_int_equal(buf_len(&b), 2047);
	buf_free(&b);
}

/* A long random walk, compared with what the bytes must be. */
static void
test_random_walk_keeps_every_byte(void **state)
{
	uint64_t seed = 1, put = 0, got = 0;
	struct buf b;

	(void)state;
	buf_init(&b, 777);
	for (int i = 0; i < 20000; i++) {
		size_t n = random_next(&seed) % 300;
		unsigned char bytes[300];

		if (random_next(&seed) % 2 == 0) {
			for (size_t k = 0; k < n; k++)
				bytes[k] = (unsigned char)((put + k) * 7);
			assert_int_equal(buf_append(&b, bytes, n), n <= 777 - (put - got));
			if (n <= 777 - (put - got))
				put += n;
		} else {
			struct str s = buf_str(&b);

			assert_int_equal(s.n, put - got);
			n = n < s.n ? n : s.n;
			for (size_t k = 0; k < n; k++)
				assert_int_equal((unsigned char)s.p[k], (unsigned char)((got + k) * 7));
			buf_consume(&b, n);
			got += n;
		}
		assert_true(b.cap <= 777);
	}
	assert_true(put > 100000);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starts_empty_without_memory),
		cmocka_unit_test(test_append_and_consume_in_order),
		cmocka_unit_test(test_full_refuses_and_says_so),
		cmocka_unit_test(test_never_grows_beyond_max),
		cmocka_unit_test(test_reserve_and_commit),
		cmocka_unit_test(test_printf_short_and_long),
		cmocka_unit_test(test_random_walk_keeps_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
