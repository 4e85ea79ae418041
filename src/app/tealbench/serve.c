/* serve.c - `tealbench serve`, the light backend: threads and the life of a
 * connection; what is said on it is its mode's.
 * Main waits for signals; each worker thread has a loop and listeners of its
 * own.  A peer belongs to the thread that accepted it. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/tealbench/endpoint.h"
#include "app/tealbench/options.h"
#include "app/tealbench/pattern.h"
#include "app/tealbench/serve.h"
#include "base/json.h"

#define PEER_MAGIC 0x70656572u	/* "peer" */
#define ACCEPT_BATCH 64

/* --- one connection --- */

static ssize_t
peer_write(struct peer *p, const void *data, size_t n)
{
	return p->ssl != NULL ? secure_write(p->ssl, data, n) : send(p->fd, data, n, MSG_NOSIGNAL);
}

int64_t
peer_read(struct peer *p)
{
	ssize_t n;

	if (p->ssl != NULL)
		n = secure_read(p->ssl, p->thread->scratch, SERVE_SCRATCH);
	else
		n = recv(p->fd, p->thread->scratch, SERVE_SCRATCH, 0);
	if (n > 0) {
		atomic_fetch_add_explicit(&p->thread->config->totals->bytes_in, (uint64_t)n,
					  memory_order_relaxed);
		return n;
	}
	if (n == 0) {
		p->eof = true;
		return 0;
	}
	return errno == EAGAIN || errno == EINTR ? -1 : -2;
}

bool
peer_flush(struct peer *p)
{
	ssize_t n;

	while (buf_len(&p->out) > 0) {
		n = peer_write(p, buf_str(&p->out).p, buf_len(&p->out));
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		buf_consume(&p->out, (size_t)n);
	}
	return true;
}

bool
peer_send(struct peer *p, const void *data, size_t n)
{
	ssize_t sent = 0;

	if (buf_len(&p->out) == 0) {
		sent = peer_write(p, data, n);
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (sent < 0)
			sent = 0;
	}
	return buf_append(&p->out, (const char *)data + sent, n - (size_t)sent);
}

int64_t
peer_send_pattern(struct peer *p, uint64_t offset, uint64_t n)
{
	uint64_t done = 0;
	size_t piece;
	ssize_t sent;

	/* Four pieces a turn, so that one fast reader does not starve the others. */
	while (done < n && done < 4 * PATTERN_PIECE && buf_len(&p->out) == 0) {
		piece = n - done < PATTERN_PIECE ? (size_t)(n - done) : PATTERN_PIECE;
		sent = peer_write(p, pattern_at(offset + done), piece);
		if (sent < 0)
			return errno == EAGAIN || errno == EINTR ? (int64_t)done : -1;
		done += (uint64_t)sent;
		/* TLS takes a record at a time. */
		if ((size_t)sent < piece && p->ssl == NULL)
			break;
	}
	return (int64_t)done;
}

bool
peer_end_sending(struct peer *p)
{
	return p->ssl != NULL ? secure_end(p->ssl) : shutdown(p->fd, SHUT_WR) == 0;
}

void
peer_will_reset(struct peer *p)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void
peer_end(struct peer *p)
{
	atomic_fetch_sub_explicit(&p->thread->config->totals->open, 1, memory_order_relaxed);
	secure_free(&p->ssl);
	ev_io_stop(p->thread->loop, &p->io);
	ev_timer_stop(p->thread->loop, &p->timer);
	list_remove(&p->link);
	close(p->fd);
	buf_free(&p->in);
	buf_free(&p->out);
	buf_free(&p->http.shown);
	p->magic = 0;
	free(p);
}

/* After every event: the connection's interest follows from its state. */
static void
peer_settle(struct peer *p, bool alive)
{
	int wants;

	if (!alive) {
		peer_end(p);
		return;
	}
	wants = p->handshake_wants != 0 ? p->handshake_wants : p->thread->config->mode->wants(p);
	if (wants == (p->io.events & (EV_READ | EV_WRITE)) && ev_is_active(&p->io))
		return;
	ev_io_stop(p->thread->loop, &p->io);
	ev_io_set(&p->io, p->fd, wants);
	if (wants != 0)
		ev_io_start(p->thread->loop, &p->io);
}

/* Accepted, and where there is TLS, agreed upon; TCP modes break here. */
static bool
peer_start(struct peer *p)
{
	const struct serve_config *config = p->thread->config;
	enum serve_break wrong = BREAK_NOT;

	if (config->mode != &serve_mode_http)
		wrong = serve_turn(config);
	if (wrong == BREAK_RESET)
		peer_will_reset(p);
	p->lies = wrong == BREAK_LIE;
	return wrong != BREAK_RESET && wrong != BREAK_CLOSE && config->mode->start(p);
}

static bool
peer_secure(struct peer *p)
{
	int done = secure_handshake(p->ssl, &p->handshake_wants);

	if (done == 1)
		p->handshake_wants = 0;
	return done == 0 || (done == 1 && peer_start(p));
}

static void
peer_on_ready(struct ev_loop *loop, ev_io *w, int revents)
{
	struct peer *p = container_of(w, struct peer, io);

	(void)loop;
	CHECK(p->magic == PEER_MAGIC);
	if (p->handshake_wants != 0)
		peer_settle(p, peer_secure(p));
	else
		peer_settle(p, p->thread->config->mode->ready(p, revents));
}

static void
peer_on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct peer *p = container_of(w, struct peer, timer);

	(void)loop, (void)revents;
	CHECK(p->magic == PEER_MAGIC);
	peer_settle(p, p->thread->config->mode->timer(p));
}

static void
peer_new(struct serve_listener *l, int fd)
{
	struct serve_thread *t = l->thread;
	struct peer *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		close(fd);
		return;
	}
	p->magic = PEER_MAGIC;
	p->fd = fd;
	p->thread = t;
	p->listener = l;
	p->id = atomic_fetch_add_explicit(&t->config->totals->connections, 1, memory_order_relaxed) + 1;
	buf_init(&p->in, SERVE_HELD_MAX);
	buf_init(&p->out, SERVE_HELD_MAX);
	buf_init(&p->http.shown, SERVE_HELD_MAX);
	ev_io_init(&p->io, peer_on_ready, fd, 0);
	ev_init(&p->timer, peer_on_timer);
	list_append(&t->peers, &p->link);
	atomic_fetch_add_explicit(&t->config->totals->open, 1, memory_order_relaxed);
	if (t->config->context == NULL) {
		peer_settle(p, peer_start(p));
		return;
	}
	p->ssl = secure_accept(t->config->context, fd);
	peer_settle(p, p->ssl != NULL && peer_secure(p));
}

/* --- listeners and threads --- */

static void
listener_on_pause_end(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct serve_listener *l = container_of(w, struct serve_listener, pause);

	(void)revents;
	ev_io_start(loop, &l->io);
}

static void
serve_on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
	struct serve_listener *l = container_of(w, struct serve_listener, io);
	int fd;

	(void)revents;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		if ((fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
			peer_new(l, fd);
			continue;
		}
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* It would be ready at once again: do not spin. */
			ev_io_stop(loop, w);
			ev_timer_set(&l->pause, 0.1, 0.);
			ev_timer_start(loop, &l->pause);
		}
		return;
	}
}

static void
thread_on_stop(struct ev_loop *loop, ev_async *w, int revents)
{
	(void)w, (void)revents;
	ev_break(loop, EVBREAK_ALL);
}

static void *
thread_run(void *arg)
{
	struct serve_thread *t = arg;

	ev_run(t->loop, 0);
	LIST_EACH(link, &t->peers)
		peer_end(list_entry(link, struct peer, link));
	for (unsigned i = 0; i < t->listener_count; i++)
		close(t->listeners[i].io.fd);
	ev_loop_destroy(t->loop);
	return NULL;
}

static void
thread_init(struct serve_thread *t, const struct serve_config *config, unsigned listeners)
{
	t->config = config;
	list_init(&t->peers);
	t->listeners = must_array(listeners, sizeof(*t->listeners));
	t->scratch = must_alloc(SERVE_SCRATCH);
	t->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	CHECK(t->loop != NULL);
	ev_async_init(&t->stop, thread_on_stop);
	ev_async_start(t->loop, &t->stop);
}

static void
thread_listen(struct serve_thread *t, const struct addr *addr, int fd)
{
	struct serve_listener *l = &t->listeners[t->listener_count++];

	l->thread = t;
	l->addr = *addr;
	ev_init(&l->pause, listener_on_pause_end);
	ev_io_init(&l->io, t->config->mode->datagrams != NULL ? t->config->mode->datagrams : serve_on_accept,
		   fd, EV_READ);
	ev_io_start(t->loop, &l->io);
}

/* --- what it was asked --- */

enum serve_break
serve_turn(const struct serve_config *config)
{
	struct serve_totals *totals = config->totals;
	uint64_t turn = atomic_fetch_add_explicit(&totals->requests, 1, memory_order_relaxed) + 1;

	if (config->die_after > 0 && turn > config->die_after)
		_exit(1);	/* as a crash would: nothing is said, flushed or closed */
	if (config->broken == BREAK_NOT || turn % config->break_every != 0)
		return BREAK_NOT;
	atomic_fetch_add_explicit(&totals->broken, 1, memory_order_relaxed);
	return config->broken;
}

void
serve_count_label(struct serve_totals *totals, struct serve_labels *labels, struct str value)
{
	char text[SERVE_LABEL_MAX + 1];
	unsigned i;

	str_copy(text, sizeof(text), value);
	pthread_mutex_lock(&totals->lock);
	for (i = 0; i < labels->n; i++)
		if (strcmp(labels->label[i].text, text) == 0)
			break;
	if (i == labels->n && i < SERVE_LABELS_MAX) {
		memcpy(labels->label[i].text, text, sizeof(text));
		labels->n++;
	}
	if (i < SERVE_LABELS_MAX)
		labels->label[i].count++;
	else
		labels->others++;
	pthread_mutex_unlock(&totals->lock);
}

static void
put_labels(struct json *j, const char *key, const struct serve_labels *labels)
{
	json_array(j, key);
	for (unsigned i = 0; i < labels->n; i++) {
		json_object(j, NULL);
		json_cstr(j, "value", labels->label[i].text);
		json_u64(j, "requests", labels->label[i].count);
		json_object_end(j);
	}
	if (labels->others > 0) {
		json_object(j, NULL);
		json_null(j, "value");
		json_u64(j, "requests", labels->others);
		json_object_end(j);
	}
	json_array_end(j);
}

void
serve_put_totals(struct json *j, const struct serve_config *config)
{
	struct serve_totals *t = config->totals;

	json_cstr(j, "name", config->name);
	json_u64(j, "connections", atomic_load_explicit(&t->connections, memory_order_relaxed));
	json_u64(j, "open", atomic_load_explicit(&t->open, memory_order_relaxed));
	json_u64(j, "requests", atomic_load_explicit(&t->requests, memory_order_relaxed));
	json_u64(j, "broken", atomic_load_explicit(&t->broken, memory_order_relaxed));
	json_u64(j, "bytes_in", atomic_load_explicit(&t->bytes_in, memory_order_relaxed));
	pthread_mutex_lock(&t->lock);
	put_labels(j, "colors", &t->colors);
	put_labels(j, "epochs", &t->epochs);
	pthread_mutex_unlock(&t->lock);
}

/* The last line, once all threads have ended. */
static void
say_served(const struct serve_config *config)
{
	struct json j;
	struct buf line;

	buf_init(&line, 65536);
	json_init(&j, &line);
	json_object(&j, NULL);
	json_cstr(&j, "event", "served");
	serve_put_totals(&j, config);
	json_object_end(&j);
	json_line_end(&j);
	fwrite(buf_str(&line).p, 1, buf_len(&line), stdout);
	fflush(stdout);
	buf_free(&line);
}

static void
announce_listener(const struct serve_config *config, const struct addr *addr)
{
	struct json j;
	struct buf line;
	char text[ADDR_TEXT];

	buf_init(&line, 4096);
	json_init(&j, &line);
	json_object(&j, NULL);
	json_cstr(&j, "event", "listening");
	json_cstr(&j, "address", addr_format(addr, text));
	json_u64(&j, "port", addr_port(addr));
	json_cstr(&j, "name", config->name);
	json_cstr(&j, "mode", config->mode->word);
	json_i64(&j, "pid", getpid());
	json_object_end(&j);
	json_line_end(&j);
	fwrite(buf_str(&line).p, 1, buf_len(&line), stdout);
	fflush(stdout);
	buf_free(&line);
}

static enum err
listen_all(struct serve_thread *threads, unsigned n, const struct option_list *list,
	   const struct serve_config *config, struct why *why)
{
	struct addr addrs[OPTION_LIST_MAX];
	int fds[SERVE_THREADS_MAX];
	enum err e;

	for (unsigned i = 0; i < list->n; i++) {
		if ((e = addr_parse(list->item[i], ADDR_PORT_0 | ADDR_ANY_HOST, &addrs[i], why)) != OK ||
		    (e = endpoint_listen(&addrs[i], config->mode->datagrams != NULL, config->congestion, fds,
					 n, why)) != OK)
			return e;
		for (unsigned t = 0; t < n; t++)
			thread_listen(&threads[t], &addrs[i], fds[t]);
	}
	for (unsigned i = 0; i < list->n; i++)
		announce_listener(config, &addrs[i]);
	return OK;
}

static void
forget_paths(const struct serve_thread *t)
{
	for (unsigned i = 0; i < t->listener_count; i++)
		if (addr_family(&t->listeners[i].addr) == AF_UNIX)
			unlink(t->listeners[i].addr.u.un.sun_path);
}

enum err
serve_run(const struct serve_config *config, const struct option_list *list, unsigned n, struct why *why)
{
	struct serve_thread *threads = must_array(n, sizeof(*threads));
	pthread_t *ids = must_array(n, sizeof(*ids));
	sigset_t signals;
	int signal_number;
	enum err e;

	/* Before any thread exists, so that only sigwait() below takes them. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	for (unsigned i = 0; i < n; i++)
		thread_init(&threads[i], config, list->n);
	e = listen_all(threads, n, list, config, why);
	if (e == OK) {
		for (unsigned i = 0; i < n; i++)
			CHECK(pthread_create(&ids[i], NULL, thread_run, &threads[i]) == 0);
		sigwait(&signals, &signal_number);
		forget_paths(&threads[0]);
		for (unsigned i = 0; i < n; i++)
			ev_async_send(threads[i].loop, &threads[i].stop);
		for (unsigned i = 0; i < n; i++)
			pthread_join(ids[i], NULL);
		say_served(config);
	} else {
		forget_paths(&threads[0]);
		for (unsigned i = 0; i < n; i++)
			ev_loop_destroy(threads[i].loop);
	}
	for (unsigned i = 0; i < n; i++) {
		free(threads[i].listeners);
		free(threads[i].scratch);
	}
	free(threads);
	free(ids);
	return e;
}
