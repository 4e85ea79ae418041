/* str.h - borrowed text: a pointer and a length, not terminated, not owned. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;	/* may be NULL where n is 0 */
	size_t n;
};

#define STR(lit) ((struct str){ (lit), sizeof(lit) - 1 })

static inline struct str
str_from(const char *s)
{
	return (struct str){ s, strlen(s) };
}

static inline bool
str_eq(struct str a, const char *b)
{
	return strlen(b) == a.n && (a.n == 0 || memcmp(a.p, b, a.n) == 0);
}

/* Of a hexadecimal digit, in either case, its value; -1: it is none. */
static inline int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The same text, or both NULL. */
bool cstr_eq(const char *a, const char *b);
/* ASCII only, as protocols want it; no locale. */
bool str_case_eq(struct str a, const char *b);

/* Whole-string decimal number, no sign, no space; false on overflow of max. */
bool str_to_u64(struct str s, uint64_t max, uint64_t *out);

/* Whole-string non-negative decimal seconds such as "2" or "0.5"; false when
 * it is anything else, negative, not finite, or above a million days. */
bool str_to_seconds(struct str s, double *out);
/* The same, or with a unit: "90s", "30m", "1.5h". */
bool str_to_duration(struct str s, double *out);

/* Copies with truncation and always terminates; returns false if it was cut. */
bool str_copy(char *to, size_t size, struct str from);

/* A copy of its own, terminated, to be free()d; NULL without memory.  strndup()
 * wants that too, but a sanitizer that checks strings strictly wants s to end. */
char *str_dup(struct str s);

/* The edit distance: bytes to insert, drop, change or swap with a neighbour (optimal
 * string alignment).  Above limit when either has more than 63 bytes. */
size_t str_distance(struct str a, struct str b, size_t limit);

/* Shell-like glob with '*' only, as in "shop-*". */
bool str_glob(const char *pattern, const char *text);

#endif
