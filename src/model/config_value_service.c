/* config_value_service.c - the values of a service's keys in words: of those whose reader is their own.
 * Any thread. */
#include <stdio.h>
#include <string.h>

#include "model/config_value.h"

static const struct service_config *
service(const void *base)
{
	return &((const struct service_draft *)base)->s;
}

static void
put_listen(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	config_value_addresses(out, service(base)->listen, service(base)->n_listen);
}

static void
put_preview(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	config_value_addresses(out, service(base)->preview, service(base)->n_preview);
}

static void
put_plain_listen(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	config_value_addresses(out, service(base)->plain_listen, service(base)->n_plain_listen);
}

static void
put_nodes(struct buf *out, const void *base, const struct key *k)
{
	const struct service_config *s = service(base);
	const struct color_config *green = &s->colors[GREEN];

	(void)k;
	if (s->pool != NULL || green->port == 0) {
		config_value_text(out, s->pool);
		return;
	}
	buf_printf(out, "[");
	for (size_t i = 0; i < green->n_backends; i++) {
		config_value_comma(out, i);
		buf_printf(out, "%s", green->backends[i].host);
	}
	buf_printf(out, "]");
}

static void
put_path(struct buf *out, const void *base, const struct key *k)
{
	const char *path = service(base)->health.path;

	(void)k;
	config_value_text(out, path != NULL ? path : "/");
}

static void
put_expect(struct buf *out, const void *base, const struct key *k)
{
	const struct status_set *set = &service(base)->health.expect;

	(void)k;
	if (set->n == 0)
		buf_printf(out, "none");
	for (unsigned i = 0; i < set->n; i++)
		if (set->ranges[i].from == set->ranges[i].to)
			buf_printf(out, "%s%u", i > 0 ? "," : "", set->ranges[i].from);
		else
			buf_printf(out, "%s%u-%u", i > 0 ? "," : "", set->ranges[i].from, set->ranges[i].to);
}

static void
put_health_tls(struct buf *out, const void *base, const struct key *k)
{
	static const char *const words[] = {
		[HEALTH_TLS_AUTO] = "auto", [HEALTH_TLS_OFF] = "false", [HEALTH_TLS_ON] = "true", [HEALTH_TLS_OWN] = "verify"
	};
	const struct health_config *h = &service(base)->health;
	const struct backend_tls_config *own = &h->own_tls;
	const struct {
		const char *name, *value;
	} terms[] = { { "ca", own->ca }, { "server_name", own->server_name }, { "cert", own->cert }, { "key", own->key } };

	(void)k;
	buf_printf(out, "%s", words[h->tls]);
	if (h->tls != HEALTH_TLS_OWN)
		return;
	buf_printf(out, own->verify ? " true" : " false");
	for (size_t i = 0; i < ARRAY_LEN(terms); i++)
		if (terms[i].value != NULL) {
			buf_printf(out, " %s ", terms[i].name);
			config_value_text(out, terms[i].value);
		}
}

/* Not given: that for both. */
static void
put_timeout(struct buf *out, const void *base, const struct key *k)
{
	double v;

	memcpy(&v, config_value_at(base, k), sizeof(v));
	config_value_seconds(out, v < 0 ? service(base)->idle_timeout : v);
}

static void
put_rate(struct buf *out, const void *base, const struct key *k)
{
	const struct source_rate *r = &service(base)->limits.source_rate;

	(void)k;
	if (r->burst > 0)
		buf_printf(out, "%.9g%s", r->burst, r->burst > r->per_second ? "/m" : "/s");
	else
		buf_printf(out, "none");
}

/* Names; a value may be a token. */
static void
put_check_headers(struct buf *out, const void *base, const struct key *k)
{
	const struct health_config *h = &service(base)->health;

	(void)k;
	buf_printf(out, "[");
	for (size_t i = 0; i < h->n_headers; i++) {
		config_value_comma(out, i);
		buf_printf(out, "%.*s", (int)strcspn(h->headers[i], ":"), h->headers[i]);
		config_value_hash(out, h->headers[i]);
	}
	buf_printf(out, "]");
}

static void
put_method(struct buf *out, const void *base, const struct key *k)
{
	const char *method = service(base)->health.method;

	(void)k;
	config_value_text(out, method != NULL ? method : "GET");
}

/* What is expected in hex, whatever it is: no two lists are the same text.  What is sent may be a password. */
static void
put_steps(struct buf *out, const void *base, const struct key *k)
{
	const struct health_config *h = &service(base)->health;

	(void)k;
	buf_printf(out, "[");
	for (size_t i = 0; i < h->n_steps; i++) {
		char hash[CONFIG_VALUE_DIGEST];

		config_value_comma(out, i);
		if (!h->steps[i].expect) {
			buf_printf(out, "send hash %s", config_value_digest(h->steps[i].bytes, h->steps[i].n, hash));
			continue;
		}
		buf_printf(out, "expect_hex ");
		for (size_t n = 0; n < h->steps[i].n; n++)
			buf_printf(out, "%02x", (unsigned char)h->steps[i].bytes[n]);
	}
	buf_printf(out, "]");
}

static void
put_health_address(struct buf *out, const void *base, const struct key *k)
{
	const struct addr *a = &service(base)->health.address;
	char text[ADDR_TEXT];

	(void)k;
	buf_printf(out, "%s", a->len > 0 ? addr_format(a, text) : "none");
}

static void
put_source_address(struct buf *out, const void *base, const struct key *k)
{
	const struct addr *a = &service(base)->source_address;
	char text[ADDR_TEXT];

	(void)k;
	buf_printf(out, "%s", a->len > 0 ? addr_format(a, text) : "none");
}

static void
put_names(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	config_value_texts(out, service(base)->names, service(base)->n_names - service(base)->n_mapped);
}

static void
put_paths(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	config_value_texts(out, service(base)->paths, service(base)->n_paths);
}

static void
put_default_host(struct buf *out, const void *base, const struct key *k)
{
	const struct service_config *s = service(base);

	(void)k;
	config_value_text(out, s->http.default_host != NULL ? s->http.default_host : s->name);
}

static void
put_certificates(struct buf *out, const void *base, const struct key *k)
{
	const struct tls_config *t = &service(base)->tls;

	(void)k;
	buf_printf(out, "[");
	for (size_t i = 0; i < t->n_certificates; i++) {
		const struct tls_certificate_config *c = &t->certificates[i];

		config_value_comma(out, i);
		buf_printf(out, "%s", c->cert);
		if (c->key != NULL)
			buf_printf(out, " key %s", c->key);
		if (c->ocsp != NULL)
			buf_printf(out, " ocsp %s", c->ocsp);
	}
	buf_printf(out, "]");
}

static void
put_alpn(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	config_value_texts(out, service(base)->tls.alpn, service(base)->tls.n_alpn);
}

static const struct {
	const char *path;
	key_writer *write;
} service_values[] = {
	{ "listen", put_listen },
	{ "preview", put_preview },
	{ "plain_listen", put_plain_listen },
	{ "nodes", put_nodes },
	{ "health.path", put_path },
	{ "health.expect", put_expect },
	{ "health.tls", put_health_tls },
	{ "health.address", put_health_address },
	{ "health.headers", put_check_headers },
	{ "health.method", put_method },
	{ "health.steps", put_steps },
	{ "client_timeout", put_timeout },
	{ "server_timeout", put_timeout },
	{ "source_rate", put_rate },
	{ "source_address", put_source_address },
	{ "hosts", put_names },
	{ "sni", put_names },
	{ "sni_map", write_sni_map },
	{ "paths", put_paths },
	{ "default_host", put_default_host },
	{ "error_page", write_error_page },
	{ "request_headers.set", write_request_set },
	{ "request_headers.remove", write_request_remove },
	{ "response_headers.set", write_response_set },
	{ "response_headers.remove", write_response_remove },
	{ "tls.certificates", put_certificates },
	{ "tls.alpn", put_alpn },
};

key_writer *
config_value_of_service(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(service_values); i++)
		if (strcmp(service_values[i].path, path) == 0)
			return service_values[i].write;
	return NULL;
}
