/* rollout.c - from a record to engines that obey it, and to an idle color without
 * connections.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/bake.h"
#include "control/drain.h"
#include "control/engines.h"
#include "control/flip_steps.h"
#include "control/publish.h"
#include "control/quality.h"
#include "control/rollout.h"

static bool
rollout_is_allowed(enum rollout_state from, enum rollout_state to)
{
	switch (from) {
	case ROLLOUT_WAITING:
		return to == ROLLOUT_PUBLISHED;
	case ROLLOUT_PUBLISHED:
		return to == ROLLOUT_PUBLISHED || to == ROLLOUT_APPLIED;
	case ROLLOUT_APPLIED:
	case ROLLOUT_DRAINED:
		return to == ROLLOUT_PUBLISHED || to == ROLLOUT_DRAINING;
	case ROLLOUT_DRAINING:
		return to == ROLLOUT_PUBLISHED || to == ROLLOUT_DRAINED;
	}
	return false;
}

static void
rollout_become(struct service_ctl *ctl, enum rollout_state state)
{
	CHECK(rollout_is_allowed(ctl->rollout.state, state));
	ctl->rollout.state = state;
}

void
rollout_init(struct service_ctl *ctl)
{
	ctl->rollout = (struct rollout){ .state = ROLLOUT_WAITING, .wish.timeout = -1 };
}

void
rollout_wish(struct service_ctl *ctl, const struct record *next, double timeout)
{
	struct rollout *r = &ctl->rollout;

	r->wish.epoch = next->epoch;
	r->wish.at_us = next->at_us;
	memcpy(r->wish.by, next->by, sizeof(r->wish.by));
	r->wish.timeout = timeout;
}

/* A store that went over a dispute has raised the epoch. */
bool
rollout_is_ours(const struct service_ctl *ctl)
{
	const struct record *now = &ctl->service->record;
	const struct rollout *r = &ctl->rollout;

	return now->epoch >= r->wish.epoch && now->at_us == r->wish.at_us && strcmp(now->by, r->wish.by) == 0;
}

/* -- published ------------------------------------------------------------------ */

static void
rollout_publish(struct service_ctl *ctl)
{
	rollout_become(ctl, ROLLOUT_PUBLISHED);
	publish_now(ctl);
}

void
rollout_start(struct service_ctl *ctl)
{
	ctl->rollout.generation = ctl->service->generation + 1;
	rollout_publish(ctl);
}

static void
begin_anew(struct service_ctl *ctl, const struct record *was)
{
	struct service *s = ctl->service;
	const struct record *r = &s->record;
	bool flipped = r->color != was->color;
	enum color idle = color_other(r->color);

	if (flipped)
		BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "flip.applying", s, LS("from", color_word(was->color)),
			 LS("to", color_word(r->color)), LU("epoch", r->epoch), LS("by", r->by));
	else
		BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "shift.applying", s, LS("color", color_word(idle)),
			 LF("percent_before", was->share.idle / 100.0), LF("percent", r->share.idle / 100.0),
			 LU("epoch", r->epoch), LS("by", r->by));
	flip_on_superseded(ctl);
	if (flipped) {
		quality_on_flip(ctl->quality, s, was->color, clock_now());
		bake_on_flip(ctl, was->color, clock_now());
	}
	drain_cancel(ctl);
	/* The same epoch with another color (a store that was tampered with) has
	 * to be applied anew. */
	if (s->applied_epoch >= r->epoch)
		s->applied_epoch = r->epoch - 1;
	ctl->rollout.flipped |= flipped;
	ctl->rollout.shifted |= !flipped;
	ctl->rollout.generation = s->generation + 1;
	if (ctl->rollout.state != ROLLOUT_WAITING)
		rollout_publish(ctl);
}

void
rollout_on_record(struct service_ctl *ctl, const struct record *was)
{
	struct service *s = ctl->service;

	if (s->record.color != was->color || !share_same_split(&s->record.share, &was->share)) {
		begin_anew(ctl, was);
	} else if (ctl->rollout.state >= ROLLOUT_APPLIED && s->record.epoch > s->applied_epoch) {
		/* A new epoch without a new color or share: nothing to hand over. */
		s->applied_epoch = s->record.epoch;
		control_announce(ctl->control);
		flip_on_applied(ctl);
	}
}

void
rollout_change_colors(struct service_ctl *ctl)
{
	struct service *s = ctl->service;
	char text[RECORD_NAME + 64];

	s->colorless = s->config->colorless;
	s->known = false;
	snprintf(text, sizeof(text), "%s: a reload has taken the colors from this service", s->config->name);
	flip_end_all(ctl, E_CONFLICT, text);
	drain_cancel(ctl);
	ctl->quality->flip.epoch = 0;
	quality_restart(ctl->quality, s, clock_now());
	bake_restart(ctl, clock_now());
}

void
rollout_begin_again(struct service_ctl *ctl)
{
	struct service *s = ctl->service;

	ctl->rollout.flipped = ctl->rollout.shifted = false;
	ctl->rollout.leftover = !s->colorless;
	ctl->rollout.generation = s->generation + 1;
	rollout_publish(ctl);
}

/* -- applied, draining, drained --------------------------------------------------- */

static void
start_drain(struct service_ctl *ctl, double timeout)
{
	rollout_become(ctl, ROLLOUT_DRAINING);
	drain_start(ctl, color_other(ctl->service->record.color), timeout);
}

void
rollout_inherit(struct service_ctl *ctl, const struct drain_legacy *legacy)
{
	rollout_free(ctl);
	if (legacy == NULL)
		return;
	ctl->rollout.legacy = must_alloc(sizeof(*legacy));
	*ctl->rollout.legacy = *legacy;
}

void
rollout_free(struct service_ctl *ctl)
{
	free(ctl->rollout.legacy);
	ctl->rollout.legacy = NULL;
}

static void
resume_legacy(struct service_ctl *ctl)
{
	struct drain_legacy legacy = *ctl->rollout.legacy;

	rollout_free(ctl);
	if (record_share(&ctl->service->record, legacy.color) > 0)
		return;
	rollout_become(ctl, ROLLOUT_DRAINING);
	drain_resume(ctl, &legacy);
}

/* An engine whose connections outlive teald may have found some on the idle
 * color: they get what is left of the time they had. */
static void
resume_drain(struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	double whole = ctl->service->config->drain.timeout;
	double rest = whole - ((double)clock_wall_us() - (double)r->at_us) / 1e6;

	/* A change that is said to come yet has had no time. */
	if (rest > whole)
		rest = whole;
	if (r->share.idle == 0 && engines_count(ctl, color_other(r->color)) > 0)
		start_drain(ctl, rest > 0 ? rest : 0);
}

bool
rollout_will_drain(const struct service_ctl *ctl)
{
	return (ctl->rollout.flipped || ctl->rollout.shifted) && ctl->service->record.share.idle == 0;
}

void
rollout_on_acked(struct service_ctl *ctl)
{
	struct rollout *r = &ctl->rollout;
	struct service *s = ctl->service;
	bool flipped = r->flipped, shifted = r->shifted, moved = flipped || shifted;
	char revision[FLIP_REVISION_JSON];

	if (r->state != ROLLOUT_PUBLISHED || s->acked < r->generation)
		return;
	rollout_become(ctl, ROLLOUT_APPLIED);
	s->applied_epoch = s->record.epoch;
	if (!moved && r->legacy != NULL)
		resume_legacy(ctl);
	else if (!moved && !r->resumed && !s->colorless)
		resume_drain(ctl);
	else if (r->leftover && s->record.share.idle == 0 && engines_count(ctl, color_other(s->record.color)) > 0)
		start_drain(ctl, -1);
	r->leftover = false;
	rollout_free(ctl);
	r->resumed = true;
	control_announce(ctl->control);
	if (flipped)
		BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "flip.applied", s, LS("to", color_word(s->record.color)),
			 LU("epoch", s->record.epoch), LS("by", s->record.by), LS("reason", s->record.reason),
			 LR(NULL, flip_revision_json(s->record.revision, revision)));
	else if (shifted)
		BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "shift.applied", s, LS("color", color_word(color_other(s->record.color))),
			 LF("percent", s->record.share.idle / 100.0), LU("epoch", s->record.epoch), LS("by", s->record.by),
			 LS("reason", s->record.reason));
	/* Still `flipped` or `shifted`: a client that waits for the drain that begins now is not told that there is none. */
	flip_on_applied(ctl);
	if (!moved)
		return;
	r->flipped = r->shifted = false;
	/* Orders are the successor's to give; what has its share stays. */
	if (ctl->control->yielded || s->record.share.idle > 0)
		return;
	start_drain(ctl, rollout_is_ours(ctl) ? r->wish.timeout : -1);
}

void
rollout_on_drained(struct service_ctl *ctl)
{
	rollout_become(ctl, ROLLOUT_DRAINED);
}
