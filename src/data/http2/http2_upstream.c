/* http2_upstream.c - a shared connection to a backend that speaks HTTP/2: its queue, whether it is there, its end.
 * Thread: owning worker. */
#include <stdlib.h>

#include "base/log.h"
#include "data/access.h"
#include "data/http2/http2_call.h"
#include "data/http2/http2_conn.h"
#include "data/proxy.h"

/* Beyond its limit the queue may still take what no call waits for: answers to PING and the like, and heads, of which the longest
 * (max_header_size, and what is added) must find room whenever one may begin: a queue that is too long ends the connection of all. */
#define QUEUE_EXTRA (512 * 1024)
/* Seconds that one is kept that has no call; pool_idle, where that is more. */
#define REST 60.0
/* Seconds of silence, while calls wait, after which it is asked whether it is there: less often than servers of gRPC take for a
 * flood, which is once in five minutes; and seconds that it has to answer. */
#define SILENCE 310.0
#define PATIENCE 10.0
/* A call that was given up makes it doubtful when nothing was heard for so many seconds. */
#define DOUBT 5.0

static const char are_you_there[8] = "teal-you";

/* -- the queue ---------------------------------------------------------------------------- */

void
http2_upstream_due(struct http2_upstream *h)
{
	if (list_empty(&h->due))
		list_append(&h->lane->worker->http2->upstreams_due, &h->due);
}

char *
http2_upstream_reserve(struct http2_upstream *h, size_t n)
{
	char *p;

	if (h->state < HTTP2_UP_SETTLING || h->state == HTTP2_UP_ENDED)
		return NULL;
	h->out.max = HTTP2_UPSTREAM_QUEUE + QUEUE_EXTRA;
	p = buf_reserve(&h->out, n);
	http2_upstream_due(h);
	if (p == NULL)
		http2_upstream_end(h, ECONNRESET, "it takes nothing of what is sent");
	return p;
}

void
http2_upstream_wrote(struct http2_upstream *h, size_t n)
{
	buf_commit(&h->out, n);
}

size_t
http2_upstream_room(const struct http2_upstream *h)
{
	size_t used = buf_len(&h->out);

	return used < HTTP2_UPSTREAM_QUEUE ? HTTP2_UPSTREAM_QUEUE - used : 0;
}

void
http2_upstream_put_reset(struct http2_upstream *h, uint32_t id, enum http2_code code)
{
	char *p = id != 0 ? http2_upstream_reserve(h, HTTP2_RST_STREAM_BYTES) : NULL;

	if (p == NULL)
		return;
	http2_put_rst_stream(p, id, code);
	http2_upstream_wrote(h, HTTP2_RST_STREAM_BYTES);
}

static void
credit_connection(struct http2_upstream *h)
{
	char *p;

	if (h->recv_owed < HTTP2_UPSTREAM_WINDOW / 2 || (p = http2_upstream_reserve(h, HTTP2_WINDOW_UPDATE_BYTES)) == NULL)
		return;
	http2_put_window_update(p, 0, h->recv_owed);
	http2_upstream_wrote(h, HTTP2_WINDOW_UPDATE_BYTES);
	h->recv_window += (int32_t)h->recv_owed;
	h->recv_owed = 0;
}

static bool
send_frames(struct http2_upstream *h)
{
	bool was_full = http2_upstream_room(h) == 0, sent = false;

	while (buf_len(&h->out) > 0) {
		struct str all = buf_str(&h->out);
		ssize_t n = io_write(&h->io, all.p, all.n, false);

		if (n < 0 && io_would_block())
			break;
		if (n < 0) {
			http2_upstream_end(h, ECONNRESET, NULL);
			return false;
		}
		buf_consume(&h->out, (size_t)n);
		sent = true;
	}
	if (sent && was_full)
		LIST_EACH(it, &h->calls)
			http2_call_wake(list_entry(it, struct http2_call, link));
	return true;
}

static void
run_calls(struct http2_upstream *h)
{
	uint32_t n = h->n_calls;
	struct link *first;

	while (n-- > 0 && (first = list_first(&h->ready)) != NULL)
		http2_call_run(list_entry(first, struct http2_call, ready));
}

static void
flush_shared(struct http2_upstream *h)
{
	list_remove(&h->due);
	run_calls(h);
	if (!list_empty(&h->ready))
		http2_upstream_due(h);
	if (h->state < HTTP2_UP_SETTLING || h->state == HTTP2_UP_ENDED)
		return;
	credit_connection(h);
	if (!send_frames(h))
		return;
	if (buf_len(&h->out) == 0 && h->n_calls == 0)
		buf_free(&h->out);
	io_want(h->lane->worker->loop, &h->io, EV_READ | (buf_len(&h->out) > 0 ? EV_WRITE : 0));
	if (h->n_calls == 0 && h->leaving && buf_len(&h->out) == 0)
		http2_upstream_end(h, ECONNRESET, NULL);
}

bool
http2_upstream_flush(struct worker *w)
{
	struct link *due = &w->http2->upstreams_due, *first;
	unsigned n = 0;

	LIST_EACH(it, due)
		n++;
	while (n-- > 0 && (first = list_first(due)) != NULL)
		flush_shared(list_entry(first, struct http2_upstream, due));
	return list_empty(due);
}

/* -- the end ---------------------------------------------------------------------------------- */

void
http2_upstream_tell(const struct http2_upstream *h, const char *words)
{
	struct lane *l = h->lane;

	if (access_may_tell(l))
		LOG_WARN("backend.http2", LS("service", l->config->name),
			 LR(NULL, str_from(l->config->labels_json)), LS("backend", h->backend->text),
			 LS("error", words));
}

/* No call knows it any more. */
static void
bury(struct http2_upstream *h)
{
	list_remove(&h->due);
	list_remove(&h->link);
	list_append(&h->lane->worker->http2->upstreams_ended, &h->link);
}

void
http2_upstream_end(struct http2_upstream *h, int error, const char *words)
{
	struct worker *w = h->lane->worker;
	bool open = h->state == HTTP2_UP_OPEN;

	if (h->state == HTTP2_UP_ENDED)
		return;
	if (words != NULL)
		http2_upstream_tell(h, words);
	/* What is left of the queue, a GOAWAY most likely. */
	if (h->state >= HTTP2_UP_SETTLING && buf_len(&h->out) > 0)
		(void)io_write(&h->io, buf_str(&h->out).p, buf_len(&h->out), false);
	h->state = HTTP2_UP_ENDED;
	io_close(w->loop, &h->io);
	deadline_disarm(&h->look);
	buf_free(&h->in);
	buf_free(&h->out);
	buf_free(&h->block);
	admission_leave(&w->proxy->descriptors, 1);
	tally_add(&w->http2_upstreams, (uint64_t)-1);
	LIST_EACH(it, &h->calls) {
		struct http2_call *c = list_entry(it, struct http2_call, link);

		http2_call_fail(c, error, open && c->id == 0, words);
	}
	if (h->n_calls == 0)
		bury(h);
	if (w->starved)
		worker_kick(w);
}

static void
tell_goaway(struct http2_upstream *h, enum http2_code code, struct str why)
{
	char *p = http2_upstream_reserve(h, HTTP2_GOAWAY_BYTES(why));

	if (p == NULL)
		return;
	http2_put_goaway(p, 0, code, why);
	http2_upstream_wrote(h, HTTP2_GOAWAY_BYTES(why));
}

void
http2_upstream_fault(struct http2_upstream *h, enum http2_reason reason)
{
	const char *words = http2_reason_words(reason);

	tell_goaway(h, http2_reason_code(reason), str_from(words));
	http2_upstream_end(h, EPROTO, words);
}

/* It may wait for another call. */
static bool
may_rest(const struct http2_upstream *h)
{
	const struct lane *l = h->lane;
	enum color color = h->backend->color;

	return !h->leaving && !l->stopping && h->tls_turn == l->tls_turn &&
	       snapshot_uses(l->snapshot, h->backend) &&
	       !(l->drain[color].on && l->snapshot->active != color) && l->config->http.pool_size > 0;
}

void
http2_upstream_leave(struct http2_upstream *h)
{
	if (h->leaving || h->state == HTTP2_UP_ENDED)
		return;
	h->leaving = true;
	if (h->n_calls == 0) {
		tell_goaway(h, HTTP2_NO_ERROR, STR(""));
		http2_upstream_end(h, ECONNRESET, NULL);
	}
}

void
http2_upstream_settle(struct http2_upstream *h)
{
	if (h->state == HTTP2_UP_OPEN)
		h->since = h->lane->worker->now;
	if (h->n_calls > 0)
		return;
	if (h->state == HTTP2_UP_ENDED)
		bury(h);
	else if (h->state != HTTP2_UP_OPEN)
		http2_upstream_end(h, ECONNRESET, NULL);
	else if (h->leaving)	/* once the queue is empty, where the end of a stream may be */
		http2_upstream_due(h);
	else if (!may_rest(h))
		http2_upstream_leave(h);
}

/* -- is it there? ------------------------------------------------------------------------------ */

static void
ask_whether_there(struct http2_upstream *h)
{
	char *p = h->pinged ? NULL : http2_upstream_reserve(h, HTTP2_PING_BYTES);

	if (p == NULL)
		return;
	http2_put_ping(p, are_you_there, false);
	http2_upstream_wrote(h, HTTP2_PING_BYTES);
	h->pinged = true;
	h->asked = h->lane->worker->now;
}

void
http2_upstream_doubt(struct http2_upstream *h)
{
	if (h->lane->worker->now - h->heard < DOUBT)
		return;
	h->doubtful = true;
	ask_whether_there(h);
}

bool
http2_upstream_is_late(const struct http2_upstream *h)
{
	double most = h->lane->config->connect_timeout;

	return h->state != HTTP2_UP_OPEN && most > 0 && h->lane->worker->now - h->since > most;
}

/* Answers that were whole long ago, but that the backend does not end. */
static void
forget_finished(struct http2_upstream *h, double now)
{
	LIST_EACH(it, &h->calls) {
		struct http2_call *c = list_entry(it, struct http2_call, link);

		if (c->u == NULL && now - c->finished >= PATIENCE)
			http2_call_forget(c);
		if (h->state == HTTP2_UP_ENDED)
			return;
	}
}

void
http2_upstream_look(struct deadline *d)
{
	struct http2_upstream *h = container_of(d, struct http2_upstream, look);
	struct lane *l = h->lane;
	double now = l->worker->now, rest = l->config->http.pool_idle;

	CHECK(h->magic == HTTP2_UPSTREAM_MAGIC);
	deadline_arm(l->http->look_clock, d, now);
	forget_finished(h, now);
	if (h->state != HTTP2_UP_OPEN) {
		if (http2_upstream_is_late(h))
			http2_upstream_end(h, ETIMEDOUT, NULL);
	} else if (h->pinged && now - h->asked >= PATIENCE) {
		http2_upstream_end(h, ECONNRESET, "no answer to PING");
	} else if (h->leaving && h->n_calls == 0) {
		if (now - h->since >= PATIENCE)
			http2_upstream_end(h, ECONNRESET, "it does not take the end of what was sent");
	} else if (h->n_calls > 0) {
		if (now - h->heard >= SILENCE)
			ask_whether_there(h);
	} else if (rest > 0 && now - h->since >= (rest > REST ? rest : REST)) {
		http2_upstream_leave(h);
	}
}

/* -- the turn is over ------------------------------------------------------------------------ */

void
http2_upstream_free(struct http2_upstream *h)
{
	backend_unref(&h->backend);
	hpack_decoder_free(&h->decoder);
	hpack_encoder_free(&h->encoder);
	h->magic = 0;
	free(h);
}

void
http2_upstream_reap(struct worker *w)
{
	LIST_EACH(it, &w->http2->calls_ended) {
		struct http2_call *c = list_entry(it, struct http2_call, link);

		list_remove(it);
		c->magic = 0;
		free(c);
	}
	LIST_EACH(it, &w->http2->upstreams_ended) {
		list_remove(it);
		http2_upstream_free(list_entry(it, struct http2_upstream, link));
	}
}
