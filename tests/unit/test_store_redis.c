/* test_store_redis.c - the store of a fleet against a real redis-server: two
 * tealds' stores on one server, and what becomes of records, writes and members. */
#include "redis_server.h"

#include <hiredis/hiredis.h>

#include "base/log.h"
#include "store/store_redis.h"
#include "wait.h"

#define PREFIX "t:x"
#define KEY PREFIX ":service:shop"

/* One teald: its store, and what the store said. */
struct teald {
	struct store *store;
	char dir[96];
	struct config config;
	struct service_config service;
	struct record record, pay;
	struct service_config services[2];	/* of another configuration */
	struct config other;
	char *rename;	/* the former name of "pay" */
	struct pool_config pool;
	struct overlay nodes;
	unsigned told, ready;
	bool may_obey;
	const char *refuses;	/* a service of which it may not; NULL: none */
	uint64_t applied;
};

static struct {
	char dir[64];
	struct ev_loop *loop;
	struct jobs *jobs;
	struct redis_server server;
	redisContext *own;	/* the test's own questions */
	struct teald a, b;
} t;

static void
on_record(void *arg, const char *service, const struct record *r)
{
	struct teald *d = arg;

	if (strcmp(service, "pay") == 0) {
		d->pay = *r;
		return;
	}
	assert_string_equal(service, "shop");
	d->record = *r;
	d->told++;
}

static void
on_nodes(void *arg, const char *pool, const struct overlay *now)
{
	assert_string_equal(pool, "main");
	overlay_copy(&((struct teald *)arg)->nodes, now);
}

static void
on_ready(void *arg)
{
	((struct teald *)arg)->ready++;
}

static bool
may_obey(void *arg, const char *service, enum color to)
{
	(void)to;
	if (((struct teald *)arg)->refuses != NULL && strcmp(service, ((struct teald *)arg)->refuses) == 0)
		return false;
	return ((struct teald *)arg)->may_obey;
}

static void
describe(void *arg, struct fleet_member *self)
{
	struct teald *d = arg;

	if (self->services == NULL)
		self->services = must_array(1, sizeof(*self->services));
	self->n = 1;
	self->ready = true;
	str_copy(self->services[0].name, sizeof(self->services[0].name), STR("shop"));
	self->services[0].applied = d->applied;
}

static void
teald_open(struct teald *d, const char *name, bool assume_initial)
{
	struct why why;

	d->told = d->ready = 0;
	d->may_obey = true;
	d->service = (struct service_config){ .name = (char *)"shop", .initial = GREEN, .labels_json = (char *)"" };
	d->config = (struct config){ .state_dir = d->dir, .services = &d->service, .n_services = 1 };
	d->pool = (struct pool_config){ .name = (char *)"main" };
	d->config.pools = &d->pool;
	d->config.n_pools = 1;
	d->config.store = (struct store_config){ .type = STORE_REDIS, .prefix = (char *)PREFIX, .max_age = NEVER,
						 .connect_timeout = NEVER, .command_timeout = NEVER };
	snprintf(d->dir, sizeof(d->dir), "%s/%s", t.dir, name);
	snprintf(d->config.store.path, sizeof(d->config.store.path), "%s/redis.sock", t.dir);
	d->store = store_redis_new(&d->config, t.jobs, assume_initial);
	d->store->on_record = on_record;
	d->store->on_nodes = on_nodes;
	d->store->on_ready = on_ready;
	d->store->may_obey = may_obey;
	d->store->describe = describe;
	d->store->arg = d;
	if (mkdir(d->dir, 0700) != 0)
		assert_int_equal(errno, EEXIST);
	if (d->store->open(d->store, &why) != OK)
		fail_msg("%s", why.text);
}

static void
connect_own(void)
{
	char path[108];

	if (t.own != NULL)
		redisFree(t.own);
	snprintf(path, sizeof(path), "%s/redis.sock", t.dir);
	t.own = redisConnectUnix(path);
	assert_non_null(t.own);
	assert_int_equal(t.own->err, 0);
}

static int
begin(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	clock_pass();
	snprintf(t.dir, sizeof(t.dir), "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	t.loop = ev_loop_new(0);
	t.jobs = jobs_new(t.loop, 1);
	redis_server_start(&t.server, t.dir, "redis", "");
	connect_own();
	return 0;
}

static int
end(void **state)
{
	char command[128];

	(void)state;
	if (t.a.store != NULL)
		t.a.store->close(&t.a.store);
	if (t.b.store != NULL)
		t.b.store->close(&t.b.store);
	overlay_free(&t.a.nodes);
	overlay_free(&t.b.nodes);
	jobs_free(&t.jobs);
	if (t.own != NULL)
		redisFree(t.own);
	redis_server_stop(&t.server);
	ev_loop_destroy(t.loop);
	clock_go();
	snprintf(command, sizeof(command), "rm -rf %s", t.dir);
	return system(command);
}

/* The answer as text, "" for nil; valid until the next one. */
static const char *
ask(const char *format, ...)
{
	static char text[512];
	redisReply *r;
	va_list ap;

	va_start(ap, format);
	r = redisvCommand(t.own, format, ap);
	va_end(ap);
	assert_non_null(r);
	if (r->type == REDIS_REPLY_INTEGER)
		snprintf(text, sizeof(text), "%lld", r->integer);
	else
		snprintf(text, sizeof(text), "%s", r->str != NULL ? r->str : "");
	freeReplyObject(r);
	return text;
}

static bool
stored(const char *color, const char *epoch)
{
	char is[16];

	snprintf(is, sizeof(is), "%s", ask("HGET " KEY " epoch"));
	return strcmp(is, epoch) == 0 && strcmp(ask("HGET " KEY " color"), color) == 0;
}

struct answer {
	unsigned times;
	enum err e;
	struct record now;
	struct why why;
};

static void
on_written(void *arg, enum err e, const struct record *now, const struct why *why)
{
	struct answer *a = arg;

	a->times++;
	a->e = e;
	if (now != NULL)
		a->now = *now;
	if (why != NULL)
		a->why = *why;
}

static void
begin_write(struct teald *d, struct store_write *w, struct answer *a)
{
	*a = (struct answer){ 0 };
	w->service = "shop";
	snprintf(w->entry.service, sizeof(w->entry.service), "shop");
	snprintf(w->entry.result, sizeof(w->entry.result), "ok");
	w->entry.epoch = w->next.epoch;
	d->store->write(d->store, w, on_written, a);
}

static struct store_write
flip_to(const struct teald *d, enum color to)
{
	struct store_write w = { .expect_epoch = d->record.epoch, .next = d->record };

	w.next.color = to;
	w.next.epoch++;
	w.next.revision[0] = '\0';
	w.next.change = CHANGE_FLIP;
	w.next.at_us = clock_wall_us();
	snprintf(w.next.by, sizeof(w.next.by), "ci");
	w.entry.to = to;
	return w;
}

static struct answer
flip(struct teald *d, enum color to)
{
	struct store_write w = flip_to(d, to);
	struct answer a;

	begin_write(d, &w, &a);
	WAIT_UNTIL(t.loop, a.times > 0);
	return a;
}

static struct answer
lock(struct teald *d, bool on)
{
	struct store_write w = { .means = STORE_LOCK, .expect_epoch = d->record.epoch, .next = d->record };
	struct answer a;

	w.next.lock.on = on;
	w.next.lock.at_us = 5;
	w.entry.change = on ? CHANGE_LOCK : CHANGE_UNLOCK;
	begin_write(d, &w, &a);
	WAIT_UNTIL(t.loop, a.times > 0);
	return a;
}

#define MINE "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHERS "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

/* until_us: of the claim; 0: it is released.  token: what is presented. */
static struct answer
claim(struct teald *d, const char *hash, int64_t until_us, const char *token)
{
	struct store_write w = { .means = STORE_CLAIM,
				 .token = token,
				 .expect_epoch = d->record.epoch,
				 .next = d->record };
	struct answer a;

	memset(&w.next.claim, 0, sizeof(w.next.claim));
	if (until_us > 0) {
		w.next.claim.on = true;
		w.next.claim.epoch = d->record.epoch;
		w.next.claim.at_us = 5;
		w.next.claim.until_us = until_us;
		strcpy(w.next.claim.by, "ci");
		strcpy(w.next.claim.reason, "deploy \"1\"");
		strcpy(w.next.claim.token, hash);
	}
	w.entry.change = until_us > 0 ? CHANGE_CLAIM : CHANGE_RELEASE;
	begin_write(d, &w, &a);
	WAIT_UNTIL(t.loop, a.times > 0);
	return a;
}

/* until_us 0: it is let go.  name: of the hold that it takes to be on; NULL: none. */
static struct answer
hold(struct teald *d, int64_t until_us, const char *name)
{
	struct store_write w = flip_to(d, GREEN);
	struct answer a;

	w.means = STORE_HOLD;
	w.token = name;
	w.next = d->record;
	memset(&w.next.hold, 0, sizeof(w.next.hold));
	w.next.hold.on = until_us > 0;
	if (until_us > 0) {
		w.next.hold.epoch = d->record.epoch;
		w.next.hold.at_us = 5;
		w.next.hold.until_us = until_us;
		strcpy(w.next.hold.by, "ci");
	}
	w.entry.change = until_us > 0 ? CHANGE_HOLD : CHANGE_UNHOLD;
	begin_write(d, &w, &a);
	WAIT_UNTIL(t.loop, a.times > 0);
	return a;
}

static struct answer
flip_with(struct teald *d, enum color to, const char *token)
{
	struct store_write w = flip_to(d, to);
	struct answer a;

	w.token = token;
	if (token != NULL)
		w.next.claim.on = false;
	begin_write(d, &w, &a);
	WAIT_UNTIL(t.loop, a.times > 0);
	return a;
}

static void
both(void)
{
	teald_open(&t.a, "a", false);
	WAIT_UNTIL(t.loop, t.a.ready > 0);
	teald_open(&t.b, "b", false);
	WAIT_UNTIL(t.loop, t.b.ready > 0);
}

/* One at a time, for the whole fleet; it bars nothing, and ends with its epoch. */
static void
a_hold_is_one_at_a_time(void **state)
{
	int64_t later;
	char name[RECORD_HOLD_NAME];

	(void)state;
	both();
	later = t.a.store->now(t.a.store) + (int64_t)3600 * 1000000;
	assert_int_equal(hold(&t.a, later, NULL).e, OK);
	WAIT_UNTIL(t.loop, t.b.record.hold.on);
	assert_true(record_same_hold(&t.a.record, &t.b.record));
	record_hold_name(&t.b.record, t.b.store->now(t.b.store), name);
	assert_int_equal(hold(&t.b, later + 1, NULL).e, E_CONFLICT);
	assert_int_equal(hold(&t.b, 0, "7").e, E_CONFLICT);
	/* Claims, locks and flips are no matter of it. */
	assert_int_equal(claim(&t.b, MINE, later, NULL).e, OK);
	assert_int_equal(lock(&t.b, true).e, OK);
	assert_int_equal(lock(&t.b, false).e, OK);
	assert_true(t.b.record.hold.on && t.b.record.claim.on);
	assert_int_equal(hold(&t.b, 0, name).e, OK);
	WAIT_UNTIL(t.loop, !t.a.record.hold.on);
	assert_true(t.a.record.claim.on);
	assert_int_equal(hold(&t.b, 0, name).e, E_CONFLICT);
	assert_int_equal(hold(&t.a, later, NULL).e, OK);
	assert_int_equal(flip_with(&t.a, BLUE, MINE).e, OK);
	assert_false(record_held(&t.a.record, t.a.store->now(t.a.store)));
	assert_int_equal(hold(&t.a, later, NULL).e, OK);
	assert_true(record_held(&t.a.record, t.a.store->now(t.a.store)));
}

/* Whatever a teald knows of it, the script looks: at the token, the epoch, and its own clock. */
static void
a_claim_bars_those_without_its_token(void **state)
{
	int64_t later, before;
	char kept[512];

	(void)state;
	both();
	later = t.a.store->now(t.a.store) + (int64_t)3600 * 1000000;
	/* Ours may be ahead of Redis' by as long as its last answer took. */
	before = t.a.store->now(t.a.store) - (int64_t)3600 * 1000000;
	assert_int_equal(claim(&t.a, MINE, later, NULL).e, OK);
	WAIT_UNTIL(t.loop, t.b.record.claim.on);
	assert_true(record_same_claim(&t.a.record, &t.b.record));
	assert_string_equal(t.b.record.claim.reason, "deploy \"1\"");
	snprintf(kept, sizeof(kept), "%s", ask("HGET " KEY " claimed"));
	for (struct teald *d = &t.a; d != NULL; d = d == &t.a ? &t.b : NULL) {
		assert_int_equal(claim(d, OTHERS, later, NULL).e, E_CONFLICT);
		assert_int_equal(claim(d, OTHERS, later, OTHERS).e, E_CONFLICT);
		assert_int_equal(claim(d, OTHERS, 0, OTHERS).e, E_CONFLICT);
		assert_int_equal(flip_with(d, BLUE, NULL).e, E_CONFLICT);
		assert_int_equal(flip_with(d, BLUE, OTHERS).e, E_CONFLICT);
	}
	assert_true(stored("green", "1"));
	/* A lock is no matter of claims, and leaves them. */
	assert_int_equal(lock(&t.b, true).e, OK);
	assert_int_equal(lock(&t.b, false).e, OK);
	assert_string_equal(ask("HGET " KEY " claimed"), kept);
	/* Renewed, and flipped. */
	assert_int_equal(claim(&t.b, MINE, later + 1, MINE).e, OK);
	WAIT_UNTIL(t.loop, t.a.record.claim.until_us == later + 1);
	assert_int_equal(flip_with(&t.a, BLUE, MINE).e, OK);
	assert_true(stored("blue", "2"));
	assert_string_equal(ask("HGET " KEY " claimed"), "");
	assert_int_equal(flip_with(&t.a, GREEN, MINE).e, E_CONFLICT);
	/* One whose time is over by Redis' clock is over, whatever ours says. */
	assert_int_equal(claim(&t.a, MINE, before, NULL).e, OK);
	assert_int_equal(flip_with(&t.a, GREEN, MINE).e, E_CONFLICT);
	assert_int_equal(flip_with(&t.a, GREEN, NULL).e, OK);
	/* And one of another epoch, which a teald has written that knows no claims. */
	assert_int_equal(claim(&t.a, MINE, later, NULL).e, OK);
	ask("HSET " KEY " color blue epoch 4");
	WAIT_UNTIL(t.loop, t.a.record.epoch == 4 && t.b.record.epoch == 4);
	assert_false(record_claimed(&t.a.record, t.a.store->now(t.a.store)));
	assert_int_equal(flip_with(&t.b, GREEN, NULL).e, OK);
	assert_int_equal(claim(&t.b, OTHERS, later, NULL).e, OK);
}

static void
the_first_begins_and_the_second_obeys(void **state)
{
	(void)state;
	teald_open(&t.a, "a", false);
	assert_int_equal(t.a.told, 0);	/* nobody knows anything yet */
	WAIT_UNTIL(t.loop, t.a.ready == 1);
	assert_int_equal(t.a.record.color, GREEN);
	assert_int_equal(t.a.record.epoch, 1);
	assert_true(stored("green", "1"));
	assert_int_equal(flip(&t.a, BLUE).e, OK);
	assert_int_equal(t.a.record.epoch, 2);	/* told before the answer */
	assert_true(stored("blue", "2"));
	teald_open(&t.b, "b", false);
	WAIT_UNTIL(t.loop, t.b.ready == 1);
	assert_int_equal(t.b.record.color, BLUE);
	assert_int_equal(t.b.record.epoch, 2);
	assert_int_equal(t.b.told, 1);
}

static void
a_change_is_heard_of_at_once(void **state)
{
	(void)state;
	both();
	clock_stop();	/* no time for its own reading: it is the hint */
	assert_int_equal(flip(&t.a, BLUE).e, OK);
	WAIT_UNTIL(t.loop, t.b.record.epoch == 2);
}

static void
of_two_writes_for_one_epoch_one_wins(void **state)
{
	struct store_write w, v;
	struct answer a, b;

	(void)state;
	both();
	for (int i = 0; i < 20; i++) {
		uint64_t epoch = t.a.record.epoch;

		WAIT_UNTIL(t.loop, t.b.record.epoch == epoch);
		w = flip_to(&t.a, color_other(t.a.record.color));
		v = flip_to(&t.b, color_other(t.b.record.color));
		begin_write(&t.a, &w, &a);
		begin_write(&t.b, &v, &b);
		WAIT_UNTIL(t.loop, a.times + b.times == 2);
		assert_true((a.e == OK && b.e == E_CONFLICT) || (a.e == E_CONFLICT && b.e == OK));
		assert_int_equal(a.now.epoch, epoch + 1);
		assert_int_equal(b.now.epoch, epoch + 1);
	}
}

/* The lock has no epoch of its own. */
static void
a_lock_that_was_not_seen_is_not_wiped_out(void **state)
{
	struct store_write w;
	struct answer a;

	(void)state;
	both();
	w = flip_to(&t.b, BLUE);
	assert_int_equal(lock(&t.a, true).e, OK);
	begin_write(&t.b, &w, &a);
	WAIT_UNTIL(t.loop, a.times > 0);
	/* Either b had not heard of it, and lost; or it had, and would have been told. */
	if (a.e == OK)
		assert_true(t.b.record.lock.on);
	else
		assert_int_equal(a.e, E_CONFLICT);
	assert_string_not_equal(ask("HGET " KEY " locked"), "");
	WAIT_UNTIL(t.loop, t.b.record.lock.on);
	assert_int_equal(lock(&t.b, false).e, OK);
	assert_string_equal(ask("HGET " KEY " locked"), "");
}

static void
a_lower_epoch_is_brought_forward(void **state)
{
	unsigned told;

	(void)state;
	both();
	for (int i = 0; i < 4; i++)
		assert_int_equal(flip(&t.a, i % 2 ? GREEN : BLUE).e, OK);
	WAIT_UNTIL(t.loop, t.b.record.epoch == 5);
	told = t.a.told;
	ask("HSET " KEY " color blue epoch 2");
	WAIT_UNTIL(t.loop, stored("green", "5"));
	assert_int_equal(t.a.told, told);	/* nobody heard of blue */
	assert_int_equal(t.b.record.epoch, 5);
	ask("FLUSHALL");
	WAIT_UNTIL(t.loop, stored("green", "5"));
	assert_int_equal(t.a.told, told);
}

static void
a_higher_epoch_is_obeyed_if_it_may_be(void **state)
{
	struct store_status status;
	struct answer a;

	(void)state;
	both();
	t.b.may_obey = false;
	ask("HSET " KEY " color blue epoch 7 previous green");
	WAIT_UNTIL(t.loop, t.a.record.epoch == 7);
	assert_int_equal(t.a.record.color, BLUE);
	WAIT_UNTIL(t.loop, t.b.store->disputed(t.b.store, "shop"));
	assert_int_equal(t.b.record.epoch, 1);
	t.b.store->status(t.b.store, &status);
	assert_true(status.up);
	assert_non_null(strstr(status.problem, "refused"));
	/* A lock cannot settle that; a flip can, whatever it is for. */
	assert_int_equal(lock(&t.b, true).e, E_STORE);
	a = flip(&t.b, GREEN);
	assert_int_equal(a.e, OK);
	assert_int_equal(a.now.epoch, 8);
	assert_true(stored("green", "8"));
	assert_false(t.b.store->disputed(t.b.store, "shop"));
	WAIT_UNTIL(t.loop, t.a.record.epoch == 8);
	assert_int_equal(t.a.record.color, GREEN);
}

static void
a_forced_flip_is_obeyed_without_asking(void **state)
{
	struct store_write w;
	struct answer a;

	(void)state;
	both();
	t.b.may_obey = false;
	w = flip_to(&t.a, BLUE);
	w.next.forced = true;
	begin_write(&t.a, &w, &a);
	WAIT_UNTIL(t.loop, a.times > 0);
	assert_int_equal(a.e, OK);
	WAIT_UNTIL(t.loop, t.b.record.epoch == 2);
}

static void
at_one_epoch_the_stores_color_counts(void **state)
{
	(void)state;
	both();
	ask("HSET " KEY " color blue");
	WAIT_UNTIL(t.loop, t.a.record.color == BLUE && t.b.record.color == BLUE);
	assert_int_equal(t.a.record.epoch, 1);
}

static void
a_record_that_makes_no_sense_changes_nothing(void **state)
{
	struct store_status status;
	unsigned told;

	(void)state;
	both();
	told = t.a.told;
	ask("SET saved x");
	ask("DEL " KEY);
	ask("SET " KEY " green");
	WAIT_UNTIL(t.loop, (t.a.store->status(t.a.store, &status), status.problem != NULL));
	assert_non_null(strstr(status.problem, KEY));
	assert_int_equal(flip(&t.a, BLUE).e, E_STORE);
	assert_int_equal(t.a.told, told);
	ask("DEL " KEY);
	WAIT_UNTIL(t.loop, stored("green", "1"));
	WAIT_UNTIL(t.loop, (t.a.store->status(t.a.store, &status), status.problem == NULL));
}

static unsigned refreshed;
static enum err refreshed_e;

static void
on_refreshed(void *arg, enum err e, const struct why *why)
{
	(void)arg;
	(void)why;
	refreshed++;
	refreshed_e = e;
}

/* The clock stands from here on, at a moment at which d has just heard Redis's. */
static void
read_now(struct teald *d)
{
	clock_stop();
	refreshed = 0;
	d->store->refresh(d->store, on_refreshed, NULL);
	WAIT_UNTIL(t.loop, refreshed > 0);
}

/* What a deadline by Redis's own clock has to wait for. */
static void
let_redis_age(double seconds)
{
	double began = clock_of_machine();

	POLL_UNTIL(clock_of_machine() > began + seconds);
}

/* Redis sleeps, wakes, and finds the write in its socket: too late. */
static void
a_write_that_comes_too_late_writes_nothing(void **state)
{
	struct store_status status;
	struct store_write w;
	struct answer a;

	(void)state;
	both();
	read_now(&t.a);
	t.a.config.store.command_timeout = 0.1;
	w = flip_to(&t.a, BLUE);
	kill(t.server.pid, SIGSTOP);
	begin_write(&t.a, &w, &a);
	clock_pass();
	WAIT_UNTIL(t.loop, a.times > 0);
	assert_int_equal(a.e, E_UNKNOWN);
	let_redis_age(0.2);
	t.a.config.store.command_timeout = NEVER;
	kill(t.server.pid, SIGCONT);
	WAIT_UNTIL(t.loop, (t.a.store->status(t.a.store, &status), status.up));
	assert_true(stored("green", "1"));
	assert_int_equal(flip(&t.a, BLUE).e, OK);
	assert_true(stored("blue", "2"));
}

/* It wakes in time: the answer was lost, but the write is there. */
static void
a_write_whose_answer_was_lost_is_found(void **state)
{
	struct store_redis *s;
	struct store_write w;
	struct answer a;

	(void)state;
	both();
	s = store_redis_of(t.a.store);
	w = flip_to(&t.a, BLUE);
	begin_write(&t.a, &w, &a);
	/* Sent and executed; the server drops us before we read. */
	ev_run(t.loop, EVRUN_NOWAIT);
	POLL_UNTIL(stored("blue", "2"));
	ask("CLIENT KILL TYPE normal SKIPME yes");
	t.a.may_obey = false;	/* it was ours: the gate let it through */
	WAIT_UNTIL(t.loop, a.times > 0);
	assert_int_equal(a.e, OK);
	assert_int_equal(a.times, 1);
	assert_int_equal(t.a.record.epoch, 2);
	assert_true(list_empty(&s->doubts));
}

struct nodes_answer {
	enum err e;
	unsigned times;
	char why[200];
};

static void
on_nodes_written(void *arg, enum err e, const struct why *why)
{
	struct nodes_answer *a = arg;

	a->e = e;
	a->times++;
	snprintf(a->why, sizeof(a->why), "%.199s", why != NULL ? why->text : "");
}

/* The same of nodes: who vanishes before the answer comes does not matter. */
static void
write_nodes_in_doubt(enum node_wish wish, struct nodes_answer *a)
{
	struct overlay next = { 0 };

	overlay_copy(&next, &t.a.nodes);
	next.version++;
	assert_true(overlay_set(&next, "10.0.0.1", wish));
	*a = (struct nodes_answer){ 0 };
	t.a.store->write_nodes(t.a.store, "main", &next, on_nodes_written, a);
	overlay_free(&next);
}

static void
a_write_of_nodes_whose_answer_was_lost_is_found(void **state)
{
	struct store_redis *s;
	struct nodes_answer a;

	(void)state;
	both();
	s = store_redis_of(t.a.store);
	/* Redis knows the script from then on: it is sent at once. */
	write_nodes_in_doubt(NODE_REMOVED, &a);
	WAIT_UNTIL(t.loop, a.times > 0);
	assert_int_equal(a.e, OK);
	write_nodes_in_doubt(NODE_DRAIN, &a);
	/* Sent and executed; the server drops us before we read. */
	ev_run(t.loop, EVRUN_NOWAIT);
	POLL_UNTIL(strcmp(ask("HGET " PREFIX ":nodes:main version"), "2") == 0);
	ask("CLIENT KILL TYPE normal SKIPME yes");
	WAIT_UNTIL(t.loop, a.times > 0);
	assert_int_equal(a.e, OK);
	/* Obeyed before it is told. */
	assert_int_equal(t.a.nodes.version, 2);
	assert_int_equal(overlay_find(&t.a.nodes, "10.0.0.1")->wish, NODE_DRAIN);
	WAIT_UNTIL(t.loop, t.b.nodes.version == 2);
	assert_true(list_empty(&s->node_doubts));
}

static void
a_write_of_nodes_that_never_arrived_is_refused_or_unknown(void **state)
{
	struct store_status status;
	struct nodes_answer a;

	(void)state;
	both();
	/* It sleeps until the command's time is over, by its own clock, and wakes
	 * before that is so by ours. */
	read_now(&t.a);
	t.a.config.store.command_timeout = 0.1;
	kill(t.server.pid, SIGSTOP);
	write_nodes_in_doubt(NODE_DRAIN, &a);
	ev_run(t.loop, EVRUN_NOWAIT);
	let_redis_age(0.2);
	kill(t.server.pid, SIGCONT);
	WAIT_UNTIL(t.loop, a.times > 0);
	assert_int_equal(a.e, E_STORE);
	assert_non_null(strstr(a.why, "nothing was written"));
	assert_int_equal(t.a.nodes.version, 0);
	/* It does not wake in time: nobody can know. */
	read_now(&t.a);
	kill(t.server.pid, SIGSTOP);
	write_nodes_in_doubt(NODE_DRAIN, &a);
	clock_pass();
	WAIT_UNTIL(t.loop, a.times > 0);
	assert_int_equal(a.e, E_UNKNOWN);
	let_redis_age(0.2);
	t.a.config.store.command_timeout = NEVER;
	kill(t.server.pid, SIGCONT);
	WAIT_UNTIL(t.loop, (t.a.store->status(t.a.store, &status), status.up));
	assert_int_equal(t.a.nodes.version, 0);
}

static void
without_a_server_writes_are_refused_at_once(void **state)
{
	struct store_status status;
	struct answer a;

	(void)state;
	both();
	redis_server_stop(&t.server);
	WAIT_UNTIL(t.loop, (t.a.store->status(t.a.store, &status), !status.up));
	assert_non_null(status.problem);
	clock_stop();
	a = flip(&t.a, BLUE);
	assert_int_equal(a.e, E_STORE);
	assert_int_equal(a.now.epoch, 1);
}

static void
what_is_known_counts_when_the_server_is_away(void **state)
{
	(void)state;
	both();
	assert_int_equal(flip(&t.a, BLUE).e, OK);
	t.a.store->close(&t.a.store);
	redis_server_stop(&t.server);
	teald_open(&t.a, "a", false);
	assert_int_equal(t.a.told, 0);	/* Redis has a chance first */
	WAIT_UNTIL(t.loop, t.a.ready > 0);
	assert_int_equal(t.a.record.color, BLUE);
	assert_int_equal(t.a.record.epoch, 2);
}

static void
initial_is_assumed_only_when_told_to(void **state)
{
	(void)state;
	redis_server_stop(&t.server);
	teald_open(&t.a, "a", false);
	teald_open(&t.b, "b", true);
	WAIT_UNTIL(t.loop, t.b.ready > 0);
	assert_int_equal(t.b.record.epoch, 1);
	assert_int_equal(t.a.told, 0);
	assert_int_equal(t.a.ready, 0);
}

static void
the_fleet_is_told_and_left(void **state)
{
	const struct fleet *f;

	(void)state;
	both();
	t.b.applied = 1;
	t.b.store->announce(t.b.store);
	f = t.a.store->fleet(t.a.store);
	WAIT_UNTIL(t.loop, f->n == 2 && f->members[0].services[0].applied + f->members[1].services[0].applied == 1);
	assert_int_equal(f->members[0].self + f->members[1].self, 1);
	while (!t.b.store->leave(t.b.store))
		ev_run(t.loop, EVRUN_ONCE);
	WAIT_UNTIL(t.loop, f->n == 1);
	assert_true(f->members[0].self);
	/* It does not come back by a late heartbeat. */
	t.b.store->announce(t.b.store);
	t.b.store->close(&t.b.store);
	assert_string_equal(ask("ZCARD " PREFIX ":lbs"), "1");
}

static void
a_refresh_reads_what_is_there_now(void **state)
{
	(void)state;
	both();
	for (int i = 0; i < 10; i++) {
		char epoch[16];

		snprintf(epoch, sizeof(epoch), "%d", 10 + i);
		refreshed = 0;
		/* A reading is under way already, and knows nothing of this. */
		store_redis_read(store_redis_of(t.a.store));
		ask("HSET " KEY " epoch %s", epoch);
		t.a.store->refresh(t.a.store, on_refreshed, NULL);
		WAIT_UNTIL(t.loop, refreshed > 0);
		assert_int_equal(refreshed_e, OK);
		assert_int_equal(t.a.record.epoch, 10 + i);
	}
	redis_server_settle(&t.server, t.loop);
	t.a.config.store.command_timeout = t.b.config.store.command_timeout = 0.5;
	kill(t.server.pid, SIGSTOP);
	clock_pass();
	refreshed = 0;
	t.a.store->refresh(t.a.store, on_refreshed, NULL);
	t.a.store->refresh(t.a.store, on_refreshed, NULL);
	WAIT_UNTIL(t.loop, refreshed == 2);
	assert_int_equal(refreshed_e, E_STORE);
	kill(t.server.pid, SIGCONT);
}

static struct audit_entry entries[8];
static size_t n_entries;

static void
on_history(void *arg, enum err e, const struct audit_entry *list, size_t n, const struct why *why)
{
	(void)why;
	assert_int_equal(e, OK);
	assert_true(n <= ARRAY_LEN(entries));
	if (n > 0)
		memcpy(entries, list, n * sizeof(*list));
	n_entries = n;
	(*(unsigned *)arg)++;
}

static void
history_is_everybodys_oldest_first(void **state)
{
	struct audit_entry note = { .service = "shop", .change = CHANGE_FLIP, .result = "denied", .reason = "note" };
	unsigned times = 0;

	(void)state;
	both();
	assert_int_equal(flip(&t.a, BLUE).e, OK);
	WAIT_UNTIL(t.loop, t.b.record.epoch == 2);
	assert_int_equal(flip(&t.b, GREEN).e, OK);
	t.b.store->note(t.b.store, &note);
	snprintf(note.service, sizeof(note.service), "other");
	t.b.store->note(t.b.store, &note);
	ask("XADD " PREFIX ":events * entry rubbish");
	ask("XADD " PREFIX ":events * foo bar");
	t.b.store->history(t.b.store, "shop", 8, on_history, &times);
	WAIT_UNTIL(t.loop, times == 1);
	assert_int_equal(n_entries, 3);
	assert_int_equal(entries[0].epoch, 2);
	assert_int_equal(entries[1].epoch, 3);
	assert_string_equal(entries[2].result, "denied");
	t.a.store->history(t.a.store, "shop", 1, on_history, &times);
	WAIT_UNTIL(t.loop, times == 2);
	assert_int_equal(n_entries, 1);
	assert_string_equal(entries[0].result, "denied");
}

static void
closed_in_the_middle_everybody_is_told(void **state)
{
	struct store_write w;
	struct answer a;

	(void)state;
	both();
	kill(t.server.pid, SIGSTOP);
	w = flip_to(&t.a, BLUE);
	begin_write(&t.a, &w, &a);
	refreshed = 0;
	t.a.store->refresh(t.a.store, on_refreshed, NULL);
	t.a.store->close(&t.a.store);
	assert_int_equal(a.times, 1);
	assert_int_equal(a.e, E_UNKNOWN);
	assert_int_equal(refreshed, 1);
	assert_int_equal(refreshed_e, E_STORE);
	kill(t.server.pid, SIGCONT);
}

/* A reload to these of the services "shop" and "pay". */
static void
reload(struct teald *d, bool shop, bool pay, bool pool)
{
	d->other = d->config;
	d->other.services = d->services;
	d->other.n_services = 0;
	d->other.n_pools = pool;
	if (shop)
		d->services[d->other.n_services++] = d->service;
	if (pay)
		d->services[d->other.n_services++] = (struct service_config){
			.name = (char *)"pay", .initial = GREEN, .labels_json = (char *)"", .rename = d->rename };
	d->store->reconfigure(d->store, &d->other);
}

static void
services_come_and_go_in_a_fleet_that_does_not_reload_at_once(void **state)
{
	struct answer a;

	(void)state;
	both();
	reload(&t.a, true, true, true);
	WAIT_UNTIL(t.loop, t.a.pay.epoch == 1);
	assert_int_equal(t.a.pay.color, GREEN);
	assert_string_equal(ask("HGET " PREFIX ":service:pay color"), "green");
	ask("HSET " PREFIX ":service:pay epoch 5 color blue at 7 by ci change flip");
	WAIT_UNTIL(t.loop, t.a.pay.epoch == 5);
	/* The other one hears of it later, and obeys what there is. */
	reload(&t.b, true, true, true);
	WAIT_UNTIL(t.loop, t.b.pay.epoch == 5);
	assert_int_equal(t.b.pay.color, BLUE);

	/* Gone here, changed there, and back. */
	t.a.told = 0;
	reload(&t.a, false, true, true);
	a = flip(&t.b, BLUE);
	assert_int_equal(a.e, OK);
	refreshed = 0;
	t.a.store->refresh(t.a.store, on_refreshed, NULL);
	WAIT_UNTIL(t.loop, refreshed == 1);
	assert_int_equal(t.a.told, 0);
	reload(&t.a, true, false, true);
	WAIT_UNTIL(t.loop, t.a.told > 0 && t.a.record.epoch == 2);
	assert_int_equal(t.a.record.color, BLUE);
	assert_true(stored("blue", "2"));
}

static void
a_write_under_way_outlives_its_service(void **state)
{
	struct nodes_answer nodes;
	struct store_write w;
	struct answer a;

	(void)state;
	both();
	kill(t.server.pid, SIGSTOP);
	w = flip_to(&t.a, BLUE);
	begin_write(&t.a, &w, &a);
	write_nodes_in_doubt(NODE_DRAIN, &nodes);
	t.a.told = 0;
	reload(&t.a, false, true, false);
	/* Without Redis what state_dir knows of the new one counts: nothing. */
	kill(t.server.pid, SIGCONT);
	WAIT_UNTIL(t.loop, a.times > 0 && nodes.times > 0);
	assert_int_equal(a.e, OK);
	assert_int_equal(nodes.e, OK);
	assert_int_equal(t.a.told, 0);
	WAIT_UNTIL(t.loop, t.b.record.epoch == 2 && t.b.nodes.version == 1);
	assert_int_equal(t.a.nodes.version, 0);
	/* One that is gone, and the answer never comes. */
	reload(&t.a, true, true, true);
	/* Told by what state_dir knows, perhaps; writes wait for what Redis says. */
	WAIT_UNTIL(t.loop, t.a.told == 1 && t.a.nodes.version == 1 &&
				   store_redis_of(t.a.store)->services[0]->seen_what == SEEN_RECORD);
	kill(t.server.pid, SIGSTOP);
	w = flip_to(&t.a, GREEN);
	begin_write(&t.a, &w, &a);
	reload(&t.a, false, true, false);
	t.a.store->close(&t.a.store);
	assert_int_equal(a.times, 1);
	assert_int_equal(a.e, E_UNKNOWN);
	kill(t.server.pid, SIGCONT);
}

static void
a_renamed_service_takes_over_what_the_store_has_by_its_former_name(void **state)
{
	(void)state;
	both();
	assert_int_equal(flip(&t.a, BLUE).e, OK);
	WAIT_UNTIL(t.loop, t.b.record.epoch == 2);
	t.a.rename = t.b.rename = (char *)"shop";
	reload(&t.a, false, true, true);
	WAIT_UNTIL(t.loop, t.a.pay.epoch == 2);
	assert_int_equal(t.a.pay.color, BLUE);
	WAIT_UNTIL(t.loop, strcmp(ask("HGET " PREFIX ":service:pay epoch"), "2") == 0);
	/* One that has not reloaded yet flips the old name; when it does, the later change counts, here too. */
	assert_int_equal(flip(&t.b, GREEN).e, OK);
	reload(&t.b, false, true, true);
	WAIT_UNTIL(t.loop, t.b.pay.epoch == 2 || t.b.pay.epoch == 3);
	/* The store has the new name already: its word counts. */
	WAIT_UNTIL(t.loop, t.a.pay.epoch == t.b.pay.epoch && t.a.pay.color == t.b.pay.color);
}

static void
without_a_server_a_service_comes_back_as_it_was_known(void **state)
{
	(void)state;
	both();
	assert_int_equal(flip(&t.a, BLUE).e, OK);
	reload(&t.a, false, true, true);
	WAIT_UNTIL(t.loop, t.a.pay.epoch == 1);
	redis_server_stop(&t.server);
	WAIT_UNTIL(t.loop, !store_redis_is_up(store_redis_of(t.a.store)));
	t.a.told = 0;
	t.a.record = (struct record){ 0 };
	reload(&t.a, true, true, true);
	WAIT_UNTIL(t.loop, t.a.told == 1);
	assert_int_equal(t.a.record.color, BLUE);
	assert_int_equal(t.a.record.epoch, 2);
}

/* Of "shop" and "pay", as they are known here. */
static void
begin_both(struct teald *d, enum color to, const char *revision, struct answer a[2])
{
	static const char *const names[] = { "shop", "pay" };
	struct store_write w[2];
	void *args[] = { &a[0], &a[1] };

	memset(a, 0, 2 * sizeof(*a));
	for (int i = 0; i < 2; i++) {
		const struct record *r = i == 0 ? &d->record : &d->pay;

		w[i] = (struct store_write){ .service = names[i], .expect_epoch = r->epoch, .next = *r };
		w[i].next.color = to;
		w[i].next.epoch++;
		w[i].next.change = CHANGE_FLIP;
		w[i].next.at_us = clock_wall_us();
		strcpy(w[i].next.by, "ci");
		strcpy(w[i].next.revision, revision);
		strcpy(w[i].entry.service, names[i]);
		strcpy(w[i].entry.result, "ok");
		strcpy(w[i].entry.revision, revision);
		w[i].entry.epoch = w[i].next.epoch;
		w[i].entry.to = to;
	}
	d->store->write_all(d->store, w, 2, on_written, args);
}

static void
flip_both(struct teald *d, enum color to, const char *revision, struct answer a[2])
{
	begin_both(d, to, revision, a);
	WAIT_UNTIL(t.loop, a[0].times > 0 && a[1].times > 0);
}

static void
both_with_two(void)
{
	both();
	reload(&t.a, true, true, true);
	reload(&t.b, true, true, true);
	WAIT_UNTIL(t.loop, t.a.pay.epoch == 1 && t.b.pay.epoch == 1 &&
				   store_redis_of(t.a.store)->services[1]->seen_what == SEEN_RECORD);
}

static void
several_are_written_as_one_or_not_at_all(void **state)
{
	struct answer a[2];
	unsigned times = 0;

	(void)state;
	both_with_two();
	flip_both(&t.a, BLUE, "0123abcd", a);
	assert_int_equal(a[0].e, OK);
	assert_int_equal(a[1].e, OK);
	WAIT_UNTIL(t.loop, t.b.record.epoch == 2);
	assert_int_equal(t.b.pay.epoch, 2);
	assert_string_equal(t.b.record.revision, "0123abcd");
	assert_string_equal(t.b.pay.revision, "0123abcd");
	t.b.store->history(t.b.store, "pay", 1, on_history, &times);
	WAIT_UNTIL(t.loop, times == 1);
	assert_string_equal(entries[0].revision, "0123abcd");

	/* The other one does not know yet that one of them has been flipped, or locked, by itself. */
	assert_int_equal(flip(&t.a, GREEN).e, OK);
	assert_string_equal(ask("HGET " KEY " revision"), "");
	t.b.record.epoch = 2;
	flip_both(&t.b, GREEN, "99999999", a);
	assert_int_equal(a[0].e, E_CONFLICT);
	assert_int_equal(a[1].e, E_CONFLICT);
	assert_string_equal(a[1].why.text, "");
	assert_string_not_equal(a[0].why.text, "");
	assert_string_equal(ask("HGET " PREFIX ":service:pay epoch"), "2");
	assert_true(stored("green", "3"));
}

static void
what_cannot_be_obeyed_whole_is_not_obeyed_in_part(void **state)
{
	struct answer a[2];

	(void)state;
	both_with_two();
	t.b.refuses = "pay";
	flip_both(&t.a, BLUE, "0123abcd", a);
	WAIT_UNTIL(t.loop, t.b.store->disputed(t.b.store, "pay"));
	assert_true(t.b.store->disputed(t.b.store, "shop"));
	assert_int_equal(t.b.record.epoch, 1);
	assert_int_equal(t.b.pay.epoch, 1);
	t.b.refuses = NULL;
	WAIT_UNTIL(t.loop, t.b.record.epoch == 2 && t.b.pay.epoch == 2);
}

static void
the_answer_that_was_lost_is_found_for_all(void **state)
{
	struct answer a[2];

	(void)state;
	both_with_two();
	redis_server_settle(&t.server, t.loop);
	t.a.config.store.command_timeout = 0.5;
	kill(t.server.pid, SIGSTOP);
	begin_both(&t.a, BLUE, "0123abcd", a);
	clock_pass();
	WAIT_UNTIL(t.loop, !list_empty(&store_redis_of(t.a.store)->doubts) || a[0].times > 0);
	kill(t.server.pid, SIGCONT);
	WAIT_UNTIL(t.loop, a[0].times > 0 && a[1].times > 0);
	assert_int_equal(a[0].e, a[1].e);
	assert_int_equal(t.a.record.epoch, t.a.pay.epoch);
	assert_int_equal(t.a.record.color, t.a.pay.color);
}

/* What the server is asked next that has this word in it; the caller's, for free(). */
static char *
next_asked(redisContext *monitor, const char *word)
{
	for (;;) {
		void *p;
		redisReply *r;
		char *line;

		assert_int_equal(redisGetReply(monitor, &p), REDIS_OK);
		r = p;
		line = strstr(r->str, word) != NULL ? must_strdup(r->str) : NULL;
		freeReplyObject(r);
		if (line != NULL)
			return line;
	}
}

/* A server that lost everything, and another teald that may read it at any moment. */
static void
what_was_changed_as_one_is_brought_forward_as_one(void **state)
{
	redisContext *monitor;
	struct answer a[2];
	char path[108], *line;

	(void)state;
	both_with_two();
	flip_both(&t.a, BLUE, "0123abcd", a);
	assert_int_equal(a[0].e, OK);
	t.b.store->close(&t.b.store);
	snprintf(path, sizeof(path), "%s/redis.sock", t.dir);
	monitor = redisConnectUnix(path);
	freeReplyObject(redisCommand(monitor, "MONITOR"));
	ask("FLUSHALL");
	WAIT_UNTIL(t.loop, stored("blue", "2") && strcmp(ask("HGET " PREFIX ":service:pay epoch"), "2") == 0);
	line = next_asked(monitor, "\"forward\"");
	assert_non_null(strstr(line, "\"" KEY "\""));
	assert_non_null(strstr(line, "\"" PREFIX ":service:pay\""));
	free(line);
	redisFree(monitor);
	assert_string_equal(ask("HGET " KEY " revision"), "0123abcd@2");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_claim_bars_those_without_its_token, begin, end),
		cmocka_unit_test_setup_teardown(a_hold_is_one_at_a_time, begin, end),
		cmocka_unit_test_setup_teardown(the_first_begins_and_the_second_obeys, begin, end),
		cmocka_unit_test_setup_teardown(a_change_is_heard_of_at_once, begin, end),
		cmocka_unit_test_setup_teardown(of_two_writes_for_one_epoch_one_wins, begin, end),
		cmocka_unit_test_setup_teardown(a_lock_that_was_not_seen_is_not_wiped_out, begin, end),
		cmocka_unit_test_setup_teardown(a_lower_epoch_is_brought_forward, begin, end),
		cmocka_unit_test_setup_teardown(a_higher_epoch_is_obeyed_if_it_may_be, begin, end),
		cmocka_unit_test_setup_teardown(a_forced_flip_is_obeyed_without_asking, begin, end),
		cmocka_unit_test_setup_teardown(at_one_epoch_the_stores_color_counts, begin, end),
		cmocka_unit_test_setup_teardown(a_record_that_makes_no_sense_changes_nothing, begin, end),
		cmocka_unit_test_setup_teardown(a_write_that_comes_too_late_writes_nothing, begin, end),
		cmocka_unit_test_setup_teardown(a_write_whose_answer_was_lost_is_found, begin, end),
		cmocka_unit_test_setup_teardown(a_write_of_nodes_whose_answer_was_lost_is_found, begin, end),
		cmocka_unit_test_setup_teardown(a_write_of_nodes_that_never_arrived_is_refused_or_unknown, begin, end),
		cmocka_unit_test_setup_teardown(without_a_server_writes_are_refused_at_once, begin, end),
		cmocka_unit_test_setup_teardown(what_is_known_counts_when_the_server_is_away, begin, end),
		cmocka_unit_test_setup_teardown(initial_is_assumed_only_when_told_to, begin, end),
		cmocka_unit_test_setup_teardown(the_fleet_is_told_and_left, begin, end),
		cmocka_unit_test_setup_teardown(a_refresh_reads_what_is_there_now, begin, end),
		cmocka_unit_test_setup_teardown(history_is_everybodys_oldest_first, begin, end),
		cmocka_unit_test_setup_teardown(services_come_and_go_in_a_fleet_that_does_not_reload_at_once, begin, end),
		cmocka_unit_test_setup_teardown(a_write_under_way_outlives_its_service, begin, end),
		cmocka_unit_test_setup_teardown(a_renamed_service_takes_over_what_the_store_has_by_its_former_name, begin, end),
		cmocka_unit_test_setup_teardown(without_a_server_a_service_comes_back_as_it_was_known, begin, end),
		cmocka_unit_test_setup_teardown(closed_in_the_middle_everybody_is_told, begin, end),
		cmocka_unit_test_setup_teardown(several_are_written_as_one_or_not_at_all, begin, end),
		cmocka_unit_test_setup_teardown(what_cannot_be_obeyed_whole_is_not_obeyed_in_part, begin, end),
		cmocka_unit_test_setup_teardown(the_answer_that_was_lost_is_found_for_all, begin, end),
		cmocka_unit_test_setup_teardown(what_was_changed_as_one_is_brought_forward_as_one, begin, end),
	};

	log_set_level(LOG_ERROR_LEVEL + 1);
	return cmocka_run_group_tests_name("store_redis", tests, NULL, NULL);
}
