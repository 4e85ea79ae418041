/* main.c - the oracle's loop, the disturbances from outside, and the report.
 *
 *	http_oracle --front=IP:PORT --backend=IP:PORT… [--seed=N] [--messages=N]
 *		[--clients=N] [--max-body=BYTES] [--stuck=SECONDS] [--admin=SOCKET --verb=LINE…] [--pid=PID] [--go-on]
 *
 * --admin, --verb: now and then one of these lines is said to that socket.
 * --pid: the proxy is stopped and continued now and then, so that segments
 * meet in its sockets.  --go-on: a finding does not end the run.  Prints one JSON object; exit status 1: findings, which
 * stand on stderr; 2: it could not run. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "oracle.h"

#define KINDS_MAX 32
#define EACH_SHOWN 3	/* of a kind: findings of one format */

struct settings settings = { .n_clients = 64, .seed = 1, .messages = 100000, .max_body = 65536, .stuck = 60 };
uint64_t counts[COUNTS];
bool stopping;

static const char *const count_names[COUNTS] = {
	"requests_begun", "answers_read", "answers_cut", "own_answers", "own_413", "unanswered", "client_cuts",
	"backend_whole", "backend_retries", "backend_surplus", "backend_cuts", "backend_early",
	"backend_odd", "backend_floods", "old_requests", "connections",
	"backend_connections", "flips", "stops",
};
static unsigned findings;
static bool go_on;
static struct {
	const char *format;
	unsigned n;
} kinds[KINDS_MAX];
static int epoll;
static double turn;
static pid_t proxy;
static const char *verbs[32];
static unsigned n_verbs;
static struct watched admin = { .fd = -1 };

void
finding(const char *format, ...)
{
	va_list args;
	unsigned kind = 0;

	findings++;
	if (!go_on)
		stopping = true;
	while (kind < KINDS_MAX - 1 && kinds[kind].format != NULL && kinds[kind].format != format)
		kind++;
	kinds[kind].format = format;
	if (kinds[kind].n++ >= EACH_SHOWN)
		return;
	fprintf(stderr, "finding (seed %lu, after %lu requests): ", (unsigned long)settings.seed,
		(unsigned long)counts[REQUESTS_BEGUN]);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void
watch(struct watched *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	if (epoll_ctl(epoll, EPOLL_CTL_MOD, w->fd, &e) < 0 &&
	    (errno != ENOENT || epoll_ctl(epoll, EPOLL_CTL_ADD, w->fd, &e) < 0)) {
		perror("oracle: epoll_ctl");
		exit(2);
	}
}

static double
clock_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double
now(void)
{
	return turn;
}

/* ---- disturbances ---- */

static void
admin_on_ready(struct watched *w, uint32_t events)
{
	char reply[65536];

	(void)events;
	if (recv(w->fd, reply, sizeof reply, 0) == 0) {
		fprintf(stderr, "oracle: the admin socket was closed\n");
		exit(2);
	}
}

static void
admin_open(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	admin = (struct watched){ admin_on_ready, socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0) };
	if (connect(admin.fd, (struct sockaddr *)&at, sizeof at) < 0) {
		perror("oracle: the admin socket");
		exit(2);
	}
	watch(&admin, EPOLLIN);
}

static void
disturb(void)
{
	static double verb_at, stop_at, continue_at;
	static uint64_t rng;

	if (rng == 0)
		rng = settings.seed * 31 + 7;
	if (admin.fd >= 0 && n_verbs > 0 && verb_at <= turn && !stopping) {
		const char *verb = verbs[draw_below(&rng, n_verbs)];
		char line[4096];
		int n = snprintf(line, sizeof line, "%s\n", verb);

		verb_at = turn + 0.01 + (double)draw_below(&rng, 200) / 1e3;
		if (n > 0 && send(admin.fd, line, (size_t)n, MSG_NOSIGNAL) == n)
			counts[FLIPS]++;
	}
	if (proxy == 0)
		return;
	if (continue_at > 0 && (continue_at <= turn || stopping)) {
		kill(proxy, SIGCONT);
		continue_at = 0;
		stop_at = turn + 0.02 + (double)draw_below(&rng, 300) / 1e3;
	} else if (continue_at == 0 && stop_at <= turn && !stopping) {
		kill(proxy, SIGSTOP);
		counts[STOPS]++;
		continue_at = turn + 0.001 + (double)draw_below(&rng, 15) / 1e3;
	}
}

/* ---- the run ---- */

static void
run(void)
{
	double tick = 0, quiet = 0, left = 0;

	clients_start();
	for (;;) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll, events, 64, 1);

		turn = clock_seconds();
		for (int i = 0; i < n; i++) {
			struct watched *w = events[i].data.ptr;

			w->on_ready(w, events[i].events);
		}
		disturb();
		if (turn - tick >= 0.001) {
			tick = turn;
			clients_tick();
			backends_tick();
		}
		if (counts[REQUESTS_BEGUN] >= settings.messages)
			stopping = true;
		if (!stopping || !clients_over())
			left = turn;
		if (turn - left > settings.stuck) {
			backends_stuck();
			break;
		}
		if (!stopping || !clients_over() || !backends_over())
			quiet = turn;
		else if (turn - quiet > 0.2)	/* what was under way to a backend has arrived */
			break;
	}
}

static void
report(void)
{
	for (unsigned i = 0; i < KINDS_MAX; i++)
		if (kinds[i].n > EACH_SHOWN)
			fprintf(stderr, "%u findings in all: %s\n", kinds[i].n, kinds[i].format);
	printf("{\"seed\":%lu,\"findings\":%u", (unsigned long)settings.seed, findings);
	for (int i = 0; i < COUNTS; i++)
		printf(",\"%s\":%lu", count_names[i], (unsigned long)counts[i]);
	printf("}\n");
}

static void
parse_address(const char *text, uint32_t *ip, uint16_t *port)
{
	char host[32];
	unsigned n;
	struct in_addr at;

	if (sscanf(text, "%31[0-9.]:%u", host, &n) != 2 || inet_pton(AF_INET, host, &at) != 1) {
		fprintf(stderr, "oracle: '%s' is no IP:PORT\n", text);
		exit(2);
	}
	*ip = at.s_addr;
	*port = htons((uint16_t)n);
}

int
main(int argc, char **argv)
{
	const char *socket_path = NULL;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		size_t n = value ? (size_t)(value++ - argv[i]) : 0;

#define IS(name) (n == sizeof name - 1 && memcmp(argv[i], name, n) == 0)
		if (IS("--front")) {
			parse_address(value, &settings.front.ip, &settings.front.port);
		} else if (IS("--backend") && settings.n_backends < 16) {
			parse_address(value, &settings.backends[settings.n_backends].ip,
				      &settings.backends[settings.n_backends].port);
			settings.n_backends++;
		} else if (IS("--seed")) {
			settings.seed = strtoull(value, NULL, 10);
		} else if (IS("--messages")) {
			settings.messages = strtoull(value, NULL, 10);
		} else if (IS("--clients")) {
			settings.n_clients = (unsigned)strtoul(value, NULL, 10);
		} else if (IS("--max-body")) {
			settings.max_body = (uint32_t)strtoul(value, NULL, 10);
		} else if (IS("--stuck")) {
			settings.stuck = strtod(value, NULL);
		} else if (IS("--admin")) {
			socket_path = value;
		} else if (IS("--verb") && n_verbs < 32) {
			verbs[n_verbs++] = value;
		} else if (strcmp(argv[i], "--go-on") == 0) {
			go_on = true;
		} else if (IS("--pid")) {
			proxy = (pid_t)strtol(value, NULL, 10);
		} else {
			fprintf(stderr,
				"oracle: '%s' is no option; the first lines of tests/oracle/main.c list them\n",
				argv[i]);
			return 2;
		}
	}
	if (settings.front.port == 0 || settings.n_backends == 0) {
		fprintf(stderr, "oracle: --front and --backend are needed\n");
		return 2;
	}
	epoll = epoll_create1(0);
	turn = clock_seconds();
	backends_start();
	if (socket_path != NULL)
		admin_open(socket_path);
	run();
	if (proxy != 0)
		kill(proxy, SIGCONT);
	report();
	return findings ? 1 : 0;
}
