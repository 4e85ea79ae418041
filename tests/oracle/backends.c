/* backends.c - what backends do to the proxy, and whether they see only what
 * clients sent. */
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

#define SMALL 16000	/* bytes that go in one piece */

enum backend_end { KEEP, CLOSE, RESET, SILENCE };

struct conn {
	struct watched w;	/* first: found by it */
	struct conn *next, *prev;
	uint64_t rng;
	struct reader reader;
	struct out out;
	size_t cut, end_at;
	enum backend_end end;
	double send_at;
	bool reading, answering;	/* a request is not yet at its end; an answer is not yet sent */
	bool early, surplus;
	bool odd;	/* the answer has what a recipient may take, but not trust */
	size_t whole;	/* where the answer ends in out; surplus bytes stand behind it */
	bool half_closed;	/* the proxy sends no more */
	uint64_t request, answer;
};

static struct conn list = { .next = &list, .prev = &list };
static struct watched listeners[16];
static uint64_t n_seeds;
static uint8_t input[65536];

static void
conn_free(struct conn *c)
{
	if (c->w.fd >= 0)
		close(c->w.fd);
	c->next->prev = c->prev;
	c->prev->next = c->next;
	out_free(&c->out);
	free(c);
}

/* All that is sent was: its end is due. */
static bool
ends_now(const struct conn *c)
{
	/* A well-behaved server reads to the end first. */
	return c->out.sent == c->end_at &&
	       (c->end == RESET || (c->end == CLOSE && (!c->reading || c->half_closed)));
}

static void
conn_watch(struct conn *c)
{
	size_t to = c->cut < c->end_at ? c->cut : c->end_at;
	uint32_t events = c->half_closed ? 0 : EPOLLIN;

	if (c->answering && (c->out.sent < to || ends_now(c)) && c->send_at <= now())
		events |= EPOLLOUT;
	watch(&c->w, events);
}

/* ---- answering ---- */

static uint32_t
draw_length(uint64_t *rng)
{
	unsigned luck = (unsigned)draw_below(rng, 1000);

	if (luck < 700)
		return (uint32_t)draw_below(rng, 300);
	if (luck < 900)
		return (uint32_t)draw_below(rng, 8192);
	if (luck < 985)
		return (uint32_t)draw_below(rng, 60000);
	return (uint32_t)draw_below(rng, 400000);
}

static int
draw_status(uint64_t *rng)
{
	static const int often[] = { 200, 200, 200, 200, 200, 200, 200, 404, 500, 204, 304, 201 };

	return often[draw_below(rng, sizeof often / sizeof *often)];
}

/* Bytes behind the end of an answer: nobody's. */
static void
add_surplus(struct conn *c)
{
	static const char *const kinds[] = {
		"\r\n", "x", "HTTP/1.1 200 OK\r\nX-Answer: ffffffffffffffff\r\nContent-Length: 7\r\n\r\nforeign",
		"HTTP/1.1 204 No Content\r\nX-Answer: ffffffffffffffff\r\n\r\n",
	};
	const char *kind = kinds[draw_below(&c->rng, sizeof kinds / sizeof *kinds)];

	/* What comes later than the answer cannot be told from the next one's: only what is sent with it counts. */
	if (c->out.n > SMALL)
		return;
	out_add(&c->out, kind, strlen(kind));
	c->surplus = true;
	counts[BACKEND_SURPLUS]++;
}

/* What servers write that other proxies take as well: two lines of the same
 * length, a length beside chunks, lines that end with LF alone, blanks behind a
 * chunk's size, a status without a class.  And what is merely unusual: a later
 * version, zeros before a length. */
enum oddity { PLAIN, SAME_LENGTHS, LENGTH_BESIDE_CHUNKS, BARE_LF, CHUNK_BLANKS, STATUS_600, VERSION_1_2, ZEROS, ODDITIES };

static enum oddity
draw_oddity(struct conn *c, struct answer *a, bool has_body)
{
	enum oddity odd = draw_permille(&c->rng, 60) ? (enum oddity)draw_below(&c->rng, ODDITIES) : PLAIN;

	if ((odd == LENGTH_BESIDE_CHUNKS || odd == CHUNK_BLANKS) && (a->framing != CHUNKED || !has_body || a->length == 0))
		return PLAIN;
	if ((odd == SAME_LENGTHS || odd == ZEROS) && (a->framing != LENGTH || !has_body))
		return PLAIN;
	if (odd == STATUS_600 && !has_body)
		return PLAIN;
	if (odd == STATUS_600)
		a->status = draw_permille(&c->rng, 500) ? 600 : 999;
	return odd;
}

/* Of the head that begins at `from`. */
static void
end_lines_with_lf(struct out *o, size_t from)
{
	size_t n = from;

	for (size_t i = from; i < o->n; i++)
		if (o->bytes[i] != '\r')
			o->bytes[n++] = o->bytes[i];
	o->n = n;
}

static void
add_interim(struct conn *c)
{
	unsigned n = draw_permille(&c->rng, 40) ? 1 + (unsigned)draw_below(&c->rng, 3) : 0;

	if (draw_permille(&c->rng, 3)) {
		n = 20 + (unsigned)draw_below(&c->rng, 100);
		counts[BACKEND_FLOODS]++;
	}
	while (n-- > 0)
		out_print(&c->out, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
}

static void
compose(struct conn *c, const struct request *r)
{
	enum oddity odd;
	size_t from;
	struct answer *a = answer_new();
	bool has_body;

	a->request = r->id;
	a->status = draw_status(&c->rng);
	has_body = r->method != HEAD && a->status != 204 && a->status != 304;
	a->framing = draw_permille(&c->rng, c->early ? 250 : 500) ? LENGTH :
		     draw_permille(&c->rng, c->early ? 250 : 750) ? CHUNKED :
								    UNTIL_CLOSE;
	a->length = has_body ? draw_length(&c->rng) : 0;
	c->answer = a->id;
	out_clear(&c->out);
	odd = draw_oddity(c, a, has_body);
	counts[BACKEND_ODD] += odd != PLAIN;
	c->odd = odd != PLAIN && odd != VERSION_1_2 && odd != ZEROS;
	add_interim(c);
	from = c->out.n;
	out_print(&c->out, "HTTP/1.%d %d Status\r\nX-Answer: %016lx\r\n", odd == VERSION_1_2 ? 2 : 1, a->status,
		  (unsigned long)a->id);
	c->end = draw_permille(&c->rng, 60) ? CLOSE : draw_permille(&c->rng, 15) ? RESET : KEEP;
	if (a->framing == UNTIL_CLOSE && has_body)
		c->end = CLOSE;
	if (c->end == CLOSE && draw_permille(&c->rng, 500))
		out_print(&c->out, "Connection: close\r\n");
	if (a->framing == CHUNKED && a->status != 204)
		out_print(&c->out, "Transfer-Encoding: chunked\r\n");
	else if (a->framing == LENGTH && a->status != 204)
		out_print(&c->out, odd == ZEROS ? "Content-Length: 00%u\r\n" : "Content-Length: %u\r\n",
			  has_body ? a->length : 17);
	if (odd == SAME_LENGTHS)
		out_print(&c->out, "Content-Length: %u\r\n", a->length);
	if (odd == LENGTH_BESIDE_CHUNKS)
		out_print(&c->out, "Content-Length: %u\r\n", a->length / 2);
	out_add(&c->out, "\r\n", 2);
	if (odd == BARE_LF)
		end_lines_with_lf(&c->out, from);
	if (has_body)
		out_body(&c->out, a->framing, a->length, 'A', false, odd == CHUNK_BLANKS, a->id, &c->rng);
	c->surplus = false;
	c->end_at = c->whole = c->out.n;
	if ((a->framing != UNTIL_CLOSE || !has_body) && draw_permille(&c->rng, 30)) {
		add_surplus(c);
		c->end_at = c->out.n;
	} else if (draw_permille(&c->rng, c->early ? 300 : 40)) {
		c->end = draw_permille(&c->rng, 500) ? CLOSE : RESET;
		c->end_at = draw_below(&c->rng, c->out.n);
		a->cut = c->end == CLOSE;	/* an end that resets must never look like one that closes */
		counts[BACKEND_CUTS]++;
	} else if (draw_permille(&c->rng, 2)) {
		c->end = SILENCE;
		c->end_at = 0;
	}
	c->cut = draw_permille(&c->rng, 700) ? c->out.n : 1 + draw_below(&c->rng, c->out.n);
	if (c->surplus && draw_permille(&c->rng, 700))
		c->cut = 1 + draw_below(&c->rng, c->whole - 1);
}

static void
conn_answer(struct conn *c)
{
	c->answering = true;
	if (draw_permille(&c->rng, 80))
		c->send_at = now() + (double)draw_below(&c->rng, 4000) / 1e6;
}

/* False: c is gone. */
static bool
conn_send(struct conn *c)
{
	struct linger none = { .l_onoff = 1, .l_linger = 0 };
	size_t to = c->cut < c->end_at ? c->cut : c->end_at;
	ssize_t k;

	if (c->out.sent < to) {
		k = send(c->w.fd, c->out.bytes + c->out.sent, to - c->out.sent, MSG_NOSIGNAL);
		if (k < 0 && errno == EAGAIN)
			return true;
		if (k > 0)
			c->out.sent += (size_t)k;
		if (k < 0 || (c->surplus && c->out.sent >= c->whole && c->out.sent < c->out.n)) {
			conn_free(c);
			return false;
		}
	}
	if (c->out.sent == c->end_at) {
		switch (c->end) {
		case CLOSE:
			if (!ends_now(c))
				break;
			conn_free(c);
			return false;
		case RESET:
			setsockopt(c->w.fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
			conn_free(c);
			return false;
		case KEEP:
			c->answering = false;
			break;
		case SILENCE:
			break;
		}
	} else if (c->out.sent == c->cut) {
		if (draw_permille(&c->rng, 300))
			c->send_at = now() + (double)draw_below(&c->rng, 3000) / 1e6;
		c->cut = c->surplus || draw_permille(&c->rng, 700) ?
				 c->out.n :
				 c->out.sent + 1 + draw_below(&c->rng, c->out.n - c->out.sent);
	}
	return true;
}

/* ---- reading ---- */

static bool
request_head(struct reader *reader, enum framing *framing)
{
	struct conn *c = (struct conn *)((char *)reader - offsetof(struct conn, reader));
	struct request *r;
	char method[16], value[64], id[32];

	if (c->surplus) {
		finding("a connection that had bytes behind an answer was used again: %.60s", reader->head);
		return false;
	}
	if (c->odd)
		finding("a connection whose answer was odd was used again: %.60s", reader->head);
	if (sscanf(reader->head, "%15[A-Z] /r/%16[0-9a-f] HTTP/1.1\r\n", method, id) != 2) {
		finding("a backend sees a request that no client sent: %.80s", reader->head);
		return false;
	}
	r = request_find(strtoull(id, NULL, 16));
	if (r == NULL || !r->begun || strcmp(method_names[r->method], method) != 0 ||
	    !head_value(reader->head, "x-id", value, sizeof value) || strcmp(value, id) != 0) {
		finding("a backend sees a request that no client sent: %.80s", reader->head);
		return false;
	}
	if (c->answering && c->out.sent < c->out.n)
		finding("request %s comes before the answer to %lx was sent", id, (unsigned long)c->request);
	c->request = r->id;
	c->reading = true;
	if (head_value(reader->head, "transfer-encoding", value, sizeof value)) {
		*framing = CHUNKED;
	} else if (head_value(reader->head, "content-length", value, sizeof value)) {
		*framing = LENGTH;
		reader->left = strtoull(value, NULL, 10);
	}
	if (*framing == NO_BODY ? r->length != 0 : *framing == LENGTH && reader->left != r->length)
		finding("request %s of %u bytes comes with another length", id, r->length);
	/* The two sides of such an exchange meet: its answers are cut more often. */
	c->early = *framing != NO_BODY && draw_permille(&c->rng, 60);
	compose(c, r);
	if (c->early) {
		counts[BACKEND_EARLY]++;
		conn_answer(c);
	}
	return true;
}

static void
request_body(struct reader *reader, const uint8_t *bytes, size_t n)
{
	struct conn *c = (struct conn *)((char *)reader - offsetof(struct conn, reader));
	struct request *r = request_find(c->request);

	if (r != NULL && !body_is(bytes, n, 'Q', r->hostile, r->id, reader->offset))
		finding("request %lx has other bytes from %lu on: %.60s", (unsigned long)c->request,
			(unsigned long)reader->offset, (const char *)bytes);
}

static bool
request_end(struct reader *reader)
{
	struct conn *c = (struct conn *)((char *)reader - offsetof(struct conn, reader));
	struct request *r = request_find(c->request);

	c->reading = false;
	if (!c->early)
		conn_answer(c);
	if (r == NULL)
		return true;
	counts[BACKEND_WHOLE]++;
	if (reader->offset != r->length || !r->sent)
		finding("request %lx of %u bytes ends as if whole after %lu%s", (unsigned long)r->id,
			r->length, (unsigned long)reader->offset,
			r->sent ? "" : "; its client never sent the rest");
	if (r->length > settings.max_body)
		finding("request %lx is longer than the limit and reached a backend whole",
			(unsigned long)r->id);
	if (r->refused)
		finding("request %lx was refused with 413 and reaches a backend whole", (unsigned long)r->id);
	if (r->whole++ > 0) {
		counts[BACKEND_RETRIES]++;
		if (r->method == POST)
			finding("POST %lx reaches backends twice", (unsigned long)r->id);
	}
	return true;
}

static void
request_broken(struct reader *reader, const char *what)
{
	struct conn *c = (struct conn *)((char *)reader - offsetof(struct conn, reader));

	finding("a backend sees what is no request, behind request %lx: %s", (unsigned long)c->request, what);
}

static const struct reader_ops request_ops = { request_head, request_body, request_end, request_broken };

static void
conn_on_ready(struct watched *w, uint32_t events)
{
	struct conn *c = (struct conn *)w;
	ssize_t k;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		k = c->half_closed ? -1 : recv(w->fd, input, sizeof input, 0);
		if (k == 0 && c->answering && c->end != SILENCE) {
			c->half_closed = true;	/* whether it still wants the answer, it will say */
		} else if (k == 0 || (k < 0 && (errno != EAGAIN || c->half_closed))) {
			conn_free(c);
			return;
		}
		if (k > 0)
			reader_feed(&c->reader, input, (size_t)k);
	}
	if (c->answering && c->send_at <= now() && !conn_send(c))
		return;
	conn_watch(c);
}

/* ---- life ---- */

static void
listener_on_ready(struct watched *w, uint32_t events)
{
	struct conn *c;
	uint64_t seed = settings.seed ^ (++n_seeds * 0xa0761d6478bd642f);
	int on = 1, fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	c = calloc(1, sizeof *c);
	if (c == NULL)
		abort();
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	c->w = (struct watched){ conn_on_ready, fd };
	c->rng = draw(&seed);
	c->next = &list;
	c->prev = list.prev;
	c->prev->next = c->next->prev = c;
	c->end_at = SIZE_MAX;
	reader_reset(&c->reader, &request_ops);
	counts[BACKEND_CONNECTIONS]++;
	conn_watch(c);
}

void
backends_start(void)
{
	for (unsigned i = 0; i < settings.n_backends; i++) {
		struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = settings.backends[i].port };
		int on = 1;

		at.sin_addr.s_addr = settings.backends[i].ip;
		listeners[i] = (struct watched){ listener_on_ready,
						 socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0) };
		setsockopt(listeners[i].fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		setsockopt(listeners[i].fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
		if (bind(listeners[i].fd, (struct sockaddr *)&at, sizeof at) < 0 ||
		    listen(listeners[i].fd, 4096) < 0) {
			fprintf(stderr, "oracle: backend %u: %s\n", i, strerror(errno));
			exit(2);
		}
		watch(&listeners[i], EPOLLIN);
	}
}

void
backends_tick(void)
{
	for (struct conn *c = list.next, *next; c != &list; c = next) {
		next = c->next;
		conn_watch(c);
	}
}

/* They have not come to an end, though no client is left. */
void
backends_stuck(void)
{
	for (struct conn *c = list.next; c != &list; c = c->next)
		if (c->reading || (c->answering && c->end != SILENCE))
			finding("no client is left, and a connection to a backend stays in request %lx (%s), answer %lx (%zu of %zu bytes sent%s)",
				(unsigned long)c->request, c->reading ? "not whole" : "whole",
				(unsigned long)c->answer, c->out.sent, c->out.n,
				c->half_closed ? ", half-closed" : "");
}

/* Nothing is read or answered any more; kept connections may stay. */
bool
backends_over(void)
{
	for (struct conn *c = list.next; c != &list; c = c->next)
		if (c->reading || (c->answering && c->end != SILENCE))
			return false;
	return true;
}
