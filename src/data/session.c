/* session.c - one TCP client and the backend it was given.
 * Thread: owning worker. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "data/arrival.h"
#include "data/door.h"
#include "data/proxied.h"
#include "data/proxy.h"
#include "data/session.h"
#include "net/sock.h"
#include "net/tls_client.h"

/* Seconds after which a connection is worth a keepalive timer. */
#define KEEPALIVE_AFTER 1.0
/* Whoever moved bytes so many seconds ago is in the middle of something. */
#define BUSY_WITHIN 1.0
/* Backends that could not be reached, as a log line names them. */
#define TRIED_TOLD 8
/* Who waits for a backend may come back so much later to one that failed. */
#define TRY_AGAIN_AFTER 1.0
#define TRIED_TEXT (TRIED_TOLD * (ADDR_TEXT + 3) + 16)

static struct tally_color *
tally_of(struct session *s)
{
	return &s->lane->tally->colors[s->entrance][s->color];
}

void
session_peer(const struct session *s, struct addr *out)
{
	endpoint_get(&s->peer, out);
}

const char *
session_server_name(const struct session *s)
{
	return (const char *)(s + 1) + (s->proxied ? sizeof(struct proxied) : 0);
}

double
session_idle(const struct session *s, double now)
{
	return now - s->deadline.touched;
}

/* -- the access line ---------------------------------------------------- */

static bool
is_logged(struct lane *l, enum ending ending, struct str *share)
{
	if (!access_due(&l->worker->access, ending_is_error(ending), share))
		return false;
	return !ending_is_refusal(ending) || door_may_tell(l);
}

/* "\"tried\":[\"10.0.0.1:80\",…]", or nothing when the first connect did. */
static struct str
tried_json(const struct session *s, char out[TRIED_TEXT])
{
	int n = 0;

	out[0] = '\0';
	for (unsigned i = 0; s->tried != NULL && i < s->tried->n && i < TRIED_TOLD; i++)
		n += snprintf(out + n, (size_t)(TRIED_TEXT - n), "%s\"%s\"", i > 0 ? "," : "\"tried\":[",
			      s->tried->list[i]->text);
	if (n > 0)
		snprintf(out + n, (size_t)(TRIED_TEXT - n), "]");
	return str_from(out);
}

/* "\"sni\":…,\"tls\":…" */
static struct str
tls_json(struct session *s, struct buf *b)
{
	struct tls_facts f = { 0 };
	struct json j;

	buf_init(b, 2048);
	if (!io_is_tls(&s->client) && !s->named)
		return STR("");
	json_init(&j, b);
	if (io_is_tls(&s->client))
		tls_facts(s->client.tls, &f);
	else
		f.server_name = session_server_name(s);
	if (f.server_name[0] != '\0')
		json_cstr(&j, "sni", f.server_name);
	if (f.protocol != NULL) {
		json_cstr(&j, "tls", f.protocol);
		json_cstr(&j, "cipher", f.cipher);
		json_bool(&j, "resumed", f.resumed);
	}
	if (f.peer != NULL)
		json_cstr(&j, "subject", f.peer->subject);
	return b->failed ? STR("") : buf_str(b);
}

static void
log_access(struct session *s, enum ending ending, struct str share, double now)
{
	const struct service_config *sc = s->lane->service->config;
	char client[ADDR_TEXT], proxied[PROXIED_TEXT], tried[TRIED_TEXT];
	struct addr peer;
	struct buf tls;

	session_peer(s, &peer);
	LOG_INFO("tcp.session", LS("service", sc->name), LR(NULL, str_from(sc->labels_json)),
		 LS("entrance", s->entrance == ENTRANCE_MAIN ? "main" : "preview"),
		 LS("client", addr_format(&peer, client)), LR(NULL, str_from(proxied_json(s, proxied))),
		 LR(NULL, tls_json(s, &tls)), LS("backend", s->backend != NULL ? s->backend->text : ""),
		 LS("color", color_word((enum color)s->color)), LU("epoch", s->epoch), LU("bytes_in", s->up.bytes),
		 LU("bytes_out", s->down.bytes), LF("seconds", now - s->born),
		 LF("connect_seconds", s->connect_seconds >= 0 ? (double)s->connect_seconds : 0.0),
		 LU("retries", s->retries), LR(NULL, tried_json(s, tried)), LS("end", ending_word(ending)),
		 LR(NULL, share));
	buf_free(&tls);
}

/* -- the end ------------------------------------------------------------ */

static void
drop_backend(struct session *s)
{
	if (s->backend == NULL)
		return;
	backend_leave(s->backend);
	backend_unref(&s->backend);
}

void
session_forget_tried(struct session *s)
{
	for (unsigned i = 0; s->tried != NULL && i < s->tried->n; i++)
		backend_unref(&s->tried->list[i]);
	free(s->tried);
	s->tried = NULL;
}

/* A stream that is cut short must not look complete to its reader. */
static bool
is_truncated(const struct session *s, const struct relay *r, enum ending ending, enum ending lost)
{
	if (ending == lost || relay_is_blocked(r))
		return true;
	if (r->eof)
		return false;
	switch (ending) {
	case END_MEMORY:
	case END_INTERNAL:
		return true;
	case END_DRAINED:
	case END_STOP:
		/* Where nothing moves nothing is cut, and the end may be polite. */
		return session_idle(s, s->lane->worker->now) < BUSY_WITHIN;
	default:
		return false;
	}
}

/* Whatever comes next, it is judged by what is true now. */
static void
leave_queue(struct session *s)
{
	struct lane *l = s->lane;

	CHECK(s->state == SESSION_WAITING);
	queue_leave(l, &s->waiter);
	deadline_disarm(&s->deadline);
	s->color = (uint8_t)l->snapshot->active;
	s->epoch = l->snapshot->epoch;
}

void
session_end(struct session *s, enum ending ending)
{
	struct lane *l = s->lane;
	struct worker *w = l->worker;
	bool counted = s->state != SESSION_WAITING;
	struct str share;
	struct tally_color *t;

	ON_WORKER(w);
	CHECK(s->magic == SESSION_MAGIC && s->state != SESSION_ENDED);
	if (!counted)
		leave_queue(s);
	t = tally_of(s);
	if (s->state == SESSION_LIVE && ending != END_DONE) {
		if (is_truncated(s, &s->down, ending, END_BACKEND_RESET))
			io_reset_on_close(&s->client);
		if (is_truncated(s, &s->up, ending, END_CLIENT_RESET))
			io_reset_on_close(&s->server);
	}
	if (is_logged(l, ending, &share))
		log_access(s, ending, share, w->now);
	s->state = SESSION_ENDED;
	deadline_disarm(&s->deadline);
	io_close(w->loop, &s->client);
	io_close(w->loop, &s->server);
	relay_end(&s->up, &w->room);
	relay_end(&s->down, &w->room);
	drop_backend(s);
	session_forget_tried(s);
	if (counted)
		tally_add(&t->active, (uint64_t)-1);
	tally_add(&t->ended[ending], 1);
	tally_add(&t->bytes_in, s->up.bytes);
	tally_add(&t->bytes_out, s->down.bytes);
	admission_leave(&w->proxy->descriptors, 2);
	list_remove(&s->link);
	list_append(&w->ended, &s->link);
	if (w->starved)
		worker_hurry(w);
	/* Last, for it may let in and begin another. */
	door_leave(s);
}

/* -- moving bytes ------------------------------------------------------- */

static bool
is_reset(int e)
{
	return e == ECONNRESET || e == EPIPE || e == ECONNABORTED || e == ENOTCONN || e == ETIMEDOUT ||
	       e == EHOSTUNREACH || e == ENETUNREACH || e == ECONNREFUSED || e == EPROTO;
}

/* Who has to do something next: whoever was spoken to last, or does not take
 * what waits for it. */
static void
take_turn(struct session *s, bool up)
{
	bool backends = !relay_is_blocked(&s->down) && (relay_is_blocked(&s->up) || (up && !s->down.eof) || s->up.eof);

	if (s->backends_turn == backends)
		return;
	s->backends_turn = backends;
	deadline_arm(s->lane->idle_clock[backends], &s->deadline, s->lane->worker->now);
}

/* Moves one direction; false when that ended the session. */
static bool
move(struct session *s, bool up)
{
	struct relay *r = up ? &s->up : &s->down, *other = up ? &s->down : &s->up;
	struct io *from = up ? &s->client : &s->server, *to = up ? &s->server : &s->client;
	enum ending ending = END_INTERNAL;
	uint64_t before = r->bytes;

	switch (relay_move(r, from, to, &s->lane->worker->room, other->done)) {
	case RELAY_OK:
		if (s->lane->turns && (r->bytes != before || r->eof))
			take_turn(s, up);
		return true;
	case RELAY_SOURCE_FAILED:
		if (is_reset(errno))
			ending = up ? END_CLIENT_RESET : END_BACKEND_RESET;
		break;
	case RELAY_DESTINATION_FAILED:
		if (is_reset(errno))
			ending = up ? END_BACKEND_RESET : END_CLIENT_RESET;
		/* Often it said why before it closed ("too large", "too many"). */
		relay_rescue(other, to, from, &s->lane->worker->room);
		break;
	case RELAY_NO_MEMORY:
		ending = END_MEMORY;
		break;
	}
	session_end(s, ending);
	return false;
}

/* Keepalive costs a timer in the kernel on either leg, so only a connection
 * that has lived a while gets it; without an idle_timeout nobody else would
 * ever notice a dead peer, so then it gets it at once. */
static void
keep_alive(struct session *s)
{
	const struct tcp_options *o = &s->lane->service->config->tcp;
	const struct sock_pace pace = { o->keepalive_idle, o->keepalive_interval, o->keepalive_count };

	s->kept = 1;
	if (!o->keepalive)
		return;
	sock_keepalive(io_fd(&s->client), &pace);
	sock_keepalive(io_fd(&s->server), &pace);
}

/* After every event: over, or wait for what each side's state asks for. */
static void
settle(struct session *s)
{
	struct worker *w = s->lane->worker;
	double now = w->now;

	if (s->up.done && s->down.done) {
		session_end(s, END_DONE);
		return;
	}
	deadline_touch(s->lane->idle_clock[s->backends_turn], &s->deadline, now);
	if (!s->kept && now - s->born >= KEEPALIVE_AFTER)
		keep_alive(s);
	io_want(w->loop, &s->client, relay_wants(&s->up, &s->down));
	io_want(w->loop, &s->server, relay_wants(&s->down, &s->up));
}

static void
session_on_client(struct ev_loop *loop, ev_io *w, int revents)
{
	struct session *s = container_of(w, struct session, client.watcher);

	(void)loop;
	CHECK(s->magic == SESSION_MAGIC);
	CHECK(s->state == SESSION_LIVE);
	revents = io_events(&s->client, revents);
	if ((revents & EV_READ) && !move(s, true))
		return;
	if ((revents & EV_WRITE) && !move(s, false))
		return;
	settle(s);
}

/* Without memory for the note it may be tried once more, that is all. */
static void
note_failed(struct session *s)
{
	unsigned n = s->tried != NULL ? s->tried->n : 0;
	struct session_tried *tried = realloc(s->tried, sizeof(*tried) + (n + 1) * sizeof(struct backend *));

	backend_failed(s->backend);
	s->lane->refused = true;
	if (tried == NULL)
		return;
	tried->list[n] = backend_ref(s->backend);
	tried->n = n + 1;
	s->tried = tried;
}

static void dial(struct session *s, enum ending otherwise);

static bool
tells(const struct session *s)
{
	return s->lane->service->config->proxy_protocol.send != SEND_NONE;
}

static void
connect_failed(struct session *s)
{
	note_failed(s);
	io_close(s->lane->worker->loop, &s->server);
	dial(s, END_CONNECT);
}

static void
go_live(struct session *s)
{
	struct lane *l = s->lane;
	double now = l->worker->now;

	backend_connected(s->backend);
	s->state = SESSION_LIVE;
	s->connect_seconds = (float)(now - s->born);
	tally_observe(&tally_of(s)->connect_seconds, now - s->dialed);
	list_remove(&s->link);
	list_append(s->entrance == ENTRANCE_MAIN ? &l->live[s->color] : &l->previews, &s->link);
	deadline_arm(l->idle_clock[0], &s->deadline, now);
	if (l->idle_clock[0]->after <= 0 || l->idle_clock[1]->after <= 0)
		keep_alive(s);
	/* A client that speaks first has spoken by now, and its bytes carried the
	 * handshake's last ACK; else the backend, which may want to speak first,
	 * has to see that packet before it knows of us. */
	if (!move(s, true))
		return;
	if (s->up.bytes == 0 && !io_is_tls(&s->server))
		(tells(s) ? sock_push : sock_ack_now)(io_fd(&s->server));
	settle(s);
}

/* TLS with the backend is a part of reaching it. */
static void
shake(struct session *s)
{
	struct lane *l = s->lane;

	switch (io_handshake(&s->server)) {
	case 0:
		io_want(l->worker->loop, &s->server, EV_READ);
		return;
	case 1:
		go_live(s);
		return;
	}
	if (door_may_tell(l))
		LOG_WARN("backend.tls", LS("service", l->service->config->name),
			 LR(NULL, str_from(l->service->config->labels_json)), LS("backend", s->backend->text),
			 LS("error", io_error(&s->server)));
	note_failed(s);
	io_close(l->worker->loop, &s->server);
	dial(s, END_BACKEND_TLS);
}

/* TCP has reached it; what has to be said first is said. */
static void
on_reached(struct session *s)
{
	struct backend *b = s->backend;
	struct lane *l = s->lane;
	struct tls *t;

	if (tells(s) && !proxied_tell(s)) {
		connect_failed(s);
		return;
	}
	if (l->backend_tls == NULL) {
		go_live(s);
		return;
	}
	t = tls_connect(l->backend_tls, io_fd(&s->server), b->server_name, &b->memories[l->worker->index]);
	if (t == NULL) {
		session_end(s, END_MEMORY);
		return;
	}
	io_start_tls(&s->server, &t);
	shake(s);
}

static void
session_on_server(struct ev_loop *loop, ev_io *w, int revents)
{
	struct session *s = container_of(w, struct session, server.watcher);

	(void)loop;
	CHECK(s->magic == SESSION_MAGIC && s->state != SESSION_ENDED);
	if (s->state == SESSION_DIALING) {
		if (io_is_tls(&s->server))
			shake(s);
		else if (sock_error(io_fd(&s->server)) != 0)
			connect_failed(s);
		else
			on_reached(s);
		return;
	}
	revents = io_events(&s->server, revents);
	if ((revents & EV_READ) && !move(s, false))
		return;
	if ((revents & EV_WRITE) && !move(s, true))
		return;
	settle(s);
}

/* -- reaching a backend ------------------------------------------------- */

static void
set_color(struct session *s, enum color color)
{
	if (s->color == color)
		return;
	tally_add(&tally_of(s)->active, (uint64_t)-1);
	s->color = (uint8_t)color;
	tally_add(&tally_of(s)->active, 1);
}

void
session_recolor(struct session *s)
{
	enum color active = s->lane->snapshot->active;

	set_color(s, s->entrance == ENTRANCE_MAIN ? active : color_other(active));
	s->epoch = s->lane->snapshot->epoch;
}

enum tried { TRIED_WELL, TRIED_FAILED, TRIED_STARVED };

/* One connect to a backend on which a place was taken; FAILED when it failed at
 * once, STARVED when it could not even begin because descriptors or memory are
 * out. */
static enum tried
try_backend(struct session *s, struct backend *b)
{
	const struct service_config *sc = s->lane->service->config;
	const struct sock_connect options = {
		.source = &sc->source_address,
		.congestion = sc->tcp.congestion,
		.user_timeout = sc->tcp.user_timeout,
	};
	struct worker *w = s->lane->worker;
	bool pending;
	int fd;

	drop_backend(s);
	s->dialed = w->now;
	fd = sock_connect(&b->address, &options, &pending);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		backend_leave(b);
		worker_starve(w, strerror(errno));
		return TRIED_STARVED;
	}
	if (s->tries++ > 0) {
		s->retries++;
		tally_add(&tally_of(s)->retries, 1);
	}
	s->backend = backend_ref(b);
	if (fd < 0) {
		note_failed(s);
		return TRIED_FAILED;
	}
	io_init(&s->server, fd, session_on_server);
	deadline_arm(s->lane->connect_clock, &s->deadline, s->dialed);
	if (pending)
		io_want(w->loop, &s->server, EV_WRITE);
	else
		on_reached(s);
	return TRIED_WELL;
}

/* Takes a place on the backend whose turn it is; NULL: nobody is left. */
static struct backend *
choose(struct session *s, const struct snapshot_color *sc)
{
	const struct service_config *config = s->lane->service->config;
	const struct balance_ask ask = {
		.policy = config->balance,
		.limit = config->backend_max_connections,
		.source = s->peer.family == AF_UNIX ? NULL : s->peer.ip,
		.source_len = s->peer.family == AF_INET ? 4 : 16,
		.tried = s->tried != NULL ? s->tried->list : NULL,
		.n_tried = s->tried != NULL ? s->tried->n : 0,
		.random = &s->lane->worker->random,
	};

	return balance_take(sc, &s->lane->rounds[s->color], &ask);
}

/* The same for one that may still try; NULL as well when it may not. */
static struct backend *
choose_next(struct session *s)
{
	if (s->tries > s->lane->service->config->retries)
		return NULL;
	return choose(s, &s->lane->snapshot->colors[s->color]);
}

/* Nobody was left to choose: was that because of those that are full? */
static bool
is_full(const struct session *s, const struct snapshot_color *sc)
{
	unsigned left = sc->n;

	if (s->lane->service->config->backend_max_connections == 0)
		return false;
	for (unsigned i = 0; s->tried != NULL && i < sc->n; i++)
		for (unsigned k = 0; k < s->tried->n; k++)
			if (s->tried->list[k] == sc->usable[i]) {
				left--;
				break;
			}
	return left > 0;
}

static void
join_queue(struct session *s, enum queue_end end)
{
	struct lane *l = s->lane;

	s->state = SESSION_WAITING;
	deadline_arm(l->queue_clock, &s->deadline, l->worker->now);
	queue_join(l, &s->waiter, end);
}

/* It was let in, but every backend that it could reach is full: it gives its
 * place back and waits, if it may.  Who had been dialing came before those who
 * wait. */
static bool
await_backend(struct session *s)
{
	struct lane *l = s->lane;

	if (!s->has_place || s->tries > l->service->config->retries || !queue_is_on(l) ||
	    !is_full(s, &l->snapshot->colors[s->color]) || !admission_enter(&l->service->queue, 1))
		return false;
	drop_backend(s);
	tally_add(&tally_of(s)->active, (uint64_t)-1);
	list_remove(&s->link);
	s->has_place = 0;
	admission_leave(&l->service->admission, 1);
	join_queue(s, s->retries > 0 ? QUEUE_FRONT : QUEUE_BACK);
	return true;
}

/* Reaches b or, when that fails at once, another; or waits, or ends: by
 * `otherwise` when some were tried before. */
static void
dial_from(struct session *s, struct backend *b, enum ending otherwise)
{
	struct lane *l = s->lane;

	for (; b != NULL; b = choose_next(s)) {
		switch (try_backend(s, b)) {
		case TRIED_WELL:
			return;
		case TRIED_FAILED:
			otherwise = END_CONNECT;
			break;
		case TRIED_STARVED:
			/* It waits, connect_timeout at most, until worker_resume(). */
			if (list_empty(&s->deadline.link))
				deadline_arm(l->connect_clock, &s->deadline, s->dialed);
			return;
		}
	}
	if (await_backend(s))
		return;
	if (s->tries > 0)
		session_end(s, otherwise);
	else
		session_end(s, l->snapshot->colors[s->color].n == 0 ? END_NO_BACKEND : END_BACKEND_LIMIT);
}

static void
dial(struct session *s, enum ending otherwise)
{
	CHECK(s->state == SESSION_DIALING && !io_is_open(&s->server));
	session_recolor(s);
	dial_from(s, choose_next(s), otherwise);
}

void
session_dial(struct session *s)
{
	dial(s, END_CONNECT);
}

static enum ending
idle_ending(const struct session *s)
{
	const struct service_config *sc = s->lane->service->config;

	if (s->backends_turn)
		return sc->server_timeout >= 0 ? END_SERVER_TIMEOUT : END_IDLE;
	return sc->client_timeout >= 0 ? END_CLIENT_TIMEOUT : END_IDLE;
}

/* It was let in and is in no list: counts it, as one of the active color. */
static void
begin(struct session *s)
{
	s->state = SESSION_DIALING;
	s->color = (uint8_t)s->lane->snapshot->active;
	list_append(&s->lane->dialing, &s->link);
	tally_add(&tally_of(s)->active, 1);
}

/* -- waiting for its turn ------------------------------------------------- */

static int
waiting_client(const struct waiter *w)
{
	return io_fd(&container_of(w, struct session, waiter)->client);
}

static bool
waiting_begin(struct waiter *w)
{
	struct session *s = container_of(w, struct session, waiter);
	struct lane *l = s->lane;
	enum color active = l->snapshot->active;
	struct backend *b;

	CHECK(s->magic == SESSION_MAGIC && s->state == SESSION_WAITING);
	if (s->color != active) {
		s->color = (uint8_t)active;
		s->tries = 0;
		session_forget_tried(s);
	}
	if (s->tried != NULL && l->worker->now - s->dialed >= TRY_AGAIN_AFTER)
		session_forget_tried(s);
	b = choose_next(s);
	if (b == NULL && l->snapshot->colors[active].n > 0)
		return false;
	leave_queue(s);
	s->has_place = 1;
	begin(s);
	dial_from(s, b, END_CONNECT);
	return true;
}

static void
waiting_end(struct waiter *w, enum ending ending)
{
	session_end(container_of(w, struct session, waiter), ending);
}

static const struct waiter_ops waiting_ops = { waiting_client, waiting_begin, waiting_end };

/* -- its time is over -------------------------------------------------------- */

void
session_on_deadline(struct deadline *d)
{
	struct session *s = container_of(d, struct session, deadline);

	CHECK(s->magic == SESSION_MAGIC);
	if (s->state == SESSION_LIVE) {
		session_end(s, idle_ending(s));
		return;
	}
	if (s->state == SESSION_WAITING) {
		session_end(s, END_QUEUE_TIMEOUT);
		return;
	}
	if (!io_is_open(&s->server)) {
		session_end(s, END_MEMORY);
		return;
	}
	note_failed(s);
	io_close(s->lane->worker->loop, &s->server);
	dial(s, END_CONNECT_TIMEOUT);
}

/* -- birth -------------------------------------------------------------- */

void
session_refuse(const struct session_refusal *r)
{
	struct lane *l = r->lane;
	enum color active = lane_active(l),
		   color = r->entrance == ENTRANCE_MAIN ? active : color_other(active);
	const struct service_config *sc = l->service->config;
	char text[ADDR_TEXT];
	struct addr client;
	struct str share;

	tally_add(&l->tally->colors[r->entrance][color].ended[r->ending], 1);
	if (!is_logged(l, r->ending, &share))
		return;
	endpoint_get(&r->client, &client);
	LOG_INFO("tcp.session", LS("service", sc->name), LR(NULL, str_from(sc->labels_json)),
		 LS("entrance", r->entrance == ENTRANCE_MAIN ? "main" : "preview"),
		 LS("client", addr_format(&client, text)), LR(NULL, r->more), LS("backend", ""),
		 LS("color", color_word(color)), LU("epoch", l->snapshot != NULL ? l->snapshot->epoch : 0), LU("bytes_in", 0),
		 LU("bytes_out", 0), LF("seconds", r->seconds), LF("connect_seconds", 0.0), LU("retries", 0),
		 LS("end", ending_word(r->ending)), LR(NULL, share));
}

/* Turned away at the door: the pass, if any, is given back. */
static void
turn_away(const struct arrival_facts *facts, enum ending why)
{
	const struct session_refusal r = {
		.lane = facts->lane,
		.entrance = facts->entrance,
		.ending = why,
		.client = facts->client,
		.seconds = facts->lane->worker->now - facts->accepted,
	};
	struct addr client;

	admission_leave(&r.lane->worker->proxy->descriptors, 2);
	session_refuse(&r);
	endpoint_get(&facts->client, &client);
	door_return(r.lane, &client, &facts->pass);
}

void
session_arrive(struct io *io, const struct arrival_facts *facts)
{
	/* Whoever is passed through is known by what it asked for. */
	const char *name = facts->tls == NULL && facts->server_name != NULL ? facts->server_name : "";
	size_t n_name = name[0] != '\0' ? strlen(name) + 1 : 0;
	size_t size = sizeof(struct session) + (facts->proxied ? sizeof(struct proxied) : 0) + n_name;
	struct session *s = calloc(1, size);
	struct lane *l = facts->lane;
	struct worker *w = l->worker;

	if (s == NULL) {
		io_close(w->loop, io);
		turn_away(facts, END_MEMORY);
		return;
	}
	s->magic = SESSION_MAGIC;
	s->entrance = (uint8_t)facts->entrance;
	s->lane = l;
	s->born = facts->accepted;
	s->connect_seconds = -1;
	s->slot = (float)random_unit(&w->random);
	s->peer = facts->client;
	if (facts->proxied) {
		s->proxied = 1;
		*proxied_of(s) = (struct proxied){ facts->peer, facts->destination };
	}
	if (n_name > 0) {
		s->named = 1;
		memcpy((char *)s + size - n_name, name, n_name);
	}
	io_move(w->loop, io, &s->client, session_on_client);
	io_init(&s->server, -1, session_on_server);
	deadline_init(&s->deadline);
	list_init(&s->link);
	s->waiter.ops = &waiting_ops;
	door_enter(s, &facts->pass);
	if (facts->door == DOOR_QUEUE) {
		join_queue(s, QUEUE_BACK);
		return;
	}
	begin(s);
	session_dial(s);
}

void
session_new(struct lane *l, enum entrance entrance, int fd, const struct addr *client)
{
	struct arrival_facts facts = { .lane = l, .entrance = entrance, .accepted = l->worker->now };
	enum ending why;
	struct io io;

	endpoint_set(&facts.client, client);
	facts.door = door_ask(l, entrance, client, &facts.pass, &why);
	if (facts.door == DOOR_SHUT) {
		close(fd);
		turn_away(&facts, why);
		return;
	}
	io_init(&io, fd, session_on_client);
	session_arrive(&io, &facts);
}

/* Sends p, or keeps it for later; false without memory. */
static bool
pass_on(struct relay *r, struct io *to, struct str p)
{
	ssize_t n = p.n > 0 ? io_write(to, p.p, p.n, false) : 0;

	/* A socket that failed will say so again. */
	if (n < 0)
		n = 0;
	return (size_t)n == p.n || relay_hold(r, p.p + n, p.n - (size_t)n);
}

struct session *
session_adopt(const struct session_legs *legs)
{
	struct lane *l = legs->lane;
	struct worker *w = l->worker;
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL || !pass_on(&s->down, legs->client, legs->to_client) ||
	    !pass_on(&s->up, legs->server, legs->to_server)) {
		if (s != NULL) {
			relay_end(&s->down, &w->room);
			relay_end(&s->up, &w->room);
		}
		free(s);
		return NULL;
	}
	s->magic = SESSION_MAGIC;
	s->state = SESSION_LIVE;
	s->entrance = (uint8_t)legs->entrance;
	s->color = (uint8_t)legs->color;
	s->epoch = legs->epoch;
	s->lane = l;
	s->born = s->dialed = w->now;
	s->slot = (float)random_unit(&w->random);
	s->peer = legs->peer;
	s->has_place = legs->place;
	s->has_source = legs->source;
	s->up.bytes = legs->to_server.n;
	s->down.bytes = legs->bytes_out;
	backend_enter(legs->backend, 0);
	s->backend = backend_ref(legs->backend);
	io_move(w->loop, legs->client, &s->client, session_on_client);
	io_move(w->loop, legs->server, &s->server, session_on_server);
	deadline_init(&s->deadline);
	tally_add(&tally_of(s)->active, 1);
	list_append(s->entrance == ENTRANCE_MAIN ? &l->live[s->color] : &l->previews, &s->link);
	deadline_arm(l->idle_clock[0], &s->deadline, w->now);
	if (l->idle_clock[0]->after <= 0 || l->idle_clock[1]->after <= 0)
		keep_alive(s);
	return s;
}

void
session_start(struct session *s)
{
	settle(s);
}
