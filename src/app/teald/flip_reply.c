/* flip_reply.c - the shape of what is told of a flip.  Thread: main. */
#include "app/teald/flip_reply.h"
#include "app/teald/bake_json.h"
#include "app/teald/status.h"
#include "base/clock.h"
#include "base/json.h"
#include "control/flip_group.h"
#include "control/gate.h"
#include "control/ramp.h"

static void
put_gate(struct json *j, const struct gate *g)
{
	json_cstr(j, "service", g->ctl->service->config->name);
	json_cstr(j, "to", color_word(g->color));
	json_u64(j, "healthy", g->healthy);
	json_u64(j, "total", g->n);
	json_u64(j, "needed", g->needed);
}

static void
put_gate_backends(struct json *j, const struct gate *g)
{
	json_array(j, "backends");
	for (size_t i = 0; i < g->n; i++) {
		const struct gate_backend *gb = &g->backends[i];

		json_object(j, NULL);
		json_cstr(j, "address", gb->backend->text);
		json_bool(j, "ok", gb->ok);
		json_cstr(j, "state", backend_word(gb->backend));
		json_cstr(j, "error", gb->ok ? NULL : gb->error);
		json_object_end(j);
	}
	json_array_end(j);
}

static void
put_lock(struct json *j, const struct record *record)
{
	char at[CLOCK_TEXT];

	if (!record->lock.on) {
		json_null(j, "locked");
		return;
	}
	clock_format(record->lock.at_us, 3, at);
	json_object(j, "locked");
	json_cstr(j, "by", record->lock.by);
	json_cstr(j, "reason", record->lock.reason);
	json_cstr(j, "at", at);
	json_object_end(j);
}

static void
put_flip_changed(struct json *j, enum changed changed)
{
	switch (changed) {
	case CHANGED_UNSAID:
		break;
	case CHANGED_NO:
	case CHANGED_YES:
		json_bool(j, "changed", changed == CHANGED_YES);
		break;
	case CHANGED_UNKNOWN:
		json_null(j, "changed");
		break;
	}
}

/* Of what was not written there is none. */
static void
put_revision(struct json *j, const struct flip_group *g, enum changed changed)
{
	json_cstr(j, "revision", g->revision[0] != '\0' && changed != CHANGED_NO ? g->revision : NULL);
}

static void
put_epochs(struct json *j, const struct flip_group *g)
{
	json_array(j, "services");
	for (size_t i = 0; i < g->n; i++) {
		const struct service *s = g->members[i].ctl->service;

		json_object(j, NULL);
		json_cstr(j, "service", s->config->name);
		json_u64(j, "epoch", s->record.epoch);
		json_object_end(j);
	}
	json_array_end(j);
}

/* One of several, when all is over. */
static void
put_flip_member(struct json *j, const struct flip_group *g, const struct flip_group_member *m)
{
	json_object(j, NULL);
	json_cstr(j, "service", m->ctl->service->config->name);
	if (m->error != OK) {
		json_cstr(j, "error", err_word(m->error));
		json_cstr(j, "message", m->message);
	}
	if (g->check) {
		json_cstr(j, "to", color_word(m->to));
		json_u64(j, "healthy", m->healthy);
		json_u64(j, "total", m->total);
		json_u64(j, "needed", m->needed);
	} else {
		json_cstr(j, "active", color_word(m->active));
		json_u64(j, "epoch", m->epoch);
		put_flip_changed(j, m->changed);
	}
	json_object_end(j);
}

static void
put_group(struct json *j, const struct flip_group *g, enum changed changed)
{
	if (!g->check)
		put_revision(j, g, changed);
	json_array(j, "services");
	for (size_t i = 0; i < g->n; i++)
		put_flip_member(j, g, &g->members[i]);
	json_array_end(j);
}

/* Of one its epoch, of several those of all. */
static void
put_event_epoch(struct json *j, const struct flip_event *e)
{
	if (e->group == NULL) {
		json_u64(j, "epoch", e->epoch);
		return;
	}
	put_revision(j, e->group, CHANGED_YES);
	put_epochs(j, e->group);
}

void
flip_reply_event(struct buf *out, const struct flip_event *e)
{
	struct json j;

	json_init(&j, out);
	json_object(&j, NULL);
	switch (e->kind) {
	case FLIP_EVENT_CHECKED:
		json_cstr(&j, "event", "checked");
		put_gate(&j, e->gate);
		put_gate_backends(&j, e->gate);
		break;
	case FLIP_EVENT_COMMITTED:
		json_cstr(&j, "event", "committed");
		put_event_epoch(&j, e);
		break;
	case FLIP_EVENT_APPLIED:
		json_cstr(&j, "event", "applied");
		put_event_epoch(&j, e);
		/* To the microsecond. */
		json_double(&j, "ms", (double)(int64_t)(e->seconds * 1e6) / 1e3);
		break;
	case FLIP_EVENT_DRAINING:
		json_cstr(&j, "event", "draining");
		json_u64(&j, "remaining", e->remaining);
		break;
	case FLIP_EVENT_DRAINED:
		json_cstr(&j, "event", "drained");
		put_event_epoch(&j, e);
		json_double(&j, "seconds", e->seconds);
		json_u64(&j, "cut", e->cut);
		break;
	case FLIP_EVENT_RAMPING:
		json_cstr(&j, "event", "ramping");
		json_u64(&j, "epoch", e->epoch);
		status_share_json(&j, e->ramp->ctl);
		break;
	case FLIP_EVENT_BAKING:
		json_cstr(&j, "event", "baking");
		bake_members_json(&j, e->bake);
		break;
	}
	json_object_end(&j);
	json_line_end(&j);
}

void
flip_reply_outcome(struct buf *out, const struct flip_outcome *o, bool with_lock)
{
	struct json j;

	json_init(&j, out);
	json_object(&j, NULL);
	json_bool(&j, "ok", o->error == OK);
	if (o->error != OK) {
		json_cstr(&j, "error", err_word(o->error));
		json_cstr(&j, "message", o->message);
	}
	if (o->group != NULL) {
		put_group(&j, o->group, o->changed);
	} else if (o->gate != NULL) {
		put_gate(&j, o->gate);
	} else {
		json_cstr(&j, "service", o->service->config->name);
		json_cstr(&j, "active", color_word(o->service->record.color));
		json_u64(&j, "epoch", o->service->record.epoch);
		if (o->service->record.share.idle > 0)
			status_share_json(&j, o->service->ctl);
	}
	if (with_lock && o->error == OK)
		put_lock(&j, &o->service->record);
	put_flip_changed(&j, o->changed);
	if (o->bake != NULL)
		bake_members_json(&j, o->bake);
	if (o->drained)
		json_u64(&j, "cut", o->cut);
	json_object_end(&j);
	json_line_end(&j);
}

void
flip_reply_claim(struct buf *out, const struct flip_outcome *o)
{
	const struct service *s = o->service;
	struct json j;

	json_init(&j, out);
	json_object(&j, NULL);
	json_bool(&j, "ok", o->error == OK);
	if (o->error != OK) {
		json_cstr(&j, "error", err_word(o->error));
		json_cstr(&j, "message", o->message);
	}
	json_cstr(&j, "service", s->config->name);
	json_cstr(&j, "idle", color_word(color_other(s->record.color)));
	json_cstr(&j, "active", color_word(s->record.color));
	json_u64(&j, "epoch", s->record.epoch);
	if (o->token != NULL)
		json_cstr(&j, "token", o->token);
	status_claim_json(&j, s->ctl);
	put_flip_changed(&j, o->changed);
	json_object_end(&j);
	json_line_end(&j);
}
