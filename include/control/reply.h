/* reply.h - the JSON objects that answer a flip: one place for their shape.
 * Thread: main. */
#ifndef CONTROL_REPLY_H
#define CONTROL_REPLY_H

#include "base/json.h"
#include "control/flip.h"
#include "control/gate.h"

/* One line under construction. */
struct reply {
	struct buf line;
	struct json json;
};

/* Opens the object; reply_send() closes it, hands the line over and frees. */
void reply_event(struct reply *r, const char *event);	/* {"event":…, */
void reply_ok(struct reply *r);	/* {"ok":true, */
void reply_error(struct reply *r, enum err e, const char *message);	/* {"ok":false,"error":…,"message":…, */
void reply_send(struct reply *r, struct flip_watcher *w, bool last);

/* "service","active","epoch" as they are now. */
void reply_state(struct reply *r, const struct service *s);
/* "to","healthy","total","needed". */
void reply_gate(struct reply *r, const struct gate *g);
/* "backends":[…] of a gate. */
void reply_gate_backends(struct reply *r, const struct gate *g);
/* "locked": null or {"by","reason","at"}. */
void reply_lock(struct json *j, const struct record *record);

#endif
