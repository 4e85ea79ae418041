/* flip.c - one change of the active color, step by step.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/flip.h"
#include "control/gate.h"
#include "control/reply.h"

#define APPLIED_TIMEOUT 5.0
#define DRAINED_EXTRA 5.0
#define GATE_AGAIN 0.2
/* How soon the others are asked again whether they have applied, at first and
 * at most; or emptied. */
#define FLEET_AGAIN 0.0005
#define FLEET_AGAIN_MAX 0.02
#define HOLDERS_AGAIN 0.25
/* How long a store that went away after the change may keep us from learning
 * who has applied it. */
#define UNSURE_SECONDS 1.0

enum flip_state { FLIP_WAITING, FLIP_CHECKING, FLIP_STORING, FLIP_APPLYING, FLIP_DRAINING, FLIP_OVER };

struct flip {
	struct entry *entry;
	struct link link;	/* entry's flips, then its drainers */
	enum flip_state state;
	struct flip_request request;
	enum color from, to;
	struct flip_watcher *watcher;	/* NULL: nobody listens (any more) */
	struct gate *gate;
	bool checked_told;
	double started;	/* clock_now() */
	double healthy_until;	/* the gate is asked again until then */
	uint64_t epoch;	/* after the change */
	bool changed;	/* by this flip; false when it was active already */
	uint64_t checked_epoch;	/* the record's when the checks began */
	bool asking;	/* the store is being read for us: we cannot go before it answers */
	enum { FRESH_UNKNOWN, FRESH_READ, FRESH_FAILED } fresh;	/* the store, before the checks */
	struct why not_fresh;
	bool local;	/* applied here; now the others */
	double unsure_since;	/* clock_now() since when nobody can say whether they have; 0: they can */
	char late[512];	/* members that have not applied it, as last read */
	double drain_seconds;
	uint64_t drain_cut;
	double pause;	/* until the others were asked again, seconds */
	ev_timer again;	/* the gate, the others */
	ev_timer timeout;
};

/* What may follow what. */
static bool
is_allowed(enum flip_state from, enum flip_state to)
{
	switch (from) {
	case FLIP_WAITING:
		return to == FLIP_CHECKING || to == FLIP_OVER;
	case FLIP_CHECKING:
		return to == FLIP_STORING || to == FLIP_APPLYING || to == FLIP_DRAINING || to == FLIP_OVER;
	case FLIP_STORING:
		return to == FLIP_APPLYING || to == FLIP_OVER;
	case FLIP_APPLYING:
		return to == FLIP_DRAINING || to == FLIP_OVER;
	case FLIP_DRAINING:
		return to == FLIP_OVER;
	case FLIP_OVER:
		return false;
	}
	return false;
}

static void
become(struct flip *f, enum flip_state state)
{
	CHECK(is_allowed(f->state, state));
	f->state = state;
}

static struct control *
control_of(const struct flip *f)
{
	return f->entry->control;
}

/* -- answers ----------------------------------------------------------------- */

/* The next in the queue gets its turn from the loop, not from our stack. */
static void
next_turn(struct entry *e)
{
	struct link *first = list_first(&e->flips);
	struct flip *f = first != NULL ? list_entry(first, struct flip, link) : NULL;

	if (f == NULL || f->state != FLIP_WAITING)
		return;
	become(f, FLIP_CHECKING);
	ev_timer_set(&f->again, 0.0, 0.0);
	ev_timer_start(e->control->loop, &f->again);
}

static void
flip_free(struct flip *f)
{
	struct entry *e = f->entry;

	become(f, FLIP_OVER);
	ev_timer_stop(e->control->loop, &f->again);
	ev_timer_stop(e->control->loop, &f->timeout);
	gate_free(&f->gate);
	flip_let_go(&f->watcher);
	list_remove(&f->link);
	if (!f->asking)
		free(f);
	next_turn(e);
}

/* Says the last word to the watcher, who then knows this flip no more. */
static void
answer(struct flip *f, struct reply *r)
{
	reply_send(r, flip_let_go(&f->watcher), true);
}

static void
answer_ok(struct flip *f)
{
	struct reply r;

	reply_ok(&r);
	reply_state(&r, f->entry->service);
	json_bool(&r.json, "changed", f->changed);
	answer(f, &r);
}

/* changed: 0, 1, or -1 for "nobody knows". */
static void
answer_error(struct flip *f, enum err e, const char *message, int changed)
{
	struct reply r;

	reply_error(&r, e, message);
	reply_state(&r, f->entry->service);
	if (changed < 0)
		json_null(&r.json, "changed");
	else
		json_bool(&r.json, "changed", changed > 0);
	answer(f, &r);
}

static void
fill_entry(const struct flip *f, struct audit_entry *a, uint64_t epoch, enum err result)
{
	const struct flip_request *q = &f->request;

	memset(a, 0, sizeof(*a));
	str_copy(a->service, sizeof(a->service), str_from(f->entry->service->config->name));
	a->at_us = clock_wall_us();
	audit_set_host(a);
	a->change = q->kind;
	a->epoch = epoch;
	a->from = f->from;
	a->to = f->to;
	memcpy(a->by, q->by.user, sizeof(a->by));
	a->uid = q->by.uid;
	a->pid = q->by.pid;
	memcpy(a->reason, q->reason, sizeof(a->reason));
	if (q->has_expect && q->expect_has_epoch)
		snprintf(a->expect, sizeof(a->expect), "%s@%llu", color_word(q->expect),
			 (unsigned long long)q->expect_epoch);
	else if (q->has_expect)
		snprintf(a->expect, sizeof(a->expect), "%s", color_word(q->expect));
	str_copy(a->result, sizeof(a->result), str_from(err_word(result)));
}

/* Nothing was changed, or nobody knows: tell everybody and go. */
static void
refuse(struct flip *f, enum err e, const char *message)
{
	struct entry *en = f->entry;
	struct control *c = control_of(f);
	struct audit_entry a;

	en->flips_total.by_result[f->to][e]++;
	fill_entry(f, &a, en->service->record.epoch, e);
	if (en->service->known)
		c->store->note(c->store, &a);
	BUS_EMIT(&c->bus, LOG_WARN_LEVEL, "flip.refused", en->service, LS("to", color_word(f->to)),
		 LS("error", err_word(e)), LS("message", message), LS("by", f->request.by.user),
		 LS("reason", f->request.reason));
	answer_error(f, e, message, e == E_UNKNOWN ? -1 : 0);
	flip_free(f);
}

/* -- the rest of the fleet -------------------------------------------------------- */

static void ask_fleet(struct flip *f);
static void flip_on_refreshed(void *arg, enum err e, const struct why *why);
static void commit(struct flip *f);
static bool refuse_if_locked(struct flip *f);
static void check(struct flip *f);

static const struct fleet *
fleet_of(const struct flip *f)
{
	const struct store *s = control_of(f)->store;

	return s->fleet != NULL ? s->fleet(s) : NULL;
}

/* What is active here is not what the store says: a flip settles it. */
static bool
is_disputed(const struct flip *f)
{
	const struct store *s = control_of(f)->store;

	return s->disputed != NULL && s->disputed(s, f->entry->service->config->name);
}

static void
ask_store(struct flip *f)
{
	struct store *s = control_of(f)->store;

	f->asking = true;
	s->refresh(s, flip_on_refreshed, f);
}

static void
ask_again(struct flip *f, double seconds)
{
	ev_timer_set(&f->again, seconds, 0.0);
	ev_timer_start(control_of(f)->loop, &f->again);
}

/* -- after the store: applied, drained ------------------------------------------ */

static void
observe_seconds(struct entry *e, double seconds)
{
	unsigned i = 0;

	while (i < TALLY_BUCKETS && seconds > tally_bounds[i])
		i++;
	e->flip_seconds.count[i]++;
	e->flip_seconds.sum += seconds;
}

static void
wait_for_drain(struct flip *f)
{
	become(f, FLIP_DRAINING);
	list_remove(&f->link);
	list_append(&f->entry->drainers, &f->link);
	next_turn(f->entry);
}

/* "drained" needs the drain that this flip began, which the caller starts. */
static void
applied(struct flip *f)
{
	struct entry *e = f->entry;
	double seconds = clock_now() - f->started;
	struct reply r;

	if (f->changed) {
		e->flips_total.by_result[f->to][OK]++;
		observe_seconds(e, seconds);
	}
	reply_event(&r, "applied");
	json_u64(&r.json, "epoch", f->epoch);
	json_double(&r.json, "ms", (double)(int64_t)(seconds * 1e6) / 1e3);
	reply_send(&r, f->watcher, false);
	if (f->request.wait == FLIP_WAIT_DRAINED && (e->drain != NULL || e->draining_due)) {
		wait_for_drain(f);
		return;
	}
	if (f->request.wait == FLIP_WAIT_DRAINED && fleet_of(f) != NULL) {
		/* Empty here; perhaps not everywhere. */
		wait_for_drain(f);
		ask_store(f);
		return;
	}
	answer_ok(f);
	flip_free(f);
}

void
flip_on_applied(struct entry *e)
{
	struct link *first = list_first(&e->flips);
	struct flip *f = first != NULL ? list_entry(first, struct flip, link) : NULL;

	if (f == NULL || f->state != FLIP_APPLYING || f->local || e->service->applied_epoch < f->epoch)
		return;
	f->local = true;
	if (fleet_of(f) == NULL)
		applied(f);
	else if (!f->asking)
		ask_store(f);
}

/* Flipped, but some of the fleet have not applied it: they are named. */
static void
partial(struct flip *f)
{
	struct entry *e = f->entry;
	char text[sizeof(f->late) + 256];

	snprintf(text, sizeof(text), "%s -> %s: flipped, but not applied by %s; see: tealctl fleet",
		 e->service->config->name, color_word(f->to), f->late);
	e->flips_total.by_result[f->to][E_PARTIAL_FLEET]++;
	BUS_EMIT(&control_of(f)->bus, LOG_ERROR_LEVEL, "flip.partial_fleet", e->service, LS("to", color_word(f->to)),
		 LU("epoch", f->epoch), LS("late", f->late), LS("by", f->request.by.user));
	answer_error(f, E_PARTIAL_FLEET, text, f->changed);
	flip_free(f);
}

/* The store has been read again: has everybody applied it? */
static void
look_for_laggards(struct flip *f)
{
	struct buf names;
	size_t late, missing;

	buf_init(&names, sizeof(f->late) - 1);
	late = fleet_laggards(fleet_of(f), f->entry->service->config->name, f->epoch, &names, &missing);
	str_copy(f->late, sizeof(f->late), buf_str(&names));
	f->unsure_since = 0;
	buf_free(&names);
	if (late == 0)
		applied(f);
	else if (late == missing)
		partial(f);
	else
		ask_again(f, f->pause = f->pause == 0 ? FLEET_AGAIN :
				  2 * f->pause < FLEET_AGAIN_MAX ? 2 * f->pause : FLEET_AGAIN_MAX);
}

static void
drained(struct flip *f)
{
	struct reply r;

	reply_event(&r, "drained");
	json_u64(&r.json, "epoch", f->epoch);
	json_double(&r.json, "seconds", f->drain_seconds);
	json_u64(&r.json, "cut", f->drain_cut);
	reply_send(&r, f->watcher, false);
	answer_ok(f);
	flip_free(f);
}

static void
look_for_holders(struct flip *f)
{
	uint64_t left = fleet_holding(fleet_of(f), f->entry->service->config->name, f->epoch);
	struct reply r;

	if (left == 0) {
		drained(f);
		return;
	}
	reply_event(&r, "draining");
	json_u64(&r.json, "remaining", left);
	reply_send(&r, f->watcher, false);
	ask_again(f, HOLDERS_AGAIN);
}

void
flip_on_drain_progress(struct entry *e, uint64_t remaining)
{
	LIST_EACH(it, &e->drainers) {
		struct flip *f = list_entry(it, struct flip, link);
		struct reply r;

		reply_event(&r, "draining");
		json_u64(&r.json, "remaining", remaining);
		reply_send(&r, f->watcher, false);
	}
}

void
flip_on_drained(struct entry *e, double seconds, uint64_t cut)
{
	struct store *store = e->control->store;

	if (store->announce != NULL)
		store->announce(store);
	LIST_EACH(it, &e->drainers) {
		struct flip *f = list_entry(it, struct flip, link);

		f->drain_seconds = seconds;
		f->drain_cut = cut;
		if (fleet_of(f) == NULL)
			drained(f);
		else
			ask_again(f, HOLDERS_AGAIN);
	}
}

void
flip_on_superseded(struct entry *e)
{
	LIST_EACH(it, &e->drainers) {
		struct flip *f = list_entry(it, struct flip, link);
		char text[256];

		snprintf(text, sizeof(text),
			 "%s: flipped again (now %s, epoch %llu) before %s had drained; its connections stay",
			 e->service->config->name, color_word(e->service->record.color),
			 (unsigned long long)e->service->record.epoch, color_word(color_other(f->to)));
		answer_error(f, E_CONFLICT, text, 1);
		flip_free(f);
	}
}

static void
flip_on_store(void *arg, enum err e, const struct record *now, const struct why *why)
{
	struct flip *f = arg;
	struct entry *en = f->entry;
	struct reply r;
	char text[sizeof(why->text) + 128];

	if (e != OK) {
		/* It began no drain; the next one is perhaps a stranger's. */
		if (e != E_UNKNOWN)
			en->drain_timeout = -1;
		/* A lock that came between our look and our write. */
		if (e == E_CONFLICT && refuse_if_locked(f))
			return;
		if (e == E_CONFLICT)
			snprintf(text, sizeof(text), "%s: somebody else changed it first; now %s at epoch %llu",
				 en->service->config->name, color_word(en->service->record.color),
				 (unsigned long long)en->service->record.epoch);
		else
			snprintf(text, sizeof(text), "%s -> %s: %s", en->service->config->name, color_word(f->to),
				 why->text);
		refuse(f, e, text);
		return;
	}
	f->changed = true;
	if (now != NULL)
		f->epoch = now->epoch;
	become(f, FLIP_APPLYING);
	BUS_EMIT(&control_of(f)->bus, LOG_INFO_LEVEL, "flip.committed", en->service, LS("from", color_word(f->from)),
		 LS("to", color_word(f->to)), LU("epoch", f->epoch), LS("kind", change_word(f->request.kind)),
		 LS("by", f->request.by.user), LS("reason", f->request.reason));
	reply_event(&r, "committed");
	json_u64(&r.json, "epoch", f->epoch);
	reply_send(&r, f->watcher, false);
	if (f->request.wait == FLIP_WAIT_NONE)
		answer_ok(f);
	/* The store told the record before it told us, so the snapshot is on its
	 * way; perhaps it has even arrived. */
	flip_on_applied(en);
}

/* -- before the store --------------------------------------------------------- */

static void
commit(struct flip *f)
{
	struct control *c = control_of(f);
	const struct flip_request *q = &f->request;
	struct record *now = &f->entry->service->record;
	struct store_write w = { .service = f->entry->service->config->name, .expect_epoch = now->epoch, .next = *now };

	f->epoch = now->epoch + 1;
	w.next.color = f->to;
	w.next.epoch = f->epoch;
	w.next.change = q->kind;
	w.next.at_us = clock_wall_us();
	memcpy(w.next.by, q->by.user, sizeof(w.next.by));
	memcpy(w.next.reason, q->reason, sizeof(w.next.reason));
	w.forced = q->force;
	fill_entry(f, &w.entry, f->epoch, OK);
	f->entry->drain_timeout = q->has_drain ? q->drain : -1;
	become(f, FLIP_STORING);
	c->store->write(c->store, &w, flip_on_store, f);
}

static bool
refuse_if_locked(struct flip *f)
{
	const struct record *r = &f->entry->service->record;
	char text[RECORD_REASON + 256], at[CLOCK_TEXT];

	if (!r->lock.on)
		return false;
	clock_format(r->lock.at_us, 3, at);
	snprintf(text, sizeof(text), "%s is locked by %s since %s: %s (to allow flips again: tealctl unlock %s)",
		 f->entry->service->config->name, r->lock.by, at, r->lock.reason, f->entry->service->config->name);
	refuse(f, E_LOCKED, text);
	return true;
}

static void
refuse_unhealthy(struct flip *f)
{
	struct buf text;
	char line[1024];

	buf_init(&text, sizeof(line) - 1);
	buf_printf(&text, "%s -> %s: ", f->entry->service->config->name, color_word(f->to));
	gate_text(f->gate, &text);
	str_copy(line, sizeof(line), buf_str(&text));
	buf_free(&text);
	refuse(f, E_UNHEALTHY, line);
}

static void
flip_on_gate(struct gate *g, void *arg)
{
	struct flip *f = arg;
	struct control *c = control_of(f);
	struct reply r;

	CHECK(f->gate == g && f->state == FLIP_CHECKING);
	if (!gate_is_open(g) && clock_now() + GATE_AGAIN < f->healthy_until) {
		health_hurry(c->health, f->entry->service);
		ev_timer_set(&f->again, GATE_AGAIN, 0.0);
		ev_timer_start(c->loop, &f->again);
		return;
	}
	reply_event(&r, "checked");
	reply_gate(&r, g);
	reply_gate_backends(&r, g);
	reply_send(&r, f->watcher, false);
	if (!gate_is_open(g)) {
		refuse_unhealthy(f);
		return;
	}
	/* Asking took time; a lock set meanwhile counts. */
	if (!refuse_if_locked(f))
		ask_fleet(f);
}

/* With a fleet, its store is read first: a store that does not answer refuses
 * the flip before anything is written, and every other member's view counts. */
static void
ask_fleet(struct flip *f)
{
	if (fleet_of(f) == NULL) {
		commit(f);
		return;
	}
	ask_store(f);
}

static void
fleet_answered(struct flip *f)
{
	const struct service *s = f->entry->service;
	struct buf names;
	char text[1024];
	size_t against = 0;

	if (s->record.epoch != f->checked_epoch) {
		snprintf(text, sizeof(text), "%s: somebody else changed it first; now %s at epoch %llu", s->config->name,
			 color_word(s->record.color), (unsigned long long)s->record.epoch);
		refuse(f, E_CONFLICT, text);
		return;
	}
	if (refuse_if_locked(f))
		return;
	buf_init(&names, 600);
	if (!f->request.force)
		against = fleet_objections(fleet_of(f), s->config->name, f->to, &names);
	snprintf(text, sizeof(text), "%s -> %s: not every teald of the fleet can reach it: %.*s", s->config->name,
		 color_word(f->to), (int)buf_len(&names), buf_str(&names).p);
	buf_free(&names);
	if (against > 0 && clock_now() + GATE_AGAIN < f->healthy_until)
		ask_again(f, GATE_AGAIN);
	else if (against > 0)
		refuse(f, E_UNHEALTHY, text);
	else
		commit(f);
}

/* It is applied here; of the others nothing can be learned now. */
static void
wait_for_store(struct flip *f, const struct why *why)
{
	if (f->unsure_since == 0)
		f->unsure_since = clock_now();
	if (clock_now() - f->unsure_since < UNSURE_SECONDS) {
		ask_again(f, GATE_AGAIN);
		return;
	}
	snprintf(f->late, sizeof(f->late), "nobody can say whom: %.400s", why->text);
	partial(f);
}

static void
refuse_without_store(struct flip *f, const struct why *why)
{
	char text[sizeof(why->text) + 128];

	snprintf(text, sizeof(text), "%s -> %s: %s; nothing changed", f->entry->service->config->name,
		 color_word(f->to), why->text);
	refuse(f, E_STORE, text);
}

/* The store was read, or not, at whatever stage we asked. */
static void
flip_on_refreshed(void *arg, enum err e, const struct why *why)
{
	struct flip *f = arg;

	f->asking = false;
	switch (f->state) {
	case FLIP_CHECKING:
		if (f->fresh == FRESH_UNKNOWN) {
			f->fresh = e == OK ? FRESH_READ : FRESH_FAILED;
			f->not_fresh = *why;
			check(f);
		} else if (e == OK) {
			fleet_answered(f);
		} else {
			refuse_without_store(f, why);
		}
		return;
	case FLIP_APPLYING:
		if (e == OK)
			look_for_laggards(f);
		else
			wait_for_store(f, why);
		return;
	case FLIP_DRAINING:
		if (e == OK)
			look_for_holders(f);
		else
			ask_again(f, GATE_AGAIN);
		return;
	case FLIP_WAITING:
	case FLIP_STORING:
		return;
	case FLIP_OVER:
		/* Gone while we asked. */
		free(f);
		return;
	}
}

/* Whom a rollback leads back to; false when the flip has been answered. */
static bool
resolve_rollback(struct flip *f)
{
	const struct record *r = &f->entry->service->record;
	char text[256];

	f->to = color_other(r->color);
	switch (r->change) {
	case CHANGE_ROLLBACK:
		f->to = r->color;
		answer_ok(f);
		flip_free(f);
		return false;
	case CHANGE_FLIP:
		return true;
	case CHANGE_INITIAL:
	case CHANGE_LOCK:
	case CHANGE_UNLOCK:
		break;
	}
	f->to = r->color;
	snprintf(text, sizeof(text), "%s has never been flipped: there is nothing to roll back",
		 f->entry->service->config->name);
	refuse(f, E_CONFLICT, text);
	return false;
}

static bool
refuse_unexpected(struct flip *f)
{
	const struct flip_request *q = &f->request;
	const struct record *r = &f->entry->service->record;
	char text[256], epoch[32] = "";

	if (!q->has_expect || (q->expect == r->color && (!q->expect_has_epoch || q->expect_epoch == r->epoch)))
		return false;
	if (q->expect_has_epoch)
		snprintf(epoch, sizeof(epoch), " at epoch %llu", (unsigned long long)q->expect_epoch);
	snprintf(text, sizeof(text), "%s: expected %s%s, found %s at epoch %llu", f->entry->service->config->name,
		 color_word(q->expect), epoch, color_word(r->color), (unsigned long long)r->epoch);
	refuse(f, E_CONFLICT, text);
	return true;
}

/* It has the color already.  If that is not applied or drained yet and the
 * caller wants to wait for it, it waits: for every member of a fleet. */
static void
already_active(struct flip *f)
{
	struct service *s = f->entry->service;

	f->epoch = s->record.epoch;
	if (f->request.wait != FLIP_WAIT_NONE && s->applied_epoch < f->epoch) {
		become(f, FLIP_APPLYING);
		return;
	}
	if (f->request.wait != FLIP_WAIT_NONE && fleet_of(f) != NULL) {
		become(f, FLIP_APPLYING);
		f->local = true;
		look_for_laggards(f);
		return;
	}
	if (f->request.wait == FLIP_WAIT_DRAINED && f->entry->drain != NULL) {
		wait_for_drain(f);
		return;
	}
	answer_ok(f);
	flip_free(f);
}

/* In this order: expect, already active, lock, gate, store.  A fleet's store is
 * read first, for somebody else may just have changed it; one that cannot be
 * read leaves only what is refused anyhow, and no gate has to be waited for. */
static void
check(struct flip *f)
{
	struct service *s = f->entry->service;

	f->from = s->record.color;
	if (!s->known) {
		refuse(f, E_STORE, "the store has not been read yet; try again when /readyz says ready");
		return;
	}
	if (fleet_of(f) != NULL && f->fresh == FRESH_UNKNOWN) {
		ask_store(f);
		return;
	}
	if (refuse_unexpected(f))
		return;
	/* What the checks are about; the gate takes time, and others flip. */
	f->checked_epoch = s->record.epoch;
	if (f->fresh == FRESH_FAILED) {
		if (!refuse_if_locked(f))
			refuse_without_store(f, &f->not_fresh);
		return;
	}
	if (f->request.kind == CHANGE_ROLLBACK) {
		if (!resolve_rollback(f))
			return;
	} else if (f->to == s->record.color && !is_disputed(f)) {
		already_active(f);
		return;
	}
	if (refuse_if_locked(f))
		return;
	if (f->request.force) {
		ask_fleet(f);
		return;
	}
	gate_free(&f->gate);
	f->gate = gate_new(f->entry, f->to, flip_on_gate, f);
}

static void
flip_on_again(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct flip *f = container_of(t, struct flip, again);

	(void)loop;
	(void)revents;
	if (f->state == FLIP_CHECKING)
		check(f);
	else if (!f->asking)
		ask_store(f);
}

static void
flip_on_timeout(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct flip *f = container_of(t, struct flip, timeout);
	const char *name = f->entry->service->config->name;
	double after = clock_now() - f->started;
	char text[256];

	(void)loop;
	(void)revents;
	switch (f->state) {
	case FLIP_WAITING:
		snprintf(text, sizeof(text), "%s -> %s: another flip has been under way for %.3g s; nothing changed",
			 name, color_word(f->to), after);
		refuse(f, E_CONFLICT, text);
		break;
	case FLIP_CHECKING:
		if (f->asking) {
			snprintf(text, sizeof(text), "%s -> %s: the store has not answered within %.3g s; nothing changed",
				 name, color_word(f->to), after);
			refuse(f, E_STORE, text);
			break;
		}
		snprintf(text, sizeof(text), "%s -> %s: not found healthy within %.3g s; nothing changed", name,
			 color_word(f->to), after);
		refuse(f, E_UNHEALTHY, text);
		break;
	case FLIP_STORING:
		/* Too late to call it back: the flip goes on, its asker is told
		 * that nobody knows yet. */
		snprintf(text, sizeof(text), "%s -> %s: the store has not answered within %.3g s; see: tealctl status %s",
			 name, color_word(f->to), after, name);
		answer_error(f, E_UNKNOWN, text, -1);
		break;
	case FLIP_APPLYING:
		if (f->local && f->late[0] != '\0') {
			partial(f);
			break;
		}
		snprintf(text, sizeof(text), "%s -> %s: flipped, but not applied everywhere within %.3g s", name,
			 color_word(f->to), after);
		answer_error(f, E_TIMEOUT, text, f->changed);
		/* The others' laggards need not hold up the next flip here. */
		if (f->local)
			flip_free(f);
		break;
	case FLIP_DRAINING:
		snprintf(text, sizeof(text), "%s -> %s: flipped and applied, but %s has not drained within %.3g s; see: "
			 "tealctl drain %s", name, color_word(f->to), color_word(color_other(f->to)), after, name);
		answer_error(f, E_TIMEOUT, text, f->changed);
		flip_free(f);
		break;
	case FLIP_OVER:
		break;
	}
}

static double
timeout_of(const struct flip *f)
{
	const struct flip_request *q = &f->request;
	const struct drain_config *d = &f->entry->service->config->drain;

	if (q->has_timeout)
		return q->timeout;
	if (q->wait == FLIP_WAIT_DRAINED)
		return q->wait_healthy + (q->has_drain ? q->drain : d->timeout) + DRAINED_EXTRA;
	return q->wait_healthy + APPLIED_TIMEOUT;
}

void
flip_start(struct entry *e, const struct flip_request *request, struct flip_watcher *watcher)
{
	struct flip *f = must_alloc(sizeof(*f));
	struct ev_loop *loop = e->control->loop;

	f->entry = e;
	f->request = *request;
	f->from = e->service->record.color;
	f->to = request->kind == CHANGE_ROLLBACK ? color_other(f->from) : request->to;
	flip_watch(&f->watcher, watcher);
	f->started = clock_now();
	f->healthy_until = request->wait_healthy > 0 ? f->started + request->wait_healthy : 0;
	ev_timer_init(&f->again, flip_on_again, 0.0, 0.0);
	ev_timer_init(&f->timeout, flip_on_timeout, timeout_of(f), 0.0);
	if (timeout_of(f) > 0)
		ev_timer_start(loop, &f->timeout);
	list_append(&e->flips, &f->link);
	next_turn(e);
}

void
flip_forget_all(struct entry *e)
{
	struct link all;

	list_init(&all);
	list_splice(&all, &e->flips);
	list_splice(&all, &e->drainers);
	LIST_EACH(it, &all) {
		struct flip *f = list_entry(it, struct flip, link);

		answer_error(f, E_INTERNAL, "teald is stopping", f->state == FLIP_STORING ? -1 : f->changed);
		flip_free(f);
	}
}
