/* access.h - which access lines are written (with model/access.h), and what they
 * say of TLS.
 * Thread: the worker that writes them. */
#ifndef DATA_ACCESS_H
#define DATA_ACCESS_H

#include "base/buf.h"
#include "base/log.h"
#include "model/access.h"
#include "model/ending.h"

struct lane;
struct tls;

/* "\"sni\":…,\"tls\":…", what is to be told of a client's TLS, in b, which is the
 * caller's to free; t NULL: it came without, and perhaps asked for name.  seconds: of its handshake;
 * below 0: they were told already. */
struct str access_tls(struct tls *t, const char *name, double seconds, struct buf *b);

/* A field of so many seconds; below 0: none. */
static inline struct log_field
access_seconds(const char *key, double seconds)
{
	return seconds >= 0 ? LF(key, seconds) : LR(NULL, STR(""));
}

/* Is a line to be written about what ended so?  *share: as of access_due(). */
bool access_is_due(struct lane *l, enum ending ending, bool is_error, struct str *share);
/* Whether one more line about a refused client, or a failed handshake, may be
 * written now. */
bool access_may_tell(struct lane *l);
/* Every 100 ms: says how many were not. */
void access_tell_untold(struct lane *l);

#endif
