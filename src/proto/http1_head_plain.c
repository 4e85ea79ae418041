/* http1_head_plain.c - heads read byte by byte, for any CPU.  Pure; any thread. */
#include "proto/http1_machine.h"

static inline size_t
skip_run(const unsigned char *p, size_t at, size_t end, unsigned char of)
{
	while (at < end && (http1_class[p[at]] & of))
		at++;
	return at;
}

static inline size_t
scan_token(const unsigned char *p, size_t at, size_t end)
{
	return skip_run(p, at, end, C_TOKEN);
}

static inline size_t
scan_target(const unsigned char *p, size_t at, size_t end)
{
	return skip_run(p, at, end, C_TARGET);
}

static inline size_t
scan_value(const unsigned char *p, size_t at, size_t end)
{
	return skip_run(p, at, end, C_VALUE);
}

#define PATH
#include "proto/http1_steps.h"

enum http1_verdict
http1_parse_plain(struct http1_head *h, const char *p, size_t end)
{
	return parse(h, p, end);
}
