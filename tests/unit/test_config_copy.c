/* test_config_copy.c - the files of a configuration, out of one text. */
#include "config_file.h"

#include "base/buf.h"
#include "model/config_copy.h"
#include "scaled.h"

static struct buf
copied(const char *path)
{
	struct buf text;

	assert_int_equal(load_file(path), OK);
	buf_init(&text, CONFIG_COPY_MAX);
	config_copy_put(t.config, &text);
	assert_false(text.failed);
	return text;
}

/* Of files that are gone since then, in folders of their own. */
static void
test_what_was_read_can_be_read_again(void **state)
{
	const struct config *again;
	struct config_copy copy;
	struct buf text;
	struct why why;

	(void)state;
	write_file("main.conf", "state_dir = \"/s\";\n@include \"stop 1.conf\"\n" SERVICE(""));
	write_file("stop 1.conf", "# not the end\nstop: { timeout = 7; };");
	text = copied("main.conf");
	assert_int_equal(unlink("main.conf") | unlink("stop 1.conf"), 0);
	assert_int_equal(config_copy_parse(buf_str(&text), &copy, &why), OK);
	complaints_free(&t.errors);
	complaints_free(&t.warnings);
	assert_int_equal(config_load_copy(&copy, &again, &t.errors, &t.warnings), OK);
	assert_string_equal(again->path, "main.conf");
	assert_string_equal(again->checksum, t.config->checksum);
	assert_string_equal(again->checksum, copy.checksum);
	assert_float_equal(again->stop.timeout, 7, 0);
	config_unref(&again);
	config_copy_free(&copy);
	buf_free(&text);
}

static void
test_what_is_missing_in_a_copy_is_not_read_from_the_disk(void **state)
{
	const struct config *again;
	struct config_copy copy;
	struct buf text;
	struct why why;

	(void)state;
	write_file("main.conf", "state_dir = \"/s\";\n@include \"stop.conf\"\n" SERVICE(""));
	write_file("stop.conf", "stop: { timeout = 7; };");
	text = copied("main.conf");
	assert_int_equal(config_copy_parse(buf_str(&text), &copy, &why), OK);
	free(copy.files[1].path);
	copy.files[1].path = must_strdup("another.conf");
	complaints_free(&t.errors);
	assert_int_equal(config_load_copy(&copy, &again, &t.errors, &t.warnings), E_USAGE);
	assert_string_equal(t.errors.lines[0],
			    "main.conf:2: @include: stop.conf is not among the files of the copy (nothing else was checked yet)");
	config_copy_free(&copy);
	buf_free(&text);
}

/* Cut anywhere it is refused; with any byte changed it is refused or read, and no more. */
static void
test_damaged_copies(void **state)
{
	struct config_copy copy;
	struct buf text;
	struct why why;
	char *bytes;
	size_t n;

	(void)state;
	write_file("main.conf", SHOP(""));
	text = copied("main.conf");
	n = buf_len(&text);
	for (size_t cut = 0; cut < n; cut++) {
		bytes = must_alloc(cut + 1);
		memcpy(bytes, buf_str(&text).p, cut);
		assert_int_equal(config_copy_parse((struct str){ bytes, cut }, &copy, &why), E_USAGE);
		free(bytes);
	}
	for (size_t at = 0; at < n; at++)
		for (int c = 0; c < 256; c += scaled(16, 1)) {
			bytes = must_alloc(n);
			memcpy(bytes, buf_str(&text).p, n);
			bytes[at] = (char)c;
			if (config_copy_parse((struct str){ bytes, n }, &copy, &why) == OK)
				config_copy_free(&copy);
			free(bytes);
		}
	buf_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_read_can_be_read_again),
		cmocka_unit_test(test_what_is_missing_in_a_copy_is_not_read_from_the_disk),
		cmocka_unit_test(test_damaged_copies),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
