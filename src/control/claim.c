/* claim.c - claims and releases: conditional writes like a lock's, and those that wait
 * for another's claim to end, in the order they came.
 * Thread: main.  Each owns one reference of its service. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/claim.h"
#include "control/flip_steps.h"
#include "control/services.h"

/* A write that another came before is judged anew so often, after that many seconds: by
 * the store's clock a claim may hold a little longer than by ours. */
#define TRIES 10
#define AGAIN 0.1
#define EXPIRY_LEAST 0.001
/* How soon a store that did not write is asked again, seconds. */
#define STORE_AGAIN 0.5

enum claim_step {
	CLAIM_ASKING,	/* the store is being read: it cannot go before that answers */
	CLAIM_WAITING,	/* for another's claim to end, or for AGAIN */
	CLAIM_WRITING,
	CLAIM_OVER	/* but for the store's answer */
};

struct claiming {
	struct link link;	/* on ctl's claims */
	struct service_ctl *ctl;
	enum claim_step step;
	struct claim_request request;
	struct flip_watcher *watcher;	/* NULL: left */
	char token[CLAIM_TOKEN];	/* of the claim that is made or renewed */
	char hash[CLAIM_HASH];
	double until;	/* clock_now(): so long it may wait */
	unsigned tries;
	ev_timer again;
};

bool
claim_holds(const struct service_ctl *ctl)
{
	return record_claimed(&ctl->service->record, store_now(ctl->control->store));
}

bool
claim_is_of(const struct service_ctl *ctl, const char *token)
{
	return claim_holds(ctl) && strcmp(ctl->service->record.claim.token, token) == 0;
}

/* -- the end ----------------------------------------------------------------------- */

static void
claiming_free(struct claiming *c)
{
	struct service_ctl *ctl = c->ctl;

	ev_timer_stop(ctl->control->loop, &c->again);
	list_remove(&c->link);
	flip_let_go(&c->watcher);
	free(c);
	ctl_unref(&ctl);
}

static void claim_next(struct service_ctl *ctl);

static void
claim_end(struct claiming *c, struct flip_outcome o)
{
	struct service_ctl *ctl = ctl_ref(c->ctl);

	CHECK(c->step != CLAIM_ASKING);
	o.service = ctl->service;
	c->step = CLAIM_OVER;
	list_remove(&c->link);
	flip_end(&c->watcher, &o);
	claiming_free(c);
	claim_next(ctl);
	ctl_unref(&ctl);
}

static void
claim_refuse(struct claiming *c, enum err e, const char *message)
{
	claim_end(c, (struct flip_outcome){ .error = e, .message = message, .changed = CHANGED_NO });
}

/* -- the write --------------------------------------------------------------------- */

static void claim_look(struct claiming *c);

static void
claim_again(struct claiming *c, double seconds)
{
	c->step = CLAIM_WAITING;
	ev_timer_stop(c->ctl->control->loop, &c->again);
	ev_timer_set(&c->again, seconds, 0.0);
	ev_timer_start(c->ctl->control->loop, &c->again);
}

static void
claim_told(const struct claiming *c)
{
	const struct claim_request *q = &c->request;
	const struct record *r = &c->ctl->service->record;
	struct bus *bus = &c->ctl->control->bus;
	char until[CLOCK_TEXT];

	if (q->release) {
		BUS_EMIT(bus, LOG_INFO_LEVEL, "service.released", c->ctl->service, LS("by", q->by.user),
			 LB("force", q->force), LS("reason", q->reason));
		return;
	}
	clock_format(r->claim.until_us, 3, until);
	BUS_EMIT(bus, LOG_INFO_LEVEL, "service.claimed", c->ctl->service, LS("by", q->by.user),
		 LS("reason", r->claim.reason), LS("until", until), LU("epoch", r->epoch),
		 LB("renewed", q->token[0] != '\0'));
}

static void
claim_on_store(void *arg, enum err e, const struct record *now, const struct why *why)
{
	struct claiming *c = arg;

	(void)now;
	/* Who asked was told when the service went. */
	if (c->step == CLAIM_OVER) {
		claiming_free(c);
		return;
	}
	if (e == E_CONFLICT && ++c->tries < TRIES) {
		claim_again(c, AGAIN);
		return;
	}
	/* Nothing was written: it may wait for the store as well as for another's claim. */
	if (e == E_STORE && clock_now() + STORE_AGAIN < c->until) {
		claim_again(c, STORE_AGAIN);
		return;
	}
	if (e == OK)
		claim_told(c);
	claim_end(c, (struct flip_outcome){
			     .error = e,
			     .message = e == OK         ? NULL :
					e == E_CONFLICT ? "the service was changed at the same time; try again" :
							  why->text,
			     .changed = e == OK        ? CHANGED_YES :
					e == E_UNKNOWN ? CHANGED_UNKNOWN :
							 CHANGED_NO,
			     .token = (e == OK || e == E_UNKNOWN) && !c->request.release ? c->token : NULL });
}

static void
fill_claim_entry(const struct claiming *c, struct audit_entry *a)
{
	const struct claim_request *q = &c->request;
	const struct record *r = &c->ctl->service->record;

	*a = (struct audit_entry){ .at_us = clock_wall_us(),
				   .change = q->release ? CHANGE_RELEASE : CHANGE_CLAIM,
				   .epoch = r->epoch,
				   .from = r->color,
				   .to = r->color,
				   .uid = q->by.uid,
				   .pid = q->by.pid };
	str_copy(a->service, sizeof(a->service), str_from(c->ctl->service->config->name));
	audit_set_host(a);
	memcpy(a->by, q->by.user, sizeof(a->by));
	memcpy(a->reason, q->reason, sizeof(a->reason));
	str_copy(a->result, sizeof(a->result), str_from(err_word(OK)));
}

static void
claim_write(struct claiming *c)
{
	struct store *store = c->ctl->control->store;
	const struct claim_request *q = &c->request;
	const struct record *now = &c->ctl->service->record;
	struct store_write w = { .service = c->ctl->service->config->name,
				 .means = STORE_CLAIM,
				 .expect_epoch = now->epoch,
				 .next = *now };
	bool holds = claim_holds(c->ctl);

	w.token = holds ? now->claim.token : NULL;
	memset(&w.next.claim, 0, sizeof(w.next.claim));
	if (!q->release) {
		w.next.claim.on = true;
		w.next.claim.epoch = now->epoch;
		w.next.claim.at_us = holds ? now->claim.at_us : store_now(store);
		w.next.claim.until_us = store_now(store) + (int64_t)(q->ttl * 1e6);
		memcpy(w.next.claim.token, c->hash, sizeof(c->hash));
		memcpy(w.next.claim.by, q->by.user, sizeof(w.next.claim.by));
		memcpy(w.next.claim.reason, q->reason, sizeof(w.next.claim.reason));
	}
	fill_claim_entry(c, &w.entry);
	w.unnoted = holds && !q->release;	/* renewals, each few seconds, would leave no room for flips */
	ev_timer_stop(c->ctl->control->loop, &c->again);
	c->step = CLAIM_WRITING;
	store->write(store, &w, claim_on_store, c);
}

/* -- the question ------------------------------------------------------------------ */

static void
release_look(struct claiming *c)
{
	const struct claim_request *q = &c->request;

	if (q->force ? claim_holds(c->ctl) : claim_is_of(c->ctl, c->hash))
		claim_write(c);
	else
		claim_end(c, (struct flip_outcome){ .changed = CHANGED_NO });
}

/* Another's claim is not written over, and nothing is begun that a lock forbids. */
static void
claim_look(struct claiming *c)
{
	const struct claim_request *q = &c->request;
	char text[FLIP_TEXT];
	enum err e;

	if (!c->ctl->service->known) {
		claim_refuse(c, E_STORE, "the store has not been read yet; try again when /readyz says ready");
		return;
	}
	if (q->release) {
		release_look(c);
		return;
	}
	if (q->at_epoch != 0 && q->at_epoch != c->ctl->service->record.epoch) {
		claim_refuse(c, E_CONFLICT, "the service was flipped at the same time");
		return;
	}
	e = flip_barred(c->ctl, q->token[0] != '\0' ? c->hash : "", text);
	if (e == OK)
		claim_write(c);
	else if (e == E_CLAIMED && q->token[0] == '\0' && clock_now() < c->until)
		claim_again(c, c->until - clock_now());
	else
		claim_refuse(c, e, text);
}

static void
claim_on_again(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct claiming *c = container_of(t, struct claiming, again);

	(void)loop;
	(void)revents;
	claim_look(c);
}

static void
claim_on_refreshed(void *arg, enum err e, const struct why *why)
{
	struct claiming *c = arg;

	if (c->step == CLAIM_OVER) {
		claiming_free(c);
		return;
	}
	c->step = CLAIM_WAITING;
	if (e == OK)
		claim_look(c);
	else if (clock_now() + STORE_AGAIN < c->until)
		claim_again(c, STORE_AGAIN);
	else
		claim_refuse(c, E_STORE, why->text);
}

void
claim_start(struct service_ctl *ctl, const struct claim_request *request, struct flip_watcher *watcher)
{
	struct claiming *c = must_alloc(sizeof(*c));
	struct store *store = ctl->control->store;

	c->ctl = ctl_ref(ctl);
	c->request = *request;
	flip_watch(&c->watcher, watcher);
	c->until = clock_now() + request->wait;
	ev_timer_init(&c->again, claim_on_again, 0.0, 0.0);
	list_append(&ctl->claims, &c->link);
	c->step = CLAIM_WAITING;
	if (request->token[0] != '\0')
		memcpy(c->token, request->token, sizeof(c->token));
	else if (request->name[0] != '\0')
		memcpy(c->token, request->name, sizeof(c->token));
	else if (!request->release && !claim_token_new(c->token)) {
		claim_refuse(c, E_INTERNAL, "the kernel gives no random numbers");
		return;
	}
	claim_hash(str_from(c->token), c->hash);
	if (store->refresh == NULL) {
		claim_look(c);
		return;
	}
	/* Another teald may just have changed it. */
	c->step = CLAIM_ASKING;
	store->refresh(store, claim_on_refreshed, c);
}

static struct claiming *
claiming_of(const struct flip_watcher *watcher)
{
	return watcher->held != NULL ? container_of(watcher->held, struct claiming, watcher) : NULL;
}

bool
claim_waits(const struct flip_watcher *watcher)
{
	const struct claiming *c = claiming_of(watcher);

	return c != NULL && c->step == CLAIM_WAITING;
}

bool
claim_call_off(struct flip_watcher *watcher)
{
	struct claiming *c = claiming_of(watcher);
	struct service_ctl *ctl;

	if (c == NULL || c->step == CLAIM_WRITING)
		return false;
	ctl = ctl_ref(c->ctl);
	flip_let_go(&c->watcher);
	list_remove(&c->link);
	if (c->step == CLAIM_ASKING)
		c->step = CLAIM_OVER;
	else
		claiming_free(c);
	/* Its turn may have come already: of a claim that ended none but the first is told. */
	claim_next(ctl);
	ctl_unref(&ctl);
	return true;
}

void
claim_end_all(struct service_ctl *ctl, enum err error, const char *message)
{
	LIST_EACH(it, &ctl->claims) {
		struct claiming *c = list_entry(it, struct claiming, link);
		bool busy = c->step == CLAIM_ASKING || c->step == CLAIM_WRITING;
		bool writing = c->step == CLAIM_WRITING;

		c->step = CLAIM_OVER;
		list_remove(&c->link);
		flip_end(&c->watcher, &(struct flip_outcome){ .error = error,
							      .message = message,
							      .service = ctl->service,
							      .changed = writing ? CHANGED_UNKNOWN : CHANGED_NO,
							      .token = writing && !c->request.release ? c->token : NULL });
		if (!busy)
			claiming_free(c);
	}
}

/* -- the service ------------------------------------------------------------------- */

/* The first that waits looks again; while one writes, its outcome is waited for. */
static void
claim_next(struct service_ctl *ctl)
{
	struct claiming *first = NULL;

	if (ctl->removed)
		return;
	LIST_EACH(it, &ctl->claims) {
		struct claiming *c = list_entry(it, struct claiming, link);

		if (c->step == CLAIM_WRITING)
			return;
		if (c->step == CLAIM_WAITING && first == NULL)
			first = c;
	}
	if (first != NULL)
		claim_again(first, 0.0);
}

static void
arm_expiry(struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	double left = (double)(r->claim.until_us - store_now(ctl->control->store)) / 1e6;

	ev_timer_stop(ctl->control->loop, &ctl->claim_expiry);
	if (!claim_holds(ctl))
		return;
	ev_timer_set(&ctl->claim_expiry, left > EXPIRY_LEAST ? left : EXPIRY_LEAST, 0.0);
	ev_timer_start(ctl->control->loop, &ctl->claim_expiry);
}

static void
claim_on_expiry(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct service_ctl *ctl = container_of(t, struct service_ctl, claim_expiry);
	const struct record *r = &ctl->service->record;

	(void)loop;
	(void)revents;
	/* Of a teald that has handed over another one tells. */
	if (ctl->removed || ctl->control->yielded)
		return;
	/* The store's clock is not ours. */
	if (claim_holds(ctl)) {
		arm_expiry(ctl);
		return;
	}
	BUS_EMIT(&ctl->control->bus, LOG_WARN_LEVEL, "service.claim_expired", ctl->service, LS("by", r->claim.by),
		 LS("reason", r->claim.reason), LU("epoch", r->epoch));
	claim_next(ctl);
}

void
claim_on_record(struct service_ctl *ctl)
{
	arm_expiry(ctl);
	/* A lock ends all that wait. */
	LIST_EACH(it, &ctl->claims) {
		struct claiming *c = list_entry(it, struct claiming, link);

		if (ctl->service->record.lock.on && c->step == CLAIM_WAITING && !c->request.release)
			claim_again(c, 0.0);
	}
	claim_next(ctl);
}

void
claim_init(struct service_ctl *ctl)
{
	list_init(&ctl->claims);
	ev_timer_init(&ctl->claim_expiry, claim_on_expiry, 0.0, 0.0);
}

void
claim_close(struct service_ctl *ctl)
{
	ev_timer_stop(ctl->control->loop, &ctl->claim_expiry);
}
