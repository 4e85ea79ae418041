/* test_admin.c - the admin socket as its clients meet it: real sockets, the
 * real control, and a store and an engine that do what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

#include <sys/un.h>

#include "app/teald/admin_conn.h"
#include "app/teald/command.h"
#include "app/teald/rights.h"
#include "control/flip.h"

static struct inbox box;
static int log_fd;	/* where stderr, and the log with it, goes during a test */
static int real_stderr;

struct stage {
	struct world *w;
	struct admin *admin;
};

static int
set_up(void **state)
{
	struct stage *s = must_alloc(sizeof(*s));
	struct why why = { "" };

	s->w = world_new();
	s->admin = admin_open(&s->w->control, &why);
	if (s->admin == NULL)
		fail_msg("%s", why.text);
	*state = s;
	if (ftruncate(log_fd, 0) != 0 || dup2(log_fd, STDERR_FILENO) < 0)
		return -1;
	return 0;
}

/* cmocka speaks on stderr too: what is not of the log is handed on. */
static void
restore_stderr(void)
{
	static char text[1 << 20];
	ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);
	char *save = NULL;

	dup2(real_stderr, STDERR_FILENO);
	text[n > 0 ? n : 0] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		if (line[0] != '{')
			fprintf(stderr, "%s\n", line);
}

static int
tear_down(void **state)
{
	struct stage *s = *state;
	int left;

	admin_close(&s->admin);
	left = access(s->w->socket, F_OK) == 0;
	world_free(s->w);
	free(s);
	restore_stderr();
	return left ? -1 : 0;
}

static int
dial(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	str_copy(un.sun_path, sizeof(un.sun_path), str_from(path));
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void
say(struct stage *s, int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (k < 0)
			ev_run(s->w->loop, EVRUN_NOWAIT);
		else {
			text += k;
			n -= (size_t)k;
		}
	}
}

/* Fresh eyes: what comes from now on. */
static void
say_line(struct stage *s, int fd, const char *line)
{
	box.n = 0;
	box.text[0] = '\0';
	box.eof = false;
	say(s, fd, line, strlen(line));
}

/* How a last object begins, and nothing else. */
#define LAST "{\"ok\":"

static unsigned
replies(void)
{
	unsigned n = 0;

	for (const char *p = box.text; (p = strstr(p, LAST)) != NULL; p++)
		n++;
	return n;
}

#define AWAIT(s, fd, text) WAIT_UNTIL((s)->w->loop, inbox_has((s)->w, &box, (fd), (text)))

/* The last object in the box; the caller's reference. */
static json_t *
last_object(void)
{
	const char *line = box.text + box.n - 1;
	json_error_t error;
	json_t *o;

	assert_true(box.n > 0 && *line == '\n');
	while (line > box.text && line[-1] != '\n')
		line--;
	o = json_loads(line, 0, &error);
	if (o == NULL)
		fail_msg("%s in: %s", error.text, line);
	return o;
}

/* One command on a connection of its own. */
static json_t *
ask(struct stage *s, const char *line)
{
	int fd = dial(s->w->socket);

	assert_true(fd >= 0);
	say_line(s, fd, line);
	AWAIT(s, fd, LAST);
	WAIT_UNTIL(s->w->loop, inbox_has(s->w, &box, fd, LAST) && box.text[box.n - 1] == '\n');
	close(fd);
	return last_object();
}

#define TEXT(o, key) json_string_value(json_object_get((o), (key)))

static void
expect_error(struct stage *s, const char *line, const char *error, const char *in_message)
{
	json_t *o = ask(s, line);

	assert_true(json_is_false(json_object_get(o, "ok")));
	assert_string_equal(TEXT(o, "error"), error);
	if (strstr(TEXT(o, "message"), in_message) == NULL)
		fail_msg("no \"%s\" in: %s", in_message, TEXT(o, "message"));
	json_decref(o);
}

/* The log so far; a static copy. */
static const char *
log_text(void)
{
	static char text[1 << 20];
	ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void
expect_log(const char *part)
{
	if (strstr(log_text(), part) == NULL)
		fail_msg("no %s in:\n%s", part, log_text());
}

/* -- commands ------------------------------------------------------------------- */

static void
answers_the_small_questions(void **state)
{
	struct stage *s = *state;
	json_t *o = ask(s, "active shop\n");

	assert_string_equal(TEXT(o, "service"), "shop");
	assert_string_equal(TEXT(o, "color"), "green");
	json_decref(o);
	o = ask(s, "idle shop\n");
	assert_string_equal(TEXT(o, "color"), "blue");
	json_decref(o);
	o = ask(s, "version\n");
	assert_non_null(TEXT(o, "version"));
	assert_int_equal(json_integer_value(json_object_get(o, "pid")), getpid());
	json_decref(o);
	o = ask(s, "whoami\n");
	assert_int_equal(json_integer_value(json_object_get(o, "uid")), getuid());
	assert_int_equal(json_integer_value(json_object_get(o, "pid")), getpid());
	assert_int_equal(json_array_size(json_object_get(o, "rights")), 4);
	json_decref(o);
	o = ask(s, "help\n");
	assert_int_equal(json_array_size(json_object_get(o, "commands")), ADMIN_COMMANDS);
	json_decref(o);
	o = ask(s, "status shop\n");
	assert_int_equal(json_array_size(json_object_get(o, "services")), 1);
	json_decref(o);
}

static void
explains_what_is_wrong(void **state)
{
	struct stage *s = *state;

	expect_error(s, "flip shpo blue\n", "unknown_service", "did you mean shop?");
	expect_error(s, "status warehouse\n", "unknown_service", "status lists them");
	expect_error(s, "flip shop red\n", "unknown_color", "green or blue");
	expect_error(s, "flipp shop blue\n", "usage", "flip");
	expect_error(s, "flip shop\n", "usage", "usage: flip");
	expect_error(s, "\n", "usage", "no command");
	expect_error(s, "\x01\xff\xfe garbage\n", "usage", "byte 1");
	expect_error(s, "status \"half\n", "usage", "not closed");
	/* One word too long for the history is not cut, but refused. */
	{
		char line[RECORD_REASON + 64];

		snprintf(line, sizeof(line), "lock shop --reason=%0*d\n", RECORD_REASON, 1);
		expect_error(s, line, "usage", "--reason is longer");
	}
	assert_false(s->w->records[0].lock.on);
}

static void
flips_with_progress_and_audits(void **state)
{
	struct stage *s = *state;
	json_t *o = ask(s, "flip shop blue --reason=\"deploy 8812\" --expect=green@1\n");

	assert_string_equal(TEXT(o, "active"), "blue");
	assert_int_equal(json_integer_value(json_object_get(o, "epoch")), 2);
	assert_true(json_is_true(json_object_get(o, "changed")));
	json_decref(o);
	assert_true(strstr(box.text, "\"event\":\"checked\"") < strstr(box.text, "\"event\":\"committed\""));
	assert_true(strstr(box.text, "\"event\":\"committed\"") < strstr(box.text, "\"event\":\"applied\""));
	assert_int_equal(s->w->records[0].color, BLUE);
	expect_log("\"event\":\"audit\",\"uid\":");
	expect_log("\"command\":\"flip\",\"service\":\"shop\",\"project\":\"demo\",\"color\":\"blue\","
		   "\"expect\":\"green@1\",\"reason\":\"deploy 8812\",\"result\":\"ok\",\"changed\":true,\"epoch\":2}");
	expect_error(s, "flip shop green --expect=green\n", "conflict", "expected green");
	expect_log("\"expect\":\"green\",\"result\":\"conflict\",\"changed\":false,\"epoch\":2,\"message\":\"");
	o = ask(s, "history shop --last=5\n");
	assert_int_equal(json_array_size(json_object_get(o, "history")), 1);
	json_t *h = json_array_get(json_object_get(o, "history"), 0);
	assert_string_equal(TEXT(h, "kind"), "flip");
	assert_string_equal(TEXT(h, "from"), "green");
	assert_string_equal(TEXT(h, "to"), "blue");
	assert_string_equal(TEXT(h, "reason"), "deploy 8812");
	assert_string_equal(TEXT(h, "expect"), "green@1");
	assert_string_equal(TEXT(h, "result"), "ok");
	json_decref(o);
}

static void
locks_one_and_all(void **state)
{
	struct stage *s = *state;
	json_t *o = ask(s, "lock shop --reason=freeze\n");

	assert_true(json_is_true(json_object_get(o, "changed")));
	json_decref(o);
	expect_error(s, "flip shop blue\n", "locked", "freeze");
	o = ask(s, "unlock '*'\n");	/* the shell takes these quotes away, we do not */
	assert_string_equal(TEXT(o, "error"), "unknown_service");
	json_decref(o);
	o = ask(s, "lock * --reason=holidays\n");
	assert_int_equal(json_array_size(json_object_get(o, "services")), 2);
	assert_true(json_is_true(json_object_get(o, "changed")));
	json_decref(o);
	assert_true(s->w->records[1].lock.on);
	o = ask(s, "unlock *\n");
	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_true(json_is_true(json_object_get(o, "changed")));
	json_decref(o);
	assert_false(s->w->records[0].lock.on || s->w->records[1].lock.on);
	o = ask(s, "unlock *\n");
	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_true(json_is_false(json_object_get(o, "changed")));
	json_decref(o);
}

static void
lists_what_holds_a_draining_color(void **state)
{
	struct stage *s = *state;
	json_t *o = ask(s, "drain shop\n"), *c;
	int fd;

	assert_true(json_is_false(json_object_get(o, "draining")));
	assert_true(json_is_null(json_object_get(o, "color")));
	json_decref(o);
	s->w->connections[0][GREEN] = 3;
	json_decref(ask(s, "flip shop blue\n"));
	o = ask(s, "drain shop\n");
	assert_true(json_is_true(json_object_get(o, "draining")));
	assert_string_equal(TEXT(o, "color"), "green");
	assert_int_equal(json_integer_value(json_object_get(o, "remaining")), 3);
	assert_true(json_is_true(json_object_get(o, "truncated")));
	c = json_array_get(json_object_get(o, "connections"), 0);
	assert_string_equal(TEXT(c, "client"), "10.0.0.9:5555");
	assert_true(json_real_value(json_object_get(c, "idle")) == 0.5);
	json_decref(o);
	/* Who asked may be gone when the workers answer. */
	s->w->hold_holders = true;
	s->w->holders_done = NULL;
	fd = dial(s->w->socket);
	say_line(s, fd, "drain shop\n");
	WAIT_UNTIL(s->w->loop, s->w->holders_done != NULL);
	close(fd);
	WAIT_UNTIL(s->w->loop, s->admin->n_clients == 0);
	world_tell_holders(s->w->holders_done, s->w->holders_arg);
	assert_true(list_empty(&s->admin->commands));
}

static void
maintenance_and_stop(void **state)
{
	struct stage *s = *state;
	json_t *o = ask(s, "maintenance on\n");

	assert_true(json_is_true(json_object_get(o, "maintenance")));
	assert_true(json_is_true(json_object_get(o, "changed")));
	json_decref(o);
	o = ask(s, "maintenance on\n");
	assert_true(json_is_false(json_object_get(o, "changed")));
	json_decref(o);
	o = ask(s, "stop\n");
	assert_true(json_is_true(json_object_get(o, "stopping")));
	json_decref(o);
	WAIT_UNTIL(s->w->loop, s->w->stopped);
	expect_log("\"command\":\"stop\",\"result\":\"ok\"");
}

static void
streams_events(void **state)
{
	struct stage *s = *state;
	int fd = dial(s->w->socket), other;

	say_line(s, fd, "events shop\n");
	AWAIT(s, fd, "events.listening");
	other = dial(s->w->socket);
	say(s, other, "lock pay --reason=x\nlock shop --reason=y\n", strlen("lock pay --reason=x\nlock shop --reason=y\n"));
	AWAIT(s, fd, "\"service\":\"shop\",\"by\":");
	assert_non_null(strstr(box.text, "\"event\":\"service.locked\""));
	assert_null(strstr(box.text, "\"service\":\"pay\""));
	close(other);
	close(fd);
	WAIT_UNTIL(s->w->loop, s->admin->n_clients == 0 && list_empty(&s->admin->commands));
	assert_true(list_empty(&s->admin->events.commands));
}

/* -- rights ---------------------------------------------------------------------- */

static void
denies_strangers_and_says_what_is_missing(void **state)
{
	struct stage *s = *state;
	int fd = dial(s->w->socket);
	struct admin_conn *c;
	json_t *o;

	WAIT_UNTIL(s->w->loop, s->admin->n_clients == 1);
	c = list_entry(list_first(&s->admin->clients), struct admin_conn, link);
	rights_unref(&c->rights);
	c->rights = rights_new(&s->w->config, 4242424, 4242424, NULL, 0, 0);
	say_line(s, fd, "flip shop blue\n");
	AWAIT(s, fd, LAST);
	o = last_object();
	assert_string_equal(TEXT(o, "error"), "denied");
	assert_string_equal(TEXT(o, "right"), "flip");
	assert_non_null(strstr(TEXT(o, "message"), "uid:4242424"));
	json_decref(o);
	expect_log("\"user\":\"uid:4242424\"");
	expect_log("\"result\":\"denied\"");
	say_line(s, fd, "status\n");
	AWAIT(s, fd, "\"right\":\"read\"");
	say_line(s, fd, "whoami\n");
	AWAIT(s, fd, "\"rights\":[]");
	say_line(s, fd, "version\n");
	AWAIT(s, fd, "\"ok\":true");
	assert_int_equal(s->w->records[0].color, GREEN);
	close(fd);
}

/* -- lines ------------------------------------------------------------------------ */

static void
answers_half_closed_clients_in_full(void **state)
{
	static const char *const inputs[] = { "status\n", "status", "status\r\n" };
	struct stage *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
		int fd = dial(s->w->socket);

		say_line(s, fd, inputs[i]);
		shutdown(fd, SHUT_WR);
		AWAIT(s, fd, "\"last_reload_successful\":true,\"fallback\":false}}\n");
		WAIT_UNTIL(s->w->loop, (inbox_has(s->w, &box, fd, "\n"), box.eof));
		assert_int_equal(replies(), 1);
		close(fd);
	}
}

static void
keeps_commands_in_order(void **state)
{
	struct stage *s = *state;
	int fd = dial(s->w->socket);
	const char *first, *second, *third;

	say_line(s, fd, "flip shop blue\nactive shop\nfoo\nversion\n");
	shutdown(fd, SHUT_WR);
	WAIT_UNTIL(s->w->loop, (inbox_has(s->w, &box, fd, "\n"), box.eof));
	assert_int_equal(replies(), 4);
	first = strstr(box.text, "{\"ok\":true");
	second = strstr(first, "\"color\":\"blue\"");
	third = strstr(second, "\"error\":\"usage\"");
	assert_non_null(strstr(third, "\"version\":"));
	close(fd);
}

static void
survives_lines_at_every_cut(void **state)
{
	static const char line[] = "active shop\n";
	struct stage *s = *state;
	int fd = dial(s->w->socket);

	for (size_t cut = 1; cut < sizeof(line) - 1; cut++) {
		say_line(s, fd, "");
		say(s, fd, line, cut);
		for (int i = 0; i < 3; i++)
			ev_run(s->w->loop, EVRUN_NOWAIT);
		say(s, fd, line + cut, sizeof(line) - 1 - cut);
		AWAIT(s, fd, "\"color\":\"green\",\"epoch\":1}\n");
		assert_int_equal(replies(), 1);
	}
	close(fd);
}

static void
skips_a_line_that_is_too_long(void **state)
{
	struct stage *s = *state;
	size_t n = 1 << 20;
	char *longer = must_alloc(n + 1);
	int fd = dial(s->w->socket);

	memset(longer, 'x', n);
	longer[n - 1] = '\n';
	say_line(s, fd, "");
	say(s, fd, longer, n);
	say(s, fd, "active shop\n", strlen("active shop\n"));
	AWAIT(s, fd, "\"color\":\"green\",\"epoch\":1}\n");
	assert_int_equal(replies(), 2);
	assert_non_null(strstr(box.text, "longer than 4096 bytes"));
	/* 4,096 are allowed, and what they say counts. */
	memset(longer, ' ', 4096);
	memcpy(longer, "idle shop", 9);
	longer[4096] = '\n';
	say_line(s, fd, "");
	say(s, fd, longer, 4097);
	AWAIT(s, fd, "\"color\":\"blue\",\"epoch\":1}\n");
	longer[4096] = ' ';
	longer[4097] = '\n';
	say_line(s, fd, "");
	say(s, fd, longer, 4098);
	AWAIT(s, fd, "longer than 4096 bytes");
	free(longer);
	close(fd);
}

static void
drops_a_half_line_of_one_who_died(void **state)
{
	struct stage *s = *state;
	int fd = dial(s->w->socket);

	/* Was there to be an --expect?  Nobody knows. */
	say_line(s, fd, "flip shop blue");
	close(fd);
	WAIT_UNTIL(s->w->loop, s->admin->n_clients == 0 && list_empty(&s->admin->dead));
	assert_true(list_empty(&s->admin->commands));
	assert_int_equal(s->w->records[0].color, GREEN);
}

/* -- clients ---------------------------------------------------------------------- */

static void
a_flip_goes_on_when_its_client_leaves(void **state)
{
	struct stage *s = *state;
	int fd = dial(s->w->socket);

	s->w->hold_writes = true;
	say_line(s, fd, "flip shop blue --reason=left\n");
	WAIT_UNTIL(s->w->loop, s->w->held_done != NULL);
	close(fd);
	WAIT_UNTIL(s->w->loop, s->admin->n_clients == 0);
	assert_int_equal(s->admin->n_orphans, 1);
	world_release_write(s->w);
	WAIT_UNTIL(s->w->loop, list_empty(&s->admin->commands));
	assert_int_equal(s->admin->n_orphans, 0);
	assert_int_equal(s->w->records[0].color, BLUE);
	expect_log("\"reason\":\"left\",\"result\":\"ok\"");
}

static void
a_check_ends_with_its_client(void **state)
{
	struct stage *s = *state;
	int fd = dial(s->w->socket);

	say_line(s, fd, "check shop blue\n");
	AWAIT(s, fd, "{\"ok\":true");
	say_line(s, fd, "check shop blue\n");
	WAIT_UNTIL(s->w->loop, !list_empty(&s->admin->commands) || inbox_has(s->w, &box, fd, LAST));
	close(fd);
	WAIT_UNTIL(s->w->loop, s->admin->n_clients == 0);
	assert_true(list_empty(&s->admin->commands));
}

static void
the_longest_idle_makes_way(void **state)
{
	struct stage *s = *state;
	int fds[ADMIN_CLIENTS_MAX + 50], half = 0;
	size_t n = ARRAY_LEN(fds);
	json_t *o;

	for (size_t i = 0; i < n; i++) {
		fds[i] = dial(s->w->socket);
		assert_true(fds[i] >= 0);
		say(s, fds[i], "sta", 3);	/* and then nothing */
		ev_run(s->w->loop, EVRUN_NOWAIT);
	}
	o = ask(s, "active shop\n");
	assert_string_equal(TEXT(o, "color"), "green");
	json_decref(o);
	assert_true(s->admin->n_clients <= ADMIN_CLIENTS_MAX);
	for (size_t i = 0; i < n; i++) {
		char c;

		half += recv(fds[i], &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
		close(fds[i]);
	}
	assert_true(half >= ADMIN_CLIENTS_MAX - 2 && half <= ADMIN_CLIENTS_MAX);
	WAIT_UNTIL(s->w->loop, s->admin->n_clients == 0);
}

/* What the engine still has to say of it is waited for. */
static void
a_service_goes_while_a_command_waits_for_its_engine(void **state)
{
	struct stage *s = *state;
	int fd = dial(s->w->socket);

	s->w->connections[0][GREEN] = 3;
	drain_start(s->w->control.services[0], GREEN, 30);
	s->w->hold_holders = true;
	say_line(s, fd, "drain shop\n");
	WAIT_UNTIL(s->w->loop, s->w->holders_done != NULL);
	world_remove(s->w, 0);
	assert_non_null(s->w->running[0]);
	world_tell_holders(s->w->holders_done, s->w->holders_arg);
	AWAIT(s, fd, "\"service\":\"shop\"");
	assert_null(s->w->running[0]);
	close(fd);
}

/* It keeps nothing of the service, and hears of the next one of that name. */
static void
events_of_a_service_that_goes_and_comes_back(void **state)
{
	struct stage *s = *state;
	int fd = dial(s->w->socket);

	say_line(s, fd, "events shop\n");
	AWAIT(s, fd, "events.listening");
	world_remove(s->w, 0);
	AWAIT(s, fd, "service.removed");
	world_add(s->w, 0);
	AWAIT(s, fd, "service.added");
	close(fd);
	fd = dial(s->w->socket);
	world_remove(s->w, 0);
	say_line(s, fd, "drain shop\n");
	AWAIT(s, fd, "unknown_service");
	world_add(s->w, 0);
	close(fd);
}

static void
a_stream_of_events_makes_way(void **state)
{
	struct stage *s = *state;
	int fds[ADMIN_CLIENTS_MAX], fd, ended = 0;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial(s->w->socket);
		say_line(s, fds[i], "events\n");
		AWAIT(s, fds[i], "events.listening");
	}
	/* A stream of events loses nothing that could not be begun again. */
	fd = dial(s->w->socket);
	say_line(s, fd, "version\n");
	AWAIT(s, fd, "\"ok\":true");
	close(fd);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		char text[4096];
		ssize_t n;

		while ((n = recv(fds[i], text, sizeof(text), MSG_DONTWAIT)) > 0)
			continue;
		ended += n == 0;
		close(fds[i]);
	}
	assert_int_equal(ended, 1);
}

static void
cuts_a_listener_who_does_not_listen(void **state)
{
	struct stage *s = *state;
	struct bus *bus = &s->w->control.bus;
	char big[8192];
	int fd = dial(s->w->socket);

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	say_line(s, fd, "events\n");
	AWAIT(s, fd, "events.listening");
	for (int i = 0; i < 1000 && s->admin->n_clients > 0; i++)
		BUS_EMIT(bus, LOG_DEBUG_LEVEL, "test.big", NULL, LS("text", big));
	assert_int_equal(s->admin->n_clients, 0);
	expect_log("events came faster than the client reads them");
	close(fd);
}

static void
closes_who_does_not_take_the_reply(void **state)
{
	struct stage *s = *state;
	int fd = dial(s->w->socket);
	struct admin_conn *c;

	say_line(s, fd, "");
	WAIT_UNTIL(s->w->loop, s->admin->n_clients == 1);
	c = list_entry(list_first(&s->admin->clients), struct admin_conn, link);
	/* Ever more questions, and not one answer read. */
	for (int i = 0; i < 10000 && buf_len(&c->out) == 0; i++) {
		if (send(fd, "help\n", 5, MSG_DONTWAIT) < 0)
			assert_int_equal(errno, EAGAIN);
		ev_run(s->w->loop, EVRUN_NOWAIT);
	}
	assert_true(buf_len(&c->out) > 0);
	assert_true(buf_len(&c->out) < CLIENT_REPLY_MAX);
	assert_false(admin_conn_is_idle(c));
	c->moved -= ADMIN_STUCK_SECONDS + 1;
	admin_conn_sweep(c);
	assert_false(admin_conn_is_open(c));
	expect_log("the client does not read");
	close(fd);
}

static void
says_so_when_it_ends_first(void **state)
{
	struct stage *s = *state;
	int flipping = dial(s->w->socket), listening = dial(s->w->socket);

	s->w->hold_writes = true;
	say_line(s, listening, "events\n");
	AWAIT(s, listening, "events.listening");
	say_line(s, flipping, "flip shop blue\n");
	WAIT_UNTIL(s->w->loop, s->w->held_done != NULL);
	admin_close(&s->admin);
	inbox_fill(&box, flipping);
	assert_non_null(strstr(box.text, "\"error\":\"unknown\""));
	assert_non_null(strstr(box.text, "\"changed\":null"));
	assert_true(box.eof);
	say_line(s, listening, "");
	inbox_fill(&box, listening);
	assert_non_null(strstr(box.text, "{\"ok\":true,\"stopping\":true}"));
	expect_log("\"result\":\"unknown\"");
	world_release_write(s->w);
	close(flipping);
	close(listening);
}

/* -- the file ---------------------------------------------------------------------- */

static void
the_socket_file_has_its_mode(void **state)
{
	struct stage *s = *state;
	struct stat st;

	assert_int_equal(stat(s->w->socket, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void
never_takes_what_is_somebody_elses(void **state)
{
	struct stage *s = *state;
	struct config other = s->w->config;
	struct why why;
	char path[128];
	struct stat st;
	int fd;

	/* Somebody answers. */
	assert_null(admin_bind(&other, &why));
	assert_non_null(strstr(why.text, "answers on"));
	json_decref(ask(s, "version\n"));
	/* Not a socket. */
	snprintf(path, sizeof(path), "%s/file", s->w->dir);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	other.admin.socket = path;
	assert_null(admin_bind(&other, &why));
	assert_non_null(strstr(why.text, "not a socket"));
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
	/* No folder. */
	snprintf(path, sizeof(path), "%s/none/admin.sock", s->w->dir);
	assert_null(admin_bind(&other, &why));
	assert_non_null(strstr(why.text, "create it first"));
	/* Our file was replaced: the new one is left alone at our end. */
	unlink(s->w->socket);
	other.admin.socket = s->w->socket;
	struct admin *second = admin_bind(&other, &why);
	assert_non_null(second);
	admin_close(&s->admin);
	assert_int_equal(stat(s->w->socket, &st), 0);
	admin_close(&second);
	assert_int_not_equal(stat(s->w->socket, &st), 0);
}

static void
takes_over_a_file_nobody_answers_on(void **state)
{
	struct stage *s = *state;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct config other = s->w->config;
	struct admin *a;
	struct why why;
	char path[128];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(path, sizeof(path), "%s/stale", s->w->dir);
	str_copy(un.sun_path, sizeof(un.sun_path), str_from(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 1), 0);
	close(fd);
	other.admin.socket = path;
	a = admin_bind(&other, &why);
	assert_non_null(a);
	fd = dial(path);
	assert_true(fd >= 0);
	close(fd);
	admin_close(&a);
	assert_int_not_equal(access(path, F_OK), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_the_small_questions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(explains_what_is_wrong, set_up, tear_down),
		cmocka_unit_test_setup_teardown(flips_with_progress_and_audits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(locks_one_and_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lists_what_holds_a_draining_color, set_up, tear_down),
		cmocka_unit_test_setup_teardown(maintenance_and_stop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(streams_events, set_up, tear_down),
		cmocka_unit_test_setup_teardown(denies_strangers_and_says_what_is_missing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(answers_half_closed_clients_in_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(keeps_commands_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(survives_lines_at_every_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(skips_a_line_that_is_too_long, set_up, tear_down),
		cmocka_unit_test_setup_teardown(drops_a_half_line_of_one_who_died, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_flip_goes_on_when_its_client_leaves, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_check_ends_with_its_client, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_longest_idle_makes_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_service_goes_while_a_command_waits_for_its_engine, set_up, tear_down),
		cmocka_unit_test_setup_teardown(events_of_a_service_that_goes_and_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stream_of_events_makes_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cuts_a_listener_who_does_not_listen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(closes_who_does_not_take_the_reply, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_so_when_it_ends_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_socket_file_has_its_mode, set_up, tear_down),
		cmocka_unit_test_setup_teardown(never_takes_what_is_somebody_elses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(takes_over_a_file_nobody_answers_on, set_up, tear_down),
	};
	char path[] = "/tmp/teal-admin-log-XXXXXX";

	real_stderr = dup(STDERR_FILENO);
	log_fd = mkstemp(path);
	unlink(path);
	if (real_stderr < 0 || log_fd < 0 || fcntl(log_fd, F_SETFL, O_APPEND) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
