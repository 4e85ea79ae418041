/* watch.c - asks for the status in a fixed rhythm and hands it to a view.  One
 * thread. */
#include <jansson.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/tealctl/admin_link.h"
#include "app/tealctl/remote.h"
#include "app/tealctl/render.h"
#include "app/tealctl/say.h"
#include "app/tealctl/watch.h"
#include "base/clock.h"

#define REACH_SECONDS 5.0
/* Until one that went away is looked for again. */
#define AGAIN_SECONDS 1.0
#define EXIT_UNREACHED 9

struct watch {
	const struct options *o;
	struct output *out;
	struct view *view;
	struct admin_link link;
	struct remote remote;
	bool reached;	/* there is a connection */
	double asked;	/* clock_now(); 0: nothing is asked */
	double next;	/* when to ask, or to connect again */
	const char *lost;	/* what happened; NULL: all is well */
	int status;	/* how it ends */
};

static enum err
reach_watched(struct watch *w, struct why *why)
{
	enum err e;

	if (remote_is_url(w->o->way.socket)) {
		/* What is asked for goes over the wire, line by line. */
		struct options there = *w->o;

		there.line = (struct admin_line){ .n_args = 1, .args = { STR("top") } };
		e = remote_open(&w->remote, &there, &w->link, why);
	} else {
		e = admin_link_open(&w->link, &w->o->way, w->lost != NULL && !admin_link_is_tls(w->o->way.socket) ? 0.2 : REACH_SECONDS, why);
	}
	w->reached = e == OK;
	w->asked = 0;
	return e;
}

static void
let_go(struct watch *w, const char *why)
{
	int status = remote_end(&w->remote, &w->link);

	admin_link_close(&w->link);
	w->reached = false;
	w->lost = status == REMOTE_NOT_THERE  ? "there is no tealctl to run there" :
		  status == REMOTE_SSH_FAILED ? "ssh did not reach it, or lost it" :
						why;
	/* The tealctl there has said why. */
	w->status = status > 0 && status != REMOTE_NOT_THERE && status != REMOTE_SSH_FAILED ? status :
											      EXIT_UNREACHED;
	w->next = clock_now() + AGAIN_SECONDS;
}

static void
ask_status(struct watch *w)
{
	w->asked = clock_now();
	w->next = w->asked + w->o->interval;
	/* A teald that closes at once may have sent a reason: the reading shows it. */
	if (!admin_link_send(&w->link, buf_str(&w->view->ask), REACH_SECONDS))
		return;
}

/* A reply: OK, or how tealctl ends because of it. */
static int
refused(struct watch *w, json_t *reply)
{
	const char *error = json_string_value(json_at(reply, "error"));
	struct buf b;

	if (json_is_true(json_at(reply, "ok")))
		return 0;
	buf_init(&b, 65536);
	say_refusal(&b, reply);
	output_complain(w->out, "%.*s", (int)buf_len(&b), buf_str(&b).p);
	buf_free(&b);
	return err_exit_status(err_from_word(error != NULL ? error : "internal"));
}

enum taken { TAKEN, TAKEN_NOT_YET, TAKEN_LOST, TAKEN_REFUSED };

/* The reply, if it is there within so many seconds. */
static enum taken
take_status(struct watch *w, double seconds, struct screen *s)
{
	struct str line;
	json_t *reply;

	switch (admin_link_read_line(&w->link, seconds, &line)) {
	case ADMIN_LINK_LINE:
		break;
	case ADMIN_LINK_QUIET:
		return TAKEN_NOT_YET;
	case ADMIN_LINK_GONE:
	case ADMIN_LINK_TOO_LONG:
	case ADMIN_LINK_UNWANTED:
		let_go(w, "teald closed the connection");
		return TAKEN_LOST;
	}
	reply = json_loadb(line.p, line.n, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(reply) || !json_is_boolean(json_at(reply, "ok"))) {
		json_decref(reply);
		let_go(w, "what answers there does not talk like teald");
		return TAKEN_LOST;
	}
	if (!json_is_true(json_at(reply, "ok"))) {
		if (s != NULL)
			screen_close(s);
		w->status = refused(w, reply);
		json_decref(reply);
		return TAKEN_REFUSED;
	}
	w->asked = 0;
	w->lost = NULL;
	if (w->o->json)
		output_raw(line);
	else
		w->view->take(w->view, reply);
	json_decref(reply);
	return TAKEN;
}

/* -- in a pipe -------------------------------------------------------------- */

static void
nap(double until)
{
	double left;

	while ((left = until - clock_now()) > 0)
		poll(NULL, 0, left > 1000 ? 1000000 : (int)(left * 1000) + 1);
}

/* top shows what moved between two readings and is done; status goes on for
 * ever, a blank line behind each. */
static int
in_a_pipe(struct watch *w)
{
	for (unsigned n = 1;; n++) {
		ask_status(w);
		switch (take_status(w, REACH_SECONDS, NULL)) {
		case TAKEN:
			break;
		case TAKEN_REFUSED:
			return w->status;
		case TAKEN_NOT_YET:
			w->lost = "teald does not answer: it hangs or is overrun";
			goto lost;
		case TAKEN_LOST:
			goto lost;
		}
		if (w->o->view == VIEW_TOP && n == 2) {
			if (!w->o->json)
				w->view->print(w->view);
			return 0;
		}
		if (w->o->view == VIEW_WATCH && !w->o->json)
			w->view->print(w->view);
		if (ferror(stdout))
			return err_exit_status(E_INTERNAL);
		nap(w->next);
	}
lost:
	output_complain(w->out, "%s (%s)", w->lost, w->o->way.socket);
	return w->status;
}

/* -- on a terminal ---------------------------------------------------------- */

static void
show(struct watch *w, struct screen *s)
{
	struct buf b;

	buf_init(&b, 4u << 20);
	w->view->draw(w->view, s, w->lost, &b);
	screen_show(s, buf_str(&b));
	buf_free(&b);
}

/* What is due now by the clock alone. */
static bool
watch_go_on(struct watch *w)
{
	double now = clock_now();
	struct why why;

	if (w->reached && w->asked > 0 && now - w->asked > REACH_SECONDS) {
		w->lost = "teald does not answer: it hangs or is overrun";
		if (now - w->asked > 2 * REACH_SECONDS)
			let_go(w, w->lost);
	}
	if (now < w->next)
		return true;
	if (!w->reached) {
		w->next = now + AGAIN_SECONDS;
		if (reach_watched(w, &why) != OK)
			return !remote_is_url(w->o->way.socket);
	}
	if (w->asked == 0)
		ask_status(w);
	else
		w->next = now + w->o->interval;
	return true;
}

static bool
take_keys(struct watch *w, struct screen *s)
{
	enum key k;
	char c = '\0';

	while ((k = screen_key(s, &c)) != KEY_NONE) {
		struct str before = buf_str(&w->view->ask);
		uint64_t n = before.n;

		if (k == KEY_GONE || (k == KEY_CHAR && c == '\x03') || !w->view->key(w->view, k, c))
			return false;
		/* Something else is looked at: at once. */
		if (buf_len(&w->view->ask) != n)
			w->next = 0;
	}
	return true;
}

static int
on_the_screen(struct watch *w)
{
	struct screen s;
	double wait;

	screen_open(&s);
	for (;;) {
		struct pollfd p[2] = { { s.keys, POLLIN, 0 }, { w->reached ? w->link.fd : -1, POLLIN, 0 } };

		wait = w->next - clock_now();
		wait = wait < 0 ? 0 : wait > 0.5 ? 0.5 : wait;
		if (poll(p, 2, (int)(wait * 1000) + 1) < 0 && errno != EINTR)
			break;
		if (p[0].revents & (POLLHUP | POLLERR | POLLNVAL))
			break;
		if ((p[0].revents & POLLIN) && !take_keys(w, &s))
			break;
		if (p[1].revents != 0 && take_status(w, 0, &s) == TAKEN_REFUSED)
			return w->status;
		/* An ssh that ended has said why: its words must stay to be read. */
		if ((w->lost != NULL && !w->reached && remote_is_url(w->o->way.socket)) || !watch_go_on(w)) {
			screen_close(&s);
			output_complain(w->out, "%s (%s)", w->lost != NULL ? w->lost : "not reached",
					w->o->way.socket);
			return w->status;
		}
		(void)screen_changed(&s);
		show(w, &s);
	}
	screen_close(&s);
	return 0;
}

/* -- at the other end of ssh ------------------------------------------------ */

/* Passes on the requests of the tealctl at the other end, if they ask for the status. */
static int
pass_request(struct watch *w)
{
	char *text = NULL;
	size_t size = 0;
	ssize_t n;
	int status = 0;

	w->link.caller = STDIN_FILENO;
	while (status == 0 && (n = getline(&text, &size, stdin)) > 0) {
		struct admin_request request;
		struct admin_line line;
		struct str reply;
		struct why why;

		if (text[n - 1] == '\n')
			n--;
		if (admin_line_parse((struct str){ text, (size_t)n }, &line, &why) != OK ||
		    admin_command_parse(&line, &request, &why) != OK || request.command != ADMIN_STATUS) {
			status = err_exit_status(E_USAGE);
			break;
		}
		text[n] = '\n';
		if (!admin_link_send(&w->link, (struct str){ text, (size_t)n + 1 }, REACH_SECONDS) ||
		    admin_link_read_line(&w->link, 2 * REACH_SECONDS, &reply) != ADMIN_LINK_LINE) {
			output_complain(w->out, "teald closed the connection, or does not answer (%s)",
					w->o->way.socket);
			status = EXIT_UNREACHED;
			break;
		}
		output_raw(reply);
	}
	free(text);
	return status;
}

int
watch(const struct options *o, struct output *out)
{
	struct watch w = { .o = o, .out = out, .status = EXIT_UNREACHED };
	struct why why;
	enum err e;
	int status;

	if (remote_is_url(o->way.socket) && o->remote) {
		output_complain(out, "no further by ssh from here: %.200s", o->way.socket);
		return err_exit_status(E_USAGE);
	}
	if ((e = reach_watched(&w, &why)) != OK) {
		output_complain(out, "%s", why.text);
		return e == E_USAGE ? err_exit_status(e) : EXIT_UNREACHED;
	}
	w.view = o->view == VIEW_TOP ? view_top_new(o, out) : view_status_new(o, out);
	if (o->remote)
		status = pass_request(&w);
	else if (out->rewrites && !o->json)
		status = on_the_screen(&w);
	else
		status = in_a_pipe(&w);
	w.view->free(w.view);
	remote_end(&w.remote, &w.link);
	admin_link_close(&w.link);
	return status;
}
