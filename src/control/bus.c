/* bus.c - tells what happened.  Thread: main. */
#include "control/bus.h"

#define FIELDS_MAX 32

void
bus_init(struct bus *bus)
{
	list_init(&bus->listeners);
}

void
bus_listen(struct bus *bus, struct bus_listener *l)
{
	list_append(&bus->listeners, &l->link);
}

void
bus_leave(struct bus_listener *l)
{
	list_remove(&l->link);
}

void
bus_emit(struct bus *bus, enum log_level level, const char *event, const struct service *s,
	 const struct log_field *fields)
{
	struct log_field all[FIELDS_MAX];
	size_t n = 0;

	if (bus->quiet && s != NULL)
		return;
	if (level >= log_level()) {
		if (s != NULL) {
			all[n++] = LS("service", s->config->name);
			all[n++] = LR(NULL, str_from(s->config->labels_json));
		}
		for (const struct log_field *f = fields; f->type != LOG_END && n < FIELDS_MAX - 1; f++)
			all[n++] = *f;
		all[n] = LOG_FIELDS_END;
		log_write(level, event, all);
	}
	LIST_EACH(it, &bus->listeners) {
		struct bus_listener *l = list_entry(it, struct bus_listener, link);

		l->hear(l, event, s, fields);
	}
}
