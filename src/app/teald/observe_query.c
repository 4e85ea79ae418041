/* observe_query.c - reads the query of a request.  Thread: main. */
#include <string.h>

#include "app/teald/observe_query.h"

#define KEY "service="

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

bool
query_decode(struct str text, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++) {
		int c = text.p[i] == '+' ? ' ' : (unsigned char)text.p[i];

		if (c == '%') {
			if (i + 2 >= text.n || hex(text.p[i + 1]) < 0 || hex(text.p[i + 2]) < 0)
				return false;
			c = hex(text.p[i + 1]) * 16 + hex(text.p[i + 2]);
			i += 2;
		}
		if (c == '\0' || n + 1 >= size)
			return false;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return true;
}

/* The next parameter of the query; false at its end. */
static bool
next_parameter(struct str *query, struct str *parameter)
{
	const char *end;

	if (query->n == 0)
		return false;
	end = memchr(query->p, '&', query->n);
	*parameter = (struct str){ query->p, end != NULL ? (size_t)(end - query->p) : query->n };
	query->p += parameter->n;
	query->n -= parameter->n;
	if (end != NULL) {
		query->p++;
		query->n--;
	}
	return true;
}

bool
query_service(struct str *query, struct str *value)
{
	struct str p;

	while (next_parameter(query, &p))
		if (p.n >= sizeof(KEY) - 1 && memcmp(p.p, KEY, sizeof(KEY) - 1) == 0) {
			*value = (struct str){ p.p + sizeof(KEY) - 1, p.n - (sizeof(KEY) - 1) };
			return true;
		}
	return false;
}
