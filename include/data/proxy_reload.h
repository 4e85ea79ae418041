/* proxy_reload.h - another configuration for the workers while they serve: main
 * prepares it, each worker takes it whole with one letter, and lanes of services
 * that were removed go once they are empty.
 * Thread: main, but for struct worker_reload, which is read by the workers. */
#ifndef DATA_PROXY_RELOAD_H
#define DATA_PROXY_RELOAD_H

#include "data/worker.h"
#include "model/engine.h"
#include "model/route.h"

struct proxy;

struct lane_change {
	struct service *service;
	const struct service_config *config;
	bool changed, shows;	/* see struct reload_service; references are held here */
	struct tls_site *site;
	struct ssl_ctx_st *backend;
	struct snapshot *snapshot;	/* NULL: the lane keeps its own */
};

/* What becomes of one address. */
struct port_change {
	struct binding *old;	/* NULL: it is new */
	struct binding *binding;	/* NULL: it is listened on no more */
	struct admit *admit;	/* NULL: it has none */
	int *fds;	/* of a new one, which the workers share out among themselves */
	unsigned n_fds;
};

/* What one reload is for each worker; main's, which frees it when all have it. */
struct worker_reload {
	const struct config *config;
	uint64_t generation;
	unsigned n_workers;
	unsigned n_slots;	/* of services */
	struct lane_change *lanes;
	size_t n_lanes;
	unsigned *removed;	/* slots */
	size_t n_removed;
	struct port_change *ports;
	size_t n_ports;
};

struct forgetting;

/* To a worker, where it waits for the lane to be empty, and back; then once more for the
 * lane to be freed. */
struct forget_letter {
	struct mail mail;
	struct link link;	/* worker->forgetting */
	struct proxy *proxy;
	struct forgetting *forgetting;
	unsigned lane;
};

/* These four of the engine (model/engine.h). */
enum err proxy_prepare(struct engine *e, const struct reload *r, struct why *why);
void proxy_abandon(struct engine *e);
void proxy_commit(struct engine *e, const struct reload *r);
void proxy_forget(struct engine *e, struct service *s);
/* Once no worker runs: frees what is on its way. */
void proxy_reload_free(struct proxy *p);

#endif
