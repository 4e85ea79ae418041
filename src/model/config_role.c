/* config_role.c - admin.roles: users and groups, and what they may do on which
 * services.  Start-up thread only; blocks on user and group look-ups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

	in.prefix = "admin.roles.";
	in.base = role;
	cursor_read(&in, s, role_keys);
	if (has_key(s, "user") == has_key(s, "group"))
		cursor_error(c, s, "admin.roles: a role has a user or a group; this one has %s",
			     has_key(s, "user") ? "both" : "neither");
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

static bool
is_for_all(const struct role_config *role)
{
	for (size_t i = 0; i < role->n_services; i++)
		if (str_glob(role->services[i], "*"))
			return true;
	return false;
}

void
draft_check_roles(const struct draft *d)
{
	/* libconfig's look-up changes nothing, but says const nowhere. */
	const config_setting_t *list =
		config_setting_lookup((config_setting_t *)(uintptr_t)d->root, "admin.roles");
	struct cursor c = { d->r, NULL, "", NULL };

	for (size_t i = 0; i < d->c.admin.n_roles; i++) {
		const config_setting_t *s = config_setting_get_elem(list, (unsigned)i);
		const struct role_config *role = &d->c.admin.roles[i];

		if (config_setting_type(s) != CONFIG_TYPE_GROUP)
			continue;
		check_services(d, role, s);
		if (role->user != NULL && (strcmp(role->user, "root") == 0 ||
					   (d->c.user != NULL && strcmp(role->user, d->c.user) == 0)))
			cursor_warn(&c, config_setting_get_member(s, "user"),
				    "admin.roles.user: \"%s\" may do everything without a role",
				    show(role->user).s);
		if ((role->allow & 1u << ADMIN_RIGHT_ADMIN) && role->n_services > 0 && !is_for_all(role))
			cursor_warn(&c, config_setting_get_member(s, "allow"),
				    "admin.roles.allow: \"admin\" changes nothing here: it counts with "
				    "services = [\"*\"] only");
	}
}

void
roles_free(struct config *c)
{
	for (size_t i = 0; i < c->admin.n_roles; i++) {
		struct role_config *role = &c->admin.roles[i];

		for (size_t k = 0; k < role->n_services; k++)
			free(role->services[k]);
		free(role->services);
		free(role->user);
		free(role->group);
	}
	free(c->admin.roles);
}
