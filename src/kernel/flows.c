/* flows.c - the kernel's connections, as main sees them: letters to the thread
 * that knows them, and its answers.  Thread: main, but for each letter's
 * journey. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "kernel/flows_private.h"

#define CORRECT_EVERY 5.0
#define LINGER 5.0
#define CROWDED 0.75
#define BUFFER (64u << 20)

enum wish { WISH_WATCH, WISH_RECOUNT, WISH_CATCH_UP, WISH_HOLDERS, WISH_CUT, WISH_DRAIN, WISH_KEEP, WISH_STOP };

/* To the thread; and back to main where an answer is expected. */
struct wish_letter {
	struct mail mail;
	struct flows *flows;
	enum wish wish;
	unsigned id;
	enum color color;
	/* watch */
	struct service *service;
	uint64_t epoch;
	struct backend **backends;	/* owned, a reference each */
	size_t n_backends;
	/* recount, catch up, cut */
	struct flows_match match;
	enum ending ending;
	struct drain_orders orders;
	flows_fn *done;
	uint64_t n;
	/* holders */
	unsigned max;
	holders_fn *found;
	struct holders holders;
	void *arg;
};

static void
letter_free(struct wish_letter *l)
{
	for (size_t i = 0; l->backends != NULL && i < l->n_backends; i++)
		backend_unref(&l->backends[i]);
	free(l->backends);
	free(l->holders.list);
	free(l);
}

/* -- on the thread ------------------------------------------------------- */

static bool
match_judge(void *arg, const struct flow *flow, const struct flow_fact *fact, enum ending *ending,
	    bool *enough)
{
	const struct wish_letter *l = arg;
	struct addr backend;
	struct backend *b;

	(void)enough;
	if (l->match.backend.len > 0) {
		flow_source(&fact->reply, &backend);
		if (!addr_equal(&backend, &l->match.backend))
			return false;
	}
	if (l->match.share > 0 && flows_place(flow) >= l->match.share)
		return false;
	if (l->match.idle > 0 && flows_idle(l->flows, flow, fact) < l->match.idle)
		return false;
	*ending = l->ending;
	/* The kernel may refuse, and it is cut again. */
	b = l->flows->places.list[flow->place].backend;
	if (l->match.share > 0 && l->ending != END_DRAIN_IDLE && !flow->cut && b != NULL)
		atomic_fetch_add_explicit(&b->cut, 1, memory_order_relaxed);
	return true;
}

static void
cut_by_wish(struct wish_letter *l)
{
	const struct flows_match *m = &l->match;
	uint32_t mask = MARK_TAG | MARK_SERVICE, mark;

	mark = mark_make(l->flows->tag, m->service, m->color == BLUE ? BLUE : GREEN,
			 m->entrance == ENTRANCE_PREVIEW ? ENTRANCE_PREVIEW : ENTRANCE_MAIN, 0);
	if (m->color != FLOWS_ANY)
		mask |= MARK_COLOR;
	if (m->entrance != FLOWS_ANY)
		mask |= MARK_ENTRANCE;
	l->n = flows_round(l->flows, mark & mask, mask, match_judge, l);
}

static bool
holders_judge(void *arg, const struct flow *flow, const struct flow_fact *fact, enum ending *ending,
	      bool *enough)
{
	struct wish_letter *l = arg;
	struct holders *all = &l->holders;
	struct addr backend;
	struct holder *h;

	(void)ending;
	if (!flow->holds)
		return false;
	if (all->n == l->max) {
		all->truncated = *enough = true;
		return false;
	}
	if ((all->n & (all->n - 1)) == 0)
		all->list = must_grow(all->list, all->n > 0 ? all->n * 2 : 1, sizeof(*all->list));
	h = &all->list[all->n++];
	flow_source(&fact->tuple, &h->client);
	flow_source(&fact->reply, &backend);
	addr_format(&backend, h->backend);
	h->age = flows_age(l->flows, flow);
	h->idle = flows_idle(l->flows, flow, fact);
	h->bytes_in = fact->bytes_in;
	h->bytes_out = fact->bytes_out;
	h->state = flow_state_word(flow, fact->tuple.protocol);
	return false;
}

static void
on_answer_letter(struct mail *m, void *receiver)
{
	struct wish_letter *l = container_of(m, struct wish_letter, mail);
	const struct flows *f = receiver;

	if (f->closed)
		;
	else if (l->found != NULL)
		l->found(l->arg, &l->holders);
	else if (l->done != NULL)
		l->done(l->arg, l->n);
	letter_free(l);
}

static void
fulfil(struct flows *f, struct wish_letter *l)
{
	const uint32_t one = MARK_TAG | MARK_SERVICE | MARK_COLOR | MARK_ENTRANCE;

	switch (l->wish) {
	case WISH_WATCH:
		flows_take_watch(f, l->id, l->service, l->epoch, l->backends, l->n_backends);
		l->n_backends = 0;
		break;
	case WISH_RECOUNT:
		flows_recount_now(f);
		l->n = f->held;
		break;
	case WISH_CATCH_UP:
		flows_read_news(f);
		l->n = f->held;
		break;
	case WISH_HOLDERS:
		flows_round(f, mark_make(f->tag, l->id, l->color, ENTRANCE_MAIN, 0), one, holders_judge, l);
		break;
	case WISH_CUT:
		cut_by_wish(l);
		break;
	case WISH_DRAIN:
		flows_drain_begin(f, l->id, l->color, &l->orders);
		break;
	case WISH_KEEP:
		if (f->watched[l->id] != NULL)
			f->watched[l->id]->drains[l->color].on = false;
		break;
	case WISH_STOP:
		ev_break(f->loop, EVBREAK_ALL);
		break;
	}
}

static void
on_wish_letter(struct mail *m, void *receiver)
{
	struct wish_letter *l = container_of(m, struct wish_letter, mail);
	struct flows *f = receiver;

	if (!f->closed)
		fulfil(f, l);
	if (f->closed || (l->done == NULL && l->found == NULL)) {
		letter_free(l);
		return;
	}
	l->mail.deliver = on_answer_letter;
	mailbox_send(&f->answers, &l->mail);
}

/* -- on main ------------------------------------------------------------- */

static struct wish_letter *
letter_new(struct flows *f, enum wish wish, unsigned id)
{
	struct wish_letter *l = must_alloc(sizeof(*l));

	CHECK(id <= MARK_SERVICES);
	l->mail.deliver = on_wish_letter;
	l->flows = f;
	l->wish = wish;
	l->id = id;
	return l;
}

static void
send_wish(struct wish_letter *l)
{
	mailbox_send(&l->flows->requests, &l->mail);
}

static enum err
start_thread(struct flows *f, struct why *why)
{
	int error = thread_start(&f->thread, "teal-flows", flows_thread, f);

	if (error != 0)
		return why_set(why, E_INTERNAL, "no thread for the kernel's connections: %s",
			       strerror(error));
	return OK;
}

static void
free_all(struct flows *f)
{
	f->closed = true;
	mailbox_close(&f->requests);
	mailbox_close(&f->answers);
	for (unsigned id = 0; id <= MARK_SERVICES; id++)
		free(f->watched[id]);
	flow_table_free(&f->table);
	flow_table_free(&f->graves);
	place_table_free(&f->places);
	victims_free(&f->closing);
	victims_free(&f->early);
	ev_loop_destroy(f->loop);
	close(f->news_fd);
	close(f->ask_fd);
	if (f->dump_fd >= 0)
		close(f->dump_fd);
	free(f->counts);
	free(f);
}

enum err
flows_open(struct flows **out, struct ev_loop *loop, const struct flows_options *o, struct why *why)
{
	struct flows *f = must_alloc(sizeof(*f));
	uint64_t entries, max;
	enum err e;

	CHECK(o->tag >= 1 && o->tag <= 255);
	*out = NULL;
	f->tag = o->tag;
	f->shortcut = o->shortcut;
	f->dump_fd = -1;
	f->correct_every = o->correct_every > 0 ? o->correct_every : CORRECT_EVERY;
	f->linger = o->linger > 0 ? o->linger : LINGER;
	f->crowded = o->crowded > 0 ? o->crowded : CROWDED;
	access_init(&f->access, o->config);
	if ((e = flows_wire_ask(&f->ask_fd, why)) != OK)
		goto no_ask;
	/* The first question loads the module, and tells whether we may ask. */
	if ((e = flows_wire_usage(f->ask_fd, &entries, &max, why)) != OK ||
	    (e = flows_wire_listen(o->tag, o->buffer > 0 ? o->buffer : BUFFER, &f->news_fd, why)) != OK)
		goto no_news;
	f->counts = must_array(MARK_SERVICES + 1, sizeof(*f->counts));
	f->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	CHECK(f->loop != NULL);
	mailbox_init(&f->requests, f->loop, f);
	mailbox_init(&f->answers, loop, f);
	flows_thread_init(f);
	if ((e = start_thread(f, why)) != OK) {
		free_all(f);
		return e;
	}
	*out = f;
	return OK;
no_news:
	close(f->ask_fd);
no_ask:
	free(f);
	return e;
}

void
flows_close(struct flows **fp)
{
	struct flows *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	atomic_store_explicit(&f->stop, true, memory_order_relaxed);
	send_wish(letter_new(f, WISH_STOP, 0));
	CHECK(pthread_join(f->thread, NULL) == 0);
	free_all(f);
}

void
flows_watch(struct flows *f, unsigned id, struct service *s, uint64_t epoch)
{
	struct wish_letter *l = letter_new(f, WISH_WATCH, id);

	CHECK(id >= 1 && s->n_tallies >= 1);
	l->service = s;
	l->epoch = epoch;
	l->backends = must_array(s->colors[GREEN].n + s->colors[BLUE].n, sizeof(*l->backends));
	for (int c = 0; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++)
			l->backends[l->n_backends++] = backend_ref(s->colors[c].backends[i]);
	send_wish(l);
}

void
flows_recount(struct flows *f, flows_fn *done, void *arg)
{
	struct wish_letter *l = letter_new(f, WISH_RECOUNT, 0);

	l->done = done;
	l->arg = arg;
	send_wish(l);
}

void
flows_catch_up(struct flows *f, flows_fn *done, void *arg)
{
	struct wish_letter *l = letter_new(f, WISH_CATCH_UP, 0);

	l->done = done;
	l->arg = arg;
	send_wish(l);
}

uint64_t
flows_count(const struct flows *f, unsigned id, enum entrance entrance, enum color color)
{
	CHECK(id <= MARK_SERVICES);
	return atomic_load_explicit(&f->counts[id][entrance][color], memory_order_relaxed);
}

void
flows_holders(struct flows *f, unsigned id, enum color color, unsigned max, holders_fn *done, void *arg)
{
	struct wish_letter *l = letter_new(f, WISH_HOLDERS, id);

	l->color = color;
	l->max = max;
	l->found = done;
	l->arg = arg;
	send_wish(l);
}

void
flows_cut(struct flows *f, const struct flows_match *m, enum ending ending, flows_fn *done, void *arg)
{
	struct wish_letter *l = letter_new(f, WISH_CUT, m->service);

	CHECK(m->service >= 1);
	l->match = *m;
	l->ending = ending;
	l->done = done;
	l->arg = arg;
	send_wish(l);
}

void
flows_drain(struct flows *f, unsigned id, enum color color, const struct drain_orders *orders)
{
	struct wish_letter *l = letter_new(f, WISH_DRAIN, id);

	l->color = color;
	l->orders = *orders;
	send_wish(l);
}

void
flows_keep(struct flows *f, unsigned id, enum color color)
{
	struct wish_letter *l = letter_new(f, WISH_KEEP, id);

	l->color = color;
	send_wish(l);
}

void
flows_usage(const struct flows *f, struct flows_usage *out)
{
	out->entries = atomic_load_explicit(&f->entries, memory_order_relaxed);
	out->max = atomic_load_explicit(&f->max, memory_order_relaxed);
	out->tracked = atomic_load_explicit(&f->tracked, memory_order_relaxed);
	out->dumps = atomic_load_explicit(&f->dumps, memory_order_relaxed);
	out->overruns = atomic_load_explicit(&f->overruns, memory_order_relaxed);
	out->unseen = atomic_load_explicit(&f->unseen, memory_order_relaxed);
	out->clashed = atomic_load_explicit(&f->clashed, memory_order_relaxed);
	out->dropped = atomic_load_explicit(&f->dropped, memory_order_relaxed);
	out->shortcuts = atomic_load_explicit(&f->shortcuts, memory_order_relaxed);
	out->dump_seconds = (double)atomic_load_explicit(&f->dump_us, memory_order_relaxed) / 1e6;
}
