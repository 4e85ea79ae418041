/* test_engines.c - a service that two engines serve: all get the orders, and what
 * they say is one answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "control/engines.h"
#include "control/publish.h"

struct half {
	struct engine engine;
	uint64_t generation;	/* as last published */
	uint64_t connections;
	struct drain_orders orders;
	unsigned opened;
	holders_fn *done;	/* who waits for its list */
	void *arg;
};

struct rig {
	struct service_config sc;
	struct service *service;
	struct control control;
	struct service_ctl ctl;
	struct half a, b;	/* of two threads, and of one */
};

static struct half *
half_of(const struct engine *e)
{
	return (struct half *)(uintptr_t)e;
}

static enum err
half_open(struct engine *e, struct service *s, struct why *why)
{
	(void)s;
	(void)why;
	half_of(e)->opened++;
	return OK;
}

static void
half_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	(void)s;
	half_of(e)->generation = (*snapshot)->generation;
	snapshot_unref(snapshot);
}

static void
half_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	(void)s;
	(void)color;
	half_of(e)->orders = *orders;
}

static uint64_t
half_count(struct engine *e, const struct service *s, enum color color)
{
	(void)s;
	return color == GREEN ? half_of(e)->connections : 0;
}

static void
half_holders(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done, void *arg)
{
	(void)s;
	(void)color;
	(void)max;
	half_of(e)->done = done;
	half_of(e)->arg = arg;
}

static const struct engine_class half_class = { ENGINE_PROXY, .name = "half" };
static const struct engine half = { .class = &half_class, .open = half_open, .publish = half_publish,
				    .drain = half_drain, .count = half_count, .holders = half_holders };

static int
setup(void **state)
{
	static struct rig r;

	memset(&r, 0, sizeof(r));
	r.sc.name = (char *)(uintptr_t)"web";
	r.service = service_new(&r.sc, 0, 1);
	r.ctl = (struct service_ctl){ .service = r.service, .control = &r.control };
	r.a.engine = r.b.engine = half;
	r.a.engine.n_threads = 2;
	r.b.engine.n_threads = 1;
	engines_join(&r.ctl, &r.a.engine);
	engines_join(&r.ctl, &r.b.engine);
	*state = &r;
	return 0;
}

static int
teardown(void **state)
{
	struct rig *r = *state;

	engines_free(&r->ctl);
	service_free(&r->service);
	return 0;
}

static void
publish(struct rig *r)
{
	struct snapshot *snapshot = publish_build(r->service);

	engines_publish(&r->ctl, &snapshot);
	assert_null(snapshot);
	assert_int_equal(r->a.generation, r->service->generation);
	assert_int_equal(r->b.generation, r->service->generation);
}

static void
test_a_generation_is_acked_when_every_thread_of_both_obeys_it(void **state)
{
	struct rig *r = *state;

	publish(r);
	publish(r);
	assert_false(engines_ack(&r->ctl, &r->a.engine, 1, 2));
	assert_false(engines_ack(&r->ctl, &r->b.engine, 0, 2));
	assert_int_equal(r->service->acked, 0);
	assert_true(engines_ack(&r->ctl, &r->a.engine, 0, 1));
	assert_int_equal(r->service->acked, 1);
	assert_true(engines_ack(&r->ctl, &r->a.engine, 0, 2));
	assert_int_equal(r->service->acked, 2);
	/* Late, and out of order. */
	assert_false(engines_ack(&r->ctl, &r->a.engine, 0, 1));
	assert_int_equal(r->service->acked, 2);
}

static void
test_one_that_leaves_is_waited_for_no_more(void **state)
{
	struct rig *r = *state;

	publish(r);
	assert_false(engines_ack(&r->ctl, &r->b.engine, 0, 1));
	assert_true(engines_leave(&r->ctl, &r->a.engine));
	assert_int_equal(r->service->acked, 1);
	/* What it had sent before is of no account. */
	assert_false(engines_ack(&r->ctl, &r->a.engine, 0, 1));
	r->a.connections = r->b.connections = 5;
	assert_int_equal(engines_count(&r->ctl, GREEN), 5);
	assert_int_equal(engines_count_of(&r->ctl, &r->a.engine, GREEN), 0);
}

static void
test_orders_go_to_both_and_counts_are_added(void **state)
{
	struct rig *r = *state;
	struct why why;

	assert_int_equal(engines_open(&r->ctl, &why), OK);
	assert_int_equal(r->a.opened + r->b.opened, 2);
	engines_drain(&r->ctl, GREEN, &(struct drain_orders){ .timeout = 7 });
	assert_true(r->a.orders.timeout == 7 && r->b.orders.timeout == 7);
	r->a.connections = 3;
	assert_int_equal(engines_count(&r->ctl, GREEN), 3);
	r->b.connections = 4;
	assert_int_equal(engines_count(&r->ctl, GREEN), 7);
	assert_int_equal(engines_count(&r->ctl, BLUE), 0);
}

struct answer {
	unsigned times;
	uint64_t bytes[4];	/* bytes_in of each, in order */
	size_t n;
	bool truncated;
};

static void
on_holders(void *arg, const struct holders *h)
{
	struct answer *a = arg;

	a->times++;
	a->n = h->n;
	a->truncated = h->truncated;
	assert_true(h->n <= 4);
	for (size_t i = 0; i < h->n; i++)
		a->bytes[i] = h->list[i].bytes_in;
}

static void
test_lists_are_added_up_to_what_was_asked_for(void **state)
{
	struct holder first[] = { { .bytes_in = 1 }, { .bytes_in = 2 } }, second[] = { { .bytes_in = 3 }, { .bytes_in = 4 } };
	struct rig *r = *state;
	struct answer a = { 0 };

	engines_holders(&r->ctl, GREEN, 3, on_holders, &a);
	r->b.done(r->b.arg, &(struct holders){ second, 2, false });
	assert_int_equal(a.times, 0);
	r->a.done(r->a.arg, &(struct holders){ first, 2, false });
	assert_int_equal(a.times, 1);
	assert_int_equal(a.n, 3);
	assert_true(a.truncated);
	assert_int_equal(a.bytes[0], 3);
	assert_int_equal(a.bytes[2], 1);

	engines_holders(&r->ctl, GREEN, 4, on_holders, &a);
	r->a.done(r->a.arg, &(struct holders){ first, 2, false });
	r->b.done(r->b.arg, &(struct holders){ NULL, 0, false });
	assert_int_equal(a.times, 2);
	assert_int_equal(a.n, 2);
	assert_false(a.truncated);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_generation_is_acked_when_every_thread_of_both_obeys_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_that_leaves_is_waited_for_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(test_orders_go_to_both_and_counts_are_added, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lists_are_added_up_to_what_was_asked_for, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
