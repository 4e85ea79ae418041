/* session.c - one TCP client and the backend it was given.
 * Thread: owning worker. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "data/access.h"
#include "data/handshake.h"
#include "data/proxy.h"
#include "data/proxy_protocol_session.h"
#include "data/tcp/session_private.h"
#include "data/tcp/websocket.h"
#include "net/sock.h"
#include "net/tls_client.h"
#include "proto/ws_frames.h"

/* A session that moved bytes within so many seconds is busy. */
#define BUSY_WITHIN 1.0

const char *
session_server_name(const struct session *s)
{
	return (const char *)(s + 1) + (s->proxy_protocol ? sizeof(struct proxy_protocol_facts) : 0);
}

double
session_idle(const struct session *s, double now)
{
	return now - s->dial.deadline.touched;
}

/* -- the access line ---------------------------------------------------- */

static void
log_access(struct session *s, enum ending ending, struct str share, double now)
{
	const struct service_config *sc = s->dial.lane->config;
	char client[ADDR_TEXT], header[PROXY_PROTOCOL_TEXT], tried[TRIED_TEXT];
	const struct proxy_protocol_facts *behind = proxy_protocol_of(s);
	struct addr peer;
	struct buf tls = { 0 };	/* log.level may leave the line out, and what fills this with it */
	char close_code[32];

	snprintf(close_code, sizeof(close_code), "\"close_code\":%d", WS_GOING_AWAY);
	endpoint_get(&s->dial.peer, &peer);
	LOG_INFO("tcp.session", LS("service", sc->name), LR(NULL, str_from(sc->labels_json)),
		 LS("entrance", s->dial.entrance == ENTRANCE_MAIN ? "main" : "preview"),
		 LS("client", addr_format(&peer, client)), LR(NULL, str_from(proxy_protocol_peer_json(behind != NULL ? &behind->peer : NULL, header))),
		 LR(NULL, access_tls(io_tls(&s->client), s->named ? session_server_name(s) : "", (double)s->tls_seconds, &tls)),
		 LS("backend", s->dial.backend != NULL ? s->dial.backend->text : ""),
		 service_color_field(sc, (enum color)s->dial.color), service_epoch_field(sc, s->dial.epoch), LU("bytes_in", s->up.bytes),
		 LU("bytes_out", s->down.bytes), LF("seconds", now - s->dial.born),
		 access_seconds("queue_seconds", s->dial.queued > 0 ? (double)s->dial.queued : -1),
		 LF("connect_seconds", s->dial.connect_seconds >= 0 ? (double)s->dial.connect_seconds : 0.0),
		 access_seconds("first_byte_seconds", s->first_byte),
		 LU("retries", s->dial.retries), LR(NULL, tried_json(s->dial.tried, tried)), LS("end", ending_word(ending)),
		 LR(NULL, s->told ? str_from(close_code) : STR("")), LR(NULL, share));
	buf_free(&tls);
}

/* -- the end ------------------------------------------------------------ */

/* A stream that is cut short must not look complete to its reader. */
static bool
is_truncated(const struct session *s, const struct relay *r, enum ending ending, enum ending lost)
{
	if (ending == lost || relay_is_blocked(r))
		return true;
	if (r->eof || (s->told && r == &s->down))
		return false;
	switch (ending) {
	case END_MEMORY:
	case END_INTERNAL:
	case END_BACKEND_DOWN:
		return true;
	case END_DRAINED:
	case END_PREVIEW:
	case END_STOP:
		/* Where nothing moves nothing is cut, and the end may be polite. */
		return session_idle(s, s->dial.lane->worker->now) < BUSY_WITHIN;
	default:
		return false;
	}
}

/* For a bake. */
static void
mark_session(const struct session *s, unsigned how)
{
	struct lane *l = s->dial.lane;
	const uint8_t *client;
	size_t n;

	if (s->dial.entrance != ENTRANCE_MAIN || l->config->colorless || s->frames != NULL)
		return;
	client = endpoint_source(&s->dial.permit.client, &n);
	judged_mark(&l->service->judged, dial_tally(&s->dial), client, n, how);
}

/* What its end says of its color: the first byte has been marked before. */
static unsigned
judge_session(const struct session *s, enum ending ending)
{
	bool answered = s->down.bytes > 0;

	/* It was asked something, and said nothing. */
	if (ending == END_DONE && !answered)
		return s->up.bytes > 0 ? JUDGE_EMPTY : JUDGED_NOT;
	return judged_ending(ending, answered);
}

void
session_end(struct session *s, enum ending ending)
{
	struct lane *l = s->dial.lane;
	struct worker *w = l->worker;
	struct str share;
	struct tally_color *t;

	ON_WORKER(w);
	CHECK(s->magic == SESSION_MAGIC && s->dial.state != DIAL_ENDED);
	dial_leave_queue(&s->dial);
	t = dial_tally(&s->dial);
	if (s->dial.state == DIAL_REACHED && ending != END_DONE) {
		s->told = websocket_tell(s, ending);
		if (is_truncated(s, &s->down, ending, END_BACKEND_RESET))
			io_reset_on_close(&s->client);
		if (is_truncated(s, &s->up, ending, END_CLIENT_RESET))
			io_reset_on_close(&s->server);
	}
	/* Counted before anybody can know of its end: tally.h. */
	tally_add(&t->bytes_in, s->up.bytes);
	tally_add(&t->bytes_out, s->down.bytes);
	if (s->dial.backend != NULL)
		backend_account_bytes(s->dial.backend->account, w->index, s->up.bytes, s->down.bytes);
	mark_session(s, judge_session(s, ending));
	tally_add(&t->ended[ending], 1);
	if (access_is_due(l, ending, ending_is_error(ending), &share))
		log_access(s, ending, share, w->now);
	io_close(w->loop, &s->client);
	io_close(w->loop, &s->server);
	relay_end(&s->up, &w->buffers);
	relay_end(&s->down, &w->buffers);
	free(s->frames);
	s->frames = NULL;
	dial_end(&s->dial);
	permit_release(&s->dial.permit);
	/* Its place on the backend is free. */
	queue_wake(l);
}

/* -- moving bytes ------------------------------------------------------- */

static enum ending
ending_of(int error, enum ending reset)
{
	switch (error) {
	case ECONNRESET:
	case EPIPE:
	case ECONNABORTED:
	case ENOTCONN:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ECONNREFUSED:
	case EPROTO:
		return reset;
	case ENOMEM:
		return END_MEMORY;
	}
	return END_INTERNAL;
}

/* The side whose turn it is: the one that was sent something last, or that does not
 * take what waits for it. */
static void
take_turn(struct session *s, bool up)
{
	bool backends = !relay_is_blocked(&s->down) && (relay_is_blocked(&s->up) || (up && !s->down.eof) || s->up.eof);

	if (s->backends_turn == backends)
		return;
	s->backends_turn = backends;
	deadline_arm(s->dial.lane->idle_clock[backends], &s->dial.deadline, s->dial.lane->worker->now);
}

/* Moves one direction; false when that ended the session. */
static bool
move(struct session *s, bool up)
{
	struct relay *r = up ? &s->up : &s->down, *other = up ? &s->down : &s->up;
	struct io *from = up ? &s->client : &s->server, *to = up ? &s->server : &s->client;
	enum ending ending = END_MEMORY;
	uint64_t before = r->bytes;

	switch (!up && s->frames != NULL ? websocket_move(s, other->done) :
					   relay_move(r, from, to, &s->dial.lane->worker->buffers, other->done)) {
	case RELAY_OK:
		if (before == 0 && r->bytes > 0 && !up) {
			s->first_byte = s->dial.lane->worker->now - s->dial.born;
			mark_session(s, JUDGED_WELL);
		}
		if (s->dial.lane->turns && (r->bytes != before || r->eof))
			take_turn(s, up);
		return true;
	case RELAY_SOURCE_FAILED:
		ending = ending_of(errno, up ? END_CLIENT_RESET : END_BACKEND_RESET);
		break;
	case RELAY_DESTINATION_FAILED:
		ending = ending_of(errno, up ? END_BACKEND_RESET : END_CLIENT_RESET);
		/* Often it said why before it closed ("too large", "too many"). */
		relay_rescue(other, to, from, &s->dial.lane->worker->buffers);
		break;
	case RELAY_NO_MEMORY:
		break;
	}
	session_end(s, ending);
	return false;
}

void
session_watch(struct session *s)
{
	struct ev_loop *loop = s->dial.lane->worker->loop;

	io_want(loop, &s->client, relay_wants(&s->up, &s->down));
	io_want(loop, &s->server, relay_wants(&s->down, &s->up));
}

/* After every event. */
static void
settle_session(struct session *s)
{
	if (s->up.done && s->down.done) {
		session_end(s, END_DONE);
		return;
	}
	deadline_touch(s->dial.lane->idle_clock[s->backends_turn], &s->dial.deadline, s->dial.lane->worker->now);
	session_watch(s);
}

void
session_on_client(struct ev_loop *loop, ev_io *w, int revents)
{
	struct session *s = container_of(w, struct session, client.watcher);

	(void)loop;
	CHECK(s->magic == SESSION_MAGIC);
	CHECK(s->dial.state == DIAL_REACHED);
	revents = io_events(&s->client, revents);
	if ((revents & EV_READ) && !move(s, true))
		return;
	if ((revents & EV_WRITE) && !move(s, false))
		return;
	settle_session(s);
}

void
session_go_live(struct session *s)
{
	struct lane *l = s->dial.lane;

	backend_connected(s->dial.backend);
	deadline_arm(l->idle_clock[0], &s->dial.deadline, l->worker->now);
	/* A client that speaks first has spoken by now, and its bytes carried the
	 * handshake's last ACK; else the backend, which may want to speak first,
	 * has to see that packet before it knows of us. */
	if (!move(s, true))
		return;
	if (s->up.bytes == 0 && !io_is_tls(&s->server))
		(l->config->proxy_protocol.send != SEND_NONE ? sock_push : sock_ack_now)(io_fd(&s->server));
	settle_session(s);
}

void
session_on_server(struct ev_loop *loop, ev_io *w, int revents)
{
	struct session *s = container_of(w, struct session, server.watcher);

	(void)loop;
	CHECK(s->magic == SESSION_MAGIC && s->dial.state != DIAL_ENDED);
	if (s->dial.state == DIAL_DIALING) {
		dial_on_event(&s->dial);
		return;
	}
	revents = io_events(&s->server, revents);
	if ((revents & EV_READ) && !move(s, false))
		return;
	if ((revents & EV_WRITE) && !move(s, true))
		return;
	settle_session(s);
}

static enum ending
idle_ending(const struct session *s)
{
	const struct service_config *sc = s->dial.lane->config;

	if (s->backends_turn)
		return sc->server_timeout >= 0 ? END_SERVER_TIMEOUT : END_IDLE;
	return sc->client_timeout >= 0 ? END_CLIENT_TIMEOUT : END_IDLE;
}

/* -- its time is over -------------------------------------------------------- */

void
session_idled(struct deadline *d)
{
	struct session *s = container_of(d, struct session, dial.deadline);

	CHECK(s->magic == SESSION_MAGIC && s->dial.state == DIAL_REACHED);
	session_end(s, idle_ending(s));
}

/* -- birth -------------------------------------------------------------- */

struct session *
session_alloc(bool proxy_header, const char *name)
{
	size_t n_name = name[0] != '\0' ? strlen(name) + 1 : 0;
	size_t size = sizeof(struct session) + (proxy_header ? sizeof(struct proxy_protocol_facts) : 0) + n_name;
	struct session *s = calloc(1, size);

	if (s == NULL)
		return NULL;
	s->magic = SESSION_MAGIC;
	s->proxy_protocol = proxy_header;
	s->named = n_name > 0;
	s->first_byte = -1;
	memcpy((char *)s + size - n_name, name, n_name);
	return s;
}

void
session_new(struct listener *li, struct io *io, struct handshake_facts *facts)
{
	/* Of TLS that is passed through only the name asked for is known. */
	const char *name = facts->tls == NULL && facts->server_name != NULL ? facts->server_name : "";
	struct session *s = session_alloc(facts->proxy_header, name);
	struct worker *w = li->worker;

	if (s == NULL) {
		io_close(w->loop, io);
		permit_refuse(&facts->permit, END_MEMORY, facts->accepted, STR(""));
		permit_release(&facts->permit);
		return;
	}
	permit_move(&s->dial.permit, &facts->permit);
	dial_init(&s->dial, s->dial.permit.preview ? ENTRANCE_PREVIEW : ENTRANCE_MAIN, WAITER_SESSION);
	s->dial.born = facts->accepted;
	s->tls_seconds = facts->tls_seconds;
	if (facts->proxy_header)
		*proxy_protocol_of(s) = (struct proxy_protocol_facts){ facts->peer, facts->destination };
	io_move(w->loop, io, &s->client, session_on_client);
	io_init(&s->server, -1, session_on_server);
	if (s->dial.permit.queued) {
		dial_join(&s->dial, QUEUE_BACK);
		return;
	}
	dial_begin(&s->dial);
	dial_next(&s->dial);
}

/* Sends p, or keeps it for later; false without memory.  back: what comes from
 * there. */
static bool
pass_bytes_on(struct relay *r, struct io *to, struct str p, struct relay *back)
{
	ssize_t n = p.n > 0 && !relay_is_blocked(r) ? io_write(to, p.p, p.n, false) : 0;

	/* A socket that failed will say so again when it is written to. */
	if (n < 0) {
		relay_source_failed(back);
		n = 0;
	}
	return (size_t)n == p.n || relay_hold(r, p.p + n, p.n - (size_t)n);
}

struct session *
session_adopt(const struct session_legs *legs)
{
	struct lane *l = legs->permit->lane;
	struct worker *w = l->worker;
	struct session *s = calloc(1, sizeof(*s));

	if (s != NULL && legs->websocket && (s->frames = calloc(1, sizeof(*s->frames))) != NULL)
		ws_frames_follow(s->frames, legs->to_client.p + legs->to_client.n - legs->bytes_out, legs->bytes_out);
	if (s != NULL) {
		s->down.held = legs->before->held;
		s->down.reset = legs->before->reset;
		legs->before->held = NULL;
	}
	if (s == NULL || !pass_bytes_on(&s->down, legs->client, legs->to_client, &s->up) ||
	    !pass_bytes_on(&s->up, legs->server, legs->to_server, &s->down)) {
		if (s != NULL) {
			relay_end(&s->down, &w->buffers);
			relay_end(&s->up, &w->buffers);
			free(s->frames);
		}
		free(s);
		return NULL;
	}
	s->magic = SESSION_MAGIC;
	s->kept = io_is_channel(legs->client);
	permit_move(&s->dial.permit, legs->permit);
	/* On a connection that others share it is a client nevertheless, and has a descriptor, its backend's. */
	if (s->kept)
		(void)permit_hold(&s->dial.permit, 1);
	dial_init(&s->dial, legs->entrance, WAITER_SESSION);
	s->dial.color = (uint8_t)legs->color;
	s->dial.epoch = legs->epoch;
	s->dial.born = w->now;
	/* They were told with the request. */
	s->tls_seconds = s->first_byte = -1;
	s->up.bytes = legs->to_server.n;
	s->down.bytes = legs->bytes_out;
	backend_enter(legs->backend, 0);
	s->dial.backend = backend_ref(legs->backend);
	io_move(w->loop, legs->client, &s->client, session_on_client);
	io_move(w->loop, legs->server, &s->server, session_on_server);
	dial_adopt(&s->dial);
	deadline_arm(l->idle_clock[0], &s->dial.deadline, w->now);
	return s;
}

void
session_start(struct session *s)
{
	settle_session(s);
}
