/* door.h - who may come in: networks, rate, places of one source, a place of
 * the service, or one in the queue (data/queue.h).
 * The door is asked once the client's address is known.  What it gave a
 * session it takes back in door_leave(); nothing here is counted for the
 * preview entrance, where only the networks matter.
 * Thread: the owning worker. */
#ifndef DATA_DOOR_H
#define DATA_DOOR_H

#include "data/session.h"

enum door { DOOR_OPEN, DOOR_QUEUE, DOOR_SHUT };

/* What one client holds. */
struct pass {
	bool place;	/* of the service */
	bool source;	/* of its address */
	bool queued;	/* in the queue */
};

/* By allow and deny alone. */
bool door_is_welcome(const struct limits_config *c, const struct addr *client);
/* SHUT: *why says so, and nothing is held but what pass held before: a place,
 * perhaps.  Otherwise pass is for the session, or for door_return(). */
enum door door_ask(struct lane *l, enum entrance entrance, const struct addr *client, struct pass *pass,
		   enum ending *why);
/* For a peer that has yet to say, in a PROXY header, who the client is: whether
 * it may, and a place if there is one.  OPEN or SHUT; door_ask() follows. */
enum door door_reserve(struct lane *l, enum entrance entrance, const struct addr *peer, struct pass *pass,
		       enum ending *why);
/* For a client that becomes no session after all. */
void door_return(struct lane *l, const struct addr *client, const struct pass *pass);
/* The session takes what it was given; and at its end gives it back. */
void door_enter(struct session *s, const struct pass *pass);
void door_leave(struct session *s);

/* Whether one more line about a refused client may be written now. */
bool door_may_tell(struct lane *l);
/* Every 100 ms: says how many were not. */
void door_tell_untold(struct lane *l);

#endif
