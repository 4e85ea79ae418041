/* config_http.c - what only services of mode "http" have, and the names by
 * which services share listeners.  Start-up thread only. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/config_draft.h"
#include "model/route.h"
#include "model/route_path.h"
#include "proto/http1_host.h"

#define HEADER_NAME_MAX 64

static void
read_host_names(const struct cursor *c, const config_setting_t *s, bool addresses, const char *no_address)
{
	char pattern[ROUTE_PATTERN], before[ROUTE_PATTERN];

	if (!cursor_texts(c, s, "a name"))
		return;
	for (size_t i = 0; i < cursor_items(s); i++) {
		const config_setting_t *item = cursor_item(s, i);
		const char *text = config_setting_get_string(item), *wrong = route_pattern(text, pattern);

		if (wrong == NULL && !addresses && route_is_address(pattern))
			wrong = no_address;
		if (wrong != NULL) {
			cursor_key_error(c, item, "\"%s\": %s", show(text).s, wrong);
			continue;
		}
		for (size_t k = 0; k < i; k++)
			if (route_pattern(config_setting_get_string(cursor_item(s, k)), before) == NULL &&
			    strcmp(pattern, before) == 0) {
				cursor_key_error(c, item, "\"%s\" is listed twice", show(text).s);
				break;
			}
	}
}

void
key_hosts(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;

	(void)k;
	d->hosts = s;
	read_host_names(c, s, true, NULL);
}

void
key_paths(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	char prefix[ROUTE_PREFIX];
	struct service_draft *d = c->base;

	(void)k;
	d->paths = s;
	while (d->s.n_paths > 0)
		free(d->s.paths[--d->s.n_paths]);
	free(d->s.paths);
	d->s.paths = NULL;
	if (!cursor_texts(c, s, "a path"))
		return;
	d->s.paths = must_array(cursor_items(s) + 1, sizeof(*d->s.paths));
	for (size_t i = 0; i < cursor_items(s); i++) {
		const char *text = config_setting_get_string(cursor_item(s, i)), *wrong = route_prefix(text, prefix);
		bool repeated = false;

		for (size_t p = 0; wrong == NULL && p < d->s.n_paths; p++)
			repeated |= strcmp(d->s.paths[p], prefix) == 0;
		if (wrong != NULL)
			cursor_key_error(c, cursor_item(s, i), "\"%s\" is no beginning of paths such as \"/api/\": %s",
					 show(text).s, wrong);
		else if (repeated)
			cursor_key_error(c, cursor_item(s, i), "\"%s\" is listed twice", show(text).s);
		else
			d->s.paths[d->s.n_paths++] = must_strdup(prefix);
	}
}

void
key_sni(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;

	(void)k;
	d->sni = s;
	read_host_names(c, s, false, "clients name no address in SNI, only names");
}

/* Headers that frame a message, or that we write ourselves: a client that
 * sends one means something else by it. */
static const char *const taken_headers[] = {
	"Connection", "Content-Length", "Expect", "Forwarded", "Host", "Keep-Alive", "Proxy-Connection", "TE",
	"Traceparent", "Tracestate", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "X-Forwarded-For", "X-Forwarded-Host",
	"X-Forwarded-Proto", "X-Request-Id", "X-Teal-Color",
};

void
key_header(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "";
	/* A token: RFC 9110, section 5.6.2. */
	size_t n =
		strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~");

	if (text[n] != '\0' || n > HEADER_NAME_MAX) {
		cursor_key_error(c, s, "\"%s\" is not the name of a header of at most %d bytes", show(text).s,
				 HEADER_NAME_MAX);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(taken_headers); i++)
		if (strcasecmp(text, taken_headers[i]) == 0) {
			cursor_key_error(
				c, s,
				"\"%s\" has a meaning of its own; choose a name such as \"X-Teal-Preview\"",
				taken_headers[i]);
			return;
		}
	key_text(c, k, s);
}

void
key_default_host(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "?";
	struct service_draft *d = c->base;
	struct http1_host host;

	(void)k;
	if (text[0] != '\0' && http1_host_parse(str_from(text), &host) != HTTP1_FINE) {
		cursor_key_error(
			c, s, "\"%s\" is no Host; write NAME or NAME:PORT, or \"\" to refuse what has none",
			show(text).s);
		return;
	}
	if (d == NULL)
		return;
	free(d->s.http.default_host);
	d->s.http.default_host = must_strdup(text);
}

void
draft_take_names(struct service_draft *d)
{
	const config_setting_t *s = d->s.mode == MODE_HTTP ? d->hosts : d->s.mode == MODE_TCP ? d->sni : NULL;
	char pattern[ROUTE_PATTERN];

	if (s == NULL || config_setting_type(s) == CONFIG_TYPE_GROUP)
		return;
	d->s.names = must_array(cursor_items(s) + 1, sizeof(*d->s.names));
	/* What is wrong was complained about when it was read. */
	for (size_t i = 0; i < cursor_items(s); i++) {
		const char *text = config_setting_get_string(cursor_item(s, i));

		if (text != NULL && route_pattern(text, pattern) == NULL)
			d->s.names[d->s.n_names++] = must_strdup(pattern);
	}
}

/* -- what fits together --------------------------------------------------------- */

static const char *const mode_names[] = { "tcp", "http", "udp" };

/* Keys of another mode.  Inherited from the defaults they do no harm. */
static void
check_modes(const struct cursor *c, const struct service_draft *s)
{
	for (const struct key *k = service_keys; k->name != NULL; k++) {
		const config_setting_t *own;
		unsigned first = 0;

		if (k->modes == 0 || (k->modes & 1u << s->s.mode) ||
		    (own = config_setting_get_member(s->at, k->name)) == NULL)
			continue;
		while (!(k->modes & 1u << first))
			first++;
		cursor_error(c, own, "%s: belongs to mode = \"%s\"; set that, or remove it", k->name,
			     mode_names[first]);
	}
}

/* The setting as written, here or in the defaults; NULL: neither. */
static const config_setting_t *
written(const struct service_draft *s, const char *key)
{
	const config_setting_t *at = draft_at(s, key);

	return at != s->at ? at : NULL;
}

static void
check_plain(const struct cursor *c, const struct service_draft *s)
{
	const config_setting_t *listen = written(s, "plain_listen"), *plain = written(s, "plain");

	if (s->s.n_plain_listen > 0 && !s->s.listen_tls)
		cursor_error(c, listen, "plain_listen: belongs to tls; without it listen is plain");
	else if (s->s.n_plain_listen > 0 && s->s.mode != MODE_HTTP && s->s.plain == PLAIN_REDIRECT)
		cursor_error(c, plain != NULL ? plain : listen,
			     "plain: \"redirect\" needs mode = \"http\"; plain = \"serve\" needs none");
	else if (s->s.n_plain_listen == 0 && plain != NULL && plain->parent == s->at)
		cursor_warn(c, plain, "plain changes nothing without plain_listen");
	else if (s->s.n_plain_listen > 0 && s->s.plain == PLAIN_SERVE && s->s.tls.client_ca != NULL &&
		 s->s.tls.client_verify == VERIFY_REQUIRE)
		cursor_warn(c, plain != NULL ? plain : listen,
			    "plain: \"serve\" lets clients of plain_listen in without the certificate that "
			    "tls.client_ca requires; remove plain_listen, or say that it need not be: "
			    "tls.client_verify = \"optional\"");
}

static void
check_preview(const struct cursor *c, const struct service_draft *s)
{
	const struct http_config *h = &s->s.http;

	if (h->preview_header != NULL && cidr_set_is_empty(&h->preview_allow))
		cursor_warn(
			c, draft_at(s, "preview_header"),
			"preview_header changes nothing: preview_allow is empty, so no client may use it");
	if (h->preview_header == NULL && !cidr_set_is_empty(&h->preview_allow))
		cursor_warn(c, draft_at(s, "preview_allow"),
			    "preview_allow changes nothing without preview_header");
}

void
draft_check_http(const struct cursor *c, const struct service_draft *s)
{
	const struct http_config *h = &s->s.http;
	const config_setting_t *at;

	check_modes(c, s);
	check_plain(c, s);
	if (s->s.mode != MODE_HTTP)
		return;
	check_preview(c, s);
	draft_check_reply(c, s);
	if (s->s.n_paths > 0 && s->s.n_names == 0 && !s->s.is_default)
		cursor_error(c, draft_at(s, "paths"), "paths: of which names? add hosts = [...] or default = true");
	if (!h->forwarded && !cidr_set_is_empty(&h->forwarded_trust))
		cursor_warn(c, draft_at(s, "forwarded_trust"),
			    "forwarded_trust changes nothing while forwarded is false");
	if (!h->forwarded && h->forwarded_header)
		cursor_warn(c, draft_at(s, "forwarded_header"),
			    "forwarded_header changes nothing while forwarded is false");
	if ((at = written(s, "trace_trust")) != NULL && h->trace == TRACE_OFF)
		cursor_warn(c, at, "trace_trust changes nothing while trace is \"off\": what clients say passes as it is");
	if ((at = written(s, "trace_sample")) != NULL && h->trace != TRACE_BEGIN)
		cursor_warn(c, at, "trace_sample changes nothing unless trace is \"begin\": no trace begins here");
	if ((at = written(s, "max_uri")) != NULL && h->max_uri >= h->max_header_size)
		cursor_warn(c, at, "max_uri changes nothing: max_header_size ends a head before");
	if ((at = written(s, "body_grace")) != NULL && h->body_min_rate == 0)
		cursor_warn(c, at, "body_grace changes nothing while body_min_rate is 0");
	if ((at = written(s, "pool_size")) != NULL && h->pool_size > 0 &&
	    s->s.proxy_protocol.send != SEND_NONE)
		cursor_warn(
			c, at,
			"pool_size changes nothing with proxy_protocol.send: a connection speaks for one client");
	if (h->backend_protocol != BACKEND_HTTP1 && s->s.proxy_protocol.send != SEND_NONE)
		cursor_error(c, draft_at(s, "backend_protocol"),
			     "backend_protocol: connections of HTTP/2 are shared, and proxy_protocol.send tells of one client; "
			     "remove one of them (X-Forwarded-For has the client's address)");
	if ((at = written(s, "backend_protocol")) != NULL && h->backend_protocol == BACKEND_AUTO && !s->s.backend_tls.on)
		cursor_warn(c, at, "backend_protocol: \"auto\" is HTTP/1.1 without backend_tls; \"h2\" is HTTP/2");
	if ((at = written(s, "pool_idle")) != NULL && h->pool_size == 0)
		cursor_warn(c, at, "pool_idle changes nothing while pool_size is 0: no connection is kept");
}
