/* observe.h - a small HTTP server for those who watch: the status page,
 * /metrics, /healthz, /readyz.
 * Thread: main. */
#ifndef APP_OBSERVE_H
#define APP_OBSERVE_H

#include "base/err.h"
#include "control/control.h"

/* More connections than this at a time: the longest idle one makes way. */
#define OBSERVE_CLIENTS_MAX 64

struct observe;

/* Listens on config->observe.listen; nobody is answered before
 * observe_start().  Without an observe section it is an observe that listens
 * nowhere.  config must outlive it.  NULL with a sentence on error. */
struct observe *observe_bind(const struct config *config, struct why *why);
/* Begins to serve.  c must outlive it. */
void observe_start(struct observe *o, struct control *c);
/* Both at once; NULL on error. */
struct observe *observe_open(struct control *c, struct why *why);
/* Closes everything; *op is NULL on return. */
void observe_close(struct observe **op);

/* The bound port, host byte order; 0 when there is none. */
unsigned observe_port(const struct observe *o);

#endif
