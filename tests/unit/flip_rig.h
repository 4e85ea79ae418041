/* flip_rig.h - a service under control, with a store and an engine that do what the test tells
 * them, and backends that are real sockets: for the tests of flips and drains. */
#ifndef TESTS_UNIT_FLIP_RIG_H
#define TESTS_UNIT_FLIP_RIG_H

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "control/control.h"
#include "control/drain.h"
#include "control/flip.h"
#include "control/publish.h"
#include "wait.h"

/* -- a store that obeys -------------------------------------------------- */

struct fake_store {
	struct store store;
	struct record truth;
	int64_t changed_at;	/* of the color it begins with, us */
	unsigned writes, notes;
	struct audit_entry last_note;
	enum err fail;	/* what the next writes answer */
	bool hold;	/* keep the next write until released */
	struct store_write held;
	store_done_fn *held_done;
	void *held_arg;
};

static inline void
finish_write(struct fake_store *f, const struct store_write *w, store_done_fn *done, void *arg)
{
	static const struct why why = { "disk full" };

	if (f->fail != OK) {
		done(arg, f->fail, &f->truth, &why);
	} else if (w->expect_epoch != f->truth.epoch) {
		done(arg, E_CONFLICT, &f->truth, &why);
	} else {
		f->truth = w->next;
		f->store.on_record(f->store.arg, "web", &f->truth);
		done(arg, OK, &f->truth, &why);
	}
}

static inline void
fake_write(struct store *s, const struct store_write *w, store_done_fn *done, void *arg)
{
	struct fake_store *f = (struct fake_store *)s;

	f->writes++;
	if (!f->hold) {
		finish_write(f, w, done, arg);
		return;
	}
	f->held = *w;
	f->held_done = done;
	f->held_arg = arg;
}

static inline void
fake_note(struct store *s, const struct audit_entry *entry)
{
	struct fake_store *f = (struct fake_store *)s;

	f->notes++;
	f->last_note = *entry;
}

static inline enum err
fake_open(struct store *s, struct why *why)
{
	struct fake_store *f = (struct fake_store *)s;

	(void)why;
	f->truth.epoch = 1;
	f->truth.at_us = f->changed_at;
	s->on_record(s->arg, "web", &f->truth);
	s->on_ready(s->arg);
	return OK;
}

/* -- an engine that obeys --------------------------------------------------- */

struct fake_engine {
	struct engine engine;
	struct service *service;
	enum color active;
	uint64_t generation;
	unsigned n[COLORS];	/* usable backends, as last published */
	uint64_t connections[COLORS];
	struct drain_orders orders;
	unsigned drains;
	bool closed;
};

static inline void
fake_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	struct fake_engine *f = (struct fake_engine *)e;

	f->service = s;
	f->active = (*snapshot)->active;
	f->generation = (*snapshot)->generation;
	f->n[GREEN] = (*snapshot)->colors[GREEN].n;
	f->n[BLUE] = (*snapshot)->colors[BLUE].n;
	snapshot_unref(snapshot);
}

static inline void
take(struct fake_engine *f)
{
	f->engine.on_acked(f->engine.arg, &f->engine, f->service, 0, f->generation);
}

static inline void
fake_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	struct fake_engine *f = (struct fake_engine *)e;

	(void)s;
	(void)color;
	f->orders = *orders;
	f->drains++;
}

static inline uint64_t
fake_count(struct engine *e, const struct service *s, enum color color)
{
	(void)s;
	return ((struct fake_engine *)e)->connections[color];
}

static const struct engine_class fake_class = { ENGINE_PROXY, .name = "fake" };

static inline void
fake_close(struct engine *e)
{
	((struct fake_engine *)e)->closed = true;
	e->on_closed(e->arg);
}

/* -- the rig -------------------------------------------------------------------- */

struct rig {
	struct ev_loop *loop;
	struct config config;
	struct service_config sc;
	struct backend_config backends[COLORS];
	struct service *service;
	struct fake_store store;
	struct fake_engine engine;
	struct control control;
	int listener[COLORS];
	bool stopped;
};

struct asker {
	struct flip_watcher watcher;
	char events[512];	/* their words, in order */
	uint64_t epoch, remaining;	/* of the last event that had one */
	bool done;
	struct flip_outcome outcome;	/* message and service apart */
	char message[1024];
	struct record record;	/* of the service, at the end */
};

static inline const char *
event_word(enum flip_event_kind kind)
{
	switch (kind) {
	case FLIP_EVENT_CHECKED:
		return "checked ";
	case FLIP_EVENT_COMMITTED:
		return "committed ";
	case FLIP_EVENT_APPLIED:
		return "applied ";
	case FLIP_EVENT_DRAINING:
		return "draining ";
	case FLIP_EVENT_DRAINED:
		return "drained ";
	case FLIP_EVENT_BAKING:
		return "baking ";
	case FLIP_EVENT_RAMPING:
		return "ramping ";
	}
	fail();
	return NULL;
}

static inline void
asker_on_event(struct flip_watcher *w, const struct flip_event *e)
{
	struct asker *a = container_of(w, struct asker, watcher);
	const char *word = event_word(e->kind);

	assert_false(a->done);
	assert_true(strlen(a->events) + strlen(word) < sizeof(a->events));
	strcat(a->events, word);
	if (e->epoch > 0)
		a->epoch = e->epoch;
	if (e->kind == FLIP_EVENT_DRAINING)
		a->remaining = e->remaining;
}

static inline void
asker_on_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct asker *a = container_of(w, struct asker, watcher);

	assert_false(a->done);
	assert_true((o->error == OK) == (o->message == NULL));
	a->done = true;
	a->outcome = *o;
	a->record = o->service->record;
	str_copy(a->message, sizeof(a->message), str_from(o->message != NULL ? o->message : ""));
}

static inline int
listen_somewhere(struct addr *a)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(addr_parse_ip("127.0.0.1", 0, a));
	assert_int_equal(bind(fd, &a->u.sa, a->len), 0);
	assert_int_equal(getsockname(fd, &a->u.sa, &a->len), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static inline void
on_stopped(void *arg)
{
	((struct rig *)arg)->stopped = true;
}

/* The clock stands, but for this: whatever is due in that time happens. */
static inline void
turn(struct rig *r, double seconds)
{
	for (double past = 0; past < seconds; past += 0.02) {
		clock_move(0.02);
		ev_run(r->loop, EVRUN_NOWAIT);
	}
}

#define UNTIL(r, condition) WAIT_UNTIL((r)->loop, condition)

static inline int
set_up(void **state, int64_t changed_at, uint64_t left)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct why why;

	clock_stop();
	r->loop = ev_loop_new(EVFLAG_AUTO);
	r->sc.name = "web";
	r->sc.labels_json = "";
	r->sc.health.type = HEALTH_NONE;
	r->sc.health.timeout = 0.5;
	r->sc.min_healthy = (struct quorum){ 50, true };
	r->sc.drain = (struct drain_config){ .timeout = 30, .idle = 5 };
	for (int c = 0; c < COLORS; c++) {
		r->listener[c] = listen_somewhere(&r->backends[c].address);
		r->backends[c].health_address = r->backends[c].address;
		r->backends[c].host = "127.0.0.1";
		r->backends[c].weight = 1;
		r->sc.colors[c] = (struct color_config){ .backends = &r->backends[c], .n_backends = 1 };
	}
	r->config.refs = 1;
	r->config.services = &r->sc;
	r->config.n_services = 1;
	r->config.stop.timeout = 1;
	r->service = service_new(&r->sc, 0, 1);
	r->store.store = (struct store){ .open = fake_open, .write = fake_write, .note = fake_note };
	r->store.changed_at = changed_at;
	r->engine.connections[BLUE] = left;
	r->engine.engine = (struct engine){
		.class = &fake_class,
		.n_threads = 1,
		.publish = fake_publish,
		.drain = fake_drain,
		.count = fake_count,
		.close = fake_close,
	};
	assert_int_equal(control_open(&r->control, r->loop, &r->config, NULL, &r->store.store,
				      (struct engine *[]){ &r->engine.engine }, 1, &r->service, 1, &why),
			 OK);
	r->control.on_stopped = on_stopped;
	r->control.arg = r;
	UNTIL(r, r->engine.generation > 0);
	take(&r->engine);
	*state = r;
	return 0;
}

static inline int
setup(void **state)
{
	return set_up(state, 0, 0);
}

/* An engine whose connections outlived the last teald, which had flipped ten seconds
 * before: some are left on the idle color. */
static inline int
setup_resumed(void **state)
{
	return set_up(state, clock_wall_us() - 10 * 1000000, 3);
}

static inline int
setup_late(void **state)
{
	return set_up(state, clock_wall_us() - 100 * 1000000, 3);
}

static inline int
teardown(void **state)
{
	struct rig *r = *state;

	control_close(&r->control);
	service_free(&r->service);
	for (int c = 0; c < COLORS; c++)
		close(r->listener[c]);
	ev_loop_destroy(r->loop);
	clock_go();
	free(r);
	return 0;
}

static inline void
ask(struct rig *r, struct asker *a, struct flip_request q)
{
	memset(a, 0, sizeof(*a));
	a->watcher = (struct flip_watcher){ .progress = asker_on_event, .done = asker_on_done };
	if (q.kind == CHANGE_INITIAL)
		q.kind = CHANGE_FLIP;
	snprintf(q.by.user, sizeof(q.by.user), "ci");
	flip_start(r->control.services[0], &q, &a->watcher);
}

static inline void
assert_ended(const struct asker *a, enum err e, enum changed changed)
{
	assert_true(a->done);
	if (a->outcome.error != e)
		fail_msg("%s, not %s: %s", err_word(a->outcome.error), err_word(e), a->message);
	assert_int_equal(a->outcome.changed, changed);
}

static inline void
assert_says(const struct asker *a, const char *text)
{
	if (strstr(a->message, text) == NULL)
		fail_msg("\"%s\" is not in: %s", text, a->message);
}

static inline void
flip_all_the_way(struct rig *r, enum color to)
{
	struct asker a;

	ask(r, &a, (struct flip_request){ .to = to });
	UNTIL(r, r->engine.active == to);
	take(&r->engine);
	UNTIL(r, a.done);
	assert_int_equal(a.outcome.error, OK);
}

/* -- a fleet with another teald ---------------------------------------------------- */

static struct fleet others;

static inline const struct fleet *
fake_fleet(const struct store *s)
{
	(void)s;
	return &others;
}

static inline void
fake_refresh(struct store *s, store_refreshed_fn *done, void *arg)
{
	static const struct why why = { "" };

	(void)s;
	done(arg, OK, &why);
}

/* It is well, and has applied nothing after that epoch. */
static inline void
other_has_applied(struct rig *r, unsigned epoch)
{
	char beat[512];

	fleet_free(&others);
	snprintf(
		beat, sizeof(beat),
		"{\"id\":\"b\",\"host\":\"other\",\"version\":\"1\",\"pid\":7,\"at_us\":1,\"ready\":true,\"services\":"
		"{\"web\":{\"applied\":%u,\"holding\":0,\"green\":[1,1,1],\"blue\":[1,1,1]}}}",
		epoch);
	assert_true(fleet_add(&others, str_from(beat), "a"));
	r->store.store.fleet = fake_fleet;
	r->store.store.refresh = fake_refresh;
}

#define T_OF(setup, f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T(f) T_OF(setup, f)

/* The log is not under test. */
#define RUN_FLIP_TESTS(tests) (log_set_level(LOG_ERROR_LEVEL + 1), cmocka_run_group_tests(tests, NULL, NULL))

#endif
