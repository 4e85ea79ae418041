/* test_claim_token.c - tokens and their hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/claim_token.h"

static void
tokens_differ(void **state)
{
	char a[CLAIM_TOKEN], b[CLAIM_TOKEN];

	(void)state;
	assert_true(claim_token_new(a) && claim_token_new(b));
	assert_int_equal(strlen(a), CLAIM_TOKEN - 1);
	assert_int_equal(strspn(a, "0123456789abcdef"), CLAIM_TOKEN - 1);
	assert_string_not_equal(a, b);
}

static void
a_hash_is_sha256(void **state)
{
	char hash[CLAIM_HASH];

	(void)state;
	claim_hash(STR("abc"), hash);
	assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(claim_is_hash(hash));
	hash[10] = 'A';
	assert_false(claim_is_hash(hash));
	hash[10] = '\0';
	assert_false(claim_is_hash(hash));
	assert_false(claim_is_hash(""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_differ),
		cmocka_unit_test(a_hash_is_sha256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
