/* http2_conn.c - a client's connection that speaks HTTP/2: its life, its queue, and its end.
 * Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/http/exchange.h"
#include "data/http2/http2_stream.h"
#include "data/http2/http2_upstream.h"
#include "data/proxy.h"
#include "proto/http2_request.h"

/* In one turn of the loop so many rounds of what was made room for: others are to get theirs. */
#define ROUNDS 4
/* Beyond its limit the queue may still take what no stream waits for: answers to PING and the like, heads. */
#define QUEUE_EXTRA (256 * 1024)

/* The last PING before the second GOAWAY, and the one before that. */
static const char goodbye[8] = "teal-bye", leave_taking[8] = "teal-lve";

/* -- the queue ------------------------------------------------------------------------ */

void
http2_make_due(struct http2_conn *h)
{
	if (list_empty(&h->due))
		list_append(&http2_worker(h)->http2->due, &h->due);
}

char *
http2_reserve(struct http2_conn *h, size_t n)
{
	char *p;

	if (h->closing || h->c->state != HTTP_CONN_VERSED)
		return NULL;
	h->out.max = http2_config_of(h)->max_memory / 4 + QUEUE_EXTRA;
	if (buf_len(&h->out) == 0)
		h->progress = http2_worker(h)->now;
	p = buf_reserve(&h->out, n);
	http2_make_due(h);
	if (p == NULL) {
		http2_count(h, buf_len(&h->out) + n > h->out.max ? HTTP2_OUT_QUEUE : HTTP2_MEMORY);
		h->broken = h->closing = h->doomed = true;
	}
	return p;
}

void
http2_wrote(struct http2_conn *h, size_t n)
{
	buf_commit(&h->out, n);
}

void
http2_credit(struct http2_conn *h, uint32_t n)
{
	h->recv_owed += n;
	if (h->recv_owed >= HTTP2_OWED_LEAST)
		http2_make_due(h);
}

int
http2_pace_count(struct http2_pace *p, uint32_t n, uint32_t window, double now)
{
	double took = now - p->since;

	p->bytes += n;
	if (p->bytes < window)
		return 0;
	*p = (struct http2_pace){ 0, now };
	return took < HTTP2_WINDOW_FAST ? 1 : took > HTTP2_WINDOW_SLOW ? -1 : 0;
}

/* The window is larger while it is used up fast, and no answer needs the memory; else it becomes again what it was, by what is
 * taken and not told. */
static void
fit_window(struct http2_conn *h)
{
	size_t most = http2_config_of(h)->max_memory;
	uint32_t usual = (uint32_t)(most / 2), more = (uint32_t)(most / 4), back;
	int pace = http2_pace_count(&h->recv_pace, h->recv_owed, h->recv_size, http2_worker(h)->now);

	if (pace < 0 || h->starved > 0 || h->held > 0 || buf_len(&h->out) > more / 2) {
		back = h->recv_size > usual ? h->recv_size - usual : 0;
		if (back > h->recv_owed)
			back = h->recv_owed;
		h->recv_owed -= back;
		h->recv_size -= back;
	} else if (pace > 0 && h->recv_size <= usual) {
		h->recv_owed += usual + more - h->recv_size;
		h->recv_size = usual + more;
	}
}

static void
tell_credit(struct http2_conn *h)
{
	char *p;

	if (h->recv_owed < HTTP2_OWED_LEAST)
		return;
	fit_window(h);
	if (h->recv_owed == 0 || (p = http2_reserve(h, HTTP2_WINDOW_UPDATE_BYTES)) == NULL)
		return;
	http2_put_window_update(p, 0, h->recv_owed);
	http2_wrote(h, HTTP2_WINDOW_UPDATE_BYTES);
	h->recv_window += (int32_t)h->recv_owed;
	h->recv_owed = 0;
}

void
http2_wake(struct http2_conn *h)
{
	if (h->starved == 0 && h->held == 0)
		return;
	LIST_EACH(it, &h->streams) {
		struct http2_stream *st = list_entry(it, struct http2_stream, link);

		if ((st->starved || buf_len(&st->held) > 0) && http2_stream_may_write(st))
			http2_stream_ready(st, false, true);
	}
}

/* Those that are ready now; what they make ready again has its turn later. */
static void
run_ready(struct http2_conn *h)
{
	unsigned n = h->n_streams;
	struct link *first;

	while (n-- > 0 && h->c->state == HTTP_CONN_VERSED && (first = list_first(&h->ready)) != NULL)
		http2_stream_run(list_entry(first, struct http2_stream, ready));
}

/* Of what no stream waits for; bodies of answers, which may fill their part all the time, do not keep the client's frames
 * from being read. */
static bool
is_full(const struct http2_conn *h)
{
	return buf_len(&h->out) >= http2_config_of(h)->max_memory / 4 + QUEUE_EXTRA / 2;
}

static void
want_http2(struct http2_conn *h)
{
	bool more = buf_len(&h->out) > 0;
	/* The rounds were over before all was done: the socket takes something, and says so in the next turn. */
	bool again = h->closing || !list_empty(&h->ready) || h->recv_owed >= HTTP2_OWED_LEAST;

	/* A client that does not read is not read either. */
	io_want(http2_worker(h)->loop, &h->c->io,
		(h->broken || is_full(h) ? 0 : EV_READ) | (more || again ? EV_WRITE : 0));
	if (more)
		http2_stall_watch(h);
	else if (h->n_streams == 0)
		buf_free(&h->out);
}

/* False: it would block, or the connection has ended. */
static bool
send_queue(struct http2_conn *h)
{
	while (buf_len(&h->out) > 0) {
		struct str all = buf_str(&h->out);
		ssize_t n = io_write(&h->c->io, all.p, all.n, false);

		if (n < 0 && io_would_block())
			return false;
		if (n < 0) {
			http_conn_end(h->c, END_CLIENT_RESET);
			return false;
		}
		buf_consume(&h->out, (size_t)n);
		h->progress = http2_worker(h)->now;
	}
	return true;
}

static void
flush_conn(struct http2_conn *h)
{
	struct http_conn *c = h->c;

	for (int round = 0; round < ROUNDS; round++) {
		if (h->doomed) {
			http_conn_end(c, END_CLIENT_RESET);
			return;
		}
		tell_credit(h);
		if (!send_queue(h))
			break;
		if (h->closing) {
			list_remove(&h->due);
			deadline_disarm(&h->stall);
			http_conn_linger(c);
			return;
		}
		http2_wake(h);
		if (list_empty(&h->ready))
			break;
		run_ready(h);
		if (c->state != HTTP_CONN_VERSED)
			return;
	}
	if (c->state != HTTP_CONN_VERSED)
		return;
	if (h->doomed) {
		http_conn_end(c, END_CLIENT_RESET);
		return;
	}
	list_remove(&h->due);
	want_http2(h);
}

static void
flush_clients(struct worker *w)
{
	struct link *first;

	while ((first = list_first(&w->http2->due)) != NULL) {
		struct http2_conn *h = list_entry(first, struct http2_conn, due);

		list_remove(first);
		flush_conn(h);
	}
}

/* What backends have said goes on to clients, and what clients have said to backends; the rest in the next turn. */
static void
flush_http2(struct worker *w)
{
	for (int round = 0; round < ROUNDS; round++) {
		(void)http2_upstream_flush(w);
		flush_clients(w);
		if (list_empty(&w->http2->upstreams_due))
			return;
	}
	ev_idle_start(w->loop, &w->look_again);
}

/* -- goodbye --------------------------------------------------------------------------- */

static void
put_goaway(struct http2_conn *h, uint32_t last, enum http2_code code, struct str why)
{
	char *p = http2_reserve(h, HTTP2_GOAWAY_BYTES(why));

	if (p == NULL)
		return;
	http2_put_goaway(p, last, code, why);
	http2_wrote(h, HTTP2_GOAWAY_BYTES(why));
}

/* Streams that are under way, whatever they wait for. */
static void
end_streams(struct http2_conn *h, enum ending ending, bool told)
{
	struct link *first;

	while ((first = list_first(&h->streams)) != NULL) {
		struct http2_stream *st = list_entry(first, struct http2_stream, link);

		st->peer_reset |= told;
		http2_stream_end(st, ending);
	}
}

/* It ends once the queue is empty, which http2_expired() waits for while the client takes something of it. */
static void
close_when_sent(struct http2_conn *h)
{
	h->closing = true;
	deadline_arm(h->c->lane->http->linger_clock, &h->c->deadline, http2_worker(h)->now);
	http2_make_due(h);
}

void
http2_conn_fault(struct http2_conn *h, enum http2_reason reason)
{
	if (h->broken || h->c->state != HTTP_CONN_VERSED)
		return;
	http2_count(h, reason);
	put_goaway(h, h->last_id, http2_reason_code(reason), str_from(http2_reason_words(reason)));
	h->broken = true;
	end_streams(h, END_BAD_REQUEST, true);
	close_when_sent(h);
}

/* The client may bring no more, and knows it, or had time to; what is under way has as long as it needs. */
void
http2_conn_say_last(struct http2_conn *h)
{
	h->left = true;
	put_goaway(h, h->last_id, HTTP2_NO_ERROR, STR(""));
	deadline_disarm(&h->c->deadline);
	if (h->n_streams == 0)
		close_when_sent(h);
	http2_make_due(h);
}

static void
ask_for_ping(struct http2_conn *h, const char *payload)
{
	char *p = http2_reserve(h, HTTP2_PING_BYTES);

	if (p == NULL)
		return;
	http2_put_ping(p, payload, false);
	http2_wrote(h, HTTP2_PING_BYTES);
}

static void
leave_http2(struct http_conn *c)
{
	struct http2_conn *h = http2_of(c);

	if (h->leaving || h->closing)
		return;
	h->leaving = true;
	put_goaway(h, HTTP2_STREAM_MOST, HTTP2_NO_ERROR, STR(""));
	ask_for_ping(h, leave_taking);
	deadline_arm(c->lane->http->linger_clock, &c->deadline, http2_worker(h)->now);
}

/* A client may answer before it sends the requests that it had in its queue when the GOAWAY came: those are there with the answer
 * to a second PING. */
void
http2_conn_on_pong(struct http2_conn *h, const char *payload)
{
	if (!h->leaving || h->left)
		return;
	if (memcmp(payload, goodbye, sizeof(goodbye)) == 0)
		http2_conn_say_last(h);
	else if (memcmp(payload, leave_taking, sizeof(leave_taking)) == 0)
		ask_for_ping(h, goodbye);
}

void
http2_conn_settle(struct http2_conn *h)
{
	struct http_conn *c = h->c;
	struct worker *w = http2_worker(h);

	if (h->n_streams > 0 || c->state != HTTP_CONN_VERSED || h->broken)
		return;
	http2_make_due(h);
	deadline_arm(c->lane->http->trim_clock, &h->trim, w->now);
	if (h->left)
		close_when_sent(h);
	else if (!h->leaving)
		deadline_arm(c->lane->http->keepalive_clock, &c->deadline, w->now);
}

static void
http2_expired(struct http_conn *c)
{
	struct http2_conn *h = http2_of(c);
	double stall = http2_config_of(h)->stall_timeout,
	       most = stall > HTTP_LINGER_MAX ? stall : HTTP_LINGER_MAX;

	if (h->n_streams > 0 && !h->leaving)
		return;
	/* Who has said nothing is not told anything. */
	if (!h->settled)
		http_conn_end(c, END_HEADER_TIMEOUT);
	else if (h->closing && http2_worker(h)->now - h->progress >= most)
		http_conn_end(c, END_IDLE);
	else if (h->closing)
		close_when_sent(h);
	else if (!h->leaving)
		leave_http2(c);
	else if (!h->left)
		http2_conn_say_last(h);
}

/* -- what is not taken ------------------------------------------------------------------- */

void
http2_stall_watch(struct http2_conn *h)
{
	struct worker *w = http2_worker(h);

	if (list_empty(&h->stall.link))
		deadline_arm(h->c->lane->http->stall_clock, &h->stall, w->now);
}

void
http2_stalled(struct deadline *d)
{
	struct http2_conn *h = container_of(d, struct http2_conn, stall);
	struct worker *w = http2_worker(h);
	double after = http2_config_of(h)->stall_timeout;
	bool left = false;

	CHECK(h->magic == HTTP2_CONN_MAGIC);
	if (after <= 0 || h->c->state != HTTP_CONN_VERSED)
		return;
	/* Its socket has taken nothing. */
	if (buf_len(&h->out) > 0 && w->now - h->progress >= after) {
		http2_count(h, HTTP2_STALLED_ALL);
		io_reset_on_close(&h->c->io);
		http_conn_end(h->c, END_CLIENT_SLOW);
		return;
	}
	LIST_EACH(it, &h->streams) {
		struct http2_stream *st = list_entry(it, struct http2_stream, link);

		if (st->held_since <= 0)
			continue;
		left = true;
		if (w->now - st->held_since >= after) {
			http2_count(h, HTTP2_STALLED);
			http2_put_reset(h, st->id, http2_reason_code(HTTP2_STALLED));
			http2_stream_abort(st, END_CLIENT_SLOW);
		}
	}
	/* Looked at again in a quarter of the time. */
	if (left || buf_len(&h->out) > 0)
		deadline_arm(h->c->lane->http->stall_clock, d, w->now);
}

void
http2_trim(struct deadline *d)
{
	struct http2_conn *h = container_of(d, struct http2_conn, trim);

	CHECK(h->magic == HTTP2_CONN_MAGIC);
	hpack_table_trim(&h->decoder.table);
	hpack_encoder_forget(&h->encoder);
}

/* -- events ---------------------------------------------------------------------------- */

static void
read_frames(struct http2_conn *h)
{
	struct http_conn *c = h->c;
	struct relay_buffers *buffers = &http2_worker(h)->buffers;
	size_t before = buf_len(&c->in), used;
	ssize_t n = 0;

	memcpy(buffers->buffer, buf_str(&c->in).p, before);
	/* What was read before it spoke HTTP/2 may fill the buffer; else there is never more than a frame. */
	if (!h->pending)
		n = io_read(&c->io, buffers->buffer + before, RELAY_READ_MAX - before);
	if (n < 0 && io_would_block())
		return;
	if (!h->pending && n <= 0) {
		http_conn_end(c, n < 0 ? END_CLIENT_RESET : h->n_streams > 0 ? END_CLIENT_GONE : END_DONE);
		return;
	}
	h->pending = false;
	buf_free(&c->in);
	n += (ssize_t)before;
	used = http2_take_frames(h, buffers->buffer, (size_t)n);
	if (c->state == HTTP_CONN_VERSED && used < (size_t)n &&
	    !buf_append(&c->in, buffers->buffer + used, (size_t)n - used))
		http_conn_end(c, END_MEMORY);
}

static void
http2_on_event(struct http_conn *c, int revents)
{
	struct http2_conn *h = http2_of(c);

	if ((revents & EV_READ) && !h->broken)
		read_frames(h);
	if (c->state != HTTP_CONN_VERSED)
		return;
	run_ready(h);
	if (c->state == HTTP_CONN_VERSED)
		http2_make_due(h);
}

/* -- its life --------------------------------------------------------------------------- */

static void
put_settings(struct http2_conn *h)
{
	const struct http2_config *hc = http2_config_of(h);
	struct http2_settings ours = HTTP2_SETTINGS_INITIAL;
	uint32_t window = (uint32_t)(hc->max_memory / 2);
	char *p = http2_reserve(h, HTTP2_SETTINGS_BYTES + HTTP2_WINDOW_UPDATE_BYTES), *end;

	if (p == NULL)
		return;
	ours.streams = hc->max_streams;
	ours.connect = true;
	ours.fields = (uint32_t)hc->max_header_size;
	end = http2_put_settings(p, &ours);
	h->recv_window = HTTP2_WINDOW_DEFAULT;
	if (window > HTTP2_WINDOW_DEFAULT) {
		end = http2_put_window_update(end, 0, window - HTTP2_WINDOW_DEFAULT);
		h->recv_window = (int32_t)window;
	}
	h->recv_size = (uint32_t)h->recv_window;
	h->recv_pace.since = http2_worker(h)->now;
	http2_wrote(h, (size_t)(end - p));
}

static bool
begin_connection(struct http_conn *c)
{
	struct http2_conn *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return false;
	h->magic = HTTP2_CONN_MAGIC;
	h->c = c;
	h->number = ++c->lane->worker->http2->numbers;
	c->versed = h;
	c->state = HTTP_CONN_VERSED;
	list_init(&h->streams);
	list_init(&h->ready);
	list_init(&h->due);
	deadline_init(&h->stall);
	deadline_init(&h->trim);
	h->peer = HTTP2_SETTINGS_INITIAL;
	h->send_window = HTTP2_WINDOW_DEFAULT;
	h->rates.since = c->lane->worker->now;
	hpack_decoder_init(&h->decoder, HPACK_TABLE_DEFAULT);
	hpack_encoder_init(&h->encoder, HPACK_TABLE_DEFAULT / 2);
	c->stream.keep = true;
	/* Its streams and tables are this process'. */
	c->stream.stays = true;
	tally_add(&c->lane->worker->http2_connections, 1);
	h->pending = buf_len(&c->in) > 0;
	c->in.max = RELAY_READ_MAX;
	put_settings(h);
	return true;
}

static void
end_http2(struct http_conn *c, enum ending ending)
{
	struct http2_conn *h = http2_of(c);
	bool gone = ending == END_CLIENT_RESET || ending == END_CLIENT_GONE || ending == END_MEMORY;

	/* Those that are under way are told, as far as that goes at once. */
	if (!gone && !h->broken)
		put_goaway(h, h->last_id, HTTP2_NO_ERROR, STR(""));
	h->broken = true;
	end_streams(h, ending, gone);
	if (!gone && !h->doomed && buf_len(&h->out) > 0)
		(void)io_write(&c->io, buf_str(&h->out).p, buf_len(&h->out), false);
	list_remove(&h->due);
	list_remove(&h->ready);
	deadline_disarm(&h->stall);
	deadline_disarm(&h->trim);
	buf_free(&h->out);
	buf_free(&h->block);
}

static void
free_http2(struct http_conn *c)
{
	struct http2_conn *h = http2_of(c);

	tally_add(&c->lane->worker->http2_connections, (uint64_t)-1);
	hpack_decoder_free(&h->decoder);
	hpack_encoder_free(&h->encoder);
	free(h->gone);
	h->magic = 0;
	free(h);
	c->versed = NULL;
}

static bool
http2_is_idle(const struct http_conn *c)
{
	return http2_of(c)->n_streams == 0 && http2_of(c)->block_id == 0;
}

/* -- of a worker ------------------------------------------------------------------------- */

static void
fit_http2(struct worker *w, const struct config *config)
{
	struct http2_buffers *b = w->http2;
	uint32_t fields = 0;
	uint64_t answer;
	size_t size = 0;

	for (size_t i = 0; i < config->n_services; i++) {
		const struct http2_config *hc = &config->services[i].http.http2;

		if (config->services[i].mode != MODE_HTTP)
			continue;
		fields = HTTP1_HEADERS_MAX;
		size = hc->max_header_size > size ? hc->max_header_size : size;
		/* Of answers of backends. */
		answer = config->services[i].http.max_header_size + (uint64_t)HPACK_ENTRY * HTTP1_HEADERS_MAX;
		size = answer > size ? answer : size;
	}
	if (fields == 0)
		return;
	if (b == NULL) {
		b = w->http2 = must_alloc(sizeof(*b));
		b->cache = http2_cache_new();
		CHECK(b->cache != NULL);
		list_init(&b->due);
		list_init(&b->ended);
		list_init(&b->upstreams_due);
		list_init(&b->upstreams_ended);
		list_init(&b->calls_ended);
	}
	if (HPACK_TEXT_ROOM(size) + HTTP2_REQUEST_EXTRA > b->room) {
		b->room = HPACK_TEXT_ROOM(size) + HTTP2_REQUEST_EXTRA;
		b->fields.text = must_grow(b->fields.text, b->room, 1);
		b->text = must_grow(b->text, b->room, 1);
	}
	if (fields > b->fields_room) {
		b->fields.fields = must_grow(b->fields.fields, fields, sizeof(*b->fields.fields));
		b->fields_room = fields;
	}
}

static void
reap_http2(struct worker *w)
{
	LIST_EACH(it, &w->http2->ended) {
		struct http2_stream *st = list_entry(it, struct http2_stream, link);

		list_remove(it);
		st->magic = 0;
		free_list_give(&w->http2->spare_streams, st);
	}
}

static void
destroy_http2(struct worker *w)
{
	if (w->http2 == NULL)
		return;
	free(w->http2->fields.fields);
	free(w->http2->fields.text);
	free(w->http2->text);
	free_list_drop(&w->http2->spare_streams);
	http2_cache_free(w->http2->cache);
	free(w->http2);
	w->http2 = NULL;
}

const struct http_version http2_version = {
	.alpn = "h2",
	.preface = HTTP2_PREFACE,
	.preface_bytes = HTTP2_PREFACE_BYTES,
	.begin = begin_connection,
	.on_event = http2_on_event,
	.expired = http2_expired,
	.is_idle = http2_is_idle,
	.leave = leave_http2,
	.end = end_http2,
	.free = free_http2,
	.stalled = http2_stalled,
	.trim = http2_trim,
	.rest_expired = http2_rest_expired,
	.fit = fit_http2,
	.flush = flush_http2,
	.reap = reap_http2,
	.destroy = destroy_http2,
};
