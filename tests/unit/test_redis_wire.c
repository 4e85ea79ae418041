/* test_redis_wire.c - servers that misbehave: silent, slow, closing, babbling,
 * lying about lengths, far too large.  Each costs a sentence and a pause, never
 * memory, a busy loop or a crash. */
#include "redis_client.h"

/* What an honest server would say to the hello; a part replaced makes it
 * dishonest. */
struct line {
	const char *asked;	/* begins the command; NULL ends the list */
	const char *answer;	/* NULL: silence */
	size_t n;	/* of the answer, when it has NULs; else 0 */
};

#define GOOD_PING \
	{ \
		"PING", "+PONG\r\n", 0 \
	}
#define GOOD_ROLE \
	{ \
		"ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", 0 \
	}
#define GOOD_INFO \
	{ \
		"INFO", "$17\r\ncluster_enabled:0\r\n", 0 \
	}
#define HONEST GOOD_PING, GOOD_ROLE, GOOD_INFO

/* A server in our own loop, with at most one visitor. */
static struct {
	int listener, visitor;
	ev_io accepts, reads;
	ev_timer drips;	/* one more byte of what is to be said slowly */
	const struct line *lines;
	const char *greeting;	/* said before anything is asked */
	bool hangs_up;	/* at once */
	bool hangs_up_after;	/* an answer */
	bool floods;	/* says the greeting for ever */
	double drip;	/* seconds between bytes; 0: all at once */
	const char *slow;
	unsigned visits, answers;
} s;

static void
hang_up(void)
{
	if (s.visitor < 0)
		return;
	ev_io_stop(t.loop, &s.reads);
	ev_timer_stop(t.loop, &s.drips);
	close(s.visitor);
	s.visitor = -1;
}

static void
say(const char *text, size_t n)
{
	if (s.drip > 0) {
		s.slow = text;
		ev_timer_set(&s.drips, s.drip, s.drip);
		ev_timer_start(t.loop, &s.drips);
		return;
	}
	for (size_t at = 0; at < n;) {
		ssize_t w = send(s.visitor, text + at, n - at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (w < 0)
			return;	/* as far as it took it */
		at += (size_t)w;
	}
}

static void
on_drip(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)revents;
	if (*s.slow == '\0') {
		ev_timer_stop(loop, w);
		return;
	}
	(void)!send(s.visitor, s.slow++, 1, MSG_NOSIGNAL);
}

static const struct line *
line_for(const char *command)
{
	for (const struct line *l = s.lines; l != NULL && l->asked != NULL; l++)
		if (strstr(command, l->asked) != NULL)
			return l;
	return NULL;
}

static void
on_question(struct ev_loop *loop, ev_io *w, int revents)
{
	static char text[4096];
	const struct line *l;
	ssize_t n;

	(void)loop;
	(void)revents;
	if (s.floods && (revents & EV_WRITE))
		say(s.greeting, strlen(s.greeting));
	if (!(revents & EV_READ))
		return;
	n = recv(w->fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	if (n <= 0) {
		hang_up();
		return;
	}
	text[n] = '\0';
	if ((l = line_for(text)) == NULL || l->answer == NULL)
		return;
	say(l->answer, l->n > 0 ? l->n : strlen(l->answer));
	s.answers++;
	if (s.hangs_up_after)
		hang_up();
}

static void
on_visit(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)revents;
	hang_up();
	s.visitor = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
	s.visits++;
	if (s.hangs_up) {
		close(s.visitor);
		s.visitor = -1;
		return;
	}
	if (s.greeting != NULL)
		say(s.greeting, strlen(s.greeting));
	ev_io_set(&s.reads, s.visitor, EV_READ | (s.floods ? EV_WRITE : 0));
	ev_io_start(loop, &s.reads);
}

static int
begin_server(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	begin(state);
	memset(&s, 0, sizeof(s));
	s.visitor = -1;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", t.config.store.path);
	s.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(bind(s.listener, (struct sockaddr *)&un, sizeof(un)), errno);
	assert_return_code(listen(s.listener, 16), errno);
	ev_io_init(&s.accepts, on_visit, s.listener, EV_READ);
	ev_io_start(t.loop, &s.accepts);
	ev_init(&s.reads, on_question);
	ev_init(&s.drips, on_drip);
	config_timeouts(0.3);
	return 0;
}

static int
end_server(void **state)
{
	redis_free(&t.client.redis);
	hang_up();
	ev_io_stop(t.loop, &s.accepts);
	close(s.listener);
	return end(state);
}

/* It is refused for this reason, again and again, and all that is cheap. */
static void
assert_given_up(const char *reason)
{
	assert_refused(reason);
	assert_in_range(turns_within(0.8), 1, 120);
	assert_int_equal(t.client.ups, 0);
	assert_int_equal(t.client.downs, 1);
	assert_in_range(s.visits, 1, 10);
	redis_free(&t.client.redis);
	t.client = (struct client){ 0 };
	s.visits = 0;
}

static void
test_servers_that_do_not_answer(void **state)
{
	(void)state;
	assert_given_up("no answer within 0.3 s");
	s.hangs_up = true;
	assert_given_up("");
	s.hangs_up = false;
	s.hangs_up_after = true;
	s.lines = (const struct line[]){ { "PING", "", 0 }, { NULL, NULL, 0 } };
	assert_given_up("connection closed");
	s.lines = (const struct line[]){ { "PING", "+PO", 0 }, { NULL, NULL, 0 } };
	assert_given_up("connection closed");
	s.lines = (const struct line[]){ { "PING", "+PONG\r\n", 0 }, { NULL, NULL, 0 } };
	assert_given_up("connection closed");
}

static const struct {
	const char *answer, *reason;
} babble[] = {
	{ "HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak Redis' protocol" },
	{ "\x16\x03\x01", "it does not speak Redis' protocol" },
	{ "SSH-2.0-OpenSSH_9.2\r\n", "it does not speak Redis' protocol" },
	{ "\r\n\r\n", "it does not speak Redis' protocol" },
	{ "$x\r\n", "it does not speak Redis' protocol" },
	{ "$-2\r\n", "it does not speak Redis' protocol" },
	{ "*-2\r\n", "it does not speak Redis' protocol" },
	{ ":12a\r\n", "it does not speak Redis' protocol" },
	{ "*99999999999999999999\r\n", "it does not speak Redis' protocol" },
	{ "$99999999999999999999\r\n", "it does not speak Redis' protocol" },
	{ "*1000000000\r\n", "its answer has more than 262144 elements" },
	{ "*2147483647\r\n", "its answer has more than 262144 elements" },
	{ "*2\r\n*200000\r\n", "no answer within" },
	{ "*2\r\n*2\r\n*0\r\n*262141\r\n", "its answer has more than 262144 elements" },
	{ "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
	  "it does not speak Redis' protocol" },
	{ "$1000000000\r\nabc", "no answer within" },
	{ "*0\r\n", "it answered PING with: a list" },
	{ "*-1\r\n", "it answered PING with: nil" },
	{ "$-1\r\n", "it answered PING with: nil" },
	{ "$4\r\nPONG\r\n", "it answered PING with: a text" },
	{ ":7\r\n", "it answered PING with: a number" },
	{ "-\r\n", "it answered PING with: " },
	{ "-ERR \x1b[31m\xff\x01 odd\r\n", "it answered PING with: ERR ?[31m?? odd" },
	{ "-LOADING Redis is loading the dataset in memory\r\n", "it is loading its data" },
	{ "-NOAUTH Authentication required.\r\n", "it wants a password, and none is configured" },
	{ "-MASTERDOWN Link with MASTER is down\r\n", "it is a replica that has lost its master" },
	{ "-READONLY You can't write\r\n", "it is a replica, which takes no writes" },
	{ "-MOVED 1 127.0.0.1:1\r\n", "it is a Redis Cluster, which is not supported" },
	{ "-CLUSTERDOWN down\r\n", "it is a Redis Cluster, which is not supported" },
	{ "-ERR max number of clients reached\r\n",
	  "it answered PING with: ERR max number of clients reached" },
};

static void
test_servers_that_babble(void **state)
{
	struct line lines[] = { { "PING", NULL, 0 }, GOOD_ROLE, GOOD_INFO, { NULL, NULL, 0 } };

	(void)state;
	s.lines = lines;
	for (size_t i = 0; i < ARRAY_LEN(babble); i++) {
		lines[0].answer = babble[i].answer;
		assert_refused(babble[i].reason);
		redis_free(&t.client.redis);
		t.client = (struct client){ 0 };
	}
	/* And once with the whole care. */
	s.visits = 0;
	lines[0].answer = babble[0].answer;
	assert_given_up(babble[0].reason);
}

static const struct {
	const char *role, *info, *reason;
} strange[] = {
	{ "*0\r\n", NULL, "it answered ROLE with: a list" },
	{ "$6\r\nmaster\r\n", NULL, "it answered ROLE with: a text" },
	{ "*1\r\n:1\r\n", NULL, "it answered ROLE with: a list" },
	{ "*1\r\n*1\r\n$6\r\nmaster\r\n", NULL, "it answered ROLE with: a list" },
	{ "*5\r\n$5\r\nslave\r\n$1\r\nx\r\n:1\r\n$2\r\nup\r\n:0\r\n", NULL,
	  "it is a replica, not the master" },
	{ "*2\r\n$8\r\nsentinel\r\n*0\r\n", NULL, "it is a Sentinel, not Redis" },
	{ "-NOPERM no\r\n", "$0\r\n\r\n", "it answered INFO replication with: a text" },
	{ "-NOPERM no\r\n", "$10\r\nrole:slave\r\n", "it is a replica, not the master" },
	{ "-NOPERM no\r\n", "-NOPERM no\r\n", "may use neither ROLE nor INFO" },
	{ "*1\r\n$6\r\nmaster\r\n", "*0\r\n", "it answered INFO cluster with: a list" },
	{ "*1\r\n$6\r\nmaster\r\n", "-ERR unknown command 'INFO'\r\n",
	  "it answered INFO cluster with: ERR unknown" },
	{ "*1\r\n$6\r\nmaster\r\n", "$17\r\ncluster_enabled:1\r\n", "it is a Redis Cluster" },
};

static void
test_strange_roles(void **state)
{
	struct line lines[] = { GOOD_PING, { "ROLE", NULL, 0 }, { "INFO", NULL, 0 }, { NULL, NULL, 0 } };

	(void)state;
	s.lines = lines;
	for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
		lines[1].answer = strange[i].role;
		lines[2].answer = strange[i].info;
		assert_refused(strange[i].reason);
		redis_free(&t.client.redis);
		t.client = (struct client){ 0 };
	}
}

/* Servers that do not know AUTH, or a stranger in their place, repeat what they
 * were told; we do not. */
static void
test_passwords_are_not_repeated(void **state)
{
	const char *echoes[] = { "-ERR unknown command 'AUTH', with args beginning with: 's3cr3t'\r\n",
				 "-s3cr3t\r\n", "-WRONGPASS s3cr3t\r\n", "$6\r\ns3cr3t\r\n" };
	struct line lines[] = { { "AUTH", NULL, 0 }, HONEST, { NULL, NULL, 0 } };
	static char password[] = "s3cr3t";

	(void)state;
	s.lines = lines;
	t.config.store.password = password;
	for (size_t i = 0; i < ARRAY_LEN(echoes); i++) {
		lines[0].answer = echoes[i];
		assert_refused("user \"default\"");
		assert_null(strstr(t.client.why.text, password));
		redis_free(&t.client.redis);
		t.client = (struct client){ 0 };
	}
	lines[0].answer = "+OK\r\n";
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.ups == 1);
}

static void
test_servers_that_talk_first(void **state)
{
	struct line lines[] = { HONEST, { NULL, NULL, 0 } };

	(void)state;
	s.lines = lines;
	s.greeting = "-ERR Protected mode is on\r\n";
	assert_given_up("ERR Protected mode is on");
	s.greeting = "+PONG\r\n+PONG\r\n+PONG\r\n";
	assert_given_up("");
	s.floods = true;
	s.greeting = "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n";
	assert_given_up("");
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
test_an_answer_too_many(void **state)
{
	struct line lines[] = { HONEST, { "GET", "$1\r\nx\r\n+OK\r\n", 0 }, { NULL, NULL, 0 } };
	struct answer a = { 0 };

	(void)state;
	s.lines = lines;
	come_up(NULL);
	ask(&t.client, &a, "GET x");
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_int_equal(a.e, OK);
	assert_contains(t.client.why.text, "it sent an answer without a question");
	assert_int_equal(a.times, 1);
}

/* A server that became useless says so to any command; it was not executed, and
 * the connection is not used again until the hello is said anew. */
static void
test_refusals_while_up(void **state)
{
	const char *refusals[] = { "-READONLY r\r\n",    "-LOADING l\r\n",   "-NOAUTH n\r\n",
				   "-MASTERDOWN m\r\n",  "-MOVED 1 h:1\r\n", "-ASK 1 h:1\r\n",
				   "-CLUSTERDOWN c\r\n", "-CROSSSLOT c\r\n" };
	struct line lines[] = { HONEST, { "EVAL", NULL, 0 }, { NULL, NULL, 0 } };

	(void)state;
	s.lines = lines;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		struct answer a = { 0 };

		lines[3].answer = refusals[i];
		come_up(NULL);
		ask(&t.client, &a, "EVAL x 0");
		WAIT_UNTIL(t.loop, t.client.downs == 1);
		assert_int_equal(a.times, 1);
		assert_int_equal(a.e, E_STORE);
		WAIT_UNTIL(t.loop, t.client.ups == 2);
		redis_free(&t.client.redis);
		t.client = (struct client){ 0 };
	}
}

static void
test_slow_is_not_dead(void **state)
{
	struct line lines[] = { HONEST, { "GET", "$5\r\nhello\r\n", 0 }, { NULL, NULL, 0 } };
	struct answer a = { 0 };

	(void)state;
	s.lines = lines;
	come_up(NULL);
	s.drip = 0.01;
	ask_within(&t.client, &a, 0.5, "GET x");
	WAIT_UNTIL(t.loop, a.times == 1);
	assert_int_equal(a.e, OK);
	assert_string_equal(a.text, "hello");
	/* Too slow is. */
	s.drip = 0.2;
	ask_within(&t.client, &a, 0.5, "GET x");
	WAIT_UNTIL(t.loop, a.times == 2);
	assert_int_equal(a.e, E_UNKNOWN);
}

/* Every cut of an answer is the same answer. */
static void
test_answers_in_pieces(void **state)
{
	static const char whole[] = "*4\r\n$3\r\na\r\n\r\n:-12\r\n$-1\r\n*2\r\n+OK\r\n-ERR no\r\n";
	struct line lines[] = { HONEST, { "GET", NULL, 0 }, { NULL, NULL, 0 } };

	(void)state;
	s.lines = lines;
	come_up(NULL);
	for (size_t cut = 1; cut < sizeof(whole) - 1; cut++) {
		struct answer a = { 0 };
		unsigned answers = s.answers;

		ask(&t.client, &a, "GET x");
		lines[3] = (struct line){ "GET", whole, cut };
		WAIT_UNTIL(t.loop, s.answers > answers);
		ev_run(t.loop, EVRUN_NOWAIT);
		assert_int_equal(a.times, 0);
		(void)!send(s.visitor, whole + cut, sizeof(whole) - 1 - cut, MSG_NOSIGNAL);
		WAIT_UNTIL(t.loop, a.times == 1);
		assert_int_equal(a.e, OK);
		assert_int_equal(a.type, REDIS_REPLY_ARRAY);
		assert_int_equal(a.n, 4);
	}
}

/* Large in every way there is. */
static void
test_answers_that_never_end(void **state)
{
	static const struct {
		const char *head, *body, *reason;
	} endless[] = {
		{ "+", "abcdefgh", "a line of its answer is longer than 64 KiB" },
		{ "-", "abc\nefgh", "a line of its answer is longer than 64 KiB" },
		{ ":", "12345678", "a line of its answer is longer than 64 KiB" },
		{ "$", "11111111", "a line of its answer is longer than 64 KiB" },
		{ "$2000000000\r\n", "abcdefgh", "its answer is larger than 16 MiB" },
		{ "*262144\r\n", "$1000\r\n", "" },
		{ "*9\r\n$2000000000\r\n", "\r\n\r\n\r\n\r\n", "its answer is larger than 16 MiB" },
	};
	struct line lines[] = { HONEST, { "GET", NULL, 0 }, { NULL, NULL, 0 } };

	(void)state;
	s.lines = lines;
	t.config.store.command_timeout = t.config.store.connect_timeout = 5;
	for (size_t i = 0; i < ARRAY_LEN(endless); i++) {
		struct answer a = { 0 };
		char *block = must_alloc(65536);
		unsigned answers;

		for (size_t k = 0; k + strlen(endless[i].body) <= 65536; k += strlen(endless[i].body))
			memcpy(block + k, endless[i].body, strlen(endless[i].body));
		come_up(NULL);
		lines[3].answer = endless[i].head;
		ask_within(&t.client, &a, 8, "GET x");
		answers = s.answers;
		WAIT_UNTIL(t.loop, s.answers > answers);
		while (a.times == 0) {
			if (s.visitor >= 0)
				(void)!send(s.visitor, block, 65536, MSG_NOSIGNAL | MSG_DONTWAIT);
			ev_run(t.loop, EVRUN_NOWAIT);
		}
		assert_int_equal(a.e, E_UNKNOWN);
		assert_contains(a.text, endless[i].reason);
		redis_free(&t.client.redis);
		t.client = (struct client){ 0 };
		free(block);
	}
}

static void
test_channels(void **state)
{
	struct line lines[] = { HONEST, { "SUBSCRIBE", NULL, 0 }, { NULL, NULL, 0 } };
	static const char subscribed[] = "*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n";
	static const char hello[] = "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\nhello\r\n";
	static const char foreign[] = "*3\r\n$7\r\nmessage\r\n$2\r\nxy\r\n$5\r\nhello\r\n";
	static const char odd[] = "*3\r\n$7\r\nmessage\r\n:1\r\n$5\r\nhello\r\n";

	(void)state;
	s.lines = lines;
	lines[3].answer = "+OK\r\n";
	client_start(&t.client, "ch");
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_contains(t.client.why.text, "asked for channel \"ch\", it answered: OK");
	lines[3].answer = subscribed;
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	(void)!send(s.visitor, foreign, sizeof(foreign) - 1, 0);
	(void)!send(s.visitor, hello, sizeof(hello) - 1, 0);
	WAIT_UNTIL(t.loop, t.client.messages == 1);
	assert_string_equal(t.client.message, "ch hello");
	(void)!send(s.visitor, odd, sizeof(odd) - 1, 0);
	WAIT_UNTIL(t.loop, t.client.downs == 2);
	assert_contains(t.client.why.text, "it sent an answer without a question");
	assert_int_equal(t.client.messages, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_servers_that_do_not_answer, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_servers_that_babble, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_strange_roles, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_passwords_are_not_repeated, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_servers_that_talk_first, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_an_answer_too_many, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_refusals_while_up, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_slow_is_not_dead, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_answers_in_pieces, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_answers_that_never_end, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_channels, begin_server, end_server),
	};

	return cmocka_run_group_tests_name("redis_wire", tests, NULL, NULL);
}
