/* test_peer.c - one teald takes over from another: two controls that speak to each
 * other, each with an engine and a store that do what the test tells them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/tlv.h"
#include "control/control.h"
#include "control/drain.h"
#include "control/engines.h"
#include "control/flip.h"
#include "control/nodes.h"
#include "control/peer.h"
#include "control/publish.h"
#include "control/reload.h"
#include "store/store_successor.h"
#include "wait.h"

#define SERVICES_MAX 3

struct side;

/* -- a store that obeys ---------------------------------------------------------- */

struct fake_store {
	struct store store;
	struct side *side;
	struct record truth[SERVICES_MAX];
	bool opened;
	bool unread;	/* it does not answer */
	double age;
};

/* -- an engine that obeys ---------------------------------------------------------- */

struct fake_engine {
	struct engine engine;
	struct snapshot *last[SERVICES_MAX];	/* published, by the service's index */
	uint64_t connections[SERVICES_MAX][COLORS];
	struct drain_orders orders[SERVICES_MAX][COLORS];
	unsigned drains;
};

struct letter {
	struct letter *next;
	unsigned type;
	size_t n;
	char row[];
};

struct side {
	struct ev_loop *loop;
	struct config config;
	struct service_config sc[SERVICES_MAX];
	struct backend_config backends[SERVICES_MAX][COLORS];
	struct service *services[SERVICES_MAX];
	size_t n;
	struct fake_store store;
	struct fake_engine engine;
	struct control control;
	struct peer *peer;
	struct store *other_store;
	struct letter *sent, **end;	/* what the other side has not got yet */
};

struct rig {
	struct ev_loop *loop;
	struct side old, new;
};

static enum err
fake_open(struct store *s, struct why *why)
{
	struct fake_store *f = container_of(s, struct fake_store, store);

	(void)why;
	f->opened = true;
	for (size_t i = 0; i < f->side->n; i++)
		s->on_record(s->arg, f->side->sc[i].name, &f->truth[i]);
	s->on_ready(s->arg);
	return OK;
}

/* A store that takes its time. */
static enum err
slow_open(struct store *s, struct why *why)
{
	(void)s;
	(void)why;
	return OK;
}

static void
fake_write(struct store *s, const struct store_write *w, store_done_fn *done, void *arg)
{
	struct fake_store *f = container_of(s, struct fake_store, store);
	static const struct why why = { "" };

	for (size_t i = 0; i < f->side->n; i++)
		if (strcmp(f->side->sc[i].name, w->service) == 0) {
			assert_int_equal(w->expect_epoch, f->truth[i].epoch);
			f->truth[i] = w->next;
			s->on_record(s->arg, w->service, &f->truth[i]);
			done(arg, OK, &f->truth[i], &why);
		}
}

static void
fake_note(struct store *s, const struct audit_entry *entry)
{
	(void)s;
	(void)entry;
}

static void
fake_status(const struct store *s, struct store_status *out)
{
	const struct fake_store *f = container_of(s, const struct fake_store, store);

	*out = (struct store_status){ .type = "fake", .up = !f->unread, .read = !f->unread, .age = f->age };
}

static struct fake_engine *
fake_of(struct engine *e)
{
	return container_of(e, struct fake_engine, engine);
}

static void
fake_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	snapshot_unref(&fake_of(e)->last[s->index]);
	fake_of(e)->last[s->index] = *snapshot;
	*snapshot = NULL;
}

static void
fake_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	fake_of(e)->orders[s->index][color] = *orders;
	fake_of(e)->drains++;
}

static uint64_t
fake_count(struct engine *e, const struct service *s, enum color color)
{
	return fake_of(e)->connections[s->index][color];
}

static void
fake_holders(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done, void *arg)
{
	struct holder list[2] = { { .age = 3, .bytes_in = 7 }, { .age = 4 } };
	uint64_t n = fake_count(e, s, color);

	assert_true(addr_parse_ip("10.0.0.1", 1234, &list[0].client));
	assert_true(addr_parse_ip("10.0.0.2", 1234, &list[1].client));
	strcpy(list[0].backend, "10.9.9.9:80");
	done(arg, &(struct holders){ list, n < max ? n : max, n > max });
}

static const struct engine_class fake_class = { ENGINE_PROXY, .name = "fake", .proxies = true };

/* Every thread obeys what was published last. */
static void
take(struct side *d, unsigned index)
{
	struct engine *e = &d->engine.engine;

	e->on_acked(e->arg, e, d->services[index], 0, d->engine.last[index]->generation);
}

/* -- the line ---------------------------------------------------------------------------- */

static void
side_send(void *arg, enum peer_type type, const struct buf *row)
{
	struct side *d = arg;
	struct letter *l = calloc(1, sizeof(*l) + buf_len(row));

	assert_true(buf_len(row) <= PEER_MESSAGE_MAX);
	l->type = type;
	l->n = buf_len(row);
	if (l->n > 0)
		memcpy(l->row, buf_str(row).p, l->n);
	*d->end = l;
	d->end = &l->next;
}

/* What one has sent reaches the other one. */
static bool
deliver(struct side *from, struct side *to)
{
	struct letter *l = from->sent;

	if (l == NULL)
		return false;
	if ((from->sent = l->next) == NULL)
		from->end = &from->sent;
	if (to->peer != NULL)
		peer_on_message(to->peer, l->type, (struct str){ l->row, l->n });
	free(l);
	return true;
}

static void
pump(struct rig *r)
{
	while (deliver(&r->old, &r->new) || deliver(&r->new, &r->old))
		continue;
}

/* The clock stands, but for this. */
static void
turn(struct rig *r, double seconds)
{
	for (double past = 0; past < seconds; past += 0.02) {
		clock_move(0.02);
		ev_run(r->loop, EVRUN_NOWAIT);
		pump(r);
	}
}

#define UNTIL(r, condition) WAIT_UNTIL((r)->loop, (pump(r), (condition)))

/* -- the rig ------------------------------------------------------------------------------- */

static void
make(struct rig *r, struct side *d, const char *const *names, size_t n)
{
	d->loop = r->loop;
	d->end = &d->sent;
	d->n = n;
	for (size_t i = 0; i < n; i++) {
		struct service_config *sc = &d->sc[i];

		*sc = (struct service_config){ .name = (char *)(uintptr_t)names[i], .labels_json = "" };
		sc->health.type = HEALTH_NONE;
		sc->min_healthy = (struct quorum){ 50, true };
		sc->drain = (struct drain_config){ .timeout = 30, .idle = 5 };
		sc->slow_start = 20;
		sc->passive.eject = 60;
		for (int c = 0; c < COLORS; c++) {
			struct backend_config *b = &d->backends[i][c];

			assert_true(addr_parse_ip("127.0.0.1", 7000 + (unsigned)c, &b->address));
			b->health_address = b->address;
			b->host = "127.0.0.1";
			b->weight = 1;
			sc->colors[c] = (struct color_config){ .backends = b, .n_backends = 1 };
		}
		d->services[i] = service_new(sc, (unsigned)i, 1);
		d->store.truth[i].epoch = 5;
	}
	d->config.refs = 1;
	d->config.services = d->sc;
	d->config.n_services = n;
	strcpy(d->config.checksum, "one");
	d->store.side = d;
	d->store.store = (struct store){ .open = fake_open, .write = fake_write, .note = fake_note, .status = fake_status };
	d->engine.engine = (struct engine){ .class = &fake_class,
					    .n_threads = 1,
					    .publish = fake_publish,
					    .drain = fake_drain,
					    .count = fake_count,
					    .holders = fake_holders };
}

static void
start_old(struct rig *r)
{
	struct side *d = &r->old;
	struct why why;

	assert_int_equal(control_open(&d->control, r->loop, &d->config, NULL, &d->store.store,
				      (struct engine *[]){ &d->engine.engine }, 1, d->services, d->n, &why), OK);
	for (unsigned i = 0; i < d->n; i++)
		take(d, i);
	assert_int_equal(d->control.life, LIFE_SERVING);
}

/* All but the store. */
static void
prepare_new(struct rig *r)
{
	struct side *d = &r->new;
	struct why why;

	assert_int_equal(control_prepare(&d->control, r->loop, &d->config, NULL, &d->store.store,
					 (struct engine *[]){ &d->engine.engine }, 1, d->services, d->n, &why), OK);
	assert_true(control_is_prepared(&d->control));
	assert_false(d->store.opened);
	d->peer = peer_new(&d->control, PEER_IS_PREDECESSOR, side_send, d);
}

static void
yield_old(struct rig *r)
{
	struct side *d = &r->old;
	const char *why;

	assert_true(peer_is_settled(&d->control, &why));
	d->other_store = store_successor_new(r->loop, d->store.store.fleet != NULL ? "redis" : "file", d->store.store.fleet != NULL);
	control_change_store(&d->control, d->other_store);
	d->peer = peer_new(&d->control, PEER_IS_SUCCESSOR, side_send, d);
	peer_yield(d->peer);
}

static void
begin_new(struct rig *r)
{
	struct why why;

	peer_begin(r->new.peer);
	assert_int_equal(control_begin(&r->new.control, &why), OK);
}

/* Until the new one serves, and both obey. */
static void
hand_over(struct rig *r)
{
	prepare_new(r);
	yield_old(r);
	while (deliver(&r->old, &r->new))
		continue;
	begin_new(r);
	for (unsigned i = 0; i < r->new.n; i++)
		take(&r->new, i);
	pump(r);
	assert_int_equal(r->new.control.life, LIFE_SERVING);
}

static void
old_ends(struct rig *r)
{
	peer_say_goodbye(r->old.peer);
	pump(r);
	peer_free(&r->old.peer);
	peer_gone(r->new.peer);
}

static int
set_up_with(void **state, const char *const *olds, size_t n_olds, const char *const *news, size_t n_news)
{
	struct rig *r = calloc(1, sizeof(*r));

	clock_stop();
	r->loop = ev_loop_new(EVFLAG_AUTO);
	make(r, &r->old, olds, n_olds);
	make(r, &r->new, news, n_news);
	start_old(r);
	*state = r;
	return 0;
}

static int
set_up(void **state)
{
	static const char *const web[] = { "web" };

	return set_up_with(state, web, 1, web, 1);
}

static void
unmake(struct side *d, bool opened)
{
	if (opened) {
		control_forget(&d->control);
		peer_free(&d->peer);
		control_close(&d->control);
	}
	if (d->other_store != NULL)
		d->other_store->close(&d->other_store);
	for (struct letter *l = d->sent, *next; l != NULL; l = next) {
		next = l->next;
		free(l);
	}
	for (size_t i = 0; i < d->n; i++) {
		snapshot_unref(&d->engine.last[i]);
		service_free(&d->services[i]);
	}
}

static int
tear_down(void **state)
{
	struct rig *r = *state;

	unmake(&r->new, r->new.control.loop != NULL);
	unmake(&r->old, true);
	ev_loop_destroy(r->loop);
	clock_go();
	free(r);
	return 0;
}

/* -- asking ------------------------------------------------------------------------------ */

struct asker {
	struct flip_watcher watcher;
	bool applied, drained, done;
	uint64_t cut;
	enum err error;
};

static void
asker_on_event(struct flip_watcher *w, const struct flip_event *e)
{
	struct asker *a = container_of(w, struct asker, watcher);

	a->applied |= e->kind == FLIP_EVENT_APPLIED;
	if (e->kind == FLIP_EVENT_DRAINED) {
		a->drained = true;
		a->cut = e->cut;
	}
}

static void
asker_on_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct asker *a = container_of(w, struct asker, watcher);

	a->done = true;
	a->error = o->error;
}

static void
flip(struct side *d, struct asker *a, enum color to, enum flip_wait wait)
{
	const struct flip_request q = { .kind = CHANGE_FLIP,
					.to = to,
					.wait = wait,
					.force = true,
					.has_timeout = true,
					.timeout = NEVER,
					.by.user = "ci" };

	*a = (struct asker){ .watcher = { .progress = asker_on_event, .done = asker_on_done } };
	flip_start(d->control.services[0], &q, &a->watcher);
}

static enum color
published(const struct side *d, unsigned index)
{
	return d->engine.last[index]->active;
}

/* -- stories ------------------------------------------------------------------------------- */

static void
test_the_new_one_is_ready_before_it_has_read_the_store(void **state)
{
	struct rig *r = *state;
	const char *reason;

	r->new.store.store.open = slow_open;
	hand_over(r);
	assert_true(control_ready(&r->new.control, &reason));
	assert_int_equal(r->new.services[0]->record.epoch, 5);
}

static void
test_the_new_one_goes_on_where_the_old_one_was(void **state)
{
	struct rig *r = *state;
	struct service *was = r->old.services[0], *is = r->new.services[0];

	for (int i = 0; i < 40; i++)
		publish_now(r->old.control.services[0]);
	take(&r->old, 0);
	assert_int_equal(was->generation, 41);
	r->old.control.maintenance = true;
	hand_over(r);
	assert_int_equal(is->record.epoch, 5);
	assert_int_equal(is->applied_epoch, 5);
	assert_int_equal(is->generation, 42);
	assert_true(r->new.control.maintenance);
	assert_true(r->new.store.opened);
	/* The same file: no other configuration. */
	assert_int_equal(reload_status(r->new.control.reloads).generation, 1);
	assert_true(control_counts_since(&r->new.control) == r->old.control.started);
}

/* A machine of many cores: what its threads have counted does not fit into one message. */
static void
test_many_threads_have_counted_and_all_of_it_is_told(void **state)
{
	struct rig *r = *state;
	struct inherited *before = &r->old.control.inherited, *after = &r->new.control.inherited;

	before->n_lags = INHERITED_MAX - 1;
	before->lags = calloc(before->n_lags, sizeof(*before->lags));
	assert_non_null(before->lags);
	for (size_t i = 0; i < before->n_lags; i++) {
		snprintf(before->lags[i].thread, sizeof(before->lags[i].thread), "worker-%zu", i);
		for (int k = 0; k <= TALLY_BUCKETS; k++)
			before->lags[i].lag.count[k] = i + 1;
	}
	r->old.control.maintenance = true;
	hand_over(r);
	assert_true(r->new.control.maintenance);
	/* That of main as well. */
	assert_int_equal(after->n_lags, INHERITED_MAX);
	for (size_t i = 0; i < before->n_lags; i++)
		assert_int_equal(after->lags[i].lag.count[TALLY_BUCKETS], i + 1);
	/* Each second again. */
	before->lags[7].lag.count[0] = 1000;
	turn(r, 1.1);
	assert_int_equal(after->lags[7].lag.count[0], 1000);
}

static void
test_another_file_is_another_generation_of_the_configuration(void **state)
{
	struct rig *r = *state;

	/* Its copy was made when the configuration was read. */
	reload_inherit(r->old.control.reloads, 6, 1000, STR("another"));
	hand_over(r);
	assert_int_equal(reload_status(r->old.control.reloads).generation, 7);
	assert_int_equal(reload_status(r->new.control.reloads).generation, 7);
}

static void
test_nothing_is_told_before_the_old_one_has_yielded(void **state)
{
	struct rig *r = *state;

	prepare_new(r);
	turn(r, 1);
	assert_null(r->new.engine.last[0]);
	assert_null(r->old.sent);
	assert_false(r->new.store.opened);
}

static void
test_a_flip_is_applied_when_the_old_one_obeys_it_too(void **state)
{
	struct rig *r = *state;
	struct asker a;

	hand_over(r);
	flip(&r->new, &a, BLUE, FLIP_WAIT_APPLIED);
	UNTIL(r, published(&r->new, 0) == BLUE && published(&r->old, 0) == BLUE);
	take(&r->new, 0);
	turn(r, 1);
	assert_false(a.done);
	assert_int_equal(r->new.services[0]->applied_epoch, 5);
	take(&r->old, 0);
	UNTIL(r, a.done);
	assert_int_equal(a.error, OK);
	assert_int_equal(r->new.services[0]->applied_epoch, 6);
	/* It ends nothing by itself, and is told to by the new one. */
	assert_null(r->old.control.services[0]->drain);
	assert_true(r->old.engine.orders[0][GREEN].timeout == 30);
}

static void
test_an_old_one_that_is_gone_is_not_waited_for(void **state)
{
	struct rig *r = *state;
	struct asker a;

	hand_over(r);
	flip(&r->new, &a, BLUE, FLIP_WAIT_APPLIED);
	UNTIL(r, published(&r->new, 0) == BLUE);
	take(&r->new, 0);
	turn(r, 1);
	assert_false(a.done);
	peer_free(&r->old.peer);
	peer_gone(r->new.peer);
	assert_true(a.done && a.error == OK);
}

static void
test_drained_is_said_when_both_are_empty(void **state)
{
	struct rig *r = *state;
	struct tally_color *green = &r->old.services[0]->tallies[0].colors[ENTRANCE_MAIN][GREEN];
	struct asker a;

	r->old.engine.connections[0][GREEN] = 2;
	tally_add(&green->active, 2);
	hand_over(r);
	assert_int_equal(service_connections(r->new.services[0], ENTRANCE_MAIN, GREEN), 2);
	flip(&r->new, &a, BLUE, FLIP_WAIT_DRAINED);
	UNTIL(r, published(&r->old, 0) == BLUE);
	take(&r->new, 0);
	take(&r->old, 0);
	UNTIL(r, a.applied);
	turn(r, 2);
	assert_false(a.done);
	assert_int_equal(engines_count(r->new.control.services[0], GREEN), 2);
	/* One goes over to the new one, where it is counted first; the other one is cut. */
	r->new.engine.connections[0][GREEN] = 1;
	tally_add(&r->new.services[0]->tallies[0].colors[ENTRANCE_MAIN][GREEN].active, 1);
	r->old.engine.connections[0][GREEN] = 0;
	tally_add(&green->ended[END_DRAINED], 1);
	tally_add(&green->active, (uint64_t)-2);
	turn(r, 2);
	assert_false(a.done);
	assert_int_equal(engines_count(r->new.control.services[0], GREEN), 1);
	r->new.engine.connections[0][GREEN] = 0;
	turn(r, 1);
	assert_true(a.done);
	assert_true(a.drained);
	assert_int_equal(a.cut, 1);
}

static void
test_a_command_that_stays_behind_is_told_the_truth_about_both(void **state)
{
	struct rig *r = *state;
	struct asker a;

	flip(&r->old, &a, BLUE, FLIP_WAIT_DRAINED);
	UNTIL(r, published(&r->old, 0) == BLUE);
	r->old.engine.connections[0][GREEN] = 1;
	take(&r->old, 0);
	UNTIL(r, a.applied);
	r->new.store.truth[0] = r->old.store.truth[0];
	hand_over(r);
	turn(r, 1);
	assert_false(a.done);
	/* It moves; the new one has not been asked since. */
	r->new.engine.connections[0][GREEN] = 1;
	r->old.engine.connections[0][GREEN] = 0;
	for (int i = 0; i < 10; i++) {
		clock_move(0.02);
		ev_run(r->loop, EVRUN_NOWAIT);
		assert_false(a.done);
	}
	turn(r, 2);
	assert_false(a.done);
	r->new.engine.connections[0][GREEN] = 0;
	turn(r, 1);
	assert_true(a.done);
	assert_true(a.drained && a.error == OK);
}

/* -- a fleet with another teald ---- */

static struct fleet others;

static const struct fleet *
fake_fleet(const struct store *s)
{
	(void)s;
	return &others;
}

static void
fake_refresh(struct store *s, store_refreshed_fn *done, void *arg)
{
	static const struct why why = { "" };

	(void)s;
	done(arg, OK, &why);
}

static void
other_holds(unsigned holding)
{
	char beat[512];

	fleet_free(&others);
	snprintf(beat, sizeof(beat),
		 "{\"id\":\"b\",\"host\":\"other\",\"version\":\"1\",\"pid\":7,\"at_us\":1,\"ready\":true,\"services\":"
		 "{\"web\":{\"applied\":6,\"holding\":%u,\"green\":[1,1,1],\"blue\":[1,1,1]}}}", holding);
	assert_true(fleet_add(&others, str_from(beat), "a"));
}

static int
set_up_fleet(void **state)
{
	struct rig *r;

	other_holds(2);
	set_up(state);
	r = *state;
	for (struct side *d = &r->old; d != NULL; d = d == &r->old ? &r->new : NULL) {
		d->store.store.fleet = fake_fleet;
		d->store.store.refresh = fake_refresh;
	}
	return 0;
}

static int
tear_down_fleet(void **state)
{
	fleet_free(&others);
	return tear_down(state);
}

static void
test_a_command_that_stays_behind_waits_for_the_fleet(void **state)
{
	struct rig *r = *state;
	struct asker a;

	flip(&r->old, &a, BLUE, FLIP_WAIT_DRAINED);
	UNTIL(r, r->old.engine.last[0]->active == BLUE);
	take(&r->old, 0);
	UNTIL(r, a.applied);
	turn(r, 1);
	assert_false(a.done);
	r->new.store.truth[0] = r->old.store.truth[0];
	hand_over(r);
	/* Both are empty, the other teald is not. */
	turn(r, 2);
	assert_false(a.done);
	other_holds(0);
	turn(r, 1);
	assert_true(a.done && a.drained);
}

static void
test_what_was_too_old_stays_so_until_the_store_answers(void **state)
{
	struct rig *r = *state;

	for (struct side *d = &r->old; d != NULL; d = d == &r->old ? &r->new : NULL) {
		d->config.store.max_age = 10;
		d->config.store.stale = STALE_REFUSE;
	}
	r->old.store.age = 8;
	r->new.store.unread = true;
	r->new.store.store.open = slow_open;
	hand_over(r);
	assert_false(r->new.engine.last[0]->refuse);
	turn(r, 3);
	assert_true(r->new.control.stale && r->new.engine.last[0]->refuse && r->old.engine.last[0]->refuse);
	r->new.store.unread = false;
	turn(r, 1);
	assert_false(r->new.control.stale || r->new.engine.last[0]->refuse || r->old.engine.last[0]->refuse);
}

/* -- what is under way ---- */

static void
test_a_drain_under_way_keeps_its_deadline(void **state)
{
	struct rig *r = *state;
	const struct drain *was, *is;
	struct asker a;

	r->old.engine.connections[0][GREEN] = 3;
	tally_add(&r->old.services[0]->tallies[0].colors[ENTRANCE_MAIN][GREEN].active, 3);
	flip(&r->old, &a, BLUE, FLIP_WAIT_APPLIED);
	UNTIL(r, published(&r->old, 0) == BLUE);
	take(&r->old, 0);
	UNTIL(r, a.done);
	turn(r, 10);
	r->new.store.truth[0] = r->old.store.truth[0];
	hand_over(r);
	was = r->old.control.services[0]->drain;
	is = r->new.control.services[0]->drain;
	assert_non_null(was);
	assert_non_null(is);
	assert_true(is->deadline == was->deadline && is->started == was->started);
	assert_int_equal(is->epoch, 6);
	assert_int_equal(is->at_start, 3);
	assert_true(r->new.engine.orders[0][GREEN].at == was->started);
	assert_int_equal(r->new.control.services[0]->rollout.state, ROLLOUT_DRAINING);
	/* A flip back leaves what is there. */
	flip(&r->new, &a, GREEN, FLIP_WAIT_APPLIED);
	UNTIL(r, published(&r->old, 0) == GREEN);
	assert_null(r->new.control.services[0]->drain);
	take(&r->new, 0);
	take(&r->old, 0);
	UNTIL(r, a.done);
}

static void
test_a_flip_elsewhere_during_the_upgrade_is_obeyed_by_both(void **state)
{
	struct rig *r = *state;

	prepare_new(r);
	/* Another teald of the fleet flips while nobody here reads the store. */
	r->new.store.truth[0].color = BLUE;
	r->new.store.truth[0].epoch = 6;
	yield_old(r);
	pump(r);
	begin_new(r);
	pump(r);
	assert_int_equal(published(&r->new, 0), BLUE);
	assert_int_equal(published(&r->old, 0), BLUE);
	take(&r->new, 0);
	take(&r->old, 0);
	pump(r);
	assert_int_equal(r->new.services[0]->applied_epoch, 6);
}

static void
test_totals_go_on(void **state)
{
	struct rig *r = *state;
	struct service *was = r->old.services[0], *is = r->new.services[0];
	struct tally_color *t = &was->tallies[0].colors[ENTRANCE_MAIN][GREEN];
	struct service_totals totals;

	tally_add(&t->ended[END_DONE], 10);
	tally_add(&t->ended[END_CONNECT], 2);
	tally_add(&t->bytes_in, 1000);
	tally_add(&t->active, 4);
	tally_observe(&t->connect_seconds, 0.002);
	tally_observe(&t->connect_seconds, 99);
	tally_handshake(&was->tallies[0], true, false, 0.02);
	tally_queued(&was->tallies[0], 3.0);
	r->old.control.services[0]->flips_total.by_result[BLUE][E_LOCKED] = 3;
	r->old.control.services[0]->flips_total.by_result[GREEN][E_INCONCLUSIVE] = 6;
	r->old.control.services[0]->flip_seconds.count[2] = 1;
	r->old.control.services[0]->flip_seconds.sum = 0.5;
	atomic_store(&was->admission.held, 4);
	atomic_store(&was->colors[GREEN].backends[0]->connections, 4);
	atomic_store(&was->colors[GREEN].backends[0]->connect_failures, 2);
	hand_over(r);
	assert_int_equal(service_ended(is, ENTRANCE_MAIN, GREEN, END_DONE), 10);
	assert_int_equal(is->inherited->colors[ENTRANCE_MAIN][GREEN].connect_seconds.count[TALLY_BUCKETS], 1);
	assert_int_equal(is->inherited->handshakes[1][0], 1);
	assert_int_equal(is->inherited->handshake_seconds.count[4], 1);	/* (10, 25 ms] */
	assert_int_equal(is->inherited->queue_seconds.count[11], 1);	/* (2.5, 5 s] */
	assert_int_equal(r->new.control.services[0]->flips_total.by_result[BLUE][E_LOCKED], 3);
	assert_int_equal(r->new.control.services[0]->flips_total.by_result[GREEN][E_INCONCLUSIVE], 6);
	assert_int_equal(r->new.control.services[0]->flip_seconds.count[2], 1);
	assert_int_equal(is->admission.held, 4);
	assert_int_equal(is->colors[GREEN].backends[0]->connections, 4);
	assert_int_equal(is->colors[GREEN].backends[0]->connect_failures, 2);
	/* Both go on counting; one that was the old one's becomes ours. */
	tally_add(&is->tallies[0].colors[ENTRANCE_MAIN][GREEN].active, 1);
	tally_add(&is->tallies[0].colors[ENTRANCE_MAIN][GREEN].ended[END_DONE], 5);
	atomic_fetch_add(&is->admission.held, 1);
	tally_add(&t->ended[END_DONE], 1);
	tally_add(&t->active, (uint64_t)-2);
	atomic_store(&was->admission.held, 2);
	atomic_store(&was->colors[GREEN].backends[0]->connections, 1);
	atomic_store(&was->colors[GREEN].backends[0]->connect_failures, 3);
	turn(r, 2);
	service_totals(is, &totals);
	assert_int_equal(service_ended(is, ENTRANCE_MAIN, GREEN, END_DONE), 16);
	assert_int_equal(service_connections(is, ENTRANCE_MAIN, GREEN), 3);
	assert_int_equal(totals.begun[GREEN], 3 + 16 + 2);
	assert_int_equal(is->admission.held, 3);
	assert_int_equal(is->colors[GREEN].backends[0]->connections, 1);
	assert_int_equal(is->colors[GREEN].backends[0]->connect_failures, 3);
	/* What was counted stays, what was held is gone. */
	tally_add(&t->ended[END_DONE], 2);
	tally_add(&t->active, (uint64_t)-1);
	old_ends(r);
	assert_int_equal(service_ended(is, ENTRANCE_MAIN, GREEN, END_DONE), 18);
	assert_int_equal(service_connections(is, ENTRANCE_MAIN, GREEN), 1);
	assert_int_equal(is->admission.held, 1);
	assert_int_equal(is->colors[GREEN].backends[0]->connections, 0);
}

static void
test_health_ejections_and_slow_starts_go_on(void **state)
{
	struct rig *r = *state;
	struct backend *green = r->old.services[0]->colors[GREEN].backends[0];
	struct backend *blue = r->old.services[0]->colors[BLUE].backends[0];
	struct backend *now;
	double at = clock_now();

	clock_move(100);
	green->state = BACKEND_DOWN;
	strcpy(green->error, "connection refused");
	green->checks[0] = 7;
	blue->ejected_until = at + 150;
	blue->ejections = 2;
	blue->ramp_from = at + 90;
	hand_over(r);
	now = r->new.services[0]->colors[GREEN].backends[0];
	assert_int_equal(now->state, BACKEND_DOWN);
	assert_string_equal(now->error, "connection refused");
	assert_int_equal(now->checks[0], 7);
	now = r->new.services[0]->colors[BLUE].backends[0];
	assert_int_equal(now->state, BACKEND_UP);
	assert_true(now->ejected_until == at + 150 && now->ramp_from == at + 90);
	assert_int_equal(now->ejections, 2);
	/* The ejection ends at its time. */
	turn(r, 60);
	assert_true(now->ejected_until == 0);
}

static void
test_by_other_checks_the_own_verdict_counts(void **state)
{
	struct rig *r = *state;

	r->new.sc[0].health.timeout = 3;
	r->old.services[0]->colors[GREEN].backends[0]->state = BACKEND_DOWN;
	hand_over(r);
	assert_int_equal(r->new.services[0]->colors[GREEN].backends[0]->state, BACKEND_UP);
}

struct heard {
	bool done;
	size_t n;
	uint64_t bytes;
	char last[ADDR_TEXT];
};

static void
on_holders(void *arg, const struct holders *h)
{
	struct heard *heard = arg;

	assert_false(heard->done);
	heard->done = true;
	heard->n = h->n;
	for (size_t i = 0; i < h->n; i++) {
		heard->bytes += h->list[i].bytes_in;
		addr_format(&h->list[i].client, heard->last);
	}
}

static void
test_holders_are_those_of_both(void **state)
{
	struct rig *r = *state;
	struct heard heard = { .n = 0 };

	hand_over(r);
	r->old.engine.connections[0][GREEN] = 2;
	r->new.engine.connections[0][GREEN] = 1;
	engines_holders(r->new.control.services[0], GREEN, 10, on_holders, &heard);
	assert_false(heard.done);
	pump(r);
	assert_true(heard.done);
	assert_int_equal(heard.n, 3);
	assert_int_equal(heard.bytes, 14);
	assert_string_equal(heard.last, "10.0.0.2:1234");
	/* One that dies with the question has no holders any more. */
	heard = (struct heard){ .n = 0 };
	engines_holders(r->new.control.services[0], GREEN, 10, on_holders, &heard);
	peer_gone(r->new.peer);
	assert_true(heard.done);
	assert_int_equal(heard.n, 1);
}

static int
set_up_changed(void **state)
{
	static const char *const olds[] = { "web", "shop", "old" }, *const news[] = { "shop2", "web", "fresh" };

	return set_up_with(state, olds, 3, news, 3);
}

static void
test_services_of_one_configuration_alone(void **state)
{
	struct rig *r = *state;

	r->new.sc[0].rename = "shop";
	r->old.services[1]->tallies[0].colors[ENTRANCE_MAIN][BLUE].bytes_in = 77;
	r->old.services[2]->tallies[0].colors[ENTRANCE_MAIN][BLUE].bytes_in = 88;
	hand_over(r);
	/* Renamed: its counters, and it obeys by the old name. */
	assert_int_equal(r->new.services[0]->inherited->colors[ENTRANCE_MAIN][BLUE].bytes_in, 77);
	assert_int_equal(r->new.control.services[0]->n_engines, 2);
	assert_int_equal(r->new.control.services[1]->n_engines, 2);
	/* New: nobody to wait for. */
	assert_int_equal(r->new.control.services[2]->n_engines, 1);
	assert_int_equal(r->new.services[2]->inherited->colors[ENTRANCE_MAIN][BLUE].bytes_in, 0);
	/* Removed: it ends in the old one. */
	assert_true(r->old.engine.orders[2][GREEN].all && r->old.engine.orders[2][BLUE].all);
	assert_true(r->old.engine.orders[2][BLUE].timeout == 30);
	assert_false(r->old.engine.orders[0][BLUE].all || r->old.engine.orders[1][BLUE].all);
}

static void
test_a_successor_that_dies_is_followed_by_another(void **state)
{
	struct rig *r = *state;
	static const char *const web[] = { "web" };

	hand_over(r);
	peer_free(&r->old.peer);
	unmake(&r->new, true);
	memset(&r->new, 0, sizeof(r->new));
	make(r, &r->new, web, 1);
	prepare_new(r);
	r->old.peer = peer_new(&r->old.control, PEER_IS_SUCCESSOR, side_send, &r->old);
	peer_yield(r->old.peer);
	pump(r);
	begin_new(r);
	take(&r->new, 0);
	pump(r);
	assert_int_equal(r->new.control.life, LIFE_SERVING);
	assert_int_equal(r->new.services[0]->record.epoch, 5);
}

static void
test_a_flip_under_way_keeps_the_old_one_from_yielding(void **state)
{
	struct rig *r = *state;
	const char *why;
	struct asker a;

	flip(&r->old, &a, BLUE, FLIP_WAIT_APPLIED);
	assert_false(peer_is_settled(&r->old.control, &why));
	assert_string_equal(why, "a flip is under way");
	UNTIL(r, published(&r->old, 0) == BLUE);
	assert_false(peer_is_settled(&r->old.control, &why));
	take(&r->old, 0);
	UNTIL(r, a.done);
	assert_true(peer_is_settled(&r->old.control, &why));
}

static void
on_written(void *arg, enum err e, const struct record *now, const struct why *why)
{
	assert_int_equal(e, E_STORE);
	assert_null(now);
	assert_true(strlen(why->text) > 0);
	*(bool *)arg = true;
}

static void
test_the_old_one_writes_no_more(void **state)
{
	struct rig *r = *state;
	const struct store_write w = { .service = "web" };
	struct store_status status;
	bool written = false;

	hand_over(r);
	r->old.other_store->write(r->old.other_store, &w, on_written, &written);
	assert_false(written);
	UNTIL(r, written);
	r->old.other_store->status(r->old.other_store, &status);
	assert_string_equal(status.type, "file");
	assert_true(status.up);
}

/* What another version says, or one that is broken, does no harm. */
static void
test_what_makes_no_sense_is_ignored(void **state)
{
	struct rig *r = *state;
	struct buf b;

	hand_over(r);
	buf_init(&b, 1024);
	tlv_str(&b, PEER_T_SERVICE, STR("web"));
	tlv_u64(&b, PEER_T_GENERATION, 1000000);
	tlv_str(&b, PEER_T_COLOR, STR("red"));
	tlv_u64(&b, PEER_T_HELD, UINT64_MAX);
	tlv_u64(&b, 999, 1);
	for (unsigned type = 0; type < 130; type++) {
		peer_on_message(r->new.peer, type, buf_str(&b));
		peer_on_message(r->old.peer, type, buf_str(&b));
		peer_on_message(r->new.peer, type, STR("\1\2\3"));
		peer_on_message(r->old.peer, type, STR(""));
	}
	buf_free(&b);
	pump(r);
	turn(r, 1);
	assert_int_equal(r->new.services[0]->record.epoch, 5);
	old_ends(r);
	assert_int_equal(r->new.services[0]->admission.held, 0);
}

int
main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		STORY(test_the_new_one_goes_on_where_the_old_one_was),
		STORY(test_the_new_one_is_ready_before_it_has_read_the_store),
		STORY(test_many_threads_have_counted_and_all_of_it_is_told),
		STORY(test_another_file_is_another_generation_of_the_configuration),
		STORY(test_nothing_is_told_before_the_old_one_has_yielded),
		STORY(test_a_flip_is_applied_when_the_old_one_obeys_it_too),
		STORY(test_an_old_one_that_is_gone_is_not_waited_for),
		STORY(test_drained_is_said_when_both_are_empty),
		STORY(test_a_command_that_stays_behind_is_told_the_truth_about_both),
		cmocka_unit_test_setup_teardown(test_a_command_that_stays_behind_waits_for_the_fleet, set_up_fleet,
						tear_down_fleet),
		cmocka_unit_test_setup_teardown(test_what_was_too_old_stays_so_until_the_store_answers, set_up_fleet,
						tear_down_fleet),
		STORY(test_a_drain_under_way_keeps_its_deadline),
		STORY(test_a_flip_elsewhere_during_the_upgrade_is_obeyed_by_both),
		STORY(test_totals_go_on),
		STORY(test_health_ejections_and_slow_starts_go_on),
		STORY(test_by_other_checks_the_own_verdict_counts),
		STORY(test_holders_are_those_of_both),
		cmocka_unit_test_setup_teardown(test_services_of_one_configuration_alone, set_up_changed, tear_down),
		STORY(test_a_successor_that_dies_is_followed_by_another),
		STORY(test_a_flip_under_way_keeps_the_old_one_from_yielding),
		STORY(test_the_old_one_writes_no_more),
		STORY(test_what_makes_no_sense_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
