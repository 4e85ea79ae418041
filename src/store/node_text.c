/* node_text.c - overlays as JSON.  Pure. */
#include "base/clock.h"
#include "store/node_text.h"

void
overlay_json(struct json *j, const char *key, const struct overlay *o)
{
	json_object(j, key);
	for (size_t i = 0; i < o->n; i++)
		json_cstr(j, o->list[i].host, node_wish_word(o->list[i].wish));
	json_object_end(j);
}

bool
overlay_from_json(json_t *object, struct overlay *out)
{
	const char *host;
	json_t *value;

	if (!json_is_object(object) || json_object_size(object) > NODES_MAX)
		return false;
	json_object_foreach(object, host, value)
	{
		enum node_wish wish;

		if (!node_is_host(host) || !json_is_string(value) ||
		    !node_wish_from_word(json_string_value(value), &wish) ||
		    overlay_find(out, host) != NULL || !overlay_set(out, host, wish)) {
			overlay_free(out);
			return false;
		}
	}
	return true;
}

bool
overlay_from_text(struct str text, struct overlay *out)
{
	json_t *object =
		text.n <= NODE_TEXT_MAX ? json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	bool good = object != NULL && overlay_from_json(object, out);

	json_decref(object);
	return good;
}

/* -- terms ---------------------------------------------------------------------- */

static bool
has_terms(const struct node *n, bool ending_only)
{
	return ending_only ? node_ends(n) : n->terms.since_us > 0 || node_ends(n);
}

bool
overlay_terms_json(struct json *j, const char *key, const struct overlay *o, bool ending_only)
{
	bool any = false;

	for (size_t i = 0; i < o->n && !any; i++)
		any = has_terms(&o->list[i], ending_only);
	if (!any)
		return false;
	json_object(j, key);
	json_u64(j, "version", o->version);
	json_object(j, "nodes");
	for (size_t i = 0; i < o->n; i++) {
		const struct node_terms *t = &o->list[i].terms;

		if (!has_terms(&o->list[i], ending_only))
			continue;
		json_object(j, o->list[i].host);
		json_i64(j, "since_us", t->since_us);
		if (t->timeout_us >= 0)
			json_i64(j, "timeout_us", t->timeout_us);
		if (t->spread_us >= 0)
			json_i64(j, "spread_us", t->spread_us);
		json_object_end(j);
	}
	json_object_end(j);
	json_object_end(j);
	return true;
}

static bool
is_duration(json_int_t us)
{
	return us >= -1 && us <= NODE_TERMS_MAX_US;
}

void
overlay_take_terms(json_t *object, struct overlay *out)
{
	json_int_t version;
	const char *host;
	json_t *nodes, *value;

	if (json_unpack(object, "{s:I, s:o}", "version", &version, "nodes", &nodes) != 0 || version < 0 ||
	    (uint64_t)version != out->version)
		return;
	json_object_foreach(nodes, host, value)
	{
		json_int_t since, timeout = -1, spread = -1;

		if (overlay_find(out, host) == NULL ||
		    json_unpack(value, "{s:I, s?I, s?I}", "since_us", &since, "timeout_us", &timeout, "spread_us",
				&spread) != 0 ||
		    since < 0 || since > CLOCK_US_MAX || !is_duration(timeout) || !is_duration(spread))
			continue;
		overlay_set_terms(out, host, &(struct node_terms){ since, timeout, spread });
	}
}

void
overlay_terms_from_text(struct str text, struct overlay *out)
{
	json_t *object = text.n <= NODE_TERMS_TEXT_MAX ? json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (object != NULL)
		overlay_take_terms(object, out);
	json_decref(object);
}
