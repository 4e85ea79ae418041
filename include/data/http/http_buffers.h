/* http_buffers.h - what the HTTP connections of one worker share: nothing of it
 * outlives the event it is used for.
 * Thread: the owning worker. */
#ifndef DATA_HTTP_BUFFERS_H
#define DATA_HTTP_BUFFERS_H

#include "model/config.h"
#include "proto/http1_head.h"

/* What Teal may add to a head: its own lines, with a host's name and a request
 * id of the client's in them. */
#define HTTP_BUFFERS_ADDED (8 * 1024)

struct http_buffers {
	struct http1_head request, answer;
	uint64_t id[2];	/* of the next X-Request-Id: drawn once, then counted on */
	size_t size;
	char out[];	/* a head on its way out, and the body that came with it */
};

/* Large enough for the services of that configuration, and those that were there before: *buffers
 * may be NULL, and stays it while no service is of HTTP.  in_hand: bytes that come with a
 * head at most.  Aborts when memory is out. */
void http_buffers_fit(struct http_buffers **buffers, const struct config *config, size_t in_hand);

/* 32 hexadecimal digits, not terminated, that no other Teal gives. */
#define HTTP_ID 32
void http_buffers_id(struct http_buffers *r, char out[HTTP_ID]);

#endif
