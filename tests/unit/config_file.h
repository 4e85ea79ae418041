/* config_file.h - writes a configuration into a folder of the test's own,
 * reads it back, and compares what was complained about. */
#ifndef TESTS_UNIT_CONFIG_FILE_H
#define TESTS_UNIT_CONFIG_FILE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/config.h"

/* A whole file around a few keys: they begin in line 2 at the top, in line 5
 * of the service. */
#define TOP(keys) "state_dir = \"/s\";\n" keys "\n" SERVICE("")
#define SERVICE(keys) \
	"services = (\n" \
	"  { name = \"shop\"; listen = \"127.0.0.1:80\";\n" \
	"    green: { backends = [\"127.0.0.1:81\"]; };\n" \
	"    blue: { backends = [\"127.0.0.1:82\"]; };\n" keys "\n" \
	"  } );\n"
#define SHOP(keys) "state_dir = \"/s\";" SERVICE(keys)
#define TWO(name, listen) \
	SHOP("}, { name = \"" name "\"; listen = " listen "; green: { backends = [\"127.0.0.1:91\"]; };\n" \
	     "blue: { backends = [\"127.0.0.1:92\"]; };")

#define POOL(pools, keys) \
	"state_dir = \"/s\";\nnode_pools: { " pools " };\nservices = ( { name = \"shop\"; listen = \":80\";\n" keys \
	"\n} );\n"

static struct {
	const struct config *config;
	struct complaints errors, warnings;
	char dir[64];
	char top[256];	/* where the test was started */
} t;

static inline void
write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

/* What the last load left goes. */
static inline void
forget(void)
{
	config_unref(&t.config);
	complaints_free(&t.errors);
	complaints_free(&t.warnings);
}

static inline enum err
load_file(const char *path)
{
	enum err e;

	forget();
	e = config_load(path, &t.config, &t.errors, &t.warnings);
	assert_true(e == OK || e == E_USAGE);
	assert_int_equal(e == OK, t.config != NULL);
	assert_int_equal(e == OK, t.errors.n == 0);
	return e;
}

static inline enum err
load(const char *text)
{
	write_file("teal.conf", text);
	return load_file("teal.conf");
}

/* Accepts the text, or fails showing what was complained about. */
static inline const struct config *
good(const char *text)
{
	if (load(text) != OK) {
		for (size_t i = 0; i < t.errors.n; i++)
			print_error("%s\n", t.errors.lines[i]);
		fail_msg("refused:\n%s", text);
	}
	return t.config;
}

static inline void
assert_begins(const char *text, const char *beginning)
{
	if (strncmp(text, beginning, strlen(beginning)) != 0)
		fail_msg("%s\ndoes not begin with\n%s", text, beginning);
}

static inline void
assert_addr(const struct addr *a, const char *expected)
{
	char text[ADDR_TEXT];

	assert_string_equal(addr_format(a, text), expected);
}

/* One wrong thing, and the only complaint about it, without "teal.conf:". */
struct broken {
	const char *text;
	const char *complaint;
};

static inline void
assert_broken(const struct broken *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *expected = must_printf("teal.conf:%s", cases[i].complaint);

		if (load(cases[i].text) == OK)
			fail_msg("accepted:\n%s", cases[i].text);
		if (t.errors.n != 1 || strcmp(t.errors.lines[0], expected) != 0)
			fail_msg("%s\n%zu complaints, the first: %s\n               expected: %s",
				 cases[i].text, t.errors.n, t.errors.lines[0], expected);
		free(expected);
	}
}

static inline int
enter(void **state)
{
	(void)state;
	assert_non_null(getcwd(t.top, sizeof(t.top)));
	strcpy(t.dir, "/tmp/test_config.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	assert_int_equal(chdir(t.dir), 0);
	return 0;
}

static inline int
leave(void **state)
{
	char *command = must_printf("rm -rf '%s'", t.dir);
	int rc = chdir("/") | system(command);

	(void)state;
	free(command);
	forget();
	return rc;
}

#endif
