/* status.h - what teald is and does, as JSON.
 * Thread: main. */
#ifndef APP_TEALD_STATUS_H
#define APP_TEALD_STATUS_H

#include "app/teald/rights.h"
#include "base/json.h"
#include "control/control.h"
#include "control/nodes.h"

/* FULL: all there is.  BRIEF: without the single backends.  SUMMARY: what a list of services shows. */
enum status_form { STATUS_FULL, STATUS_BRIEF, STATUS_SUMMARY };

struct status_wish {
	enum status_form form;
	bool troubled;	/* only services, and nodes, with trouble, and how many services are well */
};

/* Writes the members of the reply to `status`, behind "ok": the services (only
 * the one given unless NULL, and only those that rights let read unless NULL);
 * the store, and teald itself.  Looks at the nodes. */
void
status_json(struct json *j, struct control *c, const struct service_ctl *only, const struct rights *rights,
	    const struct status_wish *wish);

/* How the watch of a pool that a Kubernetes API tells does, as an object; key NULL: an element of an array, which names the pool. */
void status_watch_json(struct json *j, const char *key, const struct control *c, const struct pool_config *pool);
/* The nodes of all pools as the member "nodes", as last looked at: those of pools that rights
 * let see unless NULL; troubled: only those that are down, or have no address, and are wanted. */
void status_nodes_json(struct json *j, const struct control *c, const struct rights *rights, bool troubled);
/* A user who may read a service may know of its nodes. */
bool status_may_see_pool(const struct rights *rights, const struct control *c, const struct pool_config *pool);
bool status_uses_pool(const struct service *s, const struct pool_config *pool);
/* What each node comes to, in the order of nodes_views(), of the services that rights let read; NULL: of all.  To be freed. */
struct node_sum *status_sum_nodes(const struct control *c, const struct rights *rights, const struct pool_config *pool);
/* Members of an object about a node, but for its pool. */
void status_node_json(struct json *j, const struct node_view *v, const struct node_sum *sum);

/* The store as the member "store"; a problem names its service to those who may
 * read that, all if rights are NULL. */
void status_store_json(struct json *j, const struct control *c, const struct rights *rights);
/* For each engine that tells something of itself an object of its name, or null where no
 * service is of it. */
void status_engines_json(struct json *j, const struct control *c);

/* One service as an object, without its "quality", which is the page's and moves all the time; key is NULL for an
 * element of an array. */
void status_service_json(struct json *j, const char *key, const struct service_ctl *ctl, enum status_form form);

/* Seconds until a drain cuts what is left, at least 0; NULL drain or one that
 * waits for ever: null. */
void status_deadline_json(struct json *j, const char *key, const struct service_ctl *ctl);

/* Microseconds of the wall clock, as text; 0: null. */
void status_time_json(struct json *j, const char *key, int64_t us);

/* "share": what the idle color has of the clients, and how that goes on; or null. */
void status_share_json(struct json *j, const struct service_ctl *ctl);
/* "claimed": who, why and until when; or null. */
void status_claim_json(struct json *j, const struct service_ctl *ctl);

#endif
