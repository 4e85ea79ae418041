/* redis_reader.h - private to redis_wire.c: hiredis' parser, with limits on what
 * a reply may cost us.  Thread: main. */
#ifndef CONTROL_REDIS_READER_H
#define CONTROL_REDIS_READER_H

#include "control/redis_wire.h"

void reader_open(struct wire *w);
void reader_close(struct wire *w);
void reader_feed(struct wire *w, const char *bytes, size_t n);
/* The next whole reply, for freeReplyObject(), or NULL when there is none yet.
 * E_STORE: what came is no reply, or larger than we take; why says which. */
MUST_USE enum err reader_next(struct wire *w, redisReply **out, struct why *why);

#endif
