/* redis_reader.c - replies out of bytes.  hiredis allocates whatever a length
 * in the protocol says, and scans an unfinished line from its beginning each
 * time: so elements, bytes and lines are counted here.
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis_reader.h"

/* In place of hiredis' own: the same, once the elements are few enough.  They
 * are allocated before the first of them is here. */
static void *
create_array(const redisReadTask *task, int elements)
{
	struct wire *w = task->privdata;
	redisReply *r, *parent;

	if (elements > 0)
		w->reader_elements += (size_t)elements;
	if (w->reader_elements > REDIS_ELEMENTS_MAX) {
		w->reader_refused = true;
		return NULL;
	}
	if ((r = calloc(1, sizeof(*r))) == NULL)
		return NULL;
	r->type = REDIS_REPLY_ARRAY;
	if (elements > 0 && (r->element = calloc((size_t)elements, sizeof(*r->element))) == NULL) {
		free(r);
		return NULL;
	}
	r->elements = elements > 0 ? (size_t)elements : 0;
	if (task->parent != NULL) {
		parent = task->parent->obj;
		parent->element[task->idx] = r;
	}
	return r;
}

void
reader_open(struct wire *w)
{
	CHECK(w->reader == NULL);
	w->reader = redisReaderCreate();
	CHECK(w->reader != NULL);
	w->reader_functions = *w->reader->fn;
	w->reader_functions.createArray = create_array;
	w->reader->fn = &w->reader_functions;
	w->reader->privdata = w;
	w->reader_bytes = w->reader_elements = 0;
	w->reader_refused = false;
}

void
reader_close(struct wire *w)
{
	if (w->reader != NULL)
		redisReaderFree(w->reader);
	w->reader = NULL;
}

void
reader_feed(struct wire *w, const char *bytes, size_t n)
{
	w->reader_bytes += n;
	/* A failure is remembered, and comes out of reader_next(). */
	(void)redisReaderFeed(w->reader, bytes, n);
}

enum err
reader_next(struct wire *w, redisReply **out, struct why *why)
{
	redisReader *r = w->reader;
	size_t held;

	*out = NULL;
	if (redisReaderGetReply(r, (void **)out) != REDIS_OK) {
		*out = NULL;
		if (w->reader_refused)
			return why_set(why, E_STORE, "its answer has more than %d elements",
				       REDIS_ELEMENTS_MAX);
		/* The server's bytes are in errstr, quoted and cut by hiredis. */
		return why_set(why, E_STORE, "it does not speak Redis' protocol: %s", r->errstr);
	}
	held = r->len - r->pos;
	if (*out != NULL) {
		w->reader_bytes = held;
		w->reader_elements = 0;
		return OK;
	}
	if (w->reader_bytes > REDIS_REPLY_MAX)
		return why_set(why, E_STORE, "its answer is larger than %d MiB", REDIS_REPLY_MAX >> 20);
	if (held > REDIS_LINE_MAX && memmem(r->buf + r->pos, REDIS_LINE_MAX, "\r\n", 2) == NULL)
		return why_set(why, E_STORE, "a line of its answer is longer than %d KiB",
			       REDIS_LINE_MAX >> 10);
	return OK;
}

struct wire_text
wire_text(const redisReply *reply)
{
	const char *kinds[] = { "nothing", "a text", "a list", "a number", "nil", "a status", "an error" };
	struct wire_text out;
	size_t n = 0;

	if (reply->type != REDIS_REPLY_ERROR && reply->type != REDIS_REPLY_STATUS) {
		snprintf(out.s, sizeof(out.s), "%s",
			 (size_t)reply->type < ARRAY_LEN(kinds) ? kinds[reply->type] : "nonsense");
		return out;
	}
	for (; n < (size_t)reply->len && n < sizeof(out.s) - 4; n++)
		out.s[n] = reply->str[n] >= ' ' && reply->str[n] <= '~' ? reply->str[n] : '?';
	strcpy(out.s + n, n < (size_t)reply->len ? "..." : "");
	return out;
}

bool
wire_is_error(const redisReply *reply, const char *code)
{
	size_t n = strlen(code);

	return reply->type == REDIS_REPLY_ERROR && (size_t)reply->len >= n &&
	       memcmp(reply->str, code, n) == 0 && ((size_t)reply->len == n || reply->str[n] == ' ');
}
