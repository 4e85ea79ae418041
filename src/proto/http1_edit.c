/* http1_edit.c - composes the head that goes on.  Pure; any thread.
 * One walk over the headers: lines that stay are counted together and copied
 * in one piece when one comes that does not.  Which ones need a look is a
 * mask over the ids that the parser has found. */
#include <strings.h>

#include "base/check.h"
#include "base/decimal.h"
#include "proto/http1_body.h"
#include "proto/http1_edit.h"

struct out {
	char *p;
	size_t n, room;
	bool full;
};

static void
put_out(struct out *o, const char *p, size_t n)
{
	if (o->room - o->n < n) {
		o->full = true;
		o->room = o->n;	/* nothing that is shorter fits afterwards */
		return;
	}
	memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void
put_str(struct out *o, struct str s)
{
	put_out(o, s.p, s.n);
}

#define PUT(o, text) put_out(o, text, sizeof(text) - 1)


static void
put_kept(struct out *o, const struct http1_head *h, size_t *from, size_t to)
{
	put_out(o, h->base + *from, to - *from);
	*from = to;
}

/* Where the line after header i begins. */
static size_t
line_end(const struct http1_head *h, unsigned i)
{
	return i + 1 < h->header_count ? h->headers[i + 1].name.at : h->length - 2;
}

static size_t
lines_begin(const struct http1_head *h)
{
	return h->header_count > 0 ? h->headers[0].name.at : h->length - 2;
}

bool
http1_same_name(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		unsigned char x = (unsigned char)a.p[i], y = (unsigned char)b.p[i];

		x = x == '_' ? '-' : x >= 'A' && x <= 'Z' ? x | 0x20 : x;
		y = y == '_' ? '-' : y >= 'A' && y <= 'Z' ? y | 0x20 : y;
		if (x != y)
			return false;
	}
	return true;
}

/* Does one of the caller's own lines stand for it? */
static bool
is_own_field(const struct http1_head *h, const struct http1_header *header, const struct http1_line *lines,
	     unsigned n_lines)
{
	for (unsigned i = 0; i < n_lines; i++)
		if (lines[i].only && http1_same_name(http1_text(h, header->name), lines[i].name))
			return true;
	return false;
}

static void
put_lines(struct out *o, const struct http1_line *lines, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (lines[i].value.p == NULL)
			continue;
		put_str(o, lines[i].name);
		PUT(o, ": ");
		put_str(o, lines[i].value);
		PUT(o, "\r\n");
	}
}

static void
put_via(struct out *o, const struct http1_head *h, struct str via, bool http2)
{
	if (via.n == 0)
		return;
	PUT(o, "Via: ");
	put_str(o, http2 ? STR("2 ") : h->minor == 0 ? STR("1.0 ") : STR("1.1 "));
	put_str(o, via);
	PUT(o, "\r\n");
}

/* One line with all that Connection has to say. */
#define SAY_CLOSE 1
#define SAY_KEEP_ALIVE 2
#define SAY_UPGRADE 4
#define SAY_TE 8

static void
put_connection(struct out *o, unsigned say)
{
	static const struct str words[] = { { "close", 5 }, { "keep-alive", 10 }, { "Upgrade", 7 },
					    { "TE", 2 } };
	bool first = true;

	if (say == 0)
		return;
	PUT(o, "Connection: ");
	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		if (!(say & 1u << i))
			continue;
		if (!first)
			PUT(o, ", ");
		first = false;
		put_str(o, words[i]);
	}
	PUT(o, "\r\n");
}

#define HOP_BY_HOP \
	(HTTP1_BIT(HTTP1_CONNECTION) | HTTP1_BIT(HTTP1_KEEP_ALIVE) | HTTP1_BIT(HTTP1_PROXY_CONNECTION) | \
	 HTTP1_BIT(HTTP1_TE) | HTTP1_BIT(HTTP1_UPGRADE) | HTTP1_BIT(HTTP1_HTTP2_SETTINGS))
/* Spellings that a server behind CGI takes for the real ones. */
#define ALIASES \
	(HOP_BY_HOP | HTTP1_BIT(HTTP1_CONTENT_LENGTH) | HTTP1_BIT(HTTP1_TRANSFER_ENCODING) | \
	 HTTP1_BIT(HTTP1_HOST) | HTTP1_BIT(HTTP1_TRAILER))
#define CLIENT \
	(HTTP1_BIT(HTTP1_X_FORWARDED_FOR) | HTTP1_BIT(HTTP1_X_FORWARDED_PROTO) | \
	 HTTP1_BIT(HTTP1_X_FORWARDED_HOST) | HTTP1_BIT(HTTP1_X_FORWARDED_PORT) | \
	 HTTP1_BIT(HTTP1_X_FORWARDED_OTHER) | HTTP1_BIT(HTTP1_X_REAL_IP) | HTTP1_BIT(HTTP1_FORWARDED))

/* Which headers of a request go, by id and by alias. */
struct plan {
	uint64_t drop, drop_alias;
	uint64_t look;	/* neither: one of these is edited */
	uint64_t look_alias;	/* goes where it is spelled with '_' */
	bool te;	/* TE: trailers goes on */
};

/* A peer that minds the case of "chunked" would see no coding at all. */
static bool
is_odd_coding(const struct http1_head *h)
{
	return http1_head_has(h, HTTP1_TRANSFER_ENCODING) &&
	       !str_eq(http1_head_get(h, HTTP1_TRANSFER_ENCODING), "chunked");
}

/* A peer may read 010 as eight. */
static bool
is_odd_length(const struct http1_head *h)
{
	struct str value = http1_head_get(h, HTTP1_CONTENT_LENGTH);

	return value.n > 1 && value.p[0] == '0';
}

static struct plan
plan_request(const struct http1_head *h, const struct http1_edit *e)
{
	struct plan p = { .drop = HOP_BY_HOP, .drop_alias = ALIASES };

	if (e->upgrade)
		p.drop &= ~HTTP1_BIT(HTTP1_UPGRADE);
	p.te = h->minor == 1 && http1_head_has(h, HTTP1_TE) && http1_head_has_token(h, "te", "trailers");
	if (e->no_expect || h->minor == 0)
		p.drop |= HTTP1_BIT(HTTP1_EXPECT);
	if (e->request_id.n > 0)
		p.drop |= HTTP1_BIT(HTTP1_X_REQUEST_ID);
	if (e->request_id.n > 0 || e->id_passes)
		p.drop_alias |= HTTP1_BIT(HTTP1_X_REQUEST_ID);
	p.drop_alias |= p.drop & HTTP1_BIT(HTTP1_EXPECT);
	if (e->no_trace)
		p.drop |= HTTP1_BIT(HTTP1_TRACEPARENT) | HTTP1_BIT(HTTP1_TRACESTATE);
	switch (e->forwarded) {
	case HTTP1_FORWARDED_OFF:
		break;
	case HTTP1_FORWARDED_APPEND:
		/* A trusted proxy uses the usual spelling; another spelling beside
		 * it came from the proxy's client. */
		p.look |= HTTP1_BIT(HTTP1_X_FORWARDED_FOR);
		p.drop_alias |= CLIENT & ~HTTP1_BIT(HTTP1_X_FORWARDED_OTHER);
		p.look_alias |= HTTP1_BIT(HTTP1_X_FORWARDED_OTHER);
		break;
	case HTTP1_FORWARDED_REPLACE:
		p.drop |= CLIENT;
		p.drop_alias |= CLIENT;
		break;
	}
	if (h->form == HTTP1_ABSOLUTE)
		p.drop |= HTTP1_BIT(HTTP1_HOST);
	if (is_odd_coding(h))
		p.look |= HTTP1_BIT(HTTP1_TRANSFER_ENCODING);
	if (is_odd_length(h))
		p.look |= HTTP1_BIT(HTTP1_CONTENT_LENGTH);
	if (h->verb == HTTP1_OPTIONS || h->verb == HTTP1_TRACE)
		p.look |= HTTP1_BIT(HTTP1_MAX_FORWARDS);
	return p;
}

static void
put_request_line(struct out *o, const struct http1_head *h)
{
	struct str target = http1_text(h, h->target);
	size_t path = 0;

	put_str(o, http1_text(h, h->method));
	PUT(o, " ");
	if (h->form == HTTP1_ABSOLUTE) {
		/* After "scheme://authority"; nothing there is "/", and for OPTIONS
		 * "*" (RFC 9112 section 3.2.4). */
		path = (size_t)((char *)memchr(target.p, ':', target.n) - target.p) + 3;
		while (path < target.n && target.p[path] != '/' && target.p[path] != '?')
			path++;
		if (path == target.n && h->verb == HTTP1_OPTIONS)
			PUT(o, "*");
		else if (path == target.n || target.p[path] == '?')
			PUT(o, "/");
	}
	put_out(o, target.p + path, target.n - path);
	PUT(o, " HTTP/1.1\r\n");
}

/* The last line of X-Forwarded-For takes the client too. */
static bool
is_last_of(const struct http1_head *h, unsigned i)
{
	for (unsigned k = i + 1; k < h->header_count; k++)
		if (h->headers[k].id == h->headers[i].id)
			return false;
	return true;
}

/* A header that goes on changed; instead of its line. */
static void
put_edited(struct out *o, const struct http1_head *h, const struct http1_edit *e, unsigned i)
{
	const struct http1_header *header = &h->headers[i];
	struct str value = http1_text(h, header->value);
	char text[DECIMAL_TEXT];
	uint64_t n;

	put_str(o, http1_text(h, header->name));
	PUT(o, ": ");
	switch ((enum http1_name)header->id) {
	case HTTP1_X_FORWARDED_FOR:
		put_str(o, value);
		if (e->client.n > 0 && is_last_of(h, i)) {
			if (value.n > 0)
				PUT(o, ", ");
			put_str(o, e->client);
		}
		break;
	case HTTP1_TRANSFER_ENCODING:
		PUT(o, "chunked");
		break;
	case HTTP1_CONTENT_LENGTH:
		while (value.n > 1 && value.p[0] == '0')
			value = (struct str){ value.p + 1, value.n - 1 };
		put_str(o, value);
		break;
	case HTTP1_MAX_FORWARDS:	/* RFC 9110 section 7.6.2; at 0 it should not have come here */
		if (str_to_u64(value, UINT64_MAX, &n) && n > 0)
			put_out(o, text, decimal_u64(text, n - 1));
		else
			put_str(o, value);
		break;
	default:
		CHECK(!"a header that is edited");
	}
	PUT(o, "\r\n");
}

/* RFC 7239: an IPv6 address and whatever is no token is quoted; a client without
 * an address is "unknown" (section 6).  Nothing in
 * the values needs a backslash: addresses, and an authority that was checked. */
static void
put_forwarded(struct out *o, const struct http1_edit *e)
{
	bool v6 = memchr(e->client.p, ':', e->client.n) != NULL, quote = false;

	PUT(o, "Forwarded: for=");
	if (v6)
		PUT(o, "\"[");
	put_str(o, e->client.n > 0 ? e->client : STR("unknown"));
	if (v6)
		PUT(o, "]\"");
	if (e->host.n > 0) {
		for (size_t i = 0; i < e->host.n; i++)
			quote |= !http1_is_token(e->host.p[i]);
		PUT(o, ";host=");
		put_out(o, "\"", quote);
		put_str(o, e->host);
		put_out(o, "\"", quote);
	}
	PUT(o, ";proto=");
	put_str(o, e->proto);
	PUT(o, "\r\n");
}

/* What is told of the client and was not told yet. */
static void
put_client(struct out *o, const struct http1_head *h, const struct http1_edit *e)
{
	uint64_t there = e->forwarded == HTTP1_FORWARDED_APPEND ? h->seen : 0;
	char text[DECIMAL_TEXT];

	if (e->client.n > 0 && !(there & HTTP1_BIT(HTTP1_X_FORWARDED_FOR))) {
		PUT(o, "X-Forwarded-For: ");
		put_str(o, e->client);
		PUT(o, "\r\n");
	}
	if (!(there & HTTP1_BIT(HTTP1_X_FORWARDED_PROTO))) {
		PUT(o, "X-Forwarded-Proto: ");
		put_str(o, e->proto);
		PUT(o, "\r\n");
	}
	if (e->host.n > 0 && !(there & HTTP1_BIT(HTTP1_X_FORWARDED_HOST))) {
		PUT(o, "X-Forwarded-Host: ");
		put_str(o, e->host);
		PUT(o, "\r\n");
	}
	if (e->port != 0 && !(there & HTTP1_BIT(HTTP1_X_FORWARDED_PORT))) {
		PUT(o, "X-Forwarded-Port: ");
		put_out(o, text, decimal_u64(text, e->port));
		PUT(o, "\r\n");
	}
	if (e->rfc7239)
		put_forwarded(o, e);
}

static bool
drops_alias(const struct plan *p, const struct http1_head *h, const struct http1_header *header)
{
	uint64_t bit = HTTP1_BIT(header->alias);

	return (p->drop_alias & bit) ||
	       ((p->look_alias & bit) && memchr(http1_text(h, header->name).p, '_', header->name.n) != NULL);
}

static void
put_request_headers(struct out *o, const struct http1_head *h, const struct http1_edit *e,
		    const struct plan *p)
{
	size_t from = lines_begin(h);

	if (((h->seen & (p->drop | p->look)) | (h->aliases & (p->drop_alias | p->look_alias)) |
	     (h->connection & HTTP1_C_NAMED) | e->n_lines) == 0) {
		put_out(o, h->base + from, h->length - 2 - from);
		return;
	}
	for (unsigned i = 0; i < h->header_count; i++) {
		const struct http1_header *header = &h->headers[i];
		uint64_t bit = HTTP1_BIT(header->id);
		bool own = is_own_field(h, header, e->lines, e->n_lines), edit = (p->look & bit) && !own;

		if (!edit && !own && !(p->drop & bit) && !drops_alias(p, h, header) && !(header->flags & HTTP1_HOP))
			continue;
		put_kept(o, h, &from, header->name.at);
		if (edit)
			put_edited(o, h, e, i);
		from = line_end(h, i);
	}
	put_kept(o, h, &from, h->length - 2);
}

size_t
http1_edit_request(const struct http1_head *h, const struct http1_edit *e, char *out, size_t room)
{
	struct out o = { .p = out, .room = room };
	struct plan p = plan_request(h, e);

	CHECK(h->verdict == HTTP1_DONE && !h->response && h->form != HTTP1_AUTHORITY);
	put_request_line(&o, h);
	if (h->form == HTTP1_ABSOLUTE || !http1_head_has(h, HTTP1_HOST)) {
		PUT(&o, "Host: ");
		put_str(&o, e->authority);
		PUT(&o, "\r\n");
	}
	put_request_headers(&o, h, e, &p);
	if (e->forwarded != HTTP1_FORWARDED_OFF)
		put_client(&o, h, e);
	if (e->request_id.n > 0) {
		PUT(&o, "X-Request-Id: ");
		put_str(&o, e->request_id);
		PUT(&o, "\r\n");
	}
	if (e->traceparent.n > 0) {
		PUT(&o, "traceparent: ");
		put_str(&o, e->traceparent);
		PUT(&o, "\r\n");
	}
	put_via(&o, h, e->via, e->via_http2);
	put_lines(&o, e->lines, e->n_lines);
	if (p.te)
		PUT(&o, "TE: trailers\r\n");
	put_connection(&o, (e->close ? SAY_CLOSE : 0) | (p.te ? SAY_TE : 0) |
				   (e->upgrade && http1_head_has(h, HTTP1_UPGRADE) ? SAY_UPGRADE : 0));
	PUT(&o, "\r\n");
	return o.full ? 0 : o.n;
}

struct str
http1_edit_request_id(const struct http1_head *h)
{
	struct str id = http1_head_get(h, HTTP1_X_REQUEST_ID);

	if (id.n > 128 || (h->repeated & HTTP1_BIT(HTTP1_X_REQUEST_ID)))
		return STR("");
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];

		if (!(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') &&
		    (c == '\0' || strchr("-_.:/+=@,~", c) == NULL))
			return STR("");
	}
	return id;
}

/* Of several lines that say the same length one goes on. */
static bool
is_same_again(const struct http1_head *h, unsigned i)
{
	return h->headers[i].id == HTTP1_CONTENT_LENGTH && i != h->first[HTTP1_CONTENT_LENGTH];
}

static bool
response_header_stays(const struct http1_head *h, const struct http1_edit_response *e, uint64_t drop,
		      unsigned i)
{
	const struct http1_header *header = &h->headers[i];

	return !(drop & HTTP1_BIT(header->id)) && !(header->flags & HTTP1_HOP) && !is_same_again(h, i) &&
	       !is_own_field(h, header, e->lines, e->n_lines);
}

/* Line by line, for they do not end as they should. */
static void
put_response_lines(struct out *o, const struct http1_head *h, const struct http1_edit_response *e,
		   uint64_t drop, uint64_t look)
{
	for (unsigned i = 0; i < h->header_count; i++) {
		const struct http1_header *header = &h->headers[i];

		if (!response_header_stays(h, e, drop, i))
			continue;
		if (look & HTTP1_BIT(header->id)) {
			put_edited(o, h, NULL, i);
			continue;
		}
		put_str(o, http1_text(h, header->name));
		PUT(o, ": ");
		put_str(o, http1_text(h, header->value));
		PUT(o, "\r\n");
	}
}

static void
put_response_headers(struct out *o, const struct http1_head *h, const struct http1_edit_response *e,
		     uint64_t drop)
{
	uint64_t look = (is_odd_coding(h) ? HTTP1_BIT(HTTP1_TRANSFER_ENCODING) : 0) |
			(is_odd_length(h) ? HTTP1_BIT(HTTP1_CONTENT_LENGTH) : 0);
	uint64_t again = h->repeated & HTTP1_BIT(HTTP1_CONTENT_LENGTH);
	size_t from = lines_begin(h);

	if (h->odd & HTTP1_ODD_BIT(HTTP1_ODD_BARE_LF)) {
		put_response_lines(o, h, e, drop, look);
		return;
	}
	if (((h->seen & drop) | (h->connection & HTTP1_C_NAMED) | e->n_lines | look | again) == 0) {
		put_out(o, h->base + from, h->length - 2 - from);
		return;
	}
	for (unsigned i = 0; i < h->header_count; i++) {
		const struct http1_header *header = &h->headers[i];
		bool stays = response_header_stays(h, e, drop, i);
		bool edit = stays && (look & HTTP1_BIT(header->id));

		if (stays && !edit)
			continue;
		put_kept(o, h, &from, header->name.at);
		if (edit)
			put_edited(o, h, NULL, i);
		from = line_end(h, i);
	}
	put_kept(o, h, &from, h->length - 2);
}

size_t
http1_edit_response(const struct http1_head *h, const struct http1_edit_response *e, char *out, size_t room)
{
	struct out o = { .p = out, .room = room };
	uint64_t drop = HOP_BY_HOP;
	char digits[3];

	CHECK(h->verdict == HTTP1_DONE && h->response);
	if (e->upgrade || h->status == 426)	/* which has to say to what (RFC 9110 section 15.5.22) */
		drop &= ~HTTP1_BIT(HTTP1_UPGRADE);
	/* No body, so nothing that frames one (RFC 9110 section 8.6, RFC 9112
	 * section 6.1): there are clients that would wait for it. */
	if (h->status < 200 || h->status == 204)
		drop |= HTTP1_BIT(HTTP1_TRANSFER_ENCODING) | HTTP1_BIT(HTTP1_CONTENT_LENGTH);
	/* A client that got both might believe the length. */
	if (e->bodyless ||
	    (http1_head_has(h, HTTP1_TRANSFER_ENCODING) && http1_head_has(h, HTTP1_CONTENT_LENGTH)))
		drop |= http1_response_drops(h);
	if (e->coding == HTTP1_CODING_REMOVE)
		drop |= HTTP1_BIT(HTTP1_TRANSFER_ENCODING) | HTTP1_BIT(HTTP1_TRAILER);
	PUT(&o, "HTTP/1.1 ");
	digits[0] = (char)('0' + h->status / 100);
	digits[1] = (char)('0' + h->status / 10 % 10);
	digits[2] = (char)('0' + h->status % 10);
	put_out(&o, digits, 3);
	PUT(&o, " ");	/* even before no phrase (RFC 9112 section 4) */
	put_str(&o, http1_text(h, h->phrase));
	PUT(&o, "\r\n");
	put_response_headers(&o, h, e, drop);
	if (e->request_id.n > 0 && !http1_head_has(h, HTTP1_X_REQUEST_ID)) {
		PUT(&o, "X-Request-Id: ");
		put_str(&o, e->request_id);
		PUT(&o, "\r\n");
	}
	put_via(&o, h, e->via, false);
	put_lines(&o, e->lines, e->n_lines);
	if (e->coding == HTTP1_CODING_ADD)
		PUT(&o, "Transfer-Encoding: chunked\r\n");
	put_connection(&o, (e->close      ? SAY_CLOSE :
			    e->keep_alive ? SAY_KEEP_ALIVE :
					    0) |
				   (!(drop & HTTP1_BIT(HTTP1_UPGRADE)) && http1_head_has(h, HTTP1_UPGRADE) ?
					    SAY_UPGRADE :
					    0));
	PUT(&o, "\r\n");
	return o.full ? 0 : o.n;
}
