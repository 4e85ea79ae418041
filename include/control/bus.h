/* bus.h - what happened, told once: to the log and to whoever listens on the
 * admin socket's `events`.
 * Thread: main. */
#ifndef CONTROL_BUS_H
#define CONTROL_BUS_H

#include "base/list.h"
#include "base/log.h"
#include "model/service.h"

struct bus {
	struct link listeners;
};

struct bus_listener {
	struct link link;
	/* NULL: of all services.  Events that belong to none go to everybody. */
	const struct service *service;
	/* Asked for each event of a service, which is never NULL; NULL: all. */
	bool (*wants)(const struct bus_listener *l, const struct service *s);
	/* line: one JSON object with its newline; borrowed.  NULL: no lines. */
	void (*tell)(struct bus_listener *l, struct str line);
	/* The same for those within: the fields as they are.  NULL: not. */
	void (*hear)(struct bus_listener *l, const char *event, const struct service *s,
		     const struct log_field *fields);
};

void bus_init(struct bus *bus);
void bus_listen(struct bus *bus, struct bus_listener *l);
void bus_leave(struct bus_listener *l);

/* Logs the event with "service" and the service's labels in front (s may be
 * NULL) and tells the listeners. */
#define BUS_EMIT(bus, level, event, s, ...) \
	bus_emit((bus), (level), (event), (s), \
		 (const struct log_field[]){ LOG_FIELDS_END, ##__VA_ARGS__, LOG_FIELDS_END } + 1)
void bus_emit(struct bus *bus, enum log_level level, const char *event, const struct service *s,
	      const struct log_field *fields);

#endif
