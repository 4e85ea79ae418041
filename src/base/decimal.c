/* decimal.c - numbers as text.  Any thread. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/decimal.h"

static const char pairs[] =
	"0001020304050607080910111213141516171819"
	"2021222324252627282930313233343536373839"
	"4041424344454647484950515253545556575859"
	"6061626364656667686970717273747576777879"
	"8081828384858687888990919293949596979899";

/* How many digits it has: a guess from its bits, which is at most one too high. */
static inline size_t
count_digits(uint64_t value)
{
	static const uint64_t ten[] = { 1ULL,
					10ULL,
					100ULL,
					1000ULL,
					10000ULL,
					100000ULL,
					1000000ULL,
					10000000ULL,
					100000000ULL,
					1000000000ULL,
					10000000000ULL,
					100000000000ULL,
					1000000000000ULL,
					10000000000000ULL,
					100000000000000ULL,
					1000000000000000ULL,
					10000000000000000ULL,
					100000000000000000ULL,
					1000000000000000000ULL,
					10000000000000000000ULL };
	unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1), guess = bits * 1233 >> 12;

	return guess + (value >= ten[guess]) + (value == 0);
}

size_t
decimal_u64(char *text, uint64_t value)
{
	size_t n = count_digits(value);
	char *p = text + n;

	while (value >= 100) {
		p -= 2;
		memcpy(p, pairs + value % 100 * 2, 2);
		value /= 100;
	}
	if (value >= 10)
		memcpy(p - 2, pairs + value * 2, 2);
	else
		p[-1] = (char)('0' + value);
	return n;
}

size_t
decimal_i64(char *text, int64_t value)
{
	if (value >= 0)
		return decimal_u64(text, (uint64_t)value);
	*text = '-';
	/* 0 - x in unsigned arithmetic also holds for the lowest value. */
	return 1 + decimal_u64(text + 1, 0 - (uint64_t)value);
}

/* The locale may want a comma. */
static size_t
by_printf(char *text, int digits, double value)
{
	int n = snprintf(text, DECIMAL_TEXT, "%.*g", digits, value);
	char *comma = strchr(text, ',');

	CHECK(n > 0 && n < DECIMAL_TEXT);
	if (comma != NULL)
		*comma = '.';
	return (size_t)n;
}

/* 0.ddddddddd or dd.ddddddd: nine digits, of which `places` stand behind the
 * point; zeros at the end are left out. */
static size_t
place_point(char *text, uint64_t nine, int places)
{
	char digits[DECIMAL_TEXT];
	size_t n = 0, count;

	while (places > 0 && nine % 10 == 0) {
		nine /= 10;
		places--;
	}
	count = decimal_u64(digits, nine);
	if ((size_t)places >= count) {
		text[n++] = '0';
		text[n++] = '.';
		for (size_t zeros = (size_t)places - count; zeros > 0; zeros--)
			text[n++] = '0';
		memcpy(text + n, digits, count);
		return n + count;
	}
	memcpy(text, digits, count - (size_t)places);
	n = count - (size_t)places;
	if (places > 0) {
		text[n++] = '.';
		memcpy(text + n, digits + n - 1, (size_t)places);
		n += (size_t)places;
	}
	return n;
}

/* d.dddddddde-XX: of a request on a fast network, a fraction of a millisecond. */
static size_t
put_exponent(char *text, uint64_t nine, int exponent)
{
	char digits[DECIMAL_TEXT];
	size_t n = 1, count;

	while (nine % 10 == 0)
		nine /= 10;
	count = decimal_u64(digits, nine);
	text[0] = digits[0];
	if (count > 1) {
		text[n++] = '.';
		memcpy(text + n, digits + 1, count - 1);
		n += count - 1;
	}
	text[n++] = 'e';
	text[n++] = '-';
	memcpy(text + n, pairs + exponent * 2, 2);
	return n + 2;
}

/* Digits behind the point of nine; with more, exponents begin. */
#define PLACES_PLAIN 12
#define PLACES_MAX 17

size_t
decimal_9(char *text, double value)
{
	static const double power[PLACES_MAX + 1] = { 1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,
						      1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17 };
	double size = fabs(value), scaled, whole, rest;
	int places = 0;
	size_t sign = 0;

	if (signbit(value))
		text[sign++] = '-';
	if (size < 1e9 && size == floor(size))
		return sign + decimal_u64(text + sign, (uint64_t)size);
	if (size < 1e-9 || size >= 999999999.5)
		return by_printf(text, 9, value);
	/* Nine digits before the point, exactly but for one rounding. */
	while (places < PLACES_MAX && size * power[places] < 1e8)
		places++;
	scaled = size * power[places];
	whole = floor(scaled);
	rest = scaled - whole;
	/* That rounding moved less than 1e-6; close to a half, or where a digit
	 * more may come of it, let printf do it with all bits. */
	if (fabs(rest - 0.5) < 1e-6 || whole < 100000001 || whole > 999999997)
		return by_printf(text, 9, value);
	if (places > PLACES_PLAIN)
		return sign + put_exponent(text + sign, (uint64_t)whole + (rest > 0.5), places - 8);
	return sign + place_point(text + sign, (uint64_t)whole + (rest > 0.5), places);
}

size_t
decimal_exact(char *text, double value)
{
	size_t n = 0;

	if (fabs(value) < 1e15 && value == floor(value) && !(value == 0 && signbit(value)))
		return decimal_i64(text, (int64_t)value);
	/* 15 digits or less always survive, 17 always suffice; %g leaves the
	 * zeros at the end out. */
	for (int digits = 15; digits <= 17; digits++) {
		char again[DECIMAL_TEXT];

		n = by_printf(text, digits, value);
		snprintf(again, sizeof(again), "%.*g", digits, value);
		if (strtod(again, NULL) == value)	/* in the locale's own spelling */
			break;
	}
	return n;
}
