/* http2_response.c - the head of a response, from HTTP/1.1 to a field block.  Pure but for the encoder; any
 * thread. */
#include <string.h>

#include "base/check.h"
#include "proto/http1_name.h"
#include "proto/http2_response.h"

struct line {
	struct str name, value;
};

/* The line at text[*at..), which it goes past; false: there is none, or it is no field. */
static bool
next_line(struct str text, size_t *at, struct line *line)
{
	const char *p = text.p + *at, *end, *colon;
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
	return true;
}

#define OF_CONNECTION \
	(HTTP1_BIT(HTTP1_CONNECTION) | HTTP1_BIT(HTTP1_KEEP_ALIVE) | HTTP1_BIT(HTTP1_PROXY_CONNECTION) | \
	 HTTP1_BIT(HTTP1_TRANSFER_ENCODING) | HTTP1_BIT(HTTP1_UPGRADE) | HTTP1_BIT(HTTP1_TE) | \
	 HTTP1_BIT(HTTP1_HTTP2_SETTINGS))

static bool
is_of_http2(struct str name, bool switched)
{
	enum http1_name alias;

	if (HTTP1_BIT(http1_name_of(name.p, name.n, &alias)) & OF_CONNECTION)
		return false;
	return !switched || !str_case_eq(name, "sec-websocket-accept");
}

/* "HTTP/1.1 200 …\r\n": the status, and where the first field begins; 0: something else. */
static unsigned
read_status_line(struct str head, size_t *at)
{
	const char *end = memchr(head.p, '\n', head.n), *p = head.p + 9;
	unsigned status = 0;

	if (end == NULL || end - head.p < 13 || memcmp(head.p, "HTTP/1.", 7) != 0)
		return 0;
	for (unsigned i = 0; i < 3; i++) {
		if (p[i] < '0' || p[i] > '9')
			return 0;
		status = status * 10 + (unsigned)(p[i] - '0');
	}
	*at = (size_t)(end - head.p) + 1;
	return status >= 100 ? status : 0;
}

size_t
http2_response_write(struct str head, struct hpack_encoder *encoder, char *out)
{
	struct line line;
	size_t at = 0;
	unsigned status = read_status_line(head, &at);
	char *p;

	if (status == 0)
		return 0;
	p = hpack_encode_status(encoder, hpack_encode_begin(encoder, out), status == 101 ? 200 : status);
	while (next_line(head, &at, &line))
		if (is_of_http2(line.name, status == 101))
			p = hpack_encode(encoder, p, line.name, line.value, HPACK_USUAL);
	return (size_t)(p - out);
}

size_t
http2_trailers_encode(struct str lines, struct hpack_encoder *encoder, char *out)
{
	struct line line;
	char *p;

	p = hpack_encode_begin(encoder, out);
	for (size_t at = 0; next_line(lines, &at, &line);)
		if (is_of_http2(line.name, false))
			p = hpack_encode(encoder, p, line.name, line.value, HPACK_USUAL);
	return (size_t)(p - out);
}
