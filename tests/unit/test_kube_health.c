/* test_kube_health.c - what is read of kube-proxy's answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "model/kube_health.h"

static struct kube_health
heard(const char *header, const char *body)
{
	struct kube_health k;

	kube_health_read(str_from(header), str_from(body), &k);
	return k;
}

#define SERVICE(n, well) "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": " n \
			 ",\n\t\"serviceProxyHealthy\": " well "\n}"

static void
test_endpoints_are_in_the_header_or_the_body(void **state)
{
	static const struct {
		const char *header, *body;
		bool counted;
		unsigned endpoints;
	} cases[] = {
		{ "", SERVICE("3", "true"), true, 3 },
		{ "2", SERVICE("3", "true"), true, 2 },
		{ "0", "", true, 0 },
		{ "many", SERVICE("0", "true"), true, 0 },
		{ "-1", "{\"localEndpoints\": -1}", false, 0 },
		{ "1.5", "{\"localEndpoints\": 1.5}", false, 0 },
		{ "99999999999999999999", "{\"localEndpoints\": 99999999999}", false, 0 },
		{ "", "{\"localEndpoints\": \"3\"}", false, 0 },
		{ "", "{\"localEndpoints\": 3", false, 0 },
		{ "", "[3]", false, 0 },
		{ "", "ok", false, 0 },
		{ "", "", false, 0 },
		{ "", "{\"lastUpdated\": \"2026-11-22T14:02:11Z\", \"nodeEligible\": true}", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct kube_health k = heard(cases[i].header, cases[i].body);

		assert_int_equal(k.counted, cases[i].counted);
		assert_int_equal(k.endpoints, cases[i].endpoints);
		assert_false(k.ineligible || k.unwell);
	}
}

static void
test_why_nothing_new_is_to_go_there(void **state)
{
	static const struct {
		const char *header, *body, *why;
	} cases[] = {
		{ "0", SERVICE("0", "true"), "HTTP status 503: no endpoints on the node" },
		{ "2", SERVICE("2", "false"), "HTTP status 503: kube-proxy is not healthy" },
		{ "", "{\"nodeEligible\": false}", "HTTP status 503: the node is leaving the cluster" },
		{ "", "{\"nodeEligible\": true}", "HTTP status 503" },
		{ "", "gateway is tired", "HTTP status 503" },
	};
	char text[96];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct kube_health k = heard(cases[i].header, cases[i].body);

		kube_health_reason(&k, 503, text, sizeof(text));
		assert_string_equal(text, cases[i].why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endpoints_are_in_the_header_or_the_body),
		cmocka_unit_test(test_why_nothing_new_is_to_go_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
