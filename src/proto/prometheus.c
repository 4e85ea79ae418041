/* prometheus.c - the text formats of metrics.  Pure; any thread. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/decimal.h"
#include "base/utf8.h"
#include "proto/prometheus.h"

static const char *const text_words[] = {
	[PROM_COUNTER] = "counter", [PROM_GAUGE] = "gauge", [PROM_HISTOGRAM] = "histogram",
	[PROM_INFO] = "gauge", [PROM_COUNTER_BESIDE] = "counter",
};
static const char *const openmetrics_words[] = {
	[PROM_COUNTER] = "counter", [PROM_GAUGE] = "gauge", [PROM_HISTOGRAM] = "histogram",
	[PROM_INFO] = "info", [PROM_COUNTER_BESIDE] = "unknown",
};
/* OpenMetrics wants a unit to be the end of the name. */
static const char *const units[] = { "seconds", "bytes" };

const char *
prom_content_type(enum prom_format format)
{
	return format == PROM_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8" :
					    "text/plain; version=0.0.4; charset=utf-8";
}

void
prom_init(struct prom *p, struct buf *out, enum prom_format format)
{
	p->out = out;
	p->format = format;
	p->name = (struct str){ NULL, 0 };
	p->type = PROM_GAUGE;
	p->bounds = NULL;
}

static void
put_string(struct prom *p, const char *s)
{
	buf_append(p->out, s, strlen(s));
}

/* Length of the name without that ending, if it has it. */
static size_t
without(struct str name, const char *ending)
{
	size_t n = strlen(ending);

	return name.n > n && memcmp(name.p + name.n - n, ending, n) == 0 ? name.n - n : name.n;
}

static void
put_metadata(struct prom *p, const char *what, size_t n, const char *text)
{
	put_string(p, what);
	buf_append(p->out, p->name.p, n);
	put_string(p, " ");
	put_string(p, text);
	put_string(p, "\n");
}

void
prom_go_on(struct prom *p, const char *name, enum prom_type type)
{
	CHECK((size_t)type < ARRAY_LEN(text_words));
	p->name = str_from(name);
	p->type = type;
}

void
prom_family(struct prom *p, const char *name, enum prom_type type, const char *help)
{
	size_t n;

	prom_go_on(p, name, type);
	n = p->name.n;
	if (p->format == PROM_TEXT) {
		put_metadata(p, "# HELP ", n, help);
		put_metadata(p, "# TYPE ", n, text_words[type]);
		return;
	}
	if (type == PROM_COUNTER)
		n = without(p->name, "_total");
	else if (type == PROM_INFO)
		n = without(p->name, "_info");
	put_metadata(p, "# TYPE ", n, openmetrics_words[type]);
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (without((struct str){ p->name.p, n }, units[i]) < n)
			put_metadata(p, "# UNIT ", n, units[i]);
	put_metadata(p, "# HELP ", n, help);
}

static size_t
write_number(char *text, double value)
{
	const char *word;

	if (isfinite(value))
		return decimal_exact(text, value);
	word = isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
	memcpy(text, word, strlen(word));
	return strlen(word);
}

static char *
copy(char *to, const char *from, size_t n)
{
	if (n > 0)	/* from may be NULL then */
		memcpy(to, from, n);
	return to + n;
}

/* Bytes that stand for themselves, one after the other; false at others. */
static bool
is_plain_label(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* A label's value, at most three times as long as it was.  One character that
 * is not UTF-8 would cost the scraper the whole page. */
static char *
copy_value(char *to, struct str s)
{
	size_t i = 0, len;
	uint32_t point;

	while (i < s.n) {
		if (is_plain_label((unsigned char)s.p[i])) {
			*to++ = s.p[i++];
			continue;
		}
		len = utf8_next(s.p + i, s.n - i, &point);
		if (len == 0) {
			to = copy(to, "\xef\xbf\xbd", 3);
			len = 1;
		} else if (point == '\\' || point == '"') {
			*to++ = '\\';
			*to++ = (char)point;
		} else if (point == '\n') {
			to = copy(to, "\\n", 2);
		} else {
			to = copy(to, s.p + i, len);
		}
		i += len;
	}
	return to;
}

/* One line, in one step into the buf: each step costs more than the bytes it
 * moves.  le is one more label unless NULL. */
static void
put_sample_line(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, const char *le,
		const char *value, size_t value_len)
{
	size_t suffix_len = suffix != NULL ? strlen(suffix) : 0, le_len = le != NULL ? strlen(le) : 0;
	size_t need = p->name.n + suffix_len + value_len + le_len + sizeof("{,le=\"\"} \n");
	char *start, *to, before = '{';

	CHECK(p->name.p != NULL);
	for (size_t i = 0; i < n; i++)
		need += strlen(labels[i].name) + 3 * labels[i].value.n + sizeof(",=\"\"");
	if ((start = to = buf_reserve(p->out, need)) == NULL)
		return;
	to = copy(to, p->name.p, p->name.n);
	if (suffix != NULL)
		to = copy(to, suffix, suffix_len);
	for (size_t i = 0; i < n; i++, before = ',') {
		*to++ = before;
		to = copy(to, labels[i].name, strlen(labels[i].name));
		to = copy(to, "=\"", 2);
		to = copy_value(to, labels[i].value);
		*to++ = '"';
	}
	if (le != NULL) {
		*to++ = before;
		to = copy(to, "le=\"", 4);
		to = copy(to, le, le_len);
		*to++ = '"';
	}
	if (n > 0 || le != NULL)
		*to++ = '}';
	*to++ = ' ';
	to = copy(to, value, value_len);
	*to++ = '\n';
	buf_commit(p->out, (size_t)(to - start));
}

void
prom_u64(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, uint64_t value)
{
	char text[DECIMAL_TEXT];

	put_sample_line(p, suffix, labels, n, NULL, text, decimal_u64(text, value));
}

void
prom_double(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, double value)
{
	char text[DECIMAL_TEXT];

	put_sample_line(p, suffix, labels, n, NULL, text, write_number(text, value));
}

/* OpenMetrics wants 1.0, and a series must not change its name with the
 * format it is asked for in. */
static void
spell_bounds(struct prom *p, const struct prom_histogram *h)
{
	char text[DECIMAL_TEXT];

	CHECK(h->n <= PROM_BUCKETS_MAX);
	for (size_t i = 0; i < h->n; i++) {
		text[write_number(text, h->bounds[i])] = '\0';
		snprintf(p->le[i], sizeof(p->le[i]), "%.20s%s", text,
			 strpbrk(text, ".e") == NULL ? ".0" : "");
	}
	p->bounds = h->bounds;
}

void
prom_observed(struct prom *p, const struct prom_label *labels, size_t n, const struct prom_histogram *h)
{
	char text[DECIMAL_TEXT];
	uint64_t total = 0;

	CHECK(p->type == PROM_HISTOGRAM);
	if (p->bounds != h->bounds)
		spell_bounds(p, h);
	for (size_t i = 0; i <= h->n; i++) {
		/* The last bucket and _count are one number by construction, also
		 * while another thread counts on. */
		total += h->counts[i];
		put_sample_line(p, "_bucket", labels, n, i < h->n ? p->le[i] : "+Inf", text,
				decimal_u64(text, total));
	}
	prom_double(p, "_sum", labels, n, h->sum);
	prom_u64(p, "_count", labels, n, total);
}

void
prom_end(struct prom *p)
{
	if (p->format == PROM_OPENMETRICS)
		put_string(p, "# EOF\n");
}
