/* config_store.c - the group store: { } of a configuration: where Redis is, who
 * we are there, and what of it fits together.  Start-up thread only. */
#include <stdlib.h>
#include <string.h>

#include "model/config_draft.h"
#include "model/secret.h"
#include "net/tls_client.h"

#define AT(member) .offset = offsetof(struct draft, c.store.member)
#define PREFIX_MAX 128
#define DATABASE_MAX 65535
#define SENTINELS_MAX 32
/* Redis is near or it is no use: above this a timeout is a slip. */
#define TIMEOUT_MIN 0.05
#define TIMEOUT_MAX 60

static const char *const type_words[] = { "file", "redis", NULL };
static const char *const stale_words[] = { "serve", "refuse", NULL };

static key_reader key_prefix, key_url, key_sentinels;

const struct key store_keys[] = {
	{ KEY("type", key_word), AT(type), .words = type_words },
	{ KEY("prefix", key_prefix), AT(prefix) },
	{ KEY("max_age", key_seconds), AT(max_age) },
	{ KEY("stale", key_word), AT(stale), .words = stale_words },
	{ KEY("url", key_url) },
	{ KEY("password_file", key_text), AT(password_file) },
	{ KEY("sentinels", key_sentinels) },
	{ KEY("sentinel_password_file", key_text), AT(sentinel_password_file) },
	{ KEY("master", key_text), AT(master) },
	{ KEY("user", key_text), AT(user) },
	{ KEY("database", key_count), AT(database), .max = DATABASE_MAX },
	{ KEY("tls", key_bool), AT(tls) },
	{ KEY("ca", key_text), AT(ca) },
	{ KEY("connect_timeout", key_seconds), AT(connect_timeout), .min = TIMEOUT_MIN, .max = TIMEOUT_MAX },
	{ KEY("command_timeout", key_seconds), AT(command_timeout), .min = TIMEOUT_MIN, .max = TIMEOUT_MAX },
	{ 0 },
};

/* Comes into Redis keys, where braces, globs and blanks mean something. */
static void
key_prefix(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	const char *text = config_setting_type(s) == CONFIG_TYPE_STRING ? config_setting_get_string(s) : "";
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_-");

	if (text[0] != '\0' && (text[n] != '\0' || n > PREFIX_MAX))
		cursor_key_error(c, s, "expected at most %d of A-Z a-z 0-9 . : _ -, found \"%s\"", PREFIX_MAX,
				 show(text).s);
	else
		key_text(c, k, s);
}

/* Never shown in a message: it may hold a password, however wrongly. */
static void
key_url(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct draft *d = c->base;
	struct redis_url url;
	struct why why;

	(void)k;
	if (config_setting_type(s) != CONFIG_TYPE_STRING) {
		cursor_key_error(c, s, "expected a URL in double quotes, found %s", cursor_found(s).s);
		return;
	}
	if (redis_url_parse(config_setting_get_string(s), &url, &why) != OK) {
		cursor_key_error(c, s, "%s", why.text);
		return;
	}
	d->c.store.at = url.at;
	memcpy(d->c.store.path, url.path, sizeof(url.path));
	d->c.store.tls = url.tls;
	d->c.store.database = url.database;
	free(d->c.store.user);
	d->c.store.user = url.user[0] != '\0' ? must_strdup(url.user) : NULL;
}

static bool
same_endpoint(const struct redis_endpoint *a, const struct redis_endpoint *b)
{
	return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static void
key_sentinels(const struct cursor *c, const struct key *k, const config_setting_t *s)
{
	struct draft *d = c->base;
	size_t n = cursor_items(s);
	struct why why;

	(void)k;
	if (!cursor_texts(c, s, "HOST:PORT"))
		return;
	if (n == 0 || n > SENTINELS_MAX) {
		cursor_key_error(c, s, "expected 1 to %d sentinels, found %zu", SENTINELS_MAX, n);
		return;
	}
	free(d->c.store.sentinels);
	d->c.store.sentinels = must_array(n, sizeof(*d->c.store.sentinels));
	d->c.store.n_sentinels = 0;
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *item = cursor_item(s, i);
		const char *text = config_setting_get_string(item);
		struct redis_endpoint *e = &d->c.store.sentinels[d->c.store.n_sentinels];

		if (redis_endpoint_parse(text, SENTINEL_PORT, e, &why) != OK) {
			cursor_key_error(c, item, "\"%s\": %s", show(text).s, why.text);
			continue;
		}
		for (size_t j = 0; j < d->c.store.n_sentinels; j++)
			if (same_endpoint(e, &d->c.store.sentinels[j]))
				cursor_key_error(c, item, "\"%s\" is listed twice", show(text).s);
		d->c.store.n_sentinels++;
	}
}

static const config_setting_t *
store_at(const struct draft *d, const char *name)
{
	const config_setting_t *store = config_setting_get_member(d->root, "store");

	return store != NULL && config_setting_type(store) == CONFIG_TYPE_GROUP ?
		       config_setting_get_member(store, name) :
		       NULL;
}

/* Complains, with fmt about its name, about each of the keys that is there. */
static void
complain_about(const struct draft *d, const struct cursor *c, const char *const *names, const char *fmt)
{
	for (; *names != NULL; names++) {
		const config_setting_t *s = store_at(d, *names);

		if (s != NULL)
			cursor_error(c, s, "store.%s %s", *names, fmt);
	}
}

static void
check_file(const struct draft *d, const struct cursor *c)
{
	static const char *const redis_keys[] = {
		"url",      "password_file", "sentinels", "sentinel_password_file", "master",          "user",
		"database", "tls",           "ca",        "connect_timeout",        "command_timeout", NULL
	};
	static const char *const idle_keys[] = { "prefix", "max_age", "stale" };

	complain_about(d, c, redis_keys, "belongs to store.type = \"redis\"; set that, or remove this");
	for (size_t i = 0; i < ARRAY_LEN(idle_keys); i++) {
		const config_setting_t *s = store_at(d, idle_keys[i]);

		if (s != NULL && (strcmp(idle_keys[i], "stale") != 0 || d->c.store.stale != STALE_SERVE))
			cursor_warn(c, s,
				    "store.%s changes nothing with store.type = \"file\": no fleet shares it",
				    idle_keys[i]);
	}
}

static void
check_where(const struct draft *d, const struct cursor *c, const config_setting_t *type)
{
	static const char *const sentinel_keys[] = { "master", "sentinel_password_file", NULL };
	static const char *const url_parts[] = { "user", "database", "tls", NULL };
	const config_setting_t *url = store_at(d, "url"), *sentinels = store_at(d, "sentinels");

	if (url != NULL && sentinels != NULL) {
		cursor_error(c, sentinels, "store has both url and sentinels; keep one");
	} else if (url != NULL) {
		complain_about(d, c, sentinel_keys, "belongs to store.sentinels, which is not there");
		complain_about(d, c, url_parts, "goes with store.sentinels only; the url says it");
	} else if (sentinels == NULL) {
		cursor_error(c, type, "store.type = \"redis\" needs url, or sentinels and master");
	} else if (store_at(d, "master") == NULL) {
		cursor_error(c, sentinels, "store.sentinels needs master: the name they know the master by");
	}
}

/* Reads a password; an error when that fails, a warning when every user can read it. */
static char *
password_from(const struct cursor *c, const config_setting_t *s, const char *key, const char *path)
{
	char *password = NULL;
	struct why why;
	mode_t mode;

	if (path == NULL)
		return NULL;
	if (secret_read(path, &password, &mode, &why) != OK)
		cursor_error(c, s, "%s: %s", key, why.text);
	else if (mode & 0004)
		cursor_warn(c, s, "%s: every user can read %s (mode %04o); chmod 0640 it", key, path,
			    (unsigned)mode & 07777);
	return password;
}

static char *
read_password(const struct draft *d, const struct cursor *c, const char *name, const char *path)
{
	struct shown key;

	snprintf(key.s, sizeof(key.s), "store.%s", name);
	return password_from(c, store_at(d, name), key.s, path);
}

void
draft_check_observe(struct draft *d)
{
	const config_setting_t *s =
		config_setting_lookup((config_setting_t *)(uintptr_t)d->root, "observe.password_file");
	const config_setting_t *allow;
	struct cursor c = { d->r, NULL, "", NULL };
	const char *colon;

	if ((allow = config_setting_lookup((config_setting_t *)(uintptr_t)d->root, "observe.allow")) != NULL &&
	    cidr_set_is_empty(&d->c.observe.allow))
		cursor_warn(&c, allow, "observe.allow: an empty list lets every client ask; name networks, or leave it out");
	d->c.observe.password = password_from(&c, s, "observe.password_file", d->c.observe.password_file);
	colon = d->c.observe.password != NULL ? strchr(d->c.observe.password, ':') : NULL;
	if (d->c.observe.password != NULL && (colon == NULL || colon == d->c.observe.password || colon[1] == '\0'))
		cursor_error(&c, s, "observe.password_file: %s is no line USER:PASSWORD", d->c.observe.password_file);
}

static void
check_ca(const struct draft *d, const struct cursor *c)
{
	const config_setting_t *s = store_at(d, "ca");
	struct ssl_ctx_st *context;
	struct why why;

	if (d->c.store.ca == NULL)
		return;
	if (!d->c.store.tls)
		cursor_warn(c, s, "store.ca changes nothing: Redis is reached without TLS");
	else if (tls_client_context(&(struct tls_client_options){ .ca = d->c.store.ca }, &context, &why) != OK)
		cursor_error(c, s, "store.ca: %s", why.text);
	else
		tls_context_free(&context);
}

void
draft_check_store(struct draft *d)
{
	const config_setting_t *type = store_at(d, "type");
	struct cursor c = { d->r, NULL, "", NULL };

	/* The type as written: one that was refused is not "file". */
	if (type != NULL && (config_setting_type(type) != CONFIG_TYPE_STRING ||
			     strcmp(config_setting_get_string(type), type_words[d->c.store.type]) != 0))
		return;
	if (d->c.store.type == STORE_FILE) {
		check_file(d, &c);
		return;
	}
	check_where(d, &c, type);
	d->c.store.password = read_password(d, &c, "password_file", d->c.store.password_file);
	d->c.store.sentinel_password =
		read_password(d, &c, "sentinel_password_file", d->c.store.sentinel_password_file);
	check_ca(d, &c);
	/* It is read once a second, and one answer may take its whole time. */
	if (d->c.store.max_age > 0 && d->c.store.max_age < 1 + d->c.store.command_timeout)
		cursor_warn(&c, store_at(d, "max_age") != NULL ? store_at(d, "max_age") : type,
			    "store.max_age: below %.9g s a single slow answer makes teald not ready",
			    1 + d->c.store.command_timeout);
}

void
draft_default_store(struct draft *d)
{
	d->c.store.prefix = must_strdup("teal");
	d->c.store.max_age = 30.0;
	d->c.store.connect_timeout = 1.0;
	d->c.store.command_timeout = 1.0;
}

void
store_config_clear(struct store_config *s)
{
	free(s->prefix);
	free(s->user);
	free(s->master);
	free(s->ca);
	free(s->sentinels);
	free(s->password_file);
	free(s->sentinel_password_file);
	secret_free(&s->password);
	secret_free(&s->sentinel_password);
}
