/* flip.c - one change of the active color: its life, its turns and its answers.
 * What is checked before is in flip_checks.c, what is waited for in flip_apply.c.
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/bake.h"
#include "control/claim.h"
#include "control/flip_steps.h"
#include "control/gate_check.h"
#include "control/ramp.h"
#include "control/services.h"

#define APPLIED_TIMEOUT 5.0
#define DRAINED_EXTRA 5.0

/* What may follow what. */
static bool
flip_is_allowed(enum flip_state from, enum flip_state to)
{
	switch (from) {
	case FLIP_WAITING:
		return to == FLIP_CHECKING || to == FLIP_OVER;
	case FLIP_HEALING:
		return to == FLIP_WAITING || to == FLIP_OVER;
	case FLIP_READY:
		return to == FLIP_HEALING || to == FLIP_STORING || to == FLIP_APPLYING || to == FLIP_DRAINING || to == FLIP_OVER;
	case FLIP_CHECKING:
		return to == FLIP_READY || to == FLIP_HEALING || to == FLIP_STORING || to == FLIP_APPLYING || to == FLIP_DRAINING || to == FLIP_OVER;
	case FLIP_STORING:
		return to == FLIP_APPLYING || to == FLIP_DRAINING || to == FLIP_CHECKING || to == FLIP_OVER;
	case FLIP_APPLYING:
		return to == FLIP_DRAINING || to == FLIP_OVER;
	case FLIP_DRAINING:
		return to == FLIP_OVER;
	case FLIP_OVER:
		return false;
	}
	return false;
}

void
flip_become(struct flip *f, enum flip_state state)
{
	CHECK(flip_is_allowed(f->state, state));
	f->state = state;
}

/* The next in the queue gets its turn from the loop, not from our stack. */
void
flip_next_turn(struct service_ctl *ctl)
{
	struct link *first = list_first(&ctl->flips);
	struct flip *f = first != NULL ? list_entry(first, struct flip, link) : NULL;

	if (f == NULL || f->state != FLIP_WAITING)
		return;
	flip_become(f, FLIP_CHECKING);
	ev_timer_set(&f->again, 0.0, 0.0);
	ev_timer_start(ctl->control->loop, &f->again);
}

void
flip_step_aside(struct flip *f)
{
	struct service_ctl *ctl = f->ctl;

	flip_become(f, FLIP_HEALING);
	list_remove(&f->link);
	list_append(&ctl->healing, &f->link);
	/* Those of several services get in line together. */
	if (f->member == NULL)
		flip_ask_again(f, FLIP_GATE_AGAIN);
	flip_next_turn(ctl);
}

void
flip_get_in_line(struct flip *f)
{
	flip_become(f, FLIP_WAITING);
	list_remove(&f->link);
	list_append(&f->ctl->flips, &f->link);
	flip_next_turn(f->ctl);
}

void
flip_free(struct flip *f)
{
	struct service_ctl *ctl = f->ctl;

	flip_become(f, FLIP_OVER);
	ev_timer_stop(ctl->control->loop, &f->again);
	ev_timer_stop(ctl->control->loop, &f->timeout);
	gate_free(&f->gate);
	flip_let_go(&f->watcher);
	list_remove(&f->link);
	if (!f->asking)
		free(f);
	flip_next_turn(ctl);
	ctl_unref(&ctl);
}

void
flip_answer_ok(struct flip *f)
{
	if (f->changed && f->request.ramp.n > 0 && !f->request.by_ramp && f->request.wait != FLIP_WAIT_NONE &&
	    ramp_watch(f->ctl, &f->request, &f->watcher))
		return;
	/* Its end is the answer, also for the same command once more. */
	if ((flip_changed(f) == CHANGED_YES || bake_is_on(f->ctl)) && f->request.bake > 0 && f->request.wait != FLIP_WAIT_NONE &&
	    bake_answer(f->ctl, f->epoch, &f->watcher))
		return;
	flip_end(&f->watcher,
		 &(struct flip_outcome){ .service = f->ctl->service,
					 .changed = flip_changed(f),
					 .drained = f->request.wait == FLIP_WAIT_DRAINED &&
						    (flip_changed(f) == CHANGED_YES || f->state == FLIP_DRAINING),
					 .cut = f->drain_cut });
}

void
flip_answer_error(struct flip *f, enum err e, const char *message, enum changed changed)
{
	flip_end(&f->watcher, &(struct flip_outcome){ .error = e,
						      .message = message,
						      .service = f->ctl->service,
						      .changed = changed,
						      .drained = f->drain_cut > 0,
						      .cut = f->drain_cut });
}

void
flip_fill_entry(const struct flip *f, struct audit_entry *a, uint64_t epoch, enum err result)
{
	const struct flip_request *q = &f->request;

	memset(a, 0, sizeof(*a));
	str_copy(a->service, sizeof(a->service), str_from(f->ctl->service->config->name));
	a->at_us = clock_wall_us();
	audit_set_host(a);
	a->change = f->next.change;
	a->epoch = epoch;
	a->from = f->from;
	a->to = f->to;
	if (a->change == CHANGE_SHIFT) {
		a->to = color_other(f->from);
		a->share = q->kind == CHANGE_SHIFT ? q->share : f->next.share.idle;
	}
	memcpy(a->by, q->by.user, sizeof(a->by));
	a->uid = q->by.uid;
	a->pid = q->by.pid;
	memcpy(a->reason, q->reason, sizeof(a->reason));
	if (q->has_expect && q->expect_has_epoch)
		snprintf(a->expect, sizeof(a->expect), "%s@%llu", color_word(q->expect),
			 (unsigned long long)q->expect_epoch);
	else if (q->has_at_epoch)
		snprintf(a->expect, sizeof(a->expect), "@%llu", (unsigned long long)q->at_epoch);
	else if (q->has_expect)
		snprintf(a->expect, sizeof(a->expect), "%s", color_word(q->expect));
	str_copy(a->result, sizeof(a->result), str_from(err_word(result)));
}

static void
note_refusal(struct flip *f, enum err e, const char *message)
{
	struct service_ctl *ctl = f->ctl;
	struct control *c = flip_control(f);
	struct audit_entry a;

	if (f->next.change != CHANGE_SHIFT)
		ctl->flips_total.by_result[f->to][e]++;
	if (f->request.unnoted)
		return;
	flip_fill_entry(f, &a, ctl->service->record.epoch, e);
	if (ctl->service->known)
		c->store->note(c->store, &a);
	BUS_EMIT(&c->bus, LOG_WARN_LEVEL, "flip.refused", ctl->service, LS("to", color_word(f->to)),
		 LS("error", err_word(e)), LS("message", message), LS("by", f->request.by.user),
		 LS("reason", f->request.reason));
}

/* Nothing was changed, or it is unknown: tells all watchers, and the flip is gone. */
void
flip_refuse(struct flip *f, enum err e, const char *message)
{
	if (!f->request.only_waits && !f->request.by_ramp)
		note_refusal(f, e, message);
	flip_answer_error(f, e, message, e == E_UNKNOWN ? CHANGED_UNKNOWN : CHANGED_NO);
	flip_free(f);
}

const struct fleet *
flip_fleet(const struct flip *f)
{
	const struct store *s = flip_control(f)->store;

	return s->fleet != NULL ? s->fleet(s) : NULL;
}

static void flip_on_refreshed(void *arg, enum err e, const struct why *why);

void
flip_ask_store(struct flip *f)
{
	struct store *s = flip_control(f)->store;

	f->asking = true;
	s->refresh(s, flip_on_refreshed, f);
}

void
flip_ask_again(struct flip *f, double seconds)
{
	ev_timer_set(&f->again, seconds, 0.0);
	ev_timer_start(flip_control(f)->loop, &f->again);
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
			flip_run_checks(f);
		} else if (e == OK) {
			flip_on_fleet(f);
		} else {
			flip_refuse_without_store(f, why);
		}
		return;
	case FLIP_APPLYING:
		if (e == OK)
			flip_look_for_laggards(f);
		else
			flip_wait_for_store(f, why);
		return;
	case FLIP_DRAINING:
		if (e == OK)
			flip_look_for_holders(f);
		else
			flip_ask_again(f, FLIP_GATE_AGAIN);
		return;
	case FLIP_WAITING:
	case FLIP_HEALING:
	case FLIP_READY:
	case FLIP_STORING:
		return;
	case FLIP_OVER:
		/* Gone while we asked. */
		free(f);
		return;
	}
}

void
flip_on_record(struct service_ctl *ctl)
{
	LIST_EACH(it, &ctl->healing) {
		struct flip *f = list_entry(it, struct flip, link);

		if (f->to != ctl->service->record.color)
			flip_refuse_if_barred(f);
	}
}

static void
flip_on_again(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct flip *f = container_of(t, struct flip, again);

	(void)loop;
	(void)revents;
	if (f->state == FLIP_CHECKING)
		flip_run_checks(f);
	else if (f->state == FLIP_HEALING)
		flip_get_in_line(f);
	else if (!f->asking)
		flip_ask_store(f);
}

static void
refuse_unhealthy_in_time(struct flip *f, double after)
{
	char text[256];

	snprintf(text, sizeof(text), "%s -> %s: not found healthy within %.3g s; nothing changed",
		 f->ctl->service->config->name, color_word(f->to), after);
	flip_refuse(f, E_UNHEALTHY, text);
}

static void
flip_on_timeout(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct flip *f = container_of(t, struct flip, timeout);
	const char *name = f->ctl->service->config->name;
	double after = clock_now() - f->started;
	char text[256];

	(void)loop;
	(void)revents;
	switch (f->state) {
	case FLIP_WAITING:
		/* It was in line for one more look. */
		if (f->healthy_until > 0 && f->checked_epoch > 0) {
			refuse_unhealthy_in_time(f, after);
			break;
		}
		snprintf(text, sizeof(text), "%s -> %s: another flip has been under way for %.3g s; nothing changed",
			 name, color_word(f->to), after);
		flip_refuse(f, E_CONFLICT, text);
		break;
	case FLIP_CHECKING:
		if (f->asking) {
			snprintf(text, sizeof(text), "%s -> %s: the store has not answered within %.3g s; nothing changed",
				 name, color_word(f->to), after);
			flip_refuse(f, E_STORE, text);
			break;
		}
		refuse_unhealthy_in_time(f, after);
		break;
	case FLIP_HEALING:
		refuse_unhealthy_in_time(f, after);
		break;
	case FLIP_READY:
		/* Those that it waits for have the same time, and say what is missing. */
		break;
	case FLIP_STORING:
		/* Too late to call it back: the flip goes on, its client is told
		 * that the outcome is unknown. */
		snprintf(text, sizeof(text), "%s -> %s: the store has not answered within %.3g s; see: tealctl status %s",
			 name, color_word(f->to), after, name);
		flip_answer_error(f, E_UNKNOWN, text, CHANGED_UNKNOWN);
		break;
	case FLIP_APPLYING:
		if (f->local && f->late[0] != '\0') {
			flip_partial(f);
			break;
		}
		snprintf(text, sizeof(text), "%s -> %s: flipped, but not applied everywhere within %.3g s", name,
			 color_word(f->to), after);
		flip_answer_error(f, E_TIMEOUT, text, flip_changed(f));
		/* The others' laggards need not hold up the next flip here. */
		if (f->local)
			flip_free(f);
		break;
	case FLIP_DRAINING:
		snprintf(text, sizeof(text), "%s -> %s: flipped and applied, but %s has not drained within %.3g s; see: "
			 "tealctl drain %s", name, color_word(f->to), color_word(color_other(f->to)), after, name);
		flip_answer_error(f, E_TIMEOUT, text, flip_changed(f));
		flip_free(f);
		break;
	case FLIP_OVER:
		break;
	}
}

double
flip_timeout_of(const struct flip *f)
{
	const struct flip_request *q = &f->request;
	const struct drain_config *d = &f->ctl->service->config->drain;

	if (q->has_timeout)
		return q->timeout;
	if (q->wait == FLIP_WAIT_DRAINED)
		return q->wait_healthy + (q->has_drain ? q->drain : d->timeout) + DRAINED_EXTRA;
	return q->wait_healthy + APPLIED_TIMEOUT;
}

static void
count_flips(const struct link *list, const struct actor *by, size_t *all, size_t *own)
{
	LIST_EACH(it, list) {
		const struct actor *other = &list_entry(it, struct flip, link)->request.by;

		(*all)++;
		*own += other->uid == by->uid && (by->uid != ACTOR_NO_UID || strcmp(other->user, by->user) == 0);
	}
}

/* The flips of one user, left or waited for, must not keep others from theirs. */
static bool
refuse_in_full_line(struct flip *f)
{
	const struct service_ctl *ctl = f->ctl;
	const struct actor *by = &f->request.by;
	uint32_t uid = by->uid;
	bool trusted = uid == 0 || uid == geteuid();
	size_t all = 0, own = 0;
	char text[256];

	count_flips(&ctl->flips, by, &all, &own);
	count_flips(&ctl->healing, by, &all, &own);
	count_flips(&ctl->drainers, by, &all, &own);
	if (all < (trusted ? FLIPS_MAX : FLIPS_MAX - FLIPS_RESERVE) && (trusted || own < FLIPS_EACH))
		return false;
	snprintf(text, sizeof(text), "%s -> %s: %zu flips are under way or wait, %zu of them this user's; nothing changed",
		 ctl->service->config->name, color_word(f->to), all, own);
	flip_refuse(f, E_CONFLICT, text);
	return true;
}

struct flip *
flip_new(struct service_ctl *ctl, const struct flip_request *request, struct flip_watcher *watcher)
{
	struct flip *f = must_alloc(sizeof(*f));

	f->ctl = ctl_ref(ctl);
	f->request = *request;
	f->from = ctl->service->record.color;
	f->to = request->kind == CHANGE_ROLLBACK ? color_other(f->from) : request->to;
	f->next.change = request->kind;
	flip_watch(&f->watcher, watcher);
	f->started = clock_now();
	f->healthy_until = request->wait_healthy > 0 ? f->started + request->wait_healthy : 0;
	ev_timer_init(&f->again, flip_on_again, 0.0, 0.0);
	ev_timer_init(&f->timeout, flip_on_timeout, 0.0, 0.0);
	list_init(&f->link);
	return f;
}

void
flip_enter(struct flip *f)
{
	double timeout = flip_timeout_of(f);

	if (refuse_in_full_line(f))
		return;
	ev_timer_set(&f->timeout, timeout, 0.0);
	if (timeout > 0)
		ev_timer_start(flip_control(f)->loop, &f->timeout);
	list_append(&f->ctl->flips, &f->link);
	flip_next_turn(f->ctl);
}

void
flip_start(struct service_ctl *ctl, const struct flip_request *request, struct flip_watcher *watcher)
{
	flip_enter(flip_new(ctl, request, watcher));
}

void
flip_end_all(struct service_ctl *ctl, enum err error, const char *message)
{
	struct link all;

	gate_check_end_all(ctl, error, message);
	claim_end_all(ctl, error, message);
	bake_end_all(ctl, error, message);
	ramp_end_all(ctl, error, message);
	list_init(&all);
	list_splice(&all, &ctl->flips);
	list_splice(&all, &ctl->healing);
	list_splice(&all, &ctl->drainers);
	LIST_EACH(it, &all) {
		struct flip *f = list_entry(it, struct flip, link);
		bool writing = f->state == FLIP_STORING;

		flip_answer_error(f, error, message, writing ? CHANGED_UNKNOWN : flip_changed(f));
		/* The store calls back, but at the end of teald. */
		if (!writing || !(ctl->removed || ctl->service->colorless)) {
			flip_free(f);
			continue;
		}
		ev_timer_stop(ctl->control->loop, &f->timeout);
		list_remove(&f->link);
	}
}
