/* test_hash.c - a hash all machines agree on, and a fair generator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"

/* A second opinion, written from the definitions: these values are on disk
 * and shared by a fleet, and must never change. */
static uint64_t
reference(const char *s, size_t n)
{
	uint64_t h = 14695981039346656037ULL;

	while (n-- > 0) {
		h ^= (unsigned char)*s++;
		h *= 1099511628211ULL;
	}
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdULL;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return h ^ h >> 33;
}

static void
test_values_are_fixed(void **state)
{
	(void)state;
	/* mix(0) is 0, so seed 0 is plain FNV-1a */
	assert_true(hash_bytes("", 0, 0) == reference("", 0));
	assert_true(hash_bytes("teal", 4, 0) == reference("teal", 4));
	assert_true(hash_bytes("\xff\x00\x80", 3, 0) == reference("\xff\x00\x80", 3));
	assert_true(hash_bytes("teal", 4, 1) != hash_bytes("teal", 4, 0));
	assert_true(hash_bytes("teal", 4, 1) != hash_bytes("teal", 4, 2));
}

static void
test_every_input_bit_matters(void **state)
{
	unsigned char text[16] = "0123456789abcde";
	uint64_t h = hash_bytes(text, sizeof(text), 7);
	int flipped = 0;

	(void)state;
	for (unsigned bit = 0; bit < 8 * sizeof(text); bit++) {
		text[bit / 8] ^= (unsigned char)(1 << bit % 8);
		flipped += __builtin_popcountll(h ^ hash_bytes(text, sizeof(text), 7));
		text[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	/* half of 64 bits on average; 128 tries stay near it */
	assert_in_range(flipped / 128, 28, 36);
}

static void
test_buckets_are_even(void **state)
{
	unsigned buckets[64] = { 0 };
	char name[32];

	(void)state;
	for (int i = 0; i < 64000; i++) {
		int n = snprintf(name, sizeof(name), "10.0.%d.%d:10080", i / 256, i % 256);

		buckets[hash_bytes(name, (size_t)n, 0) % 64]++;
	}
	for (int i = 0; i < 64; i++)
		assert_in_range(buckets[i], 850, 1150);	/* 1000 +- 5 sigma */
}

static void
test_random_is_splitmix64(void **state)
{
	uint64_t seed = 1234567;

	(void)state;
	/* the published test vector */
	assert_true(random_next(&seed) == 6457827717110365317ULL);
	assert_true(random_next(&seed) == 3203168211198807973ULL);
	assert_true(random_next(&seed) == 9817491932198370423ULL);
}

static void
test_unit_is_in_range_and_fair(void **state)
{
	uint64_t seed = 42;
	double sum = 0;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		double u = random_unit(&seed);

		assert_true(u >= 0 && u < 1);
		sum += u;
	}
	assert_true(sum > 49500 && sum < 50500);
}

/* The vectors of the authors' own program: key 00 01 … 0f, input 00 01 …. */
static void
test_keyed_is_siphash(void **state)
{
	static const struct {
		size_t n;
		uint64_t hash;
	} vectors[] = {
		{ 0, 0x726fdb47dd0e0e31ULL },
		{ 1, 0x74f839c593dc67fdULL },
		{ 8, 0x93f5f5799a932462ULL },
		{ 15, 0xa129ca6149be45e5ULL },
	};
	struct hash_secret secret = { { 0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL } };
	unsigned char input[16];

	(void)state;
	for (unsigned i = 0; i < sizeof(input); i++)
		input[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		assert_int_equal(hash_keyed(input, vectors[i].n, &secret), vectors[i].hash);
}

static void
test_secrets_differ(void **state)
{
	struct hash_secret a = hash_secret_new(), b = hash_secret_new();

	(void)state;
	assert_memory_not_equal(&a, &b, sizeof(a));
	assert_int_not_equal(hash_keyed("x", 1, &a), hash_keyed("x", 1, &b));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_are_fixed),
		cmocka_unit_test(test_every_input_bit_matters),
		cmocka_unit_test(test_buckets_are_even),
		cmocka_unit_test(test_keyed_is_siphash),
		cmocka_unit_test(test_secrets_differ),
		cmocka_unit_test(test_random_is_splitmix64),
		cmocka_unit_test(test_unit_is_in_range_and_fair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
