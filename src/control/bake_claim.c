/* bake_claim.c - the claim by which a bake bars other flips, in the whole fleet, and by which a lost one is found.
 * Thread: main. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/bake_private.h"
#include "control/claim.h"
#include "control/services.h"

/* The claim lasts so much longer than the bake: its rollback may have to be tried again. */
#define CLAIM_EXTRA 60.0

/* Every teald can tell it; no user can, since it is no row of hexadecimal digits. */
static void
bake_token(const char *service, uint64_t epoch, char token[CLAIM_TOKEN])
{
	char text[RECORD_NAME + 32], hash[CLAIM_HASH];

	snprintf(text, sizeof(text), "%s@%llu", service, (unsigned long long)epoch);
	claim_hash(str_from(text), hash);
	snprintf(token, CLAIM_TOKEN, "bake%.28s", hash);
}

/* That of the claim, as it was made before a reload gave the service its name; false, and the one by its name: that is none. */
static bool
find_token(const struct service_ctl *ctl, uint64_t epoch, char token[CLAIM_TOKEN])
{
	const struct service_config *sc = ctl->service->config;
	const char *const names[] = { sc->rename, sc->name };
	char hash[CLAIM_HASH];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (names[i] == NULL)
			continue;
		bake_token(names[i], epoch, token);
		claim_hash(str_from(token), hash);
		if (strcmp(hash, ctl->service->record.claim.token) == 0)
			return true;
	}
	return false;
}

static bool
claim_is_a_bakes(const struct service_ctl *ctl)
{
	char token[CLAIM_TOKEN];

	return claim_holds(ctl) && find_token(ctl, ctl->service->record.epoch, token);
}

bool
bake_claims(const struct service_ctl *ctl)
{
	return claim_is_a_bakes(ctl);
}

bool
bake_is_leaving(const struct service_ctl *ctl)
{
	return ctl->bake != NULL && ctl->bake->state == BAKE_OVER && ctl->bake->epoch == ctl->service->record.epoch &&
	       claim_is_a_bakes(ctl);
}

/* -- who judges: the claim's reason says so, to people and to the others of the fleet ------ */

#define JUDGED_BY ", judged by teald on "

static const char *
own_id(const struct control *c)
{
	return c->store->id != NULL ? c->store->id(c->store) : "";
}

/* "bake of blue (rollback), judged by teald on lb1, 7f3a": the last is its identity in a fleet. */
static void
bake_reason(const struct bake *b, const char *what, char reason[RECORD_REASON])
{
	const char *id = own_id(b->ctl->control);
	struct audit_entry here;

	audit_set_host(&here);
	snprintf(reason, RECORD_REASON, "%s of %s (%s)" JUDGED_BY "%s%s%s", what, color_word(b->to),
		 on_regression_word(b->on_regression), here.host, id[0] != '\0' ? ", " : "", id);
}

/* "": of a teald that has none, or of an older version. */
static const char *
judges_id(const char *reason)
{
	const char *by = strstr(reason, JUDGED_BY);
	const char *comma = by != NULL ? strrchr(by + 1, ',') : NULL;

	return comma != NULL ? comma + 2 : "";
}

static enum on_regression
judges_orders(const char *reason)
{
	for (int i = 0; on_regression_words[i] != NULL; i++) {
		char text[32];

		snprintf(text, sizeof(text), "(%s)" JUDGED_BY, on_regression_words[i]);
		if (strstr(reason, text) != NULL)
			return (enum on_regression)i;
	}
	return ON_REGRESSION_TELL;
}

bool
bake_is_judged_elsewhere(const struct bake *b)
{
	const struct service_ctl *ctl = b->ctl;
	const char *id = own_id(ctl->control), *judge = judges_id(ctl->service->record.claim.reason);

	return ctl->service->record.epoch == b->epoch && claim_is_a_bakes(ctl) && id[0] != '\0' && judge[0] != '\0' &&
	       strcmp(id, judge) != 0;
}

static void
ask_claim(const struct bake *b, struct claim_request *q, bool has_token)
{
	char token[CLAIM_TOKEN];

	(void)find_token(b->ctl, b->epoch, token);
	memcpy(has_token ? q->token : q->name, token, sizeof(token));
	memcpy(q->by.user, b->by, sizeof(q->by.user));
	q->by.uid = geteuid();
	q->by.pid = getpid();
	claim_start(b->ctl, q, NULL);
}

/* Another's of that bake is taken over. */
void
bake_claim(const struct bake *b)
{
	struct claim_request q = { .ttl = b->until - clock_now() + CLAIM_EXTRA, .at_epoch = b->epoch };

	bake_reason(b, "bake", q.reason);
	ask_claim(b, &q, claim_is_a_bakes(b->ctl));
}

void
bake_release(const struct bake *b, const char *what)
{
	/* The claim bars others from flips: its release waits for a store that is away. */
	struct claim_request q = { .release = true, .wait = BAKE_MAX, .at_epoch = b->epoch };

	bake_reason(b, what, q.reason);
	ask_claim(b, &q, true);
}

/* -- those whose teald is gone -------------------------------------------------------- */

static struct bake
bake_of_claim(struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	double left = (double)(r->claim.until_us - store_now(ctl->control->store)) / 1e6 - CLAIM_EXTRA;
	struct bake b = { .ctl = ctl,
			  .to = r->color,
			  .epoch = r->epoch,
			  .started = clock_now() - (double)(store_now(ctl->control->store) - r->claim.at_us) / 1e6,
			  .until_us = r->claim.until_us - (int64_t)(CLAIM_EXTRA * 1e6),
			  .on_regression = judges_orders(r->claim.reason),
			  .facts = { .control = JUDGE_BEFORE } };

	memcpy(b.by, r->claim.by, sizeof(b.by));
	b.until = fmax(clock_now() + left, b.started);
	return b;
}

/* Who judged it is gone, and with it what it had counted. */
static void
bake_lose(struct service_ctl *ctl)
{
	struct bake lost = bake_of_claim(ctl);
	char until[CLOCK_TEXT];

	clock_format(lost.until_us, 3, until);
	BUS_EMIT(&ctl->control->bus, LOG_WARN_LEVEL, "bake.lost", ctl->service, LS("to", color_word(lost.to)), LU("epoch", lost.epoch),
		 LS("until", until), LS("by", lost.by),
		 LS("hint", "the teald that judged it has died; the color stays, and is not judged"));
	lost.state = BAKE_OVER;
	lost.verdict = BAKE_LOST;
	snprintf(lost.text, sizeof(lost.text), "lost: the teald that judged %s has died; it stays active, and is not judged any more "
		 "(to judge it: flip to the other color and back)", color_word(lost.to));
	if (ctl->service->record.share.idle > 0)
		snprintf(lost.text + strlen(lost.text), sizeof(lost.text) - strlen(lost.text), "; %s keeps a share of the clients until: "
			 "tealctl flip %s %s", color_word(color_other(lost.to)), ctl->service->config->name, color_word(lost.to));
	bake_resume(ctl, &lost);
	ctl->bakes_total[lost.to][BAKE_LOST]++;
	bake_release(&lost, "lost bake");
}

void
bake_on_known(struct service_ctl *ctl)
{
	if (!bake_is_on(ctl) && claim_is_a_bakes(ctl) &&
	    strcmp(judges_id(ctl->service->record.claim.reason), own_id(ctl->control)) == 0)
		bake_lose(ctl);
}

static void
go_on_with(struct service_ctl *ctl)
{
	struct bake from = bake_of_claim(ctl);

	from.base = ctl->past.now;
	from.facts.old = ctl->past.control;
	bake_find_control(&from);
	bake_resume(ctl, &from);
	BUS_EMIT(&ctl->control->bus, LOG_WARN_LEVEL, "bake.resumed", ctl->service, LS("to", color_word(from.to)), LU("epoch", from.epoch),
		 LU("clients", from.facts.old.exposures), LS("by", from.by),
		 LS("hint", "the teald that judged it is gone; this one judges by its own traffic since the flip"));
	bake_claim(&from);
}

/* Does one of them judge?  If not: is it this teald's turn, the first by identity? */
static bool
is_judged(const struct fleet *f, const char *judge, bool *own_turn)
{
	const struct fleet_member *first = NULL;

	for (size_t i = 0; i < f->n; i++) {
		const struct fleet_member *m = &f->members[i];

		if (m->missing)
			continue;
		if (strcmp(m->id, judge) == 0)
			return true;
		if (first == NULL || strcmp(m->id, first->id) < 0)
			first = m;
	}
	*own_turn = first != NULL && first->self;
	return false;
}

void
bake_look_for_orphan(struct service_ctl *ctl, double now)
{
	struct control *c = ctl->control;
	struct bake_past *p = &ctl->past;
	const char *judge = judges_id(ctl->service->record.claim.reason);
	bool own_turn;

	if (c->store->fleet == NULL || c->yielded || c->life != LIFE_SERVING || !ctl->service->known || bake_is_on(ctl) ||
	    judge[0] == '\0' || !claim_is_a_bakes(ctl) || is_judged(c->store->fleet(c->store), judge, &own_turn)) {
		p->orphan_since = 0;
		return;
	}
	if (p->orphan_since == 0)
		p->orphan_since = now;
	if (now - p->orphan_since < BAKE_ORPHAN || !own_turn)
		return;
	p->orphan_since = 0;
	if (p->epoch == ctl->service->record.epoch)
		go_on_with(ctl);
	else
		bake_lose(ctl);
}
