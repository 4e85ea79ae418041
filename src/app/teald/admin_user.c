/* admin_user.c - who has how many of the admin socket's places, who makes way for
 * whom, and refused commands that are told together.
 * Thread: main. */
#include <stdlib.h>

#include "app/teald/admin_user.h"
#include "app/teald/command.h"
#include "base/clock.h"

static bool
user_is_gone(const struct admin_user *u)
{
	/* Its credit is remembered until it would be whole again. */
	return u->n == 0 && u->n_orphans == 0 && u->untold == 0 &&
	       u->credit + (clock_now() - u->credited_at) * ADMIN_REFUSED_RATE >= ADMIN_REFUSED_BURST;
}

struct admin_user *
admin_user_of(struct admin *a, const struct rights *r)
{
	const char *who = r->caller != NULL ? r->caller->name : "";
	struct admin_user *u;

	LIST_EACH(link, &a->users) {
		u = list_entry(link, struct admin_user, link);
		if (u->uid == r->uid && strcmp(u->who, who) == 0)
			return u;
	}
	u = must_alloc(sizeof(*u));
	u->uid = r->uid;
	(void)str_copy(u->who, sizeof(u->who), str_from(who));
	u->trusted = r->caller == NULL && (r->uid == 0 || r->uid == a->own_uid);
	u->credit = ADMIN_REFUSED_BURST;
	u->credited_at = clock_now();
	list_init(&u->clients);
	list_init(&u->link);
	list_append(&a->users, &u->link);
	admin_watch_busy(a);
	return u;
}

void
admin_users_sweep(struct admin *a)
{
	LIST_EACH(link, &a->users) {
		struct admin_user *u = list_entry(link, struct admin_user, link);

		if (!user_is_gone(u))
			continue;
		list_remove(link);
		rights_unref(&u->last);
		free(u);
	}
}

void
admin_users_free(struct admin *a)
{
	LIST_EACH(link, &a->users) {
		struct admin_user *u = list_entry(link, struct admin_user, link);

		list_remove(link);
		rights_unref(&u->last);
		free(u);
	}
}

/* -- who makes way ---------------------------------------------------------------- */

static bool
is_slow(const struct admin_conn *c)
{
	return buf_len(&c->out) > 0 && clock_now() - c->moved > ADMIN_SLOW_SECONDS;
}

/* Ends when its client leaves, and can be begun again: nothing is lost. */
static bool
streams(const struct admin_conn *c)
{
	return c->command != NULL && c->command->request.command == ADMIN_EVENTS;
}

static bool
is_any(const struct admin_conn *c)
{
	(void)c;
	return true;
}

static struct admin_conn *
first_of(struct admin_user *u, bool (*is)(const struct admin_conn *c))
{
	LIST_EACH(link, &u->clients) {
		struct admin_conn *c = list_entry(link, struct admin_conn, mine);

		if (is(c))
			return c;
	}
	return NULL;
}

static bool
takes_from(struct admin_user *u, bool own)
{
	struct admin_conn *c = first_of(u, admin_conn_is_idle);

	if (c == NULL)
		c = first_of(u, is_slow);
	if (c == NULL)
		c = first_of(u, streams);
	/* A command that is waited for goes on without its client. */
	if (c == NULL && !own)
		c = first_of(u, is_any);
	if (c == NULL)
		return false;
	LOG_DEBUG("admin.evicted", rights_log_who(c->rights), LI("pid", c->pid));
	admin_conn_close(c);
	return true;
}

bool
admin_user_has_room(struct admin *a, struct admin_user *u)
{
	unsigned net = 0, others = 0;
	struct admin_user *most = u;
	bool full;

	LIST_EACH(link, &a->users) {
		const struct admin_user *o = list_entry(link, struct admin_user, link);

		net += o->who[0] != '\0' ? o->n : 0;
		others += o->trusted ? 0 : o->n;
	}
	full = u->who[0] != '\0' && net >= ADMIN_NET_MAX;
	LIST_EACH(link, &a->users) {
		struct admin_user *o = list_entry(link, struct admin_user, link);

		if ((o->trusted && !u->trusted) || (full && o->who[0] == '\0'))
			continue;
		if (o->n > most->n)
			most = o;
	}
	if (!full && a->n_clients < ADMIN_CLIENTS_MAX && (u->trusted || others < ADMIN_CLIENTS_MAX - ADMIN_RESERVE))
		return true;
	if (takes_from(most, most == u))
		return true;
	return most != u && takes_from(u, true);
}

static void
bound_replies(struct admin_user *u)
{
	size_t sum = 0;

	LIST_EACH(link, &u->clients) {
		sum += buf_len(&list_entry(link, struct admin_conn, mine)->out);
	}
	/* In the order of the last progress. */
	LIST_EACH(link, &u->clients) {
		struct admin_conn *c = list_entry(link, struct admin_conn, mine);

		if (sum <= ADMIN_UNREAD_EACH)
			return;
		if (buf_len(&c->out) == 0)
			continue;
		sum -= buf_len(&c->out);
		LOG_WARN("admin.closed",
			 LS("why", "replies that this user does not read take too much memory"),
			 rights_log_who(c->rights), LI("pid", c->pid));
		admin_conn_close(c);
	}
}

void
admin_users_bound_replies(struct admin *a)
{
	LIST_EACH(link, &a->users) {
		struct admin_user *u = list_entry(link, struct admin_user, link);

		if (!u->trusted)
			bound_replies(u);
	}
}

bool
admin_make_room(struct admin *a)
{
	struct admin_conn *slow = NULL;

	LIST_EACH(link, &a->clients) {
		struct admin_conn *c = list_entry(link, struct admin_conn, link);

		if (admin_conn_is_idle(c)) {
			LOG_DEBUG("admin.evicted", rights_log_who(c->rights), LI("pid", c->pid));
			admin_conn_close(c);
			return true;
		}
		if (slow == NULL && is_slow(c))
			slow = c;
	}
	if (slow != NULL)
		admin_conn_close(slow);
	return slow != NULL;
}

/* -- refused commands ------------------------------------------------------------- */

bool
admin_user_may_tell(struct admin_user *u)
{
	double now = clock_now(), credit = u->credit + (now - u->credited_at) * ADMIN_REFUSED_RATE;

	u->credited_at = now;
	u->credit = credit < ADMIN_REFUSED_BURST ? credit : ADMIN_REFUSED_BURST;
	if (u->credit < 1 || u->untold > 0)
		return false;
	u->credit -= 1;
	return true;
}

bool
admin_users_tell(struct admin *a)
{
	bool any = false;

	LIST_EACH(link, &a->users) {
		struct admin_user *u = list_entry(link, struct admin_user, link);

		if (u->untold > 0) {
			audit_log_untold(a, u);
			u->untold = 0;
			rights_unref(&u->last);
		}
		any = any || !user_is_gone(u);
	}
	admin_users_sweep(a);
	return any;
}
