/* decimal.h - numbers as decimal text, faster than printf and without its
 * locale.  text has room for DECIMAL_TEXT bytes; it is not terminated, each
 * function returns the length. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

#define DECIMAL_TEXT 32

size_t decimal_u64(char *text, uint64_t value);
size_t decimal_i64(char *text, int64_t value);

/* What "%.9g" gives: microseconds survive in anything shorter than a quarter of
 * an hour.  value must be finite. */
size_t decimal_9(char *text, double value);

/* The shortest text that reads back as exactly that double.  value must be
 * finite. */
size_t decimal_exact(char *text, double value);

#endif
