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
	prom_init(&p, &out, PROM_TEXT);
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
		     "s_bucket{service=\"shop\",le=\"1.0\"} 5\n"
		     "s_bucket{service=\"shop\",le=\"10.0\"} 6\n"
		     "s_bucket{service=\"shop\",le=\"+Inf\"} 10\n"
		     "s_sum{service=\"shop\"} 77.25\n"
		     "s_count{service=\"shop\"} 10\n");
	buf_clear(&out);
	h.n = 0;
	prom_observed(&p, NULL, 0, &h);
	assert_wrote("s_bucket{le=\"+Inf\"} 3\ns_sum 77.25\ns_count 3\n");
}

static void
test_openmetrics_names_families_without_their_endings(void **state)
{
	static const double bounds[] = { 0.5, 2 };
	static const uint64_t counts[] = { 1, 0, 1 };
	struct prom_histogram h = { bounds, counts, 2, 3.5 };
	struct prom_label label = { "service", STR("a\"b") };

	(void)state;
	prom_init(&p, &out, PROM_OPENMETRICS);
	prom_family(&p, "x_info", PROM_INFO, "Always 1.");
	prom_u64(&p, NULL, &label, 1, 1);
	prom_family(&p, "x_open", PROM_GAUGE, "Open ones.");
	prom_u64(&p, NULL, NULL, 0, 7);
	prom_family(&p, "x_open_total", PROM_COUNTER_BESIDE, "All.");
	prom_u64(&p, NULL, NULL, 0, 8);
	prom_family(&p, "x_bytes_total", PROM_COUNTER, "Moved.");
	prom_u64(&p, NULL, &label, 1, 9);
	prom_family(&p, "x_wait_seconds", PROM_HISTOGRAM, "Waited.");
	prom_observed(&p, NULL, 0, &h);
	prom_end(&p);
	assert_wrote("# TYPE x info\n# HELP x Always 1.\nx_info{service=\"a\\\"b\"} 1\n"
		     "# TYPE x_open gauge\n# HELP x_open Open ones.\nx_open 7\n"
		     "# TYPE x_open_total unknown\n# HELP x_open_total All.\nx_open_total 8\n"
		     "# TYPE x_bytes counter\n# UNIT x_bytes bytes\n# HELP x_bytes Moved.\n"
		     "x_bytes_total{service=\"a\\\"b\"} 9\n"
		     "# TYPE x_wait_seconds histogram\n# UNIT x_wait_seconds seconds\n"
		     "# HELP x_wait_seconds Waited.\n"
		     "x_wait_seconds_bucket{le=\"0.5\"} 1\nx_wait_seconds_bucket{le=\"2.0\"} 1\n"
		     "x_wait_seconds_bucket{le=\"+Inf\"} 2\nx_wait_seconds_sum 3.5\nx_wait_seconds_count 2\n"
		     "# EOF\n");
}

static void
test_the_format_follows_the_accept_header(void **state)
{
	static const struct {
		const char *accept;
		enum prom_format format;
	} cases[] = {
		{ "", PROM_TEXT },
		{ "*/*", PROM_TEXT },
		{ "text/html,*/*;q=0.8", PROM_TEXT },
		{ "text/plain;version=0.0.4", PROM_TEXT },
		/* Prometheus 2 and 3. */
		{ "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
		  "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		  PROM_OPENMETRICS },
		{ "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
		  "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
		  "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
		  PROM_OPENMETRICS },
		{ "application/openmetrics-text", PROM_OPENMETRICS },
		{ " Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=1.0 ", PROM_OPENMETRICS },
		{ "application/openmetrics-text;version=0.0.1", PROM_TEXT },
		{ "application/openmetrics-text; version=2.0.0, text/plain", PROM_TEXT },
		{ "application/openmetrics-text;q=0", PROM_TEXT },
		{ "application/openmetrics-text;q=0.5,text/plain;q=0.501", PROM_TEXT },
		{ "application/openmetrics-text;q=0.5,text/plain;q=0.5", PROM_OPENMETRICS },
		{ ",,;;=,q=,application/openmetrics-text;q=;version", PROM_OPENMETRICS },
		{ "application/openmetrics-textual", PROM_TEXT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (prom_negotiate(str_from(cases[i].accept)) != cases[i].format)
			fail_msg("%s", cases[i].accept);
	assert_int_equal(prom_negotiate((struct str){ NULL, 0 }), PROM_TEXT);
}

static void
test_too_small_a_buf_fails(void **state)
{
	struct buf small;
	struct prom q;

	(void)state;
	buf_init(&small, 40);
	prom_init(&q, &small, PROM_TEXT);
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
		cmocka_unit_test_setup_teardown(test_openmetrics_names_families_without_their_endings, setup, teardown),
		cmocka_unit_test(test_the_format_follows_the_accept_header),
		cmocka_unit_test(test_too_small_a_buf_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
