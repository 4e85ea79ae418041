/* fuzz_http1_edit.c - what goes on of any head is a head again, framed as it
 * was, with no hop-by-hop header and nothing that was not there but what the
 * rules add.  The first two bytes of the input choose the rules. */
#include "http1_check.h"
#include "proto/http1_body.h"
#include "proto/http1_edit.h"
#include "proto/http1_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char out[2 * HEAD_MAX + 1024];
static struct http1_head before, after;

static const struct http1_line lines[] = { { STR("X-Teal-Color"), STR("blue"), true },
					   { STR("X-Other"), STR("1"), false } };

static bool
same(struct str a, struct str b)
{
	return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* The lines that were there are there in their order; the others are ours.
 * Returns how many are. */
static unsigned
count_ours(void)
{
	unsigned k = 0, ours = 0;

	for (unsigned i = 0; i < after.header_count; i++) {
		struct str name = http1_text(&after, after.headers[i].name);
		unsigned from = k;

		while (k < before.header_count &&
		       !(same(name, http1_text(&before, before.headers[k].name)) &&
			 same(http1_text(&after, after.headers[i].value),
			      http1_text(&before, before.headers[k].value))))
			k++;
		if (k < before.header_count) {
			k++;
			continue;
		}
		k = from;
		ours++;
	}
	return ours;
}

static void
check_hops(bool upgrade)
{
	static const enum http1_name never[] = { HTTP1_KEEP_ALIVE, HTTP1_PROXY_CONNECTION };

	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		CHECK(!http1_head_has(&after, never[i]));
	CHECK(!(after.connection & HTTP1_C_NAMED));
	CHECK(!(after.repeated & HTTP1_BIT(HTTP1_CONNECTION)));
	CHECK(upgrade || !http1_head_has(&after, HTTP1_UPGRADE));
	CHECK(!http1_head_has(&after, HTTP1_UPGRADE) || (after.connection & HTTP1_C_UPGRADE));
}

static void
parse_again(size_t n, bool response)
{
	if (response)
		http1_head_init_response(&after, sizeof(out));
	else
		http1_head_init(&after, sizeof(out));
	/* What went on is good for anybody, but for a status that nobody may change. */
	after.lenient = before.status > 599;
	http1_head_limit(&after, &(struct http1_limits){
					 .head = sizeof(out), .target = sizeof(out), .headers = HTTP1_HEADERS_MAX });
	CHECK(http1_head_parse(&after, out, n) == HTTP1_DONE && after.length == n);
	check_done(&after, out, n);
	CHECK(after.minor == 1);
}

static void
edit_request(unsigned flags)
{
	struct http1_edit e = { .forwarded = (enum http1_forwarded)(flags % 3), .client = STR("2001:db8::9"),
				.proto = STR("https") };
	struct http1_body framed, again;
	struct http1_host host;
	size_t n;

	if (before.form == HTTP1_AUTHORITY || http1_host_of(&before, &host) != HTTP1_FINE ||
	    http1_body_of_request(&framed, &before) != HTTP1_DONE)
		return;
	e.host = host.authority;
	e.authority = host.authority.n > 0 ? host.authority : STR("backend");
	e.rfc7239 = flags & 4;
	e.request_id = flags & 8 ? STR("made-here") : STR("");
	e.via = flags & 16 ? STR("teal") : STR("");
	e.upgrade = flags & 32;
	e.close = flags & 64;
	e.no_expect = flags & 128;
	e.lines = lines;
	e.n_lines = flags >> 8 & 2;
	n = http1_edit_request(&before, &e, out, sizeof(out));
	CHECK(n > 0 && http1_edit_request(&before, &e, out, n - 1) == 0);
	CHECK(http1_edit_request(&before, &e, out, n) == n);
	parse_again(n, false);
	check_hops(e.upgrade);
	CHECK(same(http1_text(&before, before.method), http1_text(&after, after.method)));
	CHECK(after.form == HTTP1_ORIGIN || after.form == HTTP1_ASTERISK);
	CHECK(http1_host_of(&after, &host) == HTTP1_FINE);
	CHECK(http1_body_of_request(&again, &after) == HTTP1_DONE);
	CHECK(again.framing == framed.framing && again.left == framed.left);
	CHECK(!(after.aliases & (HTTP1_BIT(HTTP1_CONTENT_LENGTH) | HTTP1_BIT(HTTP1_TRANSFER_ENCODING))));
	CHECK(count_ours() <= 13);
	if (e.request_id.n > 0)
		CHECK(same(http1_head_get(&after, HTTP1_X_REQUEST_ID), e.request_id) &&
		      !(after.repeated & HTTP1_BIT(HTTP1_X_REQUEST_ID)));
	if (e.forwarded == HTTP1_FORWARDED_REPLACE) {
		CHECK(same(http1_head_get(&after, HTTP1_X_FORWARDED_FOR), e.client));
		CHECK(same(http1_head_get(&after, HTTP1_X_FORWARDED_PROTO), e.proto));
		CHECK(!(after.repeated &
			(HTTP1_BIT(HTTP1_X_FORWARDED_FOR) | HTTP1_BIT(HTTP1_X_FORWARDED_PROTO) |
			 HTTP1_BIT(HTTP1_X_FORWARDED_HOST) | HTTP1_BIT(HTTP1_FORWARDED))));
		CHECK(!(after.aliases & (HTTP1_BIT(HTTP1_X_FORWARDED_FOR) | HTTP1_BIT(HTTP1_X_FORWARDED_PROTO) |
					 HTTP1_BIT(HTTP1_X_FORWARDED_OTHER))));
	}
}

static void
edit_response(unsigned flags)
{
	struct http1_edit_response e = { .coding = HTTP1_CODING_PASS };
	struct http1_body framed, again;
	bool head = flags & 1;
	size_t n;

	if (http1_body_of_response(&framed, &before, head) != HTTP1_DONE)
		return;
	if (framed.framing == HTTP1_BODY_CHUNKED && (flags & 2))
		e.coding = HTTP1_CODING_REMOVE;
	if (framed.framing == HTTP1_BODY_CLOSE && (flags & 2))
		e.coding = HTTP1_CODING_ADD;
	e.bodyless = framed.framing == HTTP1_BODY_NONE;
	e.close = flags & 4;
	e.keep_alive = flags & 8;
	e.upgrade = before.status == 101;
	e.request_id = flags & 16 ? STR("made-here") : STR("");
	e.via = flags & 32 ? STR("teal") : STR("");
	e.lines = lines;
	e.n_lines = flags & 64 ? 2 : 0;
	n = http1_edit_response(&before, &e, out, sizeof(out));
	CHECK(n > 0 && http1_edit_response(&before, &e, out, n - 1) == 0);
	CHECK(http1_edit_response(&before, &e, out, n) == n);
	parse_again(n, true);
	check_hops(e.upgrade || before.status == 426);
	CHECK(after.status == before.status);
	CHECK(same(http1_text(&before, before.phrase), http1_text(&after, after.phrase)));
	CHECK(http1_body_of_response(&again, &after, head) == HTTP1_DONE);
	switch (e.coding) {
	case HTTP1_CODING_PASS:
		CHECK(again.framing == framed.framing && again.left == framed.left);
		break;
	case HTTP1_CODING_REMOVE:
		CHECK(again.framing == HTTP1_BODY_CLOSE);
		break;
	case HTTP1_CODING_ADD:
		CHECK(again.framing == HTTP1_BODY_CHUNKED);
		break;
	}
	CHECK(again.odd == 0);
	CHECK(count_ours() <= 7);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned flags;
	bool response;

	if (size < 2 || size > HEAD_MAX)
		return 0;
	flags = data[0] | (data[1] & 0x7fu) << 8;
	response = data[1] & 0x80;
	http1_head_use(HTTP1_PATH_AVX2);
	lenient = flags & 1 << 14;
	begin(&before, response, HEAD_MAX);
	if (http1_head_parse(&before, (const char *)data + 2, size - 2) != HTTP1_DONE)
		return 0;
	if (response)
		edit_response(flags);
	else
		edit_request(flags);
	return 0;
}
