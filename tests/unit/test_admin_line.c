/* test_admin_line.c - lines are split, and broken ones refused, whole and at
 * every cut, against a guard page; quoting is the way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "proto/admin_line.h"

/* Memory whose last byte is followed by a page nobody may read. */
static struct str
guarded(struct str s)
{
	static char *pages;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = 4 * page;

	if (pages == NULL) {
		pages = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(pages != MAP_FAILED);
		assert_int_equal(mprotect(pages + room, page, PROT_NONE), 0);
	}
	assert_true(s.n <= room);
	memset(pages, '"', room);
	memcpy(pages + room - s.n, s.p, s.n);
	return (struct str){ pages + room - s.n, s.n };
}

/* "flip|shop" for words, then " key=value" or " key" for options. */
static const char *
shown(const struct admin_line *line)
{
	static char text[3 * ADMIN_LINE_MAX];
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < line->n_args; i++)
		n += (size_t)sprintf(text + n, "%s%s", i > 0 ? "|" : "", line->args[i].p);
	for (size_t i = 0; i < line->n_opts; i++)
		n += (size_t)sprintf(text + n, " %s%s%s", line->opts[i].key.p,
				     line->opts[i].has_value ? "=" : "", line->opts[i].value.p);
	return text;
}

static struct admin_line line;
static struct why why;

static enum err
parse(struct str s)
{
	memset(&line, 0xaa, sizeof(line));
	why.text[0] = '\0';
	return admin_line_parse(guarded(s), &line, &why);
}

static void
good_lines_are_split(void **state)
{
	static const struct {
		const char *text, *words;
	} good[] = {
		{ "", "" },
		{ "   ", "" },
		{ "status", "status" },
		{ "  status   shop  ", "status|shop" },
		{ "flip shop blue --force", "flip|shop|blue force" },
		{ "--force flip shop blue", "flip|shop|blue force" },
		{ "flip shop blue --expect=green@42 --timeout=0.5",
		  "flip|shop|blue expect=green@42 timeout=0.5" },
		{ "lock shop --reason=\"deploy 8812\"", "lock|shop reason=deploy 8812" },
		{ "lock shop --reason=\"a \\\"b\\\" \\\\ c\"", "lock|shop reason=a \"b\" \\ c" },
		{ "lock shop --reason=", "lock|shop reason=" },
		{ "lock shop --reason=\"\"", "lock|shop reason=" },
		{ "lock shop --reason=a=b--c", "lock|shop reason=a=b--c" },
		{ "lock '*'", "lock|'*'" },
		{ "lock *", "lock|*" },
		{ "status \"two words\"", "status|two words" },
		{ "status \"\"", "status|" },
		{ "status back\\slash", "status|back\\slash" },
		{ "status \"--force\"", "status|--force" },
		{ "status -- --force -- x", "status|--force|--|x" },
		{ "status -x - -", "status|-x|-|-" },
		{ "--a1-b", " a1-b" },
		{ "lock shop --reason=\"\xc3\xbc ber \xe2\x82\xac \xf0\x9f\x98\x80\"",
		  "lock|shop reason=\xc3\xbc ber \xe2\x82\xac \xf0\x9f\x98\x80" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(parse(str_from(good[i].text)), OK);
		assert_string_equal(shown(&line), good[i].words);
	}
}

static void
broken_lines_are_refused_with_a_sentence(void **state)
{
	static const struct {
		struct str text;
		const char *says;
	} bad[] = {
		{ STR("sta\0tus"), "U+0000 at byte 4" },
		{ STR("status\r"), "U+000D at byte 7" },
		{ STR("a\tb"), "U+0009 at byte 2" },
		{ STR("a\nb"), "U+000A" },
		{ STR("\x1b[31m"), "U+001B at byte 1" },
		{ STR("a \x7f"), "U+007F" },
		{ STR("a \xc2\x9b"), "U+009B" },
		{ STR("a \xe2\x80\xae"), "U+202E" },
		{ STR("\"in \x01 quotes\""), "U+0001" },
		{ STR("\xff"), "byte 1 (0xff) is not valid UTF-8" },
		{ STR("a \xc3"), "byte 3 (0xc3)" },
		{ STR("a \xe2\x82"), "byte 3 (0xe2)" },
		{ STR("\x80"), "byte 1 (0x80)" },
		{ STR("\xc0\xaf"), "not valid UTF-8" },
		{ STR("\xe0\x80\xaf"), "not valid UTF-8" },
		{ STR("\xed\xa0\x80"), "not valid UTF-8" },
		{ STR("\xf4\x90\x80\x80"), "not valid UTF-8" },
		{ STR("\xf5\x80\x80\x80"), "not valid UTF-8" },
		{ STR("flip \"shop"), "the quote opened at byte 6 is not closed" },
		{ STR("\""), "opened at byte 1" },
		{ STR("flip --reason=\"x"), "opened at byte 15" },
		{ STR("\"a\"b"), "a space must follow the closing quote at byte 3" },
		{ STR("\"a\"\"b\""), "a space must follow" },
		{ STR("a\"b\""), "the quote at byte 2 is inside a word" },
		{ STR("--reason=a\"b\""), "is inside a word" },
		{ STR("\"a\\n\""), "backslash at byte 3" },
		{ STR("\"a\\"), "backslash at byte 3" },
		{ STR("--=x"), "the option at byte 1" },
		{ STR("a ---x"), "the option at byte 3" },
		{ STR("--Force"), "lower case" },
		{ STR("--fo\"rce\""), "--key or --key=value" },
		{ STR("--\xc3\xbc"), "--key or --key=value" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(parse(bad[i].text), E_USAGE);
		if (strstr(why.text, bad[i].says) == NULL)
			fail_msg("\"%s\" says: %s", bad[i].text.p, why.text);
		assert_int_equal(line.n_args + line.n_opts, 0);
	}
}

static void
the_limits_are_exact(void **state)
{
	char text[ADMIN_LINE_MAX + 2];
	size_t n = 0;

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(parse((struct str){ text, ADMIN_LINE_MAX }), OK);
	assert_int_equal(line.args[0].n, ADMIN_LINE_MAX);
	assert_int_equal(parse((struct str){ text, ADMIN_LINE_MAX + 1 }), E_USAGE);
	assert_non_null(strstr(why.text, "4096"));

	for (int i = 0; i < ADMIN_ARGS_MAX; i++)
		n += (size_t)sprintf(text + n, "w ");
	assert_int_equal(parse((struct str){ text, n }), OK);
	assert_int_equal(line.n_args, ADMIN_ARGS_MAX);
	text[n] = 'x';
	assert_int_equal(parse((struct str){ text, n + 1 }), E_USAGE);
	assert_non_null(strstr(why.text, "33 words"));

	n = 0;
	for (int i = 0; i < ADMIN_OPTS_MAX; i++)
		n += (size_t)sprintf(text + n, "--k= ");
	assert_int_equal(parse((struct str){ text, n }), OK);
	assert_int_equal(line.n_opts, ADMIN_OPTS_MAX);
	n += (size_t)sprintf(text + n, "--k");
	assert_int_equal(parse((struct str){ text, n }), E_USAGE);
	assert_non_null(strstr(why.text, "16 options"));
}

static void
a_full_line_of_full_tables_fits_the_storage(void **state)
{
	char text[ADMIN_LINE_MAX + 1];
	size_t n = 0;

	(void)state;
	for (int i = 0; i < ADMIN_OPTS_MAX; i++)
		n += (size_t)sprintf(text + n, "--k=v ");
	for (int i = 0; i + 1 < ADMIN_ARGS_MAX; i++)
		n += (size_t)sprintf(text + n, "w ");
	memset(text + n, 'x', sizeof(text) - n);
	assert_int_equal(parse((struct str){ text, ADMIN_LINE_MAX }), OK);
	assert_int_equal(line.n_args, ADMIN_ARGS_MAX);
	assert_int_equal(line.args[ADMIN_ARGS_MAX - 1].n, ADMIN_LINE_MAX - n);
	assert_string_equal(line.opts[ADMIN_OPTS_MAX - 1].value.p, "v");
}

/* A prefix of a good line is good too, or says what is missing. */
static void
every_cut_is_a_line_or_an_error(void **state)
{
	struct str whole =
		STR("flip \"sh op\" blue --expect=green@42 --reason=\"say \\\"hi\\\" \xe2\x82\xac\"");

	(void)state;
	for (size_t n = 0; n <= whole.n; n++) {
		enum err e = parse((struct str){ whole.p, n });

		assert_true(e == OK ? why.text[0] == '\0' : why.text[0] != '\0');
	}
	assert_string_equal(shown(&line), "flip|sh op|blue expect=green@42 reason=say \"hi\" \xe2\x82\xac");
}

static void
options_are_found_by_key(void **state)
{
	(void)state;
	assert_int_equal(parse(STR("flip --force --reason=x")), OK);
	assert_non_null(admin_line_opt(&line, "force"));
	assert_false(admin_line_opt(&line, "force")->has_value);
	assert_true(str_eq(admin_line_opt(&line, "reason")->value, "x"));
	assert_null(admin_line_opt(&line, "forc"));
	assert_null(admin_line_opt(&line, "force "));
}

static void
quoting_is_done_only_where_needed(void **state)
{
	static const struct {
		const char *word, *quoted, *value;
	} words[] = {
		{ "shop", "shop", "shop" },
		{ "", "\"\"", "\"\"" },
		{ "deploy 8812", "\"deploy 8812\"", "\"deploy 8812\"" },
		{ "a\"b", "\"a\\\"b\"", "\"a\\\"b\"" },
		{ "a\\b", "a\\b", "a\\b" },
		{ "a \\", "\"a \\\\\"", "\"a \\\\\"" },
		{ "--force", "\"--force\"", "--force" },
		{ "-", "-", "-" },
		{ "*", "*", "*" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		buf_clear(&b);
		assert_true(admin_line_quote(&b, str_from(words[i].word)));
		assert_true(str_eq(buf_str(&b), words[i].quoted));
		buf_clear(&b);
		assert_true(admin_line_quote_value(&b, str_from(words[i].word)));
		assert_true(str_eq(buf_str(&b), words[i].value));
	}
	buf_free(&b);
	buf_init(&b, 5);
	assert_false(admin_line_quote(&b, STR("too much")));
	assert_false(admin_line_quote_value(&b, STR("too-much")));
	buf_free(&b);
}

static void
what_was_quoted_is_read_back(void **state)
{
	static const char alphabet[] = "ab \"\\-=@*'";
	uint64_t seed = 42;
	char word[12];
	struct buf b;

	(void)state;
	buf_init(&b, ADMIN_LINE_MAX);
	for (int round = 0; round < 20000; round++) {
		size_t n = random_next(&seed) % sizeof(word);

		for (size_t i = 0; i < n; i++)
			word[i] = alphabet[random_next(&seed) % (sizeof(alphabet) - 1)];
		buf_clear(&b);
		assert_true(admin_line_quote(&b, (struct str){ word, n }));
		assert_true(buf_append(&b, " --k=", 5));
		assert_true(admin_line_quote_value(&b, (struct str){ word, n }));
		assert_int_equal(parse(buf_str(&b)), OK);
		assert_int_equal(line.n_args, 1);
		assert_int_equal(line.n_opts, 1);
		assert_int_equal(line.args[0].n, n);
		assert_int_equal(line.opts[0].value.n, n);
		assert_memory_equal(line.args[0].p, word, n);
		assert_memory_equal(line.opts[0].value.p, word, n);
	}
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_lines_are_split),
		cmocka_unit_test(broken_lines_are_refused_with_a_sentence),
		cmocka_unit_test(the_limits_are_exact),
		cmocka_unit_test(a_full_line_of_full_tables_fits_the_storage),
		cmocka_unit_test(every_cut_is_a_line_or_an_error),
		cmocka_unit_test(options_are_found_by_key),
		cmocka_unit_test(quoting_is_done_only_where_needed),
		cmocka_unit_test(what_was_quoted_is_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
