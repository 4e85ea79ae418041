/* fleet_pools.h - the nodes of pools in a heartbeat (store/fleet.h):
 * "pools":{"main":{"applied":7,"draining":{"10.0.0.11":{"connections":12,"cut":0,"services":{"shop":9,"pay":3}}}}}.
 * Thread: main. */
#ifndef STORE_FLEET_POOLS_H
#define STORE_FLEET_POOLS_H

#include <jansson.h>

#include "store/fleet.h"

/* pools NULL: an older teald's, which says nothing of them.  False when it is nothing of ours; what
 * was read of it is the member's. */
bool fleet_pools_read(json_t *pools, struct fleet_member *m);
/* Nothing, where the member has none. */
void fleet_pools_format(const struct fleet_member *m, struct json *j);

#endif
