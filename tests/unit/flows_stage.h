/* flows_stage.h - where the tests of flows play: a network namespace of their
 * own, a service, and flows.  Skipped unless root.
 *
 * Flows are made in two ways: real ones, of sockets on lo that rules written by
 * hand move to a backend, and entries put into the table through
 * libnetfilter_conntrack, for those that must be many, old or of another state. */
#ifndef TESTS_UNIT_FLOWS_STAGE_H
#define TESTS_UNIT_FLOWS_STAGE_H

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/flows.h"
#include "kernel/mark.h"
#include "wait.h"

#define TAG 0x5a
#define ID 7
#define OTHER_ID 8

static struct ev_loop *loop;
static struct ev_timer pulse;
static struct nfct_handle *table;
static struct flows *flows;
static struct service *service;
static struct backend_config green[2], blue[1];
static struct config config;
static struct service_config service_config;
static int lines = -1;	/* a file in memory: the log */

/* -- the stage ----------------------------------------------------------- */

static inline void
on_pulse(struct ev_loop *l, ev_timer *w, int revents)
{
	(void)l;
	(void)w;
	(void)revents;
}

static inline void
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static inline void
lo_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	close(fd);
}

static inline void
nft(const char *rules)
{
	FILE *p = popen("nft -f -", "w");

	assert_non_null(p);
	fputs(rules, p);
	assert_int_equal(pclose(p), 0);
}

static inline int
set_up_all(void **state)
{
	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0)
		return 0;
	lo_up();
	nft("add table inet hand\n");	/* loads what is needed */
	table = nfct_open(CONNTRACK, 0);
	assert_non_null(table);
	nft("add chain inet hand look { type filter hook output priority 0; }\n"
	    "add rule inet hand look ct state new counter\n");
	write_file("/proc/sys/net/netfilter/nf_conntrack_acct", "1");
	write_file("/proc/sys/net/netfilter/nf_conntrack_timestamp", "1");
	lines = memfd_create("lines", MFD_CLOEXEC);
	log_start(lines);
	log_attach();
	loop = ev_default_loop(0);
	ev_timer_init(&pulse, on_pulse, 0.002, 0.002);
	ev_timer_start(loop, &pulse);
	return 0;
}

static inline int
tear_down_all(void **state)
{
	(void)state;
	if (loop == NULL)
		return 0;
	log_stop(PATIENCE);
	nfct_close(table);
	ev_timer_stop(loop, &pulse);
	ev_loop_destroy(loop);
	close(lines);
	return 0;
}

static inline void
forget_all(void)
{
	uint32_t family = AF_INET;

	nfct_query(table, NFCT_Q_FLUSH, &family);
	family = AF_INET6;
	nfct_query(table, NFCT_Q_FLUSH, &family);
}

static inline struct service *
service_made(void)
{
	assert_true(addr_parse_ip("127.0.0.1", 9001, &green[0].address));
	assert_true(addr_parse_ip("127.0.0.1", 9002, &green[1].address));
	assert_true(addr_parse_ip("127.0.0.1", 9003, &blue[0].address));
	green[0].weight = green[1].weight = blue[0].weight = 1;
	service_config = (struct service_config){
		.name = "shop",
		.labels_json = "",
		.colors = { { .backends = green, .n_backends = 2 }, { .backends = blue, .n_backends = 1 } },
	};
	return service_new(&service_config, 0, 1);
}

static inline void
open_flows(double correct_every, double crowded)
{
	struct why why = { "" };
	const struct flows_options o = {
		.tag = TAG,
		.config = &config,
		.correct_every = correct_every,
		.crowded = crowded,
		.linger = 0.2,
	};

	if (flows_open(&flows, loop, &o, &why) != OK)
		fail_msg("%s", why.text);
}

/* -- entries made by hand -------------------------------------------------- */

struct entry {
	uint32_t mark;
	unsigned number;	/* makes the client's address */
	unsigned backend_port;
	int protocol;	/* IPPROTO_… */
	int state;	/* TCP_CONNTRACK_… */
	unsigned timeout;
};

static inline void
fill(struct nf_conntrack *ct, const struct entry *e)
{
	uint32_t client = htonl(0x0a000000u + e->number / 50000);
	uint16_t port = htons((uint16_t)(1024 + e->number % 50000));

	nfct_set_attr_u8(ct, ATTR_L3PROTO, AF_INET);
	nfct_set_attr_u8(ct, ATTR_L4PROTO, (uint8_t)e->protocol);
	nfct_set_attr_u32(ct, ATTR_IPV4_SRC, client);
	nfct_set_attr_u32(ct, ATTR_IPV4_DST, inet_addr("10.9.9.9"));
	nfct_set_attr_u16(ct, ATTR_PORT_SRC, port);
	nfct_set_attr_u16(ct, ATTR_PORT_DST, htons(80));
	nfct_set_attr_u8(ct, ATTR_REPL_L3PROTO, AF_INET);
	nfct_set_attr_u8(ct, ATTR_REPL_L4PROTO, (uint8_t)e->protocol);
	nfct_set_attr_u32(ct, ATTR_REPL_IPV4_SRC, inet_addr("127.0.0.1"));
	nfct_set_attr_u32(ct, ATTR_REPL_IPV4_DST, client);
	nfct_set_attr_u16(ct, ATTR_REPL_PORT_SRC, htons((uint16_t)e->backend_port));
	nfct_set_attr_u16(ct, ATTR_REPL_PORT_DST, port);
}

static inline void
ask(enum nf_conntrack_query query, const struct entry *e)
{
	struct nf_conntrack *ct = nfct_new();

	assert_non_null(ct);
	fill(ct, e);
	if (query != NFCT_Q_DESTROY) {
		nfct_set_attr_u32(ct, ATTR_MARK, e->mark);
		nfct_set_attr_u32(ct, ATTR_TIMEOUT, e->timeout);
		if (e->state != TCP_CONNTRACK_SYN_SENT)
			nfct_set_attr_u32(ct, ATTR_STATUS, IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED);
		if (e->protocol == IPPROTO_TCP)
			nfct_set_attr_u8(ct, ATTR_TCP_STATE, (uint8_t)e->state);
	}
	if (nfct_query(table, query, ct) != 0)
		fail_msg("conntrack: %s", strerror(errno));
	nfct_destroy(ct);
}

static const struct entry usual = {
	.backend_port = 9001,
	.protocol = IPPROTO_TCP,
	.state = TCP_CONNTRACK_ESTABLISHED,
	.timeout = 432000,
};

static inline struct entry
entry_of(unsigned number, enum color color, enum entrance entrance)
{
	struct entry e = usual;

	e.number = number;
	e.mark = mark_make(TAG, ID, color, entrance, 5);
	if (color == BLUE)
		e.backend_port = 9003;
	return e;
}

static inline void
make(unsigned from, unsigned n, enum color color)
{
	for (unsigned i = from; i < from + n; i++) {
		struct entry e = entry_of(i, color, ENTRANCE_MAIN);

		ask(NFCT_Q_CREATE, &e);
	}
}

/* -- what is seen ---------------------------------------------------------- */

static inline unsigned
count(enum color color)
{
	return (unsigned)flows_count(flows, ID, ENTRANCE_MAIN, color);
}

static inline unsigned
ended(enum color color, enum ending ending)
{
	return (unsigned)service_ended(service, ENTRANCE_MAIN, color, ending);
}

static inline unsigned
connections(enum color color, unsigned i)
{
	return atomic_load(&service->colors[color].backends[i]->connections);
}

static inline void
on_number(void *arg, uint64_t n)
{
	*(int64_t *)arg = (int64_t)n;
}

/* n that was counted. */
static inline int64_t
recount(void)
{
	int64_t n = -1;

	flows_recount(flows, on_number, &n);
	WAIT_UNTIL(loop, n >= 0);
	return n;
}

static inline int64_t
cut(const struct flows_match *m, enum ending ending)
{
	int64_t n = -1;

	flows_cut(flows, m, ending, on_number, &n);
	WAIT_UNTIL(loop, n >= 0);
	return n;
}

static inline uint64_t
in_kernel(void)
{
	FILE *f = fopen("/proc/sys/net/netfilter/nf_conntrack_count", "re");
	unsigned long n = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &n), 1);
	fclose(f);
	return n;
}

/* The log so far; for free(). */
static inline char *
log_text(void)
{
	off_t n = lseek(lines, 0, SEEK_END);
	char *text = calloc(1, (size_t)n + 1);

	assert_non_null(text);
	assert_int_equal(pread(lines, text, (size_t)n, 0), n);
	return text;
}

/* Is there a line with all of these in it? */
static inline bool
has_line(const char *a, const char *b, const char *c)
{
	char *text = log_text(), *save = NULL;
	bool found = false;

	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		found |= strstr(line, a) != NULL && strstr(line, b) != NULL && strstr(line, c) != NULL;
	free(text);
	return found;
}

static inline unsigned
lines_with(const char *what)
{
	char *text = log_text();
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
		n++;
	free(text);
	return n;
}

static inline void
on_holders(void *arg, const struct holders *h)
{
	struct holders *all = arg;

	*all = *h;
	all->list = calloc(h->n + 1, sizeof(*h->list));
	assert_non_null(all->list);
	memcpy(all->list, h->list, h->n * sizeof(*h->list));
}

/* What the test before wrote may be on its way, in another thread's ring: after
 * two turns of the writer it is not. */
static inline void
empty_log(void)
{
	for (int turn = 1; turn <= 2; turn++) {
		LOG_INFO("stage.turn");
		WAIT_UNTIL(loop, lines_with("stage.turn") >= (unsigned)turn);
	}
	assert_int_equal(ftruncate(lines, 0), 0);
	lseek(lines, 0, SEEK_SET);
}

/* -- each test -------------------------------------------------------------- */

static inline int
set_up(void **state)
{
	(void)state;
	if (loop == NULL)
		return 0;
	forget_all();
	empty_log();
	config = (struct config){ .log = { .access = ACCESS_ON, .sample = 1 } };
	service = service_made();
	return 0;
}

static inline int
tear_down(void **state)
{
	(void)state;
	if (loop == NULL)
		return 0;
	flows_close(&flows);
	service_free(&service);
	clock_go();
	return 0;
}

#define NEEDS_ROOT() \
	do { \
		(void)state; \
		if (loop == NULL) \
			skip(); \
	} while (0)

/* Opens and adopts what is there. */
static inline void
begin(double correct_every, double crowded)
{
	open_flows(correct_every, crowded);
	flows_watch(flows, ID, service, 5);
	recount();
}

/* The flows' thread counts once more by itself.  The clock stands: so a count takes
 * no time, and is no reason to wait longer for the next. */
static inline void
await_count(void)
{
	struct flows_usage u;
	double step = 1.1;
	uint64_t dumps;

	flows_usage(flows, &u);
	dumps = u.dumps;
	/* A move that came while it was counting was in vain: another, and a larger one; not so large, however
	 * long the thread has to wait for a CPU, that the clock loses its fractions. */
	while (u.dumps == dumps) {
		clock_move(step);
		step = step < 60 ? step * 2 : step;
		for (int turn = 0; turn < 20 && u.dumps == dumps; turn++) {
			ev_run(loop, EVRUN_ONCE);
			flows_usage(flows, &u);
		}
	}
}

#define STAGED(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
