/* access.h - what access lines say of TLS; which are written: model/access.h.
 * Thread: the worker that writes them. */
#ifndef DATA_ACCESS_H
#define DATA_ACCESS_H

#include "base/buf.h"
#include "model/access.h"

struct tls;

/* "\"sni\":…,\"tls\":…", what is to be told of a client's TLS, in b, which is the
 * caller's to free; t NULL: it came without, and perhaps asked for name. */
struct str access_tls(struct tls *t, const char *name, struct buf *b);

#endif
