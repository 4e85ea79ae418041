/* test_service.c - a service made from its configuration, and its sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/service.h"

static struct backend_config three[3], two[2];
static struct service_config config;

static int
set_up(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_true(addr_parse_ip("10.0.0.1", 10080 + i, &three[i].address));
	for (unsigned i = 0; i < 2; i++)
		assert_true(addr_parse_ip("10.0.0.1", 11080 + i, &two[i].address));
	for (unsigned i = 0; i < 3; i++) {
		three[i].health_address = three[i].address;
		three[i].weight = 1;
	}
	for (unsigned i = 0; i < 2; i++) {
		two[i].health_address = two[i].address;
		addr_set_port(&two[i].health_address, 11254);
		two[i].weight = 1;
	}
	config = (struct service_config){
		.name = "shop",
		.initial = BLUE,
		.colors = { { .backends = three, .n_backends = 3 }, { .backends = two, .n_backends = 2 } },
		.min_healthy = { 50, true },
		.max_connections = 7,
	};
	return 0;
}

static void
test_is_what_the_configuration_says(void **state)
{
	struct service *s = service_new(&config, 4, 2);

	(void)state;
	assert_int_equal(s->index, 4);
	assert_ptr_equal(s->config, &config);
	assert_int_equal(s->record.color, BLUE);
	assert_false(s->known);	/* only the store knows */
	assert_int_equal(s->admission.limit, 7);
	assert_int_equal(s->colors[GREEN].n, 3);
	assert_int_equal(s->colors[BLUE].n, 2);
	assert_int_equal(s->colors[BLUE].backends[1]->color, BLUE);
	assert_string_equal(s->colors[BLUE].backends[1]->text, "10.0.0.1:11081");
	assert_int_equal(addr_port(&s->colors[BLUE].backends[1]->health_address), 11254);
	service_free(&s);
	assert_null(s);
	service_free(&s);	/* harmless */
}

static void
test_limits_follow_a_configuration(void **state)
{
	struct service_config stricter = config;
	struct service *s = service_new(&config, 4, 2);
	const struct source_counts *counts;

	(void)state;
	assert_null(s->source_counts);
	assert_true(admission_enter(&s->admission, 5));
	stricter.max_connections = 6;
	stricter.limits.per_source = 3;
	stricter.limits.source_rate = (struct source_rate){ 5, 1 };
	service_set_limits(s, &stricter);
	assert_int_equal(s->admission.limit, 6);
	assert_int_equal(s->admission.held, 5);
	assert_non_null(s->source_rates);
	counts = s->source_counts;
	assert_non_null(counts);
	/* Those who are counted leave where they came in. */
	service_set_limits(s, &config);
	assert_int_equal(s->admission.limit, 7);
	assert_ptr_equal(s->source_counts, counts);
	service_free(&s);
}

static void
test_connections_are_summed_over_workers(void **state)
{
	struct service *s = service_new(&config, 0, 3);

	(void)state;
	for (unsigned w = 0; w < 3; w++) {
		tally_add(&s->tallies[w].colors[ENTRANCE_MAIN][GREEN].active, w + 1);
		tally_add(&s->tallies[w].colors[ENTRANCE_PREVIEW][GREEN].active, 100);
	}
	assert_int_equal(service_connections(s, ENTRANCE_MAIN, GREEN), 6);
	assert_int_equal(service_connections(s, ENTRANCE_MAIN, BLUE), 0);
	assert_int_equal(service_connections(s, ENTRANCE_PREVIEW, GREEN), 300);
	service_free(&s);
}

static void
test_only_up_is_healthy(void **state)
{
	struct service *s = service_new(&config, 0, 1);

	(void)state;
	assert_int_equal(service_healthy(s, GREEN), 0);
	s->colors[GREEN].backends[0]->state = BACKEND_UP;
	s->colors[GREEN].backends[1]->state = BACKEND_DOWN;
	assert_int_equal(service_healthy(s, GREEN), 1);
	assert_int_equal(service_healthy(s, BLUE), 0);
	service_free(&s);
}

static size_t
needed(unsigned value, bool percent, enum color color)
{
	struct service *s = service_new(&config, 0, 1);
	size_t n;

	config.min_healthy = (struct quorum){ value, percent };
	n = service_needed(s, color);
	service_free(&s);
	return n;
}

static void
test_the_quorum_rounds_up_and_is_at_least_one(void **state)
{
	(void)state;
	assert_int_equal(needed(50, true, GREEN), 2);	/* of 3 */
	assert_int_equal(needed(50, true, BLUE), 1);	/* of 2 */
	assert_int_equal(needed(51, true, BLUE), 2);
	assert_int_equal(needed(100, true, GREEN), 3);
	assert_int_equal(needed(0, true, GREEN), 1);
	assert_int_equal(needed(1, true, GREEN), 1);
	assert_int_equal(needed(2, false, GREEN), 2);
	assert_int_equal(needed(0, false, GREEN), 1);
	/* More than there are: never reached, rather than quietly less. */
	assert_int_equal(needed(9, false, GREEN), 9);
}

static void
test_words_of_changes_read_back(void **state)
{
	enum change c;

	(void)state;
	for (int i = CHANGE_INITIAL; i <= CHANGE_RELEASE; i++) {
		assert_true(change_from_word(change_word((enum change)i), &c));
		assert_int_equal(c, i);
	}
	assert_false(change_from_word("", &c));
	assert_false(change_from_word("flipped", &c));
}

static void
test_totals_are_sums_over_workers(void **state)
{
	struct service_totals t;
	struct service *s;
	struct tally_color *c;

	(void)state;
	config.mode = MODE_HTTP;
	s = service_new(&config, 0, 2);
	c = &s->tallies[1].colors[ENTRANCE_MAIN][BLUE];
	tally_add(&c->active, 3);
	tally_add(&c->ended[END_DONE], 10);
	tally_add(&c->ended[END_CONNECT], 2);
	tally_add(&c->ended[END_DENIED], 5);	/* never began */
	tally_add(&c->ended[END_DRAINED], 7);	/* as asked */
	tally_add(&c->bytes_in, 100);
	tally_add(&s->tallies[0].colors[ENTRANCE_MAIN][BLUE].bytes_in, 11);
	tally_add(&s->tallies[0].colors[ENTRANCE_PREVIEW][BLUE].bytes_in, 1000);
	tally_add(&s->tallies[0].colors[ENTRANCE_MAIN][GREEN].bytes_out, 9);
	tally_request(c, 200, 0.1);
	tally_request(c, 404, 0.1);
	tally_request(c, 503, 0.1);
	tally_request(&s->tallies[0].colors[ENTRANCE_MAIN][GREEN], 599, 0.1);
	service_totals(s, &t);
	assert_int_equal(t.begun[BLUE], 3 + 10 + 2 + 7);
	assert_int_equal(t.begun[GREEN], 0);
	assert_int_equal(t.in[BLUE], 111);
	assert_int_equal(t.out[GREEN], 9);
	assert_int_equal(t.failed, 2 + 5);
	assert_int_equal(t.requests[BLUE], 3);
	assert_int_equal(t.requests[GREEN], 1);
	assert_int_equal(t.errors, 2);
	service_free(&s);
	config.mode = MODE_TCP;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_limits_follow_a_configuration, set_up),
		cmocka_unit_test_setup(test_is_what_the_configuration_says, set_up),
		cmocka_unit_test_setup(test_connections_are_summed_over_workers, set_up),
		cmocka_unit_test_setup(test_only_up_is_healthy, set_up),
		cmocka_unit_test_setup(test_the_quorum_rounds_up_and_is_at_least_one, set_up),
		cmocka_unit_test_setup(test_words_of_changes_read_back, set_up),
		cmocka_unit_test_setup(test_totals_are_sums_over_workers, set_up),
	};

	return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
