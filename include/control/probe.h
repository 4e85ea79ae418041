/* probe.h - one check of one address: can it be connected to, now?
 * Thread: main. */
#ifndef CONTROL_PROBE_H
#define CONTROL_PROBE_H

#include <ev.h>

#include "net/addr.h"

struct probe;

/* error is NULL when the connection was accepted within the timeout, else a
 * short reason such as "connection refused" or "timed out after 1 s".  The
 * probe is gone when this is called. */
typedef void probe_done_fn(void *arg, const char *error, double seconds);

/* Never calls done from inside.  source may be NULL or empty.  Returns NULL
 * when it could not even begin; done is not called then and *error says why. */
struct probe *probe_start(struct ev_loop *loop, const struct addr *to, const struct addr *source, double timeout,
			  probe_done_fn *done, void *arg, const char **error);
/* Gives up without calling done; *pp is NULL on return. */
void probe_cancel(struct probe **pp);

#endif
