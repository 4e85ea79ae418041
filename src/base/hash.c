/* hash.c - see hash.h.  Any thread. */
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/hash.h"

static uint64_t
mix(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h ^ (h >> 33);
}

uint64_t
hash_bytes(const void *p, size_t n, uint64_t seed)
{
	const unsigned char *c = p;
	uint64_t h = 0xcbf29ce484222325ULL ^ mix(seed);

	for (size_t i = 0; i < n; i++)
		h = (h ^ c[i]) * 0x100000001b3ULL;
	return mix(h);
}

uint64_t
random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

double
random_unit(uint64_t *state)
{
	return (double)(random_next(state) >> 11) / 9007199254740992.0;
}

struct hash_secret
hash_secret_new(void)
{
	struct hash_secret secret;

	/* So few bytes are given whole, and at once on a machine that has booted. */
	CHECK(getrandom(&secret, sizeof(secret), 0) == (ssize_t)sizeof(secret));
	return secret;
}

static inline uint64_t
rotate(uint64_t v, unsigned by)
{
	return v << by | v >> (64 - by);
}

static inline void
sip_rounds(uint64_t v[4], unsigned n)
{
	while (n-- > 0) {
		v[0] += v[1];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[0] = rotate(v[0], 32);
		v[2] += v[3];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

static inline void
sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
}

uint64_t
hash_keyed(const void *p, size_t n, const struct hash_secret *secret)
{
	const unsigned char *c = p;
	uint64_t v[4] = {
		secret->k[0] ^ 0x736f6d6570736575ULL,
		secret->k[1] ^ 0x646f72616e646f6dULL,
		secret->k[0] ^ 0x6c7967656e657261ULL,
		secret->k[1] ^ 0x7465646279746573ULL,
	};
	uint64_t last = (uint64_t)n << 56;

	for (; n >= 8; n -= 8, c += 8) {
		uint64_t word = 0;

		for (unsigned i = 0; i < 8; i++)
			word |= (uint64_t)c[i] << (8 * i);
		sip_word(v, word);
	}
	for (unsigned i = 0; i < n; i++)
		last |= (uint64_t)c[i] << (8 * i);
	sip_word(v, last);
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
