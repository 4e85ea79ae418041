/* load.c - `tealbench load`: threads and the progress line.
 * Main only watches; each thread owns its share of the connections. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/tealbench/load.h"
#include "app/tealbench/options.h"
#include "app/tealbench/tealbench.h"
#include "base/json.h"
#include "base/thread.h"

#define POLL_SECONDS 0.05
#define PROGRESS_SECONDS 0.5

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

static void
say_holding(const struct load_run *w, const struct load_sums *s)
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
show_progress(struct load_run *w, const struct load_sums *s, uint64_t now)
{
	double seconds = (double)(now - w->shown_at) / 1e9;

	if (seconds < PROGRESS_SECONDS || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr,
		"\r\033[K%6.1f s  %" PRIu64 " open  %" PRIu64 " done  %.0f/s  %.1f MB/s  %" PRIu64 " errors",
		(double)(now - w->began) / 1e9, s->open, s->done, (double)(s->done - w->shown_done) / seconds,
		(double)(s->bytes - w->shown_bytes) / seconds / 1e6, s->errors);
	w->shown_at = now;
	w->shown_done = s->done;
	w->shown_bytes = s->bytes;
}

/* Starts its threads, and those of the one beside it. */
static void
run_threads_start(struct load_run *w)
{
	for (; w != NULL; w = w->beside)
		for (unsigned i = 0; i < w->config->threads; i++)
			CHECK(thread_start(&w->threads[i].id, "load", load_thread_run, &w->threads[i]) == 0);
}

/* Tells them all to end: at once, or after what is under way. */
static void
run_threads_end(struct load_run *w, bool at_once)
{
	for (; w != NULL; w = w->beside)
		for (unsigned i = 0; i < w->config->threads; i++)
			ev_async_send(w->threads[i].loop,
				      at_once ? &w->threads[i].stop : &w->threads[i].finish);
}

static bool
run_is_over(const struct load_run *w)
{
	for (; w != NULL; w = w->beside)
		for (unsigned i = 0; i < w->config->threads; i++)
			if (!atomic_load(&w->threads[i].finished))
				return false;
	return true;
}

static void
run_on_poll(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct load_run *w = container_of(timer, struct load_run, poll);
	struct load_sums s = load_sum(w->threads, (unsigned)w->config->threads);

	(void)revents;
	show_progress(w, &s, load_now());
	if (w->config->mode->hold && !w->held && s.settled == w->config->connections) {
		w->held = true;
		say_holding(w, &s);
	}
	if (w->enough != NULL && !w->closing && w->enough(w, &s)) {
		w->closing = true;
		run_threads_end(w, false);
	}
	if (run_is_over(w))
		ev_break(loop, EVBREAK_ALL);
}

static void
run_on_signal(struct ev_loop *loop, ev_signal *signal_watcher, int revents)
{
	struct load_run *w = signal_watcher->data;

	(void)loop, (void)revents;
	w->interrupted = true;
	run_threads_end(w, true);
}

void
load_run_go(struct load_run *w)
{
	ev_signal interrupt, terminate;

	ev_signal_init(&interrupt, run_on_signal, SIGINT);
	ev_signal_init(&terminate, run_on_signal, SIGTERM);
	interrupt.data = terminate.data = w;
	ev_signal_start(w->loop, &interrupt);
	ev_signal_start(w->loop, &terminate);
	ev_timer_init(&w->poll, run_on_poll, POLL_SECONDS, POLL_SECONDS);
	ev_timer_start(w->loop, &w->poll);
	w->began = w->shown_at = load_now();
	run_threads_start(w);
	ev_run(w->loop, 0);
	for (struct load_run *r = w; r != NULL; r = r->beside)
		for (unsigned i = 0; i < r->config->threads; i++)
			pthread_join(r->threads[i].id, NULL);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

void
load_run_init(struct load_run *w, const struct load_config *config)
{
	*w = (struct load_run){ .config = config };
	w->threads = must_array(config->threads, sizeof(*w->threads));
	/* Not the default loop: that one reaps every child, a drill's commands too. */
	w->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	CHECK(w->loop != NULL);
	for (unsigned i = 0; i < config->threads; i++)
		load_thread_init(&w->threads[i], config, i);
}

void
load_run_free(struct load_run *w)
{
	for (unsigned i = 0; i < w->config->threads; i++)
		load_thread_free(&w->threads[i]);
	free(w->threads);
	ev_loop_destroy(w->loop);
}

static enum err
run_load(const struct load_config *config)
{
	unsigned n = (unsigned)config->threads;
	struct load_run run;
	uint64_t failed;

	load_run_init(&run, config);
	load_run_go(&run);
	load_report(config, run.threads, n);
	failed = load_sum(run.threads, n).errors;
	load_run_free(&run);
	return failed > 0 ? E_INTERNAL : OK;
}

enum err
load_main(int argc, char **argv, struct why *why)
{
	struct load_config c;
	struct option_spec options[LOAD_OPTIONS_MAX];
	const char *mode = NULL;
	bool unchecked = false;
	size_t n = load_options(&c, &mode, &unchecked, options);
	enum err e;

	if ((e = options_parse(options, n, argc, argv, why)) != OK)
		return e;
	c.check = !unchecked;
	if ((e = load_config_settle(&c, mode, why)) == OK && (e = run_load(&c)) != OK)
		why_set(why, e, "not every request succeeded");
	load_config_free(&c);
	return e;
}
