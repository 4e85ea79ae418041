/* test_route_path.c - prefixes of paths, and what can be read in several ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/route.h"
#include "model/route_path.h"

static void
test_prefixes(void **state)
{
	static const struct {
		const char *text, *form;	/* NULL: none */
	} cases[] = {
		{ "/", "" }, { "/api", "/api" }, { "/api/", "/api" }, { "/a/b-c_d.e~f", "/a/b-c_d.e~f" }, { "/...", "/..." },
		{ "", NULL }, { "api", NULL }, { "//", NULL }, { "/a//b", NULL }, { "/a//", NULL }, { "/.", NULL },
		{ "/a/../b", NULL }, { "/a/..", NULL }, { "/a%2fb", NULL }, { "/a;b", NULL }, { "/a\\b", NULL }, { "/a?b", NULL },
		{ "/a#b", NULL }, { "/a b", NULL }, { "/\xc3\xa4", NULL },
	};
	char out[ROUTE_PREFIX], longest[ROUTE_PREFIX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *wrong = route_prefix(cases[i].text, out);

		if ((wrong == NULL) != (cases[i].form != NULL))
			fail_msg("%s", cases[i].text);
		if (wrong == NULL)
			assert_string_equal(out, cases[i].form);
	}
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[ROUTE_PREFIX - 1] = '\0';
	assert_null(route_prefix(longest, out));
	longest[ROUTE_PREFIX - 1] = 'x';
	longest[ROUTE_PREFIX] = '\0';
	assert_non_null(route_prefix(longest, out));
}

static void
test_a_prefix_ends_with_a_segment(void **state)
{
	(void)state;
	assert_true(route_prefix_fits(STR("/api"), STR("/api")));
	assert_true(route_prefix_fits(STR("/api"), STR("/api/")));
	assert_true(route_prefix_fits(STR("/api"), STR("/api/x")));
	assert_true(route_prefix_fits(STR(""), STR("/apix")));
	assert_true(route_prefix_fits(STR(""), STR("")));
	assert_false(route_prefix_fits(STR("/api"), STR("/apix")));
	assert_false(route_prefix_fits(STR("/api"), STR("/ap")));
	assert_false(route_prefix_fits(STR("/api"), STR("/API")));
	assert_false(route_prefix_fits(STR("/api"), STR("")));
}

static void
test_readings(void **state)
{
	static const struct {
		unsigned liberties;
		const char *path, *read;
	} cases[] = {
		{ 0, "/a/../b//c/./d", "/a/../b//c/./d" },
		{ ROUTE_READ_DOTS, "/a/../b//c/./d", "/b//c/d" },
		{ ROUTE_READ_DOTS, "/../../a/..", "" },
		{ ROUTE_READ_DOTS, "/a//../b", "/a/b" },
		{ ROUTE_READ_MERGED, "//a///b/", "/a/b" },
		{ ROUTE_READ_MERGED | ROUTE_READ_DOTS, "/a//../b", "/b" },
		{ ROUTE_READ_BACKSLASH, "/a\\..\\b", "/a/../b" },
		{ ROUTE_READ_BACKSLASH | ROUTE_READ_DOTS, "/a\\..\\b", "/b" },
		{ ROUTE_READ_CUT, "/a;x=1/b;y/c?d/e", "/a/b/c" },
		{ ROUTE_READ_CUT | ROUTE_READ_DOTS, "/a/..;x/b", "/b" },
		{ ROUTE_READ_CUT | ROUTE_READ_MERGED, "/;/;x/b", "/b" },
		{ ROUTE_READ_DOTS, "/.../..a/a..", "/.../..a/a.." },
	};
	char room[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct str read = route_path_read(str_from(cases[i].path), cases[i].liberties, room);

		if (!str_eq(read, cases[i].read))
			fail_msg("%s: %.*s", cases[i].path, (int)read.n, read.p);
	}
}

/* /api is the first's, /api/admin the second's, all else on that name the third's. */
static struct route *
site(void)
{
	struct route *r = route_new();

	route_add(r, "shop.example", "/api", 0);
	route_add(r, "shop.example", "/api/admin", 1);
	route_add(r, "shop.example", "", 2);
	route_add(r, "*.example", "", 3);
	route_add(r, "only.example", "/x", 4);
	return r;
}

static void
test_the_longest_prefix_counts(void **state)
{
	static const struct {
		const char *name, *path;
		int service;
	} cases[] = {
		{ "shop.example", "/", 2 }, { "shop.example", "", 2 }, { "shop.example", "/apis", 2 }, { "shop.example", "/api", 0 },
		{ "shop.example", "/api?/api/admin", 0 }, { "shop.example", "/api/adm", 0 }, { "shop.example", "/api/admin", 1 },
		{ "shop.example", "/api/admin/x?y", 1 }, { "SHOP.example:80", "/api/administrator", 0 }, { "a.example", "/api", 3 },
		/* The less exact name has what the other one has no prefix for. */
		{ "only.example", "/x/y", 4 }, { "only.example", "/y", 3 }, { "elsewhere", "/api", ROUTE_NONE },
	};
	struct route *r = site(), *again = site();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (route_find_path(r, str_from(cases[i].name), str_from(cases[i].path)) != cases[i].service)
			fail_msg("%s %s", cases[i].name, cases[i].path);
	/* Whose certificate is shown. */
	assert_int_equal(route_find(r, STR("shop.example")), 2);
	assert_int_equal(route_find(r, STR("only.example")), 4);
	assert_true(route_equal(r, again));
	route_add(again, "only.example", "/z", 4);
	assert_false(route_equal(r, again));
	assert_false(route_equal(again, r));
	assert_int_equal(route_find_path(again, STR("only.example"), STR("/z")), 4);
	route_free(&again);
	again = route_new();
	route_add(again, "only.example", "/x", 4);
	assert_int_equal(route_find_path(again, STR("only.example"), STR("/y")), ROUTE_NO_PATH);
	route_set_default(again, "/d", 7);
	assert_int_equal(route_find_path(again, STR("only.example"), STR("/d/e")), 7);
	assert_int_equal(route_find_path(again, STR("x"), STR("/d/e")), 7);
	assert_int_equal(route_find_path(again, STR("x"), STR("/y")), ROUTE_NO_PATH);
	route_free(&again);
	route_free(&r);
}

/* Whatever a server makes of a path, it is of the service that it was sent to. */
static void
test_what_could_be_read_otherwise_is_refused(void **state)
{
	static const struct {
		const char *path;
		int service;
	} cases[] = {
		/* Read in several ways, but of one service in all of them. */
		{ "/api/v4/projects/group%2Fproject", 0 }, { "/api/a/../b", 0 }, { "/api//x", 0 }, { "/api/%41", 0 },
		{ "/x%2e%2e/y", 2 }, { "/resize/https://other.example/a.png", 2 }, { "/api/admin/./x", 1 }, { "/a;b/c;d", 2 },
		{ "/100%25", 2 }, { "/%zz", 2 }, { "/a/%E4", 2 }, { "/%c3%a4", 2 }, { "/api/?..%2f..", 0 },
		/* Of another one in some. */
		{ "/api/../x", ROUTE_AMBIGUOUS }, { "/x/../api", ROUTE_AMBIGUOUS }, { "//api", ROUTE_AMBIGUOUS },
		{ "/%61pi", ROUTE_AMBIGUOUS }, { "/%2561pi", ROUTE_AMBIGUOUS }, { "/x/..%2fapi/admin", ROUTE_AMBIGUOUS },
		{ "/x/%2e%2e/api", ROUTE_AMBIGUOUS }, { "/x/.%2E/api", ROUTE_AMBIGUOUS }, { "/x/%252e%252e%252fapi", ROUTE_AMBIGUOUS },
		{ "/api%2fadmin", ROUTE_AMBIGUOUS }, { "/api%5cadmin", ROUTE_AMBIGUOUS }, { "/api\\admin", ROUTE_AMBIGUOUS },
		{ "/x/..\\api", ROUTE_AMBIGUOUS }, { "/x/..;/api", ROUTE_AMBIGUOUS }, { "/x/..;a=b/api", ROUTE_AMBIGUOUS },
		{ "/;/api", ROUTE_AMBIGUOUS }, { "/api;x", ROUTE_AMBIGUOUS }, { "/api;/admin", ROUTE_AMBIGUOUS },
		{ "/api/admin%3fx", ROUTE_AMBIGUOUS }, { "/api#x", ROUTE_AMBIGUOUS }, { "/api%23x", ROUTE_AMBIGUOUS },
		{ "/x/%c0%ae%c0%ae/api", ROUTE_AMBIGUOUS }, { "/x/..%c0%afapi", ROUTE_AMBIGUOUS }, { "/x/..%c1%9capi", ROUTE_AMBIGUOUS },
		{ "/api%00", ROUTE_AMBIGUOUS }, { "/x%00/../api", ROUTE_AMBIGUOUS }, { "/x%2500", ROUTE_AMBIGUOUS },
		{ "/api/./admin", ROUTE_AMBIGUOUS }, { "/api/x/../admin", ROUTE_AMBIGUOUS }, { "/./api", ROUTE_AMBIGUOUS },
		/* Slashes that are one for some are several for others, and ".." takes one of them. */
		{ "/api//../admin", ROUTE_AMBIGUOUS }, { "/x/api/..\\b\\..\\..\\api", ROUTE_AMBIGUOUS },
	};
	char path[ROUTE_PATH_MAX + 64];
	struct route *r = site();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int found = route_find_path(r, STR("shop.example"), str_from(cases[i].path));

		if (found != cases[i].service)
			fail_msg("%s: %d", cases[i].path, found);
	}
	/* Long ones are good as long as there is one way to read them. */
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	assert_int_equal(route_find_path(r, STR("shop.example"), (struct str){ path, sizeof(path) }), 2);
	memcpy(path + 8, "%41", 3);
	assert_int_equal(route_find_path(r, STR("shop.example"), (struct str){ path, sizeof(path) }), ROUTE_AMBIGUOUS);
	assert_int_equal(route_find_path(r, STR("shop.example"), (struct str){ path, ROUTE_PATH_MAX }), 2);
	route_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_a_prefix_ends_with_a_segment),
		cmocka_unit_test(test_readings),
		cmocka_unit_test(test_the_longest_prefix_counts),
		cmocka_unit_test(test_what_could_be_read_otherwise_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
