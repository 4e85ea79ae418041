/* output.h - how tealctl writes: words and tables for a terminal, one record
 * a line with tabs for a pipe.  Nothing that came from teald reaches the
 * terminal unchecked: control characters come out as visible escapes. */
#ifndef APP_TEALCTL_OUTPUT_H
#define APP_TEALCTL_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"

struct output {
	bool terminal;	/* stdout is one: tables and sentences */
	bool colors;	/* and it shows colors */
	bool rewrites;	/* and a line can be written over */
	bool pending;	/* such a line stands there, without newline */
};

enum style {
	STYLE_PLAIN,
	STYLE_HEAD,
	STYLE_GREEN,
	STYLE_BLUE,
	STYLE_GOOD,
	STYLE_BAD,
	STYLE_NOTE,
};

/* Looks at stdout, TERM and NO_COLOR. */
void output_init(struct output *o, bool no_color);

/* Appends text with control characters, and bytes that are no UTF-8, made
 * visible. */
void text_safe(struct buf *out, struct str text);
/* Any JSON value as one safe word or phrase; null, missing or empty: "-". */
void text_json(struct buf *out, json_t *value);
/* "1.9 ms" "12 s" "3 min 20 s" "2 h 5 min" */
void text_duration(struct buf *out, double seconds);
/* "12 B" "1.5 MiB" */
void text_bytes(struct buf *out, double bytes);
/* "2026-11-22T14:02:11.123Z" as "2026-11-22 14:02:11Z"; anything else as it is. */
void text_time(struct buf *out, json_t *value);

/* One line to stdout, ended and flushed; takes the place of a pending one. */
void output_line(struct output *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same without its end: the next line is written over it.  Only where
 * o->rewrites. */
void output_pending(struct output *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Ends a pending line, before something goes to stderr. */
void output_settle(struct output *o);
/* "tealctl: " and a sentence, to stderr, made safe. */
void output_complain(struct output *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A line of JSON to stdout as it came, but for characters a terminal may take as
 * an order: JSON has them inside strings only, where an escape means the same. */
void output_raw(struct str line);
/* Words in color, where there are colors.  Literals only. */
const char *output_on(const struct output *o, enum style style);
const char *output_off(const struct output *o, enum style style);
enum style style_of_color(json_t *word);

/* A table, collected first and printed aligned on a terminal, with a head;
 * in a pipe a row is a line of cells with tabs between, no head. */
#define TABLE_COLUMNS 20
struct cell {
	char *text;	/* owned */
	enum style style;
};

struct table {
	size_t columns;
	const char *heads[TABLE_COLUMNS];
	size_t n_cells, cap;
	struct cell *cells;	/* owned, row by row */
};

/* heads ends with NULL. */
void table_init(struct table *t, const char *const *heads);
/* Appends a cell, row by row; text must be safe already.  Empty: "-". */
void table_add(struct table *t, enum style style, struct str text);
void table_json(struct table *t, json_t *value);
void table_printf(struct table *t, enum style style, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Prints and frees it. */
void table_print(struct table *t, struct output *o);

#endif
