/* test_observe_page.c - who may see the status page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/teald/observe_page.h"

static void
only_names_that_are_ours_and_pages_that_are_ours(void **state)
{
	static char *hosts[] = { (char *)(uintptr_t) "status.example", (char *)(uintptr_t) "*.lb.example" };
	static const struct {
		const char *host, *origin, *site;
		unsigned status;	/* 0: may */
	} cases[] = {
		{ "127.0.0.1:9180", "", "", 0 },
		{ "10.0.0.5", "", "", 0 },
		{ "[::1]:9180", "", "", 0 },
		{ "[fe80::1]", "", "", 0 },
		{ "localhost:9180", "", "none", 0 },
		{ "LocalHost", "", "", 0 },
		{ "a.localhost:1", "", "", 0 },
		{ "lb1:9180", "", "", 0 },
		{ "status.example", "", "", 0 },
		{ "STATUS.Example.:80", "", "", 0 },
		{ "a.lb.example", "", "", 0 },
		{ "", "", "", 0 },
		{ "evil.example:9180", "", "", 421 },
		{ "127.0.0.1.evil.example", "", "", 421 },
		{ "status.example.evil.com", "", "", 421 },
		{ "lb.example", "", "", 421 },
		{ "[::1", "", "", 421 },
		{ ":9180", "", "", 421 },
		{ "lb1:9180", "http://lb1:9180", "same-origin", 0 },
		{ "lb1:9180", "https://LB1:9180", "", 0 },
		{ "lb1:9180", "http://lb1:9181", "", 403 },
		{ "lb1:9180", "http://evil.example", "", 403 },
		{ "lb1:9180", "null", "", 403 },
		{ "lb1:9180", "", "cross-site", 403 },
		{ "lb1:9180", "", "same-site", 0 },
		{ "", "http://evil.example", "", 403 },
	};
	struct config config = { .refs = 1, .observe = { .hosts = hosts, .n_hosts = ARRAY_LEN(hosts) } };
	struct page *p = page_new(&config);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned status = 0;
		const char *refusal = page_refusal(p, str_from(cases[i].host), str_from(cases[i].origin),
						   str_from(cases[i].site), &status);

		if ((refusal == NULL) != (cases[i].status == 0) ||
		    (refusal != NULL && status != cases[i].status))
			fail_msg("%s %s %s: %u %s", cases[i].host, cases[i].origin, cases[i].site, status,
				 refusal != NULL ? refusal : "may");
	}
	page_free(&p);
	assert_null(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_names_that_are_ours_and_pages_that_are_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
