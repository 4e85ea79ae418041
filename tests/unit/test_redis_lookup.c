/* test_redis_lookup.c - names that are slow, unknown or have several addresses:
 * our own name server says what it likes, when it likes. */
#include "redis_client.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>

#include "model/secret.h"
#include "store/redis_lookup.h"

static struct {
	sem_t asked, may_answer;
	_Atomic bool waits;	/* for may_answer */
	_Atomic unsigned questions;
} names;

static struct sockaddr_in addresses[3];
static struct addrinfo found[3];

/* "host" is 127.0.0.9, where nobody listens, then 127.0.0.1, then 127.0.0.8. */
int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
	static const char *const texts[] = { "127.0.0.9", "127.0.0.1", "127.0.0.8" };

	(void)service;
	(void)hints;
	names.questions++;
	sem_post(&names.asked);
	if (names.waits)
		sem_wait(&names.may_answer);
	if (strncmp(node, "host", 4) != 0)
		return EAI_NONAME;
	for (size_t i = 0; i < ARRAY_LEN(found); i++) {
		addresses[i].sin_family = AF_INET;
		inet_pton(AF_INET, texts[i], &addresses[i].sin_addr);
		found[i].ai_addr = (struct sockaddr *)&addresses[i];
		found[i].ai_addrlen = sizeof(addresses[i]);
		found[i].ai_next = i + 1 < ARRAY_LEN(found) ? &found[i + 1] : NULL;
	}
	*res = found;
	return 0;
}

void
freeaddrinfo(struct addrinfo *ai)
{
	(void)ai;
}

static struct {
	struct lookup lookup;
	char *password;
	unsigned times;
	enum err e;
	char text[ADDR_TEXT];
	struct why why;
} l;

static void
on_found(void *arg, enum err e, const struct addr *address, const struct why *why)
{
	(void)arg;
	l.times++;
	l.e = e;
	l.why = *why;
	if (e == OK)
		addr_format(address, l.text);
}

static void
start(const char *host, const char *password_file)
{
	struct redis_endpoint at = { .port = 6379 };

	snprintf(at.host, sizeof(at.host), "%s", host);
	lookup_start(&l.lookup, &at, password_file, &l.password, on_found, NULL);
}

static int
begin_names(void **state)
{
	begin(state);
	memset(&names, 0, sizeof(names));
	memset(&l, 0, sizeof(l));
	sem_init(&names.asked, 0, 0);
	sem_init(&names.may_answer, 0, 0);
	l.lookup.jobs = t.jobs;
	return 0;
}

static int
end_names(void **state)
{
	redis_free(&t.client.redis);
	for (unsigned i = 0; i < 10; i++)
		sem_post(&names.may_answer);
	lookup_end(&l.lookup);
	secret_free(&l.password);
	return end(state);
}

static void
test_addresses_need_nobody(void **state)
{
	(void)state;
	start("10.0.0.5", NULL);
	assert_int_equal(l.times, 1);
	assert_int_equal(l.e, OK);
	assert_string_equal(l.text, "10.0.0.5:6379");
	start("fd00::1", NULL);
	assert_string_equal(l.text, "[fd00::1]:6379");
	assert_int_equal(names.questions, 0);
}

static void
test_addresses_take_turns(void **state)
{
	const char *texts[] = { "127.0.0.9:6379", "127.0.0.1:6379", "127.0.0.8:6379", "127.0.0.9:6379" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
		l.lookup.turn = i;
		start("host", NULL);
		assert_int_equal(l.times, i);
		WAIT_UNTIL(t.loop, l.times == i + 1);
		assert_string_equal(l.text, texts[i]);
	}
	start("nobody", NULL);
	WAIT_UNTIL(t.loop, l.times == ARRAY_LEN(texts) + 1);
	assert_int_equal(l.e, E_STORE);
	assert_contains(l.why.text, "cannot look up nobody: ");
}

/* One question at a time, however long it takes; and what it brings in the end
 * is not lost. */
static void
test_what_is_given_up_comes_later(void **state)
{
	(void)state;
	names.waits = true;
	start("host", NULL);
	sem_wait(&names.asked);
	lookup_give_up(&l.lookup);
	for (unsigned i = 0; i < 5; i++) {
		start("host", NULL);
		assert_int_equal(l.times, i + 1);
		assert_int_equal(l.e, E_STORE);
		assert_string_equal(l.why.text, "still looking up host");
	}
	assert_int_equal(names.questions, 1);
	sem_post(&names.may_answer);
	WAIT_UNTIL(t.loop, l.lookup.job == NULL);
	assert_int_equal(l.times, 5);
	start("host", NULL);
	assert_int_equal(l.times, 6);
	assert_int_equal(l.e, OK);
	assert_string_equal(l.text, "127.0.0.9:6379");
	assert_int_equal(names.questions, 1);
	/* But only once, and only for the same name. */
	sem_post(&names.may_answer);
	start("host", NULL);
	WAIT_UNTIL(t.loop, l.times == 7);
	assert_int_equal(names.questions, 2);
}

static void
test_the_end_comes_first(void **state)
{
	(void)state;
	names.waits = true;
	start("host", NULL);
	sem_wait(&names.asked);
	lookup_end(&l.lookup);
	sem_post(&names.may_answer);
	WAIT_UNTIL(t.loop, jobs_pending(t.jobs) == 0);
	assert_int_equal(l.times, 0);
}

static void
test_passwords_are_read_again(void **state)
{
	char *file = must_printf("%s/password", t.dir);
	FILE *f;

	(void)state;
	l.password = must_strdup("old");
	start("10.0.0.5", file);
	WAIT_UNTIL(t.loop, l.times == 1);
	assert_int_equal(l.e, OK);
	assert_string_equal(l.password, "old");
	assert_non_null(f = fopen(file, "w"));
	fputs("new\n", f);
	assert_int_equal(fclose(f), 0);
	start("", file);	/* a Unix socket: nothing to look up */
	WAIT_UNTIL(t.loop, l.times == 2);
	assert_int_equal(l.e, OK);
	assert_string_equal(l.password, "new");
	assert_int_equal(names.questions, 0);
	/* A FIFO keeps nobody waiting. */
	assert_int_equal(unlink(file), 0);
	assert_int_equal(mkfifo(file, 0600), 0);
	start("10.0.0.5", file);
	WAIT_UNTIL(t.loop, l.times == 3);
	assert_string_equal(l.password, "new");
	free(file);
}

/* The first address refuses, the second is right. */
static void
test_redis_behind_one_of_several_addresses(void **state)
{
	unsigned port = free_port();
	char *options = must_printf("--port %u", port);

	(void)state;
	redis_server_start(&t.server, t.dir, "redis", options);
	config_by_port("host", port);
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	assert_int_equal(t.client.downs, 1);
	assert_contains(t.client.why.text, "Connection refused");
	tell(&t.client, "PING");
	free(options);
}

static void
test_redis_behind_a_slow_name(void **state)
{
	unsigned port = free_port();
	char *options = must_printf("--port %u", port);

	(void)state;
	redis_server_start(&t.server, t.dir, "redis", options);
	config_by_port("host", port);
	t.config.store.connect_timeout = 0.3;
	names.waits = true;
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_contains(t.client.why.text, "its name is not found within 0.3 s");
	assert_in_range(turns_within(1), 1, 60);
	WAIT_UNTIL(t.loop, names.questions > 0);	/* asked by a thread, which may be late */
	assert_int_equal(names.questions, 1);
	config_timeouts(NEVER);
	names.waits = false;
	sem_post(&names.may_answer);
	WAIT_UNTIL(t.loop, t.client.ups == 1);

	/* Freed while it is being asked. */
	redis_free(&t.client.redis);
	names.waits = true;
	t.client = (struct client){ 0 };
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, names.questions >= 2 && jobs_pending(t.jobs) > 0);
	redis_free(&t.client.redis);
	sem_post(&names.may_answer);
	WAIT_UNTIL(t.loop, jobs_pending(t.jobs) == 0);
	free(options);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_addresses_need_nobody, begin_names, end_names),
		cmocka_unit_test_setup_teardown(test_addresses_take_turns, begin_names, end_names),
		cmocka_unit_test_setup_teardown(test_what_is_given_up_comes_later, begin_names, end_names),
		cmocka_unit_test_setup_teardown(test_the_end_comes_first, begin_names, end_names),
		cmocka_unit_test_setup_teardown(test_passwords_are_read_again, begin_names, end_names),
		cmocka_unit_test_setup_teardown(test_redis_behind_one_of_several_addresses, begin_names, end_names),
		cmocka_unit_test_setup_teardown(test_redis_behind_a_slow_name, begin_names, end_names),
	};

	return cmocka_run_group_tests_name("redis_lookup", tests, NULL, NULL);
}
