/* bus.c - tells what happened.  Thread: main. */
#include <string.h>

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

		l->hear(l, level, event, s, fields);
	}
}

const struct log_field *
bus_field(const struct log_field *fields, const char *key)
{
	for (; fields->type != LOG_END; fields++)
		if (fields->key != NULL && strcmp(fields->key, key) == 0)
			return fields;
	return NULL;
}

static void
put_field(struct json *j, const struct log_field *f)
{
	switch (f->type) {
	case LOG_STR:
		json_str(j, f->key, f->v.s);
		break;
	case LOG_U64:
		json_u64(j, f->key, f->v.u);
		break;
	case LOG_I64:
		json_i64(j, f->key, f->v.i);
		break;
	case LOG_DOUBLE:
		json_double(j, f->key, f->v.d);
		break;
	case LOG_BOOL:
		json_bool(j, f->key, f->v.b);
		break;
	case LOG_RAW:
		if (f->key != NULL)
			json_raw(j, f->key, f->v.s);
		break;
	case LOG_END:
		break;
	}
}

void
bus_fields_json(struct json *j, const struct service *s, const struct log_field *fields, const char *without)
{
	if (s != NULL)
		json_cstr(j, "service", s->config->name);
	for (const struct log_field *f = fields; f->type != LOG_END; f++)
		if (without == NULL || f->key == NULL || strcmp(f->key, without) != 0)
			put_field(j, f);
}
