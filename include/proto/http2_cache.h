/* http2_cache.h - heads as they were translated last: the same bytes come to the same again, as long as the table of their
 * connection is what it was.  Encoders index neither :path nor Content-Length, so that a whole block is what is known
 * again: of a client that calls one method over and over, or polls.
 * Of each connection there is the last request and the last answer; connections beyond the places take them from each other.
 * Pure; one for each thread. */
#ifndef PROTO_HTTP2_CACHE_H
#define PROTO_HTTP2_CACHE_H

#include "proto/hpack_encoder.h"
#include "proto/http1_head.h"
#include "proto/http2_request.h"

struct http2_cache;

/* NULL: no memory.  Pages of it that no connection needs are never touched. */
struct http2_cache *http2_cache_new(void);
void http2_cache_free(struct http2_cache *cache);

/* What a block comes to depends on, beside its bytes. */
struct http2_cache_terms {
	uint64_t connection;	/* its number; no other connection of the thread has or had it; not 0 */
	uint64_t changes;	/* of its decoder's table, before the block */
	bool end_stream;
	uint32_t max_fields, max_size;	/* as struct hpack_fields has them */
	struct http1_limits limits;	/* of the head in HTTP/1.1 */
};

/* The head of that block, which http1_head_parse() has read from its text (http1_head.base), good until the next call that keeps one; its
 * headers are those that count.  *request is filled in.  NULL: it is not known. */
const struct http1_head *http2_cache_find_request(const struct http2_cache *cache, const struct http2_cache_terms *terms, struct str block,
						  struct http2_request *request);
/* A request that was taken, by a block that has changed nothing of the table, and is no WebSocket's. */
void http2_cache_keep_request(struct http2_cache *cache, const struct http2_cache_terms *terms, struct str block,
			      const struct http2_request *request, const struct http1_head *head);

/* As http2_response_write(), by what is known if it is. */
size_t http2_cache_write_response(struct http2_cache *cache, uint64_t connection, struct str head, struct hpack_encoder *encoder,
				  char *out);

#endif
