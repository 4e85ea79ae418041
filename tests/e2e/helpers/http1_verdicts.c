/* http1_verdicts.c - what Teal's parser and Debian's http-parser make of the
 * same bytes.  Records from stdin: a byte (q request, s response, h response to
 * a HEAD), four of length (little endian), the bytes, which then end.  Two
 * lines for each, Teal's and the other's:
 *	ok END FIRST TARGET HEADERS BODY	all but the first in hex
 *	bad WHY
 *	more
 * END is where the message ends, FIRST its method or status, HEADERS each name
 * in lower case and each value, with a NUL behind either. */
#include <ctype.h>
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "proto/http1_body.h"
#include "proto/http1_host.h"

#define MAX 65536

struct text {
	size_t n;
	char p[MAX];
};

struct message {
	struct text first, target, headers, body;
	size_t end;
	bool complete, in_value, headers_done;
};

static struct message message;

static void
add(struct text *t, const char *p, size_t n)
{
	CHECK(t->n + n <= MAX);
	memcpy(t->p + t->n, p, n);
	t->n += n;
}

static void
start(void)
{
	message.first.n = message.target.n = message.headers.n = message.body.n = 0;
	message.end = 0;
	message.complete = message.in_value = message.headers_done = false;
}

static void
put_hex(const struct text *t)
{
	putchar(' ');
	if (t->n == 0)
		putchar('-');
	for (size_t i = 0; i < t->n; i++)
		printf("%02x", (unsigned char)t->p[i]);
}

static void
put_message(void)
{
	printf("ok %zu", message.end);
	put_hex(&message.first);
	put_hex(&message.target);
	put_hex(&message.headers);
	put_hex(&message.body);
	putchar('\n');
}

/* Teal's, as its data path goes: head, host, framing, body. */
static void
ours(char kind, const char *p, size_t n)
{
	static struct http1_head h;
	enum http1_reason reason;
	struct http1_host host;
	struct http1_body b;
	enum http1_verdict v;
	struct str data;
	size_t at;
	char status[16];

	start();
	if (kind == 'q')
		http1_head_init(&h, MAX);
	else
		http1_head_init_response(&h, MAX);
	v = http1_head_parse(&h, p, n);
	reason = h.reason;
	if (v == HTTP1_DONE && kind == 'q' && (reason = http1_host_of(&h, &host)) != HTTP1_FINE)
		v = HTTP1_BAD;
	if (v == HTTP1_DONE) {
		v = kind == 'q' ? http1_body_of_request(&b, &h) : http1_body_of_response(&b, &h, kind == 'h');
		reason = (enum http1_reason)b.reason;
	}
	for (at = h.length; v == HTTP1_DONE && !b.done; at += 0) {
		if (at == n) {
			v = b.framing == HTTP1_BODY_CLOSE ? http1_body_finish(&b) : HTTP1_NEED_MORE;
			break;
		}
		at += http1_body_take(&b, p + at, n - at, &data, &v);
		add(&message.body, data.p, data.n);
		reason = (enum http1_reason)b.reason;
		if (v == HTTP1_NEED_MORE)
			v = HTTP1_DONE;
	}
	if (v == HTTP1_NEED_MORE) {
		puts("more");
		return;
	}
	if (v == HTTP1_BAD) {
		printf("bad %s\n", http1_reason_words(reason));
		return;
	}
	message.end = at;
	snprintf(status, sizeof(status), "%u", h.status);
	if (kind == 'q')
		add(&message.first, http1_text(&h, h.method).p, h.method.n);
	else
		add(&message.first, status, strlen(status));
	add(&message.target, http1_text(&h, h.target).p, h.target.n);
	for (unsigned i = 0; i < h.header_count; i++) {
		for (size_t k = 0; k < h.headers[i].name.n; k++) {
			char c = (char)tolower((unsigned char)http1_text(&h, h.headers[i].name).p[k]);

			add(&message.headers, &c, 1);
		}
		add(&message.headers, "", 1);
		add(&message.headers, http1_text(&h, h.headers[i].value).p, h.headers[i].value.n);
		add(&message.headers, "", 1);
	}
	put_message();
}

static int
on_url(http_parser *p, const char *at, size_t n)
{
	(void)p;
	add(&message.target, at, n);
	return 0;
}

/* White space behind a value is its user's affair, as in Node. */
static void
end_value(void)
{
	while (message.headers.n > 0 && (message.headers.p[message.headers.n - 1] == ' ' ||
					 message.headers.p[message.headers.n - 1] == '\t'))
		message.headers.n--;
	add(&message.headers, "", 1);
	message.in_value = false;
}

static int
on_field(http_parser *p, const char *at, size_t n)
{
	(void)p;
	if (message.headers_done)	/* a trailer */
		return 0;
	if (message.in_value)
		end_value();
	for (size_t i = 0; i < n; i++) {
		char c = (char)tolower((unsigned char)at[i]);

		add(&message.headers, &c, 1);
	}
	return 0;
}

static int
on_value(http_parser *p, const char *at, size_t n)
{
	(void)p;
	if (message.headers_done)
		return 0;
	if (!message.in_value)
		add(&message.headers, "", 1);
	message.in_value = true;
	add(&message.headers, at, n);
	return 0;
}

static int
on_headers(http_parser *p)
{
	if (message.in_value)
		end_value();
	message.headers_done = true;
	return *(char *)p->data == 'h';
}

static int
on_body(http_parser *p, const char *at, size_t n)
{
	(void)p;
	add(&message.body, at, n);
	return 0;
}

static int
on_complete(http_parser *p)
{
	message.complete = true;
	http_parser_pause(p, 1);
	return 0;
}

static void
theirs(char kind, const char *bytes, size_t n)
{
	static const http_parser_settings settings = { .on_url = on_url,
						       .on_header_field = on_field,
						       .on_header_value = on_value,
						       .on_headers_complete = on_headers,
						       .on_body = on_body,
						       .on_message_complete = on_complete };
	http_parser p;
	char first[16];

	start();
	http_parser_init(&p, kind == 'q' ? HTTP_REQUEST : HTTP_RESPONSE);
	p.data = &kind;
	message.end = http_parser_execute(&p, &settings, bytes, n);
	if (!message.complete && HTTP_PARSER_ERRNO(&p) == HPE_OK)
		http_parser_execute(&p, &settings, bytes + n, 0);
	if (!message.complete) {
		if (HTTP_PARSER_ERRNO(&p) == HPE_OK || HTTP_PARSER_ERRNO(&p) == HPE_INVALID_EOF_STATE)
			puts("more");
		else
			printf("bad %s\n", http_errno_name(HTTP_PARSER_ERRNO(&p)));
		return;
	}
	snprintf(first, sizeof(first), "%u", p.status_code);
	if (kind == 'q')
		add(&message.first, http_method_str((enum http_method)p.method),
		    strlen(http_method_str((enum http_method)p.method)));
	else
		add(&message.first, first, strlen(first));
	put_message();
}

int
main(void)
{
	static char bytes[MAX];
	unsigned char head[5];
	size_t n;

	while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
		n = head[1] | head[2] << 8 | head[3] << 16 | (size_t)head[4] << 24;
		CHECK(n <= MAX && fread(bytes, 1, n, stdin) == n);
		ours((char)head[0], bytes, n);
		theirs((char)head[0], bytes, n);
	}
	return 0;
}
