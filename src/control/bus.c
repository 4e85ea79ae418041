/* bus.c - tells what happened.  Thread: main. */
#include "base/clock.h"
#include "base/json.h"
#include "control/bus.h"

#define FIELDS_MAX 32
#define LINE_MAX_BYTES (64 * 1024)

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

static void
tell(struct bus *bus, const char *event, const struct service *s, const struct log_field *fields)
{
	char time[CLOCK_TEXT];
	struct buf line;
	struct json j;

	buf_init(&line, LINE_MAX_BYTES);
	json_init(&j, &line);
	clock_format(clock_wall_us(), 6, time);
	json_object(&j, NULL);
	json_cstr(&j, "event", event);
	json_cstr(&j, "time", time);
	if (s != NULL)
		json_cstr(&j, "service", s->config->name);
	for (const struct log_field *f = fields; f->type != LOG_END; f++)
		put_field(&j, f);
	json_object_end(&j);
	json_line_end(&j);
	LIST_EACH(it, &bus->listeners) {
		struct bus_listener *l = list_entry(it, struct bus_listener, link);

		if (l->service != NULL && s != NULL && l->service != s)
			continue;
		if (l->tell != NULL && (s == NULL || l->wants == NULL || l->wants(l, s)))
			l->tell(l, buf_str(&line));
	}
	buf_free(&line);
}

/* Those within; returns whether there are others, who want a line. */
static bool
let_hear(struct bus *bus, const char *event, const struct service *s, const struct log_field *fields)
{
	bool others = false;

	LIST_EACH(it, &bus->listeners) {
		struct bus_listener *l = list_entry(it, struct bus_listener, link);

		if (l->hear != NULL)
			l->hear(l, event, s, fields);
		else
			others = true;
	}
	return others;
}

void
bus_emit(struct bus *bus, enum log_level level, const char *event, const struct service *s,
	 const struct log_field *fields)
{
	struct log_field all[FIELDS_MAX];
	size_t n = 0;

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
	if (let_hear(bus, event, s, fields))
		tell(bus, event, s, fields);
}
