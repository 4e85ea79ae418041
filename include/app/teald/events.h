/* events.h - the admin socket's `events`: what the bus tells, as lines for those
 * who listen.
 * Thread: main. */
#ifndef APP_TEALD_EVENTS_H
#define APP_TEALD_EVENTS_H

#include "base/list.h"
#include "control/bus.h"

struct command;

/* An admin socket's listeners, with one listener on the bus for all of them, so
 * that a line is made once. */
struct events {
	struct bus_listener listener;
	struct link commands;
};

void events_open(struct events *ev, struct bus *bus);
/* No command listens any more. */
void events_close(struct events *ev);

/* The command listens from here on, to the events of its service and to those of
 * none; without a service to all that its client may read.  Its first line says
 * so.  The command may be gone on return. */
void verb_events(struct command *cmd);
/* It listens no more; harmless when it did not. */
void events_leave(struct command *cmd);

#endif
