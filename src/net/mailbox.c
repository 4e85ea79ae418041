/* mailbox.c - a lock-free stack of letters, taken whole and reversed. */
#include "base/check.h"
#include "net/mailbox.h"
#include "net/turn.h"

void
mailbox_empty(struct mailbox *box)
{
	struct mail *m = atomic_exchange_explicit(&box->newest, NULL, memory_order_acquire), *oldest = NULL;

	while (m != NULL) {
		struct mail *next = m->next;

		m->next = oldest;
		oldest = m;
		m = next;
	}
	while (oldest != NULL) {
		m = oldest;
		oldest = m->next;
		m->deliver(m, box->receiver);
	}
}

static void
mailbox_on_wake(struct ev_loop *loop, ev_async *w, int revents)
{
	(void)loop;
	(void)revents;
	mailbox_empty(container_of(w, struct mailbox, wake));
}

void
mailbox_init(struct mailbox *box, struct ev_loop *loop, void *receiver)
{
	atomic_init(&box->newest, NULL);
	box->loop = loop;
	box->receiver = receiver;
	ev_async_init(&box->wake, mailbox_on_wake);
	ev_set_priority(&box->wake, TURN_FIRST);
	ev_async_start(loop, &box->wake);
	/* Waiting for letters does not keep a loop alive. */
	ev_unref(loop);
}

void
mailbox_close(struct mailbox *box)
{
	while (atomic_load_explicit(&box->newest, memory_order_relaxed) != NULL)
		mailbox_empty(box);
	ev_ref(box->loop);
	ev_async_stop(box->loop, &box->wake);
}

void
mailbox_send(struct mailbox *box, struct mail *m)
{
	struct mail *head = atomic_load_explicit(&box->newest, memory_order_relaxed);

	do {
		m->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&box->newest, &head, m, memory_order_release,
							memory_order_relaxed));
	/* The first letter in an empty box wakes the reader; for the others the
	 * wake-up is already on its way. */
	if (head == NULL)
		ev_async_send(box->loop, &box->wake);
}
