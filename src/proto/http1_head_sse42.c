/* http1_head_sse42.c - heads read 16 bytes at a time.  Pure; any thread. */
#ifdef __x86_64__

#define PATH __attribute__((target("sse4.2")))
#include "proto/http1_simd.h"

#define SCAN(name) \
	static inline PATH size_t scan_##name(const unsigned char *p, size_t at, size_t end) \
	{ \
		SCAN_STEPS(name, 16) \
		return rest_##name(p, at, end); \
	}
SCAN(token)
SCAN(target)
SCAN(value)

#include "proto/http1_steps.h"

PATH enum http1_verdict
http1_parse_sse42(struct http1_head *h, const char *p, size_t end)
{
	return parse(h, p, end);
}

#else
extern int http1_no_sse42;	/* ISO C wants something in every file */
#endif
