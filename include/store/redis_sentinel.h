/* redis_sentinel.h - asks the sentinels of a configuration where the master is.
 * They are tried in their order, each with its own timeout; the one that
 * answered is kept, and asked again.
 * Thread: main. */
#ifndef STORE_REDIS_SENTINEL_H
#define STORE_REDIS_SENTINEL_H

#include "store/redis_hello.h"
#include "store/redis_lookup.h"

/* OK: the master is there, says the sentinel `by`.  E_STORE: none said so. */
typedef void sentinels_fn(void *arg, enum err e, const struct redis_endpoint *master, const char *by,
			  const struct why *why);

struct sentinels {
	const struct store_config *config;
	struct ssl_ctx_st *const *tls;	/* *tls NULL: plain */
	struct wire wire;
	struct redis_hello hello;
	struct lookup lookup;
	ev_timer timer;	/* a look-up takes too long */
	char where[320];	/* "sentinel 10.0.0.5:26379" */
	char *password;
	bool reread;	/* the password was wrong: read its file again */
	bool ready;	/* hello is said */
	unsigned index;	/* whose turn it is */
	unsigned tried;	/* by this question */
	sentinels_fn *done;	/* NULL: no question is open */
	void *arg;
};

void sentinels_init(struct sentinels *s, struct ev_loop *loop, const struct store_config *config,
		    struct jobs *jobs, struct ssl_ctx_st *const *tls);
/* done is called once, from inside when no sentinel can even be tried; not
 * after sentinels_stop().  One question at a time. */
void sentinels_ask(struct sentinels *s, sentinels_fn *done, void *arg);
static inline bool
sentinels_are_asked(const struct sentinels *s)
{
	return s->done != NULL;
}
/* The last answer led nowhere: the next question goes to the next one. */
void sentinels_doubt(struct sentinels *s);
/* Forgets the question, if any. */
void sentinels_stop(struct sentinels *s);
/* Ends everything; s may go away. */
void sentinels_end(struct sentinels *s);

/* "10.0.0.5:6379", "[fd00::1]:6379", "redis.internal:6379" */
void redis_endpoint_format(const struct redis_endpoint *e, char *text, size_t size);

#endif
