/* certs.h - the certificates of all services: read at the start and again when
 * their files change, checked before they are used.  What does not pass is
 * refused and told, and what was shown before stays.
 * Thread: main; files are read by a helper. */
#ifndef CONTROL_CERTS_H
#define CONTROL_CERTS_H

#include <ev.h>

#include "base/list.h"
#include "control/certs_load.h"
#include "control/control.h"

struct certs_watch;

/* Of one service. */
struct certs_entry {
	struct service *service;
	struct certs_loaded loaded;	/* what is shown */
	uint64_t tried;	/* certs_mark() of the last files looked at, good or not */
	char problem[512];	/* why newer files were refused; "": they were not */
};

/* How a reading went. */
struct certs_result {
	unsigned changed, refused;	/* services */
	char problem[512];	/* of the first that was refused */
};

/* Somebody waits for one. */
struct certs_wait {
	struct link link;
	void (*done)(struct certs_wait *w, const struct certs_result *r);
};

struct certs {
	struct control *control;
	struct jobs *jobs;	/* of its own: a slow disk here holds up no flip; NULL: no TLS */
	bool closing;
	struct certs_entry *entries;	/* in the configuration's order */
	size_t n;
	struct certs_job *job;	/* under way, or NULL */
	bool again, all;	/* another reading is due; of all services, whether files changed or not */
	struct link waiting, next;	/* for the one under way, for the next one */
	struct certs_watch *watch;
	ev_timer settle;	/* files that change are given a moment to be whole */
	ev_timer look;	/* where the kernel does not tell: now and then */
	ev_timer rotate;	/* of tickets' keys */
	struct tls_tickets tickets;
};

/* Reads everything, as the process is now, and tells the engine.  E_USAGE: the
 * first service whose files do not do.  Blocks; before anything is served. */
MUST_USE enum err certs_open(struct certs **cp, struct control *control, struct why *why);
void certs_close(struct certs **cp);

/* Reads all files again; w->done() is called once, later. */
void certs_reload(struct certs *c, struct certs_wait *w);

/* A certificate that clients of the service are shown. */
struct certs_shown {
	const struct service *service;
	const struct tls_certificate *certificate;
	const char *problem;	/* with what was read last; "": none */
};

/* Calls with every certificate of the service, of all with NULL; what it is given
 * is borrowed.  c may be NULL: there are none. */
void certs_each(const struct certs *c, const struct service *of,
		void (*tell)(void *arg, const struct certs_shown *shown), void *arg);

#endif
