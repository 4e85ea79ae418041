/* test_observe_access.c - who may ask what of the observe listener. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "app/teald/observe_access.h"

static struct http1_head head;

/* The verdict on one from that address who says that of himself. */
static unsigned
judge(const struct observe_access *a, const char *ip, enum observe_asked asked, const char *authorization)
{
	static char text[512];
	struct addr peer;

	assert_true(addr_parse_ip(ip, 1, &peer));
	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", authorization);
	http1_head_init(&head, sizeof(text));
	assert_int_equal(http1_head_parse(&head, text, strlen(text)), HTTP1_DONE);
	return observe_access_judge(a, &peer, asked, &head);
}

static void
test_without_rules_everyone_may(void **state)
{
	struct observe_access a = { .password = false };

	(void)state;
	for (int asked = OBSERVE_ASKED_PROBE; asked <= OBSERVE_ASKED_PAGE; asked++)
		assert_int_equal(judge(&a, "203.0.113.9", (enum observe_asked)asked, ""), 0);
}

static void
test_networks(void **state)
{
	struct config c = { .observe.on = true };
	struct observe_access a = { .password = false };
	struct cidr network;
	struct why why;

	(void)state;
	assert_int_equal(cidr_parse("10.0.0.0/8", &network, NULL, &why), OK);
	cidr_set_add(&c.observe.allow, &network);
	assert_true(observe_access_set(&a, &c));
	assert_false(observe_access_set(&a, &c));
	for (int asked = OBSERVE_ASKED_PROBE; asked <= OBSERVE_ASKED_PAGE; asked++) {
		assert_int_equal(judge(&a, "10.1.2.3", (enum observe_asked)asked, ""), 0);
		assert_int_equal(judge(&a, "11.1.2.3", (enum observe_asked)asked, ""), 403);
		assert_int_equal(judge(&a, "2001:db8::1", (enum observe_asked)asked, ""), 403);
		/* What runs here and looks after this teald, keepalived for one, asks for no more. */
		for (size_t i = 0; i < 4; i++) {
			static const char *const here[] = { "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1" };

			assert_int_equal(judge(&a, here[i], (enum observe_asked)asked, ""), asked == OBSERVE_ASKED_PROBE ? 0 : 403);
		}
	}
	cidr_set_clear(&c.observe.allow);
	assert_true(observe_access_set(&a, &c));
	assert_int_equal(judge(&a, "11.1.2.3", OBSERVE_ASKED_PAGE, ""), 0);
	observe_access_clear(&a);
}

static void
test_a_password(void **state)
{
	static const struct {
		const char *said;
		unsigned verdict;
	} cases[] = {
		{ "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n", 0 },	/* RFC 7617, section 2 */
		{ "authorization: basic   QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n", 0 },
		{ "", 401 },
		{ "Authorization: Basic\r\n", 401 },
		{ "Authorization: Basic \r\n", 401 },
		{ "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=\r\n", 401 },
		{ "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==x\r\n", 401 },
		{ "Authorization: Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n", 401 },
		{ "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\nAuthorization: Basic x\r\n", 401 },
		{ "X-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n", 401 },
	};
	struct config c = { .observe.password = (char *)(uintptr_t)"Aladdin:open sesame" };
	struct observe_access a = { .password = false };

	(void)state;
	assert_true(observe_access_set(&a, &c));
	c.observe.password = (char *)(uintptr_t)"Aladdin:open sesami";
	assert_true(observe_access_set(&a, &c));
	c.observe.password = (char *)(uintptr_t)"Aladdin:open sesame";
	assert_true(observe_access_set(&a, &c));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (judge(&a, "10.0.0.1", OBSERVE_ASKED_PAGE, cases[i].said) != cases[i].verdict)
			fail_msg("%s", cases[i].said);
		assert_int_equal(judge(&a, "10.0.0.1", OBSERVE_ASKED_OTHER, cases[i].said), 0);
		assert_int_equal(judge(&a, "10.0.0.1", OBSERVE_ASKED_PROBE, cases[i].said), 0);
	}
	c.observe.password = NULL;
	assert_true(observe_access_set(&a, &c));
	assert_int_equal(judge(&a, "10.0.0.1", OBSERVE_ASKED_PAGE, ""), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_rules_everyone_may),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_a_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
