/* flip_share.c - what a flip, a shift or a rollback makes of a record: the color, and what the idle
 * color has of the traffic.  Thread: main. */
#include <stdio.h>

#include "control/flip_group.h"
#include "control/flip_steps.h"
#include "control/services.h"

/* `to` has that much, of SHARE_WHOLE; all of it: it is active. */
static void
plan_share(struct flip *f, enum color to, uint32_t share, bool flips)
{
	const struct record *now = &f->ctl->service->record;
	struct record *next = &f->next;

	next->color = flips ? to : now->color;
	next->share = now->share;
	next->share.ramp = f->request.ramp;
	next->share.ramp.on = next->share.ramp.n > 0;
	next->share.idle = next->color == to ? SHARE_WHOLE - share : share;
	if (next->share.idle == 0) {
		next->share = (struct share){ 0 };
	} else if (now->share.idle == 0 || (now->share.low != to && share > record_share(now, to))) {
		/* A new one, if only of a color that had kept some: to it belong those with the lowest points, and grow from there. */
		next->share.low = to;
		next->share.since = now->epoch + 1;
		next->share.key = hash_secret_new();
	}
	f->to = to;
	f->gains = share;
	if (!flips && record_share(now, to) > share) {
		f->to = color_other(to);
		f->gains = SHARE_WHOLE - share;
	}
}

static bool
holds_back(const struct record *r)
{
	return share_is_held_back(&r->share, r->color);
}

static bool
plan_flip(struct flip *f)
{
	const struct flip_request *q = &f->request;
	const struct record *now = &f->ctl->service->record;
	bool flips = q->to != now->color;
	/* Once it is active nobody is sent back. */
	uint32_t kept = flips ? q->share : holds_back(now) && q->share > 0 ? now->share.idle : 0;

	plan_share(f, q->to, SHARE_WHOLE - kept, flips);
	f->next.change = flips || now->share.idle == 0 || holds_back(now) ? CHANGE_FLIP : CHANGE_SHIFT;
	return true;
}

/* It is to be planned as a shift; else it is planned, or refused, which *planned says. */
static bool
begins_ramp(struct flip *f, bool *planned)
{
	const struct flip_request *q = &f->request;
	const struct record *now = &f->ctl->service->record;
	char has[PERCENT_TEXT], text[256];

	*planned = true;
	if (q->to == now->color && now->share.idle == 0) {
		f->next.color = now->color;
		f->next.share = now->share;
		f->gains = SHARE_WHOLE;
		return false;
	}
	if (record_share(now, q->to) <= q->share)
		return true;
	snprintf(text, sizeof(text), "%s: %s has %s of the clients already, and a ramp that falls is refused: begin it there, or above",
		 f->ctl->service->config->name, color_word(q->to), percent_format(record_share(now, q->to), has));
	f->next.share = now->share;
	flip_refuse(f, E_CONFLICT, text);
	*planned = false;
	return false;
}

static bool
plan_shift(struct flip *f)
{
	const struct flip_request *q = &f->request;
	const struct record *now = &f->ctl->service->record;
	const char *name = f->ctl->service->config->name;
	char text[256];
	bool planned;

	if (q->ramp.n > 0 && !q->by_ramp && !begins_ramp(f, &planned))
		return planned;
	if (q->share == SHARE_WHOLE) {
		plan_share(f, q->to, SHARE_WHOLE, q->to != now->color);
		f->next.change = q->to != now->color || holds_back(now) ? CHANGE_FLIP : CHANGE_SHIFT;
		return true;
	}
	if (q->to == now->color) {
		snprintf(text, sizeof(text), "%s: %s is active already, and has what %s has not; its share is set by: "
			 "tealctl shift %s %s --to=N%%",
			 name, color_word(now->color), color_word(color_other(now->color)), name,
			 color_word(color_other(now->color)));
		f->next.change = CHANGE_SHIFT;
		f->next.share = now->share;
		flip_refuse(f, E_CONFLICT, text);
		return false;
	}
	plan_share(f, q->to, q->share, false);
	/* Where the flip has been, and the old color only loses what it had kept, it can still be undone. */
	f->next.change = holds_back(now) && q->share <= now->share.idle ? now->change : CHANGE_SHIFT;
	return true;
}

/* False: nothing is left to undo, which was answered. */
static bool
plan_rollback(struct flip *f)
{
	const struct record *r = &f->ctl->service->record;
	char text[256];

	if (r->share.idle > 0 && !holds_back(r)) {
		plan_share(f, color_other(r->color), 0, false);
		f->next.change = CHANGE_SHIFT;
		return true;
	}
	switch (r->change) {
	case CHANGE_FLIP:
		plan_share(f, color_other(r->color), SHARE_WHOLE, true);
		f->next.change = CHANGE_ROLLBACK;
		return true;
	case CHANGE_ROLLBACK:
	case CHANGE_SHIFT:
		f->to = r->color;
		if (f->member != NULL) {
			flip_group_ready(f, true);
			return false;
		}
		flip_answer_ok(f);
		flip_free(f);
		return false;
	case CHANGE_INITIAL:
	case CHANGE_LOCK:
	case CHANGE_UNLOCK:
	case CHANGE_CLAIM:
	case CHANGE_RELEASE:
	case CHANGE_HOLD:
	case CHANGE_UNHOLD:
		break;
	}
	f->to = r->color;
	snprintf(text, sizeof(text), "%s has never been flipped: there is nothing to roll back",
		 f->ctl->service->config->name);
	flip_refuse(f, E_CONFLICT, text);
	return false;
}

bool
flip_plan(struct flip *f)
{
	switch (f->request.kind) {
	case CHANGE_FLIP:
		return plan_flip(f);
	case CHANGE_SHIFT:
		return plan_shift(f);
	case CHANGE_ROLLBACK:
		return plan_rollback(f);
	case CHANGE_INITIAL:
	case CHANGE_LOCK:
	case CHANGE_UNLOCK:
	case CHANGE_CLAIM:
	case CHANGE_RELEASE:
	case CHANGE_HOLD:
	case CHANGE_UNHOLD:
		break;
	}
	CHECK(!"a change that is no flip's");
	return false;
}

bool
flip_is_done(const struct flip *f)
{
	const struct record *now = &f->ctl->service->record;

	return f->next.color == now->color && share_same(&f->next.share, &now->share);
}

bool
flip_refuse_unshared(struct flip *f)
{
	const struct service *s = f->ctl->service;
	struct buf names;
	char text[1024];
	size_t n;

	if (f->next.share.idle == 0)
		return false;
	if (s->config->engine == ENGINE_KERNEL) {
		snprintf(text, sizeof(text), "%s is of the engine \"kernel\", which cannot hold a share: a flip moves all of its clients; "
			 "nothing changed",
			 s->config->name);
		flip_refuse(f, E_UNSUPPORTED, text);
		return true;
	}
	if (flip_fleet(f) == NULL)
		return false;
	buf_init(&names, 600);
	n = fleet_without_shares(flip_fleet(f), s->config->name, &names);
	snprintf(text, sizeof(text), "%s: not every teald of the fleet can hold a share, upgrade them first: %.*s; nothing changed",
		 s->config->name, (int)buf_len(&names), buf_str(&names).p);
	buf_free(&names);
	if (n > 0)
		flip_refuse(f, E_UNSUPPORTED, text);
	return n > 0;
}
