/* upgrade_give.c - the predecessor gives everything away, and leaves once it holds nothing.
 * Thread: main. */
#include <unistd.h>

#include "app/teald/admin.h"
#include "app/teald/admin_caller.h"
#include "app/teald/kernel_services.h"
#include "app/teald/observe.h"
#include "app/teald/supervised.h"
#include "app/teald/upgrade_private.h"
#include "base/clock.h"
#include "base/tlv.h"
#include "base/version.h"
#include "control/peer.h"
#include "control/reload.h"
#include "data/handover.h"
#include "net/handed.h"
#include "store/store_successor.h"

/* So long a predecessor tries to say its last words, seconds. */
#define LAST_WORDS 1.0

/* -- all is given -------------------------------------------------------------------- */

static void
on_given(void *arg)
{
	struct upgrade *u = arg;
	struct handover_counts n;

	/* A last letter, at the end of the process. */
	if (u->parts.control->life == LIFE_STOPPED)
		return;
	n = proxy_handed(u->parts.proxy);
	LOG_INFO("upgrade.given", LU("count", n.given), LU("refused", n.refused),
		 LU("remaining", peer_left(u->peer)), LF("seconds", clock_now() - u->yielded));
}

static void
give_admin_connection(void *arg, int fd, struct str in, struct str out, const struct admin_caller *caller)
{
	struct upgrade *u = arg;
	struct buf row;
	size_t opened;

	buf_init(&row, LINE_ROW_MAX);
	tlv_str(&row, SUCCESSION_T_INPUT, in);
	tlv_str(&row, SUCCESSION_T_OUTPUT, out);
	if (caller != NULL) {
		opened = tlv_open(&row, SUCCESSION_T_CALLER);
		admin_caller_put(caller, &row);
		tlv_close(&row, opened);
	}
	(void)line_send(&u->line, caller != NULL ? SUCCESSION_CALLER : SUCCESSION_ADMIN, &row, &fd, 1);
	buf_free(&row);
}

static void
say_yours(struct upgrade *u)
{
	struct buf row;

	buf_init(&row, 1024);
	upgrade_bequeath(&row);
	/* What commands asked for has gone with them: this is a SIGHUP. */
	tlv_u64(&row, SUCCESSION_T_HANGUP, reload_is_awaited(u->parts.control->reloads));
	(void)line_send(&u->line, SUCCESSION_YOURS, &row, &u->shortcut_counts, u->shortcut_counts >= 0);
	u->shortcut_counts = -1;
	buf_free(&row);
}

void
upgrade_tell_held(struct upgrade *u)
{
	uint64_t clients = peer_left(u->peer), commands = admin_commands(u->parts.admin);
	struct buf row;

	if (clients == u->told_clients && commands == u->told_commands)
		return;
	u->told_clients = clients;
	u->told_commands = commands;
	buf_init(&row, 256);
	tlv_u64(&row, SUCCESSION_T_CLIENTS, clients);
	tlv_u64(&row, SUCCESSION_T_COMMANDS, commands);
	(void)line_send(&u->line, SUCCESSION_HELD, &row, NULL, 0);
	buf_free(&row);
}

static void
give_history(void *arg, const struct buf *row)
{
	struct upgrade *u = arg;

	(void)line_send(&u->line, SUCCESSION_HISTORY, row, NULL, 0);
}

/* No connection is taken over: HTTP clients go with their next answer. */
static void
tell_all_to_leave(struct control *c)
{
	for (size_t k = 0; k < c->n_engines; k++)
		if (c->engines[k]->notice != NULL)
			c->engines[k]->notice(c->engines[k]);
}

/* To the successor that is prepared; also to another one, when the first has died. */
void
upgrade_give_all(struct upgrade *u)
{
	peer_yield(u->peer);
	u->told_clients = u->told_commands = UINT64_MAX;
	/* Who asks the successor is never told that nothing is left here while something is. */
	upgrade_tell_held(u);
	admin_take_back(u->parts.admin);
	say_yours(u);
	admin_yield(u->parts.admin, give_admin_connection, u);
	if (u->n_channels > 0)
		proxy_give(u->parts.proxy, u->channels, u->n_channels, on_given, u);
	else
		tell_all_to_leave(u->parts.control);
	u->n_channels = 0;
	/* Nothing that serves waits for it. */
	if (u->parts.observe != NULL)
		observe_give_history(u->parts.observe, give_history, u);
}

static void
upgrade_on_yielded(void *arg)
{
	struct upgrade *u = arg;
	struct control *c = u->parts.control;
	struct engine *kernel = kernel_services_engine(*u->parts.kernel_services);
	struct store *store = *u->parts.store;

	/* All ends, here and there: nothing is left to give. */
	if (c->life > LIFE_SERVING)
		return;
	/* Those who wait for it have been answered: it closes without a goodbye, for its identity goes on. */
	*u->parts.store = store_successor_new(
		u->loop, c->config->store.type == STORE_REDIS ? "redis" : "file", store->fleet != NULL);
	control_change_store(c, *u->parts.store);
	store->close(&store);
	if (kernel != NULL)
		control_drop_engine(c, kernel);
	u->shortcut_counts = kernel_services_bequeath(*u->parts.kernel_services);
	kernel_services_close(u->parts.kernel_services);
	handed_yield();
	c->life = LIFE_YIELDED;
	if (u->parts.observe != NULL)
		observe_yield(u->parts.observe);
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "upgrade.yielded", NULL, LI("pid", u->other.pid),
		 LS("version", u->other.version), LF("seconds", clock_now() - u->frozen));
	upgrade_become(u, UPGRADE_GIVEN);
	u->deadline = clock_now() + c->config->upgrade.timeout;
	/* Else it has died: the next one will be. */
	if (u->is_prepared)
		upgrade_give_all(u);
}

void
upgrade_yield_all(struct upgrade *u)
{
	upgrade_become(u, UPGRADE_YIELDING);
	u->yielded = clock_now();
	admin_freeze(u->parts.admin);
	/* Whose death is whose from here on. */
	supervised_say("yielded");
	proxy_yield(u->parts.proxy, upgrade_on_yielded, u);
}

/* -- the end ------------------------------------------------------------------------------ */

/* The last one who has something of ours: a client of the status page, or of the admin socket. */
static uint64_t
held_by_main(const struct upgrade *u)
{
	return admin_clients(u->parts.admin) + admin_relayed(u->parts.admin) +
	       (u->parts.observe != NULL ? observe_visitors(u->parts.observe) : 0);
}

static void
leave(struct upgrade *u, double now)
{
	if (u->goodbye <= 0) {
		peer_say_goodbye(u->peer);
		u->goodbye = now;
	}
	if (line_is_open(&u->line) && !line_is_flushed(&u->line) && now - u->goodbye < LAST_WORDS)
		return;
	ev_timer_stop(u->loop, &u->look);
	BUS_EMIT(&u->parts.control->bus, LOG_INFO_LEVEL, "upgrade.finished", NULL, LI("pid", getpid()),
		 LS("version", teal_version()), LF("seconds", now - u->yielded));
	/* The last letters of the workers no longer count. */
	u->parts.control->life = LIFE_STOPPED;
	u->parts.on_done(u->parts.arg);
}

void
upgrade_look_whether_over(struct upgrade *u, double now)
{
	struct control *c = u->parts.control;

	upgrade_tell_held(u);
	if (u->state == UPGRADE_SERVED && peer_left(u->peer) == 0 && held_by_main(u) == 0) {
		leave(u, now);
	} else if (now >= u->deadline) {
		BUS_EMIT(&c->bus, LOG_WARN_LEVEL, "upgrade.timeout", NULL,
			 LU("remaining", peer_left(u->peer)), LF("timeout", c->config->upgrade.timeout));
		stop_begin(c);
	}
}
