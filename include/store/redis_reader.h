/* redis_reader.h - private to redis_wire.c: hiredis' parser, with limits on what
 * a reply may cost us.  Thread: main. */
#ifndef STORE_REDIS_READER_H
#define STORE_REDIS_READER_H

#include "store/redis_wire.h"

void reader_open(struct wire *w);
void reader_close(struct wire *w);
void reader_feed(struct wire *w, const char *bytes, size_t n);
/* The next whole reply, for freeReplyObject(), or NULL when there is none yet.
 * E_STORE: what came is no reply, or larger than we take; why says which. */
MUST_USE enum err reader_next(struct wire *w, redisReply **out, struct why *why);

#endif
