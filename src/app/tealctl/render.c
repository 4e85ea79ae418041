/* render.c - which reply is shown how, and the short ones.  One thread. */
#include <string.h>

#include "app/tealctl/render.h"
#include "app/tealctl/say.h"
#include "base/version.h"

static bool
among(const char *const *keys, const char *key)
{
	for (; *keys != NULL; keys++)
		if (strcmp(*keys, key) == 0)
			return true;
	return false;
}

/* key=value for whatever else is there, or a newer teald adds. */
static void
put_members(struct buf *b, const struct output *o, json_t *object, const char *const *but)
{
	const char *key;
	json_t *v;

	json_object_foreach(object, key, v)
	{
		if (among(but, key))
			continue;
		if (buf_len(b) > 0)
			buf_printf(b, "%s", o->terminal ? "  " : "\t");
		text_safe(b, str_from(key));
		buf_append(b, "=", 1);
		text_json(b, v);
	}
}

/* {"event":"flip.applied","time":…,"service":…,…} */
void
render_streamed(struct render *r, json_t *object)
{
	static const char *const shown[] = { "time", "event", "service", NULL };
	struct buf b;

	buf_init(&b, 1 << 20);
	say_into(&b, r->out, object,
		 r->out->terminal ? "{time:time}  {event}  {service}" : "{time}\t{event}\t{service}");
	put_members(&b, r->out, object, shown);
	output_line(r->out, "%.*s", (int)buf_len(&b), buf_str(&b).p);
	buf_free(&b);
}

void
render_event(struct render *r, json_t *object)
{
	switch (r->request->command) {
	case ADMIN_FLIP:
	case ADMIN_SHIFT:
	case ADMIN_ROLLBACK:
		render_flip_event(r, object);
		return;
	case ADMIN_BAKE:
	case ADMIN_WAIT:
		render_flip_event(r, object);
		return;
	case ADMIN_CHECK:
		render_checked(r, object);
		return;
	case ADMIN_RELOAD:
		render_planned(r, object);
		return;
	case ADMIN_NODE:
		render_node_event(r, object);
		return;
	case ADMIN_STATUS:
	case ADMIN_ACTIVE:
	case ADMIN_IDLE:
	case ADMIN_LOCK:
	case ADMIN_UNLOCK:
	case ADMIN_CLAIM:
	case ADMIN_RELEASE:
	case ADMIN_SIGNAL:
	case ADMIN_DRAIN:
	case ADMIN_HISTORY:
	case ADMIN_FLEET:
	case ADMIN_CERTS:
	case ADMIN_EVENTS:
	case ADMIN_LOG:
	case ADMIN_MAINTENANCE:
	case ADMIN_UPGRADE:
	case ADMIN_CONFIG:
	case ADMIN_STOP:
	case ADMIN_WHOAMI:
	case ADMIN_HELP:
	case ADMIN_VERSION:
		render_streamed(r, object);
		return;
	}
}

static void
render_lock(struct render *r, json_t *object)
{
	bool locked = r->request->command == ADMIN_LOCK;
	bool terminal = r->out->terminal, changed = json_has(object, "changed");
	json_t *services = json_at(object, "services"), *name;
	size_t i;

	if (json_is_array(services)) {
		json_array_foreach(services, i, name)
		{
			json_t *one = json_pack("{s:O}", "service", name);

			if (terminal)
				say(r->out, one, locked ? "{service} is locked" : "{service} is not locked");
			else
				say(r->out, one, locked ? "locked\t{service}" : "unlocked\t{service}");
			json_decref(one);
		}
		if (i == 0 && terminal)
			say(r->out, object, "there are no services");
		return;
	}
	if (!terminal)
		say(r->out, object, locked ? "locked\t{service}" : "unlocked\t{service}");
	else if (!locked)
		say(r->out, object, changed ? "{service} is unlocked" : "{service} was not locked");
	else
		say(r->out, object,
		    changed ? "{service} is locked by {locked.by}: {locked.reason}" :
			      "{service} was locked already, by {locked.by}: {locked.reason}");
}

static void
render_release(struct render *r, json_t *object)
{
	bool changed = json_has(object, "changed");

	if (!r->out->terminal)
		say(r->out, object, changed ? "released\t{service}\tchanged" : "released\t{service}\tunchanged");
	else if (changed)
		say(r->out, object, "{service} is not claimed any more");
	else
		say(r->out, object,
		    json_has(object, "claimed") ?
			    "{service} is claimed by {claimed.by}, and not by this token: {claimed.reason}" :
			    "{service} was not claimed any more");
}

void
render_client_version(struct render *r)
{
	output_line(r->out, r->out->terminal ? "tealctl %s" : "tealctl\t%s", teal_version());
}

static void
render_members(struct render *r, json_t *object)
{
	static const char *const shown[] = { "ok", NULL };
	struct buf b;

	buf_init(&b, 1 << 20);
	put_members(&b, r->out, object, shown);
	if (buf_len(&b) > 0)
		output_line(r->out, "%.*s", (int)buf_len(&b), buf_str(&b).p);
	buf_free(&b);
}

static void
render_maintenance(struct render *r, json_t *object)
{
	bool on = json_has(object, "maintenance");

	if (!r->out->terminal)
		output_line(r->out, "maintenance\t%s", on ? "on" : "off");
	else
		output_line(r->out, "maintenance is %s%s", on ? "on: /readyz says no, serving goes on" : "off",
			    json_has(object, "changed") ? "" : " (as before)");
}

/* Replies of one sentence that is always the same: on a terminal, and as a record. */
static void
render_sentence(struct render *r, json_t *object)
{
	static const struct {
		const char *terminal, *record;
	} sentences[] = {
		[ADMIN_CLAIM] = { "{service}: {idle} is claimed until {claimed.until:time}, epoch {epoch}; token {token}",
				  "claimed\t{service}\t{idle}\t{active}\t{epoch}\t{token}\t{claimed.until}" },
		[ADMIN_SIGNAL] = { "{service} {color}: {count} more were {kind}", "signal\t{service}\t{color}\t{kind}\t{count}" },
		[ADMIN_LOG] = { "log level is {level} (was {was})", "log\t{level}" },
		[ADMIN_STOP] = { "teald drains and ends", "stopping" },
		[ADMIN_VERSION] = { "teald {version}, pid {pid}, up {uptime:duration}", "teald\t{version}\t{pid}\t{uptime}" },
	};
	enum admin_command verb = r->request->command;

	say(r->out, object, r->out->terminal ? sentences[verb].terminal : sentences[verb].record);
}

void
render_reply(struct render *r, json_t *object)
{
	switch (r->request->command) {
	case ADMIN_STATUS:
		render_status(r, object);
		return;
	case ADMIN_ACTIVE:
	case ADMIN_IDLE:
		say(r->out, object, r->request->epoch ? "{color}@{epoch}" : "{color}");
		return;
	case ADMIN_CHECK:
		render_check(r, object);
		return;
	case ADMIN_FLIP:
	case ADMIN_SHIFT:
	case ADMIN_ROLLBACK:
		render_flip(r, object);
		return;
	case ADMIN_LOCK:
	case ADMIN_UNLOCK:
		render_lock(r, object);
		return;
	case ADMIN_RELEASE:
		render_release(r, object);
		return;
	case ADMIN_BAKE:
	case ADMIN_WAIT:
		render_bake(r, object);
		return;
	case ADMIN_DRAIN:
		render_drain(r, object);
		return;
	case ADMIN_HISTORY:
		render_history(r, object);
		return;
	case ADMIN_WHOAMI:
		render_whoami(r, object);
		return;
	case ADMIN_VERSION:
		render_client_version(r);
		render_sentence(r, object);
		return;
	case ADMIN_CLAIM:
	case ADMIN_SIGNAL:
	case ADMIN_LOG:
	case ADMIN_STOP:
		render_sentence(r, object);
		return;
	case ADMIN_MAINTENANCE:
		render_maintenance(r, object);
		return;
	case ADMIN_EVENTS:
		return;
	case ADMIN_FLEET:
		render_fleet(r, object);
		return;
	case ADMIN_CERTS:
		render_certs(r, object);
		return;
	case ADMIN_NODE:
		render_node(r, object);
		return;
	case ADMIN_RELOAD:
		render_reload(r, object);
		return;
	case ADMIN_UPGRADE:
		render_upgrade(r, object);
		return;
	case ADMIN_CONFIG:
		render_config(r, object);
		return;
	case ADMIN_HELP:
		render_members(r, object);
		return;
	}
}
