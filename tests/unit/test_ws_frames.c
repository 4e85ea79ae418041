/* test_ws_frames.c - the ends of frames, at every cut of a stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/ws_frames.h"

/* A frame of that opcode and so many bytes, which are headers of other frames to who loses count; its length. */
static size_t
put_frame(char *out, uint8_t opcode, bool masked, uint64_t size)
{
	unsigned bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
	size_t n = 0;

	out[n++] = (char)(0x80 | opcode);
	out[n++] = (char)((masked ? 0x80 : 0) | (bytes == 0 ? size : bytes == 2 ? 126 : 127));
	for (unsigned i = 0; i < bytes; i++)
		out[n++] = (char)(size >> 8 * (bytes - 1 - i));
	for (unsigned i = 0; masked && i < 4; i++)
		out[n++] = (char)0x88;
	for (uint64_t i = 0; i < size; i++)
		out[n++] = (char)(i % 3 == 0 ? 0x88 : 0x7f);
	return n;
}

static void
test_every_cut(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 125, 126, 127, 65535, 65536, 70000 };
	char *stream = malloc(1 << 20);
	size_t ends[2 * 8], n = 0, count = 0;

	(void)state;
	assert_non_null(stream);
	for (int masked = 0; masked < 2; masked++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			n += put_frame(stream + n, (uint8_t)(i % 3), masked, sizes[i]);
			ends[count++] = n;
		}
	/* Byte by byte, and in two pieces around each of the first bytes of each frame. */
	for (size_t step = 1; step <= 4099; step = step == 1 ? 7 : step == 7 ? 4099 : 4100) {
		struct ws_frames f = { 0 };
		size_t end = 0;

		for (size_t at = 0; at < n;) {
			size_t k = step < n - at ? step : n - at;

			assert_int_equal(ws_frames_may_add(&f), at == 0 || (end > 0 && ends[end - 1] == at));
			ws_frames_follow(&f, stream + at, k);
			at += k;
			while (end < count && ends[end] <= at)
				end++;
			assert_false(f.closed);
		}
		assert_true(ws_frames_may_add(&f));
	}
	free(stream);
}

/* What is taken off unseen counts as what was looked at. */
static void
test_payload_that_is_not_looked_at(void **state)
{
	struct ws_frames f = { 0 };
	char frame[16];
	size_t n = put_frame(frame, 2, false, 0);

	(void)state;
	assert_int_equal(n, 2);
	ws_frames_follow(&f, "\x82\x7f\x00\x00\x00\x01\x00\x00\x00", 9);
	assert_int_equal(ws_frames_payload(&f), 0);
	assert_false(ws_frames_may_add(&f));
	ws_frames_follow(&f, "\x00x", 2);
	assert_int_equal(ws_frames_payload(&f), 0xffffffff);
	f.left -= 0xffffffff;
	assert_true(ws_frames_may_add(&f));
}

static void
test_nothing_follows_a_close(void **state)
{
	struct ws_frames f = { 0 };
	char frame[64];

	(void)state;
	ws_frames_follow(&f, frame, put_frame(frame, 9, false, 4));
	assert_true(ws_frames_may_add(&f));
	ws_frames_follow(&f, frame, put_frame(frame, 8, false, 2));
	assert_false(ws_frames_may_add(&f));
	ws_frames_follow(&f, frame, put_frame(frame, 1, false, 2));
	assert_false(ws_frames_may_add(&f));
}

/* What is sent is one that ends with its last byte. */
static void
test_the_close_frame(void **state)
{
	struct ws_frames f = { 0 };

	(void)state;
	assert_int_equal(sizeof(WS_GOING_AWAY_FRAME) - 1, WS_GOING_AWAY_BYTES);
	ws_frames_follow(&f, WS_GOING_AWAY_FRAME, WS_GOING_AWAY_BYTES);
	assert_true(f.closed && f.left == 0 && f.have == 0);
	assert_int_equal((uint8_t)WS_GOING_AWAY_FRAME[2] << 8 | (uint8_t)WS_GOING_AWAY_FRAME[3], WS_GOING_AWAY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_payload_that_is_not_looked_at),
		cmocka_unit_test(test_nothing_follows_a_close),
		cmocka_unit_test(test_the_close_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
