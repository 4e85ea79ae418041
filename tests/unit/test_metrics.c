/* test_metrics.c - the metrics as Prometheus reads them: every family once,
 * announced, and with the numbers that were counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

#include "app/teald/metrics.h"

static int
set_up(void **state)
{
	*state = world_new();
	return 0;
}

static int
tear_down(void **state)
{
	world_free(*state);
	return 0;
}

/* The caller's to free. */
static char *
metrics_of(struct world *w)
{
	struct buf b;
	char *text;

	buf_init(&b, 1 << 22);
	metrics_write(&b, &w->control, PROM_TEXT);
	assert_false(b.failed);
	text = must_printf("%.*s", (int)buf_len(&b), buf_str(&b).p);
	buf_free(&b);
	return text;
}

static void
expect_line(const char *text, const char *line)
{
	char *whole = must_printf("\n%s\n", line);

	if (strstr(text, whole) == NULL)
		fail_msg("no line \"%s\" in:\n%s", line, text);
	free(whole);
}

static double
value_of(const char *text, const char *series)
{
	char *whole = must_printf("\n%s ", series);
	const char *at = strstr(text, whole);

	if (at == NULL)
		fail_msg("no series %s in:\n%s", series, text);
	at += strlen(whole);
	free(whole);
	return atof(at);
}

static void
every_sample_belongs_to_its_announced_family(void **state)
{
	char *text = metrics_of(*state), *line, *save = NULL, family[128] = "", seen[8192] = "", key[140];
	unsigned families = 0;

	assert_int_equal(text[strlen(text) - 1], '\n');
	for (line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "# HELP ", 7) == 0) {
			assert_int_equal(sscanf(line + 7, "%127s", family), 1);
			assert_true(strlen(line) > 7 + strlen(family) + 5);
			snprintf(key, sizeof(key), " %s ", family);
			assert_null(strstr(seen, key));
			strcat(seen, key);
			families++;
		} else if (strncmp(line, "# TYPE ", 7) == 0) {
			assert_int_equal(strncmp(line + 7, family, strlen(family)), 0);
			/* Counters end in _total, nothing else does. */
			if (strstr(line, " counter") != NULL)
				assert_string_equal(family + strlen(family) - 6, "_total");
			else
				assert_true(strlen(family) < 6 ||
					    strcmp(family + strlen(family) - 6, "_total") != 0);
		} else if (strncmp(line, family, strlen(family)) != 0) {
			fail_msg("%s is not of %s", line, family);
		}
	}
	assert_true(families > 20);
	free(text);
}

static void
counts_what_the_workers_counted(void **state)
{
	struct world *w = *state;
	struct service *shop = w->running[0];
	struct tally_color *first = &shop->tallies[0].colors[ENTRANCE_MAIN][GREEN];
	struct tally_color *second = &shop->tallies[1].colors[ENTRANCE_MAIN][GREEN];
	char *text;

	tally_add(&first->ended[END_DONE], 3);
	tally_add(&second->ended[END_DONE], 4);
	tally_add(&second->ended[END_LIMIT], 5);
	tally_add(&first->active, 2);
	tally_add(&first->bytes_in, 100);
	tally_add(&second->bytes_out, 5000000000);
	tally_add(&second->retries, 1);
	tally_observe(&first->connect_seconds, 0.0002);
	tally_observe(&second->connect_seconds, 0.3);
	tally_observe(&second->connect_seconds, 60.0);
	atomic_store(&shop->colors[GREEN].backends[0]->connections, 9);
	text = metrics_of(w);
	expect_line(text, "teal_service_active{service=\"shop\",color=\"green\"} 1");
	expect_line(text, "teal_service_active{service=\"shop\",color=\"blue\"} 0");
	expect_line(text, "teal_service_epoch{service=\"shop\"} 1");
	expect_line(text, "teal_connections{service=\"shop\",color=\"green\"} 2");
	expect_line(text, "teal_connections_total{service=\"shop\",color=\"green\",end=\"done\"} 7");
	expect_line(text, "teal_connections_total{service=\"shop\",color=\"blue\",end=\"client_reset\"} 0");
	expect_line(text, "teal_rejected_total{service=\"shop\",reason=\"max_connections\"} 5");
	expect_line(text, "teal_bytes_total{service=\"shop\",color=\"green\",direction=\"in\"} 100");
	expect_line(text, "teal_bytes_total{service=\"shop\",color=\"green\",direction=\"out\"} 5000000000");
	expect_line(text, "teal_retries_total{service=\"shop\",color=\"green\"} 1");
	expect_line(text, "teal_connect_seconds_bucket{service=\"shop\",color=\"green\",le=\"0.0001\"} 0");
	expect_line(text, "teal_connect_seconds_bucket{service=\"shop\",color=\"green\",le=\"0.00025\"} 1");
	expect_line(text, "teal_connect_seconds_bucket{service=\"shop\",color=\"green\",le=\"0.5\"} 2");
	expect_line(text, "teal_connect_seconds_bucket{service=\"shop\",color=\"green\",le=\"+Inf\"} 3");
	expect_line(text, "teal_connect_seconds_count{service=\"shop\",color=\"green\"} 3");
	assert_true(value_of(text, "teal_connect_seconds_sum{service=\"shop\",color=\"green\"}") > 60.3);
	expect_line(text, "teal_store_up 1");
	expect_line(text, "teal_store_age_seconds 0.25");
	expect_line(text, "teal_ready 1");
	expect_line(text, "teal_maintenance 0");
	assert_non_null(strstr(text, "\nteal_build_info{version=\""));
	assert_non_null(
		strstr(text, "\nteal_backend_up{service=\"shop\",color=\"green\",backend=\"127.0.0.1:"));
	assert_non_null(strstr(
		text, "\nteal_backend_connections{service=\"shop\",color=\"green\",backend=\"127.0.0.1:"));
	free(text);
}

/* A sum over a service's series must be its users' traffic. */
static void
previews_have_series_of_their_own(void **state)
{
	struct world *w = *state;
	char *text;

	tally_add(&w->running[1]->tallies[0].colors[ENTRANCE_PREVIEW][BLUE].ended[END_DONE], 11);
	text = metrics_of(w);
	expect_line(text, "teal_connections_total{service=\"pay\",color=\"blue\",end=\"done\"} 0");
	expect_line(
		text,
		"teal_connections_total{service=\"pay\",color=\"blue\",entrance=\"preview\",end=\"done\"} 11");
	assert_null(strstr(text, "service=\"shop\",color=\"blue\",entrance=\"preview\""));
	free(text);
}

/* During and after an upgrade. */
static void
goes_on_from_what_the_teald_before_has_counted(void **state)
{
	struct world *w = *state;
	struct service *shop = w->running[0];
	struct tally_color *theirs = &shop->inherited->colors[ENTRANCE_MAIN][GREEN];
	struct inherited *in = &w->control.inherited;
	char *text;

	tally_add(&shop->tallies[0].colors[ENTRANCE_MAIN][GREEN].ended[END_DONE], 3);
	tally_add(&theirs->ended[END_DONE], 4);
	tally_add(&theirs->active, 2);
	tally_add(&theirs->bytes_in, 100);
	tally_add(&theirs->retries, 6);
	tally_observe(&theirs->connect_seconds, 0.002);
	in->log_dropped = 5;
	in->cpu_seconds = 1000;
	in->n_lags = 2;
	in->lags = must_array(2, sizeof(*in->lags));
	strcpy(in->lags[0].thread, "main");
	tally_observe(&in->lags[0].lag, 0.1);
	strcpy(in->lags[1].thread, "gone");
	tally_observe(&in->lags[1].lag, 0.1);
	text = metrics_of(w);
	expect_line(text, "teal_connections_total{service=\"shop\",color=\"green\",end=\"done\"} 7");
	expect_line(text, "teal_connections{service=\"shop\",color=\"green\"} 2");
	expect_line(text, "teal_bytes_total{service=\"shop\",color=\"green\",direction=\"in\"} 100");
	expect_line(text, "teal_retries_total{service=\"shop\",color=\"green\"} 6");
	expect_line(text, "teal_connect_seconds_count{service=\"shop\",color=\"green\"} 1");
	assert_true(value_of(text, "teal_log_dropped_total") >= 5);
	assert_true(value_of(text, "process_cpu_seconds_total") >= 1000);
	assert_true(value_of(text, "teal_loop_lag_seconds_count{thread=\"main\"}") >= 1);
	expect_line(text, "teal_loop_lag_seconds_count{thread=\"gone\"} 1");
	free(text);
}

static void
counts_requests_of_http_services(void **state)
{
	struct world *w = *state;
	struct service *shop = w->running[0];
	char *text;

	free(shop->tallies);
	shop->tallies = tally_array(shop->n_tallies, true);
	shop->inherited = &shop->tallies[shop->n_tallies - 1];
	tally_request(&shop->tallies[0].colors[ENTRANCE_MAIN][BLUE], 200, 0.002);
	tally_request(&shop->tallies[1].colors[ENTRANCE_MAIN][BLUE], 200, 0.75);
	tally_request(&shop->tallies[1].colors[ENTRANCE_MAIN][BLUE], 503, 60.0);
	tally_request(&shop->tallies[1].colors[ENTRANCE_MAIN][GREEN], 418, 0.0);
	text = metrics_of(w);
	expect_line(text, "teal_requests_total{service=\"shop\",color=\"blue\",code=\"200\",protocol=\"HTTP/1\"} 2");
	expect_line(text, "teal_requests_total{service=\"shop\",color=\"blue\",code=\"503\",protocol=\"HTTP/1\"} 1");
	expect_line(text, "teal_requests_total{service=\"shop\",color=\"green\",code=\"4xx\",protocol=\"HTTP/1\"} 1");
	expect_line(text, "teal_request_seconds_bucket{service=\"shop\",color=\"blue\",le=\"0.001\"} 0");
	expect_line(text, "teal_request_seconds_bucket{service=\"shop\",color=\"blue\",le=\"0.0025\"} 1");
	expect_line(text, "teal_request_seconds_bucket{service=\"shop\",color=\"blue\",le=\"30.0\"} 2");
	expect_line(text, "teal_request_seconds_count{service=\"shop\",color=\"blue\"} 3");
	/* Codes that never came, and services that know none. */
	assert_null(strstr(text, "code=\"404\""));
	assert_null(strstr(text, "teal_requests_total{service=\"pay\""));
	assert_null(strstr(text, "teal_request_seconds_count{service=\"pay\""));
	free(text);
}

static void
counts_flips_and_drains(void **state)
{
	struct world *w = *state;
	struct service_ctl *ctl = w->control.services[0];
	char *text;

	ctl->flips_total.by_result[BLUE][OK] = 2;
	ctl->flips_total.by_result[BLUE][E_UNHEALTHY] = 1;
	/* The last error of the table has its own count, too. */
	ctl->flips_total.by_result[BLUE][E_INCONCLUSIVE] = 3;
	ctl->flip_seconds.count[3] = 2;
	ctl->flip_seconds.sum = 0.0016;
	w->connections[0][BLUE] = 17;
	drain_start(ctl, BLUE, -1);
	text = metrics_of(w);
	expect_line(text, "teal_flips_total{service=\"shop\",to=\"blue\",result=\"ok\"} 2");
	expect_line(text, "teal_flips_total{service=\"shop\",to=\"blue\",result=\"unhealthy\"} 1");
	expect_line(text, "teal_flips_total{service=\"shop\",to=\"blue\",result=\"inconclusive\"} 3");
	expect_line(text, "teal_flips_total{service=\"shop\",to=\"green\",result=\"ok\"} 0");
	assert_null(strstr(text, "to=\"green\",result=\"unsupported\""));
	expect_line(text, "teal_flip_seconds_bucket{service=\"shop\",le=\"0.0005\"} 0");
	expect_line(text, "teal_flip_seconds_bucket{service=\"shop\",le=\"0.001\"} 2");
	expect_line(text, "teal_flip_seconds_count{service=\"shop\"} 2");
	expect_line(text, "teal_draining_connections{service=\"shop\",color=\"blue\"} 17");
	expect_line(text, "teal_draining_connections{service=\"shop\",color=\"green\"} 0");
	free(text);
}

static unsigned
count_of(const char *text, const char *part)
{
	unsigned n = 0;

	while ((text = strstr(text, part)) != NULL) {
		text++;
		n++;
	}
	return n;
}

/* Also in the middle of an exposition: each of the others is told once. */
static void
a_service_that_goes_has_no_series(void **state)
{
	struct metrics_cursor cursor = { .format = PROM_TEXT };
	struct world *w = *state;
	struct buf b;
	char *text;

	buf_init(&b, 1 << 22);
	while (cursor.next == 0)
		metrics_some(&b, &w->control, &cursor, buf_len(&b) + 1);
	world_remove(w, 0);
	while (!cursor.over)
		metrics_some(&b, &w->control, &cursor, buf_len(&b) + 1);
	buf_append(&b, "", 1);
	text = (char *)(uintptr_t)buf_str(&b).p;
	assert_int_equal(count_of(text, "\nteal_service_active{service=\"pay\",color=\"green\"}"), 1);
	assert_int_equal(count_of(text, "\nteal_service_epoch{service=\"pay\"}"), 1);
	assert_int_equal(count_of(text, "\nteal_service_epoch{service=\"shop\"}"), 0);
	buf_free(&b);
	text = metrics_of(w);
	assert_int_equal(count_of(text, "shop"), 0);
	free(text);
	/* It is back, behind the other. */
	world_add(w, 0);
	text = metrics_of(w);
	expect_line(text, "teal_service_epoch{service=\"shop\"} 1");
	assert_true(strstr(text, "teal_service_epoch{service=\"pay\"}") < strstr(text, "teal_service_epoch{service=\"shop\"}"));
	free(text);
}

static void
tells_of_its_own_process(void **state)
{
	char *text = metrics_of(*state);
	double before = value_of(text, "process_open_fds"), started;
	int fd = dup(0);

	assert_true(fd >= 0);
	started = value_of(text, "process_start_time_seconds");
	assert_true(started <= ev_time() + 1 && started > ev_time() - 600);
	assert_true(value_of(text, "process_resident_memory_bytes") > 100000);
	assert_true(value_of(text, "process_virtual_memory_bytes") >=
		    value_of(text, "process_resident_memory_bytes"));
	assert_true(value_of(text, "process_max_fds") >= before);
	assert_true(value_of(text, "process_cpu_seconds_total") > 0);
	free(text);
	text = metrics_of(*state);
	assert_true(value_of(text, "process_open_fds") == before + 1);
	free(text);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_sample_belongs_to_its_announced_family, set_up, tear_down),
		cmocka_unit_test_setup_teardown(counts_what_the_workers_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(previews_have_series_of_their_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(goes_on_from_what_the_teald_before_has_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(counts_requests_of_http_services, set_up, tear_down),
		cmocka_unit_test_setup_teardown(counts_flips_and_drains, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_service_that_goes_has_no_series, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tells_of_its_own_process, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
