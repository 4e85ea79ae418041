/* question.h - what a backend is asked to find out whether it is well, by the
 * configuration of its service.
 * Thread: main. */
#ifndef CONTROL_QUESTION_H
#define CONTROL_QUESTION_H

#include <arpa/inet.h>

#include "base/buf.h"
#include "control/probe.h"
#include "model/service.h"

/* Not to be moved: its parts point to each other. */
struct question {
	struct probe_request request;	/* points into this, the service and the backend */
	char server[INET6_ADDRSTRLEN];	/* the address that a certificate must carry, where there is no name */
	struct buf say;	/* a PROXY header, an HTTP request, both or nothing */
	struct buf key;
	struct addr agent_at;
};

/* For question_clear().  Good while neither the service's configuration nor the backend changes. */
void question_make(struct question *q, const struct service *s, const struct backend *b);
/* The same of what the backend's agent is asked; the configuration has one. */
void question_make_agent(struct question *q, const struct service *s, const struct backend *b);
void question_clear(struct question *q);
/* Two backends whose keys are the same get the same answer: same address, same bytes, same terms. */
struct str question_key(struct question *q, const struct service *s);

#endif
