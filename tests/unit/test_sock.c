/* test_sock.c - options that a connection is to have from its first moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "net/sock.h"

static int
option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

struct pair {
	int listener, client, accepted;
	struct addr at;
};

static struct pair
connect_pair_alive(const struct sock_keepalive *keepalive, double listener_timeout, int fastopen,
		   const struct sock_connect *options)
{
	struct pair p = { .at = { .len = sizeof(p.at.u) } };
	struct why why;
	struct addr a;
	bool pending;

	assert_int_equal(addr_parse("127.0.0.1:0", ADDR_PORT_0, &a, &why), OK);
	p.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p.listener, &a.u.sa, a.len), 0);
	sock_listener_options(p.listener, keepalive, listener_timeout, fastopen);
	assert_int_equal(listen(p.listener, 8), 0);
	assert_int_equal(getsockname(p.listener, &p.at.u.sa, &p.at.len), 0);
	p.client = sock_connect(&p.at, options, &pending);
	assert_true(p.client >= 0);
	assert_int_equal(poll(&(struct pollfd){ .fd = p.listener, .events = POLLIN }, 1, 5000), 1);
	p.accepted = accept(p.listener, NULL, NULL);
	assert_true(p.accepted >= 0);
	return p;
}

static struct pair
connect_pair(double listener_timeout, int fastopen, const struct sock_connect *options)
{
	return connect_pair_alive(&(struct sock_keepalive){ 0 }, listener_timeout, fastopen, options);
}

static void
close_pair(const struct pair *p)
{
	close(p->client);
	close(p->accepted);
	close(p->listener);
}

static void
test_both_legs_have_the_user_timeout(void **state)
{
	struct pair p = connect_pair(2.5, 0, &(struct sock_connect){ .user_timeout = 1.25 });

	(void)state;
	assert_int_equal(option(p.accepted, IPPROTO_TCP, TCP_USER_TIMEOUT), 2500);
	assert_int_equal(option(p.client, IPPROTO_TCP, TCP_USER_TIMEOUT), 1250);
	close_pair(&p);
}

static void
test_without_one_it_is_the_systems(void **state)
{
	struct pair p = connect_pair(0, 0, &(struct sock_connect){ 0 });

	(void)state;
	assert_int_equal(option(p.accepted, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
	assert_int_equal(option(p.client, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
	assert_int_equal(option(p.listener, IPPROTO_TCP, TCP_FASTOPEN), 0);
	close_pair(&p);
}

static void
test_fastopen_is_the_listeners(void **state)
{
	struct pair p = connect_pair(0, 64, &(struct sock_connect){ 0 });

	(void)state;
	assert_int_equal(option(p.listener, IPPROTO_TCP, TCP_FASTOPEN), 64);
	close_pair(&p);
}

static void
assert_keepalive(int fd, int on, int idle, int interval, int count)
{
	assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), on);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), idle);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), interval);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), count);
}

static void
test_both_legs_have_keepalive_at_the_pace_they_are_given(void **state)
{
	const struct sock_keepalive given = { true, 30, 5, 3 }, systems = { .on = true };
	struct pair p = connect_pair(0, 0, &(struct sock_connect){ 0 });
	int idle = option(p.client, IPPROTO_TCP, TCP_KEEPIDLE), interval = option(p.client, IPPROTO_TCP, TCP_KEEPINTVL),
	    count = option(p.client, IPPROTO_TCP, TCP_KEEPCNT);

	(void)state;
	assert_keepalive(p.client, 0, idle, interval, count);
	assert_keepalive(p.accepted, 0, idle, interval, count);
	close_pair(&p);
	p = connect_pair_alive(&given, 0, 0, &(struct sock_connect){ .keepalive = systems });
	assert_keepalive(p.client, 1, idle, interval, count);
	assert_keepalive(p.accepted, 1, 30, 5, 3);
	close_pair(&p);
	p = connect_pair_alive(&systems, 0, 0, &(struct sock_connect){ .keepalive = given });
	assert_keepalive(p.client, 1, 30, 5, 3);
	assert_keepalive(p.accepted, 1, idle, interval, count);
	close_pair(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_legs_have_the_user_timeout),
		cmocka_unit_test(test_without_one_it_is_the_systems),
		cmocka_unit_test(test_fastopen_is_the_listeners),
		cmocka_unit_test(test_both_legs_have_keepalive_at_the_pace_they_are_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
