/* config_syntax.c - the grammar of a configuration file, with messages that
 * say what is wrong.  Pure; start-up thread.
 * libconfig reads the same text afterwards.  It knows only "syntax error",
 * lets 5000000000 wrap around to 705032704, and joins two texts of a list
 * when the comma between them is forgotten; none of that gets past here.
 * Whatever passes here libconfig accepts. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config_text.h"

#define DEPTH_MAX 32
#define KEYS_MAX 4096	/* in one group: libconfig compares each with each */

enum token { T_END, T_NAME, T_BOOL, T_INT, T_INT64, T_FLOAT, T_TEXT, T_MARK, T_BAD };

struct name {
	struct str text;
	size_t at;
};

struct parser {
	const struct config_text *text;
	struct complaint_list *errors;
	const char *p;	/* behind the token */
	size_t at;	/* the line there */
	enum token token;
	struct str is;	/* the token's bytes */
	size_t line;	/* where it begins */
	/* Keys of the groups that are open, innermost last. */
	struct name *names;
	size_t n_names, cap_names;
};

static enum err syntax_error(struct parser *ps, size_t at, const char *fmt, ...) PRINTF_LIKE(3, 4);

static enum err
syntax_error(struct parser *ps, size_t at, const char *fmt, ...)
{
	struct config_line l = config_text_line(ps->text, at);
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	complaint_add(ps->errors, at, must_printf("%s:%u: %s", l.file, l.line, text));
	return E_USAGE;
}

static bool
is_literal_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void
skip_blanks(struct parser *ps)
{
	for (;; ps->p++) {
		if (*ps->p == '\n') {
			ps->at++;
		} else if (*ps->p == '#' || (ps->p[0] == '/' && ps->p[1] == '/')) {
			ps->p += strcspn(ps->p, "\n") - 1;
		} else if (ps->p[0] == '/' && ps->p[1] == '*') {
			for (ps->p += 2; ps->p[0] != '*' || ps->p[1] != '/'; ps->p++)
				ps->at += *ps->p == '\n';
			ps->p++;
		} else if (*ps->p == '\0' || strchr(" \t\r\f", *ps->p) == NULL) {
			return;
		}
	}
}

static size_t
digits(const char *p)
{
	size_t n = 0;

	while (is_literal_digit(p[n]))
		n++;
	return n;
}

static size_t
exponent(const char *p)
{
	size_t sign, n;

	if (*p != 'e' && *p != 'E')
		return 0;
	sign = p[1] == '+' || p[1] == '-';
	n = digits(p + 1 + sign);
	return n == 0 ? 0 : 1 + sign + n;
}

/* The longest number at p, as libconfig's scanner takes it; 0: none. */
static size_t
read_literal_number(const char *p, enum token *token)
{
	size_t sign = *p == '+' || *p == '-', whole = digits(p + sign), n = sign + whole, e;

	*token = T_INT;
	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		size_t hex = strspn(p + 2, "0123456789abcdefABCDEF");

		if (hex > 0) {
			n = 2 + hex;
			goto suffix;
		}
	}
	if (p[n] == '.') {
		*token = T_FLOAT;
		n += 1 + digits(p + n + 1);
		return n + exponent(p + n);
	}
	if (whole == 0)
		return 0;
	if ((e = exponent(p + n)) > 0) {
		*token = T_FLOAT;
		return n + e;
	}
suffix:
	if (p[n] == 'L') {
		*token = T_INT64;
		n += p[n + 1] == 'L' ? 2 : 1;
	}
	return n;
}

/* Behind the closing quote; the text reader saw to it that there is one. */
static size_t
quoted(const char *p)
{
	size_t n = 1;

	while (p[n] != '"')
		n += p[n] == '\\' && (p[n + 1] == '"' || p[n + 1] == '\\') ? 2 : 1;
	return n + 1;
}

static void
advance(struct parser *ps)
{
	const char *p;
	size_t n;

	skip_blanks(ps);
	p = ps->p;
	ps->line = ps->at;
	if (*p == '\0') {
		ps->token = T_END;
		n = 0;
	} else if (is_letter(*p) || *p == '*') {
		for (n = 1;
		     is_letter(p[n]) || is_literal_digit(p[n]) || p[n] == '-' || p[n] == '_' || p[n] == '*';)
			n++;
		ps->token = str_case_eq((struct str){ p, n }, "true") ||
					    str_case_eq((struct str){ p, n }, "false") ?
				    T_BOOL :
				    T_NAME;
	} else if (*p == '"') {
		n = quoted(p);
		ps->token = T_TEXT;
		for (size_t i = 0; i < n; i++)
			ps->at += p[i] == '\n';
	} else if ((n = read_literal_number(p, &ps->token)) == 0) {
		n = 1;
		ps->token = strchr("{}[]()=:;,", *p) != NULL ? T_MARK : T_BAD;
	}
	ps->is = (struct str){ p, n };
	ps->p = p + n;
}

static bool
mark(const struct parser *ps, char c)
{
	return ps->token == T_MARK && *ps->is.p == c;
}

/* "found ..." */
static struct shown
found(const struct parser *ps)
{
	struct shown out, inner;

	if (ps->token == T_END)
		return (struct shown){ "the end of the file" };
	if (ps->token != T_TEXT)
		return show_bytes(ps->is.p, ps->is.n);
	inner = show_bytes(ps->is.p + 1, ps->is.n - 2);
	snprintf(out.s, sizeof(out.s), "\"%.150s\"", inner.s);
	return out;
}

/* Numbers that libconfig would let wrap around, and texts it would cut. */
static enum err
check_scalar(struct parser *ps, struct str key)
{
	struct str is = ps->is;
	unsigned long long v, limit = ps->token == T_INT ? INT_MAX : LLONG_MAX;
	bool negative = *is.p == '-';

	if (ps->token == T_TEXT) {
		for (size_t i = 1; i + 4 < is.n; i++) {
			if (is.p[i] != '\\')
				continue;
			if ((is.p[i + 1] | 0x20) == 'x' && is.p[i + 2] == '0' && is.p[i + 3] == '0')
				return syntax_error(ps, ps->line, "%s: \\x00 cannot be part of a text",
						    show_bytes(key.p, key.n).s);
			i++;
		}
		return OK;
	}
	if (ps->token != T_INT && ps->token != T_INT64)
		return OK;
	v = 0;
	if (is.n > 2 && (is.p[1] | 0x20) == 'x') {
		for (size_t i = 2; i < is.n && is.p[i] != 'L' && v <= limit; i++)
			v = v * 16 + (unsigned)(is_literal_digit(is.p[i]) ? is.p[i] - '0' :
									    (is.p[i] | 0x20) - 'a' + 10);
	} else {
		for (size_t i = negative || *is.p == '+'; i < is.n && is.p[i] != 'L' && v <= limit; i++) {
			unsigned d = (unsigned)(is.p[i] - '0');

			v = v > (ULLONG_MAX - d) / 10 ? ULLONG_MAX : v * 10 + d;
		}
	}
	if (v <= limit)
		return OK;
	return syntax_error(
		ps, ps->line,
		"%s: %s is too large for a plain number; write it in decimal and in double quotes",
		show_bytes(key.p, key.n).s, show_bytes(is.p, is.n).s);
}

static enum err parse_group(struct parser *ps, char end, size_t opened, unsigned depth);
static enum err parse_value(struct parser *ps, struct str key, unsigned depth);

/* Behind '[' or '('. */
static enum err
parse_list(struct parser *ps, struct str key, char end, size_t opened, unsigned depth)
{
	struct shown name = show_bytes(key.p, key.n);
	enum token first = T_END;
	enum err e;

	if (mark(ps, end)) {
		advance(ps);
		return OK;
	}
	for (;;) {
		if (end == ']' && (mark(ps, '{') || mark(ps, '(') || mark(ps, '[')))
			return syntax_error(ps, ps->line,
					    "%s: groups and lists need ( ) around them, not [ ]", name.s);
		if (first == T_END)
			first = ps->token;
		if (end == ']' && ps->token != first && ps->token >= T_BOOL && ps->token <= T_TEXT)
			return syntax_error(ps, ps->line, "%s: all values within [ ] must be of one type",
					    name.s);
		if ((e = parse_value(ps, key, depth)) != OK)
			return e;
		if (mark(ps, end)) {
			advance(ps);
			return OK;
		}
		if (ps->token == T_END)
			return syntax_error(ps, opened, "%s: the %c that opens here is never closed", name.s,
					    end == ']' ? '[' : '(');
		if (!mark(ps, ',')) {
			if (ps->token == T_MARK && !mark(ps, '{') && !mark(ps, '(') && !mark(ps, '['))
				return syntax_error(ps, ps->line, "%s: expected , or %c here, found %s",
						    name.s, end, found(ps).s);
			return syntax_error(ps, ps->line, "%s: a comma is missing before %s", name.s,
					    found(ps).s);
		}
		advance(ps);
		if (mark(ps, end))
			return syntax_error(ps, ps->line, "%s: a comma before %c; remove it", name.s, end);
	}
}

static enum err
parse_value(struct parser *ps, struct str key, unsigned depth)
{
	struct shown name = show_bytes(key.p, key.n);
	size_t opened = ps->line;
	char open = ps->token == T_MARK ? *ps->is.p : '\0';
	enum err e;

	if (depth == DEPTH_MAX)
		return syntax_error(ps, ps->line, "%s: more than %d brackets within each other", name.s,
				    DEPTH_MAX);
	switch (ps->token) {
	case T_BOOL:
	case T_INT:
	case T_INT64:
	case T_FLOAT:
	case T_TEXT:
		if ((e = check_scalar(ps, key)) != OK)
			return e;
		advance(ps);
		return OK;
	case T_NAME:
		return syntax_error(ps, ps->line,
				    "%s: expected a value, found %s; text needs double quotes: \"%s\"",
				    name.s, found(ps).s, found(ps).s);
	case T_MARK:
		if (open != '{' && open != '[' && open != '(')
			break;
		advance(ps);
		return open == '{' ? parse_group(ps, '}', opened, depth + 1) :
				     parse_list(ps, key, open == '[' ? ']' : ')', opened, depth + 1);
	case T_END:
	case T_BAD:
		break;
	}
	return syntax_error(ps, ps->line, "%s: expected a value, found %s", name.s, found(ps).s);
}

static enum err
set_twice(struct parser *ps, size_t first)
{
	struct config_line l = config_text_line(ps->text, first), here = config_text_line(ps->text, ps->line);

	if (strcmp(l.file, here.file) != 0)
		return syntax_error(ps, ps->line, "%s is set a second time; the first is at %s:%u", found(ps).s, l.file, l.line);
	return syntax_error(ps, ps->line, "%s is set a second time; the first is in line %u", found(ps).s, l.line);
}

/* Notes the key; first: where the group's own names begin. */
static enum err
note_key(struct parser *ps, size_t first)
{
	for (size_t i = first; i < ps->n_names; i++)
		if (ps->names[i].text.n == ps->is.n && memcmp(ps->names[i].text.p, ps->is.p, ps->is.n) == 0)
			return set_twice(ps, ps->names[i].at);
	if (ps->n_names - first == KEYS_MAX)
		return syntax_error(ps, ps->line, "more than %d keys in one group", KEYS_MAX);
	if (ps->n_names == ps->cap_names) {
		ps->cap_names = ps->cap_names == 0 ? 64 : 2 * ps->cap_names;
		ps->names = must_grow(ps->names, ps->cap_names, sizeof(*ps->names));
	}
	ps->names[ps->n_names++] = (struct name){ ps->is, ps->line };
	return OK;
}

/* Keys up to `end`, '}' or, for the file as a whole, '\0'. */
static enum err
parse_group(struct parser *ps, char end, size_t opened, unsigned depth)
{
	size_t first = ps->n_names;
	enum err e;

	for (;;) {
		struct str key;
		size_t key_line;

		if (ps->token == T_END && end != '\0')
			return syntax_error(ps, opened, "the { that opens here is never closed");
		if (ps->token == T_END)
			break;
		if (end != '\0' && mark(ps, end)) {
			advance(ps);
			break;
		}
		if (ps->token != T_NAME)
			return syntax_error(ps, ps->line,
					    *ps->is.p == '@' ?
						    "@include must stand at the beginning of a line" :
						    "expected the name of a key, found %s",
					    found(ps).s);
		if ((e = note_key(ps, first)) != OK)
			return e;
		key = ps->is;
		key_line = ps->line;
		advance(ps);
		if (!mark(ps, '=') && !mark(ps, ':'))
			return syntax_error(ps, key_line, "expected = after %s, found %s",
					    show_bytes(key.p, key.n).s, found(ps).s);
		advance(ps);
		if ((e = parse_value(ps, key, depth)) != OK)
			return e;
		/* 10.0.0.1 without quotes is 10.0 .0 .1 to libconfig. */
		if (ps->token == T_INT || ps->token == T_INT64 || ps->token == T_FLOAT ||
		    ps->token == T_BAD || mark(ps, ':'))
			return syntax_error(
				ps, ps->line,
				"%s: %s does not belong behind the value; text such as an address needs double quotes",
				show_bytes(key.p, key.n).s, found(ps).s);
		if (mark(ps, ';') || mark(ps, ','))
			advance(ps);
	}
	ps->n_names = first;
	return OK;
}

enum err
config_syntax_check(const struct config_text *t, struct complaint_list *errors)
{
	struct parser ps = { .text = t, .errors = errors, .p = t->bytes, .at = 1 };
	enum err e;

	advance(&ps);
	e = parse_group(&ps, '\0', 1, 0);
	free(ps.names);
	return e;
}
