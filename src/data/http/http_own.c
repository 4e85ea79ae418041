/* http_own.c - the names that only Teal may say.  Any thread. */
#include "data/http/http_own.h"

static void
add(struct http_own *o, struct str name)
{
	o->lines[o->n++] = (struct http1_line){ .name = name, .only = true };
}

void
http_own_of_requests(struct http_own *o, const struct service_config *config)
{
	*o = (struct http_own){ .n = 0 };
	if (config->tls.client_ca != NULL) {
		/* Only Teal's own word counts. */
		add(o, STR("X-Client-Subject"));
		add(o, STR("X-Client-Fingerprint"));
	}
	/* It is between the tester and Teal, and goes no further. */
	if (config->http.preview_header != NULL)
		add(o, str_from(config->http.preview_header));
}

void
http_own_of_answers(struct http_own *o, const struct service_config *config)
{
	*o = (struct http_own){ .n = 0 };
	if (config->http.color_header)
		add(o, STR("X-Teal-Color"));
}

bool
http_own_has(const struct http_own *own, struct str name)
{
	static const struct str client[] = { { "X-Forwarded-", 12 }, { "X-Real-IP", 9 } };

	for (unsigned i = 0; own != NULL && i < own->n; i++)
		if (http1_same_name(own->lines[i].name, name))
			return true;
	for (unsigned i = 0; i < ARRAY_LEN(client); i++)
		if (name.n >= client[i].n && (i == 0 || name.n == client[i].n) &&
		    http1_same_name(client[i], (struct str){ name.p, client[i].n }))
			return true;
	return false;
}
