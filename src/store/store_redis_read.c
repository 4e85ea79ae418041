/* store_redis_read.c - reading the truth from Redis, and what to make of it:
 * nothing that is older, empty or rubbish ever moves traffic.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/redis_number.h"
#include "store/store_redis.h"

/* A store that has lost everything is written again by the teald that still know; one
 * that knows nothing gives them the time of a reading before it writes "initial". */
#define INITIAL_AFTER (REDIS_POLL + 0.2)

/* -- one record ------------------------------------------------------------------- */

static void
complain_of_record(struct redis_service *v, const char *event, const struct record *r, const char *hint)
{
	snprintf(v->problem, sizeof(v->problem), "%s: %s (the store says %s at epoch %llu)", v->name, hint,
		 color_word(r->color), (unsigned long long)r->epoch);
	if (v->complained == r->epoch)
		return;
	v->complained = r->epoch;
	LOG_ERROR(event, LS("service", v->name), LR(NULL, str_from(v->labels_json)),
		  LS("store_color", color_word(r->color)), LU("store_epoch", r->epoch),
		  LS("color", color_word(v->record.color)), LU("epoch", v->record.epoch),
		  LS("message", hint));
}

/* A write of our own whose answer was lost, and here it is: the gate let it
 * through. */
static bool
service_in_doubt(const struct redis_service *v, const struct record *r)
{
	LIST_EACH(it, &v->store->doubts) {
		const struct doubt *d = list_entry(it, struct doubt, link);

		if (d->service == v && d->means == STORE_COLOR &&
		    store_redis_is_ours(STORE_COLOR, r, &d->next))
			return true;
	}
	return false;
}

static bool
may_become(const struct redis_service *v, const struct record *r)
{
	struct store *store = &v->store->store;

	return r->color == v->record.color || r->forced || service_in_doubt(v, r) ||
	       store->may_obey(store->arg, v->name, r->color);
}

/* Of what was flipped with it, as one, the first that cannot be obeyed here; NULL: none.  All of them are, or
 * none is. */
static const struct redis_service *
refused_with(const struct redis_service *v, const struct record *r)
{
	const struct store_redis *s = v->store;

	for (size_t i = 0; r->revision[0] != '\0' && i < s->n; i++) {
		const struct redis_service *o = s->services[i];

		if (o != v && o->known && o->seen_what == SEEN_RECORD && o->seen.epoch >= o->record.epoch &&
		    strcmp(o->seen.revision, r->revision) == 0 && !may_become(o, &o->seen))
			return o;
	}
	return NULL;
}

/* What HMGET gave: keeps the lock's text, which the next write of a lock has to find. */
static void
saw_lock(struct redis_service *v, const redisReply *fields)
{
	const redisReply *lock = fields->elements == REDIS_RECORD_FIELDS ? fields->element[7] : NULL;

	free(v->locked);
	v->locked = lock != NULL && lock->type == REDIS_REPLY_STRING && lock->len > 0 ?
			    must_strdup(lock->str) :
			    NULL;
}

void
store_redis_judge(struct redis_service *v, const struct record *r)
{
	const struct redis_service *with;

	if (v->gone)
		return;
	if (!v->known && v->cached && r->epoch < v->record.epoch) {
		/* Written by this teald before it was restarted, and lost since. */
		struct record cached = v->record;

		store_redis_tell(v, &cached);
	}
	if (!v->known) {
		store_redis_tell(v, r);
		return;
	}
	if (r->epoch < v->record.epoch) {
		v->disputed = false;
		complain_of_record(v, "store.epoch_lower", r,
				   "the store went back in time; it is brought forward again");
		store_redis_forward(v, &v->record, false);
		return;
	}
	if (r->color != v->record.color && !may_become(v, r)) {
		complain_of_record(v, "store.refused", r, "refused: that color has no healthy backend here");
		v->disputed = true;
		return;
	}
	if (r->color != v->record.color && (with = refused_with(v, r)) != NULL) {
		char hint[2 * RECORD_NAME + 128];

		snprintf(hint, sizeof(hint), "refused: it was flipped with %s, whose color has no healthy backend here",
			 with->name);
		complain_of_record(v, "store.refused", r, hint);
		v->disputed = true;
		return;
	}
	v->disputed = false;
	if (r->epoch == v->record.epoch && r->color != v->record.color)
		complain_of_record(v, "store.disagrees", r,
				   "another color at the same epoch: the store's word counts");
	else if (v->problem[0] != '\0') {
		v->problem[0] = '\0';
		v->complained = 0;
	}
	if (!record_same(r, &v->record))
		store_redis_tell(v, r);
}

/* The greatest epoch that this teald, or a member of its fleet, has come to. */
static uint64_t
known_epoch(const struct redis_service *v)
{
	uint64_t own = v->known || v->cached ? v->record.epoch : 0;
	uint64_t known = fleet_applied(&v->store->fleet, v->name);

	/* Heartbeats come from the store as well, and may say any number. */
	if (!redis_number_is_near(own > REDIS_NUMBER_FREE ? own : REDIS_NUMBER_FREE, known))
		known = 0;
	return own > known ? own : known;
}

enum err
store_redis_parse(struct redis_service *v, const redisReply *fields, struct record *out, bool *exists,
		  struct why *why)
{
	enum err e = redis_record_parse(fields, out, exists, why);

	if (e != OK || !*exists)
		return e;
	if (!redis_number_is_near(known_epoch(v), out->epoch)) {
		*exists = false;
		return why_set(why, E_STORE, "the field epoch is %llu, " REDIS_NUMBER_TOO_GREAT,
			       (unsigned long long)out->epoch);
	}
	saw_lock(v, fields);
	return OK;
}

static void
former_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *sent)
{
	struct redis_service *v = arg;
	struct store_redis *s = v->store;
	struct record r;
	bool exists;
	struct why why;

	(void)sent;
	s->under_way--;
	/* Nothing is begun anew while it is not known what there was: asked again. */
	if (e == OK && redis_record_parse(reply, &r, &exists, &why) == OK) {
		free(v->former_key);
		v->former_key = NULL;
		if (exists && !v->known && (!v->cached || r.epoch > v->record.epoch) && r.epoch <= REDIS_NUMBER_MAX) {
			v->record = r;
			v->cached = true;
			v->complained = UINT64_MAX;	/* that the store has no such service is no surprise */
			LOG_INFO("store.renamed", LS("service", v->name), LR(NULL, str_from(v->labels_json)),
				 LS("color", color_word(r.color)), LU("epoch", r.epoch));
		}
	}
	v->writing = false;
	store_redis_unhold(v);
}

/* What the store has by the name that the service had before. */
static void
ask_former(struct redis_service *v)
{
	struct store_redis *s = v->store;
	const struct str argv[] = { STR("HMGET"), str_from(v->former_key), REDIS_RECORD_NAMES };

	if (v->writing || !store_redis_is_up(s))
		return;
	v->writing = true;
	v->held++;
	s->under_way++;
	redis_command(s->commands, s->config->store.command_timeout, ARRAY_LEN(argv), argv, former_on_reply, v);
}

/* The store answered, and has no such service. */
static void
missing(struct redis_service *v)
{
	struct record first = { .color = v->initial,
				.epoch = 1,
				.change = CHANGE_INITIAL,
				.at_us = clock_wall_us(),
				.by = "teald" };

	if (v->missing_since == 0)
		v->missing_since = clock_now();
	if (!v->known && v->former_key != NULL) {
		ask_former(v);
		return;
	}
	if (!v->known && v->cached) {
		struct record cached = v->record;

		store_redis_tell(v, &cached);
	}
	if (v->known) {
		if (v->complained != UINT64_MAX)
			LOG_WARN("store.empty", LS("service", v->name), LR(NULL, str_from(v->labels_json)),
				 LU("epoch", v->record.epoch),
				 LS("message",
				    "the store does not know the service any more; writing it again"));
		v->complained = UINT64_MAX;
		store_redis_forward(v, &v->record, false);
	} else if (clock_now() - v->missing_since >= INITIAL_AFTER) {
		store_redis_forward(v, &first, true);
	}
}

/* What the store has; it is judged once all are seen. */
static void
see_record(struct redis_service *v, const redisReply *reply)
{
	bool exists;
	struct why why;

	v->seen_what = SEEN_NOTHING;
	if (store_redis_parse(v, reply, &v->seen, &exists, &why) != OK) {
		if (v->problem[0] == '\0')
			LOG_ERROR("store.bad_record", LS("service", v->name),
				  LR(NULL, str_from(v->labels_json)), LS("key", v->key),
				  LS("message", why.text));
		snprintf(v->problem, sizeof(v->problem), "%.100s: %.200s", v->key, why.text);
		return;
	}
	v->seen_what = exists ? SEEN_RECORD : SEEN_NONE;
}

static void
judge_seen(struct redis_service *v)
{
	struct record r = v->seen;

	switch (v->seen_what) {
	case SEEN_NOTHING:
		return;
	case SEEN_NONE:
		v->disputed = false;
		missing(v);
		return;
	case SEEN_RECORD:
		v->missing_since = 0;
		if (v->complained == UINT64_MAX)
			v->complained = 0;
		store_redis_judge(v, &r);
		return;
	}
}

/* -- a whole reading ----------------------------------------------------------------- */

static bool
to_number(const redisReply *r, uint64_t max, uint64_t *out)
{
	return r->type == REDIS_REPLY_STRING && str_to_u64((struct str){ r->str, (size_t)r->len }, max, out);
}

static struct str
field_text(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING ? (struct str){ r->str, (size_t)r->len } : STR("");
}

/* Who was there and is not in the store any more is still there, unless it
 * said goodbye: a store that lost its memory must not make a flip think that
 * it is alone. */
static void
read_fleet(struct store_redis *s, const redisReply *beats, const redisReply *left)
{
	struct fleet before = s->fleet;

	s->fleet = (struct fleet){ 0 };
	fleet_begin(&s->fleet, s->time_us, clock_now());
	for (size_t i = 0; i < beats->elements; i++)
		if (beats->element[i]->type == REDIS_REPLY_STRING)
			(void)fleet_add(&s->fleet, field_text(beats->element[i]), s->self.id);
	for (size_t i = 0; i < left->elements; i++)
		fleet_forget(&before, field_text(left->element[i]));
	fleet_remember(&s->fleet, &before, store_redis_life(s));
	for (size_t i = 0; s->beaten && i < s->fleet.n; i++) {
		struct fleet_member *m = &s->fleet.members[i];

		if (!m->self || strcmp(m->run, s->self.run) == 0)
			continue;
		m->self = false;
		store_redis_twin(s, m);
		break;
	}
}

static enum err
take_reading(struct store_redis *s, const redisReply *reply, struct why *why)
{
	uint64_t seconds, us;

	if (reply->type == REDIS_REPLY_ERROR)
		return why_set(why, E_STORE, "%s: %.*s", redis_where(s->commands),
			       reply->len < 200 ? (int)reply->len : 200, reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 6 ||
	    !to_number(reply->element[0], CLOCK_US_MAX / 1000000, &seconds) ||
	    !to_number(reply->element[1], 999999, &us) || reply->element[2]->type != REDIS_REPLY_ARRAY ||
	    reply->element[2]->elements != s->n || reply->element[3]->type != REDIS_REPLY_ARRAY ||
	    reply->element[4]->type != REDIS_REPLY_ARRAY || reply->element[5]->type != REDIS_REPLY_ARRAY ||
	    reply->element[5]->elements != s->n_pools)
		return why_set(why, E_STORE, "%s answers with something that is not ours",
			       redis_where(s->commands));
	s->time_us = (int64_t)(seconds * 1000000 + us);
	s->time_at = s->read_at = clock_now();
	read_fleet(s, reply->element[3], reply->element[4]);
	for (size_t i = 0; i < s->n_pools; i++)
		store_redis_nodes_read(s->pools[i], reply->element[5]->element[i]);
	for (size_t i = 0; i < s->n; i++)
		see_record(s->services[i], reply->element[2]->element[i]);
	for (size_t i = 0; i < s->n; i++)
		judge_seen(s->services[i]);
	store_redis_send_forwards(s);
	return OK;
}

static void
tell_ready(struct store_redis *s)
{
	if (s->ready_told)
		return;
	for (size_t i = 0; i < s->n; i++)
		if (!s->services[i]->known)
			return;
	s->ready_told = true;
	s->store.on_ready(s->store.arg);
}

static void
answer_waiters(struct store_redis *s, enum err e, const struct why *why)
{
	struct link answered;

	list_init(&answered);
	LIST_EACH(it, &s->waiters) {
		struct refresh_waiter *w = list_entry(it, struct refresh_waiter, link);

		/* Came while the reading was under way: it wants a newer one. */
		if (e == OK && !w->fresh) {
			w->fresh = true;
			continue;
		}
		list_remove(it);
		list_append(&answered, it);
	}
	LIST_EACH(it, &answered) {
		struct refresh_waiter *w = list_entry(it, struct refresh_waiter, link);

		w->done(w->arg, e, why);
		free(w);
	}
}

static void
read_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	struct store_redis *s = arg;
	struct why what = { "" };

	s->reading = false;
	s->under_way--;
	if (s->reading_old && e == OK) {
		s->reading_old = false;
		store_redis_read(s);
		return;
	}
	s->reading_old = false;
	if (e == OK) {
		e = take_reading(s, reply, &what);
		if (e != OK && s->down_why[0] == '\0')
			LOG_ERROR("store.unreadable", LS("type", "redis"), LS("reason", what.text));
		snprintf(s->down_why, sizeof(s->down_why), "%.500s", e != OK ? what.text : "");
	} else {
		e = E_STORE;
		what = *why;
	}
	if (e == OK)
		tell_ready(s);
	answer_waiters(s, e, &what);
	store_redis_settle_doubts(s);
	if (!list_empty(&s->waiters))
		store_redis_read(s);
}

void
store_redis_read(struct store_redis *s)
{
	struct str *argv;
	char count[24], services[24];
	size_t at = 0;

	if (s->reading)
		return;
	if (!store_redis_is_up(s)) {
		struct why why;

		why_set(&why, E_STORE, "%s",
			s->left                ? "teald is stopping" :
			s->down_why[0] != '\0' ? s->down_why :
						 "not connected to Redis yet");
		answer_waiters(s, E_STORE, &why);
		return;
	}
	LIST_EACH(it, &s->waiters)
		list_entry(it, struct refresh_waiter, link)->fresh = true;
	argv = must_array(s->n + s->n_pools + 3, sizeof(*argv));
	snprintf(count, sizeof(count), "%zu", s->n + s->n_pools);
	snprintf(services, sizeof(services), "%zu", s->n);
	argv[at++] = str_from(count);
	for (size_t i = 0; i < s->n; i++)
		argv[at++] = str_from(s->services[i]->key);
	for (size_t i = 0; i < s->n_pools; i++)
		argv[at++] = str_from(s->pools[i]->key);
	argv[at++] = str_from(s->config->store.prefix);
	argv[at++] = str_from(services);
	s->reading = true;
	s->under_way++;
	redis_script_run(s->commands, &redis_script_read, s->config->store.command_timeout, at, argv,
			 read_on_reply, s);
	free(argv);
}

void
store_redis_refresh(struct store *store, store_refreshed_fn *done, void *arg)
{
	struct store_redis *s = store_redis_of(store);
	struct refresh_waiter *w = must_alloc(sizeof(*w));

	w->done = done;
	w->arg = arg;
	list_append(&s->waiters, &w->link);
	store_redis_read(s);
}
