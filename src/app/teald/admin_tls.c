/* admin_tls.c - main's side of the admin listener: its sockets, and letters to and from its thread.
 * Thread: main.  Born in admin_tls_bind(), dies in admin_tls_close(). */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "app/teald/admin_tls_thread.h"
#include "base/log.h"

#define BACKLOG 128
/* A peer that is gone is noticed after about two minutes. */
static const struct sock_keepalive keepalive = { .on = true, .idle = 60, .interval = 15, .count = 4 };

struct admin_tls {
	const struct config *config;	/* borrowed: what is obeyed */
	struct ev_loop *loop;	/* NULL before the start */
	struct mailbox mailbox;
	struct admin_tls_calls calls;
	struct admin_tls_thread *thread;	/* NULL: nothing has ever listened */
	struct tls_site *site;	/* one reference: what the thread has, or is to have */
	struct link doors;	/* those that are open */
	struct link coming;	/* bound by a reload that is not obeyed yet */
	struct link closing;	/* until the thread has let go of them */
	bool yielded;
};

/* -- counters ---------------------------------------------------------------------------------- */

/* The thread writes, main reads. */
static _Atomic uint64_t counts[ADMIN_TLS_RESULTS];
static _Atomic unsigned n_open, n_pending, n_all;
static unsigned listeners;	/* main's */

void
admin_tls_count(enum admin_tls_result result)
{
	atomic_fetch_add_explicit(&counts[result], 1, memory_order_relaxed);
}

void
admin_tls_inherit(enum admin_tls_result result, uint64_t n)
{
	atomic_fetch_add_explicit(&counts[result], n, memory_order_relaxed);
}

void
admin_tls_set_numbers(const struct admin_tls_thread *t)
{
	atomic_store_explicit(&n_open, t->open, memory_order_relaxed);
	atomic_store_explicit(&n_pending, t->pending, memory_order_relaxed);
	atomic_store_explicit(&n_all, t->n, memory_order_relaxed);
}

struct admin_tls_totals
admin_tls_totals(void)
{
	struct admin_tls_totals all = { .listeners = listeners };

	for (int i = 0; i < ADMIN_TLS_RESULTS; i++)
		all.n[i] = atomic_load_explicit(&counts[i], memory_order_relaxed);
	all.open = atomic_load_explicit(&n_open, memory_order_relaxed);
	all.pending = atomic_load_explicit(&n_pending, memory_order_relaxed);
	return all;
}

const char *
admin_tls_word(enum admin_tls_result result)
{
	static const char *const words[] = {
#define X(name, word) word,
		ADMIN_TLS_TABLE(X)
#undef X
	};

	CHECK((unsigned)result < ARRAY_LEN(words));
	return words[result];
}

/* -- letters to main ------------------------------------------------------------------------- */

struct caller_letter {
	struct mail mail;
	struct admin_caller *caller;
	int fd;
	uint64_t id;
};

static void
caller_letter_open(struct mail *m, void *receiver)
{
	struct caller_letter *letter = container_of(m, struct caller_letter, mail);
	struct admin_tls *t = receiver;

	t->calls.take(t->calls.arg, letter->fd, &letter->caller, letter->id);
	free(letter);
}

void
admin_tls_send_caller(struct admin_tls_thread *t, int fd, struct admin_caller **caller, uint64_t id)
{
	struct caller_letter *letter = must_alloc(sizeof(*letter));

	*letter = (struct caller_letter){ .mail = { .deliver = caller_letter_open }, .caller = *caller, .fd = fd, .id = id };
	*caller = NULL;
	mailbox_send(t->main, &letter->mail);
}

struct revoked_letter {
	struct mail mail;
	uint64_t id;
};

static void
revoked_letter_open(struct mail *m, void *receiver)
{
	struct revoked_letter *letter = container_of(m, struct revoked_letter, mail);
	struct admin_tls *t = receiver;

	t->calls.revoked(t->calls.arg, letter->id);
	free(letter);
}

void
admin_tls_send_revoked(struct admin_tls_thread *t, uint64_t id)
{
	struct revoked_letter *letter = must_alloc(sizeof(*letter));

	*letter = (struct revoked_letter){ .mail = { .deliver = revoked_letter_open }, .id = id };
	mailbox_send(t->main, &letter->mail);
}

struct shut_letter {
	struct mail mail;
	struct admin_tls_door *door;
};

static void
door_free(struct admin_tls_door *door)
{
	list_remove(&door->link);
	listening_close(&door->listening);
	free(door);
}

static void
shut_letter_open(struct mail *m, void *receiver)
{
	struct shut_letter *letter = container_of(m, struct shut_letter, mail);

	(void)receiver;
	door_free(letter->door);
	free(letter);
}

void
admin_tls_send_shut(struct admin_tls_door *door)
{
	struct shut_letter *letter = must_alloc(sizeof(*letter));

	*letter = (struct shut_letter){ .mail = { .deliver = shut_letter_open }, .door = door };
	mailbox_send(door->thread->main, &letter->mail);
}

/* -- sockets ------------------------------------------------------------------------------------ */

static void
drop_unopened(struct link *list)
{
	LIST_EACH(l, list) {
		struct admin_tls_door *door = list_entry(l, struct admin_tls_door, link);

		close(door->listening.fds[0]);
		door_free(door);
	}
}

static enum err
bind_one(struct link *list, const struct addr *at, struct why *why)
{
	static const struct listening_terms terms = { .backlog = BACKLOG, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	struct admin_tls_door *door = must_alloc(sizeof(*door));
	struct why reason;

	list_init(&door->link);
	list_init(&door->open);
	if (listening_open(&door->listening, at, &terms, 1, &reason) != OK) {
		free(door);
		return why_set(why, E_CONFIG, "admin.listen: %.900s", reason.text);
	}
	sock_listener_options(door->listening.fds[0], &keepalive, 0, 0);
	/* Short replies, one after the other: none waits for the acknowledgement of the one before. */
	sock_set_int(door->listening.fds[0], IPPROTO_TCP, TCP_NODELAY, 1);
	list_append(list, &door->link);
	return OK;
}

static struct admin_tls_door *
door_at(const struct link *list, const struct addr *at)
{
	LIST_EACH(l, list) {
		struct admin_tls_door *door = list_entry(l, struct admin_tls_door, link);

		if (addr_equal(&door->listening.at, at))
			return door;
	}
	return NULL;
}

struct admin_tls *
admin_tls_bind(const struct config *config, struct why *why)
{
	struct admin_tls *t = must_alloc(sizeof(*t));

	t->config = config;
	list_init(&t->doors);
	list_init(&t->coming);
	list_init(&t->closing);
	for (size_t i = 0; i < config->admin.net.n_listen; i++)
		if (bind_one(&t->doors, &config->admin.net.listen[i], why) != OK) {
			drop_unopened(&t->doors);
			free(t);
			return NULL;
		}
	return t;
}

/* -- obeying ---------------------------------------------------------------------------------- */

static void
open_doors(struct admin_tls *t)
{
	char text[ADDR_TEXT];
	struct why why;

	if (t->thread == NULL && !list_empty(&t->doors)) {
		if ((t->thread = admin_tls_thread_start(&t->mailbox, t->config, &why)) == NULL) {
			LOG_ERROR("admin.failed", LS("why", why.text));
			return;
		}
		if (t->site != NULL)
			admin_tls_thread_terms(t->thread, t->config, tls_site_ref(t->site));
	}
	listeners = 0;
	LIST_EACH(l, &t->doors) {
		struct admin_tls_door *door = list_entry(l, struct admin_tls_door, link);

		listeners++;
		if (door->given)
			continue;
		door->given = true;
		admin_tls_thread_open(t->thread, door);
		LOG_INFO("admin.listening", LS("listen", addr_format(&door->listening.at, text)));
	}
}

void
admin_tls_start(struct admin_tls *t, struct ev_loop *loop, const struct config *config, const struct admin_tls_calls *told)
{
	t->loop = loop;
	t->config = config;
	t->calls = *told;
	mailbox_init(&t->mailbox, loop, t);
	open_doors(t);
}

void
admin_tls_show(struct admin_tls *t, struct tls_site *site)
{
	tls_site_unref(&t->site);
	t->site = site;
	if (t->thread != NULL)
		admin_tls_thread_terms(t->thread, t->config, tls_site_ref(site));
}

enum err
admin_tls_prepare(struct admin_tls *t, const struct config *to, struct why *why)
{
	const struct admin_net_config *a = &to->admin.net;

	admin_tls_abandon(t);
	for (size_t i = 0; i < a->n_listen; i++)
		if (door_at(&t->doors, &a->listen[i]) == NULL && bind_one(&t->coming, &a->listen[i], why) != OK) {
			admin_tls_abandon(t);
			return E_CONFIG;
		}
	return OK;
}

void
admin_tls_abandon(struct admin_tls *t)
{
	drop_unopened(&t->coming);
}

static void
shut_door(struct admin_tls *t, struct admin_tls_door *door)
{
	list_remove(&door->link);
	list_append(&t->closing, &door->link);
	listening_forget(&door->listening);
	admin_tls_thread_shut(t->thread, door);
}

void
admin_tls_reconfigure(struct admin_tls *t, const struct config *to)
{
	struct link *l;

	t->config = to;
	LIST_EACH(it, &t->doors)
		list_entry(it, struct admin_tls_door, link)->stays = false;
	for (size_t i = 0; i < to->admin.net.n_listen; i++) {
		struct admin_tls_door *door = door_at(&t->doors, &to->admin.net.listen[i]);

		if (door != NULL)
			door->stays = true;
	}
	/* Tokens and networks first: nothing comes by the old ones that the new configuration did not let in. */
	if (t->thread != NULL)
		admin_tls_thread_terms(t->thread, to, NULL);
	LIST_EACH(it, &t->doors) {
		struct admin_tls_door *door = list_entry(it, struct admin_tls_door, link);

		if (!door->stays && door->given)
			shut_door(t, door);
	}
	while ((l = list_first(&t->coming)) != NULL) {
		list_remove(l);
		list_append(&t->doors, l);
	}
	open_doors(t);
}

void
admin_tls_yield(struct admin_tls *t)
{
	t->yielded = true;
	listeners = 0;
	LIST_EACH(l, &t->doors) {
		struct admin_tls_door *door = list_entry(l, struct admin_tls_door, link);

		list_remove(l);
		list_append(&t->closing, l);
		if (door->given)
			admin_tls_thread_shut(t->thread, door);
	}
}

unsigned
admin_tls_left(const struct admin_tls *t)
{
	return t->thread != NULL ? atomic_load_explicit(&n_all, memory_order_relaxed) : 0;
}

void
admin_tls_close(struct admin_tls **tp)
{
	struct admin_tls *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	drop_unopened(&t->coming);
	admin_tls_thread_join(&t->thread);
	/* Its acceptors are closed; letters that were on their way are opened here. */
	if (t->loop != NULL)
		mailbox_close(&t->mailbox);
	LIST_EACH(l, &t->doors) {
		struct admin_tls_door *door = list_entry(l, struct admin_tls_door, link);

		if (!door->given)
			close(door->listening.fds[0]);
		door_free(door);
	}
	LIST_EACH(l, &t->closing)
		door_free(list_entry(l, struct admin_tls_door, link));
	tls_site_unref(&t->site);
	free(t);
}
