/* http2_reason.c - the tables of error codes and of reasons.  Pure; any thread. */
#include "base/check.h"
#include "proto/http2_reason.h"

static const struct {
	uint8_t scope, code;
	uint16_t status;
	const char *word, *words;
} reasons[] = {
#define X(name, scope, code, status, word, words) [name] = { HTTP2_OF_##scope, HTTP2_##code, status, word, words },
	HTTP2_REASON_TABLE(X)
#undef X
};

const char *
http2_code_word(uint32_t code)
{
	static const char *const names[] = {
#define X(name, value, text) [value] = text,
		HTTP2_CODE_TABLE(X)
#undef X
	};

	return code < ARRAY_LEN(names) ? names[code] : "UNKNOWN";
}

enum http2_scope
http2_reason_scope(enum http2_reason r)
{
	CHECK((size_t)r < ARRAY_LEN(reasons));
	return (enum http2_scope)reasons[r].scope;
}

enum http2_code
http2_reason_code(enum http2_reason r)
{
	CHECK((size_t)r < ARRAY_LEN(reasons));
	return (enum http2_code)reasons[r].code;
}

unsigned
http2_reason_status(enum http2_reason r)
{
	CHECK((size_t)r < ARRAY_LEN(reasons));
	return reasons[r].status;
}

const char *
http2_reason_word(enum http2_reason r)
{
	CHECK((size_t)r < ARRAY_LEN(reasons));
	return reasons[r].word;
}

const char *
http2_reason_words(enum http2_reason r)
{
	CHECK((size_t)r < ARRAY_LEN(reasons));
	return reasons[r].words;
}
