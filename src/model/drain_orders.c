/* drain_orders.c - whose turn it is to end.  Pure; any thread. */
#include <math.h>

#include "model/drain_orders.h"

static double
share(double since, double spread)
{
	if (since < 0)
		return 0;
	return since >= spread ? 1 : since / spread;
}

double
drain_orders_cut_share(const struct drain_orders *o, double now)
{
	double spread = fmin(fmax(o->spread, 0), o->timeout);

	return o->timeout < 0 ? 0 : share(now - o->at - o->timeout + spread, spread);
}

double
drain_orders_idle_share(const struct drain_orders *o, double now)
{
	return o->idle <= 0 ? 0 : share(now - o->at, fmax(o->spread, 0));
}

bool
drain_orders_cut(const struct drain_orders *o, double now, double place)
{
	return place < drain_orders_cut_share(o, now);
}

bool
drain_orders_close_idle(const struct drain_orders *o, double now, double place, double idle)
{
	return idle >= o->idle && place < drain_orders_idle_share(o, now);
}
