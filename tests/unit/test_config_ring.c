/* test_config_ring.c - services that lead to each other. */
#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "config_file.h"

#define S(name, mode, listen, backend) \
	"{ name = \"" name "\"; mode = \"" mode "\"; listen = \"" listen "\"; backends = [\"" backend "\"]; },\n"
/* The last one has nothing to do with the others. */
#define LAST "{ name = \"last\"; listen = \"192.0.2.99:9\"; backends = [\"192.0.2.98:9\"]; }\n);\n"
#define SERVICES(list) "state_dir = \"/s\";\nservices = (\n" list LAST
#define ENDLESS ": what comes in would circle for ever; give one of them another backend"

static const struct broken rings[] = {
	{ SERVICES(S("a", "udp", "10.0.0.1:53", "10.0.0.2:53") S("b", "udp", "10.0.0.2:53", "10.0.0.1:53")),
	  "3: service \"a\": backend 10.0.0.2:53 is service \"b\", which leads back here (a > b > a)" ENDLESS },
	{ SERVICES(S("x", "tcp", "10.0.0.9:80", "10.0.0.1:81") S("a", "tcp", "10.0.0.1:81", "10.0.0.1:82")
			   S("b", "http", "10.0.0.1:82", "10.0.0.1:83") S("c", "tcp", "10.0.0.1:83", "10.0.0.1:81")),
	  "4: service \"a\": backend 10.0.0.1:82 is service \"b\", which leads back here (a > b > c > a)" ENDLESS },
	/* By a wildcard, and by the address that stands for this machine. */
	{ SERVICES(S("a", "tcp", ":81", "127.0.0.1:82") S("b", "tcp", ":82", "127.0.0.5:81")),
	  "3: service \"a\": backend 127.0.0.1:82 is service \"b\", which leads back here (a > b > a)" ENDLESS },
	{ SERVICES(S("a", "tcp", "127.0.0.1:81", "[::]:82") S("b", "tcp", "[::1]:82", "0.0.0.0:81")),
	  "3: service \"a\": backend [::]:82 is service \"b\", which leads back here (a > b > a)" ENDLESS },
	/* IPv4 written as IPv6. */
	{ SERVICES(S("a", "tcp", "127.0.0.1:81", "[::ffff:127.0.0.1]:82") S("b", "tcp", "127.0.0.1:82", "127.0.0.1:81")),
	  "3: service \"a\": backend 127.0.0.1:82 is service \"b\", which leads back here (a > b > a)" ENDLESS },
	/* One color is enough, and a flip away: the preview's listener, too. */
	{ SERVICES("{ name = \"a\"; listen = \"10.0.0.1:81\"; green: { backends = [\"10.0.0.3:1\"]; };\n"
		   "  blue: { backends = [\"10.0.0.3:2\", \"10.0.0.2:8\"]; }; },\n"
		   "{ name = \"b\"; listen = \"10.0.0.2:80\"; preview = \"10.0.0.2:8\"; green: { backends = [\"10.0.0.3:1\"]; };\n"
		   "  blue: { backends = ({ address = \"10.0.0.1:81\"; backup = true; }, \"10.0.0.3:4\"); }; },\n"),
	  "4: service \"a\": blue: backend 10.0.0.2:8 is service \"b\", which leads back here (a > b > a)" ENDLESS },
	/* By nodes of a pool. */
	{ "state_dir = \"/s\";\nnode_pools: { main = [\"10.0.0.7\", \"10.0.0.1\"]; };\nservices = (\n"
	  "{ name = \"a\"; listen = \"10.0.0.1:81\"; nodes = \"main\"; green: { port = 83; }; blue: { port = 82; }; },\n" S("b", "tcp", "10.0.0.1:82", "10.0.0.1:81") LAST,
	  "4: service \"a\": blue: backend 10.0.0.1:82 is service \"b\", which leads back here (a > b > a)" ENDLESS },
};

static void
test_what_leads_back_is_refused(void **state)
{
	(void)state;
	assert_broken(rings, ARRAY_LEN(rings));
}

static void
test_what_ends_somewhere_is_taken(void **state)
{
	(void)state;
	/* A chain; the same ports by another transport, another family, and another address. */
	good(SERVICES(S("a", "tcp", "10.0.0.1:81", "10.0.0.1:82") S("b", "http", "10.0.0.1:82", "10.0.0.1:83")
			      S("c", "tcp", "10.0.0.1:83", "10.0.0.2:80")));
	assert_int_equal(t.warnings.n, 0);
	good(SERVICES(S("a", "udp", "10.0.0.1:53", "10.0.0.2:53") S("b", "tcp", "10.0.0.2:53", "10.0.0.1:53")));
	good(SERVICES(S("a", "tcp", "127.0.0.1:81", "127.0.0.1:82") S("b", "tcp", "[::]:82", "127.0.0.1:81")));
	good(SERVICES(S("a", "tcp", ":81", "192.0.2.1:82") S("b", "tcp", ":82", "192.0.2.1:81")));
	assert_int_equal(t.warnings.n, 0);
}

static void
test_each_ring_is_told_once(void **state)
{
	(void)state;
	assert_int_equal(load(SERVICES(S("a", "tcp", ":81", "127.0.0.1:82") S("b", "tcp", ":82", "127.0.0.1:81")
					       S("c", "udp", ":81", "127.0.0.1:82") S("d", "udp", ":82", "127.0.0.1:81"))),
			 E_USAGE);
	assert_int_equal(t.errors.n, 2);
	assert_begins(t.errors.lines[0], "teal.conf:3: service \"a\": backend 127.0.0.1:82 is service \"b\"");
	assert_begins(t.errors.lines[1], "teal.conf:5: service \"c\": backend 127.0.0.1:82 is service \"d\"");
}

/* Which of those that share an address gets it, names decide. */
static void
test_by_a_shared_address_it_is_a_warning(void **state)
{
	(void)state;
	good(SERVICES("{ name = \"a\"; mode = \"http\"; hosts = [\"a.test\"]; listen = \":81\"; backends = [\"127.0.0.1:82\"]; },\n"
		      "{ name = \"c\"; mode = \"http\"; hosts = [\"c.test\"]; listen = \":81\"; backends = [\"192.0.2.1:80\"]; },\n" S("b", "http", ":82", "127.0.0.1:81")));
	assert_int_equal(t.warnings.n, 1);
	assert_string_equal(t.warnings.lines[0],
			    "teal.conf:3: service \"a\": backend 127.0.0.1:82 is where service \"b\" listens, which leads back here "
			    "(a > b > a): what goes by the same name all the way circles for ever");
}

/* A long one, and the deepest walk. */
static void
test_names_of_a_long_ring_are_cut(void **state)
{
	enum { LONG = 5000 };
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_printf(&text, "state_dir = \"/s\";\nservices = (\n");
	for (unsigned i = 0; i < LONG; i++)
		buf_printf(&text, "{ name = \"s%u\"; listen = \"127.0.0.1:%u\"; backends = [\"127.0.0.1:%u\"]; },\n", i, 1000 + i,
			   1000 + (i + 1) % LONG);
	buf_append(&text, LAST, sizeof(LAST));
	assert_false(text.failed);
	assert_int_equal(load(buf_str(&text).p), E_USAGE);
	assert_int_equal(t.errors.n, 1);
	assert_begins(t.errors.lines[0], "teal.conf:3: service \"s0\": backend 127.0.0.1:1001 is service \"s1\", which leads back here "
					 "(s0 > s1 > s2 > s3 > s4 > s5 > s6 > s7 > and 4993 more)");
	buf_free(&text);
}

/* A machine with one more address; false where a test may make none. */
static bool
have_address(const char *ip)
{
	struct ifreq request = { .ifr_name = "lo" };
	struct sockaddr_in in = { .sin_family = AF_INET };
	int fd;
	bool done;

	if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(inet_pton(AF_INET, ip, &in.sin_addr), 1);
	memcpy(&request.ifr_addr, &in, sizeof(in));
	done = ioctl(fd, SIOCSIFADDR, &request) == 0;
	close(fd);
	return done;
}

/* Comes last: it leaves the network as it was. */
static void
test_addresses_of_this_machine_arrive_at_a_wildcard(void **state)
{
	static const struct broken local[] = {
		{ SERVICES(S("a", "udp", ":53", "192.0.2.1:54") S("b", "udp", "0.0.0.0:54", "192.0.2.1:53")),
		  "3: service \"a\": backend 192.0.2.1:54 is service \"b\", which leads back here (a > b > a)" ENDLESS },
		{ SERVICES(S("a", "tcp", ":53", "192.0.2.1:53")),
		  "3: service \"a\": backend 192.0.2.1:53 is the service itself, which listens on 0.0.0.0:53" },
	};

	(void)state;
	if (!have_address("192.0.2.1"))
		skip();
	assert_broken(local, ARRAY_LEN(local));
	good(SERVICES(S("a", "udp", ":53", "192.0.2.2:54") S("b", "udp", "0.0.0.0:54", "192.0.2.2:53")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_leads_back_is_refused),
		cmocka_unit_test(test_what_ends_somewhere_is_taken),
		cmocka_unit_test(test_each_ring_is_told_once),
		cmocka_unit_test(test_by_a_shared_address_it_is_a_warning),
		cmocka_unit_test(test_names_of_a_long_ring_are_cut),
		cmocka_unit_test(test_addresses_of_this_machine_arrive_at_a_wildcard),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
