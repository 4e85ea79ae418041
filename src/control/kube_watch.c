/* kube_watch.c - lists and watches nodes at an API; see the header.
 * Thread: the watch's own, but for what begins with kube_watch_, and watch_on_letter(), which are main's. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "control/kube_stream.h"
#include "control/kube_watch.h"
#include "model/kube_access.h"
#include "model/secret.h"
#include "net/mailbox.h"
#include "store/watched_file.h"

/* Seconds. */
#define ANSWER_BY 10.0	/* the head of an answer */
#define PAGE_BY 60.0	/* a whole page */
#define PAUSE_FIRST 1.0	/* after a failure, doubled up to */
#define PAUSE_LONGEST 30.0
#define JITTER 0.2
/* A server ends a watch after so many seconds: chosen anew each time, so that those of a fleet do not end together. */
#define WATCH_LEAST 200
#define WATCH_SPREAD 100
/* If it does not, we do. */
#define WATCH_EXTRA 30.0
/* A set that has not changed is written as often, so that a start knows how old it is. */
#define KEEP_EVERY 60.0
/* That the API still speaks is told to main as often. */
#define TELL_EVERY 1.0
/* Between two looks whether the thread has ended, at a stop. */
#define JOIN_EVERY_NS 1000000
/* Nodes that the API has no more are forgotten after so long. */
#define FORGET_AFTER_US (INT64_C(600) * 1000000)

/* Bytes: of a page, of 500 nodes at first and less where that is too long; and of an event: etcd takes no object of
 * more than 1.5 MiB. */
#define PAGE_MAX ((size_t)32 << 20)
#define PAGE_NODES 500
#define PAGE_NODES_LEAST 10
/* Pages of one list: so many times those that WATCHED_MAX nodes fill, for a server may fill them in part. */
#define PAGES_TIMES 3
#define EVENT_MAX ((size_t)4 << 20)
/* Lists in a row that are older than what is known, until one is believed: the cluster was put back. */
#define OLDER_MAX 5

struct kube_watch {
	_Atomic unsigned refs;	/* main's and the thread's */
	pthread_t thread;
	int stop_fd;	/* eventfd; readable: stop */
	pthread_mutex_t lock;	/* over what follows, so that nothing is sent to a receiver that is gone */
	bool stopped;
	struct mailbox box;	/* main's loop */

	/* Main's. */
	kube_news_fn *on_news;
	void *arg;

	/* The thread's. */
	const struct config *tree;
	const struct pool_config *pool;
	const struct kube_config *config;
	struct kube_terms terms;
	struct watched_set set;
	bool shared;	/* main wants the set as text, too */
	bool seeded;	/* main knows the set that it begins with */
	size_t at;	/* of the servers, the one that is asked */
	struct http_url server;	/* that one, or the kubeconfig's; at.host "": it could not be read yet */
	char version[KUBE_VERSION];	/* where the next watch begins; "": list first */
	uint64_t newest;	/* of all versions that came, the greatest number */
	unsigned page_nodes;
	unsigned failures, older;	/* in a row */
	int64_t seen_us;	/* when the API has last said something */
	double kept_at;	/* clock_now() of the last write to state_dir */
	double told_at;	/* clock_now() of the last news */
	uint64_t random;
};

/* -- telling main -------------------------------------------------------------------- */

struct letter {
	struct mail mail;
	struct kube_news news;
};

/* Main. */
static void
watch_on_letter(struct mail *m, void *receiver)
{
	struct letter *l = container_of(m, struct letter, mail);
	struct kube_watch *w = receiver;

	if (!w->stopped)
		w->on_news(w->arg, &l->news);
	watched_free(&l->news.by_host);
	buf_free(&l->news.text);
	free(l);
}

static void
tell_main(struct kube_watch *w, const struct kube_news *news)
{
	struct letter *l = must_alloc(sizeof(*l));
	*l = (struct letter){ .mail = { .deliver = watch_on_letter }, .news = *news };
	w->told_at = clock_now();
	if (w->server.at.host[0] != '\0')
		(void)http_url_origin(&w->server, l->news.server);
	if (news->changed)
		watched_by_host(&l->news.by_host, &w->set);
	if (w->shared && news->fresh && (news->changed || news->listed)) {
		buf_init(&l->news.text, WATCHED_TEXT_MAX);
		(void)watched_text_write(&l->news.text, w->pool->name, &w->set, w->seen_us);
	}
	pthread_mutex_lock(&w->lock);
	if (w->stopped) {
		watched_free(&l->news.by_host);
		buf_free(&l->news.text);
		free(l);
	} else {
		mailbox_send(&w->box, &l->mail);
	}
	pthread_mutex_unlock(&w->lock);
}

static bool
is_stopped(struct kube_watch *w)
{
	bool stopped;

	pthread_mutex_lock(&w->lock);
	stopped = w->stopped;
	pthread_mutex_unlock(&w->lock);
	return stopped;
}

/* What it knows may be written: another one may by now, that knows more. */
static bool
may_write(void *arg)
{
	return !is_stopped(arg);
}

static void
keep_set(struct kube_watch *w)
{
	struct why why;

	w->kept_at = clock_now();
	/* The next change tries again; main says what does not work of state_dir. */
	(void)!watched_file_write(w->tree->state_dir, w->pool->name, &w->set, w->seen_us, may_write, w, &why);
}

/* The API has said something, and the set is what it says. */
static void
settle(struct kube_watch *w, bool listed)
{
	int64_t now = clock_wall_us();
	bool changed = watched_decide(&w->set, &w->config->min_ready, now, now - FORGET_AFTER_US);

	w->seen_us = now;
	if (changed || clock_now() - w->kept_at >= KEEP_EVERY)
		keep_set(w);
	/* Nodes say that they live again and again. */
	if (changed || !w->seeded || listed || clock_now() - w->told_at >= TELL_EVERY)
		tell_main(w, &(struct kube_news){ .changed = changed || !w->seeded, .fresh = true, .listed = listed });
	w->seeded = true;
}

/* -- asking -------------------------------------------------------------------------- */

static void
put_escaped(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c) != NULL)
			buf_append(out, text, 1);
		else
			buf_printf(out, "%%%02X", c);
	}
}

/* What the request needs of files, read anew each time: all of them may have been replaced. */
static enum err
read_files(struct kube_watch *w, struct kube_access *access, struct kube_request *r, char **token, struct ssl_ctx_st **context,
	   struct why *why)
{
	enum err e;

	if ((e = kube_access_read(w->config, access, NULL, why)) != OK)
		return e;
	w->server = w->config->n_servers > 0 ? w->config->servers[w->at] : access->server;
	r->server_name = access->server_name;
	if ((e = kube_access_token(access, token, NULL, why)) != OK || (w->server.tls && (e = kube_access_tls(access, context, why)) != OK))
		return e;
	r->token = *token;
	r->context = *context;
	return OK;
}

/* Opens the answer to a GET; OK only with status 200.  *code: the status; 0: there was no answer. */
static enum err
ask(struct kube_watch *w, struct buf *path, struct kube_stream *s, unsigned *code, struct why *why)
{
	struct kube_request r = { .server = &w->server,
				  .stop_fd = w->stop_fd,
				  .deadline = clock_now() + ANSWER_BY };
	struct kube_access access = { 0 };
	struct ssl_ctx_st *context = NULL;
	char *token = NULL, message[KUBE_MESSAGE];
	bool ended = false, late;
	struct buf body;
	enum err e;

	*code = 0;
	buf_append(path, "", 1);
	if (path->failed)
		return why_set(why, E_STORE, "the request is too long");
	r.path = buf_str(path).p;
	if ((e = read_files(w, &access, &r, &token, &context, why)) == OK)
		e = kube_stream_open(s, &r, code, why);
	secret_free(&token);
	kube_access_free(&access);
	if (e == OK && *code != 200) {
		buf_init(&body, KUBE_MESSAGE * 64);
		while (!ended && kube_stream_read(s, &body, r.deadline, &ended, &late, why) == OK)
			;
		kube_status_read(buf_str(&body), message);
		buf_free(&body);
		kube_stream_close(s);
		e = why_set(why, E_STORE, "answered %u%s%s%s", *code, message[0] != '\0' ? ": " : "", message,
			    *code == 401 ? w->config->kubeconfig != NULL ? "; does the kubeconfig have a valid token or certificate?" :
									   "; does token_file have a valid token?" :
			    *code == 403 ? "; it needs get, list and watch on nodes" :
					   "");
	}
	tls_context_free(&context);
	return e;
}

static void
begin_path(struct kube_watch *w, struct buf *path)
{
	buf_init(path, 32 * 1024);
	buf_printf(path, "/api/v1/nodes?");
	if (w->config->selector != NULL) {
		buf_printf(path, "labelSelector=");
		put_escaped(path, w->config->selector);
		buf_append(path, "&", 1);
	}
}

/* -- listing ------------------------------------------------------------------------- */

struct listing {
	struct kube_node *list;
	size_t n;
	char version[KUBE_VERSION];
	char *next;
};

static enum err
read_list_page(struct kube_watch *w, struct kube_stream *s, struct kube_page *page, struct why *why)
{
	double by = clock_now() + PAGE_BY;
	bool ended = false, late = false;
	enum err e = OK;
	struct buf body;

	buf_init(&body, PAGE_MAX);
	while (e == OK && !ended)
		e = kube_stream_read(s, &body, by, &ended, &late, why);
	/* The next attempt asks for less at a time. */
	if (body.failed && w->page_nodes > PAGE_NODES_LEAST)
		w->page_nodes /= 2;
	if (e == OK)
		e = kube_page_read(buf_str(&body), &w->terms, page, why);
	buf_free(&body);
	return e;
}

static enum err
list_page(struct kube_watch *w, struct listing *l, struct why *why)
{
	struct kube_page page = { 0 };
	struct kube_stream s;
	struct buf path;
	unsigned code;
	enum err e;

	begin_path(w, &path);
	buf_printf(&path, "limit=%u", w->page_nodes);
	if (l->next != NULL) {
		buf_printf(&path, "&continue=");
		put_escaped(&path, l->next);
	}
	e = ask(w, &path, &s, &code, why);
	buf_free(&path);
	if (e != OK)
		return e;
	e = read_list_page(w, &s, &page, why);
	kube_stream_close(&s);
	if (e != OK)
		return e;
	if (l->n + page.n > WATCHED_MAX) {
		kube_page_free(&page);
		return why_set(why, E_STORE, "there are more than %d nodes; let selector choose", WATCHED_MAX);
	}
	l->list = must_grow(l->list, l->n + page.n, sizeof(*l->list));
	if (page.n > 0)
		memcpy(l->list + l->n, page.list, page.n * sizeof(*l->list));
	l->n += page.n;
	memcpy(l->version, page.version, sizeof(l->version));
	free(l->next);
	l->next = page.next;
	page.next = NULL;
	kube_page_free(&page);
	return OK;
}

/* A server that lags behind, or was put back: believed once it stays so. */
static enum err
check_age(struct kube_watch *w, const char *version, struct why *why)
{
	uint64_t now = kube_version_number(version);

	if (now != 0 && now < w->newest && ++w->older < OLDER_MAX)
		return why_set(why, E_STORE, "its list is older (%s) than what is known (%llu)", version, (unsigned long long)w->newest);
	if (now != 0 && now < w->newest) {
		watched_forget_versions(&w->set);
		w->newest = 0;
	}
	w->older = 0;
	return OK;
}

static void
note_version(struct kube_watch *w, const char *version)
{
	uint64_t now = kube_version_number(version);

	memcpy(w->version, version, sizeof(w->version));
	if (now > w->newest)
		w->newest = now;
}

/* All or nothing: a list of which a page is missing is none. */
static enum err
list_all_nodes(struct kube_watch *w, struct why *why)
{
	struct listing l = { 0 };
	unsigned pages = 0;
	enum err e;

	do
		e = list_page(w, &l, why);
	while (e == OK && l.next != NULL && ++pages < PAGES_TIMES * WATCHED_MAX / w->page_nodes);
	if (e == OK && l.next != NULL)
		e = why_set(why, E_STORE, "its list does not end: %u pages have %zu nodes", pages, l.n);
	if (e == OK)
		e = check_age(w, l.version, why);
	if (e == OK && !watched_replace(&w->set, l.list, l.n, clock_wall_us()))
		e = why_set(why, E_STORE, "there are more than %d nodes; let selector choose", WATCHED_MAX);
	if (e == OK) {
		note_version(w, l.version);
		settle(w, true);
	}
	free(l.list);
	free(l.next);
	return e;
}

/* -- watching ------------------------------------------------------------------------ */

static enum err
take_node_event(struct kube_watch *w, struct str line, struct why *why)
{
	struct kube_event ev;
	enum err e;

	if ((e = kube_event_read(line, &w->terms, &ev, why)) != OK)
		return e;
	switch (ev.kind) {
	case KUBE_EVENT_ERROR:
		return why_set(why, E_STORE, "the watch is over: %u %s", ev.code, ev.message);
	case KUBE_EVENT_GONE:
		watched_delete(&w->set, ev.node.name);
		break;
	case KUBE_EVENT_NODE:
		if (!watched_put(&w->set, &ev.node, clock_wall_us()))
			return why_set(why, E_STORE, "there are more than %d nodes; let selector choose", WATCHED_MAX);
		break;
	case KUBE_EVENT_BOOKMARK:
		break;
	}
	note_version(w, ev.version);
	return OK;
}

/* The whole lines that are here. */
static enum err
take_lines(struct kube_watch *w, struct buf *in, struct why *why)
{
	enum err e = OK;
	const char *end;
	bool any = false;

	while (e == OK && (end = memchr(buf_str(in).p, '\n', buf_len(in))) != NULL) {
		size_t n = (size_t)(end - buf_str(in).p);

		if (n > 0)
			e = take_node_event(w, (struct str){ buf_str(in).p, n }, why);
		buf_consume(in, n + 1);
		any |= e == OK;
	}
	if (any)
		settle(w, false);
	return e;
}

/* Until it ends: OK where it does so as it should, and the next one begins where this one was. */
static enum err
watch_nodes(struct kube_watch *w, struct why *why)
{
	unsigned seconds = WATCH_LEAST + (unsigned)(WATCH_SPREAD * random_unit(&w->random)), code;
	bool ended = false, late = false;
	struct kube_stream s;
	struct buf path, in;
	double by;
	enum err e;

	begin_path(w, &path);
	buf_printf(&path, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=", seconds);
	put_escaped(&path, w->version);
	e = ask(w, &path, &s, &code, why);
	buf_free(&path);
	if (e != OK)
		return e;
	by = clock_now() + seconds + WATCH_EXTRA;
	buf_init(&in, EVENT_MAX);
	while (e == OK && !ended) {
		e = kube_stream_read(&s, &in, by, &ended, &late, why);
		if (buf_len(&in) > 0) {
			struct why again;
			enum err taken = take_lines(w, &in, &again);

			if (e == OK && (e = taken) != OK)
				*why = again;
		}
	}
	if (e == OK && buf_len(&in) > 0)
		e = why_set(why, E_STORE, "the watch ended in the middle of an event");
	buf_free(&in);
	kube_stream_close(&s);
	return e;
}

/* -- the thread ---------------------------------------------------------------------- */

/* False: it is told to stop. */
static bool
pause_watch(struct kube_watch *w, double seconds)
{
	return kube_wait(w->stop_fd, seconds * (1 + JITTER * (2 * random_unit(&w->random) - 1)));
}

/* Another server is asked next, from the start; false: it is told to stop. */
static bool
after_failure(struct kube_watch *w, const struct why *why, bool watching)
{
	struct kube_news news = { .watch_ended = watching };
	double pause = PAUSE_FIRST * pow(2, w->failures < 8 ? w->failures : 8);

	if (is_stopped(w))
		return false;
	w->failures++;
	w->version[0] = '\0';
	str_copy(news.problem, sizeof(news.problem), str_from(why->text));
	tell_main(w, &news);
	if (w->config->n_servers > 0)
		w->at = (w->at + 1) % w->config->n_servers;
	return pause_watch(w, pause < PAUSE_LONGEST ? pause : PAUSE_LONGEST);
}

static void
follow_nodes(struct kube_watch *w)
{
	for (;;) {
		struct why why;
		double began = clock_now();

		if (w->version[0] == '\0' && list_all_nodes(w, &why) != OK) {
			if (!after_failure(w, &why, false))
				return;
			continue;
		}
		w->failures = 0;
		if (watch_nodes(w, &why) != OK) {
			if (!after_failure(w, &why, true))
				return;
		} else if (is_stopped(w) || (clock_now() - began < PAUSE_FIRST && !pause_watch(w, PAUSE_FIRST))) {
			return;
		}
	}
}

static void
load_kept(struct kube_watch *w)
{
	struct why why;

	if (watched_file_read(w->tree->state_dir, w->pool->name, &w->set, &w->seen_us, &why) != OK || w->set.n == 0)
		return;
	w->seeded = true;
	tell_main(w, &(struct kube_news){ .changed = true });
}

static void
watch_unref(struct kube_watch *w)
{
	if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) > 1)
		return;
	watched_free(&w->set);
	pthread_mutex_destroy(&w->lock);
	close(w->stop_fd);
	config_unref(&w->tree);
	free(w);
}

static void *
watch_main(void *arg)
{
	struct kube_watch *w = arg;

	if (!w->seeded)
		load_kept(w);
	follow_nodes(w);
	watch_unref(w);
	return NULL;
}

/* -- main's ---------------------------------------------------------------------------- */

struct kube_watch *
kube_watch_new(struct ev_loop *loop, const struct config *tree, const struct pool_config *config, const struct watched_set *seed,
	       bool shared, kube_news_fn *on_news, void *arg)
{
	struct kube_watch *w = must_alloc(sizeof(*w));

	*w = (struct kube_watch){ .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				  .on_news = on_news,
				  .arg = arg,
				  .tree = config_ref(tree),
				  .pool = config,
				  .config = config->kube,
				  .terms = { kube_address_word(config->kube->address), config->kube->taints, config->kube->n_taints },
				  .page_nodes = PAGE_NODES,
				  .shared = shared,
				  .seeded = seed != NULL,
				  .random = (uint64_t)clock_wall_us() ^ (uintptr_t)w };
	if (config->kube->n_servers > 0)
		w->server = config->kube->servers[0];
	CHECK(w->stop_fd >= 0 && pthread_mutex_init(&w->lock, NULL) == 0);
	atomic_init(&w->refs, 2);
	if (seed != NULL) {
		watched_by_name(&w->set, seed);
		/* What it comes from may be another cluster. */
		watched_forget_versions(&w->set);
	}
	mailbox_init(&w->box, loop, w);
	CHECK(thread_start(&w->thread, "teal-nodes", watch_main, w) == 0);
	return w;
}

void
kube_watch_free(struct kube_watch **wp, double seconds)
{
	struct kube_watch *w = *wp;
	double by = clock_now() + seconds;
	bool ended;

	*wp = NULL;
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopped = true;
	pthread_mutex_unlock(&w->lock);
	CHECK(eventfd_write(w->stop_fd, 1) == 0);
	/* By the clock that is never set; a look-up of a name may keep it. */
	while (!(ended = pthread_tryjoin_np(w->thread, NULL) == 0) && clock_now() < by)
		(void)nanosleep(&(struct timespec){ .tv_nsec = JOIN_EVERY_NS }, NULL);
	if (!ended)
		pthread_detach(w->thread);
	mailbox_close(&w->box);
	watch_unref(w);
}
