/* prometheus_accept.c - which format a scraper wants, by its Accept header
 * (RFC 9110 section 12.5.1).  Pure; any thread. */
#include "base/str.h"
#include "proto/prometheus.h"

/* In thousandths; what is no weight counts as 1, as if it were not there. */
#define WEIGHT_MAX 1000u

static struct str
trim_blanks(struct str s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = (struct str){ s.p + 1, s.n - 1 };
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Takes what stands before the separator off *rest; false at the end. */
static bool
next_part(struct str *rest, char separator, struct str *part)
{
	const char *at;

	if (rest->p == NULL)
		return false;
	at = rest->n > 0 ? memchr(rest->p, separator, rest->n) : NULL;
	*part = trim_blanks((struct str){ rest->p, at != NULL ? (size_t)(at - rest->p) : rest->n });
	if (at == NULL)
		*rest = (struct str){ NULL, 0 };
	else
		*rest = (struct str){ at + 1, rest->n - (size_t)(at + 1 - rest->p) };
	return true;
}

/* "0.75": at most three digits after the point. */
static unsigned
weight(struct str q)
{
	unsigned n = 0, scale = 100;

	if (q.n == 0 || q.n > 5 || (q.p[0] != '0' && q.p[0] != '1') || (q.n > 1 && q.p[1] != '.'))
		return WEIGHT_MAX;
	if (q.p[0] == '1')
		return WEIGHT_MAX;
	for (size_t i = 2; i < q.n; i++, scale /= 10) {
		if (q.p[i] < '0' || q.p[i] > '9')
			return WEIGHT_MAX;
		n += (unsigned)(q.p[i] - '0') * scale;
	}
	return n;
}

static bool
strip_name(struct str parameter, const char *name, struct str *value)
{
	struct str key;

	*value = parameter;
	if (!next_part(value, '=', &key) || value->p == NULL || !str_case_eq(key, name))
		return false;
	*value = trim_blanks(*value);
	if (value->n >= 2 && value->p[0] == '"' && value->p[value->n - 1] == '"')
		*value = (struct str){ value->p + 1, value->n - 2 };
	return true;
}

/* OpenMetrics must be asked for by name: who takes anything gets what every
 * Prometheus reads. */
enum prom_format
prom_negotiate(struct str accept)
{
	unsigned openmetrics = 0, text = 0;
	struct str rest = accept, range, type, parameter, value;

	while (next_part(&rest, ',', &range)) {
		unsigned q = WEIGHT_MAX;
		bool right_version = true;

		if (!next_part(&range, ';', &type))
			continue;
		while (next_part(&range, ';', &parameter)) {
			if (strip_name(parameter, "q", &value))
				q = weight(value);
			else if (strip_name(parameter, "version", &value))
				right_version = str_eq(value, "1.0.0");
		}
		if (str_case_eq(type, "application/openmetrics-text") && right_version && q > openmetrics)
			openmetrics = q;
		else if (str_case_eq(type, "text/plain") && q > text)
			text = q;
	}
	return openmetrics > 0 && openmetrics >= text ? PROM_OPENMETRICS : PROM_TEXT;
}
