/* http_own.c - the names that only Teal may say.  Any thread. */
#include <stdlib.h>

#include "data/http/http_own.h"

static void
add(struct http_own *o, struct str name)
{
	o->lines[o->n++] = (struct http1_line){ .name = name, .only = true };
}

static void
add_configured(struct http_own *o, const struct headers_config *h)
{
	for (size_t i = 0; i < h->n; i++) {
		add(o, str_from(h->list[i].name));
		if (h->list[i].value != NULL)
			o->lines[o->n - 1].value = str_from(h->list[i].value);
	}
}

static void
begin_lines(struct http_own *o, const struct headers_config *h)
{
	free(o->lines);
	*o = (struct http_own){ .lines = must_array(HTTP_OWN_MAX - HEADERS_SET_MAX + h->n, sizeof(*o->lines)) };
}

void
http_own_of_requests(struct http_own *o, const struct service_config *config)
{
	begin_lines(o, &config->http.reply.request_headers);
	if (config->tls.client_ca != NULL) {
		/* Only Teal's own word counts. */
		add(o, STR("X-Client-Subject"));
		add(o, STR("X-Client-Fingerprint"));
	}
	/* It is between the tester and Teal, and goes no further. */
	if (config->http.preview_header != NULL)
		add(o, str_from(config->http.preview_header));
	add_configured(o, &config->http.reply.request_headers);
	o->trace = config->http.trace != TRACE_OFF;
}

void
http_own_of_answers(struct http_own *o, const struct service_config *config)
{
	begin_lines(o, &config->http.reply.response_headers);
	if (config->http.color_header)
		add(o, STR("X-Teal-Color"));
	add_configured(o, &config->http.reply.response_headers);
}

void
http_own_free(struct http_own *o)
{
	free(o->lines);
	*o = (struct http_own){ .n = 0 };
}

void
http_own_copy(const struct http_own *own, struct http1_line lines[HTTP_OWN_MAX])
{
	if (own->n > 0)
		memcpy(lines, own->lines, own->n * sizeof(*lines));
}

void
http_own_names(const struct http_own *own, struct http1_line lines[HTTP_OWN_MAX])
{
	for (unsigned i = 0; i < own->n; i++)
		lines[i] = (struct http1_line){ .name = own->lines[i].name, .only = true };
}

bool
http_own_has(const struct http_own *own, struct str name)
{
	static const struct str client[] = { { "X-Forwarded-", 12 }, { "X-Real-IP", 9 } };
	static const struct str trace[] = { { "traceparent", 11 }, { "tracestate", 10 } };

	for (unsigned i = 0; own != NULL && own->trace && i < ARRAY_LEN(trace); i++)
		if (http1_same_name(trace[i], name))
			return true;
	for (unsigned i = 0; own != NULL && i < own->n; i++)
		if (http1_same_name(own->lines[i].name, name))
			return true;
	for (unsigned i = 0; i < ARRAY_LEN(client); i++)
		if (name.n >= client[i].n && (i == 0 || name.n == client[i].n) &&
		    http1_same_name(client[i], (struct str){ name.p, client[i].n }))
			return true;
	return false;
}
