/* test_flows.c - counting and naming the kernel's connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "flows_stage.h"

static void
births_and_removals_are_counted_as_they_come(void **state)
{
	struct entry e = entry_of(1, GREEN, ENTRANCE_MAIN), p = entry_of(2, GREEN, ENTRANCE_PREVIEW);
	struct entry second = entry_of(3, GREEN, ENTRANCE_MAIN), foreign = entry_of(4, GREEN, ENTRANCE_MAIN);

	NEEDS_ROOT();
	begin(3600, 0);	/* no dump corrects anything */
	foreign.mark = mark_make(TAG + 1, ID, GREEN, ENTRANCE_MAIN, 5);
	ask(NFCT_Q_CREATE, &foreign);
	ask(NFCT_Q_CREATE, &e);
	WAIT_UNTIL(loop, count(GREEN) == 1);
	second.backend_port = 9002;
	ask(NFCT_Q_CREATE, &second);
	ask(NFCT_Q_CREATE, &p);
	make(10, 1, BLUE);
	WAIT_UNTIL(loop, count(BLUE) == 1);
	assert_int_equal(count(GREEN), 2);
	assert_int_equal(flows_count(flows, ID, ENTRANCE_PREVIEW, GREEN), 1);
	assert_int_equal(service_connections(service, ENTRANCE_MAIN, GREEN), 2);
	/* The preview's counts for its backend as well. */
	assert_int_equal(connections(GREEN, 0), 2);
	assert_int_equal(connections(GREEN, 1), 1);
	assert_int_equal(connections(BLUE, 0), 1);
	ask(NFCT_Q_DESTROY, &foreign);
	ask(NFCT_Q_DESTROY, &second);
	WAIT_UNTIL(loop, count(GREEN) == 1);
	assert_int_equal(connections(GREEN, 1), 0);
	/* Somebody else took it away, and that is what the line says. */
	assert_int_equal(ended(GREEN, END_DELETED), 1);
	WAIT_UNTIL(loop, has_line("\"client\":\"10.0.0.0:1027\"", "\"backend\":\"127.0.0.1:9002\"",
				  "\"end\":\"deleted\""));
	assert_true(has_line("\"event\":\"tcp.session\"", "\"service\":\"shop\"", "\"epoch\":5"));
	assert_false(has_line("\"client\":\"10.0.0.0:1028\"", "", ""));	/* foreign */
}

/* The thread pauses between two readings of news; who asks does not wait for that. */
static void
what_has_begun_is_counted_at_once_when_asked(void **state)
{
	uint64_t n = 0;

	NEEDS_ROOT();
	open_flows(3600, 0);
	flows_watch(flows, ID, service, 5);
	recount();
	for (unsigned i = 1; i <= 20; i++) {
		make(i - 1, 1, GREEN);
		flows_catch_up(flows, on_number, &n);
		WAIT_UNTIL(loop, n == i);
		assert_int_equal(count(GREEN), i);
	}
}

static void
what_was_there_is_adopted(void **state)
{
	struct entry closed = entry_of(100, GREEN, ENTRANCE_MAIN);

	NEEDS_ROOT();
	make(0, 30, GREEN);
	make(30, 12, BLUE);
	closed.state = TCP_CONNTRACK_TIME_WAIT;
	closed.timeout = 100;
	ask(NFCT_Q_CREATE, &closed);
	open_flows(3600, 0);
	flows_watch(flows, ID, service, 1029);
	assert_int_equal(recount(), 42);
	assert_int_equal(count(GREEN), 30);
	assert_int_equal(count(BLUE), 12);
	assert_int_equal(connections(GREEN, 0), 30);
	assert_int_equal(service_connections(service, ENTRANCE_MAIN, BLUE), 12);
	/* Who was there before has told what ended before. */
	ask(NFCT_Q_DESTROY, &closed);
	recount();
	assert_int_equal(ended(GREEN, END_DONE), 0);
	/* Their removal is told with what the mark knows: 5 is 1029 modulo 256. */
	closed = entry_of(0, GREEN, ENTRANCE_MAIN);
	ask(NFCT_Q_DESTROY, &closed);
	recount();
	WAIT_UNTIL(loop, has_line("\"client\":\"10.0.0.0:1024\"", "\"epoch\":1029", "\"end\":\"deleted\""));
	assert_int_equal(count(GREEN), 29);
	assert_int_equal(lines_with("tcp.session"), 1);
}

/* A service that becomes known late, and backends that change. */
static void
counts_do_not_depend_on_who_came_first(void **state)
{
	struct backend *gone;

	NEEDS_ROOT();
	make(0, 3, GREEN);
	open_flows(3600, 0);
	assert_int_equal(recount(), 3);
	assert_int_equal(service_connections(service, ENTRANCE_MAIN, GREEN), 0);
	flows_watch(flows, ID, service, 5);
	WAIT_UNTIL(loop, connections(GREEN, 0) == 3);
	assert_int_equal(service_connections(service, ENTRANCE_MAIN, GREEN), 3);
	/* A backend that leaves is counted to its end. */
	gone = backend_ref(service->colors[GREEN].backends[0]);
	service_remove_backend(service, gone);
	flows_watch(flows, ID, service, 6);
	assert_int_equal(cut(&(struct flows_match){ .service = ID, .color = GREEN, .entrance = FLOWS_ANY },
			     END_DRAINED),
			 3);
	assert_int_equal(atomic_load(&gone->connections), 0);
	backend_unref(&gone);
}

static void
closed_flows_hold_nothing_and_are_told_at_once(void **state)
{
	struct entry e = entry_of(1, GREEN, ENTRANCE_MAIN), reset = entry_of(2, GREEN, ENTRANCE_MAIN);

	NEEDS_ROOT();
	begin(3600, 0);
	ask(NFCT_Q_CREATE, &e);
	ask(NFCT_Q_CREATE, &reset);
	WAIT_UNTIL(loop, count(GREEN) == 2);
	e.state = TCP_CONNTRACK_TIME_WAIT;
	e.timeout = 100;
	ask(NFCT_Q_UPDATE, &e);
	WAIT_UNTIL(loop, count(GREEN) == 1);
	assert_int_equal(ended(GREEN, END_DONE), 1);
	assert_int_equal(connections(GREEN, 0), 1);
	WAIT_UNTIL(loop, has_line("\"client\":\"10.0.0.0:1025\"", "\"end\":\"done\"", "\"bytes_in\":0"));
	assert_int_equal(in_kernel(), 2);	/* long before its hundred seconds are over */
	reset.state = TCP_CONNTRACK_CLOSE;
	reset.timeout = 1;
	ask(NFCT_Q_UPDATE, &reset);
	WAIT_UNTIL(loop, count(GREEN) == 0);
	assert_int_equal(ended(GREEN, END_RESET), 1);
	WAIT_UNTIL(loop, has_line("\"client\":\"10.0.0.0:1026\"", "\"end\":\"reset\"", ""));
	/* Removal is no second end. */
	ask(NFCT_Q_DESTROY, &e);
	make(50, 1, BLUE);
	WAIT_UNTIL(loop, count(BLUE) == 1);
	assert_int_equal(ended(GREEN, END_DELETED), 0);
	assert_int_equal(ended(GREEN, END_DONE), 1);
	assert_int_equal(lines_with("10.0.0.0:1025"), 1);
}

/* Both sides have said that they end, in that order: the rules say so in the mark, and
 * nothing is told after that but the removal. */
static void
a_bit_of_the_mark_says_that_it_is_over(void **state)
{
	struct entry e = entry_of(1, GREEN, ENTRANCE_MAIN), half = entry_of(2, GREEN, ENTRANCE_MAIN);

	NEEDS_ROOT();
	begin(3600, 0);
	ask(NFCT_Q_CREATE, &e);
	ask(NFCT_Q_CREATE, &half);
	WAIT_UNTIL(loop, count(GREEN) == 2);
	half.state = TCP_CONNTRACK_LAST_ACK;
	half.mark |= MARK_LEFT;
	ask(NFCT_Q_UPDATE, &half);
	e.state = TCP_CONNTRACK_LAST_ACK;
	e.mark |= MARK_LEFT | MARK_OVER;
	ask(NFCT_Q_UPDATE, &e);
	WAIT_UNTIL(loop, ended(GREEN, END_DONE) == 1);
	WAIT_UNTIL(loop, has_line("\"client\":\"10.0.0.0:1025\"", "\"end\":\"done\"", "\"epoch\":5"));
	assert_int_equal(count(GREEN), 1);
}

static void
closed_flows_leave_a_crowded_table(void **state)
{
	struct entry e = entry_of(1, GREEN, ENTRANCE_MAIN);

	NEEDS_ROOT();
	make(2, 1, GREEN);
	begin(3600, 1e-9);
	ask(NFCT_Q_CREATE, &e);
	WAIT_UNTIL(loop, count(GREEN) == 2);
	e.state = TCP_CONNTRACK_TIME_WAIT;
	e.timeout = 100;
	ask(NFCT_Q_UPDATE, &e);
	WAIT_UNTIL(loop, in_kernel() == 1);
	WAIT_UNTIL(loop, has_line("\"event\":\"kernel.table_crowded\"", "\"cut\":1", ""));
	assert_int_equal(count(GREEN), 1);
	assert_int_equal(ended(GREEN, END_DONE), 1);
	assert_int_equal(lines_with("10.0.0.0:1025"), 1);
}

/* The kernel's stamps say how old connections are that are older than we. */
static void
age_is_known_over_restarts(void **state)
{
	double made = clock_now();
	struct holders h = { 0 };

	NEEDS_ROOT();
	make(1, 1, GREEN);
	WAIT_UNTIL(loop, clock_now() > made + 0.1);
	begin(3600, 0);
	flows_holders(flows, ID, GREEN, 10, on_holders, &h);
	WAIT_UNTIL(loop, h.list != NULL);
	assert_true(h.list[0].age >= 0.09);
	free(h.list);
}

/* Events that nobody got: a dump finds what they would have said. */
static void
counting_corrects_what_was_missed(void **state)
{
	struct flows_usage u;

	NEEDS_ROOT();
	begin(0.05, 0);
	make(0, 20, GREEN);
	WAIT_UNTIL(loop, count(GREEN) == 20);
	clock_stop();
	/* Nobody is told when what the flush takes has no mark of ours. */
	flows_usage(flows, &u);
	await_count();
	await_count();
	WAIT_UNTIL(loop, (clock_move(0.01), flows_usage(flows, &u), u.entries >= 20 && u.max > 0));
	assert_int_equal(u.tracked, 20);
	for (unsigned i = 0; i < 20; i++) {
		struct entry e = entry_of(i, GREEN, ENTRANCE_MAIN);

		/* It changes hands without a word that we listen to. */
		e.mark = mark_make(TAG + 1, ID, GREEN, ENTRANCE_MAIN, 5);
		ask(NFCT_Q_UPDATE, &e);
	}
	await_count();
	await_count();	/* the first may have begun before the last of them */
	WAIT_UNTIL(loop, (clock_move(0.01), flows_usage(flows, &u), count(GREEN) == 0 && u.unseen == 20));
	assert_int_equal(u.tracked, 0);
	assert_int_equal(connections(GREEN, 0), 0);
}

/* Backends that come and go, each with an address of its own. */
static void
addresses_nobody_uses_are_forgotten(void **state)
{
	struct entry last = entry_of(5000, GREEN, ENTRANCE_MAIN);
	struct backend *gone;

	NEEDS_ROOT();
	begin(3600, 0);
	for (unsigned i = 0; i < 1000; i++) {
		struct entry e = entry_of(i, GREEN, ENTRANCE_MAIN);

		e.backend_port = 10000 + i;
		ask(NFCT_Q_CREATE, &e);
		if (i != 700)
			ask(NFCT_Q_DESTROY, &e);
	}
	WAIT_UNTIL(loop, ended(GREEN, END_DELETED) == 999);
	assert_int_equal(recount(), 1);
	ask(NFCT_Q_CREATE, &last);
	WAIT_UNTIL(loop, connections(GREEN, 0) == 1);
	assert_int_equal(count(GREEN), 2);
	recount();
	gone = backend_ref(service->colors[GREEN].backends[1]);
	service_remove_backend(service, gone);
	backend_unref(&gone);
	flows_watch(flows, ID, service, 5);
	recount();
	last = entry_of(700, GREEN, ENTRANCE_MAIN);
	ask(NFCT_Q_DESTROY, &last);
	recount();
	WAIT_UNTIL(loop, has_line("\"client\":\"10.0.0.0:1724\"", "\"backend\":\"127.0.0.1:10700\"", ""));
	assert_int_equal(count(GREEN), 1);
	assert_int_equal(connections(GREEN, 0), 1);
}

static void
a_handshake_that_stands_still_holds_nothing_for_long(void **state)
{
	struct entry fresh = entry_of(1, GREEN, ENTRANCE_MAIN), old = entry_of(2, GREEN, ENTRANCE_MAIN);
	struct entry half = entry_of(3, GREEN, ENTRANCE_MAIN);

	NEEDS_ROOT();
	half.state = TCP_CONNTRACK_SYN_RECV;
	half.timeout = 40;	/* of 60 */
	fresh.state = old.state = TCP_CONNTRACK_SYN_SENT;
	fresh.timeout = 120;
	old.timeout = 100;	/* of 120: twenty seconds ago */
	write_file("/proc/sys/net/netfilter/nf_conntrack_timestamp", "0");
	ask(NFCT_Q_CREATE, &fresh);
	ask(NFCT_Q_CREATE, &old);
	ask(NFCT_Q_CREATE, &half);
	write_file("/proc/sys/net/netfilter/nf_conntrack_timestamp", "1");
	begin(3600, 0);
	assert_int_equal(count(GREEN), 1);
	/* It is not over, though. */
	assert_int_equal(service_connections(service, ENTRANCE_MAIN, GREEN), 3);
}

static void
holders_are_listed(void **state)
{
	struct holders h = { 0 };
	struct entry e = entry_of(1, GREEN, ENTRANCE_MAIN);
	char text[ADDR_TEXT];

	NEEDS_ROOT();
	make(50, 3, BLUE);
	e.timeout = 432000 - 60;
	ask(NFCT_Q_CREATE, &e);
	write_file("/proc/sys/net/netfilter/nf_conntrack_timestamp", "0");
	begin(3600, 0);
	write_file("/proc/sys/net/netfilter/nf_conntrack_timestamp", "1");
	flows_holders(flows, ID, GREEN, 10, on_holders, &h);
	WAIT_UNTIL(loop, h.list != NULL);
	assert_int_equal(h.n, 1);
	assert_false(h.truncated);
	assert_string_equal(addr_format(&h.list[0].client, text), "10.0.0.0:1025");
	assert_string_equal(h.list[0].backend, "127.0.0.1:9001");
	assert_string_equal(h.list[0].state, "established");
	assert_true(h.list[0].age >= 0 && h.list[0].age < 60);
	/* Never more idle than old. */
	assert_true(h.list[0].idle <= h.list[0].age + 0.1);
	free(h.list);
	h.list = NULL;
	flows_holders(flows, ID, BLUE, 2, on_holders, &h);
	WAIT_UNTIL(loop, h.list != NULL);
	assert_int_equal(h.n, 2);
	assert_true(h.truncated);
	free(h.list);
}

static void
nothing_is_logged_that_is_not_wanted(void **state)
{
	NEEDS_ROOT();
	config.log.access = ACCESS_ERRORS;
	begin(3600, 0);
	make(0, 1, GREEN);
	make(1, 1, BLUE);
	WAIT_UNTIL(loop, count(GREEN) == 1 && count(BLUE) == 1);
	cut(&(struct flows_match){ .service = ID, .color = GREEN, .entrance = ENTRANCE_MAIN },
	    END_DRAIN_IDLE);
	cut(&(struct flows_match){ .service = ID, .color = BLUE, .entrance = ENTRANCE_MAIN }, END_DRAINED);
	WAIT_UNTIL(loop, has_line("\"end\":\"drained\"", "", ""));
	assert_false(has_line("\"end\":\"drain_idle\"", "", ""));
}

static void
what_the_kernel_does_not_tell_is_named(void **state)
{
	struct flows_lack list[FLOWS_LACKS];

	NEEDS_ROOT();
	assert_int_equal(flows_lacks(list), 0);
	write_file("/proc/sys/net/netfilter/nf_conntrack_acct", "0");
	assert_int_equal(flows_lacks(list), 1);
	write_file("/proc/sys/net/netfilter/nf_conntrack_acct", "1");
	assert_string_equal(list[0].setting, "net.netfilter.nf_conntrack_acct");
	assert_non_null(strstr(list[0].mend, "=1"));
}

/* News that come faster than a buffer of a few of them holds. */
static void
lost_news_are_made_up_for(void **state)
{
	const struct flows_options o = { .tag = TAG, .config = &config, .correct_every = 3600, .buffer = 1 };
	struct flows_usage u = { 0 };

	NEEDS_ROOT();
	assert_int_equal(flows_open(&flows, loop, &o, NULL), OK);
	flows_watch(flows, ID, service, 5);
	recount();
	for (unsigned from = 0; u.overruns == 0; from += 500) {
		assert_true(from < 50000);
		make(from, 500, GREEN);
		flows_usage(flows, &u);
	}
	WAIT_UNTIL(loop, count(GREEN) == in_kernel());
	assert_int_equal(connections(GREEN, 0), in_kernel());
	WAIT_UNTIL(loop, has_line("\"event\":\"kernel.events_lost\"", "", ""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGED(births_and_removals_are_counted_as_they_come),
		STAGED(what_has_begun_is_counted_at_once_when_asked),
		STAGED(what_was_there_is_adopted),
		STAGED(counts_do_not_depend_on_who_came_first),
		STAGED(closed_flows_hold_nothing_and_are_told_at_once),
		STAGED(a_bit_of_the_mark_says_that_it_is_over),
		STAGED(closed_flows_leave_a_crowded_table),
		STAGED(age_is_known_over_restarts),
		STAGED(addresses_nobody_uses_are_forgotten),
		STAGED(a_handshake_that_stands_still_holds_nothing_for_long),
		STAGED(holders_are_listed),
		STAGED(nothing_is_logged_that_is_not_wanted),
		STAGED(what_the_kernel_does_not_tell_is_named),
		STAGED(lost_news_are_made_up_for),
		/* The last: it moves the clock far from that by which the kernel stamps. */
		STAGED(counting_corrects_what_was_missed),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
