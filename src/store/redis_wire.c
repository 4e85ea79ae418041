/* redis_wire.c - bytes to and from one server that speaks Redis' protocol.
 * What the server does is input, whatever it is: too slow, too much, nonsense
 * or nothing at all ends the conversation with a sentence, and that is all.
 * Thread: main. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/sock.h"
#include "net/tls_client.h"
#include "store/redis_reader.h"
#include "store/redis_wire.h"

#define READ_SIZE (16 * 1024)	/* a whole TLS record */
/* Reads of one turn of the loop: others have a right to it too. */
#define READS_MAX 16
#define OUT_MAX (16 * 1024 * 1024)

struct wire_command {
	struct link link;
	unsigned long long end;	/* in the bytes of the conversation */
	double deadline;	/* clock_now() */
	double timeout;	/* seconds, for the message */
	enum err verdict;	/* once it is lost */
	redis_reply_fn *done;
	void *arg;
};

/* -- the end ---------------------------------------------------------------------- */

/* Nothing goes in or out any more; what waits for an answer is lost. */
static void
shut(struct wire *w)
{
	w->state = WIRE_CLOSED;
	w->conversation++;
	io_close(w->loop, &w->io);
	ev_timer_stop(w->loop, &w->timer);
	w->timer_at = 0;
	reader_close(w);
	buf_free(&w->out);
	LIST_EACH(l, &w->pending) {
		struct wire_command *c = list_entry(l, struct wire_command, link);

		/* What has not left this host completely cannot be executed: no
		 * server runs half a command. */
		c->verdict = c->end > w->out_sent ? E_STORE : E_UNKNOWN;
	}
	list_splice(&w->lost, &w->pending);
	w->n_pending = 0;
}

void
wire_close(struct wire *w, const struct why *why)
{
	struct link *l;

	if (w->state != WIRE_CLOSED)
		shut(w);
	/* Callbacks may come back here, or begin the next conversation. */
	while ((l = list_first(&w->lost)) != NULL) {
		struct wire_command *c = list_entry(l, struct wire_command, link);

		list_remove(l);
		c->done(c->arg, c->verdict, NULL, why);
		free(c);
	}
}

static void wire_fail(struct wire *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
wire_fail(struct wire *w, const char *fmt, ...)
{
	unsigned conversation = w->conversation + 1;
	char text[768];
	struct why why;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)why_set(&why, E_STORE, "%s: %s", w->where, text);
	wire_close(w, &why);
	/* Unless the owner has begun a new conversation meanwhile. */
	if (w->state == WIRE_CLOSED && w->conversation == conversation)
		w->events->closed(w->arg, &why);
}

/* -- time -------------------------------------------------------------------------- */

static void
timer_arm(struct wire *w, double at)
{
	double after = at - clock_now();

	if (w->timer_at != 0 && w->timer_at <= at)
		return;
	w->timer_at = at;
	ev_timer_stop(w->loop, &w->timer);
	ev_timer_set(&w->timer, after > 0.001 ? after : 0.001, 0);
	ev_timer_start(w->loop, &w->timer);
}

/* The command that must be answered first. */
static const struct wire_command *
most_urgent(const struct wire *w)
{
	const struct wire_command *first = NULL;

	LIST_EACH(l, &w->pending) {
		const struct wire_command *c = list_entry(l, struct wire_command, link);

		if (first == NULL || c->deadline < first->deadline)
			first = c;
	}
	return first;
}

double
wire_patience(const struct wire *w)
{
	double now = clock_now(), last = now;

	LIST_EACH(l, &w->pending) {
		const struct wire_command *c = list_entry(l, struct wire_command, link);

		if (c->deadline > last)
			last = c->deadline;
	}
	return last - now;
}

static void wire_step(struct wire *w);

static bool
is_connected(const struct wire *w)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	return getpeername(io_fd(&w->io), (struct sockaddr *)&peer, &len) == 0;
}

static void
wire_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct wire *w = container_of(t, struct wire, timer);
	unsigned conversation = w->conversation;
	const struct wire_command *c;
	double now;

	(void)loop;
	(void)revents;
	w->timer_at = 0;
	/* If it was us who slept, what we wait for may be here already. */
	if (w->state != WIRE_CONNECTING || is_connected(w))
		wire_step(w);
	if (w->conversation != conversation || w->state == WIRE_CLOSED)
		return;
	now = clock_now();
	if (w->state != WIRE_OPEN) {
		if (now >= w->open_by)
			wire_fail(w, "no connection within %.3g s", w->open_timeout);
		else
			timer_arm(w, w->open_by);
		return;
	}
	if ((c = most_urgent(w)) == NULL)
		return;
	if (now >= c->deadline)
		wire_fail(w, "no answer within %.3g s", c->timeout);
	else
		timer_arm(w, c->deadline);
}

/* -- replies ----------------------------------------------------------------------- */

static bool
is_text(const redisReply *r, const char *text)
{
	return r->type == REDIS_REPLY_STRING && str_eq((struct str){ r->str, (size_t)r->len }, text);
}

static bool
is_message(const redisReply *r)
{
	return r->type == REDIS_REPLY_ARRAY && r->elements == 3 && is_text(r->element[0], "message") &&
	       r->element[1]->type == REDIS_REPLY_STRING && r->element[2]->type == REDIS_REPLY_STRING;
}

/* Hands a reply to whom it belongs. */
static void
deliver(struct wire *w, const redisReply *r)
{
	struct link *first = list_first(&w->pending);
	struct wire_command *c;

	if (w->events->message != NULL && is_message(r)) {
		w->events->message(w->arg, (struct str){ r->element[1]->str, (size_t)r->element[1]->len },
				   (struct str){ r->element[2]->str, (size_t)r->element[2]->len });
		return;
	}
	c = first != NULL ? list_entry(first, struct wire_command, link) : NULL;
	if (c == NULL || c->end > w->out_sent) {
		/* Such as: there are too many clients, and goodbye. */
		if (r->type == REDIS_REPLY_ERROR)
			wire_fail(w, "it says: %s", wire_text(r).s);
		else
			wire_fail(w, "it sent an answer without a question");
		return;
	}
	list_remove(first);
	w->n_pending--;
	c->done(c->arg, OK, r, &(struct why){ "" });
	free(c);
}

/* False when the conversation has ended. */
static bool
wire_take_replies(struct wire *w, const char *bytes, size_t n)
{
	unsigned conversation = w->conversation;
	redisReply *reply;
	struct why why;

	reader_feed(w, bytes, n);
	for (;;) {
		if (reader_next(w, &reply, &why) != OK) {
			wire_fail(w, "%s", why.text);
			return false;
		}
		if (reply == NULL)
			return true;
		deliver(w, reply);
		freeReplyObject(reply);
		if (w->conversation != conversation)
			return false;
	}
}

/* False when the conversation has ended. */
static bool
wire_receive(struct wire *w)
{
	char bytes[READ_SIZE];

	for (unsigned i = 0; i < READS_MAX; i++) {
		ssize_t n = io_read(&w->io, bytes, sizeof(bytes));

		if (n < 0 && io_would_block())
			return true;
		if (n <= 0) {
			wire_fail(w, "%s", n == 0 ? "connection closed" : io_error(&w->io));
			return false;
		}
		if (!wire_take_replies(w, bytes, (size_t)n))
			return false;
		if ((size_t)n < sizeof(bytes) && !io_is_tls(&w->io))
			return true;
	}
	/* For what TLS has already taken from the socket no event comes. */
	if (io_pending(&w->io))
		timer_arm(w, clock_now());
	return true;
}

/* -- commands ---------------------------------------------------------------------- */

/* Writes what can be written; false with errno on failure. */
static bool
wire_flush(struct wire *w)
{
	while (buf_len(&w->out) > 0) {
		struct str s = buf_str(&w->out);
		ssize_t n = io_write(&w->io, s.p, s.n, false);

		if (n < 0)
			return io_would_block();
		buf_consume(&w->out, (size_t)n);
		w->out_sent += (unsigned long long)n;
	}
	return true;
}

static void
settle_wire(struct wire *w)
{
	io_want(w->loop, &w->io, EV_READ | (buf_len(&w->out) > 0 ? EV_WRITE : 0));
}

static void
wire_refuse(struct wire *w, redis_reply_fn *done, void *arg, const char *text)
{
	struct why why;

	(void)why_set(&why, E_STORE, "%s: %s", w->where, text);
	done(arg, E_STORE, NULL, &why);
}

/* How many bytes; -1 when it cannot be done. */
static int
format(sds *bytes, size_t argc, const struct str *argv)
{
	const char **texts = must_array(argc, sizeof(*texts));
	size_t *lengths = must_array(argc, sizeof(*lengths));
	int n;

	CHECK(argc > 0 && argc <= INT_MAX);
	for (size_t i = 0; i < argc; i++) {
		texts[i] = argv[i].p != NULL ? argv[i].p : "";
		lengths[i] = argv[i].n;
	}
	n = redisFormatSdsCommandArgv(bytes, (int)argc, texts, lengths);
	free(texts);
	free(lengths);
	return n;
}

void
wire_send(struct wire *w, double timeout, size_t argc, const struct str *argv, redis_reply_fn *done,
	  void *arg)
{
	struct wire_command *c;
	sds bytes = NULL;
	int n;

	if (w->state != WIRE_OPEN) {
		wire_refuse(w, done, arg, "not connected");
		return;
	}
	if (w->n_pending == REDIS_PENDING_MAX) {
		wire_refuse(w, done, arg, "too many commands without an answer");
		return;
	}
	if ((n = format(&bytes, argc, argv)) < 0 || !buf_append(&w->out, bytes, (size_t)n)) {
		redisFreeSdsCommand(bytes);
		wire_refuse(w, done, arg, "the command is too large, or too many wait to be sent");
		return;
	}
	redisFreeSdsCommand(bytes);
	c = must_alloc(sizeof(*c));
	c->end = w->out_end += (unsigned long long)n;
	c->timeout = timeout;
	c->deadline = clock_now() + timeout;
	c->done = done;
	c->arg = arg;
	list_append(&w->pending, &c->link);
	w->n_pending++;
	timer_arm(w, c->deadline);
	/* Should it fail, the loop finds out and says so, not we from here: the
	 * caller expects no other callback from inside. */
	(void)wire_flush(w);
	settle_wire(w);
}

/* -- opening ----------------------------------------------------------------------- */

/* Goes from one state to the next as far as that is possible now. */
static void
wire_step(struct wire *w)
{
	struct tls *tls;
	int rc;

	if (w->state == WIRE_CONNECTING) {
		if ((rc = sock_error(io_fd(&w->io))) != 0) {
			wire_fail(w, "%s", strerror(rc));
			return;
		}
		w->state = w->tls != NULL ? WIRE_SHAKING : WIRE_OPEN;
		if (w->tls != NULL && (tls = tls_connect(w->tls, io_fd(&w->io), w->host, NULL)) == NULL) {
			wire_fail(w, "out of memory for TLS");
			return;
		}
		if (w->tls != NULL)
			io_start_tls(&w->io, &tls);
		else
			goto open;
	}
	if (w->state == WIRE_SHAKING) {
		if ((rc = io_handshake(&w->io)) < 0)
			wire_fail(w, "%s", io_error(&w->io));
		else if (rc == 0)
			io_want(w->loop, &w->io, EV_READ);
		else
			goto open;
		return;
	}
	if (w->state != WIRE_OPEN || !wire_receive(w) || w->state != WIRE_OPEN)
		return;
	if (!wire_flush(w)) {
		wire_fail(w, "%s", errno == EPIPE ? "connection closed" : io_error(&w->io));
		return;
	}
	settle_wire(w);
	return;
open:
	w->state = WIRE_OPEN;
	w->timer_at = 0;
	ev_timer_stop(w->loop, &w->timer);
	settle_wire(w);
	w->events->open(w->arg);
}

static void
wire_on_event(struct ev_loop *loop, ev_io *watcher, int revents)
{
	(void)loop;
	(void)revents;
	wire_step(container_of(watcher, struct wire, io.watcher));
}

/* connect() failed at once; told from the loop, like everything else. */
static void
wire_on_refused(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct wire *w = container_of(t, struct wire, timer);

	(void)loop;
	(void)revents;
	wire_fail(w, "%s", strerror(w->refused));
}

void
wire_init(struct wire *w, struct ev_loop *loop, const struct wire_events *events, void *arg)
{
	memset(w, 0, sizeof(*w));
	w->loop = loop;
	w->events = events;
	w->arg = arg;
	io_init(&w->io, -1, wire_on_event);
	ev_init(&w->timer, wire_on_timer);
	list_init(&w->pending);
	list_init(&w->lost);
	buf_init(&w->out, OUT_MAX);
}

void
wire_open(struct wire *w, const struct wire_target *to, double timeout)
{
	struct sock_connect options = { 0 };
	bool pending;
	int fd;

	CHECK(w->state == WIRE_CLOSED);
	w->state = WIRE_CONNECTING;
	w->out_end = w->out_sent = 0;
	snprintf(w->where, sizeof(w->where), "%s", to->where);
	snprintf(w->host, sizeof(w->host), "%s", to->host);
	w->tls = to->tls;
	w->open_timeout = timeout;
	w->open_by = clock_now() + timeout;
	reader_open(w);
	ev_set_cb(&w->timer, wire_on_timer);
	if ((fd = sock_connect(to->address, &options, &pending)) < 0) {
		w->refused = errno;
		ev_set_cb(&w->timer, wire_on_refused);
		timer_arm(w, clock_now());
		return;
	}
	io_init(&w->io, fd, wire_on_event);
	io_want(w->loop, &w->io, EV_WRITE);
	timer_arm(w, w->open_by);
}
