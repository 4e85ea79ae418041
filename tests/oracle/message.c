/* message.c - what is made and read: numbers, bodies, heads, framing. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "oracle.h"

#define KEPT (1u << 20)

const char *const method_names[METHODS] = { "GET", "HEAD", "POST", "PUT", "DELETE" };

static struct request requests[KEPT];
static struct answer answers[KEPT];
static uint64_t n_requests, n_answers;

uint64_t
draw(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

struct request *
request_new(void)
{
	struct request *r = &requests[++n_requests % KEPT];

	*r = (struct request){ .id = n_requests };
	return r;
}

struct request *
request_find(uint64_t id)
{
	struct request *r = &requests[id % KEPT];

	return id != 0 && r->id == id ? r : NULL;
}

struct answer *
answer_new(void)
{
	struct answer *a = &answers[++n_answers % KEPT];

	*a = (struct answer){ .id = n_answers };
	return a;
}

struct answer *
answer_find(uint64_t id)
{
	struct answer *a = &answers[id % KEPT];

	return id != 0 && a->id == id ? a : NULL;
}

/* ---- bodies ---- */

#define RECORD 32
static const char smuggled[] = "GET /smuggled HTTP/1.1\r\nHost: s\r\n\r\n";

/* "Q", the number, ":", the record's place, an empty line: whatever piece of it
 * turns up elsewhere says whose it is. */
static void
record(char to[RECORD], char kind, uint64_t id, uint64_t place)
{
	static const char hex[] = "0123456789abcdef";

	to[0] = kind;
	for (int i = 0; i < 16; i++)
		to[1 + i] = hex[id >> (60 - 4 * i) & 15];
	to[17] = ':';
	for (int i = 0; i < 10; i++)
		to[18 + i] = hex[place >> (36 - 4 * i) & 15];
	memcpy(to + 28, "\r\n\r\n", 4);
}

void
body_fill(uint8_t *to, size_t n, char kind, bool hostile, uint64_t id, uint64_t from)
{
	char one[RECORD];

	for (size_t i = 0; i < n;) {
		uint64_t at = from + i;

		if (hostile) {
			to[i++] = (uint8_t)smuggled[at % (sizeof smuggled - 1)];
			continue;
		}
		record(one, kind, id, at / RECORD);
		for (size_t k = at % RECORD; k < RECORD && i < n; k++)
			to[i++] = (uint8_t)one[k];
	}
}

bool
body_is(const uint8_t *bytes, size_t n, char kind, bool hostile, uint64_t id, uint64_t from)
{
	uint8_t right[4096];

	while (n > 0) {
		size_t k = n < sizeof right ? n : sizeof right;

		body_fill(right, k, kind, hostile, id, from);
		if (memcmp(bytes, right, k) != 0)
			return false;
		bytes += k;
		from += k;
		n -= k;
	}
	return true;
}

/* ---- bytes to send ---- */

void
out_clear(struct out *o)
{
	o->n = o->sent = 0;
	if (o->size > 262144)
		out_free(o);
}

void
out_free(struct out *o)
{
	free(o->bytes);
	*o = (struct out){ 0 };
}

static uint8_t *
out_room(struct out *o, size_t n)
{
	if (o->n + n > o->size) {
		o->size = 2 * (o->n + n);
		o->bytes = realloc(o->bytes, o->size);
		if (o->bytes == NULL)
			abort();
	}
	o->n += n;
	return o->bytes + o->n - n;
}

void
out_add(struct out *o, const void *bytes, size_t n)
{
	memcpy(out_room(o, n), bytes, n);
}

void
out_print(struct out *o, const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof text)
		abort();
	out_add(o, text, (size_t)n);
}

void
out_body(struct out *o, enum framing framing, size_t n, char kind, bool hostile, bool blanks, uint64_t id,
	 uint64_t *rng)
{
	size_t from = 0;

	if (framing != CHUNKED) {
		body_fill(out_room(o, n), n, kind, hostile, id, 0);
		return;
	}
	while (from < n) {
		size_t k = 1 + draw_below(rng, draw_permille(rng, 300) ? 8 : 30000);

		k = k < n - from ? k : n - from;
		out_print(o, blanks ? "%zX  \r\n" : draw_permille(rng, 30) ? "%zx;name=value\r\n" : "%zX\r\n", k);
		body_fill(out_room(o, k), k, kind, hostile, id, from);
		out_add(o, "\r\n", 2);
		from += k;
	}
	out_print(o, draw_permille(rng, 50) ? "0\r\nX-Checked: 1\r\n\r\n" : "0\r\n\r\n");
}

/* ---- bytes that come ---- */

void
reader_reset(struct reader *r, const struct reader_ops *ops)
{
	r->ops = ops;
	r->state = IN_HEAD;
	r->n = 0;
	r->left = r->offset = 0;
}

static void
break_off(struct reader *r, const char *what)
{
	r->state = IN_NOTHING;
	r->ops->broken(r, what);
}

static void
end_message(struct reader *r)
{
	r->state = IN_HEAD;
	r->n = 0;
	if (!r->ops->end(r))
		r->state = IN_NOTHING;
}

static void
begin_body(struct reader *r)
{
	enum framing framing = NO_BODY;

	r->offset = r->left = 0;
	if (!r->ops->head(r, &framing)) {
		r->state = IN_NOTHING;
		return;
	}
	r->n = 0;
	switch (framing) {
	case NO_BODY:
		end_message(r);
		return;
	case LENGTH:
		r->state = IN_LENGTH;
		if (r->left == 0)
			end_message(r);
		return;
	case CHUNKED:
		r->state = IN_CHUNK_SIZE;
		return;
	case UNTIL_CLOSE:
		r->state = IN_REST;
		return;
	}
}

/* Takes bytes into head[] up to the end of a line; true once it is there. */
static bool
take_line(struct reader *r, uint8_t byte)
{
	if (r->n >= HEAD_MAX) {
		break_off(r, "a line without an end");
		return false;
	}
	r->head[r->n++] = (char)byte;
	r->head[r->n] = 0;
	return byte == '\n';
}

static void
take_framing(struct reader *r, uint8_t byte)
{
	char *end;

	if (!take_line(r, byte))
		return;
	if (r->n < 2 || r->head[r->n - 2] != '\r') {
		break_off(r, "a line that ends in a bare LF");
		return;
	}
	switch (r->state) {
	case IN_CHUNK_SIZE:
		r->left = strtoull(r->head, &end, 16);
		if (!isxdigit((unsigned char)r->head[0]) || (*end != '\r' && *end != ';'))
			break_off(r, "no chunk size");
		else
			r->state = r->left == 0 ? IN_TRAILER : IN_CHUNK;
		break;
	case IN_CHUNK_END:
		if (r->n != 2)
			break_off(r, "bytes behind a chunk");
		else
			r->state = IN_CHUNK_SIZE;
		break;
	case IN_TRAILER:
		if (r->n == 2) {
			end_message(r);
			return;
		}
		break;
	default:
		abort();
	}
	r->n = 0;
}

static size_t
take_body(struct reader *r, const uint8_t *bytes, size_t n)
{
	size_t k = r->state != IN_REST && r->left < n ? (size_t)r->left : n;

	r->ops->body(r, bytes, k);
	r->offset += k;
	if (r->state == IN_REST)
		return k;
	r->left -= k;
	if (r->left == 0 && r->state == IN_CHUNK)
		r->state = IN_CHUNK_END;
	else if (r->left == 0 && r->state == IN_LENGTH)
		end_message(r);
	return k;
}

void
reader_feed(struct reader *r, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n;) {
		switch (r->state) {
		case IN_HEAD:
			if (take_line(r, bytes[i++]) && r->n >= 4 &&
			    memcmp(r->head + r->n - 4, "\r\n\r\n", 4) == 0)
				begin_body(r);
			break;
		case IN_CHUNK_SIZE:
		case IN_CHUNK_END:
		case IN_TRAILER:
			take_framing(r, bytes[i++]);
			break;
		case IN_LENGTH:
		case IN_CHUNK:
		case IN_REST:
			i += take_body(r, bytes + i, n - i);
			break;
		case IN_NOTHING:
			return;
		}
	}
}

bool
head_value(const char *head, const char *name, char *value, size_t size)
{
	size_t n = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, n) != 0 || line[n] != ':')
			continue;
		line += n + 1;
		line += strspn(line, " \t");
		snprintf(value, size, "%.*s", (int)strcspn(line, "\r"), line);
		return true;
	}
	return false;
}
