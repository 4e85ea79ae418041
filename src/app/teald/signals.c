/* signals.c - what signals ask of teald: a stop, a reload, an upgrade.
 * Thread: main. */
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#include "model/admin_token.h"
#include "app/teald/options.h"
#include "app/teald/teald.h"
#include "app/teald/upgrade.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/control.h"
#include "control/reload.h"
#include "data/proxy.h"

/* Seconds: a second signal that comes sooner is the first one's echo. */
#define SECOND_SIGNAL_AFTER 0.5

static void
stop_on_signal(struct teald *t, int signum)
{
	LOG_INFO("teald.signal", LS("signal", signum == SIGINT ? "SIGINT" : "SIGTERM"));
	if (t->signals++ == 0) {
		t->stopped_at = clock_now();
		stop_begin(&t->control);
		return;
	}
	/* timeout(1), and who signals a process and its group, sends two at once. */
	if (clock_now() - t->stopped_at < SECOND_SIGNAL_AFTER)
		return;
	LOG_WARN("teald.hurried", LS("reason", "a second signal: connections are cut"));
	log_stop(0.2);
	_exit(EXIT_FAILED);
}

static void
teald_on_term(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop;
	(void)revents;
	stop_on_signal(container_of(w, struct teald, term), w->signum);
}

static void
teald_on_interrupt(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop;
	(void)revents;
	stop_on_signal(container_of(w, struct teald, interrupt), w->signum);
}

static void
hangup_on_done(struct reload_wait *w, const struct reload_result *result)
{
	struct teald *t = container_of(w, struct teald, reload);

	(void)result;	/* the log has it */
	t->reloading = false;
	if (t->again && t->control.life <= LIFE_SERVING) {
		t->again = false;
		teald_reload(t);
	}
}

/* However many come while a file is read, it is read once more. */
void
teald_reload(struct teald *t)
{
	t->again = t->reloading;
	if (t->reloading || t->control.reloads == NULL || t->control.life > LIFE_SERVING)
		return;
	t->reloading = true;
	t->reload = (struct reload_wait){ .done = hangup_on_done };
	str_copy(t->reload.by, sizeof(t->reload.by), STR("SIGHUP"));
	reload_ask(t->control.reloads, &t->reload);
}

static void
teald_on_hangup(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct teald *t = container_of(w, struct teald, hangup);

	(void)loop;
	(void)revents;
	LOG_INFO("teald.signal", LS("signal", "SIGHUP"));
	teald_reload(t);
}

static void
teald_on_usr2(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct teald *t = container_of(w, struct teald, usr2);

	(void)loop;
	(void)revents;
	LOG_INFO("teald.signal", LS("signal", "SIGUSR2"));
	if (t->upgrade != NULL)
		upgrade_on_signal(t->upgrade);
}

void
signals_hold(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	sigprocmask(how, &set, NULL);
}

void
signals_watch(struct teald *t)
{
	signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&t->term, teald_on_term, SIGTERM);
	ev_signal_init(&t->interrupt, teald_on_interrupt, SIGINT);
	ev_signal_init(&t->hangup, teald_on_hangup, SIGHUP);
	ev_signal_start(t->loop, &t->term);
	ev_signal_start(t->loop, &t->interrupt);
	ev_signal_start(t->loop, &t->hangup);
	ev_signal_init(&t->usr2, teald_on_usr2, SIGUSR2);
	ev_signal_start(t->loop, &t->usr2);
}
