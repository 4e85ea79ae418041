/* test_sock.c - options that a connection is to have from its first moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

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
connect_pair(double listener_timeout, int fastopen, const struct sock_connect *options)
{
	struct pair p = { .at = { .len = sizeof(p.at.u) } };
	struct why why;
	struct addr a;
	bool pending;

	assert_int_equal(addr_parse("127.0.0.1:0", ADDR_PORT_0, &a, &why), OK);
	assert_int_equal(sock_bind(&a, &p.listener, 1, &why), OK);
	sock_listener_options(p.listener, listener_timeout, fastopen);
	assert_int_equal(sock_listen(p.listener, 8, &why), OK);
	assert_int_equal(getsockname(p.listener, &p.at.u.sa, &p.at.len), 0);
	p.client = sock_connect(&p.at, options, &pending);
	assert_true(p.client >= 0);
	assert_int_equal(poll(&(struct pollfd){ .fd = p.listener, .events = POLLIN }, 1, 5000), 1);
	p.accepted = accept(p.listener, NULL, NULL);
	assert_true(p.accepted >= 0);
	return p;
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
test_keepalive_has_the_pace_it_is_given(void **state)
{
	struct pair p = connect_pair(0, 0, &(struct sock_connect){ 0 });
	int idle = option(p.accepted, IPPROTO_TCP, TCP_KEEPIDLE);

	(void)state;
	assert_int_equal(option(p.client, SOL_SOCKET, SO_KEEPALIVE), 0);
	sock_keepalive(p.client, &(struct sock_pace){ 30, 5, 3 });
	assert_int_equal(option(p.client, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(p.client, IPPROTO_TCP, TCP_KEEPIDLE), 30);
	assert_int_equal(option(p.client, IPPROTO_TCP, TCP_KEEPINTVL), 5);
	assert_int_equal(option(p.client, IPPROTO_TCP, TCP_KEEPCNT), 3);
	sock_keepalive(p.accepted, &(struct sock_pace){ 0 });
	assert_int_equal(option(p.accepted, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(p.accepted, IPPROTO_TCP, TCP_KEEPIDLE), idle);
	close_pair(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_legs_have_the_user_timeout),
		cmocka_unit_test(test_without_one_it_is_the_systems),
		cmocka_unit_test(test_fastopen_is_the_listeners),
		cmocka_unit_test(test_keepalive_has_the_pace_it_is_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
