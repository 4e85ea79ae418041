/* engine.h - what a data plane does, as a table.
 * Control knows engines only through this; the proxy's workers fill one and
 * the kernel engine fills another.  All calls and upcalls are on main. */
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include "base/json.h"
#include "model/admission.h"
#include "model/drain_orders.h"
#include "model/service.h"
#include "model/snapshot.h"
#include "net/tls_site.h"
#include "proto/prometheus.h"

/* One connection that still holds a color. */
struct holder {
	struct addr client;
	char backend[ADDR_TEXT];
	double age, idle;	/* seconds */
	uint64_t bytes_in, bytes_out;
	const char *state;	/* static: "established"; NULL: the engine knows no states */
};

struct holders {
	struct holder *list;	/* the receiver's until the callback returns */
	size_t n;
	bool truncated;	/* there are more than were asked for */
};

typedef void holders_fn(void *arg, const struct holders *holders);

struct engine;

/* A number that an engine tells of itself as a whole, as a metric without labels, or several of one metric,
 * one behind the other, with one label. */
struct engine_gauge {
	const char *metric;
	enum prom_type type;
	const char *help;
	bool (*read)(const struct engine *e, uint64_t *value);	/* false: not known now */
	const char *label, *word;	/* of gauges alone; NULL: none */
};

/* What the services of a configuration need of the process. */
struct engine_needs {
	uint64_t descriptors;	/* that connections may come to, with every service full, or the process at its max_connections */
	uint64_t least;	/* of them: with fewer a max_connections of the file could never be reached */
	uint64_t listeners;	/* descriptors beside them, from the start to the end */
	uint64_t capabilities;	/* bits, 1 << CAP_ of linux/capability.h, that its threads keep */
};

/* What all engines of a kind have in common, also before one is open. */
struct engine_class {
	enum engine_kind kind;
	const char *name;	/* of the kind, as in the configuration */
	const struct engine_gauge *gauges;
	size_t n_gauges;
	/* It accepts and dials itself: connects are timed, the places of max_connections counted. */
	bool proxies;
	/* Writes the members of the object of that name in `status`; NULL: it has none. */
	void (*status)(const struct engine *e, struct json *j);
};

#define ENGINE_THREAD_NAME 32

/* One service of a configuration that is to be obeyed from now on. */
struct reload_service {
	struct service *service;	/* the same as before, or one that no engine knows yet */
	const struct service_config *config;	/* in reload->to */
	bool changed;	/* something of it is not as it was; false: only the pointer is */
	/* TLS terms as of show(), where they change; references are the caller's,
	 * and the engine takes its own. */
	bool shows;
	struct tls_site *site;
	struct ssl_ctx_st *backend;
	/* What new connections obey together with the new terms, as of publish();
	 * NULL: the last one, and of a new service the one that open() and publish()
	 * bring.  A reference of the caller's. */
	struct snapshot *snapshot;
};

/* A configuration that replaces another one, as an engine sees it.  It is the
 * caller's and stays as it is from prepare() to the return of abandon() or
 * commit(); `to` lives as long as the engine obeys it, `from` until
 * on_committed(), and what removed services point to until they are forgotten.
 * A service whose mode or engine changes is removed, and comes as another one. */
struct reload {
	const struct config *from, *to;
	uint64_t generation;	/* of the configuration; never the same twice */
	struct reload_service *services;	/* all of `to`, in its order */
	size_t n;
	struct service **removed;
	size_t n_removed;
};

struct engine {
	const struct engine_class *class;
	unsigned n_threads;	/* that obey snapshots, at least 1; constant once it is open */
	/* The service's listeners begin to queue clients; none is accepted before
	 * the first snapshot.  Once for each service. */
	enum err (*open)(struct engine *e, struct service *s, struct why *why);
	/* New connections obey this snapshot; a drain of the color that it
	 * makes active ends, its connections stay.  Consumes the reference.
	 * Each thread reports by on_acked() once nothing new can start there on an older
	 * one; who has to have reported is control's to know. */
	void (*publish)(struct engine *e, struct service *s, struct snapshot **snapshot);
	/* Ends the connections of a color of the main entrance by these orders;
	 * newer orders replace older ones. */
	void (*drain)(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders);
	/* Collects up to max connections of a color; done is called once. */
	void (*holders)(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done,
			void *arg);
	/* Connections now on a color of the main entrance. */
	uint64_t (*count)(struct engine *e, const struct service *s, enum color color);
	/* The end has been announced: a client that may be told that nothing follows is
	 * told so, and may come all the same.  Like left NULL in an engine whose
	 * clients are not spoken to. */
	void (*notice)(struct engine *e);
	/* Client connections of any kind, those between two requests, in previews
	 * and in the middle of a handshake too; after close() the work of drains is
	 * done when there are none. */
	uint64_t (*left)(const struct engine *e);
	/* Takes what is queued, then closes all listeners; on_closed() follows. */
	void (*close)(struct engine *e);
	/* What clients of the service are shown, and what its backends are
	 * spoken to with, from now on: takes the caller's references, or NULLs
	 * where there is no TLS.  Like rekey, resume and lag NULL in an engine that
	 * has nothing of the kind. */
	void (*show)(struct engine *e, struct service *s, struct tls_site *site, struct ssl_ctx_st *backend);
	/* The keys of tickets, for all threads; they are copied. */
	void (*rekey)(struct engine *e, const struct tls_tickets *tickets);
	/* The answer to on_stalled(): what is known is fresh, go on. */
	void (*resume)(struct engine *e, unsigned thread);
	/* How late that thread's loop came to its ticks, ten a second: the time
	 * that something held it; and what the thread is called. */
	const struct tally_histogram *(*lag)(const struct engine *e, unsigned thread, char name[ENGINE_THREAD_NAME]);
	/* Connections of clients that count for the process' max_connections; those of another process
	 * may be added to what it holds.  NULL in an engine that has none. */
	struct admission *clients;
	/* Packets for a service that belonged to no connection and were answered with a
	 * reset.  NULL in an engine that sees no packets. */
	uint64_t (*strays)(const struct engine *e, const struct service *s);

	/* A reload in four steps; one at a time.  prepare() opens what is new and
	 * changes nothing that is served: clients that come to a new address already are
	 * queued, and refused by abandon().  E_USAGE with the
	 * reason: it cannot be, and nothing is left of the attempt.  After it comes
	 * either abandon(), which undoes it, or commit(), which cannot fail: each
	 * thread takes everything at once.  on_committed() follows when no connection
	 * that begins obeys `from` any more.  An address in both keeps its sockets and
	 * the clients queued there, also where it is of another service now. */
	enum err (*prepare)(struct engine *e, const struct reload *r, struct why *why);
	void (*abandon)(struct engine *e);
	void (*commit)(struct engine *e, const struct reload *r);
	/* A service that commit() removed and whose drains are ordered: once it has
	 * no connection left everything of it is freed, then on_forgotten() comes.
	 * Nothing is asked of the engine about it meanwhile but drain(), holders() and count(). */
	void (*forget)(struct engine *e, struct service *s);

	/* Upcalls, set by the engine's owner. */
	/* That thread, below n_threads, obeys this generation of the service's snapshots. */
	void (*on_acked)(void *arg, struct engine *e, struct service *s, unsigned thread, uint64_t generation);
	void (*on_closed)(void *arg);
	void (*on_committed)(void *arg, struct engine *e, uint64_t generation);
	void (*on_forgotten)(void *arg, struct engine *e, struct service *s);
	/* A thread of this engine woke from a stall (of the machine, say) and cannot
	 * know what it slept through: it holds new connections until resume(), or
	 * half a second. */
	void (*on_stalled)(void *arg, struct engine *e, unsigned thread, double seconds);
	/* Seconds since what we know was last known to be so. */
	double (*age)(void *arg);
	/* What it was told could not be done, and is tried again; why NULL: it has
	 * been done. */
	void (*on_trouble)(void *arg, struct engine *e, const char *why);
	void *arg;
};

#endif
