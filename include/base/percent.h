/* percent.h - parts of a whole in hundredths of a percent, and their text.  Pure; any thread. */
#ifndef BASE_PERCENT_H
#define BASE_PERCENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define PERCENT_WHOLE 10000
#define PERCENT_TEXT 16	/* "12.34%", with NUL */

/* "12.5%", without zeros at the end; returns out. */
const char *percent_format(uint32_t part, char out[PERCENT_TEXT]);
/* "10%", "12.5%" or "12.50", 0 to 100, with at most two places behind the point.  False: it is none of these. */
bool percent_parse(struct str text, uint32_t *out);

#endif
