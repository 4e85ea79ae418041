/* test_redis_tls.c - rediss:// to a real redis-server. */
#include "redis_client.h"

#include "certificates.h"

static char ca[128], cert[128], key[128];

static void
start(const char *names, unsigned port)
{
	struct certificate authority = certificate_new(NULL, NULL, 10);
	struct certificate server = certificate_new(&authority, names, 10);
	char *options;

	snprintf(ca, sizeof(ca), "%s/ca.pem", t.dir);
	snprintf(cert, sizeof(cert), "%s/server.pem", t.dir);
	snprintf(key, sizeof(key), "%s/server.key", t.dir);
	certificate_write(&authority, ca, NULL);
	certificate_write(&server, cert, key);
	certificate_free(&authority);
	certificate_free(&server);
	options = must_printf(
		"--port 0 --tls-port %u --tls-auth-clients no --tls-ca-cert-file %s --tls-cert-file %s "
		"--tls-key-file %s",
		port, ca, cert, key);
	redis_server_start(&t.server, t.dir, "redis", options);
	free(options);
	config_by_port("127.0.0.1", port);
	t.config.store.tls = true;
	t.config.store.ca = ca;
}

static void
forget(void)
{
	redis_free(&t.client.redis);
	t.client = (struct client){ 0 };
}

static void
test_commands_messages_and_returns(void **state)
{
	struct client listener = { 0 };
	struct answer a;
	unsigned port = free_port();

	(void)state;
	start("IP:127.0.0.1,DNS:localhost", port);
	client_start(&t.client, NULL);
	client_start(&listener, "ch");
	WAIT_UNTIL(t.loop, t.client.ups == 1 && listener.ups == 1);
	tell(&t.client, "SET a b");
	a = tell(&t.client, "GET a");
	assert_string_equal(a.text, "b");
	tell(&t.client, "PUBLISH ch hello");
	WAIT_UNTIL(t.loop, listener.messages == 1);
	assert_string_equal(listener.message, "ch hello");
	assert_in_range(turns_within(1.5), 1, 60);

	redis_server_settle(&t.server, t.loop);
	config_timeouts(0.4);
	kill(t.server.pid, SIGSTOP);
	clock_pass();
	WAIT_UNTIL(t.loop, t.client.downs == 1 && listener.downs == 1);
	assert_in_range(turns_within(0.8), 1, 60);	/* half a handshake, again and again */
	config_timeouts(NEVER);
	kill(t.server.pid, SIGCONT);
	WAIT_UNTIL(t.loop, t.client.ups == 2 && listener.ups == 2);
	redis_free(&listener.redis);
	forget();

	/* By its name, too. */
	config_by_port("localhost", port);
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.ups == 1);
}

static void
test_large_values(void **state)
{
	size_t n = 6 * 1024 * 1024;
	char *value = must_alloc(n);
	struct answer a = { 0 };

	(void)state;
	start("IP:127.0.0.1", free_port());
	client_start(&t.client, NULL);
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	memset(value, 'v', n);
	redis_command(t.client.redis, NEVER, 3, (struct str[]){ STR("SET"), STR("large"), { value, n } },
		      answer_on_reply, &a);
	free(value);
	WAIT_UNTIL(t.loop, a.times == 1);
	assert_int_equal(a.e, OK);
	a = tell(&t.client, "GET large");
	assert_int_equal(a.n, n);
	assert_memory_equal(a.text, "vvvvvvvv", 8);
	assert_int_equal(tell(&t.client, "STRLEN large").integer, n);
}

static void
test_servers_that_are_not_trusted(void **state)
{
	char *other = must_printf("%s/other.pem", t.dir);
	struct certificate stranger = certificate_new(NULL, NULL, 10);
	unsigned port = free_port();

	(void)state;
	start("DNS:redis.test", port);
	assert_refused("its certificate is not accepted: IP address mismatch");
	forget();
	certificate_write(&stranger, other, NULL);
	t.config.store.ca = other;
	assert_refused("its certificate is not accepted: ");
	forget();
	t.config.store.ca = NULL;
	assert_refused("its certificate is not accepted: ");
	forget();
	/* Plain words to a server that wants TLS, and the reverse. */
	t.config.store.tls = false;
	assert_refused("onnection");	/* closed, or reset, as the kernel likes */
	forget();
	redis_server_stop(&t.server);
	{
		char *options = must_printf("--port %u", port);

		redis_server_start(&t.server, t.dir, "redis", options);
		free(options);
	}
	t.config.store.tls = true;
	config_timeouts(1);	/* it waits for the end of a line, and we for its hello */
	assert_refused("");
	assert_in_range(turns_within(1), 1, 100);
	certificate_free(&stranger);
	free(other);
}

static void
test_a_file_of_certificates_that_comes_later(void **state)
{
	unsigned port = free_port();
	char *later = must_printf("%s/later.pem", t.dir);

	(void)state;
	start("IP:127.0.0.1", port);
	t.config.store.ca = later;
	assert_refused("cannot read certificates from");
	assert_return_code(rename(ca, later), errno);
	WAIT_UNTIL(t.loop, t.client.ups == 1);
	free(later);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commands_messages_and_returns, begin, end),
		cmocka_unit_test_setup_teardown(test_large_values, begin, end),
		cmocka_unit_test_setup_teardown(test_servers_that_are_not_trusted, begin, end),
		cmocka_unit_test_setup_teardown(test_a_file_of_certificates_that_comes_later, begin, end),
	};

	return cmocka_run_group_tests_name("redis_tls", tests, NULL, NULL);
}
