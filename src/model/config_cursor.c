/* config_cursor.c - walks a libconfig group by a table of keys, and says what
 * is wrong where.  Start-up thread only. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config_copy.h"
#include "model/config_cursor.h"
#include "model/plain_file.h"

static void
cursor_report(const struct cursor *c, struct complaint_list *list, const config_setting_t *s, const char *key,
	      const char *fmt, va_list ap)
{
	struct config_line l = config_text_line(&c->r->text, config_setting_source_line(s));
	char message[1024];

	if (c->r->muted > 0)
		return;
	vsnprintf(message, sizeof(message), fmt, ap);
	complaint_add(list, config_setting_source_line(s),
		      must_printf("%s:%u: %s%s%s%s%s", l.file, l.line, c->where != NULL ? c->where : "",
				  c->where != NULL ? ": " : "", key, key[0] != '\0' ? ": " : "", message));
}

void
cursor_error(const struct cursor *c, const config_setting_t *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cursor_report(c, &c->r->errors, s, "", fmt, ap);
	va_end(ap);
}

void
cursor_warn(const struct cursor *c, const config_setting_t *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cursor_report(c, &c->r->warnings, s, "", fmt, ap);
	va_end(ap);
}

void
cursor_key_error(const struct cursor *c, const config_setting_t *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cursor_report(c, &c->r->errors, s, cursor_key(c, s).s, fmt, ap);
	va_end(ap);
}

struct shown
cursor_key(const struct cursor *c, const config_setting_t *s)
{
	struct shown out, name;

	while (s->name == NULL && s->parent != NULL)
		s = s->parent;
	name = show(s->name != NULL ? s->name : "");
	snprintf(out.s, sizeof(out.s), "%.50s%.100s", c->prefix, name.s);
	return out;
}

struct shown
cursor_found(const config_setting_t *s)
{
	struct shown out = { "nothing" };

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
		snprintf(out.s, sizeof(out.s), "the number %d", config_setting_get_int(s));
		break;
	case CONFIG_TYPE_INT64:
		snprintf(out.s, sizeof(out.s), "the number %lld", config_setting_get_int64(s));
		break;
	case CONFIG_TYPE_FLOAT:
		snprintf(out.s, sizeof(out.s), "the number %.9g", config_setting_get_float(s));
		if (strpbrk(out.s + strlen("the number "), ".en") == NULL)
			strcat(out.s, ".0");
		break;
	case CONFIG_TYPE_STRING:
		snprintf(out.s, sizeof(out.s), "the text \"%.120s\"", show(config_setting_get_string(s)).s);
		break;
	case CONFIG_TYPE_BOOL:
		snprintf(out.s, sizeof(out.s), "%s", config_setting_get_bool(s) ? "true" : "false");
		break;
	case CONFIG_TYPE_ARRAY:
		snprintf(out.s, sizeof(out.s), "a list [ ]");
		break;
	case CONFIG_TYPE_LIST:
		snprintf(out.s, sizeof(out.s), "a list ( )");
		break;
	case CONFIG_TYPE_GROUP:
		snprintf(out.s, sizeof(out.s), "a group { }");
		break;
	}
	return out;
}

/* The greatest distance at which a word is taken for a mistyped one. */
static size_t
slack(const char *word)
{
	size_t n = strlen(word);

	return n < 3 ? 0 : n < 6 ? 1 : n < 12 ? 2 : 3;
}

struct shown
cursor_guess(const char *word, const char *const *words, size_t n)
{
	size_t best = slack(word) + 1;
	struct shown out = { "" };

	for (size_t i = 0; i < n; i++) {
		size_t d = str_distance(str_from(word), str_from(words[i]), best);

		if (d < best) {
			best = d;
			snprintf(out.s, sizeof(out.s), "; did you mean \"%.100s\"?", show(words[i]).s);
		}
	}
	return out;
}

static const struct key *
key_find(const struct key *keys, const char *name)
{
	for (; keys != NULL && keys->name != NULL; keys++)
		if (strcmp(keys->name, name) == 0)
			return keys;
	return NULL;
}

/* The key belongs in a group below, or is nearly one of these. */
static struct shown
guess_key(const struct key *keys, const char *name)
{
	struct shown out = { "" };
	const char *names[80];
	size_t n = 0;

	for (const struct key *k = keys; k->name != NULL && n < ARRAY_LEN(names); k++)
		names[n++] = k->name;
	out = cursor_guess(name, names, n);
	for (const struct key *k = keys; out.s[0] == '\0' && k->name != NULL; k++)
		if (k->keys != NULL && key_find(k->keys, name) != NULL)
			snprintf(out.s, sizeof(out.s), "; it belongs in %s: { }", k->name);
	return out;
}

void
cursor_read(const struct cursor *c, const config_setting_t *group, const struct key *keys)
{
	for (unsigned i = 0; i < (unsigned)config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, i);
		const struct key *k = key_find(keys, s->name);

		if (k != NULL)
			k->read(c, k, s);
		else
			cursor_error(c, s, "unknown key \"%s\"%s", cursor_key(c, s).s,
				     guess_key(keys, s->name).s);
	}
}

size_t
cursor_items(const config_setting_t *s)
{
	int type = config_setting_type(s);

	return type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST ? (size_t)config_setting_length(s) : 1;
}

const config_setting_t *
cursor_item(const config_setting_t *s, size_t i)
{
	int type = config_setting_type(s);

	return type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST ?
		       config_setting_get_elem(s, (unsigned)i) :
		       s;
}

bool
cursor_texts(const struct cursor *c, const config_setting_t *s, const char *what)
{
	for (size_t i = 0; i < cursor_items(s); i++) {
		const config_setting_t *item = cursor_item(s, i);

		if (config_setting_type(item) != CONFIG_TYPE_STRING) {
			cursor_key_error(c, item, "expected %s in double quotes, or a list of them, found %s",
					 what, cursor_found(item).s);
			return false;
		}
	}
	return true;
}

/* -- files that are named ------------------------------------------------------------- */

static const struct config_file *
find_file(const struct config_file *files, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(files[i].path, path) == 0)
			return &files[i];
	return NULL;
}

static char *
same_bytes(const char *bytes, size_t n)
{
	char *copy = must_alloc(n + 1);

	memcpy(copy, bytes, n);
	copy[n] = '\0';
	return copy;
}

char *
cursor_file(const struct cursor *c, const char *path, size_t max, size_t *n, struct why *why)
{
	struct reader *r = c->r;
	const struct config_file *known = find_file(r->named, r->n_named, path);
	char *bytes;
	ssize_t got;

	if (known == NULL && r->copy != NULL)
		known = find_file(r->copy->files, r->copy->n_files, path);
	if (known != NULL) {
		bytes = same_bytes(known->bytes, *n = known->n);
	} else {
		bytes = must_alloc(max + 2);
		got = plain_file_read(path, bytes, max + 1, NULL, why);
		*n = got > 0 ? (size_t)got : 0;
		if (got < 0) {
			free(bytes);
			return NULL;
		}
		bytes[*n] = '\0';
	}
	if (*n > max || find_file(r->named, r->n_named, path) != NULL)
		return bytes;
	r->named = must_grow(r->named, r->n_named + 1, sizeof(*r->named));
	r->named[r->n_named++] = (struct config_file){ must_strdup(path), same_bytes(bytes, *n), *n };
	return bytes;
}
