/* test_hpack_decoder.c - field blocks of RFC 7541 appendix C, every named fault, limits that keep
 * the table in step, and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hash.h"
#include "guarded.h"
#include "hpack_text.h"

static enum http2_reason
decode(struct hpack_decoder *d, struct hpack_fields *f, struct str block)
{
	return hpack_decode(d, (struct str){ guarded(block.p, block.n), block.n }, f);
}

static void
check_block(struct hpack_decoder *d, const char *hex, const char *lines, unsigned size)
{
	struct hpack_fields *f = test_fields();

	assert_int_equal(decode(d, f, from_hex(hex)), HTTP2_FINE);
	assert_int_equal(f->over, HTTP2_FINE);
	assert_lines(f, lines);
	assert_int_equal(d->table.size, size);
}

#define FIRST_REQUEST ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n"
#define THIRD_REQUEST \
	":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n"

/* Appendix C.2. */
static void
test_representations(void **state)
{
	struct hpack_decoder d;
	struct hpack_fields *f;

	(void)state;
	hpack_decoder_init(&d, 4096);
	check_block(&d, "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
		    "custom-key: custom-header\n", 55);
	hpack_decoder_free(&d);
	check_block(&d, "040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path\n", 0);
	check_block(&d, "1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\n", 0);
	f = test_fields();
	assert_true(f->fields[0].never);
	check_block(&d, "82", ":method: GET\n", 0);
	assert_false(f->fields[0].never);
	hpack_decoder_free(&d);
}

/* Appendix C.3 and C.4: three requests on one connection, plain and coded. */
static void
test_requests(void **state)
{
	struct hpack_decoder d;

	(void)state;
	hpack_decoder_init(&d, 4096);
	check_block(&d, "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", FIRST_REQUEST, 57);
	check_block(&d, "8286 84be 5808 6e6f 2d63 6163 6865", FIRST_REQUEST "cache-control: no-cache\n", 110);
	check_block(&d, "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
		    THIRD_REQUEST, 164);
	hpack_decoder_free(&d);
	check_block(&d, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", FIRST_REQUEST, 57);
	check_block(&d, "8286 84be 5886 a8eb 1064 9cbf", FIRST_REQUEST "cache-control: no-cache\n", 110);
	check_block(&d, "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", THIRD_REQUEST, 164);
	hpack_decoder_free(&d);
}

#define FIRST_RESPONSE \
	"cache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com\n"
#define THIRD_RESPONSE \
	":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n" \
	"location: https://www.example.com\ncontent-encoding: gzip\n" \
	"set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n"

/* Appendix C.5 and C.6: a table of 256 bytes, which evicts. */
static void
test_responses(void **state)
{
	struct hpack_decoder d;

	(void)state;
	hpack_decoder_init(&d, 256);
	check_block(
		&d,
		"4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 "
		"3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
		":status: 302\n" FIRST_RESPONSE, 222);
	check_block(&d, "4803 3330 37c1 c0bf", ":status: 307\n" FIRST_RESPONSE, 222);
	check_block(
		&d,
		"88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 "
		"7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 "
		"6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
		THIRD_RESPONSE, 215);
	hpack_decoder_free(&d);
	check_block(
		&d,
		"4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad "
		"1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
		":status: 302\n" FIRST_RESPONSE, 222);
	check_block(&d, "4883 640e ffc1 c0bf", ":status: 307\n" FIRST_RESPONSE, 222);
	check_block(
		&d,
		"88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 "
		"e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
		THIRD_RESPONSE, 215);
	hpack_decoder_free(&d);
}

static void
test_all_of_the_static_table(void **state)
{
	struct hpack_decoder d;
	struct hpack_fields *f = test_fields();
	char block[HPACK_STATIC];

	(void)state;
	hpack_decoder_init(&d, 4096);
	for (unsigned i = 0; i < HPACK_STATIC; i++)
		block[i] = (char)(0x81 + i);
	assert_int_equal(decode(&d, f, (struct str){ block, sizeof(block) }), HTTP2_FINE);
	assert_int_equal(f->count, HPACK_STATIC);
	assert_int_equal(f->fields[0].kind, HTTP2_FIELD_AUTHORITY);
	assert_int_equal(f->fields[31].kind, HTTP2_FIELD_COOKIE);
	assert_int_equal(f->fields[56].kind, HTTP2_FIELD_CONNECTION);
	for (unsigned i = 1; i <= HPACK_STATIC; i++) {
		struct str name = hpack_name(f, &f->fields[i - 1]);
		unsigned first = hpack_static_find(name);

		assert_true(first > 0 && first <= i);
		assert_int_equal(hpack_static[first].name_n, name.n);
	}
	assert_int_equal(hpack_static_find(STR("nothing")), 0);
	assert_int_equal(hpack_static_find(STR("")), 0);
	hpack_decoder_free(&d);
}

static void
test_faults(void **state)
{
	static const struct {
		const char *hex;
		enum http2_reason reason;
	} rows[] = {
		{ "80", HTTP2_HPACK_INDEX },	/* index 0 */
		{ "be", HTTP2_HPACK_INDEX },	/* 62, and the table is empty */
		{ "ff ff 7f", HTTP2_HPACK_INDEX },
		{ "7e 01 61", HTTP2_HPACK_INDEX },	/* name of entry 62 */
		{ "0f 80 01 01 61", HTTP2_HPACK_INDEX },
		{ "ff", HTTP2_HPACK_CUT },
		{ "ff 80", HTTP2_HPACK_CUT },
		{ "40", HTTP2_HPACK_CUT },
		{ "40 03 61", HTTP2_HPACK_CUT },
		{ "40 01 61", HTTP2_HPACK_CUT },
		{ "40 01 61 05 62", HTTP2_HPACK_CUT },
		{ "82 00 ff 80 80 80 01 61", HTTP2_HPACK_CUT },
		{ "ff 80 80 80 80 01", HTTP2_HPACK_INTEGER },
		{ "ff ff ff ff ff ff ff ff ff ff 7f", HTTP2_HPACK_INTEGER },
		{ "3f ff ff ff ff 0f", HTTP2_HPACK_INTEGER },
		{ "40 7f ff ff ff ff ff 01", HTTP2_HPACK_INTEGER },
		{ "04 81 ff", HTTP2_HPACK_HUFFMAN },
		{ "04 84 ff ff ff ff", HTTP2_HPACK_HUFFMAN },
		{ "00 81 18 01 61", HTTP2_HPACK_HUFFMAN },
		{ "3f e2 1f", HTTP2_HPACK_SIZE },	/* 4097 */
		{ "82 20", HTTP2_HPACK_SIZE_LATE },
		{ "82 3f e1 1f", HTTP2_HPACK_SIZE_LATE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct hpack_decoder d;

		hpack_decoder_init(&d, 4096);
		assert_int_equal(decode(&d, test_fields(), from_hex(rows[i].hex)), rows[i].reason);
		assert_int_equal(http2_reason_scope(rows[i].reason), HTTP2_OF_CONNECTION);
		assert_int_equal(http2_reason_code(rows[i].reason), HTTP2_COMPRESSION_ERROR);
		hpack_decoder_free(&d);
	}
}

/* Section 4.2: the size may shrink and grow at the beginning of a block, up to our limit; when that was lowered, it has to. */
static void
test_table_sizes(void **state)
{
	struct hpack_decoder d;
	struct hpack_fields *f = test_fields();

	(void)state;
	hpack_decoder_init(&d, 4096);
	check_block(&d, "40 01 61 01 62  40 01 63 01 64", "a: b\nc: d\n", 68);
	check_block(&d, "be bf", "c: d\na: b\n", 68);
	check_block(&d, "3f 03 be", "c: d\n", 34);	/* to 34 */
	assert_int_equal(decode(&d, f, from_hex("bf")), HTTP2_HPACK_INDEX);
	check_block(&d, "20 3f e1 1f", "", 0);	/* 0 and 4096 */
	assert_null(d.table.data);
	assert_int_equal(decode(&d, f, from_hex("be")), HTTP2_HPACK_INDEX);
	check_block(&d, "40 01 61 01 62", "a: b\n", 34);

	/* Lowered to what it is not above: nothing need be said. */
	check_block(&d, "3f 45 be", "a: b\n", 34);	/* 100 */
	hpack_decoder_limit(&d, 200);
	check_block(&d, "be", "a: b\n", 34);
	hpack_decoder_limit(&d, 60);
	assert_int_equal(decode(&d, f, from_hex("")), HTTP2_HPACK_SIZE_MISSING);
	assert_int_equal(decode(&d, f, from_hex("be")), HTTP2_HPACK_SIZE_MISSING);
	assert_int_equal(decode(&d, f, from_hex("3f 45 be")), HTTP2_HPACK_SIZE);
	check_block(&d, "3f 1d be", "a: b\n", 34);	/* 60 */
	check_block(&d, "be", "a: b\n", 34);
	hpack_decoder_free(&d);
}

/* Section 4.4: an entry larger than the table empties it; one whose name is evicted by its own coming still has it. */
static void
test_eviction(void **state)
{
	struct hpack_decoder d;

	(void)state;
	hpack_decoder_init(&d, 70);
	check_block(&d, "40 01 61 01 62  40 01 63 01 64", "a: b\nc: d\n", 68);
	/* The name of the older, 63, with a longer value: both go. */
	check_block(&d, "7f 00 14 30313233343536373839 30313233343536373839", "a: 01234567890123456789\n",
		    53);
	check_block(&d, "be", "a: 01234567890123456789\n", 53);
	check_block(
		&d,
		"40 01 7a 26 3031323334353637383930313233343536373839303132333435363738393031323334353637",
		"z: 01234567890123456789012345678901234567\n", 0);
	hpack_decoder_free(&d);
}

/* Whole blocks at random against a table that is kept in the plainest way. */
static void
test_many_entries(void **state)
{
	struct hpack_decoder d;
	struct hpack_fields *f = test_fields();
	char names[400][24], values[400][64];
	uint64_t seed = 3;
	unsigned n = 0;

	(void)state;
	hpack_decoder_init(&d, 1024);
	for (unsigned round = 0; round < 400; round++) {
		char block[128];
		size_t at = 0, held = 0;
		unsigned age = 0;

		snprintf(names[n], sizeof(names[n]), "x-%u", round);
		memset(values[n], 'v', sizeof(values[n]));
		values[n][random_next(&seed) % 40] = '\0';
		block[at++] = 0x40;
		block[at++] = (char)strlen(names[n]);
		at += (size_t)sprintf(block + at, "%s", names[n]);
		block[at++] = (char)strlen(values[n]);
		at += (size_t)sprintf(block + at, "%s", values[n]);
		n++;
		assert_int_equal(decode(&d, f, (struct str){ block, at }), HTTP2_FINE);
		/* Each that is held, from the newest. */
		for (; age < n; age++) {
			size_t size = strlen(names[n - 1 - age]) + strlen(values[n - 1 - age]) + HPACK_ENTRY;
			char index = (char)(0x80 | (HPACK_STATIC + 1 + age));

			if (held + size > 1024)
				break;
			held += size;
			assert_int_equal(decode(&d, f, (struct str){ &index, 1 }), HTTP2_FINE);
			assert_int_equal(f->count, 1);
			assert_true(str_eq(hpack_name(f, f->fields), names[n - 1 - age]));
			assert_true(str_eq(hpack_value(f, f->fields), values[n - 1 - age]));
		}
		assert_int_equal(d.table.size, held);
		assert_int_equal(d.table.count, age);
	}
	/* No more memory than it counts. */
	assert_true(d.table.cap + d.table.places * sizeof(struct hpack_entry) <= 1024 + 512);
	hpack_decoder_free(&d);
}

/* Beyond the limits fields are void, but what they leave in the table is there. */
static void
test_limits(void **state)
{
	struct hpack_decoder d;
	struct hpack_fields *f;

	(void)state;
	hpack_decoder_init(&d, 4096);
	f = test_fields();
	f->max_fields = 2;
	assert_int_equal(decode(&d, f, from_hex("82 86 84 40 01 61 01 62")), HTTP2_FINE);
	assert_int_equal(f->over, HTTP2_FIELDS_MANY);
	assert_int_equal(f->size, 42 + 43 + 38 + 34);
	check_block(&d, "be", "a: b\n", 34);
	/* To the byte. */
	f = test_fields();
	f->max_size = 42;
	assert_int_equal(decode(&d, f, from_hex("82")), HTTP2_FINE);
	assert_int_equal(f->over, HTTP2_FINE);
	f->max_size = 41;
	assert_int_equal(decode(&d, f, from_hex("82 40 01 63 01 64")), HTTP2_FINE);
	assert_int_equal(f->over, HTTP2_FIELDS_LARGE);
	check_block(&d, "be bf", "c: d\na: b\n", 68);
	/* Also an index that is not there is still found. */
	f = test_fields();
	f->max_fields = 1;
	assert_int_equal(decode(&d, f, from_hex("82 82 c0")), HTTP2_HPACK_INDEX);
	hpack_decoder_free(&d);
}

/* An integer of any size behind a prefix of bits. */
static size_t
put_number(char *out, unsigned pattern, unsigned bits, size_t value)
{
	size_t most = (1u << bits) - 1, n = 0;

	if (value < most) {
		out[n++] = (char)(pattern | value);
		return n;
	}
	out[n++] = (char)(pattern | most);
	for (value -= most; value >= 128; value >>= 7)
		out[n++] = (char)(value | 128);
	out[n++] = (char)value;
	return n;
}

/* Literals of all lengths around each limit, entering the table, plain and coded; each time the entry that was
 * there before is there afterwards, or is gone as it must be. */
static void
test_large_literals(void **state)
{
	static const size_t sizes[] = { 0,     1,     126,   127,   128,   4062,  4063, 4064,
					16000, 16383, 16384, 33000, 65535, 65536, 90000 };
	char *block = malloc(400000);

	(void)state;
	assert_non_null(block);
	for (unsigned coded = 0; coded < 2; coded++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
			for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
				size_t name = sizes[i], value = sizes[k], n = 0;
				struct hpack_fields *f = test_fields();
				struct hpack_decoder d;
				bool fits = name + value + HPACK_ENTRY <= TEST_SIZE;
				bool enters = name + value + HPACK_ENTRY <= 4096;

				hpack_decoder_init(&d, 4096);
				block[n++] = 0x40;
				/* '&' has 8 bits. */
				n += put_number(block + n, coded ? 0x80 : 0, 7, name);
				memset(block + n, coded ? (char)0xf8 : 'a', name);
				n += name;
				n += put_number(block + n, coded ? 0x80 : 0, 7, value);
				memset(block + n, coded ? (char)0xf8 : 'a', value);
				n += value;
				assert_int_equal(hpack_decode(&d, (struct str){ block, n }, f), HTTP2_FINE);
				assert_int_equal(f->over, fits ? HTTP2_FINE : HTTP2_FIELDS_LARGE);
				assert_int_equal(f->size, name + value + HPACK_ENTRY);
				assert_int_equal(d.table.count, enters);
				assert_int_equal(f->count, fits);
				if (fits) {
					assert_int_equal(f->fields[0].name_n, name);
					assert_int_equal(f->fields[0].value_n, value);
				}
				if (enters) {
					assert_int_equal(decode(&d, f, from_hex("be")), HTTP2_FINE);
					assert_int_equal(f->fields[0].name_n, name);
					assert_int_equal(f->fields[0].value_n, value);
				}
				hpack_decoder_free(&d);
			}
	free(block);
}

/* What a field is, when its name comes from an entry that was malformed. */
static void
test_kinds_of_entries(void **state)
{
	struct hpack_decoder d;
	struct hpack_fields *f = test_fields();

	(void)state;
	hpack_decoder_init(&d, 4096);
	assert_int_equal(decode(&d, f, from_hex("60 02 0a 61")), HTTP2_FINE);	/* cookie: \na */
	assert_int_equal(f->fields[0].kind, HTTP2_FIELD_VALUE_BAD);
	assert_int_equal(decode(&d, f, from_hex("be 7e 01 61")),
			 HTTP2_FINE);	/* it again; its name, with "a" */
	assert_int_equal(f->fields[0].kind, HTTP2_FIELD_VALUE_BAD);
	assert_int_equal(f->fields[1].kind, HTTP2_FIELD_COOKIE);
	assert_int_equal(decode(&d, f, from_hex("40 02 54 65 01 61")), HTTP2_FINE);	/* "Te" */
	assert_int_equal(f->fields[0].kind, HTTP2_FIELD_NAME_UPPER);
	assert_int_equal(decode(&d, f, from_hex("7e 01 62")), HTTP2_FINE);
	assert_int_equal(f->fields[0].kind, HTTP2_FIELD_NAME_UPPER);
	hpack_decoder_free(&d);
}

/* Cut anywhere, a block is cut or a shorter one; no byte behind it is read. */
static void
test_every_cut(void **state)
{
	struct str whole = from_hex(
		"8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff 40 88 25a8 49e9 5ba9 7d7f 89 25a8 49e9 5bb8 e8b4 bf "
		"0f0d 83 640e ff 1f 08 02 6162 0003 6162 6302 6465");

	(void)state;
	for (size_t n = 0; n <= whole.n; n++) {
		struct hpack_decoder d;
		enum http2_reason reason;

		hpack_decoder_init(&d, 4096);
		reason = decode(&d, test_fields(), (struct str){ whole.p, n });
		assert_true(reason == HTTP2_FINE || reason == HTTP2_HPACK_CUT);
		assert_true(n < whole.n || reason == HTTP2_FINE);
		hpack_decoder_free(&d);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_representations),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_all_of_the_static_table),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_table_sizes),
		cmocka_unit_test(test_eviction),
		cmocka_unit_test(test_many_entries),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_large_literals),
		cmocka_unit_test(test_kinds_of_entries),
		cmocka_unit_test(test_every_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
