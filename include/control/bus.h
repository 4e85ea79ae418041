/* bus.h - what happened, told once: to the log and to the listeners.
 * Thread: main. */
#ifndef CONTROL_BUS_H
#define CONTROL_BUS_H

#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "model/service.h"

struct bus {
	struct link listeners;
	bool quiet;	/* of services nothing is told: another teald tells it */
};

struct bus_listener {
	struct link link;
	/* s: the service of the event, NULL for one that belongs to none.  fields end
	 * with LOG_FIELDS_END; all is borrowed.  It may leave from inside. */
	void (*hear)(struct bus_listener *l, enum log_level level, const char *event, const struct service *s,
		     const struct log_field *fields);
};

void bus_init(struct bus *bus);
void bus_listen(struct bus *bus, struct bus_listener *l);
void bus_leave(struct bus_listener *l);

/* The first field of that key; NULL: there is none. */
const struct log_field *bus_field(const struct log_field *fields, const char *key);
/* Members of the object that is open: the service's name, where there is one, and the fields,
 * without that of one key, or (NULL) all. */
void bus_fields_json(struct json *j, const struct service *s, const struct log_field *fields, const char *without);

/* Logs the event with "service" and the service's labels in front (s may be
 * NULL) and tells the listeners. */
#define BUS_EMIT(bus, level, event, s, ...) \
	bus_emit((bus), (level), (event), (s), \
		 (const struct log_field[]){ LOG_FIELDS_END, ##__VA_ARGS__, LOG_FIELDS_END } + 1)
void bus_emit(struct bus *bus, enum log_level level, const char *event, const struct service *s,
	      const struct log_field *fields);

#endif
