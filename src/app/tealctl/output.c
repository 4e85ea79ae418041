/* output.c - lines, tables and their colors on stdout.  One thread. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/tealctl/output.h"
#include "base/utf8.h"

/* A cell or line that passes this is cut; nothing teald says is near it. */
#define TEXT_LIMIT (1u << 20)

void
output_init(struct output *o, bool no_color)
{
	const char *term = getenv("TERM"), *env = getenv("NO_COLOR");
	bool smart = term != NULL && *term != '\0' && strcmp(term, "dumb") != 0;

	o->terminal = isatty(STDOUT_FILENO) == 1;
	o->rewrites = o->terminal && smart;
	o->colors = o->rewrites && !no_color && (env == NULL || *env == '\0');
	o->pending = false;
}

void
text_safe(struct buf *out, struct str text)
{
	uint32_t point;
	size_t len;

	for (size_t i = 0; i < text.n; i += len) {
		len = utf8_next(text.p + i, text.n - i, &point);
		if (len == 0) {
			len = 1;
			buf_printf(out, "\\x%02x", (unsigned char)text.p[i]);
		} else if (point == '\n') {
			buf_append(out, "\\n", 2);
		} else if (point == '\t') {
			buf_append(out, "\\t", 2);
		} else if (point < 0x80 && utf8_is_control(point)) {
			buf_printf(out, "\\x%02x", (unsigned)point);
		} else if (utf8_is_control(point)) {
			buf_printf(out, "\\u%04x", (unsigned)point);
		} else {
			buf_append(out, text.p + i, len);
		}
	}
}

/* To a millionth and without an exponent, which people and shell scripts cannot read. */
static void
text_real(struct buf *out, double value)
{
	char text[40];
	size_t n;

	if (fabs(value) >= 1e15) {
		buf_printf(out, "%.9g", value);
		return;
	}
	n = (size_t)snprintf(text, sizeof(text), "%.6f", value);
	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	if (n == 2 && memcmp(text, "-0", 2) == 0)
		buf_append(out, "0", 1);
	else
		buf_append(out, text, n);
}

void
text_json(struct buf *out, json_t *value)
{
	char *dump;

	switch (value == NULL ? JSON_NULL : json_typeof(value)) {
	case JSON_NULL:
		buf_append(out, "-", 1);
		return;
	case JSON_TRUE:
		buf_append(out, "yes", 3);
		return;
	case JSON_FALSE:
		buf_append(out, "no", 2);
		return;
	case JSON_INTEGER:
		buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return;
	case JSON_REAL:
		text_real(out, json_real_value(value));
		return;
	case JSON_STRING:
		if (json_string_length(value) == 0)
			buf_append(out, "-", 1);
		text_safe(out, (struct str){ json_string_value(value), json_string_length(value) });
		return;
	case JSON_OBJECT:
	case JSON_ARRAY:
		break;
	}
	dump = json_dumps(value, JSON_COMPACT);
	if (dump != NULL)
		text_safe(out, str_from(dump));
	free(dump);
}

void
text_duration(struct buf *out, double s)
{
	if (s < 0.0995)
		buf_printf(out, "%.1f ms", s * 1000);
	else if (s < 9.95)
		buf_printf(out, "%.1f s", s);
	else if (s < 119.5)
		buf_printf(out, "%.0f s", s);
	else if (s < 7200)
		buf_printf(out, "%ld min %02ld s", (long)s / 60, (long)s % 60);
	else if (s < 172800)
		buf_printf(out, "%ld h %02ld min", (long)s / 3600, (long)s / 60 % 60);
	else
		buf_printf(out, "%.0f days", s / 86400);
}

void
text_bytes(struct buf *out, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t u = 0;

	while (bytes >= 1023.5 && u + 1 < ARRAY_LEN(units)) {
		bytes /= 1024;
		u++;
	}
	buf_printf(out, u > 0 && bytes < 9.95 ? "%.1f %s" : "%.0f %s", bytes, units[u]);
}

void
text_time(struct buf *out, json_t *value)
{
	const char *s = json_string_value(value);

	if (s == NULL || strlen(s) < 20 || s[10] != 'T' || s[strlen(s) - 1] != 'Z' ||
	    strspn(s, "0123456789-T:.Z") != strlen(s))
		text_json(out, value);
	else
		buf_printf(out, "%.10s %.8sZ", s, s + 11);
}

static void
print_line(struct output *o, const char *fmt, va_list ap, bool ended)
{
	if (o->pending)
		fputs("\r\033[K", stdout);
	vprintf(fmt, ap);
	if (ended)
		putchar('\n');
	fflush(stdout);
	o->pending = !ended;
}

void
output_line(struct output *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line(o, fmt, ap, true);
	va_end(ap);
}

void
output_pending(struct output *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line(o, fmt, ap, !o->rewrites);
	va_end(ap);
}

void
output_settle(struct output *o)
{
	if (o->pending)
		putchar('\n');
	fflush(stdout);
	o->pending = false;
}

void
output_complain(struct output *out, const char *fmt, ...)
{
	char text[4096];
	struct buf safe;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	output_settle(out);
	buf_init(&safe, 8 * sizeof(text));
	text_safe(&safe, str_from(text));
	fprintf(stderr, "tealctl: %.*s\n", (int)buf_len(&safe), buf_str(&safe).p);
	buf_free(&safe);
}

void
output_raw(struct str line)
{
	uint32_t point;
	size_t len;

	for (size_t i = 0; i < line.n; i += len) {
		if ((len = utf8_next(line.p + i, line.n - i, &point)) == 0) {
			len = 1;	/* cannot be: jansson has read it */
		} else if (point < 0x20) {
			putchar(' ');
		} else if (utf8_is_control(point)) {
			printf("\\u%04x", (unsigned)point);
		} else {
			fwrite(line.p + i, 1, len, stdout);
		}
	}
	putchar('\n');
	fflush(stdout);
}

const char *
output_on(const struct output *o, enum style style)
{
	if (!o->colors)
		return "";
	switch (style) {
	case STYLE_PLAIN:
		return "";
	case STYLE_HEAD:
		return "\033[1m";
	case STYLE_GREEN:
		return "\033[1;32m";
	case STYLE_BLUE:
		return "\033[1;34m";
	case STYLE_GOOD:
		return "\033[32m";
	case STYLE_BAD:
		return "\033[31m";
	case STYLE_NOTE:
		return "\033[33m";
	}
	return "";
}

const char *
output_off(const struct output *o, enum style style)
{
	return o->colors && style != STYLE_PLAIN ? "\033[0m" : "";
}

enum style
style_of_color(json_t *word)
{
	const char *s = json_string_value(word);

	if (s != NULL && strcmp(s, "green") == 0)
		return STYLE_GREEN;
	if (s != NULL && strcmp(s, "blue") == 0)
		return STYLE_BLUE;
	return STYLE_PLAIN;
}

void
table_init(struct table *t, const char *const *heads)
{
	memset(t, 0, sizeof(*t));
	for (; heads[t->columns] != NULL; t->columns++) {
		CHECK(t->columns < TABLE_COLUMNS);
		t->heads[t->columns] = heads[t->columns];
	}
}

void
table_add(struct table *t, enum style style, struct str text)
{
	struct cell *c;

	if (t->n_cells == t->cap) {
		t->cap = t->cap > 0 ? t->cap * 2 : 64;
		t->cells = must_grow(t->cells, t->cap, sizeof(*t->cells));
	}
	if (text.n == 0)
		text = STR("-");
	c = &t->cells[t->n_cells++];
	c->style = style;
	c->text = must_alloc(text.n + 1);
	memcpy(c->text, text.p, text.n);
}

void
table_json(struct table *t, json_t *value)
{
	struct buf b;

	buf_init(&b, TEXT_LIMIT);
	text_json(&b, value);
	table_add(t, style_of_color(value), buf_str(&b));
	buf_free(&b);
}

void
table_printf(struct table *t, enum style style, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_add(t, style, str_from(text));
}

/* Characters, taken as one cell of the screen each. */
static int
width(const char *s)
{
	struct str left = str_from(s);
	uint32_t point;
	int n = 0;

	for (size_t len; left.n > 0; left.p += len, left.n -= len, n++)
		if ((len = utf8_next(left.p, left.n, &point)) == 0)
			len = 1;
	return n;
}

static void
put_cell(const struct output *o, const char *text, enum style style, int pad)
{
	printf("%s%s%s%*s", output_on(o, style), text, output_off(o, style), pad, "");
}

static void
print_aligned(const struct table *t, const struct output *o)
{
	int wide[TABLE_COLUMNS], w;

	for (size_t c = 0; c < t->columns; c++)
		wide[c] = width(t->heads[c]);
	for (size_t i = 0; i < t->n_cells; i++)
		if ((w = width(t->cells[i].text)) > wide[i % t->columns])
			wide[i % t->columns] = w;
	for (size_t c = 0; c < t->columns; c++)
		put_cell(o, t->heads[c], STYLE_HEAD,
			 c + 1 < t->columns ? wide[c] - width(t->heads[c]) + 2 : 0);
	putchar('\n');
	for (size_t i = 0; i < t->n_cells; i++) {
		bool last = i % t->columns + 1 == t->columns;

		put_cell(o, t->cells[i].text, t->cells[i].style,
			 last ? 0 : wide[i % t->columns] - width(t->cells[i].text) + 2);
		if (last)
			putchar('\n');
	}
}

void
table_print(struct table *t, struct output *o)
{
	CHECK(t->n_cells % t->columns == 0);
	output_settle(o);
	if (o->terminal)
		print_aligned(t, o);
	else
		for (size_t i = 0; i < t->n_cells; i++)
			printf("%s%c", t->cells[i].text, (i + 1) % t->columns == 0 ? '\n' : '\t');
	fflush(stdout);
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i].text);
	free(t->cells);
}
