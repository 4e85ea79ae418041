/* test_config_text.c - files, what they include, and whose line it was. */
#include <sys/stat.h>

#include "config_file.h"

static void
test_included_files(void **state)
{
	const struct config *c;

	(void)state;
	assert_int_equal(mkdir("conf.d", 0700), 0);
	write_file("main.conf", "state_dir = \"/s\"; # @include \"no.conf\"\n"
				"/*\n@include \"no.conf\"\n*/\n"
				"log: { level = \"warn\"; };\n"
				"services = (\n"
				"  @include \"conf.d/a.conf\"\n"
				"  , { name = \"b\"; listen = \":2\";\n"
				"\t@include \"conf.d/colors.conf\"\n"
				"} );\n");
	write_file("conf.d/a.conf",
		   "{ name = \"a\"; listen = \":1\";\n@include \"colors.conf\" # beside this file\n}");
	write_file("conf.d/colors.conf",
		   "green: { backends = [\"10.0.0.1:1\"]; };\r\nblue: { backends = [\"10.0.0.1:2\"]; };");
	if (load_file("main.conf") != OK)
		fail_msg("%s", t.errors.lines[0]);
	c = t.config;
	assert_int_equal(c->n_services, 2);
	assert_string_equal(c->services[0].name, "a");
	assert_addr(&c->services[1].colors[BLUE].backends[0].address, "10.0.0.1:2");
	assert_int_equal(c->services[0].at.line, 1);

	/* Errors name the file they stand in, wherever the reading began. */
	write_file("conf.d/a.conf", "{ name = \"a\"; listen = \":1\"; }\n");
	write_file("conf.d/colors.conf",
		   "\n\ngreen: { backend = [\"10.0.0.1:1\"]; };\nblue: { backends = [\"10.0.0.1:2\"]; };");
	assert_int_equal(chdir("conf.d"), 0);
	assert_int_equal(load_file("../main.conf"), E_USAGE);
	assert_int_equal(chdir(".."), 0);
	assert_int_equal(t.errors.n, 3);
	assert_begins(t.errors.lines[0], "../conf.d/a.conf:1: service \"a\": no backends; add backends = ");
	assert_string_equal(t.errors.lines[1],
			    "../conf.d/colors.conf:3: service \"b\": unknown key \"green.backend\"; "
			    "did you mean \"backends\"?");
	assert_begins(t.errors.lines[2], "../conf.d/colors.conf:3: service \"b\": green needs port");

	write_file("conf.d/colors.conf", "green: {\n  backends = [\"10.0.0.1:1\";\n};\n");
	assert_int_equal(load_file("main.conf"), E_USAGE);
	assert_int_equal(t.errors.n, 1);
	assert_string_equal(t.errors.lines[0],
			    "conf.d/colors.conf:2: backends: expected , or ] here, found ; (nothing else was checked yet)");
}

static void
test_files_that_cannot_be_read(void **state)
{
	(void)state;
	assert_int_equal(load_file("nowhere/teal.conf"), E_USAGE);
	assert_int_equal(t.errors.n, 1);
	assert_string_equal(t.errors.lines[0],
			    "nowhere/teal.conf: cannot be read: No such file or directory");
	assert_int_equal(load_file("/tmp"), E_USAGE);
	assert_string_equal(t.errors.lines[0], "/tmp: is a folder, not a file");
	assert_int_equal(load_file("/dev/zero"), E_USAGE);
	assert_string_equal(t.errors.lines[0], "/dev/zero: is larger than 16 MiB; is this the right file?");

	write_file("nul.conf", "a = 1;\nb = 2;");
	assert_int_equal(truncate("nul.conf", 20), 0);
	assert_int_equal(load_file("nul.conf"), E_USAGE);
	assert_string_equal(t.errors.lines[0], "nul.conf:2: a NUL byte; is this a text file? (nothing else was checked yet)");
}

static void
test_a_last_line_without_end(void **state)
{
	(void)state;
	good(SHOP("") "# the end");
	good(SHOP("") "// the end");
	good(SHOP("") "log: { level = \"info\"; }");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_included_files),
		cmocka_unit_test(test_files_that_cannot_be_read),
		cmocka_unit_test(test_a_last_line_without_end),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
