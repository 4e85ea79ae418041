/* admin_caller.c - who is at the other end of a connection of the admin listener.
 * Thread: main, but for what makes one. */
#include <stdio.h>
#include <stdlib.h>

#include "app/teald/admin_caller.h"
#include "base/tlv.h"

/* The fields of a row; none is ever reused for something else. */
enum {
	CALLER_T_NAME = 1,
	CALLER_T_SUBJECT = 2,
	CALLER_T_PEER = 3,
	CALLER_T_HASH = 4,
	CALLER_T_CN = 5,
	CALLER_T_SAN = 6,	/* each */
	CALLER_T_NOT_AFTER = 7
};

static struct admin_caller *
caller_new(const char *subject, const char *peer)
{
	struct admin_caller *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->refs = 1;
	(void)str_copy(c->subject, sizeof(c->subject), str_from(subject));
	(void)str_copy(c->peer, sizeof(c->peer), str_from(peer));
	return c;
}

static void
set_name(struct admin_caller *c, const char *kind, const char *name)
{
	int n = snprintf(c->name, sizeof(c->name), "%s:", kind);

	/* What is cut is still what the audit and the limits need; roles look at the whole. */
	(void)str_copy(c->name + n, sizeof(c->name) - (size_t)n, str_from(name));
}

struct admin_caller *
admin_caller_by_certificate(const struct tls_names *names, const char *subject, const char *peer)
{
	struct admin_caller *c = caller_new(subject[0] != '\0' ? subject : "(none)", peer);

	if (c == NULL)
		return NULL;
	c->names = *names;
	if (names->cn[0] != '\0')
		set_name(c, "cn", names->cn);
	else
		set_name(c, "san", names->n > 0 ? names->san[0] : "");
	return c;
}

struct admin_caller *
admin_caller_by_token(const struct admin_token *token, const char *peer)
{
	struct admin_caller *c = caller_new("", peer);

	if (c == NULL)
		return NULL;
	memcpy(c->hash, token->hash, sizeof(c->hash));
	set_name(c, "token", token->name);
	return c;
}

struct admin_caller *
admin_caller_ref(struct admin_caller *c)
{
	c->refs++;
	return c;
}

void
admin_caller_unref(struct admin_caller **cp)
{
	struct admin_caller *c = *cp;

	*cp = NULL;
	if (c != NULL && --c->refs == 0)
		free(c);
}

static bool
any_glob(char *const *globs, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_glob(globs[i], name))
			return true;
	return false;
}

bool
admin_caller_has_role(const struct admin_caller *c, const struct config *config, const struct role_config *role)
{
	const struct admin_token *token;

	if (c->hash[0] != '\0') {
		token = admin_token_by_hash(config->admin.net.tokens, config->admin.net.n_tokens, c->hash);
		for (size_t i = 0; token != NULL && i < role->n_tokens; i++)
			if (strcmp(role->tokens[i], token->name) == 0)
				return true;
		return false;
	}
	if (c->names.cn[0] != '\0' && any_glob(role->cn, role->n_cn, c->names.cn))
		return true;
	for (unsigned i = 0; i < c->names.n; i++)
		if (any_glob(role->san, role->n_san, c->names.san[i]))
			return true;
	return false;
}

const char *
admin_caller_is_over(const struct admin_caller *c, const struct config *config, int64_t now)
{
	const struct admin_token *token;

	if (c->hash[0] == '\0' && config->admin.net.client_ca == NULL)
		return "the certificate that this connection has shown is good no more: admin.tls.client_ca was taken out";
	if (c->hash[0] == '\0')
		return now >= c->names.not_after ? "the certificate that this connection has shown has expired" : NULL;
	token = admin_token_by_hash(config->admin.net.tokens, config->admin.net.n_tokens, c->hash);
	if (token == NULL)
		return "the token that this connection has shown is good no more: it was taken out of admin.token_file";
	return token->until != 0 && now >= token->until ? "the token that this connection has shown has expired" : NULL;
}

void
admin_caller_put(const struct admin_caller *c, struct buf *row)
{
	tlv_str(row, CALLER_T_NAME, str_from(c->name));
	tlv_str(row, CALLER_T_SUBJECT, str_from(c->subject));
	tlv_str(row, CALLER_T_PEER, str_from(c->peer));
	tlv_str(row, CALLER_T_HASH, str_from(c->hash));
	tlv_str(row, CALLER_T_CN, str_from(c->names.cn));
	for (unsigned i = 0; i < c->names.n; i++)
		tlv_str(row, CALLER_T_SAN, str_from(c->names.san[i]));
	tlv_u64(row, CALLER_T_NOT_AFTER, (uint64_t)c->names.not_after);
}

static bool
take_field(struct admin_caller *c, const struct tlv *t)
{
	uint64_t until;

	switch (t->tag) {
	case CALLER_T_NAME:
		return str_copy(c->name, sizeof(c->name), t->value);
	case CALLER_T_SUBJECT:
		return str_copy(c->subject, sizeof(c->subject), t->value);
	case CALLER_T_PEER:
		return str_copy(c->peer, sizeof(c->peer), t->value);
	case CALLER_T_HASH:
		return str_copy(c->hash, sizeof(c->hash), t->value);
	case CALLER_T_CN:
		return str_copy(c->names.cn, sizeof(c->names.cn), t->value);
	case CALLER_T_SAN:
		return c->names.n == TLS_NAMES_MAX || str_copy(c->names.san[c->names.n++], TLS_NAME_TEXT, t->value);
	case CALLER_T_NOT_AFTER:
		if (!tlv_as_u64(t, &until))
			return false;
		c->names.not_after = (int64_t)until;
		return true;
	}
	return true;
}

/* A field that does not fit would be another name: then there is no caller. */
struct admin_caller *
admin_caller_take(struct str row)
{
	struct admin_caller *c = caller_new("", "");
	struct tlv t;
	bool good = c != NULL;

	while (good && tlv_next(&row, &t))
		good = take_field(c, &t);
	if (!good || c->name[0] == '\0')
		admin_caller_unref(&c);
	return c;
}
