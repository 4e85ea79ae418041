/* http1_error.c - answers made here.  Pure but for the clock; any thread. */
#include <stdio.h>
#include <time.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "proto/http1_error.h"

const char *
http1_error_phrase(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 301:
		return "Moved Permanently";
	case 302:
		return "Found";
	case 307:
		return "Temporary Redirect";
	case 308:
		return "Permanent Redirect";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 417:
		return "Expectation Failed";
	case 421:
		return "Misdirected Request";
	case 426:
		return "Upgrade Required";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Error";
	}
}

void
http1_date(int64_t seconds, char text[HTTP1_DATE_TEXT])
{
	/* strftime() would ask the locale. */
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char line[96];
	time_t t = (time_t)seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	snprintf(line, sizeof(line), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * tm.tm_wday,
		 tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	str_copy(text, HTTP1_DATE_TEXT, str_from(line));
}

static void
put_html(struct buf *b, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c < ' ' || c >= 0x7f || strchr("<>&\"'", c) != NULL)
			buf_printf(b, "&#%u;", c < ' ' || c >= 0x7f ? '?' : c);
		else
			buf_append(b, &c, 1);
	}
}

static void
write_html(struct buf *b, const struct http1_error *e)
{
	const char *phrase = http1_error_phrase(e->status);

	buf_printf(
		b,
		"<!DOCTYPE html>\n<html lang=\"en\"><head><title>%u %s</title></head>\n<body><h1>%u %s</h1>\n",
		e->status, phrase, e->status, phrase);
	if (e->detail != NULL) {
		buf_printf(b, "<p>");
		put_html(b, str_from(e->detail));
		buf_printf(b, "</p>\n");
	}
	if (e->request_id.n > 0) {
		buf_printf(b, "<p>Request: ");
		put_html(b, e->request_id);
		buf_printf(b, "</p>\n");
	}
	buf_printf(b, "</body></html>\n");
}

static void
write_json(struct buf *b, const struct http1_error *e)
{
	struct json j;

	json_init(&j, b);
	json_object(&j, NULL);
	json_u64(&j, "status", e->status);
	json_cstr(&j, "error", http1_error_phrase(e->status));
	if (e->detail != NULL)
		json_cstr(&j, "detail", e->detail);
	if (e->request_id.n > 0)
		json_str(&j, "request_id", e->request_id);
	json_object_end(&j);
	json_line_end(&j);
}

/* Only what may stand in a header line. */
static void
put_header_value(struct buf *b, struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] > ' ' && text.p[i] < 0x7f)
			buf_append(b, &text.p[i], 1);
}

static void
write_head(struct buf *b, const struct http1_error *e, size_t length)
{
	char date[HTTP1_DATE_TEXT];

	http1_date(clock_wall_us() / 1000000, date);
	buf_printf(b, "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", e->status,
		   http1_error_phrase(e->status), date,
		   e->page.p != NULL ? e->type :
		   e->json	     ? "application/json" :
				       "text/html; charset=utf-8",
		   length);
	buf_printf(b, "Cache-Control: no-store\r\n");
	if (e->retry_after > 0)
		buf_printf(b, "Retry-After: %u\r\n", e->retry_after);
	if (e->headers != NULL)
		buf_append(b, e->headers, strlen(e->headers));
	if (e->request_id.n > 0) {
		buf_printf(b, "X-Request-Id: ");
		put_header_value(b, e->request_id);
		buf_printf(b, "\r\n");
	}
	if (e->close)
		buf_printf(b, "Connection: close\r\n");
	else if (e->keep_alive)
		buf_printf(b, "Connection: keep-alive\r\n");
	buf_printf(b, "\r\n");
}

size_t
http1_error_write(const struct http1_error *e, char *out, size_t room)
{
	struct buf body, head;
	size_t n;

	/* Without memory of its own: one of these answers says that memory is out.  The
	 * body comes first, for its length, and waits at the end for the head. */
	buf_over(&body, out, room);
	if (e->page.p != NULL)
		buf_append(&body, e->page.p, e->page.n);
	else if (e->json)
		write_json(&body, e);
	else
		write_html(&body, e);
	n = e->head_only ? 0 : buf_len(&body);
	memmove(out + room - n, out, n);
	buf_over(&head, out, room - n);
	write_head(&head, e, buf_len(&body));
	if (body.failed || head.failed)
		return 0;
	memmove(out + buf_len(&head), out + room - n, n);
	return buf_len(&head) + n;
}

/* "0.5" in thousandths; what is no weight (RFC 9110 section 12.4.2) is 0. */
static unsigned
weight_of(struct str text)
{
	unsigned w, scale = 100;

	if (text.n == 0 || text.n > 5 || (text.p[0] != '0' && text.p[0] != '1') ||
	    (text.n > 1 && text.p[1] != '.'))
		return 0;
	w = (unsigned)(text.p[0] - '0') * 1000;
	for (size_t i = 2; i < text.n; i++, scale /= 10) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return 0;
		w += (unsigned)(text.p[i] - '0') * scale;
	}
	return w <= 1000 ? w : 0;
}

static struct str
trimmed(struct str s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.n--;
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static struct str
until(struct str *rest, char stop)
{
	const char *at = memchr(rest->p, stop, rest->n);
	struct str piece = { rest->p, at != NULL ? (size_t)(at - rest->p) : rest->n };

	rest->p += piece.n + (at != NULL);
	rest->n -= piece.n + (at != NULL);
	return trimmed(piece);
}

/* The next media range of an Accept, and its weight in thousandths; false at the end. */
static bool
next_range(struct str *rest, struct str *type, unsigned *weight)
{
	struct str range, parameter;

	if (rest->n == 0)
		return false;
	range = until(rest, ',');
	*type = until(&range, ';');
	*weight = 1000;
	while (range.n > 0) {
		parameter = until(&range, ';');
		if (parameter.n > 2 && (parameter.p[0] | 0x20) == 'q' && parameter.p[1] == '=')
			*weight = weight_of((struct str){ parameter.p + 2, parameter.n - 2 });
	}
	return true;
}

/* What one type is worth to the client: its most exact range counts. */
struct liking {
	unsigned exact;	/* 0: none, 1 any type, 2 any of the kind, 3 that one */
	unsigned weight;
};

static void
like(struct liking *l, unsigned exact, unsigned weight)
{
	if (exact > l->exact)
		*l = (struct liking){ exact, weight };
	else if (exact == l->exact && exact > 0 && weight > l->weight)
		l->weight = weight;
}

bool
http1_accepts_json(const struct http1_head *h)
{
	struct liking json = { 0 }, html = { 0 };

	if (!http1_head_has(h, HTTP1_ACCEPT))
		return false;
	for (unsigned i = h->first[HTTP1_ACCEPT]; i < h->header_count; i++) {
		struct str rest, type;
		unsigned weight;

		if (h->headers[i].id != HTTP1_ACCEPT)
			continue;
		rest = http1_text(h, h->headers[i].value);
		while (next_range(&rest, &type, &weight)) {
			if (str_case_eq(type, "*/*")) {
				like(&json, 1, weight);
				like(&html, 1, weight);
			} else if (str_case_eq(type, "application/*")) {
				like(&json, 2, weight);
			} else if (str_case_eq(type, "text/*")) {
				like(&html, 2, weight);
			} else if (str_case_eq(type, "application/json") ||
				   str_case_eq(type, "application/problem+json")) {
				like(&json, 3, weight);
			} else if (str_case_eq(type, "text/html")) {
				like(&html, 3, weight);
			}
		}
	}
	/* Who names JSON and then takes anything, as programs do, wants JSON. */
	return json.weight > html.weight || (json.weight == html.weight && json.exact > html.exact);
}

bool
http1_wants_events(const struct http1_head *h)
{
	struct str rest, type;
	bool events = false;
	unsigned weight;

	if (h->verb != HTTP1_GET || !http1_head_has(h, HTTP1_ACCEPT))
		return false;
	for (unsigned i = h->first[HTTP1_ACCEPT]; i < h->header_count; i++) {
		if (h->headers[i].id != HTTP1_ACCEPT)
			continue;
		rest = http1_text(h, h->headers[i].value);
		while (next_range(&rest, &type, &weight)) {
			if (type.n > 0 && weight > 0 && !str_case_eq(type, "text/event-stream"))
				return false;
			events |= type.n > 0 && weight > 0;
		}
	}
	return events;
}
