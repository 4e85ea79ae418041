/* config_role.c - admin.roles: users, groups, and those whom admin.listen lets in, and what they
 * may do on which services.  Start-up thread only; blocks on user and group look-ups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "model/admin_token.h"
#include "model/config_account.h"
#include "model/config_draft.h"
#include "proto/admin_command.h"

#define ROLE(member) .offset = offsetof(struct role_config, member)

static const char *const right_words[] = { "read", "flip", "node", "admin" };

static void
key_role_user(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct role_config *role = c->base;

	key_text(c, k, s);
	if (role->user != NULL)
		account_user(c, s, role->user, &role->uid, NULL);
}

static void
key_role_group(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct role_config *role = c->base;

	key_text(c, k, s);
	if (role->group != NULL)
		account_group(c, s, role->group, &role->gid);
}

/* What a service's name may be, and '*' for any number of its letters. */
static bool
is_glob(const char *text)
{
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-*");

	return n > 0 && text[n] == '\0';
}

/* One text or a list of them into *list, which the role owns; twice is a key twice, which the grammar
 * refuses. */
static bool
read_names(const struct cursor *c, const config_setting_t *s, const char *what, char ***list, size_t *n)
{
	size_t items = cursor_items(s);

	if (!cursor_texts(c, s, what))
		return false;
	if (items == 0) {
		cursor_key_error(c, s, "the list is empty; remove the key or fill it in");
		return false;
	}
	*list = must_array(items, sizeof(**list));
	for (size_t i = 0; i < items; i++) {
		const char *text = config_setting_get_string(cursor_item(s, i));

		if (text[0] == '\0')
			cursor_key_error(c, cursor_item(s, i), "the text is empty; remove it or fill it in");
		(*list)[(*n)++] = must_strdup(text);
	}
	return true;
}

static void
key_role_cn(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct role_config *role = c->base;

	(void)k;
	(void)read_names(c, s, "a common name", &role->cn, &role->n_cn);
}

static void
key_role_san(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct role_config *role = c->base;

	(void)k;
	(void)read_names(c, s, "a name", &role->san, &role->n_san);
}

static void
key_role_token(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct role_config *role = c->base;

	(void)k;
	if (!read_names(c, s, "the name of a token", &role->tokens, &role->n_tokens))
		return;
	for (size_t i = 0; i < role->n_tokens; i++)
		if (!admin_token_is_name(role->tokens[i]))
			cursor_key_error(c, cursor_item(s, i),
					 "this is the name that a token has in admin.token_file, never the token itself: "
					 "up to 56 of A-Z a-z 0-9 . _ -");
}

static void
key_role_services(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct role_config *role = c->base;
	size_t n = cursor_items(s);

	(void)k;
	if (!cursor_texts(c, s, "a service"))
		return;
	if (n == 0) {
		cursor_key_error(c, s, "the list is empty; [\"*\"] is all services");
		return;
	}
	role->services = must_array(n, sizeof(*role->services));
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *item = cursor_item(s, i);
		const char *text = config_setting_get_string(item);

		if (!is_glob(text))
			cursor_key_error(c, item,
					 "\"%s\" is neither the name of a service nor a pattern such as "
					 "\"shop-*\"",
					 show(text).s);
		role->services[role->n_services++] = must_strdup(text);
	}
}

/* False: no such right. */
static bool
right_bit(const char *word, unsigned *bit)
{
	for (int right = ADMIN_RIGHT_READ; right <= ADMIN_RIGHT_ADMIN; right++)
		if (strcmp(word, admin_right_word((enum admin_right)right)) == 0) {
			*bit = 1u << right;
			return true;
		}
	return false;
}

static void
key_role_allow(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct role_config *role = c->base;
	unsigned bit;

	(void)k;
	if (!cursor_texts(c, s, "a right"))
		return;
	if (cursor_items(s) == 0)
		cursor_key_error(c, s, "the list is empty; the rights are read, flip, node and admin");
	for (size_t i = 0; i < cursor_items(s); i++) {
		const config_setting_t *item = cursor_item(s, i);
		const char *word = config_setting_get_string(item);

		if (right_bit(word, &bit))
			role->allow |= bit;
		else
			cursor_key_error(
				c, item,
				"there is no right \"%s\"; the rights are read, flip, node and admin%s",
				show(word).s, cursor_guess(word, right_words, ARRAY_LEN(right_words)).s);
	}
}

const struct key role_keys[] = {
	{ KEY("user", key_role_user), ROLE(user) },
	{ KEY("group", key_role_group), ROLE(group) },
	{ KEY("cn", key_role_cn) },
	{ KEY("san", key_role_san) },
	{ KEY("token", key_role_token) },
	{ KEY("services", key_role_services) },
	{ KEY("allow", key_role_allow) },
	{ 0 },
};

static bool
has_key(const config_setting_t *group, const char *key)
{
	return config_setting_get_member(group, key) != NULL;
}

static void
read_role(const struct cursor *c, const config_setting_t *s, struct role_config *role)
{
	struct cursor in = *c;
	int kinds;

	in.prefix = "admin.roles.";
	in.base = role;
	cursor_read(&in, s, role_keys);
	kinds = has_key(s, "user") + has_key(s, "group") + (has_key(s, "cn") || has_key(s, "san") || has_key(s, "token"));
	if (kinds != 1)
		cursor_error(c, s, "admin.roles: a role is for a user, for a group, or for those whom admin.listen lets in (cn, san, "
			     "token); this one %s",
			     kinds == 0 ? "is for none of these" : "mixes them: make two of it");
	if (!has_key(s, "services"))
		cursor_error(c, s, "admin.roles: services is missing; services = [\"*\"] is all of them");
	if (!has_key(s, "allow"))
		cursor_error(c, s, "admin.roles: allow is missing; add allow = [\"read\"]; or the like");
}

void
key_roles(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct draft *d = c->base;
	unsigned n = (unsigned)cursor_items(s);

	(void)k;
	if (config_setting_type(s) != CONFIG_TYPE_LIST &&
	    !(config_setting_type(s) == CONFIG_TYPE_ARRAY && n == 0)) {
		cursor_key_error(c, s, "expected a list of groups ( { } ), found %s", cursor_found(s).s);
		return;
	}
	if (n == 0)
		return;
	d->c.admin.roles = must_array(n, sizeof(*d->c.admin.roles));
	d->c.admin.n_roles = n;
	for (unsigned i = 0; i < n; i++) {
		const config_setting_t *item = config_setting_get_elem(s, i);

		if (config_setting_type(item) == CONFIG_TYPE_GROUP)
			read_role(c, item, &d->c.admin.roles[i]);
		else
			cursor_key_error(c, item, "expected a group { }, found %s", cursor_found(item).s);
	}
}

/* A pattern nothing matches is often a name mistyped. */
static void
check_services(const struct draft *d, const struct role_config *role, const config_setting_t *s)
{
	const config_setting_t *list = config_setting_get_member(s, "services");
	struct cursor c = { d->r, NULL, "", NULL };
	const char **names = must_array(d->n_services + 1, sizeof(*names));
	bool known = true;

	for (size_t k = 0; k < d->n_services; k++) {
		names[k] = d->services[k].s.name;
		known = known && names[k] != NULL;
	}
	for (size_t i = 0; known && i < role->n_services; i++) {
		bool matches = false;

		for (size_t k = 0; k < d->n_services && !matches; k++)
			matches = str_glob(role->services[i], names[k]);
		if (!matches)
			cursor_warn(&c, cursor_item(list, i),
				    "admin.roles.services: \"%s\" matches no service%s",
				    show(role->services[i]).s,
				    cursor_guess(role->services[i], names, d->n_services).s);
	}
	free(names);
}

/* Whether the token file has a token of that name, and *good whether one of these has not expired. */
static bool
knows_token(const struct admin_net_config *a, const char *name, bool *good)
{
	int64_t now = clock_wall_us() / 1000000;
	bool known = false;

	*good = false;
	for (size_t i = 0; i < a->n_tokens; i++) {
		if (strcmp(a->tokens[i].name, name) != 0)
			continue;
		known = true;
		*good = *good || a->tokens[i].until == 0 || now < a->tokens[i].until;
	}
	return known;
}

/* A role that no connection can have. */
static void
check_ways_in(const struct draft *d, const struct role_config *role, const config_setting_t *s)
{
	const struct admin_net_config *a = &d->c.admin.net;
	struct cursor c = { d->r, NULL, "", NULL };

	if (role->n_cn + role->n_san + role->n_tokens > 0 && a->n_listen == 0)
		cursor_warn(&c, s, "admin.roles: no connection has this role: there is no admin.listen");
	else if (role->n_cn + role->n_san > 0 && a->client_ca == NULL)
		cursor_warn(&c, s, "admin.roles: no connection has this role by cn or san: admin.tls has no client_ca");
	for (size_t i = 0; i < role->n_tokens; i++) {
		const config_setting_t *list = config_setting_get_member(s, "token");
		bool good, known = knows_token(a, role->tokens[i], &good);

		if (known && !good)
			cursor_warn(&c, cursor_item(list, i),
				    "admin.roles.token: \"%s\" has expired, says %s; teald --new-token=%s makes another",
				    show(role->tokens[i]).s, a->token_file, show(role->tokens[i]).s);
		else if (!known && a->n_listen > 0)
			cursor_warn(&c, cursor_item(list, i), "admin.roles.token: %s has no token \"%s\"; teald --new-token=%s makes one",
				    a->token_file != NULL ? a->token_file : "admin.token_file, which is missing,",
				    show(role->tokens[i]).s, show(role->tokens[i]).s);
	}
}

static bool
is_for_all(const struct role_config *role)
{
	for (size_t i = 0; i < role->n_services; i++)
		if (str_glob(role->services[i], "*"))
			return true;
	return false;
}

/* Rights over more than the services it has. */
static void
check_whole(const struct role_config *role, const struct cursor *c, const config_setting_t *allow)
{
	if (role->allow & 1u << ADMIN_RIGHT_NODE)
		cursor_warn(c, allow, "admin.roles.allow: \"node\" changes nothing here: it counts with services = [\"*\"] only");
	if (role->allow & 1u << ADMIN_RIGHT_ADMIN)
		cursor_warn(c, allow, "admin.roles.allow: \"admin\" is good for release --force and config of these services here: "
			    "the rest of it counts with services = [\"*\"] only");
}

void
draft_check_roles(const struct draft *d)
{
	/* libconfig's look-up changes nothing, but says const nowhere. */
	const config_setting_t *list =
		config_setting_lookup((config_setting_t *)(uintptr_t)d->root, "admin.roles");
	struct cursor c = { d->r, NULL, "", NULL };
	size_t n_ways_in = 0;

	for (size_t i = 0; i < d->c.admin.n_roles; i++) {
		const config_setting_t *s = config_setting_get_elem(list, (unsigned)i);
		const struct role_config *role = &d->c.admin.roles[i];

		if (config_setting_type(s) != CONFIG_TYPE_GROUP)
			continue;
		check_services(d, role, s);
		check_ways_in(d, role, s);
		n_ways_in += role->n_cn + role->n_san + role->n_tokens;
		if (role->user != NULL && (strcmp(role->user, "root") == 0 ||
					   (d->c.user != NULL && strcmp(role->user, d->c.user) == 0)))
			cursor_warn(&c, config_setting_get_member(s, "user"),
				    "admin.roles.user: \"%s\" may do everything without a role",
				    show(role->user).s);
		if (role->n_services > 0 && !is_for_all(role))
			check_whole(role, &c, config_setting_get_member(s, "allow"));
	}
	if (d->c.admin.net.n_listen > 0 && n_ways_in == 0)
		cursor_warn(&c, config_setting_lookup((config_setting_t *)(uintptr_t)d->root, "admin.listen"),
			    "admin.listen: its clients may do nothing: no role in admin.roles has cn, san or token");
}

static void
free_names(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void
roles_free(struct config *c)
{
	for (size_t i = 0; i < c->admin.n_roles; i++) {
		struct role_config *role = &c->admin.roles[i];

		free_names(role->services, role->n_services);
		free_names(role->cn, role->n_cn);
		free_names(role->san, role->n_san);
		free_names(role->tokens, role->n_tokens);
		free(role->user);
		free(role->group);
	}
	free(c->admin.roles);
}
