/* probe_answer.c - an answer to a check, judged by the data path's parser.
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

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
probe_answer_new(const struct http_config *http, const char *expect_body, bool is_head, const char *keep)
{
	struct probe_answer *a = must_alloc(sizeof(*a));

	a->http = http;
	a->expect = expect_body;
	a->is_head = is_head;
	a->keep = keep;
	buf_init(&a->text, PROBE_BODY_MAX);
	buf_init(&a->bytes, http->max_header_size + PIECE);
	begin_probe_head(a);
	return a;
}

void
probe_answer_free(struct probe_answer **ap)
{
	if (*ap != NULL) {
		buf_free(&(*ap)->bytes);
		buf_free(&(*ap)->text);
	}
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
		/* Beyond what is looked at it is only counted. */
		if ((a->expect != NULL || a->keep != NULL) && !a->text.failed)
			(void)buf_append(&a->text, data.p, data.n < buf_room(&a->text) ? data.n : buf_room(&a->text));
	}
	a->over = a->body.done || v == HTTP1_BAD;
	return v;
}

/* The head is whole: does what follows have a framing, as far as it is here? */
static const char *
judge_body(struct probe_answer *a, struct str rest)
{
	enum http1_verdict v = http1_body_of_response(&a->body, &a->head, a->is_head);

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

/* Is it settled whether the body holds what it must?  error: why it makes no sense. */
static bool
judge_text(struct probe_answer *a, bool ended, const char **error)
{
	struct str text = buf_str(&a->text);

	if (*error != NULL)
		return true;
	if (a->expect == NULL)
		return a->keep == NULL || a->over || ended || buf_room(&a->text) == 0;
	if (memmem(text.p, text.n, a->expect, strlen(a->expect)) != NULL)
		return true;
	if (!a->over && !ended && buf_room(&a->text) > 0)
		return false;
	*error = "its body does not have health.expect_body";
	return true;
}

static void
keep_header(struct probe_answer *a)
{
	for (unsigned i = 0; a->keep != NULL && i < a->head.header_count; i++) {
		const struct http1_header *h = &a->head.headers[i];
		struct str value = http1_text(&a->head, h->value);

		if (str_case_eq(http1_text(&a->head, h->name), a->keep) && value.n < sizeof(a->kept))
			(void)str_copy(a->kept, sizeof(a->kept), value);
	}
}

/* More of the body, once the head is whole. */
static bool
take_more(struct probe_answer *a, size_t n, unsigned *status, const char **error)
{
	struct str all;

	buf_commit(&a->bytes, n);
	all = buf_str(&a->bytes);
	if (hear(a, all.p, all.n) == HTTP1_BAD)
		*error = http1_reason_words((enum http1_reason)a->body.reason);
	buf_consume(&a->bytes, all.n);
	*status = a->head.status;
	return judge_text(a, n == 0, error);
}

bool
probe_answer_take(struct probe_answer *a, size_t n, unsigned *status, const char **error)
{
	struct str all;

	*error = NULL;
	*status = 0;
	if (a->headed)
		return take_more(a, n, status, error);
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
	a->headed = true;
	a->over = false;
	keep_header(a);
	*error = judge_body(a, (struct str){ all.p + a->head.length, all.n - a->head.length });
	buf_consume(&a->bytes, all.n);
	*status = a->head.status;
	if (*error != NULL)
		*status = 0;
	return judge_text(a, n == 0, error);
}
