/* local_addrs.h - the addresses that this machine has at one moment.
 * Any thread, one at a time. */
#ifndef NET_LOCAL_ADDRS_H
#define NET_LOCAL_ADDRS_H

#include <stdbool.h>
#include <stddef.h>

#include "net/addr.h"

/* All zero: not read. */
struct local_addrs {
	struct addr *list;	/* with port 0, sorted */
	size_t n;
	bool read;
};

/* Reads them anew; asks the kernel once.  Without an answer there are none. */
void local_addrs_read(struct local_addrs *l);
/* Whatever the port. */
bool local_addrs_has(const struct local_addrs *l, const struct addr *a);
/* Would a connect to `to` arrive at the listener `at`: also at a wildcard by any address of this machine, which are read
 * when that is first asked. */
bool local_addrs_arrives(struct local_addrs *l, const struct addr *to, const struct addr *at);
void local_addrs_free(struct local_addrs *l);

#endif
