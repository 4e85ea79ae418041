/* json.c - the JSON writer.  Any thread, one at a time per writer. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

void
json_init(struct json *j, struct buf *out)
{
	j->out = out;
	j->comma = false;
}

static void
put(struct json *j, const char *s)
{
	buf_append(j->out, s, strlen(s));
}

/* Length of the valid UTF-8 sequence at p (RFC 3629 section 4), 0 if none. */
static size_t
utf8_len(const unsigned char *p, size_t n)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (n < len)
		return 0;
	if (p[0] == 0xe0)
		lo = 0xa0;
	if (p[0] == 0xed)
		hi = 0x9f;
	if (p[0] == 0xf0)
		lo = 0x90;
	if (p[0] == 0xf4)
		hi = 0x8f;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void
escaped(struct json *j, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	char code[8];

	buf_append(j->out, "\"", 1);
	for (size_t i = 0, from = 0; i < s.n || from < i;) {
		size_t len;

		while (i < s.n && is_plain(p[i]))
			i++;
		if (i > from)
			buf_append(j->out, p + from, i - from);
		from = i;
		if (i == s.n)
			break;
		if (p[i] >= 0x80 && (len = utf8_len(p + i, s.n - i)) > 0) {
			buf_append(j->out, p + i, len);
			i += len;
		} else if (p[i] >= 0x80) {
			put(j, "\xef\xbf\xbd");
			i++;
		} else if (p[i] == '"' || p[i] == '\\') {
			code[0] = '\\';
			code[1] = (char)p[i++];
			buf_append(j->out, code, 2);
		} else if (p[i] == '\n') {
			put(j, "\\n");
			i++;
		} else if (p[i] == '\t') {
			put(j, "\\t");
			i++;
		} else {
			snprintf(code, sizeof(code), "\\u%04x", p[i++]);
			put(j, code);
		}
		from = i;
	}
	buf_append(j->out, "\"", 1);
}

static void
lead(struct json *j, const char *key)
{
	if (j->comma)
		buf_append(j->out, ",", 1);
	if (key != NULL) {
		buf_append(j->out, "\"", 1);
		put(j, key);
		buf_append(j->out, "\":", 2);
	}
	j->comma = true;
}

void
json_object(struct json *j, const char *key)
{
	lead(j, key);
	buf_append(j->out, "{", 1);
	j->comma = false;
}

void
json_object_end(struct json *j)
{
	buf_append(j->out, "}", 1);
	j->comma = true;
}

void
json_array(struct json *j, const char *key)
{
	lead(j, key);
	buf_append(j->out, "[", 1);
	j->comma = false;
}

void
json_array_end(struct json *j)
{
	buf_append(j->out, "]", 1);
	j->comma = true;
}

void
json_str(struct json *j, const char *key, struct str value)
{
	lead(j, key);
	escaped(j, value);
}

void
json_cstr(struct json *j, const char *key, const char *value)
{
	if (value == NULL)
		json_null(j, key);
	else
		json_str(j, key, str_from(value));
}

void
json_u64(struct json *j, const char *key, uint64_t value)
{
	char text[24];

	lead(j, key);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	put(j, text);
}

void
json_i64(struct json *j, const char *key, int64_t value)
{
	char text[24];

	lead(j, key);
	snprintf(text, sizeof(text), "%" PRId64, value);
	put(j, text);
}

void
json_bool(struct json *j, const char *key, bool value)
{
	lead(j, key);
	put(j, value ? "true" : "false");
}

void
json_null(struct json *j, const char *key)
{
	lead(j, key);
	put(j, "null");
}

void
json_double(struct json *j, const char *key, double value)
{
	char text[32];

	if (!isfinite(value)) {
		json_null(j, key);
		return;
	}
	lead(j, key);
	snprintf(text, sizeof(text), "%.9g", value);
	put(j, text);
}

void
json_raw(struct json *j, const char *key, struct str value)
{
	lead(j, key);
	buf_append(j->out, value.p, value.n);
}

void
json_line_end(struct json *j)
{
	buf_append(j->out, "\n", 1);
	j->comma = false;
}
