/* http1_reason.h - why a message is refused: one table, for the answer and
 * for the log.  Any thread. */
#ifndef PROTO_HTTP1_REASON_H
#define PROTO_HTTP1_REASON_H

/* The status is what a client gets for its request; of a backend's response
 * each of them means 502. */
/*	enum                        status words */
#define HTTP1_REASON_TABLE(X) \
	X(HTTP1_FINE,                200, "nothing wrong") \
	/* the head */ \
	X(HTTP1_BARE_CR,             400, "CR without LF") \
	X(HTTP1_BARE_LF,             400, "LF without CR") \
	X(HTTP1_NUL,                 400, "NUL byte") \
	X(HTTP1_METHOD_BAD,          400, "method is not a token") \
	X(HTTP1_METHOD_LONG,         501, "method too long") \
	X(HTTP1_TARGET_BAD,          400, "forbidden character in the request target") \
	X(HTTP1_TARGET_FORM,         400, "request target has none of the four forms") \
	X(HTTP1_TARGET_LONG,         414, "request target too long") \
	X(HTTP1_LINE_LONG,           414, "request line too long") \
	X(HTTP1_VERSION_BAD,         400, "malformed HTTP version") \
	X(HTTP1_VERSION_UNKNOWN,     505, "HTTP version is neither 1.0 nor 1.1") \
	X(HTTP1_STATUS_BAD,          502, "status is not three digits from 100 to 599") \
	X(HTTP1_PHRASE_BAD,          502, "control character in the reason phrase") \
	X(HTTP1_LEADING_SPACE,       400, "white space before the first header") \
	X(HTTP1_OBS_FOLD,            400, "folded header line") \
	X(HTTP1_NAME_EMPTY,          400, "empty header name") \
	X(HTTP1_NAME_SPACE,          400, "white space before the colon") \
	X(HTTP1_NAME_BAD,            400, "header name is not a token") \
	X(HTTP1_COLON_MISSING,       400, "header line without a colon") \
	X(HTTP1_VALUE_BAD,           400, "control character in a header value") \
	X(HTTP1_HEADERS_MANY,        431, "too many header lines") \
	X(HTTP1_HEAD_LONG,           431, "head too long") \
	X(HTTP1_INTERIM_LONG,        502, "interim answers that are longer together than a head may be") \
	X(HTTP1_NAMED_MANY,          400, "Connection names too many headers") \
	/* who is asked */ \
	X(HTTP1_HOST_MISSING,        400, "no Host") \
	X(HTTP1_HOST_REPEATED,       400, "more than one Host") \
	X(HTTP1_HOST_BAD,            400, "malformed Host") \
	X(HTTP1_SCHEME_BAD,          400, "request target is neither http nor https") \
	X(HTTP1_USERINFO,            400, "user information in the request target") \
	/* the framing */ \
	X(HTTP1_LENGTH_BAD,          400, "Content-Length is not a number") \
	X(HTTP1_LENGTH_REPEATED,     400, "more than one Content-Length") \
	X(HTTP1_LENGTH_AND_CODING,   400, "Content-Length beside Transfer-Encoding") \
	X(HTTP1_CODING_IN_1_0,       400, "Transfer-Encoding in HTTP/1.0") \
	X(HTTP1_CODING_BAD,          400, "malformed Transfer-Encoding") \
	X(HTTP1_CODING_LAST,         400, "chunked is not the last transfer coding") \
	X(HTTP1_CODING_REPEATED,     400, "chunked more than once") \
	X(HTTP1_CODING_UNKNOWN,      501, "unknown transfer coding") \
	/* the body */ \
	X(HTTP1_CHUNK_SIZE_BAD,      400, "malformed chunk size") \
	X(HTTP1_CHUNK_SIZE_LONG,     400, "chunk size too large") \
	X(HTTP1_CHUNK_EXT_BAD,       400, "malformed chunk extension") \
	X(HTTP1_CHUNK_EXT_LONG,      400, "chunk extensions too long") \
	X(HTTP1_CHUNK_END_BAD,       400, "chunk data not followed by CRLF") \
	X(HTTP1_TRAILER_FORBIDDEN,   400, "header that may not be a trailer") \
	X(HTTP1_TRAILERS_LONG,       431, "trailers too long") \
	X(HTTP1_BODY_LARGE,          413, "body larger than it may be") \
	X(HTTP1_BODY_CUT,            400, "body cut short")

/* What an answer may have where it is taken leniently, although it should not:
 * how it is counted, and what it is.  In all of them the message has one meaning
 * (RFC 9112 sections 2.2, 6.3 and 7.1.1, RFC 9110 sections 8.6 and 15). */
/*	enum                       label */
#define HTTP1_ODD_TABLE(X) \
	X(HTTP1_ODD_BARE_LF,         "bare_lf")	/* lines of the head end with LF alone */ \
	X(HTTP1_ODD_STATUS,          "status")	/* 600 to 999 */ \
	X(HTTP1_ODD_LENGTH_REPEATED, "length_repeated")	/* Content-Length several times, the same */ \
	X(HTTP1_ODD_LENGTH_AND_CODING, "length_and_coding")	/* Content-Length beside chunked */ \
	X(HTTP1_ODD_NO_BODY,         "no_body_framing")	/* of one that has no body: any of the above, or worse */ \
	X(HTTP1_ODD_CHUNK_BLANK,     "chunk_blank")	/* white space after a chunk's size */

enum http1_odd {
#define X(name, label) name,
	HTTP1_ODD_TABLE(X)
#undef X
		HTTP1_ODDS
};
_Static_assert(HTTP1_ODDS <= 8, "a mask has 8 bits");

/* Its bit in a mask. */
#define HTTP1_ODD_BIT(odd) (1u << (odd))

/* The label of the metric. */
const char *http1_odd_word(enum http1_odd odd);

enum http1_reason {
#define X(name, status, words) name,
	HTTP1_REASON_TABLE(X)
#undef X
};

unsigned http1_reason_status(enum http1_reason r);
const char *http1_reason_words(enum http1_reason r);

#endif
