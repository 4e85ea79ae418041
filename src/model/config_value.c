/* config_value.c - the values of keys in words.  A key whose reader is its own has a
 * row here.  Any thread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "model/config_value.h"
#include "model/admin_token.h"
#include "proto/admin_command.h"

/* Of the digest of a secret: enough to see a change, too little to find it out. */
#define SECRET_BYTES 4

void
config_value_text(struct buf *out, const char *text)
{
	if (text == NULL) {
		buf_printf(out, "none");
		return;
	}
	buf_append(out, "\"", 1);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\x%02x", c);
		else
			buf_append(out, text, 1);
	}
	buf_append(out, "\"", 1);
}

void
config_value_comma(struct buf *out, size_t i)
{
	buf_printf(out, i > 0 ? ", " : "");
}

void
config_value_texts(struct buf *out, char *const *texts, size_t n)
{
	buf_printf(out, "[");
	for (size_t i = 0; i < n; i++) {
		config_value_comma(out, i);
		config_value_text(out, texts[i]);
	}
	buf_printf(out, "]");
}

void
config_value_addresses(struct buf *out, const struct addr *list, size_t n)
{
	char text[ADDR_TEXT];

	buf_printf(out, "[");
	for (size_t i = 0; i < n; i++) {
		config_value_comma(out, i);
		buf_printf(out, "%s", addr_format(&list[i], text));
	}
	buf_printf(out, "]");
}

void
config_value_seconds(struct buf *out, double v)
{
	if (v < 0)
		buf_printf(out, "default");
	else
		buf_printf(out, "%.9g", v);
}

static void
put_on(struct buf *out, bool on)
{
	buf_printf(out, on ? "true" : "false");
}

static void
put_seconds(struct buf *out, const void *base, const struct key *k)
{
	double v;

	memcpy(&v, config_value_at(base, k), sizeof(v));
	config_value_seconds(out, v);
}

static void
put_count(struct buf *out, const void *base, const struct key *k)
{
	unsigned v;

	memcpy(&v, config_value_at(base, k), sizeof(v));
	buf_printf(out, "%u", v);
}

static void
put_size(struct buf *out, const void *base, const struct key *k)
{
	uint64_t v;

	memcpy(&v, config_value_at(base, k), sizeof(v));
	buf_printf(out, "%" PRIu64, v);
}

static void
put_bool(struct buf *out, const void *base, const struct key *k)
{
	bool v;

	memcpy(&v, config_value_at(base, k), sizeof(v));
	put_on(out, v);
}

static void
put_text(struct buf *out, const void *base, const struct key *k)
{
	const char *v;

	memcpy(&v, config_value_at(base, k), sizeof(v));
	config_value_text(out, v);
}

static void
put_choice_word(struct buf *out, const void *base, const struct key *k)
{
	unsigned v;

	memcpy(&v, config_value_at(base, k), sizeof(v));
	buf_printf(out, "%s", k->words[v]);
}

static void
put_networks(struct buf *out, const void *base, const struct key *k)
{
	const struct cidr_set *set = config_value_at(base, k);
	char text[CIDR_TEXT];

	buf_printf(out, "[");
	for (size_t i = 0; i < set->n; i++) {
		config_value_comma(out, i);
		buf_printf(out, "%s", cidr_format(&set->list[i], text));
	}
	buf_printf(out, "]");
}

static void
put_quorum(struct buf *out, const void *base, const struct key *k)
{
	const struct quorum *q = config_value_at(base, k);

	buf_printf(out, "%u%s", q->value, q->percent ? "%" : "");
}

/* Readers that serve many keys. */
static const struct {
	key_reader *read;
	struct config_value_form form;
} by_reader[] = {
	{ key_seconds, { put_seconds, sizeof(double) } },
	{ key_fraction, { put_seconds, sizeof(double) } },
	{ key_count, { put_count, sizeof(unsigned) } },
	{ key_size, { put_size, sizeof(uint64_t) } },
	{ key_bool, { put_bool, sizeof(bool) } },
	{ key_word, { put_choice_word, sizeof(unsigned) } },
	{ key_text, { put_text, 0 } },
	{ key_file, { put_text, 0 } },
	{ key_networks, { put_networks, 0 } },
	{ key_percent_or_count, { put_quorum, 0 } },
	{ key_kube_server, { kube_server_value, 0 } },
	{ key_kube_taints, { kube_taints_value, 0 } },
};

/* -- keys with a form of their own: the whole ---------------------------------------- */

static const struct config *
whole(const void *base)
{
	return &((const struct draft *)base)->c;
}

static void
put_mode(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	buf_printf(out, "%04o", (unsigned)whole(base)->admin.mode);
}

static void
put_names_of(struct buf *out, const char *kind, char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s%s", i > 0 ? " or " : kind, list[i]);
}

static void
put_role_holders(struct buf *out, const struct role_config *r)
{
	if (r->user != NULL)
		buf_printf(out, "user %s", r->user);
	else if (r->group != NULL)
		buf_printf(out, "group %s", r->group);
	put_names_of(out, "cn ", r->cn, r->n_cn);
	put_names_of(out, r->n_cn > 0 ? " or san " : "san ", r->san, r->n_san);
	put_names_of(out, r->n_cn + r->n_san > 0 ? " or token " : "token ", r->tokens, r->n_tokens);
	buf_printf(out, ": ");
}

static void
put_admin_listen(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	config_value_addresses(out, whole(base)->admin.net.listen, whole(base)->admin.net.n_listen);
}

static void
put_source_addresses(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	config_value_addresses(out, whole(base)->kernel.source_addresses, whole(base)->kernel.n_source_addresses);
}

static void
put_roles(struct buf *out, const void *base, const struct key *k)
{
	const struct config *c = whole(base);

	(void)k;
	buf_printf(out, "[");
	for (size_t i = 0; i < c->admin.n_roles; i++) {
		const struct role_config *r = &c->admin.roles[i];

		config_value_comma(out, i);
		put_role_holders(out, r);
		for (int right = ADMIN_RIGHT_READ; right <= ADMIN_RIGHT_ADMIN; right++)
			if (r->allow & 1u << right)
				buf_printf(out, "%s ", admin_right_word((enum admin_right)right));
		buf_printf(out, "on");
		for (size_t s = 0; s < r->n_services; s++)
			buf_printf(out, " %s", r->services[s]);
	}
	buf_printf(out, "]");
}

static void
put_observe(struct buf *out, const void *base, const struct key *k)
{
	char text[ADDR_TEXT];

	(void)k;
	buf_printf(out, "%s",
		   whole(base)->observe.on ? addr_format(&whole(base)->observe.listen, text) : "none");
}

static void
put_observe_hosts(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	config_value_texts(out, whole(base)->observe.hosts, whole(base)->observe.n_hosts);
}

static void
put_access(struct buf *out, const void *base, const struct key *k)
{
	static const char *const words[] = {
		[ACCESS_OFF] = "false", [ACCESS_ON] = "true", [ACCESS_ERRORS] = "errors"
	};

	(void)k;
	buf_printf(out, "%s", words[whole(base)->log.access]);
}

static void
put_endpoint(struct buf *out, const struct redis_endpoint *e)
{
	bool brackets = strchr(e->host, ':') != NULL;

	buf_printf(out, "%s%s%s:%u", brackets ? "[" : "", e->host, brackets ? "]" : "", e->port);
}

static void
put_url(struct buf *out, const void *base, const struct key *k)
{
	const struct store_config *s = &whole(base)->store;

	(void)k;
	if (s->path[0] != '\0')
		buf_printf(out, "unix://%s", s->path);
	else if (s->at.host[0] != '\0')
		put_endpoint(out, &s->at);
	else
		buf_printf(out, "none");
}

static void
put_sentinels(struct buf *out, const void *base, const struct key *k)
{
	const struct store_config *s = &whole(base)->store;

	(void)k;
	buf_printf(out, "[");
	for (size_t i = 0; i < s->n_sentinels; i++) {
		config_value_comma(out, i);
		put_endpoint(out, &s->sentinels[i]);
	}
	buf_printf(out, "]");
}

const char *
config_value_digest(const void *bytes, size_t n, char out[CONFIG_VALUE_DIGEST])
{
	static const char salt[] = "teal: ";
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	CHECK(ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
	      EVP_DigestUpdate(ctx, salt, sizeof(salt)) == 1 && EVP_DigestUpdate(ctx, bytes, n) == 1 &&
	      EVP_DigestFinal_ex(ctx, digest, NULL) == 1);
	EVP_MD_CTX_free(ctx);
	for (int i = 0; i < SECRET_BYTES; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
	return out;
}

void
config_value_hash(struct buf *out, const char *secret)
{
	char hash[CONFIG_VALUE_DIGEST];

	if (secret != NULL)
		buf_printf(out, " hash %s", config_value_digest(secret, strlen(secret), hash));
}

/* The file's name, and a hash that changes with what is in it. */
static void
put_secret(struct buf *out, const char *file, const char *secret)
{
	config_value_text(out, file);
	config_value_hash(out, secret);
}

static void
put_password(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	put_secret(out, whole(base)->store.password_file, whole(base)->store.password);
}

static void
put_observe_password(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	put_secret(out, whole(base)->observe.password_file, whole(base)->observe.password);
}

static void
put_sentinel_password(struct buf *out, const void *base, const struct key *k)
{
	(void)k;
	put_secret(out, whole(base)->store.sentinel_password_file, whole(base)->store.sentinel_password);
}

/* Hashes of what it holds, which is hashes. */
static void
put_token_file(struct buf *out, const void *base, const struct key *k)
{
	const struct admin_net_config *a = &whole(base)->admin.net;
	struct buf all;

	(void)k;
	buf_init(&all, ADMIN_TOKEN_FILE_MAX + ADMIN_TOKENS_MAX * 32);
	for (size_t i = 0; i < a->n_tokens; i++)
		buf_printf(&all, "%s %s %lld\n", a->tokens[i].name, a->tokens[i].hash, (long long)a->tokens[i].until);
	buf_append(&all, "", 1);
	put_secret(out, a->token_file, a->token_file != NULL && !all.failed ? buf_str(&all).p : NULL);
	buf_free(&all);
}

/* Keys whose reader is their own, by their path; more of a service are in config_value_service.c. */
static const struct {
	const char *path;
	key_writer *write;
} by_path[] = {
	{ "store.prefix", put_text },
	{ "store.url", put_url },
	{ "store.sentinels", put_sentinels },
	{ "store.password_file", put_password },
	{ "store.sentinel_password_file", put_sentinel_password },
	{ "admin.socket", put_text },
	{ "admin.mode", put_mode },
	{ "admin.roles", put_roles },
	{ "admin.listen", put_admin_listen },
	{ "admin.token_file", put_token_file },
	{ "observe.listen", put_observe },
	{ "observe.hosts", put_observe_hosts },
	{ "observe.password_file", put_observe_password },
	{ "log.access", put_access },
	{ "kernel.table", put_text },
	{ "kernel.source_addresses", put_source_addresses },
	{ "log.syslog.address", syslog_address_value },
	{ "log.syslog.facility", syslog_facility_value },
	{ "notify", notify_value },

	{ "preview_header", put_text },
	{ "redirect", put_text },
	{ "redirect_status", put_count },
	{ "backend_tls.server_name", put_text },
};

struct config_value_form
config_value_form(const char *path, const struct key *k)
{
	key_writer *write;

	for (size_t i = 0; i < ARRAY_LEN(by_path); i++)
		if (strcmp(by_path[i].path, path) == 0)
			return (struct config_value_form){ by_path[i].write, 0 };
	if ((write = config_value_of_service(path)) != NULL)
		return (struct config_value_form){ write, 0 };
	for (size_t i = 0; i < ARRAY_LEN(by_reader); i++)
		if (by_reader[i].read == k->read)
			return by_reader[i].form;
	return (struct config_value_form){ NULL, 0 };
}
