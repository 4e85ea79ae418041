/* judged.h - the clients of one service as the judge of a bake counts them (model/judge.h): each at risk once in
 * a slice of time, and not again in this window and the next one once it has met trouble.
 *
 * A client is a group of addresses: one of JUDGED_GROUPS, by a keyed hash of its IPv4 address or of the first 64
 * bits of its IPv6 address.  So the memory is fixed, and both colors count alike.  Clients without an address (of
 * Unix sockets) are not counted.
 * Shared: workers mark, main begins slices and windows.  One that begins meanwhile costs or gives some counts. */
#ifndef MODEL_JUDGED_H
#define MODEL_JUDGED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/judge.h"
#include "model/tally.h"

#define JUDGED_GROUPS 8192u

struct judged {
	uint64_t secret;
	_Atomic uint64_t seen[JUDGED_GROUPS / 64];	/* in this slice */
	/* In this window; in the one before.  By both, so that who always meets trouble is not counted against a color
	 * that a flip makes active as a window begins. */
	_Atomic uint64_t troubled[JUDGED_GROUPS / 64], troubled_before[JUDGED_GROUPS / 64];
};

/* What the next process remembers of it. */
struct judged_memory {
	uint64_t secret, troubled[JUDGED_GROUPS / 64], troubled_before[JUDGED_GROUPS / 64];
};

/* JUDGE_SIGNALS: it went well. */
#define JUDGED_WELL JUDGE_SIGNALS

/* Neither: it says nothing about the color. */
#define JUDGED_NOT (JUDGE_SIGNALS + 1)

/* What that ending of a connection or request says of the color; answered: the client has something from it. */
unsigned judged_ending(enum ending ending, bool answered);

/* Counts in t how it went for the client (its address: n bytes, NULL: none).  *place is made when it is NULL; when
 * memory is out, nothing is counted.  Worker that owns t. */
void judged_mark(_Atomic(struct judged *) *place, struct tally_color *t, const uint8_t *client, size_t n, unsigned how);

/* Main.  NULL: nothing was counted. */
void judged_begin_slice(struct judged *j);
void judged_begin_window(struct judged *j);
/* False: nothing was counted. */
bool judged_remember(const struct judged *j, struct judged_memory *out);
/* Before workers mark; no effect where something was counted, or when memory is out. */
void judged_restore(_Atomic(struct judged *) *place, const struct judged_memory *from);

#endif
