/* test_probe_grpc.c - answers to a check by gRPC, whole and at every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <string.h>

#include "base/check.h"
#include "control/probe_grpc.h"
#include "proto/http2_frame.h"

/* Frames by hand: length, type, flags, stream. */
#define SETTINGS "\0\0\0\x04\0\0\0\0\0"
#define HEADS(length, flags) "\0\0" length "\x01" flags "\0\0\0\x01"
#define MESSAGE "\0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08"
/* ":status 200", "content-type: application/grpc" and "grpc-status: N" as literals that are not indexed. */
#define TYPE "\x0f\x10\x10" "application/grpc"
#define HEAD HEADS("\x14", "\x04") "\x88" TYPE
#define STATUS(n) "\0\x0bgrpc-status\x01" n
#define TRAILER(n) HEADS("\x0f", "\x05") STATUS(n)
#define ONLY(n) HEADS("\x23", "\x05") "\x88" TYPE STATUS(n)
#define PING "\0\0\x08\x06\0\0\0\0\0" "12345678"
#define GOAWAY(code) "\0\0\x0b\x07\0\0\0\0\0\0\0\0\0\0\0\0" code "why"
#define LITERAL(s) s, sizeof(s) - 1

static const struct {
	const char *bytes;
	size_t n;
	const char *error;	/* NULL: it is serving */
} rows[] = {
	{ LITERAL(SETTINGS HEAD MESSAGE "\x01" TRAILER("0")), NULL },
	{ LITERAL(SETTINGS PING HEAD PING MESSAGE "\x01" PING TRAILER("0")), NULL },
	{ LITERAL(SETTINGS HEAD MESSAGE "\x02" TRAILER("0")), "answers NOT_SERVING" },
	{ LITERAL(SETTINGS HEAD MESSAGE "\0" TRAILER("0")), "answers UNKNOWN" },
	{ LITERAL(SETTINGS HEAD TRAILER("0")), "no message in its answer" },
	{ LITERAL(SETTINGS HEAD MESSAGE "\x01" TRAILER("2")), "grpc-status 2 UNKNOWN" },
	{ LITERAL(SETTINGS ONLY("5")), "grpc-status 5 NOT_FOUND: it does not know health.service" },
	{ LITERAL(SETTINGS ONLY("x")), "grpc-status \"x\" is none" },
	{ LITERAL(SETTINGS HEADS("\x14", "\x05") "\x88" TYPE), "ended its answer without a grpc-status" },
	{ LITERAL(SETTINGS HEADS("\x01", "\x05") "\x8d"), "HTTP status 404" },
	{ LITERAL(SETTINGS HEADS("\x01", "\x05") "\x88"), "no answer of gRPC: its Content-Type is \"\"" },
	{ LITERAL(SETTINGS HEADS("\x13", "\x05") TYPE), "HTTP/2: no :status of three digits from 100 to 599, or 101" },
	{ LITERAL(SETTINGS HEADS("\x06", "\x05") "\x88\0\x01" "A\x01" "b"), "HTTP/2: malformed field \"A\"" },
	{ LITERAL(SETTINGS HEADS("\x01", "\x04") "\xff"), "HTTP/2: field block cut short" },
	{ LITERAL(SETTINGS HEAD HEADS("\x0f", "\x04") STATUS("0")), "HTTP/2: second HEADERS that do not end the stream" },
	{ LITERAL(SETTINGS HEADS("\x01", "\0") "\x88" PING), "HTTP/2: another frame within a field block" },
	{ LITERAL(SETTINGS "\0\0\0\x09\x04\0\0\0\x01"), "HTTP/2: CONTINUATION without a field block" },
	{ LITERAL(SETTINGS MESSAGE "\x01"), "HTTP/2: frame on a stream that was never opened" },
	{ LITERAL(SETTINGS "\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07"), "RST_STREAM REFUSED_STREAM" },
	{ LITERAL(SETTINGS GOAWAY("\x0b")), "GOAWAY ENHANCE_YOUR_CALM: \"why\"" },
	{ LITERAL(SETTINGS GOAWAY("\0")), "GOAWAY NO_ERROR: \"why\"" },
	{ LITERAL(SETTINGS "\0\0\x04\x05\x04\0\0\0\x01\0\0\0\x02"), "HTTP/2: PUSH_PROMISE, which was never allowed" },
	{ LITERAL(SETTINGS "\0\0\x04\x08\0\0\0\0\0\0\0\0\0"), "HTTP/2: WINDOW_UPDATE of 0 on the connection" },
	{ LITERAL(SETTINGS "\0\x40\x01\0\0\0\0\0\x01"), "HTTP/2: frame longer than SETTINGS_MAX_FRAME_SIZE" },
	{ LITERAL("HTTP/1.1 400 Bad Request\r\n\r\n"), "answers in HTTP/1, not HTTP/2: \"HTTP/1.1 400 Bad Request\"" },
	{ LITERAL("220 mail\x07 \"ready\"\r\n"), "did not answer in HTTP/2: \"220 mail. .ready.\"" },
	{ LITERAL(""), "closed the connection without an answer" },
	{ LITERAL(SETTINGS HEAD), "closed the connection before its answer was whole" },
};

static bool
hear_piece(struct probe_grpc *g, const char *p, size_t n, const char **error)
{
	while (n > 0) {
		size_t most;
		char *to = probe_grpc_room(g, &most);

		assert_non_null(to);
		most = most < n ? most : n;
		memcpy(to, p, most);
		p += most;
		n -= most;
		if (probe_grpc_take(g, most, error))
			return true;
	}
	return false;
}

static void
assert_error(const char *error, const char *expected)
{
	if (expected == NULL) {
		assert_null(error);
	} else {
		assert_non_null(error);
		assert_string_equal(error, expected);
	}
}

static void
test_answers_at_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t cut = 0; cut <= rows[i].n; cut++) {
			struct probe_grpc *g = probe_grpc_new();
			const char *error = NULL;

			if (!hear_piece(g, rows[i].bytes, cut, &error) &&
			    !hear_piece(g, rows[i].bytes + cut, rows[i].n - cut, &error))
				assert_true(probe_grpc_take(g, 0, &error));
			/* What is no HTTP/2 is known by nine bytes, and shown as far as it is there. */
			if (i < ARRAY_LEN(rows) - 4 || cut == 0)
				assert_error(error, rows[i].error);
			probe_grpc_free(&g);
			assert_null(g);
		}
}

static void
test_acknowledgements_are_due(void **state)
{
	struct probe_grpc *g = probe_grpc_new();
	const char *error;
	struct str reply;

	(void)state;
	assert_false(hear_piece(g, LITERAL(SETTINGS PING "\0\0\0\x04\x01\0\0\0\0"), &error));
	reply = probe_grpc_reply(g);
	assert_int_equal(reply.n, HTTP2_SETTINGS_ACK_BYTES + HTTP2_PING_BYTES);
	assert_memory_equal(reply.p, "\0\0\0\x04\x01\0\0\0\0\0\0\x08\x06\x01\0\0\0\0" "12345678", reply.n);
	probe_grpc_said(g, HTTP2_SETTINGS_ACK_BYTES);
	assert_int_equal(probe_grpc_reply(g).n, HTTP2_PING_BYTES);
	probe_grpc_free(&g);
}

/* Whatever it sends, for as long as it likes. */
static void
test_a_flood_is_bounded(void **state)
{
	static const struct {
		const char *frame;
		size_t n;
		const char *error;
	} floods[] = {
		{ LITERAL(PING), "more than 256 frames and no answer" },
		{ LITERAL(SETTINGS), "more than 256 frames and no answer" },
		{ LITERAL("\0\0\0\0\0\0\0\0\x01"), "more than 256 frames and no answer" },
		{ LITERAL(MESSAGE "\x01"), "more than 256 frames and no answer" },
	};
	static char frame[HTTP2_FRAME_HEAD + HTTP2_FRAME_DEFAULT];
	const char *error = NULL;
	struct probe_grpc *g;
	size_t heard;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
		g = probe_grpc_new();
		assert_false(hear_piece(g, LITERAL(SETTINGS HEAD), &error));
		while (!hear_piece(g, floods[i].frame, floods[i].n, &error))
			continue;
		assert_error(error, floods[i].error);
		probe_grpc_free(&g);
	}
	/* A type that is not known is passed over, and counts; a head that never ends, a message that does not. */
	static const struct {
		enum http2_type type;
		uint8_t flags;
		const char *error;
	} large[] = {
		{ HTTP2_TYPES, 0, "more than 64 KiB and no answer" },
		{ HTTP2_CONTINUATION, 0, "HTTP/2: fields too large" },
		{ HTTP2_DATA, 0, "an answer of more than 4096 bytes" },
	};
	for (size_t i = 0; i < ARRAY_LEN(large); i++) {
		g = probe_grpc_new();
		if (large[i].type == HTTP2_CONTINUATION)
			assert_false(hear_piece(g, LITERAL(SETTINGS HEADS("\x01", "\0") "\x88"), &error));
		else
			assert_false(hear_piece(g, LITERAL(SETTINGS HEAD), &error));
		http2_put_head(frame, HTTP2_FRAME_DEFAULT, large[i].type, large[i].flags, 1);
		for (heard = 0; !hear_piece(g, frame, sizeof(frame), &error); heard += sizeof(frame))
			assert_true(heard < 100000);
		assert_error(error, large[i].error);
		probe_grpc_free(&g);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_at_every_cut),
		cmocka_unit_test(test_acknowledgements_are_due),
		cmocka_unit_test(test_a_flood_is_bounded),
	};

	return cmocka_run_group_tests_name("probe_grpc", tests, NULL, NULL);
}
