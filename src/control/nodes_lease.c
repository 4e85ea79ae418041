/* nodes_lease.c - who watches a pool in a fleet; see the header.  Thread: main.
 *
 * Each teald asks the store every two seconds, and at each hint that something was written. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "control/nodes_private.h"
#include "store/watched_file.h"

/* Seconds. */
#define ASK_EVERY 2.0
#define ASK_JITTER 0.2
/* Of a lease: five renewals may be lost. */
#define LIFE 10.0
/* Without a word of the store, until a teald watches for itself; and as much at random, so that not all begin at once. */
#define PATIENCE 15.0
#define PATIENCE_SPREAD 5.0
/* A holder whose API answers nothing leaves the lease to others after so long, for so long. */
#define FAILS_FOR 10.0
#define UNFIT_FOR 30.0
/* What another one wrote goes to state_dir again as often, so that a start knows how old it is. */
#define KEEP_EVERY 60.0
/* A set whose API has spoken so much earlier than ours is an older one: of a store that was put back, or of a holder before. */
#define OLDER 10.0

static void ask_store(struct node_pool *p);

/* -- roles ------------------------------------------------------------------------------ */

const char *
watch_role_word(enum watch_role r)
{
	static const char *const words[] = {
		[WATCH_WAITS] = "waits", [WATCH_ALONE] = "alone", [WATCH_LEADS] = "leads", [WATCH_FOLLOWS] = "follows"
	};

	return words[r];
}

static void
become_role(struct node_pool *p, enum watch_role role, const char *where)
{
	struct pool_lease *l = &p->lease;

	if (l->role == role)
		return;
	BUS_EMIT(&p->nodes->control->bus, role == WATCH_ALONE ? LOG_WARN_LEVEL : LOG_INFO_LEVEL,
		 "nodes.watch_role", NULL, LS("pool", p->config->name), LS("from", watch_role_word(l->role)),
		 LS("to", watch_role_word(role)), LS("where", where));
	l->role = role;
}

/* Another one watches, and what it wrote is known here. */
static void
follow_holder(struct node_pool *p)
{
	become_role(p, WATCH_FOLLOWS, p->lease.holder);
	p->lease.failing_since = 0;
	nodes_watch_stop(p);
}

static void
watch_alone(struct node_pool *p)
{
	if (p->watch.thread == NULL)
		nodes_watch_start(p);
	become_role(p, WATCH_ALONE, "");
}

/* -- what another one wrote -------------------------------------------------------------------- */

/* Parsed, and kept, by a helper: thousands of nodes would hold main up. */
struct set_job {
	struct job job;
	struct node_pool *pool;
	char *state_dir, *name;
	struct buf text;	/* to be read; empty: set is only to be kept */
	struct watched_set set;
	int64_t seen_us;	/* by our wall clock */
	double seen_at;
	char stamp[WATCH_STAMP];
	enum err e;
	struct why why;
};

static void
set_work(struct job *job)
{
	struct set_job *j = container_of(job, struct set_job, job);
	int64_t theirs;
	struct why why;

	if (buf_len(&j->text) > 0)
		j->e = watched_text_read(buf_str(&j->text), &j->set, &theirs, &j->why);
	if (j->e == OK && j->set.n == 0)
		j->e = why_set(&j->why, E_STORE, "it has no nodes");
	/* As with the thread of a watch: the next one tries again. */
	if (j->e == OK)
		(void)!watched_file_write(j->state_dir, j->name, &j->set, j->seen_us, NULL, NULL, &why);
}

static void
take_their_set(struct node_pool *p, struct set_job *j)
{
	struct pool_lease *l = &p->lease;
	struct watched_set by_host = { 0 };

	if (j->e != OK) {
		str_copy(l->refused, sizeof(l->refused), str_from(j->stamp));
		nodes_watch_trouble(p, l->holder, "what it wrote of the nodes makes no sense: ", j->why.text);
		return;
	}
	watched_by_host(&by_host, &j->set);
	str_copy(l->stamp, sizeof(l->stamp), str_from(j->stamp));
	l->heard_at = l->kept_at = clock_now();
	nodes_watch_take(p, &by_host, j->seen_at);
	if (l->role != WATCH_LEADS)
		follow_holder(p);
}

static void
set_done(struct job *job)
{
	struct set_job *j = container_of(job, struct set_job, job);
	struct node_pool *p = j->pool;

	p->lease.parsing = false;
	if (p->config != NULL && p->lease.on && buf_len(&j->text) > 0)
		take_their_set(p, j);
	buf_free(&j->text);
	watched_free(&j->set);
	free(j->state_dir);
	free(j->name);
	free(j);
	p->held--;
	nodes_pool_unhold(p);
}

/* text empty: what is known here is kept. */
static void
give_to_helper(struct node_pool *p, struct str text, const char *stamp, double seen_at)
{
	struct control *c = p->nodes->control;
	struct set_job *j = must_alloc(sizeof(*j));

	*j = (struct set_job){ .job = { .work = set_work, .done = set_done },
			       .pool = p,
			       .state_dir = must_strdup(c->config->state_dir),
			       .name = must_strdup(p->config->name),
			       .seen_us = clock_wall_us() - (int64_t)((clock_now() - seen_at) * 1e6),
			       .seen_at = seen_at };
	str_copy(j->stamp, sizeof(j->stamp), str_from(stamp));
	buf_init(&j->text, WATCHED_TEXT_MAX);
	if (text.n > 0)
		(void)buf_append(&j->text, text.p, text.n);
	else
		watched_by_name(&j->set, &p->watch.set);
	p->held++;
	p->lease.parsing = true;
	jobs_add(c->jobs, &j->job);
}

/* The lease is another one's. */
static void
hear_holder(struct node_pool *p, const struct watch_told *told)
{
	struct pool_lease *l = &p->lease;
	double now = clock_now(), seen_at = now - told->api_age;
	bool known = strcmp(told->stamp, l->stamp) == 0;

	/* As if the store said nothing. */
	if (told->stamp[0] != '\0' && strcmp(told->stamp, l->refused) == 0)
		return;
	if (told->set.n > 0 && told->api_age >= 0 &&
	    (p->watch.set.n == 0 || seen_at >= p->watch.seen_at - OLDER)) {
		if (!l->parsing)
			give_to_helper(p, told->set, told->stamp, seen_at);
		return;
	}
	l->heard_at = now;
	if (told->stamp[0] != '\0' && known) {
		if (told->api_age >= 0 && seen_at > p->watch.seen_at)
			p->watch.seen_at = seen_at;
		nodes_watch_trouble(p, told->holder, told->problem[0] != '\0' ? "its API: " : "",
				    told->problem);
		follow_holder(p);
		if (!l->parsing && p->watch.set.n > 0 && now - l->kept_at >= KEEP_EVERY) {
			l->kept_at = now;
			give_to_helper(p, STR(""), "", p->watch.seen_at);
		}
	} else if (p->watch.thread == NULL) {
		/* It has not listed yet, or what it has is older than what is known here, which stays. */
		become_role(p, WATCH_FOLLOWS, told->holder);
	}
}

/* -- the store ---------------------------------------------------------------------------------- */

static void
lose_lease(struct pool_lease *l)
{
	l->token = 0;
	l->until = 0;
}

static void
hear_lease_is_ours(struct node_pool *p, const struct watch_told *told)
{
	struct pool_lease *l = &p->lease;

	if (told->token != l->token)
		l->stamp[0] = '\0';
	l->token = told->token;
	l->until = l->asked_at + LIFE;
	if (told->written) {
		str_copy(l->stamp, sizeof(l->stamp), str_from(told->stamp));
		if (l->sent_number == l->text_number)
			buf_free(&l->text);
	}
	become_role(p, WATCH_LEADS, told->holder);
	if (l->refused[0] != '\0') {
		/* What another one wrote matters no more, and the API need not say anything new for a minute. */
		l->refused[0] = '\0';
		if (l->failing_since == 0)
			nodes_watch_trouble(p, told->holder, "", "");
	}
	if (p->watch.thread == NULL)
		nodes_watch_start(p);
	/* It knows nothing yet, but a holder before it did. */
	if (p->watch.set.n == 0 && told->set.n > 0 && told->api_age >= 0 && !l->parsing)
		give_to_helper(p, told->set, told->stamp, clock_now() - told->api_age);
	if (buf_len(&l->text) > 0 && !told->written)
		l->ask_again = true;
}

static void
lease_on_told(void *arg, enum err e, const struct watch_told *told, const struct why *why)
{
	struct node_pool *p = arg;
	struct pool_lease *l = &p->lease;
	bool again = l->ask_again;

	l->asking = l->ask_again = false;
	p->held--;
	if (p->config == NULL || !l->on || l->asked_life != l->life) {
		nodes_pool_unhold(p);
		return;
	}
	if (e != OK) {
		LOG_DEBUG("nodes.lease_unknown", LS("pool", p->config->name), LS("reason", why->text));
		return;
	}
	str_copy(l->holder, sizeof(l->holder), str_from(told->held ? told->holder : ""));
	l->since_us = told->held ? told->since_us : 0;
	if (told->ours) {
		l->heard_at = clock_now();
		hear_lease_is_ours(p, told);
	} else {
		lose_lease(l);
		if (l->role == WATCH_LEADS && told->held)
			become_role(p, WATCH_WAITS, told->holder);
		if (told->held)
			hear_holder(p, told);
		else if (l->role == WATCH_LEADS)
			watch_alone(p);
	}
	if (again || l->ask_again)
		ask_store(p);
}

/* What was not renewed in time, and what was not heard of for too long. */
static void
check_times(struct node_pool *p)
{
	struct pool_lease *l = &p->lease;
	double now = clock_now();

	if (l->role == WATCH_LEADS && now >= l->until) {
		lose_lease(l);
		l->holder[0] = '\0';
		watch_alone(p);
	}
	if (l->role != WATCH_LEADS && l->role != WATCH_ALONE && now - l->heard_at >= l->patience) {
		l->holder[0] = '\0';
		watch_alone(p);
	}
}

static bool
is_unfit(const struct pool_lease *l)
{
	return clock_now() < l->unfit_until;
}

static void
ask_store(struct node_pool *p)
{
	struct store *store = p->nodes->control->store;
	struct pool_lease *l = &p->lease;
	double now = clock_now();
	struct watch_ask ask = {
		.key = l->key,
		.wish = is_unfit(l) ? WATCH_LOOK : WATCH_HOLD,
		.token = l->token,
		.life = LIFE,
		.stamp = l->stamp,
		.api_age = p->watch.seen_at != 0 && now >= p->watch.seen_at ? now - p->watch.seen_at : -1,
		/* What another one said of its own is not ours. */
		.problem = l->failing_since != 0 ? p->watch.problem : "",
	};

	if (l->asking || store->watch == NULL) {
		l->ask_again = l->asking;
		return;
	}
	if (l->token != 0 && l->failing_since != 0 && now - l->failing_since >= FAILS_FOR) {
		/* Another one may reach the API. */
		l->unfit_until = now + UNFIT_FOR * (1 + ASK_JITTER * random_unit(&l->random));
		ask.wish = WATCH_LEAVE;
	}
	if (l->token != 0 && ask.wish == WATCH_HOLD) {
		ask.set = buf_str(&l->text);
		l->sent_number = l->text_number;
	}
	l->asking = true;
	p->held++;
	/* By our clock a lease begins when it is asked for. */
	l->asked_at = now;
	l->asked_life = l->life;
	store->watch(store, &ask, lease_on_told, p);
}

static void
lease_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct node_pool *p = container_of(t, struct node_pool, lease.ask);

	(void)revents;
	ev_timer_set(t, ASK_EVERY * (1 + ASK_JITTER * (2 * random_unit(&p->lease.random) - 1)), 0.0);
	ev_timer_start(loop, t);
	check_times(p);
	ask_store(p);
}

static void
lease_on_hint(void *arg)
{
	struct control *c = arg;

	for (size_t i = 0; i < c->nodes->n; i++)
		if (c->nodes->pools[i]->lease.on)
			ask_store(c->nodes->pools[i]);
}

/* -- the thread ------------------------------------------------------------------------------------ */

void
nodes_lease_on_news(struct node_pool *p, struct kube_news *news)
{
	struct pool_lease *l = &p->lease;

	bool was_failing = l->failing_since != 0, news_of_it;

	if (!l->on)
		return;
	if (news->problem[0] != '\0' && !news->watch_ended && l->failing_since == 0)
		l->failing_since = clock_now();
	if (news->fresh)
		l->failing_since = l->unfit_until = 0;
	news_of_it = was_failing != (l->failing_since != 0);
	if (buf_len(&news->text) > 0) {
		buf_free(&l->text);
		l->text = news->text;
		buf_init(&news->text, 0);
		l->text_number++;
		news_of_it = true;
	}
	if (news_of_it && l->token != 0)
		ask_store(p);
}

/* -- life --------------------------------------------------------------------------------------------- */

static void
make_lease_key(struct node_pool *p)
{
	char digest[KUBE_DIGEST];

	free(p->lease.key);
	p->lease.key = must_printf("%s:%s", p->config->name, kube_config_digest(p->config->kube, digest));
}

bool
nodes_lease_begin(struct node_pool *p)
{
	struct control *c = p->nodes->control;
	struct pool_lease *l = &p->lease;

	if (c->store->watch == NULL)
		return false;
	CHECK(!l->on);
	l->on = true;
	l->role = WATCH_WAITS;
	if (l->random == 0)
		l->random = (uint64_t)clock_wall_us() ^ (uintptr_t)p;
	l->patience = PATIENCE + PATIENCE_SPREAD * random_unit(&l->random);
	l->heard_at = l->kept_at = clock_now();
	l->failing_since = l->unfit_until = 0;
	l->stamp[0] = l->refused[0] = l->holder[0] = '\0';
	l->life++;
	make_lease_key(p);
	c->store->on_watch = lease_on_hint;
	ev_timer_init(&l->ask, lease_on_timer, 0.0, 0.0);
	ev_timer_start(c->loop, &l->ask);
	return true;
}

static void
left_on_told(void *arg, enum err e, const struct watch_told *told, const struct why *why)
{
	(void)arg;
	(void)e;
	(void)told;
	(void)why;
}

static void
leave_lease(struct node_pool *p)
{
	struct store *store = p->nodes->control->store;
	const struct watch_ask leave = { .key = p->lease.key,
					 .wish = WATCH_LEAVE,
					 .token = p->lease.token,
					 .life = LIFE,
					 .stamp = "",
					 .api_age = -1,
					 .problem = "" };

	if (p->lease.token != 0 && store->watch != NULL)
		store->watch(store, &leave, left_on_told, NULL);
	lose_lease(&p->lease);
}

void
nodes_lease_end(struct node_pool *p, bool give_back)
{
	struct pool_lease *l = &p->lease;

	if (!l->on)
		return;
	if (give_back)
		leave_lease(p);
	lose_lease(l);
	l->on = false;
	l->role = WATCH_WAITS;
	ev_timer_stop(p->nodes->control->loop, &l->ask);
	buf_free(&l->text);
	free(l->key);
	l->key = NULL;
}

void
nodes_lease_configure(struct node_pool *p)
{
	char *before = must_strdup(p->lease.key), *now;

	make_lease_key(p);
	now = p->lease.key;
	if (strcmp(before, now) != 0) {
		/* What was held and known is that of other nodes. */
		p->lease.key = before;
		leave_lease(p);
		p->lease.key = now;
		p->lease.stamp[0] = p->lease.refused[0] = p->lease.holder[0] = '\0';
		p->lease.life++;
		p->lease.role = WATCH_WAITS;
		p->lease.heard_at = clock_now();
		/* Nor is a set of these terms older than what was known by the former ones. */
		p->watch.seen_at = 0;
		buf_free(&p->lease.text);
	}
	free(before);
	ask_store(p);
}
