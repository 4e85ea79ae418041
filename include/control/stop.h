/* stop.h - the end of the process, forward only: not ready for stop.notice, then
 * the listeners close, then what is left drains up to stop.timeout.
 * Thread: main. */
#ifndef CONTROL_STOP_H
#define CONTROL_STOP_H

#include <ev.h>
#include <stdbool.h>

struct control;

struct stop {
	ev_timer notice, poll;
	unsigned engines_open;	/* those whose listeners are not closed */
	double closed_at;	/* clock_now() when all were */
	double late_at;	/* when the deadline was seen to have passed; 0: not yet */
	double deadline;	/* of the drain */
	bool told;	/* that it is over */
	double told_at;	/* clock_now() */
};

void stop_init(struct control *c);
void stop_close(struct control *c);
/* Begins it; c->on_stopped() ends it.  Harmless twice. */
void stop_begin(struct control *c);
/* One more engine has closed its listeners. */
void stop_on_closed(struct control *c);

#endif
