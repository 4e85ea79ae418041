/* kube_watch.h - follows the nodes of one pool at a Kubernetes API, on a thread of its own: lists, watches, lists again
 * after every end that is not clean, and tells main what came of it.  The last known set is kept in state_dir.
 * Thread: main, but for what says otherwise. */
#ifndef CONTROL_KUBE_WATCH_H
#define CONTROL_KUBE_WATCH_H

#include <ev.h>

#include "base/buf.h"
#include "model/config.h"
#include "model/watched.h"

struct kube_watch;

/* What the thread tells. */
struct kube_news {
	bool changed;	/* by_host is another one than before */
	struct watched_set by_host;	/* the receiver's if changed: it takes what it keeps, and leaves it all zero */
	struct buf text;	/* the whole set as JSON, if it is asked for and the API changed or listed it: the receiver's likewise */
	bool fresh;	/* the API has said something just now */
	bool listed;	/* a whole list was taken */
	char problem[256];	/* why the API tells nothing now; "": it does */
	bool watch_ended;	/* problem says how a watch ended; a list follows */
	char server[HTTP_URL_ORIGIN];	/* that was asked last */
};
typedef void kube_news_fn(void *arg, struct kube_news *news);

/* Begins to follow: config is of the tree, of which the thread holds a reference.  seed: what is known already, in any order; NULL:
 * what state_dir has, told as the first news.  shared: news have the set as text, too.  Aborts when it cannot. */
struct kube_watch *kube_watch_new(struct ev_loop *loop, const struct config *tree, const struct pool_config *config,
				  const struct watched_set *seed, bool shared, kube_news_fn *on_news, void *arg);
/* on_news() is not called any more; the thread ends, which is waited for up to so many seconds.  *wp is NULL on return. */
void kube_watch_free(struct kube_watch **wp, double seconds);

#endif
