/* reply.c - the shape of answers.  Thread: main. */
#include "base/clock.h"
#include "control/reply.h"

#define REPLY_MAX (1024 * 1024)

static void
begin(struct reply *r)
{
	buf_init(&r->line, REPLY_MAX);
	json_init(&r->json, &r->line);
	json_object(&r->json, NULL);
}

void
reply_event(struct reply *r, const char *event)
{
	begin(r);
	json_cstr(&r->json, "event", event);
}

void
reply_ok(struct reply *r)
{
	begin(r);
	json_bool(&r->json, "ok", true);
}

void
reply_error(struct reply *r, enum err e, const char *message)
{
	begin(r);
	json_bool(&r->json, "ok", false);
	json_cstr(&r->json, "error", err_word(e));
	json_cstr(&r->json, "message", message);
}

void
reply_send(struct reply *r, struct flip_watcher *w, bool last)
{
	json_object_end(&r->json);
	json_line_end(&r->json);
	if (w != NULL && last)
		w->done(w, buf_str(&r->line));
	else if (w != NULL)
		w->progress(w, buf_str(&r->line));
	buf_free(&r->line);
}

void
reply_state(struct reply *r, const struct service *s)
{
	json_cstr(&r->json, "service", s->config->name);
	json_cstr(&r->json, "active", color_word(s->record.color));
	json_u64(&r->json, "epoch", s->record.epoch);
}

void
reply_gate(struct reply *r, const struct gate *g)
{
	json_cstr(&r->json, "service", g->entry->service->config->name);
	json_cstr(&r->json, "to", color_word(g->color));
	json_u64(&r->json, "healthy", g->healthy);
	json_u64(&r->json, "total", g->n);
	json_u64(&r->json, "needed", g->needed);
}

void
reply_gate_backends(struct reply *r, const struct gate *g)
{
	json_array(&r->json, "backends");
	for (size_t i = 0; i < g->n; i++) {
		const struct gate_backend *gb = &g->backends[i];

		json_object(&r->json, NULL);
		json_cstr(&r->json, "address", gb->backend->text);
		json_bool(&r->json, "ok", gb->ok);
		json_cstr(&r->json, "state", backend_word(gb->backend));
		json_cstr(&r->json, "error", gb->ok ? NULL : gb->error);
		json_object_end(&r->json);
	}
	json_array_end(&r->json);
}

void
reply_lock(struct json *j, const struct record *record)
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
