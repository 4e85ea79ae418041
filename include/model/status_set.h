/* status_set.h - which HTTP status codes count as well: "200-399", or a list
 * such as "200,204,300-399".  A value; owns nothing. */
#ifndef MODEL_STATUS_SET_H
#define MODEL_STATUS_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define STATUS_RANGES 8

struct status_set {
	unsigned n;
	struct {
		uint16_t from, to;	/* both belong to it */
	} ranges[STATUS_RANGES];
};

/* False, and the set untouched, for anything but such a list of codes from 100
 * to 599, in at most STATUS_RANGES parts. */
bool status_set_parse(const char *text, struct status_set *out);
bool status_set_has(const struct status_set *s, unsigned status);

#endif
