/* share.c - thresholds and texts of shares.  Any thread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "model/judge.h"
#include "model/share.h"

uint64_t
share_threshold(const struct share *s, enum color active)
{
	return ((uint64_t)share_held(s, active, s->low) << 32) / SHARE_WHOLE;
}

static bool
ramp_same(const struct ramp *a, const struct ramp *b)
{
	if (!a->on || !b->on)
		return a->on == b->on;
	return a->n == b->n && a->at == b->at && memcmp(a->steps, b->steps, a->n * sizeof(a->steps[0])) == 0 &&
	       a->every_ms == b->every_ms && a->next_us == b->next_us && strcmp(a->id, b->id) == 0 && strcmp(a->host, b->host) == 0 &&
	       strcmp(a->claim, b->claim) == 0 && a->keep_claim == b->keep_claim && a->bake_ms == b->bake_ms &&
	       a->on_regression == b->on_regression;
}

bool
share_same_split(const struct share *a, const struct share *b)
{
	if (a->idle == 0 || b->idle == 0)
		return a->idle == b->idle;
	return a->idle == b->idle && a->low == b->low && a->since == b->since && a->key.k[0] == b->key.k[0] &&
	       a->key.k[1] == b->key.k[1];
}

bool
share_same(const struct share *a, const struct share *b)
{
	return share_same_split(a, b) && (a->idle == 0 || ramp_same(&a->ramp, &b->ramp));
}

/* -- stores ---------------------------------------------------------------------------- */

static void
format_ramp(const struct ramp *r, char *out, size_t room)
{
	struct buf b;

	buf_init(&b, room - 1);
	buf_printf(&b, " at=%u every=%" PRIu32 " next=%" PRId64, r->at, r->every_ms, r->next_us);
	buf_printf(&b, " id=%s host=%s claim=%s keep=%d bake=%" PRIu32 " regression=%u steps=", r->id, r->host, r->claim, r->keep_claim,
		   r->bake_ms, r->on_regression);
	for (unsigned i = 0; i < r->n; i++)
		buf_printf(&b, "%s%u", i > 0 ? "," : "", r->steps[i]);
	str_copy(out, room, buf_str(&b));
	buf_free(&b);
}

void
share_format(const struct share *s, uint64_t epoch, char out[SHARE_TEXT])
{
	int n;

	out[0] = '\0';
	if (s->idle == 0)
		return;
	n = snprintf(out, SHARE_TEXT, "epoch=%" PRIu64 " idle=%" PRIu32 " low=%s since=%" PRIu64 " key=%016" PRIx64 "%016" PRIx64,
		     epoch, s->idle, color_word(s->low), s->since, s->key.k[0], s->key.k[1]);
	if (s->ramp.on)
		format_ramp(&s->ramp, out + n, SHARE_TEXT - (size_t)n);
}

static bool
parse_steps(struct str text, struct ramp *r)
{
	while (r->n < RAMP_STEPS && text.n > 0) {
		const char *comma = memchr(text.p, ',', text.n);
		struct str one = { text.p, comma != NULL ? (size_t)(comma - text.p) : text.n };
		uint64_t v;

		if (!str_to_u64(one, SHARE_WHOLE, &v) || v == 0 || (r->n > 0 && v <= r->steps[r->n - 1]))
			return false;
		r->steps[r->n++] = (uint16_t)v;
		text.p += one.n + (comma != NULL);
		text.n -= one.n + (comma != NULL);
	}
	return text.n == 0 && r->n > 1 && r->steps[r->n - 1] == SHARE_WHOLE;
}

static bool
hex64(struct str text, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < text.n; i++) {
		int digit = hex_digit(text.p[i]);

		if (digit < 0)
			return false;
		*out = *out << 4 | (uint64_t)digit;
	}
	return true;
}

static bool
parse_number(struct str text, uint64_t max, uint64_t *out)
{
	return str_to_u64(text, max, out);
}

static bool
parse_small(struct str text, uint64_t max, uint32_t *out)
{
	uint64_t v = 0;
	bool ok = parse_number(text, max, &v);

	*out = (uint32_t)v;
	return ok;
}

/* The same of its ramp. */
static bool
parse_ramp_word(struct str key, struct str value, struct ramp *r)
{
	uint64_t next = 0;
	uint32_t keep = 0;
	bool ok = true;

	if (str_eq(key, "at"))
		return parse_small(value, RAMP_STEPS - 1, &r->at);
	if (str_eq(key, "every"))
		return parse_small(value, RAMP_MS_MAX, &r->every_ms);
	if (str_eq(key, "bake"))
		return parse_small(value, RAMP_MS_MAX, &r->bake_ms);
	if (str_eq(key, "regression"))
		return parse_small(value, ON_REGRESSION_TELL, &r->on_regression);
	if (str_eq(key, "id"))
		return str_copy(r->id, sizeof(r->id), value);
	if (str_eq(key, "host"))
		return str_copy(r->host, sizeof(r->host), value);
	if (str_eq(key, "claim"))
		return str_copy(r->claim, sizeof(r->claim), value);
	if (str_eq(key, "steps"))
		return parse_steps(value, r);
	if (str_eq(key, "keep")) {
		ok = parse_small(value, 1, &keep);
		r->keep_claim = keep != 0;
	} else if (str_eq(key, "next")) {
		ok = parse_number(value, INT64_MAX, &next);
		r->next_us = (int64_t)next;
	}
	return ok;
}

/* One word of it, "key=value"; what is not known is skipped: a newer teald may have written it. */
static bool
parse_word(struct str key, struct str value, struct share *s, uint64_t *epoch)
{
	uint64_t v = 0;
	bool ok = true;

	if (str_eq(key, "epoch")) {
		return parse_number(value, UINT64_MAX, epoch);
	} else if (str_eq(key, "idle")) {
		ok = parse_number(value, SHARE_WHOLE - 1, &v);
		s->idle = (uint32_t)v;
	} else if (str_eq(key, "low")) {
		return color_from_word(value, &s->low);
	} else if (str_eq(key, "since")) {
		return parse_number(value, UINT64_MAX, &s->since);
	} else if (str_eq(key, "key")) {
		return value.n == 32 && hex64((struct str){ value.p, 16 }, &s->key.k[0]) &&
		       hex64((struct str){ value.p + 16, 16 }, &s->key.k[1]);
	} else {
		return parse_ramp_word(key, value, &s->ramp);
	}
	return ok;
}

bool
share_parse(struct str text, uint64_t epoch, struct share *out)
{
	uint64_t at = 0;

	memset(out, 0, sizeof(*out));
	while (text.n > 0) {
		const char *space = memchr(text.p, ' ', text.n);
		size_t n = space != NULL ? (size_t)(space - text.p) : text.n;
		const char *equal = memchr(text.p, '=', n);
		size_t k = equal != NULL ? (size_t)(equal - text.p) : 0;

		if (equal == NULL || !parse_word((struct str){ text.p, k }, (struct str){ equal + 1, n - k - 1 }, out, &at))
			return false;
		text.p += n + (space != NULL);
		text.n -= n + (space != NULL);
	}
	out->ramp.on = out->ramp.n > 0;
	if (out->ramp.on && (out->ramp.at + 1 >= out->ramp.n || out->ramp.every_ms == 0))
		return false;
	if (at != epoch)
		memset(out, 0, sizeof(*out));
	return at == 0 || out->idle > 0 || at != epoch;
}
