/* proxy_protocol.h - the header by which one proxy tells the next who its
 * client is: the PROXY protocol, versions 1 (a line) and 2 (binary).
 * Pure: bytes in, verdict out.  Strict, because the header decides who the client
 * is: what is not a header by the specification is refused, and nothing is ever
 * guessed. */
#ifndef PROTO_PROXY_PROTOCOL_H
#define PROTO_PROXY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The specification's bound of a line of version 1, CR LF included. */
#define PROXY_V1_MAX 107
/* The longest header of version 2 that is taken, TLVs included.  It could be
 * 65,551 bytes; who needs more than this is not speaking PROXY. */
#define PROXY_V2_MAX 16384
/* The specification's bound of PP2_TYPE_UNIQUE_ID (section 2.2.5). */
#define PROXY_UNIQUE_ID_MAX 128
/* The longest header that proxy_header_write() makes. */
#define PROXY_WRITE_MAX 128

enum proxy_verdict {
	PROXY_NEED_MORE,	/* good so far; call again with more bytes */
	PROXY_DONE,	/* length bytes are the header; the stream begins after them */
	PROXY_BAD,	/* close: proxy_reason_words() says why */
};

/*	enum                     words */
#define PROXY_REASON_TABLE(X) \
	X(PROXY_FINE,            "nothing wrong") \
	X(PROXY_SIGNATURE,       "does not begin like a PROXY header") \
	X(PROXY_LINE_LONG,       "line longer than 107 bytes") \
	X(PROXY_LINE_END,        "CR or LF that is not CR LF") \
	X(PROXY_PROTOCOL_BAD,    "protocol is none of TCP4, TCP6 and UNKNOWN") \
	X(PROXY_ADDRESS_BAD,     "malformed address") \
	X(PROXY_PORT_BAD,        "malformed port") \
	X(PROXY_VERSION_BAD,     "binary version is not 2") \
	X(PROXY_COMMAND_BAD,     "command is neither LOCAL nor PROXY") \
	X(PROXY_FAMILY_BAD,      "address family or transport is not one of a stream") \
	X(PROXY_TOO_LONG,        "header longer than 16384 bytes") \
	X(PROXY_TOO_SHORT,       "shorter than its addresses") \
	X(PROXY_TLV_BAD,         "a TLV goes beyond the header") \
	X(PROXY_UNIQUE_ID_LONG,  "unique id longer than 128 bytes") \
	X(PROXY_CHECKSUM_BAD,    "wrong checksum")

enum proxy_reason {
#define X(name, words) name,
	PROXY_REASON_TABLE(X)
#undef X
};

const char *proxy_reason_words(enum proxy_reason r);

enum proxy_family {
	PROXY_UNKNOWN,	/* UNKNOWN or UNSPEC: nothing is said; the connection's own addresses hold */
	PROXY_IP4,	/* ip[0..4) */
	PROXY_IP6,
	PROXY_UNIX,	/* a client of a Unix socket; its path is not kept */
};

struct proxy_end {
	uint8_t ip[16];	/* network order; 0 beyond the family's length */
	uint16_t port;	/* host order */
};

struct proxy_header {
	uint8_t version;	/* 1 or 2 */
	/* The sender speaks for itself (a health check of its own): family is
	 * PROXY_UNKNOWN.  Version 1 cannot say this apart from UNKNOWN. */
	bool local;
	enum proxy_family family;
	struct proxy_end source, destination;	/* the client; where it connected to */
	size_t length;	/* of the whole header */
};

/* p[0..n) is all that arrived since the stream's first byte, or its first
 * PROXY_V2_MAX bytes.  *out is filled after PROXY_DONE, *reason after
 * PROXY_BAD; reason may be NULL.  Keeps nothing between calls, and a verdict
 * other than NEED_MORE is the same whatever follows.
 * Of version 2 TLVs are stepped over, but a CRC32c among them is checked, and so
 * is the length of a unique id. */
enum proxy_verdict
proxy_header_parse(const void *p, size_t n, struct proxy_header *out, enum proxy_reason *reason);

/* Writes a header of h->version; returns its length.  What version 1 has no
 * word for (local, PROXY_UNIX) is "PROXY UNKNOWN"; version 2 says LOCAL, and
 * UNSPEC for PROXY_UNIX. */
size_t proxy_header_write(const struct proxy_header *h, char out[PROXY_WRITE_MAX]);

#endif
