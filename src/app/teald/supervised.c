/* supervised.c - the supervisor's child.  Thread: main. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/teald/supervised.h"
#include "base/clock.h"
#include "base/crash.h"
#include "base/fds.h"
#include "control/config_keeper.h"
#include "net/handed.h"

#define BEAT 1.0
/* What still waits for its store by then is as started as it can be. */
#define READY_BEATS 10
/* Of what it says (supervisor's CHILD_WORD_MAX). */
#define WORD_MAX 2000

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
static bool waits;	/* for the process that we take over from */
static bool took_over;
static const struct control *control;	/* once it is watched */
static supervised_word_fn *on_word;
static void *on_word_arg;
static void (*on_alone)(void *arg);
static void *on_alone_arg;

void
supervised_say_bytes(struct str word)
{
	if (supervisor >= 0)
		(void)!send(supervisor, word.p, word.n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
supervised_say(const char *word)
{
	supervised_say_bytes(str_from(word));
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
tell_copy(void)
{
	char *path = config_keeper_path(control->config), *text = must_printf("config %s", path);

	supervised_say(text);
	free(text);
	free(path);
}

void
supervised_doing(const char *doing)
{
	char text[128];

	if (doing != NULL)
		snprintf(text, sizeof(text), "notify STATUS=upgrade: %s", doing);
	else if (control->life == LIFE_STARTING)
		snprintf(text, sizeof(text), "notify STATUS=waiting for the store");
	else
		snprintf(text, sizeof(text), "notify STATUS=serving %zu services", control->n);
	supervised_say(text);
}

static void
say_ready(void)
{
	told_ready = true;
	supervised_say("ready");
	supervised_doing(NULL);
	/* Addresses that only the process before this one listened on. */
	if (took_over)
		handed_forget_rest();
}

void
supervised_wait(void)
{
	waits = took_over = true;
}

void
supervised_settle(void)
{
	waits = false;
	beats = 0;
	if (control != NULL)
		tell_copy();
}

static void
supervised_on_turn(struct ev_loop *loop, ev_prepare *p, int revents)
{
	const struct control *c = p->data;

	(void)revents;
	if (!told_ready && c->life == LIFE_SERVING)
		say_ready();
	/* Who has yielded has no say. */
	if (c->life <= LIFE_YIELDED)
		return;
	supervised_say("notify STOPPING=1\nSTATUS=stopping");
	handed_forget(NULL, false);
	ev_prepare_stop(loop, p);
}

static void
supervised_on_beat(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)t;
	(void)revents;
	supervised_say("beat");
	if (++beats == READY_BEATS && !told_ready && !waits)
		say_ready();
}

static void
take_word(struct str word, int *fd)
{
	static const char alone[] = "alone ";
	unsigned died;
	long long at;

	if (word.n > sizeof(alone) - 1 && memcmp(word.p, alone, sizeof(alone) - 1) == 0) {
		if (sscanf(word.p, "alone %u %lld", &died, &at) == 2) {
			restarts = died;
			restarted_at = at;
		}
		if (on_alone != NULL)
			on_alone(on_alone_arg);
	} else if (on_word != NULL)
		on_word(on_word_arg, word, fd);
}

/* Its end, an answer that came late, or the course of an upgrade. */
static void
supervised_on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	char text[WORD_MAX + 1];
	struct iovec iov = { text, WORD_MAX };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[FDS_MAX], fd;
	unsigned n_fds;
	ssize_t n = fds_receive(w->fd, &m, fds, &n_fds);

	(void)revents;
	if (n == 0) {
		ev_io_stop(loop, w);
		(void)raise(SIGTERM);
	}
	if (n <= 0)
		return;
	fd = n_fds == 1 ? fds[0] : -1;
	text[n] = '\0';
	take_word((struct str){ text, (size_t)n }, &fd);
	if (n_fds > 0)
		fds[0] = n_fds == 1 ? fd : fds[0];
	fds_close(fds, n_fds);
}

void
supervised_on_word(supervised_word_fn *fn, void *arg)
{
	on_word = fn;
	on_word_arg = arg;
}

void
supervised_on_alone(void (*fn)(void *arg), void *arg)
{
	on_alone = fn;
	on_alone_arg = arg;
}

void
supervised_watch(struct control *c)
{
	if (supervisor < 0)
		return;
	control = c;
	if (!waits)
		tell_copy();
	ev_io_init(&watcher, supervised_on_readable, supervisor, EV_READ);
	ev_io_start(c->loop, &watcher);
	ev_timer_init(&beat, supervised_on_beat, 0.0, BEAT);
	ev_timer_start(c->loop, &beat);
	ev_prepare_init(&turn, supervised_on_turn);
	turn.data = c;
	ev_prepare_start(c->loop, &turn);
}

void
supervised_reloading(bool begins)
{
	char text[128];

	if (!told_ready || control->life > LIFE_SERVING)
		return;
	if (begins)
		snprintf(text, sizeof(text), "notify RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading",
			 (unsigned long long)(clock_now() * 1e6));
	else
		snprintf(text, sizeof(text), "notify READY=1\nSTATUS=serving %zu services", control->n);
	supervised_say(text);
}

void
supervised_unfit(void)
{
	if (supervisor >= 0)
		supervised_say("unfit");
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
