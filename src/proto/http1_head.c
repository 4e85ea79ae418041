/* http1_head.c - one pass over a request head.  Pure; any thread.
 * A machine of small steps.  Each step scans on from h->at, and stops where
 * its piece ends, where the bytes end, or at the first wrong byte: so the
 * first wrong byte decides, however the input was cut. */
#include <string.h>

#include "base/check.h"
#include "proto/http1_head.h"

enum state {
	START,	/* before the request line: an empty line may come */
	START_LF,
	METHOD,
	TARGET,
	VERSION,
	REQUEST_LF,	/* the CR of the request line is behind us */
	LINE,	/* at the first byte of a header line */
	NAME,
	PAD,	/* white space after the colon */
	VALUE,
	VALUE_LF,
	END_LF,
};

/* What a byte may be part of. */
#define C_TOKEN 1	/* RFC 9110 section 5.6.2: method and header name */
#define C_TARGET 2	/* visible ASCII but '#': a fragment is never sent */
#define C_VALUE 4	/* visible, space, tab, obs-text */

static const char version_head[] = "HTTP/";
#define VERSION_LEN 8	/* "HTTP/1.1" */

#define T (C_TOKEN | C_TARGET | C_VALUE)
#define V (C_TARGET | C_VALUE)
#define O C_VALUE
static const unsigned char class[256] = {
	['\t'] = O, [' '] = O, ['!'] = T, ['"'] = V, ['#'] = C_TOKEN | O, ['$'] = T, ['%'] = T, ['&'] = T,
	['\''] = T, ['('] = V, [')'] = V, ['*'] = T, ['+'] = T, [','] = V, ['-'] = T, ['.'] = T, ['/'] = V,
	['0' ... '9'] = T, [':'] = V, [';'] = V, ['<'] = V, ['='] = V, ['>'] = V,
	['?'] = V, ['@'] = V,
	['A' ... 'Z'] = T,
	['['] = V, ['\\'] = V, [']'] = V, ['^'] = T, ['_'] = T, ['`'] = T,
	['a' ... 'z'] = T,
	['{'] = V, ['|'] = T, ['}'] = V, ['~'] = T,
	[0x80 ... 0xff] = O,
};
#undef T
#undef V
#undef O

static const struct {
	unsigned status;
	const char *words;
} reasons[] = {
#define X(name, status, words) [name] = { status, words },
	HTTP1_REASON_TABLE(X)
#undef X
};

unsigned
http1_reason_status(enum http1_reason r)
{
	CHECK((size_t)r < ARRAY_LEN(reasons));
	return reasons[r].status;
}

const char *
http1_reason_words(enum http1_reason r)
{
	CHECK((size_t)r < ARRAY_LEN(reasons));
	return reasons[r].words;
}

void
http1_head_init(struct http1_head *h, size_t limit)
{
	CHECK(limit > 0 && limit <= (size_t)1 << 30);
	/* The headers are filled before they are counted: leave 2 KiB alone. */
	memset(h, 0, offsetof(struct http1_head, headers));
	h->limit = limit;
}

static bool
bad(struct http1_head *h, enum http1_reason reason)
{
	h->reason = reason;
	h->verdict = HTTP1_BAD;
	return false;
}

/* Why a byte cannot stand where it does: the controls have names of their
 * own, for everything else it depends on the place. */
static bool
bad_byte(struct http1_head *h, unsigned char c, enum http1_reason otherwise)
{
	if (c == '\0')
		return bad(h, HTTP1_NUL);
	if (c == '\n')
		return bad(h, HTTP1_BARE_LF);
	return bad(h, otherwise);
}

/* The piece from mark up to h->at. */
static struct http1_slice
piece(const struct http1_head *h, size_t end)
{
	return (struct http1_slice){ (uint32_t)h->mark, (uint32_t)(end - h->mark) };
}

/* The index of the first byte from h->at on that is not of that class, or
 * end.  Nothing beyond p[end - 1] is read. */
static size_t
skip(const struct http1_head *h, const unsigned char *p, size_t end, unsigned char of)
{
	size_t i = h->at;

	while (i < end && (class[p[i]] & of))
		i++;
	return i;
}

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* scheme "://" and something behind it. */
static bool
is_absolute(struct str t)
{
	size_t i = 0;

	while (i < t.n && (is_alpha(t.p[i]) ||
			   (i > 0 && (is_digit(t.p[i]) || t.p[i] == '+' || t.p[i] == '-' || t.p[i] == '.'))))
		i++;
	return i > 0 && t.n - i > 3 && memcmp(t.p + i, "://", 3) == 0 && t.p[i + 3] != '/' &&
	       t.p[i + 3] != '?';
}

/* host ":" port */
static bool
is_authority(struct str t)
{
	size_t colon = t.n;
	uint64_t port;

	while (colon > 0 && t.p[colon - 1] != ':')
		colon--;
	if (colon < 2 || !str_to_u64((struct str){ t.p + colon, t.n - colon }, 65535, &port))
		return false;
	for (size_t i = 0; i < colon - 1; i++)
		if (t.p[i] == '/' || t.p[i] == '?' || t.p[i] == '@' || (t.p[i] == ':' && t.p[0] != '['))
			return false;
	return t.p[0] != '[' || t.p[colon - 2] == ']';
}

/* CONNECT takes an authority and nothing else does; "*" is for OPTIONS.
 * Asked once the version is known: "PRI * HTTP/2.0" deserves 505. */
static bool
judge_target(struct http1_head *h)
{
	struct str method = http1_text(h, h->method), target = http1_text(h, h->target);

	if (str_eq(method, "CONNECT")) {
		h->form = HTTP1_AUTHORITY;
		return is_authority(target) || bad(h, HTTP1_TARGET_FORM);
	}
	if (target.p[0] == '/') {
		h->form = HTTP1_ORIGIN;
		return true;
	}
	if (str_eq(target, "*")) {
		h->form = HTTP1_ASTERISK;
		return str_eq(method, "OPTIONS") || bad(h, HTTP1_TARGET_FORM);
	}
	h->form = HTTP1_ABSOLUTE;
	return is_absolute(target) || bad(h, HTTP1_TARGET_FORM);
}

/* The steps.  Each returns false when the bytes are used up or wrong;
 * at least one byte is there at the call. */

static bool
step_method(struct http1_head *h, const unsigned char *p, size_t end)
{
	/* Too long is known at the first byte too many, wherever the cut is. */
	size_t most = h->mark + HTTP1_METHOD_MAX + 1;

	h->at = skip(h, p, end < most ? end : most, C_TOKEN);
	if (h->at == most)
		return bad(h, HTTP1_METHOD_LONG);
	if (h->at == end)
		return false;
	if (p[h->at] != ' ' || h->at == h->mark)
		return bad_byte(h, p[h->at], HTTP1_METHOD_BAD);
	h->method = piece(h, h->at);
	h->mark = ++h->at;
	h->state = TARGET;
	return true;
}

static bool
step_target(struct http1_head *h, const unsigned char *p, size_t end)
{
	h->at = skip(h, p, end, C_TARGET);
	if (h->at == end)
		return false;
	if (p[h->at] == '\r' && h->at > h->mark)	/* HTTP/0.9, or a line cut short */
		return bad(h, HTTP1_VERSION_BAD);
	if (p[h->at] != ' ' || h->at == h->mark)
		return bad_byte(h, p[h->at], HTTP1_TARGET_BAD);
	h->target = piece(h, h->at);
	h->mark = ++h->at;
	h->state = VERSION;
	return true;
}

/* Eight bytes and CR, one by one. */
static bool
step_version(struct http1_head *h, const unsigned char *p, size_t end)
{
	size_t i = h->at - h->mark;
	unsigned char c = p[h->at];

	(void)end;
	if (i == VERSION_LEN) {
		if (c != '\r')
			return bad_byte(h, c, HTTP1_VERSION_BAD);
		if (!judge_target(h))
			return false;
		h->state = REQUEST_LF;
	} else if (i < 5 ? c != (unsigned char)version_head[i] : i == 6 ? c != '.' : !is_digit((char)c)) {
		return bad_byte(h, c, HTTP1_VERSION_BAD);
	} else if (i == 7) {
		h->minor = c - (unsigned)'0';
		/* Nobody has defined another one: guessing its framing is what
		 * smuggling is made of. */
		if (p[h->mark + 5] != '1' || h->minor > 1)
			return bad(h, HTTP1_VERSION_UNKNOWN);
	}
	h->at++;
	return true;
}

static bool
step_line(struct http1_head *h, const unsigned char *p, size_t end)
{
	unsigned char c = p[h->at];

	(void)end;
	if (c == '\r') {
		h->at++;
		h->state = END_LF;
		return true;
	}
	if (c == ' ' || c == '\t')
		return bad(h, h->header_count == 0 ? HTTP1_LEADING_SPACE : HTTP1_OBS_FOLD);
	if (c == ':')
		return bad(h, HTTP1_NAME_EMPTY);
	if (!(class[c] & C_TOKEN))
		return bad_byte(h, c, HTTP1_NAME_BAD);
	if (h->header_count == HTTP1_HEADERS_MAX)
		return bad(h, HTTP1_HEADERS_MANY);
	h->mark = h->at;
	h->state = NAME;
	return true;
}

static bool
step_name(struct http1_head *h, const unsigned char *p, size_t end)
{
	h->at = skip(h, p, end, C_TOKEN);
	if (h->at == end)
		return false;
	if (p[h->at] == ' ' || p[h->at] == '\t')
		return bad(h, HTTP1_NAME_SPACE);
	if (p[h->at] == '\r')
		return bad(h, HTTP1_COLON_MISSING);
	if (p[h->at] != ':')
		return bad_byte(h, p[h->at], HTTP1_NAME_BAD);
	h->headers[h->header_count].name = piece(h, h->at);
	h->mark = h->value_end = ++h->at;
	h->state = PAD;
	return true;
}

static bool
step_pad(struct http1_head *h, const unsigned char *p, size_t end)
{
	while (h->at < end && (p[h->at] == ' ' || p[h->at] == '\t'))
		h->at++;
	h->mark = h->value_end = h->at;
	if (h->at == end)
		return false;
	h->state = VALUE;
	return true;
}

static bool
step_value(struct http1_head *h, const unsigned char *p, size_t end)
{
	size_t from = h->at, i;

	h->at = i = skip(h, p, end, C_VALUE);
	while (i > from && (p[i - 1] == ' ' || p[i - 1] == '\t'))
		i--;
	if (i > from)
		h->value_end = i;
	if (h->at == end)
		return false;
	if (p[h->at] != '\r')
		return bad_byte(h, p[h->at], HTTP1_VALUE_BAD);
	h->headers[h->header_count++].value = piece(h, h->value_end);
	h->at++;
	h->state = VALUE_LF;
	return true;
}

static bool
step_lf(struct http1_head *h, const unsigned char *p, enum state next)
{
	if (p[h->at] != '\n')
		return bad(h, HTTP1_BARE_CR);
	h->at++;
	h->state = (unsigned char)next;
	return true;
}

static bool
step(struct http1_head *h, const unsigned char *p, size_t end)
{
	switch ((enum state)h->state) {
	case START:
		h->mark = h->at;
		h->state = METHOD;
		if (p[h->at] != '\r')
			return true;
		h->at++;
		h->state = START_LF;
		return true;
	case START_LF:
		if (!step_lf(h, p, METHOD))
			return false;
		h->mark = h->at;
		return true;
	case METHOD:
		return step_method(h, p, end);
	case TARGET:
		return step_target(h, p, end);
	case VERSION:
		return step_version(h, p, end);
	case REQUEST_LF:
	case VALUE_LF:
		return step_lf(h, p, LINE);
	case LINE:
		return step_line(h, p, end);
	case NAME:
		return step_name(h, p, end);
	case PAD:
		return step_pad(h, p, end);
	case VALUE:
		return step_value(h, p, end);
	case END_LF:
		if (!step_lf(h, p, END_LF))
			return false;
		h->length = h->at;
		h->verdict = HTTP1_DONE;
		return false;
	}
	CHECK(!"a state of the table");
	return false;
}

enum http1_verdict
http1_head_parse(struct http1_head *h, const char *p, size_t n)
{
	/* What lies beyond the limit is not looked at: where the head becomes
	 * too long must not depend on how much was read along with it. */
	size_t end = n < h->limit ? n : h->limit;

	CHECK(h->verdict != HTTP1_NEED_MORE || n >= h->at);
	h->base = p;
	if (h->verdict != HTTP1_NEED_MORE)
		return h->verdict;
	while (h->at < end && step(h, (const unsigned char *)p, end))
		continue;
	if (h->verdict == HTTP1_NEED_MORE && h->at == h->limit)
		bad(h, h->state <= REQUEST_LF ? HTTP1_LINE_LONG : HTTP1_HEAD_LONG);
	return h->verdict;
}

unsigned
http1_head_find(const struct http1_head *h, const char *name, struct str *value)
{
	unsigned n = 0;

	for (unsigned i = 0; i < h->header_count; i++) {
		if (!str_case_eq(http1_text(h, h->headers[i].name), name))
			continue;
		if (n++ == 0 && value != NULL)
			*value = http1_text(h, h->headers[i].value);
	}
	return n;
}

/* One line's comma-separated list (RFC 9110 section 5.6.1). */
static bool
list_has(struct str list, const char *token)
{
	size_t from, to;

	for (size_t i = 0; i < list.n; i++) {
		for (from = i; from < list.n && (list.p[from] == ' ' || list.p[from] == '\t'); from++)
			continue;
		for (i = from; i < list.n && list.p[i] != ','; i++)
			continue;
		for (to = i; to > from && (list.p[to - 1] == ' ' || list.p[to - 1] == '\t'); to--)
			continue;
		if (str_case_eq((struct str){ list.p + from, to - from }, token))
			return true;
	}
	return false;
}

bool
http1_head_has_token(const struct http1_head *h, const char *name, const char *token)
{
	for (unsigned i = 0; i < h->header_count; i++)
		if (str_case_eq(http1_text(h, h->headers[i].name), name) &&
		    list_has(http1_text(h, h->headers[i].value), token))
			return true;
	return false;
}

bool
http1_head_keep_alive(const struct http1_head *h)
{
	if (http1_head_has_token(h, "connection", "close"))
		return false;
	return h->minor == 1 || http1_head_has_token(h, "connection", "keep-alive");
}
