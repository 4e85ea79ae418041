/* source.c - limits of single client addresses.  Any thread. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "model/source.h"

#define SHARDS 64
#define SLOTS_MIN 16
#define WAYS 8
#define SETS (SOURCE_RATES / SHARDS / WAYS)

bool
source_key_of(const struct addr *client, unsigned prefix6, struct source_key *out)
{
	uint8_t ip[16] = { [10] = 0xff, [11] = 0xff };

	if (addr_family(client) == AF_INET) {
		memcpy(ip + 12, &client->u.in.sin_addr, 4);
	} else if (addr_family(client) == AF_INET6) {
		memcpy(ip, &client->u.in6.sin6_addr, 16);
		if (!IN6_IS_ADDR_V4MAPPED(&client->u.in6.sin6_addr))
			for (unsigned bit = prefix6; bit < 128; bit++)
				ip[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	} else {
		return false;
	}
	memcpy(out->ip, ip, sizeof(ip));
	return true;
}

static inline bool
same(const struct source_key *a, const struct source_key *b)
{
	return a->ip[0] == b->ip[0] && a->ip[1] == b->ip[1];
}

/* -- connections at one time ---------------------------------------------------- */

struct entry {
	struct entry *next;
	struct source_key key;
	uint32_t held;	/* at least 1 */
};

struct count_shard {
	_Alignas(64) pthread_mutex_t lock;
	struct entry **slots;	/* chains; a power of two of them */
	size_t n_slots, n;
};

struct source_counts {
	struct count_shard shards[SHARDS];
	struct hash_secret secret;
	_Atomic uint32_t limit;
};

void
source_counts_set_limit(struct source_counts *c, uint32_t limit)
{
	atomic_store_explicit(&c->limit, limit, memory_order_relaxed);
}

struct source_counts *
source_counts_new(uint32_t limit)
{
	struct source_counts *c = aligned_alloc(64, (sizeof(*c) + 63) / 64 * 64);

	CHECK(c != NULL && limit > 0);
	memset(c, 0, sizeof(*c));
	c->secret = hash_secret_new();
	source_counts_set_limit(c, limit);
	for (unsigned i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&c->shards[i].lock, NULL);
		c->shards[i].n_slots = SLOTS_MIN;
		c->shards[i].slots = must_array(SLOTS_MIN, sizeof(struct entry *));
	}
	return c;
}

void
source_counts_free(struct source_counts **cp)
{
	struct source_counts *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct count_shard *s = &c->shards[i];

		for (size_t k = 0; k < s->n_slots; k++)
			for (struct entry *e = s->slots[k], *next; e != NULL; e = next) {
				next = e->next;
				free(e);
			}
		free(s->slots);
		pthread_mutex_destroy(&s->lock);
	}
	free(c);
}

/* The shard is chosen by the upper bits, the slot by the lower ones. */
static struct count_shard *
shard_of(struct source_counts *c, uint64_t hash)
{
	return &c->shards[hash >> 58];
}

/* Where the entry is, or would be: *result may be NULL. */
static struct entry **
find_counted(const struct count_shard *s, const struct source_key *key, uint64_t hash)
{
	struct entry **at = &s->slots[hash & (s->n_slots - 1)];

	while (*at != NULL && !same(&(*at)->key, key))
		at = &(*at)->next;
	return at;
}

/* Makes as many slots as there will be entries; without memory the chains only
 * grow longer. */
static void
resize_shard(struct source_counts *c, struct count_shard *s, size_t n_slots)
{
	struct entry **slots = calloc(n_slots, sizeof(struct entry *));

	if (slots == NULL)
		return;
	for (size_t k = 0; k < s->n_slots; k++)
		for (struct entry *e = s->slots[k], *next; e != NULL; e = next) {
			struct entry **at =
				&slots[hash_keyed(&e->key, sizeof(e->key), &c->secret) & (n_slots - 1)];

			next = e->next;
			e->next = *at;
			*at = e;
		}
	free(s->slots);
	s->slots = slots;
	s->n_slots = n_slots;
}

static enum source_enter
enter_locked(struct source_counts *c, struct count_shard *s, const struct source_key *key, uint64_t hash, uint32_t limit)
{
	struct entry **at = find_counted(s, key, hash), *e = *at;

	if (e != NULL && e->held >= limit)
		return SOURCE_FULL;
	if (e == NULL) {
		if ((e = malloc(sizeof(*e))) == NULL)
			return SOURCE_NO_MEMORY;
		*e = (struct entry){ NULL, *key, 0 };
		*at = e;
		if (++s->n > s->n_slots)
			resize_shard(c, s, 2 * s->n_slots);
	}
	e->held++;
	return SOURCE_ENTERED;
}

static enum source_enter
enter_below(struct source_counts *c, const struct source_key *key, uint32_t limit)
{
	uint64_t hash = hash_keyed(key, sizeof(*key), &c->secret);
	struct count_shard *s = shard_of(c, hash);
	enum source_enter result;

	pthread_mutex_lock(&s->lock);
	result = enter_locked(c, s, key, hash, limit);
	pthread_mutex_unlock(&s->lock);
	return result;
}

enum source_enter
source_enter(struct source_counts *c, const struct source_key *key)
{
	return enter_below(c, key, atomic_load_explicit(&c->limit, memory_order_relaxed));
}

bool
source_adopt(struct source_counts *c, const struct source_key *key)
{
	return enter_below(c, key, UINT32_MAX) == SOURCE_ENTERED;
}

void
source_leave(struct source_counts *c, const struct source_key *key)
{
	uint64_t hash = hash_keyed(key, sizeof(*key), &c->secret);
	struct count_shard *s = shard_of(c, hash);
	struct entry **at, *gone = NULL;

	pthread_mutex_lock(&s->lock);
	at = find_counted(s, key, hash);
	CHECK(*at != NULL);
	if (--(*at)->held == 0) {
		gone = *at;
		*at = gone->next;
		s->n--;
		if (s->n_slots > SLOTS_MIN && s->n < s->n_slots / 8)
			resize_shard(c, s, s->n_slots / 4);
	}
	pthread_mutex_unlock(&s->lock);
	free(gone);
}

uint64_t
source_counts_size(struct source_counts *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&c->shards[i].lock);
		n += c->shards[i].n;
		pthread_mutex_unlock(&c->shards[i].lock);
	}
	return n;
}

/* -- new ones in a second ------------------------------------------------------- */

/* A token bucket; one without an owner is full. */
struct bucket {
	struct source_key key;
	double at;	/* when `tokens` was right; 0: empty place */
	double tokens;
};

struct rate_shard {
	_Alignas(64) pthread_mutex_t lock;
	struct bucket sets[SETS][WAYS];
};

struct source_rates {
	struct rate_shard shards[SHARDS];
	struct hash_secret secret;
	_Atomic double burst, per_second;	/* struct source_rate */
};

void
source_rates_set(struct source_rates *r, const struct source_rate *rate)
{
	atomic_store_explicit(&r->burst, rate->burst, memory_order_relaxed);
	atomic_store_explicit(&r->per_second, rate->per_second, memory_order_relaxed);
}

struct source_rates *
source_rates_new(const struct source_rate *rate)
{
	struct source_rates *r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64);

	CHECK(r != NULL && rate->burst >= 1);
	memset(r, 0, sizeof(*r));
	r->secret = hash_secret_new();
	source_rates_set(r, rate);
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_init(&r->shards[i].lock, NULL);
	return r;
}

void
source_rates_free(struct source_rates **rp)
{
	struct source_rates *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_destroy(&r->shards[i].lock);
	free(r);
}

static double
tokens_now(const struct source_rates *r, const struct bucket *b, double now)
{
	/* Each thread reads the clock once a loop turn, so another's may be ahead. */
	double passed = now > b->at ? now - b->at : 0;
	double burst = atomic_load_explicit(&r->burst, memory_order_relaxed);
	double tokens =
		b->tokens + passed * atomic_load_explicit(&r->per_second, memory_order_relaxed);

	return b->at <= 0 || tokens > burst ? burst : tokens;
}

static bool
take_locked(const struct source_rates *r, struct bucket set[WAYS], const struct source_key *key, double now)
{
	struct bucket *mine = NULL, *fullest = &set[0];
	double most = -1, tokens;

	for (unsigned i = 0; i < WAYS && mine == NULL; i++) {
		if (set[i].at > 0 && same(&set[i].key, key))
			mine = &set[i];
		tokens = tokens_now(r, &set[i], now);
		if (tokens > most) {
			most = tokens;
			fullest = &set[i];
		}
	}
	if (mine == NULL) {
		/* The place of one that is full again, and so as good as unknown; or
		 * nearly so. */
		mine = fullest;
		*mine = (struct bucket){ *key, 0, 0 };
	}
	tokens = tokens_now(r, mine, now);
	if (mine->at < now)
		mine->at = now;
	mine->tokens = tokens >= 1 ? tokens - 1 : tokens;
	return tokens >= 1;
}

bool
source_rates_take(struct source_rates *r, const struct source_key *key, double now)
{
	uint64_t hash = hash_keyed(key, sizeof(*key), &r->secret);
	struct rate_shard *s = &r->shards[hash >> 58];
	bool given;

	pthread_mutex_lock(&s->lock);
	given = take_locked(r, s->sets[hash % SETS], key, now);
	pthread_mutex_unlock(&s->lock);
	return given;
}
