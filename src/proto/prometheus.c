/* prometheus.c - the text exposition format.  Pure; any thread. */
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/decimal.h"
#include "base/utf8.h"
#include "proto/prometheus.h"

static const char *const type_words[] = {
	[PROM_COUNTER] = "counter",
	[PROM_GAUGE] = "gauge",
	[PROM_HISTOGRAM] = "histogram",
};

void
prom_init(struct prom *p, struct buf *out)
{
	*p = (struct prom){ .out = out };
}

static void
put(struct prom *p, const char *s)
{
	buf_append(p->out, s, strlen(s));
}

void
prom_family(struct prom *p, const char *name, enum prom_type type, const char *help)
{
	CHECK((size_t)type < ARRAY_LEN(type_words));
	p->name = name;
	p->type = type;
	put(p, "# HELP ");
	put(p, name);
	put(p, " ");
	put(p, help);
	put(p, "\n# TYPE ");
	put(p, name);
	put(p, " ");
	put(p, type_words[type]);
	put(p, "\n");
}

/* One character that is not UTF-8 would cost the scraper the whole page. */
static void
put_value(struct prom *p, struct str s)
{
	size_t from = 0, i = 0, len;
	uint32_t point;

	if (s.n == 0)
		return;
	while (i < s.n) {
		const char *instead = NULL;

		if ((len = utf8_next(s.p + i, s.n - i, &point)) == 0) {
			instead = "\xef\xbf\xbd";
			len = 1;
		} else if (point == '\\') {
			instead = "\\\\";
		} else if (point == '"') {
			instead = "\\\"";
		} else if (point == '\n') {
			instead = "\\n";
		}
		if (instead != NULL) {
			buf_append(p->out, s.p + from, i - from);
			put(p, instead);
			from = i + len;
		}
		i += len;
	}
	buf_append(p->out, s.p + from, i - from);
}

static size_t
number(char *text, double value)
{
	const char *word;

	if (isfinite(value))
		return decimal_exact(text, value);
	word = isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
	memcpy(text, word, strlen(word));
	return strlen(word);
}

/* name{labels} and a space; le is one more label unless NULL. */
static void
put_series(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, const double *le)
{
	char text[DECIMAL_TEXT];
	const char *before = "{";

	CHECK(p->name != NULL);
	put(p, p->name);
	if (suffix != NULL)
		put(p, suffix);
	for (size_t i = 0; i < n; i++, before = ",") {
		put(p, before);
		put(p, labels[i].name);
		put(p, "=\"");
		put_value(p, labels[i].value);
		put(p, "\"");
	}
	if (le != NULL) {
		put(p, before);
		put(p, "le=\"");
		buf_append(p->out, text, number(text, *le));
		put(p, "\"");
	}
	put(p, n > 0 || le != NULL ? "} " : " ");
}

static void
put_u64(struct prom *p, uint64_t value)
{
	char text[DECIMAL_TEXT];

	buf_append(p->out, text, decimal_u64(text, value));
	put(p, "\n");
}

static void
put_double(struct prom *p, double value)
{
	char text[DECIMAL_TEXT];

	buf_append(p->out, text, number(text, value));
	put(p, "\n");
}

void
prom_u64(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, uint64_t value)
{
	put_series(p, suffix, labels, n, NULL);
	put_u64(p, value);
}

void
prom_double(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, double value)
{
	put_series(p, suffix, labels, n, NULL);
	put_double(p, value);
}

void
prom_observed(struct prom *p, const struct prom_label *labels, size_t n, const struct prom_histogram *h)
{
	double bound = INFINITY;
	uint64_t total = 0;

	CHECK(p->type == PROM_HISTOGRAM);
	for (size_t i = 0; i <= h->n; i++) {
		/* The last bucket and _count are one number by construction, also
		 * while another thread counts on. */
		total += h->counts[i];
		put_series(p, "_bucket", labels, n, i < h->n ? &h->bounds[i] : &bound);
		put_u64(p, total);
	}
	put_series(p, "_sum", labels, n, NULL);
	put_double(p, h->sum);
	put_series(p, "_count", labels, n, NULL);
	put_u64(p, total);
}
