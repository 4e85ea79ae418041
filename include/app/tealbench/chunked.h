/* chunked.h - reads a chunked body (RFC 9112 section 7.1), piece by piece.
 * Pure: no allocation, no copying. */
#ifndef APP_TEALBENCH_CHUNKED_H
#define APP_TEALBENCH_CHUNKED_H

#include <stdint.h>

#include "base/str.h"

enum chunked_verdict {
	CHUNKED_MORE,	/* all taken; more bytes are needed */
	CHUNKED_DATA,	/* *data is the next piece; call again with the rest */
	CHUNKED_DONE,	/* the last chunk and its trailers are behind us */
	CHUNKED_BAD,
};

struct chunked {
	uint64_t left;	/* of the chunk being read */
	unsigned state, digits;
};

void chunked_init(struct chunked *c);
/* *used says how many of p[0..n) were taken. */
enum chunked_verdict chunked_read(struct chunked *c, const char *p, size_t n, size_t *used,
				  struct str *data);

#endif
