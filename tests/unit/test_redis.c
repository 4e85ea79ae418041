/* test_redis.c - a connection to a real redis-server: it comes up, carries
 * commands and messages, and comes back from whatever happens to the server. */
#include "redis_client.h"

static void
start(const char *options)
{
	redis_server_start(&t.server, t.dir, "redis", options);
}

static void
come_up(const char *channel)
{
	client_start(&t.client, channel);
	WAIT_UNTIL(t.loop, t.client.ups + t.client.downs > 0);
	if (t.client.ups == 0)
		fail_msg("%s", t.client.why.text);
}

static void
test_commands_and_answers(void **state)
{
	char *where = must_printf("unix:%s/redis.sock", t.dir);
	struct answer a;

	(void)state;
	start("");
	client_start(&t.client, NULL);
	assert_int_equal(t.client.ups, 0);	/* nothing is told from inside */
	assert_false(redis_is_up(t.client.redis));
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	assert_true(redis_is_up(t.client.redis));
	assert_int_equal(t.client.downs, 0);
	assert_string_equal(redis_why(t.client.redis), "");
	assert_string_equal(redis_where(t.client.redis), where);
	free(where);

	a = tell(&t.client, "SET key value");
	assert_int_equal(a.type, REDIS_REPLY_STATUS);
	a = tell(&t.client, "GET key");
	assert_string_equal(a.text, "value");
	a = tell(&t.client, "GET nothing");
	assert_int_equal(a.type, REDIS_REPLY_NIL);
	a = tell(&t.client, "MGET key nothing key");
	assert_int_equal(a.n, 3);
	a = (struct answer){ 0 };
	ask(&t.client, &a, "INCR key");	/* an error is an answer as well */
	WAIT_UNTIL(t.loop, a.times > 0);
	assert_int_equal(a.e, OK);
	assert_int_equal(a.type, REDIS_REPLY_ERROR);
	assert_true(redis_is_up(t.client.redis));
}

static void
test_many_commands_keep_their_order(void **state)
{
	static struct answer answers[REDIS_PENDING_MAX + 1];
	struct answer *over = &answers[REDIS_PENDING_MAX];

	(void)state;
	memset(answers, 0, sizeof(answers));
	start("");
	come_up(NULL);
	for (size_t i = 0; i <= REDIS_PENDING_MAX; i++)
		ask(&t.client, &answers[i], "INCR counter");
	/* One more than may wait is refused at once. */
	assert_int_equal(over->times, 1);
	assert_int_equal(over->e, E_STORE);
	assert_contains(over->text, "too many commands");
	WAIT_UNTIL(t.loop, answers[REDIS_PENDING_MAX - 1].times > 0);
	for (size_t i = 0; i < REDIS_PENDING_MAX; i++) {
		assert_int_equal(answers[i].times, 1);
		assert_int_equal(answers[i].integer, i + 1);
	}
}

static void
test_ticks_go_on_and_cost_nothing(void **state)
{
	(void)state;
	start("");
	come_up(NULL);
	assert_in_range(turns_within(2.5), 2, 40);
	assert_true(redis_is_up(t.client.redis));
	assert_int_equal(t.client.downs, 0);
	tell(&t.client, "PING");
}

static bool echoed;

static void
on_echo(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	const struct str *sent = arg;

	(void)why;
	assert_int_equal(e, OK);
	assert_int_equal(reply->len, sent->n);
	assert_memory_equal(reply->str, sent->p, sent->n);
	echoed = true;
}

static void
test_bytes_of_every_kind(void **state)
{
	size_t n = 3 * 1024 * 1024;
	char *value = must_alloc(n), *copy = must_alloc(n);
	struct str sent[] = { { value, n }, STR("a\0b\r\n$3\r\n"), { NULL, 0 } };

	(void)state;
	start("");
	come_up(NULL);
	for (size_t i = 0; i < n; i++)
		copy[i] = value[i] = (char)(i * 7);
	for (size_t i = 0; i < ARRAY_LEN(sent); i++) {
		echoed = false;
		redis_command(t.client.redis, NEVER, 2, (struct str[]){ STR("ECHO"), sent[i] }, on_echo,
			      &sent[i]);
		/* Ours until then, not longer. */
		memset(value, 'x', n);
		sent[0].p = copy;
		WAIT_UNTIL(t.loop, echoed);
	}
	free(value);
	free(copy);
}

static void
test_answers_have_a_largest_size(void **state)
{
	struct answer a = { 0 };

	(void)state;
	start("");
	come_up(NULL);
	tell(&t.client, "SETRANGE large 15000000 x");
	assert_int_equal(tell(&t.client, "GET large").n, 15000001);
	tell(&t.client, "SETRANGE larger 17000000 x");
	ask(&t.client, &a, "GET larger");
	WAIT_UNTIL(t.loop, a.times == 1);
	assert_int_equal(a.e, E_UNKNOWN);
	assert_contains(a.text, "its answer is larger than 16 MiB");
	WAIT_UNTIL(t.loop, t.client.ups == 2);
	assert_int_equal(t.client.downs, 1);
}

static void
test_a_server_that_comes_later(void **state)
{
	struct answer a = { 0 };

	(void)state;
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_contains(t.client.why.text, "redis.sock: No such file or directory");
	ask(&t.client, &a, "PING");
	assert_int_equal(a.times, 1);	/* from inside */
	assert_int_equal(a.e, E_STORE);
	assert_contains(a.text, "No such file or directory");
	/* It goes on trying, with pauses, and tells the bad news once. */
	assert_in_range(turns_within(1.5), 2, 60);
	assert_int_equal(t.client.downs, 1);
	start("");
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	tell(&t.client, "PING");
}

static void
test_a_server_that_dies_and_returns(void **state)
{
	struct answer waits = { 0 }, behind = { 0 }, again = { 0 };

	(void)state;
	start("");
	come_up(NULL);
	ask(&t.client, &waits, "BLPOP nothing 0");
	ask(&t.client, &behind, "PING");
	turns_within(0.05);
	redis_server_stop(&t.server);
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	/* What was sent may have been done; both were told before the end was. */
	assert_int_equal(waits.times, 1);
	assert_int_equal(waits.e, E_UNKNOWN);
	assert_int_equal(behind.times, 1);
	assert_int_equal(behind.e, E_UNKNOWN);
	assert_false(redis_is_up(t.client.redis));
	ask(&t.client, &again, "PING");
	assert_int_equal(again.e, E_STORE);
	turns_within(1.2);

	/* It is tried again, however long it was away. */
	start("");
	WAIT_UNTIL(t.loop, t.client.ups == 2);
	assert_int_equal(t.client.downs, 1);
	tell(&t.client, "PING");
}

/* A command that could not leave this host was not executed, and we know it. */
static void
test_what_was_not_sent_is_not_unknown(void **state)
{
	size_t n = 8 * 1024 * 1024;
	char *value = must_alloc(n);
	struct answer first = { 0 }, large = { 0 }, last = { 0 };

	(void)state;
	start("");
	come_up(NULL);
	kill(t.server.pid, SIGSTOP);
	ask_within(&t.client, &first, 0.3, "PING");
	redis_command(t.client.redis, NEVER, 2, (struct str[]){ STR("ECHO"), { value, n } }, answer_on_reply,
		      &large);
	ask(&t.client, &last, "PING");
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_int_equal(first.e, E_UNKNOWN);
	assert_contains(first.text, "no answer within 0.3 s");
	assert_int_equal(large.e, E_STORE);
	assert_int_equal(last.e, E_STORE);
	assert_int_equal(first.times + large.times + last.times, 3);
	kill(t.server.pid, SIGCONT);
	free(value);
}

static void
test_a_server_that_is_stopped(void **state)
{
	struct answer a = { 0 }, b = { 0 };

	(void)state;
	start("");
	come_up(NULL);
	config_timeouts(0.4);
	kill(t.server.pid, SIGSTOP);
	clock_stop();
	ask_within(&t.client, &a, 0.3, "INCR a");
	ask_within(&t.client, &b, 5, "INCR b");
	clock_move(0.29);
	ev_run(t.loop, EVRUN_NOWAIT);
	assert_int_equal(t.client.downs, 0);
	clock_move(0.02);
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_int_equal(a.e, E_UNKNOWN);
	assert_int_equal(b.e, E_UNKNOWN);
	clock_pass();
	/* The kernel still accepts for it; nobody is fooled by that. */
	assert_in_range(turns_within(1.5), 2, 80);
	assert_int_equal(t.client.ups, 1);
	assert_int_equal(t.client.downs, 1);
	assert_contains(redis_why(t.client.redis), "no answer within");

	config_timeouts(NEVER);
	kill(t.server.pid, SIGCONT);
	WAIT_UNTIL(t.loop, t.client.ups == 2);
	tell(&t.client, "PING");
}

/* Nobody asks anything, and still the silence is found out: within a second and a
 * timeout. */
static void
test_silence_is_found_without_a_command(void **state)
{
	(void)state;
	start("");
	come_up(NULL);
	redis_server_settle(&t.server, t.loop);
	config_timeouts(0.3);
	kill(t.server.pid, SIGSTOP);
	clock_move(1);
	ev_run(t.loop, EVRUN_NOWAIT);
	assert_int_equal(t.client.downs, 0);
	clock_move(0.3);
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	clock_pass();
	config_timeouts(NEVER);
	kill(t.server.pid, SIGCONT);
	WAIT_UNTIL(t.loop, t.client.ups == 2);
}

/* A command that may take its time is not cut short by our own questions. */
static void
test_a_command_that_takes_long(void **state)
{
	struct answer a = { 0 };

	(void)state;
	start("");
	come_up(NULL);
	config_timeouts(0.3);
	ask_within(&t.client, &a, NEVER, "BLPOP list 0");
	turns_within(5);
	assert_int_equal(t.client.downs, 0);
	assert_int_equal(a.times, 0);
	clock_stop();
	redis_server_do(&t.server, "LPUSH list x");
	WAIT_UNTIL(t.loop, a.times == 1);
	assert_int_equal(a.e, OK);
	assert_int_equal(a.n, 2);
	tell(&t.client, "PING");
	assert_int_equal(t.client.downs, 0);
}

/* It was us who slept: the answers lay there, and are taken. */
static void
test_our_own_stall_costs_no_command(void **state)
{
	struct answer a = { 0 };

	(void)state;
	start("");
	come_up(NULL);
	clock_stop();
	ask_within(&t.client, &a, 0.2, "INCR a");
	redis_server_do(&t.server, "PING");
	clock_move(0.6);
	WAIT_UNTIL(t.loop, a.times == 1);
	assert_int_equal(a.e, OK);
	assert_int_equal(a.integer, 1);
	tell(&t.client, "PING");
	assert_int_equal(t.client.downs, 0);
}

static void
test_messages(void **state)
{
	struct client speaker = { 0 };

	(void)state;
	start("");
	come_up("teal:changed");
	client_start(&speaker, NULL);
	WAIT_UNTIL(t.loop, speaker.ups == 1);
	assert_int_equal(tell(&speaker, "PUBLISH teal:changed shop").integer, 1);
	WAIT_UNTIL(t.loop, t.client.messages == 1);
	assert_string_equal(t.client.message, "teal:changed shop");
	assert_int_equal(tell(&speaker, "PUBLISH teal:other shop").integer, 0);
	/* It lives through its own pings. */
	turns_within(2.2);
	assert_true(redis_is_up(t.client.redis));
	assert_int_equal(t.client.downs, 0);

	redis_server_stop(&t.server);
	WAIT_UNTIL(t.loop, t.client.downs == 1 && speaker.downs == 1);
	start("");
	WAIT_UNTIL(t.loop, t.client.ups == 2 && speaker.ups == 2);
	assert_int_equal(tell(&speaker, "PUBLISH teal:changed again").integer, 1);
	WAIT_UNTIL(t.loop, t.client.messages == 2);
	assert_string_equal(t.client.message, "teal:changed again");

	redis_server_settle(&t.server, t.loop);
	config_timeouts(0.4);
	kill(t.server.pid, SIGSTOP);
	clock_pass();
	WAIT_UNTIL(t.loop, t.client.downs == 2);
	config_timeouts(NEVER);
	kill(t.server.pid, SIGCONT);
	WAIT_UNTIL(t.loop, t.client.ups == 3);
	redis_free(&speaker.redis);
}

static void
test_ports_and_names(void **state)
{
	char *options, *where;
	unsigned port = free_port();

	(void)state;
	options = must_printf("--port %u", port);
	start(options);
	config_by_port("127.0.0.1", port);
	come_up(NULL);
	where = must_printf("127.0.0.1:%u", port);
	assert_string_equal(redis_where(t.client.redis), where);
	redis_free(&t.client.redis);
	free(where);

	/* localhost may well be ::1 first, where nobody listens: then the next
	 * attempt tries the next address. */
	config_by_port("localhost", port);
	t.client = (struct client){ 0 };
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	where = must_printf("localhost:%u", port);
	assert_string_equal(redis_where(t.client.redis), where);
	redis_free(&t.client.redis);
	free(where);
	free(options);

	config_by_port("no-such-host.invalid", port);
	t.client = (struct client){ 0 };
	assert_refused("no-such-host.invalid");
}

static void
free_it(struct client *c)
{
	redis_free(&c->redis);
}

static void
free_it_by_answer(struct answer *a)
{
	redis_free(&a->client->redis);
}

/* Whoever is called back may end it all; the others are told before that
 * returns, and once. */
static void
test_freed_from_inside(void **state)
{
	struct answer a = { 0 }, b = { 0 }, c = { 0 };

	(void)state;
	t.client.on_down = free_it;
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.redis == NULL);
	turns_within(0.05);

	start("");
	t.client = (struct client){ .on_up = free_it };
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.redis == NULL);
	assert_int_equal(t.client.ups, 1);
	turns_within(0.05);

	t.client = (struct client){ 0 };
	come_up(NULL);
	b.then = free_it_by_answer;
	ask(&t.client, &a, "PING");
	ask(&t.client, &b, "PING");
	ask(&t.client, &c, "BLPOP nothing 0");
	WAIT_UNTIL(t.loop, t.client.redis == NULL);
	assert_int_equal(a.e, OK);
	assert_int_equal(c.times, 1);
	assert_int_equal(c.e, E_UNKNOWN);
	turns_within(0.05);

	t.client = (struct client){ .on_down = free_it };
	a = c = (struct answer){ 0 };
	b = (struct answer){ .then = free_it_by_answer };
	come_up(NULL);
	ask(&t.client, &a, "BLPOP nothing 0");
	ask(&t.client, &b, "PING");
	ask(&t.client, &c, "PING");
	turns_within(0.05);
	redis_server_stop(&t.server);
	WAIT_UNTIL(t.loop, t.client.redis == NULL);
	assert_int_equal(a.times + b.times + c.times, 3);
	assert_int_equal(t.client.downs, 0);
	turns_within(0.05);
	assert_int_equal(a.times + b.times + c.times, 3);

	start("");
	t.client = (struct client){ .on_message = free_it };
	come_up("ch");
	{
		struct client speaker = { 0 };

		client_start(&speaker, NULL);
		WAIT_UNTIL(t.loop, speaker.ups == 1);
		tell(&speaker, "PUBLISH ch x");
		WAIT_UNTIL(t.loop, t.client.redis == NULL);
		redis_free(&speaker.redis);
	}
	turns_within(0.05);
}

static void
ask_again(struct answer *a)
{
	a->then = NULL;
	ask(a->client, a, "PING");
}

static void
test_commands_from_inside(void **state)
{
	struct answer a = { .then = ask_again }, b = { .then = ask_again };

	(void)state;
	start("");
	come_up(NULL);
	ask(&t.client, &a, "PING");
	WAIT_UNTIL(t.loop, a.times == 2);
	assert_int_equal(a.e, OK);
	ask(&t.client, &b, "BLPOP nothing 0");
	turns_within(0.05);
	redis_server_stop(&t.server);
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_int_equal(b.times, 2);
	assert_int_equal(b.e, E_STORE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commands_and_answers, begin, end),
		cmocka_unit_test_setup_teardown(test_many_commands_keep_their_order, begin, end),
		cmocka_unit_test_setup_teardown(test_ticks_go_on_and_cost_nothing, begin, end),
		cmocka_unit_test_setup_teardown(test_bytes_of_every_kind, begin, end),
		cmocka_unit_test_setup_teardown(test_answers_have_a_largest_size, begin, end),
		cmocka_unit_test_setup_teardown(test_a_server_that_comes_later, begin, end),
		cmocka_unit_test_setup_teardown(test_a_server_that_dies_and_returns, begin, end),
		cmocka_unit_test_setup_teardown(test_what_was_not_sent_is_not_unknown, begin, end),
		cmocka_unit_test_setup_teardown(test_a_server_that_is_stopped, begin, end),
		cmocka_unit_test_setup_teardown(test_silence_is_found_without_a_command, begin, end),
		cmocka_unit_test_setup_teardown(test_a_command_that_takes_long, begin, end),
		cmocka_unit_test_setup_teardown(test_our_own_stall_costs_no_command, begin, end),
		cmocka_unit_test_setup_teardown(test_messages, begin, end),
		cmocka_unit_test_setup_teardown(test_ports_and_names, begin, end),
		cmocka_unit_test_setup_teardown(test_freed_from_inside, begin, end),
		cmocka_unit_test_setup_teardown(test_commands_from_inside, begin, end),
	};

	return cmocka_run_group_tests_name("redis", tests, NULL, NULL);
}
