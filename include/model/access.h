/* access.h - which access lines are written, and for how many each stands.
 * Thread: the one that owns it and writes them. */
#ifndef MODEL_ACCESS_H
#define MODEL_ACCESS_H

#include <stdbool.h>

#include "model/config.h"

struct access {
	enum access_log which;
	double sample;	/* log.sample: the share of lines that are written */
	double owed;	/* lines that share has come to, less those written */
	char sampled[48];	/* "\"sample\":0.01": a member of a line that was chosen */
};

void access_init(struct access *a, const struct config *config);
/* The same again by another configuration: shares that are owed stay owed. */
void access_obey(struct access *a, const struct config *config);

/* Is a line to be written about what just ended?  Errors always are, of the
 * rest exactly the share (the 1st, then every 100th for 0.01).  *share is then
 * what the line says of it, members of its object: "" when all are written. */
bool access_due(struct access *a, bool is_error, struct str *share);

#endif
