/* config_tls.c - tls and backend_tls of a service: files, terms, and what of it
 * fits together.  The files themselves are read later (control/certs).
 * Start-up thread only. */
#include <stdlib.h>
#include <string.h>

#include "model/config_draft.h"
#include "model/route.h"

#define AT(member) .offset = offsetof(struct service_draft, member)
#define CERTIFICATES_MAX 10000
#define PROTOCOL_MAX 255

static const char *const version_words[] = { "1.2", "1.3", NULL };
static const char *const profile_words[] = { "intermediate", "modern", NULL };
static const char *const verify_words[] = { "require", "optional", NULL };

static key_reader key_certificates, key_protocols, key_server_name;

/* base is a tls_certificate_config. */
static const struct key certificate_keys[] = {
	{ KEY("cert", key_file), .offset = offsetof(struct tls_certificate_config, cert) },
	{ KEY("key", key_file), .offset = offsetof(struct tls_certificate_config, key) },
	{ KEY("ocsp", key_file), .offset = offsetof(struct tls_certificate_config, ocsp) },
	{ 0 },
};

const struct key tls_keys[] = {
	{ KEY("certificates", key_certificates) },
	{ KEY("client_ca", key_file), AT(s.tls.client_ca) },
	{ KEY("crl", key_file), AT(s.tls.crl) },
	{ KEY("client_verify", key_word), AT(s.tls.client_verify), .words = verify_words },
	{ KEY("min_version", key_word), AT(s.tls.min_version), .words = version_words },
	{ KEY("profile", key_word), AT(s.tls.profile), .words = profile_words },
	{ KEY("alpn", key_protocols) },
	{ KEY("ciphers", key_text), AT(s.tls.ciphers) },
	{ KEY("ciphersuites", key_text), AT(s.tls.ciphersuites) },
	{ KEY("curves", key_text), AT(s.tls.curves) },
	{ KEY("handshake_timeout", key_seconds), AT(s.tls.handshake_timeout), .max = 3600 },
	{ 0 },
};

const struct key backend_tls_keys[] = {
	{ KEY("verify", key_bool), AT(s.backend_tls.verify) },
	{ KEY("ca", key_file), AT(s.backend_tls.ca) },
	{ KEY("server_name", key_server_name), AT(s.backend_tls.server_name) },
	{ KEY("cert", key_file), AT(s.backend_tls.cert) },
	{ KEY("key", key_file), AT(s.backend_tls.key) },
	{ 0 },
};

const struct key health_tls_keys[] = {
	{ KEY("verify", key_bool), AT(s.health.own_tls.verify) },
	{ KEY("ca", key_file), AT(s.health.own_tls.ca) },
	{ KEY("server_name", key_server_name), AT(s.health.own_tls.server_name) },
	{ KEY("cert", key_file), AT(s.health.own_tls.cert) },
	{ KEY("key", key_file), AT(s.health.own_tls.key) },
	{ 0 },
};

/* The group switches it on, whatever stands in it; false switches off what the
 * defaults say. */
static void
read_switch(const struct cursor *c, const struct key *k, const config_setting_t *s, bool *on)
{
	bool is_bool = config_setting_type(s) == CONFIG_TYPE_BOOL;

	if (is_bool && !config_setting_get_bool(s)) {
		*on = false;
	} else if (config_setting_type(s) == CONFIG_TYPE_GROUP) {
		*on = true;
		key_group(c, k, s);
	} else {
		cursor_key_error(c, s, "expected a group { }, or false to do without, found %s", cursor_found(s).s);
	}
}

void
key_tls(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	read_switch(c, k, s, &((struct service_draft *)c->base)->s.listen_tls);
}

void
key_backend_tls(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	read_switch(c, k, s, &((struct service_draft *)c->base)->s.backend_tls.on);
}

void
key_health_tls(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;

	if (config_setting_type(s) == CONFIG_TYPE_GROUP) {
		d->s.health.tls = HEALTH_TLS_OWN;
		key_group(c, k, s);
	} else if (config_setting_type(s) == CONFIG_TYPE_BOOL) {
		d->s.health.tls = config_setting_get_bool(s) ? HEALTH_TLS_ON : HEALTH_TLS_OFF;
	} else {
		cursor_key_error(c, s, "expected true, false or a group { }, found %s", cursor_found(s).s);
	}
}

/* Relative names begin at the folder of the file that says them, as those of
 * @include do. */
void
key_file(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	char **to = (char **)(void *)((char *)c->base + k->offset), *name, *path;
	const char *file = config_text_line(&c->r->text, config_setting_source_line(s)).file;
	const char *slash = strrchr(file, '/');

	key_text(c, k, s);
	name = *to;
	if (name == NULL || name[0] == '/' || slash == NULL || config_setting_type(s) != CONFIG_TYPE_STRING)
		return;
	path = must_printf("%.*s/%s", (int)(slash - file), file, name);
	free(name);
	*to = path;
}

static void
key_server_name(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	char pattern[ROUTE_PATTERN];
	const char *wrong = NULL;

	if (config_setting_type(s) == CONFIG_TYPE_STRING && config_setting_get_string(s)[0] != '\0') {
		wrong = route_pattern(config_setting_get_string(s), pattern);
		if (wrong == NULL && pattern[0] == '*')
			wrong = "a server has one name, not all of them";
	}
	if (wrong != NULL)
		cursor_key_error(c, s, "\"%s\": %s", show(config_setting_get_string(s)).s, wrong);
	else
		key_text(c, k, s);
}

static void
certificates_free(struct tls_config *t)
{
	for (size_t i = 0; i < t->n_certificates; i++) {
		free(t->certificates[i].cert);
		free(t->certificates[i].key);
		free(t->certificates[i].ocsp);
	}
	free(t->certificates);
	t->certificates = NULL;
	t->n_certificates = 0;
}

static void
protocols_free(struct tls_config *t)
{
	for (size_t i = 0; i < t->n_alpn; i++)
		free(t->alpn[i]);
	free(t->alpn);
	t->alpn = NULL;
	t->n_alpn = 0;
}

/* Replaces what the defaults gave. */
static void
key_certificates(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct tls_config *t = &((struct service_draft *)c->base)->s.tls;
	struct cursor in = *c;
	unsigned n;

	(void)k;
	certificates_free(t);
	if (config_setting_type(s) != CONFIG_TYPE_LIST &&
	    !(config_setting_type(s) == CONFIG_TYPE_ARRAY && config_setting_length(s) == 0)) {
		cursor_key_error(c, s, "expected a list of groups ( { } ), found %s", cursor_found(s).s);
		return;
	}
	n = (unsigned)config_setting_length(s);
	if (n > CERTIFICATES_MAX) {
		cursor_key_error(c, s, "more than %d certificates", CERTIFICATES_MAX);
		return;
	}
	t->certificates = must_array(n + 1, sizeof(*t->certificates));
	in.prefix = "tls.certificates.";
	for (unsigned i = 0; i < n; i++) {
		const config_setting_t *item = config_setting_get_elem(s, i);
		struct tls_certificate_config *one = &t->certificates[t->n_certificates++];

		one->at = config_text_line(&c->r->text, config_setting_source_line(item));
		in.base = one;
		if (config_setting_type(item) != CONFIG_TYPE_GROUP)
			cursor_key_error(c, item, "expected a group { }, found %s", cursor_found(item).s);
		else
			cursor_read(&in, item, certificate_keys);
		if (config_setting_type(item) == CONFIG_TYPE_GROUP && config_setting_get_member(item, "cert") == NULL)
			cursor_key_error(c, item, "a certificate needs cert = \"FILE\"");
	}
}

static void
key_protocols(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct service_draft *d = c->base;
	struct tls_config *t = &d->s.tls;

	(void)k;
	protocols_free(t);
	t->alpn_given = true;
	if (!cursor_texts(c, s, "a protocol"))
		return;
	t->alpn = must_array(cursor_items(s) + 1, sizeof(*t->alpn));
	for (size_t i = 0; i < cursor_items(s); i++) {
		const char *text = config_setting_get_string(cursor_item(s, i));

		if (text[0] == '\0' || strlen(text) > PROTOCOL_MAX)
			cursor_key_error(c, cursor_item(s, i), "a protocol is a text of 1 to %d bytes", PROTOCOL_MAX);
		else
			t->alpn[t->n_alpn++] = must_strdup(text);
	}
}

void
draft_default_tls(struct service_config *s)
{
	s->tls.handshake_timeout = 10.0;
	s->backend_tls.verify = true;
	s->health.own_tls.verify = true;
}

/* Who speaks HTTP says so; others say what they are told to. */
void
draft_settle_tls(struct service_config *s)
{
	/* Where traffic is plain, or passes through, a check by TLS has terms of its own. */
	if (s->health.type == HEALTH_HANDSHAKE && s->health.tls == HEALTH_TLS_AUTO)
		s->health.tls = s->backend_tls.on ? HEALTH_TLS_ON : HEALTH_TLS_OWN;
	if (s->mode != MODE_HTTP || s->tls.alpn_given)
		return;
	s->tls.alpn = must_array(2, sizeof(*s->tls.alpn));
	s->tls.alpn[s->tls.n_alpn++] = must_strdup("h2");
	s->tls.alpn[s->tls.n_alpn++] = must_strdup("http/1.1");
}

static void
check_protocols(const struct cursor *c, const struct service_draft *s)
{
	if (s->s.mode != MODE_HTTP || !s->s.listen_tls)
		return;
	for (size_t i = 0; i < s->s.tls.n_alpn; i++)
		if (strcmp(s->s.tls.alpn[i], "h2") != 0 && strcmp(s->s.tls.alpn[i], "http/1.1") != 0 && strcmp(s->s.tls.alpn[i], "http/1.0") != 0)
			cursor_error(c, draft_at(s, "tls.alpn"),
				     "tls.alpn: mode \"http\" speaks \"h2\" and \"http/1.1\", and no \"%s\"",
				     show(s->s.tls.alpn[i]).s);
}

static void
check_health_tls(const struct cursor *c, const struct service_draft *s)
{
	const struct backend_tls_config *own = &s->s.health.own_tls;

	if (s->s.health.tls == HEALTH_TLS_ON && !s->s.backend_tls.on)
		cursor_error(c, draft_at(s, "health.tls"),
			     "health.tls: true is as traffic does, and that needs backend_tls; "
			     "for checks alone write tls = { ca = \"FILE\"; } or tls = { verify = false; }");
	if (s->s.health.type == HEALTH_HANDSHAKE && s->s.health.tls == HEALTH_TLS_OFF)
		cursor_error(c, draft_at(s, "health.tls"), "health.tls: health.type = \"tls\" is nothing without it; remove one");
	if (s->s.health.tls != HEALTH_TLS_OWN)
		return;
	if (own->key != NULL && own->cert == NULL)
		cursor_error(c, draft_at(s, "health.tls.key"), "health.tls.key: whose? add cert = \"FILE\"");
	if (!own->verify && own->ca != NULL)
		cursor_warn(c, draft_at(s, "health.tls.ca"),
			    "health.tls.ca changes nothing while verify is false: any server passes");
}

void
draft_check_tls(const struct cursor *c, const struct service_draft *s)
{
	const struct tls_config *t = &s->s.tls;
	const struct backend_tls_config *b = &s->s.backend_tls;
	const config_setting_t *certificates = draft_at(s, "tls.certificates");
	bool asks = draft_at(s, "tls.client_verify") != s->at;

	if (s->s.listen_tls && certificates == s->at)
		cursor_error(c, draft_at(s, "tls"),
			     "tls: needs certificates = ( { cert = \"FILE\"; key = \"FILE\"; } )");
	else if (s->s.listen_tls && config_setting_is_aggregate(certificates) && config_setting_length(certificates) == 0)
		cursor_error(c, certificates, "tls.certificates: at least one is needed");
	if (s->s.listen_tls && asks && t->client_ca == NULL)
		cursor_error(c, draft_at(s, "tls.client_verify"),
			     "tls.client_verify: by whose word? add client_ca = \"FILE\"");
	if (s->s.listen_tls && t->crl != NULL && t->client_ca == NULL)
		cursor_error(c, draft_at(s, "tls.crl"),
			     "tls.crl: of whose certificates? add client_ca = \"FILE\"");
	if (s->s.listen_tls && t->profile == TLS_MODERN && draft_at(s, "tls.min_version") != s->at && t->min_version == TLS_1_2)
		cursor_warn(c, draft_at(s, "tls.min_version"),
			    "tls.min_version changes nothing: profile = \"modern\" is TLS 1.3");
	if (s->s.listen_tls && t->ciphers != NULL && (t->profile == TLS_MODERN || t->min_version == TLS_1_3))
		cursor_warn(c, draft_at(s, "tls.ciphers"),
			    "tls.ciphers changes nothing: they are those of TLS 1.2; ciphersuites are those of 1.3");
	check_protocols(c, s);
	check_health_tls(c, s);
	if (b->on && b->key != NULL && b->cert == NULL)
		cursor_error(c, draft_at(s, "backend_tls.key"), "backend_tls.key: whose? add cert = \"FILE\"");
	if (b->on && !b->verify && b->ca != NULL)
		cursor_warn(c, draft_at(s, "backend_tls.ca"),
			    "backend_tls.ca changes nothing while verify is false: any server is accepted");
	else if (b->on && !b->verify)
		cursor_warn(c, draft_at(s, "backend_tls.verify"),
			    "backend_tls.verify: false means that any server is accepted");
}

void
tls_config_clear(struct service_config *s)
{
	certificates_free(&s->tls);
	protocols_free(&s->tls);
	free(s->tls.client_ca);
	free(s->tls.crl);
	free(s->tls.ciphers);
	free(s->tls.ciphersuites);
	free(s->tls.curves);
	free(s->health.own_tls.ca);
	free(s->health.own_tls.server_name);
	free(s->health.own_tls.cert);
	free(s->health.own_tls.key);
	free(s->backend_tls.ca);
	free(s->backend_tls.server_name);
	free(s->backend_tls.cert);
	free(s->backend_tls.key);
}
