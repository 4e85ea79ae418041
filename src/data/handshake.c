/* handshake.c - a connection before it is served.  Thread: owning worker. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "data/handshake_private.h"
#include "data/listener.h"
#include "data/proxy.h"
#include "data/proxy_protocol_session.h"

/* Reads of discarded bytes, in one turn of the loop. */
#define DISCARDS 4

bool
handshake_looks_at_hello(const struct listener *li)
{
	return li->tls || (li->route != NULL && !li->lane->mode->by_request);
}

/* Sessions need to know whose they are before anything else is asked. */
static bool
is_settled(const struct listener *li)
{
	return li->route == NULL && !li->lane->mode->by_request;
}

bool
handshake_is_needed(const struct listener *li)
{
	return proxy_protocol_is_on(li->lane) || handshake_looks_at_hello(li);
}

/* -- counting --------------------------------------------------------------- */

static enum entrance
entrance_of(const struct handshake *hs)
{
	return hs->listener->entrance;
}

static struct tally_color *
tally_of(struct handshake *hs)
{
	return &hs->facts.permit.lane->tally->colors[entrance_of(hs)][hs->color];
}

static void
take_color(struct handshake *hs)
{
	hs->color = (uint8_t)lane_color(hs->facts.permit.lane, entrance_of(hs));
	tally_add(&tally_of(hs)->active, 1);
}

void
handshake_count(struct handshake *hs)
{
	take_color(hs);
	list_append(&hs->facts.permit.lane->handshaking, &hs->link);
}

void
handshake_uncount(struct handshake *hs)
{
	/* Who lingers is no connection any more. */
	if (hs->stage != HANDSHAKE_LINGER)
		tally_add(&tally_of(hs)->active, (uint64_t)-1);
	list_remove(&hs->link);
}

void
handshake_recolor_all(struct lane *l)
{
	LIST_EACH(it, &l->handshaking) {
		struct handshake *hs = list_entry(it, struct handshake, link);

		if (hs->stage == HANDSHAKE_LINGER)
			continue;
		tally_add(&tally_of(hs)->active, (uint64_t)-1);
		take_color(hs);
	}
}

static struct worker *
worker_of(const struct handshake *hs)
{
	return hs->listener->worker;
}

/* -- the end ---------------------------------------------------------------- */

/* What the log line says besides. */
static struct str
more_json(const struct handshake *hs, const char *words, struct buf *b)
{
	char peer[PROXY_PROTOCOL_TEXT];
	struct json j;

	buf_init(b, 1024);
	json_init(&j, b);
	if (hs->facts.proxy_header)
		(void)buf_printf(b, "%s", proxy_protocol_peer_json(&hs->facts.peer, peer));
	j.comma = buf_len(b) > 0;
	if (hs->facts.server_name != NULL && hs->facts.server_name[0] != '\0')
		json_cstr(&j, "sni", hs->facts.server_name);
	if (words[0] != '\0')
		json_cstr(&j, "error", words);
	return b->failed ? STR("") : buf_str(b);
}

/* Tells that it failed. */
static void
tell_failure(struct handshake *hs, enum ending ending, const char *words)
{
	struct buf more;

	permit_refuse(&hs->facts.permit, ending, hs->facts.accepted, more_json(hs, words, &more));
	buf_free(&more);
}

void
handshake_free(struct handshake *hs)
{
	hs->listener->users--;
	deadline_disarm(&hs->deadline);
	deadline_disarm(&hs->again);
	handshake_drop_part(hs);
	CHECK(permit_is_empty(&hs->facts.permit));
	hs->magic = 0;
	free(hs);
}

static void
leave_handshake(struct handshake *hs)
{
	io_close(worker_of(hs)->loop, &hs->io);
	handshake_uncount(hs);
	permit_release(&hs->facts.permit);
	handshake_free(hs);
}

void
handshake_end(struct handshake *hs, enum ending ending)
{
	ON_WORKER(worker_of(hs));
	CHECK(hs->magic == HANDSHAKE_MAGIC);
	if (hs->stage != HANDSHAKE_LINGER)
		tell_failure(hs, ending, "");
	leave_handshake(hs);
}

void
handshake_end_all(struct lane *l, enum ending ending)
{
	LIST_EACH(it, &l->handshaking)
		handshake_end(list_entry(it, struct handshake, link), ending);
}

/* It has been told why, on the wire: a moment for it to read that. */
static void
linger_after_failure(struct handshake *hs, enum ending ending, const char *words)
{
	struct lane *l = hs->facts.permit.lane;
	struct worker *w = worker_of(hs);
	int one = 1;

	if (ending == END_CLIENT_GONE) {
		tell_failure(hs, ending, words);
		leave_handshake(hs);
		return;
	}
	tell_failure(hs, ending, words);
	tally_add(&tally_of(hs)->active, (uint64_t)-1);
	hs->stage = HANDSHAKE_LINGER;
	if (io_is_tls(&hs->io))
		tls_free(&hs->io.tls);
	if (hs->slow)
		(void)setsockopt(io_fd(&hs->io), SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	(void)shutdown(io_fd(&hs->io), SHUT_WR);
	deadline_disarm(&hs->again);
	deadline_arm(l->goodbye_clock, &hs->deadline, w->now);
	io_want(w->loop, &hs->io, EV_READ);
}

static void
discard(struct handshake *hs)
{
	struct relay_buffers *buffers = &worker_of(hs)->buffers;

	for (int i = 0; i < DISCARDS; i++) {
		ssize_t n = recv(io_fd(&hs->io), buffers->buffer, buffers->size, 0);

		if (n < 0 && io_would_block())
			return;
		if (n <= 0) {
			leave_handshake(hs);
			return;
		}
	}
}

void
handshake_on_deadline(struct deadline *d)
{
	struct handshake *hs = container_of(d, struct handshake, deadline);

	CHECK(hs->magic == HANDSHAKE_MAGIC);
	if (hs->stage == HANDSHAKE_READY)
		handshake_end(hs, END_MEMORY);
	else
		handshake_end(hs, hs->stage == HANDSHAKE_PROXY ? END_PROXY_TIMEOUT : END_TLS_TIMEOUT);
}

/* -- stage by stage --------------------------------------------------------- */

/* Everything is known: hands it over to TCP or HTTP, once there is a descriptor for
 * its backend too. */
static void
serve_client(struct handshake *hs)
{
	struct handshake_facts facts;
	struct listener *li = hs->listener;
	struct tls_facts tls;
	struct io io;

	if (!permit_hold(&hs->facts.permit, 2)) {
		hs->stage = HANDSHAKE_READY;
		deadline_disarm(&hs->again);
		io_want(li->worker->loop, &hs->io, 0);
		return;
	}
	io_move(worker_of(hs)->loop, &hs->io, &io, hs->io.watcher.cb);
	handshake_uncount(hs);
	facts = hs->facts;
	permit_move(&facts.permit, &hs->facts.permit);
	handshake_free(hs);
	if (io_is_tls(&io)) {
		tls_facts(io.tls, &tls);
		facts.tls = &tls;
		facts.server_name = tls.server_name;
	}
	facts.permit.lane->mode->serve(li, &io, &facts);
}

void
handshake_serve_ready(struct lane *l)
{
	LIST_EACH(it, &l->handshaking) {
		struct handshake *hs = list_entry(it, struct handshake, link);

		if (hs->stage == HANDSHAKE_READY)
			serve_client(hs);
		if (l->worker->starved)
			return;
	}
}

/* Who it is and whose is known: may it come in?  If not, hs is gone. */
static bool
ask_service(struct handshake *hs)
{
	enum ending why;

	if (permit_ask(&hs->facts.permit, &why) != ADMIT_NO)
		return true;
	handshake_end(hs, why);
	return false;
}

static void
step_tls(struct handshake *hs)
{
	enum ending ending = END_TLS_HANDSHAKE;
	struct tls *t = hs->io.tls;
	char words[160];

	switch (io_handshake(&hs->io)) {
	case 0:
		io_want(worker_of(hs)->loop, &hs->io, EV_READ);
		return;
	case 1:
		hs->facts.tls_seconds = (float)(worker_of(hs)->now - hs->tls_begun);
		tally_handshake(hs->facts.permit.lane->tally, tls_is_1_3(t), tls_is_resumed(t),
				(double)hs->facts.tls_seconds);
		serve_client(hs);
		return;
	}
	if (tls_failure(t) == TLS_GONE)
		ending = END_CLIENT_GONE;
	else if (tls_failure(t) == TLS_CERTIFICATE)
		ending = END_TLS_CERTIFICATE;
	else if (tls_failure(t) == TLS_MEMORY)
		ending = END_MEMORY;
	snprintf(words, sizeof(words), "%s", tls_why(t));
	linger_after_failure(hs, ending, words);
}

static void
begin_tls(struct handshake *hs, const char *name)
{
	struct worker *w = worker_of(hs);
	struct tls *t = tls_accept(hs->facts.permit.lane->site, io_fd(&hs->io), name, &w->tickets);

	if (t == NULL) {
		handshake_end(hs, END_MEMORY);
		return;
	}
	hs->facts.server_name = tls_server_name(t);
	io_start_tls(&hs->io, &t);
	hs->stage = HANDSHAKE_TLS;
	hs->tls_begun = w->now;
	step_tls(hs);
}

static void
move_to(struct handshake *hs, struct lane *l)
{
	if (l == hs->facts.permit.lane)
		return;
	handshake_uncount(hs);
	hs->facts.permit.lane = l;
	handshake_count(hs);
}

/* No service has that name: tells the client. */
static void
refuse_name(struct handshake *hs)
{
	handshake_alert(hs, TLS_ALERT_UNRECOGNIZED_NAME);
	linger_after_failure(hs, END_TLS_NAME, "");
}

static void
read_hello(struct handshake *hs)
{
	struct listener *li = hs->listener;
	enum ending ending = END_INTERNAL;
	struct tls_hello hello;
	const char *words = "";
	struct lane *l;

	switch (handshake_read_hello(hs, &hello, &ending, &words)) {
	case HANDSHAKE_WAIT:
		return;
	case HANDSHAKE_BROKEN:
		linger_after_failure(hs, ending, words);
		return;
	case HANDSHAKE_DONE:
		break;
	}
	deadline_disarm(&hs->again);
	hs->facts.server_name = hello.name;
	if ((l = handshake_lane(li, hello.name)) == NULL) {
		refuse_name(hs);
		return;
	}
	move_to(hs, l);
	/* The store has not told its color yet. */
	if (l->snapshot == NULL) {
		handshake_alert(hs, TLS_ALERT_INTERNAL_ERROR);
		linger_after_failure(hs, END_NO_BACKEND, "");
		return;
	}
	if (li->route != NULL && !l->mode->by_request && !ask_service(hs))
		return;
	if (li->tls)
		begin_tls(hs, hello.name);
	else
		serve_client(hs);
}

/* The client is known, the rest perhaps not. */
static void
leave_proxy(struct handshake *hs)
{
	struct worker *w = worker_of(hs);
	enum ending why;

	if (is_settled(hs->listener)) {
		if (!ask_service(hs))
			return;
	} else if (!permit_enter(&hs->facts.permit, &why)) {
		handshake_end(hs, why);
		return;
	}
	if (!handshake_looks_at_hello(hs->listener)) {
		serve_client(hs);
		return;
	}
	hs->stage = HANDSHAKE_HELLO;
	deadline_arm(hs->facts.permit.lane->handshake_clock, &hs->deadline, w->now);
	read_hello(hs);
}

static void
read_proxy(struct handshake *hs)
{
	enum ending ending = END_INTERNAL;

	switch (handshake_read_proxy(hs, &ending)) {
	case HANDSHAKE_WAIT:
		io_want(worker_of(hs)->loop, &hs->io, EV_READ);
		return;
	case HANDSHAKE_BROKEN:
		handshake_end(hs, ending);
		return;
	case HANDSHAKE_DONE:
		leave_proxy(hs);
	}
}

static void
step(struct handshake *hs)
{
	switch ((enum handshake_stage)hs->stage) {
	case HANDSHAKE_PROXY:
		read_proxy(hs);
		return;
	case HANDSHAKE_HELLO:
		read_hello(hs);
		return;
	case HANDSHAKE_TLS:
		step_tls(hs);
		return;
	case HANDSHAKE_LINGER:
		discard(hs);
		return;
	case HANDSHAKE_READY:
		return;	/* no watcher runs */
	}
}

static void
handshake_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct handshake *hs = container_of(w, struct handshake, io.watcher);

	(void)loop;
	(void)revents;
	CHECK(hs->magic == HANDSHAKE_MAGIC);
	step(hs);
}

void
handshake_on_again(struct deadline *d)
{
	struct handshake *hs = container_of(d, struct handshake, again);

	CHECK(hs->magic == HANDSHAKE_MAGIC && hs->stage == HANDSHAKE_HELLO);
	read_hello(hs);
}

/* -- birth ------------------------------------------------------------------ */

static void
turn_away(struct handshake_facts *f, int fd, enum ending why)
{
	close(fd);
	permit_refuse(&f->permit, why, f->accepted, STR(""));
	permit_release(&f->permit);
}

/* What can be asked as long as so much is known. */
static bool
ask_early(const struct listener *li, const struct addr *peer, struct permit *p, enum ending *why)
{
	bool proxy_protocol = proxy_protocol_is_on(li->lane);

	*why = END_PROXY_DENIED;
	if (proxy_protocol && proxy_protocol_denies(li->lane, peer))
		return false;
	if (!is_settled(li))	/* behind a proxy it is not known yet who it is */
		return proxy_protocol || permit_enter(p, why);
	return proxy_protocol ? permit_reserve(p, why) : permit_ask(p, why) != ADMIT_NO;
}

struct handshake *
handshake_alloc(struct listener *li)
{
	struct handshake *hs = calloc(1, sizeof(*hs));

	if (hs == NULL)
		return NULL;
	hs->magic = HANDSHAKE_MAGIC;
	hs->listener = li;
	li->users++;
	io_init(&hs->io, -1, handshake_on_event);
	deadline_init(&hs->deadline);
	deadline_init(&hs->again);
	list_init(&hs->link);
	return hs;
}

void
handshake_go_on(struct handshake *hs)
{
	struct lane *l = hs->facts.permit.lane;

	handshake_uncount(hs);
	handshake_count(hs);
	deadline_go_on(hs->stage == HANDSHAKE_PROXY ? l->header_clock : l->handshake_clock, &hs->deadline);
	step(hs);
}

void
handshake_new(struct listener *li, int fd, const struct addr *peer)
{
	struct handshake_facts facts = { .accepted = li->worker->now };
	bool proxy_protocol = proxy_protocol_is_on(li->lane);
	enum ending why = END_INTERNAL;
	struct handshake *hs;

	permit_init(&facts.permit, li, peer);
	if (!ask_early(li, peer, &facts.permit, &why)) {
		turn_away(&facts, fd, why);
		return;
	}
	if ((hs = handshake_alloc(li)) == NULL) {
		turn_away(&facts, fd, END_MEMORY);
		return;
	}
	hs->stage = proxy_protocol ? HANDSHAKE_PROXY : HANDSHAKE_HELLO;
	hs->facts = facts;
	ev_io_set(&hs->io.watcher, fd, 0);
	handshake_count(hs);
	(void)permit_hold(&hs->facts.permit, 1);
	deadline_arm(proxy_protocol ? li->lane->header_clock : li->lane->handshake_clock, &hs->deadline, li->worker->now);
	step(hs);
}

void
handshake_skip(struct listener *li, int fd, const struct addr *peer)
{
	struct handshake_facts facts = { .accepted = li->worker->now };
	enum ending why;
	struct io io;

	permit_init(&facts.permit, li, peer);
	if (is_settled(li) && permit_ask(&facts.permit, &why) == ADMIT_NO) {
		turn_away(&facts, fd, why);
		return;
	}
	io_init(&io, fd, handshake_on_event);
	facts.permit.lane->mode->serve(li, &io, &facts);
}
