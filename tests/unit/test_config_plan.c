/* test_config_plan.c - what another configuration would change, in words and in JSON. */
#include "config_file.h"
#include "model/config_plan.h"

static struct config_keys *
keys_of(const char *text)
{
	return config_keys_new(good(text));
}

static void
assert_plan_says(const struct config_keys *old, const struct config_keys *new, const char *expected)
{
	struct config_plan *p = config_plan_new(old, new);
	struct buf text;

	buf_init(&text, 65536);
	config_plan_text(p, &text);
	buf_append(&text, "", 1);
	assert_string_equal(buf_str(&text).p, expected);
	buf_free(&text);
	config_plan_free(&p);
}

/* Of all keys, and of what a comparison has left of them. */
static void
assert_plan(const char *from, const char *to, const char *expected)
{
	const struct config *was = config_ref(good(from)), *is = config_ref(good(to));
	struct config_keys *old = config_keys_new(was), *new = config_keys_new(is);

	assert_plan_says(old, new, expected);
	config_keys_free(&old);
	config_keys_free(&new);
	config_keys_compare(was, is, &old, &new);
	assert_plan_says(old, new, expected);
	config_keys_free(&old);
	config_keys_free(&new);
	config_unref(&was);
	config_unref(&is);
}

#define ONE(name, keys) \
	"{ name = \"" name "\"; listen = \"127.0.0.1:80\"; green: { backends = [\"127.0.0.1:81\"]; };" \
	" blue: { backends = [\"127.0.0.1:82\", \"127.0.0.1:83\"]; }; " keys " }"
#define OTHER(name) \
	"{ name = \"" name "\"; listen = \"127.0.0.1:90\"; green: { backends = [\"127.0.0.1:91\"]; };" \
	" blue: { backends = [\"127.0.0.1:92\"]; }; }"
#define FILE_OF(top, services) "state_dir = \"/s\"; workers = 2; " top " services = ( " services " );\n"

static void
test_nothing(void **state)
{
	(void)state;
	assert_plan(FILE_OF("", ONE("a", "") ", " OTHER("b")), FILE_OF("", OTHER("b") ", " ONE("a", "")), "= 2 unchanged\n");
	/* Said and meant are the same. */
	assert_plan(FILE_OF("", ONE("a", "")), FILE_OF("", ONE("a", "retries = 2;")), "= 1 unchanged\n");
}

static void
test_what_changes(void **state)
{
	(void)state;
	assert_plan(FILE_OF("", ONE("a", "drain: { timeout = 30; };") ", " OTHER("b")),
		    FILE_OF("log: { level = \"debug\"; };", ONE("a", "drain: { timeout = 60; };") ", " OTHER("b")),
		    "~ log.level info -> debug\n"
		    "~ service a: drain.timeout 30 -> 60\n"
		    "= 1 unchanged\n");
}

/* Of a list, what comes and what goes. */
static void
test_lists(void **state)
{
	struct config_keys *old, *new;
	struct config_plan *p;
	struct buf text;

	(void)state;
	old = keys_of(FILE_OF("", ONE("a", "")));
	new = keys_of("state_dir = \"/s\"; workers = 2; services = ( { name = \"a\"; listen = \"127.0.0.1:80\";"
		      " green: { backends = [\"127.0.0.1:81\"]; }; blue: { backends = [\"127.0.0.1:84\", \"127.0.0.1:83\"]; }; } );\n");
	p = config_plan_new(old, new);
	buf_init(&text, 65536);
	config_plan_text(p, &text);
	buf_append(&text, "", 1);
	assert_non_null(strstr(buf_str(&text).p, " service a: blue.backends +127.0.0.1:84 -127.0.0.1:82"));
	assert_null(strstr(buf_str(&text).p, "green"));
	buf_free(&text);
	config_plan_free(&p);
	config_keys_free(&old);
	config_keys_free(&new);
}

static void
test_what_needs_a_restart(void **state)
{
	struct config_keys *old = keys_of(FILE_OF("", ONE("a", ""))),
			   *new = keys_of("state_dir = \"/s\"; workers = 4; services = ( " ONE("a", "") " );\n");
	struct config_plan *p = config_plan_new(old, new);
	struct buf text;

	(void)state;
	buf_init(&text, 65536);
	config_plan_text(p, &text);
	buf_append(&text, "", 1);
	assert_string_equal(buf_str(&text).p, "! workers 2 -> 4: needs an upgrade\n= 1 unchanged\n");
	assert_int_equal(p->restarts, 1);
	buf_clear(&text);
	config_plan_restarts(p, &text);
	assert_true(str_eq(buf_str(&text), "workers"));
	buf_free(&text);
	config_plan_free(&p);
	config_keys_free(&old);
	config_keys_free(&new);
}

static const struct service_plan *
find(const struct config_plan *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->services[i].name, name) == 0)
			return &p->services[i];
	return NULL;
}

static void
test_services_come_go_and_are_renamed(void **state)
{
	struct config_keys *old = keys_of(FILE_OF("", ONE("a", "") ", " OTHER("b"))),
			   *new = keys_of(FILE_OF("", ONE("c", "rename = \"a\";") ", {"
						      " name = \"d\"; listen = \"127.0.0.1:70\"; green: { backends = [\"127.0.0.1:71\"]; };"
						      " blue: { backends = [\"127.0.0.1:72\"]; }; }"));
	struct config_plan *p = config_plan_new(old, new);
	struct buf text;
	struct json j;

	(void)state;
	assert_int_equal(p->n, 3);
	assert_int_equal(p->unchanged, 0);
	assert_int_equal(find(p, "c")->fate, SERVICE_RENAMED);
	assert_string_equal(find(p, "c")->was, "a");
	assert_int_equal(find(p, "d")->fate, SERVICE_ADDED);
	assert_int_equal(find(p, "b")->fate, SERVICE_REMOVED);
	buf_init(&text, 65536);
	json_init(&j, &text);
	json_object(&j, NULL);
	config_plan_json(p, &j);
	json_object_end(&j);
	buf_append(&text, "", 1);
	assert_begins(buf_str(&text).p,
		      "{\"added\":[\"d\"],\"removed\":[\"b\"],\"renamed\":[{\"service\":\"c\",\"was\":\"a\"}],\"changed\":[");
	buf_free(&text);
	config_plan_free(&p);
	config_keys_free(&old);
	config_keys_free(&new);
}

/* The next file still says what the last one did. */
static void
test_a_rename_that_is_done_says_nothing(void **state)
{
	(void)state;
	assert_plan(FILE_OF("", ONE("c", "rename = \"a\";")), FILE_OF("", ONE("c", "rename = \"a\";")), "= 1 unchanged\n");
	assert_plan(FILE_OF("", ONE("c", "rename = \"a\";")), FILE_OF("", ONE("c", "")), "= 1 unchanged\n");
}

static const struct broken renames[] = {
	{ FILE_OF("", ONE("a", "rename = \"b\";") ",\n" OTHER("b")),
	  "1: service \"a\": rename: the service \"b\" is still here; remove it, or this" },
	{ FILE_OF("", ONE("a", "rename = \"x\";") ",\n{ name = \"b\"; rename = \"x\"; listen = \"127.0.0.1:90\"; "
		  "green: { backends = [\"127.0.0.1:91\"]; }; blue: { backends = [\"127.0.0.1:92\"]; }; }"),
	  "2: service \"b\": rename: the service at teal.conf:1 was \"x\" already" },
	{ FILE_OF("", ONE("a", "rename = \"a\";")),
	  "1: service \"a\": rename: the service \"a\" is still here; remove it, or this" },
	{ FILE_OF("defaults: { rename = \"x\"; };", ONE("a", "")),
	  "1: defaults: rename: each service has its own; remove it here" },
};

static void
test_renames_that_cannot_be(void **state)
{
	(void)state;
	assert_broken(renames, ARRAY_LEN(renames));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_what_changes),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_what_needs_a_restart),
		cmocka_unit_test(test_services_come_go_and_are_renamed),
		cmocka_unit_test(test_a_rename_that_is_done_says_nothing),
		cmocka_unit_test(test_renames_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
