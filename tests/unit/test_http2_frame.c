/* test_http2_frame.c - each type of frame against the rules of RFC 9113 section 6, and what is written read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guarded.h"
#include "proto/http2_frame.h"

static struct http2_frame
frame(enum http2_type type, uint8_t flags, uint32_t stream, uint32_t length)
{
	return (struct http2_frame){
		.type = (uint8_t)type, .flags = flags, .stream = stream, .length = length
	};
}

static void
test_heads(void **state)
{
	char bytes[HTTP2_FRAME_HEAD];
	struct http2_frame f;

	(void)state;
	http2_put_head(bytes, 0xabcdef, HTTP2_HEADERS, HTTP2_F_END_HEADERS | HTTP2_F_PADDED, 0x7fffffff);
	f = http2_frame_read(guarded(bytes, sizeof(bytes)));
	assert_int_equal(f.length, 0xabcdef);
	assert_int_equal(f.type, HTTP2_HEADERS);
	assert_int_equal(f.flags, 0x0c);
	assert_int_equal(f.stream, 0x7fffffff);
	/* The reserved bit means nothing (section 4.1). */
	bytes[5] = (char)0x80;
	bytes[6] = bytes[7] = 0;
	bytes[8] = 3;
	assert_int_equal(http2_frame_read(bytes).stream, 3);
}

static void
test_by_head_alone(void **state)
{
	static const struct {
		struct http2_frame f;
		enum http2_reason reason;
	} rows[] = {
		{ { 0, 1, HTTP2_DATA, 0 }, HTTP2_FINE },
		{ { 16384, 1, HTTP2_DATA, 0xff }, HTTP2_FINE },
		{ { 16385, 1, HTTP2_DATA, 0 }, HTTP2_FRAME_LONG },
		{ { 0, 0, HTTP2_DATA, 0 }, HTTP2_STREAM_ZERO },
		{ { 0, 1, HTTP2_DATA, HTTP2_F_PADDED }, HTTP2_FRAME_SIZE },
		{ { 1, 1, HTTP2_DATA, HTTP2_F_PADDED }, HTTP2_FINE },
		{ { 0, 0, HTTP2_HEADERS, 0 }, HTTP2_STREAM_ZERO },
		{ { 4, 1, HTTP2_HEADERS, HTTP2_F_PRIORITY }, HTTP2_FRAME_SIZE },
		{ { 5, 1, HTTP2_HEADERS, HTTP2_F_PRIORITY }, HTTP2_FINE },
		{ { 5, 1, HTTP2_HEADERS, HTTP2_F_PRIORITY | HTTP2_F_PADDED }, HTTP2_FRAME_SIZE },
		{ { 6, 1, HTTP2_HEADERS, HTTP2_F_PRIORITY | HTTP2_F_PADDED }, HTTP2_FINE },
		{ { 16385, 1, HTTP2_HEADERS, 0 }, HTTP2_FRAME_LONG },
		{ { 5, 1, HTTP2_PRIORITY, 0 }, HTTP2_FINE },
		{ { 5, 0, HTTP2_PRIORITY, 0 }, HTTP2_STREAM_ZERO },
		{ { 4, 1, HTTP2_PRIORITY, 0 }, HTTP2_PRIORITY_SIZE },
		{ { 6, 1, HTTP2_PRIORITY, 0 }, HTTP2_PRIORITY_SIZE },
		{ { 4, 1, HTTP2_RST_STREAM, 0 }, HTTP2_FINE },
		{ { 4, 0, HTTP2_RST_STREAM, 0 }, HTTP2_STREAM_ZERO },
		{ { 3, 1, HTTP2_RST_STREAM, 0 }, HTTP2_FRAME_SIZE },
		{ { 5, 1, HTTP2_RST_STREAM, 0 }, HTTP2_FRAME_SIZE },
		{ { 0, 0, HTTP2_SETTINGS, 0 }, HTTP2_FINE },
		{ { 12, 0, HTTP2_SETTINGS, 0 }, HTTP2_FINE },
		{ { 5, 0, HTTP2_SETTINGS, 0 }, HTTP2_FRAME_SIZE },
		{ { 7, 0, HTTP2_SETTINGS, 0 }, HTTP2_FRAME_SIZE },
		{ { 0, 1, HTTP2_SETTINGS, 0 }, HTTP2_STREAM_NOT_ZERO },
		{ { 0, 0, HTTP2_SETTINGS, HTTP2_F_ACK }, HTTP2_FINE },
		{ { 6, 0, HTTP2_SETTINGS, HTTP2_F_ACK }, HTTP2_FRAME_SIZE },
		{ { 8, 0, HTTP2_PING, 0 }, HTTP2_FINE },
		{ { 7, 0, HTTP2_PING, 0 }, HTTP2_FRAME_SIZE },
		{ { 9, 0, HTTP2_PING, HTTP2_F_ACK }, HTTP2_FRAME_SIZE },
		{ { 8, 1, HTTP2_PING, 0 }, HTTP2_STREAM_NOT_ZERO },
		{ { 8, 0, HTTP2_GOAWAY, 0 }, HTTP2_FINE },
		{ { 100, 0, HTTP2_GOAWAY, 0 }, HTTP2_FINE },
		{ { 7, 0, HTTP2_GOAWAY, 0 }, HTTP2_FRAME_SIZE },
		{ { 8, 1, HTTP2_GOAWAY, 0 }, HTTP2_STREAM_NOT_ZERO },
		{ { 4, 0, HTTP2_WINDOW_UPDATE, 0 }, HTTP2_FINE },
		{ { 4, 1, HTTP2_WINDOW_UPDATE, 0 }, HTTP2_FINE },
		{ { 3, 1, HTTP2_WINDOW_UPDATE, 0 }, HTTP2_FRAME_SIZE },
		{ { 5, 0, HTTP2_WINDOW_UPDATE, 0 }, HTTP2_FRAME_SIZE },
		{ { 0, 1, HTTP2_CONTINUATION, 0 }, HTTP2_FINE },
		{ { 0, 0, HTTP2_CONTINUATION, 0 }, HTTP2_STREAM_ZERO },
		{ { 4, 1, HTTP2_PUSH, 0 }, HTTP2_FINE },
		{ { 4, 0, HTTP2_PUSH, 0 }, HTTP2_STREAM_ZERO },
		{ { 16384, 77, 0x16, 0xff }, HTTP2_FINE },	/* unknown (section 5.5) */
		{ { 0, 0, 0xff, 0xff }, HTTP2_FINE },
		{ { 16385, 0, 0xff, 0xff }, HTTP2_FRAME_LONG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(http2_frame_check(&rows[i].f, HTTP2_FRAME_DEFAULT), rows[i].reason);
}

static enum http2_reason
read_headers(uint8_t flags, const char *payload, size_t n, const char *expected)
{
	struct http2_frame f = frame(HTTP2_HEADERS, flags, 5, (uint32_t)n);
	enum http2_reason reason;
	struct str fragment = { "", 0 };

	assert_int_equal(http2_frame_check(&f, HTTP2_FRAME_DEFAULT), HTTP2_FINE);
	reason = http2_headers_read(&f, (struct str){ guarded(payload, n), n }, &fragment);
	if (expected != NULL) {
		assert_int_equal(fragment.n, strlen(expected));
		assert_memory_equal(fragment.p, expected, fragment.n);
	}
	return reason;
}

static void
test_fragments(void **state)
{
	const uint8_t both = HTTP2_F_PADDED | HTTP2_F_PRIORITY;

	(void)state;
	assert_int_equal(read_headers(0, "abc", 3, "abc"), HTTP2_FINE);
	assert_int_equal(read_headers(0, "", 0, ""), HTTP2_FINE);
	assert_int_equal(read_headers(HTTP2_F_PADDED, "\2abc\0\0", 6, "abc"), HTTP2_FINE);
	assert_int_equal(read_headers(HTTP2_F_PADDED, "\0", 1, ""), HTTP2_FINE);
	assert_int_equal(read_headers(HTTP2_F_PADDED, "\3\0\0\0", 4, ""), HTTP2_FINE);
	assert_int_equal(read_headers(HTTP2_F_PADDED, "\4\0\0\0", 4, NULL), HTTP2_PADDING_LONG);
	assert_int_equal(read_headers(HTTP2_F_PADDED, "\xff", 1, NULL), HTTP2_PADDING_LONG);
	assert_int_equal(read_headers(HTTP2_F_PRIORITY, "\0\0\0\3\20abc", 8, "abc"), HTTP2_FINE);
	assert_int_equal(read_headers(HTTP2_F_PRIORITY, "\x80\0\0\5\20abc", 8, "abc"), HTTP2_PRIORITY_SELF);
	assert_int_equal(read_headers(both, "\1\0\0\0\3\20abc\0", 10, "abc"), HTTP2_FINE);
	assert_int_equal(read_headers(both, "\4\0\0\0\3\20abc\0", 10, ""), HTTP2_FINE);
	assert_int_equal(read_headers(both, "\5\0\0\0\3\20abc\0", 10, NULL), HTTP2_PADDING_LONG);
	/* A flag that the type does not have. */
	assert_int_equal(read_headers(0xff & ~both, "abc", 3, "abc"), HTTP2_FINE);
}

static void
test_padding_of_data(void **state)
{
	struct http2_frame f = frame(HTTP2_DATA, HTTP2_F_PADDED, 1, 10);
	uint32_t content;

	(void)state;
	assert_int_equal(http2_frame_padding(&f, 0, &content), HTTP2_FINE);
	assert_int_equal(content, 9);
	assert_int_equal(http2_frame_padding(&f, 9, &content), HTTP2_FINE);
	assert_int_equal(content, 0);
	assert_int_equal(http2_frame_padding(&f, 10, &content), HTTP2_PADDING_LONG);
	f.flags = HTTP2_F_END_STREAM | HTTP2_F_PRIORITY;
	assert_int_equal(http2_frame_padding(&f, 77, &content), HTTP2_FINE);
	assert_int_equal(content, 10);
}

static void
test_small_frames(void **state)
{
	struct http2_frame f = frame(HTTP2_PRIORITY, 0, 7, 5);
	struct http2_goaway g;
	uint32_t increment;

	(void)state;
	assert_int_equal(http2_priority_read(&f, "\0\0\0\1\0"), HTTP2_FINE);
	assert_int_equal(http2_priority_read(&f, "\x80\0\0\7\0"), HTTP2_PRIORITY_SELF);
	f = frame(HTTP2_WINDOW_UPDATE, 0, 7, 4);
	assert_int_equal(http2_window_read(&f, "\xff\xff\xff\xff", &increment), HTTP2_FINE);
	assert_int_equal(increment, HTTP2_WINDOW_MOST);
	assert_int_equal(http2_window_read(&f, "\x80\0\0\0", &increment), HTTP2_WINDOW_ZERO);
	f.stream = 0;
	assert_int_equal(http2_window_read(&f, "\0\0\0\0", &increment), HTTP2_WINDOW_ZERO_ALL);
	http2_goaway_read((struct str){ "\x80\0\0\5\0\0\0\x0b"
					"bye",
					11 },
			  &g);
	assert_int_equal(g.last, 5);
	assert_int_equal(g.code, HTTP2_ENHANCE_YOUR_CALM);
	assert_true(str_eq(g.debug, "bye"));
}

static enum http2_reason
take_settings(struct http2_settings *s, bool from_server, const char *payload, size_t n)
{
	return http2_settings_read(s, from_server, (struct str){ guarded(payload, n), n });
}

static void
test_settings(void **state)
{
	struct http2_settings s = HTTP2_SETTINGS_INITIAL;

	(void)state;
#define SET(id, a, b, c, d) "\0" id a b c d
	assert_int_equal(take_settings(&s, false, "", 0), HTTP2_FINE);
	assert_int_equal(s.table_least, 4096);
	assert_int_equal(
		take_settings(&s, false,
			      SET("\1", "\0", "\0", "\0", "\x64") SET("\1", "\0", "\0", "\x20", "\0")
				      SET("\2", "\0", "\0", "\0", "\0") SET("\3", "\0", "\0", "\0", "\0")
					      SET("\4", "\x7f", "\xff", "\xff",
						  "\xff") SET("\5", "\0", "\xff", "\xff", "\xff")
						      SET("\6", "\0", "\1", "\0", "\0") SET("\x8", "\0", "\0",
											    "\0", "\1")
							      SET("\x77", "\xff", "\xff", "\xff", "\xff"),
			      54),
		HTTP2_FINE);
	assert_int_equal(s.table, 0x2000);
	assert_int_equal(s.table_least, 0x64);
	assert_false(s.push);
	assert_int_equal(s.streams, 0);
	assert_int_equal(s.window, HTTP2_WINDOW_MOST);
	assert_int_equal(s.frame, HTTP2_FRAME_MOST);
	assert_int_equal(s.fields, 0x10000);
	assert_true(s.connect);
	assert_int_equal(take_settings(&s, false, SET("\2", "\0", "\0", "\0", "\2"), 6),
			 HTTP2_SETTINGS_VALUE);
	assert_int_equal(take_settings(&s, false, SET("\2", "\0", "\0", "\0", "\1"), 6), HTTP2_FINE);
	assert_int_equal(take_settings(&s, true, SET("\2", "\0", "\0", "\0", "\1"), 6), HTTP2_SETTINGS_VALUE);
	assert_int_equal(take_settings(&s, true, SET("\2", "\0", "\0", "\0", "\0"), 6), HTTP2_FINE);
	assert_int_equal(take_settings(&s, false, SET("\4", "\x80", "\0", "\0", "\0"), 6),
			 HTTP2_SETTINGS_WINDOW);
	assert_int_equal(take_settings(&s, false, SET("\5", "\0", "\0", "\x3f", "\xff"), 6),
			 HTTP2_SETTINGS_VALUE);
	assert_int_equal(take_settings(&s, false, SET("\5", "\0", "\0", "\x40", "\0"), 6), HTTP2_FINE);
	assert_int_equal(take_settings(&s, false, SET("\5", "\1", "\0", "\0", "\0"), 6),
			 HTTP2_SETTINGS_VALUE);
	assert_int_equal(take_settings(&s, false, SET("\x8", "\0", "\0", "\0", "\2"), 6),
			 HTTP2_SETTINGS_VALUE);
	/* Once said, it stays (RFC 8441 section 3). */
	assert_int_equal(take_settings(&s, false, SET("\x8", "\0", "\0", "\0", "\0"), 6),
			 HTTP2_SETTINGS_VALUE);
	assert_int_equal(take_settings(&s, false, SET("\x9", "\0", "\0", "\0", "\2"), 6),
			 HTTP2_SETTINGS_VALUE);
	assert_int_equal(take_settings(&s, false, SET("\x9", "\0", "\0", "\0", "\1"), 6), HTTP2_FINE);
	assert_int_equal(http2_reason_code(HTTP2_SETTINGS_WINDOW), HTTP2_FLOW_CONTROL_ERROR);
#undef SET
}

/* What is written is read as what it was, and takes the bytes that it says. */
static void
test_written_and_read(void **state)
{
	const struct http2_settings ours = { .table = 8192,
					     .table_least = 8192,
					     .streams = 100,
					     .window = 1 << 20,
					     .frame = 65536,
					     .fields = 65536,
					     .push = false,
					     .connect = true };
	struct http2_settings theirs = HTTP2_SETTINGS_INITIAL;
	struct http2_frame f;
	struct http2_goaway g;
	char out[200];
	uint32_t increment;

	(void)state;
	assert_int_equal(http2_put_settings(out, &ours) - out, HTTP2_SETTINGS_BYTES);
	f = http2_frame_read(out);
	assert_int_equal(http2_frame_check(&f, HTTP2_FRAME_DEFAULT), HTTP2_FINE);
	assert_int_equal(http2_settings_read(&theirs, true, (struct str){ out + 9, f.length }), HTTP2_FINE);
	assert_true(theirs.table == 8192 && theirs.table_least == 8192 && theirs.streams == 100);
	assert_true(theirs.window == 1 << 20 && theirs.frame == 65536 && theirs.fields == 65536);
	assert_true(!theirs.push && theirs.connect);
	assert_int_equal(http2_put_settings(out, &HTTP2_SETTINGS_INITIAL) - out, HTTP2_FRAME_HEAD + 6);
	assert_int_equal(http2_put_settings_ack(out) - out, HTTP2_SETTINGS_ACK_BYTES);
	assert_memory_equal(out, "\0\0\0\4\1\0\0\0\0", 9);
	assert_int_equal(http2_put_rst_stream(out, 3, HTTP2_CANCEL) - out, HTTP2_RST_STREAM_BYTES);
	assert_memory_equal(out, "\0\0\4\3\0\0\0\0\3\0\0\0\x8", 13);
	assert_int_equal(http2_put_ping(out, "12345678", true) - out, HTTP2_PING_BYTES);
	assert_memory_equal(out,
			    "\0\0\x8\6\1\0\0\0\0"
			    "12345678",
			    17);
	assert_int_equal(http2_put_window_update(out, 9, 0x12345) - out, HTTP2_WINDOW_UPDATE_BYTES);
	f = http2_frame_read(out);
	assert_int_equal(http2_window_read(&f, out + 9, &increment), HTTP2_FINE);
	assert_int_equal(increment, 0x12345);
	assert_int_equal(http2_put_goaway(out, 11, HTTP2_PROTOCOL_ERROR, STR("why")) - out,
			 HTTP2_GOAWAY_BYTES(STR("why")));
	f = http2_frame_read(out);
	assert_int_equal(http2_frame_check(&f, HTTP2_FRAME_DEFAULT), HTTP2_FINE);
	http2_goaway_read((struct str){ out + 9, f.length }, &g);
	assert_true(g.last == 11 && g.code == HTTP2_PROTOCOL_ERROR && str_eq(g.debug, "why"));
}

/* A block of each length around the peer's largest frame comes whole out of its frames. */
static void
test_blocks_in_frames(void **state)
{
	static const size_t sizes[] = { 0, 1, 99, 100, 101, 199, 200, 201, 299, 300, 301, 1000 };
	const uint32_t most = 100;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t n = sizes[i], room = HTTP2_HEADERS_BYTES(n, most), bytes, got = 0, at = 0;
		char *out = malloc(room), again[1000];
		struct http2_frame f;

		assert_non_null(out);
		for (size_t k = 0; k < n; k++)
			out[HTTP2_FRAME_HEAD + k] = (char)(k % 251);
		bytes = http2_frame_block(out, n, 5, true, most);
		assert_true(bytes <= room);
		do {
			f = http2_frame_read(out + at);
			assert_int_equal(f.type, at == 0 ? HTTP2_HEADERS : HTTP2_CONTINUATION);
			assert_int_equal(f.stream, 5);
			assert_int_equal(f.flags & HTTP2_F_END_STREAM, at == 0 ? HTTP2_F_END_STREAM : 0);
			assert_int_equal(http2_frame_check(&f, most), HTTP2_FINE);
			memcpy(again + got, out + at + HTTP2_FRAME_HEAD, f.length);
			got += f.length;
			at += HTTP2_FRAME_HEAD + f.length;
		} while (!(f.flags & HTTP2_F_END_HEADERS));
		assert_int_equal(at, bytes);
		assert_int_equal(got, n);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(again[k], (char)(k % 251));
		free(out);
	}
}

static void
test_words(void **state)
{
	(void)state;
	assert_string_equal(http2_type_word(HTTP2_PUSH), "PUSH_PROMISE");
	assert_string_equal(http2_type_word(0x16), "UNKNOWN");
	assert_string_equal(http2_code_word(0xb), "ENHANCE_YOUR_CALM");
	assert_string_equal(http2_code_word(0xe), "UNKNOWN");
	/* The words of the table are labels, each of its own. */
	for (unsigned i = 0; i < HTTP2_REASONS; i++) {
		const char *word = http2_reason_word((enum http2_reason)i);

		assert_int_equal(strspn(word, "abcdefghijklmnopqrstuvwxyz_"), strlen(word));
		assert_true(http2_reason_words((enum http2_reason)i)[0] != '\0');
		assert_int_equal(http2_reason_code((enum http2_reason)i) == HTTP2_NO_ERROR, i == HTTP2_FINE);
		assert_true(http2_reason_status((enum http2_reason)i) == 0 ||
			    http2_reason_scope((enum http2_reason)i) == HTTP2_OF_STREAM);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(word, http2_reason_word((enum http2_reason)k));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_by_head_alone),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_padding_of_data),
		cmocka_unit_test(test_small_frames),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_written_and_read),
		cmocka_unit_test(test_blocks_in_frames),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
