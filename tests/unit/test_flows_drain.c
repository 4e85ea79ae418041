/* test_flows_drain.c - cutting the kernel's connections: at once, idle ones, at a
 * deadline, very many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "flows_stage.h"
#include "scaled.h"

static void
only_what_matches_is_cut(void **state)
{
	struct flows_match m = { .service = ID, .color = GREEN, .entrance = ENTRANCE_MAIN };
	struct entry other = entry_of(900, GREEN, ENTRANCE_MAIN),
		     preview = entry_of(901, GREEN, ENTRANCE_PREVIEW);

	NEEDS_ROOT();
	other.mark = mark_make(TAG, OTHER_ID, GREEN, ENTRANCE_MAIN, 5);
	begin(3600, 0);
	make(0, 10, GREEN);
	make(10, 5, BLUE);
	ask(NFCT_Q_CREATE, &other);
	ask(NFCT_Q_CREATE, &preview);
	for (unsigned i = 20; i < 24; i++) {
		struct entry e = entry_of(i, GREEN, ENTRANCE_MAIN);

		e.backend_port = 9002;
		ask(NFCT_Q_CREATE, &e);
	}
	m.backend = green[1].address;
	assert_int_equal(cut(&m, END_BACKEND_DOWN), 4);
	assert_int_equal(count(GREEN), 10);
	assert_int_equal(ended(GREEN, END_BACKEND_DOWN), 4);
	WAIT_UNTIL(loop, has_line("127.0.0.1:9002", "\"end\":\"backend_down\"", "\"color\":\"green\""));
	m.backend.len = 0;
	assert_int_equal(cut(&m, END_DRAINED), 10);
	assert_int_equal(count(GREEN), 0);
	assert_int_equal(count(BLUE), 5);
	assert_int_equal(flows_count(flows, ID, ENTRANCE_PREVIEW, GREEN), 1);
	assert_int_equal(flows_count(flows, OTHER_ID, ENTRANCE_MAIN, GREEN), 1);
	m.entrance = ENTRANCE_PREVIEW;
	assert_int_equal(cut(&m, END_PREVIEW), 1);
	assert_int_equal(in_kernel(), 6);
	assert_int_equal(ended(GREEN, END_DRAINED), 10);
	assert_int_equal(cut(&m, END_PREVIEW), 0);
}

/* Flows from before anybody listened have no events, not even of their end
 * (nf_conntrack_events = 2): it is told all the same. */
static void
those_without_events_are_cut_and_told_as_well(void **state)
{
	struct flows_usage u;

	NEEDS_ROOT();
	write_file("/proc/sys/net/netfilter/nf_conntrack_events", "0");
	make(0, 40, GREEN);
	write_file("/proc/sys/net/netfilter/nf_conntrack_events", "1");
	begin(3600, 0);
	assert_int_equal(count(GREEN), 40);
	assert_int_equal(
		cut(&(struct flows_match){ .service = ID, .color = FLOWS_ANY, .entrance = FLOWS_ANY },
		    END_DRAINED),
		40);
	assert_int_equal(count(GREEN), 0);
	assert_int_equal(in_kernel(), 0);
	assert_int_equal(ended(GREEN, END_DRAINED), 40);
	flows_usage(flows, &u);
	assert_int_equal(u.unseen, 40);
	WAIT_UNTIL(loop, has_line("\"client\":\"10.0.0.0:1063\"", "\"end\":\"drained\"", "\"bytes_in\":0"));
}

static void
a_drain_cuts_the_idle_first_and_the_rest_at_its_end(void **state)
{
	struct drain_orders orders = { .at = clock_now(), .idle = 30, .timeout = 3600, .ending = END_DRAINED };
	struct entry idle = entry_of(1, GREEN, ENTRANCE_MAIN), busy = entry_of(2, GREEN, ENTRANCE_MAIN);

	NEEDS_ROOT();
	write_file("/proc/sys/net/netfilter/nf_conntrack_timestamp", "0");
	idle.timeout = 432000 - 100;
	ask(NFCT_Q_CREATE, &idle);
	ask(NFCT_Q_CREATE, &busy);
	write_file("/proc/sys/net/netfilter/nf_conntrack_timestamp", "1");
	begin(3600, 0);
	flows_drain(flows, ID, GREEN, &orders);
	WAIT_UNTIL(loop, count(GREEN) == 1);
	assert_int_equal(ended(GREEN, END_DRAIN_IDLE), 1);
	WAIT_UNTIL(loop, has_line("\"client\":\"10.0.0.0:1025\"", "\"end\":\"drain_idle\"", ""));
	/* Newer orders. */
	orders.timeout = 0;
	flows_drain(flows, ID, GREEN, &orders);
	WAIT_UNTIL(loop, count(GREEN) == 0);
	assert_int_equal(ended(GREEN, END_DRAINED), 1);
	assert_int_equal(in_kernel(), 0);
}

static void
a_drain_that_is_over_for_a_color_leaves_it_alone(void **state)
{
	struct drain_orders orders = { .at = clock_now(), .timeout = 0.3, .ending = END_DRAINED };

	NEEDS_ROOT();
	make(0, 3, GREEN);
	make(3, 3, BLUE);
	begin(3600, 0);
	flows_drain(flows, ID, BLUE, &orders);
	flows_drain(flows, ID, GREEN, &orders);
	flows_keep(flows, ID, GREEN);	/* it is active again */
	WAIT_UNTIL(loop, count(BLUE) == 0);
	clock_move(1);
	recount();	/* its thread looks at what is due, and answers */
	recount();
	assert_int_equal(count(GREEN), 3);
}

/* With spread = an hour some of many idle flows go at once, the others later. */
static void
a_drain_spreads_its_cuts(void **state)
{
	struct drain_orders orders = { .at = clock_now(), .idle = 30, .spread = 3600, .timeout = -1, .ending = END_DRAINED };

	NEEDS_ROOT();
	write_file("/proc/sys/net/netfilter/nf_conntrack_timestamp", "0");
	for (unsigned i = 0; i < 100; i++) {
		struct entry e = entry_of(i, GREEN, ENTRANCE_MAIN);

		e.timeout = 432000 - 100;
		ask(NFCT_Q_CREATE, &e);
	}
	write_file("/proc/sys/net/netfilter/nf_conntrack_timestamp", "1");
	begin(3600, 0);
	flows_drain(flows, ID, GREEN, &orders);
	recount();
	assert_in_range(count(GREEN), 90, 100);
	orders.spread = 0;
	flows_drain(flows, ID, GREEN, &orders);
	WAIT_UNTIL(loop, count(GREEN) == 0);
	assert_int_equal(ended(GREEN, END_DRAIN_IDLE), 100);
}

static void
never_called(void *arg, uint64_t n)
{
	(void)arg;
	(void)n;
	fail_msg("called after its end");
}

/* The end does not wait for what is under way, and answers nobody. */
static void
it_ends_in_the_midst_of_a_cut(void **state)
{
	const struct flows_match m = { .service = ID, .color = FLOWS_ANY, .entrance = FLOWS_ANY };

	NEEDS_ROOT();
	make(0, 3000, GREEN);
	begin(3600, 0);
	flows_cut(flows, &m, END_STOP, never_called, NULL);
	flows_recount(flows, never_called, NULL);
	flows_close(&flows);
	assert_null(flows);
	ev_run(loop, EVRUN_NOWAIT);
	/* Who comes next finds what is left. */
	open_flows(3600, 0);
	service_free(&service);
	service = service_made();
	flows_watch(flows, ID, service, 5);
	recount();
	assert_int_equal(count(GREEN), in_kernel());
}

/* -- many -------------------------------------------------------------------- */

/* Not by us, and all at once: nobody waits for us to read. */
static void
an_emptied_table_is_noticed(void **state)
{
	unsigned n = scaled(1000, 100000);
	struct flows_usage u;

	NEEDS_ROOT();
	begin(3600, 0);
	make(0, n, BLUE);
	WAIT_UNTIL(loop, count(BLUE) == n);
	forget_all();
	WAIT_UNTIL(loop, count(BLUE) == 0);
	assert_int_equal(connections(BLUE, 0), 0);
	/* What is lost is counted all the same, and not one twice. */
	flows_usage(flows, &u);
	assert_int_equal(ended(BLUE, END_DELETED), n - u.unseen);
	assert_int_equal(ended(BLUE, END_DONE), u.unseen);
	print_message("%u flows were taken away: %lu overruns, %lu ends unseen, %lu lines dropped\n", n,
		      (unsigned long)u.overruns, (unsigned long)u.unseen, (unsigned long)log_dropped());
}

/* Flows begin and end while they are counted, over and over. */
static void
counting_does_not_mind_what_goes_on(void **state)
{
	unsigned n = scaled(1000, 50000);

	NEEDS_ROOT();
	make(0, n, GREEN);
	begin(0.001, 0);
	for (unsigned i = 0; i < n; i++) {
		struct entry e = entry_of(i, GREEN, ENTRANCE_MAIN);

		ask(NFCT_Q_DESTROY, &e);
		make(n + i, 1, BLUE);
		if (i % 100 == 0)
			ev_run(loop, EVRUN_NOWAIT);
	}
	WAIT_UNTIL(loop, count(GREEN) == 0 && count(BLUE) == n);
	recount();
	assert_int_equal(count(GREEN), 0);
	assert_int_equal(count(BLUE), n);
	assert_int_equal(ended(GREEN, END_DELETED), n);
	assert_int_equal(service_connections(service, ENTRANCE_MAIN, GREEN), 0);
	assert_int_equal(service_connections(service, ENTRANCE_MAIN, BLUE), n);
	assert_int_equal(connections(GREEN, 0), 0);
	assert_int_equal(connections(BLUE, 0), n);
}

static void
many_are_counted_and_cut_at_the_deadline(void **state)
{
	unsigned n = scaled(2000, 100000);
	struct drain_orders orders = { .at = clock_now(), .timeout = 0, .ending = END_DRAINED };

	NEEDS_ROOT();
	begin(0, 0);
	make(0, n / 2, GREEN);
	WAIT_UNTIL(loop, count(GREEN) == n / 2);
	flows_close(&flows);
	service_free(&service);
	service = service_made();
	/* The other half is not heard of, it is found. */
	make(n / 2, n - n / 2, GREEN);
	begin(0, 0);
	assert_int_equal(count(GREEN), n);
	assert_int_equal(connections(GREEN, 0), n);
	flows_drain(flows, ID, GREEN, &orders);
	WAIT_UNTIL(loop, count(GREEN) == 0);
	assert_int_equal(ended(GREEN, END_DRAINED), n);
	assert_int_equal(in_kernel(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGED(only_what_matches_is_cut),
		STAGED(those_without_events_are_cut_and_told_as_well),
		STAGED(a_drain_cuts_the_idle_first_and_the_rest_at_its_end),
		STAGED(a_drain_that_is_over_for_a_color_leaves_it_alone),
		STAGED(a_drain_spreads_its_cuts),
		STAGED(it_ends_in_the_midst_of_a_cut),
		STAGED(an_emptied_table_is_noticed),
		STAGED(counting_does_not_mind_what_goes_on),
		STAGED(many_are_counted_and_cut_at_the_deadline),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
