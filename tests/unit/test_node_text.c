/* test_node_text.c - what is said about nodes, and as which hosts they are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "model/backend.h"
#include "store/node_text.h"

static void
test_hosts(void **state)
{
	(void)state;
	assert_true(node_is_host("10.0.0.1") && node_is_host("fd00::1") && node_is_host("[fd00::1]"));
	assert_true(node_is_host("node-4.example") && node_is_host("n_1"));
	assert_false(node_is_host("") || node_is_host("10.0.0.1:80") || node_is_host("a b") ||
		     node_is_host("-a") || node_is_host(".a") || node_is_host("\xc3\xa9"));
	assert_true(node_same_host("fd00::1", "[fd00:0:0::1]"));
	assert_true(node_same_host("FD00::1", "fd00::1") && node_same_host("::ffff:10.0.0.1", "::FFFF:a00:1"));
	assert_false(node_same_host("fd00::1", "fd00::2") || node_same_host("fd00::1", "node4") || node_same_host("10.0.0.1", "::a00:1"));
	assert_true(node_same_host("Node4", "node4"));
	assert_false(node_same_host("10.0.0.1", "10.0.0.2") || node_same_host("10.0.0.1", "node4") ||
		     node_same_host("node4", "10.0.0.1"));
}

static void
test_the_last_word_counts_and_can_be_taken_back(void **state)
{
	struct overlay o = { 0 }, copy = { 0 };

	(void)state;
	assert_null(overlay_find(&o, "a"));
	assert_true(overlay_set(&o, "a", NODE_DRAIN) && overlay_set(&o, "fd00::1", NODE_READY));
	assert_true(overlay_set(&o, "A", NODE_REMOVED));
	assert_int_equal(o.n, 2);
	assert_int_equal(overlay_find(&o, "a")->wish, NODE_REMOVED);
	o.version = 3;
	overlay_copy(&copy, &o);
	assert_true(overlay_same(&o, &copy) && copy.version == 3);
	overlay_unset(&o, "a");
	assert_false(overlay_same(&o, &copy));
	assert_null(overlay_find(&o, "a"));
	assert_non_null(overlay_find(&o, "[fd00::1]"));
	overlay_unset(&o, "a");	/* harmless */
	overlay_free(&o);
	overlay_free(&copy);
	assert_int_equal(o.n, 0);
}

static void
test_it_is_bounded_and_comes_back_from_text(void **state)
{
	struct overlay o = { 0 }, again = { 0 };
	struct buf text;
	struct json j;
	char host[32];

	(void)state;
	for (unsigned i = 0; i < NODES_MAX; i++) {
		snprintf(host, sizeof(host), "10.0.%u.%u", i / 250, i % 250);
		assert_true(overlay_set(&o, host, (enum node_wish)(i % 3)));
	}
	assert_false(overlay_set(&o, "one-more", NODE_READY));
	assert_true(overlay_set(&o, "10.0.0.1", NODE_READY));
	buf_init(&text, NODE_TEXT_MAX);
	json_init(&j, &text);
	overlay_json(&j, NULL, &o);
	assert_false(text.failed);
	assert_true(overlay_from_text(buf_str(&text), &again));
	assert_true(overlay_same(&o, &again));
	overlay_free(&o);
	overlay_free(&again);
	buf_free(&text);
}

static void
test_rubbish_is_no_overlay(void **state)
{
	static const char *const bad[] = { "",
					   "[]",
					   "{",
					   "{\"a\":1}",
					   "{\"a\":\"up\"}",
					   "{\"a:1\":\"drain\"}",
					   "{\"a\":\"drain\",\"A\":\"ready\"}",
					   "{\"a\":\"drain\",\"a\":\"ready\"}" };
	struct overlay o = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_false(overlay_from_text(str_from(bad[i]), &o));
		assert_int_equal(o.n, 0);
	}
	assert_true(overlay_from_text(STR("{}"), &o));
}

/* Beside the wishes, so that a teald that knows no terms reads those; and of their version, so that what such a
 * one has written since is not drained by terms of before. */
static void
test_terms_come_back_from_text_and_others_change_nothing(void **state)
{
	static const char *const bad[] = {
		"", "[]", "{}", "{\"version\":6,\"nodes\":{\"a\":{\"since_us\":1,\"timeout_us\":1}}}",
		"{\"version\":7,\"nodes\":[]}", "{\"version\":7,\"nodes\":{\"d\":{\"since_us\":1}}}",
		"{\"version\":7,\"nodes\":{\"a\":{\"since_us\":-1}}}", "{\"version\":7,\"nodes\":{\"a\":{\"timeout_us\":1}}}",
		"{\"version\":7,\"nodes\":{\"a\":{\"since_us\":1,\"timeout_us\":604800000001}}}",
		"{\"version\":7,\"nodes\":{\"a\":{\"since_us\":1,\"spread_us\":\"1\"}}}", "{\"version\":7,\"nodes\":{\"a\":7}}",
	};
	const struct node_terms ends = { 1764500000000000, 60000000, -1 }, spread = { 5, 0, 3 };
	struct overlay o = { .version = 7 }, again = { 0 };
	struct buf text;
	struct json j;

	(void)state;
	assert_true(overlay_set(&o, "a", NODE_DRAIN) && overlay_set(&o, "b", NODE_DRAIN) && overlay_set(&o, "c", NODE_READY));
	assert_false(node_ends(&o.list[0]));
	buf_init(&text, NODE_TERMS_TEXT_MAX);
	json_init(&j, &text);
	assert_false(overlay_terms_json(&j, NULL, &o, false));
	assert_int_equal(buf_len(&text), 0);
	overlay_copy(&again, &o);
	overlay_set_terms(&o, "A", &ends);
	overlay_set_terms(&o, "b", &spread);
	assert_true(node_ends(&o.list[0]) && overlay_same(&o, &again) && !overlay_same_terms(&o, &again));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		overlay_terms_from_text(str_from(bad[i]), &again);
		assert_int_equal(again.list[0].terms.timeout_us, -1);
	}
	assert_true(overlay_terms_json(&j, NULL, &o, false));
	overlay_terms_from_text(buf_str(&text), &again);
	assert_true(overlay_same_terms(&o, &again));
	assert_true(again.list[1].terms.spread_us == 3 && again.list[2].terms.timeout_us == -1);
	/* Another word about it is without them. */
	assert_true(overlay_set(&o, "a", NODE_DRAIN) && !node_ends(&o.list[0]));
	buf_free(&text);
	overlay_free(&o);
	overlay_free(&again);
}

/* The truth table of model/backend.h. */
static void
test_what_its_owner_wants_and_how_it_does_are_two_things(void **state)
{
	static const enum backend_use ready[] = { BACKEND_USED, BACKEND_SPARE, BACKEND_SPARE, BACKEND_SPARE };
	struct addr a;
	struct backend *b;

	(void)state;
	assert_true(addr_parse_ip("10.0.0.1", 80, &a));
	b = backend_new(GREEN, &a, &a);
	for (int admin = 0; admin < 4; admin++)
		for (int does = 0; does < 4; does++) {
			b->drain = admin & 1;
			b->weight = admin & 2 ? 0 : 1;
			b->state = does < 2 ? BACKEND_UP : does == 2 ? BACKEND_CHECKING : BACKEND_DOWN;
			b->ejected_until = does == 1 ? 1 : 0;
			assert_int_equal(backend_use(b), admin == 0 ? ready[does] : BACKEND_NEVER);
			assert_string_equal(backend_admin_word(b), admin == 0 ? "ready" : "drain");
		}
	backend_unref(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_the_last_word_counts_and_can_be_taken_back),
		cmocka_unit_test(test_it_is_bounded_and_comes_back_from_text),
		cmocka_unit_test(test_rubbish_is_no_overlay),
		cmocka_unit_test(test_terms_come_back_from_text_and_others_change_nothing),
		cmocka_unit_test(test_what_its_owner_wants_and_how_it_does_are_two_things),
	};

	return cmocka_run_group_tests_name("node_text", tests, NULL, NULL);
}
