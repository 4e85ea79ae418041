/* test_trouble.c - what is called wrong with a service, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

#include "app/teald/trouble.h"
#include "base/clock.h"
#include "control/bake.h"

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

/* The caller's reference: {"trouble":[…],"rollback":…} of shop. */
static json_t *
outlook(struct world *w)
{
	struct buf text;
	struct json j;
	json_t *o;

	buf_init(&text, 1 << 16);
	json_init(&j, &text);
	json_object(&j, NULL);
	trouble_json(&j, w->control.services[0]);
	trouble_rollback_json(&j, w->control.services[0]);
	json_object_end(&j);
	assert_false(text.failed);
	o = json_loadb(buf_str(&text).p, buf_len(&text), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	buf_free(&text);
	return o;
}

/* The trouble is exactly that; "": none. */
static void
expect_trouble(struct world *w, const char *words)
{
	json_t *o = outlook(w), *one;
	char got[256] = "";
	size_t i;

	json_array_foreach(json_object_get(o, "trouble"), i, one)
	{
		strcat(got, i > 0 ? " " : "");
		strcat(got, json_string_value(json_object_get(one, "what")));
		assert_true(json_string_length(json_object_get(one, "message")) > 10);
	}
	assert_string_equal(got, words);
	assert_int_equal(trouble_count(w->control.services[0]), json_array_size(json_object_get(o, "trouble")));
	json_decref(o);
}

static struct backend *
backend_of(struct world *w, enum color color, size_t i)
{
	return w->running[0]->colors[color].backends[i];
}

/* Four of each color. */
static void
give_backends(struct world *w)
{
	for (int color = GREEN; color < COLORS; color++)
		for (unsigned i = 1; i < 4; i++) {
			struct addr a;
			struct backend *b;

			CHECK(addr_parse_ip("10.0.0.1", 1000 + i, &a));
			b = backend_new((enum color)color, &a, &a);
			b->state = BACKEND_UP;
			service_add_backend(w->running[0], b);
		}
}

static void
flipped(struct world *w)
{
	w->running[0]->record.change = CHANGE_FLIP;
}

static void
all_is_well(void **state)
{
	give_backends(*state);
	expect_trouble(*state, "");
	flipped(*state);
	expect_trouble(*state, "");
}

static void
what_a_node_explains_is_the_nodes_trouble(void **state)
{
	struct world *w = *state;

	give_backends(w);
	flipped(w);
	for (int color = GREEN; color < COLORS; color++) {
		backend_of(w, (enum color)color, 0)->state = BACKEND_DOWN;
		backend_of(w, (enum color)color, 0)->node_down = true;
	}
	expect_trouble(w, "");
	/* Another one is down by itself. */
	backend_of(w, GREEN, 1)->state = BACKEND_DOWN;
	expect_trouble(w, "backend_down");
	/* Half of four are needed: of the three that are missing two are no node's fault. */
	backend_of(w, GREEN, 2)->state = BACKEND_DOWN;
	expect_trouble(w, "backend_down");
	backend_of(w, GREEN, 0)->node_down = false;
	expect_trouble(w, "too_few_backends");
	backend_of(w, GREEN, 3)->state = BACKEND_DOWN;
	expect_trouble(w, "no_backend");
	/* Nor is it hidden when it is the nodes' alone. */
	for (size_t i = 0; i < 4; i++)
		backend_of(w, GREEN, i)->node_down = true;
	expect_trouble(w, "no_backend");
}

static void
what_is_drained_on_purpose_is_no_trouble(void **state)
{
	struct world *w = *state;

	give_backends(w);
	flipped(w);
	for (int color = GREEN; color < COLORS; color++) {
		backend_of(w, (enum color)color, 2)->drain = true;
		backend_of(w, (enum color)color, 2)->state = BACKEND_DOWN;
		atomic_store(&backend_of(w, (enum color)color, 3)->weight, 0);
	}
	expect_trouble(w, "");
}

static void
an_idle_color_below_its_gate_is_no_way_back(void **state)
{
	struct world *w = *state;
	json_t *o, *r;

	give_backends(w);
	for (size_t i = 0; i < 3; i++)
		backend_of(w, BLUE, i)->state = BACKEND_DOWN;
	strcpy(backend_of(w, BLUE, 0)->error, "connection refused");
	/* Nothing to go back to: said, and no trouble. */
	expect_trouble(w, "");
	flipped(w);
	expect_trouble(w, "rollback_impossible");
	o = outlook(w);
	r = json_object_get(o, "rollback");
	assert_string_equal(json_string_value(json_object_get(r, "to")), "blue");
	assert_true(json_is_false(json_object_get(r, "possible")));
	assert_non_null(strstr(json_string_value(json_object_get(r, "why")),
			       "blue has 1/4 backends healthy, 2 needed; 127.0.0.1:"));
	assert_non_null(strstr(json_string_value(json_object_get(r, "why")), "connection refused"));
	json_decref(o);
	/* A share that it has been given is taken back, which needs the other color alone. */
	w->running[0]->record.share = (struct share){ .idle = 1000, .low = BLUE };
	expect_trouble(w, "");
	w->running[0]->record.share.low = GREEN;
	expect_trouble(w, "rollback_impossible");
	w->running[0]->record.share = (struct share){ 0 };
	backend_of(w, BLUE, 1)->state = BACKEND_UP;
	expect_trouble(w, "");
	o = outlook(w);
	assert_true(json_is_true(json_object_get(json_object_get(o, "rollback"), "possible")));
	assert_true(json_is_null(json_object_get(json_object_get(o, "rollback"), "why")));
	json_decref(o);
}

static void
a_promotion_that_fails_is_no_rollback_that_fails(void **state)
{
	struct world *w = *state;
	struct bake bake = { .state = BAKE_PROMOTING, .failed = 1, .to = GREEN };

	w->control.services[0]->bake = &bake;
	expect_trouble(w, "bake_not_promoted");
	bake.state = BAKE_REVERTING;
	expect_trouble(w, "bake_not_rolled_back");
	w->control.services[0]->bake = NULL;
	expect_trouble(w, "");
}

static void
what_is_not_known_is_not_judged(void **state)
{
	struct world *w = *state;
	json_t *o;

	w->running[0]->known = false;
	expect_trouble(w, "color_unknown");
	o = outlook(w);
	assert_true(json_is_null(json_object_get(o, "rollback")));
	json_decref(o);
	w->running[0]->known = true;
}

static void
what_takes_too_long_is_trouble(void **state)
{
	struct world *w = *state;
	struct service *s = w->running[0];

	s->record.epoch++;
	s->record.at_us = clock_wall_us();
	expect_trouble(w, "");
	s->record.at_us -= 6000000;
	expect_trouble(w, "not_applied");
	s->record.epoch--;
	atomic_store(&s->queue.held, 3);
	expect_trouble(w, "waiting");
	atomic_store(&s->queue.held, 0);
	w->connections[0][BLUE] = 3;
	drain_start(w->control.services[0], BLUE, 12.0);
	expect_trouble(w, "");
	w->control.services[0]->drain->due -= 30;
	expect_trouble(w, "drain_overdue");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_is_well, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_node_explains_is_the_nodes_trouble, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_drained_on_purpose_is_no_trouble, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_idle_color_below_its_gate_is_no_way_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_promotion_that_fails_is_no_rollback_that_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_known_is_not_judged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_takes_too_long_is_trouble, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
