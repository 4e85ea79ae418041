/* test_http2_response.c - responses and trailers from HTTP/1.1 into field blocks, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guarded.h"
#include "hpack_text.h"
#include "proto/http1_error.h"
#include "proto/http2_response.h"

struct peers {
	struct hpack_encoder ours;
	struct hpack_decoder theirs;
};

static void
peers_open(struct peers *p)
{
	hpack_encoder_init(&p->ours, HPACK_ENCODER_MOST);
	hpack_decoder_init(&p->theirs, 4096);
}

static void
peers_close(struct peers *p)
{
	hpack_encoder_free(&p->ours);
	hpack_decoder_free(&p->theirs);
}

/* The client reads it as those lines. */
static size_t
check_response(struct peers *p, const char *head, const char *lines)
{
	struct str text = { guarded(head, strlen(head)), strlen(head) };
	char *block = malloc(HTTP2_RESPONSE_ROOM(text.n));
	struct hpack_fields *f = test_fields();
	size_t n;

	assert_non_null(block);
	n = http2_response_write(text, &p->ours, block);
	assert_true(n > 0 && n <= HTTP2_RESPONSE_ROOM(text.n));
	assert_int_equal(hpack_decode(&p->theirs, (struct str){ block, n }, f), HTTP2_FINE);
	assert_lines(f, lines);
	free(block);
	return n;
}

static void
test_heads(void **state)
{
	struct peers p;

	(void)state;
	peers_open(&p);
	check_response(
		&p,
		"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 21 Oct 2013 20:13:21 GMT\r\nContent-Type: text/html\r\n"
		"X-UPPER-Name: As Is\r\nContent-Length: 17\r\nEmpty:\r\nConnection: close\r\n\r\nbody: x\r\n",
		":status: 200\nserver: nginx\ndate: Mon, 21 Oct 2013 20:13:21 GMT\ncontent-type: text/html\n"
		"x-upper-name: As Is\ncontent-length: 17\nempty: \n");
	check_response(&p, "HTTP/1.1 404 \r\n\r\n", ":status: 404\n");
	check_response(&p, "HTTP/1.1 599 Odd: phrase\r\na:b  \r\nc:\t d\t\r\n\r\n",
		       ":status: 599\na: b\nc: d\n");
	/* Interim ones. */
	check_response(&p, "HTTP/1.1 100 Continue\r\n\r\n", ":status: 100\n");
	check_response(&p, "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
		       ":status: 103\nlink: </a>; rel=preload\n");
	peers_close(&p);
}

/* RFC 9113 section 8.2.2. */
static void
test_what_is_of_a_connection(void **state)
{
	struct peers p;

	(void)state;
	peers_open(&p);
	check_response(
		&p,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nKEEP-ALIVE: timeout=5\r\n"
		"Upgrade: h2c\r\nproxy-Connection: close\r\nTE: x\r\nConnection: keep-alive, Upgrade\r\n\r\n",
		":status: 200\ntrailer: X-Sum\n");
	/* RFC 8441 section 5: a WebSocket's answer. */
	check_response(
		&p,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
		":status: 200\nsec-websocket-protocol: chat\n");
	peers_close(&p);
}

/* What comes again costs a byte, and what differs each time never enters the table. */
static void
test_the_same_again(void **state)
{
	const char *text =
		"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html; charset=utf-8\r\nVary: accept\r\n"
		"Set-Cookie: a=1\r\nContent-Length: 7\r\n\r\n";
	const char *lines =
		":status: 200\nserver: nginx\ncontent-type: text/html; charset=utf-8\nvary: accept\n"
		"set-cookie: a=1\ncontent-length: 7\n";
	struct peers p;

	(void)state;
	peers_open(&p);
	check_response(&p, text, lines);
	assert_int_equal(p.ours.table.count, 0);
	check_response(&p, text, lines);
	assert_int_equal(p.ours.table.count, 3);
	assert_int_equal(check_response(&p, text, lines), 4 + 6 + 4);
	assert_int_equal(p.ours.table.count, 3);
	peers_close(&p);
}

/* The room is enough also where every length takes more bytes than in HTTP/1. */
static void
test_long_lines(void **state)
{
	static char text[70000];
	struct peers p;

	(void)state;
	peers_open(&p);
	for (size_t name = 1; name < 400; name += 37)
		for (size_t value = 100; value < 20000; value = value * 2 + 1) {
			struct hpack_fields *f = test_fields();
			size_t n = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\n"), block_n;
			char *block;

			for (unsigned i = 0; i < 3; i++) {
				memset(text + n, 'N', name);
				n += name;
				n += (size_t)sprintf(text + n, ":");
				memset(text + n, '"', value);	/* 10 bits */
				n += value;
				n += (size_t)sprintf(text + n, "\r\n");
			}
			n += (size_t)sprintf(text + n, "\r\n");
			block = malloc(HTTP2_RESPONSE_ROOM(n));
			assert_non_null(block);
			block_n = http2_response_write((struct str){ text, n }, &p.ours, block);
			assert_true(block_n > 0 && block_n <= HTTP2_RESPONSE_ROOM(n));
			assert_int_equal(hpack_decode(&p.theirs, (struct str){ block, block_n }, f),
					 HTTP2_FINE);
			if (f->over == HTTP2_FINE) {
				assert_int_equal(f->count, 4);
				assert_int_equal(f->fields[1].kind, HTTP2_FIELD);
				assert_int_equal(f->fields[3].name_n, name);
				assert_int_equal(f->fields[3].value_n, value);
			}
			free(block);
		}
	peers_close(&p);
}

static void
test_no_head(void **state)
{
	static const char *const texts[] = { "",
					     "HTTP/1.1 200",
					     "HTTP/2 200 OK\r\n\r\n",
					     "HTTP/1.1 2x0 OK\r\n\r\n",
					     "HTTP/1.1 099 OK\r\n\r\n",
					     "a: b\r\n\r\n" };
	struct hpack_encoder e;
	char out[100];

	(void)state;
	hpack_encoder_init(&e, 100);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_int_equal(http2_response_write((struct str){ guarded(texts[i], strlen(texts[i])),
								    strlen(texts[i]) },
						      &e, out),
				 0);
	/* The size that is due was not said. */
	assert_true(e.resized);
	hpack_encoder_free(&e);
}

/* What Teal says itself is such a head. */
static void
test_own_answers(void **state)
{
	const struct http1_error error = { .status = 503, .retry_after = 5, .close = true };
	char text[HTTP1_ERROR_MAX + 100], block[HTTP2_RESPONSE_ROOM(sizeof(text))];
	struct hpack_fields *f = test_fields();
	struct peers p;
	size_t n;

	(void)state;
	peers_open(&p);
	n = http1_error_write(&error, text, sizeof(text));
	n = http2_response_write((struct str){ text, n }, &p.ours, block);
	assert_int_equal(hpack_decode(&p.theirs, (struct str){ block, n }, f), HTTP2_FINE);
	assert_true(str_eq(hpack_value(f, &f->fields[0]), "503"));
	for (uint32_t i = 0; i < f->count; i++)
		assert_true(f->fields[i].kind == HTTP2_FIELD || f->fields[i].kind == HTTP2_FIELD_LENGTH ||
			    f->fields[i].kind == HTTP2_FIELD_STATUS);
	peers_close(&p);
}

static void
test_trailers(void **state)
{
	struct str text = STR("Grpc-Status: 0\r\nGRPC-Message:\r\nConnection: x\r\n");
	char block[HTTP2_RESPONSE_ROOM(100)];
	struct hpack_fields *f = test_fields();
	struct peers p;
	size_t n;

	(void)state;
	peers_open(&p);
	for (unsigned i = 0; i < 3; i++) {
		n = http2_trailers_encode((struct str){ guarded(text.p, text.n), text.n }, &p.ours, block);
		assert_int_equal(hpack_decode(&p.theirs, (struct str){ block, n }, f), HTTP2_FINE);
		assert_lines(f, "grpc-status: 0\ngrpc-message: \n");
	}
	assert_int_equal(n, 2);
	assert_int_equal(http2_trailers_encode(STR(""), &p.ours, block), 0);
	peers_close(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_what_is_of_a_connection),
		cmocka_unit_test(test_the_same_again),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_no_head),
		cmocka_unit_test(test_own_answers),
		cmocka_unit_test(test_trailers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
