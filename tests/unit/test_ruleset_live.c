/* test_ruleset_live.c - the ruleset in the kernel, and real connections through it,
 * in network namespaces of the test's own. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>

#include "ruleset_world.h"
#include "scaled.h"
#include "wait.h"

static struct net net;
static struct ev_loop *loop;

/* -- the ruleset, and what it told ------------------------------------------------- */

struct running {
	struct ruleset *ruleset;
	uint64_t acked[DESIGN_SERVICES], generation[DESIGN_SERVICES];
	unsigned troubles, recoveries;
	char trouble[1024];
	struct ruleset_counts counts[DESIGN_SERVICES];
	size_t n;
	bool counted;
};

static void
on_acked(void *arg, size_t service, uint64_t generation)
{
	struct running *r = arg;

	assert_true(generation >= r->acked[service]);
	r->acked[service] = generation;
}

static void
on_trouble(void *arg, const char *why)
{
	struct running *r = arg;

	if (why == NULL) {
		r->recoveries++;
		return;
	}
	r->troubles++;
	snprintf(r->trouble, sizeof(r->trouble), "%s", why);
}

static enum err
try_open(struct running *r, const struct design *d, struct why *why)
{
	struct ruleset_calls calls = { .on_acked = on_acked, .on_trouble = on_trouble, .arg = r };

	memset(r, 0, sizeof(*r));
	r->n = d->config.n_services;
	return ruleset_open(loop, &d->config, &calls, &r->ruleset, why);
}

static void
run(struct running *r, const struct design *d)
{
	struct why why = { "" };

	if (try_open(r, d, &why) != OK)
		fail_msg("%s", why.text);
}

/* The kernel has it when this returns. */
static void
publish(struct running *r, size_t service, uint64_t epoch, enum color active, const char *green,
	const char *blue)
{
	struct snapshot *s = snapshot_of(++r->generation[service], epoch, active, green, blue);

	ruleset_publish(r->ruleset, service, &s);
	assert_null(s);
	ruleset_begin(r->ruleset);
	WAIT_UNTIL(loop, r->acked[service] == r->generation[service] || r->troubles > r->recoveries);
	if (r->troubles > r->recoveries)
		fail_msg("%s", r->trouble);
}

static void
refuse(struct running *r, size_t service, uint64_t epoch, const char *green, const char *blue)
{
	struct snapshot *s = snapshot_of(++r->generation[service], epoch, GREEN, green, blue);

	s->refuse = true;
	ruleset_publish(r->ruleset, service, &s);
	WAIT_UNTIL(loop, r->acked[service] == r->generation[service]);
}

static void
on_counts(void *arg, const struct ruleset_counts *counts)
{
	struct running *r = arg;

	assert_non_null(counts);
	memcpy(r->counts, counts, r->n * sizeof(*counts));
	r->counted = true;
}

static const struct ruleset_counts *
counts_of(struct running *r, size_t service)
{
	r->counted = false;
	ruleset_read_counts(r->ruleset, on_counts, r);
	WAIT_UNTIL(loop, r->counted);
	return &r->counts[service];
}

static void
stop(struct running *r, bool remove)
{
	struct why why = { "" };

	if (ruleset_close(&r->ruleset, remove, &why) != OK)
		fail_msg("%s", why.text);
	assert_null(r->ruleset);
}

/* What a command says; freed with free(). */
static char *
says(const char *command)
{
	FILE *f = popen(command, "r");
	char *text = NULL;
	size_t n = 0;
	ssize_t got;

	assert_non_null(f);
	got = getdelim(&text, &n, '\0', f);
	assert_int_equal(pclose(f), 0);
	if (got < 0) {
		free(text);
		return must_strdup("");
	}
	return text;
}

/* -- connections -------------------------------------------------------------------- */

static const struct timeval patience = { .tv_sec = PATIENCE };

static int
listen_at(enum side side, const char *at, int type)
{
	struct addr a = address_of(at);
	int one = 1, fd;

	net_go(&net, side);
	fd = socket(addr_family(&a), type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &a.u.sa, a.len) != 0 || (type == SOCK_STREAM && listen(fd, 128) != 0))
		fail_msg("%s: %s", at, strerror(errno));
	net_go(&net, BALANCER);
	return fd;
}

/* A socket, or -errno. */
static int
connect_to(enum side side, const char *from, const char *to, int type)
{
	struct addr a = address_of(to), source;
	int fd, e = 0;

	net_go(&net, side);
	fd = socket(addr_family(&a), type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	if (from != NULL) {
		source = address_of(from);
		addr_set_port(&source, 0);
		assert_int_equal(bind(fd, &source.u.sa, source.len), 0);
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, &a.u.sa, a.len) != 0) {
		e = errno;
		close(fd);
	}
	net_go(&net, BALANCER);
	return e != 0 ? -e : fd;
}

static int
dial(const char *to)
{
	int fd = connect_to(CLIENTS, NULL, to, SOCK_STREAM);

	if (fd < 0)
		fail_msg("%s: %s", to, strerror(-fd));
	return fd;
}

/* Who of the listeners was called: its connection, and the caller as it sees him. */
struct call {
	size_t at;
	int fd;
	char peer[ADDR_TEXT];
};

static struct call
answer(const int *listeners, size_t n)
{
	struct pollfd p[16];
	struct addr peer = { .len = sizeof(peer.u) };
	struct call c = { .at = 0 };

	for (size_t i = 0; i < n; i++)
		p[i] = (struct pollfd){ .fd = listeners[i], .events = POLLIN };
	assert_true(poll(p, n, PATIENCE * 1000) > 0);
	while (p[c.at].revents == 0)
		c.at++;
	c.fd = accept4(listeners[c.at], &peer.u.sa, &peer.len, SOCK_CLOEXEC);
	assert_true(c.fd >= 0);
	addr_set_port(&peer, 1);
	addr_format(&peer, c.peer);
	return c;
}

/* Bytes go both ways: it is the same connection. */
static void
assert_talk(int client, int backend)
{
	char byte = 0;

	assert_int_equal(send(client, "a", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(backend, &byte, 1, 0), 1);
	assert_int_equal(byte, 'a');
	assert_int_equal(send(backend, "b", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(client, &byte, 1, 0), 1);
	assert_int_equal(byte, 'b');
}

/* A new connection reaches that one. */
static void
assert_reaches(const char *to, const int *listeners, size_t n, size_t which)
{
	int client = dial(to);
	struct call c = answer(listeners, n);

	assert_talk(client, c.fd);
	assert_int_equal(c.at, which);
	close(client);
	close(c.fd);
}

static void
assert_refused(const char *to)
{
	assert_int_equal(connect_to(CLIENTS, NULL, to, SOCK_STREAM), -ECONNREFUSED);
}

/* -- stories ------------------------------------------------------------------------- */

#define GREENS "10.2.0.11:8000"
#define BLUES "10.2.0.12:8000"

static void
test_a_flip_moves_new_connections_and_no_others(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) };
	struct design d;
	struct running r;
	struct call old;
	int client;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	design_preview(&d, 0, "10.9.0.1:8080");
	run(&r, &d);
	assert_false(ruleset_is_adopted(r.ruleset));
	publish(&r, 0, 1, GREEN, GREENS, BLUES);
	client = dial("10.9.0.1:80");
	old = answer(at, 2);
	assert_int_equal(old.at, 0);
	/* Masquerade: the backend answers to us. */
	assert_string_equal(old.peer, "10.2.0.1:1");
	assert_reaches("10.9.0.1:8080", at, 2, 1);
	for (uint64_t epoch = 2; epoch < 12; epoch++) {
		enum color active = epoch % 2 == 0 ? BLUE : GREEN;

		publish(&r, 0, epoch, active, GREENS, BLUES);
		assert_reaches("10.9.0.1:80", at, 2, active);
		assert_reaches("10.9.0.1:8080", at, 2, color_other(active));
		assert_talk(client, old.fd);
	}
	close(client);
	close(old.fd);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
}

static uint32_t
mark_of_flow(const char *port)
{
	char command[128], *text;
	const char *found;
	uint32_t mark;

	snprintf(command, sizeof(command), "conntrack -L -p tcp --orig-port-dst %s 2>/dev/null", port);
	text = says(command);
	found = strstr(text, "mark=");
	assert_non_null(found);
	mark = (uint32_t)strtoul(found + 5, NULL, 10);
	free(text);
	return mark;
}

static void
test_a_flow_says_whose_it_is(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) };
	struct design d;
	struct running r;
	int client;
	struct call c;

	(void)state;
	design_init(&d);
	design_service(&d, "other", "10.9.0.1:80");
	design_service(&d, "shop", "10.9.0.1:81");
	design_preview(&d, 1, "10.9.0.1:82");
	run(&r, &d);
	publish(&r, 1, 1024 + 7, BLUE, GREENS, BLUES);
	client = dial("10.9.0.1:81");
	c = answer(at, 2);
	assert_int_equal(mark_of_flow("81"),
			 mark_make(0xa5, ruleset_number(r.ruleset, 1), BLUE, ENTRANCE_MAIN, 7));
	close(client);
	close(c.fd);
	client = dial("10.9.0.1:82");
	c = answer(at, 2);
	assert_int_equal(mark_of_flow("82"),
			 mark_make(0xa5, ruleset_number(r.ruleset, 1), GREEN, ENTRANCE_PREVIEW, 7));
	close(client);
	close(c.fd);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
}

static void
test_who_finds_nobody_is_refused_at_once_and_counted(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM),
		     listen_at(BALANCER, "0.0.0.0:80", SOCK_STREAM) };
	struct design d;
	struct running r;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	design_service(&d, "late", "10.9.0.1:81");
	run(&r, &d);
	publish(&r, 0, 1, GREEN, "-" GREENS, BLUES);
	/* Neither the other color nor who listens here. */
	assert_refused("10.9.0.1:80");
	assert_refused("10.9.0.1:80");
	assert_refused("10.9.0.1:81");
	assert_int_equal(counts_of(&r, 0)->refused[REFUSED_NO_BACKEND], 2);
	assert_int_equal(counts_of(&r, 0)->refused[REFUSED_STALE], 0);
	assert_int_equal(counts_of(&r, 1)->refused[REFUSED_STALE], 1);
	publish(&r, 0, 1, GREEN, GREENS, BLUES);
	assert_reaches("10.9.0.1:80", at, 3, 0);
	refuse(&r, 0, 1, GREENS, BLUES);
	assert_refused("10.9.0.1:80");
	assert_int_equal(counts_of(&r, 0)->refused[REFUSED_STALE], 1);
	publish(&r, 0, 2, BLUE, GREENS, BLUES);
	assert_reaches("10.9.0.1:80", at, 3, 1);
	stop(&r, true);
	for (int i = 0; i < 3; i++)
		close(at[i]);
}

static void
test_one_whose_flow_was_cut_hears_of_it(void **state)
{
	int at = listen_at(BACKENDS, GREENS, SOCK_STREAM), client;
	struct design d;
	struct running r;
	struct call c;
	char byte;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	run(&r, &d);
	publish(&r, 0, 1, GREEN, GREENS, BLUES);
	client = dial("10.9.0.1:80");
	c = answer(&at, 1);
	assert_talk(client, c.fd);
	shell("conntrack -D -p tcp --orig-port-dst 80 >/dev/null 2>&1");
	assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(counts_of(&r, 0)->strays, 1);
	/* The backend's side is answered by the stack: nobody has that port here. */
	setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(send(c.fd, "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(c.fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(client);
	close(c.fd);
	stop(&r, true);
	close(at);
}

/* Of the client's connection. */
static uint32_t
mark_of(const struct addr *client)
{
	char command[128], *text, *at;
	uint32_t mark;

	snprintf(command, sizeof(command), "conntrack -L -p tcp --orig-port-src %u 2>/dev/null", addr_port(client));
	text = says(command);
	at = strstr(text, "mark=");
	mark = at != NULL ? (uint32_t)strtoul(at + strlen("mark="), NULL, 10) : 0;
	free(text);
	return mark;
}

/* A port that comes again while conntrack still knows its last connection.  The SYN might be a late copy of
 * the one that began a living connection; not so where that has been silent. */
static void
come_again(bool silent)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) },
	    client, on = 1;
	struct addr me = { .len = sizeof(me.u) }, to = address_of("10.9.0.1:80");
	struct design d;
	struct running r;
	struct call old, new;
	char byte;

	design_init(&d);
	/* By so much more than its time it seems to have been silent. */
	d.config.established = silent ? 1000000 : 0;
	design_service(&d, "shop", "10.9.0.1:80");
	run(&r, &d);
	publish(&r, 0, 1, GREEN, GREENS, BLUES);
	client = dial("10.9.0.1:80");
	old = answer(at, 2);
	assert_int_equal(old.at, GREEN);
	assert_talk(client, old.fd);
	assert_int_equal(getsockname(client, &me.u.sa, &me.len), 0);
	/* Gone without a word, as with the client's machine. */
	assert_int_equal(setsockopt(client, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
	close(client);
	publish(&r, 0, 2, BLUE, GREENS, BLUES);
	net_go(&net, CLIENTS);
	client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(client, &me.u.sa, me.len), 0);
	assert_int_equal(connect(client, &to.u.sa, to.len), -1);
	net_go(&net, BALANCER);
	assert_int_equal(mark_is_reused(mark_of(&me)), silent);
	shell("conntrack -D -p tcp --orig-port-dst 80 >/dev/null 2>&1");
	new = answer(at, 2);
	assert_int_equal(new.at, BLUE);
	/* Not even a packet of it came to the old one, which would have answered, and been reset. */
	assert_int_equal(recv(old.fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	close(client);
	close(old.fd);
	close(new.fd);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
}

static void
test_an_old_port_does_not_lead_to_the_old_color(void **state)
{
	(void)state;
	come_again(false);
	come_again(true);
}

/* What the socket has been told up to, and what it expects next. */
static uint32_t
sequence(int fd, int queue)
{
	int on = 1, off = -1;
	uint32_t value;
	socklen_t n = sizeof(value);

	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)), 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &value, &n), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)), 0);
	return value;
}

static uint16_t
checksum(const struct addr *from, const struct addr *to, const struct tcphdr *t)
{
	struct {
		uint32_t from, to;
		uint8_t zero, protocol;
		uint16_t length;
		struct tcphdr tcp;
	} p = { from->u.in.sin_addr.s_addr, to->u.in.sin_addr.s_addr, 0, IPPROTO_TCP, htons(sizeof(*t)), *t };
	uint16_t words[sizeof(p) / 2];
	uint32_t sum = 0;

	memcpy(words, &p, sizeof(p));
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		sum += words[i];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* A packet of the connection that is so far ahead that nobody expects it. */
static void
send_odd(enum side side, int fd)
{
	struct addr from = { .len = sizeof(from.u) }, to = from, raw_to;
	struct tcphdr t = { .doff = 5, .ack = 1, .window = htons(100) };
	int raw;

	assert_int_equal(getsockname(fd, &from.u.sa, &from.len), 0);
	assert_int_equal(getpeername(fd, &to.u.sa, &to.len), 0);
	t.source = from.u.in.sin_port;
	t.dest = to.u.in.sin_port;
	t.seq = htonl(sequence(fd, TCP_SEND_QUEUE) + 1000000000);
	t.ack_seq = htonl(sequence(fd, TCP_RECV_QUEUE));
	t.check = checksum(&from, &to, &t);
	net_go(&net, side);
	raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);
	assert_true(raw >= 0);
	from.u.in.sin_port = 0;
	raw_to = to;
	raw_to.u.in.sin_port = 0;
	assert_int_equal(bind(raw, &from.u.sa, from.len), 0);
	assert_int_equal(sendto(raw, &t, sizeof(t), 0, &raw_to.u.sa, raw_to.len), sizeof(t));
	close(raw);
	net_go(&net, BALANCER);
}

static void
test_an_odd_packet_ends_no_connection(void **state)
{
	int at = listen_at(BACKENDS, GREENS, SOCK_STREAM);
	struct design d;
	struct running r;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	design_service(&d, "wild", "0.0.0.0:81");
	run(&r, &d);
	for (size_t i = 0; i < 2; i++) {
		int client;
		struct call c;

		publish(&r, i, 1, GREEN, GREENS, BLUES);
		client = dial(i == 0 ? "10.9.0.1:80" : "10.9.0.1:81");
		c = answer(&at, 1);
		assert_talk(client, c.fd);
		for (int k = 0; k < 3; k++) {
			send_odd(CLIENTS, client);
			send_odd(BACKENDS, c.fd);
			assert_talk(client, c.fd);
		}
		close(client);
		close(c.fd);
	}
	stop(&r, true);
	close(at);
}

/* The shortest time that the kernel still gives to an element of the table, in
 * milliseconds; of "expires 1m2s345ms". */
static long
shortest_life(void)
{
	static const struct {
		const char *unit;
		long ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	char *text = says("nft list table inet teal_test");
	long shortest = LONG_MAX;

	for (char *p = text; (p = strstr(p, "expires ")) != NULL;) {
		long life = 0;

		for (p += strlen("expires "); *p >= '0' && *p <= '9';) {
			long n = strtol(p, &p, 10);

			for (size_t i = 0; i < ARRAY_LEN(units); i++)
				if (strncmp(p, units[i].unit, strlen(units[i].unit)) == 0) {
					life += n * units[i].ms;
					p += strlen(units[i].unit);
					break;
				}
		}
		shortest = life < shortest ? life : shortest;
	}
	free(text);
	return shortest;
}

static void
test_what_is_renewed_has_all_its_time_again(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) };
	struct design d;
	struct running r;
	long life;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	d.config.max_age = 600;
	run(&r, &d);
	publish(&r, 0, 1, BLUE, GREENS, BLUES);
	/* Left alone it only falls. */
	POLL_UNTIL((life = shortest_life()) < 599500);
	assert_in_range(life, 1, 599499);
	POLL_UNTIL((ruleset_renew(r.ruleset), shortest_life() > life));
	assert_reaches("10.9.0.1:80", at, 2, 1);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
}

static void
test_what_is_not_renewed_ends(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) };
	struct design d;
	struct running r;
	struct call old;
	int client, e;
	double since;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	d.config.max_age = 2;
	run(&r, &d);
	publish(&r, 0, 1, GREEN, GREENS, BLUES);
	client = dial("10.9.0.1:80");
	old = answer(at, 2);
	since = clock_now();
	/* Whom it lets in is taken, so that no queue is full. */
	POLL_UNTIL((e = connect_to(CLIENTS, NULL, "10.9.0.1:80", SOCK_STREAM)) < 0 ||
		   close(accept(at[0], NULL, NULL)) + close(e) != 0);
	assert_int_equal(e, -ECONNREFUSED);
	assert_true(clock_now() > since + 1.5);
	/* Those that are there stay. */
	assert_talk(client, old.fd);
	ruleset_renew(r.ruleset);
	publish(&r, 0, 2, BLUE, GREENS, BLUES);
	while (poll(&(struct pollfd){ .fd = at[0], .events = POLLIN }, 1, 0) > 0)
		close(accept(at[0], NULL, NULL));
	assert_reaches("10.9.0.1:80", at, 2, 1);
	close(client);
	close(old.fd);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
}

static void
test_backends_take_turns_by_weight(void **state)
{
	int at[] = { listen_at(BACKENDS, "10.2.0.11:8000", SOCK_STREAM),
		     listen_at(BACKENDS, "10.2.0.12:8000", SOCK_STREAM),
		     listen_at(BACKENDS, "10.2.0.13:8001", SOCK_STREAM) };
	unsigned got[3] = { 0 };
	struct design d;
	struct running r;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	run(&r, &d);
	publish(&r, 0, 1, GREEN, "10.2.0.11:8000*3 10.2.0.12:8000 10.2.0.13:8001*2", BLUES);
	for (int i = 0; i < 24; i++) {
		int client = dial("10.9.0.1:80");
		struct call c = answer(at, 3);

		got[c.at]++;
		close(client);
		close(c.fd);
	}
	assert_int_equal(got[0], 12);
	assert_int_equal(got[1], 4);
	assert_int_equal(got[2], 8);
	/* One that fails its checks gets nothing new from the next moment on. */
	publish(&r, 0, 1, GREEN, "-10.2.0.11:8000*3 10.2.0.12:8000 10.2.0.13:8001*2", BLUES);
	for (int i = 0; i < 6; i++) {
		int client = dial("10.9.0.1:80");
		struct call c = answer(at, 3);

		assert_int_not_equal(c.at, 0);
		close(client);
		close(c.fd);
	}
	stop(&r, true);
	for (int i = 0; i < 3; i++)
		close(at[i]);
}

static void
test_both_families_wildcards_and_datagrams(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM),
		     listen_at(BACKENDS, "[fd02::11]:8000", SOCK_STREAM) };
	int udp = listen_at(BACKENDS, "10.2.0.11:53", SOCK_DGRAM), client;
	struct design d;
	struct running r;
	char text[8] = "";
	struct addr from = { .len = sizeof(from.u) };

	(void)state;
	design_init(&d);
	design_service(&d, "six", "[fd09::1]:80");
	design_listen(&d, 0, "10.9.0.1:80");
	design_service(&d, "wild", "0.0.0.0:81");
	design_listen(&d, 1, "[::]:81");
	design_service(&d, "dns", "0.0.0.0:53");
	d.services[2].mode = MODE_UDP;
	run(&r, &d);
	publish(&r, 0, 1, GREEN, "[fd02::11]:8000", "");
	publish(&r, 1, 1, GREEN, GREENS " [fd02::11]:8000", "");
	publish(&r, 2, 1, GREEN, "10.2.0.11:53", "");
	assert_reaches("[fd09::1]:80", at, 2, 1);
	assert_refused("10.9.0.1:80");	/* no backend of that family */
	assert_reaches("10.9.0.1:81", at, 2, 0);
	assert_reaches("10.1.0.1:81", at, 2, 0);
	assert_reaches("[fd01::1]:81", at, 2, 1);
	assert_reaches("[fd09::1]:81", at, 2, 1);
	/* An address that is not ours is not meant. */
	assert_refused("10.2.0.11:81");
	client = connect_to(CLIENTS, NULL, "10.9.0.1:53", SOCK_DGRAM);
	assert_int_equal(send(client, "hi", 2, 0), 2);
	assert_int_equal(recvfrom(udp, text, sizeof(text), 0, &from.u.sa, &from.len), 2);
	assert_int_equal(sendto(udp, "you", 3, 0, &from.u.sa, from.len), 3);
	assert_int_equal(recv(client, text, sizeof(text), 0), 3);
	close(client);
	/* What the backend's host says by ICMP finds the client. */
	publish(&r, 2, 1, GREEN, "10.2.0.11:54", "");
	client = connect_to(CLIENTS, NULL, "10.9.0.1:53", SOCK_DGRAM);
	assert_int_equal(send(client, "hi", 2, 0), 2);
	assert_int_equal(recv(client, text, sizeof(text), 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(client);
	assert_int_equal(counts_of(&r, 2)->refused[REFUSED_NO_BACKEND], 0);
	publish(&r, 2, 1, GREEN, "-10.2.0.11:53", "");
	client = connect_to(CLIENTS, NULL, "10.9.0.1:53", SOCK_DGRAM);
	assert_int_equal(send(client, "hi", 2, 0), 2);
	assert_int_equal(recv(client, text, sizeof(text), 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(client);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
	close(udp);
}

static void
test_a_transparent_service_shows_the_client(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) },
	    client;
	struct design d;
	struct running r;
	struct call c;
	char byte;

	(void)state;
	design_init(&d);
	design_service(&d, "clear", "10.9.0.1:80");
	design_service(&d, "hidden", "10.9.0.1:81");
	d.services[0].transparent = true;
	run(&r, &d);
	publish(&r, 0, 1, GREEN, GREENS, BLUES);
	publish(&r, 1, 1, BLUE, GREENS, BLUES);
	client = dial("10.9.0.1:80");
	c = answer(at, 2);
	assert_string_equal(c.peer, "10.1.0.2:1");
	assert_talk(client, c.fd);
	/* Cut: the client's stack answers the backend, the table the client. */
	shell("conntrack -D -p tcp --orig-port-dst 80 >/dev/null 2>&1");
	assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(send(c.fd, "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(c.fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(client);
	close(c.fd);
	client = dial("10.9.0.1:81");
	c = answer(at, 2);
	assert_string_equal(c.peer, "10.2.0.1:1");
	close(client);
	close(c.fd);
	/* Who goes to the backend itself is none of ours, and keeps his address. */
	client = dial(GREENS);
	c = answer(at, 2);
	assert_string_equal(c.peer, "10.1.0.2:1");
	assert_talk(client, c.fd);
	close(client);
	close(c.fd);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
}

static void
test_clients_of_this_host_where_that_is_wanted(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) },
	    client;
	struct design d;
	struct running r;
	struct call c;

	(void)state;
	design_init(&d);
	design_service(&d, "both", "10.9.0.1:80");
	design_service(&d, "wild", "0.0.0.0:81");
	design_service(&d, "remote", "10.9.0.1:82");
	d.services[0].local_clients = d.services[1].local_clients = true;
	run(&r, &d);
	for (size_t i = 0; i < 3; i++)
		publish(&r, i, 1, BLUE, GREENS, BLUES);
	for (int i = 0; i < 2; i++) {
		client = connect_to(BALANCER, NULL, i == 0 ? "10.9.0.1:80" : "10.1.0.1:81", SOCK_STREAM);
		assert_true(client >= 0);
		c = answer(at, 2);
		assert_int_equal(c.at, BLUE);
		assert_string_equal(c.peer, "10.2.0.1:1");
		assert_talk(client, c.fd);
		close(client);
		close(c.fd);
	}
	assert_int_equal(connect_to(BALANCER, NULL, "10.9.0.1:82", SOCK_STREAM), -ECONNREFUSED);
	/* The kernel would not route it; better nobody than silence. */
	assert_int_equal(connect_to(BALANCER, NULL, "127.0.0.1:81", SOCK_STREAM), -ECONNREFUSED);
	assert_reaches("10.9.0.1:80", at, 2, 1);
	assert_reaches("10.9.0.1:82", at, 2, 1);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
}

static void
add_network(struct cidr_set *set, const char *text)
{
	struct cidr c;
	struct why why;

	assert_int_equal(cidr_parse(text, &c, NULL, &why), OK);
	cidr_set_add(set, &c);
}

static void
test_the_door_keeps_out_whom_it_should(void **state)
{
	int at = listen_at(BACKENDS, GREENS, SOCK_STREAM), clients[4];
	struct call calls[4];
	const struct ruleset_counts *counts;
	struct design d;
	struct running r;

	(void)state;
	design_init(&d);
	design_service(&d, "lists", "10.9.0.1:80");
	design_preview(&d, 0, "10.9.0.1:90");
	add_network(&d.limits[0].allow, "10.1.0.0/24");
	add_network(&d.limits[0].deny, "10.1.0.3");
	design_service(&d, "many", "10.9.0.1:81");
	d.limits[1].per_source = 2;
	design_service(&d, "fast", "10.9.0.1:82");
	design_preview(&d, 2, "10.9.0.1:92");
	d.limits[2].source_rate = (struct source_rate){ .burst = 3, .per_second = 0.01 };
	design_service(&d, "six", "[fd09::1]:83");
	add_network(&d.limits[3].allow, "10.1.0.0/24");
	run(&r, &d);
	for (size_t i = 0; i < 4; i++)
		publish(&r, i, 1, GREEN, GREENS, GREENS);

	assert_int_equal(connect_to(CLIENTS, "10.1.0.3:1", "10.9.0.1:80", SOCK_STREAM), -ECONNREFUSED);
	assert_int_equal(connect_to(CLIENTS, "10.1.0.3:1", "10.9.0.1:90", SOCK_STREAM), -ECONNREFUSED);
	assert_int_equal(connect_to(BACKENDS, "10.2.0.12:1", "10.9.0.1:80", SOCK_STREAM), -ECONNREFUSED);
	assert_reaches("10.9.0.1:80", &at, 1, 0);
	assert_reaches("10.9.0.1:90", &at, 1, 0);
	counts = counts_of(&r, 0);
	assert_int_equal(counts->refused[REFUSED_DENIED], 3);

	for (int i = 0; i < 2; i++) {
		clients[i] = dial("10.9.0.1:81");
		calls[i] = answer(&at, 1);
	}
	assert_refused("10.9.0.1:81");
	/* Another source has places of its own. */
	clients[2] = connect_to(CLIENTS, "10.1.0.3:1", "10.9.0.1:81", SOCK_STREAM);
	assert_true(clients[2] >= 0);
	calls[2] = answer(&at, 1);
	/* One that ends makes room. */
	for (int i = 0; i < 3; i++) {
		close(clients[i]);
		close(calls[i].fd);
	}
	shell("conntrack -D -p tcp --orig-port-dst 81 >/dev/null 2>&1");
	assert_reaches("10.9.0.1:81", &at, 1, 0);
	counts = counts_of(&r, 1);
	assert_int_equal(counts->refused[REFUSED_SOURCE_LIMIT], 1);

	for (int i = 0; i < 3; i++)
		assert_reaches("10.9.0.1:82", &at, 1, 0);
	assert_refused("10.9.0.1:82");
	assert_reaches("10.9.0.1:92", &at, 1, 0);
	counts = counts_of(&r, 2);
	assert_int_equal(counts->refused[REFUSED_SOURCE_RATE], 1);
	assert_int_equal(counts->refused[REFUSED_DENIED], 0);

	assert_refused("[fd09::1]:83");
	assert_int_equal(counts_of(&r, 3)->refused[REFUSED_DENIED], 1);
	stop(&r, true);
	cidr_set_clear(&d.limits[0].allow);
	cidr_set_clear(&d.limits[0].deny);
	cidr_set_clear(&d.limits[3].allow);
	close(at);
}

static void
test_a_client_keeps_its_backend_when_another_leaves(void **state)
{
	static const char *const all[] = { "10.2.0.11:8000", "10.2.0.12:8000", "10.2.0.13:8000" };
	int at[3];
	size_t before[40], moved = 0;
	struct design d;
	struct running r;

	(void)state;
	for (int i = 0; i < 3; i++)
		at[i] = listen_at(BACKENDS, all[i], SOCK_STREAM);
	net_go(&net, CLIENTS);
	for (int i = 0; i < 40; i++)
		shell("ip addr add 10.1.0.%d/24 dev eth", 100 + i);
	net_go(&net, BALANCER);
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	d.services[0].source_hash = true;
	run(&r, &d);
	for (int round = 0; round < 3; round++) {
		publish(&r, 0, 1, GREEN,
			round == 1 ? "10.2.0.11:8000 -10.2.0.12:8000 10.2.0.13:8000" :
				     "10.2.0.11:8000 10.2.0.12:8000 10.2.0.13:8000",
			"");
		for (int i = 0; i < 40; i++) {
			char from[32];
			struct call c;
			int client;

			snprintf(from, sizeof(from), "10.1.0.%d:1", 100 + i);
			client = connect_to(CLIENTS, from, "10.9.0.1:80", SOCK_STREAM);
			assert_true(client >= 0);
			c = answer(at, 3);
			if (round == 0)
				before[i] = c.at;
			else if (round == 1 && before[i] == 1)
				moved += c.at != 1;
			else
				assert_int_equal(c.at, before[i]);
			close(client);
			close(c.fd);
		}
	}
	/* All of them came there, and some were that one's. */
	assert_in_range(moved, 1, 39);
	stop(&r, true);
	for (int i = 0; i < 3; i++)
		close(at[i]);
}

/* -- the table's life ------------------------------------------------------------------ */

#define OTHERS \
	"nft -f - <<'X'\n" \
	"table ip nat {\n chain PREROUTING {\n type nat hook prerouting priority dstnat; policy accept;\n" \
	"  ip daddr 10.77.0.1 dnat to 10.77.0.2\n }\n }\n" \
	"table inet teal_others {\n set s {\n type ipv4_addr\n elements = { 1.2.3.4 }\n }\n" \
	"  chain c {\n ip saddr @s counter packets 5 bytes 7 drop\n }\n }\n" \
	"table ip6 docker {\n map m {\n type ipv6_addr : verdict\n elements = { fe80::1 : accept }\n }\n }\n" \
	"X"
#define LIST_OTHERS \
	"nft -j list table ip nat; nft -j list table inet teal_others; nft -j list table ip6 docker"

static void
test_others_tables_stay_what_they_are(void **state)
{
	struct design d;
	struct running r;
	char *before, *after;

	(void)state;
	shell(OTHERS);
	before = says(LIST_OTHERS);
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	d.config.max_age = 20;
	run(&r, &d);
	for (uint64_t epoch = 1; epoch < 20; epoch++)
		publish(&r, 0, epoch, epoch % 2 == 0 ? BLUE : GREEN, epoch % 3 == 0 ? "-" GREENS : GREENS,
			BLUES);
	ruleset_renew(r.ruleset);
	stop(&r, false);
	run(&r, &d);
	publish(&r, 0, 30, BLUE, GREENS, BLUES);
	stop(&r, true);
	after = says(LIST_OTHERS);
	assert_string_equal(after, before);
	free(after);
	after = says("nft list tables");
	assert_null(strstr(after, "teal_test"));
	free(after);
	free(before);
	shell("nft delete table ip nat; nft delete table inet teal_others; nft delete table ip6 docker");
}

static void
test_a_successor_takes_over_what_runs(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) },
	    client;
	struct design d, e;
	struct running r;
	struct call old;
	char *before, *after;
	unsigned shop, pay;

	(void)state;
	design_init(&d);
	design_service(&d, "gone", "10.9.0.1:79");
	design_service(&d, "shop", "10.9.0.1:80");
	design_service(&d, "pay", "10.9.0.1:81");
	d.limits[1].per_source = 100;
	run(&r, &d);
	for (size_t i = 0; i < 3; i++)
		publish(&r, i, 5, BLUE, GREENS, BLUES);
	shop = ruleset_number(r.ruleset, 1);
	pay = ruleset_number(r.ruleset, 2);
	client = dial("10.9.0.1:80");
	old = answer(at, 2);
	stop(&r, false);
	/* Nobody is there, and it goes on. */
	assert_talk(client, old.fd);
	assert_reaches("10.9.0.1:80", at, 2, 1);
	before = says("nft -s list table inet teal_test | grep -v elements");

	/* The same configuration: nothing is written. */
	run(&r, &d);
	assert_true(ruleset_is_adopted(r.ruleset));
	for (size_t i = 0; i < 3; i++) {
		struct snapshot *s = snapshot_of(++r.generation[i], 5, BLUE, GREENS, BLUES);

		ruleset_publish(r.ruleset, i, &s);
	}
	assert_reaches("10.9.0.1:80", at, 2, 1);
	ruleset_begin(r.ruleset);
	WAIT_UNTIL(loop, r.acked[0] && r.acked[1] && r.acked[2]);
	after = says("nft -s list table inet teal_test | grep -v elements");
	assert_string_equal(after, before);
	free(after);
	free(before);
	stop(&r, false);

	/* Another one: other order, one less, one more, other limits. */
	design_init(&e);
	design_service(&e, "new", "0.0.0.0:85");
	design_service(&e, "pay", "10.9.0.1:81");
	design_service(&e, "shop", "10.9.0.1:80");
	e.services[0].local_clients = true;
	e.limits[2].per_source = 50;
	run(&r, &e);
	assert_int_equal(ruleset_number(r.ruleset, 2), shop);
	assert_int_equal(ruleset_number(r.ruleset, 1), pay);
	for (unsigned i = 0; i < 3; i++)
		publish(&r, i, 6, GREEN, GREENS, BLUES);
	assert_reaches("10.9.0.1:80", at, 2, 0);
	assert_reaches("10.9.0.1:85", at, 2, 0);
	assert_refused("10.9.0.1:79");
	assert_talk(client, old.fd);
	/* What is not needed any more goes. */
	do {
		after = says("nft list table inet teal_test");
		shop = strstr(after, "gone") == NULL && strstr(after, "count4_100_64") == NULL;
		free(after);
		usleep(50000);
	} while (!shop);
	close(client);
	close(old.fd);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
}

static void
test_a_table_of_somebody_else_is_refused_by_name(void **state)
{
	struct design d;
	struct running r;
	struct why why = { "" };
	char *before, *after;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	shell("nft add table inet teal_test && nft add chain inet teal_test precious");
	before = says("nft -j list ruleset");
	assert_int_equal(try_open(&r, &d, &why), E_CONFLICT);
	assert_null(r.ruleset);
	assert_non_null(strstr(why.text, "table inet teal_test is not Teal's"));
	after = says("nft -j list ruleset");
	assert_string_equal(after, before);
	free(after);
	free(before);
	shell("nft delete table inet teal_test");

	/* Nor one of another teald. */
	run(&r, &d);
	publish(&r, 0, 1, GREEN, GREENS, BLUES);
	stop(&r, false);
	d.config.owner = "two";
	assert_int_equal(try_open(&r, &d, &why), E_CONFLICT);
	assert_non_null(strstr(why.text, "teal_test belongs to another teald, \"one\""));
	d.config.owner = "one";
	run(&r, &d);
	publish(&r, 0, 1, GREEN, GREENS, BLUES);
	/* Nor one that came while we ran. */
	shell("nft delete table inet teal_test; nft add table inet teal_test && nft add chain inet teal_test precious");
	{
		struct snapshot *s = snapshot_of(++r.generation[0], 2, BLUE, GREENS, BLUES);

		ruleset_publish(r.ruleset, 0, &s);
	}
	WAIT_UNTIL(loop, r.troubles == 1);
	assert_non_null(strstr(r.trouble, "is not Teal's"));
	assert_int_equal(r.acked[0], 1);
	/* It is taken away, and all is well by itself. */
	shell("nft delete table inet teal_test");
	WAIT_UNTIL(loop, r.recoveries == 1);
	assert_int_equal(r.acked[0], 2);
	stop(&r, true);
}

static void
test_what_others_broke_is_mended(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) };
	struct design d;
	struct running r;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	run(&r, &d);
	publish(&r, 0, 1, GREEN, GREENS, BLUES);
	/* It is noticed, told, and made again. */
	shell("nft delete table inet teal_test");
	WAIT_UNTIL(loop, r.recoveries == 1);
	assert_int_equal(r.troubles, 1);
	assert_non_null(strstr(r.trouble, "the table inet teal_test was deleted"));
	assert_reaches("10.9.0.1:80", at, 2, 0);
	publish(&r, 0, 2, BLUE, GREENS, BLUES);
	assert_reaches("10.9.0.1:80", at, 2, 1);
	/* What goes unnoticed is mended with the next change. */
	shell("nft flush map inet teal_test main4");
	publish(&r, 0, 3, GREEN, GREENS, BLUES);
	assert_reaches("10.9.0.1:80", at, 2, 0);
	assert_int_equal(r.troubles, 1);
	stop(&r, true);
	close(at[0]);
	close(at[1]);
}

/* Changes things without an end, until it is killed. */
static void
child_of_changes(const struct design *d, unsigned seed)
{
	struct running r;
	struct why why;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	loop = ev_loop_new(0);
	if (try_open(&r, d, &why) != OK)
		_exit(1);
	ruleset_begin(r.ruleset);
	for (uint64_t i = 1;; i++) {
		for (size_t k = 0; k < d->config.n_services; k++) {
			struct snapshot *s =
				snapshot_of(i, i, rand_r(&seed) % 2 == 0 ? GREEN : BLUE,
					    rand_r(&seed) % 2 == 0 ? GREENS : GREENS " 10.2.0.13:8000",
					    rand_r(&seed) % 2 == 0 ? BLUES : "-" BLUES " 10.2.0.14:8000");

			ruleset_publish(r.ruleset, k, &s);
		}
		if (rand_r(&seed) % 4 == 0)
			ruleset_renew(r.ruleset);
		ev_run(loop, EVRUN_NOWAIT);
		usleep(rand_r(&seed) % 3000);
	}
}

static void
test_whenever_it_is_killed_the_next_one_makes_it_right(void **state)
{
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) };
	int rounds = (int)scaled(3, 100);
	struct design d;
	struct running r;
	char *before, *after;
	unsigned seed = 1;

	(void)state;
	shell(OTHERS);
	before = says(LIST_OTHERS);
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	design_service(&d, "wild", "0.0.0.0:81");
	d.limits[1].per_source = 1000;
	for (int i = 0; i < rounds; i++) {
		pid_t pid;
		int status;

		d.config.max_age = i % 2 == 0 ? 0 : 30;
		d.services[1].local_clients = i % 3 == 0;
		fflush(NULL);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child_of_changes(&d, (unsigned)i);
		usleep(20000 + (unsigned)rand_r(&seed) % 100000);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));

		run(&r, &d);
		for (size_t k = 0; k < 2; k++)
			publish(&r, k, 1, i % 2 == 0 ? GREEN : BLUE, GREENS, BLUES);
		assert_reaches("10.9.0.1:80", at, 2, i % 2);
		assert_reaches("10.1.0.1:81", at, 2, i % 2);
		assert_int_equal(r.troubles, 0);
		stop(&r, false);
		after = says(LIST_OTHERS);
		assert_string_equal(after, before);
		free(after);
	}
	run(&r, &d);
	stop(&r, true);
	after = says("nft list tables");
	assert_null(strstr(after, "teal_test"));
	free(after);
	free(before);
	shell("nft delete table ip nat; nft delete table inet teal_others; nft delete table ip6 docker");
	close(at[0]);
	close(at[1]);
}

static void
test_who_may_not_is_told_so(void **state)
{
	struct design d;
	int status;
	pid_t pid;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct running r;
		struct why why = { "" };

		if (setresuid(65534, 65534, 65534) != 0)
			_exit(2);
		loop = ev_loop_new(0);
		_exit(try_open(&r, &d, &why) == E_DENIED && r.ruleset == NULL &&
				      strstr(why.text, "CAP_NET_ADMIN") != NULL ?
			      0 :
			      1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* -- many ----------------------------------------------------------------------------- */

enum { MANY = 1000 };

static void
on_one_of_many(void *arg, size_t service, uint64_t generation)
{
	uint64_t *acked = arg;

	acked[service] = generation;
}

static void
on_trouble_of_many(void *arg, const char *why)
{
	(void)arg;
	fail_msg("%s", why);
}

static void
test_a_thousand_services_are_each_themselves(void **state)
{
	static struct ruleset_service services[MANY];
	static struct addr listen[MANY];
	static uint64_t acked[MANY];
	static char names[MANY][8];
	const struct ruleset_calls calls = { on_one_of_many, on_trouble_of_many, acked };
	struct ruleset_config config = {
		.table = "test", .owner = "one", .tag = 1, .services = services, .n_services = MANY
	};
	int at[] = { listen_at(BACKENDS, GREENS, SOCK_STREAM), listen_at(BACKENDS, BLUES, SOCK_STREAM) };
	static const size_t some[] = { 0, 1, 499, 998, 999 };
	struct ruleset *r;
	struct why why = { "" };

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "s%zu", i);
		listen[i] = address_of("10.9.0.1:1");
		addr_set_port(&listen[i], 20000 + (unsigned)i);
		services[i] =
			(struct ruleset_service){ .name = names[i], .listen = &listen[i], .n_listen = 1 };
	}
	/* Twice: made, and taken over. */
	for (uint64_t round = 1; round <= 2; round++) {
		if (ruleset_open(loop, &config, &calls, &r, &why) != OK)
			fail_msg("%s", why.text);
		for (size_t i = 0; i < MANY; i++) {
			struct snapshot *s = snapshot_of(round, 1, i % 2 == 0 ? GREEN : BLUE, GREENS, BLUES);

			assert_int_equal(ruleset_number(r, i), i + 1);
			ruleset_publish(r, i, &s);
		}
		ruleset_begin(r);
		for (size_t i = 0; i < MANY; i++)
			WAIT_UNTIL(loop, acked[i] == round);
		for (size_t k = 0; k < ARRAY_LEN(some); k++) {
			char to[32];

			snprintf(to, sizeof(to), "10.9.0.1:%zu", 20000 + some[k]);
			assert_reaches(to, at, 2, some[k] % 2);
		}
		assert_refused("10.9.0.1:21000");
		assert_int_equal(ruleset_close(&r, round == 2, &why), OK);
	}
	close(at[0]);
	close(at[1]);
}

/* What it would load is what it loads. */
static void
test_the_printed_text_is_what_is_loaded(void **state)
{
	struct design d;
	struct running r;
	struct snapshot *s[2];
	FILE *f;
	char *printed, *loaded;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	design_listen(&d, 0, "[fd09::1]:80");
	design_preview(&d, 0, "0.0.0.0:8080");
	d.services[0].local_clients = true;
	design_service(&d, "dns", "[::]:53");
	d.services[1].mode = MODE_UDP;
	d.services[1].source_hash = true;
	d.limits[1].source_rate = (struct source_rate){ .burst = 10, .per_second = 2.5 };
	add_network(&d.limits[1].deny, "2001:db8::/32");
	d.config.max_age = 600;
	for (int i = 0; i < 2; i++)
		s[i] = snapshot_of(1, 1, BLUE, GREENS " [fd02::11]:8000", BLUES "*2 10.2.0.13:8000");
	f = fopen("/dev/shm/teal_test.nft", "w");
	assert_non_null(f);
	ruleset_print(&d.config, s, f);
	fclose(f);
	/* Checked only, then loaded by hand. */
	shell("nft -c -f /dev/shm/teal_test.nft && nft -f /dev/shm/teal_test.nft; rm /dev/shm/teal_test.nft");
	printed = says("nft -s list table inet teal_test | sed 's/expires [0-9ms]*//g' | sort");
	shell("nft delete table inet teal_test");
	run(&r, &d);
	for (size_t i = 0; i < 2; i++) {
		/* Rounds begin where the generation says. */
		s[i]->generation = 0;
		ruleset_publish(r.ruleset, i, &s[i]);
	}
	ruleset_begin(r.ruleset);
	stop(&r, false);
	loaded = says("nft -s list table inet teal_test | sed 's/expires [0-9ms]*//g' | sort");
	assert_string_equal(loaded, printed);
	shell("nft delete table inet teal_test");
	free(printed);
	free(loaded);
	cidr_set_clear(&d.limits[1].deny);
}

static int
set_up(void **state)
{
	(void)state;
	net_make(&net);
	loop = ev_loop_new(0);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	ev_loop_destroy(loop);
	net_free(&net);
	return 0;
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LIVE(test_a_flip_moves_new_connections_and_no_others),
		LIVE(test_a_flow_says_whose_it_is),
		LIVE(test_who_finds_nobody_is_refused_at_once_and_counted),
		LIVE(test_one_whose_flow_was_cut_hears_of_it),
		LIVE(test_an_old_port_does_not_lead_to_the_old_color),
		LIVE(test_an_odd_packet_ends_no_connection),
		LIVE(test_what_is_not_renewed_ends),
		LIVE(test_what_is_renewed_has_all_its_time_again),
		LIVE(test_backends_take_turns_by_weight),
		LIVE(test_both_families_wildcards_and_datagrams),
		LIVE(test_a_transparent_service_shows_the_client),
		LIVE(test_clients_of_this_host_where_that_is_wanted),
		LIVE(test_the_door_keeps_out_whom_it_should),
		LIVE(test_a_client_keeps_its_backend_when_another_leaves),
		LIVE(test_others_tables_stay_what_they_are),
		LIVE(test_a_successor_takes_over_what_runs),
		LIVE(test_a_table_of_somebody_else_is_refused_by_name),
		LIVE(test_what_others_broke_is_mended),
		LIVE(test_whenever_it_is_killed_the_next_one_makes_it_right),
		LIVE(test_who_may_not_is_told_so),
		LIVE(test_a_thousand_services_are_each_themselves),
		LIVE(test_the_printed_text_is_what_is_loaded),
	};

	if (geteuid() != 0) {
		print_message("[  SKIPPED ] ruleset_live: it needs root\n");
		return 0;
	}
	return cmocka_run_group_tests_name("ruleset_live", tests, NULL, NULL);
}
