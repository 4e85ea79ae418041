/* websocket.h - what a session does for a WebSocket that became of a request: it knows where the
 * backend's frames end, so that the client can be told when the session is ended for no reason of
 * the two.  What the client says is not looked at.
 * Thread: the owning worker. */
#ifndef DATA_WEBSOCKET_H
#define DATA_WEBSOCKET_H

#include "data/tcp/session.h"

/* relay_move() of the direction to the client.  Payloads of at least a buffer are spliced where they can be;
 * headers, and what is shorter, have to be read. */
MUST_USE enum relay_result websocket_move(struct session *s, bool other_done);

/* The session ends for that reason: a Close frame, where one may stand and the ending is one that the client
 * is to be told of.  False: none was sent. */
bool websocket_tell(struct session *s, enum ending ending);

#endif
