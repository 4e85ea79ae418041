/* node_text.c - overlays as JSON.  Pure. */
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
