/* test_prometheus.c - the exposition format, byte by byte. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "proto/prometheus.h"

static struct buf out;
static struct prom p;

static int
setup(void **state)
{
	(void)state;
	buf_init(&out, 65536);
	prom_init(&p, &out);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	buf_free(&out);
	return 0;
}

static void
assert_wrote(const char *expected)
{
	struct str s = buf_str(&out);

	if (!str_eq(s, expected))
		fail_msg("%.*s\ninstead of\n%s", (int)s.n, s.p, expected);
	assert_false(out.failed);
}

static void
test_counters_and_gauges(void **state)
{
	struct prom_label labels[] = { { "service", STR("shop") }, { "color", STR("green") } };

	(void)state;
	prom_family(&p, "teal_connections_total", PROM_COUNTER, "Connections ended.");
	prom_u64(&p, NULL, labels, 2, UINT64_MAX);
	prom_u64(&p, NULL, labels, 1, 0);
	prom_family(&p, "teal_store_age_seconds", PROM_GAUGE, "Age of the knowledge.");
	prom_double(&p, NULL, NULL, 0, 0.4);
	assert_wrote("# HELP teal_connections_total Connections ended.\n"
		     "# TYPE teal_connections_total counter\n"
		     "teal_connections_total{service=\"shop\",color=\"green\"} 18446744073709551615\n"
		     "teal_connections_total{service=\"shop\"} 0\n"
		     "# HELP teal_store_age_seconds Age of the knowledge.\n"
		     "# TYPE teal_store_age_seconds gauge\n"
		     "teal_store_age_seconds 0.4\n");
}

static void
test_numbers(void **state)
{
	(void)state;
	prom_family(&p, "g", PROM_GAUGE, "h");
	buf_clear(&out);
	prom_double(&p, NULL, NULL, 0, 3);
	prom_double(&p, NULL, NULL, 0, -1.5);
	prom_double(&p, NULL, NULL, 0, 1e21);
	prom_double(&p, NULL, NULL, 0, 1732284131.123);
	prom_double(&p, NULL, NULL, 0, INFINITY);
	prom_double(&p, NULL, NULL, 0, -INFINITY);
	prom_double(&p, "_x", NULL, 0, NAN);
	assert_wrote("g 3\ng -1.5\ng 1e+21\ng 1732284131.123\ng +Inf\ng -Inf\ng_x NaN\n");
}

static void
test_label_values_are_escaped(void **state)
{
	static const struct {
		struct str value;
		const char *expected;
	} cases[] = {
		{ { NULL, 0 }, "g{l=\"\"} 1\n" },
		{ { "a\\b", 3 }, "g{l=\"a\\\\b\"} 1\n" },
		{ { "\"", 1 }, "g{l=\"\\\"\"} 1\n" },
		{ { "a\nb\n", 4 }, "g{l=\"a\\nb\\n\"} 1\n" },
		{ { "\\n", 2 }, "g{l=\"\\\\n\"} 1\n" },
		{ { "caf\xc3\xa9,{}=", 9 }, "g{l=\"caf\xc3\xa9,{}=\"} 1\n" },
		{ { "a\xff\xc3", 3 }, "g{l=\"a\xef\xbf\xbd\xef\xbf\xbd\"} 1\n" },
		{ { "[::1]:80", 8 }, "g{l=\"[::1]:80\"} 1\n" },
	};

	(void)state;
	prom_family(&p, "g", PROM_GAUGE, "h");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct prom_label label = { "l", cases[i].value };

		buf_clear(&out);
		prom_u64(&p, NULL, &label, 1, 1);
		assert_wrote(cases[i].expected);
	}
}

static void
test_histogram_is_cumulative(void **state)
{
	static const double bounds[] = { 0.005, 0.1, 1, 10 };
	static const uint64_t counts[] = { 3, 0, 2, 1, 4 };
	struct prom_histogram h = { bounds, counts, 4, 77.25 };
	struct prom_label label = { "service", STR("shop") };

	(void)state;
	prom_family(&p, "s", PROM_HISTOGRAM, "h");
	buf_clear(&out);
	prom_observed(&p, &label, 1, &h);
	assert_wrote("s_bucket{service=\"shop\",le=\"0.005\"} 3\n"
		     "s_bucket{service=\"shop\",le=\"0.1\"} 3\n"
		     "s_bucket{service=\"shop\",le=\"1\"} 5\n"
		     "s_bucket{service=\"shop\",le=\"10\"} 6\n"
		     "s_bucket{service=\"shop\",le=\"+Inf\"} 10\n"
		     "s_sum{service=\"shop\"} 77.25\n"
		     "s_count{service=\"shop\"} 10\n");
	buf_clear(&out);
	h.n = 0;
	prom_observed(&p, NULL, 0, &h);
	assert_wrote("s_bucket{le=\"+Inf\"} 3\ns_sum 77.25\ns_count 3\n");
}

static void
test_too_small_a_buf_fails(void **state)
{
	struct buf small;
	struct prom q;

	(void)state;
	buf_init(&small, 40);
	prom_init(&q, &small);
	prom_family(&q, "a_name", PROM_GAUGE, "some help");
	prom_u64(&q, NULL, NULL, 0, 1);
	assert_true(small.failed);
	assert_true(buf_len(&small) <= 40);
	buf_free(&small);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_counters_and_gauges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_label_values_are_escaped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_histogram_is_cumulative, setup, teardown),
		cmocka_unit_test(test_too_small_a_buf_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
