/* ending.c - words for how connections end.  Any thread. */
#include "base/check.h"
#include "model/ending.h"

static const struct {
	const char *word;
	int is_error;
} table[ENDINGS] = {
#define X(name, word, is_error, meaning) [name] = { word, is_error },
	ENDING_TABLE(X)
#undef X
};

const char *
ending_word(enum ending e)
{
	CHECK((unsigned)e < ENDINGS);
	return table[e].word;
}

int
ending_is_error(enum ending e)
{
	CHECK((unsigned)e < ENDINGS);
	return table[e].is_error;
}

int
ending_is_refusal(enum ending e)
{
	static const char refusals[ENDINGS] = {
		[END_LIMIT] = 1, [END_DENIED] = 1, [END_SOURCE_LIMIT] = 1, [END_SOURCE_RATE] = 1,
		[END_QUEUE_TIMEOUT] = 1, [END_BACKEND_LIMIT] = 1, [END_NO_BACKEND] = 1,
		[END_STALE] = 1, [END_MEMORY] = 1, [END_NO_PORT] = 1, [END_MAINTENANCE] = 1,
		[END_BAD_REQUEST] = 1, [END_TOO_LARGE] = 1, [END_MISDIRECTED] = 1, [END_NO_PATH] = 1,
		[END_PROXY_DENIED] = 1, [END_PROXY_HEADER] = 1, [END_PROXY_TIMEOUT] = 1,
		[END_TLS_HELLO] = 1, [END_TLS_HTTP] = 1, [END_TLS_NAME] = 1, [END_TLS_CERTIFICATE] = 1,
		[END_TLS_HANDSHAKE] = 1, [END_TLS_TIMEOUT] = 1,
	};

	CHECK((unsigned)e < ENDINGS);
	return refusals[e];
}

int
ending_is_of_color(enum ending e)
{
	return (!ending_is_refusal(e) || e == END_NO_BACKEND || e == END_BACKEND_LIMIT) && e != END_EVICTED;
}
