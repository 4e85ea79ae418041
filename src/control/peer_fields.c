/* peer_fields.c - records, orders and the rest as rows of fields.  Pure. */
#include <string.h>

#include "base/clock.h"
#include "control/peer_private.h"

bool
peer_each(struct str *rest, enum peer_tag tag, struct str *value)
{
	struct tlv t;

	while (tlv_next(rest, &t))
		if (t.tag == (uint16_t)tag) {
			*value = t.value;
			return true;
		}
	return false;
}

bool
peer_has(struct str row, enum peer_tag tag)
{
	struct str value;

	return peer_each(&row, tag, &value);
}

struct str
peer_str(struct str row, enum peer_tag tag)
{
	struct str value;

	return peer_each(&row, tag, &value) ? value : (struct str){ "", 0 };
}

uint64_t
peer_u64(struct str row, enum peer_tag tag)
{
	const struct tlv t = { .value = peer_str(row, tag) };
	uint64_t value = 0;

	(void)tlv_as_u64(&t, &value);
	return value;
}

double
peer_double(struct str row, enum peer_tag tag)
{
	const struct tlv t = { .value = peer_str(row, tag) };
	double value = 0;

	(void)tlv_as_double(&t, &value);
	return value;
}

void
peer_put_str(struct buf *b, enum peer_tag tag, const char *text)
{
	tlv_str(b, tag, str_from(text));
}

bool
peer_color(struct str row, enum color *out)
{
	return color_from_word(peer_str(row, PEER_T_COLOR), out);
}

/* Cut where it is too long; bytes that end a string end it here, too. */
static void
take_text(char *out, size_t size, struct str row, enum peer_tag tag)
{
	struct str text = peer_str(row, tag);

	if (text.n >= size)
		text.n = size - 1;
	memcpy(out, text.p, text.n);
	out[text.n] = '\0';
}

static void
put_claim(struct buf *b, const struct record *r)
{
	size_t row = tlv_open(b, PEER_T_CLAIM);

	tlv_u64(b, PEER_T_AT_US, (uint64_t)r->claim.at_us);
	peer_put_str(b, PEER_T_BY, r->claim.by);
	peer_put_str(b, PEER_T_REASON, r->claim.reason);
	tlv_u64(b, PEER_T_EPOCH, r->claim.epoch);
	tlv_u64(b, PEER_T_UNTIL_US, (uint64_t)r->claim.until_us);
	peer_put_str(b, PEER_T_TOKEN, r->claim.token);
	tlv_close(b, row);
}

static void
take_claim(struct str claim, struct record *out)
{
	out->claim.on = true;
	out->claim.at_us = (int64_t)peer_u64(claim, PEER_T_AT_US);
	take_text(out->claim.by, sizeof(out->claim.by), claim, PEER_T_BY);
	take_text(out->claim.reason, sizeof(out->claim.reason), claim, PEER_T_REASON);
	out->claim.epoch = peer_u64(claim, PEER_T_EPOCH);
	out->claim.until_us = (int64_t)peer_u64(claim, PEER_T_UNTIL_US);
	take_text(out->claim.token, sizeof(out->claim.token), claim, PEER_T_TOKEN);
}

static void
put_hold(struct buf *b, const struct record *r)
{
	size_t row = tlv_open(b, PEER_T_HOLD);

	tlv_u64(b, PEER_T_AT_US, (uint64_t)r->hold.at_us);
	peer_put_str(b, PEER_T_BY, r->hold.by);
	peer_put_str(b, PEER_T_REASON, r->hold.reason);
	tlv_u64(b, PEER_T_EPOCH, r->hold.epoch);
	tlv_u64(b, PEER_T_UNTIL_US, (uint64_t)r->hold.until_us);
	tlv_close(b, row);
}

static void
take_hold(struct str hold, struct record *out)
{
	out->hold.on = true;
	out->hold.at_us = (int64_t)peer_u64(hold, PEER_T_AT_US);
	take_text(out->hold.by, sizeof(out->hold.by), hold, PEER_T_BY);
	take_text(out->hold.reason, sizeof(out->hold.reason), hold, PEER_T_REASON);
	out->hold.epoch = peer_u64(hold, PEER_T_EPOCH);
	out->hold.until_us = (int64_t)peer_u64(hold, PEER_T_UNTIL_US);
}

void
peer_put_record(struct buf *b, const struct record *r)
{
	size_t row = tlv_open(b, PEER_T_RECORD), lock;
	char share[SHARE_TEXT];

	peer_put_str(b, PEER_T_COLOR, color_word(r->color));
	tlv_u64(b, PEER_T_EPOCH, r->epoch);
	peer_put_str(b, PEER_T_CHANGE, change_word(r->change));
	tlv_u64(b, PEER_T_AT_US, (uint64_t)r->at_us);
	peer_put_str(b, PEER_T_BY, r->by);
	peer_put_str(b, PEER_T_REASON, r->reason);
	tlv_u64(b, PEER_T_FORCED, r->forced);
	if (r->revision[0] != '\0')
		peer_put_str(b, PEER_T_REVISION, r->revision);
	if (r->share.idle > 0) {
		share_format(&r->share, r->epoch, share);
		peer_put_str(b, PEER_T_SHARE, share);
	}
	if (r->lock.on) {
		lock = tlv_open(b, PEER_T_LOCK);
		tlv_u64(b, PEER_T_AT_US, (uint64_t)r->lock.at_us);
		peer_put_str(b, PEER_T_BY, r->lock.by);
		peer_put_str(b, PEER_T_REASON, r->lock.reason);
		tlv_close(b, lock);
	}
	if (r->claim.on)
		put_claim(b, r);
	if (r->hold.on)
		put_hold(b, r);
	tlv_close(b, row);
}

bool
peer_take_record(struct str row, struct record *out)
{
	struct str r = peer_str(row, PEER_T_RECORD), lock = peer_str(r, PEER_T_LOCK);
	char change[32];

	memset(out, 0, sizeof(*out));
	take_text(change, sizeof(change), r, PEER_T_CHANGE);
	if (!peer_color(r, &out->color) || !change_from_word(change, &out->change))
		return false;
	out->epoch = peer_u64(r, PEER_T_EPOCH);
	out->at_us = (int64_t)peer_u64(r, PEER_T_AT_US);
	take_text(out->by, sizeof(out->by), r, PEER_T_BY);
	take_text(out->reason, sizeof(out->reason), r, PEER_T_REASON);
	out->forced = peer_u64(r, PEER_T_FORCED) != 0;
	take_text(out->revision, sizeof(out->revision), r, PEER_T_REVISION);
	if (!share_parse(peer_str(r, PEER_T_SHARE), out->epoch, &out->share))
		return false;
	if (peer_has(r, PEER_T_CLAIM))
		take_claim(peer_str(r, PEER_T_CLAIM), out);
	if (peer_has(r, PEER_T_HOLD))
		take_hold(peer_str(r, PEER_T_HOLD), out);
	if (!peer_has(r, PEER_T_LOCK))
		return true;
	out->lock.on = true;
	out->lock.at_us = (int64_t)peer_u64(lock, PEER_T_AT_US);
	take_text(out->lock.by, sizeof(out->lock.by), lock, PEER_T_BY);
	take_text(out->lock.reason, sizeof(out->lock.reason), lock, PEER_T_REASON);
	return true;
}

void
peer_put_orders(struct buf *b, const struct drain_orders *o)
{
	tlv_double(b, PEER_T_STARTED, o->at);
	tlv_double(b, PEER_T_IDLE, o->idle);
	tlv_double(b, PEER_T_SPREAD, o->spread);
	tlv_double(b, PEER_T_TIMEOUT, o->timeout);
	peer_put_str(b, PEER_T_ENDING, ending_word(o->ending));
	tlv_u64(b, PEER_T_ALL, o->all);
}

void
peer_take_orders(struct str row, struct drain_orders *out)
{
	struct str ending = peer_str(row, PEER_T_ENDING);

	*out = (struct drain_orders){
		.at = peer_double(row, PEER_T_STARTED),
		.idle = peer_double(row, PEER_T_IDLE),
		.spread = peer_double(row, PEER_T_SPREAD),
		.timeout = peer_double(row, PEER_T_TIMEOUT),
		.ending = str_eq(ending, ending_word(END_STOP)) ? END_STOP : END_DRAINED,
		.all = peer_u64(row, PEER_T_ALL) != 0,
	};
}

void
peer_put_terms(struct buf *b, const struct node_terms *t)
{
	tlv_u64(b, PEER_T_SINCE_US, (uint64_t)t->since_us);
	if (t->timeout_us >= 0)
		tlv_u64(b, PEER_T_TIMEOUT_US, (uint64_t)t->timeout_us);
	if (t->spread_us >= 0)
		tlv_u64(b, PEER_T_SPREAD_US, (uint64_t)t->spread_us);
}

static int64_t
take_us(struct str row, enum peer_tag tag)
{
	uint64_t us = peer_u64(row, tag);

	return !peer_has(row, tag) ? -1 : us > NODE_TERMS_MAX_US ? NODE_TERMS_MAX_US : (int64_t)us;
}

void
peer_take_terms(struct str row, struct node_terms *out)
{
	uint64_t since = peer_u64(row, PEER_T_SINCE_US);

	*out = (struct node_terms){ .since_us = since <= CLOCK_US_MAX ? (int64_t)since : 0,
				    .timeout_us = take_us(row, PEER_T_TIMEOUT_US),
				    .spread_us = take_us(row, PEER_T_SPREAD_US) };
}
