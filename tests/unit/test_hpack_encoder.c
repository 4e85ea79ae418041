/* test_hpack_encoder.c - what is encoded how, and that our decoder reads it back whatever the tables do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hash.h"
#include "hpack_text.h"
#include "proto/hpack_encoder.h"
#include "scaled.h"

static char block[65536];

/* One field as a block of its own; its bytes. */
static struct str
encode(struct hpack_encoder *e, const char *name, const char *value)
{
	char *p = hpack_encode_begin(e, block);

	p = hpack_encode(e, p, str_from(name), str_from(value), HPACK_USUAL);
	return (struct str){ block, (size_t)(p - block) };
}

static void
check_bytes(struct str block, const char *hex)
{
	struct str expected = from_hex(hex);

	assert_int_equal(block.n, expected.n);
	assert_memory_equal(block.p, expected.p, block.n);
}

static void
test_usual_fields(void **state)
{
	struct hpack_encoder e;

	(void)state;
	hpack_encoder_init(&e, HPACK_ENCODER_MOST);
	check_bytes(encode(&e, ":method", "GET"), "82");
	check_bytes(encode(&e, ":path", "/index.html"), "85");
	check_bytes(encode(&e, ":status", "404"), "8d");
	check_bytes((struct str){ block, (size_t)(hpack_encode_status(&e, block, 200) - block) }, "88");
	check_bytes((struct str){ block, (size_t)(hpack_encode_status(&e, block, 304) - block) }, "8b");
	assert_null(e.table.data);	/* no memory up to here */
	/* Once as a literal, then into the table, then by its index. */
	check_bytes(encode(&e, "Server", "nginx"), "0f 27 05 6e67 696e 78");
	check_bytes(encode(&e, "server", "nginx"), "76 84 aa63 55e7");
	check_bytes(encode(&e, "SERVER", "nginx"), "be");
	check_bytes(encode(&e, "x-a", "1"), "00 03 782d 61 01 31");
	check_bytes(encode(&e, "x-a", "1"), "40 03 782d 61 01 31");
	check_bytes(encode(&e, "x-a", "1"), "be");
	check_bytes(encode(&e, "server", "nginx"), "bf");
	/* The name of an entry, with another value. */
	check_bytes(encode(&e, "x-a", "2"), "0f 2f 01 32");
	/* A status that the static table does not have whole. */
	check_bytes((struct str){ block, (size_t)(hpack_encode_status(&e, block, 502) - block) },
		    "08 03 3530 32");
	hpack_encoder_free(&e);
}

/* RFC 7541 section 7.1.3; and what is different each time does not push out what is not. */
static void
test_what_is_not_indexed(void **state)
{
	static const char *const never[][2] = {
		{ "authorization", "Basic c2VjcmV0" }, { "proxy-authorization", "Basic c2VjcmV0" },
		{ "set-cookie", "id=1" }, { "cookie", "id=1" },
	};
	static const char *const literal[][2] = {
		{ ":path", "/shop" }, { "content-length", "17" }, { "age", "3" }, { "etag", "\"a\"" },
		{ "location", "/x" }, { "if-none-match", "\"a\"" },
	};
	struct hpack_encoder e;

	(void)state;
	hpack_encoder_init(&e, HPACK_ENCODER_MOST);
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
			assert_int_equal(encode(&e, never[i][0], never[i][1]).p[0] & 0xf0, 0x10);
		for (size_t i = 0; i < sizeof(literal) / sizeof(*literal); i++)
			assert_int_equal(encode(&e, literal[i][0], literal[i][1]).p[0] & 0xf0, 0);
	}
	assert_int_equal(e.table.count, 0);
	assert_int_equal(hpack_encode(&e, block, STR("x-key"), STR("secret"), HPACK_NEVER) - block, 14);
	assert_int_equal(block[0], 0x10);
	/* Also when it stands in a table. */
	encode(&e, "x-key", "secret");
	encode(&e, "x-key", "secret");
	check_bytes(encode(&e, "x-key", "secret"), "be");
	hpack_encode(&e, block, STR("x-key"), STR("secret"), HPACK_NEVER);
	assert_int_equal(block[0] & 0xf0, 0x10);
	hpack_encode(&e, block, STR(":path"), STR("/"), HPACK_NEVER);
	assert_int_equal(block[0] & 0xf0, 0x10);
	/* A long cookie tells nothing by its length, and comes with each request. */
	assert_int_equal(encode(&e, "cookie", "id=0123456789012345").p[0] & 0xf0, 0x10);
	encode(&e, "cookie", "id=01234567890123456");
	encode(&e, "cookie", "id=01234567890123456");
	check_bytes(encode(&e, "cookie", "id=01234567890123456"), "be");
	hpack_encoder_free(&e);
}

/* Section 4.2. */
static void
test_table_sizes(void **state)
{
	struct hpack_encoder e;

	(void)state;
	hpack_encoder_init(&e, 1024);
	check_bytes(encode(&e, ":method", "GET"), "3f e1 07 82");	/* less than the decoder's 4096 */
	check_bytes(encode(&e, ":method", "GET"), "82");
	hpack_encoder_limit(&e, 65536);
	hpack_encoder_limit(&e, 1024);
	check_bytes(encode(&e, ":method", "GET"), "82");
	hpack_encoder_limit(&e, 100);
	hpack_encoder_limit(&e, 500);
	check_bytes(encode(&e, ":method", "GET"), "3f 45 3f d5 03 82");	/* 100, then 500 */
	hpack_encoder_limit(&e, 0);
	check_bytes(encode(&e, "a", "b"), "20 00 01 61 01 62");
	encode(&e, "a", "b");
	check_bytes(encode(&e, "a", "b"), "00 01 61 01 62");
	hpack_encoder_limit(&e, 4096);
	check_bytes(encode(&e, ":method", "GET"), "3f e1 07 82");
	hpack_encoder_free(&e);
	hpack_encoder_init(&e, 0);
	check_bytes(encode(&e, "a", "b"), "20 00 01 61 01 62");
	check_bytes(encode(&e, "a", "b"), "00 01 61 01 62");
	hpack_encoder_free(&e);
}

/* Names and values from a few, so that tables are hit, and some that are large or odd. */
static struct str
random_text(uint64_t *seed, char *room, bool name)
{
	static const char *const few[] = { "a",
					   "server",
					   "x-request-id",
					   "nginx",
					   "text/html; charset=utf-8",
					   "0",
					   "date",
					   "content-type",
					   "vary",
					   "accept-encoding",
					   "x-frame-options",
					   "deny",
					   "cookie" };
	uint64_t dice = random_next(seed) % 16;
	size_t n;

	if (dice < 13)
		return str_from(few[dice]);
	n = random_next(seed) % (dice == 13 ? 20 : dice == 14 ? 200 : 3000) + name;
	for (size_t i = 0; i < n; i++)
		room[i] = (char)(name ? 'a' + random_next(seed) % 26 : ' ' + random_next(seed) % 95);
	return (struct str){ room, n };
}

static void
test_random_fields_and_back(void **state)
{
	uint64_t seed = 11;

	(void)state;
	for (unsigned connection = 0; connection < scaled(60, 3000); connection++) {
		struct hpack_encoder e;
		struct hpack_decoder d;
		uint32_t limit = 4096;

		hpack_decoder_init(&d, limit);
		hpack_encoder_init(&e, (uint32_t)(random_next(&seed) % (HPACK_ENCODER_MOST + 1)));
		for (unsigned round = 0; round < 60; round++) {
			static char names[16][4096], values[16][4096];
			struct str name[16], value[16];
			unsigned n = (unsigned)(random_next(&seed) % 16);
			struct hpack_fields *f = test_fields();
			char *p;

			f->max_size = 16384;
			if (random_next(&seed) % 8 == 0) {
				limit = (uint32_t)(random_next(&seed) % 8192);
				hpack_encoder_limit(&e, limit);
				hpack_decoder_limit(&d, limit);
			}
			p = hpack_encode_begin(&e, block);
			for (unsigned i = 0; i < n; i++) {
				char *before = p;

				name[i] = random_text(&seed, names[i], true);
				value[i] = random_text(&seed, values[i], false);
				p = hpack_encode(&e, p, name[i], value[i],
						 (enum hpack_how)(random_next(&seed) % 8 / 4));
				assert_true((size_t)(p - before) <= HPACK_FIELD_MOST(name[i].n, value[i].n));
			}
			assert_int_equal(hpack_decode(&d, (struct str){ block, (size_t)(p - block) }, f),
					 HTTP2_FINE);
			if (f->over == HTTP2_FINE)
				assert_int_equal(f->count, n);
			for (unsigned i = 0; i < f->count && f->over == HTTP2_FINE; i++) {
				struct str got = hpack_name(f, &f->fields[i]);

				assert_int_equal(got.n, name[i].n);
				assert_memory_equal(got.p, name[i].p, got.n);
				got = hpack_value(f, &f->fields[i]);
				assert_int_equal(got.n, value[i].n);
				assert_memory_equal(got.p, value[i].p, got.n);
			}
			assert_int_equal(d.table.count, e.table.count);
			assert_int_equal(d.table.size, e.table.size);
		}
		hpack_encoder_free(&e);
		hpack_decoder_free(&d);
	}
}

/* More entries than a number tells apart: those that are held are all found, and nothing else is. */
static void
test_numbers_wrap(void **state)
{
	struct hpack_encoder e;
	struct hpack_decoder d;

	(void)state;
	hpack_encoder_init(&e, HPACK_ENCODER_MOST);
	hpack_decoder_init(&d, 4096);
	for (unsigned i = 0; i < 1500; i++) {
		struct hpack_fields *f = test_fields();
		char name[16], value[16];
		struct str got;

		for (unsigned k = 0; k < 2; k++) {
			snprintf(name, sizeof(name), "n%u", i % 7);
			snprintf(value, sizeof(value), "%u", i);
			assert_int_equal(hpack_decode(&d, encode(&e, name, value), f), HTTP2_FINE);
		}
		/* One of before. */
		snprintf(name, sizeof(name), "n%u", (i - i % 90) % 7);
		snprintf(value, sizeof(value), "%u", i - i % 90);
		assert_int_equal(hpack_decode(&d, encode(&e, name, value), f), HTTP2_FINE);
		got = hpack_value(f, &f->fields[0]);
		assert_true(str_eq(got, value));
		got = hpack_name(f, &f->fields[0]);
		assert_true(str_eq(got, name));
		assert_true(i < 90 || e.table.count > 80);
	}
	hpack_encoder_free(&e);
	hpack_decoder_free(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual_fields),
		cmocka_unit_test(test_what_is_not_indexed),
		cmocka_unit_test(test_table_sizes),
		cmocka_unit_test(test_random_fields_and_back),
		cmocka_unit_test(test_numbers_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
