/* handover_find.c - what a connection of another process belongs to here, and how one of ours is
 * let go.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/handover_private.h"
#include "data/lane.h"
#include "net/epoll_forget.h"

static bool
is_called(const struct lane *l, struct str name, bool before)
{
	if (l->leaving)
		return false;
	if (!before)
		return str_eq(name, l->config->name);
	return l->service->renamed && l->config->rename != NULL && str_eq(name, l->config->rename);
}

/* They come lane by lane, so it is the one before, mostly. */
struct lane *
handover_lane(struct worker *w, struct str service)
{
	struct handover *h = w->handover;
	struct lane *l = h->last_slot < w->n_lanes ? w->lanes[h->last_slot] : NULL;

	if (l != NULL && is_called(l, service, false))
		return l;
	for (int before = 0; before <= 1; before++)
		for (unsigned slot = 0; (l = worker_next_lane(w, &slot)) != NULL;)
			if (is_called(l, service, before != 0)) {
				h->last_slot = slot - 1;
				return l;
			}
	return NULL;
}

struct listener *
handover_listener(struct worker *w, const struct addr *address, enum entrance entrance)
{
	struct listener *l;

	for (unsigned i = 0; (l = worker_next_listener(w, &i)) != NULL;)
		if (!l->retired && !l->binding->datagram && l->entrance == entrance && addr_equal(&l->binding->addr, address))
			return l;
	return NULL;
}

static bool
is_at(const struct backend *b, enum color color, struct str address)
{
	return b->color == color && str_eq(address, b->text);
}

static struct backend *
backend_in(struct backend *const *list, size_t n, enum color color, struct str address)
{
	for (size_t i = 0; i < n; i++)
		if (is_at(list[i], color, address))
			return list[i];
	return NULL;
}

static struct backend *
known_backend(const struct lane *l, enum color color, struct str address)
{
	const struct handover_book *book = l->worker->handover->book;
	const struct snapshot_color *sc = l->snapshot != NULL ? &l->snapshot->colors[color] : NULL;
	unsigned slot = l->service->index;
	struct backend *b = NULL;

	if (sc != NULL)
		b = backend_in(sc->usable, sc->n, color, address);
	if (b == NULL && sc != NULL)
		b = backend_in(sc->down, sc->n_down, color, address);
	for (unsigned i = 0; b == NULL && sc != NULL && i < sc->n_leaving; i++)
		if (is_at(sc->leaving[i].backend, color, address))
			b = sc->leaving[i].backend;
	if (b == NULL && book != NULL && slot < book->n && book->services[slot].service == l->service)
		b = backend_in(book->services[slot].backends, book->services[slot].n, color, address);
	return b;
}

static struct backend *
stranger(struct lane *l, enum color color, struct str address)
{
	struct handover *h = l->worker->handover;
	struct stranger *grown;
	struct backend *b;
	char text[ADDR_TEXT];
	struct addr at;
	struct why why;

	for (size_t i = 0; i < h->n_strangers; i++)
		if (h->strangers[i].service == l->service && is_at(h->strangers[i].backend, color, address))
			return h->strangers[i].backend;
	if (address.n >= sizeof(text))
		return NULL;
	memcpy(text, address.p, address.n);
	text[address.n] = '\0';
	if (addr_parse(text, 0, &at, &why) != OK ||
	    (grown = realloc(h->strangers, (h->n_strangers + 1) * sizeof(*grown))) == NULL)
		return NULL;
	h->strangers = grown;
	if ((b = backend_try_new(color, &at, &at)) != NULL)
		grown[h->n_strangers++] = (struct stranger){ l->service, b };
	return b;
}

struct backend *
handover_backend(struct lane *l, enum color color, struct str address)
{
	struct backend *b = known_backend(l, color, address);

	if (b == NULL)
		b = stranger(l, color, address);
	return b != NULL ? backend_ref(b) : NULL;
}

void
handover_book_unref(struct handover_book **bp)
{
	struct handover_book *b = *bp;

	*bp = NULL;
	if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < b->n; i++) {
		for (size_t k = 0; k < b->services[i].n; k++)
			backend_unref(&b->services[i].backends[k]);
		free(b->services[i].backends);
	}
	free(b);
}

void
handover_obey_book(struct worker *w, struct handover_book *book)
{
	struct handover *h = w->handover;

	handover_book_unref(&h->book);
	h->book = book;
}

void
handover_forget_known(struct handover *h)
{
	handover_book_unref(&h->book);
	for (size_t i = 0; i < h->n_strangers; i++)
		backend_unref(&h->strangers[i].backend);
	free(h->strangers);
	h->strangers = NULL;
	h->n_strangers = 0;
}

void
handover_forget(struct worker *w, struct io *io)
{
	int fd = io_fd(io);

	if (fd < 0)
		return;
	CHECK(!io_is_tls(io));
	ev_io_stop(w->loop, &io->watcher);
	epoll_forget(w->epoll, fd);
	close(fd);
	io->watcher.fd = -1;
}
