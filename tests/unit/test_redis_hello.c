/* test_redis_hello.c - what a real redis-server is asked before it is used:
 * passwords, databases, rights, and is it a master, loaded, and no cluster. */
#include <sys/stat.h>

#include "redis_client.h"

static void
start(const char *options)
{
	redis_server_start(&t.server, t.dir, "redis", options);
}

static void
come_up(void)
{
	t.client = (struct client){ 0 };
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.ups + t.client.downs > 0);
	if (t.client.ups == 0)
		fail_msg("%s", t.client.why.text);
}

static void
begin_again(void)
{
	redis_free(&t.client.redis);
	t.client = (struct client){ 0 };
}

static void
test_passwords(void **state)
{
	static char right[] = "s3 cr3t", wrong[] = "s3cr3t";

	(void)state;
	start("--requirepass X");
	t.config.store.password = (char *)(uintptr_t) "X";
	come_up();
	tell(&t.client, "CONFIG SET requirepass other");
	begin_again();

	t.config.store.password = wrong;
	assert_refused("the password of user \"default\" is wrong, or there is no such user");
	assert_null(strstr(t.client.why.text, wrong));
	begin_again();
	t.config.store.password = NULL;
	assert_refused("it wants a password, and none is configured");
	begin_again();

	redis_server_stop(&t.server);
	start("");
	t.config.store.password = right;
	assert_refused("it has no password, but one is configured");
	assert_null(strstr(t.client.why.text, right));
	t.config.store.password = NULL;
}

static void
test_users(void **state)
{
	static char user[] = "teal", password[] = "s3cr3t";

	(void)state;
	start("--user teal on >s3cr3t ~teal:* &teal:* +@all");
	t.config.store.user = user;
	t.config.store.password = password;
	come_up();
	assert_string_equal(tell(&t.client, "ACL WHOAMI").text, "teal");
	tell(&t.client, "ACL SETUSER nobody on nopass ~* +@all");
	begin_again();

	/* Whoever needs no password may come without. */
	t.config.store.user = (char *)(uintptr_t) "nobody";
	t.config.store.password = NULL;
	come_up();
	assert_string_equal(tell(&t.client, "ACL WHOAMI").text, "nobody");
	begin_again();
	t.config.store.user = (char *)(uintptr_t) "stranger";
	assert_refused("the password of user \"stranger\" is wrong, or there is no such user");
}

/* The password is changed in Redis and in its file, while we run. */
static void
test_a_password_that_changes(void **state)
{
	char *file = must_printf("%s/password", t.dir);
	FILE *f;

	(void)state;
	start("--requirepass new");
	t.config.store.password_file = file;
	t.config.store.password = (char *)(uintptr_t) "old";
	assert_refused("the password of user \"default\" is wrong");
	/* Without the file it goes on with the old one. */
	turns_within(0.5);
	assert_int_equal(t.client.ups, 0);
	f = fopen(file, "w");
	assert_non_null(f);
	fputs("new\n", f);
	assert_int_equal(fclose(f), 0);
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	/* And keeps it. */
	assert_int_equal(unlink(file), 0);
	redis_server_stop(&t.server);
	start("--requirepass new");
	WAIT_UNTIL(t.loop, t.client.ups == 2);
	free(file);
}

static void
test_databases(void **state)
{
	struct client other = { 0 };

	(void)state;
	start("--databases 4");
	t.config.store.database = 3;
	come_up();
	tell(&t.client, "SET here 1");
	t.config.store.database = 0;
	client_start(&other, NULL);
	WAIT_UNTIL(t.loop, other.ups == 1);
	assert_int_equal(tell(&other, "EXISTS here").integer, 0);
	tell(&other, "SELECT 3");
	assert_int_equal(tell(&other, "EXISTS here").integer, 1);
	redis_free(&other.redis);
	begin_again();
	t.config.store.database = 4;
	assert_refused("it refused database 4: ERR DB index is out of range");
}

static void
test_rights(void **state)
{
	(void)state;
	start("--user default on nopass ~* &* +@all -role");
	come_up();	/* INFO says the same as ROLE */
	turns_within(1.3);
	assert_true(redis_is_up(t.client.redis));
	tell(&t.client, "ACL SETUSER default -ping");
	begin_again();
	come_up();
	tell(&t.client, "ACL SETUSER guest on nopass ~* +@all -role -info");
	begin_again();
	t.config.store.user = (char *)(uintptr_t) "guest";
	assert_refused("user \"guest\" may use neither ROLE nor INFO");
	begin_again();
	t.config.store.user = NULL;
	come_up();
	tell(&t.client, "ACL SETUSER guest +role");
	begin_again();
	t.config.store.user = (char *)(uintptr_t) "guest";
	assert_refused("user \"guest\" may not use INFO, which tells whether it is a Redis Cluster");
}

static void
test_channels_that_may_not_be_heard(void **state)
{
	(void)state;
	start("--user default on nopass ~* resetchannels &teal:* +@all");
	client_start(&t.client, "teal:changed");
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	begin_again();
	client_start(&t.client, "other");
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_contains(t.client.why.text, "asked for channel \"other\", it answered: NOPERM");
}

static void
test_replicas(void **state)
{
	struct redis_server replica = { 0 };
	unsigned port = free_port();
	struct client master = { 0 };
	struct answer a = { 0 };
	char *options = must_printf("--port %u", port),
	     *follow = must_printf("--replicaof 127.0.0.1 %u", port);

	(void)state;
	start(options);
	client_start(&master, NULL);
	WAIT_UNTIL(t.loop, master.ups == 1);
	redis_server_start(&replica, t.dir, "replica", follow);
	snprintf(t.config.store.path, sizeof(t.config.store.path), "%s", replica.path);
	assert_refused("it is a replica, not the master");
	turns_within(0.3);
	assert_int_equal(t.client.ups, 0);

	/* The master becomes a replica while we use it: a write says so at once. */
	free(follow);
	follow = must_printf("REPLICAOF 127.0.0.1 %u", free_port());
	tell(&master, follow);
	ask(&master, &a, "SET a b");
	WAIT_UNTIL(t.loop, a.times == 1 && master.downs == 1);
	assert_int_equal(a.e, E_STORE);
	assert_contains(a.text, "it is a replica, which takes no writes");
	/* For the same reason; or the look that is due each second came first. */
	assert_contains(master.why.text, "it is a replica, ");
	redis_free(&master.redis);
	redis_server_stop(&replica);
	free(follow);
	free(options);
}

/* Nobody writes, and still it is found out within a second. */
static void
test_a_master_that_steps_down(void **state)
{
	char *follow = must_printf("REPLICAOF 127.0.0.1 %u", free_port());

	(void)state;
	start("");
	come_up();
	tell(&t.client, follow);
	clock_stop();
	clock_move(1);
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_contains(t.client.why.text, "it is a replica, not the master");
	free(follow);
}

static void
test_clusters(void **state)
{
	unsigned port = 10000 + free_port() % 20000;	/* its bus takes port + 10000 */
	char *options = must_printf("--cluster-enabled yes --port %u", port);

	(void)state;
	start(options);
	assert_refused("it is a Redis Cluster, which is not supported; use a single Redis, or Sentinel");
	begin_again();
	t.config.store.database = 1;
	assert_refused("it is a Redis Cluster, which is not supported");
	free(options);
}

static void
test_a_sentinel_is_no_redis(void **state)
{
	char *path = must_printf("%s/sentinel.conf", t.dir);
	FILE *f = fopen(path, "w");

	(void)state;
	assert_non_null(f);
	fprintf(f, "port 0\nunixsocket %s/sentinel.sock\ndir %s\n", t.dir, t.dir);
	assert_int_equal(fclose(f), 0);
	redis_server_start(&t.server, t.dir, "sentinel", "--sentinel");
	config_by_socket();
	assert_refused("it is a Sentinel, not Redis; name it in store.sentinels");
	free(path);
}

/* A server that reads a long file answers, but has nothing to say yet. */
static void
test_a_server_that_is_loading(void **state)
{
	(void)state;
	start("--enable-debug-command yes --rdbcompression no");
	come_up();
	tell(&t.client, "DEBUG POPULATE 400 key 2000");
	tell(&t.client, "SAVE");
	redis_server_stop(&t.server);
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	start("--key-load-delay 50000 --loading-process-events-interval-bytes 1024");
	WAIT_UNTIL(t.loop, strstr(redis_why(t.client.redis), "it is loading its data") != NULL);
	redis_server_do(&t.server, "CONFIG SET key-load-delay 0");
	WAIT_UNTIL(t.loop, t.client.ups == 2);
	assert_int_equal(tell(&t.client, "DBSIZE").integer, 400);
}

static unsigned
count(const struct client *clients, size_t n, bool up)
{
	unsigned found = 0;

	for (size_t i = 0; i < n; i++)
		found += redis_is_up(clients[i].redis) ?
				 up :
				 !up && strstr(redis_why(clients[i].redis),
					       "max number of clients reached") != NULL;
	return found;
}

static void
test_a_server_that_is_full(void **state)
{
	struct client others[8] = { { 0 } };

	(void)state;
	start("--maxclients 4");
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		client_start(&others[i], NULL);
	WAIT_UNTIL(t.loop, count(others, ARRAY_LEN(others), true) == 4 &&
				   count(others, ARRAY_LEN(others), false) == 4);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		redis_free(&others[i].redis);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_passwords, begin, end),
		cmocka_unit_test_setup_teardown(test_users, begin, end),
		cmocka_unit_test_setup_teardown(test_a_password_that_changes, begin, end),
		cmocka_unit_test_setup_teardown(test_databases, begin, end),
		cmocka_unit_test_setup_teardown(test_rights, begin, end),
		cmocka_unit_test_setup_teardown(test_channels_that_may_not_be_heard, begin, end),
		cmocka_unit_test_setup_teardown(test_replicas, begin, end),
		cmocka_unit_test_setup_teardown(test_a_master_that_steps_down, begin, end),
		cmocka_unit_test_setup_teardown(test_clusters, begin, end),
		cmocka_unit_test_setup_teardown(test_a_sentinel_is_no_redis, begin, end),
		cmocka_unit_test_setup_teardown(test_a_server_that_is_loading, begin, end),
		cmocka_unit_test_setup_teardown(test_a_server_that_is_full, begin, end),
	};

	return cmocka_run_group_tests_name("redis_hello", tests, NULL, NULL);
}
