/* engines.h - the engines that serve one service: as a rule one, and another
 * beside it while one hands over to the other.  What is ordered goes to all; the
 * service is said to obey a snapshot when every thread of every one of them does.
 * Thread: main. */
#ifndef CONTROL_ENGINES_H
#define CONTROL_ENGINES_H

#include "control/control.h"

/* One more engine, whose threads have reported nothing yet; one that joins a
 * service that is published gets the present snapshot at the next publishing. */
void engines_join(struct service_ctl *ctl, struct engine *engine);
/* It is waited for no more.  True: what the others have reported is a later
 * generation than before (rollout_on_acked() is the caller's to call). */
bool engines_leave(struct service_ctl *ctl, struct engine *engine);
void engines_free(struct service_ctl *ctl);
/* Does it serve the service? */
bool engines_has(const struct service_ctl *ctl, const struct engine *engine);

/* That thread has reported a generation.  True: with it the service's `acked` has
 * grown. */
bool engines_ack(struct service_ctl *ctl, const struct engine *engine, unsigned thread, uint64_t generation);

/* Each as the function of that name in struct engine, to all of them.  Those in
 * _but leave that one out. */
MUST_USE enum err engines_open(struct service_ctl *ctl, struct why *why);
void engines_publish(struct service_ctl *ctl, struct snapshot **snapshot);
void engines_drain(struct service_ctl *ctl, enum color color, const struct drain_orders *orders);
void engines_drain_but(struct service_ctl *ctl, const struct engine *but, enum color color,
		       const struct drain_orders *orders);
void engines_show(struct service_ctl *ctl, struct tls_site *site, struct ssl_ctx_st *backend);
/* Those that cannot forget, because they keep nothing of a service, leave at once;
 * the others when they have. */
void engines_forget(struct service_ctl *ctl);
/* What each has, in one list of up to max. */
void engines_holders(struct service_ctl *ctl, enum color color, unsigned max, holders_fn *done, void *arg);
void engines_holders_but(struct service_ctl *ctl, const struct engine *but, enum color color, unsigned max,
			 holders_fn *done, void *arg);
/* Connections now on a color of the main entrance: the sum. */
uint64_t engines_count(const struct service_ctl *ctl, enum color color);
uint64_t engines_count_but(const struct service_ctl *ctl, const struct engine *but, enum color color);
/* Of them, one engine's; 0 when it does not serve the service. */
uint64_t engines_count_of(const struct service_ctl *ctl, struct engine *engine, enum color color);
/* Does one of them accept and dial itself (engine_class)? */
bool engines_proxy(const struct service_ctl *ctl);
/* Packets that belonged to no connection: the sum.  False: no engine of the service
 * sees packets. */
bool engines_strays(const struct service_ctl *ctl, uint64_t *sum);

#endif
