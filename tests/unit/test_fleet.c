/* test_fleet.c - heartbeats: what is told is understood, who is late is named,
 * and nobody is forgotten who did not say goodbye. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/fleet.h"
#include "store/redis_number.h"

#define NOW_US 1795356131000000

static struct fleet fleet;

/* One that serves shop. */
static struct fleet_member
member(const char *id, int pid, uint64_t applied, double ago)
{
	struct fleet_member m = { .pid = pid, .at_us = NOW_US - (int64_t)(ago * 1e6), .ready = true, .n = 1 };

	snprintf(m.id, sizeof(m.id), "%s", id);
	snprintf(m.host, sizeof(m.host), "lb-%s", id);
	snprintf(m.version, sizeof(m.version), "1.2.3");
	m.services = must_array(1, sizeof(*m.services));
	snprintf(m.services[0].name, sizeof(m.services[0].name), "shop");
	m.services[0].applied = applied;
	for (int c = 0; c < COLORS; c++) {
		m.services[0].colors[c].healthy = 3;
		m.services[0].colors[c].needed = 2;
		m.services[0].colors[c].total = 3;
	}
	return m;
}

static bool
hear(struct fleet_member m)
{
	struct buf text;
	bool ok;

	buf_init(&text, 65536);
	fleet_format(&m, &text);
	ok = fleet_add(&fleet, buf_str(&text), "me");
	buf_free(&text);
	free(m.services);
	return ok;
}

static int
set_up(void **state)
{
	(void)state;
	fleet = (struct fleet){ 0 };
	fleet_begin(&fleet, NOW_US, 100.0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	fleet_free(&fleet);
	assert_int_equal(fleet.n, 0);
	return 0;
}

static bool
hear_pools(const char *pools)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "{\"id\":\"a\",\"host\":\"lb\",\"version\":\"1\",\"pid\":7,\"at_us\":1,\"ready\":true,\"services\":{}%s%s}",
		 *pools != '\0' ? ",\"pools\":" : "", pools);
	fleet_begin(&fleet, NOW_US, 100.0);
	return fleet_add(&fleet, str_from(text), "me");
}

static void
nodes_of_pools_are_read_back_and_rubbish_is_no_heartbeat(void **state)
{
	static const char *const bad[] = {
		"[]", "{\"main\":1}", "{\"main\":{\"applied\":1}}", "{\"main\":{\"applied\":-1,\"draining\":{}}}",
		"{\"main\":{\"applied\":1,\"draining\":{\"h\":3}}}",
		"{\"main\":{\"applied\":1,\"draining\":{\"h\":{\"connections\":-1,\"cut\":0,\"services\":{}}}}}",
		"{\"main\":{\"applied\":1,\"draining\":{\"h\":{\"connections\":1,\"cut\":0,\"services\":{\"shop\":\"1\"}}}}}",
	};
	struct fleet_member m = member("a", 7, 1, 0);
	const struct fleet_pool *p;
	const struct fleet_node *n;

	(void)state;
	assert_true(hear_pools(""));
	assert_true(!fleet.members[0].tells_pools && fleet_pool_of(&fleet.members[0], "main") == NULL);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_false(hear_pools(bad[i]));
		assert_int_equal(fleet.n, 0);
	}
	m.pools = must_array(1, sizeof(*m.pools));
	m.n_pools = 1;
	m.pools[0] = (struct fleet_pool){ .name = "main", .applied = 9, .more = true, .n = 1 };
	m.pools[0].nodes = must_array(1, sizeof(*m.pools[0].nodes));
	m.pools[0].nodes[0] = (struct fleet_node){ .host = "10.0.0.11", .connections = 12, .cut = 3, .n_services = 1,
						   .services = { { "shop", 9 } } };
	fleet_begin(&fleet, NOW_US, 100.0);
	{
		struct fleet_member copy = m;

		copy.services = must_array(1, sizeof(*copy.services));
		copy.services[0] = m.services[0];
		assert_true(hear(copy));
	}
	assert_true((p = fleet_pool_of(&fleet.members[0], "main")) != NULL && p->applied == 9 && p->more && !p->refused);
	assert_true((n = fleet_node_of(p, "10.0.0.11")) != NULL && n->connections == 12 && n->cut == 3);
	assert_true(n->n_services == 1 && n->services[0].connections == 9);
	assert_null(fleet_node_of(p, "10.0.0.12"));
	fleet_member_free(&m);
}

static void
a_heartbeat_is_read_back(void **state)
{
	struct fleet_member m = member("me", 42, 7, 0.5);
	const struct fleet_member *got;

	(void)state;
	m.services[0].holding = 12;
	m.services[0].colors[BLUE].healthy = 0;
	m.ready = false;
	assert_true(hear(m));
	assert_int_equal(fleet.n, 1);
	got = &fleet.members[0];
	assert_string_equal(got->id, "me");
	assert_string_equal(got->host, "lb-me");
	assert_string_equal(got->version, "1.2.3");
	assert_int_equal(got->pid, 42);
	assert_int_equal(got->at_us, NOW_US - 500000);
	assert_true(got->self);
	assert_false(got->ready);
	assert_false(got->missing);
	assert_int_equal(got->n, 1);
	assert_string_equal(got->services[0].name, "shop");
	assert_int_equal(got->services[0].applied, 7);
	assert_int_equal(got->services[0].holding, 12);
	assert_int_equal(got->services[0].colors[BLUE].healthy, 0);
	assert_int_equal(got->services[0].colors[GREEN].healthy, 3);
	assert_int_equal(got->services[0].colors[GREEN].needed, 2);
}

static void
what_is_no_heartbeat_is_left_out(void **state)
{
	static const char *const bad[] = {
		"", "x", "7", "[]", "{}", "null", "{\"id\":\"a\"}",
		"{\"id\":\"a\",\"host\":\"h\",\"version\":\"v\",\"pid\":1,\"at_us\":1,\"ready\":true,\"services\":[]}",
		"{\"id\":\"a\",\"host\":\"h\",\"version\":\"v\",\"pid\":1,\"at_us\":1,\"ready\":true,\"services\":{\"s\":{}}}",
		"{\"id\":\"a\",\"host\":\"h\",\"version\":\"v\",\"pid\":1,\"at_us\":1,\"ready\":true,\"services\":{\"s\":"
		"{\"applied\":-1,\"holding\":0,\"green\":[1,1,1],\"blue\":[1,1,1]}}}",
		"{\"id\":\"a\",\"host\":\"h\",\"version\":\"v\",\"pid\":1,\"at_us\":1,\"ready\":true,\"services\":{\"s\":"
		"{\"applied\":1,\"holding\":0,\"green\":[1,-1,1],\"blue\":[1,1,1]}}}",
		"{\"id\":\"01234567890123456789012345678901234567890\",\"host\":\"h\",\"version\":\"v\",\"pid\":1,"
		"\"at_us\":1,\"ready\":true,\"services\":{}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (fleet_add(&fleet, str_from(bad[i]), "me"))
			fail_msg("%s", bad[i]);
	assert_int_equal(fleet.n, 0);
}

static size_t missing;

static size_t
laggards(uint64_t epoch, char *text, size_t size)
{
	struct buf names;
	size_t n;

	buf_init(&names, 4096);
	n = fleet_laggards(&fleet, "shop", epoch, &names, &missing);
	str_copy(text, size, buf_str(&names));
	buf_free(&names);
	return n;
}

static void
who_is_late_is_named(void **state)
{
	char text[512];

	(void)state;
	hear(member("me", 1, 4, 0));	/* one's own word is known without asking */
	hear(member("b", 2, 5, 0.9));
	hear(member("c", 3, 4, 0.9));
	hear(member("d", 4, 4, FLEET_MISSING_AFTER + 0.1));
	assert_int_equal(laggards(5, text, sizeof(text)), 2);
	assert_int_equal(missing, 1);
	assert_string_equal(text, "lb-c pid 3 (late, epoch 4), lb-d pid 4 (missing, epoch 4)");
	assert_int_equal(laggards(4, text, sizeof(text)), 0);
	assert_int_equal(missing, 0);
	assert_int_equal(fleet_count(&fleet, true), 1);
	assert_int_equal(fleet_count(&fleet, false), 3);
}

static void
only_those_with_the_service_are_waited_for(void **state)
{
	struct fleet_member m = member("b", 2, 1, 0);
	struct buf names;

	(void)state;
	snprintf(m.services[0].name, sizeof(m.services[0].name), "other");
	m.services[0].colors[BLUE].healthy = 0;
	hear(m);
	buf_init(&names, 4096);
	assert_int_equal(fleet_laggards(&fleet, "shop", 9, &names, &missing), 0);
	assert_int_equal(fleet_objections(&fleet, "shop", 0, BLUE, &names), 0);
	assert_int_equal(buf_len(&names), 0);
	buf_free(&names);
}

static void
who_sees_too_few_healthy_objects(void **state)
{
	struct fleet_member b = member("b", 2, 1, 0), c = member("c", 3, 1, 10), me = member("me", 1, 1, 0);
	struct buf names;

	(void)state;
	b.services[0].colors[BLUE].healthy = 1;
	c.services[0].colors[BLUE].healthy = 0;	/* missing: its view is nobody's */
	me.services[0].colors[BLUE].healthy = 0;	/* the gate asks here */
	hear(b);
	hear(c);
	hear(me);
	buf_init(&names, 4096);
	assert_int_equal(fleet_objections(&fleet, "shop", 7, GREEN, &names), 0);
	assert_int_equal(fleet_objections(&fleet, "shop", 0, BLUE, &names), 1);
	assert_true(str_eq(buf_str(&names), "lb-b pid 2 sees 1/3 healthy, 2 needed"));
	buf_free(&names);
}

static void
what_others_hold_is_counted(void **state)
{
	struct fleet_member b = member("b", 2, 5, 0), c = member("c", 3, 4, 0), me = member("me", 1, 5, 0);

	(void)state;
	b.services[0].holding = 7;
	b.services[0].cut = 3;
	c.services[0].cut = 100;
	c.services[0].holding = 100;	/* has not applied it: the color it holds is the active one */
	me.services[0].holding = 1000;
	me.services[0].cut = 1000;
	hear(b);
	hear(c);
	hear(me);
	assert_int_equal(fleet_holding(&fleet, "shop", 5), 7);
	assert_int_equal(fleet_cut(&fleet, "shop", 5), 3);
	assert_int_equal(fleet_cut(&fleet, "shop", 6), 0);
}

/* The next view, at that time of ours and the store's. */
static void
next_view(double later, const char *left, unsigned n, ...)
{
	struct fleet before = fleet;
	va_list ap;

	fleet = (struct fleet){ 0 };
	fleet_begin(&fleet, NOW_US + (int64_t)(later * 1e6), 100.0 + later);
	va_start(ap, n);
	for (unsigned i = 0; i < n; i++) {
		const char *id = va_arg(ap, const char *);
		struct fleet_member m = member(id, id[0], 1, 0);

		m.at_us += (int64_t)(later * 1e6);
		hear(m);
	}
	va_end(ap);
	if (left != NULL)
		fleet_forget(&before, str_from(left));
	fleet_remember(&fleet, &before, 10.0);
	assert_int_equal(before.n, 0);
}

static const struct fleet_member *
find(const char *id)
{
	for (size_t i = 0; i < fleet.n; i++)
		if (strcmp(fleet.members[i].id, id) == 0)
			return &fleet.members[i];
	return NULL;
}

static void
nobody_is_forgotten_who_did_not_say_goodbye(void **state)
{
	(void)state;
	hear(member("me", 1, 1, 0));
	hear(member("b", 2, 1, 0));
	hear(member("c", 3, 1, 0));
	/* The store has lost its memory. */
	next_view(0.5, NULL, 0);
	assert_int_equal(fleet.n, 3);
	assert_false(find("b")->missing);
	/* c is heard of again. */
	next_view(1.0, NULL, 2, "me", "c");
	assert_int_equal(fleet.n, 3);
	next_view(4.0, NULL, 2, "me", "c");
	assert_true(find("b")->missing);
	assert_false(find("c")->missing);
	/* b's time is over; c says goodbye. */
	next_view(10.1, NULL, 2, "me", "c");
	assert_null(find("b"));
	assert_non_null(find("c"));
	next_view(10.2, "c", 1, "me");
	assert_null(find("c"));
	assert_int_equal(fleet.n, 1);
	/* Oneself is never missing. */
	next_view(500, NULL, 0);
	assert_int_equal(fleet.n, 1);
	assert_true(find("me")->self);
	assert_false(find("me")->missing);
}

/* A heartbeat that stays in the store is not news: its age counts from the
 * first reading, also by a store's clock that jumps. */
static void
an_old_heartbeat_is_no_sign_of_life(void **state)
{
	struct fleet before;

	(void)state;
	hear(member("b", 2, 1, 0));
	for (int i = 1; i <= 3; i++) {
		before = fleet;
		fleet = (struct fleet){ 0 };
		fleet_begin(&fleet, NOW_US, 100.0 + 4 * i);
		hear(member("b", 2, 1, 0));
		fleet_remember(&fleet, &before, 10.0);
		assert_true(find("b")->heard == 100.0);
	}
	before = fleet;
	fleet = (struct fleet){ 0 };
	fleet_begin(&fleet, NOW_US, 113.0);
	fleet_remember(&fleet, &before, 10.0);
	assert_int_equal(fleet.n, 0);
}

static void
the_order_is_the_same_whoever_spoke_last(void **state)
{
	(void)state;
	hear(member("c", 3, 1, 0));
	hear(member("a", 9, 1, 0));
	hear(member("b", 2, 1, 0));
	next_view(1, NULL, 3, "b", "c", "a");
	assert_string_equal(fleet.members[0].id, "a");
	assert_string_equal(fleet.members[1].id, "b");
	assert_string_equal(fleet.members[2].id, "c");
}

static bool
wants_none(const void *arg, const char *service)
{
	assert_string_equal(arg, "arg");
	assert_string_equal(service, "shop");
	return false;
}

static void
it_is_told_as_json(void **state)
{
	struct buf text;
	struct json j;

	(void)state;
	hear(member("b", 2, 5, 1.25));
	buf_init(&text, 65536);
	json_init(&j, &text);
	json_object(&j, NULL);
	fleet_json(&fleet, &j, NULL, NULL);
	json_object_end(&j);
	assert_true(str_eq(buf_str(&text),
			   "{\"fleet\":[{\"id\":\"b\",\"host\":\"lb-b\",\"pid\":2,\"version\":\"1.2.3\",\"self\":false,"
			   "\"ready\":true,\"missing\":false,\"last_seen\":\"2026-11-22T14:02:09.750Z\",\"age\":1.25,"
			   "\"services\":{\"shop\":{\"applied\":5,\"holding\":0,"
			   "\"green\":{\"healthy\":3,\"needed\":2,\"total\":3},"
			   "\"blue\":{\"healthy\":3,\"needed\":2,\"total\":3}}}}]}"));
	buf_clear(&text);
	json_init(&j, &text);
	json_object(&j, NULL);
	fleet_json(&fleet, &j, wants_none, "arg");
	json_object_end(&j);
	buf_append(&text, "", 1);
	assert_non_null(strstr(buf_str(&text).p, "\"services\":{}"));
	buf_free(&text);
}

static void
a_time_that_cannot_be_is_no_heartbeat(void **state)
{
	static const struct {
		int64_t at_us;
		bool is_heard, is_missing;
	} times[] = {
		{ NOW_US, true, false },	   { NOW_US + 2000000, true, false },
		{ NOW_US + 5000000, true, true },  { 0, true, true },
		{ CLOCK_US_MAX, true, true },	   { CLOCK_US_MAX + 1, false, false },
		{ -1, false, false },		   { INT64_MIN, false, false },
		{ INT64_MAX, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		struct fleet_member m = member("one", 1, 5, 0);

		fleet_begin(&fleet, NOW_US, 100.0);
		m.at_us = times[i].at_us;
		assert_int_equal(hear(m), times[i].is_heard);
		assert_int_equal(fleet.n, times[i].is_heard);
		if (times[i].is_heard)
			assert_int_equal(fleet.members[0].missing, times[i].is_missing);
	}
}

/* What nobody can have come to by steps is not obeyed; whatever is, can be followed. */
static void
a_number_that_is_obeyed_has_successors(void **state)
{
	const uint64_t known[] = { 0, 1, REDIS_NUMBER_FREE, REDIS_NUMBER_FREE + 7 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		uint64_t beyond = known[i] > REDIS_NUMBER_FREE - REDIS_NUMBER_STEP ? known[i] + REDIS_NUMBER_STEP :
										     REDIS_NUMBER_FREE;

		assert_true(redis_number_is_near(known[i], 1));
		assert_true(redis_number_is_near(known[i], REDIS_NUMBER_FREE));
		assert_true(redis_number_is_near(known[i], known[i] + 1));
		assert_true(redis_number_is_near(known[i], beyond));
		assert_false(redis_number_is_near(known[i], beyond + 1));
		assert_false(redis_number_is_near(known[i], REDIS_NUMBER_MAX + 1));
		assert_false(redis_number_is_near(known[i], UINT64_MAX));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nodes_of_pools_are_read_back_and_rubbish_is_no_heartbeat, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_heartbeat_is_read_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_heartbeat_is_left_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_is_late_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_those_with_the_service_are_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_sees_too_few_healthy_objects, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_others_hold_is_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_is_forgotten_who_did_not_say_goodbye, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_old_heartbeat_is_no_sign_of_life, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_order_is_the_same_whoever_spoke_last, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_time_that_cannot_be_is_no_heartbeat, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_number_that_is_obeyed_has_successors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_is_told_as_json, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
