/* status_set.c - sets of HTTP status codes.  Any thread. */
#include "model/status_set.h"

static bool
parse_code(struct str s, uint16_t *out)
{
	uint64_t code;

	if (s.n != 3 || !str_to_u64(s, 599, &code) || code < 100)
		return false;
	*out = (uint16_t)code;
	return true;
}

static bool
parse_range(struct str s, uint16_t *from, uint16_t *to)
{
	const char *dash = memchr(s.p, '-', s.n);
	size_t left = dash != NULL ? (size_t)(dash - s.p) : s.n;

	if (!parse_code((struct str){ s.p, left }, from))
		return false;
	if (dash == NULL) {
		*to = *from;
		return true;
	}
	return parse_code((struct str){ dash + 1, s.n - left - 1 }, to) && *from <= *to;
}

bool
status_set_parse(const char *text, struct status_set *out)
{
	struct status_set set = { 0 };

	for (;;) {
		const char *end = strchrnul(text, ',');

		if (set.n == STATUS_RANGES || !parse_range((struct str){ text, (size_t)(end - text) },
							   &set.ranges[set.n].from, &set.ranges[set.n].to))
			return false;
		set.n++;
		if (*end == '\0')
			break;
		text = end + 1;
	}
	*out = set;
	return true;
}

bool
status_set_has(const struct status_set *s, unsigned status)
{
	for (unsigned i = 0; i < s->n; i++)
		if (status >= s->ranges[i].from && status <= s->ranges[i].to)
			return true;
	return false;
}
