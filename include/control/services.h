/* services.h - the services that control has: a list that grows and shrinks while
 * it runs, and the references that keep one until nothing names it any more.
 * Thread: main. */
#ifndef CONTROL_SERVICES_H
#define CONTROL_SERVICES_H

#include "control/control.h"

struct certs_prepared;

/* One more service, whose engine control has; before its checks begin.  It
 * outlives control, or c->on_removed(). */
struct service_ctl *services_put(struct control *c, struct service *s);

/* control's part of services_put(), at run time: the service is checked and looked
 * up from now on, and begins to serve once the store tells its record (as
 * store->reconfigure() makes it) and its first checks are in, or out of time.  Its
 * name and its index are no other service's.  Its engine knows it already, and its pool
 * is there.  prepared: its certificates, as certs_reconfigure() takes them; may be NULL. */
struct service_ctl *control_add_service(struct control *c, struct service *s, struct certs_prepared *prepared);

/* Its configuration is that one from now on, perhaps with another name, by which it is
 * found at once.  What follows from other terms (checks, backends, certificates) is
 * the caller's to order. */
void control_configure_service(struct control *c, struct service_ctl *ctl, const struct service_config *config);

/* It is no service of control's any more: not found, listed or counted.  Flips
 * under way are answered E_UNKNOWN_SERVICE, what is watched ends, and its engines
 * end its connections by its drain.timeout, then forget it.  When they have, and
 * no command, flip or reading names it any more, c->on_removed() is called, which
 * may free the service; until then its configuration stays.  Not from inside an
 * upcall of health, store or engines. */
void control_remove_service(struct control *c, struct service_ctl *ctl);

/* The engine's word for that. */
void services_on_forgotten(struct control *c, struct engine *engine, struct service *s);

/* A reference keeps ctl and its service. */
struct service_ctl *ctl_ref(struct service_ctl *ctl);
/* *ctlp is NULL on return; it may have been NULL. */
void ctl_unref(struct service_ctl **ctlp);

/* All that are left. */
void services_close(struct control *c);

#endif
