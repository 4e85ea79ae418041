/* test_route.c - names find the service they are for, and only that; what is
 * listened on follows from the configuration. */
#include <sys/mman.h>

#include "config_file.h"
#include "model/route.h"

static int
find(const struct route *r, const char *name)
{
	return route_find(r, str_from(name));
}

static void
test_patterns_have_one_form(void **state)
{
	static const struct {
		const char *text, *pattern;
	} cases[] = {
		{ "shop.example", "shop.example" },
		{ "Shop.EXAMPLE.", "shop.example" },
		{ "*.Shop.example", "*.shop.example" },
		{ "localhost", "localhost" },
		{ "my_pod-1.shop", "my_pod-1.shop" },
		{ "10.0.0.1", "10.0.0.1" },
		{ "[::1]", "[::1]" },
		{ "[2001:DB8:0:0::1]", "[2001:db8::1]" },
		{ "1.example", "1.example" },
	};
	char out[ROUTE_PATTERN];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_null(route_pattern(cases[i].text, out));
		assert_string_equal(out, cases[i].pattern);
	}
	assert_true(route_is_address("10.0.0.1") && route_is_address("[::1]"));
	assert_false(route_is_address("10.0.0.1.example"));
}

static void
test_what_is_no_pattern(void **state)
{
	static const struct {
		const char *text, *wrong;
	} cases[] = {
		{ "", "it is empty" },
		{ ".", "it is empty" },
		{ "*.", "it is empty" },
		{ "*", "use default = true for requests that match no other service" },
		{ "*shop.example", "* stands only at the beginning, as in \"*.shop.example\"" },
		{ "shop.*", "* stands only at the beginning, as in \"*.shop.example\"" },
		{ "*.*.example", "* stands only at the beginning, as in \"*.shop.example\"" },
		{ "shop.example:80", "a name without port; an IPv6 address stands in brackets" },
		{ "::1", "a name without port; an IPv6 address stands in brackets" },
		{ "[::1", "no IPv6 address in the brackets, or something behind them" },
		{ "[", "no IPv6 address in the brackets, or something behind them" },
		{ "[]", "no IPv6 address in the brackets, or something behind them" },
		{ "[shop]", "no IPv6 address in the brackets, or something behind them" },
		{ "[::1]:80", "no IPv6 address in the brackets, or something behind them" },
		{ "b\xc3\xbc"
		  "cher.example",
		  "letters beyond ASCII are written as clients send them: xn--..." },
		{ "shop example", "it has characters that no host name has" },
		{ "shop/x", "it has characters that no host name has" },
		{ "shop..example", "two dots, or one at its beginning" },
		{ ".shop.example", "two dots, or one at its beginning" },
		{ "shop.example..", "two dots, or one at its beginning" },
		{ "-shop.example", "a part between dots begins or ends with -" },
		{ "shop-.example", "a part between dots begins or ends with -" },
		{ "10.0.0.300", "it ends with a number, but is no IPv4 address" },
		{ "10.0.0", "it ends with a number, but is no IPv4 address" },
		{ "*.10.0.0.1", "* does not go with an address" },
	};
	char out[ROUTE_PATTERN], label[80], name[300];
	const char *wrong;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if ((wrong = route_pattern(cases[i].text, out)) == NULL || strcmp(wrong, cases[i].wrong) != 0)
			fail_msg("%s: %s", cases[i].text, wrong != NULL ? wrong : "accepted");
	memset(label, 'a', sizeof(label));
	label[63] = '\0';
	assert_null(route_pattern(label, out));
	label[63] = 'a';
	label[64] = '\0';
	assert_string_equal(route_pattern(label, out), "a part between dots is longer than 63 bytes");
	for (size_t n = 250; n < sizeof(name); n++) {
		for (size_t i = 0; i < n; i++)
			name[i] = i % 50 == 49 && i + 1 < n ? '.' : 'a';
		name[n] = '\0';
		assert_int_equal(route_pattern(name, out) == NULL, n <= 253);
	}
}

static void
test_the_nearest_name_wins(void **state)
{
	struct route *r = route_new();

	(void)state;
	assert_int_equal(find(r, "shop.example"), -1);
	route_add(r, "shop.example", "", 0);
	assert_int_equal(find(r, "www.shop.example"), -1);
	route_add(r, "*.shop.example", "", 1);
	route_add(r, "*.eu.shop.example", "", 2);
	route_add(r, "api.eu.shop.example", "", 3);
	route_add(r, "*.example", "", 4);
	route_add(r, "[2001:db8::1]", "", 5);
	route_add(r, "10.0.0.1", "", 6);

	assert_int_equal(find(r, "shop.example"), 0);
	assert_int_equal(find(r, "www.shop.example"), 1);
	assert_int_equal(find(r, "a.b.shop.example"), 1);
	assert_int_equal(find(r, "eu.shop.example"), 1);
	assert_int_equal(find(r, "www.eu.shop.example"), 2);
	assert_int_equal(find(r, "api.eu.shop.example"), 3);
	assert_int_equal(find(r, "v2.api.eu.shop.example"), 2);
	assert_int_equal(find(r, "myshop.example"), 4);
	assert_int_equal(find(r, "example"), -1);
	assert_int_equal(find(r, "shop.example.org"), -1);
	assert_int_equal(find(r, "10.0.0.1"), 6);
	assert_int_equal(find(r, "[2001:db8::1]"), 5);
	assert_int_equal(find(r, "[2001:DB8:0:0:0:0:0:1]:8080"), 5);
	assert_int_equal(find(r, "[2001:db8::2]"), -1);

	/* What makes no difference. */
	assert_int_equal(find(r, "SHOP.Example"), 0);
	assert_int_equal(find(r, "shop.example."), 0);
	assert_int_equal(find(r, "Shop.example.:8080"), 0);
	assert_int_equal(find(r, "shop.example:80"), 0);
	assert_int_equal(find(r, "WWW.SHOP.EXAMPLE.:80"), 1);

	/* The part before the pattern's dot is not empty: this is another's. */
	assert_int_equal(find(r, ".shop.example"), 4);
	assert_int_equal(find(r, ".example"), -1);
	assert_int_equal(find(r, "..example"), 4);

	/* What is no name at all. */
	assert_int_equal(find(r, ""), -1);
	assert_int_equal(find(r, "."), -1);
	assert_int_equal(find(r, ":80"), -1);
	assert_int_equal(find(r, "shop.example.."), -1);
	assert_int_equal(find(r, "["), -1);
	assert_int_equal(find(r, "[::1"), -1);
	assert_int_equal(find(r, "[]"), -1);

	route_set_default(r, "", 7);
	assert_int_equal(find(r, "example"), 7);
	assert_int_equal(find(r, ""), 7);
	assert_int_equal(find(r, "shop.example"), 0);
	route_free(&r);
	assert_null(r);
	route_free(&r);
}

/* A stranger's bytes, against the end of what is readable. */
static void
test_odd_names_are_nobodys(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *room = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const char bytes[] = "aA.:[]*-\x00\xff"
				    "shop.example";
	struct route *r = route_new();
	unsigned seed = 1;

	(void)state;
	assert_true(room != MAP_FAILED);
	assert_return_code(mprotect(room + page, page, PROT_NONE), 0);
	route_add(r, "*.shop.example", "", 1);
	route_add(r, "a.example", "", 2);
	route_set_default(r, "", 9);
	for (unsigned round = 0; round < 20000; round++) {
		size_t n = (size_t)rand_r(&seed) % 24;
		char *p = room + page - n;
		int found;

		for (size_t i = 0; i < n; i++)
			p[i] = bytes[(size_t)rand_r(&seed) % (sizeof(bytes) - 1)];
		found = route_find(r, (struct str){ p, n });
		assert_true(found == 9 || found == 1 || found == 2);
	}
	/* Long ones, and those of many parts. */
	memset(room, '.', page);
	assert_int_equal(route_find(r, (struct str){ room, page }), 9);
	for (size_t i = 0; i < page; i += 2)
		room[i] = 'a';
	for (size_t n = 0; n <= page; n++)
		assert_int_equal(route_find(r, (struct str){ room, n }), 9);
	munmap(room, 2 * page);
	route_free(&r);
}

static void
test_many_names(void **state)
{
	struct route *r = route_new();
	char name[64];

	(void)state;
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), i % 2 != 0 ? "*.s%d.example" : "s%d.example", i);
		route_add(r, name, "", i);
	}
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), i % 2 != 0 ? "www.s%d.example" : "s%d.example", i);
		assert_int_equal(find(r, name), i);
		snprintf(name, sizeof(name), i % 2 != 0 ? "s%d.example" : "www.s%d.example", i);
		assert_int_equal(find(r, name), -1);
	}
	route_free(&r);
}

/* -- bindings -------------------------------------------------------------------- */

#define HTTP_SERVICE(name, keys) \
	"{ name = \"" name "\"; mode = \"http\"; green: { backends = [\"10.0.0.1:1\"]; }; " \
	"blue: { backends = [\"10.0.0.1:2\"]; }; " keys " }"

static const struct binding *
binding_at(const struct bindings *b, const char *address)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < b->n; i++)
		if (strcmp(addr_format(&b->list[i]->addr, text), address) == 0)
			return b->list[i];
	fail_msg("nothing listens on %s", address);
	return NULL;
}

static void
test_each_address_is_bound_once(void **state)
{
	const struct config *c = good(
		"state_dir = \"/s\"; services = (\n" HTTP_SERVICE("alone", "listen = \":79\";") ",\n" HTTP_SERVICE("shop", "listen = [\":80\", \":81\"]; hosts = \"shop.example\"; preview = \":90\";") ",\n" HTTP_SERVICE(
			"pay",
			"listen = \":80\"; hosts = [\"pay.example\", \"*.pay.example\"]; preview = \":90\";") ",\n" HTTP_SERVICE("rest",
																 "listen = \":80\"; default = true;") ",\n" HTTP_SERVICE("all",
																							 "listen = \":82\"; default = true; hosts = \"all.example\";") ");\n");
	const struct binding *b;
	struct bindings all;

	(void)state;
	bindings_make(c, NULL, &all);
	assert_int_equal(all.n, 5);
	b = binding_at(&all, "0.0.0.0:79");
	assert_null(b->route);
	assert_int_equal(b->owner, 0);
	b = binding_at(&all, "0.0.0.0:80");
	assert_int_equal(b->n_services, 3);
	assert_int_equal(b->owner, 3);
	assert_int_equal(b->entrance, ENTRANCE_MAIN);
	assert_false(b->tls);
	assert_int_equal(find(b->route, "shop.example"), 1);
	assert_int_equal(find(b->route, "x.pay.example"), 2);
	assert_int_equal(find(b->route, "elsewhere.example"), 3);
	/* Alone, but by name: others are nobody's. */
	b = binding_at(&all, "0.0.0.0:81");
	assert_int_equal(b->owner, 1);
	assert_int_equal(find(b->route, "shop.example"), 1);
	assert_int_equal(find(b->route, "pay.example"), -1);
	b = binding_at(&all, "0.0.0.0:82");
	assert_null(b->route);
	b = binding_at(&all, "0.0.0.0:90");
	assert_int_equal(b->entrance, ENTRANCE_PREVIEW);
	assert_int_equal(b->owner, 1);
	assert_int_equal(find(b->route, "pay.example"), 2);
	bindings_free(&all);
	assert_int_equal(all.n, 0);
}

static const struct config *
two_services(const char *names)
{
	static char text[2048];

	snprintf(text, sizeof(text),
		 "state_dir = \"/s\"; services = (\n" HTTP_SERVICE("shop", "listen = [\":80\", \":81\"]; hosts = %s;") ",\n" HTTP_SERVICE(
			 "pay", "listen = \":80\"; hosts = \"pay.example\";") ");\n",
		 names);
	return good(text);
}

/* What outlives the configuration is compared with what the next one wants. */
static void
test_bindings_are_compared_by_what_they_do(void **state)
{
	const unsigned moved[] = { 7, 3 };
	struct bindings a, same, other, slots;
	struct binding *kept;

	(void)state;
	bindings_make(two_services("[\"shop.example\", \"*.shop.example\"]"), NULL, &a);
	bindings_make(two_services("[\"*.shop.example\", \"shop.example\"]"), NULL, &same);
	bindings_make(two_services("[\"shop.example\"]"), NULL, &other);
	bindings_make(two_services("[\"shop.example\", \"*.shop.example\"]"), moved, &slots);
	for (size_t i = 0; i < a.n; i++) {
		assert_true(binding_equal(a.list[i], same.list[i]));
		assert_false(binding_equal(a.list[i], other.list[i]));
		assert_false(binding_equal(a.list[i], slots.list[i]));
	}
	assert_int_equal(find(binding_at(&slots, "0.0.0.0:80")->route, "x.shop.example"), 7);
	assert_int_equal(find(binding_at(&slots, "0.0.0.0:80")->route, "pay.example"), 3);
	assert_true(binding_is_for(slots.list[0], 3));
	assert_false(binding_is_for(slots.list[0], 0));
	kept = binding_ref(slots.list[0]);
	bindings_free(&slots);
	assert_int_equal(kept->owner, 7);
	binding_unref(&kept);
	assert_null(kept);
	bindings_free(&a);
	bindings_free(&same);
	bindings_free(&other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns_have_one_form),
		cmocka_unit_test(test_what_is_no_pattern),
		cmocka_unit_test(test_the_nearest_name_wins),
		cmocka_unit_test(test_odd_names_are_nobodys),
		cmocka_unit_test(test_many_names),
		cmocka_unit_test(test_each_address_is_bound_once),
		cmocka_unit_test(test_bindings_are_compared_by_what_they_do),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
