/* test_ws_key.c - the handshake of a WebSocket, by the examples of RFC 6455 sections 1.3 and 4.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "net/ws_key.h"

static void
test_the_rfc_s_examples(void **state)
{
	char key[WS_KEY], accept[WS_ACCEPT];
	unsigned char nonce[WS_NONCE];

	(void)state;
	memcpy(nonce, "the sample nonce", WS_NONCE);
	ws_key_write(nonce, key);
	assert_memory_equal(key, "dGhlIHNhbXBsZSBub25jZQ==", WS_KEY);
	assert_true(ws_accept(key, accept));
	assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT);
	for (unsigned i = 0; i < WS_NONCE; i++)
		nonce[i] = (unsigned char)(i + 1);
	ws_key_write(nonce, key);
	assert_memory_equal(key, "AQIDBAUGBwgJCgsMDQ4PEA==", WS_KEY);
	assert_true(ws_accept(key, accept));
	assert_memory_not_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_rfc_s_examples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
