/* node_text.h - an overlay of a node pool as stores keep it:
 * {"10.0.0.11":"drain","node4.example":"ready"}; and apart from it, so that a teald that knows
 * no terms reads the rest, what else was said:
 * {"version":7,"nodes":{"10.0.0.11":{"since_us":1764500000000000,"timeout_us":60000000}}}.  Pure; any thread. */
#ifndef STORE_NODE_TEXT_H
#define STORE_NODE_TEXT_H

#include <jansson.h>

#include "base/json.h"
#include "base/str.h"
#include "model/node.h"

/* Longer ones are neither written nor read. */
#define NODE_TEXT_MAX (NODES_MAX * (NODE_HOST + 16))
#define NODE_TERMS_TEXT_MAX (NODES_MAX * (NODE_HOST + 100))

/* The hosts and their wishes as an object; the version is the caller's. */
void overlay_json(struct json *j, const char *key, const struct overlay *o);
/* False when it is anything else; out, all zero before, is all zero then. */
MUST_USE bool overlay_from_json(json_t *object, struct overlay *out);
MUST_USE bool overlay_from_text(struct str text, struct overlay *out);

/* The terms of all nodes, or only of those whose connections are ended; false: there are none, and nothing is
 * written. */
bool overlay_terms_json(struct json *j, const char *key, const struct overlay *o, bool ending_only);
/* Adds them to an overlay of the same version; what is of another one, or is none, changes nothing: a teald
 * that knows no terms has written the overlay since. */
void overlay_take_terms(json_t *object, struct overlay *out);
void overlay_terms_from_text(struct str text, struct overlay *out);

#endif
