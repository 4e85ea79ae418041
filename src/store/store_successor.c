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

	*out = (struct store_status){ .type = f->type, .up = true, .where = "the teald that has taken over" };
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
successor_close(struct store **sp)
{
	struct store_successor *f = successor_of(*sp);

	*sp = NULL;
	answer_all(f);
	ev_timer_stop(f->loop, &f->answer);
	free(f);
}

struct store *
store_successor_new(struct ev_loop *loop, const char *type)
{
	struct store_successor *f = must_alloc(sizeof(*f));

	*f = (struct store_successor){
		.store = { .open = successor_open,
			   .write = successor_write,
			   .note = successor_note,
			   .history = successor_history,
			   .status = successor_status,
			   .write_nodes = successor_write_nodes,
			   .reconfigure = successor_reconfigure,
			   .close = successor_close },
		.loop = loop,
		.type = type,
	};
	list_init(&f->refused);
	ev_timer_init(&f->answer, successor_on_answer, 0.0, 0.0);
	return &f->store;
}
