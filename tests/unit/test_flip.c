/* test_flip.c - a flip from question to drain, against a store and an engine
 * that do what the test tells them; the gate connects to real sockets. */
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

static void
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

static void
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

static void
fake_note(struct store *s, const struct audit_entry *entry)
{
	struct fake_store *f = (struct fake_store *)s;

	f->notes++;
	f->last_note = *entry;
}

static enum err
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

static void
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

static void
take(struct fake_engine *f)
{
	f->engine.on_acked(f->engine.arg, &f->engine, f->service, 0, f->generation);
}

static void
fake_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	struct fake_engine *f = (struct fake_engine *)e;

	(void)s;
	(void)color;
	f->orders = *orders;
	f->drains++;
}

static uint64_t
fake_count(struct engine *e, const struct service *s, enum color color)
{
	(void)s;
	return ((struct fake_engine *)e)->connections[color];
}

static const struct engine_class fake_class = { ENGINE_PROXY, .name = "fake" };

static void
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

static const char *
event_word(enum flip_event_kind kind)
{
	switch (kind) {
	case FLIP_EVENT_CHECKED: return "checked ";
	case FLIP_EVENT_COMMITTED: return "committed ";
	case FLIP_EVENT_APPLIED: return "applied ";
	case FLIP_EVENT_DRAINING: return "draining ";
	case FLIP_EVENT_DRAINED: return "drained ";
	}
	fail();
	return NULL;
}

static void
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

static void
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

static int
listen_somewhere(struct addr *a)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(addr_parse_ip("127.0.0.1", 0, a));
	assert_int_equal(bind(fd, &a->u.sa, a->len), 0);
	assert_int_equal(getsockname(fd, &a->u.sa, &a->len), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void
on_stopped(void *arg)
{
	((struct rig *)arg)->stopped = true;
}

/* The clock stands, but for this: whatever is due in that time happens. */
static void
turn(struct rig *r, double seconds)
{
	for (double past = 0; past < seconds; past += 0.02) {
		clock_move(0.02);
		ev_run(r->loop, EVRUN_NOWAIT);
	}
}

#define UNTIL(r, condition) WAIT_UNTIL((r)->loop, condition)

static int
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
		.class = &fake_class, .n_threads = 1, .publish = fake_publish, .drain = fake_drain, .count = fake_count, .close = fake_close,
	};
	assert_int_equal(control_open(&r->control, r->loop, &r->config, NULL, &r->store.store,
				      (struct engine *[]){ &r->engine.engine }, 1, &r->service, 1,
				      &why), OK);
	r->control.on_stopped = on_stopped;
	r->control.arg = r;
	UNTIL(r, r->engine.generation > 0);
	take(&r->engine);
	*state = r;
	return 0;
}

static int
setup(void **state)
{
	return set_up(state, 0, 0);
}

/* An engine whose connections outlived the last teald, which had flipped ten seconds
 * before: some are left on the idle color. */
static int
setup_resumed(void **state)
{
	return set_up(state, clock_wall_us() - 10 * 1000000, 3);
}

static int
setup_late(void **state)
{
	return set_up(state, clock_wall_us() - 100 * 1000000, 3);
}

static int
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

static void
ask(struct rig *r, struct asker *a, struct flip_request q)
{
	memset(a, 0, sizeof(*a));
	a->watcher = (struct flip_watcher){ .progress = asker_on_event, .done = asker_on_done };
	if (q.kind == CHANGE_INITIAL)
		q.kind = CHANGE_FLIP;
	snprintf(q.by.user, sizeof(q.by.user), "ci");
	flip_start(r->control.services[0], &q, &a->watcher);
}

static void
assert_ended(const struct asker *a, enum err e, enum changed changed)
{
	assert_true(a->done);
	if (a->outcome.error != e)
		fail_msg("%s, not %s: %s", err_word(a->outcome.error), err_word(e), a->message);
	assert_int_equal(a->outcome.changed, changed);
}

static void
assert_says(const struct asker *a, const char *text)
{
	if (strstr(a->message, text) == NULL)
		fail_msg("\"%s\" is not in: %s", text, a->message);
}

static void
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

/* It is well, and has applied nothing after that epoch. */
static void
other_has_applied(struct rig *r, unsigned epoch)
{
	char beat[512];

	fleet_free(&others);
	snprintf(beat, sizeof(beat),
		 "{\"id\":\"b\",\"host\":\"other\",\"version\":\"1\",\"pid\":7,\"at_us\":1,\"ready\":true,\"services\":"
		 "{\"web\":{\"applied\":%u,\"holding\":0,\"green\":[1,1,1],\"blue\":[1,1,1]}}}", epoch);
	assert_true(fleet_add(&others, str_from(beat), "a"));
	r->store.store.fleet = fake_fleet;
	r->store.store.refresh = fake_refresh;
}

/* -- stories ---------------------------------------------------------------------- */

static void
test_a_late_member_of_the_fleet_holds_up_no_other_flip(void **state)
{
	struct rig *r = *state;
	struct asker a, b;

	other_has_applied(r, 1);
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_timeout = true, .timeout = NEVER });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	ask(r, &b, (struct flip_request){ .to = GREEN, .wait = FLIP_WAIT_NONE, .has_timeout = true, .timeout = NEVER });
	turn(r, 1);
	/* The usual wait for a fleet that is well. */
	assert_false(a.done || b.done);
	turn(r, 5);
	UNTIL(r, b.done);
	assert_int_equal(b.outcome.error, OK);
	assert_true(a.done);
	assert_int_equal(a.outcome.error, E_CONFLICT);
	assert_says(&a, "before every teald of the fleet had applied blue");
	assert_int_equal(a.outcome.changed, CHANGED_YES);
	take(&r->engine);
	fleet_free(&others);
}

/* The other refuses blue, perhaps: it is not well there. */
static void
test_a_color_that_is_active_is_forced_upon_the_others(void **state)
{
	struct rig *r = *state;
	struct asker a;

	flip_all_the_way(r, BLUE);
	other_has_applied(r, 1);
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_NONE });
	UNTIL(r, a.done);
	assert_int_equal(a.outcome.changed, CHANGED_NO);
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_NONE, .force = true, .has_drain = true, .drain = 3 });
	UNTIL(r, a.done);
	assert_int_equal(a.outcome.changed, CHANGED_YES);
	assert_true(r->store.truth.forced);
	assert_int_equal(r->store.truth.epoch, 3);
	assert_int_equal(r->service->applied_epoch, 3);
	/* No drain began that this could be for. */
	assert_true(r->control.services[0]->rollout.wish.timeout < 0);
	/* Once is enough. */
	turn(r, 6);
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_NONE, .force = true });
	UNTIL(r, a.done);
	assert_int_equal(a.outcome.changed, CHANGED_NO);
	fleet_free(&others);
}

static void
test_applied_is_said_only_after_every_worker_took_it(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .to = BLUE, .reason = "deploy" });
	UNTIL(r, strcmp(a.events, "checked committed ") == 0);
	turn(r, 0.05);
	assert_int_equal(r->engine.active, BLUE);
	assert_string_equal(a.events, "checked committed ");
	assert_false(a.done);
	take(&r->engine);
	assert_true(a.done);
	assert_string_equal(a.events, "checked committed applied ");
	assert_int_equal(a.epoch, 2);
	assert_ended(&a, OK, CHANGED_YES);
	assert_int_equal(a.record.color, BLUE);
	assert_int_equal(a.record.epoch, 2);
	assert_string_equal(r->store.truth.by, "ci");
	assert_string_equal(r->store.truth.reason, "deploy");
	assert_int_equal(r->engine.drains, 1);
}

static void
test_already_active_changes_nothing(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .to = GREEN });
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_NO);
	assert_int_equal(r->store.writes, 0);
}

static void
test_expect_comes_before_already_active(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .to = GREEN, .has_expect = true, .expect = BLUE });
	UNTIL(r, a.done);
	assert_ended(&a, E_CONFLICT, CHANGED_NO);
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_expect = true, .expect = GREEN, .expect_has_epoch = true,
					  .expect_epoch = 7 });
	UNTIL(r, a.done);
	assert_says(&a, "expected green at epoch 7, found green at epoch 1");
	assert_int_equal(r->store.writes, 0);
	assert_int_equal(r->store.notes, 2);
	assert_string_equal(r->store.last_note.result, "conflict");
	assert_string_equal(r->store.last_note.expect, "green@7");
}

static void
test_gate_refuses_a_color_that_nobody_serves_and_force_skips_it(void **state)
{
	struct rig *r = *state;
	struct asker a;

	close(r->listener[BLUE]);
	ask(r, &a, (struct flip_request){ .to = BLUE });
	UNTIL(r, a.done);
	assert_string_equal(a.events, "checked ");
	assert_ended(&a, E_UNHEALTHY, CHANGED_NO);
	assert_says(&a, "0/1 backends healthy, 1 needed");
	assert_says(&a, "connection refused");
	assert_int_equal(r->store.writes, 0);
	assert_int_equal(r->engine.active, GREEN);
	ask(r, &a, (struct flip_request){ .to = BLUE, .force = true });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_true(a.done);
	r->listener[BLUE] = dup(0);
}

/* No descriptor is left for the gate's connect: it waits for one. */
static void
test_what_teald_lacks_is_no_fault_of_a_backend(void **state)
{
	struct rig *r = *state;
	struct rlimit before, none;
	struct asker a;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r->sc.health.timeout = NEVER;	/* as long as it waits */
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_NONE, .has_timeout = true, .timeout = NEVER });
	/* It has been tried more than once by then. */
	turn(r, 5);
	assert_false(a.done);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	clock_pass();
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_YES);
	assert_int_equal(r->control.gate_probes, 0);
}

static void
test_wait_healthy_asks_the_gate_again(void **state)
{
	struct rig *r = *state;
	struct addr at = r->backends[BLUE].address;
	struct asker a;
	int one = 1;

	close(r->listener[BLUE]);
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait_healthy = NEVER });
	turn(r, 0.6);
	assert_false(a.done);
	r->listener[BLUE] = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(r->listener[BLUE], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(r->listener[BLUE], &at.u.sa, at.len), 0);
	assert_int_equal(listen(r->listener[BLUE], 16), 0);
	clock_pass();
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_true(a.done);
}

static void
test_lock_refuses_and_names_who_and_why(void **state)
{
	struct rig *r = *state;
	struct actor bob = { .user = "bob" };
	struct asker a;

	memset(&a, 0, sizeof(a));
	a.watcher = (struct flip_watcher){ .progress = asker_on_event, .done = asker_on_done };
	flip_lock(r->control.services[0], "migration", &bob, &a.watcher);
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_YES);
	assert_true(a.record.lock.on);
	assert_string_equal(a.record.lock.by, "bob");
	assert_int_equal(r->store.truth.epoch, 1);
	ask(r, &a, (struct flip_request){ .to = BLUE, .force = true });
	UNTIL(r, a.done);
	assert_ended(&a, E_LOCKED, CHANGED_NO);
	assert_says(&a, "locked by bob");
	assert_says(&a, "migration");
	a.done = false;
	flip_lock(r->control.services[0], NULL, &bob, &a.watcher);
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_YES);
	assert_false(a.record.lock.on);
	flip_all_the_way(r, BLUE);
}

static void
test_rollback_undoes_once(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .kind = CHANGE_ROLLBACK });
	UNTIL(r, a.done);
	assert_says(&a, "never been flipped");
	flip_all_the_way(r, BLUE);
	ask(r, &a, (struct flip_request){ .kind = CHANGE_ROLLBACK });
	UNTIL(r, r->engine.active == GREEN);
	take(&r->engine);
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_YES);
	ask(r, &a, (struct flip_request){ .kind = CHANGE_ROLLBACK });
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_NO);
	assert_int_equal(r->store.truth.epoch, 3);
}

static void
test_store_that_cannot_write_leaves_all_as_it_was(void **state)
{
	struct rig *r = *state;
	struct asker a;

	r->store.fail = E_NOT_DURABLE;
	ask(r, &a, (struct flip_request){ .to = BLUE });
	UNTIL(r, a.done);
	assert_ended(&a, E_NOT_DURABLE, CHANGED_NO);
	assert_says(&a, "disk full");
	assert_int_equal(r->engine.active, GREEN);
	r->store.fail = OK;
	flip_all_the_way(r, BLUE);
}

static void
test_store_that_does_not_answer_is_unknown_and_the_flip_goes_on(void **state)
{
	struct rig *r = *state;
	struct asker a;

	r->store.hold = true;
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_timeout = true, .timeout = 2 });
	UNTIL(r, r->store.held_done != NULL);
	turn(r, 1.9);
	assert_false(a.done);
	turn(r, 0.2);
	assert_true(a.done);
	assert_ended(&a, E_UNKNOWN, CHANGED_UNKNOWN);
	finish_write(&r->store, &r->store.held, r->store.held_done, r->store.held_arg);
	assert_int_equal(r->engine.active, BLUE);
	take(&r->engine);
	assert_int_equal(r->service->applied_epoch, 2);
}

static void
test_not_applied_in_time_says_changed(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .to = BLUE, .has_timeout = true, .timeout = 2 });
	UNTIL(r, r->engine.active == BLUE);
	turn(r, 1.9);
	assert_false(a.done);
	turn(r, 0.2);
	assert_true(a.done);
	assert_ended(&a, E_TIMEOUT, CHANGED_YES);
	take(&r->engine);
}

static void
test_what_was_found_on_the_idle_color_drains_for_the_rest_of_its_time(void **state)
{
	struct rig *r = *state;

	assert_int_equal(r->engine.drains, 1);
	assert_true(r->engine.orders.timeout > 15 && r->engine.orders.timeout <= 20);
	assert_int_equal(r->engine.orders.ending, END_DRAINED);
	/* Once: another snapshot begins nothing anew. */
	publish_now(r->control.services[0]);
	take(&r->engine);
	assert_int_equal(r->engine.drains, 1);
}

static void
test_what_should_have_drained_long_ago_is_cut_at_once(void **state)
{
	struct rig *r = *state;

	assert_int_equal(r->engine.drains, 1);
	assert_true(r->engine.orders.timeout == 0);
}

static void
test_wait_drained_waits_for_the_last_connection(void **state)
{
	struct rig *r = *state;
	struct asker a;

	r->engine.connections[GREEN] = 3;
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_DRAINED, .has_drain = true, .drain = 7 });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_true(r->engine.orders.timeout == 7);
	assert_true(r->engine.orders.idle == 5);
	UNTIL(r, a.remaining == 3);
	turn(r, 0.1);
	assert_false(a.done);
	r->engine.connections[GREEN] = 0;
	UNTIL(r, a.done);
	assert_non_null(strstr(a.events, "drained "));
	assert_ended(&a, OK, CHANGED_YES);
}

/* The workers get their time to cut, also when this thread is the first that runs
 * after a stop of the whole process. */
static void
test_a_drain_is_not_stuck_because_everything_stood_still(void **state)
{
	struct rig *r = *state;
	const struct drain *d;
	struct asker a;

	r->engine.connections[GREEN] = 1;
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_drain = true, .drain = 7 });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	turn(r, 0.1);
	d = r->control.services[0]->drain;
	clock_move(100);
	turn(r, 4.5);
	assert_true(d->deadline == d->due);
	/* But who is left then has been missed, and that is said. */
	turn(r, 1);
	assert_true(d->deadline > d->due);
}

static void
test_a_refused_flips_drain_is_not_the_next_ones(void **state)
{
	struct rig *r = *state;
	struct record theirs;
	struct asker a;

	r->store.fail = E_CONFLICT;
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_drain = true, .drain = 0 });
	UNTIL(r, a.done);
	/* Somebody else of the fleet flips. */
	theirs = r->store.truth;
	theirs.epoch++;
	theirs.color = BLUE;
	r->store.store.on_record(r->store.store.arg, "web", &theirs);
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_true(r->engine.orders.timeout == 30);
}

/* The store did not say whether it wrote; then it tells what it has. */
static void
end_unknown(struct rig *r, struct record *has)
{
	struct asker a;

	r->engine.connections[GREEN] = 3;
	r->store.fail = E_UNKNOWN;
	r->store.hold = true;
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_drain = true, .drain = 7 });
	UNTIL(r, r->store.held_done != NULL);
	*has = r->store.held.next;
	finish_write(&r->store, &r->store.held, r->store.held_done, r->store.held_arg);
	assert_ended(&a, E_UNKNOWN, CHANGED_UNKNOWN);
}

static void
obey(struct rig *r, const struct record *has)
{
	r->store.truth = *has;
	r->store.store.on_record(r->store.store.arg, "web", has);
	take(&r->engine);
	assert_int_equal(r->service->applied_epoch, has->epoch);
	assert_int_equal(r->engine.drains, 1);
}

static void
test_a_drain_time_is_not_for_another_users_flip_of_that_epoch(void **state)
{
	struct rig *r = *state;
	struct record has;

	end_unknown(r, &has);
	/* It was never written; at another teald somebody else flips. */
	strcpy(has.by, "other");
	obey(r, &has);
	assert_true(r->engine.orders.timeout == r->sc.drain.timeout);
}

static void
test_a_drain_time_is_kept_for_a_flip_that_was_written_after_all(void **state)
{
	struct rig *r = *state;
	struct record has;

	end_unknown(r, &has);
	obey(r, &has);
	assert_true(r->engine.orders.timeout == 7);
}

static void
test_flip_back_during_a_drain_ends_it_and_tells_who_waits(void **state)
{
	struct rig *r = *state;
	struct asker a;

	r->engine.connections[GREEN] = 3;
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_DRAINED });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	flip_all_the_way(r, GREEN);
	assert_true(a.done);
	assert_ended(&a, E_CONFLICT, CHANGED_YES);
	assert_says(&a, "before green had drained");
	/* What drains now is blue, which has nothing. */
	UNTIL(r, r->control.services[0]->drain == NULL);
}

static void
test_flips_of_one_service_take_turns(void **state)
{
	struct rig *r = *state;
	struct asker a, b;

	ask(r, &a, (struct flip_request){ .to = BLUE });
	ask(r, &b, (struct flip_request){ .to = GREEN });
	UNTIL(r, r->engine.active == BLUE);
	turn(r, 0.05);
	assert_int_equal(r->store.writes, 1);
	take(&r->engine);
	UNTIL(r, r->engine.active == GREEN);
	take(&r->engine);
	UNTIL(r, a.done && b.done);
	assert_ended(&a, OK, CHANGED_YES);
	assert_int_equal(a.record.epoch, 2);
	assert_ended(&b, OK, CHANGED_YES);
	assert_int_equal(b.record.epoch, 3);
}

static void
test_an_asker_may_leave_and_the_flip_goes_on(void **state)
{
	struct rig *r = *state;
	struct asker *a = malloc(sizeof(*a));

	ask(r, a, (struct flip_request){ .to = BLUE });
	flip_unwatch(&a->watcher);
	free(a);
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_int_equal(r->service->applied_epoch, 2);
}

static void
test_stop_closes_drains_and_ends(void **state)
{
	struct rig *r = *state;
	const char *reason;

	assert_true(control_ready(&r->control, &reason));
	r->engine.connections[GREEN] = 2;
	stop_begin(&r->control);
	assert_false(control_ready(&r->control, &reason));
	assert_string_equal(reason, "stopping");
	UNTIL(r, r->engine.closed);
	assert_int_equal(r->engine.orders.ending, END_STOP);
	turn(r, 0.1);
	assert_false(r->stopped);
	r->engine.connections[GREEN] = 0;
	UNTIL(r, r->stopped);
}

static void
test_a_lower_epoch_is_never_obeyed(void **state)
{
	struct rig *r = *state;
	struct record old = r->store.truth;

	flip_all_the_way(r, BLUE);
	r->store.store.on_record(r->store.store.arg, "web", &old);
	assert_int_equal(r->service->record.color, BLUE);
	assert_int_equal(r->service->record.epoch, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T_OF(setup, f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_applied_is_said_only_after_every_worker_took_it),
		T(test_already_active_changes_nothing),
		T(test_expect_comes_before_already_active),
		T(test_gate_refuses_a_color_that_nobody_serves_and_force_skips_it),
		T(test_wait_healthy_asks_the_gate_again),
		T(test_a_late_member_of_the_fleet_holds_up_no_other_flip),
		T(test_a_color_that_is_active_is_forced_upon_the_others),
		T(test_what_teald_lacks_is_no_fault_of_a_backend),
		T(test_lock_refuses_and_names_who_and_why),
		T(test_rollback_undoes_once),
		T(test_store_that_cannot_write_leaves_all_as_it_was),
		T(test_store_that_does_not_answer_is_unknown_and_the_flip_goes_on),
		T(test_not_applied_in_time_says_changed),
		T_OF(setup_resumed, test_what_was_found_on_the_idle_color_drains_for_the_rest_of_its_time),
		T_OF(setup_late, test_what_should_have_drained_long_ago_is_cut_at_once),
		T(test_wait_drained_waits_for_the_last_connection),
		T(test_a_drain_is_not_stuck_because_everything_stood_still),
		T(test_a_refused_flips_drain_is_not_the_next_ones),
		T(test_a_drain_time_is_not_for_another_users_flip_of_that_epoch),
		T(test_a_drain_time_is_kept_for_a_flip_that_was_written_after_all),
		T(test_flip_back_during_a_drain_ends_it_and_tells_who_waits),
		T(test_flips_of_one_service_take_turns),
		T(test_an_asker_may_leave_and_the_flip_goes_on),
		T(test_stop_closes_drains_and_ends),
		T(test_a_lower_epoch_is_never_obeyed),
#undef T
	};

	/* The log is not under test. */
	log_set_level(LOG_ERROR_LEVEL + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
