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
	bool crl_lacks;	/* clients are refused for want of a revocation list, and the log says so */
	struct link due;	/* in line to be read */
	struct certs_job *job;	/* under way, or NULL */
	bool all;	/* the next one reads whether or not files changed */
	/* Rounds of reading: the last that was asked for, and the last that is over. */
	uint64_t asked, over;
	/* Of the snapshot behind which every thread shows what was read last; and the last round whose
	 * reading they all show. */
	uint64_t generation, obeyed;
};

/* How a reading went. */
struct certs_result {
	unsigned changed, refused;	/* services */
	char problem[512];	/* of the first that was refused */
};

/* A wait for a reading. */
struct certs_wait {
	struct link link;
	uint64_t round;	/* whose reading all services have to show; certs.c's, as is the result */
	struct certs_result result;
	void (*done)(struct certs_wait *w, const struct certs_result *r);
};

struct certs {
	struct control *control;
	struct jobs *jobs;	/* of its own: a slow disk here holds up no flip; NULL: no TLS */
	bool closing;
	/* The admin listener's as if it were a service's, with which it has nothing but its TLS in common. */
	struct service admin;
	void (*on_admin)(void *arg, struct tls_site *site);
	void *on_admin_arg;
	struct certs_entry **entries;	/* the admin listener's, then by the services' index; NULL: none has it */
	size_t n;
	uint64_t round;	/* the last that was asked for */
	struct link due;	/* struct certs_entry */
	struct link jobs_list;	/* under way */
	unsigned prompt;	/* of these, those that do not hang */
	struct link waiting;	/* struct certs_wait */
	ev_timer patience;	/* looks for those that hang */
	struct certs_watch *watch;
	ev_timer settle;	/* files that change are given a moment to be whole */
	ev_timer look;	/* where the kernel does not tell: now and then */
	ev_timer rotate;	/* of tickets' keys */
	double rotated_at;	/* when the newer of them was made */
	struct tls_tickets tickets;
};

/* Reads everything, as the process is now, and tells the engine.  E_USAGE: the
 * first service whose files do not do.  Blocks; before anything is served. */
MUST_USE enum err certs_open(struct certs **cp, struct control *control, struct why *why);
/* False: a helper hangs in a file and is left behind, with the configuration, which
 * must stay as it is. */
bool certs_close(struct certs **cp);

/* The services are those that control has now, with their new configuration; what was prepared for them is
 * taken over, and is theirs.  The caller tells the engines: certs_loaded_of(). */
void certs_reconfigure(struct certs *c, struct certs_prepared *prepared);
/* The same for one that has come; loaded NULL: it has none. */
void certs_add(struct certs *c, struct service *s, struct certs_loaded *loaded);
/* What is shown for that service now; borrowed, until the next turn of the loop. */
const struct certs_loaded *certs_loaded_of(const struct certs *c, const struct service *s);
/* When clients are refused for want of a newer revocation list: tls_site_crl_until() of what is shown for it.  c may be NULL. */
bool certs_crl_until(const struct certs *c, const struct service *s, int64_t *until);
/* That service has gone. */
void certs_remove(struct certs *c, const struct service *s);

/* What the admin listener shows is told now, if it shows anything, and whenever it changes: a reference for
 * the called.  tell NULL: no more. */
void certs_watch_admin(struct certs *c, void (*tell)(void *arg, struct tls_site *site), void *arg);

/* The keys of tickets that a teald of this machine had (a struct tls_tickets), made at rotated_at by clock_now(): its
 * clients come back here.  Anything else is ignored, as is what is due to be forgotten. */
void certs_inherit_tickets(struct certs *c, struct str bytes, double rotated_at);

/* Reads all files again; w->done() is called once, later: when every client that connects from then on is shown
 * what was read. */
void certs_reload(struct certs *c, struct certs_wait *w);

/* All threads obey another snapshot of that service; c may be NULL. */
void certs_on_acked(struct certs *c, const struct service *s);

/* A certificate that clients of the service are shown. */
struct certs_shown {
	const struct service *service;	/* its configuration's name is ADMIN_NET_NAME for the admin listener's */
	const struct tls_certificate *certificate;
	const char *problem;	/* with what was read last; "": none */
};

/* Calls with every certificate of the service, of all with NULL; what it is given
 * is borrowed.  c may be NULL: there are none. */
void certs_each(const struct certs *c, const struct service *of,
		void (*tell)(void *arg, const struct certs_shown *shown), void *arg);

#endif
