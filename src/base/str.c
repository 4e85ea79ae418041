/* str.c - borrowed text.  Any thread. */
#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "base/check.h"
#include "base/str.h"

bool
cstr_eq(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
str_case_eq(struct str a, const char *b)
{
	return strlen(b) == a.n && (a.n == 0 || strncasecmp(a.p, b, a.n) == 0);
}

bool
str_to_u64(struct str s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned)(s.p[i] - '0');

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

bool
str_to_seconds(struct str s, double *out)
{
	char text[32];
	size_t dots = 0;
	double v;

	if (s.n == 0 || s.n >= sizeof(text))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.')
			dots++;
		else if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		text[i] = s.p[i];
	}
	if (dots > 1 || dots == s.n)
		return false;
	text[s.n] = '\0';
	/* Digits and one dot only, so neither locale nor hex can surprise. */
	v = strtod(text, NULL);
	if (!isfinite(v) || v > 86400e6)
		return false;
	*out = v;
	return true;
}

bool
str_to_duration(struct str s, double *out)
{
	static const struct {
		char letter;
		double seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 } };
	double unit = 1;

	for (size_t i = 0; s.n > 0 && i < sizeof(units) / sizeof(units[0]); i++)
		if (s.p[s.n - 1] == units[i].letter) {
			unit = units[i].seconds;
			s.n--;
			break;
		}
	if (!str_to_seconds(s, out))
		return false;
	*out *= unit;
	return true;
}

bool
str_copy(char *to, size_t size, struct str from)
{
	size_t n = from.n < size ? from.n : size - 1;

	if (n > 0)
		memcpy(to, from.p, n);
	to[n] = '\0';
	return n == from.n;
}

char *
str_dup(struct str s)
{
	char *copy = malloc(s.n + 1);

	if (copy == NULL)
		return NULL;
	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return copy;
}

bool
str_glob(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL;

	while (*text != '\0') {
		if (*pattern == '*') {
			star = pattern++;
			resume = text;
		} else if (*pattern == *text) {
			pattern++;
			text++;
		} else if (star != NULL) {
			pattern = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

size_t
str_distance(struct str a, struct str b, size_t limit)
{
	size_t row[3][64];

	if (a.n >= ARRAY_LEN(row[0]) || b.n >= ARRAY_LEN(row[0]))
		return limit + 1;
	for (size_t j = 0; j <= b.n; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t *now = row[i % 3], *last = row[(i + 2) % 3], *older = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t best = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
			    older[j - 2] + 1 < best)
				best = older[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[a.n % 3][b.n];
}
