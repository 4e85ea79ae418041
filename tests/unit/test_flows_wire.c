/* test_flows_wire.c - what conntrack says of real connections, and what becomes of
 * them when their entries are gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "flows_stage.h"

static const char rules[] =
	"add table inet hand\n"
	"delete table inet hand\n"
	"table inet hand {\n"
	"	chain mangle {\n"
	"		type filter hook output priority mangle; policy accept;\n"
	"		ct state new ip daddr 127.0.0.9 tcp flags & (fin | syn | rst | ack) != syn reject with tcp reset\n"
	"		ct state new ip daddr 127.0.0.9 ct mark set 0x%08x\n"
	"		ct state new ip6 daddr ::1 tcp dport 81 ct mark set 0x%08x\n"
	"	}\n"
	"	chain out {\n"
	"		type nat hook output priority -100; policy accept;\n"
	"		ip daddr 127.0.0.9 tcp dport 80 dnat ip to 127.0.0.1:9001\n"
	"		ip daddr 127.0.0.9 udp dport 80 dnat ip to 127.0.0.1:9001\n"
	"		ip daddr 127.0.0.9 tcp dport 81 dnat ip to 127.0.0.1:9002\n"
	"		ip6 daddr ::1 tcp dport 81 dnat ip6 to [::1]:9003\n"
	"	}\n"
	"}\n";

static void
set_rules(void)
{
	char text[2048];

	snprintf(text, sizeof(text), rules, mark_make(TAG, ID, GREEN, ENTRANCE_MAIN, 5),
		 mark_make(TAG, ID, BLUE, ENTRANCE_MAIN, 5));
	nft(text);
}

static int
listener(const char *host, unsigned port, int type)
{
	struct addr a;
	int one = 1, fd;

	assert_true(addr_parse_ip(host, port, &a));
	fd = socket(addr_family(&a), type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, &a.u.sa, a.len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static int
dial(const char *host, unsigned port, int type)
{
	struct addr a;
	int fd;

	assert_true(addr_parse_ip(host, port, &a));
	fd = socket(addr_family(&a), type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	if (connect(fd, &a.u.sa, a.len) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
tcp_is_told_as_it_ended(void **state)
{
	struct linger hard = { .l_onoff = 1 };
	int at, client, server;
	char byte = 'x';

	NEEDS_ROOT();
	set_rules();
	begin(3600, 0);
	at = listener("127.0.0.1", 9001, SOCK_STREAM);
	/* Both sides finish. */
	client = dial("127.0.0.9", 80, SOCK_STREAM);
	server = accept(at, NULL, NULL);
	assert_true(client >= 0 && server >= 0);
	WAIT_UNTIL(loop, count(GREEN) == 1);
	assert_int_equal(connections(GREEN, 0), 1);
	assert_int_equal(write(client, &byte, 1), 1);
	assert_int_equal(read(server, &byte, 1), 1);
	close(client);
	close(server);
	WAIT_UNTIL(loop, ended(GREEN, END_DONE) == 1);
	WAIT_UNTIL(loop,
		   has_line("\"event\":\"tcp.session\"", "\"backend\":\"127.0.0.1:9001\"", "\"bytes_in\":"));
	assert_int_equal(count(GREEN), 0);
	/* One side resets. */
	client = dial("127.0.0.9", 80, SOCK_STREAM);
	server = accept(at, NULL, NULL);
	assert_true(client >= 0 && server >= 0);
	assert_int_equal(write(client, &byte, 1), 1);
	assert_int_equal(read(server, &byte, 1), 1);
	setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(client);
	WAIT_UNTIL(loop, ended(GREEN, END_RESET) == 1);
	assert_int_equal(count(GREEN), 0);
	close(server);
	/* Nobody listens. */
	assert_int_equal(dial("127.0.0.9", 81, SOCK_STREAM), -1);
	WAIT_UNTIL(loop, ended(GREEN, END_CONNECT) == 1);
	WAIT_UNTIL(loop, has_line("\"backend\":\"127.0.0.1:9002\"", "\"end\":\"connect\"", ""));
	close(at);
}

static void
a_cut_connection_is_reset_not_left_hanging(void **state)
{
	int at, client, server, got;
	struct pollfd p;
	char byte = 'x';

	NEEDS_ROOT();
	set_rules();
	begin(3600, 0);
	at = listener("127.0.0.1", 9001, SOCK_STREAM);
	client = dial("127.0.0.9", 80, SOCK_STREAM);
	server = accept(at, NULL, NULL);
	assert_true(client >= 0 && server >= 0);
	WAIT_UNTIL(loop, count(GREEN) == 1);
	assert_int_equal(
		cut(&(struct flows_match){ .service = ID, .color = GREEN, .entrance = ENTRANCE_MAIN },
		    END_DRAINED),
		1);
	assert_int_equal(write(client, &byte, 1), 1);
	p = (struct pollfd){ .fd = client, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 60000), 1);
	got = (int)read(client, &byte, 1);
	assert_true(got == -1 && errno == ECONNRESET);
	assert_int_equal(count(GREEN), 0);
	close(client);
	close(server);
	close(at);
}

static void
udp_and_ipv6_are_counted(void **state)
{
	int six = -1, client, at;

	NEEDS_ROOT();
	set_rules();
	begin(3600, 0);
	client = dial("127.0.0.9", 80, SOCK_DGRAM);
	assert_true(client >= 0);
	assert_int_equal(send(client, "x", 1, 0), 1);
	WAIT_UNTIL(loop, count(GREEN) == 1);
	at = listener("::1", 9003, SOCK_STREAM);
	six = dial("::1", 81, SOCK_STREAM);
	assert_true(six >= 0);
	WAIT_UNTIL(loop, count(BLUE) == 1);
	assert_int_equal(
		cut(&(struct flows_match){ .service = ID, .color = FLOWS_ANY, .entrance = FLOWS_ANY },
		    END_STOP),
		2);
	WAIT_UNTIL(loop, has_line("\"event\":\"udp.session\"", "\"backend\":\"127.0.0.1:9001\"",
				  "\"end\":\"stopped\""));
	WAIT_UNTIL(loop, has_line("\"event\":\"tcp.session\"", "\"backend\":\"[::1]:9003\"",
				  "\"end\":\"stopped\""));
	close(client);
	close(six);
	close(at);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGED(tcp_is_told_as_it_ended),
		STAGED(a_cut_connection_is_reset_not_left_hanging),
		STAGED(udp_and_ipv6_are_counted),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
