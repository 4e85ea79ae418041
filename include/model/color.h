/* color.h - the two colors of a service.  An index, never a tri-state: code
 * that may have none carries a bool beside it. */
#ifndef MODEL_COLOR_H
#define MODEL_COLOR_H

#include <stdbool.h>

#include "base/str.h"

enum color { GREEN, BLUE };
#define COLORS 2

static inline enum color
color_other(enum color c)
{
	return c == GREEN ? BLUE : GREEN;
}

static inline const char *
color_word(enum color c)
{
	return c == GREEN ? "green" : "blue";
}

static inline bool
color_from_word(struct str word, enum color *out)
{
	if (str_eq(word, "green"))
		*out = GREEN;
	else if (str_eq(word, "blue"))
		*out = BLUE;
	else
		return false;
	return true;
}

#endif
