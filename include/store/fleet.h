/* fleet.h - every teald of the prefix, as their heartbeats tell.
 * A heartbeat is one JSON object: who, where, since when, and for each service
 * the epoch applied and the health of both colors as that teald sees it.
 * Thread: main; knows no connection. */
#ifndef STORE_FLEET_H
#define STORE_FLEET_H

#include "base/buf.h"
#include "base/json.h"
#include "model/config.h"
#include "model/node.h"
#include "model/record.h"

/* A heartbeat is due every second; older than this: missing. */
#define FLEET_MISSING_AFTER 3.0

struct fleet_service {
	char name[RECORD_NAME];
	uint64_t applied;	/* epoch */
	unsigned holding;	/* connections on the idle color */
	uint64_t cut;	/* connections that the deadline of the drain of that epoch ended */
	struct {
		unsigned healthy, needed, total;
	} colors[COLORS];
};

/* What a drained node still has, at a member. */
#define FLEET_NODE_SERVICES 8
struct fleet_node {
	char host[NODE_HOST];
	uint64_t connections;
	uint64_t cut;	/* that the deadline of its drain ended */
	struct {
		char name[RECORD_NAME];
		uint64_t connections;
	} services[FLEET_NODE_SERVICES];	/* those with the most */
	unsigned n_services;
};

/* A pool of nodes, as a member has it. */
#define FLEET_POOL_NODES 64
struct fleet_pool {
	char name[RECORD_NAME];
	uint64_t applied;	/* the version of what was said that each of its threads obeys */
	bool refused;	/* what the store says is not obeyed there: it would take the last usable backend */
	bool more;	/* there are more nodes than are listed */
	struct fleet_node *nodes;	/* that are drained, and have or had something to end */
	unsigned n;
};

struct fleet_member {
	char id[32];
	char run[24];	/* random with each start: two of one id are found out */
	char host[80], version[32];
	int32_t pid;
	int64_t at_us;	/* the store's clock when it last said something ... */
	double heard;	/* ... and ours when we first read that */
	bool ready;
	bool self;
	bool missing;	/* silent for too long, and never said goodbye */
	struct fleet_service *services;
	size_t n;
	bool holds_shares;	/* older ones send all clients to the active color */
	bool tells_pools;	/* older ones do not */
	struct fleet_pool *pools;
	size_t n_pools;
};

struct fleet {
	struct fleet_member *members;
	size_t n;
	int64_t now_us;	/* the store's clock as of the last update ... */
	double now;	/* ... and ours */
};

void fleet_free(struct fleet *f);
/* What a member owns; it is as one without services and pools then. */
void fleet_member_free(struct fleet_member *m);
/* The pools alone. */
void fleet_pools_free(struct fleet_member *m);
/* NULL: the member has no such pool, or does not say; there is nothing of such a node. */
const struct fleet_pool *fleet_pool_of(const struct fleet_member *m, const char *pool);
const struct fleet_node *fleet_node_of(const struct fleet_pool *p, const char *host);

/* Begins a new view; now_us is the store's clock, now ours. */
void fleet_begin(struct fleet *f, int64_t now_us, double now);
/* Adds one; false when the text is no heartbeat. */
bool fleet_add(struct fleet *f, struct str heartbeat, const char *self_id);

/* That one said goodbye. */
void fleet_forget(struct fleet *f, struct str id);
/* Adds those of an earlier view that are not in this one, if they
 * were heard of within `life` seconds.  Consumes what before owns. */
void fleet_remember(struct fleet *f, struct fleet *before, double life);

/* Appends "lb2 (epoch 41)" for each member that serves the service and has not
 * applied the epoch; returns how many, and how many of those are missing. */
size_t fleet_laggards(const struct fleet *f, const char *service, uint64_t epoch, struct buf *names,
		      size_t *missing);
/* The greatest epoch that a member has applied; 0: none. */
uint64_t fleet_applied(const struct fleet *f, const char *service);
/* Connections that members which have applied the epoch still hold on the
 * service's idle color; this teald's own not counted. */
uint64_t fleet_holding(const struct fleet *f, const char *service, uint64_t epoch);
/* Connections that the deadline of their drains ended, at members whose epoch it is; this
 * teald's own not counted. */
uint64_t fleet_cut(const struct fleet *f, const char *service, uint64_t epoch);
/* Appends "lb2 sees 0/3 healthy, 2 needed" for each live member, this teald
 * excepted, that would not let the color have the traffic.  place: where heartbeats are
 * likely to have the service; any. */
size_t fleet_objections(const struct fleet *f, const char *service, size_t place, enum color to, struct buf *names);

/* Appends "lb2 pid 7 (1.4.0)" for each member, missing ones too, that serves the service and cannot hold a share. */
size_t fleet_without_shares(const struct fleet *f, const char *service, struct buf *names);
/* How many there are: those that are missing, or the others. */
size_t fleet_count(const struct fleet *f, bool missing);

/* Writes a heartbeat. */
void fleet_format(const struct fleet_member *m, struct buf *out);
/* Writes "fleet":[…] with all that is known; of services those that wants()
 * wants, NULL: all. */
void fleet_json(const struct fleet *f, struct json *j, bool (*wants)(const void *arg, const char *service),
		const void *arg);

#endif
