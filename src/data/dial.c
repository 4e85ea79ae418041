/* dial.c - a client on its way to a backend: which one, and how it is reached.
 * Thread: owning worker. */
#include <string.h>

#include "base/log.h"
#include "data/access.h"
#include "data/dial.h"
#include "data/proxy_protocol_session.h"
#include "net/sock.h"
#include "net/tls_client.h"

/* Seconds until one that waits may come back to a backend that failed. */
#define TRY_AGAIN_AFTER 1.0

static void dial_backend(struct dial *d, enum ending otherwise);

/* -- one backend --------------------------------------------------------------- */

void
dial_drop_backend(struct dial *d)
{
	if (d->backend == NULL)
		return;
	backend_leave(d->backend);
	backend_unref(&d->backend);
}

void
dial_blame(struct dial *d)
{
	backend_failed(d->backend);
	d->lane->refused = true;
	tried_add(&d->tried, d->backend);
}

void
dial_charge_retry(struct dial *d, struct backend *failed)
{
	if (failed != NULL)
		backend_account_retry(failed->account, d->lane->worker->index);
}

void
dial_count_retry(struct dial *d, struct backend *failed)
{
	d->retries++;
	tally_add(&dial_tally(d)->retries, 1);
	dial_charge_retry(d, failed);
}

static void
forget_tries(struct dial *d)
{
	d->tries = 0;
	tried_free(&d->tried);
}

/* WELL: it is under way, reached, or over.  FAILED: the backend is to blame.  STARVED:
 * it could not even begin because descriptors or memory are out.  NO_PORT: no port of
 * ours leads there. */
enum tried_how { TRIED_WELL, TRIED_FAILED, TRIED_STARVED, TRIED_NO_PORT };

static void
reached(struct dial *d, bool reused)
{
	double seconds = d->lane->worker->now - d->born;

	if (!reused) {
		d->connect_seconds = (float)(seconds - (double)d->dialing);
		tally_observe(&dial_tally(d)->connect_seconds, seconds - (double)d->dialed);
	}
	dial_become(d, DIAL_REACHED, QUEUE_BACK);
	dial_ops(d)->reached(d, reused);
}

/* No backend is to blame for our memory, nor would another one help. */
static enum tried_how
out_of_memory(struct dial *d)
{
	dial_ops(d)->end(d, END_MEMORY);
	return TRIED_WELL;
}

static bool
is_our_memory(int error)
{
	return error == ENOMEM || error == ENOBUFS;
}

/* TLS with the backend is a part of reaching it. */
static enum tried_how
shake_hands(struct dial *d, enum ending *otherwise)
{
	struct io *io = dial_ops(d)->io(d);
	struct lane *l = d->lane;

	switch (io_handshake(io)) {
	case 0:
		io_want(l->worker->loop, io, EV_READ);
		return TRIED_WELL;
	case 1:
		reached(d, false);
		return TRIED_WELL;
	}
	if (is_our_memory(errno))
		return out_of_memory(d);
	if (access_may_tell(l))
		LOG_WARN("backend.tls", LS("service", l->config->name),
			 LR(NULL, str_from(l->config->labels_json)), LS("backend", d->backend->text),
			 LS("error", io_error(io)));
	*otherwise = END_BACKEND_TLS;
	return TRIED_FAILED;
}

/* TCP has reached it; what has to be said first is said. */
static enum tried_how
greet(struct dial *d, enum ending *otherwise)
{
	struct backend *b = d->backend;
	struct lane *l = d->lane;
	struct io *io = dial_ops(d)->io(d);
	struct dial_client client;
	struct tls *t;

	if (l->config->proxy_protocol.send != SEND_NONE) {
		client = dial_ops(d)->client(d);
		if (!proxy_protocol_tell(l, &d->peer, &client, io))
			return is_our_memory(errno) ? out_of_memory(d) : TRIED_FAILED;
	}
	/* A backend that was chosen before a reload is spoken to by its own terms, or not at all. */
	if (b->server_name != NULL && l->backend_tls == NULL)
		return TRIED_FAILED;
	if (b->server_name == NULL) {
		reached(d, false);
		return TRIED_WELL;
	}
	t = tls_connect(l->backend_tls, io_fd(io), b->server_name, &b->memories[l->worker->index]);
	if (t != NULL && dial_ops(d)->offers_both != NULL && dial_ops(d)->offers_both(d) && !tls_offer(t, "h2,http/1.1"))
		tls_free(&t);
	if (t == NULL)
		return out_of_memory(d);
	io_start_tls(io, &t);
	return shake_hands(d, otherwise);
}

/* A connect to b, on which a place was taken.  *otherwise: what it would end of. */
static enum tried_how
try_backend(struct dial *d, struct backend *b, enum ending *otherwise)
{
	struct worker *w = d->lane->worker;
	enum dial_how how;
	struct io *io;

	dial_drop_backend(d);
	d->dialed = (float)(w->now - d->born);
	io = dial_ops(d)->open(d, b, &how);
	if (io == NULL && (errno == EMFILE || errno == ENFILE || is_our_memory(errno))) {
		backend_leave(b);
		worker_starve(w, strerror(errno));
		return TRIED_STARVED;
	}
	if (d->tries++ > 0 || d->pauses > 0)
		dial_count_retry(d, tried_last(d->tried));
	if (io == NULL && errno == EADDRNOTAVAIL) {
		lane_has_no_port(d->lane, (enum entrance)d->entrance, b);
		tried_add(&d->tried, b);
		backend_leave(b);
		return TRIED_NO_PORT;
	}
	d->backend = backend_ref(b);
	*otherwise = END_CONNECT;
	if (io == NULL)
		return TRIED_FAILED;
	if (how == DIAL_REUSED) {
		reached(d, true);
		return TRIED_WELL;
	}
	deadline_arm(d->lane->connect_clock, &d->deadline, w->now);
	if (how == DIAL_CONNECTED)
		return greet(d, otherwise);
	io_want(w->loop, io, EV_WRITE);
	if (dial_ops(d)->hold != NULL)
		dial_ops(d)->hold(d);
	return TRIED_WELL;
}

/* -- whose turn it is -------------------------------------------------------------- */

/* Takes a place on the backend whose turn it is; NULL: none is left, or it may not
 * try any more. */
static struct backend *
take_backend(struct dial *d)
{
	const struct service_config *config = d->lane->config;
	struct backend *b;
	size_t n_source;
	const uint8_t *source = endpoint_source(&d->peer, &n_source);
	const struct balance_ask ask = {
		.policy = config->balance,
		.limit = config->backend_max_connections,
		.source = source,
		.source_len = n_source,
		.tried = d->tried != NULL ? d->tried->list : NULL,
		.n_tried = d->tried != NULL ? d->tried->n : 0,
		.random = &d->lane->worker->random,
	};

	if (d->tries == 0 && dial_ops(d)->first != NULL && (b = dial_ops(d)->first(d)) != NULL)
		return b;
	if (d->tries > config->retries)
		return NULL;
	return balance_take(&d->lane->snapshot->colors[d->color], &d->lane->rounds[d->color], &ask);
}

/* None was left to choose: was that because of those that are full? */
static bool
backends_are_full(const struct dial *d)
{
	const struct snapshot_color *sc = &d->lane->snapshot->colors[d->color];
	unsigned left = sc->n;

	if (d->lane->config->backend_max_connections == 0)
		return false;
	for (unsigned i = 0; d->tried != NULL && i < sc->n; i++)
		for (unsigned k = 0; k < d->tried->n; k++)
			if (d->tried->list[k] == sc->usable[i]) {
				left--;
				break;
			}
	return left > 0;
}

/* It waits for one that is full.  One that had been dialing came before those who
 * wait. */
static bool
await_backend(struct dial *d)
{
	return d->tries <= d->lane->config->retries && backends_are_full(d) &&
	       dial_wait(d, d->retries > 0 ? QUEUE_FRONT : QUEUE_BACK);
}

/* Every backend that there is refused, or one that restarts is the only one:
 * later it may be back.  Nothing is lost meanwhile, what the client says waits. */
static bool
pause_before_retry(struct dial *d)
{
	struct lane *l = d->lane;

	if (d->tries > l->config->retries || d->pauses >= l->pauses || l->stopping)
		return false;
	d->pauses++;
	d->pausing = 1;
	dial_charge_retry(d, tried_last(d->tried));
	forget_tries(d);
	dial_drop_backend(d);
	deadline_arm(l->retry_clock, &d->deadline, l->worker->now);
	if (dial_ops(d)->hold != NULL)
		dial_ops(d)->hold(d);
	return true;
}

/* Reaches b or, when that fails at once, another; or waits, or ends: by
 * `otherwise` when some were tried before. */
static void
dial_from(struct dial *d, struct backend *b, enum ending otherwise)
{
	struct lane *l = d->lane;

	for (; b != NULL; b = take_backend(d)) {
		switch (try_backend(d, b, &otherwise)) {
		case TRIED_WELL:
			return;
		case TRIED_FAILED:
			dial_blame(d);
			dial_ops(d)->close(d);
			break;
		case TRIED_NO_PORT:
			otherwise = END_NO_PORT;
			break;
		case TRIED_STARVED:
			/* It waits, connect_timeout at most, until dial_resume(). */
			if (list_empty(&d->deadline.link))
				deadline_arm(l->connect_clock, &d->deadline, l->worker->now);
			return;
		}
	}
	if (await_backend(d))
		return;
	if (d->tries > 0 && (otherwise == END_CONNECT || otherwise == END_NO_PORT) && pause_before_retry(d))
		return;
	if (d->tries == 0)
		otherwise = l->snapshot->colors[d->color].n == 0 ? END_NO_BACKEND : END_BACKEND_LIMIT;
	dial_ops(d)->end(d, otherwise);
}

static void
dial_backend(struct dial *d, enum ending otherwise)
{
	CHECK(d->state == DIAL_DIALING && dial_ops(d)->io(d) == NULL);
	if (d->pausing)
		deadline_disarm(&d->deadline);
	d->pausing = 0;
	dial_recolor(d);
	dial_from(d, take_backend(d), otherwise);
}

void
dial_next(struct dial *d)
{
	dial_backend(d, END_CONNECT);
}

void
dial_unchoose(struct dial *d)
{
	dial_ops(d)->close(d);
	dial_drop_backend(d);
	forget_tries(d);
	deadline_disarm(&d->deadline);
	d->pausing = 0;
}

void
dial_anew(struct dial *d)
{
	dial_unchoose(d);
	d->retries++;
	dial_backend(d, END_CONNECT);
}

void
dial_lost(struct dial *d, enum ending ending)
{
	dial_drop_backend(d);
	dial_become(d, DIAL_DIALING, QUEUE_BACK);
	dial_backend(d, ending);
}

/* -- events -------------------------------------------------------------------------- */

static void
connect_failed(struct dial *d, enum ending ending)
{
	dial_blame(d);
	dial_ops(d)->close(d);
	dial_backend(d, ending);
}

/* Of a call on a shared connection, whose own words are said already. */
static enum tried_how
look_below(struct dial *d, enum ending *otherwise)
{
	struct io *io = dial_ops(d)->io(d);
	int there = io->channel->ops->connected(io->channel);

	if (there > 0)
		reached(d, false);
	if (there >= 0)
		return TRIED_WELL;
	if (is_our_memory(errno))
		return out_of_memory(d);
	if (errno == EMFILE || errno == ENFILE)
		return TRIED_STARVED;
	*otherwise = errno == EPROTO ? END_BACKEND_HTTP2 : errno == ECONNABORTED ? END_BACKEND_TLS : END_CONNECT;
	return TRIED_FAILED;
}

/* It was to have another connection, for which none was left: that is no fault of its backend. */
static void
await_descriptor(struct dial *d)
{
	int error = errno;

	dial_ops(d)->close(d);
	dial_drop_backend(d);
	worker_starve(d->lane->worker, strerror(error));
	if (list_empty(&d->deadline.link))
		deadline_arm(d->lane->connect_clock, &d->deadline, d->lane->worker->now);
}

void
dial_on_event(struct dial *d)
{
	struct io *io = dial_ops(d)->io(d);
	enum ending otherwise = END_CONNECT;
	enum tried_how how = TRIED_FAILED;

	CHECK(d->state == DIAL_DIALING);
	if (io_is_tls(io))
		how = shake_hands(d, &otherwise);
	else if (io_is_channel(io))
		how = look_below(d, &otherwise);
	else if (sock_error(io_fd(io)) == 0)
		how = greet(d, &otherwise);
	if (how == TRIED_FAILED)
		connect_failed(d, otherwise);
	else if (how == TRIED_STARVED)
		await_descriptor(d);
}

void
dial_expired(struct deadline *deadline)
{
	struct dial *d = container_of(deadline, struct dial, deadline);

	if (d->state == DIAL_WAITING)
		dial_ops(d)->end(d, END_QUEUE_TIMEOUT);
	else if (d->pausing)
		dial_backend(d, END_CONNECT);
	else if (dial_ops(d)->io(d) == NULL)
		dial_ops(d)->end(d, END_MEMORY);
	else
		connect_failed(d, END_CONNECT_TIMEOUT);
}

/* -- waiting for its turn ------------------------------------------------------------ */

static bool
dial_waiting_gone(const struct waiter *w)
{
	struct dial *d = container_of(w, struct dial, waiter);

	return dial_ops(d)->gone(d);
}

static bool
dial_waiting_begin(struct waiter *w)
{
	struct dial *d = container_of(w, struct dial, waiter);
	struct lane *l = d->lane;
	uint8_t color = d->color;
	struct backend *b;

	CHECK(d->state == DIAL_WAITING);
	dial_recolor(d);
	if (d->color != color)
		forget_tries(d);
	if (d->tried != NULL && l->worker->now - d->born - (double)d->dialed >= TRY_AGAIN_AFTER)
		tried_free(&d->tried);
	b = take_backend(d);
	if (b == NULL && l->snapshot->colors[d->color].n > 0)
		return false;
	/* In the first line a place in the service is its. */
	if (d->waiter.kind == WAITER_SESSION)
		permit_take_turn(&d->permit);
	dial_leave_queue(d);
	dial_from(d, b, END_CONNECT);
	return true;
}

static void
dial_waiting_end(struct waiter *w, enum ending ending)
{
	struct dial *d = container_of(w, struct dial, waiter);

	dial_ops(d)->end(d, ending);
}

const struct waiter_ops dial_waiting_ops = { dial_waiting_gone, dial_waiting_begin, dial_waiting_end };
