/* recover.h - backends that workers cannot connect to are ejected for a while,
 * and those that come back start slowly.
 * Thread: main. */
#ifndef CONTROL_RECOVER_H
#define CONTROL_RECOVER_H

#include "control/control.h"

void recover_init(struct control *c);
/* A worker could not reach a backend of the service: whose failures are too
 * many is ejected. */
void recover_look(struct service_ctl *ctl);
/* The checks have changed their mind about b. */
void recover_on_health(struct service_ctl *ctl, struct backend *b, enum backend_state was);
/* The weight that b has now, in hundredths. */
uint32_t recover_weight(const struct service *s, const struct backend *b, double now);

#endif
