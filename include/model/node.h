/* node.h - what was said at runtime about the nodes of a pool: an overlay on
 * the configuration, which wins until it is taken back.
 * Values with memory of their own; any one thread. */
#ifndef MODEL_NODE_H
#define MODEL_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODE_HOST 256	/* of a host, with NUL */
/* Nodes an overlay may speak of. */
#define NODES_MAX 1000

/* READY: it is a node of the pool, configured or not.  DRAIN: likewise, and
 * gets nothing new.  REMOVED: it is none, though it may be configured. */
enum node_wish { NODE_READY, NODE_DRAIN, NODE_REMOVED };

/* When it was said, and of a node that is drained how its connections end. */
struct node_terms {
	int64_t since_us;	/* the store's clock; 0: not known */
	int64_t timeout_us;	/* from then on its connections are ended within so long; < 0: they stay */
	int64_t spread_us;	/* over so long that is spread; < 0: over the drain.spread of each service */
};
/* Nothing was said but the wish. */
#define NODE_NO_TERMS ((struct node_terms){ 0, -1, -1 })
/* The longest timeout and spread. */
#define NODE_TERMS_MAX_US (INT64_C(7) * 86400 * 1000000)

struct node {
	char host[NODE_HOST];	/* as first written, in the configuration or a command */
	enum node_wish wish;
	struct node_terms terms;
};

/* All zero: nothing was said. */
struct overlay {
	uint64_t version;	/* one more for each change; never less */
	bool forced;	/* the change skipped the judgement: others obey without theirs */
	struct node *list;
	size_t n;
};

/* As stores keep it: "ready" "drain" "removed". */
const char *node_wish_word(enum node_wish w);
bool node_wish_from_word(const char *word, enum node_wish *out);

/* An address without port, or the name of a host. */
bool node_is_host(const char *host);
/* The same address, however written, or the same name. */
bool node_same_host(const char *a, const char *b);

struct pool_config;
/* The configuration lists it. */
bool pool_has_host(const struct pool_config *p, const char *host);

/* NULL: nothing was said about it. */
const struct node *overlay_find(const struct overlay *o, const char *host);
/* What the overlay makes of a host that is configured or not: REMOVED also for what never was a node. */
enum node_wish overlay_wish(const struct overlay *o, bool configured, const char *host);
/* Says it, without terms; false when there are NODES_MAX others.  host is valid. */
bool overlay_set(struct overlay *o, const char *host, enum node_wish wish);
/* Of a host that something was said about. */
void overlay_set_terms(struct overlay *o, const char *host, const struct node_terms *terms);
/* Are the connections of a node that is drained ended? */
static inline bool
node_ends(const struct node *n)
{
	return n->wish == NODE_DRAIN && n->terms.timeout_us >= 0;
}
bool node_terms_same(const struct node_terms *a, const struct node_terms *b);
/* Takes back what was said about it. */
void overlay_unset(struct overlay *o, const char *host);
/* The same wishes for the same hosts in any order; terms, version and forced do not matter. */
bool overlay_same(const struct overlay *a, const struct overlay *b);
/* The same terms, too. */
bool overlay_same_terms(const struct overlay *a, const struct overlay *b);
/* to becomes a copy; what it was is freed. */
void overlay_copy(struct overlay *to, const struct overlay *from);
/* It is all zero afterwards. */
void overlay_free(struct overlay *o);

#endif
