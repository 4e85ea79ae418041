/* stream.c - what all of a client's streams have in common.  Thread: the owning worker. */
#include "data/http/http_log.h"
#include "data/http/stream.h"
#include "data/http/upstream.h"

void
http_stream_tell_waits(struct http_stream *s, double queued, struct http_record *r)
{
	r->queue_seconds = queued + (double)(s->queued > 0 ? s->queued : 0);
	r->tls_seconds = (double)s->tls_seconds;
	s->queued = s->tls_seconds = -1;
}

bool
http_stream_may_go(const struct http_stream *s)
{
	return !s->tls && !s->stays && (s->own == NULL || !s->own->bound || !io_is_tls(&s->own->io));
}

bool
http_stream_must_leave(const struct http_stream *s, const struct worker *w)
{
	return w->leaving || (w->yielded && !http_stream_may_go(s));
}
