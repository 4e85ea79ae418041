/* observe_access.h - who may ask the observe listener: networks for all of it, a password for the status page.
 * A copy of what the configuration says, so that a reload may replace it.
 * Thread: main. */
#ifndef APP_TEALD_OBSERVE_ACCESS_H
#define APP_TEALD_OBSERVE_ACCESS_H

#include "model/config.h"
#include "proto/http1_head.h"

#define OBSERVE_DIGEST 32

struct observe_access {
	struct cidr_set allow;	/* empty: every client */
	bool password;	/* the page needs one */
	unsigned char digest[OBSERVE_DIGEST];	/* of what Authorization has to say */
};

/* All zero is one that lets everyone in.  False: that is what it was already. */
bool observe_access_set(struct observe_access *a, const struct config *config);
void observe_access_clear(struct observe_access *a);

/* What is asked for. */
enum observe_asked {
	OBSERVE_ASKED_PROBE,	/* /healthz, /readyz: also answered to this machine itself, whatever allow says */
	OBSERVE_ASKED_OTHER,	/* /metrics, and what there is not */
	OBSERVE_ASKED_PAGE,	/* the status page and its events */
};
/* 0: it may; 401: with the right password; 403: it may not.  How long it takes does not tell how much of a
 * password is right. */
unsigned observe_access_judge(const struct observe_access *a, const struct addr *peer, enum observe_asked asked,
			      const struct http1_head *h);

#endif
