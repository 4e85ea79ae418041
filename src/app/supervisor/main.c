/* main.c - teald: the parent that starts the process that serves, and starts it
 * again when it dies.  One thread, which waits in poll(). */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"
#include "base/clock.h"
#include "base/standard.h"

#define EXIT_FAILED 1
/* Of a crash handler: some thirty frames. */
#define WORDS_MAX 2800

static struct child child;
static char **serve_argv;
static unsigned restarts_max = RESTARTS_DEFAULT, hang_ticks = HANG_TICKS;
static unsigned restarts;	/* since the start */
static int64_t restarted_at;	/* seconds since 1970 */
static double *deaths;	/* the last restarts_max + 1 of them, a ring by restarts */
static unsigned early;	/* deaths in a row, soon after the start */
static bool stopping;
static double start_at;	/* of the next child; 0: there is one */
static double next_tick;

/* -- which program serves -------------------------------------------------------- */

/* Beside this one, as in the build's folder, or where `make install` puts it. */
static char *
find_server(void)
{
	static const char *const places[] = { "/teald-serve", "/../libexec/teal/teald-serve" };
	char self[PATH_MAX], *path;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return NULL;
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		path = must_printf("%s%s", self, places[i]);
		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	fprintf(stderr, "teald: the program that serves is neither %s%s nor %s%s; install it again\n", self, places[0],
		self, places[1]);
	return NULL;
}

static unsigned
option_number(const char *option, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text >= '0' && *text <= '9' && *end == '\0' && n <= 100000)
		return (unsigned)n;
	fprintf(stderr, "teald: --%s=%s: a whole number up to 100000 is wanted\n", option, text);
	exit(2);
}

/* True where there is nothing to supervise: help, a check, wrong usage, or it was
 * not wanted.  What is ours alone is taken out of the arguments. */
static bool
goes_alone(int *argc, char **argv)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },	   { "test", no_argument, NULL, 't' },
		{ "version", no_argument, NULL, 'V' },		   { "help", no_argument, NULL, 'h' },
		{ "assume-initial", no_argument, NULL, 'a' },	   { "print-ruleset", no_argument, NULL, 'p' },
		{ "against", required_argument, NULL, 'g' },	   { "json", no_argument, NULL, 'j' },
		{ "no-supervisor", no_argument, NULL, 'n' },	   { "max-restarts", required_argument, NULL, 'r' },
		{ "watchdog", required_argument, NULL, 'w' },
		{ 0 },
	};
	bool alone = false, config = false;
	int c, kept = 1;

	opterr = 0;
	for (int from = optind; (c = getopt_long(*argc, argv, "+c:tVh", longs, NULL)) != -1; from = optind) {
		switch (c) {
		case 'c':
			config = true;
			break;
		case 'n':
			alone = true;
			continue;
		case 'r':
			restarts_max = option_number("max-restarts", optarg);
			continue;
		case 'w':
			hang_ticks = option_number("watchdog", optarg);
			continue;
		case 'a':
			break;
		default:
			alone = true;
			break;
		}
		for (int i = from; i < optind; i++)
			argv[kept++] = argv[i];
	}
	alone |= !config || optind < *argc;
	for (int i = optind; i < *argc; i++)
		argv[kept++] = argv[i];
	argv[kept] = NULL;
	*argc = kept;
	return alone;
}

/* -- the child's life -------------------------------------------------------------- */

static double died_at;	/* the last one */

static void
child_is_ready(void)
{
	struct json j;
	struct buf b;

	if (restarts > 0) {
		say_begin(&j, &b, "info", "teald.recovered");
		json_i64(&j, "pid", child.pid);
		json_double(&j, "seconds", clock_now() - died_at);
		json_u64(&j, "count", restarts);
		say_end(&j);
	}
	notify_say("READY=1");
}

static void
child_said(const char *text)
{
	stopping |= strstr(text, "STOPPING=1") != NULL;
	notify_say(text);
}

static const struct child_calls calls = { child_is_ready, child_said };

static void
start_child(void)
{
	start_at = 0;
	if (child_start(&child, serve_argv, restarts, restarted_at))
		return;
	fprintf(stderr, "teald: cannot start a process: %s\n", strerror(errno));
	start_at = clock_now() + BACKOFF_MAX;
}

static unsigned
recent_deaths(double now)
{
	unsigned n = 0, size = restarts_max + 1;

	while (n < restarts && n < size && now - deaths[(restarts - 1 - n) % size] < RESTART_WINDOW)
		n++;
	return n;
}

static void
tell_crash(int status, double age, const char *words)
{
	char text[24];
	struct json j;
	struct buf b;

	say_begin(&j, &b, "error", "teald.crashed");
	json_i64(&j, "pid", child.pid);
	if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));

		snprintf(text, sizeof(text), "SIG%s", name != NULL ? name : "?");
		json_cstr(&j, "signal", text);
	} else
		json_i64(&j, "status", WEXITSTATUS(status));
	json_double(&j, "seconds", age);
	json_u64(&j, "count", restarts);
	json_cstr(&j, "doing", child.doing);
	json_cstr(&j, "backtrace", words);
	say_end(&j);
}

static _Noreturn void
give_up_serving(unsigned recent)
{
	struct json j;
	struct buf b;

	say_begin(&j, &b, "error", "teald.gave_up");
	json_u64(&j, "count", recent);
	json_cstr(&j, "hint", "it dies again and again; see teald.crashed before this line");
	say_end(&j);
	fprintf(stderr, "teald: the serving process died %u times within a minute; giving up\n", recent);
	notify_say("STOPPING=1\nSTATUS=the serving process died again and again");
	exit(EXIT_FAILED);
}

static void
child_ended(int status)
{
	double now = clock_now(), age = now - child.born, wait = 0;
	char words[WORDS_MAX];
	unsigned recent;

	child_read(&child, &calls);	/* what it said last */
	/* By itself: as asked, or because it could not start, and has said why.  A restart
	 * that could not is tried again, for clients wait. */
	if (WIFEXITED(status) && (stopping || restarts == 0 || child.ready || WEXITSTATUS(status) == 0))
		exit(WEXITSTATUS(status));
	/* Before it could take the signal up there was nothing to drain. */
	if (stopping && (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT))
		exit(0);
	died_at = deaths[restarts++ % (restarts_max + 1)] = now;
	restarted_at = clock_wall_us() / 1000000;
	child_bury(&child, words, sizeof(words));
	tell_crash(status, age, words);
	child.pid = 0;
	if (stopping)
		exit(EXIT_FAILED);
	recent = recent_deaths(now);
	if (recent > restarts_max)
		give_up_serving(recent);
	early = child.ready && age >= EARLY ? 0 : early + 1;
	for (unsigned i = 1; i < early; i++)
		wait = wait == 0 ? BACKOFF_FIRST : wait * 2 < BACKOFF_MAX ? wait * 2 : BACKOFF_MAX;
	notify_say("STATUS=the serving process died; starting another");
	start_at = now + wait;
}

/* Those that were orphaned, too, where this is process 1. */
static void
reap_children(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == child.pid)
			child_ended(status);
}

static void
signalled(int number)
{
	struct json j;
	struct buf b;

	switch (number) {
	case SIGCHLD:
		reap_children();
		return;
	case SIGUSR2:	/* would end a child that has no use for it */
		say_begin(&j, &b, "warn", "teald.signal");
		json_cstr(&j, "signal", "SIGUSR2");
		json_cstr(&j, "hint", "ignored: another version of teald needs a restart");
		say_end(&j);
		return;
	case SIGTERM:
	case SIGINT:
		if (child.pid == 0)	/* nothing serves, and nothing will */
			exit(0);
		if (!stopping)
			notify_say("STOPPING=1");
		stopping = true;
		break;
	default:
		break;
	}
	if (child.pid > 0)
		(void)kill(child.pid, number);
}

static void
supervisor_tick(void)
{
	struct json j;
	struct buf b;

	notify_say("WATCHDOG=1");
	if (child.pid == 0 || !child.beats || hang_ticks == 0)
		return;
	child.silent++;
	if (child.silent == hang_ticks) {
		say_begin(&j, &b, "error", "teald.hangs");
		json_i64(&j, "pid", child.pid);
		json_u64(&j, "seconds", hang_ticks);
		json_cstr(&j, "doing", child.doing);
		say_end(&j);
		(void)kill(child.pid, SIGABRT);
	} else if (child.silent == hang_ticks + KILL_TICKS) {
		(void)kill(child.pid, SIGKILL);
	}
}

static int
milliseconds_left(double now)
{
	double until = start_at > 0 && start_at < next_tick ? start_at : next_tick;

	return until > now ? (int)((until - now) * 1000) + 1 : 0;
}

static _Noreturn void
supervise(int signals)
{
	struct signalfd_siginfo info;

	for (;;) {
		struct pollfd p[] = { { .fd = signals, .events = POLLIN }, { .fd = child.link, .events = POLLIN } };
		double now = clock_now();

		(void)poll(p, ARRAY_LEN(p), milliseconds_left(now));
		now = clock_now();
		child_read(&child, &calls);
		while (read(signals, &info, sizeof(info)) == sizeof(info))
			signalled((int)info.ssi_signo);
		if (now >= next_tick) {
			supervisor_tick();
			next_tick = now + TICK_SECONDS;
		}
		if (start_at > 0 && now >= start_at)
			start_child();
	}
}

int
main(int argc, char **argv)
{
	static const int watched[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR2 };
	bool alone = goes_alone(&argc, argv);
	sigset_t set;
	int signals;

	standard_descriptors();
	if ((argv[0] = find_server()) == NULL)
		return EXIT_FAILED;
	if (alone) {
		execv(argv[0], argv);
		fprintf(stderr, "teald: cannot start %s: %s\n", argv[0], strerror(errno));
		return EXIT_FAILED;
	}
	serve_argv = argv;
	deaths = must_array(restarts_max + 1, sizeof(*deaths));
	sockets_adopt();
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(watched); i++)
		sigaddset(&set, watched[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0) {
		fprintf(stderr, "teald: signalfd: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	notify_open();
	privileges_drop();
	next_tick = clock_now() + TICK_SECONDS;
	start_child();
	supervise(signals);
}
