/* config_cursor.h - private to config*.c: reads a libconfig group by a table
 * of its keys, so that no key is read without a type and none is ignored. */
#ifndef MODEL_CONFIG_CURSOR_H
#define MODEL_CONFIG_CURSOR_H

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "model/config_text.h"
#include "net/cidr.h"

struct config_copy;

/* Everything one config_load() shares. */
struct reader {
	struct config_text text;
	struct complaint_list errors, warnings;
	/* > 0: errors are swallowed, because the same keys were checked and
	 * complained about before (defaults, read again for each service). */
	unsigned muted;
	/* Errors that are not the file's: a later start may go well. */
	size_t passing;
	const struct config_copy *copy;	/* borrowed: read from that, not from the disk; NULL: from the disk */
	struct config_file *named;	/* owned: what cursor_file() has read */
	size_t n_named;
};

/* Where the reading is. */
struct cursor {
	struct reader *r;
	const char *where;	/* "service \"shop\"", or NULL outside of services */
	const char *prefix;	/* "health." inside that group, "" outside */
	void *base;	/* what the keys' offsets count from; NULL: check types only */
};

struct key;
typedef void key_reader(const struct cursor *c, const struct key *k, const config_setting_t *s);

/* One key of a group.  A table of them ends with an empty one.
 *	{ KEY("rise", key_count), .offset = offsetof(…), .min = 1, .max = 1000 },
 */
#define KEY(name_, reader_) .name = (name_), .read = (reader_)
struct key {
	const char *name;
	key_reader *read;	/* checks the type, complains or stores */
	size_t offset;	/* from cursor.base, where the value goes */
	double min, max;	/* of numbers and sizes; max 0: the reader's own */
	const char *const *words;	/* of key_word: index is the value; ends with NULL */
	const struct key *keys;	/* of a group */
	/* Of a service: bit 1u << enum service_mode of each that knows the key; 0:
	 * all do. */
	unsigned modes;
	/* The same of enum engine_kind. */
	unsigned engines;
	bool firm;	/* an engine that has not got it refuses it of the defaults too */
	/* Of services with colors only, or of those without. */
	bool colored, colorless;
};

/* Reads every member of the group by the table; unknown ones are errors. */
void cursor_read(const struct cursor *c, const config_setting_t *group, const struct key *keys);

/* "teal.conf:12: service \"shop\": " and the message. */
void cursor_error(const struct cursor *c, const config_setting_t *s, const char *fmt, ...) PRINTF_LIKE(3, 4);
void cursor_warn(const struct cursor *c, const config_setting_t *s, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same with "health.interval: " before the message. */
void
cursor_key_error(const struct cursor *c, const config_setting_t *s, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "health.interval"; of an element of a list, the list's. */
struct shown cursor_key(const struct cursor *c, const config_setting_t *s);
/* "the number 5", "the text \"x\"", "a group { }" … */
struct shown cursor_found(const config_setting_t *s);

/* "; did you mean \"x\"?" when one of the words is near, otherwise "". */
struct shown cursor_guess(const char *word, const char *const *words, size_t n);

/* A text or a list of texts: how many, and the i-th. */
size_t cursor_items(const config_setting_t *s);
const config_setting_t *cursor_item(const config_setting_t *s, size_t i);
/* Complains unless s is one text or a list of texts (what: "an address"). */
bool cursor_texts(const struct cursor *c, const config_setting_t *s, const char *what);

/* Takes one text or a list of them, each of `bytes` alone (what: "a tag"), into the char ** and the size_t
 * behind it that the key's offset leads to; complains of others. */
void cursor_take_texts(const struct cursor *c, const struct key *k, const config_setting_t *s, const char *what,
		       const char *bytes);

/* The bytes of a file that is named, for free(), NUL-terminated: once it was read, and in a copy of the configuration, as it was
 * then.  *n may be above max: it is longer than that.  NULL with the reason when it cannot be read. */
char *cursor_file(const struct cursor *c, const char *path, size_t max, size_t *n, struct why *why);

/* Readers.  The stored type stands behind each. */
key_reader key_seconds;	/* double, >= 0 */
key_reader key_fraction;	/* double, min to max */
key_reader key_count;	/* unsigned, min to max */
key_reader key_size;	/* uint64_t bytes, "5GiB" too */
key_reader key_bool;	/* bool */
key_reader key_text;	/* char *, owned; not empty */
key_reader key_word;	/* an enum */
key_reader key_networks;	/* struct cidr_set, owned: "10.0.0.0/8", one or a list */
key_reader key_percent_or_count;	/* struct quorum */
key_reader key_group;	/* by ->keys, with the same base */

#endif
