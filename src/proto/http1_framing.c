/* http1_framing.c - how a head says where its message ends (RFC 9112
 * section 6), and what it may not say.  Pure; any thread. */
#include "base/check.h"
#include "proto/http1_body.h"

static enum http1_verdict
refuse_framing(struct http1_body *b, enum http1_reason reason)
{
	b->reason = (uint8_t)reason;
	b->odd = 0;
	return HTTP1_BAD;
}

/* Up to 19 digits below 2^63: no sign, no list, no space. */
static enum http1_reason
length_number(struct str value, uint64_t *length)
{
	return value.n <= 19 && str_to_u64(value, INT64_MAX, length) ? HTTP1_FINE : HTTP1_LENGTH_BAD;
}

/* Several lines that all say the same are one (RFC 9110 section 8.6). */
static enum http1_reason
read_same_lengths(const struct http1_head *h, uint64_t *length)
{
	uint64_t other;

	for (unsigned i = h->first[HTTP1_CONTENT_LENGTH]; i < h->header_count; i++) {
		if (h->headers[i].id != HTTP1_CONTENT_LENGTH)
			continue;
		if (length_number(http1_text(h, h->headers[i].value), &other) != HTTP1_FINE)
			return HTTP1_LENGTH_BAD;
		if (i > h->first[HTTP1_CONTENT_LENGTH] && other != *length)
			return HTTP1_LENGTH_REPEATED;
		*length = other;
	}
	return HTTP1_FINE;
}

static enum http1_reason
read_length(const struct http1_head *h, uint64_t *length, uint8_t *odd)
{
	if (!(h->repeated & HTTP1_BIT(HTTP1_CONTENT_LENGTH)))
		return length_number(http1_head_get(h, HTTP1_CONTENT_LENGTH), length);
	if (!h->lenient)
		return HTTP1_LENGTH_REPEATED;
	*odd |= HTTP1_ODD_BIT(HTTP1_ODD_LENGTH_REPEATED);
	return read_same_lengths(h, length);
}

static bool
is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!http1_is_token(s.p[i]))
			return false;
	return s.n > 0;
}

/* One element of Transfer-Encoding, parameters and all. */
struct codings {
	unsigned all, chunked;
	bool last;	/* chunked is the last so far */
	bool malformed;
};

static void
read_codings(struct codings *c, struct str value)
{
	size_t at = 0;

	for (;;) {
		struct str name;
		size_t from, comma, end;
		bool quoted = false;

		for (comma = at; comma < value.n && (quoted || value.p[comma] != ','); comma++) {
			if (quoted && value.p[comma] == '\\' && comma + 1 < value.n)
				comma++;
			else if (value.p[comma] == '"')
				quoted = !quoted;
		}
		for (from = at; from < comma && (value.p[from] == ' ' || value.p[from] == '\t'); from++)
			continue;
		for (end = comma; end > from && (value.p[end - 1] == ' ' || value.p[end - 1] == '\t'); end--)
			continue;
		name = (struct str){ value.p + from, 0 };
		while (from + name.n < end && http1_is_token(name.p[name.n]))
			name.n++;
		c->all++;
		c->last = str_case_eq(name, "chunked");
		c->chunked += c->last;
		/* An element that is empty, or no token, or chunked with parameters
		 * (it has none: RFC 9112 section 7.1). */
		if (!is_token(name) || quoted || (from + name.n < end && c->last))
			c->malformed = true;
		for (size_t i = from + name.n; i < end && !c->malformed; i++) {
			if (value.p[i] == ';')
				break;
			c->malformed = value.p[i] != ' ' && value.p[i] != '\t';
		}
		if (comma == value.n)
			return;
		at = comma + 1;
	}
}

/* Exactly one line with "chunked" and nothing else is taken. */
static enum http1_reason
read_coding(const struct http1_head *h)
{
	struct codings c = { 0 };

	if (h->minor == 0)
		return HTTP1_CODING_IN_1_0;
	if (!(h->repeated & HTTP1_BIT(HTTP1_TRANSFER_ENCODING)) &&
	    str_case_eq(http1_head_get(h, HTTP1_TRANSFER_ENCODING), "chunked"))
		return HTTP1_FINE;
	for (unsigned i = h->first[HTTP1_TRANSFER_ENCODING]; i < h->header_count; i++)
		if (h->headers[i].id == HTTP1_TRANSFER_ENCODING)
			read_codings(&c, http1_text(h, h->headers[i].value));
	if (c.malformed)
		return HTTP1_CODING_BAD;
	if (c.chunked > 1)
		return HTTP1_CODING_REPEATED;
	return c.last ? HTTP1_CODING_UNKNOWN : HTTP1_CODING_LAST;
}

/* What both directions have in common: FINE, and the framing that the headers
 * give, HTTP1_BODY_NONE where they give none. */
static enum http1_reason
read_framing(struct http1_body *b, const struct http1_head *h)
{
	bool length = http1_head_has(h, HTTP1_CONTENT_LENGTH);
	enum http1_reason reason;

	*b = (struct http1_body){ .framing = HTTP1_BODY_NONE, .done = true, .lenient = h->lenient };
	if (http1_head_has(h, HTTP1_TRANSFER_ENCODING)) {
		if (h->minor == 1 && length && !h->lenient)
			return HTTP1_LENGTH_AND_CODING;
		if ((reason = read_coding(h)) != HTTP1_FINE)
			return reason;
		/* Section 6.3, rule 3: the coding counts, and the connection is not
		 * used again. */
		if (length)
			b->odd |= HTTP1_ODD_BIT(HTTP1_ODD_LENGTH_AND_CODING);
		b->framing = HTTP1_BODY_CHUNKED;
		b->done = false;
	} else if (length) {
		if ((reason = read_length(h, &b->left, &b->odd)) != HTTP1_FINE)
			return reason;
		b->framing = HTTP1_BODY_LENGTH;
		b->done = b->left == 0;
	}
	return HTTP1_FINE;
}

enum http1_verdict
http1_body_of_request(struct http1_body *b, const struct http1_head *h)
{
	enum http1_reason reason;

	CHECK(h->verdict == HTTP1_DONE && !h->response);
	reason = read_framing(b, h);
	return reason == HTTP1_FINE ? HTTP1_DONE : refuse_framing(b, reason);
}

enum http1_verdict
http1_body_of_response(struct http1_body *b, const struct http1_head *h, bool head_request)
{
	enum http1_reason reason;

	CHECK(h->verdict == HTTP1_DONE && h->response);
	reason = read_framing(b, h);
	b->response = true;
	/* These end with their head, whatever it says (section 6.3, rule 1). */
	if (head_request || h->status < 200 || h->status == 204 || h->status == 304) {
		bool odd = reason != HTTP1_FINE || b->odd != 0;

		*b = (struct http1_body){ .framing = HTTP1_BODY_NONE, .done = true };
		b->odd = odd ? HTTP1_ODD_BIT(HTTP1_ODD_NO_BODY) : 0;
		return HTTP1_DONE;
	}
	if (reason != HTTP1_FINE)
		return refuse_framing(b, reason);
	if (b->framing == HTTP1_BODY_NONE) {
		b->framing = HTTP1_BODY_CLOSE;
		b->done = false;
	}
	return HTTP1_DONE;
}

uint64_t
http1_response_drops(const struct http1_head *h)
{
	uint64_t drops = 0, length;

	if (http1_head_has(h, HTTP1_TRANSFER_ENCODING))
		drops = read_coding(h) == HTTP1_FINE ?
				HTTP1_BIT(HTTP1_CONTENT_LENGTH) :
				HTTP1_BIT(HTTP1_CONTENT_LENGTH) | HTTP1_BIT(HTTP1_TRANSFER_ENCODING);
	else if (http1_head_has(h, HTTP1_CONTENT_LENGTH) && read_same_lengths(h, &length) != HTTP1_FINE)
		drops = HTTP1_BIT(HTTP1_CONTENT_LENGTH);
	return drops & h->seen;
}
