/* http1_lines.c - the field lines of a head, one after the other.  Pure; any thread. */
#include <string.h>

#include "proto/http1_lines.h"
#include "proto/http1_name.h"

bool
http1_next_line(struct str text, size_t *at, struct http1_field_line *line)
{
	const char *p = text.p + *at, *end, *colon;
	enum http1_name alias;
	size_t n;

	end = memchr(p, '\n', text.n - *at);
	if (end == NULL || end - p < 3 || end[-1] != '\r')
		return false;
	colon = memchr(p, ':', (size_t)(end - p));
	if (colon == NULL || colon == p)
		return false;
	*at += (size_t)(end - p) + 1;
	line->name = (struct str){ p, (size_t)(colon - p) };
	p = colon + 1;
	end--;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	for (n = (size_t)(end - p); n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'); n--)
		continue;
	line->value = (struct str){ p, n };
	line->bit = HTTP1_BIT(http1_name_of(line->name.p, line->name.n, &alias));
	return true;
}

#define OF_CONNECTION \
	(HTTP1_BIT(HTTP1_CONNECTION) | HTTP1_BIT(HTTP1_KEEP_ALIVE) | HTTP1_BIT(HTTP1_PROXY_CONNECTION) | \
	 HTTP1_BIT(HTTP1_TRANSFER_ENCODING) | HTTP1_BIT(HTTP1_UPGRADE) | HTTP1_BIT(HTTP1_HTTP2_SETTINGS))

bool
http1_line_is_of_connection(const struct http1_field_line *line)
{
	return (line->bit & OF_CONNECTION) != 0;
}
