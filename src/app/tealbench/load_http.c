/* load_http.c - the HTTP kinds of load.  Reads answers only as far as needed
 * to know where they end and whether they are the right ones; strict about
 * what it reads.  Thread: the flow's. */
#include "app/tealbench/load_http.h"
#include "app/tealbench/pattern.h"

static void
http_begin(struct flow *f)
{
	f->to_send = buf_len(&f->thread->config->request) + f->thread->config->body;
	f->head_done = false;
	buf_clear(&f->in);
}

static const char *
http_next(const struct flow *f, uint64_t *n)
{
	struct str head = buf_str(&f->thread->config->request);

	if (f->sent < head.n) {
		*n = head.n - f->sent;
		return head.p + f->sent;
	}
	*n = f->to_send - f->sent < PATTERN_PIECE ? f->to_send - f->sent : PATTERN_PIECE;
	return pattern_at(f->sent - head.n);
}

static struct str
trim_value(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return (struct str){ p, (size_t)(end - p) };
}

static bool
head_field(struct flow *f, struct str name, struct str value, bool *sized)
{
	if (str_case_eq(name, "content-length")) {
		if (*sized || !str_to_u64(value, INT64_MAX, &f->to_take))
			return false;
		*sized = true;
	} else if (str_case_eq(name, "transfer-encoding")) {
		f->chunked_in = str_case_eq(value, "chunked");
		return f->chunked_in;
	} else if (str_case_eq(name, "connection")) {
		if (str_case_eq(value, "close"))
			f->keep = false;
	} else if (str_case_eq(name, f->thread->config->name_header)) {
		f->name = load_names_find(&f->thread->names, value);
	}
	return true;
}

/* head ends with its last header's CRLF; the blank line is cut off. */
static bool
head_read(struct flow *f, struct str head)
{
	const char *p = head.p, *end = head.p + head.n, *eol, *colon;
	uint64_t status;
	bool sized = false;

	if (head.n < 15 || memcmp(p, "HTTP/1.", 7) != 0 || (p[7] != '0' && p[7] != '1') || p[8] != ' ' ||
	    !str_to_u64((struct str){ p + 9, 3 }, 599, &status) || (p[12] != ' ' && p[12] != '\r'))
		return false;
	f->status = (unsigned)status;
	f->keep = p[7] == '1';
	f->chunked_in = false;
	f->to_take = f->taken = 0;
	f->name = LOAD_NAME_UNSAID;
	chunked_init(&f->chunked);
	p = (const char *)memmem(p, head.n, "\r\n", 2) + 2;
	for (; p < end; p = eol + 2) {
		eol = memmem(p, (size_t)(end - p), "\r\n", 2);
		colon = memchr(p, ':', (size_t)(eol - p));
		if (colon == NULL || !head_field(f, (struct str){ p, (size_t)(colon - p) },
						 trim_value(colon + 1, eol), &sized))
			return false;
	}
	f->until_end = !sized && !f->chunked_in && status != 204 && status != 304 && status >= 200;
	if (f->until_end)
		f->keep = false;
	return true;
}

/* The answer is whole; was it the right one? */
enum flow_verdict
load_http_judge(struct flow *f)
{
	const struct load_config *config = f->thread->config;

	f->error = f->status >= 500 ? LOAD_5XX : LOAD_STATUS;
	if (f->status / 100 != 2)
		return FLOW_FAILED;
	f->error = LOAD_SHORT;
	if (config->pattern_body && f->taken != config->size)
		return FLOW_FAILED;
	return f->keep ? FLOW_DONE : FLOW_DONE_LAST;
}

bool
load_http_body_fits(struct flow *f, const char *p, size_t n)
{
	const struct load_config *config = f->thread->config;

	f->error = LOAD_WRONG_BODY;
	if (config->pattern_body && f->status / 100 == 2 &&
	    (n > config->size - f->taken || (config->check && !pattern_matches(f->taken, p, n))))
		return false;
	f->taken += n;
	return true;
}

static enum flow_verdict
take_chunked(struct flow *f, const char *p, size_t n)
{
	enum chunked_verdict verdict;
	struct str data;
	size_t used;

	for (;;) {
		verdict = chunked_read(&f->chunked, p, n, &used, &data);
		p += used;
		n -= used;
		switch (verdict) {
		case CHUNKED_DATA:
			if (!load_http_body_fits(f, data.p, data.n))
				return FLOW_FAILED;
			break;
		case CHUNKED_MORE:
			return FLOW_MORE;
		case CHUNKED_DONE:
			f->error = LOAD_PROTOCOL;
			return n == 0 ? load_http_judge(f) : FLOW_FAILED;
		case CHUNKED_BAD:
			f->error = LOAD_PROTOCOL;
			return FLOW_FAILED;
		}
	}
}

static enum flow_verdict
take_body(struct flow *f, const char *p, size_t n)
{
	if (f->chunked_in)
		return take_chunked(f, p, n);
	if (f->until_end)
		return load_http_body_fits(f, p, n) ? FLOW_MORE : FLOW_FAILED;
	f->error = LOAD_PROTOCOL;
	if (n > f->to_take - f->taken)
		return FLOW_FAILED;
	if (n > 0 && !load_http_body_fits(f, p, n))
		return FLOW_FAILED;
	return f->taken == f->to_take ? load_http_judge(f) : FLOW_MORE;
}

static enum flow_verdict
http_take(struct flow *f, const char *p, size_t n)
{
	struct str in = { p, n };
	enum flow_verdict verdict;
	const char *blank;

	f->error = LOAD_SHORT;
	if (n == 0)
		return f->head_done && f->until_end ? load_http_judge(f) : FLOW_FAILED;
	if (f->head_done)
		return take_body(f, p, n);
	/* Nearly always the head comes whole, and nothing is copied. */
	if (buf_len(&f->in) > 0) {
		f->error = LOAD_PROTOCOL;
		if (!buf_append(&f->in, p, n))
			return FLOW_FAILED;
		in = buf_str(&f->in);
	}
	if ((blank = memmem(in.p, in.n, "\r\n\r\n", 4)) == NULL) {
		f->error = LOAD_PROTOCOL;
		return buf_len(&f->in) > 0 || buf_append(&f->in, p, n) ? FLOW_MORE : FLOW_FAILED;
	}
	f->error = LOAD_PROTOCOL;
	if (!head_read(f, (struct str){ in.p, (size_t)(blank + 2 - in.p) }))
		return FLOW_FAILED;
	f->head_done = true;
	blank += 4;
	verdict = take_body(f, blank, (size_t)(in.p + in.n - blank));
	buf_clear(&f->in);
	return verdict;
}

enum flow_verdict
load_http_take_upgrade(struct flow *f, const char *p, size_t n)
{
	enum flow_verdict verdict = http_take(f, p, n);

	/* To http_take a whole answer with another status than 2xx is a failure. */
	if (verdict == FLOW_FAILED && f->error == LOAD_STATUS && f->status == 101)
		return FLOW_DONE;
	if (verdict == FLOW_DONE || verdict == FLOW_DONE_LAST)
		f->error = LOAD_STATUS;
	return verdict == FLOW_MORE ? FLOW_MORE : FLOW_FAILED;
}

static bool
http_blind(const struct flow *f)
{
	return f->head_done && !f->chunked_in && !f->thread->config->check;
}

const struct load_mode load_mode_http = { .word = "http",
					  .http = true,
					  .begin = http_begin,
					  .next = http_next,
					  .take = http_take,
					  .blind = http_blind };
const struct load_mode load_mode_http_close = { .word = "http-close",
						.http = true,
						.fresh = true,
						.begin = http_begin,
						.next = http_next,
						.take = http_take,
						.blind = http_blind };
