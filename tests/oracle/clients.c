/* clients.c - what clients do to the proxy, and whether each gets its own. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oracle.h"

#define BATCH 8

enum client_end { END_NONE, END_CLOSE, END_RESET, END_HALF };

struct client {
	struct watched w;	/* first: found by it */
	uint64_t rng;
	struct reader reader;
	struct out out;
	size_t cut, end_at;	/* send up to here now; do end there */
	enum client_end end;
	bool connecting, half_closed, reset;
	bool last;	/* nothing more comes behind this answer */
	double send_at, read_at, progress;
	unsigned n, answered;	/* requests of the batch */
	uint64_t ids[BATCH];
	size_t starts[BATCH + 1];	/* where each begins in out; the last: where the batch ends */
	uint64_t answer;	/* the one being read; 0: the proxy's own */
	bool informational;
};

static struct client *clients;
static uint64_t n_seeds;
static uint8_t input[65536];

static void client_begin(struct client *);

static struct request *
asked(const struct client *c)
{
	return c->answered < c->n ? request_find(c->ids[c->answered]) : NULL;
}

static void
client_close(struct client *c)
{
	counts[UNANSWERED] += c->n - c->answered;
	if (c->w.fd >= 0)
		close(c->w.fd);
	c->w.fd = -1;
	out_clear(&c->out);
	client_begin(c);
}

static void
client_reset(struct client *c)
{
	struct linger none = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->w.fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	client_close(c);
}

static void
client_watch(struct client *c)
{
	uint32_t events = 0;
	size_t to = c->cut < c->end_at ? c->cut : c->end_at;

	if (c->w.fd < 0)
		return;
	if (c->connecting || (c->out.sent < to && c->send_at <= now()))
		events |= EPOLLOUT;
	if (!c->connecting && c->read_at <= now())
		events |= EPOLLIN;
	watch(&c->w, events);
}

/* ---- sending ---- */

static uint32_t
draw_length(uint64_t *rng)
{
	unsigned luck = (unsigned)draw_below(rng, 1000);

	if (luck < 600)
		return (uint32_t)draw_below(rng, 200);
	if (luck < 850)
		return (uint32_t)draw_below(rng, 4096);
	if (luck < 965)
		return (uint32_t)draw_below(rng, settings.max_body);
	return settings.max_body + 1 + (uint32_t)draw_below(rng, settings.max_body);
}

static void
add_request(struct client *c)
{
	static const enum method often[] = { GET, GET, GET, GET, POST, POST, POST, PUT, HEAD, DELETE };
	struct request *r = request_new();
	bool has_body;

	r->method = often[draw_below(&c->rng, sizeof often / sizeof *often)];
	has_body = r->method == POST || r->method == PUT || draw_permille(&c->rng, 20);
	r->old = draw_permille(&c->rng, 50);
	counts[OLD_REQUESTS] += r->old;
	r->framing = !has_body ? NO_BODY : r->old || draw_permille(&c->rng, 500) ? LENGTH : CHUNKED;
	r->length = has_body ? draw_length(&c->rng) : 0;
	r->hostile = draw_permille(&c->rng, 500);
	c->ids[c->n] = r->id;
	c->starts[c->n++] = c->out.n;
	out_print(&c->out, "%s /r/%016lx HTTP/1.%d\r\nHost: oracle.example\r\nX-Id: %016lx\r\n%s",
		  method_names[r->method], (unsigned long)r->id, r->old ? 0 : 1, (unsigned long)r->id,
		  r->old ? "Connection: keep-alive\r\n" : "");
	if (r->framing == LENGTH)
		out_print(&c->out, "Content-Length: %u\r\n", r->length);
	if (r->framing == CHUNKED)
		out_print(&c->out, "Transfer-Encoding: chunked\r\n");
	if (has_body && !r->old && draw_permille(&c->rng, 50))
		out_print(&c->out, "Expect: 100-continue\r\n");
	out_add(&c->out, "\r\n", 2);
	if (has_body)
		out_body(&c->out, r->framing, r->length, 'Q', r->hostile, false, r->id, &c->rng);
	c->starts[c->n] = c->out.n;
}

static size_t
next_cut(struct client *c)
{
	size_t left = c->out.n - c->out.sent;

	if (draw_permille(&c->rng, 600))
		return c->out.n;
	return c->out.sent + 1 + draw_below(&c->rng, draw_permille(&c->rng, 500) && left > 40 ? 40 : left);
}

static void
new_batch(struct client *c)
{
	unsigned wanted = draw_permille(&c->rng, 500) ? 1 : 1 + (unsigned)draw_below(&c->rng, BATCH);

	out_clear(&c->out);
	c->n = c->answered = 0;
	while (c->n < wanted)
		add_request(c);
	c->end = END_NONE;
	c->end_at = SIZE_MAX;
	if (draw_permille(&c->rng, 120)) {
		c->end = (enum client_end)(1 + draw_below(&c->rng, 3));
		c->end_at = 1 + draw_below(&c->rng, c->out.n);
	}
	c->cut = next_cut(c);
	c->progress = now();
}

/* What was written was made by a client, from now on. */
static void
note_sent(struct client *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct request *r = request_find(c->ids[i]);

		if (r == NULL || c->out.sent <= c->starts[i])
			continue;
		counts[REQUESTS_BEGUN] += !r->begun;
		r->begun = true;
		r->sent = c->out.sent >= c->starts[i + 1];
	}
}

/* False: c has begun anew. */
static bool
client_send(struct client *c)
{
	size_t to = c->cut < c->end_at ? c->cut : c->end_at;
	ssize_t k;

	if (c->out.sent < to) {
		k = send(c->w.fd, c->out.bytes + c->out.sent, to - c->out.sent, MSG_NOSIGNAL);
		if (k < 0) {
			/* Told once: reading would say that it is the end.  EPIPE says that it is one. */
			c->reset |= errno != EAGAIN && errno != EPIPE;
			return true;
		}
		c->out.sent += (size_t)k;
		c->progress = now();
		note_sent(c);
	}
	if (c->out.sent == c->end_at) {
		counts[CLIENT_CUTS]++;
		c->end_at = SIZE_MAX;
		c->cut = c->out.sent;
		switch (c->end) {
		case END_CLOSE:
			client_close(c);
			return false;
		case END_RESET:
			client_reset(c);
			return false;
		case END_HALF:
			shutdown(c->w.fd, SHUT_WR);
			c->half_closed = true;
			return true;
		case END_NONE:
			abort();
		}
	}
	if (c->out.sent == c->cut && c->out.sent < c->out.n && !c->half_closed) {
		c->cut = next_cut(c);
		if (draw_permille(&c->rng, 100))
			c->send_at = now() + (double)draw_below(&c->rng, 3000) / 1e6;
	}
	return true;
}

/* ---- reading ---- */

/* What the proxy says itself: is it an answer to what was asked? */
static void
judge_own(struct client *c, struct request *r, int status)
{
	counts[OWN_ANSWERS]++;
	switch (status) {
	case 408:
		if (r != NULL && r->sent)
			finding("408 for request %lx, which was sent whole", (unsigned long)r->id);
		return;
	case 413:
		counts[OWN_413]++;
		if (r == NULL || r->length <= settings.max_body)
			finding("413 for request %lx of %u bytes", r ? (unsigned long)r->id : 0,
				r ? r->length : 0);
		else if (r->whole > 0)
			finding("413 for request %lx, which a backend has read whole", (unsigned long)r->id);
		if (r != NULL)
			r->refused = true;
		return;
	case 502:
	case 503:
	case 504:
		return;
	case 400:
		if (c->half_closed && r != NULL && !r->sent)
			return;
		/* fall through */
	default:
		finding("the proxy answers %d to request %lx (%s), which is right", status,
			r ? (unsigned long)r->id : 0, r ? method_names[r->method] : "none");
	}
}

static bool
answer_head(struct reader *reader, enum framing *framing)
{
	struct client *c = (struct client *)((char *)reader - offsetof(struct client, reader));
	struct request *r = asked(c);
	struct answer *a = NULL;
	char value[64];
	int status = strncmp(reader->head, "HTTP/1.1 ", 9) == 0 ? atoi(reader->head + 9) : 0;

	c->informational = status >= 100 && status < 200;
	if (c->informational && r != NULL && r->old)
		finding("request %lx of HTTP/1.0 gets an interim answer", (unsigned long)r->id);
	if (c->informational)
		return true;
	c->answer = 0;
	if (head_value(reader->head, "x-answer", value, sizeof value)) {
		a = answer_find(strtoull(value, NULL, 16));
		if (a == NULL || r == NULL || a->request != r->id || a->status != status) {
			finding("request %lx (%s) gets answer %s (%d), which is for request %lx (%d)",
				r ? (unsigned long)r->id : 0, r ? method_names[r->method] : "none", value,
				status, a ? (unsigned long)a->request : 0, a ? a->status : 0);
			return false;
		}
		c->answer = a->id;
	} else {
		judge_own(c, r, status);
	}
	if (head_value(reader->head, "connection", value, sizeof value) && strcasecmp(value, "close") == 0)
		c->last = true;
	if ((r != NULL && r->method == HEAD) || status == 204 || status == 304)
		return true;
	*framing = UNTIL_CLOSE;
	if (head_value(reader->head, "transfer-encoding", value, sizeof value)) {
		*framing = CHUNKED;
		if (strcmp(value, "chunked") != 0 || (r != NULL && r->old) ||
		    head_value(reader->head, "content-length", value, sizeof value))
			finding("the framing of answer %lx is not plain: %.200s", (unsigned long)c->answer,
				reader->head);
	} else if (head_value(reader->head, "content-length", value, sizeof value)) {
		*framing = LENGTH;
		reader->left = strtoull(value, NULL, 10);
		if (a != NULL && reader->left != a->length)
			finding("answer %lx has %u bytes and says %s", (unsigned long)a->id, a->length,
				value);
	}
	return true;
}

static void
answer_body(struct reader *reader, const uint8_t *bytes, size_t n)
{
	struct client *c = (struct client *)((char *)reader - offsetof(struct client, reader));

	if (c->answer != 0 && !body_is(bytes, n, 'A', false, c->answer, reader->offset))
		finding("answer %lx to request %lx has other bytes from %lu on: %.60s",
			(unsigned long)c->answer, (unsigned long)c->ids[c->answered],
			(unsigned long)reader->offset, (const char *)bytes);
}

static bool
answer_end(struct reader *reader)
{
	struct client *c = (struct client *)((char *)reader - offsetof(struct client, reader));
	struct answer *a = answer_find(c->answer);
	struct request *r = asked(c);

	if (c->informational)
		return true;
	if (a != NULL && r != NULL && r->method != HEAD && reader->offset != a->length)
		finding("answer %lx to request %lx ends as if whole after %lu of %u bytes",
			(unsigned long)a->id, (unsigned long)a->request, (unsigned long)reader->offset,
			a->length);
	counts[ANSWERS_READ]++;
	if (r != NULL)
		c->answered++;
	return !c->last;
}

static void
answer_broken(struct reader *reader, const char *what)
{
	struct client *c = (struct client *)((char *)reader - offsetof(struct client, reader));

	finding("what comes for request %lx is no answer: %s",
		(unsigned long)c->ids[c->answered < c->n ? c->answered : 0], what);
}

static const struct reader_ops answer_ops = { answer_head, answer_body, answer_end, answer_broken };

static void
client_eof(struct client *c, bool reset)
{
	struct answer *a = answer_find(c->answer);

	switch (c->reader.state) {
	case IN_REST:	/* only the end of the connection says that this is all */
		if (!reset && a != NULL && !a->cut && c->reader.offset != a->length)
			finding("answer %lx to request %lx ends with the connection, as if whole, after %lu of %u bytes%s",
				(unsigned long)a->id, (unsigned long)a->request,
				(unsigned long)c->reader.offset, a->length,
				c->half_closed ? "; its client had half-closed" : "");
		if (c->answered < c->n)
			c->answered++;
		break;
	case IN_HEAD:
	case IN_NOTHING:
		break;
	default:
		counts[ANSWERS_CUT]++;
	}
	client_close(c);
}

static void
client_on_ready(struct watched *w, uint32_t events)
{
	struct client *c = (struct client *)w;
	ssize_t k;

	if (c->connecting) {
		int error = 0;
		socklen_t size = sizeof error;

		getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error != 0) {
			finding("a client cannot connect: %s", strerror(error));
			client_close(c);
			return;
		}
		c->connecting = false;
		new_batch(c);
	}
	if ((events & EPOLLOUT) && !client_send(c))
		return;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && c->read_at <= now()) {
		k = recv(w->fd, input, 1 + draw_below(&c->rng, sizeof input), 0);
		if (k == 0 || (k < 0 && errno != EAGAIN)) {
			client_eof(c, k < 0 || c->reset);
			return;
		}
		if (k > 0) {
			c->progress = now();
			reader_feed(&c->reader, input, (size_t)k);
			if (draw_permille(&c->rng, 20))
				c->read_at = now() + (double)draw_below(&c->rng, 5000) / 1e6;
		}
		if (c->n == c->answered && c->out.sent == c->out.n && c->reader.state == IN_HEAD &&
		    !c->half_closed) {
			if (stopping || draw_permille(&c->rng, 100)) {
				client_close(c);
				return;
			}
			new_batch(c);
		}
	}
	client_watch(c);
}

/* ---- life ---- */

static void
client_begin(struct client *c)
{
	uint64_t seed = settings.seed ^ (++n_seeds * 0xd6e8feb86659fd93);
	struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET };
	int on = 1;

	*c = (struct client){
		.w = { client_on_ready, -1 }, .rng = draw(&seed), .out = c->out, .connecting = true
	};
	out_clear(&c->out);
	reader_reset(&c->reader, &answer_ops);
	c->progress = now();
	if (stopping)
		return;
	/* Many addresses: the ports of one would be used up by the closed ones. */
	from.sin_addr.s_addr = htonl(0x7f020001 + (uint32_t)draw_below(&c->rng, 250));
	to.sin_addr.s_addr = settings.front.ip;
	to.sin_port = settings.front.port;
	c->w.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(c->w.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	setsockopt(c->w.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (c->w.fd < 0 || bind(c->w.fd, (struct sockaddr *)&from, sizeof from) < 0 ||
	    (connect(c->w.fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)) {
		fprintf(stderr, "oracle: a client's socket: %s\n", strerror(errno));
		exit(2);
	}
	counts[CONNECTIONS]++;
	client_watch(c);
}

void
clients_start(void)
{
	clients = calloc(settings.n_clients, sizeof *clients);
	if (clients == NULL)
		abort();
	for (unsigned i = 0; i < settings.n_clients; i++)
		client_begin(&clients[i]);
}

/* Ends pauses, and what came to no end. */
void
clients_tick(void)
{
	for (unsigned i = 0; i < settings.n_clients; i++) {
		struct client *c = &clients[i];

		if (c->w.fd < 0)
			continue;
		if (c->progress + settings.stuck < now()) {
			struct request *r = asked(c);

			finding("nothing comes for %g s: request %lx (%s, %s), %u of %u answered, %zu of %zu bytes sent",
				settings.stuck, r ? (unsigned long)r->id : 0,
				r ? method_names[r->method] : "none",
				r && r->sent ? "sent whole" : "not whole", c->answered, c->n, c->out.sent,
				c->out.n);
			client_close(c);
			continue;
		}
		client_watch(c);
	}
}

bool
clients_over(void)
{
	for (unsigned i = 0; i < settings.n_clients; i++)
		if (clients[i].w.fd >= 0)
			return false;
	return true;
}
