/* say.c - templates over JSON objects.  One thread. */
#include <string.h>

#include "app/tealctl/say.h"

#define TEXT_LIMIT (1u << 20)
#define KEY_MAX 64

static json_t *
value_at(json_t *object, struct str path)
{
	char key[KEY_MAX];
	const char *dot;

	for (;;) {
		dot = memchr(path.p, '.', path.n);
		CHECK(str_copy(key, sizeof(key),
			       (struct str){ path.p, dot != NULL ? (size_t)(dot - path.p) : path.n }));
		object = json_object_get(object, key);
		if (dot == NULL)
			return object;
		path.n -= (size_t)(dot + 1 - path.p);
		path.p = dot + 1;
	}
}

json_t *
json_at(json_t *object, const char *path)
{
	return value_at(object, str_from(path));
}

bool
json_has(json_t *object, const char *path)
{
	json_t *v = json_at(object, path);

	if (v == NULL)
		return false;
	switch (json_typeof(v)) {
	case JSON_NULL:
	case JSON_FALSE:
		return false;
	case JSON_TRUE:
		return true;
	case JSON_INTEGER:
	case JSON_REAL:
		return json_number_value(v) != 0;
	case JSON_STRING:
		return json_string_length(v) > 0;
	case JSON_ARRAY:
		return json_array_size(v) > 0;
	case JSON_OBJECT:
		return json_object_size(v) > 0;
	}
	return false;
}

static void
put_list(struct buf *b, json_t *array)
{
	json_t *v;
	size_t i;

	json_array_foreach(array, i, v)
	{
		if (i > 0)
			buf_append(b, ",", 1);
		text_json(b, v);
	}
	if (json_array_size(array) == 0)
		buf_append(b, "-", 1);
}

static void
put_json_value(struct buf *b, const struct output *o, json_t *v, struct str how)
{
	enum style style = style_of_color(v);

	if (str_eq(how, "list") && json_is_array(v)) {
		put_list(b, v);
	} else if (str_eq(how, "time")) {
		text_time(b, v);
	} else if (str_eq(how, "duration") && json_is_number(v)) {
		text_duration(b, json_number_value(v));
	} else if (str_eq(how, "bytes") && json_is_number(v)) {
		text_bytes(b, json_number_value(v));
	} else if (str_eq(how, "ms") && json_is_number(v)) {
		buf_printf(b, "%.1f ms", json_number_value(v));
	} else if (str_eq(how, "connections")) {
		text_json(b, v);
		buf_printf(b,
			   json_is_integer(v) && json_integer_value(v) == 1 ? " connection" : " connections");
	} else {
		buf_printf(b, "%s", output_on(o, style));
		text_json(b, v);
		buf_printf(b, "%s", output_off(o, style));
	}
}

void
say_into(struct buf *b, const struct output *o, json_t *object, const char *template)
{
	const char *open, *close, *colon;
	struct str path, how;

	for (; (open = strchr(template, '{')) != NULL; template = close + 1) {
		buf_append(b, template, (size_t)(open - template));
		close = strchr(open, '}');
		CHECK(close != NULL);
		path = (struct str){ open + 1, (size_t)(close - open - 1) };
		how = (struct str){ "", 0 };
		if ((colon = memchr(path.p, ':', path.n)) != NULL) {
			how = (struct str){ colon + 1, (size_t)(close - colon - 1) };
			path.n = (size_t)(colon - path.p);
		}
		put_json_value(b, o, value_at(object, path), how);
	}
	buf_append(b, template, strlen(template));
}

void
say(struct output *o, json_t *object, const char *template)
{
	struct buf b;

	buf_init(&b, TEXT_LIMIT);
	say_into(&b, o, object, template);
	output_line(o, "%.*s", (int)buf_len(&b), buf_str(&b).p);
	buf_free(&b);
}

void
say_cells(struct table *t, json_t *object, const char *paths)
{
	for (size_t n; *paths != '\0'; paths += n + (paths[n] == ' ')) {
		n = strcspn(paths, " ");
		table_json(t, value_at(object, (struct str){ paths, n }));
	}
}

void
say_refusal(struct buf *b, json_t *reply)
{
	const char *error = json_string_value(json_at(reply, "error"));

	say_into(b, &(struct output){ .terminal = false }, reply,
		 !json_has(reply, "message")			  ? "{error}" :
		 error != NULL && strcmp(error, "internal") == 0 ? "{message}" :
								    "{error}: {message}");
}
