/* targets.c - asks every target again and again, for all who use its answers.
 *
 * A timer says when a target is due, then it stands in line until few enough probes
 * are under way, so that a thousand targets do not open a thousand sockets in one
 * turn of the loop.  There are three lines, each with places of its own, and in each
 * of them the services take their turns: however many let their probes hang, one that
 * answers, or refuses, is asked in its own time.
 *
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "control/targets.h"

#define TARGET_MAGIC 0x74617267u
/* A probe that took this share of its timeout hung. */
#define HUNG 0.9
/* No target is asked more often than this, seconds. */
#define SHORTEST 0.05
/* Seconds between two probes out of turn, at least. */
#define HURRY_EVERY 0.1
#define JITTER 0.1
#define SLOTS_MIN 64

struct target {
	uint32_t magic;
	struct targets *all;
	struct target *next;	/* in its slot */
	uint64_t hash;	/* of key */
	char *key;
	size_t n_key;
	struct link users;	/* struct target_user */
	size_t n_users;
	ev_timer due;
	struct link waiting;	/* in the line of owner */
	struct target_owner *owner;	/* that of a user, while it waits */
	struct probe *probe;	/* under way */
	enum target_line line;	/* where it waits, or has its place from */
	bool prompt;	/* the last probe did not hang */
	bool telling;	/* its users hear of an answer: it stays, even without any */
	bool again;	/* then to be asked again at once */
	bool hurries;	/* the timer is for a probe out of turn that was put off */
	double timeout;	/* of the probe under way */
	double started;	/* clock_now() of the last probe */
	double hurried;	/* clock_now() of the last one out of turn */
};

struct targets {
	struct ev_loop *loop;
	const struct targets_ops *ops;
	struct target **slots;	/* by hash */
	size_t n_slots, n;
	struct {
		struct link owners;	/* struct target_turn, with targets that wait; the next in turn first */
		unsigned under_way;
	} lines[TARGET_LINES];
	uint64_t probes[2];
	uint64_t random;
};

/* -- by their questions ------------------------------------------------------------ */

bool
target_is(const struct target *t, struct str key)
{
	return t->n_key == key.n && memcmp(t->key, key.p, key.n) == 0;
}

static struct target **
slot_of(const struct targets *all, uint64_t hash)
{
	return &all->slots[hash & (all->n_slots - 1)];
}

static void
put_in_slot(struct targets *all, struct target *t)
{
	struct target **slot = slot_of(all, t->hash);

	t->next = *slot;
	*slot = t;
}

/* Slots are a power of two, and at least as many as targets. */
static void
make_slots(struct targets *all)
{
	struct target **before = all->slots;
	size_t were = all->n_slots;

	if (all->n < were)
		return;
	all->n_slots = were > 0 ? 2 * were : SLOTS_MIN;
	all->slots = must_array(all->n_slots, sizeof(*all->slots));
	for (size_t i = 0; i < were; i++)
		for (struct target *t = before[i], *next; t != NULL; t = next) {
			next = t->next;
			put_in_slot(all, t);
		}
	free(before);
}

static struct target *
find_target(const struct targets *all, struct str key, uint64_t hash)
{
	struct target *t = *slot_of(all, hash);

	while (t != NULL && (t->hash != hash || !target_is(t, key)))
		t = t->next;
	return t;
}

static struct target_user *
first_user(const struct target *t)
{
	return list_entry(list_first(&t->users), struct target_user, link);
}

/* -- when ----------------------------------------------------------------------------- */

static void
due_in(struct target *t, double seconds)
{
	struct ev_loop *loop = t->all->loop;

	ev_timer_stop(loop, &t->due);
	ev_timer_set(&t->due, seconds > 0 ? seconds : 0, 0);
	ev_timer_start(loop, &t->due);
}

/* Counted from the beginning of the last probe: a slow answer does not make checks
 * rarer. */
static void
plan_probe(struct target *t)
{
	double every = 0;

	LIST_EACH(l, &t->users) {
		double wanted = t->all->ops->every(list_entry(l, struct target_user, link));

		if (every <= 0 || wanted < every)
			every = wanted;
	}
	if (every < SHORTEST)
		every = SHORTEST;
	every *= 1 + JITTER * (2 * random_unit(&t->all->random) - 1);
	due_in(t, t->started + every - clock_now());
}

/* -- in line ---------------------------------------------------------------------------- */

static void
target_leave_line(struct target *t)
{
	struct target_turn *turn;

	if (t->owner == NULL)
		return;
	turn = &t->owner->lines[t->line];
	list_remove(&t->waiting);
	if (list_empty(&turn->targets))
		list_remove(&turn->link);
	t->owner = NULL;
}

static bool
all_are_down(const struct target *t)
{
	LIST_EACH(l, &t->users)
		if (!t->all->ops->is_down(list_entry(l, struct target_user, link)))
			return false;
	return true;
}

static void
target_get_in_line(struct target *t)
{
	struct target_turn *turn;

	t->owner = first_user(t)->owner;
	t->line = t->prompt ? LINE_PROMPT : all_are_down(t) ? LINE_HANGING : LINE_UNSURE;
	turn = &t->owner->lines[t->line];
	list_append(&turn->targets, &t->waiting);
	if (list_empty(&turn->link))
		list_append(&t->all->lines[t->line].owners, &turn->link);
}

void
target_owner_init(struct target_owner *o)
{
	for (int line = 0; line < TARGET_LINES; line++) {
		list_init(&o->lines[line].targets);
		list_init(&o->lines[line].link);
	}
}

/* -- asking ------------------------------------------------------------------------------- */

static void begin_waiting(struct targets *all);
static void target_free(struct target *t);

static void
tell_users(struct target *t, const char *error, bool prompt)
{
	struct link rest, *l;

	list_init(&rest);
	list_splice(&rest, &t->users);
	t->telling = true;
	while ((l = list_first(&rest)) != NULL) {
		list_remove(l);
		list_append(&t->users, l);
		t->all->ops->answered(list_entry(l, struct target_user, link), error, prompt);
	}
	t->telling = false;
}

static void
target_on_answer(void *arg, const char *error, double seconds)
{
	struct target *t = arg;
	struct targets *all = t->all;

	CHECK(t->magic == TARGET_MAGIC && all->lines[t->line].under_way > 0);
	t->probe = NULL;
	all->lines[t->line].under_way--;
	all->probes[error == NULL]++;
	t->prompt = error == NULL || seconds < HUNG * t->timeout;
	tell_users(t, error, t->prompt);
	if (t->n_users == 0)
		target_free(t);
	else if (t->again)
		target_ask(all, t);
	else
		plan_probe(t);
	begin_waiting(all);
}

static void
begin_probe(struct target *t)
{
	struct targets *all = t->all;
	struct target_user *u = first_user(t);
	struct probe_request request;
	const char *error;

	all->ops->question(u, &request);
	t->started = clock_now();
	t->timeout = request.timeout;
	t->probe = probe_start(all->loop, &request, target_on_answer, t, &error);
	if (t->probe != NULL) {
		all->lines[t->line].under_way++;
		return;
	}
	/* Out of descriptors or memory: our trouble, and no answer of the other side's. */
	all->ops->not_asked(u, error);
	plan_probe(t);
}

static bool
has_place(const struct targets *all, enum target_line line)
{
	static const unsigned most[TARGET_LINES] = { TARGETS_PROMPT, TARGETS_UNSURE, TARGETS_HANGING };

	return all->lines[line].under_way < most[line];
}

static void
begin_waiting(struct targets *all)
{
	struct link *l;

	for (enum target_line line = LINE_PROMPT; line < TARGET_LINES; line++)
		while (has_place(all, line) && (l = list_first(&all->lines[line].owners)) != NULL) {
			struct target_turn *turn = list_entry(l, struct target_turn, link);
			struct target *t = list_entry(list_first(&turn->targets), struct target, waiting);

			target_leave_line(t);
			/* Behind the other services with its next one. */
			if (!list_empty(l)) {
				list_remove(l);
				list_append(&all->lines[line].owners, l);
			}
			begin_probe(t);
		}
}

void
target_ask(struct targets *all, struct target *t)
{
	t->again = t->telling;
	if (t->probe != NULL || t->owner != NULL || t->telling)
		return;
	ev_timer_stop(all->loop, &t->due);
	t->hurries = false;
	target_get_in_line(t);
	begin_waiting(all);
}

void
target_hurry(struct targets *all, struct target *t)
{
	double rest = t->hurried + HURRY_EVERY - clock_now();

	if (t->probe != NULL || t->owner != NULL || t->telling || t->hurries)
		return;
	if (rest <= 0) {
		t->hurried = clock_now();
		target_ask(all, t);
	} else if (!ev_is_active(&t->due) || ev_timer_remaining(all->loop, &t->due) > rest) {
		/* Not forgotten, only put off. */
		t->hurries = true;
		due_in(t, rest);
	}
}

static void
target_on_due(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct target *t = container_of(w, struct target, due);

	(void)loop;
	(void)revents;
	CHECK(t->magic == TARGET_MAGIC);
	if (t->hurries)
		t->hurried = clock_now();
	target_ask(t->all, t);
}

/* -- life ----------------------------------------------------------------------------------- */

static struct target *
target_new(struct targets *all, struct str key, uint64_t hash)
{
	struct target *t = must_alloc(sizeof(*t));

	t->magic = TARGET_MAGIC;
	t->all = all;
	t->hash = hash;
	t->key = must_alloc(key.n + 1);
	memcpy(t->key, key.p, key.n);
	t->n_key = key.n;
	list_init(&t->users);
	list_init(&t->waiting);
	ev_timer_init(&t->due, target_on_due, 0, 0);
	put_in_slot(all, t);
	all->n++;
	return t;
}

static void
target_free(struct target *t)
{
	struct targets *all = t->all;
	struct target **at = slot_of(all, t->hash);

	CHECK(list_empty(&t->users));
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	all->n--;
	if (t->probe != NULL) {
		probe_cancel(&t->probe);
		all->lines[t->line].under_way--;
	}
	ev_timer_stop(all->loop, &t->due);
	target_leave_line(t);
	t->magic = 0;
	free(t->key);
	free(t);
}

void
target_join(struct targets *all, struct target_user *u, struct str key)
{
	uint64_t hash = hash_bytes(key.p, key.n, 0);

	CHECK(u->target == NULL);
	make_slots(all);
	if ((u->target = find_target(all, key, hash)) == NULL)
		u->target = target_new(all, key, hash);
	list_init(&u->link);
	list_append(&u->target->users, &u->link);
	u->target->n_users++;
	target_ask(all, u->target);
}

void
target_leave(struct target_user *u)
{
	struct target *t = u->target;

	if (t == NULL)
		return;
	u->target = NULL;
	list_remove(&u->link);
	t->n_users--;
	if (t->n_users == 0) {
		if (!t->telling)
			target_free(t);
	} else if (t->owner == u->owner) {
		/* It waited in the line of that one. */
		target_leave_line(t);
		target_get_in_line(t);
	}
}

void
targets_go_on(struct targets *all)
{
	begin_waiting(all);
}

size_t
target_users(const struct target *t)
{
	return t->n_users;
}

struct targets_totals
targets_totals(const struct targets *all)
{
	return (struct targets_totals){ .targets = all->n, .probes = { all->probes[0], all->probes[1] } };
}

struct targets *
targets_new(struct ev_loop *loop, const struct targets_ops *ops)
{
	struct targets *all = must_alloc(sizeof(*all));

	all->loop = loop;
	all->ops = ops;
	all->random = (uint64_t)clock_wall_us();
	for (int line = 0; line < TARGET_LINES; line++)
		list_init(&all->lines[line].owners);
	return all;
}

void
targets_free(struct targets **tp)
{
	struct targets *all = *tp;

	*tp = NULL;
	if (all == NULL)
		return;
	CHECK(all->n == 0);
	free(all->slots);
	free(all);
}
