/* http1_reason.c - the table of reasons.  Pure; any thread. */
#include "base/check.h"
#include "proto/http1_reason.h"

static const struct {
	unsigned status;
	const char *words;
} reasons[] = {
#define X(name, status, words) [name] = { status, words },
	HTTP1_REASON_TABLE(X)
#undef X
};

unsigned
http1_reason_status(enum http1_reason r)
{
	CHECK((size_t)r < ARRAY_LEN(reasons));
	return reasons[r].status;
}

const char *
http1_reason_words(enum http1_reason r)
{
	CHECK((size_t)r < ARRAY_LEN(reasons));
	return reasons[r].words;
}

const char *
http1_odd_word(enum http1_odd odd)
{
	static const char *const words[] = {
#define X(name, label) [name] = label,
		HTTP1_ODD_TABLE(X)
#undef X
	};

	CHECK((size_t)odd < ARRAY_LEN(words));
	return words[odd];
}
