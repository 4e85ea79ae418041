/* http1_head.h - the head of an HTTP/1.x request (RFC 9112), strictly.
 * One pass, incremental, pure: bytes in, verdict out; it never allocates and
 * never looks at a byte twice.  What is ambiguous is refused, because a proxy
 * that guesses differently from its backend lets requests be smuggled.
 * Only the head's grammar is judged here: what Host, Content-Length or
 * Transfer-Encoding mean is for whoever frames the body. */
#ifndef PROTO_HTTP1_HEAD_H
#define PROTO_HTTP1_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* More header lines than this: 431. */
#define HTTP1_HEADERS_MAX 128
/* A longer method: 501. */
#define HTTP1_METHOD_MAX 32

enum http1_verdict {
	HTTP1_NEED_MORE,	/* good so far; call again with more bytes */
	HTTP1_DONE,	/* length bytes are the head, blank line included */
	HTTP1_BAD,	/* answer http1_reason_status() and close */
};

/*	enum                      status words */
#define HTTP1_REASON_TABLE(X) \
	X(HTTP1_FINE,              200, "nothing wrong") \
	X(HTTP1_BARE_CR,           400, "CR without LF") \
	X(HTTP1_BARE_LF,           400, "LF without CR") \
	X(HTTP1_NUL,               400, "NUL byte") \
	X(HTTP1_METHOD_BAD,        400, "method is not a token") \
	X(HTTP1_METHOD_LONG,       501, "method too long") \
	X(HTTP1_TARGET_BAD,        400, "forbidden character in the request target") \
	X(HTTP1_TARGET_FORM,       400, "request target has none of the four forms") \
	X(HTTP1_LINE_LONG,         414, "request line too long") \
	X(HTTP1_VERSION_BAD,       400, "malformed HTTP version") \
	X(HTTP1_VERSION_UNKNOWN,   505, "HTTP version is neither 1.0 nor 1.1") \
	X(HTTP1_LEADING_SPACE,     400, "white space before the first header") \
	X(HTTP1_OBS_FOLD,          400, "folded header line") \
	X(HTTP1_NAME_EMPTY,        400, "empty header name") \
	X(HTTP1_NAME_SPACE,        400, "white space before the colon") \
	X(HTTP1_NAME_BAD,          400, "header name is not a token") \
	X(HTTP1_COLON_MISSING,     400, "header line without a colon") \
	X(HTTP1_VALUE_BAD,         400, "control character in a header value") \
	X(HTTP1_HEADERS_MANY,      431, "too many header lines") \
	X(HTTP1_HEAD_LONG,         431, "request head too long")

enum http1_reason {
#define X(name, status, words) name,
	HTTP1_REASON_TABLE(X)
#undef X
};

/* RFC 9112 section 3.2. */
enum http1_form {
	HTTP1_ORIGIN,	/* "/path?query" */
	HTTP1_ABSOLUTE,	/* "http://host/path" */
	HTTP1_AUTHORITY,	/* "host:port", with CONNECT only */
	HTTP1_ASTERISK,	/* "*", with OPTIONS only */
};

/* A piece of the caller's bytes, as an offset: it stays good when the buffer
 * is moved between two calls.  http1_text() makes it readable. */
struct http1_slice {
	uint32_t at, n;
};

struct http1_header {
	struct http1_slice name;	/* as sent; compare without regard to case */
	struct http1_slice value;	/* white space around it is left out */
};

struct http1_head {
	/* Read these after HTTP1_DONE. */
	size_t length;	/* bytes of the head; the body begins after them */
	struct http1_slice method, target;
	enum http1_form form;
	unsigned minor;	/* HTTP/1.minor: 0 or 1 */
	unsigned header_count;
	/* After HTTP1_BAD. */
	enum http1_reason reason;

	/* The parser's own. */
	const char *base;
	size_t at;	/* bytes consumed */
	size_t limit;
	size_t mark;	/* where the piece being read begins */
	size_t value_end;	/* after the value's last byte that is no white space */
	unsigned char state;
	enum http1_verdict verdict;
	struct http1_header headers[HTTP1_HEADERS_MAX];	/* header_count of them */
};

/* Ready for the first byte of a request.  A head of limit bytes or less is
 * taken; limit at most 1 GiB.  A longer one: 414 when it is not even through
 * its request line, 431 otherwise. */
void http1_head_init(struct http1_head *h, size_t limit);

/* p[0..n) is all that arrived since the request's first byte: the bytes of
 * the last call, unchanged but perhaps elsewhere, and what came since.  The
 * verdict does not depend on how the bytes were cut into calls; once DONE or
 * BAD it stays.  One empty line before the request line is skipped. */
enum http1_verdict http1_head_parse(struct http1_head *h, const char *p, size_t n);

unsigned http1_reason_status(enum http1_reason r);
const char *http1_reason_words(enum http1_reason r);

/* The bytes of a slice, in the buffer of the last http1_head_parse(). */
static inline struct str
http1_text(const struct http1_head *h, struct http1_slice s)
{
	return (struct str){ h->base + s.at, s.n };
}

/* How many headers have that name (ASCII, any case); *value is the first
 * one's when there is one.  value may be NULL. */
unsigned http1_head_find(const struct http1_head *h, const char *name, struct str *value);

/* Does a comma-separated header, over all its lines, hold that token, in any
 * case?  http1_head_has_token(h, "connection", "close") */
bool http1_head_has_token(const struct http1_head *h, const char *name, const char *token);

/* May the connection serve another request after this one (RFC 9112
 * section 9.3)? */
bool http1_head_keep_alive(const struct http1_head *h);

#endif
