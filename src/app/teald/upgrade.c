/* upgrade.c - the predecessor's side of an upgrade.  Thread: main.
 * The walk: upgrade_ask -> begin_upgrade -> (supervisor) upgrade_on_word ->
 * upgrade_on_message -> freeze -> (upgrade_give.c) upgrade_yield_all -> upgrade_give_all -> leave. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/teald/admin.h"
#include "app/teald/supervised.h"
#include "app/teald/upgrade_private.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/tlv.h"
#include "base/version.h"
#include "control/peer.h"
#include "control/reload.h"

/* How often it is looked whether what is waited for has come. */
#define LOOK 0.02
/* A supervisor that says nothing for so long beyond its time never will, seconds. */
#define GRACE 5.0
/* One that holds nothing leaves at once; seconds. */
#define LEAVES_WITHIN 2.0

static const char *const state_words[] = { "none",     "waiting",  "starting", "preparing",
					   "freezing", "yielding", "given",    "served" };

static struct upgrade *the;	/* there is one in a process; NULL before it serves */

void
upgrade_become(struct upgrade *u, enum upgrade_state state)
{
	u->state = state;
	supervised_doing(state == UPGRADE_NONE ? NULL : state_words[state]);
}

/* -- the answer -------------------------------------------------------------------- */

static void
answer_upgrade(struct upgrade *u, enum err e, const char *message)
{
	const struct upgrade_result r = {
		.e = e,
		.message = message,
		.changed = e == OK,
		.successor = u->other.pid != 0 ? &u->other : NULL,
		.seconds = clock_now() - u->asked,
	};
	struct upgrade_wait *w = u->wait;

	u->wait = NULL;
	if (w != NULL)
		w->done(w, &r);
}

static void
drop_channels(struct upgrade *u)
{
	for (unsigned i = 0; i < u->n_channels; i++)
		close(u->channels[i]);
	u->n_channels = 0;
}

/* What to do next; the message of a conflict says so itself. */
static const char *
upgrade_advice(const struct upgrade *u, enum err e)
{
	if (u->parts.control->life > LIFE_SERVING)
		return "";
	if (e == E_USAGE || e == E_CONFIG)
		return "; mend that, and ask again";
	if (e == E_TIMEOUT)
		return "; mend what was waited for, or give it more time (upgrade.ready_timeout), and ask again";
	return e == E_INTERNAL ? "; the last lines of the log say more: mend that, and ask again" : "";
}

/* Nothing has changed, and all goes on. */
static void
fail_upgrade(struct upgrade *u, enum err e, const char *message)
{
	char text[1200];
	struct buf row;

	snprintf(text, sizeof(text), "%.1000s; nothing was changed: process %d serves on%s", message, (int)getpid(),
		 upgrade_advice(u, e));
	upgrade_count(false);
	if (line_is_open(&u->line)) {
		buf_init(&row, 2048);
		tlv_str(&row, SUCCESSION_T_WHY, str_from(text));
		(void)line_send(&u->line, SUCCESSION_NO, &row, NULL, 0);
		buf_free(&row);
	}
	line_close(&u->line);
	peer_free(&u->peer);
	drop_channels(u);
	if (u->state == UPGRADE_FREEZING)
		admin_thaw(u->parts.admin);
	ev_timer_stop(u->loop, &u->look);
	upgrade_become(u, UPGRADE_NONE);
	reload_hold(u->parts.control->reloads, false);
	BUS_EMIT(&u->parts.control->bus, LOG_ERROR_LEVEL, "upgrade.failed", NULL, LS("by", u->by),
		 LS("error", err_word(e)), LS("message", text), LF("seconds", clock_now() - u->asked));
	answer_upgrade(u, e, text);
	u->other = (struct other_generation){ 0 };
}

/* -- the course up to it --------------------------------------------------------------- */

static void
freeze(struct upgrade *u)
{
	upgrade_become(u, UPGRADE_FREEZING);
	u->frozen = clock_now();
	u->deadline = u->frozen + u->parts.control->config->upgrade.ready_timeout;
	/* What is under way may take its time: who asks how it goes is answered. */
	admin_hush(u->parts.admin);
}

static bool
all_is_settled(const struct upgrade *u, const char **why)
{
	if (!peer_is_settled(u->parts.control, why))
		return false;
	*why = "commands are under way";
	return admin_is_settled(u->parts.admin);
}

/* A successor that is prepared has come after another one died that had been given all. */
static void
prepared(struct upgrade *u, int *fds, unsigned n)
{
	if (u->state != UPGRADE_PREPARING && u->state != UPGRADE_YIELDING && u->state != UPGRADE_GIVEN)
		return;
	u->is_prepared = true;
	drop_channels(u);
	for (unsigned i = 0; i < n; i++) {
		u->channels[u->n_channels++] = fds[i];
		fds[i] = -1;
	}
	BUS_EMIT(&u->parts.control->bus, LOG_INFO_LEVEL, "upgrade.prepared", NULL, LI("pid", u->other.pid),
		 LS("version", u->other.version), LF("seconds", clock_now() - u->asked));
	if (u->state == UPGRADE_PREPARING)
		freeze(u);
	else if (u->state == UPGRADE_GIVEN) {
		u->deadline = clock_now() + u->parts.control->config->upgrade.timeout;
		upgrade_give_all(u);
	}
}

static void
served(struct upgrade *u)
{
	if (u->state != UPGRADE_GIVEN)
		return;
	upgrade_become(u, UPGRADE_SERVED);
	upgrade_count(true);
	BUS_EMIT(&u->parts.control->bus, LOG_INFO_LEVEL, "upgrade.serving", NULL, LS("by", u->by),
		 LI("pid", u->other.pid), LS("version", u->other.version),
		 LF("seconds", clock_now() - u->asked), LF("paused", clock_now() - u->yielded),
		 LU("remaining", peer_left(u->peer)));
	answer_upgrade(u, OK, "");
	upgrade_tell_held(u);
}

static void
upgrade_on_message(struct peer_line *l, uint16_t type, struct str row, int *fds, unsigned n, bool cut)
{
	struct upgrade *u = l->arg;

	switch (type) {
	case SUCCESSION_HELLO:
		succession_on_hello(&u->other, row);
		return;
	case SUCCESSION_PREPARED:
		/* Without a channel for each worker what we have ends here. */
		prepared(u, fds, cut ? 0 : n);
		return;
	case SUCCESSION_SERVING:
		served(u);
		return;
	default:
		if (type >= SUCCESSION_TYPES && u->peer != NULL)
			peer_on_message(u->peer, type, row);
	}
}

/* Before the yielding the supervisor says why; after it, it starts another one. */
static void
upgrade_on_end(struct peer_line *l)
{
	struct upgrade *u = l->arg;

	u->is_prepared = false;
	if (u->state < UPGRADE_YIELDING)
		return;
	LOG_WARN("upgrade.successor_gone", LI("pid", u->other.pid));
	peer_gone(u->peer);
	if (u->state == UPGRADE_SERVED)
		upgrade_become(u, UPGRADE_GIVEN);
}

static const struct line_calls calls = { upgrade_on_message, upgrade_on_end };

static void
upgrade_send_peer(void *arg, enum peer_type type, const struct buf *fields)
{
	struct upgrade *u = arg;

	(void)line_send(&u->line, (uint16_t)type, fields, NULL, 0);
}

/* fd is consumed. */
static void
meet_successor(struct upgrade *u, pid_t pid, int fd)
{
	bool again = u->state >= UPGRADE_YIELDING;
	static const struct line_calls none = { upgrade_on_message, upgrade_on_end };
	struct peer_line refused;
	struct buf row;

	if (u->state != UPGRADE_STARTING && !again) {
		/* One that came too late ends by itself. */
		line_open(&refused, u->loop, fd, &none, u);
		buf_init(&row, 256);
		tlv_str(&row, SUCCESSION_T_WHY, STR("the upgrade was given up"));
		(void)line_send(&refused, SUCCESSION_NO, &row, NULL, 0);
		buf_free(&row);
		line_close(&refused);
		return;
	}
	/* The supervisor may know of a death before it has been read here. */
	if (line_is_open(&u->line)) {
		line_close(&u->line);
		upgrade_on_end(&u->line);
	}
	u->other = (struct other_generation){ .pid = pid, .since = clock_now() };
	line_open(&u->line, u->loop, fd, &calls, u);
	/* Each has one of its own. */
	peer_free(&u->peer);
	u->peer = peer_new(u->parts.control, PEER_IS_SUCCESSOR, upgrade_send_peer, u);
	succession_greet(&u->line, u->parts.control->config);
	if (!again)
		upgrade_become(u, UPGRADE_PREPARING);
}

/* What the supervisor says; *fd, -1: none, is ours where it becomes -1. */
static void
upgrade_on_word(void *arg, struct str word, int *fd)
{
	static const char successor[] = "successor ", failed[] = "upgrade failed: ";
	struct upgrade *u = arg;
	char text[1024], *why;
	uint64_t pid;

	if (word.n > sizeof(successor) - 1 && memcmp(word.p, successor, sizeof(successor) - 1) == 0 &&
	    *fd >= 0 &&
	    str_to_u64((struct str){ word.p + sizeof(successor) - 1, word.n - (sizeof(successor) - 1) },
		       INT32_MAX, &pid)) {
		meet_successor(u, (pid_t)pid, *fd);
		*fd = -1;
	} else if (word.n >= sizeof(failed) - 1 && memcmp(word.p, failed, sizeof(failed) - 1) == 0 &&
		   u->state >= UPGRADE_STARTING && u->state < UPGRADE_YIELDING) {
		(void)str_copy(text, sizeof(text),
			       (struct str){ word.p + sizeof(failed) - 1, word.n - (sizeof(failed) - 1) });
		why = strstr(text, ": ");
		if (why != NULL)
			*why = '\0';
		if (why != NULL && strcmp(err_word(err_from_word(text)), text) == 0) {
			fail_upgrade(u, err_from_word(text), why + 2);
			return;
		}
		/* An older supervisor's, without an error. */
		if (why != NULL)
			*why = ':';
		fail_upgrade(u, E_INTERNAL, text);
	}
}

static void
begin_upgrade(struct upgrade *u)
{
	char text[1400];
	int n = snprintf(text, sizeof(text), "upgrade %.0f",
			 ceil(u->parts.control->config->upgrade.ready_timeout));
	size_t end = (size_t)n + 1;

	n = snprintf(text + end, sizeof(text) - end, "%s", u->binary);
	end += (size_t)n + 1;
	if (end < sizeof(text)) {
		n = snprintf(text + end, sizeof(text) - end, "%s", u->config);
		end += (size_t)n + 1;
	}
	if (end >= sizeof(text)) {
		fail_upgrade(u, E_USAGE, "the paths are too long");
		return;
	}
	upgrade_become(u, UPGRADE_STARTING);
	u->deadline = clock_now() + 2 * u->parts.control->config->upgrade.ready_timeout + GRACE;
	BUS_EMIT(&u->parts.control->bus, LOG_INFO_LEVEL, "upgrade.started", NULL, LS("by", u->by),
		 LS("version", teal_version()), LS("binary", u->binary), LS("config", u->config));
	supervised_say_bytes((struct str){ text, end });
}

/* OK: nothing stands in the way, or only what may go by itself. */
static enum err
may_ask(const struct upgrade *u, struct why *why)
{
	if (supervised_by() == 0)
		return why_set(
			why, E_UNSUPPORTED,
			"this teald has no supervisor that could start another one (--no-supervisor); restart it");
	if (u->parts.control->life > LIFE_SERVING)
		return why_set(why, E_INTERNAL, "teald is stopping");
	if (u->parts.control->life < LIFE_SERVING)
		return why_set(why, E_CONFLICT, "teald has not begun to serve yet; ask again when it does");
	if (u->state != UPGRADE_NONE)
		return why_set(
			why, E_CONFLICT,
			"an upgrade is under way, asked for by %s %.0f s ago (%s); ask again when it is over",
			u->by, clock_now() - u->asked, state_words[u->state]);
	return OK;
}

/* OK: the process before this one has left.  It does so soon, as a rule. */
static enum err
has_left(const struct upgrade *u, struct why *why)
{
	const struct other_generation *o = succession_predecessor(*u->parts.succession);

	if (o == NULL)
		return OK;
	return why_set(
		why, E_CONFLICT,
		"the process before this one (pid %d, version %s) has not left yet: it holds %llu connections and "
		"%llu commands; ask again when they have ended, or after upgrade.timeout",
		o->pid, o->version, (unsigned long long)o->clients, (unsigned long long)o->commands);
}

/* One that holds nothing any more is about to end, which a disk that does not answer can put off. */
static double
leaves_within(const struct upgrade *u)
{
	const struct other_generation *o = succession_predecessor(*u->parts.succession);

	return o->clients == 0 && o->commands == 0 ? u->parts.control->config->upgrade.ready_timeout : LEAVES_WITHIN;
}

static void
wait_for_turn(struct upgrade *u)
{
	struct why why;
	enum err e = has_left(u, &why);

	if (!reload_is_idle(u->parts.control->reloads) || (e != OK && clock_now() - u->asked < leaves_within(u)))
		return;
	if (e != OK)
		fail_upgrade(u, e, why.text);
	else
		begin_upgrade(u);
}

static void
upgrade_on_look(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct upgrade *u = container_of(t, struct upgrade, look);
	const struct control *c = u->parts.control;
	double now = clock_now();
	const char *why = "";
	char text[256];

	(void)revents;
	if (c->life > LIFE_YIELDED) {
		if (u->state < UPGRADE_YIELDING)
			fail_upgrade(u, E_INTERNAL, "teald is stopping");
		else if (u->state == UPGRADE_SERVED)
			ev_timer_stop(loop, t);
		return;
	}
	switch (u->state) {
	case UPGRADE_NONE:
	case UPGRADE_YIELDING:
		return;
	case UPGRADE_WAITING:
		wait_for_turn(u);
		return;
	case UPGRADE_STARTING:
	case UPGRADE_PREPARING:
		if (now >= u->deadline)
			fail_upgrade(u, E_TIMEOUT,
				     "the supervisor has not said what became of the successor");
		return;
	case UPGRADE_FREEZING:
		/* One that has died meanwhile is the supervisor's to tell of. */
		if (u->is_prepared && all_is_settled(u, &why)) {
			upgrade_yield_all(u);
		} else if (now >= u->deadline) {
			snprintf(text, sizeof(text),
				 "what is under way did not end within upgrade.ready_timeout: %s", why);
			fail_upgrade(u, E_TIMEOUT, text);
		}
		return;
	case UPGRADE_GIVEN:
	case UPGRADE_SERVED:
		upgrade_look_whether_over(u, now);
		return;
	}
}

/* -- asked ------------------------------------------------------------------------------------ */

void
upgrade_ask(struct upgrade *u, struct upgrade_wait *w)
{
	struct why why;
	enum err e = may_ask(u, &why);

	if (e != OK) {
		w->done(w, &(struct upgrade_result){ .e = e, .message = why.text });
		return;
	}
	free(u->binary);
	free(u->config);
	u->binary = str_dup(w->binary);
	u->config = str_dup(w->config);
	CHECK(u->binary != NULL && u->config != NULL);
	str_copy(u->by, sizeof(u->by), str_from(w->by));
	u->wait = w;
	u->asked = clock_now();
	u->other = (struct other_generation){ 0 };
	ev_timer_again(u->loop, &u->look);
	upgrade_become(u, UPGRADE_WAITING);
	reload_hold(u->parts.control->reloads, true);
	wait_for_turn(u);
}

static void
signal_on_done(struct upgrade_wait *w, const struct upgrade_result *r)
{
	/* What was begun is in the log already. */
	if (r->e != OK && r->seconds <= 0)
		LOG_ERROR("upgrade.refused", LS("by", w->by), LS("error", err_word(r->e)),
			  LS("message", r->message));
	free(w);
}

void
upgrade_on_signal(struct upgrade *u)
{
	struct upgrade_wait *w = must_alloc(sizeof(*w));

	*w = (struct upgrade_wait){ .binary = STR(""), .config = STR(""), .done = signal_on_done };
	str_copy(w->by, sizeof(w->by), STR("SIGUSR2"));
	upgrade_ask(u, w);
}

struct upgrade *
upgrade_new(const struct upgrade_parts *parts)
{
	struct upgrade *u = must_alloc(sizeof(*u));

	*u = (struct upgrade){ .parts = *parts, .loop = parts->control->loop, .shortcut_counts = -1 };
	ev_timer_init(&u->look, upgrade_on_look, LOOK, LOOK);
	supervised_on_word(upgrade_on_word, u);
	the = u;
	return u;
}

void
upgrade_end(struct upgrade *u)
{
	the = NULL;
	supervised_on_word(NULL, NULL);
	if (u->state < UPGRADE_YIELDING)
		answer_upgrade(u, E_INTERNAL, "teald is stopping");
	else
		answer_upgrade(u, E_UNKNOWN, "teald stopped before this was over; read status when it is back");
	ev_timer_stop(u->loop, &u->look);
	line_close(&u->line);
	peer_free(&u->peer);
	drop_channels(u);
}

void
upgrade_free(struct upgrade **up)
{
	struct upgrade *u = *up;

	*up = NULL;
	if (u == NULL)
		return;
	free(u->binary);
	free(u->config);
	free(u);
}

struct upgrade_view
upgrade_view(void)
{
	struct upgrade_view v = { 0 };

	if (the == NULL)
		return v;
	v.predecessor = succession_predecessor(*the->parts.succession);
	v.successor = the->other.pid != 0 ? &the->other : NULL;
	if (the->state != UPGRADE_NONE) {
		v.state = state_words[the->state];
		v.by = the->by;
		v.seconds = clock_now() - the->asked;
	}
	return v;
}
