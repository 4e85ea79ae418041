/* fuzz_client_bytes.c - whatever a client put into the fields of a log line, it is
 * one line, and one JSON object with each of its members.  And as label values
 * of a metric they keep the line whole, and come back. */
#include <jansson.h>

#include "base/check.h"
#include "base/log_ring.h"
#include "base/utf8.h"
#include "proto/prometheus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS 6

/* Undoes the escapes of a label's value; its length.  Stops at the quote. */
static size_t
unescape(const char *p, const char *end, char *out)
{
	size_t n = 0;

	for (; CHECK(p < end), *p != '"'; p++) {
		CHECK(*p != '\n');
		if (*p == '\\') {
			p++;
			CHECK(p < end && (*p == '\\' || *p == '"' || *p == 'n'));
			out[n++] = *p == 'n' ? '\n' : *p;
		} else {
			out[n++] = *p;
		}
	}
	return n;
}

static void
as_label(struct str s)
{
	struct prom_label label = { "l", s };
	struct buf out;
	struct prom p;
	char *back;
	size_t n, i = 0, len;
	uint32_t point;

	buf_init(&out, 4 * s.n + 256);
	prom_init(&p, &out, PROM_OPENMETRICS);
	prom_go_on(&p, "g", PROM_GAUGE);
	prom_u64(&p, NULL, &label, 1, 1);
	CHECK(!out.failed);
	CHECK(memchr(buf_str(&out).p, '\n', buf_len(&out) - 1) == NULL);
	back = must_alloc(buf_len(&out) + 1);
	n = unescape(buf_str(&out).p + strlen("g{l=\""), buf_str(&out).p + buf_len(&out), back);
	for (; i < n; i += len)
		CHECK((len = utf8_next(back + i, n - i, &point)) > 0);
	for (i = 0; i < s.n; i += len)
		if ((len = utf8_next(s.p + i, s.n - i, &point)) == 0)
			break;
	if (i == s.n)
		CHECK(n == s.n && (n == 0 || memcmp(back, s.p, n) == 0));
	free(back);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[FIELDS] = { "path", "user_agent", "reason", "sni", "user", "message" };
	struct log_field fields[FIELDS + 3];
	static char text[LOG_LINE_MAX];
	size_t each = size / FIELDS, n;
	double number = 0;
	json_error_t error;
	json_t *o;

	memcpy(&number, data, size < sizeof(number) ? size : sizeof(number));
	for (size_t i = 0; i < FIELDS; i++) {
		struct str s = { (const char *)data + i * each, each };

		fields[i] = LT(keys[i], s);
		as_label(s);
	}
	fields[FIELDS] = LF("seconds", number);
	fields[FIELDS + 1] = LU("bytes_in", size);
	fields[FIELDS + 2] = LOG_FIELDS_END;
	n = log_line(text, LOG_INFO_LEVEL, "http.request", fields);
	/* No client keeps a line out of the log. */
	CHECK(n > 0 && n <= LOG_LINE_MAX);
	CHECK(memchr(text, '\n', n) == text + n - 1);
	o = json_loadb(text, n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	CHECK(o != NULL && json_is_object(o));
	CHECK(json_object_size(o) == 3 + FIELDS + 2);
	json_decref(o);
	return 0;
}
