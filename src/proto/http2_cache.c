/* http2_cache.c - heads as they were translated last.  Pure; any thread, one at a time. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "proto/http2_cache.h"
#include "proto/http2_response.h"

/* Connections that have a place at once. */
#define PLACES 64
/* What is longer is not kept. */
#define BLOCK_MOST 256
#define TEXT_MOST 1024
#define HEADERS_MOST 24
#define RUNS_MOST 4
#define HEAD_BYTES(n) (offsetof(struct http1_head, headers) + (n) * sizeof(struct http1_header))

struct request_place {
	uint64_t connection;	/* whose it is; 0: none's */
	uint64_t changes;	/* of its decoder's table until then */
	uint32_t max_fields, max_size;
	uint32_t n_block;
	struct http2_request request;
	_Alignas(struct http1_head) char head[HEAD_BYTES(HEADERS_MOST)];	/* how it begins */
	char block[BLOCK_MOST], text[TEXT_MOST];
};

/* Lines one behind the other that come to the same as long as no table changes. */
struct run {
	uint16_t text, text_end;	/* where they are */
	uint16_t block, block_end;
};

/* Between two runs there is one line, that differs each time as far as the encoder knows: X-Request-Id. */
struct answer_place {
	uint64_t connection;	/* as above */
	uint64_t changes;	/* of its encoder's */
	unsigned n;	/* runs */
	struct run runs[RUNS_MOST];
	char block[BLOCK_MOST], text[TEXT_MOST];
};

struct http2_cache {
	struct request_place requests[PLACES];
	struct answer_place answers[PLACES];
};

struct http2_cache *
http2_cache_new(void)
{
	return calloc(1, sizeof(struct http2_cache));
}

void
http2_cache_free(struct http2_cache *cache)
{
	free(cache);
}

/* -- requests ------------------------------------------------------------------------ */

static bool
are_same_limits(const struct http1_limits *a, const struct http1_limits *b)
{
	return a->head == b->head && a->target == b->target && a->headers == b->headers && a->utf8_target == b->utf8_target;
}

const struct http1_head *
http2_cache_find_request(const struct http2_cache *cache, const struct http2_cache_terms *terms, struct str block,
			 struct http2_request *request)
{
	const struct request_place *p = &cache->requests[terms->connection % PLACES];
	const struct http1_head *head = (const struct http1_head *)(const void *)p->head;

	if (p->connection != terms->connection || p->changes != terms->changes ||
	    p->n_block != block.n || memcmp(p->block, block.p, block.n) != 0)
		return NULL;
	if (p->request.end_stream != terms->end_stream || p->max_fields != terms->max_fields || p->max_size != terms->max_size ||
	    !are_same_limits(&head->limits, &terms->limits))
		return NULL;
	*request = p->request;
	return head;
}

void
http2_cache_keep_request(struct http2_cache *cache, const struct http2_cache_terms *terms, struct str block,
			 const struct http2_request *request, const struct http1_head *head)
{
	struct request_place *p = &cache->requests[terms->connection % PLACES];

	CHECK(terms->connection != 0 && !request->websocket && request->end_stream == terms->end_stream && head->verdict == HTTP1_DONE);
	if (block.n > BLOCK_MOST || request->n > TEXT_MOST || head->header_count > HEADERS_MOST)
		return;
	p->connection = terms->connection;
	p->changes = terms->changes;
	p->max_fields = terms->max_fields;
	p->max_size = terms->max_size;
	p->n_block = (uint32_t)block.n;
	p->request = *request;
	p->request.websocket_key = NULL;
	memcpy(p->block, block.p, block.n);
	memcpy(p->text, head->base, request->n);
	memcpy(p->head, head, HEAD_BYTES(head->header_count));
	((struct http1_head *)(void *)p->head)->base = p->text;
}

/* -- answers -------------------------------------------------------------------------- */

/* All lines, one by one: the runs among them are kept. */
static size_t
write_anew(struct answer_place *place, uint64_t connection, struct str head, struct hpack_encoder *encoder, char *out)
{
	uint64_t changes = encoder->table.changes;
	uint32_t judged = encoder->judged;
	struct run runs[RUNS_MOST] = { 0 };
	unsigned n = 0;
	struct http2_response r;
	char *p = http2_response_begin(&r, head, encoder, out), *end = NULL;
	/* The status is a part of the first run, or nothing is. */
	bool kept = head.n <= TEXT_MOST && encoder->judged == judged;

	place->connection = 0;
	judged = encoder->judged;
	for (; p != NULL; p = http2_response_line(&r, p)) {
		if (encoder->judged != judged && n + 1 < RUNS_MOST)
			runs[++n] = (struct run){ .text = (uint16_t)r.at, .block = (uint16_t)(p - out) };
		else
			kept &= encoder->judged == judged;
		judged = encoder->judged;
		end = p;
		kept &= p - out <= BLOCK_MOST;
		runs[n].text_end = (uint16_t)r.at;
		runs[n].block_end = (uint16_t)(p - out);
	}
	if (end == NULL)
		return 0;
	if (!kept || r.switched || encoder->table.changes != changes)
		return (size_t)(end - out);
	place->connection = connection;
	place->changes = changes;
	place->n = n + 1;
	memcpy(place->runs, runs, sizeof(runs));
	memcpy(place->block, out, (size_t)(end - out));
	memcpy(place->text, head.p, head.n);
	return (size_t)(end - out);
}

/* The run that begins there; false: other lines do. */
static bool
write_run(const struct answer_place *place, const struct run *run, struct http2_response *r, char **out)
{
	size_t n = run->text_end - (size_t)run->text, n_block = run->block_end - (size_t)run->block;

	if (r->head.n - r->at < n || memcmp(place->text + run->text, r->head.p + r->at, n) != 0)
		return false;
	memcpy(*out, place->block + run->block, n_block);
	*out += n_block;
	r->at += n;
	return true;
}

size_t
http2_cache_write_response(struct http2_cache *cache, uint64_t connection, struct str head, struct hpack_encoder *encoder, char *out)
{
	struct answer_place *place = &cache->answers[connection % PLACES];
	struct http2_response r = { .head = head, .encoder = encoder };
	char *p = out, *next;

	CHECK(connection != 0);
	if (place->connection != connection || place->changes != encoder->table.changes || !write_run(place, &place->runs[0], &r, &p))
		return write_anew(place, connection, head, encoder, out);
	for (unsigned i = 1; i < place->n; i++) {
		if ((next = http2_response_line(&r, p)) == NULL)
			break;
		p = next;
		/* What follows is not what it was: the next one is looked at anew. */
		if (place->changes != encoder->table.changes || !write_run(place, &place->runs[i], &r, &p)) {
			place->connection = 0;
			break;
		}
	}
	while ((next = http2_response_line(&r, p)) != NULL)
		p = next;
	return (size_t)(p - out);
}
