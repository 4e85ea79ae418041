/* render_reload.c - plans of a reload, how it went, and what is obeyed.  One thread. */
#include "app/tealctl/render.h"
#include "app/tealctl/say.h"

/* {"event":"planned","lines":["~ log.level info -> debug","= 3 unchanged"],…} */
void
render_planned(struct render *r, json_t *object)
{
	json_t *list = json_at(object, "lines"), *line;
	struct buf b;
	size_t i;

	buf_init(&b, 1 << 20);
	json_array_foreach(list, i, line)
	{
		buf_clear(&b);
		text_json(&b, line);
		output_line(r->out, "%.*s", (int)buf_len(&b), buf_str(&b).p);
	}
	buf_free(&b);
}

/* {"ok":true,"changed":true,"dry_run":false,"generation":7,"warnings":[…]} */
void
render_reload(struct render *r, json_t *object)
{
	bool changed = json_has(object, "changed"), dry = json_has(object, "dry_run");
	json_t *list = json_at(object, "warnings"), *w;
	size_t i;

	json_array_foreach(list, i, w) say(r->out, w, json_has(w, "line") ? "{file}:{line}: {message} (warning)" : "{message} (warning)");
	if (!r->out->terminal)
		say(r->out, object, dry ? "planned\t{generation}" : changed ? "reloaded\tchanged\t{generation}" : "reloaded\tunchanged\t{generation}");
	else if (dry)
		say(r->out, object, "nothing was changed: a dry run");
	else
		say(r->out, object, changed ? "generation {generation} is obeyed" : "nothing has changed");
}

static void
put_keys(struct render *r, json_t *of, const char *form)
{
	json_t *list = json_at(of, "keys"), *key;
	size_t i;

	json_array_foreach(list, i, key)
	{
		json_t *one = json_pack("{s:O,s:O*,s:O*}", "key", json_at(key, "key"), "value", json_at(key, "value"), "service",
					json_at(of, "service"));

		say(r->out, one, form);
		json_decref(one);
	}
}

/* {"keys":[{"key":"log.level","value":"info"}],"services":[{"service":"shop","keys":[…]}]} */
void
render_config(struct render *r, json_t *object)
{
	json_t *list = json_at(object, "services"), *service;
	size_t i;

	put_keys(r, object, "{key} {value}");
	json_array_foreach(list, i, service) put_keys(r, service, "service {service}: {key} {value}");
}
