/* observe_ready.h - /readyz: for balancers and VRRP daemons that ask whether to
 * send traffic here.  Thread: main. */
#ifndef APP_TEALD_OBSERVE_READY_H
#define APP_TEALD_OBSERVE_READY_H

#include "app/teald/observe_client.h"

/* Answers 200, 503 with the reason, or 404 for a service= in v->query that there
 * is not.  With services named, each of them has to have a backend that is up;
 * otherwise as many as ready.min_services says. */
void ready_write(struct visitor *v, struct reply_head *head, struct buf *body);

#endif
