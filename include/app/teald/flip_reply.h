/* flip_reply.h - the JSON objects that tell of a flip, a check, a lock or a claim: one
 * place for their shape, which teald(8) documents.
 * Thread: main. */
#ifndef APP_TEALD_FLIP_REPLY_H
#define APP_TEALD_FLIP_REPLY_H

#include "base/buf.h"
#include "control/flip.h"

/* Each appends one object with its newline to out. */
void flip_reply_event(struct buf *out, const struct flip_event *e);
/* with_lock: a lock or an unlock that succeeded shows the lock as it is now. */
void flip_reply_outcome(struct buf *out, const struct flip_outcome *o, bool with_lock);

/* Of a claim or a release: the claim as it is now, and its token. */
void flip_reply_claim(struct buf *out, const struct flip_outcome *o);

#endif
