/* config_reply.c - the keys of what a service says itself: error_page, redirect, request_headers and
 * response_headers.  Any thread that loads a configuration; reply_page(): any. */
#include <stdlib.h>
#include <string.h>

#include "model/config_draft.h"
#include "model/config_value.h"
#include "proto/http1_edit.h"
#include "proto/http1_error.h"
#include "proto/http1_host.h"

#define PAGES_MAX 16
#define REDIRECT_MAX 1024

const struct error_page *
reply_page(const struct reply_config *r, unsigned status, bool json)
{
	for (size_t i = 0; i < r->n_pages; i++)
		if (r->pages[i].json == json && status_set_has(&r->pages[i].status, status))
			return &r->pages[i];
	return NULL;
}

static void
pages_clear(struct reply_config *r)
{
	for (size_t i = 0; i < r->n_pages; i++) {
		free(r->pages[i].file);
		free(r->pages[i].bytes);
	}
	free(r->pages);
	r->pages = NULL;
	r->n_pages = 0;
}

static void
headers_clear(struct headers_config *h)
{
	for (size_t i = 0; i < h->n; i++) {
		free(h->list[i].name);
		free(h->list[i].value);
	}
	free(h->list);
	*h = (struct headers_config){ 0 };
}

void
reply_config_clear(struct reply_config *r)
{
	pages_clear(r);
	headers_clear(&r->request_headers);
	headers_clear(&r->response_headers);
	free(r->redirect);
}

/* -- error_page ------------------------------------------------------------------ */

static const struct {
	const char *suffix, *type;
	bool json;
} types[] = {
	{ ".html", "text/html; charset=utf-8", false },
	{ ".htm", "text/html; charset=utf-8", false },
	{ ".txt", "text/plain; charset=utf-8", false },
	{ ".json", "application/json", true },
};

static bool
set_type(struct error_page *p)
{
	const char *suffix = strrchr(p->file, '.');

	for (size_t i = 0; suffix != NULL && i < ARRAY_LEN(types); i++)
		if (strcmp(suffix, types[i].suffix) == 0) {
			p->type = types[i].type;
			p->json = types[i].json;
			return true;
		}
	return false;
}

/* False with what is wrong with the file. */
static bool
read_page(const struct cursor *c, struct error_page *p, struct why *why)
{
	p->bytes = cursor_file(c, p->file, ERROR_PAGE_MAX, &p->n, why);
	if (p->bytes == NULL)
		return false;
	if (p->n == 0)
		(void)why_set(why, E_USAGE, "%.256s is empty", p->file);
	else if (p->n > ERROR_PAGE_MAX)
		(void)why_set(why, E_USAGE, "%.256s is longer than %zu bytes", p->file, ERROR_PAGE_MAX);
	return p->n > 0 && p->n <= ERROR_PAGE_MAX;
}

struct page_draft {
	const config_setting_t *status;	/* or NULL */
	char *file;
};

static void
key_page_status(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct page_draft *p = c->base;

	(void)k;
	if (config_setting_type(s) != CONFIG_TYPE_INT && config_setting_type(s) != CONFIG_TYPE_STRING)
		cursor_key_error(c, s, "expected a status such as 503, or a text such as \"502-504\", found %s",
				 cursor_found(s).s);
	else
		p->status = s;
}

static const struct key page_keys[] = {
	{ KEY("status", key_page_status) },
	{ KEY("file", key_text), .offset = offsetof(struct page_draft, file) },
	{ 0 },
};

/* Those that teald says itself: errors alone, so that no page hides a redirect. */
static bool
set_status(struct error_page *p, const config_setting_t *s)
{
	char text[16];
	const char *list = text;

	if (config_setting_type(s) == CONFIG_TYPE_INT)
		snprintf(text, sizeof(text), "%d", config_setting_get_int(s));
	else
		list = config_setting_get_string(s);
	if (!status_set_parse(list, &p->status))
		return false;
	for (unsigned i = 0; i < p->status.n; i++)
		if (p->status.ranges[i].from < 400)
			return false;
	return true;
}

static void
read_error_page(const struct cursor *c, const config_setting_t *item, struct reply_config *r)
{
	struct error_page *p = &r->pages[r->n_pages];
	struct page_draft draft = { 0 };
	struct cursor in = { c->r, c->where, "error_page.", &draft };
	struct why why;

	if (config_setting_type(item) != CONFIG_TYPE_GROUP) {
		cursor_key_error(c, item, "expected a group such as { status = 503; file = \"/etc/teal/503.html\"; }, found %s",
				 cursor_found(item).s);
		return;
	}
	cursor_read(&in, item, page_keys);
	if (draft.status == NULL || draft.file == NULL) {
		if (config_setting_get_member(item, draft.file == NULL ? "file" : "status") == NULL)
			cursor_key_error(c, item, "a page needs %s", draft.file == NULL ? "a file" : "a status");
		free(draft.file);
		return;
	}
	*p = (struct error_page){ .file = draft.file };
	r->n_pages++;
	if (!set_status(p, draft.status))
		cursor_key_error(&in, draft.status, "expected codes from 400 to 599, such as 503 or \"502-504\"");
	if (!set_type(p))
		cursor_key_error(c, item, "\"%s\": its suffix says what it is: .html, .txt or .json", show(p->file).s);
	else if (!read_page(c, p, &why))
		cursor_key_error(c, item, "%s", why.text);
}

void
key_error_page(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;
	struct reply_config *r = &d->s.http.reply;
	unsigned n;

	(void)k;
	if (config_setting_type(s) != CONFIG_TYPE_LIST &&
	    !(config_setting_type(s) == CONFIG_TYPE_ARRAY && config_setting_length(s) == 0)) {
		cursor_key_error(c, s, "expected a list of groups such as ( { status = 503; file = \"/etc/teal/503.html\"; } ), found %s",
				 cursor_found(s).s);
		return;
	}
	n = (unsigned)config_setting_length(s);
	pages_clear(r);
	if (n > PAGES_MAX) {
		cursor_key_error(c, s, "more than %d pages", PAGES_MAX);
		return;
	}
	r->pages = must_array(n + 1, sizeof(*r->pages));
	for (unsigned i = 0; i < n; i++)
		read_error_page(c, config_setting_get_elem(s, i), r);
}

/* -- redirect ---------------------------------------------------------------------- */

/* What is wrong with it; *n: how much of it counts. */
static const char *
redirect_fault(const char *text, size_t *n)
{
	const char *at = strncmp(text, "https://", 8) == 0 ? text + 8 : strncmp(text, "http://", 7) == 0 ? text + 7 : NULL;
	struct http1_host host;

	if (at == NULL)
		return "it begins with neither https:// nor http://";
	if (http1_host_parse((struct str){ at, strcspn(at, "/") }, &host) != HTTP1_FINE || host.authority.n == 0)
		return "no name, or NAME:PORT, follows the scheme";
	*n = strlen(text);
	if (*n > REDIRECT_MAX)
		return "it is longer than 1024 bytes";
	for (size_t i = 0; i < *n; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f || strchr("?#\"<>\\^`{|}", text[i]) != NULL)
			return "only a path may follow the name: the request's own path and query are added";
	while ((*n)-- > 0 && text[*n] == '/')
		;
	++*n;
	return NULL;
}

void
key_redirect(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "", *wrong;
	struct service_draft *d = c->base;
	size_t n = 0;

	(void)k;
	if ((wrong = redirect_fault(text, &n)) != NULL) {
		cursor_key_error(c, s, "%s is no address to send clients to such as \"https://new.example\": %s",
				 cursor_found(s).s, wrong);
		return;
	}
	free(d->s.http.reply.redirect);
	d->s.http.reply.redirect = must_printf("%.*s", (int)n, text);
}

void
key_redirect_status(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	int v = config_setting_type(s) == CONFIG_TYPE_INT ? config_setting_get_int(s) : 0;
	struct service_draft *d = c->base;

	(void)k;
	if (v != 301 && v != 302 && v != 307 && v != 308)
		cursor_key_error(c, s, "expected 301, 302, 307 or 308, found %s", cursor_found(s).s);
	else
		d->s.http.reply.redirect_status = (unsigned)v;
}

/* -- header lines --------------------------------------------------------------------- */

/* Names that frame a message or belong to one connection (RFC 9110 section 7.6.1), and those that are
 * teald's to say. */
static const char *const framing[] = { "Connection", "Content-Length", "Expect", "Host", "Keep-Alive",
				       "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade" };
static const char *const ours[] = { "Forwarded", "Via", "X-Client-Fingerprint", "X-Client-Subject", "X-Real-IP",
				    "X-Request-Id", "X-Teal-Color" };

static bool
is_one_of(struct str name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (http1_same_name(name, str_from(list[i])))
			return true;
	return false;
}

/* What is wrong with the name; NULL: nothing. */
static const char *
name_fault(const char *text)
{
	static const struct str forwarded = { "X-Forwarded-", 12 };
	struct str name = str_from(text);

	/* A token: RFC 9110, section 5.6.2. */
	if (name.n == 0 || name.n > 64 ||
	    text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")] != '\0')
		return "it is no name of a header of at most 64 bytes";
	if (is_one_of(name, framing, ARRAY_LEN(framing)))
		return "it frames the message or belongs to one connection, which teald sees to";
	if (is_one_of(name, ours, ARRAY_LEN(ours)) ||
	    (name.n >= forwarded.n && http1_same_name((struct str){ text, forwarded.n }, forwarded)))
		return "teald says it; see forwarded, request_id, via, color_header and tls.client_ca";
	return NULL;
}

static bool
is_value(const char *text)
{
	size_t n = strlen(text);

	if (n == 0 || text[0] == ' ' || text[n - 1] == ' ')
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] >= 0x7f)
			return false;
	return true;
}

static void
add_header(const struct cursor *c, const config_setting_t *at, struct headers_config *h, const char *name,
	   const char *value)
{
	const char *wrong = name_fault(name);
	size_t bytes = 0;

	if (wrong != NULL) {
		cursor_key_error(c, at, "\"%s\": %s", show(name).s, wrong);
		return;
	}
	for (size_t i = 0; i < h->n; i++) {
		bytes += h->list[i].value != NULL ? strlen(h->list[i].name) + strlen(h->list[i].value) + 4 : 0;
		if (http1_same_name(str_from(h->list[i].name), str_from(name))) {
			cursor_key_error(c, at, "\"%s\" is there twice; servers take - and _ for one", show(name).s);
			return;
		}
	}
	if (h->n == HEADERS_SET_MAX || (value != NULL && bytes + strlen(name) + strlen(value) + 4 > HEADERS_SET_BYTES)) {
		cursor_key_error(c, at, "more than %d lines, or than %d bytes of those that are set", HEADERS_SET_MAX,
				 HEADERS_SET_BYTES);
		return;
	}
	h->list[h->n++] = (struct header_config){ must_strdup(name), value != NULL ? must_strdup(value) : NULL };
}

static struct headers_config *
headers_at(const struct cursor *c, const struct key *k)
{
	return (struct headers_config *)(void *)((char *)c->base + k->offset);
}

static void
key_headers_set(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct shown prefix;
	struct cursor in = *c;

	if (config_setting_type(s) != CONFIG_TYPE_GROUP) {
		cursor_key_error(c, s, "expected a group of texts such as { X-Frame-Options = \"DENY\"; }, found %s",
				 cursor_found(s).s);
		return;
	}
	snprintf(prefix.s, sizeof(prefix.s), "%.80sset.", c->prefix);
	in.prefix = prefix.s;
	for (unsigned i = 0; i < (unsigned)config_setting_length(s); i++) {
		const config_setting_t *item = config_setting_get_elem(s, i);

		if (config_setting_type(item) != CONFIG_TYPE_STRING || !is_value(config_setting_get_string(item)))
			cursor_key_error(&in, item, "expected a text of visible characters, found %s", cursor_found(item).s);
		else
			add_header(&in, item, headers_at(c, k), item->name, config_setting_get_string(item));
	}
}

static void
key_headers_remove(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	if (!cursor_texts(c, s, "a header's name"))
		return;
	for (size_t i = 0; i < cursor_items(s); i++)
		add_header(c, cursor_item(s, i), headers_at(c, k), config_setting_get_string(cursor_item(s, i)), NULL);
}

/* The group as a whole replaces that of the defaults. */
void
key_headers(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct headers_config *h = headers_at(c, k->keys);

	headers_clear(h);
	h->list = must_array(HEADERS_SET_MAX, sizeof(*h->list));
	key_group(c, k, s);
}

#define REQUEST .offset = offsetof(struct service_draft, s.http.reply.request_headers)
#define RESPONSE .offset = offsetof(struct service_draft, s.http.reply.response_headers)

const struct key request_headers_keys[] = {
	{ KEY("set", key_headers_set), REQUEST },
	{ KEY("remove", key_headers_remove), REQUEST },
	{ 0 },
};

const struct key response_headers_keys[] = {
	{ KEY("set", key_headers_set), RESPONSE },
	{ KEY("remove", key_headers_remove), RESPONSE },
	{ 0 },
};

/* -- what fits together ------------------------------------------------------------------ */

static void
check_preview_header(const struct cursor *c, const struct service_draft *s)
{
	const struct headers_config *h = &s->s.http.reply.request_headers;

	for (size_t i = 0; s->s.http.preview_header != NULL && i < h->n; i++)
		if (http1_same_name(str_from(h->list[i].name), str_from(s->s.http.preview_header)))
			cursor_error(c, draft_at(s, "request_headers"),
				     "request_headers: \"%s\" is the preview_header, which never goes on to a backend", h->list[i].name);
}

/* Where traces begin here a second word on them could be taken for the true one. */
static void
check_trace(const struct cursor *c, const struct service_draft *s)
{
	const struct headers_config *h = &s->s.http.reply.request_headers;

	for (size_t i = 0; s->s.http.trace == TRACE_BEGIN && i < h->n; i++)
		if (http1_same_name(str_from(h->list[i].name), STR("traceparent")) ||
		    http1_same_name(str_from(h->list[i].name), STR("tracestate")))
			cursor_error(c, draft_at(s, "request_headers"),
				     "request_headers: \"%s\" is teald's to say with trace = \"begin\"; leave it out, or change trace",
				     h->list[i].name);
}

void
draft_check_reply(const struct cursor *c, const struct service_draft *s)
{
	const config_setting_t *status = config_setting_get_member(s->at, "redirect_status");

	check_preview_header(c, s);
	check_trace(c, s);
	if (status != NULL && s->s.http.reply.redirect == NULL)
		cursor_warn(c, status, "redirect_status changes nothing without redirect");
	if (s->s.http.reply.redirect != NULL && s->s.http.reply.maintenance)
		cursor_warn(c, draft_at(s, "maintenance"), "maintenance changes nothing with redirect: clients are sent on");
}

/* -- in words -------------------------------------------------------------------------------- */

static const struct reply_config *
reply_of(const void *base)
{
	return &((const struct service_draft *)base)->s.http.reply;
}

/* Names, and a hash that changes with what is in the file. */
void
write_error_page(struct buf *out, const void *base, const struct key *k)
{
	const struct reply_config *r = reply_of(base);
	char hash[CONFIG_VALUE_DIGEST];

	(void)k;
	buf_printf(out, "[");
	for (size_t i = 0; i < r->n_pages; i++) {
		const struct error_page *p = &r->pages[i];

		buf_printf(out, "%s", i > 0 ? ", " : "");
		for (unsigned n = 0; n < p->status.n; n++)
			if (p->status.ranges[n].from == p->status.ranges[n].to)
				buf_printf(out, "%s%u", n > 0 ? "+" : "", p->status.ranges[n].from);
			else
				buf_printf(out, "%s%u-%u", n > 0 ? "+" : "", p->status.ranges[n].from, p->status.ranges[n].to);
		buf_printf(out, " %s hash %s", p->file, config_value_digest(p->bytes, p->n, hash));
	}
	buf_printf(out, "]");
}

/* secret: what the values say may let one in at a backend, so that only a change of them is seen. */
static void
put_headers(struct buf *out, const struct headers_config *h, bool set, bool secret)
{
	size_t told = 0;

	buf_printf(out, "[");
	for (size_t i = 0; i < h->n; i++) {
		if ((h->list[i].value != NULL) != set)
			continue;
		buf_printf(out, "%s%s", told++ > 0 ? ", " : "", h->list[i].name);
		if (set && secret)
			config_value_hash(out, h->list[i].value);
		else if (set)
			buf_printf(out, ": %s", h->list[i].value);
	}
	buf_printf(out, "]");
}

void
write_request_set(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	put_headers(out, &reply_of(base)->request_headers, true, true);
}

void
write_request_remove(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	put_headers(out, &reply_of(base)->request_headers, false, false);
}

void
write_response_set(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	put_headers(out, &reply_of(base)->response_headers, true, false);
}

void
write_response_remove(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	put_headers(out, &reply_of(base)->response_headers, false, false);
}
