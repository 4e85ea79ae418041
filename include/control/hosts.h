/* hosts.h - what host names mean: looked up on helper threads, again and
 * again; the last good answer is kept whatever happens later.
 * Thread: main. */
#ifndef CONTROL_HOSTS_H
#define CONTROL_HOSTS_H

#include <ev.h>

#include "base/list.h"
#include "model/node.h"
#include "net/addr.h"

struct hosts;

struct hostname {
	struct link link;	/* of the names with that hash */
	char host[NODE_HOST];
	struct addr *list;	/* the last good answer (addr_resolve_all) */
	size_t n;	/* 0: there was none yet */
	char problem[200];	/* why the last look-up failed; "" after a good one */
	/* The rest is hosts.c's. */
	struct hosts *hosts;
	bool slow;	/* the last look-up took long */
	bool tried;	/* of hosts_try() alone */
	bool used;	/* since hosts_review_begin() */
	double least;	/* likewise: the shortest interval */
	double interval;	/* 0: not again once it is found */
	ev_timer due;
	struct hosts_job *asking;	/* NULL: no look-up is under way */
};

struct hosts_events {
	/* A look-up is over, whatever came out. */
	void (*answered)(void *arg, const struct hostname *name);
	/* Is it of any use still?  Else it is forgotten. */
	bool (*wanted)(void *arg, const struct hostname *name);
	void *arg;
};

/* Names are log lines' where: "name.failed", "name.found". */
struct hosts *hosts_new(struct ev_loop *loop, const struct hosts_events *events);
/* Does not wait long for look-ups that hang. */
void hosts_free(struct hosts **np);

/* The name, which is known or being asked for from now on, and again at least
 * every interval seconds (0: once it was found, no more); valid until wanted()
 * says no. */
const struct hostname *hosts_watch(struct hosts *n, const char *host, double interval);
/* NULL: it is watched, and what is known of it stays so.  Else it is asked for, and
 * answered() follows; nothing is logged of it, and it is forgotten after a minute, unless it is
 * watched by then. */
const struct hostname *hosts_try(struct hosts *n, const char *host);

/* Those that are not used any more are forgotten: hosts_use() is called for all that are,
 * in between. */
void hosts_review_begin(struct hosts *n);
void hosts_use(struct hosts *n, const char *host, double interval);
void hosts_review_end(struct hosts *n);

/* Asks again now: answered() follows. */
void hosts_ask(struct hosts *n, const struct hostname *name);
/* NULL: it is not watched. */
const struct hostname *hosts_find(const struct hosts *n, const char *host);
/* How many could not be looked up when last tried. */
size_t hosts_failing(const struct hosts *n);

#endif
