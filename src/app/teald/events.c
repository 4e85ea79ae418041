/* events.c - what happens, to those who listen on the admin socket.
 * Thread: main. */
#include "app/teald/command.h"
#include "app/teald/status.h"
#include "base/clock.h"
#include "control/nodes.h"
#include "control/services.h"

#define LINE_MAX_BYTES (64 * 1024)

/* without: a field that is left out, or NULL. */
static void
put_line(struct buf *line, const char *event, const struct service *s, const struct log_field *fields, const char *without)
{
	char time[CLOCK_TEXT];
	struct json j;

	json_init(&j, line);
	clock_format(clock_wall_us(), 6, time);
	json_object(&j, NULL);
	json_cstr(&j, "event", event);
	json_cstr(&j, "time", time);
	bus_fields_json(&j, s, fields, without);
	json_object_end(&j);
	json_line_end(&j);
}

static bool
reads_everything(const struct command *cmd)
{
	return rights_have(cmd->rights, ADMIN_RIGHT_READ, RIGHTS_EVERYWHERE);
}

/* Of a pool, as `node list` shows it. */
static bool
may_hear_of_pool(const struct command *cmd, const struct log_field *name)
{
	const struct control *c = cmd->admin->control;
	const struct pool_config *pool = nodes_pool(c, name->v.s);

	return pool != NULL ? status_may_see_pool(cmd->rights, c, pool) : reads_everything(cmd);
}

static bool
event_is_wanted(const struct command *cmd, const struct service *s, const struct log_field *fields)
{
	const struct log_field *pool = s == NULL ? bus_field(fields, "pool") : NULL;

	if (s == NULL)
		return pool == NULL || may_hear_of_pool(cmd, pool);
	/* By name: the service may go and come back while it is listened to. */
	return (cmd->request.service.n == 0 || cmd->request.all_services ||
		str_eq(cmd->request.service, s->config->name)) &&
	       command_may_read(cmd, s);
}

static void
send_event(struct admin_conn *c, struct str line)
{
	if (buf_len(&c->out) + line.n > CLIENT_EVENTS_MAX) {
		LOG_WARN("admin.closed", LS("why", "events came faster than the client reads them"),
			 rights_log_who(c->rights), LI("pid", c->pid));
		admin_conn_close(c);
		return;
	}
	admin_conn_send(c, line);
}

static void
events_on_event(struct bus_listener *l, enum log_level level, const char *event, const struct service *s,
		const struct log_field *fields)
{
	struct events *ev = container_of(l, struct events, listener);
	struct buf whole, brief;

	(void)level;
	if (list_first(&ev->commands) == NULL)
		return;
	buf_init(&whole, LINE_MAX_BYTES);
	buf_init(&brief, LINE_MAX_BYTES);
	put_line(&whole, event, s, fields, NULL);
	/* What a reload, say, has to tell names services. */
	if (s == NULL)
		put_line(&brief, event, s, fields, "message");
	LIST_EACH(it, &ev->commands) {
		struct command *cmd = list_entry(it, struct command, listening);

		if (event_is_wanted(cmd, s, fields))
			send_event(cmd->client, buf_str(s != NULL || reads_everything(cmd) ? &whole : &brief));
	}
	buf_free(&whole);
	buf_free(&brief);
}

void
events_open(struct events *ev, struct bus *bus)
{
	list_init(&ev->commands);
	ev->listener.hear = events_on_event;
	bus_listen(bus, &ev->listener);
}

void
events_close(struct events *ev)
{
	CHECK(list_first(&ev->commands) == NULL);
	bus_leave(&ev->listener);
}

void
verb_events(struct command *cmd)
{
	char now[CLOCK_TEXT];
	struct buf text;
	struct json j;

	/* The first line says that nothing is missed from here on. */
	list_append(&cmd->admin->events.commands, &cmd->listening);
	clock_format(clock_wall_us(), 6, now);
	buf_init(&text, 1024);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_cstr(&j, "time", now);
	json_cstr(&j, "event", "events.listening");
	json_cstr(&j, "service", cmd->ctl != NULL ? cmd->ctl->service->config->name : NULL);
	json_object_end(&j);
	json_line_end(&j);
	/* It may last for ever, and keep nothing of a service that goes. */
	ctl_unref(&cmd->ctl);
	command_progress(cmd, buf_str(&text));	/* the command may be gone now */
	buf_free(&text);
}

void
events_leave(struct command *cmd)
{
	list_remove(&cmd->listening);
}
