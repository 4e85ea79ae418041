/* source.h - what one client address may have and do: connections at one time,
 * exact over all workers, and new ones in a second.
 * Both tables are shared by the workers and sharded; a shard's lock is held
 * for a handful of instructions.  Only services that set these limits have
 * tables.  Addresses are hashed with a secret, so that a client cannot aim at a
 * shard or at another client's entry. */
#ifndef MODEL_SOURCE_H
#define MODEL_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

/* Clients count as one when their keys are equal: an IPv4 address, or the
 * network an IPv6 address lies in. */
struct source_key {
	uint64_t ip[2];
};

/* prefix6: 1 to 128, the bits of an IPv6 address that count; an IPv4 address
 * written as IPv6 is the IPv4 address.  False when the client has no address
 * (a Unix socket), and so no limits. */
bool source_key_of(const struct addr *client, unsigned prefix6, struct source_key *out);

/* -- connections at one time ---------------------------------------------------- */

struct source_counts;

enum source_enter { SOURCE_ENTERED, SOURCE_FULL, SOURCE_NO_MEMORY };

/* limit: of each source, at least 1.  Memory: one small entry for each source
 * that holds something just now.  Aborts when memory is out. */
struct source_counts *source_counts_new(uint32_t limit);
void source_counts_free(struct source_counts **cp);
/* Another limit, at least 1; what is held stays.  Any thread. */
void source_counts_set_limit(struct source_counts *c, uint32_t limit);
/* Any thread.  Never lets more in than the limit, not even for a moment. */
enum source_enter source_enter(struct source_counts *c, const struct source_key *key);
/* The same whatever the limit: one that was in already, elsewhere.  False without memory. */
MUST_USE bool source_adopt(struct source_counts *c, const struct source_key *key);
void source_leave(struct source_counts *c, const struct source_key *key);
/* Sources that hold something now. */
uint64_t source_counts_size(struct source_counts *c);

/* -- new ones in a second ------------------------------------------------------- */

/* What may happen at once, and how fast that comes back. */
struct source_rate {
	double burst;	/* at least 1; 0: no limit */
	double per_second;
};

/* Sources that a table remembers.  Beyond that those who are nearest to having
 * all their tokens back are forgotten, in their favour. */
#define SOURCE_RATES 65536

struct source_rates;

/* rate->burst at least 1.  Takes 2 MiB.  Aborts when memory is out. */
struct source_rates *source_rates_new(const struct source_rate *rate);
void source_rates_free(struct source_rates **rp);
/* Another rate; tokens that sources have stay theirs, up to its burst.  Any thread, one at a time. */
void source_rates_set(struct source_rates *r, const struct source_rate *rate);
/* Any thread: takes a token, or false when there is none.  now: seconds of a
 * clock that never jumps, the same for all threads. */
bool source_rates_take(struct source_rates *r, const struct source_key *key, double now);

#endif
