/* config_ring.c - services that lead to each other: what comes in to one of them would circle for ever.
 * Start-up thread, or the helper of a reload, only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "model/config_draft.h"

/* Names of a ring that are said; a longer one is cut. */
#define RING_NAMES 8

/* An address where services listen; those of it are in a row of the list of entrances. */
struct ring_place {
	struct addr addr;
	bool udp;
	size_t first, n;
};

struct ring_entrance {
	struct addr addr;
	bool udp;
	size_t service;
};

/* The way on from one service: by one backend to one service that listens there. */
struct ring_edge {
	size_t to;
	enum color color;
	const struct backend_config *backend;
};

/* Where a walk stands in a service. */
struct ring_step {
	size_t service;
	enum color color;
	size_t backend;	/* the next to be looked at: of the color, */
	unsigned candidate;	/* of the places that it may be, */
	size_t at;	/* and of the services there */
	const struct ring_place *place;
	struct ring_edge taken;	/* that leads to the next step */
};

enum ring_mark { RING_NEW, RING_ON_WAY, RING_OVER };

struct rings {
	struct draft *draft;
	struct ring_entrance *entrances;
	size_t n_entrances;
	struct ring_place *places;	/* sorted */
	size_t n_places;
	bool shared;	/* ways by addresses that several services share count, too */
	unsigned char *marks;	/* enum ring_mark, of each service */
	bool *told;
	struct ring_step *way;
	size_t depth;
	bool found;
};

/* -- where they listen --------------------------------------------------------------- */

static void
add_listens(struct rings *r, size_t service, const struct addr *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (addr_family(&list[i]) == AF_UNIX)
			continue;
		if ((r->n_entrances & (r->n_entrances - 1)) == 0)
			r->entrances = must_grow(r->entrances, r->n_entrances == 0 ? 1 : 2 * r->n_entrances, sizeof(*r->entrances));
		r->entrances[r->n_entrances++] = (struct ring_entrance){
			.addr = list[i],
			.udp = r->draft->services[service].s.mode == MODE_UDP,
			.service = service,
		};
	}
}

/* By what a connect could reach at all: transport, family and port. */
static int
compare_reach(bool udp, const struct addr *a, bool other_udp, const struct addr *other)
{
	int fa = addr_family(a), fb = addr_family(other);
	unsigned pa = addr_port(a), pb = addr_port(other);

	if (udp != other_udp)
		return udp - other_udp;
	return fa != fb ? fa - fb : (pa > pb) - (pa < pb);
}

static int
compare_ring_entrances(const void *a, const void *b)
{
	const struct ring_entrance *x = a, *y = b;
	int order = compare_reach(x->udp, &x->addr, y->udp, &y->addr);

	if (order == 0)
		order = addr_compare(&x->addr, &y->addr);
	return order != 0 ? order : (x->service > y->service) - (x->service < y->service);
}

static void
find_places(struct rings *r)
{
	for (size_t i = 0; i < r->draft->n_services; i++) {
		const struct service_config *s = &r->draft->services[i].s;

		add_listens(r, i, s->listen, s->n_listen);
		add_listens(r, i, s->preview, s->n_preview);
		add_listens(r, i, s->plain_listen, s->n_plain_listen);
	}
	if (r->n_entrances > 0)
		qsort(r->entrances, r->n_entrances, sizeof(*r->entrances), compare_ring_entrances);
	r->places = must_array(r->n_entrances + 1, sizeof(*r->places));
	for (size_t i = 0; i < r->n_entrances; i++) {
		const struct ring_entrance *e = &r->entrances[i];
		struct ring_place *last = r->n_places > 0 ? &r->places[r->n_places - 1] : NULL;

		if (last == NULL || last->udp != e->udp || !addr_equal(&last->addr, &e->addr))
			r->places[r->n_places++] = (struct ring_place){ e->addr, e->udp, i, 1 };
		else
			last->n++;
	}
}

static const struct ring_place *
ring_place_at(const struct rings *r, bool udp, const struct addr *a)
{
	size_t low = 0, high = r->n_places;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct ring_place *p = &r->places[middle];
		int order = compare_reach(p->udp, &p->addr, udp, a);

		if (order == 0)
			order = addr_compare(&p->addr, a);
		if (order == 0)
			return p;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The i-th place that a backend of that address may be, NULL: it is none; however many listen on its port. */
static const struct ring_place *
candidate(struct rings *r, bool udp, const struct addr *backend, unsigned i)
{
	static const unsigned char any[16], loopback4[] = { 127, 0, 0, 1 }, loopback6[16] = { [15] = 1 };
	bool four = addr_family(backend) == AF_INET;
	const struct ring_place *p;
	struct addr a;

	if (i == 0)
		return ring_place_at(r, udp, backend);
	addr_set_ip(&a, addr_family(backend), i == 1 ? any : four ? loopback4 : loopback6, 0);
	addr_set_port(&a, addr_port(backend));
	p = addr_equal(&a, backend) ? NULL : ring_place_at(r, udp, &a);
	return p != NULL && local_addrs_arrives(&r->draft->locals, backend, &p->addr) ? p : NULL;
}
#define RING_CANDIDATES 3

/* -- the walk ----------------------------------------------------------------------- */

static bool
is_shared_place(const struct rings *r, const struct ring_place *p)
{
	for (size_t i = 1; i < p->n; i++)
		if (r->entrances[p->first + i].service != r->entrances[p->first].service)
			return true;
	return false;
}

/* The next way on from where the walk stands; false: there is none left. */
static bool
next_edge(struct rings *r, struct ring_step *s, struct ring_edge *out)
{
	const struct service_config *sc = &r->draft->services[s->service].s;
	bool udp = sc->mode == MODE_UDP;

	for (; s->color <= BLUE; s->color++, s->backend = 0)
		for (; s->backend < sc->colors[s->color].n_backends; s->backend++, s->candidate = 0) {
			const struct backend_config *b = &sc->colors[s->color].backends[s->backend];

			for (; b->address.len > 0 && s->candidate < RING_CANDIDATES; s->candidate++, s->at = 0) {
				const struct ring_place *p = s->at > 0 ? s->place : candidate(r, udp, &b->address, s->candidate);

				s->place = p;
				if (p == NULL || s->at >= p->n || (!r->shared && is_shared_place(r, p)))
					continue;
				*out = (struct ring_edge){ r->entrances[p->first + s->at++].service, s->color, b };
				return true;
			}
		}
	return false;
}

static const char *
ring_name(const struct rings *r, size_t service)
{
	const char *name = r->draft->services[service].s.name;

	return name != NULL ? name : "?";
}

/* The steps from `first` on are a ring: told once, of the first of them in the file. */
static void
tell_ring(struct rings *r, size_t first)
{
	size_t n = r->depth - first, begin = 0;
	const struct service_draft *s;
	const struct ring_step *from;
	struct cursor c;
	struct buf names;
	char text[ADDR_TEXT];

	for (size_t i = 0; i < n; i++) {
		if (r->told[r->way[first + i].service])
			return;
		if (r->way[first + i].service < r->way[first + begin].service)
			begin = i;
	}
	buf_init(&names, 4096);
	for (size_t i = 0; i <= n && i < RING_NAMES; i++)
		buf_printf(&names, "%s%s", i > 0 ? " > " : "", ring_name(r, r->way[first + (begin + i) % n].service));
	if (n >= RING_NAMES)
		buf_printf(&names, " > and %zu more", n + 1 - RING_NAMES);
	buf_append(&names, "", 1);
	for (size_t i = 0; i < n; i++)
		r->told[r->way[first + i].service] = true;
	r->found = true;
	from = &r->way[first + begin];
	s = &r->draft->services[from->service];
	c = (struct cursor){ r->draft->r, s->where, "", NULL };
	(r->shared ? cursor_warn : cursor_error)(
		&c, draft_color_setting(s, from->taken.color),
		r->shared ? "%sbackend %s is where service \"%s\" listens, which leads back here (%s): what goes by the same "
			    "name all the way circles for ever" :
			    "%sbackend %s is service \"%s\", which leads back here (%s): what comes in would circle for ever; "
			    "give one of them another backend",
		draft_color_prefix(s, from->taken.color), addr_format(&from->taken.backend->address, text),
		ring_name(r, from->taken.to), buf_str(&names).p);
	buf_free(&names);
}

static void
enter_service(struct rings *r, size_t service)
{
	r->marks[service] = RING_ON_WAY;
	r->way[r->depth++] = (struct ring_step){ .service = service, .color = GREEN };
}

static size_t
place_on_way(const struct rings *r, size_t service)
{
	size_t i = r->depth;

	while (i > 0 && r->way[i - 1].service != service)
		i--;
	CHECK(i > 0);
	return i - 1;
}

static void
walk_from(struct rings *r, size_t service)
{
	struct ring_edge e;

	enter_service(r, service);
	while (r->depth > 0) {
		struct ring_step *last = &r->way[r->depth - 1];

		if (!next_edge(r, last, &e)) {
			r->marks[last->service] = RING_OVER;
			r->depth--;
			continue;
		}
		last->taken = e;
		/* One that is its own backend is told of as such. */
		if (e.to == last->service)
			continue;
		if (r->marks[e.to] == RING_NEW)
			enter_service(r, e.to);
		else if (r->marks[e.to] == RING_ON_WAY)
			tell_ring(r, place_on_way(r, e.to));
	}
}

void
draft_check_rings(struct draft *d)
{
	struct rings r = { .draft = d };
	size_t n = d->n_services;

	find_places(&r);
	r.marks = must_array(n + 1, sizeof(*r.marks));
	r.told = must_array(n + 1, sizeof(*r.told));
	r.way = must_array(n + 1, sizeof(*r.way));
	/* First those that are certain. */
	for (int shared = 0; shared <= 1 && !r.found; shared++) {
		r.shared = shared != 0;
		memset(r.marks, RING_NEW, n);
		for (size_t i = 0; i < n; i++)
			if (r.marks[i] == RING_NEW)
				walk_from(&r, i);
	}
	free(r.entrances);
	free(r.places);
	free(r.marks);
	free(r.told);
	free(r.way);
}
