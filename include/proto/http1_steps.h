/* http1_steps.h - private: the machine that reads a head, compiled once for
 * each way of scanning (http1_head_plain.c and its fellows).  Pure; any thread.
 *
 * Who includes it has defined PATH, the attribute of each function, and
 *	scan_token(p, at, end), scan_target(), scan_value():
 * the index of the first byte of p[at..end) that is none of its class, or end.
 *
 * Two layers.  Below, a machine of small steps: each goes on from h->at and
 * stops where its piece ends, where the bytes end, or at the first wrong
 * byte; so the first wrong byte decides, however the input was cut.  It alone
 * can say BAD for the bytes of a line.  Above, fast_*() takes whole lines that
 * are here to their end and without fault, and leaves all others to it. */
#ifndef PROTO_HTTP1_STEPS_H
#define PROTO_HTTP1_STEPS_H

#include "proto/http1_machine.h"

#define VERSION_LEN 8	/* "HTTP/1.1" */

/* The piece from mark up to end. */
static inline PATH struct http1_slice
piece(const struct http1_head *h, size_t end)
{
	return (struct http1_slice){ (uint32_t)h->mark, (uint32_t)(end - h->mark) };
}

static inline PATH bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static inline PATH bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}

/* The names met so far; apart from the head, so that a run of lines keeps them
 * in registers. */
struct met {
	uint64_t seen, repeated, aliases;
};

/* Header i, whose name and value are known. */
static inline PATH void
add(struct http1_head *h, unsigned i, struct met *met, const unsigned char *p, struct http1_slice name,
    struct http1_slice value)
{
	struct http1_header *header = &h->headers[i];
	enum http1_name alias, id = http1_name_of((const char *)p + name.at, name.n, &alias);
	uint64_t bit = HTTP1_BIT(id);

	header->name = name;
	header->value = value;
	header->id = (uint8_t)id;
	header->alias = (uint8_t)alias;
	header->flags = 0;
	if (!(met->seen & bit))
		h->first[id] = (uint8_t)i;
	met->repeated |= met->seen & bit;
	met->seen |= bit;
	met->aliases |= HTTP1_BIT(alias);
}

static inline PATH struct met
met_in(const struct http1_head *h)
{
	return (struct met){ h->seen, h->repeated, h->aliases };
}

static inline PATH void
met_out(struct http1_head *h, const struct met *met)
{
	h->seen = met->seen;
	h->repeated = met->repeated;
	h->aliases = met->aliases;
}

/* The steps.  Each returns false when the bytes are used up or wrong;
 * at least one byte is there at the call. */

static PATH bool
step_method(struct http1_head *h, const unsigned char *p, size_t end)
{
	/* Too long is known at the first byte too many, wherever the cut is. */
	size_t most = h->mark + HTTP1_METHOD_MAX + 1;

	h->at = scan_token(p, h->at, end < most ? end : most);
	if (h->at == most)
		return http1_bad(h, HTTP1_METHOD_LONG);
	if (h->at == end)
		return false;
	if (p[h->at] != ' ' || h->at == h->mark)
		return http1_bad_byte(h, p[h->at], HTTP1_METHOD_BAD);
	h->method = piece(h, h->at);
	h->mark = ++h->at;
	h->state = S_TARGET;
	return true;
}

static PATH bool
step_target(struct http1_head *h, const unsigned char *p, size_t end)
{
	size_t most = h->mark + h->limits.target + 1, stop = end < most ? end : most;

	h->at = scan_target(p, h->at, stop);
	while (h->limits.utf8_target && h->at < stop && p[h->at] >= 0x80)
		h->at = scan_target(p, h->at + 1, stop);
	if (h->at == most)
		return http1_bad(h, HTTP1_TARGET_LONG);
	if (h->at == end)
		return false;
	if (p[h->at] == '\r' && h->at > h->mark)	/* HTTP/0.9, or a line cut short */
		return http1_bad(h, HTTP1_VERSION_BAD);
	if (p[h->at] != ' ' || h->at == h->mark)
		return http1_bad_byte(h, p[h->at], HTTP1_TARGET_BAD);
	h->target = piece(h, h->at);
	if (h->limits.utf8_target && !http1_is_utf8((const char *)p + h->mark, h->at - h->mark))
		return http1_bad(h, HTTP1_TARGET_BAD);
	h->mark = ++h->at;
	h->state = S_VERSION;
	return true;
}

/* Byte i of eight. */
static PATH bool
version_byte(struct http1_head *h, const unsigned char *p, size_t i)
{
	unsigned char c = p[h->at];

	if (i < 5 ? c != (unsigned char)"HTTP/"[i] : i == 6 ? c != '.' : !is_digit(c))
		return http1_bad_byte(h, c, HTTP1_VERSION_BAD);
	if (i == 7) {
		h->minor = c - (unsigned)'0';
		/* A later minor version is to be taken for the last that one knows (RFC
		 * 9110 section 2.5), and for a response it is.  No client sends one: to
		 * guess at a request's framing is what smuggling is made of. */
		if (p[h->mark + 5] != '1' || (h->minor > 1 && !h->response))
			return http1_bad(h, HTTP1_VERSION_UNKNOWN);
		if (h->minor > 1)
			h->minor = 1;
	}
	h->at++;
	return true;
}

/* Eight bytes and CR, one by one. */
static PATH bool
step_version(struct http1_head *h, const unsigned char *p)
{
	size_t i = h->at - h->mark;

	if (i < VERSION_LEN)
		return version_byte(h, p, i);
	if (p[h->at] != '\r')
		return http1_bad_byte(h, p[h->at], HTTP1_VERSION_BAD);
	if (!http1_judge_target(h))
		return false;
	h->state = S_FIRST_LF;
	h->at++;
	return true;
}

/* Eight bytes and a space. */
static PATH bool
step_status_version(struct http1_head *h, const unsigned char *p)
{
	size_t i = h->at - h->mark;

	if (i < VERSION_LEN)
		return version_byte(h, p, i);
	if (p[h->at] != ' ')
		return http1_bad_byte(h, p[h->at], HTTP1_VERSION_BAD);
	h->mark = ++h->at;
	h->state = S_STATUS;
	return true;
}

/* A line of the head ends with LF alone: leniently that is its end (RFC 9112
 * section 2.2). */
static PATH bool
ends_with_lf(struct http1_head *h, unsigned char c)
{
	if (c != '\n' || !h->lenient)
		return false;
	h->odd |= HTTP1_ODD_BIT(HTTP1_ODD_BARE_LF);
	return true;
}

/* After that byte: at the next line. */
static PATH bool
next_line(struct http1_head *h)
{
	h->mark = ++h->at;
	h->state = S_LINE;
	return true;
}

/* Three digits, and the space that many leave out when no phrase follows. */
static PATH bool
step_status(struct http1_head *h, const unsigned char *p)
{
	size_t i = h->at - h->mark;
	unsigned char c = p[h->at];

	if (i == 3 && ends_with_lf(h, c)) {
		h->phrase = (struct http1_slice){ (uint32_t)h->at, 0 };
		return next_line(h);
	}
	if (i == 0 && c > '5' && is_digit(c) && h->lenient)
		h->odd |= HTTP1_ODD_BIT(HTTP1_ODD_STATUS);
	else if (i < 3 ? !is_digit(c) || (i == 0 && (c == '0' || c > '5')) : c != ' ' && c != '\r')
		return http1_bad_byte(h, c, HTTP1_STATUS_BAD);
	h->at++;
	if (i < 3) {
		h->status = h->status * 10 + (c - (unsigned)'0');
		return true;
	}
	h->mark = c == ' ' ? h->at : h->at - 1;
	h->phrase = piece(h, h->mark);
	h->state = c == ' ' ? S_PHRASE : S_FIRST_LF;
	return true;
}

static PATH bool
step_phrase(struct http1_head *h, const unsigned char *p, size_t end)
{
	h->at = scan_value(p, h->at, end);
	if (h->at == end)
		return false;
	h->phrase = piece(h, h->at);
	if (ends_with_lf(h, p[h->at]))
		return next_line(h);
	if (p[h->at] != '\r')
		return http1_bad_byte(h, p[h->at], HTTP1_PHRASE_BAD);
	h->at++;
	h->state = S_FIRST_LF;
	return true;
}

static PATH bool
step_line(struct http1_head *h, const unsigned char *p)
{
	unsigned char c = p[h->at];

	if (c == '\r') {
		h->at++;
		h->state = S_END_LF;
		return true;
	}
	if (ends_with_lf(h, c)) {
		h->at++;
		return http1_finish(h);
	}
	if (is_blank(c))
		return http1_bad(h, h->header_count == 0 ? HTTP1_LEADING_SPACE : HTTP1_OBS_FOLD);
	if (c == ':')
		return http1_bad(h, HTTP1_NAME_EMPTY);
	if (!(http1_class[c] & C_TOKEN))
		return http1_bad_byte(h, c, HTTP1_NAME_BAD);
	if (h->header_count == h->limits.headers)
		return http1_bad(h, HTTP1_HEADERS_MANY);
	h->mark = h->at;
	h->state = S_NAME;
	return true;
}

static PATH bool
step_name(struct http1_head *h, const unsigned char *p, size_t end)
{
	h->at = scan_token(p, h->at, end);
	if (h->at == end)
		return false;
	if (is_blank(p[h->at]))
		return http1_bad(h, HTTP1_NAME_SPACE);
	if (p[h->at] == '\r')
		return http1_bad(h, HTTP1_COLON_MISSING);
	if (p[h->at] != ':')
		return http1_bad_byte(h, p[h->at], HTTP1_NAME_BAD);
	h->headers[h->header_count].name = piece(h, h->at);
	h->mark = h->value_end = ++h->at;
	h->state = S_PAD;
	return true;
}

static PATH bool
step_pad(struct http1_head *h, const unsigned char *p, size_t end)
{
	while (h->at < end && is_blank(p[h->at]))
		h->at++;
	h->mark = h->value_end = h->at;
	if (h->at == end)
		return false;
	h->state = S_VALUE;
	return true;
}

static PATH bool
step_value(struct http1_head *h, const unsigned char *p, size_t end)
{
	struct met met = met_in(h);
	size_t from = h->at, i;

	h->at = i = scan_value(p, h->at, end);
	while (i > from && is_blank(p[i - 1]))
		i--;
	if (i > from)
		h->value_end = i;
	if (h->at == end)
		return false;
	if (p[h->at] != '\r' && !ends_with_lf(h, p[h->at]))
		return http1_bad_byte(h, p[h->at], HTTP1_VALUE_BAD);
	add(h, h->header_count, &met, p, h->headers[h->header_count].name, piece(h, h->value_end));
	met_out(h, &met);
	h->header_count++;
	if (p[h->at] == '\n')
		return next_line(h);
	h->at++;
	h->state = S_VALUE_LF;
	return true;
}

static PATH bool
step_lf(struct http1_head *h, const unsigned char *p, enum http1_state next)
{
	if (p[h->at] != '\n')
		return http1_bad(h, HTTP1_BARE_CR);
	h->at++;
	h->mark = h->at;
	h->state = (unsigned char)next;
	return true;
}

static PATH bool
step(struct http1_head *h, const unsigned char *p, size_t end)
{
	switch ((enum http1_state)h->state) {
	case S_START:
		h->mark = h->at;
		h->state = S_METHOD;
		if (p[h->at] != '\r')
			return true;
		h->at++;
		h->state = S_START_LF;
		return true;
	case S_START_LF:
		return step_lf(h, p, S_START);
	case S_METHOD:
		return step_method(h, p, end);
	case S_TARGET:
		return step_target(h, p, end);
	case S_VERSION:
		return step_version(h, p);
	case S_STATUS_VERSION:
		return step_status_version(h, p);
	case S_STATUS:
		return step_status(h, p);
	case S_PHRASE:
		return step_phrase(h, p, end);
	case S_FIRST_LF:
	case S_VALUE_LF:
		return step_lf(h, p, S_LINE);
	case S_LINE:
		return step_line(h, p);
	case S_NAME:
		return step_name(h, p, end);
	case S_PAD:
		return step_pad(h, p, end);
	case S_VALUE:
		return step_value(h, p, end);
	case S_END_LF:
		return step_lf(h, p, S_END_LF) && http1_finish(h);
	}
	CHECK(!"a state of the table");
	return false;
}

/* "HTTP/1.0" or "HTTP/1.1" at p? */
static inline PATH bool
is_version(const unsigned char *p)
{
	return memcmp(p, "HTTP/1.", VERSION_LEN - 1) == 0 && (p[VERSION_LEN - 1] | 1) == '1';
}

/* A request line in one go; nothing is changed where it does not suit. */
static inline PATH bool
fast_request(struct http1_head *h, const unsigned char *p, size_t end)
{
	size_t from = h->at, most = from + HTTP1_METHOD_MAX, space, to;

	space = scan_token(p, from, end < most ? end : most);
	if (space == from || end - space < VERSION_LEN + 5 || p[space] != ' ')
		return true;
	to = scan_target(p, space + 1, end);
	if (to == space + 1 || to - space - 1 > h->limits.target || end - to < VERSION_LEN + 3 ||
	    p[to] != ' ' || !is_version(p + to + 1) || p[to + VERSION_LEN + 1] != '\r' ||
	    p[to + VERSION_LEN + 2] != '\n')
		return true;
	h->method = (struct http1_slice){ (uint32_t)from, (uint32_t)(space - from) };
	h->target = (struct http1_slice){ (uint32_t)(space + 1), (uint32_t)(to - space - 1) };
	h->minor = p[to + VERSION_LEN] - (unsigned)'0';
	h->at = to + VERSION_LEN + 3;
	h->state = S_LINE;
	return http1_judge_target(h);
}

static inline PATH void
fast_status(struct http1_head *h, const unsigned char *p, size_t end)
{
	const unsigned char *s = p + h->at;
	size_t from = h->at + VERSION_LEN + 5, to;

	if (end - h->at < VERSION_LEN + 7 || !is_version(s) || s[8] != ' ' || s[9] < '1' || s[9] > '5' ||
	    !is_digit(s[10]) || !is_digit(s[11]) || s[12] != ' ')
		return;
	to = scan_value(p, from, end);
	if (end - to < 2 || p[to] != '\r' || p[to + 1] != '\n')
		return;
	h->minor = s[7] - (unsigned)'0';
	h->status = (s[9] - (unsigned)'0') * 100 + (s[10] - (unsigned)'0') * 10 + (s[11] - (unsigned)'0');
	h->phrase = (struct http1_slice){ (uint32_t)from, (uint32_t)(to - from) };
	h->at = to + 2;
	h->state = S_LINE;
}

/* Header lines that are complete and good, and the blank one; stops at the
 * beginning of any other. */
static inline PATH void
fast_lines(struct http1_head *h, const unsigned char *p, size_t end)
{
	size_t at = h->at, colon, from, to, stop;
	unsigned n = h->header_count, most = h->limits.headers;
	struct met met = met_in(h);

	while (end - at >= 2 && n < most && p[at] != '\r') {
		colon = scan_token(p, at, end);
		if (colon == at || colon == end || p[colon] != ':')
			break;
		for (from = colon + 1; from < end && is_blank(p[from]); from++)
			continue;
		stop = scan_value(p, from, end);
		if (end - stop < 2 || p[stop] != '\r' || p[stop + 1] != '\n')
			break;
		for (to = stop; to > from && is_blank(p[to - 1]); to--)
			continue;
		add(h, n++, &met, p, (struct http1_slice){ (uint32_t)at, (uint32_t)(colon - at) },
		    (struct http1_slice){ (uint32_t)from, (uint32_t)(to - from) });
		at = stop + 2;
	}
	met_out(h, &met);
	h->header_count = n;
	h->at = at;
	if (end - at >= 2 && p[at] == '\r' && p[at + 1] == '\n') {
		h->at += 2;
		http1_finish(h);
	}
}

static inline PATH enum http1_verdict
parse(struct http1_head *h, const char *bytes, size_t end)
{
	const unsigned char *p = (const unsigned char *)bytes;

	if (h->state == S_START && h->at < end && !fast_request(h, p, end))
		return h->verdict;
	if (h->state == S_STATUS_VERSION && h->at == 0)
		fast_status(h, p, end);
	do {
		/* From where the steps have brought a broken line to its end. */
		if (h->state == S_LINE)
			fast_lines(h, p, end);
	} while (h->verdict == HTTP1_NEED_MORE && h->at < end && step(h, p, end));
	return h->verdict;
}

#endif
