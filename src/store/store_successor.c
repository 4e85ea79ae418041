/* store_successor.c - a store that another process has now.  Thread: main. */
#include <stdlib.h>

#include "base/check.h"
#include "base/list.h"
#include "store/store_successor.h"

static const struct why refusal = { "another teald has taken over from this one: ask that" };

/* Answered from the loop, not from our stack. */
struct refused {
	struct link link;
	store_done_fn *done;
	void *arg;
};

struct store_successor {
	struct store store;
	struct ev_loop *loop;
	const char *type;
	ev_timer answer;
	struct link refused;
	void (*ask)(void *arg);
	void *ask_arg;
	struct link waiting;	/* struct waiter: for a reading */
	struct fleet fleet;	/* as the successor has read it last */
};

struct waiter {
	struct link link;
	store_refreshed_fn *done;
	void *arg;
};

static struct store_successor *
successor_of(struct store *s)
{
	return container_of(s, struct store_successor, store);
}

static enum err
successor_open(struct store *s, struct why *why)
{
	(void)s;
	(void)why;
	return OK;
}

static void
answer_all(struct store_successor *f)
{
	struct link all;

	list_init(&all);
	list_splice(&all, &f->refused);
	LIST_EACH(l, &all) {
		struct refused *r = list_entry(l, struct refused, link);

		list_remove(&r->link);
		r->done(r->arg, E_STORE, NULL, &refusal);
		free(r);
	}
}

static void
successor_on_answer(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	answer_all(container_of(t, struct store_successor, answer));
}

static void
successor_write(struct store *s, const struct store_write *w, store_done_fn *done, void *arg)
{
	struct store_successor *f = successor_of(s);
	struct refused *r = must_alloc(sizeof(*r));

	(void)w;
	*r = (struct refused){ .done = done, .arg = arg };
	list_init(&r->link);
	list_append(&f->refused, &r->link);
	ev_timer_start(f->loop, &f->answer);
}

static void
successor_write_all(struct store *s, const struct store_write *w, size_t n, store_done_fn *done, void *const *args)
{
	for (size_t i = 0; i < n; i++)
		successor_write(s, &w[i], done, args[i]);
}

/* The successor notes what it is asked; this teald is asked nothing any more. */
static void
successor_note(struct store *s, const struct audit_entry *entry)
{
	(void)s;
	(void)entry;
}

static void
successor_history(struct store *s, const char *service, unsigned last, store_history_fn *done, void *arg)
{
	(void)s;
	(void)service;
	(void)last;
	done(arg, E_STORE, NULL, 0, &refusal);
}

static void
successor_status(const struct store *s, struct store_status *out)
{
	const struct store_successor *f = container_of(s, const struct store_successor, store);

	*out = (struct store_status){ .type = f->type, .up = true, .read = true, .where = "the teald that has taken over" };
}

static void
successor_write_nodes(struct store *s, const char *pool, const struct overlay *next, store_nodes_fn *done, void *arg)
{
	(void)s;
	(void)pool;
	(void)next;
	done(arg, E_STORE, &refusal);
}

static void
successor_reconfigure(struct store *s, const struct config *to)
{
	(void)s;
	(void)to;
}

static void
tell_waiters(struct store_successor *f, enum err e)
{
	struct link all;

	list_init(&all);
	list_splice(&all, &f->waiting);
	LIST_EACH(l, &all) {
		struct waiter *w = list_entry(l, struct waiter, link);

		list_remove(&w->link);
		w->done(w->arg, e, &refusal);
		free(w);
	}
}

/* One that asks while others wait is told what they are: it was read after it asked, or
 * a moment before. */
static void
successor_refresh(struct store *s, store_refreshed_fn *done, void *arg)
{
	struct store_successor *f = successor_of(s);
	struct waiter *w = must_alloc(sizeof(*w));
	bool first = list_empty(&f->waiting);

	*w = (struct waiter){ .done = done, .arg = arg };
	list_init(&w->link);
	list_append(&f->waiting, &w->link);
	if (f->ask == NULL)
		tell_waiters(f, E_STORE);
	else if (first)
		f->ask(f->ask_arg);
}

static const struct fleet *
successor_fleet(const struct store *s)
{
	return &container_of(s, const struct store_successor, store)->fleet;
}

void
store_successor_hear(struct store *s, void (*ask)(void *arg), void *arg)
{
	struct store_successor *f = successor_of(s);

	f->ask = ask;
	f->ask_arg = arg;
	if (ask == NULL)
		tell_waiters(f, E_STORE);
}

void
store_successor_read(struct store *s, enum err e, struct fleet *f)
{
	struct store_successor *own = successor_of(s);

	if (e == OK) {
		fleet_free(&own->fleet);
		own->fleet = *f;
		*f = (struct fleet){ .n = 0 };
	}
	fleet_free(f);
	tell_waiters(own, e);
}

static void
successor_close(struct store **sp)
{
	struct store_successor *f = successor_of(*sp);

	*sp = NULL;
	answer_all(f);
	tell_waiters(f, E_STORE);
	fleet_free(&f->fleet);
	ev_timer_stop(f->loop, &f->answer);
	free(f);
}

struct store *
store_successor_new(struct ev_loop *loop, const char *type, bool fleet)
{
	struct store_successor *f = must_alloc(sizeof(*f));

	*f = (struct store_successor){
		.store = { .open = successor_open,
			   .write = successor_write,
			   .write_all = successor_write_all,
			   .note = successor_note,
			   .history = successor_history,
			   .status = successor_status,
			   .write_nodes = successor_write_nodes,
			   .reconfigure = successor_reconfigure,
			   .close = successor_close },
		.loop = loop,
		.type = type,
	};
	if (fleet) {
		f->store.refresh = successor_refresh;
		f->store.fleet = successor_fleet;
	}
	list_init(&f->refused);
	list_init(&f->waiting);
	ev_timer_init(&f->answer, successor_on_answer, 0.0, 0.0);
	return &f->store;
}
