/* test_mailbox.c - letters between threads: none is lost, each sender's come
 * in order, and nobody has to wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "base/check.h"
#include "net/mailbox.h"
#include "wait.h"

#define SENDERS 4
#define LETTERS 20000

struct letter {
	struct mail mail;
	unsigned from, number;
};

struct reader {
	struct mailbox box;
	pthread_t thread;
	unsigned next[SENDERS];	/* number expected from each */
	unsigned opened, misplaced, elsewhere;
	bool one_by_one;
	sem_t read;
};

struct sender {
	struct reader *reader;
	unsigned who;
	pthread_t thread;
};

static void
letter_on_open(struct mail *m, void *receiver)
{
	struct letter *l = container_of(m, struct letter, mail);
	struct reader *r = receiver;

	r->misplaced += l->number != r->next[l->from];
	r->next[l->from] = l->number + 1;
	r->elsewhere += !pthread_equal(pthread_self(), r->thread);
	r->opened++;
	if (r->one_by_one)
		sem_post(&r->read);
	free(l);
}

static void
post(struct reader *r, unsigned from, unsigned number)
{
	struct letter *l = must_alloc(sizeof(*l));

	l->mail.deliver = letter_on_open;
	l->from = from;
	l->number = number;
	mailbox_send(&r->box, &l->mail);
}

static void *
send_all(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < LETTERS; i++)
		post(s->reader, s->who, i);
	return NULL;
}

static void
open_reader(struct reader *r, struct ev_loop *loop)
{
	*r = (struct reader){ .thread = pthread_self() };
	mailbox_init(&r->box, loop, r);
}

static void
test_every_letter_arrives_once_and_in_its_senders_order(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct sender senders[SENDERS];
	struct reader r;

	(void)state;
	open_reader(&r, loop);
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ .reader = &r, .who = i };
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
	}
	WAIT_UNTIL(loop, r.opened == SENDERS * LETTERS);
	for (unsigned i = 0; i < SENDERS; i++) {
		pthread_join(senders[i].thread, NULL);
		assert_int_equal(r.next[i], LETTERS);
	}
	assert_int_equal(r.misplaced, 0);
	assert_int_equal(r.elsewhere, 0);
	mailbox_close(&r.box);
	ev_loop_destroy(loop);
}

/* Sends a letter only when the one before has been opened: by then the
 * reader is on its way to sleep, and every letter has to wake it. */
static void *
send_one_by_one(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < LETTERS; i++) {
		sem_wait(&s->reader->read);
		post(s->reader, s->who, i);
	}
	return NULL;
}

static void
test_no_wake_up_is_lost(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct reader r;
	struct sender s = { .reader = &r };

	(void)state;
	open_reader(&r, loop);
	r.one_by_one = true;
	sem_init(&r.read, 0, 1);
	assert_int_equal(pthread_create(&s.thread, NULL, send_one_by_one, &s), 0);
	WAIT_UNTIL(loop, r.opened == LETTERS);
	pthread_join(s.thread, NULL);
	assert_int_equal(r.misplaced, 0);
	mailbox_close(&r.box);
	sem_destroy(&r.read);
	ev_loop_destroy(loop);
}

static void
test_waiting_for_letters_keeps_no_loop_alive(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct reader r;

	(void)state;
	open_reader(&r, loop);
	assert_int_equal(ev_run(loop, 0), 0);	/* returns at all */
	mailbox_close(&r.box);
	assert_int_equal(ev_run(loop, 0), 0);
	ev_loop_destroy(loop);
}

/* A letter whose opening sends the next one. */
struct chain {
	struct mail mail;
	struct mailbox *box;
	unsigned left, opened;
};

static void
chain_on_open(struct mail *m, void *receiver)
{
	struct chain *c = container_of(m, struct chain, mail);

	(void)receiver;
	c->opened++;
	if (c->left-- > 0)
		mailbox_send(c->box, &c->mail);
}

static void
test_closing_opens_what_is_inside_and_what_follows_from_it(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct chain c = { .mail = { .deliver = chain_on_open }, .left = 5 };
	struct mailbox box;

	(void)state;
	mailbox_init(&box, loop, NULL);
	c.box = &box;
	mailbox_send(&box, &c.mail);
	assert_int_equal(c.opened, 0);	/* sending opens nothing */
	mailbox_close(&box);
	assert_int_equal(c.opened, 6);
	ev_loop_destroy(loop);
}

static void
test_emptying_opens_only_what_is_inside_now(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct chain c = { .mail = { .deliver = chain_on_open }, .left = 1 };
	struct mailbox box;

	(void)state;
	mailbox_init(&box, loop, NULL);
	c.box = &box;
	mailbox_send(&box, &c.mail);
	mailbox_empty(&box);
	assert_int_equal(c.opened, 1);
	WAIT_UNTIL(loop, c.opened == 2);
	mailbox_close(&box);
	ev_loop_destroy(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_letter_arrives_once_and_in_its_senders_order),
		cmocka_unit_test(test_no_wake_up_is_lost),
		cmocka_unit_test(test_waiting_for_letters_keeps_no_loop_alive),
		cmocka_unit_test(test_closing_opens_what_is_inside_and_what_follows_from_it),
		cmocka_unit_test(test_emptying_opens_only_what_is_inside_now),
	};

	return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
