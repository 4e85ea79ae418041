/* share.h - a service between its colors: a part of its clients is on the idle color, the
 * rest on the active one.  Values; own nothing.
 *
 * Each client has a point, a keyed hash of its address, equal at every teald of the fleet.  One color has those below a threshold, the
 * other one the rest; a share that grows moves the threshold, and so nobody back. */
#ifndef MODEL_SHARE_H
#define MODEL_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/percent.h"
#include "base/str.h"
#include "model/color.h"

/* Shares are counted in hundredths of a percent. */
#define SHARE_WHOLE PERCENT_WHOLE

struct share {
	uint32_t idle;	/* of SHARE_WHOLE, what the idle color has; 0: nothing, and the rest says nothing */
	enum color low;	/* whose clients are those below the threshold: as a rule the new color */
	uint64_t since;	/* the epoch that began it */
	struct hash_secret key;	/* of points: made as it began, the same as long as it lasts */
};

/* What of the clients that color has, of SHARE_WHOLE; active: the service's. */
static inline uint32_t
share_held(const struct share *s, enum color active, enum color color)
{
	return color == active ? SHARE_WHOLE - s->idle : s->idle;
}

/* Below it a client is on s->low; of 2^32. */
uint64_t share_threshold(const struct share *s, enum color active);

/* The point of whom those bytes tell apart. */
static inline uint32_t
share_point(const struct hash_secret *key, const void *p, size_t n)
{
	return (uint32_t)(hash_keyed(p, n, key) >> 32);
}

/* Each client is on the same color by both. */
bool share_same(const struct share *a, const struct share *b);

/* As one line of text, for stores; epoch: the record's, at which alone it holds.  Empty without a share. */
#define SHARE_TEXT 192
void share_format(const struct share *s, uint64_t epoch, char out[SHARE_TEXT]);
/* False: that is none.  One of another epoch than the record's, which somebody wrote who knows of no shares, is
 * over: *out is none then. */
bool share_parse(struct str text, uint64_t epoch, struct share *out);

#endif
