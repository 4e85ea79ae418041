/* options.h - long options, --name=value or --name value, from a table.
 * Values point into argv.  Start-up only. */
#ifndef APP_TEALBENCH_OPTIONS_H
#define APP_TEALBENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define OPTION_LIST_MAX 64

struct option_list {
	const char *item[OPTION_LIST_MAX];
	unsigned n;
};

/*	type             what `to` points to, and what is accepted */
enum option_type {
	OPTION_FLAG,	/* bool; takes no value */
	OPTION_COUNT,	/* uint64_t; a whole number in min..max */
	OPTION_SIZE,	/* uint64_t; bytes in min..max, with k/M/G or KiB/MiB/GiB (all powers of 1024) */
	OPTION_SECONDS,	/* double; 0 or more */
	OPTION_TEXT,	/* const char * */
	OPTION_LIST,	/* struct option_list; may be given repeatedly */
};

struct option_spec {
	const char *name;	/* without the dashes */
	enum option_type type;
	void *to;
	uint64_t min, max;	/* OPTION_COUNT and OPTION_SIZE */
};

/* Reads argv[0..argc) into the table's targets; what is not given stays as it
 * was.  E_USAGE with the sentence on the first thing that is wrong. */
MUST_USE enum err options_parse(const struct option_spec *table, size_t n, int argc, char **argv,
				struct why *why);

/* "64", "64k", "1MiB", "1GiB"; false when it is not a size of at most max. */
bool options_size(const char *text, uint64_t max, uint64_t *out);

#endif
