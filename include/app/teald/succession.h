/* succession.h - one serving process takes over from another: an upgrade, seen from
 * both.  The predecessor is the one that was asked (upgrade_ask()); the successor
 * was started by the supervisor with one end of the line between the two.
 *
 *	predecessor			successor
 *	HELLO		->		opens all that is not public, first checks
 *			<-		HELLO, PREPARED with channels for the workers
 *	freezes: commands end
 *	NO		->		(it could not: the successor ends)
 *	yields: state, YOURS	->	opens the store, serves
 *			<-		SERVING
 *	ADMIN …, what peers tell <->	until the predecessor holds nothing
 *
 * Thread: main. */
#ifndef APP_TEALD_SUCCESSION_H
#define APP_TEALD_SUCCESSION_H

#include "base/err.h"
#include "control/control.h"
#include "net/line.h"

/* Of the messages and of what a connection is given away with: a predecessor of
 * another number gives no connection away. */
#define SUCCESSION_FORMAT 1

/* Types of messages on the line; those from SUCCESSION_PEER on are control/peer's. */
enum succession_type {
	SUCCESSION_HELLO = 1,	/* format, version, process */
	SUCCESSION_PREPARED,	/* with a channel for each of the predecessor's workers */
	SUCCESSION_NO,	/* why it does not come to it */
	SUCCESSION_YOURS,	/* all has been told: serve */
	SUCCESSION_SERVING,
	SUCCESSION_ADMIN,	/* a connection of the admin socket, between two commands */
	SUCCESSION_HELD,	/* what the predecessor still holds */
	SUCCESSION_PEER = 64,
};

struct succession;

/* One message over the line, as line_send(). */
bool succession_send(struct succession *s, uint16_t type, const struct buf *row, const int *fds, unsigned n);

#endif
