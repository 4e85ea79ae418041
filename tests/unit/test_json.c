/* test_json.c - what the writer writes, read back by jansson. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/json.h"

static struct buf out;

static int
setup(void **state)
{
	(void)state;
	buf_init(&out, 1 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	buf_free(&out);
	return 0;
}

static void
assert_wrote(const char *expected)
{
	struct str s = buf_str(&out);

	if (!str_eq(s, expected))
		fail_msg("%.*s instead of %s", (int)s.n, s.p, expected);
	assert_false(out.failed);
}

static void
test_one_of_each(void **state)
{
	struct json j;

	(void)state;
	json_init(&j, &out);
	json_object(&j, NULL);
	json_str(&j, "s", STR("text"));
	json_cstr(&j, "c", "more");
	json_cstr(&j, "none", NULL);
	json_u64(&j, "u", UINT64_MAX);
	json_i64(&j, "i", INT64_MIN);
	json_bool(&j, "t", true);
	json_bool(&j, "f", false);
	json_null(&j, "n");
	json_double(&j, "d", 0.25);
	json_raw(&j, "r", STR("[1,2]"));
	json_array(&j, "a");
	json_u64(&j, NULL, 1);
	json_object(&j, NULL);
	json_object_end(&j);
	json_array(&j, NULL);
	json_array_end(&j);
	json_str(&j, NULL, STR(""));
	json_array_end(&j);
	json_object(&j, "o");
	json_i64(&j, "x", 0);
	json_object_end(&j);
	json_object_end(&j);
	json_line_end(&j);
	assert_wrote("{\"s\":\"text\",\"c\":\"more\",\"none\":null,\"u\":18446744073709551615,"
		     "\"i\":-9223372036854775808,\"t\":true,\"f\":false,\"n\":null,\"d\":0.25,\"r\":[1,2],"
		     "\"a\":[1,{},[],\"\"],\"o\":{\"x\":0}}\n");
}

static void
test_lines_follow_each_other(void **state)
{
	struct json j;

	(void)state;
	json_init(&j, &out);
	for (int i = 0; i < 3; i++) {
		json_object(&j, NULL);
		json_object_end(&j);
		json_line_end(&j);
	}
	assert_wrote("{}\n{}\n{}\n");
}

/* Writes ["s"] and gives what jansson reads. */
static char *
round_trip(struct str s, size_t *n)
{
	struct json j;
	json_error_t error;
	json_t *read, *text;
	char *copy;

	buf_clear(&out);
	json_init(&j, &out);
	json_array(&j, NULL);
	json_str(&j, NULL, s);
	json_array_end(&j);
	assert_false(out.failed);
	read = json_loadb(buf_str(&out).p, buf_len(&out), JSON_ALLOW_NUL, &error);
	if (read == NULL)
		fail_msg("%.*s: %s", (int)buf_len(&out), buf_str(&out).p, error.text);
	assert_int_equal(json_array_size(read), 1);
	text = json_array_get(read, 0);
	*n = json_string_length(text);
	copy = malloc(*n + 1);
	assert_non_null(copy);
	memcpy(copy, json_string_value(text), *n + 1);
	json_decref(read);
	return copy;
}

/* The plain bytes are scanned eight at a time: so at every offset. */
static void
test_every_byte_at_every_offset(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < 20; at++) {
			char text[20];
			char *read;
			size_t n;

			memset(text, 'x', sizeof(text));
			text[at] = (char)c;
			read = round_trip((struct str){ text, sizeof(text) }, &n);
			if (c < 0x80) {
				assert_int_equal(n, sizeof(text));
				assert_memory_equal(read, text, n);
			} else {	/* alone it is no character */
				assert_int_equal(n, sizeof(text) + 2);
				assert_memory_equal(read + at, "\xef\xbf\xbd", 3);
				assert_memory_equal(read, text, at);
				assert_memory_equal(read + at + 3, text + at + 1, sizeof(text) - at - 1);
			}
			/* One line stays one line, and plain ASCII but for UTF-8. */
			for (size_t i = 0; i < buf_len(&out); i++)
				assert_true((unsigned char)buf_str(&out).p[i] >= 0x20 &&
					    buf_str(&out).p[i] != 0x7f);
			free(read);
		}
	}
}

static void
test_utf8_good_and_bad(void **state)
{
#define BAD "\xef\xbf\xbd"
	static const struct {
		const char *text, *expected;	/* NULL: the same */
	} cases[] = {
		{ "", NULL },
		{ "caf\xc3\xa9", NULL },
		{ "\xe2\x82\xac", NULL },
		{ "\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf", NULL },
		{ "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80", NULL },
		{ "\xc3", BAD },
		{ "\xc3x", BAD "x" },
		{ "\xe2\x82", BAD BAD },
		{ "\xc0\x80", BAD BAD },	/* overlong NUL */
		{ "\xc1\xbf", BAD BAD },
		{ "\xe0\x9f\xbf", BAD BAD BAD },	/* overlong */
		{ "\xf0\x8f\xbf\xbf", BAD BAD BAD BAD },
		{ "\xed\xa0\x80", BAD BAD BAD },	/* a surrogate */
		{ "\xf4\x90\x80\x80", BAD BAD BAD BAD },	/* beyond U+10FFFF */
		{ "\xf5\x80\x80\x80", BAD BAD BAD BAD },
		{ "\x80\xbf", BAD BAD },
		{ "\"\xc3\xa9\\\xff\n", "\"\xc3\xa9\\" BAD "\n" },
	};
#undef BAD
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t n;
		char *read = round_trip(str_from(cases[i].text), &n);

		assert_string_equal(read, cases[i].expected != NULL ? cases[i].expected : cases[i].text);
		free(read);
	}
}

static void
test_escapes_are_the_short_ones(void **state)
{
	struct json j;

	(void)state;
	json_init(&j, &out);
	json_str(&j, NULL, STR("a\"b\\c\nd\te\rf\x01g\x1fh\x7fi\0j/k"));
	assert_wrote("\"a\\\"b\\\\c\\nd\\te\\u000df\\u0001g\\u001fh\\u007fi\\u0000j/k\"");
}

static void
test_doubles(void **state)
{
	struct json j;

	(void)state;
	json_init(&j, &out);
	json_array(&j, NULL);
	json_double(&j, NULL, 0);
	json_double(&j, NULL, 1.5);
	json_double(&j, NULL, -2);
	json_double(&j, NULL, 0.000345);
	json_double(&j, NULL, 123.456789);
	json_double(&j, NULL, 1e300);
	json_double(&j, NULL, NAN);
	json_double(&j, NULL, INFINITY);
	json_double(&j, NULL, -INFINITY);
	json_array_end(&j);
	assert_wrote("[0,1.5,-2,0.000345,123.456789,1e+300,null,null,null]");
}

/* A buf that is too small fails, and never holds more than its maximum; one
 * that just fits does not fail. */
static void
test_exactly_as_much_room_as_needed(void **state)
{
	static const char expected[] = "{\"key\":\"a\\\"\xc3\xa9\xef\xbf\xbd\",\"n\":12}\n";

	(void)state;
	for (size_t max = 1; max < sizeof(expected) + 2; max++) {
		struct json j;
		struct buf b;

		buf_init(&b, max);
		json_init(&j, &b);
		json_object(&j, NULL);
		json_str(&j, "key", STR("a\"\xc3\xa9\xff"));
		json_u64(&j, "n", 12);
		json_object_end(&j);
		json_line_end(&j);
		assert_int_equal(b.failed, max < sizeof(expected) - 1);
		assert_true(buf_len(&b) <= max);
		if (!b.failed)
			assert_memory_equal(buf_str(&b).p, expected, sizeof(expected) - 1);
		buf_free(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_of_each, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lines_follow_each_other, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_byte_at_every_offset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_utf8_good_and_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_escapes_are_the_short_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(test_doubles, setup, teardown),
		cmocka_unit_test(test_exactly_as_much_room_as_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
