/* ramp.c - a share that grows by itself: takes its steps as they are due.  Thread: main. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/claim.h"
#include "control/ramp.h"
#include "control/services.h"

struct ramp_waiter {
	struct link link;
	struct flip_watcher *watcher;	/* NULL: left */
	struct flip_request request;	/* what it waits for in the end */
};

static const struct record *
record_of(const struct ramp_run *run)
{
	return &run->ctl->service->record;
}

/* -- whose it is -------------------------------------------------------------------- */

static const struct fleet *
ramp_fleet(const struct service_ctl *ctl)
{
	const struct store *s = ctl->control->store;

	return s->fleet != NULL ? s->fleet(s) : NULL;
}

/* A machine may be called anything; the record is one line of words. */
static void
copy_word(char *out, size_t room, const char *text)
{
	str_copy(out, room, str_from(text));
	for (char *p = out; *p != '\0'; p++)
		if (*p <= ' ' || *p == '=' || *p == 127)
			*p = '_';
}

void
ramp_sign(const struct service_ctl *ctl, struct ramp *r)
{
	const struct fleet *fleet = ramp_fleet(ctl);

	r->on = r->at + 1 < r->n;
	r->next_us = store_now(ctl->control->store) + (int64_t)r->every_ms * 1000;
	r->id[0] = r->host[0] = '\0';
	for (size_t i = 0; fleet != NULL && i < fleet->n; i++)
		if (fleet->members[i].self) {
			copy_word(r->id, sizeof(r->id), fleet->members[i].id);
			copy_word(r->host, sizeof(r->host), fleet->members[i].host);
		}
}

/* The one that took the last step, or any when that is gone. */
static bool
ramp_is_ours(const struct ramp_run *run)
{
	const struct fleet *fleet = ramp_fleet(run->ctl);
	const char *id = record_of(run)->share.ramp.id;

	for (size_t i = 0; fleet != NULL && id[0] != '\0' && i < fleet->n; i++) {
		const struct fleet_member *m = &fleet->members[i];

		if (strcmp(m->id, id) == 0)
			return m->self || m->missing;
	}
	return true;
}

/* -- who waits ---------------------------------------------------------------------- */

static void
ramp_waiter_free(struct ramp_waiter *w)
{
	list_remove(&w->link);
	flip_let_go(&w->watcher);
	free(w);
}

static void
ramp_tell_all(struct ramp_run *run)
{
	LIST_EACH(it, &run->waiters) {
		struct ramp_waiter *w = list_entry(it, struct ramp_waiter, link);

		if (w->watcher == NULL)
			ramp_waiter_free(w);
		else
			flip_tell(w->watcher, &(struct flip_event){ .kind = FLIP_EVENT_RAMPING, .epoch = run->epoch, .ramp = run });
	}
}

static void
ramp_answer_all(struct ramp_run *run, enum err e, const char *message)
{
	struct flip_outcome o = { .error = e, .message = message, .service = run->ctl->service, .changed = CHANGED_YES };
	struct link *it;

	while ((it = list_first(&run->waiters)) != NULL) {
		struct ramp_waiter *w = list_entry(it, struct ramp_waiter, link);

		list_remove(&w->link);
		flip_end(&w->watcher, &o);
		free(w);
	}
}

/* The last step is stored: it is waited for as its client has asked. */
static void
hand_over_waiters(struct ramp_run *run)
{
	struct link *it;

	while ((it = list_first(&run->waiters)) != NULL) {
		struct ramp_waiter *w = list_entry(it, struct ramp_waiter, link);
		struct flip_watcher *watcher = flip_let_go(&w->watcher);
		struct flip_request q = w->request;

		list_remove(&w->link);
		free(w);
		q.at_epoch = record_of(run)->epoch;
		if (watcher != NULL)
			flip_start(run->ctl, &q, watcher);
	}
}

bool
ramp_watch(struct service_ctl *ctl, const struct flip_request *request, struct flip_watcher **place)
{
	struct ramp_run *run = ctl->ramp;
	struct ramp_waiter *w;

	if (run == NULL || !run->on)
		return false;
	w = must_alloc(sizeof(*w));
	w->request = (struct flip_request){ .kind = CHANGE_FLIP,
					    .to = run->to,
					    .only_waits = true,
					    .ramped = true,
					    .has_at_epoch = true,
					    .wait = request->ramp_wait,
					    .no_cut = request->no_cut,
					    .bake = record_of(run)->share.ramp.bake_ms / 1e3,
					    .by = request->by };
	flip_watch(&w->watcher, flip_let_go(place));
	list_append(&run->waiters, &w->link);
	ramp_tell_all(run);
	return true;
}

/* -- the steps ---------------------------------------------------------------------- */

static void
look_at_ramp(struct ramp_run *run, double seconds)
{
	struct ev_loop *loop = run->ctl->control->loop;

	ev_timer_stop(loop, &run->timer);
	ev_timer_set(&run->timer, fmin(fmax(seconds, 0), RAMP_LOOK), 0.0);
	ev_timer_start(loop, &run->timer);
}

static void
ramp_on_step(struct flip_watcher *w, const struct flip_event *e)
{
	(void)w;
	(void)e;
}

static void
ramp_on_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct ramp_run *run = container_of(w, struct ramp_run, stepping);
	bool again;

	run->trying = false;
	/* Taken, and perhaps late somewhere; or something else came first. */
	if (!run->on || record_of(run)->epoch != run->from || o->error == OK)
		return;
	again = run->held && strcmp(run->text, o->message != NULL ? o->message : "") == 0;
	run->held = true;
	str_copy(run->text, sizeof(run->text), str_from(o->message != NULL ? o->message : ""));
	if (!again)
		BUS_EMIT(&run->ctl->control->bus, LOG_WARN_LEVEL, "ramp.held", run->ctl->service, LS("color", color_word(run->to)),
			 LF("percent", record_of(run)->share.idle / 100.0), LS("error", err_word(o->error)), LS("message", run->text));
	if (!again)
		ramp_tell_all(run);
	run->due = clock_now() + fmin(RAMP_AGAIN, record_of(run)->share.ramp.every_ms / 1e3);
}

/* Of the claim with whose token it was begun. */
static bool
has_its_claim(const struct ramp_run *run)
{
	const struct record *r = record_of(run);
	const char *own = r->share.ramp.claim;

	return own[0] != '\0' && claim_holds(run->ctl) && strncmp(r->claim.token, own, RAMP_CLAIM - 1) == 0;
}

static void
take_ramp_step(struct ramp_run *run)
{
	const struct record *r = record_of(run);
	struct flip_request q = { .kind = CHANGE_SHIFT, .to = run->to, .by_ramp = true, .has_at_epoch = true, .at_epoch = r->epoch };
	const struct ramp *ramp = &r->share.ramp;

	q.ramp = *ramp;
	q.ramp.at++;
	q.share = ramp->steps[q.ramp.at];
	if (q.share == SHARE_WHOLE) {
		q.bake = ramp->bake_ms / 1e3;
		q.on_regression = (enum on_regression)ramp->on_regression;
	}
	if (has_its_claim(run))
		memcpy(q.token, r->claim.token, sizeof(q.token));
	q.keep_claim = ramp->keep_claim && q.token[0] != '\0';
	memcpy(q.by.user, r->by, sizeof(q.by.user));
	q.by.uid = geteuid();
	q.by.pid = getpid();
	memcpy(q.reason, r->reason, sizeof(q.reason));
	run->stepping.progress = ramp_on_step;
	run->stepping.done = ramp_on_done;
	run->trying = true;
	run->from = r->epoch;
	flip_start(run->ctl, &q, &run->stepping);
}

static void
ramp_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct ramp_run *run = container_of(t, struct ramp_run, timer);
	struct service_ctl *ctl = run->ctl;
	double left = run->due - clock_now();

	(void)loop;
	(void)revents;
	if (ctl->control->yielded || ctl->removed) {
		ramp_end_all(ctl, E_UNKNOWN, "another process of teald goes on with the ramp; to wait for it: tealctl wait SERVICE "
					     "--for=ramped");
		return;
	}
	if (!run->on || ctl->control->life >= LIFE_NOTICE)
		return;
	look_at_ramp(run, left > 0 ? left : RAMP_LOOK);
	if (left <= 0 && !run->trying && ramp_is_ours(run))
		take_ramp_step(run);
}

/* -- its life ------------------------------------------------------------------------ */

static struct ramp_run *
ramp_of(struct service_ctl *ctl)
{
	struct ramp_run *run = ctl->ramp;

	if (run == NULL) {
		run = ctl->ramp = must_alloc(sizeof(*run));
		list_init(&run->waiters);
		ev_timer_init(&run->timer, ramp_on_timer, 0.0, 0.0);
		run->ctl = ctl;
	}
	return run;
}

/* The clock of the store, and that of this machine, may be set meanwhile: then a step lasts as long as it is to last. */
static void
begin_ramp_step(struct ramp_run *run)
{
	const struct record *r = record_of(run);
	double every = r->share.ramp.every_ms / 1e3;
	double left = (double)(r->share.ramp.next_us - store_now(run->ctl->control->store)) / 1e6;

	run->epoch = r->epoch;
	run->to = color_other(r->color);
	run->held = false;
	run->due = clock_now() + fmin(fmax(left, 0), every);
	look_at_ramp(run, run->due - clock_now());
	ramp_tell_all(run);
}

static void
end_ramp(struct ramp_run *run)
{
	struct service_ctl *ctl = ctl_ref(run->ctl);
	const struct record *r = record_of(run);
	bool done = r->color == run->to && r->share.idle == 0 && r->change == CHANGE_FLIP;
	char text[RECORD_NAME + 128];

	run->on = run->held = false;
	ev_timer_stop(ctl->control->loop, &run->timer);
	snprintf(text, sizeof(text), done ? "the %s of %s was its last step: %s is active at epoch %llu" :
					    "the ramp was ended by a %s of %s: %s is active at epoch %llu",
		 change_word(r->change), r->by, color_word(r->color), (unsigned long long)r->epoch);
	BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "ramp.ended", ctl->service, LS("color", color_word(run->to)), LU("epoch", r->epoch),
		 LS("result", done ? "done" : "superseded"), LS("message", text), LS("by", r->by));
	if (done)
		hand_over_waiters(run);
	else
		ramp_answer_all(run, E_CONFLICT, text);
	ctl_unref(&ctl);
}

void
ramp_on_record(struct service_ctl *ctl, bool known)
{
	const struct record *r = &ctl->service->record;
	const struct ramp *ramp = &r->share.ramp;

	if (!ramp_is_on(r)) {
		if (ctl->ramp != NULL && ctl->ramp->on)
			end_ramp(ctl->ramp);
		return;
	}
	if (ctl->ramp != NULL && ctl->ramp->on && ctl->ramp->epoch == r->epoch)
		return;
	if (!ramp_of(ctl)->on)
		BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, known ? "ramp.begun" : "ramp.resumed", ctl->service,
			 LS("color", color_word(color_other(r->color))), LF("percent", r->share.idle / 100.0),
			 LU("count", ramp->n - 1 - ramp->at), LF("seconds", ramp->every_ms / 1e3), LU("epoch", r->epoch), LS("by", r->by));
	ctl->ramp->on = true;
	begin_ramp_step(ctl->ramp);
}

void
ramp_end_all(struct service_ctl *ctl, enum err e, const char *message)
{
	struct ramp_run *run = ctl->ramp;

	if (run == NULL)
		return;
	ev_timer_stop(ctl->control->loop, &run->timer);
	run->on = false;
	ramp_answer_all(run, e, message);
}

void
ramp_free(struct service_ctl *ctl)
{
	struct ramp_run *run = ctl->ramp;

	if (run == NULL)
		return;
	ev_timer_stop(ctl->control->loop, &run->timer);
	flip_unwatch(&run->stepping);
	LIST_EACH(it, &run->waiters)
		ramp_waiter_free(list_entry(it, struct ramp_waiter, link));
	free(run);
	ctl->ramp = NULL;
}
