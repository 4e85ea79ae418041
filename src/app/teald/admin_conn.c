/* admin_conn.c - one connection of the admin socket: lines in, replies out.
 * Thread: main.  Born in admin_conn_new(), dies in admin_conn_close(), freed by the
 * socket at the end of the loop's turn.
 *
 * One command at a time: while one is under way, or its reply is not taken,
 * nothing is read, and further lines wait in the kernel.  An idle client has
 * no buffer at all. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

#include "app/teald/admin_user.h"
#include "base/clock.h"
#include "app/teald/command.h"

/* Lines handled before others have their turn. */
#define LINES_A_TURN 16
/* Reads of a line that is skipped, likewise. */
#define READS_A_TURN 64

/* Unread bytes of one client that are not looked at: all places together hold little. */
#define SMALL 4096

enum got { GOT_NOTHING, GOT_LINE, GOT_TOO_LONG, GOT_CLOSED };

static void admin_conn_step(struct admin_conn *c);

/* In order of the last sign of life. */
static void
touch(struct admin_conn *c)
{
	c->touched = clock_now();
	list_remove(&c->link);
	list_append(&c->admin->clients, &c->link);
	list_remove(&c->mine);
	list_append(&c->user->clients, &c->mine);
}

static void
update(struct admin_conn *c)
{
	if (!admin_conn_is_open(c))
		return;
	if (!admin_conn_is_idle(c))
		admin_watch_busy(c->admin);
	else if (c->eof) {
		admin_conn_close(c);
		return;
	}
	io_want(c->admin->loop, &c->io,
		(admin_conn_is_idle(c) && !c->eof && c->admin->reads != ADMIN_READS_NONE ? EV_READ : 0) |
			(buf_len(&c->out) > 0 ? EV_WRITE : 0));
}

void
admin_conn_refresh(struct admin_conn *c)
{
	update(c);
}

static void
flush(struct admin_conn *c)
{
	while (admin_conn_is_open(c) && buf_len(&c->out) > 0) {
		struct str s = buf_str(&c->out);
		ssize_t n = io_write(&c->io, s.p, s.n, false);

		if (n > 0) {
			buf_consume(&c->out, (size_t)n);
			c->moved = clock_now();
			touch(c);
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else if (n < 0 && io_would_block()) {
			return;
		} else {
			admin_conn_close(c);
			return;
		}
	}
	buf_free(&c->out);
}

static void
begin_output(struct admin_conn *c)
{
	if (buf_len(&c->out) == 0)
		c->moved = clock_now();
}

/* Most replies are taken at once, and small.  At the end of the turn, for this may be
 * one of many listeners that hear of an event. */
static void
bound(struct admin_conn *c)
{
	if (admin_conn_is_open(c) && buf_len(&c->out) > SMALL)
		ev_prepare_start(c->admin->loop, &c->admin->reap);
}

void
admin_conn_send(struct admin_conn *c, struct str line)
{
	if (!admin_conn_is_open(c))
		return;
	begin_output(c);
	if (!buf_append(&c->out, line.p, line.n)) {
		LOG_WARN("admin.closed", LS("why", "the client does not read"), rights_log_who(c->rights),
			 LI("pid", c->pid));
		admin_conn_close(c);
		return;
	}
	flush(c);
	bound(c);
	update(c);
}

void
admin_conn_send_buf(struct admin_conn *c, struct buf *text)
{
	if (admin_conn_is_open(c) && buf_len(&c->out) == 0) {
		begin_output(c);
		buf_free(&c->out);
		c->out = *text;
		c->out.max = CLIENT_REPLY_MAX;
		buf_init(text, 0);
		flush(c);
		bound(c);
		update(c);
		return;
	}
	admin_conn_send(c, buf_str(text));
	buf_free(text);
}

void
admin_conn_refuse(struct admin_conn *c, enum err e, const char *message)
{
	struct buf text;
	struct json j;

	buf_init(&text, 512);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_bool(&j, "ok", false);
	json_cstr(&j, "error", err_word(e));
	json_cstr(&j, "message", message);
	json_object_end(&j);
	json_line_end(&j);
	admin_conn_send_buf(c, &text);
}

/* A peer that closed altogether, not only its sending half. */
static bool
has_hung_up(const struct admin_conn *c)
{
	struct pollfd p = { .fd = io_fd(&c->io) };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static enum got
take_eof(struct admin_conn *c)
{
	c->eof = true;
	/* A last line may lack its newline, unless its sender died over it: then
	 * it may lack more. */
	if (!c->skipping && buf_len(&c->in) > 0 && !has_hung_up(c))
		return GOT_LINE;
	buf_free(&c->in);
	return GOT_NOTHING;
}

/* Takes from the kernel up to the next newline and no further. */
static enum got
read_line(struct admin_conn *c)
{
	char *scratch = c->admin->scratch, *newline;
	size_t room, take;
	ssize_t n;

	for (int i = 0; i < READS_A_TURN; i++) {
		room = c->skipping ? sizeof(c->admin->scratch) : ADMIN_LINE_MAX + 1 - buf_len(&c->in);
		n = recv(io_fd(&c->io), scratch, room, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && io_would_block())
			return GOT_NOTHING;
		if (n < 0) {
			admin_conn_close(c);
			return GOT_CLOSED;
		}
		if (n == 0)
			return take_eof(c);
		newline = memchr(scratch, '\n', (size_t)n);
		take = newline != NULL ? (size_t)(newline - scratch) + 1 : (size_t)n;
		/* The same bytes again: there is no other reader of this socket. */
		n = recv(io_fd(&c->io), scratch, take, MSG_DONTWAIT);
		if (n < 0 || (size_t)n != take) {
			admin_conn_close(c);
			return GOT_CLOSED;
		}
		touch(c);
		if (c->skipping) {
			c->skipping = newline == NULL;
			continue;
		}
		if (newline == NULL && buf_len(&c->in) + take > ADMIN_LINE_MAX) {
			buf_free(&c->in);
			c->skipping = true;
			return GOT_TOO_LONG;
		}
		if (!buf_append(&c->in, scratch, newline != NULL ? take - 1 : take)) {
			admin_conn_close(c);	/* out of memory */
			return GOT_CLOSED;
		}
		if (newline != NULL)
			return GOT_LINE;
	}
	return GOT_NOTHING;
}

static const char *
caller_is_over(const struct admin_conn *c)
{
	const struct rights *r = c->rights;

	return r->caller != NULL ? admin_caller_is_over(r->caller, r->config, clock_wall_us() / 1000000) : NULL;
}

static void
run_line(struct admin_conn *c)
{
	struct buf in = c->in;
	struct str line = buf_str(&in);
	const char *over;

	/* Terminals and Windows end lines with CR LF. */
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	c->waiting = c->admin->reads == ADMIN_READS_NONE ||
		     (c->admin->reads == ADMIN_READS_QUICK && !command_is_quick(line));
	if (c->waiting)
		return;
	buf_init(&c->in, ADMIN_LINE_MAX);
	if ((over = caller_is_over(c)) != NULL) {
		/* Closed once it is said. */
		c->eof = true;
		admin_conn_refuse(c, E_DENIED, over);
	} else {
		command_run(c, line);
	}
	buf_free(&in);
}

static void
admin_conn_step(struct admin_conn *c)
{
	enum got got = GOT_LINE;

	if (c->stepping)
		return;
	c->stepping = true;
	for (int i = 0; i < LINES_A_TURN && got != GOT_NOTHING; i++) {
		/* Nothing is begun when control has nothing left to do it with. */
		if (!admin_conn_is_open(c) || !admin_conn_is_idle(c) || c->eof ||
		    c->admin->reads == ADMIN_READS_NONE || c->admin->control->life == LIFE_STOPPED)
			break;
		got = read_line(c);
		if (got == GOT_LINE)
			run_line(c);
		else if (got == GOT_TOO_LONG)
			admin_conn_refuse(c, E_USAGE, "the line is longer than 4096 bytes; it was skipped");
	}
	c->stepping = false;
	if (c->admin->give != NULL)
		admin_conn_give(c);
	update(c);
}

void
admin_conn_resume(struct admin_conn *c)
{
	if (!admin_conn_is_open(c))
		return;
	touch(c);
	admin_conn_step(c);
}

static void
admin_conn_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct admin_conn *c = container_of(w, struct admin_conn, io.watcher);

	(void)loop;
	CHECK(c->magic == CLIENT_MAGIC);
	if (revents & EV_WRITE)
		flush(c);
	if (admin_conn_is_open(c))
		admin_conn_step(c);
}

struct admin_conn *
admin_conn_new(struct admin *a, int fd, struct rights **rights, pid_t pid)
{
	struct admin_conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		rights_unref(rights);
		close(fd);
		return NULL;
	}
	c->magic = CLIENT_MAGIC;
	c->admin = a;
	c->rights = *rights;
	*rights = NULL;
	c->pid = pid;
	buf_init(&c->in, ADMIN_LINE_MAX + 1);
	buf_init(&c->out, CLIENT_REPLY_MAX);
	io_init(&c->io, fd, admin_conn_on_event);
	list_init(&c->link);
	list_init(&c->mine);
	c->user = admin_user_of(a, c->rights);
	c->user->n++;
	a->n_clients++;
	touch(c);
	update(c);
	return c;
}

void
admin_conn_close(struct admin_conn *c)
{
	struct admin *a = c->admin;
	struct command *cmd = c->command;

	if (!admin_conn_is_open(c))
		return;
	io_close(a->loop, &c->io);
	list_remove(&c->link);
	list_append(&a->dead, &c->link);
	a->n_clients--;
	list_remove(&c->mine);
	c->user->n--;
	c->user = NULL;
	ev_prepare_start(a->loop, &a->reap);
	c->command = NULL;
	if (cmd != NULL)
		command_leave(cmd);
}

void
admin_conn_sweep(struct admin_conn *c)
{
	double now = clock_now();
	const char *over;

	if (buf_len(&c->out) > 0 && now - c->moved > ADMIN_STUCK_SECONDS) {
		LOG_WARN("admin.closed", LS("why", "the client does not read"), rights_log_who(c->rights),
			 LI("pid", c->pid));
		admin_conn_close(c);
	} else if (c->command != NULL && has_hung_up(c)) {
		admin_conn_close(c);
	} else if (c->command != NULL && c->command->request.command == ADMIN_EVENTS && (over = caller_is_over(c)) != NULL) {
		/* What it streams ends with what it has shown; other commands have been begun, and end by themselves. */
		LOG_INFO("admin.closed", LS("why", over), rights_log_who(c->rights), LS("peer", c->rights->caller->peer));
		admin_conn_close(c);
	}
}

/* The line of a command that another process is to carry out; a stream of events goes on
 * there by being asked for again. */
static void
put_command(struct buf *b, const struct admin_line *line)
{
	bool fits = true;

	for (size_t i = 0; i < line->n_args; i++) {
		buf_printf(b, "%s", i > 0 ? " " : "");
		fits = admin_line_quote(b, line->args[i]) && fits;
	}
	for (size_t i = 0; i < line->n_opts; i++) {
		buf_printf(b, " --%.*s%s", (int)line->opts[i].key.n, line->opts[i].key.p,
			   line->opts[i].has_value ? "=" : "");
		if (line->opts[i].has_value)
			fits = admin_line_quote_value(b, line->opts[i].value) && fits;
	}
	/* The caller sees that it did not. */
	b->failed |= !fits;
	buf_append(b, "\n", 1);
}

void
admin_conn_give(struct admin_conn *c)
{
	struct admin *a = c->admin;
	struct buf in;
	int fd;

	if (!admin_conn_is_open(c) || c->stepping || (c->command != NULL && !c->command->unbegun))
		return;
	/* A reply that its reader takes slowly is finished first. */
	if (c->command == NULL && buf_len(&c->out) > ADMIN_GIVE_MAX)
		return;
	buf_init(&in, 2 * ADMIN_LINE_MAX);
	if (c->command != NULL) {
		put_command(&in, &c->command->line);
		command_forget(c->command);
		c->command = NULL;
	}
	buf_append(&in, buf_str(&c->in).p, buf_len(&c->in));
	if (c->waiting)
		buf_append(&in, "\n", 1);
	fd = fcntl(io_fd(&c->io), F_DUPFD_CLOEXEC, 0);
	/* One whose line is too long, or that lags far behind, comes again. */
	if (fd >= 0 && !in.failed && !c->skipping && buf_len(&c->out) <= ADMIN_GIVE_MAX)
		a->give(a->give_arg, fd, buf_str(&in), buf_str(&c->out), c->rights->caller);
	else if (fd >= 0)
		close(fd);
	buf_free(&in);
	admin_conn_close(c);
}

void
admin_conn_restore(struct admin_conn *c, struct str in, struct str out)
{
	const char *newline;

	if (out.n > 0)
		admin_conn_send(c, out);
	/* Whole lines first: those are executed as if they had just come. */
	while (admin_conn_is_open(c) && !c->waiting && in.n > 0 &&
	       (newline = memchr(in.p, '\n', in.n)) != NULL) {
		size_t n = (size_t)(newline - in.p);

		buf_append(&c->in, in.p, n);
		run_line(c);
		in = (struct str){ newline + 1, in.n - n - 1 };
	}
	if (admin_conn_is_open(c) && !c->waiting && in.n > 0)
		buf_append(&c->in, in.p, in.n);
	update(c);
}

void
admin_conn_thaw(struct admin_conn *c)
{
	if (c->waiting)
		run_line(c);
	update(c);
}
