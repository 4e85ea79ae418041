/* http1_name.c - the table of known header names.  Pure; any thread. */
#include "proto/http1_name.h"

#define PREFIX "x-forwarded-"
#define PREFIX_LEN (sizeof(PREFIX) - 1)

#define X(name, first, last_but_one, text) \
	[HTTP1_NAME_SLOT(sizeof(text) - 1, first, last_but_one)] = { text, sizeof(text) - 1, name },
const struct http1_known http1_known[HTTP1_NAME_SLOTS] = { HTTP1_NAME_TABLE(X) };
#undef X

bool
http1_name_folds(const char *p, const char *lower, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (lower[i] == '-' ? p[i] != '-' && p[i] != '_' : (p[i] | 0x20) != lower[i])
			return false;
	return true;
}

enum http1_name
http1_name_alias(const char *p, size_t n, const struct http1_known *k)
{
	if (k->n == n && http1_name_folds(p, k->text, n))
		return (enum http1_name)k->id;
	if (n > PREFIX_LEN && http1_name_folds(p, PREFIX, PREFIX_LEN))
		return HTTP1_X_FORWARDED_OTHER;
	return HTTP1_OTHER;
}
