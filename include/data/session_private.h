/* session_private.h - what session.c and session_dial.c share.
 * Thread: the owning worker. */
#ifndef DATA_SESSION_PRIVATE_H
#define DATA_SESSION_PRIVATE_H

#include "data/session.h"

static inline struct tally_color *
session_tally(struct session *s)
{
	return &s->lane->tally->colors[s->entrance][s->color];
}

/* The backend is told by a PROXY header who the client is. */
static inline bool
session_tells(const struct session *s)
{
	return s->lane->config->proxy_protocol.send != SEND_NONE;
}

/* -- session.c: once it is reached -- */

void session_go_live(struct session *s);
void session_on_server(struct ev_loop *loop, ev_io *w, int revents);

/* -- session_dial.c: until then -- */

/* It was let in and is in no list: counts it, as one of the active color. */
void session_begin(struct session *s);
/* TCP has reached the backend; what has to be said first is said. */
void session_reached(struct session *s);
/* TLS with the backend is a part of reaching it. */
void session_shake(struct session *s);
/* Another one, or the end by that reason. */
void session_connect_failed(struct session *s, enum ending ending);
void session_drop_backend(struct session *s);

/* It is in no list, and holds a place in the queue. */
void session_join_queue(struct session *s, enum queue_end end);
/* Whatever comes next, it is judged by what is true now. */
void session_leave_queue(struct session *s);

#endif
