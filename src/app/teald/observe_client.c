/* observe_client.c - one HTTP connection of the observe listener: one request
 * at a time.  A short reply is built before its first byte is sent; the rest
 * of a long one only when its reader has taken what there was, so that a slow
 * reader costs a piece of memory and no time.
 * Thread: main.  Born in visitor_new(), dies in visitor_close(), freed by the
 * listener at the end of the loop's turn. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "app/teald/observe_client.h"
#include "app/teald/observe_page.h"
#include "app/teald/observe_ready.h"
#include "app/teald/observe_stream.h"
#include "net/sock.h"

#define HEAD_MAX 8192
#define READ_SIZE 4096
#define REPLY_MAX ((size_t)128 << 20)
#define HEADERS_MAX 1024
/* Of a body that is made while it is sent. */
#define PIECE ((size_t)64 << 10)

/* From the first byte of a request to the end of its head. */
#define HEAD_SECONDS 5.0
/* Between requests. */
#define IDLE_SECONDS 30.0
/* Without a byte taken of the reply; and for the whole of it. */
#define WRITE_SECONDS 10.0
#define WRITE_TOTAL_SECONDS 60.0
#define LINGER_SECONDS 1.0
#define ALLOW "Allow: GET, HEAD, OPTIONS\r\n"

static enum observe_place
observe_place_of(const struct visitor *v, enum visitor_state state)
{
	switch (state) {
	case VISITOR_IDLE:
	case VISITOR_READING:
	case VISITOR_LINGERING:
		return OBSERVE_WAITING;
	case VISITOR_WRITING:
		return v->probes ? OBSERVE_PROBE : OBSERVE_REPLY;
	case VISITOR_VIEWING:
		return OBSERVE_VIEWER;
	}
	CHECK(!"a state");
	return OBSERVE_WAITING;
}

static void
leave_observe_place(struct visitor *v)
{
	struct observe *o = v->observe;

	if (list_empty(&v->link))
		return;
	list_remove(&v->link);
	o->places[v->place].n--;
	if (v->place == OBSERVE_WAITING)
		observe_resume(o);
}

/* Last in its list: it has just made progress. */
static void
take_observe_place(struct visitor *v, enum observe_place place)
{
	struct observe *o = v->observe;

	leave_observe_place(v);
	v->place = place;
	v->touched = clock_now();
	list_append(&o->places[place].list, &v->link);
	o->places[place].n++;
}

void
visitor_enter(struct visitor *v, enum visitor_state state, double seconds)
{
	struct ev_loop *loop = v->observe->loop;

	v->state = state;
	ev_timer_stop(loop, &v->deadline);
	ev_timer_set(&v->deadline, seconds, 0.0);
	ev_timer_start(loop, &v->deadline);
	io_want(loop, &v->io, state == VISITOR_WRITING ? EV_WRITE : EV_READ);
	take_observe_place(v, observe_place_of(v, state));
}

static const char *
status_words(unsigned status)
{
	switch (status) {
	case 200: return "OK";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 414: return "URI Too Long";
	case 421: return "Misdirected Request";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 503: return "Service Unavailable";
	case 505: return "HTTP Version Not Supported";
	default: return "Error";
	}
}

/* Puts a piece of the body into v->out; last: nothing comes after it. */
static void
put_piece(struct visitor *v, struct buf *piece, bool last)
{
	if (v->chunked && buf_len(piece) > 0)
		buf_printf(&v->out, "%zx\r\n", buf_len(piece));
	buf_append(&v->out, buf_str(piece).p, buf_len(piece));
	if (v->chunked)
		buf_printf(&v->out, "%s%s", buf_len(piece) > 0 ? "\r\n" : "", last ? "0\r\n\r\n" : "");
	v->out.failed |= piece->failed;
}

/* How the receiver knows where the body ends: by its length, by chunks, or,
 * before HTTP/1.1, by the end of the connection. */
static const char *
framing(struct visitor *v, const struct buf *body, unsigned minor, char text[64])
{
	v->chunked = v->more != NULL && minor > 0;
	if (v->chunked)
		return "Transfer-Encoding: chunked\r\n";
	text[0] = '\0';
	if (v->more != NULL)
		v->keep = false;
	else
		snprintf(text, 64, "Content-Length: %zu\r\n", buf_len(body));
	return text;
}

/* framed: a header line, or "". */
static void
put_head(struct visitor *v, const struct reply_head *head, const char *framed, unsigned minor)
{
	time_t now = (time_t)ev_time();
	char date[64];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	buf_printf(&v->out,
		   "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\n%sCache-Control: no-store\r\n%s%s\r\n",
		   head->status, status_words(head->status), date, head->type, framed, head->extra,
		   !v->keep   ? "Connection: close\r\n" :
		   minor == 0 ? "Connection: keep-alive\r\n" :
				"");
}

/* What is in v->out goes out. */
static void
begin_writing(struct visitor *v)
{
	if (v->out.failed) {
		visitor_close(v);	/* out of memory */
		return;
	}
	v->began = clock_now();
	visitor_enter(v, VISITOR_WRITING, WRITE_SECONDS);
}

/* Begins the reply; body is all of it, or its first piece if there is v->more.
 * The request, if it was one, was of HTTP/1.minor.  Frees body. */
static void
reply(struct visitor *v, const struct reply_head *head, struct buf *body, bool with_body, unsigned minor)
{
	char length[64];

	put_head(v, head, framing(v, body, minor, length), minor);
	if (with_body)
		put_piece(v, body, v->more == NULL);
	else
		v->more = NULL;
	buf_free(body);
	begin_writing(v);
}

/* A place for a reply that is no probe's; false: all are in use by readers that
 * make progress. */
static bool
has_reply_place(struct observe *o)
{
	return o->places[OBSERVE_REPLY].n < OBSERVE_REPLIES_MAX || observe_make_room(o, OBSERVE_REPLY);
}

static void
refuse_visitor(struct visitor *v, unsigned status, const char *words)
{
	const struct reply_head head = { .status = status, .type = TEXT_PLAIN };
	struct buf body;

	v->probes = false;
	if (!has_reply_place(v->observe)) {
		visitor_close(v);
		return;
	}
	v->keep = false;
	buf_init(&body, HEADERS_MAX);
	buf_printf(&body, "%s\n", words);
	reply(v, &head, &body, true, 1);
}

/* -- the pages ------------------------------------------------------------------ */

static bool
more_metrics(struct visitor *v, struct buf *piece)
{
	metrics_some(piece, v->observe->control, &v->metrics, PIECE);
	return !v->metrics.over;
}

static void
page_metrics(struct visitor *v, struct reply_head *head, struct buf *body)
{
	struct str accept = STR("");
	const char *wrong;

	free(v->only);
	v->only = metrics_only(v->query, v->observe->control, &wrong);
	if (wrong != NULL) {
		head->status = 404;
		buf_printf(body, "%s\n", wrong);
		return;
	}
	http1_head_find(&v->head, "accept", &accept);
	v->metrics = (struct metrics_cursor){ .format = prom_negotiate(accept), .only = v->only };
	head->type = prom_content_type(v->metrics.format);
	snprintf(head->extra, sizeof(head->extra), "Vary: Accept\r\n");
	if (more_metrics(v, body))
		v->more = more_metrics;
}

static void
page_healthz(struct visitor *v, struct reply_head *head, struct buf *body)
{
	(void)v;
	(void)head;
	buf_printf(body, "ok\n");
}

static void
page_index(struct visitor *v, struct reply_head *head, struct buf *body)
{
	page_write(v->observe->page, v, head, body);
}

static void
page_events(struct visitor *v, struct reply_head *head, struct buf *body)
{
	v->views = stream_answer(v, head, body);
}

static const struct {
	const char *path;
	void (*write)(struct visitor *v, struct reply_head *head, struct buf *body);
	enum observe_asked asked;	/* a probe has places of its own */
} pages[] = {
	{ "/metrics", page_metrics, OBSERVE_ASKED_OTHER },
	{ "/healthz", page_healthz, OBSERVE_ASKED_PROBE },
	{ "/readyz", ready_write, OBSERVE_ASKED_PROBE },
	{ "/", page_index, OBSERVE_ASKED_PAGE },
	{ "/events", page_events, OBSERVE_ASKED_PAGE },
	{ "*", page_healthz, OBSERVE_ASKED_PROBE },	/* of OPTIONS, about the server as a whole */
};

/* False: the head and body of a refusal are made. */
static bool
may_look(struct visitor *v, enum observe_asked asked, struct reply_head *head, struct buf *body)
{
	unsigned refused = observe_access_judge(&v->observe->access, &v->peer, asked, &v->head);

	if (refused == 0)
		return true;
	head->status = refused;
	buf_printf(body, refused == 401 ? "a user and a password are needed\n" : "this address is not in observe.allow\n");
	if (refused == 401)
		snprintf(head->extra, sizeof(head->extra), "WWW-Authenticate: Basic realm=\"teal\", charset=\"UTF-8\"\r\n");
	return false;
}

/* -- requests ------------------------------------------------------------------- */

/* "/path?query" of that and of "http://host/path?query". */
static void
split_target(const struct http1_head *h, struct str *path, struct str *query)
{
	struct str target = http1_text(h, h->target);
	const char *p;

	if (h->form == HTTP1_ABSOLUTE) {
		p = memmem(target.p, target.n, "://", 3);
		p = p != NULL ? memchr(p + 3, '/', target.n - (size_t)(p + 3 - target.p)) : NULL;
		target = p != NULL ? (struct str){ p, target.n - (size_t)(p - target.p) } : STR("/");
	}
	*path = target;
	*query = STR("");
	if ((p = memchr(target.p, '?', target.n)) != NULL) {
		path->n = (size_t)(p - target.p);
		*query = (struct str){ p + 1, target.n - path->n - 1 };
	}
}

/* Closing over unread bytes would reset the connection, and the reply with it:
 * so the peer closes first, within reason. */
static void
linger_then_close(struct visitor *v)
{
	shutdown(io_fd(&v->io), SHUT_WR);
	buf_free(&v->in);
	visitor_enter(v, VISITOR_LINGERING, LINGER_SECONDS);
}

/* One try: a refused request takes no place to wait for its reader. */
static void
refuse_busy(struct visitor *v)
{
	static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\n"
				   "Content-Type: text/plain; charset=utf-8\r\n"
				   "Content-Length: 42\r\n"
				   "Retry-After: 1\r\n"
				   "Connection: close\r\n\r\n"
				   "too many replies are under way; try again\n";

	if (io_write(&v->io, busy, sizeof(busy) - 1, false) < 0) {
		visitor_close(v);
		return;
	}
	v->keep = false;
	linger_then_close(v);
}

/* Those who ask whether teald is ready never wait for those who want more. */
static bool
take_reply_place(struct visitor *v)
{
	struct observe *o = v->observe;

	if (!v->probes)
		return has_reply_place(o);
	if (o->places[OBSERVE_PROBE].n >= OBSERVE_PROBES_MAX)
		visitor_close(list_entry(list_first(&o->places[OBSERVE_PROBE].list), struct visitor, link));
	return true;
}

/* A body of no use is not read: the connection ends instead. */
static bool
has_body(const struct http1_head *h)
{
	struct str length = STR("0");

	return http1_head_find(h, "transfer-encoding", NULL) > 0 ||
	       (http1_head_find(h, "content-length", &length) > 0 && !str_eq(length, "0"));
}

static void
answer_visitor(struct visitor *v)
{
	const struct http1_head *h = &v->head;
	struct str method = http1_text(h, h->method), path;
	bool get = str_eq(method, "GET"), is_head = str_eq(method, "HEAD");
	struct reply_head head = { .status = 200, .type = TEXT_PLAIN };
	struct buf body;
	size_t i = 0;

	split_target(h, &path, &v->query);
	v->keep = http1_head_keep_alive(h) && !has_body(h) && !v->observe->yielded;
	if (http1_head_find(h, "host", NULL) > 1 || (h->minor > 0 && http1_head_find(h, "host", NULL) == 0)) {
		refuse_visitor(v, 400, "one Host header is needed");
		return;
	}
	while (i < ARRAY_LEN(pages) && !str_eq(path, pages[i].path))
		i++;
	v->probes = i < ARRAY_LEN(pages) && pages[i].asked == OBSERVE_ASKED_PROBE;
	if (!take_reply_place(v)) {
		refuse_busy(v);
		return;
	}
	buf_init(&body, REPLY_MAX - HEADERS_MAX);
	if (!may_look(v, i < ARRAY_LEN(pages) ? pages[i].asked : OBSERVE_ASKED_OTHER, &head, &body)) {
		;
	} else if (i == ARRAY_LEN(pages)) {
		head.status = 404;
		buf_printf(&body, "there are / (the status page), /metrics, /healthz and /readyz\n");
	} else if (!get && !is_head && !str_eq(method, "OPTIONS")) {
		head.status = 405;
		snprintf(head.extra, sizeof(head.extra), ALLOW);
		buf_printf(&body, "only GET, HEAD and OPTIONS\n");
	} else {
		pages[i].write(v, &head, &body);
		if (!get && !is_head && head.extra[0] == '\0')
			snprintf(head.extra, sizeof(head.extra), ALLOW);
	}
	if (v->views) {
		/* It ends when one of the two leaves. */
		v->views = get;
		v->keep = false;
		put_head(v, &head, "", h->minor);
		buf_free(&body);
		begin_writing(v);
		return;
	}
	reply(v, &head, &body, !is_head, h->minor);
}

/* What has arrived, as far as it goes. */
static void
parse_request(struct visitor *v)
{
	struct str in = buf_str(&v->in);

	switch (http1_head_parse(&v->head, in.p, in.n)) {
	case HTTP1_NEED_MORE:
		if (in.n > 0 && v->state != VISITOR_READING)
			visitor_enter(v, VISITOR_READING, HEAD_SECONDS);
		break;
	case HTTP1_DONE:
		answer_visitor(v);
		if (v->state != VISITOR_LINGERING)
			buf_consume(&v->in, v->head.length);
		break;
	case HTTP1_BAD:
		refuse_visitor(v, http1_reason_status(v->head.reason), http1_reason_words(v->head.reason));
		break;
	}
}

static void
next_request(struct visitor *v)
{
	if (buf_len(&v->in) == 0)
		buf_free(&v->in);
	http1_head_init(&v->head, HEAD_MAX);
	visitor_enter(v, VISITOR_IDLE, IDLE_SECONDS);
	if (buf_len(&v->in) > 0)
		parse_request(v);
}

/* The next piece; false when the visitor had to be closed instead. */
static bool
continue_request(struct visitor *v)
{
	struct buf piece;
	bool more;

	buf_init(&piece, REPLY_MAX / 2);
	more = v->more(v, &piece);
	put_piece(v, &piece, !more);
	buf_free(&piece);
	if (!more)
		v->more = NULL;
	if (!v->out.failed)
		return true;
	visitor_close(v);
	return false;
}

static void
visitor_on_writable(struct visitor *v)
{
	struct str out = buf_str(&v->out);
	ssize_t n = io_write(&v->io, out.p, out.n, false);
	double now = clock_now();

	if (n < 0 && io_would_block())
		return;
	if (n <= 0) {
		visitor_close(v);
		return;
	}
	buf_consume(&v->out, (size_t)n);
	if (buf_len(&v->out) == 0 && v->more != NULL && !continue_request(v))
		return;
	if (buf_len(&v->out) > 0) {
		if (now - v->began > WRITE_TOTAL_SECONDS)
			visitor_close(v);
		else
			visitor_enter(v, VISITOR_WRITING, WRITE_SECONDS);
		return;
	}
	buf_free(&v->out);
	if (v->views)
		stream_begin(v);
	else if (v->keep)
		next_request(v);
	else
		linger_then_close(v);
}

static void
visitor_on_readable(struct visitor *v)
{
	char trash[READ_SIZE], *to;
	ssize_t n;

	if (v->state == VISITOR_LINGERING) {
		n = io_read(&v->io, trash, sizeof(trash));
		if (n == 0 || (n < 0 && !io_would_block()))
			visitor_close(v);
		return;
	}
	if ((to = buf_reserve(&v->in, READ_SIZE)) == NULL) {
		visitor_close(v);	/* out of memory: the parser stops before it is full */
		return;
	}
	n = io_read(&v->io, to, READ_SIZE);
	if (n < 0 && io_would_block())
		return;
	if (n <= 0) {
		visitor_close(v);
		return;
	}
	buf_commit(&v->in, (size_t)n);
	parse_request(v);
}

static void
visitor_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct visitor *v = container_of(w, struct visitor, io.watcher);

	(void)loop;
	CHECK(v->magic == VISITOR_MAGIC);
	if (v->state == VISITOR_VIEWING)
		stream_on_event(v, revents);
	else if (v->state == VISITOR_WRITING)
		visitor_on_writable(v);
	else
		visitor_on_readable(v);
}

static void
visitor_on_deadline(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct visitor *v = container_of(t, struct visitor, deadline);

	(void)loop;
	(void)revents;
	CHECK(v->magic == VISITOR_MAGIC);
	if (v->state == VISITOR_READING)
		refuse_visitor(v, 408, "the request did not arrive in time");
	else
		visitor_close(v);
}

void
visitor_new(struct observe *o, int fd, const struct addr *peer)
{
	struct visitor *v = calloc(1, sizeof(*v));
	int room = (int)PIECE;

	if (v == NULL) {
		close(fd);
		return;
	}
	/* Left alone, the kernel would keep megabytes for one that does not read. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	v->magic = VISITOR_MAGIC;
	v->observe = o;
	v->peer = *peer;
	list_init(&v->link);
	io_init(&v->io, fd, visitor_on_event);
	ev_timer_init(&v->deadline, visitor_on_deadline, 0.0, 0.0);
	buf_init(&v->in, HEAD_MAX + 2 * READ_SIZE);
	buf_init(&v->out, REPLY_MAX);
	o->n++;
	next_request(v);
}

void
visitor_close(struct visitor *v)
{
	struct observe *o = v->observe;

	if (!io_is_open(&v->io))
		return;
	/* What is cut short must not look complete. */
	if (v->more != NULL || buf_len(&v->out) > 0)
		sock_reset_on_close(io_fd(&v->io));
	stream_leave(v);
	free(v->only);
	v->only = NULL;
	ev_timer_stop(o->loop, &v->deadline);
	io_close(o->loop, &v->io);
	leave_observe_place(v);
	list_append(&o->dead, &v->link);
	o->n--;
	ev_prepare_start(o->loop, &o->reap);
}
