/* test_hpack_huffman.c - the code of RFC 7541, appendix B: its vectors, all bytes, all padding, every
 * length of room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hash.h"
#include "guarded.h"
#include "hpack_text.h"
#include "proto/hpack_huffman.h"
#include "scaled.h"

static char out[65536];

static ptrdiff_t
decode(struct str in)
{
	return hpack_huffman_decode((struct str){ guarded(in.p, in.n), in.n }, out, sizeof(out));
}

static void
check_both(const char *hex, const char *text)
{
	struct str coded = from_hex(hex), plain = str_from(text);
	char again[256];

	assert_int_equal(decode(coded), plain.n);
	assert_memory_equal(out, plain.p, plain.n);
	assert_int_equal(hpack_huffman_size(plain), coded.n);
	assert_int_equal(hpack_huffman_encode(plain, again) - again, coded.n);
	assert_memory_equal(again, coded.p, coded.n);
}

/* Appendix C.4 and C.6. */
static void
test_the_vectors(void **state)
{
	(void)state;
	check_both("f1e3 c2e5 f23a 6ba0 ab90 f4ff", "www.example.com");
	check_both("a8eb 1064 9cbf", "no-cache");
	check_both("25a8 49e9 5ba9 7d7f", "custom-key");
	check_both("25a8 49e9 5bb8 e8b4 bf", "custom-value");
	check_both("6402", "302");
	check_both("aec3 771a 4b", "private");
	check_both("d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff", "Mon, 21 Oct 2013 20:13:21 GMT");
	check_both("9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3", "https://www.example.com");
	check_both("640e ff", "307");
	check_both("9bd9 ab", "gzip");
	check_both(
		"94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 "
		"b106 3d50 07",
		"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
	check_both("", "");
}

static void
test_random_text_and_back(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (unsigned round = 0; round < scaled(4000, 200000); round++) {
		char text[300], coded[1300];
		size_t n = random_next(&seed) % sizeof(text), size;
		bool printable = random_next(&seed) & 1;
		struct str plain = { text, n };

		for (size_t i = 0; i < n; i++)
			text[i] = (char)(printable ? ' ' + random_next(&seed) % 95 : random_next(&seed));
		size = hpack_huffman_size(plain);
		assert_int_equal(hpack_huffman_encode(plain, coded) - coded, size);
		assert_int_equal(decode((struct str){ coded, size }), n);
		assert_memory_equal(out, text, n);
	}
}

/* Every byte alone, and behind each number of bits. */
static void
test_every_byte_at_every_bit(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++)
		for (unsigned before = 0; before < 9; before++) {
			char text[16], coded[64];
			struct str plain = { text, before + 1 };

			memset(text, '0', before);	/* 5 bits each */
			text[before] = (char)c;
			hpack_huffman_encode(plain, coded);
			assert_int_equal(decode((struct str){ coded, hpack_huffman_size(plain) }),
					 before + 1);
			assert_memory_equal(out, text, before + 1);
		}
}

/* Section 5.2: of ones, and shorter than a byte. */
static void
test_wrong_padding(void **state)
{
	(void)state;
	assert_int_equal(decode(from_hex("1f")), 1);	/* "a" and 111 */
	assert_int_equal(decode(from_hex("1e")), -1);
	assert_int_equal(decode(from_hex("1b")), -1);
	assert_int_equal(decode(from_hex("18")), -1);
	assert_int_equal(decode(from_hex("ff")), -1);
	assert_int_equal(decode(from_hex("1fff")), -1);	/* "a" and 11 ones */
	assert_int_equal(decode(from_hex("1fff ffff ffff ffff ffff ffff")), -1);	/* EOS, early */
	assert_int_equal(decode(from_hex("ffff fffc")), -1);	/* EOS to the bit */
	assert_int_equal(decode(from_hex("ffff ffff")), -1);
	assert_int_equal(decode(from_hex("1fff ffff ff")), -1);
	/* EOS in the middle of much. */
	assert_int_equal(decode(from_hex("1863 0c61 8c31 8630 ffff ffff 1863 0c61 8c31 8630")), -1);
}

/* What finds no room is counted, and no byte of it written behind the room. */
static void
test_the_room(void **state)
{
	char text[400], coded[400];
	struct str plain = { text, sizeof(text) };
	size_t size;

	(void)state;
	memset(text, 'a', sizeof(text));
	size = hpack_huffman_size(plain);
	hpack_huffman_encode(plain, coded);
	for (size_t room = HPACK_HUFFMAN_SPARE; room < 500; room++) {
		char *place = malloc(room);

		assert_non_null(place);
		assert_int_equal(hpack_huffman_decode((struct str){ coded, size }, place, room),
				 sizeof(text));
		if (room >= sizeof(text) + HPACK_HUFFMAN_SPARE)
			assert_memory_equal(place, text, sizeof(text));
		free(place);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_vectors),
		cmocka_unit_test(test_random_text_and_back),
		cmocka_unit_test(test_every_byte_at_every_bit),
		cmocka_unit_test(test_wrong_padding),
		cmocka_unit_test(test_the_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
