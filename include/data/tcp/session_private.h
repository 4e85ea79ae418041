/* session_private.h - what session*.c share.
 * Thread: the owning worker. */
#ifndef DATA_SESSION_PRIVATE_H
#define DATA_SESSION_PRIVATE_H

#include "data/tcp/session.h"

extern const struct dial_ops session_dial_ops;

/* One that is zero, with room for what a PROXY header says, and with that name where it is not
 * "".  NULL without memory. */
struct session *session_alloc(bool proxy_header, const char *name);
/* Its backend is reached: bytes move. */
void session_go_live(struct session *s);
/* Waits for what each side's state asks for. */
void session_watch(struct session *s);
void session_on_client(struct ev_loop *loop, ev_io *w, int revents);
void session_on_server(struct ev_loop *loop, ev_io *w, int revents);

#endif
