/* hpack_text.h - field blocks in tests: from hexadecimal digits, and their fields as text. */
#ifndef TESTS_HPACK_TEXT_H
#define TESTS_HPACK_TEXT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/hpack_decoder.h"

#define TEST_FIELDS 256
#define TEST_SIZE 16384

/* Fields with room for TEST_FIELDS, which the tests share. */
static inline struct hpack_fields *
test_fields(void)
{
	static struct hpack_field room[TEST_FIELDS];
	static char text[HPACK_TEXT_ROOM(TEST_SIZE)];
	static struct hpack_fields f;

	f = (struct hpack_fields){
		.fields = room, .text = text, .max_fields = TEST_FIELDS, .max_size = TEST_SIZE
	};
	return &f;
}

/* "8286 84" as bytes; good until the next call. */
static inline struct str
from_hex(const char *hex)
{
	static char bytes[4096];
	size_t n = 0;

	for (; *hex != '\0'; hex++) {
		unsigned byte;

		if (*hex == ' ')
			continue;
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		assert_true(n < sizeof(bytes));
		bytes[n++] = (char)byte;
		hex++;
	}
	return (struct str){ bytes, n };
}

/* The text of the fields, as lines with '\n'. */
static inline void
assert_lines(const struct hpack_fields *f, const char *expected)
{
	static char lines[HPACK_TEXT_ROOM(TEST_SIZE)];
	size_t n = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		struct str name = hpack_name(f, &f->fields[i]), value = hpack_value(f, &f->fields[i]);

		n += (size_t)sprintf(lines + n, "%.*s: %.*s\n", (int)name.n, name.p, (int)value.n, value.p);
		assert_memory_equal(value.p + value.n, "\r\n", 2);
	}
	lines[n] = '\0';
	assert_string_equal(lines, expected);
}

#endif
