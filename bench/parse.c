/* parse.c - what it costs to read a head, and to write the one that goes on;
 * beside Debian's http-parser on the same bytes.
 *
 *	make bench-parse
 *
 * Nanoseconds of one core for each head, the least of many rounds: what other
 * programs on the machine take away only makes rounds longer. */
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "proto/http1_body.h"
#include "proto/http1_edit.h"
#include "proto/http1_host.h"

#define ROUNDS 200
#define HEADS 2000

static const char load[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
static const char browser[] =
	"GET /catalogue/shoes/running?color=blue&size=43&sort=price HTTP/1.1\r\n"
	"Host: www.shop.example\r\n"
	"Connection: keep-alive\r\n"
	"Cache-Control: max-age=0\r\n"
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 "
	"Safari/537.36\r\n"
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
	"Referer: https://www.shop.example/catalogue/shoes\r\n"
	"Accept-Encoding: gzip, deflate, br\r\n"
	"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
	"Cookie: session=0123456789abcdef0123456789abcdef; consent=yes\r\n"
	"If-None-Match: \"5f3c-60d1\"\r\n"
	"\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\n"
			     "Server: nginx/1.22.1\r\n"
			     "Date: Sun, 22 Nov 2026 14:02:11 GMT\r\n"
			     "Content-Type: text/html; charset=utf-8\r\n"
			     "Content-Length: 612\r\n"
			     "Last-Modified: Tue, 04 Dec 2018 14:52:24 GMT\r\n"
			     "Connection: keep-alive\r\n"
			     "ETag: \"5c0694a8-264\"\r\n"
			     "Accept-Ranges: bytes\r\n"
			     "\r\n";

static struct http1_head head;
static char out[4096];

struct subject {
	const char *text;
	size_t n;
	bool response;
};

static void
read_head(const struct subject *s)
{
	if (s->response)
		http1_head_init_response(&head, 16384);
	else
		http1_head_init(&head, 16384);
	CHECK(http1_head_parse(&head, s->text, s->n) == HTTP1_DONE);
}

static void
read_all(const struct subject *s)
{
	struct http1_host host;
	struct http1_body body;

	read_head(s);
	if (s->response) {
		CHECK(http1_body_of_response(&body, &head, false) == HTTP1_DONE);
		return;
	}
	CHECK(http1_host_of(&head, &host) == HTTP1_FINE);
	CHECK(http1_body_of_request(&body, &head) == HTTP1_DONE);
}

static void
write_head(const struct subject *s)
{
	static const struct http1_edit_response response = { .coding = HTTP1_CODING_PASS };
	static const struct http1_edit request = {
		.forwarded = HTTP1_FORWARDED_REPLACE,
		.client = STR("203.0.113.17"),
		.proto = STR("https"),
		.host = STR("www.shop.example"),
		.request_id = STR("0123456789abcdef0123456789abcdef"),
	};

	CHECK((s->response ? http1_edit_response(&head, &response, out, sizeof(out)) :
			     http1_edit_request(&head, &request, out, sizeof(out))) > 0);
}

static int
on_data(http_parser *p, const char *at, size_t n)
{
	/* What any user of it has to keep. */
	struct http1_head *h = p->data;
	struct http1_header *header = &h->headers[h->header_count];

	header->value = (struct http1_slice){ (uint32_t)(at - h->base), (uint32_t)n };
	return 0;
}

static int
on_name(http_parser *p, const char *at, size_t n)
{
	struct http1_head *h = p->data;
	struct http1_header *header = &h->headers[++h->header_count];

	header->name = (struct http1_slice){ (uint32_t)(at - h->base), (uint32_t)n };
	return 0;
}

static void
other(const struct subject *s)
{
	static const http_parser_settings settings = { .on_url = on_data,
						       .on_header_field = on_name,
						       .on_header_value = on_data };
	http_parser p;

	http_parser_init(&p, s->response ? HTTP_RESPONSE : HTTP_REQUEST);
	p.data = &head;
	head.base = s->text;
	head.header_count = 0;
	CHECK(http_parser_execute(&p, &settings, s->text, s->n) == s->n);
}

static double
measure(void (*work)(const struct subject *), const struct subject *s)
{
	double best = 1e9;

	for (int round = 0; round < ROUNDS; round++) {
		struct timespec a, b;
		double ns;

		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < HEADS; i++)
			work(s);
		clock_gettime(CLOCK_MONOTONIC, &b);
		ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / HEADS;
		if (ns < best)
			best = ns;
	}
	return best;
}

int
main(void)
{
	static const char *const paths[] = { "plain", "sse4.2", "avx2" };
	static const struct subject subjects[] = {
		{ load, sizeof(load) - 1, false },
		{ browser, sizeof(browser) - 1, false },
		{ answer, sizeof(answer) - 1, true },
	};
	static const char *const names[] = { "wrk's request", "a browser's request", "nginx's response" };

	printf("%-22s %6s %12s", "nanoseconds", "bytes", "http-parser");
	for (size_t path = 0; path < ARRAY_LEN(paths); path++)
		printf(" %8s", paths[path]);
	printf(" %14s %8s\n", "host, framing", "edit");
	for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
		double parse = 0;

		printf("%-22s %6zu %12.0f", names[i], subjects[i].n, measure(other, &subjects[i]));
		for (int path = 0; path < (int)ARRAY_LEN(paths); path++) {
			if (!http1_head_use((enum http1_path)path)) {
				printf(" %8s", "-");
				continue;
			}
			parse = measure(read_head, &subjects[i]);
			printf(" %8.0f", parse);
		}
		printf(" %14.0f", measure(read_all, &subjects[i]) - parse);
		printf(" %8.0f\n", measure(write_head, &subjects[i]));
	}
	return 0;
}
