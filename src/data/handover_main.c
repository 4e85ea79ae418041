/* handover_main.c - main lets its workers stop accepting, give and take.  Thread: main, but for each
 * letter's journey. */
#include <stdlib.h>
#include <unistd.h>

#include "data/handover_private.h"
#include "data/lane.h"

const struct handover_kind *const handover_kinds[HANDOVER_KINDS] = {
	[HANDOVER_SESSION] = &session_handover,
	[HANDOVER_HANDSHAKE] = &handshake_handover,
	[HANDOVER_CLIENT] = &http_conn_handover,
	[HANDOVER_UPSTREAM] = &upstream_handover,
	[HANDOVER_FLOW] = &udp_flow_handover,
	[HANDOVER_FLOWS_END] = &udp_end_handover,
};

/* What is over once each worker has answered. */
struct round {
	unsigned waiting;
	void (*done)(void *arg);
	void *arg;
};

struct round_letter {
	struct mail mail;	/* to main */
	struct round *round;
};

static void
round_back(struct mail *m, void *receiver)
{
	struct round_letter *letter = container_of(m, struct round_letter, mail);
	const struct proxy *p = receiver;
	struct round *r = letter->round;

	free(letter);
	if (--r->waiting > 0)
		return;
	if (r->done != NULL && !p->ending)
		r->done(r->arg);
	free(r);
}

static struct round *
round_new(unsigned n, void (*done)(void *arg), void *arg)
{
	struct round *r = must_alloc(sizeof(*r));

	*r = (struct round){ n, done, arg };
	return r;
}

static struct mail *
round_answer(struct round *r)
{
	struct round_letter *letter = must_alloc(sizeof(*letter));

	letter->mail.deliver = round_back;
	letter->round = r;
	return &letter->mail;
}

/* -- accepting ends -------------------------------------------------------------- */

struct yield_letter {
	struct mail mail;
	struct mail *answer;
};

static void
yield_open(struct mail *m, void *receiver)
{
	struct yield_letter *y = container_of(m, struct yield_letter, mail);
	struct worker *w = receiver;
	struct listener *l;

	w->yielded = true;
	for (unsigned i = 0; (l = worker_next_listener(w, &i)) != NULL;)
		listener_yield(l);
	mailbox_send(&w->proxy->mailbox, y->answer);
	free(y);
}

void
proxy_yield(struct proxy *p, void (*done)(void *arg), void *arg)
{
	struct round *r = round_new(p->n_workers, done, arg);

	p->closing = true;
	for (unsigned i = 0; i < p->n_workers; i++) {
		struct yield_letter *y = must_alloc(sizeof(*y));

		y->mail.deliver = yield_open;
		y->answer = round_answer(r);
		mailbox_send(&p->workers[i].mailbox, &y->mail);
	}
}

/* -- channels -------------------------------------------------------------------- */

struct channel_letter {
	struct mail mail;
	struct channel *channel;
	struct handover *handover;	/* for a worker that has none yet: it may have no memory */
	struct handover_book *book;	/* of one that takes: a reference */
};

static void
channel_letter_open(struct mail *m, void *receiver)
{
	struct channel_letter *c = container_of(m, struct channel_letter, mail);
	struct worker *w = receiver;

	if (w->handover == NULL) {
		w->handover = c->handover;
		c->handover = NULL;
	}
	handover_open(w, c->channel);
	if (c->book != NULL)
		handover_obey_book(w, c->book);
	free(c->handover);
	free(c);
}

static void
send_channel(struct worker *w, int fd, struct mail *told, struct handover_book *book)
{
	struct channel_letter *c = must_alloc(sizeof(*c));

	*c = (struct channel_letter){ { .deliver = channel_letter_open }, channel_new(fd, told, handover_kinds),
				      must_alloc(sizeof(struct handover)), book };
	list_init(&c->handover->channels);
	mailbox_send(&w->mailbox, &c->mail);
}

void
proxy_give(struct proxy *p, const int *channels, unsigned n, void (*on_given)(void *arg), void *arg)
{
	unsigned given = n < p->n_workers ? n : p->n_workers;
	struct round *r;

	CHECK(n > 0);
	r = round_new(given, on_given, arg);
	for (unsigned i = 0; i < given; i++)
		send_channel(&p->workers[i], channels[i], round_answer(r), NULL);
	/* Of a process that thinks that we have more workers. */
	for (unsigned i = given; i < n; i++)
		close(channels[i]);
}

static struct handover_book *
write_book(const struct proxy *p)
{
	struct handover_book *b = must_alloc(sizeof(*b) + p->n_services * sizeof(struct book_service));

	atomic_init(&b->refs, 1);
	b->n = p->n_services;
	for (unsigned i = 0; i < p->n_services; i++) {
		const struct service *s = p->services[i];
		struct book_service *entry = &b->services[i];

		if ((entry->service = s) == NULL)
			continue;
		entry->backends = must_array(s->colors[GREEN].n + s->colors[BLUE].n + 1, sizeof(struct backend *));
		for (int c = 0; c < COLORS; c++)
			for (size_t k = 0; k < s->colors[c].n; k++)
				entry->backends[entry->n++] = backend_ref(s->colors[c].backends[k]);
	}
	return b;
}

void
proxy_take(struct proxy *p, const int *channels, unsigned n)
{
	struct handover_book *book = write_book(p);

	for (unsigned i = 0; i < n; i++) {
		atomic_fetch_add_explicit(&book->refs, 1, memory_order_relaxed);
		send_channel(&p->workers[i % p->n_workers], channels[i], NULL, book);
	}
	handover_book_unref(&book);
}

struct handover_counts
proxy_handed(const struct proxy *p)
{
	return (struct handover_counts){
		.given = tally_read(&p->handed.given),
		.taken = tally_read(&p->handed.taken),
		.refused = tally_read(&p->handed.refused),
		.broken = tally_read(&p->handed.broken),
	};
}
