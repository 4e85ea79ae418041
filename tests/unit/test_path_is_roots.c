/* test_path_is_roots.c - what root may trust. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/path_is_roots.h"

static char folder[64], file[80];

static int
make_them(void **state)
{
	FILE *f;

	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/teal-path-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/file", folder);
	f = fopen(file, "w");
	assert_non_null(f);
	fclose(f);
	chmod(file, 0644);
	return 0;
}

static int
remove_them(void **state)
{
	(void)state;
	unlink(file);
	rmdir(folder);
	return 0;
}

static void
test_what_the_system_has(void **state)
{
	(void)state;
	assert_true(path_is_roots("/"));
	assert_true(path_is_roots("/etc/passwd"));
	/* Others write there, but only root replaces what is root's. */
	assert_true(path_is_roots("/tmp"));
	assert_false(path_is_roots("/etc/no such file"));
}

static void
test_a_file_and_its_folder(void **state)
{
	(void)state;
	assert_int_equal(path_is_roots(file), geteuid() == 0);
	chmod(file, 0664);
	assert_false(path_is_roots(file));
	chmod(file, 0646);
	assert_false(path_is_roots(file));
	chmod(file, 0644);
	chmod(folder, 0777);
	assert_false(path_is_roots(file));
	chmod(folder, 0755);
	if (geteuid() == 0) {
		assert_int_equal(chown(folder, 65534, 65534), 0);
		assert_false(path_is_roots(file));
		assert_int_equal(chown(folder, 0, 0), 0);
		assert_true(path_is_roots(file));
		assert_int_equal(chown(file, 65534, 65534), 0);
		assert_false(path_is_roots(file));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_system_has),
		cmocka_unit_test_setup_teardown(test_a_file_and_its_folder, make_them, remove_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
