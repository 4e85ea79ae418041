/* test_handover.c - two proxies, as of two processes: connections go from the workers of one to those of
 * the other, in whatever state, and their bytes go on. */
#include "config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "data/handover.h"
#include "data/lane.h"
#include "data/proxy.h"
#include "model/balance.h"
#include "scaled.h"
#include "wait.h"

#define WORKERS 2
#define SLOTS 4
#define TURNS_USUAL 5
#define TURNS_FULL 50
#define STREAMS 8
#define BULK (256 * 1024)

struct house {
	struct proxy *proxy;
	const struct config *config;
	struct service *services[SLOTS];
	unsigned n, acked[SLOTS];
	bool yielded, given, ends;
};

static struct {
	struct ev_loop *loop;
	struct house house[2];	/* the old and the new one, in turn */
	int backend;	/* a listening socket */
	unsigned backend_port, port;
	const char *name, *more;	/* of the service's configuration */
} town;

/* -- a process -------------------------------------------------------------------- */

static int
listen_at(unsigned *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	socklen_t n = sizeof(a);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static void
on_acked(void *arg, struct engine *e, struct service *s, unsigned thread, uint64_t generation)
{
	struct house *h = arg;

	(void)e, (void)thread;
	if (generation == s->generation)
		h->acked[s->index]++;
}

static void
on_stalled(void *arg, struct engine *e, unsigned thread, double seconds)
{
	(void)seconds;
	if (!((struct house *)arg)->ends)
		e->resume(e, thread);
}

static void
serve(struct house *h, struct service *s, enum color active)
{
	const unsigned n[COLORS] = { (unsigned)s->colors[GREEN].n, (unsigned)s->colors[BLUE].n };
	struct snapshot *snapshot = snapshot_new(++s->generation, 1, active, n);
	struct engine *e = &h->proxy->engine;
	struct why why;

	h->acked[s->index] = 0;
	for (int c = 0; c < COLORS; c++) {
		for (unsigned i = 0; i < n[c]; i++) {
			snapshot->colors[c].usable[i] = backend_ref(s->colors[c].backends[i]);
			snapshot->colors[c].weights[i] = 100;
		}
		balance_prepare(&snapshot->colors[c], NULL);
	}
	if (e->open(e, s, &why) != OK)
		fail_msg("%s", why.text);
	e->publish(e, s, &snapshot);
	WAIT_UNTIL(town.loop, h->acked[s->index] == h->proxy->n_workers);
}

/* Listens, and serves; descriptors: how many clients and backends may have. */
static void
start_with(struct house *h, unsigned workers, uint32_t descriptors)
{
	char *text = must_printf("state_dir = \"/s\"; workers = %u; log: { access = false; }; services = (\n"
				 "{ name = \"%s\"; listen = \"127.0.0.1:%u\"; green: { backends = [\"127.0.0.1:%u\"]; };\n"
				 "blue: { backends = [\"127.0.0.1:%u\"]; }; %s } );\n",
				 workers, town.name, town.port, town.backend_port, town.backend_port, town.more);
	struct why why;

	memset(h, 0, sizeof(*h));
	h->config = config_ref(good(text));
	free(text);
	h->n = (unsigned)h->config->n_services;
	for (unsigned i = 0; i < h->n; i++)
		h->services[i] = service_new(&h->config->services[i], i, workers);
	h->proxy = proxy_new(town.loop, h->config, h->services, h->n, descriptors);
	h->proxy->engine.arg = h;
	h->proxy->engine.on_acked = on_acked;
	h->proxy->engine.on_stalled = on_stalled;
	if (proxy_bind(h->proxy, &why) != OK || proxy_start(h->proxy, &why) != OK)
		fail_msg("%s", why.text);
	for (unsigned i = 0; i < h->n; i++)
		serve(h, h->services[i], GREEN);
}

static void
start(struct house *h)
{
	start_with(h, WORKERS, 2000);
}

static void
stop(struct house *h)
{
	h->ends = true;
	proxy_free(&h->proxy);
	for (unsigned i = 0; i < h->n; i++)
		service_free(&h->services[i]);
	config_unref(&h->config);
}

static void
on_yielded(void *arg)
{
	((struct house *)arg)->yielded = true;
}

static void
on_given(void *arg)
{
	((struct house *)arg)->given = true;
}

static void
yield(struct house *h)
{
	proxy_yield(h->proxy, on_yielded, h);
	WAIT_UNTIL(town.loop, h->yielded);
}

/* A channel for each of its workers: those ends are the other process'. */
static void
give(struct house *from, int ends[])
{
	int ours[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
		ours[i] = pair[0];
		ends[i] = pair[1];
	}
	from->given = false;
	proxy_give(from->proxy, ours, WORKERS, on_given, from);
}

static struct house *
old_house(void)
{
	return &town.house[0];
}

static uint64_t
connections(const struct house *h)
{
	return service_connections(h->services[0], ENTRANCE_MAIN, GREEN) + service_connections(h->services[0], ENTRANCE_MAIN, BLUE);
}

/* A new one takes its address and all that it has; the old one ends. */
static void
upgrade_to(unsigned workers)
{
	struct house *from = &town.house[0], *to = &town.house[1];
	uint32_t held = atomic_load(&from->services[0]->admission.held);
	uint64_t n = connections(from);
	int ends[WORKERS];

	yield(from);
	start_with(to, workers, 2000);
	/* As control does: what the old process still holds is no place for another one. */
	admission_adopt(&to->services[0]->admission, held);
	give(from, ends);
	proxy_take(to->proxy, ends, WORKERS);
	WAIT_UNTIL(town.loop, from->given);
	admission_leave(&to->services[0]->admission, held);
	assert_int_equal(connections(from), 0);
	assert_int_equal(from->proxy->engine.left(&from->proxy->engine), 0);
	assert_int_equal(connections(to), n);
	stop(from);
	town.house[0] = town.house[1];
	town.house[0].proxy->engine.arg = &town.house[0];
}

static void
upgrade(void)
{
	upgrade_to(WORKERS);
}

/* -- streams ------------------------------------------------------------------------- */

struct direction {
	int from, to;
	size_t sent, got;
	bool ended, end_seen;
};

struct stream {
	struct direction up, down;
};

static int
dial(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)town.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static int
reached(void)
{
	int fd = -1;

	WAIT_UNTIL(town.loop, (fd = accept4(town.backend, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
	return fd;
}

static struct stream
connected(void)
{
	int client = dial(), server = reached();

	return (struct stream){ { .from = client, .to = server }, { .from = server, .to = client } };
}

static char
byte_at(size_t i)
{
	return (char)(i * 31 + (i >> 11));
}

/* What the socket takes of the next n bytes. */
static size_t
say(struct direction *d, size_t n)
{
	static char bytes[64 * 1024];
	size_t all = 0;

	while (all < n) {
		size_t part = n - all < sizeof(bytes) ? n - all : sizeof(bytes);
		ssize_t sent;

		for (size_t i = 0; i < part; i++)
			bytes[i] = byte_at(d->sent + i);
		sent = send(d->from, bytes, part, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			assert_int_equal(errno, EAGAIN);
			break;
		}
		d->sent += (size_t)sent;
		all += (size_t)sent;
	}
	return all;
}

/* What is here already, every byte of it right. */
static void
hear(struct direction *d, size_t most)
{
	static char bytes[64 * 1024], expected[64 * 1024];

	while (most > 0 && !d->end_seen) {
		ssize_t n = recv(d->to, bytes, most < sizeof(bytes) ? most : sizeof(bytes), MSG_DONTWAIT);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			return;
		}
		d->end_seen = n == 0;
		for (ssize_t i = 0; i < n; i++)
			expected[i] = byte_at(d->got + (size_t)i);
		assert_memory_equal(bytes, expected, (size_t)n);
		d->got += (size_t)n;
		most -= (size_t)n;
	}
}

static bool
has_arrived(struct direction *d)
{
	hear(d, SIZE_MAX);
	return d->got == d->sent;
}

static void
assert_flows(struct direction *d, size_t n)
{
	(void)say(d, n);
	WAIT_UNTIL(town.loop, has_arrived(d));
}

static void
end(struct direction *d)
{
	d->ended = true;
	assert_int_equal(shutdown(d->from, SHUT_WR), 0);
}

static bool
end_has_come(struct direction *d)
{
	hear(d, SIZE_MAX);
	return d->end_seen && d->got == d->sent;
}

static void
hang_up(struct stream *s)
{
	close(s->up.from);
	close(s->up.to);
}

/* As much as all buffers on the way take, while no byte is read at the end. */
static void
fill(struct direction *d)
{
	unsigned quiet = 0;

	while (quiet < 50) {
		quiet = say(d, BULK) > 0 ? 0 : quiet + 1;
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
}

/* -- set-up -------------------------------------------------------------------------- */

static int
set_up(void **state)
{
	(void)state;
	memset(&town, 0, sizeof(town));
	town.loop = ev_loop_new(EVFLAG_AUTO);
	town.backend = listen_at(&town.backend_port);
	close(listen_at(&town.port));
	town.name = "shop";
	town.more = "";
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	if (town.backend >= 0)
		close(town.backend);
	ev_loop_destroy(town.loop);
	return 0;
}

/* -- stories --------------------------------------------------------------------------- */

static void
test_idle_streams_go_on(void **state)
{
	struct stream s[STREAMS];

	(void)state;
	start(old_house());
	for (unsigned i = 0; i < STREAMS; i++) {
		s[i] = connected();
		assert_flows(&s[i].up, 10);
	}
	for (unsigned turn = 0; turn < (unsigned)scaled(TURNS_USUAL, TURNS_FULL); turn++) {
		upgrade();
		for (unsigned i = 0; i < STREAMS; i++) {
			assert_flows(&s[i].down, 100);
			assert_flows(&s[i].up, 100);
		}
	}
	assert_int_equal(proxy_handed(old_house()->proxy).taken, STREAMS);
	for (unsigned i = 0; i < STREAMS; i++)
		hang_up(&s[i]);
	WAIT_UNTIL(town.loop, connections(old_house()) == 0);
	stop(old_house());
}

/* Bytes are held in memory, or in a pipe when enough of them came. */
static void
test_what_is_held_arrives(void **state)
{
	struct stream s[STREAMS];

	(void)state;
	start(old_house());
	for (unsigned i = 0; i < STREAMS; i++) {
		s[i] = connected();
		fill(i % 2 == 0 ? &s[i].up : &s[i].down);
	}
	for (unsigned turn = 0; turn < (unsigned)scaled(TURNS_USUAL, TURNS_FULL); turn++) {
		upgrade();
		for (unsigned i = 0; i < STREAMS; i++) {
			struct direction *d = i % 2 == 0 ? &s[i].up : &s[i].down;

			/* Some move on a little, the others stay blocked. */
			if (i < STREAMS / 2)
				hear(d, BULK);
			(void)say(d, BULK);
		}
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		WAIT_UNTIL(town.loop, has_arrived(&s[i].up) && has_arrived(&s[i].down));
		assert_flows(&s[i].up, 100);
		assert_flows(&s[i].down, 100);
		hang_up(&s[i]);
	}
	stop(old_house());
}

static void
test_half_closed_streams_stay_half_closed(void **state)
{
	struct stream a, b, full;

	(void)state;
	start(old_house());
	a = connected();
	b = connected();
	full = connected();
	assert_flows(&a.up, 10);
	end(&a.up);
	WAIT_UNTIL(town.loop, end_has_come(&a.up));
	end(&b.down);
	WAIT_UNTIL(town.loop, end_has_come(&b.down));
	/* Its end waits behind what is held. */
	fill(&full.up);
	end(&full.up);
	for (unsigned turn = 0; turn < TURNS_USUAL; turn++) {
		upgrade();
		assert_flows(&a.down, 1000);
		assert_flows(&b.up, 1000);
		assert_flows(&full.down, 1000);
	}
	WAIT_UNTIL(town.loop, end_has_come(&full.up));
	end(&a.down);
	WAIT_UNTIL(town.loop, end_has_come(&a.down));
	end(&b.up);
	WAIT_UNTIL(town.loop, end_has_come(&b.up));
	end(&full.down);
	WAIT_UNTIL(town.loop, end_has_come(&full.down));
	hang_up(&a);
	hang_up(&b);
	hang_up(&full);
	WAIT_UNTIL(town.loop, connections(old_house()) == 0);
	/* Counted once, by the last. */
	assert_int_equal(service_ended(old_house()->services[0], ENTRANCE_MAIN, GREEN, END_DONE), 3);
	stop(old_house());
}

/* Bytes move all the time. */
static void
test_bulk_goes_on_meanwhile(void **state)
{
	struct stream s[STREAMS];

	(void)state;
	start(old_house());
	for (unsigned i = 0; i < STREAMS; i++)
		s[i] = connected();
	for (unsigned turn = 0; turn < (unsigned)scaled(TURNS_USUAL, TURNS_FULL); turn++) {
		for (unsigned k = 0; k < 8; k++)
			for (unsigned i = 0; i < STREAMS; i++) {
				(void)say(&s[i].up, BULK);
				(void)say(&s[i].down, BULK);
				hear(&s[i].up, 2 * BULK);
				hear(&s[i].down, 2 * BULK);
			}
		upgrade_to(1 + turn % WORKERS);
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		WAIT_UNTIL(town.loop, has_arrived(&s[i].up) && has_arrived(&s[i].down));
		hang_up(&s[i]);
	}
	stop(old_house());
}

static void
test_one_that_waits_is_served_by_the_next(void **state)
{
	struct stream first, second;
	int waits;

	(void)state;
	town.more = "max_connections = 1; queue_timeout = 1000.0; queue_limit = 5;";
	start(old_house());
	first = connected();
	waits = dial();
	WAIT_UNTIL(town.loop, service_waiting(old_house()->services[0]) == 1);
	upgrade();
	assert_int_equal(service_waiting(old_house()->services[0]), 1);
	upgrade();
	assert_flows(&first.up, 10);
	hang_up(&first);
	second = (struct stream){ { .from = waits, .to = reached() }, { .to = waits } };
	second.down.from = second.up.to;
	assert_flows(&second.up, 10);
	assert_flows(&second.down, 10);
	assert_int_equal(atomic_load(&old_house()->services[0]->admission.held), 1);
	hang_up(&second);
	stop(old_house());
}

/* First come, first served, over all workers of both processes. */
static void
test_the_queue_keeps_its_order(void **state)
{
	struct stream served;
	int waits[STREAMS];

	(void)state;
	town.more = "max_connections = 1; queue_timeout = 1000.0; queue_limit = 20;";
	start(old_house());
	served = connected();
	for (unsigned i = 0; i < STREAMS; i++) {
		waits[i] = dial();
		WAIT_UNTIL(town.loop, service_waiting(old_house()->services[0]) == i + 1);
		if (i % 2 == 1)
			upgrade();
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		hang_up(&served);
		served = (struct stream){ { .from = waits[i], .to = reached() }, { .to = waits[i] } };
		assert_flows(&served.up, 10);
	}
	hang_up(&served);
	stop(old_house());
}

static void
test_one_that_dials_is_dialed_by_the_next(void **state)
{
	struct stream s;
	int client;

	(void)state;
	town.more = "retries = 100; retry_pause = 0.1; connect_timeout = 60;";
	close(town.backend);
	start(old_house());
	client = dial();
	WAIT_UNTIL(town.loop, connections(old_house()) == 1);
	upgrade();
	upgrade();
	town.backend = listen_at(&town.backend_port);
	s = (struct stream){ { .from = client, .to = reached() }, { .to = client } };
	s.down.from = s.up.to;
	assert_flows(&s.up, 10);
	assert_flows(&s.down, 10);
	hang_up(&s);
	stop(old_house());
}

static void
test_a_header_in_pieces(void **state)
{
	const char *pieces[] = { "PROXY TCP4 10.", "1.2.3 10.4.5.6", " 1234 80\r\n" };
	int client, silent, server;
	char got[16];
	ssize_t n;

	(void)state;
	town.more = "proxy_protocol: { accept_from = [\"127.0.0.0/8\"]; };";
	start(old_house());
	client = dial();
	silent = dial();
	for (unsigned i = 0; i < ARRAY_LEN(pieces); i++) {
		assert_int_equal(send(client, pieces[i], strlen(pieces[i]), MSG_NOSIGNAL), (ssize_t)strlen(pieces[i]));
		if (i + 1 < ARRAY_LEN(pieces)) {
			WAIT_UNTIL(town.loop, connections(old_house()) == 2);
			upgrade();
		}
	}
	assert_int_equal(send(client, "hello", 5, MSG_NOSIGNAL), 5);
	server = reached();
	WAIT_UNTIL(town.loop, (n = recv(server, got, sizeof(got), MSG_DONTWAIT)) > 0);
	assert_int_equal(n, 5);
	assert_memory_equal(got, "hello", 5);
	upgrade();
	close(client);
	close(silent);
	close(server);
	WAIT_UNTIL(town.loop, connections(old_house()) == 0);
	stop(old_house());
}

/* A ClientHello that asks for "shop.test"; returns its length. */
static size_t
write_hello(char out[256])
{
	static const char name[] = "shop.test";
	const size_t n_name = sizeof(name) - 1, extension = n_name + 9, body = 2 + 32 + 1 + 4 + 2 + 2 + extension;
	char *p = out;

	memset(out, 7, 256);
	memcpy(p, (char[]){ 0x16, 3, 1, 0, (char)(body + 4), 1, 0, 0, (char)body, 3, 3 }, 11);
	p += 11 + 32;
	memcpy(p, (char[]){ 0, 0, 2, 0x13, 1, 1, 0, 0, (char)extension }, 9);
	p += 9;
	memcpy(p, (char[]){ 0, 0, 0, (char)(n_name + 5), 0, (char)(n_name + 3), 0, 0, (char)n_name }, 9);
	p += 9;
	memcpy(p, name, n_name);
	return (size_t)(p - out) + n_name;
}

static void
test_a_hello_in_pieces(void **state)
{
	char hello[256], got[256];
	size_t n = write_hello(hello), have = 0;
	int client, server;

	(void)state;
	town.more = "sni = \"shop.test\";";
	start(old_house());
	client = dial();
	for (size_t at = 0; at < n; at += n / 3 + 1) {
		size_t part = n - at < n / 3 + 1 ? n - at : n / 3 + 1;

		assert_int_equal(send(client, hello + at, part, MSG_NOSIGNAL), (ssize_t)part);
		WAIT_UNTIL(town.loop, connections(old_house()) == 1);
		upgrade();
	}
	server = reached();
	while (have < n) {
		ssize_t k;

		WAIT_UNTIL(town.loop, (k = recv(server, got + have, n - have, MSG_DONTWAIT)) > 0);
		have += (size_t)k;
	}
	assert_memory_equal(got, hello, n);
	close(client);
	close(server);
	stop(old_house());
}

/* Its time runs over both processes. */
static void
test_idleness_goes_on(void **state)
{
	struct stream s[STREAMS];
	char byte;

	(void)state;
	town.more = "idle_timeout = 100;";
	start(old_house());
	for (unsigned i = 0; i < STREAMS; i++) {
		s[i] = connected();
		assert_flows(&s[i].up, 10);
	}
	clock_move(60);
	for (unsigned i = 0; i < STREAMS; i += 2)
		assert_flows(&s[i].up, 10);
	upgrade();
	upgrade();
	clock_move(60);
	WAIT_UNTIL(town.loop, connections(old_house()) == STREAMS / 2);
	assert_int_equal(service_ended(old_house()->services[0], ENTRANCE_MAIN, GREEN, END_IDLE), STREAMS / 2);
	for (unsigned i = 0; i < STREAMS; i++) {
		if (i % 2 == 0)
			assert_flows(&s[i].down, 10);
		else
			assert_int_equal(recv(s[i].up.from, &byte, 1, 0), 0);
		hang_up(&s[i]);
	}
	stop(old_house());
}

/* The next process has another backend; and then another service. */
static void
test_a_backend_that_was_removed_keeps_its_streams(void **state)
{
	struct stream s[STREAMS];
	struct backend *b;
	int before;

	(void)state;
	start(old_house());
	for (unsigned i = 0; i < STREAMS; i++)
		s[i] = connected();
	before = town.backend;
	town.backend_port = 0;
	town.backend = listen_at(&town.backend_port);
	for (unsigned turn = 0; turn < 3; turn++) {
		upgrade();
		for (unsigned i = 0; i < STREAMS; i++) {
			assert_flows(&s[i].up, 10);
			assert_flows(&s[i].down, 10);
		}
	}
	b = old_house()->services[0]->colors[GREEN].backends[0];
	assert_int_equal(atomic_load(&b->connections), 0);
	hang_up(&s[0]);
	s[0] = connected();
	assert_int_equal(atomic_load(&b->connections), 1);
	for (unsigned i = 0; i < STREAMS; i++)
		hang_up(&s[i]);
	WAIT_UNTIL(town.loop, connections(old_house()) == 0);
	assert_int_equal(atomic_load(&b->connections), 0);
	close(before);
	stop(old_house());
}

static void
test_a_service_that_is_unknown_there_stays_here(void **state)
{
	struct house *from = &town.house[0], *to = &town.house[1];
	struct stream s;
	int ends[WORKERS];

	(void)state;
	start(from);
	s = connected();
	yield(from);
	town.name = "pay";
	start(to);
	give(from, ends);
	proxy_take(to->proxy, ends, WORKERS);
	WAIT_UNTIL(town.loop, from->given);
	assert_int_equal(connections(from), 1);
	assert_int_equal(proxy_handed(from->proxy).refused, 1);
	/* The new one ends first: the channels close, and it goes on. */
	stop(to);
	assert_flows(&s.up, 10);
	assert_flows(&s.down, 10);
	hang_up(&s);
	WAIT_UNTIL(town.loop, connections(from) == 0);
	stop(from);
}

/* -- the other process is the test ------------------------------------------------------ */

struct message {
	uint64_t id;
	uint16_t type, kind;
	uint32_t more;
	char fields[64 * 1024];
	size_t n;	/* of all before it */
};

/* The next offer that comes by one of the ends, and its descriptors; its end. */
static int
receive_offer(const int ends[], struct message *m, int fds[HANDOVER_FDS], unsigned *n_fds)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(HANDOVER_FDS * sizeof(int))];
	} control;
	struct iovec part = { m, offsetof(struct message, n) };
	struct msghdr h;
	ssize_t n = -1;
	int from = -1;

	do {
		WAIT_UNTIL(town.loop, ({
				   for (unsigned i = 0; i < WORKERS && n <= 0; i++) {
					   h = (struct msghdr){ .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
								.msg_controllen = sizeof(control) };
					   n = recvmsg(ends[i], &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
					   from = ends[i];
				   }
				   n > 0;
			   }));
		n = m->more ? -1 : n;
	} while (n < 0);
	*n_fds = (unsigned)((control.head.cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fds, CMSG_DATA(&control.head), *n_fds * sizeof(int));
	assert_int_equal(m->type, 1);
	m->n = (size_t)n;
	return from;
}

static void
answer(int end, uint64_t id, uint16_t type, uint16_t kind)
{
	const struct {
		uint64_t id;
		uint16_t type, kind;
		uint32_t more;
	} reply = { id, type, kind, 0 };

	assert_int_equal(send(end, &reply, sizeof(reply), MSG_NOSIGNAL), (ssize_t)sizeof(reply));
}

static void
close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static void
test_a_partner_that_dies_before_its_answer_leaves_all_here(void **state)
{
	int ends[WORKERS], fds[HANDOVER_FDS];
	struct stream s;
	struct message m;
	unsigned n;

	(void)state;
	start(old_house());
	s = connected();
	fill(&s.up);
	yield(old_house());
	for (unsigned turn = 0; turn < 3; turn++) {
		give(old_house(), ends);
		(void)receive_offer(ends, &m, fds, &n);
		assert_true(n >= 2);
		close_all(fds, n);
		close_all(ends, WORKERS);
		WAIT_UNTIL(town.loop, old_house()->given);
		assert_int_equal(connections(old_house()), 1);
		assert_int_equal(proxy_handed(old_house()->proxy).broken, turn + 1);
		assert_flows(&s.down, 100);
	}
	WAIT_UNTIL(town.loop, has_arrived(&s.up));
	assert_flows(&s.up, 100);
	hang_up(&s);
	stop(old_house());
}

static void
test_a_partner_that_dies_after_its_answer_has_it(void **state)
{
	int ends[WORKERS], fds[HANDOVER_FDS], end_of_it;
	struct stream s;
	struct message m;
	char byte = 'x';
	unsigned n;

	(void)state;
	start(old_house());
	s = connected();
	yield(old_house());
	give(old_house(), ends);
	end_of_it = receive_offer(ends, &m, fds, &n);
	answer(end_of_it, m.id, 2, 0);
	close_all(ends, WORKERS);
	WAIT_UNTIL(town.loop, old_house()->given);
	assert_int_equal(connections(old_house()), 0);
	assert_int_equal(proxy_handed(old_house()->proxy).given, 1);
	assert_int_equal(old_house()->proxy->engine.left(&old_house()->proxy->engine), 0);
	/* The old process does not end it, with whatever happens on it. */
	assert_int_equal(send(s.up.from, &byte, 1, MSG_NOSIGNAL), 1);
	stop(old_house());
	assert_int_equal(recv(s.up.from, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(recv(fds[0], &byte, 1, 0), 1);
	assert_int_equal(send(fds[0], &byte, 1, MSG_NOSIGNAL), 1);
	WAIT_UNTIL(town.loop, recv(s.up.from, &byte, 1, MSG_DONTWAIT) == 1);
	close_all(fds, n);
	hang_up(&s);
}

static void
test_what_is_refused_goes_on_here(void **state)
{
	int ends[WORKERS], fds[HANDOVER_FDS], from;
	struct stream s;
	struct message m;
	unsigned n;

	(void)state;
	start(old_house());
	s = connected();
	yield(old_house());
	give(old_house(), ends);
	/* For want of something: it is offered again. */
	for (unsigned turn = 0; turn < 3; turn++) {
		from = receive_offer(ends, &m, fds, &n);
		close_all(fds, n);
		answer(from, m.id, 3, HANDOVER_LATER);
		assert_flows(&s.up, 100);
		assert_flows(&s.down, 100);
		clock_move(1.1);
	}
	/* For good. */
	from = receive_offer(ends, &m, fds, &n);
	close_all(fds, n);
	answer(from, m.id, 3, HANDOVER_NOT);
	WAIT_UNTIL(town.loop, old_house()->given);
	assert_int_equal(proxy_handed(old_house()->proxy).refused, 4);
	assert_int_equal(connections(old_house()), 1);
	assert_flows(&s.up, 100);
	assert_flows(&s.down, 100);
	close_all(ends, WORKERS);
	hang_up(&s);
	stop(old_house());
}

/* One that the test offers, or what it takes for one. */
static void
test_nonsense_is_refused_and_closed(void **state)
{
	struct {
		uint64_t id;
		uint16_t type, kind;
		uint32_t more;
		char fields[64];
	} m = { 7, 1, HANDOVER_SESSION, 0, "no fields at all" }, reply;
	int pair[WORKERS][2], ends[WORKERS];

	(void)state;
	start(old_house());
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair[i]), 0);
		ends[i] = pair[i][0];
	}
	proxy_take(old_house()->proxy, ends, WORKERS);
	for (uint16_t kind = 0; kind < 9; kind++) {
		m.kind = kind;
		assert_int_equal(send(pair[0][1], &m, sizeof(m), MSG_NOSIGNAL), (ssize_t)sizeof(m));
		WAIT_UNTIL(town.loop, recv(pair[0][1], &reply, sizeof(reply), MSG_DONTWAIT) > 0);
		assert_int_equal(reply.id, 7);
		assert_int_equal(reply.type, 3);
		assert_int_equal(reply.kind, HANDOVER_NOT);
	}
	m.type = 99;
	assert_int_equal(send(pair[0][1], &m, sizeof(m), MSG_NOSIGNAL), (ssize_t)sizeof(m));
	WAIT_UNTIL(town.loop, recv(pair[0][1], &reply, sizeof(reply), MSG_DONTWAIT) == 0);
	for (unsigned i = 0; i < WORKERS; i++)
		close(pair[i][1]);
	stop(old_house());
}

static void
send_offer(int end, const struct message *m, const int *fds, unsigned n)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(HANDOVER_FDS * sizeof(int))];
	} control = { 0 };
	struct iovec part = { (void *)(uintptr_t)m, m->n };
	struct msghdr h = { .msg_iov = &part, .msg_iovlen = 1 };

	if (n > 0) {
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, n * sizeof(int));
	}
	assert_int_equal(sendmsg(end, &h, MSG_NOSIGNAL), (ssize_t)m->n);
}

/* TAKEN cannot be sent yet: the old process might still go on with it, so not one byte may move. */
static void
test_nothing_moves_before_the_answer_is_sent(void **state)
{
	static struct message m;
	struct house *from = &town.house[0], *to = &town.house[1];
	int ends[WORKERS], pair[2], fds[HANDOVER_FDS];
	char junk[64] = { 0 };
	struct stream s, other;
	unsigned n;

	(void)state;
	start(from);
	s = connected();
	yield(from);
	give(from, ends);
	(void)receive_offer(ends, &m, fds, &n);
	stop(from);
	close_all(ends, WORKERS);
	start_with(to, 1, 2000);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	while (send(pair[0], junk, sizeof(junk), MSG_NOSIGNAL) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	proxy_take(to->proxy, (int[]){ pair[0] }, 1);
	(void)say(&s.up, 100);
	(void)say(&s.down, 100);
	send_offer(pair[1], &m, fds, n);
	close_all(fds, n);
	WAIT_UNTIL(town.loop, connections(to) == 1);
	/* The same worker serves another one meanwhile. */
	other = connected();
	for (unsigned turn = 0; turn < 3; turn++) {
		assert_flows(&other.up, 10);
		assert_flows(&other.down, 10);
	}
	assert_false(has_arrived(&s.up) || has_arrived(&s.down));
	assert_int_equal(s.up.got + s.down.got, 0);
	assert_int_equal(proxy_handed(to->proxy).taken, 0);
	WAIT_UNTIL(town.loop, recv(pair[1], junk, sizeof(junk), MSG_DONTWAIT) == offsetof(struct message, fields));
	assert_memory_equal(junk, &m.id, sizeof(m.id));
	assert_int_equal(junk[8], 2);
	WAIT_UNTIL(town.loop, has_arrived(&s.up) && has_arrived(&s.down));
	close(pair[1]);
	hang_up(&s);
	hang_up(&other);
	WAIT_UNTIL(town.loop, connections(to) == 0);
	stop(to);
}

/* Real ones with some bytes that are not: each is answered for, and nothing is left of it. */
static void
test_offers_with_wrong_bytes(void **state)
{
	static struct message real[2], wrong;
	struct house *from = &town.house[0], *to = &town.house[1];
	int ends[WORKERS], pair[2], other[2], fds[HANDOVER_FDS], with[3], at;
	struct stream s = { 0 };
	unsigned n, taken = 0;
	char reply[64];

	(void)state;
	town.more = "queue_timeout = 1000.0; queue_limit = 5; max_connections = 1;";
	start(from);
	s = connected();
	assert_flows(&s.up, 10);
	at = dial();
	WAIT_UNTIL(town.loop, service_waiting(from->services[0]) == 1);
	yield(from);
	give(from, ends);
	for (unsigned i = 0; i < 2; i++) {
		int end_of_it = receive_offer(ends, &real[i], fds, &n);

		close_all(fds, n);
		answer(end_of_it, real[i].id, 3, HANDOVER_NOT);
	}
	WAIT_UNTIL(town.loop, from->given);
	close_all(ends, WORKERS);
	close(at);
	hang_up(&s);
	stop(from);
	start(to);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	proxy_take(to->proxy, (int[]){ pair[0] }, 1);
	for (unsigned round = 0; round < (unsigned)scaled(400, 10000); round++) {
		ssize_t got;

		wrong = real[round % 2];
		for (unsigned k = 0; k < round % 4; k++)
			wrong.fields[(size_t)random() % (wrong.n - offsetof(struct message, fields))] = (char)random();
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, other), 0);
		with[0] = other[0];
		with[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		with[2] = other[1];
		send_offer(pair[1], &wrong, with, round % 3 + 1);
		close_all(with, 3);
		WAIT_UNTIL(town.loop, (got = recv(pair[1], reply, sizeof(reply), MSG_DONTWAIT)) > 0);
		assert_memory_equal(reply, &wrong.id, sizeof(wrong.id));
		taken += reply[8] == 2;
	}
	assert_true(taken > 0);
	close(pair[1]);
	stop(to);
}

/* The new process has room for some of them only: the others stay, and come when there is room. */
static void
test_what_finds_no_descriptors_comes_later(void **state)
{
	struct house *from = &town.house[0], *to = &town.house[1];
	struct stream s[STREAMS];
	int ends[WORKERS];

	(void)state;
	start(from);
	for (unsigned i = 0; i < STREAMS; i++)
		s[i] = connected();
	yield(from);
	start_with(to, WORKERS, STREAMS);
	give(from, ends);
	proxy_take(to->proxy, ends, WORKERS);
	WAIT_UNTIL(town.loop, proxy_handed(from->proxy).refused > 0 && connections(from) == STREAMS / 2 && connections(to) == STREAMS / 2);
	for (unsigned i = 0; i < STREAMS; i++) {
		assert_flows(&s[i].up, 100);
		assert_flows(&s[i].down, 100);
	}
	/* Each that leaves makes room for another one. */
	for (unsigned i = 0; i < STREAMS; i++) {
		assert_flows(&s[i].up, 100);
		hang_up(&s[i]);
		clock_move(1.1);
	}
	WAIT_UNTIL(town.loop, connections(from) == 0 && connections(to) == 0);
	stop(from);
	stop(to);
}

/* A color that drains in the new process, before the connection comes. */
static void
test_one_that_comes_late_to_a_drain_is_drained(void **state)
{
	struct house *from = &town.house[0], *to = &town.house[1];
	const struct drain_orders orders = { .at = clock_now(), .timeout = 0, .ending = END_DRAINED };
	struct engine *e;
	struct stream s;
	int ends[WORKERS];
	char byte;

	(void)state;
	start(from);
	s = connected();
	yield(from);
	start(to);
	serve(to, to->services[0], BLUE);
	e = &to->proxy->engine;
	e->drain(e, to->services[0], GREEN, &orders);
	WAIT_UNTIL(town.loop, connections(to) == 0);
	give(from, ends);
	proxy_take(to->proxy, ends, WORKERS);
	WAIT_UNTIL(town.loop, from->given && proxy_handed(to->proxy).taken == 1);
	WAIT_UNTIL(town.loop, service_ended(to->services[0], ENTRANCE_MAIN, GREEN, END_DRAINED) == 1);
	assert_true(recv(s.up.from, &byte, 1, 0) <= 0);
	hang_up(&s);
	stop(from);
	stop(to);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_idle_streams_go_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_held_arrives, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_half_closed_streams_stay_half_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bulk_goes_on_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_that_waits_is_served_by_the_next, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_queue_keeps_its_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_that_dials_is_dialed_by_the_next, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_header_in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_hello_in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_idleness_goes_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_backend_that_was_removed_keeps_its_streams, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_service_that_is_unknown_there_stays_here, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_partner_that_dies_before_its_answer_leaves_all_here, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_partner_that_dies_after_its_answer_has_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_refused_goes_on_here, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nonsense_is_refused_and_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_moves_before_the_answer_is_sent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_offers_with_wrong_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_finds_no_descriptors_comes_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_that_comes_late_to_a_drain_is_drained, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
