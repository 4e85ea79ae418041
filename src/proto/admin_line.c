/* admin_line.c - splits a line of the admin socket into words and options.
 * Pure; any thread.  The whole line is checked for characters first, so that
 * the splitter below it sees clean text only. */
#include <stdio.h>

#include "base/utf8.h"
#include "proto/admin_line.h"

struct cursor {
	const char *p, *end;
	const char *start;	/* of the line, for columns in messages */
	char *store;	/* next free byte of the line's storage */
	struct why *why;
};

static size_t
column(const struct cursor *c)
{
	return (size_t)(c->p - c->start) + 1;
}

static enum err
check_text(struct str line, struct why *why)
{
	uint32_t point;
	size_t len;

	if (line.n > ADMIN_LINE_MAX)
		return why_set(why, E_USAGE, "the line is longer than %d bytes", ADMIN_LINE_MAX);
	for (size_t i = 0; i < line.n; i += len) {
		len = utf8_next(line.p + i, line.n - i, &point);
		if (len == 0)
			return why_set(why, E_USAGE, "byte %zu (0x%02x) is not valid UTF-8", i + 1,
				       (unsigned char)line.p[i]);
		if (utf8_is_control(point))
			return why_set(why, E_USAGE, "control character U+%04X at byte %zu is not allowed",
				       (unsigned)point, i + 1);
	}
	return OK;
}

static void
store_end(struct cursor *c, struct str *out, char *from)
{
	*out = (struct str){ from, (size_t)(c->store - from) };
	*c->store++ = '\0';
}

/* At the opening quote; leaves the cursor behind the closing one. */
static enum err
take_quoted(struct cursor *c, struct str *out)
{
	size_t opened = column(c);
	char *from = c->store;

	for (c->p++;; c->p++) {
		if (c->p == c->end)
			return why_set(c->why, E_USAGE, "the quote opened at byte %zu is not closed", opened);
		if (*c->p == '"')
			break;
		if (*c->p == '\\') {
			if (c->end - c->p < 2 || (c->p[1] != '"' && c->p[1] != '\\'))
				return why_set(c->why, E_USAGE,
					       "the backslash at byte %zu must stand before "
					       "a quote or a backslash",
					       column(c));
			c->p++;
		}
		*c->store++ = *c->p;
	}
	c->p++;
	if (c->p < c->end && *c->p != ' ')
		return why_set(c->why, E_USAGE, "a space must follow the closing quote at byte %zu",
			       column(c) - 1);
	store_end(c, out, from);
	return OK;
}

static enum err
take_bare(struct cursor *c, struct str *out)
{
	char *from = c->store;

	for (; c->p < c->end && *c->p != ' '; c->p++) {
		if (*c->p == '"')
			return why_set(c->why, E_USAGE,
				       "the quote at byte %zu is inside a word; "
				       "quote the whole word or value",
				       column(c));
		*c->store++ = *c->p;
	}
	store_end(c, out, from);
	return OK;
}

static enum err
take_value(struct cursor *c, struct str *out)
{
	return c->p < c->end && *c->p == '"' ? take_quoted(c, out) : take_bare(c, out);
}

static bool
is_key_byte(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-';
}

/* Behind the two dashes. */
static enum err
take_line_option(struct cursor *c, struct admin_opt *out)
{
	size_t at = column(c) - 2;
	char *from = c->store;

	for (; c->p < c->end && is_key_byte(*c->p); c->p++)
		*c->store++ = *c->p;
	if (c->store == from || *from == '-' || (c->p < c->end && *c->p != ' ' && *c->p != '='))
		return why_set(c->why, E_USAGE,
			       "the option at byte %zu must read --key or --key=value, "
			       "its key in lower case",
			       at);
	store_end(c, &out->key, from);
	out->has_value = c->p < c->end && *c->p == '=';
	if (!out->has_value) {
		out->value = (struct str){ "", 0 };
		return OK;
	}
	c->p++;
	return take_value(c, &out->value);
}

static bool
at_dashes(const struct cursor *c)
{
	return c->end - c->p >= 2 && c->p[0] == '-' && c->p[1] == '-';
}

static enum err
split(struct cursor *c, struct admin_line *out)
{
	bool options = true;
	enum err e;

	for (;;) {
		while (c->p < c->end && *c->p == ' ')
			c->p++;
		if (c->p == c->end)
			return OK;
		if (options && at_dashes(c)) {
			c->p += 2;
			if (c->p == c->end || *c->p == ' ') {
				options = false;
				continue;
			}
			if (out->n_opts == ADMIN_OPTS_MAX)
				return why_set(c->why, E_USAGE, "more than %d options", ADMIN_OPTS_MAX);
			if ((e = take_line_option(c, &out->opts[out->n_opts])) != OK)
				return e;
			out->n_opts++;
		} else {
			if (out->n_args == ADMIN_ARGS_MAX)
				return why_set(c->why, E_USAGE, "more than %d words", ADMIN_ARGS_MAX);
			if ((e = take_value(c, &out->args[out->n_args])) != OK)
				return e;
			out->n_args++;
		}
	}
}

enum err
admin_line_parse(struct str line, struct admin_line *out, struct why *why)
{
	struct cursor c = { line.p, line.p + line.n, line.p, out->storage, why };
	enum err e;

	out->n_args = out->n_opts = 0;
	if ((e = check_text(line, why)) == OK)
		e = split(&c, out);
	if (e != OK)
		out->n_args = out->n_opts = 0;
	/* A value and its key take no more room than in the line, plus a NUL each. */
	CHECK(c.store <= out->storage + sizeof(out->storage));
	return e;
}

const struct admin_opt *
admin_line_opt(const struct admin_line *line, const char *key)
{
	for (size_t i = 0; i < line->n_opts; i++)
		if (str_eq(line->opts[i].key, key))
			return &line->opts[i];
	return NULL;
}

static bool
put_quoted(struct buf *out, struct str word)
{
	bool fine = buf_append(out, "\"", 1);

	for (size_t i = 0; fine && i < word.n; i++) {
		if (word.p[i] == '"' || word.p[i] == '\\')
			fine = buf_append(out, "\\", 1);
		fine = fine && buf_append(out, word.p + i, 1);
	}
	return fine && buf_append(out, "\"", 1);
}

static bool
needs_quotes(struct str word)
{
	return word.n == 0 || memchr(word.p, ' ', word.n) != NULL || memchr(word.p, '"', word.n) != NULL;
}

bool
admin_line_quote(struct buf *out, struct str word)
{
	if (needs_quotes(word) || (word.n >= 2 && word.p[0] == '-' && word.p[1] == '-'))
		return put_quoted(out, word);
	return buf_append(out, word.p, word.n);
}

bool
admin_line_quote_value(struct buf *out, struct str value)
{
	return needs_quotes(value) ? put_quoted(out, value) : buf_append(out, value.p, value.n);
}
