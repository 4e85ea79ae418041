/* http1_machine.h - private: what the files of the head's parser share: states,
 * classes of bytes, verdicts.  Pure; any thread. */
#ifndef PROTO_HTTP1_MACHINE_H
#define PROTO_HTTP1_MACHINE_H

#include "base/check.h"
#include "proto/http1_head.h"

enum http1_state {
	S_START,	/* before the request line: empty lines may come */
	S_START_LF,
	S_METHOD,
	S_TARGET,
	S_VERSION,
	S_STATUS_VERSION,	/* of a response */
	S_STATUS,
	S_PHRASE,
	S_FIRST_LF,	/* the CR of the first line is behind us */
	S_LINE,	/* at the first byte of a header line */
	S_NAME,
	S_PAD,	/* white space after the colon */
	S_VALUE,
	S_VALUE_LF,
	S_END_LF,
};

/* What a byte may be part of. */
#define C_TOKEN 1	/* RFC 9110 section 5.6.2: method and header name */
#define C_TARGET 2	/* visible ASCII but '#': a fragment is never sent */
#define C_VALUE 4	/* visible, space, tab, obs-text */
#define C_HOST 8	/* RFC 3986: unreserved / sub-delims */
extern const unsigned char http1_class[256];

typedef enum http1_verdict http1_parse_fn(struct http1_head *h, const char *p, size_t end);
http1_parse_fn http1_parse_plain, http1_parse_sse42, http1_parse_avx2;

/* All return false, so that a step can end with them. */
bool http1_bad(struct http1_head *h, enum http1_reason reason);
/* Is it well-formed UTF-8 without controls? */
bool http1_is_utf8(const char *p, size_t n);
bool http1_bad_byte(struct http1_head *h, unsigned char c, enum http1_reason otherwise);
/* After the first line of a request: is its target one of the four forms? */
bool http1_judge_target(struct http1_head *h);
/* After the blank line: the verdict. */
bool http1_finish(struct http1_head *h);

#endif
