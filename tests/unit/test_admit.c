/* test_admit.c - whatever way a connection takes, its permit counts what it
 * holds, and nothing is counted once it is released. */
#include "config_file.h"

#include "base/hash.h"
#include "data/admit.h"
#include "data/lane.h"
#include "data/port.h"
#include "data/proxy.h"
#include "scaled.h"

#define PERMITS 48
#define PLACES 9	/* of shop, the larger one */
#define SLOTS 5
#define SOURCE 4
#define DESCRIPTORS 70
#define CLIENTS 46	/* max_connections of the process */

/* Two services on one listener, and shop's preview; two workers. */
static const char text[] =
	"state_dir = \"/s\"; workers = 2; max_connections = 46; log: { access = false; }; services = (\n"
	"{ name = \"shop\"; mode = \"tcp\"; listen = \"127.0.0.1:80\"; sni = \"shop\"; preview = \"127.0.0.1:79\";\n"
	"  max_connections = 9; max_connections_per_source = 4; queue_timeout = 60; queue_limit = 5;\n"
	"  deny = \"10.0.0.1\"; source_prefix6 = 64;\n"
	"  green: { backends = [\"127.0.0.1:81\"]; }; blue: { backends = [\"127.0.0.1:82\"]; }; },\n"
	"{ name = \"pay\"; mode = \"tcp\"; listen = \"127.0.0.1:80\"; sni = \"pay\"; max_connections = 3;\n"
	"  max_connections_per_source = 2; deny = \"10.0.0.1\"; source_prefix6 = 48;\n"
	"  green: { backends = [\"127.0.0.1:83\"]; }; blue: { backends = [\"127.0.0.1:84\"]; }; } );\n";

struct street {
	struct ev_loop *loop;
	struct service *services[2];
	struct proxy *proxy;
	struct permit permits[PERMITS];
	bool used[PERMITS];
	uint64_t random;
};

static struct street *
street_new(void)
{
	struct street *st = must_alloc(sizeof(*st));
	const struct config *config = good(text);
	const unsigned none[COLORS] = { 0, 0 };

	st->loop = ev_loop_new(EVFLAG_AUTO);
	st->random = 15;
	for (unsigned i = 0; i < 2; i++)
		st->services[i] = service_new(&config->services[i], i, 2);
	st->proxy = proxy_new(st->loop, config, st->services, 2, DESCRIPTORS);
	/* Of these some are the pipes'. */
	st->proxy->descriptors.limit = DESCRIPTORS;
	for (unsigned i = 0; i < 2; i++) {
		struct worker *w = &st->proxy->workers[i];

		w->self = pthread_self();
		for (size_t b = 0; b < st->proxy->n_ports; b++)
			worker_add_listener(w, st->proxy->ports[b]->binding, st->proxy->ports[b]->admit, -1);
		for (unsigned l = 0; l < 2; l++) {
			struct snapshot *snapshot = snapshot_new(1, 1, GREEN, none);

			snapshot->colors[GREEN].equal = snapshot->colors[BLUE].equal = true;
			lane_take_snapshot(w->lanes[l], &snapshot);
		}
	}
	return st;
}

static void
street_free(struct street *st)
{
	proxy_free(&st->proxy);
	for (unsigned i = 0; i < 2; i++)
		service_free(&st->services[i]);
	ev_loop_destroy(st->loop);
	free(st);
}

static unsigned
pick(struct street *st, unsigned n)
{
	return (unsigned)(random_next(&st->random) % n);
}

static struct addr
someone(struct street *st)
{
	char ip[64];
	struct addr a;

	if (pick(st, 2) == 0)
		snprintf(ip, sizeof(ip), "10.0.0.%u", 1 + pick(st, 6));
	else
		snprintf(ip, sizeof(ip), "2001:db8:%u:%u::%u", pick(st, 2), pick(st, 2), pick(st, 5));
	assert_true(addr_parse_ip(ip, 1000, &a));
	return a;
}

/* What all permits hold together is what the limits count. */
static void
assert_counted(const struct street *st)
{
	unsigned places[2] = { 0, 0 }, slots[2] = { 0, 0 }, sources[2] = { 0, 0 }, descriptors = 0, clients = 0;

	for (int i = 0; i < PERMITS; i++) {
		const struct permit *p = &st->permits[i];
		unsigned s;

		if (!st->used[i])
			continue;
		s = p->lane->service->index;
		places[s] += p->place;
		slots[s] += p->queued;
		sources[s] += p->source;
		descriptors += p->descriptors;
		clients += p->descriptors > 0;
		assert_false(p->preview && (p->listed || p->place || p->source || p->queued));
	}
	for (int s = 0; s < 2; s++) {
		assert_int_equal(atomic_load(&st->services[s]->admission.held), places[s]);
		assert_int_equal(atomic_load(&st->services[s]->queue.held), slots[s]);
		assert_true(source_counts_size(st->services[s]->source_counts) <= sources[s]);
		assert_int_equal(source_counts_size(st->services[s]->source_counts) == 0, sources[s] == 0);
		assert_true(places[s] <= st->services[s]->config->max_connections && slots[s] <= SLOTS);
	}
	assert_int_equal(atomic_load(&st->proxy->descriptors.held), descriptors);
	assert_int_equal(atomic_load(&st->proxy->clients.held), clients);
	assert_true(clients <= CLIENTS);
}

/* An accept: NULL without descriptors, or at the limit of the process. */
static struct permit *
come(struct street *st, int i)
{
	struct worker *w = &st->proxy->workers[pick(st, 2)];
	struct addr peer = someone(st);

	w->starved = false;
	if (!worker_take_client(w))
		return NULL;
	permit_init(&st->permits[i], w->listeners[pick(st, 4) == 0], &peer);
	st->used[i] = true;
	return &st->permits[i];
}

/* One step of a connection, of those that its owners may take. */
static void
step(struct street *st, int i)
{
	struct permit *p = &st->permits[i];
	enum ending why;
	bool in;
	int to;

	(void)in;	/* what it holds tells */
	switch (pick(st, 10)) {
	case 0:
		if (!p->place && !p->queued && !p->admitted)
			in = permit_enter(p, &why);
		return;
	case 1:
		if (!p->admitted && !p->queued && !p->source)
			in = permit_ask(p, &why) != ADMIT_NO;
		return;
	case 2:
		(void)permit_hold(p, 1 + pick(st, 2));
		return;
	case 3:	/* another owner */
		to = (int)pick(st, PERMITS);
		if (!st->used[to]) {
			permit_move(&st->permits[to], p);
			assert_true(permit_is_empty(p));
			permit_release(p);
			st->used[to] = true;
			st->used[i] = false;
		}
		return;
	case 4:
		if (!p->queued)
			in = permit_turn(p, p->lane->worker->lanes[pick(st, 2)], &why);
		return;
	case 5:	/* all backends are full */
		if (p->place && permit_queue(p))
			permit_drop_place(p);
		return;
	case 6:	/* a place came free */
		if (p->queued && !p->place && admission_enter(&p->lane->service->admission, 1))
			permit_take_turn(p);
		return;
	case 7:
		permit_refuse(p, END_LIMIT, 0, STR(""));
		assert_false(p->listed || p->place || p->source || p->queued);
		return;
	default:
		permit_release(p);
		permit_release(p);
		assert_true(permit_is_empty(p));
		st->used[i] = false;
	}
}

static void
test_what_is_held_is_counted_and_nothing_is_left(void **state)
{
	struct street *st = street_new();
	unsigned full[2] = { 0, 0 };

	(void)state;
	for (unsigned n = scaled(20000, 400000), few = n / 4; n > 0; n--) {
		int i = (int)pick(st, PERMITS);

		/* Those who are in stay, and no other comes until they are fewer. */
		if (n == few)
			admission_set_limit(&st->proxy->clients, CLIENTS / 4);
		if (st->used[i])
			step(st, i);
		else
			(void)come(st, i);
		assert_counted(st);
		for (int s = 0; s < 2; s++)
			full[s] += admission_is_full(&st->services[s]->admission);
	}
	/* The limits were reached. */
	assert_true(full[0] > 0 && full[1] > 0 && atomic_load(&st->services[0]->queue.refused) > 0);
	assert_true(atomic_load(&st->proxy->descriptors.refused) > 0);
	assert_true(atomic_load(&st->proxy->clients.refused) > 0);
	for (int i = 0; i < PERMITS; i++) {
		if (st->used[i])
			permit_release(&st->permits[i]);
		st->used[i] = false;
	}
	assert_counted(st);
	street_free(st);
}

/* Each takes that limit from another address: *n says how many got in. */
static enum ending
fill(struct street *st, bool (*enter)(struct permit *, enum ending *), unsigned *n)
{
	enum ending why = END_DONE;

	for (*n = 0; *n < PERMITS; ++*n) {
		struct worker *w = &st->proxy->workers[*n % 2];
		struct addr peer;
		char ip[32];

		snprintf(ip, sizeof(ip), "10.1.0.%u", *n);
		assert_true(addr_parse_ip(ip, 1000, &peer));
		assert_true(worker_take_client(w));
		permit_init(&st->permits[*n], w->listeners[0], &peer);
		if (!enter(&st->permits[*n], &why))
			break;
	}
	for (unsigned i = 0; i <= *n; i++)
		permit_release(&st->permits[i]);
	return why;
}

static bool
ask(struct permit *p, enum ending *why)
{
	return permit_ask(p, why) != ADMIT_NO;
}

static void
test_limits_are_exact_and_whole_again_after_a_release(void **state)
{
	struct street *st = street_new();

	(void)state;
	for (int round = 0; round < 3; round++) {
		unsigned n;

		/* The listener has room for those who may wait, too. */
		assert_int_equal(fill(st, permit_enter, &n), END_LIMIT);
		assert_int_equal(n, PLACES + SLOTS);
		assert_int_equal(fill(st, ask, &n), END_LIMIT);
		assert_int_equal(n, PLACES + SLOTS);
		assert_counted(st);
	}
	street_free(st);
}

static void
test_one_source_has_its_share_and_a_denied_one_nothing(void **state)
{
	struct street *st = street_new();
	struct listener *li = st->proxy->workers[0].listeners[0];
	struct permit p[SOURCE + 1];
	struct addr peer;
	enum ending why;

	(void)state;
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i <= SOURCE; i++) {
			/* Of one network, by shop's source_prefix6; which is the listener's, too. */
			char ip[32];

			snprintf(ip, sizeof(ip), "2001:db8::%d", i + 1);
			assert_true(addr_parse_ip(ip, 1000, &peer));
			assert_true(worker_take_client(li->worker));
			permit_init(&p[i], li, &peer);
			assert_int_equal((round % 2 == 0 ? ask : permit_enter)(&p[i], &why), i < SOURCE);
		}
		assert_int_equal(why, END_SOURCE_LIMIT);
		for (int i = 0; i <= SOURCE; i++)
			permit_release(&p[i]);
	}
	assert_true(addr_parse_ip("10.0.0.1", 1000, &peer));
	assert_true(worker_take_client(li->worker));
	permit_init(&p[0], li, &peer);
	assert_false(permit_enter(&p[0], &why));
	assert_int_equal(why, END_DENIED);
	assert_int_equal(permit_ask(&p[0], &why), ADMIT_NO);
	assert_int_equal(why, END_DENIED);
	permit_release(&p[0]);
	assert_counted(st);
	street_free(st);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_held_is_counted_and_nothing_is_left),
		cmocka_unit_test(test_limits_are_exact_and_whole_again_after_a_release),
		cmocka_unit_test(test_one_source_has_its_share_and_a_denied_one_nothing),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
