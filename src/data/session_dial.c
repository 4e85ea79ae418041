/* session_dial.c - a session on its way to a backend: chosen, dialed, greeted,
 * another one when that fails; or in the queue until one has room.
 * Thread: owning worker. */
#include <stdlib.h>

#include "base/log.h"
#include "data/access.h"
#include "data/proxied.h"
#include "data/proxy.h"
#include "data/session_private.h"
#include "net/sock.h"
#include "net/tls_client.h"

/* Who waits for a backend may come back so much later to one that failed. */
#define TRY_AGAIN_AFTER 1.0

static void dial(struct session *s, enum ending otherwise);

void
session_drop_backend(struct session *s)
{
	if (s->backend == NULL)
		return;
	backend_leave(s->backend);
	backend_unref(&s->backend);
}

static void
note_failed(struct session *s)
{
	backend_failed(s->backend);
	s->lane->refused = true;
	tried_add(&s->tried, s->backend);
}

/* -- it answers ------------------------------------------------------------- */

void
session_connect_failed(struct session *s, enum ending ending)
{
	note_failed(s);
	io_close(s->lane->worker->loop, &s->server);
	dial(s, ending);
}

/* TLS with the backend is a part of reaching it. */
void
session_shake(struct session *s)
{
	struct lane *l = s->lane;

	switch (io_handshake(&s->server)) {
	case 0:
		io_want(l->worker->loop, &s->server, EV_READ);
		return;
	case 1:
		session_go_live(s);
		return;
	}
	if (access_may_tell(l))
		LOG_WARN("backend.tls", LS("service", l->config->name),
			 LR(NULL, str_from(l->config->labels_json)), LS("backend", s->backend->text),
			 LS("error", io_error(&s->server)));
	session_connect_failed(s, END_BACKEND_TLS);
}

/* TCP has reached it; what has to be said first is said. */
void
session_reached(struct session *s)
{
	struct backend *b = s->backend;
	struct lane *l = s->lane;
	struct tls *t;

	if (session_tells(s) && !proxied_tell(s)) {
		session_connect_failed(s, END_CONNECT);
		return;
	}
	if (l->backend_tls == NULL) {
		session_go_live(s);
		return;
	}
	t = tls_connect(l->backend_tls, io_fd(&s->server), b->server_name, &b->memories[l->worker->index]);
	if (t == NULL) {
		session_end(s, END_MEMORY);
		return;
	}
	io_start_tls(&s->server, &t);
	session_shake(s);
}

/* -- reaching one ---------------------------------------------------------- */

static void
set_color(struct session *s, enum color color)
{
	if (s->color == color)
		return;
	tally_add(&session_tally(s)->active, (uint64_t)-1);
	s->color = (uint8_t)color;
	tally_add(&session_tally(s)->active, 1);
}

void
session_recolor(struct session *s)
{
	set_color(s, snapshot_color(s->lane->snapshot, (enum entrance)s->entrance));
	s->epoch = s->lane->snapshot->epoch;
}

enum tried_how { TRIED_WELL, TRIED_FAILED, TRIED_STARVED, TRIED_NO_PORT };

/* One connect to a backend on which a place was taken; FAILED when it failed at
 * once, STARVED when it could not even begin because descriptors or memory are
 * out, NO_PORT when no port of ours leads there. */
static enum tried_how
try_backend(struct session *s, struct backend *b)
{
	struct worker *w = s->lane->worker;
	bool pending;
	int fd;

	session_drop_backend(s);
	s->dialed = w->now;
	fd = lane_connect(s->lane, b, &pending);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		backend_leave(b);
		worker_starve(w, strerror(errno));
		return TRIED_STARVED;
	}
	if (s->tries++ > 0 || s->pauses > 0) {
		s->retries++;
		tally_add(&session_tally(s)->retries, 1);
	}
	if (fd < 0 && errno == EADDRNOTAVAIL) {
		lane_has_no_port(s->lane, (enum entrance)s->entrance, b);
		tried_add(&s->tried, b);
		backend_leave(b);
		return TRIED_NO_PORT;
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
		session_reached(s);
	return TRIED_WELL;
}

/* Takes a place on the backend whose turn it is; NULL: nobody is left. */
static struct backend *
choose(struct session *s, const struct snapshot_color *sc)
{
	const struct service_config *config = s->lane->config;
	size_t n_source;
	const uint8_t *source = endpoint_source(&s->peer, &n_source);
	const struct balance_ask ask = {
		.policy = config->balance,
		.limit = config->backend_max_connections,
		.source = source,
		.source_len = n_source,
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
	if (s->tries > s->lane->config->retries)
		return NULL;
	return choose(s, &s->lane->snapshot->colors[s->color]);
}

/* Nobody was left to choose: was that because of those that are full? */
static bool
is_full(const struct session *s, const struct snapshot_color *sc)
{
	unsigned left = sc->n;

	if (s->lane->config->backend_max_connections == 0)
		return false;
	for (unsigned i = 0; s->tried != NULL && i < sc->n; i++)
		for (unsigned k = 0; k < s->tried->n; k++)
			if (s->tried->list[k] == sc->usable[i]) {
				left--;
				break;
			}
	return left > 0;
}

void
session_join_queue(struct session *s, enum queue_end end)
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

	if (!s->permit.place || s->tries > l->config->retries ||
	    !is_full(s, &l->snapshot->colors[s->color]) || !permit_queue(&s->permit))
		return false;
	session_drop_backend(s);
	tally_add(&session_tally(s)->active, (uint64_t)-1);
	list_remove(&s->link);
	permit_drop_place(&s->permit);
	session_join_queue(s, s->retries > 0 ? QUEUE_FRONT : QUEUE_BACK);
	return true;
}

/* Every backend that there is refused, or one that restarts is the only one:
 * later it may be back.  Nothing is lost meanwhile, what the client says waits. */
static bool
pause_before_retry(struct session *s)
{
	struct lane *l = s->lane;

	if (s->tries > l->config->retries || s->pauses >= l->pauses || l->stopping)
		return false;
	s->pauses++;
	s->pausing = 1;
	s->tries = 0;
	tried_free(&s->tried);
	session_drop_backend(s);
	deadline_arm(l->retry_clock, &s->deadline, l->worker->now);
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
		case TRIED_NO_PORT:
			otherwise = END_NO_PORT;
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
	if (s->tries > 0 && (otherwise == END_CONNECT || otherwise == END_NO_PORT) && pause_before_retry(s))
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
	s->pausing = 0;
	session_recolor(s);
	dial_from(s, choose_next(s), otherwise);
}

void
session_dial(struct session *s)
{
	dial(s, END_CONNECT);
}

/* It was let in and is in no list: counts it, as one of the active color. */
void
session_begin(struct session *s)
{
	s->state = SESSION_DIALING;
	s->color = (uint8_t)s->lane->snapshot->active;
	list_append(&s->lane->dialing, &s->link);
	tally_add(&session_tally(s)->active, 1);
}

/* -- waiting for its turn ------------------------------------------------- */

/* Whatever comes next, it is judged by what is true now. */
void
session_leave_queue(struct session *s)
{
	struct lane *l = s->lane;

	CHECK(s->state == SESSION_WAITING);
	queue_leave(l, &s->waiter);
	deadline_disarm(&s->deadline);
	s->color = (uint8_t)l->snapshot->active;
	s->epoch = l->snapshot->epoch;
}

/* One that has closed its half may still want to hear what the server says. */
static bool
waiting_gone(const struct waiter *w)
{
	return sock_error(io_fd(&container_of(w, struct session, waiter)->client)) != 0;
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
		tried_free(&s->tried);
	}
	if (s->tried != NULL && l->worker->now - s->dialed >= TRY_AGAIN_AFTER)
		tried_free(&s->tried);
	b = choose_next(s);
	if (b == NULL && l->snapshot->colors[active].n > 0)
		return false;
	session_leave_queue(s);
	permit_take_turn(&s->permit);
	session_begin(s);
	dial_from(s, b, END_CONNECT);
	return true;
}

static void
waiting_end(struct waiter *w, enum ending ending)
{
	session_end(container_of(w, struct session, waiter), ending);
}

const struct waiter_ops session_waiting_ops = { waiting_gone, waiting_begin, waiting_end };
