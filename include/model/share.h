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

#define RAMP_STEPS 16
#define RAMP_MS_MAX (7 * 86400000u)
#define RAMP_CLAIM 17	/* with NUL: of the hashed token */

/* How a share grows by itself. */
struct ramp {
	bool on;	/* steps are left */
	unsigned n, at;	/* the step that holds now */
	uint16_t steps[RAMP_STEPS];	/* of SHARE_WHOLE, growing; the last is all of it: the flip */
	uint32_t every_ms;
	int64_t next_us;	/* when the next one is due, by the store's clock */
	char id[32], host[64];	/* the teald of the fleet that takes the steps, "" without one, and its machine */
	char claim[RAMP_CLAIM];	/* it was begun with the token of that claim; "": without one */
	bool keep_claim;	/* which goes on behind the flip */
	uint32_t bake_ms;	/* behind the flip; 0: none */
	unsigned on_regression;	/* enum on_regression, of the bake */
};

struct share {
	uint32_t idle;	/* of SHARE_WHOLE, what the idle color has; 0: nothing, and the rest says nothing */
	enum color low;	/* whose clients are those below the threshold: as a rule the new color */
	uint64_t since;	/* the epoch that began it */
	struct hash_secret key;	/* of points: made as it began, the same as long as it lasts */
	struct ramp ramp;
};

/* What of the clients that color has, of SHARE_WHOLE; active: the service's. */
static inline uint32_t
share_held(const struct share *s, enum color active, enum color color)
{
	return color == active ? SHARE_WHOLE - s->idle : s->idle;
}

/* The active color became so by a flip that has left the other one a share; else the share is that color's on its way up. */
static inline bool
share_is_held_back(const struct share *s, enum color active)
{
	return s->idle > 0 && s->low == active;
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
bool share_same_split(const struct share *a, const struct share *b);
/* And it grows by itself in the same way. */
bool share_same(const struct share *a, const struct share *b);

/* As one line of text, for stores; epoch: the record's, at which alone it holds.  Empty without a share. */
#define SHARE_TEXT 640
void share_format(const struct share *s, uint64_t epoch, char out[SHARE_TEXT]);
/* False: that is none.  One of another epoch than the record's, which somebody wrote who knows of no shares, is
 * over: *out is none then. */
bool share_parse(struct str text, uint64_t epoch, struct share *out);

#endif
