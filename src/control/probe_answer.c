/* probe_answer.c - an answer to a check, judged by the data path's parser.
 * Thread: main. */
#include <stdlib.h>

#include "base/check.h"
#include "control/probe_answer.h"

/* Bytes that are asked for at once. */
#define PIECE 4096

static void
begin_probe_head(struct probe_answer *a)
{
	const struct http1_limits limits = {
		.head = (uint32_t)a->http->max_header_size,
		.target = UINT32_MAX,
		.headers = HTTP1_HEADERS_MAX,
	};

	http1_head_init_response(&a->head, limits.head);
	http1_head_limit(&a->head, &limits);
	a->head.lenient = a->http->answers == ANSWERS_LENIENT;
}

struct probe_answer *
probe_answer_new(const struct http_config *http)
{
	struct probe_answer *a = must_alloc(sizeof(*a));

	a->http = http;
	buf_init(&a->bytes, http->max_header_size + PIECE);
	begin_probe_head(a);
	return a;
}

void
probe_answer_free(struct probe_answer **ap)
{
	if (*ap != NULL)
		buf_free(&(*ap)->bytes);
	free(*ap);
	*ap = NULL;
}

char *
probe_answer_room(struct probe_answer *a, size_t *n)
{
	*n = PIECE;
	return buf_reserve(&a->bytes, PIECE);
}

static enum http1_verdict
hear(struct probe_answer *a, const char *p, size_t n)
{
	enum http1_verdict v = HTTP1_NEED_MORE;

	while (v == HTTP1_NEED_MORE && n > 0 && !a->body.done) {
		struct str data;
		size_t taken = http1_body_take(&a->body, p, n, &data, &v);

		p += taken;
		n -= taken;
	}
	a->over = a->body.done || v == HTTP1_BAD;
	return v;
}

/* The head is whole: does what follows have a framing, as far as it is here? */
static const char *
judge_body(struct probe_answer *a, struct str rest)
{
	enum http1_verdict v = http1_body_of_response(&a->body, &a->head, false);

	if (v == HTTP1_DONE)
		v = hear(a, rest.p, rest.n);
	else
		a->over = true;
	return v == HTTP1_BAD ? http1_reason_words((enum http1_reason)a->body.reason) : NULL;
}

bool
probe_answer_rest(struct probe_answer *a, const char *p, size_t n)
{
	if (!a->over)
		(void)hear(a, p, n);
	return a->over;
}

/* What is no HTTP at all deserves to be called so. */
static const char *
words_of(enum http1_reason reason)
{
	switch (reason) {
	case HTTP1_VERSION_BAD:
	case HTTP1_STATUS_BAD:
		return "did not answer in HTTP";
	default:
		return http1_reason_words(reason);
	}
}

bool
probe_answer_take(struct probe_answer *a, size_t n, unsigned *status, const char **error)
{
	struct str all;

	*error = NULL;
	a->over = true;
	buf_commit(&a->bytes, n);
	for (;;) {
		all = buf_str(&a->bytes);
		switch (http1_head_parse(&a->head, all.p, all.n)) {
		case HTTP1_NEED_MORE:
			if (n > 0)
				return false;
			*error = all.n == 0 ? "closed the connection without an answer" :
					      "closed the connection in the middle of its answer's head";
			return true;
		case HTTP1_BAD:
			*error = words_of(a->head.reason);
			return true;
		case HTTP1_DONE:
			break;
		}
		if (a->head.status >= 200)
			break;
		if (a->head.status == 101) {
			*error = "101 without having been asked";
			return true;
		}
		a->interim += a->head.length;
		if (a->interim > a->http->max_header_size) {
			*error = http1_reason_words(HTTP1_INTERIM_LONG);
			return true;
		}
		buf_consume(&a->bytes, a->head.length);
		begin_probe_head(a);
	}
	*status = a->head.status;
	*error = judge_body(a, (struct str){ all.p + a->head.length, all.n - a->head.length });
	return true;
}
