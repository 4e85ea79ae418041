/* talk.c - sends the command, shows progress, and knows how it ended, also
 * when teald stops talking half way.  One thread. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/tealctl/admin_link.h"
#include "app/tealctl/remote.h"
#include "app/tealctl/render.h"
#include "app/tealctl/say.h"
#include "app/tealctl/talk.h"
#include "base/clock.h"

/* A teald that is well answers within milliseconds. */
#define REACH_SECONDS 5.0
/* Its own default for --timeout with --wait=applied. */
#define APPLIED_SECONDS 5.0
/* So long an upgrade may say nothing. */
#define UPGRADE_SECONDS 120.0

/* How often a line that counts down is written again. */
#define TICK_SECONDS 1.0

/* Beyond the table of errors. */
enum { EXIT_LATE = 8, EXIT_UNREACHED = 9, EXIT_UNKNOWN = 11 };

static const char not_teald[] = "what answers there does not talk like teald";
static const char silent[] = "teald does not answer: it hangs or is overrun";

struct talk {
	const struct options *o;
	struct output *out;
	const struct admin_command_info *info;
	struct admin_link link;
	struct remote remote;	/* pid 0: teald is on this machine */
	struct render render;
	bool committed, applied;	/* how far a flip has come */
	const char *lost;	/* what happened to teald, for the message */
};

enum step { STEP_MORE, STEP_DONE, STEP_LOST };

static void
on_interrupt(int sig)
{
	static const char text[] = "\ntealctl: interrupted; the command goes on without its client\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)n;
	/* SA_RESETHAND: now it ends us the usual way. */
	raise(sig);
}

/* How long silence is normal before teald is asked whether it lives. */
static double
patience(const struct talk *t)
{
	const struct admin_request *r = &t->o->request;
	double seconds = REACH_SECONDS;

	if (r->command == ADMIN_FLIP || r->command == ADMIN_SHIFT || r->command == ADMIN_ROLLBACK)
		seconds += r->wait_healthy + (r->has_timeout ? r->timeout : APPLIED_SECONDS);
	if (r->command == ADMIN_CLAIM)
		seconds += r->claim_wait;
	if (r->command == ADMIN_CHECK)
		seconds += r->wait_healthy;
	/* Its first checks may take as long as upgrade.ready_timeout, and nothing is accepted for a moment. */
	if (r->command == ADMIN_UPGRADE)
		seconds += UPGRADE_SECONDS;
	return seconds;
}

/* The next object; STEP_LOST with t->lost when there will be none. */
static enum step
next_object(struct talk *t, double seconds, struct str *line, json_t **object)
{
	json_error_t error;
	double until = clock_now() + seconds, left;

	for (;;) {
		left = until - clock_now();
		if (t->out->pending && left > TICK_SECONDS)
			left = TICK_SECONDS;
		switch (admin_link_read_line(&t->link, left, line)) {
		case ADMIN_LINK_LINE:
			*object = json_loadb(line->p, line->n, JSON_ALLOW_NUL, &error);
			if (json_is_object(*object))
				return STEP_MORE;
			json_decref(*object);
			t->lost = not_teald;
			return STEP_LOST;
		case ADMIN_LINK_GONE:
			t->lost = "teald closed the connection before its answer was complete";
			return STEP_LOST;
		case ADMIN_LINK_TOO_LONG:
			t->lost = "what answers there sends a line without end";
			return STEP_LOST;
		case ADMIN_LINK_UNWANTED:
			t->lost = "the asking side has gone";
			return STEP_LOST;
		case ADMIN_LINK_QUIET:
			render_tick(&t->render);
			/* The tealctl there asks its teald, and ssh asks the way. */
			if (t->remote.pid != 0 || clock_now() < until)
				continue;
			until = clock_now() + seconds;
			if (admin_link_probe(&t->o->way, REACH_SECONDS))
				continue;
			t->lost = silent;
			return STEP_LOST;
		}
	}
}

/* A timeout says what was being waited for: to be drained, to be applied, or,
 * when the service is not even flipped, to be let through. */
static int
refusal_status(const struct talk *t, const char *word, json_t *object)
{
	const struct admin_request *q = &t->o->request;
	const char *active = json_string_value(json_at(object, "active"));
	enum err e = err_from_word(word);

	if (e != E_TIMEOUT || q->command == ADMIN_NODE)
		return err_exit_status(e);
	if (json_is_false(json_at(object, "changed")) && !(active != NULL && str_eq(q->color, active)))
		return err_exit_status(E_UNHEALTHY);
	return t->applied && q->wait == ADMIN_WAIT_DRAINED ? err_exit_status(e) : EXIT_LATE;
}

/* Of a file, each with its place. */
static void
tell_errors(json_t *object)
{
	const struct output plain = { .terminal = false };
	json_t *list = json_at(object, "errors"), *e;
	struct buf b;
	size_t i;

	buf_init(&b, 1 << 20);
	json_array_foreach(list, i, e)
	{
		buf_clear(&b);
		say_into(&b, &plain, e, json_has(e, "line") ? "{file}:{line}: {message}" : "{message}");
		fprintf(stderr, "%.*s\n", (int)buf_len(&b), buf_str(&b).p);
	}
	buf_free(&b);
}

static int
take_last_reply(struct talk *t, json_t *object)
{
	json_t *word = json_at(object, "error");
	const char *error = json_is_string(word) ? json_string_value(word) : "internal";

	if (json_is_true(json_at(object, "ok"))) {
		if (t->o->export != EXPORT_NONE)
			return render_export(&t->render, object);
		if (!t->o->json)
			render_reply(&t->render, object);
		return 0;
	}
	if (!t->o->json) {
		struct buf b;

		output_settle(t->out);
		tell_errors(object);
		buf_init(&b, 1 << 20);
		say_refusal(&b, object);
		if (json_is_true(json_at(object, "changed")) && json_at(object, "active") != NULL)
			say_into(&b, &(struct output){ .terminal = false }, object,
				 "; it did change: {active} is active, epoch {epoch}");
		else if (json_is_null(json_at(object, "changed")))
			buf_printf(&b, "; whether it changed is unknown: see tealctl status");
		fprintf(stderr, "tealctl: %.*s\n", (int)buf_len(&b), buf_str(&b).p);
		buf_free(&b);
	}
	return refusal_status(t, error, object);
}

static void
take_event(struct talk *t, json_t *object)
{
	const char *event = json_string_value(json_at(object, "event"));

	if (strcmp(event, "committed") == 0)
		t->committed = true;
	else if (strcmp(event, "applied") == 0)
		t->committed = t->applied = true;
	if (!t->o->json)
		render_event(&t->render, object);
}

/* Reads until the last object of one command; its status in *status. */
static enum step
read_replies(struct talk *t, int *status)
{
	enum step step = STEP_MORE;
	struct str line;
	json_t *object;

	while (step == STEP_MORE) {
		if (next_object(t, patience(t), &line, &object) != STEP_MORE)
			return STEP_LOST;
		if (json_at(object, "ok") == NULL && !json_is_string(json_at(object, "event"))) {
			t->lost = not_teald;
			step = STEP_LOST;
		} else {
			if (t->o->json)
				output_raw(line);
			if (json_at(object, "ok") == NULL) {
				take_event(t, object);
			} else {
				*status = take_last_reply(t, object);
				step = STEP_DONE;
			}
		}
		json_decref(object);
	}
	return step;
}

/* What changes something is sent only to a teald that answers: after that,
 * status 9 means for certain that nothing has changed.  A refusal here is the
 * answer to the command. */
static enum step
greet_caller(struct talk *t, int *status)
{
	bool sent = admin_link_send(&t->link, STR("version\n"), REACH_SECONDS);
	enum step step = STEP_MORE;
	struct str line;
	json_t *object;

	/* One that hangs up at once may have said why: read in any case. */
	switch (admin_link_read_line(&t->link, sent ? REACH_SECONDS : 0, &line)) {
	case ADMIN_LINK_LINE:
		break;
	case ADMIN_LINK_QUIET:
		t->lost = silent;
		return STEP_LOST;
	case ADMIN_LINK_GONE:
	case ADMIN_LINK_TOO_LONG:
	case ADMIN_LINK_UNWANTED:
		t->lost = "teald closed the connection";
		return STEP_LOST;
	}
	object = json_loadb(line.p, line.n, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(object) || !json_is_boolean(json_at(object, "ok"))) {
		t->lost = not_teald;
		step = STEP_LOST;
	} else if (!json_is_true(json_at(object, "ok"))) {
		if (t->o->json)
			output_raw(line);
		*status = take_last_reply(t, object);
		step = STEP_DONE;
	}
	json_decref(object);
	return step;
}

/* The tealctl that started this one by ssh is told that teald is there.  False
 * when it has gone: then it will not learn, either, what became of a change. */
static bool
ask_leave(void)
{
	char c = '\0';

	puts("{\"event\":\"reached\"}");
	fflush(stdout);
	while (c != '\n')
		if (read(STDIN_FILENO, &c, 1) != 1)
			return false;
	return true;
}

/* The same at the other end: STEP_MORE when the tealctl there may go on. */
static enum step
greet_remote(struct talk *t, int *status)
{
	enum step step = STEP_LOST;
	struct str line;
	json_t *object;

	if (next_object(t, REACH_SECONDS, &line, &object) != STEP_MORE)
		return STEP_LOST;
	if (json_is_boolean(json_at(object, "ok"))) {
		if (t->o->json)
			output_raw(line);
		*status = take_last_reply(t, object);
		step = STEP_DONE;
	} else if (json_is_string(json_at(object, "event")) &&
		   strcmp(json_string_value(json_at(object, "event")), "reached") == 0) {
		t->lost = "the connection was lost";
		step = admin_link_send(&t->link, STR(REMOTE_GO), REACH_SECONDS) ? STEP_MORE : STEP_LOST;
	} else {
		t->lost = not_teald;
	}
	json_decref(object);
	return step;
}

static int
unreached(struct talk *t)
{
	output_complain(t->out, "%s (%s)", t->lost, t->o->way.socket);
	return EXIT_UNREACHED;
}

/* The command went out, but its last object never came. */
static int
lost(struct talk *t)
{
	bool flip = t->info->command == ADMIN_FLIP || t->info->command == ADMIN_SHIFT || t->info->command == ADMIN_ROLLBACK;

	if (!t->info->changes)
		return unreached(t);
	if (flip && t->applied && t->o->request.wait == ADMIN_WAIT_DRAINED) {
		output_complain(t->out, "%s (%s); the flip is applied, the old color may still drain",
				t->lost, t->o->way.socket);
		return err_exit_status(E_TIMEOUT);
	}
	if (flip && t->committed) {
		output_complain(t->out, "%s (%s); the flip is stored, but not confirmed: see tealctl status",
				t->lost, t->o->way.socket);
		return EXIT_LATE;
	}
	output_complain(t->out, "%s (%s); whether anything changed is unknown: see tealctl status", t->lost,
			t->o->way.socket);
	return EXIT_UNKNOWN;
}

/* The last object never came: what ssh says about that.  sent: the command may
 * have reached teald. */
static int
lost_remote(struct talk *t, bool sent)
{
	int status = remote_end(&t->remote, &t->link);

	/* The tealctl there has said why. */
	if (status > 0 && status != REMOTE_SSH_FAILED && status != REMOTE_NOT_THERE)
		return status;
	if (status == REMOTE_NOT_THERE) {
		output_complain(t->out, "there is no tealctl on %s to run", t->remote.where);
		return EXIT_UNREACHED;
	}
	if (status == REMOTE_SSH_FAILED && !sent) {
		output_complain(t->out, "ssh did not reach %s, or lost it", t->remote.where);
		return EXIT_UNREACHED;
	}
	if (status != 0)
		t->lost = "the ssh connection was lost";
	return sent ? lost(t) : unreached(t);
}

static enum step
begin_change(struct talk *t, int *status)
{
	enum step step = t->remote.pid != 0 ? greet_remote(t, status) : greet_caller(t, status);

	if (step == STEP_MORE && t->o->remote && !ask_leave()) {
		t->lost = "the asking side has gone; nothing was sent";
		return STEP_LOST;
	}
	return step;
}

static int
converse(struct talk *t)
{
	int status = EXIT_UNREACHED;
	bool remote = t->remote.pid != 0;

	if (t->info->changes) {
		switch (begin_change(t, &status)) {
		case STEP_MORE:
			break;
		case STEP_DONE:
			return status;
		case STEP_LOST:
			return remote ? lost_remote(t, false) : unreached(t);
		}
		sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND },
			  NULL);
	}
	t->render.started = clock_now();
	/* One that hangs up at once may have said why: read in any case. */
	if (!remote && !admin_link_send(&t->link, buf_str(&t->o->text), REACH_SECONDS))
		t->lost = "teald takes no more of the command";
	if (read_replies(t, &status) == STEP_DONE)
		return status;
	return remote ? lost_remote(t, t->info->changes) : lost(t);
}

static enum err
reach_teald(struct talk *t, struct why *why)
{
	const struct options *o = t->o;
	enum err e;

	if (remote_is_url(o->way.socket) && o->remote)
		return why_set(why, E_USAGE, "no further by ssh from here: %.200s", o->way.socket);
	if (remote_is_url(o->way.socket))
		return remote_open(&t->remote, o, &t->link, why);
	e = admin_link_open(&t->link, &o->way, REACH_SECONDS, why);
	if (e == OK && o->remote)
		t->link.caller = STDIN_FILENO;
	return e;
}

int
talk(const struct options *o, struct output *out)
{
	struct talk t = { .o = o, .out = out, .info = admin_command_info(o->request.command) };
	struct why why;
	int status;
	enum err e;

	t.render = (struct render){ .out = out, .request = &o->request, .export = o->export };
	if ((e = reach_teald(&t, &why)) != OK) {
		/* One's own version is worth knowing then, too. */
		if (o->request.command == ADMIN_VERSION && !o->json)
			render_client_version(&t.render);
		output_complain(out, "%s", why.text);
		return e == E_USAGE || e == E_DENIED ? err_exit_status(e) : EXIT_UNREACHED;
	}
	status = converse(&t);
	remote_end(&t.remote, &t.link);
	admin_link_close(&t.link);
	json_decref(t.render.draining);
	return status;
}
