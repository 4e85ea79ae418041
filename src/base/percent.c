/* percent.c - see the header.  Pure; any thread. */
#include <stdio.h>

#include "base/percent.h"

const char *
percent_format(uint32_t part, char out[PERCENT_TEXT])
{
	unsigned rest = part % 100;

	if (rest == 0)
		snprintf(out, PERCENT_TEXT, "%u%%", part / 100);
	else if (rest % 10 == 0)
		snprintf(out, PERCENT_TEXT, "%u.%u%%", part / 100, rest / 10);
	else
		snprintf(out, PERCENT_TEXT, "%u.%02u%%", part / 100, rest);
	return out;
}

bool
percent_parse(struct str text, uint32_t *out)
{
	uint32_t whole = 0, behind = 0, digits = 0, places = 0;
	size_t i = 0;

	if (text.n > 0 && text.p[text.n - 1] == '%')
		text.n--;
	for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && digits < 3; i++, digits++)
		whole = whole * 10 + (uint32_t)(text.p[i] - '0');
	if (digits == 0)
		return false;
	if (i < text.n && text.p[i] == '.') {
		for (i++; i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && places < 2; i++, places++)
			behind = behind * 10 + (uint32_t)(text.p[i] - '0');
		if (places == 0)
			return false;
	}
	if (i < text.n)
		return false;
	*out = whole * 100 + (places == 1 ? behind * 10 : behind);
	return *out <= PERCENT_WHOLE;
}
