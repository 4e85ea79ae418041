/* supervised.c - the supervisor's child.  Thread: main. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/teald/supervised.h"
#include "base/crash.h"
#include "control/config_keeper.h"
#include "net/handed.h"

#define BEAT 1.0
/* What still waits for its store by then is as started as it can be. */
#define READY_BEATS 10

static int supervisor = -1;
static pid_t parent;
static unsigned restarts, fallbacks, beats;
static long long restarted_at;
static ev_io watcher;
static ev_timer beat;
static ev_prepare turn;
static bool told_ready;
static char *copy_path;	/* NULL: none */
static bool copy_wanted;

static void
tell_supervisor(const char *text)
{
	(void)!send(supervisor, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* "0 PATH", or "1 PATH" where the file has failed since. */
static void
take_fallback(const char *text)
{
	if (text == NULL || (*text != '0' && *text != '1') || text[1] != ' ')
		return;
	copy_path = must_strdup(text + 2);
	copy_wanted = *text == '1';
}

void
supervised_join(void)
{
	const char *text = getenv("TEAL_SUPERVISOR");
	int last_words = STDERR_FILENO;

	if (text != NULL &&
	    sscanf(text, "%d %d %u %lld %u", &supervisor, &last_words, &restarts, &restarted_at, &fallbacks) >= 4 &&
	    fcntl(supervisor, F_SETFD, FD_CLOEXEC) == 0 && fcntl(last_words, F_SETFD, FD_CLOEXEC) == 0) {
		(void)fcntl(last_words, F_SETFL, O_WRONLY | O_NONBLOCK);
		parent = getppid();
		handed_join(supervisor);
	} else {
		supervisor = -1;
		last_words = STDERR_FILENO;
	}
	unsetenv("TEAL_SUPERVISOR");
	take_fallback(getenv("TEAL_FALLBACK"));
	unsetenv("TEAL_FALLBACK");
	crash_watch(last_words);
	handed_take_up();
}

static void
tell_copy(const struct control *c)
{
	char *path = config_keeper_path(c->config), *text = must_printf("config %s", path);

	tell_supervisor(text);
	free(text);
	free(path);
}

static void
say_ready(const struct control *c)
{
	char text[128];

	told_ready = true;
	tell_supervisor("ready");
	if (c->life == LIFE_STARTING)
		tell_supervisor("notify STATUS=waiting for the store");
	else {
		snprintf(text, sizeof(text), "notify STATUS=serving %zu services", c->n);
		tell_supervisor(text);
	}
}

static void
supervised_on_turn(struct ev_loop *loop, ev_prepare *p, int revents)
{
	const struct control *c = p->data;

	(void)revents;
	if (!told_ready && c->life == LIFE_SERVING)
		say_ready(c);
	if (c->life <= LIFE_SERVING)
		return;
	tell_supervisor("notify STOPPING=1\nSTATUS=stopping");
	handed_forget(NULL);
	ev_prepare_stop(loop, p);
}

static void
supervised_on_beat(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	tell_supervisor("beat");
	if (++beats == READY_BEATS && !told_ready)
		say_ready(t->data);
}

/* It says nothing by itself: what can be read is its end, or an answer that came late. */
static void
supervised_on_word(struct ev_loop *loop, ev_io *w, int revents)
{
	char text[16];

	(void)revents;
	if (recv(w->fd, text, sizeof(text), MSG_DONTWAIT) != 0)
		return;
	ev_io_stop(loop, w);
	(void)raise(SIGTERM);
}

void
supervised_watch(struct control *c)
{
	if (supervisor < 0)
		return;
	tell_copy(c);
	ev_io_init(&watcher, supervised_on_word, supervisor, EV_READ);
	ev_io_start(c->loop, &watcher);
	ev_timer_init(&beat, supervised_on_beat, 0.0, BEAT);
	beat.data = c;
	ev_timer_start(c->loop, &beat);
	ev_prepare_init(&turn, supervised_on_turn);
	turn.data = c;
	ev_prepare_start(c->loop, &turn);
}

void
supervised_unfit(void)
{
	if (supervisor >= 0)
		tell_supervisor("unfit");
}

const char *
supervised_copy(bool *unfit)
{
	*unfit = copy_wanted;
	return copy_path;
}

int
supervised_by(void)
{
	return parent;
}

unsigned
supervised_restarts(void)
{
	return restarts;
}

unsigned
supervised_fallbacks(void)
{
	return fallbacks;
}

int64_t
supervised_restarted_at(void)
{
	return restarted_at;
}
