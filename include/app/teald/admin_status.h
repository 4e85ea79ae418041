/* admin_status.h - what is said of the admin listener.  Thread: main. */
#ifndef APP_TEALD_ADMIN_STATUS_H
#define APP_TEALD_ADMIN_STATUS_H

#include "base/json.h"
#include "control/control.h"
#include "proto/prometheus.h"

/* The member "admin" of status: null where nothing listens. */
void admin_status_json(struct json *j);
void admin_metrics(struct prom *p, const struct control *c);

#endif
