/* user_names.c - user names, cached.
 * Thread: main.  getpwuid_r() may ask a directory over the network, so it runs
 * on a helper thread; a look-up outlives the cache if it must. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "app/teald/user_names.h"
#include "base/check.h"
#include "base/str.h"

#define ENTRIES 64

struct known_name {
	bool filled;
	uid_t uid;
	double at;	/* clock_now() */
	char name[RECORD_NAME];
};

struct user_names {
	struct ev_loop *loop;
	struct jobs *jobs;
	struct link lookups;
	struct known_name entries[ENTRIES];
	unsigned next;	/* the entry to give up */
};

struct lookup {
	struct job job;
	struct link link;
	struct user_names *names;	/* NULL: no longer wanted */
	struct link waiters;
	uid_t uid;
	char name[RECORD_NAME];
};

static void
name_of_number(uid_t uid, char name[RECORD_NAME])
{
	snprintf(name, RECORD_NAME, "uid:%u", (unsigned)uid);
}

static void
lookup_work(struct job *job)
{
	struct lookup *l = container_of(job, struct lookup, job);
	struct passwd pw, *found = NULL;
	size_t size = 4096;
	char *text = NULL;
	int e;

	do {
		size *= 2;
		free(text);
		found = NULL;
		if ((text = malloc(size)) == NULL)
			break;
		e = getpwuid_r(l->uid, &pw, text, size, &found);
	} while (e == ERANGE && size < (size_t)1 << 20);
	/* A name that had to be cut would be another user's. */
	if (found == NULL || found->pw_name[0] == '\0' || !str_copy(l->name, RECORD_NAME, str_from(found->pw_name)))
		name_of_number(l->uid, l->name);
	free(text);
}

static struct known_name *
entry_of(struct user_names *n, uid_t uid)
{
	for (size_t i = 0; i < ENTRIES; i++)
		if (n->entries[i].filled && n->entries[i].uid == uid)
			return &n->entries[i];
	return NULL;
}

static void
keep_name(struct user_names *n, const struct lookup *l)
{
	struct known_name *e = entry_of(n, l->uid);

	if (e == NULL) {
		e = &n->entries[n->next];
		n->next = (n->next + 1) % ENTRIES;
	}
	*e = (struct known_name){ .filled = true, .uid = l->uid, .at = clock_now() };
	memcpy(e->name, l->name, sizeof(e->name));
}

static void
lookup_done(struct job *job)
{
	struct lookup *l = container_of(job, struct lookup, job);
	struct link *first;

	if (l->names != NULL) {
		list_remove(&l->link);
		keep_name(l->names, l);
		while ((first = list_first(&l->waiters)) != NULL) {
			struct user_name_wait *w = list_entry(first, struct user_name_wait, link);

			user_names_cancel(w);
			w->known(w, l->name);
		}
	}
	free(l);
}

static struct lookup *
lookup_of(struct user_names *n, uid_t uid)
{
	struct lookup *l;

	LIST_EACH(link, &n->lookups) {
		l = list_entry(link, struct lookup, link);
		if (l->uid == uid)
			return l;
	}
	l = must_alloc(sizeof(*l));
	l->job.work = lookup_work;
	l->job.done = lookup_done;
	l->names = n;
	l->uid = uid;
	list_init(&l->waiters);
	list_init(&l->link);
	list_append(&n->lookups, &l->link);
	jobs_add(n->jobs, &l->job);
	return l;
}

struct user_names *
user_names_new(struct ev_loop *loop, struct jobs *jobs)
{
	struct user_names *n = must_alloc(sizeof(*n));

	n->loop = loop;
	n->jobs = jobs;
	list_init(&n->lookups);
	lookup_of(n, 0);
	lookup_of(n, geteuid());
	return n;
}

void
user_names_free(struct user_names **np)
{
	struct user_names *n = *np;

	*np = NULL;
	if (n == NULL)
		return;
	LIST_EACH(link, &n->lookups) {
		struct lookup *l = list_entry(link, struct lookup, link);

		CHECK(list_empty(&l->waiters));
		list_remove(link);
		l->names = NULL;
	}
	free(n);
}

bool
user_names_get(struct user_names *n, uid_t uid, char name[RECORD_NAME])
{
	struct known_name *e = entry_of(n, uid);

	if (e == NULL || clock_now() - e->at > USER_NAMES_VALID)
		return false;
	memcpy(name, e->name, RECORD_NAME);
	return true;
}

/* An old name is better than none when the directory does not answer. */
static void
patience_on_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct user_name_wait *w = container_of(t, struct user_name_wait, patience);
	struct known_name *e = entry_of(w->names, w->uid);
	char name[RECORD_NAME];

	(void)loop;
	(void)revents;
	if (e != NULL)
		memcpy(name, e->name, sizeof(name));
	else
		name_of_number(w->uid, name);
	user_names_cancel(w);
	w->known(w, name);
}

void
user_names_wait(struct user_names *n, uid_t uid, struct user_name_wait *w, void (*known)(struct user_name_wait *w, const char *name))
{
	struct lookup *l = lookup_of(n, uid);

	*w = (struct user_name_wait){ .names = n, .uid = uid, .known = known };
	list_init(&w->link);
	list_append(&l->waiters, &w->link);
	ev_timer_init(&w->patience, patience_on_over, USER_NAMES_PATIENCE, 0.0);
	ev_timer_start(n->loop, &w->patience);
}

void
user_names_cancel(struct user_name_wait *w)
{
	if (w->names == NULL)
		return;
	ev_timer_stop(w->names->loop, &w->patience);
	list_remove(&w->link);
	w->names = NULL;
}
