/* test_grpc.c - statuses, and the messages of a health check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/check.h"
#include "proto/grpc.h"

#define LITERAL(s) ((struct str){ s, sizeof(s) - 1 })

static void
test_statuses_have_their_names(void **state)
{
	unsigned status = 7;

	(void)state;
	assert_string_equal(grpc_status_word(0), "OK");
	assert_string_equal(grpc_status_word(16), "UNAUTHENTICATED");
	assert_string_equal(grpc_status_word(17), "other");
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(grpc_status_is_fault(i), i == 2 || i == 4 || (i >= 12 && i <= 15));
	assert_true(grpc_status_read(STR("14"), &status));
	assert_int_equal(status, 14);
	assert_true(grpc_status_read(STR("999"), &status));
	assert_false(grpc_status_read(STR("1000"), &status));
	assert_false(grpc_status_read(STR(""), &status));
	assert_false(grpc_status_read(STR("-1"), &status));
	assert_false(grpc_status_read(STR("1 "), &status));
	assert_int_equal(status, 999);
}

static void
test_messages_are_words(void **state)
{
	char text[9];

	(void)state;
	grpc_message_text(STR("a%20b%0A%"), text, sizeof(text));
	assert_string_equal(text, "a b.%");
	grpc_message_text(STR("%zz%c3%a9%2"), text, sizeof(text));
	assert_string_equal(text, "%zz..%2");
	grpc_message_text(STR("0123456789"), text, sizeof(text));
	assert_string_equal(text, "01234567");
	grpc_message_text(STR("x"), text, 1);
	assert_string_equal(text, "");
}

static void
test_what_is_asked(void **state)
{
	char out[GRPC_HEALTH_ASK_MAX], name[GRPC_SERVICE_MAX];

	(void)state;
	assert_int_equal(grpc_health_ask(STR(""), out), 5);
	assert_memory_equal(out, "\0\0\0\0\0", 5);
	assert_int_equal(grpc_health_ask(STR("shop"), out), 11);
	assert_memory_equal(out, "\0\0\0\0\x06\x0a\x04shop", 11);
	memset(name, 'n', sizeof(name));
	assert_int_equal(grpc_health_ask((struct str){ name, sizeof(name) }, out), GRPC_HEALTH_ASK_MAX);
	assert_memory_equal(out, "\0\0\0\x04\x03\x0a\x80\x08n", 9);
}

static const struct {
	struct str data;
	const char *wrong;
	unsigned serving;
} rows[] = {
	{ LITERAL("\0\0\0\0\x02\x08\x01"), NULL, GRPC_SERVING },
	{ LITERAL("\0\0\0\0\0"), NULL, 0 },
	{ LITERAL("\0\0\0\0\x02\x08\x02"), NULL, 2 },
	/* The last one counts, and fields that are not known are passed over. */
	{ LITERAL("\0\0\0\0\x04\x08\x02\x08\x01"), NULL, GRPC_SERVING },
	{ LITERAL("\0\0\0\0\x09\x12\x05"
		  "hello\x08\x01"), NULL, GRPC_SERVING },
	{ LITERAL("\0\0\0\0\x10\x19"
		  "12345678\x25"
		  "1234\x08\x01"), NULL, GRPC_SERVING },
	{ LITERAL("\0\0\0\0\x03\x08\x81\x01"), NULL, 99 },
	{ LITERAL(""), "no message in its answer", 0 },
	{ LITERAL("\0\0\0\0"), "message cut short", 0 },
	{ LITERAL("\0\0\0\0\x03\x08\x01"), "message cut short", 0 },
	{ LITERAL("\0\0\0\0\x02\x08\x01\0\0\0\0\x02\x08\x01"), "more than one message in its answer", 0 },
	{ LITERAL("\x01\0\0\0\x02\x08\x01"), "compressed message, without having been asked for one", 0 },
	{ LITERAL("\0\0\0\0\x01\x08"), "malformed HealthCheckResponse", 0 },
	{ LITERAL("\0\0\0\0\x02\x08\x81"), "malformed HealthCheckResponse", 0 },
	{ LITERAL("\0\0\0\0\x03\x12\x05x"), "malformed HealthCheckResponse", 0 },
	{ LITERAL("\0\0\0\0\x02\x00\x01"), "malformed HealthCheckResponse", 0 },
	{ LITERAL("\0\0\0\0\x02\x13\x01"), "malformed HealthCheckResponse", 0 },
	{ LITERAL("\0\0\0\0\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "malformed HealthCheckResponse", 0 },
};

static void
test_what_is_answered(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned serving;
		const char *wrong = grpc_health_read(rows[i].data, &serving);

		if (rows[i].wrong != NULL) {
			assert_non_null(wrong);
			assert_string_equal(wrong, rows[i].wrong);
		} else {
			assert_null(wrong);
			assert_int_equal(serving, rows[i].serving);
		}
	}
	assert_string_equal(grpc_health_word(2), "NOT_SERVING");
	assert_string_equal(grpc_health_word(99), "another status");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statuses_have_their_names),
		cmocka_unit_test(test_messages_are_words),
		cmocka_unit_test(test_what_is_asked),
		cmocka_unit_test(test_what_is_answered),
	};

	return cmocka_run_group_tests_name("grpc", tests, NULL, NULL);
}
