/* node_text.h - an overlay of a node pool as stores keep it:
 * {"10.0.0.11":"drain","node4.example":"ready"}.  Pure; any thread. */
#ifndef STORE_NODE_TEXT_H
#define STORE_NODE_TEXT_H

#include <jansson.h>

#include "base/json.h"
#include "base/str.h"
#include "model/node.h"

/* Longer ones are neither written nor read. */
#define NODE_TEXT_MAX (NODES_MAX * (NODE_HOST + 16))

/* The hosts and their wishes as an object; the version is the caller's. */
void overlay_json(struct json *j, const char *key, const struct overlay *o);
/* False when it is anything else; out, all zero before, is all zero then. */
MUST_USE bool overlay_from_json(json_t *object, struct overlay *out);
MUST_USE bool overlay_from_text(struct str text, struct overlay *out);

#endif
