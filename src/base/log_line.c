/* log_line.c - one log line, from fields to JSON.  Any thread. */
#include "base/clock.h"
#include "base/json.h"
#include "base/log_ring.h"

/* The text of the last second seen: a time zone's worth of arithmetic saved
 * on all lines but one a second. */
static _Thread_local int64_t second_seen = -1;
static _Thread_local char time_member[] = "\"time\":\"2026-11-22T14:02:11.000000Z\"";

static void
put_time(struct buf *b, int64_t us)
{
	int64_t second = us / 1000000;
	unsigned fraction = (unsigned)(us % 1000000);
	char text[CLOCK_TEXT], *digits = time_member + strlen("\"time\":\"2026-11-22T14:02:11.");

	if (second != second_seen) {
		clock_format(second * 1000000, 6, text);
		memcpy(time_member + strlen("\"time\":\""), text, strlen("2026-11-22T14:02:11"));
		second_seen = second;
	}
	for (int i = 5; i >= 0; i--, fraction /= 10)
		digits[i] = (char)('0' + fraction % 10);
	buf_append(b, time_member, sizeof(time_member) - 1);
}

/* The first bytes of a string, at most max, without half a character. */
static struct str
cut_string(struct str s, size_t max)
{
	size_t n = max;

	if (s.n <= max)
		return s;
	while (n > 0 && max - n < 3 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n--;
	if (((unsigned char)s.p[n] & 0xc0) == 0x80)
		n = max;	/* not UTF-8 anyway */
	return (struct str){ s.p, n };
}

static void
put_log_field(struct json *j, const struct log_field *f, size_t string_max)
{
	switch (f->type) {
	case LOG_STR:
		json_str(j, f->key, cut_string(f->v.s, string_max));
		return;
	case LOG_U64:
		json_u64(j, f->key, f->v.u);
		return;
	case LOG_I64:
		json_i64(j, f->key, f->v.i);
		return;
	case LOG_DOUBLE:
		json_double(j, f->key, f->v.d);
		return;
	case LOG_BOOL:
		json_bool(j, f->key, f->v.b);
		return;
	case LOG_RAW:
		if (f->v.s.n > 0)
			json_raw(j, f->key, f->v.s);
		return;
	case LOG_END:
		return;
	}
}

/* Builds a line in b; false when it does not fit with strings cut like that. */
static bool
put_log_line(struct buf *b, int64_t us, enum log_level level, const char *event,
	     const struct log_field *fields, size_t string_max)
{
	struct json j;
	char *lf;

	buf_clear(b);
	json_init(&j, b);
	json_object(&j, NULL);
	put_time(b, us);
	j.comma = true;
	json_cstr(&j, "level", log_level_word(level));
	json_cstr(&j, "event", event);
	for (; fields->type != LOG_END; fields++)
		put_log_field(&j, fields, string_max);
	json_object_end(&j);
	if (b->failed)
		return false;
	/* Only raw JSON can hold one, as white space; it would tear the line. */
	while ((lf = memchr(b->data, '\n', buf_len(b))) != NULL)
		*lf = ' ';
	json_line_end(&j);
	return !b->failed;
}

/* Builds a line in text[LOG_LINE_MAX]; its length, 0 if it is too long.
 * Escapes make strings up to six times longer, and a client must not be able to
 * keep a line out of the log by what it sends: such strings are cut shorter. */
size_t
log_line(char *text, enum log_level level, const char *event, const struct log_field *fields)
{
	static const size_t string_max[] = { LOG_STRING_MAX, 256, 32 };
	struct buf b = { .data = text, .cap = LOG_LINE_MAX, .max = LOG_LINE_MAX };
	int64_t us = clock_wall_us();

	for (size_t i = 0; i < ARRAY_LEN(string_max); i++)
		if (put_log_line(&b, us, level, event, fields, string_max[i]))
			return buf_len(&b);
	return 0;
}
