/* resolve.h - backends that are configured, or added, by the name of a host
 * get the address it stands for, and another one when that changes.
 *
 * One name is one backend for each color, however many addresses it has: the
 * first of the answer that no other backend of the color has, kept for as long
 * as the answer names it.  Until there is one, the backend is there without an
 * address: down, and why.  One that gets another address is replaced by a new
 * backend; if it was in use it stays until the new one has been judged by the
 * checks, and its connections live as long as they like.
 * Thread: main. */
#ifndef CONTROL_RESOLVE_H
#define CONTROL_RESOLVE_H

#include "control/control.h"
#include "control/hosts.h"

void resolve_init(struct control *c);
/* Begins to look up what the service's backends are called; once its checks run. */
void resolve_join(struct service_ctl *ctl);
void resolve_close(struct control *c);

/* A backend for a node that may be a name; it has an address already when that
 * is known.  One reference, the caller's. */
struct backend *resolve_backend(struct service_ctl *ctl, enum color color, const char *host);
/* One of the service's by name, if it is: its name is looked up from now on. */
void resolve_watch(struct service_ctl *ctl, struct backend *b);
/* What is known already of what it stands for, once it is in the service. */
void resolve_settle(struct service_ctl *ctl, struct backend *b);
/* How often the names of a pool are looked up: as often as the service wants
 * that wants it most. */
double resolve_interval(const struct control *c, const struct pool_config *pool);
/* The checks have judged b: what it replaces may go. */
void resolve_on_health(struct service_ctl *ctl, const struct backend *b);

/* A backend has gone whose name may be of no more use. */
void resolve_review_soon(struct control *c);

#endif
