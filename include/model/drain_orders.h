/* drain_orders.h - how connections that have to go are ended. */
#ifndef MODEL_DRAIN_ORDERS_H
#define MODEL_DRAIN_ORDERS_H

#include <stdbool.h>

#include "model/ending.h"

/* How the connections of a color, or of a backend, are to be ended, seconds from `at`: when that
 * is does not depend on how late a thread reads its orders. */
struct drain_orders {
	double at;	/* clock_now() when they were given */
	double idle;	/* idle for so long: closed; 0: idle connections stay */
	double spread;	/* those closes are spread over so long */
	double timeout;	/* then the rest are cut; 0: at once; < 0: never */
	enum ending ending;	/* how the cut ones are said to have ended */
	/* The service itself ends: not only what is on the color, but previews, clients
	 * between two requests and those who have no backend yet.  Of a color only. */
	bool all;
};

/* Of a backend's: the last `spread` seconds before the deadline belong to the cuts, too, so that not all of
 * them come at once.  place, in [0, 1): where in that its turn is; constant for a connection.  Is it to be
 * cut by now; or, if it has been idle so long, closed? */
bool drain_orders_cut(const struct drain_orders *o, double now, double place);
bool drain_orders_close_idle(const struct drain_orders *o, double now, double place, double idle);
/* The same asked the other way round: all connections whose place is below that are to be cut; or, idle
 * ones, closed.  0: none yet. */
double drain_orders_cut_share(const struct drain_orders *o, double now);
double drain_orders_idle_share(const struct drain_orders *o, double now);

#endif
