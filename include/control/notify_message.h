/* notify_message.h - what a receiver of events is sent: the body, once for each event,
 * and the request around it, anew for each attempt.  Pure but for clock and memory.
 * Thread: main. */
#ifndef CONTROL_NOTIFY_MESSAGE_H
#define CONTROL_NOTIFY_MESSAGE_H

#include "base/buf.h"
#include "base/log.h"
#include "model/notify_config.h"
#include "model/service.h"

/* A message is never longer; an event that would be is left out of the body but for its name. */
#define NOTIFY_BODY_MAX (32 * 1024)
/* Of an event, unique in the world: 32 hex digits and NUL. */
#define NOTIFY_ID 33

struct notify_event_facts {
	const char *id;
	const char *event;
	const struct service *service;	/* NULL: of none */
	const struct log_field *fields;	/* up to LOG_FIELDS_END */
	const char *host;	/* this machine's name */
	int64_t at_us;	/* wall clock */
};

/* Appends the JSON object for a receiver of that format: of "grafana" what POST
 * /api/annotations of its HTTP API takes. */
void notify_body(struct buf *out, const struct notify_config *receiver, const struct notify_event_facts *facts);
/* Appends a sentence for people: "shop: green -> blue (epoch 43) by ci-shop: deploy 8812". */
void notify_text(struct buf *out, const struct notify_event_facts *facts);

/* Appends a request of HTTP/1.1 (RFC 9112).  With a secret it is signed:
 *	X-Teal-Signature: t=SECONDS,v1=HEX
 * where HEX is the HMAC-SHA256 (RFC 2104) of "SECONDS.BODY" with it. */
void notify_request(struct buf *out, const struct notify_config *receiver, const char *id, const char *event,
		    struct str body, int64_t now_s);

#endif
