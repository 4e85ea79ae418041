/* test_admin_token.c - tokens of the admin listener: the file, and what is made for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/admin_token.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NAME56 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static struct admin_token *list;
static size_t n;
static struct why why;

static enum err
parse(const char *text)
{
	free(list);
	list = NULL;
	return admin_tokens_parse(str_from(text), &list, &n, &why);
}

static int
leave(void **state)
{
	(void)state;
	free(list);
	list = NULL;
	return 0;
}

static void
lines_are_names_hashes_and_dates(void **state)
{
	(void)state;
	assert_int_equal(parse("# of this site\n\n\tci-shop  sha256:" A "\r\n  # more\nci-shop sha256:" B " until=2027-01-31\n"), OK);
	assert_int_equal(n, 2);
	assert_string_equal(list[0].name, "ci-shop");
	assert_string_equal(list[0].hash, A);
	assert_int_equal(list[0].until, 0);
	assert_string_equal(list[1].hash, B);
	/* Good on that day, wherever. */
	assert_int_equal(list[1].until, 1801440000);
	assert_ptr_equal(admin_token_by_hash(list, n, B), &list[1]);
	assert_ptr_equal(admin_token_by_hash(list, n, A), &list[0]);
	assert_null(admin_token_by_hash(list, n, "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"));
	assert_int_equal(parse(""), OK);
	assert_int_equal(n, 0);
	/* The last line may lack its newline. */
	assert_int_equal(parse(NAME56 " sha256:" A), OK);
	assert_int_equal(n, 1);
}

static void
what_cannot_be_meant_is_refused_by_its_line(void **state)
{
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{ "ci\n", "line 1: behind the name belongs sha256:" },
		{ "\n#\nci/shop sha256:" A "\n", "line 3: a token begins with its name" },
		{ NAME56 "n sha256:" A "\n", "line 1: a token begins with its name" },
		{ "ci md5:" A "\n", "line 1: behind the name belongs sha256:" },
		{ "ci sha256:AAAA" A "\n", "line 1: behind the name belongs sha256:" },
		{ "ci sha256:" A "a\n", "line 1: behind the name belongs sha256:" },
		{ "ci sha256:" A " 2027-01-31\n", "line 1: behind the hash belongs nothing, or until=" },
		{ "ci sha256:" A " until=2027-02-29\n", "line 1: behind the hash belongs nothing, or until=" },
		{ "ci sha256:" A " until=27-1-31\n", "line 1: behind the hash belongs nothing, or until=" },
		{ "ci sha256:" A " until=2027-01-31 x\n", "line 1: something stands behind the date" },
		{ "a sha256:" A "\nb sha256:" A "\n", "line 2: another line has the same hash" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(parse(wrong[i].text), E_USAGE);
		assert_null(list);
		assert_int_equal(n, 0);
		assert_memory_equal(why.text, wrong[i].why, strlen(wrong[i].why));
		/* Whatever stands in the file, no message has it. */
		assert_null(strstr(why.text, A));
	}
}

static void
one_that_is_made_is_found_by_its_line(void **state)
{
	char token[ADMIN_TOKEN_TEXT], other[ADMIN_TOKEN_TEXT], hash[CLAIM_HASH];
	struct buf line;

	(void)state;
	buf_init(&line, 1024);
	assert_true(admin_token_make("ci", token, &line));
	assert_true(admin_token_make("ci", other, &line));
	assert_string_not_equal(token, other);
	assert_int_equal(strlen(token), 5 + 64);
	assert_memory_equal(token, "teal_", 5);
	assert_int_equal(admin_tokens_parse(buf_str(&line), &list, &n, &why), OK);
	assert_int_equal(n, 2);
	claim_hash(str_from(other), hash);
	assert_ptr_equal(admin_token_by_hash(list, n, hash), &list[1]);
	buf_free(&line);
	assert_true(admin_token_is_name("ci-shop.2_A"));
	assert_false(admin_token_is_name(""));
	assert_false(admin_token_is_name("ci shop"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_names_hashes_and_dates),
		cmocka_unit_test(what_cannot_be_meant_is_refused_by_its_line),
		cmocka_unit_test(one_that_is_made_is_found_by_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, leave);
}
