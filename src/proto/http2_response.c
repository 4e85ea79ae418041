/* http2_response.c - the head of a response, from HTTP/1.1 to a field block.  Pure but for the encoder; any
 * thread. */
#include <string.h>

#include "base/check.h"
#include "proto/http1_lines.h"
#include "proto/http1_name.h"
#include "proto/http2_response.h"

static bool
is_of_http2(const struct http1_field_line *line, bool switched)
{
	if (http1_line_is_of_connection(line) || (line->bit & HTTP1_BIT(HTTP1_TE)))
		return false;
	return !switched || !str_case_eq(line->name, "sec-websocket-accept");
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

char *
http2_response_begin(struct http2_response *r, struct str head, struct hpack_encoder *encoder, char *out)
{
	unsigned status;

	*r = (struct http2_response){ .head = head, .encoder = encoder };
	status = read_status_line(head, &r->at);
	if (status == 0)
		return NULL;
	r->switched = status == 101;
	return hpack_encode_status(encoder, hpack_encode_begin(encoder, out), r->switched ? 200 : status);
}

char *
http2_response_line(struct http2_response *r, char *out)
{
	struct http1_field_line line;

	if (!http1_next_line(r->head, &r->at, &line))
		return NULL;
	return is_of_http2(&line, r->switched) ? hpack_encode(r->encoder, out, line.name, line.value, HPACK_USUAL) : out;
}

size_t
http2_response_write(struct str head, struct hpack_encoder *encoder, char *out)
{
	struct http2_response r;
	char *end = NULL;

	for (char *p = http2_response_begin(&r, head, encoder, out); p != NULL; p = http2_response_line(&r, p))
		end = p;
	return end != NULL ? (size_t)(end - out) : 0;
}

size_t
http2_trailers_encode(struct str lines, struct hpack_encoder *encoder, char *out)
{
	struct http1_field_line line;
	char *p;

	p = hpack_encode_begin(encoder, out);
	for (size_t at = 0; http1_next_line(lines, &at, &line);)
		if (is_of_http2(&line, false))
			p = hpack_encode(encoder, p, line.name, line.value, HPACK_USUAL);
	return (size_t)(p - out);
}
