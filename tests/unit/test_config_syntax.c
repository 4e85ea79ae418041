/* test_config_syntax.c - files that are not even well formed: the first
 * mistake, its line and what to do. */
#include "config_file.h"

/* Of a file whose grammar is broken no key is looked at. */
#define NOTE " (nothing else was checked yet)"

static const struct broken mistakes[] = {
	{ "a = 1;\nb = ;\n",
	  "2: b: expected a value, found ;" NOTE },
	{ "a = 1;\na = 2;\n",
	  "2: a is set a second time; the first is in line 1" NOTE },
	{ SHOP("health: { rise = 2;\nfall = 3; rise = 4; };"),
	  "6: rise is set a second time; the first is in line 5" NOTE },
	{ "a = \"x;\nb = 1;\n",
	  "1: the text that begins here with \" is never closed" NOTE },
	{ "a = 1;\n/* b = 1;\n",
	  "2: the comment that begins here with /* is never closed" NOTE },
	{ "a: {\nb: { c = 1; };\n",
	  "1: the { that opens here is never closed" NOTE },
	{ "a = (\n1, 2;\n",
	  "2: a: expected , or ) here, found ;" NOTE },
	{ "a = [1, 2\n",
	  "1: a: the [ that opens here is never closed" NOTE },
	{ "a = 1;\n};\n",
	  "2: expected the name of a key, found }" NOTE },
	{ "a = 10.0.0.1:80;\n",
	  "1: a: .0 does not belong behind the value; text such as an address needs double quotes" NOTE },
	{ "mode = tcp;\n",
	  "1: mode: expected a value, found tcp; text needs double quotes: \"tcp\"" NOTE },
	{ "a 1;\n",
	  "1: expected = after a, found 1" NOTE },
	{ "a = [1, \"x\"];\n",
	  "1: a: all values within [ ] must be of one type" NOTE },
	{ "a = [{ }];\n",
	  "1: a: groups and lists need ( ) around them, not [ ]" NOTE },
	{ "a = [\"x\" \"y\"];\n",
	  "1: a: a comma is missing before \"y\"" NOTE },
	{ "a = [\"x\", ];\n",
	  "1: a: a comma before ]; remove it" NOTE },
	{ "a = [1; 2];\n",
	  "1: a: expected , or ] here, found ;" NOTE },
	{ "a = 1;\n$b = 2;\n",
	  "2: expected the name of a key, found $" NOTE },
	{ "a = 1; @include \"x\"\n",
	  "1: @include must stand at the beginning of a line" NOTE },
	{ "a = 1;\n@include x\n",
	  "2: @include needs the name of a file in double quotes" NOTE },
	{ "a = 1;\n@include \"nowhere.conf\"\n",
	  "2: @include: nowhere.conf cannot be read: No such file or directory" NOTE },
	{ "a = 1;\n@include \".\"\n",
	  "2: @include: . is a folder, not a file" NOTE },
	{ "a = 1;\n@include \"\"\n",
	  "2: @include \"\": the name of a file is missing" NOTE },
	{ "a = 1;\n@include \"teal.conf\"\n",
	  "2: @include \"teal.conf\": more than 10 files deep; does a file include itself?" NOTE },
	{ SHOP("max_connections = 5000000000;"),
	  "5: max_connections: 5000000000 is too large for a plain number; write it in decimal and in double quotes" NOTE },
	{ SHOP("max_connections = 0xffffffff;"),
	  "5: max_connections: 0xffffffff is too large for a plain number; write it in decimal and in double quotes" NOTE },
	{ SHOP("max_connections = 99999999999999999999L;"),
	  "5: max_connections: 99999999999999999999L is too large for a plain number; write it in decimal and in double quotes" NOTE },
	{ SHOP("labels: { a = \"x\\x00y\"; };"),
	  "5: a: \\x00 cannot be part of a text" NOTE },
	{ "a = ((((((((((((((((((((((((((((((((((((((((\n",
	  "1: a: more than 32 brackets within each other" NOTE },
};

static void
test_the_first_mistake_is_named(void **state)
{
	(void)state;
	assert_broken(mistakes, ARRAY_LEN(mistakes));
}


int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_mistake_is_named),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
