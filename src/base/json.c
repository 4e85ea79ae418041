/* json.c - the JSON writer.  Any thread, one at a time per writer. */
#include <math.h>
#include <string.h>

#include "base/decimal.h"
#include "base/json.h"
#include "base/utf8.h"

void
json_init(struct json *j, struct buf *out)
{
	j->out = out;
	j->comma = false;
}

/* Bytes that may stand in a string as they are. */
static bool
is_plain_byte(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* In each byte of a word: its high bit, if that byte is below n (n <= 0x80). */
#define ONES 0x0101010101010101ULL
#define HIGHS 0x8080808080808080ULL
#define BELOW(w, n) ((((w) - (ONES * (n))) & ~(w)) & HIGHS)

/* BELOW() is exact about whether there is one, which is all we ask. */
static inline bool
are_plain(uint64_t w)
{
	return (BELOW(w, 0x20) | BELOW(w ^ ONES * '"', 1) | BELOW(w ^ ONES * '\\', 1) | BELOW(w ^ ONES * 0x7f, 1) |
		(w & HIGHS)) == 0;
}

/* The index of the first byte from i on that is not plain, or n; eight at a time. */
static size_t
skip_plain(const unsigned char *p, size_t i, size_t n)
{
	for (; n - i >= 8; i += 8) {
		uint64_t w;

		memcpy(&w, p + i, 8);
		if (!are_plain(w))
			break;
	}
	while (i < n && is_plain_byte(p[i]))
		i++;
	return i;
}

/* Writes what stands for the bytes at s, which are not plain; returns how many
 * of them that was. */
static size_t
put_odd(struct json *j, struct str s)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char c = (unsigned char)s.p[0];
	char code[] = "\\u0000";
	uint32_t point;
	size_t len;

	if (c >= 0x80) {
		if ((len = utf8_next(s.p, s.n, &point)) > 0)
			buf_append(j->out, s.p, len);
		else
			buf_append(j->out, "\xef\xbf\xbd", 3);
		return len > 0 ? len : 1;
	}
	len = 2;
	if (c == '"' || c == '\\') {
		code[1] = (char)c;
	} else if (c == '\n') {
		code[1] = 'n';
	} else if (c == '\t') {
		code[1] = 't';
	} else {
		code[4] = hex[c >> 4];
		code[5] = hex[c & 15];
		len = 6;
	}
	buf_append(j->out, code, len);
	return 1;
}

/* A string's bytes and its closing quote. */
static void
escaped(struct json *j, struct str s)
{
	size_t i = 0, end;

	while (i < s.n) {
		end = skip_plain((const unsigned char *)s.p, i, s.n);
		buf_append(j->out, s.p + i, end - i);
		for (i = end; i < s.n && !is_plain_byte((unsigned char)s.p[i]);)
			i += put_odd(j, (struct str){ s.p + i, s.n - i });
	}
	buf_append(j->out, "\"", 1);
}

/* Copies the n bytes; false when one of them is not plain, and then what was copied is of no use.  Lines are made of short
 * strings: a word at a time, the last of which overlaps, costs less than looking first and memcpy(3) then. */
static inline bool
copy_plain(char *to, const char *from, size_t n)
{
	uint32_t low, high;
	uint64_t w;

	if (n >= 8) {
		for (size_t i = 0; n - i > 8; i += 8) {
			memcpy(&w, from + i, 8);
			memcpy(to + i, &w, 8);
			if (!are_plain(w))
				return false;
		}
		memcpy(&w, from + n - 8, 8);
		memcpy(to + n - 8, &w, 8);
		return are_plain(w);
	}
	if (n >= 4) {
		memcpy(&low, from, 4);
		memcpy(&high, from + n - 4, 4);
		memcpy(to, &low, 4);
		memcpy(to + n - 4, &high, 4);
		return are_plain((uint64_t)high << 32 | low);
	}
	for (size_t i = 0; i < n; i++) {
		to[i] = from[i];
		if (!is_plain_byte((unsigned char)from[i]))
			return false;
	}
	return true;
}

/* Comma and key; there is room for them. */
static inline char *
put_key(const struct json *j, char *p, const char *key, size_t key_len)
{
	if (j->comma)
		*p++ = ',';
	if (key != NULL) {
		*p++ = '"';
		memcpy(p, key, key_len);
		p += key_len;
		*p++ = '"';
		*p++ = ':';
	}
	return p;
}

/* All up to end is written. */
static inline void
end_member(struct json *j, const char *end)
{
	j->out->end = (size_t)(end - j->out->data);
	j->comma = true;
}

/* Writes comma and key where the buf has room for n bytes behind them as it is; NULL: member() has to see to that. */
static inline char *
begin_member(struct json *j, const char *key, size_t n)
{
	const struct buf *b = j->out;
	size_t key_len = key != NULL ? strlen(key) : 0, need = key_len + 4 + n;

	if (b->data == NULL || b->cap - b->end < need || b->max - (b->end - b->start) < need)
		return NULL;
	return put_key(j, b->data + b->end, key, key_len);
}

/* Comma, key and the value's text: one step into the buf for a whole member,
 * as each step costs more than the bytes it moves. */
static void
put_whole(struct json *j, const char *key, const char *text, size_t n, bool quoted)
{
	size_t key_len = key != NULL ? strlen(key) : 0;
	char *p = buf_reserve(j->out, j->comma + (key != NULL ? key_len + 3 : 0) + n + (quoted ? 2 : 0));

	if (p == NULL)
		return;
	p = put_key(j, p, key, key_len);
	if (quoted)
		*p++ = '"';
	if (n > 0)
		memcpy(p, text, n);
	p += n;
	if (quoted)
		*p++ = '"';
	end_member(j, p);
}

static void
member(struct json *j, const char *key, const char *text, size_t n)
{
	put_whole(j, key, text, n, false);
}

void
json_object(struct json *j, const char *key)
{
	member(j, key, "{", 1);
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
	member(j, key, "[", 1);
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
	char *p = begin_member(j, key, value.n + 2);

	/* Most are plain from end to end. */
	if (p != NULL && copy_plain(p + 1, value.p, value.n)) {
		p[0] = p[value.n + 1] = '"';
		end_member(j, p + value.n + 2);
		return;
	}
	if (skip_plain((const unsigned char *)value.p, 0, value.n) == value.n) {
		put_whole(j, key, value.p, value.n, true);
		return;
	}
	member(j, key, "\"", 1);
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
	char *p = begin_member(j, key, DECIMAL_TEXT), text[DECIMAL_TEXT];

	if (p != NULL)
		end_member(j, p + decimal_u64(p, value));
	else
		member(j, key, text, decimal_u64(text, value));
}

void
json_i64(struct json *j, const char *key, int64_t value)
{
	char text[DECIMAL_TEXT];

	member(j, key, text, decimal_i64(text, value));
}

void
json_bool(struct json *j, const char *key, bool value)
{
	if (value)
		member(j, key, "true", 4);
	else
		member(j, key, "false", 5);
}

void
json_null(struct json *j, const char *key)
{
	member(j, key, "null", 4);
}

void
json_double(struct json *j, const char *key, double value)
{
	char *p, text[DECIMAL_TEXT];

	if (!isfinite(value))
		json_null(j, key);
	else if ((p = begin_member(j, key, DECIMAL_TEXT)) != NULL)
		end_member(j, p + decimal_9(p, value));
	else
		member(j, key, text, decimal_9(text, value));
}

void
json_raw(struct json *j, const char *key, struct str value)
{
	member(j, key, value.p, value.n);
}

void
json_line_end(struct json *j)
{
	buf_append(j->out, "\n", 1);
	j->comma = false;
}
