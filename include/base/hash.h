/* hash.h - a fast 64-bit hash for tables and checksums of our own files, and
 * a small generator for jitter.  Neither is for secrets. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a with a final avalanche (Fowler, Noll, Vo; mixer of MurmurHash3):
 * equal on every machine, so that all of a fleet compute the same value. */
uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);

/* splitmix64 (Steele, Lea, Flood 2014); state is the caller's. */
uint64_t random_next(uint64_t *state);
/* Uniform in [0, 1). */
double random_unit(uint64_t *state);

/* For tables whose keys clients choose: SipHash-2-4, whose collisions cannot be
 * told without the secret. */
struct hash_secret {
	uint64_t k[2];
};
/* A new one, from the kernel. */
struct hash_secret hash_secret_new(void);
uint64_t hash_keyed(const void *p, size_t n, const struct hash_secret *secret);

#endif
