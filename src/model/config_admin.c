/* config_admin.c - the admin listener: admin.listen, admin.tls, admin.allow and admin.token_file.
 * Start-up thread only. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/admin_token.h"
#include "model/config_draft.h"
#include "model/plain_file.h"

#define AT(member) .offset = offsetof(struct draft, c.admin.net.member)

static const char *const version_words[] = { "1.2", "1.3", NULL };

const struct key admin_tls_keys[] = {
	{ KEY("cert", key_file), AT(cert) },
	{ KEY("key", key_file), AT(key) },
	{ KEY("client_ca", key_file), AT(client_ca) },
	{ KEY("crl", key_file), AT(crl) },
	{ KEY("min_version", key_word), AT(min_version), .words = version_words },
	{ KEY("handshake_timeout", key_seconds), AT(handshake_timeout), .min = 0.1, .max = 60 },
	{ 0 },
};

void
draft_default_admin(struct draft *d)
{
	d->c.admin.net.handshake_timeout = 5.0;
}

void
key_admin_listen(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct draft *d = c->base;

	(void)k;
	draft_read_addresses(c, s, &d->c.admin.net.listen, &d->c.admin.net.n_listen);
	for (size_t i = 0; i < d->c.admin.net.n_listen; i++)
		if (addr_family(&d->c.admin.net.listen[i]) == AF_UNIX)
			cursor_key_error(c, cursor_item(s, i),
					 "a Unix socket is admin.socket; this is for an address of the network, such as "
					 "\"10.0.0.1:9443\"");
}

static const config_setting_t *
admin_at(const struct draft *d, const char *path)
{
	return config_setting_lookup((config_setting_t *)(uintptr_t)d->root, path);
}

static void
read_tokens(struct draft *d, const struct cursor *c)
{
	struct admin_net_config *a = &d->c.admin.net;
	const config_setting_t *s = admin_at(d, "admin.token_file");
	char *text = must_alloc(ADMIN_TOKEN_FILE_MAX + 1);
	struct why why;
	mode_t mode;
	ssize_t n;

	if ((n = plain_file_read(a->token_file, text, ADMIN_TOKEN_FILE_MAX + 1, &mode, &why)) < 0)
		cursor_error(c, s, "admin.token_file: %s", why.text);
	else if (n > ADMIN_TOKEN_FILE_MAX)
		cursor_error(c, s, "admin.token_file: %s is longer than %d bytes", a->token_file, ADMIN_TOKEN_FILE_MAX);
	else if (mode & 0002)
		cursor_error(c, s, "admin.token_file: every user can write to %s, and so give himself a token (mode %04o); chmod 0640 it",
			     a->token_file, (unsigned)mode & 07777);
	else if (admin_tokens_parse((struct str){ text, (size_t)n }, &a->tokens, &a->n_tokens, &why) != OK)
		cursor_error(c, s, "admin.token_file: %s: %s", a->token_file, why.text);
	else if (a->n_tokens == 0)
		cursor_warn(c, s, "admin.token_file: there is no token in %s, so that no client gets in by one; teald --new-token=NAME makes one",
			    a->token_file);
	free(text);
}

/* Its files in the form of a service's. */
static struct service_config *
make_site(const struct draft *d)
{
	const struct admin_net_config *a = &d->c.admin.net;
	struct service_config *site = must_alloc(sizeof(*site));

	site->name = must_strdup(ADMIN_NET_NAME);
	site->labels_json = must_strdup("");
	site->at = config_text_line(&d->r->text, config_setting_source_line(admin_at(d, "admin.tls")));
	site->listen_tls = true;
	site->tls.certificates = must_array(1, sizeof(*site->tls.certificates));
	site->tls.n_certificates = 1;
	site->tls.certificates[0].at = site->at;
	site->tls.certificates[0].cert = must_strdup(a->cert);
	site->tls.certificates[0].key = a->key != NULL ? must_strdup(a->key) : NULL;
	site->tls.client_ca = a->client_ca != NULL ? must_strdup(a->client_ca) : NULL;
	site->tls.crl = a->crl != NULL ? must_strdup(a->crl) : NULL;
	site->tls.client_verify = a->token_file != NULL ? VERIFY_OPTIONAL : VERIFY_REQUIRE;
	site->tls.min_version = a->min_version;
	return site;
}

static void
warn_of_nothing(const struct draft *d, const struct cursor *c)
{
	static const char *const keys[] = { "admin.tls", "admin.allow", "admin.token_file" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (admin_at(d, keys[i]) != NULL)
			cursor_warn(c, admin_at(d, keys[i]), "%s changes nothing without admin.listen", keys[i]);
}

void
draft_check_admin(struct draft *d)
{
	struct admin_net_config *a = &d->c.admin.net;
	struct cursor c = { d->r, NULL, "", NULL };
	const config_setting_t *listen = admin_at(d, "admin.listen"), *tls = admin_at(d, "admin.tls");

	if (a->token_file != NULL)
		read_tokens(d, &c);
	if (a->key != NULL && a->cert == NULL)
		cursor_error(&c, admin_at(d, "admin.tls.key"), "admin.tls.key: whose? add cert = \"FILE\"");
	else if (listen != NULL && a->cert == NULL)
		cursor_error(&c, tls != NULL ? tls : listen,
			     "admin.listen: speaks TLS only: it needs tls = { cert = \"FILE\"; key = \"FILE\"; client_ca = \"FILE\"; }");
	else if (listen != NULL && a->client_ca == NULL && a->token_file == NULL)
		cursor_error(&c, tls, "admin.listen: whom does it let in? add tls.client_ca for certificates, token_file for tokens, or both");
	if (a->crl != NULL && a->client_ca == NULL)
		cursor_error(&c, admin_at(d, "admin.tls.crl"), "admin.tls.crl: of whose certificates? add client_ca = \"FILE\"");
	/* A list that a template has left empty. */
	if (listen != NULL && admin_at(d, "admin.allow") != NULL && cidr_set_is_empty(&a->allow))
		cursor_warn(&c, admin_at(d, "admin.allow"),
			    "admin.allow: an empty list lets clients of every network connect; name networks, or leave it out");
	if (listen == NULL)
		warn_of_nothing(d, &c);
	else if (a->n_listen > 0 && a->cert != NULL)
		a->site = make_site(d);
}

void
admin_net_clear(struct admin_net_config *a)
{
	free(a->listen);
	cidr_set_clear(&a->allow);
	free(a->cert);
	free(a->key);
	free(a->client_ca);
	free(a->crl);
	free(a->token_file);
	free(a->tokens);
	if (a->site != NULL)
		service_config_clear(a->site);
	free(a->site);
}
