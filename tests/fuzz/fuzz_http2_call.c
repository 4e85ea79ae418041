/* fuzz_http2_call.c - a backend's bytes as frames of the calls on its connection: whatever comes, what an exchange reads of each is the
 * text of an HTTP/1.1 answer, in one framing, that ends whole or by an error.
 * The first byte of the input chooses how the calls read, the second where the rest is cut in two; frames follow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "data/http/exchange.h"
#include "data/http2/http2_call.h"
#include "data/http2/http2_conn.h"
#include "data/proxy.h"
#include "proto/http1_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CALLS 3
#define SAID_MAX (1 << 18)
#define ANSWER_FIELDS 32
#define HEAD_BYTES 1024
#define ANSWER_TEXT (HEAD_BYTES + HPACK_ENTRY * HTTP1_HEADERS_MAX)
#define BUFFER_BYTES 16384

/* What the backend says, as its connection reads it. */
struct feed {
	struct io_channel channel;
	const uint8_t *p;
	size_t n;
};

/* What was read of a call. */
struct told {
	struct upstream u;
	struct exchange x;
	struct http_stream client;
	bool head_request;
	bool over;	/* its end was read, or an error */
	bool whole;
	size_t n;
	char *text;
};

static const char *const requests[CALLS] = {
	"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
	"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-a: b\r\n\r\n",
};
static const struct http_stream_ops http1_client, http2_client = { .framed = true };

static struct service_config service_keys;
static struct service service;
static struct backend backend = { .magic = BACKEND_MAGIC, .text = "b", .refs = 1u << 30 };
static struct http_lane http;
static struct worker worker;
static struct snapshot snapshot;
static struct lane lane = {
	.worker = &worker, .config = &service_keys, .service = &service, .http = &http, .snapshot = &snapshot
};
static struct told told[CALLS];

/* -- the connection ----------------------------------------------------------------------- */

static ssize_t
read_feed(struct io_channel *ch, void *p, size_t n)
{
	struct feed *f = container_of(ch, struct feed, channel);

	if (n > f->n)
		n = f->n;
	if (n == 0) {
		errno = EAGAIN;
		return -1;
	}
	memcpy(p, f->p, n);
	f->p += n;
	f->n -= n;
	return (ssize_t)n;
}

static ssize_t
write_nowhere(struct io_channel *ch, const void *p, size_t n)
{
	(void)ch;
	(void)p;
	return (ssize_t)n;
}

static void
close_nothing(struct io_channel *ch)
{
	(void)ch;
}

static const struct io_channel_ops feed_ops = {
	.read = read_feed,
	.write = write_nowhere,
	.close = close_nothing,
};

static void
set_up(void)
{
	static struct proxy proxy;
	static char buffer[BUFFER_BYTES];
	struct http2_buffers *b = calloc(1, sizeof(*b));

	CHECK(b != NULL);
	list_init(&b->due);
	list_init(&b->ended);
	list_init(&b->upstreams_due);
	list_init(&b->upstreams_ended);
	list_init(&b->calls_ended);
	b->fields_room = ANSWER_FIELDS;
	b->room = HPACK_TEXT_ROOM(ANSWER_TEXT) + HTTP2_ANSWER_EXTRA;
	b->fields.fields = calloc(ANSWER_FIELDS, sizeof(*b->fields.fields));
	b->fields.text = malloc(b->room);
	b->text = malloc(b->room);
	CHECK(b->fields.fields != NULL && b->fields.text != NULL && b->text != NULL);
	worker.http2 = b;
	worker.proxy = &proxy;
	worker.buffers.buffer = buffer;
	worker.buffers.size = sizeof(buffer);
	worker.now = 1000;
	/* The log is not told. */
	atomic_store(&service.refusal_lines, UINT64_MAX);
	service_keys.http.max_header_size = HEAD_BYTES;
	service_keys.http.http2.max_control = 50;
	service_keys.http.http2.max_continuations = 8;
	for (int i = 0; i < CALLS; i++)
		CHECK((told[i].text = malloc(SAID_MAX)) != NULL);
}

static struct http2_upstream *
open_connection(struct feed *f)
{
	struct http2_upstream *h = calloc(1, sizeof(*h));

	CHECK(h != NULL);
	h->magic = HTTP2_UPSTREAM_MAGIC;
	h->state = HTTP2_UP_OPEN;
	h->settled = true;
	h->lane = &lane;
	h->backend = backend_ref(&backend);
	h->next_id = 1;
	h->peer = HTTP2_SETTINGS_INITIAL;
	h->since = h->heard = h->counting = worker.now;
	h->send_window = HTTP2_WINDOW_DEFAULT;
	h->recv_window = HTTP2_UPSTREAM_WINDOW;
	list_init(&h->link);
	list_init(&h->due);
	list_init(&h->calls);
	for (unsigned i = 0; i < HTTP2_CALL_BUCKETS; i++)
		list_init(&h->by_id[i]);
	list_init(&h->ready);
	deadline_init(&h->look);
	io_init_channel(&h->io, &f->channel, NULL);
	hpack_decoder_init(&h->decoder, HPACK_TABLE_DEFAULT);
	hpack_encoder_init(&h->encoder, HPACK_TABLE_DEFAULT);
	admission_adopt(&worker.proxy->descriptors, 1);
	return h;
}

/* -- what is read -------------------------------------------------------------------------- */

static void
read_told(struct told *t, size_t most)
{
	ssize_t n;

	while (!t->over && t->n + most <= SAID_MAX) {
		n = io_read(&t->u.io, t->text + t->n, most);
		if (n < 0 && errno == EAGAIN)
			return;
		t->over = n <= 0;
		t->whole = n == 0;
		t->n += n > 0 ? (size_t)n : 0;
	}
}

/* Of p[0..n) behind a head: no byte too many, none wrong, and none missing where the stream has ended. */
static void
judge_body(const struct told *t, const struct http1_head *h, char *p, size_t n)
{
	struct http1_body body;

	CHECK(http1_body_of_response(&body, h, t->head_request) == HTTP1_DONE &&
	      body.framing != HTTP1_BODY_CLOSE);
	for (size_t at = 0; at < n;) {
		enum http1_verdict verdict;
		enum http1_piece kind;

		CHECK(!body.done);
		at += http1_body_piece(&body, p + at, n - at, &kind, &verdict);
		/* A trailer that HTTP/1.1 does not take is refused there. */
		if (verdict == HTTP1_BAD)
			return;
	}
	CHECK(body.done || !t->whole);
	CHECK(!t->u.has_length || body.framing == HTTP1_BODY_CHUNKED);
}

static void
judge_told(const struct told *t)
{
	static struct http1_head h;
	char *p = t->text;
	size_t n = t->n;

	for (;;) {
		http1_head_init_response(&h, 1 << 20);
		switch (http1_head_parse(&h, p, n)) {
		case HTTP1_BAD:	/* of that the exchange says 502 */
			return;
		case HTTP1_NEED_MORE:
			/* A head comes whole, and an answer has one. */
			CHECK(n == 0 && !t->whole);
			return;
		case HTTP1_DONE:
			break;
		}
		p += h.length;
		n -= h.length;
		CHECK(h.status != 101);
		if (h.status >= 200) {
			judge_body(t, &h, p, n);
			return;
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { .channel.ops = &feed_ops };
	struct http2_upstream *h;
	size_t cut, most;

	if (worker.http2 == NULL)
		set_up();
	if (size < 2)
		return 0;
	h = open_connection(&f);
	most = data[0] & 1 ? 7 : data[0] & 2 ? 100 : BUFFER_BYTES;
	for (int i = 0; i < CALLS; i++) {
		struct told *t = &told[i];
		char *text = t->text;

		*t = (struct told){ .text = text, .head_request = i == 1 };
		t->client.ops = data[0] & (4 << i) ? &http2_client : &http1_client;
		t->x.stream = &t->client;
		t->u.grpc_status = -1;
		t->u.exchange = &t->x;
		io_init(&t->u.io, -1, NULL);
		CHECK(http2_call_new(h, &t->u));
		CHECK(io_write(&t->u.io, requests[i], strlen(requests[i]), false) ==
		      (ssize_t)strlen(requests[i]));
	}
	data += 2;
	size -= 2;
	cut = size * data[-1] / 255;
	for (int part = 0; part < 2; part++) {
		f.p = data + (part == 0 ? 0 : cut);
		f.n = part == 0 ? cut : size - cut;
		while (f.n > 0 && h->state != HTTP2_UP_ENDED)
			http2_upstream_read(h);
		for (int i = 0; i < CALLS; i++)
			read_told(&told[i], most);
	}
	for (int i = 0; i < CALLS; i++) {
		judge_told(&told[i]);
		io_close(NULL, &told[i].u.io);
	}
	if (h->state != HTTP2_UP_ENDED) {
		h->leaving = true;
		http2_upstream_end(h, ECONNRESET, NULL);
	}
	http2_upstream_reap(&worker);
	CHECK(h == NULL || list_empty(&worker.http2->calls_ended));
	return 0;
}
