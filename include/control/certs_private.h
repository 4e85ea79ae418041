/* certs_private.h - what the files of control/certs share; no other file includes it: certs.c (what is shown), certs_read.c (what
 * is read again).
 * Thread: main. */
#ifndef CONTROL_CERTS_PRIVATE_H
#define CONTROL_CERTS_PRIVATE_H

#include "control/certs.h"

/* -- certs.c ------------------------------------------------------------------- */

/* Is it the admin listener's? */
bool certs_is_admins(const struct certs_entry *e);
/* What is loaded is shown from now on: the engines, or the admin listener's thread, are told. */
void certs_tell(struct certs *c, struct certs_entry *e);
void certs_log_shown(struct certs_entry *e);
/* Watches the files that the entry is made of now. */
void certs_watch_again(struct certs *c, const struct certs_entry *e);

/* -- certs_read.c ----------------------------------------------------------------- */

/* A new round of all services; all: whether or not files changed. */
void certs_begin_round(struct certs *c, bool all);
/* Goes on with what is due, as far as helpers are free. */
void certs_start_some(struct certs *c);
/* Answers the waits that are over. */
void certs_tell_waiting(struct certs *c);
/* A reading that is under way is of no use any more. */
void certs_forget_reading(struct certs_entry *e);
struct jobs *certs_helpers_new(struct certs *c);
/* The callback of c->patience. */
void certs_on_patience(struct ev_loop *loop, ev_timer *w, int revents);

#endif
