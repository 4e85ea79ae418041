/* outlier.h - backends that workers cannot connect to, or that answer badly too
 * often, are ejected for a while.
 * Thread: main. */
#ifndef CONTROL_OUTLIER_H
#define CONTROL_OUTLIER_H

#include "control/control.h"

/* Ejections of the service that another teald began end here, too. */
void outlier_adopt(struct service_ctl *ctl);
void outlier_init(struct control *c);
/* A worker had trouble with a backend of the service: one with too many failures
 * in a row is ejected. */
void outlier_look(struct service_ctl *ctl);
/* The checks have changed their mind about b. */
void outlier_on_health(struct service_ctl *ctl, struct backend *b, enum backend_state was);

#endif
