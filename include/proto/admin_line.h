/* admin_line.h - one line of the admin socket, split into words and options.
 *
 *	flip shop blue --expect=green@42 --reason="deploy 8812" --force
 *
 * Words are separated by spaces.  "Double quotes" hold spaces; inside them
 * \" and \\ stand for the two characters.  A word that opens with two
 * unquoted dashes is an option, --key or --key=value, whose value may be
 * quoted; "--" alone ends the options.  Pure: no I/O, any thread. */
#ifndef PROTO_ADMIN_LINE_H
#define PROTO_ADMIN_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Longest line in bytes, without its newline. */
#define ADMIN_LINE_MAX 4096
#define ADMIN_ARGS_MAX 33
#define ADMIN_OPTS_MAX 16

struct admin_opt {
	struct str key;	/* without the dashes */
	struct str value;	/* empty without has_value */
	bool has_value;	/* there was a '='; the value may still be empty */
};

/* Slices point into storage, so they live as long as the struct, which must
 * not be copied.  Each slice is followed by a NUL and holds none: slice.p is
 * a C string too. */
struct admin_line {
	size_t n_args;
	struct str args[ADMIN_ARGS_MAX];
	size_t n_opts;
	struct admin_opt opts[ADMIN_OPTS_MAX];
	char storage[ADMIN_LINE_MAX + 2 * (ADMIN_ARGS_MAX + ADMIN_OPTS_MAX)];
};

/* Splits a line, given without its newline.  An empty line is no error: it
 * has no words.  E_USAGE with a sentence on anything that is too long, not
 * valid UTF-8, holds control characters or marks
 * that turn the direction of writing, or is not quoted as above; out is
 * then empty. */
MUST_USE enum err admin_line_parse(struct str line, struct admin_line *out, struct why *why);

/* The option with that key, or NULL. */
const struct admin_opt *admin_line_opt(const struct admin_line *line, const char *key);

/* Appends a word so that admin_line_parse() reads it back as one argument,
 * quoted only where it must be.  False when out is full. */
MUST_USE bool admin_line_quote(struct buf *out, struct str word);

/* The same for an option's value, behind the '=': dashes need no quotes. */
MUST_USE bool admin_line_quote_value(struct buf *out, struct str value);

#endif
