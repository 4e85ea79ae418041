/* pipes.h - a pool of pipes for splice(2), one pool a worker.
 * Sized to 256 KiB: with the default of 64 KiB splicing is slower than
 * copying. */
#ifndef NET_PIPES_H
#define NET_PIPES_H

#include <stddef.h>

struct pipe {
	struct pipe *next;
	int rd, wr;
	size_t capacity;	/* bytes */
	size_t held;	/* bytes inside */
};

struct pipes {
	struct pipe *idle;
	unsigned n_idle;
	unsigned n_used;
	unsigned max_used;	/* never more in use */
};

void pipes_init(struct pipes *pool, unsigned max_used);
void pipes_free(struct pipes *pool);
/* NULL when there are too many, or no descriptors, or only tiny pipes to be
 * had: copy instead. */
struct pipe *pipes_take(struct pipes *pool);
/* One of another process, with so many bytes inside; there may be too many then, until some are given back.  NULL
 * without memory: then the descriptors stay the caller's. */
struct pipe *pipes_adopt(struct pipes *pool, int rd, int wr, size_t held);
/* A pipe with bytes inside is closed, an empty one kept for the next. */
void pipes_give(struct pipes *pool, struct pipe *p);

#endif
