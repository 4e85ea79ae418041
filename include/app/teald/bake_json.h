/* bake_json.h - a bake as replies, events and status show it.  Thread: main. */
#ifndef APP_TEALD_BAKE_JSON_H
#define APP_TEALD_BAKE_JSON_H

#include "base/json.h"
#include "control/bake.h"

/* Members of the object that is open: "to", "seconds", "of", "verdict" (null while it is under way), "control" and
 * "evidence":{…}. */
void bake_members_json(struct json *j, const struct bake *b);
/* The member "bake":{…}, or null. */
void bake_json(struct json *j, const struct service_ctl *ctl);

#endif
