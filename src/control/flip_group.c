/* flip_group.c - several services flipped, rolled back or checked as one.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/flip_group.h"
#include "control/flip_steps.h"
#include "control/gate_check.h"
#include "control/services.h"

static void
flip_group_free(struct flip_group *g)
{
	ev_timer_stop(g->control->loop, &g->again);
	for (size_t i = 0; i < g->n; i++)
		ctl_unref(&g->members[i].ctl);
	free(g);
}

/* -- the outcome ------------------------------------------------------------------- */

/* The worse, for who asked. */
static int
error_weight(const struct flip_group *g, enum err e)
{
	switch (e) {
	case OK:
		return 0;
	case E_UNKNOWN:
		return 4;
	case E_PARTIAL_FLEET:
		return 3;
	case E_TIMEOUT:
		return 2;
	default:
		/* Before the write the first that was refused says why. */
		return g->written ? 1 : 2;
	}
}

static enum err
group_error(const struct flip_group *g)
{
	enum err e = OK;

	for (size_t i = 0; i < g->n; i++) {
		const struct flip_group_member *m = &g->members[i];

		if (!m->blameless && error_weight(g, m->error) > error_weight(g, e))
			e = m->error;
	}
	return e;
}

static enum changed
group_changed(const struct flip_group *g)
{
	enum changed changed = g->check ? CHANGED_UNSAID : CHANGED_NO;

	for (size_t i = 0; i < g->n; i++) {
		if (g->members[i].changed == CHANGED_UNKNOWN)
			return CHANGED_UNKNOWN;
		if (g->members[i].changed == CHANGED_YES)
			changed = CHANGED_YES;
	}
	return changed;
}

static void
finish_group(struct flip_group *g)
{
	struct buf messages;
	struct flip_outcome o = { .error = group_error(g), .changed = group_changed(g), .group = g, .cut = g->cut };

	buf_init(&messages, 16384);
	for (size_t i = 0; i < g->n; i++) {
		const struct flip_group_member *m = &g->members[i];

		o.drained = o.drained || m->drained;
		/* Full: the first ones will do. */
		if (m->error != OK && !m->blameless)
			buf_printf(&messages, "%s%s", buf_len(&messages) > 0 ? "; " : "", m->message);
	}
	buf_append(&messages, "", 1);
	if (g->check && o.error != OK)
		o.changed = CHANGED_NO;
	o.message = o.error != OK ? buf_str(&messages).p : NULL;
	flip_end(&g->watcher, &o);
	buf_free(&messages);
	flip_group_free(g);
}

/* -- what is told of all ------------------------------------------------------------ */

static void
tell_of_all(struct flip_group *g, enum flip_event_kind kind)
{
	struct flip_event e = { .kind = kind,
				.group = g,
				.seconds = kind == FLIP_EVENT_DRAINED ? g->drain_seconds : g->seconds,
				.cut = g->cut };

	for (size_t i = 0; i < g->n; i++)
		e.remaining += g->members[i].remaining;
	flip_tell(g->watcher, &e);
}

/* Those that were left as they are, or are not waited for, do not say so. */
static bool
all_applied(const struct flip_group *g)
{
	bool any = false;

	for (size_t i = 0; i < g->n; i++) {
		const struct flip_group_member *m = &g->members[i];

		any = any || m->applied;
		if (!m->applied && (m->step != MEMBER_OVER || m->error != OK))
			return false;
	}
	return any;
}

static bool
all_drained(const struct flip_group *g)
{
	bool any = false;

	for (size_t i = 0; i < g->n; i++) {
		const struct flip_group_member *m = &g->members[i];

		any = any || m->drained;
		if (!m->drained && (m->step != MEMBER_OVER || m->error != OK))
			return false;
	}
	return any;
}

/* Only what is so of every one. */
static void
tell_progress(struct flip_group *g)
{
	if (!g->committed_told)
		return;
	if (!g->applied_told && all_applied(g)) {
		g->applied_told = true;
		tell_of_all(g, FLIP_EVENT_APPLIED);
	}
	/* What was active already is only waited for until it has drained. */
	if (!g->drained_told && all_drained(g)) {
		g->drained_told = true;
		tell_of_all(g, FLIP_EVENT_DRAINED);
	}
}

static void
member_progress(struct flip_watcher *w, const struct flip_event *e)
{
	struct flip_group_member *m = container_of(w, struct flip_group_member, watcher);
	struct flip_group *g = m->group;
	bool again;

	switch (e->kind) {
	case FLIP_EVENT_CHECKED:
		/* While others are waited for it is looked at again and again. */
		again = m->checked_told && m->healthy == e->gate->healthy && m->total == e->gate->n;
		m->checked_told = true;
		m->healthy = e->gate->healthy;
		m->total = e->gate->n;
		m->needed = e->gate->needed;
		if (!again)
			flip_tell(g->watcher, e);
		return;
	case FLIP_EVENT_COMMITTED:
		m->changed = CHANGED_YES;
		for (size_t i = 0; i < g->n; i++)
			if (!g->members[i].same && g->members[i].changed != CHANGED_YES)
				return;
		g->committed_told = true;
		tell_of_all(g, FLIP_EVENT_COMMITTED);
		return;
	case FLIP_EVENT_APPLIED:
		m->applied = true;
		g->seconds = clock_now() - g->started;
		break;
	case FLIP_EVENT_DRAINING:
		m->remaining = e->remaining;
		if (g->applied_told || g->revision[0] == '\0')
			tell_of_all(g, FLIP_EVENT_DRAINING);
		return;
	case FLIP_EVENT_DRAINED:
		m->drained = true;
		m->remaining = 0;
		g->cut += e->cut;
		g->drain_seconds = e->seconds > g->drain_seconds ? e->seconds : g->drain_seconds;
		break;
	case FLIP_EVENT_RAMPING:
	case FLIP_EVENT_BAKING:	/* several as one are not judged */
		return;
	}
	tell_progress(g);
}

/* -- before the store ---------------------------------------------------------------- */

/* None of them is written. */
static void
refuse_rest(struct flip_group *g)
{
	enum err e = group_error(g);
	const char *because = "";

	for (size_t i = 0; i < g->n && because[0] == '\0'; i++)
		if (g->members[i].error != OK && !g->members[i].blameless)
			because = g->members[i].message;
	g->refusing = true;
	ev_timer_stop(g->control->loop, &g->again);
	for (size_t i = 0; i < g->n; i++) {
		struct flip_group_member *m = &g->members[i];
		char text[RECORD_REASON + 512];

		if (m->flip == NULL)
			continue;
		m->blameless = true;
		snprintf(text, sizeof(text), "%s: not changed, for what was asked with it was refused: %.900s",
			 m->ctl->service->config->name, because);
		flip_refuse(m->flip, e, text);
	}
	CHECK(g->left == 0);
	finish_group(g);
}

/* Which record is the odd one out, and what it is of. */
static void
put_last_change(struct buf *out, const struct flip_group_member *m)
{
	const struct record *r = &m->ctl->service->record;

	buf_printf(out, "%s%s: %s", buf_len(out) > 0 ? ", " : "", m->ctl->service->config->name,
		   r->revision[0] != '\0' ? "revision " : "changed by itself");
	buf_printf(out, "%s", r->revision);
}

/* A rollback of several undoes one flip of several. */
static bool
refuse_mixed_rollback(struct flip_group *g)
{
	const char *revision = g->members[0].ctl->service->record.revision;
	bool mixed = revision[0] == '\0';
	struct flip_group_member *first = &g->members[0];
	char text[RECORD_REASON + 512];
	struct buf all;

	for (size_t i = 1; i < g->n; i++)
		mixed = mixed || strcmp(g->members[i].ctl->service->record.revision, revision) != 0;
	if (g->kind != CHANGE_ROLLBACK || !mixed || g->n == 1)
		return false;
	buf_init(&all, 900);
	for (size_t i = 0; i < g->n; i++)
		put_last_change(&all, &g->members[i]);
	snprintf(text, sizeof(text),
		 "their last changes are not one (%.*s); roll back each by itself, or say the colors: tealctl flip %s=%s ...",
		 (int)buf_len(&all), buf_str(&all).p, first->ctl->service->config->name,
		 color_word(color_other(first->ctl->service->record.color)));
	buf_free(&all);
	/* Told to the group when it ends, which then refuses the rest. */
	g->refusing = true;
	flip_refuse(first->flip, E_CONFLICT, text);
	refuse_rest(g);
	return true;
}

/* Gates took time: what is written is what was checked. */
static bool
refuse_outdated(struct flip_group *g)
{
	bool any = false;

	g->refusing = true;
	for (size_t i = 0; i < g->n; i++)
		any = flip_refuse_if_outdated(g->members[i].flip) || any;
	g->refusing = false;
	if (any)
		refuse_rest(g);
	return any;
}

static void
write_group(struct flip_group *g)
{
	struct store *store = g->control->store;
	struct store_write w[FLIP_GROUP_MAX];
	void *args[FLIP_GROUP_MAX];
	size_t n = 0, changes = 0;

	if (refuse_outdated(g) || refuse_mixed_rollback(g))
		return;
	for (size_t i = 0; i < g->n; i++)
		changes += !g->members[i].same;
	g->written = true;
	if (changes == 0) {
		g->revision[0] = '\0';
		g->committed_told = true;
		/* The last of them ends the group. */
		for (size_t i = 0, all = g->n; i < all; i++) {
			bool last = i + 1 == all;

			flip_already_active(g->members[i].flip);
			if (last)
				return;
		}
	}
	for (size_t i = 0; i < g->n; i++) {
		struct flip_group_member *m = &g->members[i];

		flip_fill_write(m->flip, &w[n], m->same, g->revision);
		flip_become(m->flip, FLIP_STORING);
		args[n++] = m->flip;
	}
	store->write_all(store, w, n, flip_on_store, args);
}

static void
step_aside(struct flip_group *g)
{
	for (size_t i = 0; i < g->n; i++) {
		g->members[i].step = MEMBER_CHECKING;
		flip_step_aside(g->members[i].flip);
	}
	ev_timer_set(&g->again, FLIP_GATE_AGAIN, 0.0);
	ev_timer_start(g->control->loop, &g->again);
}

/* One more has been checked, or refused: is it known of all? */
static void
look_at_group(struct flip_group *g)
{
	bool refused = false, unhealthy = false, waits = ev_is_active(&g->again);

	if (g->written || g->refusing)
		return;
	/* The process ends, and its store has: each is told so by itself. */
	if (g->control->life == LIFE_STOPPED) {
		if (g->left == 0)
			finish_group(g);
		return;
	}
	for (size_t i = 0; i < g->n; i++)
		refused = refused || g->members[i].step == MEMBER_OVER;
	for (size_t i = 0; i < g->n; i++) {
		/* Those that wait for health are not looked at again. */
		if (g->members[i].step == MEMBER_CHECKING && !(waits && refused))
			return;
		unhealthy = unhealthy || g->members[i].step == MEMBER_UNHEALTHY;
	}
	if (refused)
		refuse_rest(g);
	else if (unhealthy)
		step_aside(g);
	else
		write_group(g);
}

static void
group_on_again(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct flip_group *g = container_of(t, struct flip_group, again);

	(void)loop;
	(void)revents;
	/* In one turn, and so in one order in all lines. */
	for (size_t i = 0; i < g->n; i++)
		flip_get_in_line(g->members[i].flip);
}

void
flip_group_ready(struct flip *f, bool same)
{
	struct flip_group_member *m = f->member;

	flip_become(f, FLIP_READY);
	m->step = MEMBER_READY;
	m->same = f->same = same;
	m->to = f->to;
	look_at_group(m->group);
}

void
flip_group_unhealthy(struct flip *f)
{
	struct flip_group_member *m = f->member;

	flip_become(f, FLIP_READY);
	m->step = MEMBER_UNHEALTHY;
	look_at_group(m->group);
}

void
flip_group_blameless(struct flip *f)
{
	f->member->blameless = true;
}

static void
member_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct flip_group_member *m = container_of(w, struct flip_group_member, watcher);
	struct flip_group *g = m->group;

	if (m->flip != NULL) {
		m->to = m->flip->to;
		m->flip->member = NULL;
	}
	m->flip = NULL;
	m->step = MEMBER_OVER;
	m->error = o->error;
	m->changed = o->changed;
	m->active = o->service->record.color;
	m->epoch = o->service->record.epoch;
	if (o->message != NULL)
		str_copy(m->message, sizeof(m->message), str_from(o->message));
	if (o->drained && !m->drained) {
		m->drained = true;
		m->remaining = 0;
		g->cut += o->cut;
	}
	g->left--;
	if (g->check) {
		if (g->left == 0)
			finish_group(g);
		return;
	}
	if (g->refusing)
		return;
	if (!g->written) {
		look_at_group(g);
		return;
	}
	tell_progress(g);
	if (g->left == 0)
		finish_group(g);
}

/* -- its begin ----------------------------------------------------------------------- */

static struct flip_group *
flip_group_new(struct control *c, const struct flip_target *targets, size_t n, struct flip_watcher *watcher)
{
	struct flip_group *g = must_alloc(sizeof(*g) + n * sizeof(g->members[0]));

	CHECK(n >= 1 && n <= FLIP_GROUP_MAX);
	flip_watch(&g->watcher, watcher);
	g->control = c;
	g->n = g->left = n;
	g->started = clock_now();
	ev_timer_init(&g->again, group_on_again, 0.0, 0.0);
	for (size_t i = 0; i < n; i++) {
		struct flip_group_member *m = &g->members[i];

		m->group = g;
		m->ctl = ctl_ref(targets[i].ctl);
		m->watcher.progress = member_progress;
		m->watcher.done = member_done;
		m->to = targets[i].to;
	}
	return g;
}

void
flip_group_start(struct control *c, const struct flip_target *targets, size_t n, const struct flip_request *request,
		 struct flip_watcher *watcher)
{
	struct flip_group *g = flip_group_new(c, targets, n, watcher);
	struct flip *flips[FLIP_GROUP_MAX];
	double timeout = 0;

	bool named = revision_new(g->revision);

	g->kind = request->kind;

	for (size_t i = 0; i < n; i++) {
		struct flip_request q = *request;

		q.to = targets[i].to;
		q.has_at_epoch = targets[i].has_at_epoch;
		q.at_epoch = targets[i].at_epoch;
		flips[i] = flip_new(targets[i].ctl, &q, &g->members[i].watcher);
		flips[i]->member = &g->members[i];
		g->members[i].flip = flips[i];
		if (flip_timeout_of(flips[i]) > timeout)
			timeout = flip_timeout_of(flips[i]);
	}
	/* They wait for each other. */
	g->refusing = true;
	for (size_t i = 0; i < n; i++) {
		flips[i]->request.has_timeout = true;
		flips[i]->request.timeout = timeout;
		if (!named)
			flip_refuse(flips[i], E_INTERNAL, "the kernel gives no random numbers; nothing changed");
		else
			flip_enter(flips[i]);
	}
	g->refusing = false;
	if (g->left == 0)
		finish_group(g);
	else
		look_at_group(g);
}

void
flip_group_check(struct control *c, const struct flip_target *targets, size_t n, double wait_healthy,
		 struct flip_watcher *watcher)
{
	struct flip_group *g = flip_group_new(c, targets, n, watcher);

	g->check = true;
	for (size_t i = 0; i < n; i++) {
		const struct gate_check_request q = { .to = targets[i].to,
						      .wait_healthy = wait_healthy,
						      .has_at_epoch = targets[i].has_at_epoch,
						      .at_epoch = targets[i].at_epoch };

		gate_check_start(targets[i].ctl, &q, &g->members[i].watcher);
	}
}
