/* utf8.h - one character of UTF-8 (RFC 3629), strictly.  Any thread. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at p and its code point; 0 when the bytes are not
 * one: a stray or missing continuation, overlong, a surrogate, too large, or
 * n is 0. */
size_t utf8_next(const char *p, size_t n, uint32_t *point);

/* C0 (newline, escape, NUL …), DEL, C1: what a terminal may take as an order;
 * and the marks that turn the direction of writing, which can make a line
 * read as another. */
bool utf8_is_control(uint32_t point);

#endif
