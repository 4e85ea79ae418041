/* http_buffers.c - scratch space of a worker's HTTP connections.
 * Thread: owning worker. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "data/http/http_buffers.h"

void
http_buffers_fit(struct http_buffers **buffers, const struct config *config, size_t in_hand)
{
	struct http_buffers *r, *old = *buffers;
	size_t longest = 0, size;

	for (size_t i = 0; i < config->n_services; i++) {
		const struct service_config *s = &config->services[i];

		if (s->mode == MODE_HTTP && s->http.max_header_size > longest)
			longest = s->http.max_header_size;
	}
	/* An answer's head is held to the same limit. */
	size = longest + HTTP_BUFFERS_ADDED + in_hand;
	if (longest == 0 || (old != NULL && old->size >= size))
		return;
	r = must_alloc(sizeof(*r) + size);
	r->size = size;
	if (old != NULL)
		memcpy(r->id, old->id, sizeof(r->id));
	else if (getrandom(r->id, sizeof(r->id), 0) != (ssize_t)sizeof(r->id))
		r->id[0] = (uint64_t)clock_wall_us() ^ (uint64_t)(uintptr_t)r;
	free(old);
	*buffers = r;
}

void
http_buffers_id(struct http_buffers *r, char out[HTTP_ID])
{
	static const char hex[] = "0123456789abcdef";

	/* Steps by an odd number pass through all values before one returns. */
	r->id[1] += UINT64_C(0x9e3779b97f4a7c15);
	for (int i = 0; i < 16; i++) {
		out[i] = hex[r->id[0] >> (60 - 4 * i) & 15];
		out[16 + i] = hex[r->id[1] >> (60 - 4 * i) & 15];
	}
}
