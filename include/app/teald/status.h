/* status.h - what teald is and does, as JSON.
 * Thread: main. */
#ifndef APP_TEALD_STATUS_H
#define APP_TEALD_STATUS_H

#include "app/teald/rights.h"
#include "base/json.h"
#include "control/control.h"

/* Writes the members of the reply to `status`, behind "ok": the services (only
 * the one given unless NULL, and only those that rights let read unless NULL),
 * without their backends when brief; the store, and teald itself. */
void
status_json(struct json *j, const struct control *c, const struct service_ctl *only, const struct rights *rights, bool brief);

/* The store as the member "store"; a problem names its service to those who may
 * read that, all if rights are NULL. */
void status_store_json(struct json *j, const struct control *c, const struct rights *rights);
/* For each engine that tells something of itself an object of its name, or null where no
 * service is of it. */
void status_engines_json(struct json *j, const struct control *c);

/* One service as an object, its backends left out when brief, and its "quality" always; key is NULL for an element of an
 * array. */
void status_service_json(struct json *j, const char *key, const struct service_ctl *ctl, bool brief);

/* Seconds until a drain cuts what is left, at least 0; NULL drain or one that
 * waits for ever: null. */
void status_deadline_json(struct json *j, const char *key, const struct service_ctl *ctl);

/* Microseconds of the wall clock, as text; 0: null. */
void status_time_json(struct json *j, const char *key, int64_t us);

#endif
