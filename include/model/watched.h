/* watched.h - the nodes of a pool as a Kubernetes API tells them, and what becomes of each: a set
 * that lists and events change, and one table of decisions.
 * Values with memory of their own; any one thread.  Times are wall clock, microseconds. */
#ifndef MODEL_WATCHED_H
#define MODEL_WATCHED_H

#include "model/kube_node.h"
#include "model/node.h"
#include "model/quorum.h"

/* Nodes of one pool: what Kubernetes supports as one cluster. */
#define WATCHED_MAX 5000

/* Why a node has the wish that it has; the words are in watched_why_word(). */
enum watched_why {
	WATCHED_READY,
	WATCHED_EXCLUDED,	/* drains: the label */
	WATCHED_TAINTED,	/* drains: it is about to be taken down */
	WATCHED_DELETING,	/* drains: likewise */
	WATCHED_CORDONED,	/* drains, while enough others are ready */
	WATCHED_DELETED,	/* drains: the API has it no more */
	WATCHED_CORDON_IGNORED,	/* ready: with it gone less than min_ready would be */
	WATCHED_LAST	/* ready whatever is said of it: without it the pool would have none */
};
#define WATCHED_WHYS (WATCHED_LAST + 1)

struct watched {
	struct kube_node node;
	bool deleted;	/* the API has it no more */
	/* Decided. */
	enum node_wish wish;	/* READY or DRAIN */
	enum watched_why why;
	int64_t since_us;	/* since when that is why */
};

struct watched_set {
	struct watched *list;	/* by node.name */
	size_t n;
	bool news;	/* nodes came, or have other addresses or taints, since it was last decided */
};

/* "ready" "excluded" "tainted" "deleting" "cordoned" "deleted" "cordon ignored" "last". */
const char *watched_why_word(enum watched_why w);
bool watched_why_from_word(const char *word, enum watched_why *out);

/* NULL: there is none of that name. */
struct watched *watched_find(const struct watched_set *s, const char *name);
/* The node is this now; older than what is known of it: nothing changes.  False: there are WATCHED_MAX others. */
bool watched_put(struct watched_set *s, const struct kube_node *node, int64_t now_us);
/* The API has it no more. */
void watched_delete(struct watched_set *s, const char *name);
/* The whole of a list, n nodes: what it lacks is deleted.  False: it has more than WATCHED_MAX, and nothing changes. */
bool watched_replace(struct watched_set *s, const struct kube_node *list, size_t n, int64_t now_us);
/* What becomes of each; a pure function of the nodes, of what was decided before and since when.  True: something
 * is another than when that was last asked.  Nodes that were deleted before `forget_us` are gone afterwards, unless they are all there is. */
bool watched_decide(struct watched_set *s, const struct quorum *min_ready, int64_t now_us, int64_t forget_us);
/* As it was decided before: of what was kept. */
void watched_set_why(struct watched *w, enum watched_why why);
/* What is known of versions is forgotten: whatever comes next is newer. */
void watched_forget_versions(struct watched_set *s);
/* How many have that why. */
size_t watched_count(const struct watched_set *s, enum watched_why why);
/* *to becomes a copy; what it was is freed. */
void watched_copy(struct watched_set *to, const struct watched_set *from);
void watched_free(struct watched_set *s);

/* The same nodes by their addresses, which is what pools go by: sorted by host, each once (of two with one
 * address the one that is not deleted), those without address left out. */
void watched_by_host(struct watched_set *to, const struct watched_set *from);
/* The same nodes by their names again. */
void watched_by_name(struct watched_set *to, const struct watched_set *from);
/* In a set by host, for an address however written, or a name; NULL: there is none. */
const struct watched *watched_at_host(const struct watched_set *by_host, const char *host);

#endif
