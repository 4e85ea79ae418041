/* test_err.c - words and exit statuses are a promise to scripts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void
test_words_and_statuses(void **state)
{
	static const struct {
		enum err e;
		const char *word;
		int status;
	} promised[] = {
		{ OK, "ok", 0 },
		{ E_INTERNAL, "internal", 1 },
		{ E_USAGE, "usage", 2 },
		{ E_UNSUPPORTED, "unsupported", 2 },
		{ E_UNKNOWN_SERVICE, "unknown_service", 2 },
		{ E_UNKNOWN_COLOR, "unknown_color", 2 },
		{ E_DENIED, "denied", 3 },
		{ E_UNHEALTHY, "unhealthy", 4 },
		{ E_LOCKED, "locked", 13 },
		{ E_CLAIMED, "claimed", 4 },
		{ E_CONFLICT, "conflict", 5 },
		{ E_TIMEOUT, "timeout", 6 },
		{ E_PARTIAL_FLEET, "partial_fleet", 8 },
		{ E_STORE, "store_unavailable", 10 },
		{ E_NOT_DURABLE, "not_durable", 10 },
		{ E_UNKNOWN, "unknown", 11 },
		{ E_CONFIG, "config", 2 },
		{ E_ROLLED_BACK, "rolled_back", 7 },
		{ E_WORSE, "worse", 14 },
		{ E_INCONCLUSIVE, "inconclusive", 12 },
	};

	(void)state;
	assert_int_equal(ARRAY_LEN(promised), ERR_COUNT);
	for (size_t i = 0; i < ARRAY_LEN(promised); i++) {
		assert_string_equal(err_word(promised[i].e), promised[i].word);
		assert_int_equal(err_exit_status(promised[i].e), promised[i].status);
		assert_int_equal(err_from_word(promised[i].word), promised[i].e);
	}
	assert_int_equal(err_from_word(""), E_INTERNAL);
	assert_int_equal(err_from_word("Usage"), E_INTERNAL);
}

static void
test_why(void **state)
{
	char longer[2000];
	struct why why = { "" };

	(void)state;
	assert_int_equal(why_set(&why, E_USAGE, "no such color: %s", "red"), E_USAGE);
	assert_string_equal(why.text, "no such color: red");
	assert_int_equal(why_set(NULL, E_DENIED, "%s", "nobody listens"), E_DENIED);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	why_set(&why, E_USAGE, "%s", longer);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words_and_statuses),
		cmocka_unit_test(test_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
