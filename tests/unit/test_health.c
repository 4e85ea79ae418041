/* test_health.c - from answers to verdicts.  Probes are real connections to
 * one real listener; connect() and socket() pass through this file, which
 * counts them and lets them fail as the test has written down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/health.h"
#include "wait.h"

/* A letter a probe, '+' passes and '-' is refused; the last one goes on. */
static const char *script;
static unsigned connects, sockets;
static double connected_at[64];
static struct addr last_to;
static bool no_sockets;

int
connect(int fd, const struct sockaddr *to, socklen_t len)
{
	size_t n = strlen(script);
	char answer = script[connects < n ? connects : n - 1];

	if (connects < ARRAY_LEN(connected_at))
		connected_at[connects] = clock_now();
	connects++;
	last_to.len = len;
	memcpy(&last_to.u, to, len);
	if (answer == '-') {
		errno = ECONNREFUSED;
		return -1;
	}
	return (int)syscall(SYS_connect, fd, to, len);
}

int
socket(int family, int type, int protocol)
{
	sockets++;
	if (no_sockets) {
		errno = EMFILE;
		return -1;
	}
	return (int)syscall(SYS_socket, family, type, protocol);
}

#define BACKENDS 600

static struct ev_loop *loop;
static int listener;
static struct backend_config green[BACKENDS], blue[1];
static struct service_config config;
static struct service *service;
static struct health *health;

/* What was said: a letter a change, u: up, d: down. */
static char said[BACKENDS * 2 + 8];
static unsigned n_said;

static void
on_changed(void *arg, struct service *s, struct backend *b, enum backend_state was)
{
	(void)arg;
	assert_ptr_equal(s, service);
	assert_int_not_equal(b->state, was);
	assert_true(b->since_us > 0);
	assert_true((b->state == BACKEND_UP) == (b->error[0] == '\0'));
	if (n_said < sizeof(said) - 1)
		said[n_said++] = b->state == BACKEND_UP ? 'u' : 'd';
	said[n_said] = '\0';
}

/* Each of an address of its own, or they would share their checks. */
static struct backend_config
backend_at(const struct addr *listening, size_t i)
{
	struct backend_config b = { .address = *listening, .weight = 1 };

	b.address.u.in.sin_addr.s_addr = htonl(0x7f000001u + (uint32_t)i);
	b.health_address = b.address;
	return b;
}

static int
set_up(void **state)
{
	struct addr at;

	(void)state;
	no_sockets = false;
	assert_int_equal(addr_parse("0.0.0.0:0", ADDR_PORT_0, &at, NULL), OK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, &at.u.sa, at.len), 0);
	assert_int_equal(listen(listener, 4096), 0);
	assert_int_equal(getsockname(listener, &at.u.sa, &at.len), 0);
	for (size_t i = 0; i < BACKENDS; i++)
		green[i] = backend_at(&at, i);
	blue[0] = backend_at(&at, BACKENDS);
	config = (struct service_config){
		.name = "shop",
		.colors = { { .backends = green, .n_backends = 1 }, { .backends = blue, .n_backends = 0 } },
		.health = { .type = HEALTH_TCP, .interval = 0.05, .timeout = NEVER, .rise = 2, .fall = 3 },
	};
	clock_pass();
	loop = ev_loop_new(0);
	script = "+";
	said[n_said = 0] = '\0';
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	health_free(&health);
	assert_null(health);
	service_free(&service);
	close(listener);
	ev_loop_destroy(loop);
	clock_go();
	return 0;
}

/* Begins with these answers; one backend unless config says otherwise. */
static void
begin(const char *answers)
{
	const struct health_events events = { .changed = on_changed };

	script = answers;
	connects = sockets = 0;
	service = service_new(&config, 0, 1);
	health = health_new(loop, &service, 1, &events);
}

/* The change that this many answers are to bring about, and not before. */
static void
assert_verdict(const char *answers, const char *changes)
{
	begin(answers);
	WAIT_UNTIL(loop, connects > strlen(answers));
	assert_string_equal(said, changes);
	health_free(&health);
	service_free(&service);
	said[n_said = 0] = '\0';
}

static void
test_verdicts(void **state)
{
	(void)state;	/* rise 2, fall 3 */
	assert_verdict("+", "u");	/* the first passed one is enough */
	assert_verdict("--+", "u");
	assert_verdict("---", "d");
	assert_verdict("+-+--+--+", "u");	/* no three in a row */
	assert_verdict("+---", "ud");
	assert_verdict("---+-+-", "d");	/* no two in a row */
	assert_verdict("---++", "du");
	assert_verdict("+---++---", "udud");
}

static void
test_verdicts_with_other_limits(void **state)
{
	(void)state;
	config.health.rise = 1;
	config.health.fall = 1;
	assert_verdict("-+-+", "dudu");
	config.health.rise = 3;
	config.health.fall = 2;
	assert_verdict("+-+--++-+++", "udu");
}

static void
test_not_usable_before_the_first_answer(void **state)
{
	(void)state;
	config.colors[BLUE].n_backends = 1;
	begin("+--+");
	assert_int_equal(service->colors[GREEN].backends[0]->state, BACKEND_CHECKING);
	assert_false(health_first_round(health, service));
	WAIT_UNTIL(loop, health_first_round(health, service));
	/* A refusal is an answer too, though not yet a verdict. */
	assert_int_equal(service_healthy(service, GREEN), 1);
	assert_int_equal(service->colors[BLUE].backends[0]->state, BACKEND_CHECKING);
	assert_string_equal(service->colors[BLUE].backends[0]->error, "connection refused");
	WAIT_UNTIL(loop, service_healthy(service, BLUE) == 1);
	assert_string_equal(service->colors[BLUE].backends[0]->error, "");
}

static void
test_checks_go_to_the_health_address(void **state)
{
	(void)state;
	addr_set_port(&green[0].address, 1);
	begin("+");
	WAIT_UNTIL(loop, n_said == 1);
	assert_true(addr_equal(&last_to, &green[0].health_address));
	assert_string_equal(said, "u");
}

static void
test_type_none_is_up_at_once_and_asks_nobody(void **state)
{
	(void)state;
	config.health.type = HEALTH_NONE;
	begin("-");
	assert_string_equal(said, "u");
	assert_true(health_first_round(health, service));
	health_kick(health, service);
	ev_run(loop, EVRUN_NOWAIT);
	assert_int_equal(sockets, 0);
}

static void
test_backends_come_and_go(void **state)
{
	struct backend *late, *first;

	(void)state;
	begin("+");
	WAIT_UNTIL(loop, n_said == 1);
	late = backend_new(GREEN, &green[1].address, &green[1].health_address);
	service_add_backend(service, backend_ref(late));
	health_add(health, service, late);
	assert_false(health_first_round(health, service));
	WAIT_UNTIL(loop, n_said == 2);
	assert_int_equal(service_healthy(service, GREEN), 2);

	/* One whose probe is under way, and then the other. */
	health_kick(health, service);
	health_remove(health, service, late);
	service_remove_backend(service, late);
	assert_int_equal(service_healthy(service, GREEN), 1);
	assert_int_equal(atomic_load(&late->refs), 1);
	backend_unref(&late);
	first = backend_ref(service->colors[GREEN].backends[0]);
	health_remove(health, service, first);
	service_remove_backend(service, first);
	assert_int_equal(atomic_load(&first->refs), 1);
	backend_unref(&first);
	assert_int_equal(service->colors[GREEN].n, 0);
	assert_int_equal(service_needed(service, GREEN), 1);
	assert_true(health_first_round(health, service));
	health_kick(health, service);
	connects = 0;
	for (int i = 0; i < 10; i++) {
		clock_move(1);
		ev_run(loop, EVRUN_NOWAIT);
	}
	assert_int_equal(connects, 0);
	assert_string_equal(said, "uu");
}

static void
test_other_terms_keep_the_verdict_until_new_answers_speak(void **state)
{
	(void)state;	/* rise 2, fall 3 */
	begin("+--");
	WAIT_UNTIL(loop, connects >= 3 && service->colors[GREEN].backends[0]->error[0] != '\0');
	script = "-";
	connects = 0;
	config.health.fall = 2;
	health_reconfigure(health, service);
	assert_string_equal(said, "u");	/* the two that failed by the old terms are forgotten */
	WAIT_UNTIL(loop, n_said == 2);
	assert_true(connects >= 1);	/* one may have been under way */
	assert_string_equal(said, "ud");

	/* Without checks it is up, and nobody is asked. */
	config.health.type = HEALTH_NONE;
	health_reconfigure(health, service);
	assert_string_equal(said, "udu");
	sockets = 0;
	health_kick(health, service);
	clock_move(10);
	ev_run(loop, EVRUN_NOWAIT);
	assert_int_equal(sockets, 0);

	/* And with checks again it stays up until one fails. */
	config.health.type = HEALTH_TCP;
	health_reconfigure(health, service);
	assert_string_equal(said, "udu");
	WAIT_UNTIL(loop, n_said == 4);
	assert_string_equal(said, "udud");
}

static struct service *other;

static void
on_changed_of_either(void *arg, struct service *s, struct backend *b, enum backend_state was)
{
	unsigned *changes = arg;

	(void)b;
	(void)was;
	assert_true(s == service || s == other);
	changes[s == other]++;
}

static void
test_services_come_and_go(void **state)
{
	unsigned changes[2] = { 0, 0 };
	const struct health_events events = { .changed = on_changed_of_either, .arg = changes };

	(void)state;
	script = "+";
	connects = sockets = 0;
	service = service_new(&config, 0, 1);
	health = health_new(loop, &service, 1, &events);
	WAIT_UNTIL(loop, changes[0] == 1);
	/* Its index need not be the next one. */
	other = service_new(&config, 5, 1);
	health_add_service(health, other);
	assert_false(health_first_round(health, other));
	assert_true(health_first_round(health, service));
	WAIT_UNTIL(loop, changes[1] == 1);

	/* It goes while its probe is under way; the place is free for another. */
	health_kick(health, other);
	health_remove_service(health, other);
	service_free(&other);
	other = service_new(&config, 5, 1);
	health_add_service(health, other);
	WAIT_UNTIL(loop, changes[1] == 2);
	health_remove_service(health, other);
	service_free(&other);

	/* The one that stayed is asked as before. */
	connects = 0;
	WAIT_UNTIL(loop, connects >= 2);
	assert_int_equal(changes[0], 1);
}

/* Between two checks: the interval, and a quarter of it while the verdict may
 * be about to change; both give or take a tenth. */
static void
test_the_pace(void **state)
{
	(void)state;
	config.health.interval = 0.8;
	begin("++-+");
	WAIT_UNTIL(loop, connects == 4);
	assert_true(connected_at[1] - connected_at[0] > 0.71);
	assert_true(connected_at[2] - connected_at[1] > 0.71);
	assert_true(connected_at[3] - connected_at[2] > 0.17);
	assert_true(connected_at[3] < connected_at[2] + 0.23);
}

static void
test_the_pace_while_a_verdict_changes_can_be_chosen(void **state)
{
	(void)state;
	config.health.interval = 8;
	config.health.fast_interval = 1;
	begin("+-+");
	WAIT_UNTIL(loop, connects == 3);
	assert_true(connected_at[1] - connected_at[0] > 7.1);
	assert_true(connected_at[2] - connected_at[1] > 0.89);
	assert_true(connected_at[2] < connected_at[1] + 1.11);
}

static void
test_a_kick_asks_now_but_not_all_the_time(void **state)
{
	(void)state;
	config.health.interval = 3600;
	begin("+");
	WAIT_UNTIL(loop, n_said == 1);
	assert_int_equal(connects, 1);
	health_kick(health, service);
	assert_int_equal(connects, 2);
	for (int i = 0; i < 50; i++)
		health_kick(health, service);
	WAIT_UNTIL(loop, connects == 3);	/* put off, not forgotten, */
	assert_true(connected_at[2] - connected_at[1] > 0.09);
	health_kick(health, service);
	WAIT_UNTIL(loop, connects == 4);	/* and all of them together once */
	assert_true(connected_at[3] - connected_at[2] > 0.09);
}

static void
test_a_kick_finds_a_dead_backend_long_before_it_is_due(void **state)
{
	(void)state;
	config.health.interval = 3600;
	begin("+---");
	WAIT_UNTIL(loop, n_said == 1);
	for (unsigned i = 2; i <= 4; i++) {
		health_kick(health, service);
		WAIT_UNTIL(loop, connects == i);
	}
	WAIT_UNTIL(loop, n_said == 2);
	assert_string_equal(said, "ud");
}

/* A listener that no longer answers: its queue is full. */
static void
fall_silent(int *fillers, unsigned n)
{
	struct pollfd p = { .events = POLLOUT };

	assert_int_equal(listen(listener, 0), 0);
	for (unsigned i = 0; i < n; i++) {
		p.fd = fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!syscall(SYS_connect, p.fd, &green[0].address.u.sa, green[0].address.len);
	}
	assert_int_equal(poll(&p, 1, 50), 0);
}

static void
test_one_probe_at_a_time_for_each_and_128_for_all(void **state)
{
	int fillers[8];

	(void)state;
	fall_silent(fillers, ARRAY_LEN(fillers));
	config.colors[GREEN].n_backends = BACKENDS;
	config.health.timeout = 0.3;
	config.health.fall = 1;
	begin("+");
	assert_int_equal(connects, 128);
	health_kick(health, service);
	ev_run(loop, EVRUN_NOWAIT);
	health_kick(health, service);
	assert_int_equal(connects, 128);
	/* Silence takes them one after the other, each once. */
	WAIT_UNTIL(loop, n_said >= 128);
	assert_string_equal(service->colors[GREEN].backends[0]->error, "timed out after 0.3 s");
	assert_true(connects <= 128 + TARGETS_UNSURE + TARGETS_HANGING);
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
		close(fillers[i]);
}

static void
test_many_backends_all_get_their_turn(void **state)
{
	unsigned most = 0;

	(void)state;
	config.health.interval = 3600;
	config.colors[GREEN].n_backends = BACKENDS;
	begin("+");
	while (n_said < BACKENDS) {
		unsigned before = connects;

		ev_run(loop, EVRUN_ONCE);
		most = connects - before > most ? connects - before : most;
	}
	assert_true(most <= 128);
	assert_int_equal(connects, BACKENDS);
	assert_int_equal(service_healthy(service, GREEN), BACKENDS);
	assert_true(health_first_round(health, service));
}

/* Running out of descriptors is our trouble and says nothing about backends. */
static void
test_without_sockets_nobody_goes_down(void **state)
{
	(void)state;
	config.health.fall = 1;
	begin("+");
	WAIT_UNTIL(loop, n_said == 1);
	no_sockets = true;
	sockets = 0;
	WAIT_UNTIL(loop, sockets > 4);
	assert_string_equal(said, "u");
	no_sockets = false;
	script = "-";
	WAIT_UNTIL(loop, n_said == 2);	/* and checks have gone on */
	assert_string_equal(said, "ud");
}

static void
test_freeing_ends_probes_under_way_and_gives_back_references(void **state)
{
	struct backend *b;

	(void)state;
	begin("+");
	assert_int_equal(connects, 1);
	b = backend_ref(service->colors[GREEN].backends[0]);
	assert_int_equal(b->refs, 3);	/* the service's, the check's, ours */
	health_free(&health);
	assert_int_equal(b->refs, 2);
	assert_int_equal(ev_run(loop, 0), 0);	/* nothing left to wait for */
	assert_string_equal(said, "");
	backend_unref(&b);
}

/* -- backends that share their checks ------------------------------------------- */

/* A second service with the same backends. */
static void
begin_two(const char *answers, struct service_config *second, unsigned *changes)
{
	const struct health_events events = { .changed = on_changed_of_either, .arg = changes };
	struct service *both[2];

	script = answers;
	connects = sockets = 0;
	both[0] = service = service_new(&config, 0, 1);
	both[1] = other = service_new(second, 1, 1);
	health = health_new(loop, both, 2, &events);
}

static void
end_two(void)
{
	health_free(&health);
	service_free(&other);
}

static void
test_the_same_check_of_two_services_is_made_once(void **state)
{
	struct service_config second = config;
	unsigned changes[2] = { 0, 0 };

	(void)state;
	second.name = "pay";
	begin_two("+", &second, changes);
	WAIT_UNTIL(loop, changes[0] == 1 && changes[1] == 1);
	assert_int_equal(connects, 1);
	assert_int_equal(health_totals(health).targets, 1);
	assert_int_equal(health_sharers(health, service, service->colors[GREEN].backends[0]), 2);
	WAIT_UNTIL(loop, connects == 5);
	assert_true(service->colors[GREEN].backends[0]->checks[1] == other->colors[GREEN].backends[0]->checks[1]);
	assert_true(health_totals(health).probes[1] >= 4 && health_totals(health).probes[1] <= connects);
	end_two();
}

/* Each makes its own verdict of the same answers. */
static void
test_sharers_keep_their_own_rise_and_fall(void **state)
{
	struct service_config second = config;
	unsigned changes[2] = { 0, 0 };

	(void)state;	/* rise 2, fall 3 */
	second.name = "pay";
	second.health.rise = 1;
	second.health.fall = 1;
	begin_two("+-++", &second, changes);
	WAIT_UNTIL(loop, connects > 4);
	assert_int_equal(changes[0], 1);
	assert_int_equal(changes[1], 3);
	end_two();
}

static void
test_the_shortest_interval_of_the_sharers_counts(void **state)
{
	struct service_config second = config;
	unsigned changes[2] = { 0, 0 };

	(void)state;
	second.name = "pay";
	config.health.interval = 60;
	second.health.interval = 10;
	begin_two("+", &second, changes);
	WAIT_UNTIL(loop, connects == 2);
	assert_true(connected_at[1] - connected_at[0] > 8.9);
	assert_true(connected_at[1] - connected_at[0] < 11.1);
	/* Without that one they are as rare as the other one wants. */
	health_remove_service(health, other);
	WAIT_UNTIL(loop, connects == 4);
	assert_true(connected_at[3] - connected_at[2] > 53);
	assert_int_equal(health_sharers(health, service, service->colors[GREEN].backends[0]), 1);
	end_two();
}

/* Who differs in one word of the question is asked apart. */
static void
test_another_question_is_another_check(void **state)
{
	struct service_config second = config;
	unsigned changes[2] = { 0, 0 };

	(void)state;
	second.name = "pay";
	second.health.timeout = NEVER / 2;
	begin_two("+", &second, changes);
	WAIT_UNTIL(loop, changes[0] == 1 && changes[1] == 1);
	assert_int_equal(health_totals(health).targets, 2);
	assert_int_equal(health_sharers(health, other, other->colors[GREEN].backends[0]), 1);

	/* By the terms of the first it joins its target, and leaves its own. */
	second.health.timeout = NEVER;
	health_reconfigure(health, other);
	assert_int_equal(health_totals(health).targets, 1);
	assert_int_equal(health_sharers(health, other, other->colors[GREEN].backends[0]), 2);
	end_two();
}

/* The one by whom it got in line leaves; the others are asked all the same. */
static void
test_a_service_that_leaves_takes_no_check_of_another_along(void **state)
{
	struct service_config second = config;
	unsigned changes[2] = { 0, 0 };
	int fillers[8];

	(void)state;
	fall_silent(fillers, ARRAY_LEN(fillers));
	second.name = "pay";
	config.colors[GREEN].n_backends = second.colors[GREEN].n_backends = 200;
	config.health.timeout = second.health.timeout = 0.3;
	begin_two("+", &second, changes);
	assert_int_equal(connects, TARGETS_UNSURE);	/* the others wait, in the line of the first service */
	health_remove_service(health, service);
	service_free(&service);
	assert_int_equal(health_totals(health).targets, 200);
	assert_int_equal(listen(listener, 4096), 0);
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
		close(fillers[i]);
	WAIT_UNTIL(loop, health_first_round(health, other));
	assert_int_equal(changes[0], 0);
	health_remove_service(health, other);
	assert_int_equal(health_totals(health).targets, 0);
	end_two();
}

int
main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_verdicts),
		TEST(test_verdicts_with_other_limits),
		TEST(test_not_usable_before_the_first_answer),
		TEST(test_checks_go_to_the_health_address),
		TEST(test_type_none_is_up_at_once_and_asks_nobody),
		TEST(test_backends_come_and_go),
		TEST(test_other_terms_keep_the_verdict_until_new_answers_speak),
		TEST(test_services_come_and_go),
		TEST(test_the_pace),
		TEST(test_the_pace_while_a_verdict_changes_can_be_chosen),
		TEST(test_a_kick_asks_now_but_not_all_the_time),
		TEST(test_a_kick_finds_a_dead_backend_long_before_it_is_due),
		TEST(test_one_probe_at_a_time_for_each_and_128_for_all),
		TEST(test_many_backends_all_get_their_turn),
		TEST(test_without_sockets_nobody_goes_down),
		TEST(test_freeing_ends_probes_under_way_and_gives_back_references),
		TEST(test_the_same_check_of_two_services_is_made_once),
		TEST(test_sharers_keep_their_own_rise_and_fall),
		TEST(test_the_shortest_interval_of_the_sharers_counts),
		TEST(test_another_question_is_another_check),
		TEST(test_a_service_that_leaves_takes_no_check_of_another_along),
	};

	log_set_level(LOG_ERROR_LEVEL + 1);
	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
