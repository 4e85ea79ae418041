/* http1_lines.h - the field lines of a head, or of trailers, that Teal has composed or checked itself.
 * Pure; any thread. */
#ifndef PROTO_HTTP1_LINES_H
#define PROTO_HTTP1_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct http1_field_line {
	struct str name, value;	/* without white space around it */
	uint64_t bit;	/* HTTP1_BIT() of the name */
};

/* The line at text[*at..), which it goes past; false: there is none, or it is no field. */
bool http1_next_line(struct str text, size_t *at, struct http1_field_line *line);

/* It belongs to a connection of HTTP/1 and never goes on in HTTP/2 (RFC 9113 section 8.2.2): Connection, Keep-Alive,
 * Proxy-Connection, Transfer-Encoding, Upgrade, HTTP2-Settings. */
bool http1_line_is_of_connection(const struct http1_field_line *line);

#endif
