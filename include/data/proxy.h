/* proxy.h - the engine that terminates connections: main's side of the
 * workers.
 * Thread: main, but for what is said to be shared. */
#ifndef DATA_PROXY_H
#define DATA_PROXY_H

#include "data/mode.h"
#include "data/worker.h"
#include "model/admission.h"
#include "model/engine.h"

/* Pipes that a worker uses at most, two descriptors each. */
#define PROXY_PIPES 512

struct proxy_port;
struct http_version;
struct proxy_reload;

struct proxy {
	struct engine engine;	/* what control sees; first */
	const struct http_version *version;	/* of HTTP, beside 1 */
	const struct mode *modes[MODES];	/* [enum service_mode], those that the proxy serves */
	const struct config *config;
	/* [slot]; NULL: it is free.  Those that are being forgotten are there still, with the
	 * configuration that they had. */
	struct service **services;
	const struct service_config **configs;
	unsigned n_services;
	struct worker *workers;
	unsigned n_workers;
	struct proxy_port **ports;	/* all addresses */
	size_t n_ports;
	struct proxy_reload *reload;	/* NULL: none is under way */
	struct link forgetting;	/* services that have gone (data/proxy_reload.c) */
	bool closing;	/* nothing is opened any more */
	bool ending;	/* proxy_free(): who asked for a yield or a hand-over is not there any more */
	unsigned closed;	/* workers whose listeners are closed */
	struct mailbox mailbox;	/* the workers' letters */
	unsigned pipes;	/* that each worker may use to splice */
	/* A backend of this service refused a worker lately. */
	void (*on_refused)(void *arg, struct service *s);

	/* Shared. */
	struct {
		_Atomic uint64_t given, taken, refused, broken;
	} handed;	/* data/handover.h: struct handover_counts */
	_Atomic uint32_t idle_upstreams;	/* of the descriptors: no client's */
	struct admission descriptors;	/* two for each session, one for a handshake; a reserve is kept */
	struct admission flows;	/* of UDP, of all services: a share of descriptors, clients and the system's ports, so that others have some left */
	struct admission clients;	/* connections of clients, whatever they are for: the process' max_connections */
	_Atomic uint64_t pauses;	/* times that a worker began to pause accepting for want of either */
};

static inline struct proxy *
proxy_of(struct engine *e)
{
	return container_of(e, struct proxy, engine);
}

extern const struct engine_class proxy_class;

/* Of the process, for the configuration's services of this engine. */
void proxy_needs(const struct config *config, struct engine_needs *out);

/* Each of the services must outlive it, or be forgotten before.  descriptors: how many the sessions may use in
 * all, with the pipes that some of them splice through.  Aborts when memory is out. */
struct proxy *proxy_new(struct ev_loop *loop, const struct config *config, struct service **services, unsigned n,
			uint32_t descriptors);
/* What flows of UDP may have, by the limits of clients and descriptors. */
void proxy_share_flows(struct proxy *p);
/* As many as proxy_new() was told, from now on. */
void proxy_set_descriptors(struct proxy *p, uint32_t descriptors);
/* Opens every listener of every service, for every worker; nothing is accepted
 * yet.  All or none. */
MUST_USE enum err proxy_bind(struct proxy *p, struct why *why);
/* Starts the threads. */
MUST_USE enum err proxy_start(struct proxy *p, struct why *why);
/* Ends the threads, cutting what is left; *pp is NULL on return. */
void proxy_free(struct proxy **pp);

/* Letters to main, sent by workers.  False without memory: to be tried again. */
bool proxy_tell_refused(struct proxy *p, struct service *s);
bool proxy_tell_stalled(struct proxy *p, unsigned worker, double seconds);

#endif
