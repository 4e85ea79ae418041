/* test_redis_sentinel.c - the master by its name: from real sentinels, through a
 * failover in which it dies and one in which it lives on, and past sentinels
 * that are of no help. */
#include "redis_client.h"

#include "certificates.h"

static struct {
	unsigned ports[2];	/* of the two servers */
	struct redis_server servers[2], sentinel;
	unsigned sentinel_port;
	struct redis_endpoint endpoints[4];
} w;

static int
begin_world(void **state)
{
	begin(state);
	memset(&w, 0, sizeof(w));
	t.config.store.path[0] = '\0';
	t.config.store.sentinels = w.endpoints;
	t.config.store.master = (char *)(uintptr_t) "mymaster";
	return 0;
}

static int
end_world(void **state)
{
	redis_free(&t.client.redis);
	for (size_t i = 0; i < ARRAY_LEN(w.servers); i++)
		redis_server_stop(&w.servers[i]);
	redis_server_stop(&w.sentinel);
	return end(state);
}

static void
start_server(unsigned i, const char *more)
{
	char *options, *name = must_printf("server%u", i);

	if (w.ports[i] == 0)
		w.ports[i] = free_port();
	options = must_printf("--port %u --repl-diskless-sync-delay 0 %s", w.ports[i], more);
	redis_server_start(&w.servers[i], t.dir, name, options);
	free(options);
	free(name);
}

/* A sentinel that watches server 0, with what else its file is to say. */
static void
start_sentinel(const char *more)
{
	char *path = must_printf("%s/sentinel.conf", t.dir);
	FILE *f = fopen(path, "w");

	if (w.sentinel_port == 0)
		w.sentinel_port = free_port();
	assert_non_null(f);
	fprintf(f,
		"bind 127.0.0.1\nport %u\nunixsocket %s/sentinel.sock\ndir %s\n"
		"sentinel monitor mymaster 127.0.0.1 %u 1\nsentinel down-after-milliseconds mymaster 500\n"
		"sentinel failover-timeout mymaster 2000\n%s\n",
		w.sentinel_port, t.dir, t.dir, w.ports[0], more);
	assert_int_equal(fclose(f), 0);
	redis_server_start(&w.sentinel, t.dir, "sentinel", "--sentinel");
	free(path);
}

static void
add_endpoint(unsigned port)
{
	struct redis_endpoint *e = &w.endpoints[t.config.store.n_sentinels++];

	snprintf(e->host, sizeof(e->host), "127.0.0.1");
	e->port = port;
}

static void
assert_at(unsigned i)
{
	char *where = must_printf("127.0.0.1:%u", w.ports[i]);

	assert_string_equal(redis_where(t.client.redis), where);
	free(where);
}

static void
come_up(void)
{
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.ups + t.client.downs > 0);
	if (t.client.ups == 0)
		fail_msg("%s", t.client.why.text);
}

/* What a Redis answers on its socket, the first bytes of it. */
static const char *
answer_of(const struct redis_server *server, const char *command)
{
	static char text[4096];
	redisContext *c = redisConnectUnix(server->path);
	redisReply *r;

	assert_non_null(c);
	assert_non_null(r = redisCommand(c, command));
	text[0] = '\0';
	if (r->type == REDIS_REPLY_STATUS || r->type == REDIS_REPLY_ERROR)
		snprintf(text, sizeof(text), "%s", r->str);
	for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements; i++)
		for (size_t k = 0, n = 0; k < r->element[i]->elements && n < sizeof(text); k++, n = strlen(text))
			snprintf(text + n, sizeof(text) - n, "%s ", r->element[i]->element[k]->str);
	freeReplyObject(r);
	redisFree(c);
	return text;
}

/* Until the sentinel knows a replica that will do, there is nothing to do; then
 * it begins, while the old master lives on. */
static void
fail_over(void)
{
	POLL_UNTIL(strcmp(answer_of(&w.sentinel, "SENTINEL FAILOVER mymaster"), "OK") == 0);
}

/* Until it can take over from server 0 by itself. */
static void
await_replica(void)
{
	POLL_UNTIL(strstr(answer_of(&w.sentinel, "SENTINEL REPLICAS mymaster"), "master-link-status ok ") != NULL);
}

static void
test_the_master_by_its_name(void **state)
{
	struct client listener = { 0 };

	(void)state;
	start_server(0, "");
	start_sentinel("");
	add_endpoint(w.sentinel_port);
	come_up();
	assert_at(0);
	tell(&t.client, "SET a b");
	client_start(&listener, "ch");
	WAIT_UNTIL(t.loop, listener.ups == 1);
	tell(&t.client, "PUBLISH ch x");
	WAIT_UNTIL(t.loop, listener.messages == 1);
	/* It is asked again and again, and always says the same. */
	turns_within(2.3);
	assert_int_equal(t.client.downs + listener.downs, 0);
	/* Nobody needs sentinels while all is well. */
	redis_server_stop(&w.sentinel);
	turns_within(2.3);
	assert_int_equal(t.client.downs + listener.downs, 0);
	tell(&t.client, "GET a");
	redis_free(&listener.redis);
}

static void
test_sentinels_that_are_no_help(void **state)
{
	unsigned port;

	(void)state;
	/* One that is not there, one that knows no such master, one that is no
	 * sentinel, and one that is right. */
	start_server(0, "");
	start_server(1, "");
	start_sentinel("");
	add_endpoint(free_port());
	add_endpoint(w.ports[1]);
	add_endpoint(w.sentinel_port);
	come_up();
	assert_at(0);
	redis_free(&t.client.redis);

	t.client = (struct client){ 0 };
	t.config.store.n_sentinels = 2;
	assert_refused("no sentinel could say where master \"mymaster\" is; the last: sentinel 127.0.0.1:");
	assert_contains(t.client.why.text, "ERR unknown command");
	redis_free(&t.client.redis);

	t.client = (struct client){ 0 };
	t.config.store.n_sentinels = 1;
	port = w.endpoints[0].port;
	w.endpoints[0].port = w.sentinel_port;
	t.config.store.master = (char *)(uintptr_t) "other";
	assert_refused("it knows no master \"other\"");
	redis_free(&t.client.redis);

	t.client = (struct client){ 0 };
	w.endpoints[0].port = port;
	assert_refused("Connection refused");
	assert_in_range(turns_within(1), 1, 60);
}

static void
test_a_sentinel_that_is_silent(void **state)
{
	int visitor;

	(void)state;
	start_server(0, "");
	start_sentinel("");
	redis_server_start(&t.server, t.dir, "redis", "");
	{
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		socklen_t len = sizeof(in);
		char asked[64];

		assert_return_code(bind(fd, (struct sockaddr *)&in, len), errno);
		assert_return_code(listen(fd, 16), errno);
		assert_return_code(getsockname(fd, (struct sockaddr *)&in, &len), errno);
		add_endpoint(ntohs(in.sin_port));
		config_timeouts(0.3);
		assert_refused("no answer within 0.3 s");
		redis_free(&t.client.redis);
		while ((visitor = accept(fd, NULL, NULL)) >= 0)
			close(visitor);
		/* Its time is over, and the next one has all of its own. */
		t.client = (struct client){ 0 };
		add_endpoint(w.sentinel_port);
		clock_stop();
		client_start(&t.client, NULL);
		POLL_UNTIL((clock_move(0), ev_run(t.loop, EVRUN_NOWAIT), visitor = accept(fd, NULL, NULL)) >= 0);
		POLL_UNTIL((ev_run(t.loop, EVRUN_NOWAIT), recv(visitor, asked, sizeof(asked), MSG_DONTWAIT)) > 0);
		clock_move(0.3);
		WAIT_UNTIL(t.loop, t.client.ups == 1);
		assert_at(0);
		close(visitor);
		close(fd);
	}
	clock_pass();
	config_timeouts(NEVER);
	/* The one that answered falls silent while all is well: no harm. */
	kill(w.sentinel.pid, SIGSTOP);
	turns_within(2);
	assert_int_equal(t.client.downs, 0);
	kill(w.sentinel.pid, SIGCONT);
}

static void
test_passwords_of_sentinels(void **state)
{
	(void)state;
	start_server(0, "--requirepass right");
	start_sentinel("requirepass other\nsentinel auth-pass mymaster right");
	add_endpoint(w.sentinel_port);
	t.config.store.password = (char *)(uintptr_t) "right";
	assert_refused("it wants a password, and none is configured");
	assert_contains(t.client.why.text, "sentinel 127.0.0.1:");
	redis_free(&t.client.redis);
	t.client = (struct client){ 0 };
	t.config.store.sentinel_password = (char *)(uintptr_t) "wrong";
	assert_refused("the password of user \"default\" is wrong");
	redis_free(&t.client.redis);
	t.client = (struct client){ 0 };
	t.config.store.sentinel_password = (char *)(uintptr_t) "other";
	come_up();
	assert_at(0);
}

/* With TLS both are reached by it: the sentinel, and whom it names. */
static void
test_sentinels_by_tls(void **state)
{
	struct certificate authority = certificate_new(NULL, NULL, 10);
	struct certificate server = certificate_new(&authority, "IP:127.0.0.1", 10);
	char *ca = must_printf("%s/ca.pem", t.dir), *cert = must_printf("%s/server.pem", t.dir);
	char *key = must_printf("%s/server.key", t.dir), *options, *more;

	(void)state;
	certificate_write(&authority, ca, NULL);
	certificate_write(&server, cert, key);
	w.ports[0] = free_port();
	options = must_printf("--port 0 --tls-port %u --tls-auth-clients no --tls-ca-cert-file %s "
			      "--tls-cert-file %s --tls-key-file %s",
			      w.ports[0], ca, cert, key);
	redis_server_start(&w.servers[0], t.dir, "server0", options);
	w.sentinel_port = free_port();
	more = must_printf("port 0\ntls-port %u\ntls-auth-clients no\ntls-replication yes\ntls-ca-cert-file %s\n"
			   "tls-cert-file %s\ntls-key-file %s",
			   w.sentinel_port, ca, cert, key);
	start_sentinel(more);
	add_endpoint(w.sentinel_port);
	assert_refused("onnection");	/* in plain words: closed or reset */
	redis_free(&t.client.redis);
	t.client = (struct client){ 0 };
	t.config.store.tls = true;
	t.config.store.ca = ca;
	come_up();
	assert_at(0);
	turns_within(1.3);
	assert_true(redis_is_up(t.client.redis));
	tell(&t.client, "PING");
	free(ca);
	free(cert);
	free(key);
	free(options);
	free(more);
	certificate_free(&authority);
	certificate_free(&server);
}

/* The old master lives on, and is dropped all the same. */
static void
test_a_failover_by_hand(void **state)
{
	char *follow;
	struct client listener = { 0 };

	(void)state;
	clock_go();	/* the sentinel takes its time */
	start_server(0, "");
	follow = must_printf("--replicaof 127.0.0.1 %u", w.ports[0]);
	start_server(1, follow);
	start_sentinel("");
	add_endpoint(w.sentinel_port);
	come_up();
	client_start(&listener, "ch");
	WAIT_UNTIL(t.loop, listener.ups == 1);
	assert_at(0);
	tell(&t.client, "SET a 1");
	fail_over();
	WAIT_UNTIL(t.loop, t.client.ups == 2);
	assert_at(1);
	tell(&t.client, "SET a 2");
	WAIT_UNTIL(t.loop, listener.ups == 2);
	assert_int_equal(tell(&t.client, "PUBLISH ch x").integer, 1);
	WAIT_UNTIL(t.loop, listener.messages == 1);
	redis_free(&listener.redis);
	free(follow);
}

static void
test_a_master_that_dies(void **state)
{
	struct answer a = { 0 };
	char *follow;

	(void)state;
	clock_go();	/* the sentinel takes its time */
	start_server(0, "");
	follow = must_printf("--replicaof 127.0.0.1 %u", w.ports[0]);
	start_server(1, follow);
	start_sentinel("");
	add_endpoint(w.sentinel_port);
	come_up();
	tell(&t.client, "SET a 1");
	await_replica();
	assert_int_equal(tell(&t.client, "WAIT 1 5000").integer, 1);
	ask(&t.client, &a, "BLPOP nothing 0");
	turns_within(0.05);
	redis_server_stop(&w.servers[0]);
	WAIT_UNTIL(t.loop, t.client.downs == 1);
	assert_int_equal(a.e, E_UNKNOWN);
	WAIT_UNTIL(t.loop, t.client.ups == 2);
	assert_at(1);
	assert_string_equal(tell(&t.client, "GET a").text, "1");
	tell(&t.client, "SET a 2");
	free(follow);
}

/* A sentinel that has not heard of the failover names a replica: the next one
 * is believed instead. */
static void
test_a_sentinel_that_is_behind(void **state)
{
	char *follow, *path = must_printf("%s/behind.conf", t.dir);
	struct redis_server behind = { 0 };
	unsigned port = free_port(), old;
	FILE *f = fopen(path, "w");

	(void)state;
	start_server(1, "");
	follow = must_printf("--replicaof 127.0.0.1 %u", w.ports[1]);
	start_server(0, follow);
	/* It believes in server 0; as long as nothing seems wrong for long, it
	 * does not look twice. */
	assert_non_null(f);
	fprintf(f,
		"bind 127.0.0.1\nport %u\nunixsocket %s/behind.sock\ndir %s\n"
		"sentinel monitor mymaster 127.0.0.1 %u 2\nsentinel down-after-milliseconds mymaster 60000\n",
		port, t.dir, t.dir, w.ports[0]);
	assert_int_equal(fclose(f), 0);
	redis_server_start(&behind, t.dir, "behind", "--sentinel");
	/* The other one knows better. */
	old = w.ports[0];
	w.ports[0] = w.ports[1];
	w.ports[1] = old;
	start_sentinel("");
	add_endpoint(port);
	add_endpoint(w.sentinel_port);
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	assert_at(0);
	turns_within(1.5);
	assert_true(redis_is_up(t.client.redis));
	tell(&t.client, "SET a b");
	redis_free(&t.client.redis);
	redis_server_stop(&behind);
	free(follow);
	free(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_master_by_its_name, begin_world, end_world),
		cmocka_unit_test_setup_teardown(test_sentinels_that_are_no_help, begin_world, end_world),
		cmocka_unit_test_setup_teardown(test_a_sentinel_that_is_silent, begin_world, end_world),
		cmocka_unit_test_setup_teardown(test_passwords_of_sentinels, begin_world, end_world),
		cmocka_unit_test_setup_teardown(test_sentinels_by_tls, begin_world, end_world),
		cmocka_unit_test_setup_teardown(test_a_failover_by_hand, begin_world, end_world),
		cmocka_unit_test_setup_teardown(test_a_master_that_dies, begin_world, end_world),
		cmocka_unit_test_setup_teardown(test_a_sentinel_that_is_behind, begin_world, end_world),
	};

	return cmocka_run_group_tests_name("redis_sentinel", tests, NULL, NULL);
}
