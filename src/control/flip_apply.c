/* flip_apply.c - a flip after the store: applied here, applied by all, drained.
 * Thread: main. */
#include <stdio.h>

#include "base/clock.h"
#include "control/bake.h"
#include "control/flip_group.h"
#include "control/flip_steps.h"

/* How soon the others are asked again whether they have applied, at first and
 * at most; or emptied. */
#define FLEET_AGAIN 0.0005
#define FLEET_AGAIN_MAX 0.02
#define HOLDERS_AGAIN 0.25
/* How long a store that went away after the change may keep us from learning
 * who has applied it. */
#define UNSURE_SECONDS 1.0
/* How long one that is applied here keeps its turn while others of the fleet are
 * late, seconds. */
#define TURN_SECONDS 5.0
/* How often, and how soon, a flip is checked anew whose write has met another of the claim. */
#define RECHECKS 10
#define RECHECK_AFTER 0.05

static void
observe_seconds(struct service_ctl *ctl, double seconds)
{
	unsigned i = 0;

	while (i < TALLY_BUCKETS && seconds > tally_bounds[i])
		i++;
	ctl->flip_seconds.count[i]++;
	ctl->flip_seconds.sum += seconds;
}

void
flip_wait_for_drain(struct flip *f)
{
	flip_become(f, FLIP_DRAINING);
	list_remove(&f->link);
	list_append(&f->ctl->drainers, &f->link);
	flip_next_turn(f->ctl);
}

/* "drained" needs the drain that this flip began, which the caller starts. */
static void
flip_applied(struct flip *f)
{
	struct service_ctl *ctl = f->ctl;
	double seconds = clock_now() - f->started;

	if (f->changed && f->next.change != CHANGE_SHIFT) {
		ctl->flips_total.by_result[f->to][OK]++;
		observe_seconds(ctl, seconds);
	}
	flip_tell(f->watcher, &(struct flip_event){ .kind = FLIP_EVENT_APPLIED, .epoch = f->epoch, .seconds = seconds });
	if (f->request.wait == FLIP_WAIT_DRAINED && (ctl->drain != NULL || rollout_will_drain(ctl))) {
		flip_wait_for_drain(f);
		return;
	}
	if (f->request.wait == FLIP_WAIT_DRAINED && flip_fleet(f) != NULL) {
		/* Empty here; perhaps not everywhere. */
		flip_wait_for_drain(f);
		flip_ask_store(f);
		return;
	}
	flip_answer_ok(f);
	flip_free(f);
}

void
flip_on_applied(struct service_ctl *ctl)
{
	struct link *first = list_first(&ctl->flips);
	struct flip *f = first != NULL ? list_entry(first, struct flip, link) : NULL;

	if (f == NULL || f->state != FLIP_APPLYING || f->local || ctl->service->applied_epoch < f->epoch)
		return;
	f->local = true;
	if (flip_fleet(f) == NULL)
		flip_applied(f);
	else if (!f->asking)
		flip_ask_store(f);
}

/* Flipped, but some of the fleet have not applied it: they are named. */
void
flip_partial(struct flip *f)
{
	struct service_ctl *ctl = f->ctl;
	char text[sizeof(f->late) + 256];

	snprintf(text, sizeof(text), "%s -> %s: flipped, but not applied by %s; see: tealctl fleet",
		 ctl->service->config->name, color_word(f->to), f->late);
	ctl->flips_total.by_result[f->to][E_PARTIAL_FLEET]++;
	BUS_EMIT(&flip_control(f)->bus, LOG_ERROR_LEVEL, "flip.partial_fleet", ctl->service, LS("to", color_word(f->to)),
		 LU("epoch", f->epoch), LS("late", f->late), LS("by", f->request.by.user));
	flip_answer_error(f, E_PARTIAL_FLEET, text, flip_changed(f));
	flip_free(f);
}

/* However long it is waited for the others, the next flip need not wait for them. */
static void
give_up_turn(struct flip *f)
{
	struct service_ctl *ctl = f->ctl;

	if (list_first(&ctl->flips) != &f->link)
		return;
	list_remove(&f->link);
	list_append(&ctl->drainers, &f->link);
	flip_next_turn(ctl);
}

/* The store has been read again: has the whole fleet applied it? */
void
flip_look_for_laggards(struct flip *f)
{
	struct buf names;
	size_t late, missing;

	if (f->local_since == 0)
		f->local_since = clock_now();
	if (clock_now() - f->local_since > TURN_SECONDS)
		give_up_turn(f);

	buf_init(&names, sizeof(f->late) - 1);
	late = fleet_laggards(flip_fleet(f), f->ctl->service->config->name, f->epoch, &names, &missing);
	str_copy(f->late, sizeof(f->late), buf_str(&names));
	f->unsure_since = 0;
	buf_free(&names);
	if (late == 0)
		flip_applied(f);
	else if (late == missing)
		flip_partial(f);
	else
		flip_ask_again(f, f->pause = f->pause == 0 ? FLEET_AGAIN :
				  2 * f->pause < FLEET_AGAIN_MAX ? 2 * f->pause : FLEET_AGAIN_MAX);
}

/* It is applied here; of the others nothing can be learned now. */
void
flip_wait_for_store(struct flip *f, const struct why *why)
{
	if (f->unsure_since == 0)
		f->unsure_since = clock_now();
	if (clock_now() - f->unsure_since < UNSURE_SECONDS) {
		flip_ask_again(f, FLIP_GATE_AGAIN);
		return;
	}
	snprintf(f->late, sizeof(f->late), "which ones is unknown: %.400s", why->text);
	flip_partial(f);
}

static void
drained(struct flip *f)
{
	char text[256];

	if (flip_fleet(f) != NULL)
		f->drain_cut += fleet_cut(flip_fleet(f), f->ctl->service->config->name, f->epoch);
	flip_tell(f->watcher, &(struct flip_event){ .kind = FLIP_EVENT_DRAINED,
						    .epoch = f->epoch,
						    .seconds = f->drain_seconds,
						    .cut = f->drain_cut });
	if (f->request.no_cut && f->drain_cut > 0) {
		snprintf(text, sizeof(text), "%s -> %s: flipped and applied, but %llu connections to %s had to be cut "
			 "at the drain's deadline",
			 f->ctl->service->config->name, color_word(f->to), (unsigned long long)f->drain_cut,
			 color_word(color_other(f->to)));
		flip_answer_error(f, E_TIMEOUT, text, flip_changed(f));
	} else {
		flip_answer_ok(f);
	}
	flip_free(f);
}

void
flip_look_for_holders(struct flip *f)
{
	uint64_t left = fleet_holding(flip_fleet(f), f->ctl->service->config->name, f->epoch);

	if (left == 0) {
		drained(f);
		return;
	}
	flip_tell(f->watcher, &(struct flip_event){ .kind = FLIP_EVENT_DRAINING, .remaining = left });
	flip_ask_again(f, HOLDERS_AGAIN);
}

void
flip_on_drain_progress(struct service_ctl *ctl, uint64_t remaining)
{
	LIST_EACH(it, &ctl->drainers) {
		struct flip *f = list_entry(it, struct flip, link);

		if (f->state == FLIP_DRAINING)
			flip_tell(f->watcher,
				  &(struct flip_event){ .kind = FLIP_EVENT_DRAINING, .remaining = remaining });
	}
}

void
flip_on_drained(struct service_ctl *ctl, double seconds, uint64_t cut)
{
	control_announce(ctl->control);
	LIST_EACH(it, &ctl->drainers) {
		struct flip *f = list_entry(it, struct flip, link);

		f->drain_seconds = seconds;
		f->drain_cut = cut;
		if (f->state != FLIP_DRAINING)
			continue;
		if (flip_fleet(f) == NULL)
			drained(f);
		else
			flip_ask_again(f, HOLDERS_AGAIN);
	}
}

void
flip_on_superseded(struct service_ctl *ctl)
{
	LIST_EACH(it, &ctl->drainers) {
		struct flip *f = list_entry(it, struct flip, link);
		char text[256];

		/* By the end of its own bake, whose verdict is the answer. */
		if (f->changed && f->request.bake > 0 && bake_is_on(ctl) && bake_answer(ctl, f->epoch, &f->watcher)) {
			flip_free(f);
			continue;
		}
		if (f->state == FLIP_APPLYING)
			snprintf(text, sizeof(text),
				 "%s: flipped again (now %s, epoch %llu) before every teald of the fleet had applied %s; "
				 "see: tealctl fleet",
				 ctl->service->config->name, color_word(ctl->service->record.color),
				 (unsigned long long)ctl->service->record.epoch, color_word(f->to));
		else
			snprintf(text, sizeof(text),
				 "%s: flipped again (now %s, epoch %llu) before %s had drained; its connections stay",
				 ctl->service->config->name, color_word(ctl->service->record.color),
				 (unsigned long long)ctl->service->record.epoch, color_word(color_other(f->to)));
		flip_answer_error(f, E_CONFLICT, text, f->state == FLIP_DRAINING || f->changed ? CHANGED_YES : CHANGED_NO);
		flip_free(f);
	}
}

/* What came between is no change of color, and bars nothing: who has the token has renewed the claim.
 * One whose time is over has been told "unknown": it happens no more. */
static bool
is_checked_again(struct flip *f)
{
	if (f->request.token[0] == '\0' || f->member != NULL || f->watcher == NULL || f->rechecked == RECHECKS ||
	    f->ctl->service->record.epoch != f->checked_epoch)
		return false;
	f->rechecked++;
	f->fresh = FRESH_UNKNOWN;
	flip_become(f, FLIP_CHECKING);
	flip_ask_again(f, RECHECK_AFTER);
	return true;
}

void
flip_on_store(void *arg, enum err e, const struct record *now, const struct why *why)
{
	struct flip *f = arg;
	struct service_ctl *ctl = f->ctl;
	char text[sizeof(why->text) + 128], revision[FLIP_REVISION_JSON];

	/* Who asked was told when the service, or its colors, went. */
	if (list_empty(&f->link)) {
		flip_free(f);
		return;
	}
	if (e == E_CONFLICT && f->member != NULL && why->text[0] == '\0') {
		snprintf(text, sizeof(text), "%s: not changed, for another service that it was asked with was changed first",
			 ctl->service->config->name);
		flip_group_blameless(f);
		flip_refuse(f, E_CONFLICT, text);
		return;
	}
	if (e != OK) {
		/* A lock that came between our look and our write. */
		if (e == E_CONFLICT && (flip_refuse_if_barred(f) || is_checked_again(f)))
			return;
		if (e == E_CONFLICT)
			snprintf(text, sizeof(text), "%s: another command changed it first; now %s at epoch %llu",
				 ctl->service->config->name, color_word(ctl->service->record.color),
				 (unsigned long long)ctl->service->record.epoch);
		else
			snprintf(text, sizeof(text), "%s -> %s: %s", ctl->service->config->name, color_word(f->to),
				 why->text);
		flip_refuse(f, e, text);
		return;
	}
	if (f->same) {
		flip_already_active(f);
		return;
	}
	f->changed = true;
	if (now != NULL)
		f->epoch = now->epoch;
	flip_become(f, FLIP_APPLYING);
	BUS_EMIT(&flip_control(f)->bus, LOG_INFO_LEVEL, "flip.committed", ctl->service, LS("from", color_word(f->from)),
		 LS("to", color_word(f->to)), LU("epoch", f->epoch), LS("kind", change_word(f->next.change)), LF("percent", f->gains / 100.0),
		 LS("by", f->request.by.user), LS("reason", f->request.reason),
		 LR(NULL, flip_revision_json(ctl->service->record.revision, revision)));
	flip_tell(f->watcher, &(struct flip_event){ .kind = FLIP_EVENT_COMMITTED, .epoch = f->epoch });
	if (f->request.bake > 0 && f->next.change == CHANGE_FLIP && ctl->service->record.epoch == f->epoch)
		bake_begin(ctl, &f->request, f->to, f->epoch);
	if (f->request.wait == FLIP_WAIT_NONE)
		flip_answer_ok(f);
	/* The store told the record before it told us, so the snapshot is on its
	 * way; perhaps it has even arrived. */
	flip_on_applied(ctl);
}
