/* load.c - `tealbench load`: options, threads, the progress line.
 * Main only watches; each thread owns its share of the connections. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/tealbench/endpoint.h"
#include "app/tealbench/load.h"
#include "app/tealbench/options.h"
#include "app/tealbench/pattern.h"
#include "app/tealbench/tealbench.h"
#include "base/json.h"

#define POLL_SECONDS 0.05
#define PROGRESS_SECONDS 0.5
#define DEFAULT_DURATION 10.
/* With --requests alone the time is bounded too. */
#define MAX_DURATION 3600.
/* Idle connections for each loopback address: ports 32768-60999, less some
 * for everybody else. */
#define PORTS_PER_SOURCE 25000

const char *
load_error_word(enum load_error e)
{
	static const char *const words[] = {
#define X(name, word) [name] = word,
		LOAD_ERROR_TABLE(X)
#undef X
	};

	return words[e];
}

enum load_error
load_error_from_errno(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ENOENT:	/* a Unix path without a server */
		return LOAD_REFUSED;
	case ECONNRESET:
	case EPIPE:
		return LOAD_RESET;
	case ETIMEDOUT:
		return LOAD_TIMEOUT;
	case EADDRNOTAVAIL:
	case EADDRINUSE:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EAGAIN:	/* connect(): no port, or a full Unix backlog */
		return LOAD_LOCAL;
	}
	return LOAD_OTHER;
}

unsigned
load_names_find(struct load_names *names, struct str name)
{
	char text[LOAD_NAME_MAX + 1];
	unsigned i;

	str_copy(text, sizeof(text), name);
	for (i = 0; i < names->n; i++)
		if (strcmp(names->name[i].text, text) == 0)
			return i;
	if (names->n < LOAD_NAMES_MAX)
		memcpy(names->name[names->n++].text, text, sizeof(text));
	return i;
}

/* --- while it runs --- */

struct watch {
	const struct load_config *config;
	struct load_thread *threads;
	struct ev_loop *loop;
	ev_timer poll;
	uint64_t began, shown_at, shown_done, shown_bytes;
	bool held;	/* the event is out */
};

static void
say_holding(const struct watch *w, const struct load_sums *s)
{
	struct buf line;
	struct json j;

	buf_init(&line, 1024);
	json_init(&j, &line);
	json_object(&j, NULL);
	json_cstr(&j, "event", "holding");
	json_u64(&j, "connections", s->held);
	json_u64(&j, "errors", s->errors);
	json_double(&j, "seconds", (double)(load_now() - w->began) / 1e9);
	json_object_end(&j);
	json_line_end(&j);
	fwrite(buf_str(&line).p, 1, buf_len(&line), stdout);
	fflush(stdout);
	buf_free(&line);
}

static void
show_progress(struct watch *w, const struct load_sums *s, uint64_t now)
{
	double seconds = (double)(now - w->shown_at) / 1e9;

	if (seconds < PROGRESS_SECONDS || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr,
		"\r\033[K%6.1f s  %" PRIu64 " open  %" PRIu64 " done  %.0f/s  %.1f MB/s  %" PRIu64 " errors",
		(double)(now - w->began) / 1e9, s->open, s->done,
		(double)(s->done - w->shown_done) / seconds,
		(double)(s->bytes - w->shown_bytes) / seconds / 1e6, s->errors);
	w->shown_at = now;
	w->shown_done = s->done;
	w->shown_bytes = s->bytes;
}

static void
watch_on_poll(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct watch *w = container_of(timer, struct watch, poll);
	unsigned n = (unsigned)w->config->threads, finished = 0;
	struct load_sums s = load_sum(w->threads, n);

	(void)revents;
	show_progress(w, &s, load_now());
	if (w->config->mode->hold && !w->held && s.settled == w->config->connections) {
		w->held = true;
		say_holding(w, &s);
	}
	for (unsigned i = 0; i < n; i++)
		finished += atomic_load(&w->threads[i].finished);
	if (finished == n)
		ev_break(loop, EVBREAK_ALL);
}

static void
watch_on_signal(struct ev_loop *loop, ev_signal *signal_watcher, int revents)
{
	struct watch *w = signal_watcher->data;

	(void)loop, (void)revents;
	for (unsigned i = 0; i < w->config->threads; i++)
		ev_async_send(w->threads[i].loop, &w->threads[i].stop);
}

static void
watch_run(struct watch *w)
{
	ev_signal interrupt, terminate;
	sigset_t signals, before;
	unsigned n = (unsigned)w->config->threads;

	ev_signal_init(&interrupt, watch_on_signal, SIGINT);
	ev_signal_init(&terminate, watch_on_signal, SIGTERM);
	interrupt.data = terminate.data = w;
	ev_signal_start(w->loop, &interrupt);
	ev_signal_start(w->loop, &terminate);
	ev_timer_init(&w->poll, watch_on_poll, POLL_SECONDS, POLL_SECONDS);
	ev_timer_start(w->loop, &w->poll);
	w->began = w->shown_at = load_now();
	/* Signals are main's. */
	sigfillset(&signals);
	pthread_sigmask(SIG_BLOCK, &signals, &before);
	for (unsigned i = 0; i < n; i++)
		CHECK(pthread_create(&w->threads[i].id, NULL, load_thread_run, &w->threads[i]) == 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	ev_run(w->loop, 0);
	for (unsigned i = 0; i < n; i++)
		pthread_join(w->threads[i].id, NULL);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static enum err
load(const struct load_config *config)
{
	unsigned n = (unsigned)config->threads;
	struct watch w = { .config = config };
	uint64_t failed = 0;

	w.threads = must_array(n, sizeof(*w.threads));
	w.loop = ev_default_loop(EVFLAG_AUTO | EVFLAG_NOENV);
	CHECK(w.loop != NULL);
	for (unsigned i = 0; i < n; i++)
		load_thread_init(&w.threads[i], config, i);
	watch_run(&w);
	load_report(config, w.threads, n);
	failed = load_sum(w.threads, n).errors;
	for (unsigned i = 0; i < n; i++)
		load_thread_free(&w.threads[i]);
	free(w.threads);
	ev_loop_destroy(w.loop);
	return failed > 0 ? E_INTERNAL : OK;
}

/* --- options --- */

static enum err
parse_target(const char *text, bool own, struct addr *out, struct why *why)
{
	const char *colon = strrchr(text, ':');
	char host[256], shown[ADDR_TEXT];
	uint64_t port;
	enum err e = addr_parse(text, 0, out, why);

	/* Not an address: a name, then. */
	if (e != OK && colon != NULL && memchr(text, ':', (size_t)(colon - text)) == NULL &&
	    str_copy(host, sizeof(host), (struct str){ text, (size_t)(colon - text) }) &&
	    host[0] != '\0' && str_to_u64(str_from(colon + 1), 65535, &port) && port > 0)
		e = addr_resolve(host, (unsigned)port, out, why);
	if (e != OK)
		return e;
	if (!own && !endpoint_is_private(out))
		return why_set(why, E_DENIED,
			       "%s is neither on this machine nor in a private range; load only what is "
			       "yours, and say so with --yes-i-own-this-target",
			       addr_format(out, shown));
	return OK;
}

static void
build_request(struct load_config *config)
{
	static const struct str prefix = { "/bytes/", 7 };
	struct buf *b = &config->request;
	uint64_t n;

	buf_init(b, 65536);
	buf_printf(b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tealbench\r\n%s\r\n", config->path,
		   addr_family(&config->target) == AF_UNIX ? "localhost" : config->target_text,
		   config->mode->fresh ? "Connection: close\r\n" : "");
	if (strncmp(config->path, prefix.p, prefix.n) == 0 &&
	    str_to_u64(str_from(config->path + prefix.n), INT64_MAX, &n)) {
		config->pattern_body = true;
		config->size = n;
	}
}

static enum err
check_config(struct load_config *c, struct why *why)
{
	if (c->mode->http && (c->path[0] != '/' || strlen(c->path) > 8000 ||
			      strpbrk(c->path, " \t\r\n") != NULL))
		return why_set(why, E_USAGE, "--path=%s: it begins with / and has no white space", c->path);
	if (c->hello && (c->mode->http || c->mode->bulk))
		return why_set(why, E_USAGE, "--hello belongs to tcp-small, tcp-connect and tcp-idle");
	if (c->half_close && (c->mode->http || c->mode->bulk || !c->mode->fresh))
		return why_set(why, E_USAGE, "--half-close belongs to tcp-connect");
	if (c->rate > 0 && (c->mode->hold || c->mode->bulk))
		return why_set(why, E_USAGE, "--rate has no meaning with --mode=%s", c->mode->word);
	if (c->mode->hold && c->requests > 0)
		return why_set(why, E_USAGE, "--requests has no meaning with --mode=%s", c->mode->word);
	if (!(c->timeout > 0) || !(c->duration > 0))
		return why_set(why, E_USAGE, "--timeout and --duration must be above 0");
	if (c->threads > c->connections)
		c->threads = c->connections;
	if (c->sources > 0 && (addr_family(&c->target) != AF_INET || !endpoint_is_loopback(&c->target)))
		return why_set(why, E_USAGE, "--sources is for targets on 127.0.0.0/8");
	if (c->sources == 0 && c->connections > PORTS_PER_SOURCE &&
	    addr_family(&c->target) == AF_INET && endpoint_is_loopback(&c->target))
		c->sources = (c->connections + PORTS_PER_SOURCE - 1) / PORTS_PER_SOURCE;
	return endpoint_need_files(c->connections + 8 * c->threads + 32, why);
}

enum err
load_main(int argc, char **argv, struct why *why)
{
	struct load_config c = { .connections = 1, .threads = 1, .duration = -1, .timeout = 10,
				 .path = "/" };
	const char *mode = "http";
	bool unchecked = false;
	const struct option_spec options[] = {
		{ "target", OPTION_TEXT, &c.target_text, 0, 0 },
		{ "mode", OPTION_TEXT, &mode, 0, 0 },
		{ "connections", OPTION_COUNT, &c.connections, 1, 1000000 },
		{ "threads", OPTION_COUNT, &c.threads, 1, LOAD_THREADS_MAX },
		{ "duration", OPTION_SECONDS, &c.duration, 0, 0 },
		{ "requests", OPTION_COUNT, &c.requests, 1, INT64_MAX },
		{ "rate", OPTION_COUNT, &c.rate, 1, 10000000 },
		{ "size", OPTION_SIZE, &c.size, 1, INT64_MAX },
		{ "path", OPTION_TEXT, &c.path, 0, 0 },
		{ "timeout", OPTION_SECONDS, &c.timeout, 0, 0 },
		{ "sources", OPTION_COUNT, &c.sources, 1, 250 },
		{ "congestion", OPTION_TEXT, &c.congestion, 0, 0 },
		{ "hello", OPTION_FLAG, &c.hello, 0, 0 },
		{ "half-close", OPTION_FLAG, &c.half_close, 0, 0 },
		{ "no-check", OPTION_FLAG, &unchecked, 0, 0 },
		{ "json", OPTION_FLAG, &c.json, 0, 0 },
		{ "yes-i-own-this-target", OPTION_FLAG, &c.own, 0, 0 },
	};
	enum err e;

	if ((e = options_parse(options, ARRAY_LEN(options), argc, argv, why)) != OK)
		return e;
	if (c.target_text == NULL)
		return why_set(why, E_USAGE, "--target=ADDRESS:PORT is needed");
	if ((c.mode = load_mode_find(mode)) == NULL)
		return why_set(why, E_USAGE,
			       "--mode=%s: tcp-small, tcp-connect, tcp-bulk-down, tcp-bulk-up, tcp-idle, "
			       "http or http-close expected",
			       mode);
	if ((e = parse_target(c.target_text, c.own, &c.target, why)) != OK ||
	    (e = endpoint_check_congestion(c.congestion, why)) != OK)
		return e;
	if (c.duration < 0)
		c.duration = c.requests > 0 ? MAX_DURATION : DEFAULT_DURATION;
	if (c.size == 0)
		c.size = c.mode->size;
	c.check = !unchecked;
	if ((e = check_config(&c, why)) != OK)
		return e;
	pattern_init();
	if (c.mode->http)
		build_request(&c);
	e = load(&c);
	if (e != OK)
		why_set(why, e, "not every request succeeded");
	buf_free(&c.request);
	return e;
}
