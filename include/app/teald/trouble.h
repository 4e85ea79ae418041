/* trouble.h - what is wrong with a service, and whether there is a way back: one judgement
 * for `status`, the status page and the metrics.
 * Thread: main. */
#ifndef APP_TEALD_TROUBLE_H
#define APP_TEALD_TROUBLE_H

#include "base/json.h"
#include "control/control.h"

/* Would the health gate let the idle color have the traffic now?  By the checks here, and by what
 * the others of the fleet say; a flip connects besides.  A lock is apart.  why gets a sentence
 * when it would not; NULL: none.  The color is known. */
bool trouble_may_flip(const struct service_ctl *ctl, struct buf *why);

/* The member "rollback": {"to","possible","why"}, or null while the color is not known. */
void trouble_rollback_json(struct json *j, const struct service_ctl *ctl);

/* The member "trouble": an array of {"what","severity","message"}, empty when all is well.  What a node that is
 * down explains is the node's trouble, and not told of each of its services. */
void trouble_json(struct json *j, const struct service_ctl *ctl);
size_t trouble_count(const struct service_ctl *ctl);

/* Backends of the color that would be used if their node were not down. */
size_t trouble_by_node(const struct service *s, enum color color);

#endif
