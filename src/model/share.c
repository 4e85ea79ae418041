/* share.c - thresholds and texts of shares.  Any thread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/share.h"

uint64_t
share_threshold(const struct share *s, enum color active)
{
	return ((uint64_t)share_held(s, active, s->low) << 32) / SHARE_WHOLE;
}

bool
share_same(const struct share *a, const struct share *b)
{
	if (a->idle == 0 || b->idle == 0)
		return a->idle == b->idle;
	return a->idle == b->idle && a->low == b->low && a->since == b->since && a->key.k[0] == b->key.k[0] &&
	       a->key.k[1] == b->key.k[1];
}

/* -- stores ---------------------------------------------------------------------------- */

void
share_format(const struct share *s, uint64_t epoch, char out[SHARE_TEXT])
{
	out[0] = '\0';
	if (s->idle == 0)
		return;
	snprintf(out, SHARE_TEXT, "epoch=%" PRIu64 " idle=%" PRIu32 " low=%s since=%" PRIu64 " key=%016" PRIx64 "%016" PRIx64,
		     epoch, s->idle, color_word(s->low), s->since, s->key.k[0], s->key.k[1]);
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
	if (at != epoch)
		memset(out, 0, sizeof(*out));
	return at == 0 || out->idle > 0 || at != epoch;
}
