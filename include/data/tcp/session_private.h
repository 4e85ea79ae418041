/* session_private.h - what session.c and session_dial.c share.
 * Thread: the owning worker. */
#ifndef DATA_SESSION_PRIVATE_H
#define DATA_SESSION_PRIVATE_H

#include "data/tcp/session.h"

extern const struct dial_ops session_dial_ops;

/* Its backend is reached: bytes move. */
void session_go_live(struct session *s);
void session_on_server(struct ev_loop *loop, ev_io *w, int revents);

#endif
