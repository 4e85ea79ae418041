/* bake_claim.c - the claim by which a bake bars other flips, in the whole fleet, and by which a lost one is found.
 * Thread: main. */
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

static bool
claim_is_a_bakes(const struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	char token[CLAIM_TOKEN], hash[CLAIM_HASH];

	if (!claim_holds(ctl))
		return false;
	bake_token(ctl->service->config->name, r->epoch, token);
	claim_hash(str_from(token), hash);
	return strcmp(hash, r->claim.token) == 0;
}

bool
bake_claims(const struct service_ctl *ctl)
{
	return claim_is_a_bakes(ctl);
}

/* Of a bake that is judged here. */
static void
bake_reason(const char *what, enum color to, char reason[RECORD_REASON])
{
	struct audit_entry here;

	audit_set_host(&here);
	snprintf(reason, RECORD_REASON, "%s of %s, judged by teald on %s", what, color_word(to), here.host);
}

void
bake_claim(const struct bake *b, bool release)
{
	/* The claim bars others from flips: its release waits for a store that is away. */
	struct claim_request q = { .release = release,
				   .ttl = b->until - b->started + CLAIM_EXTRA,
				   .wait = release ? BAKE_MAX : 0,
				   .at_epoch = b->epoch };
	const struct service *s = b->ctl->service;
	char token[CLAIM_TOKEN];

	bake_token(s->config->name, b->epoch, token);
	memcpy(release ? q.token : q.name, token, sizeof(token));
	memcpy(q.by.user, b->by, sizeof(q.by.user));
	q.by.uid = geteuid();
	q.by.pid = getpid();
	bake_reason(release ? "end of the bake" : "bake", b->to, q.reason);
	claim_start(b->ctl, &q, NULL);
}

/* Who judged it is gone, and with it what it had counted. */
void
bake_on_known(struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	struct bake lost = { .ctl = ctl, .to = r->color, .epoch = r->epoch };
	char until[CLOCK_TEXT], reason[RECORD_REASON];

	if (bake_is_on(ctl) || !claim_is_a_bakes(ctl))
		return;
	bake_reason("bake", r->color, reason);
	/* Another one's goes on there. */
	if (strcmp(r->claim.reason, reason) != 0)
		return;
	clock_format(r->claim.until_us, 3, until);
	BUS_EMIT(&ctl->control->bus, LOG_WARN_LEVEL, "bake.lost", ctl->service, LS("to", color_word(r->color)), LU("epoch", r->epoch),
		 LS("until", until), LS("by", r->claim.by),
		 LS("hint", "the teald that judged it has died; the color stays, and is not judged"));
	memcpy(lost.by, r->claim.by, sizeof(lost.by));
	bake_claim(&lost, true);
}
