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
#include <unistd.h>

#include "app/supervisor/supervisor.h"
#include "base/clock.h"
#include "base/standard.h"


static struct program program = { .fd = -1 };
static unsigned restarts_max = RESTARTS_DEFAULT, hang_ticks = HANG_TICKS;

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
 * not wanted. */
static bool
goes_alone(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },	   { "test", no_argument, NULL, 't' },
		{ "version", no_argument, NULL, 'V' },		   { "help", no_argument, NULL, 'h' },
		{ "assume-initial", no_argument, NULL, 'a' },	   { "print-ruleset", no_argument, NULL, 'p' },
		{ "against", required_argument, NULL, 'g' },	   { "user", required_argument, NULL, 'u' },
		{ "json", no_argument, NULL, 'j' },
		{ "no-supervisor", no_argument, NULL, 'n' },	   { "max-restarts", required_argument, NULL, 'r' },
		{ "watchdog", required_argument, NULL, 'w' },
		{ 0 },
	};
	bool alone = false;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+c:tVh", longs, NULL)) != -1)
		switch (c) {
		case 'c':
			program.config = optarg;
			break;
		case 'r':
			restarts_max = option_number("max-restarts", optarg);
			break;
		case 'w':
			hang_ticks = option_number("watchdog", optarg);
			break;
		case 'a':
			program.assume_initial = true;
			break;
		default:
			alone = true;
			break;
		}
	return alone || program.config == NULL || optind < argc;
}

static _Noreturn void
supervise(int signals)
{
	struct pollfd p[GENERATIONS_FDS + 1] = { [GENERATIONS_FDS] = { .fd = signals, .events = POLLIN } };
	double now = clock_now(), tick = now + TICK_SECONDS, next;
	struct signalfd_siginfo info;

	for (;; now = clock_now()) {
		next = generations_watch(p, tick);
		(void)poll(p, ARRAY_LEN(p), next > now ? (int)((next - now) * 1000) + 1 : 0);
		while (read(signals, &info, sizeof(info)) == sizeof(info))
			if (info.ssi_signo == SIGCHLD)
				generations_reap();
			else
				generations_signal((int)info.ssi_signo);
		now = clock_now();
		generations_turn(now);
		if (now >= tick) {
			notify_say("WATCHDOG=1");
			generations_tick();
			tick = now + TICK_SECONDS;
		}
	}
}

int
main(int argc, char **argv)
{
	static const int watched[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR2 };
	bool alone = goes_alone(argc, argv);
	struct program given = program;
	char self[PATH_MAX] = "/", why[PATH_MAX + 64];
	sigset_t set;
	int signals;

	standard_descriptors();
	(void)!readlink("/proc/self/exe", self, sizeof(self) - 1);
	if ((given.path = program_beside(self)) == NULL) {
		fprintf(stderr,
			"teald: the program that serves is neither beside %s nor in ../libexec/teal; "
			"install it again\n",
			self);
		return EXIT_FAILED;
	}
	if (alone) {
		argv[0] = given.path;
		execv(argv[0], argv);
		fprintf(stderr, "teald: cannot start %s: %s\n", argv[0], strerror(errno));
		return EXIT_FAILED;
	}
	/* Before there are other descriptors. */
	sockets_adopt();
	unsetenv("TEAL_PREDECESSOR");
	if (!program_open(&program, &given, "", "", why, sizeof(why))) {
		fprintf(stderr, "teald: %s\n", why);
		return EXIT_FAILED;
	}
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(watched); i++)
		sigaddset(&set, watched[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	CHECK(signals >= 0);
	notify_open();
	privileges_drop();
	generations_begin(&program, restarts_max, hang_ticks);
	supervise(signals);
}
