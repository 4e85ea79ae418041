/* config_text.h - private to config*.c: complaints in the making, and the
 * text of a configuration with its included files spliced in, so that every
 * line still knows its file. */
#ifndef MODEL_CONFIG_TEXT_H
#define MODEL_CONFIG_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "model/config.h"
#include "model/config_copy.h"

/* A complaint waits here until all are known and can be sorted.  at: the
 * line in the spliced text. */
struct complaint {
	size_t at;
	size_t nth;	/* order of arrival: sorting keeps it within a line */
	char *text;
};

struct complaint_list {
	struct complaint *entries;
	size_t n;
};

/* Consumes text; what was said already is not said again. */
void complaint_add(struct complaint_list *list, size_t at, char *text);
/* Sorts by line and moves everything to the end of out; list is empty after. */
void complaint_list_move(struct complaint_list *list, struct complaints *out);

struct config_text {
	char *bytes;	/* NUL-terminated */
	size_t n;
	struct config_line *lines;	/* of the spliced text; the first is lines[0] */
	size_t n_lines;
	struct config_file *files;	/* files[0]: the one asked for */
	size_t n_files;
	char checksum[CONFIG_CHECKSUM];	/* of all of them, as they were read */
};

/* Reads the file and whatever it includes; from a copy of them where one is given,
 * else from the disk.  E_USAGE: exactly one complaint was added.  config_text_free()
 * is due either way. */
MUST_USE enum err config_text_read(struct config_text *t, const char *path, const struct config_copy *copy,
				   struct complaint_list *errors);
void config_text_free(struct config_text *t);
/* File and line of a line of the spliced text (1 is the first). */
struct config_line config_text_line(const struct config_text *t, size_t at);

/* Checks the grammar; stricter and better spoken than libconfig, which
 * answers "syntax error" and lets large numbers wrap around.  E_USAGE: exactly
 * one complaint, the first, was added. */
MUST_USE enum err config_syntax_check(const struct config_text *t, struct complaint_list *errors);

/* Text from the file made fit for a message: quotes escaped, control bytes
 * as \xNN, and cut with "..." when long.
 *	"found %s", show(text).s */
struct shown {
	char s[160];
};
struct shown show(const char *text);
struct shown show_bytes(const char *p, size_t n);

#endif
