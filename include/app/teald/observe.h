/* observe.h - a small HTTP server for those who watch: the status page,
 * /metrics, /healthz, /readyz.
 * Thread: main. */
#ifndef APP_TEALD_OBSERVE_H
#define APP_TEALD_OBSERVE_H

#include "base/buf.h"
#include "base/err.h"
#include "control/control.h"

/* Connections that have not sent a whole request, replies under way, and those
 * among them of /readyz and /healthz, which are counted by themselves: in each
 * of these the one without progress for the longest time makes way for the next. */
#define OBSERVE_WAITING_MAX 128
#define OBSERVE_REPLIES_MAX 64
#define OBSERVE_PROBES_MAX 64
/* A place is not taken from a connection that made progress within so many
 * seconds: until then further ones wait in the kernel. */
#define OBSERVE_GRACE 0.1

struct observe;

/* Listens on config->observe.listen; accepts from observe_start() on.  Without an
 * observe section it listens nowhere.  config must outlive it.  NULL with a sentence
 * on error. */
struct observe *observe_bind(const struct config *config, struct why *why);
/* Begins to serve.  c must outlive it. */
void observe_start(struct observe *o, struct control *c);
/* observe.hosts are those of another configuration from now on. */
void observe_reconfigure(struct observe *o, const struct config *config);
/* Both at once; NULL on error. */
struct observe *observe_open(struct control *c, struct why *why);
/* Another process accepts from now on.  Streams and connections between two requests are closed,
 * and come again; replies under way are finished, and who has connected and not asked yet is answered. */
void observe_yield(struct observe *o);
/* What the page remembers, on its way to that process: give() gets rows one after the other ... */
void observe_give_history(struct observe *o, void (*give)(void *arg, const struct buf *row), void *arg);
/* ... that are taken in here, once it has started.  What makes no sense is skipped. */
void observe_take_history(struct observe *o, struct str row);
unsigned observe_visitors(const struct observe *o);
/* Closes everything; *op is NULL on return. */
void observe_close(struct observe **op);

/* The bound port, host byte order; 0 when there is none. */
unsigned observe_port(const struct observe *o);

#endif
