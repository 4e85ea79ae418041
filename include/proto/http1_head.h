/* http1_head.h - the head of an HTTP/1.x request or response (RFC 9112),
 * strictly.
 * One pass, incremental, pure: bytes in, verdict out; it never allocates.
 * What is ambiguous is refused, because a proxy that guesses differently from
 * its neighbour lets messages be smuggled.  Only the head's grammar is judged
 * here: http1_body frames what follows, http1_host reads who is asked. */
#ifndef PROTO_HTTP1_HEAD_H
#define PROTO_HTTP1_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "proto/http1_name.h"
#include "proto/http1_reason.h"

/* No more header lines than this, whatever the limits say. */
#define HTTP1_HEADERS_MAX 256
#define HTTP1_HEADERS_DEFAULT 128
/* A longer method: 501. */
#define HTTP1_METHOD_MAX 32
/* More names in Connection than these, not counting close, keep-alive,
 * upgrade and te: 400.  Each is looked for among the headers. */
#define HTTP1_NAMED_MAX 32

enum http1_verdict {
	HTTP1_NEED_MORE,	/* good so far; call again with more bytes */
	HTTP1_DONE,	/* length bytes are the head, blank line included */
	HTTP1_BAD,	/* see reason; answer and close */
};

/* RFC 9112 section 3.2. */
enum http1_form {
	HTTP1_ORIGIN,	/* "/path?query" */
	HTTP1_ABSOLUTE,	/* "http://host/path" */
	HTTP1_AUTHORITY,	/* "host:port", with CONNECT only */
	HTTP1_ASTERISK,	/* "*", with OPTIONS only */
};

/* Methods are case-sensitive: "get" is HTTP1_EXTENSION. */
enum http1_verb {
	HTTP1_EXTENSION,	/* any other token */
	HTTP1_GET,
	HTTP1_HEAD,
	HTTP1_POST,
	HTTP1_PUT,
	HTTP1_DELETE,
	HTTP1_CONNECT,
	HTTP1_OPTIONS,
	HTTP1_TRACE,
	HTTP1_PATCH,
};

/* What Connection says, over all its lines: bits of http1_head.connection. */
#define HTTP1_C_CLOSE 1
#define HTTP1_C_KEEP_ALIVE 2
#define HTTP1_C_UPGRADE 4
#define HTTP1_C_NAMED 8	/* it names headers of this message: they carry HTTP1_HOP */

/* A piece of the caller's bytes, as an offset: it stays good when the buffer
 * is moved between two calls.  http1_text() makes it readable. */
struct http1_slice {
	uint32_t at, n;
};

/* The bits of http1_header.flags. */
#define HTTP1_HOP 1	/* named in Connection, and not one that cannot be (RFC 9110 section 7.6.1) */

struct http1_header {
	struct http1_slice name;	/* as sent; compare without regard to case */
	struct http1_slice value;	/* white space around it is left out */
	uint8_t id;	/* enum http1_name */
	uint8_t alias;	/* HTTP1_OTHER, or the one it passes for behind CGI (http1_name_alias) */
	uint8_t flags;
};

struct http1_limits {
	uint32_t head;	/* bytes of the whole head, 1 GiB at most */
	uint32_t target;	/* bytes of the request target; more: 414 */
	uint16_t headers;	/* lines; more: 431.  HTTP1_HEADERS_MAX at most */
	bool utf8_target;	/* characters beyond ASCII, well-formed, may stand in the target */
};

struct http1_head {
	/* Read these after HTTP1_DONE. */
	size_t length;	/* bytes of the head; the body begins after them */
	struct http1_slice method, target;	/* of a request */
	struct http1_slice phrase;	/* of a response; may be empty */
	enum http1_form form;
	enum http1_verb verb;
	unsigned status;	/* 100..599, leniently 100..999; of a request 0 */
	unsigned minor;	/* HTTP/1.minor: 0 or 1; a later one of a response counts as 1 */
	unsigned header_count;
	unsigned connection;	/* HTTP1_C_… */
	uint64_t seen;	/* HTTP1_BIT() of each name that is there */
	uint64_t repeated;	/* of each that has several lines */
	uint64_t aliases;	/* of each alias that is there */
	/* After HTTP1_BAD; of the above there is what stood before the wrong byte,
	 * and length is 0. */
	enum http1_reason reason;

	/* The parser's own. */
	const char *base;
	size_t at;	/* bytes consumed */
	struct http1_limits limits;
	size_t mark;	/* where the piece being read begins */
	size_t value_end;	/* after the value's last byte that is no white space */
	unsigned char state;
	bool response;
	/* Before any byte, of a response: what has one meaning is taken although it
	 * should not be there; odd tells of it. */
	bool lenient;
	uint8_t odd;	/* HTTP1_ODD_BIT() of each that is there */
	enum http1_verdict verdict;
	uint8_t first[HTTP1_NAMES];	/* index of the name's first line, where seen has its bit */
	struct http1_header headers[HTTP1_HEADERS_MAX];	/* header_count of them */
};

/* Ready for the first byte of a request.  A head of limit bytes or less is
 * taken, with HTTP1_HEADERS_DEFAULT lines and a target of any length within;
 * limit at most 1 GiB.  A longer one: 414 when it is not even through its
 * request line, 431 otherwise. */
void http1_head_init(struct http1_head *h, size_t limit);
/* The same for a response.  Whatever is wrong with one is a 502 to the client. */
void http1_head_init_response(struct http1_head *h, size_t limit);
/* Instead of the limits that the two above have set; before any byte. */
void http1_head_limit(struct http1_head *h, const struct http1_limits *limits);

/* p[0..n) is all that arrived since the message's first byte: the bytes of
 * the last call, unchanged but perhaps elsewhere, and what came since.  The
 * verdict does not depend on how the bytes were cut into calls; once DONE or
 * BAD it stays.  Empty lines before a request line are skipped (RFC 9112 section
 * 2.2); they count towards the head's length. */
enum http1_verdict http1_head_parse(struct http1_head *h, const char *p, size_t n);

/* Nothing but empty lines has come so far: no request has begun. */
bool http1_head_is_blank(const struct http1_head *h);

/* The bytes of a slice, in the buffer of the last http1_head_parse(). */
static inline struct str
http1_text(const struct http1_head *h, struct http1_slice s)
{
	return (struct str){ h->base + s.at, s.n };
}

/* RFC 9110 section 5.6.2. */
bool http1_is_token(char c);

static inline bool
http1_head_has(const struct http1_head *h, enum http1_name name)
{
	return (h->seen & HTTP1_BIT(name)) != 0;
}

/* The value of a known name's first line; {"", 0} when there is none. */
static inline struct str
http1_head_get(const struct http1_head *h, enum http1_name name)
{
	return http1_head_has(h, name) ? http1_text(h, h->headers[h->first[name]].value) : STR("");
}

/* How many headers have that name (ASCII, any case); *value is the first
 * one's when there is one.  value may be NULL. */
unsigned http1_head_find(const struct http1_head *h, const char *name, struct str *value);

/* Does a comma-separated header, over all its lines, hold that token, in any
 * case?  http1_head_has_token(h, "te", "trailers") */
bool http1_head_has_token(const struct http1_head *h, const char *name, const char *token);

/* May the connection serve another message after this one (RFC 9112
 * section 9.3)? */
bool http1_head_keep_alive(const struct http1_head *h);

/* Does the client ask to go on in another protocol: HTTP/1.1, Upgrade, and
 * Connection says so (RFC 9110 section 7.8)?  Of a response: 101 likewise. */
bool http1_head_upgrades(const struct http1_head *h);

/* Of a 101: is there an Upgrade, and all that it names among `asked`, the
 * protocols of the request with commas between (RFC 9110 section 7.8)? */
bool http1_head_switches_to(const struct http1_head *h, struct str asked);

/* May the request be sent a second time (RFC 9110 section 9.2.2)?  An
 * extension method may not: its effect is unknown. */
bool http1_head_idempotent(const struct http1_head *h);

/* Does it log in, or offer a login (401, 407), by a scheme whose outcome belongs to
 * the connection and not to the request (NTLM, Negotiate)?  RFC 4559 section 6:
 * such a connection may serve no other client. */
bool http1_head_binds(const struct http1_head *h);

enum http1_expect {
	HTTP1_EXPECT_NONE,	/* of HTTP/1.0 whatever it says (RFC 9110 section 10.1.1) */
	HTTP1_EXPECT_CONTINUE,
	HTTP1_EXPECT_UNKNOWN,	/* 417 */
};
enum http1_expect http1_head_expect(const struct http1_head *h);

/* How heads are scanned.  The fastest that the CPU has is chosen when the
 * program starts; the verdict is always the same.  For tests and benchmarks:
 * false, and no change, when this CPU or compiler has no such way. */
enum http1_path {
	HTTP1_PATH_PLAIN,	/* byte by byte, any CPU */
	HTTP1_PATH_SSE42,	/* 16 bytes at a time */
	HTTP1_PATH_AVX2,	/* 32 bytes at a time */
};
bool http1_head_use(enum http1_path path);

#endif
