/* test_backend_index.c - backends by color and address, beside a plain list of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "model/backend_account.h"
#include "model/backend_index.h"
#include "scaled.h"

#define BACKENDS 200
#define ADDRESSES 60

static struct backend *
one(enum color color, unsigned port)
{
	struct backend *b;
	struct addr a;

	assert_true(addr_parse_ip("10.0.0.1", port, &a));
	b = backend_new(color, &a, &a);
	b->account = backend_account_new(1);
	return b;
}

static bool
is_twin(const struct backend *a, const struct backend *b)
{
	return a != b && a->color == b->color && strcmp(a->text, b->text) == 0;
}

static void
test_it_finds_what_a_walk_over_all_finds(void **state)
{
	struct backend_index x = { 0 };
	struct backend *all[BACKENDS];
	bool in[BACKENDS] = { false };
	uint64_t random = 7;
	unsigned found = 0, missed = 0;

	(void)state;
	for (unsigned i = 0; i < BACKENDS; i++)
		all[i] = one(i % 2 == 0 ? GREEN : BLUE, 1 + i % ADDRESSES);
	for (unsigned n = scaled(20000, 400000); n > 0; n--) {
		unsigned i = (unsigned)(random = hash_bytes(&n, sizeof(n), random)) % BACKENDS;
		struct backend *twin = backend_index_twin(&x, all[i]);
		bool wanted = false;

		for (unsigned k = 0; k < BACKENDS; k++)
			wanted |= in[k] && is_twin(all[k], all[i]);
		assert_int_equal(twin != NULL, wanted);
		assert_true(twin == NULL || is_twin(twin, all[i]));
		*(wanted ? &found : &missed) += 1;
		if (in[i])
			backend_index_remove(&x, all[i]);
		else
			backend_index_add(&x, all[i]);
		in[i] = !in[i];
		/* Again and again they are nearly all gone. */
		for (unsigned k = 0; n % 1000 < 3 && k < BACKENDS; k++)
			if (in[k] && k % 16 != 0) {
				backend_index_remove(&x, all[k]);
				in[k] = false;
			}
	}
	assert_true(found > 0 && missed > 0);
	/* However many came and went, there is room for those that are in. */
	assert_true(x.room <= 16 * BACKENDS);
	backend_index_clear(&x);
	backend_index_remove(&x, all[0]);	/* harmless */
	assert_null(backend_index_twin(&x, all[0]));
	for (unsigned i = 0; i < BACKENDS; i++)
		backend_unref(&all[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_finds_what_a_walk_over_all_finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
