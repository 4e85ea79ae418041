/* load_flow.c - one connection of the load: connect, ask, take the answer,
 * and what comes after it.  Thread: the flow's.
 * Nothing here calls itself again: what fails goes to the paused list, from
 * where the next tick takes it, so that a dead target is not hammered. */
#include <errno.h>
#include <unistd.h>

#include "app/tealbench/endpoint.h"
#include "app/tealbench/load_flow.h"
#include "app/tealbench/load_http2.h"
#include "app/tealbench/pattern.h"

#define FLOW_MAGIC 0x666c6f77u	/* "flow" */
/* Pieces sent in one turn, so that one fast reader does not starve others. */
#define PIECES_PER_TURN 4

static int
flow_wants(const struct flow *f)
{
	switch (f->state) {
	case FLOW_CLOSED:
		return 0;
	case FLOW_CONNECTING:
		return EV_WRITE;
	case FLOW_SECURING:
		return f->handshake_wants;
	case FLOW_BUSY:
		return EV_READ | (f->sent < f->to_send ? EV_WRITE : 0);
	case FLOW_GREETING:
	case FLOW_READY:
	case FLOW_HELD:
		return EV_READ;
	}
	return 0;
}

static void
flow_settle(struct flow *f)
{
	int wants = flow_wants(f);

	if (f->fd < 0 || (ev_is_active(&f->io) && (f->io.events & (EV_READ | EV_WRITE)) == wants))
		return;
	ev_io_stop(f->thread->loop, &f->io);
	ev_io_set(&f->io, f->fd, wants);
	ev_io_start(f->thread->loop, &f->io);
}

/* The one least recently touched stays first: all have the same timeout. */
static void
flow_touch(struct flow *f, uint64_t now)
{
	f->touched = now;
	list_remove(&f->deadline);
	list_append(&f->thread->deadlines, &f->deadline);
}

static void
flow_close(struct flow *f)
{
	if (f->fd < 0)
		return;
	if (f->state != FLOW_CONNECTING)
		atomic_fetch_sub_explicit(&f->thread->tally.open, 1, memory_order_relaxed);
	ev_io_stop(f->thread->loop, &f->io);
	secure_free(&f->ssl);
	close(f->fd);
	f->fd = -1;
	f->state = FLOW_CLOSED;
	list_remove(&f->deadline);
	buf_free(&f->in);
}

void
flow_fail(struct flow *f, enum load_error error)
{
	struct load_thread *t = f->thread;

	load_count(&t->tally.errors[error], 1);
	if (t->config->observer != NULL)
		t->config->observer->failed(t->config->observer, f, error, load_now());
	if (f->state == FLOW_HELD)
		atomic_fetch_sub_explicit(&t->tally.held, 1, memory_order_relaxed);
	if (f->in_request)
		t->busy--;
	f->in_request = false;
	flow_close(f);
	t->ended = load_now();
	if (!t->config->mode->hold) {
		list_remove(&f->link);
		list_append(&t->paused, &f->link);
	}
	load_thread_warmed(f);
	load_thread_check(t);
}

/* The answer is in; last: the connection is of no more use. */
static void
flow_done(struct flow *f, bool last)
{
	struct load_thread *t = f->thread;
	const struct load_mode *mode = t->config->mode;

	t->ended = load_now();
	histogram_record(&t->latency, t->ended - f->intended);
	load_count(&t->tally.done, 1);
	if (t->config->observer != NULL)
		t->config->observer->done(t->config->observer, f, t->ended);
	if (f->name < LOAD_NAMES_MAX)
		t->names.name[f->name].count++;
	else if (f->name == LOAD_NAMES_MAX)
		t->names.others++;
	t->busy--;
	f->in_request = false;
	if (mode->hold) {
		f->state = FLOW_HELD;
		list_remove(&f->deadline);
		flow_settle(f);
		load_count(&t->tally.held, 1);
		load_thread_warmed(f);
		return;
	}
	/* An answer that did not wait for all of the question ends it too. */
	if (mode->fresh || last || f->sent < f->to_send || ++f->served == t->config->per_connection)
		flow_close(f);
	flow_next(f);
}

/* The kernel takes what it can; more when it says so. */
static void
flow_push(struct flow *f)
{
	const struct load_mode *mode = f->thread->config->mode;
	const char *p;
	uint64_t n;
	ssize_t sent;

	for (int i = 0; i < PIECES_PER_TURN && f->sent < f->to_send; i++) {
		p = mode->next(f, &n);
		if (f->ssl != NULL)
			sent = secure_write(f->ssl, p, (size_t)n);
		else
			sent = send(f->fd, p, (size_t)n,
				    MSG_NOSIGNAL | (n < f->to_send - f->sent ? MSG_MORE : 0));
		if (sent < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (sent < 0) {
			flow_fail(f, load_error_from_errno(errno));
			return;
		}
		f->sent += (uint64_t)sent;
		load_count(&f->thread->tally.bytes_out, (uint64_t)sent);
		if (f->sent == f->to_send && mode->sent != NULL && !mode->sent(f)) {
			flow_fail(f, f->error);
			return;
		}
		/* TLS takes a record at a time. */
		if ((uint64_t)sent < n && f->ssl == NULL)
			break;
	}
	flow_settle(f);
}

static void
flow_ask(struct flow *f)
{
	const struct load_config *config = f->thread->config;
	uint64_t now = load_now();

	/* Closed loop on a connection that lasts: connecting was not asked for. */
	if (config->rate == 0 && !config->mode->fresh)
		f->intended = now;
	f->asked = config->mode->fresh && !config->mode->http ? f->connecting : now;
	f->state = FLOW_BUSY;
	f->sent = f->taken = 0;
	f->serial = f->thread->issued * config->threads + f->thread->index;
	config->mode->begin(f);
	flow_touch(f, now);
	flow_push(f);
}

static void
flow_opened(struct flow *f)
{
	if (f->in_request) {
		flow_ask(f);
		return;
	}
	f->state = FLOW_READY;
	list_remove(&f->deadline);
	flow_settle(f);
	load_thread_warmed(f);
}

void
flow_connect(struct flow *f)
{
	const struct load_config *config = f->thread->config;
	struct addr from, to;
	uint64_t k;

	if (config->sources > 0) {
		memset(&from, 0, sizeof(from));
		from.len = sizeof(from.u.in);
		from.u.in.sin_family = AF_INET;
		from.u.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(f->index % config->sources));
	}
	f->connecting = load_now();
	load_http2_free(f);
	to = config->target;
	if (config->ports > 1) {	/* at the same place for IPv4 and IPv6 */
		k = f->thread->dialed++ * config->threads + f->thread->index;
		to.u.in.sin_port = htons((uint16_t)(addr_port(&to) + k % config->ports));
	}
	f->fd = endpoint_connect(&to, config->mode->datagram, config->sources > 0 ? &from : NULL,
				 config->congestion);
	if (f->fd < 0) {
		flow_fail(f, load_error_from_errno(errno));
		return;
	}
	f->name = LOAD_NAME_UNSAID;
	f->served = 0;
	f->state = FLOW_CONNECTING;
	flow_touch(f, f->connecting);
	flow_settle(f);
}

static void
flow_greet(struct flow *f)
{
	f->state = FLOW_GREETING;
	if (f->thread->config->hello)
		flow_settle(f);
	else
		flow_opened(f);
}

static void
flow_secure(struct flow *f)
{
	struct load_thread *t = f->thread;
	uint64_t now;

	switch (secure_handshake(f->ssl, &f->handshake_wants)) {
	case 0:
		flow_settle(f);
		return;
	case 1:
		if (t->config->mode->alpn != NULL && !secure_speaks(f->ssl, t->config->mode->alpn)) {
			flow_fail(f, LOAD_TLS);
			return;
		}
		now = load_now();
		histogram_record(&t->handshake, now - f->touched);
		load_count(&t->tally.resumed, secure_resumed(f->ssl));
		flow_touch(f, now);
		flow_greet(f);
		return;
	}
	flow_fail(f, errno == EPROTO ? LOAD_TLS : load_error_from_errno(errno));
}

static void
flow_connected(struct flow *f)
{
	const struct load_config *config = f->thread->config;
	socklen_t len = sizeof(int);
	uint64_t now = load_now();
	int error = 0;

	if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		flow_fail(f, load_error_from_errno(error));
		return;
	}
	histogram_record(&f->thread->connect, now - f->connecting);
	atomic_fetch_add_explicit(&f->thread->tally.open, 1, memory_order_relaxed);
	flow_touch(f, now);
	if (config->context == NULL) {
		flow_greet(f);
		return;
	}
	f->state = FLOW_SECURING;
	f->ssl = secure_connect(config->context, f->fd, config->sni, config->resume ? &f->session : NULL);
	if (f->ssl == NULL)
		flow_fail(f, LOAD_LOCAL);
	else
		flow_secure(f);
}

/* A backend that names itself on accept: its line comes first. */
static void
flow_greeted(struct flow *f, const char *p, size_t n)
{
	struct str line;
	const char *end;

	if (n == 0 || !buf_append(&f->in, p, n)) {
		flow_fail(f, n == 0 ? LOAD_SHORT : LOAD_PROTOCOL);
		return;
	}
	line = buf_str(&f->in);
	end = memchr(line.p, '\n', line.n);
	if (end == NULL && line.n <= LOAD_NAME_MAX)
		return;
	if (end == NULL || end + 1 != line.p + line.n) {
		flow_fail(f, LOAD_PROTOCOL);
		return;
	}
	line.n--;
	f->name = load_names_find(&f->thread->names, line);
	buf_free(&f->in);
	flow_opened(f);
}

static void
flow_take(struct flow *f, const char *p, size_t n)
{
	switch (f->thread->config->mode->take(f, p, n)) {
	case FLOW_MORE:
		/* A mode that ignores the end would spin on it. */
		if (n == 0)
			flow_fail(f, LOAD_SHORT);
		return;
	case FLOW_DONE:
		flow_done(f, false);
		return;
	case FLOW_DONE_LAST:
		flow_done(f, true);
		return;
	case FLOW_FAILED:
		flow_fail(f, f->error);
		return;
	}
}

static void
flow_read(struct flow *f)
{
	struct load_thread *t = f->thread;
	const struct load_mode *mode = t->config->mode;
	bool blind = f->state == FLOW_BUSY && mode->blind != NULL && mode->blind(f);
	ssize_t n;

	if (f->ssl != NULL)
		n = secure_read(f->ssl, t->scratch, LOAD_SCRATCH);
	else
		n = recv(f->fd, t->scratch, LOAD_SCRATCH, blind ? MSG_TRUNC : 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 && f->state != FLOW_READY) {
		flow_fail(f, f->state == FLOW_HELD ? LOAD_CLOSED : load_error_from_errno(errno));
		return;
	}
	if (n > 0)
		load_count(&t->tally.bytes_in, (uint64_t)n);
	switch (f->state) {
	case FLOW_GREETING:
		flow_greeted(f, t->scratch, (size_t)n);
		return;
	case FLOW_BUSY:
		/* One clock for many small reads would be cheaper, but a
		 * transfer must not time out while it moves. */
		if (mode->bulk || mode->http)
			flow_touch(f, load_now());
		flow_take(f, t->scratch, (size_t)n);
		return;
	case FLOW_READY:
		if (n > 0 && mode->unasked != NULL && mode->unasked(f, t->scratch, (size_t)n))
			return;
		/* A server may close an idle connection, but not send unasked. */
		if (n > 0 && mode->unasked == NULL)
			load_count(&t->tally.errors[LOAD_PROTOCOL], 1);
		if (t->config->lasting)
			flow_fail(f, LOAD_CLOSED);
		else
			flow_close(f);
		return;
	case FLOW_HELD:
		flow_fail(f, n > 0 ? LOAD_PROTOCOL : LOAD_CLOSED);
		return;
	case FLOW_CLOSED:
	case FLOW_CONNECTING:
	case FLOW_SECURING:
		return;
	}
}

static void
flow_on_ready(struct ev_loop *loop, ev_io *w, int revents)
{
	struct flow *f = container_of(w, struct flow, io);

	(void)loop;
	CHECK(f->magic == FLOW_MAGIC);
	if (f->state == FLOW_CONNECTING) {
		flow_connected(f);
		return;
	}
	if (f->state == FLOW_SECURING) {
		flow_secure(f);
		return;
	}
	if ((revents & EV_WRITE) && f->state == FLOW_BUSY) {
		if (f->thread->config->mode->bulk)
			flow_touch(f, load_now());
		flow_push(f);
	}
	if ((revents & EV_READ) && f->fd >= 0)
		flow_read(f);
}

void
flow_begin(struct flow *f, uint64_t intended)
{
	f->thread->issued++;
	f->thread->busy++;
	f->in_request = true;
	f->intended = intended;
	if (f->fd < 0)
		flow_connect(f);
	else
		flow_ask(f);
}

void
flow_next(struct flow *f)
{
	struct load_thread *t = f->thread;
	uint64_t now, due;

	if (t->phase == LOAD_CLOSING || t->issued >= t->quota) {
		flow_close(f);
		load_thread_check(t);
		return;
	}
	now = load_now();
	due = t->config->rate == 0 ? now : load_thread_due(t);
	if (due <= now) {
		flow_begin(f, due);
		return;
	}
	if (f->fd >= 0) {
		f->state = FLOW_READY;
		list_remove(&f->deadline);
		flow_settle(f);
	}
	list_remove(&f->link);
	list_append(&t->ready, &f->link);
	load_thread_arm(t);
}

void
flow_init(struct flow *f, struct load_thread *t, unsigned index)
{
	f->magic = FLOW_MAGIC;
	f->fd = -1;
	f->thread = t;
	f->index = index;
	list_init(&f->link);
	list_init(&f->deadline);
	buf_init(&f->in, 64 * 1024);
	ev_init(&f->io, flow_on_ready);
}

void
flow_free(struct flow *f)
{
	flow_close(f);
	load_http2_free(f);
	secure_session_free(&f->session);
	f->magic = 0;
}
