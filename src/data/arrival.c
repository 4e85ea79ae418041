/* arrival.c - a connection before it is served.  Thread: owning worker. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "data/arrival_private.h"
#include "data/client.h"
#include "data/lobby.h"
#include "data/proxied.h"
#include "data/proxy.h"

/* Reads of what nobody wants, in one turn of the loop. */
#define DISCARDS 4

static bool
looks_at_hello(const struct listener *li)
{
	return li->tls || (li->route != NULL && li->lane->service->config->mode == MODE_TCP);
}

/* Sessions need to know whose they are before anything else is asked. */
static bool
is_settled(const struct listener *li)
{
	return li->route == NULL && li->lane->service->config->mode != MODE_HTTP;
}

bool
arrival_is_needed(const struct listener *li)
{
	return proxied_is_on(li->lane) || looks_at_hello(li);
}

/* -- counting --------------------------------------------------------------- */

static struct tally_color *
tally_of(struct arrival *a)
{
	return &a->facts.lane->tally->colors[a->facts.entrance][a->color];
}

static void
take_color(struct arrival *a)
{
	enum color active = lane_active(a->facts.lane);

	a->color = (uint8_t)(a->facts.entrance == ENTRANCE_MAIN ? active : color_other(active));
	tally_add(&tally_of(a)->active, 1);
}

static void
count(struct arrival *a)
{
	take_color(a);
	list_append(&a->facts.lane->arriving, &a->link);
}

static void
uncount(struct arrival *a)
{
	/* Who lingers is no connection any more. */
	if (a->stage != ARRIVAL_LINGER)
		tally_add(&tally_of(a)->active, (uint64_t)-1);
	list_remove(&a->link);
}

void
arrival_recolor_all(struct lane *l)
{
	LIST_EACH(it, &l->arriving) {
		struct arrival *a = list_entry(it, struct arrival, link);

		if (a->stage == ARRIVAL_LINGER)
			continue;
		tally_add(&tally_of(a)->active, (uint64_t)-1);
		take_color(a);
	}
}

static struct worker *
worker_of(const struct arrival *a)
{
	return a->listener->worker;
}

/* -- the end ---------------------------------------------------------------- */

/* What the log line says besides. */
static struct str
more_json(const struct arrival *a, const char *words, struct buf *b)
{
	char peer[PROXIED_TEXT];
	struct json j;

	buf_init(b, 1024);
	json_init(&j, b);
	if (a->facts.proxied)
		(void)buf_printf(b, "%s", proxied_peer_json(&a->facts.peer, peer));
	j.comma = buf_len(b) > 0;
	if (a->facts.server_name != NULL && a->facts.server_name[0] != '\0')
		json_cstr(&j, "sni", a->facts.server_name);
	if (words[0] != '\0')
		json_cstr(&j, "error", words);
	return b->failed ? STR("") : buf_str(b);
}

static bool
enter_lobby(const struct listener *li, struct arrival_facts *f, enum ending *why)
{
	struct addr client;

	if (li->lobby == NULL)
		return true;
	endpoint_get(&f->client, &client);
	f->in_lobby = lobby_enter(li->lobby, &client, why);
	return f->in_lobby;
}

static void
leave_lobby(const struct listener *li, struct arrival_facts *f)
{
	struct addr client;

	if (!f->in_lobby)
		return;
	endpoint_get(&f->client, &client);
	lobby_leave(li->lobby, &client);
	f->in_lobby = false;
}

/* Tells that it failed, and gives back what the door gave. */
static void
tell(struct arrival *a, enum ending ending, const char *words)
{
	struct arrival_facts *f = &a->facts;
	struct pass pass = f->pass;
	struct addr client;
	struct buf more;
	struct session_refusal refusal = {
		.lane = f->lane,
		.entrance = f->entrance,
		.ending = ending,
		.client = f->client,
		.seconds = worker_of(a)->now - f->accepted,
		.more = more_json(a, words, &more),
	};

	session_refuse(&refusal);
	buf_free(&more);
	leave_lobby(a->listener, f);
	f->pass = (struct pass){ 0 };
	endpoint_get(&f->client, &client);
	door_return(f->lane, &client, &pass);
}

static void
destroy(struct arrival *a)
{
	deadline_disarm(&a->deadline);
	deadline_disarm(&a->again);
	arrival_drop_part(a);
	a->magic = 0;
	free(a);
}

static void
leave(struct arrival *a)
{
	struct worker *w = worker_of(a);

	io_close(w->loop, &a->io);
	uncount(a);
	destroy(a);
	admission_leave(&w->proxy->descriptors, 1);
	if (w->starved)
		worker_hurry(w);
}

void
arrival_end(struct arrival *a, enum ending ending)
{
	ON_WORKER(worker_of(a));
	CHECK(a->magic == ARRIVAL_MAGIC);
	if (a->stage != ARRIVAL_LINGER)
		tell(a, ending, "");
	leave(a);
}

void
arrival_end_all(struct lane *l, enum ending ending)
{
	LIST_EACH(it, &l->arriving)
		arrival_end(list_entry(it, struct arrival, link), ending);
}

/* It has been told why, on the wire: a moment for it to read that. */
static void
linger(struct arrival *a, enum ending ending, const char *words)
{
	struct lane *l = a->facts.lane;
	struct worker *w = worker_of(a);
	int one = 1;

	if (ending == END_CLIENT_GONE) {
		tell(a, ending, words);
		leave(a);
		return;
	}
	tell(a, ending, words);
	tally_add(&tally_of(a)->active, (uint64_t)-1);
	a->stage = ARRIVAL_LINGER;
	if (io_is_tls(&a->io))
		tls_free(&a->io.tls);
	if (a->slow)
		(void)setsockopt(io_fd(&a->io), SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	(void)shutdown(io_fd(&a->io), SHUT_WR);
	deadline_disarm(&a->again);
	deadline_arm(l->goodbye_clock, &a->deadline, w->now);
	io_want(w->loop, &a->io, EV_READ);
}

static void
discard(struct arrival *a)
{
	struct relay_room *room = &worker_of(a)->room;

	for (int i = 0; i < DISCARDS; i++) {
		ssize_t n = recv(io_fd(&a->io), room->buffer, room->size, 0);

		if (n < 0 && io_would_block())
			return;
		if (n <= 0) {
			leave(a);
			return;
		}
	}
}

void
arrival_on_deadline(struct deadline *d)
{
	struct arrival *a = container_of(d, struct arrival, deadline);

	CHECK(a->magic == ARRIVAL_MAGIC);
	if (a->stage == ARRIVAL_READY)
		arrival_end(a, END_MEMORY);
	else
		arrival_end(a, a->stage == ARRIVAL_PROXY ? END_PROXY_TIMEOUT : END_TLS_TIMEOUT);
}

/* -- stage by stage --------------------------------------------------------- */

/* Everything is known: to whoever serves it, once there is a descriptor for its
 * backend too. */
static void
serve(struct arrival *a)
{
	struct arrival_facts facts = a->facts;
	struct listener *li = a->listener;
	struct tls_facts tls;
	struct io io;

	if (!worker_take_descriptors(li->worker, 1)) {
		a->stage = ARRIVAL_READY;
		deadline_disarm(&a->again);
		io_want(li->worker->loop, &a->io, 0);
		return;
	}
	io_move(worker_of(a)->loop, &a->io, &io, a->io.watcher.cb);
	uncount(a);
	destroy(a);
	if (io_is_tls(&io)) {
		tls_facts(io.tls, &tls);
		facts.tls = &tls;
		facts.server_name = tls.server_name;
	}
	if (facts.lane->service->config->mode == MODE_HTTP)
		client_new(li, &io, &facts);
	else
		session_arrive(&io, &facts);
}

void
arrival_serve_ready(struct lane *l)
{
	LIST_EACH(it, &l->arriving) {
		struct arrival *a = list_entry(it, struct arrival, link);

		if (a->stage == ARRIVAL_READY)
			serve(a);
		if (l->worker->starved)
			return;
	}
}

/* Who it is and whose is known: may it come in? */
static bool
ask_door(struct arrival *a)
{
	struct arrival_facts *f = &a->facts;
	struct addr client;
	enum ending why;

	leave_lobby(a->listener, f);
	endpoint_get(&f->client, &client);
	f->door = door_ask(f->lane, f->entrance, &client, &f->pass, &why);
	if (f->door != DOOR_SHUT)
		return true;
	/* What the door gave before it is still held. */
	arrival_end(a, why);
	return false;
}

static void
shake(struct arrival *a)
{
	enum ending ending = END_TLS_HANDSHAKE;
	struct tls *t = a->io.tls;
	char words[160];

	switch (io_handshake(&a->io)) {
	case 0:
		io_want(worker_of(a)->loop, &a->io, EV_READ);
		return;
	case 1:
		tally_handshake(a->facts.lane->tally, tls_is_1_3(t), tls_is_resumed(t));
		serve(a);
		return;
	}
	if (tls_failure(t) == TLS_GONE)
		ending = END_CLIENT_GONE;
	else if (tls_failure(t) == TLS_CERTIFICATE)
		ending = END_TLS_CERTIFICATE;
	snprintf(words, sizeof(words), "%s", tls_why(t));
	linger(a, ending, words);
}

static void
begin_handshake(struct arrival *a, const char *name)
{
	struct worker *w = worker_of(a);
	struct tls *t = tls_accept(a->facts.lane->site, io_fd(&a->io), name, &w->tickets);

	if (t == NULL) {
		arrival_end(a, END_MEMORY);
		return;
	}
	a->facts.server_name = tls_server_name(t);
	io_start_tls(&a->io, &t);
	a->stage = ARRIVAL_HANDSHAKE;
	shake(a);
}

static void
move_to(struct arrival *a, struct lane *l)
{
	if (l == a->facts.lane)
		return;
	uncount(a);
	a->facts.lane = l;
	count(a);
}

/* Nobody serves that name: so is the client told. */
static void
refuse_name(struct arrival *a)
{
	arrival_alert(a, TLS_ALERT_UNRECOGNIZED_NAME);
	linger(a, END_TLS_NAME, "");
}

static void
read_hello(struct arrival *a)
{
	struct listener *li = a->listener;
	enum ending ending = END_INTERNAL;
	struct tls_hello hello;
	const char *words = "";
	struct lane *l;

	switch (arrival_read_hello(a, &hello, &ending, &words)) {
	case ARRIVAL_WAIT:
		return;
	case ARRIVAL_BROKEN:
		linger(a, ending, words);
		return;
	case ARRIVAL_DONE:
		break;
	}
	deadline_disarm(&a->again);
	a->facts.server_name = hello.name;
	if ((l = arrival_lane(li, hello.name)) == NULL) {
		refuse_name(a);
		return;
	}
	move_to(a, l);
	/* The store has not told its color yet. */
	if (l->snapshot == NULL) {
		arrival_alert(a, TLS_ALERT_INTERNAL_ERROR);
		linger(a, END_NO_BACKEND, "");
		return;
	}
	if (li->route != NULL && l->service->config->mode != MODE_HTTP && !ask_door(a))
		return;
	if (li->tls)
		begin_handshake(a, hello.name);
	else
		serve(a);
}

/* The client is known, the rest perhaps not. */
static void
leave_proxy(struct arrival *a)
{
	struct worker *w = worker_of(a);
	enum ending why;

	if (is_settled(a->listener)) {
		/* Where it says no, the arrival is gone. */
		if (!ask_door(a))
			return;
	} else if (!enter_lobby(a->listener, &a->facts, &why)) {
		arrival_end(a, why);
		return;
	}
	if (!looks_at_hello(a->listener)) {
		serve(a);
		return;
	}
	a->stage = ARRIVAL_HELLO;
	deadline_arm(a->facts.lane->handshake_clock, &a->deadline, w->now);
	read_hello(a);
}

static void
read_proxy(struct arrival *a)
{
	enum ending ending = END_INTERNAL;

	switch (arrival_read_proxy(a, &ending)) {
	case ARRIVAL_WAIT:
		io_want(worker_of(a)->loop, &a->io, EV_READ);
		return;
	case ARRIVAL_BROKEN:
		arrival_end(a, ending);
		return;
	case ARRIVAL_DONE:
		leave_proxy(a);
	}
}

static void
step(struct arrival *a)
{
	switch ((enum arrival_stage)a->stage) {
	case ARRIVAL_PROXY:
		read_proxy(a);
		return;
	case ARRIVAL_HELLO:
		read_hello(a);
		return;
	case ARRIVAL_HANDSHAKE:
		shake(a);
		return;
	case ARRIVAL_LINGER:
		discard(a);
		return;
	case ARRIVAL_READY:
		return;	/* nobody watches it */
	}
}

static void
arrival_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct arrival *a = container_of(w, struct arrival, io.watcher);

	(void)loop;
	(void)revents;
	CHECK(a->magic == ARRIVAL_MAGIC);
	step(a);
}

void
arrival_on_again(struct deadline *d)
{
	struct arrival *a = container_of(d, struct arrival, again);

	CHECK(a->magic == ARRIVAL_MAGIC && a->stage == ARRIVAL_HELLO);
	deadline_disarm(d);
	read_hello(a);
}

/* -- birth ------------------------------------------------------------------ */

static void
turn_away(const struct arrival_facts *f, int fd, enum ending why)
{
	const struct session_refusal refusal = {
		.lane = f->lane,
		.entrance = f->entrance,
		.ending = why,
		.client = f->client,
	};
	struct addr client;

	close(fd);
	admission_leave(&f->lane->worker->proxy->descriptors, 2);
	session_refuse(&refusal);
	endpoint_get(&f->client, &client);
	door_return(f->lane, &client, &f->pass);
}

/* What can be asked as long as so much is known. */
static enum door
ask_early(const struct listener *li, const struct addr *peer, struct arrival_facts *f, enum ending *why)
{
	bool proxied = proxied_is_on(li->lane);

	*why = END_PROXY_DENIED;
	if (proxied && proxied_denies(li->lane, peer))
		return DOOR_SHUT;
	if (!is_settled(li))
		return DOOR_OPEN;
	return (proxied ? door_reserve : door_ask)(li->lane, li->entrance, peer, &f->pass, why);
}

void
arrival_new(struct listener *li, int fd, const struct addr *peer)
{
	struct arrival_facts facts = { .lane = li->lane, .entrance = li->entrance, .accepted = li->worker->now };
	bool proxied = proxied_is_on(li->lane);
	enum ending why = END_INTERNAL;
	struct arrival *a;

	endpoint_set(&facts.client, peer);
	facts.door = ask_early(li, peer, &facts, &why);
	/* Behind a proxy nobody knows yet who it is. */
	if (facts.door == DOOR_SHUT || (!proxied && !enter_lobby(li, &facts, &why))) {
		turn_away(&facts, fd, why);
		return;
	}
	if ((a = calloc(1, sizeof(*a))) == NULL) {
		leave_lobby(li, &facts);
		turn_away(&facts, fd, END_MEMORY);
		return;
	}
	a->magic = ARRIVAL_MAGIC;
	a->stage = proxied ? ARRIVAL_PROXY : ARRIVAL_HELLO;
	a->listener = li;
	a->facts = facts;
	io_init(&a->io, fd, arrival_on_event);
	deadline_init(&a->deadline);
	deadline_init(&a->again);
	list_init(&a->link);
	count(a);
	admission_leave(&li->worker->proxy->descriptors, 1);
	deadline_arm(proxied ? li->lane->header_clock : li->lane->handshake_clock, &a->deadline, li->worker->now);
	step(a);
}

void
arrival_skip(struct listener *li, int fd, const struct addr *peer)
{
	struct lane *l = li->lane;
	struct arrival_facts facts = { .lane = l, .entrance = li->entrance, .accepted = l->worker->now };
	struct io io;

	if (l->service->config->mode == MODE_TCP) {
		session_new(l, li->entrance, fd, peer);
		return;
	}
	endpoint_set(&facts.client, peer);
	io_init(&io, fd, arrival_on_event);
	client_new(li, &io, &facts);
}
