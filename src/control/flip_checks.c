/* flip_checks.c - a flip before the store: expect, already active, lock, claim, gate, the
 * views of the fleet, and the write.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/bake.h"
#include "control/claim.h"
#include "control/flip_group.h"
#include "control/flip_steps.h"
#include "control/ramp.h"
#include "control/services.h"

/* How soon, and how often, a flip looks whether the claim of a bake that is over has been released. */
#define RELEASE_AGAIN 0.02
#define RELEASE_WAITS 250

/* What is active here is not what the store says: a flip settles it. */
static bool
is_disputed(const struct flip *f)
{
	const struct store *s = flip_control(f)->store;

	return s->disputed != NULL && s->disputed(s, f->ctl->service->config->name);
}

/* The claim alone. */
static enum err
claim_bars(const struct service_ctl *ctl, const char *token, char text[FLIP_TEXT])
{
	const struct record *r = &ctl->service->record;
	const char *name = ctl->service->config->name;
	char at[CLOCK_TEXT], until[CLOCK_TEXT];

	if (token[0] == '\0' ? !claim_holds(ctl) || bake_is_leaving(ctl) : claim_is_of(ctl, token))
		return OK;
	if (!claim_holds(ctl)) {
		clock_format(r->at_us, 3, at);
		snprintf(text, FLIP_TEXT, "%s: the claim of this token does not hold any more: its time is over, it was "
			 "released, or the service was flipped; %s is active at epoch %llu, by %s at %s",
			 name, color_word(r->color), (unsigned long long)r->epoch, r->by, at);
		return E_CONFLICT;
	}
	clock_format(r->claim.at_us, 3, at);
	clock_format(r->claim.until_us, 3, until);
	if (bake_claims(ctl)) {
		snprintf(text, FLIP_TEXT, "%s: a bake is under way, begun by %s at %s, until %s at the latest: %s (to end it: "
			 "tealctl bake %s abort, or promote)", name, r->claim.by, at, until, r->claim.reason, name);
		return E_CLAIMED;
	}
	snprintf(text, FLIP_TEXT, "%s is claimed by %s since %s until %s: %s (%s; to end it: tealctl release %s --force)",
		 name, r->claim.by, at, until, r->claim.reason,
		 token[0] == '\0' ? "a flip needs its token" : "this token is another one's", name);
	return E_CLAIMED;
}

enum err
flip_barred(const struct service_ctl *ctl, const char *token, char text[FLIP_TEXT])
{
	const struct record *r = &ctl->service->record;
	const char *name = ctl->service->config->name;
	char at[CLOCK_TEXT];

	if (!r->lock.on)
		return claim_bars(ctl, token, text);
	clock_format(r->lock.at_us, 3, at);
	snprintf(text, FLIP_TEXT, "%s is locked by %s since %s: %s (to allow flips again: tealctl unlock %s)", name,
		 r->lock.by, at, r->lock.reason, name);
	return E_LOCKED;
}

/* What is judged may always be rolled back, by any teald of the fleet; the bake's claim may come while this one is checked. */
static void
take_token_of_bake(struct flip *f)
{
	if (f->request.kind == CHANGE_ROLLBACK && f->request.token[0] == '\0' && bake_claims(f->ctl))
		memcpy(f->request.token, f->ctl->service->record.claim.token, sizeof(f->request.token));
}

bool
flip_refuse_if_barred(struct flip *f)
{
	char text[FLIP_TEXT];
	enum err e;

	take_token_of_bake(f);
	e = flip_barred(f->ctl, f->request.token, text);
	if (e == OK)
		return false;
	flip_refuse(f, e, text);
	return true;
}

/* A token that was wrong is told also where nothing is to be done: the color that is active already
 * may be another job's. */
static bool
refuse_stale_token(struct flip *f)
{
	char text[FLIP_TEXT];
	enum err e = f->request.token[0] != '\0' ? claim_bars(f->ctl, f->request.token, text) : OK;

	if (e == OK)
		return false;
	flip_refuse(f, e, text);
	return true;
}

static void
refuse_unhealthy(struct flip *f)
{
	struct buf text;
	char line[1024];

	buf_init(&text, sizeof(line) - 1);
	buf_printf(&text, "%s -> %s: ", f->ctl->service->config->name, color_word(f->to));
	gate_text(f->gate, &text);
	str_copy(line, sizeof(line), buf_str(&text));
	buf_free(&text);
	flip_refuse(f, E_UNHEALTHY, line);
}

void
flip_refuse_without_store(struct flip *f, const struct why *why)
{
	char text[sizeof(why->text) + 128];

	snprintf(text, sizeof(text), "%s -> %s: %s; nothing changed", f->ctl->service->config->name,
		 color_word(f->to), why->text);
	flip_refuse(f, E_STORE, text);
}

static bool
flip_will_drain(const struct flip *f)
{
	const struct record *now = &f->ctl->service->record;

	return f->next.share.idle == 0 && (f->next.color != now->color || now->share.idle > 0);
}

void
flip_fill_write(struct flip *f, struct store_write *w, bool same, const char *revision)
{
	const struct flip_request *q = &f->request;
	struct record *now = &f->ctl->service->record;

	*w = (struct store_write){ .service = f->ctl->service->config->name, .means = STORE_COLOR,
				   .expect_epoch = now->epoch, .next = *now, .same = same };
	if (same)
		return;
	f->epoch = now->epoch + 1;
	w->next.color = f->next.color;
	w->next.share = f->next.share;
	w->next.epoch = f->epoch;
	w->next.change = f->next.change;
	w->next.at_us = clock_wall_us();
	memcpy(w->next.by, q->by.user, sizeof(w->next.by));
	memcpy(w->next.reason, q->reason, sizeof(w->next.reason));
	w->next.forced = q->force;
	str_copy(w->next.revision, sizeof(w->next.revision), str_from(revision));
	if (q->token[0] != '\0') {
		w->token = q->token;
		/* A share is not the deployment's end. */
		w->next.claim.on = q->keep_claim || f->next.change == CHANGE_SHIFT;
		w->next.claim.epoch = f->epoch;
	}
	if (f->next.share.idle > 0 && q->ramp.n > 0)
		ramp_sign(f->ctl, &w->next.share.ramp);
	flip_fill_entry(f, &w->entry, f->epoch, OK);
	memcpy(w->entry.revision, w->next.revision, sizeof(w->entry.revision));
	/* Without another color no drain begins that it could be for. */
	rollout_wish(f->ctl, &w->next, q->has_drain && flip_will_drain(f) ? q->drain : -1);
}

static void
commit_flip(struct flip *f)
{
	struct control *c = flip_control(f);
	struct store_write w;

	if (f->member != NULL) {
		flip_group_ready(f, false);
		return;
	}
	flip_fill_write(f, &w, false, "");
	flip_become(f, FLIP_STORING);
	c->store->write(c->store, &w, flip_on_store, f);
}

bool
flip_refuse_if_outdated(struct flip *f)
{
	const struct service *s = f->ctl->service;
	char text[256];

	if (s->record.epoch != f->checked_epoch) {
		snprintf(text, sizeof(text), "%s: another command changed it first; now %s at epoch %llu", s->config->name,
			 color_word(s->record.color), (unsigned long long)s->record.epoch);
		flip_refuse(f, E_CONFLICT, text);
		return true;
	}
	return !f->same && flip_refuse_if_barred(f);
}

static void
wait_for_health(struct flip *f)
{
	if (f->member != NULL)
		flip_group_unhealthy(f);
	else
		flip_step_aside(f);
}

void
flip_on_fleet(struct flip *f)
{
	const struct service *s = f->ctl->service;
	struct buf names;
	char text[1024];
	size_t against = 0;

	if (flip_refuse_if_outdated(f) || flip_refuse_unshared(f))
		return;
	buf_init(&names, 600);
	if (!f->request.force)
		against = fleet_objections(flip_fleet(f), s->config->name, s->index, f->to, &names);
	snprintf(text, sizeof(text), "%s -> %s: not every teald of the fleet can reach it: %.*s", s->config->name,
		 color_word(f->to), (int)buf_len(&names), buf_str(&names).p);
	buf_free(&names);
	if (against > 0 && clock_now() + FLIP_GATE_AGAIN < f->healthy_until)
		wait_for_health(f);
	else if (against > 0)
		flip_refuse(f, E_UNHEALTHY, text);
	else
		commit_flip(f);
}

/* With a fleet, its store is read first: a store that does not answer refuses
 * the flip before anything is written, and every other member's view counts. */
static void
ask_fleet(struct flip *f)
{
	if (flip_fleet(f) == NULL) {
		commit_flip(f);
		return;
	}
	flip_ask_store(f);
}

static void
flip_on_gate(struct gate *g, void *arg)
{
	struct flip *f = arg;
	struct control *c = flip_control(f);

	CHECK(f->gate == g && f->state == FLIP_CHECKING);
	if (!gate_is_open(g) && clock_now() + FLIP_GATE_AGAIN < f->healthy_until) {
		if (flip_refuse_if_barred(f))
			return;
		health_kick(c->health, f->ctl->service);
		wait_for_health(f);
		return;
	}
	flip_tell(f->watcher, &(struct flip_event){ .kind = FLIP_EVENT_CHECKED, .gate = g });
	if (!gate_is_open(g)) {
		refuse_unhealthy(f);
		return;
	}
	/* Asking took time; a lock set meanwhile counts. */
	if (!flip_refuse_if_barred(f))
		ask_fleet(f);
}

static bool
refuse_unexpected(struct flip *f)
{
	const struct flip_request *q = &f->request;
	const struct record *r = &f->ctl->service->record;
	char text[256], epoch[32] = "";

	if (q->has_at_epoch && q->at_epoch != r->epoch) {
		snprintf(text, sizeof(text), "%s: expected epoch %llu, found %s at epoch %llu",
			 f->ctl->service->config->name, (unsigned long long)q->at_epoch, color_word(r->color),
			 (unsigned long long)r->epoch);
		flip_refuse(f, E_CONFLICT, text);
		return true;
	}
	if (!q->has_expect || (q->expect == r->color && (!q->expect_has_epoch || q->expect_epoch == r->epoch)))
		return false;
	if (q->expect_has_epoch)
		snprintf(epoch, sizeof(epoch), " at epoch %llu", (unsigned long long)q->expect_epoch);
	snprintf(text, sizeof(text), "%s: expected %s%s, found %s at epoch %llu", f->ctl->service->config->name,
		 color_word(q->expect), epoch, color_word(r->color), (unsigned long long)r->epoch);
	flip_refuse(f, E_CONFLICT, text);
	return true;
}

/* It has the color already.  If that is not applied or drained yet and the
 * caller wants to wait for it, it waits: for every member of a fleet. */
void
flip_already_active(struct flip *f)
{
	struct service *s = f->ctl->service;

	f->epoch = s->record.epoch;
	if (f->request.wait != FLIP_WAIT_NONE && s->applied_epoch < f->epoch) {
		flip_become(f, FLIP_APPLYING);
		return;
	}
	if (f->request.wait != FLIP_WAIT_NONE && flip_fleet(f) != NULL) {
		flip_become(f, FLIP_APPLYING);
		f->local = true;
		flip_look_for_laggards(f);
		return;
	}
	if (f->request.wait == FLIP_WAIT_DRAINED && f->ctl->drain != NULL) {
		flip_wait_for_drain(f);
		return;
	}
	flip_answer_ok(f);
	flip_free(f);
}

/* As a flip to it would wait, which might write to settle what is disputed. */
static void
wait_for_active(struct flip *f)
{
	const struct service *s = f->ctl->service;
	char text[256];

	if (f->fresh == FRESH_FAILED) {
		flip_refuse_without_store(f, &f->not_fresh);
		return;
	}
	if (f->to == s->record.color && !is_disputed(f)) {
		flip_already_active(f);
		return;
	}
	snprintf(text, sizeof(text), "%s: %s, active here at epoch %llu, is not what the store says, so there is nothing to wait "
		 "for; see: tealctl status %s", s->config->name, color_word(s->record.color),
		 (unsigned long long)s->record.epoch, s->config->name);
	flip_refuse(f, E_CONFLICT, text);
}

/* Some of the fleet have not taken the color, which perhaps they refuse: a record
 * that says it was forced is obeyed. */
static bool
forces_others(const struct flip *f)
{
	const struct service *s = f->ctl->service;
	struct buf names;
	size_t late, missing;

	if (!f->request.force || s->record.forced || flip_fleet(f) == NULL)
		return false;
	buf_init(&names, sizeof(f->late) - 1);
	late = fleet_laggards(flip_fleet(f), s->config->name, s->record.epoch, &names, &missing);
	buf_free(&names);
	return late > missing;
}

/* In this order: expect, token, already active, lock, claim, gate, store.  A fleet's store is
 * read first, because another teald may just have changed it; one that cannot be
 * read leaves only what is refused anyhow, and no gate has to be waited for. */
void
flip_run_checks(struct flip *f)
{
	struct service *s = f->ctl->service;

	f->from = s->record.color;
	if (!s->known) {
		flip_refuse(f, E_STORE, "the store has not been read yet; try again when /readyz says ready");
		return;
	}
	/* Who was told the verdict may flip again. */
	if (bake_is_leaving(f->ctl) && f->request.token[0] == '\0' && f->release_waits++ < RELEASE_WAITS) {
		flip_ask_again(f, RELEASE_AGAIN);
		return;
	}
	if (flip_fleet(f) != NULL && f->fresh == FRESH_UNKNOWN) {
		flip_ask_store(f);
		return;
	}
	take_token_of_bake(f);
	if (refuse_unexpected(f) || refuse_stale_token(f))
		return;
	if (f->request.only_waits) {
		wait_for_active(f);
		return;
	}
	/* What was to be undone is not the last change any more, or there was more than a claim meanwhile. */
	if ((f->request.kind == CHANGE_ROLLBACK || f->rechecked > 0) && f->checked_epoch > 0 &&
	    s->record.epoch != f->checked_epoch) {
		char text[256];

		snprintf(text, sizeof(text), "%s: another command changed it while this waited; now %s at epoch %llu",
			 s->config->name, color_word(s->record.color), (unsigned long long)s->record.epoch);
		flip_refuse(f, E_CONFLICT, text);
		return;
	}
	/* What the checks are about; the gate takes time, and others flip. */
	f->checked_epoch = s->record.epoch;
	if (f->fresh == FRESH_FAILED) {
		if (!flip_refuse_if_barred(f))
			flip_refuse_without_store(f, &f->not_fresh);
		return;
	}
	if (!flip_plan(f))
		return;
	if (f->request.kind != CHANGE_ROLLBACK && flip_is_done(f) && !is_disputed(f) && !forces_others(f)) {
		if (f->member != NULL)
			flip_group_ready(f, true);
		else
			flip_already_active(f);
		return;
	}
	if (flip_refuse_if_barred(f) || flip_refuse_unshared(f))
		return;
	if (f->request.force) {
		ask_fleet(f);
		return;
	}
	gate_free(&f->gate);
	f->gate = gate_new(f->ctl, f->to, flip_on_gate, f);
}
