/* config_plan.h - what taking over another configuration would do: services that
 * come, go, get another name or other values, and what cannot be done in place.
 * Pure: of two lists of keys (model/config_keys.h), which may be those of two
 * processes.  Owned by its holder; any thread, one at a time. */
#ifndef MODEL_CONFIG_PLAN_H
#define MODEL_CONFIG_PLAN_H

#include "base/buf.h"
#include "base/json.h"
#include "model/config_keys.h"

struct config_change {
	char *key;	/* "drain.timeout" */
	char *from, *to;	/* NULL: not there */
	bool restart;	/* cannot be changed in place */
};

enum service_fate {
	SERVICE_ADDED,
	SERVICE_REMOVED,
	SERVICE_RENAMED,	/* and changed, when it has changes */
	SERVICE_CHANGED,
};

struct service_plan {
	enum service_fate fate;
	char *name;	/* of one that is removed: the old one */
	char *was;	/* renamed: the name it had */
	bool restart;	/* that it comes, goes or is renamed needs one */
	struct config_change *changes;
	size_t n;
};

struct config_plan {
	struct config_change *settings;	/* of no service */
	size_t n_settings;
	struct service_plan *services;	/* in the new order, those that go last */
	size_t n;
	size_t unchanged;	/* services */
	size_t restarts;	/* of all the above: what cannot be done in place */
};

/* Both are borrowed.  Aborts when memory is out. */
struct config_plan *config_plan_new(const struct config_keys *from, const struct config_keys *to);
/* *pp is NULL on return. */
void config_plan_free(struct config_plan **pp);

/* Does it do anything at all? */
bool config_plan_is_empty(const struct config_plan *p);
/* "+ service pay", "~ service shop: drain.timeout 30 -> 60", "- service old",
 * "> service new (was old)", "~ log.level info -> debug",
 * "! workers 2 -> 4: needs an upgrade", "= 398 unchanged": a line each. */
void config_plan_text(const struct config_plan *p, struct buf *out);
/* The members of the event "planned". */
void config_plan_json(const struct config_plan *p, struct json *j);
/* What needs an upgrade in a sentence's words: "workers, service shop: mode". */
void config_plan_restarts(const struct config_plan *p, struct buf *out);

#endif
