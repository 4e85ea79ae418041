/* arrival.c - a connection before it is served.  Thread: owning worker. */
#include <stdlib.h>
#include <unistd.h>

#include "data/arrival_private.h"
#include "data/client.h"
#include "data/proxied.h"
#include "data/proxy.h"

bool
arrival_is_needed(const struct listener *li)
{
	return proxied_is_on(li->lane);
}

/* -- counting --------------------------------------------------------------- */

static struct tally_color *
tally_of(struct arrival *a)
{
	return &a->facts.lane->tally->colors[a->facts.entrance][a->color];
}

static void
count(struct arrival *a)
{
	enum color active = a->facts.lane->snapshot->active;

	a->color = (uint8_t)(a->facts.entrance == ENTRANCE_MAIN ? active : color_other(active));
	tally_add(&tally_of(a)->active, 1);
	list_append(&a->facts.lane->arriving, &a->link);
}

static void
uncount(struct arrival *a)
{
	tally_add(&tally_of(a)->active, (uint64_t)-1);
	list_remove(&a->link);
}

void
arrival_recolor_all(struct lane *l)
{
	LIST_EACH(it, &l->arriving)
	{
		struct arrival *a = list_entry(it, struct arrival, link);

		uncount(a);
		count(a);
	}
}

/* -- the end ---------------------------------------------------------------- */

static void
destroy(struct arrival *a)
{
	deadline_disarm(&a->deadline);
	arrival_drop_part(a);
	a->magic = 0;
	free(a);
}

void
arrival_end(struct arrival *a, enum ending ending)
{
	const struct arrival_facts *f = &a->facts;
	struct lane *l = f->lane;
	struct worker *w = l->worker;
	struct pass pass = f->pass;
	struct addr client;
	struct session_refusal refusal = {
		.lane = l,
		.entrance = f->entrance,
		.ending = ending,
		.client = f->client,
		.seconds = w->now - f->accepted,
	};
	char peer[PROXIED_TEXT];

	ON_WORKER(w);
	CHECK(a->magic == ARRIVAL_MAGIC);
	refusal.more = str_from(proxied_peer_json(f->proxied ? &f->peer : NULL, peer));
	session_refuse(&refusal);
	endpoint_get(&f->client, &client);
	io_close(w->loop, &a->io);
	uncount(a);
	destroy(a);
	admission_leave(&w->proxy->descriptors, 2);
	if (w->starved)
		worker_hurry(w);
	/* Last, for it may let in and begin another. */
	door_return(l, &client, &pass);
}

void
arrival_end_all(struct lane *l, enum ending ending)
{
	LIST_EACH(it, &l->arriving)
	arrival_end(list_entry(it, struct arrival, link), ending);
}

void
arrival_on_deadline(struct deadline *d)
{
	struct arrival *a = container_of(d, struct arrival, deadline);

	arrival_end(a, END_PROXY_TIMEOUT);
}

/* -- stage by stage --------------------------------------------------------- */

/* Everything is known: to whoever serves it. */
static void
serve(struct arrival *a)
{
	struct arrival_facts facts = a->facts;
	struct listener *li;
	struct io io;

	io_move(facts.lane->worker->loop, &a->io, &io, a->io.watcher.cb);
	li = a->listener;
	uncount(a);
	destroy(a);
	if (facts.lane->service->config->mode == MODE_HTTP)
		client_new(li, &io, &facts);
	else
		session_arrive(&io, &facts);
}

/* Who it is is known: may it come in? */
static bool
ask_door(struct arrival *a)
{
	struct arrival_facts *f = &a->facts;
	struct addr client;
	enum ending why;

	endpoint_get(&f->client, &client);
	f->door = door_ask(f->lane, f->entrance, &client, &f->pass, &why);
	if (f->door != DOOR_SHUT)
		return true;
	arrival_end(a, why);
	return false;
}

static void
step(struct arrival *a)
{
	enum ending ending = END_INTERNAL;

	switch (arrival_read_proxy(a, &ending)) {
	case ARRIVAL_WAIT:
		io_want(a->facts.lane->worker->loop, &a->io, EV_READ);
		return;
	case ARRIVAL_BROKEN:
		arrival_end(a, ending);
		return;
	case ARRIVAL_DONE:
		/* In HTTP mode the door is asked by the client, or for each request. */
		if (a->facts.lane->service->config->mode == MODE_HTTP || ask_door(a))
			serve(a);
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

void
arrival_new(struct listener *li, int fd, const struct addr *peer)
{
	struct lane *l = li->lane;
	struct arrival_facts facts = { .lane = l, .entrance = li->entrance, .accepted = l->worker->now };
	enum ending why = END_INTERNAL;
	struct arrival *a;

	endpoint_set(&facts.client, peer);
	facts.door = door_reserve(l, li->entrance, peer, &facts.pass, &why);
	if (facts.door == DOOR_SHUT) {
		turn_away(&facts, fd, why);
		return;
	}
	if ((a = calloc(1, sizeof(*a))) == NULL) {
		turn_away(&facts, fd, END_MEMORY);
		return;
	}
	a->magic = ARRIVAL_MAGIC;
	a->listener = li;
	a->facts = facts;
	io_init(&a->io, fd, arrival_on_event);
	deadline_init(&a->deadline);
	list_init(&a->link);
	count(a);
	deadline_arm(l->header_clock, &a->deadline, l->worker->now);
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
