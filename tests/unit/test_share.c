/* test_share.c - who is on which color at a share: exact within the binomial bound, for ever the same, and
 * nobody goes back while it grows; and shares as stores keep them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "model/record.h"

#define CLIENTS 100000

/* The n-th client's address, as the data path hashes it. */
static uint32_t
point_of(const struct hash_secret *key, uint32_t n)
{
	uint32_t ip = n * 2654435761u;	/* all over IPv4, none twice */

	return share_point(key, &ip, sizeof(ip));
}

static enum color
color_of(const struct share *s, enum color active, uint32_t point)
{
	return point < share_threshold(s, active) ? s->low : color_other(s->low);
}

static struct share
blue_has(uint32_t share)
{
	return (struct share){ .idle = share, .low = BLUE, .since = 8, .key = { { 0x1234, 0x5678 } } };
}

static void
a_share_is_exact_within_its_bound_and_moves_nobody_back(void **state)
{
	static const uint32_t ramp[] = { 1, 100, 500, 1000, 2500, 5000, 7500, 9500, 9999 };
	static bool was_blue[CLIENTS];

	(void)state;
	memset(was_blue, 0, sizeof(was_blue));
	for (size_t i = 0; i < sizeof(ramp) / sizeof(ramp[0]); i++) {
		struct share s = blue_has(ramp[i]);
		double p = ramp[i] / (double)SHARE_WHOLE, sigma = sqrt(CLIENTS * p * (1 - p));
		unsigned blue = 0;

		for (uint32_t n = 0; n < CLIENTS; n++) {
			bool is = color_of(&s, GREEN, point_of(&s.key, n)) == BLUE;

			assert_true(is || !was_blue[n]);
			was_blue[n] = is;
			blue += is;
		}
		/* The key is a constant, and so is the number: no dice. */
		assert_true(fabs(blue - CLIENTS * p) <= 4 * sigma + 1);
	}
}

/* The new color becomes active and the old one keeps a part: from 95 % of an idle color to a hold-back of 5 % is no
 * change at all, and to one of 1 % only forward. */
static void
a_hold_back_keeps_those_who_were_on_the_old_color(void **state)
{
	struct share before = blue_has(9500), same = blue_has(500), less = blue_has(100);

	(void)state;
	for (uint32_t n = 0; n < CLIENTS; n++) {
		uint32_t point = point_of(&before.key, n);

		assert_int_equal(color_of(&before, GREEN, point), color_of(&same, BLUE, point));
		if (color_of(&same, BLUE, point) == BLUE)
			assert_int_equal(color_of(&less, BLUE, point), BLUE);
	}
}

static void
another_deployment_begins_with_other_clients(void **state)
{
	struct share a = blue_has(1000), b = blue_has(1000);
	unsigned both = 0;

	(void)state;
	b.key.k[0]++;
	for (uint32_t n = 0; n < CLIENTS; n++)
		both += color_of(&a, GREEN, point_of(&a.key, n)) == BLUE && color_of(&b, GREEN, point_of(&b.key, n)) == BLUE;
	/* A hundredth, as of two that know nothing of each other. */
	assert_in_range(both, 850, 1150);
}

static void
no_share_is_no_text(void **state)
{
	struct share none = { 0 }, out = blue_has(7);
	char text[SHARE_TEXT] = "x";

	(void)state;
	share_format(&none, 9, text);
	assert_string_equal(text, "");
	assert_true(share_parse(str_from(text), 9, &out));
	assert_int_equal(out.idle, 0);
}

static void
what_is_written_is_read_back(void **state)
{
	struct share s = blue_has(1234), out;
	char text[SHARE_TEXT];

	(void)state;
	share_format(&s, 9, text);
	assert_string_equal(text, "epoch=9 idle=1234 low=blue since=8 key=00000000000012340000000000005678");
	assert_true(share_parse(str_from(text), 9, &out));
	assert_true(share_same(&s, &out));
	assert_int_equal(share_held(&out, GREEN, GREEN), 8766);
	assert_int_equal(share_held(&out, GREEN, BLUE), 1234);
}

static void
a_ramp_is_read_back(void **state)
{
	struct share s = blue_has(500), out;
	char text[SHARE_TEXT];

	(void)state;
	s.ramp = (struct ramp){ .on = true, .n = 3, .at = 1, .steps = { 200, 500, SHARE_WHOLE }, .every_ms = 60000, .next_us = 123456789,
				.claim = "0123456789abcdef", .keep_claim = true, .bake_ms = 300000, .on_regression = 2 };
	memset(s.ramp.id, 'i', sizeof(s.ramp.id) - 1);
	memset(s.ramp.host, 'h', sizeof(s.ramp.host) - 1);
	share_format(&s, UINT64_MAX, text);
	assert_true(share_parse(str_from(text), UINT64_MAX, &out));
	assert_true(share_same(&s, &out));
	out.ramp.at = 0;
	assert_false(share_same(&s, &out));
	assert_true(share_same_split(&s, &out));
	out.ramp.on = false;
	assert_false(share_same(&s, &out));
}

/* A teald that knows of no shares has flipped since, and left the text alone. */
static void
a_share_of_another_epoch_is_over(void **state)
{
	struct share s = blue_has(1234), out;
	char text[SHARE_TEXT];

	(void)state;
	share_format(&s, 9, text);
	assert_true(share_parse(str_from(text), 10, &out));
	assert_int_equal(out.idle, 0);
}

static void
rubbish_is_no_share(void **state)
{
	static const char *const bad[] = {
		"x", "epoch=9", "idle", "epoch=9 idle=10000 low=blue", "epoch=9 idle=5 low=red", "epoch=9 idle=-1 low=blue",
		"epoch=9 idle=5 low=blue key=12", "epoch=9 idle=5 low=blue key=0000000000001234000000000000567g",
		"epoch=9 idle=5 low=blue  since=1",
		"epoch=9 idle=5 low=blue every=1000 at=1 steps=5,10000", "epoch=9 idle=5 low=blue every=1000 at=0 steps=5,4,10000",
		"epoch=9 idle=5 low=blue every=0 at=0 steps=5,10000", "epoch=9 idle=5 low=blue every=1000 at=0 steps=5,9999",
		"epoch=9 idle=5 low=blue every=1000 at=0 steps=10000", "epoch=9 idle=5 low=blue every=1000 steps=",
	};
	struct share out;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (share_parse(str_from(bad[i]), 9, &out))
			fail_msg("taken: %s", bad[i]);
	/* A later teald may say more. */
	assert_true(share_parse(STR("epoch=9 idle=5 low=blue colour=mauve"), 9, &out));
	assert_int_equal(out.idle, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_share_is_exact_within_its_bound_and_moves_nobody_back),
		cmocka_unit_test(a_hold_back_keeps_those_who_were_on_the_old_color),
		cmocka_unit_test(another_deployment_begins_with_other_clients),
		cmocka_unit_test(no_share_is_no_text),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(a_ramp_is_read_back),
		cmocka_unit_test(a_share_of_another_epoch_is_over),
		cmocka_unit_test(rubbish_is_no_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
