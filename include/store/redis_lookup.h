/* redis_lookup.h - the address behind a host name, and a password read again, on
 * the helper thread: one look-up at a time, however often it is given up.
 * Thread: main. */
#ifndef STORE_REDIS_LOOKUP_H
#define STORE_REDIS_LOOKUP_H

#include "net/addr.h"
#include "net/jobs.h"
#include "proto/redis_url.h"

struct lookup_job;

typedef void lookup_fn(void *arg, enum err e, const struct addr *address, const struct why *why);

/* All zero but jobs is one that has nothing to do. */
struct lookup {
	struct jobs *jobs;
	unsigned turn;	/* of several addresses which; the caller's to raise */
	struct lookup_job *job;	/* under way, or NULL */
	/* What came too late; good for one time. */
	struct redis_endpoint late;	/* host "": nothing did */
	struct addr late_address;
};

/* password_file, unless NULL, is read as well, and what it says replaces
 * *password (model/secret.h) before done; when it cannot be read nothing is
 * replaced.  done is called once: from inside when nothing has to be waited
 * for, or when an earlier look-up, given up, still is under way (E_STORE). */
void lookup_start(struct lookup *l, const struct redis_endpoint *at, const char *password_file,
		  char **password, lookup_fn *done, void *arg);
/* done will not be called any more; harmless when nothing is under way.  What
 * is found after all serves the next look-up of the same. */
void lookup_give_up(struct lookup *l);
/* Before l goes away. */
void lookup_end(struct lookup *l);

#endif
